/* tls.c - see tls.h. */
#include "dataplane/tls/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/log.h"
#include "common/rand.h"
#include "dataplane/config/config.h"
#include "dataplane/conn.h"
#include "dataplane/upstream/upstream.h"
#include "dataplane/worker.h"

#define SELF_SIGNED_DAYS 3650

/* err_set with OpenSSL's own reason behind it. */
static int ssl_err(struct err *e, const char *what)
{
    unsigned long code = ERR_get_error();
    char reason[160] = "no reason given";

    if (code)
        ERR_error_string_n(code, reason, sizeof(reason));
    ERR_clear_error();
    return err_set(e, ERR_INVALID, "%s: %s", what, reason);
}

/* ---- PEM ---- */

static int use_chain(SSL_CTX *ctx, struct str pem, struct err *e)
{
    BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.len);
    X509 *cert = bio ? PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL) : NULL;
    int rc = -1;

    ERR_clear_error();
    if (!cert || SSL_CTX_use_certificate(ctx, cert) != 1) {
        ssl_err(e, "the certificate is not usable PEM");
        goto out;
    }
    SSL_CTX_clear_chain_certs(ctx);
    for (;;) {
        X509 *more = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        if (!more)
            break;
        if (SSL_CTX_add0_chain_cert(ctx, more) != 1) {
            X509_free(more);
            ssl_err(e, "the certificate chain is not usable");
            goto out;
        }
    }
    ERR_clear_error(); /* "no start line": the end of the file */
    rc = 0;
out:
    X509_free(cert);
    BIO_free(bio);
    return rc;
}

static int use_key(SSL_CTX *ctx, struct str pem, struct err *e)
{
    BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.len);
    static char no_passphrase[] = ""; /* keeps OpenSSL from asking at a terminal */
    EVP_PKEY *key;
    int rc = 0;

    ERR_clear_error();
    key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, no_passphrase) : NULL;
    if (!key || SSL_CTX_use_PrivateKey(ctx, key) != 1)
        rc = ssl_err(e, "the key is not usable PEM, or not the certificate's");
    EVP_PKEY_free(key);
    BIO_free(bio);
    return rc;
}

static int use_pair(SSL_CTX *ctx, struct str cert, struct str key, struct err *e)
{
    if (use_chain(ctx, cert, e) != 0)
        return err_in(e, "cert");
    if (use_key(ctx, key, e) != 0)
        return err_in(e, "key");
    return 0;
}

/* ---- server side ---- */

/* The certificate entity for the name the client asks for, of the current configuration. */
static int on_servername(SSL *ssl, int *alert, void *arg)
{
    struct worker *w = ((struct conn *)SSL_get_ex_data(ssl, tls_ex_index()))->w;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    SSL_CTX *ctx;

    (void)alert;
    (void)arg;
    if (!name || !*w->current)
        return SSL_TLSEXT_ERR_NOACK;
    ctx = config_sni((*w->current)->config, str_of(name));
    if (ctx)
        SSL_set_SSL_CTX(ssl, ctx); /* holds a reference: the configuration may go */
    return SSL_TLSEXT_ERR_OK;
}

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
                   unsigned in_len, void *arg)
{
    static const unsigned char ours[] = "\x02h2\x08http/1.1";
    unsigned skip = conn_offers_h2(ssl) ? 0 : 3;
    unsigned char *chosen;

    (void)arg;
    if (SSL_select_next_proto(&chosen, out_len, ours + skip, sizeof(ours) - 1 - skip, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_NOACK; /* a client that speaks nothing of ours finds out by itself */
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *new_ctx(const SSL_METHOD *method, struct err *e)
{
    SSL_CTX *ctx = SSL_CTX_new(method);

    if (!ctx) {
        ssl_err(e, "no TLS context");
        return NULL;
    }
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(ctx, 1);
    return ctx;
}

static SSL_CTX *new_server_ctx(struct err *e)
{
    static const unsigned char context[] = "weir";
    SSL_CTX *ctx = new_ctx(TLS_server_method(), e);

    if (!ctx)
        return NULL;
    SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL); /* tickets */
    SSL_CTX_set_session_id_context(ctx, context, sizeof(context) - 1);
    SSL_CTX_set_num_tickets(ctx, 1);
    SSL_CTX_set_tlsext_servername_callback(ctx, on_servername);
    SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
    return ctx;
}

SSL_CTX *tls_server_ctx(struct str cert, struct str key, struct str cert_alt, struct str key_alt, struct err *e)
{
    SSL_CTX *ctx = new_server_ctx(e);

    if (!ctx)
        return NULL;
    if (use_pair(ctx, cert, key, e) != 0 || (cert_alt.p && use_pair(ctx, cert_alt, key_alt, e) != 0)) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    return ctx;
}

static int self_signed(SSL_CTX *ctx, struct err *e)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    X509_NAME *name;
    uint64_t serial;
    int rc = -1;

    rand_bytes(&serial, sizeof(serial));
    if (!key || !cert)
        goto out;
    name = X509_get_subject_name(cert);
    if (X509_set_version(cert, X509_VERSION_3) && ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), serial >> 1) &&
        X509_gmtime_adj(X509_getm_notBefore(cert), -3600) &&
        X509_time_adj_ex(X509_getm_notAfter(cert), SELF_SIGNED_DAYS, 0, NULL) &&
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost", -1, -1, 0) &&
        X509_set_issuer_name(cert, name) && X509_set_pubkey(cert, key) && X509_sign(cert, key, EVP_sha256()) &&
        SSL_CTX_use_certificate(ctx, cert) == 1 && SSL_CTX_use_PrivateKey(ctx, key) == 1)
        rc = 0;
out:
    if (rc != 0)
        ssl_err(e, "no self-signed certificate");
    X509_free(cert);
    EVP_PKEY_free(key);
    return rc;
}

SSL_CTX *tls_default_ctx(const char *cert_file, const char *key_file, struct err *e)
{
    SSL_CTX *ctx = new_server_ctx(e);
    int rc;

    if (!ctx)
        return NULL;
    ERR_clear_error();
    if (!*cert_file)
        rc = self_signed(ctx, e);
    else if (SSL_CTX_use_certificate_chain_file(ctx, cert_file) != 1)
        rc = ssl_err(e, cert_file);
    else if (SSL_CTX_use_PrivateKey_file(ctx, key_file, SSL_FILETYPE_PEM) != 1)
        rc = ssl_err(e, key_file);
    else
        rc = 0;
    if (rc != 0) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    return ctx;
}

/* ---- client side ---- */

static int on_session(SSL *ssl, SSL_SESSION *session)
{
    struct uconn *u = SSL_get_ex_data(ssl, tls_ex_index());

    if (!u)
        return 0;
    uconn_keep_session(u, session);
    return 1; /* kept: the reference is ours now */
}

static int trust(SSL_CTX *ctx, const struct str *pems, size_t n, struct err *e)
{
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);

    if (n == 0)
        return SSL_CTX_set_default_verify_paths(ctx) == 1 ? 0 : ssl_err(e, "the system's authorities");
    for (size_t i = 0; i < n; i++) {
        BIO *bio = BIO_new_mem_buf(pems[i].p, (int)pems[i].len);
        X509 *ca = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
        int ok = ca && X509_STORE_add_cert(store, ca) == 1;

        X509_free(ca);
        BIO_free(bio);
        if (!ok)
            return ssl_err(e, "a CA certificate is not usable PEM");
    }
    return 0;
}

SSL_CTX *tls_client_ctx(const struct service *s, const struct certificate *client, const struct str *ca_pems,
                        size_t n_ca_pems, struct err *e)
{
    SSL_CTX *ctx = new_ctx(TLS_client_method(), e);

    if (!ctx)
        return NULL;
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, on_session);
    if (s->tls_verify == 1) {
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
        if (s->tls_verify_depth != INT_NULL)
            SSL_CTX_set_verify_depth(ctx, (int)s->tls_verify_depth);
        if (trust(ctx, ca_pems, n_ca_pems, e) != 0)
            goto fail;
    }
    if (client && use_pair(ctx, client->cert, client->key, e) != 0)
        goto fail;
    return ctx;
fail:
    SSL_CTX_free(ctx);
    return NULL;
}

/* ---- connections ---- */

static int ex_index = -1;

/* Before any thread of ours. */
__attribute__((constructor)) static void make_index(void)
{
    ex_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    WEIR_ASSERT(ex_index >= 0);
}

int tls_ex_index(void)
{
    return ex_index;
}

SSL *tls_accept(SSL_CTX *ctx, int fd, struct conn *c)
{
    SSL *ssl = SSL_new(ctx);

    if (!ssl || SSL_set_fd(ssl, fd) != 1 || SSL_set_ex_data(ssl, ex_index, c) != 1) {
        SSL_free(ssl);
        ERR_clear_error();
        return NULL;
    }
    SSL_set_accept_state(ssl);
    return ssl;
}

SSL *tls_connect(SSL_CTX *ctx, int fd, struct uconn *u, const char *sni, SSL_SESSION *session, bool h2)
{
    static const unsigned char protocols[] = "\x02h2\x08http/1.1";
    SSL *ssl = SSL_new(ctx);
    struct in6_addr literal;
    bool is_name = *sni && inet_pton(AF_INET, sni, &literal) != 1 && inet_pton(AF_INET6, sni, &literal) != 1;

    if (!ssl || SSL_set_fd(ssl, fd) != 1 || SSL_set_ex_data(ssl, ex_index, u) != 1 ||
        (h2 && SSL_set_alpn_protos(ssl, protocols, sizeof(protocols) - 1) != 0) ||
        (is_name && SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                             (void *)(uintptr_t)sni) != 1) || /* the macro for it casts const away */
        (is_name && SSL_set1_host(ssl, sni) != 1) ||
        (!is_name && *sni && X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), sni) != 1)) {
        SSL_free(ssl);
        ERR_clear_error();
        return NULL;
    }
    if (session)
        SSL_set_session(ssl, session);
    SSL_set_connect_state(ssl);
    return ssl;
}
