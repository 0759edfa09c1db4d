/*
 * bench_router.c - what routing costs: compiling, memory, one match, one change, at sizes
 * from 10 to 100 000 routes (or the sizes given as arguments).
 *
 *     bench_router [ROUTES ...]
 */
#include <malloc.h>
#include <time.h>

#include "tests/unit/dataplane/records_fixture.h"

enum shape { SHAPE_PATHS, SHAPE_HOSTS, SHAPE_REGEX, SHAPE_MIXED, SHAPES };
static const char *const shape_names[] = {"paths", "hosts", "regex", "mixed"};

#define LOOKUPS 400000u
#define CHANGES 2000u

/* CPU time of this thread: what others do on the machine does not count. */
static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static enum shape kind_of(enum shape shape, unsigned i)
{
    return shape == SHAPE_MIXED ? (enum shape)(i % 10 == 0 ? SHAPE_REGEX
                                               : i % 2     ? SHAPE_HOSTS
                                                           : SHAPE_PATHS)
                                : shape;
}

static void put_route(struct sbuf *out, enum shape shape, unsigned i, unsigned revision)
{
    char host[64], path[80];
    json_t *doc = json_pack("{s[ss] sb si s{ss}}", "protocols", "http", "https", "strip_path", 1,
                            "regex_priority", (int)(revision & 1), "service", "id",
                            fix_text(fix_id(2, i % 100)));

    snprintf(host, sizeof(host), "host-%u.example.com", i);
    switch (kind_of(shape, i)) {
    case SHAPE_HOSTS:
        snprintf(path, sizeof(path), "/v%u", revision % 7);
        json_object_set_new(doc, "hosts", json_pack("[s]", host));
        break;
    case SHAPE_REGEX: snprintf(path, sizeof(path), "~/rx%u/(?<id>\\d+)/items$", i); break;
    default: snprintf(path, sizeof(path), "/tenant-%u/api/v1/resource-%u", i % 1000, i); break;
    }
    json_object_set_new(doc, "paths", json_pack("[s]", path));
    fix_put_raw(out, "routes", fix_id(1, i), doc);
}

static void ask(struct fix_request *r, enum shape shape, unsigned i)
{
    char host[64] = "other.example.com", path[80];

    switch (kind_of(shape, i)) {
    case SHAPE_HOSTS:
        snprintf(host, sizeof(host), "host-%u.example.com", i);
        snprintf(path, sizeof(path), "/v0/users/42");
        break;
    case SHAPE_REGEX: snprintf(path, sizeof(path), "/rx%u/12345/items", i); break;
    default: snprintf(path, sizeof(path), "/tenant-%u/api/v1/resource-%u/7", i % 1000, i); break;
    }
    fix_request(r, "GET", path, host);
}

static void bench(enum shape shape, unsigned n)
{
    struct config *config = NULL, *next;
    struct sbuf records = {0}, delta = {0};
    unsigned n_requests = n < 1000 ? n : 1000, misses = 0;
    struct fix_request *requests = calloc(n_requests, sizeof(*requests));
    struct arena scratch;
    uint64_t start, compile, worst = 0, total = 0, heap;
    struct err e = {0};
    double match_ns, per_route;

    fix_setup(NULL);
    for (unsigned i = 0; i < 100; i++)
        fix_put_raw(&records, "services", fix_id(2, i),
                    json_pack("{ss si ss sb}", "host", "upstream", "port", 80, "protocol", "http",
                              "enabled", 1));
    for (unsigned i = 0; i < n; i++)
        put_route(&records, shape, i, 0);
    heap = mallinfo2().uordblks;
    start = now_ns();
    FIX_CHECK(compiler_apply(compiler, true, sbuf_str(&records), 1, &config, &e) == 0, "%s",
              err_text(&e));
    compile = now_ns() - start;
    per_route = (double)(mallinfo2().uordblks - heap) / n;

    for (unsigned i = 0; i < n_requests; i++)
        ask(&requests[i], shape, (unsigned)((uint64_t)i * 7919 % n));
    arena_init(&scratch, 0, 0);
    start = now_ns();
    for (unsigned i = 0; i < LOOKUPS; i++) {
        struct route_match m;

        misses += !config_match(config, &requests[i % n_requests].q, &scratch, &m);
    }
    match_ns = (double)(now_ns() - start) / LOOKUPS;
    FIX_CHECK(misses == 0, "%u requests found no route", misses);

    for (unsigned i = 0; i < CHANGES; i++) {
        sbuf_clear(&delta);
        put_route(&delta, shape, (unsigned)((uint64_t)i * 104729 % n), i + 1);
        start = now_ns();
        FIX_CHECK(compiler_apply(compiler, false, sbuf_str(&delta), i + 2, &next, &e) == 0, "%s",
                  err_text(&e));
        config_release(compiler, &config);
        start = now_ns() - start;
        config = next;
        total += start;
        worst = start > worst ? start : worst;
    }
    printf("%-6s %8u  compile %8.1f ms  %6.0f B/route (stats %6.0f)  match %6.0f ns  change %6.1f "
           "us (worst %.0f)\n",
           shape_names[shape], n, (double)compile / 1e6, per_route,
           (double)config_stats(config).bytes / n, match_ns, (double)total / CHANGES / 1e3,
           (double)worst / 1e3);
    config_release(compiler, &config);
    fix_teardown(NULL);
    arena_fini(&scratch);
    sbuf_free(&records);
    sbuf_free(&delta);
    free(requests);
}

int main(int argc, char **argv)
{
    static const unsigned sizes[] = {10, 1000, 100000};

    for (int shape = 0; shape < SHAPES; shape++)
        for (size_t i = 0; i < (argc > 1 ? (size_t)argc - 1 : ARRAY_LEN(sizes)); i++)
            bench((enum shape)shape, argc > 1 ? (unsigned)atoi(argv[i + 1]) : sizes[i]);
    return 0;
}
