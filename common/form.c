/* form.c - form bodies to documents (schema.h; the reference's admin-api.md section 5). */
#include <stdlib.h>

#include "common/checks.h"
#include "common/schema_priv.h"

#define DEPTH_MAX 16    /* names in one argument's path */
#define INDEX_MAX 1000  /* as many as there may be arguments */
#define HOLES_MAX 10000 /* positions that the lists of one form leave open */

/* One step of "a.b[c][1][]": a name, a position, or the end of a list. */
struct step {
    struct str name; /* p == NULL: a position */
    size_t index;    /* from 1; 0: the end */
};

static int add_step(struct step *steps, size_t *n, struct step s, struct err *e)
{
    if (*n == DEPTH_MAX)
        return err_set(e, ERR_LIMIT, "expected at most %d names in an argument", DEPTH_MAX);
    steps[(*n)++] = s;
    return 0;
}

static struct step bracket_step(struct str inside)
{
    uint64_t index;

    if (inside.len == 0)
        return (struct step){.index = 0};
    if (str_to_u64(inside, &index) && index >= 1 && index <= INDEX_MAX)
        return (struct step){.index = (size_t)index};
    return (struct step){.name = inside};
}

/* An unclosed bracket is part of the name. */
static int split_name(struct str name, struct step *steps, size_t *n_out, struct err *e)
{
    size_t n = 0, i = 0;

    while (i < name.len) {
        size_t start = i, close;

        if (n > 0 && name.p[i] == '[') {
            close = str_find(str_n(name.p + i, name.len - i), ']');
            if (close < name.len - i) {
                if (add_step(steps, &n, bracket_step(str_n(name.p + i + 1, close - 1)), e) != 0)
                    return -1;
                i += close + 1;
                continue;
            }
        }
        if (n > 0 && name.p[i] == '.')
            start = ++i;
        while (i < name.len && name.p[i] != '.' && (name.p[i] != '[' || i == start))
            i++;
        if (add_step(steps, &n, (struct step){.name = str_n(name.p + start, i - start)}, e) != 0)
            return -1;
    }
    *n_out = n;
    return 0;
}

/* ---- the tree, still text ---- */

static json_t *child_of_object(json_t *at, struct str name, json_t *child)
{
    char *key = str_dup(name);
    json_t *old = json_object_get(at, key);

    if (child)
        json_object_set_new(at, key, child);
    else
        child = old;
    free(key);
    return child;
}

static json_t *child_of_list(json_t *list, size_t index, json_t *child)
{
    if (!child)
        return index ? json_array_get(list, index - 1) : NULL;
    if (index == 0) {
        json_array_append_new(list, child);
        return child;
    }
    while (json_array_size(list) < index)
        json_array_append_new(list, json_null());
    json_array_set_new(list, index - 1, child);
    return child;
}

/* What at has under s, or, given a child, puts it there. */
static json_t *child_of(json_t *at, const struct step *s, json_t *child)
{
    if (s->name.p)
        return child_of_object(at, s->name, child);
    return child_of_list(at, s->index, child);
}

/* Positions may come in any order, but a short form must not make long lists of nothing. */
static int count_holes(const json_t *at, const struct step *s, size_t *holes, struct err *e)
{
    size_t n = json_array_size(at);

    if (!s->name.p && s->index > n + 1)
        *holes += s->index - n - 1;
    if (*holes > HOLES_MAX)
        return err_set(e, ERR_LIMIT, "expected at most %d open positions in lists", HOLES_MAX);
    return 0;
}

static bool fits(const json_t *node, const struct step *s)
{
    return s->name.p ? json_is_object(node) : json_is_array(node);
}

/* A name that comes again makes a list of its values. */
static void put_leaf(json_t *at, const struct step *s, json_t *value)
{
    json_t *old = child_of(at, s, NULL);

    if (!old || json_is_null(old)) {
        child_of(at, s, value);
    } else if (json_is_array(old)) {
        json_array_append_new(old, value);
    } else {
        json_t *list = json_array();

        json_array_append(list, old);
        json_array_append_new(list, value);
        child_of(at, s, list);
    }
}

static int put_arg(json_t *root, const struct form_arg *arg, size_t *holes, struct err *e)
{
    struct step steps[DEPTH_MAX];
    json_t *at = root, *value;
    size_t n = 0;

    if (utf8_invalid_at(arg->name) != arg->name.len ||
        utf8_invalid_at(arg->value) != arg->value.len)
        return err_set(e, ERR_INVALID, "expected UTF-8 in form arguments");
    if ((arg->name.len && memchr(arg->name.p, '\0', arg->name.len)) || arg->name.len == 0)
        return arg->name.len ? err_set(e, ERR_INVALID, "expected names without NUL bytes") : 0;
    if (split_name(arg->name, steps, &n, e) != 0)
        return -1;
    for (size_t i = 0; i + 1 < n; i++) {
        json_t *next = child_of(at, &steps[i], NULL);

        if (count_holes(at, &steps[i], holes, e) != 0)
            return -1;
        if (!next || !fits(next, &steps[i + 1]))
            next = child_of(at, &steps[i], steps[i + 1].name.p ? json_object() : json_array());
        at = next;
    }
    if (count_holes(at, &steps[n - 1], holes, e) != 0)
        return -1;
    value = json_stringn(arg->value.len ? arg->value.p : "", arg->value.len);
    put_leaf(at, &steps[n - 1], value);
    return 0;
}

/* ---- from text to the types of the table ---- */

static void convert_shape(const struct shape *t, json_t *doc);

static json_t *converted(const struct field *f, json_t *value);

static json_t *converted_text(const struct field *f, json_t *value)
{
    struct str s = json_str(value);
    json_t *number;

    if (s.len == 0)
        return json_null();
    switch (f->type) {
    case FT_INTEGER:
    case FT_NUMBER:
        number = json_loadb(s.p, s.len, JSON_DECODE_ANY, NULL);
        if (json_is_number(number))
            return number;
        json_decref(number);
        break;
    case FT_BOOLEAN:
        if (str_eq(s, STR("true")) || str_eq(s, STR("false")))
            return json_boolean(s.p[0] == 't');
        break;
    case FT_ARRAY:
    case FT_SET: return json_pack("[o]", converted(f->elem, value));
    case FT_STRING:
    case FT_MAP:
    case FT_RECORD:
    case FT_FOREIGN:
    case FT_SUBRECORD: break;
    }
    return json_incref(value);
}

/* A new reference; text that does not convert stays, for the validation to refuse. */
static json_t *converted(const struct field *f, json_t *value)
{
    struct shape inner = shape_of_record(f);
    const char *name;
    json_t *item;
    size_t i;

    if (json_is_string(value))
        return converted_text(f, value);
    if (json_is_array(value) && f->elem && f->type != FT_MAP) {
        json_array_foreach(value, i, item) json_array_set_new(value, i, converted(f->elem, item));
    } else if (json_is_object(value) && f->type == FT_MAP) {
        json_object_foreach(value, name, item)
            json_object_set_new(value, name, converted(f->elem, item));
    } else if (json_is_object(value) && is_record(f)) {
        convert_shape(&inner, value);
    }
    return json_incref(value);
}

static const struct field *alias_find(const struct record_checks *checks, struct str name)
{
    for (size_t i = 0; checks && i < checks->n_shorthands; i++) {
        if (str_eq(name, str_of(checks->shorthands[i].field.name)))
            return &checks->shorthands[i].field;
    }
    return NULL;
}

static void convert_shape(const struct shape *t, json_t *doc)
{
    static const struct field text = {.type = FT_STRING};
    const char *name;
    json_t *value;

    json_object_foreach(doc, name, value)
    {
        const struct field *f = shape_find(t, str_of(name));

        if (!f)
            f = alias_find(t->checks, str_of(name));
        json_object_set_new(doc, name, converted(f ? f : &text, value));
    }
}

/* The table by what the form says, else by the stored entity. */
static void choose_shape(const struct entity *ent, const json_t *doc, const json_t *stored,
                         struct shape *t)
{
    if (!shape_of(ent, doc, t, NULL) && stored && !json_object_get(doc, ent->subschema_key))
        (void)shape_of(ent, stored, t, NULL);
}

json_t *form_decode(const struct entity *ent, const struct form_arg *args, size_t n,
                    const json_t *stored, struct err *e)
{
    static const struct field ttl = {.type = FT_INTEGER};
    json_t *doc = json_object(), *value;
    size_t holes = 0;
    struct shape t;

    for (size_t i = 0; i < n; i++) {
        if (put_arg(doc, &args[i], &holes, e) != 0) {
            json_decref(doc);
            return NULL;
        }
    }
    if (!ent)
        return doc;
    choose_shape(ent, doc, stored, &t);
    convert_shape(&t, doc);
    value = ent->has_ttl ? json_object_get(doc, "ttl") : NULL;
    if (value)
        json_object_set_new(doc, "ttl", converted(&ttl, value));
    return doc;
}
