/*
 * config.h - the compiled configuration: what one version of the entities means to a
 * request. Immutable once built; workers only read it.
 *
 * Versions share their unchanged parts: a change of one route copies the few nodes on the
 * way to it. All reference counts inside are touched by the config thread alone, so they are
 * plain integers. A request uses the version it started with (live.h) until it ends.
 */
#ifndef DATAPLANE_CONFIG_CONFIG_H
#define DATAPLANE_CONFIG_CONFIG_H

#include <openssl/ssl.h>

#include "common/entities.h"
#include "common/plugins/contract.h"
#include "dataplane/msg.h"

struct client_policy;
struct config;
struct plugin_ops;
struct ticket_ring;

/* ---- compiled entities: what record_decode gave, plus what is worth knowing in advance ---- */

/* One row of plugins, ready to run. */
struct c_plugin {
    struct plugin def;
    const struct plugin_contract *contract;
    const struct plugin_ops *ops;
    const void *conf;  /* decoded by the contract's table */
    void *prepared;    /* what ops->prepare made of it, or NULL */
    uint32_t order;    /* position in the chain: higher priority, smaller number */
    uint32_t protocols; /* bits 1u << enum protocol: whose chains it is in */
    bool observe;
};

/*
 * The plugins that apply to one scope, merged by the rules of precedence (proxying.md
 * section 7) without consumers: those join when one is known (plugin_chain.c).
 */
struct chain {
    const struct c_plugin *const *v; /* by order */
    uint32_t n;
    uint32_t phases; /* PH_BIT of every phase that any of them has */
    const struct chain *streams; /* of the same scope: rows for stream protocols; NULL: none */
};

struct c_target {
    struct uuid id;
    struct str host; /* name or address literal */
    uint16_t port;
    uint32_t weight;
};

/* An upstream with its targets, or the one host of a service. */
struct c_upstream {
    struct upstream def; /* nil id: made from a service's host */
    const struct c_target *targets;
    uint32_t n_targets;
    const uint16_t *wheel; /* indices into targets, smooth weighted order; NULL: no weight */
    uint32_t n_wheel;
};

struct c_service {
    struct service def;
    bool tls;                     /* https, grpcs, tls, wss */
    bool grpc;                    /* grpc, grpcs */
    bool http2;                   /* those, or asked for */
    SSL_CTX *tls_ctx;             /* when tls */
    struct str base_path;         /* def.path or "/" */
    const struct chain *chain;    /* own plugins merged with the global ones; NULL: the global chain */
};

struct c_route {
    struct route def;
    uint32_t protocols;           /* bits 1u << enum protocol */
    bool path_v1;                 /* path_handling is v1, and the flavor lets it count */
    const struct chain *chain;    /* own plugins merged with service's and global; NULL: the service's */
};

struct c_consumer {
    struct consumer def;
    char id_text[UUID_TEXT_LEN + 1];
    struct c_plugin *const *plugins; /* bound to this consumer (perhaps to route/service too) */
    uint32_t n_plugins;
};

/* A key-auth credential. Later kinds share the head: id, consumer. */
struct c_credential {
    struct keyauth_credential def;
    char id_text[UUID_TEXT_LEN + 1];
};

/* ---- looking up: any worker, during a request; nothing blocks, nothing allocates ---- */

uint64_t config_version(const struct config *c);
const struct chain *config_global_chain(const struct config *c);
const struct c_service *config_service(const struct config *c, const struct uuid *id);
const struct c_consumer *config_consumer(const struct config *c, const struct uuid *id);
/* By username, or by custom_id, or NULL. */
const struct c_consumer *config_consumer_by_name(const struct config *c, struct str username);
/* NULL when unknown or expired (wall_us). */
const struct c_credential *config_key(const struct config *c, struct str key, uint64_t wall_us);
/* service.host to its upstream, or to the service's own single target. Never NULL. */
const struct c_upstream *config_upstream(const struct config *c, const struct c_service *s);
/* Server context for a TLS name ("": none was sent): exact, *.suffix, prefix.*, "*", then NULL (the default). */
SSL_CTX *config_sni(const struct config *c, struct str name);

/*
 * Whether the handshake for this name asks for a client certificate, as routes with that name
 * say; and what a route demands of it. NULL: nothing is said.
 */
const struct client_policy *config_client_policy(const struct config *c, struct str sni);
const struct client_policy *config_route_client_policy(const struct config *c, const struct uuid *route);
/* Keys of session tickets; NULL: there are none. */
const struct ticket_ring *config_ticket_keys(const struct config *c);

/* The merged chain for a match: the route's, else its service's, else the global one. */
const struct chain *config_chain(const struct config *c, const struct c_route *r, const struct c_service *s);

/* ---- routing (route/router.c) ---- */

struct route_query {
    const struct req_head *req;
    uint16_t port;   /* of the listener, for hosts with a port when Host has none */
    bool tls;        /* scheme is https: snis count */
    struct str sni;  /* "" when none */
    /* text of addresses, read only when a route asks for them; "": unknown */
    struct str client_ip, local_ip;
    uint16_t client_port;
};

#define CAPTURES_MAX 10

struct route_match {
    const struct c_route *route;
    const struct c_service *service;  /* NULL: the route has none, or it is gone */
    struct str matched;               /* the part of the path that the route's path matched */
    struct str captures[CAPTURES_MAX]; /* of a regex path; [0] is matched */
    uint32_t n_captures;
    const struct str *capture_names;  /* parallel to captures, "" when unnamed; NULL: prefix path */
};

/*
 * The route of highest precedence that matches: as the reference really orders them (routing.md 4.2). scratch is for
 * regex captures and folded header values. False: none.
 */
bool config_match(const struct config *c, const struct route_query *q, struct arena *scratch,
                  struct route_match *out);

/* Every route that would match, best first, with its 64-bit priority: for tracing and tests. */
size_t config_match_all(const struct config *c, const struct route_query *q, struct arena *scratch,
                        const struct c_route **routes, uint64_t *priorities, size_t max);

/* A connection of the stream proxy. */
struct stream_query {
    unsigned char client_ip[16], local_ip[16]; /* IPv4 mapped */
    uint16_t client_port, local_port;
    bool tls;       /* the client speaks TLS: server names count */
    bool terminated; /* its TLS has ended here: the second time that it is routed */
    struct str sni; /* "" when none */
};

struct stream_match {
    const struct c_route *route;
    const struct c_service *service; /* NULL: the route has none, or it is gone */
};

/*
 * The stream route of highest precedence that matches, among those whose protocols fit:
 * "tcp" for plain text; "tls" and "tls_passthrough" for TLS; "tls" once it is terminated.
 * Routes of other kinds are never looked at, nor are these by config_match. False: none.
 */
bool config_match_stream(const struct config *c, const struct stream_query *q,
                         struct stream_match *out);

/* ---- compiling: the config thread only ---- */

/*
 * Holds what the next version is built from. One per process; not thread-safe.
 */
struct compiler;
struct compiler *compiler_new(void);
void compiler_set_flavor(struct compiler *c, enum router_flavor flavor); /* before the first version */
void compiler_free(struct compiler **c); /* after every config it made is released */

/*
 * Builds the version that records (proto/record.h) lead to: from nothing when full, else from
 * the newest one. A row that cannot be compiled refuses the whole: -1, e->path names the
 * entity ("routes.<id>"), and the compiler is as before. The caller owns *out (one reference).
 */
int compiler_apply(struct compiler *c, bool full, struct str records, uint64_t version,
                   struct config **out, struct err *e) WEIR_MUSTCHECK;

/* As compiler_apply from nothing, of records that are freed as soon as they have been read. */
int compiler_load(struct compiler *c, struct sbuf *records, uint64_t version, struct config **out,
                  struct err *e) WEIR_MUSTCHECK;

/* Gives the reference back; frees what no other version shares. Config thread only. */
void config_release(struct compiler *c, struct config **config);

struct config_stats {
    uint64_t routes, services, consumers, credentials, plugins, upstreams, targets, certificates;
    uint64_t bytes;
};
struct config_stats config_stats(const struct config *c);

#endif
