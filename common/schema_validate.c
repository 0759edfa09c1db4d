/*
 * schema_validate.c - one value against one field. The order of the checks is the
 * reference's, and the first that fails is reported: clients compare these texts.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "common/checks.h"
#include "common/schema_priv.h"

static bool validate_frame_of(const struct val *record, struct frame *r, json_t *errors)
{
    if (!record->source->frame(record, r))
        return false;
    validate_frame(r, errors);
    return true;
}

static const char required_text[] = "required field missing";

static json_t *wrong(const char *fmt, ...) WEIR_PRINTF(1, 2);

static json_t *wrong(const char *fmt, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return json_text(text);
}

/* ---- types ---- */

static const char *type_error(const struct field *f, const struct val *value)
{
    bool list = value->kind == VAL_LIST, map = value->kind == VAL_MAP;

    switch (f->type) {
    case FT_STRING: return value->kind == VAL_TEXT ? NULL : "expected a string";
    case FT_INTEGER: return value->kind == VAL_INTEGER ? NULL : "expected an integer";
    case FT_NUMBER: return val_is_number(value) ? NULL : "expected a number";
    case FT_BOOLEAN: return value->kind == VAL_BOOLEAN ? NULL : "expected a boolean";
    case FT_ARRAY: return list ? NULL : "expected an array";
    case FT_SET: return list ? NULL : "expected a set";
    case FT_MAP: return map || list ? NULL : "expected a map";
    case FT_RECORD:
    case FT_SUBRECORD: return map ? NULL : "expected a record";
    case FT_FOREIGN: return NULL;
    }
    WEIR_UNREACHABLE("field type");
}

/* Elements, keys and values may never be null. */
static json_t *validate_element(const struct field *f, const struct val *value, bool updating)
{
    if (val_is_null(value))
        return json_string(required_text);
    return validate_value(f, value, updating);
}

static json_t *validate_list(const struct field *f, const struct val *list, bool updating)
{
    struct val_walk it = val_walk(list, f->elem);
    json_t *errors = NULL;
    struct val item;
    struct str none;

    for (size_t i = 0; val_next(&it, &none, &item); i++) {
        json_t *e = validate_element(f->elem, &item, updating);

        if (!e)
            continue;
        if (!errors)
            errors = json_array();
        while (json_array_size(errors) < i)
            json_array_append_new(errors, json_null());
        json_array_append_new(errors, e);
    }
    return errors;
}

/* The first wrong key or value stands for the whole map. */
static json_t *validate_map(const struct field *f, const struct val *map, bool updating)
{
    struct val_walk it = val_walk(map, f->elem);
    struct val name = {.kind = VAL_TEXT}, value;

    if (map->kind == VAL_LIST) /* its keys are numbers */
        return json_string("expected a string");
    while (val_next(&it, &name.text, &value)) {
        bool utf8 = utf8_invalid_at(name.text) == name.text.len;
        json_t *e =
            utf8 ? validate_value(f->key, &name, updating) : json_string("expected a string");

        if (!e)
            e = validate_element(f->elem, &value, updating);
        if (e)
            return e;
    }
    return NULL;
}

static json_t *validate_record(const struct field *f, const struct val *record, bool updating)
{
    const json_t *doc = val_json(record);
    json_t *errors = json_object();
    struct err e = {0};
    struct frame r;

    r.t = shape_of_record(f);
    if (f->fields && doc)
        validate_shape(&r.t, doc, updating, errors);
    else if (f->fields && !validate_frame_of(record, &r, errors))
        json_object_set_new(errors, "@entity", json_string("not to be read without a document"));
    if (json_object_size(errors) > 0)
        return errors;
    json_decref(errors);
    if (f->checks && f->checks->custom && f->checks->custom(doc, &e) != 0)
        return json_text(e.message);
    return NULL;
}

/* By a unique field instead of the id: the caller looks it up when it stores. */
static bool has_unique_field(const struct entity *ent, const json_t *value)
{
    for (const struct field *f = ent->fields; f->name; f++) {
        if ((f->flags & FF_UNIQUE) && json_is_string(json_object_get(value, f->name)))
            return true;
    }
    return false;
}

static json_t *validate_key_of(const struct field *f, const json_t *value, bool updating)
{
    const struct entity *ent = entity_by_name(str_of(f->reference));
    json_t *errors, *id, *member;
    const char *name;

    if (json_is_object(value) && ent && has_unique_field(ent, value))
        return NULL;
    errors = json_object();
    id = json_object_get(value, "id");
    if (id) {
        const struct field key = {.type = FT_STRING, .flags = FF_REQUIRED | FF_UUID};
        struct val text = val_of_json(id);
        json_t *e = validate_value(&key, &text, updating);

        if (e)
            json_object_set_new(errors, "id", e);
    }
    if (json_is_object(value)) {
        json_object_foreach(json_unconst(value), name, member)
        {
            if (strcmp(name, "id") != 0)
                json_object_set_new(errors, name, json_string("unknown field"));
        }
    }
    if (!id && json_object_size(errors) == 0)
        json_object_set_new(errors, "id", json_string("missing primary key"));
    if (json_object_size(errors) > 0)
        return errors;
    json_decref(errors);
    return NULL;
}

/* An entity by its key; a scalar in its place is one without. */
static json_t *validate_foreign(const struct field *f, const struct val *value, bool updating)
{
    return value->kind == VAL_ID ? NULL : validate_key_of(f, val_json(value), updating);
}

static json_t *validate_inside(const struct field *f, const struct val *value, bool updating)
{
    switch (f->type) {
    case FT_ARRAY:
    case FT_SET: return f->elem ? validate_list(f, value, updating) : NULL;
    case FT_MAP: return f->key ? validate_map(f, value, updating) : NULL;
    case FT_RECORD:
    case FT_SUBRECORD: return validate_record(f, value, updating);
    case FT_FOREIGN: return validate_foreign(f, value, updating);
    case FT_STRING:
        if (value->text.len && memchr(value->text.p, '\0', value->text.len))
            return json_string("must not contain a NUL byte");
        return NULL;
    case FT_INTEGER:
    case FT_NUMBER:
    case FT_BOOLEAN: return NULL;
    }
    WEIR_UNREACHABLE("field type");
}

/* ---- attributes ---- */

static bool equals_text(const struct val *value, const char *text)
{
    json_t *json = json_loads(text, JSON_DECODE_ANY, NULL);
    struct val other;
    bool same;

    WEIR_ASSERT(json); /* a text of ours */
    other = val_of_json(json);
    same = val_is_number(&other) && val_is_number(value)
               ? val_number(&other) == val_number(value)
               : val_equal(&other, value);
    json_decref(json);
    return same;
}

/* The text without its quotes, as messages show it. */
static json_t *value_must(const char *words, const char *text)
{
    struct str s = str_of(text);

    if (s.len > 1 && s.p[0] == '"')
        s = str_n(s.p + 1, s.len - 2);
    return wrong("value must %sbe " STR_FMT, words, STR_ARG(s));
}

static bool is_word_of(const struct val *value, const char *const *words)
{
    struct str text = val_text(value);
    char digits[24];

    if (value->kind == VAL_INTEGER)
        text = str_n(digits, (size_t)snprintf(digits, sizeof(digits), "%" PRId64, value->integer));
    for (size_t i = 0; text.p && words[i]; i++) {
        if (str_eq(text, str_of(words[i])))
            return true;
    }
    return false;
}

static json_t *word_error(const char *words, const char *const *list)
{
    struct sbuf text = {0};
    json_t *e;

    sbuf_adds(&text, words);
    for (size_t i = 0; list[i]; i++) {
        sbuf_adds(&text, i ? ", " : "");
        sbuf_adds(&text, list[i]);
    }
    e = json_text(text.p);
    sbuf_free(&text);
    return e;
}

static json_t *check_words(const struct field *f, const struct val *value)
{
    if (f->eq && !equals_text(value, f->eq))
        return value_must("", f->eq);
    if (f->ne && equals_text(value, f->ne))
        return value_must("not ", f->ne);
    if (f->not_one_of && is_word_of(value, f->not_one_of))
        return word_error("must not be one of: ", f->not_one_of);
    if (f->one_of && !is_word_of(value, f->one_of))
        return word_error("expected one of: ", f->one_of);
    return NULL;
}

static json_t *check_numbers(const struct field *f, const struct val *value)
{
    struct uuid id;

    if (f->gt && !(val_number(value) > *f->gt))
        return wrong("value must be greater than %.14g", *f->gt);
    if ((f->flags & FF_TIMESTAMP) && !(val_number(value) > 0))
        return json_string("expected a valid timestamp");
    if ((f->flags & FF_UUID) && !uuid_parse(val_text(value), &id))
        return json_string("expected a valid UUID");
    if (f->between.set &&
        !(val_number(value) >= f->between.min && val_number(value) <= f->between.max))
        return wrong("value should be between %.14g and %.14g", f->between.min, f->between.max);
    return NULL;
}

static json_t *check_length(const struct field *f, const struct val *value)
{
    bool text = f->type == FT_STRING;
    size_t length = val_length(value);
    int min = f->len_min ? f->len_min : text && !(f->flags & FF_EMPTY_OK);

    if (!text && f->type != FT_ARRAY && f->type != FT_SET && f->type != FT_MAP)
        return NULL;
    if ((f->flags & FF_MUST_BE_EMPTY) && length != 0)
        return json_string("length must be 0");
    if (length < (size_t)min)
        return wrong("length must be at least %d", min);
    if (f->len_max && length > (size_t)f->len_max)
        return wrong("length must be at most %d", f->len_max);
    return NULL;
}

static json_t *pattern_error(const struct pattern *p, const struct val *value)
{
    if (p->err)
        return json_string(p->err);
    return wrong("invalid value: " STR_FMT, STR_ARG(val_text(value)));
}

static json_t *check_patterns(const struct field *f, const struct val *value)
{
    struct str text = val_text(value);
    const struct pattern *p;

    if (f->starts_with && !str_starts(text, str_of(f->starts_with)))
        return wrong("should start with: %s", f->starts_with);
    for (p = f->match_none; p && p->regex; p++) {
        if (regex_matches(p->regex, text))
            return pattern_error(p, value);
    }
    if (f->match && !regex_matches(f->match->regex, text))
        return pattern_error(f->match, value);
    for (p = f->match_all; p && p->regex; p++) {
        if (!regex_matches(p->regex, text))
            return pattern_error(p, value);
    }
    for (p = f->match_any; p && p->regex; p++) {
        if (regex_matches(p->regex, text))
            return NULL;
    }
    return f->match_any ? pattern_error(f->match_any, value) : NULL;
}

static bool has_element(const struct field *elem, const struct val *list, const char *word)
{
    struct val_walk it = val_walk(list, elem);
    struct str none, text = str_of(word);
    struct val item;

    while (val_next(&it, &none, &item)) {
        if (item.kind == VAL_TEXT && str_eq(item.text, text))
            return true;
    }
    return false;
}

static bool has_any_of(const struct field *elem, const struct val *list, const char *const *words)
{
    for (; *words; words++) {
        if (has_element(elem, list, *words))
            return true;
    }
    return false;
}

/* Elements of at most one of the sets may be there. */
static json_t *check_subsets(const struct field *f, const struct val *value)
{
    const char *const *const *set;
    struct sbuf text = {0};
    size_t n = 0;
    json_t *e;

    for (set = f->exclusive_subsets; *set; set++)
        n += has_any_of(f->elem, value, *set);
    if (n < 2)
        return NULL;
    sbuf_adds(&text, "these sets are mutually exclusive:");
    n = 0;
    for (set = f->exclusive_subsets; *set; set++) {
        if (!has_any_of(f->elem, value, *set))
            continue;
        sbuf_adds(&text, n++ ? ", (" : " (");
        for (size_t i = 0; (*set)[i]; i++)
            sbuf_addf(&text, "%s'%s'", i ? ", " : "", (*set)[i]);
        sbuf_addc(&text, ')');
    }
    e = json_text(text.p);
    sbuf_free(&text);
    return e;
}

static json_t *check_function(const struct field *f, const struct val *value)
{
    struct err e;

    err_clear(&e);
    return f->check(f, val_text(value), &e) != 0 ? json_text(e.message) : NULL;
}

static json_t *check_attributes(const struct field *f, const struct val *value)
{
    json_t *error = check_words(f, value);

    if (!error)
        error = check_numbers(f, value);
    if (!error)
        error = check_length(f, value);
    if (!error && f->type == FT_STRING)
        error = check_patterns(f, value);
    if (!error && f->contains && !has_element(f->elem, value, f->contains))
        error = wrong("expected to contain: %s", f->contains);
    if (!error && f->check)
        error = check_function(f, value);
    if (!error && f->exclusive_subsets)
        error = check_subsets(f, value);
    if (error && f->null_err) {
        json_decref(error);
        error = json_string(f->null_err);
    }
    return error;
}

static bool is_vault_reference(const struct field *f, struct str text)
{
    return (f->flags & FF_REFERENCEABLE) && str_starts(text, STR("{vault://")) &&
           str_ends(text, STR("}"));
}

json_t *validate_value(const struct field *f, const struct val *value, bool updating)
{
    const char *type;
    json_t *error;

    if (val_is_null(value))
        return f->flags & FF_REQUIRED ? json_string(required_text) : NULL;
    if (f->flags & FF_NULL_ONLY)
        return json_string(f->null_err ? f->null_err : "value must be null");
    type = type_error(f, value);
    if (type)
        return json_string(type);
    error = validate_inside(f, value, updating);
    if (error || is_vault_reference(f, val_text(value)))
        return error;
    return check_attributes(f, value);
}

/* ---- tables ---- */

static bool has_checks(const struct shape *t)
{
    return (t->checks && t->checks->n_list) || (t->over_checks && t->over_checks->n_list);
}

void validate_shape(const struct shape *t, const json_t *doc, bool updating, json_t *errors)
{
    const struct field *f;
    const char *name;
    json_t *value;
    size_t known = 0; /* when all are there, none is missing */

    json_object_foreach(json_unconst(doc), name, value)
    {
        struct val v = val_of_json(value);
        json_t *e;

        f = shape_find(t, str_of(name));
        known += f != NULL;
        e = f ? validate_value(f, &v, updating) : json_string("unknown field");
        if (e)
            json_object_set_new(errors, name, e);
    }
    for (size_t i = 0; known < t->table->n && (f = shape_next(t, &i));) {
        if ((f->flags & FF_REQUIRED) && !json_object_get(doc, f->name))
            json_object_set_new(errors, f->name, json_string(required_text));
    }
    if (has_checks(t)) {
        struct frame r = {.t = *t};

        frame_of_json(doc, &r);
        run_checks(&r, updating, errors);
    }
}

void validate_frame(const struct frame *r, json_t *errors)
{
    const struct field *f;

    for (size_t i = 0; (f = shape_next(&r->t, &i));) {
        json_t *e = r->v[i - 1].is_default ? NULL : validate_value(f, &r->v[i - 1], false);

        if (e)
            json_object_set_new(errors, f->name, e);
    }
    if (has_checks(&r->t))
        run_checks(r, false, errors);
}
