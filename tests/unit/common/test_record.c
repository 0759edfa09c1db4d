/* Documents to the wire and back, hostile bytes, and the printed .proto file. */
#include "common/clock.h"
#include "common/entities.h"
#include "common/plugins/contract.h"
#include "common/plugins/rate_limiting.h"
#include "common/rand.h"
#include "vectors.h"

static json_t *insert_ok(const struct entity *ent, const json_t *input)
{
    struct violations v = {0};
    json_t *doc = NULL;

    assert_int_equal(schema_insert(ent, input, &doc, &v), 0);
    return doc;
}

static json_t *insert_text(const struct entity *ent, const char *text)
{
    json_t *in = json_loads(text, 0, NULL), *doc;

    assert_non_null(in);
    doc = insert_ok(ent, in);
    json_decref(in);
    return doc;
}

static struct uuid id_of(const json_t *doc)
{
    struct uuid id;

    assert_true(uuid_parse(json_str(json_object_get(doc, "id")), &id));
    return id;
}

static void encode(const struct entity *ent, const json_t *doc, struct sbuf *out)
{
    struct err e = {0};

    if (record_encode(ent, doc, out, &e) != 0)
        fail_msg("%s: %s", ent->name, err_text(&e));
}

/* What the wire does not carry: empty lists look like absent ones, transient fields go. */
static json_t *without_empties(json_t *value)
{
    const char *name;
    json_t *item;
    size_t i;

    if (json_is_object(value)) {
        json_t *out = json_object();

        json_object_foreach(value, name, item)
        {
            item = without_empties(item);
            if (json_is_null(item) || ((json_is_array(item) || json_is_object(item)) &&
                                       json_array_size(item) + json_object_size(item) == 0))
                json_decref(item);
            else
                json_object_set_new(out, name, item);
        }
        return out;
    }
    if (json_is_array(value)) {
        json_t *out = json_array();

        json_array_foreach(value, i, item) json_array_append_new(out, without_empties(item));
        return out;
    }
    if (json_is_false(value)) /* absent and false are one for plain booleans */
        return json_null();
    return json_incref(value);
}

static unsigned round_trip(const struct entity *ent, const json_t *input)
{
    json_t *doc = insert_ok(ent, input), *back, *want, *got;
    struct uuid id = id_of(doc);
    struct sbuf body = {0};
    struct err e = {0};
    unsigned failed;

    encode(ent, doc, &body);
    back = record_to_json(ent, &id, sbuf_str(&body), &e);
    if (!back)
        fail_msg("%s: %s", ent->name, err_text(&e));
    json_object_del(doc, "snis"); /* transient for certificates ... */
    if (ent == &entity_routes)    /* ... but a field of routes */
        json_object_set(doc, "snis",
                        json_object_get(input, "snis") ? json_object_get(input, "snis")
                                                       : json_null());
    want = without_empties(doc);
    got = without_empties(back);
    failed = vectors_differ("round trip", input, want, got);
    json_decref(want);
    json_decref(got);
    json_decref(back);
    json_decref(doc);
    sbuf_free(&body);
    return failed;
}

static void test_round_trip(void **state)
{
    static const char *const files[] = {"validation.json", "wire.json"};
    unsigned failed = 0, n = 0;

    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(files); k++) {
        json_t *cases = vectors_load(files[k]), *c;
        size_t i;

        json_array_foreach(cases, i, c)
        {
            if (!json_object_get(c, "out") || json_object_get(c, "stored_from"))
                continue;
            failed += round_trip(vectors_entity(c), json_object_get(c, "input"));
            n++;
        }
        json_decref(cases);
    }
    assert_int_equal(failed, 0);
    assert_true(n > 100);
}

static void test_route_struct(void **state)
{
    json_t *doc = insert_text(&entity_routes,
                              "{\"protocols\":[\"http\"],\"hosts\":[\"a.test\",\"*.b.test\"],"
                              "\"headers\":{\"x-v\":[\"1\",\"2\"]},\"regex_priority\":-7,"
                              "\"service\":{\"id\":\"a6d6a9b0-0000-4000-8000-000000000001\"}}");
    const struct map_entry *entry;
    struct sbuf body = {0};
    struct err e = {0};
    struct arena a;
    struct route r = {0};

    (void)state;
    arena_init(&a, 0, 0);
    encode(&entity_routes, doc, &body);
    assert_int_equal(record_decode(&entity_routes, sbuf_str(&body), &a, &r, &e), 0);
    assert_true(uuid_is_nil(&r.id));
    assert_int_equal(r.protocols.n, 1);
    assert_int_equal(r.hosts.n, 2);
    assert_true(str_eq(LIST_AT(r.hosts, struct str, 1), STR("*.b.test")));
    assert_int_equal(r.regex_priority, -7);
    assert_int_equal(r.path_handling, PATH_V0);
    assert_true(r.strip_path && !r.preserve_host);
    assert_null(r.name.p);
    assert_true(r.paths.v == NULL && r.paths.n == 0);
    assert_int_equal(r.service.b[15], 1);
    assert_int_equal(r.headers.n, 1);
    entry = &LIST_AT(r.headers, struct map_entry, 0);
    assert_true(str_eq(entry->key, STR("x-v")));
    assert_true(str_eq(LIST_AT(entry->values, struct str, 1), STR("2")));
    arena_fini(&a);
    sbuf_free(&body);
    json_decref(doc);
}

static void test_plugin_config(void **state)
{
    json_t *doc =
        insert_text(&entity_plugins, "{\"name\":\"rate-limiting\",\"config\":{\"minute\":2.5,"
                                     "\"policy\":\"redis\",\"redis_host\":\"r.test\"}}");
    struct rate_limiting_conf conf = {0};
    struct plugin p = {0};
    struct sbuf body = {0};
    struct err e = {0};
    struct arena a;

    (void)state;
    arena_init(&a, 0, 0);
    encode(&entity_plugins, doc, &body);
    assert_int_equal(record_decode(&entity_plugins, sbuf_str(&body), &a, &p, &e), 0);
    assert_true(str_eq(p.name, STR("rate-limiting")));
    assert_int_equal(fields_decode(contract_rate_limiting.fields, p.config, &a, &conf, &e), 0);
    assert_true(conf.minute == 2.5 && isnan(conf.hour));
    assert_int_equal(conf.policy, LIMIT_REDIS);
    assert_int_equal(conf.limit_by, LIMIT_CONSUMER);
    assert_true(str_eq(conf.redis.host, STR("r.test")));
    assert_int_equal(conf.redis.port, 6379);
    assert_true(conf.sync_rate == -1);
    arena_fini(&a);
    sbuf_free(&body);
    json_decref(doc);
}

/* bytes of a service's body, part of the message */
static const struct {
    struct str body;
    const char *message;
} hostile[] = {
    {STR("\x3a\x05"
         "ab"),
     "length beyond the end"},
    {STR("\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "length beyond the end"},
    {STR("\x28\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), "varint of 64 bits"},
    {STR("\x28\x80"), "whole varint"},
    {STR("\x3a\x01\xff"), "expected UTF-8"},
    {STR("\x3a\x01\x00"), "expected UTF-8"},
    {STR("\x3a\x03\xed\xa0\x80"), "expected UTF-8"},
    {STR("\x38\x01"), "unexpected wire type"},
    {STR("\x32\x03"
         "ftp"),
     "unknown word"},
    {STR("\x72\x01"
         "a"),
     "expected 16 bytes"},
    {STR("\x00\x00"), "field number"},
    {STR("\x0b"), "unknown wire type"},
    {STR("\x68\x01"), "wire type of an element"},
};

/* The body of an entity without members: no bytes, and no address. */
static void test_empty(void **state)
{
    struct consumer c = {.username = STR("x")};
    struct err e = {0};
    struct arena a;

    (void)state;
    arena_init(&a, 0, 0);
    assert_int_equal(record_decode(&entity_consumers, STR_NONE, &a, &c, &e), 0);
    assert_null(c.username.p);
    assert_true(c.created_at == INT_NULL);
    arena_fini(&a);
}

static void test_hostile(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(hostile); i++) {
        struct err e = {0};
        struct service s = {0};
        struct arena a;

        arena_init(&a, 0, 0);
        assert_int_equal(record_decode(&entity_services, hostile[i].body, &a, &s, &e), -1);
        if (!strstr(e.message, hostile[i].message))
            fail_msg("case %zu: %s", i, err_text(&e));
        arena_fini(&a);
    }
}

/* Fields from the future are skipped, numbers may come packed or not, runs may be split. */
static void test_lenient(void **state)
{
    static const struct str body = STR("\xc2\x3e\x01z\x3a\x01"
                                       "a\x6a\x01t\x28\x0a\x6a\x01u");
    struct err e = {0};
    struct service s = {0};
    struct arena a;

    (void)state;
    arena_init(&a, 0, 0);
    assert_int_equal(record_decode(&entity_services, body, &a, &s, &e), 0);
    assert_true(str_eq(s.host, STR("a")));
    assert_int_equal(s.retries, 5);
    assert_int_equal(s.port, INT_NULL);
    assert_int_equal(s.protocol, -1);
    assert_int_equal(s.tls_verify, -1);
    assert_int_equal(s.tags.n, 2);
    assert_true(str_eq(LIST_AT(s.tags, struct str, 1), STR("u")));
    arena_fini(&a);
}

static void decode_any(const struct entity *ent, struct str body, size_t cap)
{
    struct err e = {0};
    struct arena a;
    void *out;

    arena_init(&a, 0, 0);
    out = arena_zalloc(&a, ent->struct_size);
    a.cap_bytes = cap ? a.used_bytes + cap : 0;
    if (record_decode(ent, body, &a, out, &e) != 0)
        assert_true(e.message[0] != '\0');
    arena_fini(&a);
}

/* Every prefix of a body, every byte of it changed, and every cap on memory. */
static void test_damage(void **state)
{
    static const char text[] = "{\"name\":\"u\",\"tags\":[\"a\",\"b\",\"c\"],"
                               "\"healthchecks\":{\"active\":{\"headers\":{\"x\":[\"1\",\"2\"]}}}}";
    json_t *doc = insert_text(&entity_upstreams, text);
    struct sbuf body = {0};

    (void)state;
    encode(&entity_upstreams, doc, &body);
    for (size_t i = 0; i <= body.len; i++) {
        char *copy = xmalloc(i + 1);

        memcpy(copy, body.p, i);
        decode_any(&entity_upstreams, str_n(copy, i), 0);
        free(copy);
    }
    for (size_t i = 0; i < body.len; i++) {
        char was = body.p[i];

        for (unsigned bit = 0; bit < 8; bit++) {
            body.p[i] = (char)(was ^ 1 << bit);
            decode_any(&entity_upstreams, sbuf_str(&body), 0);
        }
        body.p[i] = was;
    }
    for (size_t cap = 16; cap < 2048; cap += 16)
        decode_any(&entity_upstreams, sbuf_str(&body), cap);
    sbuf_free(&body);
    json_decref(doc);
}

static void test_proto_file(void **state)
{
    struct sbuf text = {0};
    FILE *f = fopen("proto/entities.proto", "r");
    char *file;
    size_t len;

    (void)state;
    schema_print_proto(&text);
    if (!f)
        fail_msg("proto/entities.proto is missing");
    file = xmalloc(text.len + 2);
    len = fread(file, 1, text.len + 1, f);
    fclose(f);
    if (len != text.len || memcmp(file, text.p, len) != 0)
        fail_msg("proto/entities.proto differs from the tables: make docs");
    free(file);
    sbuf_free(&text);
}

static void test_docs(void **state)
{
    struct sbuf text = {0};

    (void)state;
    schema_print_docs(&text);
    assert_non_null(strstr(text.p, "## services"));
    assert_non_null(strstr(text.p, "| `retries` | integer | `5` |"));
    assert_non_null(strstr(text.p, "| `redis.host` |"));
    sbuf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),    cmocka_unit_test(test_route_struct),
        cmocka_unit_test(test_plugin_config), cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_lenient),       cmocka_unit_test(test_damage),
        cmocka_unit_test(test_proto_file),    cmocka_unit_test(test_docs),
        cmocka_unit_test(test_empty),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
