/* uuid.c - see uuid.h. */
#include "common/uuid.h"

#include <openssl/evp.h>

#include "common/rand.h"

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
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
    static const char digits[] = "0123456789abcdef";
    size_t byte = 0, i = 0;

    while (i < UUID_TEXT_LEN) {
        if (dash_at(i)) {
            out[i++] = '-';
            continue;
        }
        out[i++] = digits[u->b[byte] >> 4];
        out[i++] = digits[u->b[byte++] & 15];
    }
    out[i] = '\0';
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

struct uuid uuid_v5(const struct uuid *space, struct str name)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    struct uuid u;

    WEIR_ASSERT(ctx && EVP_DigestInit_ex(ctx, EVP_sha1(), NULL) == 1 &&
                EVP_DigestUpdate(ctx, space->b, sizeof(space->b)) == 1 &&
                EVP_DigestUpdate(ctx, name.p, name.len) == 1 &&
                EVP_DigestFinal_ex(ctx, digest, NULL) == 1);
    EVP_MD_CTX_free(ctx);
    memcpy(u.b, digest, sizeof(u.b));
    stamp(&u, 5);
    return u;
}
