/* settings_dp.c - see settings_dp.h. */
#include "dataplane/settings_dp.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#include "common/log.h"
#include "dataplane/tls/client_cert.h"

#define WORKERS_MAX 256

static int check_listen(const char *value, struct err *e)
{
    struct listen_addr *list;
    size_t n;
    int rc = listen_parse(value, &list, &n, e);

    free(list);
    return rc;
}

static int parse_workers(const char *value, unsigned *out, struct err *e)
{
    uint64_t n;

    if (strcmp(value, "auto") == 0 || strcmp(value, "0") == 0) {
        long cores = sysconf(_SC_NPROCESSORS_ONLN);
        *out = cores < 1 ? 1 : cores > WORKERS_MAX ? WORKERS_MAX : (unsigned)cores;
        return 0;
    }
    if (!str_to_u64(str_of(value), &n) || n > WORKERS_MAX)
        return err_set(e, ERR_INVALID, "'%s': expected auto or a number from 1 to %d", value, WORKERS_MAX);
    *out = (unsigned)n;
    return 0;
}

static int check_workers(const char *value, struct err *e)
{
    unsigned n;

    return parse_workers(value, &n, e);
}

/* "10.0.0.0/8", "::1"; IPv4 becomes its mapped form */
static int parse_cidr(struct str text, struct cidr *out, struct err *e)
{
    char host[INET6_ADDRSTRLEN];
    size_t slash = str_find(text, '/');
    struct in_addr v4;
    struct in6_addr v6;
    uint64_t bits;
    bool is_v4;

    if (slash >= sizeof(host))
        goto bad;
    memcpy(host, text.p, slash);
    host[slash] = '\0';
    is_v4 = inet_pton(AF_INET, host, &v4) == 1;
    if (!is_v4 && inet_pton(AF_INET6, host, &v6) != 1)
        goto bad;
    bits = is_v4 ? 32 : 128;
    if (slash < text.len && (!str_to_u64(str_n(text.p + slash + 1, text.len - slash - 1), &bits) ||
                             bits > (is_v4 ? 32u : 128u)))
        goto bad;
    *out = (struct cidr){.addr = {[10] = 0xff, [11] = 0xff}, .bits = (unsigned)bits + (is_v4 ? 96 : 0)};
    if (is_v4)
        memcpy(out->addr + 12, &v4, 4);
    else
        memcpy(out->addr, &v6, 16);
    return 0;
bad:
    return err_set(e, ERR_INVALID, "'" STR_FMT "': expected an address or a range like 10.0.0.0/8",
                   STR_ARG(text));
}

static int parse_trusted(const char *value, struct cidr **out, size_t *n_out, struct err *e)
{
    struct str rest = str_trim(str_of(value)), piece;
    struct cidr *list = NULL;
    size_t n = 0;

    while (rest.len && str_next(&rest, ',', &piece)) {
        list = xrealloc(list, (n + 1) * sizeof(*list));
        if (parse_cidr(str_trim(piece), &list[n++], e) != 0) {
            free(list);
            return -1;
        }
    }
    *out = list;
    *n_out = n;
    return 0;
}

static int check_trusted(const char *value, struct err *e)
{
    struct cidr *list;
    size_t n;

    if (parse_trusted(value, &list, &n, e) != 0)
        return -1;
    free(list);
    return 0;
}

static int parse_headers(const char *value, unsigned *out, struct err *e)
{
    static const char *const names[HT_COUNT] = {
#define X(id, name) [id] = name,
        HEADER_TOKENS(X)
#undef X
    };
    struct str rest = str_trim(str_of(value)), piece;

    *out = 0;
    if (str_eq(rest, STR("off")))
        return 0;
    while (rest.len && str_next(&rest, ',', &piece)) {
        unsigned before = *out;

        piece = str_trim(piece);
        if (str_ieq(piece, STR("server_tokens")))
            *out |= HT_BIT(HT_SERVER) | HT_BIT(HT_VIA);
        else if (str_ieq(piece, STR("latency_tokens")))
            *out |= HT_BIT(HT_PROXY_LATENCY) | HT_BIT(HT_RESPONSE_LATENCY) | HT_BIT(HT_UPSTREAM_LATENCY);
        else if (str_ieq(piece, STR("X-Kong-Admin-Latency")))
            continue; /* of the Admin API */
        for (unsigned i = 0; i < HT_COUNT; i++)
            if (str_ieq(piece, str_of(names[i])))
                *out |= HT_BIT(i);
        if (*out == before && before == 0)
            return err_set(e, ERR_INVALID,
                           "unknown token '" STR_FMT "', expected off, server_tokens, latency_tokens or "
                           "header names", STR_ARG(piece));
    }
    return 0;
}

static int check_headers(const char *value, struct err *e)
{
    unsigned bits;

    return parse_headers(value, &bits, e);
}

static int check_headers_upstream(const char *value, struct err *e)
{
    if (strcasecmp(value, "off") == 0 || strcasecmp(value, "X-Kong-Request-Id") == 0)
        return 0;
    return err_set(e, ERR_INVALID, "'%s': expected off or X-Kong-Request-Id", value);
}

static const char *const log_words[] = {
#define X(level, word) word,
    LOG_LEVELS(X)
#undef X
    NULL};

static const char *const real_ip_words[] = {"X-Real-IP", "X-Forwarded-For", "proxy_protocol", NULL};

static const char *const cipher_words[] = {"modern", "intermediate", "old", "fips", "custom", NULL};
static const char *const prefer_words[] = {"suite", "on", "off", NULL};
static const char *const verify_client_words[] = {VERIFY_CLIENT_WORDS, NULL};

#define OFF(m) .off = offsetof(struct dp_settings, m)

/* clang-format off */
static const struct setting table[] = {
    {"proxy_listen", ST_TEXT, OFF(proxy_listen), .dflt = "0.0.0.0:8000, 0.0.0.0:8443 ssl http2", .check = check_listen,
     .doc = "Addresses for clients, with their options: ssl, http2, proxy_protocol, backlog=N; or off."},
    {"stream_listen", ST_TEXT, OFF(stream_listen), .dflt = "off", .check = check_listen,
     .doc = "Addresses for TCP and TLS streams, with their options: ssl, proxy_protocol, backlog=N; or off."},
    {"status_listen", ST_TEXT, OFF(status_listen), .dflt = "127.0.0.1:8100", .check = check_listen,
     .doc = "Addresses of the status and metrics listener, or off."},
    {"control_plane", ST_TEXT, OFF(control_plane),
     .doc = "Where the configuration comes from: one or more URLs, commas between them."},
    {"declarative", ST_TEXT, OFF(declarative),
     .doc = "A declarative configuration file to serve instead of a control plane's."},
    {"data_dir", ST_TEXT, OFF(data_dir), .dflt = "/var/lib/weir-dp",
     .doc = "Folder for the node's id and the last configuration received."},
    {"workers", ST_TEXT, OFF(workers_text), .dflt = "auto", .check = check_workers,
     .doc = "Number of worker threads; auto is one per core."},
    {"cluster_ca", ST_TEXT, OFF(cluster_ca), .doc = "PEM file of the authority that signs the cluster's certificates."},
    {"cluster_cert", ST_TEXT, OFF(cluster_cert), .doc = "PEM file of this node's certificate towards the control plane."},
    {"cluster_cert_key", ST_TEXT, OFF(cluster_cert_key), .doc = "PEM file of the key of cluster_cert."},
    {"cluster_heartbeat", ST_DURATION, OFF(cluster_heartbeat_us), .dflt = "5s", .min = 1e5, .max = 600e6,
     .doc = "Silence after which the control plane is asked for a sign of life; three times that is a lost connection."},
    {"node_id", ST_TEXT, OFF(node_id), .doc = "The node's id, a UUID; empty keeps one in data_dir."},
    {"node_labels", ST_TEXT, OFF(node_labels), .doc = "Labels of the node, key:value, commas between them."},
    {"drain_timeout", ST_DURATION, OFF(drain_timeout_us), .dflt = "30s", .max = 86400e6,
     .doc = "How long requests may go on after TERM."},
    {"client_header_timeout", ST_DURATION, OFF(client_header_timeout_us), .dflt = "60s", .min = 1e4, .max = 86400e6,
     .doc = "Time for a request's head, from its first byte; for a PROXY header and a ClientHello, from the start."},
    {"client_body_timeout", ST_DURATION, OFF(client_body_timeout_us), .dflt = "60s", .min = 1e4, .max = 86400e6,
     .doc = "Longest pause between two pieces of a request's body."},
    {"client_write_timeout", ST_DURATION, OFF(client_write_timeout_us), .dflt = "60s", .min = 1e4, .max = 86400e6,
     .doc = "Longest time a client may take no byte of its answer."},
    {"client_idle_timeout", ST_DURATION, OFF(client_idle_timeout_us), .dflt = "75s", .min = 1e4, .max = 86400e6,
     .doc = "How long a connection without a request stays open."},
    {"client_max_header_bytes", ST_SIZE, OFF(client_max_header_bytes), .dflt = "32k", .min = 1024, .max = 64 * 1024,
     .doc = "Largest request head."},
    {"client_max_uri_bytes", ST_SIZE, OFF(client_max_uri_bytes), .dflt = "8k", .min = 256, .max = 60 * 1024,
     .doc = "Longest request target; longer ones are answered with 414."},
    {"client_max_header_fields", ST_INT, OFF(client_max_header_fields), .dflt = "100", .min = 8, .max = 1000,
     .doc = "Most header fields of a request."},
    {"client_max_body_bytes", ST_SIZE, OFF(client_max_body_bytes), .dflt = "0",
     .doc = "Largest request body; 0 means no limit, more is answered with 413."},
    {"client_max_requests", ST_INT, OFF(client_max_requests), .dflt = "0", .min = 0, .max = 1e15,
     .doc = "Requests after which a client's connection is closed; 0 means no limit."},
    {"client_min_body_rate", ST_SIZE, OFF(client_min_body_rate), .dflt = "100", .max = 1 << 30,
     .doc = "Fewest bytes a second of a request's body, over all the time spent waiting for it, once that is more than "
            "client_body_timeout; 0 means no limit, less is answered with 408."},
    {"client_max_pipelined", ST_INT, OFF(client_max_pipelined), .dflt = "16", .min = 1, .max = 64,
     .doc = "Requests of one HTTP/1 connection that are worked on at once, as far as they are safe to (GET, HEAD); "
            "their answers leave in order. 1 takes them one by one."},
    {"client_max_connections_per_address", ST_INT, OFF(client_max_connections_per_address), .dflt = "0", .min = 0, .max = 1e6,
     .doc = "Connections that one client address (of IPv6: one /64) may have open at a time; 0 means no limit. More are "
            "closed at once. Behind a PROXY header that is believed it is the address named there. Addresses in "
            "trusted_ips are not limited."},
    {"http2_max_concurrent_streams", ST_INT, OFF(http2_max_concurrent_streams), .dflt = "128", .min = 1, .max = 10000,
     .doc = "Requests that a client may have under way on one HTTP/2 connection."},
    {"http2_stream_window", ST_SIZE, OFF(http2_stream_window), .dflt = "64k", .min = 16 * 1024, .max = 1 << 20,
     .doc = "How much of a request's body an HTTP/2 client may send ahead of what has been passed on."},
    {"http2_connection_window", ST_SIZE, OFF(http2_connection_window), .dflt = "256k", .min = 64 * 1024, .max = 16 << 20,
     .doc = "The same for all requests of one HTTP/2 connection together."},
    {"http2_max_resets", ST_INT, OFF(http2_max_resets), .dflt = "1000", .min = 10, .max = 1e9,
     .doc = "Requests that an HTTP/2 client may take back, more than it lets be answered; then its connection is closed."},
    {"http2_max_control_frames", ST_INT, OFF(http2_max_control_frames), .dflt = "1000", .min = 10, .max = 1e9,
     .doc = "HTTP/2 frames a second that go with no request and no data (PING, SETTINGS, empty DATA and others); more close the connection."},
    {"http2_max_continuations", ST_INT, OFF(http2_max_continuations), .dflt = "8", .min = 1, .max = 1000,
     .doc = "CONTINUATION frames of one HTTP/2 head; more close the connection."},
    {"request_buffer_bytes", ST_SIZE, OFF(request_buffer_bytes), .dflt = "64k", .min = 0, .max = 1 << 30,
     .doc = "How much of a body a route with request_buffering keeps so that it can be sent again."},
    {"upstream_max_header_bytes", ST_SIZE, OFF(upstream_max_header_bytes), .dflt = "32k", .min = 1024, .max = 64 * 1024,
     .doc = "Largest response head of an upstream."},
    {"upstream_keepalive_pool_size", ST_INT, OFF(upstream_keepalive_pool_size), .dflt = "512", .min = 0, .max = 1e6,
     .doc = "Idle connections that a worker keeps to one upstream address."},
    {"upstream_keepalive_max_requests", ST_INT, OFF(upstream_keepalive_max_requests), .dflt = "10000", .min = 0, .max = 1e15,
     .doc = "Requests after which an upstream connection is closed; 0 means no limit."},
    {"upstream_keepalive_idle_timeout", ST_DURATION, OFF(upstream_keepalive_idle_timeout_us), .dflt = "60s", .max = 86400e6,
     .doc = "How long an idle upstream connection is kept."},
    {"router_flavor", ST_ENUM, OFF(router_flavor), .dflt = "traditional_compatible", .words = router_flavor_words,
     .doc = "How routes are said and ordered; the control plane needs the same."},
    {"trusted_ips", ST_TEXT, OFF(trusted_ips_text), .check = check_trusted,
     .doc = "Addresses and ranges whose X-Forwarded-* and real_ip_header are believed."},
    {"real_ip_header", ST_ENUM, OFF(real_ip_header), .dflt = "X-Real-IP", .words = real_ip_words,
     .doc = "Header that tells the client's address when the peer is trusted; proxy_protocol: the PROXY header's address."},
    {"headers", ST_TEXT, OFF(headers_text), .dflt = "server_tokens, latency_tokens, X-Kong-Request-Id", .check = check_headers,
     .doc = "Headers that the gateway adds to responses, or off."},
    {"headers_upstream", ST_TEXT, OFF(headers_upstream_text), .dflt = "X-Kong-Request-Id", .check = check_headers_upstream,
     .doc = "Headers of the gateway on requests to upstreams, or off."},
    {"ssl_cert", ST_TEXT, OFF(ssl_cert),
     .doc = "PEM files of the default certificate chain, one per type of key, commas between them, read again on HUP; empty makes a self-signed one."},
    {"ssl_cert_key", ST_TEXT, OFF(ssl_cert_key), .doc = "PEM files of the keys of ssl_cert, in the same order."},
    {"ssl_cipher_suite", ST_ENUM, OFF(ssl_cipher_suite), .dflt = "intermediate", .words = cipher_words,
     .doc = "Protocols, ciphers and preference of TLS listeners by name; custom takes them from the next three."},
    {"ssl_protocols", ST_TEXT, OFF(ssl_protocols),
     .doc = "Protocols of TLS listeners, like TLSv1.2 TLSv1.3; empty: those of ssl_cipher_suite."},
    {"ssl_ciphers", ST_TEXT, OFF(ssl_ciphers), .doc = "Ciphers up to TLS 1.2, as OpenSSL lists them; needs ssl_cipher_suite = custom."},
    {"ssl_prefer_server_ciphers", ST_ENUM, OFF(ssl_prefer_server_ciphers), .dflt = "suite", .words = prefer_words,
     .doc = "Whether our order of ciphers counts, not the client's; suite: as ssl_cipher_suite has it."},
    {"ssl_dhparam", ST_TEXT, OFF(ssl_dhparam),
     .doc = "PEM file of DH parameters, or ffdhe2048, ffdhe3072, ffdhe4096; empty: as strong as the certificate's key."},
    {"ssl_session_tickets", ST_BOOL, OFF(ssl_session_tickets), .dflt = "on",
     .doc = "Whether clients get tickets to resume sessions with; there is no other way to resume."},
    {"ssl_session_timeout", ST_DURATION, OFF(ssl_session_timeout_us), .dflt = "24h", .min = 1e6, .max = 7 * 86400e6,
     .doc = "How long a session may be resumed; at most until its ticket's key is gone."},
    {"ssl_ticket_rotation", ST_DURATION, OFF(ssl_ticket_rotation_us), .dflt = "12h", .min = 1e6, .max = 365 * 86400e6,
     .doc = "Age at which a key of tickets is replaced, without a control plane; else the control plane's setting counts."},
    {"ssl_ktls", ST_BOOL, OFF(ssl_ktls), .dflt = "off",
     .doc = "Lets the kernel encrypt where it can (its tls module) and the cipher allows; else nothing changes."},
    {"ssl_verify_client", ST_ENUM, OFF(ssl_verify_client), .dflt = "off", .words = verify_client_words,
     .doc = "Whether TLS listeners ask clients for a certificate; a route's tls_verify_client comes first."},
    {"ssl_client_certificate", ST_TEXT, OFF(ssl_client_certificate),
     .doc = "PEM file of the authorities for ssl_verify_client."},
    {"ssl_verify_depth", ST_INT, OFF(ssl_verify_depth), .dflt = "1", .min = 0, .max = 100,
     .doc = "Most certificates between a client's and its authority's."},
    {"lua_ssl_trusted_certificate", ST_TEXT, OFF(lua_ssl_trusted_certificate), .dflt = "system",
     .doc = "Authorities for upstreams whose service names none: system, PEM files, commas between them."},
    {"lua_ssl_verify_depth", ST_INT, OFF(lua_ssl_verify_depth), .dflt = "1", .min = 0, .max = 100,
     .doc = "Most certificates between an upstream's and its authority's, when the service does not say."},
    {"tls_certificate_verify", ST_BOOL, OFF(tls_certificate_verify), .dflt = "off",
     .doc = "Whether certificates of upstreams are verified when the service does not say."},
    {"client_ssl", ST_BOOL, OFF(client_ssl), .dflt = "off",
     .doc = "Shows client_ssl_cert to upstreams when neither service nor upstream has a client certificate."},
    {"client_ssl_cert", ST_TEXT, OFF(client_ssl_cert), .doc = "PEM file of the certificate chain for client_ssl."},
    {"client_ssl_cert_key", ST_TEXT, OFF(client_ssl_cert_key), .doc = "PEM file of the key of client_ssl_cert."},
    {"log_level", ST_ENUM, OFF(log_level_index), .dflt = "notice", .words = log_words, .doc = "Least important level that is logged."},
    {"log_file", ST_TEXT, OFF(log_file), .doc = "Log file, opened again on HUP; empty is standard error."},
    SETTING_END,
};
/* clang-format on */

static void split_labels(struct dp_settings *s)
{
    struct str rest = str_trim(str_of(s->node_labels)), piece;

    while (rest.len && str_next(&rest, ',', &piece)) {
        s->labels = xrealloc(s->labels, (s->n_labels + 1) * sizeof(*s->labels));
        s->labels[s->n_labels++] = str_dup(str_trim(piece));
    }
}

static size_t count_items(const char *list)
{
    struct str rest = str_trim(str_of(list)), piece;
    size_t n = 0;

    while (rest.len && str_next(&rest, ',', &piece))
        n++;
    return n;
}

static bool same_listener(const struct listen_addr *a, const struct listen_addr *b)
{
    unsigned char x[16], y[16];

    if (a->port != b->port || a->port == 0)
        return false;
    if (inet_pton(AF_INET6, a->host, x) == 1 && inet_pton(AF_INET6, b->host, y) == 1)
        return memcmp(x, y, 16) == 0;
    return strcmp(a->host, b->host) == 0;
}

static const struct listen_addr *nth_listener(const struct dp_settings *s, size_t i, const char **setting_out)
{
    *setting_out = i < s->n_proxy ? "proxy_listen" : "stream_listen";
    return i < s->n_proxy ? &s->proxy[i] : &s->stream[i - s->n_proxy];
}

/* Workers share ports (SO_REUSEPORT), so the system would take an address twice: each gets half of the clients. */
static int check_distinct(const struct dp_settings *s, struct err *e)
{
    const char *setting, *other;

    for (size_t i = 1; i < s->n_proxy + s->n_stream; i++) {
        const struct listen_addr *a = nth_listener(s, i, &setting);

        for (size_t k = 0; k < i; k++)
            if (same_listener(a, nth_listener(s, k, &other)))
                return err_set(e, ERR_INVALID, "%s: '%s:%u' is taken by %s, expected an address of its own", setting,
                               a->host, a->port, other);
    }
    return 0;
}

static int finish(struct dp_settings *s, struct err *e)
{
    if (parse_workers(s->workers_text, &s->n_workers, e) != 0 ||
        listen_parse(s->proxy_listen, &s->proxy, &s->n_proxy, e) != 0 ||
        listen_parse(s->stream_listen, &s->stream, &s->n_stream, e) != 0 ||
        listen_parse(s->status_listen, &s->status, &s->n_status, e) != 0 ||
        parse_trusted(s->trusted_ips_text, &s->trusted, &s->n_trusted, e) != 0 ||
        parse_headers(s->headers_text, &s->headers, e) != 0)
        return -1;
    s->request_id_upstream = strcasecmp(s->headers_upstream_text, "off") != 0;
    split_labels(s);
    if (*s->control_plane && *s->declarative)
        return err_set(e, ERR_INVALID, "control_plane and declarative exclude each other");
    if (!*s->control_plane && !*s->declarative)
        return err_set(e, ERR_INVALID,
                       "nothing to serve: give --control-plane URL or --declarative FILE");
    if (count_items(s->ssl_cert) != count_items(s->ssl_cert_key))
        return err_set(e, ERR_INVALID, "ssl_cert and ssl_cert_key belong together: %zu and %zu files",
                       count_items(s->ssl_cert), count_items(s->ssl_cert_key));
    if (check_distinct(s, e) != 0)
        return -1;
    for (size_t i = 0; i < s->n_stream; i++)
        if (s->stream[i].http2)
            return err_set(e, ERR_INVALID, "stream_listen: http2 is for proxy_listen, expected ssl, proxy_protocol, backlog=N");
    return 0;
}

int dp_settings_load(int *argc, char **argv, struct dp_settings *out, struct err *e)
{
    static const struct settings_source source = {
        .program = "weir-dp",
        .about = "Weir's data plane: the proxy.",
        .table = table,
    };
    int rc;

    memset(out, 0, sizeof(*out));
    rc = settings_load(&source, argc, argv, false, out, e);
    return rc != 0 ? rc : finish(out, e);
}

void dp_settings_fini(struct dp_settings *s)
{
    for (size_t i = 0; i < s->n_labels; i++) {
        char *label;
        memcpy(&label, &s->labels[i], sizeof(label)); /* ours, shown to others as const */
        free(label);
    }
    free(s->labels);
    free(s->proxy);
    free(s->stream);
    free(s->status);
    free(s->trusted);
}

bool dp_trusts(const struct dp_settings *s, const unsigned char addr[16])
{
    for (size_t i = 0; i < s->n_trusted; i++) {
        const struct cidr *c = &s->trusted[i];
        unsigned whole = c->bits / 8, rest = c->bits % 8;

        if (memcmp(addr, c->addr, whole) == 0 &&
            (rest == 0 || ((addr[whole] ^ c->addr[whole]) >> (8 - rest)) == 0))
            return true;
    }
    return false;
}
