/* proxy_protocol.c - see proxy_protocol.h. */
#include "dataplane/stream/proxy_protocol.h"

#include <arpa/inet.h>

#pragma GCC diagnostic warning "-Wconversion"
#pragma GCC diagnostic warning "-Wsign-conversion"

#define V2_FIXED 16u /* signature, command, family, length */

static const char v2_signature[12] = {'\r', '\n', '\r', '\n', 0, '\r', '\n', 'Q', 'U', 'I', 'T', '\n'};

enum { CMD_LOCAL = 0x20, CMD_PROXY = 0x21 };         /* version 2 in the high half */
enum { FAM_UNSPEC, FAM_INET, FAM_INET6, FAM_UNIX };  /* high half of the 14th byte */
enum { TRANS_UNSPEC, TRANS_STREAM, TRANS_DGRAM };    /* low half */
enum { TLV_CRC32C = 3 };

/* in may still become text, as far as it goes. */
static bool agrees(struct str in, struct str text)
{
    return memcmp(in.p, text.p, size_min(in.len, text.len)) == 0;
}

/* ---- version 1 ---- */

/* Decimal, no zero in front of another digit, at most 65535. */
static bool parse_port(struct str word, in_port_t *out)
{
    uint64_t port;

    if (word.len > 5 || (word.len > 1 && word.p[0] == '0') || !str_to_u64(word, &port) || port > UINT16_MAX)
        return false;
    *out = htons((uint16_t)port);
    return true;
}

/* The family is given, the text has to be an address of it. */
static bool parse_addr(sa_family_t family, struct str host, struct str port, union socket_addr *out)
{
    char text[INET6_ADDRSTRLEN];

    if (host.len >= sizeof(text) || memchr(host.p, 0, host.len))
        return false;
    memcpy(text, host.p, host.len);
    text[host.len] = '\0';
    out->sa.sa_family = family;
    if (family == AF_INET)
        return inet_pton(AF_INET, text, &out->v4.sin_addr) == 1 && parse_port(port, &out->v4.sin_port);
    return inet_pton(AF_INET6, text, &out->v6.sin6_addr) == 1 && parse_port(port, &out->v6.sin6_port);
}

/* line: what is between "PROXY " and CRLF. */
static bool parse_line(struct str line, struct proxy_info *out)
{
    struct str word[5];
    size_t n = 0;
    sa_family_t family;

    /* what stands behind UNKNOWN is to be ignored */
    if (str_eq(line, STR("UNKNOWN")) || str_starts(line, STR("UNKNOWN ")))
        return true;
    for (struct str rest = line; n < ARRAY_LEN(word); n++) {
        size_t end = str_find(rest, ' ');

        word[n] = str_n(rest.p, end);
        if (end == rest.len) {
            n++;
            break;
        }
        rest = str_n(rest.p + end + 1, rest.len - end - 1);
        if (n == ARRAY_LEN(word) - 1)
            return false; /* a sixth one */
    }
    if (n != ARRAY_LEN(word))
        return false;
    if (str_eq(word[0], STR("TCP4")))
        family = AF_INET;
    else if (str_eq(word[0], STR("TCP6")))
        family = AF_INET6;
    else
        return false;
    out->known = parse_addr(family, word[1], word[3], &out->src) && parse_addr(family, word[2], word[4], &out->dst);
    return out->known;
}

static enum pp_result parse_v1(struct str in, struct proxy_info *out, size_t *used_out)
{
    static const struct str start = {"PROXY ", 6};
    struct str line = str_n(in.p, size_min(in.len, PROXY_V1_MAX));
    size_t end;

    if (!agrees(in, start))
        return PP_BAD;
    end = size_min(str_find(line, '\r'), str_find(line, '\n'));
    if (end + 1 >= line.len && line.len < PROXY_V1_MAX && (end == line.len || line.p[end] == '\r'))
        return PP_MORE;
    if (end + 1 >= line.len || line.p[end] != '\r' || line.p[end + 1] != '\n')
        return PP_BAD;
    if (!parse_line(str_n(line.p + start.len, end - start.len), out))
        return PP_BAD;
    *used_out = end + 2;
    return PP_OK;
}

/* ---- version 2 ---- */

static unsigned byte_at(struct str s, size_t at)
{
    return (unsigned char)s.p[at];
}

static size_t u16_at(struct str s, size_t at)
{
    return (size_t)byte_at(s, at) << 8 | byte_at(s, at + 1);
}

/* CRC32C (RFC 4960 appendix B: reflected polynomial 0x82f63b78), four bits a step; crc: so far. */
static uint32_t crc32c(uint32_t crc, struct str s)
{
    static const uint32_t nibble[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
        0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };

    crc = ~crc;
    for (size_t i = 0; i < s.len; i++) {
        crc ^= byte_at(s, i);
        crc = crc >> 4 ^ nibble[crc & 15];
        crc = crc >> 4 ^ nibble[crc & 15];
    }
    return ~crc;
}

/* header is whole; value_at: where its CRC32C stands, which counts as zero. */
static bool crc_is_right(struct str header, size_t value_at)
{
    uint32_t said = (uint32_t)(u16_at(header, value_at) << 16 | u16_at(header, value_at + 2));
    uint32_t crc = crc32c(0, str_n(header.p, value_at));

    crc = crc32c(crc, str_n("\0\0\0\0", 4));
    crc = crc32c(crc, str_n(header.p + value_at + 4, header.len - value_at - 4));
    return crc == said;
}

/* They begin at `at` and have to end with the header. */
static bool check_tlvs(struct str header, size_t at)
{
    bool crc_seen = false;

    while (at < header.len) {
        unsigned type = byte_at(header, at);
        size_t len;

        if (header.len - at < 3)
            return false;
        len = u16_at(header, at + 1);
        at += 3;
        if (header.len - at < len)
            return false;
        if (type == TLV_CRC32C) {
            /* of two, each would count as zero for the other or not: nobody says */
            if (len != 4 || crc_seen || !crc_is_right(header, at))
                return false;
            crc_seen = true;
        }
        at += len;
    }
    return true;
}

static bool parse_addresses(struct str header, struct proxy_info *out)
{
    /* bytes of one address; UNSPEC has no known size, so that nothing behind it can be read */
    static const size_t size_of[] = {[FAM_INET] = 4, [FAM_INET6] = 16, [FAM_UNIX] = 108};
    unsigned family = byte_at(header, 13) >> 4, transport = byte_at(header, 13) & 15;
    const char *p = header.p + V2_FIXED;
    size_t size, ports;

    if (family == FAM_UNSPEC || transport == TRANS_UNSPEC)
        return true;
    size = size_of[family];
    ports = family == FAM_UNIX ? 0 : 2;
    if (header.len - V2_FIXED < 2 * (size + ports) || !check_tlvs(header, V2_FIXED + 2 * (size + ports)))
        return false;
    if (family == FAM_UNIX)
        return true;
    out->known = true;
    if (family == FAM_INET) {
        out->src.sa.sa_family = out->dst.sa.sa_family = AF_INET;
        memcpy(&out->src.v4.sin_addr, p, 4);
        memcpy(&out->dst.v4.sin_addr, p + 4, 4);
        memcpy(&out->src.v4.sin_port, p + 8, 2);
        memcpy(&out->dst.v4.sin_port, p + 10, 2);
    } else {
        out->src.sa.sa_family = out->dst.sa.sa_family = AF_INET6;
        memcpy(&out->src.v6.sin6_addr, p, 16);
        memcpy(&out->dst.v6.sin6_addr, p + 16, 16);
        memcpy(&out->src.v6.sin6_port, p + 32, 2);
        memcpy(&out->dst.v6.sin6_port, p + 34, 2);
    }
    return true;
}

static enum pp_result parse_v2(struct str in, struct proxy_info *out, size_t *used_out)
{
    size_t len;

    if (!agrees(in, str_n(v2_signature, sizeof(v2_signature))))
        return PP_BAD;
    if (in.len > 12 && byte_at(in, 12) != CMD_LOCAL && byte_at(in, 12) != CMD_PROXY)
        return PP_BAD;
    if (in.len > 13 && byte_at(in, 12) == CMD_PROXY &&
        (byte_at(in, 13) >> 4 > FAM_UNIX || (byte_at(in, 13) & 15) > TRANS_DGRAM))
        return PP_BAD;
    if (in.len < V2_FIXED)
        return PP_MORE;
    len = V2_FIXED + u16_at(in, 14);
    if (len > PROXY_HEADER_MAX)
        return PP_BAD;
    if (in.len < len)
        return PP_MORE;
    if (byte_at(in, 12) == CMD_PROXY && !parse_addresses(str_n(in.p, len), out))
        return PP_BAD;
    *used_out = len;
    return PP_OK;
}

enum pp_result proxy_parse(struct str in, struct proxy_info *out, size_t *used_out)
{
    memset(out, 0, sizeof(*out)); /* AF_UNSPEC is 0 */
    *used_out = 0;
    if (in.len == 0)
        return PP_MORE;
    return in.p[0] == v2_signature[0] ? parse_v2(in, out, used_out) : parse_v1(in, out, used_out);
}

/* ---- writing ---- */

static bool is_ip(const union socket_addr *a)
{
    return a->sa.sa_family == AF_INET || a->sa.sa_family == AF_INET6;
}

/* RFC 4291 section 2.5.5.2. */
static struct sockaddr_in6 as_v6(const union socket_addr *a)
{
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = a->v4.sin_port};

    if (a->sa.sa_family == AF_INET6)
        return a->v6;
    v6.sin6_addr.s6_addr[10] = v6.sin6_addr.s6_addr[11] = 0xff;
    memcpy(v6.sin6_addr.s6_addr + 12, &a->v4.sin_addr, 4);
    return v6;
}

static char *put(char *to, struct str text)
{
    memcpy(to, text.p, text.len);
    return to + text.len;
}

static char *put_port(char *to, in_port_t port)
{
    char digits[20], *end = digits + sizeof(digits), *first = str_u64(ntohs(port), end);

    return put(to, str_n(first, (size_t)(end - first)));
}

size_t proxy_write_v1(const union socket_addr *src, const union socket_addr *dst, char to[PROXY_V1_MAX])
{
    char src_text[INET6_ADDRSTRLEN], dst_text[INET6_ADDRSTRLEN], *p = put(to, STR("PROXY "));

    if (!is_ip(src) || !is_ip(dst))
        return (size_t)(put(p, STR("UNKNOWN\r\n")) - to);
    if (src->sa.sa_family == AF_INET && dst->sa.sa_family == AF_INET) {
        p = put(p, STR("TCP4 "));
        inet_ntop(AF_INET, &src->v4.sin_addr, src_text, sizeof(src_text));
        inet_ntop(AF_INET, &dst->v4.sin_addr, dst_text, sizeof(dst_text));
    } else {
        struct sockaddr_in6 s = as_v6(src), d = as_v6(dst);

        p = put(p, STR("TCP6 "));
        inet_ntop(AF_INET6, &s.sin6_addr, src_text, sizeof(src_text));
        inet_ntop(AF_INET6, &d.sin6_addr, dst_text, sizeof(dst_text));
    }
    p = put(put(p, str_of(src_text)), STR(" "));
    p = put(put(p, str_of(dst_text)), STR(" "));
    p = put(put_port(p, src->v4.sin_port), STR(" ")); /* the same place for both families */
    return (size_t)(put(put_port(p, dst->v4.sin_port), STR("\r\n")) - to);
}

size_t proxy_write_v2(const union socket_addr *src, const union socket_addr *dst,
                      unsigned char to[PROXY_V2_WRITTEN])
{
    size_t size = 0;

    memcpy(to, v2_signature, sizeof(v2_signature));
    to[12] = CMD_LOCAL;
    to[13] = FAM_UNSPEC << 4 | TRANS_UNSPEC;
    if (is_ip(src) && is_ip(dst)) {
        bool v4 = src->sa.sa_family == AF_INET && dst->sa.sa_family == AF_INET;
        unsigned char *p = to + V2_FIXED;

        to[12] = CMD_PROXY;
        to[13] = (unsigned char)((v4 ? FAM_INET : FAM_INET6) << 4 | TRANS_STREAM);
        size = v4 ? 4 : 16;
        if (v4) {
            memcpy(p, &src->v4.sin_addr, size);
            memcpy(p + size, &dst->v4.sin_addr, size);
        } else {
            struct sockaddr_in6 s = as_v6(src), d = as_v6(dst);

            memcpy(p, &s.sin6_addr, size);
            memcpy(p + size, &d.sin6_addr, size);
        }
        memcpy(p + 2 * size, &src->v4.sin_port, 2);
        memcpy(p + 2 * size + 2, &dst->v4.sin_port, 2);
        size = 2 * size + 4;
    }
    to[14] = 0;
    to[15] = (unsigned char)size;
    return V2_FIXED + size;
}
