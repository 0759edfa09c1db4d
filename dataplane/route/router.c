/* router.c - the router's indexes: how routes come in and go out. See router.h; match.c searches.
 */
#include "dataplane/route/router.h"

#include <stdlib.h>

#include "dataplane/route/expression.h"
#include "dataplane/route/regex.h"
#include "dataplane/route/router_priv.h"

/* ---- precedence ---- */

static bool is_plain(struct str host)
{
    return str_find(host, '*') == host.len;
}

/* As the reference shifts: by numbers of 32 bits with a sign, which becomes the top bit here. */
static uint64_t shifted(uint64_t n, unsigned by)
{
    uint32_t low = (uint32_t)(n << by);

    return (low & 0x7fffffffu) | (uint64_t)(low >> 31) << 63;
}

uint64_t route_priority(const struct route *r, bool regex, size_t prefix_len)
{
    uint64_t fields = (r->methods.n > 0) + (r->hosts.n > 0) + (r->headers.n > 0) + (r->snis.n > 0) +
                      (r->paths.n > 0) + (r->sources.n > 0) + (r->destinations.n > 0);
    bool plain = r->hosts.n > 0;
    uint64_t priority;

    for (size_t i = 0; i < r->hosts.n; i++)
        plain = plain && is_plain(LIST_AT(r->hosts, struct str, i));
    priority = shifted(fields, 29) | (uint64_t)plain << 60 | shifted(size_min(r->headers.n, 255), 20);
    if (!regex)
        return priority | size_min(prefix_len, 0x7ffff);
    if (r->regex_priority > 0)
        priority |= shifted((uint64_t)r->regex_priority, 19);
    return priority | 1ull << 51;
}

/* Which fields a route has: the reference's weights of the oldest flavor. */
static unsigned category(const struct route *r)
{
    return (r->hosts.n ? 64u : 0) | (r->headers.n ? 32u : 0) | (r->paths.n ? 16u : 0) |
           (r->methods.n ? 8u : 0) | (r->snis.n ? 4u : 0) | (r->sources.n ? 2u : 0) |
           (r->destinations.n ? 1u : 0);
}

/* How many categories have fewer fields, or as many of less weight: 7 bits. */
static uint64_t category_rank(unsigned category)
{
    int fields = __builtin_popcount(category);
    uint64_t below = 0;

    for (unsigned other = 0; other < 128; other++) {
        int n = __builtin_popcount(other);

        below += n < fields || (n == fields && other < category);
    }
    return below;
}

uint64_t traditional_priority(const struct route *r, bool host_with_port)
{
    bool plain = true, wild_port = false, regex = false;
    uint64_t longest = 0, order = 0;

    for (size_t i = 0; i < r->hosts.n; i++) {
        struct host_pattern host = host_pattern_parse(LIST_AT(r->hosts, struct str, i));

        plain = plain && host.kind == HOST_EXACT;
        wild_port = wild_port || (host.kind != HOST_EXACT && host.port);
    }
    for (size_t i = 0; i < r->paths.n; i++) {
        struct str path = LIST_AT(r->paths, struct str, i);

        if (str_starts(path, STR("~")))
            regex = true;
        else
            longest = size_max(longest, path.len);
    }
    if (regex && r->regex_priority > 0)
        order = r->regex_priority > UINT32_MAX ? UINT32_MAX : (uint64_t)r->regex_priority;
    return category_rank(category(r)) << 57 | (uint64_t)host_with_port << 56 |
           (uint64_t)wild_port << 55 | (uint64_t)(r->hosts.n && plain) << 54 |
           (uint64_t)regex << 53 | (uint64_t)size_min(r->headers.n, 255) << 45 | order << 13 |
           size_min(longest, 0x1fff);
}

uint64_t expression_priority(const struct route *r)
{
    return 0xffull << 56 | (r->priority == INT_NULL ? 0 : (uint64_t)r->priority);
}

/* Of one field's entries together: an address 8, a port 4, a network 1. */
static uint64_t endpoints_weight(struct list endpoints)
{
    uint64_t weight = 0;

    for (size_t i = 0; i < endpoints.n; i++) {
        const struct endpoint *at = &LIST_AT(endpoints, struct endpoint, i);

        if (at->ip.p)
            weight |= str_find(at->ip, '/') < at->ip.len ? 1 : 8;
        if (at->port != INT_NULL)
            weight |= 4;
    }
    return weight;
}

uint64_t stream_priority(const struct route *r)
{
    uint64_t both = r->snis.n > 0 || (r->sources.n > 0 && r->destinations.n > 0);

    return both << 61 | endpoints_weight(r->sources) << 4 | endpoints_weight(r->destinations);
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

static const struct host_pattern no_host = {.kind = HOST_ANY};

static void change_add(struct router_changes *list, struct route_entry e, struct host_pattern host)
{
    if (list->n == list->cap) {
        list->cap = size_max(64, list->cap * 2);
        list->v = xrealloc(list->v, list->cap * sizeof(*list->v));
    }
    list->v[list->n++] = (struct router_change){e, host};
}

static void add_expression(struct router_changes *list, const struct o_route *r)
{
    struct route_entry e = {
        .priority = expression_priority(&r->c.def), .route = r, .kind = ENTRY_EXPRESSION};

    for (; e.path < r->expr->n_paths; e.path++)
        for (uint32_t k = 0; k < r->expr->n_hosts; k++)
            change_add(list, e, r->expr->hosts[k]);
}

static void add_stream(struct router_changes *list, const struct o_route *r)
{
    const struct route *def = &r->c.def;
    struct route_entry e = {.route = r, .kind = ENTRY_STREAM};

    e.priority = r->expr                           ? expression_priority(def)
                 : r->flavor == FLAVOR_TRADITIONAL ? traditional_priority(def, false)
                                                   : stream_priority(def);
    change_add(list, e, no_host);
}

void router_changes_add(struct router_changes *list, const struct o_route *r)
{
    size_t paths = size_max(r->c.def.paths.n, 1), hosts = size_max(r->c.def.hosts.n, 1);

    if (!r->expr && category(&r->c.def) == 0) /* asks for nothing: it must not get everything */
        return;
    if (!(r->c.protocols & PROTOCOLS_HTTP)) {
        add_stream(list, r);
        return;
    }
    if (r->expr) {
        add_expression(list, r);
        return;
    }
    for (size_t i = 0; i < paths; i++) {
        struct route_entry e = entry_of(r, i);

        for (size_t k = 0; k < hosts; k++) {
            struct host_pattern host = no_host;

            if (r->c.def.hosts.n)
                host = host_pattern_parse(LIST_AT(r->c.def.hosts, struct str, k));
            e.port = host.port;
            if (r->flavor == FLAVOR_TRADITIONAL)
                e.priority = traditional_priority(&r->c.def, e.port != 0);
            change_add(list, e, host);
        }
    }
}

void router_changes_free(struct router_changes *list)
{
    free(list->v);
    *list = (struct router_changes){0};
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
struct host_place {
    struct host_pattern host;
    struct str key;
    char *reversed; /* owned */
    struct tnode **tree;
};

static struct host_place place_of(struct router *r, struct host_pattern host)
{
    struct host_place p = {.host = host, .key = host.text};

    if (host.kind == HOST_SUFFIX)
        p.tree = &r->suffix;
    if (host.kind == HOST_PREFIX)
        p.tree = &r->prefix;
    if (host.kind == HOST_SUFFIX) {
        p.reversed = xmalloc(p.key.len + 1);
        p.key = reverse(p.key, p.reversed);
    }
    return p;
}

/* The tree of paths behind a place, in nodes that nobody shares. */
static struct tnode **paths_own(struct router *r, const struct host_place *p)
{
    struct obj **slot;

    if (p->host.kind == HOST_ANY)
        return &r->any;
    slot = p->host.kind == HOST_EXACT ? pmap_own(&r->exact, &host_map, p->key)
                                      : ptrie_own(p->tree, p->key);
    return &group_own(slot, p->key)->paths;
}

static void group_drop(struct router *r, const struct host_place *p)
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
    if (e->kind == ENTRY_EXPRESSION)
        return e->route->expr->paths[e->path];
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

static bool asks_addresses(const struct o_route *r)
{
    return r->endpoints || (r->expr && r->expr->asks_addresses);
}

static void entry_out(struct router *r, const struct router_change *c, struct sbuf *buf)
{
    struct tnode **paths;
    struct host_place p;
    struct str key;

    if (c->entry.kind == ENTRY_STREAM) {
        if (place_remove(&r->stream, &c->entry)) {
            obj_unref(r->stream);
            r->stream = NULL;
        }
        return;
    }
    r->n_addresses -= asks_addresses(c->entry.route);
    p = place_of(r, c->host);
    paths = paths_own(r, &p);
    key = path_key(&c->entry, buf);
    if (place_remove(ptrie_own(paths, key), &c->entry))
        ptrie_del(paths, key);
    if (!*paths)
        group_drop(r, &p);
    free(p.reversed);
}

/* False: it has to wait, since many share its place. */
static bool entry_in(struct router *r, const struct router_change *c, bool may_wait, struct sbuf *buf)
{
    struct host_place p;
    struct obj **slot;
    bool waits;

    if (c->entry.kind == ENTRY_STREAM) {
        if (may_wait && place_is_crowded(r->stream))
            return false;
        place_insert(&r->stream, &c->entry);
        return true;
    }
    p = place_of(r, c->host);
    slot = ptrie_own(paths_own(r, &p), path_key(&c->entry, buf));
    waits = may_wait && place_is_crowded(*slot);
    if (!waits) {
        r->n_addresses += asks_addresses(c->entry.route);
        place_insert(slot, &c->entry);
    }
    free(p.reversed);
    return !waits;
}

/*
 * Entries come in as they are, which is mostly how their routes lie in memory. Only those that
 * share a place with many are sorted before: a list is cheap to append to.
 */
static void entries_in(struct router *r, struct router_changes *in, struct sbuf *buf)
{
    size_t waiting = 0;
    bool may_wait = in->n > 1;

    for (size_t i = 0; i < in->n; i++)
        if (!entry_in(r, &in->v[i], may_wait, buf))
            in->v[waiting++] = in->v[i];
    if (waiting)
        qsort(in->v, waiting, sizeof(*in->v), change_cmp);
    for (size_t i = 0; i < waiting; i++)
        (void)entry_in(r, &in->v[i], false, buf);
}

void router_apply(struct router *r, struct router_changes *out, struct router_changes *in)
{
    struct sbuf buf = {0};

    if (out->n)
        qsort(out->v, out->n, sizeof(*out->v), change_cmp);
    for (size_t i = out->n; i-- > 0;)
        entry_out(r, &out->v[i], &buf);
    entries_in(r, in, &buf);
    sbuf_free(&buf);
}

struct router router_share(const struct router *r)
{
    obj_ref(r->stream);
    return (struct router){
        .exact = pmap_share(&r->exact),
        .suffix = ptrie_share(r->suffix),
        .prefix = ptrie_share(r->prefix),
        .any = ptrie_share(r->any),
        .stream = r->stream,
        .flavor = r->flavor,
        .n_addresses = r->n_addresses,
    };
}

void router_drop(struct router *r)
{
    pmap_drop(&r->exact, &host_map);
    ptrie_drop(&r->suffix);
    ptrie_drop(&r->prefix);
    ptrie_drop(&r->any);
    obj_unref(r->stream);
    r->stream = NULL;
}
