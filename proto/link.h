/*
 * link.h - connections of frames over nng byte streams: tls+tcp:// and ipc://.
 *
 * A hub owns listeners and links and gathers what happens to them for one owner thread:
 *
 *     while (!stop) {
 *         struct link_event ev;
 *         if (!link_hub_wait(hub, deadline_us, &ev))
 *             ...;                        // deadline, or link_hub_wake
 *         else if (ev.kind == LINK_FRAME)
 *             ... ev.frame is ours to free ...
 *         else if (ev.kind == LINK_CLOSED)
 *             link_free(&ev.link);        // the last event of every link
 *     }
 *
 * nng's threads do the reading, the pings and the deadlines, so that they go on while the
 * owner compiles a configuration for seconds; they never block. Rules of nng 1.5.2 kept
 * here: the dialling side speaks first; the first error closes the stream and nothing is
 * posted on it afterwards; deadlines are timers of ours that close the stream, never nng's.
 *
 * Threads: link_hub_wait, link_free, link_hub_free by the owner; the rest by any.
 */
#ifndef PROTO_LINK_H
#define PROTO_LINK_H

#include "proto/frame.h"
#include "proto/tls_engine.h"

struct link;
struct link_hub;

struct link_limits {
    unsigned heartbeat_ms;   /* we ping when silent for so long; three without a byte: dead */
    unsigned first_frame_ms; /* from connect to the peer's first frame, handshake included */
    unsigned send_ms;        /* for one frame to leave */
    size_t frame_max;        /* body bytes accepted from peers */
    size_t max_links;        /* accepted ones; more are closed at once */
};

#define LINK_SEND_QUEUE 32 /* frames waiting to leave; more is a fault of the caller's windows */
#define LINK_RECV_QUEUE 16 /* frames waiting for the owner; then reading pauses */

enum link_event_kind {
    LINK_OPEN,   /* a dialled link is connected: send the first frame */
    LINK_FRAME,
    LINK_CLOSED, /* link_reason tells why */
};

struct link_event {
    enum link_event_kind kind;
    struct link *link;
    Weir__Frame *frame; /* LINK_FRAME: the receiver frees it */
};

struct link_hub *link_hub_new(const struct link_limits *limits);
void link_hub_free(struct link_hub **hub); /* closes and frees all it holds; a moment */

/* identity is needed for tls+tcp and borrowed for the call. Blocks on DNS. */
int link_listen(struct link_hub *hub, const char *url, struct tls_identity *identity,
                struct err *e) WEIR_MUSTCHECK;

/* The port the newest tcp listener got; 0 when there is none. */
unsigned link_listen_port(const struct link_hub *hub);

/* Starts connecting; LINK_OPEN or LINK_CLOSED follows. */
int link_dial(struct link_hub *hub, const char *url, struct tls_identity *identity,
              struct link **out, struct err *e) WEIR_MUSTCHECK;

/* Whether link_dial and link_listen take this URL, and whether it needs an identity. */
int link_url_check(const char *url, bool *tls_out, struct err *e) WEIR_MUSTCHECK;

/*
 * Waits for the next event until mono_us (0: do not wait). False when there is none by
 * then, or when woken.
 */
bool link_hub_wait(struct link_hub *hub, uint64_t mono_us, struct link_event *out);
void link_hub_wake(struct link_hub *hub);

/* Takes a reference of its own. Encrypts on the caller's thread. -1: closed or queue full. */
int link_send(struct link *l, struct frame_buf *b);

/* Encodes and sends. */
int link_send_frame(struct link *l, const Weir__Frame *f);

/* LINK_CLOSED follows. The first reason given is kept. */
void link_close(struct link *l, const char *reason, ...) WEIR_PRINTF(2, 3);

/* Sends what is queued, then closes; the send deadline bounds it. reason is a literal. */
void link_close_after_send(struct link *l, const char *reason);

void link_free(struct link **l); /* after LINK_CLOSED */

/*
 * What the two sides have agreed on, when the other one's heartbeat (0: it has named none) is
 * shorter than ours: from here on this link keeps to it. Returns the one in force.
 */
unsigned link_agree_heartbeat(struct link *l, unsigned theirs_ms);
#define LINK_HEARTBEAT_MIN_MS 20u /* a peer cannot ask for less */

/* The owner's pointer for a link; the owner's thread alone uses it. */
void link_set_data(struct link *l, void *data);
void *link_data(const struct link *l);

const char *link_reason(const struct link *l);     /* after LINK_CLOSED */
const char *link_remote(const struct link *l);     /* "127.0.0.1" or "ipc" */
bool link_is_tls(const struct link *l);

/*
 * After the first frame. tls+tcp: the peer's certificate. ipc: checks that the peer runs
 * as our user or as root, and leaves *out empty.
 */
int link_peer(struct link *l, struct tls_peer *out, struct err *e) WEIR_MUSTCHECK;

#endif
