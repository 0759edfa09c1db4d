/* test_plugins_small.c - request-termination, correlation-id, prometheus, the registry. */
#include "tests/unit/dataplane/loopback.h"

#include <unistd.h>

/* ---- request-termination ---- */

static void test_termination(void **state)
{
    /* clang-format off */
    static const struct {
        const char *config, *target;
        struct loop_field headers[2];
        unsigned status; /* 0: passes */
        const char *type, *body; /* NULL body: any */
    } cases[] = {
        {"{}", "/", {{0}}, 503, "application/json; charset=utf-8", "{\"message\":\"Service unavailable\"}"},
        {"{\"status_code\": 404}", "/", {{0}}, 404, "application/json; charset=utf-8", "{\"message\":\"Not found\"}"},
        {"{\"status_code\": 200, \"message\": \"fi\\\"ne\"}", "/", {{0}}, 200, "application/json; charset=utf-8",
         "{\"message\":\"fi\\\"ne\"}"},
        {"{\"status_code\": 403, \"body\": \"<b>no</b>\", \"content_type\": \"text/html\"}", "/", {{0}}, 403,
         "text/html; charset=UTF-8", "<b>no</b>"},
        {"{\"status_code\": 403, \"body\": \"x\", \"content_type\": \"image/png\"}", "/", {{0}}, 403, "image/png", "x"},
        {"{\"status_code\": 204}", "/", {{0}}, 204, NULL, ""},
        {"{\"status_code\": 204, \"message\": \"x\"}", "/", {{0}}, 204, NULL, ""},
        {"{\"status_code\": 418}", "/", {{0}}, 418, NULL, ""},
        {"{\"status_code\": 418, \"body\": \"{\\\"a\\\":1}\"}", "/", {{0}}, 418, NULL, "{\"a\":1}"},
        {"{\"status_code\": 101}", "/", {{0}}, 503, "application/json; charset=utf-8", NULL},
        {"{\"trigger\": \"x-stop\", \"status_code\": 410}", "/", {{0}}, 0, NULL, NULL},
        {"{\"trigger\": \"x-stop\", \"status_code\": 410}", "/", {{"X-Stop", "1"}}, 410, "text/html; charset=UTF-8", NULL},
        {"{\"trigger\": \"x-stop\", \"status_code\": 410}", "/?x-stop=1", {{0}}, 410, "text/html; charset=UTF-8", NULL},
        {"{\"trigger\": \"x-stop\", \"status_code\": 410}", "/?x-stop", {{0}}, 410, "text/html; charset=UTF-8", NULL},
    };
    /* clang-format on */

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct loop *l = loop_new();

        loop_plugin(l, "request-termination", cases[i].config, ON_ROUTE, NULL);
        loop_request(l, "GET", cases[i].target, cases[i].headers, NULL);
        loop_run(l, NO_HEADERS);
        assert_int_equal(l->verdict, cases[i].status ? V_ANSWER : V_NEXT);
        if (cases[i].status) {
            assert_int_equal(l->x.resp.status, cases[i].status);
            assert_text(str_of(l->content_type), cases[i].type);
            if (cases[i].body)
                assert_text(l->x.answer, cases[i].body);
        }
        loop_free(&l);
    }
}

static void test_termination_echo(void **state)
{
    struct loop *l = loop_new();
    json_t *doc;

    (void)state;
    loop_plugin(l, "request-termination", "{\"echo\": true, \"status_code\": 200}", ON_ROUTE, NULL);
    loop_request(l, "POST", "/a?b=c&b=d&e%20f=g",
                 HEADERS({"Content-Type", "application/json"}, {"Host", "t.test"}), "{\"x\": 1}");
    l->body_later = true;
    loop_run(l, NO_HEADERS);
    assert_int_equal(l->x.resp.status, 200);
    doc = json_loadb(l->x.answer.p, l->x.answer.len, 0, NULL);
    assert_non_null(doc);
    {
        json_t *request = json_object_get(doc, "request"),
               *query = json_object_get(request, "query");
        json_t *service = json_object_get(doc, "matched_service");

        assert_string_equal(json_string_value(json_object_get(request, "raw_body")), "{\"x\": 1}");
        assert_int_equal(json_integer_value(json_object_get(json_object_get(request, "body"), "x")),
                         1);
        assert_int_equal(json_array_size(json_object_get(query, "b")), 2);
        assert_string_equal(json_string_value(json_object_get(query, "e f")), "g");
        assert_string_equal(
            json_string_value(json_object_get(json_object_get(request, "headers"), "host")),
            "t.test");
        assert_string_equal(json_string_value(json_object_get(service, "name")), "service");
        assert_null(json_object_get(service, "tags"));
        assert_non_null(json_object_get(service, "ws_id"));
        assert_int_equal(
            json_string_length(json_object_get(json_object_get(doc, "kong"), "node_id")),
            UUID_TEXT_LEN);
    }
    json_decref(doc);
    loop_free(&l);
}

/* ---- correlation-id ---- */

static void test_correlation_id(void **state)
{
    struct loop *l = loop_new();
    struct str first, second;
    char kept[64];
    struct uuid id;

    (void)state;
    loop_plugin(l, "correlation-id", "{\"generator\": \"uuid\", \"echo_downstream\": true}",
                ON_ROUTE, NULL);
    loop_request(l, "GET", "/", HEADERS({"Kong-Request-ID", ""}), NULL);
    loop_run(l, NO_HEADERS);
    first = loop_field(&l->x.req.headers, "Kong-Request-ID");
    assert_true(uuid_parse(first, &id));
    assert_true(str_eq(loop_field(&l->x.resp.headers, "Kong-Request-ID"), first));

    loop_request(l, "GET", "/", HEADERS({"Kong-Request-ID", "mine"}), NULL);
    loop_run(l, NO_HEADERS);
    assert_sent(l, "Kong-Request-ID", "mine");
    assert_resp(l, "Kong-Request-ID", "mine");
    loop_free(&l);

    l = loop_new(); /* uuid#counter: the same name, the next number */
    loop_plugin(l, "correlation-id", "{\"header_name\": \"X-Id\"}", ON_ROUTE, NULL);
    loop_request(l, "GET", "/", NO_HEADERS, NULL);
    loop_run(l, NO_HEADERS);
    assert_resp(l, "X-Id", NULL);
    first = loop_field(&l->x.req.headers, "X-Id");
    assert_true(first.len > UUID_TEXT_LEN + 1 && first.len < sizeof(kept));
    snprintf(kept, sizeof(kept), STR_FMT, STR_ARG(first));
    loop_request(l, "GET", "/", NO_HEADERS, NULL);
    loop_run(l, NO_HEADERS);
    second = loop_field(&l->x.req.headers, "X-Id");
    assert_memory_equal(second.p, kept, UUID_TEXT_LEN + 1);
    assert_int_equal(atoi(plugin_printf(&l->x, STR_FMT, STR_ARG(second)).p + UUID_TEXT_LEN + 1),
                     atoi(kept + UUID_TEXT_LEN + 1) + 1);
    loop_free(&l);

    l = loop_new();
    clock_fake(5000000, 1700000000123456);
    loop_plugin(l, "correlation-id", "{\"generator\": \"tracker\"}", ON_ROUTE, NULL);
    loop_request(l, "GET", "/", NO_HEADERS, NULL);
    l->x.connection = 17;
    l->x.connection_requests = 3;
    loop_run(l, NO_HEADERS);
    snprintf(kept, sizeof(kept), "192.0.2.1-8000-%d-17-3-1700000000.123", (int)getpid());
    assert_sent(l, "Kong-Request-ID", kept);
    loop_free(&l);
}

/* ---- prometheus ---- */

static int64_t requests(const char *code, const char *source, const char *consumer)
{
    return metric_read_with(M_KONG_HTTP_REQUESTS,
                            (struct str[]){STR("service"), STR("route"), str_of(code),
                                           str_of(source), STR("default"), str_of(consumer)});
}

static void test_prometheus(void **state)
{
    static const struct str route[] = {STR("service"), STR("route"), STR("default")};
    struct loop *l = loop_new();
    struct c_consumer *ann = loop_consumer(l, "ann", NULL);

    (void)state;
    loop_key(l, ann, "k");
    loop_plugin(l, "prometheus",
                "{\"per_consumer\": true, \"status_code_metrics\": true, \"latency_metrics\": true,"
                " \"bandwidth_metrics\": true}",
                ON_GLOBAL, NULL);
    loop_plugin(l, "key-auth", "{}", ON_ROUTE, NULL);
    for (int i = 0; i < 3; i++) {
        loop_request(l, "GET", i ? "/?apikey=k" : "/", NO_HEADERS, NULL);
        l->x.times = (struct xtimes){1000, 4000, 14000, 15000, 16000};
        l->x.bytes_in = 100;
        l->x.bytes_out = 1000;
        loop_run(l, NO_HEADERS);
    }
    assert_int_equal(requests("200", "service", "ann"), 2);
    assert_int_equal(requests("401", "exit", ""), 1);
    assert_int_equal(metric_read_with(M_KONG_BANDWIDTH,
                                      (struct str[]){STR("service"), STR("route"), STR("egress"),
                                                     STR("default"), STR("ann")}),
                     2000);
    assert_int_equal(metric_read_with(M_KONG_REQUEST_LATENCY, route), 3);
    assert_int_equal(metric_read_with(M_KONG_UPSTREAM_LATENCY, route), 2);
    loop_free(&l);

    l = loop_new(); /* nothing is counted that was not asked for */
    loop_plugin(l, "prometheus", "{}", ON_GLOBAL, NULL);
    loop_request(l, "GET", "/", NO_HEADERS, NULL);
    loop_run(l, NO_HEADERS);
    assert_int_equal(requests("200", "service", ""), 0);
    loop_free(&l);
}

/* ---- the registry ---- */

static void test_registry(void **state)
{
    size_t n = 0;

    (void)state;
    for (; plugin_list[n]; n++) {
        assert_ptr_equal(plugin_list[n]->contract, plugin_contracts[n]);
        assert_ptr_equal(plugin_ops_by_name(str_of(plugin_list[n]->contract->name)),
                         plugin_list[n]);
        assert_true(n == 0 ||
                    plugin_list[n]->contract->priority < plugin_list[n - 1]->contract->priority);
    }
    assert_null(plugin_contracts[n]);
    assert_null(plugin_ops_by_name(STR("no-such-plugin")));
    assert_int_equal(plugin_node_id().len, UUID_TEXT_LEN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_termination),    cmocka_unit_test(test_termination_echo),
        cmocka_unit_test(test_correlation_id), cmocka_unit_test(test_prometheus),
        cmocka_unit_test(test_registry),
    };
    return cmocka_run_group_tests(tests, loop_setup, loop_teardown);
}
