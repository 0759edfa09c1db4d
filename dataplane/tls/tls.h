/*
 * tls.h - OpenSSL contexts, made on the config thread, used by all workers; the two sides of a
 * connection. What settings say of them is in options.h.
 */
#ifndef DATAPLANE_TLS_TLS_H
#define DATAPLANE_TLS_TLS_H

#include <openssl/ssl.h>

#include "common/err.h"
#include "common/str.h"

/*
 * Server side: certificate chain and key in PEM, and a second pair of another key type
 * (cert_alt.p NULL: none). ALPN as the listener allows, tickets, SSL_MODE_RELEASE_BUFFERS,
 * read-ahead. NULL with e.
 */
SSL_CTX *tls_server_ctx(struct str cert, struct str key, struct str cert_alt, struct str key_alt, struct err *e);

/* How a service speaks to its upstream. */
struct upstream_tls {
    bool verify;
    int depth;                         /* of verification */
    const STACK_OF(X509) *authorities; /* NULL: those of the settings; borrowed */
    struct str cert, key;              /* shown when asked for, PEM; p NULL: none */
};

/* NULL with e. */
SSL_CTX *tls_client_ctx(const struct upstream_tls *want, struct err *e);

/* ---- the engine's part ---- */

struct config;
struct conn;
struct uconn;

/*
 * The context of ssl listeners, for names that no certificate entity has: from lists of PEM
 * files of the same length, commas between them, or with a self-signed certificate made now
 * when they are "". NULL with e.
 */
SSL_CTX *tls_default_ctx(const char *cert_files, const char *key_files, struct err *e);

/* The two sides of a connection on fd. NULL: OpenSSL has no memory. */
SSL *tls_accept(SSL_CTX *ctx, int fd, struct conn *c);
/* h2: HTTP/2 is offered, too. */
SSL *tls_connect(SSL_CTX *ctx, int fd, struct uconn *u, const char *sni, SSL_SESSION *session, bool h2);

/* The configuration of the worker that has this connection of a client; NULL: none yet. */
const struct config *tls_config_of(const SSL *ssl);

#endif
