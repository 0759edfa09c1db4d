/* compiler.h - the compiler's inside: for compiler.c and derive.c. */
#ifndef DATAPLANE_CONFIG_COMPILER_H
#define DATAPLANE_CONFIG_COMPILER_H

#include "dataplane/config/rows.h"

struct compiler {
    struct config *newest;                /* one reference, or NULL */
    const struct plugin_contract **order; /* contracts as chains run them */
    const struct o_plugin **pick;         /* per contract: the best row so far for HTTP; then the same for streams */
    unsigned n_order;
    enum router_flavor flavor;
    struct pmap client_tls; /* struct tls_obj by its key */
    size_t lists[ET_MAX + 1]; /* by type: bytes of lists that the last entity had */
    _Alignas(16) char scratch[64 * 1024];
};

/*
 * Brings all that follows from other entities up to date: chains, rounds of targets, client
 * contexts, the router. -1 with e, whose path names the entity.
 */
int derive(struct build *b, struct err *e) WEIR_MUSTCHECK;

/* The part of it in client_auth.c. */
int derive_client_auth(struct build *b, struct err *e) WEIR_MUSTCHECK;

/* Lets go of client contexts that no version uses. */
void client_tls_prune(struct compiler *c);
void client_tls_drop(struct compiler *c);

#endif
