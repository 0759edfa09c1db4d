/*
 * config_priv.h - what a version is made of. For this folder, the router and their tests.
 *
 * A version is a struct roots: a handful of persistent maps (pmap.h) and the router's trees
 * (ptrie.h). The maps by id own the entities; every other index borrows from them, which is
 * safe because a version shares all its indexes or none of their changes.
 */
#ifndef DATAPLANE_CONFIG_CONFIG_PRIV_H
#define DATAPLANE_CONFIG_CONFIG_PRIV_H

#include "common/checks.h"
#include "dataplane/config/config.h"
#include "dataplane/config/pmap.h"
#include "dataplane/route/router.h"
#include "dataplane/tls/client_cert.h"
#include "dataplane/tls/tickets.h"

/* One record's body and the lists decoded from it: what an entity's strings point into. */
struct block {
    struct obj o;
    struct arena *overflow; /* what did not fit, or NULL */
    size_t body_len;
    char *body;
    _Alignas(16) char mem[];
};

/* Head of every compiled entity. */
struct ent_obj {
    struct obj o;
    struct uuid id;
    struct block *block;
};

struct chain_obj {
    struct obj o;
    struct chain c, streams;
    const struct c_plugin *v[]; /* of both */
};

/* Regular expressions of a route: one per path (NULL: a prefix), then one per header value. */
struct route_rules {
    struct obj o;
    uint32_t n;
    struct regex *v[];
};

/* Sources, then destinations of a stream route. */
struct route_endpoints {
    struct obj o;
    uint32_t n_sources, n;
    struct c_endpoint {
        struct ip_network net;
        bool has_addr, has_port;
        uint16_t port;
    } v[];
};

struct o_route {
    struct ent_obj head;
    struct route_rules *rules; /* NULL: no regular expression */
    struct route_endpoints *endpoints; /* NULL: none */
    struct route_expr *expr;           /* NULL: by its fields */
    struct chain_obj *chain;
    uint64_t age;           /* traditional flavor: of equals the greater one wins; else 0 */
    enum router_flavor flavor;
    uint16_t methods; /* bits 1u << enum method; 0: any, or only others */
    bool has_methods;
    struct c_route c;
};

/* A client context, shared by services that ask for the same. */
struct tls_obj {
    struct obj o;
    SSL_CTX *ctx;
    struct ent_obj *certificate; /* keeps the key's address meaningful */
    struct tls_key {
        const struct ent_obj *certificate; /* NULL: that of the settings, or none */
        int32_t depth, verify, protocol;
        unsigned char authorities[32]; /* SHA-256 of their digests; zeros: the settings' */
    } key;
};

struct o_service {
    struct ent_obj head;
    struct tls_obj *tls;
    struct chain_obj *chain;
    struct c_service c;
    /* when its host is no upstream's name */
    struct c_upstream single;
    struct c_target target;
};

struct plugin_list {
    struct obj o;
    uint32_t n;
    struct c_plugin *v[];
};

struct o_consumer {
    struct ent_obj head;
    struct plugin_list *plugins;
    struct c_consumer c;
};

struct o_credential {
    struct ent_obj head;
    struct c_credential c;
};

struct o_plugin {
    struct ent_obj head;
    uint8_t rank; /* 1..8, most specific first */
    struct arena conf_arena;
    struct c_plugin c;
};

/* Targets of an upstream and their round. */
struct target_list {
    struct obj o;
    uint16_t *wheel;
    uint32_t n_wheel, n;
    struct c_target v[];
};

struct o_upstream {
    struct ent_obj head;
    struct target_list *targets;
    struct c_upstream c;
};

struct o_target {
    struct ent_obj head;
    struct target def;
    struct c_target c;
};

struct o_certificate {
    struct ent_obj head;
    struct certificate def;
    SSL_CTX *ctx;
};

struct o_ca_certificate {
    struct ent_obj head;
    struct ca_certificate def;
    X509 *x509;
};

struct o_ticket_key {
    struct ent_obj head;
    struct tls_ticket_key def;
    struct ticket_key key;
};

/* All keys of session tickets, as the workers use them. */
struct ticket_ring_obj {
    struct obj o;
    struct ticket_ring ring;
};

/* Whose certificates are asked for (client_auth.c). */
struct auth_obj {
    struct obj o;
    struct auth_route {
        struct uuid id;
        struct client_policy *policy;
    } *routes; /* by id */
    struct auth_name {
        char *name; /* or a wildcard; lower case */
        struct client_policy *policy;
    } *names; /* by name */
    size_t n_routes, n_names;
    bool any_wildcard;
};

struct o_sni {
    struct ent_obj head;
    struct sni def;
};

/* ---- maps ---- */

enum map_id {
    /* by id; they own */
    MAP_ROUTES,
    MAP_SERVICES,
    MAP_CONSUMERS,
    MAP_CREDENTIALS,
    MAP_PLUGINS,
    MAP_UPSTREAMS,
    MAP_TARGETS,
    MAP_CERTIFICATES,
    MAP_SNIS,
    MAP_CA_CERTIFICATES,
    MAP_TICKET_KEYS,
    /* by name */
    MAP_CONSUMER_NAMES,
    MAP_CONSUMER_CUSTOM_IDS,
    MAP_CREDENTIAL_KEYS,
    MAP_UPSTREAM_NAMES,
    MAP_SNI_NAMES,
    /* some of those by id */
    MAP_ASKING_ROUTES, /* with tls_verify_client */
    /* sets by another entity's id */
    MAP_PLUGINS_OF,  /* of a consumer, else route, else service, else nil: global */
    MAP_ROUTES_OF,   /* routes with plugins of their own, of a service */
    MAP_TARGETS_OF,  /* of an upstream */
    MAP_SERVICES_OF, /* that show this client certificate, or trust this CA certificate */
    MAP_COUNT
};

extern const struct pmap_type map_types[MAP_COUNT];

/* Members of a set: a map by id that does not own. */
struct set_obj {
    struct obj o;
    struct uuid owner;
    struct pmap members;
};

struct roots {
    struct pmap m[MAP_COUNT];
    struct chain_obj *global;        /* never NULL in a version */
    struct auth_obj *auth;           /* NULL: no route asks for client certificates */
    struct ticket_ring_obj *tickets; /* NULL: no keys */
    struct router router;
};

struct config {
    uint32_t refs;
    uint64_t version;
    struct roots r;
    struct config_stats stats;
};

struct ent_obj *roots_get(const struct roots *r, enum map_id map, const struct uuid *id);
/* The set of owner, or NULL when it is empty. */
const struct pmap *roots_set(const struct roots *r, enum map_id map, const struct uuid *owner);
void roots_set_add(struct roots *r, enum map_id map, const struct uuid *owner,
                   struct ent_obj *member);
void roots_set_remove(struct roots *r, enum map_id map, const struct uuid *owner,
                      struct ent_obj *member);
struct roots roots_share(const struct roots *r);
void roots_drop(struct roots *r);

static inline struct str uuid_key(const struct uuid *id)
{
    return str_n((const char *)id, sizeof(*id));
}

#endif
