/* test_plugins_key_auth.c - where keys are looked for, what is hidden, who is let in. */
#include "tests/unit/dataplane/loopback.h"

#define NO_KEY    "No API key found in request"
#define DUPLICATE "Duplicate API key found"
#define REFUSED   "Unauthorized"
#define FORM                                                \
    {                                                       \
        "Content-Type", "application/x-www-form-urlencoded" \
    }
#define JSON                                              \
    {                                                     \
        "Content-Type", "application/json; charset=utf-8" \
    }
#define MULTIPART                                         \
    {                                                     \
        "Content-Type", "multipart/form-data; boundary=b" \
    }
#define PART(name, value) \
    "--b\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n" value "\r\n"

struct c_case {
    const char *config, *method, *target;
    struct loop_field headers[3];
    const char *body;
    /* expected */
    unsigned status;                                    /* 0: let in */
    const char *message;                                /* of the refusal */
    const char *username;                               /* X-Consumer-Username that goes upstream */
    const char *target_query, *apikey_sent, *body_sent; /* NULL: not looked at; "-": absent */
};

#define PLAIN "{}"
#define HIDE  "{\"hide_credentials\": true, \"key_in_body\": true}"
#define BODY  "{\"key_in_body\": true}"

/* clang-format off */
static const struct c_case cases[] = {
    {PLAIN, "GET", "/", {{0}}, NULL, 401, NO_KEY},
    {PLAIN, "GET", "/", {{"apikey", "key-one"}}, NULL, 0, NULL, "ann", NULL, "key-one"},
    {PLAIN, "GET", "/", {{"APIKEY", "key-one"}}, NULL, 0, NULL, "ann"},
    {PLAIN, "GET", "/?apikey=key-one&a=b", {{0}}, NULL, 0, NULL, "ann", "apikey=key-one&a=b"},
    {PLAIN, "GET", "/?apike%79=key%2Done", {{0}}, NULL, 0, NULL, "ann"},
    {PLAIN, "GET", "/", {{"apikey", "wrong"}}, NULL, 401, REFUSED},
    {PLAIN, "GET", "/", {{"apikey", ""}}, NULL, 401, NO_KEY},
    {PLAIN, "GET", "/?apikey", {{0}}, NULL, 401, NO_KEY},
    {PLAIN, "GET", "/?apikey=key-one&apikey=key-one", {{0}}, NULL, 401, DUPLICATE},
    {PLAIN, "GET", "/", {{"apikey", "key-one"}, {"apikey", "key-one"}}, NULL, 401, DUPLICATE},
    {PLAIN, "GET", "/?apikey=wrong", {{"apikey", "key-one"}}, NULL, 0, NULL, "ann"},
    {PLAIN, "POST", "/", {FORM}, "apikey=key-one", 401, NO_KEY},
    {PLAIN, "OPTIONS", "/", {{0}}, NULL, 401, NO_KEY},
    {PLAIN, "GET", "/", {{"apikey", "orphan"}}, NULL, 401, REFUSED},
    {PLAIN, "GET", "/", {{"X-Consumer-Username", "fake"}, {"apikey", "key-one"}}, NULL, 0, NULL, "ann"},
    {"{\"run_on_preflight\": false}", "OPTIONS", "/", {{0}}, NULL, 0},
    {"{\"key_in_header\": false}", "GET", "/", {{"apikey", "key-one"}}, NULL, 401, NO_KEY},
    {"{\"key_in_query\": false}", "GET", "/?apikey=key-one", {{0}}, NULL, 401, NO_KEY},
    {"{\"key_names\": [\"a\", \"b\"]}", "GET", "/?a=key-one", {{"b", "wrong"}}, NULL, 0, NULL, "ann"},

    {HIDE, "GET", "/", {{"apikey", "key-one"}}, NULL, 0, NULL, "ann", NULL, "-"},
    {HIDE, "GET", "/?a=1&apikey=key-one&b=2", {{0}}, NULL, 0, NULL, "ann", "a=1&b=2"},
    {HIDE, "GET", "/?apikey=key-one", {{0}}, NULL, 0, NULL, "ann", "-"},
    {HIDE, "POST", "/", {FORM}, "a=1&apikey=key-one", 0, NULL, "ann", NULL, NULL, "a=1"},
    {HIDE, "POST", "/", {JSON}, "{\"a\": 1, \"apikey\": \"key-one\"}", 0, NULL, "ann", NULL, NULL, "{\"a\":1}"},
    {HIDE, "POST", "/", {MULTIPART}, PART("apikey", "key-one") PART("z", "1") "--b--\r\n", 0, NULL, "ann",
     NULL, NULL, PART("z", "1") "--b--\r\n"},
    {BODY, "POST", "/", {MULTIPART}, "preamble\r\n" PART("z", "1") PART("apikey", "key-one") "--b--", 0, NULL, "ann"},
    {BODY, "POST", "/", {MULTIPART}, PART("apikey", "key-one"), 401, NO_KEY},
    {BODY, "POST", "/", {MULTIPART}, "--b\r\n--b\r\n--b--", 401, NO_KEY},
    {BODY, "POST", "/", {FORM}, "apikey=key-one&apikey=x", 401, DUPLICATE},
    {BODY, "POST", "/", {JSON}, "{\"apikey\": [\"key-one\"]}", 401, DUPLICATE},
    {BODY, "POST", "/", {JSON}, "{\"apikey\": 1}", 401, NO_KEY},
    {BODY, "POST", "/", {JSON}, "{\"apikey\": \"key-one\"", 401, NO_KEY},
    {BODY, "POST", "/", {JSON}, "[\"apikey\"]", 401, NO_KEY},
    {BODY, "POST", "/", {{"Content-Type", "text/plain"}}, "apikey=key-one", 401, NO_KEY},
};
/* clang-format on */

static const char *expected(const char *text)
{
    return strcmp(text, "-") == 0 ? NULL : text;
}

static void check(const struct c_case *c, bool body_later)
{
    struct loop *l = loop_new();
    struct c_consumer *ann = loop_consumer(l, "ann", "ann-cid");

    loop_key(l, ann, "key-one");
    loop_key(l, NULL, "orphan");
    loop_plugin(l, "key-auth", c->config, ON_ROUTE, NULL);
    loop_request(l, c->method, c->target, c->headers, c->body);
    l->body_later = body_later;
    loop_run(l, NO_HEADERS);

    if (c->status) {
        assert_int_equal(l->verdict, V_ANSWER);
        assert_int_equal(l->x.resp.status, c->status);
        assert_string_equal(l->message, c->message);
        assert_resp(l, "WWW-Authenticate", "Key");
    } else {
        assert_int_equal(l->verdict, V_NEXT);
        assert_sent(l, "X-Consumer-Username", c->username);
        assert_sent(l, "X-Anonymous-Consumer", NULL);
        assert_int_equal(l->x.authenticated, c->username != NULL);
    }
    if (c->target_query)
        assert_text(l->x.req.query, expected(c->target_query));
    if (c->apikey_sent)
        assert_sent(l, "apikey", expected(c->apikey_sent));
    if (c->body_sent)
        assert_text(l->body, expected(c->body_sent));
    loop_free(&l);
}

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        print_message("case %zu: %s %s %s\n", i, cases[i].config, cases[i].method, cases[i].target);
        check(&cases[i], false);
        if (cases[i].body && strstr(cases[i].config, "body") &&
            !strstr(cases[i].headers[0].value, "plain"))
            check(&cases[i], true);
    }
}

static void test_headers_of_a_consumer(void **state)
{
    struct loop *l = loop_new();
    struct c_consumer *ann = loop_consumer(l, "ann", "ann-cid");
    const struct c_credential *key = loop_key(l, ann, "k");
    char id[UUID_TEXT_LEN + 1];

    (void)state;
    loop_plugin(l, "key-auth", "{\"realm\": \"my realm\"}", ON_ROUTE, NULL);
    loop_request(l, "GET", "/", HEADERS({"apikey", "k"}, {"X-Anonymous-Consumer", "true"}), NULL);
    loop_run(l, NO_HEADERS);
    uuid_format(&ann->def.id, id);
    assert_sent(l, "X-Consumer-ID", id);
    assert_sent(l, "X-Consumer-Custom-ID", "ann-cid");
    uuid_format(&key->def.id, id);
    assert_sent(l, "X-Credential-Identifier", id);
    assert_sent(l, "X-Anonymous-Consumer", NULL);
    assert_ptr_equal(l->x.consumer, ann);

    loop_request(l, "GET", "/", NO_HEADERS, NULL);
    loop_run(l, NO_HEADERS);
    assert_resp(l, "WWW-Authenticate", "Key realm=\"my realm\"");
    loop_free(&l);
}

static void test_anonymous(void **state)
{
    struct loop *l = loop_new();
    struct c_consumer *ann = loop_consumer(l, "ann", NULL);

    (void)state;
    loop_consumer(l, "anon", "anon-cid");
    loop_key(l, ann, "k");
    loop_plugin(l, "key-auth", "{\"anonymous\": \"anon\"}", ON_ROUTE, NULL);

    loop_request(l, "GET", "/", HEADERS({"X-Credential-Identifier", "fake"}, {"apikey", "wrong"}),
                 NULL);
    loop_run(l, NO_HEADERS);
    assert_int_equal(l->verdict, V_NEXT);
    assert_sent(l, "X-Anonymous-Consumer", "true");
    assert_sent(l, "X-Consumer-Username", "anon");
    assert_sent(l, "X-Credential-Identifier", NULL);
    assert_false(l->x.authenticated);

    loop_request(l, "GET", "/", HEADERS({"apikey", "k"}), NULL);
    loop_run(l, NO_HEADERS);
    assert_sent(l, "X-Consumer-Username", "ann");
    assert_sent(l, "X-Consumer-Custom-ID", NULL);
    assert_true(l->x.authenticated);
    loop_free(&l);

    l = loop_new();
    loop_plugin(l, "key-auth", "{\"anonymous\": \"66666666-7777-4888-8999-000000000001\"}",
                ON_ROUTE, NULL);
    loop_request(l, "GET", "/", NO_HEADERS, NULL);
    loop_run(l, NO_HEADERS);
    assert_int_equal(l->x.resp.status, 500);
    assert_string_equal(l->message, "An unexpected error occurred");
    loop_free(&l);
}

/* Every arena cap: the request is answered or let in, and nothing is read out of bounds. */
static void test_memory_runs_out(void **state)
{
    unsigned answered = 0, let_in = 0;

    (void)state;
    for (size_t cap = 64; cap < 8192; cap += 64) {
        struct loop *l = loop_new();

        loop_key(l, loop_consumer(l, "ann", "ann-cid"), "key-one");
        loop_plugin(l, "key-auth", HIDE, ON_ROUTE, NULL);
        loop_request(l, "POST", "/?apikey=key-one&a=1", NO_HEADERS, NULL);
        l->x.arena.cap_bytes = l->x.arena.used_bytes + cap;
        loop_run(l, NO_HEADERS);
        if (l->verdict == V_ANSWER) {
            assert_int_equal(l->x.resp.status, 500);
            answered++;
        } else {
            assert_sent(l, "X-Consumer-Username", "ann");
            let_in++;
        }
        loop_free(&l);
    }
    assert_true(answered > 0 && let_in > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_headers_of_a_consumer),
        cmocka_unit_test(test_anonymous),
        cmocka_unit_test(test_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, loop_setup, loop_teardown);
}
