/*
 * loopback.h - runs plugins on an exchange without sockets: a head goes in, what the upstream
 * would get and what the client would get come out. For one test program each.
 *
 *     struct loop *l = loop_new();
 *     loop_plugin(l, "cors", "{}", 0, NULL);
 *     loop_request(l, "GET", "/?a=b", HEADERS({"Origin", "http://a.test"}), NULL);
 *     loop_run(l, HEADERS({"Vary", "Accept"}));
 *     assert_resp(l, "Vary", "Accept");
 *     loop_free(&l);
 *
 * Configurations go through the schema, the wire format and the decoder, so plugins see
 * what they see in the program. The engine's and the configuration's functions are replaced
 * by the simplest thing that keeps their promises.
 */
#ifndef TESTS_UNIT_DATAPLANE_LOOPBACK_H
#define TESTS_UNIT_DATAPLANE_LOOPBACK_H

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "common/checks.h"
#include "common/clock.h"
#include "dataplane/plugins/registry.h"

#pragma GCC diagnostic ignored "-Wunused-function" /* a program uses what it needs */

#define LOOP_MAX 32

struct config {
    struct arena arena;
    struct chain global, route;
    const struct c_plugin *global_rows[LOOP_MAX], *route_rows[LOOP_MAX];
    struct c_plugin *plugins[LOOP_MAX];
    struct c_consumer *consumers[LOOP_MAX];
    struct c_credential *credentials[LOOP_MAX];
    size_t n_plugins, n_consumers, n_credentials;
};

struct loop {
    struct config config;
    struct c_route route;
    struct c_service service;
    struct exchange x;
    struct str body;     /* of the request; p NULL: none */
    bool body_later;     /* comes after a wait */
    const char *message; /* of exchange_error */
    const char *content_type;
    unsigned resumes;
    enum verdict verdict;
};

struct loop_field {
    const char *name, *value;
};
#define HEADERS(...) ((const struct loop_field[]){__VA_ARGS__, {NULL, NULL}})
#define NO_HEADERS   ((const struct loop_field[]){{NULL, NULL}})

static struct loop *loop_of(struct exchange *x)
{
    return CONTAINER_OF(x, struct loop, x);
}

/* ---- the engine's side ---- */

void exchange_answer(struct exchange *x, unsigned status, const char *content_type, struct str body)
{
    x->answered = true;
    x->answer = body;
    x->resp = (struct resp_head){.status = (uint16_t)status, .content_length = (int64_t)body.len};
    loop_of(x)->content_type = content_type;
}

void exchange_error(struct exchange *x, unsigned status, const char *message)
{
    exchange_answer(x, status, "application/json; charset=utf-8", str_of(message ? message : ""));
    loop_of(x)->message = message;
}

bool exchange_is_grpc(const struct exchange *x)
{
    (void)x;
    return false;
}

void exchange_resume(struct exchange *x)
{
    loop_of(x)->resumes++;
}

enum verdict exchange_body(struct exchange *x, size_t max, struct str *body_out)
{
    struct loop *l = loop_of(x);

    if (l->body_later)
        return V_WAIT;
    if (l->body.len > max) {
        exchange_error(x, 413, "Payload too large");
        return V_ANSWER;
    }
    *body_out = l->body.p ? l->body : STR("");
    return V_NEXT;
}

void exchange_body_set(struct exchange *x, struct str body)
{
    loop_of(x)->body = body;
}

unsigned exchange_worker(const struct exchange *x)
{
    (void)x;
    return 0;
}

struct plugin_timer *exchange_timer(struct exchange *x, uint64_t us)
{
    (void)x;
    (void)us;
    return NULL;
}

void exchange_timer_cancel(struct plugin_timer *t)
{
    (void)t;
}

/* ---- the configuration's side ---- */

const struct chain *config_global_chain(const struct config *c)
{
    return &c->global;
}

const struct chain *config_chain(const struct config *c, const struct c_route *r,
                                 const struct c_service *s)
{
    (void)r;
    (void)s;
    return &c->route;
}

const struct c_consumer *config_consumer(const struct config *c, const struct uuid *id)
{
    for (size_t i = 0; i < c->n_consumers; i++)
        if (uuid_eq(&c->consumers[i]->def.id, id))
            return c->consumers[i];
    return NULL;
}

const struct c_consumer *config_consumer_by_name(const struct config *c, struct str username)
{
    for (size_t i = 0; i < c->n_consumers; i++)
        if (str_eq(c->consumers[i]->def.username, username))
            return c->consumers[i];
    return NULL;
}

const struct c_credential *config_key(const struct config *c, struct str key, uint64_t wall_us)
{
    (void)wall_us;
    for (size_t i = 0; i < c->n_credentials; i++)
        if (str_eq(c->credentials[i]->def.key, key))
            return c->credentials[i];
    return NULL;
}

/* ---- building ---- */

static struct uuid loop_uuid(unsigned n)
{
    struct uuid id = {{[0] = 0xaa, [14] = (unsigned char)(n >> 8), [15] = (unsigned char)n}};
    return id;
}

static struct loop *loop_new(void)
{
    struct loop *l = xcalloc(1, sizeof(*l));

    arena_init(&l->config.arena, 0, 0);
    arena_init(&l->x.arena, 0, 0);
    l->route.def.id = loop_uuid(0x101);
    l->route.def.name = STR("route");
    l->service.def.id = loop_uuid(0x102);
    l->service.def.name = STR("service");
    l->service.def.host = STR("upstream.test");
    l->config.global.v = l->config.global_rows;
    l->config.route.v = l->config.route_rows;
    return l;
}

static void loop_free(struct loop **l)
{
    for (size_t i = 0; i < (*l)->config.n_plugins; i++) {
        struct c_plugin *p = (*l)->config.plugins[i];
        if (p->prepared)
            p->ops->unprepare(p->prepared);
    }
    arena_fini(&(*l)->x.arena);
    arena_fini(&(*l)->config.arena);
    free(*l);
    *l = NULL;
}

/* Position in plugin_list: smaller runs first. */
static uint32_t loop_order(const struct plugin_ops *ops)
{
    uint32_t i = 0;

    while (plugin_list[i] && plugin_list[i] != ops)
        i++;
    return i;
}

static void loop_add_row(struct chain *c, const struct c_plugin **rows, const struct c_plugin *p)
{
    uint32_t i = c->n++;

    for (; i > 0 && rows[i - 1]->order > p->order; i--)
        rows[i] = rows[i - 1];
    rows[i] = p;
    c->phases |= p->contract->phases;
}

enum { ON_GLOBAL = 0, ON_ROUTE = 1, ON_SERVICE = 2 };

/* Decodes a configuration the way the data plane does; fails the test when it is refused. */
static const void *loop_conf(struct config *c, const char *name, const char *config_json)
{
    const struct plugin_contract *contract = plugin_contract_by_name(str_of(name));
    json_t *in, *doc = NULL;
    struct violations v = {0};
    struct sbuf body = {0};
    struct plugin *def = arena_zalloc(&c->arena, sizeof(*def));
    void *conf;
    struct err e = {0};

    assert_non_null(contract);
    in = json_pack("{s:s,s:o}", "name", name, "config", json_loads(config_json, 0, NULL));
    assert_non_null(in);
    if (schema_insert(&entity_plugins, in, &doc, &v) != 0)
        fail_msg("%s: %s", name, violations_message(&v));
    if (record_encode(&entity_plugins, doc, &body, &e) != 0 ||
        record_decode(&entity_plugins, arena_str(&c->arena, sbuf_str(&body)), &c->arena, def, &e) !=
            0)
        fail_msg("%s: %s", name, err_text(&e));
    conf = arena_zalloc(&c->arena, contract->conf_size);
    if (fields_decode(contract->fields, def->config, &c->arena, conf, &e) != 0)
        fail_msg("%s: %s", name, err_text(&e));
    json_decref(in);
    json_decref(doc);
    sbuf_free(&body);
    violations_free(&v);
    return conf;
}

/* A row of any behaviour. Global rows, and those of the route, join the route's chain. */
static struct c_plugin *loop_row(struct loop *l, const struct plugin_ops *ops, const void *conf,
                                 uint32_t order, unsigned bound, struct c_consumer *consumer)
{
    struct config *c = &l->config;
    struct c_plugin *p = arena_zalloc(&c->arena, sizeof(*p));

    p->def.id = loop_uuid(0x200 + (unsigned)c->n_plugins);
    p->def.route = bound & ON_ROUTE ? l->route.def.id : (struct uuid){{0}};
    p->def.service = bound & ON_SERVICE ? l->service.def.id : (struct uuid){{0}};
    p->ops = ops;
    p->contract = ops->contract;
    p->protocols = PROTOCOLS_HTTP;
    p->conf = conf;
    p->order = order;
    c->plugins[c->n_plugins++] = p;
    if (consumer) {
        struct c_plugin **list = arena_alloc(&c->arena, (consumer->n_plugins + 1) * sizeof(*list));

        if (consumer->n_plugins)
            memcpy(list, consumer->plugins, consumer->n_plugins * sizeof(*list));
        list[consumer->n_plugins++] = p;
        consumer->plugins = list;
        p->def.consumer = consumer->def.id;
        return p;
    }
    if (bound == ON_GLOBAL)
        loop_add_row(&c->global, c->global_rows, p);
    loop_add_row(&c->route, c->route_rows, p);
    return p;
}

static struct c_plugin *loop_plugin(struct loop *l, const char *name, const char *config_json,
                                    unsigned bound, struct c_consumer *consumer)
{
    const struct plugin_ops *ops = plugin_ops_by_name(str_of(name));
    struct c_plugin *p;
    struct err e = {0};

    assert_non_null(ops);
    p = loop_row(l, ops, loop_conf(&l->config, name, config_json), loop_order(ops), bound,
                 consumer);
    if (ops->prepare && ops->prepare(p->conf, &p->prepared, &e) != 0)
        fail_msg("%s: %s", name, err_text(&e));
    return p;
}

static struct c_consumer *loop_consumer(struct loop *l, const char *username, const char *custom_id)
{
    struct config *c = &l->config;
    struct c_consumer *out = arena_zalloc(&c->arena, sizeof(*out));

    out->def.id = loop_uuid(0x300 + (unsigned)c->n_consumers);
    uuid_format(&out->def.id, out->id_text);
    out->def.username = str_of(username);
    out->def.custom_id = str_of(custom_id);
    c->consumers[c->n_consumers++] = out;
    return out;
}

static struct c_credential *loop_key(struct loop *l, const struct c_consumer *consumer,
                                     const char *key)
{
    struct config *c = &l->config;
    struct c_credential *out = arena_zalloc(&c->arena, sizeof(*out));

    out->def.id = loop_uuid(0x400 + (unsigned)c->n_credentials);
    uuid_format(&out->def.id, out->id_text);
    out->def.consumer = consumer ? consumer->def.id : loop_uuid(0x999);
    out->def.key = str_of(key);
    c->credentials[c->n_credentials++] = out;
    return out;
}

/* ---- running ---- */

/* Who asks; 192.0.2.7 unless told. */
static void loop_client(struct loop *l, const char *address)
{
    struct ip_network net;

    assert_true(ip_network_parse(str_of(address), &net));
    l->x.client_ip = str_of(address);
    memcpy(l->x.client_addr, net.addr, sizeof(l->x.client_addr));
}

static void loop_request(struct loop *l, const char *method, const char *target,
                         const struct loop_field *headers, const char *body)
{
    static const struct str names[] = {[M_OTHER] = STR(""),
#define X(id, name) [id] = STR(name),
                                       METHODS(X)
#undef X
    };
    struct exchange *x = &l->x;
    struct str path = str_of(target);
    size_t query = str_find(path, '?');

    arena_fini(&x->arena);
    *x = (struct exchange){.config = &l->config};
    arena_init(&x->arena, 0, 0);
    loop_client(l, "192.0.2.7");
    x->local_ip = STR("192.0.2.1");
    x->local_port = 8000;
    x->match = (struct route_match){.route = &l->route, .service = &l->service};
    memcpy(x->request_id, "0123456789abcdef0123456789abcdef", 33);
    x->req.method = str_of(method);
    for (size_t i = 1; i < ARRAY_LEN(names); i++)
        if (str_eq(names[i], x->req.method))
            x->req.method_id = (enum method)i;
    x->req.target = path;
    x->req.raw_path = x->req.path = str_n(path.p, query);
    if (query < path.len)
        x->req.query = str_n(path.p + query + 1, path.len - query - 1);
    x->req.host = STR("a.test");
    for (; headers->name; headers++)
        assert_true(
            headers_add(&x->req.headers, &x->arena, str_of(headers->name), str_of(headers->value)));
    l->body = str_of(body);
    l->body_later = false;
    l->message = l->content_type = NULL;
    l->resumes = 0;
}

static void loop_respond(struct loop *l, const struct loop_field *reply)
{
    struct exchange *x = &l->x;

    if (l->verdict != V_ANSWER) {
        x->resp = (struct resp_head){.status = 200};
        x->tries = 1;
        for (; reply->name; reply++)
            assert_true(headers_add(&x->resp.headers, &x->arena, str_of(reply->name),
                                    str_of(reply->value)));
    }
    chain_header_filter(x);
    chain_log(x);
}

/* All phases; a body that comes later comes at once. */
static void loop_run(struct loop *l, const struct loop_field *reply)
{
    struct exchange *x = &l->x;

    l->verdict = chain_start(x, PH_REWRITE);
    if (l->verdict == V_NEXT)
        l->verdict = chain_start(x, PH_ACCESS);
    while (l->verdict == V_WAIT) {
        assert_true(l->body_later);
        l->body_later = false;
        plugin_resume(x);
        l->verdict = chain_go_on(x);
    }
    loop_respond(l, reply);
}

/* ---- looking ---- */

static struct str loop_field(const struct headers *hs, const char *name)
{
    const struct header *h = headers_find(hs, str_of(name));
    return h ? h->value : STR_NONE;
}

#define assert_text(actual, expected)                                                 \
    do {                                                                              \
        struct str a_ = (actual);                                                     \
        const char *e_ = (expected);                                                  \
        if (!!a_.p != !!e_ || !str_eq(a_, str_of(e_)))                                \
            fail_msg("'" STR_FMT "' is not '%s'", STR_ARG(a_), e_ ? e_ : "(absent)"); \
    } while (0)
/* NULL: there is no such field. */
#define assert_resp(l, name, expected) assert_text(loop_field(&(l)->x.resp.headers, name), expected)
#define assert_sent(l, name, expected) assert_text(loop_field(&(l)->x.req.headers, name), expected)

static struct uuid loop_node = {{1, 2, 3}};

static int loop_setup(void **state)
{
    struct err e = {0};

    (void)state;
    if (plugins_init(1, &loop_node, &e) != 0) {
        fprintf(stderr, "%s\n", err_text(&e));
        return -1;
    }
    return 0;
}

static int loop_teardown(void **state)
{
    (void)state;
    plugins_fini();
    metrics_reset();
    clock_fake(0, 0);
    return 0;
}

#endif
