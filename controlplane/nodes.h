/*
 * nodes.h - the data planes this control plane knows: who they are, what they have applied.
 *
 * A row is made by a node's first hello and stays when the node goes away, so that an absent
 * data plane shows; rows without contact for fourteen days are dropped. Memory only: after a
 * restart of the control plane rows come back as the nodes do. Threads: any.
 */
#ifndef CONTROLPLANE_NODES_H
#define CONTROLPLANE_NODES_H

#include <jansson.h>

#include "common/uuid.h"
#include "proto/record.h"

#define NODES_MAX        10000u             /* rows kept; the longest absent one makes room */
#define NODES_TTL_SECONDS (14u * 24u * 3600u)

struct nodes;

/* What a hello tells; texts are borrowed for the call. */
struct node_hello {
    struct uuid id;
    struct str hostname, ip, version, build;
    const struct str *labels; /* "key:value" */
    size_t n_labels;
    int64_t cert_expiry_s;    /* since 1970; 0: no certificate (ipc) */
    uint64_t applied_version; /* what it is serving already */
    struct state_hash applied_hash;
};

struct nodes *nodes_new(void);
void nodes_free(struct nodes **n);

/*
 * Rows as /clustering/data-planes shows them, sorted by id: the reference's
 * {"id","ip","hostname","version","config_hash","last_seen","updated_at","sync_status",
 * "labels","cert_details","rpc_capabilities","ttl"} and ours {"connected","build",
 * "config_version" (the control plane's), "applied_version", "behind" (versions),
 * "compile_us", "last_error" (null or {"message","entity_type","entity_id","version",
 * "at"})}. A new reference; never NULL.
 */
json_t *nodes_list(struct nodes *n);

/* One row, or NULL when there is no such node. A new reference. */
json_t *nodes_get(struct nodes *n, const struct uuid *id);

/* How many are connected, and how many of them serve the newest version. */
void nodes_count(struct nodes *n, size_t *connected_out, size_t *current_out);

/* ---- for the publisher ---- */

struct node_error {
    struct str reason;
    uint8_t entity_type; /* 0: none named */
    struct uuid entity;
    uint64_t version;    /* the one that was refused */
};

void nodes_head(struct nodes *n, uint64_t version);
/* session tells two connections of one node apart: the younger owns the row. */
void nodes_connected(struct nodes *n, const struct node_hello *hello, uint64_t session);
void nodes_seen(struct nodes *n, const struct uuid *id, uint64_t session);
void nodes_applied(struct nodes *n, const struct uuid *id, uint64_t session, uint64_t version,
                   const struct state_hash *hash, uint32_t compile_us); /* 0: unknown */
void nodes_failed(struct nodes *n, const struct uuid *id, uint64_t session,
                  const struct node_error *error);
void nodes_disconnected(struct nodes *n, const struct uuid *id, uint64_t session);

#endif
