/* A route's expression: any text ends in a tree that can be asked, or in an error that says where. */
#include <stdlib.h>

#include "dataplane/route/expression.h"
#include "dataplane/route/place.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ask(const struct route_expr *x, bool http)
{
    static const unsigned char address[16] = {[10] = 0xff, [11] = 0xff, 10, 1, 2, 3};
    struct header headers[] = {{STR("X-A"), STR("1"), 0}, {STR("x_a"), STR("Two"), 0}};
    struct req_head req = {
        .method = STR("GET"),
        .path = STR("/a/b/c"),
        .host = STR("a.com"),
        .query = STR("a=1&b=%41+c&d&a=2"),
        .headers = {headers, ARRAY_LEN(headers), ARRAY_LEN(headers), ~0ull},
    };
    struct expr_input in = {
        .req = http ? &req : NULL,
        .protocol = http ? STR("https") : STR("tls"),
        .sni = STR("Sni.com"),
        .src = address,
        .dst_port = 443,
    };
    struct route_match m;
    struct arena scratch;

    arena_init(&scratch, 0, 65536);
    in.scratch = &scratch;
    if (route_expr_matches(x, &in, &m) && m.matched.p)
        WEIR_ASSERT(m.matched.p == req.path.p && m.matched.len <= req.path.len);
    arena_fini(&scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool http = size && data[0] % 2;
    struct route_expr *x;
    struct err e = {0};
    struct str text;
    char *copy;

    if (size == 0)
        return 0;
    copy = malloc(size); /* to its exact end */
    memcpy(copy, data + 1, size - 1);
    text = str_n(copy, size - 1);
    x = route_expr_new(text, http ? EXPR_HTTP : EXPR_STREAM, &e);
    if (x) {
        WEIR_ASSERT(x->n_hosts && x->n_paths);
        ask(x, http);
        obj_unref(&x->o);
    } else {
        WEIR_ASSERT(e.message[0]);
    }
    free(copy);
    return 0;
}
