/* outq.c - see outq.h. */
#include "dataplane/outq.h"

#include "dataplane/head_out.h"

int outq_write(struct outq *q, struct io *io, size_t *written)
{
    *written = 0;
    while (!outq_empty(q)) {
        ssize_t n = io->ops->writev(io, q->v + q->at, q->n - q->at);

        if (n == IO_AGAIN)
            return 1;
        if (n < 0)
            return -1;
        *written += (size_t)n;
        outq_advance(q, (size_t)n);
        if (n == 0)
            return 1;
    }
    return 0;
}

void outq_add_body(struct outq *q, char room[CHUNK_ROOM], struct str piece, bool chunked)
{
    static const char digits[] = "0123456789abcdef";
    size_t at = CHUNK_ROOM, n = piece.len;

    if (!chunked) {
        outq_add(q, piece.p, piece.len);
        return;
    }
    room[--at] = '\n';
    room[--at] = '\r';
    do
        room[--at] = digits[n & 15];
    while (n >>= 4);
    outq_add(q, room + at, CHUNK_ROOM - at);
    outq_add(q, piece.p, piece.len);
    outq_add(q, "\r\n", 2);
}

void outq_add_trailers(struct outq *q, const struct headers *trailers, struct arena *a)
{
    size_t room = 0;
    struct head_out o;
    char *text;

    HEADERS_EACH(h, trailers)
        room += h->name.len + h->value.len + 4;
    text = arena_alloc(a, room + 5);
    if (!text) {
        outq_add(q, "0\r\n\r\n", 5);
        return;
    }
    o = (struct head_out){text, text + room + 5, false};
    OUT_LITERAL(&o, "0\r\n");
    HEADERS_EACH(h, trailers)
        out_header(&o, h);
    OUT_LITERAL(&o, "\r\n");
    outq_add(q, text, (size_t)(o.p - text));
}

bool outq_keep(struct outq *q, struct arena *a)
{
    struct iovec *v;
    void *copy;

    if (!q->fleeting || q->fleeting <= q->at) {
        q->fleeting = 0;
        return true;
    }
    v = &q->v[q->fleeting - 1];
    copy = arena_dup(a, v->iov_base, v->iov_len);
    if (!copy)
        return false;
    v->iov_base = copy;
    q->fleeting = 0;
    return true;
}
