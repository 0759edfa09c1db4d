/* The schema language against recorded answers of the reference, and against its own rules. */
#include "common/clock.h"
#include "common/entities.h"
#include "common/plugins/contract.h"
#include "vectors.h"

#define NOW_US 1700000000123000u

/* ---- recorded cases ---- */

/* What the recording shows as fixed ids and random keys. */
static json_t *placeholders(const struct entity *ent, const json_t *input, json_t *answer)
{
    if (!json_object_get(input, "id"))
        json_object_set_new(answer, "id", json_string("00000000-0000-4000-8000-000000000000"));
    if (ent == &entity_keyauth_credentials && !json_object_get(input, "key"))
        json_object_set_new(answer, "key", json_string("RANDOM32"));
    return answer;
}

static json_t *insert_ok(const struct entity *ent, const json_t *input)
{
    struct violations v = {0};
    json_t *doc = NULL;

    if (schema_insert(ent, input, &doc, &v) != 0) {
        char *message = violations_message(&v);

        fail_msg("%s: %s", ent->name, message);
    }
    return doc;
}

static unsigned check_violation(const json_t *c, struct violations *v)
{
    char *message = violations_message(v);
    json_t *text = json_string(message);
    unsigned failed = vectors_differ("message", c, json_object_get(c, "message"), text);

    failed |= vectors_differ("fields", c, json_object_get(c, "fields"), v->fields);
    json_decref(text);
    free(message);
    violations_free(v);
    return failed;
}

static unsigned run_case(const json_t *c)
{
    const struct entity *ent = vectors_entity(c);
    const json_t *input = json_object_get(c, "input"), *base = json_object_get(c, "stored_from");
    json_t *stored = base ? insert_ok(ent, base) : NULL, *doc = NULL, *answer;
    struct violations v = {0};
    unsigned failed;
    int rc =
        stored ? schema_update(ent, stored, input, &doc, &v) : schema_insert(ent, input, &doc, &v);

    json_decref(stored);
    if (rc != 0) {
        failed = check_violation(c, &v);
        if (json_object_get(c, "out"))
            failed = vectors_differ("refused", c, json_object_get(c, "out"), NULL);
        return failed;
    }
    answer = schema_answer(ent, doc);
    if (json_object_get(json_object_get(c, "out"), "ttl") == NULL)
        json_object_del(answer, "ttl");
    if (json_is_string(json_object_get(c, "op")))
        placeholders(ent, input, answer);
    failed = vectors_differ("answer", c, json_object_get(c, "out"), answer);
    json_decref(answer);
    json_decref(doc);
    return failed;
}

static void run_file(const char *file)
{
    json_t *cases = vectors_load(file), *c;
    unsigned failed = 0;
    size_t i;

    clock_fake(1, NOW_US);
    json_array_foreach(cases, i, c) failed += run_case(c);
    clock_fake(0, 0);
    json_decref(cases);
    assert_int_equal(failed, 0);
}

static void test_validation(void **state)
{
    (void)state;
    run_file("validation.json");
}

static void test_wire(void **state)
{
    (void)state;
    run_file("wire.json");
}

static void drop_descriptions(json_t *value)
{
    const char *name;
    json_t *item;
    size_t i;

    if (json_is_object(value)) {
        if (json_is_string(json_object_get(value, "description")))
            json_object_del(value, "description");
        json_object_foreach(value, name, item) drop_descriptions(item);
    } else if (json_is_array(value)) {
        json_array_foreach(value, i, item) drop_descriptions(item);
    }
}

/* The check of router expressions is the reference's own; ours has none to show. */
static void drop_unknown_checks(const char *path, json_t *body)
{
    json_t *checks = json_object_get(body, "entity_checks");

    if (strcmp(path, "routes") == 0) {
        json_array_remove(checks, 2);
        json_array_remove(checks, 1);
    }
}

static void test_describe(void **state)
{
    json_t *cases = vectors_load("schemas.json"), *c;
    unsigned failed = 0;
    size_t i;

    (void)state;
    json_array_foreach(cases, i, c)
    {
        const char *path = json_string_value(json_object_get(c, "path"));
        struct str name = str_of(path);
        json_t *want = json_object_get(c, "body"), *got;

        if (str_starts(name, STR("plugins/")))
            got = plugin_contract_describe(plugin_contract_by_name(str_of(path + 8)));
        else
            got = schema_describe(entity_by_name(name));
        drop_unknown_checks(path, want);
        drop_descriptions(got);
        failed += vectors_differ(path, want, want, got);
        json_decref(got);
    }
    json_decref(cases);
    assert_int_equal(failed, 0);
}

/* ---- the tables themselves ---- */

static void check_sentence(const char *where, const char *doc)
{
    size_t len = doc ? strlen(doc) : 0;

    if (len < 3 || doc[len - 1] != '.' || doc[0] < 'A' || doc[0] > 'Z')
        fail_msg("%s: doc is not a sentence: %s", where, doc ? doc : "(none)");
}

static void walk_fields(const char *where, const struct field *fields, size_t size)
{
    for (const struct field *f = fields; f->name; f++) {
        if (f->flags & FF_RETIRED)
            continue;
        check_sentence(f->name, f->doc);
        assert_true(f->num > 0);
        assert_true(f->off < size);
        assert_true(!f->between.set || f->between.min <= f->between.max);
        for (const struct field *other = fields; other != f; other++) {
            if (other->num == f->num || strcmp(other->name, f->name) == 0)
                fail_msg("%s: %s and %s collide", where, f->name, other->name);
        }
        if (f->type == FT_RECORD)
            walk_fields(f->name, f->fields, f->size);
        assert_true((f->type != FT_ARRAY && f->type != FT_SET && f->type != FT_MAP) || f->elem);
        assert_true(f->type != FT_FOREIGN || entity_by_name(str_of(f->reference)));
    }
}

static void test_tables(void **state)
{
    (void)state;
    for (size_t i = 0; entities[i]; i++) {
        check_sentence(entities[i]->name, entities[i]->doc);
        walk_fields(entities[i]->name, entities[i]->fields, entities[i]->struct_size);
        assert_ptr_equal(entity_by_type(entities[i]->type), entities[i]);
        if (entities[i]->internal) {
            assert_null(entities[i]->path);
            assert_null(entity_by_name(str_of(entities[i]->name)));
            continue;
        }
        assert_ptr_equal(entity_by_path(str_of(entities[i]->path + 1)), entities[i]);
    }
    for (size_t i = 0; plugin_contracts[i]; i++) {
        const struct plugin_contract *c = plugin_contracts[i];

        check_sentence(c->name, c->doc);
        walk_fields(c->name, c->fields, c->conf_size);
        assert_true(i == 0 || plugin_contracts[i - 1]->priority >= c->priority);
        assert_int_equal(c->protocols_default & ~c->protocols, 0);
    }
    assert_null(entity_by_name(STR("nope")));
    assert_null(entity_by_path(STR("")));
    assert_null(plugin_contract_by_name(STR("key")));
}

/* ---- what the recordings do not show ---- */

static void test_times(void **state)
{
    json_t *in = json_pack("{s:s, s:i}", "host", "a.test", "updated_at", 5), *patch = json_object();
    json_t *doc, *now = NULL;
    struct violations v = {0};

    (void)state;
    clock_fake(1, NOW_US);
    doc = insert_ok(&entity_services, in);
    assert_int_equal(json_integer_value(json_object_get(doc, "created_at")), 1700000000);
    assert_int_equal(json_integer_value(json_object_get(doc, "updated_at")), 1700000000);
    clock_fake(1, NOW_US + 9000000u);
    assert_int_equal(schema_update(&entity_services, doc, patch, &now, &v), 0);
    assert_int_equal(json_integer_value(json_object_get(now, "created_at")), 1700000000);
    assert_int_equal(json_integer_value(json_object_get(now, "updated_at")), 1700000009);
    clock_fake(0, 0);
    json_decref(now);
    json_decref(doc);
    json_decref(patch);
    json_decref(in);
}

static void test_ttl(void **state)
{
    static const struct {
        const char *ttl, *answer;
        bool ok;
    } cases[] = {
        {"500", "499", true}, {"1", "0", true},      {"0", "null", true},
        {"null", "null", true}, {"-1", "", false},   {"1.5", "", false},
        {"\"5\"", "", false}, {"100000001", "", false},
    };
    static const unsigned parts_us[] = {0, 1, 500000, 999999};

    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(cases) * ARRAY_LEN(parts_us); k++) {
        size_t i = k / ARRAY_LEN(parts_us);
        uint64_t now = NOW_US - NOW_US % 1000000u + parts_us[k % ARRAY_LEN(parts_us)];
        json_t *ttl = json_loads(cases[i].ttl, JSON_DECODE_ANY, NULL), *doc = NULL;
        json_t *in = json_pack("{s:{s:s}, s:o}", "consumer", "id",
                               "a6d6a9b0-0000-4000-8000-000000000001", "ttl", ttl);
        struct violations v = {0};
        int rc;

        clock_fake(1, now);
        rc = schema_insert(&entity_keyauth_credentials, in, &doc, &v);
        assert_int_equal(rc == 0, cases[i].ok);
        if (rc == 0) {
            json_int_t at = json_integer_value(json_object_get(doc, "expires_at"));

            /* never before its time, less than a second behind it */
            if (at) {
                assert_true((uint64_t)at * 1000000u >= now + (uint64_t)atoi(cases[i].ttl) * 1000000u);
                assert_true((uint64_t)at * 1000000u < now + (uint64_t)(atoi(cases[i].ttl) + 1) * 1000000u);
            }
            json_t *answer = schema_answer(&entity_keyauth_credentials, doc);
            char *text = json_dumps(json_object_get(answer, "ttl"), JSON_ENCODE_ANY);

            assert_string_equal(text, cases[i].answer);
            assert_null(json_object_get(answer, "expires_at"));
            free(text);
            json_decref(answer);
        }
        violations_free(&v);
        json_decref(doc);
        json_decref(in);
    }
    clock_fake(0, 0);
}

/* entity, body, the whole message; "" means accepted */
static const struct {
    const struct entity *ent;
    const char *in, *message;
} refusals[] = {
    {&entity_keyauth_credentials,
     "{\"consumer\":{\"id\":\"a6d6a9b0-0000-4000-8000-000000000001\"},\"expires_at\":1}",
     "schema violation (expires_at: unknown field)"},
    {&entity_services, "{\"host\":\"a.test\",\"path\":\"/a%zz\"}",
     "schema violation (path: invalid url-encoded value: '%zz')"},
    {&entity_services, "{\"host\":\"a.test\",\"retries\":5.0}", ""},
    {&entity_services, "{\"host\":\"a.test\",\"retries\":1e300}",
     "schema violation (retries: expected an integer)"},
    {&entity_services, "{\"host\":\"a.test\\u0000b\"}",
     "schema violation (host: must not contain a NUL byte)"},
    {&entity_routes, "{\"paths\":[\"/a\"],\"service\":{\"name\":\"s\"}}", ""},
    {&entity_routes, "{\"paths\":[\"/a\"],\"service\":{}}",
     "schema violation (service.id: missing primary key)"},
    {&entity_plugins, "{\"name\":5}", "schema violation (name: expected a string)"},
    {&entity_plugins, "{\"name\":\"rate-limiting\",\"config\":{\"minute\":1,\"redis_port\":\"x\"}}",
     "schema violation (redis_port: expected an integer)"},
    {&entity_plugins, "{\"name\":\"rate-limiting\",\"config\":{\"minute\":1,\"sync_rate\":1}}",
     "schema violation (config: sync_rate can only be used with the redis policy)"},
    {&entity_plugins, "{\"name\":\"rate-limiting\",\"config\":{\"minute\":1,\"redis\":5}}",
     "schema violation (config.redis: expected a record)"},
    {&entity_plugins,
     "{\"name\":\"rate-limiting\",\"config\":{\"minute\":1,\"redis\":5,\"redis_host\":\"a\"}}",
     "schema violation (config.redis: expected a record)"},
    {&entity_services, "{\"host\":\"a.test\",\"tags\":{\"a\":1}}",
     "schema violation (tags: expected a set)"},
    {&entity_services, "{\"host\":\"a.test\",\"tags\":{}}", ""},
    {&entity_services, "[]", "schema violation (expected an object)"},
    {&entity_services, "{\"host\":\"a.test\",\"@entity\":1}",
     "schema violation (@entity: unknown field)"},
    {&entity_consumers, "{\"@entity\":1}",
     "2 schema violations (unknown field; at least one of these fields must be non-empty: "
     "'custom_id', 'username')"},
};

static void test_refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        json_t *in = json_loads(refusals[i].in, JSON_ALLOW_NUL, NULL), *doc = NULL;
        struct violations v = {0};
        char *message = NULL;

        assert_non_null(in);
        if (schema_insert(refusals[i].ent, in, &doc, &v) != 0)
            message = violations_message(&v);
        assert_string_equal(message ? message : "", refusals[i].message);
        free(message);
        violations_free(&v);
        json_decref(doc);
        json_decref(in);
    }
}

/* entity, stored, patch, members that the result must have */
static const struct {
    const struct entity *ent;
    const char *stored, *patch, *want;
} updates[] = {
    {&entity_consumers, "{\"username\":\"a\",\"id\":\"a6d6a9b0-0000-4000-8000-000000000001\"}",
     "{\"id\":\"a6d6a9b0-0000-4000-8000-000000000002\"}",
     "{\"id\":\"a6d6a9b0-0000-4000-8000-000000000001\"}"},
    {&entity_consumers, "{\"username\":\"a\",\"tags\":[\"x\"]}", "{\"tags\":[\"b\",\"a\",\"b\"]}",
     "{\"tags\":[\"b\",\"a\"],\"username\":\"a\"}"},
    {&entity_plugins,
     "{\"name\":\"rate-limiting\",\"config\":{\"minute\":5,\"redis\":{\"host\":\"h\"}}}",
     "{\"config\":{\"redis_host\":\"i\",\"redis_port\":7}}", "{\"name\":\"rate-limiting\"}"},
    {&entity_routes, "{\"headers\":{\"a\":[\"1\"],\"b\":[\"2\"]}}", "{\"headers\":{\"c\":[\"3\"]}}",
     "{\"headers\":{\"c\":[\"3\"]}}"},
    {&entity_upstreams, "{\"name\":\"u\",\"hash_on\":\"ip\"}", "{\"hash_on\":null}",
     "{\"hash_on\":\"none\",\"algorithm\":\"round-robin\"}"},
};

static void test_updates(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(updates); i++) {
        json_t *in = json_loads(updates[i].stored, 0, NULL), *doc = insert_ok(updates[i].ent, in);
        json_t *patch = json_loads(updates[i].patch, 0, NULL), *out = NULL, *value;
        json_t *want = json_loads(updates[i].want, 0, NULL);
        struct violations v = {0};
        const char *name;

        assert_int_equal(schema_update(updates[i].ent, doc, patch, &out, &v), 0);
        json_object_foreach(want, name, value)
        {
            if (!json_equal(value, json_object_get(out, name)))
                fail_msg("case %zu: %s differs", i, name);
        }
        json_decref(want);
        json_decref(out);
        json_decref(patch);
        json_decref(doc);
        json_decref(in);
    }
}

/* Depth, holes and quoting of tables in messages. */
static void test_messages(void **state)
{
    struct violations v = {0};
    char *message;

    (void)state;
    violations_add(&v, "a.b.c", "say \"x\"\\");
    violations_add(&v, "a.b.d", "two\nlines");
    violations_add(&v, "B", "first in byte order");
    violations_add(&v, NULL, "of all");
    message = violations_message(&v);
    assert_string_equal(message, "3 schema violations (of all; B: first in byte order; a.b: {\n"
                                 "  c = \"say \\\"x\\\"\\\\\",\n  d = [[two\nlines]]\n})");
    free(message);
    violations_free(&v);
}

static void test_ids_have_one_spelling(void **state)
{
    json_t *in = json_pack("{s:s, s:s, s:[s]}", "id", "ABCDEF00-0000-4000-8000-00000000000A", "host",
                           "a.test", "ca_certificates", "0000000B-0000-4000-8000-00000000000C");
    struct violations v = {0};
    json_t *doc = NULL;

    (void)state;
    json_object_set_new(in, "protocol", json_string("https"));
    assert_int_equal(schema_insert(&entity_services, in, &doc, &v), 0);
    assert_string_equal(json_string_value(json_object_get(doc, "id")),
                        "abcdef00-0000-4000-8000-00000000000a");
    assert_string_equal(
        json_string_value(json_array_get(json_object_get(doc, "ca_certificates"), 0)),
        "0000000b-0000-4000-8000-00000000000c");
    json_decref(doc);
    json_decref(in);
}

/* A value too long for a message may be cut, but never inside a character. */
static void test_long_values(void **state)
{
    struct violations v = {0};
    struct sbuf name = {0};
    json_t *in, *doc = NULL;

    (void)state;
    for (int shift = 0; shift < 3; shift++) {
        const char *text;

        sbuf_clear(&name);
        sbuf_add(&name, "   ", (size_t)shift + 1);
        for (int i = 0; i < 1000; i++)
            sbuf_adds(&name, "\xe2\x82\xac");
        in = json_pack("{s:s, s:s}", "host", "a.test", "name", name.p);
        assert_int_equal(schema_insert(&entity_services, in, &doc, &v), -1);
        text = json_string_value(json_object_get(v.fields, "name"));
        assert_true(text && strncmp(text, "invalid value ' ", 16) == 0);
        violations_free(&v);
        json_decref(in);
    }
    sbuf_free(&name);
}

static void test_secrets_have_flags(void **state)
{
    (void)state;
    assert_true(field_find(entity_certificates.fields, STR("key"))->flags & FF_SECRET);
    assert_true(field_find(entity_certificates.fields, STR("key_alt"))->flags & FF_SECRET);
    assert_true(field_find(entity_keyauth_credentials.fields, STR("key"))->flags & FF_CREDENTIAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_validation),
        cmocka_unit_test(test_wire),
        cmocka_unit_test(test_describe),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_ttl),
        cmocka_unit_test(test_updates),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_long_values),
        cmocka_unit_test(test_ids_have_one_spelling),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_secrets_have_flags),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
