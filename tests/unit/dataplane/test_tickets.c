/* Keys of session tickets in the compiled configuration, and without a control plane. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/clock.h"
#include "dataplane/tls/own_tickets.h"
#include "dataplane/tls/tickets.h"
#include "tests/unit/dataplane/records_fixture.h"

#define START_S 1700000000u

static struct config *apply(bool full, struct sbuf *records)
{
    static uint64_t version;
    struct config *config = NULL;
    struct err e = {0};

    if (compiler_apply(compiler, full, sbuf_str(records), ++version, &config, &e) != 0)
        fail_msg("compile: %s", err_text(&e));
    sbuf_free(records);
    return config;
}

static const struct ticket_key *use(const struct config *c)
{
    return ticket_ring_use(config_ticket_keys(c));
}

static const struct ticket_key *find(const struct config *c, const struct uuid *name, bool *renew)
{
    return ticket_ring_find(config_ticket_keys(c), name->b, renew);
}

/* The next key encrypts after one rotation, decrypts for one more, and is then unknown. */
static void test_rotations(void **state)
{
    struct own_tickets own = {.rotation_s = 100};
    struct sbuf records = {0};
    struct config *c;
    struct uuid first, second;
    bool renew = true;

    (void)state;
    c = apply(true, &records);
    assert_null(use(c));
    config_release(compiler, &c);

    clock_fake(1, START_S * 1000000ull);
    assert_true(own_tickets_rotate(&own, START_S, &records));
    c = apply(false, &records);
    assert_int_equal(config_ticket_keys(c)->n, 2);
    first = use(c)->name;
    second = config_ticket_keys(c)->v[0].name;
    assert_non_null(find(c, &first, &renew));
    assert_false(renew);
    assert_non_null(find(c, &second, &renew)); /* another data plane may be ahead */
    assert_false(renew);
    config_release(compiler, &c);

    assert_false(own_tickets_rotate(&own, START_S + 99, &records));
    assert_int_equal(own_tickets_wait_s(&own, START_S + 99), 1);
    for (unsigned i = 1; i <= 3; i++) {
        clock_fake(1, (START_S + i * 100) * 1000000ull);
        assert_true(own_tickets_rotate(&own, START_S + i * 100, &records));
        c = apply(false, &records);
        assert_int_equal(config_ticket_keys(c)->n, 3);
        if (i == 1) {
            assert_memory_equal(&use(c)->name, &second, sizeof(second));
            assert_non_null(find(c, &first, &renew));
            assert_true(renew);
        } else {
            assert_null(find(c, &first, &renew));
            assert_int_equal(find(c, &second, &renew) != NULL, i == 2);
        }
        config_release(compiler, &c);
    }

    own_tickets_all(&own, &records); /* a configuration from nothing has them all */
    c = apply(true, &records);
    assert_int_equal(config_ticket_keys(c)->n, 3);
    config_release(compiler, &c);
    own_tickets_fini(&own);
    clock_fake(0, 0);
}

static void test_bad_keys(void **state)
{
    char hex[129];
    struct ticket_key k;
    struct err e;

    (void)state;
    memset(hex, 'a', sizeof(hex));
    assert_int_equal(ticket_key_parse(str_n(hex, 128), &k, &e), 0);
    assert_int_equal(k.aes[0], 0xaa);
    assert_int_equal(k.hmac[31], 0xaa);
    assert_int_equal(ticket_key_parse(str_n(hex, 127), &k, &e), -1);
    hex[5] = 'g';
    assert_int_equal(ticket_key_parse(str_n(hex, 128), &k, &e), -1);
    assert_null(strstr(e.message, "aaaa")); /* errors are logged */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rotations),
        cmocka_unit_test(test_bad_keys),
    };

    return cmocka_run_group_tests_name("dataplane/tickets", tests, fix_setup, fix_teardown);
}
