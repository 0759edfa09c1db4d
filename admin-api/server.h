/*
 * server.h - HTTP/1.1 for calls (call.h): request in, answer out. libmicrohttpd is known to
 * server.c alone.
 *
 * A pool of threads per listener reads requests and runs handlers; a call that waits for the
 * store gives its thread back and is resumed from the writer's. Requests whose framing is
 * ambiguous are refused and their connection is closed.
 */
#ifndef ADMIN_API_SERVER_H
#define ADMIN_API_SERVER_H

#include "admin-api/admin.h"
#include "common/settings.h"

struct server_options {
    const char *what; /* "admin": for the log and for errors */
    enum outcome (*handle)(struct call *c);
    struct admin *admin;             /* borrowed */
    const struct listen_addr *addrs; /* borrowed for the call */
    size_t n_addrs;
    unsigned threads, max_connections; /* per listener */
    unsigned idle_s;                   /* connections without a request */
    size_t max_body_bytes;
};

struct server_stats {
    uint64_t accepted, requests, refused;
    size_t active, busy; /* connections; requests under way */
};

/* Binds and serves. 0, or -1 with e, which names the address. */
int server_start(const struct server_options *opt, struct server **out,
                 struct err *e) WEIR_MUSTCHECK;

/* Takes no new connection, lets requests under way end (at most grace_ms), frees. */
void server_stop(struct server **s, unsigned grace_ms);

struct server_stats server_stats(struct server *s); /* any thread; NULL: zeros */

#endif
