/*
 * records.h - the configuration a data plane holds, as the records it came in: what the next
 * delta is checked against, and what the cache on disk is written from.
 *
 * A change is tried, checked, then kept or taken back:
 *
 *     records_try(r, delta, &undo, &e)      // r is the new state now
 *     if (wrong hash, or the compiler refuses)
 *         records_undo(r, &undo);           // r is the old state again
 *     else
 *         records_keep(&undo);
 *
 * Bodies are held once. Threads: one.
 */
#ifndef DATAPLANE_SYNC_RECORDS_H
#define DATAPLANE_SYNC_RECORDS_H

#include "proto/record.h"

struct records;

struct records *records_new(void);
void records_free(struct records **r);

size_t records_count(const struct records *r);
const struct state_hash *records_hash(const struct records *r);

struct records_undo {
    struct records_change *changes;
    size_t n, cap;
    struct state_hash hash;
};

/* Applies a list. -1 with e: not a list of records, nothing has changed. */
int records_try(struct records *r, struct str list, struct records_undo *undo,
                struct err *e) WEIR_MUSTCHECK;
void records_undo(struct records *r, struct records_undo *undo);
void records_keep(struct records_undo *undo);

/* Appends all of it to out, in the order the entities first came. */
void records_write(const struct records *r, struct sbuf *out);

#endif
