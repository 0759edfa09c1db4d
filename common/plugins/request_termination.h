/* request_termination.h - configuration of the plugin request-termination. */
#ifndef COMMON_PLUGINS_REQUEST_TERMINATION_H
#define COMMON_PLUGINS_REQUEST_TERMINATION_H

#include "common/plugins/contract.h"

struct request_termination_conf {
    int64_t status_code;
    struct str message, content_type, body;
    bool echo;
    struct str trigger; /* header or query argument; absent: every request */
};

extern const struct plugin_contract contract_request_termination;

#endif
