/* plugin_api.c - the accessors of plugin.h. */
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/plugin_chain.h"

void *plugin_prepared(struct exchange *x)
{
    return x->run.current->prepared;
}

const struct c_plugin *plugin_self(struct exchange *x)
{
    return x->run.current;
}

unsigned plugin_worker(struct exchange *x)
{
    return exchange_worker(x);
}

void *plugin_scratch(struct exchange *x, size_t size)
{
    const struct plugin_contract *contract = x->run.current->contract;
    struct chain_state *state = chain_state(x);
    struct scratch *s;

    if (!state)
        return NULL;
    for (s = state->scratches; s; s = s->next)
        if (s->contract == contract)
            return s->mem;
    s = arena_alloc(&x->arena, sizeof(*s));
    if (!s)
        return NULL;
    *s = (struct scratch){contract, arena_zalloc(&x->arena, size), state->scratches};
    if (!s->mem)
        return NULL;
    state->scratches = s;
    return s->mem;
}

/* ---- memory ---- */

void *plugin_alloc(struct exchange *x, size_t size)
{
    return arena_alloc(&x->arena, size);
}

struct str plugin_str(struct exchange *x, struct str s)
{
    return arena_str(&x->arena, s);
}

struct str plugin_printf(struct exchange *x, const char *fmt, ...)
{
    va_list args, again;
    struct str out = STR_NONE;
    char *p;
    int n;

    va_start(args, fmt);
    va_copy(again, args);
    n = vsnprintf(NULL, 0, fmt, args);
    p = n < 0 ? NULL : arena_alloc(&x->arena, (size_t)n + 1);
    if (p) {
        vsnprintf(p, (size_t)n + 1, fmt, again);
        out = str_n(p, (size_t)n);
    }
    va_end(again);
    va_end(args);
    return out;
}

/* ---- the request ---- */

struct str plugin_header(struct exchange *x, struct str name)
{
    const struct header *h = headers_find(&x->req.headers, name);
    return h ? h->value : STR_NONE;
}

unsigned plugin_headers(struct exchange *x, struct str name, struct str *first_out)
{
    return headers_all(&x->req.headers, name, first_out);
}

void plugin_header_set(struct exchange *x, struct str name, struct str value)
{
    chain_check_memory(x,
                       name.p && value.p && headers_set(&x->req.headers, &x->arena, name, value));
}

void plugin_header_add(struct exchange *x, struct str name, struct str value)
{
    chain_check_memory(x,
                       name.p && value.p && headers_add(&x->req.headers, &x->arena, name, value));
}

void plugin_header_remove(struct exchange *x, struct str name)
{
    headers_remove(&x->req.headers, name);
}

/* One name=value of a query, as sent. */
struct arg {
    struct str raw, name, value;
};

static bool next_arg(struct str *rest, struct arg *out)
{
    size_t eq;

    if (!rest->p || !str_next(rest, '&', &out->raw))
        return false;
    eq = str_find(out->raw, '=');
    out->name = str_n(out->raw.p, eq);
    out->value = eq < out->raw.len ? str_n(out->raw.p + eq + 1, out->raw.len - eq - 1) : STR("");
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes one byte of a form-encoded text at *i; a broken % stands for itself. */
static char decode_at(struct str s, size_t *i)
{
    char c = s.p[(*i)++];
    int hi, lo;

    if (c == '+')
        return ' ';
    if (c != '%' || s.len - *i < 2)
        return c;
    hi = hex_digit(s.p[*i]);
    lo = hex_digit(s.p[*i + 1]);
    if (hi < 0 || lo < 0)
        return c;
    *i += 2;
    return (char)(hi << 4 | lo);
}

static bool decoded_eq(struct str encoded, struct str name)
{
    size_t i = 0, n = 0;

    while (i < encoded.len) {
        char c = decode_at(encoded, &i);
        if (n == name.len || name.p[n++] != c)
            return false;
    }
    return n == name.len;
}

struct str plugin_decoded(struct exchange *x, struct str encoded)
{
    size_t i = 0, n = 0;
    char *out;

    if (str_find(encoded, '%') == encoded.len && str_find(encoded, '+') == encoded.len)
        return encoded;
    out = arena_alloc(&x->arena, encoded.len);
    if (!out) {
        chain_check_memory(x, false);
        return STR_NONE;
    }
    while (i < encoded.len)
        out[n++] = decode_at(encoded, &i);
    return str_n(out, n);
}

unsigned plugin_form(struct exchange *x, struct str form, struct str name, struct str *first_out)
{
    struct arg a;
    unsigned n = 0;

    *first_out = STR_NONE;
    while (next_arg(&form, &a))
        if (decoded_eq(a.name, name) && n++ == 0)
            *first_out = plugin_decoded(x, a.value);
    return n;
}

struct str plugin_form_without(struct exchange *x, struct str form, struct str name)
{
    char *out = arena_alloc(&x->arena, form.len ? form.len : 1);
    struct arg a;
    size_t n = 0;

    if (!chain_check_memory(x, out))
        return form;
    while (next_arg(&form, &a)) {
        if (decoded_eq(a.name, name))
            continue;
        if (n)
            out[n++] = '&';
        memcpy(out + n, a.raw.p, a.raw.len);
        n += a.raw.len;
    }
    return str_n(out, n);
}

unsigned plugin_query(struct exchange *x, struct str name, struct str *first_out)
{
    return plugin_form(x, x->req.query, name, first_out);
}

void plugin_query_remove(struct exchange *x, struct str name)
{
    struct str first;

    if (plugin_query(x, name, &first) == 0)
        return;
    x->req.query = plugin_form_without(x, x->req.query, name);
    if (x->req.query.len == 0)
        x->req.query = STR_NONE;
}

/* A forwarding field counts only when the peer may be believed. */
static struct str forwarded(struct exchange *x, enum header_id id)
{
    const struct header *h = x->peer_trusted ? headers_find_id(&x->req.headers, id) : NULL;
    return h && h->value.len ? h->value : STR_NONE;
}

const char *plugin_scheme(struct exchange *x)
{
    struct str proto = forwarded(x, HDR_X_FORWARDED_PROTO);

    if (proto.p)
        return str_ieq(proto, STR("https")) ? "https" : "http";
    return x->tls ? "https" : "http";
}

struct str plugin_forwarded_host(struct exchange *x)
{
    struct str host = forwarded(x, HDR_X_FORWARDED_HOST);
    return host.p ? host : x->req.host;
}

uint16_t plugin_forwarded_port(struct exchange *x)
{
    struct str text = forwarded(x, HDR_X_FORWARDED_PORT);
    uint64_t port;

    if (text.p && str_to_u64(text, &port) && port > 0 && port <= UINT16_MAX)
        return (uint16_t)port;
    return x->local_port;
}

enum verdict plugin_body(struct exchange *x, size_t max, struct str *body_out)
{
    return exchange_body(x, max, body_out);
}

void plugin_body_set(struct exchange *x, struct str body)
{
    exchange_body_set(x, body);
}

/* ---- the response ---- */

static void edit_later(struct exchange *x, enum resp_edit_op op, struct str name, struct str value)
{
    struct chain_state *state = chain_state(x);
    struct resp_edit *e = state ? arena_alloc(&x->arena, sizeof(*e)) : NULL;

    if (!chain_check_memory(x, e))
        return;
    *e = (struct resp_edit){op, name, value, NULL};
    *state->edits_end = e;
    state->edits_end = &e->next;
}

struct str plugin_resp_header(struct exchange *x, struct str name)
{
    struct str value = STR_NONE;
    const struct header *h;

    if (chain_has_response(x)) {
        h = headers_find(&x->resp.headers, name);
        return h ? h->value : STR_NONE;
    }
    for (const struct resp_edit *e = x->run.state ? x->run.state->edits : NULL; e; e = e->next) {
        if (!str_ieq(e->name, name))
            continue;
        if (e->op != EDIT_ADD || !value.p)
            value = e->op == EDIT_REMOVE ? STR_NONE : e->value;
    }
    return value;
}

void plugin_resp_header_set(struct exchange *x, struct str name, struct str value)
{
    if (!chain_check_memory(x, name.p && value.p))
        return;
    if (chain_has_response(x))
        chain_check_memory(x, headers_set(&x->resp.headers, &x->arena, name, value));
    else
        edit_later(x, EDIT_SET, name, value);
}

void plugin_resp_header_add(struct exchange *x, struct str name, struct str value)
{
    if (!chain_check_memory(x, name.p && value.p))
        return;
    if (chain_has_response(x))
        chain_check_memory(x, headers_add(&x->resp.headers, &x->arena, name, value));
    else
        edit_later(x, EDIT_ADD, name, value);
}

void plugin_resp_header_remove(struct exchange *x, struct str name)
{
    if (chain_has_response(x))
        headers_remove(&x->resp.headers, name);
    else
        edit_later(x, EDIT_REMOVE, name, STR_NONE);
}

/* ---- answering ---- */

enum verdict plugin_error(struct exchange *x, unsigned status, const char *message)
{
    exchange_error(x, status, message);
    return V_ANSWER;
}

enum verdict plugin_answer(struct exchange *x, unsigned status, const char *content_type,
                           struct str body)
{
    if (status == 204 || status == 304) /* RFC 9110 section 6.4.1: no content */
        exchange_answer(x, status, NULL, STR(""));
    else
        exchange_answer(x, status, content_type, body);
    return V_ANSWER;
}

enum verdict plugin_answer_json(struct exchange *x, unsigned status, const json_t *json)
{
    char *text = json_dumps(json, JSON_COMPACT);
    struct str body = text ? plugin_str(x, str_of(text)) : STR_NONE;

    if (text)
        chain_check_memory(x, body.p);
    free(text);
    if (!body.p)
        return plugin_error(x, 500, "An unexpected error occurred");
    return plugin_answer(x, status, "application/json; charset=utf-8", body);
}

enum verdict plugin_answer_message(struct exchange *x, unsigned status, struct str message)
{
    json_t *json = json_pack("{s:s%}", "message", message.p ? message.p : "", message.len);
    enum verdict v = exchange_is_grpc(x) && x->req.version == 20
                         ? plugin_answer(x, status, "text/plain", message) /* it becomes grpc-message */
                         : plugin_answer_json(x, status, json);

    json_decref(json);
    return v;
}

/* ---- who asks ---- */

/* What the client sent under such a name never goes on. */
static void set_or_remove(struct exchange *x, enum header_id id, struct str value)
{
    if (value.p && value.len)
        chain_check_memory(x, headers_set_id(&x->req.headers, &x->arena, id, value));
    else
        headers_remove_id(&x->req.headers, id);
}

void plugin_authenticated(struct exchange *x, const struct c_consumer *consumer,
                          const struct c_credential *credential, struct str credential_identifier)
{
    if (consumer != x->consumer)
        x->run.consumer_changed = true;
    x->consumer = consumer;
    x->credential = credential;
    x->authenticated = credential != NULL;

    set_or_remove(x, HDR_X_CONSUMER_ID, consumer ? str_n(consumer->id_text, UUID_TEXT_LEN) : STR_NONE);
    set_or_remove(x, HDR_X_CONSUMER_CUSTOM_ID, consumer ? consumer->def.custom_id : STR_NONE);
    set_or_remove(x, HDR_X_CONSUMER_USERNAME, consumer ? consumer->def.username : STR_NONE);
    set_or_remove(x, HDR_X_CREDENTIAL_IDENTIFIER, credential ? credential_identifier : STR_NONE);
    set_or_remove(x, HDR_X_ANONYMOUS_CONSUMER, credential ? STR_NONE : STR("true"));
}

bool plugin_anonymous(struct exchange *x, struct str consumer)
{
    const struct c_consumer *c = NULL;
    struct uuid id;

    if (uuid_parse(consumer, &id))
        c = config_consumer(x->config, &id);
    if (!c)
        c = config_consumer_by_name(x->config, consumer);
    if (!c)
        return false;
    plugin_authenticated(x, c, NULL, STR_NONE);
    return true;
}

/* ---- waiting ---- */

void plugin_resume(struct exchange *x)
{
    WEIR_ASSERT(x->run.current || x->run.waiting);
    WEIR_ASSERT(!x->run.resumed);
    x->run.resumed = true;
    if (x->run.waiting)
        exchange_resume(x);
}

struct plugin_timer *plugin_after(struct exchange *x, uint64_t us)
{
    return exchange_timer(x, us);
}

void plugin_timer_cancel(struct plugin_timer *t)
{
    exchange_timer_cancel(t);
}
