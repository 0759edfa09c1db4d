/*
 * test_router.c - which route a request gets: precedence, recorded traffic, the
 * kinds of patterns, and a differential test against a plain list walked from the top.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dataplane/config/config_priv.h"
#include "dataplane/route/regex.h"
#include "tests/unit/dataplane/records_fixture.h"

#define VECTORS "tests/unit/dataplane/data/routing.json"

static uint64_t version;

static struct config *build(bool full, const struct sbuf *records)
{
    struct config *config = NULL;
    struct err e = {0};

    if (compiler_apply(compiler, full, sbuf_str(records), ++version, &config, &e) != 0)
        fail_msg("compile: %s", err_text(&e));
    return config;
}

static struct config *build_take(bool full, struct sbuf *records)
{
    struct config *config = build(full, records);

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

static json_t *vectors(const char *part)
{
    static json_t *all;
    json_error_t je;

    if (!all)
        all = json_load_file(VECTORS, 0, &je);
    assert_non_null(all);
    assert_true(json_array_size(json_object_get(all, part)) > 0);
    return json_object_get(all, part);
}

static void put_route(struct sbuf *out, unsigned n, const json_t *doc)
{
    json_t *copy = json_deep_copy(doc), *protocols = json_object_get(copy, "protocols");
    const char *first = json_string_value(json_array_get(protocols, 0));

    if (first && strncmp(first, "grpc", 4) == 0)
        json_object_set_new(copy, "strip_path", json_false());
    fix_put(out, "routes", fix_id(1, n), copy);
}

/* ---- precedence ---- */

static void test_priority_layout(void **state)
{
    json_t *row, *defaults = json_pack("{s[s] si}", "protocols", "http", "regex_priority", 0);
    size_t i;

    (void)state;
    json_array_foreach(vectors("priorities"), i, row)
    {
        uint64_t want = strtoull(json_string_value(json_object_get(row, "priority")), NULL, 16),
                 got;
        struct sbuf records = {0};
        struct config *c;
        const struct o_route *r;
        struct uuid id = fix_id(1, 1);
        struct str path;

        json_object_update_missing(json_object_get(row, "route"), defaults);
        fix_put_raw(&records, "routes", id, json_deep_copy(json_object_get(row, "route")));
        c = build_take(true, &records);
        r = (const struct o_route *)roots_get(&c->r, MAP_ROUTES, &id);
        assert_non_null(r);
        path = r->c.def.paths.n ? LIST_AT(r->c.def.paths, struct str, 0) : STR("");
        got = route_priority(&r->c.def, str_starts(path, STR("~")), path.len);
        if (got != want)
            fail_msg("row %zu: 0x%llx, expected 0x%llx", i, (unsigned long long)got,
                     (unsigned long long)want);
        config_release(compiler, &c);
    }
    json_decref(defaults);
}

/* All of the table match one request: they come out in the order that the reference has. */
static void test_rank(void **state)
{
    const struct c_route *routes[32];
    uint64_t priorities[32];
    struct sbuf records = {0};
    struct fix_request r;
    struct arena scratch;
    struct config *c;
    json_t *row;
    size_t i, n;

    (void)state;
    json_array_foreach(vectors("rank"), i, row) put_route(&records, (unsigned)i, row);
    c = build_take(true, &records);
    fix_request(&r, "GET", "/foo/bar/baz", "a.com");
    fix_header(&r, "X-A", "1");
    arena_init(&scratch, 0, 0);
    n = config_match_all(c, &r.q, &scratch, routes, priorities, ARRAY_LEN(routes));
    arena_fini(&scratch);
    assert_int_equal(n, i);
    for (size_t k = 0; k < n; k++) {
        struct uuid want = fix_id(1, (unsigned)k);

        if (!uuid_eq(&routes[k]->def.id, &want))
            fail_msg("rank %zu is %s", k + 1, fix_text(routes[k]->def.id));
        assert_true(k == 0 || priorities[k - 1] > priorities[k]);
    }
    config_release(compiler, &c);
}

static void test_worked_precedence(void **state)
{
    json_t *row, *route;
    size_t i, k;

    (void)state;
    json_array_foreach(vectors("precedence"), i, row)
    {
        json_t *request = json_object_get(row, "request"), *value;
        struct sbuf records = {0};
        struct route_match m;
        struct fix_request r;
        struct uuid want = fix_id(1, (unsigned)json_integer_value(json_object_get(row, "winner")));
        struct config *c;
        const char *name;

        json_array_foreach(json_object_get(row, "routes"), k, route)
            put_route(&records, (unsigned)k, route);
        c = build_take(true, &records);
        fix_request(&r, "GET", json_string_value(json_object_get(request, "path")),
                    json_string_value(json_object_get(request, "host")));
        json_object_foreach(json_object_get(request, "headers"), name, value)
            fix_header(&r, name, json_string_value(value));
        if (!match(c, &r, &m) || !uuid_eq(&m.route->def.id, &want))
            fail_msg("%s: %s won", json_string_value(json_object_get(row, "name")),
                     m.route ? fix_text(m.route->def.id) : "nobody");
        config_release(compiler, &c);
    }
}

/*
 * Requests that a reference gateway answered, and the route it chose.
 */
static void test_recorded(void **state)
{
    json_t *group, *route, *request, *header;
    size_t i, k, n = 0, h;
    unsigned bad = 0;

    (void)state;
    json_array_foreach(vectors("recorded"), i, group)
    {
        struct sbuf records = {0};
        struct config *c;

        json_array_foreach(json_object_get(group, "routes"), k, route)
        {
            struct uuid id;

            assert_true(uuid_parse(json_str(json_object_get(route, "id")), &id));
            fix_put(&records, "routes", id, json_deep_copy(route));
        }
        c = build_take(true, &records);
        json_array_foreach(json_object_get(group, "requests"), k, request)
        {
            const char *want = json_string_value(json_object_get(request, "winner"));
            const char *host = json_string_value(json_object_get(request, "host"));
            struct route_match m;
            struct fix_request r;
            bool found;

            fix_request(&r, json_string_value(json_object_get(request, "method")),
                        json_string_value(json_object_get(request, "path")),
                        host ? host : "conform.test");
            json_array_foreach(json_object_get(request, "header_list"), h, header)
                fix_header(&r, json_string_value(json_array_get(header, 0)),
                           json_string_value(json_array_get(header, 1)));
            found = match(c, &r, &m);
            n++;
            if (found == (want != NULL) && (!want || str_eq(m.route->def.name, str_of(want))))
                continue;
            fprintf(stderr, "%s: %s: got " STR_FMT ", expected %s\n",
                    json_string_value(json_object_get(group, "name")),
                    json_string_value(json_object_get(request, "path")),
                    STR_ARG(found ? m.route->def.name : STR("none")), want ? want : "none");
            bad++;
        }
        config_release(compiler, &c);
    }
    assert_true(n > 100);
    assert_int_equal(bad, 0);
}

/* ---- kinds of patterns ---- */

static void test_hosts_and_ports(void **state)
{
    static const char *const hosts[] = {"Mixed.Example.COM", "*.w.com",     "p.*",
                                        "port.com:8080",     "*.wp.com:81", "[::1]:90"};
    static const struct {
        const char *host;
        uint16_t port; /* of the listener */
        int want;      /* index, -1: none */
    } cases[] = {
        {"mixed.example.com", 80, 0},
        {"MIXED.example.com:99", 80, 0},
        {"example.com", 80, -1},
        {"a.w.com", 80, 1},
        {"a.b.w.com", 80, 1},
        {"w.com", 80, -1},
        {"xw.com", 80, -1},
        {"p.org", 80, 2},
        {"p.a.b", 80, 2},
        {"p", 80, -1},
        {"xp.org", 80, -1},
        {"port.com:8080", 80, 3},
        {"port.com", 8080, 3},
        {"port.com", 80, -1},
        {"port.com:81", 8080, -1},
        {"x.wp.com:81", 80, 4},
        {"x.wp.com", 80, -1},
        {"", 80, -1},
    };
    struct sbuf records = {0};
    struct config *c;

    (void)state;
    for (unsigned i = 0; i + 1 < ARRAY_LEN(hosts); i++) /* the last is for the parser alone */
        fix_putf(&records, "routes", fix_id(1, i), "{'hosts': ['%s']}", hosts[i]);
    c = build_take(true, &records);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fix_request r;
        struct route_match m;
        int got = -1;

        fix_request(&r, "GET", "/", cases[i].host);
        r.q.port = cases[i].port;
        if (match(c, &r, &m))
            got = m.route->def.id.b[15];
        if (got != cases[i].want)
            fail_msg("host '%s' on %u: route %d, expected %d", cases[i].host, cases[i].port, got,
                     cases[i].want);
    }
    config_release(compiler, &c);
    assert_int_equal(host_pattern_parse(str_of(hosts[5])).port, 90);
    assert_true(str_eq(host_pattern_parse(str_of(hosts[5])).text, STR("[::1]")));
    assert_int_equal(host_pattern_parse(STR("[::1]")).port, 0);
}

static void test_snis(void **state)
{
    static const struct {
        bool tls;
        const char *sni;
        bool want;
    } cases[] = {
        {true, "a.com", true},   {true, "A.com", true},
        {true, "x.b.com", true}, {true, "b.com", false},
        {true, "c.net", true},   {true, "d.com", true},
        {true, "", false},       {true, "z.com", false},
        {false, "z.com", true}, /* not looked at when the request is not https */
    };
    struct sbuf records = {0};
    struct config *c;

    (void)state;
    fix_putf(&records, "routes", fix_id(1, 1),
             "{'protocols': ['https'], 'snis': ['a.com', '*.b.com', 'c.*', 'd.com.']}");
    c = build_take(true, &records);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fix_request r;
        struct route_match m;

        fix_request(&r, "GET", "/", "any");
        r.q.tls = cases[i].tls;
        r.q.sni = str_of(cases[i].sni);
        if (match(c, &r, &m) != cases[i].want)
            fail_msg("sni '%s'", cases[i].sni);
    }
    config_release(compiler, &c);
}

static void test_captures(void **state)
{
    struct sbuf records = {0};
    struct route_match m;
    struct fix_request r;
    struct config *c;

    (void)state;
    fix_putf(&records, "routes", fix_id(1, 1),
             "{'paths': ['~/v(\\\\d+)/(?<name>\\\\w+)(/opt)?', '/plain']}");
    c = build_take(true, &records);
    fix_request(&r, "GET", "/v12/abc/rest", NULL);
    assert_true(match(c, &r, &m));
    assert_true(str_eq(m.matched, STR("/v12/abc")));
    assert_true(m.n_captures >= 3);
    assert_true(str_eq(m.captures[0], m.matched));
    assert_true(str_eq(m.captures[1], STR("12")));
    assert_true(str_eq(m.captures[2], STR("abc")));
    assert_non_null(m.capture_names);
    assert_true(str_eq(m.capture_names[2], STR("name")));
    assert_true(str_eq(m.capture_names[1], STR("")));
    fix_request(&r, "GET", "/plainer", NULL);
    assert_true(match(c, &r, &m));
    assert_true(str_eq(m.matched, STR("/plain")));
    assert_int_equal(m.n_captures, 0);
    assert_null(m.capture_names);
    fix_request(&r, "GET", "/x/v12/abc", NULL); /* anchored */
    assert_false(match(c, &r, &m));
    config_release(compiler, &c);
}

/* Of a route's expressions that match, the one listed first gives the captures. */
static void test_first_expression_captures(void **state)
{
    static const char *const orders[] = {"'~/(?<one>t)', '~/(?<two>t)'",
                                         "'~/(?<two>t)', '~/(?<one>t)'"};

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct sbuf records = {0};
        struct route_match m;
        struct fix_request r;
        struct config *c;

        fix_putf(&records, "routes", fix_id(1, 1), "{'hosts': ['a.com', '*.com'], 'paths': [%s]}",
                 orders[i]);
        c = build_take(true, &records);
        fix_request(&r, "GET", "/t", "a.com");
        assert_true(match(c, &r, &m));
        assert_true(str_eq(m.capture_names[1], i ? STR("two") : STR("one")));
        config_release(compiler, &c);
    }
}

/* An expression that backtracks without end gives up instead of holding the worker. */
static void test_regex_effort_is_bounded(void **state)
{
    struct regex *rx = regex_new(STR("(?:a|a|aa)*(?:a|aa|aaa)*b$"), true, false, NULL);
    char text[512];
    struct str whole;

    (void)state;
    assert_non_null(rx);
    memset(text, 'a', sizeof(text));
    assert_int_equal(regex_match(rx, str_n(text, sizeof(text)), &whole, 1), 0);
    regex_free(&rx);
}

static void test_literal_prefix(void **state)
{
    static const struct {
        const char *pattern, *want;
    } cases[] = {
        {"/api/v\\d+", "/api/v"},
        {"/api\\.v1/x", "/api.v1/x"},
        {"/ab*", "/a"},
        {"/ab+c", "/ab"},
        {"/ab?", "/a"},
        {"/ab{2}", "/a"},
        {"/a|/b", ""},
        {"/(a|b)", "/"},
        {"(?i)/case", ""},
        {"/a[|]b", "/a"},
        {"/a[]|]|/b", ""},
        {"/a[[:alpha:]|]", ""},
        {"/a(?#(b)c|/d", ""},
        {"\\Q/a\\E", ""},
        {"/a$", "/a"},
        {"^/a", ""},
        {"/a\\/b", "/a/b"},
        {"/a\\b", "/a"},
        {"", ""},
        {"/a b", "/a"},
        {"/a(*F)|/b", ""},
        {"/a\\|b", "/a|b"},
    };
    char buf[64];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (!str_eq(regex_literal_prefix(str_of(cases[i].pattern), buf), str_of(cases[i].want)))
            fail_msg("'%s': expected '%s'", cases[i].pattern, cases[i].want);
}

/* ---- the oldest flavor ---- */

/* Each row: what the request gets with both flavors, of routes that all match it. */
static void test_traditional(void **state)
{
    static const struct {
        const char *routes[3], *path, *host;
        int oldest, compatible;
    } cases[] = {
        /* more fields first, then hosts over headers over paths over methods */
        {{"{'headers': {'x-a': ['1']}, 'methods': ['GET'], 'paths': ['/']}", "{'hosts': ['a.com']}"},
         "/r", "a.com", 0, 1},
        {{"{'hosts': ['a.com']}", "{'headers': {'x-a': ['1']}}"}, "/r", "a.com", 0, 0},
        {{"{'hosts': ['*.com']}", "{'headers': {'x-a': ['1']}}"}, "/r", "a.com", 0, 1},
        {{"{'paths': ['/']}", "{'methods': ['GET']}"}, "/r", "a.com", 0, 0},
        /* the longest prefix of the route counts, not the one that matched */
        {{"{'hosts': ['a.com'], 'paths': ['/r', '/very/long/path']}",
          "{'hosts': ['a.com'], 'paths': ['/r/x']}"}, "/r/x", "a.com", 0, 1},
        {{"{'paths': ['/r'], 'created_at': 5}", "{'paths': ['/r'], 'created_at': 9}"},
         "/r", "a.com", 0, 1}, /* the oldest; the greater id */
        {{"{'hosts': ['a.com:8000'], 'created_at': 9}", "{'hosts': ['a.com'], 'created_at': 5}"},
         "/r", "a.com:8000", 0, 1},
        {{"{'hosts': ['a.com:80']}", "{'hosts': ['*.com']}"}, "/r", "a.com", 0, 1},
        /* of several values none is an expression */
        {{"{'headers': {'x-a': ['~*^1$', '2']}}", "{'methods': ['GET']}"}, "/r", "a.com", 1, 0},
        {{"{'headers': {'x-a': ['~*^1$']}}", "{'methods': ['GET']}"}, "/r", "a.com", 0, 0},
    };

    (void)state;
    for (int flavor = FLAVOR_TRADITIONAL_COMPATIBLE; flavor <= FLAVOR_TRADITIONAL; flavor++) {
        compiler_set_flavor(compiler, (enum router_flavor)flavor);
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
            int want = flavor == FLAVOR_TRADITIONAL ? cases[i].oldest : cases[i].compatible;
            struct sbuf records = {0};
            struct route_match m;
            struct fix_request r;
            struct config *c;

            for (unsigned k = 0; k < 3 && cases[i].routes[k]; k++)
                fix_putf(&records, "routes", fix_id(1, k), "%s", cases[i].routes[k]);
            c = build_take(true, &records);
            fix_request(&r, "GET", cases[i].path, cases[i].host);
            fix_header(&r, "X-A", "1");
            r.q.port = 9999; /* of the listener */
            if (!match(c, &r, &m) || m.route->def.id.b[15] != want)
                fail_msg("flavor %d, case %zu: route %d, expected %d", flavor, i,
                         m.route ? m.route->def.id.b[15] : -1, want);
            config_release(compiler, &c);
        }
    }
}

/* Of one route's paths that match, and path_handling. */
static void test_traditional_path(void **state)
{
    static const char *const want[] = {"/r", "/r/x"}; /* the first that is listed; the longest */

    (void)state;
    for (int flavor = FLAVOR_TRADITIONAL_COMPATIBLE; flavor <= FLAVOR_TRADITIONAL; flavor++) {
        struct sbuf records = {0};
        struct route_match m;
        struct fix_request r;
        struct config *c;

        compiler_set_flavor(compiler, (enum router_flavor)flavor);
        fix_putf(&records, "routes", fix_id(1, 1),
                 "{'paths': ['~/r', '~/r/x'], 'path_handling': 'v1'}");
        c = build_take(true, &records);
        fix_request(&r, "GET", "/r/x", "a.com");
        assert_true(match(c, &r, &m));
        assert_true(str_eq(m.matched, str_of(want[flavor])));
        assert_int_equal(m.route->path_v1, flavor == FLAVOR_TRADITIONAL);
        config_release(compiler, &c);
    }
    compiler_set_flavor(compiler, FLAVOR_TRADITIONAL_COMPATIBLE);
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

static const char *const hosts[] = {"a.com", "b.com", "x.a.com",   "y.x.a.com", "*.a.com", "*.com",
                                    "a.*",   "x.*",   "*.x.a.com", "a.com:81",  "*.com:81"};
static const char *const ask_hosts[] = {"a.com", "b.com",    "x.a.com",  "y.x.a.com", "c.y.x.a.com",
                                        "x.org", "a.org:81", "a.com:81", "q",         ""};
static const char *const paths[] = {"/",          "/a",       "/ab",   "/a/b",       "/a/b/c",
                                    "/abc",       "/b",       "~/a",   "~/a/\\\\w+", "~/[ab]+$",
                                    "~/a(/b)?/c", "~/(?i)AB", "~/b|/a"};
static const char *const ask_paths[] = {"/",    "/a", "/ab", "/abc", "/a/b",     "/a/b/c",
                                        "/a/c", "/b", "/bb", "/AB",  "/a/b/c/d", "/c"};
static const char *const methods[] = {"GET", "POST", "PURGE"};
static const char *const values[] = {"1", "2", "~*^v\\\\d"};
static const char *const ask_names[] = {"a.com", "x.b.com", "c.d", "d.com", ""};
static const char *const ask_values[] = {"1", "2", "v7", "V8", "z"};

static void some(struct sbuf *out, const char *field, const char *const *from, unsigned n,
                 unsigned odds)
{
    unsigned count = below(odds) ? 0 : 1 + below(3), first = below(n);

    for (unsigned i = 0; i < count; i++)
        sbuf_addf(out, "%s'%s'", i ? ", " : field, from[(first + i * 3) % n]);
    if (count)
        sbuf_adds(out, "], ");
}

/* Few places with many routes each, which differ in headers, methods, ports and server names. */
static void crowded_route(struct sbuf *records, unsigned n)
{
    static const char *const at[] = {"'hosts': ['a.com']", "'hosts': ['a.com:81', 'a.com:80']",
                                     "'paths': ['/']", "'paths': ['/', '/a']"};
    static const char *const names[] = {"a.com", "*.b.com", "c.*", "D.com."};
    struct sbuf doc = {0};

    sbuf_addf(&doc, "{'protocols': ['https'], %s, 'service': {'id': '%s'}", at[below(4)],
              fix_text(fix_id(2, below(6))));
    if (below(3) == 0)
        sbuf_addf(&doc, ", 'methods': ['%s', '%s']", methods[below(2)], methods[2]);
    if (below(2))
        sbuf_addf(&doc, ", 'headers': {'x_%u': ['%s', 'V%u']%s}", below(2), values[below(3)],
                  6 + below(3), below(2) ? ", 'y-2': ['1', 'q']" : "");
    if (below(3) == 0)
        sbuf_addf(&doc, ", 'snis': ['%s']", names[below(4)]);
    sbuf_addc(&doc, '}');
    fix_putf(records, "routes", fix_id(1, n), "%s", doc.p);
    sbuf_free(&doc);
}

static bool crowded;

static void random_route(struct sbuf *records, unsigned n)
{
    struct sbuf doc = {0};

    if (crowded) {
        crowded_route(records, n);
        return;
    }

    sbuf_addf(&doc, "{'regex_priority': %u, 'service': {'id': '%s'}, ", below(3),
              fix_text(fix_id(2, below(6))));
    some(&doc, "'hosts': [", hosts, ARRAY_LEN(hosts), 2);
    some(&doc, "'paths': [", paths, ARRAY_LEN(paths), 2);
    some(&doc, "'methods': [", methods, ARRAY_LEN(methods), 3);
    for (unsigned i = 0, k = below(3) ? 0 : 1 + below(2); i < k; i++)
        sbuf_addf(&doc, "%s'x-%u': ['%s', '%s']", i ? ", " : "'headers': {", i, values[below(3)],
                  values[below(3)]);
    if (sbuf_str(&doc).p && strstr(doc.p, "'headers'"))
        sbuf_adds(&doc, "}, ");
    if (!strstr(doc.p, "'hosts'") && !strstr(doc.p, "'paths'") && !strstr(doc.p, "'methods'") &&
        !strstr(doc.p, "'headers'"))
        sbuf_adds(&doc, "'paths': ['/'], ");
    doc.len -= 2;
    doc.p[doc.len] = '\0';
    sbuf_addc(&doc, '}');
    for (char *p = doc.p; (p = strstr(p, "['1', '1']")) || (p = NULL);
         p++) /* sets hold no duplicates */
        memcpy(p, "['1', '3']", 10);
    for (char *p = doc.p; (p = strstr(p, "['2', '2']")); p++)
        memcpy(p, "['2', '3']", 10);
    for (char *p = doc.p; (p = strstr(p, "['~*^v\\\\d', '~*^v\\\\d']")); p++)
        memcpy(p, "['~*^v\\\\d', '~*^w\\\\d']", 22);
    fix_putf(records, "routes", fix_id(1, n), "%s", doc.p);
    sbuf_free(&doc);
}

/* Does one host, path pattern match? By the words of the documentation, byte by byte. */
static bool plain_host(struct str pattern, const struct fix_request *r)
{
    struct host_pattern p = host_pattern_parse(pattern);
    struct str host = r->head.host;

    if (p.port && p.port != (r->head.host_port ? r->head.host_port : r->q.port))
        return false;
    return p.kind == HOST_EXACT    ? str_eq(host, p.text)
           : p.kind == HOST_SUFFIX ? str_ends(host, p.text)
                                   : str_starts(host, p.text);
}

static bool plain_name(struct str a, struct str b)
{
    bool same = a.len == b.len;

    for (size_t i = 0; i < a.len && same; i++)
        same = ascii_lower(a.p[i] == '_' ? '-' : a.p[i]) == ascii_lower(b.p[i] == '_' ? '-' : b.p[i]);
    return same;
}

static bool plain_sni(const struct route *def, const struct fix_request *r)
{
    bool ok = def->snis.n == 0 || !r->q.tls;

    for (size_t i = 0; i < def->snis.n && !ok; i++) {
        struct str p = LIST_AT(def->snis, struct str, i);

        p.len -= str_ends(p, STR("."));
        ok = p.p[0] == '*'             ? str_ends(r->q.sni, str_n(p.p + 1, p.len - 1))
             : p.p[p.len - 1] == '*' ? str_starts(r->q.sni, str_n(p.p, p.len - 1))
                                       : str_ieq(r->q.sni, p);
    }
    return ok;
}

static bool plain_header(const struct map_entry *rule, const struct fix_request *r)
{
    for (uint32_t i = 0; i < r->head.headers.n; i++)
        for (size_t k = 0; k < rule->values.n && plain_name(r->headers[i].name, rule->key); k++) {
            struct str v = LIST_AT(rule->values, struct str, k), whole;
            struct regex *rx = str_starts(v, STR("~*"))
                                   ? regex_new(str_n(v.p + 2, v.len - 2), false, true, NULL)
                                   : NULL;
            bool yes = rx ? regex_match(rx, r->headers[i].value, &whole, 1) > 0
                          : str_ieq(v, r->headers[i].value);

            regex_free(&rx);
            if (yes)
                return true;
        }
    return false;
}

/* Highest priority of a route's matching path groups; 0: it does not match. */
static uint64_t plain_match(const struct route *def, const struct fix_request *r)
{
    bool ok = def->hosts.n == 0;
    uint64_t best = 0;

    for (size_t i = 0; i < def->hosts.n && !ok; i++)
        ok = plain_host(LIST_AT(def->hosts, struct str, i), r);
    for (size_t i = 0; i < def->headers.n && ok; i++)
        ok = plain_header(&LIST_AT(def->headers, struct map_entry, i), r);
    if (ok && def->methods.n) {
        ok = false;
        for (size_t i = 0; i < def->methods.n; i++)
            ok = ok || str_eq(LIST_AT(def->methods, struct str, i), r->head.method);
    }
    if (!ok || !plain_sni(def, r))
        return 0;
    if (def->paths.n == 0)
        return route_priority(def, false, 0);
    for (size_t i = 0; i < def->paths.n; i++) {
        struct str p = LIST_AT(def->paths, struct str, i), whole;
        bool regex = str_starts(p, STR("~")), yes;

        if (regex) {
            struct regex *rx = regex_new(str_n(p.p + 1, p.len - 1), true, false, NULL);

            yes = regex_match(rx, r->head.path, &whole, 1) > 0;
            regex_free(&rx);
        } else {
            yes = str_starts(r->head.path, p);
        }
        if (yes && route_priority(def, regex, p.len) > best)
            best = route_priority(def, regex, p.len);
    }
    return best;
}

struct walk {
    const struct config *config;
    const struct fix_request *r;
    const struct c_route *best;
    uint64_t priority;
    size_t n;
};

static void plain_visit(struct obj *o, void *arg)
{
    const struct o_route *route = (const struct o_route *)o;
    const struct c_service *s;
    struct walk *w = arg;
    uint64_t priority = plain_match(&route->c.def, w->r);

    s = config_service(w->config, &route->c.def.service);
    if (!priority || (s && !s->def.enabled))
        return;
    w->n++;
    if (priority > w->priority ||
        (priority == w->priority &&
         memcmp(&route->c.def.id, &w->best->def.id, sizeof(struct uuid)) > 0)) {
        w->priority = priority;
        w->best = &route->c;
    }
}

static void ask_and_compare(const struct config *c, unsigned times)
{
    const struct c_route *routes[64];
    uint64_t priorities[64];

    for (unsigned i = 0; i < times; i++) {
        struct walk w = {.config = c};
        struct fix_request r;
        struct route_match m;
        struct arena scratch;
        size_t n;

        fix_request(&r, methods[below(3)], ask_paths[below(ARRAY_LEN(ask_paths))],
                    ask_hosts[below(ARRAY_LEN(ask_hosts))]);
        if (below(2))
            fix_header(&r, "X-0", ask_values[below(5)]);
        if (below(2))
            fix_header(&r, "x-1", ask_values[below(5)]);
        if (below(3) == 0)
            fix_header(&r, "x-0", ask_values[below(5)]);
        if (below(2))
            fix_header(&r, "Y_2", below(2) ? "Q" : "7");
        r.q.tls = below(2);
        r.q.port = below(2) ? 80 : 81;
        if (r.q.tls)
            r.q.sni = str_of(ask_names[below(ARRAY_LEN(ask_names))]);
        w.r = &r;
        pmap_each(&c->r.m[MAP_ROUTES], plain_visit, &w);
        match(c, &r, &m);
        if (m.route != w.best)
            fail_msg("%.4s " STR_FMT " host " STR_FMT ": got %s, the plain list says %s",
                     r.head.method.p, STR_ARG(r.head.path), STR_ARG(r.head.host),
                     m.route ? fix_text(m.route->def.id) : "none",
                     w.best ? fix_text(w.best->def.id) : "none");
        arena_init(&scratch, 0, 0);
        n = config_match_all(c, &r.q, &scratch, routes, priorities, ARRAY_LEN(routes));
        arena_fini(&scratch);
        assert_int_equal(n, w.n < ARRAY_LEN(routes) ? w.n : ARRAY_LEN(routes));
        if (n) {
            assert_ptr_equal(routes[0], w.best);
            assert_true(priorities[0] == w.priority);
        }
    }
}

/* Random sets and random changes; versions live on for a while, as under traffic. */
static void test_differential(void **state)
{
    struct config *old[4] = {NULL};

    (void)state;
    for (unsigned seed = 1; seed <= 40; seed++) {
        struct sbuf records = {0};
        struct config *c;

        rng = 0x9e3779b97f4a7c15u * seed;
        crowded = seed % 2;
        for (unsigned i = 0; i < 5; i++) /* the sixth service does not exist */
            fix_putf(&records, "services", fix_id(2, i), "{'host': 'h', 'enabled': %s}",
                     i ? "true" : "false");
        for (unsigned i = 0, n = 1 + below(crowded ? 120 : 60); i < n; i++)
            random_route(&records, i);
        c = build_take(true, &records);
        ask_and_compare(c, 100);
        for (unsigned round = 0; round < 12; round++) {
            unsigned slot = below(4);

            for (unsigned i = 0, n = 1 + below(crowded ? 30 : 6); i < n; i++) {
                unsigned what = below(10), which = below(crowded ? 128 : 64);

                if (what < 5)
                    random_route(&records, which);
                else if (what < 9)
                    fix_delete(&records, "routes", fix_id(1, which));
                else
                    fix_putf(&records, "services", fix_id(2, which % 5),
                             "{'host': 'h', 'enabled': %s}", below(2) ? "true" : "false");
            }
            config_release(compiler, &old[slot]);
            old[slot] = c;
            c = build_take(false, &records);
            ask_and_compare(c, 40);
            ask_and_compare(old[slot], 10); /* what is kept did not move */
        }
        config_release(compiler, &c);
    }
    for (unsigned i = 0; i < 4; i++)
        config_release(compiler, &old[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_priority_layout),
        cmocka_unit_test(test_rank),
        cmocka_unit_test(test_worked_precedence),
        cmocka_unit_test(test_recorded),
        cmocka_unit_test(test_hosts_and_ports),
        cmocka_unit_test(test_snis),
        cmocka_unit_test(test_captures),
        cmocka_unit_test(test_first_expression_captures),
        cmocka_unit_test(test_regex_effort_is_bounded),
        cmocka_unit_test(test_literal_prefix),
        cmocka_unit_test(test_traditional),
        cmocka_unit_test(test_traditional_path),
        cmocka_unit_test(test_differential),
    };

    return cmocka_run_group_tests_name("dataplane/router", tests, fix_setup, fix_teardown);
}
