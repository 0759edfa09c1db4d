/* layout.c - see layout.h. */
#include "controlplane/store/layout.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- columns ---- */

static bool is_column(const struct field *f)
{
    return !(f->flags & (FF_RETIRED | FF_TRANSIENT)) && strcmp(f->name, "id") != 0;
}

static enum column_kind kind_of(const struct field *f)
{
    switch (f->type) {
    case FT_STRING: return COL_TEXT;
    case FT_INTEGER: return COL_INTEGER;
    case FT_NUMBER: return COL_REAL;
    case FT_BOOLEAN: return COL_BOOLEAN;
    case FT_FOREIGN: return COL_FOREIGN;
    case FT_ARRAY:
    case FT_SET:
    case FT_MAP:
    case FT_RECORD:
    case FT_SUBRECORD: return COL_JSON;
    }
    WEIR_UNREACHABLE("field type");
}

static const struct table *table_named(const struct layout *l, const char *name)
{
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->tables[i].ent->name, name) == 0)
            return &l->tables[i];
    return NULL;
}

const struct table *layout_table(const struct layout *l, unsigned type)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->tables[i].ent->type == type)
            return &l->tables[i];
    return NULL;
}

const struct column *table_column(const struct table *t, const char *name)
{
    for (size_t i = 0; i < t->n_columns; i++)
        if (strcmp(t->columns[i].field->name, name) == 0)
            return &t->columns[i];
    return NULL;
}

static void find_columns(struct table *t)
{
    size_t n = 0;

    for (const struct field *f = t->ent->fields; f->name; f++)
        n += is_column(f);
    t->columns = xcalloc(n + 1, sizeof(*t->columns));
    for (const struct field *f = t->ent->fields; f->name; f++) {
        if (!is_column(f))
            continue;
        t->columns[t->n_columns++] = (struct column){.field = f, .kind = kind_of(f)};
        if (strcmp(f->name, "tags") == 0)
            t->tags = f;
    }
    t->key = t->ent->cache_key;
    if (t->key && !t->key[1] && table_column(t, t->key[0])->field->flags & FF_UNIQUE)
        t->key = NULL;
    t->expires = t->ent->has_ttl;
    WEIR_ASSERT(!t->expires || table_column(t, "expires_at"));
}

/* ---- definitions ---- */

void column_ddl(const struct column *c, struct sbuf *out)
{
    static const char *const types[] = {
        [COL_INTEGER] = "INTEGER", [COL_REAL] = "REAL",    [COL_BOOLEAN] = "INTEGER",
        [COL_TEXT] = "TEXT",       [COL_FOREIGN] = "BLOB", [COL_JSON] = "TEXT",
    };

    sbuf_addf(out, "\"%s\" %s", c->field->name, types[c->kind]);
    if (c->kind == COL_FOREIGN)
        sbuf_addf(out, " REFERENCES \"%s\"(id) ON DELETE %s", c->parent->ent->name,
                  c->field->on_delete == FK_CASCADE ? "CASCADE" : "RESTRICT");
}

void table_ddl(const struct table *t, struct sbuf *out)
{
    sbuf_addf(out, "CREATE TABLE \"%s\"(seq INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE",
              t->ent->name);
    for (size_t i = 0; i < t->n_columns; i++) {
        sbuf_adds(out, ", ");
        column_ddl(&t->columns[i], out);
    }
    sbuf_adds(out, ", pb BLOB NOT NULL);\n");
}

/* NULLs are alike in a composite key: the empty blob, which no column holds, stands for them. */
#define KEY_PART "coalesce(\"%s\", x'')"

void table_index_ddl(const struct table *t, struct sbuf *out)
{
    const char *name = t->ent->name;

    for (size_t i = 0; i < t->n_columns; i++) {
        const struct column *c = &t->columns[i];

        if (c->field->flags & FF_UNIQUE)
            sbuf_addf(out, "CREATE UNIQUE INDEX IF NOT EXISTS \"%s.%s\" ON \"%s\"(\"%s\");\n", name,
                      c->field->name, name, c->field->name);
        else if (c->kind == COL_FOREIGN) /* with id, so that a page comes in order */
            sbuf_addf(out, "CREATE INDEX IF NOT EXISTS \"%s.%s\" ON \"%s\"(\"%s\", id);\n", name,
                      c->field->name, name, c->field->name);
    }
    if (t->expires)
        sbuf_addf(out,
                  "CREATE INDEX IF NOT EXISTS \"%s.expires_at\" ON \"%s\"(expires_at) "
                  "WHERE expires_at IS NOT NULL;\n",
                  name, name);
    if (!t->key)
        return;
    sbuf_addf(out, "CREATE UNIQUE INDEX IF NOT EXISTS \"%s.cache_key\" ON \"%s\"(", name, name);
    for (const char *const *k = t->key; *k; k++)
        sbuf_addf(out, "%s" KEY_PART, k == t->key ? "" : ", ", *k);
    sbuf_adds(out, ");\n");
}

/* ---- statements ---- */

static char *text(const char *fmt, ...) WEIR_PRINTF(1, 2);
static char *text(const char *fmt, ...)
{
    va_list args;
    char *out;

    va_start(args, fmt);
    if (vasprintf(&out, fmt, args) < 0)
        WEIR_UNREACHABLE("memory is out");
    va_end(args);
    return out;
}

static char *sql_write(const struct table *t, bool insert)
{
    struct sbuf names = {0}, values = {0};
    char *out;

    for (size_t i = 0; i < t->n_columns; i++) {
        const char *name = t->columns[i].field->name;

        if (insert) {
            sbuf_addf(&names, ", \"%s\"", name);
            sbuf_addf(&values, ", ?%zu", i + 3);
        } else {
            sbuf_addf(&values, ", \"%s\" = ?%zu", name, i + 3);
        }
    }
    if (insert)
        out = text("INSERT INTO \"%s\"(id, pb%s) VALUES(?1, ?2%s)", t->ent->name,
                   sbuf_str(&names).p, sbuf_str(&values).p);
    else
        out = text("UPDATE \"%s\" SET pb = ?2%s WHERE id = ?1", t->ent->name, sbuf_str(&values).p);
    sbuf_free(&names);
    sbuf_free(&values);
    return out;
}

static char *sql_key_taken(const struct table *t)
{
    struct sbuf where = {0};
    size_t n = 1;
    char *out;

    if (!t->key)
        return NULL;
    for (const char *const *k = t->key; *k; k++, n++) {
        WEIR_ASSERT(table_column(t, *k));
        sbuf_addf(&where, "%s" KEY_PART " = coalesce(?%zu, x'')", n > 1 ? " AND " : "", *k, n);
    }
    out = text("SELECT id FROM \"%s\" WHERE %s", t->ent->name, where.p);
    sbuf_free(&where);
    return out;
}

static char *columns_text(const struct table *t)
{
    struct sbuf out = {0};

    sbuf_adds(&out, "id");
    for (size_t i = 0; i < t->n_columns; i++)
        sbuf_addf(&out, ", \"%s\"", t->columns[i].field->name);
    return sbuf_take(&out);
}

static void make_statements(struct table *t)
{
    const char *name = t->ent->name;

    t->columns_text = columns_text(t);
    t->sql_insert = sql_write(t, true);
    t->sql_update = sql_write(t, false);
    t->sql_delete = text("DELETE FROM \"%s\" WHERE id = ?1", name);
    t->sql_exists = text("SELECT 1 FROM \"%s\" WHERE id = ?1", name);
    t->sql_stored =
        text("SELECT pb, %s FROM \"%s\" WHERE id = ?1", t->tags ? "tags" : "NULL", name);
    t->sql_bodies = text("SELECT id, pb FROM \"%s\"", name);
    t->sql_body = text("SELECT pb FROM \"%s\" WHERE id = ?1", name);
    t->sql_key_taken = sql_key_taken(t);
    if (t->expires) {
        t->sql_expired = text("SELECT id FROM \"%s\" WHERE expires_at <= ?1 LIMIT ?2", name);
        t->sql_expiry = text("SELECT expires_at FROM \"%s\" WHERE expires_at IS NOT NULL "
                             "ORDER BY expires_at LIMIT 1",
                             name);
    }
    for (size_t i = 0; i < t->n_columns; i++)
        if (t->columns[i].field->flags & FF_UNIQUE)
            t->columns[i].sql_taken =
                text("SELECT id FROM \"%s\" WHERE \"%s\" = ?1", name, t->columns[i].field->name);
}

static void add_child(struct table *parent, const struct table *child, const struct field *f)
{
    parent->children =
        xrealloc(parent->children, (parent->n_children + 1) * sizeof(*parent->children));
    parent->children[parent->n_children++] = (struct child){
        .table = child,
        .on_delete = f->on_delete,
        .sql_ids = text("SELECT id FROM \"%s\" WHERE \"%s\" = ?1", child->ent->name, f->name),
    };
}

struct layout *layout_new(const struct entity *const *list)
{
    struct layout *l = xcalloc(1, sizeof(*l));

    while (list[l->n])
        l->n++;
    l->tables = xcalloc(l->n + 1, sizeof(*l->tables));
    for (size_t i = 0; i < l->n; i++) {
        l->tables[i].ent = list[i];
        find_columns(&l->tables[i]);
    }
    for (size_t i = 0; i < l->n; i++) {
        struct table *t = &l->tables[i];

        for (size_t c = 0; c < t->n_columns; c++) {
            struct column *col = &t->columns[c];
            const struct table *parent;

            if (col->kind != COL_FOREIGN)
                continue;
            parent = table_named(l, col->field->reference);
            WEIR_ASSERT(parent && parent < t); /* entities[] lists parents first */
            col->parent = parent;
            add_child(&l->tables[parent - l->tables], t, col->field);
        }
        make_statements(t);
    }
    return l;
}

void layout_free(struct layout **lp)
{
    struct layout *l = *lp;

    if (!l)
        return;
    for (size_t i = 0; i < l->n; i++) {
        struct table *t = &l->tables[i];
        char *texts[] = {t->columns_text, t->sql_insert, t->sql_update,   t->sql_delete,
                         t->sql_exists,   t->sql_stored, t->sql_bodies,   t->sql_body,
                         t->sql_expired,  t->sql_expiry, t->sql_key_taken};

        for (size_t k = 0; k < ARRAY_LEN(texts); k++)
            free(texts[k]);
        for (size_t c = 0; c < t->n_columns; c++)
            free(t->columns[c].sql_taken);
        for (size_t c = 0; c < t->n_children; c++)
            free(t->children[c].sql_ids);
        free(t->columns);
        free(t->children);
    }
    free(l->tables);
    free(l);
    *lp = NULL;
}
