/*
 * router.h - which thing a path names. Entity paths are derived from the entity tables; the
 * others are one table in router.c.
 *
 *     /services                 PLACE_COLLECTION
 *     /services/{s}             PLACE_ENTITY
 *     /services/{s}/routes      PLACE_CHILDREN    rows of ent whose link names the owner
 *     /services/{s}/routes/{r}  PLACE_CHILD
 *     /routes/{r}/service       PLACE_LINK        the row of ent that the owner's link names
 *     /schemas/{name}           PLACE_SPECIAL
 */
#ifndef ADMIN_API_ROUTER_H
#define ADMIN_API_ROUTER_H

#include "common/schema.h"

struct call;
struct seg;

/* method, word: in the order of Allow */
#define METHODS(X)          \
    X(M_DELETE, "DELETE")   \
    X(M_GET, "GET")         \
    X(M_HEAD, "HEAD")       \
    X(M_OPTIONS, "OPTIONS") \
    X(M_PATCH, "PATCH")     \
    X(M_POST, "POST")       \
    X(M_PUT, "PUT")

enum method {
#define X(id, word) id,
    METHODS(X)
#undef X
        M_OTHER
};
#define MBIT(m)        (1u << (m))
#define METHODS_READ   (MBIT(M_GET) | MBIT(M_HEAD) | MBIT(M_OPTIONS))
#define METHODS_LIST   (METHODS_READ | MBIT(M_POST))
#define METHODS_ENTITY (METHODS_READ | MBIT(M_PATCH) | MBIT(M_PUT) | MBIT(M_DELETE))
#define METHODS_POST   (MBIT(M_OPTIONS) | MBIT(M_POST))

enum method method_parse(struct str word);

/* "GET, HEAD, OPTIONS" */
void methods_list(unsigned methods, char *out, size_t size);

enum place {
    PLACE_NONE,
    PLACE_COLLECTION,
    PLACE_ENTITY,
    PLACE_CHILDREN,
    PLACE_CHILD,
    PLACE_LINK,
    PLACE_SPECIAL,
};

enum outcome;
struct special {
    const char *pattern; /* "/schemas/{name}": parts in braces take any text */
    unsigned methods;
    enum outcome (*handle)(struct call *c); /* not for OPTIONS */
};

struct match {
    enum place place;
    unsigned methods;
    const struct entity *ent;   /* what is read or written */
    const struct entity *owner; /* CHILDREN, CHILD, LINK: whose path comes first */
    const struct field *link;   /* the foreign field between the two */
    const struct special *special;
};

/* Finds the place of a path; place is PLACE_NONE when it names nothing. */
struct match router_find(const struct seg *seg, size_t n_seg);

/* Every path there is: sorted array of strings. The caller's. */
json_t *router_endpoints(void);

#endif
