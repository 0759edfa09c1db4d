/*
 * contract.h - what both planes know of a plugin: its name, when it runs, and the table of
 * its configuration. Its behaviour lives under the same basename in dataplane/plugins/.
 *
 * plugins.def lists the plugins, one line each; both planes build their arrays from it.
 */
#ifndef COMMON_PLUGINS_CONTRACT_H
#define COMMON_PLUGINS_CONTRACT_H

#include "common/schema.h"

/* phase, name in documents */
#define PHASES(X)                                                                                  \
    X(PH_CERTIFICATE, "certificate")                                                               \
    X(PH_REWRITE, "rewrite")             /* global instances only: the route is not known yet */   \
    X(PH_ACCESS, "access")               /* may answer, may wait */                                \
    X(PH_HEADER_FILTER, "header_filter") /* the response's head, also of answers of ours */        \
    X(PH_BODY_FILTER, "body_filter")     /* pieces of the response's body */                       \
    X(PH_LOG, "log")                     /* after the last byte */

enum phase {
#define X(id, word) id,
    PHASES(X)
#undef X
        PH_COUNT
};
#define PH_BIT(phase) (1u << (phase))

enum plugin_scope { SCOPE_CONSUMER = 1, SCOPE_SERVICE = 2, SCOPE_ROUTE = 4, SCOPE_ANY = 7 };

struct plugin_contract {
    const char *name;           /* "rate-limiting" */
    int priority;               /* higher runs first; ties: name, descending */
    unsigned phases;            /* PH_BIT(...) | ... */
    unsigned scopes;            /* enum plugin_scope bits it may be bound to (global always) */
    unsigned protocols;         /* bits 1u << enum protocol it may serve */
    unsigned protocols_default; /* bits that a row without protocols gets */
    size_t conf_size;
    const struct field *fields; /* of config */
    const struct record_checks *config_checks; /* rules of the record "config" itself */
    const struct record_checks *checks;        /* rules of the whole row, paths start "config." */
    const char *doc;            /* one sentence */
};

#define PROTOCOLS_HTTP                                                                             \
    (1u << PROTO_GRPC | 1u << PROTO_GRPCS | 1u << PROTO_HTTP | 1u << PROTO_HTTPS)
#define PROTOCOLS_STREAM                                                                           \
    (1u << PROTO_TCP | 1u << PROTO_TLS | 1u << PROTO_TLS_PASSTHROUGH | 1u << PROTO_UDP)
#define PROTOCOLS_ALL ((1u << PROTO_COUNT) - 1)

/* Every contract, highest priority first; NULL-terminated. */
extern const struct plugin_contract *const plugin_contracts[];

const struct plugin_contract *plugin_contract_by_name(struct str name);

/* GET /schemas/plugins/NAME: what the plugin adds to the table of plugins. */
json_t *plugin_contract_describe(const struct plugin_contract *c);

#endif
