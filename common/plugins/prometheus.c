/* prometheus.c - contract of the plugin prometheus. */
#include "common/plugins/prometheus.h"

#include "common/entities/fields.h"

typedef struct prometheus_conf conf_t;

/* clang-format off */
#define SWITCH(m, n, text) F_BOOL(conf_t, m, n, .dflt = "false", .doc = text)
static const struct field fields[] = {
    SWITCH(per_consumer, 1, "Whether request counts carry the consumer."),
    SWITCH(status_code_metrics, 2, "Whether requests are counted by status."),
    SWITCH(ai_metrics, 3, "Whether calls of language models are counted."),
    SWITCH(latency_metrics, 4, "Whether latencies are measured."),
    SWITCH(bandwidth_metrics, 5, "Whether bytes are counted."),
    SWITCH(upstream_health_metrics, 6, "Whether the health of targets is shown."),
    F_END
};
/* clang-format on */

const struct plugin_contract contract_prometheus = {
    .name = "prometheus",
    .priority = 13,
    .phases = PH_BIT(PH_LOG),
    .scopes = SCOPE_ANY,
    .protocols = PROTOCOLS_ALL,
    .protocols_default = PROTOCOLS_HTTP,
    .conf_size = sizeof(conf_t),
    .fields = fields,
    .doc = "Counts requests, bytes and latencies for Prometheus.",
};
