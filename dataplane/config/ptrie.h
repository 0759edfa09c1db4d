/*
 * ptrie.h - a persistent radix tree on bytes, shared between versions as pmap.h is.
 *
 * Made for one question: which values stand at prefixes of this text? A change copies the
 * nodes on its way that are shared. Threads: as pmap.h.
 */
#ifndef DATAPLANE_CONFIG_PTRIE_H
#define DATAPLANE_CONFIG_PTRIE_H

#include "common/str.h"
#include "dataplane/config/obj.h"

/* One allocation: kids, the first byte of each kid's label (ascending), the label. */
struct tnode {
    uint32_t refs;
    uint32_t label_len;
    uint32_t n_kids;
    struct obj *value; /* owned; NULL: only a fork */
    struct tnode *kids[];
};

static inline const unsigned char *tnode_firsts(const struct tnode *n)
{
    return (const unsigned char *)(n->kids + n->n_kids);
}

static inline const char *tnode_label(const struct tnode *n)
{
    return (const char *)tnode_firsts(n) + n->n_kids;
}

/*
 * Where the value of key stands, in nodes that nobody shares; *slot is NULL when key is new,
 * and must be set (the tree then owns that reference) before the next call.
 */
struct obj **ptrie_own(struct tnode **root, struct str key);

/* Removes key, which is there, with its value. */
void ptrie_del(struct tnode **root, struct str key);

struct obj *ptrie_get(const struct tnode *root, struct str key);

static inline struct tnode *ptrie_share(struct tnode *root)
{
    if (root)
        root->refs++;
    return root;
}

void ptrie_drop(struct tnode **root);

/*
 * Steps from prefix to prefix: `struct tnode_walk w = ptrie_walk(root, text); while ((v =
 * ptrie_next(&w)))` gives the values at prefixes of text, shortest first.
 */
struct tnode_walk {
    const struct tnode *at; /* to be compared with what is left of the text */
    const char *p;
    size_t len;
};

static inline struct tnode_walk ptrie_walk(const struct tnode *root, struct str text)
{
    return (struct tnode_walk){root, text.p, text.len};
}

struct obj *ptrie_next(struct tnode_walk *w);

#endif
