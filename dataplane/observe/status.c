/* status.c - see status.h. */
#include "dataplane/observe/status.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/log.h"
#include "dataplane/observe/metrics.h"

#define IDLE_S    10
#define HEAD_MAX  8192
#define BODY_MAX  1024 /* of requests, which need none */
#define ACCEPT_AGAIN_US 200000 /* after running out of descriptors */
#define JSON_TYPE "application/json; charset=utf-8"

struct status {
    struct event_base *base;
    struct evhttp *http;
    struct event *stop;
    int stop_fd;
    pthread_t thread;
    struct status_options opt; /* callbacks; not listen */
    char *node_id;
    uint16_t *ports;
    size_t n_ports;
};

/* ---- answers ---- */

static void reply(struct evhttp_request *req, int status, const char *type, struct str body)
{
    struct evbuffer *out = evbuffer_new();

    WEIR_ASSERT(out);
    evbuffer_add(out, body.p, body.len);
    evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Type", type);
    evhttp_send_reply(req, status, NULL, out);
    evbuffer_free(out);
}

static void reply_json(struct evhttp_request *req, int status, json_t *json)
{
    char *text = json_dumps(json, JSON_COMPACT);

    WEIR_ASSERT(text);
    reply(req, status, JSON_TYPE, str_of(text));
    free(text);
    json_decref(json);
}

static void get_status(struct status *s, struct evhttp_request *req)
{
    json_int_t open = metric_read(M_CONNECTIONS), busy = metric_read(M_EXCHANGES);
    json_int_t accepted = metric_read(M_CONNECTIONS_TOTAL);
    json_t *more = s->opt.report ? s->opt.report(s->opt.arg) : NULL;
    json_t *out = json_pack("{s:{s:I,s:I,s:I,s:I,s:I,s:I,s:I}}", "server", "connections_accepted",
                            accepted, "connections_handled", accepted, "connections_active", open,
                            "connections_reading", (json_int_t)0, "connections_writing", busy,
                            "connections_waiting", open > busy ? open - busy : 0, "total_requests",
                            (json_int_t)metric_read(M_EXCHANGES_TOTAL));

    if (more) {
        json_object_update(out, more);
        json_decref(more);
    }
    reply_json(req, 200, out);
}

static void get_ready(struct status *s, struct evhttp_request *req)
{
    const char *why = s->opt.not_ready ? s->opt.not_ready(s->opt.arg) : NULL;

    reply_json(req, why ? 503 : 200, json_pack("{s:s}", "message", why ? why : "ready"));
}

static void get_metrics(struct status *s, struct evhttp_request *req)
{
    struct sbuf page = {0};

    (void)s;
    metrics_page(&page);
    reply(req, 200, "text/plain; version=0.0.4; charset=UTF-8", sbuf_str(&page));
    sbuf_free(&page);
}

static const struct {
    const char *path;
    void (*get)(struct status *, struct evhttp_request *);
} pages[] = {
    {"/status", get_status},
    {"/status/ready", get_ready},
    {"/metrics", get_metrics},
};

static void on_request(struct evhttp_request *req, void *arg)
{
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(req);
    const char *path = uri ? evhttp_uri_get_path(uri) : NULL;

    if (!(evhttp_request_get_command(req) & (EVHTTP_REQ_GET | EVHTTP_REQ_HEAD))) {
        evhttp_add_header(evhttp_request_get_output_headers(req), "Allow", "GET, HEAD");
        reply_json(req, 405, json_pack("{s:s}", "message", "Method not allowed"));
        return;
    }
    for (size_t i = 0; path && i < ARRAY_LEN(pages); i++) {
        if (strcmp(path, pages[i].path) == 0) {
            pages[i].get(arg, req);
            return;
        }
    }
    reply_json(req, 404, json_pack("{s:s}", "message", "Not found"));
}

/* ---- what the node itself says in the reference's names ---- */

static void read_node(struct metrics_scrape *m, void *arg)
{
    struct status *s = arg;
    struct str id = str_of(s->node_id);
    double open = (double)metric_read(M_CONNECTIONS), busy = (double)metric_read(M_EXCHANGES);
    double accepted = (double)metric_read(M_CONNECTIONS_TOTAL);
    double requests = (double)metric_read(M_EXCHANGES_TOTAL);
    const struct {
        struct str state;
        double value;
    } connections[] = {{STR("accepted"), accepted}, {STR("active"), open},
                       {STR("handled"), accepted},  {STR("reading"), 0},
                       {STR("total"), requests},    {STR("waiting"), open > busy ? open - busy : 0},
                       {STR("writing"), busy}};

    for (size_t i = 0; i < ARRAY_LEN(connections); i++)
        metric_reading(m, M_KONG_CONNECTIONS, (struct str[]){id, STR("http"), connections[i].state},
                       connections[i].value);
    metric_reading(m, M_KONG_REQUESTS, (struct str[]){id, STR("http")}, requests);
    /* a data plane's store is the configuration that it holds */
    metric_reading(m, M_KONG_DATASTORE, NULL, !s->opt.not_ready || !s->opt.not_ready(s->opt.arg));
    metric_reading(m, M_KONG_NODE_INFO, (struct str[]){id, STR(WEIR_VERSION)}, 1);
}

/* ---- start and stop ---- */

static void on_stop(evutil_socket_t fd, short what, void *arg)
{
    struct status *s = arg;

    (void)fd;
    (void)what;
    event_base_loopbreak(s->base);
}

static void *run(void *arg)
{
    struct status *s = arg;
    sigset_t all;

    sigfillset(&all); /* signals are the main thread's */
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    event_base_dispatch(s->base);
    return NULL;
}

static void accept_again(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    evconnlistener_enable(arg);
}

/* Out of descriptors: asking again at once would spin, and fill the log. */
static void on_accept_error(struct evconnlistener *listener, void *arg)
{
    const struct timeval pause = {.tv_usec = ACCEPT_AGAIN_US};

    (void)arg;
    LOG_LIMITED(LOG_ERROR, "status_accept", "errno=%d", errno);
    evconnlistener_disable(listener);
    if (event_base_once(evconnlistener_get_base(listener), -1, EV_TIMEOUT, accept_again, listener, &pause) != 0)
        evconnlistener_enable(listener);
}

static int listen_on(struct status *s, const struct listen_addr *a, struct err *e)
{
    struct sockaddr_storage name = {0};
    socklen_t len = sizeof(name);
    struct evhttp_bound_socket *bound;

    if (a->ssl)
        return err_set(e, ERR_INVALID, "expected a status address without ssl: %s:%u", a->host,
                       a->port);
    errno = 0;
    bound = evhttp_bind_socket_with_handle(s->http, a->host, a->port);
    if (!bound)
        return err_set(e, ERR_IO, "cannot listen on %s:%u: %s", a->host, a->port,
                       errno ? strerror(errno) : "no such address");
    evconnlistener_set_error_cb(evhttp_bound_socket_get_listener(bound), on_accept_error);
    if (getsockname(evhttp_bound_socket_get_fd(bound), (struct sockaddr *)&name, &len) != 0)
        return err_sys(e, "cannot read the address of %s:%u", a->host, a->port);
    s->ports[s->n_ports++] =
        ntohs(name.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&name)->sin6_port
                                         : ((struct sockaddr_in *)&name)->sin_port);
    return 0;
}

static void free_status(struct status *s)
{
    if (s->http)
        evhttp_free(s->http);
    if (s->stop)
        event_free(s->stop);
    if (s->base)
        event_base_free(s->base);
    if (s->stop_fd >= 0)
        close(s->stop_fd);
    free(s->node_id);
    free(s->ports);
    free(s);
}

static void set_limits(struct evhttp *http)
{
    evhttp_set_timeout(http, IDLE_S);
    evhttp_set_max_headers_size(http, HEAD_MAX);
    evhttp_set_max_body_size(http, BODY_MAX);
    evhttp_set_allowed_methods(http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST |
                                         EVHTTP_REQ_PUT | EVHTTP_REQ_PATCH | EVHTTP_REQ_DELETE |
                                         EVHTTP_REQ_OPTIONS);
}

int status_start(const struct status_options *o, struct status **out, struct err *e)
{
    struct status *s;
    int rc;

    *out = NULL;
    if (o->n_listen == 0)
        return 0;
    s = xcalloc(1, sizeof(*s));
    s->opt = *o;
    s->opt.listen = NULL;
    s->node_id = str_dup(o->node_id.p ? o->node_id : STR(""));
    s->ports = xcalloc(o->n_listen, sizeof(*s->ports));
    s->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    s->base = event_base_new();
    s->http = s->base ? evhttp_new(s->base) : NULL;
    if (s->stop_fd >= 0 && s->base)
        s->stop = event_new(s->base, s->stop_fd, EV_READ, on_stop, s);
    if (!s->http || !s->stop || event_add(s->stop, NULL) != 0) {
        err_sys(e, "cannot start the status listener");
        goto fail;
    }
    set_limits(s->http);
    evhttp_set_gencb(s->http, on_request, s);
    for (size_t i = 0; i < o->n_listen; i++)
        if (listen_on(s, &o->listen[i], e) != 0)
            goto fail;
    metrics_collector(read_node, s);
    rc = pthread_create(&s->thread, NULL, run, s);
    if (rc != 0) {
        metrics_collector_remove(read_node);
        errno = rc;
        err_sys(e, "cannot start the status thread");
        goto fail;
    }
    *out = s;
    return 0;
fail:
    free_status(s);
    return -1;
}

uint16_t status_port(const struct status *s, size_t i)
{
    return i < s->n_ports ? s->ports[i] : 0;
}

void status_stop(struct status **s)
{
    uint64_t one = 1;

    if (!*s)
        return;
    WEIR_ASSERT(write((*s)->stop_fd, &one, sizeof(one)) == sizeof(one));
    pthread_join((*s)->thread, NULL);
    metrics_collector_remove(read_node);
    free_status(*s);
    *s = NULL;
}
