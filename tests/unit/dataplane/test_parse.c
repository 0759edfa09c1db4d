/* HTTP/1 heads and chunked bodies: what is taken, what is refused, at every split. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/http/parse.h"

static const struct parse_limits limits = {.head_bytes = 2048, .uri_bytes = 256, .fields = 20};

#define REST "Host: h\r\n\r\n"
#define OK   0

static const struct {
    const char *head;
    unsigned status; /* OK: taken */
} requests[] = {
    {"GET / HTTP/1.1\r\n" REST, OK},
    {"\r\nGET / HTTP/1.1\r\n" REST, OK},
    {"GET / HTTP/1.0\r\n\r\n", OK},
    {"PURGE /a?b=c HTTP/1.1\r\n" REST, OK},
    {"M-SEARCH_X / HTTP/1.1\r\n" REST, OK},
    {"GET http://h:80/a HTTP/1.1\r\n" REST, OK},
    {"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", OK},
    {"GET / HTTP/1.1\r\nHost: [::ffff:1.2.3.4]\r\n\r\n", OK},
    {"GET / HTTP/1.1\r\nHost: a%2Fb%20.c:\r\n\r\n", OK},
    {"GET / HTTP/1.1\r\nHost:\r\n\r\n", OK},
    {"GET / HTTP/1.1\r\nX_y: \ta b\t \r\n" REST, OK},
    {"GET / HTTP/1.1\r\nX: \xc3\xa9\r\n" REST, OK},
    {"POST / HTTP/1.1\r\nContent-Length: 9223372036854775807\r\n" REST, OK},
    {"POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n" REST, OK},
    {"POST / HTTP/1.1\r\nTransfer-Encoding: ,chunked,\r\n" REST, OK},
    {"POST / HTTP/1.1\r\nExpect: 100-Continue\r\n" REST, OK},
    {"GET / HTTP/1.1\n" REST, 400},
    {"GET / HTTP/1.1\r\nHost: h\n\r\n", 400},
    {"GET / HTTP/1.1\r\nX: a\rb\r\n" REST, 400},
    {"\r\n\r\nGET / HTTP/1.1\r\n" REST, 400},
    {"GET  / HTTP/1.1\r\n" REST, 400},
    {"GET /a b HTTP/1.1\r\n" REST, 400},
    {"GET /#f HTTP/1.1\r\n" REST, 400},
    {"GET a HTTP/1.1\r\n" REST, 400},
    {"GET /\r\n" REST, 400},
    {"GET / http/1.1\r\n" REST, 400},
    {"G(T / HTTP/1.1\r\n" REST, 400},
    {"get / HTTP/1.1\r\n" REST, 400},
    {"GE7 / HTTP/1.1\r\n" REST, 400},
    {"GET / HTTP/1.1\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: u@h\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: h:65536\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: h:8x\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: :80\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: [::::]\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: [1.2]\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: [0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a%\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a%2\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a%2g\r\n\r\n", 400},
    {"GET http://a%/ HTTP/1.1\r\n" REST, 400},
    {"GET http:///a HTTP/1.1\r\n" REST, 400},
    {"GET ftp://h/a HTTP/1.1\r\n" REST, 400},
    {"GET / HTTP/1.1\r\nA : b\r\n" REST, 400},
    {"GET / HTTP/1.1\r\nUser\rAgent: b\r\n" REST, 400},
    {"GET / HTTP/1.1\r\nUser-Agent : b\r\n" REST, 400},
    {"GET / HTTP/1.1\r\nX-A-Name-Of-More-Than-24-By\x01tes: b\r\n" REST, 400},
    {"GET / HTTP/1.1\r\nX-A-Name-Of-More-Than-24-Bytes: \tb\tc\x80 \r\n" REST, OK},
    {"GET / HTTP/1.1\r\nX-Long: 0123456789\x7f\r\n" REST, 400},
    {"GET / HTTP/1.1\r\nX-Long: 0123456789\tab\x1f\r\n" REST, 400},
    {"GET / HTTP/1.1\r\n: b\r\n" REST, 400},
    {"GET / HTTP/1.1\r\nA\r\n" REST, 400},
    {"GET / HTTP/1.1\r\nA: b\r\n c\r\n" REST, 400},
    {"GET / HTTP/1.1\r\nA: \x7f\r\n" REST, 400},
    {"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n" REST, 400},
    {"POST / HTTP/1.1\r\nContent-Length: 1, 1\r\n" REST, 400},
    {"POST / HTTP/1.1\r\nContent-Length: +1\r\n" REST, 400},
    {"POST / HTTP/1.1\r\nContent-Length: 0x1\r\n" REST, 400},
    {"POST / HTTP/1.1\r\nContent-Length:\r\n" REST, 400},
    {"POST / HTTP/1.1\r\nContent-Length: 9223372036854775808\r\n" REST, 400},
    {"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n" REST, 400},
    {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n" REST, 501},
    {"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: , chunked\r\n" REST, 501},
    {"POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n" REST, 400},
    {"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n" REST, 400},
    {"POST / HTTP/1.1\r\nTransfer-Encoding: \r\n" REST, 400},
    {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked;a=b\r\n" REST, 400},
    {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n" REST, 400},
    {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked, chunked\r\n" REST, 400},
    {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" REST, 400},
    {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n" REST, 400},
    {"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\nContent-Length: 1\r\n" REST, 400},
    {"GET / HTTP/2.0\r\n" REST, 505},
    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
    {"OPTIONS * HTTP/1.1\r\n" REST, 400},
    {"GET / HTTP/1.1\r\nExpect: more\r\n" REST, 417},
    {"GET / HTTP/1.1\r\nExpect: more\r\nExpect: 100-continue\r\n" REST, 417},
    {"TRACE / HTTP/1.1\r\n" REST, 405},
    {"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF / HTTP/1.1\r\n" REST, OK},
    {"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\n" REST, 501},
    {"CONNECT h:80 HTTP/1.1\r\n" REST, 405},
};

/* From memory of exactly that size, so that a look beyond shows under a sanitizer. */
static enum parse_result parse(const char *p, size_t len, struct req_head *out, size_t *used, struct parse_error *why)
{
    static char *copy;
    static struct arena a;

    free(copy);
    arena_fini(&a);
    arena_init(&a, 0, 0);
    copy = malloc(len ? len : 1);
    memcpy(copy, p, len);
    return http_parse_request(str_n(copy, len), &limits, &a, out, used, why);
}

static void requests_are_taken_or_refused_at_every_split(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        const char *text = requests[i].head;
        size_t len = strlen(text), used = 0;
        struct parse_error why = {0};
        struct req_head r;
        enum parse_result result = PARSE_MORE;

        for (size_t n = 0; n <= len && result == PARSE_MORE; n++)
            result = parse(text, n, &r, &used, &why);
        if (requests[i].status == OK && (result != PARSE_OK || used != len))
            fail_msg("not taken: %s", text);
        if (requests[i].status != OK && (result != PARSE_BAD || why.status != requests[i].status))
            fail_msg("result %d status %u: %s", result, why.status, text);
    }
}

static void parts_of_a_request(void **state)
{
    static const char text[] = "POST http://User.Example:8080/a/%62?c=d&e HTTP/1.1\r\nhost: other\r\n"
                               "Content-length: 12\r\nCONNECTION: Foo, close\r\nX:  v \r\n\r\n";
    struct parse_error why;
    struct req_head r;
    size_t used;

    (void)state;
    assert_int_equal(parse(text, sizeof(text) - 1, &r, &used, &why), PARSE_OK);
    assert_int_equal(r.method_id, M_POST);
    assert_true(str_eq(r.raw_path, STR("/a/%62")));
    assert_true(str_eq(r.query, STR("c=d&e")));
    assert_true(str_eq(r.authority, STR("User.Example:8080")));
    assert_true(str_eq(r.host, STR("user.example")));
    assert_int_equal(r.host_port, 8080);
    assert_int_equal(r.content_length, 12);
    assert_false(r.keep_alive);
    assert_false(r.chunked);
    assert_int_equal(r.headers.n, 4);
    assert_true(str_eq(headers_find(&r.headers, STR("x"))->value, STR("v")));
    assert_int_equal(parse("GET /?  HTTP/1.1\r\n", 18, &r, &used, &why), PARSE_BAD);
    assert_int_equal(parse("GET /? HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 43, &r, &used, &why), PARSE_OK);
    assert_true(r.query.p && r.query.len == 0);
    assert_true(r.keep_alive);
}

static void limits_hold(void **state)
{
    char text[4096];
    struct parse_error why = {0};
    struct req_head r;
    size_t used;
    int n;

    (void)state;
    n = snprintf(text, sizeof(text), "GET /%0300d HTTP/1.1\r\n" REST, 0);
    assert_int_equal(parse(text, (size_t)n, &r, &used, &why), PARSE_BAD);
    assert_int_equal(why.status, 414);
    n = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nX: %03000d\r\n" REST, 0);
    assert_int_equal(parse(text, (size_t)n, &r, &used, &why), PARSE_BAD);
    assert_int_equal(why.status, 431);
    assert_int_equal(parse(text, 2048, &r, &used, &why), PARSE_BAD); /* before it is complete, too */
    n = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n");
    for (int i = 0; i < 20; i++)
        n += snprintf(text + n, sizeof(text) - (size_t)n, "X: y\r\n");
    n += snprintf(text + n, sizeof(text) - (size_t)n, REST);
    assert_int_equal(parse(text, (size_t)n, &r, &used, &why), PARSE_BAD);
    assert_int_equal(why.status, 431);
}

static const struct {
    const char *head;
    bool ok, chunked, keep_alive, head_request;
    unsigned status;
    int64_t length;
} responses[] = {
    {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", true, false, true, false, 200, 3},
    {"HTTP/1.1 200\r\n\r\n", true, false, true, false, 200, -1},
    {"HTTP/1.1 299 \r\n\r\n", true, false, true, false, 299, -1},
    {"HTTP/1.0 200 OK\r\n\r\n", true, false, false, false, 200, -1},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n", true, true, false, false, 200, -1},
    {"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n", true, false, true, false, 204, 0},
    {"HTTP/1.1 304 Not\r\nContent-Length: 9\r\n\r\n", true, false, true, false, 304, 0},
    {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", true, false, true, true, 200, 0},
    {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", false},
    {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", false},
    {"HTTP/1.1 200 OK\r\nBad Header\r\n\r\n", false},
    {"HTTP/1.1 200 OK\nA: b\r\n\r\n", false},
    {"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", false},
    {"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n", false},
    {"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", false},
    {"SSH-2.0-OpenSSH\r\n", false},
};

static void responses_are_taken_or_refused_at_every_split(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(responses); i++) {
        size_t len = strlen(responses[i].head), used = 0;
        enum parse_result result = PARSE_MORE;
        struct parse_error why = {0};
        struct resp_head r;
        struct arena a;

        arena_init(&a, 0, 0);
        for (size_t n = 0; n <= len && result == PARSE_MORE; n++) {
            char *copy = malloc(n ? n : 1);
            memcpy(copy, responses[i].head, n);
            result = http_parse_response(str_n(copy, n), &limits, &a, responses[i].head_request, &r, &used, &why);
            free(copy);
        }
        arena_fini(&a);
        if (result != (responses[i].ok ? PARSE_OK : PARSE_BAD))
            fail_msg("result %d: %s", result, responses[i].head);
        if (!responses[i].ok)
            continue;
        assert_int_equal(r.status, responses[i].status);
        assert_int_equal(r.content_length, responses[i].length);
        assert_int_equal(r.chunked, responses[i].chunked);
        assert_int_equal(r.keep_alive, responses[i].keep_alive);
    }
}

static const struct {
    const char *raw, *body;
    enum chunk_result result;
} bodies[] = {
    {"0\r\n\r\n", "", CHUNK_DONE},
    {"5\r\nhello\r\n0\r\n\r\n", "hello", CHUNK_DONE},
    {"1;a=\"b\"\r\nx\r\n000A\r\n0123456789\r\n0\r\nT: 1\r\nU: 2\r\n\r\n", "x0123456789", CHUNK_DONE},
    {"5\r\nhel", "hel", CHUNK_MORE},
    {"5\r\nhello", "hello", CHUNK_MORE},
    {"5\nhello\r\n0\r\n\r\n", "", CHUNK_BAD},
    {"5\r\nhelloX\r\n", "", CHUNK_BAD},
    {"5\r\nhello\n0\r\n\r\n", "", CHUNK_BAD},
    {"\r\n", "", CHUNK_BAD},
    {"-1\r\n", "", CHUNK_BAD},
    {"0x5\r\nhello\r\n", "", CHUNK_BAD},
    {"1000000000000000\r\n", "", CHUNK_BAD},
    {"5;a\nb\r\nhello\r\n", "", CHUNK_BAD},
    {"0\r\n\n", "", CHUNK_BAD},
    {"0\r\n T: folded\r\n\r\n", "", CHUNK_BAD},
    {"0\r\nfoo\r\n\r\n", "", CHUNK_BAD},
    {"0\r\nT : v\r\n\r\n", "", CHUNK_BAD},
    {"0\r\nT: a\rb\r\n\r\n", "", CHUNK_BAD},
    {"0\r\nT: a\x01\r\n\r\n", "", CHUNK_BAD},
    {"0\r\nT: a\n\r\n", "", CHUNK_BAD},
    {"0\r\nGET / HTTP/1.1\r\n\r\n", "", CHUNK_BAD},
    {"1 x\r\na\r\n0\r\n\r\n", "", CHUNK_BAD},
    {"1 \r\na\r\n0\r\n\r\n", "", CHUNK_BAD},
    {"1;a\x01\r\na\r\n0\r\n\r\n", "", CHUNK_BAD},
    {"1\t ;a=1;b\r\na\r\n0\r\nT:\r\n\r\n", "a", CHUNK_DONE},
};

static void chunked_bodies_at_every_piece_size(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        size_t len = strlen(bodies[i].raw);

        for (size_t piece = 1; piece <= len; piece++) {
            struct chunk_decoder d = {0};
            enum chunk_result r = CHUNK_MORE;
            char raw[256], out[256];
            size_t made_all = 0, used, made;

            memcpy(raw, bodies[i].raw, len);
            for (size_t at = 0; at < len && r == CHUNK_MORE; at += used) {
                r = chunk_decode(&d, raw + at, size_min(piece, len - at), out + made_all, &used, &made);
                if (r == CHUNK_BAD)
                    break;
                made_all += made;
            }
            assert_int_equal(r, bodies[i].result);
            if (r != CHUNK_BAD)
                assert_true(str_eq(str_n(out, made_all), str_of(bodies[i].body)));
        }
    }
}

static void what_follows_a_chunked_body_is_left(void **state)
{
    char raw[] = "3\r\nabc\r\n0\r\n\r\nGET /";
    struct chunk_decoder d = {0};
    size_t used, made;

    (void)state;
    assert_int_equal(chunk_decode(&d, raw, sizeof(raw) - 1, raw, &used, &made), CHUNK_DONE);
    assert_int_equal(used, sizeof(raw) - 1 - 5);
    assert_memory_equal(raw, "abc", 3);
    assert_int_equal(made, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_taken_or_refused_at_every_split),
        cmocka_unit_test(parts_of_a_request),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(responses_are_taken_or_refused_at_every_split),
        cmocka_unit_test(chunked_bodies_at_every_piece_size),
        cmocka_unit_test(what_follows_a_chunked_body_is_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
