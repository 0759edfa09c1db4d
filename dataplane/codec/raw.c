/*
 * raw.c - clients that send bytes and no requests; see codec.h and stream/stream.h.
 *
 * Where such a connection goes is its head, and an answer of ours is its end. There is no
 * counterpart towards upstreams: once they are connected the bytes pass as they are (TUNNEL).
 */
#include "common/checks.h"
#include "common/log.h"
#include "dataplane/exchange_priv.h"
#include "dataplane/listener.h"
#include "dataplane/stream/preread.h"
#include "dataplane/tls/client_hello.h"

#define RECORD_HEADER 5u /* of TLS; its last two bytes say how many follow */

/* ---- ClientHello ---- */

/* Where the last record of in ends, or the header of the next one: all before was not enough. */
static size_t hello_need(struct str in)
{
    size_t at = 0;

    while (at + RECORD_HEADER <= in.len)
        at += RECORD_HEADER + ((size_t)(unsigned char)in.p[at + 3] << 8 | (unsigned char)in.p[at + 4]);
    return at > in.len ? at : at + RECORD_HEADER;
}

/* Names are the same in any case; routes have them in lower case. p NULL: no memory. */
static struct str lower(struct arena *a, struct str s)
{
    char *to = arena_alloc(a, s.len + 1);

    if (!to)
        return STR_NONE;
    for (size_t i = 0; i < s.len; i++)
        to[i] = ascii_lower(s.p[i]);
    return str_n(to, s.len);
}

/* Finds out the server name. False: it has not come yet, or the connection is gone. */
static bool take_hello(struct xio *io)
{
    struct exchange *x = &io->x;
    struct conn *c = io->c;
    struct client_hello hello;
    struct str in;

    switch (preread_peek(c, CLIENT_HELLO_MAX, &in)) {
    case PEEK_MORE: break;
    case PEEK_WAIT:
        if (!c->reading) {
            conn_wait(c, WAIT_HEAD, io->w->set->client_header_timeout_us);
            conn_want_read(c, true);
        }
        return false;
    case PEEK_END:
        if (in.len)
            preread_refuse(c, "client_hello");
        else
            conn_kill(c, CLOSE_CLIENT);
        return false;
    }
    switch (client_hello_parse(in, c->w->scratch + CLIENT_HELLO_MAX, &hello)) {
    case HELLO_OK: break;
    case HELLO_MORE:
        if (!c->reading)
            conn_wait(c, WAIT_HEAD, io->w->set->client_header_timeout_us);
        preread_await(c, hello_need(in));
        conn_want_read(c, true);
        return false;
    case HELLO_BAD:
    case HELLO_NOT_TLS: preread_refuse(c, "client_hello"); return false;
    }
    preread_over(c);
    conn_wait_over(c);
    conn_want_read(c, false);
    x->tls = true;
    if (hello.server_name.p)
        x->sni = x->req.host = lower(&x->arena, hello.server_name);
    return true;
}

/* ---- where it goes ---- */

static struct stream_query query_of(const struct xio *io)
{
    const struct conn *c = io->c;
    struct stream_query q = {
        .client_port = c->proxied ? c->client.port : c->peer_port,
        .local_port = c->local_port,
        .tls = io->x.tls,
        .terminated = c->io.ssl != NULL,
        .sni = io->x.sni,
    };
    struct ip_network local;

    memcpy(q.client_ip, io->x.client_addr, sizeof(q.client_ip));
    if (ip_network_parse(io->x.local_ip, &local))
        memcpy(q.local_ip, local.addr, sizeof(q.local_ip));
    return q;
}

static enum step route(struct xio *io)
{
    struct exchange *x = &io->x;
    const struct stream_query q = query_of(io);
    struct stream_match m;

    io->log_due = true;
    if (!x->pin) {
        x->pin = live_pin(io->w->current);
        if (!x->pin)
            return step_fail(io, 503, "no configuration has been received yet");
        x->config = x->pin->config;
    }
    if (!config_match_stream(x->config, &q, &m)) {
        x->match = (struct route_match){0};
        exchange_error(x, 404, "no Route matched with those values");
        return step_go(io, XS_ANSWER);
    }
    x->match.route = m.route;
    x->match.service = m.service;
    if (q.tls && !q.terminated && m.route->protocols & 1u << PROTO_TLS) {
        (void)conn_accept_tls(io->c); /* and here again when the handshake is over */
        return STEP_WAIT;
    }
    return step_go(io, exchange_client_cert(x) ? XS_ACCESS : XS_ANSWER);
}

static enum step take_head(struct xio *io)
{
    const struct conn *c = io->c;

    if (c->handshaking)
        return STEP_WAIT;
    if (c->listener->tls && !io->x.tls && !take_hello(io))
        return STEP_WAIT;
    return route(io);
}

/* ---- the rest ---- */

static bool take_body(struct xio *io)
{
    (void)io;
    return true;
}

static bool go_on(struct xio *io)
{
    (void)io;
    return true;
}

static void interim(struct xio *io)
{
    (void)io;
}

/* There is nobody to tell but the log. */
static bool head(struct xio *io)
{
    const struct exchange *x = &io->x;

    LOG_LIMITED(LOG_WARN, "stream_refused",
                "request_id=%s client=" STR_FMT " port=%u sni=\"" STR_FMT "\" status=%u cause=\"" STR_FMT "\"",
                x->request_id, STR_ARG(x->client_ip), x->local_port, STR_ARG(x->sni), x->resp.status,
                STR_ARG(x->answer));
    io->head_only = true;
    return true;
}

static void piece(struct xio *io, struct str piece)
{
    (void)io;
    (void)piece;
}

static void end(struct xio *io)
{
    (void)io;
}

static int flush(struct xio *io, size_t *written)
{
    (void)io;
    *written = 0;
    return 0;
}

const struct down_codec down_raw = {
    .take_head = take_head,
    .take_body = take_body,
    .go_on = go_on,
    .interim = interim,
    .head = head,
    .piece = piece,
    .end = end,
    .flush = flush,
};
