/*
 * source.h - where rows are read from: the store as of its last commit, or a transaction
 * under way. What looks rows up for reads and for writes is the same code.
 */
#ifndef ADMIN_API_SOURCE_H
#define ADMIN_API_SOURCE_H

#include "controlplane/store.h"

struct source {
    struct store *store; /* or, when not NULL: */
    struct txn *txn;
};

static inline struct source source_store(struct store *s)
{
    return (struct source){.store = s};
}

static inline struct source source_txn(struct txn *t)
{
    return (struct source){.txn = t};
}

/* As store_get: 1, 0, -1. */
static inline int source_get(const struct source *src, const struct entity *ent,
                             const struct row_ref *ref, json_t **doc_out, struct problem *p)
{
    return src->txn ? txn_get(src->txn, ent, ref, doc_out, p)
                    : store_get(src->store, ent, ref, doc_out, p);
}

/* As store_page. */
static inline int source_page(const struct source *src, const struct entity *ent,
                              const struct page_query *q, json_t **rows_out, char **offset_out,
                              struct problem *p)
{
    return src->txn ? txn_page(src->txn, ent, q, rows_out, offset_out, p)
                    : store_page(src->store, ent, q, rows_out, offset_out, p);
}

#endif
