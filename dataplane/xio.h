/*
 * xio.h - the engine's side of an exchange: where its bytes come from and go to.
 *
 * The request's body passes through a window of the client's read buffer:
 *
 *      rbuf  | head (pinned) | sent | decoded, to be sent | raw, not decoded | free |
 *                            body   sent                  decoded   c->at          len
 *
 * While nothing of the window has been thrown away the request can be sent again.
 */
#ifndef DATAPLANE_XIO_H
#define DATAPLANE_XIO_H

#include "dataplane/conn.h"
#include "dataplane/exchange.h"
#include "dataplane/head_out.h"
#include "dataplane/http/parse.h"
#include "dataplane/outq.h"
#include "dataplane/upstream/upstream.h"

#define EXCHANGE_EMBEDDED  3072u
#define EXCHANGE_ARENA_CAP (1024u * 1024u)
#define BUF_WINDOW_MIN     (16u * 1024u) /* a streamed body gets a buffer of its own below this */
#define BUF_WINDOW         (64u * 1024u)

enum xstate {
#define X(state, to) XS_##state,
#include "dataplane/exchange_states.def"
#undef X
};

struct xio {
    struct exchange x; /* first: x.io points back */
    struct xio *next;  /* ready or spare list */
    struct worker *w;
    struct conn *c;
    enum xstate state;
    uint8_t moves[16]; /* the last states, for the panic's dump */
    uint8_t n_moves;
    bool in_ready, running, gone;
    bool resumed;      /* a plugin's wait is over */
    bool phase_open;   /* the chain of this state has been started */
    bool keep_alive;   /* the client's connection, after this */
    bool log_due;      /* the chains know of this exchange */

    /* request */
    size_t scanned;             /* of an incomplete head */
    struct buf *head_buf;       /* pinned head when rbuf has been replaced */
    uint32_t body, sent, decoded;
    uint64_t body_left;         /* still to come, with a Content-Length */
    uint64_t body_bytes;        /* decoded so far */
    struct chunk_decoder chunks;
    uint64_t body_asked_us;     /* since when more is waited for; 0: not */
    uint64_t body_waited_us;    /* for the client, up to its last bytes */
    bool body_done;             /* the whole body is there (decoded) */
    uint16_t body_bad;          /* status to refuse it with: 400, 413 */
    bool body_dropped;          /* the window was reused: no second try */
    bool body_replaced;         /* new_body is sent instead */
    bool continued;             /* 100 was sent, or is not needed */
    size_t body_want;           /* of exchange_body: a plugin waits for that much, 0: none */
    struct str new_body;
    struct plugin_timer *timers;

    /* upstream */
    const struct c_upstream *upstream;
    const struct c_target *target;
    struct uconn *u;
    struct name *waiting_name;
    struct xio *name_next;      /* in the name's list of waiters */
    bool reused;                /* u came from the pool */
    bool no_pool;               /* a kept one has just failed: dial */
    bool up_chunked;            /* how the body goes up */
    bool up_ended;              /* all of the request has been queued */
    bool up_done;               /* and written */
    bool up_sent_any;           /* of this try */
    bool up_failed;             /* writing is over, the response may still come */
    bool up_stalled;            /* of a tunnel: the upstream takes nothing now */
    unsigned names_failed;
    uint64_t failed_targets;    /* bits of the first 64 */

    /* response */
    struct buf *resp_buf;       /* pinned head when u->buf has been replaced */
    uint32_t resp_at;           /* where bodies start in u->buf */
    struct chunk_decoder resp_chunks;
    uint64_t resp_left;
    enum { RESP_NONE, RESP_LENGTH, RESP_CHUNKED, RESP_CLOSE } resp_framing;
    bool resp_done;             /* the upstream's part is complete */
    bool down_chunked;
    bool down_length_known;
    uint64_t down_left;         /* what Content-Length promised and has not been sent */
    bool down_ended;            /* the last piece is queued */
    bool head_queued;
    bool head_only;             /* no body goes down: HEAD, 204, 304 */
    bool filter_body;

    /* all before is zeros at first; what follows is not worth clearing: it is set before it is read */
    struct outq up, down;       /* what waits to be written, to the upstream and to the client */
    char up_chunk[CHUNK_ROOM], down_chunk[CHUNK_ROOM];
    char target_text[56];
    char embedded[EXCHANGE_EMBEDDED];
};

/* A spare or new one for c, in HEAD; its first bytes are in rbuf, or about to come. Never NULL. */
struct xio *exchange_begin(struct conn *c);

/*
 * Goes on as far as it can, and then with those that follow on the connection. io may be gone afterwards,
 * its connection dead. From inside of the driver it does nothing: the driver goes on itself.
 */
void exchange_run(struct xio *io);

/* Makes room in the client's full read buffer. False: reading has to stop for now. */
bool exchange_room(struct xio *io);
/* The same for an incomplete head of HTTP/1. */
bool http1_head_room(struct xio *io);

/* The client's connection is gone. */
void exchange_client_gone(struct xio *io);

/* Events of the upstream's side, and of timers. They call the driver: io may be gone afterwards. */
void exchange_upstream_readable(struct xio *io);
void exchange_upstream_timeout(struct xio *io);
void exchange_client_timeout(struct xio *io);

void xios_fini(struct worker *w);

/* ---- request body (body.c) ---- */

/* Sets the window up behind a parsed head. */
void body_begin(struct xio *io);
/* Decodes what is raw. False: the framing is broken. */
bool body_decode_more(struct xio *io);
static inline bool body_decode(struct xio *io)
{
    return (io->body_done && !io->body_bad) || body_decode_more(io);
}
/* There is room to read more body (after making some, if that is allowed). */
bool body_room(struct xio *io);
/* Throws away what is decoded. */
void body_drop(struct xio *io);
/* All that is there and not sent; with body_sent to say how much is queued. */
struct str body_ready(const struct xio *io);
void body_sent(struct xio *io, size_t len);
/* From the first byte again, for another try. False: it is not all there any more. */
bool body_rewind(struct xio *io);

/* ---- sending the request (forward.c) ---- */

/* Path and query as they are sent. p == NULL: the arena's cap. */
struct str forward_target(struct exchange *x);

/* Writes the HTTP/1 head for io->target into w->scratch. Its length, 0: it does not fit. */
size_t forward_head(struct xio *io, int64_t content_length, bool chunked);
/* Its fields alone, for protocols with other first lines: no Host, Connection, Upgrade or Transfer-Encoding. */
void forward_fields(struct head_out *o, struct xio *io, int64_t content_length);
/* "name:port" as the upstream is asked for it. */
struct str forward_authority(struct xio *io);

/* The client's address behind a trusted proxy. */
void forward_real_ip(struct exchange *x);

/* ---- answering (respond.c) ---- */

/* Errors of the engine: as the reference's nginx level answers them. */
void respond_failure(struct exchange *x, unsigned status, const char *message);

/* Writes the response's HTTP/1 head into w->scratch; sets the framing. Its length, 0: it does not fit. */
size_t respond_head(struct xio *io);
/* Its fields alone: no status line, Connection, Upgrade or Transfer-Encoding; sets the framing, too. */
void respond_fields(struct head_out *o, struct xio *io);

/* The fields of an interim response (x->resp) that go on: none of one hop, none that frames a body. */
void respond_interim_fields(struct head_out *o, const struct exchange *x);

const char *status_text(unsigned status);

#endif
