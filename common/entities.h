/*
 * entities.h - the entities as the data plane sees them: what record_decode fills.
 * The tables behind them are in common/entities/; member and field names are the same.
 */
#ifndef COMMON_ENTITIES_H
#define COMMON_ENTITIES_H

#include "common/schema.h"

/* Identity in records and on disk: never changed, never reused. Parents before children. */
enum entity_type {
    ET_CONSUMER = 1,
    ET_CERTIFICATE = 2,
    ET_CA_CERTIFICATE = 3,
    ET_SERVICE = 4,
    ET_ROUTE = 5,
    ET_SNI = 6,
    ET_UPSTREAM = 7,
    ET_TARGET = 8,
    ET_PLUGIN = 9,
    ET_KEYAUTH_CREDENTIAL = 10,
    ET_TLS_TICKET_KEY = 50,
    ET_MAX = 63,
};

extern const struct entity entity_consumers, entity_certificates, entity_ca_certificates,
    entity_services, entity_routes, entity_snis, entity_upstreams, entity_targets, entity_plugins,
    entity_keyauth_credentials, entity_tls_ticket_keys;

/* Bits of a route's, plugin's or service's protocols. */
#define PROTOCOLS(X)                                                                               \
    X(PROTO_GRPC, "grpc")                                                                          \
    X(PROTO_GRPCS, "grpcs")                                                                        \
    X(PROTO_HTTP, "http")                                                                          \
    X(PROTO_HTTPS, "https")                                                                        \
    X(PROTO_TCP, "tcp")                                                                            \
    X(PROTO_TLS, "tls")                                                                            \
    X(PROTO_TLS_PASSTHROUGH, "tls_passthrough")                                                    \
    X(PROTO_UDP, "udp")

enum protocol {
#define X(id, word) id,
    PROTOCOLS(X)
#undef X
        PROTO_COUNT
};

enum proxy_version { PROXY_V1, PROXY_V2 };
enum http_version { HTTP_1_1, HTTP_2 };

struct service {
    struct uuid id;
    int64_t created_at, updated_at; /* s */
    struct str name;
    int64_t retries;
    int protocol; /* enum protocol */
    struct str host;
    int64_t port;
    struct str path;
    int64_t connect_timeout, write_timeout, read_timeout; /* ms */
    struct list tags;
    struct uuid client_certificate;
    int8_t tls_verify;
    int64_t tls_verify_depth;
    struct list ca_certificates; /* struct str */
    bool enabled;
    int proxy_protocol;          /* enum proxy_version; -1: none */
    int http_version; /* enum http_version, or -1 */
};

struct endpoint { /* of a stream route */
    struct str ip;
    int64_t port;
};

enum path_handling { PATH_V0, PATH_V1 };

/* How routes are said and ordered; the words of the setting router_flavor. */
#define ROUTER_FLAVORS(X)                                                                          \
    X(FLAVOR_TRADITIONAL_COMPATIBLE, "traditional_compatible")                                     \
    X(FLAVOR_TRADITIONAL, "traditional")                                                           \
    X(FLAVOR_EXPRESSIONS, "expressions")

enum router_flavor {
#define X(id, word) id,
    ROUTER_FLAVORS(X)
#undef X
        FLAVOR_COUNT
};

extern const char *const router_flavor_words[]; /* by enum router_flavor, NULL-terminated */

struct route {
    struct uuid id;
    int64_t created_at, updated_at;
    struct str name;
    struct list protocols; /* struct str */
    int64_t https_redirect_status_code;
    bool strip_path, preserve_host, request_buffering, response_buffering;
    struct list tags;
    struct uuid service;
    struct list snis, methods, hosts, paths; /* struct str */
    struct list sources, destinations;       /* struct endpoint */
    struct list headers;                     /* struct map_entry, values struct str */
    int64_t regex_priority;
    int path_handling; /* enum path_handling */
    struct str expression; /* in place of all of them: expr.h */
    int64_t priority;      /* of the expression */
    int tls_verify_client;                   /* enum verify_client of the data plane; -1: not said */
    struct list tls_client_ca_certificates;  /* struct str, ids */
};

struct consumer {
    struct uuid id;
    int64_t created_at, updated_at;
    struct str username, custom_id;
    struct list tags;
};

struct plugin {
    struct uuid id;
    struct str name, instance_name;
    int64_t created_at, updated_at;
    struct uuid route, service, consumer;
    struct str config; /* packed by the table of the plugin's contract */
    struct list protocols;
    bool enabled;
    struct list tags;
};

enum balance { BALANCE_CONSISTENT_HASHING, BALANCE_LEAST_CONNECTIONS, BALANCE_ROUND_ROBIN, BALANCE_LATENCY };

enum hash_input {
    HASH_NONE,
    HASH_CONSUMER,
    HASH_IP,
    HASH_HEADER,
    HASH_COOKIE,
    HASH_PATH,
    HASH_QUERY_ARG,
    HASH_URI_CAPTURE,
};

struct health_healthy {
    struct list http_statuses; /* int64_t */
    double interval;           /* s, active only */
    int64_t successes;
};

struct health_unhealthy {
    struct list http_statuses;
    double interval; /* s, active only */
    int64_t tcp_failures, timeouts, http_failures;
};

struct healthchecks {
    struct {
        struct str type, http_path, https_sni;
        struct list headers; /* map_entry, values */
        bool https_verify_certificate;
        double timeout; /* s */
        int64_t concurrency;
        struct health_healthy healthy;
        struct health_unhealthy unhealthy;
    } active;
    struct {
        struct str type;
        struct health_healthy healthy;
        struct health_unhealthy unhealthy;
    } passive;
    double threshold;
};

struct upstream {
    struct uuid id;
    int64_t created_at, updated_at;
    struct str name;
    int algorithm;              /* enum balance */
    int hash_on, hash_fallback; /* enum hash_input */
    struct str hash_on_header, hash_fallback_header, hash_on_cookie, hash_on_cookie_path;
    struct str hash_on_query_arg, hash_fallback_query_arg, hash_on_uri_capture, hash_fallback_uri_capture;
    int64_t slots;
    struct healthchecks healthchecks;
    struct list tags;
    struct str host_header;
    struct uuid client_certificate;
    bool use_srv_name;
};

struct target {
    struct uuid id;
    double created_at, updated_at; /* s, with milliseconds */
    struct uuid upstream;
    struct str target; /* "host:port", normalized */
    int64_t weight;
    struct list tags;
};

struct certificate {
    struct uuid id;
    int64_t created_at, updated_at;
    struct str cert, key, cert_alt, key_alt; /* PEM */
    struct list tags;
    struct list snis; /* transient: the names in Admin API documents, empty on the wire */
};

struct ca_certificate {
    struct uuid id;
    int64_t created_at, updated_at;
    struct str cert;        /* PEM */
    struct str cert_digest; /* SHA-256 of the DER form, lower-case hex */
    struct list tags;
};

struct sni {
    struct uuid id;
    struct str name;
    int64_t created_at, updated_at;
    struct list tags;
    struct uuid certificate;
};

struct keyauth_credential {
    struct uuid id;
    int64_t created_at;
    struct uuid consumer;
    struct str key;
    struct list tags;
    int64_t expires_at; /* wall clock, s; INT_NULL: never. Column of entities with a ttl */
};

#define TICKET_KEY_HEX 128

struct tls_ticket_key { /* common/tickets.h */
    struct uuid id; /* also the name that tickets carry */
    int64_t created_at;
    int64_t serial;
    struct str key; /* TICKET_KEY_HEX digits: 32 bytes for AES-256, 32 for HMAC-SHA-256 */
};

#endif
