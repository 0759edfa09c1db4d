/* body.c - the window that a request's body passes through; see xio.h. */
#include "dataplane/observe/limits.h"
#include "dataplane/xio.h"

#define ROOM_MIN 4096u /* a smaller rest of the buffer is not worth a system call */

void body_begin(struct xio *io)
{
    const struct req_head *r = &io->x.req;

    io->body = io->sent = io->decoded = io->c->at;
    io->body_left = r->content_length > 0 ? (uint64_t)r->content_length : 0;
    io->body_done = !r->chunked && io->body_left == 0;
    io->continued = !r->expect_continue;
}

static bool broken(struct xio *io, unsigned status)
{
    io->body_bad = (uint16_t)status;
    return false;
}

/* More has come: was it worth the wait? Time in which the upstream was waited for is not counted. */
static bool too_slow(struct xio *io)
{
    const struct dp_settings *set = io->w->set;

    io->body_waited_us += worker_now(io->w) - io->body_asked_us;
    io->body_asked_us = 0;
    if (io->body_done || io->body_waited_us <= set->client_body_timeout_us ||
        io->body_bytes >= io->body_waited_us / 1000000u * set->client_min_body_rate)
        return false;
    limit_hit(LIMIT_BODY_RATE);
    return true;
}

bool body_decode_more(struct xio *io)
{
    uint64_t max = io->w->set->client_max_body_bytes;
    uint32_t before = io->decoded, at = io->c->at;

    if (io->body_bad)
        return false;
    if (!io->c->codec->take_body(io))
        return broken(io, 400);
    io->body_bytes += io->decoded - before;
    if (io->c->at != at) {
        io->continued = true; /* the client has not waited */
        if (unlikely(io->body_asked_us) && too_slow(io))
            return broken(io, 408);
    }
    if (max && io->body_bytes > max) {
        limit_hit(LIMIT_BODY_BYTES);
        return broken(io, 413);
    }
    return true;
}

/* The window moves to a buffer of cap bytes; the head stays where it is. */
static void move_to(struct xio *io, size_t cap)
{
    struct conn *c = io->c;
    struct buf *old = c->rbuf, *new = buf_take_size(&io->w->bufs, cap);

    new->len = old->len - io->body;
    memcpy(new->data, old->data + io->body, new->len);
    c->at -= io->body;
    io->sent -= io->body;
    io->decoded -= io->body;
    io->body = 0;
    c->rbuf = new;
    if (io->head_buf)
        buf_give(&io->w->bufs, &old);
    else
        io->head_buf = old;
}

/* How much of the body has to stay together in this state. */
static size_t keep_limit(const struct xio *io)
{
    if (io->body_want)
        return io->body_want;
    return io->state == XS_BUFFER ? io->w->set->request_buffer_bytes : 0;
}

static bool grow(struct xio *io, size_t limit)
{
    size_t have = io->decoded - io->body, cap = io->c->rbuf->cap;

    if (have > limit)
        return false;
    /* what is left, when that is known, else twice as much; and a little for what follows */
    cap = io->x.req.chunked ? cap * 2 : have + size_min(io->body_left, limit);
    move_to(io, size_max(size_min(cap, limit) + ROOM_MIN, io->c->rbuf->len - io->body + ROOM_MIN));
    return true;
}

void body_drop(struct xio *io)
{
    struct conn *c = io->c;
    uint32_t raw;

    if (!c->rbuf)
        return;
    raw = c->rbuf->len - c->at;
    memmove(c->rbuf->data + io->body, c->rbuf->data + c->at, raw);
    io->body_dropped |= io->decoded != io->body;
    io->sent = io->decoded = c->at = io->body;
    c->rbuf->len = io->body + raw;
}

bool body_room(struct xio *io)
{
    struct conn *c = io->c;
    size_t keep;

    if (!c->rbuf || c->rbuf->len < c->rbuf->cap)
        return true;
    if (io->body_done || io->body_bad)
        return false; /* the next request waits for its turn */
    if (c->at != io->decoded) { /* what framing took is free again */
        memmove(c->rbuf->data + io->decoded, c->rbuf->data + c->at, c->rbuf->len - c->at);
        c->rbuf->len -= c->at - io->decoded;
        c->at = io->decoded;
        if (c->rbuf->cap - c->rbuf->len >= ROOM_MIN)
            return true;
    }
    keep = keep_limit(io);
    if (keep)
        return grow(io, keep);
    if (io->state < XS_SEND || !outq_empty(&io->up) || io->sent != io->decoded)
        return false;
    body_drop(io);
    if (c->rbuf->cap - io->body < BUF_WINDOW_MIN)
        move_to(io, BUF_WINDOW);
    return c->rbuf->len < c->rbuf->cap;
}

struct str body_ready(const struct xio *io)
{
    if (io->body_replaced)
        return str_n(io->new_body.p + io->sent, io->new_body.len - io->sent);
    return str_n(io->c->rbuf ? io->c->rbuf->data + io->sent : "", io->decoded - io->sent);
}

void body_sent(struct xio *io, size_t len)
{
    io->sent += (uint32_t)len;
}

bool body_rewind(struct xio *io)
{
    if (io->body_replaced) {
        io->sent = 0;
        return true;
    }
    if (io->body_dropped)
        return false;
    io->sent = io->body;
    return true;
}

enum verdict exchange_body(struct exchange *x, size_t max, struct str *body_out)
{
    struct xio *io = x->io;

    *body_out = STR("");
    if (io->body_replaced) {
        *body_out = io->new_body;
        return V_NEXT;
    }
    if (!body_decode(io)) {
        exchange_error(x, io->body_bad, NULL);
        return V_ANSWER;
    }
    if (x->req.content_length > 0 && (uint64_t)x->req.content_length > max)
        goto too_large;
    if (io->decoded - io->body > max)
        goto too_large;
    if (io->body_done) {
        if (io->decoded > io->body)
            *body_out = str_n(io->c->rbuf->data + io->body, io->decoded - io->body);
        return V_NEXT;
    }
    io->body_want = size_max(max, 1);
    return V_WAIT;
too_large:
    exchange_error(x, 413, NULL);
    return V_ANSWER;
}

void exchange_body_set(struct exchange *x, struct str body)
{
    struct xio *io = x->io;

    WEIR_ASSERT(io->body_done);
    io->body_replaced = true;
    io->new_body = body.p ? body : STR("");
    io->sent = 0;
}
