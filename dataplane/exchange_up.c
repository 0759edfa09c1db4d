/*
 * exchange_up.c - the states of an exchange on its way to the upstream, until a response begins.
 */
#include <string.h>

#include "common/log.h"
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

static void note_target(struct xio *io, const struct address *addr)
{
    char *end = io->target_text + sizeof(io->target_text), *at = str_u64(io->target->port, end);
    size_t n = strlen(addr->text);

    *--at = ':';
    at -= n;
    memcpy(at, addr->text, n);
    io->x.target = str_n(at, (size_t)(end - at));
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
        io->target = &io->upstream->targets[io->upstream->wheel[next_turn(io->w, io->upstream)]];
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
    note_target(io, addr);
    sni = server_name(io);
    x->tries++;
    x->times.upstream_sent = worker_now(io->w);
    io->u = io->no_pool ? NULL : pool_take(io->w, addr, io->target->port, x->match.service->tls_ctx, sni);
    io->reused = io->u != NULL;
    if (!io->u)
        io->u = dial(io->w, addr, io->target->port, x->match.service->tls_ctx, sni);
    step_go(io, XS_SEND);
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
        u->buf && u->at == u->buf->len && io->state != XS_TUNNEL)
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
    bool again = (idempotent(x) || !io->up_sent_any) && !io->head_queued;

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
    size_t n;

    io->up_chunked = false;
    if (io->body_replaced)
        length = (int64_t)io->new_body.len;
    else if (x->req.chunked && io->body_done)
        length = (int64_t)(io->decoded - io->body);
    else if (x->req.chunked)
        io->up_chunked = true;
    if (x->req.chunked && io->body_dropped && !io->body_replaced)
        io->up_chunked = true;
    n = forward_head(io, length, io->up_chunked);
    if (n == 0)
        return false;
    outq_add_fleeting(&io->up, io->w->scratch, n);
    x->times.upstream_sent = worker_now(io->w);
    return true;
}

/* Puts what body is there behind the queue. False: the client broke its framing. */
static bool queue_body(struct xio *io)
{
    struct str piece;

    if (!io->body_replaced && !body_decode(io))
        return false;
    piece = body_ready(io);
    if (piece.len) {
        outq_add_body(&io->up, io->up_chunk, piece, io->up_chunked);
        body_sent(io, piece.len);
    }
    if (io->body_replaced || io->body_done) {
        if (io->up_chunked)
            outq_add(&io->up, "0\r\n\r\n", 5);
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
        rc = outq_write(&io->up, &u->io, &n);
        if (n) {
            io->up_sent_any = u->connected = true;
            up_wait(io, s->write_timeout);
        }
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

/* 103 and the like go on to a client that can take them; 100 was ours to give. */
static void pass_interim(struct xio *io)
{
    struct exchange *x = &io->x;
    struct sbuf text = {0};
    struct str copy;

    if (x->resp.status != 100 && x->req.version >= 11 && outq_empty(&io->down)) {
        sbuf_addf(&text, "HTTP/1.1 %u %s\r\n", x->resp.status, status_text(x->resp.status));
        HEADERS_EACH(h, &x->resp.headers)
            if (h->id != HDR_CONNECTION && h->id != HDR_TRANSFER_ENCODING && h->id != HDR_CONTENT_LENGTH)
                sbuf_addf(&text, STR_FMT ": " STR_FMT "\r\n", STR_ARG(h->name), STR_ARG(h->value));
        sbuf_adds(&text, "\r\n");
        copy = arena_str(&x->arena, sbuf_str(&text));
        sbuf_free(&text);
        if (copy.p)
            outq_add(&io->down, copy.p, copy.len);
    }
}

static enum parse_result take_response_head(struct xio *io)
{
    const struct parse_limits limits = {
        .head_bytes = io->w->set->upstream_max_header_bytes, .fields = 256, .uri_bytes = 0};
    struct exchange *x = &io->x;
    struct uconn *u = io->u;
    struct parse_error why = {0};
    enum parse_result r;
    size_t used;

    do {
        struct str in = str_n(u->buf->data + u->at, u->buf->len - u->at);

        r = http_parse_response(in, &limits, &x->arena, x->req.method_id == M_HEAD, &x->resp, &used, &why);
        if (r == PARSE_BAD)
            LOG_LIMITED(LOG_WARN, "upstream_head", "request_id=%s target=" STR_FMT " reason=%s", x->request_id,
                        STR_ARG(x->target), why.message);
        if (r != PARSE_OK)
            return r;
        u->at += (uint32_t)used;
        if (x->resp.status < 200 && x->resp.status != 101)
            pass_interim(io);
    } while (x->resp.status < 200 && x->resp.status != 101);
    if (x->resp.status == 101 && !x->req.upgrade_websocket)
        return PARSE_BAD;
    return PARSE_OK;
}

static void begin_response_body(struct xio *io)
{
    struct exchange *x = &io->x;
    const struct resp_head *r = &x->resp;

    x->upstream_status = r->status;
    io->resp_at = io->u->at;
    if (r->chunked) {
        io->resp_framing = RESP_CHUNKED;
    } else if (r->content_length >= 0) {
        io->resp_framing = RESP_LENGTH;
        io->resp_left = (uint64_t)r->content_length;
        io->resp_done = r->content_length == 0;
    } else {
        io->resp_framing = RESP_CLOSE;
    }
}

enum step in_SEND(struct xio *io)
{
    struct uconn *u = io->u;

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
    if (u->buf && u->buf->len > u->at) {
        if (!io->x.times.upstream_head)
            io->x.times.upstream_head = worker_now(io->w);
        switch (take_response_head(io)) {
        case PARSE_OK: begin_response_body(io); return step_go(io, XS_RESPOND);
        case PARSE_BAD: return step_fail(io, 502, NULL);
        case PARSE_MORE: break;
        }
        if (u->eof)
            return step_fail(io, 502, NULL);
        if (u->buf->len == u->buf->cap) {
            if (u->buf->class == BUF_64K)
                return step_fail(io, 502, NULL);
            struct buf *old = u->buf;
            u->buf = buf_take(&io->w->bufs, BUF_64K);
            u->buf->len = old->len - u->at;
            memcpy(u->buf->data, old->data + u->at, u->buf->len);
            u->at = 0;
            buf_give(&io->w->bufs, &old);
        }
    } else if (u->eof) {
        return up_failed_try(io, 502);
    }
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
