/*
 * exchange.c - the state machine of an exchange: exchange_states.def, one function per state,
 * one driver. Callbacks only note what happened and call the driver.
 *
 * The states are in exchange_in.c (head to body), exchange_up.c (to the upstream),
 * exchange_down.c (back to the client), and here those at the end.
 */
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "dataplane/codec/pipeline.h"
#include "dataplane/observe/limits.h"
#include "dataplane/observe/metrics.h"
#include "dataplane/plugin.h"
#include "dataplane/exchange_priv.h"

#define SPARE_XIOS       1024u
#define PIPELINE_PER_RUN 16
#define REST_MAX         (64u * 1024u) /* more unwanted body closes the connection instead */

static const struct {
    const char *name;
    uint32_t to;
} states[] = {
#define TO(state) (1u << XS_##state)
#define X(state, to) [XS_##state] = {#state, (to)},
#include "dataplane/exchange_states.def"
#undef X
#undef TO
};

/* Kept out of step_go: that is called nine times a request. */
__attribute__((cold, noinline, noreturn)) static void refuse_move(const struct xio *io, enum xstate to)
{
    for (unsigned i = 0; i < ARRAY_LEN(io->moves) && i < io->n_moves; i++)
        LOG(LOG_CRIT, "exchange_move", "request_id=%s state=%s", io->x.request_id, states[io->moves[i]].name);
    LOG(LOG_CRIT, "exchange_move", "request_id=%s state=%s refused=%s", io->x.request_id,
        states[io->state].name, states[to].name);
    WEIR_UNREACHABLE("exchange state");
}

/* The only writer of the state. */
enum step step_go(struct xio *io, enum xstate to)
{
    if (unlikely(!(states[io->state].to & 1u << to)))
        refuse_move(io, to);
    io->moves[io->n_moves++ % ARRAY_LEN(io->moves)] = (uint8_t)io->state;
    io->state = to;
    io->phase_open = false;
    io->resumed = false;
    return STEP_GO;
}

enum step step_fail(struct xio *io, unsigned status, const char *message)
{
    respond_failure(&io->x, status, message);
    return step_go(io, XS_ANSWER);
}

/* ---- for plugins ---- */

struct plugin_timer {
    struct timer timer;
    struct exchange *x;
    struct plugin_timer *next;
};

unsigned exchange_worker(const struct exchange *x)
{
    return x->worker->index;
}

void exchange_resume(struct exchange *x)
{
    x->io->resumed = true;
    worker_ready(x->worker, x->io);
}

static void on_plugin_timer(struct timer *t)
{
    plugin_resume(CONTAINER_OF(t, struct plugin_timer, timer)->x);
}

struct plugin_timer *exchange_timer(struct exchange *x, uint64_t us)
{
    struct plugin_timer *t = arena_zalloc(&x->arena, sizeof(*t));

    if (!t)
        return NULL;
    t->timer.fn = on_plugin_timer;
    t->x = x;
    t->next = x->io->timers;
    x->io->timers = t;
    timer_set(&x->worker->wheel, &t->timer, worker_now(x->worker) + us);
    return t;
}

void exchange_timer_cancel(struct plugin_timer *t)
{
    timer_unlink(&t->timer);
}

/* ---- life ---- */

/* The length is hidden: for one it knows, the compiler stores word by word, at twice the cost. */
static void clear(struct xio *io)
{
    size_t len = offsetof(struct xio, up);

    __asm__("" : "+r"(len));
    memset(io, 0, len);
}

struct xio *exchange_begin(struct conn *c)
{
    struct worker *w = c->w;
    struct xio *io = w->spare_xios;
    struct exchange *x;

    if (io) {
        w->spare_xios = io->next;
        w->n_spare_xios--;
    } else {
        io = xmalloc(sizeof(*io));
    }
    clear(io);
    outq_clear(&io->up);
    outq_clear(&io->down);
    x = &io->x;
    x->io = io;
    x->worker = w;
    io->w = w;
    io->c = c;
    c->xio = io;
    c->requests++;
    arena_init_in(&x->arena, io->embedded, sizeof(io->embedded), EXCHANGE_ARENA_CAP);
    x->times.start = worker_now(w);
    x->peer_ip = x->client_ip = str_n(c->peer_ip, c->peer_ip_len);
    memcpy(x->client_addr, c->peer_addr, sizeof(x->client_addr));
    if (unlikely(c->proxied)) {
        x->client_ip = str_of(c->client.ip);
        memcpy(x->client_addr, c->client.addr, sizeof(x->client_addr));
    }
    x->client_port = c->proxied ? c->client.port : c->peer_port;
    x->local_ip = str_of(c->local_ip);
    x->local_port = c->local_port;
    x->connection = c->number;
    x->connection_requests = c->requests;
    x->tls = c->io.ssl != NULL;
    x->peer_trusted = c->peer_trusted;
    x->sni = STR("");
    if (x->tls) {
        const char *name = SSL_get_servername(c->io.ssl, TLSEXT_NAMETYPE_host_name);
        if (name)
            x->sni = str_of(name);
    }
    metric_add(M_EXCHANGES, 1);
    return io;
}

/* Everything goes back; nobody looks at io afterwards. */
static void dispose(struct xio *io)
{
    struct worker *w = io->w;

    WEIR_ASSERT(!io->u);
    for (struct plugin_timer *t = io->timers; t; t = t->next)
        timer_unlink(&t->timer);
    buf_give(&w->bufs, &io->head_buf);
    buf_give(&w->bufs, &io->resp_buf);
    if (io->x.pin)
        live_unpin(io->x.pin);
    arena_fini(&io->x.arena);
    metric_add(M_EXCHANGES, -1);
    if (w->n_spare_xios < SPARE_XIOS) {
        io->next = w->spare_xios;
        w->spare_xios = io;
        w->n_spare_xios++;
    } else {
        free(io);
    }
}

void xios_fini(struct worker *w)
{
    struct xio *io;

    while ((io = w->spare_xios)) {
        w->spare_xios = io->next;
        free(io);
    }
}

static void out_of_ready(struct xio *io)
{
    struct worker *w = io->w;
    struct xio **at = &w->ready;

    if (!io->in_ready)
        return;
    while (*at && *at != io)
        at = &(*at)->next;
    WEIR_ASSERT(*at == io);
    *at = io->next;
    if (w->ready_end == &io->next)
        w->ready_end = at;
    io->in_ready = false;
}

static void count_stream(const struct exchange *x)
{
    char digits[20], *end = digits + sizeof(digits), *at = str_u64(x->resp.status, end);

    metric_add_with(M_STREAMS, &(struct str){at, (size_t)(end - at)}, 1);
}

static void log_exchange(struct xio *io)
{
    struct exchange *x = &io->x;

    x->times.end = worker_now(io->w);
    x->bytes_in += io->body_bytes;
    if (!io->log_due)
        return;
    if (x->stream)
        count_stream(x);
    chain_log(x);
}

/* The client has gone before the end: as the reference's status 499. */
static void abandon(struct xio *io)
{
    struct exchange *x = &io->x;

    io->c->xio = NULL;
    chain_abort(x);
    metric_add(M_CLIENT_ABORTS, 1);
    if (!io->head_queued)
        x->resp.status = 499;
    log_exchange(io); /* first: the response's head may lie in the upstream's buffer */
    up_release(io);
    out_of_ready(io);
    dispose(io);
}

void exchange_client_gone(struct xio *io)
{
    io->gone = true;
    if (!io->running)
        abandon(io);
}

/* ---- ANSWER, REST, LOG ---- */

enum step in_ANSWER(struct xio *io)
{
    struct exchange *x = &io->x;

    if (!io->head_queued) {
        conn_wait_over(io->c);
        chain_abort(x);
        up_release(io);
        outq_clear(&io->up); /* it may point into the window, which is used for other things now */
        io->body_want = 0;
        if (x->resp.status < 200)
            io->keep_alive = false; /* by itself such a head ends nothing */
        if (io->body_bad || (!io->body_done && (!io->continued || !io->c->rbuf ||
                                                (!x->req.chunked && io->body_left > REST_MAX))))
            io->keep_alive = false;
        if (!down_queue_head(io) || !down_queue_piece(io, x->answer, true)) {
            conn_kill(io->c, CLOSE_DONE);
            return STEP_WAIT;
        }
    }
    if (down_flush(io) != 1)
        return STEP_WAIT;
    conn_wait_over(io->c);
    if (!io->body_done && io->keep_alive)
        return step_go(io, XS_REST);
    return step_go(io, XS_LOG);
}

enum step in_REST(struct xio *io)
{
    struct conn *c = io->c;

    if (!body_decode(io) || io->body_bytes > REST_MAX || c->eof)
        io->keep_alive = false;
    else if (!io->body_done) {
        body_drop(io);
        conn_wait(c, WAIT_BODY, io->w->set->client_body_timeout_us);
        conn_want_read(c, true);
        return STEP_WAIT;
    }
    return step_go(io, XS_LOG);
}

enum step in_LOG(struct xio *io)
{
    log_exchange(io); /* first: the response's head may lie in the upstream's buffer */
    io->log_due = false;
    up_release(io);
    return step_go(io, XS_DONE);
}

enum step in_DONE(struct xio *io)
{
    (void)io;
    return STEP_WAIT;
}

static enum step (*const steps[])(struct xio *) = {
#define X(state, to) [XS_##state] = in_##state,
#include "dataplane/exchange_states.def"
#undef X
};

/* ---- the driver ---- */

/* The exchange that follows on the same connection, or NULL. */
static struct xio *finish(struct xio *io)
{
    struct conn *c = io->c;
    bool keep_alive = io->keep_alive && io->body_done && !io->body_bad;
    /* a client that expected to go on may have sent more already */
    bool unread = !io->body_done || io->body_bad || io->x.stream || (io->x.req.keep_alive && !keep_alive);

    c->xio = NULL;
    out_of_ready(io);
    dispose(io);
    return conn_next(c, keep_alive, unread);
}

void exchange_run(struct xio *io)
{
    for (int n = 0; io && n < PIPELINE_PER_RUN; n++) {
        if (io->running)
            return; /* a callback of something the driver itself did */
        io->running = true;
        while (!io->gone && steps[io->state](io) == STEP_GO)
            ;
        io->running = false;
        if (io->gone) {
            abandon(io);
            return;
        }
        if (io->state != XS_DONE) {
            if (unlikely(io->body_done && io->c->rbuf && io->c->at < io->c->rbuf->len && !io->c->stream))
                pipeline_feed(io->c);
            return;
        }
        io = finish(io);
    }
    if (io)
        worker_ready(io->w, io);
}

void exchange_upstream_timeout(struct xio *io)
{
    if (io->state == XS_SEND || io->state == XS_DIAL) {
        io->running = true;
        up_failed_try(io, 504);
        io->running = false;
        exchange_run(io);
    } else if (io->state == XS_TUNNEL) { /* nobody has anything to say */
        io->running = true;
        step_go(io, XS_LOG);
        io->running = false;
        exchange_run(io);
    } else {
        LOG_LIMITED(LOG_WARN, "upstream_timeout", "request_id=%s target=" STR_FMT, io->x.request_id,
                    STR_ARG(io->x.target));
        conn_kill(io->c, CLOSE_UPSTREAM_CUT);
    }
}

void exchange_client_timeout(struct xio *io)
{
    struct conn *c = io->c;

    if (c->wait == WAIT_HEAD || c->wait == WAIT_BODY || c->wait == WAIT_WRITE)
        limit_hit(c->wait == WAIT_HEAD ? LIMIT_HEADER_TIME : c->wait == WAIT_BODY ? LIMIT_BODY_TIME : LIMIT_WRITE_TIME);
    /* a head or body that does not come is told so; one who does not read hears nothing */
    if ((c->wait == WAIT_HEAD && io->state == XS_HEAD) ||
        (c->wait == WAIT_BODY && (io->state == XS_BUFFER || io->body_want))) {
        io->running = true;
        io->keep_alive = false;
        if (!io->x.request_id[0])
            worker_request_id(io->w, io->x.request_id);
        io->body_bad = 400;
        step_fail(io, 408, NULL);
        io->running = false;
        exchange_run(io);
        return;
    }
    if (c->wait == WAIT_NAME) {
        names_forget(io);
        io->running = true;
        exchange_error(&io->x, 503, "name resolution failed");
        step_go(io, XS_ANSWER);
        io->running = false;
        exchange_run(io);
        return;
    }
    conn_kill(c, CLOSE_TIMEOUT);
}
