/*
 * tls_engine.h - OpenSSL under nng's tls+tcp streams, and who is at the other end.
 *
 * nng 1.5.2 takes TLS from an engine that can be replaced; Debian's default speaks TLS 1.2
 * only, costs eight times more per handshake and cannot name its peer. Ours: mutual TLS 1.3,
 * nothing else. A certificate of the cluster carries the URI
 * weir://cluster/CLUSTER/ROLE/NODE with ROLE cp or dp (common/pki.h).
 */
#ifndef PROTO_TLS_ENGINE_H
#define PROTO_TLS_ENGINE_H

#include <nng/nng.h>
#include <nng/supplemental/tls/tls.h>

#include "common/err.h"

/* A node's certificate and key, and the CA its peers must be signed by. Threads: any. */
struct tls_identity;

/* Reads PEM files. e names the file and what was expected. */
int tls_identity_load(const char *ca_file, const char *cert_file, const char *key_file,
                      struct tls_identity **out, struct err *e) WEIR_MUSTCHECK;

/*
 * Reads the files again; connections made from now on use them, also on listeners that are
 * open. On failure the old ones stay in use.
 */
int tls_identity_reload(struct tls_identity *id, struct err *e) WEIR_MUSTCHECK;

/* Streams and configurations made from it keep what they need. */
void tls_identity_free(struct tls_identity **id);

int64_t tls_identity_expiry_s(struct tls_identity *id); /* of our certificate, since 1970 */

/* For NNG_OPT_TLS_CONFIG of a stream dialer or listener; free with nng_tls_config_free. */
int tls_config_new(struct tls_identity *id, bool server, nng_tls_config **out,
                   struct err *e) WEIR_MUSTCHECK;

struct tls_peer {
    char common_name[128];
    char cluster[64], role[16], node[128]; /* from the URI; "" when it has none */
    int64_t expiry_s;                      /* since 1970 */
};

/*
 * Who the other end of a tls+tcp stream is. Known from the first byte received on: dialling
 * and accepting return before the handshake. -1 when the handshake is not over or the
 * stream is not one of ours. Does not block.
 */
int tls_peer_of(nng_stream *s, struct tls_peer *out, struct err *e) WEIR_MUSTCHECK;

#endif
