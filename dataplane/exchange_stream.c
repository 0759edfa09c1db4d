/*
 * exchange_stream.c - the states of an exchange that is no request (any more): bytes both ways.
 *
 * A direction reads only what it can send on: while its queue waits for room its source stays
 * in the kernel, so a slow reader slows its writer. Windows are 32 KB, 64 KB once a read has filled
 * them, and go back to the pool as soon as they are empty: a silent tunnel holds none.
 */
#include <arpa/inet.h>
#include <string.h>

#include "dataplane/exchange_priv.h"
#include "dataplane/observe/metrics.h"
#include "dataplane/stream/proxy_protocol.h"

#define ROUNDS 16 /* full reads of one side before others get their turn */

/* ---- PROXY header towards the upstream ---- */

static union socket_addr proxy_addr_of(const unsigned char mapped[16], uint16_t port)
{
    static const unsigned char v4_prefix[12] = {[10] = 0xff, [11] = 0xff};
    union socket_addr out = {0};

    if (memcmp(mapped, v4_prefix, sizeof(v4_prefix)) == 0) {
        out.v4.sin_family = AF_INET;
        out.v4.sin_port = htons(port);
        memcpy(&out.v4.sin_addr, mapped + 12, 4);
    } else {
        out.v6.sin6_family = AF_INET6;
        out.v6.sin6_port = htons(port);
        memcpy(&out.v6.sin6_addr, mapped, 16);
    }
    return out;
}

static union socket_addr local_of(const struct conn *c)
{
    union socket_addr out = {0};

    if (inet_pton(AF_INET, c->local_ip, &out.v4.sin_addr) == 1) {
        out.v4.sin_family = AF_INET;
        out.v4.sin_port = htons(c->local_port);
    } else if (inet_pton(AF_INET6, c->local_ip, &out.v6.sin6_addr) == 1) {
        out.v6.sin6_family = AF_INET6;
        out.v6.sin6_port = htons(c->local_port);
    }
    return out;
}

struct str up_greeting(struct xio *io)
{
    const struct conn *c = io->c;
    int version = io->x.match.service->def.proxy_protocol;
    union socket_addr src = proxy_addr_of(c->proxied ? c->client.addr : c->peer_addr,
                                         c->proxied ? c->client.port : c->peer_port);
    union socket_addr dst = local_of(c);
    unsigned char v2[PROXY_V2_WRITTEN];
    char v1[PROXY_V1_MAX];

    if (version == PROXY_V1)
        return arena_str(&io->x.arena, str_n(v1, proxy_write_v1(&src, &dst, v1)));
    if (version == PROXY_V2)
        return arena_str(&io->x.arena, str_n((const char *)v2, proxy_write_v2(&src, &dst, v2)));
    return STR("");
}

/* ---- DIAL ---- */

/* From now on the bytes are nobody's but the two ends'. */
enum step tunnel_begin(struct xio *io)
{
    io->keep_alive = false;
    io->resp_at = io->u->at;
    io->resp_framing = RESP_CLOSE;
    io->body = io->c->at;
    io->up_done = true;
    io->up_ended = false; /* now it tells that the client's side has been closed */
    return step_go(io, XS_TUNNEL);
}

enum step in_DIAL(struct xio *io)
{
    struct exchange *x = &io->x;
    struct uconn *u = io->u;

    if (!io->phase_open) { /* a new try */
        io->phase_open = true;
        up_wait(io, x->match.service->def.connect_timeout);
        uconn_want_write(u, true);
        if (x->match.service->tls)
            uconn_want_read(u, true);
        return STEP_WAIT;
    }
    if (u->broken)
        return up_failed_try(io, 502);
    if (u->handshaking)
        return STEP_WAIT;
    x->times.upstream_head = x->times.head_out = worker_now(io->w);
    x->resp.status = 200; /* as the reference logs a session that was served */
    io->head_queued = true;
    return tunnel_begin(io);
}

/* ---- TUNNEL ---- */

/* What waits in b, all of it. As outq_write. */
static int push(struct outq *q, const struct buf *b, uint32_t *at, struct io *to, uint64_t *moved)
{
    size_t n;
    int rc;

    do {
        if (outq_empty(q) && b && *at < b->len) {
            outq_add(q, b->data + *at, b->len - *at);
            *at = b->len;
        }
        rc = outq_write(q, to, &n);
        *moved += n;
    } while (rc == 0 && b && *at < b->len);
    return rc;
}

/*
 * An empty window: back to the pool, or larger when the last read has filled it. A head in front
 * of it stays, in *pinned. True: more may be there to be read at once.
 */
static bool window_rest(struct buf_pool *pool, struct buf **b, uint32_t *at, uint32_t *start, struct buf **pinned)
{
    bool full = (*b)->len == (*b)->cap;

    if (*start && !*pinned) {
        *pinned = *b;
        *b = NULL;
    } else if (!full || (*b)->class != BUF_64K) {
        buf_give(pool, b);
    }
    *at = *start = 0;
    if (!*b && full)
        *b = buf_take(pool, BUF_64K);
    if (*b)
        (*b)->len = 0;
    return full;
}

static int relay_down(struct xio *io, uint64_t *moved)
{
    struct uconn *u = io->u;

    for (int round = 1;; round++) {
        int rc = push(&io->down, u->buf, &u->at, &io->c->io, moved);

        if (rc < 0 || (rc > 0 && !outq_keep(&io->down, &io->x.arena)))
            return -1;
        conn_want_write(io->c, rc > 0);
        if (rc > 0)
            return 1;
        if (!u->buf || !window_rest(&io->w->bufs, &u->buf, &u->at, &io->resp_at, &io->resp_buf) || u->eof ||
            round == ROUNDS)
            return 0;
        if (uconn_read(u) <= 0 && !u->eof)
            return 0;
    }
}

static int relay_up(struct xio *io, uint64_t *moved)
{
    struct conn *c = io->c;

    for (int round = 1;; round++) {
        int rc = push(&io->up, c->rbuf, &c->at, &io->u->io, moved);
        ssize_t n;

        if (rc < 0)
            return -1;
        uconn_want_write(io->u, rc > 0);
        if (rc > 0)
            return 1;
        if (!c->rbuf || !window_rest(&io->w->bufs, &c->rbuf, &c->at, &io->body, &io->head_buf) || c->eof ||
            round == ROUNDS)
            return 0;
        n = conn_read(c);
        if (n == IO_ERROR)
            c->eof = c->broken = true;
        if (n <= 0 && !c->eof)
            return 0;
    }
}

/* Nothing moves for that long: then it ends. A side that takes nothing has a time of its own. */
static void watch(struct xio *io, int up, int down, uint64_t in, uint64_t out)
{
    const struct service *s = &io->x.match.service->def;
    struct conn *c = io->c;

    if (up == 0)
        up_wait(io, s->read_timeout);
    else if (in || !io->up_stalled)
        up_wait(io, s->write_timeout);
    io->up_stalled = up > 0;
    if (down == 0)
        conn_wait_over(c);
    else if (out || c->wait != WAIT_WRITE || !c->timer.due_us)
        conn_wait(c, WAIT_WRITE, (uint64_t)s->write_timeout * 1000u);
}

static void count(struct xio *io, uint64_t in, uint64_t out)
{
    io->x.bytes_in += in;
    io->x.bytes_out += out;
    if (!io->x.stream)
        return;
    if (in)
        metric_add(M_STREAM_RECEIVED, (int64_t)in);
    if (out)
        metric_add(M_STREAM_SENT, (int64_t)out);
}

enum step in_TUNNEL(struct xio *io)
{
    struct conn *c = io->c;
    struct uconn *u = io->u;
    uint64_t in = 0, out = 0;
    int up, down;

    down = relay_down(io, &out);
    up = u->broken ? 0 : relay_up(io, &in);
    count(io, in, out);
    if (up < 0 || down < 0)
        return step_go(io, XS_LOG);
    if (u->eof && down == 0 && !io->down_ended) {
        if (u->broken)
            return step_go(io, XS_LOG);
        io->down_ended = true;
        c->io.ops->shutdown(&c->io);
    }
    if (c->eof && up == 0 && !io->up_ended) {
        if (c->broken)
            return step_go(io, XS_LOG);
        io->up_ended = true;
        u->io.ops->shutdown(&u->io);
    }
    if (io->down_ended && io->up_ended)
        return step_go(io, XS_LOG);
    if (down == 0)
        uconn_want_read(u, !u->eof);
    if (up == 0)
        conn_want_read(c, !c->eof);
    watch(io, up, down, in, out);
    return STEP_WAIT;
}
