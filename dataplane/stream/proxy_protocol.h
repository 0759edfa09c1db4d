/*
 * stream/proxy_protocol.h - the PROXY protocol, versions 1 and 2: who a connection is from when
 * another proxy stands in front. Bytes in, struct out. No socket, no allocation, never blocks.
 *
 * Source: "The PROXY protocol, versions 1 & 2" (HAProxy's doc/proxy-protocol.txt), sections 2.1
 * and 2.2. Both are for trusted peers only: whoever may send a header may name any source.
 */
#ifndef DATAPLANE_STREAM_PROXY_PROTOCOL_H
#define DATAPLANE_STREAM_PROXY_PROTOCOL_H

#include "common/str.h"
#include "dataplane/sockaddr.h"

#define PROXY_V1_MAX     107  /* bytes of a line, CRLF included (section 2.1) */
#define PROXY_V2_WRITTEN 52   /* bytes at most that proxy_write_v2 makes */
#define PROXY_HEADER_MAX 4096 /* bytes of a version 2 header that we take, TLVs included */

struct proxy_info {
    bool known; /* false: the connection's own addresses count (UNKNOWN, LOCAL, UNSPEC, AF_UNIX) */
    union socket_addr src, dst; /* of one family; AF_UNSPEC when not known */
};

enum pp_result { PP_MORE, PP_OK, PP_BAD };

/*
 * The header that a connection begins with; in is all that came so far.
 * PP_OK    *out, and *used_out bytes are the header's.
 * PP_MORE  so far it could become one; at most PROXY_HEADER_MAX bytes are asked for.
 * PP_BAD   it is none: the connection has to be closed.
 *
 * Version 2: TLVs (type, length, value) have to fill the header exactly and are skipped, except
 * that a CRC32C has to be right. Nothing of SSL, AUTHORITY and the rest is kept: a peer's word on
 * those is not used. LOCAL and UNSPEC headers are skipped unread, as section 2.2 asks.
 */
enum pp_result proxy_parse(struct str in, struct proxy_info *out, size_t *used_out);

/*
 * A header for a connection from src to dst. When the families differ, IPv4 is written as mapped
 * IPv6; when one is neither, it is UNKNOWN (version 1), LOCAL (version 2). Returns its length.
 */
size_t proxy_write_v1(const union socket_addr *src, const union socket_addr *dst, char to[PROXY_V1_MAX]);
size_t proxy_write_v2(const union socket_addr *src, const union socket_addr *dst,
                      unsigned char to[PROXY_V2_WRITTEN]);

#endif
