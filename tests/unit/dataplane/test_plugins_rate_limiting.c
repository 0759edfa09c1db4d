/* test_plugins_rate_limiting.c - who is counted, what is answered, which headers go out. */
#include "tests/unit/dataplane/loopback.h"

#define SECOND 1000000ULL
#define NOW    (1700000000ULL * SECOND) /* 2023-11-14 22:13:20 UTC: 800 s into the hour */

static void request(struct loop *l, const char *target, const struct loop_field *headers)
{
    loop_request(l, "GET", target, headers, NULL);
    loop_run(l, NO_HEADERS);
}

static struct loop *limited(const char *config)
{
    struct loop *l = loop_new();

    /* the counters of a test are its own */
    l->route.def.id = uuid_v4();
    loop_plugin(l, "rate-limiting", config, ON_ROUTE, NULL);
    clock_fake(NOW, NOW);
    return l;
}

static void test_one_period(void **state)
{
    struct loop *l = limited("{\"hour\": 3, \"limit_by\": \"ip\"}");
    static const char *const left[] = {"2", "1", "0"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(left); i++) {
        request(l, "/", NO_HEADERS);
        assert_int_equal(l->verdict, V_NEXT);
        assert_resp(l, "RateLimit-Limit", "3");
        assert_resp(l, "RateLimit-Remaining", left[i]);
        assert_resp(l, "RateLimit-Reset", "2800");
        assert_resp(l, "X-RateLimit-Limit-Hour", "3");
        assert_resp(l, "X-RateLimit-Remaining-Hour", left[i]);
        assert_resp(l, "Retry-After", NULL);
    }
    for (int i = 0; i < 2; i++) {
        request(l, "/", NO_HEADERS);
        assert_int_equal(l->verdict, V_ANSWER);
        assert_int_equal(l->x.resp.status, 429);
        assert_string_equal(l->message, "API rate limit exceeded");
        assert_resp(l, "RateLimit-Remaining", "0");
        assert_resp(l, "X-RateLimit-Remaining-Hour", "0");
        assert_resp(l, "Retry-After", "2800");
    }
    clock_fake(NOW, NOW + 2800 * SECOND - 1);
    request(l, "/", NO_HEADERS);
    assert_int_equal(l->x.resp.status, 429);
    assert_resp(l, "RateLimit-Reset", "1");
    clock_fake(NOW, NOW + 2800 * SECOND);
    request(l, "/", NO_HEADERS);
    assert_int_equal(l->verdict, V_NEXT);
    assert_resp(l, "RateLimit-Remaining", "2");
    loop_free(&l);
}

static void test_several_periods(void **state)
{
    struct loop *l =
        limited("{\"hour\": 3, \"month\": 100, \"limit_by\": \"service\", \"error_code\": 403,"
                " \"error_message\": \"slow down\"}");

    (void)state;
    for (int i = 0; i < 3; i++)
        request(l, "/", NO_HEADERS);
    assert_resp(l, "RateLimit-Limit", "3");
    assert_resp(l, "X-RateLimit-Remaining-Hour", "0");
    assert_resp(l, "X-RateLimit-Remaining-Month", "97");
    request(l, "/", NO_HEADERS);
    assert_int_equal(l->x.resp.status, 403);
    assert_string_equal(l->message, "slow down");
    assert_resp(l, "X-RateLimit-Remaining-Month", "97"); /* reported, not taken */
    request(l, "/", NO_HEADERS);
    assert_resp(l, "X-RateLimit-Remaining-Month", "97");
    loop_free(&l);
}

/* What the hour gave is given back when the day refuses. */
static void test_refusal_takes_nothing(void **state)
{
    struct loop *l = limited("{\"hour\": 3, \"day\": 3, \"limit_by\": \"ip\"}");

    (void)state;
    for (int i = 0; i < 3; i++)
        request(l, "/", NO_HEADERS);
    clock_fake(NOW, NOW + 3000 * SECOND); /* the next hour, the same day */
    for (int i = 0; i < 5; i++) {
        request(l, "/", NO_HEADERS);
        assert_int_equal(l->x.resp.status, 429);
        assert_resp(l, "X-RateLimit-Remaining-Hour", "3");
        assert_resp(l, "RateLimit-Limit", "3");
        assert_resp(l, "RateLimit-Remaining", "0");
    }
    loop_free(&l);
}

static void test_tightest_period_of_equals_is_the_longest(void **state)
{
    struct loop *l = limited("{\"hour\": 5, \"day\": 5, \"limit_by\": \"ip\"}");

    (void)state;
    request(l, "/", NO_HEADERS);
    assert_resp(l, "RateLimit-Reset", "6400"); /* of the day: 80000 s have passed */
    loop_free(&l);
}

static void test_fractions(void **state)
{
    struct loop *l = limited("{\"hour\": 1.5, \"limit_by\": \"ip\"}");

    (void)state;
    request(l, "/", NO_HEADERS);
    assert_resp(l, "X-RateLimit-Limit-Hour", "1.5");
    assert_resp(l, "X-RateLimit-Remaining-Hour", "0.5");
    request(l, "/", NO_HEADERS);
    assert_int_equal(l->verdict, V_NEXT);
    assert_resp(l, "X-RateLimit-Remaining-Hour", "0");
    request(l, "/", NO_HEADERS);
    assert_int_equal(l->x.resp.status, 429);
    loop_free(&l);
}

static void test_hidden_headers(void **state)
{
    struct loop *l = limited("{\"hour\": 1, \"hide_client_headers\": true, \"limit_by\": \"ip\"}");

    (void)state;
    for (int i = 0; i < 2; i++) {
        request(l, "/", NO_HEADERS);
        assert_int_equal(l->x.resp.headers.n, 0);
    }
    assert_int_equal(l->x.resp.status, 429);
    loop_free(&l);
}

static void test_who_is_counted(void **state)
{
    /* clang-format off */
    static const struct {
        const char *config;
        struct {
            const char *target, *field, *value, *left;
        } requests[5];
    } cases[] = {
        {"{\"hour\": 3, \"limit_by\": \"header\", \"header_name\": \"x-user\"}",
         {{"/", "x-user", "a", "2"}, {"/", "x-user", "a", "1"}, {"/", "x-user", "b", "2"},
          {"/", "x-other", "b", "2"}, {"/", "x-user", "a", "0"}}},
        {"{\"hour\": 3, \"limit_by\": \"path\", \"path\": \"/limited\"}",
         {{"/limited", "a", "", "2"}, {"/limited", "a", "", "1"}, {"/limited/x", "a", "", "2"},
          {"/other", "a", "", "1"}, {"/limited?x", "a", "", "0"}}},
        {"{\"hour\": 3}", /* by consumer, and there is none */
         {{"/", "apikey", "none", "2"}, {"/", "apikey", "none", "1"}, {"/", "apikey", "none", "0"}}},
    };
    /* clang-format on */

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct loop *l = limited(cases[i].config);

        for (size_t k = 0; k < ARRAY_LEN(cases[i].requests) && cases[i].requests[k].target; k++) {
            request(l, cases[i].requests[k].target,
                    HEADERS({cases[i].requests[k].field, cases[i].requests[k].value}));
            assert_resp(l, "X-RateLimit-Remaining-Hour", cases[i].requests[k].left);
        }
        loop_free(&l);
    }
}

static void test_consumers_and_credentials(void **state)
{
    static const struct {
        const char *config, *key, *left;
    } cases[] = {
        {"{\"hour\": 3, \"limit_by\": \"consumer\"}", "o2", "1"},
        {"{\"hour\": 3, \"limit_by\": \"consumer\"}", "t1", "2"},
        {"{\"hour\": 3, \"limit_by\": \"credential\"}", "o2", "2"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct loop *l = limited(cases[i].config);
        struct c_consumer *one = loop_consumer(l, "one", NULL),
                          *two = loop_consumer(l, "two", NULL);

        loop_key(l, one, "o1");
        loop_key(l, one, "o2");
        loop_key(l, two, "t1");
        loop_plugin(l, "key-auth", "{}", ON_ROUTE, NULL);
        request(l, "/", HEADERS({"apikey", "o1"}));
        assert_resp(l, "RateLimit-Remaining", "2");
        request(l, "/", HEADERS({"apikey", cases[i].key}));
        assert_resp(l, "RateLimit-Remaining", cases[i].left);
        loop_free(&l);
    }
}

static void test_consumer_row_beats_route_row(void **state)
{
    struct loop *l = limited("{\"hour\": 1}");
    struct c_consumer *vip = loop_consumer(l, "vip", NULL), *std = loop_consumer(l, "std", NULL);

    (void)state;
    loop_key(l, vip, "v");
    loop_key(l, std, "n");
    loop_plugin(l, "key-auth", "{}", ON_ROUTE, NULL);
    loop_plugin(l, "rate-limiting", "{\"hour\": 8}", ON_GLOBAL, vip);
    vip->def.id = uuid_v4();
    l->config.credentials[0]->def.consumer = vip->def.id;
    request(l, "/", HEADERS({"apikey", "v"}));
    assert_resp(l, "RateLimit-Limit", "8");
    assert_resp(l, "RateLimit-Remaining", "7");
    request(l, "/", HEADERS({"apikey", "n"}));
    assert_resp(l, "RateLimit-Limit", "1");
    request(l, "/", HEADERS({"apikey", "n"}));
    assert_int_equal(l->x.resp.status, 429);
    loop_free(&l);
}

static void test_policies_that_are_not_served(void **state)
{
    struct loop *l =
        limited("{\"hour\": 1, \"policy\": \"redis\", \"redis\": {\"host\": \"r.test\"}}");

    (void)state;
    for (int i = 0; i < 3; i++) {
        request(l, "/", NO_HEADERS);
        assert_int_equal(l->verdict, V_NEXT);
        assert_resp(l, "RateLimit-Limit", NULL);
    }
    loop_free(&l);
    l = limited("{\"hour\": 1, \"policy\": \"redis\", \"fault_tolerant\": false, \"redis\": "
                "{\"host\": \"r.test\"}}");
    request(l, "/", NO_HEADERS);
    assert_int_equal(l->x.resp.status, 500);
    loop_free(&l);
}

static void test_memory_runs_out(void **state)
{
    (void)state;
    for (size_t cap = 16; cap < 2048; cap += 16) {
        struct loop *l = limited("{\"hour\": 5, \"day\": 5, \"limit_by\": \"ip\"}");

        loop_request(l, "GET", "/", NO_HEADERS, NULL);
        l->x.arena.cap_bytes = l->x.arena.used_bytes + cap;
        loop_run(l, NO_HEADERS);
        if (l->verdict == V_ANSWER)
            assert_int_equal(l->x.resp.status, 500);
        loop_free(&l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_period),
        cmocka_unit_test(test_several_periods),
        cmocka_unit_test(test_refusal_takes_nothing),
        cmocka_unit_test(test_tightest_period_of_equals_is_the_longest),
        cmocka_unit_test(test_fractions),
        cmocka_unit_test(test_hidden_headers),
        cmocka_unit_test(test_who_is_counted),
        cmocka_unit_test(test_consumers_and_credentials),
        cmocka_unit_test(test_consumer_row_beats_route_row),
        cmocka_unit_test(test_policies_that_are_not_served),
        cmocka_unit_test(test_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, loop_setup, loop_teardown);
}
