/*
 * plugin_chain.c - runs the plugins of an exchange, phase by phase.
 *
 * A chain is chosen once per exchange and only changes when authentication finds out who
 * asks: then the consumer's own rows join. A plugin that has been passed is not asked again
 * (the reference chooses a row when its turn in the access phase comes), so the part of the
 * chain up to the authenticating plugin stays and the rest is merged anew:
 *
 *     cors  key-auth | rate-limiting(route)     request-termination(global)
 *     stays, passed  | rate-limiting(consumer)  request-termination(global)   merged
 *
 * A suspended plugin is called again from its start when it is resumed.
 */
#include "dataplane/plugin_chain.h"

#include "common/log.h"
#include "dataplane/observe/limits.h"

/* More rows than that in one chain cannot be: one per name. */
#define CHAIN_MAX 128

static const struct chain chain_empty;

struct chain_state *chain_state(struct exchange *x)
{
    if (!x->run.state) {
        x->run.state = arena_zalloc(&x->arena, sizeof(*x->run.state));
        if (x->run.state)
            x->run.state->edits_end = &x->run.state->edits;
    }
    return x->run.state;
}

void chain_out_of_memory(struct exchange *x)
{
    x->run.no_memory = true;
    if (x->run.memory_told) /* what answers instead may meet the cap, too */
        return;
    x->run.memory_told = true;
    limit_hit(LIMIT_EXCHANGE_MEMORY);
    LOG_LIMITED(LOG_WARN, "exchange_memory", "request_id=%s", x->request_id);
}

/* ---- whose rows apply (proxying.md section 7) ---- */

enum { BOUND_ROUTE = 1, BOUND_SERVICE = 2, BOUND_CONSUMER = 4 };

/* By what a row is bound to; the smaller rank wins. */
static const uint8_t ranks[8] = {
    [BOUND_ROUTE | BOUND_SERVICE | BOUND_CONSUMER] = 1,
    [BOUND_ROUTE | BOUND_CONSUMER] = 2,
    [BOUND_SERVICE | BOUND_CONSUMER] = 3,
    [BOUND_ROUTE | BOUND_SERVICE] = 4,
    [BOUND_CONSUMER] = 5,
    [BOUND_ROUTE] = 6,
    [BOUND_SERVICE] = 7,
    [0] = 8,
};

static unsigned rank(const struct c_plugin *p)
{
    return ranks[(uuid_is_nil(&p->def.route) ? 0 : BOUND_ROUTE) |
                 (uuid_is_nil(&p->def.service) ? 0 : BOUND_SERVICE) |
                 (uuid_is_nil(&p->def.consumer) ? 0 : BOUND_CONSUMER)];
}

static bool applies(const struct exchange *x, const struct c_plugin *p)
{
    const struct c_route *r = x->match.route;
    const struct c_service *s = x->match.service;

    return p->protocols & (x->stream ? PROTOCOLS_STREAM : PROTOCOLS_HTTP) &&
           (uuid_is_nil(&p->def.route) || (r && uuid_eq(&p->def.route, &r->def.id))) &&
           (uuid_is_nil(&p->def.service) || (s && uuid_eq(&p->def.service, &s->def.id)));
}

/*
 * Puts p among the n rows of v, which are sorted by order and have one row per name; the row
 * of the smaller rank stays. Returns the new n.
 */
static uint32_t join(const struct c_plugin **v, uint32_t n, const struct c_plugin *p)
{
    uint32_t i = n;

    while (i > 0 && v[i - 1]->order > p->order)
        i--;
    if (i > 0 && v[i - 1]->contract == p->contract) {
        if (rank(p) < rank(v[i - 1]))
            v[i - 1] = p;
        return n;
    }
    if (n == CHAIN_MAX)
        return n;
    memmove(v + i + 1, v + i, (n - i) * sizeof(*v));
    v[i] = p;
    return n + 1;
}

static const struct chain *base_chain(struct exchange *x)
{
    const struct chain *c = x->match.route
                                ? config_chain(x->config, x->match.route, x->match.service)
                                : config_global_chain(x->config);
    if (c && unlikely(x->stream))
        c = c->streams;
    return c ? c : &chain_empty;
}

/* True when a is behind what the run has passed. */
static bool ahead(const struct chain_run *run, const struct c_plugin *a)
{
    return run->next == 0 || a->order > run->chain->v[run->next - 1]->order;
}

/* Merges the consumer's rows into what is left of the chain. False at the arena's cap. */
static bool merge_consumer(struct exchange *x)
{
    struct chain_run *run = &x->run;
    const struct chain *base = base_chain(x);
    const struct c_consumer *consumer = x->consumer;
    const struct c_plugin *rows[CHAIN_MAX + 1];
    struct chain *merged;
    uint32_t n = 0, i;

    run->consumer_changed = false;
    if ((!consumer || consumer->n_plugins == 0) && run->chain == base)
        return true;
    for (i = 0; i < run->next; i++)
        n = join(rows, n, run->chain->v[i]);
    for (i = 0; i < base->n; i++)
        if (ahead(run, base->v[i]))
            n = join(rows, n, base->v[i]);
    for (i = 0; consumer && i < consumer->n_plugins; i++)
        if (ahead(run, consumer->plugins[i]) && applies(x, consumer->plugins[i]))
            n = join(rows, n, consumer->plugins[i]);

    merged = arena_alloc(&x->arena, sizeof(*merged));
    if (!merged)
        return false;
    merged->v = arena_dup(&x->arena, rows, n * sizeof(*rows));
    if (!merged->v && n)
        return false;
    merged->n = n;
    merged->phases = 0;
    for (i = 0; i < n; i++)
        merged->phases |= rows[i]->contract->phases;
    run->chain = merged;
    return true;
}

/* ---- phases that may wait or answer ---- */

static enum verdict call(struct exchange *x, const struct c_plugin *p)
{
    enum verdict (*fn)(struct exchange *, const void *) =
        x->run.phase == PH_REWRITE ? p->ops->on_rewrite : p->ops->on_access;
    enum verdict v;

    if (!fn)
        return V_NEXT;
    x->run.current = p;
    v = fn(x, p->conf);
    x->run.current = NULL;
    if (unlikely(x->run.no_memory) && v != V_WAIT) {
        x->run.no_memory = false;
        v = plugin_error(x, 500, "An unexpected error occurred");
    }
    return v;
}

/* What an observing plugin may not change, to be put back when it answers. */
struct observed {
    struct resp_head resp;
    struct str answer;
    bool answered;
    struct resp_edit **edits_end;
};

static struct observed observe_begin(const struct exchange *x)
{
    return (struct observed){x->resp, x->answer, x->answered,
                             x->run.state ? x->run.state->edits_end : NULL};
}

static void observe_end(struct exchange *x, const struct c_plugin *p, const struct observed *before)
{
    struct str name = str_of(p->contract->name);

    LOG_LIMITED(LOG_NOTICE, "plugin_observed", "plugin=%s status=%u request_id=%s",
                p->contract->name, x->resp.status, x->request_id);
    metric_add_with(M_PLUGIN_OBSERVED, &name, 1);
    x->resp = before->resp;
    x->answer = before->answer;
    x->answered = before->answered;
    if (x->run.state) {
        x->run.state->edits_end = before->edits_end ? before->edits_end : &x->run.state->edits;
        *x->run.state->edits_end = NULL;
    }
}

static enum verdict run_on(struct exchange *x)
{
    struct chain_run *run = &x->run;

    for (;;) {
        const struct c_plugin *p;
        struct observed before;
        enum verdict v;

        if (unlikely(run->consumer_changed) && !merge_consumer(x))
            return plugin_error(x, 500, "An unexpected error occurred");
        if (run->next == run->chain->n)
            return V_NEXT;
        p = run->chain->v[run->next];
        if (unlikely(p->observe))
            before = observe_begin(x);
        v = call(x, p);
        if (v == V_WAIT) {
            WEIR_ASSERT(p->ops->on_abort);
            if (run->resumed) { /* it came while the callback was still running */
                run->resumed = false;
                continue;
            }
            run->waiting = p;
            return V_WAIT;
        }
        run->resumed = false;
        run->next++;
        if (v == V_ANSWER) {
            if (likely(!p->observe))
                return V_ANSWER;
            observe_end(x, p, &before);
        }
    }
}

enum verdict chain_start(struct exchange *x, enum phase phase)
{
    struct chain_run *run = &x->run;

    WEIR_ASSERT(phase == PH_REWRITE || phase == PH_ACCESS);
    WEIR_ASSERT(!run->waiting);
    if (phase == PH_REWRITE) {
        run->chain = config_global_chain(x->config);
        if (!run->chain)
            run->chain = &chain_empty;
    } else {
        run->chain = base_chain(x);
    }
    run->phase = phase;
    run->next = 0;
    if (!(run->chain->phases & PH_BIT(phase)) && !run->consumer_changed)
        return V_NEXT;
    return run_on(x);
}

enum verdict chain_go_on(struct exchange *x)
{
    WEIR_ASSERT(x->run.waiting && x->run.resumed);
    x->run.waiting = NULL;
    x->run.resumed = false;
    return run_on(x);
}

void chain_abort(struct exchange *x)
{
    const struct c_plugin *p = x->run.waiting;

    if (!p)
        return;
    x->run.waiting = NULL;
    x->run.resumed = false;
    x->run.current = p;
    p->ops->on_abort(x, p->conf);
    x->run.current = NULL;
}

/* ---- phases that cannot ---- */

/* The chain that the filters and the log go through; false when none of it has the phase. */
static bool enter(struct exchange *x, enum phase phase)
{
    struct chain_run *run = &x->run;

    if (run->phase < PH_ACCESS || !run->chain) { /* ended before the access phase */
        run->chain = base_chain(x);
        run->next = 0;
    }
    if (unlikely(run->consumer_changed) && !merge_consumer(x))
        chain_check_memory(x, false);
    run->phase = phase;
    return run->chain->phases & PH_BIT(phase);
}

static void apply_edits(struct exchange *x)
{
    struct headers *hs = &x->resp.headers;
    bool done = true;

    for (const struct resp_edit *e = x->run.state->edits; e; e = e->next) {
        switch (e->op) {
        case EDIT_SET: done &= headers_set(hs, &x->arena, e->name, e->value); break;
        case EDIT_ADD: done &= headers_add(hs, &x->arena, e->name, e->value); break;
        case EDIT_REMOVE: headers_remove(hs, e->name); break;
        }
    }
    x->run.state->edits = NULL; /* a response made again (an error after this) starts clean */
    x->run.state->edits_end = &x->run.state->edits;
    chain_check_memory(x, done);
}

void chain_header_filter(struct exchange *x)
{
    bool any = enter(x, PH_HEADER_FILTER);

    if (x->run.state && x->run.state->edits)
        apply_edits(x);
    for (uint32_t i = 0; any && i < x->run.chain->n; i++) {
        const struct c_plugin *p = x->run.chain->v[i];

        if (!p->ops->on_header_filter)
            continue;
        x->run.current = p;
        p->ops->on_header_filter(x, p->conf);
    }
    x->run.current = NULL;
}

void chain_body_filter(struct exchange *x, struct str *piece, bool last)
{
    if (!enter(x, PH_BODY_FILTER))
        return;
    for (uint32_t i = 0; i < x->run.chain->n; i++) {
        const struct c_plugin *p = x->run.chain->v[i];

        if (!p->ops->on_body_filter)
            continue;
        x->run.current = p;
        p->ops->on_body_filter(x, p->conf, piece, last);
    }
    x->run.current = NULL;
}

void chain_log(struct exchange *x)
{
    if (!x->config || !enter(x, PH_LOG))
        return;
    for (uint32_t i = 0; i < x->run.chain->n; i++) {
        const struct c_plugin *p = x->run.chain->v[i];

        if (!p->ops->on_log)
            continue;
        x->run.current = p;
        p->ops->on_log(x, p->conf);
    }
    x->run.current = NULL;
}
