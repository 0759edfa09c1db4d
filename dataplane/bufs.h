/*
 * bufs.h - read buffers of one worker, in a few sizes, last in first out so that they stay
 * warm. Idle connections hold none. Threads: the worker's own.
 */
#ifndef DATAPLANE_BUFS_H
#define DATAPLANE_BUFS_H

#include "common/base.h"

/* A head that is still incomplete waits in a small one; a head and a 16 KB body fit the
 * middle one; long bodies pass through the big one. */
enum buf_class { BUF_4K, BUF_32K, BUF_64K, BUF_CLASSES };

struct buf {
    struct buf *next; /* in the pool */
    uint32_t cap, len;
    uint8_t class;    /* BUF_CLASSES: made to measure, not pooled */
    char data[];
};

struct buf_pool {
    struct buf *free[BUF_CLASSES];
    unsigned n_free[BUF_CLASSES];
    uint64_t bytes; /* handed out and pooled */
};

/* len is 0. Never NULL. */
struct buf *buf_take(struct buf_pool *p, enum buf_class class);
struct buf *buf_take_size(struct buf_pool *p, size_t cap); /* at least cap */
void buf_give(struct buf_pool *p, struct buf **b);         /* takes NULL, leaves NULL */
void buf_pool_fini(struct buf_pool *p);

#endif
