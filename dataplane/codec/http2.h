/*
 * http2.h - HTTP/2 (RFC 9113) on both sides, by nghttp2. Private to conn.c and upstream/.
 *
 * A session belongs to one socket and one worker. Each of its streams is a struct conn (from
 * clients) or struct uconn (to upstreams) without a socket of its own, so that an exchange
 * does not know the difference.
 */
#ifndef DATAPLANE_CODEC_HTTP2_H
#define DATAPLANE_CODEC_HTTP2_H

#include "dataplane/upstream/upstream.h"

#define HTTP2_PREFACE     "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define HTTP2_PREFACE_LEN 24u

/*
 * c speaks HTTP/2 from now on (agreed by ALPN, or its preface is in c->rbuf): takes over its
 * events. Takes what is in c->rbuf at once.
 */
void http2_accept(struct conn *c);

/*
 * A stream to there, over a kept session or a new one; its bytes may have to wait for the
 * connection (u->handshaking). *reused: the session was there already. NULL with errno.
 */
struct uconn *http2_open(struct worker *w, const struct address *addr, uint16_t port, SSL_CTX *tls,
                         struct str sni, bool *reused);

/* Sessions to there that no stream uses end now, the others after their last one. */
void http2_close_idle(struct origin *o);

/* Sends what this turn of the loop has queued, one write per session. At the quiet point. */
void http2_flush(struct worker *w);

/* After the last connection: the memory of sessions. */
void http2_fini(struct worker *w);

#endif
