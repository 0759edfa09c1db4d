/* link_hub.c - what links have in common: listeners, deadlines, the queue to the owner. */
#include "proto/link_priv.h"

#include <nng/supplemental/util/platform.h>
#include <nng/transport/ipc/ipc.h>
#include <nng/transport/tls/tls.h>
#include <stdlib.h>

#include "common/clock.h"

#define DIAL_MS 5000u

/* ---- listening ---- */

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
            link_insert(l);
        }
        pthread_mutex_unlock(&hub->lock);
        if (l) {
            link_start(l, s);
            link_release(l);
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

        if (why && n_due < ARRAY_LEN(due) && link_begin_close(l, why))
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
        link_finish_close(due[i]);
    for (size_t i = 0; i < n_silent; i++)
        link_send(silent[i], hub->ping);
    pthread_mutex_lock(&hub->lock);
    for (size_t i = 0; i < n_silent; i++)
        link_operation_done(silent[i]);
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
            mine = link_begin_close(open, "closing down");
        pthread_mutex_unlock(&hub->lock);
        if (mine)
            link_finish_close(open);
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

/* ---- events ---- */

/* The lock is held. */
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
        link_make_ready(l);
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
        link_receive_more(out->link);
    return found;
}

void link_hub_wake(struct link_hub *hub)
{
    pthread_mutex_lock(&hub->lock);
    hub->woken = true;
    pthread_cond_signal(&hub->wake);
    pthread_mutex_unlock(&hub->lock);
}
