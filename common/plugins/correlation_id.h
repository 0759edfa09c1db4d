/* correlation_id.h - configuration of the plugin correlation-id. */
#ifndef COMMON_PLUGINS_CORRELATION_ID_H
#define COMMON_PLUGINS_CORRELATION_ID_H

#include "common/plugins/contract.h"

enum correlation_generator { CORRELATION_UUID, CORRELATION_UUID_COUNTER, CORRELATION_TRACKER };

struct correlation_id_conf {
    struct str header_name;
    int generator; /* enum correlation_generator */
    bool echo_downstream;
};

extern const struct plugin_contract contract_correlation_id;

#endif
