/* uuid.h - 16-byte ids and their text form (RFC 9562). */
#ifndef COMMON_UUID_H
#define COMMON_UUID_H

#include "common/str.h"

#define UUID_TEXT_LEN 36

struct uuid {
    unsigned char b[16];
};

static inline bool uuid_is_nil(const struct uuid *u)
{
    static const struct uuid nil;
    return memcmp(u, &nil, sizeof(nil)) == 0;
}

static inline bool uuid_eq(const struct uuid *a, const struct uuid *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

/* 8-4-4-4-12 hexadecimal digits in either case; anything else is false. */
bool uuid_parse(struct str text, struct uuid *out);

/* Writes 36 lower-case characters and a NUL. */
void uuid_format(const struct uuid *u, char out[UUID_TEXT_LEN + 1]);

struct uuid uuid_v4(void);                                     /* random */
struct uuid uuid_v5(const struct uuid *space, struct str name); /* name-based, SHA-1 */

#endif
