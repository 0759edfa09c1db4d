/* client_hello.c - see client_hello.h. */
#include "dataplane/tls/client_hello.h"

#pragma GCC diagnostic warning "-Wconversion"
#pragma GCC diagnostic warning "-Wsign-conversion"

#define RECORD_HEADER  5
#define MESSAGE_HEADER 4
#define NAME_MAX_BYTES 255
#define LABEL_MAX      63

enum { RECORD_HANDSHAKE = 22, MAJOR_VERSION = 3, MESSAGE_CLIENT_HELLO = 1 };
enum { EXT_SERVER_NAME = 0, EXT_ALPN = 16 };
enum { NAME_HOST_NAME = 0 };

static unsigned byte_at(struct str s, size_t at)
{
    return (unsigned char)s.p[at];
}

static size_t number(struct str s)
{
    size_t v = 0;

    for (size_t i = 0; i < s.len; i++)
        v = v << 8 | byte_at(s, i);
    return v;
}

/* The next n bytes of *from. */
static bool take(struct str *from, size_t n, struct str *out)
{
    if (from->len < n)
        return false;
    *out = str_n(from->p, n);
    *from = str_n(from->p + n, from->len - n);
    return true;
}

/* A vector of RFC 8446 section 3.4: its length in `width` bytes, then min or more. False takes nothing. */
static bool take_vector(struct str *from, size_t width, size_t min, struct str *out)
{
    struct str rest = *from, len;

    if (!take(&rest, width, &len) || number(len) < min || !take(&rest, number(len), out))
        return false;
    *from = rest;
    return true;
}

bool client_hello_alpn_next(struct str *alpn, struct str *name_out)
{
    return take_vector(alpn, 1, 1, name_out);
}

/* ---- extensions ---- */

static bool is_host_name(struct str s)
{
    size_t label = 0;

    for (size_t i = 0; i < s.len; i++) {
        char c = ascii_lower(s.p[i]);

        if (c == '.' ? label == 0 : !((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
            return false;
        label = c == '.' ? 0 : label + 1;
        if (label > LABEL_MAX)
            return false;
    }
    return label > 0 && s.len <= NAME_MAX_BYTES;
}

/* RFC 6066 section 3. Nobody has defined a second type of name: how long one is cannot be known. */
static bool read_server_name(struct str body, struct client_hello *out)
{
    struct str list, type, name;

    if (out->server_name.p || !take_vector(&body, 2, 1, &list) || body.len || !take(&list, 1, &type) ||
        number(type) != NAME_HOST_NAME || !take_vector(&list, 2, 1, &name) || list.len)
        return false;
    if (str_ends(name, STR(".")))
        name.len--; /* not allowed there, but some send it, and it is the same name */
    out->server_name = name;
    return is_host_name(name);
}

/* RFC 7301 section 3.1. */
static bool read_alpn(struct str body, struct client_hello *out)
{
    struct str rest, name;

    if (out->alpn.p || !take_vector(&body, 2, 2, &out->alpn) || body.len)
        return false;
    for (rest = out->alpn; client_hello_alpn_next(&rest, &name);)
        continue;
    return rest.len == 0;
}

/* ---- the message ---- */

/* body: behind the message's own header (RFC 8446 section 4.1.2). */
static bool read_message(struct str body, struct client_hello *out)
{
    struct str version, skipped, extensions, type, data;

    if (!take(&body, 2, &version) || byte_at(version, 0) != MAJOR_VERSION || !take(&body, 32, &skipped) ||
        !take_vector(&body, 1, 0, &skipped) || skipped.len > 32 ||    /* session */
        !take_vector(&body, 2, 2, &skipped) || skipped.len % 2 != 0 || /* cipher suites */
        !take_vector(&body, 1, 1, &skipped))                           /* compression */
        return false;
    if (body.len == 0)
        return true; /* before TLS 1.3, extensions may be left out as a whole */
    if (!take_vector(&body, 2, 0, &extensions) || body.len)
        return false;
    while (extensions.len) {
        if (!take(&extensions, 2, &type) || !take_vector(&extensions, 2, 0, &data))
            return false;
        if ((number(type) == EXT_SERVER_NAME && !read_server_name(data, out)) ||
            (number(type) == EXT_ALPN && !read_alpn(data, out)))
            return false;
    }
    return true;
}

/* Whether message, of which more may come, has its end. HELLO_OK: *message is cut there. */
static enum hello_result check_message(struct str *message)
{
    size_t len;

    if (message->len && byte_at(*message, 0) != MESSAGE_CLIENT_HELLO)
        return HELLO_BAD;
    if (message->len < MESSAGE_HEADER)
        return HELLO_MORE;
    len = MESSAGE_HEADER + number(str_n(message->p + 1, 3));
    if (len > CLIENT_HELLO_MAX - RECORD_HEADER)
        return HELLO_BAD;
    if (message->len < len)
        return HELLO_MORE;
    message->len = len;
    return HELLO_OK;
}

/* The next record's part of the handshake, as far as it came (RFC 8446 section 5.1). HELLO_OK: it may still be empty. */
static enum hello_result next_record(struct str *in, enum hello_result when_other, struct str *part_out)
{
    size_t len;

    if ((in->len > 0 && byte_at(*in, 0) != RECORD_HANDSHAKE) || (in->len > 1 && byte_at(*in, 1) != MAJOR_VERSION))
        return when_other;
    if (in->len < RECORD_HEADER)
        return HELLO_MORE;
    len = number(str_n(in->p + 3, 2));
    if (len == 0 || len > 1 << 14)
        return HELLO_BAD;
    *part_out = str_n(in->p + RECORD_HEADER, size_min(len, in->len - RECORD_HEADER));
    *in = str_n(part_out->p + part_out->len, in->len - RECORD_HEADER - part_out->len);
    return HELLO_OK;
}

/* The whole message: in place when one record has it, else put together in scratch. */
static enum hello_result collect(struct str in, char *scratch, struct str *message_out)
{
    enum hello_result result = next_record(&in, HELLO_NOT_TLS, message_out);
    struct str part;
    size_t len;

    if (result != HELLO_OK)
        return result;
    result = check_message(message_out);
    if (result != HELLO_MORE || in.len == 0)
        return result;
    len = message_out->len; /* of less than all of in: there is room for it */
    memcpy(scratch, message_out->p, len);
    do {
        result = next_record(&in, HELLO_BAD, &part);
        if (result != HELLO_OK)
            return result;
        memcpy(scratch + len, part.p, part.len);
        len += part.len;
        *message_out = str_n(scratch, len);
        result = check_message(message_out);
    } while (result == HELLO_MORE && in.len);
    return result;
}

enum hello_result client_hello_parse(struct str in, char scratch[CLIENT_HELLO_MAX], struct client_hello *out)
{
    struct str message;
    enum hello_result result;
    bool full = in.len >= CLIENT_HELLO_MAX;

    *out = (struct client_hello){0};
    in.len = size_min(in.len, CLIENT_HELLO_MAX);
    result = collect(in, scratch, &message);
    if (result == HELLO_MORE && full)
        return HELLO_BAD;
    if (result != HELLO_OK)
        return result;
    return read_message(str_n(message.p + MESSAGE_HEADER, message.len - MESSAGE_HEADER), out) ? HELLO_OK : HELLO_BAD;
}
