/*
 * rows.h - one record to one compiled entity, and the indexes that it belongs to.
 */
#ifndef DATAPLANE_CONFIG_ROWS_H
#define DATAPLANE_CONFIG_ROWS_H

#include "dataplane/config/config_priv.h"
#include "proto/record.h"

/* Ids to be looked at once more when all records are in; duplicates welcome. */
struct id_list {
    struct uuid *v;
    size_t n, cap;
};
void id_list_add(struct id_list *l, const struct uuid *id);
void id_list_unique(struct id_list *l); /* keeps the order */

/* Entities as they came. */
struct row_list {
    struct ent_obj **v;
    size_t n, cap;
};
void row_list_add(struct row_list *l, struct ent_obj *o);

/* A version in the making. */
struct build {
    struct compiler *compiler;
    const struct roots *base; /* the version before; empty when full */
    struct roots r;
    bool full;                    /* nothing was before: all rows of listed kinds are derived, in rows */
    bool repeated;                /* rows may name some that are no more */
    struct row_list rows[MAP_CONSUMERS + 1];
    struct id_list routes, services, consumers, upstreams; /* whose derived parts may differ */
    struct id_list plugged;                                /* services whose plugins have changed */
    bool global;             /* plugins bound to nothing have changed */
    bool upstream_certs;     /* upstreams' client certificates may have changed */
    bool client_auth;        /* routes that ask for certificates, or whom they trust */
    bool tickets;            /* keys of session tickets */
};

/* How a type of record is compiled. */
struct row_kind {
    const struct entity *ent;
    uint8_t type; /* enum entity_type */
    enum map_id map;
    struct obj_type obj_type;
    bool listed;      /* in build.rows when all is new */
    size_t size, def; /* of the object; offset of the decoded struct in it */

    /* Completes a fresh object. 0; 1: it counts as absent; -1 with e. */
    int (*complete)(struct compiler *c, struct ent_obj *o, struct err *e);
    /* A copy shares what is not derived; the rest is forgotten. NULL: nothing of either. */
    void (*copied)(struct ent_obj *o);
    /* Secondary indexes: old leaves (NULL: none), now comes (NULL: none). */
    void (*index)(struct build *b, struct ent_obj *old, struct ent_obj *now);
    /* Marks what depends on it. */
    void (*touch)(struct build *b, const struct ent_obj *old, const struct ent_obj *now);
};

extern const struct row_kind row_kinds[];
extern const size_t n_row_kinds;
const struct row_kind *row_kind_of(uint8_t type); /* NULL: not a type that this data plane knows */

/* Applies one record to b. -1 with e, whose path names the entity. */
int row_apply(struct build *b, const struct record *r, struct err *e) WEIR_MUSTCHECK;

/* All of a listed kind when all is new, else none; mostly in the order in which they lie in memory. */
const struct row_list *rows_all(struct build *b, enum map_id map);

/*
 * The entity of that type and id, made b's own: itself when the version before has it not,
 * else a copy that shares its decoded body, lacks derived parts and is already in its place.
 * NULL: there is none.
 */
struct ent_obj *row_own(struct build *b, uint8_t type, const struct uuid *id);

/*
 * Appends the CA certificates that ids (struct str) name. An unknown one is an error with e when
 * all are needed, else it is left out.
 */
int ca_stack(const struct build *b, struct list ids, bool all, STACK_OF(X509) *to, struct err *e) WEIR_MUSTCHECK;

/* What rows need of the compiler. */
unsigned compiler_plugin_order(const struct compiler *c, const struct plugin_contract *contract);
enum router_flavor compiler_flavor(const struct compiler *c);
char *compiler_scratch(struct compiler *c, size_t *size_out);

/* Where the compiler remembers how many bytes of lists the last entity of a kind had. */
size_t *compiler_lists_of(struct compiler *c, const struct entity *ent);

#endif
