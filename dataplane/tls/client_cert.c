/* client_cert.c - see client_cert.h. */
#include "dataplane/tls/client_cert.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- policies ---- */

/* Digests of the authorities in order, and the depth. */
static int make_id(struct client_policy *p, const STACK_OF(X509) *authorities)
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    unsigned char one[EVP_MAX_MD_SIZE];
    unsigned n;
    int ok = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1 &&
             EVP_DigestUpdate(md, &p->depth, sizeof(p->depth)) == 1;

    for (int i = 0; ok && i < sk_X509_num(authorities); i++)
        ok = X509_digest(sk_X509_value(authorities, i), EVP_sha256(), one, &n) == 1 &&
             EVP_DigestUpdate(md, one, n) == 1;
    ok = ok && EVP_DigestFinal_ex(md, p->id, &n) == 1;
    EVP_MD_CTX_free(md);
    return ok ? 0 : -1;
}

static int add_authority(struct client_policy *p, X509 *ca)
{
    X509_NAME *name;

    if (X509_STORE_add_cert(p->store, ca) != 1)
        return -1;
    name = X509_NAME_dup(X509_get_subject_name(ca));
    if (name && sk_X509_NAME_push(p->names, name) > 0)
        return 0;
    X509_NAME_free(name);
    return -1;
}

struct client_policy *client_policy_new(enum verify_client mode, const STACK_OF(X509) *authorities, int depth)
{
    struct client_policy *p = xcalloc(1, sizeof(*p));
    int rc;

    p->mode = mode;
    p->depth = depth;
    p->store = X509_STORE_new();
    p->names = sk_X509_NAME_new_null();
    rc = p->store && p->names ? make_id(p, authorities) : -1;
    for (int i = 0; rc == 0 && i < sk_X509_num(authorities); i++)
        rc = add_authority(p, sk_X509_value(authorities, i));
    if (rc != 0) {
        ERR_clear_error();
        client_policy_free(&p);
    }
    return p;
}

void client_policy_free(struct client_policy **p)
{
    if (!*p)
        return;
    X509_STORE_free((*p)->store);
    sk_X509_NAME_pop_free((*p)->names, X509_NAME_free);
    free(*p);
    *p = NULL;
}

/* The handshake goes on: SSL_get_verify_result has what was found. */
static int note_only(int ok, X509_STORE_CTX *store)
{
    (void)ok;
    (void)store;
    return 1;
}

int client_policy_ask(SSL *ssl, const struct client_policy *p)
{
    STACK_OF(X509_NAME) *names;

    if (SSL_set_session_id_context(ssl, p->id, sizeof(p->id)) != 1 || SSL_set1_verify_cert_store(ssl, p->store) != 1)
        return -1;
    SSL_set_verify(ssl, SSL_VERIFY_PEER, note_only);
    SSL_set_verify_depth(ssl, p->depth);
    if (sk_X509_NAME_num(p->names) == 0)
        return 0;
    names = SSL_dup_CA_list(p->names);
    if (!names)
        return -1;
    SSL_set0_CA_list(ssl, names);
    return 0;
}

/* ---- judging ---- */

enum client_cert_state tls_client_cert(const SSL *ssl)
{
    if (!ssl || !SSL_get0_peer_certificate(ssl))
        return CLIENT_CERT_NONE;
    return SSL_get_verify_result(ssl) == X509_V_OK ? CLIENT_CERT_VERIFIED : CLIENT_CERT_FAILED;
}

static bool handshake_asked(const struct client_policy *p, const SSL *ssl)
{
    unsigned n = 0;
    const unsigned char *id = SSL_SESSION_get0_id_context(SSL_get_session(ssl), &n);

    return n == sizeof(p->id) && memcmp(id, p->id, n) == 0;
}

/*
 * Judgements other than the handshake's, kept with the connection: verifying costs as much as
 * a handshake, and routes of one name may trust different authorities.
 */
#define JUDGED_MAX 4

struct judged {
    unsigned next;
    struct {
        unsigned char id[CLIENT_POLICY_ID_LEN];
        enum client_cert_state state; /* CLIENT_CERT_NONE: not used */
    } v[JUDGED_MAX];
};

static int judged_index = -1;

static void free_judged(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int index, long argl, void *argp)
{
    (void)parent;
    (void)ad;
    (void)index;
    (void)argl;
    (void)argp;
    free(ptr);
}

/* Before any thread of ours. */
__attribute__((constructor)) static void make_index(void)
{
    judged_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, free_judged);
    WEIR_ASSERT(judged_index >= 0);
}

static enum client_cert_state recall(const struct client_policy *p, const SSL *ssl)
{
    const struct judged *j = SSL_get_ex_data(ssl, judged_index);

    for (unsigned i = 0; j && i < JUDGED_MAX; i++)
        if (j->v[i].state != CLIENT_CERT_NONE && memcmp(j->v[i].id, p->id, sizeof(p->id)) == 0)
            return j->v[i].state;
    return CLIENT_CERT_NONE;
}

static void remember(const struct client_policy *p, SSL *ssl, enum client_cert_state state)
{
    struct judged *j = SSL_get_ex_data(ssl, judged_index);

    if (!j) {
        j = xcalloc(1, sizeof(*j));
        if (SSL_set_ex_data(ssl, judged_index, j) != 1) {
            free(j);
            return;
        }
    }
    memcpy(j->v[j->next].id, p->id, sizeof(p->id));
    j->v[j->next].state = state;
    j->next = (j->next + 1) % JUDGED_MAX;
}

/* In a resumed session the chain is gone: then its authority has to have signed it directly. */
static bool verifies(const struct client_policy *p, const SSL *ssl)
{
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    bool ok = ctx &&
              X509_STORE_CTX_init(ctx, p->store, SSL_get0_peer_certificate(ssl), SSL_get_peer_cert_chain(ssl)) == 1 &&
              X509_STORE_CTX_set_default(ctx, "ssl_client") == 1;

    if (ok) {
        X509_VERIFY_PARAM_set_depth(X509_STORE_CTX_get0_param(ctx), p->depth);
        ok = X509_verify_cert(ctx) == 1;
    }
    X509_STORE_CTX_free(ctx);
    ERR_clear_error();
    return ok;
}

enum client_cert_state client_policy_judge(const struct client_policy *p, SSL *ssl)
{
    enum client_cert_state state = tls_client_cert(ssl);

    if (state == CLIENT_CERT_NONE || handshake_asked(p, ssl))
        return state;
    state = recall(p, ssl);
    if (state == CLIENT_CERT_NONE) {
        state = verifies(p, ssl) ? CLIENT_CERT_VERIFIED : CLIENT_CERT_FAILED;
        remember(p, ssl, state);
    }
    return state;
}

/* ---- describing ---- */

static struct str digest_text(const X509 *cert, const EVP_MD *md, struct arena *a)
{
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    char *out;

    if (X509_digest(cert, md, bytes, &n) != 1)
        return STR_NONE;
    out = arena_alloc(a, 2 * (size_t)n + 1);
    for (unsigned i = 0; out && i < n; i++)
        snprintf(out + 2 * (size_t)i, 3, "%02x", bytes[i]);
    return out ? str_n(out, 2 * (size_t)n) : STR_NONE;
}

static int print_part(BIO *to, X509 *cert, enum client_cert_part part)
{
    switch (part) {
    case CLIENT_CERT_SUBJECT: return X509_NAME_print_ex(to, X509_get_subject_name(cert), 0, XN_FLAG_RFC2253) >= 0;
    case CLIENT_CERT_ISSUER: return X509_NAME_print_ex(to, X509_get_issuer_name(cert), 0, XN_FLAG_RFC2253) >= 0;
    case CLIENT_CERT_SERIAL: return i2a_ASN1_INTEGER(to, X509_get0_serialNumber(cert)) > 0;
    case CLIENT_CERT_PEM: return PEM_write_bio_X509(to, cert) == 1;
    case CLIENT_CERT_SHA1:
    case CLIENT_CERT_SHA256: break;
    }
    WEIR_UNREACHABLE("printed elsewhere");
}

struct str tls_client_cert_part(const SSL *ssl, enum client_cert_part part, struct arena *a)
{
    X509 *cert = ssl ? SSL_get0_peer_certificate(ssl) : NULL;
    struct str out = STR_NONE;
    char *text;
    long len;
    BIO *bio;

    if (!cert)
        return STR_NONE;
    if (part == CLIENT_CERT_SHA1 || part == CLIENT_CERT_SHA256)
        return digest_text(cert, part == CLIENT_CERT_SHA1 ? EVP_sha1() : EVP_sha256(), a);
    bio = BIO_new(BIO_s_mem());
    if (bio && print_part(bio, cert, part)) {
        len = BIO_get_mem_data(bio, &text);
        out = arena_str(a, str_n(text, (size_t)len));
    }
    BIO_free(bio);
    ERR_clear_error();
    return out;
}
