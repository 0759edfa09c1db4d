/*
 * exchange_in.c - the states of an exchange while its request comes in.
 */
#include <string.h>

#include "common/uri.h"
#include "dataplane/codec/pipeline.h"
#include "dataplane/exchange_priv.h"
#include "dataplane/observe/limits.h"
#include "dataplane/observe/metrics.h"
#include "dataplane/plugin.h"

/* ---- HEAD ---- */

/* False: no path, or not one that may be asked for. */
static bool take_path(struct exchange *x)
{
    struct str raw = x->req.raw_path;
    char *to;

    x->req.path = raw;
    if (likely(path_is_plain(raw)))
        return true;
    if (raw.p[0] != '/' || path_bad_escape(raw) < raw.len || path_climbs(raw))
        return false;
    if (!path_is_normal(raw)) {
        to = arena_alloc(&x->arena, raw.len);
        if (!to)
            return false;
        x->req.path = path_normalize(raw, to);
    }
    return !memchr(x->req.path.p, '\0', x->req.path.len);
}

enum step exchange_head_bad(struct xio *io, const struct parse_error *why)
{
    if (why->status == 414)
        limit_hit(LIMIT_URI_BYTES);
    else if (why->status == 431)
        limit_hit(why->too_many_fields ? LIMIT_HEADER_FIELDS : LIMIT_HEADER_BYTES);
    io->keep_alive = false;
    io->body_bad = 400; /* where its end is nobody knows */
    io->x.req.headers = (struct headers){0};
    if (!io->x.req.method.p)
        io->x.req.method = STR("");
    io->x.req.version = 11;
    return step_fail(io, why->status, why->message);
}

enum step exchange_head_complete(struct xio *io)
{
    struct exchange *x = &io->x;
    const struct dp_settings *set = io->w->set;

    conn_wait_over(io->c);
    body_begin(io);
    metric_add(M_EXCHANGES_TOTAL, 1);
    io->keep_alive = x->req.keep_alive && (!io->w->draining || pipeline_goes_on(io->c));
    if (io->keep_alive && set->client_max_requests && io->c->requests >= (uint64_t)set->client_max_requests) {
        limit_hit(LIMIT_REQUESTS);
        io->keep_alive = false;
    }
    if (!take_path(x))
        return exchange_head_bad(io, &(struct parse_error){.status = 400, .message = "Bad request"});
    forward_real_ip(x);
    x->pin = live_pin(io->w->current);
    if (!x->pin)
        return step_fail(io, 503, "no configuration has been received yet");
    x->config = x->pin->config;
    io->log_due = true;
    if (set->client_max_body_bytes && x->req.content_length > 0 &&
        (uint64_t)x->req.content_length > set->client_max_body_bytes) {
        limit_hit(LIMIT_BODY_BYTES);
        io->keep_alive = false; /* nobody will read it */
        return step_fail(io, 413, NULL);
    }
    return step_go(io, XS_REWRITE);
}

enum step in_HEAD(struct xio *io)
{
    return io->c->codec->take_head(io);
}

/* ---- REWRITE, ROUTE, ACCESS ---- */

/* Says 100 when the client waits for it, and reads on. False: the client is gone. */
bool body_ask(struct xio *io)
{
    struct conn *c = io->c;

    if (c->eof) {
        conn_kill(c, CLOSE_CLIENT_ABORT);
        return false;
    }
    if (!io->continued && !io->head_queued) { /* behind a final head it would be body */
        io->continued = true;
        if (!c->codec->go_on(io))
            return false;
    }
    if (!io->head_queued) { /* once the upstream has answered, the pace is theirs */
        if (!io->body_asked_us)
            io->body_asked_us = worker_now(io->w);
        conn_wait(c, WAIT_BODY, io->w->set->client_body_timeout_us);
    }
    if (!c->rbuf || c->rbuf->len < c->rbuf->cap || body_room(io))
        conn_want_read(c, true);
    return true;
}

/* A plugin waits for the whole body: is it there now? */
static bool body_still_wanted(struct xio *io)
{
    if (body_decode(io) && !io->body_done && io->decoded - io->body <= io->body_want)
        return body_ask(io);
    io->body_want = 0;
    conn_wait_over(io->c);
    plugin_resume(&io->x);
    return false;
}

static enum verdict run_phase(struct xio *io, enum phase phase)
{
    enum verdict v;

    if (!io->phase_open) {
        io->phase_open = true;
        v = chain_start(&io->x, phase);
    } else {
        if (io->body_want && (body_still_wanted(io) || io->gone))
            return V_WAIT;
        if (!io->resumed)
            return V_WAIT;
        io->resumed = false;
        v = chain_go_on(&io->x);
    }
    while (v == V_WAIT && io->body_want && !io->gone && !body_still_wanted(io) && io->resumed) {
        io->resumed = false;
        v = chain_go_on(&io->x);
    }
    return v;
}

enum step in_REWRITE(struct xio *io)
{
    switch (run_phase(io, PH_REWRITE)) {
    case V_NEXT: return step_go(io, XS_ROUTE);
    case V_ANSWER: return step_go(io, XS_ANSWER);
    case V_WAIT: break;
    }
    return STEP_WAIT;
}

static bool add_header(struct exchange *x, struct str name, struct str value)
{
    return value.p && headers_add(&x->resp.headers, &x->arena, name, value);
}

/* https only, asked for without: as the route says. */
static void answer_redirect(struct exchange *x)
{
    unsigned status = (unsigned)x->match.route->def.https_redirect_status_code;
    struct str target = x->req.target;
    struct str location;

    if (status == 426) {
        exchange_error(x, 426, "Please use HTTPS protocol");
        if (!add_header(x, STR("Upgrade"), STR("TLS/1.2, HTTP/1.1")))
            exchange_error(x, 500, NULL);
        return;
    }
    if (target.p[0] != '/') /* absolute-form */
        target = str_n(x->req.raw_path.p, x->req.raw_path.len + (x->req.query.p ? x->req.query.len + 1 : 0));
    location = arena_printf(&x->arena, "https://" STR_FMT STR_FMT, STR_ARG(plugin_forwarded_host(x)),
                            STR_ARG(target));
    exchange_answer(x, status, "text/html", STR("<html><body>This page is served over HTTPS.</body></html>\n"));
    if (!add_header(x, STR("Location"), location))
        exchange_error(x, 500, NULL);
}

#define BITS_HTTP (1u << PROTO_HTTP | 1u << PROTO_HTTPS)
#define BITS_GRPC (1u << PROTO_GRPC | 1u << PROTO_GRPCS)

/* A grpc route met by something else, by gRPC that HTTP/1 cannot carry, or without the TLS it wants. */
static bool answer_not_grpc(struct exchange *x, uint32_t protocols)
{
    if (!exchange_is_grpc(x)) {
        exchange_error(x, 415, "Non-gRPC request matched gRPC route");
        return true;
    }
    if (x->req.version < 20) {
        exchange_error(x, 426, "Please use HTTP2 protocol");
        if (!add_header(x, STR("Upgrade"), STR("HTTP/2")))
            exchange_error(x, 500, NULL);
        return true;
    }
    if (!(protocols & 1u << PROTO_GRPC) && strcmp(plugin_scheme(x), "https") != 0) {
        exchange_error(x, 499, "gRPC request matched gRPCs route"); /* grpc-status 1, as the reference says it */
        return true;
    }
    return false;
}

bool exchange_route(struct exchange *x)
{
    const struct route_query q = {
        .req = &x->req,
        .port = x->local_port,
        .tls = x->tls,
        .sni = x->sni,
        .client_ip = x->client_ip,
        .local_ip = x->local_ip,
        .client_port = x->client_port,
    };
    uint32_t protocols;

    if (!config_match(x->config, &q, &x->arena, &x->match)) {
        x->match = (struct route_match){0};
        exchange_error(x, 404, "no Route matched with those values");
        return false;
    }
    protocols = x->match.route->protocols;
    if (protocols & 1u << PROTO_HTTPS && !(protocols & 1u << PROTO_HTTP) && strcmp(plugin_scheme(x), "https") != 0) {
        answer_redirect(x);
        return false;
    }
    if (protocols & BITS_GRPC && !(protocols & BITS_HTTP) && answer_not_grpc(x, protocols))
        return false;
    return exchange_client_cert(x);
}

enum step in_ROUTE(struct xio *io)
{
    return step_go(io, exchange_route(&io->x) ? XS_ACCESS : XS_ANSWER);
}

/*
 * OPTIONS with Max-Forwards (RFC 9110 section 7.6.2): one less goes on. False: it ends here, and x
 * carries the answer. What is no number goes on as it came.
 */
static bool count_forwards(struct exchange *x)
{
    const struct header *h = headers_find(&x->req.headers, STR("Max-Forwards"));
    uint64_t left;
    struct str text;

    if (!h || !str_to_u64(h->value, &left))
        return true;
    if (left == 0) {
        exchange_answer(x, 200, NULL, STR(""));
        return false;
    }
    text = arena_printf(&x->arena, "%llu", (unsigned long long)left - 1);
    if (text.p && headers_set(&x->req.headers, &x->arena, h->name, text))
        return true;
    exchange_error(x, 500, NULL);
    return false;
}

enum step in_ACCESS(struct xio *io)
{
    struct exchange *x = &io->x;

    switch (run_phase(io, PH_ACCESS)) {
    case V_NEXT: break;
    case V_ANSWER: return step_go(io, XS_ANSWER);
    case V_WAIT: return STEP_WAIT;
    }
    if (!x->match.service) {
        exchange_error(x, 503, "no Service found with those values");
        return step_go(io, XS_ANSWER);
    }
    if (unlikely(x->req.method_id == M_OPTIONS) && !count_forwards(x))
        return step_go(io, XS_ANSWER);
    return step_go(io, XS_BUFFER);
}

/* ---- BUFFER ---- */

enum step in_BUFFER(struct xio *io)
{
    struct exchange *x = &io->x;

    if (io->body_replaced)
        return step_go(io, XS_PICK);
    if (!body_decode(io))
        return step_fail(io, io->body_bad, NULL);
    if (io->body_done || !x->match.route->def.request_buffering || x->match.service->grpc ||
        io->decoded - io->body >= io->w->set->request_buffer_bytes) {
        conn_wait_over(io->c);
        return step_go(io, XS_PICK);
    }
    body_ask(io);
    return STEP_WAIT;
}

bool exchange_room(struct xio *io)
{
    if (io->state == XS_HEAD)
        return http1_head_room(io);
    if (io->state == XS_TUNNEL)
        return io->c->rbuf->len < io->c->rbuf->cap;
    return body_room(io);
}
