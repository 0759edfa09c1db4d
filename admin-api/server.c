#include "admin-api/server.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"

#define HEAD_BYTES_MAX (64u * 1024u) /* a connection's memory: its head must fit */
#define LISTENERS_MAX  8
#define BODY_SLACK     2 /* bodies up to this many times the limit are read before the 413 */

struct server {
    struct server_options opt;
    struct MHD_Daemon *daemon[LISTENERS_MAX];
    size_t n_daemons;
    _Atomic bool stopping;
    _Atomic uint64_t accepted, requests, refused;
    _Atomic size_t active;
    pthread_mutex_t lock;
    pthread_cond_t quiet;
    size_t busy;      /* under lock: requests that have begun and not ended */
    size_t suspended; /* under lock: those of them that the store's writer holds */
};

enum step { STEP_HEAD, STEP_BODY, STEP_WAIT, STEP_ANSWERED };

/*
 * The handler's thread suspends the connection, the writer's resumes it, in either order:
 * whoever comes second at this flag does the resuming.
 */
enum handover { HAND_NONE, HAND_SUSPENDED, HAND_WRITTEN };

/*
 * One connection. The library tells the target as it was sent before it has read the rest of
 * the head, and may drop the request then without another word: so the target is kept here.
 */
struct client {
    char *target;
};

struct exchange {
    struct call call;
    struct server *server;
    struct MHD_Connection *conn;
    char *target; /* as sent */
    enum step step;
    _Atomic int handover;
    size_t body_seen;
};

/* ---- framing: what the library lets pass ---- */

struct head_check {
    unsigned lengths, encodings, hosts;
    bool bad;
    struct str encoding;
};

static bool is_token(struct str s)
{
    static const char extra[] = "!#$%&'*+-.^_`|~";

    for (size_t i = 0; i < s.len; i++) {
        char c = ascii_lower(s.p[i]);

        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && (!c || !strchr(extra, c)))
            return false;
    }
    return s.len > 0;
}

static bool is_field_value(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

static enum MHD_Result check_field(void *arg, enum MHD_ValueKind kind, const char *key,
                                   size_t key_len, const char *value, size_t value_len)
{
    struct head_check *h = arg;
    struct str name = str_n(key, key_len);

    (void)kind;
    if (!is_token(name) || !is_field_value(str_n(value, value ? value_len : 0)))
        h->bad = true;
    else if (str_ieq(name, STR("content-length")))
        h->lengths++;
    else if (str_ieq(name, STR("host")))
        h->hosts++;
    else if (str_ieq(name, STR("transfer-encoding"))) {
        h->encodings++;
        h->encoding = str_n(value, value_len);
    }
    return MHD_YES;
}

/* RFC 9112 section 6.3: one length, or chunked, never both; section 3.2: one Host. */
static const char *framing_fault(struct MHD_Connection *conn, const char *version,
                                 struct str target)
{
    struct head_check h = {0};

    MHD_get_connection_values_n(conn, MHD_HEADER_KIND, check_field, &h);
    if (!str_starts(target, STR("/")))
        return "malformed request target";
    for (size_t i = 0; i < target.len; i++)
        if ((unsigned char)target.p[i] <= ' ' || target.p[i] == 0x7f)
            return "malformed request target";
    if (h.bad)
        return "malformed header field";
    if (h.hosts != 1 && (h.hosts || strcmp(version, "HTTP/1.0") != 0))
        return "expected one Host";
    if (h.lengths > 1 || h.encodings > 1 || (h.lengths && h.encodings))
        return "more than one body length";
    if (h.encodings && (strcmp(version, "HTTP/1.1") != 0 || !str_ieq(h.encoding, STR("chunked"))))
        return "unknown transfer encoding";
    return NULL;
}

/* ---- one exchange ---- */

static struct str header(struct MHD_Connection *conn, const char *name)
{
    const char *value = NULL;
    size_t len = 0;

    if (MHD_lookup_connection_value_n(conn, MHD_HEADER_KIND, name, strlen(name), &value, &len) !=
        MHD_YES)
        return STR_NONE;
    return str_n(value ? value : "", value ? len : 0);
}

static struct str keep_header(struct exchange *x, const char *name)
{
    struct str value = header(x->conn, name);

    return value.p ? arena_str(&x->call.arena, value) : STR_NONE;
}

static void add_common_headers(const struct call *c, struct MHD_Response *r)
{
    char ms[24];

    snprintf(ms, sizeof(ms), "%llu", (unsigned long long)((clock_mono_us() - c->began_us) / 1000));
    MHD_add_response_header(r, "Server", "weir/" WEIR_VERSION);
    MHD_add_response_header(r, "X-Kong-Admin-Latency", ms);
    MHD_add_response_header(r, "Access-Control-Allow-Origin", c->origin.len ? c->origin.p : "*");
    MHD_add_response_header(r, "Access-Control-Allow-Credentials", "true");
    if (c->res.type)
        MHD_add_response_header(r, "Content-Type", c->res.type);
    for (size_t i = 0; i < c->res.n_headers; i++)
        MHD_add_response_header(r, c->res.header[i].name, c->res.header[i].value);
    if (c->res.close)
        MHD_add_response_header(r, "Connection", "close");
}

static enum MHD_Result answer(struct exchange *x)
{
    struct call *c = &x->call;
    struct MHD_Response *r;
    enum MHD_Result queued;

    WEIR_ASSERT(c->res.status != 0);
    if (x->server->stopping)
        c->res.close = true;
    r = MHD_create_response_from_buffer(c->res.len, c->res.text, MHD_RESPMEM_MUST_FREE);
    if (!r)
        return MHD_NO;
    c->res.text = NULL; /* the response's now */
    add_common_headers(c, r);
    queued = MHD_queue_response(x->conn, (unsigned)c->res.status, r);
    MHD_destroy_response(r);
    x->step = STEP_ANSWERED;
    LOG(LOG_INFO, "request", "listener=%s path=\"" STR_FMT "\" status=%d us=%llu",
        x->server->opt.what, STR_ARG(c->path), c->res.status,
        (unsigned long long)(clock_mono_us() - c->began_us));
    return queued;
}

static enum MHD_Result refuse(struct exchange *x, int status, const char *why)
{
    x->server->refused++;
    LOG_LIMITED(LOG_NOTICE, "request_refused", "listener=%s cause=\"%s\"", x->server->opt.what,
                why);
    reply_message(&x->call, status, "%s", why);
    x->call.res.close = true;
    return answer(x);
}

static void count_suspended(struct server *s, bool begins)
{
    pthread_mutex_lock(&s->lock);
    s->suspended += begins ? 1 : (size_t)-1;
    if (s->suspended == 0)
        pthread_cond_broadcast(&s->quiet);
    pthread_mutex_unlock(&s->lock);
}

/* Runs on whatever thread finished the write. */
static void on_written(struct call *c)
{
    struct exchange *x = CONTAINER_OF(c, struct exchange, call);

    if (atomic_exchange(&x->handover, HAND_WRITTEN) == HAND_SUSPENDED)
        MHD_resume_connection(x->conn);
}

/* "http://host/path" is "/path" (RFC 9112 section 3.2.2). */
static struct str origin_form(const char *target)
{
    struct str t = str_of(target), scheme = STR("http://");
    size_t slash;

    if (!str_starts(t, scheme))
        return t;
    t = str_n(t.p + scheme.len, t.len - scheme.len);
    slash = str_find(t, '/');
    return slash < t.len ? str_n(t.p + slash, t.len - slash) : STR("/");
}

static enum MHD_Result on_head(struct exchange *x, const char *method, const char *version)
{
    struct call *c = &x->call;
    struct str target = origin_form(x->target), length;
    const char *fault = framing_fault(x->conn, version, target);
    uint64_t bytes;

    c->method = method_parse(str_of(method));
    c->origin = keep_header(x, "Origin");
    if (fault)
        return refuse(x, 400, fault);
    length = header(x->conn, "Content-Length");
    if (length.p && !str_to_u64(length, &bytes))
        return refuse(x, 400, "malformed Content-Length");
    /* a little too much is read and then refused: who still sends would not see an answer */
    if (length.p && bytes > BODY_SLACK * x->server->opt.max_body_bytes)
        return refuse(x, 413, "request body too large");
    c->content_type = keep_header(x, "Content-Type");
    c->cors_headers = keep_header(x, "Access-Control-Request-Headers");
    if (!call_parse_target(c, target))
        return refuse(x, 400, "malformed request target");
    x->step = STEP_BODY;
    return MHD_YES;
}

static enum MHD_Result on_body(struct exchange *x, const char *data, size_t *size)
{
    size_t max = x->server->opt.max_body_bytes;

    x->body_seen += *size;
    if (x->body_seen > BODY_SLACK * max)
        return MHD_NO; /* a chunked body cannot be answered before its end */
    if (x->body_seen <= max)
        sbuf_add(&x->call.raw_body, data, *size);
    *size = 0;
    return MHD_YES;
}

static enum MHD_Result on_request_read(struct exchange *x)
{
    int nobody = HAND_NONE;

    if (x->body_seen > x->server->opt.max_body_bytes)
        return refuse(x, 413, "request body too large");
    if (x->server->stopping)
        return refuse(x, 503, "shutting down");
    if (x->server->opt.handle(&x->call) == CALL_DONE)
        return answer(x);
    if (atomic_load(&x->handover) == HAND_WRITTEN)
        return answer(x);
    x->step = STEP_WAIT;
    count_suspended(x->server, true);
    MHD_suspend_connection(x->conn);
    if (!atomic_compare_exchange_strong(&x->handover, &nobody, HAND_SUSPENDED))
        MHD_resume_connection(x->conn); /* written in the meantime */
    return MHD_YES;
}

/* ---- the library's callbacks ---- */

static struct client *client_of(struct MHD_Connection *conn)
{
    return MHD_get_connection_info(conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

static void *on_target(void *arg, const char *target, struct MHD_Connection *conn)
{
    struct client *client = client_of(conn);

    (void)arg;
    free(client->target);
    client->target = xstrdup(target);
    return NULL;
}

/* The head is there. */
static struct exchange *exchange_new(struct server *s, struct MHD_Connection *conn)
{
    struct exchange *x = xcalloc(1, sizeof(*x));
    struct client *client = client_of(conn);

    x->server = s;
    x->conn = conn;
    x->target = client->target;
    client->target = NULL;
    x->call.admin = s->opt.admin;
    x->call.began_us = clock_mono_us();
    x->call.written = on_written;
    arena_init(&x->call.arena, 0, 0);
    s->requests++;
    pthread_mutex_lock(&s->lock);
    s->busy++;
    pthread_mutex_unlock(&s->lock);
    return x;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *conn, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **slot)
{
    struct exchange *x = *slot;

    (void)url;
    if (!x)
        *slot = x = exchange_new(arg, conn);
    switch (x->step) {
    case STEP_HEAD: return on_head(x, method, version);
    case STEP_BODY: return *size ? on_body(x, data, size) : on_request_read(x);
    case STEP_WAIT:
        if (atomic_load(&x->handover) != HAND_WRITTEN)
            return MHD_YES; /* the loop looked in before the writer was done */
        count_suspended(x->server, false);
        return answer(x);
    case STEP_ANSWERED: *size = 0; return MHD_YES;
    }
    WEIR_UNREACHABLE("step");
}

static void on_end(void *arg, struct MHD_Connection *conn, void **slot,
                   enum MHD_RequestTerminationCode why)
{
    struct server *s = arg;
    struct exchange *x = *slot;

    (void)conn, (void)why;
    if (!x)
        return;
    *slot = NULL;
    if (x->step == STEP_WAIT)
        count_suspended(s, false); /* resumed, but the client has gone */
    call_fini(&x->call);
    free(x->target);
    free(x);
    pthread_mutex_lock(&s->lock);
    if (--s->busy == 0)
        pthread_cond_broadcast(&s->quiet);
    pthread_mutex_unlock(&s->lock);
}

static void on_connection(void *arg, struct MHD_Connection *conn, void **slot,
                          enum MHD_ConnectionNotificationCode what)
{
    struct server *s = arg;
    struct client *client = *slot;

    (void)conn;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        *slot = xcalloc(1, sizeof(*client));
        s->accepted++;
        s->active++;
    } else {
        free(client->target);
        free(client);
        *slot = NULL;
        s->active--;
    }
}

static void on_log(void *arg, const char *fmt, va_list ap)
{
    char text[256];
    int n = vsnprintf(text, sizeof(text), fmt, ap);

    (void)arg;
    while (n > 0 && (size_t)n < sizeof(text) && text[n - 1] == '\n')
        text[--n] = '\0';
    LOG_LIMITED(LOG_INFO, "http", "message=\"%s\"", text);
}

/* ---- life ---- */

static int bind_addr(const struct server_options *opt, const struct listen_addr *addr,
                     struct err *e)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICHOST};
    struct addrinfo *ai = NULL;
    char port[8];
    int fd, on = 1;

    snprintf(port, sizeof(port), "%u", addr->port);
    if (getaddrinfo(addr->host, port, &hints, &ai) != 0)
        return err_set(e, ERR_INVALID, "%s_listen: %s: expected a numeric address", opt->what,
                       addr->host);
    fd = socket(ai->ai_family, ai->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        if (ai->ai_family == AF_INET6)
            setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    }
    if (fd < 0 || bind(fd, ai->ai_addr, ai->ai_addrlen) != 0 ||
        listen(fd, addr->backlog ? addr->backlog : SOMAXCONN) != 0) {
        err_sys(e, "%s_listen: cannot listen on %s:%u", opt->what, addr->host, addr->port);
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    freeaddrinfo(ai);
    return fd;
}

static int serve(struct server *s, const struct listen_addr *addr, struct err *e)
{
    const struct server_options *opt = &s->opt;
    int fd = bind_addr(opt, addr, e);
    struct MHD_Daemon *d;

    if (fd < 0)
        return -1;
    d = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL,
        on_request, s, MHD_OPTION_EXTERNAL_LOGGER, on_log, s, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_THREAD_POOL_SIZE, opt->threads, MHD_OPTION_CONNECTION_LIMIT,
        opt->max_connections, MHD_OPTION_CONNECTION_TIMEOUT, opt->idle_s,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEAD_BYTES_MAX, MHD_OPTION_URI_LOG_CALLBACK,
        on_target, s, MHD_OPTION_NOTIFY_COMPLETED, on_end, s, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, s, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
    if (!d) {
        close(fd);
        return err_set(e, ERR_IO, "%s_listen: cannot serve %s:%u", opt->what, addr->host,
                       addr->port);
    }
    s->daemon[s->n_daemons++] = d;
    return 0;
}

int server_start(const struct server_options *opt, struct server **out, struct err *e)
{
    struct server *s;
    pthread_condattr_t attr;

    if (opt->n_addrs > LISTENERS_MAX)
        return err_set(e, ERR_INVALID, "%s_listen: expected at most %d addresses", opt->what,
                       LISTENERS_MAX);
    s = xcalloc(1, sizeof(*s));
    s->opt = *opt;
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->quiet, &attr);
    pthread_condattr_destroy(&attr);
    *out = s; /* the first request may look at it already */
    for (size_t i = 0; i < opt->n_addrs; i++) {
        if (serve(s, &opt->addrs[i], e) != 0) {
            server_stop(out, 0);
            return -1;
        }
    }
    return 0;
}

void server_stop(struct server **sp, unsigned grace_ms)
{
    struct server *s = *sp;
    struct timespec until;
    int rc = 0;

    if (!s)
        return;
    s->stopping = true;
    for (size_t i = 0; i < s->n_daemons; i++) {
        MHD_socket fd = MHD_quiesce_daemon(s->daemon[i]);

        if (fd != MHD_INVALID_SOCKET)
            close(fd);
    }
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += grace_ms / 1000;
    until.tv_nsec += (long)(grace_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&s->lock);
    while (s->busy > 0 && rc == 0)
        rc = pthread_cond_timedwait(&s->quiet, &s->lock, &until);
    while (s->suspended > 0) /* the writer always finishes */
        pthread_cond_wait(&s->quiet, &s->lock);
    pthread_mutex_unlock(&s->lock);
    for (size_t i = 0; i < s->n_daemons; i++)
        MHD_stop_daemon(s->daemon[i]);
    *sp = NULL; /* until here requests under way may look at it */
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->quiet);
    free(s);
}

struct server_stats server_stats(struct server *s)
{
    struct server_stats st = {0};

    if (!s)
        return st;
    st = (struct server_stats){.accepted = s->accepted,
                               .requests = s->requests,
                               .refused = s->refused,
                               .active = s->active};
    pthread_mutex_lock(&s->lock);
    st.busy = s->busy;
    pthread_mutex_unlock(&s->lock);
    return st;
}
