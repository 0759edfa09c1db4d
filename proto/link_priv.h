/*
 * link_priv.h - what links (link.c) and their hub (link_hub.c) share. For these two alone.
 *
 * hub->lock guards all of it but what a comment gives to one thread. A link lives as long as
 * `running` counts something under way; whoever begins an operation takes a count, whoever
 * sees its end gives it back, and LINK_CLOSED is told when none is left.
 */
#ifndef PROTO_LINK_PRIV_H
#define PROTO_LINK_PRIV_H

#include <pthread.h>

#include "proto/link.h"

enum link_phase { PHASE_DIALLING, PHASE_OPEN, PHASE_CLOSED };

struct link {
    struct link_hub *hub;
    struct link *prev, *next; /* in hub->links */
    struct link *ready_next;  /* in hub->ready */
    bool is_ready, accepted, tls;
    enum link_phase phase;
    unsigned running; /* operations posted to nng whose callback has not finished */
    unsigned posting; /* threads inside nng_stream_send or _recv */
    bool told_open, told_closed;
    const char *close_when_sent; /* the reason; NULL: goes on */
    bool muted; /* closed by the owner: what was still in the queue is not for it */
    char reason[256];
    char remote[64];
    void *data;

    nng_stream *stream;
    nng_stream_dialer *dialer;
    nng_aio *dial_aio, *recv_aio, *send_aio;

    /* reading: recv_aio's callback alone, but for the queue and paused */
    char *in;
    size_t in_len, in_cap;
    bool paused, got_frame;
    unsigned heartbeat_ms;
    Weir__Frame *queue[LINK_RECV_QUEUE];
    size_t queue_at, queue_n;

    /* writing */
    struct frame_buf *out[LINK_SEND_QUEUE];
    size_t out_at, out_n, out_sent; /* out_sent: bytes of the first one */
    bool sending;

    /* deadlines, mono_us */
    uint64_t opened_us, heard_us, spoke_us, send_since_us;
};

struct link_listener {
    struct link_listener *next;
    struct link_hub *hub;
    nng_stream_listener *listener;
    nng_aio *aio;
    bool tls, stalled; /* stalled: accepting failed, the tick tries again */
};

struct link_hub {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct link_limits limits;
    struct link *links, *ready, **ready_tail;
    size_t n_accepted;
    struct link_listener *listeners;
    bool woken, stopping;
    unsigned port;
    unsigned tick_ms;
    nng_aio *tick;
    struct frame_buf *ping;
};

/* A link of that hub, dialling, in none of its lists yet. */
struct link *link_new(struct link_hub *hub, bool tls);

/*
 * The stream is there: the first receive, which also runs the handshake. Lock not held; the
 * caller holds a count of running.
 */
void link_start(struct link *l, nng_stream *stream);

/*
 * Runs on one thread at a time: recv_aio's callback, or the owner when it ends a pause.
 * Takes over one count of running, and gives it back or hands it to the posted receive.
 */
void link_receive_more(struct link *l);

/* Gives back a count of running. Lock not held. */
void link_release(struct link *l);

/* After link_begin_close has returned true. Lock not held. */
void link_finish_close(struct link *l);

/* ---- with the lock held ---- */

void link_insert(struct link *l); /* into hub->links */

/* Something of l waits for the owner. */
void link_make_ready(struct link *l);

/* An operation of l is over: gives back a count of running. */
void link_operation_done(struct link *l);

/* True when the caller must let go of the lock and call link_finish_close. */
bool link_begin_close(struct link *l, const char *reason);

#endif
