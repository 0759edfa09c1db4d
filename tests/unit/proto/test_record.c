/* Framing of records and the state hash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proto/record.h"

static struct uuid key_of(unsigned char c)
{
    struct uuid u;

    memset(u.b, c, sizeof(u.b));
    return u;
}

static void round_trip(void **state)
{
    static const size_t lengths[] = {0, 1, 127, 128, 16383, 16384, RECORD_BODY_MAX};
    char *bytes = xmalloc(RECORD_BODY_MAX);
    struct sbuf out = {0};
    struct str rest;
    struct record r;
    struct err e;

    (void)state;
    memset(bytes, 'x', RECORD_BODY_MAX);
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        struct record put = {REC_PUT, 63, key_of(7), str_n(bytes, lengths[i])};
        struct record gone = {REC_DELETE, 1, key_of(9), STR_NONE};

        record_append(&out, &put);
        record_append(&out, &gone);
    }
    rest = sbuf_str(&out);
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        struct uuid key = key_of(7);

        assert_int_equal(record_next(&rest, &r, &e), 1);
        assert_int_equal(r.op, REC_PUT);
        assert_int_equal(r.type, 63);
        assert_true(uuid_eq(&r.key, &key));
        assert_int_equal(r.body.len, lengths[i]);
        assert_memory_equal(r.body.p, bytes, lengths[i]);
        assert_int_equal(record_next(&rest, &r, &e), 1);
        assert_int_equal(r.op, REC_DELETE);
        assert_int_equal(r.type, 1);
        assert_int_equal(r.body.len, 0);
    }
    assert_int_equal(record_next(&rest, &r, &e), 0);
    sbuf_free(&out);
    free(bytes);
}

#define KEY16 "kkkkkkkkkkkkkkkk"
static const struct {
    const char *name;
    struct str bytes;
    const char *error;
} bad[] = {
    {"type 0", STR("\x00" KEY16 "\x00"), "record of type 0, expected 1 to 63"},
    {"operation 2", STR("\x81" KEY16), "record operation 2, expected 0 or 1"},
    {"operation 3", STR("\xff" KEY16), "record operation 3, expected 0 or 1"},
    {"key cut", STR("\x01kkk"), "record cut short: 4 bytes, expected at least 17"},
    {"no length", STR("\x01" KEY16), "bad record length, expected a varint of 1 to 3 bytes"},
    {"length cut", STR("\x01" KEY16 "\x80"),
     "bad record length, expected a varint of 1 to 3 bytes"},
    {"length too long", STR("\x01" KEY16 "\x80\x80\x80\x01"),
     "bad record length, expected a varint of 1 to 3 bytes"},
    {"length spelled long", STR("\x01" KEY16 "\x81\x00x"),
     "bad record length, expected a varint of 1 to 3 bytes"},
    {"length over the bound", STR("\x01" KEY16 "\x81\x80\x20"),
     "record body of 524289 bytes, expected at most 524288"},
    {"body cut", STR("\x01" KEY16 "\x03xy"), "record cut short: 2 bytes of body, expected 3"},
};

static void refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        /* a copy of its own size, so that a sanitizer sees a read beyond it */
        char *copy = xmalloc(bad[i].bytes.len);
        struct str rest = str_n(copy, bad[i].bytes.len);
        struct err e = {0};
        struct record r;

        memcpy(copy, bad[i].bytes.p, bad[i].bytes.len);
        if (record_next(&rest, &r, &e) != -1)
            fail_msg("%s: was taken", bad[i].name);
        assert_string_equal(e.message, bad[i].error);
        assert_ptr_equal(rest.p, copy); /* nothing consumed */
        free(copy);
    }
}

static void hash_is_a_sum(void **state)
{
    struct state_hash a = {{0}}, b = {{0}}, back, zero = {{0}};
    unsigned char bytes[32];
    char hex[65];

    (void)state;
    for (unsigned char i = 0; i < 200; i++) {
        struct uuid k = key_of(i), l = key_of((unsigned char)(199 - i));

        state_hash_add(&a, 5, &k, STR("body"));
        state_hash_add(&b, 5, &l, STR("body"));
    }
    assert_true(state_hash_eq(&a, &b));
    state_hash_bytes(&a, bytes);
    state_hash_from_bytes(&back, bytes);
    assert_true(state_hash_eq(&a, &back));
    for (unsigned char i = 0; i < 200; i++) {
        struct uuid k = key_of(i);

        state_hash_sub(&a, 5, &k, STR("body"));
    }
    assert_true(state_hash_eq(&a, &zero));

    /* subtraction borrows through every word, and addition carries back */
    struct uuid k = key_of(1);
    state_hash_sub(&a, 5, &k, STR("x"));
    assert_false(state_hash_eq(&a, &zero));
    state_hash_add(&a, 5, &k, STR("x"));
    assert_true(state_hash_eq(&a, &zero));
    state_hash_hex(&a, hex);
    assert_string_equal(hex, "0000000000000000000000000000000000000000000000000000000000000000");
}

static void hash_of_one(void **state)
{
    struct state_hash h = {{0}}, other = {{0}};
    struct uuid k = key_of('k');
    char hex[65];

    (void)state;
    state_hash_add(&h, 4, &k, STR("abc")); /* printf '\4kkkkkkkkkkkkkkkkabc' | sha256sum */
    state_hash_hex(&h, hex);
    assert_string_equal(hex, "5001bd2959a7631cc79d0ce4bbf2f1bedc7cebc3f6ff28bd2fbbd1a45c638604");
    state_hash_add(&other, 5, &k, STR("abc")); /* the type counts */
    assert_false(state_hash_eq(&h, &other));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(refusals),
        cmocka_unit_test(hash_is_a_sum),
        cmocka_unit_test(hash_of_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
