/* The store with the gateway's own entities, as schema_insert makes them. */
#include "test_store_fixture.h"

#define S1 "00000000-0000-4000-8000-000000000004"
#define R1 "00000000-0000-4000-8000-000000000005"
#define C1 "00000000-0000-4000-8000-000000000001"
#define U1 "00000000-0000-4000-8000-000000000007"

static const struct {
    const struct entity *ent;
    const char *in;
} rows[] = {
    {&entity_consumers, "{\"id\":\"" C1 "\",\"username\":\"ann\",\"tags\":[\"a\"]}"},
    {&entity_services, "{\"id\":\"" S1 "\",\"name\":\"s\",\"host\":\"a.test\"}"},
    {&entity_routes,
     "{\"id\":\"" R1 "\",\"name\":\"r\",\"paths\":[\"/r\"],\"service\":{\"id\":\"" S1 "\"},"
     "\"headers\":{\"x-a\":[\"1\",\"2\"]},\"sources\":null}"},
    {&entity_upstreams, "{\"id\":\"" U1 "\",\"name\":\"u.test\"}"},
    {&entity_targets, "{\"target\":\"10.0.0.1:80\",\"upstream\":{\"id\":\"" U1 "\"}}"},
    {&entity_targets, "{\"target\":\"10.0.0.2\",\"upstream\":{\"id\":\"" U1 "\"}}"},
    {&entity_plugins, "{\"name\":\"rate-limiting\",\"config\":{\"minute\":5}}"},
    {&entity_plugins,
     "{\"name\":\"rate-limiting\",\"config\":{\"minute\":5},\"service\":{\"id\":\"" S1 "\"}}"},
    {&entity_plugins, "{\"name\":\"cors\",\"route\":{\"id\":\"" R1 "\"}}"},
    {&entity_keyauth_credentials, "{\"key\":\"k\",\"consumer\":{\"id\":\"" C1 "\"}}"},
};

static json_t *make(const struct entity *ent, const char *text)
{
    json_t *in = json_loads(text, 0, NULL), *doc = NULL;
    struct violations v = {0};

    assert_non_null(in);
    if (schema_insert(ent, in, &doc, &v) != 0)
        fail_msg("%s: %s", text, violations_message(&v));
    json_decref(in);
    return doc;
}

static int setup(void **state)
{
    struct fixture *f;
    struct err e = {0};

    fixture_setup(state);
    f = *state;
    store_close(&f->s);
    unlink(f->file);
    if (store_open(f->file, &f->s, &e) != 0)
        fail_msg("store_open: %s", err_text(&e));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(must(f->s, OP_INSERT, rows[i].ent, make(rows[i].ent, rows[i].in)), i + 1);
    return 0;
}

/* A stored row, shown to a client, is the document that was written, shown to a client. */
static void all_fields_come_back(void **state)
{
    struct fixture *f = *state;

    must_agree(f->s);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        json_t *doc = make(rows[i].ent, rows[i].in), *got, *want, *have;
        struct row_ref ref = {.id = uuid_n(99, (unsigned)i)};
        struct problem p = {0};

        json_object_set_new(doc, "id", json_string(id_n(99, (unsigned)i)));
        must_delete(f->s, rows[i].ent, ref.id);
        for (const struct field *fd = rows[i].ent->fields; fd->name; fd++)
            if (fd->flags & FF_UNIQUE && json_is_string(json_object_get(doc, fd->name)))
                json_object_set_new(doc, fd->name, json_string("another"));
        if (rows[i].ent == &entity_plugins)
            json_object_set_new(doc, "consumer", json_pack("{s:s}", "id", C1));
        if (rows[i].ent == &entity_targets)
            json_object_set_new(doc, "target", json_string(i % 2 ? "10.1.0.1:80" : "10.1.0.2:80"));
        must(f->s, OP_INSERT, rows[i].ent, json_incref(doc));
        assert_int_equal(store_get(f->s, rows[i].ent, &ref, &got, &p), 1);
        want = schema_answer(rows[i].ent, doc);
        have = schema_answer(rows[i].ent, got);
        if (!json_equal(want, have)) {
            char *a = json_dumps(have, JSON_SORT_KEYS), *b = json_dumps(want, JSON_SORT_KEYS);

            fail_msg("%s:\n%s\nexpected\n%s", rows[i].ent->name, a, b);
        }
        json_decref(want);
        json_decref(have);
        json_decref(got);
        json_decref(doc);
    }
    must_agree(f->s);
}

static void rules_between_entities(void **state)
{
    struct fixture *f = *state;
    struct uuid id;
    struct problem p;

    uuid_parse(STR(S1), &id);
    assert_int_equal(do_op(f->s, OP_DELETE, &entity_services, NULL, id, &p), 0);
    assert_string_equal(p.message, "an existing 'routes' entity references this 'services' entity");
    problem_free(&p);

    assert_int_equal(
        do_op(f->s, OP_INSERT, &entity_plugins,
              make(&entity_plugins, "{\"name\":\"rate-limiting\",\"config\":{\"hour\":5},"
                                    "\"service\":{\"id\":\"" S1 "\"}}"),
              id, &p),
        0);
    assert_string_equal(p.message, "UNIQUE violation detected on '{consumer=null,"
                                   "name=\"rate-limiting\",route=null,service={id=\"" S1 "\"}}'");
    problem_free(&p);

    assert_int_equal(do_op(f->s, OP_INSERT, &entity_targets,
                           make(&entity_targets,
                                "{\"target\":\"10.0.0.1:80\",\"upstream\":{\"id\":\"" U1 "\"}}"),
                           id, &p),
                     0);
    assert_string_equal(p.message, "UNIQUE violation detected on '{target=\"10.0.0.1:80\","
                                   "upstream={id=\"" U1 "\"}}'");
    problem_free(&p);

    assert_int_equal(must_agree(f->s), ARRAY_LEN(rows));
    uuid_parse(STR(R1), &id);
    must_delete(f->s, &entity_routes, id); /* and its cors */
    uuid_parse(STR(S1), &id);
    must_delete(f->s, &entity_services, id); /* and its rate-limiting */
    uuid_parse(STR(U1), &id);
    must_delete(f->s, &entity_upstreams, id); /* and two targets */
    uuid_parse(STR(C1), &id);
    must_delete(f->s, &entity_consumers, id); /* and its key */
    assert_int_equal(must_agree(f->s), 1);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(all_fields_come_back),
        T(rules_between_entities),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
