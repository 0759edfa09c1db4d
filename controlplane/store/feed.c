/*
 * feed.c - what data planes are given: the difference between two versions, or a whole one.
 * Each is read inside one read transaction, so that its records, version and hash agree.
 */
#include "controlplane/store/store_priv.h"

#include <stdlib.h>

int meta_read(struct db *db, struct store_info *out, uint64_t *log_start_out, struct err *e)
{
    sqlite3_stmt *st =
        db_stmt(db, "SELECT cluster, epoch, version, state_hash, log_start FROM meta", e);
    struct str hash;
    int rc = st ? db_step(db, st, e) : -1;

    if (rc == 1) {
        out->epoch = (uint64_t)sqlite3_column_int64(st, 1);
        out->version = (uint64_t)sqlite3_column_int64(st, 2);
        hash = column_str(st, 3);
        *log_start_out = (uint64_t)sqlite3_column_int64(st, 4);
        if (!column_uuid(st, 0, &out->cluster) || hash.len != 32)
            rc = 0;
        else
            state_hash_from_bytes(&out->hash, (const unsigned char *)hash.p);
    }
    db_done(st);
    if (rc == 0)
        return err_set(e, ERR_INVALID, "damaged database: table meta, expected its one row");
    return rc < 0 ? -1 : 0;
}

int meta_write(struct db *db, const struct store_info *info, struct err *e)
{
    sqlite3_stmt *st = db_stmt(db, "UPDATE meta SET version = ?1, state_hash = ?2", e);
    unsigned char hash[32];

    if (!st)
        return -1;
    state_hash_bytes(&info->hash, hash);
    sqlite3_bind_int64(st, 1, (int64_t)info->version);
    bind_blob(st, 2, str_n((const char *)hash, sizeof(hash)));
    return db_run(db, st, e);
}

/* ---- one consistent read ---- */

static struct reader *read_begin(struct store *s, struct store_info *info, uint64_t *log_start,
                                 struct err *e)
{
    struct reader *r = reader_take(s, e);

    if (!r)
        return NULL;
    if (db_exec(&r->db, "BEGIN", e) == 0) {
        if (meta_read(&r->db, info, log_start, e) == 0)
            return r;
        sqlite3_exec(r->db.h, "ROLLBACK", NULL, NULL, NULL);
    }
    reader_give(s, r);
    return NULL;
}

static void read_end(struct store *s, struct reader *r)
{
    /* Nothing was written: there is nothing to lose in a failure. */
    sqlite3_exec(r->db.h, "COMMIT", NULL, NULL, NULL);
    reader_give(s, r);
}

/* ---- delta ---- */

struct change {
    struct uuid id;
    uint8_t type, op;
};

/* The last change of each entity after from. */
static int read_changes(struct db *db, uint64_t from, struct sbuf *changes, struct err *e)
{
    /* SQLite takes the bare column op from the row that max() found */
    sqlite3_stmt *st = db_stmt(db,
                               "SELECT type, id, op, max(n) FROM change WHERE ver > ?1 "
                               "GROUP BY type, id",
                               e);
    struct change c = {{{0}}, 0, 0};
    int rc;

    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, (int64_t)from);
    while ((rc = db_step(db, st, e)) == 1) {
        c.type = (uint8_t)sqlite3_column_int(st, 0);
        c.op = (uint8_t)sqlite3_column_int(st, 2);
        if (!column_uuid(st, 1, &c.id)) {
            rc = err_set(e, ERR_INVALID, "damaged row of change, expected an id of 16 bytes");
            break;
        }
        sbuf_add(changes, &c, sizeof(c));
    }
    db_done(st);
    return rc;
}

static int append_put(struct db *db, const struct table *t, const struct uuid *id, struct sbuf *out,
                      struct err *e)
{
    struct record r = {.op = REC_PUT, .type = t->ent->type, .key = *id};
    sqlite3_stmt *st = db_stmt(db, t->sql_body, e);
    int rc;

    if (!st)
        return -1;
    bind_uuid(st, 1, id);
    rc = db_step(db, st, e);
    if (rc == 1) {
        r.body = column_str(st, 0);
        if (r.body.len > RECORD_BODY_MAX)
            rc = err_set(e, ERR_INVALID, "%s: damaged row", t->ent->name);
        else
            record_append(out, &r);
    }
    db_done(st);
    if (rc == 0)
        return err_set(e, ERR_INVALID, "damaged database: %s lacks a row of the change log",
                       t->ent->name);
    return rc < 0 ? -1 : 0;
}

/* The changes of one table with one operation. */
static int append_changes(struct db *db, const struct table *t, enum record_op op,
                          const struct sbuf *changes, struct sbuf *out, struct err *e)
{
    struct change c;

    for (size_t at = 0; at < changes->len; at += sizeof(c)) {
        memcpy(&c, changes->p + at, sizeof(c));
        if (c.type != t->ent->type || c.op != op)
            continue;
        if (op == REC_DELETE)
            record_append(out, &(struct record){REC_DELETE, c.type, c.id, STR_NONE});
        else if (append_put(db, t, &c.id, out, e) != 0)
            return -1;
    }
    return 0;
}

static int append_delta(struct store *s, struct db *db, uint64_t from, struct sbuf *out,
                        struct err *e)
{
    struct layout *l = s->layout;
    struct sbuf changes = {0};
    int rc = read_changes(db, from, &changes, e);

    for (size_t i = l->n; rc == 0 && i-- > 0;)
        rc = append_changes(db, &l->tables[i], REC_DELETE, &changes, out, e);
    for (size_t i = 0; rc == 0 && i < l->n; i++)
        rc = append_changes(db, &l->tables[i], REC_PUT, &changes, out, e);
    sbuf_free(&changes);
    return rc;
}

int store_delta(struct store *s, uint64_t from, struct sbuf *out, uint64_t *to_out,
                struct state_hash *hash_out, struct err *e)
{
    struct store_info info = {0};
    uint64_t log_start = 0;
    struct reader *r = read_begin(s, &info, &log_start, e);
    size_t len = out->len;
    int rc = 1;

    if (!r)
        return -1;
    if (from < log_start || from > info.version)
        rc = 0;
    else if (from < info.version && append_delta(s, &r->db, from, out, e) != 0)
        rc = -1;
    read_end(s, r);
    if (rc == 1) {
        *to_out = info.version;
        *hash_out = info.hash;
    } else if (out->p) {
        out->len = len; /* nothing half-done */
        out->p[len] = '\0';
    }
    return rc;
}

/* ---- snapshot ---- */

struct pieces {
    size_t bytes;
    int (*each)(void *arg, struct str records, bool last);
    void *arg;
    struct sbuf buf;
};

static int add_record(struct pieces *to, const struct record *r, struct err *e)
{
    size_t size = r->body.len + 32;

    if (to->buf.len && to->buf.len + size > to->bytes) {
        if (to->each(to->arg, sbuf_str(&to->buf), false) != 0)
            return err_set(e, ERR_CLOSED, "the reader of the snapshot ended it");
        sbuf_clear(&to->buf);
    }
    record_append(&to->buf, r);
    return 0;
}

static int add_table(struct db *db, const struct table *t, struct pieces *to, struct err *e)
{
    sqlite3_stmt *st = db_stmt(db, t->sql_bodies, e);
    struct record r = {.op = REC_PUT, .type = t->ent->type};
    int rc;

    if (!st)
        return -1;
    while ((rc = db_step(db, st, e)) == 1) {
        r.body = column_str(st, 1);
        if (!column_uuid(st, 0, &r.key) || r.body.len > RECORD_BODY_MAX)
            rc = err_set(e, ERR_INVALID, "%s: damaged row", t->ent->name);
        else
            rc = add_record(to, &r, e);
        if (rc != 0)
            break;
    }
    db_done(st);
    return rc;
}

int store_snapshot(struct store *s, size_t piece_bytes,
                   int (*each)(void *arg, struct str records, bool last), void *arg,
                   uint64_t *version_out, struct state_hash *hash_out, struct err *e)
{
    struct pieces to = {piece_bytes, each, arg, {0}};
    struct store_info info = {0};
    uint64_t log_start = 0;
    struct reader *r = read_begin(s, &info, &log_start, e);
    int rc = 0;

    if (!r)
        return -1;
    *version_out = info.version; /* known before the first piece: its reader may want them */
    *hash_out = info.hash;
    for (size_t i = 0; rc == 0 && i < s->layout->n; i++)
        rc = add_table(&r->db, &s->layout->tables[i], &to, e);
    read_end(s, r);
    if (rc == 0 && each(arg, sbuf_str(&to.buf), true) != 0)
        rc = err_set(e, ERR_CLOSED, "the reader of the snapshot ended it");
    sbuf_free(&to.buf);
    return rc;
}
