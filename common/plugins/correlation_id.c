/* correlation_id.c - contract of the plugin correlation-id. */
#include "common/plugins/correlation_id.h"

#include "common/entities/fields.h"

typedef struct correlation_id_conf conf_t;

/* clang-format off */
static const struct field fields[] = {
    F_STR(conf_t, header_name, 1, .dflt = "\"Kong-Request-ID\"", .doc = "Header that carries the id."),
    F_ENUM(conf_t, generator, 2, .flags = FF_REQUIRED, .dflt = "\"uuid#counter\"",
           .one_of = LIST("uuid", "uuid#counter", "tracker"), .doc = "How ids are made."),
    F_BOOL(conf_t, echo_downstream, 3, .flags = FF_REQUIRED, .dflt = "false",
           .doc = "Whether the client gets the id too."),
    F_END
};
/* clang-format on */

const struct plugin_contract contract_correlation_id = {
    .name = "correlation-id",
    .priority = 100001,
    .phases = PH_BIT(PH_ACCESS) | PH_BIT(PH_HEADER_FILTER),
    .scopes = SCOPE_ANY,
    .protocols = PROTOCOLS_HTTP,
    .protocols_default = PROTOCOLS_HTTP,
    .conf_size = sizeof(conf_t),
    .fields = fields,
    .doc = "Gives every request an id that is the same in all logs.",
};
