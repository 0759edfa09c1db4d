/*
 * PROXY protocol headers: any input ends in a verdict; every part of a whole one asks for more;
 * what was read is written by both versions and read again as the same.
 */
#include <stdlib.h>

#include "dataplane/stream/proxy_protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* From memory of exactly that size, so that a step beyond shows. */
static enum pp_result parse(const void *data, size_t size, struct proxy_info *out, size_t *used)
{
    char *copy = malloc(size ? size : 1);
    enum pp_result result;

    if (size)
        memcpy(copy, data, size);
    result = proxy_parse(str_n(copy, size), out, used);
    free(copy);
    return result;
}

static void check_same(const void *text, size_t len, const struct proxy_info *info)
{
    struct proxy_info again;
    size_t used;

    WEIR_ASSERT(parse(text, len, &again, &used) == PP_OK && used == len);
    WEIR_ASSERT(memcmp(&again, info, sizeof(again)) == 0); /* cleared as a whole first: no padding differs */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char v1[PROXY_V1_MAX];
    unsigned char v2[PROXY_V2_WRITTEN];
    struct proxy_info info, part;
    size_t used, part_used;
    enum pp_result result = parse(data, size, &info, &used);

    if (result == PP_MORE) {
        WEIR_ASSERT(size < PROXY_HEADER_MAX);
        return 0;
    }
    if (result == PP_BAD)
        return 0;
    WEIR_ASSERT(used <= size && used <= PROXY_HEADER_MAX);
    for (size_t n = 0; n < used; n += used < 256 ? 1 : 61)
        WEIR_ASSERT(parse(data, n, &part, &part_used) == PP_MORE);
    check_same(data, used, &info);
    check_same(v1, proxy_write_v1(&info.src, &info.dst, v1), &info);
    check_same(v2, proxy_write_v2(&info.src, &info.dst, v2), &info);
    return 0;
}
