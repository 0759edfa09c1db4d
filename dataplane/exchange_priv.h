/* exchange_priv.h - what the files of the state machine share. Private to exchange*.c. */
#ifndef DATAPLANE_EXCHANGE_PRIV_H
#define DATAPLANE_EXCHANGE_PRIV_H

#include "dataplane/xio.h"

/* One function per state: does what can be done now. STEP_GO: the state has changed. */
#define X(state, to) enum step in_##state(struct xio *io);
#include "dataplane/exchange_states.def"
#undef X

/* The only writer of the state. STEP_GO, so that `return step_go(...)` reads well. */
enum step step_go(struct xio *io, enum xstate to);
/* Answers as respond_failure and goes to ANSWER. */
enum step step_fail(struct xio *io, unsigned status, const char *message);

/* ---- exchange_in.c ---- */

/* For codecs: x->req is filled, c->at stands behind the head; or it is not to be understood. */
enum step exchange_head_complete(struct xio *io);
enum step exchange_head_bad(struct xio *io, const struct parse_error *why);

/* Says 100 when the client waits for it, and reads on. False: the client is gone. */
bool body_ask(struct xio *io);

/* ---- exchange_up.c ---- */

enum pump {
    PUMP_OK,         /* as far as it goes now; what it waits for will call exchange_run() */
    PUMP_BROKEN,     /* the upstream takes no more */
    PUMP_CLIENT_BAD, /* the client broke its framing: io->body_bad is the status */
    PUMP_GONE,       /* the client has gone: touch nothing, return STEP_WAIT */
};

/* Moves the request up as far as it goes. */
enum pump up_pump(struct xio *io);
/* The upstream has so long to do something; a timeout of 0 or less is a minute. */
void up_wait(struct xio *io, int64_t timeout_ms);
/*
 * A connection failed before any byte of a response: closes it, then to PICK for another try if the
 * request may be sent again (RFC 9110 section 9.2.2) and tries are left, else to ANSWER with status.
 */
enum step up_failed_try(struct xio *io, unsigned status);
/*
 * Gives the upstream's connection back when its response is complete and it may be kept, else closes
 * it. Its buffer goes along: nobody may look at x->resp afterwards that came in it.
 */
void up_release(struct xio *io);

/* ---- exchange_down.c ---- */

/* 1: all written, 0: the client has to make room, -1: it is gone. */
int down_flush(struct xio *io);
/* Header filters, then the head into the queue. False: it does not fit. */
bool down_queue_head(struct xio *io);
/* Body filters, then a piece into the queue. False: not what Content-Length promised. */
bool down_queue_piece(struct xio *io, struct str piece, bool last);

/* ---- exchange_stream.c ---- */

/* Both heads are done, or there are none: to TUNNEL. */
enum step tunnel_begin(struct xio *io);
/* The PROXY header that the service wants; "": none. p NULL: the arena's cap. */
struct str up_greeting(struct xio *io);

#endif
