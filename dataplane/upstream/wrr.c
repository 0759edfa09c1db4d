/* wrr.c - see wrr.h. */
#include "dataplane/upstream/wrr.h"

#include <stdlib.h>
#include <string.h>

struct turn {
    uint64_t at; /* place in the round, fixed point */
    uint16_t target;
};

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t rest = a % b;

        a = b;
        b = rest;
    }
    return a;
}

/* Divides all by their greatest common divisor; returns their sum. */
static uint64_t reduce(uint64_t *w, uint32_t n)
{
    uint64_t g = 0, sum = 0;

    for (uint32_t i = 0; i < n; i++)
        g = gcd(w[i], g);
    for (uint32_t i = 0; i < n; i++)
        sum += g ? w[i] /= g : 0;
    return sum;
}

static int by_place(const void *a, const void *b)
{
    const struct turn *x = a, *y = b;

    if (x->at != y->at)
        return x->at < y->at ? -1 : 1;
    return x->target - y->target;
}

uint32_t wrr_order(const uint32_t *weights, uint32_t n, uint16_t *order_out)
{
    uint64_t *w = xcalloc(n + 1u, sizeof(*w));
    struct turn *turns;
    uint32_t used = 0;
    uint64_t sum;

    for (uint32_t i = 0; i < n; i++)
        w[i] = weights[i];
    sum = reduce(w, n);
    if (sum > WRR_MAX) {
        for (uint32_t i = 0; i < n; i++)
            if (w[i])
                w[i] = size_max(1, (size_t)((double)w[i] * WRR_MAX / (double)sum));
        sum = reduce(w, n);
    }
    turns = xcalloc(sum + 1, sizeof(*turns));
    for (uint32_t i = 0; i < n; i++)
        for (uint64_t k = 0; k < w[i]; k++) /* the middle of its k-th share */
            turns[used++] = (struct turn){(((2 * k + 1) << 40) / w[i]), (uint16_t)i};
    qsort(turns, used, sizeof(*turns), by_place);
    for (uint32_t i = 0; i < used; i++)
        order_out[i] = turns[i].target;
    free(turns);
    free(w);
    return used;
}
