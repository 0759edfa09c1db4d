/* sync_entity.c - see sync.h. */
#include "admin-api/cli/sync.h"

#include <ctype.h>
#include <stdlib.h>

/* ---- ${{ env "DECK_NAME" }} ---- */

static size_t skip_space(struct str s, size_t at)
{
    while (at < s.len && (s.p[at] == ' ' || s.p[at] == '\t'))
        at++;
    return at;
}

/* The length of the expression at the start of s, its variable in *name_out; 0: none is there. */
static size_t env_expression(struct str s, struct str *name_out)
{
    size_t at, start;

    if (!str_starts(s, STR("${{")))
        return 0;
    at = skip_space(s, 3);
    if (!str_starts(str_n(s.p + at, s.len - at), STR("env")))
        return 0;
    at = skip_space(s, at + 3);
    if (at == s.len || s.p[at] != '"')
        return 0;
    start = ++at;
    while (at < s.len && (isalnum((unsigned char)s.p[at]) || s.p[at] == '_'))
        at++;
    *name_out = str_n(s.p + start, at - start);
    if (at == s.len || s.p[at] != '"')
        return 0;
    at = skip_space(s, at + 1);
    return str_starts(str_n(s.p + at, s.len - at), STR("}}")) ? at + 2 : 0;
}

int sync_expand_env(struct str text, struct sbuf *out, struct err *e)
{
    size_t line = 1;

    for (size_t i = 0; i < text.len;) {
        struct str name;
        size_t n = text.p[i] == '$' ? env_expression(str_n(text.p + i, text.len - i), &name) : 0;
        char *variable;
        const char *value;

        if (n == 0) {
            line += text.p[i] == '\n';
            sbuf_addc(out, text.p[i++]);
            continue;
        }
        variable = str_dup(name);
        value = str_starts(name, STR("DECK_")) ? getenv(variable) : NULL;
        if (!value)
            err_set(e, ERR_INVALID, "line %zu: variable %.100s %s", line, variable,
                    str_starts(name, STR("DECK_"))
                        ? "is not set"
                        : "cannot be used, expected a name that begins with DECK_");
        free(variable);
        if (!value)
            return -1;
        sbuf_adds(out, value);
        i += n;
    }
    return 0;
}

/* ---- comparison ---- */

static json_t *canonical_fields(const struct field *fields, const struct field *replacements,
                                const json_t *doc);

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The elements of a set as sorted texts: enough to compare. takes list. */
static json_t *sorted(json_t *list)
{
    size_t n = json_array_size(list);
    char **texts = xmalloc((n + 1) * sizeof(*texts));
    json_t *out = json_array();

    for (size_t i = 0; i < n; i++)
        texts[i] =
            json_dumps(json_array_get(list, i), JSON_ENCODE_ANY | JSON_SORT_KEYS | JSON_COMPACT);
    qsort(texts, n, sizeof(*texts), by_text);
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(out, json_string(texts[i]));
        free(texts[i]);
    }
    free(texts);
    json_decref(list);
    return out;
}

static json_t *canonical_value(const struct field *f, const json_t *v)
{
    json_t *out, *value;
    const char *key;
    size_t i;

    switch (f->type) {
    case FT_INTEGER:
    case FT_NUMBER: return json_is_number(v) ? json_real(json_number_value(v)) : json_deep_copy(v);
    case FT_ARRAY:
    case FT_SET:
        out = json_array();
        json_array_foreach(json_unconst(v), i, value) json_array_append_new(
            out, f->elem ? canonical_value(f->elem, value) : json_deep_copy(value));
        return f->type == FT_SET ? sorted(out) : out;
    case FT_MAP:
        out = json_object();
        json_object_foreach(json_unconst(v), key, value) json_object_set_new(
            out, key, f->elem ? canonical_value(f->elem, value) : json_deep_copy(value));
        return out;
    case FT_RECORD:
    case FT_SUBRECORD: /* without a table until the subschema's field replaces it */
        return f->fields ? canonical_fields(f->fields, NULL, v) : json_deep_copy(v);
    case FT_STRING:
    case FT_BOOLEAN:
    case FT_FOREIGN: return json_deep_copy(v);
    }
    WEIR_UNREACHABLE("field type");
}

static bool is_nothing(const json_t *v)
{
    return !v || json_is_null(v) || (json_is_array(v) && json_array_size(v) == 0) ||
           (json_is_object(v) && json_object_size(v) == 0);
}

static bool is_compared(const struct field *f)
{
    return f->name[0] && strcmp(f->name, "id") != 0 &&
           !(f->flags & (FF_TIMESTAMP | FF_TRANSIENT | FF_INTERNAL | FF_RETIRED));
}

static void canonical_add(json_t *out, const struct field *f, const json_t *doc)
{
    json_t *v = json_object_get(doc, f->name), *value;

    if (!is_compared(f) || is_nothing(v))
        return;
    value = canonical_value(f, v);
    if (is_nothing(value))
        json_decref(value);
    else
        json_object_set_new(out, f->name, value);
}

/* replacements: a second table, whose fields count where the names are the same. */
static json_t *canonical_fields(const struct field *fields, const struct field *replacements,
                                const json_t *doc)
{
    json_t *out = json_object();

    for (const struct field *f = fields; f->name; f++)
        canonical_add(out, f, doc);
    for (const struct field *f = replacements; f && f->name; f++)
        canonical_add(out, f, doc);
    return out;
}

json_t *sync_canonical(const struct entity *ent, const json_t *doc)
{
    const struct subschema *sub = entity_subschema(ent, doc, NULL);

    return canonical_fields(ent->fields, sub ? sub->fields : NULL, doc);
}

static void add_difference(struct sbuf *out, const char *name)
{
    sbuf_addf(out, "%s%s", out->len ? ", " : "", name);
}

void sync_differences(const json_t *a, const json_t *b, struct sbuf *out)
{
    const char *key;
    json_t *value;

    json_object_foreach(json_unconst(a), key,
                        value) if (!json_equal(value, json_object_get(b, key)))
        add_difference(out, key);
    json_object_foreach(json_unconst(b), key, value) if (!json_object_get(a, key))
        add_difference(out, key);
}

/* ---- names ---- */

static bool cache_key_identity(const struct entity *ent, const json_t *doc, struct sbuf *out)
{
    for (const char *const *name = ent->cache_key; *name; name++) {
        const struct field *f = field_find(ent->fields, str_of(*name));
        const json_t *v = json_object_get(doc, *name);
        const char *text = json_string_value(f->type == FT_FOREIGN ? json_object_get(v, "id") : v);

        if (!text && f->type != FT_FOREIGN)
            return false;
        sbuf_addf(out, "%s\x1f", text ? text : "");
    }
    return true;
}

bool sync_identity(const struct entity *ent, const json_t *doc, struct sbuf *out)
{
    if (ent->cache_key)
        return cache_key_identity(ent, doc, out);
    for (const struct field *f = ent->fields; f->name; f++) {
        const char *text =
            (f->flags & FF_UNIQUE) ? json_string_value(json_object_get(doc, f->name)) : NULL;
        if (text) {
            sbuf_addf(out, "%s\x1f%s", f->name, text);
            return true;
        }
    }
    return false;
}

void sync_label(const struct entity *ent, const json_t *doc, struct sbuf *out)
{
    const struct field *key =
        ent->endpoint_key ? field_find(ent->fields, str_of(ent->endpoint_key)) : NULL;
    const char *name = key ? json_string_value(json_object_get(doc, key->name)) : NULL;
    const char *kind = json_string_value(json_object_get(doc, "name"));
    const char *id = json_string_value(json_object_get(doc, "id"));

    sbuf_addf(out, "%s ", ent->singular);
    if (name && !(key->flags & (FF_SECRET | FF_CREDENTIAL)))
        sbuf_adds(out, name);
    else if (kind)
        sbuf_addf(out, "%s (%s)", kind, id);
    else
        sbuf_adds(out, id);
}
