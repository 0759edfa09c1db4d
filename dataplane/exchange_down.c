/*
 * exchange_down.c - the states of an exchange while the response goes to the client.
 */
#include "common/log.h"
#include "dataplane/codec/pipeline.h"
#include "dataplane/exchange_priv.h"
#include "dataplane/observe/metrics.h"
#include "dataplane/plugin.h"

/* ---- RESPOND ---- */

/* 1: all written, 0: the client has to make room, -1: it is gone. */
int down_flush(struct xio *io)
{
    struct conn *c = io->c;
    size_t n;
    int rc = c->codec->flush(io, &n);

    io->x.bytes_out += n;
    if (rc == 0)
        return 1;
    if (rc < 0 || !outq_keep(&io->down, &io->x.arena)) {
        conn_kill(c, CLOSE_CLIENT_ABORT);
        return -1;
    }
    if (n || c->wait != WAIT_WRITE || !c->timer.due_us)
        conn_wait(c, WAIT_WRITE, io->w->set->client_write_timeout_us);
    conn_want_write(c, true);
    return 0;
}

/* Queues a piece of body for the client. False: more than Content-Length promised. */
bool down_queue_piece(struct xio *io, struct str piece, bool last)
{
    if (io->head_only)
        piece = STR("");
    if (io->filter_body && !io->head_only)
        chain_body_filter(&io->x, &piece, last);
    if (io->down_length_known && !io->head_only) {
        if (piece.len > io->down_left)
            return false;
        io->down_left -= piece.len;
        if (last && io->down_left)
            return false;
    }
    if (piece.len)
        io->c->codec->piece(io, piece);
    if (last) {
        io->c->codec->end(io);
        io->down_ended = true;
    }
    return true;
}

static bool has_body_filter(const struct exchange *x)
{
    return x->run.chain && x->run.chain->phases & PH_BIT(PH_BODY_FILTER);
}

bool down_queue_head(struct xio *io)
{
    struct exchange *x = &io->x;

    if (io->w->draining && !pipeline_goes_on(io->c))
        io->keep_alive = false;
    if (x->config) {
        chain_header_filter(x);
        io->filter_body = has_body_filter(x);
    }
    if (x->answered && io->filter_body && x->req.method_id != M_HEAD) {
        chain_body_filter(x, &x->answer, true); /* now: the head tells its length */
        io->filter_body = false;
    }
    io->head_queued = io->c->codec->head(io);
    return io->head_queued;
}

/* Empty again, and larger once a long body is under way; the head stays pinned. */
static void response_window(struct xio *io)
{
    struct uconn *u = io->u;
    bool large = io->resp_framing != RESP_LENGTH ? u->full_read : io->resp_left > BUF_WINDOW_MIN * 2;

    if (u->at != u->buf->len)
        return;
    if (!io->resp_buf && (large || u->buf->cap - io->resp_at < BUF_WINDOW_MIN)) {
        io->resp_buf = u->buf;
        io->resp_at = 0;
        u->buf = buf_take(&io->w->bufs, BUF_WINDOW == 65536u && large ? BUF_64K : BUF_32K);
    }
    u->at = u->buf->len = io->resp_at;
}

static enum step cut(struct xio *io)
{
    size_t n;

    /* what has come is the client's; then it has to see that more was to follow */
    (void)io->c->codec->flush(io, &n);
    io->x.bytes_out += n;
    LOG_LIMITED(LOG_WARN, "upstream_cut", "request_id=%s target=" STR_FMT, io->x.request_id,
                STR_ARG(io->x.target));
    conn_kill(io->c, CLOSE_UPSTREAM_CUT);
    return STEP_WAIT;
}

/* Queues the head and what body is there. False: the response is cut short. */
static bool fill_down(struct xio *io)
{
    struct str piece = STR("");

    /* behind a head that has just been queued, or behind nothing: the window is in use else */
    if (io->down_ended || !(outq_empty(&io->down) || io->down.fleeting == io->down.n))
        return true;
    response_window(io);
    if (!io->resp_done) {
        int rc = io->u->codec->take_piece(io, &piece);
        if (rc <= 0)
            return rc == 0;
    }
    return down_queue_piece(io, piece, io->resp_done);
}

enum step in_RESPOND(struct xio *io)
{
    struct uconn *u = io->u;
    const struct service *s = &io->x.match.service->def;

    if (!io->head_queued) {
        if (!io->body_done && !io->body_replaced)
            io->keep_alive = false; /* an early answer: what still comes may never end */
        if (!down_queue_head(io))
            return cut(io);
        if (io->x.resp.status == 101)
            return tunnel_begin(io);
    }
    if (!io->up_done && !io->up_failed) {
        switch (up_pump(io)) {
        case PUMP_OK: break;
        case PUMP_GONE: return STEP_WAIT;
        case PUMP_CLIENT_BAD:
        case PUMP_BROKEN: io->up_failed = true; break;
        }
    }
    for (;;) {
        if (!fill_down(io))
            return cut(io);
        if (!outq_empty(&io->down) || io->down_ended) { /* an end may be more than its bytes */
            switch (down_flush(io)) {
            case 1:
                if (io->down_ended)
                    return step_go(io, XS_LOG);
                continue;
            case -1: return STEP_WAIT;
            default: break;
            }
            timer_clear(&u->timer); /* it is not the upstream that is slow */
            return STEP_WAIT;
        }
        if (!u->full_read || u->eof)
            break;
        response_window(io);
        if (uconn_read(u) <= 0 && !u->eof)
            break;
    }
    if (io->c->wait == WAIT_WRITE)
        conn_wait_over(io->c);
    up_wait(io, io->up_done || io->up_failed || outq_empty(&io->up) ? s->read_timeout : s->write_timeout);
    uconn_want_read(u, true);
    return STEP_WAIT;
}
