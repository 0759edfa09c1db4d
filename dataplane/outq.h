/*
 * outq.h - what waits to be written: a few pieces of memory that stay where they are until
 * they are gone. Nothing is added while something waits beyond what one message needs, so
 * a slow reader stops the writer's source instead of growing a queue.
 */
#ifndef DATAPLANE_OUTQ_H
#define DATAPLANE_OUTQ_H

#include "common/arena.h"
#include "dataplane/io.h"

#define OUTQ_MAX 8

struct outq {
    struct iovec v[OUTQ_MAX];
    uint8_t at, n;
    uint8_t fleeting; /* index + 1 of the piece whose memory will not last; 0: none */
};

static inline bool outq_empty(const struct outq *q)
{
    return q->at == q->n;
}

static inline void outq_clear(struct outq *q)
{
    q->at = q->n = q->fleeting = 0;
}

static inline void outq_add(struct outq *q, const void *p, size_t len)
{
    if (len == 0)
        return;
    WEIR_ASSERT(q->n < OUTQ_MAX);
    memcpy(&q->v[q->n].iov_base, &p, sizeof(p)); /* only ever read */
    q->v[q->n++].iov_len = len;
}

static inline void outq_add_fleeting(struct outq *q, const void *p, size_t len)
{
    outq_add(q, p, len);
    q->fleeting = q->n;
}

/* Takes off what was written. */
static inline void outq_advance(struct outq *q, size_t len)
{
    while (len) {
        struct iovec *v = &q->v[q->at];
        size_t part = size_min(len, v->iov_len);

        v->iov_base = (char *)v->iov_base + part;
        v->iov_len -= part;
        len -= part;
        if (v->iov_len == 0)
            q->at++;
    }
    if (q->at == q->n)
        outq_clear(q);
}

/*
 * Writes what it can. 0: all gone, 1: the rest waits for room, -1: the connection is gone.
 * *written is how many bytes went.
 */
int outq_write(struct outq *q, struct io *io, size_t *written);

/* Adds a piece of a body, as a chunk of its own when chunked; room is for its size line. */
#define CHUNK_ROOM 24
void outq_add_body(struct outq *q, char room[CHUNK_ROOM], struct str piece, bool chunked);

/* Ends a chunked body with these fields (RFC 9112 section 7.1.2). At the arena's cap, without. */
struct headers;
void outq_add_trailers(struct outq *q, const struct headers *trailers, struct arena *a);

/* What is left of the fleeting piece moves to the arena. False at its cap. */
bool outq_keep(struct outq *q, struct arena *a) WEIR_MUSTCHECK;

#endif
