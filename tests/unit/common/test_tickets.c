/* When keys of session tickets come and go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/entities.h"
#include "common/tickets.h"

#define HOUR 3600
#define DAY  86400

static void test_plan(void **state)
{
    static const struct {
        size_t n;
        int64_t newest, now, wait;
        unsigned add, drop;
    } cases[] = {
        {0, 0, DAY, 0, 2, 0},                          /* the first start */
        {1, DAY, DAY, 0, 1, 0},
        {2, DAY, DAY, 12 * HOUR, 0, 0},
        {2, DAY, DAY + 12 * HOUR - 1, 1, 0, 0},
        {2, DAY, DAY + 12 * HOUR, 0, 1, 0},            /* now there is a previous one */
        {3, DAY, DAY + 12 * HOUR, 0, 1, 1},
        {3, DAY, 9 * DAY, 0, 1, 1},                    /* after a long stop: one step, as always */
        {4, DAY, DAY, 12 * HOUR, 0, 1},                /* more than there should be */
        {3, DAY + HOUR, DAY, 12 * HOUR, 0, 0},         /* the clock was set back a little */
        {3, 9 * DAY, DAY, 12 * HOUR, 1, 1},            /* and a lot: no waiting for that day */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct ticket_plan p = ticket_plan(cases[i].n, cases[i].newest, cases[i].now, 12 * HOUR);

        if (p.add != cases[i].add || p.drop != cases[i].drop)
            fail_msg("case %zu: +%u -%u", i, p.add, p.drop);
        assert_int_equal(ticket_wait_s(cases[i].n, cases[i].newest, cases[i].now, 12 * HOUR), cases[i].wait);
    }
}

/* Every key is known for a rotation before it encrypts, and decrypts for one afterwards. */
static void test_a_life(void **state)
{
    int64_t made[TICKET_KEYS + 1], first = 0, next = 0, now = 0;
    size_t n = 0;

    (void)state;
    for (int round = 0; round < 20; round++, now += HOUR) {
        struct ticket_plan p = ticket_plan(n, n ? made[n - 1] : 0, now, HOUR);

        for (; p.add; p.add--, next++)
            made[n++] = now;
        for (; p.drop; p.drop--, first++)
            memmove(made, made + 1, --n * sizeof(made[0]));
        assert_int_equal(n, round == 0 ? 2 : 3);
        assert_int_equal(next - 2, round);        /* the one in use, by number */
        assert_true(first <= (round ? round - 1 : 0)); /* the one before it is still there */
    }
}

static void test_keys(void **state)
{
    json_t *a = ticket_key_new(7), *b = ticket_key_new(8);
    const char *key = json_string_value(json_object_get(a, "key"));

    (void)state;
    assert_int_equal(json_integer_value(json_object_get(a, "serial")), 7);
    assert_int_equal(strlen(key), TICKET_KEY_HEX);
    assert_int_equal(strspn(key, "0123456789abcdef"), TICKET_KEY_HEX);
    assert_string_not_equal(key, json_string_value(json_object_get(b, "key")));
    assert_string_not_equal(json_string_value(json_object_get(a, "id")), json_string_value(json_object_get(b, "id")));
    json_decref(a);
    json_decref(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plan),
        cmocka_unit_test(test_a_life),
        cmocka_unit_test(test_keys),
    };

    return cmocka_run_group_tests_name("common/tickets", tests, NULL, NULL);
}
