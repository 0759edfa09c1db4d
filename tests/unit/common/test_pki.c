/* The cluster's certificates: what is made, what is never overwritten, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "common/pki.h"
#include "common/str.h"

static char dir[64];

static const char *path(const char *name)
{
    static char b[160];

    snprintf(b, sizeof(b), "%s/%s", dir, name);
    return b;
}

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/weir-pki-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    char cmd[128];

    (void)state;
    snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
    return system(cmd);
}

static X509 *read_cert(const char *name)
{
    FILE *f = fopen(path(name), "r");
    X509 *cert;

    assert_non_null(f);
    cert = PEM_read_X509(f, NULL, NULL, NULL);
    fclose(f);
    assert_non_null(cert);
    return cert;
}

/* Chain, purpose and the URI. */
static void check_node(const char *file, const char *uri, int purpose, int not_purpose)
{
    X509 *ca = read_cert("ca.crt"), *cert = read_cert(file);
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, 0);

    assert_int_equal(X509_verify(cert, X509_get0_pubkey(ca)), 1);
    assert_int_equal(X509_check_purpose(ca, X509_PURPOSE_SSL_CLIENT, 1), 1);
    assert_int_equal(X509_check_purpose(cert, X509_PURPOSE_SSL_CLIENT, 1), 0);
    assert_int_equal(X509_check_purpose(cert, purpose, 0), 1);
    if (not_purpose)
        assert_int_equal(X509_check_purpose(cert, not_purpose, 0), 0);
    assert_int_equal(name->type, GEN_URI);
    assert_true(str_eq(str_n((const char *)ASN1_STRING_get0_data(name->d.uniformResourceIdentifier),
                             (size_t)ASN1_STRING_length(name->d.uniformResourceIdentifier)),
                       str_of(uri)));
    GENERAL_NAMES_free(names);
    X509_free(cert);
    X509_free(ca);
}

static void cluster_and_one_more(void **state)
{
    static const char *const files[] = {"ca.crt", "ca.key", "cp.crt", "cp.key", "dp.crt",
                                        "dp.key", "edge-7.crt", "edge-7.key"};
    struct pki_request req = {.cluster = "shop"};
    struct err e = {0};
    struct stat st;

    (void)state;
    assert_int_equal(pki_make_cluster(dir, &req, &e), 0);
    assert_int_equal(pki_issue(dir, PKI_DP, "edge-7", 30, &e), 0);
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        assert_int_equal(stat(path(files[i]), &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    check_node("cp.crt", "weir://cluster/shop/cp/cp", X509_PURPOSE_SSL_SERVER, 0);
    check_node("dp.crt", "weir://cluster/shop/dp/dp", X509_PURPOSE_SSL_CLIENT,
               X509_PURPOSE_SSL_SERVER);
    check_node("edge-7.crt", "weir://cluster/shop/dp/edge-7", X509_PURPOSE_SSL_CLIENT,
               X509_PURPOSE_SSL_SERVER);
}

static void nothing_is_overwritten(void **state)
{
    struct pki_request req = {0};
    struct err e = {0};
    FILE *f;

    (void)state;
    f = fopen(path("dp.key"), "w"); /* one of six is enough to stop, and no other is made */
    assert_non_null(f);
    fclose(f);
    assert_int_equal(pki_make_cluster(dir, &req, &e), -1);
    assert_int_equal(e.code, ERR_CONFLICT);
    assert_non_null(strstr(e.message, "dp.key"));
    assert_int_not_equal(access(path("ca.key"), F_OK), 0);
    unlink(path("dp.key"));
    assert_int_equal(pki_make_cluster(dir, &req, &e), 0);
    assert_int_equal(pki_make_cluster(dir, &req, &e), -1);
    assert_int_equal(pki_issue(dir, PKI_DP, "dp", 0, &e), -1);
    assert_int_equal(e.code, ERR_CONFLICT);
}

/* A disk that is full halfway leaves nothing that is in the way of the next try. */
static void half_a_file_goes(void **state)
{
    struct rlimit full = {64, RLIM_INFINITY}, before;
    struct pki_request req = {0};
    struct err e = {0};

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    full.rlim_max = before.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &full), 0);
    assert_int_equal(pki_make_cluster(dir, &req, &e), -1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(e.code, ERR_IO);
    assert_int_equal(pki_make_cluster(dir, &req, &e), 0);
}

static void bad_requests_are_named(void **state)
{
    static const char *const names[] = {"", "a/b", "..", "a b", ".hidden", "ä"};
    struct err e = {0};
    FILE *f;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct pki_request req = {.cluster = names[i]};

        if (pki_make_cluster(dir, &req, &e) == 0 || e.code != ERR_INVALID)
            fail_msg("cluster '%s' was taken", names[i]);
        if (pki_issue(dir, PKI_CP, names[i], 0, &e) == 0 || e.code != ERR_INVALID)
            fail_msg("node '%s' was taken", names[i]);
    }
    assert_int_equal(pki_issue(dir, PKI_CP, "x", 0, &e), -1); /* no CA here */
    assert_int_equal(e.code, ERR_IO);
    f = fopen(path("ca.crt"), "w");
    assert_non_null(f);
    fputs("not a certificate", f);
    fclose(f);
    assert_int_equal(pki_issue(dir, PKI_CP, "x", 0, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(cluster_and_one_more, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_is_overwritten, setup, teardown),
        cmocka_unit_test_setup_teardown(half_a_file_goes, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_requests_are_named, setup, teardown),
    };

    return cmocka_run_group_tests_name("pki", tests, NULL, NULL);
}
