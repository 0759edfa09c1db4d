/* kinds.c - the types of entities: what each compiles to and which indexes it belongs to. */
#include <stdlib.h>

#include "dataplane/config/rows.h"
#include "dataplane/plugins/registry.h"
#include "dataplane/route/regex.h"
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

        for (size_t k = 0; k < values->n; k++)
            if (add_regex(r->rules, header_regex(LIST_AT(*values, struct str, k)), false, e) != 0)
                return -1;
    }
    return 0;
}

static int route_complete(struct compiler *c WEIR_UNUSED, struct ent_obj *o, struct err *e)
{
    struct o_route *r = (struct o_route *)o;
    const struct route *def = &r->c.def;

    if (def->hosts.n && def->paths.n > ROUTE_ENTRIES_MAX / def->hosts.n)
        return err_set(e, ERR_LIMIT, "%zu hosts and %zu paths, expected at most %u pairs",
                       def->hosts.n, def->paths.n, ROUTE_ENTRIES_MAX);
    lower_hosts(r);
    r->c.protocols =
        def->protocols.n ? protocol_bits(def->protocols) : 1u << PROTO_HTTP | 1u << PROTO_HTTPS;
    r->methods = method_bits(def->methods);
    r->has_methods = def->methods.n > 0;
    return compile_rules(r, e);
}

static void route_copied(struct ent_obj *o)
{
    struct o_route *r = (struct o_route *)o;

    obj_ref(r->rules ? &r->rules->o : NULL);
    r->chain = NULL;
    r->c.chain = NULL;
}

static void route_touch(struct build *b, const struct ent_obj *old, const struct ent_obj *now)
{
    id_list_add(&b->routes, now ? &now->id : &old->id);
}

static void route_fini(struct obj *o)
{
    struct o_route *r = (struct o_route *)o;

    unref(r->rules);
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

static void index_client_certificate(struct build *b, struct ent_obj *old, struct ent_obj *now)
{
    struct o_service *was = (struct o_service *)old, *is = (struct o_service *)now;

    if (was && !uuid_is_nil(&was->c.def.client_certificate))
        roots_set_remove(&b->r, MAP_SERVICES_OF, &was->c.def.client_certificate, old);
    if (is && !uuid_is_nil(&is->c.def.client_certificate))
        roots_set_add(&b->r, MAP_SERVICES_OF, &is->c.def.client_certificate, now);
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
    if (now)
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
    uint32_t protocols = protocol_bits(def->protocols);
    void *conf;

    arena_init(&p->conf_arena, 256, 0);
    p->c.contract = plugin_contract_by_name(def->name);
    if (!p->c.contract) {
        err_set(e, ERR_INVALID, "plugin '" STR_FMT "' is not known to this data plane",
                STR_ARG(def->name));
        return err_in(e, "name");
    }
    if (!def->enabled || (protocols && !(protocols & PROTOCOLS_HTTP)))
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

static void upstream_touch(struct build *b, const struct ent_obj *old WEIR_UNUSED,
                           const struct ent_obj *now)
{
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

static void certificate_touch(struct build *b, const struct ent_obj *old, const struct ent_obj *now)
{
    const struct pmap *services = roots_set(&b->r, MAP_SERVICES_OF, now ? &now->id : &old->id);

    if (services)
        pmap_each(services, touch_member, &b->services);
}

static void certificate_fini(struct obj *o)
{
    struct o_certificate *cert = (struct o_certificate *)o;

    SSL_CTX_free(cert->ctx);
    unref(cert->head.block);
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
     .complete = route_complete, .copied = route_copied, .touch = route_touch},
    {KIND(entity_services, ET_SERVICE, MAP_SERVICES, o_service, c.def, service_fini),
     .complete = service_complete, .copied = service_copied, .index = index_client_certificate,
     .touch = service_touch},
    {KIND(entity_consumers, ET_CONSUMER, MAP_CONSUMERS, o_consumer, c.def, consumer_fini),
     .complete = consumer_complete, .copied = consumer_copied, .index = index_consumer, .touch = consumer_touch},
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
    {KIND(entity_snis, ET_SNI, MAP_SNIS, o_sni, def, plain_fini),
     .complete = sni_complete, .index = index_sni},
};
/* clang-format on */
const size_t n_row_kinds = ARRAY_LEN(row_kinds);
