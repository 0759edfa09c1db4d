/* respond.c - heads for the client, and the answers that the gateway makes itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/checks.h"
#include "common/log.h"
#include "dataplane/head_out.h"
#include "dataplane/xio.h"

#define TOKEN "weir/" WEIR_VERSION

/* status, reason phrase (RFC 9110 section 15, and what is registered besides) */
#define STATUSES(X)                                                                                \
    X(100, "Continue") X(101, "Switching Protocols") X(103, "Early Hints")                         \
    X(200, "OK") X(201, "Created") X(202, "Accepted") X(203, "Non-Authoritative Information")      \
    X(204, "No Content") X(205, "Reset Content") X(206, "Partial Content")                         \
    X(300, "Multiple Choices") X(301, "Moved Permanently") X(302, "Found") X(303, "See Other")     \
    X(304, "Not Modified") X(307, "Temporary Redirect") X(308, "Permanent Redirect")               \
    X(400, "Bad Request") X(401, "Unauthorized") X(402, "Payment Required") X(403, "Forbidden")    \
    X(404, "Not Found") X(405, "Method Not Allowed") X(406, "Not Acceptable")                      \
    X(407, "Proxy Authentication Required") X(408, "Request Timeout") X(409, "Conflict")           \
    X(410, "Gone") X(411, "Length Required") X(412, "Precondition Failed")                         \
    X(413, "Payload Too Large") X(414, "URI Too Long") X(415, "Unsupported Media Type")            \
    X(416, "Range Not Satisfiable") X(417, "Expectation Failed") X(418, "I'm a teapot")            \
    X(421, "Misdirected Request") X(422, "Unprocessable Entity") X(423, "Locked")                  \
    X(424, "Failed Dependency") X(425, "Too Early") X(426, "Upgrade Required")                     \
    X(428, "Precondition Required") X(429, "Too Many Requests")                                    \
    X(431, "Request Header Fields Too Large") X(451, "Unavailable For Legal Reasons")              \
    X(494, "Request Header Or Cookie Too Large") X(500, "Internal Server Error")                   \
    X(501, "Not Implemented") X(502, "Bad Gateway") X(503, "Service Unavailable")                  \
    X(504, "Gateway Timeout") X(505, "HTTP Version Not Supported")                                 \
    X(507, "Insufficient Storage") X(508, "Loop Detected") X(511, "Network Authentication Required")

const char *status_text(unsigned status)
{
    switch (status) {
#define X(code, text)                                                                              \
    case code: return text;
        STATUSES(X)
#undef X
    default: return "Unknown";
    }
}

/* ---- error bodies (the reference's proxying rules, section 3) ---- */

enum page { PAGE_JSON, PAGE_PLAIN, PAGE_XML, PAGE_HTML };

static const struct {
    const char *content_type;
    const char *pattern; /* message, request id */
} pages[] = {
    [PAGE_JSON] = {"application/json; charset=utf-8", "{\n  \"message\":\"" STR_FMT "\",\n  \"request_id\":\"%s\"\n}"},
    [PAGE_PLAIN] = {"text/plain; charset=utf-8", STR_FMT "\nrequest_id: %s\n"},
    [PAGE_XML] = {"application/xml; charset=utf-8",
                  "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<error>\n  <message>" STR_FMT
                  "</message>\n  <requestid>%s</requestid>\n</error>\n"},
    [PAGE_HTML] = {"text/html; charset=utf-8",
                   "<!doctype html>\n<html>\n  <head>\n    <meta charset=\"utf-8\">\n    <title>Error</title>\n"
                   "  </head>\n  <body>\n    <h1>Error</h1>\n    <p>" STR_FMT ".</p>\n"
                   "    <p>request_id: %s</p>\n  </body>\n</html>\n"},
};

/* A media type without parameters; case counts, as with the reference. */
static bool page_of(struct str type, enum page *out)
{
    static const struct {
        struct str type;
        enum page page;
    } known[] = {
        {{"text/html", 9}, PAGE_HTML},         {{"text/plain", 10}, PAGE_PLAIN},
        {{"text/*", 6}, PAGE_PLAIN},           {{"application/json", 16}, PAGE_JSON},
        {{"application/*", 13}, PAGE_JSON},    {{"application/xml", 15}, PAGE_XML},
        {{"text/xml", 8}, PAGE_XML},           {{"*/*", 3}, PAGE_JSON},
    };

    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (str_eq(type, known[i].type)) {
            *out = known[i].page;
            return true;
        }
    return false;
}

/* "q=0.8" of a media range's parameters, in thousandths. */
static unsigned quality(struct str params)
{
    struct str piece;

    while (str_next(&params, ';', &piece)) {
        unsigned q = 0, scale = 100;

        piece = str_trim(piece);
        if (piece.len < 3 || ascii_lower(piece.p[0]) != 'q' || piece.p[1] != '=')
            continue;
        if (piece.p[2] == '1')
            return 1000;
        for (size_t i = 4; i < piece.len && scale && piece.p[i] >= '0' && piece.p[i] <= '9'; i++, scale /= 10)
            q += scale * (unsigned)(piece.p[i] - '0');
        return q;
    }
    return 1000;
}

/* The range of highest quality that we know, the first of equals; JSON when there is none. */
static enum page accepted(struct str accept)
{
    enum page best = PAGE_JSON, page;
    unsigned best_q = 0;
    struct str range;

    while (str_next(&accept, ',', &range)) {
        size_t semicolon = str_find(range, ';');
        struct str params = semicolon < range.len ? str_n(range.p + semicolon + 1, range.len - semicolon - 1) : STR_NONE;
        unsigned q = quality(params);

        if (q > best_q && page_of(str_trim(str_n(range.p, semicolon)), &page)) {
            best = page;
            best_q = q;
        }
    }
    return best;
}

#define ESCAPED_MAX 6 /* bytes that one byte of a text becomes at most */

static bool is_control(unsigned char c)
{
    return c < 0x20 || c == 0x7f;
}

/* Writes how c stands in a JSON string. Its length. */
static size_t json_byte(unsigned char c, char to[ESCAPED_MAX + 1])
{
    if (is_control(c))
        return (size_t)snprintf(to, ESCAPED_MAX + 1, "\\u%04x", c);
    if (c == '"' || c == '\\') {
        to[0] = '\\';
        to[1] = (char)c;
        return 2;
    }
    to[0] = (char)c;
    return 1;
}

/* Writes how c stands in text of XML or HTML, where most control bytes cannot. Its length. */
static size_t markup_byte(unsigned char c, char to[ESCAPED_MAX + 1])
{
    struct str as = str_n((const char *)&c, 1);

    switch (c) {
    case '&': as = STR("&amp;"); break;
    case '<': as = STR("&lt;"); break;
    case '>': as = STR("&gt;"); break;
    case '"': as = STR("&#34;"); break;
    case '\'': as = STR("&#39;"); break;
    case '\t': case '\n': case '\r': break;
    default:
        if (is_control(c))
            as = STR("\xef\xbf\xbd");
    }
    memcpy(to, as.p, as.len);
    return as.len;
}

/* text as a page holds it; what is not UTF-8 is U+FFFD. p == NULL: the arena's cap. */
static struct str escaped(struct arena *a, enum page page, struct str text)
{
    size_t (*byte)(unsigned char, char *) = page == PAGE_JSON ? json_byte : page == PAGE_PLAIN ? NULL : markup_byte;
    char *out = arena_alloc(a, text.len * ESCAPED_MAX + 1), *to = out;

    if (!out)
        return STR_NONE;
    while (text.len) {
        size_t good = utf8_invalid_at(text);

        for (size_t i = 0; i < good; i++) {
            if (byte)
                to += byte((unsigned char)text.p[i], to);
            else
                *to++ = text.p[i];
        }
        text = str_n(text.p + good, text.len - good);
        if (text.len) {
            memcpy(to, "\xef\xbf\xbd", 3);
            to += 3;
            text = str_n(text.p + 1, text.len - 1);
        }
    }
    return str_n(out, (size_t)(to - out));
}

static void answer_page(struct exchange *x, unsigned status, enum page page, const char *message)
{
    struct str text = escaped(&x->arena, page, str_of(message ? message : status_text(status)));
    struct str body = STR_NONE;

    if (text.p)
        body = arena_printf(&x->arena, pages[page].pattern, STR_ARG(text), x->request_id);
    exchange_answer(x, status, pages[page].content_type, body.p ? body : STR(""));
}

/* The reference's answer to those who speak gRPC, but not over HTTP/2. */
static void answer_grpc_http1(struct exchange *x, unsigned status, const char *message)
{
    struct str text = escaped(&x->arena, PAGE_JSON, str_of(message ? message : status_text(status)));
    struct str body = STR_NONE;

    if (text.p)
        body = arena_printf(&x->arena, "{\"message\":\"" STR_FMT "\"}", STR_ARG(text));
    exchange_answer(x, status, pages[PAGE_JSON].content_type, body.p ? body : STR(""));
}

bool exchange_is_grpc(const struct exchange *x)
{
    const struct header *type = headers_find_id(&x->req.headers, HDR_CONTENT_TYPE);

    return type && str_starts(type->value, STR("application/grpc"));
}

static bool wants_grpc_status(const struct exchange *x)
{
    return x->req.version == 20 && exchange_is_grpc(x);
}

/* The reference's map; what it does not list as the class it belongs to. */
static struct str grpc_status(unsigned status)
{
    switch (status) {
    case 400: return STR("3");
    case 401: return STR("16");
    case 403: return STR("7");
    case 404: return STR("5");
    case 409: return STR("6");
    case 429: return STR("8");
    case 499: return STR("1");
    case 501: return STR("12");
    case 503: return STR("14");
    case 504: return STR("4");
    default: return status >= 500 ? STR("13") : STR("3");
    }
}

/* Percent-encoded, as gRPC over HTTP/2 has its messages. p == NULL: the arena's cap. */
static struct str grpc_message(struct arena *a, struct str text)
{
    static const char digits[] = "0123456789ABCDEF";
    char *out = arena_alloc(a, text.len * 3 + 1), *to = out;

    if (!out)
        return STR_NONE;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.p[i];

        if (c >= 0x20 && c < 0x7f && c != '%') {
            *to++ = (char)c;
            continue;
        }
        *to++ = '%';
        *to++ = digits[c >> 4];
        *to++ = digits[c & 15];
    }
    return str_n(out, (size_t)(to - out));
}

/* An error for those who look for it in grpc-status: a head and nothing behind it ("Trailers-Only"). */
static void answer_grpc(struct exchange *x, unsigned status, struct str message)
{
    struct str text = grpc_message(&x->arena, message);

    x->resp = (struct resp_head){.status = 200, .version = 11, .content_length = -1};
    x->answered = true;
    x->answer = STR("");
    /* at the arena's cap the client takes the missing status as unknown */
    if (headers_add(&x->resp.headers, &x->arena, STR("Content-Type"), STR("application/grpc")) &&
        headers_add(&x->resp.headers, &x->arena, STR("grpc-status"), grpc_status(status)) && text.p &&
        !headers_add(&x->resp.headers, &x->arena, STR("grpc-message"), text))
        return;
}

void exchange_error(struct exchange *x, unsigned status, const char *message)
{
    const struct header *accept = headers_find_id(&x->req.headers, HDR_ACCEPT);

    if (unlikely(x->stream)) { /* only the log gets to see it */
        exchange_answer(x, status, NULL, str_of(message ? message : status_text(status)));
        return;
    }
    if (wants_grpc_status(x)) {
        answer_grpc(x, status, str_of(message ? message : status_text(status)));
        return;
    }
    answer_page(x, status, accept ? accepted(accept->value) : PAGE_JSON, message);
}

void exchange_answer(struct exchange *x, unsigned status, const char *content_type, struct str body)
{
    if (unlikely(status >= 400) && wants_grpc_status(x)) {
        bool text = body.len && content_type && strncmp(content_type, "text/plain", 10) == 0;

        answer_grpc(x, status, text ? body : str_of(status_text(status)));
        return;
    }
    x->resp = (struct resp_head){.status = (uint16_t)status, .version = 11, .content_length = -1};
    x->answered = true;
    x->answer = body;
    /* at the arena's cap the answer goes without a type */
    if (content_type && !headers_add_as(&x->resp.headers, &x->arena, HDR_CONTENT_TYPE, STR("Content-Type"),
                                        str_of(content_type)))
        return;
}

static const char *failure_text(unsigned status)
{
    switch (status) {
    case 400: return "Bad request";
    case 404: return "Not found";
    case 405: return "Method not allowed";
    case 408: return "Request timeout";
    case 411: return "Length required";
    case 412: return "Precondition failed";
    case 413: return "Payload too large";
    case 414: return "URI too long";
    case 417: return "Expectation failed";
    case 500: return "An unexpected error occurred";
    case 502: return "An invalid response was received from the upstream server";
    case 503: return "The upstream server is currently unavailable";
    case 504: return "The upstream server is timing out";
    default: return NULL;
    }
}

void respond_failure(struct exchange *x, unsigned status, const char *message)
{
    const struct header *accept = headers_find_id(&x->req.headers, HDR_ACCEPT);
    const struct header *type = headers_find_id(&x->req.headers, HDR_CONTENT_TYPE);
    const struct header *wanted = accept ? accept : type;
    enum page page = PAGE_PLAIN;

    if (!message)
        message = failure_text(status);
    if (unlikely(x->stream)) {
        exchange_answer(x, status, NULL, str_of(message));
        return;
    }
    if (status == 431)
        status = 400; /* as the reference's 494 */
    if (wants_grpc_status(x)) {
        exchange_error(x, status, message);
        return;
    }
    if (wanted && str_starts(wanted->value, STR("application/grpc"))) {
        answer_grpc_http1(x, status, message);
        return;
    }
    if (accept) {
        page = accepted(accept->value);
    } else if (type) {
        page = PAGE_JSON;
        page_of(str_trim(str_n(type->value.p, str_find(type->value, ';'))), &page);
    }
    answer_page(x, status, page, message);
}

/* ---- heads ---- */

/* Fields of a response that end here or are written by us. */
static const bool ours[HDR_COUNT] = {
    [HDR_CONNECTION] = true,        [HDR_CONTENT_LENGTH] = true, [HDR_KEEP_ALIVE] = true,
    [HDR_PROXY_CONNECTION] = true,  [HDR_TRAILER] = true,        [HDR_TRANSFER_ENCODING] = true,
    [HDR_UPGRADE] = true,           [HDR_VIA] = true,            [HDR_X_KONG_REQUEST_ID] = true,
    [HDR_X_KONG_PROXY_LATENCY] = true, [HDR_X_KONG_RESPONSE_LATENCY] = true,
    [HDR_X_KONG_UPSTREAM_LATENCY] = true,
};

struct seen {
    bool upgrade; /* in: Upgrade may stand in this head */
    bool date, server, via;
    struct str length;
};

static void out_fields(struct head_out *o, struct exchange *x, struct seen *seen)
{
    HEADERS_EACH(h, &x->resp.headers) {
        seen->date |= h->id == HDR_DATE;
        seen->server |= h->id == HDR_SERVER;
        seen->via |= h->id == HDR_VIA;
        if (h->id == HDR_CONTENT_LENGTH)
            seen->length = h->value;
        if (ours[h->id]) {
            if (h->id != HDR_UPGRADE || !seen->upgrade)
                continue;
        } else if (h->hop) {
            continue;
        }
        out_header(o, h);
    }
}

static uint64_t ms(uint64_t from, uint64_t to)
{
    return to > from ? (to - from) / 1000 : 0;
}

static void out_latencies(struct head_out *o, struct exchange *x, unsigned on)
{
    const struct xtimes *t = &x->times;

    if (!x->tries) {
        if (on & HT_BIT(HT_RESPONSE_LATENCY))
            out_number_line(o, STR("X-Kong-Response-Latency: "), ms(t->start, t->head_out));
        return;
    }
    if (on & HT_BIT(HT_UPSTREAM_LATENCY))
        out_number_line(o, STR("X-Kong-Upstream-Latency: "),
                        ms(t->upstream_sent, t->upstream_head ? t->upstream_head : t->head_out));
    if (on & HT_BIT(HT_PROXY_LATENCY))
        out_number_line(o, STR("X-Kong-Proxy-Latency: "), ms(t->start, t->upstream_sent));
    if (on & HT_BIT(HT_UPSTREAM_STATUS) && x->upstream_status)
        out_number_line(o, STR("X-Kong-Upstream-Status: "), x->upstream_status);
}

/* How long the body is, as far as it is known. io->down_length_known: Content-Length says it. */
static void out_length(struct head_out *o, struct xio *io, struct str length)
{
    struct exchange *x = &io->x;
    unsigned status = x->resp.status;
    uint64_t n;

    io->head_only = x->req.method_id == M_HEAD || status < 200 || status == 204 || status == 304;
    if (x->answered) {
        if (status >= 200 && status != 204 && status != 304)
            out_number_line(o, STR("Content-Length: "), x->answer.len);
        io->down_left = x->answer.len;
        io->down_length_known = true;
    } else if (length.p && length.p == x->resp.length_text.p && x->resp.content_length > 0) {
        out_line(o, STR("Content-Length: "), length);
        io->down_left = (uint64_t)x->resp.content_length;
        io->down_length_known = true;
    } else if (length.p && str_to_u64(length, &n)) {
        if (status >= 200 && status != 204)
            out_line(o, STR("Content-Length: "), length);
        io->down_left = n;
        io->down_length_known = true;
    }
}

/* Fields that are ours to add, whatever the protocol. */
static void out_own(struct head_out *o, struct xio *io, const struct seen *seen)
{
    struct exchange *x = &io->x;
    unsigned on = io->w->set->headers;

    if (!seen->date)
        out_line(o, STR("Date: "), worker_date(io->w));
    if (!seen->server && on & HT_BIT(HT_SERVER))
        OUT_LITERAL(o, "Server: " TOKEN "\r\n");
    if (x->tries && on & HT_BIT(HT_VIA))
        out_appended(o, STR("Via: "), &x->resp.headers, HDR_VIA,
                     x->resp.version == 20 ? STR("2 " TOKEN) : STR("1.1 " TOKEN));
    else if (seen->via)
        HEADERS_EACH(h, &x->resp.headers)
            if (h->id == HDR_VIA)
                out_header(o, h);
    out_latencies(o, x, on);
    if (on & HT_BIT(HT_REQUEST_ID))
        out_line(o, STR("X-Kong-Request-Id: "), str_n(x->request_id, 32));
}

void respond_fields(struct head_out *o, struct xio *io)
{
    struct seen seen = {.upgrade = false};

    io->x.times.head_out = worker_now(io->w);
    out_fields(o, &io->x, &seen);
    out_length(o, io, seen.length);
    out_own(o, io, &seen);
}

void respond_interim_fields(struct head_out *o, const struct exchange *x)
{
    HEADERS_EACH(h, &x->resp.headers)
        if (!h->hop && (!ours[h->id] || h->id == HDR_VIA))
            out_header(o, h);
}

/* How the end of the body is told, and what becomes of the connection (RFC 9112 section 6.3). */
static void out_framing(struct head_out *o, struct xio *io)
{
    struct exchange *x = &io->x;

    if (!io->head_only && !io->down_length_known) {
        if (x->req.version >= 11) {
            io->down_chunked = true;
            OUT_LITERAL(o, "Transfer-Encoding: chunked\r\n");
        } else {
            io->keep_alive = false;
        }
    }
    if (x->resp.status == 101 && !x->answered)
        OUT_LITERAL(o, "Connection: upgrade\r\n");
    else if (x->answered && headers_find_id(&x->resp.headers, HDR_UPGRADE))
        out_str(o, io->keep_alive ? STR("Connection: Upgrade\r\n") : STR("Connection: close, Upgrade\r\n"));
    else
        out_str(o, io->keep_alive ? STR("Connection: keep-alive\r\n") : STR("Connection: close\r\n"));
}

size_t respond_head(struct xio *io)
{
    struct exchange *x = &io->x;
    struct head_out o = {io->w->scratch, io->w->scratch + SCRATCH_BYTES, false};
    struct seen seen = {.upgrade = x->answered || x->resp.status == 101};

    x->times.head_out = worker_now(io->w);
    OUT_LITERAL(&o, "HTTP/1.1 ");
    out_number(&o, x->resp.status);
    OUT_LITERAL(&o, " ");
    out_str(&o, x->resp.reason.len ? x->resp.reason : str_of(status_text(x->resp.status)));
    OUT_LITERAL(&o, "\r\n");
    out_fields(&o, x, &seen);
    out_length(&o, io, seen.length);
    out_framing(&o, io);
    out_own(&o, io, &seen);
    OUT_LITERAL(&o, "\r\n");
    return o.full ? 0 : (size_t)(o.p - io->w->scratch);
}
