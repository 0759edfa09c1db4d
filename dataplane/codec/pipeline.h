/*
 * pipeline.h - HTTP/1 requests that a client sends without waiting for answers.
 *
 * RFC 9112 section 9.3.2 lets a server work on pipelined requests at once while their methods
 * are safe, if the answers leave in order. So behind a safe request that waits for its upstream
 * the next ones begin, each with a struct conn of its own (a slot of the line), and what they
 * answer is held until their turn: then it leaves in one write. Anything else (another method,
 * a body, an upgrade) waits until the line is empty.
 *
 *      c  | its own exchange |  slot 0  |  slot 1  | ...     one socket, one order
 *           writes directly    held       held
 */
#ifndef DATAPLANE_CODEC_PIPELINE_H
#define DATAPLANE_CODEC_PIPELINE_H

#include "dataplane/conn.h"

/* c's exchange waits and there are bytes behind its request: begins what may begin. */
void pipeline_feed(struct conn *c);

/* Bytes or the end have arrived on c, which has a line and no exchange of its own. */
void pipeline_readable(struct conn *c);

/* The exchange in front of the line is over: the line's turn. */
void pipeline_turn(struct conn *c);

/* The exchange of a slot is over and taken off its conn. */
void pipeline_slot_done(struct conn *slot, bool keep_alive);

/* Others follow c's exchange in a line: it should not be the one that says close. */
bool pipeline_goes_on(const struct conn *c);

/* The connection has ended. */
void pipeline_drop(struct conn *c);

/* Writes what has been answered. At the quiet point. */
void pipeline_flush(struct worker *w);

#endif
