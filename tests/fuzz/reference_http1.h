/*
 * reference_http1.h - HTTP/1 requests read a second time, slowly and line by line, written from
 * RFC 9112 and RFC 9110 alone. fuzz_http1_reference.c holds the gateway's parser against it.
 *
 * Where the RFCs leave the choice, ours is taken, and the place says "choice".
 */
#ifndef TESTS_FUZZ_REFERENCE_HTTP1_H
#define TESTS_FUZZ_REFERENCE_HTTP1_H

#include "common/str.h"

#define REF_FIELDS 200

enum ref_result { REF_OK, REF_MORE, REF_BAD };

struct ref_request {
    struct str method, target;
    struct str path, query;   /* of the target; query.p NULL: no '?' */
    struct str authority;     /* the absolute target's, else Host's */
    struct str host;          /* of authority, as written, brackets included */
    unsigned port;            /* of authority; 0: none */
    int minor;                /* HTTP/1.minor */
    bool chunked, keep_alive, expect_continue;
    int64_t content_length;   /* -1: none */
    struct ref_field {
        struct str name, value;
        bool hop;             /* Connection names it */
    } fields[REF_FIELDS];
    size_t n_fields;
    size_t used;              /* bytes of in that the head is */
};

/* The head that in begins with. Strings point into in. *why: what is wrong, for REF_BAD. */
enum ref_result ref_read_head(struct str in, struct ref_request *out, const char **why);

/*
 * The chunked body that in begins with. out: in.len bytes; *made_out of them are the data that came,
 * for REF_OK and REF_MORE. *used_out: for REF_OK.
 */
enum ref_result ref_read_chunked(struct str in, char *out, size_t *made_out, size_t *used_out, const char **why);

#endif
