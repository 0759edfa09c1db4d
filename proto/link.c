#include "proto/link.h"

#include <arpa/inet.h>
#include <nng/supplemental/util/platform.h>
#include <nng/transport/ipc/ipc.h>
#include <nng/transport/tls/tls.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/clock.h"

#define RECV_IDLE_BYTES 4096u /* what a silent connection keeps for reading */
#define DIAL_MS         5000u

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

static void on_dialled(void *arg);
static void on_received(void *arg);
static void on_sent(void *arg);

/* ---- the hub's ready list; called with the lock held ---- */

static void make_ready(struct link *l)
{
    struct link_hub *hub = l->hub;

    if (l->is_ready)
        return;
    l->is_ready = true;
    l->ready_next = NULL;
    *hub->ready_tail = l;
    hub->ready_tail = &l->ready_next;
    pthread_cond_signal(&hub->wake);
}

static struct link *take_ready(struct link_hub *hub)
{
    struct link *l = hub->ready;

    if (!l)
        return NULL;
    hub->ready = l->ready_next;
    if (!hub->ready)
        hub->ready_tail = &hub->ready;
    l->is_ready = false;
    return l;
}

/* True when the caller must call finish_close once it has let go of the lock. */
static bool begin_close(struct link *l, const char *reason)
{
    if (l->phase == PHASE_CLOSED)
        return false;
    l->phase = PHASE_CLOSED;
    snprintf(l->reason, sizeof(l->reason), "%s", reason);
    l->running++; /* keeps the link until finish_close is through */
    return true;
}

/* ---- links ---- */

static struct link *link_new(struct link_hub *hub, bool tls)
{
    struct link *l = xcalloc(1, sizeof(*l));

    l->hub = hub;
    l->tls = tls;
    l->heartbeat_ms = hub->limits.heartbeat_ms;
    l->opened_us = clock_mono_us();
    l->in_cap = RECV_IDLE_BYTES;
    l->in = xmalloc(l->in_cap);
    if (nng_aio_alloc(&l->recv_aio, on_received, l) != 0 ||
        nng_aio_alloc(&l->send_aio, on_sent, l) != 0)
        WEIR_UNREACHABLE("out of memory");
    return l;
}

static void hub_insert(struct link *l)
{
    struct link_hub *hub = l->hub;

    l->next = hub->links;
    if (l->next)
        l->next->prev = l;
    hub->links = l;
    if (l->accepted)
        hub->n_accepted++;
}

static void hub_remove(struct link *l)
{
    struct link_hub *hub = l->hub;

    if (l->prev)
        l->prev->next = l->next;
    else
        hub->links = l->next;
    if (l->next)
        l->next->prev = l->prev;
    if (l->accepted)
        hub->n_accepted--;
}

/* An operation of l is over; the lock is held. */
static void operation_done(struct link *l)
{
    WEIR_ASSERT(l->running > 0);
    if (--l->running == 0 && l->phase == PHASE_CLOSED)
        make_ready(l);
}

static void release(struct link *l)
{
    pthread_mutex_lock(&l->hub->lock);
    operation_done(l);
    pthread_mutex_unlock(&l->hub->lock);
}

/*
 * What is posted on a closed stream never ends in nng 1.5.2, so closing waits for the posts
 * under way: the last of their threads closes. None begins once phase is CLOSED.
 */
static void post_begin(struct link *l) /* lock held */
{
    l->posting++;
    l->running++;
}

static void post_end(struct link *l)
{
    bool close_now;

    pthread_mutex_lock(&l->hub->lock);
    close_now = --l->posting == 0 && l->phase == PHASE_CLOSED;
    pthread_mutex_unlock(&l->hub->lock);
    if (close_now)
        nng_stream_close(l->stream);
    release(l);
}

static void finish_close(struct link *l)
{
    nng_stream *stream;

    pthread_mutex_lock(&l->hub->lock);
    stream = l->posting == 0 ? l->stream : NULL;
    pthread_mutex_unlock(&l->hub->lock);
    if (l->dialer)
        nng_stream_dialer_close(l->dialer);
    if (stream)
        nng_stream_close(stream);
    release(l);
}

static void close_link(struct link *l, const char *reason)
{
    bool mine;

    pthread_mutex_lock(&l->hub->lock);
    mine = begin_close(l, reason);
    pthread_mutex_unlock(&l->hub->lock);
    if (mine)
        finish_close(l);
}

void link_close(struct link *l, const char *fmt, ...)
{
    char reason[sizeof(l->reason)];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(reason, sizeof(reason), fmt, ap);
    va_end(ap);
    pthread_mutex_lock(&l->hub->lock);
    l->muted = true;
    pthread_mutex_unlock(&l->hub->lock);
    close_link(l, reason);
}

void link_free(struct link **lp)
{
    struct link *l = *lp;

    *lp = NULL;
    if (!l)
        return;
    pthread_mutex_lock(&l->hub->lock);
    WEIR_ASSERT(l->phase == PHASE_CLOSED && l->running == 0 && !l->is_ready);
    hub_remove(l);
    pthread_mutex_unlock(&l->hub->lock);
    /* waits for callbacks that are in their last lines */
    nng_aio_free(l->dial_aio);
    nng_aio_free(l->recv_aio);
    nng_aio_free(l->send_aio);
    nng_stream_free(l->stream);
    nng_stream_dialer_free(l->dialer);
    for (size_t i = 0; i < l->queue_n; i++)
        frame_free(&l->queue[(l->queue_at + i) % LINK_RECV_QUEUE]);
    for (size_t i = 0; i < l->out_n; i++)
        frame_buf_unref(&l->out[(l->out_at + i) % LINK_SEND_QUEUE]);
    free(l->in);
    free(l);
}

void link_set_data(struct link *l, void *data)
{
    l->data = data;
}

void *link_data(const struct link *l)
{
    return l->data;
}

const char *link_reason(const struct link *l)
{
    return l->reason;
}

const char *link_remote(const struct link *l)
{
    return l->remote;
}

bool link_is_tls(const struct link *l)
{
    return l->tls;
}

static void read_remote(struct link *l)
{
    nng_sockaddr a;
    const char *text = NULL;

    if (nng_stream_get_addr(l->stream, NNG_OPT_REMADDR, &a) == 0) {
        if (a.s_family == NNG_AF_INET)
            text = inet_ntop(AF_INET, &a.s_in.sa_addr, l->remote, sizeof(l->remote));
        else if (a.s_family == NNG_AF_INET6)
            text = inet_ntop(AF_INET6, a.s_in6.sa_addr, l->remote, sizeof(l->remote));
    }
    if (!text)
        snprintf(l->remote, sizeof(l->remote), "ipc");
}

int link_peer(struct link *l, struct tls_peer *out, struct err *e)
{
    uint64_t uid = 0;
    int rc;

    if (l->tls)
        return tls_peer_of(l->stream, out, e);
    memset(out, 0, sizeof(*out));
    rc = nng_stream_get_uint64(l->stream, NNG_OPT_IPC_PEER_UID, &uid);
    if (rc != 0)
        return err_set(e, ERR_PEER, "the peer's user is unknown: %s", nng_strerror(rc));
    if (uid != 0 && uid != (uint64_t)geteuid())
        return err_set(e, ERR_PEER, "the peer runs as user %llu, expected %u or root",
                       (unsigned long long)uid, (unsigned)geteuid());
    return 0;
}

/* ---- reading ---- */

/*
 * Moves whole frames from the buffer to the queue. Returns 0 when more bytes are needed, 1
 * when the queue is full, -1 with e when the peer is out of order.
 */
static int cut_frames(struct link *l, struct err *e)
{
    struct link_hub *hub = l->hub;
    size_t at = 0, used = 0, need = RECV_IDLE_BYTES;
    struct str body;
    int rc = 0;

    for (;;) {
        Weir__Frame *f;
        bool room;

        pthread_mutex_lock(&hub->lock);
        room = l->queue_n < LINK_RECV_QUEUE;
        pthread_mutex_unlock(&hub->lock);
        if (!room) {
            rc = 1;
            break;
        }
        rc = frame_cut(str_n(l->in + at, l->in_len - at), hub->limits.frame_max, &body, &used,
                       &need, e);
        if (rc <= 0)
            break;
        if (!(f = frame_decode(body, e))) {
            rc = -1;
            break;
        }
        at += used;
        pthread_mutex_lock(&hub->lock);
        l->got_frame |= f->kind_case != WEIR__FRAME__KIND_PING;
        if (f->kind_case != WEIR__FRAME__KIND_PING && l->phase == PHASE_OPEN) {
            l->queue[(l->queue_at + l->queue_n++) % LINK_RECV_QUEUE] = f;
            f = NULL;
            make_ready(l);
        }
        pthread_mutex_unlock(&hub->lock);
        frame_free(&f);
    }
    if (at > 0)
        memmove(l->in, l->in + at, l->in_len - at);
    l->in_len -= at;
    need = size_max(need, RECV_IDLE_BYTES);
    if (need != l->in_cap && need >= l->in_len) {
        l->in_cap = need;
        l->in = xrealloc(l->in, l->in_cap);
    }
    return rc;
}

/*
 * Runs on one thread at a time: recv_aio's callback, or the owner when it ends a pause.
 * Takes over one count of running, and gives it back or hands it to the posted receive.
 */
static void receive_more(struct link *l)
{
    struct link_hub *hub = l->hub;
    struct err e = {0};
    nng_iov iov;
    bool post, full;

    do {
        int rc = cut_frames(l, &e);

        if (rc < 0)
            close_link(l, err_text(&e));
        pthread_mutex_lock(&hub->lock);
        full = rc == 1 && l->queue_n == LINK_RECV_QUEUE; /* else the owner has just made room */
        post = rc == 0 && l->phase == PHASE_OPEN;
        if (post) {
            post_begin(l);
        } else if (full || l->phase != PHASE_OPEN) {
            l->paused = full; /* from here on the owner may come in and read on */
            operation_done(l);
            full = true;
        }
        pthread_mutex_unlock(&hub->lock);
    } while (!post && !full);
    if (!post)
        return;
    iov.iov_buf = l->in + l->in_len;
    iov.iov_len = l->in_cap - l->in_len; /* never 0: cut_frames leaves room for what is needed */
    nng_aio_set_iov(l->recv_aio, 1, &iov);
    nng_stream_recv(l->stream, l->recv_aio);
    post_end(l);
}

static void on_received(void *arg)
{
    struct link *l = arg;
    int rc = nng_aio_result(l->recv_aio);

    if (rc != 0) {
        close_link(l, nng_strerror(rc));
        release(l);
        return;
    }
    l->in_len += nng_aio_count(l->recv_aio);
    pthread_mutex_lock(&l->hub->lock);
    l->heard_us = clock_mono_us(); /* a large frame on a slow line takes its time */
    pthread_mutex_unlock(&l->hub->lock);
    receive_more(l);
}

/* ---- writing ---- */

/* After post_begin; takes over one more count of running for the operation itself. */
static void post_send(struct link *l, struct frame_buf *b, size_t sent)
{
    nng_iov iov = {.iov_buf = b->p + sent, .iov_len = b->len - sent};

    nng_aio_set_iov(l->send_aio, 1, &iov);
    nng_stream_send(l->stream, l->send_aio);
    post_end(l);
}

static void on_sent(void *arg)
{
    struct link *l = arg;
    struct frame_buf *done = NULL, *next = NULL;
    int rc = nng_aio_result(l->send_aio);
    size_t sent = 0;
    bool over = false;

    if (rc != 0)
        close_link(l, nng_strerror(rc));
    pthread_mutex_lock(&l->hub->lock);
    if (rc == 0) {
        l->out_sent += nng_aio_count(l->send_aio);
        if (l->out_sent == l->out[l->out_at]->len) {
            done = l->out[l->out_at];
            l->out_at = (l->out_at + 1) % LINK_SEND_QUEUE;
            l->out_n--;
            l->out_sent = 0;
            l->spoke_us = l->send_since_us = clock_mono_us();
        }
    }
    if (rc == 0 && l->phase == PHASE_OPEN && l->out_n > 0) {
        next = l->out[l->out_at];
        sent = l->out_sent;
        post_begin(l);
    } else {
        l->sending = false;
        over = l->close_when_sent && begin_close(l, l->close_when_sent);
        operation_done(l);
    }
    pthread_mutex_unlock(&l->hub->lock);
    frame_buf_unref(&done);
    if (next)
        post_send(l, next, sent); /* l may be gone from here on */
    if (over)
        finish_close(l);
}

int link_send(struct link *l, struct frame_buf *b)
{
    bool post = false;

    pthread_mutex_lock(&l->hub->lock);
    if (l->phase != PHASE_OPEN || l->close_when_sent || l->out_n == LINK_SEND_QUEUE) {
        pthread_mutex_unlock(&l->hub->lock);
        return -1;
    }
    l->out[(l->out_at + l->out_n++) % LINK_SEND_QUEUE] = frame_buf_ref(b);
    if (!l->sending) {
        l->sending = post = true;
        l->running++;
        post_begin(l);
        l->send_since_us = clock_mono_us();
    }
    pthread_mutex_unlock(&l->hub->lock);
    if (post)
        post_send(l, b, 0);
    return 0;
}

int link_send_frame(struct link *l, const Weir__Frame *f)
{
    struct frame_buf *b = frame_encode(f);
    int rc = link_send(l, b);

    frame_buf_unref(&b);
    return rc;
}

void link_close_after_send(struct link *l, const char *reason)
{
    bool mine = false;

    pthread_mutex_lock(&l->hub->lock);
    l->close_when_sent = reason;
    if (!l->sending)
        mine = begin_close(l, reason);
    pthread_mutex_unlock(&l->hub->lock);
    if (mine)
        finish_close(l);
}

/* ---- connecting ---- */

/*
 * The stream is there: the first receive, which also runs the handshake. Lock not held; the
 * caller holds a count of running.
 */
static void start_link(struct link *l, nng_stream *stream)
{
    bool late;

    pthread_mutex_lock(&l->hub->lock);
    l->stream = stream;
    late = l->phase != PHASE_DIALLING;
    pthread_mutex_unlock(&l->hub->lock);
    if (late) {
        nng_stream_close(stream);
        return;
    }
    read_remote(l);
    pthread_mutex_lock(&l->hub->lock);
    l->opened_us = l->heard_us = l->spoke_us = clock_mono_us();
    if (l->phase == PHASE_DIALLING)
        l->phase = PHASE_OPEN;
    if (!l->accepted)
        make_ready(l);
    l->running++;
    pthread_mutex_unlock(&l->hub->lock);
    receive_more(l);
}

static void on_dialled(void *arg)
{
    struct link *l = arg;
    int rc = nng_aio_result(l->dial_aio);

    if (rc == 0)
        start_link(l, nng_aio_get_output(l->dial_aio, 0));
    else
        close_link(l, nng_strerror(rc));
    release(l);
}

static void on_accepted(void *arg)
{
    struct link_listener *ls = arg;
    struct link_hub *hub = ls->hub;
    int rc = nng_aio_result(ls->aio);
    bool again;

    if (rc == 0) {
        nng_stream *s = nng_aio_get_output(ls->aio, 0);
        struct link *l = NULL;

        pthread_mutex_lock(&hub->lock);
        if (!hub->stopping && hub->n_accepted < hub->limits.max_links) {
            l = link_new(hub, ls->tls);
            l->accepted = true;
            l->running = 1;
            hub_insert(l);
        }
        pthread_mutex_unlock(&hub->lock);
        if (l) {
            start_link(l, s);
            release(l);
        } else {
            nng_stream_free(s);
        }
    }
    pthread_mutex_lock(&hub->lock);
    again = rc == 0 && !hub->stopping;
    ls->stalled = rc != 0 && !hub->stopping; /* no descriptors left, say: not at once again */
    pthread_mutex_unlock(&hub->lock);
    if (again)
        nng_stream_listener_accept(ls->listener, ls->aio);
}

int link_url_check(const char *url, bool *tls_out, struct err *e)
{
    nng_url *u = NULL;
    int rc;

    *tls_out = strncmp(url, "tls+tcp", 7) == 0;
    if (strncmp(url, "tls+tcp://", 10) != 0 && strncmp(url, "tls+tcp4://", 11) != 0 &&
        strncmp(url, "tls+tcp6://", 11) != 0 && strncmp(url, "ipc://", 6) != 0)
        return err_set(e, ERR_INVALID, "'%s': expected tls+tcp://HOST:PORT or ipc:///PATH", url);
    if ((rc = nng_url_parse(&u, url)) != 0)
        return err_set(e, ERR_INVALID, "'%s': %s, expected tls+tcp://HOST:PORT or ipc:///PATH", url,
                       nng_strerror(rc));
    if (*tls_out && (!u->u_port || !*u->u_port || !strcmp(u->u_port, "0")) &&
        !strstr(url, ":0"))
        rc = err_set(e, ERR_INVALID, "'%s': expected a port", url);
    nng_url_free(u);
    return rc;
}

static int listener_open(struct link_listener *ls, const char *url, struct tls_identity *identity,
                         struct err *e)
{
    nng_tls_config *cfg = NULL;
    int rc;

    if (ls->tls && tls_config_new(identity, true, &cfg, e) != 0)
        return -1;
    rc = nng_stream_listener_alloc(&ls->listener, url);
    if (rc == 0 && cfg)
        rc = nng_stream_listener_set_ptr(ls->listener, NNG_OPT_TLS_CONFIG, cfg);
    if (rc == 0 && ls->tls)
        rc = nng_stream_listener_set_bool(ls->listener, NNG_OPT_TCP_NODELAY, true);
    if (rc == 0 && !ls->tls)
        rc = nng_stream_listener_set_int(ls->listener, NNG_OPT_IPC_PERMISSIONS, 0600);
    if (rc == 0)
        rc = nng_stream_listener_listen(ls->listener);
    if (rc == 0)
        rc = nng_aio_alloc(&ls->aio, on_accepted, ls);
    if (cfg)
        nng_tls_config_free(cfg);
    return rc == 0 ? 0 : err_set(e, ERR_IO, "cannot listen on '%s': %s", url, nng_strerror(rc));
}

int link_listen(struct link_hub *hub, const char *url, struct tls_identity *identity, struct err *e)
{
    struct link_listener *ls;
    int port = 0;
    bool tls;

    if (link_url_check(url, &tls, e) != 0)
        return -1;
    if (tls && !identity)
        return err_set(e, ERR_INVALID, "'%s' needs certificates", url);
    ls = xcalloc(1, sizeof(*ls));
    ls->hub = hub;
    ls->tls = tls;
    if (listener_open(ls, url, identity, e) != 0) {
        nng_stream_listener_free(ls->listener);
        free(ls);
        return -1;
    }
    pthread_mutex_lock(&hub->lock);
    ls->next = hub->listeners;
    hub->listeners = ls;
    if (tls && nng_stream_listener_get_int(ls->listener, NNG_OPT_TCP_BOUND_PORT, &port) == 0)
        hub->port = (unsigned)port;
    pthread_mutex_unlock(&hub->lock);
    nng_stream_listener_accept(ls->listener, ls->aio);
    return 0;
}

unsigned link_listen_port(const struct link_hub *hub)
{
    return hub->port;
}

int link_dial(struct link_hub *hub, const char *url, struct tls_identity *identity,
              struct link **out, struct err *e)
{
    nng_tls_config *cfg = NULL;
    struct link *l;
    bool tls;
    int rc;

    *out = NULL;
    if (link_url_check(url, &tls, e) != 0)
        return -1;
    if (tls && !identity)
        return err_set(e, ERR_INVALID, "'%s' needs certificates", url);
    if (tls && tls_config_new(identity, false, &cfg, e) != 0)
        return -1;
    l = link_new(hub, tls);
    rc = nng_stream_dialer_alloc(&l->dialer, url);
    if (rc == 0 && cfg)
        rc = nng_stream_dialer_set_ptr(l->dialer, NNG_OPT_TLS_CONFIG, cfg);
    if (rc == 0 && cfg)
        rc = nng_stream_dialer_set_bool(l->dialer, NNG_OPT_TCP_NODELAY, true);
    if (rc == 0)
        rc = nng_aio_alloc(&l->dial_aio, on_dialled, l);
    if (cfg)
        nng_tls_config_free(cfg);
    pthread_mutex_lock(&hub->lock);
    hub_insert(l);
    l->phase = rc == 0 ? PHASE_DIALLING : PHASE_CLOSED;
    l->opened_us = clock_mono_us();
    l->running = rc == 0;
    pthread_mutex_unlock(&hub->lock);
    if (rc != 0) {
        link_free(&l);
        return err_set(e, ERR_INVALID, "'%s': %s", url, nng_strerror(rc));
    }
    *out = l;
    nng_stream_dialer_dial(l->dialer, l->dial_aio);
    return 0;
}

/* ---- time ---- */

static bool elapsed(uint64_t now, uint64_t since, uint64_t ms)
{
    return now > since && now - since > ms * 1000;
}

/* Why l is to be closed now, or NULL. The lock is held. */
static const char *overdue(const struct link *l, uint64_t now)
{
    const struct link_limits *lim = &l->hub->limits;

    if (l->phase == PHASE_DIALLING)
        return elapsed(now, l->opened_us, DIAL_MS) ? "no connection in time" : NULL;
    if (l->phase != PHASE_OPEN)
        return NULL;
    if (!l->got_frame && elapsed(now, l->opened_us, lim->first_frame_ms))
        return "no first frame in time";
    if (l->sending && elapsed(now, l->send_since_us, lim->send_ms))
        return "the peer does not read";
    /* while we pause, silence is not the peer's fault; before the first frame, see above */
    if (l->got_frame && !l->paused && elapsed(now, l->heard_us, 3ull * l->heartbeat_ms))
        return "three heartbeats missed";
    return NULL;
}

/*
 * Deadlines and pings. What is due is collected under the lock with a count of running
 * taken, so that no link goes away before its turn.
 */
static void on_tick(void *arg)
{
    struct link_hub *hub = arg;
    struct link *due[64], *silent[64];
    size_t n_due = 0, n_silent = 0;
    nng_duration pause = 1; /* more than a batch is due: soon again */
    uint64_t now;
    bool again;

    if (nng_aio_result(hub->tick) != 0)
        return;
    pthread_mutex_lock(&hub->lock);
    now = clock_mono_us();
    for (struct link *l = hub->links; l; l = l->next) {
        const char *why = overdue(l, now);

        if (why && n_due < ARRAY_LEN(due) && begin_close(l, why))
            due[n_due++] = l;
        else if (!why && l->phase == PHASE_OPEN && l->got_frame && !l->sending &&
                 n_silent < ARRAY_LEN(silent) &&
                 elapsed(now, l->spoke_us, l->heartbeat_ms)) {
            l->running++;
            l->spoke_us = now;
            silent[n_silent++] = l;
        }
    }
    pthread_mutex_unlock(&hub->lock);
    for (size_t i = 0; i < n_due; i++)
        finish_close(due[i]);
    for (size_t i = 0; i < n_silent; i++)
        link_send(silent[i], hub->ping);
    pthread_mutex_lock(&hub->lock);
    for (size_t i = 0; i < n_silent; i++)
        operation_done(silent[i]);
    for (struct link_listener *ls = hub->listeners; ls; ls = ls->next)
        if (ls->stalled && !hub->stopping) {
            ls->stalled = false;
            nng_stream_listener_accept(ls->listener, ls->aio);
        }
    if (n_due < ARRAY_LEN(due) && n_silent < ARRAY_LEN(silent))
        pause = (nng_duration)hub->tick_ms;
    again = !hub->stopping;
    pthread_mutex_unlock(&hub->lock);
    if (again)
        nng_sleep_aio(pause, hub->tick);
}

/* ---- the hub ---- */

/* Several looks at the shortest of the deadlines. */
static unsigned tick_of(const struct link_limits *limits)
{
    unsigned shortest = limits->heartbeat_ms;

    if (limits->first_frame_ms < shortest)
        shortest = limits->first_frame_ms;
    if (limits->send_ms < shortest)
        shortest = limits->send_ms;
    return shortest / 8 < 5 ? 5 : shortest / 8;
}

unsigned link_agree_heartbeat(struct link *l, unsigned theirs_ms)
{
    struct link_hub *hub = l->hub;
    struct link_limits limits = hub->limits;
    unsigned ms = theirs_ms > LINK_HEARTBEAT_MIN_MS ? theirs_ms : LINK_HEARTBEAT_MIN_MS;

    pthread_mutex_lock(&hub->lock);
    if (theirs_ms && ms < l->heartbeat_ms)
        l->heartbeat_ms = ms;
    limits.heartbeat_ms = ms = l->heartbeat_ms;
    if (tick_of(&limits) < hub->tick_ms)
        hub->tick_ms = tick_of(&limits);
    pthread_mutex_unlock(&hub->lock);
    return ms;
}

struct link_hub *link_hub_new(const struct link_limits *limits)
{
    struct link_hub *hub = xcalloc(1, sizeof(*hub));
    Weir__Ping ping = WEIR__PING__INIT;
    Weir__Frame f = WEIR__FRAME__INIT;
    pthread_condattr_t mono;

    f.kind_case = WEIR__FRAME__KIND_PING;
    f.ping = &ping;
    hub->ping = frame_encode(&f);
    hub->limits = *limits;
    hub->ready_tail = &hub->ready;
    pthread_mutex_init(&hub->lock, NULL);
    pthread_condattr_init(&mono);
    pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
    pthread_cond_init(&hub->wake, &mono);
    pthread_condattr_destroy(&mono);
    hub->tick_ms = tick_of(limits);
    if (nng_aio_alloc(&hub->tick, on_tick, hub) != 0)
        WEIR_UNREACHABLE("out of memory");
    nng_sleep_aio((nng_duration)hub->tick_ms, hub->tick);
    return hub;
}

/* Waits for each link's CLOSED and frees it. */
static void drain_links(struct link_hub *hub)
{
    struct link_event ev;

    for (;;) {
        struct link *open = NULL;
        bool none, mine = false;

        pthread_mutex_lock(&hub->lock);
        none = !hub->links;
        for (open = hub->links; open && open->phase == PHASE_CLOSED; open = open->next)
            ;
        if (open)
            mine = begin_close(open, "closing down");
        pthread_mutex_unlock(&hub->lock);
        if (mine)
            finish_close(open);
        if (none)
            return;
        if (!link_hub_wait(hub, clock_mono_us() + 100000, &ev))
            continue;
        if (ev.kind == LINK_FRAME)
            frame_free(&ev.frame);
        if (ev.kind == LINK_CLOSED)
            link_free(&ev.link);
    }
}

void link_hub_free(struct link_hub **hubp)
{
    struct link_hub *hub = *hubp;

    *hubp = NULL;
    if (!hub)
        return;
    pthread_mutex_lock(&hub->lock);
    hub->stopping = true;
    pthread_mutex_unlock(&hub->lock);
    nng_aio_stop(hub->tick);
    for (struct link_listener *ls = hub->listeners; ls; ls = ls->next) {
        nng_stream_listener_close(ls->listener);
        nng_aio_stop(ls->aio);
    }
    drain_links(hub);
    for (struct link_listener *ls = hub->listeners, *next; ls; ls = next) {
        next = ls->next;
        nng_aio_free(ls->aio);
        nng_stream_listener_free(ls->listener);
        free(ls);
    }
    nng_aio_free(hub->tick);
    frame_buf_unref(&hub->ping);
    pthread_cond_destroy(&hub->wake);
    pthread_mutex_destroy(&hub->lock);
    free(hub);
}

/* What l has for the owner; false: nothing (any more). The lock is held. */
static bool next_of(struct link *l, struct link_event *out, bool *resume_out)
{
    out->link = l;
    out->frame = NULL;
    if (!l->accepted && !l->told_open && l->phase == PHASE_OPEN) {
        l->told_open = true;
        out->kind = LINK_OPEN;
    } else if (l->queue_n > 0 && !l->muted) {
        out->kind = LINK_FRAME;
        out->frame = l->queue[l->queue_at];
        l->queue_at = (l->queue_at + 1) % LINK_RECV_QUEUE;
        l->queue_n--;
        if (l->paused && l->phase == PHASE_OPEN && l->queue_n <= LINK_RECV_QUEUE / 2) {
            l->paused = false;
            l->heard_us = clock_mono_us();
            l->running++;
            *resume_out = true;
        }
    } else if (l->phase == PHASE_CLOSED && l->running == 0 && !l->told_closed) {
        l->told_closed = true;
        out->kind = LINK_CLOSED;
        return true; /* the last one: not ready again */
    } else {
        return false;
    }
    if (l->queue_n > 0 || (l->phase == PHASE_CLOSED && l->running == 0))
        make_ready(l);
    return true;
}

bool link_hub_wait(struct link_hub *hub, uint64_t mono_us, struct link_event *out)
{
    bool found = false, resume = false;
    struct timespec until = {.tv_sec = (time_t)(mono_us / 1000000),
                             .tv_nsec = (long)(mono_us % 1000000) * 1000};

    pthread_mutex_lock(&hub->lock);
    for (;;) {
        struct link *l;

        while (!found && (l = take_ready(hub)))
            found = next_of(l, out, &resume);
        if (found || hub->woken)
            break;
        if (mono_us == 0 || pthread_cond_timedwait(&hub->wake, &hub->lock, &until) != 0)
            break;
    }
    if (!found)
        hub->woken = false;
    pthread_mutex_unlock(&hub->lock);
    if (resume)
        receive_more(out->link);
    return found;
}

void link_hub_wake(struct link_hub *hub)
{
    pthread_mutex_lock(&hub->lock);
    hub->woken = true;
    pthread_cond_signal(&hub->wake);
    pthread_mutex_unlock(&hub->lock);
}
