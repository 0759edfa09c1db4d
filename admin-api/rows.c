#include "admin-api/rows.h"

#include "admin-api/admin.h"
#include "admin-api/hooks.h"

/* ---- naming rows ---- */

int row_key_check(const struct entity *ent, const char *field, struct str value, struct problem *p)
{
    json_t *doc = json_pack("{s:s%}", field, value.p, value.len);
    struct violations v = {0};
    const char *text = NULL;
    int rc = 0;

    if (schema_validate(ent, doc, &v) != 0)
        text = json_string_value(json_object_get(v.fields, field));
    if (text) {
        rc = problem_set(p, PROBLEM_UNIQUE_INVALID, json_pack("{s:s}", field, text), "%s", text);
    }
    violations_free(&v);
    json_decref(doc);
    return rc;
}

/* As the key is stored: "a.test" is target "a.test:8000". */
static struct str key_normalize(struct arena *a, const struct entity *ent, struct str key)
{
    json_t *doc, *value;

    if (!ent->normalize)
        return key;
    doc = json_pack("{s:s%}", ent->endpoint_key, key.p, key.len);
    ent->normalize(doc);
    value = json_object_get(doc, ent->endpoint_key);
    key = arena_str(a, json_str(value));
    json_decref(doc);
    return key;
}

int row_ref_parse(struct call *c, const struct source *src, const struct entity *ent,
                  struct str segment, struct row_ref *ref_out, struct problem *p)
{
    const struct hooks *h = hooks_of(ent);

    *ref_out = (struct row_ref){0};
    if (uuid_parse(segment, &ref_out->id))
        return 1;
    if (h->by_name) {
        int found = h->by_name(src, segment, ref_out, p);

        if (found == 0 && h->path_missing)
            reply_message(c, 404, "%s", h->path_missing);
        else if (found == 0)
            reply_not_found(c);
        return found;
    }
    if (!ent->endpoint_key)
        return problem_set(p, PROBLEM_PRIMARY_KEY_INVALID,
                           json_pack("{s:s}", "id", "expected a valid UUID"),
                           "invalid primary key: '{id=\"expected a valid UUID\"}'");
    if (row_key_check(ent, ent->endpoint_key, segment, p) != 0)
        return -1;
    ref_out->by = ent->endpoint_key;
    ref_out->value = key_normalize(&c->arena, ent, segment);
    return 1;
}

int row_missing(const struct row_ref *ref, struct problem *p)
{
    char id[UUID_TEXT_LEN + 1];

    if (ref->by)
        return problem_set(
            p, PROBLEM_NOT_FOUND, json_pack("{s:s%}", ref->by, ref->value.p, ref->value.len),
            "could not find the entity with '{%s=\"" STR_FMT "\"}'", ref->by, STR_ARG(ref->value));
    uuid_format(&ref->id, id);
    return problem_set(p, PROBLEM_NOT_FOUND, json_pack("{s:s}", "id", id),
                       "could not find the entity with primary key '{id=\"%s\"}'", id);
}

/* ---- foreign keys ---- */

bool row_id(const json_t *doc, struct uuid *out)
{
    const char *text = json_string_value(json_object_get(doc, "id"));

    return text && uuid_parse(str_of(text), out);
}

bool row_link(const json_t *doc, const char *field, struct uuid *out)
{
    return row_id(json_object_get(doc, field), out);
}

json_t *row_link_json(const struct uuid *id)
{
    char text[UUID_TEXT_LEN + 1];

    uuid_format(id, text);
    return json_pack("{s:s}", "id", text);
}

static int unresolved(const struct field *f, const char *key, const char *value, struct problem *p)
{
    struct sbuf b = {0};
    json_t *fields;
    int rc;

    sbuf_addf(&b,
              "the foreign key cannot be resolved with '{%s=\"%s\"}' for an existing '%s' entity",
              key, value, f->reference);
    fields = json_pack("{s:{s:s}}", f->name, key, b.p);
    rc = problem_set(p, PROBLEM_FOREIGN_UNRESOLVED, fields, "foreign key unresolved (%s.%s: %s)",
                     f->name, key, b.p);
    sbuf_free(&b);
    return rc;
}

static int resolve_one(const struct source *src, const struct field *f, json_t *doc,
                       struct problem *p)
{
    const struct entity *target = entity_by_name(str_of(f->reference));
    const json_t *given = json_object_get(doc, f->name);
    json_t *row = NULL;
    const char *key;
    json_t *value;

    if (!json_is_object(given) || !target)
        return 0;
    json_object_foreach(json_unconst(given), key, value)
    {
        const struct field *unique = field_find(target->fields, str_of(key));
        struct row_ref ref = {.value = json_str(value)};
        int found;

        if (!unique || !(unique->flags & FF_UNIQUE) || !ref.value.p)
            continue;
        ref.by = unique->name;
        found = source_get(src, target, &ref, &row, p);
        if (found < 0)
            return -1;
        if (!found)
            return unresolved(f, key, ref.value.p, p);
        json_object_set_new(doc, f->name, json_pack("{s:O}", "id", json_object_get(row, "id")));
        json_decref(row);
        return 0;
    }
    return 0;
}

int rows_resolve(const struct source *src, const struct entity *ent, json_t *doc, struct problem *p)
{
    for (const struct field *f = ent->fields; f->name; f++)
        if (f->type == FT_FOREIGN && resolve_one(src, f, doc, p) != 0)
            return -1;
    return 0;
}

/* ---- showing ---- */

json_t *row_answer(const struct source *src, const struct entity *ent, const json_t *doc,
                   struct problem *p)
{
    const struct hooks *h = hooks_of(ent);
    json_t *shown = schema_answer(ent, doc);

    if (h->answer && h->answer(src, shown, p) != 0) {
        json_decref(shown);
        return NULL;
    }
    return shown;
}
