/* rand.c - see rand.h. */
#include "common/rand.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

static void from_kernel(void *p, size_t len)
{
    char *at = p;

    while (len) {
        ssize_t n = getrandom(at, len, 0);
        if (n < 0) {
            WEIR_ASSERT(errno == EINTR);
            continue;
        }
        at += n;
        len -= (size_t)n;
    }
}

void rand_bytes(void *p, size_t len)
{
    static _Thread_local unsigned char pool[256];
    static _Thread_local size_t left;

    if (len > sizeof(pool)) {
        from_kernel(p, len);
        return;
    }
    if (left < len) {
        from_kernel(pool, sizeof(pool));
        left = sizeof(pool);
    }
    left -= len;
    memcpy(p, pool + left, len);
    explicit_bzero(pool + left, len);
}

void rand_token(char *out, size_t n)
{
    static const char letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    size_t i = 0;

    while (i < n) {
        unsigned char byte;

        rand_bytes(&byte, 1);
        if (byte < 248) /* 4 * 62: no letter is likelier than another */
            out[i++] = letters[byte % 62];
    }
    out[n] = '\0';
}

uint64_t rand_below(uint64_t limit)
{
    uint64_t v;

    rand_bytes(&v, sizeof(v));
    return v % limit;
}
