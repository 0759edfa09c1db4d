/* conn.c - see conn.h. */
#include "dataplane/conn.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "dataplane/addresses.h"
#include "dataplane/codec/http2.h"
#include "dataplane/codec/pipeline.h"
#include "dataplane/listener.h"
#include "dataplane/observe/limits.h"
#include "dataplane/observe/metrics.h"
#include "dataplane/sockaddr.h"
#include "dataplane/stream/preread.h"
#include "dataplane/stream/stream.h"
#include "dataplane/tls/tls.h"
#include "dataplane/xio.h"

#define SPARE_CONNS   4096u
#define HANDSHAKE_US  30000000u
#define LINGER_US     2000000u
#define LINGER_BYTES  (256u * 1024u)

static const char *const reason_words[] = {
#define X(id, word) [id] = word,
    CLOSE_REASONS(X)
#undef X
};

/* ---- events ---- */

void conn_want_read(struct conn *c, bool want)
{
    if (want != c->reading) {
        c->reading = want;
        if (c->io.fd < 0)
            ; /* its connection knows */
        else if (want)
            event_add(&c->ev_read, NULL);
        else
            event_del(&c->ev_read);
    }
    /* what TLS or HTTP/2 holds already makes no socket readable */
    if (want && c->io.holds && !c->handshaking && c->io.ops->pending(&c->io))
        event_active(&c->ev_read, EV_READ, 0);
}

void conn_want_write(struct conn *c, bool want)
{
    if (want == c->writing)
        return;
    c->writing = want;
    if (c->io.fd < 0)
        return;
    if (want)
        event_add(&c->ev_write, NULL);
    else
        event_del(&c->ev_write);
}

void conn_wait(struct conn *c, enum conn_wait wait, uint64_t us)
{
    c->wait = (uint8_t)wait;
    timer_set(&c->w->wheel, &c->timer, worker_now(c->w) + us);
}

ssize_t conn_read(struct conn *c)
{
    size_t room;
    ssize_t n;

    if (!c->rbuf) {
        c->rbuf = buf_take(&c->w->bufs, BUF_32K);
        c->at = 0;
    }
    if (c->xio && c->rbuf->len == c->rbuf->cap && !exchange_room(c->xio)) {
        conn_want_read(c, false);
        return IO_AGAIN;
    }
    room = c->rbuf->cap - c->rbuf->len;
    n = c->io.ops->read(&c->io, c->rbuf->data + c->rbuf->len, room);
    if (n > 0) {
        c->rbuf->len += (uint32_t)n;
        return n;
    }
    if (n == 0)
        c->eof = true;
    if (c->rbuf->len == 0 && !c->xio)
        buf_give(&c->w->bufs, &c->rbuf);
    return n;
}

/* ---- how many of one address ---- */

/* Whom the connection is from, as far as that is believed. */
static const unsigned char *client_addr(const struct conn *c)
{
    return c->proxied ? c->client.addr : c->peer_addr;
}

bool conn_count(struct conn *c)
{
    const struct dp_settings *set = c->w->set;

    if (!set->client_max_connections_per_address || dp_trusts(set, client_addr(c)))
        return true;
    c->counted = address_enter(client_addr(c), (unsigned)set->client_max_connections_per_address);
    if (c->counted)
        return true;
    limit_hit(LIMIT_PER_ADDRESS);
    conn_kill(c, CLOSE_LIMIT);
    return false;
}

/* ---- the end ---- */

static void linger_on(struct conn *c)
{
    char waste[16384];
    ssize_t n = c->io.ops->read(&c->io, waste, sizeof(waste));

    if (n == IO_AGAIN)
        return;
    if (n > 0 && (c->lingered += (uint32_t)n) < LINGER_BYTES)
        return;
    conn_kill(c, CLOSE_DONE);
}

void conn_linger(struct conn *c)
{
    c->io.ops->shutdown(&c->io);
    c->lingering = true;
    buf_give(&c->w->bufs, &c->rbuf);
    conn_want_write(c, false);
    conn_wait(c, WAIT_LINGER, LINGER_US);
    conn_want_read(c, true);
}

void conn_kill(struct conn *c, enum close_reason why)
{
    struct xio *io = c->xio;
    bool socket = c->io.fd >= 0;

    if (c->dead)
        return;
    c->dead = true;
    LOG(LOG_DEBUG, "client_close", "connection=%llu reason=%s requests=%u", (unsigned long long)c->number,
        reason_words[why], c->requests);
    conn_want_write(c, false);
    conn_want_read(c, false);
    event_del(&c->ev_read); /* it may be active without being registered */
    timer_unlink(&c->timer);
    if (io)
        io->x.sni = STR(""); /* it goes with the TLS session, and the log is still to come */
    c->io.ops->close(&c->io);
    *c->prev = c->next;
    if (c->next)
        c->next->prev = c->prev;
    c->w->n_conns--;
    if (socket)
        metric_add(M_CONNECTIONS, -1);
    if (c->counted)
        address_leave(client_addr(c));
    c->next = c->w->dead_conns;
    c->w->dead_conns = c;
    c->ops->closed(c);
}

void conns_reap(struct worker *w)
{
    struct conn *c;

    while ((c = w->dead_conns)) {
        w->dead_conns = c->next;
        WEIR_ASSERT(!c->xio);
        buf_give(&w->bufs, &c->rbuf);
        if (w->n_spare_conns < SPARE_CONNS) {
            c->next = w->spare_conns;
            w->spare_conns = c;
            w->n_spare_conns++;
        } else {
            free(c);
        }
    }
}

void conns_drain(struct worker *w)
{
    struct conn *c, *next;

    for (c = w->conns; c; c = next) {
        next = c->next;
        if (c->handshaking)
            conn_kill(c, CLOSE_DRAIN);
        else
            c->ops->drain(c);
    }
}

void conns_fini(struct worker *w)
{
    struct conn *c;

    while (w->conns)
        conn_kill(w->conns, CLOSE_DRAIN);
    pipeline_flush(w); /* lines without connections by now: there is only memory */
    uconns_reap(w);
    conns_reap(w);
    while ((c = w->spare_conns)) {
        w->spare_conns = c->next;
        free(c);
    }
}

struct xio *conn_next(struct conn *c, bool keep_alive, bool unread)
{
    bool more = c->rbuf && c->at < c->rbuf->len;

    if (c->dead)
        return NULL;
    if (c->stream) { /* its one exchange is over */
        conn_kill(c, CLOSE_DONE);
        return NULL;
    }
    if (c->slot) {
        pipeline_slot_done(c, keep_alive);
        return NULL;
    }
    if (c->pipe) {
        if (keep_alive) {
            pipeline_turn(c);
            return NULL;
        }
        pipeline_drop(c);
    }
    if (!keep_alive || c->w->draining || (c->eof && !more)) {
        if (!c->eof && (unread || more))
            conn_linger(c);
        else
            conn_kill(c, c->eof ? CLOSE_CLIENT : CLOSE_DONE);
        return NULL;
    }
    conn_want_write(c, false);
    if (more) { /* pipelined */
        memmove(c->rbuf->data, c->rbuf->data + c->at, c->rbuf->len - c->at);
        c->rbuf->len -= c->at;
        c->at = 0;
        conn_want_read(c, !c->eof);
        return exchange_begin(c);
    }
    buf_give(&c->w->bufs, &c->rbuf);
    conn_wait(c, WAIT_IDLE, c->w->set->client_idle_timeout_us);
    conn_want_read(c, true);
    return NULL;
}

/* ---- HTTP/1, and one stream of HTTP/2 ---- */

/* The first bytes of a plain connection may be the preface of HTTP/2 (RFC 9113 section 3.3). */
static bool may_be_http2(const struct conn *c)
{
    return c->requests == 0 && !c->stream && !c->io.ssl && c->rbuf->data[0] == 'P' &&
           memcmp(c->rbuf->data, HTTP2_PREFACE, size_min(c->rbuf->len, HTTP2_PREFACE_LEN)) == 0;
}

static void http_readable(struct conn *c)
{
    ssize_t n;

    if (unlikely(c->pipe && !c->xio)) {
        pipeline_readable(c);
        return;
    }
    n = conn_read(c);
    if (n == IO_AGAIN)
        return;
    if (n == IO_ERROR || (n == 0 && !c->xio)) {
        conn_kill(c, c->xio ? CLOSE_CLIENT_ABORT : CLOSE_CLIENT);
        return;
    }
    if (n == 0)
        conn_want_read(c, false);
    if (!c->xio && unlikely(may_be_http2(c))) {
        if (c->rbuf->len >= HTTP2_PREFACE_LEN)
            http2_accept(c);
        else
            conn_wait(c, WAIT_HEAD, c->w->set->client_header_timeout_us);
        return;
    }
    exchange_run(c->xio ? c->xio : exchange_begin(c));
    if (!c->dead && c->reading)
        conn_want_read(c, true);
}

static void http_writable(struct conn *c)
{
    if (c->xio)
        exchange_run(c->xio);
    else if (c->pipe)
        pipeline_turn(c);
}

static void http_timeout(struct conn *c)
{
    if (c->wait == WAIT_IDLE)
        limit_hit(LIMIT_IDLE_TIME);
    else if (c->wait == WAIT_WRITE && c->pipe && !c->xio) /* held answers that nobody takes */
        limit_hit(LIMIT_WRITE_TIME);
    if (c->xio)
        exchange_client_timeout(c->xio);
    else
        conn_kill(c, c->wait == WAIT_IDLE ? CLOSE_IDLE : c->wait == WAIT_LINGER ? CLOSE_DONE : CLOSE_TIMEOUT);
}

static void http_drain(struct conn *c)
{
    if (c->xio || c->pipe || c->lingering)
        return;
    /* what has arrived already is served: its sender cannot know that nobody looked at it */
    if (conn_read(c) > 0)
        exchange_run(exchange_begin(c));
    else
        conn_kill(c, CLOSE_DRAIN);
}

static void http_closed(struct conn *c)
{
    if (c->pipe)
        pipeline_drop(c);
    if (c->xio)
        exchange_client_gone(c->xio);
}

static bool agreed_on_http2(const struct conn *c)
{
    const unsigned char *name;
    unsigned len;

    SSL_get0_alpn_selected(c->io.ssl, &name, &len);
    return len == 2 && memcmp(name, "h2", 2) == 0;
}

static void http_ready(struct conn *c)
{
    conn_wait(c, WAIT_IDLE, c->w->set->client_idle_timeout_us);
    if (agreed_on_http2(c))
        http2_accept(c);
    if (!c->dead)
        conn_want_read(c, true);
}

static const struct conn_ops http_ops = {
    .ready = http_ready,
    .readable = http_readable,
    .writable = http_writable,
    .timeout = http_timeout,
    .drain = http_drain,
    .closed = http_closed,
};

/* ---- callbacks ---- */

static void handshake(struct conn *c)
{
    int rc = c->io.ops->handshake(&c->io);

    switch (rc) {
    case 0:
        c->handshaking = false;
        conn_want_write(c, false);
        c->ops->ready(c);
        break;
    case IO_AGAIN: conn_want_write(c, false); break;
    case IO_AGAIN_WRITE: conn_want_write(c, true); break;
    default: conn_kill(c, CLOSE_HANDSHAKE); break;
    }
}

void conn_readable(struct conn *c)
{
    if (unlikely(c->dead))
        return;
    if (unlikely(c->handshaking))
        handshake(c);
    else if (unlikely(c->lingering))
        linger_on(c);
    else if (likely(c->reading)) /* it may be made active for held bytes, and stop since */
        c->ops->readable(c);
}

void conn_writable(struct conn *c)
{
    if (c->dead)
        return;
    conn_want_write(c, false);
    if (c->handshaking)
        handshake(c);
    else
        c->ops->writable(c);
}

static void on_read(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    conn_readable(arg);
}

static void on_write(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    conn_writable(arg);
}

static void on_timer(struct timer *t)
{
    struct conn *c = CONTAINER_OF(t, struct conn, timer);

    c->ops->timeout(c);
}

struct str conn_alpn(const SSL *ssl)
{
    const struct conn *c = SSL_get_ex_data(ssl, tls_ex_index());

    if (c->listener->kind == LISTEN_STREAM) /* what its bytes mean is between the client and the upstream */
        return STR("");
    return c->listener->addr->http2 ? STR("\x02h2\x08http/1.1") : STR("\x08http/1.1");
}

/* ---- the beginning ---- */

void conn_note_address(const struct sockaddr *sa, char text[46], unsigned char mapped[16], uint16_t *port)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;

    memset(mapped, 0, 16);
    if (sa->sa_family == AF_INET) {
        memcpy(&v4, sa, sizeof(v4));
        mapped[10] = mapped[11] = 0xff;
        memcpy(mapped + 12, &v4.sin_addr, 4);
        inet_ntop(AF_INET, &v4.sin_addr, text, 46);
        *port = ntohs(v4.sin_port);
    } else {
        memcpy(&v6, sa, sizeof(v6));
        memcpy(mapped, &v6.sin6_addr, 16);
        inet_ntop(AF_INET6, &v6.sin6_addr, text, 46);
        *port = ntohs(v6.sin6_port);
    }
}

/* Only a wildcard listener has to ask where the client arrived. */
static void note_local(struct conn *c, const struct listener *l)
{
    union socket_addr addr;
    socklen_t len = sizeof(addr);
    unsigned char mapped[16];
    uint16_t port;

    c->local_port = l->port;
    if (strcmp(l->addr->host, "0.0.0.0") != 0 && strcmp(l->addr->host, "::") != 0) {
        memcpy(c->local_ip, l->addr->host, size_min(strlen(l->addr->host) + 1, sizeof(c->local_ip) - 1));
        return;
    }
    if (getsockname(c->io.fd, &addr.sa, &len) == 0)
        conn_note_address(&addr.sa, c->local_ip, mapped, &port);
}

static struct conn *conn_new(struct worker *w, int fd)
{
    struct conn *c = w->spare_conns;

    if (c) {
        w->spare_conns = c->next;
        w->n_spare_conns--;
    } else {
        c = xmalloc(sizeof(*c));
    }
    memset(c, 0, sizeof(*c));
    c->w = w;
    c->ops = &http_ops;
    c->codec = &down_http1;
    c->io = (struct io){.ops = &io_plain, .fd = fd};
    c->timer.fn = on_timer;
    event_assign(&c->ev_read, w->base, fd, EV_READ | EV_PERSIST, on_read, c);
    event_assign(&c->ev_write, w->base, fd, EV_WRITE | EV_PERSIST, on_write, c);
    c->prev = &w->conns;
    c->next = w->conns;
    if (c->next)
        c->next->prev = &c->next;
    w->conns = c;
    w->n_conns++;
    return c;
}

/* Who and where, as parent's. */
static struct conn *conn_below(struct conn *parent, const struct io_ops *ops)
{
    struct conn *c = conn_new(parent->w, -1);

    c->io = (struct io){.ops = ops, .fd = -1, .ssl = parent->io.ssl};
    c->listener = parent->listener;
    c->number = parent->number;
    c->requests = parent->requests++;
    c->peer_port = parent->peer_port;
    c->local_port = parent->local_port;
    c->peer_ip_len = parent->peer_ip_len;
    memcpy(c->peer_ip, parent->peer_ip, sizeof(c->peer_ip));
    memcpy(c->local_ip, parent->local_ip, sizeof(c->local_ip));
    memcpy(c->peer_addr, parent->peer_addr, sizeof(c->peer_addr));
    c->client = parent->client;
    c->proxied = parent->proxied;
    c->peer_trusted = parent->peer_trusted;
    c->reading = true;
    return c;
}

struct conn *conn_open_slot(struct conn *parent, struct slot *slot, const struct conn_ops *events,
                            const struct io_ops *ops)
{
    struct conn *c = conn_below(parent, ops);

    c->ops = events;
    c->slot = slot;
    return c;
}

struct conn *conn_open_stream(struct conn *parent, struct http2_stream *stream, const struct io_ops *ops)
{
    struct conn *c = conn_below(parent, ops);

    c->codec = &down_http2;
    c->io.holds = true;
    c->stream = stream;
    return c;
}

bool conn_accept_tls(struct conn *c)
{
    c->io.ssl = tls_accept(c->listener->tls, c->io.fd, c);
    if (!c->io.ssl) {
        conn_kill(c, CLOSE_HANDSHAKE);
        return false;
    }
    c->io.ops = &io_tls;
    c->io.holds = true;
    c->handshaking = true;
    conn_wait(c, WAIT_HANDSHAKE, HANDSHAKE_US);
    conn_want_read(c, true);
    return true;
}

void conn_begin(struct conn *c)
{
    if (c->listener->kind == LISTEN_STREAM) {
        stream_begin(c);
        return;
    }
    c->ops = &http_ops;
    if (c->listener->tls) {
        (void)conn_accept_tls(c);
        return;
    }
    conn_wait(c, WAIT_IDLE, c->w->set->client_idle_timeout_us);
    conn_want_read(c, true);
}

void conn_open(struct listener *l, int fd, const struct sockaddr *peer)
{
    static _Atomic uint64_t numbers;
    struct worker *w = l->w;
    struct conn *c = conn_new(w, fd);

    c->listener = l;
    c->number = atomic_fetch_add_explicit(&numbers, 1, memory_order_relaxed) + 1;
    conn_note_address(peer, c->peer_ip, c->peer_addr, &c->peer_port);
    c->peer_ip_len = (uint8_t)strlen(c->peer_ip);
    c->peer_trusted = dp_trusts(w->set, c->peer_addr);
    note_local(c, l);
    metric_add(M_CONNECTIONS_TOTAL, 1);
    metric_add(M_CONNECTIONS, 1);
    if (!conn_count(c))
        return;
    if (l->addr->proxy_protocol)
        preread_proxy(c);
    else
        conn_begin(c);
}
