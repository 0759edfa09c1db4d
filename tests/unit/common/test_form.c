/* Form bodies against the reference's decodings. */
#include "common/entities.h"
#include "vectors.h"

#define ARGS_MAX 32

static size_t read_args(const json_t *list, struct form_arg *args)
{
    json_t *pair;
    size_t i;

    assert_true(json_array_size(list) <= ARGS_MAX);
    json_array_foreach(list, i, pair)
    {
        args[i].name = json_str(json_array_get(pair, 0));
        args[i].value = json_str(json_array_get(pair, 1));
    }
    return json_array_size(list);
}

static void test_vectors(void **state)
{
    json_t *cases = vectors_load("form.json"), *c;
    unsigned failed = 0;
    size_t i;

    (void)state;
    json_array_foreach(cases, i, c)
    {
        struct form_arg args[ARGS_MAX];
        size_t n = read_args(json_object_get(c, "args"), args);
        struct err e = {0};
        json_t *doc = form_decode(vectors_entity(c), args, n, NULL, &e);

        assert_non_null(doc);
        failed += vectors_differ("decoded", c, json_object_get(c, "decoded"), doc);
        json_decref(doc);
    }
    json_decref(cases);
    assert_int_equal(failed, 0);
}

/* entity, arguments as JSON, document; NULL: refused */
static const struct {
    const struct entity *ent;
    const char *args, *stored, *want;
} cases[] = {
    {&entity_plugins, "[[\"config.key_names\",\"b\"]]", "{\"name\":\"key-auth\"}",
     "{\"config\":{\"key_names\":[\"b\"]}}"},
    {&entity_plugins, "[[\"name\",\"cors\"],[\"config.max_age\",\"60\"]]",
     "{\"name\":\"key-auth\"}", "{\"name\":\"cors\",\"config\":{\"max_age\":60}}"},
    {&entity_keyauth_credentials, "[[\"ttl\",\"60\"]]", NULL, "{\"ttl\":60}"},
    {&entity_consumers, "[[\"tags[2]\",\"b\"],[\"tags[1]\",\"a\"]]", NULL,
     "{\"tags\":[\"a\",\"b\"]}"},
    {&entity_plugins, "[[\"name\",\"rate-limiting\"],[\"config.redis_port\",\"7\"]]", NULL,
     "{\"name\":\"rate-limiting\",\"config\":{\"redis_port\":7}}"},
    {NULL, "[[\"a.b\",\"1\"],[\"c[]\",\"true\"]]", NULL, "{\"a\":{\"b\":\"1\"},\"c\":[\"true\"]}"},
    {NULL, "[[\"a\",\"1\"],[\"a.b\",\"2\"]]", NULL, "{\"a\":{\"b\":\"2\"}}"},
    {NULL, "[[\"a[b\",\"1\"]]", NULL, "{\"a\":{\"[b\":\"1\"}}"},
    {NULL, "[[\"\",\"1\"]]", NULL, "{}"},
    {NULL, "[[\"a[1001]\",\"1\"]]", NULL, "{\"a\":{\"1001\":\"1\"}}"},
    {NULL, "[[\"a[3]\",\"1\"],[\"a[2]\",\"2\"]]", NULL, "{\"a\":[null,\"2\",\"1\"]}"},
    {NULL, "[[\"a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a\",\"1\"]]", NULL, NULL},
};

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        json_t *list = json_loads(cases[i].args, 0, NULL);
        json_t *stored = cases[i].stored ? json_loads(cases[i].stored, 0, NULL) : NULL;
        struct form_arg args[ARGS_MAX];
        size_t n = read_args(list, args);
        struct err e = {0};
        json_t *doc = form_decode(cases[i].ent, args, n, stored, &e);
        char *text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;

        if (cases[i].want)
            assert_string_equal(text ? text : e.message, cases[i].want);
        else
            assert_null(doc);
        free(text);
        json_decref(doc);
        json_decref(stored);
        json_decref(list);
    }
}

static void test_bytes(void **state)
{
    struct form_arg bad_value = {STR("name"), STR("\xff")}, bad_name = {STR("\xc3"), STR("a")};
    struct form_arg nul = {STR("a\0b"), STR("c")};
    struct err e = {0};

    (void)state;
    assert_null(form_decode(&entity_services, &bad_value, 1, NULL, &e));
    assert_null(form_decode(&entity_services, &bad_name, 1, NULL, &e));
    assert_null(form_decode(&entity_services, &nul, 1, NULL, &e));
}

/* A name of a hundred bytes must not make fifteen lists of a thousand holes each. */
static void test_holes_are_bounded(void **state)
{
    struct form_arg arg = {.value = STR("1")};
    struct sbuf name = {0};
    struct err e = {0};

    (void)state;
    sbuf_addc(&name, 'a');
    for (int i = 0; i < 15; i++)
        sbuf_adds(&name, "[1000]");
    arg.name = sbuf_str(&name);
    assert_null(form_decode(NULL, &arg, 1, NULL, &e));
    assert_int_equal(e.code, ERR_LIMIT);
    sbuf_free(&name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_holes_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
