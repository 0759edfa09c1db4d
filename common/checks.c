/* checks.c - text, paths, regexes, certificates (checks.h). */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "common/checks.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <pcre2.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "common/uri.h"

/* ---- characters ---- */

enum {
    CH_NAME = 1,   /* utf8_name */
    CH_TAG = 2,    /* tag */
    CH_HEADER = 4, /* header_name */
    CH_TOKEN = 8,  /* http_token */
    CH_PATH = 16,  /* path, apart from '%' */
};

static unsigned char class_of(unsigned char c)
{
    static const char path[] = "/-._~!$&'()*+,;=:@";
    bool alnum = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    bool high = c >= 128 && c <= 244;
    unsigned char mask = 0;

    if (alnum || high || (c && strchr(".-_~", c)))
        mask |= CH_NAME;
    if (high || (c >= ' ' && c <= '~' && c != ',' && c != '/'))
        mask |= CH_TAG;
    if (alnum || c == '-' || c == '_')
        mask |= CH_HEADER;
    if (c > ' ' && c < 127 && !strchr("()<>@,;:\\\"/?={}[]", c))
        mask |= CH_TOKEN;
    if (alnum || (c && strchr(path, c)))
        mask |= CH_PATH;
    return mask;
}

static unsigned char classes[256]; /* class_of, of each */
static pthread_once_t classes_once = PTHREAD_ONCE_INIT;

static void fill_classes(void)
{
    for (unsigned c = 0; c < 256; c++)
        classes[c] = class_of((unsigned char)c);
}

static bool all_of(struct str s, unsigned char mask)
{
    pthread_once(&classes_once, fill_classes);
    for (size_t i = 0; i < s.len; i++) {
        if (!(classes[(unsigned char)s.p[i]] & mask))
            return false;
    }
    return true;
}

/* Length of the sequence at p, or 0 when it is not valid. */
static size_t utf8_sequence(const unsigned char *p, size_t left)
{
    size_t n;
    unsigned char low = 0x80, high = 0xbf;

    if (p[0] < 0x80)
        return 1;
    if (p[0] >= 0xc2 && p[0] <= 0xdf)
        n = 2;
    else if (p[0] >= 0xe0 && p[0] <= 0xef)
        n = 3;
    else if (p[0] >= 0xf0 && p[0] <= 0xf4)
        n = 4;
    else
        return 0;
    if (left < n)
        return 0;
    switch (p[0]) { /* overlong forms, surrogates, beyond U+10FFFF */
    case 0xe0: low = 0xa0; break;
    case 0xed: high = 0x9f; break;
    case 0xf0: low = 0x90; break;
    case 0xf4: high = 0x8f; break;
    default: break;
    }
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++) {
        if (p[i] < 0x80 || p[i] > 0xbf)
            return 0;
    }
    return n;
}

size_t utf8_invalid_at(struct str s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    size_t i = 0;

    while (i < s.len) {
        uint64_t word;
        size_t n;

        while (i + 8 <= s.len) { /* eight ASCII bytes at a time */
            memcpy(&word, p + i, 8);
            if (word & 0x8080808080808080u)
                break;
            i += 8;
        }
        if (i == s.len)
            break;
        n = utf8_sequence(p + i, s.len - i);
        if (n == 0)
            return i;
        i += n;
    }
    return s.len;
}

int check_utf8_name(const struct field *f, struct str s, struct err *e)
{
    (void)f;
    if (all_of(s, CH_NAME))
        return 0;
    return err_set(e, ERR_INVALID,
                   "invalid value '" STR_FMT
                   "': the only accepted ascii characters are alphanumerics or ., -, _, and ~",
                   STR_ARG(s));
}

int check_tag(const struct field *f, struct str s, struct err *e)
{
    (void)f;
    if (all_of(s, CH_TAG))
        return 0;
    return err_set(e, ERR_INVALID,
                   "invalid tag '" STR_FMT
                   "': expected printable ascii (except `,` and `/`) or valid utf-8 sequences",
                   STR_ARG(s));
}

int check_header_name(const struct field *f, struct str s, struct err *e)
{
    (void)f;
    if (all_of(s, CH_HEADER))
        return 0;
    return err_set(e, ERR_INVALID,
                   "bad header name '" STR_FMT
                   "', allowed characters are A-Z, a-z, 0-9, '_', and '-'",
                   STR_ARG(s));
}

int check_http_token(const struct field *f, struct str text, struct err *e)
{
    (void)f;
    if (all_of(text, CH_TOKEN))
        return 0;
    return err_set(e, ERR_INVALID,
                   "contains one or more invalid characters. ASCII control characters (0-31;127), "
                   "space, tab and the characters ()<>@,;:\\\"/?={}[] are not allowed.");
}

/* ---- paths and URLs ---- */

static int bad_escape(struct str path, struct err *e)
{
    size_t at = path_bad_escape(path);

    if (at == path.len)
        return 0;
    return err_set(e, ERR_INVALID, "invalid url-encoded value: '" STR_FMT "'",
                   STR_ARG(str_n(path.p + at, size_min(3, path.len - at))));
}

int check_path(const struct field *f, struct str s, struct err *e)
{
    (void)f;
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] != '%' && !(class_of((unsigned char)s.p[i]) & CH_PATH))
            return err_set(e, ERR_INVALID,
                           "invalid path: '" STR_FMT
                           "' (characters outside of the reserved list of RFC 3986 found)",
                           STR_ARG(s));
    }
    return bad_escape(s, e);
}

int check_url(const struct field *f, struct str text, struct err *e)
{
    struct uri u;

    (void)f;
    uri_split(text, &u);
    if (!u.host.p)
        return err_set(e, ERR_INVALID, "missing host in url");
    if (!u.scheme.p)
        return err_set(e, ERR_INVALID, "missing scheme in url");
    return 0;
}

/* ---- regexes ---- */

/* Compiles for validation only; words as the reference's regex library puts them. */
int regex_compiles(struct str regex, struct err *e)
{
    PCRE2_UCHAR text[256];
    PCRE2_SIZE at = 0;
    int code = 0;
    pcre2_code *re = pcre2_compile((PCRE2_SPTR)regex.p, regex.len, 0, &code, &at, NULL);

    if (re) {
        pcre2_code_free(re);
        return 0;
    }
    pcre2_get_error_message(code, text, sizeof(text));
    if (at < regex.len)
        return err_set(
            e, ERR_INVALID, "pcre2_compile() failed: %s in \"" STR_FMT "\" at \"" STR_FMT "\"",
            (const char *)text, STR_ARG(regex), STR_ARG(str_n(regex.p + at, regex.len - at)));
    return err_set(e, ERR_INVALID, "pcre2_compile() failed: %s in \"" STR_FMT "\"",
                   (const char *)text, STR_ARG(regex));
}

static int regex_path(struct str regex, struct err *e)
{
    struct err why = {0};

    if (bad_escape(regex, e) != 0)
        return -1;
    if (regex_compiles(regex, &why) == 0)
        return 0;
    return err_set(e, ERR_INVALID, "invalid regex: '" STR_FMT "' (PCRE returned: %s)",
                   STR_ARG(regex), why.message);
}

int check_router_path(const struct field *f, struct str s, struct err *e)
{
    struct str normal;
    char *buf;

    (void)f;
    if (s.len && s.p[0] == '~')
        return regex_path(str_n(s.p + 1, s.len - 1), e);
    if (bad_escape(s, e) != 0)
        return -1;
    if (path_is_normal(s))
        return 0;
    buf = xmalloc(s.len + 1);
    normal = path_normalize(s, buf);
    err_set(e, ERR_INVALID, "non-normalized path, consider use '" STR_FMT "' instead",
            STR_ARG(normal));
    free(buf);
    return -1;
}

int check_asterisk_or_regex(const struct field *f, struct str s, struct err *e)
{
    (void)f;
    if (str_eq(s, STR("*")) || regex_compiles(s, NULL) == 0)
        return 0;
    return err_set(e, ERR_INVALID, "'" STR_FMT "' is not a valid regex", STR_ARG(s));
}

/* Patterns of the tables, compiled at first use and kept: there are few. */
struct compiled {
    const char *regex;
    struct str literal; /* when it is nothing but one, perhaps behind ^; else absent */
    bool anchored;
    pcre2_code *code;
    struct compiled *next;
};
static _Atomic(struct compiled *) compiled_list;

static void find_literal(struct compiled *c)
{
    struct str text = str_of(c->regex);

    c->anchored = str_starts(text, STR("^"));
    c->literal = str_n(text.p + c->anchored, text.len - c->anchored);
    for (size_t i = 0; i < c->literal.len; i++)
        if (!(class_of((unsigned char)c->literal.p[i]) & CH_PATH) ||
            strchr(".$()*+", c->literal.p[i]))
            c->literal = STR_NONE;
}

static const struct compiled *compiled_regex(const char *regex)
{
    struct compiled *c, *head = atomic_load_explicit(&compiled_list, memory_order_acquire);
    PCRE2_SIZE at;
    int code;

    for (c = head; c; c = c->next) {
        if (c->regex == regex)
            return c;
    }
    c = xmalloc(sizeof(*c));
    c->regex = regex;
    find_literal(c);
    c->code = pcre2_compile((PCRE2_SPTR)regex, PCRE2_ZERO_TERMINATED, 0, &code, &at, NULL);
    WEIR_ASSERT(c->code); /* a pattern of ours */
    (void)pcre2_jit_compile(c->code, PCRE2_JIT_COMPLETE); /* without it the interpreter matches */
    /* two threads may both add one: the second is found first, both are right */
    do {
        c->next = head;
    } while (!atomic_compare_exchange_weak_explicit(&compiled_list, &head, c, memory_order_release,
                                                    memory_order_acquire));
    return c;
}

bool regex_matches(const char *regex, struct str subject)
{
    const struct compiled *c = compiled_regex(regex);
    pcre2_code *code = c->code;
    pcre2_match_data *md;
    int rc;

    if (c->literal.p && c->anchored)
        return str_starts(subject, c->literal);
    if (c->literal.p)
        return subject.len && memmem(subject.p, subject.len, c->literal.p, c->literal.len);
    md = pcre2_match_data_create(1, NULL);
    WEIR_ASSERT(md);
    rc = pcre2_match(code, (PCRE2_SPTR)(subject.p ? subject.p : ""), subject.len, 0, 0, md, NULL);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT) /* the interpreter takes its stack from the heap */
        rc = pcre2_match(code, (PCRE2_SPTR)(subject.p ? subject.p : ""), subject.len, 0,
                         PCRE2_NO_JIT, md, NULL);
    pcre2_match_data_free(md);
    return rc >= 0;
}

/* ---- certificates and keys ---- */

static BIO *bio_of(struct str pem)
{
    BIO *bio = BIO_new_mem_buf(pem.p, (int)size_min(pem.len, INT32_MAX));

    WEIR_ASSERT(bio);
    return bio;
}

static X509 *load_cert(struct str pem)
{
    BIO *bio = bio_of(pem);
    X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);

    BIO_free(bio);
    return cert;
}

/* No prompt: an encrypted key is refused. */
static int no_passphrase(char *buf, int size, int writing, void *arg)
{
    (void)buf;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

static EVP_PKEY *load_key(struct str pem)
{
    BIO *bio = bio_of(pem);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);

    BIO_free(bio);
    return key;
}

static int openssl_failed(const char *what, struct err *e)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;

    err_set(e, ERR_INVALID, "%s: %s", what, reason ? reason : "expected PEM");
    ERR_clear_error();
    return -1;
}

int check_certificate_pem(const struct field *f, struct str text, struct err *e)
{
    X509 *cert;

    (void)f;
    ERR_clear_error();
    cert = load_cert(text);
    if (!cert)
        return openssl_failed("invalid certificate", e);
    X509_free(cert);
    return 0;
}

int check_private_key_pem(const struct field *f, struct str text, struct err *e)
{
    EVP_PKEY *key;

    (void)f;
    ERR_clear_error();
    key = load_key(text);
    if (!key)
        return openssl_failed("invalid key", e);
    EVP_PKEY_free(key);
    return 0;
}

/* The text of a member that can be looked into: not null, no vault reference. */
static struct str pem_member(const json_t *doc, const char *name)
{
    struct str s = json_str(json_object_get(doc, name));

    return s.p && !str_starts(s, STR("{vault://")) ? s : STR_NONE;
}

static int pair_matches(const json_t *doc, const char *cert_name, const char *key_name,
                        const char *text, struct err *e)
{
    struct str cert_pem = pem_member(doc, cert_name), key_pem = pem_member(doc, key_name);
    X509 *cert = cert_pem.p ? load_cert(cert_pem) : NULL;
    EVP_PKEY *key = key_pem.p ? load_key(key_pem) : NULL;
    bool differ = cert && key && X509_check_private_key(cert, key) != 1;

    X509_free(cert);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return differ ? err_set(e, ERR_INVALID, "%s", text) : 0;
}

int check_cert_matches_key(const json_t *doc, struct err *e)
{
    return pair_matches(doc, "cert", "key", "certificate does not match key", e);
}

int check_cert_alt_matches_key(const json_t *doc, struct err *e)
{
    return pair_matches(doc, "cert_alt", "key_alt", "alternative certificate does not match key",
                        e);
}

int check_cert_types_differ(const json_t *doc, struct err *e)
{
    struct str a_pem = pem_member(doc, "cert"), b_pem = pem_member(doc, "cert_alt");
    X509 *a = a_pem.p ? load_cert(a_pem) : NULL, *b = b_pem.p ? load_cert(b_pem) : NULL;
    EVP_PKEY *a_key = a ? X509_get0_pubkey(a) : NULL, *b_key = b ? X509_get0_pubkey(b) : NULL;
    bool same = a_key && b_key && EVP_PKEY_get_base_id(a_key) == EVP_PKEY_get_base_id(b_key);

    X509_free(a);
    X509_free(b);
    ERR_clear_error();
    if (!same)
        return 0;
    return err_set(e, ERR_INVALID,
                   "certificate and alternative certificate need to have different type (e.g. RSA "
                   "and ECDSA), the provided certificates were both of the same type");
}
