/* Error pages by Accept, and heads towards the client, byte for byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "dataplane/xio.h"

#define ID "0123456789abcdef0123456789abcdef"

static const struct {
    const char *accept; /* NULL: none */
    const char *content_type;
} accepts[] = {
    {NULL, "application/json; charset=utf-8"},
    {"*/*", "application/json; charset=utf-8"},
    {"text/html", "text/html; charset=utf-8"},
    {"text/html, */*", "text/html; charset=utf-8"},
    {"text/*", "text/plain; charset=utf-8"},
    {"application/xml", "application/xml; charset=utf-8"},
    {"image/png", "application/json; charset=utf-8"},
    {"TEXT/HTML", "application/json; charset=utf-8"},
    {"text/html;q=0.1, text/plain;q=0.9", "text/plain; charset=utf-8"},
    {"text/html;q=0.5, application/xml;q=0.50, */*;q=0.1", "text/html; charset=utf-8"},
    {"text/html;q=0", "application/json; charset=utf-8"},
    {";;,,;q=", "application/json; charset=utf-8"},
};

struct fixture {
    struct worker w;
    struct dp_settings set;
    struct xio *io;
};

static struct exchange *begin(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    f->set.headers = HT_BIT(HT_SERVER) | HT_BIT(HT_VIA) | HT_BIT(HT_RESPONSE_LATENCY) |
                     HT_BIT(HT_UPSTREAM_LATENCY) | HT_BIT(HT_PROXY_LATENCY) | HT_BIT(HT_REQUEST_ID);
    f->w.set = &f->set;
    f->w.now_us = 5000000;
    f->w.date_second = 5;
    memcpy(f->w.date, "Sun, 06 Nov 1994 08:49:37 GMT", 30);
    f->w.scratch = malloc(SCRATCH_BYTES);
    f->io = calloc(1, sizeof(*f->io));
    f->io->w = &f->w;
    f->io->keep_alive = true;
    f->io->x.io = f->io;
    f->io->x.worker = &f->w;
    f->io->x.req.version = 11;
    f->io->x.req.method = STR("GET");
    f->io->x.times.start = 4990000;
    memcpy(f->io->x.request_id, ID, 33);
    arena_init(&f->io->x.arena, 0, 0);
    return &f->io->x;
}

static void end(struct fixture *f)
{
    arena_fini(&f->io->x.arena);
    free(f->io);
    free(f->w.scratch);
}

static void type_follows_accept(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(accepts); i++) {
        struct fixture f;
        struct exchange *x = begin(&f);

        if (accepts[i].accept)
            assert_true(headers_add(&x->req.headers, &x->arena, STR("Accept"), str_of(accepts[i].accept)));
        exchange_error(x, 404, "no Route matched with those values");
        assert_true(x->answered);
        assert_true(str_eq(headers_find_id(&x->resp.headers, HDR_CONTENT_TYPE)->value,
                           str_of(accepts[i].content_type)));
        end(&f);
    }
}

static void bodies_are_the_references(void **state)
{
    struct fixture f;
    struct exchange *x = begin(&f);

    (void)state;
    exchange_error(x, 404, "no Route matched with those values");
    assert_int_equal(x->answer.len, 103);
    assert_true(str_eq(x->answer, STR("{\n  \"message\":\"no Route matched with those values\",\n"
                                      "  \"request_id\":\"" ID "\"\n}")));
    exchange_error(x, 401, NULL);
    assert_true(str_starts(x->answer, STR("{\n  \"message\":\"Unauthorized\"")));
    respond_failure(x, 502, NULL);
    assert_true(str_eq(x->answer, STR("An invalid response was received from the upstream server\n"
                                      "request_id: " ID "\n")));
    respond_failure(x, 431, "Request header or cookie too large");
    assert_int_equal(x->resp.status, 400);
    end(&f);
}

static const struct {
    const char *accept, *message, *found;
} messages[] = {
    {"application/json", "a \"b\" \\ \x01\n", "\"message\":\"a \\\"b\\\" \\\\ \\u0001\\u000a\",\n"},
    {"application/json", "\xc3\xa9 \xff</>", "\"message\":\"\xc3\xa9 \xef\xbf\xbd</>\",\n"},
    {"application/json", "", "\"message\":\"\",\n"},
    {"text/html", "<b>&\"'\x01", "<p>&lt;b&gt;&amp;&#34;&#39;\xef\xbf\xbd.</p>"},
    {"application/xml", "]]></message>\t", "<message>]]&gt;&lt;/message&gt;\t</message>"},
    {"text/plain", "<b> \"\xe2\x82", "<b> \"\xef\xbf\xbd\xef\xbf\xbd\nrequest_id"},
};

static void messages_cannot_leave_their_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(messages); i++) {
        struct fixture f;
        struct exchange *x = begin(&f);

        assert_true(headers_add(&x->req.headers, &x->arena, STR("Accept"), str_of(messages[i].accept)));
        exchange_error(x, 403, messages[i].message);
        if (!memmem(x->answer.p, x->answer.len, messages[i].found, strlen(messages[i].found)))
            fail_msg("case %zu: " STR_FMT, i, STR_ARG(x->answer));
        end(&f);
    }
}

static void grpc_clients_get_the_message_alone(void **state)
{
    struct fixture f;
    struct exchange *x = begin(&f);

    (void)state;
    assert_true(headers_add(&x->req.headers, &x->arena, STR("Content-Type"), STR("application/grpc+proto")));
    respond_failure(x, 503, "a \"b\"");
    assert_true(str_eq(x->answer, STR("{\"message\":\"a \\\"b\\\"\"}")));
    assert_true(str_eq(headers_find_id(&x->resp.headers, HDR_CONTENT_TYPE)->value,
                       STR("application/json; charset=utf-8")));
    end(&f);
}

static void head_of_an_answer(void **state)
{
    static const char want[] = "HTTP/1.1 418 I'm a teapot\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n"
                               "Connection: keep-alive\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                               "Server: weir/" WEIR_VERSION "\r\nX-Kong-Response-Latency: 10\r\n"
                               "X-Kong-Request-Id: " ID "\r\n\r\n";
    struct fixture f;
    struct exchange *x = begin(&f);
    size_t n;

    (void)state;
    exchange_answer(x, 418, "text/plain", STR("short"));
    n = respond_head(f.io);
    assert_true(str_eq(str_n(f.w.scratch, n), str_n(want, sizeof(want) - 1)));
    end(&f);
}

static void head_of_a_proxied_response(void **state)
{
    static const char raw[] = "HTTP/1.1 200 Fine\r\nServer: up\r\nVia: 1.0 a\r\nConnection: X-Hop\r\nX-Hop: 1\r\n"
                              "Transfer-Encoding: chunked\r\nTrailer: T\r\nX-Kong-Proxy-Latency: 99\r\nX-A:  b\r\n\r\n";
    static const char want[] = "HTTP/1.1 200 Fine\r\nServer: up\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n"
                               "Connection: keep-alive\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                               "Via: 1.0 a, 1.1 weir/" WEIR_VERSION "\r\nX-Kong-Upstream-Latency: 4\r\n"
                               "X-Kong-Proxy-Latency: 3\r\nX-Kong-Request-Id: " ID "\r\n\r\n";
    const struct parse_limits limits = {.head_bytes = 4096, .fields = 50};
    struct parse_error why;
    struct fixture f;
    struct exchange *x = begin(&f);
    size_t used, n;

    (void)state;
    assert_int_equal(http_parse_response(str_n(raw, sizeof(raw) - 1), &limits, &x->arena, false, &x->resp, &used, &why), PARSE_OK);
    x->tries = 1;
    x->times.upstream_sent = 4993000;
    x->times.upstream_head = 4997000;
    n = respond_head(f.io);
    assert_true(str_eq(str_n(f.w.scratch, n), str_n(want, sizeof(want) - 1)));
    assert_true(f.io->down_chunked);

    x->req.version = 10; /* no chunks for HTTP/1.0: the end of the connection is the end */
    f.io->down_chunked = false;
    n = respond_head(f.io);
    assert_false(f.io->down_chunked || f.io->keep_alive);
    assert_non_null(memmem(f.w.scratch, n, "Connection: close\r\n", 19));
    end(&f);
}

static void a_head_that_does_not_fit_is_none(void **state)
{
    static char huge[SCRATCH_BYTES];
    struct fixture f;
    struct exchange *x = begin(&f);

    (void)state;
    memset(huge, 'x', sizeof(huge));
    exchange_answer(x, 200, NULL, STR(""));
    assert_true(headers_add(&x->resp.headers, &x->arena, STR("X"), str_n(huge, sizeof(huge))));
    assert_int_equal(respond_head(f.io), 0);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(type_follows_accept),
        cmocka_unit_test(bodies_are_the_references),
        cmocka_unit_test(messages_cannot_leave_their_place),
        cmocka_unit_test(grpc_clients_get_the_message_alone),
        cmocka_unit_test(head_of_an_answer),
        cmocka_unit_test(head_of_a_proxied_response),
        cmocka_unit_test(a_head_that_does_not_fit_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
