/*
 * txn.c - changing rows. What the database would refuse is found before, by asking, because
 * its own answer could not name the key; its constraints stand behind as a net.
 */
#include "controlplane/store/row.h"
#include "controlplane/store/store_priv.h"

#include <stdlib.h>

#define SWEEP_ROWS 500 /* expired rows of one entity in one version: other writes wait for it */

static const struct table *table_of(const struct txn *t, const struct entity *ent)
{
    const struct table *table = layout_table(t->s->layout, ent->type);

    WEIR_ASSERT(table);
    return table;
}

/* ---- problems ---- */

static int primary_key_invalid(struct problem *p)
{
    return problem_set(p, PROBLEM_PRIMARY_KEY_INVALID,
                       json_pack("{s:s}", "id", "expected a valid UUID"),
                       "invalid primary key: '{id=\"expected a valid UUID\"}'");
}

/* takes key */
static int key_problem(struct problem *p, enum problem_kind kind, const char *fmt, json_t *key)
{
    char *text = problem_key(key);

    problem_set(p, kind, key, fmt, text);
    free(text);
    return -1;
}

static int unique_problem(struct problem *p, json_t *key)
{
    return key_problem(p, PROBLEM_UNIQUE, "UNIQUE violation detected on '%s'", key);
}

static int foreign_problem(struct problem *p, const struct column *c, const struct uuid *id)
{
    json_t *key = uuid_key(id);
    char *text = problem_key(key);

    problem_set(p, PROBLEM_FOREIGN_KEY, json_pack("{s:o}", c->field->name, key),
                "the foreign key '%s' does not reference an existing '%s' entity.", text,
                c->parent->ent->name);
    free(text);
    return -1;
}

static int referenced_problem(struct problem *p, const struct table *t, const struct table *child)
{
    return problem_set(
        p, PROBLEM_FOREIGN_KEY, json_pack("{s:s}", "@referenced_by", child->ent->name),
        "an existing '%s' entity references this '%s' entity", child->ent->name, t->ent->name);
}

/* ---- bookkeeping of one change ---- */

enum change_op { CHANGE_PUT = REC_PUT, CHANGE_DELETE = REC_DELETE };

static int log_change(struct txn *t, const struct table *table, const struct uuid *id,
                      enum change_op op, struct err *e)
{
    struct db *db = &t->s->db;
    sqlite3_stmt *st = db_stmt(db,
                               "INSERT INTO change(ver, type, id, op, ts) "
                               "VALUES(?1, ?2, ?3, ?4, ?5)",
                               e);

    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, (int64_t)t->version);
    sqlite3_bind_int(st, 2, table->ent->type);
    bind_uuid(st, 3, id);
    sqlite3_bind_int(st, 4, (int)op);
    sqlite3_bind_int64(st, 5, wall_s());
    if (db_run(db, st, e) != 0)
        return -1;
    t->n_changes++;
    return 0;
}

static int write_tags(struct txn *t, const struct table *table, const struct uuid *id,
                      const json_t *tags, bool add, struct err *e)
{
    struct db *db = &t->s->db;
    const char *sql = add ? "INSERT OR IGNORE INTO entity_tag(tag, type, id) VALUES(?1, ?2, ?3)"
                          : "DELETE FROM entity_tag WHERE tag = ?1 AND type = ?2 AND id = ?3";

    for (size_t i = 0; i < json_array_size(tags); i++) {
        sqlite3_stmt *st = db_stmt(db, sql, e);

        if (!st)
            return -1;
        bind_str(st, 1, json_str(json_array_get(tags, i)));
        sqlite3_bind_int(st, 2, table->ent->type);
        bind_uuid(st, 3, id);
        if (db_run(db, st, e) != 0)
            return -1;
    }
    return 0;
}

/* What a row held: 1, 0 when there is none, -1. body and *tags_out are the caller's. */
static int stored(struct txn *t, const struct table *table, const struct uuid *id,
                  struct sbuf *body, json_t **tags_out, struct err *e)
{
    struct db *db = &t->s->db;
    sqlite3_stmt *st = db_stmt(db, table->sql_stored, e);
    struct str tags;
    int rc;

    *tags_out = NULL;
    if (!st)
        return -1;
    bind_uuid(st, 1, id);
    rc = db_step(db, st, e);
    if (rc == 1) {
        sbuf_addstr(body, column_str(st, 0));
        tags = column_str(st, 1);
        if (tags.p)
            *tags_out = json_loadb(tags.p, tags.len, 0, NULL);
    }
    db_done(st);
    return rc;
}

/* ---- questions before a write ---- */

static int exists(struct txn *t, const struct table *table, const struct uuid *id, struct err *e)
{
    struct db *db = &t->s->db;
    sqlite3_stmt *st = db_stmt(db, table->sql_exists, e);
    int rc;

    if (!st)
        return -1;
    bind_uuid(st, 1, id);
    rc = db_step(db, st, e);
    db_done(st);
    return rc;
}

/*
 * Runs a question for the id of a row, its parameters bound. 1: another row than self has
 * what was asked for. An expired row is not in the way: it goes now instead of at the sweep.
 */
static int taken(struct txn *t, const struct table *table, sqlite3_stmt *st,
                 const struct uuid *self, struct problem *p)
{
    struct row_ref ref = {0};
    json_t *doc = NULL;
    struct err e = {0};
    int rc = db_step(&t->s->db, st, &e);

    if (rc == 1 && !column_uuid(st, 0, &ref.id))
        rc = err_set(&e, ERR_INVALID, "%s: damaged row, expected an id", table->ent->name);
    db_done(st);
    if (rc < 0)
        return problem_db(p, &e);
    if (rc == 0 || uuid_eq(&ref.id, self))
        return 0;
    if (!table->expires)
        return 1;
    rc = read_get(&t->s->db, table, &ref, &doc, p); /* does not see expired rows */
    json_decref(doc);
    if (rc != 0)
        return rc;
    return txn_delete(t, table->ent, &ref.id, p) < 0 ? -1 : 0;
}

static int check_unique_fields(struct txn *t, const struct table *table, const json_t *doc,
                               const struct uuid *id, struct problem *p)
{
    struct err e = {0};

    for (size_t i = 0; i < table->n_columns; i++) {
        const struct column *c = &table->columns[i];
        json_t *v = json_object_get(doc, c->field->name);
        sqlite3_stmt *st;
        int rc;

        if (!c->sql_taken || !v || json_is_null(v))
            continue;
        st = db_stmt(&t->s->db, c->sql_taken, &e);
        if (!st || row_bind_column(st, 1, c, doc, &e) != 0) {
            db_done(st);
            return problem_db(p, &e);
        }
        rc = taken(t, table, st, id, p);
        if (rc == 1)
            return unique_problem(p, json_pack("{s:O}", c->field->name, v));
        if (rc < 0)
            return -1;
    }
    return 0;
}

static int check_key(struct txn *t, const struct table *table, const json_t *doc,
                     const struct uuid *id, struct problem *p)
{
    struct err e = {0};
    sqlite3_stmt *st;
    json_t *key;
    int i = 1, rc;

    if (!table->key)
        return 0;
    st = db_stmt(&t->s->db, table->sql_key_taken, &e);
    if (!st)
        return problem_db(p, &e);
    for (const char *const *k = table->key; *k; k++) {
        if (row_bind_column(st, i++, table_column(table, *k), doc, &e) != 0) {
            db_done(st);
            return problem_db(p, &e);
        }
    }
    rc = taken(t, table, st, id, p);
    if (rc != 1)
        return rc;
    key = json_object();
    for (const char *const *k = table->key; *k; k++) {
        json_t *v = json_object_get(doc, *k);

        if (v)
            json_object_set(key, *k, v);
        else
            json_object_set_new(key, *k, json_null());
    }
    return unique_problem(p, key);
}

static int check_foreign(struct txn *t, const struct table *table, const json_t *doc,
                         struct problem *p)
{
    struct err e = {0};

    for (size_t i = 0; i < table->n_columns; i++) {
        const struct column *c = &table->columns[i];
        struct uuid id;
        int rc;

        if (c->kind != COL_FOREIGN || !doc_id(json_object_get(doc, c->field->name), &id))
            continue;
        rc = exists(t, c->parent, &id, &e);
        if (rc < 0)
            return problem_db(p, &e);
        if (rc == 0)
            return foreign_problem(p, c, &id);
    }
    return 0;
}

static int check_row(struct txn *t, const struct table *table, const json_t *doc,
                     const struct uuid *id, struct problem *p)
{
    if (check_unique_fields(t, table, doc, id, p) != 0 || check_key(t, table, doc, id, p) != 0)
        return -1;
    return check_foreign(t, table, doc, p);
}

/* ---- writing ---- */

int txn_get(struct txn *t, const struct entity *ent, const struct row_ref *ref, json_t **doc_out,
            struct problem *p)
{
    return read_get(&t->s->db, table_of(t, ent), ref, doc_out, p);
}

int txn_page(struct txn *t, const struct entity *ent, const struct page_query *q, json_t **rows_out,
             char **offset_out, struct problem *p)
{
    return read_page(&t->s->db, table_of(t, ent), q, rows_out, offset_out, p);
}

static int encode(const struct table *table, const json_t *doc, struct sbuf *body,
                  struct problem *p)
{
    struct err e = {0};

    if (record_encode(table->ent, doc, body, &e) != 0)
        return problem_db(p, &e);
    if (body->len > RECORD_BODY_MAX)
        return problem_set(p, PROBLEM_SCHEMA,
                           json_pack("{s:[s]}", "@entity", "the entity is too large"),
                           "schema violation (the entity is too large: %zu bytes, expected at "
                           "most %u)",
                           body->len, RECORD_BODY_MAX);
    return 0;
}

static int write_row(struct txn *t, const struct table *table, const char *sql, const json_t *doc,
                     const struct uuid *id, struct str body, struct err *e)
{
    struct db *db = &t->s->db;
    const json_t *expires = json_object_get(doc, "expires_at");
    sqlite3_stmt *st = db_stmt(db, sql, e);

    if (!st)
        return -1;
    bind_uuid(st, 1, id);
    bind_blob(st, 2, body);
    if (row_bind(st, 3, table, doc, e) != 0) {
        db_done(st);
        return -1;
    }
    if (db_run(db, st, e) != 0)
        return -1;
    if (table->expires && json_is_integer(expires) && json_integer_value(expires) < t->next_expiry)
        t->next_expiry = json_integer_value(expires);
    if (write_tags(t, table, id, json_object_get(doc, "tags"), true, e) != 0)
        return -1;
    state_hash_add(&t->hash, table->ent->type, id, body);
    return log_change(t, table, id, CHANGE_PUT, e);
}

int txn_insert(struct txn *t, const struct entity *ent, const json_t *doc, struct problem *p)
{
    const struct table *table = table_of(t, ent);
    struct sbuf body = {0};
    struct err e = {0};
    struct uuid id;
    int rc;

    if (!doc_id(doc, &id))
        return primary_key_invalid(p);
    rc = exists(t, table, &id, &e);
    if (rc < 0)
        return problem_db(p, &e);
    if (rc == 1)
        return key_problem(p, PROBLEM_PRIMARY_KEY, "primary key violation on key '%s'",
                           uuid_key(&id));
    if (check_row(t, table, doc, &id, p) != 0)
        return -1;
    rc = encode(table, doc, &body, p);
    if (rc == 0 && write_row(t, table, table->sql_insert, doc, &id, sbuf_str(&body), &e) != 0)
        rc = problem_db(p, &e);
    sbuf_free(&body);
    return rc;
}

static int replace_row(struct txn *t, const struct table *table, const json_t *doc,
                       const struct uuid *id, struct str old, const json_t *old_tags,
                       struct problem *p)
{
    struct sbuf body = {0};
    struct err e = {0};
    int rc;

    if (check_row(t, table, doc, id, p) != 0)
        return -1;
    rc = encode(table, doc, &body, p);
    if (rc == 0) {
        state_hash_sub(&t->hash, table->ent->type, id, old);
        if (write_tags(t, table, id, old_tags, false, &e) != 0 ||
            write_row(t, table, table->sql_update, doc, id, sbuf_str(&body), &e) != 0)
            rc = problem_db(p, &e);
    }
    sbuf_free(&body);
    return rc;
}

int txn_replace(struct txn *t, const struct entity *ent, const json_t *doc, struct problem *p)
{
    const struct table *table = table_of(t, ent);
    struct sbuf old = {0};
    json_t *old_tags;
    struct err e = {0};
    struct uuid id;
    int rc;

    if (!doc_id(doc, &id))
        return primary_key_invalid(p);
    rc = stored(t, table, &id, &old, &old_tags, &e);
    if (rc < 0)
        rc = problem_db(p, &e);
    else if (rc == 0)
        rc = problem_not_found(p, uuid_key(&id));
    else
        rc = replace_row(t, table, doc, &id, sbuf_str(&old), old_tags, p);
    json_decref(old_tags);
    sbuf_free(&old);
    return rc;
}

/* ---- deleting ---- */

static int delete_row(struct txn *t, const struct table *table, const struct uuid *id,
                      struct problem *p);

/* ids of the rows of a child table that name id; *ids_out is the caller's. */
static int child_ids(struct txn *t, const char *sql, const struct uuid *id, struct sbuf *ids,
                     struct err *e)
{
    struct db *db = &t->s->db;
    sqlite3_stmt *st = db_stmt(db, sql, e);
    struct uuid child;
    int rc;

    if (!st)
        return -1;
    bind_uuid(st, 1, id);
    while ((rc = db_step(db, st, e)) == 1) {
        if (!column_uuid(st, 0, &child)) {
            rc = err_set(e, ERR_INVALID, "damaged row, expected an id of 16 bytes");
            break;
        }
        sbuf_add(ids, &child, sizeof(child));
    }
    db_done(st);
    return rc;
}

static int delete_children(struct txn *t, const struct table *table, const struct child *child,
                           const struct uuid *id, struct problem *p)
{
    struct sbuf ids = {0};
    struct err e = {0};
    int rc = child_ids(t, child->sql_ids, id, &ids, &e);

    if (rc < 0)
        rc = problem_db(p, &e);
    else if (ids.len && child->on_delete == FK_RESTRICT)
        rc = referenced_problem(p, table, child->table);
    for (size_t at = 0; rc >= 0 && at < ids.len; at += sizeof(struct uuid)) {
        struct uuid child_id;

        memcpy(&child_id, ids.p + at, sizeof(child_id));
        rc = delete_row(t, child->table, &child_id, p);
    }
    sbuf_free(&ids);
    return rc < 0 ? -1 : 0;
}

static int remove_row(struct txn *t, const struct table *table, const struct uuid *id,
                      struct str old, const json_t *old_tags, struct err *e)
{
    struct db *db = &t->s->db;
    sqlite3_stmt *st;

    if (write_tags(t, table, id, old_tags, false, e) != 0)
        return -1;
    st = db_stmt(db, table->sql_delete, e);
    if (!st)
        return -1;
    bind_uuid(st, 1, id);
    if (db_run(db, st, e) != 0)
        return -1;
    state_hash_sub(&t->hash, table->ent->type, id, old);
    return log_change(t, table, id, CHANGE_DELETE, e);
}

/* 1, or 0 when it was not there: a sibling's cascade may have been faster. */
static int delete_row(struct txn *t, const struct table *table, const struct uuid *id,
                      struct problem *p)
{
    struct sbuf old = {0};
    json_t *old_tags;
    struct err e = {0};
    int rc = stored(t, table, id, &old, &old_tags, &e);

    if (rc < 0)
        problem_db(p, &e);
    for (size_t i = 0; rc == 1 && i < table->n_children; i++)
        if (delete_children(t, table, &table->children[i], id, p) != 0)
            rc = -1;
    if (rc == 1 && remove_row(t, table, id, sbuf_str(&old), old_tags, &e) != 0)
        rc = problem_db(p, &e);
    json_decref(old_tags);
    sbuf_free(&old);
    return rc;
}

/*
 * A cascade may meet a refusal halfway; the savepoint takes back what it did, so that a job
 * may answer the problem and go on.
 */
int txn_delete(struct txn *t, const struct entity *ent, const struct uuid *id, struct problem *p)
{
    struct txn before = *t;
    struct db *db = &t->s->db;
    struct err e = {0};
    int rc;

    if (db_exec(db, "SAVEPOINT cascade", &e) != 0)
        return problem_db(p, &e);
    rc = delete_row(t, table_of(t, ent), id, p);
    if (rc >= 0) {
        if (db_exec(db, "RELEASE cascade", &e) != 0)
            return problem_db(p, &e);
        return rc;
    }
    *t = before;
    if (db_exec(db, "ROLLBACK TO cascade; RELEASE cascade", &e) != 0)
        problem_db(p, &e); /* the transaction is gone; the writer notices */
    return -1;
}

/* ---- rows with an end ---- */

int txn_next_expiry(struct store *s, int64_t *out, struct err *e)
{
    *out = INT64_MAX;
    for (size_t i = 0; i < s->layout->n; i++) {
        int64_t at;

        if (!s->layout->tables[i].expires)
            continue;
        if (db_int(&s->db, s->layout->tables[i].sql_expiry, INT64_MAX, &at, e) != 0)
            return -1;
        if (at < *out)
            *out = at;
    }
    return 0;
}

static int sweep_table(struct txn *t, const struct table *table, struct problem *p)
{
    struct db *db = &t->s->db;
    struct sbuf ids = {0};
    struct err e = {0};
    sqlite3_stmt *st = db_stmt(db, table->sql_expired, &e);
    struct uuid id;
    int rc;

    if (!st)
        return problem_db(p, &e);
    sqlite3_bind_int64(st, 1, wall_s());
    sqlite3_bind_int(st, 2, SWEEP_ROWS);
    while ((rc = db_step(db, st, &e)) == 1)
        if (column_uuid(st, 0, &id))
            sbuf_add(&ids, &id, sizeof(id));
    db_done(st);
    if (rc < 0)
        problem_db(p, &e);
    for (size_t at = 0; rc >= 0 && at < ids.len; at += sizeof(id)) {
        memcpy(&id, ids.p + at, sizeof(id));
        rc = txn_delete(t, table->ent, &id, p);
    }
    sbuf_free(&ids);
    return rc < 0 ? -1 : 0;
}

int txn_sweep(struct txn *t, struct problem *p)
{
    struct err e = {0};

    for (size_t i = 0; i < t->s->layout->n; i++)
        if (t->s->layout->tables[i].expires && sweep_table(t, &t->s->layout->tables[i], p) != 0)
            return -1;
    if (txn_next_expiry(t->s, &t->next_expiry, &e) != 0)
        return problem_db(p, &e);
    return 0;
}
