/*
 * test_router_expressions.c - routes that are expressions: the recorded translations of classic
 * routes match what those match, what each operator means, precedence, and a differential test
 * of the router's indexes against asking every route.
 *
 * WEIR_VECTORS names another file with "expressions": rows of a route and its expression.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dataplane/config/config_priv.h"
#include "dataplane/route/expression.h"
#include "tests/unit/dataplane/records_fixture.h"

#define VECTORS "tests/unit/dataplane/data/routing.json"

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

static bool match(const struct config *c, const struct fix_request *r, struct route_match *m)
{
    struct arena scratch;
    bool found;

    arena_init(&scratch, 0, 0);
    found = config_match(c, &r->q, &scratch, m);
    arena_fini(&scratch);
    return found;
}

static void put(struct sbuf *records, unsigned n, const char *expression, int64_t priority,
                const char *protocol)
{
    fix_put(records, "routes", fix_id(1, n),
            json_pack("{ss sI s[s]}", "expression", expression, "priority", (json_int_t)priority,
                      "protocols", protocol));
}

/* ---- random requests ---- */

static uint64_t rng;

static unsigned below(unsigned n)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (unsigned)(rng >> 32) % n;
}

#define PICK(list) ((list)[below(ARRAY_LEN(list))])

static const char *const hosts[] = {
    "a.com", "g.com", "example.com", "x.example.com", "example.org", "example.com:8000",
    "x.com", ""};
static const char *const paths[] = {
    "/",   "/a", "/foo",   "/foo/bar/baz", "/foobar",      "/f",    "/d/x",
    "/bb", "/c", "/v1/me", "/pkg.Svc/Do",  "/a%23b\"%23c", "/a/b/c"};
static const char *const methods[] = {"GET", "POST", "PURGE"};
static const char *const header_names[] = {"X-A", "x-version", "X_Version", "x-b"};
static const char *const header_values[] = {"1", "V1", "v2", "v9", "two"};
static const char *const snis[] = {"a.com", "x.b.com", "c.org", "d.com", "z.net", ""};
static const char *const clients[] = {"10.9.8.7", "1.2.3.4", "1.2.3.5", "::1"};
static const char *const queries[] = {"/q?a=1", "/q?a=1&a=2", "/q?b", "/q?a=%31", "/q?c=x+y"};

static void random_request(struct fix_request *r)
{
    unsigned n = below(3);

    fix_request(r, PICK(methods), below(6) ? PICK(paths) : PICK(queries), PICK(hosts));
    while (n--)
        fix_header(r, PICK(header_names), PICK(header_values));
    r->q.port = below(2) ? 80 : 8000;
    r->q.tls = below(2);
    r->q.sni = str_of(r->q.tls ? PICK(snis) : "");
    r->q.client_ip = str_of(PICK(clients));
    r->q.local_ip = STR("127.0.0.1");
    r->q.client_port = (uint16_t)(below(2) ? 1000 : 5);
}

static void random_connection(struct stream_query *q)
{
    struct ip_network net;

    memset(q, 0, sizeof(*q));
    assert_true(ip_network_parse(str_of(PICK(clients)), &net));
    memcpy(q->client_ip, net.addr, 16);
    assert_true(ip_network_parse(STR("127.0.0.1"), &net));
    memcpy(q->local_ip, net.addr, 16);
    q->client_port = (uint16_t)(below(2) ? 1000 : 5);
    q->local_port = (uint16_t)(below(2) ? 9000 : 5);
    q->tls = below(2);
    q->sni = str_of(q->tls ? PICK(snis) : "");
}

/* ---- recorded translations ---- */

/* A classic route and its recorded expression agree on every request. */
static void agree(const json_t *route, const char *expression)
{
    const char *protocol =
        json_string_value(json_array_get(json_object_get(route, "protocols"), 0));
    bool stream = protocol && strncmp(protocol, "t", 1) == 0;
    json_t *classic = json_deep_copy(route), *other = json_object();
    struct sbuf records = {0};
    struct config *a, *b;
    struct compiler *kept = compiler;

    if (!protocol ||
        strncmp(protocol, "http", 4) == 0) /* both schemes, as classic routes take them */
        json_object_set_new(classic, "protocols", json_pack("[ss]", "http", "https"));
    if (protocol && strncmp(protocol, "grpc", 4) == 0)
        json_object_set_new(classic, "protocols", json_pack("[ss]", "grpc", "grpcs"));
    json_object_set(other, "protocols", json_object_get(classic, "protocols"));
    json_object_set_new(other, "expression", json_string(expression));
    if (protocol && strncmp(protocol, "grpc", 4) == 0) {
        json_object_set_new(classic, "strip_path", json_false());
        json_object_set_new(other, "strip_path", json_false());
    }
    fix_put_raw(&records, "routes", fix_id(1, 1), classic); /* some cannot be written by clients */
    a = build_take(true, &records);
    fix_setup(NULL);
    fix_put(&records, "routes", fix_id(1, 1), other);
    b = build_take(true, &records);
    rng = 0x9e3779b97f4a7c15u;
    for (unsigned i = 0; i < 2000; i++) {
        struct fix_request r;
        struct stream_query q;
        struct route_match x, y;
        struct stream_match s, t;

        random_request(&r);
        random_connection(&q);
        if (stream && config_match_stream(a, &q, &s) != config_match_stream(b, &q, &t))
            fail_msg("%s: port %u, name " STR_FMT ": %s", expression, q.local_port, STR_ARG(q.sni),
                     s.route ? "does not match" : "matches");
        if (stream)
            continue;
        if (match(a, &r, &x) != match(b, &r, &y))
            fail_msg("%s: " STR_FMT " host %s: %s", expression, STR_ARG(r.head.path), r.host,
                     x.route ? "does not match" : "matches");
        if (x.route && !str_eq(x.matched, y.matched))
            fail_msg("%s: " STR_FMT ": took '" STR_FMT "', expected '" STR_FMT "'", expression,
                     STR_ARG(r.head.path), STR_ARG(y.matched), STR_ARG(x.matched));
    }
    config_release(compiler, &b);
    compiler_free(&compiler);
    compiler = kept;
    config_release(compiler, &a);
}

static void test_recorded(void **state)
{
    const char *path = getenv("WEIR_VECTORS");
    json_error_t je;
    json_t *all = json_load_file(path ? path : VECTORS, 0, &je), *row;
    size_t i;

    (void)state;
    assert_non_null(all);
    assert_true(json_array_size(json_object_get(all, "expressions")) >= 32);
    json_array_foreach(json_object_get(all, "expressions"), i, row)
    {
        if (json_is_array(row))
            agree(json_array_get(row, 0), json_string_value(json_array_get(row, 1)));
        else
            agree(json_object_get(row, "route"),
                  json_string_value(json_object_get(row, "expression")));
    }
    json_decref(all);
}

/* ---- what it means ---- */

static void test_meaning(void **state)
{
    static const struct {
        const char *expression;
        bool want;
    } cases[] = {
        /* the request below */
        {"http.method == \"GET\"", true},
        {"http.method != \"GET\"", false},
        {"lower(http.method) == \"get\"", true},
        {"http.host == \"A.com\"", true}, /* names have no case */
        {"http.host =^ \".com\"", true},
        {"http.host ~ \"^A\\\\.\"", true},
        {"http.host contains \".\"", true},
        {"http.path == \"/One/two/three\"", true},
        {"http.path == \"/one/two/three\"", false},
        {"lower(http.path) ^= \"/one/\"", true},
        {"lower(http.path) ^= \"/One/\"", false},
        {"http.path =^ \"three\"", true},
        {"http.path ~ \"t(w)o\"", true},
        {"http.path ~ \"^two\"", false},
        {"http.path contains \"two/\"", true},
        {"http.path contains \"\"", true},
        {"http.path.segments.0 == \"One\"", true},
        {"http.path.segments.0_1 == \"One/two\"", true},
        {"http.path.segments.1_2 == \"two/three\"", true},
        {"http.path.segments.3 == \"\"", false}, /* absent */
        {"http.path.segments.3 != \"x\"", false},
        {"http.path.segments.1_3 ^= \"two\"", false},
        {"http.path.segments.len == 3", true},
        {"http.path.segments.len > 3", false},
        {"http.path.segments.len <= 3", true},
        /* x-many is 1 and 2 */
        {"http.headers.x_many == \"1\"", false},
        {"any(http.headers.x_many) == \"1\"", true},
        {"any(http.headers.x_many) == \"3\"", false},
        {"http.headers.x_many != \"3\"", true},
        {"http.headers.x_many != \"1\"", false},
        {"any(http.headers.x_many) != \"1\"", true},
        {"http.headers.x_many ~ \"^[12]$\"", true},
        {"http.headers.x_word == \"Word\"", true},
        {"lower(http.headers.x_word) == \"word\"", true},
        {"any(lower(http.headers.x_word)) =^ \"rd\"", true},
        {"http.headers.x_absent == \"\"", false},
        {"http.headers.x_absent != \"a\"", false},
        {"!(http.headers.x_absent == \"a\")", true},
        {"http.queries.a == \"1 2\"", true},
        {"http.queries.flag == \"\"", true},
        {"http.queries.m == \"x\"", false},
        {"any(http.queries.m) == \"x\"", true},
        {"http.queries.none == \"\"", false},
        {"net.protocol == \"https\"", true},
        {"net.port == 8443 && net.dst.port == 8443", true},
        {"net.src.port >= 1000", true},
        {"net.src.port < 0x3e9", true},
        {"net.src.ip == 10.1.2.3", true},
        {"net.src.ip != 10.1.2.3", false},
        {"net.src.ip in 10.0.0.0/8", true},
        {"net.src.ip not in 10.0.0.0/8", false},
        {"net.src.ip not in fd00::/8", true},
        {"net.src.ip in ::/0", false},
        {"net.dst.ip == ::1", true},
        {"tls.sni == \"sni.com\"", true},
        {"tls.sni ^= \"sni.\"", true},
        {"tls.sni =^ \".com\"", true},
        {"http.method == \"PUT\" && http.host == \"a.com\" || http.host == \"a.com\"", false},
        {"(http.method == \"PUT\" && http.host == \"a.com\") || http.host == \"a.com\"", true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct sbuf records = {0};
        struct fix_request r;
        struct route_match m;
        struct config *c;

        put(&records, 1, cases[i].expression, 0, "https");
        c = build_take(true, &records);
        fix_request(&r, "GET", "/One/two/three", "a.com");
        r.head.query = STR("a=1+%32&flag&m=x&m=y");
        fix_header(&r, "X-Many", "1");
        fix_header(&r, "x_many", "2");
        fix_header(&r, "X-Word", "Word");
        r.q.port = 8443;
        r.q.tls = true;
        r.q.sni = STR("Sni.com");
        r.q.client_ip = STR("10.1.2.3");
        r.q.local_ip = STR("::1");
        r.q.client_port = 1000;
        if (match(c, &r, &m) != cases[i].want)
            fail_msg("%s: %s", cases[i].expression, cases[i].want ? "no match" : "match");
        config_release(compiler, &c);
    }
}

/* Protocols count, but for https alone. */
static void test_schemes(void **state)
{
    static const struct {
        const char *protocol;
        bool tls, want;
    } cases[] = {{"http", false, true},   {"http", true, false}, {"https", false, true},
                 {"https", true, true},   {"grpc", true, false}, {"grpcs", true, true},
                 {"grpcs", false, false}, {"grpc", false, true}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct sbuf records = {0};
        struct fix_request r;
        struct route_match m;
        struct config *c;

        fix_put(&records, "routes", fix_id(1, 1),
                json_pack("{ss s[s] sb}", "expression", "http.path ^= \"/\"", "protocols",
                          cases[i].protocol, "strip_path", 0));
        c = build_take(true, &records);
        fix_request(&r, "GET", "/", "a.com");
        r.q.tls = cases[i].tls;
        if (match(c, &r, &m) != cases[i].want)
            fail_msg("%s over %s", cases[i].protocol, cases[i].tls ? "TLS" : "plain text");
        config_release(compiler, &c);
    }
}

static void test_what_is_taken(void **state)
{
    static const struct {
        const char *expression, *matched; /* NULL: nothing to strip */
    } cases[] = {
        {"http.path ^= \"/v1\"", "/v1"},
        {"http.path ~ \"^/v(\\\\d+)\"", "/v1"},
        {"http.path ~ \"us(er)s\"", NULL},
        {"http.path == \"/v1/users\"", NULL},
        {"http.method == \"GET\"", NULL},
        {"http.path ^= \"/x\" || http.path ^= \"/v1/u\"", "/v1/u"},
        {"!(http.path ^= \"/x\") && http.path ^= \"/v\"", "/v"},
        {"lower(http.path) ~ \"^/V1|^/v1\"", "/v1"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct sbuf records = {0};
        struct fix_request r;
        struct route_match m;
        struct config *c;

        put(&records, 1, cases[i].expression, 0, "http");
        c = build_take(true, &records);
        fix_request(&r, "GET", "/v1/users", "a.com");
        assert_true(match(c, &r, &m));
        if (!m.matched.p != !cases[i].matched ||
            (m.matched.p && !str_eq(m.matched, str_of(cases[i].matched))))
            fail_msg("%s: '" STR_FMT "'", cases[i].expression, STR_ARG(m.matched));
        if (i == 1)
            assert_true(m.n_captures == 2 && str_eq(m.captures[1], STR("1")));
        config_release(compiler, &c);
    }
}

static void test_precedence(void **state)
{
    struct sbuf records = {0};
    struct fix_request r;
    struct route_match m;
    struct uuid id;
    struct config *c;

    (void)state;
    fix_putf(&records, "routes", fix_id(1, 9),
             "{'hosts': ['a.com'], 'paths': ['/v1'], 'methods': ['GET']}");
    put(&records, 1, "http.path ^= \"/\"", 0, "http");
    c = build_take(true, &records);
    fix_request(&r, "GET", "/v1/users", "a.com");
    assert_true(match(c, &r, &m)); /* every expression is above every classic route */
    id = fix_id(1, 1);
    assert_true(uuid_eq(&m.route->def.id, &id));
    put(&records, 2, "http.host == \"a.com\"", 5, "http");
    put(&records, 3, "http.path ^= \"/v1/users\"", 4, "http");
    put(&records, 4, "http.method == \"GET\"", 5, "http");
    config_release(compiler, &c);
    c = build_take(false, &records);
    assert_true(match(c, &r, &m)); /* the higher number, then the greater id */
    id = fix_id(1, 4);
    assert_true(uuid_eq(&m.route->def.id, &id));
    put(&records, 3, "http.path ^= \"/v1/users\"", 70368744177663, "http");
    config_release(compiler, &c);
    c = build_take(false, &records);
    assert_true(match(c, &r, &m));
    id = fix_id(1, 3);
    assert_true(uuid_eq(&m.route->def.id, &id));
    config_release(compiler, &c);
}

/* ---- against asking every route ---- */

static const char *const preds[] = {
    "http.host == \"a.com\"",
    "http.host == \"example.com\"",
    "http.host =^ \".com\"",
    "http.host ^= \"example.\"",
    "http.host != \"a.com\"",
    "http.path == \"/foo\"",
    "http.path ^= \"/foo\"",
    "http.path ^= \"/\"",
    "http.path ^= \"/a\"",
    "http.path ~ \"^/v\\\\d/\"",
    "http.path ~ \"^/a|^/b\"",
    "http.path ~ \"o+\"",
    "lower(http.path) ^= \"/foo\"",
    "http.method == \"GET\"",
    "http.method == \"POST\"",
    "lower(http.method) == \"purge\"",
    "any(lower(http.headers.x_a)) == \"1\"",
    "http.headers.x_a == \"two\"",
    "any(http.headers.x_version) == \"V1\"",
    "any(lower(http.headers.x_version)) ~ \"^v\"",
    "tls.sni == \"a.com\"",
    "tls.sni =^ \".b.com\"",
    "tls.sni ^= \"c.\"",
    "net.protocol == \"https\"",
    "net.dst.port == 80",
    "net.dst.port == 8000",
    "net.src.port > 999",
    "net.src.ip == 1.2.3.4",
    "net.src.ip in 10.0.0.0/8",
    "net.src.ip in 1.2.3.4/30",
    "net.src.ip not in 10.0.0.0/8",
    "net.dst.ip == 127.0.0.1",
    "http.path.segments.0 == \"foo\"",
    "any(http.queries.a) == \"1\"",
};

static void random_expression(struct sbuf *out, unsigned depth)
{
    unsigned n = 1 + below(3);
    bool either = below(3) == 0;

    for (unsigned i = 0; i < n; i++) {
        sbuf_adds(out, i == 0 ? "" : either ? " || " : " && ");
        if (depth && below(3) == 0) {
            sbuf_adds(out, below(4) ? "(" : "!(");
            random_expression(out, depth - 1);
            sbuf_addc(out, ')');
        } else {
            sbuf_adds(out, PICK(preds));
        }
    }
}

struct walk {
    const struct fix_request *r;
    const struct o_route *best;
};

static void visit(struct obj *o, void *arg)
{
    const struct o_route *route = (const struct o_route *)o;
    struct walk *w = arg;
    struct ip_network src, dst;
    struct route_match m;
    struct arena scratch;
    struct expr_input in = {
        .req = &w->r->head,
        .protocol = w->r->q.tls ? STR("https") : STR("http"),
        .sni = w->r->q.sni,
        .src_port = w->r->q.client_port,
        .dst_port = w->r->head.host_port ? w->r->head.host_port : w->r->q.port,
        .scratch = &scratch,
    };
    bool yes;

    assert_true(ip_network_parse(w->r->q.client_ip, &src) &&
                ip_network_parse(w->r->q.local_ip, &dst));
    in.src = src.addr;
    in.dst = dst.addr;
    arena_init(&scratch, 0, 0);
    yes = route_expr_matches(route->expr, &in, &m);
    arena_fini(&scratch);
    if (yes && (!w->best || route->c.def.priority > w->best->c.def.priority ||
                (route->c.def.priority == w->best->c.def.priority &&
                 memcmp(&route->head.id, &w->best->head.id, sizeof(struct uuid)) > 0)))
        w->best = route;
}

static void compare(const struct config *c, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        struct fix_request r;
        struct route_match m;
        struct walk w = {.r = &r};

        random_request(&r);
        pmap_each(&c->r.m[MAP_ROUTES], visit, &w);
        match(c, &r, &m);
        if (m.route != (w.best ? &w.best->c : NULL))
            fail_msg(STR_FMT " host %s: got " STR_FMT ", asking all says " STR_FMT,
                     STR_ARG(r.head.path), r.host,
                     STR_ARG(m.route ? m.route->def.expression : STR("none")),
                     STR_ARG(w.best ? w.best->c.def.expression : STR("none")));
    }
}

static void random_route(struct sbuf *records, unsigned n)
{
    struct sbuf text = {0};

    random_expression(&text, 2);
    fix_put(records, "routes", fix_id(1, n),
            json_pack("{ss si s[ss]}", "expression", text.p, "priority", (int)below(4), "protocols",
                      "http", "https"));
    sbuf_free(&text);
}

static void test_differential(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 40; seed++) {
        struct config *c, *old;
        struct sbuf records = {0};

        rng = 0x9e3779b97f4a7c15u * seed;
        for (unsigned i = 0, n = 1 + below(100); i < n; i++)
            random_route(&records, i);
        c = build_take(true, &records);
        compare(c, 100);
        for (unsigned round = 0; round < 8; round++) {
            for (unsigned i = 0, n = 1 + below(20); i < n; i++) {
                unsigned which = below(100);

                if (below(2))
                    random_route(&records, which);
                else
                    fix_delete(&records, "routes", fix_id(1, which));
            }
            old = c;
            c = build_take(false, &records);
            compare(c, 40);
            compare(old, 10);
            config_release(compiler, &old);
        }
        config_release(compiler, &c);
    }
}

static int setup(void **state)
{
    schema_use_expressions();
    return fix_setup(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recorded),   cmocka_unit_test(test_meaning),
        cmocka_unit_test(test_schemes),    cmocka_unit_test(test_what_is_taken),
        cmocka_unit_test(test_precedence), cmocka_unit_test(test_differential),
    };

    return cmocka_run_group_tests_name("dataplane/router_expressions", tests, setup, fix_teardown);
}
