/* The timer wheel: never early, late by a tick at most, moved and cleared for free. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "dataplane/wheel.h"

static struct wheel wheel;
static uint64_t now_us, asked_us;

struct probe {
    struct timer timer;
    uint64_t want_us, fired_us;
    unsigned times;
};

static void wake(void *arg, uint64_t due_us)
{
    (void)arg;
    asked_us = due_us;
}

static void fired(struct timer *t)
{
    struct probe *p = CONTAINER_OF(t, struct probe, timer);

    p->fired_us = now_us;
    p->times++;
}

/* As the event loop does: sleeps until it was asked to wake. */
static void run_until(uint64_t end_us)
{
    while (asked_us && asked_us <= end_us) {
        now_us = asked_us;
        asked_us = 0;
        wheel_turn(&wheel, now_us);
    }
    now_us = end_us;
}

static void begin(void)
{
    now_us = 123456789;
    asked_us = 0;
    wheel_init(&wheel, now_us, wake, NULL);
}

static void fires_once_and_on_time(void **state)
{
    static const uint64_t waits[] = {0, 1, 9999, 10000, 10001, 500000, 5110000, 5130000, 60000000, 3600000000};
    struct probe p[ARRAY_LEN(waits)] = {0};

    (void)state;
    begin();
    for (size_t i = 0; i < ARRAY_LEN(waits); i++) {
        p[i].timer.fn = fired;
        p[i].want_us = now_us + waits[i];
        timer_set(&wheel, &p[i].timer, p[i].want_us);
    }
    run_until(now_us + 3700000000u);
    for (size_t i = 0; i < ARRAY_LEN(waits); i++) {
        assert_int_equal(p[i].times, 1);
        assert_true(p[i].fired_us >= p[i].want_us);
        assert_true(p[i].fired_us <= p[i].want_us + 2 * WHEEL_TICK_US);
    }
    assert_int_equal(asked_us, 0); /* nothing armed: nobody wakes up */
}

static void moving_and_clearing(void **state)
{
    struct probe later = {.timer = {.fn = fired}}, sooner = later, cleared = later, gone = later;
    uint64_t start;

    (void)state;
    begin();
    start = now_us;
    timer_set(&wheel, &later.timer, start + 100000);
    timer_set(&wheel, &later.timer, start + 900000);
    timer_set(&wheel, &sooner.timer, start + 900000);
    timer_set(&wheel, &sooner.timer, start + 50000);
    timer_set(&wheel, &cleared.timer, start + 60000);
    timer_clear(&cleared.timer);
    timer_set(&wheel, &gone.timer, start + 60000);
    timer_unlink(&gone.timer);
    run_until(start + 500000);
    assert_int_equal(later.times, 0);
    assert_int_equal(sooner.times, 1);
    run_until(start + 1000000);
    assert_int_equal(later.times, 1);
    assert_int_equal(cleared.times + gone.times, 0);
    timer_set(&wheel, &cleared.timer, now_us + 10000); /* and usable again */
    run_until(now_us + 100000);
    assert_int_equal(cleared.times, 1);
}

static struct probe victim;

static void kills_victim(struct timer *t)
{
    fired(t);
    timer_unlink(&victim.timer);
}

static void a_callback_may_unlink_its_neighbour(void **state)
{
    struct probe a = {.timer = {.fn = kills_victim}}, b = a;

    (void)state;
    begin();
    victim = (struct probe){.timer = {.fn = fired}};
    timer_set(&wheel, &a.timer, now_us + 20000);
    timer_set(&wheel, &victim.timer, now_us + 20000);
    timer_set(&wheel, &b.timer, now_us + 20000);
    run_until(now_us + 100000);
    assert_int_equal(a.times + b.times, 2);
    assert_int_equal(victim.times, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fires_once_and_on_time),
        cmocka_unit_test(moving_and_clearing),
        cmocka_unit_test(a_callback_may_unlink_its_neighbour),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
