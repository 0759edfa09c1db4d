/* targets.c - the addresses behind an upstream. */
#include "common/entities/fields.h"

/* clang-format off */
static const struct field fields[] = {
    F_ID(struct target),
    F_NUM(struct target, created_at, 2, .flags = FF_AUTO | FF_TIMESTAMP, .unit = "s",
          .doc = "When it was created, seconds since 1970 with milliseconds."),
    F_NUM(struct target, updated_at, 3, .flags = FF_AUTO | FF_TIMESTAMP, .unit = "s",
          .doc = "When it was last written, seconds since 1970 with milliseconds."),
    F_FOREIGN(struct target, upstream, 4, .flags = FF_REQUIRED, .reference = "upstreams",
              .on_delete = FK_CASCADE, .doc = "Upstream it belongs to."),
    F_STR(struct target, target, 5, .flags = FF_REQUIRED, .check = check_target_address,
          .doc = "Host name or address, with a port; 8000 when absent."),
    F_INT(struct target, weight, 6, .dflt = "100", .between = RANGE(0, 65535),
          .doc = "Share of the traffic; 0: none."),
    F_TAGS(struct target, 7),
    F_END
};
/* clang-format on */

static void normalize(json_t *doc)
{
    const char *text = json_string_value(json_object_get(doc, "target"));
    char address[TARGET_ADDRESS_MAX];

    if (text && target_address_normalize(str_of(text), address))
        json_object_set_new(doc, "target", json_string(address));
}

const struct entity entity_targets = {
    .name = "targets",
    .singular = "target",
    .type = ET_TARGET,
    .path = "/targets",
    .endpoint_key = "target",
    .cache_key = LIST("upstream", "target"),
    .fields = fields,
    .struct_size = sizeof(struct target),
    .hidden_collection = true,
    .normalize = normalize,
    .doc = "Addresses with weights that an upstream balances over.",
};
