#include "controlplane/settings_cp.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/entities.h"
#include "common/log.h"

static const char *const level_words[] = {
#define X(level, word) word,
    LOG_LEVELS(X)
#undef X
        NULL,
};

#define OFF(m) offsetof(struct cp_settings, m)

/* clang-format off */
static const struct setting table[] = {
    {.name = "data_dir", .type = ST_TEXT, .off = OFF(data_dir), .dflt = "/var/lib/weir",
     .doc = "Directory of the database weir.db and of the cluster's certificates."},
    {.name = "admin_listen", .type = ST_TEXT, .off = OFF(admin_listen), .dflt = "127.0.0.1:8001",
     .doc = "Addresses of the Admin API, separated by commas, or off."},
    {.name = "admin_allow_remote", .type = ST_BOOL, .off = OFF(admin_allow_remote), .dflt = "off",
     .doc = "Lets admin_listen name addresses beyond loopback although the Admin API asks for no credentials."},
    {.name = "admin_threads", .type = ST_INT, .off = OFF(admin_threads), .dflt = "2", .min = 1, .max = 64,
     .doc = "Threads that serve each address of the Admin API."},
    {.name = "admin_max_connections", .type = ST_INT, .off = OFF(admin_max_connections), .dflt = "4000",
     .min = 1, .max = 100000, .doc = "Connections to each address of the Admin API; more wait."},
    {.name = "admin_max_body_bytes", .type = ST_SIZE, .off = OFF(admin_max_body_bytes), .dflt = "10m",
     .min = 1024, .max = 1073741824, .doc = "Largest request body of the Admin API."},
    {.name = "admin_idle_timeout", .type = ST_DURATION, .off = OFF(admin_idle_timeout), .dflt = "75s",
     .min = 1e6, .max = 3600e6, .doc = "How long a connection to the Admin API may stay silent."},
    {.name = "status_listen", .type = ST_TEXT, .off = OFF(status_listen), .dflt = "127.0.0.1:8007",
     .doc = "Addresses of the status listener (/status, /status/ready, /metrics), or off."},
    {.name = "router_flavor", .type = ST_ENUM, .off = OFF(router_flavor), .dflt = "traditional_compatible",
     .words = router_flavor_words, .doc = "How routes are said and ordered; the data planes need the same."},
    {.name = "cluster_listen", .type = ST_TEXT, .off = OFF(cluster_listen), .dflt = "0.0.0.0:8005",
     .doc = "Addresses where data planes connect with mutual TLS, ipc:///PATH for one machine, or off."},
    {.name = "cluster_cert", .type = ST_TEXT, .off = OFF(cluster_cert),
     .doc = "Certificate shown to data planes, PEM; DATA_DIR/cluster/cp.crt when unset."},
    {.name = "cluster_cert_key", .type = ST_TEXT, .off = OFF(cluster_cert_key),
     .doc = "Private key of cluster_cert, PEM; DATA_DIR/cluster/cp.key when unset."},
    {.name = "cluster_ca", .type = ST_TEXT, .off = OFF(cluster_ca),
     .doc = "Certificate authority of the cluster, PEM; DATA_DIR/cluster/ca.crt when unset."},
    {.name = "cluster_max_data_planes", .type = ST_INT, .off = OFF(cluster_max_data_planes), .dflt = "4096",
     .min = 1, .max = 100000, .doc = "Data planes connected at once; further ones are closed."},
    {.name = "cluster_heartbeat", .type = ST_DURATION, .off = OFF(cluster_heartbeat), .dflt = "5s",
     .min = 1e5, .max = 600e6,
     .doc = "Silence after which a data plane is asked for a sign of life; three times that is a lost connection."},
    {.name = "shutdown_timeout", .type = ST_DURATION, .off = OFF(shutdown_timeout), .dflt = "10s",
     .min = 0, .max = 600e6, .doc = "How long a stop waits for requests under way."},
    {.name = "log_level", .type = ST_ENUM, .off = OFF(log_level), .dflt = "notice", .words = level_words,
     .doc = "Least level that is logged."},
    {.name = "log_file", .type = ST_TEXT, .off = OFF(log_file),
     .doc = "File the log is appended to; standard error when unset."},
    SETTING_END
};
/* clang-format on */

const struct settings_source cp_settings_source = {
    .program = "weir-cp",
    .about = "The control plane of Weir: Admin API, database, push to data planes.",
    .table = table,
};

static void default_path(const char **path, const char *dir, const char *name)
{
    struct sbuf b = {0};

    if (*path && **path)
        return;
    sbuf_addf(&b, "%s/cluster/%s", dir, name);
    *path = sbuf_take(&b); /* lives as long as the process, like every setting */
}

int cp_settings_load(int argc, char **argv, struct cp_settings *out, struct err *e)
{
    int rc = settings_load(&cp_settings_source, &argc, argv, false, out, e);

    if (rc != 0)
        return rc;
    default_path(&out->cluster_cert, out->data_dir, "cp.crt");
    default_path(&out->cluster_cert_key, out->data_dir, "cp.key");
    default_path(&out->cluster_ca, out->data_dir, "ca.crt");
    return 0;
}

static json_t *value_json(const struct setting *s, const void *at)
{
    switch (s->type) {
    case ST_TEXT: {
        const char *text = *(const char *const *)at;

        return text && *text ? json_string(text) : json_null();
    }
    case ST_INT: return json_integer(*(const int64_t *)at);
    case ST_BOOL: return json_boolean(*(const bool *)at);
    case ST_DURATION: return json_real((double)*(const uint64_t *)at / 1e6);
    case ST_SIZE: return json_integer((json_int_t) * (const uint64_t *)at);
    case ST_ENUM: return json_string(s->words[*(const int *)at]);
    }
    WEIR_UNREACHABLE("setting type");
}

/* Listeners are arrays of texts, as kong.conf's are shown. */
static json_t *addresses_json(const char *text)
{
    json_t *out = json_array();
    struct str rest = str_of(text), one;

    while (str_next(&rest, ',', &one)) {
        one = str_trim(one);
        json_array_append_new(out, json_stringn(one.p, one.len));
    }
    return out;
}

static json_t *listeners_json(const char *text)
{
    json_t *out = json_array();
    struct listen_addr *addrs = NULL;
    size_t n = 0;
    struct err ignored;

    if (listen_parse(text, &addrs, &n, &ignored) == 0)
        for (size_t i = 0; i < n; i++)
            json_array_append_new(out, json_pack("{s:s, s:i, s:b, s:b}", "ip", addrs[i].host,
                                                 "port", addrs[i].port, "ssl", addrs[i].ssl,
                                                 "http2", addrs[i].http2));
    free(addrs);
    return out;
}

json_t *cp_settings_json(const struct cp_settings *s)
{
    json_t *out = json_object();

    for (const struct setting *t = table; t->name; t++)
        json_object_set_new(out, t->name, value_json(t, (const char *)s + t->off));
    json_object_set_new(out, "cluster_cert_key", json_string("******"));
    json_object_set_new(out, "admin_listen", addresses_json(s->admin_listen));
    json_object_set_new(out, "status_listen", addresses_json(s->status_listen));
    json_object_set_new(out, "cluster_listen", addresses_json(s->cluster_listen));
    json_object_set_new(out, "admin_listeners", listeners_json(s->admin_listen));
    json_object_set_new(out, "status_listeners", listeners_json(s->status_listen));
    /* what clients of the Admin API decide by */
    json_object_set_new(out, "admin_gui_listeners", json_array());
    json_object_set_new(out, "proxy_listeners", json_array());
    json_object_set_new(out, "database", json_string("sqlite"));
    json_object_set_new(out, "role", json_string("control_plane"));
    return out;
}
