/*
 * bench_store.c - how fast the store writes, and how long one write takes.
 *
 *     bench_store [DIR [ROUTES]]     default: a folder under /tmp, 100000
 *
 * Prints: routes inserted per second in one job; the time of single writes, each waiting for
 * its commit; writes per second when 64 are under way at once; reading all as a snapshot.
 */
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "controlplane/store.h"

#define SINGLE_WRITES 2000
#define GROUP_WRITES  20000
#define GROUP_DEPTH   64

static void die(const char *what, const char *why)
{
    fprintf(stderr, "bench_store: %s: %s\n", what, why ? why : "");
    exit(1);
}

/* A document as the Admin API makes it. */
static json_t *make(const struct entity *ent, json_t *in)
{
    struct violations v = {0};
    json_t *doc;

    if (schema_insert(ent, in, &doc, &v) != 0)
        die(ent->name, violations_message(&v));
    json_decref(in);
    return doc;
}

static json_t *make_route(const char *service_id, unsigned n)
{
    char name[32], host[32], path[32];

    snprintf(name, sizeof(name), "route-%u", n);
    snprintf(host, sizeof(host), "host-%u.test", n / 50);
    snprintf(path, sizeof(path), "/path/%u", n);
    return make(&entity_routes, json_pack("{s:s, s:[s], s:[s], s:[s,s], s:{s:s}}", "name", name,
                                          "hosts", host, "paths", path, "tags", "bench",
                                          n % 2 ? "odd" : "even", "service", "id", service_id));
}

struct insert {
    struct store_job job;
    const struct entity *ent;
    json_t **docs;
    size_t n;
    sem_t *free;
};

static int run_insert(struct store_job *job, struct txn *t, struct problem *p)
{
    struct insert *in = CONTAINER_OF(job, struct insert, job);

    for (size_t i = 0; i < in->n; i++)
        if (txn_insert(t, in->ent, in->docs[i], p) != 0)
            return -1;
    return 0;
}

static void insert(struct store *s, const struct entity *ent, json_t **docs, size_t n)
{
    struct insert in = {.job = {.run = run_insert}, .ent = ent, .docs = docs, .n = n};

    if (store_run(s, &in.job) != 0)
        die("insert", in.job.problem.message);
}

static void on_done(struct store_job *job, bool ok, uint64_t version)
{
    (void)version;
    if (!ok)
        die("insert", job->problem.message);
    sem_post(CONTAINER_OF(job, struct insert, job)->free);
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static void bench_single(struct store *s, const char *service_id, unsigned first)
{
    static uint64_t us[SINGLE_WRITES];

    for (unsigned i = 0; i < SINGLE_WRITES; i++) {
        json_t *doc = make_route(service_id, first + i);
        uint64_t start = clock_mono_us();

        insert(s, &entity_routes, &doc, 1);
        us[i] = clock_mono_us() - start;
        json_decref(doc);
    }
    qsort(us, SINGLE_WRITES, sizeof(us[0]), by_size);
    printf("single writes    p50 %.2f ms, p99 %.2f ms, worst %.2f ms\n",
           (double)us[SINGLE_WRITES / 2] / 1e3, (double)us[SINGLE_WRITES * 99 / 100] / 1e3,
           (double)us[SINGLE_WRITES - 1] / 1e3);
}

static void count_commit(void *arg, uint64_t version)
{
    (void)version;
    ++*(unsigned *)arg; /* on the writer's thread; read when all is done */
}

static void bench_group(struct store *s, const char *service_id, unsigned first)
{
    struct insert *jobs = xcalloc(GROUP_WRITES, sizeof(*jobs));
    json_t **docs = xcalloc(GROUP_WRITES, sizeof(json_t *));
    unsigned commits = 0;
    uint64_t start;
    sem_t slots;

    store_on_commit(s, count_commit, &commits);
    sem_init(&slots, 0, GROUP_DEPTH);
    for (unsigned i = 0; i < GROUP_WRITES; i++)
        docs[i] = make_route(service_id, first + i);
    start = clock_mono_us();
    for (unsigned i = 0; i < GROUP_WRITES; i++) {
        sem_wait(&slots);
        jobs[i] = (struct insert){.job = {.run = run_insert, .done = on_done},
                                  .ent = &entity_routes,
                                  .docs = &docs[i],
                                  .n = 1,
                                  .free = &slots};
        store_submit(s, &jobs[i].job);
    }
    for (unsigned i = 0; i < GROUP_DEPTH; i++)
        sem_wait(&slots);
    printf("%u at once       %.0f writes/s in %u commits\n", GROUP_DEPTH,
           GROUP_WRITES / ((double)(clock_mono_us() - start) / 1e6), commits);
    store_on_commit(s, NULL, NULL);
    for (unsigned i = 0; i < GROUP_WRITES; i++)
        json_decref(docs[i]);
    free(docs);
    free(jobs);
}

/* Of the whole process: what a busy machine does not change. */
static double cpu_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void bench_bulk(struct store *s, const char *service_id, unsigned n)
{
    json_t **docs = xcalloc(n, sizeof(json_t *));
    double seconds, cpu;
    uint64_t start;

    for (unsigned i = 0; i < n; i++)
        docs[i] = make_route(service_id, i);
    cpu = cpu_s();
    start = clock_mono_us();
    insert(s, &entity_routes, docs, n);
    seconds = (double)(clock_mono_us() - start) / 1e6;
    cpu = cpu_s() - cpu;
    printf("one job          %u routes in %.2f s: %.0f/s; %.1f us of CPU each\n", n, seconds,
           n / seconds, cpu * 1e6 / n);
    for (unsigned i = 0; i < n; i++)
        json_decref(docs[i]);
    free(docs);
}

static int count_bytes(void *arg, struct str records, bool last)
{
    (void)last;
    *(size_t *)arg += records.len;
    return 0;
}

static void bench_snapshot(struct store *s)
{
    uint64_t start = clock_mono_us(), version;
    struct state_hash hash;
    struct err e = {0};
    size_t bytes = 0;

    if (store_snapshot(s, 256 * 1024, count_bytes, &bytes, &version, &hash, &e) != 0)
        die("snapshot", err_text(&e));
    printf("snapshot         %.1f MB in %.0f ms\n", (double)bytes / 1e6,
           (double)(clock_mono_us() - start) / 1e3);
}

int main(int argc, char **argv)
{
    char dir[] = "/tmp/bench-store-XXXXXX", file[512];
    unsigned n = argc > 2 ? (unsigned)atoi(argv[2]) : 100000;
    const char *at = argc > 1 ? argv[1] : mkdtemp(dir);
    const char *service_id;
    struct err e = {0};
    struct store *s;
    json_t *service;

    if (!at)
        die("mkdtemp", "cannot create a folder");
    snprintf(file, sizeof(file), "%s/weir.db", at);
    if (store_open(file, &s, &e) != 0)
        die("store_open", err_text(&e));
    service = make(&entity_services, json_pack("{s:s}", "host", "upstream.test"));
    service_id = json_string_value(json_object_get(service, "id"));
    insert(s, &entity_services, &service, 1);
    bench_bulk(s, service_id, n);
    bench_single(s, service_id, n);
    bench_group(s, service_id, n + SINGLE_WRITES);
    bench_snapshot(s);
    json_decref(service);
    store_close(&s);
    printf("left behind      %s\n", file);
    return 0;
}
