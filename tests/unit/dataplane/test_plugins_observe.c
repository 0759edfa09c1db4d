/* test_plugins_observe.c - metrics over threads, the page's text, the status listener. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "dataplane/observe/metrics.h"
#include "dataplane/observe/status.h"

#define THREADS 4
#define ROUNDS  20000

static char *page(void)
{
    struct sbuf out = {0};

    metrics_page(&out);
    return sbuf_take(&out);
}

static void assert_has(const char *text, const char *line)
{
    if (!strstr(text, line))
        fail_msg("'%s' is not in:\n%s", line, text);
}

static void *count(void *arg)
{
    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        metric_add(M_CONNECTIONS_TOTAL, 1);
        metric_add(M_CONNECTIONS, i % 2 ? -1 : 1);
        metric_add_with(M_LIMIT_HITS, &STR("a\\\"b\nc"), 1);
        metric_observe(M_CONFIG_COMPILE, i % 100);
    }
    return NULL;
}

/* Scrapes run while the threads count. */
static void test_sums_over_threads(void **state)
{
    pthread_t threads[THREADS];
    char *text;

    (void)state;
    metrics_reset();
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count, NULL), 0);
    for (int i = 0; i < 20; i++)
        free(page());
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);

    assert_int_equal(metric_read(M_CONNECTIONS_TOTAL), THREADS * ROUNDS);
    assert_int_equal(metric_read(M_CONNECTIONS), 0);
    assert_int_equal(metric_read_with(M_LIMIT_HITS, &STR("a\\\"b\nc")), THREADS * ROUNDS);
    assert_int_equal(metric_read_with(M_LIMIT_HITS, &STR("other")), 0);
    text = page();
    assert_has(text, "# HELP weir_connections_total Client connections accepted.\n"
                     "# TYPE weir_connections_total counter\nweir_connections_total 80000\n");
    assert_has(text, "weir_connections 0\n");
    assert_has(text, "weir_limit_hits_total{limit=\"a\\\\\\\"b\\nc\"} 80000\n");
    assert_has(text, "# TYPE weir_config_compile_us histogram\n");
    assert_has(text, "weir_config_compile_us_bucket{le=\"50\"} 40800\n"); /* 51 of 100 */
    assert_has(text, "weir_config_compile_us_bucket{le=\"100\"} 80000\n");
    assert_has(text, "weir_config_compile_us_bucket{le=\"+Inf\"} 80000\n");
    assert_has(text, "weir_config_compile_us_count 80000\nweir_config_compile_us_sum 3960000\n");
    free(text);
}

static void test_series_are_bounded(void **state)
{
    char name[32], *text;

    (void)state;
    metrics_reset();
    for (int i = 0; i < METRICS_SERIES_MAX + 100; i++) {
        struct str value = {name, (size_t)snprintf(name, sizeof(name), "limit-%d", i)};
        metric_add_with(M_LIMIT_HITS, &value, 1);
    }
    metric_add_with(M_LIMIT_HITS, &STR("limit-5"), 1); /* one that is there goes on counting */
    assert_int_equal(metric_read_with(M_LIMIT_HITS, &STR("limit-5")), 2);
    text = page();
    assert_has(text, "kong_nginx_metric_errors_total 100\n");
    free(text);
    metrics_reset();
}

static void read_version(struct metrics_scrape *s, void *arg)
{
    metric_reading(s, M_CONFIG_VERSION, NULL, *(double *)arg);
}

static void test_collectors(void **state)
{
    double version = 42;
    char *text;

    (void)state;
    metrics_collector(read_version, &version);
    text = page();
    assert_has(text, "weir_config_version 42\n");
    free(text);
    metrics_collector_remove(read_version);
    text = page();
    assert_null(strstr(text, "weir_config_version"));
    free(text);
}

/* ---- the listener ---- */

static _Atomic(const char *) unready;

static const char *not_ready(void *arg)
{
    (void)arg;
    return atomic_load(&unready);
}

static json_t *report(void *arg)
{
    return json_pack("{s:I}", "version", (json_int_t)(intptr_t)arg);
}

/* One request on a connection of its own; the whole answer. */
static char *ask(uint16_t port, const char *request)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sbuf out = {0};
    char buf[4096];
    ssize_t n;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    assert_int_equal(write(fd, request, strlen(request)), strlen(request));
    while ((n = read(fd, buf, sizeof(buf))) > 0)
        sbuf_add(&out, buf, (size_t)n);
    close(fd);
    return sbuf_take(&out);
}

static void test_status_listener(void **state)
{
    /* clang-format off */
    static const struct {
        const char *request, *line, *text;
        const char *unready;
    } cases[] = {
        {"GET /status/ready HTTP/1.0\r\n\r\n", "HTTP/1.0 200 ", "{\"message\":\"ready\"}", NULL},
        {"GET /status/ready HTTP/1.0\r\n\r\n", "HTTP/1.0 503 ", "{\"message\":\"no configuration\"}", "no configuration"},
        {"GET /status HTTP/1.0\r\n\r\n", "HTTP/1.0 200 ", "\"version\":7", NULL},
        {"GET /status HTTP/1.0\r\n\r\n", "HTTP/1.0 200 ", "\"total_requests\":0", NULL},
        {"GET /metrics?x HTTP/1.0\r\n\r\n", "HTTP/1.0 200 ", "kong_node_info{node_id=\"node-1\",version=\"" WEIR_VERSION "\"} 1\n", NULL},
        {"GET /metrics HTTP/1.0\r\n\r\n", "HTTP/1.0 200 ", "kong_nginx_connections_total{node_id=\"node-1\",subsystem=\"http\",state=\"active\"} 0\n", NULL},
        {"GET /metrics HTTP/1.0\r\n\r\n", "HTTP/1.0 200 ", "Content-Type: text/plain; version=0.0.4", NULL},
        {"HEAD /metrics HTTP/1.0\r\n\r\n", "HTTP/1.0 200 ", "Content-Type: text/plain", NULL},
        {"GET /nothing HTTP/1.0\r\n\r\n", "HTTP/1.0 404 ", "{\"message\":\"Not found\"}", NULL},
        {"GET http://x/status/ready HTTP/1.0\r\n\r\n", "HTTP/1.0 200 ", "ready", NULL},
        {"POST /status HTTP/1.0\r\nContent-Length: 0\r\n\r\n", "HTTP/1.0 405 ", "Allow: GET, HEAD", NULL},
        {"TRACE /status HTTP/1.0\r\n\r\n", "HTTP/1.1 501 ", "", NULL},
        {"\r\n\r\n\r\n", "", "", NULL},
    };
    /* clang-format on */
    struct listen_addr any = {.host = "127.0.0.1"};
    struct status_options o = {.listen = &any,
                               .n_listen = 1,
                               .node_id = STR("node-1"),
                               .not_ready = not_ready,
                               .report = report,
                               .arg = (void *)7};
    struct status *s;
    struct err e = {0};

    (void)state;
    metrics_reset();
    assert_int_equal(status_start(&o, &s, &e), 0);
    assert_int_not_equal(status_port(s, 0), 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *answer;

        atomic_store(&unready, cases[i].unready);
        answer = ask(status_port(s, 0), cases[i].request);
        if (strncmp(answer ? answer : "", cases[i].line, strlen(cases[i].line)) != 0)
            fail_msg("case %zu: %s", i, answer ? answer : "");
        assert_has(answer ? answer : "", cases[i].text);
        free(answer);
    }
    any.port = status_port(s, 0);
    {
        struct status *second;

        assert_int_equal(status_start(&o, &second, &e), -1); /* the port is taken */
        assert_int_equal(e.code, ERR_IO);
        assert_null(second);
        any.ssl = true;
        assert_int_equal(status_start(&o, &second, &e), -1);
        assert_int_equal(e.code, ERR_INVALID);
    }
    status_stop(&s);
    assert_null(s);
    status_stop(&s);
    o.n_listen = 0;
    assert_int_equal(status_start(&o, &s, &e), 0);
    assert_null(s);
}

static int teardown(void **state)
{
    (void)state;
    metrics_reset();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums_over_threads),
        cmocka_unit_test(test_series_are_bounded),
        cmocka_unit_test(test_collectors),
        cmocka_unit_test(test_status_listener),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
