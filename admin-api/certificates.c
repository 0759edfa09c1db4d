/*
 * certificates.c - the server names of a certificate: written with it in one field, kept as
 * rows of snis, and good for finding it.
 */
#include <stdlib.h>

#include "admin-api/hooks.h"
#include "admin-api/rows.h"

#define NAMES_PAGE 1000

static int by_name(const struct source *src, struct str name, struct row_ref *ref_out,
                   struct problem *p)
{
    const struct row_ref sni = {.by = "name", .value = name};
    json_t *row = NULL;
    int found;

    if (row_key_check(&entity_snis, "name", name, p) != 0)
        return -1;
    found = source_get(src, &entity_snis, &sni, &row, p);
    if (found > 0 && !row_link(row, "certificate", &ref_out->id))
        found = 0;
    json_decref(row);
    return found;
}

static int bad_snis(struct problem *p, const char *name, const char *what)
{
    struct sbuf text = {0};

    sbuf_addf(&text, "%s %s", name, what);
    problem_set(p, PROBLEM_SCHEMA, json_pack("{s:s}", "snis", text.p),
                "schema violation (snis: %s)", text.p);
    sbuf_free(&text);
    return -1;
}

static bool has_name(const json_t *names, const char *name, size_t before)
{
    for (size_t i = 0; i < before; i++) {
        const char *other = json_string_value(json_array_get(names, i));

        if (other && strcmp(other, name) == 0)
            return true;
    }
    return false;
}

/* Names that the field's type refuses are left to the schema. */
static int before(json_t *in, struct problem *p)
{
    const json_t *names = json_object_get(in, "snis");

    for (size_t i = 0; i < json_array_size(names); i++) {
        const json_t *name = json_array_get(names, i);
        struct str text = json_str(name);

        if (!text.p)
            continue;
        if (row_key_check(&entity_snis, "name", text, p) != 0)
            return -1;
        if (has_name(names, text.p, i))
            return bad_snis(p, text.p, "is duplicated");
    }
    return 0;
}

/* The names that the client gave move out of the row; they may not be another certificate's. */
static int check(struct txn *t, const json_t *given, json_t *doc, struct problem *p)
{
    const json_t *names = json_object_get(given, "snis"), *id = json_object_get(doc, "id");

    json_object_del(doc, "snis");
    for (size_t i = 0; i < json_array_size(names); i++) {
        const json_t *name = json_array_get(names, i);
        const struct row_ref ref = {
            .by = "name", .value = json_str(name)};
        const json_t *owner;
        json_t *row = NULL;
        struct sbuf text = {0};
        int found = txn_get(t, &entity_snis, &ref, &row, p);

        if (found < 0)
            return -1;
        owner = json_object_get(json_object_get(row, "certificate"), "id");
        if (owner && !json_equal(owner, id)) {
            sbuf_addf(&text, "already associated with existing certificate '%s'",
                      json_string_value(owner));
            found = bad_snis(p, json_string_value(name), text.p);
            sbuf_free(&text);
        }
        json_decref(row);
        if (found < 0)
            return -1;
    }
    return 0;
}

/* Calls each with every sni row of the certificate. */
static int each_sni(const struct source *src, const struct uuid *certificate,
                    int (*each)(void *arg, const json_t *row, struct problem *p), void *arg,
                    struct problem *p)
{
    char *offset = NULL, *next = NULL;
    int rc = 0;

    do {
        const struct page_query q = {.size = NAMES_PAGE,
                                     .offset = str_of(offset),
                                     .parent_field = "certificate",
                                     .parent = *certificate};
        json_t *rows = NULL;

        next = NULL;
        rc = source_page(src, &entity_snis, &q, &rows, &next, p);
        free(offset);
        offset = next;
        for (size_t i = 0; rc == 0 && i < json_array_size(rows); i++)
            rc = each(arg, json_array_get(rows, i), p);
        json_decref(rows);
    } while (rc == 0 && offset);
    free(offset);
    return rc;
}

struct kept {
    struct txn *t;
    json_t *left; /* object: those that have no row yet */
};

static int keep_or_drop(void *arg, const json_t *row, struct problem *p)
{
    struct kept *k = arg;
    const char *name = json_string_value(json_object_get(row, "name"));
    struct uuid id;

    if (json_object_del(k->left, name) == 0)
        return 0;
    WEIR_ASSERT(row_id(row, &id));
    return txn_delete(k->t, &entity_snis, &id, p) < 0 ? -1 : 0;
}

static int add_sni(struct txn *t, const char *name, const json_t *certificate, struct problem *p)
{
    json_t *in = json_pack("{s:s, s:{s:O}}", "name", name, "certificate", "id", certificate);
    struct violations v = {0};
    json_t *doc = NULL;
    int rc;

    rc = schema_insert(&entity_snis, in, &doc, &v) != 0 ? problem_from_violations(p, &v)
                                                        : txn_insert(t, &entity_snis, doc, p);
    json_decref(doc);
    json_decref(in);
    return rc;
}

static int after(struct txn *t, const json_t *given, const json_t *doc, struct problem *p)
{
    const struct source src = source_txn(t);
    const json_t *names = json_object_get(given, "snis");
    struct kept k = {.t = t, .left = json_object()};
    struct uuid id;
    const char *name;
    json_t *value;
    int rc = 0;

    if (names) { /* absent: they stay as they are */
        for (size_t i = 0; i < json_array_size(names); i++)
            json_object_set_new(k.left, json_string_value(json_array_get(names, i)), json_true());
        WEIR_ASSERT(row_id(doc, &id));
        rc = each_sni(&src, &id, keep_or_drop, &k, p);
        json_object_foreach(k.left, name, value)
        {
            if (rc == 0)
                rc = add_sni(t, name, json_object_get(doc, "id"), p);
        }
    }
    json_decref(k.left);
    return rc;
}

static int drop(void *arg, const json_t *row, struct problem *p)
{
    struct uuid id;

    WEIR_ASSERT(row_id(row, &id));
    return txn_delete(arg, &entity_snis, &id, p) < 0 ? -1 : 0;
}

/* To the database the names hold the certificate; to clients they are a part of it. */
static int leaving(struct txn *t, const struct uuid *id, struct problem *p)
{
    const struct source src = source_txn(t);

    return each_sni(&src, id, drop, t, p);
}

static int collect(void *arg, const json_t *row, struct problem *p)
{
    (void)p;
    return json_array_append(arg, json_object_get(row, "name"));
}

static int by_text(const void *a, const void *b)
{
    return strcmp(json_string_value(*(json_t *const *)a), json_string_value(*(json_t *const *)b));
}

static int answer(const struct source *src, json_t *shown, struct problem *p)
{
    json_t *names = json_array(), *sorted = json_array(), **v;
    struct uuid id;
    size_t n;
    int rc;

    WEIR_ASSERT(row_id(shown, &id));
    rc = each_sni(src, &id, collect, names, p);
    n = json_array_size(names);
    v = xcalloc(n + 1, sizeof(*v));
    for (size_t i = 0; i < n; i++)
        v[i] = json_array_get(names, i);
    qsort(v, n, sizeof(*v), by_text);
    for (size_t i = 0; i < n; i++)
        json_array_append(sorted, v[i]);
    free(v);
    json_decref(names);
    json_object_set_new(shown, "snis", sorted);
    return rc;
}

const struct hooks hooks_certificates = {
    .ent = &entity_certificates,
    .missing_names_id = true,
    .path_missing = "SNI not found",
    .by_name = by_name,
    .before = before,
    .check = check,
    .after = after,
    .leaving = leaving,
    .answer = answer,
};
