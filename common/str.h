/*
 * str.h - bytes with a length, and a growing buffer of them.
 *
 * struct str borrows: it never owns its bytes and need not end in NUL. p == NULL means
 * "absent", which is not the same as "" (len 0).
 */
#ifndef COMMON_STR_H
#define COMMON_STR_H

#include <string.h>

#include "common/base.h"

struct str {
    const char *p;
    size_t len;
};

#define STR(literal)  ((struct str){"" literal, sizeof(literal) - 1})
#define STR_NONE      ((struct str){NULL, 0})
#define STR_FMT       "%.*s"
#define STR_ARG(s)    (int)(s).len, (s).p ? (s).p : ""

static inline struct str str_of(const char *s)
{
    return (struct str){s, s ? strlen(s) : 0};
}

static inline struct str str_n(const char *p, size_t len)
{
    return (struct str){p, len};
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

static inline bool str_starts(struct str s, struct str prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.p, prefix.p, prefix.len) == 0);
}

static inline bool str_ends(struct str s, struct str suffix)
{
    return s.len >= suffix.len &&
           (suffix.len == 0 || memcmp(s.p + s.len - suffix.len, suffix.p, suffix.len) == 0);
}

static inline char ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* ASCII case is ignored. */
bool str_ieq(struct str a, struct str b);

/* As memcmp on the common part, then by length. */
int str_cmp(struct str a, struct str b);

/* Without spaces and tabs at both ends. */
static inline struct str str_trim(struct str s)
{
    while (s.len && (s.p[0] == ' ' || s.p[0] == '\t'))
        s.p++, s.len--;
    while (s.len && (s.p[s.len - 1] == ' ' || s.p[s.len - 1] == '\t'))
        s.len--;
    return s;
}

/* Index of c, or s.len when it is not there. */
static inline size_t str_find(struct str s, char c)
{
    const char *at = s.len ? memchr(s.p, c, s.len) : NULL;
    return at ? (size_t)(at - s.p) : s.len;
}

/*
 * Cuts the next piece off *rest at sep: `while (str_next(&rest, ',', &piece))`.
 * Pieces may be empty; false when nothing is left.
 */
bool str_next(struct str *rest, char sep, struct str *piece_out);

/* Decimal, whole string, no sign for u64. False when it is not a number or overflows. */
bool str_to_u64(struct str s, uint64_t *out);
bool str_to_i64(struct str s, int64_t *out);

/* Writes v in decimal, at most 20 digits that end in front of end. Where they begin. */
char *str_u64(uint64_t v, char *end);

/* v in 16 hexadecimal digits, lower case; no NUL. */
void str_hex16(uint64_t v, char out[16]);

/* Compares without telling by its time where the difference is (secrets). */
bool str_eq_secret(struct str a, struct str b);

/* A NUL-terminated copy from malloc. */
char *str_dup(struct str s);

/* FNV-1a with a final mix: for tables of ours, not for hostile keys without a seed. */
uint64_t str_hash(struct str s, uint64_t seed);

/* ---- growing buffer ---- */

/* {0} is an empty one. Owned bytes, always followed by a NUL that is not in len. */
struct sbuf {
    char *p;
    size_t len, cap;
};

void sbuf_free(struct sbuf *b); /* leaves {0} */
static inline void sbuf_clear(struct sbuf *b)
{
    b->len = 0;
    if (b->p)
        b->p[0] = '\0';
}
char *sbuf_reserve(struct sbuf *b, size_t more); /* room for more bytes at the end */
void sbuf_add(struct sbuf *b, const void *p, size_t len);
void sbuf_addc(struct sbuf *b, char c);
void sbuf_adds(struct sbuf *b, const char *s);
void sbuf_addstr(struct sbuf *b, struct str s);
void sbuf_add_varint(struct sbuf *b, uint64_t v); /* as protobuf writes it: 7 bits a byte, low ones first */
#define VARINT_MAX 10 /* bytes */
void sbuf_addf(struct sbuf *b, const char *fmt, ...) WEIR_PRINTF(2, 3);
char *sbuf_take(struct sbuf *b); /* the bytes, now the caller's; b is {0} again */
static inline struct str sbuf_str(const struct sbuf *b)
{
    return (struct str){b->p ? b->p : "", b->len};
}

#endif
