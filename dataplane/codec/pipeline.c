/* pipeline.c - see pipeline.h. */
#include "dataplane/codec/pipeline.h"

#include <stdlib.h>
#include <string.h>

#include "dataplane/xio.h"

#define SLOTS_MAX 64u
#define DIRECT    8192u /* longer pieces of the answer in front are not copied */

struct slot {
    struct conn *c;   /* NULL: its exchange is over */
    struct pipeline *line;
    struct buf *held; /* of its answer */
    uint32_t at;      /* in held: what is not written yet */
    bool last;        /* nothing may follow: the connection closes behind it */
};

struct pipeline {
    struct conn *c;
    struct pipeline *next; /* dirty ones */
    bool dirty, dropped;
    unsigned first, n, max;
    struct slot slots[];
};

static struct slot *slot_at(struct pipeline *p, unsigned i)
{
    return &p->slots[(p->first + i) % p->max];
}

static void set_dirty(struct pipeline *p)
{
    struct worker *w = p->c->w;

    if (p->dirty)
        return;
    p->dirty = true;
    p->next = w->pipes_dirty;
    w->pipes_dirty = p;
}

/* ---- a slot as its exchange sees it ---- */

static ssize_t slot_read(struct io *io, void *to, size_t len)
{
    (void)io, (void)to, (void)len;
    return IO_AGAIN; /* its request is whole */
}

/* Room for len bytes, or what can be had. */
static size_t make_room(struct slot *s, struct worker *w, size_t len)
{
    struct buf *old = s->held;

    if (!old) {
        s->held = buf_take(&w->bufs, len > 4096 ? BUF_32K : BUF_4K);
    } else if (old->cap - old->len < len && old->class == BUF_4K) {
        s->held = buf_take(&w->bufs, BUF_32K);
        s->held->len = old->len - s->at;
        memcpy(s->held->data, old->data + s->at, s->held->len);
        s->at = 0;
        buf_give(&w->bufs, &old);
    }
    return s->held->cap - s->held->len;
}

/* The socket is full: how long the client may leave it so. some: it has just taken a part. */
static void await_room(struct conn *c, bool some)
{
    if (some || c->wait != WAIT_WRITE || !c->timer.due_us)
        conn_wait(c, WAIT_WRITE, c->w->set->client_write_timeout_us);
    conn_want_write(c, true);
}

static ssize_t slot_writev(struct io *io, const struct iovec *v, int n)
{
    struct conn *c = CONTAINER_OF(io, struct conn, io);
    struct slot *s = c->slot;
    struct pipeline *p = s->line;
    size_t total = 0, room, taken = 0;
    bool in_front = s == slot_at(p, 0) && !p->c->xio;

    for (int i = 0; i < n; i++)
        total += v[i].iov_len;
    if (in_front && !s->held && total > DIRECT) {
        ssize_t sent = p->c->writing ? IO_AGAIN : p->c->io.ops->writev(&p->c->io, v, n);

        if (sent != (ssize_t)total && sent != IO_ERROR)
            await_room(p->c, sent > 0);
        return sent;
    }
    room = make_room(s, c->w, total);
    for (int i = 0; i < n && room; i++) {
        size_t part = size_min(v[i].iov_len, room);

        memcpy(s->held->data + s->held->len, v[i].iov_base, part);
        s->held->len += (uint32_t)part;
        room -= part;
        taken += part;
    }
    if (in_front)
        set_dirty(p);
    return taken ? (ssize_t)taken : IO_AGAIN;
}

static int slot_handshake(struct io *io)
{
    (void)io;
    return 0;
}

static bool slot_pending(const struct io *io)
{
    (void)io;
    return false;
}

static void slot_shutdown(struct io *io)
{
    (void)io;
}

/* Its connection's session may be gone already, and the log is still to come. */
static void slot_close(struct io *io)
{
    io->ssl = NULL;
}

static const struct io_ops io_slot = {
    .read = slot_read,
    .writev = slot_writev,
    .handshake = slot_handshake,
    .pending = slot_pending,
    .shutdown = slot_shutdown,
    .close = slot_close,
};

static void slot_readable(struct conn *c)
{
    (void)c;
}

static void slot_writable(struct conn *c)
{
    if (c->xio)
        exchange_run(c->xio);
}

/* Those behind wait for their turn, however long; the socket has a timeout of its own. */
static void slot_timeout(struct conn *c)
{
    if (c->wait == WAIT_WRITE)
        conn_wait(c, WAIT_WRITE, c->w->set->client_write_timeout_us);
    else if (c->xio)
        exchange_client_timeout(c->xio);
}

static void slot_drain(struct conn *c)
{
    (void)c;
}

/* Before its exchange was over: the answer is cut, and the client has to see that. */
static void slot_closed(struct conn *c)
{
    struct slot *s = c->slot;

    if (s && !s->line->dropped) {
        s->c = NULL;
        s->last = true;
        set_dirty(s->line);
    }
    if (c->xio)
        exchange_client_gone(c->xio);
}

static const struct conn_ops slot_ops = {
    .readable = slot_readable,
    .writable = slot_writable,
    .timeout = slot_timeout,
    .drain = slot_drain,
    .closed = slot_closed,
};

void pipeline_slot_done(struct conn *c, bool keep_alive)
{
    struct slot *s = c->slot;

    s->c = NULL;
    s->last = !keep_alive;
    c->slot = NULL;
    set_dirty(s->line);
    conn_kill(c, CLOSE_DONE);
}

bool pipeline_goes_on(const struct conn *c)
{
    struct pipeline *p = c->slot ? c->slot->line : c->pipe;

    return p && p->n && c->slot != slot_at(p, p->n - 1);
}

/* ---- the line ---- */

static bool starts(struct str line, struct str name)
{
    return line.len > name.len && str_ieq(str_n(line.p, name.len), name) && line.p[name.len] == ':';
}

/*
 * The length of a whole head that may run beside others: of a safe method, without body,
 * upgrade, expectation or wishes about the connection. 0: not, or not yet. Whether it is well
 * formed is for the parser.
 */
static size_t safe_head(struct str in)
{
    const char *end = memmem(in.p, in.len, "\r\n\r\n", 4);
    struct str rest, line;

    if (!end || !(str_starts(in, STR("GET ")) || str_starts(in, STR("HEAD "))))
        return 0;
    rest = str_n(in.p, (size_t)(end - in.p));
    while (rest.len && str_next(&rest, '\n', &line)) {
        switch (line.len ? line.p[0] | 0x20 : 0) {
        case 'c':
            if (starts(line, STR("Content-Length")) || starts(line, STR("Connection")))
                return 0;
            break;
        case 't':
            if (starts(line, STR("Transfer-Encoding")))
                return 0;
            break;
        case 'e':
            if (starts(line, STR("Expect")))
                return 0;
            break;
        default: break;
        }
    }
    return (size_t)(end + 4 - in.p);
}

static bool is_safe(const struct xio *io)
{
    const struct req_head *r = &io->x.req;

    return (r->method_id == M_GET || r->method_id == M_HEAD) && io->body_done && io->keep_alive &&
           io->state > XS_HEAD && io->state != XS_TUNNEL && !r->upgrade_websocket;
}

static void begin_slot(struct pipeline *p, struct str head)
{
    struct slot *s = slot_at(p, p->n++);
    struct conn *c = conn_open_slot(p->c, s, &slot_ops, &io_slot);

    *s = (struct slot){.c = c, .line = p};
    c->rbuf = buf_take(&c->w->bufs, head.len <= 4096 ? BUF_4K : BUF_64K);
    memcpy(c->rbuf->data, head.p, head.len);
    c->rbuf->len = (uint32_t)head.len;
    exchange_run(exchange_begin(c));
}

/* Begins as many as may run. */
static void feed(struct pipeline *p)
{
    struct conn *c = p->c;
    const struct slot *before = p->n ? slot_at(p, p->n - 1) : NULL;

    if (c->xio && !is_safe(c->xio))
        return;
    while (!c->dead && c->rbuf && p->n < p->max && !(before && before->last)) {
        struct str in = str_n(c->rbuf->data + c->at, c->rbuf->len - c->at);
        size_t len = safe_head(in);

        if (len == 0 || len > c->rbuf->cap || (before && before->c && !is_safe(before->c->xio)))
            break;
        c->at += (uint32_t)len;
        begin_slot(p, str_n(in.p, len));
        before = slot_at(p, p->n - 1);
    }
    if (c->dead)
        return;
    if (!c->xio && c->rbuf && c->at) { /* no head is pinned in it */
        memmove(c->rbuf->data, c->rbuf->data + c->at, c->rbuf->len - c->at);
        c->rbuf->len -= c->at;
        c->at = 0;
    }
    conn_want_read(c, !c->eof && (!c->rbuf || c->rbuf->len < c->rbuf->cap));
}

void pipeline_feed(struct conn *c)
{
    struct pipeline *p = c->pipe;
    unsigned max = (unsigned)c->w->set->client_max_pipelined - 1; /* beside c's own */

    if (!p) {
        if (max == 0 || !is_safe(c->xio) || !safe_head(str_n(c->rbuf->data + c->at, c->rbuf->len - c->at)))
            return;
        p = xcalloc(1, sizeof(*p) + max * sizeof(struct slot));
        p->c = c;
        p->max = max;
        c->pipe = p;
    }
    feed(p);
}

void pipeline_turn(struct conn *c)
{
    set_dirty(c->pipe);
}

static void free_line(struct pipeline *p)
{
    p->c->pipe = NULL;
    p->dropped = true;
    for (unsigned i = 0; i < p->n; i++) {
        struct slot *s = slot_at(p, i);

        if (s->c)
            conn_kill(s->c, CLOSE_CLIENT_ABORT);
        buf_give(&p->c->w->bufs, &s->held);
    }
    if (!p->dirty) /* else the list still knows it */
        free(p);
}

void pipeline_drop(struct conn *c)
{
    free_line(c->pipe);
}

/* What has been written goes. False: the connection closes now. */
static bool advance(struct pipeline *p, size_t written)
{
    while (p->n) {
        struct slot *s = slot_at(p, 0);

        if (s->held) {
            size_t part = size_min(written, s->held->len - s->at);

            s->at += (uint32_t)part;
            written -= part;
            if (s->at < s->held->len)
                return true;
            buf_give(&p->c->w->bufs, &s->held);
            s->at = 0;
        }
        if (s->c)
            return true;
        p->first = (p->first + 1) % p->max;
        p->n--;
        if (s->last)
            return false;
    }
    return true;
}

static void write_line(struct pipeline *p)
{
    struct conn *c = p->c;
    struct iovec v[SLOTS_MAX];
    ssize_t n = 0;
    int parts = 0;

    for (unsigned i = 0; i < p->n; i++) {
        const struct slot *s = slot_at(p, i);

        if (s->held)
            v[parts++] = (struct iovec){s->held->data + s->at, s->held->len - s->at};
        if (s->c || s->last)
            break;
    }
    if (parts)
        n = c->io.ops->writev(&c->io, v, parts);
    if (n < 0 && n != IO_AGAIN) {
        conn_kill(c, CLOSE_CLIENT_ABORT);
        return;
    }
    if (!advance(p, n > 0 ? (size_t)n : 0)) {
        pipeline_drop(c);
        conn_next(c, false, true);
        return;
    }
    if (p->n && slot_at(p, 0)->held) {
        await_room(c, n > 0);
        return;
    }
    if (parts)
        conn_want_write(c, false);
    if (!c->writing) /* else the answer in front waits for room by itself */
        conn_wait_over(c);
    for (unsigned i = 0; i < p->n; i++) {
        struct slot *s = slot_at(p, i);

        if (s->c && s->c->writing && !s->held)
            conn_writable(s->c);
    }
    if (c->dead || c->pipe != p)
        return;
    feed(p);
    if (c->dead || c->pipe != p || p->n)
        return;
    pipeline_drop(c);
    exchange_run(conn_next(c, true, false));
}

void pipeline_flush(struct worker *w)
{
    struct pipeline *p = w->pipes_dirty, *next;

    w->pipes_dirty = NULL; /* what becomes dirty meanwhile is for the next time */
    for (; p; p = next) {
        next = p->next;
        p->dirty = false;
        if (p->dropped)
            free(p);
        else if (!p->c->xio)
            write_line(p);
    }
}

void pipeline_readable(struct conn *c)
{
    ssize_t n;

    if (c->rbuf && c->rbuf->len == c->rbuf->cap) { /* a long head: when the line is empty */
        conn_want_read(c, false);
        return;
    }
    n = conn_read(c);
    if (n == IO_AGAIN)
        return;
    if (n == IO_ERROR) {
        conn_kill(c, CLOSE_CLIENT_ABORT);
        return;
    }
    feed(c->pipe);
}
