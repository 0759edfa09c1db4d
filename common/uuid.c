/* uuid.c - see uuid.h. */
#include "common/uuid.h"

#include <endian.h>
#include <openssl/evp.h>
#include <pthread.h>

#include "common/rand.h"

/* The value of a hex digit + 1; 0: it is none. */
static const unsigned char hex_plus_1[256] = {
    ['0'] = 1,  ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
    ['8'] = 9,  ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
    ['A'] = 11, ['B'] = 12, ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16,
};

static int hex_value(char c)
{
    return hex_plus_1[(unsigned char)c] - 1;
}

static bool dash_at(size_t i)
{
    return i == 8 || i == 13 || i == 18 || i == 23;
}

bool uuid_parse(struct str text, struct uuid *out)
{
    size_t byte = 0;

    if (text.len != UUID_TEXT_LEN)
        return false;
    for (size_t i = 0; i < UUID_TEXT_LEN;) {
        int high, low;

        if (dash_at(i)) {
            if (text.p[i++] != '-')
                return false;
            continue;
        }
        high = hex_value(text.p[i]);
        low = hex_value(text.p[i + 1]);
        if (high < 0 || low < 0)
            return false;
        out->b[byte++] = (unsigned char)(high << 4 | low);
        i += 2;
    }
    return true;
}

void uuid_format(const struct uuid *u, char out[UUID_TEXT_LEN + 1])
{
    char digits[32];
    uint64_t half;

    for (size_t i = 0; i < 2; i++) {
        memcpy(&half, u->b + 8 * i, sizeof(half));
        str_hex16(be64toh(half), digits + 16 * i);
    }
    memset(out, '-', UUID_TEXT_LEN);
    memcpy(out, digits, 8);
    memcpy(out + 9, digits + 8, 4);
    memcpy(out + 14, digits + 12, 4);
    memcpy(out + 19, digits + 16, 4);
    memcpy(out + 24, digits + 20, 12);
    out[UUID_TEXT_LEN] = '\0';
}

static void stamp(struct uuid *u, unsigned version)
{
    u->b[6] = (unsigned char)((u->b[6] & 0x0f) | version << 4);
    u->b[8] = (unsigned char)((u->b[8] & 0x3f) | 0x80);
}

struct uuid uuid_v4(void)
{
    struct uuid u;

    rand_bytes(u.b, sizeof(u.b));
    stamp(&u, 4);
    return u;
}

/*
 * Looking the digest up by name, as EVP_sha1 does each time, costs more than the digest, and so
 * does making a context: each thread keeps one.
 */
static EVP_MD *sha1;
static pthread_key_t sha1_key;
static pthread_once_t sha1_once = PTHREAD_ONCE_INIT;

static void free_ctx(void *ctx)
{
    EVP_MD_CTX_free(ctx);
}

static void fetch_sha1(void)
{
    sha1 = EVP_MD_fetch(NULL, "SHA1", NULL);
    WEIR_ASSERT(sha1 && pthread_key_create(&sha1_key, free_ctx) == 0);
}

static EVP_MD_CTX *thread_ctx(void)
{
    EVP_MD_CTX *ctx;

    pthread_once(&sha1_once, fetch_sha1);
    ctx = pthread_getspecific(sha1_key);
    if (!ctx) {
        ctx = EVP_MD_CTX_new();
        WEIR_ASSERT(ctx && pthread_setspecific(sha1_key, ctx) == 0);
    }
    return ctx;
}

struct uuid uuid_v5(const struct uuid *space, struct str name)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *ctx = thread_ctx();
    struct uuid u;

    WEIR_ASSERT(EVP_DigestInit_ex2(ctx, sha1, NULL) == 1 &&
                EVP_DigestUpdate(ctx, space->b, sizeof(space->b)) == 1 &&
                EVP_DigestUpdate(ctx, name.p, name.len) == 1 &&
                EVP_DigestFinal_ex(ctx, digest, NULL) == 1);
    memcpy(u.b, digest, sizeof(u.b));
    stamp(&u, 5);
    return u;
}
