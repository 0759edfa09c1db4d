/* pool.h - what pool.c and dial.c share. */
#ifndef DATAPLANE_UPSTREAM_POOL_H
#define DATAPLANE_UPSTREAM_POOL_H

#include "dataplane/upstream/upstream.h"

/* Found or made; goes with its last connection. */
struct origin *origin_get(struct worker *w, const struct address *addr, uint16_t port, SSL_CTX *tls,
                          struct str sni);
void origin_drop_if_unused(struct worker *w, struct origin *o);

/* Events go to the connection's exchange. */
extern const struct uconn_ops uconn_http_ops;

/* What an event does. A stream's connection calls them when its stream's turn has come. */
void uconn_readable(struct uconn *u);
void uconn_writable(struct uconn *u);

/* A new one for o on fd, or on a stream: fd -1. */
struct uconn *uconn_new(struct worker *w, struct origin *o, int fd, const struct uconn_ops *ops,
                        const struct up_codec *codec);

/* As dial(), for an origin; h2: HTTP/2 is offered by ALPN. */
struct uconn *dial_origin(struct worker *w, struct origin *o, bool h2, const struct uconn_ops *ops,
                          const struct up_codec *codec);

#endif
