/*
 * http/parse.h - HTTP/1 heads: bytes in, struct out. No socket, no global, never blocks.
 *
 * Strict by RFC 9112: what two implementations could read differently is refused, never
 * guessed (bare CR or LF, folded lines, space before the colon, two lengths, length beside
 * chunked, codings other than chunked, bad Host). Strings of the result point into the
 * input, which has to stay; a host with capitals is folded in the arena.
 */
#ifndef DATAPLANE_HTTP_PARSE_H
#define DATAPLANE_HTTP_PARSE_H

#include "dataplane/msg.h"

enum parse_result { PARSE_OK, PARSE_MORE, PARSE_BAD };

struct parse_limits {
    size_t head_bytes; /* start line and fields */
    size_t uri_bytes;
    unsigned fields;
};

struct parse_error {
    unsigned status;     /* to answer a request with: 400, 414, 417, 501, 505 */
    const char *message; /* static */
    bool too_many_fields; /* of 431: it was not the bytes */
};

/*
 * The next request head in `in`. PARSE_OK: *used_out bytes are it (an empty line in front
 * included); path and host_port as in msg.h, req_head.path is left to the caller.
 * PARSE_BAD: error_out; the connection cannot go on.
 */
enum parse_result http_parse_request(struct str in, const struct parse_limits *limits, struct arena *a,
                                     struct req_head *out, size_t *used_out, struct parse_error *error_out);

/*
 * For protocols whose requests come in fields: method and target are set in r, host is what
 * stands for the Host field. Checks them and fills the rest up to host_port, by the same rules.
 */
enum parse_result http_locate_request(struct req_head *r, struct str host, const struct parse_limits *limits,
                                      struct arena *a, struct parse_error *error_out);

/*
 * The next response head. request_was_head: no body follows whatever the fields say. PARSE_BAD:
 * the status is 431 when the head is beyond limits->head_bytes, else 502.
 */
enum parse_result http_parse_response(struct str in, const struct parse_limits *limits, struct arena *a,
                                      bool request_was_head, struct resp_head *out, size_t *used_out,
                                      struct parse_error *error_out);

/*
 * "host", "host:port", "[::1]:port", "" (RFC 9110 section 7.2). host_out is as given, port 0
 * when there is none. False: it is not one.
 */
bool http_parse_authority(struct str text, struct str *host_out, uint16_t *port_out);

/* The list `value` (commas) holds token, case ignored. */
bool http_list_has(struct str value, struct str token);

/* tchar of RFC 9110 section 5.6.2, one or more. */
bool http_is_token(struct str s);

/* Bytes that a field's value may hold (RFC 9110 section 5.5); none is fine. */
bool http_is_value(struct str s);

/* ---- chunked bodies (RFC 9112 section 7.1) ---- */

struct chunk_decoder {
    uint8_t state;
    uint8_t digits;
    uint16_t line_bytes;    /* of an extension */
    uint32_t trailer_bytes;
    uint64_t left;          /* of the chunk */
    struct arena *arena;    /* trailers are kept here; NULL: dropped */
    char *trailers;         /* their lines */
    uint32_t trailers_len, trailers_cap;
};

enum chunk_result { CHUNK_MORE, CHUNK_DONE, CHUNK_BAD };

/*
 * Decodes n bytes at in to out, which may be the same memory or before it. Extensions are
 * checked and dropped. CHUNK_DONE: what is behind *used_out is not the body's.
 */
enum chunk_result chunk_decode(struct chunk_decoder *d, const char *in, size_t n, char *out,
                               size_t *used_out, size_t *made_out);

/* After CHUNK_DONE: the trailer fields that may be passed on, added to out. False: no memory. */
bool chunk_trailers(const struct chunk_decoder *d, struct headers *out) WEIR_MUSTCHECK;

#endif
