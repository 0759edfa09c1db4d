/*
 * decl_priv.h - what the files of the declarative reader share: the tree between text and
 * entities. It keeps what a JSON tree loses: lines, and how a scalar was written.
 */
#ifndef COMMON_DECL_PRIV_H
#define COMMON_DECL_PRIV_H

#include "common/declarative.h"
#include "common/schema_priv.h"

enum node_kind { NODE_SCALAR, NODE_SEQ, NODE_MAP };

struct node {
    uint8_t kind;   /* enum node_kind */
    bool plain;     /* a scalar without quotes: its type follows from its text or its field */
    uint8_t height; /* levels below */
    uint32_t line;  /* 1-based */
    uint32_t n;     /* of items or pairs, bytes of a text */
    uint32_t size;  /* nodes in here once aliases are followed */
    union {
        const char *text; /* not NUL-terminated */
        const struct node *items;
        const struct node_pair *pairs;
    };
};

/* Aliases copy the node; what is below it is shared. */
struct node_pair {
    const char *key; /* not NUL-terminated */
    uint32_t key_len;
    uint32_t line : 31;
    uint32_t plain_key : 1;
    struct node value;
};

static inline struct str node_str(const struct node *n)
{
    return str_n(n->text, n->n);
}

static inline struct str pair_key(const struct node_pair *p)
{
    return str_n(p->key, p->key_len);
}

struct tree {
    struct arena arena;
    struct node root;
    size_t error_line;         /* of what tree_parse complains about; 0: of no line */
    char reference_error[256]; /* as the reference counts: from the last event that was read */
};

/*
 * One YAML or JSON document to a tree, which borrows from text. Bounded: 64 levels, and after
 * following aliases 5 million nodes, in a large text one per 4 bytes. Anchors, aliases and merge keys are resolved; a key may stand once in a mapping.
 * 0, or -1 with e->message "LINE:COLUMN: ...". tree_free in either case.
 */
int tree_parse(struct str text, struct tree *out, struct err *e) WEIR_MUSTCHECK;
void tree_free(struct tree *t);

#define TREE_DEPTH_MAX 64

/* What a text adds to the size of its node. */
uint32_t tree_text_size(struct str text);

/* How many nodes a tree of such a text may have. */
uint32_t tree_nodes_max(struct str text);

/* Accounts for a child; false: n, at that depth, would not be within the bounds. */
bool tree_count_child(struct node *n, const struct node *child, unsigned depth, uint32_t nodes_max);

bool tree_keys_differ(const struct node_pair *pairs, size_t n);

/*
 * The tree of a JSON text (decl_json.c), the same that libyaml's events would make; false: it
 * is no JSON or has something rare in it, ask libyaml. What it took stays in the arena.
 */
bool json_tree(struct str text, struct arena *arena, struct node *out);

/* The value of key in a mapping, or NULL: not there, or n is no mapping. */
const struct node *node_get(const struct node *n, struct str key);

/* The i-th element of a sequence, or NULL. */
const struct node *node_at(const struct node *n, size_t i);

bool node_is_null(const struct node *n);

/* The text of a scalar that the field wants as a string, the tree's; else absent. */
struct str node_text(const struct node *n, const struct field *field, enum decl_typing typing);

/* What a scalar is where the field (may be NULL) stands. */
struct val scalar_val(const struct node *n, const struct field *field, enum decl_typing typing);

/* The value, its scalars typed as the field (may be NULL) wants them. Never NULL. */
json_t *node_json(const struct node *n, const struct field *field, enum decl_typing typing);

/* As node_json for the members of an object whose table is fields (may be NULL). */
json_t *node_member_json(const struct node_pair *pair, const struct field *fields,
                         const struct record_checks *checks, enum decl_typing typing);

/* ---- texts by what they mean (decl_index.c) ---- */

struct decl_slot {
    const void *space; /* what kind of text it is: an address of the caller's choice */
    struct str key;    /* borrowed */
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

/* ---- entities on their way (declarative.c) ---- */

struct ref { /* a foreign key as written */
    const struct field *field;
    struct str text;
    size_t line;
    struct ref *next;
};

/* What an item needs that is not simply right. */
struct draft {
    json_t *doc; /* while it is settled */
    struct ref *refs;
    json_t *errors;    /* object, as violations.fields; NULL: none so far */
    char *refusal;     /* what is wrong with the item as a whole */
    struct str odd_id; /* the id, when it is a text but no UUID */
};

#define NO_PARENT UINT32_MAX

/* What the items of one list have in common. */
struct place {
    const struct entity *ent;
    const struct field *parent_field;
    uint32_t parent; /* index of the item around them, or NO_PARENT */
};

enum item_key { BY_ID, BY_NAME, ITEM_KEYS };

struct item {
    const struct place *in;
    const struct node *node;
    struct str name; /* what others may call it, or absent */
    struct uuid id;
    struct draft *draft;   /* or NULL */
    uint32_t position;     /* 1-based, in its list */
    bool has_id;           /* else it has none, or an odd one */
    bool later[ITEM_KEYS]; /* another one had that key first */
    bool taken[ITEM_KEYS]; /* of the first one: an item that is right in itself has the key */
};

/* Items by a key of theirs: open addressing, nothing is removed. */
struct item_table {
    struct item_slot {
        uint32_t hash, item; /* its index + 1; 0: empty */
    } * v;
    size_t n, cap;
};

/* What a member of an entity's mapping is. */
struct member {
    struct str key;
    enum { MEMBER_FIELD, MEMBER_CHILDREN, MEMBER_REMARK, MEMBER_OTHER } role;
    const struct field *field; /* the field, or that of the children that names this entity */
    const struct entity *child;
    size_t position; /* of a field, in the entity's table */
};

#define MEMBERS_KNOWN 16

struct reader {
    enum decl_typing typing;
    const struct node *root;
    struct arena *arena;
    struct item *items;
    size_t n_items, cap_items;
    struct item_table by[ITEM_KEYS];
    uint64_t seed;
    struct decl_index index; /* by entity: odd ids; by field: values that are unique */
    json_t *top;         /* errors of the document itself */
    json_t *bad_refs;    /* entity name: {name or id: [text]} */
    json_t *defaults;    /* _info.defaults, borrowed, or NULL */
    bool old_paths;      /* versions 1.1 and 2.1: regexes carry no ~ yet */
    struct decl_errors *errs;
    json_t *documents; /* where they are kept, as in struct decl; or NULL: */
    decl_sink *sink;
    void *sink_arg;
    struct sbuf body;  /* of the entity in hand */
    char token[33];    /* a made-up value of it */
    int64_t now_s;     /* when all of it is created */
    json_t *wrong;     /* empty between entities */
    /* the last kind that an id was made for, and what its ids derive from */
    const struct entity *space_of;
    struct uuid space;
    /* entities of one kind mostly have the same members at the same places */
    struct member members[ET_MAX + 1][MEMBERS_KNOWN];
};

/* What the i-th member of an entity's mapping is. */
struct member decl_member(struct reader *r, const struct entity *ent, const struct node *map,
                          size_t i);

/*
 * What a foreign key names: the scalar with an id or a name, or NULL: nothing. False: it is
 * written in a way that is not understood.
 */
bool decl_foreign(const struct reader *r, const struct field *f, const struct node *n,
                  const struct node **named_out);

/*
 * The item that a foreign key means by its id or its name; NULL for one whose id is odd.
 * False: there is none.
 */
bool decl_find_target(const struct reader *r, const struct field *f, struct str text,
                      const struct item **target_out);

/*
 * Packs an item straight from the tree into body, its values in values (decl_pack.c). False:
 * something is wrong or rare, or needs a document; nothing has happened then.
 */
bool decl_pack(struct reader *r, struct item *it, struct frame *values, struct sbuf *body);

/* ---- files of older versions (decl_paths.c) ---- */

/* The paths of a route of version 1.1 or 2.1 as version 3.0 writes them: ~ before a regex. */
void decl_migrate_paths(json_t *route);

/* ---- errors (decl_errors.c) ---- */

/* Adds one line of the list. path may be "". takes nothing. */
void decl_errors_add(struct decl_errors *errs, size_t line, const char *path, const char *text);

/* Adds a line for each text in fields (the shape of a violations object of the thing at node). */
void decl_errors_add_fields(struct decl_errors *errs, const struct node *node, size_t line,
                            const char *path, const json_t *fields);

/* By line. */
void decl_errors_sort(struct decl_errors *errs);

#endif
