/* ip_set.c - see ip_set.h. */
#include "dataplane/plugins/ip_set.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned __int128 u128;

#define POINTS_PER_PART 4 /* at least, on average */

struct span {
    u128 first, last;
};

/* The addresses of one family that are inside. */
struct line {
    size_t n;
    u128 *points;     /* ascending: the first inside, the first outside again ... */
    uint32_t *starts; /* n_parts + 1: the first point of a part, or of one behind it */
    u128 n_parts;
    unsigned shift; /* 1 << shift addresses are a part, counted from the first point */
};

struct ip_set {
    struct line v4, v6;
};

static u128 number_of(const unsigned char addr[16])
{
    uint64_t hi, lo;

    memcpy(&hi, addr, sizeof(hi));
    memcpy(&lo, addr + 8, sizeof(lo));
    return (u128)be64toh(hi) << 64 | be64toh(lo);
}

static bool is_v4(u128 address)
{
    return address >> 32 == 0xffff;
}

static int by_first(const void *a_, const void *b_)
{
    const struct span *a = a_, *b = b_;

    return (a->first > b->first) - (a->first < b->first);
}

/* Sorts the spans and makes points of what they cover together. */
static void make_points(struct line *l, struct span *spans, size_t n)
{
    qsort(spans, n, sizeof(*spans), by_first);
    l->points = xcalloc(2 * n + 1, sizeof(*l->points));
    for (size_t i = 0; i < n;) {
        struct span whole = spans[i];

        for (i++; i < n && spans[i].first <= whole.last; i++)
            if (spans[i].last > whole.last)
                whole.last = spans[i].last;
        l->points[l->n++] = whole.first;
        if (whole.last + 1 != 0) /* otherwise nothing is behind it */
            l->points[l->n++] = whole.last + 1;
    }
    l->points = xrealloc(l->points, (l->n + 1) * sizeof(*l->points));
}

/* Of an address that is not before the first point. */
static u128 part_of(const struct line *l, u128 address)
{
    u128 part = (address - l->points[0]) >> l->shift;

    return part < l->n_parts ? part : l->n_parts - 1;
}

static void make_parts(struct line *l)
{
    u128 length = l->n ? l->points[l->n - 1] - l->points[0] : 0;
    u128 part = 0;

    for (l->n_parts = 1; l->n_parts * 2 * POINTS_PER_PART <= l->n; l->n_parts *= 2)
        ;
    while (l->shift < 127 && length >> l->shift >= l->n_parts)
        l->shift++;
    l->starts = xcalloc((size_t)l->n_parts + 1, sizeof(*l->starts));
    for (size_t i = 0; i < l->n; i++)
        for (; part < part_of(l, l->points[i]); part++)
            l->starts[part + 1] = (uint32_t)i;
    for (; part < l->n_parts; part++)
        l->starts[part + 1] = (uint32_t)l->n;
}

static void make_line(struct line *l, const struct ip_network *networks, size_t n, bool v4)
{
    struct span *spans = xcalloc(n + 1, sizeof(*spans));
    size_t n_spans = 0;

    for (size_t i = 0; i < n; i++) {
        const struct ip_network *net = &networks[i];
        u128 first = number_of(net->addr);

        if (net->v4 == v4)
            spans[n_spans++] =
                (struct span){first, net->bits < 128 ? first | ~(u128)0 >> net->bits : first};
    }
    make_points(l, spans, n_spans);
    make_parts(l);
    free(spans);
}

struct ip_set *ip_set_new(const struct ip_network *networks, size_t n)
{
    struct ip_set *s = xcalloc(1, sizeof(*s));

    WEIR_ASSERT(n < UINT32_MAX / 2);
    make_line(&s->v4, networks, n, true);
    make_line(&s->v6, networks, n, false);
    return s;
}

static void free_line(struct line *l)
{
    free(l->points);
    free(l->starts);
}

void ip_set_free(struct ip_set **s)
{
    if (!*s)
        return;
    free_line(&(*s)->v4);
    free_line(&(*s)->v6);
    free(*s);
    *s = NULL;
}

bool ip_set_has(const struct ip_set *s, const unsigned char addr[16])
{
    u128 address = number_of(addr), part;
    const struct line *l = is_v4(address) ? &s->v4 : &s->v6;
    const u128 *at;
    size_t n, passed;

    if (l->n == 0 || address < l->points[0])
        return false;
    part = part_of(l, address);
    at = l->points + l->starts[part];
    n = l->starts[part + 1] - l->starts[part];
    for (size_t half = n / 2; n > 1; half = n / 2) {
        at += at[half] <= address ? half : 0;
        n -= half;
    }
    passed = (size_t)(at - l->points) + (n > 0 && *at <= address);
    return passed % 2 == 1; /* every point changes it */
}
