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

/* The parser takes a name that is found for a token, so nothing else may be found. */
static void no_other_byte_is_a_known_name(void **state)
{
    (void)state;
    for (unsigned id = HDR_OTHER + 1; id < HDR_COUNT; id++) {
        struct str name = header_id_name(id);
        char other[64];

        memcpy(other, name.p, name.len);
        for (size_t i = 0; i < name.len; i++) {
            for (unsigned c = 0; c < 256; c++) {
                other[i] = (char)c;
                assert_int_equal(header_id_of(str_n(other, name.len)) == id, str_ieq(str_n(other, name.len), name));
            }
            other[i] = name.p[i];
        }
    }
}

/* Lengths that are 16 apart share a mark, and so do those that are equal. */
static void names_that_look_alike_stay_apart(void **state)
{
    struct headers hs = {0};
    struct arena a;
    struct str first = STR("none");

    (void)state;
    arena_init(&a, 0, 0);
    assert_true(headers_set(&hs, &a, STR("X-Abc"), STR("1")));
    assert_null(headers_find(&hs, STR("X-Abd")));
    assert_null(headers_find(&hs, STR("X-Abc-0123456789abcde")));
    assert_int_equal(headers_all(&hs, STR("X-Abd"), &first), 0);
    assert_true(headers_set(&hs, &a, STR("X-Abd"), STR("2")));
    assert_true(headers_add(&hs, &a, STR("x-abd"), STR("3")));
    assert_true(headers_set(&hs, &a, STR("X-Abc"), STR("4")));
    assert_int_equal(headers_all(&hs, STR("X-ABD"), &first), 2);
    assert_true(str_eq(first, STR("2")));
    assert_true(str_eq(headers_find(&hs, STR("x-abc"))->value, STR("4")));
    assert_null(headers_find_id(&hs, HDR_VIA));
    assert_true(headers_set_id(&hs, &a, HDR_VIA, STR("5")) && headers_set_id(&hs, &a, HDR_VIA, STR("6")));
    assert_int_equal(headers_all(&hs, STR("via"), &first), 1);
    assert_true(str_eq(first, STR("6")));
    headers_remove_id(&hs, HDR_VIA);
    assert_null(headers_find(&hs, STR("Via")));
    arena_fini(&a);
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
        cmocka_unit_test(no_other_byte_is_a_known_name),
        cmocka_unit_test(names_that_look_alike_stay_apart),
        cmocka_unit_test(set_replaces_all_and_keeps_the_place),
        cmocka_unit_test(growing_keeps_all_and_the_cap_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
