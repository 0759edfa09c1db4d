/* prometheus.h - configuration of the plugin prometheus. */
#ifndef COMMON_PLUGINS_PROMETHEUS_H
#define COMMON_PLUGINS_PROMETHEUS_H

#include "common/plugins/contract.h"

struct prometheus_conf {
    bool per_consumer, status_code_metrics, ai_metrics, latency_metrics, bandwidth_metrics;
    bool upstream_health_metrics;
};

extern const struct plugin_contract contract_prometheus;

#endif
