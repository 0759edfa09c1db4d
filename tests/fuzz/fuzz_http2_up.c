/*
 * HTTP/2 from upstreams, through a whole worker: two clients ask, and the input is what the upstream
 * says. What HTTP/1 clients get is read by the letter: one head for each request, or nothing.
 *
 * The last byte says how: into how many pieces the input is cut.
 */
#include "tests/fuzz/gateway.h"

#include <string.h>
#include <sys/socket.h>

#include "dataplane/http/parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char config[] =
    "_format_version: '3.0'\n"
    "services:\n"
    "- name: origin\n"
    "  url: http://127.0.0.1:%u\n"
    "  http_version: '2'\n"
    "  retries: 1\n"
    "  routes:\n"
    "  - {name: all, paths: ['/']}\n";

static const char *const options[] = {"--upstream-max-header-bytes=8k", NULL};

static const char get[] = "GET /a HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n";
static const char post[] = "POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx: y\r\n\r\n";

/* Whatever begins has to be heads that a strict reader takes, and the first final one may have a body. */
static void check_answer(int fd)
{
    static const struct parse_limits limits = {.head_bytes = 65536, .uri_bytes = 8192, .fields = 400};
    static char text[1 << 20];
    size_t len = 0, used;
    ssize_t n;

    while (len < sizeof(text) && (n = read(fd, text + len, sizeof(text) - len)) > 0)
        len += (size_t)n;
    for (size_t at = 0; at < len;) {
        struct resp_head head = {0};
        struct arena a;
        enum parse_result result;
        struct parse_error why = {0};

        arena_init(&a, 0, 1 << 20);
        result = http_parse_response(str_n(text + at, len - at), &limits, &a, false, &head, &used, &why);
        WEIR_ASSERT(result != PARSE_BAD);
        at += result == PARSE_OK && head.status < 200 ? used : len - at;
        arena_fini(&a);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct gateway *g;
    int clients[2], upstream[4];
    unsigned pieces, n = 0;
    size_t at = 0;

    if (!g)
        g = gateway_start(config, options);
    if (size < 2)
        return 0;
    pieces = 1 + data[--size] % 6;
    for (unsigned i = 0; i < 2; i++) {
        const char *request = i ? post : get;

        clients[i] = gateway_connect(g);
        WEIR_ASSERT(send(clients[i], request, strlen(request), 0) > 0);
    }
    gateway_turns(g, 6);
    for (unsigned i = 1; i <= pieces; i++) {
        size_t end = size * i / pieces;
        int fd;

        while (n < ARRAY_LEN(upstream) && (fd = gateway_accept(g)) >= 0)
            upstream[n++] = fd;
        if (n > 0 && at < end)
            (void)!send(upstream[0], data + at, end - at, MSG_NOSIGNAL);
        at = end;
        for (unsigned j = 0; j < n; j++)
            gateway_drain(upstream[j]);
        gateway_turns(g, 4);
    }
    while (n > 0)
        close(upstream[--n]);
    gateway_turns(g, 4);
    for (unsigned i = 0; i < 2; i++) {
        check_answer(clients[i]);
        close(clients[i]);
    }
    gateway_check(g);
    return 0;
}
