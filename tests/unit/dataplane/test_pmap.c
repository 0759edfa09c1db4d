/* test_pmap.c - what versions are made of: the persistent map and tree, and rounds of targets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "dataplane/config/pmap.h"
#include "dataplane/config/ptrie.h"
#include "dataplane/upstream/wrr.h"

static uint64_t rng = 88172645463325252u;

static unsigned below(unsigned n)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (unsigned)(rng >> 32) % n;
}

struct thing {
    struct obj o;
    uint64_t key[2];
};

static struct str thing_key(const struct obj *o)
{
    return str_n((const char *)((const struct thing *)o)->key, 16);
}

static const struct obj_type thing_type = {.name = "thing"};
static const struct pmap_type thing_map = {.key = thing_key, .owns = true};

static void count_one(struct obj *o, void *arg)
{
    (void)o;
    (*(size_t *)arg)++;
}

/* Half of the keys have one hash: the map must keep them apart, whoever chose them. */
static void make_key(unsigned i, uint64_t key[2])
{
    uint64_t a;

    key[0] = i;
    key[1] = i * 77u;
    if (i % 2)
        return;
    a = (key[0] ^ 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u; /* as pmap.c mixes ids */
    key[1] = a ^ a >> 29 ^ 0x1234567u;
}

static void test_maps(void **state)
{
    struct pmap m = {0}, old = {0};
    bool in[200] = {false}, was_in[200] = {false};
    uint64_t bytes = mem_bytes();

    (void)state;
    for (unsigned step = 0; step < 20000; step++) {
        unsigned i = below(200);
        uint64_t key[2];
        struct str k = str_n((const char *)key, 16);
        size_t n = 0;

        make_key(i, key);
        if (step % 97 == 0) {
            for (unsigned j = 0; j < 200; j++) {
                make_key(j, key);
                assert_int_equal(pmap_get(&old, &thing_map, k) != NULL, was_in[j]);
                assert_int_equal(pmap_get(&m, &thing_map, k) != NULL, in[j]);
                n += in[j];
            }
            assert_int_equal(m.n, n);
            n = 0;
            pmap_each(&m, count_one, &n);
            assert_int_equal(m.n, n);
            pmap_drop(&old, &thing_map);
            old = pmap_share(&m);
            memcpy(was_in, in, sizeof(in));
            continue;
        }
        if (below(2)) {
            struct thing *t = obj_new(&thing_type, sizeof(*t));

            memcpy(t->key, key, sizeof(key));
            pmap_put(&m, &thing_map, &t->o);
            obj_unref(&t->o);
            in[i] = true;
        } else {
            assert_int_equal(pmap_del(&m, &thing_map, k), in[i]);
            in[i] = false;
        }
    }
    pmap_drop(&m, &thing_map);
    pmap_drop(&old, &thing_map);
    assert_true(mem_bytes() == bytes);
}

static void test_trie(void **state)
{
    static const char *const keys[] = {"",   "a",    "ab",   "abc",  "abd",      "b",       "ba",
                                       "/x", "/x/y", "/x/z", "\xff", "abcdefgh", "abcdefgi"};
    struct tnode *t = NULL, *old = NULL;
    bool in[ARRAY_LEN(keys)] = {false}, was_in[ARRAY_LEN(keys)] = {false};
    uint64_t bytes = mem_bytes();

    (void)state;
    for (unsigned step = 0; step < 20000; step++) {
        unsigned i = below(ARRAY_LEN(keys));
        struct str key = str_of(keys[i]);

        if (in[i]) {
            ptrie_del(&t, key);
        } else {
            struct obj **slot = ptrie_own(&t, key);
            struct thing *made = obj_new(&thing_type, sizeof(*made));

            assert_null(*slot);
            made->key[0] = i;
            *slot = &made->o;
        }
        in[i] = !in[i];
        for (unsigned k = 0; k < ARRAY_LEN(keys); k++) {
            struct tnode_walk w = ptrie_walk(t, str_of(keys[k]));
            unsigned want = 0, got = 0;

            for (unsigned j = 0; j < ARRAY_LEN(keys); j++)
                want += in[j] && str_starts(str_of(keys[k]), str_of(keys[j]));
            while (ptrie_next(&w))
                got++;
            assert_int_equal(got, want);
            assert_int_equal(ptrie_get(t, str_of(keys[k])) != NULL, in[k]);
            assert_int_equal(ptrie_get(old, str_of(keys[k])) != NULL, was_in[k]);
        }
        if (step % 13 == 0) {
            ptrie_drop(&old);
            old = ptrie_share(t);
            memcpy(was_in, in, sizeof(in));
        }
    }
    ptrie_drop(&t);
    ptrie_drop(&old);
    assert_true(mem_bytes() == bytes);
}

static void test_rounds(void **state)
{
    static const struct {
        uint32_t w[4], n, len;
    } cases[] = {
        {{0}, 0, 0},
        {{0, 0}, 2, 0},
        {{100}, 1, 1},
        {{100, 100, 100}, 3, 3},
        {{5, 1, 1}, 3, 7},
        {{10, 0, 30}, 3, 4},
        {{1, 65535}, 2, 65536},
        {{65535, 65534, 1, 0}, 4, 0},
        {{300, 200, 100}, 3, 6},
    };
    uint16_t *order = malloc(WRR_ROOM(4) * sizeof(*order));

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint32_t len = wrr_order(cases[i].w, cases[i].n, order), seen[4] = {0};
        uint64_t sum = 0;

        for (uint32_t k = 0; k < cases[i].n; k++)
            sum += cases[i].w[k];
        assert_true(len <= WRR_ROOM(4));
        if (cases[i].len || sum == 0)
            assert_int_equal(len, cases[i].len);
        for (uint32_t at = 0; at < len; at++) {
            assert_true(order[at] < cases[i].n && cases[i].w[order[at]] > 0);
            seen[order[at]]++;
            for (uint32_t k = 0; k < cases[i].n; k++) { /* at no point far from its share */
                double share = (double)(at + 1) * cases[i].w[k] / (double)sum;

                assert_true(seen[k] < share + 2.5 && seen[k] + 2.5 > share);
            }
        }
        for (uint32_t k = 0; k < cases[i].n; k++)
            assert_int_equal(seen[k] > 0, cases[i].w[k] > 0);
    }
    free(order);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_maps),
        cmocka_unit_test(test_trie),
        cmocka_unit_test(test_rounds),
    };

    return cmocka_run_group_tests_name("dataplane/pmap", tests, NULL, NULL);
}
