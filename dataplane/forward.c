/* forward.c - the request as the upstream gets it (the reference's proxying rules, section 1). */
#include <string.h>

#include "common/uri.h"
#include "dataplane/head_out.h"
#include "dataplane/path.h"
#include "dataplane/plugin.h"
#include "dataplane/xio.h"

#define VIA_TOKEN "weir/" WEIR_VERSION

/* ---- the client's address ---- */

static bool address_text(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = ascii_lower(s.p[i]);
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || c == '.' || c == ':'))
            return false;
    }
    return s.len >= 2 && s.len < 46;
}

void forward_real_ip(struct exchange *x)
{
    bool list = x->worker->set->real_ip_header == REAL_IP_X_FORWARDED_FOR;
    struct header *h;
    struct str rest, piece, last = STR_NONE;

    x->client_ip = x->peer_ip;
    if (likely(!x->peer_trusted))
        return;
    h = headers_find_id(&x->req.headers, list ? HDR_X_FORWARDED_FOR : HDR_X_REAL_IP);
    if (!h)
        return;
    rest = h->value;
    while (str_next(&rest, ',', &piece))
        last = str_trim(piece);
    if (address_text(last))
        x->client_ip = last;
}

/* ---- path ---- */

/* What the route took away, for X-Forwarded-Prefix; empty: nothing worth saying. */
static struct str stripped(const struct exchange *x)
{
    const struct route_match *m = &x->match;
    struct str s = m->matched;

    if (!m->route->def.strip_path || !s.p)
        return STR("");
    return str_eq(s, STR("/")) ? STR("") : s;
}

struct str forward_target(struct exchange *x)
{
    const struct route_match *m = &x->match;
    struct upstream_path_in in = {
        .base = m->service->base_path,
        .path = x->req.path,
        .matched = m->matched,
        .strip = m->route->def.strip_path,
        .handling = m->route->def.path_handling,
    };
    struct str path;
    char *escaped;

    if (x->upstream_path.len)
        return x->upstream_path;
    path = upstream_path(&in, &x->arena);
    if (!path.p || path_is_escaped(path))
        return path;
    escaped = arena_alloc(&x->arena, 3 * path.len);
    return escaped ? path_escape(path, escaped) : STR_NONE;
}

/* ---- head ---- */

static bool default_port(const struct c_service *s, uint16_t port)
{
    return port == (s->tls ? 443 : 80);
}

static struct str host_value(struct xio *io)
{
    const struct exchange *x = &io->x;
    const struct c_service *s = x->match.service;
    struct str host = io->upstream->def.host_header;
    uint16_t port = io->target->port;

    if (x->match.route->def.preserve_host && x->req.authority.len)
        return x->req.authority;
    if (host.p && host.len)
        return host;
    host = io->target->host;
    if (default_port(s, port))
        return host;
    return arena_printf(&io->x.arena, STR_FMT ":%u", STR_ARG(host), port);
}

/* Fields that are ours to write, or that end here (RFC 9110 section 7.6.1). */
static const bool ours[HDR_COUNT] = {
    [HDR_CONNECTION] = true,       [HDR_CONTENT_LENGTH] = true,     [HDR_EXPECT] = true,
    [HDR_HOST] = true,             [HDR_KEEP_ALIVE] = true,         [HDR_PROXY] = true,
    [HDR_PROXY_CONNECTION] = true, [HDR_TE] = true,                 [HDR_TRANSFER_ENCODING] = true,
    [HDR_UPGRADE] = true,          [HDR_VIA] = true,                [HDR_X_FORWARDED_FOR] = true,
    [HDR_X_FORWARDED_HOST] = true, [HDR_X_FORWARDED_PATH] = true,   [HDR_X_FORWARDED_PORT] = true,
    [HDR_X_FORWARDED_PREFIX] = true, [HDR_X_FORWARDED_PROTO] = true, [HDR_X_KONG_REQUEST_ID] = true,
    [HDR_X_REAL_IP] = true,
};

/* The client's list of fields that are for us alone; p == NULL: none beyond the usual. */
static struct str nominated(const struct headers *hs)
{
    struct str rest, piece;

    HEADERS_EACH(h, hs) {
        if (h->id != HDR_CONNECTION)
            continue;
        rest = h->value;
        while (str_next(&rest, ',', &piece)) {
            piece = str_trim(piece);
            if (piece.len && !str_ieq(piece, STR("keep-alive")) && !str_ieq(piece, STR("close")) &&
                !str_ieq(piece, STR("upgrade")))
                return h->value;
        }
    }
    return STR_NONE;
}

bool forward_nominated(const struct headers *hs, struct str name)
{
    HEADERS_EACH(h, hs)
        if (h->id == HDR_CONNECTION && http_list_has(h->value, name))
            return true;
    return false;
}

bool forward_has_nominated(const struct headers *hs)
{
    return nominated(hs).p != NULL;
}

static void out_fields(struct head_out *o, struct exchange *x)
{
    bool cut = forward_has_nominated(&x->req.headers);

    HEADERS_EACH(h, &x->req.headers) {
        if (ours[h->id] || (unlikely(cut) && forward_nominated(&x->req.headers, h->name)))
            continue;
        out_header(o, h);
    }
}

static struct str trusted_value(const struct exchange *x, enum header_id id)
{
    const struct header *h = x->peer_trusted ? headers_find_id(&x->req.headers, id) : NULL;
    return h ? h->value : STR_NONE;
}

/* name: values already there, joined, then one more */
static void out_appended(struct head_out *o, struct exchange *x, enum header_id id, struct str more)
{
    out_str(o, header_id_name(id));
    OUT_LITERAL(o, ": ");
    HEADERS_EACH(h, &x->req.headers) {
        if (h->id == id && h->value.len) {
            out_str(o, h->value);
            OUT_LITERAL(o, ", ");
        }
    }
    out_str(o, more);
    OUT_LITERAL(o, "\r\n");
}

static void out_forwarded(struct head_out *o, struct exchange *x)
{
    struct str value;

    out_field(o, STR("X-Real-IP"), x->client_ip);
    out_appended(o, x, HDR_X_FORWARDED_FOR, x->peer_ip);
    out_field(o, STR("X-Forwarded-Proto"), str_of(plugin_scheme(x)));
    out_field(o, STR("X-Forwarded-Host"), plugin_forwarded_host(x));
    OUT_LITERAL(o, "X-Forwarded-Port: ");
    out_number(o, plugin_forwarded_port(x));
    OUT_LITERAL(o, "\r\n");
    value = trusted_value(x, HDR_X_FORWARDED_PATH);
    out_field(o, STR("X-Forwarded-Path"), value.p ? value : x->req.raw_path);
    value = trusted_value(x, HDR_X_FORWARDED_PREFIX);
    if (!value.p)
        value = stripped(x);
    if (value.len)
        out_field(o, STR("X-Forwarded-Prefix"), value);
    out_appended(o, x, HDR_VIA, x->req.version == 10 ? STR("1.0 " VIA_TOKEN) : STR("1.1 " VIA_TOKEN));
}

size_t forward_head(struct xio *io, int64_t content_length, bool chunked)
{
    struct exchange *x = &io->x;
    struct head_out o = {io->w->scratch, io->w->scratch + SCRATCH_BYTES, false};
    const struct header *te = headers_find_id(&x->req.headers, HDR_TE);
    struct str target = forward_target(x), host = host_value(io);

    if (!target.p || !host.p)
        return 0;
    out_str(&o, x->req.method);
    OUT_LITERAL(&o, " ");
    out_str(&o, target);
    if (x->req.query.p && !x->upstream_path.len) {
        OUT_LITERAL(&o, "?");
        out_str(&o, x->req.query);
    }
    OUT_LITERAL(&o, " HTTP/1.1\r\n");
    out_field(&o, STR("Host"), host);
    if (x->req.upgrade_websocket)
        OUT_LITERAL(&o, "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n");
    else
        OUT_LITERAL(&o, "Connection: keep-alive\r\n");
    out_forwarded(&o, x);
    if (io->w->set->request_id_upstream)
        out_field(&o, STR("X-Kong-Request-Id"), str_n(x->request_id, 32));
    if (te && http_list_has(te->value, STR("trailers")))
        OUT_LITERAL(&o, "TE: trailers\r\n");
    out_fields(&o, x);
    if (chunked) {
        OUT_LITERAL(&o, "Transfer-Encoding: chunked\r\n");
    } else if (content_length >= 0) {
        OUT_LITERAL(&o, "Content-Length: ");
        out_number(&o, (uint64_t)content_length);
        OUT_LITERAL(&o, "\r\n");
    }
    OUT_LITERAL(&o, "\r\n");
    return o.full ? 0 : (size_t)(o.p - io->w->scratch);
}
