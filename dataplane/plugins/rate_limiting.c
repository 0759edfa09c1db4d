/*
 * rate_limiting.c - behaviour of the plugin rate-limiting, policy local.
 *
 * A request is let through when it can take one from every configured period; what it took
 * is given back when a later period refuses. Counters belong to the node and are keyed by
 * what the row is bound to and who asks, so they survive changes of the configuration.
 *
 * The policies cluster and redis are accepted but not served here: then fault_tolerant
 * decides, as the reference does when its store cannot be reached.
 */
#include "common/plugins/rate_limiting.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/log.h"
#include "dataplane/plugin.h"
#include "dataplane/plugins/counters.h"

#define COUNTERS_CAPACITY (1u << 20) /* 16 MiB, touched as it fills */
#define NUMBER_LEN        32

static struct counters *counters;

struct limit {
    enum period period;
    double limit;
    struct str text; /* in room */
    char room[NUMBER_LEN];
};

struct prepared {
    struct limit limits[PERIOD_COUNT]; /* shortest period first */
    unsigned n;
    unsigned error_code;
    char *error_message; /* NULL: the status' text */
};

/* clang-format off */
static const struct {
    size_t off; /* of the limit in the configuration */
    struct str limit_header, remaining_header;
    uint64_t seconds; /* nominal length, from which the reset is counted */
} periods[PERIOD_COUNT] = {
#define ROW(id, member, Name, s) \
    [id] = {offsetof(struct rate_limiting_conf, member), STR("X-RateLimit-Limit-" Name), \
            STR("X-RateLimit-Remaining-" Name), s}
    ROW(PERIOD_SECOND, second, "Second", 1),
    ROW(PERIOD_MINUTE, minute, "Minute", 60),
    ROW(PERIOD_HOUR,   hour,   "Hour",   3600),
    ROW(PERIOD_DAY,    day,    "Day",    86400),
    ROW(PERIOD_MONTH,  month,  "Month",  2592000),
    ROW(PERIOD_YEAR,   year,   "Year",   31536000),
#undef ROW
};
/* clang-format on */

/*
 * Limits may be fractions: "2.5"; whole ones are written without a point, and without the 2300
 * instructions that snprintf needs for a double. The result is somewhere in room.
 */
static struct str number_text(char room[NUMBER_LEN], double v)
{
    char *end = room + NUMBER_LEN, *at;

    if (!(v >= 0 && v < 1e14 && v == (double)(uint64_t)v))
        return str_n(room, (size_t)snprintf(room, NUMBER_LEN, "%.14g", v));
    at = str_u64((uint64_t)v, end);
    return str_n(at, (size_t)(end - at));
}

static int prepare(const void *conf_, void **prepared_out, struct err *e)
{
    const struct rate_limiting_conf *conf = conf_;
    struct prepared *p = xcalloc(1, sizeof(*p));

    (void)e;
    /* The schema lets any positive number through; only a status can be sent. */
    p->error_code =
        conf->error_code >= 200 && conf->error_code <= 599 ? (unsigned)conf->error_code : 429;
    p->error_message = conf->error_message.p ? str_dup(conf->error_message) : NULL;
    for (enum period i = 0; i < PERIOD_COUNT; i++) {
        struct limit *l = &p->limits[p->n];

        memcpy(&l->limit, (const char *)conf_ + periods[i].off, sizeof(l->limit));
        if (isnan(l->limit))
            continue;
        l->period = i;
        l->text = number_text(l->room, l->limit);
        p->n++;
    }
    *prepared_out = p;
    return 0;
}

static void unprepare(void *prepared)
{
    struct prepared *p = prepared;

    free(p->error_message);
    free(p);
}

static void read_counters(struct metrics_scrape *s, void *arg)
{
    struct counters_stats stats;

    (void)arg;
    stats = counters_stats(counters);
    metric_reading(s, M_RATE_COUNTERS, NULL, (double)stats.used);
    metric_reading(s, M_RATE_COUNTERS_DROPPED, NULL, (double)stats.dropped);
}

static int init(unsigned n_workers, struct err *e)
{
    (void)n_workers;
    (void)e;
    counters = counters_new(COUNTERS_CAPACITY);
    metrics_collector(read_counters, NULL);
    return 0;
}

static void fini(void)
{
    metrics_collector_remove(read_counters);
    counters_free(&counters);
}

/* ---- who is counted ---- */

static struct str id_of(const struct uuid *id)
{
    return str_n((const char *)id->b, sizeof(id->b));
}

static struct str identifier(struct exchange *x, const struct rate_limiting_conf *conf)
{
    struct str found = STR_NONE;

    switch (conf->limit_by) {
    case LIMIT_SERVICE:
        if (x->match.service)
            found = id_of(&x->match.service->def.id);
        break;
    case LIMIT_CONSUMER:
        if (x->consumer) {
            found = id_of(&x->consumer->def.id);
            break;
        }
        __attribute__((fallthrough));
    case LIMIT_CREDENTIAL:
        if (x->credential)
            found = id_of(&x->credential->def.id);
        break;
    case LIMIT_HEADER: found = plugin_header(x, conf->header_name); break;
    case LIMIT_PATH:
        if (str_eq(x->req.path, conf->path))
            found = x->req.path;
        break;
    case LIMIT_IP: break;
    }
    return found.p ? found : x->client_ip;
}

static uint64_t key_of(struct exchange *x, const struct rate_limiting_conf *conf)
{
    const struct plugin *row = &plugin_self(x)->def;
    const struct str parts[] = {id_of(&row->route), id_of(&row->service), identifier(x, conf)};

    return counters_key(counters, parts, ARRAY_LEN(parts));
}

/* ---- deciding ---- */

struct usage {
    double remaining; /* before this request */
    struct window window;
};

enum outcome { PASSES, REFUSED, NO_ROOM };

/* Takes one of every limit, or of none. usage gets what remained before. */
static enum outcome take_all(const struct prepared *p, uint64_t key, uint64_t now_us,
                             struct usage usage[PERIOD_COUNT], unsigned *stop_out)
{
    enum take t = TAKE_OK;
    uint64_t before;
    unsigned i, n;

    for (n = 0; n < p->n; n++) {
        const struct limit *l = &p->limits[n];

        usage[n].window = window_at(l->period, now_us);
        t = counters_take(counters, key, l->period, usage[n].window.index, l->limit, &before);
        usage[n].remaining = l->limit - (double)before;
        if (t != TAKE_OK)
            break;
    }
    if (t == TAKE_OK)
        return PASSES;
    for (i = 0; i < n; i++)
        counters_give_back(counters, key, p->limits[i].period, usage[i].window.index);
    if (t == TAKE_FULL)
        return NO_ROOM;
    *stop_out = n;
    for (i = n + 1; i < p->n; i++) { /* reported, not taken */
        usage[i].window = window_at(p->limits[i].period, now_us);
        usage[i].remaining =
            p->limits[i].limit -
            (double)counters_read(counters, key, p->limits[i].period, usage[i].window.index);
    }
    return REFUSED;
}

static struct str set_number(struct exchange *x, struct str name, double v)
{
    char *room = plugin_alloc(x, NUMBER_LEN);
    struct str value = room ? number_text(room, v) : STR_NONE;

    plugin_resp_header_set(x, name, value);
    return value;
}

/*
 * RateLimit-* describe the tightest period: the least left, among equals the longest.
 * stop: the limit that refused, or p->n.
 */
static void set_headers(struct exchange *x, const struct prepared *p, const struct usage *usage,
                        unsigned stop, uint64_t now_us)
{
    uint64_t elapsed, seconds, reset;
    struct str text, least_text = STR_NONE;
    double least = 0;
    unsigned tightest = 0;

    for (unsigned i = 0; i < p->n; i++) {
        const struct limit *l = &p->limits[i];
        double left = usage[i].remaining - (stop == p->n || stop == i ? 1 : 0);

        if (left < 0)
            left = 0;
        plugin_resp_header_set(x, periods[l->period].limit_header, l->text);
        text = set_number(x, periods[l->period].remaining_header, left);
        if (i == 0 || left <= least) { /* limits go from short to long */
            least = left;
            least_text = text;
            tightest = i;
        }
    }
    seconds = periods[p->limits[tightest].period].seconds;
    elapsed = now_us / 1000000 - usage[tightest].window.start_s;
    reset = seconds > elapsed ? seconds - elapsed : 1; /* day 31 of a nominal month of 30 */
    plugin_resp_header_set(x, STR("RateLimit-Limit"), p->limits[tightest].text);
    plugin_resp_header_set(x, STR("RateLimit-Remaining"), least_text);
    set_number(x, STR("RateLimit-Reset"), (double)reset);
    if (stop < p->n)
        set_number(x, STR("Retry-After"), (double)reset);
}

/* The counters cannot be had. */
static enum verdict without_counters(struct exchange *x, const struct rate_limiting_conf *conf,
                                     const char *why)
{
    LOG_LIMITED(LOG_WARN, "rate_limiting_unavailable", "reason=%s fault_tolerant=%d", why,
                conf->fault_tolerant);
    if (conf->fault_tolerant)
        return V_NEXT;
    return plugin_error(x, 500, "An unexpected error occurred");
}

static enum verdict on_access(struct exchange *x, const void *conf_)
{
    const struct rate_limiting_conf *conf = conf_;
    const struct prepared *p = plugin_prepared(x);
    struct usage usage[PERIOD_COUNT];
    uint64_t now_us = clock_wall_us();
    unsigned stop = p->n;

    if (conf->policy == LIMIT_CLUSTER || conf->policy == LIMIT_REDIS)
        return without_counters(x, conf, "policy_not_served");
    if (p->n == 0)
        return V_NEXT;
    if (take_all(p, key_of(x, conf), now_us, usage, &stop) == NO_ROOM)
        return without_counters(x, conf, "table_full");
    if (!conf->hide_client_headers)
        set_headers(x, p, usage, stop, now_us);
    if (stop == p->n)
        return V_NEXT;
    return plugin_error(x, p->error_code, p->error_message);
}

const struct plugin_ops plugin_rate_limiting = {
    .contract = &contract_rate_limiting,
    .prepare = prepare,
    .unprepare = unprepare,
    .init = init,
    .fini = fini,
    .on_access = on_access,
};
