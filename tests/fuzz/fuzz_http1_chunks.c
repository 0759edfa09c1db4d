/*
 * Chunked bodies: whole, byte by byte, and in pieces that the input chooses, in place and into other
 * memory: the same verdict, the same data, the same end.
 */
#include <stdlib.h>

#include "dataplane/http/parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    enum chunk_result result;
    size_t used; /* of a body that is done */
    struct sbuf body;
};

/* piece_of(data, at): how long the piece at `at` is. In place: its data replace what was read. */
static struct outcome decode(const uint8_t *data, size_t size, size_t (*piece_of)(const uint8_t *, size_t), bool in_place)
{
    struct outcome o = {.result = CHUNK_MORE};
    struct chunk_decoder d = {0};
    size_t used, made;

    for (size_t at = 0; at < size && o.result == CHUNK_MORE; at += used) {
        size_t n = size_min(piece_of(data, at), size - at);
        char *in = malloc(n), *out = in_place ? in : malloc(n); /* to the exact end: a step beyond shows */

        memcpy(in, data + at, n);
        o.result = chunk_decode(&d, in, n, out, &used, &made);
        if (o.result == CHUNK_BAD)
            used = 0;
        else
            sbuf_add(&o.body, out, made);
        WEIR_ASSERT(o.result == CHUNK_BAD || (used <= n && made <= used && (used == n || o.result == CHUNK_DONE)));
        o.used += used;
        if (!in_place)
            free(out);
        free(in);
    }
    return o;
}

static size_t whole(const uint8_t *data, size_t at)
{
    (void)data, (void)at;
    return SIZE_MAX;
}

static size_t one(const uint8_t *data, size_t at)
{
    (void)data, (void)at;
    return 1;
}

static size_t some(const uint8_t *data, size_t at)
{
    return 1 + data[at] % 7;
}

static size_t many(const uint8_t *data, size_t at)
{
    return 1 + (data[at] ^ at * 31) % 61;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static size_t (*const ways[])(const uint8_t *, size_t) = {whole, one, some, many};
    struct outcome first = decode(data, size, whole, true);

    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        struct outcome o = decode(data, size, ways[i], false);

        WEIR_ASSERT(o.result == first.result);
        if (o.result != CHUNK_BAD) /* data in front of what is refused may have been passed on already */
            WEIR_ASSERT(o.used == first.used && str_eq(sbuf_str(&o.body), sbuf_str(&first.body)));
        sbuf_free(&o.body);
    }
    sbuf_free(&first.body);
    return 0;
}
