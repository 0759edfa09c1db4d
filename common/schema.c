/* schema.c - entities and fields by name; writes and answers as a whole (schema.h). */
#include "common/schema.h"

#include <stdlib.h>

#include "common/clock.h"
#include "common/schema_priv.h"

/* ---- lookup ---- */

const struct entity *entity_by_name(struct str name)
{
    for (size_t i = 0; entities[i]; i++) {
        if (str_eq(name, str_of(entities[i]->name)))
            return entities[i];
    }
    return NULL;
}

const struct entity *entity_by_type(unsigned type)
{
    for (size_t i = 0; entities[i]; i++) {
        if (entities[i]->type == type)
            return entities[i];
    }
    return NULL;
}

const struct entity *entity_by_path(struct str collection)
{
    for (size_t i = 0; entities[i]; i++) {
        if (entities[i]->path && str_eq(collection, str_of(entities[i]->path + 1)))
            return entities[i];
    }
    return NULL;
}

const struct field *field_find(const struct field *fields, struct str name)
{
    for (const struct field *f = fields; f && f->name; f++) {
        if (f->name[0] == (name.len ? name.p[0] : '\0') && !(f->flags & FF_RETIRED) &&
            strncmp(f->name, name.p, name.len) == 0 && f->name[name.len] == '\0')
            return f;
    }
    return NULL;
}

static size_t count_fields(const struct field *fields)
{
    size_t n = 0;

    while (fields && fields[n].name)
        n++;
    return n;
}

struct shape shape_of_record(const struct field *f)
{
    return (struct shape){
        .fields = f->fields, .n_fields = count_fields(f->fields), .checks = f->checks};
}

bool shape_of(const struct entity *ent, const json_t *doc, struct shape *out, struct err *e)
{
    const struct subschema *sub = ent->subschema ? ent->subschema(doc, e) : NULL;

    *out = (struct shape){
        .fields = ent->fields, .n_fields = count_fields(ent->fields), .checks = ent->checks};
    if (!sub)
        return ent->subschema == NULL;
    out->over = sub->fields;
    out->n_over = count_fields(sub->fields);
    out->over_checks = sub->checks;
    return true;
}

const struct field *shape_find(const struct shape *t, struct str name)
{
    const struct field *f = t->over ? field_find(t->over, name) : NULL;

    return f ? f : field_find(t->fields, name);
}

const struct field *shape_find_path(const struct shape *t, const char *path)
{
    struct str rest = str_of(path), step;
    struct shape at = *t;
    const struct field *f = NULL;

    while (str_next(&rest, '.', &step)) {
        f = shape_find(&at, step);
        if (!f)
            return NULL;
        at = shape_of_record(f);
    }
    return f;
}

const struct field *shape_next(const struct shape *t, size_t *i)
{
    while (*i < t->n_fields + t->n_over) {
        size_t at = (*i)++;
        bool base = at < t->n_fields;
        const struct field *f = base ? &t->fields[at] : &t->over[at - t->n_fields];
        struct str name = str_of(f->name);

        if (f->flags & FF_RETIRED)
            continue;
        if (!t->over)
            return f;
        if (base)
            return shape_find(t, name);
        if (!field_find(t->fields, name)) /* else it came in the other's place */
            return f;
    }
    return NULL;
}

/* ---- JSON helpers ---- */

json_t *json_at_path(const json_t *doc, const char *path)
{
    struct str rest = str_of(path), step;
    const json_t *at = doc;

    while (at && str_next(&rest, '.', &step)) {
        char name[128];

        if (step.len >= sizeof(name))
            return NULL;
        memcpy(name, step.p, step.len);
        name[step.len] = '\0';
        at = json_object_get(at, name);
    }
    return (json_t *)(uintptr_t)at;
}

json_t *json_text(const char *text)
{
    size_t len = strlen(text), cut = 0;
    json_t *value = json_stringn(text, len);

    /* a value quoted in a message of limited length may have been cut inside a character */
    while (!value && len > 0 && cut++ < 4)
        value = json_stringn(text, --len);
    return value ? value : json_string("invalid value");
}

json_t *field_default(const struct field *f)
{
    struct str text = str_of(f->dflt);
    int64_t number;

    if (!text.p)
        return NULL;
    /* the common kinds without the parser: a configuration is thousands of them */
    if (str_eq(text, STR("true")))
        return json_true();
    if (str_eq(text, STR("false")))
        return json_false();
    if (str_to_i64(text, &number))
        return json_integer(number);
    return json_loads(f->dflt, JSON_DECODE_ANY, NULL);
}

/* ---- time to live ---- */

#define TTL_MAX 100000000

int schema_ttl(const struct entity *ent, const json_t *in, int64_t *ttl_out, struct err *e)
{
    const json_t *value = json_object_get(in, "ttl");

    *ttl_out = -1;
    if (!ent->has_ttl || !value || json_is_null(value))
        return 0;
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        json_integer_value(value) > TTL_MAX)
        return err_set(e, ERR_INVALID, "must be an integer between 0 and %d", TTL_MAX);
    *ttl_out = json_integer_value(value);
    return 0;
}

/* Turns "ttl" into "expires_at"; 0 lasts for ever. */
static void take_ttl(const struct entity *ent, json_t *doc, json_t *errors)
{
    struct err e = {0};
    int64_t ttl;

    if (!ent->has_ttl)
        return;
    if (schema_ttl(ent, doc, &ttl, &e) != 0)
        errors_set(errors, "ttl", e.message);
    else if (ttl >= 0)
        json_object_set_new(doc, "expires_at",
                            ttl ? json_integer((json_int_t)(clock_wall_us() / 1000000) + ttl)
                                : json_null());
    json_object_del(doc, "ttl");
}

static json_t *remaining_ttl(const json_t *doc)
{
    const json_t *at = json_object_get(doc, "expires_at");
    int64_t left_us;

    if (!json_is_integer(at))
        return json_null();
    left_us = json_integer_value(at) * 1000000 - (int64_t)clock_wall_us();
    return json_integer(left_us > 0 ? left_us / 1000000 : 0);
}

/* ---- writes ---- */

static void refuse_internal(const struct entity *ent, json_t *doc, json_t *errors)
{
    for (const struct field *f = ent->fields; f->name; f++) {
        if ((f->flags & FF_INTERNAL) && json_object_del(doc, f->name) == 0)
            errors_set(errors, f->name, "unknown field");
    }
}

/* Whether doc chooses a table; else says why it does not. */
static bool choose_shape(const struct entity *ent, const json_t *doc, struct shape *t,
                         json_t *errors)
{
    struct err e = {0};
    const json_t *key = ent->subschema_key ? json_object_get(doc, ent->subschema_key) : NULL;

    if (shape_of(ent, doc, t, &e))
        return true;
    errors_set(errors, ent->subschema_key,
               !key || json_is_null(key) ? "required field missing" : e.message);
    return false;
}

static int finish(json_t *doc, json_t *errors, json_t **out, struct violations *v)
{
    if (json_object_size(errors) == 0) {
        json_decref(errors);
        *out = doc;
        return 0;
    }
    json_decref(doc);
    violations_take(v, errors);
    return -1;
}

static bool has_errors(const json_t *errors)
{
    return json_object_size(errors) > 0;
}

static int not_an_object(struct violations *v)
{
    violations_add(v, NULL, "expected an object");
    return -1;
}

int schema_insert(const struct entity *ent, const json_t *in, json_t **out, struct violations *v)
{
    json_t *doc, *errors = json_object();
    struct shape t;

    if (!json_is_object(in)) {
        json_decref(errors);
        return not_an_object(v);
    }
    doc = json_deep_copy(in);
    refuse_internal(ent, doc, errors);
    take_ttl(ent, doc, errors);
    (void)shape_of(ent, doc, &t, NULL);
    /* what chooses the table may itself have a default: fill its field first */
    if (ent->subschema_key && !json_object_get(doc, ent->subschema_key)) {
        json_t *dflt = field_default(field_find(ent->fields, str_of(ent->subschema_key)));

        if (dflt)
            json_object_set_new(doc, ent->subschema_key, dflt);
        (void)shape_of(ent, doc, &t, NULL);
    }
    fill_shape(&t, doc, true, errors);
    if (!has_errors(errors) && choose_shape(ent, doc, &t, errors)) {
        validate_shape(&t, doc, false, errors);
        if (!has_errors(errors) && ent->normalize)
            ent->normalize(doc);
    }
    return finish(doc, errors, out, v);
}

int schema_validate(const struct entity *ent, const json_t *in, struct violations *v)
{
    json_t *doc = NULL;
    int rc = schema_insert(ent, in, &doc, v);

    json_decref(doc);
    return rc;
}

/* Puts patch over doc: records key by key, all else as a whole. */
static void merge(const struct shape *t, json_t *doc, const json_t *patch)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)patch, name, value)
    {
        const struct field *f = shape_find(t, str_of(name));
        json_t *old = json_object_get(doc, name);

        if (f && is_record(f) && json_is_object(old) && json_is_object(value)) {
            struct shape inner = shape_of_record(f);
            merge(&inner, old, value);
        } else {
            json_object_set(doc, name, value);
        }
    }
}

static void check_immutable(const struct shape *t, const json_t *stored, const json_t *patch,
                            json_t *errors)
{
    const struct field *f;

    for (size_t i = 0; (f = shape_next(t, &i));) {
        json_t *now = json_object_get(patch, f->name);

        if ((f->flags & FF_IMMUTABLE) && now && !json_equal(now, json_object_get(stored, f->name)))
            errors_set(errors, f->name, "immutable field cannot be updated");
    }
}

/* The table that the merged document will have. */
static void shape_of_merged(const struct entity *ent, const json_t *stored, const json_t *patch,
                            struct shape *t)
{
    const char *key = ent->subschema_key;
    json_t *value = key ? json_object_get(patch, key) : NULL;
    json_t *chooser = json_object();

    if (key && !value)
        value = json_object_get(stored, key);
    if (value)
        json_object_set(chooser, key, value);
    (void)shape_of(ent, chooser, t, NULL);
    json_decref(chooser);
}

int schema_update(const struct entity *ent, const json_t *stored, const json_t *patch, json_t **out,
                  struct violations *v)
{
    json_t *doc, *change, *errors = json_object();
    struct shape t;

    if (!json_is_object(patch)) {
        json_decref(errors);
        return not_an_object(v);
    }
    doc = json_deep_copy(stored);
    change = json_deep_copy(patch);
    refuse_internal(ent, change, errors);
    take_ttl(ent, change, errors);
    json_object_del(change, "id"); /* the row keeps its own */
    shape_of_merged(ent, stored, change, &t);
    fill_shape(&t, change, false, errors);
    check_immutable(&t, stored, change, errors);
    merge(&t, doc, change);
    json_decref(change);
    if (!has_errors(errors) && choose_shape(ent, doc, &t, errors)) {
        validate_shape(&t, doc, true, errors);
        if (!has_errors(errors) && ent->normalize)
            ent->normalize(doc);
    }
    return finish(doc, errors, out, v);
}

/* ---- answers ---- */

static json_t *answer_shape(const struct shape *t, const json_t *doc);

static json_t *answer_value(const struct field *f, json_t *value)
{
    struct shape t = shape_of_record(f);
    json_t *list, *item;
    size_t i;

    if (!value || json_is_null(value))
        return json_null();
    if (is_record(f) && json_is_object(value))
        return answer_shape(&t, value);
    if (!json_is_array(value) || !f->elem || f->elem->type != FT_RECORD)
        return json_incref(value);
    list = json_array();
    json_array_foreach(value, i, item) json_array_append_new(list, answer_value(f->elem, item));
    return list;
}

static json_t *answer_shape(const struct shape *t, const json_t *doc)
{
    const struct record_checks *checks = t->checks;
    json_t *out = json_object();
    const struct field *f;

    for (size_t i = 0; (f = shape_next(t, &i));) {
        if (!(f->flags & FF_INTERNAL))
            json_object_set_new(out, f->name, answer_value(f, json_object_get(doc, f->name)));
    }
    for (size_t i = 0; checks && i < checks->n_shorthands; i++) {
        const struct shorthand *s = &checks->shorthands[i];
        json_t *value = s->replaced_with ? json_at_path(doc, s->replaced_with) : NULL;

        if (s->replaced_with)
            json_object_set_new(out, s->field.name, value ? json_incref(value) : json_null());
    }
    return out;
}

json_t *schema_answer(const struct entity *ent, const json_t *doc)
{
    struct shape t;
    json_t *out;

    (void)shape_of(ent, doc, &t, NULL);
    out = answer_shape(&t, doc);
    if (ent->has_ttl)
        json_object_set_new(out, "ttl", remaining_ttl(doc));
    return out;
}
