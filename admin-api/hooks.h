/*
 * hooks.h - what an entity does beyond its table. One row per entity that has something to
 * say; an entity without a row is served by crud.c alone.
 */
#ifndef ADMIN_API_HOOKS_H
#define ADMIN_API_HOOKS_H

#include "admin-api/source.h"

struct hooks {
    const struct entity *ent;
    bool no_links;            /* /E/{e}/parent is switched off */
    bool newest_first;        /* collections: by time of creation, offsets are counts */
    bool put_updates;         /* PUT changes an existing row and creates none */
    bool missing_names_id;    /* GET of a missing row answers with the problem's body */
    const char *patch_needs;  /* PATCH of a missing row without this field: a plain 404 */
    const char *find_by;      /* query argument that finds one row by a unique field */
    const char *path_missing; /* a name in a path that finds nothing: this 404 message */

    /*
     * Turns a name in a path into a reference, in place of the endpoint key. 1, 0 when there
     * is no such row, -1 with p.
     */
    int (*by_name)(const struct source *src, struct str name, struct row_ref *ref_out,
                   struct problem *p);

    /* Looks at a body before it is validated, may change it. 0 or -1 with p. No store. */
    int (*before)(json_t *in, struct problem *p);

    /*
     * Around a write, in its transaction. given: what the client wrote. check sees the row
     * that is about to be written; after runs behind it.
     */
    int (*check)(struct txn *t, const json_t *given, json_t *doc, struct problem *p);
    int (*after)(struct txn *t, const json_t *given, const json_t *doc, struct problem *p);

    /* Before a row is deleted, in the same transaction. 0 or -1 with p. */
    int (*leaving)(struct txn *t, const struct uuid *id, struct problem *p);

    /* Adds to an answer what the row itself does not hold. */
    int (*answer)(const struct source *src, json_t *shown, struct problem *p);
};

/* Never NULL. */
const struct hooks *hooks_of(const struct entity *ent);

extern const struct hooks hooks_certificates, hooks_targets;

#endif
