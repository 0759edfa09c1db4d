/*
 * settings_dp.h - what weir-dp can be told, and what became of it. Read-only once workers run.
 */
#ifndef DATAPLANE_SETTINGS_DP_H
#define DATAPLANE_SETTINGS_DP_H

#include <netinet/in.h>

#include "common/entities.h"
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

/* In the order of the words of ssl_cipher_suite and ssl_prefer_server_ciphers. */
enum cipher_suite { CIPHERS_MODERN, CIPHERS_INTERMEDIATE, CIPHERS_OLD, CIPHERS_FIPS, CIPHERS_CUSTOM };
enum prefer_server { PREFER_AS_SUITE, PREFER_ON, PREFER_OFF };

enum real_ip_header { REAL_IP_X_REAL_IP, REAL_IP_X_FORWARDED_FOR, REAL_IP_PROXY_PROTOCOL };

struct dp_settings {
    /* as given; the table is in settings_dp.c */
    const char *proxy_listen, *stream_listen, *status_listen, *control_plane, *declarative, *data_dir, *workers_text;
    const char *cluster_ca, *cluster_cert, *cluster_cert_key;
    const char *ssl_cert, *ssl_cert_key; /* lists of files, commas between them */
    int ssl_cipher_suite;                /* enum cipher_suite */
    int ssl_prefer_server_ciphers;       /* enum prefer_server */
    const char *ssl_protocols, *ssl_ciphers, *ssl_dhparam;
    bool ssl_session_tickets, ssl_ktls;
    uint64_t ssl_session_timeout_us, ssl_ticket_rotation_us;
    int ssl_verify_client; /* enum verify_client (tls/client_cert.h) */
    const char *ssl_client_certificate;
    int64_t ssl_verify_depth;
    const char *lua_ssl_trusted_certificate;
    int64_t lua_ssl_verify_depth;
    bool tls_certificate_verify;
    bool client_ssl;
    const char *client_ssl_cert, *client_ssl_cert_key;
    const char *trusted_ips_text, *headers_text, *headers_upstream_text;
    const char *log_file, *node_id, *node_labels;
    int real_ip_header; /* enum real_ip_header */
    int router_flavor;  /* enum router_flavor */
    int log_level_index;
    uint64_t cluster_heartbeat_us;
    uint64_t drain_timeout_us;
    uint64_t client_header_timeout_us, client_body_timeout_us, client_write_timeout_us, client_idle_timeout_us;
    uint64_t client_max_header_bytes, client_max_uri_bytes, client_max_body_bytes;
    int64_t client_max_header_fields, client_max_requests, client_max_connections_per_address, client_max_pipelined;
    uint64_t client_min_body_rate; /* bytes a second; 0: none */
    int64_t http2_max_concurrent_streams, http2_max_resets, http2_max_control_frames, http2_max_continuations;
    uint64_t http2_stream_window, http2_connection_window;
    uint64_t request_buffer_bytes;
    uint64_t upstream_max_header_bytes;
    int64_t upstream_keepalive_pool_size, upstream_keepalive_max_requests;
    uint64_t upstream_keepalive_idle_timeout_us;

    /* made of it by dp_settings_load */
    unsigned n_workers;
    struct listen_addr *proxy, *stream, *status;
    size_t n_proxy, n_stream, n_status;
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
