/* store_priv.h - what the files of this folder (and its tests) share. */
#ifndef CONTROLPLANE_STORE_STORE_PRIV_H
#define CONTROLPLANE_STORE_STORE_PRIV_H

#include <pthread.h>

#include "controlplane/store.h"
#include "controlplane/store/db.h"
#include "controlplane/store/layout.h"

#define READERS_MAX      8      /* connections that read at the same time; more wait */
#define BATCH_MAX        256    /* jobs that share a disk transaction */
#define CHANGE_LOG_ROWS  100000 /* kept for deltas */
#define CHANGE_LOG_SLACK 256    /* and so many more before it is trimmed */

struct reader {
    struct db db;
    struct reader *next;
};

struct store {
    char *path;
    int lock_fd; /* holds the file against other processes */
    struct layout *layout;
    uint64_t log_rows_max;

    pthread_mutex_t lock; /* guards what follows, up to the next blank line */
    pthread_cond_t work;  /* the queue grew, or stop */
    struct store_job *head, **tail;
    bool stop;
    struct store_info info;
    void (*on_commit)(void *arg, uint64_t version);
    void *on_commit_arg;

    pthread_mutex_t readers_lock;
    pthread_cond_t reader_free;
    struct reader *readers; /* idle ones */
    unsigned n_readers;     /* idle and busy */

    pthread_t writer; /* the rest is its alone */
    struct db db;
    uint64_t log_rows;
    int64_t next_expiry;    /* wall clock, s; INT64_MAX: nothing expires */
    uint64_t sweep_mono_us; /* no sweep before */
};

/* store_open for another set of entities or a shorter log. */
struct store_options {
    const struct entity *const *entities;
    uint64_t log_rows_max;
};
int store_open_with(const char *path, const struct store_options *o, struct store **out,
                    struct err *e) WEIR_MUSTCHECK;

/* One job's view of the writer's transaction. */
struct txn {
    struct store *s;
    uint64_t version; /* the one it makes, if it changes anything */
    struct state_hash hash;
    uint64_t n_changes;
    int64_t next_expiry;
};

/* p in the words of a database failure. Returns -1. */
int problem_db(struct problem *p, const struct err *e);

int64_t wall_s(void);

/* store.c: connections for reading. NULL with e. */
struct reader *reader_take(struct store *s, struct err *e) WEIR_MUSTCHECK;
void reader_give(struct store *s, struct reader *r);

/* migrate.c: brings the file up to date and reads meta, all in one transaction. */
int migrate(struct store *s, struct err *e) WEIR_MUSTCHECK;

/* feed.c: version and hash, on any connection; the writer stores them with the rows. */
int meta_read(struct db *db, struct store_info *out, uint64_t *log_start_out,
              struct err *e) WEIR_MUSTCHECK;
int meta_write(struct db *db, const struct store_info *info, struct err *e) WEIR_MUSTCHECK;

/* read.c: the reading calls on any connection, now being what time it is. */
int read_get(struct db *db, const struct table *t, const struct row_ref *ref, json_t **doc_out,
             struct problem *p) WEIR_MUSTCHECK;
int read_page(struct db *db, const struct table *t, const struct page_query *q, json_t **rows_out,
              char **offset_out, struct problem *p) WEIR_MUSTCHECK;

/* offset.c: where a page ends, as opaque text. parts and *offset_out are malloc'd. */
char *offset_text(const json_t *parts);
int offset_parse(struct str text, json_t **parts_out, struct problem *p) WEIR_MUSTCHECK;
int offset_bad(struct problem *p, struct str text, const char *why);

/* txn.c */
int txn_sweep(struct txn *t, struct problem *p) WEIR_MUSTCHECK; /* deletes some expired rows */
int txn_next_expiry(struct store *s, int64_t *out, struct err *e) WEIR_MUSTCHECK;

#endif
