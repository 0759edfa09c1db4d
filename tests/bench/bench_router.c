/*
 * bench_router.c - what routing costs: compiling, memory, one match, one change, at sizes
 * from 10 to 100 000 routes (or the sizes given as arguments).
 *
 *     bench_router [ROUTES ...]
 *     bench_router --instructions [ROUTES ...]    user-space instructions per match, which do not
 *                                                 depend on the machine's load; wants valgrind
 *
 * Instructions are counted by valgrind's callgrind, which this program starts on itself, with
 * collection on inside of counted() alone.
 */
#include <malloc.h>
#include <time.h>

#include "tests/unit/dataplane/records_fixture.h"

#define SHAPES(X)                                                                            \
    X(PATHS, "paths")       /* a path each */                                                \
    X(HOSTS, "hosts")       /* a host each */                                                \
    X(REGEX, "regex")       /* a regular expression each */                                  \
    X(MIXED, "mixed")       /* the three of them */                                          \
    X(HEADERS, "headers")   /* one host and path, a value of one header each */              \
    X(METHOD, "methods")    /* one host and path, a header's value for every four methods */ \
    X(SNIS, "snis")         /* one path, a server name each */                               \
    X(EXPRESSIONS, "exprs") /* expressions: host and path, path and header, name and port */ \
    X(STREAM, "stream")     /* stream routes: server names, ports, networks */

enum shape {
#define X(id, word) SHAPE_##id,
    SHAPES(X)
#undef X
        SHAPE_COUNT
};
static const char *const shape_names[] = {
#define X(id, word) word,
    SHAPES(X)
#undef X
};

#define LOOKUPS 400000u
#define COUNTED 1000u /* lookups that are counted */
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

static void put_stream_route(struct sbuf *out, unsigned i)
{
    char text[64];
    json_t *doc = json_pack("{s[s] s{ss}}", "protocols", i % 3 == 0 ? "tls" : "tcp", "service",
                            "id", fix_text(fix_id(2, i % 100)));

    snprintf(text, sizeof(text), "name-%u.example.com", i);
    if (i % 3 == 0)
        json_object_set_new(doc, "snis", json_pack("[s]", text));
    snprintf(text, sizeof(text), "%u.%u.%u.0/24", 10 + (i >> 16), i >> 8 & 255, i & 255);
    if (i % 3 == 1)
        json_object_set_new(doc, "sources", json_pack("[{ss}]", "ip", text));
    text[strlen(text) - 4] = '7';
    text[strlen(text) - 3] = '\0';
    if (i % 3 == 2)
        json_object_set_new(doc, "destinations",
                            json_pack("[{sssi}]", "ip", text, "port", (int)(i % 5000 + 1)));
    fix_put_raw(out, "routes", fix_id(1, i), doc);
}

/* A third each: by host and path, by path and header, by server name and method. */
static void put_expression(struct sbuf *out, unsigned i, unsigned revision)
{
    char text[200];

    if (i % 3 == 0)
        snprintf(text, sizeof(text),
                 "http.host == \"host-%u.example.com\" && http.path ^= \"/api\"", i);
    else if (i % 3 == 1)
        snprintf(text, sizeof(text),
                 "http.path ^= \"/api\" && any(lower(http.headers.x_tenant)) == \"tenant-%u\"", i);
    else
        snprintf(text, sizeof(text),
                 "tls.sni == \"name-%u.example.com\" && (http.method == \"GET\" || http.method == "
                 "\"PUT\")",
                 i);
    fix_put_raw(out, "routes", fix_id(1, i),
                json_pack("{s[ss] ss si s{ss}}", "protocols", "http", "https", "expression", text,
                          "priority", (int)(revision & 1), "service", "id",
                          fix_text(fix_id(2, i % 100))));
}

static const char *const methods[] = {"GET", "POST", "PUT", "DELETE"};

static void put_route(struct sbuf *out, enum shape shape, unsigned i, unsigned revision)
{
    char host[64] = "api.example.com", path[80] = "/api", value[32];
    json_t *doc;

    if (shape == SHAPE_STREAM) {
        put_stream_route(out, i);
        return;
    }
    if (shape == SHAPE_EXPRESSIONS) {
        put_expression(out, i, revision);
        return;
    }
    doc = json_pack("{s[ss] sb si s{ss}}", "protocols", "http", "https", "strip_path", 1,
                    "regex_priority", (int)(revision & 1), "service", "id",
                    fix_text(fix_id(2, i % 100)));
    snprintf(value, sizeof(value), "tenant-%u", shape == SHAPE_METHOD ? i / 4 : i);
    switch (kind_of(shape, i)) {
    case SHAPE_HOSTS:
        snprintf(host, sizeof(host), "host-%u.example.com", i);
        snprintf(path, sizeof(path), "/v%u", revision % 7);
        json_object_set_new(doc, "hosts", json_pack("[s]", host));
        break;
    case SHAPE_REGEX: snprintf(path, sizeof(path), "~/rx%u/(?<id>\\d+)/items$", i); break;
    case SHAPE_METHOD:
        json_object_set_new(doc, "methods", json_pack("[s]", methods[i % 4]));
        __attribute__((fallthrough));
    case SHAPE_HEADERS:
        json_object_set_new(doc, "hosts", json_pack("[s]", host));
        json_object_set_new(doc, "headers", json_pack("{s[s]}", "X-Tenant", value));
        break;
    case SHAPE_SNIS:
        snprintf(host, sizeof(host), "name-%u.example.com", i);
        json_object_set_new(doc, "snis", json_pack("[s]", host));
        break;
    default: snprintf(path, sizeof(path), "/tenant-%u/api/v1/resource-%u", i % 1000, i); break;
    }
    json_object_set_new(doc, "paths", json_pack("[s]", path));
    fix_put_raw(out, "routes", fix_id(1, i), doc);
}

/* A request for route i, or a connection. */
struct question {
    struct fix_request r;
    struct stream_query stream;
    char text[64];
};

static void ask_stream(struct question *q, unsigned i)
{
    static const unsigned char mapped[16] = {[10] = 0xff, [11] = 0xff};

    memcpy(q->stream.client_ip, mapped, 16);
    memcpy(q->stream.local_ip, mapped, 16);
    q->stream.client_ip[12] = 9;
    q->stream.local_port = (uint16_t)(i % 5000 + 1);
    if (i % 3 == 0) {
        snprintf(q->text, sizeof(q->text), "name-%u.example.com", i);
        q->stream.tls = true;
    } else {
        unsigned char *ip = i % 3 == 1 ? q->stream.client_ip : q->stream.local_ip;

        ip[12] = (unsigned char)(10 + (i >> 16));
        ip[13] = (unsigned char)(i >> 8);
        ip[14] = (unsigned char)i;
        ip[15] = i % 3 == 1 ? 77 : 7;
    }
    q->stream.sni = str_of(q->text);
}

static void ask(struct question *q, enum shape shape, unsigned i)
{
    char host[64] = "other.example.com", path[80] = "/api/users/42";
    const char *method = "GET";

    memset(q, 0, sizeof(*q));
    if (shape == SHAPE_STREAM) {
        ask_stream(q, i);
        return;
    }
    switch (kind_of(shape, i)) {
    case SHAPE_HOSTS:
        snprintf(host, sizeof(host), "host-%u.example.com", i);
        snprintf(path, sizeof(path), "/v0/users/42");
        break;
    case SHAPE_REGEX: snprintf(path, sizeof(path), "/rx%u/12345/items", i); break;
    case SHAPE_HEADERS: snprintf(q->text, sizeof(q->text), "tenant-%u", i); break;
    case SHAPE_METHOD:
        snprintf(q->text, sizeof(q->text), "tenant-%u", i / 4);
        method = methods[i % 4];
        break;
    case SHAPE_EXPRESSIONS:
        if (i % 3 == 0)
            snprintf(host, sizeof(host), "host-%u.example.com", i);
        snprintf(q->text, sizeof(q->text), i % 3 == 1 ? "tenant-%u" : "name-%u.example.com", i);
        break;
    case SHAPE_SNIS: snprintf(q->text, sizeof(q->text), "name-%u.example.com", i); break;
    default: snprintf(path, sizeof(path), "/tenant-%u/api/v1/resource-%u/7", i % 1000, i); break;
    }
    if (shape == SHAPE_HEADERS || shape == SHAPE_METHOD)
        snprintf(host, sizeof(host), "api.example.com");
    fix_request(&q->r, method, path, host);
    fix_header(&q->r, "User-Agent", "bench/1.0");
    fix_header(&q->r, "Accept", "application/json");
    fix_header(&q->r, "Accept-Encoding", "gzip, deflate, br");
    if (shape == SHAPE_HEADERS || shape == SHAPE_METHOD ||
        (shape == SHAPE_EXPRESSIONS && i % 3 == 1))
        fix_header(&q->r, "x-tenant", q->text);
    if (shape == SHAPE_SNIS || (shape == SHAPE_EXPRESSIONS && i % 3 == 2)) {
        q->r.q.tls = true;
        q->r.q.sni = str_of(q->text);
    }
}

/* Pointers into themselves move with them. */
static void settle(struct question *v, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct question *q = &v[i];

        q->r.head.headers.v = q->r.headers;
        q->r.q.req = &q->r.head;
    }
}

/* How many of them find no route. */
static __attribute__((noinline)) unsigned counted(const struct config *config,
                                                  const struct question *v, unsigned n,
                                                  unsigned times, enum shape shape)
{
    struct arena scratch;
    unsigned misses = 0;

    arena_init(&scratch, 0, 0);
    for (unsigned i = 0; i < times; i++) {
        struct stream_match sm;
        struct route_match m;

        if (shape == SHAPE_STREAM)
            misses += !config_match_stream(config, &v[i % n].stream, &sm);
        else
            misses += !config_match(config, &v[i % n].r.q, &scratch, &m);
    }
    arena_fini(&scratch);
    return misses;
}

static struct config *load(enum shape shape, unsigned n, double *compile_ms, double *per_route)
{
    struct config *config = NULL;
    struct sbuf records = {0};
    struct err e = {0};
    uint64_t start, heap;

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
    *compile_ms = (double)(now_ns() - start) / 1e6;
    *per_route = ((double)mallinfo2().uordblks - (double)heap) / n;
    sbuf_free(&records);
    return config;
}

static struct question *questions(enum shape shape, unsigned n, unsigned *n_out)
{
    struct question *v;

    *n_out = n < 1000 ? n : 1000;
    v = calloc(*n_out, sizeof(*v));
    for (unsigned i = 0; i < *n_out; i++)
        ask(&v[i], shape, (unsigned)((uint64_t)i * 7919 % n));
    settle(v, *n_out);
    return v;
}

static void bench(enum shape shape, unsigned n)
{
    double compile_ms, per_route, match_ns;
    struct config *config = load(shape, n, &compile_ms, &per_route), *next;
    unsigned n_questions, misses, changes = n < CHANGES * 10 ? CHANGES : CHANGES / 10;
    struct question *v = questions(shape, n, &n_questions);
    uint64_t start, worst = 0, total = 0;
    struct sbuf delta = {0};
    struct err e = {0};

    start = now_ns();
    misses = counted(config, v, n_questions, LOOKUPS, shape);
    match_ns = (double)(now_ns() - start) / LOOKUPS;
    FIX_CHECK(misses == 0, "%s: %u requests found no route", shape_names[shape], misses);

    for (unsigned i = 0; i < changes; i++) {
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
    printf("%-8s %8u  compile %8.1f ms  %6.0f B/route (stats %6.0f)  match %6.0f ns  change %6.1f "
           "us (worst %.0f)\n",
           shape_names[shape], n, compile_ms, per_route, (double)config_stats(config).bytes / n,
           match_ns, (double)total / changes / 1e3, (double)worst / 1e3);
    fflush(stdout);
    config_release(compiler, &config);
    fix_teardown(NULL);
    sbuf_free(&delta);
    free(v);
}

/* ---- instructions ---- */

/* What runs under callgrind. */
static int count_one(enum shape shape, unsigned n)
{
    double compile_ms, per_route;
    struct config *config = load(shape, n, &compile_ms, &per_route);
    unsigned n_questions;
    struct question *v = questions(shape, n, &n_questions);

    FIX_CHECK(counted(config, v, n_questions, COUNTED, shape) == 0, "requests found no route");
    return 0;
}

static void count(const char *self, enum shape shape, unsigned n)
{
    unsigned long long sum = 0;
    char line[512], *at;
    FILE *f;

    snprintf(line, sizeof(line),
             "valgrind --tool=callgrind --toggle-collect=counted --callgrind-out-file=/dev/null "
             "%s --count %d %u 2>&1",
             self, (int)shape, n);
    f = popen(line, "r");
    FIX_CHECK(f, "cannot start valgrind");
    while (fgets(line, sizeof(line), f))
        if ((at = strstr(line, "Collected : ")))
            sum = strtoull(at + strlen("Collected : "), NULL, 10);
    FIX_CHECK(pclose(f) == 0 && sum, "valgrind failed");
    printf("%-8s %8u  %8.0f instructions per match\n", shape_names[shape], n,
           (double)sum / COUNTED);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static const unsigned sizes[] = {10, 1000, 100000};
    bool instructions = argc > 1 && strcmp(argv[1], "--instructions") == 0;
    int first = instructions ? 2 : 1;

    schema_use_expressions();
    if (argc == 4 && strcmp(argv[1], "--count") == 0)
        return count_one((enum shape)atoi(argv[2]), (unsigned)atoi(argv[3]));
    for (int shape = 0; shape < SHAPE_COUNT; shape++)
        for (size_t i = 0; i < (argc > first ? (size_t)(argc - first) : ARRAY_LEN(sizes)); i++) {
            unsigned n = argc > first ? (unsigned)atoi(argv[first + (int)i]) : sizes[i];

            if (instructions)
                count(argv[0], (enum shape)shape, n);
            else
                bench((enum shape)shape, n);
        }
    return 0;
}
