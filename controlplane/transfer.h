/*
 * transfer.h - what goes to data planes in one piece of work: a delta or a full snapshot,
 * read from the store and encoded once, as frames that any number of peers share.
 * Threads: made on one, then handed to the publisher's, which alone counts references.
 */
#ifndef CONTROLPLANE_TRANSFER_H
#define CONTROLPLANE_TRANSFER_H

#include "controlplane/store.h"
#include "proto/frame.h"

#define TRANSFER_DELTA_MAX (64u * 1024u * 1024u) /* a larger delta is sent as a snapshot */

struct transfer {
    unsigned refs;
    bool full;
    uint64_t from, to; /* from: deltas */
    struct frame_buf **frames;
    size_t n, cap;
    struct transfer *next; /* the publisher's */
};

/*
 * 1: *out is a delta from `from` to the store's version of this moment. 0: there is none
 * (the log does not reach back, or it would be larger than a snapshot should be). -1: e.
 */
int transfer_delta(struct store *s, uint64_t from, struct transfer **out,
                   struct err *e) WEIR_MUSTCHECK;
int transfer_full(struct store *s, struct transfer **out, struct err *e) WEIR_MUSTCHECK;

void transfer_unref(struct transfer **t);

#endif
