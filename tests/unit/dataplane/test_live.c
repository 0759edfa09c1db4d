/*
 * test_live.c - versions on their way to the workers and back: in order, under threads that
 * adopt and pin while versions come, and through the config thread.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#include "dataplane/config/configurator.h"
#include "dataplane/config/config_priv.h"
#include "tests/unit/dataplane/records_fixture.h"

/* ---- one thread, step by step ---- */

static char told[256];

static void on_active(void *arg, uint64_t version, uint64_t us)
{
    (void)arg;
    (void)us;
    snprintf(told + strlen(told), sizeof(told) - strlen(told), "a%u ", (unsigned)version);
}

static void on_idle(void *arg, struct config *config)
{
    (void)arg;
    snprintf(told + strlen(told), sizeof(told) - strlen(told), "i%u ",
             (unsigned)config_version(config));
}

/*
 * Steps: p publishes the next version; A and B adopt; a and b pin; 1 ... 9 unpin, counted as
 * pinned. Told: a active, i idle.
 */
static void test_steps(void **state)
{
    static const struct {
        const char *name, *steps, *told;
    } cases[] = {
        {"one version", "pAB", "a1 "},
        {"the old one goes with its last worker", "pABpAB", "a1 a2 i1 "},
        {"a request keeps its version", "pABapAB1", "a1 a2 i1 "},
        {"until the last request", "pABaaabpAB1234", "a1 a2 i1 "},
        {"nobody took it", "pABpppAB", "a1 i2 i3 a2 a3 a4 i1 "},
        {"overtaken while one worker slept", "pABpApAB", "a1 i2 a2 a3 i1 "},
        {"a late request of an overtaken version", "pABpAapAB1", "a1 a2 a3 i1 i2 "},
        {"adopting twice tells nothing", "pAABB", "a1 "},
        {"ended while current", "pABa1pAB", "a1 a2 i1 "},
        {"two old versions", "pABapABapAB12", "a1 a2 a3 i1 i2 "},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct live_hooks hooks = {on_active, on_idle, NULL};
        struct live *l = live_new(2, &hooks);
        struct config configs[16] = {{0}};
        struct config_pin *pins[16];
        unsigned n = 0, n_pins = 0;

        told[0] = '\0';
        for (const char *s = cases[i].steps; *s; s++) {
            struct live_worker *w = live_worker(l, *s == 'B' || *s == 'b');

            if (*s == 'p') {
                configs[n].version = n + 1;
                live_publish(l, &configs[n++]);
            } else if (*s == 'A' || *s == 'B') {
                live_adopt(w);
            } else if (*s == 'a' || *s == 'b') {
                pins[n_pins++] = live_pin(live_current(w));
                assert_ptr_equal(pins[n_pins - 1]->config, &configs[n - 1]);
            } else {
                live_unpin(pins[*s - '1']);
            }
        }
        if (strcmp(told, cases[i].told) != 0)
            fail_msg("%s: told '%s', expected '%s'", cases[i].name, told, cases[i].told);
        live_free(&l);
        assert_non_null(strstr(told, "i")); /* the newest comes back in the end */
    }
}

static void test_nothing_before_the_first(void **state)
{
    struct live_hooks hooks = {on_active, on_idle, NULL};
    struct live *l = live_new(1, &hooks);

    (void)state;
    assert_null(live_pin(live_current(live_worker(l, 0))));
    live_adopt(live_worker(l, 0));
    assert_null(*live_current(live_worker(l, 0)));
    live_free(&l);
    assert_null(l);
}

/* ---- threads ---- */

#define WORKERS  3
#define VERSIONS 300
#define HELD     8

static struct configurator *conf;
static _Atomic unsigned actives;
static _Atomic bool finish;

static void count_active(void *arg, uint64_t version, uint64_t compile_us, uint64_t spread_us)
{
    (void)arg;
    (void)version;
    (void)compile_us;
    (void)spread_us;
    atomic_fetch_add(&actives, 1);
}

static char changed[] = "a version changed under a request",
            went_back[] = "went back to an older version";

/* As a worker's loop: adopts when told, starts requests, ends them in another order. */
static void *work(void *arg)
{
    struct live_worker *w = live_worker(configurator_live(conf), (unsigned)(uintptr_t)arg);
    struct config_pin *held[HELD] = {NULL};
    uint64_t seen = 0;
    unsigned turn = (unsigned)(uintptr_t)arg;

    for (;;) {
        struct pollfd fd = {.fd = live_worker_fd(w), .events = POLLIN};
        bool last = atomic_load(&finish); /* before the poll: then nothing is published after it */
        struct config_pin **slot = &held[turn++ % HELD];

        if (poll(&fd, 1, 0) > 0)
            live_adopt(w);
        if (*slot) {
            const struct config_pin *p = *slot;
            struct fix_request r;
            struct route_match m;
            struct arena a;

            fix_request(&r, "GET", "/x", NULL);
            arena_init(&a, 0, 0);
            if (!config_match(p->config, &r.q, &a, &m) ||
                config_version(p->config) < (uint64_t)m.route->def.regex_priority ||
                (uint64_t)m.route->def.regex_priority + 1 < config_version(p->config))
                return changed;
            arena_fini(&a);
            live_unpin(*slot);
            *slot = NULL;
        } else if ((*slot = live_pin(live_current(w)))) {
            if (config_version((*slot)->config) < seen)
                return went_back;
            seen = config_version((*slot)->config);
        }
        if (last)
            break;
    }
    for (unsigned i = 0; i < HELD; i++)
        if (held[i])
            live_unpin(held[i]);
    return NULL;
}

static void test_threads(void **state)
{
    struct configurator_hooks hooks = {.on_active = count_active};
    struct configurator_state now;
    pthread_t threads[WORKERS];
    struct sbuf records = {0};
    struct err e = {0};

    (void)state;
    assert_int_equal(configurator_start(WORKERS, &hooks, &conf, &e), 0);
    for (uintptr_t i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, (void *)i), 0);
    for (unsigned v = 1; v <= VERSIONS; v++) {
        sbuf_clear(&records);
        fix_put_raw(&records, "routes", fix_id(1, 1),
                    json_pack("{s[s] s[s] si}", "protocols", "http", "paths", v % 2 ? "/" : "/x",
                              "regex_priority", (int)v));
        assert_int_equal(configurator_apply(conf, v % 50 == 1, sbuf_str(&records), v, &e), 0);
        if (v % 10 == 0) { /* what is refused changes nothing */
            assert_int_equal(configurator_apply(conf, false, STR("\x05garbage"), v, &e), -1);
            assert_true(configurator_state(conf).published == v);
        }
    }
    atomic_store(&finish, true);
    for (unsigned i = 0; i < WORKERS; i++) {
        void *why = NULL;

        pthread_join(threads[i], &why);
        if (why)
            fail_msg("worker %u: %s", i, (const char *)why);
    }
    now = configurator_state(conf);
    assert_int_equal(now.published, VERSIONS);
    assert_int_equal(now.active, VERSIONS);
    assert_int_equal(now.stats.routes, 1);
    assert_int_equal(atomic_load(&actives), VERSIONS); /* each exactly once */
    configurator_stop(&conf);
    assert_int_equal(mem_bytes(), 0);
    sbuf_free(&records);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps),
        cmocka_unit_test(test_nothing_before_the_first),
        cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests_name("dataplane/live", tests, NULL, NULL);
}
