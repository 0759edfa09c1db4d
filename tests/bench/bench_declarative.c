/*
 * bench_declarative.c - what loading a declarative file costs, step by step: one service with
 * 10, 10 000 and 100 000 nested routes (or the numbers given as arguments), as JSON and YAML.
 * libyaml and jansson alone are the floors of what reading through them could cost.
 *
 *     bench_declarative [ROUTES ...]
 *
 * Every line is measured in a process of its own, so that peaks of memory do not add up.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <yaml.h>

#include "common/declarative.h"
#include "dataplane/config/config.h"
#include "proto/records_of.h"

enum step { STEP_LIBYAML, STEP_JANSSON, STEP_READ, STEP_RECORDS, STEP_COMPILE, STEPS };
static const char *const step_names[] = {"libyaml's events alone", "jansson's tree alone",
                                         "as documents", "records_of_file",
                                         "records_of_file + compile"};

/* CPU time of the process: what others do on the machine does not count. */
static double now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static long peak_kb(void)
{
    struct rusage use;

    getrusage(RUSAGE_SELF, &use);
    return use.ru_maxrss;
}

static void check(bool ok, const char *what, const char *why)
{
    if (ok)
        return;
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

static void make_text(struct sbuf *out, bool yaml, unsigned n)
{
    sbuf_adds(out, yaml ? "_format_version: \"3.0\"\nservices:\n- name: up\n"
                          "  url: http://127.0.0.1:9000\n  retries: 0\n  routes:\n"
                        : "{\"_format_version\": \"3.0\", \"services\": [{\"name\": \"up\", "
                          "\"url\": \"http://127.0.0.1:9000\", \"retries\": 0, \"routes\": [");
    for (unsigned i = 0; i < n; i++)
        sbuf_addf(out,
                  yaml ? "  - name: r%06u\n    paths:\n    - /r%06u/\n    strip_path: false\n"
                         "    plugins: []\n    request_buffering: false\n"
                         "    response_buffering: false\n"
                       : "{\"name\": \"r%06u\", \"paths\": [\"/r%06u/\"], \"strip_path\": false, "
                         "\"plugins\": [], \"request_buffering\": false, "
                         "\"response_buffering\": false}, ",
                  i, i);
    if (!yaml) {
        out->len -= n ? 2 : 0;
        sbuf_adds(out, "]}]}");
    }
}

static void parse_events(struct str text)
{
    yaml_parser_t parser;
    yaml_event_t event;
    bool end = false;

    check(yaml_parser_initialize(&parser), "libyaml", "no memory");
    yaml_parser_set_input_string(&parser, (const unsigned char *)text.p, text.len);
    while (!end) {
        check(yaml_parser_parse(&parser, &event), "libyaml", "refused");
        end = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
}

static void read_text(struct str text, struct sbuf *records)
{
    struct decl decl;
    struct decl_errors errors;
    struct state_hash hash;
    struct err e = {0};

    check(decl_read(text, DECL_BY_FIELD, &decl, &errors) == 0, "decl_read", "refused");
    check(records_of_entities(decl.entities, records, &hash, &e) == 0, "records", err_text(&e));
    decl_free(&decl);
}

static void read_file(const char *path, struct sbuf *records)
{
    struct decl_errors errors;

    check(records_of_file(path, records, &errors) == 0, "records_of_file", "refused");
}

static void write_file(const char *path, struct str text)
{
    FILE *f = fopen(path, "we");

    check(f && fwrite(text.p, 1, text.len, f) == text.len && fclose(f) == 0, path, "not written");
}

static void compile(struct sbuf *records, size_t *bytes_out)
{
    struct compiler *compiler = compiler_new();
    struct config *config = NULL;
    struct err e = {0};

    check(compiler_load(compiler, records, 1, &config, &e) == 0, "compile", err_text(&e));
    *bytes_out = config_stats(config).bytes;
    config_release(compiler, &config);
    compiler_free(&compiler);
}

/* Bytes of the compiled configuration, when that is the step. */
static size_t run(enum step step, struct str text, const char *path)
{
    struct sbuf records = {0};
    size_t bytes = 0;
    json_t *tree;

    switch (step) {
    case STEP_LIBYAML: parse_events(text); break;
    case STEP_JANSSON:
        tree = json_loadb(text.p, text.len, 0, NULL);
        check(tree, "jansson", "refused");
        json_decref(tree);
        break;
    case STEP_READ: read_text(text, &records); break;
    case STEP_RECORDS: read_file(path, &records); break;
    case STEP_COMPILE:
        read_file(path, &records);
        compile(&records, &bytes);
        break;
    case STEPS: break;
    }
    sbuf_free(&records);
    return bytes;
}

static void measure(enum step step, bool yaml, unsigned n)
{
    char path[] = "/tmp/bench_declarative.XXXXXX";
    bool from_file = step == STEP_RECORDS || step == STEP_COMPILE;
    struct sbuf text = {0};
    double start, text_mb, ms, peak_mb;
    size_t bytes;
    long before;

    check(close(mkstemp(path)) == 0, path, "not made");
    make_text(&text, yaml, n);
    text_mb = (double)text.len / 1e6;
    write_file(path, sbuf_str(&text));
    if (from_file)
        sbuf_free(&text);
    mallopt(M_MMAP_THRESHOLD, 1 << 20); /* as weir-dp does */
    malloc_trim(0);
    before = peak_kb();
    start = now_ms();
    bytes = run(step, sbuf_str(&text), path);
    ms = now_ms() - start;
    peak_mb = (double)(peak_kb() - before) / 1e3;
    printf("%-25s %s %8u routes  %8.1f ms %6.2f us/route  peak %7.1f MB %6.0f B/route", step_names[step],
           yaml ? "YAML" : "JSON", n, ms, ms * 1e3 / n, peak_mb, peak_mb * 1e6 / n);
    if (bytes)
        printf("  configuration %.0f B/route", (double)bytes / n);
    printf(" (text %.1f MB)\n", text_mb);
    unlink(path);
    sbuf_free(&text);
}

static void measure_apart(enum step step, bool yaml, unsigned n)
{
    int status;
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        measure(step, yaml, n);
        fflush(stdout);
        _exit(0);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
        exit(1);
}

int main(int argc, char **argv)
{
    static const unsigned sizes[] = {10, 10000, 100000};
    size_t n = argc > 1 ? (size_t)argc - 1 : ARRAY_LEN(sizes);

    for (size_t i = 0; i < n; i++)
        for (int yaml = 0; yaml < 2; yaml++)
            for (int step = 0; step < STEPS; step++)
                if (step != STEP_JANSSON || !yaml)
                    measure_apart((enum step)step, yaml,
                                  argc > 1 ? (unsigned)atoi(argv[i + 1]) : sizes[i]);
    return 0;
}
