/*
 * key_auth.c - behaviour of the plugin key-auth: who shows a known key is its consumer.
 *
 * A key is found by hash, then compared in constant time (config_key). Source of the
 * answers: proxying.md sections 8 and 9.
 */
#include "common/plugins/key_auth.h"

#include <stdlib.h>

#include "common/clock.h"
#include "dataplane/plugin.h"
#include "dataplane/plugins/body_field.h"

/* A key in a larger body is not looked for: the request is refused with 413. */
#define BODY_MAX (1u << 20)

/* "Key" or "Key realm=..." per row. */
static int prepare(const void *conf_, void **prepared_out, struct err *e)
{
    const struct key_auth_conf *conf = conf_;
    struct sbuf b = {0};

    (void)e;
    sbuf_adds(&b, "Key");
    if (conf->realm.p && conf->realm.len)
        sbuf_addf(&b, " realm=\"" STR_FMT "\"", STR_ARG(conf->realm));
    *prepared_out = sbuf_take(&b);
    return 0;
}

static void unprepare(void *prepared)
{
    free(prepared);
}

struct found {
    struct str key; /* p NULL: nowhere */
    bool repeated;
};

/* Removes the key from where the upstream would see it. */
static void hide(struct exchange *x, const struct key_auth_conf *conf, struct str name,
                 struct str body)
{
    if (conf->key_in_header)
        plugin_header_remove(x, name);
    if (conf->key_in_query)
        plugin_query_remove(x, name);
    if (body.p)
        plugin_body_set(x, body_field_remove(x, plugin_header(x, STR("Content-Type")), body, name));
}

/* The first name that has a key, looked for in the header, then the query, then the body. */
static enum verdict find_key(struct exchange *x, const struct key_auth_conf *conf,
                             struct found *out)
{
    struct str content_type = conf->key_in_body ? plugin_header(x, STR("Content-Type")) : STR_NONE;
    bool in_body = content_type.p && body_kind(content_type) != BODY_OTHER;
    struct str body = STR_NONE;

    for (size_t i = 0; i < conf->key_names.n; i++) {
        struct str name = LIST_AT(conf->key_names, struct str, i);
        unsigned n = 0;

        if (conf->key_in_header)
            n = plugin_headers(x, name, &out->key);
        if (n == 0 && conf->key_in_query)
            n = plugin_query(x, name, &out->key);
        if (n == 0 && in_body) {
            enum verdict v = body.p ? V_NEXT : plugin_body(x, BODY_MAX, &body);

            if (v != V_NEXT)
                return v;
            n = body_field(x, content_type, body, name, &out->key);
        }
        if (n == 0)
            continue;
        out->repeated = n > 1;
        if (conf->hide_credentials && !out->repeated)
            hide(x, conf, name, body);
        return V_NEXT;
    }
    return V_NEXT;
}

static enum verdict refuse(struct exchange *x, const struct key_auth_conf *conf,
                           const char *message)
{
    if (conf->anonymous.p) {
        if (plugin_anonymous(x, conf->anonymous))
            return V_NEXT;
        return plugin_error(x, 500, "An unexpected error occurred");
    }
    plugin_resp_header_set(x, STR("WWW-Authenticate"), str_of(plugin_prepared(x)));
    return plugin_error(x, 401, message);
}

static enum verdict on_access(struct exchange *x, const void *conf_)
{
    const struct key_auth_conf *conf = conf_;
    const struct c_credential *credential;
    const struct c_consumer *consumer;
    struct found found = {STR_NONE, false};
    enum verdict v;

    if (!conf->run_on_preflight && x->req.method_id == M_OPTIONS)
        return V_NEXT;
    if (conf->anonymous.p && x->credential) /* one of several ways in, and another was taken */
        return V_NEXT;
    v = find_key(x, conf, &found);
    if (v != V_NEXT)
        return v;
    if (found.repeated)
        return refuse(x, conf, "Duplicate API key found");
    if (found.key.len == 0)
        return refuse(x, conf, "No API key found in request");
    credential = config_key(x->config, found.key, clock_wall_us());
    consumer = credential ? config_consumer(x->config, &credential->def.consumer) : NULL;
    if (!consumer)
        return refuse(x, conf, "Unauthorized");
    plugin_authenticated(x, consumer, credential, str_n(credential->id_text, UUID_TEXT_LEN));
    return V_NEXT;
}

/* Nothing is kept while waiting for the body: the search starts again with it. */
static void on_abort(struct exchange *x, const void *conf)
{
    (void)x;
    (void)conf;
}

const struct plugin_ops plugin_key_auth = {
    .contract = &contract_key_auth,
    .prepare = prepare,
    .unprepare = unprepare,
    .on_access = on_access,
    .on_abort = on_abort,
};
