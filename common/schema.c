/* schema.c - entities and fields by name; writes and answers as a whole (schema.h). */
#include "common/schema.h"

#include <stdlib.h>

#include "common/clock.h"
#include "common/schema_priv.h"

/* ---- lookup ---- */

/* Most names differ in their first letter. */
static bool is_name(const char *name, struct str text)
{
    return text.len && name[0] == text.p[0] && strlen(name) == text.len &&
           memcmp(name, text.p, text.len) == 0;
}

const struct entity *entity_by_name(struct str name)
{
    for (size_t i = 0; entities[i]; i++) {
        if (is_name(entities[i]->name, name))
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

/* ---- JSON helpers ---- */

json_t *json_at_path(const json_t *doc, const char *path)
{
    struct str rest = str_of(path), step;
    const json_t *at = doc;

    while (at && str_next(&rest, '.', &step))
        at = json_object_getn(at, step.p, step.len);
    return json_unconst(at);
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

/* "text": the string; NULL when it is more than quotes around plain letters. */
static json_t *quoted_json(struct str text)
{
    if (text.len < 2 || text.p[0] != '"' || str_find(text, '\\') < text.len ||
        str_find(str_n(text.p + 1, text.len - 1), '"') != text.len - 2)
        return NULL;
    return json_stringn(text.p + 1, text.len - 2);
}

/* ["http","https"]: the list; NULL when it is anything else. */
static json_t *words_json(struct str text)
{
    struct str rest = str_n(text.p + 1, text.len - 2), word;
    json_t *list, *item;

    if (text.len < 3 || text.p[0] != '[' || text.p[text.len - 1] != ']')
        return NULL;
    list = json_array();
    while (str_next(&rest, ',', &word)) {
        item = quoted_json(word);
        if (!item) {
            json_decref(list);
            return NULL;
        }
        json_array_append_new(list, item);
    }
    return list;
}

json_t *field_default(const struct field *f)
{
    struct str text = str_of(f->dflt);
    int64_t number;
    json_t *value;

    if (!text.p)
        return NULL;
    /* the common kinds without the parser: a configuration is thousands of them */
    if (str_eq(text, STR("true")))
        return json_true();
    if (str_eq(text, STR("false")))
        return json_false();
    if (str_to_i64(text, &number))
        return json_integer(number);
    if ((value = quoted_json(text)) || (value = words_json(text)))
        return value;
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

/* expires_at is a whole second: rounded up, so that no row goes before its time. */
static json_int_t second_after(uint64_t wall_us)
{
    return (json_int_t)((wall_us + 999999) / 1000000);
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
                            ttl ? json_integer(second_after(clock_wall_us()) + ttl) : json_null());
    json_object_del(doc, "ttl");
}

/* The whole seconds that are left for certain: the one it was rounded up by does not count. */
static json_t *remaining_ttl(const json_t *doc)
{
    const json_t *at = json_object_get(doc, "expires_at");
    int64_t left_us;

    if (!json_is_integer(at))
        return json_null();
    left_us = json_integer_value(at) * 1000000 - (int64_t)clock_wall_us();
    return json_integer(left_us > 1000000 ? left_us / 1000000 - 1 : 0);
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
    struct err e;
    const json_t *key = ent->subschema_key ? json_object_get(doc, ent->subschema_key) : NULL;

    err_clear(&e);
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
    if (!json_is_object(in))
        return not_an_object(v);
    return schema_insert_taken(ent, json_deep_copy(in), out, v);
}

int schema_insert_taken(const struct entity *ent, json_t *doc, json_t **out, struct violations *v)
{
    json_t *errors = json_object();
    struct shape t;

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

    json_object_foreach(json_unconst(patch), name, value)
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
        json_t *value = json_object_get(doc, f->name);

        if (!(f->flags & FF_INTERNAL) && !(f->flags & FF_QUIET && (!value || json_is_null(value))))
            json_object_set_new(out, f->name, answer_value(f, value));
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
