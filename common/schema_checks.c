/* schema_checks.c - rules between the fields of a record (schema_priv.h). */
#include <stdlib.h>

#include "common/schema_priv.h"

static bool is_nonempty(const struct val *value)
{
    switch (value->kind) {
    case VAL_NONE:
    case VAL_NULL: return false;
    case VAL_TEXT:
    case VAL_LIST:
    case VAL_MAP: return val_length(value) > 0;
    case VAL_BOOLEAN:
    case VAL_INTEGER:
    case VAL_REAL:
    case VAL_ID: return true;
    }
    WEIR_UNREACHABLE("kind of value");
}

static size_t count_nonempty(const struct frame *r, const char *const *fields, size_t *n_out)
{
    size_t found = 0, n = 0;

    for (; fields[n]; n++) {
        struct val value = frame_at_path(r, fields[n]);
        found += is_nonempty(&value);
    }
    *n_out = n;
    return found;
}

/* "'a', 'b'" */
static void add_quoted(struct sbuf *out, const char *const *fields)
{
    for (size_t i = 0; fields[i]; i++)
        sbuf_addf(out, "%s'%s'", i ? ", " : "", fields[i]);
}

/* The text with the fields quoted behind it, or where "%s" stands. */
static void fields_error(json_t *errors, const char *text, const char *const *fields)
{
    const char *hole = strstr(text, "%s");
    struct sbuf out = {0};

    if (hole)
        sbuf_add(&out, text, (size_t)(hole - text));
    else
        sbuf_adds(&out, text);
    if (hole || strchr(text, ':'))
        add_quoted(&out, fields);
    if (hole)
        sbuf_adds(&out, hole + 2);
    errors_add_entity(errors, out.p);
    sbuf_free(&out);
}

static void check_counted(const struct check *c, const struct frame *r, bool updating, json_t *errors)
{
    size_t n, found = count_nonempty(r, c->fields, &n);

    switch (c->kind) {
    case CK_AT_LEAST_ONE_OF:
        if (found == 0)
            fields_error(errors,
                         updating
                             ? "when updating, at least one of these fields must be non-empty: "
                             : "at least one of these fields must be non-empty: ",
                         c->fields);
        break;
    case CK_ONLY_ONE_OF:
        if (found != 1)
            fields_error(errors, "exactly one of these fields must be non-empty: ", c->fields);
        break;
    case CK_MUTUALLY_REQUIRED:
        if (found != 0 && found != n)
            fields_error(errors, "all or none of these fields must be set: ", c->fields);
        break;
    case CK_MUTUALLY_EXCLUSIVE:
        if (found > 1)
            fields_error(errors, "only one or none of these fields must be set: ", c->fields);
        break;
    case CK_DISTINCT:
    case CK_CONDITIONAL:
    case CK_CONDITIONAL_ONE_OF:
    case CK_CUSTOM: break;
    }
}

static void check_distinct(const struct check *c, const struct frame *r, json_t *errors)
{
    for (size_t i = 0; c->fields[i]; i++) {
        struct val a = frame_at_path(r, c->fields[i]);

        for (size_t k = 0; k < i; k++) {
            struct val b = frame_at_path(r, c->fields[k]);

            if (is_nonempty(&a) && val_equal(&a, &b)) {
                fields_error(errors, "values of these fields must be distinct: ", c->fields);
                return;
            }
        }
    }
}

/* The field with the attributes of the match in place of its own. */
static struct field overlay(const struct field *base, const struct field *match)
{
    struct field f = *base;

    f.flags |= match->flags;
#define TAKE(m) f.m = match->m ? match->m : f.m
    TAKE(gt);
    TAKE(one_of);
    TAKE(not_one_of);
    TAKE(eq);
    TAKE(ne);
    TAKE(contains);
    TAKE(len_min);
    TAKE(len_max);
    TAKE(starts_with);
    TAKE(match);
    TAKE(match_none);
    TAKE(match_all);
    TAKE(match_any);
    TAKE(elem);
    TAKE(null_err);
#undef TAKE
    if (match->between.set)
        f.between = match->between;
    return f;
}

static bool value_passes(const struct frame *r, const char *path, const struct val *value,
                         const struct field *match)
{
    const struct field *base = shape_find_path(&r->t, path);
    json_t *error;
    struct field f;

    if (!base)
        return false;
    f = overlay(base, match);
    error = validate_value(&f, value, false);
    json_decref(error);
    return !error;
}

/*
 * Whether the value at the path is there and passes match, a condition of c. Of a default that
 * is always the same: what was found out once stands in the table, as the address of c with the
 * answer in its low bits.
 */
static bool passes(const struct frame *r, const struct check *c, const struct field *match)
{
    enum { PASSES = 1, IS_ELSE = 2 };
    uintptr_t key = (uintptr_t)c | (match == c->else_match ? IS_ELSE : 0), known;
    struct val value = frame_at_path(r, c->if_field);
    _Atomic(uintptr_t) *memo = &r->t.table->memo[(key / sizeof(*c) + key) % MEMOS];
    bool answer;

    if (val_is_null(&value))
        return false;
    if (!value.is_default)
        return value_passes(r, c->if_field, &value, match);
    known = atomic_load_explicit(memo, memory_order_relaxed);
    if ((known & ~(uintptr_t)PASSES) == key)
        return known & PASSES;
    answer = value_passes(r, c->if_field, &value, match);
    atomic_store_explicit(memo, key | (answer ? PASSES : 0), memory_order_relaxed);
    return answer;
}

/* What then_match says about the value, NULL when it passes. */
static json_t *then_error(const struct frame *r, const struct check *c)
{
    const struct field *base = shape_find_path(&r->t, c->then_field);
    struct val value = frame_at_path(r, c->then_field);
    struct field f;

    WEIR_ASSERT(base); /* a name of ours */
    f = overlay(base, c->then_match);
    return validate_value(&f, &value, false);
}

/* Whether the value is null and may be: then the condition does not matter. */
static bool accepts_null(const struct frame *r, const struct check *c)
{
    const struct field *base = shape_find_path(&r->t, c->then_field);
    struct val value = frame_at_path(r, c->then_field);

    return val_is_null(&value) && base && !((base->flags | c->then_match->flags) & FF_REQUIRED);
}

static void check_conditional(const struct frame *r, const struct check *c, json_t *errors)
{
    json_t *error;
    char text[256];

    if (accepts_null(r, c) || !passes(r, c, c->if_match))
        return;
    error = then_error(r, c);
    if (!error)
        return;
    if (json_is_string(error))
        errors_set(errors, c->then_field, json_string_value(error));
    else if (!strchr(c->then_field, '.'))
        json_object_set(errors, c->then_field, error);
    json_decref(error);
    snprintf(text, sizeof(text), "failed conditional validation given value of field '%s'",
             c->if_field);
    errors_add_entity(errors, c->then_err ? c->then_err : text);
}

static void check_conditional_one_of(const struct frame *r, const struct check *c, json_t *errors)
{
    const char *const *fields = NULL;
    const char *text = NULL;
    size_t n;

    if (passes(r, c, c->if_match)) {
        fields = c->fields;
        text = c->then_err;
    } else if (c->else_match && passes(r, c, c->else_match)) {
        fields = c->else_fields;
        text = c->else_err;
    }
    if (fields && count_nonempty(r, fields, &n) == 0)
        fields_error(errors, text, fields);
}

/* Code of ours sees only values that passed, and only when there is one. */
static void check_custom(const struct check *c, const struct frame *r, json_t *errors)
{
    bool all_null = true;
    struct err e;

    for (size_t i = 0; c->fields[i]; i++) {
        struct val value = frame_at_path(r, c->fields[i]);

        all_null = all_null && val_is_null(&value);
    }
    if (all_null && !c->run_with_missing_fields)
        return;
    err_clear(&e);
    if (c->fn(r->doc, &e) != 0)
        errors_add_entity(errors, e.message);
}

/* Whether the rule's fields are those of a record that an update has emptied: that says enough. */
static bool is_within_null(const struct check *c, const struct frame *r)
{
    struct str path = str_of(c->fields[0]), top;

    if (!str_next(&path, '.', &top) || !path.len)
        return false;
    return frame_get(r, top).kind == VAL_NULL;
}

/* Whether the rule says nothing while one of its fields is wrong in itself. */
static bool waits_for_fields(const struct check *c, const struct frame *r, bool updating,
                             const json_t *errors)
{
    if (c->kind == CK_AT_LEAST_ONE_OF && updating && is_within_null(c, r))
        return true;
    if (c->kind == CK_AT_LEAST_ONE_OF || c->kind == CK_ONLY_ONE_OF || c->kind == CK_CONDITIONAL ||
        c->kind == CK_CONDITIONAL_ONE_OF)
        return false;
    for (size_t i = 0; c->fields[i]; i++) {
        if (json_at_path(errors, c->fields[i]))
            return true;
    }
    return false;
}

static void run_list(const struct frame *r, const struct record_checks *checks, bool updating,
                     json_t *errors)
{
    for (size_t i = 0; checks && i < checks->n_list; i++) {
        const struct check *c = &checks->list[i];

        if (waits_for_fields(c, r, updating, errors))
            continue;
        switch (c->kind) {
        case CK_AT_LEAST_ONE_OF:
        case CK_ONLY_ONE_OF:
        case CK_MUTUALLY_REQUIRED:
        case CK_MUTUALLY_EXCLUSIVE: check_counted(c, r, updating, errors); break;
        case CK_DISTINCT: check_distinct(c, r, errors); break;
        case CK_CONDITIONAL: check_conditional(r, c, errors); break;
        case CK_CONDITIONAL_ONE_OF: check_conditional_one_of(r, c, errors); break;
        case CK_CUSTOM: check_custom(c, r, errors); break;
        }
    }
}

void run_checks(const struct frame *r, bool updating, json_t *errors)
{
    run_list(r, r->t.checks, updating, errors);
    run_list(r, r->t.over_checks, updating, errors);
}
