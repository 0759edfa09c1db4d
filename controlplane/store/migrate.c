/*
 * migrate.c - brings a database file to this program's form, in one transaction at open.
 *
 * The tables of entities follow the field tables by themselves: a new entity is a new table,
 * a new field a new column, noted in field_column under its wire number. All else is a
 * numbered step below. A file that knows a step, an entity or a field this program does not
 * was written by a newer one, and is refused: this program would lose what it cannot see.
 */
#include "controlplane/store/row.h"
#include "controlplane/store/store_priv.h"

#include <stdio.h>
#include <stdlib.h>

#define REWRITE_ROWS 1000 /* rows held in memory while a new field's default is filled in */

/* Step n brings user_version n to n + 1. Never changed once released. */
static const char *const steps[] = {
    /* 0: what is not an entity */
    "CREATE TABLE meta(one INTEGER PRIMARY KEY CHECK(one = 1), cluster BLOB NOT NULL,"
    "  epoch INTEGER NOT NULL, version INTEGER NOT NULL, state_hash BLOB NOT NULL,"
    "  log_start INTEGER NOT NULL);" /* change reaches back to the version after this one */
    "CREATE TABLE change(n INTEGER PRIMARY KEY, ver INTEGER NOT NULL, type INTEGER NOT NULL,"
    "  id BLOB NOT NULL, op INTEGER NOT NULL, ts INTEGER NOT NULL);"
    "CREATE INDEX change_ver ON change(ver);"
    "CREATE TABLE entity_tag(tag TEXT NOT NULL, type INTEGER NOT NULL, id BLOB NOT NULL,"
    "  PRIMARY KEY(tag, type, id)) WITHOUT ROWID;"
    "CREATE TABLE field_column(entity TEXT NOT NULL, field TEXT NOT NULL, num INTEGER NOT NULL,"
    "  PRIMARY KEY(entity, field)) WITHOUT ROWID;",
};

/* ---- steps ---- */

static int make_meta(struct db *db, struct err *e)
{
    static const char zero_hash[32];
    struct uuid cluster = uuid_v4();
    sqlite3_stmt *st = db_stmt(db, "INSERT OR IGNORE INTO meta VALUES(1, ?1, 1, 0, ?2, 0)", e);

    if (!st)
        return -1;
    bind_uuid(st, 1, &cluster);
    bind_blob(st, 2, str_n(zero_hash, sizeof(zero_hash)));
    return db_run(db, st, e);
}

static int run_steps(struct db *db, struct err *e)
{
    const int64_t known = (int64_t)ARRAY_LEN(steps);
    char pragma[64];
    int64_t at;

    if (db_int(db, "PRAGMA user_version", 0, &at, e) != 0)
        return -1;
    if (at > known)
        return err_set(e, ERR_INVALID,
                       "the database has form %lld, written by a newer weir-cp; this one expected "
                       "at most %lld",
                       (long long)at, (long long)known);
    if (at == known)
        return 0;
    for (; at < known; at++)
        if (db_exec(db, steps[at], e) != 0)
            return -1;
    snprintf(pragma, sizeof(pragma), "PRAGMA user_version = %lld", (long long)known);
    if (db_exec(db, pragma, e) != 0)
        return -1;
    return make_meta(db, e);
}

/* ---- tables of entities ---- */

static const struct field *field_numbered(const struct entity *ent, int num)
{
    for (const struct field *f = ent->fields; f->name; f++)
        if (f->num == num)
            return f;
    return NULL;
}

/* Is this column of the file one that this program knows? */
static int check_known(const struct layout *l, const char *entity, const char *name, int num,
                       struct err *e)
{
    const struct table *t = NULL;
    const struct field *f;

    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->tables[i].ent->name, entity) == 0)
            t = &l->tables[i];
    f = t ? field_numbered(t->ent, num) : NULL;
    if (!f)
        return err_set(e, ERR_INVALID,
                       "the database has field %s.%s (number %d), which this weir-cp does not "
                       "know: it was written by a newer one",
                       entity, name, num);
    if (!(f->flags & FF_RETIRED) && strcmp(f->name, name) != 0)
        return err_set(e, ERR_INTERNAL,
                       "field number %d of %s is %s here and %s in the database, expected one name",
                       num, entity, f->name, name);
    return 0;
}

static int check_columns(struct db *db, const struct layout *l, struct err *e)
{
    sqlite3_stmt *st = db_stmt(db, "SELECT entity, field, num FROM field_column", e);
    int rc;

    if (!st)
        return -1;
    while ((rc = db_step(db, st, e)) == 1) {
        const char *entity = (const char *)sqlite3_column_text(st, 0);
        const char *field = (const char *)sqlite3_column_text(st, 1);

        if (check_known(l, entity, field, sqlite3_column_int(st, 2), e) != 0) {
            rc = -1;
            break;
        }
    }
    db_done(st);
    return rc;
}

/* 1: field_column has the column of this number. */
static int has_column(struct db *db, const struct table *t, const struct column *c, struct err *e)
{
    sqlite3_stmt *st =
        db_stmt(db, "SELECT 1 FROM field_column WHERE entity = ?1 AND field = ?2", e);
    int rc;

    if (!st)
        return -1;
    bind_str(st, 1, str_of(t->ent->name));
    bind_str(st, 2, str_of(c->field->name));
    rc = db_step(db, st, e);
    db_done(st);
    return rc;
}

static int note_column(struct db *db, const struct table *t, const struct column *c, struct err *e)
{
    sqlite3_stmt *st = db_stmt(db, "INSERT INTO field_column VALUES(?1, ?2, ?3)", e);

    if (!st)
        return -1;
    bind_str(st, 1, str_of(t->ent->name));
    bind_str(st, 2, str_of(c->field->name));
    sqlite3_bind_int(st, 3, c->field->num);
    return db_run(db, st, e);
}

/* 1: the table was there before. */
static int has_table(struct db *db, const struct table *t, struct err *e)
{
    sqlite3_stmt *st =
        db_stmt(db, "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1", e);
    int rc;

    if (!st)
        return -1;
    bind_str(st, 1, str_of(t->ent->name));
    rc = db_step(db, st, e);
    db_done(st);
    return rc;
}

/*
 * Makes the table or the columns it lacks. added_out: object of field name to default, for
 * the columns that were added to a table with rows.
 */
static int make_table(struct db *db, const struct table *t, json_t *added, struct err *e)
{
    struct sbuf ddl = {0};
    int old = has_table(db, t, e), rc = old < 0 ? -1 : 0;

    if (old == 0)
        table_ddl(t, &ddl);
    for (size_t i = 0; rc == 0 && i < t->n_columns; i++) {
        const struct column *c = &t->columns[i];
        int there = has_column(db, t, c, e);

        if (there == 1)
            continue;
        rc = there < 0 ? -1 : note_column(db, t, c, e);
        if (old == 0)
            continue;
        sbuf_addf(&ddl, "ALTER TABLE \"%s\" ADD COLUMN ", t->ent->name);
        column_ddl(c, &ddl);
        sbuf_adds(&ddl, ";\n");
        if (c->field->dflt)
            json_object_set_new(added, c->field->name,
                                json_loads(c->field->dflt, JSON_DECODE_ANY, NULL));
    }
    table_index_ddl(t, &ddl);
    if (rc == 0)
        rc = db_exec(db, sbuf_str(&ddl).p, e);
    sbuf_free(&ddl);
    return rc;
}

/* ---- defaults of new fields, as an ordinary version ---- */

static int rewrite_page(struct txn *t, const struct table *table, json_t *rows, json_t *added,
                        struct problem *p)
{
    json_t *row;
    size_t i;

    json_array_foreach(rows, i, row)
    {
        json_object_update_missing(row, added);
        if (txn_replace(t, table->ent, row, p) != 0)
            return -1;
    }
    return 0;
}

static int rewrite_table(struct txn *t, const struct table *table, json_t *added, struct err *e)
{
    struct page_query q = {.size = REWRITE_ROWS};
    struct problem p = {0};
    char *offset = NULL;
    int rc;

    do {
        char *from = offset;
        json_t *rows = NULL;

        q.offset = str_of(from);
        rc = read_page(&t->s->db, table, &q, &rows, &offset, &p);
        free(from);
        if (rc == 0)
            rc = rewrite_page(t, table, rows, added, &p);
        json_decref(rows);
    } while (rc == 0 && offset);
    free(offset);
    if (rc != 0)
        err_set(e, ERR_INTERNAL, "filling in new fields of %s: %s", table->ent->name, p.message);
    problem_free(&p);
    return rc;
}

static int make_tables(struct store *s, struct txn *t, struct err *e)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < s->layout->n; i++) {
        json_t *added = json_object();

        rc = make_table(&s->db, &s->layout->tables[i], added, e);
        if (rc == 0 && json_object_size(added))
            rc = rewrite_table(t, &s->layout->tables[i], added, e);
        json_decref(added);
    }
    return rc;
}

/* ---- all of it ---- */

static int migrate_inside(struct store *s, struct err *e)
{
    struct txn t = {.s = s, .next_expiry = INT64_MAX};
    uint64_t log_start;

    if (run_steps(&s->db, e) != 0 || check_columns(&s->db, s->layout, e) != 0 ||
        meta_read(&s->db, &s->info, &log_start, e) != 0)
        return -1;
    t.version = s->info.version + 1;
    t.hash = s->info.hash;
    if (make_tables(s, &t, e) != 0)
        return -1;
    if (t.n_changes) {
        s->info.version = t.version;
        s->info.hash = t.hash;
        return meta_write(&s->db, &s->info, e);
    }
    return 0;
}

int migrate(struct store *s, struct err *e)
{
    int64_t rows;

    if (db_exec(&s->db, "BEGIN IMMEDIATE", e) != 0)
        return -1;
    if (migrate_inside(s, e) != 0 || db_exec(&s->db, "COMMIT", e) != 0) {
        sqlite3_exec(s->db.h, "ROLLBACK", NULL, NULL, NULL); /* e says why */
        return -1;
    }
    if (db_int(&s->db, "SELECT count(*) FROM change", 0, &rows, e) != 0)
        return -1;
    s->log_rows = (uint64_t)rows;
    return txn_next_expiry(s, &s->next_expiry, e);
}
