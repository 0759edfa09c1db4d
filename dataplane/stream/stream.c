/* stream.c - see stream.h. */
#include "dataplane/stream/stream.h"

#include "dataplane/stream/preread.h"
#include "dataplane/xio.h"

static void ready(struct conn *c)
{
    conn_wait_over(c);
    conn_want_read(c, false); /* until there is somebody to send it to */
    exchange_run(c->xio);
}

static void readable(struct conn *c)
{
    ssize_t n;

    if (c->xio->state != XS_TUNNEL) {
        exchange_run(c->xio);
        return;
    }
    n = conn_read(c);
    if (n == IO_AGAIN)
        return;
    if (n == IO_ERROR) /* what has come before it still goes on */
        c->eof = c->broken = true;
    if (n <= 0)
        conn_want_read(c, false);
    exchange_run(c->xio);
    if (!c->dead && c->reading)
        conn_want_read(c, true);
}

static void writable(struct conn *c)
{
    if (c->xio)
        exchange_run(c->xio);
}

static void timeout(struct conn *c)
{
    if (c->wait == WAIT_HEAD)
        preread_refuse(c, "timeout");
    else if (c->xio)
        exchange_client_timeout(c->xio);
    else
        conn_kill(c, CLOSE_DONE); /* it has lingered long enough */
}

static void drain(struct conn *c)
{
    if (c->xio && c->xio->state == XS_HEAD)
        conn_kill(c, CLOSE_DRAIN);
}

static void closed(struct conn *c)
{
    if (c->xio)
        exchange_client_gone(c->xio);
}

static const struct conn_ops stream_ops = {
    .ready = ready,
    .readable = readable,
    .writable = writable,
    .timeout = timeout,
    .drain = drain,
    .closed = closed,
};

void stream_begin(struct conn *c)
{
    struct xio *io;

    c->ops = &stream_ops;
    c->codec = &down_raw;
    conn_wait_over(c);
    conn_want_read(c, false);
    io = exchange_begin(c);
    io->x.stream = true;
    io->body_done = true; /* a request without a body, as far as the states before TUNNEL care */
    worker_request_id(c->w, io->x.request_id);
    exchange_run(io);
}
