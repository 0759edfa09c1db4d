/* pem.c - see pem.h. */
#include "dataplane/tls/pem.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>

int tls_err(struct err *e, const char *what)
{
    unsigned long code = ERR_get_error();
    char reason[160] = "no reason given";

    if (code)
        ERR_error_string_n(code, reason, sizeof(reason));
    ERR_clear_error();
    return err_set(e, ERR_INVALID, "%s: %s", what, reason);
}

int pem_read_file(const char *path, struct sbuf *out, struct err *e)
{
    FILE *f = fopen(path, "re");
    int rc = 0;

    if (!f)
        return err_sys(e, "%s", path);
    while (rc == 0) {
        size_t n = fread(sbuf_reserve(out, 4096), 1, 4096, f);

        out->len += n;
        if (n < 4096)
            break;
        if (out->len > PEM_FILE_MAX)
            rc = err_set(e, ERR_LIMIT, "%s: expected at most %u bytes", path, PEM_FILE_MAX);
    }
    if (rc == 0 && ferror(f))
        rc = err_sys(e, "%s", path);
    fclose(f);
    return rc;
}

/* "no start line" is how the end of a text shows itself. */
static bool at_end(void)
{
    unsigned long code = ERR_peek_last_error();
    bool end = ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;

    if (end)
        ERR_clear_error();
    return end;
}

STACK_OF(X509) *pem_certificates(struct str pem, bool whole, struct err *e)
{
    BIO *bio = BIO_new_mem_buf(pem.p, (int)size_min(pem.len, INT32_MAX));
    STACK_OF(X509) *all = sk_X509_new_null();
    X509 *one;

    ERR_clear_error();
    while (bio && all && (one = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL)))
        if (sk_X509_push(all, one) == 0)
            X509_free(one);
    if (sk_X509_num(all) <= 0 || (!at_end() && whole)) {
        tls_err(e, "expected certificates in PEM");
        sk_X509_pop_free(all, X509_free);
        all = NULL;
    }
    ERR_clear_error();
    BIO_free(bio);
    return all;
}

static int use_chain(SSL_CTX *ctx, struct str pem, struct err *e)
{
    STACK_OF(X509) *all = pem_certificates(pem, false, e);
    int rc = 0;

    if (!all)
        return -1;
    if (SSL_CTX_use_certificate(ctx, sk_X509_value(all, 0)) != 1)
        rc = tls_err(e, "the certificate is not usable");
    if (rc == 0)
        SSL_CTX_clear_chain_certs(ctx); /* of this key type alone */
    for (int i = 1; rc == 0 && i < sk_X509_num(all); i++)
        if (SSL_CTX_add1_chain_cert(ctx, sk_X509_value(all, i)) != 1)
            rc = tls_err(e, "the certificate chain is not usable");
    sk_X509_pop_free(all, X509_free);
    return rc;
}

static int use_key(SSL_CTX *ctx, struct str pem, struct err *e)
{
    BIO *bio = BIO_new_mem_buf(pem.p, (int)size_min(pem.len, INT32_MAX));
    static char no_passphrase[] = ""; /* keeps OpenSSL from asking at a terminal */
    EVP_PKEY *key;
    int rc = 0;

    ERR_clear_error();
    key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, no_passphrase) : NULL;
    if (!key || SSL_CTX_use_PrivateKey(ctx, key) != 1)
        rc = tls_err(e, "the key is not usable PEM, or not the certificate's");
    EVP_PKEY_free(key);
    BIO_free(bio);
    return rc;
}

int pem_use_pair(SSL_CTX *ctx, struct str cert, struct str key, struct err *e)
{
    if (use_chain(ctx, cert, e) != 0)
        return err_in(e, "cert");
    if (use_key(ctx, key, e) != 0)
        return err_in(e, "key");
    return 0;
}

int pem_use_pair_files(SSL_CTX *ctx, const char *cert, const char *key, struct err *e)
{
    struct sbuf cert_pem = {0}, key_pem = {0};
    int rc = -1;

    if (pem_read_file(cert, &cert_pem, e) != 0 || pem_read_file(key, &key_pem, e) != 0)
        goto out;
    rc = use_chain(ctx, sbuf_str(&cert_pem), e);
    if (rc != 0)
        err_in(e, cert);
    else if ((rc = use_key(ctx, sbuf_str(&key_pem), e)) != 0)
        err_in(e, key);
out:
    if (key_pem.p)
        OPENSSL_cleanse(key_pem.p, key_pem.len);
    sbuf_free(&cert_pem);
    sbuf_free(&key_pem);
    return rc;
}
