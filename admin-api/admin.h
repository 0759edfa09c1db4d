/*
 * admin.h - what the Admin API speaks for. Filled by the control plane's main before the
 * servers start, and not changed while they run.
 */
#ifndef ADMIN_API_ADMIN_H
#define ADMIN_API_ADMIN_H

#include "admin-api/call.h"
#include "controlplane/nodes.h"
#include "controlplane/publisher.h"
#include "controlplane/store.h"

struct server;

struct admin {
    struct store *store;
    struct nodes *nodes;
    struct publisher *publisher; /* NULL: cluster_listen is off */
    struct server *server;       /* whose connections GET /status counts */
    json_t *configuration;       /* settings as GET / shows them */
    char hostname[256];
    struct uuid node_id;
};

/* Handlers of the two listeners: the whole API, and what a monitor may see. */
enum outcome admin_dispatch(struct call *c);
enum outcome status_dispatch(struct call *c);

/* ---- special places, by file ---- */

enum outcome root_get(struct call *c); /* root.c */
enum outcome endpoints_get(struct call *c);
enum outcome status_get(struct call *c);
enum outcome ready_get(struct call *c);
enum outcome metrics_get(struct call *c);
enum outcome plugins_enabled_get(struct call *c);
enum outcome config_any(struct call *c);
enum outcome schema_get(struct call *c); /* schemas.c */
enum outcome schema_plugin_get(struct call *c);
enum outcome schema_plugin_config_get(struct call *c);
enum outcome schema_validate_post(struct call *c);
enum outcome tags_any(struct call *c);        /* tags.c */
enum outcome data_planes_get(struct call *c); /* clustering.c */
enum outcome clustering_status_get(struct call *c);
enum outcome upstream_health_get(struct call *c); /* targets.c */
enum outcome targets_all_get(struct call *c);

#endif
