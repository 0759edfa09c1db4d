/*
 * decl_tree.c - YAML text to a tree, and the tree to JSON values.
 *
 * JSON comes in through the same door: it is YAML but for one thing, characters beyond the
 * basic plane written as two \u escapes, which are put in plain before libyaml sees them.
 */
#include "common/decl_priv.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <yaml.h>

#define NODES_MAX 5000000u
#define NODE_BYTES 4 /* of a text that is large itself, at least, for each node */
#define TEXT_MAX  (512u << 20)
#define NODE_TEXT 100 /* so many bytes of text count as one more node: aliases repeat them */

/* ---- text to events ---- */

struct builder {
    yaml_parser_t parser;
    yaml_event_t event; /* the one in hand */
    bool have_event;
    json_t *anchors; /* name: address of a copy of the finished node */
    uint32_t nodes_max;
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
static int take_text(struct builder *b, const char **p_out, uint32_t *len_out)
{
    const unsigned char *value = b->event.data.scalar.value;
    size_t len = b->event.data.scalar.length;

    if (len && memchr(value, '\0', len))
        return refuse(b, b->event.start_mark, "NUL characters are not allowed");
    *p_out = arena_strdup(&b->tree->arena, str_n((const char *)value, len));
    *len_out = (uint32_t)len; /* of a text of at most TEXT_MAX */
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
    if (n->size + (uint64_t)child->size > b->nodes_max)
        return refuse(b, at, "more than %u values, counting what aliases repeat", b->nodes_max);
    n->size += child->size;
    return 0;
}

uint32_t tree_nodes_max(struct str text)
{
    return (uint32_t)size_max(NODES_MAX, text.len / NODE_BYTES);
}

bool tree_count_child(struct node *n, const struct node *child, unsigned depth, uint32_t nodes_max)
{
    if (n->size + (uint64_t)child->size > nodes_max || depth + 1 + child->height > TREE_DEPTH_MAX)
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

    if (tree_count_child(n, child, depth, b->nodes_max))
        return 0;
    if (add_size(b, &sum, child, at) != 0)
        return -1;
    return refuse(b, at, "nested more than %u levels deep", TREE_DEPTH_MAX);
}

static int build(struct builder *b, unsigned depth, struct node *n);

static int build_scalar(struct builder *b, struct node *n)
{
    if (scalar_is_plain(b, &n->plain) != 0 || take_text(b, &n->text, &n->n) != 0)
        return -1;
    n->size += tree_text_size(node_str(n));
    return 0;
}

static int build_seq(struct builder *b, unsigned depth, struct node *n)
{
    struct node *items = NULL;
    size_t cap = 0;
    int rc = -1;

    while (next_event(b) == 0) {
        yaml_mark_t at = b->event.start_mark;

        if (b->event.type == YAML_SEQUENCE_END_EVENT) {
            if (n->n)
                n->items = arena_dup(&b->tree->arena, items, n->n * sizeof(*items));
            rc = 0;
            break;
        }
        if (!items || n->n == cap)
            items = xrealloc(items, (cap = cap ? cap * 2 : 8) * sizeof(*items));
        if (build(b, depth + 1, &items[n->n]) != 0 ||
            count_child(b, n, &items[n->n], depth, at) != 0)
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
    int c = str_cmp(pair_key(x), pair_key(y));

    return c ? c : (x->line > y->line) - (x->line < y->line);
}

#define FEW_KEYS 16 /* comparing all of so few is faster than sorting them */

static bool few_and_different(const struct node_pair *pairs, size_t n)
{
    for (size_t i = 1; n <= FEW_KEYS && i < n; i++)
        for (size_t k = 0; k < i; k++)
            if (str_eq(pair_key(&pairs[i]), pair_key(&pairs[k])))
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
        if (str_eq(pair_key(sorted[i - 1]), pair_key(sorted[i]))) {
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
                  "key '%.*s' appears twice, first on line %u", (int)size_min(again->key_len, 100),
                  again->key, first->line);
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
    return p->plain_key && str_eq(pair_key(p), STR("<<"));
}

static bool list_has(const struct pair_list *l, struct str key)
{
    for (size_t i = 0; i < l->n; i++)
        if (str_eq(pair_key(&l->v[i]), key))
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
        n->size += tree_text_size(pair_key(&from->pairs[i]));
        if (add_size(b, n, &from->pairs[i].value, at) != 0)
            return -1;
        if (!list_has(to, pair_key(&from->pairs[i])))
            pair_add(to, &from->pairs[i]);
    }
    return 0;
}

/* Replaces << by the keys of what it names, where the mapping does not have them itself. */
static int merge(struct builder *b, struct node *n, struct pair_list *l)
{
    struct node from = {0};
    bool merges = false;
    unsigned line = 0;
    size_t kept = 0;

    for (size_t i = 0; i < l->n; i++) {
        if (is_merge(&l->v[i])) {
            from = l->v[i].value;
            merges = true;
            line = l->v[i].line;
        } else {
            l->v[kept++] = l->v[i];
        }
    }
    l->n = kept;
    if (!merges)
        return 0;
    if (from.kind != NODE_SEQ)
        return merge_from(b, n, &from, l, line);
    for (size_t i = 0; i < from.n; i++)
        if (merge_from(b, n, &from.items[i], l, line) != 0)
            return -1;
    return 0;
}

static int build_pair(struct builder *b, unsigned depth, struct node *n, struct node_pair *p)
{
    yaml_mark_t at = b->event.start_mark;

    if (b->event.type != YAML_SCALAR_EVENT)
        return refuse(b, at, "expected a key that is a text");
    p->line = ((uint32_t)at.line + 1) & INT32_MAX;
    p->plain_key = b->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (take_text(b, &p->key, &p->key_len) != 0 || next_event(b) != 0 || build(b, depth + 1, &p->value) != 0)
        return -1;
    n->size += tree_text_size(pair_key(p));
    return count_child(b, n, &p->value, depth, at);
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
        if (l.n)
            n->pairs = arena_dup(&b->tree->arena, l.v, l.n * sizeof(*l.v));
    } else {
        rc = -1;
    }
    free(l.v);
    return rc;
}

static int build_alias(struct builder *b, struct node *out)
{
    const char *name = (const char *)b->event.data.alias.anchor;
    const json_t *address = json_object_get(b->anchors, name);

    if (!address)
        return refuse(b, b->event.start_mark, "alias '*%.100s' has no anchor before it", name);
    *out = *(const struct node *)(intptr_t)json_integer_value(address);
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
static int build(struct builder *b, unsigned depth, struct node *n)
{
    const unsigned char *anchor;
    char *anchor_name;
    int rc;

    if (depth > TREE_DEPTH_MAX)
        return refuse(b, b->event.start_mark, "nested more than %u levels deep", TREE_DEPTH_MAX);
    if (b->event.type == YAML_ALIAS_EVENT)
        return build_alias(b, n);
    anchor = event_anchor(&b->event);
    anchor_name = anchor ? xstrdup((const char *)anchor) : NULL;
    *n = (struct node){.line = (uint32_t)b->event.start_mark.line + 1, .size = 1};
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
        json_object_set_new(
            b->anchors, anchor_name,
            json_integer((json_int_t)(intptr_t)arena_dup(&b->tree->arena, n, sizeof(*n))));
    free(anchor_name);
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
    struct builder b = {.tree = out, .e = e, .nodes_max = tree_nodes_max(text)};
    struct sbuf joined = {0};
    int rc;

    *out = (struct tree){0};
    arena_init(&out->arena, 64 * 1024, 0);
    if (text.len > TEXT_MAX)
        return err_set(e, ERR_LIMIT, "expected at most %u MiB", TEXT_MAX >> 20);
    if (looks_like_json(text) && json_tree(text, &out->arena, &out->root))
        return 0;
    arena_reset(&out->arena);
    b.anchors = json_object();
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
    t->root = (struct node){0};
}

const struct node *node_get(const struct node *n, struct str key)
{
    if (!n || n->kind != NODE_MAP)
        return NULL;
    for (size_t i = 0; i < n->n; i++)
        if (str_eq(pair_key(&n->pairs[i]), key))
            return &n->pairs[i].value;
    return NULL;
}

const struct node *node_at(const struct node *n, size_t i)
{
    return n && n->kind == NODE_SEQ && i < n->n ? &n->items[i] : NULL;
}

/* ---- what scalars are ---- */

static bool one_of(struct str s, const char *const *words)
{
    for (; *words; words++)
        if (str_eq(s, str_of(*words)))
            return true;
    return false;
}

bool node_is_null(const struct node *n)
{
    static const char *const words[] = {"~", "null", "Null", "NULL", NULL};

    if (n->kind != NODE_SCALAR || !n->plain || n->n > 4)
        return false;
    if (n->n == 0)
        return true;
    return (n->text[0] == '~' || n->text[0] == 'n' || n->text[0] == 'N') &&
           one_of(node_str(n), words);
}

/* true and false, with words_too as YAML 1.1 knew them. */
static bool scan_boolean(struct str s, bool words_too, bool *out)
{
    static const char *const yes[] = {"true", "True", "TRUE", NULL};
    static const char *const no[] = {"false", "False", "FALSE", NULL};
    static const char *const on[] = {"yes", "Yes", "YES", "on", "On", "ON", NULL};
    static const char *const off[] = {"no", "No", "NO", "off", "Off", "OFF", NULL};

    if (s.len < 2 || s.len > 5 || s.p[0] <= '9')
        return false;
    *out = str_eq(s, STR("true"));
    if (*out || str_eq(s, STR("false"))) /* as all but people write them */
        return true;
    *out = one_of(s, yes) || (words_too && one_of(s, on));
    return *out || one_of(s, no) || (words_too && one_of(s, off));
}

#define NUMBER_TEXT 64 /* what longer ones are worth is asked of a copy */

/* The text with a NUL behind it: in buf, or if it is long the caller's to free. */
static char *terminated(struct str s, char buf[NUMBER_TEXT])
{
    if (s.len >= NUMBER_TEXT)
        return str_dup(s);
    memcpy(buf, s.p, s.len);
    buf[s.len] = '\0';
    return buf;
}

/* [-+]?[0-9]+ | 0x[0-9a-fA-F]+ | 0o[0-7]+ */
static bool scan_integer(const char *s, size_t len, int64_t *out)
{
    const char *digits = "0123456789";
    size_t start = s[0] == '-' || s[0] == '+';
    int base = 10;

    if (len > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'o')) {
        base = s[1] == 'x' ? 16 : 8;
        digits = base == 16 ? "0123456789abcdefABCDEF" : "01234567";
        start = 2;
    }
    if (start == len || strspn(s + start, digits) != len - start)
        return false;
    errno = 0;
    *out = strtoll(base == 10 ? s : s + 2, NULL, base);
    return errno == 0; /* beyond 64 bits: a real */
}

/* [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?; infinities and NaN stay texts */
static bool scan_real(const char *s, size_t len, double *out)
{
    const char *p = s, *end = s + len;
    size_t whole, fraction = 0, exponent;

    p += *p == '-' || *p == '+';
    p += whole = strspn(p, "0123456789");
    if (*p == '.')
        p += 1 + (fraction = strspn(p + 1, "0123456789"));
    if (whole + fraction == 0)
        return false;
    if (*p == 'e' || *p == 'E') {
        p++;
        p += *p == '-' || *p == '+';
        p += exponent = strspn(p, "0123456789");
        if (exponent == 0)
            return false;
    }
    *out = strtod(s, NULL);
    return p == end && isfinite(*out); /* jansson has no infinities */
}

static bool scan_number(struct str s, struct val *out)
{
    char buf[NUMBER_TEXT], *text;

    if (s.len == 0 || !strchr("+-.0123456789", s.p[0]))
        return false;
    text = terminated(s, buf);
    out->kind = VAL_NONE;
    if (scan_integer(text, s.len, &out->integer))
        out->kind = VAL_INTEGER;
    else if (scan_real(text, s.len, &out->real))
        out->kind = VAL_REAL;
    if (text != buf)
        free(text);
    return out->kind != VAL_NONE;
}

static bool wants_text(const struct field *field, enum decl_typing typing)
{
    return typing != DECL_STRICT && field &&
           (field->type == FT_STRING || field->type == FT_FOREIGN);
}

struct val scalar_val(const struct node *n, const struct field *field, enum decl_typing typing)
{
    struct val text = {.kind = VAL_TEXT, .text = node_str(n)}, v = {.kind = VAL_BOOLEAN};
    bool words_too = typing == DECL_STRICT || (field && field->type == FT_BOOLEAN);

    if (!n->plain)
        return text;
    if (node_is_null(n))
        return (struct val){.kind = VAL_NULL};
    if (wants_text(field, typing))
        return text;
    return scan_boolean(text.text, words_too, &v.yes) || scan_number(text.text, &v) ? v : text;
}

struct str node_text(const struct node *n, const struct field *field, enum decl_typing typing)
{
    struct val v = {.kind = VAL_NONE};

    if (n->kind == NODE_SCALAR)
        v = scalar_val(n, field, typing);
    return val_text(&v);
}

/* ---- nodes to JSON values ---- */

static json_t *scalar_json(const struct node *n, const struct field *field, enum decl_typing typing)
{
    struct val v = scalar_val(n, field, typing);

    switch (v.kind) {
    case VAL_NULL: return json_null();
    case VAL_BOOLEAN: return json_boolean(v.yes);
    case VAL_INTEGER: return json_integer(v.integer);
    case VAL_REAL: return json_real(v.real);
    case VAL_TEXT: return json_stringn_nocheck(v.text.p, v.text.len); /* trees are of valid UTF-8 */
    case VAL_NONE:
    case VAL_LIST:
    case VAL_MAP:
    case VAL_ID: break;
    }
    WEIR_UNREACHABLE("kind of a scalar");
}

json_t *node_member_json(const struct node_pair *pair, const struct field *fields,
                         const struct record_checks *checks, enum decl_typing typing)
{
    const struct field *field = fields ? field_find(fields, pair_key(pair)) : NULL;

    for (size_t i = 0; !field && checks && i < checks->n_shorthands; i++)
        if (str_eq(pair_key(pair), str_of(checks->shorthands[i].field.name)))
            field = &checks->shorthands[i].field;
    return node_json(&pair->value, field, typing);
}

static json_t *map_json(const struct node *n, const struct field *field, enum decl_typing typing)
{
    const struct field *values = field && field->type == FT_MAP ? field->elem : NULL;
    bool record = field && (field->type == FT_RECORD || field->type == FT_SUBRECORD);
    json_t *object = json_object();

    for (size_t i = 0; i < n->n; i++) {
        const struct node_pair *p = &n->pairs[i];
        json_t *value = record ? node_member_json(p, field->fields, field->checks, typing)
                               : node_json(&p->value, values, typing);
        json_object_setn_new_nocheck(object, p->key, p->key_len, value);
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
        json_array_append_new(array, node_json(&n->items[i], list ? field->elem : NULL, typing));
    return array;
}

json_t *decl_parse(struct str text, enum decl_typing typing, struct err *e)
{
    struct tree tree;
    json_t *value = NULL;

    if (tree_parse(text, &tree, e) == 0)
        value = node_json(&tree.root, NULL, typing);
    tree_free(&tree);
    return value;
}

/* ---- files ---- */

int decl_load_text(const char *path, struct sbuf *out, struct err *e)
{
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    struct stat st;
    bool failed;
    size_t n;

    if (!f)
        return err_sys(e, "cannot read %s", path);
    if (fstat(fileno(f), &st) == 0 && st.st_size > 0 && st.st_size <= TEXT_MAX)
        sbuf_reserve(out, (size_t)st.st_size + 64 * 1024); /* and not twice that while it grows */
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
