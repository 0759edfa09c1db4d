/* Paths and URLs. */
#include "common/uri.h"
#include "vectors.h"

static void test_vectors(void **state)
{
    json_t *cases = vectors_load("normalize.json"), *c;
    size_t i;

    (void)state;
    json_array_foreach(cases, i, c)
    {
        struct str target = json_str(json_array_get(c, 0));
        struct str path = str_n(target.p, str_find(target, '?'));
        struct str matched = json_str(json_array_get(c, 1));
        struct str sent = json_str(json_array_get(c, 2));
        char buf[256], out[768];
        struct str got = path_normalize(path, buf), escaped = path_escape(got, out);

        if (!str_eq(got, matched) || !str_eq(escaped, sent))
            fail_msg(STR_FMT ": got " STR_FMT " and " STR_FMT, STR_ARG(path), STR_ARG(got),
                     STR_ARG(escaped));
        assert_int_equal(path_is_normal(path), str_eq(path, matched));
        assert_int_equal(path_is_escaped(got), str_eq(got, sent));
    }
    json_decref(cases);
}

static const struct str unplain[] = {
    STR(""), STR("*"), STR("a/b"), STR("/a//b"), STR("/./a"), STR("/a/.."), STR("/%41"), STR("/a b"),
    STR("/\xc3\xa9"), STR("/a?b"), STR("/a#b"), STR("/\0"),
};

/* path, normal form, climbs */
static const struct {
    const char *path, *normal;
    bool climbs;
} paths[] = {
    {"/", "/", false},
    {"", "", false},
    {"//", "/", false},
    {"/.", "/", false},
    {"/./", "/", false},
    {"/..", "/", true},
    {"/../", "/", true},
    {"/a/..", "/", false},
    {"/a/../..", "/", true},
    {"/a/%2e%2E/../b", "/b", true},
    {"/a/..b", "/a/..b", false},
    {"/...", "/...", false},
    {"/a/b/../../c", "/c", false},
    {"/a//../b", "/b", false},
    {"/a%2f..", "/a%2F..", false},
    {"/%", "/%", false},
    {"/%4", "/%4", false},
    {"/%zz", "/%zz", false},
    {"/%25", "/%25", false},
    {"/%00", "", false}, /* decodes to a NUL: compared by length below */
    {"/a/b/", "/a/b/", false},
    {"a/../b", "/b", false},
};

static void test_paths(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        struct str path = str_of(paths[i].path), got, again;
        char buf[64], other[64], in_place[64];

        got = path_normalize(path, buf);
        if (strcmp(paths[i].path, "/%00") == 0)
            assert_true(got.len == 2 && got.p[1] == '\0');
        else if (!str_eq(got, str_of(paths[i].normal)))
            fail_msg("%s: got " STR_FMT, paths[i].path, STR_ARG(got));
        assert_int_equal(path_climbs(path), paths[i].climbs);
        assert_int_equal(path_is_normal(path), str_eq(path, got));
        if (path_is_plain(path))
            assert_true(str_eq(path, got) && path_is_escaped(path) && !path_climbs(path) &&
                        path_bad_escape(path) == path.len);
        again = path_normalize(got, other);
        assert_true(str_eq(again, got));
        memcpy(in_place, path.p, path.len);
        assert_true(str_eq(path_normalize(str_n(in_place, path.len), in_place), got));
    }
    assert_true(path_is_plain(STR("/")) && path_is_plain(STR("/a/b.c/d-e_~!$&'()*+,;=:@/")));
    for (size_t i = 0; i < ARRAY_LEN(unplain); i++)
        if (path_is_plain(unplain[i]))
            fail_msg("%zu: " STR_FMT, i, STR_ARG(unplain[i]));
    assert_int_equal(path_bad_escape(STR("/a%2Fb")), 6);
    assert_int_equal(path_bad_escape(STR("/a%2")), 2);
    assert_int_equal(path_bad_escape(STR("/a%2Fb%g0")), 6);
}

/* text, scheme, userinfo, host, port, path, query, fragment; NULL: absent */
static const struct {
    const char *text, *part[7];
} uris[] = {
    {"http://a.test", {"http", NULL, "a.test"}},
    {"http://u:p@a.test:81/x?y=1#f", {"http", "u:p", "a.test", "81", "/x", "y=1", "f"}},
    {"http://[::1]:8000/v6", {"http", NULL, "::1", "8000", "/v6"}},
    {"http://[::1]", {"http", NULL, "::1"}},
    {"http://", {"http"}},
    {"http://a.test?x=1", {"http", NULL, "a.test?x=1"}},
    {"api.example.com", {NULL, NULL, NULL, NULL, "api.example.com"}},
    {"//a.test/x", {NULL, NULL, "a.test", NULL, "/x"}},
    {"/x?", {NULL, NULL, NULL, NULL, "/x", ""}},
    {"", {NULL}},
    {"http://a.test:/", {"http", NULL, "a.test", NULL, "/"}},
};

static void test_uris(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(uris); i++) {
        struct uri u;
        struct str got[7];

        uri_split(str_of(uris[i].text), &u);
        memcpy(got,
               (struct str[7]){u.scheme, u.userinfo, u.host, u.port, u.path, u.query, u.fragment},
               sizeof(got));
        for (size_t k = 0; k < ARRAY_LEN(got); k++) {
            struct str want = str_of(uris[i].part[k]);

            if ((want.p == NULL) != (got[k].p == NULL) || !str_eq(want, got[k]))
                fail_msg("%s: part %zu is '" STR_FMT "'", uris[i].text, k, STR_ARG(got[k]));
        }
    }
}

static void test_decode(void **state)
{
    char buf[32];

    (void)state;
    assert_true(str_eq(percent_decode(STR("a+b%20c%2"), true, buf), STR("a b c%2")));
    assert_true(str_eq(percent_decode(STR("a+b%2B"), false, buf), STR("a+b+")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_uris),
        cmocka_unit_test(test_decode),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
