/* http1_up.c - HTTP/1.1 towards upstreams (RFC 9112); see codec.h. */
#include "common/log.h"
#include "dataplane/codec/codec.h"
#include "dataplane/exchange_priv.h"
#include "dataplane/observe/limits.h"

#define HEAD_MAX_FIELDS 256

/* ---- the request ---- */

static bool head(struct xio *io, int64_t length)
{
    size_t n;

    io->up_chunked = length < 0 && io->x.req.chunked;
    n = forward_head(io, length, io->up_chunked);
    if (n)
        outq_add_fleeting(&io->up, io->w->scratch, n);
    return n != 0;
}

static void piece(struct xio *io, struct str piece)
{
    outq_add_body(&io->up, io->up_chunk, piece, io->up_chunked);
}

static void end(struct xio *io)
{
    if (!io->up_chunked)
        return;
    if (unlikely(io->x.req.trailers.n))
        outq_add_trailers(&io->up, &io->x.req.trailers, &io->x.arena);
    else
        outq_add(&io->up, "0\r\n\r\n", 5);
}

static int flush(struct xio *io, size_t *written)
{
    return outq_write(&io->up, &io->u->io, written);
}

/* ---- the response ---- */

/* A larger buffer for an incomplete head. False: it is as large as heads may be. */
static bool head_room(struct uconn *u)
{
    struct buf *old = u->buf;

    if (old->len < old->cap)
        return true;
    if (old->class == BUF_64K)
        return false;
    u->buf = buf_take(&u->w->bufs, BUF_64K);
    u->buf->len = old->len - u->at;
    memcpy(u->buf->data, old->data + u->at, u->buf->len);
    u->at = 0;
    buf_give(&u->w->bufs, &old);
    return true;
}

static enum parse_result take_head(struct xio *io)
{
    const struct parse_limits limits = {
        .head_bytes = io->w->set->upstream_max_header_bytes, .fields = HEAD_MAX_FIELDS, .uri_bytes = 0};
    struct exchange *x = &io->x;
    struct uconn *u = io->u;
    struct parse_error why = {0};
    enum parse_result r;
    size_t used;

    if (!u->buf || u->buf->len == u->at)
        return PARSE_MORE;
    r = http_parse_response(str_n(u->buf->data + u->at, u->buf->len - u->at), &limits, &x->arena,
                            x->req.method_id == M_HEAD, &x->resp, &used, &why);
    if (r == PARSE_OK) {
        u->at += (uint32_t)used;
    } else if (r == PARSE_MORE && !head_room(u)) {
        r = PARSE_BAD;
        why = (struct parse_error){.status = 431, .message = "head too large"};
    }
    if (r == PARSE_BAD) {
        if (why.status == 431)
            limit_hit(LIMIT_UPSTREAM_HEADER_BYTES);
        LOG_LIMITED(LOG_WARN, "upstream_head", "request_id=%s target=" STR_FMT " reason=%s", x->request_id,
                    STR_ARG(x->target), why.message);
    }
    return r;
}

static void begin_body(struct xio *io)
{
    const struct resp_head *r = &io->x.resp;

    if (r->chunked) {
        io->resp_framing = RESP_CHUNKED;
        io->resp_chunks.arena = &io->x.arena;
    } else if (r->content_length >= 0) {
        io->resp_framing = RESP_LENGTH;
        io->resp_left = (uint64_t)r->content_length;
        io->resp_done = r->content_length == 0;
    } else {
        io->resp_framing = RESP_CLOSE;
    }
}

static int take_piece(struct xio *io, struct str *piece)
{
    struct uconn *u = io->u;
    char *at = u->buf->data + u->at;
    size_t raw = u->buf->len - u->at, used = raw, made = raw;

    switch (io->resp_framing) {
    case RESP_LENGTH:
        used = made = size_min(raw, io->resp_left);
        io->resp_left -= used;
        io->resp_done = io->resp_left == 0;
        break;
    case RESP_CHUNKED:
        switch (chunk_decode(&io->resp_chunks, at, raw, at, &used, &made)) {
        case CHUNK_DONE:
            io->resp_done = true;
            if (!chunk_trailers(&io->resp_chunks, &io->x.resp.trailers))
                return -1;
            break;
        case CHUNK_MORE: break;
        case CHUNK_BAD: return -1;
        }
        break;
    case RESP_CLOSE:
        io->resp_done = u->eof && !u->broken;
        break;
    case RESP_NONE: WEIR_UNREACHABLE("response without framing");
    }
    u->at += (uint32_t)used;
    *piece = str_n(at, made);
    if (made || io->resp_done)
        return 1;
    return u->eof ? -1 : 0;
}

const struct up_codec up_http1 = {
    .head = head,
    .piece = piece,
    .end = end,
    .flush = flush,
    .take_head = take_head,
    .begin_body = begin_body,
    .take_piece = take_piece,
};
