/* schema_priv.h - shared by the files of the schema language; not for other rooms. */
#ifndef COMMON_SCHEMA_PRIV_H
#define COMMON_SCHEMA_PRIV_H

#include "common/schema.h"

struct plugin_contract;

/* A record's fields with what a subschema changes in them. */
struct shape {
    const struct field *fields, *over;
    size_t n_fields, n_over;
    const struct record_checks *checks, *over_checks;
};

/* The entity's table as doc chooses it. False with e when doc chooses none. */
bool shape_of(const struct entity *ent, const json_t *doc, struct shape *out, struct err *e);

/* A record's own table. */
struct shape shape_of_record(const struct field *f);

/* The field in force, retired ones are not found. */
const struct field *shape_find(const struct shape *t, struct str name);

/* By path, through records: "config.redis.host". */
const struct field *shape_find_path(const struct shape *t, const char *path);

/* Walks the fields in force: `for (size_t i = 0; (f = shape_next(&t, &i));)`. */
const struct field *shape_next(const struct shape *t, size_t *i);

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

/* ---- the steps of a write ---- */

/*
 * Expands aliases, brings values to their normal type (sets without duplicates, 5.0 to 5)
 * and, for inserts, fills in what is absent. Errors are put into errors, by name.
 */
void fill_shape(const struct shape *t, json_t *doc, bool insert, json_t *errors);

/* Validates all of doc; updating chooses the words. errors is empty before. */
void validate_shape(const struct shape *t, const json_t *doc, bool updating, json_t *errors);

/* Rules between fields (schema_checks.c). Texts go to "@entity", blame to the fields. */
void run_checks(const struct shape *t, const json_t *doc, bool updating, json_t *errors);

/* What is wrong with one value: NULL, a string, or an object or array of them; new. */
json_t *validate_value(const struct field *f, const json_t *value, bool updating);

/* ---- errors as they grow ---- */

void errors_set(json_t *errors, const char *path, const char *text);
void errors_add_entity(json_t *errors, const char *text);

/* ---- others ---- */

/* {"fields": [...], "entity_checks": [...]} */
json_t *describe_shape(const struct field *fields, const struct record_checks *checks);

/* common/entities/plugins.c */
const struct subschema *plugin_subschema(const struct plugin_contract *c);

#endif
