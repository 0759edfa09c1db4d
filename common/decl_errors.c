/* decl_errors.c - what is wrong with a declarative document: as lines for people, as the
 * reference's error object for its clients. */
#include "common/decl_priv.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

void decl_errors_free(struct decl_errors *errs)
{
    for (size_t i = 0; i < errs->n; i++)
        free(errs->v[i].text);
    free(errs->v);
    if (errs->violations.fields)
        json_decref(errs->violations.fields);
    *errs = (struct decl_errors){0};
}

void decl_errors_add(struct decl_errors *errs, size_t line, const char *path, const char *text)
{
    struct sbuf b = {0};

    sbuf_addf(&b, "%s%s%s", path, path[0] ? ": " : "", text);
    if ((errs->n & (errs->n - 1)) == 0) /* grows at powers of two */
        errs->v = xrealloc(errs->v, (errs->n ? errs->n * 2 : 1) * sizeof(*errs->v));
    errs->v[errs->n++] = (struct decl_error){.line = line, .text = sbuf_take(&b)};
}

/*
 * The value of key in a mapping whose keys are asked for in its order: the search starts
 * behind the last one found, so that a hundred thousand wrong members cost no more than that.
 */
static const struct node *member(const struct node *map, const char *key, size_t *from)
{
    size_t n = map && map->kind == NODE_MAP ? map->n : 0;

    for (size_t k = 0; k < n; k++) {
        size_t i = (*from + k) % n;

        if (str_eq(pair_key(&map->pairs[i]), str_of(key))) {
            *from = i + 1;
            return &map->pairs[i].value;
        }
    }
    return NULL;
}

static void add_member(struct decl_errors *errs, const struct node *child, size_t line,
                       const char *path, const char *step, const json_t *fields)
{
    struct sbuf below = {0};

    sbuf_addf(&below, "%s%s%s", path, path[0] ? "." : "", step);
    decl_errors_add_fields(errs, child, child ? child->line : line, below.p, fields);
    sbuf_free(&below);
}

void decl_errors_add_fields(struct decl_errors *errs, const struct node *node, size_t line,
                            const char *path, const json_t *fields)
{
    const char *key;
    json_t *value;
    size_t i, from = 0;

    if (json_is_string(fields)) {
        decl_errors_add(errs, line, path, json_string_value(fields));
    } else if (json_is_array(fields)) {
        json_array_foreach(json_unconst(fields), i, value)
        {
            char step[24];
            snprintf(step, sizeof(step), "%zu", i + 1);
            if (!json_is_null(value))
                add_member(errs, node_at(node, i), line, path, step, value);
        }
    } else {
        json_object_foreach(json_unconst(fields), key, value)
        {
            /* no array: a client's own member of that name */
            if (strcmp(key, "@entity") != 0 || !json_is_array(value)) {
                add_member(errs, member(node, key, &from), line, path, key, value);
                continue;
            }
            for (i = 0; i < json_array_size(value); i++)
                decl_errors_add(errs, line, path, json_string_value(json_array_get(value, i)));
        }
    }
}

void decl_errors_name_file(struct decl_errors *errs, const char *path)
{
    for (size_t i = 0; i < errs->n; i++) {
        struct sbuf b = {0};

        if (errs->v[i].line)
            sbuf_addf(&b, "%s:%zu: %s", path, errs->v[i].line, errs->v[i].text);
        else
            sbuf_addf(&b, "%s: %s", path, errs->v[i].text);
        free(errs->v[i].text);
        errs->v[i].text = sbuf_take(&b);
    }
}

static int by_line(const void *a, const void *b)
{
    const struct decl_error *x = a, *y = b;
    int c = (x->line > y->line) - (x->line < y->line);

    return c ? c : strcmp(x->text, y->text);
}

void decl_errors_sort(struct decl_errors *errs)
{
    if (errs->n > 1)
        qsort(errs->v, errs->n, sizeof(*errs->v), by_line);
}

/* ---- the reference's one-line rendering ---- */

static bool is_identifier(const char *s)
{
    if (!isalpha((unsigned char)*s) && *s != '_')
        return false;
    while (isalnum((unsigned char)*s) || *s == '_')
        s++;
    return *s == '\0';
}

static void render_string(struct sbuf *out, const char *s)
{
    sbuf_addc(out, '"');
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            sbuf_addc(out, '\\');
        sbuf_addc(out, *s);
    }
    sbuf_addc(out, '"');
}

/* {a="x",{b="y"},[3]="z",["@entity"]={...}}: behind a hole elements carry their number. */
static void render(struct sbuf *out, const json_t *v)
{
    bool hole = false;
    const char *key;
    json_t *value;
    size_t start, i;

    if (json_is_string(v)) {
        render_string(out, json_string_value(v));
        return;
    }
    sbuf_addc(out, '{');
    start = out->len;
    if (json_is_array(v)) {
        json_array_foreach(json_unconst(v), i, value)
        {
            if (json_is_null(value)) {
                hole = true;
                continue;
            }
            if (out->len > start)
                sbuf_addc(out, ',');
            if (hole)
                sbuf_addf(out, "[%zu]=", i + 1);
            render(out, value);
        }
    } else {
        json_object_foreach(json_unconst(v), key, value)
        {
            if (out->len > start)
                sbuf_addc(out, ',');
            if (is_identifier(key)) {
                sbuf_adds(out, key);
            } else {
                sbuf_addc(out, '[');
                render_string(out, key);
                sbuf_addc(out, ']');
            }
            sbuf_addc(out, '=');
            render(out, value);
        }
    }
    sbuf_addc(out, '}');
}

char *decl_errors_message(const struct decl_errors *errs)
{
    struct sbuf out = {0};

    sbuf_adds(&out, "declarative config is invalid: ");
    render(&out, errs->violations.fields);
    return sbuf_take(&out);
}
