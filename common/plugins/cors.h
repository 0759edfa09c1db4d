/* cors.h - configuration of the plugin cors. */
#ifndef COMMON_PLUGINS_CORS_H
#define COMMON_PLUGINS_CORS_H

#include "common/plugins/contract.h"

struct cors_conf {
    struct list origins, headers, exposed_headers, methods; /* struct str */
    double max_age;                                         /* s; NAN: absent */
    bool credentials, private_network, preflight_continue;
};

extern const struct plugin_contract contract_cors;

#endif
