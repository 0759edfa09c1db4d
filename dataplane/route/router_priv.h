/* router_priv.h - what router.c builds and match.c searches. */
#ifndef DATAPLANE_ROUTE_ROUTER_PRIV_H
#define DATAPLANE_ROUTE_ROUTER_PRIV_H

#include "dataplane/config/config_priv.h"
#include "dataplane/route/place.h"

/* The routes of one host pattern: places by literal start of the path. */
struct host_group {
    struct obj o;
    struct tnode *paths;
    uint32_t len;
    char host[];
};

extern const struct pmap_type host_map;

/* A server name against "a.com", "*.b.com", "c.*"; a dot at the end of the pattern does not count.
 */
bool sni_is(struct str pattern, struct str name);

/* Sources and destinations of a route (NULL: any). Addresses have 16 bytes, IPv4 mapped. */
bool endpoints_match(const struct route_endpoints *ends, const unsigned char src[16],
                     uint16_t src_port, const unsigned char dst[16], uint16_t dst_port);

/* Writes s backwards. */
struct str reverse(struct str s, char *out);

#endif
