/* A declarative document, from bytes to compiled records: any input ends in entities or errors. */
#include "common/declarative.h"
#include "proto/records_of.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct decl_errors errors = {0};
    struct decl decl = {0};

    if (size == 0)
        return 0;
    if (decl_read(str_n((const char *)data + 1, size - 1), data[0] % 3, &decl, &errors) == 0) {
        struct state_hash hash = {0};
        struct sbuf records = {0};
        struct err e;

        /* what was accepted must encode; only a body over the record's bound may not */
        if (records_of_entities(decl.entities, &records, &hash, &e) != 0)
            WEIR_ASSERT(e.code == ERR_LIMIT);
        sbuf_free(&records);
    } else {
        WEIR_ASSERT(errors.n > 0);
    }
    decl_errors_free(&errors);
    decl_free(&decl);
    return 0;
}
