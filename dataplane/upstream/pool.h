/* pool.h - what pool.c and dial.c share. */
#ifndef DATAPLANE_UPSTREAM_POOL_H
#define DATAPLANE_UPSTREAM_POOL_H

#include "dataplane/upstream/upstream.h"

/* Found or made; goes with its last connection. */
struct origin *origin_get(struct worker *w, const struct address *addr, uint16_t port, SSL_CTX *tls,
                          struct str sni);
void origin_drop_if_unused(struct worker *w, struct origin *o);

#endif
