/* Frames: what is cut, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proto/frame.h"

static void cut_lengths(void **state)
{
    static const struct {
        const char *name;
        struct str in;
        size_t max;
        int rc;
        size_t need;
    } cases[] = {
        {"empty", {"", 0}, 100, 0, 4},
        {"half a length", {"\0\0\0", 3}, 100, 0, 4},
        {"length only", {"\0\0\0\5", 4}, 100, 0, 9},
        {"part of the body", {"\0\0\0\5abc", 7}, 100, 0, 9},
        {"whole", {"\0\0\0\3abc", 7}, 100, 1, 0},
        {"whole and more", {"\0\0\0\3abcdef", 10}, 3, 1, 0},
        {"nothing inside", {"\0\0\0\0", 4}, 100, -1, 0},
        {"one above the bound", {"\0\0\0\4", 4}, 3, -1, 0},
        {"huge", {"\xff\xff\xff\xff", 4}, FRAME_MAX_TO_DP, -1, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str body = STR_NONE;
        size_t used = 0, need = 0;
        struct err e = {0};
        int rc = frame_cut(cases[i].in, cases[i].max, &body, &used, &need, &e);

        if (rc != cases[i].rc || (rc == 0 && need != cases[i].need))
            fail_msg("%s: %d, need %zu", cases[i].name, rc, need);
        if (rc == 1 && (body.len != 3 || memcmp(body.p, "abc", 3) || used != 7))
            fail_msg("%s: wrong body", cases[i].name);
        if (rc == -1 && e.code != ERR_PEER)
            fail_msg("%s: no error", cases[i].name);
    }
}

static const unsigned char id[16] = {1, 2, 3}, hash[32] = {9};

static void fill_hello(Weir__Hello *h)
{
    weir__hello__init(h);
    h->protocol = 1;
    h->node_id = frame_bytes(id, 16);
    h->hostname = (char *)(uintptr_t) "edge-1";
    h->cluster = frame_bytes(id, 16);
    h->state_hash = frame_bytes(hash, 32);
    h->have_version = 77;
}

static void round_trip(void **state)
{
    Weir__Hello h;
    Weir__Frame f = WEIR__FRAME__INIT, *back;
    struct frame_buf *b;
    struct str body;
    size_t used, need;
    struct err e = {0};
    struct uuid u;

    (void)state;
    fill_hello(&h);
    f.kind_case = WEIR__FRAME__KIND_HELLO;
    f.hello = &h;
    b = frame_encode(&f);
    assert_int_equal(frame_cut(str_n((char *)b->p, b->len), FRAME_MAX_TO_CP, &body, &used, &need, &e),
                     1);
    assert_int_equal(used, b->len);
    back = frame_decode(body, &e);
    assert_non_null(back);
    assert_string_equal(frame_kind_word(back), "hello");
    assert_int_equal(back->hello->have_version, 77);
    u = frame_uuid(&back->hello->node_id);
    assert_memory_equal(u.b, id, 16);
    frame_free(&back);
    frame_buf_unref(&b);
}

enum fault { NO_ID, SHORT_ID, SHORT_HASH, NO_HASH, CONTROL, LONG_TEXT, LABELS };

static void refused_fields(void **state)
{
    static const struct {
        enum fault fault;
        const char *expected;
    } cases[] = {
        {NO_ID, "node_id"},   {SHORT_ID, "node_id"},  {SHORT_HASH, "state_hash"},
        {NO_HASH, "state_hash"}, {CONTROL, "hostname"}, {LONG_TEXT, "hostname"},
        {LABELS, "labels"},
    };
    char *text = malloc(5000), *many[100];

    (void)state;
    memset(text, 'x', 4999);
    text[4999] = '\0';
    for (size_t i = 0; i < 100; i++)
        many[i] = text + 4990;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Weir__Hello h;
        Weir__Frame f = WEIR__FRAME__INIT, *back;
        struct frame_buf *b;
        struct err e = {0};

        fill_hello(&h);
        switch (cases[i].fault) {
        case NO_ID: h.node_id.len = 0; break;
        case SHORT_ID: h.node_id.len = 15; break;
        case SHORT_HASH: h.state_hash.len = 31; break;
        case NO_HASH: h.state_hash.len = 0; break;
        case CONTROL: h.hostname = (char *)(uintptr_t) "a\nb"; break;
        case LONG_TEXT: h.hostname = text; break;
        case LABELS: h.labels = many, h.n_labels = 100; break;
        }
        f.kind_case = WEIR__FRAME__KIND_HELLO;
        f.hello = &h;
        b = frame_encode(&f);
        back = frame_decode(str_n((char *)b->p + 4, b->len - 4), &e);
        if (back || !strstr(err_text(&e), cases[i].expected))
            fail_msg("case %zu: %s", i, back ? "accepted" : err_text(&e));
        frame_buf_unref(&b);
    }
    free(text);
}

static void refused_bytes(void **state)
{
    static const struct str cases[] = {{"\xff\xff\xff", 3}, {"", 0}, {"\x0a\x7f", 2}, {"\x78\x01", 2}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err e = {0};

        assert_null(frame_decode(cases[i], &e));
        assert_int_equal(e.code, ERR_PEER);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_lengths),
        cmocka_unit_test(round_trip),
        cmocka_unit_test(refused_fields),
        cmocka_unit_test(refused_bytes),
    };

    return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
