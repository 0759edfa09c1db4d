/*
 * decl_json.c - JSON text to the tree of decl_tree.c, without libyaml: a file of a hundred
 * thousand routes is mostly this.
 *
 * It reads what is JSON by RFC 8259 and means the same as YAML, and nothing else. Whatever is
 * wrong, doubtful or rare is left to libyaml, which reads the text anew and finds the words:
 * not one error is made here.
 */
#include <stdlib.h>

#include "common/checks.h"
#include "common/decl_priv.h"

#define KEY_MAX 1000 /* longer keys are an error in YAML */

struct scanner {
    const char *p, *end;
    uint32_t line, nodes_max;
    struct arena *arena;
    struct sbuf text; /* the string in hand, unescaped */
    struct node *stack; /* children of the collections that are open, innermost last */
    size_t n_stack, cap_stack;
    struct node_pair *pairs; /* likewise */
    size_t n_pairs, cap_pairs;
};

static void skip_space(struct scanner *s)
{
    if (s->p < s->end && *s->p > ' ') /* nearly always */
        return;
    for (; s->p < s->end; s->p++) {
        bool crlf = *s->p == '\r' && s->p + 1 < s->end && s->p[1] == '\n';

        if (!crlf && *s->p != ' ' && *s->p != '\t' && *s->p != '\n')
            return; /* CR alone, too: a line of its own to YAML */
        s->line += *s->p == '\n';
    }
}

static bool take(struct scanner *s, char c)
{
    if (s->p == s->end || *s->p != c)
        return false;
    s->p++;
    return true;
}

/* ---- strings ---- */

static bool hex4(struct scanner *s, unsigned *out)
{
    *out = 0;
    if (s->end - s->p < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        char c = ascii_lower(*s->p++);

        if (c >= '0' && c <= '9')
            *out = *out << 4 | (unsigned)(c - '0');
        else if (c >= 'a' && c <= 'f')
            *out = *out << 4 | (unsigned)(c - 'a' + 10);
        else
            return false;
    }
    return true;
}

/* What \u says; NUL and surrogates are for libyaml's side. */
static bool add_unicode(struct scanner *s)
{
    char utf8[3];
    size_t n = 0;
    unsigned c;

    if (!hex4(s, &c) || c == 0 || c >> 11 == 0xd800 >> 11)
        return false;
    if (c < 0x80) {
        utf8[n++] = (char)c;
    } else if (c < 0x800) {
        utf8[n++] = (char)(0xc0 | c >> 6);
        utf8[n++] = (char)(0x80 | (c & 0x3f));
    } else {
        utf8[n++] = (char)(0xe0 | c >> 12);
        utf8[n++] = (char)(0x80 | (c >> 6 & 0x3f));
        utf8[n++] = (char)(0x80 | (c & 0x3f));
    }
    sbuf_add(&s->text, utf8, n);
    return true;
}

static bool add_escape(struct scanner *s)
{
    static const char letters[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    const char *at;
    char c;

    if (s->p == s->end)
        return false;
    c = *s->p++;
    if (c == 'u')
        return add_unicode(s);
    at = c ? strchr(letters, c) : NULL;
    if (at)
        sbuf_addc(&s->text, meant[at - letters]);
    return at != NULL;
}

/* UTF-8 without what YAML refuses or takes for the end of a line. */
static bool is_yaml_text(const unsigned char *p, size_t len)
{
    if (utf8_invalid_at(str_n((const char *)p, len)) != len)
        return false;
    for (size_t i = 0; i + 1 < len; i++) {
        bool c1 = p[i] == 0xc2 && p[i + 1] < 0xa0;
        bool separator = p[i] == 0xe2 && p[i + 1] == 0x80 && (p[i + 2] & 0xfe) == 0xa8;
        bool mark = p[i] == 0xef && p[i + 1] == 0xbb && p[i + 2] == 0xbf;
        bool no_character = p[i] == 0xef && p[i + 1] == 0xbf && p[i + 2] >= 0xbe;

        if (c1 || separator || mark || no_character)
            return false;
    }
    return true;
}

/* What is neither '"' nor '\\', a control character nor part of a longer one. */
static bool is_simple(unsigned char c)
{
    return c >= ' ' && c < 0x7f && c != '"' && c != '\\';
}

#define EACH_BYTE(b) (0x0101010101010101u * (b))
#define HIGH_BITS    EACH_BYTE(0x80u)

/* Bits of the bytes of w that are zero; bytes above a zero may be wrong. */
static uint64_t zero_bytes(uint64_t w)
{
    return (w - EACH_BYTE(1u)) & ~w & HIGH_BITS;
}

/* Whether eight bytes are simple, all of them. May say no to some that are: DEL and what is near. */
static bool are_simple(const char *p)
{
    uint64_t w;

    memcpy(&w, p, sizeof(w));
    return !((w | (w - EACH_BYTE(' ')) | (w + EACH_BYTE(1u)) | zero_bytes(w ^ EACH_BYTE('"')) |
              zero_bytes(w ^ EACH_BYTE('\\'))) &
             HIGH_BITS);
}

/* Behind the opening quote, a string with escapes or more than ASCII in it: in the arena. */
static bool scan_rare_string(struct scanner *s, const char **out, uint32_t *len_out)
{
    const char *start = s->p;
    unsigned char all = 0;

    sbuf_clear(&s->text);
    for (;;) {
        const char *from = s->p;

        for (; s->p < s->end && *s->p != '"' && *s->p != '\\'; s->p++) {
            if ((unsigned char)*s->p < ' ' || *s->p == 0x7f)
                return false;
            all |= (unsigned char)*s->p;
        }
        sbuf_add(&s->text, from, (size_t)(s->p - from));
        if (take(s, '"'))
            break;
        if (!take(s, '\\') || !add_escape(s))
            return false;
    }
    if (all >= 0x80 && !is_yaml_text((const unsigned char *)start, (size_t)(s->p - start)))
        return false;
    *out = arena_strdup(s->arena, sbuf_str(&s->text));
    *len_out = (uint32_t)s->text.len;
    return true;
}

/* Behind the opening quote. Only characters that are themselves in YAML, too. */
static bool scan_string(struct scanner *s, const char **out, uint32_t *len_out)
{
    const char *p = s->p;

    while (s->end - p >= 8 && are_simple(p))
        p += 8;
    while (p < s->end && is_simple((unsigned char)*p))
        p++;
    if (p == s->end || *p != '"')
        return scan_rare_string(s, out, len_out);
    *out = s->p;
    *len_out = (uint32_t)(p - s->p);
    s->p = p + 1;
    return true;
}

static bool skip_digits(struct scanner *s)
{
    const char *from = s->p;

    while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
        s->p++;
    return s->p > from;
}

/* -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)? */
static bool skip_number(struct scanner *s)
{
    (void)take(s, '-');
    if (!take(s, '0') && !skip_digits(s))
        return false;
    if (take(s, '.') && !skip_digits(s))
        return false;
    if (!take(s, 'e') && !take(s, 'E'))
        return true;
    if (!take(s, '-'))
        (void)take(s, '+');
    return skip_digits(s);
}

/* true, false, null or a number; what it is worth follows from its text, as in YAML. */
static bool scan_plain(struct scanner *s, const char **out, uint32_t *len_out)
{
    static const struct str words[] = {{"true", 4}, {"false", 5}, {"null", 4}};
    const char *from = s->p;

    for (size_t i = 0; i < ARRAY_LEN(words) && s->p == from; i++)
        if (str_starts(str_n(from, (size_t)(s->end - from)), words[i]))
            s->p += words[i].len;
    if (s->p == from && !skip_number(s))
        return false;
    *out = from;
    *len_out = (uint32_t)(s->p - from);
    return true;
}

/* ---- collections ---- */

static bool scan_value(struct scanner *s, unsigned depth, struct node *n);

static bool scan_array(struct scanner *s, unsigned depth, struct node *n)
{
    size_t base = s->n_stack;

    skip_space(s);
    while (!take(s, ']')) {
        struct node child;

        if (s->n_stack > base && (!take(s, ',')))
            return false;
        if (!scan_value(s, depth + 1, &child) || !tree_count_child(n, &child, depth, s->nodes_max))
            return false;
        if (s->n_stack == s->cap_stack)
            s->stack = xrealloc(s->stack, (s->cap_stack = s->cap_stack * 2 + 64) * sizeof(child));
        s->stack[s->n_stack++] = child;
        skip_space(s);
    }
    n->n = (uint32_t)(s->n_stack - base);
    if (n->n)
        n->items = arena_dup(s->arena, s->stack + base, n->n * sizeof(*n->items));
    s->n_stack = base;
    return true;
}

static bool scan_pair(struct scanner *s, unsigned depth, struct node *n, struct node_pair *p)
{
    const char *from;

    skip_space(s);
    p->line = s->line & INT32_MAX;
    p->plain_key = false;
    from = s->p;
    if (!take(s, '"') || !scan_string(s, &p->key, &p->key_len))
        return false;
    skip_space(s);
    if (s->p - from > KEY_MAX || s->line != p->line || !take(s, ':') || !scan_value(s, depth + 1, &p->value))
        return false;
    n->size += tree_text_size(pair_key(p));
    return tree_count_child(n, &p->value, depth, s->nodes_max);
}

static bool scan_object(struct scanner *s, unsigned depth, struct node *n)
{
    size_t base = s->n_pairs;

    skip_space(s);
    while (!take(s, '}')) {
        struct node_pair p;

        if (s->n_pairs > base && !take(s, ','))
            return false;
        if (!scan_pair(s, depth, n, &p))
            return false;
        if (s->n_pairs == s->cap_pairs)
            s->pairs = xrealloc(s->pairs, (s->cap_pairs = s->cap_pairs * 2 + 64) * sizeof(p));
        s->pairs[s->n_pairs++] = p;
        skip_space(s);
    }
    n->n = (uint32_t)(s->n_pairs - base);
    if (!tree_keys_differ(s->pairs + base, n->n))
        return false;
    if (n->n)
        n->pairs = arena_dup(s->arena, s->pairs + base, n->n * sizeof(*n->pairs));
    s->n_pairs = base;
    return true;
}

static bool scan_value(struct scanner *s, unsigned depth, struct node *n)
{
    skip_space(s);
    if (s->p == s->end || depth > TREE_DEPTH_MAX)
        return false;
    *n = (struct node){.line = s->line, .size = 1};
    if (take(s, '{')) {
        n->kind = NODE_MAP;
        return scan_object(s, depth, n);
    }
    if (take(s, '[')) {
        n->kind = NODE_SEQ;
        return scan_array(s, depth, n);
    }
    n->kind = NODE_SCALAR;
    n->plain = !take(s, '"');
    if (n->plain ? !scan_plain(s, &n->text, &n->n) : !scan_string(s, &n->text, &n->n))
        return false;
    n->size += tree_text_size(node_str(n));
    return true;
}

bool json_tree(struct str text, struct arena *arena, struct node *out)
{
    struct scanner s = {.p = text.p, .line = 1, .arena = arena, .nodes_max = tree_nodes_max(text)};
    bool ok;

    if (text.len == 0 || *text.p != '{')
        return false;
    s.end = text.p + text.len;
    /* there before the first child: an empty collection's keys are compared, too */
    s.stack = xmalloc((s.cap_stack = 64) * sizeof(*s.stack));
    s.pairs = xmalloc((s.cap_pairs = 64) * sizeof(*s.pairs));
    ok = scan_value(&s, 1, out);
    skip_space(&s);
    ok = ok && s.p == s.end;
    sbuf_free(&s.text);
    free(s.stack);
    free(s.pairs);
    return ok;
}
