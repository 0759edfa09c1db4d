/*
 * counters.h - exact request counters of one node, shared by all workers.
 *
 * A counter belongs to a key and a calendar period (UTC): it starts at zero in every new
 * second, minute ... year. Counting is lock-free: one compare-and-swap on one word that holds
 * both the window and the count, so a new window and its first count are one step and no
 * count is ever lost or given twice. Only a key that is seen for the first time takes a lock,
 * that of its stripe of the table.
 *
 * The table never grows. A place is given to another key once its window has passed; when all
 * places near a key are in use, counters_take says so and the caller decides.
 *
 * Keys are 61 bits of SipHash under a secret of this process: nobody outside can aim at a
 * collision, and among a million live keys the chance that any two meet is below 1 in 10^6.
 */
#ifndef DATAPLANE_PLUGINS_COUNTERS_H
#define DATAPLANE_PLUGINS_COUNTERS_H

#include "common/str.h"

enum period {
    PERIOD_SECOND,
    PERIOD_MINUTE,
    PERIOD_HOUR,
    PERIOD_DAY,
    PERIOD_MONTH,
    PERIOD_YEAR,
    PERIOD_COUNT
};

/* A period's windows around one moment. */
struct window {
    uint64_t index;   /* number of the window; grows by 1 from one to the next */
    uint64_t start_s; /* wall clock */
};
struct window window_at(enum period p, uint64_t wall_us);

struct counters;

/* capacity: counters that fit, 16 bytes each; rounded up to a power of two. */
struct counters *counters_new(size_t capacity);
void counters_free(struct counters **c);

/*
 * The key of these parts, up to 5, all but the last below 64 KiB; the same parts in the same
 * order give the same key.
 */
uint64_t counters_key(const struct counters *c, const struct str *parts, size_t n);

/* How much has been taken in this window. */
uint64_t counters_read(struct counters *c, uint64_t key, enum period p, uint64_t index);

/*
 * Takes one when fewer than limit are taken, in one step. *before_out: how many had been.
 * A window older than the counter's newest counts in the newest.
 */
enum take { TAKE_OK, TAKE_OVER, TAKE_FULL };
enum take counters_take(struct counters *c, uint64_t key, enum period p, uint64_t index,
                        double limit, uint64_t *before_out);

/* Gives back one that was taken in this window, unless the window has passed. */
void counters_give_back(struct counters *c, uint64_t key, enum period p, uint64_t index);

struct counters_stats {
    uint64_t used;    /* places that hold a key, its window passed or not */
    uint64_t dropped; /* TAKE_FULL so far */
};
struct counters_stats counters_stats(const struct counters *c);

#endif
