/* uri.c - see uri.h. */
#include "common/uri.h"

enum {
    CH_KEEP = 1,   /* reserved: its escape is not decoded */
    CH_PATH = 2,   /* may stand in a path as it is */
    CH_SCHEME = 4, /* may stand in a scheme behind the first letter */
};

#define ALNUM (CH_PATH | CH_SCHEME)
static const unsigned char classes[256] = {
    ['!'] = CH_KEEP | CH_PATH,
    ['*'] = CH_KEEP | CH_PATH,
    ['\''] = CH_KEEP | CH_PATH,
    ['('] = CH_KEEP | CH_PATH,
    [')'] = CH_KEEP | CH_PATH,
    [';'] = CH_KEEP | CH_PATH,
    [':'] = CH_KEEP | CH_PATH,
    ['@'] = CH_KEEP | CH_PATH,
    ['&'] = CH_KEEP | CH_PATH,
    ['='] = CH_KEEP | CH_PATH,
    ['+'] = CH_KEEP | CH_PATH | CH_SCHEME,
    ['$'] = CH_KEEP | CH_PATH,
    [','] = CH_KEEP | CH_PATH,
    ['/'] = CH_KEEP | CH_PATH,
    ['?'] = CH_KEEP,
    ['%'] = CH_KEEP,
    ['#'] = CH_KEEP,
    ['['] = CH_KEEP | CH_PATH,
    [']'] = CH_KEEP | CH_PATH,
    ['-'] = CH_PATH | CH_SCHEME,
    ['.'] = CH_PATH | CH_SCHEME,
    ['_'] = CH_PATH,
    ['~'] = CH_PATH,
    ['0' ... '9'] = ALNUM,
    ['A' ... 'Z'] = ALNUM,
    ['a' ... 'z'] = ALNUM,
};

static bool is_class(char c, unsigned char mask)
{
    return classes[(unsigned char)c] & mask;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte escaped at text[i], or -1. */
static int escape_at(struct str text, size_t i)
{
    int high, low;

    if (i + 2 >= text.len || text.p[i] != '%')
        return -1;
    high = hex_value(text.p[i + 1]);
    low = hex_value(text.p[i + 2]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

size_t path_bad_escape(struct str path)
{
    for (size_t i = 0; i < path.len; i++) {
        if (path.p[i] == '%' && escape_at(path, i) < 0)
            return i;
    }
    return path.len;
}

/* Escapes decoded, those of reserved bytes in upper case. out may be path.p. */
static size_t decode_unreserved(struct str path, char *out)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t n = 0;

    for (size_t i = 0; i < path.len; i++) {
        int byte = path.p[i] == '%' ? escape_at(path, i) : -1;

        if (byte < 0) {
            out[n++] = path.p[i];
            continue;
        }
        i += 2;
        if (!is_class((char)byte, CH_KEEP)) {
            out[n++] = (char)byte;
            continue;
        }
        out[n++] = '%';
        out[n++] = digits[byte >> 4];
        out[n++] = digits[byte & 15];
    }
    return n;
}

enum dots { DOTS_NONE, DOTS_ONE, DOTS_TWO };

static enum dots segment_dots(const char *p, size_t len)
{
    if (len == 1 && p[0] == '.')
        return DOTS_ONE;
    return len == 2 && p[0] == '.' && p[1] == '.' ? DOTS_TWO : DOTS_NONE;
}

/* Drops dot segments and empty ones in place. */
static size_t remove_segments(char *p, size_t len)
{
    size_t n = 0, i = 0;

    while (i < len) {
        size_t start, size;
        bool slash = p[i] == '/';
        enum dots dots;

        while (i < len && p[i] == '/')
            i++;
        start = i;
        while (i < len && p[i] != '/')
            i++;
        size = i - start;
        dots = segment_dots(p + start, size);
        if (dots == DOTS_NONE) {
            if (slash)
                p[n++] = '/';
            memmove(p + n, p + start, size);
            n += size;
            continue;
        }
        while (dots == DOTS_TWO && n > 0 && p[--n] != '/')
            ;
        if (i == len) /* "/a/." and "/a/b/.." end in a slash */
            p[n++] = '/';
    }
    return n;
}

struct str path_normalize(struct str path, char *out)
{
    return str_n(out, remove_segments(out, decode_unreserved(path, out)));
}

bool path_is_normal(struct str path)
{
    for (size_t i = 0; i < path.len; i++) {
        char c = path.p[i];

        if (c == '%') {
            int byte = escape_at(path, i);

            if (byte < 0)
                continue;
            if (!is_class((char)byte, CH_KEEP) || path.p[i + 1] >= 'a' || path.p[i + 2] >= 'a')
                return false;
            i += 2;
        } else if (c == '/' && i + 1 < path.len && (path.p[i + 1] == '/' || path.p[i + 1] == '.')) {
            size_t end = i + 1;

            while (end < path.len && path.p[end] != '/')
                end++;
            if (end == i + 1 || segment_dots(path.p + i + 1, end - i - 1) != DOTS_NONE)
                return false;
        }
    }
    return segment_dots(path.p, str_find(path, '/')) == DOTS_NONE;
}

bool path_is_plain(struct str path)
{
    char before = 0;

    for (size_t i = 0; i < path.len; i++) {
        char c = path.p[i];

        if (!is_class(c, CH_PATH) || (before == '/' && (c == '/' || c == '.')))
            return false;
        before = c;
    }
    return path.len > 0 && path.p[0] == '/';
}

/* One byte of a path with its escape decoded; advances *i. */
static char next_byte(struct str path, size_t *i)
{
    int byte = escape_at(path, *i);
    char c = byte < 0 ? path.p[*i] : (char)byte;

    *i += byte < 0 ? 1 : 3;
    return c;
}

bool path_climbs(struct str path)
{
    size_t depth = 0, dots = 0, others = 0;

    for (size_t i = 0; i <= path.len;) {
        bool end = i == path.len || path.p[i] == '/';
        char c = end ? '/' : next_byte(path, &i);

        if (!end) {
            if (c == '.')
                dots++;
            else
                others++;
            continue;
        }
        i++;
        if (others > 0 || dots > 2)
            depth++;
        else if (dots == 2 && depth-- == 0)
            return true;
        dots = others = 0;
    }
    return false;
}

bool path_is_escaped(struct str path)
{
    for (size_t i = 0; i < path.len; i++) {
        if (!is_class(path.p[i], CH_PATH) && (path.p[i] != '%' || escape_at(path, i) < 0))
            return false;
    }
    return true;
}

struct str path_escape(struct str path, char *out)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t n = 0;

    for (size_t i = 0; i < path.len; i++) {
        unsigned char c = (unsigned char)path.p[i];

        if (is_class((char)c, CH_PATH) || (c == '%' && escape_at(path, i) >= 0)) {
            out[n++] = (char)c;
            continue;
        }
        out[n++] = '%';
        out[n++] = digits[c >> 4];
        out[n++] = digits[c & 15];
    }
    return str_n(out, n);
}

/* Cuts what stands behind the first c off text. */
static struct str cut_behind(struct str *text, char c)
{
    size_t at = str_find(*text, c);
    struct str rest = STR_NONE;

    if (at < text->len) {
        rest = str_n(text->p + at + 1, text->len - at - 1);
        text->len = at;
    }
    return rest;
}

static void skip(struct str *text, size_t n)
{
    text->p += n;
    text->len -= n;
}

static void split_authority(struct str authority, struct uri *out)
{
    size_t at = str_find(authority, '@'), colon = authority.len;

    if (at < authority.len) {
        out->userinfo = str_n(authority.p, at);
        skip(&authority, at + 1);
    }
    for (size_t i = authority.len; i-- > 0 && authority.p[i] != ']';) {
        if (authority.p[i] == ':') {
            colon = i;
            break;
        }
    }
    if (colon < authority.len) {
        struct str port = str_n(authority.p + colon + 1, authority.len - colon - 1);

        authority.len = colon;
        out->port = port.len ? port : STR_NONE;
    }
    if (authority.len > 2 && authority.p[0] == '[' && authority.p[authority.len - 1] == ']')
        authority = str_n(authority.p + 1, authority.len - 2);
    out->host = authority.len ? authority : STR_NONE;
}

void uri_split(struct str text, struct uri *out)
{
    size_t n = 0;

    *out = (struct uri){0};
    out->fragment = cut_behind(&text, '#');
    while (n < text.len && is_class(text.p[n], CH_SCHEME))
        n++;
    if (n > 0 && n < text.len && text.p[n] == ':' && is_class(text.p[0], CH_PATH) &&
        text.p[0] != '+' && text.p[0] != '-' && text.p[0] != '.') {
        out->scheme = str_n(text.p, n);
        skip(&text, n + 1);
    }
    if (str_starts(text, STR("//"))) {
        skip(&text, 2);
        n = str_find(text, '/');
        split_authority(str_n(text.p, n), out);
        skip(&text, n);
    }
    out->query = cut_behind(&text, '?');
    if (text.len)
        out->path = text;
}

struct str percent_decode(struct str text, bool plus_is_space, char *out)
{
    size_t n = 0;

    for (size_t i = 0; i < text.len;) {
        if (plus_is_space && text.p[i] == '+') {
            out[n++] = ' ';
            i++;
        } else {
            out[n++] = next_byte(text, &i);
        }
    }
    return str_n(out, n);
}
