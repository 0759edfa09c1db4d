#include "common/pki.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/str.h"

#define NAME_MAX_LEN 63

static const char uri_prefix[] = "weir://cluster/";
static const char *const role_words[] = {[PKI_CP] = "cp", [PKI_DP] = "dp"};
/* a control plane also dials others of its kind */
static const char *const role_usage[] = {[PKI_CP] = "serverAuth,clientAuth",
                                         [PKI_DP] = "clientAuth"};

/* A certificate with its key, and where they go. */
struct pair {
    X509 *cert;
    EVP_PKEY *key;
};

static void pair_fini(struct pair *p)
{
    X509_free(p->cert);
    EVP_PKEY_free(p->key);
    *p = (struct pair){0};
}

static int crypto_err(struct err *e, const char *what)
{
    char text[160];

    ERR_error_string_n(ERR_get_error(), text, sizeof(text));
    ERR_clear_error();
    return err_set(e, ERR_INTERNAL, "%s: %s", what, text);
}

static int check_name(const char *what, const char *name, struct err *e)
{
    size_t len = strlen(name);

    if (len == 0 || len > NAME_MAX_LEN || name[0] == '.' ||
        strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") != len)
        return err_set(e, ERR_INVALID,
                       "%s '%s': expected 1 to %d letters, digits, '.', '_' or '-', not beginning "
                       "with '.'",
                       what, name, NAME_MAX_LEN);
    return 0;
}

static int path_of(char out[PATH_MAX], const char *dir, const char *name, const char *ext,
                   struct err *e)
{
    if (snprintf(out, PATH_MAX, "%s/%s%s", dir, name, ext) >= PATH_MAX)
        return err_set(e, ERR_INVALID, "'%s/%s%s' is too long a path", dir, name, ext);
    return 0;
}

static int check_absent(const char *dir, const char *name, struct err *e)
{
    static const char *const exts[] = {".crt", ".key"};
    char path[PATH_MAX];

    for (size_t i = 0; i < ARRAY_LEN(exts); i++) {
        if (path_of(path, dir, name, exts[i], e) != 0)
            return -1;
        if (access(path, F_OK) == 0)
            return err_set(e, ERR_CONFLICT, "'%s' exists and is not overwritten", path);
    }
    return 0;
}

/* ---- certificates ---- */

static int add_ext(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *ext;
    int ok;

    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    ok = ext && X509_add_ext(cert, ext, -1) == 1;
    X509_EXTENSION_free(ext);
    return ok;
}

static int set_serial(X509 *cert)
{
    unsigned char raw[16];
    BIGNUM *n = NULL;
    int ok = RAND_bytes(raw, sizeof(raw)) == 1;

    raw[0] = (raw[0] & 0x7f) | 0x40; /* positive, and never short */
    ok = ok && (n = BN_bin2bn(raw, sizeof(raw), NULL)) &&
         BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert));
    BN_free(n);
    return ok;
}

/* issuer NULL: signs itself, a CA. */
static int make_cert(const char *common_name, const char *uri, const char *usage, unsigned days,
                     const struct pair *issuer, struct pair *out, struct err *e)
{
    char san[256];
    X509_NAME *name;
    X509 *signer;
    int ok;

    out->key = EVP_EC_gen("P-256");
    out->cert = X509_new();
    if (!out->key || !out->cert)
        return crypto_err(e, "cannot make a key");
    signer = issuer ? issuer->cert : out->cert;
    snprintf(san, sizeof(san), "URI:%s", uri);
    name = X509_get_subject_name(out->cert);
    ok = X509_set_version(out->cert, 2) == 1 && set_serial(out->cert) &&
         X509_gmtime_adj(X509_getm_notBefore(out->cert), -300) && /* clocks differ */
         X509_time_adj_ex(X509_getm_notAfter(out->cert), (int)days, 0, NULL) &&
         X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)common_name,
                                    -1, -1, 0) == 1 &&
         X509_set_issuer_name(out->cert, X509_get_subject_name(signer)) == 1 &&
         X509_set_pubkey(out->cert, out->key) == 1 &&
         add_ext(out->cert, signer, NID_subject_key_identifier, "hash") &&
         add_ext(out->cert, signer, NID_authority_key_identifier, "keyid:always") &&
         add_ext(out->cert, signer, NID_basic_constraints,
                 issuer ? "critical,CA:FALSE" : "critical,CA:TRUE,pathlen:0") &&
         add_ext(out->cert, signer, NID_key_usage,
                 issuer ? "critical,digitalSignature" : "critical,keyCertSign,cRLSign") &&
         (!usage || add_ext(out->cert, signer, NID_ext_key_usage, usage)) &&
         add_ext(out->cert, signer, NID_subject_alt_name, san) &&
         X509_sign(out->cert, issuer ? issuer->key : out->key, EVP_sha256()) > 0;
    return ok ? 0 : crypto_err(e, "cannot make a certificate");
}

static int make_node(enum pki_role role, const char *cluster, const char *name, unsigned days,
                     const struct pair *ca, struct pair *out, struct err *e)
{
    char uri[256];

    snprintf(uri, sizeof(uri), "%s%s/%s/%s", uri_prefix, cluster, role_words[role], name);
    return make_cert(name, uri, role_usage[role], days, ca, out, e);
}

/* ---- files ---- */

static int write_pem(const char *path, const struct pair *p, bool key, struct err *e)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    FILE *f;
    int ok;

    if (fd < 0)
        return err_sys(e, "cannot make '%s'", path);
    if (!(f = fdopen(fd, "w"))) {
        close(fd);
        return err_sys(e, "cannot write '%s'", path);
    }
    ok = key ? PEM_write_PrivateKey(f, p->key, NULL, NULL, 0, NULL, NULL)
             : PEM_write_X509(f, p->cert);
    ok = ok && fflush(f) == 0 && fsync(fd) == 0;
    if (fclose(f) == 0 && ok)
        return 0;
    err_sys(e, "cannot write '%s'", path);
    unlink(path); /* half a file would be in the way of the next try */
    return -1;
}

static int write_pair(const char *dir, const char *name, const struct pair *p, struct err *e)
{
    char crt[PATH_MAX], key[PATH_MAX];

    if (path_of(crt, dir, name, ".crt", e) != 0 || path_of(key, dir, name, ".key", e) != 0 ||
        write_pem(key, p, true, e) != 0)
        return -1;
    if (write_pem(crt, p, false, e) != 0) {
        unlink(key);
        return -1;
    }
    return 0;
}

static void remove_pair(const char *dir, const char *name)
{
    char path[PATH_MAX];

    if (path_of(path, dir, name, ".crt", NULL) == 0)
        unlink(path);
    if (path_of(path, dir, name, ".key", NULL) == 0)
        unlink(path);
}

int pki_make_cluster(const char *dir, const struct pki_request *req, struct err *e)
{
    static const char *const names[] = {"ca", "cp", "dp"};
    const char *cluster = req->cluster ? req->cluster : "default";
    unsigned node_days = req->node_days ? req->node_days : PKI_NODE_DAYS;
    struct pair pairs[3] = {{0}};
    char uri[256], ca_name[128];
    size_t written = 0;
    int rc = -1;

    if (check_name("cluster", cluster, e) != 0)
        return -1;
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return err_sys(e, "cannot make the directory '%s'", dir);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (check_absent(dir, names[i], e) != 0)
            return -1;
    snprintf(uri, sizeof(uri), "%s%s", uri_prefix, cluster);
    snprintf(ca_name, sizeof(ca_name), "Weir cluster %s", cluster);
    if (make_cert(ca_name, uri, NULL, req->ca_days ? req->ca_days : PKI_CA_DAYS, NULL, &pairs[0],
                  e) != 0 ||
        make_node(PKI_CP, cluster, "cp", node_days, &pairs[0], &pairs[1], e) != 0 ||
        make_node(PKI_DP, cluster, "dp", node_days, &pairs[0], &pairs[2], e) != 0)
        goto out;
    while (written < ARRAY_LEN(names) && write_pair(dir, names[written], &pairs[written], e) == 0)
        written++;
    rc = written == ARRAY_LEN(names) ? 0 : -1;
    while (rc != 0 && written > 0)
        remove_pair(dir, names[--written]);
out:
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
        pair_fini(&pairs[i]);
    return rc;
}

static int load_ca(const char *dir, struct pair *out, struct err *e)
{
    char path[PATH_MAX];
    FILE *f;

    if (path_of(path, dir, "ca", ".crt", e) != 0)
        return -1;
    if (!(f = fopen(path, "re")))
        return err_sys(e, "cannot read the cluster's CA certificate '%s'", path);
    out->cert = PEM_read_X509(f, NULL, NULL, NULL);
    fclose(f);
    if (!out->cert)
        return err_set(e, ERR_INVALID, "'%s': expected a certificate (PEM)", path);
    if (path_of(path, dir, "ca", ".key", e) != 0)
        return -1;
    if (!(f = fopen(path, "re")))
        return err_sys(e, "cannot read the cluster's CA key '%s'", path);
    out->key = PEM_read_PrivateKey(f, NULL, NULL, NULL);
    fclose(f);
    if (!out->key || X509_check_private_key(out->cert, out->key) != 1)
        return err_set(e, ERR_INVALID, "'%s': expected the private key (PEM) of ca.crt", path);
    return 0;
}

/* The cluster's name stands in the CA's own URI. */
static int ca_cluster(X509 *ca, char out[NAME_MAX_LEN + 1], struct err *e)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(ca, NID_subject_alt_name, NULL, NULL);
    bool found = false;

    for (int i = 0; !found && i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *n = sk_GENERAL_NAME_value(names, i);
        struct str uri;

        if (n->type != GEN_URI)
            continue;
        uri = str_n((const char *)ASN1_STRING_get0_data(n->d.uniformResourceIdentifier),
                    (size_t)ASN1_STRING_length(n->d.uniformResourceIdentifier));
        if (!str_starts(uri, str_of(uri_prefix)) ||
            uri.len - strlen(uri_prefix) > NAME_MAX_LEN)
            continue;
        memcpy(out, uri.p + strlen(uri_prefix), uri.len - strlen(uri_prefix));
        out[uri.len - strlen(uri_prefix)] = '\0';
        found = check_name("cluster", out, NULL) == 0;
    }
    GENERAL_NAMES_free(names);
    if (found)
        return 0;
    return err_set(e, ERR_INVALID, "ca.crt is no CA of a Weir cluster, expected the URI %sNAME",
                   uri_prefix);
}

int pki_issue(const char *dir, enum pki_role role, const char *name, unsigned days, struct err *e)
{
    char cluster[NAME_MAX_LEN + 1];
    struct pair ca = {0}, node = {0};
    int rc = -1;

    if (check_name("node", name, e) != 0)
        return -1;
    if (check_absent(dir, name, e) == 0 && load_ca(dir, &ca, e) == 0 &&
        ca_cluster(ca.cert, cluster, e) == 0 &&
        make_node(role, cluster, name, days ? days : PKI_NODE_DAYS, &ca, &node, e) == 0)
        rc = write_pair(dir, name, &node, e);
    pair_fini(&ca);
    pair_fini(&node);
    return rc;
}
