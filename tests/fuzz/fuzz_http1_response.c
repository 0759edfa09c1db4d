/*
 * Response heads, to a request with HEAD and to another: any input ends in a verdict; every part of a
 * head that is taken asks for more, and what is refused stays refused.
 */
#include <stdlib.h>

#include "dataplane/http/parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct parse_limits limits = {.head_bytes = 4096, .uri_bytes = 1024, .fields = 50};

/* From memory of exactly that size, so that a step beyond shows. out's texts are gone on return. */
static enum parse_result parse(const uint8_t *data, size_t size, bool to_head, struct resp_head *out, size_t *used)
{
    char *copy = malloc(size ? size : 1);
    struct parse_error why = {0};
    enum parse_result result;
    struct arena a;

    if (size)
        memcpy(copy, data, size);
    arena_init(&a, 0, 65536);
    result = http_parse_response(str_n(copy, size), &limits, &a, to_head, out, used, &why);
    if (result == PARSE_BAD)
        WEIR_ASSERT(why.status == 502 && why.message);
    if (result == PARSE_OK) {
        WEIR_ASSERT(*used <= size && *used <= limits.head_bytes && out->headers.n <= limits.fields);
        WEIR_ASSERT(http_is_value(out->reason));
        for (uint32_t i = 0; i < out->headers.n; i++)
            WEIR_ASSERT(http_is_token(out->headers.v[i].name) && http_is_value(out->headers.v[i].value));
    }
    arena_fini(&a);
    free(copy);
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct resp_head resp, part;
    size_t used = 0, ignored;
    enum parse_result result = parse(data, size, false, &resp, &used);

    WEIR_ASSERT(result != PARSE_MORE || size < limits.head_bytes);
    if (result == PARSE_OK) {
        WEIR_ASSERT(resp.status >= 100 && resp.status <= 999 && !(resp.chunked && resp.content_length >= 0));
        WEIR_ASSERT(parse(data, size, true, &part, &ignored) == PARSE_OK && ignored == used);
        WEIR_ASSERT(!part.chunked && part.content_length == 0 && part.keep_alive == resp.keep_alive);
    }
    for (size_t n = 0; n < size; n += size < 256 ? 1 : 1 + size / 64) {
        enum parse_result early = parse(data, n, false, &part, &ignored);

        WEIR_ASSERT(early == PARSE_MORE || early == result);
        WEIR_ASSERT(early != PARSE_OK || (ignored == used && n >= used));
    }
    return 0;
}
