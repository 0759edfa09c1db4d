/*
 * live.c - see live.h. Everything but the pins' counts is under one mutex: it is taken when
 * a version comes, is adopted, or has ended on a worker, never for a request.
 */
#include "dataplane/live.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/clock.h"

struct live_version {
    struct live_version *next; /* newer */
    struct config *config;     /* NULL: given back */
    uint64_t version, published_us;
    uint64_t seq;
    unsigned holders; /* workers that started requests on it and may still use it */
    bool announced;
    struct config_pin pins[]; /* one per worker */
};

struct live_worker {
    struct config_pin *current; /* the worker's own */
    struct live *live;
    unsigned index;
    int fd;
    uint64_t adopted; /* seq; under the mutex */
};

struct live {
    pthread_mutex_t mutex;
    struct live_hooks hooks;
    struct live_version *oldest, *newest;
    uint64_t last_seq;
    unsigned n_workers;
    struct live_worker workers[];
};

struct live *live_new(unsigned n_workers, const struct live_hooks *hooks)
{
    struct live *l = xcalloc(1, sizeof(*l) + n_workers * sizeof(l->workers[0]));

    pthread_mutex_init(&l->mutex, NULL);
    l->hooks = *hooks;
    for (; l->n_workers < n_workers; l->n_workers++) {
        struct live_worker *w = &l->workers[l->n_workers];

        *w = (struct live_worker){
            .live = l, .index = l->n_workers, .fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
        if (w->fd < 0) {
            live_free(&l);
            return NULL;
        }
    }
    return l;
}

/* ---- what is due after a change, told once the mutex is free ---- */

struct notice {
    struct notice *next;
    struct config *idle; /* NULL: version is active */
    uint64_t version, us;
};

static void notice_add(struct notice ***end, struct config *idle, uint64_t version, uint64_t us)
{
    struct notice *n = xmalloc(sizeof(*n));

    *n = (struct notice){.idle = idle, .version = version, .us = us};
    **end = n;
    *end = &n->next;
}

static uint64_t adopted_by_all(const struct live *l)
{
    uint64_t seq = l->last_seq;

    for (unsigned i = 0; i < l->n_workers; i++)
        if (l->workers[i].adopted < seq)
            seq = l->workers[i].adopted;
    return seq;
}

/* Under the mutex: finds what has become active or idle, drops versions that are both. */
static struct notice *settle(struct live *l)
{
    struct notice *first = NULL, **end = &first;
    uint64_t all = adopted_by_all(l), now = clock_mono_us();
    struct live_version **at = &l->oldest, *v;

    for (v = l->oldest; v && v->seq <= all; v = v->next) {
        if (v->announced)
            continue;
        v->announced = true;
        notice_add(&end, NULL, v->version, now > v->published_us ? now - v->published_us : 0);
    }
    while ((v = *at)) {
        if (v->config && v != l->newest && v->holders == 0) {
            notice_add(&end, v->config, v->version, 0);
            v->config = NULL;
        }
        if (v->announced && !v->config) {
            *at = v->next;
            free(v);
            continue;
        }
        at = &v->next;
    }
    return first;
}

static void tell(const struct live *l, struct notice *n)
{
    while (n) {
        struct notice *next = n->next;

        if (n->idle)
            l->hooks.on_idle(l->hooks.arg, n->idle);
        else
            l->hooks.on_active(l->hooks.arg, n->version, n->us);
        free(n);
        n = next;
    }
}

void live_free(struct live **l)
{
    struct live *it = *l;

    if (!it)
        return;
    while (it->oldest) {
        struct live_version *v = it->oldest;

        it->oldest = v->next;
        if (v->config)
            it->hooks.on_idle(it->hooks.arg, v->config);
        free(v);
    }
    for (unsigned i = 0; i < it->n_workers; i++)
        close(it->workers[i].fd);
    pthread_mutex_destroy(&it->mutex);
    free(it);
    *l = NULL;
}

/* ---- the config thread's side ---- */

void live_publish(struct live *l, struct config *config)
{
    struct live_version *v = xcalloc(1, sizeof(*v) + l->n_workers * sizeof(v->pins[0]));
    struct notice *due;
    uint64_t one = 1;

    v->config = config;
    v->version = config_version(config);
    v->published_us = clock_mono_us();
    for (unsigned i = 0; i < l->n_workers; i++)
        v->pins[i] = (struct config_pin){.config = config, .owner = &l->workers[i], .version = v};
    pthread_mutex_lock(&l->mutex);
    v->seq = ++l->last_seq;
    if (l->newest)
        l->newest->next = v;
    else
        l->oldest = v;
    l->newest = v;
    due = settle(l); /* a version before it that no worker ever took */
    pthread_mutex_unlock(&l->mutex);
    for (unsigned i = 0; i < l->n_workers; i++)
        if (write(l->workers[i].fd, &one, sizeof(one)) < 0)
            continue; /* the counter is full: the worker has news anyway */
    tell(l, due);
}

/* ---- a worker's side ---- */

struct live_worker *live_worker(struct live *l, unsigned index)
{
    WEIR_ASSERT(index < l->n_workers);
    return &l->workers[index];
}

int live_worker_fd(struct live_worker *w)
{
    return w->fd;
}

struct config_pin **live_current(struct live_worker *w)
{
    return &w->current;
}

void live_adopt(struct live_worker *w)
{
    struct config_pin *old = w->current;
    struct notice *due = NULL;
    struct live *l = w->live;
    struct live_version *v;
    uint64_t seen;

    if (read(w->fd, &seen, sizeof(seen)) < 0)
        seen = 0; /* called without news: harmless */
    pthread_mutex_lock(&l->mutex);
    v = l->newest;
    if (v && w->adopted < v->seq) {
        w->adopted = v->seq;
        w->current = &v->pins[w->index];
        w->current->current = true;
        v->holders++;
        if (old) {
            old->current = false;
            if (old->users == 0)
                old->version->holders--;
        }
        due = settle(l);
    }
    pthread_mutex_unlock(&l->mutex);
    tell(l, due);
}

void live_unpin_last(struct config_pin *p)
{
    struct live *l = p->owner->live;
    struct notice *due;

    pthread_mutex_lock(&l->mutex);
    p->version->holders--;
    due = settle(l);
    pthread_mutex_unlock(&l->mutex);
    tell(l, due);
}
