/*
 * http2_down.c - HTTP/2 towards clients (RFC 9113, RFC 8441), by nghttp2; see codec.h, http2.h.
 *
 * nghttp2 must not be called for more input or output from inside its callbacks. So what they
 * hear is noted at the stream, which becomes due; when all of a read has been looked at, each
 * due stream goes on. What that makes gathers in the wire (http2_common.h), and leaves in one
 * write at the quiet point.
 *
 * A session dies only in events of its own socket and at the quiet point, never below a
 * stream of its own.
 */
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/rand.h"
#include "dataplane/codec/http2.h"
#include "dataplane/codec/http2_common.h"
#include "dataplane/exchange_priv.h"
#include "dataplane/observe/metrics.h"

#define READ_STOP   (128u * 1024u) /* this much unread output, and the client is not listened to */
#define RETIRE_US   1000000u       /* for the client to have seen that the connection ends */
#define OUTBOUND_ACKS 1000u
#define FRAME_CREDIT  4 /* control frames that go with a frame of data or a request: window updates */

enum due { DUE_HEAD = 1, DUE_BODY = 2, DUE_WRITE = 4, DUE_GONE = 8 };

struct http2_stream {
    struct http2 *h2;
    struct conn *c;
    struct http2_stream *next, **prev; /* the session's; who was served last is last */
    struct http2_stream *next_due, **prev_due; /* prev_due NULL: not due */
    int32_t id;
    uint8_t due;          /* bits of enum due */
    bool closed;          /* nghttp2 has forgotten it */

    /* request */
    bool remote_ended;    /* END_STREAM has come */
    bool faulty;          /* closed for what the client sent */
    bool head_complete;
    bool no_body;         /* END_STREAM came with the head */
    bool too_large;       /* its fields: the rest of them is not kept */
    uint16_t fields;
    uint16_t crumbs;      /* of the cookie */
    bool uri_too_long;
    uint32_t head_bytes;
    struct str scheme, protocol, authority, host;
    struct buf *backlog;  /* body that the exchange does not take yet */
    uint32_t backlog_at;
    bool fed;             /* some of it went to c->rbuf at once */

    /* response */
    bool head_sent;       /* handed to nghttp2 */
    bool ending;          /* nothing follows what is in the queue */
    bool ended;           /* END_STREAM is on its way */
    bool deferred;        /* nghttp2 waits to be told that there is data */
    bool tunnel;          /* an upgraded stream: its bytes are nobody's */
    bool offering;        /* in writev or at the end: what follows is all that there is */
    char status[3];
    const struct headers *trailers;
    const struct iovec *v; /* what is offered, */
    int n;
    size_t skip;          /* of v[0] */
    size_t left, taken;   /* of all */
};

struct http2 {
    struct http2_wire wire;
    struct conn *c;
    struct http2_stream *streams, **streams_end;
    struct http2_stream *due, **due_end;
    struct http2_stream *collecting; /* its head is not complete */
    unsigned n_streams;
    bool dying;              /* the session is not to be called any more */
    bool stopped;            /* reading waits for the client to read */
    enum { SERVING, RETIRING, RETIRED } stage; /* RETIRING: streams may still come */
    uint8_t waiting;         /* what the timer is for: enum conn_wait + 1; 0: nothing */
    int64_t resets_left, frames_left;
    uint64_t frames_since;   /* when frames_left was last filled up */
    const char *limit;       /* the setting that the client is beyond */
};

static const struct io_ops io_stream;

/* ---- streams ---- */

static struct http2_stream *stream_of(struct http2 *h2, int32_t id)
{
    return nghttp2_session_get_stream_user_data(h2->wire.session, id);
}

static void link_last(struct http2_stream *st)
{
    struct http2 *h2 = st->h2;

    st->next = NULL;
    st->prev = h2->streams_end;
    *h2->streams_end = st;
    h2->streams_end = &st->next;
}

static void unlink_stream(struct http2_stream *st)
{
    *st->prev = st->next;
    if (st->next)
        st->next->prev = st->prev;
    else
        st->h2->streams_end = st->prev;
}

static void make_due(struct http2_stream *st, enum due why)
{
    struct http2 *h2 = st->h2;

    st->due |= (uint8_t)why;
    if (st->prev_due)
        return;
    st->next_due = NULL;
    st->prev_due = h2->due_end;
    *h2->due_end = st;
    h2->due_end = &st->next_due;
}

static void not_due(struct http2_stream *st)
{
    if (!st->prev_due)
        return;
    *st->prev_due = st->next_due;
    if (st->next_due)
        st->next_due->prev_due = st->prev_due;
    else
        st->h2->due_end = st->prev_due;
    st->prev_due = NULL;
}

/* All that have something to send, now that some of it may go. */
static void make_writers_due(struct http2 *h2)
{
    for (struct http2_stream *st = h2->streams; st; st = st->next)
        if (st->c->writing)
            make_due(st, DUE_WRITE);
}

static struct http2_stream *stream_begin(struct http2 *h2, int32_t id)
{
    struct http2_stream *st = http2_alloc(h2->wire.w, sizeof(*st));

    st->h2 = h2;
    st->id = id;
    st->deferred = true;
    st->c = conn_open_stream(h2->c, st, &io_stream);
    exchange_begin(st->c);
    link_last(st);
    h2->n_streams++;
    h2->waiting = 0; /* it may have ended when the timer is looked at next: the connection was not idle */
    metric_add(M_HTTP2_STREAMS_TOTAL, 1);
    metric_add(M_HTTP2_STREAMS, 1);
    return st;
}

/* The body has come to its end, and all of it is where the exchange sees it. */
static void all_read(struct http2_stream *st)
{
    st->c->eof = true;
    conn_want_read(st->c, false);
}

static void remote_end(struct http2_stream *st)
{
    st->remote_ended = true;
    if (!st->backlog)
        all_read(st);
    make_due(st, DUE_BODY);
}

/* ---- a stream's bytes, as the exchange sees them ---- */

static struct http2_stream *of_io(struct io *io)
{
    return CONTAINER_OF(io, struct conn, io)->stream;
}

static void consumed(struct http2_stream *st, size_t n)
{
    if (st->h2->dying)
        return;
    if (st->closed)
        nghttp2_session_consume_connection(st->h2->wire.session, n);
    else
        nghttp2_session_consume(st->h2->wire.session, st->id, n);
    http2_dirty(&st->h2->wire);
}

static ssize_t stream_read(struct io *io, void *to, size_t len)
{
    struct http2_stream *st = of_io(io);
    struct buf *b = st->backlog;

    if (!b)
        return st->remote_ended ? 0 : st->closed ? IO_ERROR : IO_AGAIN;
    len = size_min(len, b->len - st->backlog_at);
    memcpy(to, b->data + st->backlog_at, len);
    st->backlog_at += (uint32_t)len;
    consumed(st, len);
    if (st->backlog_at == b->len) {
        buf_give(&st->h2->wire.w->bufs, &st->backlog);
        if (st->remote_ended)
            all_read(st);
    }
    return (ssize_t)len;
}

static bool stream_pending(const struct io *io)
{
    const struct http2_stream *st = ((const struct conn *)((const char *)io - offsetof(struct conn, io)))->stream;

    return st->backlog || (st->remote_ended && !st->c->eof);
}

static int stream_handshake(struct io *io)
{
    (void)io;
    return 0;
}

/* Lets nghttp2 take what st offers. */
static bool offer(struct http2_stream *st)
{
    struct http2 *h2 = st->h2;
    bool ok;

    st->offering = true;
    if (st->deferred && (st->left || st->ending)) {
        st->deferred = false;
        nghttp2_session_resume_data(h2->wire.session, st->id);
    }
    ok = http2_pump(&h2->wire);
    st->offering = false;
    st->left = 0;
    http2_dirty(&h2->wire);
    return ok;
}

static bool submit_head(struct http2_stream *st, const struct iovec *text, bool alone);

/* The first piece is the text of the head (down_head). */
static ssize_t stream_writev(struct io *io, const struct iovec *v, int n)
{
    struct http2_stream *st = of_io(io);
    struct http2 *h2 = st->h2;
    size_t head = 0;

    if (st->closed || h2->dying || h2->wire.broken)
        return IO_ERROR;
    if (!st->head_sent) {
        if (!http2_has_room(&h2->wire))
            return IO_AGAIN;
        if (!submit_head(st, v, n == 1))
            return IO_ERROR;
        head = v->iov_len;
        v++, n--;
    }
    st->v = v;
    st->n = n;
    st->skip = st->taken = st->left = 0;
    for (int i = 0; i < n; i++)
        st->left += v[i].iov_len;
    if (!offer(st))
        return IO_ERROR;
    if (st->taken) { /* the others are first when there is room again */
        unlink_stream(st);
        link_last(st);
    }
    head += st->taken;
    return head ? (ssize_t)head : IO_AGAIN;
}

static void stream_shutdown(struct io *io)
{
    struct http2_stream *st = of_io(io);

    st->ending = true;
    if (!st->closed && !st->h2->dying)
        offer(st);
}

static void stream_close(struct io *io)
{
    struct http2_stream *st = of_io(io);
    struct http2 *h2 = st->h2;
    size_t unread = st->backlog ? st->backlog->len - st->backlog_at : 0;

    if (!st->closed) {
        nghttp2_session *s = h2->wire.session;
        uint32_t code = st->ended ? NGHTTP2_NO_ERROR : st->tunnel ? NGHTTP2_CANCEL : NGHTTP2_INTERNAL_ERROR;

        nghttp2_session_set_stream_user_data(s, st->id, NULL);
        if (!h2->dying && (!st->ended || !st->remote_ended))
            nghttp2_submit_rst_stream(s, NGHTTP2_FLAG_NONE, st->id, code);
    }
    if (unread && !h2->dying)
        nghttp2_session_consume_connection(h2->wire.session, unread);
    if (st->ended && !st->faulty && h2->resets_left < h2->wire.w->set->http2_max_resets)
        h2->resets_left++;
    if (h2->collecting == st)
        h2->collecting = NULL;
    http2_dirty(&h2->wire);
    not_due(st);
    unlink_stream(st);
    h2->n_streams--;
    metric_add(M_HTTP2_STREAMS, -1);
    buf_give(&h2->wire.w->bufs, &st->backlog);
    http2_free(h2->wire.w, st);
}

static const struct io_ops io_stream = {
    .read = stream_read,
    .writev = stream_writev,
    .handshake = stream_handshake,
    .pending = stream_pending,
    .shutdown = stream_shutdown,
    .close = stream_close,
};

/* ---- the request's head ---- */

/* RFC 9113 section 8.3.1. nghttp2 has seen to it that each comes once, in front, and not in trailers. */
static void take_pseudo(struct http2_stream *st, struct str name, struct str value)
{
    struct req_head *r = &st->c->xio->x.req;
    static const struct str names[] = {{":method", 7}, {":path", 5}, {":scheme", 7}, {":authority", 10}, {":protocol", 9}};
    struct str *const to[] = {&r->method, &r->target, &st->scheme, &st->authority, &st->protocol};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (!str_eq(name, names[i]))
            continue;
        *to[i] = arena_str(&st->c->xio->x.arena, value);
        st->too_large |= !to[i]->p;
        return;
    }
}

static void take_field(struct http2_stream *st, struct str name, struct str value)
{
    struct exchange *x = &st->c->xio->x;
    const struct dp_settings *set = st->h2->wire.w->set;
    struct header *h;

    if (name.len == 5 && memcmp(name.p, ":path", 5) == 0 && value.len > set->client_max_uri_bytes) {
        st->uri_too_long = true;
        return;
    }
    st->head_bytes += (uint32_t)(name.len + value.len + 4);
    if (st->too_large || st->head_bytes > set->client_max_header_bytes) {
        st->too_large = true; /* nghttp2 has to see the others all the same: its table depends on them */
        return;
    }
    if (name.p[0] == ':') {
        take_pseudo(st, name, value);
        return;
    }
    if (st->head_complete) { /* trailers */
        struct header trailer = {.name = name, .value = value, .id = (uint8_t)header_id_of(name)};

        if (header_may_trail(&trailer) && x->req.trailers.n < set->client_max_header_fields)
            http2_field_in(&x->req.trailers, &x->arena, name, value);
        return;
    }
    h = http2_field_in(&x->req.headers, &x->arena, name, value);
    if (!h) {
        st->too_large = true;
        return;
    }
    if (h->id == HDR_COOKIE && ++st->crumbs > 1)
        return; /* one field in pieces (8.2.3) */
    if (h->id == HDR_HOST)
        st->host = h->value;
    st->too_large |= ++st->fields > set->client_max_header_fields;
}

/* The pieces of the cookie become one again (RFC 9113 section 8.2.3). */
static bool join_cookie(struct exchange *x)
{
    struct header *whole = NULL;
    size_t len = 0;
    char *text, *to;

    HEADERS_EACH(h, &x->req.headers)
        if (h->id == HDR_COOKIE)
            len += h->value.len + 2;
    to = text = arena_alloc(&x->arena, len);
    if (!text)
        return false;
    HEADERS_EACH(h, &x->req.headers) {
        if (h->id != HDR_COOKIE)
            continue;
        if (whole) {
            memcpy(to, "; ", 2);
            to += 2;
            h->id = HDR_REMOVED;
        } else {
            whole = h;
        }
        if (h->value.len)
            memcpy(to, h->value.p, h->value.len);
        to += h->value.len;
    }
    whole->value = str_n(text, (size_t)(to - text));
    return true;
}

/* What HTTP/1 upstreams are asked with, and answer by: "the base64 of 16 random bytes" (RFC 6455 section 4.1). */
#define WS_GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

static bool begin_websocket(struct exchange *x)
{
    unsigned char nonce[16], text[25];
    struct str key;

    rand_bytes(nonce, sizeof(nonce));
    EVP_EncodeBlock(text, nonce, sizeof(nonce));
    key = arena_str(&x->arena, str_n((const char *)text, 24));
    x->req.upgrade_websocket = true;
    return key.p && headers_set(&x->req.headers, &x->arena, STR("sec-websocket-key"), key);
}

static bool accepts_websocket(const struct exchange *x)
{
    const struct header *key = headers_find(&x->req.headers, STR("sec-websocket-key"));
    const struct header *accept = headers_find(&x->resp.headers, STR("sec-websocket-accept"));
    unsigned char text[24 + sizeof(WS_GUID) - 1], digest[EVP_MAX_MD_SIZE], wanted[64];
    unsigned len = 0;

    if (!key || key->value.len != 24 || !accept)
        return false;
    memcpy(text, key->value.p, 24);
    memcpy(text + 24, WS_GUID, sizeof(WS_GUID) - 1);
    if (EVP_Digest(text, sizeof(text), digest, &len, EVP_sha1(), NULL) != 1)
        return false;
    return str_eq(accept->value, str_n((const char *)wanted, (size_t)EVP_EncodeBlock(wanted, digest, (int)len)));
}

static enum parse_result refuse(struct parse_error *why, unsigned status, const char *message)
{
    *why = (struct parse_error){.status = status, .message = message};
    return PARSE_BAD;
}

/* The fields that say something about the message itself. */
static enum parse_result note_fields(struct http2_stream *st, struct req_head *r, struct parse_error *why)
{
    const struct header *h;
    uint64_t n;

    h = headers_find_id(&r->headers, HDR_CONTENT_LENGTH);
    if (h) {
        if (!str_to_u64(h->value, &n) || n > INT64_MAX)
            return refuse(why, 400, "Bad request");
        r->content_length = (int64_t)n;
    }
    r->chunked = !st->no_body && r->content_length < 0;
    h = headers_find_id(&r->headers, HDR_EXPECT);
    if (h) {
        if (!str_ieq(h->value, STR("100-continue")))
            return refuse(why, 417, "Expectation failed");
        r->expect_continue = true;
    }
    return PARSE_OK;
}

static enum parse_result finish_head(struct http2_stream *st, struct exchange *x, struct parse_error *why)
{
    const struct dp_settings *set = st->h2->wire.w->set;
    const struct parse_limits limits = {.uri_bytes = set->client_max_uri_bytes};
    struct req_head *r = &x->req;
    struct str host = st->authority.p ? st->authority : st->host;
    enum parse_result result;
    bool websocket = st->protocol.p && str_eq(st->protocol, STR("websocket"));

    r->version = 20;
    r->content_length = -1;
    if (st->uri_too_long)
        return refuse(why, 414, "URI too long");
    if (st->too_large) {
        refuse(why, 431, "Request header or cookie too large");
        why->too_many_fields = st->fields > set->client_max_header_fields;
        return PARSE_BAD;
    }
    if (st->authority.p && st->host.p && !str_ieq(st->authority, st->host))
        return refuse(why, 400, "Bad request"); /* 8.3.1 */
    if (r->target.len && r->target.p[0] != '/')
        return refuse(why, 400, "Bad request"); /* 8.3.1: whatever :scheme says, the authority stands alone */
    if (st->protocol.p) { /* RFC 8441 */
        if (!websocket)
            return refuse(why, 501, "Not implemented");
        r->method = STR("GET");
        st->tunnel = true;
    }
    result = http_locate_request(r, host, &limits, &x->arena, why);
    if (result == PARSE_OK)
        result = note_fields(st, r, why);
    if (result != PARSE_OK)
        return result;
    if (st->crumbs > 1 && !join_cookie(x))
        return refuse(why, 431, "Request header or cookie too large");
    if (!st->host.p && !headers_add_as(&r->headers, &x->arena, HDR_HOST, STR("host"), r->authority))
        return refuse(why, 431, "Request header or cookie too large");
    if (websocket) {
        r->chunked = false; /* what follows is not a body */
        r->content_length = -1;
        if (!begin_websocket(x))
            return refuse(why, 431, "Request header or cookie too large");
    }
    return PARSE_OK;
}

static enum step take_head(struct xio *io)
{
    struct http2_stream *st = io->c->stream;
    struct parse_error why;

    if (!st->head_complete)
        return STEP_WAIT;
    worker_request_id(io->w, io->x.request_id);
    io->x.bytes_in = st->head_bytes;
    if (finish_head(st, &io->x, &why) != PARSE_OK)
        return exchange_head_bad(io, &why);
    return exchange_head_complete(io);
}

/* nghttp2 has compared the length with what was announced. */
static bool take_body(struct xio *io)
{
    struct conn *c = io->c;
    uint32_t raw = c->rbuf ? c->rbuf->len - c->at : 0;

    io->decoded += raw;
    c->at += raw;
    if (!io->x.req.chunked)
        io->body_left -= size_min(raw, io->body_left);
    io->body_done = c->eof;
    return true;
}

/* ---- the response ---- */

static _Thread_local nghttp2_nv nvs[HTTP2_NV_MAX]; /* of the head that is being written */

#define IN_PLACE (NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE)

static void status_digits(char text[3], unsigned status)
{
    text[0] = (char)('0' + status / 100 % 10);
    text[1] = (char)('0' + status / 10 % 10);
    text[2] = (char)('0' + status % 10);
}

static ssize_t on_data_source(nghttp2_session *s, int32_t id, uint8_t *to, size_t len, uint32_t *flags,
                              nghttp2_data_source *source, void *user);

/* Values that no other answer has, and that only push others out of the client's table. */
static void keep_out_of_table(nghttp2_nv *nv, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (nv[i].namelen == 17 && memcmp(nv[i].name, "x-kong-request-id", 17) == 0)
            nv[i].flags |= NGHTTP2_NV_FLAG_NO_INDEX;
}

/*
 * The text of the head, or an iovec of it, becomes HEADERS; serialized by the pump that follows
 * at once, so nothing of it is copied before. alone: nothing of the body is there yet.
 */
static bool submit_head(struct http2_stream *st, const struct iovec *text, bool alone)
{
    const struct exchange *x = &st->c->xio->x;
    unsigned status = x->resp.status == 101 ? 200 : x->resp.status;
    nghttp2_data_provider body = {.source.ptr = st, .read_callback = on_data_source};
    bool last = alone && st->ending && !st->trailers;
    size_t n;

    WEIR_ASSERT(!st->h2->wire.inside);
    status_digits(st->status, status);
    nvs[0] = http2_nv(STR(":status"), str_n(st->status, 3), IN_PLACE);
    n = 1 + http2_fields_out(text->iov_base, text->iov_len, nvs + 1, HTTP2_NV_MAX - 1, IN_PLACE);
    keep_out_of_table(nvs + 1, n - 1);
    if (nghttp2_submit_response(st->h2->wire.session, st->id, nvs, n, last ? NULL : &body) != 0)
        return false;
    st->head_sent = true;
    st->ended = last;
    st->deferred = false;
    return true;
}

/* What a client that asked for a WebSocket would take for one has to be one (RFC 8441 section 5). */
static bool check_tunnel(struct xio *io)
{
    struct exchange *x = &io->x;
    const char *why = NULL;

    if (x->resp.status == 101 && !accepts_websocket(x))
        why = "no matching Sec-WebSocket-Accept";
    else if (x->resp.status >= 200 && x->resp.status <= 299)
        why = "expected status 101";
    if (why)
        LOG_LIMITED(LOG_WARN, "upstream_head", "request_id=%s target=" STR_FMT " reason=%s", x->request_id,
                    STR_ARG(x->target), why);
    else
        headers_remove(&x->resp.headers, STR("sec-websocket-accept"));
    return !why;
}

static bool down_head(struct xio *io)
{
    struct head_out o = {io->w->scratch, io->w->scratch + SCRATCH_BYTES, false};

    if (io->c->stream->tunnel && !check_tunnel(io))
        return false;
    respond_fields(&o, io);
    if (o.full || o.p == io->w->scratch)
        return false;
    outq_add_fleeting(&io->down, io->w->scratch, (size_t)(o.p - io->w->scratch));
    return true;
}

static void down_piece(struct xio *io, struct str piece)
{
    outq_add(&io->down, piece.p, piece.len);
}

static void down_end(struct xio *io)
{
    struct http2_stream *st = io->c->stream;

    st->ending = true;
    if (io->x.resp.trailers.n && !io->head_only)
        st->trailers = &io->x.resp.trailers;
}

static int down_flush_h2(struct xio *io, size_t *written)
{
    struct conn *c = io->c;
    struct http2_stream *st = c->stream;
    int rc = outq_write(&io->down, &c->io, written);

    if (rc != 0 || !st->ending || st->ended)
        return rc;
    if (st->closed || st->h2->dying || !offer(st))
        return -1;
    return st->ended ? 0 : 1;
}

static bool go_on(struct xio *io)
{
    struct http2_stream *st = io->c->stream;
    nghttp2_nv nv = http2_nv(STR(":status"), STR("100"), IN_PLACE);

    if (st->closed)
        return true; /* it is told soon enough */
    nghttp2_submit_headers(st->h2->wire.session, NGHTTP2_FLAG_NONE, st->id, NULL, &nv, 1, NULL);
    http2_pump(&st->h2->wire);
    http2_dirty(&st->h2->wire);
    return true;
}

static void interim(struct xio *io)
{
    struct http2_stream *st = io->c->stream;
    struct head_out o = {io->w->scratch, io->w->scratch + SCRATCH_BYTES, false};
    char digits[3];
    size_t n;

    if (st->closed || !outq_empty(&io->down) || !http2_has_room(&st->h2->wire))
        return;
    respond_interim_fields(&o, &io->x);
    if (o.full)
        return;
    status_digits(digits, io->x.resp.status);
    nvs[0] = http2_nv(STR(":status"), str_n(digits, 3), IN_PLACE);
    n = 1 + http2_fields_out(io->w->scratch, (size_t)(o.p - io->w->scratch), nvs + 1, HTTP2_NV_MAX - 1, IN_PLACE);
    nghttp2_submit_headers(st->h2->wire.session, NGHTTP2_FLAG_NONE, st->id, NULL, nvs, n, NULL);
    http2_pump(&st->h2->wire); /* now, while scratch is as it is */
    http2_dirty(&st->h2->wire);
}

const struct down_codec down_http2 = {
    .take_head = take_head,
    .take_body = take_body,
    .go_on = go_on,
    .interim = interim,
    .head = down_head,
    .piece = down_piece,
    .end = down_end,
    .flush = down_flush_h2,
};

/* Frames of use pay for others. */
static void credit(struct http2 *h2, int64_t frames)
{
    if (h2->frames_left < h2->wire.w->set->http2_max_control_frames)
        h2->frames_left += frames;
}

/* ---- nghttp2 asks for the body ---- */

static bool submit_trailers(struct http2_stream *st)
{
    struct head_out o;
    size_t room = 0, n;
    char *text;

    HEADERS_EACH(h, st->trailers)
        room += h->name.len + h->value.len + 4;
    text = arena_alloc(&st->c->xio->x.arena, room);
    if (!text)
        return false;
    o = (struct head_out){text, text + room, false};
    HEADERS_EACH(h, st->trailers)
        out_header(&o, h);
    n = http2_fields_out(text, (size_t)(o.p - text), nvs, HTTP2_NV_MAX, NGHTTP2_NV_FLAG_NONE);
    return nghttp2_submit_trailer(st->h2->wire.session, st->id, nvs, n) == 0;
}

static ssize_t on_data_source(nghttp2_session *s, int32_t id, uint8_t *to, size_t len, uint32_t *flags,
                              nghttp2_data_source *source, void *user)
{
    struct http2 *h2 = user;
    struct http2_stream *st = stream_of(h2, id);
    size_t n;

    (void)s, (void)to, (void)source;
    if (!st) /* its exchange is over, and RST_STREAM on its way */
        return NGHTTP2_ERR_DEFERRED;
    n = st->left ? http2_room(&h2->wire, size_min(st->left, len)) : 0;
    if (n < st->left || !st->ending || !st->offering) {
        if (n == 0) {
            st->deferred = true;
            return NGHTTP2_ERR_DEFERRED;
        }
    } else {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (st->trailers && submit_trailers(st))
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        st->ended = true;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    return (ssize_t)n;
}

/* Straight from where the exchange has it to the wire. */
static int on_send_data(nghttp2_session *s, nghttp2_frame *frame, const uint8_t *head, size_t len,
                        nghttp2_data_source *source, void *user)
{
    struct http2 *h2 = user;
    struct http2_stream *st = stream_of(h2, frame->hd.stream_id);
    char *to;

    (void)s, (void)source;
    credit(h2, FRAME_CREDIT);
    if (!st || st->left < len)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    to = http2_append(&h2->wire, HTTP2_FRAME_HEAD + len);
    memcpy(to, head, HTTP2_FRAME_HEAD);
    to += HTTP2_FRAME_HEAD;
    st->left -= len;
    st->taken += len;
    while (len) {
        size_t part = size_min(len, st->v->iov_len - st->skip);

        memcpy(to, (const char *)st->v->iov_base + st->skip, part);
        to += part;
        len -= part;
        st->skip += part;
        if (st->skip == st->v->iov_len) {
            st->v++;
            st->skip = 0;
        }
    }
    return 0;
}

/* ---- nghttp2 tells what came ---- */

/* The client is beyond a limit: the read fails, and ends the session (session_fail). */
static int beyond(struct http2 *h2, const char *limit)
{
    h2->limit = limit;
    return NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int spend_reset(struct http2 *h2)
{
    return --h2->resets_left < 0 ? beyond(h2, "http2_max_resets") : 0;
}

static int spend_frame(struct http2 *h2)
{
    int64_t most = h2->wire.w->set->http2_max_control_frames;
    uint64_t now;

    if (likely(--h2->frames_left >= 0))
        return 0;
    now = worker_now(h2->wire.w);
    if (now - h2->frames_since < 1000000u)
        return beyond(h2, "http2_max_control_frames");
    h2->frames_since = now;
    h2->frames_left = most;
    return 0;
}

static int on_begin_frame(nghttp2_session *s, const nghttp2_frame_hd *hd, void *user)
{
    struct http2 *h2 = user;

    (void)s;
    switch (hd->type) {
    case NGHTTP2_HEADERS: return 0; /* as many as there may be requests */
    case NGHTTP2_RST_STREAM: return spend_reset(h2);
    case NGHTTP2_DATA:
        if (hd->length && !(hd->flags & NGHTTP2_FLAG_PADDED))
            return 0;
        break; /* perhaps nothing at all */
    default: break;
    }
    return spend_frame(h2);
}

static int on_begin_headers(nghttp2_session *s, const nghttp2_frame *frame, void *user)
{
    struct http2 *h2 = user;
    struct http2_stream *st;

    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    if (unlikely(h2->resets_left < 0))
        return beyond(h2, "http2_max_resets");
    credit(h2, FRAME_CREDIT);
    st = stream_begin(h2, frame->hd.stream_id);
    nghttp2_session_set_stream_user_data(s, st->id, st);
    h2->collecting = st;
    return 0;
}

static int on_header(nghttp2_session *s, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *user)
{
    struct http2 *h2 = user;
    struct http2_stream *st = h2->collecting;

    (void)s, (void)flags;
    if (!st || st->id != frame->hd.stream_id)
        st = stream_of(h2, frame->hd.stream_id);
    if (st && st->c->xio)
        take_field(st, str_n((const char *)name, name_len), str_n((const char *)value, value_len));
    return 0;
}

/* What may not stand in a field makes the request malformed (RFC 9113 sections 8.1.1, 8.2). */
static int on_invalid_header(nghttp2_session *s, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                             const uint8_t *value, size_t value_len, uint8_t flags, void *user)
{
    (void)s, (void)frame, (void)name, (void)name_len, (void)value, (void)value_len, (void)flags, (void)user;
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

/* A stream that the client makes us reset costs it as much as one that it resets. */
static int on_invalid_frame(nghttp2_session *s, const nghttp2_frame *frame, int code, void *user)
{
    struct http2 *h2 = user;

    (void)s, (void)frame;
    if (code == NGHTTP2_ERR_REFUSED_STREAM)
        metric_add_with(M_LIMIT_HITS, &STR("http2_max_concurrent_streams"), 1);
    return spend_reset(h2);
}

/* The exchange waits for body, and its buffer has room: no way round by the backlog. */
static bool feed(struct http2_stream *st, const uint8_t *data, size_t len)
{
    struct conn *c = st->c;

    if (st->backlog || !c->reading || !c->xio)
        return false;
    if (!c->rbuf) {
        c->rbuf = buf_take(&c->w->bufs, BUF_32K);
        c->at = 0;
    }
    if (c->rbuf->cap - c->rbuf->len < len)
        return false;
    memcpy(c->rbuf->data + c->rbuf->len, data, len);
    c->rbuf->len += (uint32_t)len;
    st->fed = true;
    return true;
}

/* Bounded by the stream's window. */
static void put_back(struct http2_stream *st, const uint8_t *data, size_t len)
{
    struct buf_pool *bufs = &st->h2->wire.w->bufs;
    struct buf *old = st->backlog, *b = old;

    if (!old || old->cap - old->len < len) {
        size_t have = old ? old->len - st->backlog_at : 0;

        b = buf_take_size(bufs, have + len);
        if (have)
            memcpy(b->data, old->data + st->backlog_at, have);
        b->len = (uint32_t)have;
        st->backlog_at = 0;
        buf_give(bufs, &old);
        st->backlog = b;
    }
    memcpy(b->data + b->len, data, len);
    b->len += (uint32_t)len;
}

static int on_data_chunk(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *data, size_t len, void *user)
{
    struct http2 *h2 = user;
    struct http2_stream *st = stream_of(h2, id);

    (void)flags;
    credit(h2, 1);
    if (!st) { /* answered and closed before its body had come */
        nghttp2_session_consume(s, id, len);
        return 0;
    }
    if (feed(st, data, len))
        consumed(st, len);
    else
        put_back(st, data, len);
    make_due(st, DUE_BODY);
    return 0;
}

static void headers_received(struct http2 *h2, const nghttp2_frame *frame)
{
    struct http2_stream *st = stream_of(h2, frame->hd.stream_id);
    bool last = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;

    h2->collecting = NULL;
    h2->waiting = 0; /* the next head has its own time */
    if (!st)
        return;
    if (!st->head_complete) {
        st->head_complete = true;
        st->no_body = last;
        make_due(st, DUE_HEAD);
    }
    if (last)
        remote_end(st);
}

static int on_frame(nghttp2_session *s, const nghttp2_frame *frame, void *user)
{
    struct http2 *h2 = user;
    struct http2_stream *st;

    switch (frame->hd.type) {
    case NGHTTP2_HEADERS: headers_received(h2, frame); break;
    case NGHTTP2_DATA:
        if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM && (st = stream_of(h2, frame->hd.stream_id)))
            remote_end(st);
        break;
    case NGHTTP2_RST_STREAM: metric_add(M_HTTP2_RESETS, 1); break;
    case NGHTTP2_SETTINGS: /* perhaps larger windows */
        if (!(frame->hd.flags & NGHTTP2_FLAG_ACK))
            make_writers_due(h2);
        break;
    case NGHTTP2_WINDOW_UPDATE:
        if (frame->hd.stream_id == 0)
            make_writers_due(h2);
        else if ((st = stream_of(h2, frame->hd.stream_id)) && st->c->writing)
            make_due(st, DUE_WRITE);
        break;
    case NGHTTP2_PING: /* ours, behind the notice: whatever the client sends now, it has read that */
        if (frame->hd.flags & NGHTTP2_FLAG_ACK && h2->stage == RETIRING) {
            h2->stage = RETIRED;
            nghttp2_submit_goaway(s, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(s),
                                  NGHTTP2_NO_ERROR, NULL, 0);
        }
        break;
    default: break;
    }
    return 0;
}

static int on_stream_close(nghttp2_session *s, int32_t id, uint32_t code, void *user)
{
    struct http2 *h2 = user;
    struct http2_stream *st = stream_of(h2, id);

    (void)s;
    if (!st)
        return 0;
    st->closed = true;
    if (code == NGHTTP2_PROTOCOL_ERROR) { /* the client's doing, also when nghttp2 tells of no frame */
        st->faulty = true;
        h2->resets_left--;
    }
    if (h2->collecting == st)
        h2->collecting = NULL;
    if (st->c->xio && st->c->xio->state == XS_HEAD && !st->c->xio->running)
        conn_kill(st->c, CLOSE_CLIENT_ABORT); /* nothing has come of it: a client can do this fast */
    else if (!st->ended || !st->remote_ended)
        make_due(st, DUE_GONE);
    return 0;
}

/* A head that does not fit into what nghttp2 sends. */
static int on_not_sent(nghttp2_session *s, const nghttp2_frame *frame, int code, void *user)
{
    (void)user;
    if (frame->hd.type == NGHTTP2_HEADERS && code != NGHTTP2_ERR_STREAM_CLOSED && code != NGHTTP2_ERR_STREAM_CLOSING)
        nghttp2_submit_rst_stream(s, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_INTERNAL_ERROR);
    return 0;
}

/* ---- the session ---- */

/* A due stream goes on. */
static void run_stream(struct http2_stream *st)
{
    struct http2 *h2 = st->h2;
    struct conn *c = st->c;
    unsigned due = st->due;

    not_due(st);
    st->due = 0;
    if (due & DUE_GONE) {
        conn_kill(c, CLOSE_CLIENT_ABORT);
        return;
    }
    if (due & (DUE_HEAD | DUE_BODY)) {
        if (due & DUE_HEAD && st->backlog)
            conn_read(c);
        if (due & DUE_HEAD || st->fed || c->eof) {
            st->fed = false;
            exchange_run(c->xio);
        } else {
            conn_readable(c);
        }
    }
    if (!(due & DUE_WRITE) || c->dead || !c->writing)
        return;
    if (h2->wire.blocked) { /* waits for its turn */
        make_due(st, DUE_WRITE);
        return;
    }
    conn_writable(c);
}

/* Streams that can go on now do at the next turn. */
static void come_back(struct http2 *h2)
{
    for (const struct http2_stream *st = h2->due; st; st = st->next_due)
        if (st->due != DUE_WRITE || !h2->wire.blocked) {
            http2_dirty(&h2->wire);
            return;
        }
}

/* Streams that something happened to go on, each once. */
static void run_due(struct http2 *h2)
{
    unsigned n = 0;

    for (const struct http2_stream *st = h2->due; st; st = st->next_due)
        n++;
    while (n-- > 0 && h2->due)
        run_stream(h2->due);
}

/* The timer is for what the connection as a whole waits for; streams have their own. */
static void settle(struct http2 *h2)
{
    const struct dp_settings *set = h2->wire.w->set;
    struct conn *c = h2->c;
    enum conn_wait wait = WAIT_IDLE;
    uint64_t us = 0;

    if (h2->wire.blocked) {
        wait = WAIT_WRITE;
        us = set->client_write_timeout_us;
    } else if (h2->collecting) {
        wait = WAIT_HEAD;
        us = set->client_header_timeout_us;
    } else if (h2->n_streams == 0) {
        us = h2->stage == SERVING ? set->client_idle_timeout_us : RETIRE_US;
    }
    if (us == 0) {
        conn_wait_over(c);
        h2->waiting = 0;
    } else if (h2->waiting != wait + 1) {
        h2->waiting = (uint8_t)(wait + 1);
        conn_wait(c, wait, us);
    }
    if (h2->wire.blocked && h2->wire.out->len - h2->wire.at > READ_STOP) {
        h2->stopped = true;
        conn_want_read(c, false);
    }
}

/* All streams end, and what nghttp2 still has to say is said. */
static void finish(struct http2 *h2, enum close_reason why)
{
    struct conn *c = h2->c;

    h2->dying = true;
    while (h2->streams)
        conn_kill(h2->streams->c, CLOSE_CLIENT_ABORT);
    if (http2_pump(&h2->wire) && http2_write(&h2->wire) && http2_is_empty(&h2->wire) && !c->eof) {
        conn_linger(c);
    } else {
        conn_kill(c, why);
    }
}

static void session_fail(struct http2 *h2, int code)
{
    const char *limit = h2->limit;
    uint32_t error = NGHTTP2_ENHANCE_YOUR_CALM;

    if (code == NGHTTP2_ERR_FLOODED)
        limit = "http2_max_control_frames";
    else if (code == NGHTTP2_ERR_TOO_MANY_CONTINUATIONS)
        limit = "http2_max_continuations";
    else if (!limit)
        error = NGHTTP2_PROTOCOL_ERROR;
    if (limit) {
        metric_add_with(M_LIMIT_HITS, &(struct str){limit, strlen(limit)}, 1);
        LOG_LIMITED(LOG_NOTICE, "client_limit", "connection=%llu client=%s limit=%s",
                    (unsigned long long)h2->c->number, h2->c->peer_ip, limit);
    }
    nghttp2_session_terminate_session(h2->wire.session, error);
    finish(h2, limit ? CLOSE_LIMIT : CLOSE_PROTOCOL);
}

/* Takes what is in c->rbuf, all of it. False: the session is over. */
static bool receive(struct http2 *h2)
{
    struct conn *c = h2->c;
    ssize_t rc;

    h2->wire.inside = true;
    rc = nghttp2_session_mem_recv(h2->wire.session, (const uint8_t *)c->rbuf->data + c->at, c->rbuf->len - c->at);
    h2->wire.inside = false;
    buf_give(&c->w->bufs, &c->rbuf);
    c->at = 0;
    if (rc < 0) {
        session_fail(h2, (int)rc);
        return false;
    }
    run_due(h2);
    http2_dirty(&h2->wire);
    settle(h2);
    return true;
}

static void session_readable(struct conn *c)
{
    struct http2 *h2 = c->h2;
    ssize_t n = conn_read(c);

    if (n == IO_AGAIN)
        return;
    if (n <= 0) {
        conn_kill(c, h2->n_streams ? CLOSE_CLIENT_ABORT : CLOSE_CLIENT);
        return;
    }
    if (receive(h2) && c->reading)
        conn_want_read(c, true);
}

static void session_writable(struct conn *c)
{
    struct http2 *h2 = c->h2;

    h2->wire.blocked = false; /* conn_writable has taken the event off */
    h2->waiting = 0;
    if (!http2_write(&h2->wire)) {
        conn_kill(c, CLOSE_CLIENT_ABORT);
        return;
    }
    if (h2->wire.blocked) {
        settle(h2);
        return;
    }
    if (h2->stopped) {
        h2->stopped = false;
        conn_want_read(c, true);
    }
    make_writers_due(h2);
    run_due(h2);
    http2_dirty(&h2->wire);
    settle(h2);
}

static void session_flush(struct http2_wire *wire)
{
    struct http2 *h2 = CONTAINER_OF(wire, struct http2, wire);
    struct conn *c = h2->c;
    const struct dp_settings *set = wire->w->set;

    if (c->lingering)
        return;
    run_due(h2);
    if (!http2_pump(wire) || (!wire->blocked && !http2_write(wire))) {
        conn_kill(c, CLOSE_CLIENT_ABORT);
        return;
    }
    come_back(h2);
    if (set->client_max_requests && c->requests >= (uint64_t)set->client_max_requests)
        c->ops->drain(c);
    if (!nghttp2_session_want_read(wire->session) && !nghttp2_session_want_write(wire->session))
        finish(h2, CLOSE_PROTOCOL);
    else if (h2->stage == RETIRED && h2->n_streams == 0 && !wire->blocked)
        finish(h2, CLOSE_DRAIN);
    else
        settle(h2);
}

static void session_timeout(struct conn *c)
{
    struct http2 *h2 = c->h2;

    h2->waiting = 0;
    switch (c->wait) {
    case WAIT_IDLE:
        nghttp2_session_terminate_session(h2->wire.session, NGHTTP2_NO_ERROR);
        finish(h2, CLOSE_IDLE);
        break;
    case WAIT_LINGER: conn_kill(c, CLOSE_DONE); break;
    default: conn_kill(c, CLOSE_TIMEOUT); break;
    }
}

/*
 * In two steps, so that no request is lost that is under way to us: first it is said that the
 * end is near, and when the client has heard that, which streams were the last (section 6.8).
 */
static void session_drain(struct conn *c)
{
    struct http2 *h2 = c->h2;

    if (h2->stage != SERVING || c->lingering)
        return;
    h2->stage = RETIRING;
    h2->waiting = 0;
    nghttp2_submit_shutdown_notice(h2->wire.session);
    http2_pump(&h2->wire); /* PING would overtake it */
    nghttp2_submit_ping(h2->wire.session, NGHTTP2_FLAG_NONE, NULL);
    http2_dirty(&h2->wire);
}

static void session_closed(struct conn *c)
{
    struct http2 *h2 = c->h2;

    h2->dying = true;
    while (h2->streams)
        conn_kill(h2->streams->c, CLOSE_CLIENT_ABORT);
    http2_wire_fini(&h2->wire);
    metric_add(M_HTTP2_CONNECTIONS, -1);
    c->h2 = NULL;
    http2_free(c->w, h2);
}

static const struct conn_ops session_ops = {
    .readable = session_readable,
    .writable = session_writable,
    .timeout = session_timeout,
    .drain = session_drain,
    .closed = session_closed,
};

static void want_write(struct http2_wire *wire, bool want)
{
    conn_want_write(CONTAINER_OF(wire, struct http2, wire)->c, want);
}

static const struct http2_wire_ops wire_ops = {.want_write = want_write, .flush = session_flush};

/* ---- the beginning ---- */

static nghttp2_session_callbacks *make_callbacks(void)
{
    nghttp2_session_callbacks *cb;

    WEIR_ASSERT(nghttp2_session_callbacks_new(&cb) == 0);
    nghttp2_session_callbacks_set_on_begin_frame_callback(cb, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(cb, on_invalid_header);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(cb, on_invalid_frame);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(cb, on_not_sent);
    nghttp2_session_callbacks_set_send_data_callback(cb, on_send_data);
    return cb;
}

static nghttp2_session *make_session(struct http2 *h2)
{
    const struct dp_settings *set = h2->wire.w->set;
    nghttp2_session_callbacks *callbacks = make_callbacks();
    nghttp2_session *session;
    nghttp2_option *option;

    WEIR_ASSERT(nghttp2_option_new(&option) == 0);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_max_outbound_ack(option, OUTBOUND_ACKS);
    nghttp2_option_set_max_continuations(option, (size_t)set->http2_max_continuations);
    nghttp2_option_set_stream_reset_rate_limit(option, UINT64_MAX, UINT64_MAX); /* spend_reset counts */
    nghttp2_option_set_max_send_header_block_length(option, 2 * SCRATCH_BYTES);
    WEIR_ASSERT(nghttp2_session_server_new3(&session, callbacks, h2, option, http2_mem(h2->wire.w)) == 0);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    return session;
}

static void announce(struct http2 *h2)
{
    const struct dp_settings *set = h2->wire.w->set;
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, (uint32_t)set->http2_max_concurrent_streams},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, (uint32_t)set->http2_stream_window},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)set->client_max_header_bytes},
        {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    };

    nghttp2_submit_settings(h2->wire.session, NGHTTP2_FLAG_NONE, settings, ARRAY_LEN(settings));
    nghttp2_session_set_local_window_size(h2->wire.session, NGHTTP2_FLAG_NONE, 0,
                                          (int32_t)set->http2_connection_window);
}

void http2_accept(struct conn *c)
{
    struct http2 *h2 = http2_alloc(c->w, sizeof(*h2));
    const struct dp_settings *set = c->w->set;

    http2_wire_init(&h2->wire, &wire_ops, c->w, &c->io);
    h2->c = c;
    h2->streams_end = &h2->streams;
    h2->due_end = &h2->due;
    h2->resets_left = set->http2_max_resets;
    h2->frames_left = set->http2_max_control_frames;
    h2->frames_since = worker_now(c->w);
    h2->wire.session = make_session(h2);
    c->h2 = h2;
    c->ops = &session_ops;
    metric_add(M_HTTP2_CONNECTIONS, 1);
    announce(h2);
    http2_dirty(&h2->wire);
    settle(h2);
    if (c->rbuf)
        receive(h2);
}
