/* configurator.c - see configurator.h. */
#include "dataplane/config/configurator.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/log.h"

/* What a caller of configurator_apply waits for; on its stack. */
struct job {
    struct job *next;
    bool full, done;
    struct str records;
    struct sbuf *load; /* configurator_load's, or NULL */
    uint64_t version;
    int rc;
    struct err *e;
};

/* A version that nobody uses any more. */
struct returned {
    struct returned *next;
    struct config *config;
};

/* Published, not yet active everywhere: what compiling it took. */
struct pending {
    struct pending *next;
    uint64_t version, compile_us, seq;
};

struct configurator {
    pthread_t thread;
    struct configurator_hooks hooks;
    struct compiler *compiler; /* the thread's */
    struct live *live;

    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t work, done;
    struct job *jobs, **jobs_end;
    struct returned *returned;
    struct pending *pending;
    struct configurator_state state;
    uint64_t last_seq, active_seq; /* workers' news may overtake each other */
    bool stop;
};

/* ---- news from the workers ---- */

static void on_active(void *arg, uint64_t version, uint64_t us)
{
    struct configurator *c = arg;
    struct pending **at, *p = NULL;
    uint64_t compile_us = 0;

    pthread_mutex_lock(&c->mutex);
    for (at = &c->pending; *at && (*at)->version != version; at = &(*at)->next)
        ;
    if ((p = *at)) {
        *at = p->next;
        compile_us = p->compile_us;
        if (p->seq > c->active_seq) {
            c->active_seq = p->seq;
            c->state.active = version;
        }
        free(p);
    }
    pthread_mutex_unlock(&c->mutex);
    if (c->hooks.on_active)
        c->hooks.on_active(c->hooks.arg, version, compile_us, us);
}

static void on_idle(void *arg, struct config *config)
{
    struct configurator *c = arg;
    struct returned *r = xmalloc(sizeof(*r));

    pthread_mutex_lock(&c->mutex);
    *r = (struct returned){c->returned, config};
    c->returned = r;
    pthread_cond_signal(&c->work);
    pthread_mutex_unlock(&c->mutex);
}

/* ---- the thread ---- */

static void run_job(struct configurator *c, struct job *job)
{
    uint64_t start = clock_mono_us();
    struct config *config = NULL;
    struct pending *p;

    if (job->load)
        job->rc = compiler_load(c->compiler, job->load, job->version, &config, job->e);
    else
        job->rc = compiler_apply(c->compiler, job->full, job->records, job->version, &config, job->e);
    if (job->rc == 0) {
        p = xmalloc(sizeof(*p));
        pthread_mutex_lock(&c->mutex);
        *p = (struct pending){c->pending, job->version, clock_mono_us() - start, ++c->last_seq};
        c->pending = p;
        c->state.published = job->version;
        c->state.stats = config_stats(config);
        pthread_mutex_unlock(&c->mutex);
        live_publish(c->live, config);
    }
    pthread_mutex_lock(&c->mutex);
    job->done = true;
    pthread_cond_broadcast(&c->done);
    pthread_mutex_unlock(&c->mutex);
}

static void release_all(struct configurator *c, struct returned *r)
{
    while (r) {
        struct returned *next = r->next;

        config_release(c->compiler, &r->config);
        free(r);
        r = next;
    }
}

static void *run(void *arg)
{
    struct configurator *c = arg;
    bool stop = false;

    while (!stop) {
        struct returned *returned = NULL;
        struct job *job;

        pthread_mutex_lock(&c->mutex);
        while (!c->jobs && !c->returned && !c->stop)
            pthread_cond_wait(&c->work, &c->mutex);
        job = c->jobs;
        if (job && !(c->jobs = job->next))
            c->jobs_end = &c->jobs;
        if (!job) { /* a change is never kept waiting by the freeing of what is past */
            returned = c->returned;
            c->returned = NULL;
            stop = c->stop && !returned;
        }
        pthread_mutex_unlock(&c->mutex);
        if (job)
            run_job(c, job);
        release_all(c, returned);
    }
    live_free(&c->live); /* gives all versions back */
    release_all(c, c->returned);
    return NULL;
}

/* Signals are for the main thread. */
static int thread_start(struct configurator *c, struct err *e)
{
    sigset_t all, before;
    int rc;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&c->thread, NULL, run, c);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0)
        return err_set(e, ERR_IO, "the config thread did not start: %s", strerror(rc));
    pthread_setname_np(c->thread, "weir-config");
    return 0;
}

static void destroy(struct configurator **c)
{
    struct configurator *it = *c;

    compiler_free(&it->compiler);
    while (it->pending) {
        struct pending *p = it->pending;

        it->pending = p->next;
        free(p);
    }
    pthread_mutex_destroy(&it->mutex);
    pthread_cond_destroy(&it->work);
    pthread_cond_destroy(&it->done);
    free(it);
    *c = NULL;
}

int configurator_start(unsigned n_workers, const struct configurator_hooks *hooks,
                       struct configurator **out, struct err *e)
{
    struct configurator *c = xcalloc(1, sizeof(*c));

    if (hooks)
        c->hooks = *hooks;
    c->jobs_end = &c->jobs;
    pthread_mutex_init(&c->mutex, NULL);
    pthread_cond_init(&c->work, NULL);
    pthread_cond_init(&c->done, NULL);
    c->compiler = compiler_new();
    compiler_set_flavor(c->compiler, c->hooks.flavor);
    c->live = live_new(n_workers, &(struct live_hooks){on_active, on_idle, c});
    if (!c->live)
        err_sys(e, "no eventfd for the workers");
    if (!c->live || thread_start(c, e) != 0) {
        live_free(&c->live);
        destroy(&c);
        return -1;
    }
    *out = c;
    return 0;
}

void configurator_stop(struct configurator **c)
{
    struct configurator *it = *c;

    if (!it)
        return;
    pthread_mutex_lock(&it->mutex);
    it->stop = true;
    pthread_cond_signal(&it->work);
    pthread_mutex_unlock(&it->mutex);
    pthread_join(it->thread, NULL);
    destroy(c);
}

struct live *configurator_live(struct configurator *c)
{
    return c->live;
}

static int wait_for(struct configurator *c, struct job *job)
{
    pthread_mutex_lock(&c->mutex);
    *c->jobs_end = job;
    c->jobs_end = &job->next;
    pthread_cond_signal(&c->work);
    while (!job->done)
        pthread_cond_wait(&c->done, &c->mutex);
    pthread_mutex_unlock(&c->mutex);
    return job->rc;
}

int configurator_apply(struct configurator *c, bool full, struct str records, uint64_t version,
                       struct err *e)
{
    return wait_for(c, &(struct job){.full = full, .records = records, .version = version, .e = e});
}

int configurator_load(struct configurator *c, struct sbuf *records, uint64_t version, struct err *e)
{
    return wait_for(c, &(struct job){.load = records, .version = version, .e = e});
}

struct configurator_state configurator_state(struct configurator *c)
{
    struct configurator_state state;

    pthread_mutex_lock(&c->mutex);
    state = c->state;
    pthread_mutex_unlock(&c->mutex);
    return state;
}
