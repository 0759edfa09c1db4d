/* violations.c - errors as they grow, and the text that is made of them (schema.h). */
#include <stdlib.h>

#include "common/schema_priv.h"

#define ENTITY_KEY "@entity"

void errors_add_entity(json_t *errors, const char *text)
{
    json_t *there = json_object_get(errors, ENTITY_KEY), *list = there;

    if (!json_is_array(there)) {
        list = json_array();
        if (there) /* the document has a member of that name, which is wrong in itself */
            json_array_append(list, there);
        json_object_set_new(errors, ENTITY_KEY, list);
    }
    json_array_append_new(list, json_text(text));
}

/* Steps of a path are names, or 1-based positions where an array is. */
void errors_set(json_t *errors, const char *path, const char *text)
{
    struct str rest = str_of(path), step;
    json_t *at = errors;

    while (str_next(&rest, '.', &step)) {
        char *name = str_dup(step);
        json_t *next = json_object_get(at, name);

        if (!rest.p || rest.len == 0) {
            json_object_set_new(at, name, json_text(text));
        } else {
            if (!json_is_object(next))
                json_object_set_new(at, name, next = json_object());
            at = next;
        }
        free(name);
    }
}

void violations_add(struct violations *v, const char *path, const char *text)
{
    if (!v->fields)
        v->fields = json_object();
    if (path && strcmp(path, ENTITY_KEY) != 0)
        errors_set(v->fields, path, text);
    else
        errors_add_entity(v->fields, text);
    v->count++;
}

void violations_take(struct violations *v, json_t *errors)
{
    violations_free(v);
    v->fields = errors;
    v->count = (unsigned)json_object_size(errors);
}

void violations_free(struct violations *v)
{
    json_decref(v->fields);
    *v = (struct violations){0};
}

/* ---- rendering ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The object's names in byte order; the caller's array of borrowed names. */
static const char **sorted_names(json_t *object, size_t *n_out)
{
    const char **names = xmalloc((json_object_size(object) + 1) * sizeof(*names));
    const char *name;
    json_t *value;
    size_t n = 0;

    json_object_foreach(object, name, value) names[n++] = name;
    qsort(names, n, sizeof(*names), by_name);
    *n_out = n;
    return names;
}

static bool is_lua_name(const char *s)
{
    if (!*s || (*s >= '0' && *s <= '9'))
        return false;
    for (; *s; s++) {
        char c = ascii_lower(*s);

        if (c != '_' && !(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9'))
            return false;
    }
    return true;
}

static void lua_string(struct sbuf *out, const char *s)
{
    if (strchr(s, '\n') && !strchr(s, '\r') && !strstr(s, "]]")) {
        sbuf_addf(out, "[[%s%s]]", s[0] == '\n' ? "\n" : "", s);
        return;
    }
    sbuf_addc(out, '"');
    for (; *s; s++) {
        if (*s == '"' || *s == '\\' || *s == '\n')
            sbuf_addc(out, '\\');
        if (*s == '\r')
            sbuf_adds(out, "\\r");
        else
            sbuf_addc(out, *s);
    }
    sbuf_addc(out, '"');
}

static void indent(struct sbuf *out, unsigned depth)
{
    for (unsigned i = 0; i < depth; i++)
        sbuf_adds(out, "  ");
}

static void lua_value(struct sbuf *out, json_t *value, unsigned depth);

static void lua_member(struct sbuf *out, bool *first, unsigned depth)
{
    sbuf_adds(out, *first ? "\n" : ",\n");
    *first = false;
    indent(out, depth);
}

/* Elements up to the first hole stand alone, those behind it carry their position. */
static void lua_array(struct sbuf *out, json_t *list, unsigned depth)
{
    bool first = true, hole = false;
    json_t *item;
    size_t i;

    json_array_foreach(list, i, item)
    {
        if (json_is_null(item)) {
            hole = true;
            continue;
        }
        lua_member(out, &first, depth + 1);
        if (hole)
            sbuf_addf(out, "[%zu] = ", i + 1);
        lua_value(out, item, depth + 1);
    }
}

static void lua_object(struct sbuf *out, json_t *object, unsigned depth)
{
    size_t n;
    const char **names = sorted_names(object, &n);
    bool first = true;

    for (size_t i = 0; i < n; i++) {
        lua_member(out, &first, depth + 1);
        if (is_lua_name(names[i])) {
            sbuf_adds(out, names[i]);
        } else {
            sbuf_addc(out, '[');
            lua_string(out, names[i]);
            sbuf_addc(out, ']');
        }
        sbuf_adds(out, " = ");
        lua_value(out, json_object_get(object, names[i]), depth + 1);
    }
    free(names);
}

static void lua_value(struct sbuf *out, json_t *value, unsigned depth)
{
    if (json_is_string(value)) {
        lua_string(out, json_string_value(value));
        return;
    }
    sbuf_addc(out, '{');
    if (json_is_array(value))
        lua_array(out, value, depth);
    else
        lua_object(out, value, depth);
    sbuf_addc(out, '\n');
    indent(out, depth);
    sbuf_addc(out, '}');
}

struct lines {
    struct sbuf text;
    size_t n;
};

/* "name: text", "name.step: text", or with a table behind the colon. */
static void add_line(struct lines *l, const char *name, const char *step, json_t *value)
{
    sbuf_adds(&l->text, l->n++ ? "; " : "");
    if (name)
        sbuf_addf(&l->text, "%s%s%s: ", name, step ? "." : "", step ? step : "");
    if (json_is_string(value))
        sbuf_adds(&l->text, json_string_value(value));
    else
        lua_value(&l->text, value, 0);
}

static void add_field(struct lines *l, const char *name, json_t *value)
{
    json_t *item;
    size_t i, n;

    if (json_is_array(value)) {
        json_array_foreach(value, i, item)
        {
            char step[24];

            snprintf(step, sizeof(step), "%zu", i + 1);
            if (!json_is_null(item))
                add_line(l, name, step, item);
        }
    } else if (json_is_object(value)) {
        const char **names = sorted_names(value, &n);

        for (i = 0; i < n; i++)
            add_line(l, name, names[i], json_object_get(value, names[i]));
        free(names);
    } else {
        add_line(l, name, NULL, value);
    }
}

char *violations_message(const struct violations *v)
{
    struct lines l = {0};
    struct sbuf out = {0};
    json_t *item;
    size_t i, n;
    const char **names = sorted_names(v->fields, &n);

    json_array_foreach(json_object_get(v->fields, ENTITY_KEY), i, item)
        add_line(&l, NULL, NULL, item);
    for (i = 0; i < n; i++) {
        json_t *value = json_object_get(v->fields, names[i]);

        if (strcmp(names[i], ENTITY_KEY) != 0 || !json_is_array(value))
            add_field(&l, names[i], value);
    }
    free(names);
    if (l.n == 1)
        sbuf_adds(&out, "schema violation (");
    else
        sbuf_addf(&out, "%zu schema violations (", l.n);
    sbuf_addstr(&out, sbuf_str(&l.text));
    sbuf_addc(&out, ')');
    sbuf_free(&l.text);
    return sbuf_take(&out);
}
