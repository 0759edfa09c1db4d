/*
 * request_termination.c - behaviour of the plugin request-termination: answers instead of
 * the upstream, always or when a header or query argument (the trigger) is there.
 */
#include "common/plugins/request_termination.h"

#include <stdlib.h>
#include <unistd.h>

#include "common/entities.h"
#include "dataplane/plugin.h"
#include "dataplane/plugins/body_field.h"

#define ECHO_BODY_MAX (1u << 20)

/*
 * What is said when neither message nor body is configured. message: as JSON. page: the
 * statuses for which the reference shows its web server's own page. Others are empty.
 */
static const struct {
    unsigned status;
    const char *message, *page;
} defaults[] = {
    {301, .page = "Moved Permanently"},
    {302, .page = "Found"},
    {303, .page = "See Other"},
    {307, .page = "Temporary Redirect"},
    {308, .page = "Permanent Redirect"},
    {400, .page = "Bad Request"},
    {401, .message = "Unauthorized"},
    {402, .page = "Payment Required"},
    {403, .page = "Forbidden"},
    {404, .message = "Not found"},
    {405, .message = "Method not allowed"},
    {406, .page = "Not Acceptable"},
    {408, .page = "Request Timeout"},
    {409, .page = "Conflict"},
    {410, .page = "Gone"},
    {411, .page = "Length Required"},
    {412, .page = "Precondition Failed"},
    {413, .page = "Payload Too Large"},
    {414, .page = "URI Too Long"},
    {415, .page = "Unsupported Media Type"},
    {416, .page = "Range Not Satisfiable"},
    {421, .page = "Misdirected Request"},
    {429, .page = "Too Many Requests"},
    {500, .message = "An unexpected error occurred"},
    {501, .page = "Not Implemented"},
    {502, .message = "Bad Gateway"},
    {503, .message = "Service unavailable"},
    {504, .page = "Gateway Timeout"},
    {505, .page = "HTTP Version Not Supported"},
    {507, .page = "Insufficient Storage"},
};

static struct str default_message(unsigned status)
{
    for (size_t i = 0; i < ARRAY_LEN(defaults); i++)
        if (defaults[i].status == status)
            return str_of(defaults[i].message);
    return STR_NONE;
}

static enum verdict answer_default(struct exchange *x, unsigned status)
{
    for (size_t i = 0; i < ARRAY_LEN(defaults); i++) {
        const char *text = defaults[i].page;

        if (defaults[i].status != status || !text)
            continue;
        return plugin_answer(
            x, status, "text/html; charset=UTF-8",
            plugin_printf(x,
                          "<!doctype html>\n<html>\n  <head><title>%u %s</title></head>\n"
                          "  <body><h1>%u %s</h1></body>\n</html>\n",
                          status, text, status, text));
    }
    return plugin_answer(x, status, NULL, STR(""));
}

/* Types that get a charset when they name none, as nginx does. */
static const char *content_type(struct exchange *x, struct str type)
{
    static const struct str with_charset[] = {STR("text/html"),
                                              STR("text/xml"),
                                              STR("text/plain"),
                                              STR("text/vnd.wap.wml"),
                                              STR("application/javascript"),
                                              STR("application/rss+xml")};

    if (!type.p || type.len == 0)
        return NULL;
    for (size_t i = 0; i < ARRAY_LEN(with_charset); i++)
        if (str_ieq(type, with_charset[i]))
            return plugin_printf(x, STR_FMT "; charset=UTF-8", STR_ARG(type)).p;
    return plugin_printf(x, STR_FMT, STR_ARG(type)).p;
}

/* ---- echo: what the gateway saw ---- */

static json_t *text(struct str s)
{
    json_t *out = json_stringn(s.p ? s.p : "", s.len);
    return out ? out : json_string(""); /* not UTF-8 */
}

/* Adds a value under a name; a second one makes it an array. */
static void add_value(json_t *to, struct str name, struct str value)
{
    json_t *have = json_object_getn(to, name.p, name.len), *list;

    if (!have) {
        json_object_setn_new(to, name.p, name.len, text(value));
    } else if (json_is_array(have)) {
        json_array_append_new(have, text(value));
    } else {
        list = json_pack("[O,o]", have, text(value));
        json_object_setn_new(to, name.p, name.len, list);
    }
}

static json_t *echo_headers(struct exchange *x)
{
    json_t *out = json_object();

    HEADERS_EACH(h, &x->req.headers)
    {
        char *lower = plugin_alloc(x, h->name.len + 1);

        if (!lower)
            break;
        for (size_t i = 0; i < h->name.len; i++)
            lower[i] = ascii_lower(h->name.p[i]);
        add_value(out, str_n(lower, h->name.len), h->value);
    }
    return out;
}

static json_t *echo_form(struct exchange *x, struct str form)
{
    json_t *out = json_object();
    struct str rest = form, piece;

    while (rest.p && str_next(&rest, '&', &piece)) {
        size_t eq = str_find(piece, '=');
        struct str name = plugin_decoded(x, str_n(piece.p, eq));

        if (name.len)
            add_value(out, name,
                      eq < piece.len
                          ? plugin_decoded(x, str_n(piece.p + eq + 1, piece.len - eq - 1))
                          : STR(""));
    }
    return out;
}

static json_t *echo_captures(const struct route_match *m)
{
    json_t *unnamed = json_array(), *named = json_object();

    for (uint32_t i = 1; i < m->n_captures; i++) {
        struct str name = m->capture_names ? m->capture_names[i] : STR_NONE;

        if (name.len)
            json_object_setn_new(named, name.p, name.len, text(m->captures[i]));
        else
            json_array_append_new(unnamed, text(m->captures[i]));
    }
    return json_pack("{s:o,s:o}", "unnamed", unnamed, "named", named);
}

static json_t *echo_request(struct exchange *x, struct str body)
{
    json_t *out = json_pack(
        "{s:s,s:o,s:I,s:o,s:o,s:o,s:o,s:o,s:o}", "scheme", x->tls ? "https" : "http", "host",
        text(x->req.host), "port", (json_int_t)x->local_port, "method", text(x->req.method), "path",
        text(x->req.raw_path), "headers", echo_headers(x), "query", echo_form(x, x->req.query),
        "raw_body", text(body), "uri_captures", echo_captures(&x->match));
    json_t *parsed = NULL;

    switch (body_kind(plugin_header(x, STR("Content-Type")))) {
    case BODY_JSON:
        parsed = json_loadb(body.p ? body.p : "", body.len, JSON_DECODE_ANY, NULL);
        break;
    case BODY_FORM: parsed = echo_form(x, body); break;
    case BODY_MULTIPART:
    case BODY_OTHER: break;
    }
    if (parsed)
        json_object_set_new(out, "body", parsed);
    return out;
}

/* As the reference shows an entity: without nulls, with its workspace. */
static void echo_entity(json_t *to, const char *name, const struct entity *ent,
                        const struct uuid *id, const void *decoded)
{
    json_t *doc = entity_to_json(ent, id, decoded), *value;
    const char *key;
    void *next;

    json_object_foreach_safe(doc, next, key, value)
    {
        if (json_is_null(value) || (json_is_array(value) && json_array_size(value) == 0))
            json_object_del(doc, key);
    }
    json_object_set_new(doc, "ws_id", json_string("00000000-0000-0000-0000-000000000000"));
    json_object_set_new(to, name, doc);
}

static enum verdict answer_echo(struct exchange *x, unsigned status, struct str message)
{
    struct str body = STR_NONE;
    char host[256] = "";
    enum verdict v = plugin_body(x, ECHO_BODY_MAX, &body);
    json_t *out;

    if (v != V_NEXT)
        return v;
    gethostname(host, sizeof(host) - 1);
    out = json_pack("{s:{s:o,s:s,s:I},s:o}", "kong", "node_id", text(plugin_node_id()), "hostname",
                    host, "worker_pid", (json_int_t)getpid(), "request", echo_request(x, body));
    if (message.p)
        json_object_set_new(out, "message", text(message));
    if (x->match.route)
        echo_entity(out, "matched_route", &entity_routes, &x->match.route->def.id,
                    &x->match.route->def);
    if (x->match.service)
        echo_entity(out, "matched_service", &entity_services, &x->match.service->def.id,
                    &x->match.service->def);
    v = plugin_answer_json(x, status, out);
    json_decref(out);
    return v;
}

static bool triggered(struct exchange *x, struct str trigger)
{
    struct str value;

    return !trigger.p || plugin_header(x, trigger).p || plugin_query(x, trigger, &value) > 0;
}

static enum verdict on_access(struct exchange *x, const void *conf_)
{
    const struct request_termination_conf *conf = conf_;
    /* The schema allows 1xx, which cannot end an exchange (RFC 9110 section 15.2). */
    unsigned status = conf->status_code < 200 ? 503 : (unsigned)conf->status_code;
    struct str message;

    if (!triggered(x, conf->trigger))
        return V_NEXT;
    message = conf->message.p ? conf->message : default_message(status);
    if (conf->echo)
        return answer_echo(x, status, message);
    if (conf->body.p)
        return plugin_answer(x, status, content_type(x, conf->content_type), conf->body);
    if (message.p)
        return plugin_answer_message(x, status, message);
    return answer_default(x, status);
}

/* Waits only for the body, of which it keeps nothing. */
static void on_abort(struct exchange *x, const void *conf)
{
    (void)x;
    (void)conf;
}

const struct plugin_ops plugin_request_termination = {
    .contract = &contract_request_termination,
    .on_access = on_access,
    .on_abort = on_abort,
};
