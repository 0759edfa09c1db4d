/* test_server.c - what reaches a handler, and what is refused at the door: raw bytes in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "admin-api/server.h"

#define WAIT_MS 5000

static uint16_t port;
static struct server *server;
static _Atomic unsigned handled;

/* Answers with what arrived: method, path, body length. */
static enum outcome echo(struct call *c)
{
    handled++;
    return reply_json(c, 200,
                      json_pack("{s:i, s:s%, s:I}", "method", c->method, "path", c->path.p,
                                c->path.len, "bytes", (json_int_t)c->raw_body.len));
}

static void *write_later(void *arg)
{
    struct call *c = arg;

    reply_json(c, 201, json_pack("{s:s}", "by", "another thread"));
    c->written(c);
    return NULL;
}

/* "/later" is answered by a thread of its own, as a write is; "/now" before that is waited for. */
static enum outcome handle(struct call *c)
{
    pthread_t t;

    if (str_eq(c->path, STR("/now"))) {
        handled++;
        write_later(c);
        return CALL_WAIT;
    }
    if (!str_eq(c->path, STR("/later")))
        return echo(c);
    handled++;
    assert_int_equal(pthread_create(&t, NULL, write_later, c), 0);
    pthread_detach(t);
    return CALL_WAIT;
}

static uint16_t free_port(void)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    close(fd);
    return ntohs(addr.sin_port);
}

static int start(void **state)
{
    static struct admin admin;
    struct listen_addr at = {.host = "127.0.0.1"};
    struct server_options opt = {
        .what = "admin",
        .handle = handle,
        .admin = &admin,
        .addrs = &at,
        .n_addrs = 1,
        .threads = 2,
        .max_connections = 100,
        .idle_s = 10,
        .max_body_bytes = 1000,
    };
    struct err e = {0};

    (void)state;
    for (int i = 0; i < 20; i++) {
        at.port = port = free_port();
        if (server_start(&opt, &server, &e) == 0)
            return 0;
    }
    return -1;
}

static int stop(void **state)
{
    (void)state;
    server_stop(&server, 1000);
    return server != NULL;
}

static int dial(void)
{
    struct sockaddr_in addr = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    return fd;
}

static void put(int fd, struct str bytes)
{
    while (bytes.len) {
        ssize_t n = send(fd, bytes.p, bytes.len, MSG_NOSIGNAL);

        if (n < 0)
            return; /* the server has closed: what it said tells */
        bytes = str_n(bytes.p + n, bytes.len - (size_t)n);
    }
}

/* All that comes until the peer closes. */
static void get_all(int fd, struct sbuf *out)
{
    char buf[4096];
    ssize_t n = 0;

    do {
        struct pollfd p = {.fd = fd, .events = POLLIN};

        assert_int_equal(poll(&p, 1, WAIT_MS), 1);
        n = recv(fd, buf, sizeof(buf), 0);
        if (n > 0)
            sbuf_add(out, buf, (size_t)n);
    } while (n > 0);
}

static unsigned count(const char *text, const char *what)
{
    unsigned n = 0;

    for (const char *at = text; (at = strstr(at, what)); at += strlen(what))
        n++;
    return n;
}

#define HOST "Host: a\r\n"
#define END  "Connection: close\r\n\r\n"
#define RAW(literal)                    \
    {                                   \
        "" literal, sizeof(literal) - 1 \
    }

/* The bytes, the status of the first answer, and how many requests a handler saw. */
static void doors(void **state)
{
    /* clang-format off */
    static const struct {
        const char *name;
        struct str in;
        const char *status;
        unsigned handled;
    } cases[] = {
        {"plain", RAW("GET /x HTTP/1.1\r\n" HOST END), "200", 1},
        {"absolute form", RAW("GET http://b/x HTTP/1.1\r\n" HOST END), "200", 1},
        {"length", RAW("POST /x HTTP/1.1\r\n" HOST "Content-Length: 3\r\n" END "abc"), "200", 1},
        {"chunked", RAW("POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n" END "3\r\nabc\r\n0\r\n\r\n"), "200", 1},
        {"both lengths", RAW("POST /x HTTP/1.1\r\n" HOST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
                             "0\r\n\r\nGET /smuggled HTTP/1.1\r\n" HOST END), "400", 0},
        {"two lengths", RAW("POST /x HTTP/1.1\r\n" HOST "Content-Length: 3\r\nContent-Length: 30\r\n\r\nabc"
                            "GET /smuggled HTTP/1.1\r\n" HOST END), "400", 0},
        {"same length twice", RAW("POST /x HTTP/1.1\r\n" HOST "Content-Length: 3\r\nContent-Length: 3\r\n" END "abc"), "400", 0},
        {"signed length", RAW("POST /x HTTP/1.1\r\n" HOST "Content-Length: +3\r\n" END "abc"), "400", 0},
        {"gzip, chunked", RAW("POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n" END "0\r\n\r\n"), "400", 0},
        {"chunked in 1.0", RAW("POST /x HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n" END "0\r\n\r\n"), "400", 0},
        {"space before colon", RAW("GET /x HTTP/1.1\r\n" HOST "X : y\r\n" END), "400", 0},
        {"no host", RAW("GET /x HTTP/1.1\r\n" END), "400", 0},
        {"two hosts", RAW("GET /x HTTP/1.1\r\n" HOST "Host: b\r\n" END), "400", 0},
        {"control byte in value", RAW("GET /x HTTP/1.1\r\n" HOST "X: a\001b\r\n" END), "400", 0},
        {"NUL in path", RAW("GET /x%00 HTTP/1.1\r\n" HOST END), "400", 0},
        {"not UTF-8", RAW("GET /x%ff HTTP/1.1\r\n" HOST END), "400", 0},
        {"announced too large", RAW("POST /x HTTP/1.1\r\n" HOST "Content-Length: 2001\r\n" END), "413", 0},
        {"largest", RAW("POST /x HTTP/1.1\r\n" HOST "Content-Length: 5\r\n" END "12345"), "200", 1},
        {"answered later", RAW("POST /later HTTP/1.1\r\n" HOST "Content-Length: 0\r\n" END), "201", 1},
        {"answered before it is waited for", RAW("POST /now HTTP/1.1\r\n" HOST "Content-Length: 0\r\n" END), "201", 1},
        {"two on one connection", RAW("POST /later HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nab"
                                      "GET /x HTTP/1.1\r\n" HOST END), "201", 2},
    };
    /* clang-format on */

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        unsigned before = handled;
        struct sbuf out = {0};
        int fd = dial();

        put(fd, cases[i].in);
        get_all(fd, &out);
        close(fd);
        if (out.len < 12 || strncmp(out.p + 9, cases[i].status, 3) != 0)
            fail_msg("%s: answer '%s'", cases[i].name, out.p ? out.p : "");
        if (handled - before != cases[i].handled)
            fail_msg("%s: %u requests handled", cases[i].name, handled - before);
        /* some heads the library refuses in its own words */
        if (cases[i].handled && count(out.p, "\r\nServer: weir/") != count(out.p, "HTTP/1.1 "))
            fail_msg("%s: answers without our headers: '%s'", cases[i].name, out.p);
        sbuf_free(&out);
    }
}

static void length_too_large(void **state)
{
    struct sbuf in = {0}, out = {0};
    int fd = dial();

    (void)state;
    sbuf_adds(&in, "POST /x HTTP/1.1\r\n" HOST "Content-Length: 1001\r\n" END);
    memset(sbuf_reserve(&in, 1001), 'x', 1001);
    in.len += 1001;
    put(fd, sbuf_str(&in));
    get_all(fd, &out);
    assert_memory_equal(out.p + 9, "413", 3);
    close(fd);
    sbuf_free(&in);
    sbuf_free(&out);
}

static void chunked_too_large(void **state)
{
    struct sbuf in = {0}, out = {0};
    int fd = dial();

    (void)state;
    sbuf_adds(&in, "POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n" END);
    for (int i = 0; i < 15; i++) {
        sbuf_adds(&in, "64\r\n");
        memset(sbuf_reserve(&in, 100), 'x', 100);
        in.len += 100;
        sbuf_adds(&in, "\r\n");
    }
    sbuf_adds(&in, "0\r\n\r\n");
    put(fd, sbuf_str(&in));
    get_all(fd, &out);
    assert_memory_equal(out.p + 9, "413", 3);
    close(fd);
    sbuf_free(&in);
    sbuf_free(&out);
}

/* Many writes in a row on one connection: the two threads meet at every moment. */
static void hand_over(void **state)
{
    struct sbuf in = {0}, out = {0};
    int fd = dial();

    (void)state;
    for (int i = 0; i < 2000; i++)
        sbuf_adds(&in, "POST /later HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n");
    sbuf_adds(&in, "POST /now HTTP/1.1\r\n" HOST "Content-Length: 0\r\n" END);
    put(fd, sbuf_str(&in));
    get_all(fd, &out);
    assert_int_equal(count(out.p, "HTTP/1.1 201"), 2001);
    close(fd);
    sbuf_free(&in);
    sbuf_free(&out);
}

/* A client that goes away while its write is under way costs nothing. */
static void gone_client(void **state)
{
    static const struct str in = RAW("POST /later HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n");

    (void)state;
    for (int i = 0; i < 50; i++) {
        int fd = dial();

        put(fd, in);
        close(fd);
    }
    for (int i = 0; i < WAIT_MS && server_stats(server).busy; i++)
        poll(NULL, 0, 1);
    assert_int_equal(server_stats(server).busy, 0);
}

static void port_taken(void **state)
{
    static struct admin admin;
    const struct listen_addr at = {.host = "127.0.0.1", .port = port};
    const struct server_options opt = {.what = "admin",
                                       .handle = handle,
                                       .admin = &admin,
                                       .addrs = &at,
                                       .n_addrs = 1,
                                       .threads = 1,
                                       .max_connections = 10,
                                       .idle_s = 1};
    struct server *second = NULL;
    struct err e = {0};

    (void)state;
    assert_int_equal(server_start(&opt, &second, &e), -1);
    assert_null(second);
    assert_non_null(strstr(e.message, "admin_listen: cannot listen on 127.0.0.1:"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(doors),
        cmocka_unit_test(length_too_large),
        cmocka_unit_test(chunked_too_large),
        cmocka_unit_test(hand_over),
        cmocka_unit_test(gone_client),
        cmocka_unit_test(port_taken),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
