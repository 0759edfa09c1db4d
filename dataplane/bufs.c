/* bufs.c - see bufs.h. */
#include "dataplane/bufs.h"

#include <stdlib.h>

static const struct {
    uint32_t cap;
    unsigned keep; /* at most so many rest in the pool */
} classes[BUF_CLASSES] = {
    [BUF_4K] = {4096, 1024},
    [BUF_32K] = {32768, 512},
    [BUF_64K] = {65536, 128},
};

static struct buf *make(struct buf_pool *p, size_t cap, unsigned class)
{
    struct buf *b = xmalloc(sizeof(*b) + cap);

    b->cap = (uint32_t)cap;
    b->class = (uint8_t)class;
    p->bytes += cap;
    return b;
}

struct buf *buf_take(struct buf_pool *p, enum buf_class class)
{
    struct buf *b = p->free[class];

    if (likely(b != NULL)) {
        p->free[class] = b->next;
        p->n_free[class]--;
    } else {
        b = make(p, classes[class].cap, class);
    }
    b->next = NULL;
    b->len = 0;
    return b;
}

struct buf *buf_take_size(struct buf_pool *p, size_t cap)
{
    struct buf *b;

    for (unsigned class = 0; class < BUF_CLASSES; class++)
        if (cap <= classes[class].cap)
            return buf_take(p, class);
    WEIR_ASSERT(cap <= UINT32_MAX);
    b = make(p, cap, BUF_CLASSES);
    b->next = NULL;
    b->len = 0;
    return b;
}

void buf_give(struct buf_pool *p, struct buf **b_)
{
    struct buf *b = *b_;

    *b_ = NULL;
    if (!b)
        return;
    if (b->class == BUF_CLASSES || p->n_free[b->class] >= classes[b->class].keep) {
        p->bytes -= b->cap;
        free(b);
        return;
    }
    b->next = p->free[b->class];
    p->free[b->class] = b;
    p->n_free[b->class]++;
}

void buf_pool_fini(struct buf_pool *p)
{
    for (unsigned class = 0; class < BUF_CLASSES; class++) {
        struct buf *b, *next;
        for (b = p->free[class]; b; b = next) {
            next = b->next;
            free(b);
        }
        p->free[class] = NULL;
    }
}
