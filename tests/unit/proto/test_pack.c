/*
 * test_pack.c - entities packed straight from a file against the same as documents: the bytes
 * are the same, and so is every error. The corpus is made from the tables: every field of
 * every entity with every kind of value, and the recorded cases.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/plugins/contract.h"
#include "proto/records_of.h"

#define UUID_A "6ba7b810-9dad-41d1-80b4-00c04fd430c8"
#define UUID_B "6BA7B811-9DAD-41D1-80B4-00C04FD430C8" /* upper case: another form of an id */

static unsigned n_right, n_wrong;
static char path[] = "/tmp/test_pack.XXXXXX";

static void write_file(const char *prefix, const char *text)
{
    FILE *f = fopen(path, "we");

    assert_non_null(f);
    fprintf(f, "%s%s", prefix, text);
    assert_int_equal(fclose(f), 0);
}

static void same_errors(const struct decl_errors *a, const struct decl_errors *b, const char *text)
{
    char *x = json_dumps(a->violations.fields, 0), *y = json_dumps(b->violations.fields, 0);

    if (a->n != b->n || a->violations.count != b->violations.count || strcmp(x, y) != 0)
        fail_msg("%s\npacked: %s\ndocument: %s", text, x, y);
    for (size_t i = 0; i < a->n; i++) {
        assert_string_equal(a->v[i].text, b->v[i].text);
        assert_int_equal(a->v[i].line, b->v[i].line);
    }
    free(x);
    free(y);
}

/* made_up: there is chance in it, and only sizes can be compared. */
static void compare_as(const char *prefix, const char *text, bool made_up)
{
    struct sbuf packed = {0}, documents = {0};
    struct decl_errors errors, expected;
    struct state_hash hash;
    struct decl decl;
    struct err e = {0};
    int rc;

    write_file(prefix, text);
    rc = records_of_file(path, &packed, &errors);
    if (rc != decl_read_file(path, &decl, &expected))
        fail_msg("%s\npacked: %s\ndocument: %s", text, errors.n ? errors.v[0].text : "right",
                 expected.n ? expected.v[0].text : "right");
    if (rc != 0) {
        same_errors(&errors, &expected, text);
        n_wrong++;
    } else {
        assert_int_equal(records_of_entities(decl.entities, &documents, &hash, &e), 0);
        if (packed.len != documents.len ||
            (!made_up && memcmp(packed.p, documents.p, packed.len) != 0))
            fail_msg("%s%s: other records", prefix, text);
        n_right++;
    }
    decl_errors_free(&errors);
    decl_errors_free(&expected);
    decl_free(&decl);
    sbuf_free(&packed);
    sbuf_free(&documents);
}

/* As JSON, if it is, and as YAML. */
static void compare(const char *text, bool made_up)
{
    compare_as("", text, made_up);
    compare_as("--- ", text, made_up);
}

/* ---- every field with every kind of value ---- */

static const char *const values[] = {
    "null", "~", "true", "false", "yes", "off", "0", "1", "-1", "5", "5.0", "5.5", "1e3", "007", "0x1F",
    "99999999999999999999", "2147483647", "32768", "\"\"", "\"x\"", "x", "\"5\"", "\"true\"", "a b",
    "\"a/b\"", "\"/a\"", "\"/a//b\"", "\"/a/../b\"", "\"/a%2\"", "\"/a%2F\"", "\"~/a(b\"", "\"~/a[0-9]+\"",
    "\"*.a.b\"", "\"a.*\"", "\"*\"", "\"10.0.0.1\"", "\"10.0.0.0/8\"", "\"a.b:80\"", "\"[::1]:80\"",
    "\"\\u00e9\"", "\"a\\u0007\"", "\"http://a/b\"", "\"{vault://env/a}\"", "\"" UUID_A "\"",
    "\"" UUID_B "\"", "[]", "{}", "[null]", "[1, 2]", "[2, 1, 2]", "[5.0]", "[200, 999]", "[true]",
    "[\"\"]", "[a]", "[a, a]", "[\"a\", \"b\"]", "[\"/a\"]", "[\"/a\", \"/b\"]", "[\"GET\"]", "[\"get\"]",
    "[\"http\"]", "[https]", "[\"http\", \"https\"]", "[\"https\", \"http\", \"http\"]", "[\"tcp\"]",
    "[\"grpc\"]", "[\"http\", \"tcp\"]", "[\"" UUID_A "\"]", "[\"" UUID_B "\"]", "[[]]", "[{}]",
    "[{\"ip\": \"10.0.0.1\"}]", "[{\"ip\": \"10.0.0.1\", \"port\": 5.0}]", "[{\"port\": x}]",
    "{\"a\": \"b\"}", "{\"a\": [\"b\"]}", "{\"a\": [b, 5]}", "{\"a\": {}}", "{\"host\": [\"b\"]}",
    "{\"id\": \"" UUID_A "\"}", "{\"id\": \"x\"}", "{\"name\": \"s\"}", "\"s\"", "\"c\"", "\"u\"", "\"r\"",
    "\"http\"", "\"https\"", "\"tcp\"", "\"none\"", "\"header\"", "\"v1\"", "\"consumer\"", "\"local\"",
    "{\"active\": {\"healthy\": {\"interval\": 5}}}", "{\"active\": {\"type\": tcp, \"timeout\": 1.0}}",
    "{\"passive\": {\"unhealthy\": {\"http_statuses\": [500, 500]}}}", "{\"threshold\": 101}",
    "{\"minute\": 5}", "{\"minute\": 5, \"redis\": {\"host\": h}}", "{\"minute\": 5, \"redis_host\": h}",
    "{\"key_names\": [a], \"hide_credentials\": yes}", "{\"status_code\": 418, \"message\": m}",
    "{\"bogus\": 1}",
};

static const struct {
    const char *entity, *required; /* what makes it right */
} bases[] = {
    {"services", "\"host\": \"h.test\""},
    {"services", "\"url\": \"http://h.test:80/p\""},
    {"services", "\"host\": \"h.test\", \"protocol\": \"https\", \"name\": \"s2\""},
    {"routes", "\"paths\": [\"/p\"]"},
    {"routes", "\"service\": \"s\", \"hosts\": [\"a.test\"], \"protocols\": [\"http\"]"},
    {"routes", "\"protocols\": [\"grpc\"], \"hosts\": [\"a.test\"], \"strip_path\": false"},
    {"routes", "\"protocols\": [\"tcp\"], \"sources\": [{\"port\": 5}]"},
    {"consumers", "\"username\": \"c2\""},
    {"keyauth_credentials", "\"consumer\": \"c\", \"key\": \"k\""},
    {"upstreams", "\"name\": \"u2.test\""},
    {"targets", "\"upstream\": \"u\", \"target\": \"a.test:80\""},
    {"snis", "\"name\": \"a.test\", \"certificate\": \"" UUID_A "\""},
    {"certificates", "\"cert\": \"c\", \"key\": \"k\""},
    {"plugins", "\"name\": \"key-auth\""},
    {"plugins", "\"name\": \"key-auth\", \"service\": \"s\""},
    {"plugins", "\"name\": \"rate-limiting\", \"config\": {\"minute\": 5, \"policy\": local}"},
    {"plugins", "\"name\": \"request-termination\", \"config\": {\"status_code\": 200}"},
    {"plugins", "\"name\": \"cors\", \"config\": {\"origins\": [\"*\"]}"},
    {"plugins", "\"name\": \"correlation-id\""},
    {"plugins", "\"name\": \"prometheus\""},
};

/* required but for the member of that name, which is value; the i-th of its document. */
static void add_entity(struct sbuf *out, const char *required, const char *name, const char *value,
                       size_t i)
{
    struct sbuf whole = {0};
    json_t *members, *member;
    const char *key;

    sbuf_addf(&whole, "{%s}", required);
    members = decl_parse(sbuf_str(&whole), DECL_STRICT, NULL);
    assert_non_null(members);
    sbuf_addf(out, ",\n{\"id\": \"%08zu-9dad-41d1-80b4-00c04fd430c8\", \"%s\": %s", i, name, value);
    json_object_foreach(members, key, member)
    {
        char *text = json_dumps(member, JSON_ENCODE_ANY);

        if (strcmp(key, name) != 0)
            sbuf_addf(out, ", \"%s\": %s", key, text);
        free(text);
    }
    sbuf_adds(out, "}");
    json_decref(members);
    sbuf_free(&whole);
}

/* An entity for each of the values, and some that references can mean. */
static void try_values(size_t base, const char *name, const char *const *v, size_t n, bool made_up)
{
    static const struct {
        const char *entity, *one;
    } others[] = {
        {"services", "{\"id\": \"" UUID_A "\", \"name\": \"s\", \"host\": \"h\"}"},
        {"routes", "{\"name\": \"r\", \"paths\": [\"/r\"]}"},
        {"consumers", "{\"username\": \"c\", \"tags\": [\"t\"]}"},
        {"upstreams", "{\"name\": \"u\"}"},
        {"keyauth_credentials", "{\"id\": \"" UUID_A "\", \"consumer\": \"c\", \"key\": \"k0\"}"},
        {"targets", "{\"upstream\": \"u\", \"target\": \"a:1\"}"},
        {"plugins", "{\"name\": \"cors\"}"},
        {"snis", ""},
        {"certificates", ""},
    };
    struct sbuf text = {0};

    sbuf_adds(&text, "{\"_format_version\": \"3.0\"");
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        bool here = strcmp(others[i].entity, bases[base].entity) == 0;
        size_t list = text.len;

        sbuf_adds(&text, others[i].one);
        for (size_t k = 0; here && k < n; k++)
            add_entity(&text, bases[base].required, name, v[k], k);
        if (text.len > list) {
            struct sbuf items = {0};

            sbuf_adds(&items, text.p + list + (text.p[list] == ',')); /* none in front of the first */
            text.len = list;
            sbuf_addf(&text, ",\n\"%s\": [%s]", others[i].entity, items.p);
            sbuf_free(&items);
        }
    }
    sbuf_adds(&text, "}");
    compare(text.p, made_up);
    sbuf_free(&text);
}

static void try_value(size_t base, const char *name, const char *value)
{
    try_values(base, name, &value, 1, false);
}

static void test_every_field(void **state)
{
    (void)state;
    for (size_t b = 0; b < ARRAY_LEN(bases); b++) {
        const struct entity *ent = entity_by_name(str_of(bases[b].entity));

        for (const struct field *f = ent->fields; f->name; f++) {
            bool made_up = (f->flags & FF_AUTO) && !(f->flags & FF_TIMESTAMP);

            if (f->flags & (FF_RETIRED | FF_KEY))
                continue;
            try_values(b, f->name, values, ARRAY_LEN(values), made_up);
            /* alone, too, since one that is wrong hides what is right; not all of them: time */
            for (size_t v = (f->num + b) % 6; v < ARRAY_LEN(values); v += 6)
                try_values(b, f->name, &values[v], 1, made_up);
        }
        try_value(b, "bogus", "1");
        try_value(b, "_comment", "x");
        try_value(b, "ttl", "-5");
        try_value(b, "plugins", "[{\"name\": \"cors\"}, 5]");
    }
    assert_true(n_right > 1000 && n_wrong > 1000); /* it is about both */
}

/* ---- every field of every plugin's config ---- */

static void test_configs(void **state)
{
    (void)state;
    for (size_t i = 0; plugin_contracts[i]; i++) {
        for (const struct field *f = plugin_contracts[i]->fields; f->name; f++) {
            for (size_t v = 0; v < ARRAY_LEN(values); v++) {
                struct sbuf text = {0};

                sbuf_addf(&text,
                          "{\"_format_version\": \"3.0\", \"plugins\": [{\"name\": \"%s\", \"id\": \"" UUID_A
                          "\", \"config\": {\"%s\": %s}}]}",
                          plugin_contracts[i]->name, f->name, values[v]);
                compare(text.p, false);
                sbuf_free(&text);
            }
        }
    }
}

/* ---- what several entities have to do with each other ---- */

static void test_together(void **state)
{
    static const char *const texts[] = {
        /* the same name, id and key twice; the first one wrong */
        "\"services\": [{\"name\": a, \"host\": h}, {\"name\": a, \"host\": h}]",
        "\"services\": [{\"name\": a}, {\"name\": a, \"host\": h}, {\"name\": a, \"host\": h}]",
        "\"services\": [{\"id\": \"" UUID_A "\", \"host\": h}, {\"id\": \"6BA7B810-9DAD-41D1-80B4-00C04FD430C8\", \"host\": h}]",
        "\"consumers\": [{\"username\": a, \"custom_id\": b}, {\"username\": c, \"custom_id\": b}]",
        "\"consumers\": [{\"username\": a, \"keyauth_credentials\": [{\"key\": k}, {\"key\": k}]}]",
        "\"consumers\": [{\"username\": a, \"keyauth_credentials\": 5}, 5, [], {}]",
        /* references by id, by name, forward, to what is wrong, to what is not there */
        "\"routes\": [{\"name\": r, \"paths\": [/a], \"service\": s}], \"services\": [{\"name\": s, \"host\": h}]",
        "\"routes\": [{\"name\": r, \"paths\": [/a], \"service\": {\"id\": s}}], \"services\": [{\"name\": s}]",
        "\"routes\": [{\"name\": r, \"paths\": [/a], \"service\": odd}], \"services\": [{\"id\": odd, \"host\": h}]",
        "\"routes\": [{\"name\": r, \"paths\": [/a], \"service\": nobody}, {\"paths\": [/b], \"service\": [], \"name\": q}]",
        "\"services\": [{\"id\": odd, \"host\": h, \"routes\": [{\"name\": r, \"paths\": [/a]}]}]",
        "\"services\": [{\"id\": 5, \"host\": h, \"routes\": [{\"name\": r, \"paths\": [/a], \"plugins\": [{\"name\": cors}]}]}]",
        "\"services\": [{\"name\": s, \"host\": h, \"routes\": [{\"name\": r, \"paths\": [/a], \"service\": other}]}]",
        "\"services\": [{\"name\": s, \"host\": h, \"routes\": {}, \"plugins\": [{\"name\": key-auth}, {\"name\": nope}, {\"name\": 5}]}]",
        "\"plugins\": [{\"name\": rate-limiting}, {\"name\": request-termination, \"config\": {\"body\": b, \"message\": m}}]",
        "\"certificates\": [{\"cert\": x, \"key\": y, \"snis\": [{\"name\": a.test}]}], \"bogus\": []",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        static const char *const versions[] = {"\"3.0\"", "\"1.1\"", "5"};

        for (size_t v = 0; v < ARRAY_LEN(versions); v++) {
            struct sbuf text = {0};

            sbuf_addf(&text, "{\"_format_version\": %s, %s}", versions[v], texts[i]);
            compare(text.p, false);
            sbuf_free(&text);
        }
    }
}

/* ---- the recorded cases ---- */

static void run_recorded(const char *file)
{
    json_t *cases = json_load_file(file, 0, NULL), *item;
    size_t i;

    assert_non_null(cases);
    json_array_foreach(cases, i, item)
    {
        json_t *doc, *entity = json_deep_copy(json_object_get(item, "input"));
        char *text;

        if (!json_is_object(entity) || !json_is_string(json_object_get(item, "entity"))) {
            json_decref(entity);
            continue;
        }
        json_object_set_new(entity, "id", json_string(UUID_A));
        doc = json_pack("{s:s, s:[o]}", "_format_version", "3.0",
                        json_string_value(json_object_get(item, "entity")), entity);
        text = json_dumps(doc, JSON_INDENT(1));
        compare(text, !json_object_get(entity, "key"));
        free(text);
        json_decref(doc);
    }
    json_decref(cases);
}

static void test_recorded(void **state)
{
    (void)state;
    run_recorded("tests/unit/common/data/wire.json");
    run_recorded("tests/unit/common/data/validation.json");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_field),
        cmocka_unit_test(test_configs),
        cmocka_unit_test(test_together),
        cmocka_unit_test(test_recorded),
    };

    int failed;

    if (close(mkstemp(path)) != 0)
        return 1;
    clock_fake(1000000, 1700000000000000);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
