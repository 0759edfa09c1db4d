/*
 * derive.c - what follows from several entities together, recomputed for those alone that a
 * change can have touched.
 *
 *   plugins -> global chain -> chains of services and routes with plugins of their own
 *   targets -> rounds of upstreams      certificates -> client contexts of services
 *   routes  -> the router, and whose certificates are asked for (client_auth.c)
 *   keys    -> the ring of session tickets
 */
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/config/compiler.h"
#include "dataplane/tls/options.h"
#include "dataplane/tls/tls.h"
#include "dataplane/upstream/wrr.h"

static const struct uuid nil_id;

/* ---- chains ---- */

struct picking {
    const struct o_plugin **pick;
    unsigned n_order;           /* pick holds that many for HTTP, and as many for streams */
    const struct uuid *service; /* rows for another service do not count; NULL: no matter */
};

static void prefer(const struct o_plugin **best, const struct o_plugin *row)
{
    if (!*best || row->rank < (*best)->rank ||
        (row->rank == (*best)->rank &&
         memcmp(&row->head.id, &(*best)->head.id, sizeof(struct uuid)) > 0))
        *best = row;
}

static void pick(struct obj *o, void *arg)
{
    const struct picking *p = arg;
    const struct o_plugin *row = (const struct o_plugin *)o;

    if (p->service && !uuid_is_nil(&row->c.def.service) &&
        !uuid_eq(&row->c.def.service, p->service))
        return;
    if (row->c.protocols & PROTOCOLS_HTTP)
        prefer(&p->pick[row->c.order], row);
    if (row->c.protocols & PROTOCOLS_STREAM)
        prefer(&p->pick[p->n_order + row->c.order], row);
}

static uint32_t count(const struct o_plugin *const *picked, unsigned n_order)
{
    uint32_t n = 0;

    for (unsigned i = 0; i < n_order; i++)
        n += picked[i] != NULL;
    return n;
}

/* What has been picked, into v. */
static void fill(struct chain *out, const struct c_plugin **v, const struct o_plugin *const *picked, unsigned n_order)
{
    out->v = v;
    for (unsigned i = 0; i < n_order; i++) {
        if (!picked[i])
            continue;
        v[out->n++] = &picked[i]->c;
        out->phases |= picked[i]->c.contract->phases;
    }
}

static const struct obj_type chain_type = {.name = "chain"};

/* Merges sets (NULL: empty) of plugins; of one name and kind of client the most specific row runs. */
static struct chain_obj *chain_new(struct compiler *c, const struct pmap *const *sets,
                                   size_t n_sets, const struct uuid *service)
{
    const struct o_plugin **streams = c->pick + c->n_order;
    struct picking p = {c->pick, c->n_order, service};
    struct chain_obj *chain;
    uint32_t n, n_streams;

    memset(c->pick, 0, 2 * c->n_order * sizeof(*c->pick));
    for (size_t i = 0; i < n_sets; i++)
        if (sets[i])
            pmap_each(sets[i], pick, &p);
    n = count(c->pick, c->n_order);
    n_streams = count(streams, c->n_order);
    chain = obj_new(&chain_type, sizeof(*chain) + (n + n_streams) * sizeof(chain->v[0]));
    fill(&chain->c, chain->v, c->pick, c->n_order);
    fill(&chain->streams, chain->v + n, streams, c->n_order);
    chain->c.streams = n_streams ? &chain->streams : NULL;
    return chain;
}

static const struct pmap *plugins_of(const struct roots *r, const struct uuid *owner)
{
    return roots_set(r, MAP_PLUGINS_OF, owner);
}

/* Of an owner of plugins: a service or a route runs a chain of its own. */
static void owner_is_due(struct obj *o, void *arg)
{
    const struct set_obj *set = (const struct set_obj *)o;
    struct build *b = arg;

    if (roots_get(&b->r, MAP_SERVICES, &set->owner))
        id_list_add(&b->services, &set->owner);
    if (roots_get(&b->r, MAP_ROUTES, &set->owner))
        id_list_add(&b->routes, &set->owner);
}

static void route_is_due(struct obj *o, void *arg)
{
    id_list_add(arg, &((struct ent_obj *)o)->id);
}

static void derive_scopes(struct build *b)
{
    if (b->global || !b->r.global) {
        const struct pmap *global = plugins_of(&b->r, &nil_id);

        obj_unref(b->r.global ? &b->r.global->o : NULL);
        b->r.global = chain_new(b->compiler, &global, 1, NULL);
    }
    if (b->global)
        pmap_each(&b->r.m[MAP_PLUGINS_OF], owner_is_due, b);
    id_list_unique(&b->plugged);
    for (size_t i = 0; i < b->plugged.n; i++) {
        const struct pmap *routes = roots_set(&b->r, MAP_ROUTES_OF, &b->plugged.v[i]);

        id_list_add(&b->services, &b->plugged.v[i]);
        if (routes)
            pmap_each(routes, route_is_due, &b->routes);
    }
}

/* ---- routes ---- */

static void retire_route(struct build *b, struct o_route *was, struct router_changes *out)
{
    router_changes_add(out, was);
    if (was->chain)
        roots_set_remove(&b->r, MAP_ROUTES_OF, &was->c.def.service, &was->head);
}

static void derive_route(struct build *b, struct o_route *is, struct router_changes *in)
{
    const struct pmap *sets[3] = {plugins_of(&b->r, &is->head.id)};

    if (sets[0]) {
        if (!uuid_is_nil(&is->c.def.service))
            sets[1] = plugins_of(&b->r, &is->c.def.service);
        sets[2] = plugins_of(&b->r, &nil_id);
        is->chain = chain_new(b->compiler, sets, 3, &is->c.def.service);
        is->c.chain = &is->chain->c;
        roots_set_add(&b->r, MAP_ROUTES_OF, &is->c.def.service, &is->head);
    }
    router_changes_add(in, is);
}

static void derive_routes(struct build *b)
{
    const struct row_list *all = rows_all(b, MAP_ROUTES);
    struct router_changes out = {0}, in = {0};

    for (size_t i = 0; i < all->n; i++)
        derive_route(b, (struct o_route *)all->v[i], &in);
    id_list_unique(&b->routes);
    for (size_t i = 0; !b->full && i < b->routes.n; i++) {
        const struct uuid *id = &b->routes.v[i];
        struct ent_obj *was = roots_get(b->base, MAP_ROUTES, id), *is = row_own(b, ET_ROUTE, id);

        if (was)
            retire_route(b, (struct o_route *)was, &out);
        if (is)
            derive_route(b, (struct o_route *)is, &in);
    }
    router_apply(&b->r.router, &out, &in);
    router_changes_free(&out);
    router_changes_free(&in);
}

/* ---- services ---- */

static void tls_fini(struct obj *o)
{
    struct tls_obj *t = (struct tls_obj *)o;

    SSL_CTX_free(t->ctx);
    obj_unref(t->certificate ? &t->certificate->o : NULL);
}

static const struct obj_type tls_type = {.name = "client tls", .fini = tls_fini};

static struct str tls_key_of(const struct obj *o)
{
    return str_n((const char *)&((const struct tls_obj *)o)->key, sizeof(struct tls_key));
}

static const struct pmap_type client_tls_map = {.key = tls_key_of, .owns = true};

struct dead {
    struct tls_obj **v;
    size_t n;
};

static void find_dead(struct obj *o, void *arg)
{
    struct dead *dead = arg;

    if (o->refs == 1)
        dead->v[dead->n++] = (struct tls_obj *)o;
}

void client_tls_prune(struct compiler *c)
{
    struct dead dead = {0};

    if (c->client_tls.n == 0)
        return;
    dead.v = xcalloc(c->client_tls.n, sizeof(*dead.v));
    pmap_each(&c->client_tls, find_dead, &dead);
    for (size_t i = 0; i < dead.n; i++) {
        struct tls_key key = dead.v[i]->key;

        pmap_del(&c->client_tls, &client_tls_map, str_n((const char *)&key, sizeof(key)));
    }
    free(dead.v);
}

void client_tls_drop(struct compiler *c)
{
    pmap_drop(&c->client_tls, &client_tls_map);
}

int ca_stack(const struct build *b, struct list ids, bool all, STACK_OF(X509) *to, struct err *e)
{
    for (size_t i = 0; i < ids.n; i++) {
        struct str text = LIST_AT(ids, struct str, i);
        const struct o_ca_certificate *ca = NULL;
        struct uuid id;
        char at[24];

        if (uuid_parse(text, &id))
            ca = (const struct o_ca_certificate *)roots_get(&b->r, MAP_CA_CERTIFICATES, &id);
        if (!ca && all) {
            snprintf(at, sizeof(at), "%zu", i + 1);
            err_set(e, ERR_NOT_FOUND, "no CA certificate '" STR_FMT "'", STR_ARG(text));
            return err_in(e, at);
        }
        if (ca && X509_add_cert(to, ca->x509, X509_ADD_FLAG_UP_REF | X509_ADD_FLAG_NO_DUP) != 1)
            return err_set(e, ERR_INTERNAL, "no memory for CA certificates");
    }
    return 0;
}

/* The client certificate: the service's, else its upstream's; NULL without e: neither has one. */
static int find_certificate(const struct build *b, const struct service *s, struct o_certificate **out, struct err *e)
{
    const struct uuid *id = &s->client_certificate;
    const struct obj *u;

    *out = NULL;
    u = pmap_get(&b->r.m[MAP_UPSTREAM_NAMES], &map_types[MAP_UPSTREAM_NAMES], s->host);
    if (uuid_is_nil(id) && u)
        id = &((const struct o_upstream *)u)->c.def.client_certificate;
    if (uuid_is_nil(id))
        return 0;
    *out = (struct o_certificate *)roots_get(&b->r, MAP_CERTIFICATES, id);
    if (*out)
        return 0;
    err_set(e, ERR_NOT_FOUND, "no such certificate");
    return err_in(e, "client_certificate");
}

/*
 * The authorities that s names; NULL: those of the settings count. Where s itself demands
 * verification all of them have to be there; where the settings do, what is missing lets nobody
 * in, and no change of anything else is refused for it.
 */
static int find_authorities(const struct build *b, const struct service *s, bool verify, STACK_OF(X509) **out,
                            struct err *e)
{
    *out = NULL;
    if (!verify || s->ca_certificates.n == 0)
        return 0;
    *out = sk_X509_new_null();
    if (!*out)
        return err_set(e, ERR_INTERNAL, "no memory for CA certificates");
    if (ca_stack(b, s->ca_certificates, s->tls_verify == 1 && s->enabled, *out, e) == 0)
        return 0;
    sk_X509_pop_free(*out, X509_free);
    *out = NULL;
    return err_in(e, "ca_certificates");
}

static void digest_authorities(const STACK_OF(X509) *all, unsigned char out[SHA256_DIGEST_LENGTH])
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    unsigned char one[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    bool ok = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1;

    for (int i = 0; ok && i < sk_X509_num(all); i++)
        ok = X509_digest(sk_X509_value(all, i), EVP_sha256(), one, &n) == 1 && EVP_DigestUpdate(md, one, n) == 1;
    ok = ok && EVP_DigestFinal_ex(md, out, &n) == 1;
    WEIR_ASSERT(ok); /* only memory can fail */
    EVP_MD_CTX_free(md);
}

/* The context for key, shared; a reference. NULL with e. */
static struct tls_obj *client_tls(struct compiler *c, const struct tls_key *key, struct o_certificate *cert,
                                  const STACK_OF(X509) *authorities, struct err *e)
{
    struct str name = str_n((const char *)key, sizeof(*key));
    struct tls_obj *t = (struct tls_obj *)pmap_get(&c->client_tls, &client_tls_map, name);
    struct upstream_tls want = {.verify = key->verify, .depth = key->depth, .authorities = authorities};
    SSL_CTX *ctx;

    if (t) {
        obj_ref(&t->o);
        return t;
    }
    if (cert) {
        want.cert = cert->def.cert;
        want.key = cert->def.key;
    } else if (tls_options->cert.len) {
        want.cert = sbuf_str(&tls_options->cert);
        want.key = sbuf_str(&tls_options->key);
    }
    ctx = tls_client_ctx(&want, e);
    if (!ctx)
        return NULL;
    t = obj_new(&tls_type, sizeof(*t));
    t->ctx = ctx;
    t->key = *key;
    t->certificate = cert ? &cert->head : NULL;
    obj_ref(cert ? &cert->head.o : NULL);
    pmap_put(&c->client_tls, &client_tls_map, &t->o);
    return t;
}

/* The context that s asks for. Equal ones are one: each is large. */
static int derive_tls(struct build *b, struct o_service *s, struct err *e)
{
    const struct service *def = &s->c.def;
    bool verify = def->tls_verify < 0 ? tls_options->verify : def->tls_verify == 1;
    STACK_OF(X509) *authorities;
    struct o_certificate *cert;
    struct tls_key key;

    if (find_certificate(b, def, &cert, e) != 0 || find_authorities(b, def, verify, &authorities, e) != 0)
        return -1;
    memset(&key, 0, sizeof(key));
    key.certificate = cert ? &cert->head : NULL;
    key.depth = def->tls_verify_depth == INT_NULL ? tls_options->verify_depth : (int32_t)def->tls_verify_depth;
    key.verify = verify;
    key.protocol = def->protocol;
    if (authorities)
        digest_authorities(authorities, key.authorities);
    s->tls = client_tls(b->compiler, &key, cert, authorities, e);
    sk_X509_pop_free(authorities, X509_free);
    s->c.tls_ctx = s->tls ? s->tls->ctx : NULL;
    return s->tls ? 0 : -1;
}

/* Whether the service's upstream shows a certificate of its own, now or in the version before. */
static bool upstream_shows(const struct roots *r, struct str name)
{
    const struct obj *u = pmap_get(&r->m[MAP_UPSTREAM_NAMES], &map_types[MAP_UPSTREAM_NAMES], name);

    return u && !uuid_is_nil(&((const struct o_upstream *)u)->c.def.client_certificate);
}

static void service_is_due(struct obj *o, void *arg)
{
    const struct o_service *s = (const struct o_service *)o;
    struct build *b = arg;

    if (s->c.tls && uuid_is_nil(&s->c.def.client_certificate) &&
        (upstream_shows(&b->r, s->c.def.host) || upstream_shows(b->base, s->c.def.host)))
        id_list_add(&b->services, &s->head.id);
}

static int derive_service(struct build *b, const struct uuid *id, struct err *e)
{
    struct o_service *s = (struct o_service *)row_own(b, ET_SERVICE, id);
    const struct pmap *sets[2];

    if (!s)
        return 0;
    sets[0] = plugins_of(&b->r, id);
    sets[1] = plugins_of(&b->r, &nil_id);
    if (sets[0]) {
        s->chain = chain_new(b->compiler, sets, 2, NULL);
        s->c.chain = &s->chain->c;
    }
    return s->c.tls ? derive_tls(b, s, e) : 0;
}

static int derive_services(struct build *b, struct err *e)
{
    char where[32 + UUID_TEXT_LEN], id[UUID_TEXT_LEN + 1];

    if (b->upstream_certs && b->r.m[MAP_UPSTREAMS].n + b->base->m[MAP_UPSTREAMS].n > 0)
        pmap_each(&b->r.m[MAP_SERVICES], service_is_due, b);
    id_list_unique(&b->services);
    for (size_t i = 0; i < b->services.n; i++) {
        if (derive_service(b, &b->services.v[i], e) == 0)
            continue;
        uuid_format(&b->services.v[i], id);
        snprintf(where, sizeof(where), "services.%s", id);
        return err_in(e, where);
    }
    return 0;
}

/* ---- consumers ---- */

static int plugin_cmp(const void *a, const void *b)
{
    const struct o_plugin *x = *(const struct o_plugin *const *)a,
                          *y = *(const struct o_plugin *const *)b;

    if (x->c.order != y->c.order)
        return x->c.order < y->c.order ? -1 : 1;
    if (x->rank != y->rank)
        return x->rank < y->rank ? -1 : 1;
    return memcmp(&y->head.id, &x->head.id, sizeof(struct uuid));
}

struct members {
    struct obj **v;
    size_t n;
};

static void gather(struct obj *o, void *arg)
{
    struct members *m = arg;

    m->v[m->n++] = o;
}

/* All of a set, sorted; the caller frees v. */
static struct members members_sorted(const struct pmap *set, int (*cmp)(const void *, const void *))
{
    struct members m = {.v = xcalloc(set ? set->n + 1 : 1, sizeof(*m.v))};

    if (set)
        pmap_each(set, gather, &m);
    qsort(m.v, m.n, sizeof(*m.v), cmp);
    return m;
}

static const struct obj_type plugin_list_type = {.name = "plugins"};

static void derive_consumer(struct build *b, struct o_consumer *c)
{
    const struct pmap *set = plugins_of(&b->r, &c->head.id);
    struct members m;

    if (!set)
        return;
    m = members_sorted(set, plugin_cmp);
    c->plugins = obj_new(&plugin_list_type, sizeof(*c->plugins) + m.n * sizeof(c->plugins->v[0]));
    for (size_t i = 0; i < m.n; i++)
        c->plugins->v[i] = &((struct o_plugin *)m.v[i])->c;
    c->c.plugins = c->plugins->v;
    c->c.n_plugins = c->plugins->n = (uint32_t)m.n;
    free(m.v);
}

static void derive_consumers(struct build *b)
{
    const struct row_list *all = rows_all(b, MAP_CONSUMERS);

    for (size_t i = 0; i < all->n; i++)
        derive_consumer(b, (struct o_consumer *)all->v[i]);
    id_list_unique(&b->consumers);
    for (size_t i = 0; !b->full && i < b->consumers.n; i++) {
        struct ent_obj *c = row_own(b, ET_CONSUMER, &b->consumers.v[i]);

        if (c)
            derive_consumer(b, (struct o_consumer *)c);
    }
}

/* ---- upstreams ---- */

static void target_list_fini(struct obj *o)
{
    struct target_list *t = (struct target_list *)o;

    if (t->wheel)
        mem_free(t->wheel);
}

static const struct obj_type target_list_type = {.name = "targets", .fini = target_list_fini};

/* Oldest first, so that a new target comes last. */
static int target_cmp(const void *a, const void *b)
{
    const struct o_target *x = *(const struct o_target *const *)a,
                          *y = *(const struct o_target *const *)b;

    if (x->def.created_at != y->def.created_at)
        return x->def.created_at < y->def.created_at ? -1 : 1;
    return memcmp(&x->head.id, &y->head.id, sizeof(struct uuid));
}

static void make_round(struct target_list *t)
{
    uint32_t *weights = xcalloc(t->n + 1u, sizeof(*weights));

    for (uint32_t i = 0; i < t->n; i++)
        weights[i] = t->v[i].weight;
    t->wheel = mem_alloc(WRR_ROOM(t->n) * sizeof(*t->wheel));
    t->n_wheel = wrr_order(weights, t->n, t->wheel);
    free(weights);
    if (t->n_wheel) {
        t->wheel = mem_realloc(t->wheel, t->n_wheel * sizeof(*t->wheel));
        return;
    }
    mem_free(t->wheel);
    t->wheel = NULL;
}

static int derive_upstream(struct build *b, const struct uuid *id, struct err *e)
{
    struct o_upstream *u = (struct o_upstream *)row_own(b, ET_UPSTREAM, id);
    struct target_list *t;
    struct members m;

    if (!u)
        return 0;
    m = members_sorted(roots_set(&b->r, MAP_TARGETS_OF, id), target_cmp);
    if (m.n > UINT16_MAX) {
        free(m.v);
        return err_set(e, ERR_LIMIT, "%zu targets, expected at most %u", m.n, UINT16_MAX);
    }
    t = obj_new(&target_list_type, sizeof(*t) + m.n * sizeof(t->v[0]));
    t->n = (uint32_t)m.n;
    for (uint32_t i = 0; i < t->n; i++)
        t->v[i] = ((struct o_target *)m.v[i])->c;
    free(m.v);
    make_round(t);
    u->targets = t;
    u->c.targets = t->v;
    u->c.n_targets = t->n;
    u->c.wheel = t->wheel;
    u->c.n_wheel = t->n_wheel;
    return 0;
}

/* ---- keys of session tickets ---- */

static void ring_fini(struct obj *o)
{
    struct ticket_ring *r = &((struct ticket_ring_obj *)o)->ring;

    OPENSSL_cleanse(r->v, r->n * sizeof(r->v[0]));
}

static const struct obj_type ring_type = {.name = "ticket keys", .fini = ring_fini};

/* Newest first. */
static int key_cmp(const void *a, const void *b)
{
    const struct o_ticket_key *x = *(const struct o_ticket_key *const *)a, *y = *(const struct o_ticket_key *const *)b;

    return x->key.serial > y->key.serial ? -1 : x->key.serial < y->key.serial;
}

static void derive_tickets(struct build *b)
{
    const struct pmap *keys = &b->r.m[MAP_TICKET_KEYS];
    struct ticket_ring_obj *t = NULL;
    struct members m;

    if (!b->tickets)
        return;
    obj_unref(b->r.tickets ? &b->r.tickets->o : NULL);
    if (keys->n) {
        m = members_sorted(keys, key_cmp);
        t = obj_new(&ring_type, sizeof(*t) + m.n * sizeof(t->ring.v[0]));
        t->ring.n = (uint32_t)m.n;
        for (uint32_t i = 0; i < t->ring.n; i++)
            t->ring.v[i] = ((struct o_ticket_key *)m.v[i])->key;
        free(m.v);
    }
    b->r.tickets = t;
}

int derive(struct build *b, struct err *e)
{
    char where[32 + UUID_TEXT_LEN], id[UUID_TEXT_LEN + 1];

    derive_scopes(b);
    derive_tickets(b);
    if (derive_services(b, e) != 0)
        return -1;
    derive_routes(b);
    if (derive_client_auth(b, e) != 0)
        return -1;
    derive_consumers(b);
    id_list_unique(&b->upstreams);
    for (size_t i = 0; i < b->upstreams.n; i++) {
        if (derive_upstream(b, &b->upstreams.v[i], e) == 0)
            continue;
        uuid_format(&b->upstreams.v[i], id);
        snprintf(where, sizeof(where), "upstreams.%s", id);
        return err_in(e, where);
    }
    return 0;
}
