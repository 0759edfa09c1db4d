/*
 * configurator.h - the config thread: the only one that compiles, publishes and releases.
 *
 * sync (or the declarative mode) gives it records; it compiles them, hands the result to the
 * workers (live.h) and takes back what nobody uses any more.
 */
#ifndef DATAPLANE_CONFIG_CONFIGURATOR_H
#define DATAPLANE_CONFIG_CONFIGURATOR_H

#include "dataplane/live.h"

struct configurator;

/* on_active(arg, version, compile_us, spread_us): from a worker's thread; must not block. */
struct configurator_hooks {
    void (*on_active)(void *arg, uint64_t version, uint64_t compile_us, uint64_t spread_us);
    void *arg;
    enum router_flavor flavor;
};

int configurator_start(unsigned n_workers, const struct configurator_hooks *hooks, struct configurator **out,
                       struct err *e) WEIR_MUSTCHECK;
void configurator_stop(struct configurator **c); /* after the workers have stopped */

struct live *configurator_live(struct configurator *c);

/*
 * Compiles and publishes; blocks until that is done (not until it is active). Any thread.
 * -1 with e: refused, the newest configuration stays.
 */
int configurator_apply(struct configurator *c, bool full, struct str records, uint64_t version,
                       struct err *e) WEIR_MUSTCHECK;

/* As configurator_apply from nothing, of records that are freed as soon as they have been read. */
int configurator_load(struct configurator *c, struct sbuf *records, uint64_t version,
                      struct err *e) WEIR_MUSTCHECK;

/* The newest published version, the one active on all workers, and counts. */
struct configurator_state {
    uint64_t published, active;
    struct config_stats stats;
};
struct configurator_state configurator_state(struct configurator *c);

#endif
