/* schema_priv.h - shared by the files of the schema language; not for other rooms. */
#ifndef COMMON_SCHEMA_PRIV_H
#define COMMON_SCHEMA_PRIV_H

#include <stdatomic.h>

#include "common/schema.h"

struct plugin_contract;

/* The fields in force of a table and of one that lies over it; shared, kept for ever. */
struct table {
    const struct field *base, *over;
    const struct field **fields; /* n, in order */
    struct str *names;           /* theirs */
    size_t n, mask;
    uint16_t *slots; /* hash of a name to its position + 1 */
    struct val *defaults; /* n: what a record without the field has there; VAL_NONE: nothing may be */
    json_t **kept;        /* n: where they lie, or NULL */
    struct str *packed;   /* n: what record_encode makes of them; absent: nothing */
#define MEMOS 32
    _Atomic(uintptr_t) *memo; /* MEMOS: what is known of defaults (schema_checks.c) */
    struct table *next;
};

/* A record's fields with what a subschema changes in them. */
struct shape {
    const struct table *table;
    const struct record_checks *checks, *over_checks;
};

/* The entity's table as doc chooses it. False with e when doc chooses none. */
bool shape_of(const struct entity *ent, const json_t *doc, struct shape *out, struct err *e);

/* The same when it is known what is chosen; false: the entity needs a subschema and has none. */
bool shape_chosen(const struct entity *ent, const struct subschema *sub, struct shape *out);

/* A static table of fields (may be NULL: an empty one). */
struct shape shape_of_fields(const struct field *fields, const struct record_checks *checks);

/* Nobody may see it: retired, or of a flavor that is not in use. */
bool field_is_gone(const struct field *f);

/* A record's own table. */
struct shape shape_of_record(const struct field *f);

/* The field in force, retired ones are not found. */
const struct field *shape_find(const struct shape *t, struct str name);

/* By path, through records: "config.redis.host". */
const struct field *shape_find_path(const struct shape *t, const char *path);

/* Walks the fields in force: `for (size_t i = 0; (f = shape_next(&t, &i));)`. */
static inline const struct field *shape_next(const struct shape *t, size_t *i)
{
    return *i < t->table->n ? t->table->fields[(*i)++] : NULL;
}

#define SHAPE_FIELDS_MAX 128

/*
 * What doc has for each field in force, in their order, borrowed; NULL: nothing. Looks up the
 * few members that are there instead of the many that may be.
 */
void shape_values(const struct shape *t, const json_t *doc, json_t *values[SHAPE_FIELDS_MAX]);

/*
 * The values of a record, by the position of their fields: what checks between fields and the
 * encoder look at.
 */
struct frame {
    struct shape t;
    const json_t *doc; /* NULL: the record is not one of jansson's */
    struct val v[SHAPE_FIELDS_MAX];
};

/* f->t is set; doc is borrowed. */
void frame_of_json(const json_t *doc, struct frame *f);

struct val frame_get(const struct frame *f, struct str name);

/* The value at a path like "config.redis.host". */
struct val frame_at_path(const struct frame *f, const char *path);

/* The position of the field in force of that name; SIZE_MAX: there is none. */
size_t table_position(const struct table *t, struct str name);

static inline bool is_record(const struct field *f)
{
    return f->type == FT_RECORD || (f->type == FT_SUBRECORD && f->fields);
}

/* The value at a path like "config.redis.host", or NULL. */
json_t *json_at_path(const json_t *doc, const char *path);

/* A new JSON string; bytes of a cut-off character at its end are dropped. */
json_t *json_text(const char *text);

/* A field's default, new; NULL when it has none. */
json_t *field_default(const struct field *f);

/* What an insert puts where the field is absent, records filled in, new; NULL: null. */
json_t *field_filling(const struct field *f);

/* As schema_insert, of a document (an object) that is the caller's own: it is taken. */
int schema_insert_taken(const struct entity *ent, json_t *doc, json_t **out, struct violations *v);

/* ---- the steps of a write ---- */

/*
 * Expands aliases, brings values to their normal type (sets without duplicates, 5.0 to 5)
 * and, for inserts, fills in what is absent. Errors are put into errors, by name.
 */
void fill_shape(const struct shape *t, json_t *doc, bool insert, json_t *errors);

/* Validates all of doc; updating chooses the words. errors is empty before. */
void validate_shape(const struct shape *t, const json_t *doc, bool updating, json_t *errors);

/*
 * The same for a record whose values are filled in and in their normal type; each must have
 * passed the checks that only jansson documents can be given to (CK_CUSTOM, custom).
 */
void validate_frame(const struct frame *r, json_t *errors);

/* Rules between fields (schema_checks.c). Texts go to "@entity", blame to the fields. */
void run_checks(const struct frame *r, bool updating, json_t *errors);

/* What is wrong with one value: NULL, a string, or an object or array of them; new. */
json_t *validate_value(const struct field *f, const struct val *value, bool updating);

/* As record_encode, of a record that is valid (record.c). */
int pack_frame(const struct frame *r, struct sbuf *out, struct err *e) WEIR_MUSTCHECK;

/* One member of it; none of a field that does not travel. */
int pack_value(const struct field *f, const struct val *value, struct sbuf *out, struct err *e) WEIR_MUSTCHECK;

/* ---- errors as they grow ---- */

void errors_set(json_t *errors, const char *path, const char *text);
void errors_add_entity(json_t *errors, const char *text);

/* ---- others ---- */

/* {"fields": [...], "entity_checks": [...]} */
json_t *describe_shape(const struct field *fields, const struct record_checks *checks);

/* common/entities/plugins.c */
const struct subschema *plugin_subschema(const struct plugin_contract *c);

#endif
