/* row.c - see row.h. */
#include "controlplane/store/row.h"

#include <math.h>
#include <stdlib.h>

json_t *uuid_key(const struct uuid *id)
{
    char text[UUID_TEXT_LEN + 1];

    uuid_format(id, text);
    return json_pack("{s:s}", "id", text);
}

bool doc_id(const json_t *doc, struct uuid *out)
{
    return uuid_parse(json_str(json_object_get(doc, "id")), out);
}

/* ---- writing ---- */

static int bind_integer(sqlite3_stmt *st, int i, const json_t *v)
{
    double d = json_number_value(v);

    if (json_is_integer(v))
        return sqlite3_bind_int64(st, i, json_integer_value(v));
    if (!json_is_real(v) || d != trunc(d) || fabs(d) > 0x1p53)
        return SQLITE_MISMATCH;
    return sqlite3_bind_int64(st, i, (int64_t)d);
}

static int bind_foreign(sqlite3_stmt *st, int i, const json_t *v)
{
    struct uuid id;

    if (!doc_id(v, &id))
        return SQLITE_MISMATCH;
    return sqlite3_bind_blob(st, i, id.b, sizeof(id.b), SQLITE_TRANSIENT);
}

static int bind_json(sqlite3_stmt *st, int i, const json_t *v)
{
    char *text = json_dumps(v, JSON_COMPACT);

    if (!text)
        return SQLITE_MISMATCH;
    return sqlite3_bind_text64(st, i, text, strlen(text), free, SQLITE_UTF8);
}

int row_bind_column(sqlite3_stmt *st, int i, const struct column *c, const json_t *doc,
                    struct err *e)
{
    const json_t *v = json_object_get(doc, c->field->name);
    int rc = SQLITE_MISMATCH;

    if (!v || json_is_null(v))
        return sqlite3_bind_null(st, i);
    switch (c->kind) {
    case COL_INTEGER: rc = bind_integer(st, i, v); break;
    case COL_REAL:
        if (json_is_number(v))
            rc = sqlite3_bind_double(st, i, json_number_value(v));
        break;
    case COL_BOOLEAN:
        if (json_is_boolean(v))
            rc = sqlite3_bind_int(st, i, json_is_true(v));
        break;
    case COL_TEXT:
        if (json_is_string(v))
            rc = sqlite3_bind_text64(st, i, json_string_value(v), json_string_length(v),
                                     SQLITE_STATIC, SQLITE_UTF8);
        break;
    case COL_FOREIGN: rc = bind_foreign(st, i, v); break;
    case COL_JSON: rc = bind_json(st, i, v); break;
    }
    if (rc != SQLITE_OK)
        return err_set(e, ERR_INTERNAL, "%s does not have the type of its field", c->field->name);
    return 0;
}

int row_bind(sqlite3_stmt *st, int first, const struct table *t, const json_t *doc, struct err *e)
{
    for (size_t i = 0; i < t->n_columns; i++)
        if (row_bind_column(st, first + (int)i, &t->columns[i], doc, e) != 0)
            return -1;
    return 0;
}

/* ---- reading ---- */

static json_t *read_column(sqlite3_stmt *st, int i, const struct column *c)
{
    struct uuid id;
    struct str s;

    switch (c->kind) {
    case COL_INTEGER: return json_integer(sqlite3_column_int64(st, i));
    case COL_REAL: return json_real(sqlite3_column_double(st, i));
    case COL_BOOLEAN: return json_boolean(sqlite3_column_int(st, i));
    case COL_TEXT: s = column_str(st, i); return json_stringn(s.p, s.len);
    case COL_FOREIGN: return column_uuid(st, i, &id) ? uuid_key(&id) : NULL;
    case COL_JSON: s = column_str(st, i); return json_loadb(s.p, s.len, 0, NULL);
    }
    WEIR_UNREACHABLE("column kind");
}

json_t *row_doc(sqlite3_stmt *st, int first, const struct table *t, struct err *e)
{
    struct uuid id;
    json_t *doc;

    if (!column_uuid(st, first, &id)) {
        err_set(e, ERR_INVALID, "%s: damaged row, expected an id of 16 bytes", t->ent->name);
        return NULL;
    }
    doc = uuid_key(&id);
    for (size_t i = 0; i < t->n_columns; i++) {
        const struct column *c = &t->columns[i];
        int at = first + 1 + (int)i;
        json_t *v;

        if (sqlite3_column_type(st, at) == SQLITE_NULL)
            continue;
        v = read_column(st, at, c);
        if (!v) {
            err_set(e, ERR_INVALID, "%s: damaged row, column %s does not hold its type",
                    t->ent->name, c->field->name);
            json_decref(doc);
            return NULL;
        }
        json_object_set_new(doc, c->field->name, v);
    }
    return doc;
}
