/*
 * status.h - the status listener: GET /status, /status/ready, /metrics (HEAD too).
 *
 * A thread of its own with a small event loop: a slow scraper or a large page never stalls a
 * worker. Connections that say nothing are closed after 10 s; heads and bodies are limited.
 * What the answers hold comes from the program through callbacks.
 */
#ifndef DATAPLANE_OBSERVE_STATUS_H
#define DATAPLANE_OBSERVE_STATUS_H

#include <jansson.h>

#include "common/settings.h"

struct status;

struct status_options {
    const struct listen_addr *listen; /* plain HTTP; n 0 starts nothing. Borrowed for the call */
    size_t n_listen;
    struct str node_id; /* label of kong_node_info; kept as a copy */

    /* Both are called on the status thread and must not block. */
    /* NULL: a configuration is active and traffic is served; else why not, for the 503. */
    const char *(*not_ready)(void *arg);
    /* Members for /status beside "server": a new reference; may be NULL. */
    json_t *(*report)(void *arg);
    void *arg;
};

/*
 * Binds and starts the thread. *out may be NULL after success: nothing to listen on. Errors:
 * an address that cannot be bound (ERR_IO), ssl on a status address (ERR_INVALID).
 */
int status_start(const struct status_options *o, struct status **out, struct err *e) WEIR_MUSTCHECK;

/* Port that the i-th address got, for addresses with port 0. */
uint16_t status_port(const struct status *s, size_t i);

/* Ends the thread; waits for it. Takes NULL. */
void status_stop(struct status **s);

#endif
