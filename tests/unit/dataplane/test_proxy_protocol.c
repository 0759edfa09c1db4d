/* PROXY protocol headers: what is taken, what is refused, at every split; ours are read back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/stream/proxy_protocol.h"

#define B(literal) {"" literal, sizeof(literal) - 1}
#define SIG        "\r\n\r\n\0\r\nQUIT\n"
#define V4_ADDRS   "\x0a\x00\x00\x01\x0a\x00\x00\x02\x30\x39\x01\xbb"
#define V6_ADDRS   "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01" "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02" "\x30\x39\x01\xbb"
#define X12        "xxxxxxxxxxxx"
#define X108       X12 X12 X12 X12 X12 X12 X12 X12 X12

static const struct {
    struct str bytes;
    bool ok;
    const char *src; /* NULL: not known */
} headers[] = {
    {B("PROXY TCP4 10.0.0.1 10.0.0.2 12345 443\r\n"), true, "10.0.0.1 12345 10.0.0.2 443"},
    {B("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"), true, "255.255.255.255 65535 255.255.255.255 65535"},
    {B("PROXY TCP4 1.2.3.4 5.6.7.8 0 0\r\n"), true, "1.2.3.4 0 5.6.7.8 0"},
    {B("PROXY TCP6 2001:DB8::1 ::1 1 2\r\n"), true, "2001:db8::1 1 ::1 2"},
    {B("PROXY TCP6 ::ffff:1.2.3.4 :: 1 2\r\n"), true, "::ffff:1.2.3.4 1 :: 2"},
    {B("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"), true,
     "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535"},
    {B("PROXY UNKNOWN\r\n"), true},
    {B("PROXY UNKNOWN \r\n"), true},
    {B("PROXY UNKNOWN any  thing\x01\r\n"), true},
    {B("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"), true},
    {B("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535 \r\n"), false},
    {B("PROXY UNKNOWN bare\nlf\r\n"), false},
    {B("PROXY UNKNOWN bare\rcr\r\n"), false},
    {B("PROXY UNKNOWNS\r\n"), false},
    {B("PROXY\r\n"), false},
    {B("PROXY \r\n"), false},
    {B("PROXY  TCP4 10.0.0.1 10.0.0.2 1 2\r\n"), false},
    {B("PROXY TCP4 10.0.0.1 10.0.0.2 1\r\n"), false},
    {B("PROXY TCP4 10.0.0.1 10.0.0.2 1 2 3\r\n"), false},
    {B("PROXY TCP4 10.0.0.1 10.0.0.2 1 2 \r\n"), false},
    {B("PROXY TCP4 10.0.0.1  10.0.0.2 1 2\r\n"), false},
    {B("PROXY TCP4 10.0.0.1 10.0.0.2 1 \r\n"), false},
    {B("PROXY TCP4 10.0.0.1 10.0.0.2 1 2\n"), false},
    {B("PROXY TCP4 10.0.0.1 10.0.0.2 1 65536\r\n"), false},
    {B("PROXY TCP4 10.0.0.1 10.0.0.2 01 2\r\n"), false},
    {B("PROXY TCP4 10.0.0.1 10.0.0.2 00 2\r\n"), false},
    {B("PROXY TCP4 10.0.0.1 10.0.0.2 +1 2\r\n"), false},
    {B("PROXY TCP4 10.0.0.01 10.0.0.2 1 2\r\n"), false},
    {B("PROXY TCP4 10.0.1 10.0.0.2 1 2\r\n"), false},
    {B("PROXY TCP4 10.0.0.1\0 10.0.0.2 1 2\r\n"), false},
    {B("PROXY TCP4 ::1 ::2 1 2\r\n"), false},
    {B("PROXY TCP6 10.0.0.1 10.0.0.2 1 2\r\n"), false},
    {B("PROXY TCP6 fe80::1%eth0 ::2 1 2\r\n"), false},
    {B("PROXY TCP6 1::2::3 ::2 1 2\r\n"), false},
    {B("PROXY TCP5 10.0.0.1 10.0.0.2 1 2\r\n"), false},
    {B("PROXY tcp4 10.0.0.1 10.0.0.2 1 2\r\n"), false},
    {B("proxy TCP4 10.0.0.1 10.0.0.2 1 2\r\n"), false},
    {B("GET / HTTP/1.1\r\n"), false},
    {B("\x16\x03\x01"), false},

    {B(SIG "\x20\x00\x00\x00"), true},
    {B(SIG "\x20\x11\x00\x0c" V4_ADDRS), true},
    {B(SIG "\x20\xff\x00\x03xyz"), true}, /* LOCAL: the family and the rest are not looked at */
    {B(SIG "\x21\x00\x00\x00"), true},
    {B(SIG "\x21\x00\x00\x05\x09\x09\x09\x09\x09"), true},
    {B(SIG "\x21\x10\x00\x00"), true},
    {B(SIG "\x21\x01\x00\x00"), true},
    {B(SIG "\x21\x11\x00\x0c" V4_ADDRS), true, "10.0.0.1 12345 10.0.0.2 443"},
    {B(SIG "\x21\x12\x00\x0c" V4_ADDRS), true, "10.0.0.1 12345 10.0.0.2 443"},
    {B(SIG "\x21\x21\x00\x24" V6_ADDRS), true, "2001:db8::1 12345 2001:db8::2 443"},
    {B(SIG "\x21\x31\x00\xd8" X108 X108), true},
    {B(SIG "\x21\x32\x00\xdb" X108 X108 "\x04\x00\x00"), true},
    {B(SIG "\x21\x11\x00\x17" V4_ADDRS "\x02\x00\x05" "a.com" "\x04\x00\x00"), true, "10.0.0.1 12345 10.0.0.2 443"},
    {B(SIG "\x21\x11\x00\x14" V4_ADDRS "\x20\x00\x05\x01\0\0\0\0"), true, "10.0.0.1 12345 10.0.0.2 443"},
    {B(SIG "\x21\x11\x00\x0b" V4_ADDRS), false},
    {B(SIG "\x21\x11\x00\x0d" V4_ADDRS "\x04"), false},
    {B(SIG "\x21\x11\x00\x0e" V4_ADDRS "\x04\x00"), false},
    {B(SIG "\x21\x11\x00\x0f" V4_ADDRS "\x04\x00\x01"), false},
    {B(SIG "\x21\x11\x00\x13" V4_ADDRS "\x03\x00\x04" "abcd"), false},
    {B(SIG "\x21\x11\x00\x12" V4_ADDRS "\x03\x00\x03" "abc"), false},
    {B(SIG "\x21\x21\x00\x0c" V4_ADDRS), false},
    {B(SIG "\x21\x31\x00\x0c" V4_ADDRS), false},
    {B(SIG "\x21\x31\x00\xda" X108 X108 "\x04\x00"), false},
    {B(SIG "\x21\x41\x00\x0c" V4_ADDRS), false},
    {B(SIG "\x21\x13\x00\x0c" V4_ADDRS), false},
    {B(SIG "\x22\x11\x00\x0c" V4_ADDRS), false},
    {B(SIG "\x11\x11\x00\x0c" V4_ADDRS), false},
    {B(SIG "\x31\x11\x00\x0c" V4_ADDRS), false},
    {B(SIG "\x21\x11\x0f\xf1" V4_ADDRS), false}, /* 4097 bytes */
    {B("\r\n\r\n\0\r\nQUIT\r"), false},
    {B("\r\nPROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n"), false},
};

/* From memory of exactly that size, so that a look beyond shows under a sanitizer. */
static enum pp_result parse(struct str in, struct proxy_info *out, size_t *used)
{
    char *copy = malloc(in.len ? in.len : 1);
    enum pp_result result;

    memcpy(copy, in.p, in.len);
    result = proxy_parse(str_n(copy, in.len), out, used);
    free(copy);
    return result;
}

static void print(const struct proxy_info *info, char *to, size_t size)
{
    char src[INET6_ADDRSTRLEN], dst[INET6_ADDRSTRLEN];
    bool v4 = info->src.sa.sa_family == AF_INET;

    assert_int_equal(info->src.sa.sa_family, info->dst.sa.sa_family);
    inet_ntop(info->src.sa.sa_family, v4 ? (const void *)&info->src.v4.sin_addr : &info->src.v6.sin6_addr, src, sizeof(src));
    inet_ntop(info->dst.sa.sa_family, v4 ? (const void *)&info->dst.v4.sin_addr : &info->dst.v6.sin6_addr, dst, sizeof(dst));
    snprintf(to, size, "%s %u %s %u", src, ntohs(info->src.v4.sin_port), dst, ntohs(info->dst.v4.sin_port));
}

static void headers_are_taken_or_refused_at_every_split(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
        struct str text = headers[i].bytes;
        enum pp_result result = PP_MORE;
        struct proxy_info info;
        size_t n, used = 0;
        char got[128];

        for (n = 0; n <= text.len && result == PP_MORE; n++)
            result = parse(str_n(text.p, n), &info, &used);
        if (result != (headers[i].ok ? PP_OK : PP_BAD))
            fail_msg("%zu: result %d after %zu bytes: " STR_FMT, i, result, n - 1, STR_ARG(text));
        if (result == PP_BAD)
            continue;
        assert_int_equal(n - 1, text.len);
        assert_int_equal(used, text.len);
        assert_int_equal(info.known, headers[i].src != NULL);
        if (!info.known) {
            assert_int_equal(info.src.sa.sa_family, AF_UNSPEC);
            continue;
        }
        print(&info, got, sizeof(got));
        assert_string_equal(got, headers[i].src);
    }
}

static void what_follows_a_header_is_left(void **state)
{
    static const struct str v1 = B("PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\nGET / HTTP/1.1\r\n");
    static const struct str v2 = B(SIG "\x20\x00\x00\x00" "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n");
    struct proxy_info info;
    size_t used;

    (void)state;
    assert_int_equal(parse(v1, &info, &used), PP_OK);
    assert_int_equal(used, 34);
    assert_int_equal(parse(v2, &info, &used), PP_OK);
    assert_int_equal(used, 16);
    assert_false(info.known);
}

static void a_header_may_be_as_long_as_the_bound(void **state)
{
    char text[PROXY_HEADER_MAX];
    struct proxy_info info;
    size_t used;

    (void)state;
    memcpy(text, SIG "\x21\x11\x0f\xf0" V4_ADDRS "\x04\x0f\xe1", 31);
    memset(text + 31, 'x', sizeof(text) - 31);
    assert_int_equal(parse(str_n(text, sizeof(text) - 1), &info, &used), PP_MORE);
    assert_int_equal(parse(str_n(text, sizeof(text)), &info, &used), PP_OK);
    assert_int_equal(used, sizeof(text));
    text[30] = '\xe2'; /* one more than there is */
    assert_int_equal(parse(str_n(text, sizeof(text)), &info, &used), PP_BAD);
    text[15] = '\xf1'; /* and a header beyond the bound is refused as soon as it says so */
    assert_int_equal(parse(str_n(text, 16), &info, &used), PP_BAD);
}

/* One bit at a time, as the polynomial is written down. */
static uint32_t plain_crc32c(const char *p, size_t n)
{
    uint32_t crc = ~0u;

    for (size_t i = 0; i < n; i++) {
        crc ^= (unsigned char)p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0x82f63b78 : crc >> 1;
    }
    return ~crc;
}

static void a_checksum_has_to_be_right(void **state)
{
    char text[] = SIG "\x21\x11\x00\x1a" V4_ADDRS "\x03\x00\x04\0\0\0\0" "\x05\x00\x04" "abcd";
    const size_t len = sizeof(text) - 1, value_at = 16 + 12 + 3;
    struct proxy_info info;
    uint32_t crc;
    size_t used;

    (void)state;
    assert_int_equal(plain_crc32c("123456789", 9), 0xe3069283); /* the check value of its catalogues */
    crc = htonl(plain_crc32c(text, len));
    assert_int_equal(parse(str_n(text, len), &info, &used), PP_BAD);
    memcpy(text + value_at, &crc, 4);
    assert_int_equal(parse(str_n(text, len), &info, &used), PP_OK);
    assert_true(info.known);
    for (size_t i = 0; i < len * 8; i++) {
        if (i / 8 == 14 || i / 8 == 15) /* the length: then it is not whole, or cut elsewhere */
            continue;
        text[i / 8] = (char)(text[i / 8] ^ 1 << i % 8);
        /* LOCAL and UNSPEC are not read; a changed type may make it another TLV */
        if (parse(str_n(text, len), &info, &used) == PP_OK && info.known && i / 8 != value_at - 3)
            fail_msg("bit %zu changed and taken", i);
        text[i / 8] = (char)(text[i / 8] ^ 1 << i % 8);
    }
}

static void two_checksums_are_refused(void **state)
{
    char text[] = SIG "\x21\x11\x00\x1a" V4_ADDRS "\x03\x00\x04\0\0\0\0" "\x03\x00\x04\0\0\0\0";
    const size_t len = sizeof(text) - 1;
    struct proxy_info info;
    uint32_t crc;
    size_t used;

    (void)state;
    crc = htonl(plain_crc32c(text, len));
    memcpy(text + 16 + 12 + 3, &crc, 4);
    assert_int_equal(parse(str_n(text, len), &info, &used), PP_BAD);
}

static union socket_addr addr(const char *text, unsigned port)
{
    union socket_addr a = {0};

    if (inet_pton(AF_INET, text, &a.v4.sin_addr) == 1)
        a.sa.sa_family = AF_INET;
    else if (inet_pton(AF_INET6, text, &a.v6.sin6_addr) == 1)
        a.sa.sa_family = AF_INET6;
    a.v4.sin_port = htons((uint16_t)port);
    return a;
}

static void what_we_write_is_read_back(void **state)
{
    static const struct {
        const char *src, *dst, *read; /* NULL: not known */
        const char *line;
    } cases[] = {
        {"10.0.0.1", "10.0.0.2", "10.0.0.1 65535 10.0.0.2 0", "PROXY TCP4 10.0.0.1 10.0.0.2 65535 0\r\n"},
        {"255.255.255.255", "255.255.255.255", "255.255.255.255 65535 255.255.255.255 0",
         "PROXY TCP4 255.255.255.255 255.255.255.255 65535 0\r\n"},
        {"2001:db8::1", "::", "2001:db8::1 65535 :: 0", "PROXY TCP6 2001:db8::1 :: 65535 0\r\n"},
        {"fedc:ba98:7654:3210:fedc:ba98:7654:3210", "fedc:ba98:7654:3210:fedc:ba98:7654:3211",
         "fedc:ba98:7654:3210:fedc:ba98:7654:3210 65535 fedc:ba98:7654:3210:fedc:ba98:7654:3211 0",
         "PROXY TCP6 fedc:ba98:7654:3210:fedc:ba98:7654:3210 fedc:ba98:7654:3210:fedc:ba98:7654:3211 65535 0\r\n"},
        {"10.0.0.1", "2001:db8::1", "::ffff:10.0.0.1 65535 2001:db8::1 0",
         "PROXY TCP6 ::ffff:10.0.0.1 2001:db8::1 65535 0\r\n"},
        {"2001:db8::1", "10.0.0.1", "2001:db8::1 65535 ::ffff:10.0.0.1 0",
         "PROXY TCP6 2001:db8::1 ::ffff:10.0.0.1 65535 0\r\n"},
        {"", "10.0.0.1", NULL, "PROXY UNKNOWN\r\n"},
        {"10.0.0.1", "", NULL, "PROXY UNKNOWN\r\n"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        union socket_addr src = addr(cases[i].src, 65535), dst = addr(cases[i].dst, 0);
        char v1[PROXY_V1_MAX], got[128];
        unsigned char v2[PROXY_V2_WRITTEN];
        size_t n[2] = {proxy_write_v1(&src, &dst, v1), proxy_write_v2(&src, &dst, v2)};

        assert_true(str_eq(str_n(v1, n[0]), str_of(cases[i].line)));
        for (int version = 0; version < 2; version++) {
            struct str whole = str_n(version ? (const char *)v2 : v1, n[version]);
            struct proxy_info info;
            size_t used;

            for (size_t part = 0; part < whole.len; part++)
                assert_int_equal(parse(str_n(whole.p, part), &info, &used), PP_MORE);
            assert_int_equal(parse(whole, &info, &used), PP_OK);
            assert_int_equal(used, whole.len);
            assert_int_equal(info.known, cases[i].read != NULL);
            if (!info.known)
                continue;
            print(&info, got, sizeof(got));
            assert_string_equal(got, cases[i].read);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_are_taken_or_refused_at_every_split),
        cmocka_unit_test(what_follows_a_header_is_left),
        cmocka_unit_test(a_header_may_be_as_long_as_the_bound),
        cmocka_unit_test(a_checksum_has_to_be_right),
        cmocka_unit_test(two_checksums_are_refused),
        cmocka_unit_test(what_we_write_is_read_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
