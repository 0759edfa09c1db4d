/*
 * metrics.c - see metrics.h.
 *
 * Every cell has one writer, its thread, so an addition is a load and a store; the atomics
 * only keep a scrape's reads whole. A series is published with one release store into its
 * thread's table and never changes or moves after that, except for its numbers.
 */
#include "dataplane/observe/metrics.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/arena.h"
#include "common/rand.h"

#define TABLE_SIZE     (2 * METRICS_SERIES_MAX) /* a power of two */
#define COLLECTORS_MAX 16
#define BUCKETS_MAX    24

enum metric_type { COUNTER, GAUGE, HISTOGRAM, READING };
static const char *const type_words[] = {"counter", "gauge", "histogram", "gauge"};

/* clang-format off */
static const double buckets_KONG_MS[] = {1, 2, 5, 7, 10, 15, 20, 30, 50, 75, 100, 200, 500,
                                         750, 1000, 3000, 6000};
static const double buckets_UPSTREAM_MS[] = {25, 50, 80, 100, 250, 400, 700, 1000, 2000, 5000,
                                             10000, 30000, 60000};
static const double buckets_COMPILE_US[] = {50, 100, 250, 500, 1000, 2500, 5000, 10000, 25000,
                                            100000, 500000, 2000000};
#define buckets_NONE ((const double *)NULL)
#define COUNT_NONE        0
#define COUNT_KONG_MS     ARRAY_LEN(buckets_KONG_MS)
#define COUNT_UPSTREAM_MS ARRAY_LEN(buckets_UPSTREAM_MS)
#define COUNT_COMPILE_US  ARRAY_LEN(buckets_COMPILE_US)
/* clang-format on */

static const struct desc {
    const char *name;
    enum metric_type type;
    const char *labels;
    const double *buckets;
    size_t n_buckets;
    const char *help;
} descs[METRIC_COUNT] = {
#define METRIC(symbol, name, type, labels, buckets, help) \
    [symbol] = {name, type, labels, buckets_##buckets, COUNT_##buckets, help},
#include "dataplane/observe/metrics.def"
#undef METRIC
};

_Static_assert(COUNT_KONG_MS <= BUCKETS_MAX && COUNT_UPSTREAM_MS <= BUCKETS_MAX &&
                   COUNT_COMPILE_US <= BUCKETS_MAX,
               "BUCKETS_MAX");

static unsigned label_count(enum metric m)
{
    struct str rest = str_of(descs[m].labels), piece;
    unsigned n = 0;

    while (rest.len && str_next(&rest, ',', &piece))
        n++;
    return n;
}

struct series {
    enum metric m;
    unsigned n_labels;
    uint64_t hash;
    struct str labels[METRIC_LABELS_MAX]; /* bytes behind the struct */
    _Atomic int64_t value;
    _Atomic double sum;       /* histograms, like counts */
    _Atomic int64_t counts[]; /* n_buckets + 1, the last is +Inf */
};

/* What one thread counts. Lives until metrics_reset. */
struct cells {
    _Atomic int64_t scalars[METRIC_COUNT];
    _Atomic int64_t dropped;
    uint32_t n_series;
    uint8_t n_labels[METRIC_COUNT];
    _Atomic(_Atomic(struct series *) *) table; /* TABLE_SIZE; made with the first series */
    struct cells *next;
};

static _Atomic(struct cells *) all_cells;
static _Atomic uint64_t generation = 1; /* metrics_reset makes threads forget their cells */
static _Atomic uint64_t hash_seed;
static _Thread_local struct cells *my_cells;
static _Thread_local uint64_t my_generation;

static struct {
    void (*read)(struct metrics_scrape *, void *);
    void *arg;
} collectors[COLLECTORS_MAX];
static unsigned n_collectors;

static struct cells *make_cells(void)
{
    size_t size = (sizeof(struct cells) + 63) & ~(size_t)63;
    struct cells *c = aligned_alloc(64, size);
    uint64_t seed = 0, random;

    WEIR_ASSERT(c);
    memset(c, 0, size);
    for (enum metric m = 0; m < METRIC_COUNT; m++)
        c->n_labels[m] = (uint8_t)label_count(m);
    rand_bytes(&random, sizeof(random));
    atomic_compare_exchange_strong(&hash_seed, &seed, random | 1);
    c->next = atomic_load(&all_cells);
    while (!atomic_compare_exchange_weak(&all_cells, &c->next, c))
        ;
    my_cells = c;
    my_generation = atomic_load(&generation);
    return c;
}

static inline struct cells *cells(void)
{
    if (likely(my_cells &&
               my_generation == atomic_load_explicit(&generation, memory_order_relaxed)))
        return my_cells;
    return make_cells();
}

static inline void bump(_Atomic int64_t *cell, int64_t n)
{
    atomic_store_explicit(cell, atomic_load_explicit(cell, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

/* ---- counting ---- */

static uint64_t hash_labels(enum metric m, const struct str *values, unsigned n)
{
    uint64_t h = atomic_load_explicit(&hash_seed, memory_order_relaxed) + m;

    for (unsigned i = 0; i < n; i++)
        h = str_hash(values[i], h);
    return h;
}

static bool same_series(const struct series *s, enum metric m, const struct str *values,
                        uint64_t hash)
{
    if (s->hash != hash || s->m != m)
        return false;
    for (unsigned i = 0; i < s->n_labels; i++)
        if (!str_eq(s->labels[i], values[i]))
            return false;
    return true;
}

static struct series *new_series(enum metric m, const struct str *values, unsigned n, uint64_t hash)
{
    size_t n_counts = descs[m].type == HISTOGRAM ? descs[m].n_buckets + 1 : 0, bytes = 0;
    struct series *s;
    char *at;

    for (unsigned i = 0; i < n; i++)
        bytes += values[i].len;
    s = xcalloc(1, sizeof(*s) + n_counts * sizeof(s->counts[0]) + bytes + 1);
    s->m = m;
    s->n_labels = n;
    s->hash = hash;
    at = (char *)s + offsetof(struct series, counts) + n_counts * sizeof(s->counts[0]);
    for (unsigned i = 0; i < n; i++) {
        s->labels[i] = str_n(at, values[i].len);
        if (values[i].len)
            memcpy(at, values[i].p, values[i].len);
        at += values[i].len;
    }
    return s;
}

/* This thread's series; NULL when it has as many as it may. */
static struct series *series(enum metric m, const struct str *values)
{
    struct cells *c = cells();
    _Atomic(struct series *) *table = atomic_load_explicit(&c->table, memory_order_relaxed);
    unsigned n = c->n_labels[m];
    uint64_t hash, i;

    WEIR_ASSERT(values || n == 0);
    hash = hash_labels(m, values, n);
    if (unlikely(!table)) {
        table = xcalloc(TABLE_SIZE, sizeof(*table));
        atomic_store_explicit(&c->table, table, memory_order_release);
    }
    for (i = hash % TABLE_SIZE;; i = (i + 1) % TABLE_SIZE) {
        struct series *s = atomic_load_explicit(&table[i], memory_order_relaxed);

        if (!s)
            break;
        if (same_series(s, m, values, hash))
            return s;
    }
    if (c->n_series == METRICS_SERIES_MAX) {
        bump(&c->dropped, 1);
        return NULL;
    }
    c->n_series++;
    atomic_store_explicit(&table[i], new_series(m, values, n, hash), memory_order_release);
    return atomic_load_explicit(&table[i], memory_order_relaxed);
}

void metric_add(enum metric m, int64_t n)
{
    bump(&cells()->scalars[m], n);
}

void metric_add_with(enum metric m, const struct str *values, int64_t n)
{
    struct series *s = series(m, values);

    if (s)
        bump(&s->value, n);
}

void metric_observe_with(enum metric m, const struct str *values, double value)
{
    const struct desc *d = &descs[m];
    struct series *s = series(m, values);
    size_t i = 0;

    if (!s)
        return;
    while (i < d->n_buckets && value > d->buckets[i])
        i++;
    bump(&s->counts[i], 1);
    atomic_store_explicit(&s->sum, atomic_load_explicit(&s->sum, memory_order_relaxed) + value,
                          memory_order_relaxed);
}

void metric_observe(enum metric m, double value)
{
    metric_observe_with(m, NULL, value);
}

/* ---- reading ---- */

int64_t metric_read(enum metric m)
{
    int64_t sum = 0;

    for (struct cells *c = atomic_load(&all_cells); c; c = c->next)
        sum += atomic_load_explicit(&c->scalars[m], memory_order_relaxed);
    return sum;
}

int64_t metric_read_with(enum metric m, const struct str *values)
{
    uint64_t hash = hash_labels(m, values, label_count(m));
    int64_t sum = 0;

    for (struct cells *c = atomic_load(&all_cells); c; c = c->next) {
        _Atomic(struct series *) *table = atomic_load_explicit(&c->table, memory_order_acquire);

        for (size_t i = hash % TABLE_SIZE; table; i = (i + 1) % TABLE_SIZE) {
            const struct series *s = atomic_load_explicit(&table[i], memory_order_acquire);

            if (!s)
                break;
            if (!same_series(s, m, values, hash))
                continue;
            sum += atomic_load_explicit(&s->value, memory_order_relaxed);
            for (size_t b = 0; descs[m].type == HISTOGRAM && b <= descs[m].n_buckets; b++)
                sum += atomic_load_explicit(&s->counts[b], memory_order_relaxed);
            break;
        }
    }
    return sum;
}

void metrics_collector(void (*read)(struct metrics_scrape *, void *), void *arg)
{
    for (unsigned i = 0; i < n_collectors; i++) {
        if (collectors[i].read == read) { /* a part that was started again */
            collectors[i].arg = arg;
            return;
        }
    }
    WEIR_ASSERT(n_collectors < COLLECTORS_MAX);
    collectors[n_collectors].read = read;
    collectors[n_collectors++].arg = arg;
}

void metrics_collector_remove(void (*read)(struct metrics_scrape *, void *))
{
    for (unsigned i = 0; i < n_collectors; i++)
        if (collectors[i].read == read)
            collectors[i] = collectors[--n_collectors];
}

/* ---- the page ---- */

/* One line, or one thread's share of it. */
struct row {
    enum metric m;
    unsigned n_labels;
    const struct str *labels;
    double value;
    const struct series *histogram;
};

struct metrics_scrape {
    struct arena arena;
    struct row *rows;
    size_t n, cap;
};

static void add_row(struct metrics_scrape *s, struct row row)
{
    if (s->n == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 256;
        s->rows = xrealloc(s->rows, s->cap * sizeof(*s->rows));
    }
    s->rows[s->n++] = row;
}

void metric_reading(struct metrics_scrape *s, enum metric m, const struct str *values, double value)
{
    unsigned n = label_count(m);
    struct str *labels = n ? arena_alloc(&s->arena, n * sizeof(*labels)) : NULL;

    WEIR_ASSERT(descs[m].type == READING);
    for (unsigned i = 0; i < n; i++)
        labels[i] = arena_str(&s->arena, values[i]);
    add_row(s, (struct row){m, n, labels, value, NULL});
}

static int row_cmp(const void *a_, const void *b_)
{
    const struct row *a = a_, *b = b_;
    int d = (a->m > b->m) - (a->m < b->m);

    for (unsigned i = 0; d == 0 && i < a->n_labels; i++)
        d = str_cmp(a->labels[i], b->labels[i]);
    return d;
}

static void gather(struct metrics_scrape *s)
{
    double dropped = 0;

    for (struct cells *c = atomic_load(&all_cells); c; c = c->next) {
        _Atomic(struct series *) *table = atomic_load_explicit(&c->table, memory_order_acquire);

        dropped += (double)atomic_load_explicit(&c->dropped, memory_order_relaxed);
        for (size_t i = 0; table && i < TABLE_SIZE; i++) {
            const struct series *e = atomic_load_explicit(&table[i], memory_order_acquire);

            if (e)
                add_row(s,
                        (struct row){e->m, e->n_labels, e->labels,
                                     (double)atomic_load_explicit(&e->value, memory_order_relaxed),
                                     descs[e->m].type == HISTOGRAM ? e : NULL});
        }
    }
    for (enum metric m = 0; m < METRIC_COUNT; m++)
        if (descs[m].labels[0] == '\0' && (descs[m].type == COUNTER || descs[m].type == GAUGE))
            add_row(s, (struct row){m, 0, NULL, (double)metric_read(m), NULL});
    metric_reading(s, M_KONG_METRIC_ERRORS, NULL, dropped);
    for (unsigned i = 0; i < n_collectors; i++)
        collectors[i].read(s, collectors[i].arg);
    qsort(s->rows, s->n, sizeof(*s->rows), row_cmp);
}

static void put_number(struct sbuf *out, double v)
{
    if (v == floor(v) && fabs(v) < 1e15)
        sbuf_addf(out, "%.0f", v);
    else
        sbuf_addf(out, "%.15g", v);
}

/* {a="x",b="y"}; le: one more label of histograms, or NULL. */
static void put_labels(struct sbuf *out, const struct row *r, const char *le)
{
    struct str rest = str_of(descs[r->m].labels), name;
    char sep = '{';

    for (unsigned i = 0; i < r->n_labels && str_next(&rest, ',', &name); i++, sep = ',') {
        sbuf_addc(out, sep);
        sbuf_addstr(out, name);
        sbuf_adds(out, "=\"");
        for (size_t k = 0; k < r->labels[i].len; k++) {
            char c = r->labels[i].p[k];

            if (c == '\\' || c == '"')
                sbuf_addc(out, '\\');
            if (c == '\n')
                sbuf_adds(out, "\\n");
            else
                sbuf_addc(out, c);
        }
        sbuf_addc(out, '"');
    }
    if (le) {
        sbuf_addf(out, "%cle=\"%s\"", sep, le);
        sep = ',';
    }
    if (sep == ',')
        sbuf_addc(out, '}');
}

static void put_line(struct sbuf *out, const struct row *r, const char *suffix, const char *le,
                     double v)
{
    sbuf_adds(out, descs[r->m].name);
    sbuf_adds(out, suffix);
    put_labels(out, r, le);
    sbuf_addc(out, ' ');
    put_number(out, v);
    sbuf_addc(out, '\n');
}

/* n rows of the same histogram series, one per thread. */
static void put_histogram(struct sbuf *out, const struct row *rows, size_t n)
{
    const struct desc *d = &descs[rows->m];
    double counts[BUCKETS_MAX + 1] = {0}, sum = 0, total = 0;
    char le[32];

    for (size_t i = 0; i < n; i++) {
        const struct series *s = rows[i].histogram;

        for (size_t b = 0; b <= d->n_buckets; b++)
            counts[b] += (double)atomic_load_explicit(&s->counts[b], memory_order_relaxed);
        sum += atomic_load_explicit(&s->sum, memory_order_relaxed);
    }
    for (size_t b = 0; b < d->n_buckets; b++) {
        total += counts[b];
        snprintf(le, sizeof(le), "%.15g", d->buckets[b]);
        put_line(out, rows, "_bucket", le, total);
    }
    total += counts[d->n_buckets];
    put_line(out, rows, "_bucket", "+Inf", total);
    put_line(out, rows, "_count", NULL, total);
    put_line(out, rows, "_sum", NULL, sum);
}

void metrics_page(struct sbuf *out)
{
    struct metrics_scrape s = {0};
    size_t i, j;

    arena_init(&s.arena, 0, 0);
    gather(&s);
    for (i = 0; i < s.n; i = j) {
        const struct row *r = &s.rows[i];
        const struct desc *d = &descs[r->m];
        double sum = 0;

        if (i == 0 || s.rows[i - 1].m != r->m)
            sbuf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", d->name, d->help, d->name,
                      type_words[d->type]);
        for (j = i; j < s.n && row_cmp(r, &s.rows[j]) == 0; j++)
            sum += s.rows[j].value;
        if (r->histogram)
            put_histogram(out, r, j - i);
        else
            put_line(out, r, "", NULL, sum);
    }
    free(s.rows);
    arena_fini(&s.arena);
}

void metrics_reset(void)
{
    struct cells *c = atomic_exchange(&all_cells, NULL), *next;

    atomic_fetch_add(&generation, 1);
    for (; c; c = next) {
        _Atomic(struct series *) *table = atomic_load(&c->table);

        next = c->next;
        for (size_t i = 0; table && i < TABLE_SIZE; i++)
            free(atomic_load(&table[i]));
        free(table);
        free(c);
    }
    n_collectors = 0;
}
