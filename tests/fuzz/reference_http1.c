/* reference_http1.c - see reference_http1.h. Clear before fast: every rule stands where its RFC has it. */
#include "tests/fuzz/reference_http1.h"

#define BAD(text)     \
    do {              \
        *why = text;  \
        return REF_BAD; \
    } while (0)

/* ---- characters (RFC 5234 appendix B.1, RFC 9110 section 5.6.2, RFC 3986 section 2) ---- */

static bool is_one_of(char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

static bool is_alpha(char c)
{
    return is_upper(c) || (c >= 'a' && c <= 'z');
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool is_tchar(char c)
{
    return is_alpha(c) || is_digit(c) || is_one_of(c, "!#$%&'*+-.^_`|~");
}

/* VCHAR and obs-text */
static bool is_visible(char c)
{
    unsigned char u = (unsigned char)c;

    return (u >= 0x21 && u <= 0x7e) || u >= 0x80;
}

static bool is_token(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!is_tchar(s.p[i]))
            return false;
    return s.len > 0;
}

/* RFC 9110 section 5.5. Choice: control characters other than HTAB are refused, not replaced. */
static bool is_field_value(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!is_visible(s.p[i]) && s.p[i] != ' ' && s.p[i] != '\t')
            return false;
    return true;
}

static bool is_digits(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!is_digit(s.p[i]))
            return false;
    return s.len > 0;
}

static struct str without_ows(struct str s)
{
    while (s.len > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
        s = str_n(s.p + 1, s.len - 1);
    while (s.len > 0 && (s.p[s.len - 1] == ' ' || s.p[s.len - 1] == '\t'))
        s.len--;
    return s;
}

static struct str part(struct str s, size_t from, size_t to)
{
    return str_n(s.p + from, to - from);
}

/* ---- lines (RFC 9112 section 2.2) ---- */

/* The line at *at, without its CRLF; *at moves behind it. A bare CR or LF is refused. */
static enum ref_result next_line(struct str in, size_t *at, struct str *line, const char **why)
{
    size_t end = *at;

    while (end < in.len && in.p[end] != '\n')
        end++;
    if (end == in.len)
        return REF_MORE;
    if (end == *at || in.p[end - 1] != '\r')
        BAD("LF without CR");
    *line = part(in, *at, end - 1);
    *at = end + 1;
    for (size_t i = 0; i < line->len; i++)
        if (line->p[i] == '\r')
            BAD("CR without LF");
    return REF_OK;
}

/* ---- authority (RFC 3986 section 3.2, RFC 9110 sections 4.2 and 7.2) ---- */

/* RFC 3986 section 3.2.2, IPv6address, counted by hand: up to eight groups, one "::". */
static bool is_ipv6(struct str s)
{
    size_t at = 0, groups = 0;
    bool gap = false;

    if (s.len >= 2 && s.p[0] == ':' && s.p[1] == ':') {
        gap = true;
        at = 2;
        if (at == s.len)
            return true;
    }
    for (;;) {
        size_t end = at;

        while (end < s.len && is_hex(s.p[end]))
            end++;
        if (end < s.len && s.p[end] == '.') { /* the last 32 bits as IPv4 */
            for (int octet = 0; octet < 4; octet++) {
                unsigned v = 0;
                size_t first = at;

                while (at < s.len && is_digit(s.p[at]) && at - first < 3)
                    v = v * 10 + (unsigned)(s.p[at++] - '0');
                if (at == first || v > 255 || (s.p[first] == '0' && at - first > 1))
                    return false;
                if (octet < 3 && (at == s.len || s.p[at++] != '.'))
                    return false;
            }
            groups += 2;
            return at == s.len && (gap ? groups < 8 : groups == 8);
        }
        if (end == at || end - at > 4)
            return false;
        groups++;
        at = end;
        if (at == s.len)
            return gap ? groups < 8 : groups == 8;
        if (s.p[at++] != ':' || groups > 8)
            return false;
        if (at < s.len && s.p[at] == ':') {
            if (gap)
                return false;
            gap = true;
            if (++at == s.len)
                return groups < 8;
        }
    }
}

/* reg-name = *( unreserved / pct-encoded / sub-delims ) */
static bool is_reg_name(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] == '%' && i + 2 < s.len && is_hex(s.p[i + 1]) && is_hex(s.p[i + 2]))
            i += 2;
        else if (!is_alpha(s.p[i]) && !is_digit(s.p[i]) && !is_one_of(s.p[i], "-._~!$&'()*+,;="))
            return false;
    }
    return true;
}

/* uri-host [ ":" port ]; userinfo is none of it (RFC 9110 section 4.2.4). */
static bool read_authority(struct str s, struct str *host, unsigned *port)
{
    size_t end = 0;

    *port = 0;
    if (s.len > 0 && s.p[0] == '[') {
        while (end < s.len && s.p[end] != ']')
            end++;
        if (end == s.len || !is_ipv6(part(s, 1, end)))
            return false;
        end++;
    } else {
        while (end < s.len && s.p[end] != ':')
            end++;
        if (!is_reg_name(part(s, 0, end)))
            return false;
    }
    *host = part(s, 0, end);
    if (end == s.len)
        return true;
    if (s.p[end] != ':' || end == 0) /* choice: no port without a host */
        return false;
    for (size_t i = end + 1; i < s.len; i++) { /* port = *DIGIT */
        if (!is_digit(s.p[i]))
            return false;
        *port = *port * 10 + (unsigned)(s.p[i] - '0');
        if (*port > 65535)
            return false;
    }
    return true;
}

/* ---- request line (RFC 9112 section 3) ---- */

/* Path and query of what begins with a path, or is empty or a query. */
static void split_path(struct str s, struct ref_request *out)
{
    size_t mark = 0;

    while (mark < s.len && s.p[mark] != '?')
        mark++;
    out->path = part(s, 0, mark);
    if (mark < s.len)
        out->query = part(s, mark + 1, s.len);
}

static enum ref_result read_target(struct str s, struct ref_request *out, bool *absolute, const char **why)
{
    size_t scheme = 0, end;

    for (size_t i = 0; i < s.len; i++) /* choice: bytes that RFC 3986 has not, but no fragment, are the upstream's */
        if (!is_visible(s.p[i]) || s.p[i] == '#')
            BAD("byte in the target");
    out->target = s;
    *absolute = false;
    if (s.len == 0)
        BAD("no target");
    if (s.p[0] == '/') { /* 3.2.1 origin-form */
        split_path(s, out);
        return REF_OK;
    }
    if (str_eq(s, STR("*"))) /* 3.2.4 asterisk-form; choice: no route can mean it, so nobody is there to answer */
        BAD("*");
    if (s.len >= 7 && str_ieq(part(s, 0, 7), STR("http://"))) /* 3.2.2 absolute-form */
        scheme = 7;
    else if (s.len >= 8 && str_ieq(part(s, 0, 8), STR("https://")))
        scheme = 8;
    else
        BAD("no form of a target");
    end = scheme;
    while (end < s.len && s.p[end] != '/' && s.p[end] != '?')
        end++;
    out->authority = part(s, scheme, end);
    if (out->authority.len == 0) /* RFC 9110 section 4.2.1: an empty host is invalid */
        BAD("no host in the target");
    split_path(part(s, end, s.len), out);
    *absolute = true;
    return REF_OK;
}

static enum ref_result read_request_line(struct str line, struct ref_request *out, bool *absolute, const char **why)
{
    size_t first = 0, last;
    struct str version;

    while (first < line.len && line.p[first] != ' ')
        first++;
    last = line.len;
    while (last > first && line.p[last - 1] != ' ')
        last--;
    if (last <= first + 1)
        BAD("not three words");
    out->method = part(line, 0, first);
    if (!is_token(out->method) || out->method.len > 32) /* choice: the length */
        BAD("method");
    for (size_t i = 0; i < out->method.len; i++) /* choice: no registered method has others */
        if (!is_upper(out->method.p[i]) && out->method.p[i] != '-' && out->method.p[i] != '_')
            BAD("method");
    if (str_eq(out->method, STR("CONNECT")) || str_eq(out->method, STR("TRACE"))) /* choice: not for a gateway */
        BAD("method that is not served");
    version = part(line, last, line.len);
    /* 2.3: HTTP-name "/" DIGIT "." DIGIT, case-sensitive */
    if (version.len != 8 || memcmp(version.p, "HTTP/", 5) != 0 || !is_digit(version.p[5]) || version.p[6] != '.' ||
        !is_digit(version.p[7]))
        BAD("version");
    if (version.p[5] != '1')
        BAD("major version");
    out->minor = version.p[7] - '0';
    return read_target(part(line, first + 1, last - 1), out, absolute, why);
}

/* ---- fields (RFC 9112 section 5) ---- */

static enum ref_result read_field(struct str line, struct ref_request *out, const char **why)
{
    size_t colon = 0;
    struct ref_field *f = &out->fields[out->n_fields];

    while (colon < line.len && line.p[colon] != ':')
        colon++;
    if (colon == line.len)
        BAD("no colon");
    if (out->n_fields == REF_FIELDS)
        BAD("too many fields");
    f->name = part(line, 0, colon);
    f->value = without_ows(part(line, colon + 1, line.len));
    if (!is_token(f->name)) /* 5.1: white space before the colon too; 5.2: and a folded line */
        BAD("name");
    if (!is_field_value(f->value))
        BAD("value");
    out->n_fields++;
    return REF_OK;
}

/* The next non-empty element of a list (RFC 9110 section 5.6.1.2). */
static bool next_element(struct str list, size_t *at, struct str *element)
{
    while (*at <= list.len) {
        size_t end = *at;

        while (end < list.len && list.p[end] != ',')
            end++;
        *element = without_ows(part(list, *at, end));
        *at = end + 1;
        if (element->len > 0)
            return true;
    }
    return false;
}

/* How many elements of all fields called name are element; *all: how many there are. */
static size_t count_in_list(const struct ref_request *r, struct str name, struct str element, size_t *all)
{
    size_t n = 0;

    *all = 0;
    for (size_t i = 0; i < r->n_fields; i++) {
        struct str found;

        if (!str_ieq(r->fields[i].name, name))
            continue;
        for (size_t at = 0; next_element(r->fields[i].value, &at, &found); ++*all)
            n += str_ieq(found, element);
    }
    return n;
}

static size_t count_fields(const struct ref_request *r, struct str name, struct str *value)
{
    size_t n = 0;

    for (size_t i = 0; i < r->n_fields; i++)
        if (str_ieq(r->fields[i].name, name)) {
            *value = r->fields[i].value;
            n++;
        }
    return n;
}

/* RFC 9112 section 6. */
static enum ref_result read_framing(struct ref_request *out, const char **why)
{
    struct str value = STR_NONE;
    size_t lengths = count_fields(out, STR("Content-Length"), &value), codings;

    out->content_length = -1;
    if (lengths > 1) /* 6.3: choice: refused also when they are the same */
        BAD("two lengths");
    if (lengths == 1) {
        uint64_t v = 0;

        if (!is_digits(value))
            BAD("length");
        for (size_t i = 0; i < value.len; i++) {
            if (v > (uint64_t)INT64_MAX / 10)
                BAD("length too large");
            v = v * 10 + (uint64_t)(value.p[i] - '0');
            if (v > INT64_MAX)
                BAD("length too large");
        }
        out->content_length = (int64_t)v;
    }
    if (count_fields(out, STR("Transfer-Encoding"), &value) == 0)
        return REF_OK;
    /* 6.1: both, or in HTTP/1.0, is how requests are smuggled; other codings: choice, none is known here */
    if (lengths)
        BAD("length and coding");
    if (out->minor == 0)
        BAD("coding in HTTP/1.0");
    if (count_in_list(out, STR("Transfer-Encoding"), STR("chunked"), &codings) != 1 || codings != 1)
        BAD("coding");
    out->chunked = true;
    return REF_OK;
}

/* RFC 9112 section 3.2. */
static enum ref_result read_host(struct ref_request *out, bool absolute, const char **why)
{
    struct str value = STR_NONE, host;
    size_t hosts = count_fields(out, STR("Host"), &value);
    unsigned port;

    if (hosts > 1)
        BAD("two Hosts");
    if (hosts == 0 && out->minor > 0)
        BAD("no Host");
    if (hosts == 1 && !read_authority(value, &host, &port))
        BAD("Host");
    if (!absolute) /* 3.2.2: the target's counts, and Host is ignored then */
        out->authority = value;
    if (out->authority.len && !read_authority(out->authority, &out->host, &out->port))
        BAD("authority");
    if (absolute && out->host.len == 0)
        BAD("no host in the target");
    return REF_OK;
}

static enum ref_result read_rest(struct ref_request *out, const char **why)
{
    size_t n;

    for (size_t i = 0; i < out->n_fields; i++) {
        if (!str_ieq(out->fields[i].name, STR("Expect")))
            continue;
        /* RFC 9110 section 10.1.1: another expectation may be refused, and is: choice */
        if (!str_ieq(out->fields[i].value, STR("100-continue")))
            BAD("expectation");
        out->expect_continue = out->minor > 0; /* ignored in HTTP/1.0 */
    }
    /* RFC 9110 section 7.6.1; "close" and "keep-alive" name no field */
    for (size_t i = 0; i < out->n_fields; i++) {
        struct str name = out->fields[i].name;

        out->fields[i].hop = !str_ieq(name, STR("close")) && !str_ieq(name, STR("keep-alive")) &&
                             count_in_list(out, STR("Connection"), name, &n) > 0;
    }
    /* RFC 9112 section 9.3 */
    if (count_in_list(out, STR("Connection"), STR("close"), &n))
        out->keep_alive = false;
    else if (out->minor > 0)
        out->keep_alive = true;
    else
        out->keep_alive = count_in_list(out, STR("Connection"), STR("keep-alive"), &n) > 0;
    return REF_OK;
}

enum ref_result ref_read_head(struct str in, struct ref_request *out, const char **why)
{
    enum ref_result result;
    struct str line;
    bool absolute;
    size_t at = 0;

    memset(out, 0, sizeof(*out));
    result = next_line(in, &at, &line, why);
    if (result == REF_OK && line.len == 0) /* RFC 9112 section 2.2: at least one is ignored; choice: one */
        result = next_line(in, &at, &line, why);
    if (result == REF_OK)
        result = read_request_line(line, out, &absolute, why);
    while (result == REF_OK) {
        result = next_line(in, &at, &line, why);
        if (result == REF_OK && line.len == 0)
            break;
        if (result == REF_OK)
            result = read_field(line, out, why);
    }
    out->used = at;
    if (result == REF_OK)
        result = read_framing(out, why);
    if (result == REF_OK)
        result = read_host(out, absolute, why);
    if (result == REF_OK)
        result = read_rest(out, why);
    return result;
}

/* ---- chunked bodies (RFC 9112 section 7.1) ---- */

#define SIZE_DIGITS 15   /* choice: the bounds of http/chunk.c */
#define EXTENSIONS  1024
#define TRAILERS    8192

/* chunk-size [ chunk-ext ]: choice: extensions are ignored unread, as long as their bytes are a value's. */
static enum ref_result read_size(struct str line, uint64_t *size, const char **why)
{
    size_t digits = 0, at;

    *size = 0;
    while (digits < line.len && is_hex(line.p[digits])) {
        char c = ascii_lower(line.p[digits++]);

        if (digits > SIZE_DIGITS)
            BAD("size too large");
        *size = *size * 16 + (uint64_t)(is_digit(c) ? c - '0' : c - 'a' + 10);
    }
    if (digits == 0)
        BAD("no size");
    at = digits;
    while (at < line.len && (line.p[at] == ' ' || line.p[at] == '\t')) /* BWS */
        at++;
    if (at > digits && at == line.len) /* 7.1.1: it is a part of an extension */
        BAD("blank behind the size");
    if (at < line.len && line.p[at] != ';')
        BAD("byte behind the size");
    if (!is_field_value(part(line, at, line.len)))
        BAD("extension");
    if (line.len - digits - (at < line.len) > EXTENSIONS)
        BAD("extension too long");
    return REF_OK;
}

enum ref_result ref_read_chunked(struct str in, char *out, size_t *made_out, size_t *used_out, const char **why)
{
    enum ref_result result;
    size_t at = 0, trailers = 0;
    struct str line;
    uint64_t size;

    *made_out = 0;
    for (;;) {
        size_t came;

        result = next_line(in, &at, &line, why);
        if (result == REF_OK)
            result = read_size(line, &size, why);
        if (result != REF_OK)
            return result;
        if (size == 0)
            break;
        came = size < in.len - at ? (size_t)size : in.len - at;
        memcpy(out + *made_out, in.p + at, came);
        *made_out += came;
        at += came;
        if (came < size || in.len - at == 0)
            return REF_MORE;
        if (in.p[at] != '\r')
            BAD("no CRLF behind the data");
        if (in.len - at < 2)
            return REF_MORE;
        if (in.p[at + 1] != '\n')
            BAD("no CRLF behind the data");
        at += 2;
    }
    for (;;) { /* 7.1.2: the trailer section */
        struct ref_request field = {.n_fields = 0};

        result = next_line(in, &at, &line, why);
        if (result == REF_OK && line.len == 0)
            break;
        if (result == REF_OK)
            result = read_field(line, &field, why);
        if (result != REF_OK)
            return result;
        trailers += line.len;
        if (trailers > TRAILERS)
            BAD("trailers too long");
    }
    *used_out = at;
    return REF_OK;
}
