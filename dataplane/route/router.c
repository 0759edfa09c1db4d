/* router.c - the router's indexes: how routes come in and go out. See router.h; match.c searches.
 */
#include "dataplane/route/router.h"

#include <stdlib.h>

#include "dataplane/route/regex.h"
#include "dataplane/route/router_priv.h"

/* ---- precedence ---- */

static bool is_plain(struct str host)
{
    return str_find(host, '*') == host.len;
}

uint64_t route_priority(const struct route *r, bool regex, size_t prefix_len)
{
    uint64_t fields = (r->methods.n > 0) + (r->hosts.n > 0) + (r->headers.n > 0) + (r->snis.n > 0) +
                      (r->paths.n > 0);
    bool plain = r->hosts.n > 0;
    uint64_t priority;

    for (size_t i = 0; i < r->hosts.n; i++)
        plain = plain && is_plain(LIST_AT(r->hosts, struct str, i));
    priority = fields << 61 | (uint64_t)plain << 60 | (uint64_t)size_min(r->headers.n, 255) << 52;
    if (!regex)
        return priority | size_min(prefix_len, 0x7ffff);
    if (r->regex_priority > 0)
        priority |= (r->regex_priority > UINT32_MAX ? UINT32_MAX : (uint64_t)r->regex_priority)
                    << 19;
    return priority | 1ull << 51;
}

int entry_cmp(const struct route_entry *a, const struct route_entry *b)
{
    int by_id;

    if (a->priority != b->priority)
        return a->priority < b->priority ? -1 : 1;
    by_id = memcmp(&a->route->head.id, &b->route->head.id, sizeof(struct uuid));
    if (by_id != 0)
        return by_id;
    if (a->path != b->path)
        return a->path > b->path ? -1 : 1;
    return a->port == b->port ? 0 : a->port < b->port ? -1 : 1;
}

/* ---- what a route stands for ---- */

struct host_pattern host_pattern_parse(struct str host)
{
    struct host_pattern out = {.text = host, .kind = HOST_EXACT};
    const char *colon = host.len ? memrchr(host.p, ':', host.len) : NULL;
    bool v6 = host.len && host.p[0] == '[';
    uint64_t port;

    if (colon && (v6 ? colon[-1] == ']' : colon == memchr(host.p, ':', host.len)) &&
        str_to_u64(str_n(colon + 1, host.len - (size_t)(colon + 1 - host.p)), &port) &&
        port <= UINT16_MAX) {
        out.text.len = (size_t)(colon - host.p);
        out.port = (uint16_t)port;
    }
    if (str_starts(out.text, STR("*"))) {
        out.kind = HOST_SUFFIX;
        out.text = str_n(out.text.p + 1, out.text.len - 1);
    } else if (str_ends(out.text, STR("*"))) {
        out.kind = HOST_PREFIX;
        out.text.len--;
    }
    return out;
}

static struct route_entry entry_of(const struct o_route *r, size_t path)
{
    struct route_entry e = {.route = r, .path = (uint32_t)path, .kind = ENTRY_ANY_PATH};
    struct str text;

    if (r->c.def.paths.n > 0) {
        text = LIST_AT(r->c.def.paths, struct str, path);
        e.kind = str_starts(text, STR("~")) ? ENTRY_REGEX : ENTRY_PREFIX;
        e.priority = route_priority(&r->c.def, e.kind == ENTRY_REGEX, text.len);
        return e;
    }
    e.priority = route_priority(&r->c.def, false, 0);
    return e;
}

void router_changes_add(struct router_changes *list, const struct o_route *r)
{
    size_t paths = size_max(r->c.def.paths.n, 1), hosts = size_max(r->c.def.hosts.n, 1);

    if (!(r->c.protocols & PROTOCOLS_HTTP))
        return;
    for (size_t i = 0; i < paths; i++) {
        struct route_entry e = entry_of(r, i);

        for (size_t k = 0; k < hosts; k++) {
            struct str host = r->c.def.hosts.n ? LIST_AT(r->c.def.hosts, struct str, k) : STR_NONE;

            e.port = host.p ? host_pattern_parse(host).port : 0;
            if (list->n == list->cap) {
                list->cap = size_max(64, list->cap * 2);
                list->v = xrealloc(list->v, list->cap * sizeof(*list->v));
            }
            list->v[list->n++] = (struct router_change){e, host};
        }
    }
}

void router_changes_free(struct router_changes *list)
{
    free(list->v);
    *list = (struct router_changes){0};
}

/* ---- lists of entries ---- */

static const struct obj_type entry_list_type = {.name = "entries"};

/* Index of the first entry that is not below e. */
static uint32_t lower_bound(const struct entry_list *list, const struct route_entry *e)
{
    uint32_t lo = 0, hi = list->n;

    if (hi && entry_cmp(&list->v[hi - 1], e) < 0) /* changes come sorted: mostly the end */
        return hi;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;

        if (entry_cmp(&list->v[mid], e) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static struct entry_list *list_copy(struct obj **slot, uint32_t cap)
{
    struct entry_list *old = (struct entry_list *)*slot, *list;

    list = obj_new(&entry_list_type, sizeof(*list) + cap * sizeof(list->v[0]));
    list->cap = cap;
    if (old) {
        list->n = old->n;
        memcpy(list->v, old->v, old->n * sizeof(old->v[0]));
        obj_unref(*slot);
    }
    *slot = &list->o;
    return list;
}

static void list_insert(struct obj **slot, const struct route_entry *e)
{
    struct entry_list *list = (struct entry_list *)*slot;
    uint32_t i;

    if (!list)
        list = list_copy(slot, 1);
    else if (list->o.refs > 1 || list->n == list->cap)
        list = list_copy(slot, list->n < 4 ? list->n + 1 : list->n + list->n / 2);
    i = lower_bound(list, e);
    memmove(list->v + i + 1, list->v + i, (list->n - i) * sizeof(*e));
    list->v[i] = *e;
    list->n++;
}

/* True when nothing is left. */
static bool list_remove(struct obj **slot, const struct route_entry *e)
{
    struct entry_list *list = (struct entry_list *)*slot;
    uint32_t i;

    if (list->o.refs > 1 && list->n > 1)
        list = list_copy(slot, list->n);
    i = lower_bound(list, e);
    WEIR_ASSERT(i < list->n && entry_cmp(&list->v[i], e) == 0);
    if (list->n == 1)
        return true; /* the caller drops it, shared or not */
    memmove(list->v + i, list->v + i + 1, (list->n - i - 1) * sizeof(*e));
    list->n--;
    return false;
}

/* ---- hosts ---- */

static void host_group_fini(struct obj *o)
{
    ptrie_drop(&((struct host_group *)o)->paths);
}

static const struct obj_type host_group_type = {.name = "host", .fini = host_group_fini};

static struct str host_group_key(const struct obj *o)
{
    const struct host_group *g = (const struct host_group *)o;

    return str_n(g->host, g->len);
}

const struct pmap_type host_map = {.key = host_group_key, .owns = true};

/* The group in *slot, nobody else's. */
static struct host_group *group_own(struct obj **slot, struct str host)
{
    struct host_group *old = (struct host_group *)*slot, *g;

    if (old && old->o.refs == 1)
        return old;
    g = obj_new(&host_group_type, sizeof(*g) + host.len);
    g->len = (uint32_t)host.len;
    memcpy(g->host, host.p, host.len);
    if (old) {
        g->paths = ptrie_share(old->paths);
        obj_unref(*slot);
    }
    *slot = &g->o;
    return g;
}

struct str reverse(struct str s, char *out)
{
    for (size_t i = 0; i < s.len; i++)
        out[i] = s.p[s.len - 1 - i];
    return str_n(out, s.len);
}

/* Where an entry's host leads; key is that of the host's index. */
struct place {
    struct host_pattern host;
    struct str key;
    char *reversed; /* owned */
    struct tnode **tree;
};

static struct place place_of(struct router *r, struct str host)
{
    struct place p = {.host = {.kind = HOST_ANY}};

    if (!host.p)
        return p;
    p.host = host_pattern_parse(host);
    p.key = p.host.text;
    p.tree = p.host.kind == HOST_SUFFIX ? &r->suffix : &r->prefix;
    if (p.host.kind == HOST_SUFFIX) {
        p.reversed = xmalloc(p.key.len + 1);
        p.key = reverse(p.key, p.reversed);
    }
    return p;
}

/* The tree of paths behind a place, in nodes that nobody shares. */
static struct tnode **paths_own(struct router *r, const struct place *p)
{
    struct obj **slot;

    if (p->host.kind == HOST_ANY)
        return &r->any;
    slot = p->host.kind == HOST_EXACT ? pmap_own(&r->exact, &host_map, p->key)
                                      : ptrie_own(p->tree, p->key);
    return &group_own(slot, p->key)->paths;
}

static void group_drop(struct router *r, const struct place *p)
{
    if (p->host.kind == HOST_EXACT)
        pmap_del(&r->exact, &host_map, p->key);
    else if (p->host.kind != HOST_ANY)
        ptrie_del(p->tree, p->key);
}

/* The text under which an entry stands; buf is for expressions. */
static struct str path_key(const struct route_entry *e, struct sbuf *buf)
{
    struct str path;

    if (e->kind == ENTRY_ANY_PATH)
        return STR("");
    path = LIST_AT(e->route->c.def.paths, struct str, e->path);
    if (e->kind == ENTRY_PREFIX)
        return path;
    sbuf_clear(buf);
    return regex_literal_prefix(str_n(path.p + 1, path.len - 1), sbuf_reserve(buf, path.len));
}

static int change_cmp(const void *a, const void *b)
{
    return entry_cmp(&((const struct router_change *)a)->entry,
                     &((const struct router_change *)b)->entry);
}

void router_apply(struct router *r, struct router_changes *out, struct router_changes *in)
{
    struct sbuf buf = {0};

    if (out->n)
        qsort(out->v, out->n, sizeof(*out->v), change_cmp);
    if (in->n)
        qsort(in->v, in->n, sizeof(*in->v), change_cmp);
    for (size_t i = out->n; i-- > 0;) {
        struct place p = place_of(r, out->v[i].host);
        struct tnode **paths = paths_own(r, &p);
        struct str key = path_key(&out->v[i].entry, &buf);

        if (list_remove(ptrie_own(paths, key), &out->v[i].entry))
            ptrie_del(paths, key);
        if (!*paths)
            group_drop(r, &p);
        free(p.reversed);
    }
    for (size_t i = 0; i < in->n; i++) {
        struct place p = place_of(r, in->v[i].host);

        list_insert(ptrie_own(paths_own(r, &p), path_key(&in->v[i].entry, &buf)), &in->v[i].entry);
        free(p.reversed);
    }
    sbuf_free(&buf);
}

struct router router_share(const struct router *r)
{
    return (struct router){
        .exact = pmap_share(&r->exact),
        .suffix = ptrie_share(r->suffix),
        .prefix = ptrie_share(r->prefix),
        .any = ptrie_share(r->any),
    };
}

void router_drop(struct router *r)
{
    pmap_drop(&r->exact, &host_map);
    ptrie_drop(&r->suffix);
    ptrie_drop(&r->prefix);
    ptrie_drop(&r->any);
}
