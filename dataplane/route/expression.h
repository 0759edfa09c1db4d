/*
 * expression.h - a route's expression (common/expr.h), compiled: its regular expressions, where
 * it stands in the router, and asking it.
 *
 * Where it stands follows from what all its matches have in common. Of
 *
 *     (http.host == "a.com" || http.host =^ ".b.com") && http.path ^= "/v1" && http.method == "GET"
 *
 * the first two conjuncts choose the places, "a.com" and "*.b.com" at "/v1", as those of a
 * classic route do; the third is a condition there (place.h). An expression that has nothing of
 * the kind stands where every request looks. Wherever it stands, all of it is asked.
 */
#ifndef DATAPLANE_ROUTE_EXPRESSION_H
#define DATAPLANE_ROUTE_EXPRESSION_H

#include "common/expr.h"
#include "dataplane/config/config.h"
#include "dataplane/config/obj.h"
#include "dataplane/route/router.h"

struct route_expr {
    struct obj o;
    struct arena a;
    struct expr tree;
    struct str *texts; /* right sides by predicate; of names in lower case */
    struct regex **rx; /* by predicate, or NULL */
    bool asks_addresses;
    struct host_pattern *hosts; /* places: each of them with each of the paths */
    struct str *paths;          /* beginnings of paths, "" for any */
    uint32_t n_hosts, n_paths;
};

/* text is borrowed. NULL with e. */
struct route_expr *route_expr_new(struct str text, enum expr_protocols where, struct err *e);

/* What is asked for. */
struct expr_input {
    const struct req_head *req;     /* NULL: a connection of the stream proxy */
    struct str protocol, sni;       /* "": none */
    const unsigned char *src, *dst; /* 16 bytes, or NULL */
    uint16_t src_port, dst_port;
    struct arena *scratch;
};

/*
 * m gets what the predicate on http.path that held last took of the path, and its captures.
 * An expression whose values do not fit the scratch arena does not match.
 */
bool route_expr_matches(const struct route_expr *x, const struct expr_input *in,
                        struct route_match *m);

/*
 * The comparisons of which one must hold for the conjunct at *next to hold, all of one field;
 * *next moves on. Returns how many (0: it is of another kind), or -1 behind the last conjunct.
 */
#define EXPR_ALTERNATIVES_MAX 64
int route_expr_alternatives(const struct route_expr *x, const struct expr_node **next,
                            const struct expr_pred *out[EXPR_ALTERNATIVES_MAX]);
const struct expr_node *route_expr_conjuncts(const struct route_expr *x);

#endif
