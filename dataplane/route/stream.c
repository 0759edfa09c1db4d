/* stream.c - finds the route of a connection of the stream proxy. See place.h for the index. */
#include "dataplane/route/expression.h"
#include "dataplane/route/router_priv.h"

struct search {
    const struct config *config;
    const struct stream_query *q;
    uint32_t protocols; /* of routes that fit */
    const struct route_entry *best;
    uint64_t above; /* its priority */
    struct stream_match *out;
    struct arena *scratch;
};

/* True when there are none: then every address will do. */
static bool one_has(const struct c_endpoint *v, size_t n, const unsigned char addr[16],
                    uint16_t port)
{
    for (size_t i = 0; i < n; i++)
        if ((!v[i].has_port || v[i].port == port) &&
            (!v[i].has_addr || ip_network_has(&v[i].net, addr)))
            return true;
    return n == 0;
}

bool endpoints_match(const struct route_endpoints *ends, const unsigned char src[16],
                     uint16_t src_port, const unsigned char dst[16], uint16_t dst_port)
{
    return !ends || (one_has(ends->v, ends->n_sources, src, src_port) &&
                     one_has(ends->v + ends->n_sources, ends->n - ends->n_sources, dst, dst_port));
}

static bool names_match(const struct route *def, const struct stream_query *q)
{
    for (size_t i = 0; i < def->snis.n && q->tls; i++)
        if (sni_is(LIST_AT(def->snis, struct str, i), q->sni))
            return true;
    return def->snis.n == 0 || !q->tls;
}

static bool expression_matches(const struct route_expr *x, const struct search *s)
{
    const struct expr_input in = {
        .protocol = s->q->tls ? STR("tls") : STR("tcp"),
        .sni = s->q->tls ? s->q->sni : STR(""),
        .src = s->q->client_ip,
        .dst = s->q->local_ip,
        .src_port = s->q->client_port,
        .dst_port = s->q->local_port,
        .scratch = s->scratch,
    };
    struct route_match taken;

    return route_expr_matches(x, &in, &taken);
}

static bool entry_matches(const struct search *s, const struct route_entry *e)
{
    const struct o_route *r = e->route;

    if (!(r->c.protocols & s->protocols) ||
        !(r->expr ? expression_matches(r->expr, s)
                  : endpoints_match(r->endpoints, s->q->client_ip, s->q->client_port,
                                    s->q->local_ip, s->q->local_port) &&
                        names_match(&r->c.def, s->q)))
        return false;
    s->out->service =
        uuid_is_nil(&r->c.def.service) ? NULL : config_service(s->config, &r->c.def.service);
    return !s->out->service || s->out->service->def.enabled;
}

static bool visit(void *arg, const struct entry_list *list)
{
    struct search *s = arg;
    const struct c_service *kept = s->out->service;

    for (uint32_t i = list->n; i-- > 0;) {
        const struct route_entry *e = &list->v[i];

        if (s->best && entry_cmp(e, s->best) <= 0)
            break;
        if (!entry_matches(s, e))
            continue;
        s->best = e;
        s->above = e->priority;
        s->out->route = &e->route->c;
        return true;
    }
    s->out->service = kept; /* of a route that did not match after all */
    return true;
}

bool config_match_stream(const struct config *c, const struct stream_query *q,
                         struct stream_match *out)
{
    const struct place_query offers = {
        .tls = q->tls,
        .sni = q->sni,
        .port = q->local_port,
        .src = q->client_ip,
        .dst = q->local_ip,
    };
    struct search s = {.config = c, .q = q, .out = out};
    struct arena scratch;

    *out = (struct stream_match){0};
    s.protocols = q->terminated ? 1u << PROTO_TLS
                  : q->tls      ? 1u << PROTO_TLS | 1u << PROTO_TLS_PASSTHROUGH
                                : 1u << PROTO_TCP;
    if (!c->r.router.stream)
        return false;
    arena_init(&scratch, 0,
               4096); /* for server names of more than 256 bytes, which there are not */
    s.scratch = &scratch;
    (void)place_search(c->r.router.stream, &offers, &s.above, visit, &s);
    arena_fini(&scratch);
    return s.best != NULL;
}
