/* cors.c - contract of the plugin cors. */
#include "common/plugins/cors.h"

#include "common/entities/fields.h"

typedef struct cors_conf conf_t;

static const char *const methods[] = {"GET",    "HEAD",    "PUT",   "PATCH",   "POST",
                                      "DELETE", "OPTIONS", "TRACE", "CONNECT", NULL};

/* clang-format off */
static const struct field fields[] = {
    F_ARRAY(conf_t, origins, 1, .elem = ELEM(.type = FT_STRING, .check = check_asterisk_or_regex),
            .doc = "Origins that are let in: '*', exact origins or regexes."),
    F_ARRAY(conf_t, headers, 2, .elem = &elem_string, .doc = "Access-Control-Allow-Headers; null: what was asked for."),
    F_ARRAY(conf_t, exposed_headers, 3, .elem = &elem_string, .doc = "Access-Control-Expose-Headers."),
    F_ARRAY(conf_t, methods, 4,
            .dflt = "[\"GET\",\"HEAD\",\"PUT\",\"PATCH\",\"POST\",\"DELETE\",\"OPTIONS\",\"TRACE\",\"CONNECT\"]",
            .elem = ELEM(.type = FT_STRING, .one_of = methods), .doc = "Access-Control-Allow-Methods."),
    F_NUM(conf_t, max_age, 5, .unit = "s", .doc = "How long a preflight answer may be kept."),
    F_BOOL(conf_t, credentials, 6, .flags = FF_REQUIRED, .dflt = "false",
           .doc = "Whether Access-Control-Allow-Credentials is sent."),
    F_BOOL(conf_t, private_network, 7, .flags = FF_REQUIRED, .dflt = "false",
           .doc = "Whether Access-Control-Allow-Private-Network is sent."),
    F_BOOL(conf_t, preflight_continue, 8, .flags = FF_REQUIRED, .dflt = "false",
           .doc = "Whether preflight requests are proxied."),
    F_END
};
/* clang-format on */

const struct plugin_contract contract_cors = {
    .name = "cors",
    .priority = 2000,
    .phases = PH_BIT(PH_ACCESS) | PH_BIT(PH_HEADER_FILTER),
    .scopes = SCOPE_SERVICE | SCOPE_ROUTE,
    .protocols = PROTOCOLS_HTTP,
    .protocols_default = PROTOCOLS_HTTP,
    .conf_size = sizeof(conf_t),
    .fields = fields,
    .doc = "Answers cross-origin requests of browsers.",
};
