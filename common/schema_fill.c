/* schema_fill.c - what is absent is filled in, aliases are expanded (schema_priv.h). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/rand.h"
#include "common/schema_priv.h"

/* ---- values in their normal type ---- */

/* Beyond this, not every integer is a double: such numbers stay as they were read. */
#define EXACT_MAX 9007199254740992.0

static bool is_whole(double d)
{
    return isfinite(d) && d == floor(d) && fabs(d) <= EXACT_MAX;
}

/* A name for the value that only equal values share; the caller's. NULL for records. */
static char *value_key(const json_t *value)
{
    if (json_is_object(value) || json_is_array(value))
        return NULL;
    return json_dumps(value, JSON_ENCODE_ANY);
}

#define SHORT_LIST 16 /* comparing all of so few is faster than naming them */

static bool all_differ(const json_t *list)
{
    size_t n = json_array_size(list);

    for (size_t i = 1; n <= SHORT_LIST && i < n; i++)
        for (size_t k = 0; k < i; k++)
            if (json_equal(json_array_get(list, i), json_array_get(list, k)))
                return false;
    return n <= SHORT_LIST;
}

/* The first of equal scalars stays. Records are never equal, as in the reference. */
static json_t *without_duplicates(json_t *list)
{
    json_t *out = json_array(), *seen = json_object(), *item;
    size_t i;

    json_array_foreach(list, i, item)
    {
        char *key = value_key(item);

        if (!key || !json_object_get(seen, key))
            json_array_append(out, item);
        if (key)
            json_object_set_new(seen, key, json_true());
        free(key);
    }
    json_decref(seen);
    return out;
}

/* Ids are compared as texts: all in lower case. */
static json_t *uuid_json(json_t *value)
{
    char text[UUID_TEXT_LEN + 1];
    struct uuid id;

    if (!uuid_parse(json_str(value), &id))
        return json_incref(value); /* refused by the validation */
    uuid_format(&id, text);
    return json_string(text);
}

static void fill_value(const struct field *f, json_t *value, bool insert, json_t *errors);

/* A new reference: value itself, or what stands for it. */
static json_t *normal_value(const struct field *f, json_t *value)
{
    bool empty_object = json_is_object(value) && json_object_size(value) == 0;

    if ((f->flags & FF_UUID) && json_is_string(value))
        return uuid_json(value);
    switch (f->type) {
    case FT_INTEGER:
    case FT_NUMBER:
        if (json_is_real(value) && is_whole(json_real_value(value)))
            return json_integer((json_int_t)json_real_value(value));
        break;
    case FT_ARRAY:
        if (empty_object)
            return json_array();
        break;
    case FT_SET:
        if (empty_object)
            return json_array();
        if (json_is_array(value) && !all_differ(value))
            return without_duplicates(value);
        break;
    case FT_MAP:
    case FT_RECORD:
    case FT_SUBRECORD:
        if (json_is_array(value) && json_array_size(value) == 0)
            return json_object();
        break;
    case FT_STRING:
    case FT_BOOLEAN:
    case FT_FOREIGN: break;
    }
    return json_incref(value);
}

static void normalize_elements(const struct field *elem, json_t *value, bool insert, json_t *errors)
{
    json_t *item;
    const char *key;
    size_t i;

    if (!elem)
        return;
    if (json_is_array(value)) {
        json_array_foreach(value, i, item)
        {
            json_t *normal = normal_value(elem, item);

            if (normal == item)
                json_decref(normal);
            else
                json_array_set_new(value, i, normal);
            fill_value(elem, normal, insert, errors);
        }
    } else if (json_is_object(value)) {
        json_object_foreach(value, key, item)
        {
            json_t *normal = normal_value(elem, item);

            if (normal == item)
                json_decref(normal);
            else
                json_object_set_new(value, key, normal);
            fill_value(elem, normal, insert, errors);
        }
    }
}

/* Below value: records are filled, elements brought to their type. */
static void fill_value(const struct field *f, json_t *value, bool insert, json_t *errors)
{
    if (is_record(f) && json_is_object(value)) {
        struct shape t = shape_of_record(f);
        fill_shape(&t, value, insert, errors);
    } else if (f->type == FT_ARRAY || f->type == FT_SET || f->type == FT_MAP) {
        normalize_elements(f->elem, value, true, errors);
    }
}

/* ---- aliases ---- */

/* "a" of "redis.host" for messages: scalars only. */
static void print_value(struct sbuf *out, const json_t *value)
{
    if (json_is_string(value))
        sbuf_adds(out, json_string_value(value));
    else if (json_is_integer(value))
        sbuf_addf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_real(value))
        sbuf_addf(out, "%.14g", json_real_value(value));
    else
        sbuf_adds(out, json_is_true(value) ? "true" : "false");
}

static void alias_mismatch(const struct shorthand *s, const json_t *alias, const json_t *value,
                           json_t *errors)
{
    struct sbuf text = {0};

    sbuf_addf(&text, "both deprecated and new field are used but their values mismatch: %s = ",
              s->field.name);
    print_value(&text, alias);
    sbuf_addf(&text, " vs %s = ", s->replaced_with);
    print_value(&text, value);
    errors_set(errors, s->field.name, text.p);
    sbuf_free(&text);
}

/* Moves the alias's value to its new place, unless that has one. */
static void move_alias(const struct shorthand *s, json_t *doc, json_t *alias, json_t *errors)
{
    struct str rest = str_of(s->replaced_with), step;
    json_t *at = doc;

    while (str_next(&rest, '.', &step)) {
        char name[64];
        json_t *next;

        WEIR_ASSERT(step.len < sizeof(name)); /* a name of ours */
        memcpy(name, step.p, step.len);
        name[step.len] = '\0';
        next = json_object_get(at, name);
        if (rest.p && rest.len) {
            if (!next || json_is_null(next))
                json_object_set_new(at, name, next = json_object());
            if (!json_is_object(next))
                return; /* refused by the validation of that record */
            at = next;
        } else if (!next || json_is_null(next)) {
            json_object_set(at, name, alias);
        } else if (!json_is_null(alias) && !json_equal(next, alias)) {
            alias_mismatch(s, alias, next, errors);
        }
    }
}

static void expand_shorthand(const struct shape *t, const struct shorthand *s, json_t *doc,
                             json_t *errors)
{
    json_t *alias = json_object_get(doc, s->field.name), *wrong;
    struct val value = val_of_json(alias);
    struct err e;

    if (!alias)
        return;
    err_clear(&e);
    wrong = validate_value(&s->field, &value, false);
    if (wrong) {
        json_object_set_new(errors, s->field.name, wrong);
        return;
    }
    json_incref(alias);
    if (s->replaced_with)
        move_alias(s, doc, alias, errors);
    else if (s->expand(doc, doc, &e) != 0)
        errors_set(errors, s->field.name, e.message);
    json_decref(alias);
    if (!shape_find(t, str_of(s->field.name)))
        json_object_del(doc, s->field.name);
}

static void expand_shorthands(const struct shape *t, const struct record_checks *checks,
                              json_t *doc, json_t *errors)
{
    for (size_t i = 0; checks && i < checks->n_shorthands; i++)
        expand_shorthand(t, &checks->shorthands[i], doc, errors);
}

/* ---- defaults and auto fields ---- */

static json_t *now_for(const struct field *f)
{
    uint64_t us = clock_wall_us(), ms;

    if (f->type == FT_INTEGER)
        return json_integer((json_int_t)(us / 1000000));
    ms = us / 1000;
    return json_real((double)ms / 1000);
}

static json_t *auto_value(const struct field *f)
{
    char text[UUID_TEXT_LEN + 1];

    if (f->flags & FF_TIMESTAMP)
        return now_for(f);
    if (f->flags & FF_UUID) {
        struct uuid id = uuid_v4();

        uuid_format(&id, text);
    } else {
        rand_token(text, 32);
    }
    return json_string(text);
}

json_t *field_filling(const struct field *f)
{
    json_t *value = field_default(f), *errors;

    if (!value && is_record(f) && !(f->flags & FF_OPTIONAL))
        value = json_object();
    if (!value || !(json_is_object(value) || json_is_array(value)))
        return value;
    errors = json_object();
    fill_value(f, value, true, errors);
    WEIR_ASSERT(json_object_size(errors) == 0); /* a default of ours */
    json_decref(errors);
    return value;
}

/* value: what doc has for the field, or NULL. */
static void fill_field(const struct field *f, struct str name, json_t *doc, json_t *value,
                       bool insert, json_t *errors)
{
    bool updated_at = (f->flags & FF_TIMESTAMP) && strcmp(f->name, "updated_at") == 0;

    if (updated_at || (insert && (f->flags & FF_AUTO) && (!value || json_is_null(value)))) {
        json_object_setn_new_nocheck(doc, name.p, name.len, auto_value(f));
        return;
    }
    if (value) {
        json_t *normal = normal_value(f, value);

        if (normal == value)
            json_decref(normal);
        else
            json_object_setn_new_nocheck(doc, name.p, name.len, normal);
        fill_value(f, normal, insert, errors);
        return;
    }
    if (!insert)
        return;
    value = field_filling(f);
    json_object_setn_new_nocheck(doc, name.p, name.len, value ? value : json_null());
}

void fill_shape(const struct shape *t, json_t *doc, bool insert, json_t *errors)
{
    json_t *values[SHAPE_FIELDS_MAX];
    const struct field *f;

    expand_shorthands(t, t->checks, doc, errors);
    expand_shorthands(t, t->over_checks, doc, errors);
    shape_values(t, doc, values);
    for (size_t i = 0; (f = shape_next(t, &i));)
        fill_field(f, t->table->names[i - 1], doc, values[i - 1], insert, errors);
}
