/* kinds.c - the types of entities: what each compiles to and which indexes it belongs to. */
#include <stdlib.h>

#include "dataplane/config/rows.h"
#include "dataplane/plugins/registry.h"
#include "dataplane/route/expression.h"
#include "dataplane/route/regex.h"
#include "dataplane/tls/pem.h"
#include "dataplane/tls/tls.h"

static void unref(void *o)
{
    obj_unref(o);
}

/* old's name leaves the map unless another has taken it; now's comes. */
static void index_name(struct build *b, enum map_id map, struct ent_obj *old, struct ent_obj *now)
{
    const struct pmap_type *t = &map_types[map];
    struct str key;

    if (old && (key = t->key(&old->o)).p && pmap_get(&b->r.m[map], t, key) == &old->o)
        pmap_del(&b->r.m[map], t, key);
    if (now && t->key(&now->o).p)
        pmap_put(&b->r.m[map], t, &now->o);
}

/* ---- routes ---- */

static void rules_fini(struct obj *o)
{
    struct route_rules *r = (struct route_rules *)o;

    for (uint32_t i = 0; i < r->n; i++) {
        if (r->v[i])
            mem_note(-(int64_t)regex_bytes(r->v[i]));
        regex_free(&r->v[i]);
    }
}

static const struct obj_type rules_type = {.name = "rules", .fini = rules_fini};

/* Host names are compared in lower case; the text is in our own copy of the body. */
static void lower_hosts(struct o_route *r)
{
    struct block *b = r->head.block;

    for (size_t i = 0; i < r->c.def.hosts.n; i++) {
        struct str host = LIST_AT(r->c.def.hosts, struct str, i);
        char *p;

        if (!host.len)
            continue;
        WEIR_ASSERT(host.p >= b->body && host.p + host.len <= b->body + b->body_len);
        p = b->body + (host.p - b->body);
        for (size_t k = 0; k < host.len; k++)
            p[k] = ascii_lower(p[k]);
    }
}

static uint32_t protocol_bits(struct list protocols)
{
    static const struct str words[] = {
#define X(id, word) [id] = {word, sizeof(word) - 1},
        PROTOCOLS(X)
#undef X
    };
    uint32_t bits = 0;

    for (size_t i = 0; i < protocols.n; i++)
        for (unsigned p = 0; p < PROTO_COUNT; p++)
            if (str_eq(LIST_AT(protocols, struct str, i), words[p]))
                bits |= 1u << p;
    return bits;
}

static uint16_t method_bits(struct list methods)
{
    static const struct str words[] = {
#define X(id, word) [id] = {word, sizeof(word) - 1},
        METHODS(X)
#undef X
    };
    uint16_t bits = 0;

    for (size_t i = 0; i < methods.n; i++)
        for (unsigned m = M_OTHER + 1; m < ARRAY_LEN(words); m++)
            if (str_eq(LIST_AT(methods, struct str, i), words[m]))
                bits |= (uint16_t)(1u << m);
    return bits;
}

/* What of a path or header value is an expression; p == NULL: nothing. */
static struct str path_regex(struct str path)
{
    return str_starts(path, STR("~")) ? str_n(path.p + 1, path.len - 1) : STR_NONE;
}

static struct str header_regex(struct str value)
{
    return str_starts(value, STR("~*")) ? str_n(value.p + 2, value.len - 2) : STR_NONE;
}

/* How many expressions the route has; *room_out: how many there could be. */
static size_t count_regexes(const struct route *r, size_t *room_out)
{
    size_t n = 0, room = r->paths.n;

    for (size_t i = 0; i < r->paths.n; i++)
        n += path_regex(LIST_AT(r->paths, struct str, i)).p != NULL;
    for (size_t i = 0; i < r->headers.n; i++) {
        const struct list *values = &LIST_AT(r->headers, struct map_entry, i).values;

        room += values->n;
        for (size_t k = 0; k < values->n; k++)
            n += header_regex(LIST_AT(*values, struct str, k)).p != NULL;
    }
    *room_out = room;
    return n;
}

static int add_regex(struct route_rules *rules, struct str pattern, bool is_path, struct err *e)
{
    struct regex *rx = NULL;

    if (pattern.p && !(rx = regex_new(pattern, is_path, !is_path, e)))
        return err_in(e, is_path ? "paths" : "headers");
    if (rx)
        mem_note((int64_t)regex_bytes(rx));
    rules->v[rules->n++] = rx;
    return 0;
}

/* The oldest flavor reads an expression only where it is a header's one value. */
static bool header_is_text(const struct o_route *r, const struct list *values)
{
    return r->flavor == FLAVOR_TRADITIONAL && values->n != 1;
}

static int compile_rules(struct o_route *r, struct err *e)
{
    const struct route *def = &r->c.def;
    size_t room;

    if (count_regexes(def, &room) == 0)
        return 0;
    r->rules = obj_new(&rules_type, sizeof(*r->rules) + room * sizeof(r->rules->v[0]));
    for (size_t i = 0; i < def->paths.n; i++)
        if (add_regex(r->rules, path_regex(LIST_AT(def->paths, struct str, i)), true, e) != 0)
            return -1;
    for (size_t i = 0; i < def->headers.n; i++) {
        const struct list *values = &LIST_AT(def->headers, struct map_entry, i).values;

        for (size_t k = 0; k < values->n; k++) {
            struct str value = LIST_AT(*values, struct str, k);

            if (add_regex(r->rules, header_is_text(r, values) ? STR_NONE : header_regex(value),
                          false, e) != 0)
                return -1;
        }
    }
    return 0;
}

/* ---- stream routes ---- */

static const struct obj_type endpoints_type = {.name = "endpoints"};

static int add_endpoints(struct route_endpoints *out, struct list from, const char *field,
                         struct err *e)
{
    for (size_t i = 0; i < from.n; i++) {
        const struct endpoint *at = &LIST_AT(from, struct endpoint, i);
        struct c_endpoint *c = &out->v[out->n++];

        c->has_addr = at->ip.p != NULL;
        c->has_port = at->port != INT_NULL;
        c->port = c->has_port ? (uint16_t)at->port : 0;
        if (c->has_addr && !ip_network_parse(at->ip, &c->net)) {
            err_set(e, ERR_INVALID, "'" STR_FMT "' is no address, expected 10.0.0.1 or 10.0.0.0/8",
                    STR_ARG(at->ip));
            return err_in(e, field);
        }
    }
    return 0;
}

static int compile_endpoints(struct o_route *r, struct err *e)
{
    const struct route *def = &r->c.def;
    size_t n = def->sources.n + def->destinations.n;

    if (n == 0)
        return 0;
    r->endpoints = obj_new(&endpoints_type, sizeof(*r->endpoints) + n * sizeof(r->endpoints->v[0]));
    r->endpoints->n_sources = (uint32_t)def->sources.n;
    return add_endpoints(r->endpoints, def->sources, "sources", e) != 0
               ? -1
               : add_endpoints(r->endpoints, def->destinations, "destinations", e);
}

static int compile_expression(struct o_route *r, struct err *e)
{
    if (!r->c.def.expression.p)
        return 0;
    r->expr = route_expr_new(r->c.def.expression,
                             r->c.protocols & PROTOCOLS_HTTP ? EXPR_HTTP : EXPR_STREAM, e);
    return r->expr ? 0 : err_in(e, "expression");
}

static int route_complete(struct compiler *c, struct ent_obj *o, struct err *e)
{
    struct o_route *r = (struct o_route *)o;
    const struct route *def = &r->c.def;

    if (def->hosts.n && def->paths.n > ROUTE_ENTRIES_MAX / def->hosts.n)
        return err_set(e, ERR_LIMIT, "%zu hosts and %zu paths, expected at most %u pairs",
                       def->hosts.n, def->paths.n, ROUTE_ENTRIES_MAX);
    lower_hosts(r);
    r->flavor = compiler_flavor(c);
    if (r->flavor == FLAVOR_TRADITIONAL) {
        r->age = UINT64_MAX - (uint64_t)(def->created_at == INT_NULL ? 0 : def->created_at);
        r->c.path_v1 = def->path_handling == PATH_V1;
    }
    r->c.protocols =
        def->protocols.n ? protocol_bits(def->protocols) : 1u << PROTO_HTTP | 1u << PROTO_HTTPS;
    r->methods = method_bits(def->methods);
    r->has_methods = def->methods.n > 0;
    if (compile_expression(r, e) != 0 || compile_endpoints(r, e) != 0)
        return -1;
    return compile_rules(r, e);
}

static void route_copied(struct ent_obj *o)
{
    struct o_route *r = (struct o_route *)o;

    obj_ref(r->rules ? &r->rules->o : NULL);
    obj_ref(r->endpoints ? &r->endpoints->o : NULL);
    obj_ref(r->expr ? &r->expr->o : NULL);
    r->chain = NULL;
    r->c.chain = NULL;
}

static bool asks(const struct ent_obj *o)
{
    return o && ((const struct o_route *)o)->c.def.tls_verify_client >= 0;
}

static void index_asking(struct build *b, struct ent_obj *old, struct ent_obj *now)
{
    index_name(b, MAP_ASKING_ROUTES, asks(old) ? old : NULL, asks(now) ? now : NULL);
}

static void route_touch(struct build *b, const struct ent_obj *old, const struct ent_obj *now)
{
    b->client_auth = b->client_auth || asks(old) || asks(now);
    if (!b->full)
        id_list_add(&b->routes, now ? &now->id : &old->id);
}

static void route_fini(struct obj *o)
{
    struct o_route *r = (struct o_route *)o;

    unref(r->rules);
    unref(r->endpoints);
    unref(r->expr);
    unref(r->chain);
    unref(r->head.block);
}

/* ---- services ---- */

static void service_single(struct o_service *s)
{
    static const uint16_t wheel[1] = {0};

    s->target = (struct c_target){
        .id = s->head.id, .host = s->c.def.host, .port = (uint16_t)s->c.def.port, .weight = 1};
    s->single = (struct c_upstream){
        .def = {.name = s->c.def.host,
                .algorithm = BALANCE_ROUND_ROBIN,
                .hash_on = HASH_NONE,
                .hash_fallback = HASH_NONE},
        .targets = &s->target,
        .n_targets = 1,
        .wheel = wheel,
        .n_wheel = 1,
    };
}

static int service_complete(struct compiler *c WEIR_UNUSED, struct ent_obj *o, struct err *e)
{
    struct o_service *s = (struct o_service *)o;
    const struct service *def = &s->c.def;

    if (def->port < 0 || def->port > UINT16_MAX)
        return err_set(e, ERR_INVALID, "port %lld, expected 0 to 65535", (long long)def->port);
    s->c.tls =
        def->protocol == PROTO_HTTPS || def->protocol == PROTO_GRPCS || def->protocol == PROTO_TLS;
    s->c.grpc = def->protocol == PROTO_GRPC || def->protocol == PROTO_GRPCS;
    s->c.http2 = s->c.grpc || def->http_version == HTTP_2;
    s->c.base_path = def->path.len ? def->path : STR("/");
    service_single(s);
    return 0;
}

static void service_copied(struct ent_obj *o)
{
    struct o_service *s = (struct o_service *)o;

    s->tls = NULL;
    s->chain = NULL;
    s->c.tls_ctx = NULL;
    s->c.chain = NULL;
    service_single(s);
}

/* Whose change the client context of s follows. */
static void each_certificate(const struct service *s, void (*fn)(struct roots *, enum map_id, const struct uuid *,
                                                                 struct ent_obj *), struct roots *r, struct ent_obj *o)
{
    struct uuid id;

    if (!uuid_is_nil(&s->client_certificate))
        fn(r, MAP_SERVICES_OF, &s->client_certificate, o);
    for (size_t i = 0; i < s->ca_certificates.n; i++)
        if (uuid_parse(LIST_AT(s->ca_certificates, struct str, i), &id))
            fn(r, MAP_SERVICES_OF, &id, o);
}

static void index_certificates(struct build *b, struct ent_obj *old, struct ent_obj *now)
{
    if (old)
        each_certificate(&((struct o_service *)old)->c.def, roots_set_remove, &b->r, old);
    if (now)
        each_certificate(&((struct o_service *)now)->c.def, roots_set_add, &b->r, now);
}

static void service_touch(struct build *b, const struct ent_obj *old WEIR_UNUSED,
                          const struct ent_obj *now)
{
    if (now)
        id_list_add(&b->services, &now->id);
}

static void service_fini(struct obj *o)
{
    struct o_service *s = (struct o_service *)o;

    unref(s->tls);
    unref(s->chain);
    unref(s->head.block);
}

/* ---- consumers and their credentials ---- */

/* The ids as text, so that no request has to write them: 190 instructions each. */
static int consumer_complete(struct compiler *c WEIR_UNUSED, struct ent_obj *o, struct err *e WEIR_UNUSED)
{
    uuid_format(&o->id, ((struct o_consumer *)o)->c.id_text);
    return 0;
}

static int credential_complete(struct compiler *c WEIR_UNUSED, struct ent_obj *o, struct err *e WEIR_UNUSED)
{
    uuid_format(&o->id, ((struct o_credential *)o)->c.id_text);
    return 0;
}

static void index_consumer(struct build *b, struct ent_obj *old, struct ent_obj *now)
{
    index_name(b, MAP_CONSUMER_NAMES, old, now);
    index_name(b, MAP_CONSUMER_CUSTOM_IDS, old, now);
}

static void consumer_copied(struct ent_obj *o)
{
    struct o_consumer *c = (struct o_consumer *)o;

    c->plugins = NULL;
    c->c.plugins = NULL;
    c->c.n_plugins = 0;
}

static void consumer_touch(struct build *b, const struct ent_obj *old WEIR_UNUSED,
                           const struct ent_obj *now)
{
    if (now && !b->full)
        id_list_add(&b->consumers, &now->id);
}

static void consumer_fini(struct obj *o)
{
    struct o_consumer *c = (struct o_consumer *)o;

    unref(c->plugins);
    unref(c->head.block);
}

static void index_credential(struct build *b, struct ent_obj *old, struct ent_obj *now)
{
    index_name(b, MAP_CREDENTIAL_KEYS, old, now);
}

static void plain_fini(struct obj *o)
{
    unref(((struct ent_obj *)o)->block);
}

/* ---- plugins ---- */

static const struct uuid nil_id;

/* Whose plugin it is: the most specific that we know before the request. */
static const struct uuid *plugin_owner(const struct plugin *def)
{
    return !uuid_is_nil(&def->consumer)  ? &def->consumer
           : !uuid_is_nil(&def->route)   ? &def->route
           : !uuid_is_nil(&def->service) ? &def->service
                                         : &nil_id;
}

/* Rank of precedence by what it is bound to: bits consumer, route, service. */
static uint8_t plugin_rank(const struct plugin *def)
{
    static const uint8_t rank[] = {8, 7, 6, 4, 5, 3, 2, 1};

    return rank[!uuid_is_nil(&def->consumer) << 2 | !uuid_is_nil(&def->route) << 1 |
                !uuid_is_nil(&def->service)];
}

/* A table may offer "mode": "observe": compute, count and log, but let the request pass. */
static bool observes(const struct plugin_contract *contract, const void *conf)
{
    const struct field *f = field_find(contract->fields, STR("mode"));
    int value;

    if (!f || !f->is_enum)
        return false;
    memcpy(&value, (const char *)conf + f->off, sizeof(value));
    return value >= 0 && strcmp(f->one_of[value], "observe") == 0;
}

static int plugin_complete(struct compiler *c, struct ent_obj *o, struct err *e)
{
    struct o_plugin *p = (struct o_plugin *)o;
    const struct plugin *def = &p->c.def;
    void *conf;

    arena_init(&p->conf_arena, 256, 0);
    p->c.contract = plugin_contract_by_name(def->name);
    if (!p->c.contract) {
        err_set(e, ERR_INVALID, "plugin '" STR_FMT "' is not known to this data plane",
                STR_ARG(def->name));
        return err_in(e, "name");
    }
    p->c.protocols = def->protocols.n ? protocol_bits(def->protocols) : p->c.contract->protocols_default;
    if (!def->enabled || !(p->c.protocols & (PROTOCOLS_HTTP | PROTOCOLS_STREAM)))
        return 1;
    conf = arena_zalloc(&p->conf_arena, size_max(p->c.contract->conf_size, 1));
    if (fields_decode(p->c.contract->fields, def->config.p ? def->config : STR(""), &p->conf_arena,
                      conf, e) != 0)
        return err_in(e, "config");
    p->c.ops = plugin_ops_by_name(def->name);
    if (p->c.ops && p->c.ops->prepare && p->c.ops->prepare(conf, &p->c.prepared, e) != 0)
        return err_in(e, "config");
    p->c.conf = conf; /* from here on it is prepared */
    p->c.order = compiler_plugin_order(c, p->c.contract);
    p->c.observe = observes(p->c.contract, conf);
    p->rank = plugin_rank(def);
    mem_note((int64_t)p->conf_arena.used_bytes);
    return 0;
}

static void index_plugin(struct build *b, struct ent_obj *old, struct ent_obj *now)
{
    if (old)
        roots_set_remove(&b->r, MAP_PLUGINS_OF, plugin_owner(&((struct o_plugin *)old)->c.def),
                         old);
    if (now)
        roots_set_add(&b->r, MAP_PLUGINS_OF, plugin_owner(&((struct o_plugin *)now)->c.def), now);
}

static void touch_owner(struct build *b, const struct plugin *def)
{
    if (!uuid_is_nil(&def->consumer))
        id_list_add(&b->consumers, &def->consumer);
    else if (!uuid_is_nil(&def->route))
        id_list_add(&b->routes, &def->route);
    else if (!uuid_is_nil(&def->service))
        id_list_add(&b->plugged, &def->service);
    else
        b->global = true;
}

static void plugin_touch(struct build *b, const struct ent_obj *old, const struct ent_obj *now)
{
    if (old)
        touch_owner(b, &((const struct o_plugin *)old)->c.def);
    if (now)
        touch_owner(b, &((const struct o_plugin *)now)->c.def);
}

static void plugin_fini(struct obj *o)
{
    struct o_plugin *p = (struct o_plugin *)o;

    if (p->c.conf) {
        if (p->c.ops && p->c.ops->unprepare)
            p->c.ops->unprepare(p->c.prepared);
        mem_note(-(int64_t)p->conf_arena.used_bytes);
    }
    arena_fini(&p->conf_arena);
    unref(p->head.block);
}

/* ---- upstreams and targets ---- */

static void index_upstream(struct build *b, struct ent_obj *old, struct ent_obj *now)
{
    index_name(b, MAP_UPSTREAM_NAMES, old, now);
}

static void upstream_copied(struct ent_obj *o)
{
    struct o_upstream *u = (struct o_upstream *)o;

    u->targets = NULL;
    u->c = (struct c_upstream){.def = u->c.def};
}

static bool shows_certificate(const struct ent_obj *o)
{
    return o && !uuid_is_nil(&((const struct o_upstream *)o)->c.def.client_certificate);
}

static void upstream_touch(struct build *b, const struct ent_obj *old, const struct ent_obj *now)
{
    b->upstream_certs = b->upstream_certs || shows_certificate(old) || shows_certificate(now);
    if (now)
        id_list_add(&b->upstreams, &now->id);
}

static void upstream_fini(struct obj *o)
{
    struct o_upstream *u = (struct o_upstream *)o;

    unref(u->targets);
    unref(u->head.block);
}

/* "host:port", "[v6]:port"; the brackets go. */
static int target_complete(struct compiler *c WEIR_UNUSED, struct ent_obj *o, struct err *e)
{
    struct o_target *t = (struct o_target *)o;
    struct str host = t->def.target;
    const char *colon = host.len ? memrchr(host.p, ':', host.len) : NULL;
    uint64_t port;

    if (!colon || colon == host.p ||
        !str_to_u64(str_n(colon + 1, host.len - (size_t)(colon + 1 - host.p)), &port) ||
        port > UINT16_MAX) {
        err_set(e, ERR_INVALID, "'" STR_FMT "' is no target, expected host:port", STR_ARG(host));
        return err_in(e, "target");
    }
    host.len = (size_t)(colon - host.p);
    if (host.len > 2 && host.p[0] == '[' && host.p[host.len - 1] == ']')
        host = str_n(host.p + 1, host.len - 2);
    t->c = (struct c_target){.id = o->id, .host = host, .port = (uint16_t)port};
    if (t->def.weight > 0)
        t->c.weight = t->def.weight > UINT16_MAX ? UINT16_MAX : (uint32_t)t->def.weight;
    return 0;
}

static void index_target(struct build *b, struct ent_obj *old, struct ent_obj *now)
{
    if (old)
        roots_set_remove(&b->r, MAP_TARGETS_OF, &((struct o_target *)old)->def.upstream, old);
    if (now)
        roots_set_add(&b->r, MAP_TARGETS_OF, &((struct o_target *)now)->def.upstream, now);
}

static void target_touch(struct build *b, const struct ent_obj *old, const struct ent_obj *now)
{
    if (old)
        id_list_add(&b->upstreams, &((const struct o_target *)old)->def.upstream);
    if (now)
        id_list_add(&b->upstreams, &((const struct o_target *)now)->def.upstream);
}

/* ---- certificates and server names ---- */

static int certificate_complete(struct compiler *c WEIR_UNUSED, struct ent_obj *o, struct err *e)
{
    struct o_certificate *cert = (struct o_certificate *)o;

    cert->ctx =
        tls_server_ctx(cert->def.cert, cert->def.key, cert->def.cert_alt, cert->def.key_alt, e);
    return cert->ctx ? 0 : -1;
}

static void touch_member(struct obj *o, void *arg)
{
    id_list_add(arg, &((struct ent_obj *)o)->id);
}

static void services_touch(struct build *b, const struct uuid *certificate)
{
    const struct pmap *services = roots_set(&b->r, MAP_SERVICES_OF, certificate);

    if (services)
        pmap_each(services, touch_member, &b->services);
}

static void certificate_touch(struct build *b, const struct ent_obj *old, const struct ent_obj *now)
{
    services_touch(b, now ? &now->id : &old->id);
    b->upstream_certs = true;
}

static void certificate_fini(struct obj *o)
{
    struct o_certificate *cert = (struct o_certificate *)o;

    SSL_CTX_free(cert->ctx);
    unref(cert->head.block);
}

static int ca_complete(struct compiler *c WEIR_UNUSED, struct ent_obj *o, struct err *e)
{
    struct o_ca_certificate *ca = (struct o_ca_certificate *)o;
    STACK_OF(X509) *all = pem_certificates(ca->def.cert, false, e);

    if (!all)
        return err_in(e, "cert");
    ca->x509 = sk_X509_shift(all);
    sk_X509_pop_free(all, X509_free);
    return 0;
}

static void ca_touch(struct build *b, const struct ent_obj *old, const struct ent_obj *now)
{
    services_touch(b, now ? &now->id : &old->id);
    b->client_auth = true;
}

static void ca_fini(struct obj *o)
{
    struct o_ca_certificate *ca = (struct o_ca_certificate *)o;

    X509_free(ca->x509);
    unref(ca->head.block);
}

static int ticket_key_complete(struct compiler *c WEIR_UNUSED, struct ent_obj *o, struct err *e)
{
    struct o_ticket_key *k = (struct o_ticket_key *)o;

    k->key.name = o->id;
    k->key.serial = k->def.serial;
    return ticket_key_parse(k->def.key, &k->key, e) == 0 ? 0 : err_in(e, "key");
}

static void ticket_key_touch(struct build *b, const struct ent_obj *old WEIR_UNUSED,
                             const struct ent_obj *now WEIR_UNUSED)
{
    b->tickets = true;
}

static void ticket_key_fini(struct obj *o)
{
    struct o_ticket_key *k = (struct o_ticket_key *)o;

    OPENSSL_cleanse(&k->key, sizeof(k->key));
    if (k->head.block)
        OPENSSL_cleanse(k->head.block->body, k->head.block->body_len);
    unref(k->head.block);
}

static int sni_complete(struct compiler *c WEIR_UNUSED, struct ent_obj *o,
                        struct err *e WEIR_UNUSED)
{
    struct o_sni *s = (struct o_sni *)o;
    struct block *b = o->block;

    for (size_t i = 0; i < s->def.name.len; i++) /* in our own copy, as lower_hosts() does */
        b->body[s->def.name.p - b->body + (ptrdiff_t)i] = ascii_lower(s->def.name.p[i]);
    return 0;
}

static void index_sni(struct build *b, struct ent_obj *old, struct ent_obj *now)
{
    index_name(b, MAP_SNI_NAMES, old, now);
}

/* ---- the table ---- */

/* clang-format off */
#define KIND(e, t, m, T, d, f) .ent = &(e), .type = (t), .map = (m), .size = sizeof(struct T), \
    .def = offsetof(struct T, d), .obj_type = {.name = #T, .fini = (f)}

const struct row_kind row_kinds[] = {
    {KIND(entity_routes, ET_ROUTE, MAP_ROUTES, o_route, c.def, route_fini),
     .listed = true, .complete = route_complete, .copied = route_copied, .index = index_asking, .touch = route_touch},
    {KIND(entity_services, ET_SERVICE, MAP_SERVICES, o_service, c.def, service_fini),
     .complete = service_complete, .copied = service_copied, .index = index_certificates,
     .touch = service_touch},
    {KIND(entity_consumers, ET_CONSUMER, MAP_CONSUMERS, o_consumer, c.def, consumer_fini),
     .listed = true, .complete = consumer_complete, .copied = consumer_copied, .index = index_consumer,
     .touch = consumer_touch},
    {KIND(entity_keyauth_credentials, ET_KEYAUTH_CREDENTIAL, MAP_CREDENTIALS, o_credential, c.def,
          plain_fini),
     .complete = credential_complete, .index = index_credential},
    {KIND(entity_plugins, ET_PLUGIN, MAP_PLUGINS, o_plugin, c.def, plugin_fini),
     .complete = plugin_complete, .index = index_plugin, .touch = plugin_touch},
    {KIND(entity_upstreams, ET_UPSTREAM, MAP_UPSTREAMS, o_upstream, c.def, upstream_fini),
     .copied = upstream_copied, .index = index_upstream, .touch = upstream_touch},
    {KIND(entity_targets, ET_TARGET, MAP_TARGETS, o_target, def, plain_fini),
     .complete = target_complete, .index = index_target, .touch = target_touch},
    {KIND(entity_certificates, ET_CERTIFICATE, MAP_CERTIFICATES, o_certificate, def,
          certificate_fini),
     .complete = certificate_complete, .touch = certificate_touch},
    {KIND(entity_ca_certificates, ET_CA_CERTIFICATE, MAP_CA_CERTIFICATES, o_ca_certificate, def, ca_fini),
     .complete = ca_complete, .touch = ca_touch},
    {KIND(entity_tls_ticket_keys, ET_TLS_TICKET_KEY, MAP_TICKET_KEYS, o_ticket_key, def, ticket_key_fini),
     .complete = ticket_key_complete, .touch = ticket_key_touch},
    {KIND(entity_snis, ET_SNI, MAP_SNIS, o_sni, def, plain_fini),
     .complete = sni_complete, .index = index_sni},
};
/* clang-format on */
const size_t n_row_kinds = ARRAY_LEN(row_kinds);
