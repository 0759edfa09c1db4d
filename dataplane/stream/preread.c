/* preread.c - see preread.h. */
#include "dataplane/stream/preread.h"

#include <errno.h>
#include <sys/socket.h>

#include "common/log.h"
#include "dataplane/listener.h"
#include "dataplane/observe/metrics.h"
#include "dataplane/stream/proxy_protocol.h"

/* ---- looking ---- */

enum peek preread_peek(struct conn *c, size_t max, struct str *in)
{
    ssize_t n = recv(c->io.fd, c->w->scratch, max, MSG_PEEK);

    *in = STR("");
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? PEEK_WAIT : PEEK_END;
    *in = str_n(c->w->scratch, (size_t)n);
    if ((size_t)n <= c->peeked)
        return PEEK_END; /* woken without a byte more: that was all, or the system has no room for more */
    c->peeked = (uint32_t)n;
    return PEEK_MORE;
}

static void set_low_water(const struct conn *c, int bytes)
{
    /* it only ever fails for a socket that is gone, which reading will tell */
    (void)setsockopt(c->io.fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof(bytes));
}

void preread_await(struct conn *c, size_t need)
{
    set_low_water(c, (int)need);
}

void preread_over(struct conn *c)
{
    if (c->peeked)
        set_low_water(c, 1);
    c->peeked = 0;
}

void preread_refuse(struct conn *c, const char *cause)
{
    struct str label = str_of(cause);

    metric_add_with(M_PREREAD_REFUSED, &label, 1);
    LOG_LIMITED(LOG_WARN, "preread_refused", "connection=%llu client=%s port=%u cause=%s",
                (unsigned long long)c->number, c->peer_ip, c->local_port, cause);
    conn_kill(c, CLOSE_PREREAD);
}

/* ---- the PROXY header ---- */

#define V2_FIXED 16u /* of a version 2 header; the last two bytes say how many follow */

/* At how many bytes a header that begins with in is worth another look. */
static size_t proxy_need(struct str in)
{
    size_t behind;

    if (in.p[0] != '\r' || in.len < V2_FIXED)
        return in.len + 1;
    behind = (size_t)(unsigned char)in.p[14] << 8 | (unsigned char)in.p[15];
    return size_max(V2_FIXED + behind, in.len + 1);
}

/* A word on the client counts from those who are trusted with it; streams know no other. False: as conn_count. */
static bool believe(struct conn *c, const struct proxy_info *info)
{
    bool wanted = c->listener->kind == LISTEN_STREAM || c->w->set->real_ip_header == REAL_IP_PROXY_PROTOCOL;

    if (!info->known || !wanted || !c->peer_trusted) /* then it has been counted as the peer's */
        return true;
    c->proxied = true;
    conn_note_address(&info->src.sa, c->client.ip, c->client.addr, &c->client.port);
    return conn_count(c);
}

static void readable(struct conn *c)
{
    struct proxy_info info;
    struct str in;
    size_t used;

    switch (preread_peek(c, PROXY_HEADER_MAX, &in)) {
    case PEEK_MORE: break;
    case PEEK_WAIT: return;
    case PEEK_END:
        if (in.len)
            preread_refuse(c, "proxy_header");
        else
            conn_kill(c, CLOSE_CLIENT); /* somebody who looked whether we are there */
        return;
    }
    switch (proxy_parse(in, &info, &used)) {
    case PP_OK: break;
    case PP_MORE: preread_await(c, proxy_need(in)); return;
    case PP_BAD: preread_refuse(c, "proxy_header"); return;
    }
    if (recv(c->io.fd, c->w->scratch, used, 0) != (ssize_t)used) {
        conn_kill(c, CLOSE_CLIENT);
        return;
    }
    preread_over(c);
    if (believe(c, &info))
        conn_begin(c);
}

static void nothing(struct conn *c)
{
    (void)c;
}

static void timeout(struct conn *c)
{
    preread_refuse(c, "timeout");
}

static void drain(struct conn *c)
{
    conn_kill(c, CLOSE_DRAIN);
}

static const struct conn_ops proxy_ops = {
    .ready = nothing,
    .readable = readable,
    .writable = nothing,
    .timeout = timeout,
    .drain = drain,
    .closed = nothing,
};

void preread_proxy(struct conn *c)
{
    c->ops = &proxy_ops;
    conn_wait(c, WAIT_HEAD, c->w->set->client_header_timeout_us);
    conn_want_read(c, true);
}
