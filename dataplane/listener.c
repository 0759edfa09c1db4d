/* listener.c - see listener.h. */
#include "dataplane/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "dataplane/conn.h"
#include "dataplane/observe/limits.h"
#include "dataplane/sockaddr.h"

#define ACCEPTS_PER_TURN 64
#define AGAIN_US         200000u /* after running out of descriptors */

static void on_accept(evutil_socket_t fd, short what, void *arg)
{
    struct listener *l = arg;

    (void)what;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        union socket_addr peer;
        socklen_t len = sizeof(peer);
        int client = accept4(fd, &peer.sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (client >= 0) {
            conn_open(l, client, &peer.sa);
            continue;
        }
        if (errno == EAGAIN)
            return;
        if (errno == EINTR || errno == ECONNABORTED || errno == EPROTO)
            continue;
        /* out of descriptors or memory: what is open goes on, new ones wait in the backlog */
        LOG_LIMITED(LOG_ERROR, "accept", "errno=%d", errno);
        limit_hit(LIMIT_FILE_DESCRIPTORS);
        event_del(&l->ev);
        timer_set(&l->w->wheel, &l->again, worker_now(l->w) + AGAIN_US);
        return;
    }
}

static void on_again(struct timer *t)
{
    struct listener *l = CONTAINER_OF(t, struct listener, again);

    if (l->fd >= 0)
        event_add(&l->ev, NULL);
}

static int make_addr(const struct listen_addr *a, union socket_addr *out, socklen_t *len)
{
    memset(out, 0, sizeof(*out));
    if (inet_pton(AF_INET, a->host, &out->v4.sin_addr) == 1) {
        out->v4.sin_family = AF_INET;
        out->v4.sin_port = htons(a->port);
        *len = sizeof(out->v4);
        return 0;
    }
    if (inet_pton(AF_INET6, a->host, &out->v6.sin6_addr) == 1) {
        out->v6.sin6_family = AF_INET6;
        out->v6.sin6_port = htons(a->port);
        *len = sizeof(out->v6);
        return 0;
    }
    return -1;
}

static const char *setting_of(const struct listener *l)
{
    return l->kind == LISTEN_STREAM ? "stream_listen" : "proxy_listen";
}

static int open_one(struct listener *l, uint16_t port, struct err *e)
{
    union socket_addr addr;
    socklen_t len;
    int on = 1;

    if (make_addr(l->addr, &addr, &len) != 0)
        return err_set(e, ERR_INVALID, "%s: '%s' is not an address", setting_of(l), l->addr->host);
    if (port)
        addr.v4.sin_port = htons(port); /* the same place for both families */
    l->fd = socket(addr.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l->fd < 0)
        return err_sys(e, "socket");
    if (setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        setsockopt(l->fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0 ||
        setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0) /* accepted ones inherit it */
        return err_sys(e, "socket options");
    if (addr.sa.sa_family == AF_INET6 && setsockopt(l->fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) != 0)
        return err_sys(e, "socket options");
    if (bind(l->fd, &addr.sa, len) != 0)
        return err_sys(e, "%s %s:%u", setting_of(l), l->addr->host, l->addr->port);
    len = sizeof(addr);
    if (getsockname(l->fd, &addr.sa, &len) != 0)
        return err_sys(e, "getsockname");
    l->port = ntohs(addr.v4.sin_port);
    return 0;
}

int listeners_open(struct worker *w, const struct worker *first, SSL_CTX *tls, struct err *e)
{
    const struct dp_settings *set = w->set;
    size_t n = set->n_proxy + set->n_stream;

    w->listeners = xcalloc(n ? n : 1, sizeof(*w->listeners));
    for (size_t i = 0; i < n; i++) {
        struct listener *l = &w->listeners[w->n_listeners++];
        bool stream = i >= set->n_proxy;

        *l = (struct listener){.w = w, .fd = -1, .again = {.fn = on_again}};
        l->kind = stream ? LISTEN_STREAM : LISTEN_HTTP;
        l->addr = stream ? &set->stream[i - set->n_proxy] : &set->proxy[i];
        if (l->addr->ssl) {
            SSL_CTX_up_ref(tls);
            l->tls = tls;
        }
        if (open_one(l, first ? first->listeners[i].port : l->addr->port, e) != 0)
            return -1;
    }
    return 0;
}

void listeners_use_tls(struct worker *w, SSL_CTX *tls)
{
    for (size_t i = 0; i < w->n_listeners; i++) {
        struct listener *l = &w->listeners[i];

        if (!l->tls)
            continue;
        SSL_CTX_up_ref(tls);
        SSL_CTX_free(l->tls);
        l->tls = tls;
    }
}

int listeners_start(struct worker *w, struct err *e)
{
    for (size_t i = 0; i < w->n_listeners; i++) {
        struct listener *l = &w->listeners[i];

        event_assign(&l->ev, w->base, l->fd, EV_READ | EV_PERSIST, on_accept, l);
        if (listen(l->fd, l->addr->backlog ? l->addr->backlog : 4096) != 0)
            return err_sys(e, "listen on %s:%u", l->addr->host, l->port);
        if (event_add(&l->ev, NULL) != 0)
            return err_set(e, ERR_IO, "the event loop takes no listener");
    }
    return 0;
}

void listeners_close(struct worker *w)
{
    for (size_t i = 0; i < w->n_listeners; i++) {
        struct listener *l = &w->listeners[i];

        SSL_CTX_free(l->tls);
        l->tls = NULL;
        if (l->fd < 0)
            continue;
        if (event_initialized(&l->ev))
            event_del(&l->ev);
        timer_unlink(&l->again);
        close(l->fd);
        l->fd = -1;
    }
}
