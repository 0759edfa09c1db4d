/* parse.c - see parse.h. Section numbers are RFC 9112's unless another RFC is named. */
#include "dataplane/http/parse.h"

#include <arpa/inet.h>
#include <endian.h>

#pragma GCC diagnostic warning "-Wconversion"
#pragma GCC diagnostic warning "-Wsign-conversion"

enum {
    C_TOKEN = 1,  /* RFC 9110 5.6.2 */
    C_HOST = 2,   /* RFC 3986 reg-name; what follows a percent sign: see host_ok */
    C_VALUE = 4,  /* RFC 9110 5.5: visible, obs-text, space, tab */
    C_TARGET = 8, /* visible or above ASCII, no '#' */
    C_METHOD = 16, /* what the reference takes for a method, of RFC 9110 9.1's tokens */
    C_HEX = 32,   /* RFC 5234 HEXDIG, small letters too */
};

#define T (C_TOKEN | C_VALUE | C_TARGET)
#define H (C_TOKEN | C_HOST | C_VALUE | C_TARGET)
#define M (H | C_METHOD)
#define S (C_HOST | C_VALUE | C_TARGET)
#define V (C_VALUE | C_TARGET)
#define L C_VALUE
/* clang-format off */
static const uint8_t class[256] = {
    [' '] = L, ['\t'] = L, ['#'] = C_TOKEN | C_VALUE,
    ['!'] = H, ['$'] = H, ['%'] = H, ['&'] = H, ['\''] = H, ['*'] = H, ['+'] = H, ['-'] = M,
    ['.'] = H, ['_'] = M, ['~'] = H, ['^'] = T, ['`'] = T, ['|'] = T,
    ['0' ... '9'] = H | C_HEX, ['A' ... 'F'] = M | C_HEX, ['G' ... 'Z'] = M, ['a' ... 'f'] = H | C_HEX, ['g' ... 'z'] = H,
    ['('] = S, [')'] = S, [','] = S, [';'] = S, ['='] = S,
    ['"'] = V, ['/'] = V, [':'] = V, ['<'] = V, ['>'] = V, ['?'] = V, ['@'] = V, ['['] = V,
    ['\\'] = V, [']'] = V, ['{'] = V, ['}'] = V, [0x80 ... 0xff] = V,
};
/* clang-format on */
#undef T
#undef H
#undef M
#undef S
#undef V
#undef L

static inline bool is(char c, unsigned which)
{
    return (class[(unsigned char)c] & which) != 0;
}

static enum parse_result bad(struct parse_error *e, unsigned status, const char *message)
{
    *e = (struct parse_error){.status = status, .message = message};
    return PARSE_BAD;
}

bool http_is_token(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!is(s.p[i], C_TOKEN))
            return false;
    return s.len > 0;
}

bool http_is_value(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!is(s.p[i], C_VALUE))
            return false;
    return true;
}

bool http_list_has(struct str value, struct str token)
{
    struct str piece;

    while (str_next(&value, ',', &piece))
        if (str_ieq(str_trim(piece), token))
            return true;
    return false;
}

/* ---- authority ---- */

static bool host_ok(struct str host)
{
    if (host.len >= 2 && host.p[0] == '[') {
        /* IP-literal: an IPv6 address; a zone has no place here */
        char text[INET6_ADDRSTRLEN];
        struct in6_addr addr;

        if (host.p[host.len - 1] != ']' || host.len - 2 >= sizeof(text) || memchr(host.p, 0, host.len))
            return false;
        memcpy(text, host.p + 1, host.len - 2);
        text[host.len - 2] = '\0';
        return inet_pton(AF_INET6, text, &addr) == 1;
    }
    for (size_t i = 0; i < host.len; i++)
        if (!is(host.p[i], C_HOST) ||
            (host.p[i] == '%' && (host.len - i < 3 || !is(host.p[i + 1], C_HEX) || !is(host.p[i + 2], C_HEX))))
            return false;
    return true;
}

bool http_parse_authority(struct str text, struct str *host_out, uint16_t *port_out)
{
    size_t at = text.len;
    uint64_t port = 0;

    while (at > 0 && text.p[at - 1] >= '0' && text.p[at - 1] <= '9')
        at--;
    if (at > 0 && text.p[at - 1] == ':') { /* digits behind a colon, perhaps none */
        struct str digits = str_n(text.p + at, text.len - at);
        if (at == 1 || (digits.len && (!str_to_u64(digits, &port) || port > 65535)))
            return false;
        text.len = at - 1;
    }
    if (!host_ok(text))
        return false;
    *host_out = text;
    *port_out = (uint16_t)port;
    return true;
}

/* ---- fields ---- */

struct cursor {
    const char *p, *end;
};

/*
 * Eight bytes at a time: below() and equal() set the high bit of the first byte that is, and
 * perhaps of others behind it; first() is the index of the first byte marked.
 */
#define ONES 0x0101010101010101u
#define HIGH 0x8080808080808080u

static inline uint64_t eight(const char *p)
{
    uint64_t w;

    memcpy(&w, p, sizeof(w));
    return le64toh(w);
}

static inline uint64_t below(uint64_t w, unsigned n) /* n up to 128 */
{
    return (w - ONES * n) & ~w & HIGH;
}

static inline uint64_t equal(uint64_t w, unsigned char c)
{
    return below(w ^ ONES * c, 1);
}

static inline unsigned first(uint64_t marks)
{
    return (unsigned)__builtin_ctzll(marks) / 8;
}

/* The first byte that is no C_VALUE. */
static inline const char *value_end(const char *p, const char *end)
{
    while (end - p >= 8) {
        uint64_t w = eight(p), marks = below(w, 0x20) | equal(w, 0x7f);

        if (!marks) {
            p += 8;
            continue;
        }
        p += first(marks);
        if (*p != '\t')
            return p;
        p++;
    }
    while (p < end && is(*p, C_VALUE))
        p++;
    return p;
}

/* Where the token at p ends. A name of ours is a token: then the comparison was the check. */
static inline const char *name_end(const char *p, const char *end, enum header_id *id)
{
    const char *at = p;

    for (; at - p < 24 && end - at >= 8; at += 8) {
        uint64_t colon = equal(eight(at), ':');

        if (!colon)
            continue;
        at += first(colon);
        *id = header_id_of(str_n(p, (size_t)(at - p)));
        if (*id != HDR_OTHER)
            return at;
        break;
    }
    for (at = p; at < end && is(*at, C_TOKEN); at++)
        ;
    *id = header_id_of(str_n(p, (size_t)(at - p)));
    return at;
}

/*
 * One line "name: value CRLF". PARSE_OK with name.p NULL: the empty line, the head's end.
 */
static enum parse_result take_field(struct cursor *c, enum header_id *id, struct str *name, struct str *value,
                                    struct parse_error *e)
{
    const char *p = c->p, *colon, *stop;

    if (p == c->end)
        return PARSE_MORE;
    if (*p == '\r') {
        if (p + 1 == c->end)
            return PARSE_MORE;
        if (p[1] != '\n')
            return bad(e, 400, "Bad request");
        c->p = p + 2;
        *name = STR_NONE;
        return PARSE_OK;
    }
    p = name_end(p, c->end, id);
    if (p == c->end)
        return PARSE_MORE;
    if (*p != ':' || p == c->p) /* folded lines and spaces end here too (5.1, 5.2) */
        return bad(e, 400, "Bad request");
    colon = p++;
    stop = value_end(p, c->end);
    if (stop == c->end || stop + 1 == c->end)
        return stop == c->end || *stop == '\r' ? PARSE_MORE : bad(e, 400, "Bad request");
    if (stop[0] != '\r' || stop[1] != '\n')
        return bad(e, 400, "Bad request");
    *name = str_n(c->p, (size_t)(colon - c->p));
    *value = str_trim(str_n(p, (size_t)(stop - p)));
    c->p = stop + 2;
    return PARSE_OK;
}

/* What the fields say about framing and the connection; the same for both directions. */
struct framing {
    int64_t content_length;
    struct str length_text;
    bool transfer;                 /* there is a Transfer-Encoding: */
    bool chunked;                  /* chunked is among the codings */
    bool coded;                    /* another one is */
    bool overcoded;                /* something follows chunked: where the body ends is unknown */
    bool close, keep_alive;
    bool nominates;                /* Connection names other fields */
    bool upgrades;                 /* Upgrade is among them */
    bool expect_continue, expect_other;
    struct header *host, *upgrade;
};

/* The codings of one field behind those of the fields before it. */
static void note_codings(struct framing *f, struct str list)
{
    struct str coding;

    f->transfer = true;
    while (str_next(&list, ',', &coding)) {
        coding = str_trim(coding);
        if (coding.len == 0) /* an empty element (RFC 9110 5.6.1.2) */
            continue;
        f->overcoded |= f->chunked;
        if (str_ieq(coding, STR("chunked")))
            f->chunked = true;
        else
            f->coded = true;
    }
}

static enum parse_result note_field(struct framing *f, struct header *h, struct parse_error *e)
{
    uint64_t n;

    switch (h->id) {
    case HDR_CONTENT_LENGTH: /* one, of digits only (6.3) */
        if (f->content_length >= 0 || !str_to_u64(h->value, &n) || n > INT64_MAX)
            return bad(e, 400, "Bad request");
        f->content_length = (int64_t)n;
        f->length_text = h->value;
        break;
    case HDR_TRANSFER_ENCODING: note_codings(f, h->value); break;
    case HDR_CONNECTION:
        if (str_ieq(h->value, STR("keep-alive"))) {
            f->keep_alive = true;
        } else {
            f->close |= http_list_has(h->value, STR("close"));
            f->keep_alive |= http_list_has(h->value, STR("keep-alive"));
            f->nominates |= !str_ieq(h->value, STR("close"));
            f->upgrades |= http_list_has(h->value, STR("upgrade"));
        }
        break;
    case HDR_HOST:
        if (f->host)
            return bad(e, 400, "Bad request");
        f->host = h;
        break;
    case HDR_EXPECT: /* of several, each counts (RFC 9110 10.1.1) */
        if (str_ieq(h->value, STR("100-continue")))
            f->expect_continue = true;
        else
            f->expect_other = true;
        break;
    case HDR_UPGRADE: f->upgrade = h; break;
    default: break;
    }
    return PARSE_OK;
}

/*
 * Marks what the Connection fields name. Here and not when a head is written, so that nobody
 * can name a field that a plugin adds, and so take it away from the other side.
 */
static void mark_nominated(struct headers *hs)
{
    HEADERS_EACH(connection, hs) {
        if (connection->id != HDR_CONNECTION)
            continue;
        HEADERS_EACH(h, hs)
            h->hop |= http_list_has(connection->value, h->name);
    }
}

static enum parse_result take_fields(struct cursor *c, const struct parse_limits *limits, struct arena *a,
                                     struct headers *hs, struct framing *f, struct parse_error *e)
{
    uint32_t host_at = UINT32_MAX, upgrade_at = UINT32_MAX;

    for (;;) {
        struct str name, value;
        enum header_id id;
        enum parse_result r = take_field(c, &id, &name, &value, e);
        struct header *h;

        if (r != PARSE_OK)
            return r;
        if (!name.p)
            break;
        if (hs->n >= limits->fields || !headers_add_as(hs, a, id, name, value)) {
            bad(e, 431, "Request header or cookie too large");
            e->too_many_fields = hs->n >= limits->fields;
            return PARSE_BAD;
        }
        h = &hs->v[hs->n - 1];
        if (id == HDR_OTHER)
            continue;
        r = note_field(f, h, e);
        if (r != PARSE_OK)
            return r;
        if (h->id == HDR_HOST)
            host_at = hs->n - 1;
        else if (h->id == HDR_UPGRADE)
            upgrade_at = hs->n - 1;
    }
    /* the array may have moved while it grew */
    f->host = host_at == UINT32_MAX ? NULL : &hs->v[host_at];
    f->upgrade = upgrade_at == UINT32_MAX ? NULL : &hs->v[upgrade_at];
    if (f->nominates)
        mark_nominated(hs);
    if (f->transfer && f->content_length >= 0)
        return bad(e, 400, "Bad request"); /* 6.3: the classic way to smuggle */
    return PARSE_OK;
}

/* ---- requests ---- */

#define METHOD_MAX 32

static enum method method_of(struct str m)
{
    switch (m.len) {
    case 3:
        if (memcmp(m.p, "GET", 3) == 0)
            return M_GET;
        return memcmp(m.p, "PUT", 3) == 0 ? M_PUT : M_OTHER;
    case 4:
        if (memcmp(m.p, "POST", 4) == 0)
            return M_POST;
        return memcmp(m.p, "HEAD", 4) == 0 ? M_HEAD : M_OTHER;
    case 5:
        if (memcmp(m.p, "PATCH", 5) == 0)
            return M_PATCH;
        return memcmp(m.p, "TRACE", 5) == 0 ? M_TRACE : M_OTHER;
    case 6: return memcmp(m.p, "DELETE", 6) == 0 ? M_DELETE : M_OTHER;
    case 7:
        if (memcmp(m.p, "OPTIONS", 7) == 0)
            return M_OPTIONS;
        return memcmp(m.p, "CONNECT", 7) == 0 ? M_CONNECT : M_OTHER;
    default: return M_OTHER;
    }
}

/* "HTTP/1.1" at p, 8 bytes; 0: no version at all, 1: one that we do not speak. */
static unsigned version_of(const char *p)
{
    if (memcmp(p, "HTTP/", 5) != 0 || p[5] < '0' || p[5] > '9' || p[6] != '.' || p[7] < '0' || p[7] > '9')
        return 0;
    if (p[5] != '1')
        return 1;
    return p[7] == '0' ? 10 : 11;
}

/* 3.2: origin-form or absolute-form. "*" is refused: no route can mean it. */
static bool split_target(struct req_head *r)
{
    struct str t = r->target;
    size_t question;

    if (t.p[0] != '/') {
        size_t scheme = 0;
        if (t.len > 7 && str_ieq(str_n(t.p, 7), STR("http://")))
            scheme = 7;
        else if (t.len > 8 && str_ieq(str_n(t.p, 8), STR("https://")))
            scheme = 8;
        if (!scheme)
            return false;
        t = str_n(t.p + scheme, t.len - scheme);
        r->authority = t;
        for (size_t i = 0; i < t.len; i++)
            if (t.p[i] == '/' || t.p[i] == '?') {
                r->authority.len = i;
                break;
            }
        if (r->authority.len == 0)
            return false;
        t = str_n(t.p + r->authority.len, t.len - r->authority.len);
    }
    question = str_find(t, '?');
    r->raw_path = question ? str_n(t.p, question) : STR("/");
    r->query = question < t.len ? str_n(t.p + question + 1, t.len - question - 1) : STR_NONE;
    return true;
}

static enum parse_result take_request_line(struct cursor *c, const struct parse_limits *limits,
                                           struct req_head *out, struct parse_error *e)
{
    const char *p = c->p;
    unsigned version;

    while (p < c->end && is(*p, C_METHOD) && p - c->p < METHOD_MAX)
        p++;
    if (p == c->end)
        return PARSE_MORE;
    if (p - c->p == METHOD_MAX && is(*p, C_METHOD))
        return bad(e, 501, "Not implemented"); /* 3 */
    if (*p != ' ' || p == c->p)
        return bad(e, 400, "Bad request");
    out->method = str_n(c->p, (size_t)(p - c->p));
    out->target.p = ++p;
    while (p < c->end && is(*p, C_TARGET))
        p++;
    out->target.len = (size_t)(p - out->target.p);
    if (out->target.len > limits->uri_bytes)
        return bad(e, 414, "URI too long");
    if (p == c->end)
        return PARSE_MORE;
    if (*p != ' ' || out->target.len == 0)
        return bad(e, 400, "Bad request");
    p++;
    if (c->end - p < 10)
        return memchr(p, '\n', (size_t)(c->end - p)) ? bad(e, 400, "Bad request") : PARSE_MORE;
    version = version_of(p);
    if (version == 0 || p[8] != '\r' || p[9] != '\n')
        return bad(e, 400, "Bad request");
    if (version == 1)
        return bad(e, 505, "HTTP version not supported");
    out->version = (uint8_t)version;
    out->method_id = method_of(out->method);
    c->p = p + 10;
    return PARSE_OK;
}

static bool fold_host(struct req_head *r, struct arena *a)
{
    char *folded;
    size_t i = 0;

    while (i < r->host.len && ascii_lower(r->host.p[i]) == r->host.p[i])
        i++;
    if (i == r->host.len)
        return true;
    folded = arena_alloc(a, r->host.len);
    if (!folded)
        return false;
    for (i = 0; i < r->host.len; i++)
        folded[i] = ascii_lower(r->host.p[i]);
    r->host.p = folded;
    return true;
}

/* Where the request goes: r->target against the Host field, p NULL when there was none (3.2, 3.3). */
static enum parse_result locate(struct req_head *r, struct str host, struct arena *a, struct parse_error *e)
{
    if (r->method_id == M_CONNECT || r->method_id == M_TRACE)
        return bad(e, 405, "Method not allowed");
    if (!split_target(r))
        return bad(e, 400, "Bad request");
    if (host.p && !http_parse_authority(host, &r->host, &r->host_port))
        return bad(e, 400, "Bad request");
    if (!host.p && r->version >= 11)
        return bad(e, 400, "Bad request"); /* 3.2 */
    if (r->authority.p) { /* absolute-form: Host is ignored (3.2.2) */
        if (!http_parse_authority(r->authority, &r->host, &r->host_port) || r->host.len == 0)
            return bad(e, 400, "Bad request");
    } else {
        r->authority = host.p ? host : STR("");
    }
    if (!r->host.p)
        r->host = STR("");
    if (!fold_host(r, a))
        return bad(e, 431, "Request header or cookie too large");
    return PARSE_OK;
}

enum parse_result http_locate_request(struct req_head *r, struct str host, const struct parse_limits *limits,
                                      struct arena *a, struct parse_error *e)
{
    r->method_id = method_of(r->method);
    if (r->method_id == M_CONNECT)
        return bad(e, 405, "Method not allowed"); /* it has no target */
    for (size_t i = 0; i < r->method.len; i++) {
        if (!is(r->method.p[i], C_METHOD))
            return bad(e, 400, "Bad request");
        if (i == METHOD_MAX)
            return bad(e, 501, "Not implemented");
    }
    if (r->target.len > limits->uri_bytes)
        return bad(e, 414, "URI too long");
    for (size_t i = 0; i < r->target.len; i++)
        if (!is(r->target.p[i], C_TARGET))
            return bad(e, 400, "Bad request");
    if (r->method.len == 0 || r->target.len == 0)
        return bad(e, 400, "Bad request");
    return locate(r, host, a, e);
}

static enum parse_result finish_request(struct req_head *r, const struct framing *f, struct arena *a,
                                        struct parse_error *e)
{
    enum parse_result result = locate(r, f->host ? f->host->value : STR_NONE, a, e);

    if (result != PARSE_OK)
        return result;
    if (f->transfer && (!f->chunked || f->overcoded || r->version < 11))
        return bad(e, 400, "Bad request"); /* 6.1, 6.3: its length cannot be known */
    if (f->coded)
        return bad(e, 501, "Not implemented"); /* 6.1 */
    if (f->expect_other)
        return bad(e, 417, "Expectation failed");
    r->expect_continue = f->expect_continue && r->version >= 11;
    r->content_length = f->content_length;
    r->chunked = f->chunked;
    r->keep_alive = r->version >= 11 ? !f->close : f->keep_alive && !f->close;
    r->upgrade_websocket = f->upgrade && f->upgrades && r->version >= 11 && /* RFC 9110 7.8 */
                           str_ieq(f->upgrade->value, STR("websocket"));
    return PARSE_OK;
}

enum parse_result http_parse_request(struct str in, const struct parse_limits *limits, struct arena *a,
                                     struct req_head *out, size_t *used_out, struct parse_error *error_out)
{
    struct cursor c = {in.p, in.p + in.len};
    struct framing f = {.content_length = -1};
    enum parse_result r;

    memset(out, 0, sizeof(*out));
    out->content_length = -1;
    if (c.p < c.end && *c.p == '\r') { /* 2.2: one empty line in front is forgiven */
        if (c.end - c.p < 2)
            return PARSE_MORE;
        if (c.p[1] != '\n')
            return bad(error_out, 400, "Bad request");
        c.p += 2;
    }
    r = take_request_line(&c, limits, out, error_out);
    if (r == PARSE_OK)
        r = take_fields(&c, limits, a, &out->headers, &f, error_out);
    if (r == PARSE_MORE && in.len >= limits->head_bytes)
        return bad(error_out, 431, "Request header or cookie too large");
    if (r != PARSE_OK)
        return r;
    *used_out = (size_t)(c.p - in.p);
    if (*used_out > limits->head_bytes)
        return bad(error_out, 431, "Request header or cookie too large");
    return finish_request(out, &f, a, error_out);
}

/* ---- responses ---- */

static enum parse_result take_status_line(struct cursor *c, struct resp_head *out, struct parse_error *e)
{
    const char *p = c->p, *stop;
    unsigned version;

    if (c->end - p < 13) {
        size_t known = size_min((size_t)(c->end - p), 5);
        if (memcmp(p, "HTTP/", known) != 0)
            return bad(e, 502, "no HTTP status line");
        return PARSE_MORE;
    }
    version = version_of(p);
    if (version < 10 || p[8] != ' ')
        return bad(e, 502, "no HTTP/1 status line");
    for (int i = 9; i < 12; i++)
        if (p[i] < '0' || p[i] > '9')
            return bad(e, 502, "status is not three digits");
    out->status = (uint16_t)((p[9] - '0') * 100 + (p[10] - '0') * 10 + (p[11] - '0'));
    if (out->status < 100)
        return bad(e, 502, "status below 100");
    p += 12;
    if (*p == ' ')
        p++;
    else if (*p != '\r')
        return bad(e, 502, "status is not three digits");
    stop = value_end(p, c->end);
    if (c->end - stop < 2)
        return stop == c->end || *stop == '\r' ? PARSE_MORE : bad(e, 502, "bad status line");
    if (stop[0] != '\r' || stop[1] != '\n')
        return bad(e, 502, "bad status line");
    out->reason = str_n(p, (size_t)(stop - p));
    out->version = (uint8_t)version;
    c->p = stop + 2;
    return PARSE_OK;
}

enum parse_result http_parse_response(struct str in, const struct parse_limits *limits, struct arena *a,
                                      bool request_was_head, struct resp_head *out, size_t *used_out,
                                      struct parse_error *error_out)
{
    struct cursor c = {in.p, in.p + in.len};
    struct framing f = {.content_length = -1};
    enum parse_result r;

    memset(out, 0, sizeof(*out));
    out->content_length = -1;
    r = take_status_line(&c, out, error_out);
    if (r == PARSE_OK)
        r = take_fields(&c, limits, a, &out->headers, &f, error_out);
    if ((r == PARSE_MORE && in.len >= limits->head_bytes) ||
        (r == PARSE_OK && (size_t)(c.p - in.p) > limits->head_bytes))
        return bad(error_out, 431, "head too large");
    if (r != PARSE_OK) {
        error_out->status = 502;
        return r;
    }
    *used_out = (size_t)(c.p - in.p);
    if (f.transfer && (!f.chunked || f.coded || f.overcoded || out->version < 11))
        return bad(error_out, 502, "transfer coding is not chunked");
    out->content_length = f.content_length;
    out->length_text = f.length_text;
    out->chunked = f.chunked;
    if (out->status < 200 || out->status == 204 || out->status == 304 || request_was_head) {
        out->content_length = 0; /* 6.3: whatever the fields say */
        out->chunked = false;
    }
    out->keep_alive = out->version >= 11 ? !f.close : f.keep_alive && !f.close;
    return PARSE_OK;
}
