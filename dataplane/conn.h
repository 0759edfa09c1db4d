/*
 * conn.h - a client as an exchange sees it: an HTTP/1 connection, a TCP or TLS stream, a request
 * in the line behind another (codec/pipeline.h), or one stream of an HTTP/2 connection (which
 * itself is one, too, but has no exchange). While a connection is idle it holds no buffer and no
 * exchange; its read event stays registered for its whole life, except while reading really has
 * to stop.
 *
 * Nothing blocks. Threads: the worker's own.
 */
#ifndef DATAPLANE_CONN_H
#define DATAPLANE_CONN_H

#include "dataplane/codec/codec.h"
#include "dataplane/io.h"
#include "dataplane/worker.h"

/* why a connection was closed; the word is what the log says */
#define CLOSE_REASONS(X)                                                                           \
    X(CLOSE_DONE, "done")                     /* after an answer that said so */                   \
    X(CLOSE_CLIENT, "client_closed")                                                               \
    X(CLOSE_CLIENT_ABORT, "client_aborted")   /* while it was being served */                      \
    X(CLOSE_IDLE, "idle_timeout")                                                                  \
    X(CLOSE_TIMEOUT, "client_timeout")                                                             \
    X(CLOSE_HANDSHAKE, "tls_handshake")                                                            \
    X(CLOSE_PREREAD, "preread")               /* a PROXY header or ClientHello that is none */     \
    X(CLOSE_UPSTREAM_CUT, "upstream_cut")     /* a response that could not be completed */         \
    X(CLOSE_PROTOCOL, "protocol_error")       /* nothing can be answered any more */               \
    X(CLOSE_LIMIT, "limit")                   /* of connections, or of what one may do */          \
    X(CLOSE_DRAIN, "drain")

enum close_reason {
#define X(id, word) id,
    CLOSE_REASONS(X)
#undef X
};

enum conn_wait {
    WAIT_IDLE, WAIT_HANDSHAKE, WAIT_HEAD, WAIT_BODY, WAIT_WRITE, WAIT_LINGER,
    WAIT_NAME, /* of its exchange's upstream */
};

/* Who takes the events of a connection, once its handshake is over. */
struct conn_ops {
    void (*ready)(struct conn *c);  /* the handshake is over */
    void (*readable)(struct conn *c);
    void (*writable)(struct conn *c);
    void (*timeout)(struct conn *c);
    void (*drain)(struct conn *c);  /* takes nothing new; ends when what is under way has ended */
    void (*closed)(struct conn *c); /* by conn_kill, for whatever reason */
};

struct http2;
struct http2_stream;
struct pipeline;
struct slot;

struct conn {
    struct worker *w;
    struct conn *next, **prev; /* all of the worker's; next alone on the dead and spare lists */
    const struct conn_ops *ops;
    const struct down_codec *codec;
    struct io io;              /* fd -1: a stream, whose events come from its connection */
    struct event ev_read, ev_write;
    struct timer timer;
    struct buf *rbuf;          /* bytes read; NULL while idle */
    uint32_t at;               /* in rbuf: what is not parsed yet */
    struct xio *xio;           /* NULL while idle */
    struct http2 *h2;          /* of an HTTP/2 connection */
    struct http2_stream *stream; /* of one of its streams */
    struct pipeline *pipe;     /* requests that came before the answer to the one in front */
    struct slot *slot;         /* of one of those: no socket either */
    const struct listener *listener;
    uint64_t number;
    uint32_t requests;
    uint16_t peer_port, local_port;
    char peer_ip[46], local_ip[46];
    unsigned char peer_addr[16];
    struct {                   /* when proxied: what a PROXY header says of the client */
        char ip[46];
        uint16_t port;
        unsigned char addr[16];
    } client;
    uint32_t peeked;           /* bytes that have been looked at and left in the socket */
    uint8_t peer_ip_len;
    uint8_t wait;              /* enum conn_wait: what the timer means */
    bool reading, writing;     /* events that are registered; of a stream: wanted */
    bool peer_trusted, proxied, handshaking, eof, broken, dead, lingering;
    bool counted;              /* by its address */
    uint32_t lingered;         /* bytes thrown away */
};

/* A new connection on fd, which it owns. */
void conn_open(struct listener *l, int fd, const struct sockaddr *peer);

/*
 * A stream of parent, an exchange's client like any other, with parent's addresses. io has no fd: the
 * parent calls conn_readable and conn_writable when c->reading and c->writing ask for it. Never NULL;
 * ends by conn_kill, which closes io.
 */
struct conn *conn_open_stream(struct conn *parent, struct http2_stream *stream, const struct io_ops *ops);

/* The same for a request in the line behind another. */
struct conn *conn_open_slot(struct conn *parent, struct slot *slot, const struct conn_ops *events,
                            const struct io_ops *ops);

/*
 * Closes at once; the memory goes at the quiet point. Ends its exchange, unless that is running: then the
 * driver does when the state returns. A dead one may be killed again.
 */
void conn_kill(struct conn *c, enum close_reason why);

/*
 * The client may still be sending: closing now would make its system throw our answer away
 * (RFC 9112 section 9.6). So our side is closed, and what comes is read for a while.
 */
void conn_linger(struct conn *c);

/*
 * The exchange is over and has been taken off c. unread: its request has not been read to
 * the end. Closes c, lets it linger or rest, or returns the next exchange when its bytes are there already;
 * NULL: there is none now.
 */
struct xio *conn_next(struct conn *c, bool keep_alive, bool unread);

/* Waits at most us for what `wait` says, then ops->timeout. There is one wait at a time: the last one counts. */
void conn_wait(struct conn *c, enum conn_wait wait, uint64_t us);
static inline void conn_wait_over(struct conn *c)
{
    timer_clear(&c->timer);
}

/* Registers or removes events. Bytes that TLS or a stream holds make one active at once. */
void conn_want_read(struct conn *c, bool want);
void conn_want_write(struct conn *c, bool want);

/*
 * Reads once into rbuf. >0 bytes, 0 the client sends no more (c->eof), IO_AGAIN nothing
 * there or no room, IO_ERROR.
 */
ssize_t conn_read(struct conn *c);

/*
 * Counts c for its client's address, unless that is trusted: when c is accepted, and once a trusted
 * peer's PROXY header has said who the client is. False: there are too many, c has been killed.
 */
bool conn_count(struct conn *c);

/* What comes behind a PROXY header, or at once when none is due: TLS, HTTP or a stream. */
void conn_begin(struct conn *c);
/* TLS ends here: the handshake begins, then ops->ready. False: c has been killed. */
bool conn_accept_tls(struct conn *c);

/* Address and port of sa as text and, IPv4 mapped, as bytes. */
void conn_note_address(const struct sockaddr *sa, char text[46], unsigned char mapped[16], uint16_t *port);

/* What an event does. A stream's connection calls them when its stream's turn has come. */
void conn_readable(struct conn *c);
void conn_writable(struct conn *c);

/* What the listener of this server connection agrees on by ALPN, in its order, as on the wire; "": nothing. */
struct str conn_alpn(const SSL *ssl);

void conns_reap(struct worker *w);
/* Connections without a request are closed, the others after their answer. */
void conns_drain(struct worker *w);
void conns_fini(struct worker *w);

#endif
