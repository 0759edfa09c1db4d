/* http1_down.c - HTTP/1.0 and 1.1 towards clients (RFC 9112); see codec.h. */
#include <string.h>

#include "dataplane/codec/codec.h"
#include "dataplane/exchange_priv.h"

#define SMALL_HEAD 1024u

/* ---- the request ---- */

/* "\n\r\n" or "\n\n" in what has come since the last look, so that a slow head is parsed once. */
static bool head_may_be_complete(struct xio *io, struct str in)
{
    size_t from = io->scanned > 3 ? io->scanned - 3 : 0;
    const char *p = in.p + from, *end = in.p + in.len;

    io->scanned = in.len;
    if (from == 0)
        return true;
    while ((p = memchr(p, '\n', (size_t)(end - p)))) {
        p++;
        if (p < end && (*p == '\n' || (*p == '\r' && p + 1 < end && p[1] == '\n')))
            return true;
    }
    return false;
}

/* An incomplete head does not hold a big buffer while it waits. */
static void shelve_head(struct conn *c)
{
    struct buf *small, *old = c->rbuf;

    if (old->class == BUF_4K || old->len - c->at > SMALL_HEAD)
        return;
    small = buf_take(&c->w->bufs, BUF_4K);
    small->len = old->len - c->at;
    memcpy(small->data, old->data + c->at, small->len);
    c->at = 0;
    c->rbuf = small;
    buf_give(&c->w->bufs, &old);
}

bool http1_head_room(struct xio *io)
{
    struct conn *c = io->c;
    struct buf *old = c->rbuf, *new;

    if (old->class == BUF_64K || old->class == BUF_CLASSES)
        return false;
    new = buf_take(&io->w->bufs, old->class == BUF_4K ? BUF_32K : BUF_64K);
    new->len = old->len - c->at;
    memcpy(new->data, old->data + c->at, new->len);
    c->at = 0;
    c->rbuf = new;
    buf_give(&io->w->bufs, &old);
    return true;
}

static enum step take_head(struct xio *io)
{
    struct conn *c = io->c;
    const struct dp_settings *set = io->w->set;
    const struct parse_limits limits = {
        .head_bytes = set->client_max_header_bytes,
        .uri_bytes = set->client_max_uri_bytes,
        .fields = (unsigned)set->client_max_header_fields,
    };
    struct str in = str_n(c->rbuf->data + c->at, c->rbuf->len - c->at);
    enum parse_result r = PARSE_MORE;
    struct parse_error why;
    size_t used = 0;

    if (head_may_be_complete(io, in) || in.len >= limits.head_bytes ||
        (in.len >= limits.uri_bytes && !memchr(in.p, '\n', limits.uri_bytes))) {
        if (c->wait == WAIT_HEAD) /* it was tried before */
            arena_reset(&io->x.arena);
        r = http_parse_request(in, &limits, &io->x.arena, &io->x.req, &used, &why);
        if (r != PARSE_MORE && !io->x.request_id[0])
            worker_request_id(io->w, io->x.request_id);
    }
    switch (r) {
    case PARSE_OK:
        c->at += (uint32_t)used;
        io->x.bytes_in = used;
        return exchange_head_complete(io);
    case PARSE_BAD: return exchange_head_bad(io, &why);
    case PARSE_MORE: break;
    }
    if (c->eof) {
        conn_kill(c, CLOSE_CLIENT_ABORT);
        return STEP_WAIT;
    }
    if (c->wait != WAIT_HEAD || !c->timer.due_us)
        conn_wait(c, WAIT_HEAD, set->client_header_timeout_us);
    shelve_head(c);
    conn_want_read(c, true);
    return STEP_WAIT;
}

static bool take_body(struct xio *io)
{
    struct conn *c = io->c;
    uint32_t raw = c->rbuf ? c->rbuf->len - c->at : 0;
    size_t used, made;

    if (raw == 0)
        return true;
    if (io->x.req.chunked) {
        io->chunks.arena = &io->x.arena;
        switch (chunk_decode(&io->chunks, c->rbuf->data + c->at, raw, c->rbuf->data + io->decoded, &used, &made)) {
        case CHUNK_MORE: break;
        case CHUNK_DONE:
            io->body_done = true;
            if (!chunk_trailers(&io->chunks, &io->x.req.trailers))
                return false;
            break;
        case CHUNK_BAD: return false;
        }
    } else {
        used = made = size_min(raw, io->body_left);
        io->body_left -= used;
        io->body_done = io->body_left == 0;
    }
    c->at += (uint32_t)used;
    io->decoded += (uint32_t)made;
    return true;
}

static bool go_on(struct xio *io)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    const struct iovec v = {(void *)(uintptr_t)text, sizeof(text) - 1};
    struct conn *c = io->c;

    /* the socket is empty now: it all fits, or the connection is broken */
    if (c->io.ops->writev(&c->io, &v, 1) == (ssize_t)v.iov_len)
        return true;
    conn_kill(c, CLOSE_CLIENT_ABORT);
    return false;
}

/* ---- the response ---- */

static void interim(struct xio *io)
{
    struct exchange *x = &io->x;
    struct head_out o = {io->w->scratch, io->w->scratch + SCRATCH_BYTES, false};
    size_t waiting = 0, written;
    char *text;

    if (x->req.version < 11)
        return;
    OUT_LITERAL(&o, "HTTP/1.1 ");
    out_number(&o, x->resp.status);
    OUT_LITERAL(&o, " ");
    out_str(&o, x->resp.reason.len ? x->resp.reason : str_of(status_text(x->resp.status)));
    OUT_LITERAL(&o, "\r\n");
    respond_interim_fields(&o, x);
    OUT_LITERAL(&o, "\r\n");
    if (o.full)
        return;
    /* those before it that the client has not taken become one piece with it: the queue has few places */
    if (!outq_empty(&io->down)) {
        (void)outq_write(&io->down, &io->c->io, &written); /* an error is met again when all of it is written */
        x->bytes_out += written;
    }
    if (!outq_empty(&io->down))
        waiting = io->down.v[io->down.at].iov_len;
    text = arena_alloc(&x->arena, waiting + (size_t)(o.p - io->w->scratch));
    if (!text)
        return;
    if (waiting)
        memcpy(text, io->down.v[io->down.at].iov_base, waiting);
    memcpy(text + waiting, io->w->scratch, (size_t)(o.p - io->w->scratch));
    outq_clear(&io->down);
    outq_add(&io->down, text, waiting + (size_t)(o.p - io->w->scratch));
}

static bool head(struct xio *io)
{
    size_t n = respond_head(io);

    if (n)
        outq_add_fleeting(&io->down, io->w->scratch, n);
    return n != 0;
}

static void piece(struct xio *io, struct str piece)
{
    outq_add_body(&io->down, io->down_chunk, piece, io->down_chunked);
}

static void end(struct xio *io)
{
    struct exchange *x = &io->x;
    const struct header *te;

    if (!io->down_chunked)
        return;
    if (unlikely(x->resp.trailers.n)) {
        te = headers_find_id(&x->req.headers, HDR_TE);
        if (te && http_list_has(te->value, STR("trailers"))) {
            outq_add_trailers(&io->down, &x->resp.trailers, &x->arena);
            return;
        }
    }
    outq_add(&io->down, "0\r\n\r\n", 5);
}

static int flush(struct xio *io, size_t *written)
{
    return outq_write(&io->down, &io->c->io, written);
}

const struct down_codec down_http1 = {
    .take_head = take_head,
    .take_body = take_body,
    .go_on = go_on,
    .interim = interim,
    .head = head,
    .piece = piece,
    .end = end,
    .flush = flush,
};
