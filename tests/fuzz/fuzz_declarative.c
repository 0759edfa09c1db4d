/* A declarative document, from bytes to compiled records: any input ends in entities or errors. */
#include "common/declarative.h"
#include "proto/records_of.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Packed straight from the text: the same is right, and the same is wrong with it. */
static void check_packed(struct str text, bool right, const struct decl_errors *expected)
{
    struct decl_errors errors = {0};
    struct sbuf records = {0};

    if (records_of_text(text, &records, &errors) == 0) {
        WEIR_ASSERT(right);
    } else if (!right) {
        WEIR_ASSERT(errors.n == expected->n);
        for (size_t i = 0; i < errors.n; i++)
            WEIR_ASSERT(strcmp(errors.v[i].text, expected->v[i].text) == 0);
    }
    decl_errors_free(&errors);
    sbuf_free(&records);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct decl_errors errors = {0};
    struct decl decl = {0};
    struct str text;
    bool right;

    if (size == 0)
        return 0;
    text = str_n((const char *)data + 1, size - 1);
    right = decl_read(text, data[0] % 3, &decl, &errors) == 0;
    if (data[0] % 3 == DECL_BY_FIELD)
        check_packed(text, right, &errors);
    if (right) {
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
