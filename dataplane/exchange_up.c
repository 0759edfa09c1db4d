/*
 * exchange_up.c - the states of an exchange on its way to the upstream, until a response begins.
 */
#include <string.h>

#include "common/log.h"
#include "dataplane/codec/http2.h"
#include "dataplane/exchange_priv.h"
#include "dataplane/observe/metrics.h"
#include "dataplane/plugin.h"

static uint64_t ms(int64_t n)
{
    return n > 0 ? (uint64_t)n * 1000u : 60000000u;
}

/* ---- PICK ---- */

/* Where the wheel of an upstream stands on this worker; a place taken by another starts anew. */
static uint32_t next_turn(struct worker *w, const struct c_upstream *up)
{
    static _Thread_local struct {
        struct uuid id;
        uint32_t turn;
    } turns[512];
    uint64_t word;
    size_t at;

    if (up->n_wheel < 2)
        return 0;
    memcpy(&word, up->def.id.b, sizeof(word));
    at = (size_t)(word ^ word >> 32) % ARRAY_LEN(turns);
    if (!uuid_eq(&turns[at].id, &up->def.id)) {
        turns[at].id = up->def.id;
        turns[at].turn = (uint32_t)(w->turn_seed * 0x9e3779b1u); /* workers do not march in step */
    }
    return turns[at].turn++ % up->n_wheel;
}

/* In turn, but no target that this exchange has found dead, while there are others. */
static const struct c_target *next_target(struct xio *io)
{
    const struct c_upstream *up = io->upstream;
    uint32_t at = up->wheel[next_turn(io->w, up)];

    for (uint32_t i = 1; unlikely(io->failed_targets) && i < up->n_wheel && at < 64 && io->failed_targets & 1ull << at; i++)
        at = up->wheel[next_turn(io->w, up)];
    return &up->targets[at];
}

/* For logs, after the connection may have gone. */
static void note_target(struct xio *io, const struct address *addr)
{
    size_t len;

    if (likely(io->u)) {
        len = io->u->origin->text_len;
        memcpy(io->target_text, io->u->origin->text, sizeof(io->u->origin->text));
    } else {
        len = address_text(addr, io->target->port, io->target_text);
    }
    io->x.target = str_n(io->target_text, len);
}

/* The name the upstream has to prove, and is asked for. */
static struct str server_name(struct xio *io)
{
    const struct c_service *s = io->x.match.service;
    struct str name = io->target->host, host;
    uint16_t port;

    if (!s->tls)
        return STR("");
    if (io->x.match.route->def.preserve_host && io->x.req.host.len)
        return io->x.req.host;
    if (io->upstream->def.host_header.p && http_parse_authority(io->upstream->def.host_header, &host, &port))
        return host;
    return name;
}

enum step in_PICK(struct xio *io)
{
    struct exchange *x = &io->x;
    const struct address *addr;
    struct str sni;

    if (!io->upstream)
        io->upstream = config_upstream(x->config, x->match.service);
    if (!io->upstream->wheel || io->upstream->n_wheel == 0) {
        exchange_error(x, 503, "failure to get a peer from the ring-balancer");
        return step_go(io, XS_ANSWER);
    }
    if (io->waiting_name)
        return STEP_WAIT;
    if (!io->target)
        io->target = next_target(io);
    switch (name_lookup(io->w, io->target->host, io, &addr)) {
    case LOOKUP_OK: break;
    case LOOKUP_WAIT:
        conn_wait(io->c, WAIT_NAME, ms(x->match.service->def.connect_timeout));
        return STEP_WAIT;
    case LOOKUP_NONE:
        if (++io->names_failed < io->upstream->n_targets) {
            io->target = NULL;
            return STEP_GO;
        }
        exchange_error(x, 503, "name resolution failed");
        return step_go(io, XS_ANSWER);
    }
    if (io->c->wait == WAIT_NAME)
        conn_wait_over(io->c);
    sni = server_name(io);
    x->tries++;
    x->times.upstream_sent = worker_now(io->w);
    if (x->match.service->http2 && !x->stream) {
        io->u = http2_open(io->w, addr, io->target->port, x->match.service->tls_ctx, sni, &io->reused);
    } else {
        bool own = x->stream || x->match.service->def.proxy_protocol >= 0; /* no other client's */
        struct str greeting = own ? up_greeting(io) : STR("");

        if (!greeting.p)
            return step_fail(io, 500, NULL);
        io->u = io->no_pool || own ? NULL : pool_take(io->w, addr, io->target->port, x->match.service->tls_ctx, sni);
        io->reused = io->u != NULL;
        if (!io->u)
            io->u = dial(io->w, addr, io->target->port, x->match.service->tls_ctx, sni);
        if (io->u && own)
            uconn_greet(io->u, greeting);
    }
    note_target(io, addr);
    step_go(io, x->stream ? XS_DIAL : XS_SEND);
    if (!io->u)
        return up_failed_try(io, 502);
    io->u->xio = io;
    return STEP_GO;
}

/* ---- SEND ---- */

/* Gives the upstream's connection back, or closes it. */
void up_release(struct xio *io)
{
    struct uconn *u = io->u;

    io->u = NULL;
    names_forget(io);
    if (!u)
        return;
    u->xio = NULL;
    if (io->resp_done && io->up_done && io->x.resp.keep_alive && io->resp_framing != RESP_CLOSE &&
        u->buf && u->at == u->buf->len && io->x.match.service->def.proxy_protocol < 0)
        pool_give(u);
    else
        uconn_kill(u);
}

void up_wait(struct xio *io, int64_t timeout_ms)
{
    timer_set(&io->w->wheel, &io->u->timer, worker_now(io->w) + ms(timeout_ms));
}

static bool idempotent(const struct exchange *x)
{
    return x->req.method_id != M_POST && x->req.method_id != M_PATCH && !str_eq(x->req.method, STR("LOCK"));
}

/* A connection failed before any byte of a response. */
enum step up_failed_try(struct xio *io, unsigned status)
{
    struct exchange *x = &io->x;
    bool reused = io->reused && status == 502;
    bool again = (idempotent(x) || !io->up_sent_any || (io->u && io->u->unprocessed)) && !io->head_queued;

    LOG_LIMITED(LOG_WARN, "upstream_failed", "request_id=%s target=" STR_FMT " try=%u status=%u reused=%d",
                x->request_id, STR_ARG(x->target), x->tries, status, io->reused);
    if (io->u) {
        if (!io->u->connected && !io->reused)
            metric_add(M_UPSTREAM_CONNECT_FAILURES, 1);
        uconn_kill(io->u);
        io->u = NULL;
    }
    outq_clear(&io->up);
    again = again && body_rewind(io);
    if (reused && again && !io->no_pool) { /* it was closed while it rested: no try of ours */
        x->tries--;
        io->no_pool = true;
    } else if (again && x->tries <= x->match.service->def.retries) {
        metric_add(M_UPSTREAM_RETRIES, 1);
        if (io->target - io->upstream->targets < 64)
            io->failed_targets |= 1ull << (io->target - io->upstream->targets);
        io->target = NULL;
    } else {
        return step_fail(io, status, NULL);
    }
    io->up_ended = io->up_done = io->up_sent_any = io->up_failed = io->phase_open = false;
    return step_go(io, XS_PICK);
}

/* The head of this try into the queue. False: it cannot be written. */
static bool queue_head(struct xio *io)
{
    struct exchange *x = &io->x;
    int64_t length = x->req.content_length;

    if (io->body_replaced)
        length = (int64_t)io->new_body.len;
    else if (x->req.chunked)
        length = io->body_done && !io->body_dropped && !x->req.trailers.n ? (int64_t)(io->decoded - io->body) : -1;
    x->times.upstream_sent = worker_now(io->w);
    return io->u->codec->head(io, length);
}

/* Puts what body is there behind the queue. False: the client broke its framing. */
static bool queue_body(struct xio *io)
{
    struct str piece;

    if (!io->body_replaced && !body_decode(io))
        return false;
    piece = body_ready(io);
    if (piece.len) {
        io->u->codec->piece(io, piece);
        body_sent(io, piece.len);
    }
    if (io->body_replaced || io->body_done) {
        io->u->codec->end(io);
        io->up_ended = true;
    }
    return true;
}

/* Moves the request up as far as it goes. */
enum pump up_pump(struct xio *io)
{
    const struct service *s = &io->x.match.service->def;
    struct uconn *u = io->u;
    size_t n;
    int rc;

    while (!io->up_done && !io->up_failed) {
        if (!io->up_ended && io->up.n <= 1 && !queue_body(io))
            return PUMP_CLIENT_BAD;
        if (outq_empty(&io->up) && !io->up_ended) {
            timer_clear(&u->timer); /* it is the client that is slow */
            return body_ask(io) ? PUMP_OK : PUMP_GONE;
        }
        rc = u->codec->flush(io, &n);
        if (n)
            io->up_sent_any = u->connected = true;
        if (n && !(rc == 0 && io->up_ended))
            up_wait(io, s->write_timeout);
        if (rc < 0)
            return PUMP_BROKEN;
        if (rc > 0) {
            if (!outq_keep(&io->up, &io->x.arena))
                return PUMP_BROKEN;
            uconn_want_write(u, true);
            return PUMP_OK;
        }
        if (io->up_ended) {
            io->up_done = true;
            conn_wait_over(io->c);
            up_wait(io, s->read_timeout);
        }
    }
    return PUMP_OK;
}

/* A 101 may lead to nothing else than what was asked for (RFC 9110 section 15.2.2). */
static bool switched_as_asked(const struct xio *io)
{
    const struct exchange *x = &io->x;
    const struct header *h = headers_find_id(&x->resp.headers, HDR_UPGRADE);

    if (x->req.upgrade_websocket && h && str_ieq(h->value, STR("websocket")))
        return true;
    LOG_LIMITED(LOG_WARN, "upstream_head", "request_id=%s target=" STR_FMT " reason=%s", x->request_id,
                STR_ARG(x->target), "switches to a protocol that was not asked for");
    return false;
}

/*
 * The response's head. Interim ones on the way go to the client; but 100 to one that waits for it
 * is ours to give, since no upstream sees an Expect (RFC 9110 section 15.2).
 */
static enum parse_result take_response_head(struct xio *io)
{
    struct exchange *x = &io->x;

    for (;;) {
        enum parse_result r = io->u->codec->take_head(io);

        if (r != PARSE_OK)
            return r;
        if (x->resp.status >= 200)
            return PARSE_OK;
        if (x->resp.status == 101)
            return switched_as_asked(io) ? PARSE_OK : PARSE_BAD;
        if (x->resp.status != 100 || !x->req.expect_continue)
            io->c->codec->interim(io);
    }
}

enum step in_SEND(struct xio *io)
{
    struct uconn *u = io->u;
    bool some;

    if (!io->phase_open) { /* a new try */
        io->phase_open = true;
        up_wait(io, io->x.match.service->def.connect_timeout);
        if (u->handshaking) {
            uconn_want_read(u, true);
            uconn_want_write(u, true);
            return STEP_WAIT;
        }
    }
    if (u->broken && u->handshaking)
        return up_failed_try(io, 502);
    if (u->handshaking)
        return STEP_WAIT;
    if (!io->up_done && !io->up_ended && outq_empty(&io->up) && !io->up_sent_any && !queue_head(io))
        return step_fail(io, 500, NULL);
    switch (up_pump(io)) {
    case PUMP_OK: break;
    case PUMP_GONE: return STEP_WAIT;
    case PUMP_CLIENT_BAD: return step_fail(io, io->body_bad, NULL);
    case PUMP_BROKEN: /* it may have answered before it closed */
        if (!io->up_sent_any)
            return up_failed_try(io, 502);
        io->up_failed = true;
        if (!u->eof && uconn_read(u) == IO_AGAIN)
            return up_failed_try(io, 502);
        break;
    }
    some = u->buf && u->buf->len > u->at;
    switch (take_response_head(io)) {
    case PARSE_OK:
        io->x.upstream_status = io->x.resp.status;
        io->x.times.upstream_head = worker_now(io->w);
        io->resp_at = u->at;
        u->codec->begin_body(io);
        return step_go(io, XS_RESPOND);
    case PARSE_BAD: return step_fail(io, 502, NULL);
    case PARSE_MORE: break;
    }
    if (u->eof) /* in the middle of a head, or before it */
        return some ? step_fail(io, 502, NULL) : up_failed_try(io, 502);
    if (!outq_empty(&io->down)) { /* an interim head */
        int rc = down_flush(io);

        if (rc < 0)
            return STEP_WAIT;
        if (rc > 0 && io->c->wait == WAIT_WRITE)
            conn_wait_over(io->c);
    }
    uconn_want_read(u, true);
    return STEP_WAIT;
}

void exchange_upstream_readable(struct xio *io)
{
    struct uconn *u = io->u;
    ssize_t n;

    if ((io->state == XS_RESPOND || io->state == XS_TUNNEL) && !outq_empty(&io->down)) {
        uconn_want_read(u, false); /* the client is slower: the kernel keeps the rest */
        return;
    }
    n = uconn_read(u);
    if (n == IO_AGAIN)
        return;
    if (n <= 0)
        uconn_want_read(u, false);
    exchange_run(io);
}
