/*
 * layout.h - how an entity lies in the database: its table, derived from its field table.
 *
 *     services(seq, id, created_at, ..., tags, client_certificate, ..., pb)
 *
 * A column per field: numbers, texts and ids as they are, arrays, maps and records as JSON
 * text; pb is the packed record body. Every SQL text that does not depend on a query is
 * made here, once. Immutable after layout_new; any thread may read it.
 */
#ifndef CONTROLPLANE_STORE_LAYOUT_H
#define CONTROLPLANE_STORE_LAYOUT_H

#include "common/schema.h"

struct table;

enum column_kind { COL_INTEGER, COL_REAL, COL_BOOLEAN, COL_TEXT, COL_FOREIGN, COL_JSON };

struct column {
    const struct field *field;
    enum column_kind kind;
    const struct table *parent; /* of a COL_FOREIGN */
    char *sql_taken;            /* FF_UNIQUE: the row with this value, or NULL */
};

/* A column elsewhere that may name rows of this table. */
struct child {
    const struct table *table;
    enum fk_action on_delete;
    char *sql_ids; /* of the rows that name ?1 */
};

struct table {
    const struct entity *ent;
    struct column *columns; /* without id */
    size_t n_columns;
    struct child *children;
    size_t n_children;
    const char *const *key;   /* cache_key when it says more than a unique field, or NULL */
    const struct field *tags; /* or NULL */
    bool expires;             /* has column expires_at */

    char *columns_text; /* "id", "name", ...: what row_doc reads */
    char *sql_insert;   /* ?1 id, ?2 pb, ?3.. columns */
    char *sql_update;   /* the same */
    char *sql_delete;
    char *sql_exists;
    char *sql_stored;    /* pb, tags of row ?1 */
    char *sql_bodies;    /* id, pb of all */
    char *sql_body;      /* pb of row ?1 */
    char *sql_expired;   /* ids, expired at ?1, up to ?2 */
    char *sql_expiry;    /* the next time something expires */
    char *sql_key_taken; /* the row whose key is ?1.., or NULL */
};

struct layout {
    struct table *tables; /* parents first */
    size_t n;
};

struct layout *layout_new(const struct entity *const *list); /* ends in NULL */
void layout_free(struct layout **l);

/* NULL: not in this layout. */
const struct table *layout_table(const struct layout *l, unsigned type);

/* NULL: no such column. id is not one. */
const struct column *table_column(const struct table *t, const char *name);

/* CREATE TABLE, then its indexes; column_ddl is what follows ADD COLUMN. */
void table_ddl(const struct table *t, struct sbuf *out);
void table_index_ddl(const struct table *t, struct sbuf *out);
void column_ddl(const struct column *c, struct sbuf *out);

#endif
