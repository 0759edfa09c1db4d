/*
 * upstream.h - the way to a target: names, the pool of kept connections, dialling.
 *
 * One worker's; nothing is shared but the resolver. Nothing blocks: what has to be waited for (a
 * name, a connection) calls the exchange later.
 */
#ifndef DATAPLANE_UPSTREAM_UPSTREAM_H
#define DATAPLANE_UPSTREAM_UPSTREAM_H

#include "dataplane/codec/codec.h"
#include "dataplane/config/config.h"
#include "dataplane/io.h"
#include "dataplane/sockaddr.h"
#include "dataplane/worker.h"

#define ADDRESSES_MAX 32

struct address {
    socklen_t len;
    union socket_addr u; /* port 0: the target's is put in when it is used */
    char text[46];       /* "127.0.0.1", "::1" */
};

/* "address:port"; its length. */
size_t address_text(const struct address *addr, uint16_t port, char text[56]);

/* ---- names (resolve.c) ---- */

enum lookup { LOOKUP_OK, LOOKUP_WAIT, LOOKUP_NONE };

struct resolver;
int resolver_start(struct resolver **out, struct err *e) WEIR_MUSTCHECK;
void resolver_stop(struct resolver **r); /* after the workers */

/*
 * The next address of host, in turn. LOOKUP_WAIT: io is called (worker_ready) when the answer
 * is there; names_forget before io goes away. LOOKUP_NONE: no such name, or nobody answers.
 * *out lives until the quiet point.
 */
enum lookup name_lookup(struct worker *w, struct str host, struct xio *io, const struct address **out);
void names_forget(struct xio *io);
void names_arrived(struct worker *w); /* takes the worker's mail */
void names_fini(struct worker *w);

/* ---- connections (pool.c, dial.c) ---- */

/* All connections to one place with one TLS setting. */
struct origin {
    struct origin *next;
    uint64_t hash;
    struct address addr; /* with port */
    char text[56];       /* "127.0.0.1:80", "::1:80" */
    uint8_t text_len;
    SSL_CTX *tls;        /* a reference, or NULL */
    SSL_SESSION *session;
    struct uconn *idle;  /* newest first */
    struct http2_up *sessions; /* HTTP/2 connections, in use or not */
    unsigned n_idle, n_open;
    size_t sni_len;
    char sni[];
};

/* Who takes the events of a connection to an upstream. */
struct uconn_ops {
    void (*connected)(struct uconn *u); /* the TLS handshake is over: u->broken when it failed */
    void (*readable)(struct uconn *u);
    void (*writable)(struct uconn *u);
    void (*timeout)(struct uconn *u);
    void (*closed)(struct uconn *u);    /* by uconn_kill; not told to its exchange */
};

struct http2_up;
struct http2_up_stream;

/* An upstream as an exchange sees it: an HTTP/1 connection, or one stream of an HTTP/2 one. */
struct uconn {
    struct worker *w;
    struct origin *origin;
    struct uconn *next, **prev; /* idle list; next alone on dead and spare lists */
    const struct uconn_ops *ops;
    const struct up_codec *codec;
    struct http2_up *h2;        /* of an HTTP/2 connection */
    struct http2_up_stream *stream; /* of one of its streams: io has no fd */
    struct io io;
    struct event ev_read, ev_write;
    struct timer timer;
    struct xio *xio;       /* who uses it; NULL: idle */
    struct buf *buf;       /* bytes read; NULL while idle */
    uint32_t at;           /* in buf: what is not used yet */
    uint64_t requests;
    struct str greeting;   /* while greeted: sent in front of everything, TLS too */
    bool greeted;          /* see uconn_greet */
    bool reading, writing; /* events that are registered */
    bool handshaking, connected, eof, broken, dead;
    bool unprocessed;      /* of a stream: the upstream says that it has not looked at it */
    bool full_read;        /* the last read filled all there was room for: more may be there */
};

/*
 * A kept connection to there, or NULL: the newest, since it is the least likely to have been closed. The
 * caller sets u->xio. tls NULL: none; sni: "" for none. Connections are the same when address, port, context
 * and name are.
 */
struct uconn *pool_take(struct worker *w, const struct address *addr, uint16_t port, SSL_CTX *tls,
                        struct str sni);
/* After a complete response: keeps it, or closes it at the limits (upstream_keepalive_*). Takes back u->buf. */
void pool_give(struct uconn *u);

/*
 * Begins to connect, with HTTP/1.1 as codec; what is written before it stands waits in the queue, and
 * connect_timeout is the caller's. The caller sets u->xio. NULL with errno when the system refuses at once.
 */
struct uconn *dial(struct worker *w, const struct address *addr, uint16_t port, SSL_CTX *tls, struct str sni);

/*
 * For a connection just dialled: it is not used before it stands. As with a TLS handshake,
 * u->handshaking until ops->connected, which finds u->broken when it was refused. greeting (may
 * be empty) is sent then, in plain text; it stays the caller's, and is there as long as u.
 */
void uconn_greet(struct uconn *u, struct str greeting);

/* Closes at once and gives u->buf back; the memory goes at the quiet point. Its exchange is not told. */
void uconn_kill(struct uconn *u);
void uconn_want_read(struct uconn *u, bool want);
void uconn_want_write(struct uconn *u, bool want);
/* As conn_read; sets eof at the end, eof and broken at an error. */
ssize_t uconn_read(struct uconn *u);

void pool_close_idle(struct worker *w);
void uconns_reap(struct worker *w);
void pool_fini(struct worker *w);

/* Index for SSL_set_ex_data on both sides. */
int tls_ex_index(void);
/* Called by the client context's new-session callback: takes the reference. */
void uconn_keep_session(struct uconn *u, SSL_SESSION *session);

#endif
