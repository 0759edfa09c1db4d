/* match.c - finds the route of a request. See router.h for the indexes it walks. */
#include "dataplane/route/expression.h"
#include "dataplane/route/regex.h"
#include "dataplane/route/router_priv.h"

#define PLACES_MAX 32 /* places of one path that wait to be searched, deepest first */
#define HOST_MAX   256

struct search {
    const struct config *config;
    struct arena *scratch;
    struct ip_network src, dst; /* looked up when a route asks for addresses */
    const struct route_query *q;
    struct place_query offers;
    const struct route_entry *best;
    uint64_t above; /* its priority */
    struct route_match *out;

    /* config_match_all */
    struct match_list {
        const struct c_route **routes;
        uint64_t *priorities;
        size_t n, max;
    } * all;
};

/* ---- one entry against the request ---- */

static bool method_matches(const struct o_route *r, const struct req_head *req)
{
    if (!r->has_methods)
        return true;
    if (req->method_id != M_OTHER)
        return r->methods & 1u << req->method_id;
    for (size_t i = 0; i < r->c.def.methods.n; i++)
        if (str_eq(LIST_AT(r->c.def.methods, struct str, i), req->method))
            return true;
    return false;
}

bool sni_is(struct str pattern, struct str name)
{
    if (str_ends(pattern, STR(".")))
        pattern.len--;
    if (str_starts(pattern, STR("*")))
        return name.len >= pattern.len - 1 &&
               str_ieq(str_n(pattern.p + 1, pattern.len - 1),
                       str_n(name.p + name.len - (pattern.len - 1), pattern.len - 1));
    if (str_ends(pattern, STR("*")))
        return name.len >= pattern.len - 1 &&
               str_ieq(str_n(pattern.p, pattern.len - 1), str_n(name.p, pattern.len - 1));
    return str_ieq(pattern, name);
}

static bool sni_matches(const struct o_route *r, const struct route_query *q)
{
    if (r->c.def.snis.n == 0 || !q->tls)
        return true;
    for (size_t i = 0; i < r->c.def.snis.n; i++)
        if (sni_is(LIST_AT(r->c.def.snis, struct str, i), q->sni))
            return true;
    return false;
}

/* Letters of either case are alike, and so are '-' and '_'. */
static bool same_field_name(struct str a, struct str b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++) {
        char x = ascii_lower(a.p[i]), y = ascii_lower(b.p[i]);

        if ((x == '_' ? '-' : x) != (y == '_' ? '-' : y))
            return false;
    }
    return true;
}

static bool value_matches(struct str wanted, const struct regex *rx, struct str value)
{
    struct str whole;

    return rx ? regex_match(rx, value, &whole, 1) > 0 : str_ieq(wanted, value);
}

/* rx: one per value of the rule, NULL for those that are plain text; rx itself may be NULL. */
static bool header_matches(const struct map_entry *rule, struct regex *const *rx,
                           const struct headers *headers)
{
    HEADERS_EACH(h, headers)
    {
        if (!same_field_name(h->name, rule->key))
            continue;
        for (size_t i = 0; i < rule->values.n; i++)
            if (value_matches(LIST_AT(rule->values, struct str, i), rx ? rx[i] : NULL, h->value))
                return true;
    }
    return false;
}

static bool headers_match(const struct o_route *r, const struct req_head *req)
{
    struct regex *const *rx = r->rules ? r->rules->v + r->c.def.paths.n : NULL;

    for (size_t i = 0; i < r->c.def.headers.n; i++) {
        const struct map_entry *rule = &LIST_AT(r->c.def.headers, struct map_entry, i);

        if (!header_matches(rule, rx, &req->headers))
            return false;
        if (rx)
            rx += rule->values.n;
    }
    return true;
}

/* Fills the path's part of m. */
static bool path_matches(const struct route_entry *e, struct str path, struct route_match *m)
{
    const struct regex *rx;

    m->n_captures = 0;
    m->capture_names = NULL;
    m->matched = STR_NONE;
    if (e->kind == ENTRY_PREFIX)
        m->matched = str_n(path.p, LIST_AT(e->route->c.def.paths, struct str, e->path).len);
    if (e->kind != ENTRY_REGEX)
        return true; /* its place in the tree says that it matches */
    rx = e->route->rules->v[e->path];
    m->n_captures = regex_match(rx, path, m->captures, CAPTURES_MAX);
    m->capture_names = regex_names(rx);
    m->matched = m->captures[0];
    return m->n_captures > 0;
}

/* Routes of HTTP have them in the flavor expressions only. */
static bool addresses_match(const struct search *s, const struct o_route *r)
{
    static const unsigned char unknown[16];

    return !r->endpoints ||
           endpoints_match(r->endpoints, s->offers.src ? s->offers.src : unknown, s->q->client_port,
                           s->offers.dst ? s->offers.dst : unknown, s->q->port);
}

static bool fields_match(const struct search *s, const struct route_entry *e, struct route_match *m)
{
    const struct o_route *r = e->route;

    return (!e->port || e->port == s->offers.port) && method_matches(r, s->q->req) &&
           sni_matches(r, s->q) && headers_match(r, s->q->req) && addresses_match(s, r) &&
           path_matches(e, s->q->req->path, m);
}

/*
 * Unlike a classic route's, the protocols of an expression count while it is matched, except
 * https alone, which must see what it will redirect.
 */
static bool scheme_matches(uint32_t protocols, bool tls)
{
    if (protocols == 1u << PROTO_HTTPS)
        return true;
    return protocols &
           (tls ? 1u << PROTO_HTTPS | 1u << PROTO_GRPCS : 1u << PROTO_HTTP | 1u << PROTO_GRPC);
}

static bool expression_matches(const struct search *s, const struct o_route *r,
                               struct route_match *m)
{
    const struct expr_input in = {
        .req = s->q->req,
        .protocol = s->q->tls ? STR("https") : STR("http"),
        .sni = s->q->tls ? s->q->sni : STR(""),
        .src = s->offers.src,
        .dst = s->offers.dst,
        .src_port = s->q->client_port,
        .dst_port = s->offers.port,
        .scratch = s->scratch,
    };

    return scheme_matches(r->c.protocols, s->q->tls) && route_expr_matches(r->expr, &in, m);
}

static bool entry_matches(const struct search *s, const struct route_entry *e,
                          struct route_match *m)
{
    const struct o_route *r = e->route;

    if (!(r->expr ? expression_matches(s, r, m) : fields_match(s, e, m)))
        return false;
    m->route = &r->c;
    m->service =
        uuid_is_nil(&r->c.def.service) ? NULL : config_service(s->config, &r->c.def.service);
    return !m->service || m->service->def.enabled;
}

/* ---- the places that can hold it ---- */

static void collect(struct match_list *all, const struct route_entry *e)
{
    size_t i, at;

    for (i = 0; i < all->n; i++) /* a route that is there already: its best stays */
        if (all->routes[i] == &e->route->c) {
            if (all->priorities[i] >= e->priority)
                return;
            memmove(all->routes + i, all->routes + i + 1, (all->n - i - 1) * sizeof(*all->routes));
            memmove(all->priorities + i, all->priorities + i + 1,
                    (all->n - i - 1) * sizeof(*all->priorities));
            all->n--;
            break;
        }
    for (at = 0; at < all->n; at++)
        if (all->priorities[at] < e->priority ||
            (all->priorities[at] == e->priority &&
             memcmp(&all->routes[at]->def.id, &e->route->head.id, sizeof(struct uuid)) < 0))
            break;
    if (at == all->max)
        return;
    i = size_min(all->n, all->max - 1) - at;
    memmove(all->routes + at + 1, all->routes + at, i * sizeof(*all->routes));
    memmove(all->priorities + at + 1, all->priorities + at, i * sizeof(*all->priorities));
    all->routes[at] = &e->route->c;
    all->priorities[at] = e->priority;
    all->n = size_min(all->n + 1, all->max);
}

static bool search_list(void *arg, const struct entry_list *list)
{
    struct search *s = arg;

    for (uint32_t i = list->n; i-- > 0;) {
        const struct route_entry *e = &list->v[i];
        struct route_match m;

        if (s->best && entry_cmp(e, s->best) <= 0)
            break;
        if (!entry_matches(s, e, &m))
            continue;
        if (s->all) {
            collect(s->all, e);
            continue;
        }
        *s->out = m;
        s->best = e;
        s->above = e->priority;
        break;
    }
    return true;
}

static void search_place(struct search *s, const struct obj *place)
{
    (void)place_search(place, &s->offers, &s->above, search_list, s);
}

static void search_paths(struct search *s, const struct tnode *paths)
{
    const struct obj *places[PLACES_MAX], *place;
    struct tnode_walk w = ptrie_walk(paths, s->q->req->path);
    unsigned n = 0;

    while ((place = ptrie_next(&w))) {
        if (n == PLACES_MAX)
            search_place(s, places[--n]);
        places[n++] = place;
    }
    while (n > 0)
        search_place(s, places[--n]);
}

static void search_hosts(struct search *s, const struct tnode *hosts, struct str name)
{
    struct tnode_walk w = ptrie_walk(hosts, name);
    const struct obj *o;

    while ((o = ptrie_next(&w)))
        search_paths(s, ((const struct host_group *)o)->paths);
}

/* What hosts with a port are compared with. */
static uint16_t port_asked(const struct router *r, const struct route_query *q)
{
    if (q->req->host_port)
        return q->req->host_port;
    return r->flavor != FLAVOR_TRADITIONAL ? q->port : q->tls ? 443 : 80;
}

/* False: a host longer than any name, and no memory to turn it round. */
static bool search_all(struct search *s, struct arena *scratch)
{
    const struct router *r = &s->config->r.router;
    struct str host = s->q->req->host;
    char small[HOST_MAX], *buf = small;
    const struct obj *exact;

    s->offers = (struct place_query){
        .headers = &s->q->req->headers,
        .method = s->q->req->method,
        .sni = s->q->sni,
        .tls = s->q->tls,
        .port = port_asked(r, s->q),
    };
    s->scratch = scratch;
    if (r->n_addresses) {
        s->offers.src = ip_network_parse(s->q->client_ip, &s->src) ? s->src.addr : NULL;
        s->offers.dst = ip_network_parse(s->q->local_ip, &s->dst) ? s->dst.addr : NULL;
    }
    if (host.len && (exact = pmap_get(&r->exact, &host_map, host)))
        search_paths(s, ((const struct host_group *)exact)->paths);
    if (host.len && r->suffix) {
        if (host.len > sizeof(small) && !(buf = arena_alloc(scratch, host.len)))
            return false;
        search_hosts(s, r->suffix, reverse(host, buf));
    }
    if (host.len && r->prefix)
        search_hosts(s, r->prefix, host);
    search_paths(s, r->any);
    return true;
}

bool config_match(const struct config *c, const struct route_query *q, struct arena *scratch,
                  struct route_match *out)
{
    struct search s = {.config = c, .q = q, .out = out};

    *out = (struct route_match){0};
    return search_all(&s, scratch) && s.best;
}

size_t config_match_all(const struct config *c, const struct route_query *q, struct arena *scratch,
                        const struct c_route **routes, uint64_t *priorities, size_t max)
{
    struct match_list all = {.routes = routes, .priorities = priorities, .max = max};
    struct search s = {.config = c, .q = q, .all = &all};

    return max && search_all(&s, scratch) ? all.n : 0;
}
