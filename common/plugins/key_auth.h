/* key_auth.h - configuration of the plugin key-auth. */
#ifndef COMMON_PLUGINS_KEY_AUTH_H
#define COMMON_PLUGINS_KEY_AUTH_H

#include "common/plugins/contract.h"

struct key_auth_conf {
    struct list key_names; /* struct str */
    bool hide_credentials;
    struct str anonymous; /* id or username of a consumer */
    bool key_in_header, key_in_query, key_in_body, run_on_preflight;
    struct str realm;
};

extern const struct plugin_contract contract_key_auth;

#endif
