/*
 * tickets.h - session tickets (RFC 5077 section 4: AES-256-CBC, HMAC-SHA-256) under the keys of
 * the current configuration, the same on all workers and all data planes.
 */
#ifndef DATAPLANE_TLS_TICKETS_H
#define DATAPLANE_TLS_TICKETS_H

#include <openssl/ssl.h>

#include "common/err.h"
#include "common/uuid.h"

struct config;

struct ticket_key {
    struct uuid name;
    int64_t serial;
    unsigned char aes[32], hmac[32];
};

/* Newest first (common/tickets.h): the second one encrypts, or the only one. */
struct ticket_ring {
    uint32_t n;
    struct ticket_key v[];
};

/* hex has 128 digits. -1 with e. */
int ticket_key_parse(struct str hex, struct ticket_key *out, struct err *e) WEIR_MUSTCHECK;

/* The key for new tickets; NULL: none. */
const struct ticket_key *ticket_ring_use(const struct ticket_ring *ring);

/* The key of that name; NULL: none. *renew_out: a newer one is in use. */
const struct ticket_key *ticket_ring_find(const struct ticket_ring *ring, const unsigned char name[16],
                                          bool *renew_out);

/* Makes ctx write and read tickets. Without keys it writes none. */
int tickets_use(SSL_CTX *ctx) WEIR_MUSTCHECK;

#endif
