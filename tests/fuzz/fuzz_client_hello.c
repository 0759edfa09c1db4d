/*
 * ClientHellos: any input ends in a verdict; every part of a whole one asks for more; cut into
 * other records it says the same; and it says what OpenSSL reads in it, as far as that gets.
 */
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>

#include "dataplane/tls/client_hello.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char scratch[CLIENT_HELLO_MAX], scratch_cut[CLIENT_HELLO_MAX];

/* The same handshake in records of one to 256 bytes as the bytes themselves say. 0: no room. */
static size_t cut_again(const char *in, size_t size, char *to, size_t room)
{
    size_t made = 0;

    for (size_t at = 0; at + 5 < size;) { /* the records as they are, one after the other */
        size_t end = at + 5 + ((size_t)(unsigned char)in[at + 3] << 8 | (unsigned char)in[at + 4]);

        for (at += 5; at < size_min(end, size);) {
            size_t n = size_min((unsigned char)in[at] + 1u, size_min(end, size) - at);

            if (made + 5 + n > room)
                return 0;
            memcpy(to + made, "\x16\x03\x03", 3);
            to[made + 3] = (char)(n >> 8);
            to[made + 4] = (char)n;
            memcpy(to + made + 5, in + at, n);
            made += 5 + n;
            at += n;
        }
    }
    return made;
}

static bool same(struct str a, struct str b)
{
    return (a.p == NULL) == (b.p == NULL) && str_eq(a, b);
}

/* ---- the same bytes, read by OpenSSL ---- */

struct reading {
    bool whole; /* it had a ClientHello and took it apart */
    struct sbuf server_name, alpn; /* the extensions' bytes */
};

static int on_client_hello(SSL *ssl, int *alert, void *arg)
{
    struct reading *r = SSL_get_app_data(ssl);
    const unsigned char *p;
    size_t n;

    (void)alert, (void)arg;
    r->whole = true;
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &p, &n))
        sbuf_add(&r->server_name, p, n);
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &p, &n))
        sbuf_add(&r->alpn, p, n);
    return SSL_CLIENT_HELLO_ERROR; /* it has done its part */
}

static void read_with_openssl(const void *data, size_t size, struct reading *out)
{
    static SSL_CTX *ctx;
    SSL *ssl;

    if (!ctx) {
        ctx = SSL_CTX_new(TLS_server_method());
        SSL_CTX_set_client_hello_cb(ctx, on_client_hello, NULL);
    }
    ssl = SSL_new(ctx);
    SSL_set_app_data(ssl, out);
    SSL_set_bio(ssl, BIO_new_mem_buf(data, (int)size), BIO_new(BIO_s_null()));
    (void)SSL_accept(ssl);
    SSL_free(ssl);
    ERR_clear_error();
}

/* What it read is the name or the list, behind the lengths in front of it. */
static bool is_of(struct str s, struct str extension, size_t in_front)
{
    struct str dotless;

    if (extension.len == 0)
        return s.p == NULL;
    if (extension.len < in_front)
        return false;
    extension = str_n(extension.p + in_front, extension.len - in_front);
    dotless = str_ends(extension, STR(".")) ? str_n(extension.p, extension.len - 1) : extension;
    return str_eq(s, extension) || str_eq(s, dotless);
}

static void check_with_openssl(const void *data, size_t size, enum hello_result result, const struct client_hello *hello)
{
    struct reading r = {0};

    read_with_openssl(data, size, &r);
    if (r.whole) {
        WEIR_ASSERT(result == HELLO_OK || result == HELLO_BAD); /* we are stricter, not slower */
        if (result == HELLO_OK)
            WEIR_ASSERT(is_of(hello->server_name, sbuf_str(&r.server_name), 5) &&
                        is_of(hello->alpn, sbuf_str(&r.alpn), 2));
    }
    sbuf_free(&r.server_name);
    sbuf_free(&r.alpn);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size ? size : 1); /* to its exact end, so that a step beyond shows */
    char *cut = malloc(CLIENT_HELLO_MAX);
    struct client_hello hello, again;
    struct str rest, name;
    enum hello_result result;
    size_t n;

    if (size)
        memcpy(copy, data, size);
    result = client_hello_parse(str_n(copy, size), scratch, &hello);
    WEIR_ASSERT(result != HELLO_MORE || size < CLIENT_HELLO_MAX);
    if (result == HELLO_OK) {
        rest = hello.alpn;
        while (client_hello_alpn_next(&rest, &name))
            WEIR_ASSERT(name.len > 0);
        WEIR_ASSERT(rest.len == 0 && hello.server_name.len <= 255);
        n = cut_again(copy, size, cut, CLIENT_HELLO_MAX);
        if (n) {
            WEIR_ASSERT(client_hello_parse(str_n(cut, n), scratch_cut, &again) == HELLO_OK);
            WEIR_ASSERT(same(hello.server_name, again.server_name) && same(hello.alpn, again.alpn));
        }
    }
    if (size && copy[0] == 22) /* not the form of SSL 2, which OpenSSL reads and we do not */
        check_with_openssl(copy, size, result, &hello);
    /* a verdict stays when more comes: the first part that has one has the whole's */
    for (n = 0; n < size; n += size < 512 ? 1 : 97) {
        char *part = malloc(n ? n : 1);
        enum hello_result early;

        memcpy(part, copy, n);
        early = client_hello_parse(str_n(part, n), scratch_cut, &again);
        free(part);
        WEIR_ASSERT(early == HELLO_MORE || early == result);
        if (early != HELLO_MORE)
            break;
    }
    free(copy);
    free(cut);
    return 0;
}
