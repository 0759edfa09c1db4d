/*
 * prometheus.c - behaviour of the plugin prometheus: counts what has been served. The page
 * itself is the status listener's /metrics.
 */
#include "common/plugins/prometheus.h"

#include <stdio.h>

#include "dataplane/plugin.h"

#define WORKSPACE STR("default")

static struct str either(struct str a, struct str b)
{
    return a.p && a.len ? a : b;
}

/* Who made the answer: the service, the gateway on purpose, or a failure on the way. */
static struct str source(const struct exchange *x)
{
    if (!x->answered)
        return STR("service");
    return x->tries ? STR("error") : STR("exit");
}

static void observe_latencies(const struct exchange *x, const struct str *labels)
{
    const struct xtimes *t = &x->times;
    bool proxied = !x->answered && t->upstream_head;
    uint64_t ours_until = proxied ? t->upstream_sent : t->head_out;

    if (t->end >= t->start)
        metric_observe_with(M_KONG_REQUEST_LATENCY, labels, (double)(t->end - t->start) / 1000);
    if (ours_until >= t->start)
        metric_observe_with(M_KONG_KONG_LATENCY, labels, (double)(ours_until - t->start) / 1000);
    if (proxied)
        metric_observe_with(M_KONG_UPSTREAM_LATENCY, labels,
                            (double)(t->upstream_head - t->upstream_sent) / 1000);
}

static void on_log(struct exchange *x, const void *conf_)
{
    const struct prometheus_conf *conf = conf_;
    const struct c_service *s = x->match.service;
    const struct c_route *r = x->match.route;
    struct str service = s ? either(s->def.name, s->def.host) : STR("");
    struct str consumer = conf->per_consumer && x->consumer ? x->consumer->def.username : STR_NONE;
    struct str route = STR("");
    char route_id[UUID_TEXT_LEN + 1], code[16];

    if (r) {
        uuid_format(&r->def.id, route_id);
        route = either(r->def.name, str_of(route_id));
    }
    if (conf->status_code_metrics) {
        snprintf(code, sizeof(code), "%u", x->resp.status);
        metric_add_with(
            x->stream ? M_KONG_STREAM_SESSIONS : M_KONG_HTTP_REQUESTS,
            (struct str[]){service, route, str_of(code), source(x), WORKSPACE, consumer}, 1);
    }
    if (conf->bandwidth_metrics) {
        metric_add_with(M_KONG_BANDWIDTH,
                        (struct str[]){service, route, STR("ingress"), WORKSPACE, consumer},
                        (int64_t)x->bytes_in);
        metric_add_with(M_KONG_BANDWIDTH,
                        (struct str[]){service, route, STR("egress"), WORKSPACE, consumer},
                        (int64_t)x->bytes_out);
    }
    if (conf->latency_metrics && !x->stream) /* a session is as long as its ends like */
        observe_latencies(x, (struct str[]){service, route, WORKSPACE});
}

const struct plugin_ops plugin_prometheus = {
    .contract = &contract_prometheus,
    .on_log = on_log,
};
