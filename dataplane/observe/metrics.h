/*
 * metrics.h - what a data plane counts, and the Prometheus page (text format 0.0.4).
 *
 *     metric_add(M_CONNECTIONS, 1);                    one plain add in a cell of this thread
 *     metric_add_with(M_STREAMS, (struct str[]){STR("200")}, 1);
 *
 * The metrics are declared in metrics.def. Every thread that counts has its own cells, made
 * at its first count and kept for the process's life; nobody else writes them, so counting
 * costs no locked instruction and shares no cache line. A scrape sums over the threads.
 *
 * A series is a metric with values for its labels. Each thread keeps a bounded number of
 * them (METRICS_SERIES_MAX): what comes beyond is dropped and counted in
 * kong_nginx_metric_errors_total, so that names under an outsider's control cannot eat the
 * memory. Counting never fails and never blocks (a thread's very first count takes a lock).
 */
#ifndef DATAPLANE_OBSERVE_METRICS_H
#define DATAPLANE_OBSERVE_METRICS_H

#include "common/str.h"

enum metric {
#define METRIC(symbol, name, type, labels, buckets, help) symbol,
#include "dataplane/observe/metrics.def"
#undef METRIC
    METRIC_COUNT
};

#define METRIC_LABELS_MAX  8
#define METRICS_SERIES_MAX 16384 /* per thread */

/* Counters and gauges without labels. Counters only grow. */
void metric_add(enum metric m, int64_t n);
/* Histograms without labels. */
void metric_observe(enum metric m, double value);

/* With one value per label of the metric, in the order of metrics.def. Copied. */
void metric_add_with(enum metric m, const struct str *values, int64_t n);
void metric_observe_with(enum metric m, const struct str *values, double value);

/* The sum over all threads of a metric without labels: for /status and tests. Any thread. */
int64_t metric_read(enum metric m);
/* As metric_read for one series; 0 when there is none. */
int64_t metric_read_with(enum metric m, const struct str *values);

/*
 * Called at every scrape for the metrics of type READING. Up to 16 collectors; registered
 * while starting, before the first scrape. read() calls metric_reading() and does not block.
 */
struct metrics_scrape;
void metrics_collector(void (*read)(struct metrics_scrape *s, void *arg), void *arg);
void metrics_collector_remove(void (*read)(struct metrics_scrape *s,
                                           void *arg)); /* no scrape runs */
void metric_reading(struct metrics_scrape *s, enum metric m, const struct str *values,
                    double value);

/* Appends the whole page. Any thread, one or several at a time. */
void metrics_page(struct sbuf *out);

/* Drops every cell, series and collector. Tests and the end of the process only: no other
 * thread may count during or after it. */
void metrics_reset(void);

#endif
