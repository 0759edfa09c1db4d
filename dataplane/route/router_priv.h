/* router_priv.h - what router.c builds and match.c searches. */
#ifndef DATAPLANE_ROUTE_ROUTER_PRIV_H
#define DATAPLANE_ROUTE_ROUTER_PRIV_H

#include "dataplane/config/config_priv.h"

/* Entries of one place, ascending: the best is the last. Borrows the routes. */
struct entry_list {
    struct obj o;
    uint32_t n, cap;
    struct route_entry v[];
};

/* The routes of one host pattern: entry_list by literal start of the path. */
struct host_group {
    struct obj o;
    struct tnode *paths;
    uint32_t len;
    char host[];
};

extern const struct pmap_type host_map;

/* By precedence: priority, then the greater id, then the path listed first. */
int entry_cmp(const struct route_entry *a, const struct route_entry *b);

/* Writes s backwards. */
struct str reverse(struct str s, char *out);

#endif
