/*
 * pem.h - certificates and keys out of PEM text, into OpenSSL's objects. Any thread.
 */
#ifndef DATAPLANE_TLS_PEM_H
#define DATAPLANE_TLS_PEM_H

#include <openssl/ssl.h>

#include "common/err.h"
#include "common/str.h"

/* err_set with OpenSSL's own reason behind what. Returns -1, leaves OpenSSL's queue empty. */
int tls_err(struct err *e, const char *what);

/* The whole file; at most PEM_FILE_MAX bytes. -1 with e that names the file. */
#define PEM_FILE_MAX (16u * 1024u * 1024u)
int pem_read_file(const char *path, struct sbuf *out, struct err *e) WEIR_MUSTCHECK;

/*
 * All certificates of the text, the caller's; NULL with e when there is none. A broken one ends
 * the list, or, when the whole text has to be good, refuses it.
 */
STACK_OF(X509) *pem_certificates(struct str pem, bool whole, struct err *e) WEIR_MUSTCHECK;

/* Certificate, the rest of its chain, and key; a pair of another key type may be there already. */
int pem_use_pair(SSL_CTX *ctx, struct str cert, struct str key, struct err *e) WEIR_MUSTCHECK;

/* The same from two files; e names the one at fault. */
int pem_use_pair_files(SSL_CTX *ctx, const char *cert, const char *key, struct err *e) WEIR_MUSTCHECK;

#endif
