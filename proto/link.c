/* link.c - one connection: dialling, reading, writing, closing. */
#include "proto/link_priv.h"

#include <arpa/inet.h>
#include <nng/transport/ipc/ipc.h>
#include <nng/transport/tls/tls.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/clock.h"

#define RECV_IDLE_BYTES 4096u /* what a silent connection keeps for reading */

static void on_dialled(void *arg);
static void on_received(void *arg);
static void on_sent(void *arg);

/* ---- links ---- */

void link_make_ready(struct link *l)
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

bool link_begin_close(struct link *l, const char *reason)
{
    if (l->phase == PHASE_CLOSED)
        return false;
    l->phase = PHASE_CLOSED;
    snprintf(l->reason, sizeof(l->reason), "%s", reason);
    l->running++; /* keeps the link until link_finish_close is through */
    return true;
}

struct link *link_new(struct link_hub *hub, bool tls)
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

void link_insert(struct link *l)
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

void link_operation_done(struct link *l)
{
    WEIR_ASSERT(l->running > 0);
    if (--l->running == 0 && l->phase == PHASE_CLOSED)
        link_make_ready(l);
}

void link_release(struct link *l)
{
    pthread_mutex_lock(&l->hub->lock);
    link_operation_done(l);
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
    link_release(l);
}

void link_finish_close(struct link *l)
{
    nng_stream *stream;

    pthread_mutex_lock(&l->hub->lock);
    stream = l->posting == 0 ? l->stream : NULL;
    pthread_mutex_unlock(&l->hub->lock);
    if (l->dialer)
        nng_stream_dialer_close(l->dialer);
    if (stream)
        nng_stream_close(stream);
    link_release(l);
}

static void close_link(struct link *l, const char *reason)
{
    bool mine;

    pthread_mutex_lock(&l->hub->lock);
    mine = link_begin_close(l, reason);
    pthread_mutex_unlock(&l->hub->lock);
    if (mine)
        link_finish_close(l);
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
    struct str body = STR_NONE;
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
            link_make_ready(l);
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

void link_receive_more(struct link *l)
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
            link_operation_done(l);
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
        link_release(l);
        return;
    }
    l->in_len += nng_aio_count(l->recv_aio);
    pthread_mutex_lock(&l->hub->lock);
    l->heard_us = clock_mono_us(); /* a large frame on a slow line takes its time */
    pthread_mutex_unlock(&l->hub->lock);
    link_receive_more(l);
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
        over = l->close_when_sent && link_begin_close(l, l->close_when_sent);
        link_operation_done(l);
    }
    pthread_mutex_unlock(&l->hub->lock);
    frame_buf_unref(&done);
    if (next)
        post_send(l, next, sent); /* l may be gone from here on */
    if (over)
        link_finish_close(l);
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
        mine = link_begin_close(l, reason);
    pthread_mutex_unlock(&l->hub->lock);
    if (mine)
        link_finish_close(l);
}

/* ---- connecting ---- */

void link_start(struct link *l, nng_stream *stream)
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
        link_make_ready(l);
    l->running++;
    pthread_mutex_unlock(&l->hub->lock);
    link_receive_more(l);
}

static void on_dialled(void *arg)
{
    struct link *l = arg;
    int rc = nng_aio_result(l->dial_aio);

    if (rc == 0)
        link_start(l, nng_aio_get_output(l->dial_aio, 0));
    else
        close_link(l, nng_strerror(rc));
    link_release(l);
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
    link_insert(l);
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
