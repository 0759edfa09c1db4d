/* settings_cp.h - the settings of weir-cp. The table is in settings_cp.c. */
#ifndef CONTROLPLANE_SETTINGS_CP_H
#define CONTROLPLANE_SETTINGS_CP_H

#include <jansson.h>

#include "common/settings.h"

struct cp_settings {
    const char *data_dir;
    const char *admin_listen, *status_listen, *cluster_listen;
    bool admin_allow_remote;
    int64_t admin_threads, admin_max_connections;
    uint64_t admin_max_body_bytes; /* bytes */
    uint64_t admin_idle_timeout;   /* us */
    uint64_t shutdown_timeout;     /* us */
    const char *cluster_cert, *cluster_cert_key, *cluster_ca;
    int64_t cluster_max_data_planes;
    uint64_t cluster_heartbeat; /* us */
    int log_level; /* enum log_level */
    int router_flavor; /* enum router_flavor */
    const char *log_file;
};

extern const struct settings_source cp_settings_source;

/*
 * From the command line, the environment and the file, with paths that depend on data_dir
 * filled in. As settings_load.
 */
int cp_settings_load(int argc, char **argv, struct cp_settings *out, struct err *e) WEIR_MUSTCHECK;

/* As GET / shows them: name to value; no secrets. A new reference. */
json_t *cp_settings_json(const struct cp_settings *s);

#endif
