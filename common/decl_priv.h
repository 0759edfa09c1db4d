/*
 * decl_priv.h - what the files of the declarative reader share: the tree between text and
 * entities. It keeps what a JSON tree loses: lines, and how a scalar was written.
 */
#ifndef COMMON_DECL_PRIV_H
#define COMMON_DECL_PRIV_H

#include "common/declarative.h"

enum node_kind { NODE_SCALAR, NODE_SEQ, NODE_MAP };

struct node {
    uint8_t kind;   /* enum node_kind */
    bool plain;     /* a scalar without quotes: its type follows from its text or its field */
    uint8_t height; /* levels below */
    uint32_t line;  /* 1-based */
    uint32_t n;     /* of items or pairs */
    uint32_t size;  /* nodes in here once aliases are followed */
    union {
        struct str text;
        const struct node **items;
        struct node_pair *pairs;
    };
};

struct node_pair {
    struct str key; /* NUL-terminated */
    bool plain_key;
    uint32_t line;
    const struct node *value; /* aliases share it */
};

struct tree {
    struct arena arena;
    const struct node *root;
    size_t error_line;         /* of what tree_parse complains about; 0: of no line */
    char reference_error[256]; /* as the reference counts: from the last event that was read */
};

/*
 * One YAML or JSON document to a tree. Bounded: 64 levels, 5 million nodes after following
 * aliases. Anchors, aliases and merge keys are resolved; a key may stand once in a mapping.
 * 0, or -1 with e->message "LINE:COLUMN: ...". tree_free in either case.
 */
int tree_parse(struct str text, struct tree *out, struct err *e) WEIR_MUSTCHECK;
void tree_free(struct tree *t);

#define TREE_DEPTH_MAX 64

/* What a text adds to the size of its node. */
uint32_t tree_text_size(struct str text);

/* Accounts for a child; false: n, at that depth, would not be within the bounds. */
bool tree_count_child(struct node *n, const struct node *child, unsigned depth);

bool tree_keys_differ(const struct node_pair *pairs, size_t n);

/*
 * The tree of a JSON text (decl_json.c), the same that libyaml's events would make; NULL: it
 * is no JSON or has something rare in it, ask libyaml. What it took stays in the arena.
 */
const struct node *json_tree(struct str text, struct arena *arena);

/* The value of key in a mapping, or NULL: not there, or n is no mapping. */
const struct node *node_get(const struct node *n, struct str key);

/* The i-th element of a sequence, or NULL. */
const struct node *node_at(const struct node *n, size_t i);

bool node_is_null(const struct node *n);

/* The text of a scalar that the field wants as a string, the tree's; else NULL. */
const char *node_text(const struct node *n, const struct field *field, enum decl_typing typing);

/* The value, its scalars typed as the field (may be NULL) wants them. Never NULL. */
json_t *node_json(const struct node *n, const struct field *field, enum decl_typing typing);

/* As node_json for the members of an object whose table is fields (may be NULL). */
json_t *node_member_json(const struct node_pair *pair, const struct field *fields,
                         const struct record_checks *checks, enum decl_typing typing);

/* ---- files of older versions (decl_paths.c) ---- */

/* The paths of a route of version 1.1 or 2.1 as version 3.0 writes them: ~ before a regex. */
void decl_migrate_paths(json_t *route);

/* ---- texts by what they mean (decl_index.c) ---- */

struct decl_slot {
    const void *space; /* what kind of text it is: an address of the caller's choice */
    struct str key;    /* borrowed */
    const char *id;    /* of the first entity that has it, or NULL; the caller's */
    uint32_t hash;
    bool taken; /* an entity that is right in itself has it */
};

struct decl_index {
    struct decl_slot *v;
    size_t n, cap;
    uint64_t seed;
};

/* NULL: not there. Slots move when the next one is added. */
struct decl_slot *decl_index_find(const struct decl_index *ix, const void *space, struct str key);

/* Found or added; key is borrowed for as long as the index lives. */
struct decl_slot *decl_index_add(struct decl_index *ix, const void *space, struct str key);

void decl_index_free(struct decl_index *ix);

/* ---- errors (decl_errors.c) ---- */

/* Adds one line of the list. path may be "". takes nothing. */
void decl_errors_add(struct decl_errors *errs, size_t line, const char *path, const char *text);

/* Adds a line for each text in fields (the shape of a violations object of the thing at node). */
void decl_errors_add_fields(struct decl_errors *errs, const struct node *node, size_t line,
                            const char *path, const json_t *fields);

/* By line. */
void decl_errors_sort(struct decl_errors *errs);

#endif
