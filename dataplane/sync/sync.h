/*
 * sync.h - keeps this data plane's configuration equal to the control plane's.
 *
 * One thread: starts from the snapshot cache on disk, connects (and reconnects for ever,
 * with jitter, trying the control planes in turn), verifies what comes by version and hash,
 * hands it to the configuration compiler (the sink), and tells the control plane what is
 * active. Nothing here is on the path of a request, and no failure here stops one.
 */
#ifndef DATAPLANE_SYNC_SYNC_H
#define DATAPLANE_SYNC_SYNC_H

#include "common/uuid.h"
#include "proto/record.h"

struct sync;

/*
 * records: a list as in proto/record.h, borrowed for the call: a whole configuration when
 * full, else what turns the last applied version into this one. Compiles and hands over to
 * the workers. Returns 0 then; -1 with e when it cannot, and nothing has changed: e->path
 * may begin with "TYPE.ID" of the entity at fault ("routes.6f0e..."). Called on the sync
 * thread, one at a time, and before sync_start returns for the snapshot from disk.
 */
struct sync_sink {
    void *arg;
    int (*apply)(void *arg, bool full, struct str records, uint64_t version, struct err *e);
};

struct sync_options {
    const char *control_planes; /* URLs, commas: "tls+tcp://host:8005", "ipc:///path" */
    const char *ca_file, *cert_file, *key_file; /* PEM; only needed with tls */
    struct uuid node_id;        /* stable over restarts */
    const char *const *labels;  /* "key:value" */
    size_t n_labels;
    const char *hostname;
    const char *build;          /* "" or a build id */
    const char *data_dir;       /* snapshot cache; NULL: none */

    /* 0 takes the default behind it */
    unsigned heartbeat_ms;      /* 5000 */
    unsigned backoff_min_ms;    /* 100 */
    unsigned backoff_max_ms;    /* 10000 */
    unsigned cache_ms;          /* 1000; the cache is written at most this often */
};

struct sync_state {
    bool connected;
    bool from_cache;            /* what is applied came from disk, nothing newer yet */
    char control_plane[256];    /* the URL in use or last tried */
    struct uuid cluster;
    uint64_t epoch;
    uint64_t version;           /* applied: compiled and handed over */
    uint64_t active_version;    /* as reported by the workers */
    struct state_hash hash;
    uint64_t head_version;      /* newest the control plane told of */
    uint64_t saved_version;     /* what a restart would find on disk; 0: nothing */
    uint64_t deltas, fulls, rejected, reconnects;
    uint64_t failed_attempts;   /* since the last welcome */
    char last_error[512];       /* "" when the last thing went well */
};

/*
 * Loads the cache (a damaged one is put aside as .bad and logged, not an error), applies
 * it, then starts the thread. Blocks on the disk and in apply. Errors: certificates that
 * cannot be read, a control plane URL that is none.
 */
int sync_start(const struct sync_options *opt, const struct sync_sink *sink, struct sync **out,
               struct err *e) WEIR_MUSTCHECK;
void sync_stop(struct sync **s); /* writes what the cache lacks */

/* Every worker serves `version` now; compile_us is what making it cost. Any thread. */
void sync_report_active(struct sync *s, uint64_t version, uint32_t compile_us);

/* Reads the certificate files again; the next connection uses them. Any thread. */
int sync_reload_certificates(struct sync *s, struct err *e) WEIR_MUSTCHECK;

void sync_state(struct sync *s, struct sync_state *out); /* any thread */

#endif
