/* test_records_of.c - declarative documents as records: whole, and from a file piece by piece. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proto/records_of.h"

/* A route and plugins that refer to what stands behind them. */
static const char document[] =
    "_format_version: '3.0'\n"
    "plugins:\n"
    "- name: cors\n"
    "  route: r2\n"
    "- name: rate-limiting\n"
    "  consumer: bob\n"
    "  config: {minute: 5}\n"
    "routes:\n"
    "- name: r2\n"
    "  service: s2\n"
    "  paths: [/b]\n"
    "consumers:\n"
    "- username: bob\n"
    "  keyauth_credentials:\n"
    "  - key: secret\n"
    "    id: 6ba7b810-9dad-41d1-80b4-00c04fd430c8\n"
    "services:\n"
    "- name: s1\n"
    "  url: http://127.0.0.1:9000/\n"
    "  routes:\n"
    "  - name: r1\n"
    "    paths: [/a]\n"
    "    plugins:\n"
    "    - name: key-auth\n"
    "- name: s2\n"
    "  url: http://127.0.0.1:9001/\n";

static void write_text(char *path, const char *text)
{
    FILE *f = fdopen(mkstemp(path), "w");

    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

/* Type, key and length of the next record; bodies carry the time they were made. */
static bool next(struct str *rest, char *out, size_t size)
{
    char key[UUID_TEXT_LEN + 1];
    struct record r;
    struct err e;

    if (record_next(rest, &r, &e) != 1)
        return false;
    uuid_format(&r.key, key);
    snprintf(out, size, "%d %s %zu", r.type, key, r.body.len);
    return true;
}

static void test_same_records(void **state)
{
    char path[] = "/tmp/test_records_of.XXXXXX", a[80], b[80];
    struct sbuf whole = {0}, pieces = {0};
    struct str rest_whole, rest_pieces;
    struct decl_errors errors;
    struct state_hash hash;
    struct decl decl;
    struct err e = {0};
    size_t n = 0;

    (void)state;
    write_text(path, document);
    if (records_of_file(path, &pieces, &errors) != 0)
        fail_msg("%s", errors.v[0].text);
    assert_int_equal(decl_read(str_of(document), DECL_BY_FIELD, &decl, &errors), 0);
    assert_int_equal(records_of_entities(decl.entities, &whole, &hash, &e), 0);
    rest_whole = sbuf_str(&whole);
    rest_pieces = sbuf_str(&pieces);
    while (next(&rest_whole, a, sizeof(a))) {
        assert_true(next(&rest_pieces, b, sizeof(b)));
        assert_string_equal(a, b);
        n++;
    }
    assert_false(next(&rest_pieces, b, sizeof(b)));
    assert_int_equal(n, 9);
    decl_free(&decl);
    sbuf_free(&whole);
    sbuf_free(&pieces);
    unlink(path);
}

/* What is wrong only as a record is said as all else is: where it stands. */
static void test_too_large(void **state)
{
    char path[] = "/tmp/test_records_of.XXXXXX", want[200];
    struct sbuf text = {0}, records = {0};
    struct decl_errors errors;

    (void)state;
    sbuf_adds(&text, "_format_version: '3.0'\nservices:\n- name: s1\n  host: h\n  tags:\n");
    for (unsigned i = 0; i < 100000; i++)
        sbuf_addf(&text, "  - tag-%06u\n", i);
    write_text(path, text.p);
    assert_int_equal(records_of_file(path, &records, &errors), -1);
    assert_int_equal(records.len, 0);
    assert_int_equal(errors.n, 1);
    snprintf(want, sizeof(want), "%s:3: services.1: expected at most %u bytes in one entity", path,
             RECORD_BODY_MAX);
    assert_string_equal(errors.v[0].text, want);
    decl_errors_free(&errors);
    sbuf_free(&text);
    sbuf_free(&records);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_records),
        cmocka_unit_test(test_too_large),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
