/* key_auth.c - contract of the plugin key-auth. */
#include "common/plugins/key_auth.h"

#include "common/entities/fields.h"

typedef struct key_auth_conf conf_t;

/* clang-format off */
static const struct field fields[] = {
    F_ARRAY(conf_t, key_names, 1, .flags = FF_REQUIRED, .dflt = "[\"apikey\"]",
            .elem = ELEM(.type = FT_STRING, .check = check_header_name),
            .doc = "Names of the header, query argument or body field that holds the key."),
    F_BOOL(conf_t, hide_credentials, 2, .flags = FF_REQUIRED, .dflt = "false",
           .doc = "Whether the key is removed before forwarding."),
    F_STR(conf_t, anonymous, 3, .doc = "Consumer to act as when no key is given; id or username."),
    F_BOOL(conf_t, key_in_header, 4, .flags = FF_REQUIRED, .dflt = "true", .doc = "Whether headers are looked at."),
    F_BOOL(conf_t, key_in_query, 5, .flags = FF_REQUIRED, .dflt = "true", .doc = "Whether the query is looked at."),
    F_BOOL(conf_t, key_in_body, 6, .flags = FF_REQUIRED, .dflt = "false", .doc = "Whether the body is looked at."),
    F_BOOL(conf_t, run_on_preflight, 7, .flags = FF_REQUIRED, .dflt = "true",
           .doc = "Whether OPTIONS requests need a key."),
    F_STR(conf_t, realm, 8, .flags = FF_OPTIONAL, .doc = "Realm in the WWW-Authenticate header."),
    F_END
};
/* clang-format on */

const struct plugin_contract contract_key_auth = {
    .name = "key-auth",
    .priority = 1250,
    .phases = PH_BIT(PH_ACCESS),
    .scopes = SCOPE_SERVICE | SCOPE_ROUTE,
    .protocols = PROTOCOLS_HTTP,
    .protocols_default = PROTOCOLS_HTTP,
    .conf_size = sizeof(conf_t),
    .fields = fields,
    .doc = "Lets in requests that show the key of a consumer.",
};
