/*
 * expr.h - the expression language of routes: text to a checked tree.
 *
 *     http.host == "a.com" && (http.path ^= "/v1" || any(lower(http.headers.x_beta)) == "yes")
 *
 *     expression  either { "&&" either }
 *     either      term { "||" term }              "||" binds tighter than "&&"
 *     term        predicate | [ "!" ] "(" expression ")"
 *     predicate   left operator literal
 *     left        field | lower(left) | any(left)
 *     operator    == != ~ ^= =^ contains > >= < <= in "not in"
 *     literal     "text" with \" \\ \n \r \t | r#"text"# | number | address | network
 *
 * Fields and their types are the table EXPR_FIELDS. The control plane checks what it is given
 * with the very code that the data plane compiles from.
 * Source  the reference's expression language (version 1.6 of its engine).
 */
#ifndef COMMON_EXPR_H
#define COMMON_EXPR_H

#include "common/arena.h"
#include "common/checks.h"

#define EXPR_BYTES_MAX   (64u * 1024u)
#define EXPR_DEPTH_MAX   64u                  /* parentheses inside of each other */
#define EXPR_PREDS_MAX   4096u                /* comparisons */
#define EXPR_ARENA_BYTES (2u * 1024u * 1024u) /* more than any expression within these takes */

enum expr_type { EXPR_STRING, EXPR_INT, EXPR_ADDRESS };

enum expr_protocols { EXPR_HTTP = 1, EXPR_STREAM = 2, EXPR_BOTH = 3 };

/* id, name (or how it begins, when something of the writer's follows), type, where it exists */
#define EXPR_FIELDS(X)                                                         \
    X(EF_PROTOCOL, "net.protocol", EXPR_STRING, EXPR_BOTH)                     \
    X(EF_SRC_IP, "net.src.ip", EXPR_ADDRESS, EXPR_BOTH)                        \
    X(EF_SRC_PORT, "net.src.port", EXPR_INT, EXPR_BOTH)                        \
    X(EF_DST_IP, "net.dst.ip", EXPR_ADDRESS, EXPR_BOTH)                        \
    X(EF_DST_PORT, "net.dst.port", EXPR_INT, EXPR_BOTH)                        \
    X(EF_PORT, "net.port", EXPR_INT, EXPR_BOTH) /* old name of net.dst.port */ \
    X(EF_SNI, "tls.sni", EXPR_STRING, EXPR_BOTH)                               \
    X(EF_METHOD, "http.method", EXPR_STRING, EXPR_HTTP)                        \
    X(EF_HOST, "http.host", EXPR_STRING, EXPR_HTTP)                            \
    X(EF_PATH, "http.path", EXPR_STRING, EXPR_HTTP)                            \
    X(EF_SEGMENTS_LEN, "http.path.segments.len", EXPR_INT, EXPR_HTTP)          \
    X(EF_SEGMENTS, "http.path.segments.", EXPR_STRING, EXPR_HTTP)              \
    X(EF_HEADER, "http.headers.", EXPR_STRING, EXPR_HTTP)                      \
    X(EF_QUERY, "http.queries.", EXPR_STRING, EXPR_HTTP)

enum expr_field {
#define X(id, name, type, where) id,
    EXPR_FIELDS(X)
#undef X
        EXPR_FIELD_COUNT
};

#define EXPR_OPS(X)            \
    X(EO_EQ, "==")             \
    X(EO_NE, "!=")             \
    X(EO_PREFIX, "^=")         \
    X(EO_POSTFIX, "=^")        \
    X(EO_REGEX, "~")           \
    X(EO_GE, ">=")             \
    X(EO_LE, "<=")             \
    X(EO_GT, ">")              \
    X(EO_LT, "<")              \
    X(EO_CONTAINS, "contains") \
    X(EO_NOT_IN, "not in")     \
    X(EO_IN, "in")

enum expr_op {
#define X(id, text) id,
    EXPR_OPS(X)
#undef X
        EXPR_OP_COUNT
};

struct expr_pred {
    enum expr_field field;
    enum expr_op op;
    bool lower, any;
    struct str name;      /* of a header or query argument, as written */
    uint32_t first, last; /* of segments, both included */
    struct str text;      /* right sides, by the field's type and op */
    int64_t number;
    struct ip_network network; /* an address is a network of itself */
    uint32_t index;            /* the how-manieth predicate it is */
};

struct expr_node {
    enum expr_node_kind { EXPR_AND, EXPR_OR, EXPR_NOT, EXPR_PRED } kind;
    const struct expr_node *kids; /* first of those joined */
    const struct expr_node *next; /* the one behind this, joined with it */
    const struct expr_pred *pred;
};

struct expr {
    const struct expr_node *root;
    uint32_t n_preds;
};

/*
 * where: EXPR_HTTP or EXPR_STREAM. The tree is in a, and borrows from text. 0, or -1 with e: the
 * message says what is wrong, at which line and column, and what was expected there.
 */
int expr_parse(struct str text, enum expr_protocols where, struct arena *a, struct expr *out,
               struct err *e) WEIR_MUSTCHECK;

const char *expr_field_name(enum expr_field field);

#endif
