/* test_plugins_counters.c - exactness over threads, windows, eviction, bounded memory. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "common/clock.h"
#include "dataplane/plugins/counters.h"

#define SECOND 1000000ULL
#define START  (1700000000ULL * SECOND) /* 2023-11-14 22:13:20 UTC */

static uint64_t key_of(const struct counters *c, uint64_t n)
{
    struct str part = {(const char *)&n, sizeof(n)};
    return counters_key(c, &part, 1);
}

static enum take take(struct counters *c, uint64_t key, enum period p, uint64_t index, double limit)
{
    uint64_t before;
    return counters_take(c, key, p, index, limit, &before);
}

/* ---- windows ---- */

static void test_windows_are_the_calendar(void **state)
{
    static const struct {
        enum period p;
        uint64_t at_s, start_s, next_s; /* next_s: the window after it begins */
    } cases[] = {
        {PERIOD_SECOND, 1700000000, 1700000000, 1700000001},
        {PERIOD_MINUTE, 1700000000, 1699999980, 1700000040},
        {PERIOD_HOUR, 1700000000, 1699999200, 1700002800},
        {PERIOD_DAY, 1700000000, 1699920000, 1700006400},
        {PERIOD_MONTH, 1700000000, 1698796800, 1701388800}, /* 2023-11-01, 2023-12-01 */
        {PERIOD_MONTH, 1709164800, 1706745600, 1709251200}, /* 2024-02-29 in a leap year */
        {PERIOD_YEAR, 1700000000, 1672531200, 1704067200},  /* 2023-01-01, 2024-01-01 */
        {PERIOD_MONTH, 1703980800, 1701388800, 1704067200}, /* 2023-12-31 */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct window w = window_at(cases[i].p, cases[i].at_s * SECOND);
        struct window last = window_at(cases[i].p, cases[i].next_s * SECOND - 1);
        struct window next = window_at(cases[i].p, cases[i].next_s * SECOND);

        assert_int_equal(w.start_s, cases[i].start_s);
        assert_int_equal(last.index, w.index);
        assert_int_equal(next.index, w.index + 1);
        assert_int_equal(next.start_s, cases[i].next_s);
    }
}

static void test_a_new_window_starts_at_zero(void **state)
{
    struct counters *c = counters_new(64);
    uint64_t key = key_of(c, 1), before;

    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(take(c, key, PERIOD_HOUR, 100, 3), TAKE_OK);
    assert_int_equal(take(c, key, PERIOD_HOUR, 100, 3), TAKE_OVER);
    assert_int_equal(counters_read(c, key, PERIOD_HOUR, 100), 3);
    assert_int_equal(counters_read(c, key, PERIOD_HOUR, 101), 0);
    assert_int_equal(take(c, key, PERIOD_HOUR, 101, 3), TAKE_OK);
    assert_int_equal(counters_read(c, key, PERIOD_HOUR, 101), 1);

    /* a thread whose clock was read before the change counts in the new window */
    assert_int_equal(counters_take(c, key, PERIOD_HOUR, 100, 3, &before), TAKE_OK);
    assert_int_equal(before, 1);
    assert_int_equal(counters_read(c, key, PERIOD_HOUR, 101), 2);

    /* the clock was set back by days: not locked out until it has caught up */
    assert_int_equal(counters_take(c, key, PERIOD_HOUR, 50, 3, &before), TAKE_OK);
    assert_int_equal(before, 0);

    /* periods of one key do not touch each other */
    assert_int_equal(counters_read(c, key, PERIOD_DAY, 50), 0);
    counters_free(&c);
}

static void test_limits_may_be_fractions(void **state)
{
    struct counters *c = counters_new(64);
    uint64_t key = key_of(c, 1);

    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(take(c, key, PERIOD_DAY, 7, 2.5), TAKE_OK);
    assert_int_equal(take(c, key, PERIOD_DAY, 7, 2.5), TAKE_OVER);
    counters_give_back(c, key, PERIOD_DAY, 7);
    assert_int_equal(take(c, key, PERIOD_DAY, 7, 2.5), TAKE_OK);
    counters_give_back(c, key, PERIOD_DAY, 6 - 1); /* a window that has passed: nothing */
    assert_int_equal(counters_read(c, key, PERIOD_DAY, 7), 3);
    counters_free(&c);
}

static void test_keys_depend_on_where_parts_end(void **state)
{
    struct counters *c = counters_new(64);

    (void)state;
    assert_int_not_equal(counters_key(c, (struct str[]){STR("ab"), STR("c")}, 2),
                         counters_key(c, (struct str[]){STR("a"), STR("bc")}, 2));
    assert_int_equal(counters_key(c, (struct str[]){STR("ab"), STR("c")}, 2),
                     counters_key(c, (struct str[]){STR("ab"), STR("c")}, 2));
    counters_free(&c);
}

/* ---- bounded: full tables refuse, passed windows make room ---- */

static void test_a_full_table_makes_room_when_windows_pass(void **state)
{
    struct counters *c = counters_new(1); /* the smallest: 64 stripes of 64 places */
    uint64_t full = 0, n = 3 * 64 * 64, index, used;

    (void)state;
    clock_fake(START, START);
    index = window_at(PERIOD_MINUTE, START).index;
    for (uint64_t i = 0; i < n; i++)
        full += take(c, key_of(c, i), PERIOD_MINUTE, index, 5) == TAKE_FULL;
    used = counters_stats(c).used;
    assert_int_equal(used + full, n);
    assert_int_equal(counters_stats(c).dropped, full);
    assert_true(used <= 64 * 64);
    assert_true(full > 0);

    /* who is in keeps an exact count while the table is full */
    assert_int_equal(counters_read(c, key_of(c, 0), PERIOD_MINUTE, index), 1);

    clock_fake(START, START + 120 * SECOND);
    index += 2;
    for (uint64_t i = n; i < n + 1000; i++)
        assert_int_equal(take(c, key_of(c, i), PERIOD_MINUTE, index, 5), TAKE_OK);
    assert_true(counters_stats(c).used <= 64 * 64);
    clock_fake(0, 0);
    counters_free(&c);
}

/* ---- exact: threads ---- */

#define THREADS 4

struct load {
    struct counters *c;
    uint64_t keys, takes, index;
    double limit;
    enum period p;
    _Atomic uint64_t *admitted; /* per key */
    _Atomic int *go;
};

static void *taker(void *arg)
{
    const struct load *l = arg;

    while (!atomic_load(l->go))
        ;
    for (uint64_t i = 0; i < l->takes; i++) {
        uint64_t k = i % l->keys;

        if (take(l->c, key_of(l->c, k), l->p, l->index, l->limit) == TAKE_OK)
            atomic_fetch_add(&l->admitted[k], 1);
        if (i % 7 == 0) { /* what is given back can be taken again */
            if (take(l->c, key_of(l->c, k), l->p, l->index, l->limit) == TAKE_OK)
                counters_give_back(l->c, key_of(l->c, k), l->p, l->index);
        }
    }
    return NULL;
}

static void run_threads(void *(*fn)(void *), void *arg, _Atomic int *go)
{
    pthread_t threads[THREADS];

    atomic_store(go, 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, fn, arg), 0);
    atomic_store(go, 1);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

/* THREADS x takes asks of every key, limit L: exactly L are admitted of each. */
static void test_exactly_the_limit_is_admitted(void **state)
{
    static const struct {
        uint64_t keys, takes, limit;
    } cases[] = {{1, 20000, 30000}, {1, 20000, 1}, {64, 64000, 3001}, {500, 50000, 200}};
    uint64_t index = window_at(PERIOD_HOUR, START).index;

    (void)state;
    clock_fake(START, START);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _Atomic uint64_t admitted[500] = {0};
        _Atomic int go;
        struct load l = {counters_new(4096),     cases[i].keys, cases[i].takes, index,
                         (double)cases[i].limit, PERIOD_HOUR,   admitted,       &go};
        uint64_t asked = THREADS * cases[i].takes / cases[i].keys;

        run_threads(taker, &l, &go);
        for (uint64_t k = 0; k < cases[i].keys; k++) {
            /* a give-back may meet the last free one, so asks can fail early, never late */
            uint64_t count = counters_read(l.c, key_of(l.c, k), PERIOD_HOUR, index);

            assert_int_equal(count, admitted[k]);
            assert_true(admitted[k] <= cases[i].limit);
            if (asked < cases[i].limit)
                assert_int_equal(admitted[k], asked);
            while (take(l.c, key_of(l.c, k), PERIOD_HOUR, index, l.limit) == TAKE_OK)
                count++;
            assert_int_equal(count, cases[i].limit);
        }
        counters_free(&l.c);
    }
    clock_fake(0, 0);
}

static void *only_taker(void *arg)
{
    const struct load *l = arg;

    while (!atomic_load(l->go))
        ;
    for (uint64_t i = 0; i < l->takes; i++)
        if (take(l->c, key_of(l->c, i % l->keys), l->p, l->index, l->limit) == TAKE_OK)
            atomic_fetch_add(&l->admitted[i % l->keys], 1);
    return NULL;
}

static void test_n_threads_admit_exactly_l(void **state)
{
    static const uint64_t limits[] = {1, 2, 777, 39999, 40000, 40001};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        _Atomic uint64_t admitted[1] = {0};
        _Atomic int go;
        struct load l = {counters_new(64), 1,        10000, 1000, (double)limits[i],
                         PERIOD_SECOND,    admitted, &go};
        uint64_t asked = THREADS * 10000;

        run_threads(only_taker, &l, &go);
        assert_int_equal(admitted[0], limits[i] < asked ? limits[i] : asked);
        counters_free(&l.c);
    }
}

/* Threads move through windows while places change hands: every window's count stays exact. */
struct churn {
    struct counters *c;
    _Atomic uint64_t *admitted;
    _Atomic uint64_t dropped;
    _Atomic int *go;
    uint64_t index;
};

#define CHURN_KEYS 6000

static void *churner(void *arg)
{
    struct churn *ch = arg;

    while (!atomic_load(ch->go))
        ;
    for (int round = 0; round < 3; round++) {
        for (uint64_t k = 0; k < CHURN_KEYS; k++) {
            enum take t =
                take(ch->c, key_of(ch->c, ch->index * CHURN_KEYS + k), PERIOD_SECOND, ch->index, 5);

            if (t == TAKE_OK)
                atomic_fetch_add(&ch->admitted[k], 1);
            else if (t == TAKE_FULL)
                atomic_fetch_add(&ch->dropped, 1);
        }
    }
    return NULL;
}

static void test_places_change_hands_under_load(void **state)
{
    struct counters *c = counters_new(8192);
    static _Atomic uint64_t admitted[CHURN_KEYS];
    _Atomic int go;

    (void)state;
    for (uint64_t w = 0; w < 8; w++) {
        struct churn ch = {c, admitted, 0, &go, START / SECOND + 3 * w};

        clock_fake(START, START + 3 * w * SECOND);
        memset(admitted, 0, sizeof(admitted));
        run_threads(churner, &ch, &go);
        for (uint64_t k = 0; k < CHURN_KEYS; k++)
            assert_true(admitted[k] == 5 || (ch.dropped && admitted[k] == 0));
        assert_true(ch.dropped < THREADS * 3 * CHURN_KEYS / 20);
    }
    assert_true(counters_stats(c).used <= 8192);
    clock_fake(0, 0);
    counters_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_windows_are_the_calendar),
        cmocka_unit_test(test_a_new_window_starts_at_zero),
        cmocka_unit_test(test_limits_may_be_fractions),
        cmocka_unit_test(test_keys_depend_on_where_parts_end),
        cmocka_unit_test(test_a_full_table_makes_room_when_windows_pass),
        cmocka_unit_test(test_exactly_the_limit_is_admitted),
        cmocka_unit_test(test_n_threads_admit_exactly_l),
        cmocka_unit_test(test_places_change_hands_under_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
