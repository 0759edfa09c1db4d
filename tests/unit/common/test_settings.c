/* test_settings.c - settings from flags, environment and file; durations, sizes, listeners. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/settings.h"

struct conf {
    const char *proxy_listen, *name;
    int64_t workers;
    bool strip;
    uint64_t drain_us, body_bytes;
    int level;
};

static int check_lower(const char *value, struct err *e)
{
    for (; *value; value++)
        if (*value >= 'A' && *value <= 'Z')
            return err_set(e, ERR_INVALID, "expected lower case");
    return 0;
}

static const char *const levels[] = {"debug", "info", "warn", NULL};
static const struct setting table[] = {
    {"proxy_listen", ST_TEXT, offsetof(struct conf, proxy_listen), "0.0.0.0:8000", .doc = "Where."},
    {"name", ST_TEXT, offsetof(struct conf, name), NULL, .check = check_lower, .doc = "Who."},
    {"workers", ST_INT, offsetof(struct conf, workers), "2", .min = 1, .max = 64,
     .doc = "How many."},
    {"strip", ST_BOOL, offsetof(struct conf, strip), NULL, .doc = "Whether."},
    {"drain_timeout", ST_DURATION, offsetof(struct conf, drain_us), "10s", .min = 1000, .max = 60e6,
     .doc = "How long."},
    {"max_body", ST_SIZE, offsetof(struct conf, body_bytes), "8m", .doc = "How much."},
    {"log_level", ST_ENUM, offsetof(struct conf, level), "info", .words = levels,
     .doc = "How loud."},
    SETTING_END,
};
static const struct settings_source source = {"weir-test", "a test", table};

#define ARGS_MAX 8

/* Loads with these arguments; out holds the values. Operands are allowed when asked for. */
static int load(const char *const *args, bool operands, struct conf *out, int *argc_out,
                char **argv_out, struct err *e)
{
    static char copies[ARGS_MAX][256];
    int argc = 1;

    argv_out[0] = copies[0];
    for (; argc < ARGS_MAX && args[argc - 1]; argc++) {
        snprintf(copies[argc], sizeof(copies[argc]), "%s", args[argc - 1]);
        argv_out[argc] = copies[argc];
    }
    argv_out[argc] = NULL;
    *argc_out = argc;
    err_clear(e);
    return settings_load(&source, argc_out, argv_out, operands, out, e);
}

static char file_path[] = "/tmp/test_settings.XXXXXX";

static void write_file(const char *text)
{
    FILE *f = fopen(file_path, "w");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void test_order_of_sources(void **state)
{
    char *argv[ARGS_MAX + 1];
    struct conf c;
    struct err e;
    int argc;

    (void)state;
    write_file("# all of them\n"
               "proxy_listen = 1.1.1.1:1 # the file's\r\n"
               "workers=3\n"
               "name = 'a\\#b'\n"
               "\n"
               "drain-timeout = 200ms");
    setenv("WEIR_WORKERS", "4", 1);
    setenv("WEIR_LOG_LEVEL", "WARN", 1);
    setenv("WEIR_MAX_BODY", "", 1);
    assert_int_equal(load((const char *[]){"--config", file_path, "--workers=5", "--strip", NULL},
                          false, &c, &argc, argv, &e),
                     0);
    assert_string_equal(c.proxy_listen, "1.1.1.1:1");
    assert_string_equal(c.name, "a#b");
    assert_int_equal(c.workers, 5);
    assert_true(c.strip);
    assert_int_equal(c.drain_us, 200000);
    assert_int_equal(c.body_bytes, 8 << 20);
    assert_int_equal(c.level, 2);

    assert_int_equal(
        load((const char *[]){"--config", file_path, NULL}, false, &c, &argc, argv, &e), 0);
    assert_int_equal(c.workers, 4);
    assert_false(c.strip);

    unsetenv("WEIR_WORKERS");
    unsetenv("WEIR_LOG_LEVEL");
    unsetenv("WEIR_MAX_BODY");
    setenv("WEIR_CONFIG", file_path, 1);
    assert_int_equal(load((const char *[]){NULL}, false, &c, &argc, argv, &e), 0);
    assert_int_equal(c.workers, 3);
    assert_int_equal(c.level, 1);
    unsetenv("WEIR_CONFIG");
}

static void test_flag_forms(void **state)
{
    char *argv[ARGS_MAX + 1];
    struct conf c;
    struct err e;
    int argc;

    (void)state;
    assert_int_equal(load((const char *[]){"--proxy_listen", "a:1", "--name=", "--strip=off",
                                           "--workers", "1", "--workers=9", NULL},
                          false, &c, &argc, argv, &e),
                     0);
    assert_string_equal(c.proxy_listen, "a:1");
    assert_string_equal(c.name, "");
    assert_false(c.strip);
    assert_int_equal(c.workers, 9);

    assert_int_equal(load((const char *[]){"one", "--workers", "3", "--", "--two", NULL}, true, &c,
                          &argc, argv, &e),
                     0);
    assert_int_equal(argc, 3);
    assert_string_equal(argv[1], "one");
    assert_string_equal(argv[2], "--two");
    assert_null(argv[3]);
    assert_int_equal(c.workers, 3);
}

static void test_errors(void **state)
{
    static const struct {
        const char *args[4], *file, *variable, *value,
            *want; /* want: the whole text, % is the file */
    } cases[] = {
        {.args = {"--proxy-lisen", "x"},
         .want = "--proxy-lisen: unknown setting, did you mean --proxy-listen?; weir-test --help "
                 "lists them all"},
        {.args = {"--nothing-like-it"},
         .want = "--nothing-like-it: unknown setting; weir-test --help lists them all"},
        {.args = {"--workers"}, .want = "--workers: expected a value behind it"},
        {.args = {"stray"},
         .want = "stray: unexpected argument; weir-test --help lists the settings"},
        {.args = {"-w"}, .want = "-w: unexpected argument; weir-test --help lists the settings"},
        {.args = {"--workers", "many"},
         .want = "workers = 'many' (--workers): expected a whole number"},
        {.args = {"--workers=65"},
         .want = "workers = '65' (--workers): expected a value from 1 to 64"},
        {.variable = "WEIR_STRIP",
         .value = "maybe",
         .want = "strip = 'maybe' (WEIR_STRIP): expected on or off"},
        {.variable = "WEIR_LOG_LEVEL",
         .value = "loud",
         .want = "log_level = 'loud' (WEIR_LOG_LEVEL): expected one of: debug, info, warn"},
        {.args = {"--name", "Bob"}, .want = "name = 'Bob' (--name): expected lower case"},
        {.args = {"--config", "%"},
         .file = "\nworkers = 2\ndrain_timeout = 5 weeks\n",
         .want = "drain_timeout = '5 weeks' (%:3): expected a duration like 5s, 200ms, 1m or 2h"},
        {.args = {"--config", "%"},
         .file = "drain_timeout = 2m",
         .want = "drain_timeout = '2m' (%:1): expected a value from 1ms to 1m"},
        {.args = {"--config", "%"},
         .file = "max_body = 99999999999g",
         .want = "max_body = '99999999999g' (%:1): expected a size like 64k, 1m or 2g"},
        {.args = {"--config", "%"},
         .file = "#\nworker = 1\n",
         .want = "%:2: 'worker': unknown setting, did you mean workers?; weir-test --help lists "
                 "them all"},
        {.args = {"--config", "%"},
         .file = "workers = 1\n\nworkers = 2\n",
         .want = "%:3: 'workers' is set twice, first at %:1"},
        {.args = {"--config", "%", "--workers=3"},
         .file = "workers = 1\nworkers = 2\n",
         .want = "%:2: 'workers' is set twice, first at %:1"},
        {.args = {"--config", "%"},
         .file = "workers\n",
         .want = "%:1: expected NAME = VALUE or a # comment"},
        {.args = {"--config", "/nowhere/weir.conf"},
         .want = "cannot read /nowhere/weir.conf (from --config or WEIR_CONFIG): No such file or "
                 "directory"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *args[ARGS_MAX] = {NULL};
        char *argv[ARGS_MAX + 1], want[1024] = "";
        struct conf c;
        struct err e;
        int argc;

        if (cases[i].file)
            write_file(cases[i].file);
        if (cases[i].variable)
            setenv(cases[i].variable, cases[i].value, 1);
        for (size_t j = 0; j < 4 && cases[i].args[j]; j++)
            args[j] = strcmp(cases[i].args[j], "%") == 0 ? file_path : cases[i].args[j];
        for (const char *p = cases[i].want; *p; p++)
            snprintf(want + strlen(want), sizeof(want) - strlen(want), *p == '%' ? "%s" : "%.1s",
                     *p == '%' ? file_path : p);
        assert_int_equal(load(args, false, &c, &argc, argv, &e), -1);
        assert_string_equal(err_text(&e), want);
        if (cases[i].variable)
            unsetenv(cases[i].variable);
    }
}

/* A value that loses is not looked at, so a flag can repair a broken environment. */
static void test_overridden_value_is_not_judged(void **state)
{
    char *argv[ARGS_MAX + 1];
    struct conf c;
    struct err e;
    int argc;

    (void)state;
    setenv("WEIR_WORKERS", "broken", 1);
    assert_int_equal(load((const char *[]){"--workers=7", NULL}, false, &c, &argc, argv, &e), 0);
    assert_int_equal(c.workers, 7);
    unsetenv("WEIR_WORKERS");
}

static void test_units(void **state)
{
    static const struct {
        const char *text;
        bool size, ok;
        uint64_t want;
    } cases[] = {
        {"5", false, true, 5000000},     {"5s", false, true, 5000000},
        {"200ms", false, true, 200000},  {"1m", false, true, 60000000},
        {"2h", false, true, 7200000000}, {"1D", false, true, 86400000000},
        {"10us", false, true, 10},       {"0", false, true, 0},
        {"", false, false, 0},           {"-1s", false, false, 0},
        {"s", false, false, 0},          {"5 s", false, false, 0},
        {"1.5s", false, false, 0},       {"99999999999999999d", false, false, 0},
        {"64k", true, true, 65536},      {"1M", true, true, 1048576},
        {"2g", true, true, 2147483648},  {"100", true, true, 100},
        {"1kk", true, false, 0},         {"18446744073709551616", true, false, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t got = 0;
        struct err e;
        int rc = (cases[i].size ? size_parse : duration_parse)(cases[i].text, &got, &e);

        assert_int_equal(rc, cases[i].ok ? 0 : -1);
        if (cases[i].ok)
            assert_int_equal(got, cases[i].want);
    }
}

static void test_listeners(void **state)
{
    static const struct {
        const char *text;
        size_t n;
        struct listen_addr want[2];
    } good[] = {
        {"off", 0, {{""}}},
        {"127.0.0.1:8000", 1, {{"127.0.0.1", 8000}}},
        {" 0.0.0.0:8000 reuseport backlog=16384, 0.0.0.0:8443 http2 ssl reuseport  backlog=16384",
         2,
         {{"0.0.0.0", 8000, .reuseport = true, .backlog = 16384},
          {"0.0.0.0", 8443, .http2 = true, .ssl = true, .reuseport = true, .backlog = 16384}}},
        {"[::1]:0 proxy_protocol,localhost:65535 deferred bind",
         2,
         {{"::1", 0, .proxy_protocol = true}, {"localhost", 65535}}},
    };
    static const struct {
        const char *text, *want;
    } bad[] = {
        {"8000", "'8000' is not an address, expected ADDRESS:PORT like 0.0.0.0:8000 or [::]:8000"},
        {"::1:8000",
         "'::1:8000' is not an address, expected ADDRESS:PORT like 0.0.0.0:8000 or [::]:8000"},
        {"[::1]8000",
         "'[::1]8000' is not an address, expected ADDRESS:PORT like 0.0.0.0:8000 or [::]:8000"},
        {"[]:1", "'[]:1' is not an address, expected ADDRESS:PORT like 0.0.0.0:8000 or [::]:8000"},
        {":80", "':80' is not an address, expected ADDRESS:PORT like 0.0.0.0:8000 or [::]:8000"},
        {"a:65536",
         "'a:65536' is not an address, expected ADDRESS:PORT like 0.0.0.0:8000 or [::]:8000"},
        {"", "an address is empty, expected ADDRESS:PORT or off"},
        {"a:1,", "an address is empty, expected ADDRESS:PORT or off"},
        {"a:1 backlog=0", "'backlog=0': expected backlog=N, N from 1 to 1000000"},
        {"a:1 tls",
         "unknown option 'tls', expected ssl, http2, proxy_protocol, reuseport, deferred, bind "
         "or backlog=N"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct listen_addr *got;
        struct err e;
        size_t n;

        assert_int_equal(listen_parse(good[i].text, &got, &n, &e), 0);
        assert_int_equal(n, good[i].n);
        for (size_t j = 0; j < n; j++) {
            assert_string_equal(got[j].host, good[i].want[j].host);
            assert_int_equal(got[j].port, good[i].want[j].port);
            assert_int_equal(got[j].ssl, good[i].want[j].ssl);
            assert_int_equal(got[j].http2, good[i].want[j].http2);
            assert_int_equal(got[j].proxy_protocol, good[i].want[j].proxy_protocol);
            assert_int_equal(got[j].reuseport, good[i].want[j].reuseport);
            assert_int_equal(got[j].backlog, good[i].want[j].backlog);
        }
        free(got);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct listen_addr *got;
        struct err e;
        size_t n;

        assert_int_equal(listen_parse(bad[i].text, &got, &n, &e), -1);
        assert_string_equal(e.message, bad[i].want);
        assert_null(got);
    }
}

static void test_docs_name_every_setting(void **state)
{
    struct sbuf out = {0};

    (void)state;
    settings_print_docs(&source, &out);
    for (const struct setting *s = table; s->name; s++)
        assert_non_null(strstr(out.p, s->name));
    assert_non_null(
        strstr(out.p, "| `max_body` | `--max-body SIZE` | `WEIR_MAX_BODY` | `8m` | How much. |"));
    sbuf_free(&out);
}

static int make_file(void **state)
{
    int fd = mkstemp(file_path);

    (void)state;
    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(file_path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_of_sources),
        cmocka_unit_test(test_flag_forms),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_overridden_value_is_not_judged),
        cmocka_unit_test(test_units),
        cmocka_unit_test(test_listeners),
        cmocka_unit_test(test_docs_name_every_setting),
    };

    return cmocka_run_group_tests_name("settings", tests, make_file, remove_file);
}
