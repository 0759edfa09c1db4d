/*
 * gateway.h - a worker without its thread, for targets that speak to it over sockets: what a
 * client sends goes into one end of a pair of sockets, and the upstream is a listening socket
 * of the target. Everything happens in turns that the target asks for, so the same input
 * leads to the same steps.
 */
#ifndef FUZZ_GATEWAY_H
#define FUZZ_GATEWAY_H

#include <netinet/in.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/declarative.h"
#include "dataplane/conn.h"
#include "dataplane/listener.h"
#include "dataplane/plugins/registry.h"
#include "dataplane/upstream/upstream.h"
#include "proto/records_of.h"

struct gateway {
    struct dp_settings set;
    struct worker w;
    struct listener listener;
    struct compiler *compiler;
    struct live *live;
    struct resolver *resolver;
    char *args[32]; /* which settings point into */
    int upstream; /* listens, and does not block */
};

static void gateway_forget(void *arg, struct config *config)
{
    (void)arg, (void)config; /* there is only one, and it stays */
}

static void gateway_active(void *arg, uint64_t version, uint64_t us)
{
    (void)arg, (void)version, (void)us;
}

static int gateway_listen(uint16_t *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    WEIR_ASSERT(fd >= 0 && bind(fd, (struct sockaddr *)&at, len) == 0 && listen(fd, 64) == 0);
    WEIR_ASSERT(getsockname(fd, (struct sockaddr *)&at, &len) == 0);
    *port = ntohs(at.sin_port);
    return fd;
}

/* yaml has one "%u", for the upstream's port. options: more of the command line, NULL behind the last. */
static struct gateway *gateway_start(const char *yaml, const char *const *options)
{
    struct gateway *g = xcalloc(1, sizeof(*g));
    char *args[32]; /* taken apart on the way */
    static const char *const fixed[] = {"weir-dp", "--declarative=fuzz", "--workers=1", "--log-level=error"};
    int n = 0;
    struct live_hooks hooks = {gateway_active, gateway_forget, NULL};
    struct decl_errors errors = {0};
    struct sbuf text = {0}, records = {0};
    struct config *config;
    struct uuid node = {{1}};
    struct err e = {0};
    uint16_t port;

    for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
        g->args[n++] = xstrdup(fixed[i]);
    for (; *options && n < (int)ARRAY_LEN(g->args) - 1; options++)
        g->args[n++] = xstrdup(*options);
    memcpy(args, g->args, sizeof(args));
    if (dp_settings_load(&n, args, &g->set, &e) != 0)
        weir_panic(__FILE__, __LINE__, err_text(&e));
    g->upstream = gateway_listen(&port);
    sbuf_addf(&text, yaml, port);
    WEIR_ASSERT(records_of_text(sbuf_str(&text), &records, &errors) == 0);
    g->compiler = compiler_new();
    g->live = live_new(1, &hooks);
    WEIR_ASSERT(plugins_init(1, &node, &e) == 0 && resolver_start(&g->resolver, &e) == 0);
    WEIR_ASSERT(compiler_load(g->compiler, &records, 1, &config, &e) == 0);
    WEIR_ASSERT(worker_init(&g->w, 0, &g->set, live_worker(g->live, 0), g->resolver, &e) == 0);
    live_publish(g->live, config);
    live_adopt(live_worker(g->live, 0));
    g->listener = (struct listener){.w = &g->w, .addr = &g->set.proxy[0], .fd = -1, .port = 80};
    sbuf_free(&text);
    sbuf_free(&records);
    return g;
}

/* A new client; its end of the connection. */
static int gateway_connect(struct gateway *g)
{
    struct sockaddr_in peer = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(1)};
    int fds[2];

    WEIR_ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
    conn_open(&g->listener, fds[1], (struct sockaddr *)&peer);
    return fds[0];
}

static void gateway_turns(struct gateway *g, unsigned n)
{
    while (n-- > 0)
        worker_turn(&g->w, false);
}

/* What is there, thrown away; its length. */
static size_t gateway_drain(int fd)
{
    char waste[65536];
    size_t total = 0;
    ssize_t n;

    while ((n = read(fd, waste, sizeof(waste))) > 0)
        total += (size_t)n;
    return total;
}

/* The next connection of the upstream, or -1. */
static int gateway_accept(struct gateway *g)
{
    return accept4(g->upstream, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

/* After the clients have closed, and with an upstream that hangs up: nothing may be left of them. */
static void gateway_check(struct gateway *g)
{
    int fd;

    for (int i = 0; i < 4 || (g->w.n_conns && i < 100); i++) {
        worker_turn(&g->w, false);
        while ((fd = gateway_accept(g)) >= 0)
            close(fd);
    }
    WEIR_ASSERT(g->w.n_conns == 0);
}

#endif
