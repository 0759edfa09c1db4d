/*
 * limits.h - what the gateway bounds, by the setting that says how much: every refusal and
 * every cut is counted in weir_limit_hits_total{limit="NAME"}. What has no setting has a name of
 * its own. Those of HTTP/2 (http2_max_*) are counted where nghttp2 tells of them, in
 * codec/http2_down.c, by the setting's name as well.
 */
#ifndef DATAPLANE_OBSERVE_LIMITS_H
#define DATAPLANE_OBSERVE_LIMITS_H

/* symbol, label */
#define LIMITS(X)                                                                                  \
    X(LIMIT_URI_BYTES, "client_max_uri_bytes")                                                     \
    X(LIMIT_HEADER_BYTES, "client_max_header_bytes")                                               \
    X(LIMIT_HEADER_FIELDS, "client_max_header_fields")                                             \
    X(LIMIT_BODY_BYTES, "client_max_body_bytes")                                                   \
    X(LIMIT_BODY_RATE, "client_min_body_rate")                                                     \
    X(LIMIT_REQUESTS, "client_max_requests")                                                       \
    X(LIMIT_PER_ADDRESS, "client_max_connections_per_address")                                     \
    X(LIMIT_IDLE_TIME, "client_idle_timeout")                                                      \
    X(LIMIT_HEADER_TIME, "client_header_timeout")                                                  \
    X(LIMIT_BODY_TIME, "client_body_timeout")                                                      \
    X(LIMIT_WRITE_TIME, "client_write_timeout")                                                    \
    X(LIMIT_UPSTREAM_HEADER_BYTES, "upstream_max_header_bytes")                                    \
    X(LIMIT_EXCHANGE_MEMORY, "exchange_memory")                                                    \
    X(LIMIT_FILE_DESCRIPTORS, "file_descriptors")

enum limit {
#define X(symbol, label) symbol,
    LIMITS(X)
#undef X
        LIMIT_COUNT
};

/* Another one ran into it. */
void limit_hit(enum limit which);

#endif
