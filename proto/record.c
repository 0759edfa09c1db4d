/* record.c - framing of records, and the hash that names what a configuration holds. */
#include "proto/record.h"

#include <openssl/evp.h>
#include <pthread.h>

#define KEY_BYTES    sizeof(((struct uuid *)0)->b)
#define TYPE_MAX     63u
#define DIGEST_BYTES 32

/* ---- framing ---- */

void record_append(struct sbuf *out, const struct record *r)
{
    unsigned char head[1 + KEY_BYTES];

    WEIR_ASSERT(r->type >= 1 && r->type <= TYPE_MAX);
    WEIR_ASSERT(r->op == REC_PUT || r->op == REC_DELETE);
    head[0] = (unsigned char)((unsigned)r->op << 6 | r->type);
    memcpy(head + 1, r->key.b, KEY_BYTES);
    if (r->op == REC_DELETE) {
        sbuf_add(out, head, sizeof(head));
        return;
    }
    WEIR_ASSERT(r->body.len <= RECORD_BODY_MAX);
    sbuf_reserve(out, sizeof(head) + VARINT_MAX + r->body.len);
    sbuf_add(out, head, sizeof(head));
    sbuf_add_varint(out, r->body.len);
    sbuf_addstr(out, r->body);
}

/* A length of at most RECORD_BODY_MAX needs 3 bytes; longer spellings are refused. */
static int cut_length(struct str *rest, size_t *len_out, struct err *e)
{
    size_t v = 0;

    for (size_t i = 0; i < 3 && i < rest->len; i++) {
        unsigned char c = (unsigned char)rest->p[i];

        v |= (size_t)(c & 0x7f) << (7 * i);
        if (c & 0x80)
            continue;
        if (i > 0 && c == 0)
            break;
        if (v > RECORD_BODY_MAX)
            return err_set(e, ERR_LIMIT, "record body of %zu bytes, expected at most %u", v,
                           RECORD_BODY_MAX);
        *len_out = v;
        rest->p += i + 1;
        rest->len -= i + 1;
        return 0;
    }
    return err_set(e, ERR_INVALID, "bad record length, expected a varint of 1 to 3 bytes");
}

int record_next(struct str *rest, struct record *out, struct err *e)
{
    struct str at = *rest;
    unsigned char head;
    size_t len = 0;

    if (at.len == 0)
        return 0;
    head = (unsigned char)at.p[0];
    if (head >> 6 > REC_DELETE)
        return err_set(e, ERR_INVALID, "record operation %u, expected 0 or 1", head >> 6);
    if ((head & TYPE_MAX) == 0)
        return err_set(e, ERR_INVALID, "record of type 0, expected 1 to %u", TYPE_MAX);
    if (at.len < 1 + KEY_BYTES)
        return err_set(e, ERR_INVALID, "record cut short: %zu bytes, expected at least %zu", at.len,
                       1 + KEY_BYTES);
    out->op = head >> 6 ? REC_DELETE : REC_PUT;
    out->type = head & TYPE_MAX;
    memcpy(out->key.b, at.p + 1, KEY_BYTES);
    at.p += 1 + KEY_BYTES;
    at.len -= 1 + KEY_BYTES;
    if (out->op == REC_PUT) {
        if (cut_length(&at, &len, e) != 0)
            return -1;
        if (len > at.len)
            return err_set(e, ERR_INVALID, "record cut short: %zu bytes of body, expected %zu",
                           at.len, len);
    }
    out->body = str_n(at.p, len);
    rest->p = at.p + len;
    rest->len = at.len - len;
    return 1;
}

/* ---- state hash ---- */

/*
 * Fetching the algorithm costs more than hashing an entity, so it is done once, and each
 * thread keeps its context.
 */
static EVP_MD *sha256;
static pthread_key_t ctx_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void free_ctx(void *ctx)
{
    EVP_MD_CTX_free(ctx);
}

static void fetch(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    WEIR_ASSERT(sha256 && pthread_key_create(&ctx_key, free_ctx) == 0);
}

static EVP_MD_CTX *thread_ctx(void)
{
    EVP_MD_CTX *ctx;

    pthread_once(&once, fetch);
    ctx = pthread_getspecific(ctx_key);
    if (!ctx) {
        ctx = EVP_MD_CTX_new();
        WEIR_ASSERT(ctx && pthread_setspecific(ctx_key, ctx) == 0);
    }
    return ctx;
}

static void digest(uint8_t type, const struct uuid *key, struct str body, struct state_hash *out)
{
    unsigned char md[DIGEST_BYTES];
    EVP_MD_CTX *ctx = thread_ctx();

    WEIR_ASSERT(EVP_DigestInit_ex2(ctx, sha256, NULL) && EVP_DigestUpdate(ctx, &type, 1) &&
                EVP_DigestUpdate(ctx, key->b, KEY_BYTES) &&
                EVP_DigestUpdate(ctx, body.len ? body.p : "", body.len) &&
                EVP_DigestFinal_ex(ctx, md, NULL));
    state_hash_from_bytes(out, md);
}

void state_hash_add(struct state_hash *h, uint8_t type, const struct uuid *key, struct str body)
{
    struct state_hash d;
    uint64_t carry = 0;

    digest(type, key, body, &d);
    for (size_t i = 0; i < ARRAY_LEN(h->word); i++) {
        unsigned __int128 sum = (unsigned __int128)h->word[i] + d.word[i] + carry;

        h->word[i] = (uint64_t)sum;
        carry = (uint64_t)(sum >> 64);
    }
}

void state_hash_sub(struct state_hash *h, uint8_t type, const struct uuid *key, struct str body)
{
    struct state_hash d;
    uint64_t borrow = 0;

    digest(type, key, body, &d);
    for (size_t i = 0; i < ARRAY_LEN(h->word); i++) {
        unsigned __int128 diff = (unsigned __int128)h->word[i] - d.word[i] - borrow;

        h->word[i] = (uint64_t)diff;
        borrow = (uint64_t)(diff >> 64) & 1;
    }
}

/* Bytes are little end first too, on every machine. */
void state_hash_bytes(const struct state_hash *h, unsigned char out[32])
{
    for (size_t i = 0; i < DIGEST_BYTES; i++)
        out[i] = (unsigned char)(h->word[i / 8] >> (i % 8 * 8));
}

void state_hash_from_bytes(struct state_hash *h, const unsigned char in[32])
{
    *h = (struct state_hash){{0}};
    for (size_t i = 0; i < DIGEST_BYTES; i++)
        h->word[i / 8] |= (uint64_t)in[i] << (i % 8 * 8);
}

void state_hash_hex(const struct state_hash *h, char out[65])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char bytes[DIGEST_BYTES];

    state_hash_bytes(h, bytes);
    for (size_t i = 0; i < DIGEST_BYTES; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[64] = '\0';
}
