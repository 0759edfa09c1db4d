/*
 * store.h - what the control plane remembers: entities, their versions, the change log.
 *
 * One admin write is one transaction is one version. A write that was acknowledged is on
 * disk: kill -9 and power loss do not take it back. Versions only grow; the state hash
 * (proto/record.h) names what a version holds.
 *
 *     struct change_job j = {.run = put_route, ...};
 *     store_submit(store, &j.job);       // any thread; done() comes on the writer's thread
 *
 * One writer thread owns the writing connection and commits whatever has queued up as one
 * disk transaction, each job in a savepoint of its own: jobs fail alone, and a burst of
 * writes costs one fsync. Reads run on the caller's thread on a connection of their own,
 * and see every write that was acknowledged before they began.
 *
 * The tables are derived from the field tables (common/entities/): a column per field, real
 * foreign keys, unique indexes; plus the packed record body of each row. SQLite is known to
 * store/ alone, so that another database can stand behind this header.
 */
#ifndef CONTROLPLANE_STORE_H
#define CONTROLPLANE_STORE_H

#include "common/entities.h"
#include "proto/record.h"

struct store;
struct txn;

/* ---- what a write can end with ---- */

/* kind, code, HTTP status, name: the reference's table (admin-api.md section 7) */
#define PROBLEM_KINDS(X)                                                                           \
    X(PROBLEM_PRIMARY_KEY_INVALID, 1, 400, "invalid primary key")                                  \
    X(PROBLEM_SCHEMA, 2, 400, "schema violation")                                                  \
    X(PROBLEM_PRIMARY_KEY, 3, 400, "primary key violation")                                        \
    X(PROBLEM_FOREIGN_KEY, 4, 400, "foreign key violation")                                        \
    X(PROBLEM_UNIQUE, 5, 409, "unique constraint violation")                                       \
    X(PROBLEM_NOT_FOUND, 6, 404, "not found")                                                      \
    X(PROBLEM_OFFSET, 7, 400, "invalid offset")                                                    \
    X(PROBLEM_DATABASE, 8, 500, "database error")                                                  \
    X(PROBLEM_SIZE, 9, 400, "invalid size")                                                        \
    X(PROBLEM_UNIQUE_INVALID, 10, 400, "invalid unique %s")                                        \
    X(PROBLEM_OPTIONS, 11, 400, "invalid options")                                                 \
    X(PROBLEM_UNSUPPORTED, 12, 405, "operation unsupported")                                       \
    X(PROBLEM_FOREIGN_UNRESOLVED, 13, 400, "foreign keys unresolved")                              \
    X(PROBLEM_DECLARATIVE, 14, 400, "invalid declarative configuration")                           \
    X(PROBLEM_REFERENCED, 19, 400, "referenced by others")

enum problem_kind {
    PROBLEM_NONE,
#define X(kind, code, status, name) kind,
    PROBLEM_KINDS(X)
#undef X
};

struct problem {
    enum problem_kind kind;
    char *message;  /* malloc; what the client reads */
    json_t *fields; /* object or NULL */
};
void problem_free(struct problem *p); /* leaves {0} */

/* Fills p and returns -1. takes fields. */
int problem_set(struct problem *p, enum problem_kind kind, json_t *fields, const char *fmt, ...) WEIR_PRINTF(4, 5);

/* From what schema_insert or _update reported; empties v. Returns -1. */
int problem_from_violations(struct problem *p, struct violations *v);

/* No such row: key is {"id": ".."} or {"name": ".."}; takes it. Returns -1. */
int problem_not_found(struct problem *p, json_t *key);

/* How messages print a key: {id=".."}, members by name; the caller's. */
char *problem_key(const json_t *key);

/*
 * problem_body is {"code","name","message","fields"}, the caller's. The only member of the
 * fields of a PROBLEM_UNIQUE_INVALID names the field; PROBLEM_DATABASE tells a client nothing,
 * its message is for the log.
 */
int problem_status(const struct problem *p);
json_t *problem_body(const struct problem *p);

/* ---- life ---- */

struct store_info {
    struct uuid cluster;   /* made with the database */
    uint64_t epoch;        /* grows when a backup is restored: data planes refuse older ones */
    uint64_t version;      /* of the last commit */
    struct state_hash hash;
};

/*
 * Opens or creates the database file at path (DIR/weir.db), runs the migrations, starts the
 * writer. Blocks on the disk. e names the file and what was expected. The file belongs to
 * one process at a time; a second one is refused.
 */
int store_open(const char *path, struct store **out, struct err *e) WEIR_MUSTCHECK;
void store_close(struct store **s); /* finishes what is queued */
struct store_info store_info(struct store *s); /* any thread, no disk */

/* Checks that the database answers: GET /status. */
bool store_reachable(struct store *s);

/* ---- reading ---- */

/*
 * How a path names a row: by id, or by the value of a unique field; parent narrows it to
 * rows whose foreign field names that parent.
 */
struct row_ref {
    struct uuid id;            /* not nil: by id */
    const char *by;            /* else: field name */
    struct str value;
    const char *parent_field;  /* NULL: any */
    struct uuid parent;
};

/*
 * 1: *doc_out is the caller's. 0: not there. -1: p. Expired rows are not there. Documents
 * have no member for a null field.
 */
int store_get(struct store *s, const struct entity *ent, const struct row_ref *ref, json_t **doc_out,
              struct problem *p) WEIR_MUSTCHECK;

struct page_query {
    size_t size;              /* rows at most */
    struct str offset;        /* as a former page gave it; p == NULL: the first page */
    const char *parent_field; /* NULL: all */
    struct uuid parent;
    const struct str *tags;   /* filter; n_tags 0: none */
    size_t n_tags;
    bool tags_all;            /* AND, else OR */
    bool newest_first;        /* targets: by created_at, else by id */
};

/* *rows_out: JSON array of documents; *offset_out: malloc, NULL on the last page. */
int store_page(struct store *s, const struct entity *ent, const struct page_query *q, json_t **rows_out,
               char **offset_out, struct problem *p) WEIR_MUSTCHECK;

/* Rows {"entity_name","entity_id","tag"}; tag.p == NULL: all tags. As store_page. */
int store_tags(struct store *s, struct str tag, const struct page_query *q, json_t **rows_out,
               char **offset_out, struct problem *p) WEIR_MUSTCHECK;

/* ---- writing ---- */

/*
 * A unit of work. run is called on the writer's thread inside a transaction; returning -1
 * (with p) undoes all it did. done comes on the same thread after the commit has reached the
 * disk, or after the failure; ok tells which, version is the one the job made (0 if it
 * changed nothing). The job is the caller's and must live until done.
 */
struct store_job {
    int (*run)(struct store_job *job, struct txn *t, struct problem *p);
    void (*done)(struct store_job *job, bool ok, uint64_t version);
    struct problem problem;
    struct store_job *next; /* the store's */
};
void store_submit(struct store *s, struct store_job *job);

/* As store_submit, and waits: for tools and tests. Returns 0 or -1 with job->problem. */
int store_run(struct store *s, struct store_job *job);

/* Inside run. Documents are as schema_insert or schema_update made them. */
int txn_get(struct txn *t, const struct entity *ent, const struct row_ref *ref, json_t **doc_out,
            struct problem *p) WEIR_MUSTCHECK;
int txn_page(struct txn *t, const struct entity *ent, const struct page_query *q, json_t **rows_out,
             char **offset_out, struct problem *p) WEIR_MUSTCHECK;
int txn_insert(struct txn *t, const struct entity *ent, const json_t *doc, struct problem *p) WEIR_MUSTCHECK;
int txn_replace(struct txn *t, const struct entity *ent, const json_t *doc, struct problem *p) WEIR_MUSTCHECK; /* row with doc's id exists */

/* Deletes the row and what cascades (each a change of its own). 1, 0 when it was not there, -1. */
int txn_delete(struct txn *t, const struct entity *ent, const struct uuid *id, struct problem *p) WEIR_MUSTCHECK;

/* ---- what changed (publisher) ---- */

/* Called on the writer's thread after each commit; must not block. One listener. */
void store_on_commit(struct store *s, void (*fn)(void *arg, uint64_t version), void *arg);

/*
 * Appends to out the records that turn version `from` into *to_out, coalesced: of each
 * entity only its last state. Deletions come first, children before parents, then what was
 * put, parents before children; an entity that came and went since is deleted all the same,
 * though the receiver never had it. Returns 1; 0 when the log no longer reaches back to from (take
 * a snapshot); -1 with e. One consistent read.
 */
int store_delta(struct store *s, uint64_t from, struct sbuf *out, uint64_t *to_out,
                struct state_hash *hash_out, struct err *e) WEIR_MUSTCHECK;

/*
 * Calls each with every record of one version, parents before children, in pieces of whole
 * records of about piece_bytes. One consistent read. A callback that returns -1 ends it.
 * *version_out and *hash_out are set before the first call.
 */
int store_snapshot(struct store *s, size_t piece_bytes,
                   int (*each)(void *arg, struct str records, bool last), void *arg,
                   uint64_t *version_out, struct state_hash *hash_out, struct err *e) WEIR_MUSTCHECK;

#endif
