/*
 * Records as they come from the wire or from disk, compiled twice: as a snapshot, and the rest
 * as a delta upon it. Any input ends in a configuration or an error that leaves the last one.
 */
#include <stdlib.h>

#include "dataplane/config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct compiler *compiler = compiler_new();
    struct config *first = NULL, *second = NULL;
    struct err e;
    size_t cut;

    if (size < 2) {
        compiler_free(&compiler);
        return 0;
    }
    cut = size_min((size_t)data[0] << 8 | data[1], size - 2);
    data += 2, size -= 2;
    if (compiler_apply(compiler, true, str_n((const char *)data, cut), 1, &first, &e) == 0) {
        if (compiler_apply(compiler, false, str_n((const char *)data + cut, size - cut), 2, &second, &e) == 0)
            config_release(compiler, &second);
        config_release(compiler, &first);
    }
    compiler_free(&compiler);
    return 0;
}
