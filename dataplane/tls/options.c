/* options.c - see options.h. */
#include "dataplane/tls/options.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/tls/pem.h"

#define VERIFY_DEPTH 1
#define DAY_S        86400

static struct tls_options options = {
    .ssl_options = SSL_OP_NO_TLSv1 | SSL_OP_NO_TLSv1_1,
    .min_version = TLS1_2_VERSION,
    .session_timeout_s = DAY_S,
    .tickets = true,
    .client_depth = VERIFY_DEPTH,
    .verify_depth = VERIFY_DEPTH,
};
const struct tls_options *const tls_options = &options;

static const char *trusted_files; /* "", or the setting */
static X509_STORE *trusted;

/* ---- cipher suites ---- */

/* https://wiki.mozilla.org/Security/Server_Side_TLS 5.6, as kong.conf names and extends them */
static const struct {
    const char *protocols, *ciphers, *suites;
    bool prefer_server;
} cipher_suites[] = {
    [CIPHERS_MODERN] = {"TLSv1.3", NULL, NULL, false},
    [CIPHERS_INTERMEDIATE] = {"TLSv1.2 TLSv1.3",
                              "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
                              "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
                              "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
                              "DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384",
                              NULL, false},
    [CIPHERS_OLD] = {"TLSv1 TLSv1.1 TLSv1.2 TLSv1.3",
                     "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
                     "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
                     "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
                     "DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384:DHE-RSA-CHACHA20-POLY1305:"
                     "ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA256:ECDHE-ECDSA-AES128-SHA:"
                     "ECDHE-RSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA384:ECDHE-RSA-AES256-SHA384:"
                     "ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA:DHE-RSA-AES128-SHA256:"
                     "DHE-RSA-AES256-SHA256:AES128-GCM-SHA256:AES256-GCM-SHA384:AES128-SHA256:"
                     "AES256-SHA256:AES128-SHA:AES256-SHA:DES-CBC3-SHA:@SECLEVEL=0",
                     NULL, true},
    [CIPHERS_FIPS] = {"TLSv1.2 TLSv1.3", "TLSv1.2+FIPS:kRSA+FIPS:!eNULL:!aNULL",
                      "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256", true},
    [CIPHERS_CUSTOM] = {"TLSv1.2 TLSv1.3", NULL, NULL, true},
};

/* Options that turn the others off; the lowest one becomes the least version. */
static int parse_protocols(const char *text, struct err *e)
{
    static const struct {
        const char *word;
        int version;
        uint64_t off;
    } known[] = {
        {"TLSv1", TLS1_VERSION, SSL_OP_NO_TLSv1},
        {"TLSv1.1", TLS1_1_VERSION, SSL_OP_NO_TLSv1_1},
        {"TLSv1.2", TLS1_2_VERSION, SSL_OP_NO_TLSv1_2},
        {"TLSv1.3", TLS1_3_VERSION, SSL_OP_NO_TLSv1_3},
    };
    struct str rest = str_trim(str_of(text)), word;
    uint64_t on = 0;

    options.ssl_options = 0;
    options.min_version = 0;
    while (rest.len && str_next(&rest, ' ', &word)) {
        size_t i = 0;

        if (!word.len)
            continue;
        while (i < ARRAY_LEN(known) && !str_ieq(word, str_of(known[i].word)))
            i++;
        if (i == ARRAY_LEN(known)) {
            err_set(e, ERR_INVALID, "'" STR_FMT "': expected TLSv1, TLSv1.1, TLSv1.2 and TLSv1.3, with spaces between",
                    STR_ARG(word));
            return err_in(e, "ssl_protocols");
        }
        on |= known[i].off;
    }
    for (size_t i = ARRAY_LEN(known); i-- > 0;) {
        if (on & known[i].off)
            options.min_version = known[i].version;
        else
            options.ssl_options |= known[i].off;
    }
    return 0;
}

/* A list that OpenSSL does not understand is noticed now. */
static int try_ciphers(struct err *e)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    int rc = 0;

    ERR_clear_error();
    if (!ctx || (options.ciphers && SSL_CTX_set_cipher_list(ctx, options.ciphers) != 1) ||
        (options.suites && SSL_CTX_set_ciphersuites(ctx, options.suites) != 1)) {
        tls_err(e, "not a list of ciphers");
        rc = err_in(e, "ssl_ciphers");
    }
    SSL_CTX_free(ctx);
    return rc;
}

static int choose_ciphers(const struct dp_settings *set, struct err *e)
{
    int suite = set->ssl_cipher_suite;
    bool prefer = cipher_suites[suite].prefer_server;

    if (*set->ssl_ciphers && suite != CIPHERS_CUSTOM) {
        err_set(e, ERR_INVALID, "expected ssl_cipher_suite = custom along with it");
        return err_in(e, "ssl_ciphers");
    }
    if (parse_protocols(*set->ssl_protocols ? set->ssl_protocols : cipher_suites[suite].protocols, e) != 0)
        return -1;
    options.ciphers = *set->ssl_ciphers ? set->ssl_ciphers : cipher_suites[suite].ciphers;
    options.suites = cipher_suites[suite].suites;
    if (set->ssl_prefer_server_ciphers != PREFER_AS_SUITE)
        prefer = set->ssl_prefer_server_ciphers == PREFER_ON;
    if (prefer)
        options.ssl_options |= SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA;
    return try_ciphers(e);
}

/* ---- Diffie-Hellman ---- */

static EVP_PKEY *named_dh(const char *name)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "DH", NULL);
    char group[16]; /* the longest is ffdhe8192 */
    OSSL_PARAM params[2];
    EVP_PKEY *dh = NULL;

    snprintf(group, sizeof(group), "%s", name);
    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0);
    params[1] = OSSL_PARAM_construct_end();
    if (!ctx || EVP_PKEY_paramgen_init(ctx) != 1 || EVP_PKEY_CTX_set_params(ctx, params) != 1 ||
        EVP_PKEY_generate(ctx, &dh) != 1)
        dh = NULL;
    EVP_PKEY_CTX_free(ctx);
    return dh;
}

static int read_dh(const char *value, struct err *e)
{
    BIO *bio;

    ERR_clear_error();
    if (strncmp(value, "ffdhe", 5) == 0) {
        options.dh = named_dh(value);
    } else if ((bio = BIO_new_file(value, "r"))) {
        options.dh = PEM_read_bio_Parameters(bio, NULL);
        BIO_free(bio);
    }
    if (options.dh)
        return 0;
    tls_err(e, "expected a PEM file of DH parameters, or the name of a group like ffdhe2048");
    return err_in(e, "ssl_dhparam");
}

/* ---- authorities ---- */

static int add_file(X509_STORE *store, const char *path, struct err *e)
{
    struct sbuf pem = {0};
    STACK_OF(X509) *all = NULL;
    int rc = pem_read_file(path, &pem, e);

    if (rc == 0 && !(all = pem_certificates(sbuf_str(&pem), true, e)))
        rc = err_in(e, path);
    for (int i = 0; rc == 0 && i < sk_X509_num(all); i++)
        if (X509_STORE_add_cert(store, sk_X509_value(all, i)) != 1)
            rc = tls_err(e, path);
    sk_X509_pop_free(all, X509_free);
    sbuf_free(&pem);
    return rc;
}

/* "system" and PEM files, commas between them. */
static X509_STORE *read_trusted(const char *list, struct err *e)
{
    X509_STORE *store = X509_STORE_new();
    struct str rest = str_trim(str_of(list)), piece;
    int rc = store ? 0 : tls_err(e, "no store for authorities");

    while (rc == 0 && rest.len && str_next(&rest, ',', &piece)) {
        char *path = str_dup(str_trim(piece));

        if (strcmp(path, "system") != 0)
            rc = add_file(store, path, e);
        else if (X509_STORE_set_default_paths(store) != 1)
            rc = tls_err(e, "the system's authorities");
        free(path);
    }
    if (rc == 0)
        return store;
    X509_STORE_free(store);
    err_in(e, "lua_ssl_trusted_certificate");
    return NULL;
}

X509_STORE *tls_trusted(struct err *e)
{
    if (!trusted)
        trusted = read_trusted(trusted_files ? trusted_files : "system", e);
    return trusted;
}

static int read_client_policy(const struct dp_settings *set, struct err *e)
{
    struct sbuf pem = {0};
    STACK_OF(X509) *all = NULL;
    int rc = 0;

    if (set->ssl_verify_client == VERIFY_CLIENT_OFF)
        return 0;
    if (*set->ssl_client_certificate) {
        rc = pem_read_file(set->ssl_client_certificate, &pem, e);
        if (rc == 0 && !(all = pem_certificates(sbuf_str(&pem), true, e)))
            rc = err_in(e, set->ssl_client_certificate);
    } else if (set->ssl_verify_client != VERIFY_CLIENT_OPTIONAL_NO_CA) {
        rc = err_set(e, ERR_INVALID, "expected a PEM file: ssl_verify_client needs authorities");
    }
    if (rc != 0)
        err_in(e, "ssl_client_certificate");
    else if (!(options.client_policy = client_policy_new((enum verify_client)set->ssl_verify_client, all,
                                                         (int)set->ssl_verify_depth)))
        rc = err_set(e, ERR_INTERNAL, "no memory for ssl_client_certificate");
    sk_X509_pop_free(all, X509_free);
    sbuf_free(&pem);
    return rc;
}

/* ---- what upstreams are shown ---- */

static int read_client_pair(const struct dp_settings *set, struct err *e)
{
    SSL_CTX *trial;
    int rc;

    if (!set->client_ssl)
        return 0;
    if (!*set->client_ssl_cert || !*set->client_ssl_cert_key)
        return err_set(e, ERR_INVALID, "client_ssl: expected client_ssl_cert and client_ssl_cert_key along with it");
    if (pem_read_file(set->client_ssl_cert, &options.cert, e) != 0)
        return err_in(e, "client_ssl_cert");
    if (pem_read_file(set->client_ssl_cert_key, &options.key, e) != 0)
        return err_in(e, "client_ssl_cert_key");
    trial = SSL_CTX_new(TLS_client_method());
    rc = trial ? pem_use_pair(trial, sbuf_str(&options.cert), sbuf_str(&options.key), e)
               : tls_err(e, "no TLS context");
    SSL_CTX_free(trial);
    return rc == 0 ? 0 : err_in(e, "client_ssl");
}

int tls_options_init(const struct dp_settings *set, struct err *e)
{
    if (choose_ciphers(set, e) != 0)
        return -1;
    options.ssl_options |= set->ssl_ktls ? SSL_OP_ENABLE_KTLS : 0;
    options.tickets = set->ssl_session_tickets;
    options.session_timeout_s = (long)(set->ssl_session_timeout_us / 1000000u);
    options.client_depth = (int)set->ssl_verify_depth;
    options.verify = set->tls_certificate_verify;
    options.verify_depth = (int)set->lua_ssl_verify_depth;
    if (*set->ssl_dhparam && read_dh(set->ssl_dhparam, e) != 0)
        return -1;
    trusted_files = set->lua_ssl_trusted_certificate;
    if (strcmp(trusted_files, "system") != 0 && !tls_trusted(e))
        return -1;
    return read_client_policy(set, e) != 0 || read_client_pair(set, e) != 0 ? -1 : 0;
}

void tls_options_fini(void)
{
    EVP_PKEY_free(options.dh);
    options.dh = NULL;
    client_policy_free(&options.client_policy);
    X509_STORE_free(trusted);
    trusted = NULL;
    if (options.key.p)
        OPENSSL_cleanse(options.key.p, options.key.len);
    sbuf_free(&options.cert);
    sbuf_free(&options.key);
}
