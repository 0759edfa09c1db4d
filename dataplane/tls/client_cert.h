/*
 * client_cert.h - certificates of clients: asking for them, judging them, describing them.
 *
 * A policy says whom a listener or a route trusts. Asking is part of the handshake and never
 * fails it: a client without a certificate, or with a bad one, gets its answer in HTTP.
 *
 * What the handshake has verified is remembered in the session, and sessions are resumed: the
 * policy's id is the session id context, so that a session which one policy has verified is
 * not resumed under another (OpenSSL then does a full handshake).
 *
 * Threads: made on the config or main thread, read by all workers.
 */
#ifndef DATAPLANE_TLS_CLIENT_CERT_H
#define DATAPLANE_TLS_CLIENT_CERT_H

#include <openssl/ssl.h>

#include "common/arena.h"
#include "common/err.h"

/* Words of the setting ssl_verify_client and of a route's tls_verify_client, in this order. */
#define VERIFY_CLIENT_WORDS "off", "optional", "optional_no_ca", "on"
enum verify_client {
    VERIFY_CLIENT_OFF,
    VERIFY_CLIENT_OPTIONAL,       /* may have none; a bad one is refused */
    VERIFY_CLIENT_OPTIONAL_NO_CA, /* asked for, anything goes: plugins judge */
    VERIFY_CLIENT_ON,
};

#define CLIENT_POLICY_ID_LEN 32

struct client_policy {
    enum verify_client mode;
    int depth;                       /* certificates between the client's and the authority's */
    X509_STORE *store;               /* the authorities; empty when there are none */
    STACK_OF(X509_NAME) *names;      /* theirs, shown to clients */
    unsigned char id[CLIENT_POLICY_ID_LEN]; /* of the authorities and the depth */
};

/* authorities (NULL: none) are borrowed. NULL: OpenSSL has no memory. */
struct client_policy *client_policy_new(enum verify_client mode, const STACK_OF(X509) *authorities, int depth);
void client_policy_free(struct client_policy **p);

/* Makes the handshake of ssl ask for a certificate. 0; -1: no memory. */
int client_policy_ask(SSL *ssl, const struct client_policy *p) WEIR_MUSTCHECK;

enum client_cert_state {
    CLIENT_CERT_NONE,     /* none was asked for, or none was sent */
    CLIENT_CERT_FAILED,   /* no authority of the policy stands behind it */
    CLIENT_CERT_VERIFIED,
};

/* As the handshake left it. ssl NULL: no TLS. */
enum client_cert_state tls_client_cert(const SSL *ssl);

/*
 * Judged by p, whoever it was shown to: what the handshake found when it was made with the
 * same authorities, else the chain is verified now and the result kept with the connection.
 */
enum client_cert_state client_policy_judge(const struct client_policy *p, SSL *ssl);

/* ---- describing ---- */

enum client_cert_part {
    CLIENT_CERT_SUBJECT, /* RFC 2253 */
    CLIENT_CERT_ISSUER,  /* RFC 2253 */
    CLIENT_CERT_SERIAL,  /* hexadecimal, upper case */
    CLIENT_CERT_SHA1,    /* of the DER form, hexadecimal, lower case */
    CLIENT_CERT_SHA256,
    CLIENT_CERT_PEM,
};

/* Made anew with each call, in a. p NULL: there is no certificate, or the arena is full. */
struct str tls_client_cert_part(const SSL *ssl, enum client_cert_part part, struct arena *a);

#endif
