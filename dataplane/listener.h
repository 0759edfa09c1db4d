/* listener.h - listening sockets: one set per worker (SO_REUSEPORT), accepting in a loop. */
#ifndef DATAPLANE_LISTENER_H
#define DATAPLANE_LISTENER_H

#include "dataplane/worker.h"

enum listen_kind { LISTEN_HTTP, LISTEN_STREAM };

struct listener {
    struct worker *w;
    enum listen_kind kind;
    const struct listen_addr *addr;
    int fd;
    uint16_t port; /* got, for port 0 */
    SSL_CTX *tls;  /* default certificate, a reference; NULL: plain */
    struct event ev;
    struct timer again; /* out of descriptors: tries later */
};

/*
 * Opens one socket per address of proxy_listen, then of stream_listen, for w, on the ports that
 * `first` got (NULL: w is the first; port 0 takes a free one). tls is the default context of ssl
 * addresses; keeps references. Errors: an address that cannot be bound.
 */
int listeners_open(struct worker *w, const struct worker *first, SSL_CTX *tls, struct err *e) WEIR_MUSTCHECK;
int listeners_start(struct worker *w, struct err *e) WEIR_MUSTCHECK; /* begins to accept */
/* Connections from now on get this default certificate. */
void listeners_use_tls(struct worker *w, SSL_CTX *tls);
void listeners_close(struct worker *w);

#endif
