/* test_plugins_cors.c - preflight and simple requests, origins by name and by pattern. */
#include "tests/unit/dataplane/loopback.h"

#define PREFLIGHT                              \
    {"Origin", "http://a.test"},               \
    {                                          \
        "Access-Control-Request-Method", "PUT" \
    }
#define METHODS_ALL "GET,HEAD,PUT,PATCH,POST,DELETE,OPTIONS,TRACE,CONNECT"

struct c_case {
    const char *config, *method;
    struct loop_field headers[4], reply[4];
    bool answered;
    struct loop_field expected[6]; /* every Access-Control and Vary field; value NULL: absent */
};

/* clang-format off */
static const struct c_case cases[] = {
    {"{}", "GET", {{"Origin", "http://a.test"}}, {{0}}, false,
     {{"Access-Control-Allow-Origin", "*"}, {"Vary", NULL}, {"Access-Control-Allow-Methods", NULL}}},
    {"{}", "GET", {{0}}, {{0}}, false, {{"Access-Control-Allow-Origin", "*"}}},
    {"{}", "OPTIONS", {PREFLIGHT}, {{0}}, true,
     {{"Access-Control-Allow-Origin", "*"}, {"Access-Control-Allow-Methods", METHODS_ALL},
      {"Access-Control-Allow-Headers", NULL}, {"Vary", NULL}, {"Content-Type", NULL}}},
    {"{}", "OPTIONS", {PREFLIGHT, {"Access-Control-Request-Headers", "X-Q, X-R"}}, {{0}}, true,
     {{"Access-Control-Allow-Headers", "X-Q, X-R"}}},
    {"{}", "OPTIONS", {{"Origin", "http://a.test"}}, {{0}}, false,
     {{"Access-Control-Allow-Origin", "*"}, {"Access-Control-Allow-Methods", NULL}}},
    {"{}", "GET", {{"Origin", "http://a.test"}},
     {{"Vary", "Accept"}, {"Access-Control-Allow-Origin", "up"}, {"Access-Control-Allow-Credentials", "up"}}, false,
     {{"Access-Control-Allow-Origin", "*"}, {"Vary", "Accept"}, {"Access-Control-Allow-Credentials", "up"}}},

    {"{\"origins\": [\"http://a.test\"]}", "GET", {{"Origin", "http://b.test"}}, {{0}}, false,
     {{"Access-Control-Allow-Origin", "http://a.test"}, {"Vary", "Origin"}}},
    {"{\"origins\": [\"http://a.test\"]}", "OPTIONS", {PREFLIGHT}, {{0}}, true,
     {{"Access-Control-Allow-Origin", "http://a.test"}, {"Vary", "Origin"}}},
    {"{\"origins\": [\"http://a.test\", \"http://c.test\"], \"credentials\": true}", "GET",
     {{"Origin", "http://c.test"}}, {{0}}, false,
     {{"Access-Control-Allow-Origin", "http://c.test"}, {"Vary", "Origin"}, {"Access-Control-Allow-Credentials", "true"}}},
    {"{\"origins\": [\"http://a.test\", \"http://c.test\"]}", "GET", {{"Origin", "http://d.test"}},
     {{"Access-Control-Allow-Origin", "up"}}, false, {{"Access-Control-Allow-Origin", NULL}, {"Vary", "Origin"}}},
    {"{\"origins\": [\"http://a.test\", \"https://c.test\"]}", "GET", {{"Origin", "https://c.test:443"}}, {{0}}, false,
     {{"Access-Control-Allow-Origin", "https://c.test"}}},
    {"{\"origins\": [\"*\"], \"credentials\": true, \"max_age\": 60}", "OPTIONS", {PREFLIGHT}, {{0}}, true,
     {{"Access-Control-Allow-Origin", "http://a.test"}, {"Access-Control-Allow-Credentials", "true"},
      {"Access-Control-Max-Age", "60"}, {"Vary", "Origin"}}},
    {"{\"origins\": [\"*\"], \"credentials\": true}", "GET", {{0}}, {{0}}, false,
     {{"Access-Control-Allow-Origin", "*"}, {"Access-Control-Allow-Credentials", NULL}}},
    {"{\"methods\": [\"GET\", \"PUT\"], \"headers\": [\"X-A\", \"X-B\"], \"exposed_headers\": [\"X-E\", \"X-F\"]}",
     "OPTIONS", {PREFLIGHT, {"Access-Control-Request-Headers", "X-Q"}}, {{0}}, true,
     {{"Access-Control-Allow-Methods", "GET,PUT"}, {"Access-Control-Allow-Headers", "X-A,X-B"},
      {"Access-Control-Expose-Headers", NULL}}},
    {"{\"exposed_headers\": [\"X-E\", \"X-F\"]}", "GET", {{"Origin", "http://a.test"}}, {{0}}, false,
     {{"Access-Control-Expose-Headers", "X-E,X-F"}}},
    {"{\"private_network\": true}", "OPTIONS", {PREFLIGHT, {"Access-Control-Request-Private-Network", "true"}}, {{0}},
     true, {{"Access-Control-Allow-Private-Network", "true"}}},
    {"{}", "OPTIONS", {PREFLIGHT, {"Access-Control-Request-Private-Network", "true"}}, {{0}}, true,
     {{"Access-Control-Allow-Private-Network", NULL}}},

    {"{\"origins\": [\".*\\\\.ok\\\\.test\"], \"preflight_continue\": true}", "OPTIONS", {PREFLIGHT}, {{0}}, false,
     {{"Access-Control-Allow-Origin", NULL}, {"Vary", NULL}, {"Access-Control-Allow-Methods", NULL}}},
    {"{\"origins\": [\".*\\\\.ok\\\\.test\"]}", "GET", {{"Origin", "http://x.ok.test"}}, {{0}}, false,
     {{"Access-Control-Allow-Origin", "http://x.ok.test"}, {"Vary", "Origin"}}},
    {"{\"origins\": [\".*\\\\.ok\\\\.test\"]}", "GET", {{"Origin", "http://x.ok.test.evil.test"}}, {{0}}, false,
     {{"Access-Control-Allow-Origin", NULL}, {"Vary", "Origin"}}},
    {"{\"origins\": [\"https?://(a|b)\\\\.test\"]}", "GET", {{"Origin", "https://b.test"}}, {{0}}, false,
     {{"Access-Control-Allow-Origin", "https://b.test"}}},
    {"{\"origins\": [\"https?://(a|b)\\\\.test\"]}", "GET", {{"Origin", "https://evil.test/https://b.test"}}, {{0}}, false,
     {{"Access-Control-Allow-Origin", NULL}}},
    {"{\"origins\": [\"(x+x+)+y\\\\.test\"]}", "GET", {{"Origin", "http://xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}},
     {{0}}, false, {{"Access-Control-Allow-Origin", NULL}}}, /* ends within the match limit */
};
/* clang-format on */

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct c_case *c = &cases[i];
        struct loop *l = loop_new();

        print_message("case %zu: %s %s\n", i, c->method, c->config);
        loop_plugin(l, "cors", c->config, ON_ROUTE, NULL);
        loop_request(l, c->method, "/", c->headers, NULL);
        loop_run(l, c->reply);
        assert_int_equal(l->verdict, c->answered ? V_ANSWER : V_NEXT);
        assert_int_equal(l->x.resp.status, 200);
        for (size_t k = 0; k < ARRAY_LEN(c->expected) && c->expected[k].name; k++)
            assert_resp(l, c->expected[k].name, c->expected[k].value);
        loop_free(&l);
    }
}

/* Somebody else's refusal of a simple request carries the fields; of a preflight it does not. */
static void test_on_an_answer_of_another_plugin(void **state)
{
    struct loop *l = loop_new();

    (void)state;
    loop_plugin(l, "cors", "{\"origins\": [\"http://a.test\"], \"preflight_continue\": true}",
                ON_ROUTE, NULL);
    loop_plugin(l, "key-auth", "{}", ON_ROUTE, NULL);
    loop_request(l, "GET", "/", HEADERS({"Origin", "http://a.test"}), NULL);
    loop_run(l, NO_HEADERS);
    assert_int_equal(l->x.resp.status, 401);
    assert_resp(l, "Vary", "Origin");
    loop_request(l, "OPTIONS", "/", HEADERS(PREFLIGHT), NULL);
    loop_run(l, NO_HEADERS);
    assert_int_equal(l->x.resp.status, 401);
    assert_resp(l, "Vary", NULL);
    loop_free(&l);
}

static void test_bad_pattern_is_refused_with_its_place(void **state)
{
    const struct plugin_ops *ops = plugin_ops_by_name(STR("cors"));
    struct loop *l = loop_new();
    const void *conf = loop_conf(&l->config, "cors", "{\"origins\": [\"http://a.test\", \"x\"]}");
    struct cors_view {
        struct list origins;
    } view;
    struct str *origins;
    struct err e = {0};
    void *prepared;

    (void)state;
    memcpy(&view, conf, sizeof(view)); /* the schema would not let the pattern in */
    origins = view.origins.v;
    origins[1] = STR("a(");
    assert_int_equal(ops->prepare(conf, &prepared, &e), -1);
    assert_string_equal(e.path, "origins.2");
    loop_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_on_an_answer_of_another_plugin),
        cmocka_unit_test(test_bad_pattern_is_refused_with_its_place),
    };
    return cmocka_run_group_tests(tests, loop_setup, loop_teardown);
}
