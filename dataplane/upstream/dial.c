/* dial.c - new connections to upstreams, and the events of all; see upstream.h. */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/observe/metrics.h"
#include "dataplane/tls/tls.h"
#include "dataplane/upstream/pool.h"
#include "dataplane/xio.h"

/* ---- HTTP/1, and one stream of HTTP/2 ---- */

static void http_connected(struct uconn *u)
{
    exchange_run(u->xio);
}

static void http_readable(struct uconn *u)
{
    if (unlikely(!u->xio)) { /* bytes nobody asked for, or the end: of no use any more */
        uconn_kill(u);
        return;
    }
    exchange_upstream_readable(u->xio);
    if (!u->dead && u->reading && u->xio)
        uconn_want_read(u, true);
}

static void http_writable(struct uconn *u)
{
    if (u->xio)
        exchange_run(u->xio);
}

static void http_timeout(struct uconn *u)
{
    if (u->xio)
        exchange_upstream_timeout(u->xio);
    else
        uconn_kill(u);
}

static void http_closed(struct uconn *u)
{
    (void)u;
}

const struct uconn_ops uconn_http_ops = {
    .connected = http_connected,
    .readable = http_readable,
    .writable = http_writable,
    .timeout = http_timeout,
    .closed = http_closed,
};

/* ---- callbacks ---- */

void uconn_greet(struct uconn *u, struct str greeting)
{
    u->greeting = greeting;
    u->greeted = u->handshaking = true;
}

/* The socket tells whether it is connected. What has to go first fits a new one. */
static bool greet(struct uconn *u)
{
    socklen_t len = sizeof(int);
    ssize_t sent = 0;
    int why = 0;

    u->greeted = false;
    if (getsockopt(u->io.fd, SOL_SOCKET, SO_ERROR, &why, &len) != 0 || why != 0)
        return false;
    if (u->greeting.len)
        sent = send(u->io.fd, u->greeting.p, u->greeting.len, MSG_NOSIGNAL);
    return sent == (ssize_t)u->greeting.len;
}

static void handshake(struct uconn *u)
{
    switch (u->greeted && !greet(u) ? IO_ERROR : u->io.ops->handshake(&u->io)) {
    case 0:
        u->handshaking = false;
        u->connected = true;
        uconn_want_write(u, false);
        break;
    case IO_AGAIN: uconn_want_write(u, false); return;
    case IO_AGAIN_WRITE: uconn_want_write(u, true); return;
    default: u->broken = u->eof = true; break;
    }
    u->ops->connected(u);
}

static void readable(struct uconn *u)
{
    if (unlikely(u->dead || (!u->reading && !u->handshaking)))
        return;
    if (unlikely(u->handshaking && u->io.fd >= 0))
        handshake(u);
    else
        u->ops->readable(u);
}

static void writable(struct uconn *u)
{
    if (u->dead)
        return;
    uconn_want_write(u, false);
    if (u->handshaking && u->io.fd >= 0)
        handshake(u);
    else
        u->ops->writable(u);
}

static void on_read(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    readable(arg);
}

static void on_write(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    writable(arg);
}

static void on_timer(struct timer *t)
{
    struct uconn *u = CONTAINER_OF(t, struct uconn, timer);

    u->ops->timeout(u);
}

static int open_socket(const struct origin *o)
{
    int on = 1, fd = socket(o->addr.u.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0 &&
        (connect(fd, &o->addr.u.sa, o->addr.len) == 0 || errno == EINPROGRESS))
        return fd;
    on = errno;
    close(fd);
    errno = on;
    return -1;
}

struct uconn *uconn_new(struct worker *w, struct origin *o, int fd, const struct uconn_ops *ops,
                        const struct up_codec *codec)
{
    struct uconn *u = w->spare_uconns;

    if (u) {
        w->spare_uconns = u->next;
        w->n_spare_uconns--;
    } else {
        u = xmalloc(sizeof(*u));
    }
    memset(u, 0, sizeof(*u));
    u->w = w;
    u->origin = o;
    o->n_open++;
    u->ops = ops;
    u->codec = codec;
    u->io = (struct io){.ops = &io_plain, .fd = fd};
    u->timer.fn = on_timer;
    event_assign(&u->ev_read, w->base, fd, EV_READ | EV_PERSIST, on_read, u);
    event_assign(&u->ev_write, w->base, fd, EV_WRITE | EV_PERSIST, on_write, u);
    return u;
}

struct uconn *dial_origin(struct worker *w, struct origin *o, bool h2, const struct uconn_ops *ops,
                          const struct up_codec *codec)
{
    struct uconn *u;
    int fd = open_socket(o);

    if (fd < 0) {
        int why = errno;
        metric_add(M_UPSTREAM_CONNECT_FAILURES, 1);
        origin_drop_if_unused(w, o);
        errno = why;
        return NULL;
    }
    metric_add(M_UPSTREAM_CONNECTS, 1);
    u = uconn_new(w, o, fd, ops, codec);
    if (o->tls) {
        u->io.ssl = tls_connect(o->tls, fd, u, o->sni, o->session, h2);
        if (!u->io.ssl) {
            uconn_kill(u);
            errno = ENOMEM;
            return NULL;
        }
        u->io.ops = &io_tls;
        u->io.holds = true;
        u->handshaking = true;
    }
    return u;
}

struct uconn *dial(struct worker *w, const struct address *addr, uint16_t port, SSL_CTX *tls, struct str sni)
{
    return dial_origin(w, origin_get(w, addr, port, tls, sni), false, &uconn_http_ops, &up_http1);
}
