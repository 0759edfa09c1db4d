/*
 * router.h - from a request to its route, at a cost that does not grow with their number.
 *
 *   host "api.x.com"  -> exact: hash      -> paths: radix -> entries at "/", "/a", "/a/b"
 *                     -> "*.x.com": radix on the reversed name -> paths ...
 *                     -> "api.*": radix on the name            -> paths ...
 *                     -> routes without host                   -> paths ...
 *
 * A route stands as an entry under each of its hosts and each of its paths. An entry of a
 * regular expression stands at the literal text that the expression begins with, one without
 * path at "". Entries of a place are sorted by precedence; the search visits the few places
 * that can match, longest path first, and leaves out what cannot beat the best so far.
 */
#ifndef DATAPLANE_ROUTE_ROUTER_H
#define DATAPLANE_ROUTE_ROUTER_H

#include "common/entities.h"
#include "dataplane/config/pmap.h"
#include "dataplane/config/ptrie.h"

struct o_route;
struct err;
struct route;

enum entry_kind { ENTRY_ANY_PATH, ENTRY_PREFIX, ENTRY_REGEX, ENTRY_EXPRESSION, ENTRY_STREAM };

struct route_entry {
    uint64_t priority; /* as the reference computes it */
    const struct o_route *route;
    uint32_t path; /* index into the route's paths, or those of its expression */
    uint16_t port; /* of the host pattern; 0: any */
    uint8_t kind;
};

struct router {
    struct pmap exact;                   /* host_group by host */
    struct tnode *suffix, *prefix, *any; /* of host_group, host_group, places */
    struct obj *stream;                  /* place of all stream routes; NULL: none */
    enum router_flavor flavor;
    uint32_t n_addresses; /* entries of HTTP that ask for addresses */
};

/* A host as routes write it. */
struct host_pattern {
    struct str text; /* without wildcard and port */
    enum host_pattern_kind { HOST_EXACT, HOST_SUFFIX, HOST_PREFIX, HOST_ANY } kind;
    uint16_t port;
};
struct host_pattern host_pattern_parse(struct str host);

/* 64-bit precedence of one group of paths: all regular expressions, or prefixes of one length. */
uint64_t route_priority(const struct route *r, bool regex, size_t prefix_len);

/*
 * Precedence in the oldest flavor, of one host pattern: which fields there are, then hosts
 * with port, wildcards, headers, regex_priority, the longest prefix.
 */
uint64_t traditional_priority(const struct route *r, bool host_with_port);

/* The same for a stream route: the reference's layout for stream routes. */
uint64_t stream_priority(const struct route *r);

/* Of an expression: above all that is classic. */
uint64_t expression_priority(const struct route *r);

/* Entries to be put in or taken out. */
struct router_changes {
    struct router_change {
        struct route_entry entry;
        struct host_pattern host;
    } * v;
    size_t n, cap;
};
void router_changes_add(struct router_changes *list, const struct o_route *r);
void router_changes_free(struct router_changes *list);

#define ROUTE_ENTRIES_MAX 65536u /* hosts times paths of one route */

/* Takes out, then puts in. Leaves both lists in no particular order. */
void router_apply(struct router *r, struct router_changes *out, struct router_changes *in);

struct router router_share(const struct router *r);
void router_drop(struct router *r);

#endif
