/*
 * live.h - hands new configurations to the workers and takes old ones back, under traffic.
 *
 *   config thread                worker
 *   live_publish(v2) --eventfd-->  live_adopt(): current = pin of v2
 *                   <--queue-----  "adopted v2" (all workers: on_active)
 *                   <--queue-----  "released v1" when its last request here has ended
 *   config_release(v1) after all workers
 *
 * A pin counts a worker's exchanges on one version with a plain integer: only that worker
 * touches it. A request costs one increment and one decrement, no atomic, no lock.
 */
#ifndef DATAPLANE_LIVE_H
#define DATAPLANE_LIVE_H

#include "dataplane/config/config.h"

struct live;
struct live_worker;

struct config_pin {
    const struct config *config;
    uint32_t users;            /* exchanges of this worker that use it */
    bool current;              /* new exchanges of this worker start with it */
    struct live_worker *owner;
    struct live_version *version;
};

/*
 * on_active(arg, version, us): every worker has adopted it, us after live_publish.
 * on_idle(arg, config): nobody uses it any more: release it. Both are called from the last
 * worker's thread and must only pass the news on (they do not block).
 */
struct live_hooks {
    void (*on_active)(void *arg, uint64_t version, uint64_t us);
    void (*on_idle)(void *arg, struct config *config);
    void *arg;
};
struct live *live_new(unsigned n_workers, const struct live_hooks *hooks);
void live_free(struct live **l); /* workers have stopped */

/* Takes config. Config thread. Returns at once. */
void live_publish(struct live *l, struct config *config);

/* ---- one worker's side ---- */

struct live_worker *live_worker(struct live *l, unsigned index);
int live_worker_fd(struct live_worker *w);   /* eventfd: readable when live_adopt is due */
void live_adopt(struct live_worker *w);      /* in an event of its own: no exchange is on the stack */

/* Where the worker's current pin stands; it is NULL before the first configuration. */
struct config_pin **live_current(struct live_worker *w);

static inline struct config_pin *live_pin(struct config_pin **current)
{
    struct config_pin *p = *current;
    if (p)
        p->users++;
    return p;
}

void live_unpin_last(struct config_pin *p);

static inline void live_unpin(struct config_pin *p)
{
    if (--p->users == 0 && !p->current)
        live_unpin_last(p);
}

#endif
