/* read.c - rows by key, pages of rows, tags: on a reader's connection or the writer's. */
#include "controlplane/store/row.h"
#include "controlplane/store/store_priv.h"

#include <stdlib.h>

/* ---- a query under construction: its text and its parameters, in the same order ---- */

#define PARAMS_MAX 24

struct param {
    enum { PARAM_INT, PARAM_UUID, PARAM_STR } kind;
    int64_t i;
    struct uuid id;
    struct str s;
};

struct query {
    struct sbuf sql;
    struct param params[PARAMS_MAX];
    int n;
};

static void add_param(struct query *q, struct param v)
{
    WEIR_ASSERT(q->n < PARAMS_MAX);
    q->params[q->n++] = v;
}

static void param_int(struct query *q, int64_t i)
{
    add_param(q, (struct param){.kind = PARAM_INT, .i = i});
}

static void param_uuid(struct query *q, const struct uuid *id)
{
    add_param(q, (struct param){.kind = PARAM_UUID, .id = *id});
}

static void param_str(struct query *q, struct str s)
{
    add_param(q, (struct param){.kind = PARAM_STR, .s = s});
}

static void bind_all(sqlite3_stmt *st, const struct query *q)
{
    for (int i = 0; i < q->n; i++) {
        const struct param *v = &q->params[i];

        switch (v->kind) {
        case PARAM_INT: sqlite3_bind_int64(st, i + 1, v->i); break;
        case PARAM_UUID: bind_uuid(st, i + 1, &v->id); break;
        case PARAM_STR: bind_str(st, i + 1, v->s); break;
        }
    }
}

static void where_alive(struct query *q, const struct table *t)
{
    if (!t->expires)
        return;
    sbuf_adds(&q->sql, " AND (expires_at IS NULL OR expires_at > ?)");
    param_int(q, wall_s());
}

static void where_parent(struct query *q, const struct table *t, const char *field,
                         const struct uuid *parent)
{
    const struct column *c;

    if (!field)
        return;
    c = table_column(t, field);
    WEIR_ASSERT(c && c->kind == COL_FOREIGN);
    sbuf_addf(&q->sql, " AND \"%s\" = ?", field);
    param_uuid(q, parent);
}

/* ---- one row ---- */

static void query_get(struct query *q, const struct table *t, const struct row_ref *ref)
{
    sbuf_addf(&q->sql, "SELECT %s FROM \"%s\" WHERE ", t->columns_text, t->ent->name);
    if (!uuid_is_nil(&ref->id) || !ref->by) {
        sbuf_adds(&q->sql, "id = ?");
        param_uuid(q, &ref->id);
    } else {
        const struct column *c = table_column(t, ref->by);

        WEIR_ASSERT(c && c->kind == COL_TEXT);
        sbuf_addf(&q->sql, "\"%s\" = ?", ref->by);
        param_str(q, ref->value);
    }
    where_parent(q, t, ref->parent_field, &ref->parent);
    where_alive(q, t);
}

int read_get(struct db *db, const struct table *t, const struct row_ref *ref, json_t **doc_out,
             struct problem *p)
{
    struct query q = {.n = 0};
    struct err e = {0};
    sqlite3_stmt *st;
    int rc = -1;

    *doc_out = NULL;
    query_get(&q, t, ref);
    st = db_stmt(db, q.sql.p, &e);
    if (st) {
        bind_all(st, &q);
        rc = db_step(db, st, &e);
        if (rc == 1) {
            *doc_out = row_doc(st, 0, t, &e);
            rc = *doc_out ? 1 : -1;
        }
        db_done(st);
    }
    sbuf_free(&q.sql);
    return rc < 0 ? problem_db(p, &e) : rc;
}

/* ---- pages ---- */

/* A page ends after so many rows, or by the last row's id. */
struct cursor {
    bool set;
    uint64_t skip;
    struct uuid after;
};

static int cursor_parse(const struct page_query *q, struct cursor *c, struct problem *p)
{
    json_t *parts;

    *c = (struct cursor){.set = q->offset.p != NULL};
    if (!c->set)
        return 0;
    if (q->newest_first) {
        if (!str_to_u64(q->offset, &c->skip) || c->skip > INT64_MAX)
            return offset_bad(p, q->offset, "expected a number");
        return 0;
    }
    if (offset_parse(q->offset, &parts, p) != 0)
        return -1;
    if (!uuid_parse(json_str(json_array_get(parts, 0)), &c->after)) {
        json_decref(parts);
        return offset_bad(p, q->offset, "bad json encoding");
    }
    json_decref(parts);
    return 0;
}

static void where_tags(struct query *q, const struct table *t, const struct page_query *pq,
                       const struct cursor *c)
{
    size_t lists = pq->n_tags == 0 ? 0 : pq->tags_all ? pq->n_tags : 1;
    size_t per_list = pq->tags_all ? 1 : pq->n_tags;

    for (size_t i = 0; i < lists; i++) {
        sbuf_adds(&q->sql, " AND id IN (SELECT id FROM entity_tag WHERE type = ? AND tag IN (");
        param_int(q, t->ent->type);
        for (size_t k = 0; k < per_list; k++) {
            sbuf_adds(&q->sql, k ? ", ?" : "?");
            param_str(q, pq->tags[i + k]);
        }
        sbuf_adds(&q->sql, ")");
        if (c->set && !pq->newest_first) { /* else every page reads the whole tag */
            sbuf_adds(&q->sql, " AND id > ?");
            param_uuid(q, &c->after);
        }
        sbuf_adds(&q->sql, ")");
    }
}

static void query_page(struct query *q, const struct table *t, const struct page_query *pq,
                       const struct cursor *c)
{
    sbuf_addf(&q->sql, "SELECT %s FROM \"%s\" WHERE 1", t->columns_text, t->ent->name);
    where_parent(q, t, pq->parent_field, &pq->parent);
    where_tags(q, t, pq, c);
    where_alive(q, t);
    if (pq->newest_first) {
        sbuf_adds(&q->sql, " ORDER BY created_at DESC, id DESC LIMIT ? OFFSET ?");
        param_int(q, (int64_t)pq->size + 1);
        param_int(q, (int64_t)c->skip);
        return;
    }
    if (c->set) {
        sbuf_adds(&q->sql, " AND id > ?");
        param_uuid(q, &c->after);
    }
    sbuf_adds(&q->sql, " ORDER BY id LIMIT ?");
    param_int(q, (int64_t)pq->size + 1);
}

static char *page_end(const struct page_query *q, const struct cursor *c, const json_t *rows)
{
    size_t n = json_array_size(rows);
    struct sbuf out = {0};
    json_t *parts;
    char *text;

    if (q->newest_first) {
        sbuf_addf(&out, "%llu", (unsigned long long)c->skip + n);
        return sbuf_take(&out);
    }
    if (n == 0) /* a page of size 0 ends where it began */
        return q->offset.p ? str_dup(q->offset) : NULL;
    parts = json_pack("[O]", json_object_get(json_array_get(rows, n - 1), "id"));
    text = offset_text(parts);
    json_decref(parts);
    return text;
}

/* Up to size rows; *more says that there is one more. */
static int page_rows(struct db *db, sqlite3_stmt *st, const struct table *t, size_t size,
                     json_t *rows, bool *more, struct err *e)
{
    int rc;

    *more = false;
    while ((rc = db_step(db, st, e)) == 1) {
        json_t *doc;

        if (json_array_size(rows) == size) {
            *more = true;
            return 0;
        }
        doc = row_doc(st, 0, t, e);
        if (!doc)
            return -1;
        json_array_append_new(rows, doc);
    }
    return rc;
}

int read_page(struct db *db, const struct table *t, const struct page_query *pq, json_t **rows_out,
              char **offset_out, struct problem *p)
{
    struct query q = {.n = 0};
    struct cursor c;
    struct err e = {0};
    json_t *rows;
    sqlite3_stmt *st;
    bool more = false;
    int rc = -1;

    *rows_out = NULL;
    *offset_out = NULL;
    if (cursor_parse(pq, &c, p) != 0)
        return -1;
    rows = json_array();
    query_page(&q, t, pq, &c);
    st = db_stmt_once(db, q.sql.p, &e);
    if (st) {
        bind_all(st, &q);
        rc = page_rows(db, st, t, pq->size, rows, &more, &e);
        sqlite3_finalize(st);
    }
    sbuf_free(&q.sql);
    if (rc != 0) {
        json_decref(rows);
        return problem_db(p, &e);
    }
    if (more)
        *offset_out = page_end(pq, &c, rows);
    *rows_out = rows;
    return 0;
}

/* ---- tags ---- */

/*
 * The rows of one tag come by entity id, and such a page's offset is the last id, with the
 * entity's name when the next row has the same id. All tags come by tag; their offset adds it.
 */
struct tag_cursor {
    bool set;
    struct uuid id;
    unsigned type; /* ET_MAX + 1: after every row of that id */
    struct str tag;
};

static int tag_cursor_parse(const struct store *s, const struct page_query *q, bool one_tag,
                            struct tag_cursor *c, json_t **parts_out, struct problem *p)
{
    const char *name, *tag;
    json_t *parts;
    size_t n;

    *c = (struct tag_cursor){.set = q->offset.p != NULL, .type = ET_MAX + 1};
    *parts_out = NULL;
    if (!c->set)
        return 0;
    if (offset_parse(q->offset, &parts, p) != 0)
        return -1;
    *parts_out = parts; /* the tag borrows from it */
    n = json_array_size(parts);
    name = json_string_value(json_array_get(parts, 1));
    tag = json_string_value(json_array_get(parts, 2));
    if (!uuid_parse(json_str(json_array_get(parts, 0)), &c->id) ||
        (n > 1 && !name) || (!one_tag && !tag))
        return offset_bad(p, q->offset, "bad json encoding");
    c->tag = str_of(tag);
    for (size_t i = 0; name && i < s->layout->n; i++)
        if (strcmp(s->layout->tables[i].ent->name, name) == 0)
            c->type = s->layout->tables[i].ent->type;
    return 0;
}

static void query_tags(struct query *q, struct str tag, const struct page_query *pq,
                       const struct tag_cursor *c)
{
    sbuf_adds(&q->sql, "SELECT tag, type, id FROM entity_tag WHERE 1");
    if (tag.p) {
        sbuf_adds(&q->sql, " AND tag = ?");
        param_str(q, tag);
        if (c->set) {
            sbuf_adds(&q->sql, " AND (id, type) > (?, ?)");
            param_uuid(q, &c->id);
            param_int(q, c->type);
        }
        sbuf_adds(&q->sql, " ORDER BY id, type LIMIT ?");
    } else {
        if (c->set) {
            sbuf_adds(&q->sql, " AND (tag, type, id) > (?, ?, ?)");
            param_str(q, c->tag);
            param_int(q, c->type);
            param_uuid(q, &c->id);
        }
        sbuf_adds(&q->sql, " ORDER BY tag, type, id LIMIT ?");
    }
    param_int(q, (int64_t)pq->size + 1);
}

static json_t *tag_row(struct store *s, sqlite3_stmt *st, struct err *e)
{
    const struct table *t = layout_table(s->layout, (unsigned)sqlite3_column_int(st, 1));
    struct str tag = column_str(st, 0);
    char text[UUID_TEXT_LEN + 1];
    struct uuid id;

    if (!t || !column_uuid(st, 2, &id)) {
        err_set(e, ERR_INVALID, "damaged row of entity_tag");
        return NULL;
    }
    uuid_format(&id, text);
    return json_pack("{s:s, s:s, s:s%}", "entity_name", t->ent->name, "entity_id", text, "tag",
                     tag.p, tag.len);
}

static char *tag_page_end(const json_t *last, const json_t *next, bool one_tag)
{
    json_t *id = json_object_get(last, "entity_id"), *parts = json_pack("[O]", id);
    char *text;

    if (!one_tag || json_equal(id, json_object_get(next, "entity_id")))
        json_array_append(parts, json_object_get(last, "entity_name"));
    if (!one_tag)
        json_array_append(parts, json_object_get(last, "tag"));
    text = offset_text(parts);
    json_decref(parts);
    return text;
}

static int tag_rows(struct store *s, struct db *db, struct query *q, json_t *rows, struct err *e)
{
    sqlite3_stmt *st = db_stmt(db, q->sql.p, e);
    int rc;

    if (!st)
        return -1;
    bind_all(st, q);
    while ((rc = db_step(db, st, e)) == 1) {
        json_t *row = tag_row(s, st, e);

        if (!row) {
            rc = -1;
            break;
        }
        json_array_append_new(rows, row);
    }
    db_done(st);
    return rc;
}

/* All rows are read, one more than the page has; that one only shapes the offset. */
static int read_tags(struct store *s, struct db *db, struct str tag, const struct page_query *pq,
                     json_t **rows_out, char **offset_out, struct problem *p)
{
    struct query q = {.n = 0};
    struct tag_cursor c;
    struct err e = {0};
    json_t *parts, *rows = json_array();
    int rc = tag_cursor_parse(s, pq, tag.p != NULL, &c, &parts, p);

    if (rc == 0) {
        query_tags(&q, tag, pq, &c);
        rc = tag_rows(s, db, &q, rows, &e);
        if (rc != 0)
            problem_db(p, &e);
    }
    if (rc == 0 && json_array_size(rows) > pq->size) {
        if (pq->size)
            *offset_out = tag_page_end(json_array_get(rows, pq->size - 1),
                                       json_array_get(rows, pq->size), tag.p != NULL);
        json_array_remove(rows, pq->size);
    }
    if (rc == 0)
        *rows_out = json_incref(rows);
    json_decref(rows);
    json_decref(parts);
    sbuf_free(&q.sql);
    return rc;
}

/* ---- on a reader's connection ---- */

static const struct table *table_of(const struct store *s, const struct entity *ent)
{
    const struct table *t = layout_table(s->layout, ent->type);

    WEIR_ASSERT(t);
    return t;
}

int store_get(struct store *s, const struct entity *ent, const struct row_ref *ref,
              json_t **doc_out, struct problem *p)
{
    struct err e = {0};
    struct reader *r = reader_take(s, &e);
    int rc;

    *doc_out = NULL;
    if (!r)
        return problem_db(p, &e);
    rc = read_get(&r->db, table_of(s, ent), ref, doc_out, p);
    reader_give(s, r);
    return rc;
}

int store_page(struct store *s, const struct entity *ent, const struct page_query *q,
               json_t **rows_out, char **offset_out, struct problem *p)
{
    struct err e = {0};
    struct reader *r = reader_take(s, &e);
    int rc;

    *rows_out = NULL;
    *offset_out = NULL;
    if (!r)
        return problem_db(p, &e);
    rc = read_page(&r->db, table_of(s, ent), q, rows_out, offset_out, p);
    reader_give(s, r);
    return rc;
}

int store_tags(struct store *s, struct str tag, const struct page_query *q, json_t **rows_out,
               char **offset_out, struct problem *p)
{
    struct err e = {0};
    struct reader *r = reader_take(s, &e);
    int rc;

    *rows_out = NULL;
    *offset_out = NULL;
    if (!r)
        return problem_db(p, &e);
    rc = read_tags(s, &r->db, tag, q, rows_out, offset_out, p);
    reader_give(s, r);
    return rc;
}
