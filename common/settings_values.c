/* settings_values.c - how single values of settings are written: durations, sizes, listeners. */
#include "common/settings.h"

#include <stdio.h>
#include <stdlib.h>

#define UNIT_LIST(list) (list), ARRAY_LEN(list)

struct unit {
    const char *word;
    uint64_t factor;
};

static const struct unit durations[] = {
    {"us", 1},
    {"ms", 1000},
    {"s", 1000000},
    {"", 1000000},
    {"m", 60000000u},
    {"h", 3600u * 1000000ull},
    {"d", 86400u * 1000000ull},
};

static const struct unit sizes[] = {
    {"", 1}, {"b", 1}, {"k", 1u << 10}, {"m", 1u << 20}, {"g", 1u << 30},
};

/* DIGITS UNIT. False when it is not, or does not fit. */
static bool scaled(const char *text, const struct unit *units, size_t n, uint64_t *out)
{
    struct str s = str_trim(str_of(text));
    size_t digits = strspn(s.p, "0123456789");
    struct str word = str_n(s.p + digits, s.len - digits);
    uint64_t count;

    if (!str_to_u64(str_n(s.p, digits), &count))
        return false;
    for (size_t i = 0; i < n; i++)
        if (str_ieq(word, str_of(units[i].word)))
            return !__builtin_mul_overflow(count, units[i].factor, out);
    return false;
}

int duration_parse(const char *text, uint64_t *us_out, struct err *e)
{
    if (scaled(text, UNIT_LIST(durations), us_out))
        return 0;
    return err_set(e, ERR_INVALID, "expected a duration like 5s, 200ms, 1m or 2h");
}

int size_parse(const char *text, uint64_t *bytes_out, struct err *e)
{
    if (scaled(text, UNIT_LIST(sizes), bytes_out))
        return 0;
    return err_set(e, ERR_INVALID, "expected a size like 64k, 1m or 2g");
}

/* ---- listeners ---- */

/* The next word of *rest, between spaces. */
static bool next_word(struct str *rest, struct str *word_out)
{
    *rest = str_trim(*rest);
    if (rest->len == 0)
        return false;
    word_out->p = rest->p;
    word_out->len = 0;
    while (word_out->len < rest->len && rest->p[word_out->len] != ' ' &&
           rest->p[word_out->len] != '\t')
        word_out->len++;
    *rest = str_n(rest->p + word_out->len, rest->len - word_out->len);
    return true;
}

static int parse_address(struct str word, struct listen_addr *out, struct err *e)
{
    struct str host, port_text;
    uint64_t port;
    size_t colon;

    if (word.len && word.p[0] == '[') {
        size_t close = str_find(word, ']');
        if (close + 1 >= word.len || word.p[close + 1] != ':')
            goto bad;
        host = str_n(word.p + 1, close - 1);
        colon = close + 1;
    } else {
        colon = str_find(word, ':');
        if (colon == word.len || memchr(word.p + colon + 1, ':', word.len - colon - 1))
            goto bad;
        host = str_n(word.p, colon);
    }
    port_text = str_n(word.p + colon + 1, word.len - colon - 1);
    if (host.len == 0 || host.len >= sizeof(out->host) || !str_to_u64(port_text, &port) ||
        port > 65535)
        goto bad;
    memcpy(out->host, host.p, host.len);
    out->host[host.len] = '\0';
    out->port = (uint16_t)port;
    return 0;
bad:
    return err_set(e, ERR_INVALID,
                   "'" STR_FMT
                   "' is not an address, expected ADDRESS:PORT like 0.0.0.0:8000 or [::]:8000",
                   STR_ARG(word));
}

static int parse_option(struct str word, struct listen_addr *out, struct err *e)
{
    static const struct {
        const char *word;
        size_t off; /* bool member; 0: accepted, it is what Weir does anyhow */
    } options[] = {
        {"ssl", offsetof(struct listen_addr, ssl)},
        {"http2", offsetof(struct listen_addr, http2)},
        {"proxy_protocol", offsetof(struct listen_addr, proxy_protocol)},
        {"reuseport", offsetof(struct listen_addr, reuseport)},
        {"deferred", 0},
        {"bind", 0},
    };
    static const struct str backlog = {"backlog=", 8};
    uint64_t n;

    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        if (str_eq(word, str_of(options[i].word))) {
            if (options[i].off)
                *(bool *)((char *)out + options[i].off) = true;
            return 0;
        }
    if (!str_starts(word, backlog))
        return err_set(e, ERR_INVALID,
                       "unknown option '" STR_FMT
                       "', expected ssl, http2, proxy_protocol, reuseport, "
                       "deferred, bind or backlog=N",
                       STR_ARG(word));
    if (!str_to_u64(str_n(word.p + backlog.len, word.len - backlog.len), &n) || n < 1 ||
        n > 1000000)
        return err_set(e, ERR_INVALID, "'" STR_FMT "': expected backlog=N, N from 1 to 1000000",
                       STR_ARG(word));
    out->backlog = (int)n;
    return 0;
}

static int parse_listener(struct str piece, struct listen_addr *out, struct err *e)
{
    struct str word;

    *out = (struct listen_addr){0};
    if (!next_word(&piece, &word))
        return err_set(e, ERR_INVALID, "an address is empty, expected ADDRESS:PORT or off");
    if (parse_address(word, out, e) != 0)
        return -1;
    while (next_word(&piece, &word))
        if (parse_option(word, out, e) != 0)
            return -1;
    return 0;
}

int listen_parse(const char *text, struct listen_addr **out, size_t *n_out, struct err *e)
{
    struct str rest = str_trim(str_of(text)), piece;
    struct listen_addr *list = NULL;
    size_t n = 0;

    *out = NULL;
    *n_out = 0;
    if (str_eq(rest, STR("off")))
        return 0;
    while (str_next(&rest, ',', &piece)) {
        list = xrealloc(list, (n + 1) * sizeof(*list));
        if (parse_listener(piece, &list[n], e) != 0) {
            free(list);
            return -1;
        }
        n++;
    }
    *out = list;
    *n_out = n;
    return 0;
}
