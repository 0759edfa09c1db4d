/* test_path.c - the upstream path, against the reference's recorded grid, and edges of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>

#include "common/uri.h"
#include "dataplane/path.h"

#define VECTORS "tests/unit/dataplane/data/routing.json"

static struct str run(struct arena *a, const char *base, const char *route, bool strip,
                      const char *path, bool v1)
{
    struct upstream_path_in in = {
        .base = str_of(base),
        .path = str_of(path),
        .matched = route ? str_n(path, strlen(route)) : STR_NONE,
        .strip = strip,
        .v1 = v1,
    };

    return upstream_path(&in, a);
}

static void test_recorded_grid(void **state)
{
    json_error_t je;
    json_t *all = json_load_file(VECTORS, 0, &je), *row;
    unsigned bad = 0;
    size_t i;

    (void)state;
    assert_non_null(all);
    assert_int_equal(json_array_size(json_object_get(all, "path_handling")), 120);
    json_array_foreach(json_object_get(all, "path_handling"), i, row)
    {
        const char *base, *route, *path, *want;
        char normal[64];
        struct arena a;
        struct str p, got;
        int strip;

        base = json_string_value(json_array_get(row, 0));
        route = json_string_value(json_array_get(row, 1)); /* null: the route has no path */
        strip = json_is_true(json_array_get(row, 2));
        path = json_string_value(json_array_get(row, 3));
        want = json_string_value(json_array_get(row, 4)); /* v0, then v1 */
        assert_true(base && path && want);
        p = path_normalize(str_of(path), normal);
        normal[p.len] = '\0';
        arena_init(&a, 0, 0);
        for (size_t v = 0; v < 2; v++) {
            want = json_string_value(json_array_get(row, 4 + v));
            got = run(&a, base, route, strip, normal, v == 1);
            if (str_eq(got, str_of(want)))
                continue;
            fprintf(stderr, "v%zu service %s route %s strip %d %s: '" STR_FMT "', expected '%s'\n",
                    v, base, route ? route : "(none)", strip, path, STR_ARG(got), want);
            bad++;
        }
        arena_fini(&a);
    }
    json_decref(all);
    assert_int_equal(bad, 0);
}

static void test_edges(void **state)
{
    static const struct {
        const char *base, *matched, *path, *want;
        bool strip;
    } cases[] = {
        {"", NULL, "/x", "/x", true},
        {"/s", "/a", "/a.", "/s", true}, /* a rest of dots must not climb out of /s */
        {"/s", "/a", "/a..", "/s", true},
        {"/s", "/a/", "/a/../x", "/s/x", true},
        {"/s", "/a/", "/a/./x", "/s/x", true},
        {"/s", "/a", "/a/..;/x", "/s/..;/x", true},
        {"/s", "/a", "/a/.hidden", "/s/.hidden", true},
        {"/s", "/a", "/a.hidden", "/s/.hidden", true},
        {"/", "/r/x", "/r/x", "/", true},
        {"/s", NULL, "*", "*", false},
    };
    struct arena a;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str got;

        arena_init(&a, 0, 0);
        got = run(&a, cases[i].base, cases[i].matched, cases[i].strip, cases[i].path, false);
        if (!str_eq(got, str_of(cases[i].want)))
            fail_msg("case %zu: '" STR_FMT "', expected '%s'", i, STR_ARG(got), cases[i].want);
        arena_fini(&a);
    }
    arena_init(&a, 0, 8); /* at the cap: absent, not cut */
    assert_null(run(&a, "/service", NULL, false, "/a/long/path", false).p);
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_recorded_grid),
                                       cmocka_unit_test(test_edges)};

    return cmocka_run_group_tests_name("dataplane/path", tests, NULL, NULL);
}
