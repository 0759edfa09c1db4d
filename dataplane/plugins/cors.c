/*
 * cors.c - behaviour of the plugin cors: answers preflight requests and marks the responses
 * of simple ones. Source: Fetch standard, section 3.2; the choices are the reference's
 * (proxying.md section 11).
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "common/plugins/cors.h"

#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/plugin.h"

/* Bounds the work of a hostile regex on a hostile origin. */
#define MATCH_LIMIT 100000

struct origin {
    struct str literal; /* normalized; when regex is NULL */
    pcre2_code *regex;
    bool host_only; /* has no scheme: compared with the host alone */
};

struct prepared {
    bool any;         /* no origins, or "*" alone */
    struct str fixed; /* one literal origin: always sent */
    struct origin *origins;
    size_t n;
    pcre2_match_context *match_context;
    char *headers, *methods, *exposed; /* joined; NULL: none */
    char max_age[32];
};

/* ---- origins: scheme://host[:port] ---- */

static bool is_literal(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = ascii_lower(s.p[i]);

        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && !memchr(".:/-", c, 4))
            return false;
    }
    return s.len > 0;
}

/* Index behind "://", also when a regex escapes the slashes; 0: there is no scheme. */
static size_t scheme_end(struct str s)
{
    static const struct str marks[] = {STR("://"), STR(":\\/\\/")};

    for (size_t i = 0; i < s.len; i++)
        for (size_t m = 0; m < ARRAY_LEN(marks); m++)
            if (str_starts(str_n(s.p + i, s.len - i), marks[m]))
                return i + marks[m].len;
    return 0;
}

/* Without the scheme's own port: "http://a:80" is "http://a". */
static struct str normalized(struct str origin)
{
    if (str_starts(origin, STR("http://")) && str_ends(origin, STR(":80")))
        origin.len -= 3;
    else if (str_starts(origin, STR("https://")) && str_ends(origin, STR(":443")))
        origin.len -= 4;
    return origin;
}

static struct str host_of(struct str origin)
{
    size_t at = scheme_end(origin), end;

    origin.p += at;
    origin.len -= at;
    if (origin.len && origin.p[0] == '[') {
        end = str_find(origin, ']');
        return end < origin.len ? str_n(origin.p, end + 1) : origin;
    }
    return str_n(origin.p, str_find(origin, ':'));
}

static bool origin_matches(const struct prepared *p, const struct origin *o, struct str origin)
{
    struct str subject = o->host_only ? host_of(origin) : origin;
    pcre2_match_data *data;
    int rc;

    if (!o->regex)
        return str_eq(subject, o->literal);
    data = pcre2_match_data_create(1, NULL);
    WEIR_ASSERT(data);
    rc = pcre2_match(o->regex, (PCRE2_SPTR)subject.p, subject.len, 0, 0, data, p->match_context);
    pcre2_match_data_free(data);
    return rc >= 0;
}

/* ---- once per configuration ---- */

static void unprepare(void *prepared)
{
    struct prepared *p = prepared;

    for (size_t i = 0; i < p->n; i++)
        pcre2_code_free(p->origins[i].regex);
    pcre2_match_context_free(p->match_context);
    free(p->origins);
    free(p->headers);
    free(p->methods);
    free(p->exposed);
    free(p);
}

static char *joined(const struct list *l)
{
    struct sbuf b = {0};

    for (size_t i = 0; i < l->n; i++) {
        if (i)
            sbuf_addc(&b, ',');
        sbuf_addstr(&b, LIST_AT(*l, struct str, i));
    }
    return l->n ? sbuf_take(&b) : NULL;
}

static int prepare_origin(struct origin *o, struct str text, struct err *e)
{
    PCRE2_UCHAR why[128];
    PCRE2_SIZE at;
    int code;

    o->host_only = scheme_end(text) == 0;
    if (is_literal(text)) {
        o->literal = normalized(text);
        return 0;
    }
    o->regex = pcre2_compile((PCRE2_SPTR)text.p, text.len, PCRE2_ANCHORED | PCRE2_ENDANCHORED,
                             &code, &at, NULL);
    if (o->regex) {
        pcre2_jit_compile(o->regex, PCRE2_JIT_COMPLETE); /* without it, it is only slower */
        return 0;
    }
    pcre2_get_error_message(code, why, sizeof(why));
    return err_set(e, ERR_INVALID, "expected an origin or a regular expression: %s at offset %zu",
                   (const char *)why, (size_t)at);
}

static int prepare(const void *conf_, void **prepared_out, struct err *e)
{
    const struct cors_conf *conf = conf_;
    const struct str *origins = conf->origins.v;
    struct prepared *p = xcalloc(1, sizeof(*p));
    char step[32];

    p->any = conf->origins.n == 0 || (conf->origins.n == 1 && str_eq(origins[0], STR("*")));
    if (conf->origins.n == 1 && is_literal(origins[0]))
        p->fixed = origins[0];
    p->headers = joined(&conf->headers);
    p->methods = joined(&conf->methods);
    p->exposed = joined(&conf->exposed_headers);
    if (!isnan(conf->max_age))
        snprintf(p->max_age, sizeof(p->max_age), "%.14g", conf->max_age);
    p->match_context = pcre2_match_context_create(NULL);
    WEIR_ASSERT(p->match_context);
    pcre2_set_match_limit(p->match_context, MATCH_LIMIT);

    p->origins = xcalloc(conf->origins.n + 1, sizeof(*p->origins));
    for (size_t i = 0; !p->any && i < conf->origins.n; i++) {
        /* "*" among others lets everybody in, but by name */
        struct str text = str_eq(origins[i], STR("*")) ? STR(".*") : origins[i];

        p->n = i + 1;
        if (prepare_origin(&p->origins[i], text, e) != 0) {
            unprepare(p);
            snprintf(step, sizeof(step), "origins.%zu", i + 1);
            return err_in(e, step);
        }
    }
    *prepared_out = p;
    return 0;
}

/* ---- per request ---- */

#define ALLOW_ORIGIN STR("Access-Control-Allow-Origin")

static void allow_origin(struct exchange *x, const struct prepared *p)
{
    struct str origin = plugin_header(x, STR("Origin"));

    if (p->any) {
        plugin_resp_header_set(x, ALLOW_ORIGIN, STR("*"));
        return;
    }
    plugin_resp_header_add(x, STR("Vary"), STR("Origin"));
    if (p->fixed.p) {
        plugin_resp_header_set(x, ALLOW_ORIGIN, p->fixed);
        return;
    }
    origin = normalized(origin);
    for (size_t i = 0; origin.p && i < p->n; i++) {
        if (origin_matches(p, &p->origins[i], origin)) {
            plugin_resp_header_set(x, ALLOW_ORIGIN, origin);
            return;
        }
    }
    plugin_resp_header_remove(x, ALLOW_ORIGIN);
}

static void allow_credentials(struct exchange *x, const struct prepared *p)
{
    struct str origin = plugin_header(x, STR("Origin"));

    if (p->any) { /* "*" and credentials do not go together: name the origin */
        if (!origin.p)
            return;
        plugin_resp_header_add(x, STR("Vary"), STR("Origin"));
        plugin_resp_header_set(x, ALLOW_ORIGIN, origin);
    }
    plugin_resp_header_set(x, STR("Access-Control-Allow-Credentials"), STR("true"));
}

static enum verdict on_access(struct exchange *x, const void *conf_)
{
    const struct cors_conf *conf = conf_;
    const struct prepared *p = plugin_prepared(x);
    struct str asked;
    bool *done;

    if (x->req.method_id != M_OPTIONS || !plugin_header(x, STR("Origin")).p ||
        !plugin_header(x, STR("Access-Control-Request-Method")).p)
        return V_NEXT;
    done = plugin_scratch(x, sizeof(*done)); /* the header filter has nothing left to do */
    if (!done)
        return plugin_error(x, 500, "An unexpected error occurred");
    *done = true;
    if (conf->preflight_continue)
        return V_NEXT;

    allow_origin(x, p);
    if (conf->credentials)
        allow_credentials(x, p);
    asked =
        p->headers ? str_of(p->headers) : plugin_header(x, STR("Access-Control-Request-Headers"));
    if (asked.p)
        plugin_resp_header_set(x, STR("Access-Control-Allow-Headers"), asked);
    if (p->methods)
        plugin_resp_header_set(x, STR("Access-Control-Allow-Methods"), str_of(p->methods));
    if (p->max_age[0])
        plugin_resp_header_set(x, STR("Access-Control-Max-Age"), str_of(p->max_age));
    if (conf->private_network &&
        str_eq(plugin_header(x, STR("Access-Control-Request-Private-Network")), STR("true")))
        plugin_resp_header_set(x, STR("Access-Control-Allow-Private-Network"), STR("true"));
    return plugin_answer(x, 200, NULL, STR(""));
}

static void on_header_filter(struct exchange *x, const void *conf_)
{
    const struct cors_conf *conf = conf_;
    const struct prepared *p = plugin_prepared(x);
    const bool *done = plugin_scratch(x, sizeof(*done));

    if (!done || *done)
        return;
    allow_origin(x, p);
    if (conf->credentials)
        allow_credentials(x, p);
    if (p->exposed)
        plugin_resp_header_set(x, STR("Access-Control-Expose-Headers"), str_of(p->exposed));
}

const struct plugin_ops plugin_cors = {
    .contract = &contract_cors,
    .prepare = prepare,
    .unprepare = unprepare,
    .on_access = on_access,
    .on_header_filter = on_header_filter,
};
