/*
 * settings_dp.h - what weir-dp can be told, and what became of it. Read-only once workers run.
 */
#ifndef DATAPLANE_SETTINGS_DP_H
#define DATAPLANE_SETTINGS_DP_H

#include <netinet/in.h>

#include "common/settings.h"

/* Headers of ours on responses and requests: bit, name in `headers`. */
#define HEADER_TOKENS(X)                                                                           \
    X(HT_SERVER, "Server")                                                                         \
    X(HT_VIA, "Via")                                                                               \
    X(HT_PROXY_LATENCY, "X-Kong-Proxy-Latency")                                                    \
    X(HT_RESPONSE_LATENCY, "X-Kong-Response-Latency")                                              \
    X(HT_UPSTREAM_LATENCY, "X-Kong-Upstream-Latency")                                              \
    X(HT_UPSTREAM_STATUS, "X-Kong-Upstream-Status")                                                \
    X(HT_REQUEST_ID, "X-Kong-Request-Id")

enum header_token {
#define X(id, name) id,
    HEADER_TOKENS(X)
#undef X
        HT_COUNT
};
#define HT_BIT(token) (1u << (token))

struct cidr {
    unsigned char addr[16]; /* IPv4 as ::ffff:a.b.c.d */
    unsigned bits;
};

enum real_ip_header { REAL_IP_X_REAL_IP, REAL_IP_X_FORWARDED_FOR };

struct dp_settings {
    /* as given; the table is in settings_dp.c */
    const char *proxy_listen, *status_listen, *control_plane, *declarative, *data_dir, *workers_text;
    const char *cluster_ca, *cluster_cert, *cluster_cert_key;
    const char *ssl_cert, *ssl_cert_key;
    const char *trusted_ips_text, *headers_text, *headers_upstream_text;
    const char *log_file, *node_id, *node_labels;
    int real_ip_header; /* enum real_ip_header */
    int log_level_index;
    uint64_t cluster_heartbeat_us;
    uint64_t drain_timeout_us;
    uint64_t client_header_timeout_us, client_body_timeout_us, client_write_timeout_us, client_idle_timeout_us;
    uint64_t client_max_header_bytes, client_max_uri_bytes, client_max_body_bytes;
    int64_t client_max_header_fields, client_max_requests;
    int64_t http2_max_concurrent_streams, http2_max_resets, http2_max_control_frames, http2_max_continuations;
    uint64_t http2_stream_window, http2_connection_window;
    uint64_t request_buffer_bytes;
    uint64_t upstream_max_header_bytes;
    int64_t upstream_keepalive_pool_size, upstream_keepalive_max_requests;
    uint64_t upstream_keepalive_idle_timeout_us;

    /* made of it by dp_settings_load */
    unsigned n_workers;
    struct listen_addr *proxy, *status;
    size_t n_proxy, n_status;
    struct cidr *trusted;
    size_t n_trusted;
    unsigned headers;          /* HT_BIT of what responses carry */
    bool request_id_upstream;
    const char **labels;
    size_t n_labels;
};

/* settings_load with the table, then the derived part. 1: --help and the like; -1 with e. */
int dp_settings_load(int *argc, char **argv, struct dp_settings *out, struct err *e) WEIR_MUSTCHECK;
void dp_settings_fini(struct dp_settings *s);

/* addr (IPv4 mapped) lies in trusted_ips. */
bool dp_trusts(const struct dp_settings *s, const unsigned char addr[16]);

#endif
