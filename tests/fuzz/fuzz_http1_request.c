/*
 * Request heads: any input ends in a verdict, under bounds that inputs reach; every part of a head
 * that is taken asks for more, and what is refused stays refused.
 */
#include <stdlib.h>

#include "dataplane/http/parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct parse_limits limits = {.head_bytes = 4096, .uri_bytes = 1024, .fields = 50};

/* From memory of exactly that size, so that a step beyond shows; *copy_out is the caller's. */
static enum parse_result parse(const uint8_t *data, size_t size, struct arena *a, struct req_head *out, size_t *used,
                               char **copy_out)
{
    struct parse_error why = {0};
    enum parse_result result;

    *copy_out = malloc(size ? size : 1);
    if (size)
        memcpy(*copy_out, data, size);
    result = http_parse_request(str_n(*copy_out, size), &limits, a, out, used, &why);
    if (result == PARSE_BAD)
        WEIR_ASSERT(why.status >= 400 && why.status <= 599 && why.message);
    return result;
}

static bool within(struct str s, struct str of)
{
    return s.p >= of.p && s.p + s.len <= of.p + of.len;
}

static void check(const struct req_head *r, struct str head)
{
    WEIR_ASSERT(within(r->method, head) && r->method.len && within(r->target, head) && r->target.len);
    WEIR_ASSERT(r->raw_path.len && r->raw_path.p[0] == '/' && r->target.len <= limits.uri_bytes);
    WEIR_ASSERT(r->version == 10 || r->version == 11);
    WEIR_ASSERT(!(r->chunked && r->content_length >= 0) && r->content_length >= -1);
    WEIR_ASSERT(r->headers.n <= limits.fields && r->host.p && r->authority.p);
    for (uint32_t i = 0; i < r->headers.n; i++) {
        const struct header *h = &r->headers.v[i];

        WEIR_ASSERT(within(h->name, head) && http_is_token(h->name) && http_is_value(h->value));
        WEIR_ASSERT(h->id == header_id_of(h->name) && str_eq(str_trim(h->value), h->value));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct req_head head, part;
    size_t used = 0, ignored;
    struct arena a;
    char *copy;
    enum parse_result result;

    arena_init(&a, 0, 65536);
    result = parse(data, size, &a, &head, &used, &copy);
    if (result == PARSE_OK) {
        WEIR_ASSERT(used <= size && used <= limits.head_bytes);
        check(&head, str_n(copy, used));
    }
    WEIR_ASSERT(result != PARSE_MORE || size < limits.head_bytes);
    free(copy);
    /* a verdict comes once: no part of the input has another than the whole */
    for (size_t n = 0; n < size; n += size < 256 ? 1 : 1 + size / 64) {
        enum parse_result early;

        arena_reset(&a);
        early = parse(data, n, &a, &part, &ignored, &copy);
        free(copy);
        WEIR_ASSERT(early == PARSE_MORE || early == result);
        WEIR_ASSERT(early != PARSE_OK || (ignored == used && n >= used));
    }
    arena_fini(&a);
    return 0;
}
