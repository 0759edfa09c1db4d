/* str.c - see str.h. */
#include "common/str.h"

#include <endian.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

bool str_ieq(struct str a, struct str b)
{
    size_t i = 0;

    if (a.len != b.len)
        return false;
    for (uint64_t x, y; a.len - i >= sizeof(x); i += sizeof(x)) { /* as long as the case is the same */
        memcpy(&x, a.p + i, sizeof(x));
        memcpy(&y, b.p + i, sizeof(y));
        if (x != y)
            break;
    }
    for (; i < a.len; i++)
        if (a.p[i] != b.p[i] && ascii_lower(a.p[i]) != ascii_lower(b.p[i]))
            return false;
    return true;
}

int str_cmp(struct str a, struct str b)
{
    size_t n = size_min(a.len, b.len);
    int c = n ? memcmp(a.p, b.p, n) : 0;

    if (c != 0)
        return c;
    return (a.len > b.len) - (a.len < b.len);
}

bool str_next(struct str *rest, char sep, struct str *piece_out)
{
    size_t at;

    if (!rest->p)
        return false;
    at = str_find(*rest, sep);
    *piece_out = str_n(rest->p, at);
    *rest = at == rest->len ? STR_NONE : str_n(rest->p + at + 1, rest->len - at - 1);
    return true;
}

bool str_to_u64(struct str s, uint64_t *out)
{
    uint64_t v = 0;

    if (s.len == 0)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        unsigned digit = (unsigned char)s.p[i] - '0';
        if (digit > 9 || __builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, digit, &v))
            return false;
    }
    *out = v;
    return true;
}

bool str_to_i64(struct str s, int64_t *out)
{
    bool negative = s.len && s.p[0] == '-';
    uint64_t v;

    if (negative)
        s.p++, s.len--;
    if (!str_to_u64(s, &v) || v > (uint64_t)INT64_MAX + negative)
        return false;
    *out = negative ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

char *str_u64(uint64_t v, char *end)
{
    static const char pairs[] =
        "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
        "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
        "8081828384858687888990919293949596979899";

    for (; v >= 100; v /= 100)
        memcpy(end -= 2, pairs + v % 100 * 2, 2);
    if (v >= 10)
        return memcpy(end - 2, pairs + v * 2, 2);
    *--end = (char)('0' + v);
    return end;
}

/* Eight digits at once: each nibble goes to a byte of its own. */
static uint64_t hex8(uint64_t v)
{
    const uint64_t ones = 0x0101010101010101u;

    v = (v | v << 16) & 0x0000ffff0000ffffu;
    v = (v | v << 8) & 0x00ff00ff00ff00ffu;
    v = (v | v << 4) & 0x0f0f0f0f0f0f0f0fu;
    return v + ones * '0' + ((v + ones * 6) >> 4 & ones) * ('a' - '9' - 1);
}

void str_hex16(uint64_t v, char out[16])
{
    uint64_t high = htobe64(hex8(v >> 32)), low = htobe64(hex8(v & UINT32_MAX));

    memcpy(out, &high, sizeof(high));
    memcpy(out + 8, &low, sizeof(low));
}

bool str_eq_secret(struct str a, struct str b)
{
    unsigned char diff = a.len != b.len;

    for (size_t i = 0; i < a.len; i++)
        diff |= (unsigned char)(a.p[i] ^ (b.len ? b.p[i % b.len] : 0));
    return diff == 0;
}

char *str_dup(struct str s)
{
    char *copy = xmalloc(s.len + 1);

    if (s.len)
        memcpy(copy, s.p, s.len);
    copy[s.len] = '\0';
    return copy;
}

uint64_t str_hash(struct str s, uint64_t seed)
{
    uint64_t h = 0xcbf29ce484222325u ^ seed;

    for (size_t i = 0; i < s.len; i++)
        h = (h ^ (unsigned char)s.p[i]) * 0x100000001b3u;
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    return h ^ (h >> 32);
}

void sbuf_free(struct sbuf *b)
{
    free(b->p);
    *b = (struct sbuf){0};
}

char *sbuf_reserve(struct sbuf *b, size_t more)
{
    size_t need = b->len + more + 1;

    if (need > b->cap) {
        b->cap = size_max(need, size_max(64, b->cap * 2));
        b->p = xrealloc(b->p, b->cap);
    }
    return b->p + b->len;
}

void sbuf_add(struct sbuf *b, const void *p, size_t len)
{
    char *to = sbuf_reserve(b, len);

    if (len)
        memcpy(to, p, len);
    b->len += len;
    b->p[b->len] = '\0';
}

void sbuf_addc(struct sbuf *b, char c)
{
    sbuf_add(b, &c, 1);
}

void sbuf_adds(struct sbuf *b, const char *s)
{
    sbuf_add(b, s, strlen(s));
}

void sbuf_add_varint(struct sbuf *b, uint64_t v)
{
    char *at = sbuf_reserve(b, VARINT_MAX);

    while (v >= 0x80) {
        *at++ = (char)(v | 0x80);
        v >>= 7;
    }
    *at++ = (char)v;
    *at = '\0';
    b->len = (size_t)(at - b->p);
}

void sbuf_addstr(struct sbuf *b, struct str s)
{
    sbuf_add(b, s.p, s.len);
}

void sbuf_addf(struct sbuf *b, const char *fmt, ...)
{
    va_list ap, again;
    int n;

    va_start(ap, fmt);
    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n >= 0) { /* nothing to add makes a text, too: callers use p */
        vsnprintf(sbuf_reserve(b, (size_t)n), (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
}

char *sbuf_take(struct sbuf *b)
{
    char *p;

    sbuf_reserve(b, 0)[0] = '\0';
    p = b->p;
    *b = (struct sbuf){0};
    return p;
}
