/* chunk.c - the chunked coding, decoded where it stands (RFC 9112 section 7.1). */
#include "dataplane/http/parse.h"

#pragma GCC diagnostic warning "-Wconversion"
#pragma GCC diagnostic warning "-Wsign-conversion"

#define EXTENSION_MAX 1024u
#define TRAILERS_MAX  8192u

enum {
    SIZE, PADDING, EXTENSION, SIZE_LF, /* the line before the data */
    DATA, DATA_CR, DATA_LF,
    LINE, TRAILER, VALUE, VALUE_LF,    /* of the trailer section: a line, its name, its value */
    END_LF, DONE,
};

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Another byte of the trailer section. False: no memory. */
static bool keep(struct chunk_decoder *d, char c)
{
    if (!d->arena)
        return true;
    if (d->trailers_len == d->trailers_cap) {
        uint32_t cap = d->trailers_cap ? d->trailers_cap * 2 : 128;
        char *more = arena_alloc(d->arena, cap);

        if (!more)
            return false;
        if (d->trailers_len)
            memcpy(more, d->trailers, d->trailers_len);
        d->trailers = more;
        d->trailers_cap = cap;
    }
    d->trailers[d->trailers_len++] = c;
    return true;
}

/* One byte outside of data. False: it has no place here. */
static bool take(struct chunk_decoder *d, char c)
{
    int digit;

    switch (d->state) {
    case SIZE:
        digit = hex(c);
        if (digit >= 0 && d->digits < 15) { /* below 2^60: no overflow */
            d->left = d->left * 16 + (unsigned)digit;
            d->digits++;
            return true;
        }
        if (d->digits == 0 || digit >= 0)
            return false;
        if (c == '\r') {
            d->state = SIZE_LF;
            return true;
        }
        d->line_bytes = 0;
        d->state = PADDING;
        return take(d, c);
    case PADDING: /* bad white space, which may stand in front of an extension only (7.1.1) */
        if (c == ';') {
            d->state = EXTENSION;
            return true;
        }
        return (c == ' ' || c == '\t') && ++d->line_bytes <= EXTENSION_MAX;
    case EXTENSION:
        if (c == '\r')
            d->state = SIZE_LF;
        else
            return http_is_value(str_n(&c, 1)) && ++d->line_bytes <= EXTENSION_MAX;
        return true;
    case SIZE_LF:
        d->state = d->left ? DATA : LINE;
        return c == '\n';
    case DATA_CR:
        d->state = DATA_LF;
        return c == '\r';
    case DATA_LF:
        d->state = SIZE;
        d->digits = 0;
        d->left = 0;
        return c == '\n';
    case LINE:
        d->state = c == '\r' ? END_LF : TRAILER;
        return c == '\r' || (http_is_token(str_n(&c, 1)) && keep(d, c));
    case TRAILER:
        if (c == ':')
            d->state = VALUE;
        return ++d->trailer_bytes <= TRAILERS_MAX && (c == ':' || http_is_token(str_n(&c, 1))) && keep(d, c);
    case VALUE:
        if (c == '\r')
            d->state = VALUE_LF;
        return ++d->trailer_bytes <= TRAILERS_MAX && (c == '\r' || http_is_value(str_n(&c, 1))) &&
               keep(d, c == '\r' ? '\n' : c);
    case VALUE_LF:
        d->state = LINE;
        return c == '\n';
    case END_LF:
        d->state = DONE;
        return c == '\n';
    default: return false;
    }
}

enum chunk_result chunk_decode(struct chunk_decoder *d, const char *in, size_t n, char *out,
                               size_t *used_out, size_t *made_out)
{
    size_t at = 0, made = 0;

    while (at < n && d->state != DONE) {
        if (d->state == DATA) {
            size_t part = d->left < n - at ? (size_t)d->left : n - at;
            if (out + made != in + at)
                memmove(out + made, in + at, part);
            at += part;
            made += part;
            d->left -= part;
            if (d->left == 0)
                d->state = DATA_CR;
        } else if (!take(d, in[at++])) {
            return CHUNK_BAD;
        }
    }
    *used_out = at;
    *made_out = made;
    return d->state == DONE ? CHUNK_DONE : CHUNK_MORE;
}

bool chunk_trailers(const struct chunk_decoder *d, struct headers *out)
{
    struct str rest = str_n(d->trailers, d->trailers_len), line;

    while (rest.len && str_next(&rest, '\n', &line)) {
        size_t colon = str_find(line, ':');
        struct header h = {.name = str_n(line.p, colon)};

        if (colon >= line.len)
            continue; /* behind the last one */
        h.value = str_trim(str_n(line.p + colon + 1, line.len - colon - 1));
        h.id = (uint8_t)header_id_of(h.name);
        if (header_may_trail(&h) && !headers_add_as(out, d->arena, h.id, h.name, h.value))
            return false;
    }
    return true;
}
