/* test_plugins_chain.c - order, scopes, waiting, abort, observe mode, early edits. */
#include "tests/unit/dataplane/loopback.h"

/* ---- plugins that write down what happens to them ---- */

struct probe_conf {
    const char *name;
    enum verdict first, later; /* of on_access: of the first call, of calls after a wait */
    bool resume_at_once;
};

static struct sbuf trace;

static void note(const struct probe_conf *conf, const char *what)
{
    sbuf_addf(&trace, "%s%s:%s", trace.len ? " " : "", conf->name, what);
}

static enum verdict probe_rewrite(struct exchange *x, const void *conf)
{
    (void)x;
    note(conf, "rewrite");
    return V_NEXT;
}

static enum verdict probe_access(struct exchange *x, const void *conf_)
{
    const struct probe_conf *conf = conf_;
    unsigned *calls = plugin_scratch(x, sizeof(*calls));
    enum verdict v = (*calls)++ == 0 ? conf->first : conf->later;

    note(conf, "access");
    plugin_resp_header_add(x, STR("X-Seen"), str_of(conf->name));
    if (v == V_WAIT && conf->resume_at_once)
        plugin_resume(x);
    return v == V_ANSWER ? plugin_error(x, 418, conf->name) : v;
}

static void probe_header_filter(struct exchange *x, const void *conf)
{
    (void)x;
    note(conf, "header");
}

static void probe_body_filter(struct exchange *x, const void *conf, struct str *piece, bool last)
{
    note(conf, last ? "last" : "body");
    *piece = plugin_printf(x, "<" STR_FMT ">", STR_ARG(*piece));
}

static void probe_log(struct exchange *x, const void *conf)
{
    (void)x;
    note(conf, "log");
}

static void probe_abort(struct exchange *x, const void *conf)
{
    (void)x;
    note(conf, "abort");
}

/* Three names, in this order, around an authenticating one. */
#define ALL_PHASES                                                                                \
    (PH_BIT(PH_REWRITE) | PH_BIT(PH_ACCESS) | PH_BIT(PH_HEADER_FILTER) | PH_BIT(PH_BODY_FILTER) | \
     PH_BIT(PH_LOG))
static const struct plugin_contract contracts[] = {{.name = "a", .phases = ALL_PHASES},
                                                   {.name = "b", .phases = ALL_PHASES},
                                                   {.name = "c", .phases = ALL_PHASES}};
#define OPS(i)                                                                             \
    {                                                                                      \
        .contract = &contracts[i], .on_rewrite = probe_rewrite, .on_access = probe_access, \
        .on_header_filter = probe_header_filter, .on_body_filter = probe_body_filter,      \
        .on_log = probe_log, .on_abort = probe_abort                                       \
    }
static const struct plugin_ops probes[] = {OPS(0), OPS(1), OPS(2)};

/* key-auth is at 2 in plugin_list: behind a, in front of b and c. */
static struct c_plugin *probe(struct loop *l, int which, const struct probe_conf *conf,
                              unsigned bound, struct c_consumer *consumer)
{
    return loop_row(l, &probes[which], conf, (uint32_t)which * 10, bound, consumer);
}

static void start(struct loop *l, const char *target)
{
    sbuf_clear(&trace);
    loop_request(l, "GET", target, NO_HEADERS, NULL);
}

#define assert_trace(expected) assert_string_equal(trace.p ? trace.p : "", expected)

static const struct probe_conf conf_a = {"a", V_NEXT, V_NEXT}, conf_b = {"b", V_NEXT, V_NEXT},
                               conf_c = {"c", V_NEXT, V_NEXT}, answers = {"b", V_ANSWER, V_ANSWER},
                               waits = {"b", V_WAIT, V_NEXT},
                               waits_then_answers = {"b", V_WAIT, V_ANSWER},
                               at_once = {"b", V_WAIT, V_NEXT, true};

static void test_order_of_phases(void **state)
{
    struct loop *l = loop_new();
    struct str piece = STR("x");

    (void)state;
    probe(l, 2, &conf_c, ON_ROUTE, NULL);
    probe(l, 0, &conf_a, ON_GLOBAL, NULL);
    start(l, "/");
    l->verdict = chain_start(&l->x, PH_REWRITE);
    assert_int_equal(l->verdict, V_NEXT);
    l->verdict = chain_start(&l->x, PH_ACCESS);
    l->x.resp = (struct resp_head){.status = 200};
    chain_header_filter(&l->x);
    chain_body_filter(&l->x, &piece, false);
    assert_text(piece, "<<x>>");
    chain_body_filter(&l->x, &piece, true);
    chain_log(&l->x);
    assert_trace(
        "a:rewrite a:access c:access a:header c:header a:body c:body a:last c:last a:log c:log");
    loop_free(&l);
}

/* Who answers skips the other access callbacks and nothing else. */
static void test_answer_skips_access_only(void **state)
{
    struct loop *l = loop_new();

    (void)state;
    probe(l, 0, &conf_a, ON_ROUTE, NULL);
    probe(l, 1, &answers, ON_ROUTE, NULL);
    probe(l, 2, &conf_c, ON_ROUTE, NULL);
    start(l, "/");
    loop_run(l, NO_HEADERS);
    assert_trace("a:access b:access a:header b:header c:header a:log b:log c:log");
    assert_int_equal(l->x.resp.status, 418);
    assert_resp(l, "X-Seen", "a"); /* what came before the answer is on it */
    loop_free(&l);
}

static void test_no_route_runs_global_rows(void **state)
{
    struct loop *l = loop_new();

    (void)state;
    probe(l, 0, &conf_a, ON_GLOBAL, NULL);
    probe(l, 2, &conf_c, ON_ROUTE, NULL);
    start(l, "/");
    l->x.match = (struct route_match){0};
    plugin_error(&l->x, 404, "no Route matched with those values");
    l->verdict = V_ANSWER;
    loop_respond(l, NO_HEADERS);
    assert_trace("a:header a:log");
    loop_free(&l);
}

/* ---- scopes (proxying.md section 7) ---- */

static void test_which_row_wins(void **state)
{
    /* in the order of precedence: each beats all that follow */
    static const struct {
        unsigned bound;
        bool consumer;
    } ranks[] = {{ON_ROUTE | ON_SERVICE, true},
                 {ON_ROUTE, true},
                 {ON_SERVICE, true},
                 {ON_ROUTE | ON_SERVICE, false},
                 {ON_GLOBAL, true},
                 {ON_ROUTE, false},
                 {ON_SERVICE, false},
                 {ON_GLOBAL, false}};

    (void)state;
    for (size_t best = 0; best < ARRAY_LEN(ranks); best++) {
        for (size_t other = best + 1; other < ARRAY_LEN(ranks); other++) {
            struct loop *l = loop_new();
            struct c_consumer *ann = loop_consumer(l, "ann", NULL);
            const struct probe_conf wins = {"wins", V_NEXT, V_NEXT},
                                    loses = {"loses", V_NEXT, V_NEXT};

            if (!ranks[best].consumer && !ranks[other].consumer) {
                loop_free(&l); /* merged by the compiler already */
                continue;
            }
            loop_key(l, ann, "k");
            loop_plugin(l, "key-auth", "{}", ON_ROUTE, NULL);
            probe(l, 2, &wins, ranks[best].bound, ranks[best].consumer ? ann : NULL);
            probe(l, 2, &loses, ranks[other].bound, ranks[other].consumer ? ann : NULL);
            start(l, "/?apikey=k");
            l->config.global.n = 0; /* rewrite is not asked for here */
            loop_run(l, NO_HEADERS);
            assert_trace("wins:access wins:header wins:log");
            loop_free(&l);
        }
    }
}

static void test_rows_of_another_route_do_not_join(void **state)
{
    struct loop *l = loop_new();
    struct c_consumer *ann = loop_consumer(l, "ann", NULL);
    struct c_plugin *p;

    (void)state;
    loop_key(l, ann, "k");
    loop_plugin(l, "key-auth", "{}", ON_ROUTE, NULL);
    p = probe(l, 2, &conf_c, ON_ROUTE, ann);
    p->def.route = loop_uuid(0x555);
    p = probe(l, 1, &conf_b, ON_SERVICE, ann);
    p->def.service = loop_uuid(0x556);
    start(l, "/?apikey=k");
    loop_run(l, NO_HEADERS);
    assert_trace("");
    loop_free(&l);
}

/* A consumer's row of a plugin that has been passed does not run, and does not replace it. */
static void test_passed_plugins_stay(void **state)
{
    static const struct probe_conf consumers = {"consumer", V_NEXT, V_NEXT};
    struct loop *l = loop_new();
    struct c_consumer *ann = loop_consumer(l, "ann", NULL);

    (void)state;
    loop_key(l, ann, "k");
    probe(l, 0, &conf_a, ON_ROUTE, NULL);
    loop_plugin(l, "key-auth", "{}", ON_ROUTE, NULL);
    probe(l, 0, &consumers, ON_GLOBAL, ann);
    probe(l, 1, &consumers, ON_GLOBAL, ann);
    start(l, "/?apikey=k");
    loop_run(l, NO_HEADERS);
    assert_trace("a:access consumer:access a:header consumer:header a:log consumer:log");
    loop_free(&l);
}

/* ---- waiting ---- */

static void test_wait_and_resume(void **state)
{
    static const struct {
        const struct probe_conf *conf;
        enum verdict end;
        const char *trace;
    } cases[] = {{&waits, V_NEXT, "a:access b:access b:access c:access"},
                 {&waits_then_answers, V_ANSWER, "a:access b:access b:access"}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct loop *l = loop_new();

        probe(l, 0, &conf_a, ON_ROUTE, NULL);
        probe(l, 1, cases[i].conf, ON_ROUTE, NULL);
        probe(l, 2, &conf_c, ON_ROUTE, NULL);
        start(l, "/");
        assert_int_equal(chain_start(&l->x, PH_ACCESS), V_WAIT);
        assert_int_equal(l->resumes, 0);
        plugin_resume(&l->x);
        assert_int_equal(l->resumes, 1);
        assert_int_equal(chain_go_on(&l->x), cases[i].end);
        assert_trace(cases[i].trace);
        loop_free(&l);
    }
}

static void test_resume_before_wait_is_returned(void **state)
{
    struct loop *l = loop_new();

    (void)state;
    probe(l, 1, &at_once, ON_ROUTE, NULL);
    start(l, "/");
    assert_int_equal(chain_start(&l->x, PH_ACCESS), V_NEXT);
    assert_int_equal(l->resumes, 0); /* the engine was never told to wait */
    assert_trace("b:access b:access");
    loop_free(&l);
}

static void test_abort_tells_the_waiting_plugin_once(void **state)
{
    struct loop *l = loop_new();

    (void)state;
    probe(l, 0, &conf_a, ON_ROUTE, NULL);
    probe(l, 1, &waits, ON_ROUTE, NULL);
    start(l, "/");
    assert_int_equal(chain_start(&l->x, PH_ACCESS), V_WAIT);
    chain_abort(&l->x);
    chain_abort(&l->x);
    chain_log(&l->x);
    assert_trace("a:access b:access b:abort a:log b:log");
    loop_free(&l);
}

/* ---- observe mode ---- */

static void test_observe_lets_pass(void **state)
{
    struct loop *l = loop_new();
    struct str name = STR("b");
    int64_t before = metric_read_with(M_PLUGIN_OBSERVED, &name);

    (void)state;
    probe(l, 0, &conf_a, ON_ROUTE, NULL);
    probe(l, 1, &answers, ON_ROUTE, NULL)->observe = true;
    probe(l, 2, &conf_c, ON_ROUTE, NULL);
    start(l, "/");
    loop_run(l, NO_HEADERS);
    assert_int_equal(l->verdict, V_NEXT);
    assert_int_equal(l->x.resp.status, 200);
    assert_false(l->x.answered);
    assert_trace("a:access b:access c:access a:header b:header c:header a:log b:log c:log");
    assert_int_equal(l->x.resp.headers.n, 2); /* of a and c; b's went with its answer */
    assert_int_equal(metric_read_with(M_PLUGIN_OBSERVED, &name), before + 1);
    loop_free(&l);
}

/* ---- response fields before the response ---- */

static void test_early_edits(void **state)
{
    struct loop *l = loop_new();
    struct exchange *x = &l->x;

    (void)state;
    start(l, "/");
    assert_int_equal(chain_start(x, PH_ACCESS), V_NEXT);
    plugin_resp_header_set(x, STR("X-A"), STR("1"));
    plugin_resp_header_set(x, STR("x-a"), STR("2"));
    plugin_resp_header_add(x, STR("X-B"), STR("1"));
    plugin_resp_header_remove(x, STR("X-C"));
    assert_text(plugin_resp_header(x, STR("X-A")), "2");
    assert_text(plugin_resp_header(x, STR("X-C")), NULL);
    l->verdict = V_NEXT;
    loop_respond(l, HEADERS({"X-A", "up"}, {"X-B", "up"}, {"X-C", "up"}));
    assert_resp(l, "X-A", "2");
    assert_resp(l, "X-B", "up");
    assert_resp(l, "X-C", NULL);
    assert_int_equal(l->x.run.phase, PH_LOG);
    loop_free(&l);
}

static int teardown(void **state)
{
    sbuf_free(&trace);
    return loop_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_of_phases),
        cmocka_unit_test(test_answer_skips_access_only),
        cmocka_unit_test(test_no_route_runs_global_rows),
        cmocka_unit_test(test_which_row_wins),
        cmocka_unit_test(test_rows_of_another_route_do_not_join),
        cmocka_unit_test(test_passed_plugins_stay),
        cmocka_unit_test(test_wait_and_resume),
        cmocka_unit_test(test_resume_before_wait_is_returned),
        cmocka_unit_test(test_abort_tells_the_waiting_plugin_once),
        cmocka_unit_test(test_observe_lets_pass),
        cmocka_unit_test(test_early_edits),
    };
    return cmocka_run_group_tests(tests, loop_setup, teardown);
}
