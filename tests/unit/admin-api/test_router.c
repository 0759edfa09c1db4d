/* test_router.c - which thing a path names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "admin-api/call.h"

static void places(void **state)
{
    /* clang-format off */
    static const struct {
        const char *path;
        enum place place;
        const char *ent, *owner, *link;
    } cases[] = {
        {"/", PLACE_SPECIAL, NULL, NULL, NULL},
        {"/services", PLACE_COLLECTION, "services", NULL, NULL},
        {"/services/", PLACE_COLLECTION, "services", NULL, NULL},
        {"/services/foo", PLACE_ENTITY, "services", NULL, NULL},
        {"/services/foo/routes", PLACE_CHILDREN, "routes", "services", "service"},
        {"/services/foo/routes/bar", PLACE_CHILD, "routes", "services", "service"},
        {"/services/foo/client_certificate", PLACE_LINK, "certificates", "services", "client_certificate"},
        {"/routes/bar/service", PLACE_LINK, "services", "routes", "service"},
        {"/routes/bar/plugins", PLACE_CHILDREN, "plugins", "routes", "route"},
        {"/consumers/c/plugins", PLACE_CHILDREN, "plugins", "consumers", "consumer"},
        {"/consumers/c/key-auth", PLACE_CHILDREN, "keyauth_credentials", "consumers", "consumer"},
        {"/consumers/c/key-auths", PLACE_NONE, NULL, NULL, NULL},
        {"/key-auths", PLACE_COLLECTION, "keyauth_credentials", NULL, NULL},
        {"/key-auths/x/consumer", PLACE_LINK, "consumers", "keyauth_credentials", "consumer"},
        {"/certificates/x/snis/y", PLACE_CHILD, "snis", "certificates", "certificate"},
        {"/certificates/x/services", PLACE_CHILDREN, "services", "certificates", "client_certificate"},
        {"/certificates/x/upstreams", PLACE_CHILDREN, "upstreams", "certificates", "client_certificate"},
        {"/snis/x/certificate", PLACE_NONE, NULL, NULL, NULL},
        {"/upstreams/u/targets", PLACE_CHILDREN, "targets", "upstreams", "upstream"},
        {"/upstreams/u/targets/t", PLACE_CHILD, "targets", "upstreams", "upstream"},
        {"/upstreams/u/targets/all", PLACE_SPECIAL, NULL, NULL, NULL},
        {"/upstreams/u/health", PLACE_SPECIAL, NULL, NULL, NULL},
        {"/upstreams/u/targets/t/healthy", PLACE_NONE, NULL, NULL, NULL},
        {"/targets", PLACE_NONE, NULL, NULL, NULL},
        {"/targets/t", PLACE_NONE, NULL, NULL, NULL},
        {"/targets/t/upstream", PLACE_NONE, NULL, NULL, NULL},
        {"/plugins/enabled", PLACE_SPECIAL, NULL, NULL, NULL},
        {"/plugins/schema/cors", PLACE_SPECIAL, NULL, NULL, NULL},
        {"/plugins/schema", PLACE_ENTITY, "plugins", NULL, NULL},
        {"/schemas/services", PLACE_SPECIAL, NULL, NULL, NULL},
        {"/schemas/services/validate", PLACE_SPECIAL, NULL, NULL, NULL},
        {"/schemas/plugins/cors", PLACE_SPECIAL, NULL, NULL, NULL},
        {"/tags/x", PLACE_SPECIAL, NULL, NULL, NULL},
        {"/nope", PLACE_NONE, NULL, NULL, NULL},
        {"/services//routes", PLACE_NONE, NULL, NULL, NULL},
        {"/services/a/nope", PLACE_NONE, NULL, NULL, NULL},
        {"/services/a/routes/b/c", PLACE_NONE, NULL, NULL, NULL},
        {"/a/b/c/d/e/f/g/h/i/j", PLACE_NONE, NULL, NULL, NULL},
        {"/consumer_groups", PLACE_NONE, NULL, NULL, NULL},
    };
    /* clang-format on */

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct call c = {0};
        struct match m;

        arena_init(&c.arena, 0, 0);
        assert_true(call_parse_target(&c, str_of(cases[i].path)));
        m = router_find(c.seg, c.n_seg);
        if (m.place != cases[i].place)
            fail_msg("%s: place %d", cases[i].path, m.place);
        if (cases[i].ent)
            assert_string_equal(m.ent->name, cases[i].ent);
        if (cases[i].owner) {
            assert_string_equal(m.owner->name, cases[i].owner);
            assert_string_equal(m.link->name, cases[i].link);
        }
        call_fini(&c);
    }
}

static void targets(void **state)
{
    /* clang-format off */
    static const struct {
        const char *target;
        bool ok;
        const char *second; /* segment */
        const char *arg_a;
    } cases[] = {
        {"/services/a%20b?a=1&b=2", true, "a b", "1"},
        {"/services/a%2Fb/", true, "a/b", NULL},
        {"/services/x?a=%c3%bc", true, "x", "\xc3\xbc"},
        {"/services/x?a=", true, "x", ""},
        {"/services/x?", true, "x", NULL},
        {"/services/%00", false, NULL, NULL},
        {"/services/%ff", false, NULL, NULL},
        {"/services/x?a=%00", false, NULL, NULL},
        {"/services/x?%ff=1", false, NULL, NULL},
    };
    /* clang-format on */

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct call c = {0};

        arena_init(&c.arena, 0, 0);
        if (call_parse_target(&c, str_of(cases[i].target)) != cases[i].ok)
            fail_msg("%s", cases[i].target);
        if (cases[i].ok) {
            struct str a = call_arg(&c, "a");

            assert_true(str_eq(c.seg[1].text, str_of(cases[i].second)));
            assert_int_equal(a.p != NULL, cases[i].arg_a != NULL);
            assert_true(str_eq(a, str_of(cases[i].arg_a)));
        }
        call_fini(&c);
    }
}

static void methods(void **state)
{
    char list[80];

    (void)state;
    methods_list(METHODS_ENTITY, list, sizeof(list));
    assert_string_equal(list, "DELETE, GET, HEAD, OPTIONS, PATCH, PUT");
    methods_list(METHODS_LIST, list, sizeof(list));
    assert_string_equal(list, "GET, HEAD, OPTIONS, POST");
    assert_int_equal(method_parse(STR("PATCH")), M_PATCH);
    assert_int_equal(method_parse(STR("patch")), M_OTHER);
    assert_int_equal(method_parse(STR("PURGE")), M_OTHER);
}

static bool lists(const json_t *endpoints, const char *path)
{
    size_t i;
    json_t *one;

    json_array_foreach(endpoints, i,
                       one) if (strcmp(json_string_value(one), path) == 0) return true;
    return false;
}

static void endpoints(void **state)
{
    json_t *all = router_endpoints();

    (void)state;
    assert_true(lists(all, "/services/{services}/routes/{routes}"));
    assert_true(lists(all, "/consumers/{consumers}/key-auth"));
    assert_true(lists(all, "/routes/{routes}/service"));
    assert_false(lists(all, "/targets"));
    assert_false(lists(all, "/snis/{snis}/certificate"));
    assert_string_equal(json_string_value(json_array_get(all, 0)), "/");
    json_decref(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(places),
        cmocka_unit_test(targets),
        cmocka_unit_test(methods),
        cmocka_unit_test(endpoints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
