/*
 * pool.h - origins and connections to them: what pool.c and dial.c share with connections that
 * carry several exchanges (codec/http2_up.c). Exchanges use upstream.h.
 */
#ifndef DATAPLANE_UPSTREAM_POOL_H
#define DATAPLANE_UPSTREAM_POOL_H

#include "dataplane/upstream/upstream.h"

/* Found or made; goes with its last connection. */
struct origin *origin_get(struct worker *w, const struct address *addr, uint16_t port, SSL_CTX *tls,
                          struct str sni);
void origin_drop_if_unused(struct worker *w, struct origin *o);

/* Events go to the connection's exchange. */
extern const struct uconn_ops uconn_http_ops;

/*
 * A new one for o, counted in it, on fd, which it owns; fd -1: one of several exchanges on another
 * connection, whose io the caller sets, and whose events it activates. Never NULL.
 */
struct uconn *uconn_new(struct worker *w, struct origin *o, int fd, const struct uconn_ops *ops,
                        const struct up_codec *codec);

/* As dial(), for an origin, which goes when it fails and nobody else uses it; h2: offers HTTP/2 by ALPN. */
struct uconn *dial_origin(struct worker *w, struct origin *o, bool h2, const struct uconn_ops *ops,
                          const struct up_codec *codec);

#endif
