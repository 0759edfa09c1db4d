/* consumers.c - who sends requests. */
#include "common/entities/fields.h"

/* clang-format off */
static const struct field fields[] = {
    F_ID(struct consumer),
    F_CREATED_AT(struct consumer, 2),
    F_UPDATED_AT(struct consumer, 3),
    F_STR(struct consumer, username, 4, .flags = FF_UNIQUE, .doc = "Unique name; may stand for the id in paths."),
    F_STR(struct consumer, custom_id, 5, .flags = FF_UNIQUE, .doc = "Unique id in another system."),
    F_TAGS(struct consumer, 6),
    F_END
};
/* clang-format on */

static const struct check checks_list[] = {
    {CK_AT_LEAST_ONE_OF, .fields = LIST("custom_id", "username")},
};
static const struct record_checks checks = {CHECKS(checks_list)};

const struct entity entity_consumers = {
    .name = "consumers",
    .singular = "consumer",
    .type = ET_CONSUMER,
    .path = "/consumers",
    .endpoint_key = "username",
    .fields = fields,
    .checks = &checks,
    .struct_size = sizeof(struct consumer),
    .doc = "People and programs that send requests, known by their credentials.",
};
