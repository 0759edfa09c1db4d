#include "admin-api/body.h"

#include "common/checks.h"
#include "common/uri.h"

/* ---- text ---- */

static struct str decoded(struct arena *a, struct str text, bool plus)
{
    return percent_decode(text, plus, arena_alloc(a, text.len + 1));
}

void percent_encode(struct sbuf *out, struct str text)
{
    static const char digits[] = "0123456789ABCDEF";

    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.p[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     c == '-' || c == '.' || c == '_' || c == '~';

        if (plain) {
            sbuf_addc(out, (char)c);
        } else {
            sbuf_addc(out, '%');
            sbuf_addc(out, digits[c >> 4]);
            sbuf_addc(out, digits[c & 15]);
        }
    }
}

bool text_ok(struct str text)
{
    return str_find(text, '\0') == text.len && utf8_invalid_at(text) == text.len;
}

size_t args_decode(struct arena *a, struct str text, size_t max, struct form_arg **out)
{
    size_t n = 0, at = 0;
    struct str rest = text, pair;

    for (size_t i = 0; i < text.len; i++)
        n += text.p[i] == '&';
    if (n > max)
        return (size_t)-1;
    *out = arena_alloc(a, (n + 1) * sizeof(**out));
    while (str_next(&rest, '&', &pair)) {
        size_t eq = str_find(pair, '=');
        struct str value = eq < pair.len ? str_n(pair.p + eq + 1, pair.len - eq - 1) : STR("");

        if (eq == 0)
            continue;
        if (at == max)
            return (size_t)-1;
        (*out)[at].name = decoded(a, str_n(pair.p, eq), true);
        (*out)[at].value = decoded(a, value, true);
        at++;
    }
    return at;
}

/* ---- multipart (RFC 7578 over RFC 2046 section 5.1) ---- */

struct str header_param(struct str value, const char *name)
{
    struct str want = str_of(name), rest = value;
    size_t i = str_find(rest, ';');

    while (i < rest.len) {
        struct str key, val;
        size_t eq;

        rest = str_n(rest.p + i + 1, rest.len - i - 1);
        eq = str_find(rest, '=');
        if (eq == rest.len)
            return STR_NONE;
        key = str_trim(str_n(rest.p, eq));
        rest = str_trim(str_n(rest.p + eq + 1, rest.len - eq - 1));
        if (rest.len && rest.p[0] == '"') {
            rest = str_n(rest.p + 1, rest.len - 1);
            val = str_n(rest.p, str_find(rest, '"'));
            if (val.len == rest.len)
                return STR_NONE;
            rest = str_n(rest.p + val.len + 1, rest.len - val.len - 1);
            i = str_find(rest, ';');
        } else {
            i = str_find(rest, ';');
            val = str_trim(str_n(rest.p, i));
        }
        if (str_ieq(key, want))
            return val;
    }
    return STR_NONE;
}

/* Cuts what is before the next needle off *rest; the needle goes too. False: not there. */
static bool cut_at(struct str *rest, struct str needle, struct str *before_out)
{
    const char *at = rest->len ? memmem(rest->p, rest->len, needle.p, needle.len) : NULL;

    if (!at)
        return false;
    *before_out = str_n(rest->p, (size_t)(at - rest->p));
    *rest = str_n(at + needle.len, rest->len - before_out->len - needle.len);
    return true;
}

/* The name of a part with these header lines; p == NULL: it has none. */
static struct str part_name(struct str head)
{
    struct str line, rest = head;

    while (str_next(&rest, '\n', &line)) {
        size_t colon = str_find(line, ':');

        if (colon < line.len &&
            str_ieq(str_trim(str_n(line.p, colon)), STR("content-disposition"))) {
            if (str_ends(line, STR("\r")))
                line.len--;
            return header_param(str_n(line.p + colon + 1, line.len - colon - 1), "name");
        }
    }
    return STR_NONE;
}

size_t multipart_decode(struct arena *a, struct str boundary, struct str text, size_t max,
                        struct form_arg **out)
{
    struct str delimiter = arena_printf(a, "\r\n--" STR_FMT, STR_ARG(boundary));
    struct str opening = str_n(delimiter.p + 2, delimiter.len - 2), rest = text, skipped;
    size_t n = 0;

    *out = arena_alloc(a, max * sizeof(**out));
    if (str_starts(rest, opening))
        rest = str_n(rest.p + opening.len, rest.len - opening.len);
    else if (!cut_at(&rest, delimiter, &skipped))
        return (size_t)-1;
    while (!str_starts(rest, STR("--"))) {
        struct str head, value, name, ignored;
        size_t i;

        if (!cut_at(&rest, STR("\r\n"), &ignored) || !cut_at(&rest, STR("\r\n\r\n"), &head) ||
            !cut_at(&rest, delimiter, &value))
            return (size_t)-1;
        name = part_name(head);
        if (!name.len)
            continue;
        for (i = 0; i < n && !str_eq((*out)[i].name, name); i++)
            ;
        if (i == max)
            return (size_t)-1;
        (*out)[i] = (struct form_arg){name, value};
        n += i == n;
    }
    return n;
}

/* ---- the body of a call ---- */

static bool read_json(struct call *c)
{
    json_t *doc = json_loadb(c->raw_body.p ? c->raw_body.p : "", c->raw_body.len, 0, NULL);

    /* the reference does not tell an empty array from an empty object */
    if (json_is_array(doc) && json_array_size(doc) == 0) {
        json_decref(doc);
        doc = json_object();
    }
    if (!json_is_object(doc)) {
        json_decref(doc);
        reply_message(c, 400, "Cannot parse JSON body");
        return false;
    }
    c->body.kind = BODY_JSON;
    c->body.json = doc;
    return true;
}

static bool take_args(struct call *c, size_t n)
{
    if (n == (size_t)-1) {
        reply_message(c, 400, "Too many arguments");
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (!text_ok(c->body.args[i].name) || !text_ok(c->body.args[i].value)) {
            reply_message(c, 400, "Cannot parse form body: expected UTF-8 text without NUL");
            return false;
        }
    }
    c->body.kind = BODY_ARGS;
    c->body.n_args = n;
    return true;
}

static bool read_multipart(struct call *c)
{
    struct str boundary = header_param(c->content_type, "boundary");
    size_t n = (size_t)-1;

    /* RFC 2046 section 5.1.1 allows 70 */
    if (boundary.len > 0 && boundary.len <= 70)
        n = multipart_decode(&c->arena, boundary, sbuf_str(&c->raw_body), BODY_ARGS_MAX,
                             &c->body.args);
    if (n == (size_t)-1) {
        reply_message(c, 400, "Cannot parse multipart body");
        return false;
    }
    return take_args(c, n);
}

bool body_read(struct call *c)
{
    struct str type = c->content_type.p ? c->content_type : STR("");
    struct str essence = str_trim(str_n(type.p, str_find(type, ';')));

    if (!essence.len)
        return true;
    if (str_ieq(essence, STR("application/json")))
        return read_json(c);
    if (str_ieq(essence, STR("application/x-www-form-urlencoded")))
        return take_args(
            c, args_decode(&c->arena, sbuf_str(&c->raw_body), BODY_ARGS_MAX, &c->body.args));
    if (str_ieq(essence, STR("multipart/form-data")))
        return read_multipart(c);
    if (!c->raw_body.len)
        return true;
    reply_page(c, 415, "415 Unsupported Media Type");
    return false;
}

void body_free(struct body *b)
{
    json_decref(b->json);
    *b = (struct body){0};
}

json_t *body_document(struct call *c, const struct entity *ent, const json_t *stored)
{
    json_t *doc;
    struct err e = {0};

    switch (c->body.kind) {
    case BODY_NONE: return json_object();
    case BODY_JSON: return json_deep_copy(c->body.json);
    case BODY_ARGS:
        doc = form_decode(ent, c->body.args, c->body.n_args, stored, &e);
        if (!doc)
            reply_message(c, 400, "%s", err_text(&e));
        return doc;
    }
    WEIR_UNREACHABLE("body kind");
}
