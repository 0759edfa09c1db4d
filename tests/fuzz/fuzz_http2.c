/*
 * HTTP/2 from clients, through a whole worker: sessions, streams, requests, and an upstream that
 * answers, is slow, or closes. Any input leaves no connection, exchange or stream behind.
 *
 * The last byte says how: the upstream's manner, and into how many pieces the input is cut.
 */
#include "tests/fuzz/gateway.h"

#include <string.h>
#include <sys/socket.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char config[] =
    "_format_version: '3.0'\n"
    "services:\n"
    "- name: origin\n"
    "  url: http://127.0.0.1:%u\n"
    "  retries: 1\n"
    "  routes:\n"
    "  - {name: all, paths: ['/']}\n"
    "  - {name: stream, paths: ['/a'], request_buffering: false, response_buffering: false}\n";

static const char *const options[] = {"--http2-max-control-frames=100", "--http2-max-resets=50",
                                      "--http2-max-concurrent-streams=20", "--http2-stream-window=16k", NULL};

enum manner { REFUSES, SILENT, ANSWERS, CHUNKED, CUT, LONG, WEBSOCKET, MANNERS };

static const char *const answers[MANNERS] = {
    [ANSWERS] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    [CHUNKED] = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n\r\n",
    [CUT] = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
    [LONG] = "HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n",
    [WEBSOCKET] = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nabc",
};

/* Takes what the upstream is asked, and answers every head. */
static void serve(struct gateway *g, enum manner manner, int *fds, unsigned *n, unsigned most)
{
    static char body[200000], asked[65536];
    int fd;

    while (*n < most && (fd = gateway_accept(g)) >= 0) {
        if (manner == REFUSES)
            close(fd);
        else
            fds[(*n)++] = fd;
    }
    for (unsigned i = 0; i < *n; i++) {
        ssize_t got = read(fds[i], asked, sizeof(asked));

        if (got <= 0 || !answers[manner] || !memmem(asked, (size_t)got, "\r\n\r\n", 4))
            continue;
        if (send(fds[i], answers[manner], strlen(answers[manner]), MSG_NOSIGNAL) < 0)
            continue;
        if (manner == LONG)
            (void)!send(fds[i], body, sizeof(body), MSG_NOSIGNAL);
        if (manner == CUT)
            shutdown(fds[i], SHUT_WR);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct gateway *g;
    int client, fds[32];
    unsigned how, pieces, n = 0;
    enum manner manner;
    bool reads;
    size_t at = 0;

    if (!g)
        g = gateway_start(config, options);
    if (size < 2)
        return 0;
    how = data[--size];
    manner = how % MANNERS;
    pieces = 1 + how / MANNERS % 6;
    reads = how < 200;
    client = gateway_connect(g);
    for (unsigned i = 1; i <= pieces; i++) {
        size_t end = size * i / pieces;

        while (at < end) {
            ssize_t sent = send(client, data + at, end - at, MSG_NOSIGNAL);

            if (sent <= 0)
                break;
            at += (size_t)sent;
        }
        gateway_turns(g, 3);
        serve(g, manner, fds, &n, ARRAY_LEN(fds));
        gateway_turns(g, 3);
        if (reads)
            gateway_drain(client);
    }
    serve(g, manner, fds, &n, ARRAY_LEN(fds));
    gateway_turns(g, 2);
    gateway_drain(client);
    gateway_turns(g, 2);
    close(client);
    gateway_check(g);
    while (n > 0)
        close(fds[--n]);
    gateway_turns(g, 2);
    return 0;
}
