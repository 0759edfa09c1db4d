/*
 * test_config.c - compiling: scopes of plugins, lookups, refusals that change nothing, and
 * deltas against full builds of the same entities.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "dataplane/config/rows.h"
#include "tests/unit/dataplane/records_fixture.h"

enum { ROUTE = 1, SERVICE, CONSUMER, PLUGIN, UPSTREAM, TARGET, KEY, CERT, SNI };

static uint64_t version;

static struct config *build(bool full, struct sbuf *records)
{
    struct config *config = NULL;
    struct err e = {0};

    if (compiler_apply(compiler, full, sbuf_str(records), ++version, &config, &e) != 0)
        fail_msg("compile: %s", err_text(&e));
    assert_int_equal(config_version(config), version);
    sbuf_free(records);
    return config;
}

/* ---- types ---- */

/* A type without a row would make every data plane refuse the whole configuration. */
static void every_entity_compiles(void **state)
{
    size_t n = 0;

    (void)state;
    for (; entities[n]; n++) {
        const struct row_kind *k = row_kind_of(entities[n]->type);

        if (!k)
            fail_msg("%s have no row in row_kinds[]", entities[n]->name);
        assert_ptr_equal(k->ent, entities[n]);
    }
    assert_int_equal(n_row_kinds, n);
}

/* ---- scopes of plugins ---- */

static const struct c_route *route_of(const struct config *c, struct uuid id)
{
    const struct ent_obj *o = roots_get(&c->r, MAP_ROUTES, &id);

    return o ? &((const struct o_route *)o)->c : NULL;
}

static const struct chain *chain_of(const struct config *c, struct uuid route)
{
    const struct c_route *r = route_of(c, route);

    return config_chain(c, r, r ? config_service(c, &r->def.service) : NULL);
}

/* The last digits of the plugins' ids, in order of running. */
static void chain_text(const struct chain *chain, struct sbuf *out)
{
    for (uint32_t i = 0; i < chain->n; i++) {
        const struct c_plugin *p = chain->v[i];

        sbuf_addf(out, "%s%u", i ? " " : "", p->def.id.b[15]);
        if (i && chain->v[i - 1]->order >= p->order)
            sbuf_adds(out, "(order!)");
    }
}

/* Routes 1 and 2 on service 1, route 3 on service 2, route 4 on none. */
static void put_scene(struct sbuf *out)
{
    for (unsigned i = 1; i <= 2; i++)
        fix_putf(out, "services", fix_id(SERVICE, i), "{'host': 'h%u'}", i);
    for (unsigned i = 1; i <= 4; i++)
        if (i < 4)
            fix_putf(out, "routes", fix_id(ROUTE, i), "{'paths': ['/%u'], 'service': {'id': '%s'}}",
                     i, fix_text(fix_id(SERVICE, i == 3 ? 2 : 1)));
        else
            fix_putf(out, "routes", fix_id(ROUTE, i), "{'paths': ['/%u']}", i);
    fix_putf(out, "consumers", fix_id(CONSUMER, 1), "{'username': 'bob'}");
}

/* what: letters g, s1, r1, c1 ... of what it is bound to */
static void put_plugin(struct sbuf *out, unsigned n, const char *name, const char *bound,
                       bool enabled)
{
    json_t *doc = json_pack("{ss sb}", "name", name, "enabled", enabled);

    for (const char *p = bound; *p && *p != 'g'; p += 2) {
        const char *field = *p == 's' ? "service" : *p == 'r' ? "route" : "consumer";
        unsigned space = *p == 's' ? SERVICE : *p == 'r' ? ROUTE : CONSUMER;

        json_object_set_new(
            doc, field, json_pack("{ss}", "id", fix_text(fix_id(space, (unsigned)(p[1] - '0')))));
    }
    if (strcmp(name, "rate-limiting") == 0)
        json_object_set_new(doc, "config",
                            json_pack("{si ss}", "minute", (int)n, "policy", "local"));
    fix_put(out, "plugins", fix_id(PLUGIN, n), doc);
}

static void test_scopes(void **state)
{
    static const struct {
        const char *name;
        struct {
            const char *name, *bound;
            bool off;
        } rows[6];             /* ids 1, 2, ... */
        const char *chains[4]; /* of routes 1 to 4 */
    } cases[] = {
        {"none", {{0}}, {"", "", "", ""}},
        {"global", {{"key-auth", "g"}}, {"1", "1", "1", "1"}},
        {"disabled is absent", {{"key-auth", "g", true}}, {"", "", "", ""}},
        {"priority orders",
         {{"rate-limiting", "g"}, {"key-auth", "g"}, {"cors", "g"}, {"correlation-id", "g"}},
         {"4 3 2 1", "4 3 2 1", "4 3 2 1", "4 3 2 1"}},
        {"service before global", {{"key-auth", "g"}, {"key-auth", "s1"}}, {"2", "2", "1", "1"}},
        {"route before service", {{"key-auth", "s1"}, {"key-auth", "r1"}}, {"2", "1", "", ""}},
        {"route and service before route",
         {{"key-auth", "r1"}, {"key-auth", "r1s1"}},
         {"2", "", "", ""}},
        {"route with another service",
         {{"key-auth", "r1s2"}, {"key-auth", "s1"}},
         {"2", "2", "", ""}},
        {"scopes merge by name",
         {{"rate-limiting", "g"}, {"key-auth", "s1"}, {"cors", "r1"}, {"rate-limiting", "r3"}},
         {"3 2 1", "2 1", "4", "1"}},
        {"consumers join later",
         {{"rate-limiting", "c1"}, {"key-auth", "g"}},
         {"2", "2", "2", "2"}},
        {"a disabled route row hides nothing",
         {{"key-auth", "g"}, {"key-auth", "r1", true}},
         {"1", "1", "1", "1"}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (int by_delta = 0; by_delta < 2; by_delta++) {
            struct sbuf records = {0}, text = {0};
            struct config *c = NULL;

            put_scene(&records);
            if (by_delta) {
                c = build(true, &records);
                config_release(compiler, &c);
            }
            for (unsigned k = 0; k < 6 && cases[i].rows[k].name; k++)
                put_plugin(&records, k + 1, cases[i].rows[k].name, cases[i].rows[k].bound,
                           !cases[i].rows[k].off);
            c = build(!by_delta, &records);
            for (unsigned k = 0; k < 4; k++) {
                sbuf_clear(&text);
                chain_text(chain_of(c, fix_id(ROUTE, k + 1)), &text);
                if (strcmp(sbuf_str(&text).p, cases[i].chains[k]) != 0)
                    fail_msg("%s (%s): route %u runs '%s', expected '%s'", cases[i].name,
                             by_delta ? "delta" : "full", k + 1, text.p, cases[i].chains[k]);
            }
            sbuf_free(&text);
            config_release(compiler, &c);
        }
    }
}

/* A row's protocols choose its chain; the most specific one of each kind runs. */
static void test_rows_for_streams(void **state)
{
    static const struct {
        const char *scope, *protocols;
    } rows[] = {{NULL, "'http'"}, {"service", "'tcp', 'tls'"}, {"route", "'https', 'udp'"}};
    static const char *const http[] = {"3", "1", "1", "1"}, *const streams[] = {"3", "2", "", ""};
    struct sbuf records = {0}, text = {0}, doc = {0};
    struct config *c;

    (void)state;
    put_scene(&records);
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        sbuf_clear(&doc);
        sbuf_addf(&doc, "{'name': 'prometheus', 'protocols': [%s]", rows[i].protocols);
        if (rows[i].scope)
            sbuf_addf(&doc, ", '%s': {'id': '%s'}", rows[i].scope, fix_text(fix_id(i == 1 ? SERVICE : ROUTE, 1)));
        sbuf_adds(&doc, "}");
        fix_putf(&records, "plugins", fix_id(PLUGIN, i + 1), "%s", sbuf_str(&doc).p);
    }
    c = build(true, &records);
    for (unsigned k = 0; k < 4; k++) {
        const struct chain *chain = chain_of(c, fix_id(ROUTE, k + 1));

        sbuf_clear(&text);
        chain_text(chain, &text);
        assert_string_equal(sbuf_str(&text).p, http[k]);
        sbuf_clear(&text);
        if (chain->streams)
            chain_text(chain->streams, &text);
        assert_string_equal(sbuf_str(&text).p, streams[k]);
    }
    config_release(compiler, &c);
    sbuf_free(&text);
    sbuf_free(&doc);
}

static void test_consumer_plugins(void **state)
{
    struct sbuf records = {0};
    struct uuid id = fix_id(CONSUMER, 1);
    const struct c_consumer *bob;
    struct config *c;

    (void)state;
    put_scene(&records);
    put_plugin(&records, 1, "rate-limiting", "c1", true);
    put_plugin(&records, 2, "rate-limiting", "s1c1", true);
    put_plugin(&records, 3, "rate-limiting", "r1c1", true);
    put_plugin(&records, 4, "rate-limiting", "r1s1c1", true);
    put_plugin(&records, 5, "correlation-id", "c1", true);
    c = build(true, &records);
    bob = config_consumer(c, &id);
    assert_int_equal(bob->n_plugins, 5);
    for (unsigned i = 0; i < 5; i++) /* by order, then most specific first */
        assert_int_equal(bob->plugins[i]->def.id.b[15], 5 - i);
    config_release(compiler, &c);
}

static void test_plugin_conf_is_decoded(void **state)
{
    struct sbuf records = {0};
    const struct chain *chain;
    struct config *c;

    (void)state;
    put_plugin(&records, 42, "rate-limiting", "g", true);
    c = build(true, &records);
    chain = config_global_chain(c);
    assert_int_equal(chain->n, 1);
    assert_string_equal(chain->v[0]->contract->name, "rate-limiting");
    assert_true(chain->phases & PH_BIT(PH_ACCESS));
    assert_non_null(chain->v[0]->conf);
    assert_true(*(const double *)((const char *)chain->v[0]->conf +
                                  field_find(chain->v[0]->contract->fields, STR("minute"))->off) ==
                42);
    config_release(compiler, &c);
}

/* ---- lookups ---- */

static void test_consumers_and_keys(void **state)
{
    struct uuid id = fix_id(CONSUMER, 1);
    struct sbuf records = {0};
    struct config *c, *next;
    json_t *key;

    (void)state;
    fix_putf(&records, "consumers", id, "{'username': 'bob', 'custom_id': 'b-1'}");
    fix_putf(&records, "keyauth_credentials", fix_id(KEY, 1),
             "{'key': 'k1', 'consumer': {'id': '%s'}}", fix_text(id));
    key =
        json_pack("{ss s{ss} si}", "key", "k2", "consumer", "id", fix_text(id), "expires_at", 1000);
    fix_put_raw(&records, "keyauth_credentials", fix_id(KEY, 2), key);
    c = build(true, &records);
    assert_non_null(config_consumer_by_name(c, STR("bob")));
    assert_ptr_equal(config_consumer_by_name(c, STR("b-1")), config_consumer(c, &id));
    assert_null(config_consumer_by_name(c, STR("alice")));
    assert_non_null(config_key(c, STR("k1"), UINT64_MAX / 2));
    assert_null(config_key(c, STR("k3"), 0));
    assert_non_null(config_key(c, STR("k2"), 999999999));
    assert_null(config_key(c, STR("k2"), 1000000000)); /* from that second on */

    /* names change hands in one delta, in the unlucky order */
    fix_putf(&records, "consumers", fix_id(CONSUMER, 2), "{'username': 'bob'}");
    fix_putf(&records, "consumers", id, "{'username': 'alice'}");
    fix_delete(&records, "keyauth_credentials", fix_id(KEY, 1));
    next = build(false, &records);
    assert_int_equal(config_consumer_by_name(next, STR("bob"))->def.id.b[15], 2);
    assert_int_equal(config_consumer_by_name(next, STR("alice"))->def.id.b[15], 1);
    assert_null(config_consumer_by_name(next, STR("b-1")));
    assert_null(config_key(next, STR("k1"), 0));
    assert_int_equal(config_consumer_by_name(c, STR("bob"))->def.id.b[15],
                     1); /* the old one is as it was */
    assert_non_null(config_key(c, STR("k1"), 0));
    config_release(compiler, &c);
    config_release(compiler, &next);
}

static void test_upstreams(void **state)
{
    struct uuid id = fix_id(SERVICE, 1);
    const struct c_upstream *u;
    struct sbuf records = {0};
    struct config *c, *next;

    (void)state;
    fix_putf(&records, "services", id, "{'host': 'pool', 'port': 8080}");
    c = build(true, &records);
    u = config_upstream(c, config_service(c, &id));
    assert_true(uuid_is_nil(&u->def.id));
    assert_int_equal(u->n_targets, 1);
    assert_int_equal(u->n_wheel, 1);
    assert_true(str_eq(u->targets[0].host, STR("pool")) && u->targets[0].port == 8080);
    assert_true(str_eq(config_service(c, &id)->base_path, STR("/")));

    fix_putf(&records, "targets", fix_id(TARGET, 1),
             "{'target': '[::1]:81', 'weight': 30, 'created_at': 1, 'upstream': {'id': '%s'}}",
             fix_text(fix_id(UPSTREAM, 1))); /* before its upstream */
    fix_putf(&records, "targets", fix_id(TARGET, 2),
             "{'target': 'x:82', 'weight': 10, 'created_at': 2, 'upstream': {'id': '%s'}}",
             fix_text(fix_id(UPSTREAM, 1)));
    fix_putf(&records, "targets", fix_id(TARGET, 3),
             "{'target': 'off:83', 'weight': 0, 'created_at': 3, 'upstream': {'id': '%s'}}",
             fix_text(fix_id(UPSTREAM, 1)));
    fix_putf(&records, "upstreams", fix_id(UPSTREAM, 1), "{'name': 'pool'}");
    next = build(false, &records);
    u = config_upstream(next, config_service(next, &id));
    assert_int_equal(u->n_targets, 3);
    assert_int_equal(u->n_wheel, 4);
    assert_int_equal(config_stats(next).targets, 3);
    for (unsigned i = 0, seen = 0; i < 3; i++) {
        seen += u->targets[i].weight;
        assert_true(i < 2 || seen == 40);
        if (u->targets[i].port == 81) /* spelt out by validation; the brackets are gone */
            assert_true(str_eq(u->targets[i].host, STR("0000:0000:0000:0000:0000:0000:0000:0001")));
    }
    assert_int_equal(config_upstream(c, config_service(c, &id))->n_targets, 1);
    config_release(compiler, &c);

    for (unsigned i = 1; i <= 2; i++)
        fix_delete(&records, "targets", fix_id(TARGET, i));
    c = build(false, &records);
    u = config_upstream(c, config_service(c, &id));
    assert_int_equal(u->n_targets, 1);
    assert_int_equal(u->n_wheel, 0); /* weight 0 takes no turn */
    assert_null(u->wheel);
    config_release(compiler, &c);
    config_release(compiler, &next);
}

/* A service that is switched off takes its routes with it; they come back untouched. */
static void test_disabled_service(void **state)
{
    struct sbuf records = {0};
    struct fix_request r;
    struct route_match m;
    struct arena a;

    (void)state;
    arena_init(&a, 0, 0);
    fix_request(&r, "GET", "/1", NULL);
    put_scene(&records);
    fix_putf(&records, "routes", fix_id(ROUTE, 9), "{'paths': ['/']}");
    for (unsigned on = 3; on-- > 0;) {
        struct config *c;

        if (on < 2)
            fix_putf(&records, "services", fix_id(SERVICE, 1), "{'host': 'h', 'enabled': %s}",
                     on ? "false" : "true");
        c = build(on == 2, &records);
        assert_true(config_match(c, &r.q, &a, &m));
        assert_int_equal(m.route->def.id.b[15], on == 1 ? 9 : 1);
        assert_int_equal(m.service != NULL, on != 1);
        config_release(compiler, &c);
    }
    arena_fini(&a);
}

/* ---- server names ---- */

static char *pem_of(BIO *b)
{
    char *p, *copy;
    long len = BIO_get_mem_data(b, &p);

    copy = str_dup(str_n(p, (size_t)len));
    BIO_free(b);
    return copy;
}

static void make_certificate(char **cert_out, char **key_out)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    BIO *b;

    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), 0);
    X509_gmtime_adj(X509_getm_notAfter(x), 86400);
    X509_set_pubkey(x, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                               (const unsigned char *)"test", -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    b = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(b, x);
    *cert_out = pem_of(b);
    b = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(b, key, NULL, NULL, 0, NULL, NULL);
    *key_out = pem_of(b);
    X509_free(x);
    EVP_PKEY_free(key);
}

static void put_certificate(struct sbuf *out, unsigned n, const char *cert, const char *key)
{
    fix_put_raw(out, "certificates", fix_id(CERT, n),
                json_pack("{ss ss}", "cert", cert, "key", key));
}

static void test_server_names(void **state)
{
    static const char *const names[] = {"a.example.com", "*.Example.com", "example.*", "*"};
    static const struct {
        const char *ask;
        int want; /* index into names */
    } cases[] = {
        {"a.example.com", 0},   {"A.EXAMPLE.COM", 0}, {"b.example.com", 1},
        {"a.b.example.com", 3}, {"example.com", 2},   {"example.org", 2},
        {"other.org", 3},       {"localhost", 3},     {"", 4}, /* none */
        {"a.example.com.", 0},  {".example.com", 3},
    };
    struct sbuf records = {0};
    char *cert, *key;
    SSL_CTX *ctx[5] = {NULL};
    struct config *c, *next;

    (void)state;
    make_certificate(&cert, &key);
    for (unsigned i = 0; i < 4; i++) {
        fix_put_raw(&records, "snis", fix_id(SNI, i),
                    json_pack("{ss s{ss}}", "name", names[i], "certificate", "id",
                              fix_text(fix_id(CERT, i))));
        put_certificate(&records, i, cert, key);
    }
    c = build(true, &records);
    for (unsigned i = 0; i < 4; i++) {
        struct uuid id = fix_id(CERT, i);

        ctx[i] = ((const struct o_certificate *)roots_get(&c->r, MAP_CERTIFICATES, &id))->ctx;
    }
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (config_sni(c, str_of(cases[i].ask)) != ctx[cases[i].want])
            fail_msg("'%s' does not get the certificate of %s", cases[i].ask, names[cases[i].want]);
    fix_delete(&records, "snis", fix_id(SNI, 3));
    put_certificate(&records, 0, cert, key); /* renewed: its names follow */
    next = build(false, &records);
    assert_null(config_sni(next, STR("other.org")));
    assert_ptr_equal(config_sni(next, STR("b.example.com")), ctx[1]);
    assert_ptr_not_equal(config_sni(next, STR("a.example.com")), ctx[0]);
    assert_ptr_equal(config_sni(c, STR("a.example.com")), ctx[0]);
    config_release(compiler, &c);
    config_release(compiler, &next);
    free(cert);
    free(key);
}

static void test_client_contexts(void **state)
{
    struct uuid id[4];
    struct sbuf records = {0};
    SSL_CTX *shared;
    struct config *c, *next;
    char *cert, *key;

    (void)state;
    make_certificate(&cert, &key);
    for (unsigned i = 0; i < 4; i++) {
        id[i] = fix_id(SERVICE, i);
        fix_putf(&records, "services", id[i],
                 "{'protocol': '%s', 'host': 'h', 'port': 443, 'tls_verify': %s}",
                 i == 3 ? "http" : "https", i == 2 ? "true" : "null");
    }
    c = build(true, &records);
    shared = config_service(c, &id[0])->tls_ctx;
    assert_non_null(shared);
    assert_ptr_equal(config_service(c, &id[1])->tls_ctx, shared); /* they ask for the same */
    assert_ptr_not_equal(config_service(c, &id[2])->tls_ctx, shared);
    assert_null(config_service(c, &id[3])->tls_ctx);
    assert_false(config_service(c, &id[3])->tls);

    put_certificate(&records, 1, cert, key);
    fix_putf(&records, "services", id[1],
             "{'protocol': 'https', 'host': 'h', 'port': 443, 'client_certificate': {'id': '%s'}}",
             fix_text(fix_id(CERT, 1)));
    next = build(false, &records);
    assert_ptr_equal(config_service(next, &id[0])->tls_ctx, shared);
    assert_ptr_not_equal(config_service(next, &id[1])->tls_ctx, shared);
    config_release(compiler, &c);
    shared = config_service(next, &id[1])->tls_ctx;
    put_certificate(&records, 1, cert, key); /* a new certificate reaches who shows it */
    c = build(false, &records);
    assert_ptr_not_equal(config_service(c, &id[1])->tls_ctx, shared);
    config_release(compiler, &c);
    config_release(compiler, &next);
    free(cert);
    free(key);
}

/* ---- deltas against full builds ---- */

#define N_EACH 12

/* The newest record of every entity: what a full snapshot would hold. */
static struct sbuf newest[10][N_EACH + 1];

static uint64_t rng = 88172645463325252u;

static unsigned below(unsigned n)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (unsigned)(rng >> 32) % n;
}

static const char *const entity_names[] = {
    NULL,      "routes",    "services", "consumers",
    "plugins", "upstreams", "targets",  "keyauth_credentials"};

static void change_at_random(struct sbuf *delta)
{
    static const char *const names[] = {"key-auth", "rate-limiting", "cors", "correlation-id"};
    static const char *const bound[] = {"g", "s%", "r%", "c%", "r%s%", "r%c%", "s%c%", "r%s%c%"};
    unsigned space = 1 + below(7), n = 1 + below(N_EACH), name = below(ARRAY_LEN(names));
    struct sbuf *out = &newest[space][n];
    struct uuid id = fix_id(space, n);
    char scope[8];

    sbuf_clear(out);
    if (below(4) == 0) {
        fix_delete(delta, entity_names[space], id);
        return;
    }
    switch (space) {
    case ROUTE:
        fix_putf(out, "routes", id, "{'paths': ['/%u'], 'service': {'id': '%s'}}", below(20),
                 fix_text(fix_id(SERVICE, 1 + below(6))));
        break;
    case SERVICE:
        fix_putf(out, "services", id, "{'host': 'up%u', 'enabled': %s}", below(5),
                 below(5) ? "true" : "false");
        break;
    case CONSUMER:
        fix_putf(out, "consumers", id, "{'username': 'u%u', 'custom_id': 'x%u'}", n, n);
        break;
    case PLUGIN:
        snprintf(scope, sizeof(scope), "%s",
                 bound[name == 2 ? below(3) : below(name == 0 ? 3 : 8)]);
        for (char *p = scope; *p; p++)
            *p = *p == '%' ? (char)('1' + below(4)) : *p;
        put_plugin(out, n, names[name], scope, below(5) > 0);
        break;
    case UPSTREAM: fix_putf(out, "upstreams", id, "{'name': 'up%u'}", n % 12); break;
    case TARGET:
        fix_putf(out, "targets", id,
                 "{'target': 't%u:%u', 'weight': %u, 'created_at': %u, 'upstream': {'id': '%s'}}",
                 n, 1 + below(9), below(4) * 10, n, fix_text(fix_id(UPSTREAM, 1 + below(5))));
        break;
    default:
        fix_putf(out, "keyauth_credentials", id, "{'key': 'k%u', 'consumer': {'id': '%s'}}", n,
                 fix_text(fix_id(CONSUMER, 1 + below(6))));
        break;
    }
    sbuf_addstr(delta, sbuf_str(out));
}

/* Everything that a request could see of c. */
static void dump(const struct config *c, struct sbuf *out)
{
    struct config_stats st = config_stats(c);
    struct arena a;

    arena_init(&a, 0, 0);
    sbuf_addf(out, "%u %u %u %u %u %u %u\nglobal: ", (unsigned)st.routes, (unsigned)st.services,
              (unsigned)st.consumers, (unsigned)st.credentials, (unsigned)st.plugins,
              (unsigned)st.upstreams, (unsigned)st.targets);
    chain_text(config_global_chain(c), out);
    for (unsigned i = 0; i <= N_EACH + 8; i++) {
        struct uuid route = fix_id(ROUTE, i), service = fix_id(SERVICE, i),
                    consumer = fix_id(CONSUMER, i);
        const struct c_service *s = config_service(c, &service);
        const struct c_consumer *u = config_consumer(c, &consumer);
        struct fix_request r;
        struct route_match m;
        char text[16];

        if (route_of(c, route)) {
            sbuf_addf(out, "\nroute %u: ", i);
            chain_text(chain_of(c, route), out);
        }
        snprintf(text, sizeof(text), "/%u", i);
        fix_request(&r, "GET", text, NULL);
        if (config_match(c, &r.q, &a, &m))
            sbuf_addf(out, "\nGET %s: %u %d", text, m.route->def.id.b[15],
                      m.service ? m.service->def.id.b[15] : -1);
        if (s) {
            const struct c_upstream *up = config_upstream(c, s);

            sbuf_addf(out, "\nservice %u %d ", i, s->def.enabled);
            chain_text(config_chain(c, NULL, s), out);
            for (uint32_t k = 0; k < up->n_wheel; k++)
                sbuf_addf(out, " " STR_FMT ":%u", STR_ARG(up->targets[up->wheel[k]].host),
                          up->targets[up->wheel[k]].port);
        }
        if (u) {
            sbuf_addf(out, "\nconsumer " STR_FMT, STR_ARG(u->def.username));
            for (uint32_t k = 0; k < u->n_plugins; k++)
                sbuf_addf(out, " %u", u->plugins[k]->def.id.b[15]);
        }
        snprintf(text, sizeof(text), "u%u", i);
        sbuf_addf(out, "%s", config_consumer_by_name(c, str_of(text)) == u ? "" : " name!");
        snprintf(text, sizeof(text), "k%u", i);
        if (config_key(c, str_of(text), 0))
            sbuf_addf(out, "\nkey %s %u", text, config_key(c, str_of(text), 0)->def.consumer.b[15]);
    }
    arena_fini(&a);
}

static void test_deltas_equal_full_builds(void **state)
{
    struct compiler *other = compiler_new();
    struct config *kept = NULL, *c;
    struct sbuf delta = {0}, was = {0};

    (void)state;
    c = build(true, &delta);
    for (unsigned round = 0; round < 600; round++) {
        struct sbuf all = {0}, a = {0}, b = {0};
        struct config *next, *whole = NULL;
        struct err e = {0};

        for (unsigned i = 0, n = 1 + below(round % 50 ? 4 : 60); i < n; i++)
            change_at_random(&delta);
        next = build(false, &delta);
        for (unsigned space = 1; space < 10; space++)
            for (unsigned n = 0; n <= N_EACH; n++)
                sbuf_addstr(&all, sbuf_str(&newest[space][n]));
        assert_int_equal(compiler_apply(other, true, sbuf_str(&all), 1, &whole, &e), 0);
        dump(next, &a);
        dump(whole, &b);
        if (strcmp(a.p, b.p) != 0)
            fail_msg("round %u\n--- by deltas\n%s\n--- full\n%s", round, a.p, b.p);
        config_release(other, &whole);
        if (kept && round % 20 == 0) { /* a version that a slow request holds stays as it was */
            sbuf_clear(&b);
            dump(kept, &b);
            assert_string_equal(was.p, b.p);
            config_release(compiler, &kept);
        }
        if (!kept) {
            sbuf_free(&was);
            dump(c, &was);
            kept = c;
        } else {
            config_release(compiler, &c);
        }
        c = next;
        sbuf_free(&all);
        sbuf_free(&a);
        sbuf_free(&b);
    }
    config_release(compiler, &c);
    config_release(compiler, &kept);
    compiler_free(&other);
    sbuf_free(&was);
    for (unsigned i = 0; i < 10; i++)
        for (unsigned n = 0; n <= N_EACH; n++)
            sbuf_free(&newest[i][n]);
}

/* ---- refusals ---- */

static void test_refusals_change_nothing(void **state)
{
    static const struct {
        const char *entity, *doc, *path; /* path: what follows the id */
    } cases[] = {
        {"plugins", "{'name': 'no-such-plugin', 'enabled': true, 'config': {}}", ".name"},
        {"routes", "{'protocols': ['http'], 'paths': ['~/(']}", ".paths"},
        {"routes", "{'protocols': ['http'], 'headers': {'x': ['~*[']}}", ".headers"},
        {"targets", "{'target': 'no-port', 'weight': 1}", ".target"},
        {"certificates", "{'cert': 'no PEM', 'key': 'no PEM'}", ".cert"},
        {"services",
         "{'protocol': 'https', 'host': 'h', 'port': 1, 'client_certificate': {'id': "
         "'00000000-0000-4000-8000-000000000001'}}",
         ".client_certificate"},
        {"services",
         "{'protocol': 'https', 'host': 'h', 'port': 1, 'enabled': true, 'tls_verify': true, "
         "'ca_certificates': ['00000000-0000-4000-8000-000000000001']}",
         ".ca_certificates.1"},
    };
    struct sbuf records = {0}, before = {0};
    struct config *c, *out = NULL;
    uint64_t bytes;

    (void)state;
    put_scene(&records);
    put_plugin(&records, 1, "key-auth", "g", true);
    put_plugin(&records, 2, "rate-limiting", "r1", true);
    c = build(true, &records);
    dump(c, &before);
    bytes = mem_bytes();
    for (size_t i = 0; i < ARRAY_LEN(cases) + 2; i++) {
        struct sbuf after = {0};
        struct err e = {0};
        char path[128] = "";

        put_plugin(&records, 1, "cors", "g", true); /* good changes before the bad one */
        fix_delete(&records, "routes", fix_id(ROUTE, 2));
        fix_putf(&records, "routes", fix_id(ROUTE, 3), "{'paths': ['/other']}");
        if (i < ARRAY_LEN(cases)) {
            char text[300];
            json_t *doc;

            snprintf(text, sizeof(text), "%s", cases[i].doc);
            for (char *p = text; *p; p++)
                *p = *p == '\'' ? '"' : *p;
            doc = json_loads(text, 0, NULL);
            assert_non_null(doc);
            if (strcmp(cases[i].entity, "plugins") ==
                0) { /* no table to pack its config by: the name alone */
                struct sbuf raw = {0};

                sbuf_addc(&raw,
                          (char)(field_find(entity_plugins.fields, STR("name"))->num << 3 | 2));
                sbuf_adds(&raw, "\x04nope");
                record_append(&records,
                              &(struct record){REC_PUT, ET_PLUGIN, fix_id(9, 9), sbuf_str(&raw)});
                sbuf_free(&raw);
                json_decref(doc);
            } else {
                fix_put_raw(&records, cases[i].entity, fix_id(9, 9), doc);
            }
            snprintf(path, sizeof(path), "%s.%s%s", cases[i].entity, fix_text(fix_id(9, 9)),
                     cases[i].path);
        } else if (i == ARRAY_LEN(cases)) { /* a type from the future */
            record_append(
                &records,
                &(struct record){.op = REC_PUT, .type = 60, .key = fix_id(9, 9), .body = STR("")});
            snprintf(path, sizeof(path), "%s", fix_text(fix_id(9, 9)));
        } else {
            sbuf_adds(&records, "torn");
        }
        assert_int_equal(compiler_apply(compiler, i % 2, sbuf_str(&records), 99, &out, &e), -1);
        assert_null(out);
        assert_true(e.message[0] != '\0');
        if (path[0] && strcmp(e.path, path) != 0)
            fail_msg("path '%s', expected '%s' (%s)", e.path, path, e.message);
        assert_true(mem_bytes() == bytes);
        dump(c, &after);
        assert_string_equal(before.p, after.p);
        sbuf_free(&after);
        sbuf_clear(&records);
    }
    config_release(compiler, &c);
    sbuf_clear(&before);
    c = build(false, &records); /* the next delta builds on what was there before */
    assert_int_equal(config_stats(c).routes, 4);
    assert_int_equal(chain_of(c, fix_id(ROUTE, 1))->n, 2);
    config_release(compiler, &c);
    sbuf_free(&before);
}

/* Whatever the bytes are, they are refused or compiled, and nothing is left behind. */
static void test_damaged_records(void **state)
{
    struct sbuf good = {0};
    unsigned refused = 0;

    (void)state;
    put_scene(&good);
    put_plugin(&good, 1, "rate-limiting", "g", true);
    put_plugin(&good, 2, "key-auth", "r1", true);
    fix_putf(&good, "routes", fix_id(ROUTE, 5),
             "{'hosts': ['*.a.com', 'b.com:80'], 'paths': ['/p', '~/r(x)?'], 'methods': ['GET'], "
             "'headers': {'x': ['1', '~*v']}, 'snis': ['s.com']}");
    fix_putf(&good, "upstreams", fix_id(UPSTREAM, 1), "{'name': 'h1'}");
    fix_putf(&good, "targets", fix_id(TARGET, 1), "{'target': 'x:1', 'upstream': {'id': '%s'}}",
             fix_text(fix_id(UPSTREAM, 1)));
    for (unsigned round = 0; round < 4000; round++) {
        struct str bytes = str_n(good.p, round % 4 ? good.len : below((unsigned)good.len));
        char *bad = str_dup(bytes); /* a block of its own: reading past it shows */
        struct config *c = NULL;
        struct err e = {0};

        for (unsigned i = 0, n = 1 + below(4); i < n && bytes.len; i++)
            bad[below((unsigned)bytes.len)] = (char)below(256);
        if (compiler_apply(compiler, round % 3 == 0, str_n(bad, bytes.len), round, &c, &e) == 0) {
            struct fix_request r;
            struct route_match m;
            struct arena a;

            arena_init(&a, 0, 0);
            fix_request(&r, "GET", "/rx", "b.com");
            fix_header(&r, "x", "v");
            config_match(c, &r.q, &a, &m);
            arena_fini(&a);
            config_release(compiler, &c);
        } else {
            assert_true(e.message[0] != '\0');
            assert_null(c);
            refused++;
        }
        free(bad);
    }
    assert_true(refused > 100 && refused < 4000);
    sbuf_free(&good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_entity_compiles),
        cmocka_unit_test(test_scopes),
        cmocka_unit_test(test_rows_for_streams),
        cmocka_unit_test(test_consumer_plugins),
        cmocka_unit_test(test_plugin_conf_is_decoded),
        cmocka_unit_test(test_consumers_and_keys),
        cmocka_unit_test(test_upstreams),
        cmocka_unit_test(test_disabled_service),
        cmocka_unit_test(test_server_names),
        cmocka_unit_test(test_client_contexts),
        cmocka_unit_test(test_deltas_equal_full_builds),
        cmocka_unit_test(test_refusals_change_nothing),
        cmocka_unit_test(test_damaged_records),
    };

    return cmocka_run_group_tests_name("dataplane/config", tests, fix_setup, fix_teardown);
}
