/* test_nodes.c - what is shown of data planes, whatever they and the clock say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/clock.h"
#include "controlplane/nodes.h"

#define NOW_US 1700000000000000ull
#define DAY_US (24ull * 3600 * 1000000)

static const struct uuid id = {{1, 2, 3}};
static const struct state_hash hash = {{7}};

static struct nodes *one_node(void)
{
    struct nodes *n = nodes_new();
    const struct node_hello hello = {.id = id, .hostname = STR("h"), .version = STR("1")};

    clock_fake(1, NOW_US);
    nodes_head(n, 9);
    nodes_connected(n, &hello, 1);
    return n;
}

static json_int_t number(struct nodes *n, const char *name)
{
    json_t *row = nodes_get(n, &id);
    json_int_t value;

    assert_non_null(row);
    value = json_integer_value(json_object_get(row, name));
    json_decref(row);
    return value;
}

static void a_time_to_compile_outlives_reports_without_one(void **state)
{
    struct nodes *n = one_node();

    (void)state;
    nodes_applied(n, &id, 1, 9, &hash, 1234);
    nodes_applied(n, &id, 1, 9, &hash, 0); /* a status */
    assert_int_equal(number(n, "compile_us"), 1234);
    nodes_applied(n, &id, 2, 8, &hash, 55); /* of another connection */
    assert_int_equal(number(n, "compile_us"), 1234);
    nodes_free(&n);
    clock_fake(0, 0);
}

static bool shows_error(struct nodes *n)
{
    json_t *row = nodes_get(n, &id);
    bool shown = !json_is_null(json_object_get(row, "last_error"));

    json_decref(row);
    return shown;
}

/* The same version can hold something else: a late word on what it held is no success. */
static void a_refusal_stays_until_something_else_is_active(void **state)
{
    static const struct state_hash other = {{8}};
    const struct node_error e = {.reason = STR("no such plugin"), .version = 9};
    struct nodes *n = one_node();

    (void)state;
    nodes_applied(n, &id, 1, 9, &hash, 1);
    nodes_failed(n, &id, 1, &e);
    nodes_applied(n, &id, 1, 9, &hash, 0);
    assert_true(shows_error(n));
    nodes_applied(n, &id, 1, 9, &other, 1);
    assert_false(shows_error(n));
    nodes_free(&n);
    clock_fake(0, 0);
}

static void a_reason_is_shown_up_to_its_first_bad_byte(void **state)
{
    static const struct {
        struct str reason;
        const char *shown;
    } cases[] = {{{"no such plugin", 14}, "no such plugin"}, {{"caf\xc3", 4}, "caf"}, {{"\xff", 1}, ""}};
    struct nodes *n = one_node();

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct node_error e = {.reason = cases[i].reason, .version = 9};
        json_t *row;

        nodes_failed(n, &id, 1, &e);
        row = nodes_get(n, &id);
        assert_string_equal(
            json_string_value(json_object_get(json_object_get(row, "last_error"), "message")),
            cases[i].shown);
        json_decref(row);
    }
    nodes_applied(n, &id, 1, 8, &hash, 1); /* older than what was refused */
    assert_int_equal(number(n, "applied_version"), 8);
    nodes_applied(n, &id, 1, 9, &hash, 1);
    assert_false(shows_error(n));
    nodes_free(&n);
    clock_fake(0, 0);
}

static void a_clock_that_jumps_loses_no_connected_node(void **state)
{
    struct nodes *n = one_node();

    (void)state;
    clock_fake(2, NOW_US + 400 * DAY_US);
    assert_int_equal(number(n, "ttl"), 0);
    clock_fake(3, NOW_US - 400 * DAY_US);
    assert_true(number(n, "ttl") > 0);
    assert_int_equal(number(n, "behind"), 9);
    clock_fake(4, NOW_US);
    nodes_disconnected(n, &id, 1);
    clock_fake(5, NOW_US + 15 * DAY_US);
    assert_null(nodes_get(n, &id));
    nodes_free(&n);
    clock_fake(0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_time_to_compile_outlives_reports_without_one),
        cmocka_unit_test(a_refusal_stays_until_something_else_is_active),
        cmocka_unit_test(a_reason_is_shown_up_to_its_first_bad_byte),
        cmocka_unit_test(a_clock_that_jumps_loses_no_connected_node),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
