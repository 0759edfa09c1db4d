/*
 * pmap.h - a persistent map: hash array mapped trie, shared between versions.
 *
 * Copying a map costs one reference. A change copies only the nodes on its way that another
 * map shares (a handful, whatever the size); nodes that nobody shares are changed in place,
 * so filling a fresh map costs no copies. Keys are part of the values.
 * Threads: lookups from anywhere; everything else from the config thread.
 */
#ifndef DATAPLANE_CONFIG_PMAP_H
#define DATAPLANE_CONFIG_PMAP_H

#include "common/str.h"
#include "dataplane/config/obj.h"

struct pnode;

struct pmap {
    struct pnode *root;
    size_t n;
};

struct pmap_type {
    struct str (*key)(const struct obj *value);
    bool owns; /* holds a reference on each value; else another map of the version does */
};

/* The value of that key, or NULL. */
struct obj *pmap_get(const struct pmap *m, const struct pmap_type *t, struct str key);

/*
 * Where the value of that key stands, in nodes that m shares with nobody. When the key is
 * new, *slot is NULL and must be set before the next call. The slot lives until then.
 */
struct obj **pmap_own(struct pmap *m, const struct pmap_type *t, struct str key);

/* Adds or replaces. Takes a reference of its own when t->owns. */
void pmap_put(struct pmap *m, const struct pmap_type *t, struct obj *value);

/* Removes; false when the key is not there. */
bool pmap_del(struct pmap *m, const struct pmap_type *t, struct str key);

/* Shares all of m. */
struct pmap pmap_share(const struct pmap *m);

/* Gives it back; m is empty then. */
void pmap_drop(struct pmap *m, const struct pmap_type *t);

/* In no particular order. */
void pmap_each(const struct pmap *m, void (*fn)(struct obj *value, void *arg), void *arg);

#endif
