/*
 * msg.h - HTTP heads as every codec and plugin sees them: no wire, no version.
 *
 * Strings borrow: from the connection's read buffer (pinned until the exchange ends) or from
 * the exchange's arena. Field names keep the case they came in; comparisons ignore it.
 */
#ifndef DATAPLANE_MSG_H
#define DATAPLANE_MSG_H

#include "common/arena.h"

/* Fields that the gateway itself looks at: id, name. Recognised once, while parsing. Letters and '-'. */
#define HEADER_IDS(X)                                                                              \
    X(HDR_ACCEPT, "Accept")                                                                        \
    X(HDR_AUTHORIZATION, "Authorization")                                                          \
    X(HDR_CONNECTION, "Connection")                                                                \
    X(HDR_CONTENT_LENGTH, "Content-Length")                                                        \
    X(HDR_CONTENT_TYPE, "Content-Type")                                                            \
    X(HDR_COOKIE, "Cookie")                                                                        \
    X(HDR_DATE, "Date")                                                                            \
    X(HDR_EXPECT, "Expect")                                                                        \
    X(HDR_HOST, "Host")                                                                            \
    X(HDR_KEEP_ALIVE, "Keep-Alive")                                                                \
    X(HDR_ORIGIN, "Origin")                                                                        \
    X(HDR_PROXY, "Proxy")                                                                          \
    X(HDR_PROXY_CONNECTION, "Proxy-Connection")                                                    \
    X(HDR_SERVER, "Server")                                                                        \
    X(HDR_TE, "TE")                                                                                \
    X(HDR_TRAILER, "Trailer")                                                                      \
    X(HDR_TRANSFER_ENCODING, "Transfer-Encoding")                                                  \
    X(HDR_UPGRADE, "Upgrade")                                                                      \
    X(HDR_USER_AGENT, "User-Agent")                                                                \
    X(HDR_VARY, "Vary")                                                                            \
    X(HDR_VIA, "Via")                                                                              \
    X(HDR_X_ANONYMOUS_CONSUMER, "X-Anonymous-Consumer")                                            \
    X(HDR_X_CONSUMER_CUSTOM_ID, "X-Consumer-Custom-ID")                                            \
    X(HDR_X_CONSUMER_ID, "X-Consumer-ID")                                                          \
    X(HDR_X_CONSUMER_USERNAME, "X-Consumer-Username")                                              \
    X(HDR_X_CREDENTIAL_IDENTIFIER, "X-Credential-Identifier")                                      \
    X(HDR_X_FORWARDED_FOR, "X-Forwarded-For")                                                      \
    X(HDR_X_FORWARDED_HOST, "X-Forwarded-Host")                                                    \
    X(HDR_X_FORWARDED_PATH, "X-Forwarded-Path")                                                    \
    X(HDR_X_FORWARDED_PORT, "X-Forwarded-Port")                                                    \
    X(HDR_X_FORWARDED_PREFIX, "X-Forwarded-Prefix")                                                \
    X(HDR_X_FORWARDED_PROTO, "X-Forwarded-Proto")                                                  \
    X(HDR_X_KONG_PROXY_LATENCY, "X-Kong-Proxy-Latency")                                            \
    X(HDR_X_KONG_REQUEST_ID, "X-Kong-Request-Id")                                                  \
    X(HDR_X_KONG_RESPONSE_LATENCY, "X-Kong-Response-Latency")                                      \
    X(HDR_X_KONG_UPSTREAM_LATENCY, "X-Kong-Upstream-Latency")                                      \
    X(HDR_X_REAL_IP, "X-Real-IP")

enum header_id {
    HDR_OTHER, /* known by its name only */
#define X(id, name) id,
    HEADER_IDS(X)
#undef X
        HDR_COUNT,
    HDR_REMOVED = 255, /* skipped by everyone: a field that is gone */
};

_Static_assert(HDR_COUNT <= 48, "headers_bit: 16 bits are for other names");

struct header {
    struct str name, value;
    uint8_t id; /* enum header_id */
    bool hop;   /* its sender's Connection names it: it ends here (RFC 9110 section 7.6.1) */
};

struct headers {
    struct header *v; /* in the arena */
    uint32_t n, cap;
    uint64_t seen;    /* headers_bit of every name that was added: the others are not looked for */
};

/* A bit of its own for every name of ours, one of 16 for the others. */
static inline uint64_t headers_bit(enum header_id id, struct str name)
{
    return 1ull << (id != HDR_OTHER ? (size_t)id : 48 + name.len % 16);
}

static inline bool headers_may_have(const struct headers *hs, enum header_id id)
{
    return hs->seen >> id & 1;
}

/* HDR_OTHER when it is none of ours. One hash and one compare; no name of ours has another byte. */
enum header_id header_id_of(struct str name);
struct str header_id_name(enum header_id id);

/* v is NULL while there are none, and not to be added to then. */
#define HEADERS_EACH(h, hs)                                                                        \
    for (struct header *h = (hs)->v, *h##_end = h ? h + (hs)->n : NULL; h < h##_end; h++)          \
        if (h->id != HDR_REMOVED)

/* The first field of that name, or NULL. */
struct header *headers_find(const struct headers *hs, struct str name);
struct header *headers_find_id(const struct headers *hs, enum header_id id);
/* How many; *first_out: the first one's value when there is one. */
unsigned headers_all(const struct headers *hs, struct str name, struct str *first_out);

/* Keep name and value, which must live as long as the arena. False at the arena's cap. */
bool headers_add(struct headers *hs, struct arena *a, struct str name, struct str value) WEIR_MUSTCHECK;
bool headers_set(struct headers *hs, struct arena *a, struct str name, struct str value) WEIR_MUSTCHECK; /* replaces all of that name */
/* As headers_set for a name of ours. */
bool headers_set_id(struct headers *hs, struct arena *a, enum header_id id, struct str value) WEIR_MUSTCHECK;
void headers_remove(struct headers *hs, struct str name);
void headers_remove_id(struct headers *hs, enum header_id id);

/* Room for more. False at the arena's cap. For headers_add_as. */
bool headers_grow(struct headers *hs, struct arena *a);

/* As headers_add for a name whose id is known. */
WEIR_MUSTCHECK static inline bool headers_add_as(struct headers *hs, struct arena *a, enum header_id id,
                                                 struct str name, struct str value)
{
    if (unlikely(hs->n == hs->cap) && !headers_grow(hs, a))
        return false;
    hs->v[hs->n++] = (struct header){name, value, (uint8_t)id, false};
    hs->seen |= headers_bit(id, name);
    return true;
}

#define METHODS(X)                                                                                 \
    X(M_GET, "GET")                                                                                \
    X(M_HEAD, "HEAD")                                                                              \
    X(M_POST, "POST")                                                                              \
    X(M_PUT, "PUT")                                                                                \
    X(M_PATCH, "PATCH")                                                                            \
    X(M_DELETE, "DELETE")                                                                          \
    X(M_OPTIONS, "OPTIONS")                                                                        \
    X(M_TRACE, "TRACE")                                                                            \
    X(M_CONNECT, "CONNECT")

enum method {
    M_OTHER,
#define X(id, name) id,
    METHODS(X)
#undef X
};

struct req_head {
    struct str method;
    enum method method_id;
    struct str target;      /* as sent: "/a?b", "http://host/a" */
    struct str raw_path;    /* of the target, without query; as sent */
    struct str path;        /* normalized (common/uri.h): what is matched and what plugins see */
    struct str query;       /* behind the '?', as sent; p == NULL: there was no '?' */
    struct str authority;   /* Host or the absolute target's, as sent */
    struct str host;        /* of authority: lower case, no port, no trailing dot stripped */
    uint16_t host_port;     /* of authority; 0: none */
    uint8_t version;        /* 10, 11, 20 */
    bool keep_alive, expect_continue;
    bool chunked;           /* has a body of unknown length */
    bool upgrade_websocket; /* Connection: upgrade with Upgrade: websocket */
    int64_t content_length; /* -1: not given */
    struct headers headers;
    struct headers trailers; /* once the body has ended */
};

struct resp_head {
    uint16_t status;
    struct str reason;
    uint8_t version;
    bool keep_alive, chunked;
    int64_t content_length; /* -1: not given */
    struct str length_text; /* the field that said so, while nobody has set another */
    struct headers headers;
    struct headers trailers; /* once the body has ended */
};

/* The field may stand in a trailer section: nothing of framing, routing, credentials (RFC 9110 section 6.5.1). */
bool header_may_trail(const struct header *h);

#endif
