/* Memory, strings, errors, ids: the ground that the rest stands on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "common/arena.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/rand.h"
#include "common/uuid.h"

static void arena_cap_is_a_normal_error(void **state)
{
    struct arena a;
    size_t got = 0;

    (void)state;
    arena_init(&a, 64, 1024);
    while (got < 10000 && arena_alloc(&a, 48))
        got += 48;
    assert_true(got >= 480 && got <= 1024);
    assert_null(arena_alloc(&a, 1024));
    arena_reset(&a);
    assert_non_null(arena_alloc(&a, 48)); /* and usable again */
    arena_fini(&a);
}

static void arena_blocks_do_not_overlap(void **state)
{
    _Alignas(16) char room[257];
    struct arena a;
    char *p[200];

    (void)state;
    arena_init_in(&a, room + 1, sizeof(room) - 1, 0);
    for (size_t i = 0; i < ARRAY_LEN(p); i++) {
        size_t size = 1 + i * 7 % 300;
        p[i] = arena_alloc(&a, size);
        assert_int_equal((uintptr_t)p[i] % 16, 0);
        memset(p[i], (int)i, size);
    }
    for (size_t i = 0; i < ARRAY_LEN(p); i++)
        for (size_t k = 0; k < 1 + i * 7 % 300; k++)
            assert_int_equal((unsigned char)p[i][k], i);
    arena_fini(&a);
}

static void arena_refuses_absurd_sizes(void **state)
{
    struct arena a;

    (void)state;
    arena_init(&a, 0, 4096);
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_null(arena_alloc(&a, SIZE_MAX - 7));
    arena_fini(&a);
}

static void numbers(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        int64_t value;
    } cases[] = {
        {"0", true, 0},
        {"-1", true, -1},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"", false, 0},
        {"-", false, 0},
        {"+1", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"0x10", false, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t v = 0;
        assert_int_equal(str_to_i64(str_of(cases[i].text), &v), cases[i].ok);
        if (cases[i].ok)
            assert_int_equal(v, cases[i].value);
    }
}

static void numbers_written(void **state)
{
    static const struct {
        uint64_t v;
        const char *decimal, *hex;
    } cases[] = {
        {0, "0", "0000000000000000"},
        {9, "9", "0000000000000009"},
        {10, "10", "000000000000000a"},
        {99, "99", "0000000000000063"},
        {100, "100", "0000000000000064"},
        {1005, "1005", "00000000000003ed"},
        {65535, "65535", "000000000000ffff"},
        {0x0123456789abcdefu, "81985529216486895", "0123456789abcdef"},
        {UINT64_MAX, "18446744073709551615", "ffffffffffffffff"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char room[20], hex[16], *end = room + sizeof(room), *at = str_u64(cases[i].v, end);

        assert_true(str_eq(str_n(at, (size_t)(end - at)), str_of(cases[i].decimal)));
        str_hex16(cases[i].v, hex);
        assert_memory_equal(hex, cases[i].hex, sizeof(hex));
    }
}

static void pieces(void **state)
{
    struct str rest = STR("a,,b,"), piece;
    const char *want[] = {"a", "", "b", ""};
    size_t n = 0;

    (void)state;
    while (str_next(&rest, ',', &piece)) {
        assert_true(n < ARRAY_LEN(want));
        assert_true(str_eq(piece, str_of(want[n++])));
    }
    assert_int_equal(n, 4);
}

static void secrets_compare_whole(void **state)
{
    (void)state;
    assert_true(str_eq_secret(STR("abc"), STR("abc")));
    assert_false(str_eq_secret(STR("abc"), STR("abd")));
    assert_false(str_eq_secret(STR("abc"), STR("ab")));
    assert_false(str_eq_secret(STR("ab"), STR("abab")));
    assert_false(str_eq_secret(STR("abab"), STR("ab")));
    assert_false(str_eq_secret(STR("a"), STR("")));
    assert_true(str_eq_secret(STR(""), STR("")));
}

static void errors_gain_their_path(void **state)
{
    struct err e;

    (void)state;
    assert_int_equal(err_set(&e, ERR_INVALID, "should start with: %c", '/'), -1);
    assert_int_equal(err_in(&e, "paths.1"), -1);
    err_in(&e, "routes.3");
    assert_string_equal(err_text(&e), "routes.3.paths.1: should start with: /");
    for (int i = 0; i < 200; i++)
        err_in(&e, "deep"); /* is cut, does not overflow */
    assert_true(strlen(e.path) < sizeof(e.path));
}

static void ids(void **state)
{
    /* RFC 9562 appendix A.4: version 5 of www.example.com in the DNS space */
    struct uuid dns, u, v;
    char text[UUID_TEXT_LEN + 1];
    static const char *const bad[] = {"", "6ba7b810-9dad-11d1-80b4-00c04fd430c", "6ba7b810-9dad-11d1-80b4-00c04fd430c8a",
                                      "6ba7b8109-dad-11d1-80b4-00c04fd430c8", "6ba7b810-9dad-11d1-80b4-00c04fd430cg"};

    (void)state;
    assert_true(uuid_parse(STR("6ba7b810-9dad-11d1-80b4-00c04fd430c8"), &dns));
    u = uuid_v5(&dns, STR("www.example.com"));
    uuid_format(&u, text);
    assert_string_equal(text, "2ed6657d-e927-568b-95e1-2665a8aea6a2");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(uuid_parse(str_of(bad[i]), &u));
    u = uuid_v4();
    v = uuid_v4();
    assert_false(uuid_eq(&u, &v));
    assert_int_equal(u.b[6] >> 4, 4);
    assert_int_equal(u.b[8] >> 6, 2);
}

static void tokens(void **state)
{
    char a[33], b[33];

    (void)state;
    rand_token(a, 32);
    rand_token(b, 32);
    assert_int_equal(strlen(a), 32);
    assert_int_equal(strspn(a, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"), 32);
    assert_string_not_equal(a, b);
}

static void fake_time_stands_still(void **state)
{
    (void)state;
    clock_fake(5, 7);
    assert_int_equal(clock_mono_us(), 5);
    assert_int_equal(clock_wall_us(), 7);
    clock_fake(0, 0);
    assert_true(clock_wall_us() > 1600000000000000u);
}

static void growing_buffer(void **state)
{
    struct sbuf b = {0};
    char *taken;

    (void)state;
    sbuf_addf(&b, "%s", ""); /* nothing makes a text, too */
    assert_non_null(b.p);
    for (int i = 0; i < 1000; i++)
        sbuf_addf(&b, "%d,", i);
    assert_int_equal(b.len, 3890);
    assert_int_equal(b.p[b.len], '\0');
    taken = sbuf_take(&b);
    assert_int_equal(strlen(taken), 3890);
    free(taken);
    taken = sbuf_take(&b); /* an empty one is still a string */
    assert_string_equal(taken, "");
    free(taken);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_cap_is_a_normal_error),
        cmocka_unit_test(arena_blocks_do_not_overlap),
        cmocka_unit_test(arena_refuses_absurd_sizes),
        cmocka_unit_test(numbers),
        cmocka_unit_test(numbers_written),
        cmocka_unit_test(pieces),
        cmocka_unit_test(secrets_compare_whole),
        cmocka_unit_test(errors_gain_their_path),
        cmocka_unit_test(ids),
        cmocka_unit_test(tokens),
        cmocka_unit_test(fake_time_stands_still),
        cmocka_unit_test(growing_buffer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
