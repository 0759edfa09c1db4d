/* test_declarative.c - declarative documents to entities; recorded cases in data/. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "common/declarative.h"

#define DATA "tests/unit/common/data/declarative.json"

/* ---- text to tree ---- */

static char *parsed(const char *text, enum decl_typing typing, struct err *e)
{
    json_t *v = decl_parse(str_of(text), typing, e);
    char *out = v ? json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

    json_decref(v);
    return out;
}

static void test_yaml(void **state)
{
    static const struct {
        const char *text, *want;
        enum decl_typing typing;
    } cases[] = {
        {"a: 1\nb: [x, 'y', \"z\"]\n", "{\"a\":1,\"b\":[\"x\",\"y\",\"z\"]}"},
        {"{\"a\": 1,\n\t\"b\": [true, null, -1.5e3, \"\\u00e9\\/\"]}",
         "{\"a\":1,\"b\":[true,null,-1500.0,\"\xc3\xa9/\"]}"},
        {"{\"a\":\"\\ud83d\\ude00 \\\\ud83d\"}", "{\"a\":\"\xf0\x9f\x98\x80 \\\\ud83d\"}"},
        {"[0x1F, 0o17, 007, +5, 1_0, .5, 5., .inf, 1e, -]",
         "[31,15,7,5,\"1_0\",0.5,5.0,\".inf\",\"1e\",\"-\"]"},
        {"[~, '', Null, '~', yes, Off, y]", "[null,\"\",null,\"~\",true,false,\"y\"]"},
        {"[yes, Off, true, False]", "[\"yes\",\"Off\",true,false]", DECL_BY_FIELD},
        {"[!!str 1, !!int '2', ! 3, !!bool 'yes']", "[\"1\",2,\"3\",true]"},
        {"a: &x {k: 1}\nb: *x\n", "{\"a\":{\"k\":1},\"b\":{\"k\":1}}"},
        {"a: &x {k: 1, l: 2}\nb:\n  <<: *x\n  l: 3\n",
         "{\"a\":{\"k\":1,\"l\":2},\"b\":{\"l\":3,\"k\":1}}"},
        {"a: &x {k: 1}\nb: &y {k: 2, m: 3}\nc: {<<: [*x, *y]}\n",
         "{\"a\":{\"k\":1},\"b\":{\"k\":2,\"m\":3},\"c\":{\"k\":1,\"m\":3}}"},
        {"a: |\n  one\n  two\nb: >-\n  one\n  two\n", "{\"a\":\"one\\ntwo\\n\",\"b\":\"one two\"}"},
        {"99999999999999999999", "1e20"},
        {"--- \na: 1\n...\n", "{\"a\":1}"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err e = {0};
        char *got = parsed(cases[i].text, cases[i].typing, &e);

        if (!got)
            fail_msg("%s: %s", cases[i].text, e.message);
        assert_string_equal(got, cases[i].want);
        free(got);
    }
}

/* JSON has a reader of its own; a space in front sends the same text through libyaml. */
static void test_json_means_the_same(void **state)
{
    static const char *const texts[] = {
        "{}",
        "{\"a\":{},\"b\":[],\"c\":[[],{\"d\":null}]}\n",
        "{ \"a\" : [ 0 , -0, 12, -7, 1.5, -0.25, 1e3, 2E-2, 1.5e+3, 99999999999999999999 ] }",
        "{\"a\":[true,false,null,\"true\",\"null\",\"1\",\"\"]}",
        "{\"a\":\"\\\" \\\\ \\/ \\b\\f\\n\\r\\t \\u0041 \\u00e9 \\u20ac \\u0085 \\u2028 \\ufeff\"}",
        "{\"a\":\"\\ud83d\\ude00\"}",
        "{\"a\":\"\\ud83d\"}",
        "{\"a\":\"\\ude00\"}",
        "{\"a\":\"\\u0000\"}",
        "{\"a\":\"\\u00g0\"}",
        "{\"a\":\"\\x41 \\e\"}",
        "{\"a\":\"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 \xef\xbf\xbd\"}",
        "{\"a\":\"x \xc2\x85 y\"}",
        "{\"a\":\"x \xe2\x80\xa8 y\"}",
        "{\"a\":\"\xef\xbb\xbf\"}",
        "{\"a\":\"\xef\xbf\xbe\"}",
        "{\"a\":\"\xc2\x80\"}",
        "{\"a\":\"\xff\"}",
        "{\"a\":\"\xc3\"}",
        "{\"a\":\"\x7f\"}",
        "{\"a\":\"one\n  two\"}",
        "{\"a\":\"tab\there\"}",
        "{\"a\":1,\"a\":2}",
        "{\"a\":1,\n\"b\":2,\n\"a\":3}",
        "{\"a\":1,\r\n\"b\":2}",
        "{\"a\":1,\r\"b\":2}",
        "{\"<<\":{\"a\":1}}",
        "{\"a\":1,}",
        "{\"a\":[1,2,]}",
        "{\"a\":[1 2]}",
        "{\"a\" 1}",
        "{a: 1}",
        "{'a': 'b'}",
        "{\"a\":01}",
        "{\"a\":1.}",
        "{\"a\":.5}",
        "{\"a\":+1}",
        "{\"a\":truer}",
        "{\"a\":-}",
        "{\"a\":1} # remark",
        "{\"a\":1}\n{\"b\":2}",
        "{\"a\":1}}",
        "{\"a\":[}",
        "{\"a\":",
        "{\"a\"",
        "{\"a",
        "{",
        "{\"k1\":1,\"k2\":1,\"k3\":1,\"k4\":1,\"k5\":1,\"k6\":1,\"k7\":1,\"k8\":1,\"k9\":1,"
        "\"k10\":1,\"k11\":1,\"k12\":1,\"k13\":1,\"k14\":1,\"k15\":1,\"k16\":1,\"k17\":1}",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct err e = {0}, e_yaml = {0};
        char *spaced, *got, *want;

        assert_true(asprintf(&spaced, " %s", texts[i]) > 0);
        got = parsed(texts[i], DECL_STRICT, &e);
        want = parsed(spaced, DECL_STRICT, &e_yaml);
        if (!got != !want)
            fail_msg("%s: %s, %s", texts[i], got ? got : e.message, want ? want : e_yaml.message);
        if (got)
            assert_string_equal(got, want);
        free(got);
        free(want);
        free(spaced);
    }
}

static void test_yaml_errors(void **state)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"a: [", "2:1: did not find expected node content"},
        {"", "expected a declarative configuration"},
        {"# nothing\n", "expected a declarative configuration"},
        {"a: 1\nb: 2\na: 3\n", "3:1: key 'a' appears twice, first on line 1"},
        {"a: *nowhere\n", "1:4: alias '*nowhere' has no anchor before it"},
        {"a: &x [*x]\n", "1:8: alias '*x' has no anchor before it"},
        {"--- 1\n--- 2\n", "2:1: expected one document, found a second one"},
        {"a: !thing 1\n",
         "1:4: unknown tag '!thing', expected !!str, !!int, !!float, !!bool or !!null"},
        {"a: !!set {b}\n", "1:4: unknown tag 'tag:yaml.org,2002:set', expected !!map"},
        {"a: \"x\\0y\"\n", "1:4: NUL characters are not allowed"},
        {"\"x\\0y\": 1\n", "1:1: NUL characters are not allowed"},
        {"? [a]\n: 1\n", "1:3: expected a key that is a text"},
        {"a: &x 1\nb:\n  <<: *x\n", "3:1: <<: expected a mapping or a list of mappings"},
        {"a: \xff\n", "byte 3: invalid leading UTF-8 octet"},
        {"a: 1\n\tb: 2\n", "2:1: found a tab character that violates indentation"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err e = {0};
        char *got = parsed(cases[i].text, DECL_STRICT, &e);

        assert_null(got);
        assert_string_equal(e.message, cases[i].want);
    }
}

/* Each level repeats the one before it nine times: nine to the ninth values from 300 bytes. */
static void test_aliases_are_bounded(void **state)
{
    struct sbuf text = {0};
    struct err e = {0};

    (void)state;
    sbuf_adds(&text, "l0: &l0 [x, x, x, x, x, x, x, x, x]\n");
    for (int i = 1; i < 9; i++) {
        sbuf_addf(&text, "l%d: &l%d [", i, i);
        for (int j = 0; j < 9; j++)
            sbuf_addf(&text, "%s*l%d", j ? ", " : "", i - 1);
        sbuf_adds(&text, "]\n");
    }
    assert_null(parsed(text.p, DECL_STRICT, &e));
    assert_non_null(strstr(e.message, "more than 5000000 values, counting what aliases repeat"));
    sbuf_free(&text);
}

/* The same with one long text: a million bytes a hundred thousand times. */
static void test_repeated_text_is_bounded(void **state)
{
    struct sbuf text = {0};
    struct err e = {0};

    (void)state;
    sbuf_adds(&text, "a: &a ");
    memset(sbuf_reserve(&text, 1000000), 'x', 1000000);
    text.len += 1000000;
    sbuf_adds(&text, "\nb: [*a");
    for (int i = 0; i < 100000; i++)
        sbuf_adds(&text, ", *a");
    sbuf_adds(&text, "]\n");
    assert_null(parsed(text.p, DECL_STRICT, &e));
    assert_non_null(strstr(e.message, "more than 5000000 values, counting what aliases repeat"));
    sbuf_free(&text);
}

static void test_depth_is_bounded(void **state)
{
    static const struct {
        int levels;
        bool ok;
    } cases[] = {{64, true}, {65, false}, {100000, false}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct sbuf text = {0};
        struct err e = {0};
        char *got;

        for (int j = 0; j < cases[i].levels; j++)
            sbuf_adds(&text, "[\n");
        for (int j = 0; j < cases[i].levels; j++)
            sbuf_addc(&text, ']');
        got = parsed(text.p, DECL_STRICT, &e);
        assert_int_equal(got != NULL, cases[i].ok);
        if (!got)
            assert_non_null(strstr(e.message, "nested more than 64 levels deep"));
        free(got);
        sbuf_free(&text);
    }
}

/* ---- recorded documents ---- */

static bool is_random(const char *id)
{
    return strncmp(id, "00000000-0000-4000-8000-", 24) == 0;
}

/* Whether got has all that want has; ids that the recording drew at random match any. */
static bool covers(const json_t *want, const json_t *got)
{
    const char *key;
    json_t *value;

    if (!json_is_object(want))
        return json_equal(want, got);
    json_object_foreach(json_unconst(want), key, value)
    {
        const json_t *other = json_object_get(got, key);
        if (strcmp(key, "id") == 0 && is_random(json_string_value(value)) ? !json_is_string(other)
                                                                          : !covers(value, other))
            return false;
    }
    return true;
}

static void compare_entities(const json_t *want, const json_t *got)
{
    const char *name, *id, *other_id;
    json_t *list, *entity, *other;

    assert_int_equal(json_object_size(want), json_object_size(got));
    json_object_foreach(json_unconst(want), name, list)
    {
        json_t *ours = json_object_get(got, name);

        assert_int_equal(json_object_size(list), json_object_size(ours));
        json_object_foreach(list, id, entity)
        {
            bool found = false;

            if (!is_random(id)) {
                found = covers(entity, json_object_get(ours, id));
            } else {
                json_object_foreach(ours, other_id, other) found = found || covers(entity, other);
            }
            if (!found)
                fail_msg("%s %s: not what was recorded", name, id);
        }
    }
}

static void read_case(const json_t *c, enum decl_typing typing)
{
    char *text = json_dumps(json_object_get(c, "input"), 0);
    const json_t *fields = json_object_get(c, "fields");
    struct decl_errors errs;
    struct decl d;
    int rc = decl_read(str_of(text), typing, &d, &errs);

    if (fields) {
        char *message;

        assert_int_equal(rc, -1);
        assert_true(errs.n > 0 && errs.n == errs.violations.count);
        message = decl_errors_message(&errs);
        assert_string_equal(message, json_string_value(json_object_get(c, "message")));
        assert_true(json_equal(fields, errs.violations.fields));
        free(message);
    } else {
        if (rc != 0)
            fail_msg("%s: %s", text, errs.v[0].text);
        compare_entities(json_object_get(c, "entities"), d.entities);
        decl_free(&d);
    }
    decl_errors_free(&errs);
    free(text);
}

static void test_recorded(void **state)
{
    json_error_t why;
    json_t *cases = json_load_file(DATA, 0, &why), *c;
    size_t i;

    (void)state;
    assert_true(json_array_size(cases) > 20);
    json_array_foreach(cases, i, c) read_case(c, DECL_STRICT);
    json_decref(cases);
}

/* ---- what the recordings do not show ---- */

#define HEAD "_format_version: '3.0'\n"

static void test_errors_have_lines(void **state)
{
    static const struct {
        const char *text;
        struct {
            size_t line;
            const char *text;
        } want[4];
    } cases[] = {
        {HEAD "services:\n"
              "- name: a b\n"
              "  host: x\n"
              "- name: s\n"
              "  routes:\n"
              "  - paths:\n"
              "    - /ok\n"
              "    - bad\n"
              "    service: nope\n"
              "routes:\n"
              "- paths: [/x]\n"
              "  service: nope\n",
         {{3, "services.1.name: invalid value 'a b': the only accepted ascii characters are "
              "alphanumerics or ., "
              "-, _, and ~"},
          {5, "services.2.host: required field missing"},
          {9, "services.2.routes.1.paths.2: should start with: / (fixed path) or ~/ (regex path)"},
          {13,
           "routes.1.service: invalid reference 'service: nope' (no such entry in 'services')"}}},
        {HEAD "services: 5\nroutes: {a: b}\nconsumers:\n- x\n",
         {{2, "services: expected an array"},
          {3, "routes: expected an array"},
          {5, "consumers.1: expected a record"}}},
        {HEAD "_transform: maybe\n_ignore: x\nconsumers:\n- username: a\n  plugins: 1\n",
         {{2, "_transform: expected a boolean"},
          {3, "_ignore: expected an array"},
          {6, "consumers.1.plugins: expected an array"}}},
        {HEAD "'': 1\n'@entity': 2\nconsumers: [{username: a, '@entity': 3}]\n",
         {{2, "unknown field"},
          {3, "@entity: unknown field"},
          {4, "consumers.1.@entity: unknown field"}}},
        {HEAD "consumers:\n"
              "- {username: a, id: 0000000A-0000-4000-8000-000000000000}\n"
              "- {username: b, id: 0000000a-0000-4000-8000-000000000000}\n",
         {{4, "consumers.2: uniqueness violation: 'consumers' entity with primary key set to "
              "'0000000a-0000-4000-8000-000000000000' already declared"}}},
        {"a: [", {{2, "2:1: did not find expected node content"}}},
        {"- a\n", {{1, "expected a mapping of entity names to lists"}}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct decl_errors errs;
        struct decl d;
        size_t n = 0;

        assert_int_equal(decl_read(str_of(cases[i].text), DECL_BY_FIELD, &d, &errs), -1);
        assert_null(d.entities);
        for (; n < 4 && cases[i].want[n].text; n++) {
            if (n >= errs.n)
                fail_msg("missing: %s", cases[i].want[n].text);
            assert_string_equal(errs.v[n].text, cases[i].want[n].text);
            assert_int_equal(errs.v[n].line, cases[i].want[n].line);
        }
        assert_int_equal(errs.n, n);
        decl_errors_free(&errs);
    }
}

/* Each wrong member is found at once: looked for from the first one on, this would not end. */
static void test_many_errors(void **state)
{
    struct sbuf text = {0};
    struct decl_errors errs;
    struct decl d;

    (void)state;
    sbuf_adds(&text, HEAD "consumers:\n- username: a\n");
    for (int i = 0; i < 200000; i++)
        sbuf_addf(&text, "  k%d: 1\n", i);
    assert_int_equal(decl_read(sbuf_str(&text), DECL_BY_FIELD, &d, &errs), -1);
    assert_int_equal(errs.n, 200000);
    assert_int_equal(errs.v[errs.n - 1].line, 200003);
    assert_string_equal(errs.v[errs.n - 1].text, "consumers.1.k199999: unknown field");
    decl_errors_free(&errs);
    sbuf_free(&text);
}

/* A reference finds an id in either spelling. */
static void test_ids_in_either_case(void **state)
{
    struct decl_errors errs;
    struct decl d;

    (void)state;
    if (decl_read(str_of(HEAD "services:\n"
                              "- {id: 0000000A-0000-4000-8000-000000000000, host: h}\n"
                              "routes:\n"
                              "- {paths: [/a], service: 0000000a-0000-4000-8000-000000000000}\n"
                              "- {paths: [/b], service: 0000000A-0000-4000-8000-000000000000}\n"),
                  DECL_BY_FIELD, &d, &errs) != 0)
        fail_msg("%s", errs.v[0].text);
    assert_int_equal(json_object_size(json_object_get(d.entities, "routes")), 2);
    assert_non_null(json_object_get(json_object_get(d.entities, "services"),
                                    "0000000a-0000-4000-8000-000000000000"));
    decl_free(&d);
}

/* The only entity of a kind. */
static const json_t *only(const struct decl *d, const char *name)
{
    json_t *list = json_object_get(d->entities, name);

    assert_int_equal(json_object_size(list), 1);
    return json_object_iter_value(json_object_iter(list));
}

static void read_ok(const char *text, enum decl_typing typing, struct decl *d)
{
    struct decl_errors errs;

    if (decl_read(str_of(text), typing, d, &errs) != 0)
        fail_msg("%s", errs.v[0].text);
}

static const char *text_of(const json_t *doc, const char *name)
{
    return json_string_value(json_object_get(doc, name));
}

static void test_typing_by_field(void **state)
{
    static const char text[] =
        HEAD "plugins:\n"
             "- name: request-termination\n"
             "  enabled: no\n"
             "  config: {status_code: 418, body: 1}\n"
             "consumers:\n"
             "- username: 007\n"
             "  keyauth_credentials: [{key: 0x10}]\n"
             "keyauth_credentials:\n"
             "- {key: yes, consumer: 007, id: 11111111-1111-4111-8111-111111111111}\n";
    struct decl_errors errs;
    const json_t *config;
    struct decl d;

    (void)state;
    read_ok(text, DECL_BY_FIELD, &d);
    assert_true(json_is_false(json_object_get(only(&d, "plugins"), "enabled")));
    config = json_object_get(only(&d, "plugins"), "config");
    assert_string_equal(text_of(config, "body"), "1");
    assert_int_equal(json_integer_value(json_object_get(config, "status_code")), 418);
    assert_string_equal(text_of(only(&d, "consumers"), "username"), "007");
    assert_int_equal(json_object_size(json_object_get(d.entities, "keyauth_credentials")), 2);
    decl_free(&d);

    assert_int_equal(decl_read(str_of(text), DECL_STRICT, &d, &errs), -1);
    assert_string_equal(errs.v[0].text, "plugins.1.config.body: expected a string");
    decl_errors_free(&errs);
}

static void test_old_versions_mark_regexes(void **state)
{
    static const struct {
        const char *path, *want;
    } cases[] = {
        {"/plain/a-b.c_d~e%41", "/plain/a-b.c_d~eA"},
        {"/v\\d+/%41%2d%20$", "~/v\\d+/A\\-%20$"},
        {"~/already$", "~/already$"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct sbuf text = {0};
        struct decl d;

        sbuf_addf(&text, "_format_version: '1.1'\nroutes:\n- {name: r, paths: ['%s']}\n",
                  cases[i].path);
        read_ok(text.p, DECL_STRICT, &d);
        assert_string_equal(
            json_string_value(json_array_get(json_object_get(only(&d, "routes"), "paths"), 0)),
            cases[i].want);
        decl_free(&d);
        sbuf_free(&text);
    }
}

static void test_deck_files(void **state)
{
    static const char text[] =
        HEAD "_info:\n"
             "  select_tags: [team]\n"
             "  defaults: {service: {retries: 2}}\n"
             "_workspace: default\n"
             "_plugin_configs:\n"
             "  slow: {minute: 5, hour: 100}\n"
             "services: [{name: s, host: h}]\n"
             "routes: [{name: r, paths: [/r], service: {name: s}}]\n"
             "plugins: [{name: rate-limiting, _config: slow, config: {hour: 7}}]\n";
    static const struct {
        const char *text, *want;
    } bad[] = {
        {HEAD "_konnect: {}\n",
         "_konnect: a file for Konnect cannot be applied to a control plane of Weir"},
        {HEAD "_workspace: other\n", "_workspace: there is one workspace here, expected: default"},
        {HEAD "plugins: [{name: cors, _config: x}]\n",
         "plugins.1._config: no such entry in '_plugin_configs'"},
    };
    const json_t *config;
    struct decl_errors errs;
    struct decl d;

    (void)state;
    read_ok(text, DECL_DECK, &d);
    assert_int_equal(json_integer_value(json_object_get(only(&d, "services"), "retries")), 2);
    assert_string_equal(text_of(json_object_get(only(&d, "routes"), "service"), "id"),
                        text_of(only(&d, "services"), "id"));
    config = json_object_get(only(&d, "plugins"), "config");
    assert_int_equal(json_integer_value(json_object_get(config, "minute")), 5);
    assert_int_equal(json_integer_value(json_object_get(config, "hour")), 7);
    assert_string_equal(
        json_string_value(json_array_get(json_object_get(d.info, "select_tags"), 0)), "team");
    decl_free(&d);

    assert_int_equal(decl_read(str_of(text), DECL_BY_FIELD, &d, &errs), -1);
    decl_errors_free(&errs);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(decl_read(str_of(bad[i].text), DECL_DECK, &d, &errs), -1);
        assert_string_equal(errs.v[0].text, bad[i].want);
        decl_errors_free(&errs);
    }
}

/* What clients of POST /config are shown when the text is no YAML. */
static void test_parse_error_object(void **state)
{
    struct decl_errors errs;
    struct decl d;
    char *message;

    (void)state;
    assert_int_equal(decl_read(STR("a: ["), DECL_STRICT, &d, &errs), -1);
    message = decl_errors_message(&errs);
    assert_string_equal(
        message,
        "declarative config is invalid: {error=\"failed parsing declarative configuration: "
        "1:4: did not find expected node content\"}");
    free(message);
    decl_errors_free(&errs);
}

static void test_files(void **state)
{
    char path[] = "/tmp/test_declarative.XXXXXX", want[256];
    struct decl_errors errs;
    struct decl d;
    FILE *f = fdopen(mkstemp(path), "w");

    (void)state;
    assert_non_null(f);
    assert_true(fputs(HEAD "services:\n- name: s\n", f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(decl_read_file(path, &d, &errs), -1);
    snprintf(want, sizeof(want), "%s:3: services.1.host: required field missing", path);
    assert_string_equal(errs.v[0].text, want);
    decl_errors_free(&errs);
    remove(path);
    assert_int_equal(decl_read_file("/nowhere/weir.yaml", &d, &errs), -1);
    assert_string_equal(errs.v[0].text,
                        "cannot read /nowhere/weir.yaml: No such file or directory");
    decl_errors_free(&errs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_yaml),
        cmocka_unit_test(test_json_means_the_same),
        cmocka_unit_test(test_yaml_errors),
        cmocka_unit_test(test_aliases_are_bounded),
        cmocka_unit_test(test_depth_is_bounded),
        cmocka_unit_test(test_repeated_text_is_bounded),
        cmocka_unit_test(test_many_errors),
        cmocka_unit_test(test_ids_in_either_case),
        cmocka_unit_test(test_recorded),
        cmocka_unit_test(test_errors_have_lines),
        cmocka_unit_test(test_typing_by_field),
        cmocka_unit_test(test_old_versions_mark_regexes),
        cmocka_unit_test(test_deck_files),
        cmocka_unit_test(test_parse_error_object),
        cmocka_unit_test(test_files),
    };

    return cmocka_run_group_tests_name("declarative", tests, NULL, NULL);
}
