/* worker.c - see worker.h. */
#include "dataplane/worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "common/rand.h"
#include "dataplane/codec/http2.h"
#include "dataplane/codec/pipeline.h"
#include "dataplane/conn.h"
#include "dataplane/listener.h"
#include "dataplane/upstream/upstream.h"
#include "dataplane/xio.h"

static void on_wheel(evutil_socket_t fd, short what, void *arg)
{
    struct worker *w = arg;

    (void)fd;
    (void)what;
    wheel_turn(&w->wheel, worker_now(w));
}

static void ask_wake(void *arg, uint64_t due_us)
{
    struct worker *w = arg;
    uint64_t now = worker_now(w), wait = due_us > now ? due_us - now : 0;
    struct timeval tv = {.tv_sec = (time_t)(wait / 1000000), .tv_usec = (suseconds_t)(wait % 1000000)};

    event_add(&w->wheel_ev, &tv);
}

static void on_live(evutil_socket_t fd, short what, void *arg)
{
    struct worker *w = arg;

    (void)fd;
    (void)what;
    live_adopt(w->live); /* between two callbacks no exchange looks at a configuration */
}

static void begin_drain(struct worker *w)
{
    w->draining = true;
    w->drain_until_us = worker_now(w) + w->set->drain_timeout_us;
    listeners_close(w);
    conns_drain(w);
    pool_close_idle(w);
}

static void take_tls(struct worker *w)
{
    SSL_CTX *ctx;

    pthread_mutex_lock(&w->mail_lock);
    ctx = w->tls_next;
    w->tls_next = NULL;
    pthread_mutex_unlock(&w->mail_lock);
    if (ctx)
        listeners_use_tls(w, ctx);
    SSL_CTX_free(ctx);
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    struct worker *w = arg;
    uint64_t count;
    unsigned order;

    (void)what;
    if (read(fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
        LOG_LIMITED(LOG_ERROR, "eventfd", "errno=%d", errno);
    take_tls(w);
    order = atomic_load(&w->order);
    if (order == ORDER_STOP)
        w->loop_over = true;
    else if (order == ORDER_DRAIN && !w->draining)
        begin_drain(w);
    names_arrived(w);
}

void worker_wake(struct worker *w)
{
    uint64_t one = 1;

    if (write(w->wake_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
        LOG_LIMITED(LOG_ERROR, "eventfd", "errno=%d", errno);
}

void worker_give_tls(struct worker *w, SSL_CTX *ctx)
{
    SSL_CTX *before;

    SSL_CTX_up_ref(ctx);
    pthread_mutex_lock(&w->mail_lock);
    before = w->tls_next;
    w->tls_next = ctx;
    pthread_mutex_unlock(&w->mail_lock);
    SSL_CTX_free(before);
    worker_wake(w);
}

void worker_tell(struct worker *w, enum worker_order order)
{
    atomic_store(&w->order, order);
    worker_wake(w);
}

void worker_ready(struct worker *w, struct xio *io)
{
    if (io->in_ready)
        return;
    io->in_ready = true;
    io->next = NULL;
    *w->ready_end = io;
    w->ready_end = &io->next;
}

/* What becomes ready meanwhile waits for the next turn. */
static void run_ready(struct worker *w)
{
    unsigned n = 0;

    for (const struct xio *io = w->ready; io; io = io->next)
        n++;
    while (n-- > 0 && w->ready) { /* one by one: any of them may leave the list meanwhile */
        struct xio *io = w->ready;

        w->ready = io->next;
        if (!w->ready)
            w->ready_end = &w->ready;
        io->in_ready = false;
        exchange_run(io);
    }
}

static void quiet_point(struct worker *w)
{
    if (w->ready)
        run_ready(w);
    if (w->pipes_dirty)
        pipeline_flush(w);
    if (w->h2_dirty)
        http2_flush(w);
    if (w->dead_uconns)
        uconns_reap(w);
    if (w->dead_conns)
        conns_reap(w);
    if (unlikely(w->draining) && (w->n_conns == 0 || worker_now(w) >= w->drain_until_us))
        w->loop_over = true;
    w->now_us = 0;
}

void worker_turn(struct worker *w, bool wait)
{
    wait = wait && !w->ready && !w->pipes_dirty && !w->h2_dirty;
    event_base_loop(w->base, EVLOOP_ONCE | (wait ? 0 : EVLOOP_NONBLOCK));
    quiet_point(w);
}

static void *loop(void *arg)
{
    struct worker *w = arg;

    live_adopt(w->live);
    while (!w->loop_over) {
        if (w->draining) { /* the end has to be noticed on time */
            struct timeval tick = {.tv_usec = 50000};
            event_base_loopexit(w->base, &tick);
        }
        worker_turn(w, true);
    }
    return NULL;
}

int worker_init(struct worker *w, unsigned index, const struct dp_settings *set, struct live_worker *live,
                struct resolver *resolver, struct err *e)
{
    struct event_config *config = event_config_new();

    memset(w, 0, sizeof(*w));
    w->index = index;
    w->set = set;
    w->live = live;
    w->current = live_current(live);
    w->resolver = resolver;
    w->ready_end = &w->ready;
    w->scratch = xmalloc(SCRATCH_BYTES);
    pthread_mutex_init(&w->mail_lock, NULL);
    rand_bytes(w->id_state, sizeof(w->id_state));
    w->id_state[1] |= 1;
    w->turn_seed = index;
    wheel_init(&w->wheel, clock_mono_us(), ask_wake, w);
    w->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (w->wake_fd < 0)
        return err_sys(e, "eventfd");
    if (config) {
        event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV);
        w->base = event_base_new_with_config(config);
        event_config_free(config);
    }
    if (!w->base)
        return err_set(e, ERR_IO, "no event loop");
    event_assign(&w->wheel_ev, w->base, -1, 0, on_wheel, w);
    event_assign(&w->wake_ev, w->base, w->wake_fd, EV_READ | EV_PERSIST, on_wake, w);
    event_assign(&w->live_ev, w->base, live_worker_fd(live), EV_READ | EV_PERSIST, on_live, w);
    if (event_add(&w->wake_ev, NULL) != 0 || event_add(&w->live_ev, NULL) != 0)
        return err_set(e, ERR_IO, "the event loop takes no event");
    return 0;
}

int worker_start(struct worker *w, struct err *e)
{
    char name[16];
    int rc;

    if (listeners_start(w, e) != 0)
        return -1;
    rc = pthread_create(&w->thread, NULL, loop, w);
    if (rc != 0) {
        errno = rc;
        return err_sys(e, "worker thread");
    }
    snprintf(name, sizeof(name), "weir-worker-%u", w->index % 100);
    pthread_setname_np(w->thread, name); /* for people who look at threads */
    return 0;
}

void worker_join(struct worker *w)
{
    pthread_join(w->thread, NULL);
}

void worker_fini(struct worker *w)
{
    if (!w->base)
        return;
    listeners_close(w);
    conns_fini(w);
    pool_fini(w);
    http2_fini(w);
    xios_fini(w);
    names_fini(w);
    buf_pool_fini(&w->bufs);
    event_del(&w->wheel_ev);
    event_del(&w->wake_ev);
    event_del(&w->live_ev);
    event_base_free(w->base);
    w->base = NULL;
    close(w->wake_fd);
    free(w->scratch);
    free(w->listeners);
    SSL_CTX_free(w->tls_next);
    pthread_mutex_destroy(&w->mail_lock);
}

struct str worker_date(struct worker *w)
{
    /* the wall clock is read through the loop's own time: once per second is enough */
    uint64_t second = worker_now(w) / 1000000u;

    if (unlikely(second != w->date_second)) {
        time_t t = (time_t)(clock_wall_us() / 1000000u);
        struct tm tm;

        gmtime_r(&t, &tm);
        strftime(w->date, sizeof(w->date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
        w->date_second = second;
    }
    return str_n(w->date, 29);
}

/* xoroshiro128++ (Blackman, Vigna), seeded by the kernel */
static uint64_t next_random(struct worker *w)
{
    uint64_t a = w->id_state[0], b = w->id_state[1], sum = a + b, out = (sum << 17 | sum >> 47) + a;

    b ^= a;
    w->id_state[0] = (a << 49 | a >> 15) ^ b ^ b << 21;
    w->id_state[1] = b << 28 | b >> 36;
    return out;
}

void worker_request_id(struct worker *w, char out[33])
{
    str_hex16(next_random(w), out);
    str_hex16(next_random(w), out + 16);
    out[32] = '\0';
}
