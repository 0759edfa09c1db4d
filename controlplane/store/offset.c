/*
 * offset.c - where a page ended: base64 (RFC 4648 section 4, without padding) of a JSON array,
 * the last row's key. Clients hand it back unread; what they hand back is checked.
 */
#include "controlplane/store/store_priv.h"

#include <stdlib.h>

#define OFFSET_MAX 1024 /* of the text: ours have a few dozen bytes, more with a long tag */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static char *base64(const unsigned char *in, size_t len)
{
    struct sbuf out = {0};

    for (size_t i = 0; i < len; i += 3) {
        size_t have = size_min(len - i, 3);
        uint32_t bits = (uint32_t)in[i] << 16;

        if (have > 1)
            bits |= (uint32_t)in[i + 1] << 8;
        if (have > 2)
            bits |= in[i + 2];
        for (size_t k = 0; k <= have; k++)
            sbuf_addc(&out, alphabet[bits >> (18 - 6 * k) & 63]);
    }
    return sbuf_take(&out);
}

static bool unbase64(struct str in, struct sbuf *out)
{
    uint32_t bits = 0;
    size_t n = 0;

    while (in.len && in.p[in.len - 1] == '=')
        in.len--;
    if (in.len % 4 == 1)
        return false;
    for (size_t i = 0; i < in.len; i++) {
        const char *at = in.p[i] ? strchr(alphabet, in.p[i]) : NULL;

        if (!at)
            return false;
        bits = bits << 6 | (uint32_t)(at - alphabet);
        n += 6;
        if (n >= 8) {
            n -= 8;
            sbuf_addc(out, (char)(bits >> n & 0xff));
        }
    }
    return true;
}

char *offset_text(const json_t *parts)
{
    char *json = json_dumps(parts, JSON_COMPACT);
    char *text = base64((const unsigned char *)json, strlen(json));

    free(json);
    return text;
}

int offset_bad(struct problem *p, struct str text, const char *why)
{
    return problem_set(p, PROBLEM_OFFSET, NULL, "'" STR_FMT "' is not a valid offset: %s",
                       STR_ARG(text), why);
}

int offset_parse(struct str text, json_t **parts_out, struct problem *p)
{
    struct sbuf json = {0};
    json_t *parts;

    if (text.len > OFFSET_MAX || !unbase64(text, &json)) {
        sbuf_free(&json);
        text.len = size_min(text.len, OFFSET_MAX);
        return offset_bad(p, text, "bad base64 encoding");
    }
    parts = json_loadb(sbuf_str(&json).p, json.len, 0, NULL);
    sbuf_free(&json);
    if (!json_is_array(parts) || json_array_size(parts) == 0) {
        json_decref(parts);
        return offset_bad(p, text, "bad json encoding");
    }
    *parts_out = parts;
    return 0;
}
