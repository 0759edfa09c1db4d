/*
 * place.h - the entries that stand at one place of the router, best last.
 *
 * Few entries are a sorted list. More are split by what they ask of a request: an entry that
 * wants the header "x-tenant: a" can only win when the request has it, so it stands in a
 * bucket of that name, and a request looks into the buckets whose names it can make itself.
 *
 *   place  rest: entries that ask for nothing more
 *          "header x-tenant a" -> list
 *          "header x-tenant b" -> place   rest, "method GET" -> list, "method PUT" -> list
 *          "sni a.com"         -> list
 *
 * What an entry asks is a short list of conditions, each of which may be met in several ways
 * (two methods: the entry stands in two buckets). They are necessary, not sufficient: who
 * finds an entry still asks whether it matches. Places are persistent as pmap.h is.
 */
#ifndef DATAPLANE_ROUTE_PLACE_H
#define DATAPLANE_ROUTE_PLACE_H

#include "dataplane/msg.h"
#include "dataplane/route/router.h"

/* Entries of one place, ascending: the best is the last. Borrows the routes. */
struct entry_list {
    struct obj o;
    uint32_t n, cap;
    struct route_entry v[];
};

/*
 * By precedence: priority, then age where it counts, then the greater id, then the path listed
 * first.
 */
int entry_cmp(const struct route_entry *a, const struct route_entry *b);

/* ---- changing: the config thread ---- */

/* *slot (NULL: empty) is in nodes that nobody shares; what it points to may be shared. */
void place_insert(struct obj **slot, const struct route_entry *e);
/* Whether it (NULL: empty) has so many entries that the order in which more come is worth sorting for. */
bool place_is_crowded(const struct obj *place);
/* e is there. True when nothing is left: the caller then drops *slot, which it must. */
bool place_remove(struct obj **slot, const struct route_entry *e);

/* ---- searching ---- */

/* What a request or a connection offers. Members that it has not are left zero. */
struct place_query {
    const struct headers *headers;
    struct str method;
    struct str sni; /* looked at when tls */
    bool tls;
    uint16_t port;                  /* asked for, or of the listener */
    const unsigned char *src, *dst; /* addresses of 16 bytes, IPv4 mapped */
};

/* Lists that may hold an entry that matches, in no order. Stops when visit returns false. */
typedef bool place_visit(void *arg, const struct entry_list *list);

/*
 * above: lists that cannot hold a priority of at least *above need not be visited; visit may
 * raise it. False when a visit said so.
 */
bool place_search(const struct obj *place, const struct place_query *q, const uint64_t *above,
                  place_visit *visit, void *arg);

/* At least the highest priority that stands there. */
uint64_t place_best(const struct obj *place);

/* ---- conditions (conditions.c) ---- */

enum key_kind {
    KEY_HEADER,    /* name in lower case with '-', 0, value in lower case */
    KEY_SNI,       /* in lower case: "a.com", "*.b.com", "c.*" */
    KEY_PLAINTEXT, /* no TLS, so that server names do not count */
    KEY_METHOD,
    KEY_PORT, /* 2 bytes */
    KEY_SRC,  /* length of the network in bits, 16 bytes of which the others are 0 */
    KEY_DST,
    KEY_KINDS
};

#define KEY_MAX        288 /* bytes; an entry that asks for more is not split by it */
#define CONDITIONS_MAX 4
#define KEYS_MAX       256 /* buckets that one entry may stand in */

/* Sets of keys, one of each of which an entry's requests can make. Keys begin with their kind. */
struct conditions {
    unsigned n;
    struct condition {
        size_t first, n; /* in keys */
    } v[CONDITIONS_MAX];
    struct key {
        size_t at, len; /* in text */
    } * keys;
    size_t n_keys, cap;
    size_t fan; /* buckets so far: the product of all n */
    struct sbuf text;
};

/* Always the same for one route. c is {0} or was used before. */
void conditions_of(const struct route_entry *e, struct conditions *c);
void conditions_free(struct conditions *c);

static inline struct str conditions_key(const struct conditions *c, size_t i)
{
    return str_n(c->text.p + c->keys[i].at, c->keys[i].len);
}

/* out: 17 bytes. The key of the network of that length that addr lies in. */
void key_network(const unsigned char addr[16], unsigned bits, char *out);

/* '-' and '_' alike, lower case. */
static inline char header_fold(char c)
{
    return c == '_' ? '-' : ascii_lower(c);
}

#endif
