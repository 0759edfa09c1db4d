/*
 * tls.h - OpenSSL contexts, made on the config thread, used by all workers.
 */
#ifndef DATAPLANE_TLS_TLS_H
#define DATAPLANE_TLS_TLS_H

#include <openssl/ssl.h>

#include "common/entities.h"

/*
 * Server side: certificate chain and key in PEM, and a second pair of another key type
 * (cert_alt.p NULL: none). TLS 1.2 and 1.3, ALPN h2 and http/1.1 as the listener allows,
 * tickets, SSL_MODE_RELEASE_BUFFERS, read-ahead. NULL with e.
 */
SSL_CTX *tls_server_ctx(struct str cert, struct str key, struct str cert_alt, struct str key_alt, struct err *e);

/*
 * Towards an upstream: verification as the service asks for (tls_verify, depth, CA PEMs; no CA
 * given: the system's), client certificate or NULL. NULL with e.
 */
SSL_CTX *tls_client_ctx(const struct service *s, const struct certificate *client, const struct str *ca_pems,
                        size_t n_ca_pems, struct err *e);

/* ---- the engine's part ---- */

struct conn;
struct uconn;

/*
 * The context of ssl listeners, for names that no certificate entity has: from PEM files, or
 * with a self-signed certificate made now when the paths are "". NULL with e.
 */
SSL_CTX *tls_default_ctx(const char *cert_file, const char *key_file, struct err *e);

/* The two sides of a connection on fd. NULL: OpenSSL has no memory. */
SSL *tls_accept(SSL_CTX *ctx, int fd, struct conn *c);
/* h2: HTTP/2 is offered, too. */
SSL *tls_connect(SSL_CTX *ctx, int fd, struct uconn *u, const char *sni, SSL_SESSION *session, bool h2);

#endif
