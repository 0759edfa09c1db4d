/*
 * main.c - weir-dp: reads its settings, puts the parts together, and waits for signals.
 *
 *   main thread      signals, start and end
 *   config thread    compiles configurations                 (config/configurator.c)
 *   sync thread      talks to the control plane              (sync/)
 *   resolver threads names                                   (upstream/resolve.c)
 *   status thread    /status, /metrics                       (observe/status.c)
 *   worker threads   everything that a request sees          (worker.c)
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/declarative.h"
#include "common/log.h"
#include "common/notify.h"
#include "dataplane/config/configurator.h"
#include "dataplane/listener.h"
#include "dataplane/observe/metrics.h"
#include "dataplane/observe/status.h"
#include "dataplane/plugins/registry.h"
#include "dataplane/sync/sync.h"
#include "dataplane/tls/options.h"
#include "dataplane/tls/own_tickets.h"
#include "dataplane/tls/tls.h"
#include "dataplane/upstream/upstream.h"
#include "proto/records_of.h"

/*
 * What a load of configuration needs for a while (the text, records, lists) goes back to the
 * system at once and grows without being copied; left alone, malloc raises the bound by itself.
 */
#define LARGE_BYTES (1 << 20)
#define LOOK_S  3600
#define POLL_NS 50000000 /* how often the end of the workers is looked for while draining */

struct program {
    struct dp_settings set;
    struct uuid node_id;
    char hostname[256];
    struct configurator *configurator;
    struct resolver *resolver;
    struct sync *sync;
    struct status *status;
    SSL_CTX *tls; /* default of ssl listeners; NULL: there are none */
    struct own_tickets tickets;
    struct worker *workers;
    unsigned n_made, n_started;
    uint64_t declarative_version;
    pthread_mutex_t report_lock; /* sync comes after the first configuration */
    bool reporting;
    _Atomic bool draining;
};

static int complain(const struct err *e)
{
    fprintf(stderr, "weir-dp: %s\n", err_text(e));
    return -1;
}

/* ---- identity ---- */

static int read_id(const char *path, struct uuid *out, struct err *e)
{
    char text[UUID_TEXT_LEN + 1] = "";
    FILE *f = fopen(path, "re");
    size_t n;

    if (!f)
        return errno == ENOENT ? 1 : err_sys(e, "node id file '%s'", path);
    n = fread(text, 1, UUID_TEXT_LEN, f);
    fclose(f);
    if (!uuid_parse(str_n(text, n), out))
        return err_set(e, ERR_INVALID, "node id file '%s' holds no UUID; remove it for a new id", path);
    return 0;
}

/* Whole or not at all: a cut file would stop the next start. */
static int write_id(const char *path, const struct uuid *id, struct err *e)
{
    char text[UUID_TEXT_LEN + 2], *next;
    int fd, rc = -1;

    uuid_format(id, text);
    text[UUID_TEXT_LEN] = '\n';
    if (asprintf(&next, "%s.new", path) < 0)
        return err_set(e, ERR_INTERNAL, "no memory");
    fd = open(next, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    if (fd >= 0 && write(fd, text, UUID_TEXT_LEN + 1) == UUID_TEXT_LEN + 1 && fsync(fd) == 0 &&
        rename(next, path) == 0)
        rc = 0;
    else
        err_sys(e, "node id file '%s'", path);
    if (fd >= 0)
        close(fd);
    free(next);
    return rc;
}

static int find_id(struct program *p, struct err *e)
{
    char *path;
    int rc;

    if (*p->set.node_id) {
        if (!uuid_parse(str_of(p->set.node_id), &p->node_id))
            return err_set(e, ERR_INVALID, "node_id '%s': expected a UUID", p->set.node_id);
        return 0;
    }
    if (mkdir(p->set.data_dir, 0750) != 0 && errno != EEXIST) {
        if (*p->set.control_plane)
            return err_sys(e, "data_dir '%s'", p->set.data_dir);
        p->node_id = uuid_v4(); /* without a control plane nobody has to know it again */
        return 0;
    }
    if (asprintf(&path, "%s/node_id", p->set.data_dir) < 0)
        return err_set(e, ERR_INTERNAL, "no memory");
    rc = read_id(path, &p->node_id, e);
    if (rc > 0) {
        p->node_id = uuid_v4();
        rc = write_id(path, &p->node_id, e);
        if (rc != 0 && !*p->set.control_plane) {
            LOG(LOG_WARN, "node_id_not_kept", "%s", err_text(e));
            rc = 0;
        }
    }
    free(path);
    return rc;
}

/* ---- configuration ---- */

static void on_active(void *arg, uint64_t version, uint64_t compile_us, uint64_t spread_us)
{
    struct program *p = arg;

    metric_observe(M_CONFIG_COMPILE, (double)compile_us);
    metric_observe(M_CONFIG_SPREAD, (double)spread_us);
    pthread_mutex_lock(&p->report_lock);
    if (p->reporting)
        sync_report_active(p->sync, version, (uint32_t)compile_us);
    pthread_mutex_unlock(&p->report_lock);
}

static int apply_declarative(struct program *p, struct err *e)
{
    struct decl_errors errors = {0};
    struct sbuf records = {0};
    int rc = -1;

    if (records_of_file(p->set.declarative, &records, &errors) != 0) {
        for (size_t i = 0; i < errors.n; i++)
            fprintf(stderr, "%s\n", errors.v[i].text);
        decl_errors_free(&errors);
        return err_set(e, ERR_INVALID, "declarative file '%s' is refused", p->set.declarative);
    }
    own_tickets_all(&p->tickets, &records);
    malloc_trim(0); /* the file's tree is gone; the configuration comes from another thread's heap */
    if (configurator_load(p->configurator, &records, p->declarative_version + 1, e) == 0) {
        p->declarative_version++;
        rc = 0;
    } else {
        err_in(e, p->set.declarative);
    }
    sbuf_free(&records);
    return rc;
}

static int64_t wall_s(void)
{
    return (int64_t)(clock_wall_us() / 1000000);
}

static bool has_own_tickets(const struct program *p)
{
    return *p->set.declarative && p->tls && p->set.ssl_session_tickets;
}

/* Without a control plane the keys of tickets are ours, and their change is one of the configuration. */
static void rotate_tickets(struct program *p)
{
    struct sbuf records = {0};
    struct err e;

    if (own_tickets_rotate(&p->tickets, wall_s(), &records)) {
        if (configurator_apply(p->configurator, false, sbuf_str(&records), p->declarative_version + 1, &e) == 0)
            p->declarative_version++;
        else
            LOG(LOG_ERROR, "ticket_keys_not_rotated", "%s", err_text(&e));
    }
    if (records.p)
        explicit_bzero(records.p, records.len);
    sbuf_free(&records);
}

static int sink_apply(void *arg, bool full, struct str records, uint64_t version, struct err *e)
{
    struct program *p = arg;

    return configurator_apply(p->configurator, full, records, version, e);
}

static int begin_sync(struct program *p, struct err *e)
{
    const struct sync_sink sink = {.arg = p, .apply = sink_apply};
    struct configurator_state state;

    gethostname(p->hostname, sizeof(p->hostname) - 1);
    if (sync_start(&(struct sync_options){.control_planes = p->set.control_plane,
                                          .ca_file = p->set.cluster_ca,
                                          .cert_file = p->set.cluster_cert,
                                          .key_file = p->set.cluster_cert_key,
                                          .node_id = p->node_id,
                                          .labels = p->set.labels,
                                          .n_labels = p->set.n_labels,
                                          .hostname = p->hostname,
                                          .data_dir = p->set.data_dir,
                                          .heartbeat_ms =
                                              (unsigned)(p->set.cluster_heartbeat_us / 1000)},
                   &sink, &p->sync, e) != 0)
        return -1;
    /* what became active meanwhile could not be reported yet */
    pthread_mutex_lock(&p->report_lock);
    state = configurator_state(p->configurator);
    if (state.active)
        sync_report_active(p->sync, state.active, 0);
    p->reporting = true;
    pthread_mutex_unlock(&p->report_lock);
    return 0;
}

/* ---- status ---- */

static const char *not_ready(void *arg)
{
    struct program *p = arg;

    if (atomic_load(&p->draining))
        return "draining";
    return configurator_state(p->configurator).active ? NULL : "no configuration available";
}

static json_t *report(void *arg)
{
    struct program *p = arg;
    struct configurator_state c = configurator_state(p->configurator);
    struct sync_state s;
    json_t *out, *config;
    char id[UUID_TEXT_LEN + 1], hash[65];

    uuid_format(&p->node_id, id);
    config = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "version", (json_int_t)c.active,
                       "published", (json_int_t)c.published, "routes", (json_int_t)c.stats.routes, "services",
                       (json_int_t)c.stats.services, "consumers", (json_int_t)c.stats.consumers, "credentials",
                       (json_int_t)c.stats.credentials, "plugins", (json_int_t)c.stats.plugins, "upstreams",
                       (json_int_t)c.stats.upstreams, "targets", (json_int_t)c.stats.targets, "certificates",
                       (json_int_t)c.stats.certificates);
    out = json_pack("{s:s, s:s, s:i, s:o}", "node_id", id, "weir", WEIR_VERSION, "workers",
                    (int)p->set.n_workers, "configuration", config);
    if (out && p->sync) {
        sync_state(p->sync, &s);
        state_hash_hex(&s.hash, hash);
        json_object_set_new(out, "configuration_hash", json_stringn(hash, 32));
        json_object_set_new(out, "control_plane",
                            json_pack("{s:b, s:b, s:s, s:I, s:I, s:I, s:s}", "connected", s.connected,
                                      "from_cache", s.from_cache, "url", s.control_plane, "head_version",
                                      (json_int_t)s.head_version, "reconnects", (json_int_t)s.reconnects,
                                      "failed_attempts", (json_int_t)s.failed_attempts, "last_error",
                                      s.last_error));
        json_object_set_new(config, "saved_version", json_integer((json_int_t)s.saved_version));
    }
    return out;
}

static void read_metrics(struct metrics_scrape *scrape, void *arg)
{
    struct program *p = arg;
    struct sync_state s;

    metric_reading(scrape, M_CONFIG_VERSION, NULL, (double)configurator_state(p->configurator).active);
    if (p->sync) {
        sync_state(p->sync, &s);
        metric_reading(scrape, M_CONTROL_PLANE_CONNECTED, NULL, s.connected);
    }
}

static int begin_status(struct program *p, struct err *e)
{
    char id[UUID_TEXT_LEN + 1];

    uuid_format(&p->node_id, id);
    metrics_collector(read_metrics, p);
    return status_start(&(struct status_options){.listen = p->set.status,
                                                 .n_listen = p->set.n_status,
                                                 .node_id = str_of(id),
                                                 .not_ready = not_ready,
                                                 .report = report,
                                                 .arg = p},
                        &p->status, e);
}

/* ---- readiness ---- */

static void tell_manager(const char *state)
{
    struct err e;

    if (notify_manager(state, &e) != 0)
        LOG(LOG_WARN, "notify_failed", "cause=\"%s\"", err_text(&e));
}

static void add_listeners(struct sbuf *line, const struct listener *l, size_t n)
{
    for (size_t i = 0; i < n; i++, l++) {
        const struct listen_addr *a = l->addr;
        bool v6 = strchr(a->host, ':') != NULL;
        sbuf_addf(line, " %s%s%s:%u%s", v6 ? "[" : "", a->host, v6 ? "]" : "", l->port, a->ssl ? " ssl" : "");
    }
}

static void say_ready(const struct program *p)
{
    const struct listener *l = p->workers[0].listeners;
    struct sbuf line = {0};

    sbuf_adds(&line, "weir-dp ready: proxy");
    add_listeners(&line, l, p->set.n_proxy);
    if (p->set.n_proxy == 0)
        sbuf_adds(&line, " off");
    if (p->set.n_stream)
        sbuf_adds(&line, ", stream");
    add_listeners(&line, l + p->set.n_proxy, p->set.n_stream);
    for (size_t i = 0; p->status && i < p->set.n_status; i++)
        sbuf_addf(&line, "%s %s:%u", i ? "" : ", status", p->set.status[i].host, status_port(p->status, i));
    sbuf_addf(&line, ", version %llu",
              (unsigned long long)configurator_state(p->configurator).published);
    puts(line.p);
    fflush(stdout);
    sbuf_free(&line);
    tell_manager("READY=1");
}

/* ---- start and end ---- */

/* Descriptors are what a proxy runs out of first. */
static void raise_limits(void)
{
    struct rlimit r;

    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
        r.rlim_cur = r.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &r) != 0)
            LOG(LOG_WARN, "setrlimit", "errno=%d", errno);
    }
}

static bool any_ssl(const struct dp_settings *s)
{
    for (size_t i = 0; i < s->n_proxy + s->n_stream; i++)
        if (i < s->n_proxy ? s->proxy[i].ssl : s->stream[i - s->n_proxy].ssl)
            return true;
    return false;
}

static int make_workers(struct program *p, struct err *e)
{
    struct live *live = configurator_live(p->configurator);

    p->workers = xcalloc(p->set.n_workers, sizeof(*p->workers));
    for (unsigned i = 0; i < p->set.n_workers; i++) {
        struct worker *w = &p->workers[i];
        p->n_made++;
        if (worker_init(w, i, &p->set, live_worker(live, i), p->resolver, e) != 0 ||
            listeners_open(w, i ? &p->workers[0] : NULL, p->tls, e) != 0)
            return -1;
    }
    return 0;
}

static int start(struct program *p, struct err *e)
{
    const struct configurator_hooks hooks = {
        .on_active = on_active, .arg = p, .flavor = (enum router_flavor)p->set.router_flavor};

    if (tls_options_init(&p->set, e) != 0 || find_id(p, e) != 0 || plugins_init(p->set.n_workers, &p->node_id, e) != 0)
        return -1;
    if (configurator_start(p->set.n_workers, &hooks, &p->configurator, e) != 0 ||
        resolver_start(&p->resolver, e) != 0)
        return -1;
    if (any_ssl(&p->set) && !(p->tls = tls_default_ctx(p->set.ssl_cert, p->set.ssl_cert_key, e)))
        return -1;
    if (has_own_tickets(p)) {
        struct sbuf unused = {0};

        p->tickets.rotation_s = (int64_t)(p->set.ssl_ticket_rotation_us / 1000000);
        (void)own_tickets_rotate(&p->tickets, wall_s(), &unused); /* sent with the first configuration */
        sbuf_free(&unused);
    }
    if (make_workers(p, e) != 0)
        return -1;
    if (*p->set.declarative && apply_declarative(p, e) != 0)
        return -1;
    for (; p->n_started < p->n_made; p->n_started++)
        if (worker_start(&p->workers[p->n_started], e) != 0)
            return -1;
    if (*p->set.control_plane && begin_sync(p, e) != 0)
        return -1;
    return begin_status(p, e);
}

static void tell_all(struct program *p, enum worker_order order)
{
    for (unsigned i = 0; i < p->n_started; i++)
        worker_tell(&p->workers[i], order);
}

/* A broken file leaves the old certificate in place. One that we made ourselves stays. */
static void reload_certificate(struct program *p)
{
    struct err e;
    SSL_CTX *ctx;

    if (!p->tls || !*p->set.ssl_cert)
        return;
    ctx = tls_default_ctx(p->set.ssl_cert, p->set.ssl_cert_key, &e);
    if (!ctx) {
        LOG(LOG_ERROR, "ssl_cert_refused", "%s", err_text(&e));
        return;
    }
    SSL_CTX_free(p->tls);
    p->tls = ctx;
    for (unsigned i = 0; i < p->n_started; i++)
        worker_give_tls(&p->workers[i], ctx);
    LOG(LOG_NOTICE, "ssl_cert_applied", "files=\"%s\"", p->set.ssl_cert);
}

static void reload(struct program *p)
{
    struct err e;

    if (log_open(*p->set.log_file ? p->set.log_file : NULL, &e) != 0)
        LOG(LOG_ERROR, "log_reopen", "%s", err_text(&e));
    if (p->sync && *p->set.cluster_cert && sync_reload_certificates(p->sync, &e) != 0)
        LOG(LOG_ERROR, "cluster_certificates", "%s", err_text(&e));
    reload_certificate(p);
    if (!*p->set.declarative)
        return;
    if (apply_declarative(p, &e) != 0)
        LOG(LOG_ERROR, "declarative_refused", "%s", err_text(&e));
    else
        LOG(LOG_NOTICE, "declarative_applied", "version=%llu", (unsigned long long)p->declarative_version);
}

/* TERM lets requests end, for drain_timeout at most; a second one does not. */
static void drain(struct program *p, const sigset_t *signals)
{
    const struct timespec poll = {.tv_nsec = POLL_NS};
    unsigned joined = 0;

    LOG(LOG_NOTICE, "draining", "timeout_ms=%llu", (unsigned long long)(p->set.drain_timeout_us / 1000));
    atomic_store(&p->draining, true);
    tell_manager("STOPPING=1");
    tell_all(p, ORDER_DRAIN);
    while (joined < p->n_started) {
        int sig;

        if (pthread_tryjoin_np(p->workers[joined].thread, NULL) == 0) {
            joined++;
            continue;
        }
        sig = sigtimedwait(signals, NULL, &poll);
        if (sig == SIGTERM || sig == SIGINT)
            tell_all(p, ORDER_STOP);
    }
    p->n_started = 0;
}

/* The next signal; -1: something may be due. */
static int wait_signal(const struct program *p, const sigset_t *signals)
{
    struct timespec wait = {0};

    if (!has_own_tickets(p))
        return sigwaitinfo(signals, NULL);
    wait.tv_sec = (time_t)own_tickets_wait_s(&p->tickets, wall_s());
    if (wait.tv_sec > LOOK_S) /* the wall clock may be set */
        wait.tv_sec = LOOK_S;
    return sigtimedwait(signals, NULL, &wait);
}

static void serve(struct program *p, const sigset_t *signals)
{
    for (;;) {
        int sig = wait_signal(p, signals);

        if (has_own_tickets(p))
            rotate_tickets(p);
        if (sig == SIGHUP)
            reload(p);
        else if (sig == SIGTERM || sig == SIGINT)
            break;
    }
    drain(p, signals);
}

/* In the order in which they need each other; any part may be missing after a failed start. */
static void stop(struct program *p)
{
    status_stop(&p->status);
    pthread_mutex_lock(&p->report_lock);
    p->reporting = false;
    pthread_mutex_unlock(&p->report_lock);
    if (p->sync)
        sync_stop(&p->sync);
    tell_all(p, ORDER_STOP);
    for (unsigned i = 0; i < p->n_started; i++)
        worker_join(&p->workers[i]);
    resolver_stop(&p->resolver);
    for (unsigned i = 0; i < p->n_made; i++)
        worker_fini(&p->workers[i]);
    free(p->workers);
    if (p->configurator)
        configurator_stop(&p->configurator);
    plugins_fini();
    SSL_CTX_free(p->tls);
    own_tickets_fini(&p->tickets);
    tls_options_fini();
    dp_settings_fini(&p->set);
}

static void block_signals(sigset_t *out)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};

    sigaction(SIGPIPE, &ignore, NULL);
    sigemptyset(out);
    sigaddset(out, SIGTERM);
    sigaddset(out, SIGINT);
    sigaddset(out, SIGHUP);
    pthread_sigmask(SIG_BLOCK, out, NULL); /* threads inherit it: only main waits for them */
}

int main(int argc, char **argv)
{
    static struct program p;
    sigset_t signals;
    struct err e;
    int rc;

    mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
    pthread_mutex_init(&p.report_lock, NULL);
    rc = dp_settings_load(&argc, argv, &p.set, &e);
    if (rc > 0)
        return 0;
    if (rc < 0) {
        complain(&e);
        return 1;
    }
    atomic_store(&log_threshold, p.set.log_level_index);
    if (*p.set.log_file && log_open(p.set.log_file, &e) != 0) {
        complain(&e);
        return 1;
    }
    if (p.set.router_flavor == FLAVOR_EXPRESSIONS)
        schema_use_expressions();
    block_signals(&signals);
    raise_limits();
    rc = start(&p, &e);
    if (rc == 0) {
        say_ready(&p);
        serve(&p, &signals);
    } else {
        complain(&e);
    }
    stop(&p);
    return rc == 0 ? 0 : 1;
}
