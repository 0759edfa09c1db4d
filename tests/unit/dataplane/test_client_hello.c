/* ClientHellos: OpenSSL's own and made ones, in one record and in many, at every split. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <openssl/ssl.h>
#include <stdlib.h>

#include "dataplane/tls/client_hello.h"

static char scratch[CLIENT_HELLO_MAX];

/* ---- making them ---- */

static void add_number(struct sbuf *b, size_t width, size_t v)
{
    while (width--)
        sbuf_addc(b, (char)(v >> 8 * width));
}

static void add_vector(struct sbuf *b, size_t width, struct str s)
{
    add_number(b, width, s.len);
    sbuf_addstr(b, s);
}

/* A message with these extensions as bytes; p NULL: without the field. */
static void make_message(struct sbuf *out, struct str extensions)
{
    struct sbuf body = {0};

    sbuf_adds(&body, "\x03\x03" "0123456789abcdef0123456789abcdef");
    add_vector(&body, 1, STR("session"));
    add_vector(&body, 2, STR("\x13\x01\x13\x02"));
    add_vector(&body, 1, STR("\0"));
    if (extensions.p)
        add_vector(&body, 2, extensions);
    sbuf_addc(out, 1);
    add_vector(out, 3, sbuf_str(&body));
    sbuf_free(&body);
}

/* The message in records of at most piece bytes. */
static void make_records(struct sbuf *out, struct str message, size_t piece)
{
    while (message.len) {
        size_t n = size_min(piece, message.len);

        sbuf_adds(out, "\x16\x03\x01");
        add_vector(out, 2, str_n(message.p, n));
        message = str_n(message.p + n, message.len - n);
    }
}

/* The first flight of a client of the library. */
static void make_real(struct sbuf *out, const char *name, struct str alpn)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(ctx);
    BIO *to = BIO_new(BIO_s_mem());
    char *p;
    long n;

    if (name)
        assert_int_equal(SSL_set_tlsext_host_name(ssl, name), 1);
    if (alpn.p)
        assert_int_equal(SSL_set_alpn_protos(ssl, (const unsigned char *)alpn.p, (unsigned)alpn.len), 0);
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), to);
    assert_int_equal(SSL_connect(ssl), -1);
    n = BIO_get_mem_data(to, &p);
    sbuf_add(out, p, (size_t)n);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
}

/* From memory of exactly that size, which the result points into until the next call. */
static enum hello_result parse(struct str in, struct client_hello *out)
{
    static char *copy;

    free(copy);
    copy = malloc(in.len ? in.len : 1);
    if (in.len)
        memcpy(copy, in.p, in.len);
    return client_hello_parse(str_n(copy, in.len), scratch, out);
}

/* The verdict at the first split that has one; *n_out bytes were needed for it. */
static enum hello_result parse_growing(struct str in, struct client_hello *out, size_t *n_out)
{
    enum hello_result result = HELLO_MORE;

    for (*n_out = 0; *n_out <= in.len; ++*n_out)
        if ((result = parse(str_n(in.p, *n_out), out)) != HELLO_MORE)
            return result;
    return result;
}

/* ---- tests ---- */

static void the_librarys_own(void **state)
{
    static const struct {
        const char *name;
        struct str alpn;
    } cases[] = {
        {"www.Example.com", {"\x02h2\x08http/1.1", 12}},
        {"a", {NULL, 0}},
        {NULL, {"\x08http/1.1", 9}},
        {NULL, {NULL, 0}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct sbuf bytes = {0};
        struct client_hello hello;
        size_t n;

        make_real(&bytes, cases[i].name, cases[i].alpn);
        assert_int_equal(parse_growing(sbuf_str(&bytes), &hello, &n), HELLO_OK);
        assert_int_equal(n, bytes.len);
        assert_true(str_eq(hello.server_name, str_of(cases[i].name)));
        assert_int_equal(hello.server_name.p == NULL, cases[i].name == NULL);
        assert_true(str_eq(hello.alpn, cases[i].alpn));
        assert_int_equal(hello.alpn.p == NULL, cases[i].alpn.p == NULL);
        /* the same from records of one byte and more */
        for (size_t piece = 1; piece < bytes.len; piece += piece < 8 ? 1 : 37) {
            struct sbuf cut = {0};
            struct str message = str_n(bytes.p + 5, bytes.len - 5);

            make_records(&cut, message, piece);
            assert_int_equal(parse_growing(sbuf_str(&cut), &hello, &n), HELLO_OK);
            assert_int_equal(n, cut.len);
            assert_true(str_eq(hello.server_name, str_of(cases[i].name)));
            assert_true(str_eq(hello.alpn, cases[i].alpn));
            sbuf_free(&cut);
        }
        sbuf_free(&bytes);
    }
}

#define X63 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

static void names_are_checked(void **state)
{
    static const struct {
        struct str sent;
        const char *name; /* NULL: refused */
    } cases[] = {
        {STR("a.b-c_d.0"), "a.b-c_d.0"},
        {STR("a.b."), "a.b"},
        {STR("xn--nxasmq6b.test"), "xn--nxasmq6b.test"},
        {STR(X63 "." X63 "." X63 "." X63), X63 "." X63 "." X63 "." X63},
        {STR(X63 "." X63 "." X63 "." X63 ".x"), NULL},
        {STR(X63 "x"), NULL},
        {STR(""), NULL},
        {STR("."), NULL},
        {STR("a.."), NULL},
        {STR(".a"), NULL},
        {STR("a..b"), NULL},
        {STR("a\0.b"), NULL},
        {STR("a\0"), NULL},
        {STR("*.a"), NULL},
        {STR("a b"), NULL},
        {STR("a/b"), NULL},
        {STR("a:443"), NULL},
        {STR("::1"), NULL},
        {STR("a\xc3\xa9"), NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct sbuf list = {0}, extension = {0}, extensions = {0}, message = {0}, bytes = {0};
        struct client_hello hello;
        enum hello_result result;

        sbuf_addc(&list, 0);
        add_vector(&list, 2, cases[i].sent);
        add_vector(&extension, 2, sbuf_str(&list));
        add_number(&extensions, 2, 0);
        add_vector(&extensions, 2, sbuf_str(&extension));
        make_message(&message, sbuf_str(&extensions));
        make_records(&bytes, sbuf_str(&message), bytes.len + message.len);
        result = parse(sbuf_str(&bytes), &hello);
        if (result != (cases[i].name ? HELLO_OK : HELLO_BAD))
            fail_msg("result %d: " STR_FMT, result, STR_ARG(cases[i].sent));
        if (result == HELLO_OK)
            assert_true(str_eq(hello.server_name, str_of(cases[i].name)));
        sbuf_free(&list), sbuf_free(&extension), sbuf_free(&extensions), sbuf_free(&message), sbuf_free(&bytes);
    }
}

static void extensions_are_checked(void **state)
{
    static const struct {
        struct str extensions;
        bool ok;
    } cases[] = {
        {STR_NONE, true},
        {STR(""), true},
        {STR("\xaa\xaa\0\0" "\0\x2b\0\x03\x02\x03\x04"), true},
        {STR("\0\0\0\x06\0\x04\0\0\x01" "a"), true},
        {STR("\0\x10\0\x05\0\x03\x02h2"), true},
        {STR("\0\x10\0\x05\0\x03\x02h2" "\0\0\0\x06\0\x04\0\0\x01" "a"), true},
        {STR("\0"), false},
        {STR("\0\x2b\0"), false},
        {STR("\0\x2b\0\x04\x02\x03\x04"), false},
        {STR("\0\0\0\0"), false},                                                  /* server_name: empty, as servers answer */
        {STR("\0\0\0\x02\0\0"), false},                                            /* no name */
        {STR("\0\0\0\x07\0\x04\0\0\x01" "ab"), false},                             /* bytes behind the list */
        {STR("\0\0\0\x06\0\x05\0\0\x01" "a"), false},                              /* list beyond the extension */
        {STR("\0\0\0\x06\0\x04\0\0\x02" "a"), false},                              /* name beyond the list */
        {STR("\0\0\0\x06\0\x04\x01\0\x01" "a"), false},                            /* another type of name */
        {STR("\0\0\0\x0a\0\x08\0\0\x01" "a\0\0\x01" "b"), false},                  /* two names */
        {STR("\0\0\0\x06\0\x04\0\0\x01" "a" "\0\0\0\x06\0\x04\0\0\x01" "a"), false}, /* the extension twice */
        {STR("\0\x10\0\0"), false},
        {STR("\0\x10\0\x02\0\0"), false},
        {STR("\0\x10\0\x03\0\x01\0"), false},
        {STR("\0\x10\0\x06\0\x04\x02h2\0"), false},                                /* an empty protocol */
        {STR("\0\x10\0\x05\0\x03\x03h2"), false},
        {STR("\0\x10\0\x05\0\x04\x02h2"), false},
        {STR("\0\x10\0\x05\0\x03\x02h2" "\0\x10\0\x05\0\x03\x02h2"), false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct sbuf message = {0};

        make_message(&message, cases[i].extensions);
        for (size_t piece = 1; piece <= message.len; piece += 16) {
            struct sbuf bytes = {0};
            struct client_hello hello;
            size_t n;

            make_records(&bytes, sbuf_str(&message), piece);
            if (parse_growing(sbuf_str(&bytes), &hello, &n) != (cases[i].ok ? HELLO_OK : HELLO_BAD))
                fail_msg("case %zu in pieces of %zu", i, piece);
            sbuf_free(&bytes);
        }
        sbuf_free(&message);
    }
}

static void protocols_are_walked(void **state)
{
    struct str list = STR("\x02h2\x08http/1.1"), name;

    (void)state;
    assert_true(client_hello_alpn_next(&list, &name) && str_eq(name, STR("h2")));
    assert_true(client_hello_alpn_next(&list, &name) && str_eq(name, STR("http/1.1")));
    assert_false(client_hello_alpn_next(&list, &name));
}

static void what_begins_otherwise(void **state)
{
    static const struct {
        struct str bytes;
        enum hello_result result;
    } cases[] = {
        {STR(""), HELLO_MORE},
        {STR("\x16"), HELLO_MORE},
        {STR("\x16\x03\x01\x40"), HELLO_MORE},
        {STR("\x16\x03\x01\x40\x00\x01\x00\x3f\xf0"), HELLO_MORE},
        {STR("GET / HTTP/1.1\r\n"), HELLO_NOT_TLS},
        {STR("\x16GET"), HELLO_NOT_TLS},
        {STR("\x80\x2e\x01\x03\x01"), HELLO_NOT_TLS}, /* SSL 2 */
        {STR("\x15\x03\x01\x00\x02\x01\x00"), HELLO_NOT_TLS},
        {STR("\x16\x03\x01\x00\x00"), HELLO_BAD},
        {STR("\x16\x03\x01\x40\x01"), HELLO_BAD},
        {STR("\x16\x03\x01\x00\x04\x02"), HELLO_BAD},             /* ServerHello */
        {STR("\x16\x03\x01\x00\x04\x01\x00\x40\x00"), HELLO_BAD}, /* longer than what is looked at */
        {STR("\x16\x03\x01\x00\x04\x01\x00\x00\x00"), HELLO_BAD},
        {STR("\x16\x03\x01\x00\x01\x01\x17"), HELLO_BAD},         /* another type between its records */
        {STR("\x16\x03\x01\x00\x01\x01\x16\x02"), HELLO_BAD},
        {STR("\x16\x03\x01\x00\x01\x01\x16\x03\x01\x00\x00"), HELLO_BAD},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct client_hello hello;
        enum hello_result result = parse(cases[i].bytes, &hello);

        if (result != cases[i].result)
            fail_msg("case %zu: result %d", i, result);
    }
}

/* The fields in front of the extensions, each with a length that does not fit. */
static void lengths_have_to_add_up(void **state)
{
    struct sbuf message = {0};

    (void)state;
    make_message(&message, STR("\0\0\0\x06\0\x04\0\0\x01" "a"));
    /* version, session's length, suites' length (odd), compression's length, extensions' length */
    static const struct {
        size_t at;
        char value;
    } changes[] = {{4, 2}, {38, 33}, {47, 3}, {47, 0}, {52, 0}, {52, 2}, {55, 9}, {55, 11}};

    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        struct sbuf bytes = {0};
        struct client_hello hello;

        make_records(&bytes, sbuf_str(&message), message.len);
        assert_int_equal(parse(sbuf_str(&bytes), &hello), HELLO_OK);
        bytes.p[5 + changes[i].at] = changes[i].value;
        if (parse(sbuf_str(&bytes), &hello) != HELLO_BAD)
            fail_msg("change %zu taken", i);
        sbuf_free(&bytes);
    }
    sbuf_free(&message);
}

static void the_bound_holds(void **state)
{
    struct sbuf padding = {0}, message = {0}, bytes = {0};
    struct client_hello hello;
    size_t n;

    (void)state;
    /* an extension (21, padding) that makes one record of exactly the bound */
    add_number(&padding, 2, 21);
    add_number(&padding, 2, CLIENT_HELLO_MAX - 5 - 60);
    sbuf_reserve(&padding, CLIENT_HELLO_MAX);
    while (padding.len < CLIENT_HELLO_MAX - 5 - 56)
        sbuf_addc(&padding, 0);
    make_message(&message, sbuf_str(&padding));
    make_records(&bytes, sbuf_str(&message), CLIENT_HELLO_MAX);
    assert_int_equal(bytes.len, CLIENT_HELLO_MAX);
    assert_int_equal(parse(str_n(bytes.p, bytes.len - 1), &hello), HELLO_MORE);
    assert_int_equal(parse(sbuf_str(&bytes), &hello), HELLO_OK);
    /* the same message in two records is five bytes too long */
    sbuf_clear(&bytes);
    make_records(&bytes, sbuf_str(&message), 9000);
    assert_int_equal(parse_growing(sbuf_str(&bytes), &hello, &n), HELLO_BAD);
    assert_int_equal(n, CLIENT_HELLO_MAX);
    sbuf_free(&padding), sbuf_free(&message), sbuf_free(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_librarys_own),
        cmocka_unit_test(names_are_checked),
        cmocka_unit_test(extensions_are_checked),
        cmocka_unit_test(protocols_are_walked),
        cmocka_unit_test(what_begins_otherwise),
        cmocka_unit_test(lengths_have_to_add_up),
        cmocka_unit_test(the_bound_holds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
