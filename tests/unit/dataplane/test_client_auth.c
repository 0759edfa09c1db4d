/*
 * Whose certificates are asked for, by server name and by route; and how a certificate that was
 * shown in a handshake is judged and described.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "dataplane/tls/client_cert.h"
#include "tests/unit/dataplane/records_fixture.h"

enum { ROUTE = 1, CA };

struct pair {
    X509 *cert;
    EVP_PKEY *key;
};

static struct pair ca_a, ca_b, client_a, server;

static void add_extension(X509 *cert, int nid, const char *value)
{
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

    assert_non_null(ext);
    assert_int_equal(X509_add_ext(cert, ext, -1), 1);
    X509_EXTENSION_free(ext);
}

/* signer NULL: signs itself, a CA */
static struct pair make_pair(const char *name, long serial, const struct pair *signer)
{
    struct pair p = {X509_new(), EVP_EC_gen("P-256")};
    X509_NAME *subject = X509_get_subject_name(p.cert);

    X509_set_version(p.cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(p.cert), serial);
    X509_gmtime_adj(X509_getm_notBefore(p.cert), -60);
    X509_gmtime_adj(X509_getm_notAfter(p.cert), 86400);
    X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_UTF8, (const unsigned char *)"Acme, Inc", -1, -1, 0);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(p.cert, signer ? X509_get_subject_name(signer->cert) : subject);
    X509_set_pubkey(p.cert, p.key);
    if (!signer)
        add_extension(p.cert, NID_basic_constraints, "critical,CA:TRUE");
    assert_true(X509_sign(p.cert, signer ? signer->key : p.key, EVP_sha256()) > 0);
    return p;
}

static void pair_fini(struct pair *p)
{
    X509_free(p->cert);
    EVP_PKEY_free(p->key);
}

static int setup(void **state)
{
    ca_a = make_pair("a", 1, NULL);
    ca_b = make_pair("b", 2, NULL);
    client_a = make_pair("alice", 0xabc, &ca_a);
    server = make_pair("server", 3, &ca_a);
    return fix_setup(state);
}

static int teardown(void **state)
{
    pair_fini(&ca_a);
    pair_fini(&ca_b);
    pair_fini(&client_a);
    pair_fini(&server);
    return fix_teardown(state);
}

static char *pem_of(X509 *cert)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text, *copy;
    long len;

    assert_int_equal(PEM_write_bio_X509(bio, cert), 1);
    len = BIO_get_mem_data(bio, &text);
    copy = str_dup(str_n(text, (size_t)len));
    BIO_free(bio);
    return copy;
}

/* ---- in the configuration ---- */

static void put_ca(struct sbuf *out, unsigned n, const struct pair *ca)
{
    char *pem = pem_of(ca->cert);

    fix_put(out, "ca_certificates", fix_id(CA, n), json_pack("{s:s}", "cert", pem));
    free(pem);
}

static struct config *apply(bool full, struct sbuf *records)
{
    static uint64_t version;
    struct config *config = NULL;
    struct err e = {0};

    if (compiler_apply(compiler, full, sbuf_str(records), ++version, &config, &e) != 0)
        fail_msg("compile: %s", err_text(&e));
    sbuf_free(records);
    return config;
}

static void put_route(struct sbuf *out, unsigned n, const char *snis, const char *mode, unsigned ca)
{
    fix_putf(out, "routes", fix_id(ROUTE, n),
             "{'paths': ['/'], 'snis': [%s], 'tls_verify_client': %s, 'tls_client_ca_certificates': ['%s']}", snis,
             mode, fix_text(fix_id(CA, ca)));
}

static int mode_of(const struct client_policy *p)
{
    return p ? (int)p->mode : -1;
}

static void test_names(void **state)
{
    static const struct {
        const char *sni;
        int mode, authorities;
    } cases[] = {
        {"one.test", VERIFY_CLIENT_ON, 1},       {"ONE.test.", VERIFY_CLIENT_ON, 1},
        {"two.test", VERIFY_CLIENT_OPTIONAL, 2}, {"x.w.test", VERIFY_CLIENT_ON, 1},
        {"x.y.w.test", VERIFY_CLIENT_ON, 1},     {"w.test", -1, 0},
        {"pre.example", VERIFY_CLIENT_ON, 1},    {"no.test", VERIFY_CLIENT_OFF, 0},
        {"other", -1, 0},                        {"", -1, 0},
    };
    struct sbuf records = {0};
    struct config *c, *next;
    struct uuid id = fix_id(ROUTE, 1);

    (void)state;
    put_ca(&records, 1, &ca_a);
    put_ca(&records, 2, &ca_b);
    put_route(&records, 1, "'one.test','*.w.test'", "'on'", 1);
    put_route(&records, 2, "'two.test'", "'optional'", 1);
    put_route(&records, 3, "'TWO.test'", "'optional'", 2);
    put_route(&records, 4, "'pre.*'", "'on'", 1);
    put_route(&records, 5, "'no.test'", "'off'", 1);
    put_route(&records, 6, "'other'", "null", 1);
    c = apply(true, &records);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct client_policy *p = config_client_policy(c, str_of(cases[i].sni));

        if (mode_of(p) != cases[i].mode || (p && sk_X509_NAME_num(p->names) != cases[i].authorities))
            fail_msg("'%s': mode %d", cases[i].sni, mode_of(p));
    }
    assert_int_equal(mode_of(config_route_client_policy(c, &id)), VERIFY_CLIENT_ON);
    id = fix_id(ROUTE, 6);
    assert_null(config_route_client_policy(c, &id));

    put_ca(&records, 1, &ca_b); /* of another authority: sessions of before are not resumed */
    next = apply(false, &records);
    assert_memory_not_equal(config_client_policy(c, STR("one.test"))->id,
                            config_client_policy(next, STR("one.test"))->id, CLIENT_POLICY_ID_LEN);
    config_release(compiler, &c);
    for (unsigned i = 1; i <= 5; i++)
        fix_delete(&records, "routes", fix_id(ROUTE, i));
    c = apply(false, &records);
    assert_null(config_client_policy(c, STR("one.test")));
    config_release(compiler, &c);
    config_release(compiler, &next);
}

static void test_an_authority_that_is_missing(void **state)
{
    struct sbuf records = {0};
    struct config *c = NULL;
    struct err e = {0};

    (void)state;
    put_route(&records, 1, "'one.test'", "'on'", 9);
    assert_int_equal(compiler_apply(compiler, true, sbuf_str(&records), 1000, &c, &e), -1);
    assert_string_equal(e.path + strlen("routes.") + UUID_TEXT_LEN, ".tls_client_ca_certificates.1");
    sbuf_free(&records);
}

/* ---- in a handshake ---- */

struct ends {
    SSL *client, *server;
};

static SSL *new_end(const SSL_METHOD *method, const struct pair *p)
{
    SSL_CTX *ctx = SSL_CTX_new(method);
    SSL *ssl;

    if (p)
        assert_true(SSL_CTX_use_certificate(ctx, p->cert) == 1 && SSL_CTX_use_PrivateKey(ctx, p->key) == 1);
    ssl = SSL_new(ctx);
    SSL_CTX_free(ctx);
    return ssl;
}

static struct ends shake_hands(const struct client_policy *asks, const struct pair *shown)
{
    struct ends e = {new_end(TLS_client_method(), shown), new_end(TLS_server_method(), &server)};
    BIO *a, *b;

    if (asks)
        assert_int_equal(client_policy_ask(e.server, asks), 0);
    assert_int_equal(BIO_new_bio_pair(&a, 0, &b, 0), 1);
    SSL_set_bio(e.client, a, a);
    SSL_set_bio(e.server, b, b);
    SSL_set_connect_state(e.client);
    SSL_set_accept_state(e.server);
    for (int i = 0; i < 20; i++) {
        SSL_do_handshake(e.client);
        SSL_do_handshake(e.server);
    }
    assert_true(SSL_is_init_finished(e.server) && SSL_is_init_finished(e.client));
    return e;
}

static void ends_fini(struct ends *e)
{
    SSL_free(e->client);
    SSL_free(e->server);
}

static struct client_policy *policy(enum verify_client mode, const struct pair *ca)
{
    STACK_OF(X509) *all = sk_X509_new_null();
    struct client_policy *p;

    sk_X509_push(all, ca->cert);
    p = client_policy_new(mode, all, 1);
    assert_non_null(p);
    sk_X509_free(all);
    return p;
}

static void test_judging(void **state)
{
    struct client_policy *a = policy(VERIFY_CLIENT_ON, &ca_a), *b = policy(VERIFY_CLIENT_ON, &ca_b);
    struct pair other = make_pair("mallory", 9, &ca_b);
    const struct {
        const struct client_policy *asks;
        const struct pair *shown;
        enum client_cert_state left, by_a, by_b;
    } cases[] = {
        {NULL, &client_a, CLIENT_CERT_NONE, CLIENT_CERT_NONE, CLIENT_CERT_NONE},
        {a, NULL, CLIENT_CERT_NONE, CLIENT_CERT_NONE, CLIENT_CERT_NONE},
        {a, &client_a, CLIENT_CERT_VERIFIED, CLIENT_CERT_VERIFIED, CLIENT_CERT_FAILED},
        {b, &client_a, CLIENT_CERT_FAILED, CLIENT_CERT_VERIFIED, CLIENT_CERT_FAILED},
        {a, &other, CLIENT_CERT_FAILED, CLIENT_CERT_FAILED, CLIENT_CERT_VERIFIED},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct ends e = shake_hands(cases[i].asks, cases[i].shown);

        for (int again = 0; again < 2; again++) /* the second time it is remembered */
            if (tls_client_cert(e.server) != cases[i].left || client_policy_judge(a, e.server) != cases[i].by_a ||
                client_policy_judge(b, e.server) != cases[i].by_b)
                fail_msg("case %zu", i);
        ends_fini(&e);
    }
    assert_int_equal(tls_client_cert(NULL), CLIENT_CERT_NONE);
    pair_fini(&other);
    client_policy_free(&a);
    client_policy_free(&b);
}

static void hex(char *out, const unsigned char *p, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        snprintf(out + 2 * (size_t)i, 3, "%02x", p[i]);
}

static void part_is(const struct ends *e, enum client_cert_part part, const char *wanted)
{
    struct arena a;
    struct str got;

    arena_init(&a, 0, 0);
    got = tls_client_cert_part(e->server, part, &a);
    if (!str_eq(got, str_of(wanted)))
        fail_msg("part %d: " STR_FMT ", not %s", (int)part, STR_ARG(got), wanted);
    arena_fini(&a);
}

static void test_describing(void **state)
{
    struct client_policy *p = policy(VERIFY_CLIENT_OPTIONAL_NO_CA, &ca_a);
    struct ends e = shake_hands(p, &client_a), nobody = shake_hands(p, NULL);
    unsigned char digest[EVP_MAX_MD_SIZE];
    char text[2 * EVP_MAX_MD_SIZE + 1], *pem = pem_of(client_a.cert);
    struct arena a;
    unsigned n;

    (void)state;
    part_is(&e, CLIENT_CERT_SUBJECT, "CN=alice,O=Acme\\, Inc");
    part_is(&e, CLIENT_CERT_ISSUER, "CN=a,O=Acme\\, Inc");
    part_is(&e, CLIENT_CERT_SERIAL, "0ABC");
    X509_digest(client_a.cert, EVP_sha1(), digest, &n);
    hex(text, digest, n);
    part_is(&e, CLIENT_CERT_SHA1, text);
    X509_digest(client_a.cert, EVP_sha256(), digest, &n);
    hex(text, digest, n);
    part_is(&e, CLIENT_CERT_SHA256, text);
    part_is(&e, CLIENT_CERT_PEM, pem);
    arena_init(&a, 0, 0);
    assert_null(tls_client_cert_part(nobody.server, CLIENT_CERT_PEM, &a).p);
    assert_null(tls_client_cert_part(NULL, CLIENT_CERT_SUBJECT, &a).p);
    arena_fini(&a);
    free(pem);
    ends_fini(&e);
    ends_fini(&nobody);
    client_policy_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_an_authority_that_is_missing),
        cmocka_unit_test(test_judging),
        cmocka_unit_test(test_describing),
    };

    return cmocka_run_group_tests_name("dataplane/client_auth", tests, setup, teardown);
}
