/* stream.c - finds the route of a connection of the stream proxy. See place.h for the index. */
#include "dataplane/route/router_priv.h"

struct search {
    const struct config *config;
    const struct stream_query *q;
    uint32_t protocols; /* of routes that fit */
    const struct route_entry *best;
    uint64_t above; /* its priority */
    struct stream_match *out;
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

static bool endpoints_match(const struct route_endpoints *ends, const struct stream_query *q)
{
    return !ends || (one_has(ends->v, ends->n_sources, q->client_ip, q->client_port) &&
                     one_has(ends->v + ends->n_sources, ends->n - ends->n_sources, q->local_ip,
                             q->local_port));
}

static bool names_match(const struct route *def, const struct stream_query *q)
{
    for (size_t i = 0; i < def->snis.n && q->tls; i++)
        if (sni_is(LIST_AT(def->snis, struct str, i), q->sni))
            return true;
    return def->snis.n == 0 || !q->tls;
}

static bool entry_matches(const struct search *s, const struct route_entry *e)
{
    const struct o_route *r = e->route;

    if (!(r->c.protocols & s->protocols) || !endpoints_match(r->endpoints, s->q) ||
        !names_match(&r->c.def, s->q))
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

    *out = (struct stream_match){0};
    s.protocols = q->terminated ? 1u << PROTO_TLS
                  : q->tls      ? 1u << PROTO_TLS | 1u << PROTO_TLS_PASSTHROUGH
                                : 1u << PROTO_TCP;
    if (c->r.router.stream)
        (void)place_search(c->r.router.stream, &offers, &s.above, visit, &s);
    return s.best != NULL;
}
