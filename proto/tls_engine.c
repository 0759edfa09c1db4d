#include "proto/tls_engine.h"

#include <nng/supplemental/tls/engine.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/str.h"

/* A record of this size and its overhead fit the 16 KiB that nng buffers per stream. */
#define MAX_FRAGMENT 16000

struct tls_identity {
    pthread_mutex_t lock; /* refs and ctx */
    unsigned refs;
    SSL_CTX *ctx;
    int64_t expiry_s;
    char *ca_file, *cert_file, *key_file;
};

struct nng_tls_engine_config {
    struct tls_identity *id;
    bool server;
};

struct nng_tls_engine_conn {
    SSL *ssl;
    void *lower; /* nng's, for nng_tls_engine_send and _recv */
    bool closed; /* nng's own flag is never set; what is posted later must fail, not hang */
};

/* Calls into nng carry no argument for the engine: these stand in, on the calling thread. */
static _Thread_local struct tls_identity *binding;   /* for config_init */
static _Thread_local struct tls_peer *peer_wanted;   /* for conn_verified */
static BIO_METHOD *bio_method;

/* ---- identity ---- */

static int ssl_err(struct err *e, const char *what, const char *file)
{
    unsigned long code = ERR_peek_error();
    char text[160] = "no further reason";

    if (code)
        ERR_error_string_n(code, text, sizeof(text));
    ERR_clear_error();
    return err_set(e, ERR_INVALID, "%s '%s': %s", what, file ? file : "", text);
}

static int64_t time_s(const ASN1_TIME *t)
{
    struct tm tm;

    return t && ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static SSL_CTX *make_ctx(const struct tls_identity *id, struct err *e)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());

    if (!ctx) {
        ssl_err(e, "cannot make a TLS context for", id->cert_file);
        return NULL;
    }
    SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_max_send_fragment(ctx, MAX_FRAGMENT);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(ctx, 0); /* connections last: resumption would gain nothing */
    if (SSL_CTX_load_verify_locations(ctx, id->ca_file, NULL) != 1)
        ssl_err(e, "expected the cluster's CA certificate (PEM) in", id->ca_file);
    else if (SSL_CTX_use_certificate_chain_file(ctx, id->cert_file) != 1)
        ssl_err(e, "expected a certificate (PEM) in", id->cert_file);
    else if (SSL_CTX_use_PrivateKey_file(ctx, id->key_file, SSL_FILETYPE_PEM) != 1)
        ssl_err(e, "expected the private key (PEM) of the certificate in", id->key_file);
    else
        return ctx;
    SSL_CTX_free(ctx);
    return NULL;
}

int tls_identity_reload(struct tls_identity *id, struct err *e)
{
    SSL_CTX *ctx = make_ctx(id, e), *old;

    if (!ctx)
        return -1;
    pthread_mutex_lock(&id->lock);
    old = id->ctx;
    id->ctx = ctx;
    id->expiry_s = time_s(X509_get0_notAfter(SSL_CTX_get0_certificate(ctx)));
    pthread_mutex_unlock(&id->lock);
    SSL_CTX_free(old);
    return 0;
}

int tls_identity_load(const char *ca_file, const char *cert_file, const char *key_file,
                      struct tls_identity **out, struct err *e)
{
    struct tls_identity *id;

    *out = NULL;
    if (!ca_file || !*ca_file || !cert_file || !*cert_file || !key_file || !*key_file)
        return err_set(e, ERR_INVALID,
                       "tls+tcp needs a CA certificate, a certificate and its key, expected three "
                       "files");
    id = xcalloc(1, sizeof(*id));
    pthread_mutex_init(&id->lock, NULL);
    id->refs = 1;
    id->ca_file = xstrdup(ca_file);
    id->cert_file = xstrdup(cert_file);
    id->key_file = xstrdup(key_file);
    if (tls_identity_reload(id, e) != 0) {
        tls_identity_free(&id);
        return -1;
    }
    *out = id;
    return 0;
}

static struct tls_identity *identity_ref(struct tls_identity *id)
{
    pthread_mutex_lock(&id->lock);
    id->refs++;
    pthread_mutex_unlock(&id->lock);
    return id;
}

void tls_identity_free(struct tls_identity **idp)
{
    struct tls_identity *id = *idp;
    bool last;

    *idp = NULL;
    if (!id)
        return;
    pthread_mutex_lock(&id->lock);
    last = --id->refs == 0;
    pthread_mutex_unlock(&id->lock);
    if (!last)
        return;
    SSL_CTX_free(id->ctx);
    free(id->ca_file);
    free(id->cert_file);
    free(id->key_file);
    pthread_mutex_destroy(&id->lock);
    free(id);
}

int64_t tls_identity_expiry_s(struct tls_identity *id)
{
    int64_t at;

    pthread_mutex_lock(&id->lock);
    at = id->expiry_s;
    pthread_mutex_unlock(&id->lock);
    return at;
}

/* ---- the BIO between OpenSSL and nng's buffers ---- */

static int bio_done(BIO *b, int rc, size_t len, bool reading)
{
    BIO_clear_retry_flags(b);
    if (rc == 0)
        return (int)len;
    if (rc == NNG_EAGAIN) {
        if (reading)
            BIO_set_retry_read(b);
        else
            BIO_set_retry_write(b);
    }
    return -1;
}

static int bio_write(BIO *b, const char *p, int len)
{
    struct nng_tls_engine_conn *c = BIO_get_data(b);
    size_t n = (size_t)len;
    int rc = nng_tls_engine_send(c->lower, (const uint8_t *)p, &n);

    return bio_done(b, rc, n, false);
}

static int bio_read(BIO *b, char *p, int len)
{
    struct nng_tls_engine_conn *c = BIO_get_data(b);
    size_t n = (size_t)len;
    int rc = nng_tls_engine_recv(c->lower, (uint8_t *)p, &n);

    return bio_done(b, rc, n, true);
}

static long bio_ctrl(BIO *b, int cmd, long num, void *ptr)
{
    (void)b, (void)num, (void)ptr;
    return cmd == BIO_CTRL_FLUSH || cmd == BIO_CTRL_PUSH || cmd == BIO_CTRL_POP;
}

/* ---- connections ---- */

static int conn_init(nng_tls_engine_conn *c, void *lower, nng_tls_engine_config *cfg)
{
    BIO *bio;

    if (!cfg->id)
        return NNG_ESTATE; /* a configuration nng made by itself */
    bio = BIO_new(bio_method);
    pthread_mutex_lock(&cfg->id->lock);
    c->ssl = SSL_new(cfg->id->ctx);
    pthread_mutex_unlock(&cfg->id->lock);
    if (!bio || !c->ssl) {
        BIO_free(bio);
        return NNG_ENOMEM;
    }
    c->lower = lower;
    BIO_set_data(bio, c);
    BIO_set_init(bio, 1);
    SSL_set_bio(c->ssl, bio, bio);
    if (cfg->server)
        SSL_set_accept_state(c->ssl);
    else
        SSL_set_connect_state(c->ssl);
    return 0;
}

/* Also comes for connections whose init never ran: all zero then. */
static void conn_fini(nng_tls_engine_conn *c)
{
    SSL_free(c->ssl);
    c->ssl = NULL;
}

static void conn_close(nng_tls_engine_conn *c)
{
    if (c->ssl && !c->closed && SSL_is_init_finished(c->ssl)) {
        ERR_clear_error();
        SSL_shutdown(c->ssl);
    }
    c->closed = true;
}

/* What an SSL_ call that did not succeed means to nng. */
static int conn_failed(nng_tls_engine_conn *c, int rc)
{
    switch (SSL_get_error(c->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE: return NNG_EAGAIN;
    case SSL_ERROR_ZERO_RETURN:
    case SSL_ERROR_SYSCALL: return NNG_ECONNSHUT;
    default: return SSL_is_init_finished(c->ssl) ? NNG_ECRYPTO : NNG_EPEERAUTH;
    }
}

static int conn_handshake(nng_tls_engine_conn *c)
{
    int rc;

    if (c->closed)
        return NNG_ECLOSED;
    ERR_clear_error();
    rc = SSL_do_handshake(c->ssl);
    return rc == 1 ? 0 : conn_failed(c, rc);
}

static int conn_recv(nng_tls_engine_conn *c, uint8_t *p, size_t *len)
{
    int rc;

    if (c->closed)
        return NNG_ECLOSED;
    ERR_clear_error();
    rc = SSL_read_ex(c->ssl, p, *len, len);
    return rc == 1 ? 0 : conn_failed(c, rc);
}

static int conn_send(nng_tls_engine_conn *c, const uint8_t *p, size_t *len)
{
    int rc;

    if (c->closed)
        return NNG_ECLOSED;
    ERR_clear_error();
    rc = SSL_write_ex(c->ssl, p, *len, len);
    return rc == 1 ? 0 : conn_failed(c, rc);
}

static void copy_text(char *out, size_t size, struct str s)
{
    size_t len = size_min(s.len, size - 1);

    memcpy(out, s.p, len);
    out[len] = '\0';
}

/* weir://cluster/CLUSTER/ROLE/NODE; other URIs are passed over. */
static void read_uri(struct str uri, struct tls_peer *out)
{
    static const struct str prefix = {"weir://cluster/", 15};
    struct str cluster, role, node;
    size_t slash;

    if (!str_starts(uri, prefix) || memchr(uri.p, '\0', uri.len))
        return;
    cluster = str_n(uri.p + prefix.len, uri.len - prefix.len);
    if ((slash = str_find(cluster, '/')) == cluster.len)
        return;
    role = str_n(cluster.p + slash + 1, cluster.len - slash - 1);
    cluster.len = slash;
    if ((slash = str_find(role, '/')) == role.len)
        return;
    node = str_n(role.p + slash + 1, role.len - slash - 1);
    role.len = slash;
    if (cluster.len >= sizeof(out->cluster) || role.len >= sizeof(out->role) ||
        node.len >= sizeof(out->node))
        return; /* cut short it would be another name */
    copy_text(out->cluster, sizeof(out->cluster), cluster);
    copy_text(out->role, sizeof(out->role), role);
    copy_text(out->node, sizeof(out->node), node);
}

static void read_peer(X509 *cert, struct tls_peer *out)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);

    memset(out, 0, sizeof(*out));
    X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, out->common_name,
                              (int)sizeof(out->common_name));
    out->expiry_s = time_s(X509_get0_notAfter(cert));
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *n = sk_GENERAL_NAME_value(names, i);

        if (n->type == GEN_URI && !out->role[0])
            read_uri(str_n((const char *)ASN1_STRING_get0_data(n->d.uniformResourceIdentifier),
                           (size_t)ASN1_STRING_length(n->d.uniformResourceIdentifier)),
                     out);
    }
    GENERAL_NAMES_free(names);
}

static bool conn_verified(nng_tls_engine_conn *c)
{
    X509 *cert = c->ssl ? SSL_get0_peer_certificate(c->ssl) : NULL;

    if (!cert || !SSL_is_init_finished(c->ssl) || SSL_get_verify_result(c->ssl) != X509_V_OK)
        return false;
    if (peer_wanted)
        read_peer(cert, peer_wanted);
    return true;
}

/* ---- configurations ---- */

static int config_init(nng_tls_engine_config *cfg, nng_tls_mode mode)
{
    /* nng makes one of its own with every dialer and listener, before it is given ours */
    cfg->id = binding ? identity_ref(binding) : NULL;
    cfg->server = mode == NNG_TLS_MODE_SERVER;
    return 0;
}

static void config_fini(nng_tls_engine_config *cfg)
{
    tls_identity_free(&cfg->id);
}

static int config_server(nng_tls_engine_config *cfg, const char *name)
{
    (void)cfg, (void)name; /* names are checked by role, above TLS */
    return 0;
}

static int config_auth(nng_tls_engine_config *cfg, nng_tls_auth_mode mode)
{
    (void)cfg, (void)mode; /* whatever nng's own defaults say: always mutual */
    return 0;
}

static int config_ca(nng_tls_engine_config *cfg, const char *ca, const char *crl)
{
    (void)cfg, (void)ca, (void)crl;
    return NNG_ENOTSUP; /* comes with the identity */
}

static int config_own(nng_tls_engine_config *cfg, const char *cert, const char *key,
                      const char *pass)
{
    (void)cfg, (void)cert, (void)key, (void)pass;
    return NNG_ENOTSUP;
}

static int config_version(nng_tls_engine_config *cfg, nng_tls_version min, nng_tls_version max)
{
    (void)cfg;
    return min <= NNG_TLS_1_3 && max >= NNG_TLS_1_3 ? 0 : NNG_ENOTSUP;
}

static nng_tls_engine_config_ops config_ops = {
    .size = sizeof(nng_tls_engine_config),
    .init = config_init,
    .fini = config_fini,
    .server = config_server,
    .auth = config_auth,
    .ca_chain = config_ca,
    .own_cert = config_own,
    .version = config_version,
};

static nng_tls_engine_conn_ops conn_ops = {
    .size = sizeof(nng_tls_engine_conn),
    .init = conn_init,
    .fini = conn_fini,
    .close = conn_close,
    .handshake = conn_handshake,
    .recv = conn_recv,
    .send = conn_send,
    .verified = conn_verified,
};

static const nng_tls_engine engine = {
    .version = NNG_TLS_ENGINE_VERSION,
    .config_ops = &config_ops,
    .conn_ops = &conn_ops,
    .name = "openssl",
    .description = "OpenSSL, TLS 1.3, mutual",
};

static void register_engine(void)
{
    (void)nng_tls_engine_name(); /* starts nng, which puts its own engine in place */
    bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "nng stream");
    WEIR_ASSERT(bio_method);
    BIO_meth_set_write(bio_method, bio_write);
    BIO_meth_set_read(bio_method, bio_read);
    BIO_meth_set_ctrl(bio_method, bio_ctrl);
    WEIR_ASSERT(nng_tls_engine_register(&engine) == 0);
}

int tls_config_new(struct tls_identity *id, bool server, nng_tls_config **out, struct err *e)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    int rc;

    pthread_once(&once, register_engine);
    binding = id;
    rc = nng_tls_config_alloc(out, server ? NNG_TLS_MODE_SERVER : NNG_TLS_MODE_CLIENT);
    binding = NULL;
    return rc == 0 ? 0 : err_set(e, ERR_INTERNAL, "TLS configuration: %s", nng_strerror(rc));
}

int tls_peer_of(nng_stream *s, struct tls_peer *out, struct err *e)
{
    bool verified = false;
    int rc;

    memset(out, 0, sizeof(*out));
    peer_wanted = out;
    rc = nng_stream_get_bool(s, NNG_OPT_TLS_VERIFIED, &verified);
    peer_wanted = NULL;
    if (rc != 0 || !verified)
        return err_set(e, ERR_PEER, "the peer has shown no certificate of the cluster's CA");
    return 0;
}
