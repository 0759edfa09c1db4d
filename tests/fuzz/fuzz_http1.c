/*
 * fuzz_http1.c - the HTTP/1 parsers on anything: request heads, response heads, chunked bodies.
 *
 *   clang -D_GNU_SOURCE -I. -g -fsanitize=fuzzer,address,undefined tests/fuzz/fuzz_http1.c \
 *       dataplane/http/parse.c dataplane/http/chunk.c dataplane/msg.c common/arena.c common/str.c common/base.c
 */
#include <stdlib.h>

#include "dataplane/http/parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct parse_limits limits = {.head_bytes = 4096, .uri_bytes = 1024, .fields = 50};
    char *copy = malloc(size ? size : 1); /* to its exact end, so that a step beyond shows */
    struct str in = {copy, size};
    struct chunk_decoder chunks = {0};
    struct parse_error why;
    struct req_head req;
    struct resp_head resp;
    struct arena a;
    size_t used, made;

    if (size)
        memcpy(copy, data, size);
    arena_init(&a, 0, 65536);
    if (http_parse_request(in, &limits, &a, &req, &used, &why) == PARSE_OK)
        WEIR_ASSERT(used <= size && req.target.len && !(req.chunked && req.content_length >= 0));
    if (http_parse_response(in, &limits, &a, false, &resp, &used, &why) == PARSE_OK)
        WEIR_ASSERT(used <= size && resp.status >= 100 && resp.status <= 999);
    if (chunk_decode(&chunks, copy, size, copy, &used, &made) != CHUNK_BAD)
        WEIR_ASSERT(used <= size && made <= used);
    arena_fini(&a);
    free(copy);
    return 0;
}
