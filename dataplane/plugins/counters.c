/*
 * counters.c - see counters.h.
 *
 * A place is two words:
 *   key    hash << 3 | period + 1; 0: never used. Changes only under the stripe's lock.
 *   state  window index << bits | count; the split depends on the period, so that neither
 *          part can overflow. ~0 (DEAD): between two keys.
 *
 * Within a stripe, keys are found by linear probing. A place that was used once never becomes
 * unused again, so a search may end at the first unused one.
 *
 * Giving a place to another key: under the lock, its state goes from what proves that the
 * window has passed to DEAD by compare-and-swap; then come the new key and its state. Whoever
 * found the place by its old key and still wants to count there fails in its own
 * compare-and-swap, because the state is another, and searches again.
 */
#include "dataplane/plugins/counters.h"

#include <endian.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "common/clock.h"
#include "common/rand.h"

#define STRIPES   64 /* locks */
#define PROBE_MAX 64 /* places looked at for one key */
#define DEAD      UINT64_MAX

/* A window has passed for good when no thread can still hold a clock reading inside it. */
#define GRACE_US 1000000

struct place {
    _Atomic uint64_t key, state;
};

struct stripe {
    _Alignas(64) pthread_mutex_t lock;
    _Atomic uint64_t used;
};

struct counters {
    struct place *places;
    uint64_t stripe_mask; /* places of one stripe - 1 */
    uint64_t secret[2];
    _Atomic uint64_t dropped;
    struct stripe stripes[STRIPES];
};

/* Bits of the state that are the count; the rest is the window's index. */
static const uint8_t count_bits[PERIOD_COUNT] = {
    [PERIOD_SECOND] = 32, /* seconds until 2106, 4e9 a second */
    [PERIOD_MINUTE] = 36, [PERIOD_HOUR] = 40, [PERIOD_DAY] = 44,
    [PERIOD_MONTH] = 48,  [PERIOD_YEAR] = 48,
};

static uint64_t count_of(uint64_t state, enum period p)
{
    return state & (((uint64_t)1 << count_bits[p]) - 1);
}

static uint64_t index_of(uint64_t state, enum period p)
{
    return state >> count_bits[p];
}

static uint64_t state_of(uint64_t index, uint64_t count, enum period p)
{
    return index << count_bits[p] | count;
}

struct window window_at(enum period p, uint64_t wall_us)
{
    time_t now = (time_t)(wall_us / 1000000);
    uint64_t s = (uint64_t)now;
    struct tm tm;

    switch (p) {
    case PERIOD_SECOND: return (struct window){s, s};
    case PERIOD_MINUTE: return (struct window){s / 60, s - s % 60};
    case PERIOD_HOUR: return (struct window){s / 3600, s - s % 3600};
    case PERIOD_DAY: return (struct window){s / 86400, s - s % 86400};
    case PERIOD_MONTH:
    case PERIOD_YEAR:
        gmtime_r(&now, &tm);
        tm.tm_sec = tm.tm_min = tm.tm_hour = 0;
        tm.tm_mday = 1;
        if (p == PERIOD_MONTH)
            return (struct window){(uint64_t)(tm.tm_year * 12 + tm.tm_mon), (uint64_t)timegm(&tm)};
        tm.tm_mon = 0;
        return (struct window){(uint64_t)tm.tm_year, (uint64_t)timegm(&tm)};
    case PERIOD_COUNT: break;
    }
    WEIR_UNREACHABLE("period");
}

/* ---- keys: SipHash-2-4 (Aumasson and Bernstein 2012) ---- */

struct sip {
    uint64_t v[4];
    uint64_t tail, len;
};

static uint64_t rotl(uint64_t x, int b)
{
    return x << b | x >> (64 - b);
}

static inline void sip_rounds(uint64_t v[4], int n)
{
    uint64_t a = v[0], b = v[1], c = v[2], d = v[3];

    while (n-- > 0) {
        a += b, b = rotl(b, 13) ^ a, a = rotl(a, 32);
        c += d, d = rotl(d, 16) ^ c;
        a += d, d = rotl(d, 21) ^ a;
        c += b, b = rotl(b, 17) ^ c, c = rotl(c, 32);
    }
    v[0] = a, v[1] = b, v[2] = c, v[3] = d;
}

static inline void sip_word(struct sip *s, uint64_t m)
{
    s->v[3] ^= m;
    sip_rounds(s->v, 2);
    s->v[0] ^= m;
}

static inline void sip_add(struct sip *s, const void *bytes, size_t len)
{
    const char *p = bytes;

    for (; s->len % 8 == 0 && len >= 8; s->len += 8, p += 8, len -= 8) {
        uint64_t word;

        memcpy(&word, p, sizeof(word));
        sip_word(s, le64toh(word));
    }
    while (len > 0) {
        unsigned have = s->len % 8 * 8; /* bits of the tail */
        size_t n = size_min(len, 8);
        uint64_t word = 0;

        memcpy(&word, p, n);
        word = le64toh(word);
        s->tail |= word << have;
        if (have + 8 * n >= 64) {
            sip_word(s, s->tail);
            s->tail = have ? word >> (64 - have) : 0;
        }
        s->len += n;
        p += n;
        len -= n;
    }
}

uint64_t counters_key(const struct counters *c, const struct str *parts, size_t n)
{
    struct sip s = {{c->secret[0] ^ 0x736f6d6570736575u, c->secret[1] ^ 0x646f72616e646f6du,
                     c->secret[0] ^ 0x6c7967656e657261u, c->secret[1] ^ 0x7465646279746573u},
                    0,
                    0};

    uint64_t lens = 0;

    WEIR_ASSERT(n <= 5);
    for (size_t i = 0; i + 1 < n; i++) { /* so that ("ab", "c") is not ("a", "bc") */
        WEIR_ASSERT(parts[i].len <= UINT16_MAX);
        lens = lens << 16 | parts[i].len;
    }
    sip_add(&s, &lens, sizeof(lens));
    for (size_t i = 0; i < n; i++)
        sip_add(&s, parts[i].p, parts[i].len);
    sip_word(&s, s.tail | s.len << 56);
    s.v[2] ^= 0xff;
    sip_rounds(s.v, 4);
    return (s.v[0] ^ s.v[1] ^ s.v[2] ^ s.v[3]) & ~(uint64_t)7;
}

/* ---- the table ---- */

struct counters *counters_new(size_t capacity)
{
    struct counters *c = xcalloc(1, sizeof(*c));
    size_t stripe = PROBE_MAX;

    while (stripe * STRIPES < capacity)
        stripe *= 2;
    c->places = xcalloc(stripe * STRIPES, sizeof(*c->places));
    c->stripe_mask = stripe - 1;
    rand_bytes(c->secret, sizeof(c->secret));
    for (size_t i = 0; i < STRIPES; i++)
        pthread_mutex_init(&c->stripes[i].lock, NULL);
    return c;
}

void counters_free(struct counters **c)
{
    if (!*c)
        return;
    for (size_t i = 0; i < STRIPES; i++)
        pthread_mutex_destroy(&(*c)->stripes[i].lock);
    free((*c)->places);
    free(*c);
    *c = NULL;
}

struct probe {
    struct stripe *stripe;
    struct place *base;
    uint64_t home;
};

static struct probe probe_of(struct counters *c, uint64_t key)
{
    uint64_t stripe = key >> 58; /* the top bits; the places take the lower ones */

    return (struct probe){&c->stripes[stripe], c->places + stripe * (c->stripe_mask + 1), key >> 3};
}

static struct place *find(struct counters *c, uint64_t key)
{
    struct probe pr = probe_of(c, key);

    for (uint64_t i = 0; i < PROBE_MAX; i++) {
        struct place *place = &pr.base[(pr.home + i) & c->stripe_mask];
        uint64_t k = atomic_load_explicit(&place->key, memory_order_acquire);

        if (k == key)
            return place;
        if (k == 0)
            return NULL;
    }
    return NULL;
}

/* True when the place's window has passed and it has been made DEAD for us. */
static bool reclaim(struct place *place, const uint64_t *current)
{
    enum period p =
        (enum period)((atomic_load_explicit(&place->key, memory_order_relaxed) & 7) - 1);
    uint64_t state = atomic_load_explicit(&place->state, memory_order_acquire);

    return state != DEAD && index_of(state, p) < current[p] &&
           atomic_compare_exchange_strong(&place->state, &state, DEAD);
}

/* The key's place, made when it has none; NULL: no room. index: the key's window. */
static struct place *insert(struct counters *c, uint64_t key, enum period p, uint64_t index)
{
    struct probe pr = probe_of(c, key);
    struct place *unused = NULL, *found;
    uint64_t current[PERIOD_COUNT], now_us = clock_wall_us();

    pthread_mutex_lock(&pr.stripe->lock);
    found = find(c, key);
    if (found)
        goto out;
    for (enum period q = 0; q < PERIOD_COUNT; q++)
        current[q] = window_at(q, now_us > GRACE_US ? now_us - GRACE_US : 0).index;
    for (uint64_t i = 0; i < PROBE_MAX && !found && !unused; i++) {
        struct place *place = &pr.base[(pr.home + i) & c->stripe_mask];

        if (atomic_load_explicit(&place->key, memory_order_relaxed) == 0)
            unused = place;
        else if (reclaim(place, current))
            found = place;
    }
    if (found) {
        atomic_store_explicit(&found->key, key, memory_order_release);
        atomic_store_explicit(&found->state, state_of(index, 0, p), memory_order_release);
    } else if (unused) {
        found = unused;
        atomic_store_explicit(&found->state, state_of(index, 0, p), memory_order_release);
        atomic_store_explicit(&found->key, key, memory_order_release);
        atomic_fetch_add_explicit(&pr.stripe->used, 1, memory_order_relaxed);
    } else {
        atomic_fetch_add_explicit(&c->dropped, 1, memory_order_relaxed);
    }
out:
    pthread_mutex_unlock(&pr.stripe->lock);
    return found;
}

/*
 * How many are taken in the window that counts. *index becomes the counter's when that is
 * newer by one: another thread's clock was read a moment later. Newer by more means that the
 * clock was set back; then it is as if the window were old.
 */
static uint64_t taken(uint64_t state, enum period p, uint64_t *index)
{
    uint64_t have = index_of(state, p);

    if (have == *index + 1)
        *index = have;
    return have == *index ? count_of(state, p) : 0;
}

uint64_t counters_read(struct counters *c, uint64_t key, enum period p, uint64_t index)
{
    struct place *place;
    uint64_t state;

    key |= (uint64_t)p + 1;
    for (;;) {
        place = find(c, key);
        if (!place)
            return 0;
        state = atomic_load_explicit(&place->state, memory_order_acquire);
        if (state != DEAD && atomic_load_explicit(&place->key, memory_order_acquire) == key)
            return taken(state, p, &index);
    }
}

enum take counters_take(struct counters *c, uint64_t key, enum period p, uint64_t index,
                        double limit, uint64_t *before_out)
{
    key |= (uint64_t)p + 1;
    for (;;) {
        struct place *place = find(c, key);
        uint64_t in = index, state, count;

        if (!place)
            place = insert(c, key, p, index);
        *before_out = 0;
        if (!place)
            return TAKE_FULL;
        state = atomic_load_explicit(&place->state, memory_order_acquire);
        if (state == DEAD || atomic_load_explicit(&place->key, memory_order_acquire) != key)
            continue;
        count = taken(state, p, &in);
        *before_out = count;
        if (limit - (double)count <= 0)
            return TAKE_OVER;
        if (atomic_compare_exchange_weak(&place->state, &state, state_of(in, count + 1, p)))
            return TAKE_OK;
    }
}

void counters_give_back(struct counters *c, uint64_t key, enum period p, uint64_t index)
{
    key |= (uint64_t)p + 1;
    for (;;) {
        struct place *place = find(c, key);
        uint64_t in = index, state, count;

        if (!place)
            return;
        state = atomic_load_explicit(&place->state, memory_order_acquire);
        if (state == DEAD || atomic_load_explicit(&place->key, memory_order_acquire) != key)
            continue;
        count = taken(state, p, &in);
        if (count == 0)
            return;
        if (atomic_compare_exchange_weak(&place->state, &state, state_of(in, count - 1, p)))
            return;
    }
}

struct counters_stats counters_stats(const struct counters *c)
{
    struct counters_stats out = {0, atomic_load_explicit(&c->dropped, memory_order_relaxed)};

    for (size_t i = 0; i < STRIPES; i++)
        out.used += atomic_load_explicit(&c->stripes[i].used, memory_order_relaxed);
    return out;
}
