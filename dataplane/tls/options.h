/*
 * options.h - what the settings say of TLS, for contexts of both sides. Made before the config
 * thread and the workers run, read-only afterwards; without tls_options_init the defaults count.
 */
#ifndef DATAPLANE_TLS_OPTIONS_H
#define DATAPLANE_TLS_OPTIONS_H

#include <openssl/ssl.h>

#include "dataplane/settings_dp.h"
#include "dataplane/tls/client_cert.h"

struct tls_options {
    /* listeners */
    uint64_t ssl_options;   /* SSL_OP_...: protocols that are off, preference, tickets, kTLS */
    int min_version;
    const char *ciphers;    /* TLS 1.2 and older; NULL: OpenSSL's */
    const char *suites;     /* TLS 1.3; NULL: OpenSSL's */
    long session_timeout_s;
    bool tickets;
    EVP_PKEY *dh;           /* NULL: as long as the certificate's key asks for */
    int client_depth;       /* of verifying clients */
    struct client_policy *client_policy; /* of names that no route asks for; NULL: none */

    /* upstreams */
    bool verify;            /* when a service does not say */
    int verify_depth;       /* the same */
    struct sbuf cert, key;  /* client certificate of services without one, PEM; empty: none */
};

extern const struct tls_options *const tls_options;

/* Reads the files that the settings name. -1 with e, whose path is the setting. */
int tls_options_init(const struct dp_settings *set, struct err *e) WEIR_MUSTCHECK;
void tls_options_fini(void);

/*
 * The authorities for upstreams whose service names none. Borrowed. The system's are read at the
 * first call, by the config thread alone. NULL with e.
 */
X509_STORE *tls_trusted(struct err *e);

#endif
