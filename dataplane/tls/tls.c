/* tls.c - see tls.h. */
#include "dataplane/tls/tls.h"

#include <arpa/inet.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/rand.h"
#include "dataplane/config/config.h"
#include "dataplane/conn.h"
#include "dataplane/live.h"
#include "dataplane/tls/options.h"
#include "dataplane/tls/pem.h"
#include "dataplane/tls/tickets.h"
#include "dataplane/upstream/upstream.h"
#include "dataplane/worker.h"

#define SELF_SIGNED_DAYS 3650

/* ---- server side ---- */

static struct worker *worker_of(const SSL *ssl)
{
    return ((const struct conn *)SSL_get_ex_data(ssl, tls_ex_index()))->w;
}

const struct config *tls_config_of(const SSL *ssl)
{
    const struct config_pin *pin = *worker_of(ssl)->current;

    return pin ? pin->config : NULL;
}

/* The name of the server_name extension (RFC 6066 section 3); "" when there is none. */
static struct str hello_name(SSL *ssl)
{
    const unsigned char *p;
    size_t len, list, name;

    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &p, &len) != 1 || len < 5)
        return STR("");
    list = (size_t)p[0] << 8 | p[1];
    name = (size_t)p[3] << 8 | p[4];
    if (list != len - 2 || p[2] != TLSEXT_NAMETYPE_host_name || name != len - 5)
        return STR(""); /* OpenSSL refuses it by itself if it is broken */
    return str_n((const char *)p + 5, name);
}

/*
 * Chooses certificate and client policy by name. Here and not in the server name callback,
 * which comes after the decision to resume a session: the policy has its say in that.
 */
static int on_client_hello(SSL *ssl, int *alert, void *arg)
{
    const struct config *config = tls_config_of(ssl);
    const struct client_policy *policy = NULL;
    struct str name = hello_name(ssl);
    SSL_CTX *ctx = NULL;

    (void)arg;
    if (config) {
        ctx = config_sni(config, name);
        policy = config_client_policy(config, name);
    }
    if (ctx)
        SSL_set_SSL_CTX(ssl, ctx); /* holds a reference: the configuration may go */
    if (!policy)
        policy = tls_options->client_policy;
    if (!policy || policy->mode == VERIFY_CLIENT_OFF || client_policy_ask(ssl, policy) == 0)
        return SSL_CLIENT_HELLO_SUCCESS;
    *alert = SSL_AD_INTERNAL_ERROR;
    return SSL_CLIENT_HELLO_ERROR;
}

/* Says that the name was understood, which puts it into the sessions of TLS 1.2. */
static int on_servername(SSL *ssl, int *alert, void *arg)
{
    (void)alert;
    (void)arg;
    return SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name) ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
                   unsigned in_len, void *arg)
{
    struct str ours = conn_alpn(ssl);
    unsigned char *chosen;

    (void)arg;
    if (ours.len == 0 || SSL_select_next_proto(&chosen, out_len, (const unsigned char *)ours.p, (unsigned)ours.len,
                                               in, in_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_NOACK; /* a client that speaks nothing of ours finds out by itself */
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *new_ctx(const SSL_METHOD *method, struct err *e)
{
    SSL_CTX *ctx = SSL_CTX_new(method);

    if (!ctx) {
        tls_err(e, "no TLS context");
        return NULL;
    }
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    /* a chain is sent as it was given: building one would verify it in every handshake */
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_read_ahead(ctx, 1);
    return ctx;
}

static int use_ciphers(SSL_CTX *ctx)
{
    const struct tls_options *o = tls_options;

    if (SSL_CTX_set_min_proto_version(ctx, o->min_version) != 1 ||
        (o->ciphers && SSL_CTX_set_cipher_list(ctx, o->ciphers) != 1) ||
        (o->suites && SSL_CTX_set_ciphersuites(ctx, o->suites) != 1))
        return -1;
    if (!o->dh)
        return SSL_CTX_set_dh_auto(ctx, 1) == 1 ? 0 : -1;
    if (EVP_PKEY_up_ref(o->dh) != 1)
        return -1;
    if (SSL_CTX_set0_tmp_dh_pkey(ctx, o->dh) == 1)
        return 0;
    EVP_PKEY_free(o->dh);
    return -1;
}

/* Sessions are with the clients: nothing to look up, nothing to share. */
static int use_tickets(SSL_CTX *ctx)
{
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL |
                                            SSL_SESS_CACHE_NO_AUTO_CLEAR);
    SSL_CTX_set_timeout(ctx, tls_options->session_timeout_s);
    if (tls_options->tickets)
        return SSL_CTX_set_num_tickets(ctx, 1) == 1 ? tickets_use(ctx) : -1;
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    return SSL_CTX_set_num_tickets(ctx, 0) == 1 ? 0 : -1;
}

static SSL_CTX *new_server_ctx(struct err *e)
{
    static const unsigned char context[] = "weir";
    SSL_CTX *ctx = new_ctx(TLS_server_method(), e);

    if (!ctx)
        return NULL;
    SSL_CTX_set_options(ctx, tls_options->ssl_options);
    SSL_CTX_set_session_id_context(ctx, context, sizeof(context) - 1);
    SSL_CTX_set_client_hello_cb(ctx, on_client_hello, NULL);
    SSL_CTX_set_tlsext_servername_callback(ctx, on_servername);
    SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
    if (use_ciphers(ctx) == 0 && use_tickets(ctx) == 0)
        return ctx;
    tls_err(e, "no TLS context for clients");
    SSL_CTX_free(ctx);
    return NULL;
}

SSL_CTX *tls_server_ctx(struct str cert, struct str key, struct str cert_alt, struct str key_alt, struct err *e)
{
    SSL_CTX *ctx = new_server_ctx(e);

    if (!ctx)
        return NULL;
    if (pem_use_pair(ctx, cert, key, e) != 0 || (cert_alt.p && pem_use_pair(ctx, cert_alt, key_alt, e) != 0)) {
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
        tls_err(e, "no self-signed certificate");
    X509_free(cert);
    EVP_PKEY_free(key);
    return rc;
}

/* Takes the next item of a list. False: there is none. */
static bool next_file(struct str *rest, char out[PATH_MAX])
{
    struct str piece;

    if (!rest->len || !str_next(rest, ',', &piece))
        return false;
    piece = str_trim(piece);
    snprintf(out, PATH_MAX, STR_FMT, STR_ARG(piece));
    return true;
}

SSL_CTX *tls_default_ctx(const char *cert_files, const char *key_files, struct err *e)
{
    struct str certs = str_trim(str_of(cert_files)), keys = str_trim(str_of(key_files));
    SSL_CTX *ctx = new_server_ctx(e);
    char cert[PATH_MAX], key[PATH_MAX];
    int rc;

    if (!ctx)
        return NULL;
    rc = certs.len ? 0 : self_signed(ctx, e);
    while (rc == 0 && next_file(&certs, cert) && next_file(&keys, key))
        rc = pem_use_pair_files(ctx, cert, key, e);
    if (rc == 0)
        return ctx;
    SSL_CTX_free(ctx);
    return NULL;
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

static int trust(SSL_CTX *ctx, const STACK_OF(X509) *authorities, struct err *e)
{
    X509_STORE *shared;

    if (!authorities) {
        shared = tls_trusted(e);
        if (shared)
            SSL_CTX_set1_cert_store(ctx, shared);
        return shared ? 0 : -1;
    }
    for (int i = 0; i < sk_X509_num(authorities); i++)
        if (X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), sk_X509_value(authorities, i)) != 1)
            return tls_err(e, "a CA certificate is not usable");
    return 0;
}

SSL_CTX *tls_client_ctx(const struct upstream_tls *want, struct err *e)
{
    SSL_CTX *ctx = new_ctx(TLS_client_method(), e);

    if (!ctx)
        return NULL;
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, on_session);
    if (want->verify) {
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
        SSL_CTX_set_verify_depth(ctx, want->depth);
        if (trust(ctx, want->authorities, e) != 0)
            goto fail;
    }
    if (want->cert.p && pem_use_pair(ctx, want->cert, want->key, e) != 0)
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
