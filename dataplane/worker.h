/*
 * worker.h - one event loop: its listeners, connections, pools and timers. Workers share
 * nothing that they write.
 *
 * A turn of the loop: what epoll reported is called back, a new configuration among it; then,
 * at the quiet point, waiting exchanges go on, what gathered in this turn is sent (pipelined
 * lines, HTTP/2), and what died in it is freed. So nothing is freed while a callback above it
 * may still look at it.
 *
 * Threads: the worker's own, but for what says "any thread".
 */
#ifndef DATAPLANE_WORKER_H
#define DATAPLANE_WORKER_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <pthread.h>
#include <stdatomic.h>

#include "common/clock.h"
#include "dataplane/bufs.h"
#include "dataplane/live.h"
#include "dataplane/settings_dp.h"
#include "dataplane/wheel.h"

struct conn;
struct listener;
struct resolver;
struct uconn;
struct xio;

#define SCRATCH_BYTES (160u * 1024u) /* the longest head, with what is added to it */
#define ORIGIN_SLOTS  256u
#define NAME_SLOTS    256u

struct worker {
    unsigned index;
    const struct dp_settings *set;
    struct event_base *base;
    uint64_t now_us; /* of this turn; 0: not asked for yet */

    struct live_worker *live;
    struct config_pin **current;

    struct wheel wheel;
    struct buf_pool bufs;
    struct conn *conns;       /* all of them */
    struct conn *spare_conns;
    struct uconn *spare_uconns;
    struct xio *spare_xios;
    unsigned n_spare_conns, n_spare_uconns, n_spare_xios;
    unsigned n_conns;
    struct conn *dead_conns;  /* freed at the quiet point */
    struct uconn *dead_uconns;
    struct xio *ready, **ready_end; /* to go on at the quiet point */
    struct http2_wire *h2_dirty; /* sessions with something to send */
    struct http2_heap *h2_heap; /* memory of sessions; NULL until there is one */
    struct pipeline *pipes_dirty;

    struct listener *listeners;
    size_t n_listeners;

    /* upstream side */
    struct origin *origins[ORIGIN_SLOTS];
    struct name *names[NAME_SLOTS];
    struct name *names_all;
    size_t n_names;
    struct resolver *resolver;
    uint64_t turn_seed;

    char date[32]; /* "Sat, 21 Nov 2026 23:00:00 GMT" */
    uint64_t date_second;
    uint64_t id_state[2];
    char *scratch; /* heads are written here, and copied only when the socket is full */

    struct event wake_ev, live_ev, wheel_ev;
    int wake_fd;
    pthread_mutex_t mail_lock;
    struct name_job *mail; /* answers of the resolver */
    SSL_CTX *tls_next;     /* for the listeners, or NULL; a reference */
    _Atomic unsigned order; /* what main wants: enum worker_order */
    bool draining;
    uint64_t drain_until_us;
    bool loop_over;
    pthread_t thread;
};

enum worker_order { ORDER_SERVE, ORDER_DRAIN, ORDER_STOP };

/* Makes the loop; binds nothing yet. Borrows set, live and resolver, which outlive w. -1: ERR_IO. */
int worker_init(struct worker *w, unsigned index, const struct dp_settings *set, struct live_worker *live,
                struct resolver *resolver, struct err *e) WEIR_MUSTCHECK;
/* Begins to accept and starts the thread. -1: the system has no thread, or takes no event. */
int worker_start(struct worker *w, struct err *e) WEIR_MUSTCHECK;
/* One turn of the loop, with its quiet point; wait: for an event. For the worker's thread, and tests without one. */
void worker_turn(struct worker *w, bool wait);
void worker_tell(struct worker *w, enum worker_order order); /* any thread */
void worker_wake(struct worker *w);                          /* any thread */
/* New connections get this default certificate. Any thread; keeps a reference. */
void worker_give_tls(struct worker *w, SSL_CTX *ctx);
void worker_join(struct worker *w); /* blocks until the loop is over: after ORDER_STOP, or drained */
void worker_fini(struct worker *w); /* after worker_join, or without a start */

static inline uint64_t worker_now(struct worker *w)
{
    if (unlikely(w->now_us == 0))
        w->now_us = clock_mono_us();
    return w->now_us;
}

/* The Date header of this second (RFC 9110 section 6.6.1); good until the next call. */
struct str worker_date(struct worker *w);

/* 32 hexadecimal digits and a NUL; unique, not secret. */
void worker_request_id(struct worker *w, char out[33]);

/* x goes on at the quiet point of this turn. Twice is once. */
void worker_ready(struct worker *w, struct xio *io);

#endif
