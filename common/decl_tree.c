/*
 * decl_tree.c - YAML text to a tree, and the tree to JSON values.
 *
 * JSON comes in through the same door: it is YAML but for one thing, characters beyond the
 * basic plane written as two \u escapes, which are put in plain before libyaml sees them.
 */
#include "common/decl_priv.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <yaml.h>

#define NODES_MAX 5000000u
#define TEXT_MAX  (512u << 20)
#define NODE_TEXT 100 /* so many bytes of text count as one more node: aliases repeat them */

/* ---- text to events ---- */

struct builder {
    yaml_parser_t parser;
    yaml_event_t event; /* the one in hand */
    bool have_event;
    json_t *anchors; /* name: address of the finished node */
    struct tree *tree;
    struct err *e;
};

static int refuse(struct builder *b, yaml_mark_t at, const char *fmt, ...) WEIR_PRINTF(3, 4);
static int refuse(struct builder *b, yaml_mark_t at, const char *fmt, ...)
{
    char text[400];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    b->tree->error_line = at.line + 1;
    return err_set(b->e, ERR_INVALID, "%zu:%zu: %s", at.line + 1, at.column + 1, text);
}

static int next_event(struct builder *b)
{
    yaml_mark_t last = b->event.start_mark;
    const char *problem;

    if (b->have_event)
        yaml_event_delete(&b->event);
    b->have_event = yaml_parser_parse(&b->parser, &b->event);
    if (b->have_event)
        return 0;
    problem = b->parser.problem ? b->parser.problem : "cannot be read";
    snprintf(b->tree->reference_error, sizeof(b->tree->reference_error), "%zu:%zu: %s",
             last.line + 1, last.column + 1, problem);
    if (b->parser.error == YAML_READER_ERROR) /* knows the offset, not the line */
        return err_set(b->e, ERR_INVALID, "byte %zu: %s", b->parser.problem_offset, problem);
    return refuse(b, b->parser.problem_mark, "%s", problem);
}

/* ---- events to nodes ---- */

/* A NUL would end the text early for whoever reads it as a C string. */
static int take_text(struct builder *b, struct str *out)
{
    const unsigned char *value = b->event.data.scalar.value;
    size_t len = b->event.data.scalar.length;

    if (len && memchr(value, '\0', len))
        return refuse(b, b->event.start_mark, "NUL characters are not allowed");
    *out = str_n(arena_strdup(&b->tree->arena, str_n((const char *)value, len)), len);
    return 0;
}

static bool is_core_tag(const char *tag, const char *name)
{
    static const struct str prefix = {"tag:yaml.org,2002:", 18};

    return str_starts(str_of(tag), prefix) && strcmp(tag + prefix.len, name) == 0;
}

/* Whether the scalar's type follows from its text; explicit tags say it outright. */
static int scalar_is_plain(struct builder *b, bool *plain_out)
{
    static const char *const typed[] = {"int", "float", "bool", "null"};
    const char *tag = (const char *)b->event.data.scalar.tag;

    *plain_out = b->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (!tag)
        return 0;
    *plain_out = false;
    if (strcmp(tag, "!") == 0 || is_core_tag(tag, "str"))
        return 0;
    *plain_out = true;
    for (size_t i = 0; i < ARRAY_LEN(typed); i++)
        if (is_core_tag(tag, typed[i]))
            return 0;
    return refuse(b, b->event.start_mark,
                  "unknown tag '%.100s', expected !!str, !!int, !!float, !!bool or !!null", tag);
}

uint32_t tree_text_size(struct str text)
{
    return (uint32_t)(text.len / NODE_TEXT);
}

/* Refuses trees that would not fit once aliases are followed. */
static int add_size(struct builder *b, struct node *n, const struct node *child, yaml_mark_t at)
{
    if (n->size + (uint64_t)child->size > NODES_MAX)
        return refuse(b, at, "more than %u values, counting what aliases repeat", NODES_MAX);
    n->size += child->size;
    return 0;
}

bool tree_count_child(struct node *n, const struct node *child, unsigned depth)
{
    if (n->size + (uint64_t)child->size > NODES_MAX || depth + 1 + child->height > TREE_DEPTH_MAX)
        return false;
    n->size += child->size;
    if (child->height >= n->height)
        n->height = (uint8_t)(child->height + 1);
    return true;
}

static int count_child(struct builder *b, struct node *n, const struct node *child, unsigned depth,
                       yaml_mark_t at)
{
    struct node sum = *n;

    if (tree_count_child(n, child, depth))
        return 0;
    if (add_size(b, &sum, child, at) != 0)
        return -1;
    return refuse(b, at, "nested more than %u levels deep", TREE_DEPTH_MAX);
}

static int build(struct builder *b, unsigned depth, const struct node **out);

static int build_scalar(struct builder *b, struct node *n)
{
    if (scalar_is_plain(b, &n->plain) != 0 || take_text(b, &n->text) != 0)
        return -1;
    n->size += tree_text_size(n->text);
    return 0;
}

static int build_seq(struct builder *b, unsigned depth, struct node *n)
{
    const struct node **items = NULL;
    size_t cap = 0;
    int rc = -1;

    while (next_event(b) == 0) {
        yaml_mark_t at = b->event.start_mark;

        if (b->event.type == YAML_SEQUENCE_END_EVENT) {
            n->items = arena_dup(&b->tree->arena, items, n->n * sizeof(*items));
            rc = 0;
            break;
        }
        if (!items || n->n == cap)
            items = xrealloc(items, (cap = cap ? cap * 2 : 8) * sizeof(*items));
        if (build(b, depth + 1, &items[n->n]) != 0 ||
            count_child(b, n, items[n->n], depth, at) != 0)
            break;
        n->n++;
    }
    free(items);
    return rc;
}

static int compare_keys(const void *a, const void *b)
{
    const struct node_pair *x = *(const struct node_pair *const *)a;
    const struct node_pair *y = *(const struct node_pair *const *)b;
    int c = str_cmp(x->key, y->key);

    return c ? c : (x->line > y->line) - (x->line < y->line);
}

#define FEW_KEYS 16 /* comparing all of so few is faster than sorting them */

static bool few_and_different(const struct node_pair *pairs, size_t n)
{
    for (size_t i = 1; n <= FEW_KEYS && i < n; i++)
        for (size_t k = 0; k < i; k++)
            if (str_eq(pairs[i].key, pairs[k].key))
                return false;
    return n <= FEW_KEYS;
}

/* A key that stands twice, where it first does in *first_out; NULL: there is none. */
static const struct node_pair *repeated_key(const struct node_pair *pairs, size_t n,
                                            const struct node_pair **first_out)
{
    const struct node_pair **sorted, *found = NULL;

    if (few_and_different(pairs, n))
        return NULL;
    sorted = xmalloc((n + 1) * sizeof(*sorted));
    for (size_t i = 0; i < n; i++)
        sorted[i] = &pairs[i];
    qsort(sorted, n, sizeof(*sorted), compare_keys);
    for (size_t i = 1; i < n && !found; i++)
        if (str_eq(sorted[i - 1]->key, sorted[i]->key)) {
            *first_out = sorted[i - 1];
            found = sorted[i];
        }
    free(sorted);
    return found;
}

bool tree_keys_differ(const struct node_pair *pairs, size_t n)
{
    const struct node_pair *first;

    return !repeated_key(pairs, n, &first);
}

/* Two equal keys in one mapping are a mistake: which of the values is meant? */
static int check_keys(struct builder *b, const struct node_pair *pairs, size_t n)
{
    const struct node_pair *first, *again = repeated_key(pairs, n, &first);

    if (!again)
        return 0;
    return refuse(b, (yaml_mark_t){.line = again->line - 1},
                  "key '%.100s' appears twice, first on line %u", again->key.p, first->line);
}

struct pair_list {
    struct node_pair *v;
    size_t n, cap;
};

static void pair_add(struct pair_list *l, const struct node_pair *p)
{
    if (l->n == l->cap)
        l->v = xrealloc(l->v, (l->cap = l->cap ? l->cap * 2 : 8) * sizeof(*l->v));
    l->v[l->n++] = *p;
}

static bool is_merge(const struct node_pair *p)
{
    return p->plain_key && str_eq(p->key, STR("<<"));
}

static bool list_has(const struct pair_list *l, struct str key)
{
    for (size_t i = 0; i < l->n; i++)
        if (str_eq(l->v[i].key, key))
            return true;
    return false;
}

#define MERGED_KEYS_MAX 200 /* of a mapping that has a merge key: the lookup is linear */

static int merge_from(struct builder *b, struct node *n, const struct node *from,
                      struct pair_list *to, unsigned line)
{
    yaml_mark_t at = {.line = line - 1};

    if (from->kind != NODE_MAP)
        return refuse(b, at, "<<: expected a mapping or a list of mappings");
    for (size_t i = 0; i < from->n; i++) {
        if (to->n >= MERGED_KEYS_MAX)
            return refuse(b, at, "<<: expected at most %d keys in the whole mapping",
                          MERGED_KEYS_MAX);
        n->size += tree_text_size(from->pairs[i].key);
        if (add_size(b, n, from->pairs[i].value, at) != 0)
            return -1;
        if (!list_has(to, from->pairs[i].key))
            pair_add(to, &from->pairs[i]);
    }
    return 0;
}

/* Replaces << by the keys of what it names, where the mapping does not have them itself. */
static int merge(struct builder *b, struct node *n, struct pair_list *l)
{
    const struct node *from = NULL;
    unsigned line = 0;
    size_t kept = 0;

    for (size_t i = 0; i < l->n; i++) {
        if (is_merge(&l->v[i])) {
            from = l->v[i].value;
            line = l->v[i].line;
        } else {
            l->v[kept++] = l->v[i];
        }
    }
    l->n = kept;
    if (!from)
        return 0;
    if (from->kind != NODE_SEQ)
        return merge_from(b, n, from, l, line);
    for (size_t i = 0; i < from->n; i++)
        if (merge_from(b, n, from->items[i], l, line) != 0)
            return -1;
    return 0;
}

static int build_pair(struct builder *b, unsigned depth, struct node *n, struct node_pair *p)
{
    yaml_mark_t at = b->event.start_mark;

    if (b->event.type != YAML_SCALAR_EVENT)
        return refuse(b, at, "expected a key that is a text");
    p->line = (uint32_t)at.line + 1;
    p->plain_key = b->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (take_text(b, &p->key) != 0 || next_event(b) != 0 || build(b, depth + 1, &p->value) != 0)
        return -1;
    n->size += tree_text_size(p->key);
    return count_child(b, n, p->value, depth, at);
}

static int build_map(struct builder *b, unsigned depth, struct node *n)
{
    struct pair_list l = {0};
    int rc = -1;

    while (next_event(b) == 0) {
        struct node_pair p;

        if (b->event.type == YAML_MAPPING_END_EVENT) {
            rc = 0;
            break;
        }
        if (build_pair(b, depth, n, &p) != 0)
            break;
        pair_add(&l, &p);
    }
    if (rc == 0 && check_keys(b, l.v, l.n) == 0 && merge(b, n, &l) == 0) {
        n->n = (uint32_t)l.n;
        n->pairs = arena_dup(&b->tree->arena, l.v, l.n * sizeof(*l.v));
    } else {
        rc = -1;
    }
    free(l.v);
    return rc;
}

static int build_alias(struct builder *b, const struct node **out)
{
    const char *name = (const char *)b->event.data.alias.anchor;
    const json_t *address = json_object_get(b->anchors, name);

    if (!address)
        return refuse(b, b->event.start_mark, "alias '*%.100s' has no anchor before it", name);
    *out = (const struct node *)(intptr_t)json_integer_value(address);
    return 0;
}

static const unsigned char *event_anchor(const yaml_event_t *ev)
{
    switch ((int)ev->type) {
    case YAML_SCALAR_EVENT: return ev->data.scalar.anchor;
    case YAML_SEQUENCE_START_EVENT: return ev->data.sequence_start.anchor;
    default: return ev->data.mapping_start.anchor;
    }
}

static int check_collection_tag(struct builder *b, const yaml_char_t *tag, const char *name)
{
    if (!tag || is_core_tag((const char *)tag, name))
        return 0;
    return refuse(b, b->event.start_mark, "unknown tag '%.100s', expected !!%s", (const char *)tag,
                  name);
}

/* The node that the event in hand begins; afterwards its last event is in hand. */
static int build(struct builder *b, unsigned depth, const struct node **out)
{
    const unsigned char *anchor;
    char *anchor_name;
    struct node *n;
    int rc;

    if (depth > TREE_DEPTH_MAX)
        return refuse(b, b->event.start_mark, "nested more than %u levels deep", TREE_DEPTH_MAX);
    if (b->event.type == YAML_ALIAS_EVENT)
        return build_alias(b, out);
    anchor = event_anchor(&b->event);
    anchor_name = anchor ? xstrdup((const char *)anchor) : NULL;
    n = arena_zalloc(&b->tree->arena, sizeof(*n));
    n->line = (uint32_t)b->event.start_mark.line + 1;
    n->size = 1;
    if (b->event.type == YAML_SCALAR_EVENT) {
        n->kind = NODE_SCALAR;
        rc = build_scalar(b, n);
    } else if (b->event.type == YAML_SEQUENCE_START_EVENT) {
        n->kind = NODE_SEQ;
        rc = check_collection_tag(b, b->event.data.sequence_start.tag, "seq");
        rc = rc == 0 ? build_seq(b, depth, n) : rc;
    } else {
        n->kind = NODE_MAP;
        rc = check_collection_tag(b, b->event.data.mapping_start.tag, "map");
        rc = rc == 0 ? build_map(b, depth, n) : rc;
    }
    if (rc == 0 && anchor_name)
        json_object_set_new(b->anchors, anchor_name, json_integer((json_int_t)(intptr_t)n));
    free(anchor_name);
    *out = n;
    return rc;
}

static int build_document(struct builder *b)
{
    if (next_event(b) != 0 || next_event(b) != 0) /* start of the stream, of the document */
        return -1;
    if (b->event.type == YAML_STREAM_END_EVENT)
        return err_set(b->e, ERR_INVALID, "expected a declarative configuration");
    if (next_event(b) != 0 || build(b, 1, &b->tree->root) != 0)
        return -1;
    if (next_event(b) != 0 || next_event(b) != 0) /* end of the document */
        return -1;
    if (b->event.type != YAML_STREAM_END_EVENT)
        return refuse(b, b->event.start_mark, "expected one document, found a second one");
    return 0;
}

/* ---- JSON's surrogate pairs ---- */

static bool hex4(struct str s, size_t at, unsigned *out)
{
    *out = 0;
    if (at + 6 > s.len || s.p[at] != '\\' || s.p[at + 1] != 'u')
        return false;
    for (size_t i = at + 2; i < at + 6; i++) {
        char c = ascii_lower(s.p[i]);
        if (c >= '0' && c <= '9')
            *out = *out << 4 | (unsigned)(c - '0');
        else if (c >= 'a' && c <= 'f')
            *out = *out << 4 | (unsigned)(c - 'a' + 10);
        else
            return false;
    }
    return true;
}

/* \ud83d\ude00 to the four bytes of UTF-8 it means; other escapes stay for libyaml. */
static struct str join_surrogates(struct str s, struct sbuf *buf)
{
    size_t i = 0;

    if (!memmem(s.p, s.len, "\\ud", 3) && !memmem(s.p, s.len, "\\uD", 3))
        return s;
    while (i < s.len) {
        unsigned high, low;

        if (s.p[i] != '\\') {
            sbuf_addc(buf, s.p[i++]);
        } else if (hex4(s, i, &high) && high >> 10 == 0xd800 >> 10 && hex4(s, i + 6, &low) &&
                   low >> 10 == 0xdc00 >> 10) {
            unsigned c = 0x10000 + ((high & 0x3ff) << 10 | (low & 0x3ff));
            char utf8[4] = {(char)(0xf0 | c >> 18), (char)(0x80 | (c >> 12 & 0x3f)),
                            (char)(0x80 | (c >> 6 & 0x3f)), (char)(0x80 | (c & 0x3f))};
            sbuf_add(buf, utf8, 4);
            i += 12;
        } else { /* a backslash and what it escapes, which may be a backslash */
            size_t n = size_min(2, s.len - i);
            sbuf_add(buf, s.p + i, n);
            i += n;
        }
    }
    return sbuf_str(buf);
}

static bool looks_like_json(struct str s)
{
    size_t i = 0;

    if (s.len >= 3 && memcmp(s.p, "\xef\xbb\xbf", 3) == 0)
        i = 3;
    while (i < s.len && strchr(" \t\r\n", s.p[i]) && s.p[i])
        i++;
    return i < s.len && s.p[i] == '{';
}

int tree_parse(struct str text, struct tree *out, struct err *e)
{
    struct builder b = {.tree = out, .e = e, .anchors = json_object()};
    struct sbuf joined = {0};
    int rc;

    *out = (struct tree){0};
    arena_init(&out->arena, 64 * 1024, 0);
    if (text.len > TEXT_MAX) {
        json_decref(b.anchors);
        return err_set(e, ERR_LIMIT, "expected at most %u MiB", TEXT_MAX >> 20);
    }
    out->root = looks_like_json(text) ? json_tree(text, &out->arena) : NULL;
    if (out->root) {
        json_decref(b.anchors);
        return 0;
    }
    arena_reset(&out->arena);
    if (looks_like_json(text))
        text = join_surrogates(text, &joined);
    WEIR_ASSERT(yaml_parser_initialize(&b.parser));
    yaml_parser_set_encoding(&b.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&b.parser, (const unsigned char *)(text.p ? text.p : ""),
                                 text.len);
    rc = build_document(&b);
    if (b.have_event)
        yaml_event_delete(&b.event);
    yaml_parser_delete(&b.parser);
    json_decref(b.anchors);
    sbuf_free(&joined);
    return rc;
}

void tree_free(struct tree *t)
{
    arena_fini(&t->arena);
    t->root = NULL;
}

const struct node *node_get(const struct node *n, struct str key)
{
    if (!n || n->kind != NODE_MAP)
        return NULL;
    for (size_t i = 0; i < n->n; i++)
        if (str_eq(n->pairs[i].key, key))
            return n->pairs[i].value;
    return NULL;
}

const struct node *node_at(const struct node *n, size_t i)
{
    return n && n->kind == NODE_SEQ && i < n->n ? n->items[i] : NULL;
}

/* ---- nodes to JSON values ---- */

static bool one_of(struct str s, const char *const *words)
{
    for (; *words; words++)
        if (str_eq(s, str_of(*words)))
            return true;
    return false;
}

bool node_is_null(const struct node *n)
{
    static const char *const words[] = {"", "~", "null", "Null", "NULL", NULL};

    return n->kind == NODE_SCALAR && n->plain && one_of(n->text, words);
}

static json_t *bool_json(struct str s, bool words_too)
{
    static const char *const yes[] = {"true", "True", "TRUE", NULL}, *const no[] = {"false",
                                                                                    "False",
                                                                                    "FALSE", NULL};
    static const char *const on[] = {"yes", "Yes", "YES", "on", "On", "ON", NULL};
    static const char *const off[] = {"no", "No", "NO", "off", "Off", "OFF", NULL};

    if (one_of(s, yes) || (words_too && one_of(s, on)))
        return json_true();
    if (one_of(s, no) || (words_too && one_of(s, off)))
        return json_false();
    return NULL;
}

/* [-+]?[0-9]+ | 0x[0-9a-fA-F]+ | 0o[0-7]+ */
static json_t *integer_json(struct str s)
{
    const char *digits = "0123456789";
    size_t sign = s.len && (s.p[0] == '-' || s.p[0] == '+'), start = sign;
    int base = 10;
    long long v;

    if (s.len > 2 && s.p[0] == '0' && (s.p[1] == 'x' || s.p[1] == 'o')) {
        base = s.p[1] == 'x' ? 16 : 8;
        digits = base == 16 ? "0123456789abcdefABCDEF" : "01234567";
        start = 2;
    }
    if (start == s.len || strspn(s.p + start, digits) != s.len - start)
        return NULL;
    errno = 0;
    v = base == 10 ? strtoll(s.p, NULL, 10) : strtoll(s.p + 2, NULL, base);
    return errno ? NULL : json_integer(v); /* beyond 64 bits: a real */
}

/* [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?; infinities and NaN stay texts */
static json_t *real_json(struct str s)
{
    const char *p = s.p, *end = s.p + s.len;
    size_t whole, fraction = 0, exponent;

    p += p < end && (*p == '-' || *p == '+');
    p += whole = strspn(p, "0123456789");
    if (p < end && *p == '.')
        p += 1 + (fraction = strspn(p + 1, "0123456789"));
    if (whole + fraction == 0)
        return NULL;
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        p += p < end && (*p == '-' || *p == '+');
        p += exponent = strspn(p, "0123456789");
        if (exponent == 0)
            return NULL;
    }
    return p == end ? json_real(strtod(s.p, NULL)) : NULL;
}

static json_t *text_json(struct str s)
{
    return json_stringn_nocheck(s.p, s.len); /* trees are of valid UTF-8 */
}

static bool wants_text(const struct field *field, enum decl_typing typing)
{
    return typing != DECL_STRICT && field &&
           (field->type == FT_STRING || field->type == FT_FOREIGN);
}

static json_t *scalar_json(const struct node *n, const struct field *field, enum decl_typing typing)
{
    bool by_field = typing != DECL_STRICT;
    json_t *value;

    if (!n->plain)
        return text_json(n->text);
    if (node_is_null(n))
        return json_null();
    if (wants_text(field, typing))
        return text_json(n->text);
    if ((value = bool_json(n->text, by_field ? field && field->type == FT_BOOLEAN : true)) ||
        (value = integer_json(n->text)) || (value = real_json(n->text)))
        return value;
    return text_json(n->text);
}

const char *node_text(const struct node *n, const struct field *field, enum decl_typing typing)
{
    const char *text = NULL;
    json_t *value;

    if (n->kind != NODE_SCALAR || node_is_null(n))
        return NULL;
    if (!n->plain || wants_text(field, typing))
        return n->text.p;
    value = scalar_json(n, field, typing);
    if (json_is_string(value))
        text = n->text.p;
    json_decref(value);
    return text;
}

json_t *node_member_json(const struct node_pair *pair, const struct field *fields,
                         const struct record_checks *checks, enum decl_typing typing)
{
    const struct field *field = fields ? field_find(fields, pair->key) : NULL;

    for (size_t i = 0; !field && checks && i < checks->n_shorthands; i++)
        if (str_eq(pair->key, str_of(checks->shorthands[i].field.name)))
            field = &checks->shorthands[i].field;
    return node_json(pair->value, field, typing);
}

static json_t *map_json(const struct node *n, const struct field *field, enum decl_typing typing)
{
    const struct field *values = field && field->type == FT_MAP ? field->elem : NULL;
    bool record = field && (field->type == FT_RECORD || field->type == FT_SUBRECORD);
    json_t *object = json_object();

    for (size_t i = 0; i < n->n; i++) {
        const struct node_pair *p = &n->pairs[i];
        json_t *value = record ? node_member_json(p, field->fields, field->checks, typing)
                               : node_json(p->value, values, typing);
        json_object_setn_new_nocheck(object, p->key.p, p->key.len, value);
    }
    return object;
}

json_t *node_json(const struct node *n, const struct field *field, enum decl_typing typing)
{
    bool list = field && (field->type == FT_ARRAY || field->type == FT_SET);
    json_t *array;

    switch ((enum node_kind)n->kind) {
    case NODE_SCALAR: return scalar_json(n, field, typing);
    case NODE_MAP: return map_json(n, field, typing);
    case NODE_SEQ: break;
    }
    array = json_array();
    for (size_t i = 0; i < n->n; i++)
        json_array_append_new(array, node_json(n->items[i], list ? field->elem : NULL, typing));
    return array;
}

json_t *decl_parse(struct str text, enum decl_typing typing, struct err *e)
{
    struct tree tree;
    json_t *value = NULL;

    if (tree_parse(text, &tree, e) == 0)
        value = node_json(tree.root, NULL, typing);
    tree_free(&tree);
    return value;
}

/* ---- files ---- */

int decl_load_text(const char *path, struct sbuf *out, struct err *e)
{
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    bool failed;
    size_t n;

    if (!f)
        return err_sys(e, "cannot read %s", path);
    do {
        n = fread(sbuf_reserve(out, 64 * 1024), 1, 64 * 1024, f);
        out->len += n;
    } while (n && out->len <= TEXT_MAX);
    failed = ferror(f);
    if (failed)
        err_sys(e, "cannot read %s", path);
    if (f != stdin)
        fclose(f);
    if (!failed && out->len <= TEXT_MAX)
        return 0;
    return failed
               ? -1
               : err_set(e, ERR_LIMIT, "%s: expected at most %u MiB", path, TEXT_MAX >> 20);
}
