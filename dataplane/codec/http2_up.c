/*
 * http2_up.c - HTTP/2 towards upstreams (RFC 9113); see codec.h and http2.h.
 *
 *   exchange -- uconn -- stream --.
 *   exchange -- uconn -- stream ---+-- session -- uconn with a socket
 *   exchange -- uconn -- stream --'
 *
 * What arrives is sorted into its streams, and their exchanges are told through libevent in
 * the same turn: none of them runs below a callback of nghttp2. What a stream sends is taken
 * from its exchange's queue into the session's output, which is written at the quiet point.
 *
 * Bounds. Of a response that its client is slow to take at most STREAM_WINDOW bytes wait here:
 * the stream's window opens as they are taken. The connection's window opens at once, so that
 * one slow client does not hold up the others. Heads are bounded by upstream_max_header_bytes,
 * output by one buffer, acknowledgements, settings and CONTINUATION frames by nghttp2, and
 * frames that carry nothing by IDLE_FRAMES.
 */
#include <errno.h>
#include <string.h>

#include "common/log.h"
#include "dataplane/codec/http2.h"
#include "dataplane/codec/http2_common.h"
#include "dataplane/exchange_priv.h"
#include "dataplane/observe/limits.h"
#include "dataplane/observe/metrics.h"
#include "dataplane/upstream/pool.h"

#define STREAM_WINDOW     (256 * 1024)
#define CONNECTION_WINDOW (1024 * 1024)
#define STREAMS_MAX       1024u /* of one session, whatever the upstream allows */
#define HEAD_FIELDS_MAX   256u
#define PSEUDO_FIELDS     4u    /* of a request */
#define READS_PER_TURN    8
#define IDLE_FRAMES       1000u /* without a message between them, in IDLE_FRAMES_US */
#define IDLE_FRAMES_US    10000000u
#define SILENCE_US        1000000u
#define UNTAKEN_MAX       (512u * 1024u) /* of our output, by an upstream that does not read */

/* A head that its exchange has not taken yet; in the exchange's arena. */
struct waiting_head {
    struct waiting_head *next;
    struct resp_head head;
};

struct http2_up_stream {
    struct http2_up_stream *next, **prev; /* of the session */
    struct http2_up_stream *next_told;
    struct http2_up *s;
    struct uconn *u;
    int32_t id;            /* 0: nothing has been sent */
    bool to_tell;
    uint64_t opened_us;

    /* request */
    struct str path, authority;
    bool end;              /* the body ends behind what is queued */
    bool end_sent;
    bool took;             /* the queue has been emptied while the exchange looked away */
    bool no_room;          /* it waits for room in the session's output */
    size_t taken;          /* bytes, since the exchange asked last */

    /* response */
    struct resp_head coming; /* its fields are arriving */
    size_t coming_bytes;
    struct waiting_head *heads, **heads_end;
    struct headers trailers;
    bool final;            /* a head that is not interim has come */
    bool ended;            /* so has the end */
    bool failed;           /* no end will come */
    const char *bad;       /* what was wrong with it */
    struct buf *first, *last; /* body that waits to be read */
    uint32_t at;           /* in first */
};

struct http2_up {
    struct http2_wire wire;
    struct worker *w;
    struct http2_up *next, **prev; /* of its origin; prev NULL: not listed */
    struct uconn *u;       /* its socket; NULL: gone */
    struct http2_up_stream *streams, *told;
    unsigned n_streams;
    unsigned held;         /* by whom it may not be freed: its socket, streams, functions at work */
    uint64_t requests;
    bool connected;
    bool closing;          /* takes no new streams */
    bool idle;             /* is counted as idle */
    bool no_room;          /* a stream waits for that */
    unsigned idle_frames;
    uint64_t idle_frames_since;
    uint64_t heard_us;     /* when something came last */
};

static const struct uconn_ops session_ops;
static const struct io_ops io_http2_up;

/* ---- life of a session ---- */

static void hold(struct http2_up *s)
{
    s->held++;
}

static void drop(struct http2_up *s)
{
    if (--s->held)
        return;
    http2_wire_fini(&s->wire);
    http2_free(s->w, s);
}

static void unlist(struct http2_up *s)
{
    if (!s->prev)
        return;
    *s->prev = s->next;
    if (s->next)
        s->next->prev = s->prev;
    s->prev = NULL;
}

static void set_idle(struct http2_up *s, bool idle)
{
    if (idle == s->idle)
        return;
    s->idle = idle;
    metric_add(M_UPSTREAM_IDLE, idle ? 1 : -1);
}

/* To be told by tell(). */
static void note(struct http2_up_stream *st)
{
    if (st->to_tell)
        return;
    st->to_tell = true;
    st->next_told = st->s->told;
    st->s->told = st;
}

/* Their exchanges go on in this turn of the loop. */
static void tell(struct http2_up *s)
{
    struct http2_up_stream *st;

    while ((st = s->told)) {
        s->told = st->next_told;
        st->to_tell = false;
        if (st->first || st->ended || st->failed)
            event_active(&st->u->ev_read, EV_READ, 0);
        if (st->heads || st->took || st->bad || (st->failed && (st->u->handshaking || st->u->writing)))
            event_active(&st->u->ev_write, EV_WRITE, 0);
        st->took = false;
    }
}

static void fail_stream(struct http2_up_stream *st)
{
    if (st->ended || st->failed)
        return;
    st->failed = true;
    if (st->u->handshaking)
        st->u->broken = st->u->eof = true;
    note(st);
}

/* The session is over; streams without a complete response are broken. Nothing is sent any more. */
static void end_session(struct http2_up *s)
{
    if (!s->u)
        return;
    hold(s);
    s->closing = true;
    set_idle(s, false);
    unlist(s);
    for (struct http2_up_stream *st = s->streams; st; st = st->next)
        fail_stream(st);
    uconn_kill(s->u);
    tell(s);
    drop(s);
}

/* The same with a word of farewell, if it can be said at once (RFC 9113 section 6.8). */
static void retire(struct http2_up *s)
{
    if (s->connected && nghttp2_session_terminate_session(s->wire.session, NGHTTP2_NO_ERROR) == 0 &&
        http2_pump(&s->wire) && !s->wire.blocked)
        (void)http2_write(&s->wire);
    end_session(s);
}

static void session_failed(struct http2_up *s, const char *why)
{
    if (!s->u)
        return;
    LOG_LIMITED(LOG_WARN, "upstream_http2", "upstream=%s:%u streams=%u reason=%s", s->u->origin->addr.text,
                ntohs(s->u->origin->addr.u.v4.sin_port), s->n_streams, why);
    end_session(s);
}

static void on_session_closed(struct uconn *u)
{
    struct http2_up *s = u->h2;

    if (!s) /* it never came to one */
        return;
    s->u = NULL;
    u->h2 = NULL;
    drop(s);
}

/* ---- output ---- */

static void want_write(struct http2_wire *wire, bool want)
{
    uconn_want_write(CONTAINER_OF(wire, struct http2_up, wire)->u, want);
}

/* Output that waits for the upstream to read. Bodies wait elsewhere; heads and control frames do not. */
static size_t untaken(const struct http2_up *s)
{
    return s->wire.out ? s->wire.out->len - s->wire.at : 0;
}

/* There is room again: streams that had none go on. False: none waits. */
static bool resume(struct http2_up *s)
{
    if (!s->no_room || s->wire.blocked)
        return false;
    s->no_room = false;
    for (struct http2_up_stream *st = s->streams; st; st = st->next)
        if (st->no_room) {
            st->no_room = false;
            nghttp2_session_resume_data(s->wire.session, st->id);
        }
    return true;
}

/* At the quiet point: writes until the socket is full, or all has gone. */
static void flush_session(struct http2_wire *wire)
{
    struct http2_up *s = CONTAINER_OF(wire, struct http2_up, wire);
    bool whole;

    if (!s->u || !s->connected)
        return;
    hold(s);
    do
        whole = http2_pump(wire) && http2_write(wire);
    while (whole && resume(s));
    if (!whole)
        session_failed(s, "the connection is gone");
    else if (untaken(s) > UNTAKEN_MAX)
        session_failed(s, "it takes nothing");
    else if (http2_is_empty(wire) && !nghttp2_session_want_read(wire->session) &&
             !nghttp2_session_want_write(wire->session))
        end_session(s);
    tell(s);
    drop(s);
}

static const struct http2_wire_ops wire_ops = {.want_write = want_write, .flush = flush_session};

/* ---- what arrives: callbacks of nghttp2, which only note it ---- */

static struct http2_up_stream *stream_of(nghttp2_session *ng, int32_t id)
{
    return nghttp2_session_get_stream_user_data(ng, id);
}

static void spoil(struct http2_up_stream *st, const char *why)
{
    if (!st->bad)
        st->bad = why;
    fail_stream(st);
}

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
    struct http2_up_stream *st = stream_of(ng, frame->hd.stream_id);

    (void)arg;
    if (!st)
        return 0;
    st->coming = (struct resp_head){.version = 20, .keep_alive = true, .content_length = -1, .reason = STR("")};
    st->coming_bytes = 0;
    return 0;
}

static bool add_field(struct http2_up_stream *st, struct str name, struct str value)
{
    struct resp_head *head = &st->coming;
    const struct header *h;
    uint64_t length;

    if (head->headers.n == HEAD_FIELDS_MAX)
        return false;
    h = http2_field_in(&head->headers, &st->u->xio->x.arena, name, value);
    if (h && h->id == HDR_CONTENT_LENGTH && str_to_u64(value, &length) && length <= INT64_MAX)
        head->content_length = (int64_t)length;
    return h != NULL;
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *arg)
{
    struct http2_up *s = arg;
    struct http2_up_stream *st = stream_of(ng, frame->hd.stream_id);
    size_t limit = s->w->set->upstream_max_header_bytes;

    (void)flags;
    if (!st)
        return 0;
    st->coming_bytes += name_len + value_len + 32; /* as RFC 9113 section 6.5.2 counts */
    if (st->coming_bytes > limit) {
        limit_hit(LIMIT_UPSTREAM_HEADER_BYTES);
        spoil(st, "head too large");
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* the rest of the block passes by unseen */
    }
    if (name[0] == ':') { /* ":status", which nghttp2 has checked: three digits */
        st->coming.status = (uint16_t)((value[0] - '0') * 100 + (value[1] - '0') * 10 + (value[2] - '0'));
        if (st->coming.status < 100) /* RFC 9110 section 15 */
            spoil(st, "invalid status");
        return 0;
    }
    if (!add_field(st, str_n((const char *)name, name_len), str_n((const char *)value, value_len))) {
        spoil(st, "too many fields");
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    return 0;
}

/* A field that must not be (RFC 9113 section 8.2): the response is malformed. */
static int on_invalid_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                             const uint8_t *value, size_t value_len, uint8_t flags, void *arg)
{
    struct http2_up_stream *st = stream_of(ng, frame->hd.stream_id);

    (void)name, (void)name_len, (void)value, (void)value_len, (void)flags, (void)arg;
    if (st)
        spoil(st, "invalid header field");
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int on_invalid_frame(nghttp2_session *ng, const nghttp2_frame *frame, int error, void *arg)
{
    struct http2_up_stream *st = frame->hd.stream_id ? stream_of(ng, frame->hd.stream_id) : NULL;

    (void)arg;
    if (st)
        spoil(st, nghttp2_strerror(error));
    return 0;
}

/* All fields of a head or of the trailers are there. */
static void headers_complete(struct http2_up_stream *st)
{
    struct arena *a = &st->u->xio->x.arena;
    struct waiting_head *h;

    if (st->final) {
        HEADERS_EACH(f, &st->coming.headers)
            if (!header_may_trail(f))
                f->id = HDR_REMOVED;
        st->trailers = st->coming.headers;
        return;
    }
    h = arena_alloc(a, sizeof(*h));
    if (!h) {
        spoil(st, "too many heads");
        return;
    }
    *h = (struct waiting_head){NULL, st->coming};
    *st->heads_end = h;
    st->heads_end = &h->next;
    st->final = st->coming.status >= 200;
}

/* Frames that carry no message are an attack when nothing else comes. */
static int count_idle_frame(struct http2_up *s)
{
    uint64_t now = worker_now(s->w);

    if (now - s->idle_frames_since > IDLE_FRAMES_US) {
        s->idle_frames_since = now;
        s->idle_frames = 0;
    }
    return ++s->idle_frames > IDLE_FRAMES ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_frame(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
    struct http2_up *s = arg;
    struct http2_up_stream *st = frame->hd.stream_id ? stream_of(ng, frame->hd.stream_id) : NULL;

    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        s->idle_frames = 0;
        if (st && !st->bad)
            headers_complete(st);
        break;
    case NGHTTP2_DATA:
        if (frame->hd.length == 0 && !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
            return count_idle_frame(s);
        break;
    case NGHTTP2_GOAWAY: s->closing = true; return 0;
    case NGHTTP2_PING:
    case NGHTTP2_SETTINGS:
    case NGHTTP2_PRIORITY: return count_idle_frame(s);
    default: return 0;
    }
    if (st) {
        st->ended |= (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) && !st->failed;
        note(st);
    }
    return 0;
}

static int on_data(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *data, size_t len, void *arg)
{
    struct http2_up *s = arg;
    struct http2_up_stream *st = stream_of(ng, id);

    (void)flags;
    s->idle_frames = 0;
    if (nghttp2_session_consume_connection(ng, len) != 0)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (!st || st->failed)
        return 0;
    while (len) {
        struct buf *b = st->last;
        size_t n;

        if (!b || b->len == b->cap) {
            b = buf_take(&s->w->bufs, len <= 4096 ? BUF_4K : BUF_32K);
            if (st->last)
                st->last->next = b;
            else
                st->first = b;
            st->last = b;
        }
        n = size_min(len, b->cap - b->len);
        memcpy(b->data + b->len, data, n);
        b->len += (uint32_t)n;
        data += n;
        len -= n;
    }
    note(st);
    return 0;
}

/* It was never seen by the upstream: GOAWAY and REFUSED_STREAM say so (RFC 9113 section 8.7). */
static void refuse(struct http2_up_stream *st)
{
    if (!st->final)
        st->u->unprocessed = true;
    fail_stream(st);
}

static int on_stream_close(nghttp2_session *ng, int32_t id, uint32_t error_code, void *arg)
{
    struct http2_up_stream *st = stream_of(ng, id);

    (void)arg;
    if (!st)
        return 0;
    st->id = -1;
    if (error_code == NGHTTP2_REFUSED_STREAM)
        refuse(st);
    fail_stream(st);
    note(st);
    return 0;
}

/* A request that could not begin any more, since a GOAWAY had come; or trailers that do not fit. */
static int on_not_sent(nghttp2_session *ng, const nghttp2_frame *frame, int error, void *arg)
{
    struct http2_up *s = arg;

    if (frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
        if (error != NGHTTP2_ERR_STREAM_CLOSED && error != NGHTTP2_ERR_STREAM_CLOSING)
            nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_INTERNAL_ERROR);
        return 0;
    }
    for (struct http2_up_stream *st = s->streams; st; st = st->next)
        if (st->id == frame->hd.stream_id) {
            refuse(st);
            st->id = -1;
        }
    return 0;
}

/* ---- what is sent: callbacks of nghttp2 ---- */

static size_t queued(const struct outq *q)
{
    size_t n = 0;

    for (unsigned i = q->at; i < q->n; i++)
        n += q->v[i].iov_len;
    return n;
}

static int submit_trailers(nghttp2_session *ng, int32_t id, struct xio *io)
{
    struct head_out o = {io->w->scratch, io->w->scratch + SCRATCH_BYTES, false};
    nghttp2_nv nv[HTTP2_NV_MAX];
    size_t n;

    HEADERS_EACH(h, &io->x.req.trailers)
        out_header(&o, h);
    n = http2_fields_out(io->w->scratch, (size_t)(o.p - io->w->scratch), nv, ARRAY_LEN(nv), NGHTTP2_NV_FLAG_NONE);
    return o.full ? -1 : nghttp2_submit_trailer(ng, id, nv, n);
}

/* How much of the body goes into the next frame; on_send_data takes it. */
static ssize_t on_body(nghttp2_session *ng, int32_t id, uint8_t *to, size_t most, uint32_t *flags,
                       nghttp2_data_source *source, void *arg)
{
    struct http2_up *s = arg;
    struct http2_up_stream *st = stream_of(ng, id);
    size_t there, n;

    (void)to, (void)source;
    if (!st) /* its RST_STREAM is on the way */
        return NGHTTP2_ERR_DEFERRED;
    there = queued(&st->u->xio->up);
    n = http2_room(&s->wire, size_min(there, most));
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (n == there && st->end) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (st->u->xio->x.req.trailers.n) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            if (submit_trailers(ng, id, st->u->xio) != 0)
                return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        }
        st->end_sent = true;
    } else if (n == 0) {
        st->no_room = there > 0;
        s->no_room |= st->no_room;
        return NGHTTP2_ERR_DEFERRED;
    }
    return (ssize_t)n;
}

static int on_send_data(nghttp2_session *ng, nghttp2_frame *frame, const uint8_t *head, size_t length,
                        nghttp2_data_source *source, void *arg)
{
    struct http2_up *s = arg;
    struct http2_up_stream *st = stream_of(ng, frame->hd.stream_id);
    struct outq *q;
    char *to;

    (void)source;
    if (!st)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    q = &st->u->xio->up;
    to = http2_append(&s->wire, HTTP2_FRAME_HEAD + length);
    memcpy(to, head, HTTP2_FRAME_HEAD);
    to += HTTP2_FRAME_HEAD;
    st->taken += length;
    while (length) {
        const struct iovec *v = &q->v[q->at];
        size_t n = size_min(length, v->iov_len);

        memcpy(to, v->iov_base, n);
        outq_advance(q, n);
        to += n;
        length -= n;
    }
    s->idle_frames = 0;
    if (outq_empty(q)) {
        st->took = true;
        note(st);
    }
    return 0;
}

/* ---- a session's socket ---- */

static nghttp2_session_callbacks *callbacks;
static nghttp2_option *options;

/* Before any thread of ours. */
__attribute__((constructor)) static void make_tables(void)
{
    int rc = nghttp2_session_callbacks_new(&callbacks) | nghttp2_option_new(&options);

    WEIR_ASSERT(rc == 0);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, on_invalid_header);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, on_not_sent);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, on_send_data);
    nghttp2_option_set_no_auto_window_update(options, 1);
    nghttp2_option_set_no_closed_streams(options, 1);
    nghttp2_option_set_max_send_header_block_length(options, 2 * SCRATCH_BYTES);
}

static int begin_session(struct http2_up *s)
{
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)s->w->set->upstream_max_header_bytes},
    };

    return nghttp2_session_client_new3(&s->wire.session, callbacks, s, options, http2_mem(s->w)) != 0 ||
                   nghttp2_submit_settings(s->wire.session, NGHTTP2_FLAG_NONE, settings, ARRAY_LEN(settings)) != 0 ||
                   nghttp2_session_set_local_window_size(s->wire.session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW) != 0
               ? -1
               : 0;
}

static struct http2_up *dial_session(struct worker *w, struct origin *o)
{
    struct uconn *u = dial_origin(w, o, true, &session_ops, NULL);
    struct http2_up *s;

    if (!u)
        return NULL;
    s = http2_alloc(w, sizeof(*s));
    s->w = w;
    http2_wire_init(&s->wire, &wire_ops, w, &u->io);
    if (begin_session(s) != 0) {
        http2_wire_fini(&s->wire);
        http2_free(w, s);
        uconn_kill(u);
        errno = ENOMEM;
        return NULL;
    }
    s->u = u;
    u->h2 = s;
    hold(s); /* the socket's, until on_session_closed */
    s->next = o->sessions;
    s->prev = &o->sessions;
    if (s->next)
        s->next->prev = &s->next;
    o->sessions = s;
    uconn_want_read(u, true);
    uconn_want_write(u, true); /* then it is connected */
    return s;
}

static void session_connected(struct http2_up *s)
{
    s->connected = s->u->connected = true;
    for (struct http2_up_stream *st = s->streams; st; st = st->next) {
        st->u->handshaking = false;
        st->u->connected = true;
        event_active(&st->u->ev_write, EV_WRITE, 0);
    }
    http2_dirty(&s->wire); /* the preface */
}

/* The TLS handshake is over. */
static void on_session_connected(struct uconn *u)
{
    const unsigned char *name;
    unsigned len;

    if (u->broken) {
        session_failed(u->h2, "the TLS handshake failed");
        return;
    }
    SSL_get0_alpn_selected(u->io.ssl, &name, &len);
    if (len != 2 || memcmp(name, "h2", 2) != 0) {
        session_failed(u->h2, "it did not agree on HTTP/2 (ALPN h2)");
        return;
    }
    session_connected(u->h2);
    uconn_want_read(u, true);
}

/* The connection is up, or has failed: its socket knows. */
static bool tcp_connected(const struct uconn *u)
{
    int error = 0;
    socklen_t len = sizeof(error);

    return getsockopt(u->io.fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0;
}

static void on_session_writable(struct uconn *u)
{
    struct http2_up *s = u->h2;

    if (s->connected) {
        s->wire.blocked = false; /* its event is off: what still does not fit asks for it again */
        http2_dirty(&s->wire);
    } else if (tcp_connected(u)) {
        session_connected(s);
    } else {
        session_failed(s, "it cannot be connected");
    }
}

/* One read. False: nothing more for now. */
static bool take_bytes(struct http2_up *s, struct buf *b)
{
    ssize_t n = s->u->io.ops->read(&s->u->io, b->data, b->cap), used;

    if (n == IO_AGAIN)
        return false;
    if (n <= 0) {
        if (s->n_streams)
            session_failed(s, n == 0 ? "it closed the connection" : "the connection broke");
        else
            end_session(s);
        return false;
    }
    s->heard_us = worker_now(s->w);
    used = nghttp2_session_mem_recv(s->wire.session, (const uint8_t *)b->data, (size_t)n);
    if (used < 0) {
        session_failed(s, nghttp2_strerror((int)used));
        return false;
    }
    return (size_t)n == b->cap;
}

static void on_session_readable(struct uconn *u)
{
    struct http2_up *s = u->h2;
    struct buf *b;

    if (!s->connected) { /* the socket reports an error this way, too */
        on_session_writable(u);
        return;
    }
    hold(s);
    b = buf_take(&s->w->bufs, BUF_32K);
    for (int i = 0; i < READS_PER_TURN && take_bytes(s, b); i++)
        ;
    buf_give(&s->w->bufs, &b);
    tell(s);
    if (s->u) {
        http2_dirty(&s->wire);
        uconn_want_read(s->u, true);
    }
    drop(s);
}

/* It has rested long enough. */
static void on_session_timeout(struct uconn *u)
{
    retire(u->h2);
}

static const struct uconn_ops session_ops = {
    .connected = on_session_connected,
    .readable = on_session_readable,
    .writable = on_session_writable,
    .timeout = on_session_timeout,
    .closed = on_session_closed,
};

/* ---- streams ---- */

static bool has_room(struct http2_up *s)
{
    uint32_t most = nghttp2_session_get_remote_settings(s->wire.session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);

    return !s->closing && untaken(s) <= UNTAKEN_MAX / 2 && s->n_streams < size_min(most, STREAMS_MAX) &&
           nghttp2_session_check_request_allowed(s->wire.session);
}

static struct uconn *open_stream(struct http2_up *s)
{
    const struct dp_settings *set = s->w->set;
    struct http2_up_stream *st = http2_alloc(s->w, sizeof(*st));
    struct uconn *u = uconn_new(s->w, s->u->origin, -1, &uconn_http_ops, &up_http2);

    *st = (struct http2_up_stream){
        .s = s, .u = u, .next = s->streams, .prev = &s->streams, .opened_us = worker_now(s->w)};
    st->heads_end = &st->heads;
    if (st->next)
        st->next->prev = &st->next;
    s->streams = st;
    s->n_streams++;
    hold(s);
    set_idle(s, false);
    timer_clear(&s->u->timer);
    s->requests++;
    if (set->upstream_keepalive_max_requests && s->requests >= (uint64_t)set->upstream_keepalive_max_requests)
        s->closing = true;
    u->stream = st;
    u->io = (struct io){.ops = &io_http2_up, .fd = -1, .holds = true};
    u->connected = s->connected;
    u->handshaking = !s->connected;
    return u;
}

struct uconn *http2_open(struct worker *w, const struct address *addr, uint16_t port, SSL_CTX *tls,
                         struct str sni, bool *reused)
{
    struct origin *o = origin_get(w, addr, port, tls, sni);
    struct http2_up *s = o->sessions;

    while (s && !has_room(s))
        s = s->next;
    *reused = s && s->connected;
    if (*reused)
        metric_add(M_UPSTREAM_REUSES, 1);
    if (!s)
        s = dial_session(w, o);
    return s ? open_stream(s) : NULL;
}

/* No stream uses it any more. */
static void rest(struct http2_up *s)
{
    const struct dp_settings *set = s->w->set;

    if (!s->connected || s->closing || s->w->draining || set->upstream_keepalive_pool_size == 0 || !has_room(s)) {
        retire(s);
        return;
    }
    set_idle(s, true);
    if (set->upstream_keepalive_idle_timeout_us)
        timer_set(&s->w->wheel, &s->u->timer, worker_now(s->w) + set->upstream_keepalive_idle_timeout_us);
}

static void give_backlog(struct http2_up_stream *st)
{
    struct buf *b;

    while ((b = st->first)) {
        st->first = b->next;
        buf_give(&st->s->w->bufs, &b);
    }
    st->last = NULL;
    st->at = 0;
}

static void stream_close(struct io *io)
{
    struct uconn *u = CONTAINER_OF(io, struct uconn, io);
    struct http2_up_stream *st = u->stream;
    struct http2_up *s = st->s;

    event_del(&u->ev_write); /* it may be active without being registered */
    if (st->to_tell) {
        struct http2_up_stream **at = &s->told;

        while (*at != st)
            at = &(*at)->next_told;
        *at = st->next_told;
    }
    /* not a word in all that time: the next request does better on another connection */
    if (!st->ended && s->heard_us < st->opened_us && worker_now(s->w) - st->opened_us > SILENCE_US)
        s->closing = true;
    if (s->u && st->id > 0) {
        nghttp2_session_set_stream_user_data(s->wire.session, st->id, NULL);
        if (!(st->ended && st->end_sent))
            nghttp2_submit_rst_stream(s->wire.session, NGHTTP2_FLAG_NONE, st->id, NGHTTP2_CANCEL);
        http2_dirty(&s->wire);
    }
    give_backlog(st);
    *st->prev = st->next;
    if (st->next)
        st->next->prev = st->prev;
    u->stream = NULL;
    http2_free(s->w, st);
    if (--s->n_streams == 0 && s->u)
        rest(s);
    drop(s);
}

/* The end is known as soon as the last byte has been taken: no turn of the loop for it alone. */
static ssize_t stream_read(struct io *io, void *to, size_t len)
{
    struct uconn *u = CONTAINER_OF(io, struct uconn, io);
    struct http2_up_stream *st = u->stream;
    struct http2_up *s = st->s;
    size_t total = 0;

    while (st->first && total < len) {
        struct buf *b = st->first;
        size_t n = size_min(len - total, b->len - st->at);

        memcpy((char *)to + total, b->data + st->at, n);
        total += n;
        st->at += (uint32_t)n;
        if (st->at < b->len)
            break;
        st->first = b->next;
        st->at = 0;
        if (!st->first)
            st->last = NULL;
        buf_give(&s->w->bufs, &b);
    }
    if (!st->first && st->ended)
        u->eof = true;
    if (total && s->u && st->id > 0 && !st->ended) {
        nghttp2_session_consume_stream(s->wire.session, st->id, total);
        http2_dirty(&s->wire);
    }
    if (total)
        return (ssize_t)total;
    return st->ended ? 0 : st->failed ? IO_ERROR : IO_AGAIN;
}

static bool stream_pending(const struct io *io)
{
    const struct uconn *u = (const struct uconn *)((const char *)io - offsetof(struct uconn, io));
    const struct http2_up_stream *st = u->stream;

    return st->first || ((st->ended || st->failed) && !u->eof);
}

/* Bytes without a message in them: only a tunnel would want that, and 101 does not exist here. */
static ssize_t stream_writev(struct io *io, const struct iovec *v, int n)
{
    (void)io, (void)v, (void)n;
    return IO_ERROR;
}

static int stream_handshake(struct io *io)
{
    (void)io;
    return 0;
}

static void stream_shutdown(struct io *io)
{
    (void)io;
}

static const struct io_ops io_http2_up = {
    .read = stream_read,
    .writev = stream_writev,
    .handshake = stream_handshake,
    .pending = stream_pending,
    .shutdown = stream_shutdown,
    .close = stream_close,
};

void http2_close_idle(struct origin *o)
{
    struct http2_up *s, *next;

    for (s = o->sessions; s; s = next) {
        next = s->next;
        s->closing = true;
        if (s->n_streams == 0)
            retire(s);
    }
}

/* ---- the codec ---- */

/* The target with its query. p == NULL: the arena's cap. */
static struct str full_path(struct exchange *x)
{
    struct str path = forward_target(x);

    if (!path.p || !x->req.query.p || x->upstream_path.len)
        return path;
    return arena_printf(&x->arena, STR_FMT "?" STR_FMT, STR_ARG(path), STR_ARG(x->req.query));
}

static bool head(struct xio *io, int64_t length)
{
    struct http2_up_stream *st = io->u->stream;
    struct head_out o = {io->w->scratch, io->w->scratch + SCRATCH_BYTES, false};

    st->path = full_path(&io->x);
    st->authority = forward_authority(io);
    forward_fields(&o, io, length);
    if (o.full || !st->path.p || !st->authority.p)
        return false;
    outq_add_fleeting(&io->up, io->w->scratch, (size_t)(o.p - io->w->scratch));
    return true;
}

static void piece(struct xio *io, struct str piece)
{
    outq_add(&io->up, piece.p, piece.len);
}

static void end(struct xio *io)
{
    io->u->stream->end = true;
}

/* The head out of the queue, as a HEADERS frame. */
static bool submit(struct xio *io, struct http2_up_stream *st)
{
    const struct iovec lines = io->up.v[io->up.at];
    const nghttp2_data_provider body = {.read_callback = on_body};
    nghttp2_nv nv[HTTP2_NV_MAX];
    size_t n;
    bool bare;

    nv[0] = http2_nv(STR(":method"), io->x.req.method, NGHTTP2_NV_FLAG_NONE);
    nv[1] = http2_nv(STR(":scheme"), io->x.match.service->tls ? STR("https") : STR("http"), NGHTTP2_NV_FLAG_NONE);
    nv[2] = http2_nv(STR(":authority"), st->authority, NGHTTP2_NV_FLAG_NONE);
    nv[3] = http2_nv(STR(":path"), st->path, NGHTTP2_NV_FLAG_NONE);
    n = PSEUDO_FIELDS + http2_fields_out(lines.iov_base, lines.iov_len, nv + PSEUDO_FIELDS,
                                         ARRAY_LEN(nv) - PSEUDO_FIELDS, NGHTTP2_NV_FLAG_NONE);
    outq_advance(&io->up, lines.iov_len);
    bare = st->end && outq_empty(&io->up) && !io->x.req.trailers.n;
    st->id = nghttp2_submit_request(st->s->wire.session, NULL, nv, n, bare ? NULL : &body, st);
    if (st->id < 0) { /* no numbers are left */
        st->s->closing = true;
        st->u->unprocessed = true;
        return false;
    }
    st->end_sent = bare;
    st->taken += lines.iov_len;
    return true;
}

static int flush(struct xio *io, size_t *written)
{
    struct http2_up_stream *st = io->u->stream;
    struct http2_up *s = st->s;

    *written = 0;
    if (!s->u || st->failed || st->id < 0)
        return -1;
    if (!st->id && !submit(io, st))
        return -1;
    if (!st->end_sent)
        nghttp2_session_resume_data(s->wire.session, st->id);
    hold(s);
    if (!http2_pump(&s->wire))
        session_failed(s, "the connection is gone");
    else
        http2_dirty(&s->wire);
    st->took = false; /* it looks for itself */
    tell(s);
    drop(s);
    *written = st->taken;
    st->taken = 0;
    if (st->failed)
        return -1;
    return outq_empty(&io->up) && (!st->end || st->end_sent) ? 0 : 1;
}

static enum parse_result take_head(struct xio *io)
{
    struct exchange *x = &io->x;
    struct uconn *u = io->u;
    struct http2_up_stream *st = u->stream;
    struct waiting_head *h = st->heads;

    if (h) {
        st->heads = h->next;
        if (!st->heads)
            st->heads_end = &st->heads;
        x->resp = h->head;
        if (!u->buf) {
            u->buf = buf_take(&u->w->bufs, BUF_32K);
            u->at = 0;
        }
        return PARSE_OK;
    }
    if (!st->bad)
        return PARSE_MORE;
    LOG_LIMITED(LOG_WARN, "upstream_head", "request_id=%s target=" STR_FMT " reason=%s", x->request_id,
                STR_ARG(x->target), st->bad);
    return PARSE_BAD;
}

static void begin_body(struct xio *io)
{
    struct uconn *u = io->u;

    io->resp_framing = RESP_CLOSE; /* it ends where the stream does */
    u->eof |= u->stream->ended && !u->stream->first;
}

static int take_piece(struct xio *io, struct str *piece)
{
    struct uconn *u = io->u;

    *piece = str_n(u->buf->data + u->at, u->buf->len - u->at);
    u->at = u->buf->len;
    io->resp_done = u->eof && !u->broken;
    if (io->resp_done)
        io->x.resp.trailers = u->stream->trailers;
    if (piece->len || io->resp_done)
        return 1;
    return u->eof ? -1 : 0;
}

const struct up_codec up_http2 = {
    .head = head,
    .piece = piece,
    .end = end,
    .flush = flush,
    .take_head = take_head,
    .begin_body = begin_body,
    .take_piece = take_piece,
};
