/*
 * test_router_stream.c - which stream route a connection gets: fields, protocols, precedence,
 * and a differential test against a plain list.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include "dataplane/config/config_priv.h"
#include "tests/unit/dataplane/records_fixture.h"

static uint64_t version;

static struct config *build_take(bool full, struct sbuf *records)
{
    struct config *config = NULL;
    struct err e = {0};

    if (compiler_apply(compiler, full, sbuf_str(records), ++version, &config, &e) != 0)
        fail_msg("compile: %s", err_text(&e));
    sbuf_free(records);
    return config;
}

static void address(const char *text, unsigned char out[16])
{
    struct ip_network net;

    assert_true(ip_network_parse(str_of(text), &net));
    memcpy(out, net.addr, 16);
}

/* sni NULL: plain text. */
static struct stream_query query(const char *client, unsigned client_port, const char *local,
                                 unsigned local_port, const char *sni)
{
    struct stream_query q = {.client_port = (uint16_t)client_port,
                             .local_port = (uint16_t)local_port,
                             .tls = sni != NULL,
                             .sni = sni ? str_of(sni) : STR("")};

    address(client, q.client_ip);
    address(local, q.local_ip);
    return q;
}

/* ---- precedence ---- */

static void test_priority_layout(void **state)
{
    static const struct {
        const char *route;
        uint64_t priority;
    } rows[] = {
        {"{'protocols': ['tcp'], 'sources': [{'ip': '10.1.2.3/8', 'port': 1000}, {'ip': "
         "'1.2.3.4'}],"
         " 'destinations': [{'port': 9000}]}",
         0x20000000000000d4},
        {"{'protocols': ['tls'], 'snis': ['a.com']}", 0x2000000000000000},
        {"{'protocols': ['tcp'], 'destinations': [{'port': 9000}]}", 0x4},
        {"{'protocols': ['tcp'], 'sources': [{'ip': '1.2.3.4'}]}", 0x80},
        {"{'protocols': ['udp'], 'sources': [{'ip': '1.2.3.0/24'}]}", 0x10},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        struct sbuf records = {0};
        struct uuid id = fix_id(1, i);
        struct config *c;

        fix_putf(&records, "routes", id, "%s", rows[i].route);
        c = build_take(true, &records);
        assert_true(
            stream_priority(&((const struct o_route *)roots_get(&c->r, MAP_ROUTES, &id))->c.def) ==
            rows[i].priority);
        config_release(compiler, &c);
    }
}

struct expectation {
    const char *client;
    unsigned client_port;
    const char *local;
    unsigned local_port;
    const char *sni; /* NULL: plain text */
    bool terminated;
    int want; /* index of the route; -1: none */
};

static void expect(const char *const *routes, size_t n_routes, const struct expectation *v,
                   size_t n)
{
    struct sbuf records = {0};
    struct config *c;

    for (unsigned i = 0; i < n_routes; i++)
        fix_putf(&records, "routes", fix_id(1, i), "%s", routes[i]);
    c = build_take(true, &records);
    for (size_t i = 0; i < n; i++) {
        struct stream_query q =
            query(v[i].client, v[i].client_port, v[i].local, v[i].local_port, v[i].sni);
        struct stream_match m;
        int got;

        q.terminated = v[i].terminated;
        got = config_match_stream(c, &q, &m) ? m.route->def.id.b[15] : -1;
        if (got != v[i].want)
            fail_msg("case %zu: route %d, expected %d", i, got, v[i].want);
    }
    config_release(compiler, &c);
}

static void test_addresses_and_ports(void **state)
{
    static const char *const routes[] = {
        "{'protocols': ['tcp'], 'sources': [{'ip': '10.1.2.3/8', 'port': 1000}, {'ip': '1.2.3.4'}],"
        " 'destinations': [{'port': 9000}]}",
        "{'protocols': ['tcp'], 'destinations': [{'port': 9000}]}",
        "{'protocols': ['tcp'], 'destinations': [{'ip': '127.0.0.0/30'}]}",
        "{'protocols': ['tcp'], 'sources': [{'ip': '2001:db8::/33'}]}",
        "{'protocols': ['tcp'], 'sources': [{'ip': '::/0'}]}",
        "{'protocols': ['tcp'], 'sources': [{'port': 7}], 'destinations': [{'ip': '127.0.0.9'}]}",
        "{'protocols': ['udp'], 'sources': [{'ip': '0.0.0.0/0'}]}",
    };
    static const struct expectation cases[] = {
        {"10.9.9.9", 1000, "127.0.0.1", 9000, NULL, false, 0},
        {"10.9.9.9", 1001, "127.0.0.1", 9000, NULL, false, 1},
        {"1.2.3.4", 5, "127.0.0.1", 9000, NULL, false, 0},
        {"1.2.3.5", 5, "127.0.0.1", 9000, NULL, false, 1},
        {"1.2.3.5", 5, "127.0.0.3", 80, NULL, false, 2},
        {"1.2.3.5", 5, "127.0.0.4", 80, NULL, false, -1}, /* udp never matches */
        {"1.2.3.5", 7, "127.0.0.9", 80, NULL, false, 5},
        {"2001:db8::1", 5, "::1", 80, NULL, false, 4}, /* one weight: the greater id */
        {"2001:db8:8000::1", 5, "::1", 80, NULL, false, 4},
        {"10.9.9.9", 1000, "127.0.0.1", 9000, "a.com", false, -1}, /* tcp is not tls */
    };

    (void)state;
    expect(routes, ARRAY_LEN(routes), cases, ARRAY_LEN(cases));
}

static void test_names(void **state)
{
    static const char *const routes[] = {
        "{'protocols': ['tls'], 'snis': ['a.com', 'D.com.']}",
        "{'protocols': ['tls'], 'snis': ['*.b.com']}",
        "{'protocols': ['tls'], 'snis': ['c.*']}",
        "{'protocols': ['tls_passthrough'], 'snis': ['p.com']}",
        "{'protocols': ['tls'], 'snis': ['p.com']}", /* the greater id */
        "{'protocols': ['tls_passthrough'], 'snis': ['q.com']}",
        "{'protocols': ['tls', 'tcp'], 'snis': ['t.com']}",
        "{'protocols': ['tls'], 'destinations': [{'port': 7000}]}",
    };
    static const struct expectation cases[] = {
        {"1.1.1.1", 1, "1.1.1.1", 1, "a.com", false, 0},
        {"1.1.1.1", 1, "1.1.1.1", 1, "A.COM", true, 0},
        {"1.1.1.1", 1, "1.1.1.1", 1, "d.com", false, 0},
        {"1.1.1.1", 1, "1.1.1.1", 1, "x.y.b.com", false, 1},
        {"1.1.1.1", 1, "1.1.1.1", 1, "b.com", false, -1},
        {"1.1.1.1", 1, "1.1.1.1", 1, "c.x.net", false, 2},
        {"1.1.1.1", 1, "1.1.1.1", 1, "p.com", false, 4},
        {"1.1.1.1", 1, "1.1.1.1", 1, "q.com", false, 5},
        {"1.1.1.1", 1, "1.1.1.1", 1, "q.com", true, -1}, /* what is terminated was no passthrough */
        {"1.1.1.1", 1, "1.1.1.1", 1, "t.com", false, 6},
        {"1.1.1.1", 1, "1.1.1.1", 1, NULL, false, 6}, /* names do not count without TLS */
        {"1.1.1.1", 1, "1.1.1.1", 7000, "", false, 7},
        {"1.1.1.1", 1, "1.1.1.1", 7000, "a.com", false, 0},
    };

    (void)state;
    expect(routes, ARRAY_LEN(routes), cases, ARRAY_LEN(cases));
}

/* One kind of route is not seen by the other's search. */
static void test_kinds_do_not_meet(void **state)
{
    struct stream_query q = query("1.1.1.1", 1, "1.1.1.1", 80, NULL);
    struct sbuf records = {0};
    struct fix_request r;
    struct route_match m;
    struct stream_match sm;
    struct arena scratch;
    struct config *c;

    (void)state;
    fix_putf(&records, "routes", fix_id(1, 1), "{'protocols': ['http'], 'paths': ['/']}");
    c = build_take(true, &records);
    assert_false(config_match_stream(c, &q, &sm));
    assert_null(sm.route);
    config_release(compiler, &c);

    fix_putf(&records, "services", fix_id(2, 1), "{'host': 'h', 'protocol': 'tcp', 'port': 1}");
    fix_putf(&records, "routes", fix_id(1, 1),
             "{'protocols': ['tcp'], 'destinations': [{'port': 80}], 'service': {'id': '%s'}}",
             fix_text(fix_id(2, 1)));
    c = build_take(true, &records);
    fix_request(&r, "GET", "/", "a.com");
    arena_init(&scratch, 0, 0);
    assert_false(config_match(c, &r.q, &scratch, &m));
    arena_fini(&scratch);
    assert_true(config_match_stream(c, &q, &sm));
    assert_non_null(sm.service);
    fix_putf(&records, "services", fix_id(2, 1),
             "{'host': 'h', 'protocol': 'tcp', 'port': 1, 'enabled': false}");
    config_release(compiler, &c);
    c = build_take(false, &records);
    assert_false(config_match_stream(c, &q, &sm));
    assert_null(sm.service);
    config_release(compiler, &c);
}

/* ---- against a plain list ---- */

static uint64_t rng;

static unsigned below(unsigned n)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (unsigned)(rng >> 32) % n;
}

static const char *const addresses[] = {"10.0.0.1",  "10.0.0.2", "10.1.0.1",
                                        "127.0.0.1", "::1",      "fd00::1"};
static const char *const networks[] = {"10.0.0.1",  "10.0.0.0/30", "10.0.0.0/8",
                                       "0.0.0.0/0", "127.0.0.1",   "::1",
                                       "fd00::/8",  "::/0",        "10.1.0.0/17"};
static const char *const names[] = {"a.com", "b.com", "*.com", "*.a.com", "x.*", "x.a.*", "c.com."};
static const char *const ask_names[] = {"a.com", "x.a.com", "y.x.a.com", "x.org", "c.com", ""};

static void add_endpoints(struct sbuf *doc, const char *field)
{
    sbuf_addf(doc, ", '%s': [", field);
    for (unsigned i = 0, n = 1 + below(2); i < n; i++) {
        unsigned what = below(3), at = below(ARRAY_LEN(networks) / 2) * 2 + i;

        sbuf_addf(doc, "%s{", i ? ", " : "");
        if (what != 1)
            sbuf_addf(doc, "'ip': '%s'%s", networks[at], what ? ", " : "");
        if (what)
            sbuf_addf(doc, "'port': %u", 1 + below(3) * 2 + i);
        sbuf_addc(doc, '}');
    }
    sbuf_addc(doc, ']');
}

static void random_route(struct sbuf *records, unsigned n)
{
    static const char *const protocols[] = {"'tcp'", "'tls'", "'tls', 'tcp'", "'udp'",
                                            "'tls_passthrough'"};
    unsigned protocol = below(ARRAY_LEN(protocols)), what = protocol == 4 ? 4 : 1 + below(7);
    struct sbuf doc = {0};

    if (protocol == 0 || protocol == 3)
        what = 1 + what % 3; /* no server names */
    sbuf_addf(&doc, "{'protocols': [%s], 'service': {'id': '%s'}", protocols[protocol],
              fix_text(fix_id(2, below(4))));
    if (what & 1)
        add_endpoints(&doc, "sources");
    if (what & 2)
        add_endpoints(&doc, "destinations");
    if (what & 4)
        sbuf_addf(&doc, ", 'snis': ['%s', '%s']", names[below(3)], names[3 + below(4)]);
    sbuf_addc(&doc, '}');
    fix_putf(records, "routes", fix_id(1, n), "%s", doc.p);
    sbuf_free(&doc);
}

static bool plain_endpoints(struct list v, const unsigned char addr[16], uint16_t port)
{
    for (size_t i = 0; i < v.n; i++) {
        const struct endpoint *at = &LIST_AT(v, struct endpoint, i);
        struct ip_network net;

        if (at->port != INT_NULL && at->port != port)
            continue;
        if (!at->ip.p || (ip_network_parse(at->ip, &net) && ip_network_has(&net, addr)))
            return true;
    }
    return v.n == 0;
}

static bool plain_name(struct str pattern, struct str name)
{
    if (str_ends(pattern, STR(".")))
        pattern.len--;
    if (pattern.p[0] == '*')
        return str_ends(name, str_n(pattern.p + 1, pattern.len - 1));
    if (str_ends(pattern, STR("*")))
        return str_starts(name, str_n(pattern.p, pattern.len - 1));
    return str_eq(pattern, name);
}

struct walk {
    const struct config *config;
    const struct stream_query *q;
    const struct c_route *best;
};

static void plain_visit(struct obj *o, void *arg)
{
    const struct c_route *r = &((const struct o_route *)o)->c;
    const struct route *def = &r->def;
    struct walk *w = arg;
    const struct c_service *s = config_service(w->config, &def->service);
    bool ok = false;

    for (size_t i = 0; i < def->protocols.n; i++) {
        struct str p = LIST_AT(def->protocols, struct str, i);

        ok = ok || (w->q->terminated ? str_eq(p, STR("tls"))
                    : w->q->tls      ? str_starts(p, STR("tls"))
                                     : str_eq(p, STR("tcp")));
    }
    if (!ok || (s && !s->def.enabled) ||
        !plain_endpoints(def->sources, w->q->client_ip, w->q->client_port) ||
        !plain_endpoints(def->destinations, w->q->local_ip, w->q->local_port))
        return;
    ok = def->snis.n == 0 || !w->q->tls;
    for (size_t i = 0; i < def->snis.n && !ok; i++)
        ok = plain_name(LIST_AT(def->snis, struct str, i), w->q->sni);
    if (ok && (!w->best || stream_priority(def) > stream_priority(&w->best->def) ||
               (stream_priority(def) == stream_priority(&w->best->def) &&
                memcmp(&def->id, &w->best->def.id, sizeof(struct uuid)) > 0)))
        w->best = r;
}

static void ask_and_compare(const struct config *c, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        unsigned tls = below(3);
        struct stream_query q =
            query(addresses[below(6)], 1 + below(6), addresses[below(6)], 1 + below(6),
                  tls ? ask_names[below(ARRAY_LEN(ask_names))] : NULL);
        struct walk w = {.config = c, .q = &q};
        struct stream_match m;

        q.terminated = tls == 2;
        pmap_each(&c->r.m[MAP_ROUTES], plain_visit, &w);
        config_match_stream(c, &q, &m);
        if (m.route != w.best)
            fail_msg("got %s, the plain list says %s", m.route ? fix_text(m.route->def.id) : "none",
                     w.best ? fix_text(w.best->def.id) : "none");
        assert_ptr_equal(m.service, m.route ? config_service(c, &m.route->def.service) : NULL);
    }
}

/* Random sets and changes; versions live on for a while. */
static void test_differential(void **state)
{
    struct config *old[4] = {NULL};

    (void)state;
    for (unsigned seed = 1; seed <= 40; seed++) {
        struct sbuf records = {0};
        struct config *c;

        rng = 0x9e3779b97f4a7c15u * seed;
        for (unsigned i = 0; i < 3; i++) /* the fourth does not exist */
            fix_putf(&records, "services", fix_id(2, i),
                     "{'host': 'h', 'protocol': 'tcp', 'port': 1, 'enabled': %s}",
                     i ? "true" : "false");
        for (unsigned i = 0, n = 1 + below(80); i < n; i++)
            random_route(&records, i);
        c = build_take(true, &records);
        ask_and_compare(c, 100);
        for (unsigned round = 0; round < 12; round++) {
            unsigned slot = below(4);

            for (unsigned i = 0, n = 1 + below(20); i < n; i++) {
                unsigned which = below(80);

                if (below(2))
                    random_route(&records, which);
                else
                    fix_delete(&records, "routes", fix_id(1, which));
            }
            config_release(compiler, &old[slot]);
            old[slot] = c;
            c = build_take(false, &records);
            ask_and_compare(c, 40);
            ask_and_compare(old[slot], 10);
        }
        config_release(compiler, &c);
    }
    for (unsigned i = 0; i < 4; i++)
        config_release(compiler, &old[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_priority_layout), cmocka_unit_test(test_addresses_and_ports),
        cmocka_unit_test(test_names),           cmocka_unit_test(test_kinds_do_not_meet),
        cmocka_unit_test(test_differential),
    };

    return cmocka_run_group_tests_name("dataplane/router_stream", tests, fix_setup, fix_teardown);
}
