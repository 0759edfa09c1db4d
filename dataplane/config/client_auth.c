/*
 * client_auth.c - whose certificates are asked for: the routes with tls_verify_client, by their
 * server names for the handshake and by their id for the request. There are few: the whole is
 * made anew when one of them or a CA certificate changes.
 */
#include <stdlib.h>

#include "dataplane/config/compiler.h"
#include "dataplane/tls/options.h"

static void auth_fini(struct obj *o)
{
    struct auth_obj *a = (struct auth_obj *)o;

    for (size_t i = 0; i < a->n_routes; i++)
        client_policy_free(&a->routes[i].policy);
    for (size_t i = 0; i < a->n_names; i++) {
        client_policy_free(&a->names[i].policy);
        free(a->names[i].name);
    }
    free(a->routes);
    free(a->names);
}

static const struct obj_type auth_type = {.name = "client auth", .fini = auth_fini};

/* ---- authorities ---- */

/* Those of the route; without any, those of the setting ssl_client_certificate. */
static int add_authorities(struct build *b, const struct route *r, STACK_OF(X509) *to, struct err *e)
{
    const struct client_policy *general = tls_options->client_policy;
    STACK_OF(X509) *own = NULL;
    int rc;

    if (r->tls_client_ca_certificates.n)
        return ca_stack(b, r->tls_client_ca_certificates, true, to, e) == 0 ? 0
                                                                            : err_in(e, "tls_client_ca_certificates");
    if (!general)
        return 0;
    own = X509_STORE_get1_all_certs(general->store);
    rc = own && X509_add_certs(to, own, X509_ADD_FLAG_UP_REF | X509_ADD_FLAG_NO_DUP) == 1
             ? 0
             : err_set(e, ERR_INTERNAL, "no memory for authorities");
    sk_X509_pop_free(own, X509_free);
    return rc;
}

static struct client_policy *policy_of(const struct route *r, const STACK_OF(X509) *authorities, struct err *e)
{
    struct client_policy *p =
        client_policy_new((enum verify_client)r->tls_verify_client, authorities, tls_options->client_depth);

    if (!p)
        err_set(e, ERR_INTERNAL, "no memory for authorities");
    return p;
}

/* ---- gathering ---- */

struct gathering {
    struct build *b;
    struct auth_obj *auth;
    STACK_OF(X509) **authorities;  /* parallel to auth->routes */
    const struct route **defs;     /* the same */
    struct err *e;
    int rc;
};

static void gather_route(struct obj *o, void *arg)
{
    struct gathering *g = arg;
    const struct o_route *route = (const struct o_route *)o;
    STACK_OF(X509) *authorities;
    char id[UUID_TEXT_LEN + 1];
    size_t i = g->auth->n_routes;

    if (g->rc != 0)
        return;
    authorities = g->authorities[i] = sk_X509_new_null();
    g->defs[i] = &route->c.def;
    g->auth->routes[i].id = route->head.id;
    g->auth->n_routes++;
    g->rc = add_authorities(g->b, g->defs[i], authorities, g->e);
    if (g->rc == 0 && !(g->auth->routes[i].policy = policy_of(g->defs[i], authorities, g->e)))
        g->rc = -1;
    if (g->rc == 0)
        return;
    uuid_format(&route->head.id, id);
    err_in(g->e, id);
    err_in(g->e, "routes");
}

/* ---- names ---- */

struct claim {
    char *name; /* in lower case, without the dot at the end */
    size_t route;
};

static char *plain_name(struct str name)
{
    char *out = str_dup(str_ends(name, STR(".")) ? str_n(name.p, name.len - 1) : name);

    for (char *p = out; *p; p++)
        *p = ascii_lower(*p);
    return out;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct claim *)a)->name, ((const struct claim *)b)->name);
}

/* Sorted by name; the caller frees the array, the names are taken on. */
static struct claim *claims_of(const struct gathering *g, size_t *n_out)
{
    struct claim *claims;
    size_t n = 0, at = 0;

    for (size_t i = 0; i < g->auth->n_routes; i++)
        n += g->defs[i]->snis.n;
    claims = xcalloc(n + 1, sizeof(*claims));
    for (size_t i = 0; i < g->auth->n_routes; i++)
        for (size_t k = 0; k < g->defs[i]->snis.n; k++)
            claims[at++] = (struct claim){plain_name(LIST_AT(g->defs[i]->snis, struct str, k)), i};
    qsort(claims, n, sizeof(*claims), by_name);
    *n_out = n;
    return claims;
}

/* Of routes that share a name: it is asked for when one asks, and all their authorities are named. */
static struct client_policy *shared_policy(const struct gathering *g, const struct claim *claims, size_t n)
{
    static const struct route off = {.tls_verify_client = VERIFY_CLIENT_OFF};
    STACK_OF(X509) *all = sk_X509_new_null();
    const struct route *asks = &off;
    struct client_policy *p = NULL;
    int ok = all != NULL;

    for (size_t i = 0; ok && i < n; i++) {
        const struct route *r = g->defs[claims[i].route];
        STACK_OF(X509) *own = g->authorities[claims[i].route];

        if (r->tls_verify_client == VERIFY_CLIENT_OFF)
            continue;
        asks = r;
        ok = X509_add_certs(all, own, X509_ADD_FLAG_UP_REF | X509_ADD_FLAG_NO_DUP) == 1;
    }
    if (ok)
        p = policy_of(asks, all, g->e);
    else
        err_set(g->e, ERR_INTERNAL, "no memory for authorities");
    sk_X509_pop_free(all, X509_free);
    return p;
}

static int make_names(struct gathering *g)
{
    struct auth_obj *a = g->auth;
    size_t n, next;
    struct claim *claims = claims_of(g, &n);
    int rc = 0;

    a->names = xcalloc(n + 1, sizeof(*a->names));
    for (size_t i = 0; i < n; i = next) {
        struct auth_name *name = &a->names[a->n_names++];

        for (next = i + 1; next < n && strcmp(claims[next].name, claims[i].name) == 0; next++)
            free(claims[next].name);
        name->name = claims[i].name;
        a->any_wildcard = a->any_wildcard || strchr(name->name, '*');
        if (rc == 0 && !(name->policy = shared_policy(g, claims + i, next - i)))
            rc = -1;
    }
    free(claims);
    return rc;
}

static int by_id(const void *a, const void *b)
{
    return memcmp(&((const struct auth_route *)a)->id, &((const struct auth_route *)b)->id, sizeof(struct uuid));
}

int derive_client_auth(struct build *b, struct err *e)
{
    const struct pmap *routes = &b->r.m[MAP_ASKING_ROUTES];
    struct gathering g = {.b = b, .e = e};

    if (!b->client_auth)
        return 0;
    obj_unref(b->r.auth ? &b->r.auth->o : NULL);
    b->r.auth = NULL;
    if (routes->n == 0)
        return 0;
    g.auth = obj_new(&auth_type, sizeof(*g.auth));
    g.auth->routes = xcalloc(routes->n, sizeof(*g.auth->routes));
    g.authorities = xcalloc(routes->n, sizeof(*g.authorities));
    g.defs = xcalloc(routes->n, sizeof(*g.defs));
    pmap_each(routes, gather_route, &g);
    if (g.rc == 0)
        g.rc = make_names(&g);
    for (size_t i = 0; i < g.auth->n_routes; i++)
        sk_X509_pop_free(g.authorities[i], X509_free);
    free(g.authorities);
    free(g.defs);
    if (g.rc != 0) {
        obj_unref(&g.auth->o);
        return -1;
    }
    qsort(g.auth->routes, g.auth->n_routes, sizeof(*g.auth->routes), by_id);
    b->r.auth = g.auth;
    return 0;
}

/* ---- looking up ---- */

static int name_cmp(const void *key, const void *item)
{
    return strcmp(key, ((const struct auth_name *)item)->name);
}

static const struct client_policy *policy_named(const struct auth_obj *a, const char *name)
{
    const struct auth_name *found = bsearch(name, a->names, a->n_names, sizeof(*a->names), name_cmp);

    return found ? found->policy : NULL;
}

/* The longest "*.x" first, then the longest "x.*", as routes match names (route/match.c). */
static const struct client_policy *policy_wild(const struct auth_obj *a, char *name, size_t len)
{
    const struct client_policy *p = NULL;
    char kept;

    for (size_t i = 1; i < len && !p; i++) {
        if (name[i] != '.')
            continue;
        kept = name[i - 1];
        name[i - 1] = '*';
        p = policy_named(a, name + i - 1);
        name[i - 1] = kept;
    }
    for (size_t i = len; i-- > 1 && !p;) {
        if (name[i - 1] != '.')
            continue;
        name[i] = '*';
        name[i + 1] = '\0'; /* what follows has been tried */
        p = policy_named(a, name);
    }
    return p ? p : policy_named(a, "*");
}

const struct client_policy *config_client_policy(const struct config *c, struct str sni)
{
    const struct auth_obj *a = c->r.auth;
    const struct client_policy *p;
    char name[256];

    if (!a || a->n_names == 0 || sni.len == 0 || sni.len >= sizeof(name))
        return NULL;
    sni.len -= sni.p[sni.len - 1] == '.';
    for (size_t i = 0; i < sni.len; i++)
        name[i] = ascii_lower(sni.p[i]);
    name[sni.len] = '\0';
    p = policy_named(a, name);
    return p || !a->any_wildcard ? p : policy_wild(a, name, sni.len);
}

static int id_cmp(const void *key, const void *item)
{
    return memcmp(key, &((const struct auth_route *)item)->id, sizeof(struct uuid));
}

const struct client_policy *config_route_client_policy(const struct config *c, const struct uuid *route)
{
    const struct auth_obj *a = c->r.auth;
    const struct auth_route *found =
        a ? bsearch(route, a->routes, a->n_routes, sizeof(*a->routes), id_cmp) : NULL;

    return found ? found->policy : NULL;
}
