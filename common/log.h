/*
 * log.h - one line per event on stderr (or a file): time, level, event, key=value pairs.
 *
 *     LOG(LOG_WARN, "upstream_retry", "attempt=%d peer=%s", n, name);
 *
 * The level is checked before anything is formatted. Values never hold secrets. Threads:
 * any; a line is one write(2). LOG_LIMITED lets one line per second and place through and
 * says on the next one how many it held back: for events that a flood can repeat.
 */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include <stdatomic.h>

#include "common/err.h"

/* level, word in kong.conf's order */
#define LOG_LEVELS(X)                                                                              \
    X(LOG_DEBUG, "debug")                                                                          \
    X(LOG_INFO, "info")                                                                            \
    X(LOG_NOTICE, "notice")                                                                        \
    X(LOG_WARN, "warn")                                                                            \
    X(LOG_ERROR, "error")                                                                          \
    X(LOG_CRIT, "crit")

enum log_level {
#define X(level, word) level,
    LOG_LEVELS(X)
#undef X
};

extern _Atomic int log_threshold; /* lowest level that is written; LOG_NOTICE at start */

/* "warn" to LOG_WARN; false for an unknown word. */
bool log_level_parse(const char *word, enum log_level *out);
const char *log_level_word(enum log_level level);

/* path NULL means stderr. Opens for appending; call again to reopen after a rotation. */
int log_open(const char *path, struct err *e) WEIR_MUSTCHECK;

void log_write(enum log_level level, const char *event, const char *fmt, ...) WEIR_PRINTF(3, 4);

/* At most one per second for this place; *held_out is how many were held back before. */
struct log_limit {
    _Atomic uint64_t next_us;
    _Atomic unsigned held;
};
bool log_limit_pass(struct log_limit *limit, unsigned *held_out);

#define LOG_ON(level) (atomic_load_explicit(&log_threshold, memory_order_relaxed) <= (int)(level))
#define LOG(level, event, ...)                                                                     \
    do {                                                                                           \
        if (LOG_ON(level))                                                                         \
            log_write(level, event, __VA_ARGS__);                                                  \
    } while (0)
#define LOG_LIMITED(level, event, fmt, ...)                                                        \
    do {                                                                                           \
        static struct log_limit limit_;                                                            \
        unsigned held_;                                                                            \
        if (LOG_ON(level) && log_limit_pass(&limit_, &held_))                                      \
            log_write(level, event, "held_back=%u " fmt, held_, ##__VA_ARGS__);                    \
    } while (0)

#endif
