/* rate_limiting.h - configuration of the plugin rate-limiting. */
#ifndef COMMON_PLUGINS_RATE_LIMITING_H
#define COMMON_PLUGINS_RATE_LIMITING_H

#include "common/plugins/contract.h"

enum limit_by {
    LIMIT_CONSUMER,
    LIMIT_CREDENTIAL,
    LIMIT_IP,
    LIMIT_SERVICE,
    LIMIT_HEADER,
    LIMIT_PATH
};
enum limit_policy { LIMIT_LOCAL, LIMIT_CLUSTER, LIMIT_REDIS };

struct redis_conf {
    struct str host;
    int64_t port;
    int64_t timeout; /* ms */
    struct str username, password;
    int64_t database;
    bool ssl, ssl_verify;
    struct str server_name;
};

struct rate_limiting_conf {
    double second, minute, hour, day, month, year; /* requests; NAN: no limit */
    int limit_by;                                  /* enum limit_by */
    struct str header_name, path;
    int policy; /* enum limit_policy */
    bool fault_tolerant;
    struct redis_conf redis;
    bool hide_client_headers;
    double error_code;
    struct str error_message;
    double sync_rate; /* s; -1: off */
};

extern const struct plugin_contract contract_rate_limiting;

#endif
