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

/* Whatever an idle one says, it is of no use any more (bytes nobody asked for, or the end). */
static void idle_readable(struct uconn *u)
{
    uconn_kill(u);
}

static void handshake(struct uconn *u)
{
    switch (u->io.ops->handshake(&u->io)) {
    case 0:
        u->handshaking = false;
        u->connected = true;
        uconn_want_write(u, false);
        break;
    case IO_AGAIN: uconn_want_write(u, false); return;
    case IO_AGAIN_WRITE: uconn_want_write(u, true); return;
    default: u->broken = u->eof = true; break;
    }
    exchange_run(u->xio);
}

static void on_read(evutil_socket_t fd, short what, void *arg)
{
    struct uconn *u = arg;

    (void)fd;
    (void)what;
    if (unlikely(u->dead || (!u->reading && !u->handshaking)))
        return;
    if (unlikely(!u->xio)) {
        idle_readable(u);
        return;
    }
    if (unlikely(u->handshaking)) {
        handshake(u);
        return;
    }
    exchange_upstream_readable(u->xio);
    if (!u->dead && u->reading && u->xio)
        uconn_want_read(u, true);
}

static void on_write(evutil_socket_t fd, short what, void *arg)
{
    struct uconn *u = arg;

    (void)fd;
    (void)what;
    if (u->dead || !u->xio)
        return;
    uconn_want_write(u, false);
    if (u->handshaking)
        handshake(u);
    else
        exchange_run(u->xio);
}

static void on_timer(struct timer *t)
{
    struct uconn *u = CONTAINER_OF(t, struct uconn, timer);

    if (u->xio)
        exchange_upstream_timeout(u->xio);
    else
        uconn_kill(u);
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

struct uconn *dial(struct worker *w, const struct address *addr, uint16_t port, SSL_CTX *tls, struct str sni)
{
    struct origin *o = origin_get(w, addr, port, tls, sni);
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
    u = w->spare_uconns;
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
    u->io = (struct io){.ops = &io_plain, .fd = fd};
    u->timer.fn = on_timer;
    event_assign(&u->ev_read, w->base, fd, EV_READ | EV_PERSIST, on_read, u);
    event_assign(&u->ev_write, w->base, fd, EV_WRITE | EV_PERSIST, on_write, u);
    if (tls) {
        u->io.ssl = tls_connect(tls, fd, u, o->sni, o->session);
        if (!u->io.ssl) {
            uconn_kill(u);
            errno = ENOMEM;
            return NULL;
        }
        u->io.ops = &io_tls;
        u->handshaking = true;
    }
    return u;
}
