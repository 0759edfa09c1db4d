/* Header lists: known names, order, replacing and removing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "dataplane/msg.h"

static void every_known_name_is_found_in_any_case(void **state)
{
    (void)state;
    for (unsigned id = HDR_OTHER + 1; id < HDR_COUNT; id++) {
        struct str name = header_id_name(id);
        char upper[64], lower[64];

        for (size_t i = 0; i < name.len; i++) {
            lower[i] = ascii_lower(name.p[i]);
            upper[i] = lower[i] >= 'a' && lower[i] <= 'z' ? (char)(lower[i] - 32) : lower[i];
        }
        assert_int_equal(header_id_of(name), id);
        assert_int_equal(header_id_of(str_n(upper, name.len)), id);
        assert_int_equal(header_id_of(str_n(lower, name.len)), id);
        assert_int_equal(header_id_of(str_n(lower, name.len - 1)), HDR_OTHER);
    }
    assert_int_equal(header_id_of(STR("")), HDR_OTHER);
    assert_int_equal(header_id_of(STR("X-Unknown")), HDR_OTHER);
}

static void set_replaces_all_and_keeps_the_place(void **state)
{
    struct headers hs = {0};
    struct arena a;
    struct str seen[3];
    size_t n = 0;

    (void)state;
    arena_init(&a, 0, 0);
    assert_true(headers_add(&hs, &a, STR("Via"), STR("1")));
    assert_true(headers_add(&hs, &a, STR("X-A"), STR("2")));
    assert_true(headers_add(&hs, &a, STR("x-a"), STR("3")));
    assert_true(headers_add(&hs, &a, STR("VIA"), STR("4")));
    assert_true(headers_set(&hs, &a, STR("X-a"), STR("5")));
    assert_true(headers_set(&hs, &a, STR("via"), STR("6")));
    assert_true(headers_set(&hs, &a, STR("X-New"), STR("7")));
    HEADERS_EACH(h, &hs)
        seen[n++] = h->value;
    assert_int_equal(n, 3);
    assert_true(str_eq(seen[0], STR("6")) && str_eq(seen[1], STR("5")) && str_eq(seen[2], STR("7")));
    headers_remove(&hs, STR("VIA"));
    headers_remove(&hs, STR("x-new"));
    assert_null(headers_find(&hs, STR("Via")));
    assert_null(headers_find(&hs, STR("X-New")));
    assert_non_null(headers_find(&hs, STR("X-A")));
    arena_fini(&a);
}

static void growing_keeps_all_and_the_cap_is_an_error(void **state)
{
    struct headers hs = {0};
    struct arena a;
    size_t n = 0;

    (void)state;
    arena_init(&a, 0, 16384);
    while (headers_add(&hs, &a, STR("X"), STR("y")) && n < 100000)
        n++;
    assert_true(n > 50 && n < 1000);
    assert_int_equal(hs.n, n);
    HEADERS_EACH(h, &hs)
        assert_true(str_eq(h->value, STR("y")));
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_known_name_is_found_in_any_case),
        cmocka_unit_test(set_replaces_all_and_keeps_the_place),
        cmocka_unit_test(growing_keeps_all_and_the_cap_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
