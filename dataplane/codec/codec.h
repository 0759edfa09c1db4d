/*
 * codec.h - what differs between the protocols by which a message comes and goes.
 *
 * An exchange speaks to its client through c->codec and to its upstream through u->codec, so
 * any protocol meets any other, and plugins never see the wire. A codec turns bytes into
 * x->req and x->resp and back; bodies pass as plain bytes, through the same windows and queues
 * for all of them (body.c, outq.h). Bytes themselves come and go through struct io (io.h): a
 * socket, OpenSSL, or one stream of an HTTP/2 connection, which is a struct conn (or uconn)
 * of its own.
 *
 * To add a protocol: a table of one side or of both, and somebody who chooses it (conn.c by what
 * the client says first, in_PICK by what the service asks for). Nothing else changes.
 * ../README.md goes through it step by step.
 *
 * Rules for all functions. Nothing blocks: what cannot go on now returns, and an event or timer
 * calls the exchange again. Heads are written into w->scratch and queued as fleeting; pieces and
 * trailers are queued where they are, and stay there until flush has taken them. What has to live
 * longer goes into the exchange's arena, whose cap is a "false". They are called by the states
 * (exchange_*.c) and body.c, on the worker's thread, never below themselves.
 */
#ifndef DATAPLANE_CODEC_CODEC_H
#define DATAPLANE_CODEC_CODEC_H

#include "dataplane/http/parse.h"

struct arena;
struct conn;
struct xio;

/* STEP_GO: the state has changed, go on. STEP_WAIT: something will call exchange_run() again. */
enum step { STEP_GO, STEP_WAIT };

/* Towards the client. */
struct down_codec {
    /*
     * In HEAD: fills x->req, then exchange_head_complete(); or waits for more (its timer is
     * client_header_timeout), or exchange_head_bad().
     */
    enum step (*take_head)(struct xio *io);
    /*
     * Decodes the raw part of the window (xio.h) in place: moves c->at and io->decoded, sets
     * io->body_done at the end, x->req.trailers when there were any. False: broken framing.
     */
    bool (*take_body)(struct xio *io);
    /* The client waits for a word before it sends its body (100). False: it is gone. */
    bool (*go_on)(struct xio *io);
    /* An interim response of the upstream (x->resp, 1xx but not 101) goes on, if it can. */
    void (*interim)(struct xio *io);
    /*
     * The head in x->resp into the queue. Settles the framing: io->head_only, down_left.
     * False: it does not fit.
     */
    bool (*head)(struct xio *io);
    /* A piece of the body behind it; the bytes stay where they are until they are written. */
    void (*piece)(struct xio *io, struct str piece);
    /* The end of the body, with x->resp.trailers if the client takes them. */
    void (*end)(struct xio *io);
    /*
     * Sends what is queued. 0: all is gone, the end too if it was queued; 1: the rest waits for
     * conn_writable(); -1: the client is gone. *written: bytes taken now.
     */
    int (*flush)(struct xio *io, size_t *written);
};

/* Towards the upstream. */
struct up_codec {
    /*
     * The request's head for io->target into the queue, length of the body in bytes, -1: ends
     * when it ends. False: it does not fit.
     */
    bool (*head)(struct xio *io, int64_t length);
    void (*piece)(struct xio *io, struct str piece);
    void (*end)(struct xio *io); /* with x->req.trailers, if the protocol can say them */
    int (*flush)(struct xio *io, size_t *written); /* as a down_codec's, for the upstream */
    /* The next head, interim or not, into x->resp. PARSE_BAD has been logged. */
    enum parse_result (*take_head)(struct xio *io);
    /* A final head is in x->resp: how its body ends. */
    void (*begin_body)(struct xio *io);
    /*
     * The next piece of the response's body. 1: there is one (perhaps empty, at io->resp_done),
     * 0: more has to come, -1: it was cut.
     */
    int (*take_piece)(struct xio *io, struct str *piece);
};

extern const struct down_codec down_http1, down_http2, down_raw;
extern const struct up_codec up_http1, up_http2;

#endif
