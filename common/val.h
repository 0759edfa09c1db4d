/*
 * val.h - one value of a document, wherever the document lies: in a jansson tree, or in the
 * tree of a declarative file before anything was made of it. The checks of schema_validate.c
 * and schema_checks.c and the encoder of record.c read these, so that both kinds of documents
 * pass the same checks and end in the same bytes.
 *
 * A value borrows from the document and is passed by value.
 */
#ifndef COMMON_VAL_H
#define COMMON_VAL_H

#include "common/json.h"
#include "common/uuid.h"

enum val_kind {
    VAL_NONE, /* not there */
    VAL_NULL,
    VAL_BOOLEAN,
    VAL_INTEGER,
    VAL_REAL,
    VAL_TEXT,
    VAL_LIST,
    VAL_MAP,
    VAL_ID, /* {"id": ...} of an entity that is known to be there */
};

struct val_source;
struct field;
struct frame;

struct val {
    enum val_kind kind;
    bool is_default; /* the table's own: passes its checks */
    union {
        bool yes;
        int64_t integer;
        double real;
        struct str text;
        const void *from; /* VAL_LIST, VAL_MAP: the source's; VAL_ID: struct uuid */
    };
    const struct val_source *source; /* of lists and maps */
};

/* Walks a list or a map: `for (it = val_walk(v, elem); val_next(&it, &key, &item);)`. */
struct val_walk {
    struct val of;
    const struct field *elem; /* what the elements are, or NULL */
    size_t i;
    void *at; /* the source's */
};

struct val_source {
    size_t (*count)(const struct val *v);
    bool (*next)(struct val_walk *it, struct str *key_out, struct val *out);
    /*
     * A record's values by field (schema_priv.h): what it has, and defaults if the source does
     * not have them filled in already. False: ask for the document instead.
     */
    bool (*frame)(const struct val *v, struct frame *out);
};

struct val val_of_json(const json_t *value); /* NULL: VAL_NONE */

/* The jansson value of a list or map that lies in one, else NULL. */
const json_t *val_json(const struct val *v);

static inline bool val_is_null(const struct val *v)
{
    return v->kind <= VAL_NULL;
}

static inline bool val_is_number(const struct val *v)
{
    return v->kind == VAL_INTEGER || v->kind == VAL_REAL;
}

static inline double val_number(const struct val *v)
{
    return v->kind == VAL_INTEGER ? (double)v->integer : v->kind == VAL_REAL ? v->real : 0.0;
}

/* The bytes of a text; absent when it is none. */
static inline struct str val_text(const struct val *v)
{
    return v->kind == VAL_TEXT ? v->text : STR_NONE;
}

/* Bytes of a text, elements of a list, members of a map; else 0. */
static inline size_t val_length(const struct val *v)
{
    if (v->kind == VAL_TEXT)
        return v->text.len;
    return v->kind == VAL_LIST || v->kind == VAL_MAP ? v->source->count(v) : 0;
}

static inline struct val_walk val_walk(const struct val *v, const struct field *elem)
{
    return (struct val_walk){.of = *v, .elem = elem};
}

/* key_out is absent in lists. */
static inline bool val_next(struct val_walk *it, struct str *key_out, struct val *out)
{
    return (it->of.kind == VAL_LIST || it->of.kind == VAL_MAP) &&
           it->of.source->next(it, key_out, out);
}

/* As json_equal: 5 and 5.0 differ. Maps and lists are compared in jansson trees only. */
bool val_equal(const struct val *a, const struct val *b);

#endif
