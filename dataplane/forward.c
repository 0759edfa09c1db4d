/* forward.c - the request as the upstream gets it (the reference's proxying rules, section 1). */
#include <string.h>

#include "common/checks.h"
#include "common/uri.h"
#include "dataplane/head_out.h"
#include "dataplane/path.h"
#include "dataplane/plugin.h"
#include "dataplane/xio.h"

#define VIA_TOKEN "weir/" WEIR_VERSION

/* ---- the client's address ---- */

static bool parse_address(struct str s, struct ip_network *out)
{
    return str_find(s, '/') == s.len && ip_network_parse(s, out);
}

void forward_real_ip(struct exchange *x)
{
    int header = x->worker->set->real_ip_header;
    bool list = header == REAL_IP_X_FORWARDED_FOR;
    struct header *h;
    struct str rest, piece, last = STR("");
    struct ip_network address;
    struct host_port with_port;

    if (likely(!x->peer_trusted) || header == REAL_IP_PROXY_PROTOCOL) /* that one is known already */
        return;
    h = headers_find_id(&x->req.headers, list ? HDR_X_FORWARDED_FOR : HDR_X_REAL_IP);
    if (!h)
        return;
    rest = h->value;
    while (str_next(&rest, ',', &piece))
        last = str_trim(piece);
    if (!parse_address(last, &address)) {
        if (host_port_parse(last, &with_port, NULL) != 0 || !parse_address(with_port.name, &address))
            return;
        last = with_port.name;
    }
    x->client_ip = last;
    memcpy(x->client_addr, address.addr, sizeof(x->client_addr));
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
        .v1 = m->route->path_v1,
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

static bool has_port(struct str authority)
{
    struct str host;
    uint16_t port;

    return http_parse_authority(authority, &host, &port) && host.len < authority.len;
}

/* "host:port"; p NULL: the arena's cap. */
static struct str with_port(struct arena *a, struct str host, uint16_t port)
{
    char digits[20], *end = digits + sizeof(digits), *at = str_u64(port, end);
    char *text = arena_alloc(a, host.len + 1 + (size_t)(end - at));

    if (!text)
        return STR_NONE;
    memcpy(text, host.p, host.len);
    text[host.len] = ':';
    memcpy(text + host.len + 1, at, (size_t)(end - at));
    return str_n(text, host.len + 1 + (size_t)(end - at));
}

struct str forward_authority(struct xio *io)
{
    struct exchange *x = &io->x;
    struct str host = io->upstream->def.host_header;
    uint16_t port = io->target->port;

    if (x->match.route->def.preserve_host && x->req.authority.len)
        return x->req.authority;
    if (host.len && has_port(host))
        return host;
    if (!host.len)
        host = io->target->host;
    if (default_port(x->match.service, port))
        return host;
    return with_port(&x->arena, host, port);
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

static void out_fields(struct head_out *o, struct exchange *x)
{
    HEADERS_EACH(h, &x->req.headers)
        if (!ours[h->id] && !h->hop)
            out_header(o, h);
}

static struct str trusted_value(const struct exchange *x, enum header_id id)
{
    const struct header *h = x->peer_trusted ? headers_find_id(&x->req.headers, id) : NULL;
    return h ? h->value : STR_NONE;
}

static void out_forwarded(struct head_out *o, struct exchange *x)
{
    struct str value;

    out_line(o, STR("X-Real-IP: "), x->client_ip);
    /* the first in the list is the client itself */
    out_appended(o, STR("X-Forwarded-For: "), &x->req.headers, HDR_X_FORWARDED_FOR,
                 headers_find_id(&x->req.headers, HDR_X_FORWARDED_FOR) ? x->peer_ip : x->client_ip);
    out_line(o, STR("X-Forwarded-Proto: "), str_of(plugin_scheme(x)));
    out_line(o, STR("X-Forwarded-Host: "), plugin_forwarded_host(x));
    out_number_line(o, STR("X-Forwarded-Port: "), plugin_forwarded_port(x));
    value = trusted_value(x, HDR_X_FORWARDED_PATH);
    out_line(o, STR("X-Forwarded-Path: "), value.p ? value : x->req.raw_path);
    value = trusted_value(x, HDR_X_FORWARDED_PREFIX);
    if (!value.p)
        value = stripped(x);
    if (value.len)
        out_line(o, STR("X-Forwarded-Prefix: "), value);
    out_appended(o, STR("Via: "), &x->req.headers, HDR_VIA,
                 x->req.version == 10 ? STR("1 " VIA_TOKEN) :
                 x->req.version == 20 ? STR("2 " VIA_TOKEN) : STR("1.1 " VIA_TOKEN));
}

void forward_fields(struct head_out *o, struct xio *io, int64_t content_length)
{
    struct exchange *x = &io->x;
    const struct header *te = headers_find_id(&x->req.headers, HDR_TE);

    out_forwarded(o, x);
    if (io->w->set->request_id_upstream)
        out_line(o, STR("X-Kong-Request-Id: "), str_n(x->request_id, 32));
    if (te && http_list_has(te->value, STR("trailers")))
        OUT_LITERAL(o, "TE: trailers\r\n");
    out_fields(o, x);
    if (content_length >= 0)
        out_number_line(o, STR("Content-Length: "), (uint64_t)content_length);
}

size_t forward_head(struct xio *io, int64_t content_length, bool chunked)
{
    struct exchange *x = &io->x;
    struct head_out o = {io->w->scratch, io->w->scratch + SCRATCH_BYTES, false};
    struct str target = forward_target(x), authority = forward_authority(io);

    if (!target.p || !authority.p)
        return 0;
    out_str(&o, x->req.method);
    OUT_LITERAL(&o, " ");
    out_str(&o, target);
    if (x->req.query.p && !x->upstream_path.len) {
        OUT_LITERAL(&o, "?");
        out_str(&o, x->req.query);
    }
    OUT_LITERAL(&o, " HTTP/1.1\r\n");
    out_line(&o, STR("Host: "), authority);
    if (x->req.upgrade_websocket)
        OUT_LITERAL(&o, "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n");
    else
        OUT_LITERAL(&o, "Connection: keep-alive\r\n");
    forward_fields(&o, io, content_length);
    if (chunked)
        OUT_LITERAL(&o, "Transfer-Encoding: chunked\r\n");
    OUT_LITERAL(&o, "\r\n");
    return o.full ? 0 : (size_t)(o.p - io->w->scratch);
}
