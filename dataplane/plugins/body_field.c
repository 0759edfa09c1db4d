/* body_field.c - see body_field.h. */
#include "dataplane/plugins/body_field.h"

#include <jansson.h>
#include <stdlib.h>

static struct str media_type(struct str content_type)
{
    return str_trim(str_n(content_type.p, str_find(content_type, ';')));
}

enum body_kind body_kind(struct str content_type)
{
    struct str type = media_type(content_type);

    if (str_ieq(type, STR("application/x-www-form-urlencoded")))
        return BODY_FORM;
    if (str_ieq(type, STR("application/json")))
        return BODY_JSON;
    if (str_ieq(type, STR("multipart/form-data")))
        return BODY_MULTIPART;
    return BODY_OTHER;
}

/* ---- JSON ---- */

static unsigned json_field(struct exchange *x, struct str body, struct str name,
                           struct str *first_out)
{
    json_t *doc = json_loadb(body.p, body.len, 0, NULL);
    const json_t *value = json_object_getn(doc, name.p, name.len);
    unsigned n = 0;

    if (json_is_string(value)) {
        *first_out = plugin_str(x, str_n(json_string_value(value), json_string_length(value)));
        n = first_out->p != NULL;
    } else if (json_is_array(value) || json_is_object(value)) {
        n = 2;
    }
    json_decref(doc);
    return n;
}

static struct str json_without(struct exchange *x, struct str body, struct str name)
{
    json_t *doc = json_loadb(body.p, body.len, 0, NULL);
    struct str out = body;
    char *text;

    if (json_object_deln(doc, name.p, name.len) == 0) {
        text = json_dumps(doc, JSON_COMPACT);
        if (text)
            out = plugin_str(x, str_of(text));
        free(text);
    }
    json_decref(doc);
    return out.p ? out : body;
}

/* ---- multipart/form-data (RFC 7578, RFC 2046 section 5.1) ---- */

struct part {
    struct str whole;   /* from its delimiter up to the next one */
    struct str headers; /* lines */
    struct str content;
};

/* "\r\n--BOUNDARY"; p NULL when the type names none. */
static struct str delimiter(struct exchange *x, struct str content_type)
{
    struct str piece, rest = content_type;

    while (str_next(&rest, ';', &piece)) {
        piece = str_trim(piece);
        if (piece.len < 9 || !str_ieq(str_n(piece.p, 9), STR("boundary=")))
            continue;
        piece = str_n(piece.p + 9, piece.len - 9);
        if (piece.len >= 2 && piece.p[0] == '"' && piece.p[piece.len - 1] == '"')
            piece = str_n(piece.p + 1, piece.len - 2);
        if (piece.len == 0 || piece.len > 70)
            break;
        return plugin_printf(x, "\r\n--" STR_FMT, STR_ARG(piece));
    }
    return STR_NONE;
}

/* Index of what in s from `from`, or s.len. */
static size_t find(struct str s, size_t from, struct str what)
{
    const char *at = memmem(s.p + from, s.len - from, what.p, what.len);
    return at ? (size_t)(at - s.p) : s.len;
}

/* The part whose delimiter (without CR LF) is at *at, which moves on to the next one. */
static bool next_part(struct str body, struct str delim, size_t *at, struct part *out)
{
    struct str mark = str_n(delim.p + 2, delim.len - 2);
    size_t lines, blank, end;

    if (*at > body.len || !str_starts(str_n(body.p + *at, body.len - *at), mark))
        return false;
    lines = *at + mark.len;
    if (!str_starts(str_n(body.p + lines, body.len - lines), STR("\r\n")))
        return false; /* "--": the end */
    end = find(body, lines, delim);
    blank = find(body, lines, STR("\r\n\r\n"));
    if (end == body.len || blank >= end)
        return false;
    out->whole = str_n(body.p + *at, end + 2 - *at);
    out->headers = str_n(body.p + lines + 2, blank > lines + 2 ? blank - lines - 2 : 0);
    out->content = end > blank + 4 ? str_n(body.p + blank + 4, end - blank - 4) : STR("");
    *at = end + 2;
    return true;
}

static bool part_is(const struct part *part, struct str name)
{
    struct str lines = part->headers, line, piece;

    while (str_next(&lines, '\n', &line)) {
        if (line.len < 20 || !str_ieq(str_n(line.p, 20), STR("Content-Disposition:")))
            continue;
        while (str_next(&line, ';', &piece)) {
            piece = str_trim(piece);
            if (piece.len && piece.p[piece.len - 1] == '\r')
                piece.len--;
            if (piece.len < 7 || !str_ieq(str_n(piece.p, 6), STR("name=\"")) ||
                piece.p[piece.len - 1] != '"')
                continue;
            return str_eq(str_n(piece.p + 6, piece.len - 7), name);
        }
    }
    return false;
}

static size_t first_part(struct str body, struct str delim)
{
    struct str mark = str_n(delim.p + 2, delim.len - 2);
    size_t at;

    if (str_starts(body, mark))
        return 0;
    at = find(body, 0, delim); /* behind a preamble */
    return at < body.len ? at + 2 : body.len;
}

static unsigned multipart_field(struct exchange *x, struct str content_type, struct str body,
                                struct str name, struct str *first_out)
{
    struct str delim = delimiter(x, content_type);
    struct part part;
    unsigned n = 0;
    size_t at;

    if (!delim.p)
        return 0;
    at = first_part(body, delim);
    while (next_part(body, delim, &at, &part))
        if (part_is(&part, name) && n++ == 0)
            *first_out = part.content;
    return n;
}

static struct str multipart_without(struct exchange *x, struct str content_type, struct str body,
                                    struct str name)
{
    struct str delim = delimiter(x, content_type);
    char *out = plugin_alloc(x, body.len ? body.len : 1);
    struct part part;
    size_t at, n;

    if (!delim.p || !out)
        return body;
    at = first_part(body, delim);
    memcpy(out, body.p, at);
    n = at;
    while (next_part(body, delim, &at, &part)) {
        if (part_is(&part, name))
            continue;
        memcpy(out + n, part.whole.p, part.whole.len);
        n += part.whole.len;
    }
    memcpy(out + n, body.p + at, body.len - at);
    return str_n(out, n + body.len - at);
}

/* ---- either ---- */

unsigned body_field(struct exchange *x, struct str content_type, struct str body, struct str name,
                    struct str *first_out)
{
    *first_out = STR_NONE;
    if (!body.p || body.len == 0)
        return 0;
    switch (body_kind(content_type)) {
    case BODY_FORM: return plugin_form(x, body, name, first_out);
    case BODY_JSON: return json_field(x, body, name, first_out);
    case BODY_MULTIPART: return multipart_field(x, content_type, body, name, first_out);
    case BODY_OTHER: break;
    }
    return 0;
}

struct str body_field_remove(struct exchange *x, struct str content_type, struct str body,
                             struct str name)
{
    if (!body.p || body.len == 0)
        return body;
    switch (body_kind(content_type)) {
    case BODY_FORM: return plugin_form_without(x, body, name);
    case BODY_JSON: return json_without(x, body, name);
    case BODY_MULTIPART: return multipart_without(x, content_type, body, name);
    case BODY_OTHER: break;
    }
    return body;
}
