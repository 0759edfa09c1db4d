/* ip_set.c - see ip_set.h. */
#include "dataplane/plugins/ip_set.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

/* An address as a number. */
struct point {
    uint64_t hi, lo;
};

struct span {
    struct point first, last;
};

struct ip_set {
    size_t n;
    struct point points[]; /* ascending: the first inside, the first outside again ... */
};

/* ::ffff:0:0/96 */
static const struct span v4_span = {{0, 0xffff00000000u}, {0, 0xffffffffffffu}};

static struct point point_of(const unsigned char addr[16])
{
    uint64_t hi, lo;

    memcpy(&hi, addr, sizeof(hi));
    memcpy(&lo, addr + 8, sizeof(lo));
    return (struct point){be64toh(hi), be64toh(lo)};
}

static bool at_most(struct point a, struct point b)
{
    return (a.hi < b.hi) | ((a.hi == b.hi) & (a.lo <= b.lo));
}

static struct point next(struct point p)
{
    return (struct point){p.hi + (p.lo == UINT64_MAX), p.lo + 1};
}

static struct point before(struct point p)
{
    return (struct point){p.hi - (p.lo == 0), p.lo - 1};
}

static struct span span_of(const struct ip_network *net)
{
    struct span r = {.first = point_of(net->addr)};

    r.last.hi = r.first.hi | (net->bits >= 64 ? 0 : UINT64_MAX >> net->bits);
    r.last.lo = r.first.lo | (net->bits < 64     ? UINT64_MAX
                              : net->bits >= 128 ? 0
                                                 : UINT64_MAX >> (net->bits - 64));
    return r;
}

/* The spans of one network: up to 2, since no IPv6 network has an IPv4 address. */
static size_t spans_of(const struct ip_network *net, struct span out[2])
{
    struct span r = span_of(net);

    if (!net->v4 && at_most(v4_span.first, r.first) && at_most(r.last, v4_span.last))
        return 0;
    out[0] = r;
    if (net->v4 || !at_most(r.first, v4_span.first) || !at_most(v4_span.last, r.last))
        return 1;
    out[0].last = before(v4_span.first);
    out[1] = (struct span){next(v4_span.last), r.last};
    return 2;
}

static int by_first(const void *a_, const void *b_)
{
    const struct span *a = a_, *b = b_;

    return at_most(b->first, a->first) - at_most(a->first, b->first);
}

struct ip_set *ip_set_new(const struct ip_network *networks, size_t n)
{
    struct span *spans = xcalloc(2 * n + 1, sizeof(*spans));
    size_t n_spans = 0;
    struct ip_set *s;

    for (size_t i = 0; i < n; i++)
        n_spans += spans_of(&networks[i], spans + n_spans);
    qsort(spans, n_spans, sizeof(*spans), by_first);

    s = xmalloc(sizeof(*s) + 2 * n_spans * sizeof(*s->points));
    s->n = 0;
    for (size_t i = 0; i < n_spans;) {
        struct span r = spans[i];
        struct point end;

        for (i++; i < n_spans && at_most(spans[i].first, r.last); i++)
            if (at_most(r.last, spans[i].last))
                r.last = spans[i].last;
        end = next(r.last);
        s->points[s->n++] = r.first;
        if (end.hi || end.lo) /* otherwise nothing is behind it */
            s->points[s->n++] = end;
    }
    free(spans);
    return xrealloc(s, sizeof(*s) + s->n * sizeof(*s->points));
}

void ip_set_free(struct ip_set **s)
{
    free(*s);
    *s = NULL;
}

bool ip_set_has(const struct ip_set *s, const unsigned char addr[16])
{
    const struct point *at = s->points;
    struct point p = point_of(addr);
    size_t n = s->n, passed;

    for (size_t half = n / 2; n > 1; half = n / 2) {
        at += at_most(at[half], p) ? half : 0;
        n -= half;
    }
    passed = (size_t)(at - s->points) + (n && at_most(*at, p));
    return passed % 2 == 1;
}
