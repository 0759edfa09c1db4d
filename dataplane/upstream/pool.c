/* pool.c - kept connections to upstreams, per worker; see upstream.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/log.h"
#include "dataplane/codec/http2.h"
#include "dataplane/observe/metrics.h"
#include "dataplane/upstream/pool.h"
#include "dataplane/xio.h"

#define SPARE_UCONNS 1024u

/* ---- origins ---- */

static uint64_t origin_hash(const struct address *addr, uint16_t port, const SSL_CTX *tls, struct str sni)
{
    uint64_t h = (uintptr_t)tls * 0x9e3779b97f4a7c15u + port;
    uint64_t part[2] = {0};

    if (addr->u.sa.sa_family == AF_INET)
        memcpy(part, &addr->u.v4.sin_addr, 4);
    else
        memcpy(part, &addr->u.v6.sin6_addr, 16);
    h = (h ^ part[0]) * 0xd6e8feb86659fd93u;
    h = (h ^ h >> 32 ^ part[1]) * 0xd6e8feb86659fd93u;
    return tls ? str_hash(sni, h) : h ^ h >> 32;
}

static bool same_address(const struct address *a, const struct address *b, uint16_t port)
{
    if (a->u.sa.sa_family != b->u.sa.sa_family || a->u.v4.sin_port != htons(port))
        return false;
    if (a->u.sa.sa_family == AF_INET)
        return a->u.v4.sin_addr.s_addr == b->u.v4.sin_addr.s_addr;
    return memcmp(&a->u.v6.sin6_addr, &b->u.v6.sin6_addr, 16) == 0;
}

static struct origin *origin_find(struct worker *w, uint64_t hash, const struct address *addr, uint16_t port,
                                  const SSL_CTX *tls, struct str sni)
{
    for (struct origin *o = w->origins[hash % ORIGIN_SLOTS]; o; o = o->next)
        if (o->hash == hash && o->tls == tls && same_address(&o->addr, addr, port) &&
            (!tls || str_eq(str_n(o->sni, o->sni_len), sni)))
            return o;
    return NULL;
}

size_t address_text(const struct address *addr, uint16_t port, char text[56])
{
    return (size_t)snprintf(text, 56, "%s:%u", addr->text, port);
}

struct origin *origin_get(struct worker *w, const struct address *addr, uint16_t port, SSL_CTX *tls, struct str sni)
{
    uint64_t hash = origin_hash(addr, port, tls, sni);
    struct origin *o = origin_find(w, hash, addr, port, tls, sni);

    if (o)
        return o;
    o = xcalloc(1, sizeof(*o) + sni.len + 1);
    o->hash = hash;
    o->addr = *addr;
    o->addr.u.v4.sin_port = htons(port); /* the same place in sockaddr_in6 */
    o->text_len = (uint8_t)address_text(addr, port, o->text);
    if (tls) {
        SSL_CTX_up_ref(tls);
        o->tls = tls;
        if (sni.len)
            memcpy(o->sni, sni.p, sni.len);
        o->sni_len = sni.len;
    }
    o->next = w->origins[hash % ORIGIN_SLOTS];
    w->origins[hash % ORIGIN_SLOTS] = o;
    return o;
}

void origin_drop_if_unused(struct worker *w, struct origin *o)
{
    struct origin **at = &w->origins[o->hash % ORIGIN_SLOTS];

    if (o->n_open)
        return;
    while (*at != o)
        at = &(*at)->next;
    *at = o->next;
    SSL_SESSION_free(o->session);
    SSL_CTX_free(o->tls);
    free(o);
}

void uconn_keep_session(struct uconn *u, SSL_SESSION *session)
{
    SSL_SESSION_free(u->origin->session);
    u->origin->session = session;
}

/* ---- events ---- */

void uconn_want_read(struct uconn *u, bool want)
{
    if (want != u->reading) {
        u->reading = want;
        if (u->io.fd < 0)
            ; /* its connection knows */
        else if (want)
            event_add(&u->ev_read, NULL);
        else
            event_del(&u->ev_read);
    }
    if (want && u->io.holds && !u->handshaking && u->io.ops->pending(&u->io))
        event_active(&u->ev_read, EV_READ, 0);
}

void uconn_want_write(struct uconn *u, bool want)
{
    if (want == u->writing)
        return;
    u->writing = want;
    if (u->io.fd < 0)
        return;
    if (want)
        event_add(&u->ev_write, NULL);
    else
        event_del(&u->ev_write);
}

ssize_t uconn_read(struct uconn *u)
{
    size_t room;
    ssize_t n;

    if (!u->buf) {
        u->buf = buf_take(&u->w->bufs, BUF_32K);
        u->at = 0;
    }
    room = u->buf->cap - u->buf->len;
    if (room == 0) {
        uconn_want_read(u, false);
        return IO_AGAIN;
    }
    n = u->io.ops->read(&u->io, u->buf->data + u->buf->len, room);
    u->full_read = n == (ssize_t)room;
    if (n > 0)
        u->buf->len += (uint32_t)n;
    else if (n == 0)
        u->eof = true;
    else if (n != IO_AGAIN)
        u->broken = u->eof = true;
    return n;
}

/* ---- idle ones ---- */

static void idle_unlink(struct uconn *u)
{
    if (!u->prev)
        return;
    WEIR_ASSERT(u->origin);
    *u->prev = u->next;
    if (u->next)
        u->next->prev = u->prev;
    u->prev = NULL;
    u->origin->n_idle--;
    metric_add(M_UPSTREAM_IDLE, -1);
}

struct uconn *pool_take(struct worker *w, const struct address *addr, uint16_t port, SSL_CTX *tls, struct str sni)
{
    struct origin *o = origin_find(w, origin_hash(addr, port, tls, sni), addr, port, tls, sni);
    struct uconn *u = o ? o->idle : NULL;

    if (!u)
        return NULL;
    idle_unlink(u);
    timer_clear(&u->timer);
    metric_add(M_UPSTREAM_REUSES, 1);
    return u;
}

void pool_give(struct uconn *u)
{
    const struct dp_settings *set = u->w->set;
    struct origin *o = u->origin;

    u->requests++;
    if (u->dead || u->stream || u->eof || u->w->draining || set->upstream_keepalive_pool_size == 0 ||
        (set->upstream_keepalive_max_requests &&
         u->requests >= (uint64_t)set->upstream_keepalive_max_requests)) {
        uconn_kill(u);
        return;
    }
    if (o->n_idle >= (uint64_t)set->upstream_keepalive_pool_size) {
        struct uconn *oldest = o->idle;
        while (oldest->next)
            oldest = oldest->next;
        uconn_kill(oldest);
    }
    u->xio = NULL;
    buf_give(&u->w->bufs, &u->buf);
    uconn_want_write(u, false);
    u->next = o->idle;
    u->prev = &o->idle;
    if (u->next)
        u->next->prev = &u->next;
    o->idle = u;
    o->n_idle++;
    metric_add(M_UPSTREAM_IDLE, 1);
    if (set->upstream_keepalive_idle_timeout_us)
        timer_set(&u->w->wheel, &u->timer, worker_now(u->w) + set->upstream_keepalive_idle_timeout_us);
    else
        timer_clear(&u->timer);
    uconn_want_read(u, true);
}

void uconn_kill(struct uconn *u)
{
    if (u->dead)
        return;
    u->dead = true;
    idle_unlink(u);
    uconn_want_write(u, false);
    uconn_want_read(u, false);
    event_del(&u->ev_read); /* it may be active without being registered */
    timer_unlink(&u->timer);
    u->ops->closed(u);
    u->io.ops->close(&u->io);
    u->xio = NULL;
    buf_give(&u->w->bufs, &u->buf);
    u->origin->n_open--;
    origin_drop_if_unused(u->w, u->origin);
    u->origin = NULL;
    u->next = u->w->dead_uconns;
    u->w->dead_uconns = u;
}

void uconns_reap(struct worker *w)
{
    struct uconn *u;

    while ((u = w->dead_uconns)) {
        w->dead_uconns = u->next;
        if (w->n_spare_uconns < SPARE_UCONNS) {
            u->next = w->spare_uconns;
            w->spare_uconns = u;
            w->n_spare_uconns++;
        } else {
            free(u);
        }
    }
}

void pool_close_idle(struct worker *w)
{
    for (unsigned i = 0; i < ORIGIN_SLOTS; i++)
        for (struct origin *o = w->origins[i], *next; o; o = next) {
            next = o->next;
            o->n_open++; /* the last connection would take it along */
            for (unsigned n = o->n_idle; n > 0; n--)
                uconn_kill(o->idle);
            http2_close_idle(o);
            o->n_open--;
            origin_drop_if_unused(w, o);
        }
}

void pool_fini(struct worker *w)
{
    struct uconn *u;

    pool_close_idle(w);
    uconns_reap(w);
    while ((u = w->spare_uconns)) {
        w->spare_uconns = u->next;
        free(u);
    }
}
