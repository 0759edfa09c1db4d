/*
 * main.c - weir-cp: settings, wiring, signals. The store opens first and closes last; the
 * publisher comes before the Admin API, so that the first write already finds its way out.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin-api/admin.h"
#include "admin-api/server.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/notify.h"
#include "controlplane/settings_cp.h"

struct listeners {
    struct listen_addr *v;
    size_t n;
};

struct control_plane {
    struct cp_settings set;
    struct listeners admin_at, status_at;
    char *cluster_urls; /* NULL: off */
    struct admin admin;
    struct server *status;
};

/* ---- settings that need more than their type ---- */

static bool is_loopback(const char *host)
{
    return strcmp(host, "::1") == 0 || strncmp(host, "127.", 4) == 0;
}

static int parse_listeners(const char *name, const char *text, struct listeners *out, struct err *e)
{
    if (listen_parse(text, &out->v, &out->n, e) != 0)
        return err_in(e, name);
    for (size_t i = 0; i < out->n; i++)
        if (out->v[i].ssl || out->v[i].http2 || out->v[i].proxy_protocol)
            return err_set(
                e, ERR_INVALID,
                "%s: %s:%u: expected a plain address, without ssl, http2 or proxy_protocol", name,
                out->v[i].host, out->v[i].port);
    return 0;
}

static int check_admin_reach(const struct control_plane *cp, struct err *e)
{
    for (size_t i = 0; i < cp->admin_at.n && !cp->set.admin_allow_remote; i++)
        if (!is_loopback(cp->admin_at.v[i].host))
            return err_set(
                e, ERR_INVALID,
                "admin_listen: %s:%u can be reached from other machines and the Admin API asks for "
                "no credentials; expected a loopback address, or admin_allow_remote = on",
                cp->admin_at.v[i].host, cp->admin_at.v[i].port);
    return 0;
}

/* "0.0.0.0:8005, ipc:///run/x" to the publisher's URLs; NULL for "off". */
static int cluster_urls(const char *text, char **out, bool *tls_out, struct err *e)
{
    struct str rest = str_of(text), one;
    struct sbuf urls = {0};

    *out = NULL;
    *tls_out = false;
    if (str_eq(str_trim(rest), STR("off")))
        return 0;
    while (str_next(&rest, ',', &one)) {
        struct listen_addr *addrs = NULL;
        size_t n = 0;
        char *copy;
        int rc = 0;

        one = str_trim(one);
        sbuf_adds(&urls, urls.len ? "," : "");
        if (str_starts(one, STR("ipc://")) || str_starts(one, STR("tls+tcp://"))) {
            *tls_out = *tls_out || str_starts(one, STR("tls"));
            sbuf_addstr(&urls, one);
            continue;
        }
        copy = str_dup(one);
        rc = listen_parse(copy, &addrs, &n, e);
        if (rc == 0 && n != 1)
            rc = err_set(e, ERR_INVALID, "'%s': expected ADDRESS:PORT, ipc:///PATH or off", copy);
        if (rc == 0)
            sbuf_addf(&urls, strchr(addrs[0].host, ':') ? "tls+tcp://[%s]:%u" : "tls+tcp://%s:%u",
                      addrs[0].host, addrs[0].port);
        *tls_out = true;
        free(addrs);
        free(copy);
        if (rc != 0) {
            sbuf_free(&urls);
            return err_in(e, "cluster_listen");
        }
    }
    *out = sbuf_take(&urls);
    return 0;
}

static int check_readable(const struct cp_settings *set, const char *name, const char *path,
                          struct err *e)
{
    if (access(path, R_OK) == 0)
        return 0;
    return err_set(e, ERR_IO,
                   "%s: cannot read %s: %s; `weirctl cert --out %s/cluster` makes the cluster's "
                   "certificates, and cluster_listen = off does without data planes",
                   name, path, strerror(errno), set->data_dir);
}

static int check_settings(struct control_plane *cp, struct err *e)
{
    const struct cp_settings *set = &cp->set;
    bool tls;

    if (parse_listeners("admin_listen", set->admin_listen, &cp->admin_at, e) != 0 ||
        parse_listeners("status_listen", set->status_listen, &cp->status_at, e) != 0 ||
        check_admin_reach(cp, e) != 0 ||
        cluster_urls(set->cluster_listen, &cp->cluster_urls, &tls, e) != 0)
        return -1;
    if (tls && (check_readable(set, "cluster_ca", set->cluster_ca, e) != 0 ||
                check_readable(set, "cluster_cert", set->cluster_cert, e) != 0 ||
                check_readable(set, "cluster_cert_key", set->cluster_cert_key, e) != 0))
        return -1;
    return 0;
}

/* ---- parts ---- */

static int open_store(struct control_plane *cp, struct err *e)
{
    const char *dir = cp->set.data_dir;
    struct sbuf path = {0};
    int rc;

    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return err_sys(e, "data_dir: cannot make directory %s", dir);
    if (access(dir, W_OK | X_OK) != 0)
        return err_sys(e, "data_dir: cannot write to %s", dir);
    sbuf_addf(&path, "%s/weir.db", dir);
    rc = store_open(path.p, &cp->admin.store, e);
    sbuf_free(&path);
    return rc;
}

static int start_publisher(struct control_plane *cp, struct err *e)
{
    const struct publisher_options opt = {
        .listen = cp->cluster_urls,
        .ca_file = cp->set.cluster_ca,
        .cert_file = cp->set.cluster_cert,
        .key_file = cp->set.cluster_cert_key,
        .max_peers = (size_t)cp->set.cluster_max_data_planes,
        .heartbeat_ms = (unsigned)(cp->set.cluster_heartbeat / 1000),
    };

    return cp->cluster_urls
               ? publisher_start(&opt, cp->admin.store, cp->admin.nodes, &cp->admin.publisher, e)
               : 0;
}

static int start_servers(struct control_plane *cp, struct err *e)
{
    struct server_options opt = {
        .what = "admin",
        .handle = admin_dispatch,
        .admin = &cp->admin,
        .addrs = cp->admin_at.v,
        .n_addrs = cp->admin_at.n,
        .threads = (unsigned)cp->set.admin_threads,
        .max_connections = (unsigned)cp->set.admin_max_connections,
        .idle_s = (unsigned)(cp->set.admin_idle_timeout / 1000000),
        .max_body_bytes = (size_t)cp->set.admin_max_body_bytes,
    };

    if (server_start(&opt, &cp->admin.server, e) != 0)
        return -1;
    opt.what = "status";
    opt.handle = status_dispatch;
    opt.addrs = cp->status_at.v;
    opt.n_addrs = cp->status_at.n;
    opt.threads = 1;
    opt.max_connections = 256;
    return server_start(&opt, &cp->status, e);
}

static int start(struct control_plane *cp, struct err *e)
{
    if (check_settings(cp, e) != 0 || open_store(cp, e) != 0)
        return -1;
    cp->admin.nodes = nodes_new();
    cp->admin.node_id = uuid_v4();
    cp->admin.configuration = cp_settings_json(&cp->set);
    if (gethostname(cp->admin.hostname, sizeof(cp->admin.hostname) - 1) != 0)
        cp->admin.hostname[0] = '\0';
    return start_publisher(cp, e) != 0 || start_servers(cp, e) != 0 ? -1 : 0;
}

static void stop(struct control_plane *cp)
{
    unsigned grace_ms = (unsigned)(cp->set.shutdown_timeout / 1000);

    server_stop(&cp->status, 0); /* it shows figures of the other */
    server_stop(&cp->admin.server, grace_ms);
    if (cp->admin.publisher)
        publisher_stop(&cp->admin.publisher);
    if (cp->admin.store)
        store_close(&cp->admin.store);
    if (cp->admin.nodes)
        nodes_free(&cp->admin.nodes);
    json_decref(cp->admin.configuration);
    free(cp->admin_at.v);
    free(cp->status_at.v);
    free(cp->cluster_urls);
}

/* ---- readiness and signals ---- */

static void tell_manager(const char *state)
{
    struct err e;

    if (notify_manager(state, &e) != 0)
        LOG(LOG_WARN, "notify_failed", "cause=\"%s\"", err_text(&e));
}

static void print_addrs(const char *what, const struct listeners *at)
{
    printf(" %s %s", what, at->n ? "" : "off");
    for (size_t i = 0; i < at->n; i++)
        printf(strchr(at->v[i].host, ':') ? "%s[%s]:%u" : "%s%s:%u", i ? "," : "", at->v[i].host,
               at->v[i].port);
}

static void say_ready(const struct control_plane *cp)
{
    printf("weir-cp ready:");
    print_addrs("admin", &cp->admin_at);
    printf(" cluster %s", cp->set.cluster_listen);
    print_addrs("status", &cp->status_at);
    printf(" version %llu\n", (unsigned long long)store_info(cp->admin.store).version);
    fflush(stdout);
    tell_manager("READY=1");
}

static void reload(struct control_plane *cp)
{
    struct err e;

    if (log_open(cp->set.log_file, &e) != 0)
        LOG(LOG_ERROR, "log_reopen_failed", "cause=\"%s\"", err_text(&e));
    if (cp->admin.publisher && publisher_reload_certificates(cp->admin.publisher, &e) != 0)
        LOG(LOG_ERROR, "certificates_reload_failed", "cause=\"%s\"", err_text(&e));
    LOG(LOG_NOTICE, "reloaded", "log_file=\"%s\"", cp->set.log_file ? cp->set.log_file : "");
}

/* Handled here alone: every thread inherits the mask. */
static void block_signals(sigset_t *set)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};

    sigaction(SIGPIPE, &ignore, NULL);
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, set, NULL);
}

int main(int argc, char **argv)
{
    static struct control_plane cp; /* static: settings live as long as the process */
    sigset_t signals;
    struct err e = {0};
    int rc, sig = 0;

    block_signals(&signals);
    rc = cp_settings_load(argc, argv, &cp.set, &e);
    if (rc > 0)
        return 0;
    if (rc == 0 && cp.set.log_file && !*cp.set.log_file)
        cp.set.log_file = NULL;
    if (rc == 0)
        rc = log_open(cp.set.log_file, &e);
    if (rc == 0) {
        log_threshold = cp.set.log_level;
        if (cp.set.router_flavor == FLAVOR_EXPRESSIONS)
            schema_use_expressions();
        rc = start(&cp, &e);
    }
    if (rc != 0) {
        fprintf(stderr, "weir-cp: %s\n", err_text(&e));
        stop(&cp);
        return 1;
    }
    say_ready(&cp);
    while (sigwait(&signals, &sig) == 0 && sig == SIGHUP)
        reload(&cp);
    LOG(LOG_NOTICE, "stopping", "signal=%d", sig);
    tell_manager("STOPPING=1");
    stop(&cp);
    return 0;
}
