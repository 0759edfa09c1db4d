/* problem.c - what a request to the Admin API can end with, in the reference's words. */
#include "controlplane/store.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct kind {
    int code, status;
    const char *name;
};

static const struct kind kinds[] = {
#define X(kind, code, status, name) [kind] = {code, status, name},
    PROBLEM_KINDS(X)
#undef X
};

void problem_free(struct problem *p)
{
    free(p->message);
    json_decref(p->fields);
    *p = (struct problem){0};
}

int problem_set(struct problem *p, enum problem_kind kind, json_t *fields, const char *fmt, ...)
{
    char *text;
    va_list args;

    va_start(args, fmt);
    if (vasprintf(&text, fmt, args) < 0)
        WEIR_UNREACHABLE("memory is out");
    va_end(args);
    problem_free(p); /* after the text: it may quote the former one */
    p->kind = kind;
    p->message = text;
    p->fields = fields;
    return -1;
}

int problem_from_violations(struct problem *p, struct violations *v)
{
    problem_free(p);
    p->kind = PROBLEM_SCHEMA;
    p->message = violations_message(v);
    p->fields = json_incref(v->fields);
    violations_free(v);
    return -1;
}

int problem_status(const struct problem *p)
{
    return kinds[p->kind].status;
}

json_t *problem_body(const struct problem *p)
{
    const struct kind *k = &kinds[p->kind];
    const char *field = json_object_iter_key(json_object_iter(p->fields));
    char name[96];
    json_t *body;

    /* Details of a database failure are for the log; the reference answers this text. */
    if (p->kind == PROBLEM_DATABASE)
        return json_pack("{s:s}", "message", "An unexpected error occurred");
    snprintf(name, sizeof(name), k->name, field ? field : "key");
    body = json_pack("{s:i, s:s, s:s}", "code", k->code, "name", name, "message", p->message);
    if (p->fields && p->kind != PROBLEM_UNIQUE_INVALID)
        json_object_set(body, p->kind == PROBLEM_OPTIONS ? "options" : "fields", p->fields);
    return body;
}

/* ---- keys in messages ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void add_key(struct sbuf *out, const json_t *v);

static void add_members(struct sbuf *out, const json_t *object)
{
    size_t n = json_object_size(object), i = 0;
    const char **names = xcalloc(n + 1, sizeof(*names));
    const char *name;
    json_t *value;

    for (void *it = json_object_iter(json_unconst(object)); it;
         it = json_object_iter_next(json_unconst(object), it))
        names[i++] = json_object_iter_key(it);
    qsort(names, n, sizeof(*names), by_name);
    sbuf_addc(out, '{');
    for (i = 0; i < n; i++) {
        name = names[i];
        value = json_object_get(object, name);
        sbuf_addf(out, "%s%s=", i ? "," : "", name);
        add_key(out, value);
    }
    sbuf_addc(out, '}');
    free(names);
}

static void add_key(struct sbuf *out, const json_t *v)
{
    if (json_is_object(v))
        add_members(out, v);
    else if (json_is_string(v))
        sbuf_addf(out, "\"%s\"", json_string_value(v));
    else if (json_is_integer(v))
        sbuf_addf(out, "%lld", (long long)json_integer_value(v));
    else if (json_is_boolean(v))
        sbuf_adds(out, json_is_true(v) ? "true" : "false");
    else
        sbuf_adds(out, "null");
}

char *problem_key(const json_t *key)
{
    struct sbuf out = {0};

    add_key(&out, key);
    return sbuf_take(&out);
}

int problem_not_found(struct problem *p, json_t *key)
{
    char *text = problem_key(key);
    bool primary = json_object_get(key, "id") != NULL;

    problem_set(p, PROBLEM_NOT_FOUND, key, "could not find the entity with %s'%s'",
                primary ? "primary key " : "", text);
    free(text);
    return -1;
}
