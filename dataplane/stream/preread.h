/*
 * stream/preread.h - looks at what a connection begins with and leaves it in the socket, so that
 * whoever it turns out to be for finds it whole; and the PROXY header, which is taken.
 *
 * A part that is incomplete stays readable: SO_RCVLOWAT keeps the loop from being told of it
 * again and again. Threads: the worker's own. Nothing blocks.
 */
#ifndef DATAPLANE_STREAM_PREREAD_H
#define DATAPLANE_STREAM_PREREAD_H

#include "dataplane/conn.h"

enum peek {
    PEEK_MORE, /* *in is more than last time */
    PEEK_WAIT, /* nothing has come */
    PEEK_END,  /* and nothing more will */
};

/* All that has come, max bytes at most, in the worker's scratch. */
enum peek preread_peek(struct conn *c, size_t max, struct str *in);

/* Readable again when `need` bytes are there. More than there were. */
void preread_await(struct conn *c, size_t need);

/* The socket is as any other again. */
void preread_over(struct conn *c);

/* Kills c, which will not be served; counted under cause. */
void preread_refuse(struct conn *c, const char *cause);

/* Takes a PROXY header, then conn_begin(c). */
void preread_proxy(struct conn *c);

#endif
