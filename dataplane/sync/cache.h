/*
 * cache.h - the last good configuration on disk, so that a data plane serves after a restart
 * with no control plane about.
 *
 * DATA_DIR/snapshot.weir    one whole configuration, replaced atomically
 * DATA_DIR/snapshot.journal deltas since, appended: small changes to a large configuration
 *                           cost their own size. Bound to its snapshot by checksum; past
 *                           half of the snapshot's size both become a new snapshot.
 *
 * Everything carries SHA-256. A torn end of the journal is dropped; a damaged snapshot is
 * put aside as snapshot.weir.bad. Writing happens on a thread of the cache's own, at most
 * once per interval. Threads: one caller.
 */
#ifndef DATAPLANE_SYNC_CACHE_H
#define DATAPLANE_SYNC_CACHE_H

#include "common/uuid.h"
#include "dataplane/sync/records.h"

struct cache;

struct cache_state {
    struct uuid cluster;
    uint64_t epoch, version;
    struct state_hash hash;
};

/* Starts the writer. Touches no file yet. */
struct cache *cache_open(const char *data_dir, unsigned interval_ms);
void cache_close(struct cache **c); /* writes what is left */

/*
 * Reads what is there. 1: *records_out (the caller's) is the state *out. 0: nothing usable;
 * what was damaged has been logged and put aside.
 */
int cache_load(struct cache *c, struct cache_state *out, struct records **records_out);

/* From here on this is the configuration. takes list. */
void cache_put_full(struct cache *c, const struct cache_state *state, struct sbuf *list);

/* The delta that led to state from version `from`. Copies list. */
void cache_put_delta(struct cache *c, const struct cache_state *state, uint64_t from,
                     struct str list);

/* The journal has grown large: cache_put_full is welcome. */
bool cache_wants_full(struct cache *c);

/* The version that a restart would find on disk; 0: none. Any thread. */
uint64_t cache_saved_version(struct cache *c);

/* Waits until all that was put is on disk: tests. */
void cache_flush(struct cache *c);

#endif
