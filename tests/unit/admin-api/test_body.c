/* test_body.c - request texts: escapes, arguments, multipart, UTF-8. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "admin-api/body.h"

static void assert_str(struct str got, const char *want)
{
    assert_int_equal(got.len, strlen(want));
    assert_memory_equal(got.p, want, got.len);
}

static void percent_encodes(void **state)
{
    struct sbuf b = {0};

    (void)state;
    percent_encode(&b, STR("aZ0-._~/ ,\xc3\xbc"));
    assert_string_equal(b.p, "aZ0-._~%2F%20%2C%C3%BC");
    sbuf_free(&b);
}

static void texts(void **state)
{
    /* clang-format off */
    static const struct {
        struct str text;
        bool ok;
    } cases[] = {
        {{"plain", 5}, true},          {{"\xc3\xbc", 2}, true},        {{"\xe2\x82\xac", 3}, true},
        {{"\xf0\x9f\x98\x80", 4}, true}, {{"", 0}, true},              {{"a\0b", 3}, false},
        {{"\xc3", 1}, false},          {{"\xbc", 1}, false},           {{"\xc0\x80", 2}, false},
        {{"\xc1\xbf", 2}, false},      {{"\xe0\x80\x80", 3}, false},   {{"\xed\xa0\x80", 3}, false},
        {{"\xf0\x80\x80\x80", 4}, false}, {{"\xf4\x90\x80\x80", 4}, false}, {{"\xf5\x80\x80\x80", 4}, false},
        {{"\xe2\x82", 2}, false},      {{"\xe2\x28\xa1", 3}, false},   {{"\xff", 1}, false},
    };
    /* clang-format on */

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (text_ok(cases[i].text) != cases[i].ok)
            fail_msg("case %zu", i);
}

static void arguments(void **state)
{
    struct form_arg *v;
    struct arena a;
    size_t n;

    (void)state;
    arena_init(&a, 0, 0);
    n = args_decode(&a, STR("a=1&b=x%20y+z&c&=no&&d="), 10, &v);
    assert_int_equal(n, 4);
    assert_str(v[1].name, "b");
    assert_str(v[1].value, "x y z");
    assert_str(v[2].name, "c");
    assert_str(v[2].value, "");
    assert_str(v[3].value, "");
    assert_int_equal(args_decode(&a, STR(""), 10, &v), 0);
    assert_int_equal(args_decode(&a, STR("a=1&b=2&c=3"), 2, &v), (size_t)-1);
    assert_int_equal(args_decode(&a, STR("a=1&b=2"), 2, &v), 2);
    arena_fini(&a);
}

static void header_params(void **state)
{
    /* clang-format off */
    static const struct {
        const char *in, *want;
    } cases[] = {
        {"multipart/form-data; boundary=abc", "abc"},
        {"multipart/form-data; boundary=\"a b;c\"", "a b;c"},
        {"multipart/form-data;charset=utf-8; Boundary = abc ", "abc"},
        {"multipart/form-data; x=\"boundary=no\"; boundary=yes", "yes"},
        {"multipart/form-data", NULL},
        {"multipart/form-data; boundary", NULL},
        {"multipart/form-data; boundary=\"open", NULL},
        {";;;=", NULL},
    };
    /* clang-format on */

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str got = header_param(str_of(cases[i].in), "boundary");

        if (cases[i].want)
            assert_str(got, cases[i].want);
        else
            assert_null(got.p);
    }
}

#define PART(name, value) \
    "--XX\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n" value "\r\n"

static void multiparts(void **state)
{
    /* clang-format off */
    static const struct {
        const char *in;
        int n;
        const char *name, *value; /* of the first */
    } cases[] = {
        {PART("a", "1") PART("b", "2") "--XX--\r\n", 2, "a", "1"},
        {PART("a", "1") PART("a", "2") "--XX--", 1, "a", "2"},
        {"preamble\r\n" PART("a", "x\r\n--X\r\n") "--XX--\r\n", 1, "a", "x\r\n--X\r\n"},
        {"--XX\r\ncontent-type: text/plain\r\ncontent-disposition: form-data; name=a\r\n\r\n\r\n--XX--", 1, "a", ""},
        {"--XX--\r\n", 0, NULL, NULL},
        {PART("a", "1"), -1, NULL, NULL},
        {PART("a", "1") "--XX", -1, NULL, NULL},
        {"--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n", -1, NULL, NULL},
        {"", -1, NULL, NULL},
        {"--", -1, NULL, NULL},
        {PART("a", "1") PART("b", "2") PART("c", "3") PART("d", "4") "--XX--", -1, NULL, NULL},
    };
    /* clang-format on */
    struct arena a;

    (void)state;
    arena_init(&a, 0, 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct form_arg *v;
        size_t n = multipart_decode(&a, STR("XX"), str_of(cases[i].in), 3, &v);

        if (n != (size_t)cases[i].n)
            fail_msg("case %zu: %zd parts", i, (ssize_t)n);
        if (cases[i].name) {
            assert_str(v[0].name, cases[i].name);
            assert_str(v[0].value, cases[i].value);
        }
    }
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percent_encodes), cmocka_unit_test(texts),
        cmocka_unit_test(arguments),       cmocka_unit_test(header_params),
        cmocka_unit_test(multiparts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
