#include "admin-api/router.h"

#include <stdlib.h>

#include "admin-api/admin.h"
#include "admin-api/hooks.h"

/* Win over the paths of entities; of several that match, the first counts. */
static const struct special specials[] = {
    {"/", METHODS_READ, root_get},
    {"/clustering/data-planes", METHODS_READ, data_planes_get},
    {"/clustering/status", METHODS_READ, clustering_status_get},
    {"/config", METHODS_LIST, config_any},
    {"/endpoints", METHODS_READ, endpoints_get},
    {"/plugins/enabled", METHODS_READ, plugins_enabled_get},
    {"/plugins/schema/{name}", METHODS_READ, schema_plugin_config_get},
    {"/schemas/{db_entity_name}/validate", METHODS_POST, schema_validate_post},
    {"/schemas/plugins/{name}", METHODS_READ, schema_plugin_get},
    {"/schemas/{name}", METHODS_READ, schema_get},
    {"/status", METHODS_READ, status_get},
    {"/metrics", METHODS_READ, metrics_get},
    {"/tags", METHODS_LIST, tags_any},
    {"/tags/{tags}", METHODS_ENTITY, tags_any},
    {"/upstreams/{upstreams}/health", METHODS_READ, upstream_health_get},
    {"/upstreams/{upstreams}/targets/all", METHODS_READ, targets_all_get},
};

static const char *const method_words[] = {
#define X(id, word) word,
    METHODS(X)
#undef X
};

enum method method_parse(struct str word)
{
    for (unsigned m = 0; m < ARRAY_LEN(method_words); m++)
        if (str_eq(word, str_of(method_words[m])))
            return (enum method)m;
    return M_OTHER;
}

void methods_list(unsigned methods, char *out, size_t size)
{
    size_t at = 0;

    out[0] = '\0';
    for (unsigned m = 0; m < ARRAY_LEN(method_words); m++) {
        const char *word = method_words[m];
        size_t need = strlen(word) + (at ? 2 : 0);

        if (!(methods & MBIT(m)))
            continue;
        WEIR_ASSERT(at + need < size);
        if (at)
            memcpy(out + at, ", ", 2);
        memcpy(out + at + need - strlen(word), word, strlen(word) + 1);
        at += need;
    }
}

static bool pattern_matches(const char *pattern, const struct seg *seg, size_t n_seg)
{
    struct str rest = str_of(pattern + 1), part;
    size_t i = 0;

    while (pattern[1] && str_next(&rest, '/', &part)) {
        if (i == n_seg || (part.p[0] != '{' && !str_eq(part, seg[i].text)) || !seg[i].text.len)
            return false;
        i++;
    }
    return i == n_seg;
}

/* The last part of ent's path below a parent. */
static struct str child_word(const struct entity *ent)
{
    return str_of(ent->nested_path ? ent->nested_path : ent->path + 1);
}

static bool links_to(const struct field *f, const struct entity *owner)
{
    return f->type == FT_FOREIGN && !(f->flags & FF_RETIRED) &&
           strcmp(f->reference, owner->name) == 0;
}

/* The entity whose rows stand under owner as word, and the field between them. */
static bool find_children(const struct entity *owner, struct str word, struct match *m)
{
    for (const struct entity *const *e = entities; *e; e++) {
        if (!(*e)->path || !str_eq(child_word(*e), word))
            continue;
        for (const struct field *f = (*e)->fields; f->name; f++) {
            if (links_to(f, owner)) {
                m->ent = *e;
                m->owner = owner;
                m->link = f;
                return true;
            }
        }
    }
    return false;
}

static bool find_link(const struct entity *owner, struct str word, struct match *m)
{
    const struct field *f = field_find(owner->fields, word);

    if (!f || f->type != FT_FOREIGN || hooks_of(owner)->no_links)
        return false;
    m->ent = entity_by_name(str_of(f->reference));
    m->owner = owner;
    m->link = f;
    return m->ent && m->ent->path;
}

static struct match place(struct match m, enum place where, unsigned methods)
{
    m.place = where;
    m.methods = methods;
    return m;
}

struct match router_find(const struct seg *seg, size_t n_seg)
{
    const struct match nowhere = {.place = PLACE_NONE};
    const struct entity *first;
    struct match m = {0};

    for (size_t i = 0; i < ARRAY_LEN(specials) && n_seg <= CALL_SEGS; i++) {
        if (pattern_matches(specials[i].pattern, seg, n_seg)) {
            m.special = &specials[i];
            return place(m, PLACE_SPECIAL, specials[i].methods);
        }
    }
    if (n_seg < 1 || n_seg > 4 || !(first = entity_by_path(seg[0].text)))
        return nowhere;
    for (size_t i = 1; i < n_seg; i++)
        if (!seg[i].text.len)
            return nowhere;
    if (n_seg <= 2) {
        if (first->hidden_collection)
            return nowhere;
        m.ent = first;
        return n_seg == 1 ? place(m, PLACE_COLLECTION, METHODS_LIST)
                          : place(m, PLACE_ENTITY, METHODS_ENTITY);
    }
    if (find_children(first, seg[2].text, &m))
        return n_seg == 3 ? place(m, PLACE_CHILDREN, METHODS_LIST)
                          : place(m, PLACE_CHILD, METHODS_ENTITY);
    if (n_seg == 3 && !first->hidden_collection && find_link(first, seg[2].text, &m))
        return place(m, PLACE_LINK, METHODS_ENTITY);
    return nowhere;
}

/* ---- GET /endpoints ---- */

static int by_segments(const void *a, const void *b)
{
    const char *x = *(const char *const *)a, *y = *(const char *const *)b;

    for (; *x && *x == *y; x++, y++)
        ;
    /* a shorter segment sorts before a longer one: '/' counts as the least byte */
    return (*x == '/' ? 1 : (unsigned char)*x) - (*y == '/' ? 1 : (unsigned char)*y);
}

struct paths {
    char **v;
    size_t n, cap;
};

static void paths_add(struct paths *p, struct sbuf *text)
{
    if (p->n == p->cap) {
        p->cap = p->cap ? 2 * p->cap : 64;
        p->v = xrealloc(p->v, p->cap * sizeof(*p->v));
    }
    p->v[p->n++] = sbuf_take(text);
}

static void add_entity_paths(struct paths *p, const struct entity *ent)
{
    struct sbuf b = {0};

    if (!ent->hidden_collection) {
        sbuf_addf(&b, "%s", ent->path);
        paths_add(p, &b);
        sbuf_addf(&b, "%s/{%s}", ent->path, ent->name);
        paths_add(p, &b);
    }
    for (const struct field *f = ent->fields; f->name; f++) {
        const struct entity *owner;

        if (f->type != FT_FOREIGN || (f->flags & FF_RETIRED))
            continue;
        owner = entity_by_name(str_of(f->reference));
        if (!owner || !owner->path)
            continue;
        sbuf_addf(&b, "%s/{%s}/" STR_FMT, owner->path, owner->name, STR_ARG(child_word(ent)));
        paths_add(p, &b);
        sbuf_addf(&b, "%s/{%s}/" STR_FMT "/{%s}", owner->path, owner->name,
                  STR_ARG(child_word(ent)), ent->name);
        paths_add(p, &b);
        if (!ent->hidden_collection && !hooks_of(ent)->no_links) {
            sbuf_addf(&b, "%s/{%s}/%s", ent->path, ent->name, f->name);
            paths_add(p, &b);
        }
    }
}

json_t *router_endpoints(void)
{
    json_t *out = json_array();
    struct paths p = {0};
    struct sbuf b = {0};

    for (size_t i = 0; i < ARRAY_LEN(specials); i++) {
        sbuf_adds(&b, specials[i].pattern);
        paths_add(&p, &b);
    }
    for (const struct entity *const *e = entities; *e; e++)
        if ((*e)->path)
            add_entity_paths(&p, *e);
    qsort(p.v, p.n, sizeof(*p.v), by_segments);
    for (size_t i = 0; i < p.n; i++) {
        json_array_append_new(out, json_string(p.v[i]));
        free(p.v[i]);
    }
    free(p.v);
    return out;
}
