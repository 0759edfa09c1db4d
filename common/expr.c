/* expr.c - see expr.h: a recursive descent parser, bounded in depth and size. */
#include "common/expr.h"

#include <stdio.h>

struct parser {
    struct str text;
    size_t at;
    enum expr_protocols where;
    struct arena *a;
    struct err *e;
    unsigned depth;
    uint32_t n_preds;
};

static const struct {
    struct str name;
    enum expr_type type;
    enum expr_protocols where;
} fields[] = {
#define X(id, name, type, where) [id] = {{name, sizeof(name) - 1}, type, where},
    EXPR_FIELDS(X)
#undef X
};

const char *expr_field_name(enum expr_field field)
{
    return fields[field].name.p;
}

/* ---- errors ---- */

/* Says where: lines and columns count from 1. */
static int wrong(struct parser *p, size_t at, const char *text)
{
    size_t line = 1, column = 1;

    for (size_t i = 0; i < at && i < p->text.len; i++) {
        column++;
        if (p->text.p[i] == '\n') {
            line++;
            column = 1;
        }
    }
    return err_set(p->e, ERR_INVALID, "%s at %zu:%zu", text, line, column);
}

static int expected(struct parser *p, const char *what)
{
    char text[160];
    unsigned char c;

    if (p->at >= p->text.len) {
        snprintf(text, sizeof(text), "expected %s, found the end", what);
    } else {
        c = (unsigned char)p->text.p[p->at];
        snprintf(text, sizeof(text),
                 c > ' ' && c < 0x7f ? "expected %s, found '%c'" : "expected %s", what, c);
    }
    return wrong(p, p->at, text);
}

/* ---- words ---- */

static void skip_space(struct parser *p)
{
    while (p->at < p->text.len && memchr(" \t\r\n", p->text.p[p->at], 4))
        p->at++;
}

static struct str rest(const struct parser *p)
{
    return str_n(p->text.p + p->at, p->text.len - p->at);
}

/* Takes word when it is next. */
static bool take(struct parser *p, struct str word)
{
    skip_space(p);
    if (!str_starts(rest(p), word))
        return false;
    p->at += word.len;
    return true;
}

static bool is_word_char(char c)
{
    return (c >= '0' && c <= '9') || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z') || c == '_' ||
           c == '.';
}

static struct str take_word(struct parser *p)
{
    size_t from;

    skip_space(p);
    from = p->at;
    while (p->at < p->text.len && is_word_char(p->text.p[p->at]))
        p->at++;
    return str_n(p->text.p + from, p->at - from);
}

static void *alloc(struct parser *p, size_t size)
{
    void *mem = arena_zalloc(p->a, size);

    if (!mem)
        err_set(p->e, ERR_LIMIT, "expression is too large");
    return mem;
}

/* ---- literals ---- */

static int take_raw_text(struct parser *p, struct str *out)
{
    struct str s = rest(p); /* behind r#" */
    const char *end = s.len ? memmem(s.p, s.len, "\"#", 2) : NULL;

    if (!end) {
        p->at = p->text.len;
        return expected(p, "\"# that ends the text");
    }
    *out = str_n(s.p, (size_t)(end - s.p));
    p->at += out->len + 2;
    return 0;
}

static int take_text(struct parser *p, struct str *out)
{
    size_t from = p->at, n = 0; /* behind the quote */
    char *copy;

    while (p->at < p->text.len && p->text.p[p->at] != '"')
        p->at += p->text.p[p->at] == '\\' ? 2 : 1;
    if (p->at >= p->text.len) {
        p->at = p->text.len;
        return expected(p, "\" that ends the text");
    }
    if (!(copy = alloc(p, p->at - from + 1)))
        return -1;
    for (size_t i = from; i < p->at; i++) {
        static const char names[] = "\"\\nrt", values[] = "\"\\\n\r\t";
        const char *escape;

        if (p->text.p[i] != '\\') {
            copy[n++] = p->text.p[i];
            continue;
        }
        escape = memchr(names, p->text.p[++i], sizeof(names) - 1);
        if (!escape)
            return wrong(p, i, "expected one of \\\" \\\\ \\n \\r \\t");
        copy[n++] = values[escape - names];
    }
    p->at++;
    *out = str_n(copy, n);
    return 0;
}

/* Decimal, 0x and hexadecimal, or 0 and octal digits; a sign in front. */
static bool parse_number(struct str s, int64_t *out)
{
    bool minus = str_starts(s, STR("-"));
    unsigned base = 10;
    uint64_t sum = 0, limit = minus ? (uint64_t)INT64_MAX + 1 : INT64_MAX;

    if (minus || str_starts(s, STR("+")))
        s = str_n(s.p + 1, s.len - 1);
    if (str_starts(s, STR("0x"))) {
        base = 16;
        s = str_n(s.p + 2, s.len - 2);
    } else if (s.len > 1 && s.p[0] == '0') {
        base = 8;
        s = str_n(s.p + 1, s.len - 1);
    }
    for (size_t i = 0; i < s.len; i++) {
        char c = ascii_lower(s.p[i]);
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                                                : 99;

        if (digit >= base || sum > (limit - digit) / base)
            return false;
        sum = sum * base + digit;
    }
    *out = (int64_t)(minus ? 0 - sum : sum);
    return s.len > 0;
}

enum literal { LIT_TEXT, LIT_NUMBER, LIT_ADDRESS, LIT_NETWORK };

/* A network whose bits behind the mask are all zero, as it must be written. */
static bool is_whole_network(struct str text, const struct ip_network *net)
{
    struct ip_network address;

    return ip_network_parse(str_n(text.p, str_find(text, '/')), &address) &&
           memcmp(address.addr, net->addr, sizeof(net->addr)) == 0;
}

static int take_bare(struct parser *p, struct expr_pred *out, enum literal *kind)
{
    size_t from = p->at;
    struct str s;

    while (p->at < p->text.len &&
           (is_word_char(p->text.p[p->at]) || memchr(":/+-", p->text.p[p->at], 4)))
        p->at++;
    s = str_n(p->text.p + from, p->at - from);
    if (s.len && parse_number(s, &out->number)) {
        *kind = LIT_NUMBER;
        return 0;
    }
    if (s.len && ip_network_parse(s, &out->network)) {
        *kind = str_find(s, '/') < s.len ? LIT_NETWORK : LIT_ADDRESS;
        if (*kind == LIT_ADDRESS || is_whole_network(s, &out->network))
            return 0;
        return wrong(p, from, "expected a network whose host bits are 0");
    }
    p->at = from;
    return expected(p, "\"text\", r#\"text\"#, a number, an address or a network");
}

static int take_literal(struct parser *p, struct expr_pred *out, enum literal *kind)
{
    *kind = LIT_TEXT;
    if (take(p, STR("r#\"")))
        return take_raw_text(p, &out->text);
    if (take(p, STR("\"")))
        return take_text(p, &out->text);
    return take_bare(p, out, kind);
}

/* ---- predicates ---- */

static bool segment_number(struct str s, uint32_t *out)
{
    uint64_t n;

    if (!s.len || s.len > 9 || !str_to_u64(s, &n))
        return false;
    *out = (uint32_t)n;
    return true;
}

/* "N" or "N_M" with N below M. */
static int read_segments(struct parser *p, struct str s, struct expr_pred *out)
{
    size_t mid = str_find(s, '_');
    bool range = mid < s.len;

    if (segment_number(str_n(s.p, mid), &out->first) &&
        (!range || segment_number(str_n(s.p + mid + 1, s.len - mid - 1), &out->last)) &&
        (!range || out->first < out->last)) {
        out->last = range ? out->last : out->first;
        return 0;
    }
    return err_set(p->e, ERR_INVALID, "illformed http.path.segments.* field");
}

static int unknown_field(struct parser *p, struct str word, size_t at)
{
    char text[128];

    snprintf(text, sizeof(text), "Unknown LHS field '" STR_FMT "'",
             STR_ARG(str_n(word.p, size_min(word.len, 80))));
    return wrong(p, at, text);
}

static int read_field(struct parser *p, struct expr_pred *out)
{
    struct str word = take_word(p), more;
    size_t at = p->at - word.len;

    if (!word.len)
        return expected(p, "a field, lower(), any() or (");
    for (unsigned i = 0; i < EXPR_FIELD_COUNT; i++) {
        struct str name = fields[i].name;
        bool family = str_ends(name, STR("."));

        if (!(fields[i].where & p->where) ||
            (family ? !str_starts(word, name) : !str_eq(word, name)))
            continue;
        out->field = (enum expr_field)i;
        if (!family)
            return 0;
        more = str_n(word.p + name.len, word.len - name.len);
        if (i == EF_SEGMENTS)
            return read_segments(p, more, out);
        out->name = more;
        return more.len ? 0 : unknown_field(p, word, at);
    }
    return unknown_field(p, word, at);
}

/* Transformations, then the field, then as many parentheses. */
static int read_left(struct parser *p, struct expr_pred *out)
{
    unsigned open = 0;

    for (;;) {
        size_t from = p->at;
        struct str word = take_word(p);

        if (!take(p, STR("("))) {
            p->at = from;
            break;
        }
        if (str_eq(word, STR("lower")))
            out->lower = true;
        else if (str_eq(word, STR("any")))
            out->any = true;
        else
            return wrong(p, from, "expected the transformation lower or any");
        if (++open > EXPR_DEPTH_MAX)
            return wrong(p, p->at, "expected fewer parentheses inside of each other");
    }
    if (read_field(p, out) != 0)
        return -1;
    for (; open; open--)
        if (!take(p, STR(")")))
            return expected(p, "')'");
    return 0;
}

static int read_operator(struct parser *p, enum expr_op *out)
{
    static const struct str texts[] = {
#define X(id, text) [id] = {text, sizeof(text) - 1},
        EXPR_OPS(X)
#undef X
    };
    size_t from;

    skip_space(p);
    from = p->at;
    if (take(p, STR("not"))) { /* any space may stand between the two words */
        *out = EO_NOT_IN;
        if (p->at < p->text.len && memchr(" \t\r\n", p->text.p[p->at], 4) && take(p, STR("in")))
            return 0;
        p->at = from;
        return expected(p, "an operator");
    }
    for (unsigned i = 0; i < EXPR_OP_COUNT; i++)
        if (take(p, texts[i])) {
            *out = (enum expr_op)i;
            return 0;
        }
    return expected(p, "an operator: == != ~ ^= =^ contains > >= < <= in, not in");
}

/* Whether field, operator and literal go together. */
static int check_types(struct parser *p, const struct expr_pred *pred, enum literal kind, size_t at)
{
    static const enum literal wants[] = {
        [EXPR_STRING] = LIT_TEXT, [EXPR_INT] = LIT_NUMBER, [EXPR_ADDRESS] = LIT_ADDRESS};
    enum expr_type type = fields[pred->field].type;
    bool in = pred->op == EO_IN || pred->op == EO_NOT_IN;

    if (!in && kind != wants[type])
        return wrong(p, at, "Type mismatch between the LHS and RHS values of predicate");
    if (pred->lower && type != EXPR_STRING)
        return wrong(p, at,
                     "lower-case transformation function only supported with String type fields");
    switch (pred->op) {
    case EO_EQ:
    case EO_NE: return 0;
    case EO_REGEX:
    case EO_PREFIX:
    case EO_POSTFIX:
        return type == EXPR_STRING
                   ? 0
                   : wrong(p, at, "Regex/Prefix/Postfix operators only supports string operands");
    case EO_CONTAINS:
        return type == EXPR_STRING
                   ? 0
                   : wrong(p, at, "Contains operator only supports string operands");
    case EO_GT:
    case EO_GE:
    case EO_LT:
    case EO_LE:
        return type == EXPR_INT ? 0
                                : wrong(p, at,
                                        "Greater/GreaterOrEquals/Less/LessOrEquals operators only "
                                        "supports integer operands");
    case EO_IN:
    case EO_NOT_IN:
        return type == EXPR_ADDRESS && kind == LIT_NETWORK
                   ? 0
                   : wrong(p, at, "In/NotIn operators only supports IP in CIDR");
    case EXPR_OP_COUNT: break;
    }
    WEIR_UNREACHABLE("operator");
}

static int read_predicate(struct parser *p, struct expr_node *out)
{
    struct expr_pred *pred = alloc(p, sizeof(*pred));
    enum literal kind;
    size_t at;

    if (!pred)
        return -1;
    if (p->n_preds == EXPR_PREDS_MAX)
        return err_set(p->e, ERR_LIMIT, "expected at most %u comparisons", EXPR_PREDS_MAX);
    pred->index = p->n_preds++;
    skip_space(p);
    at = p->at;
    if (read_left(p, pred) != 0 || read_operator(p, &pred->op) != 0)
        return -1;
    if (take_literal(p, pred, &kind) != 0 || check_types(p, pred, kind, at) != 0)
        return -1;
    if (pred->op == EO_REGEX && regex_compiles(pred->text, p->e) != 0)
        return -1;
    if (pred->field == EF_PORT)
        pred->field = EF_DST_PORT;
    out->kind = EXPR_PRED;
    out->pred = pred;
    return 0;
}

/* ---- logic ---- */

static int read_joined(struct parser *p, enum expr_node_kind kind, struct expr_node **out);

static int read_term(struct parser *p, struct expr_node **out)
{
    struct expr_node *node = alloc(p, sizeof(*node)), *inner;
    bool negated;

    if (!node)
        return -1;
    *out = node;
    negated = take(p, STR("!"));
    if (!take(p, STR("(")))
        return negated ? expected(p, "( behind !") : read_predicate(p, node);
    if (++p->depth > EXPR_DEPTH_MAX)
        return wrong(p, p->at, "expected fewer parentheses inside of each other");
    if (read_joined(p, EXPR_AND, &inner) != 0)
        return -1;
    p->depth--;
    if (!take(p, STR(")")))
        return expected(p, "')', && or ||");
    if (negated) {
        node->kind = EXPR_NOT;
        node->kids = inner;
    } else {
        *node = *inner;
    }
    return 0;
}

/* Terms joined by "||", or such joined by "&&"; one alone stands for itself. */
static int read_joined(struct parser *p, enum expr_node_kind kind, struct expr_node **out)
{
    struct str joint = kind == EXPR_AND ? STR("&&") : STR("||");
    struct expr_node *first = NULL, *last = NULL, *node;

    do {
        if ((kind == EXPR_AND ? read_joined(p, EXPR_OR, &node) : read_term(p, &node)) != 0)
            return -1;
        if (last)
            last->next = node;
        else
            first = node;
        last = node;
    } while (take(p, joint));
    *out = first;
    if (first == last)
        return 0;
    if (!(node = alloc(p, sizeof(*node))))
        return -1;
    node->kind = kind;
    node->kids = first;
    *out = node;
    return 0;
}

int expr_parse(struct str text, enum expr_protocols where, struct arena *a, struct expr *out,
               struct err *e)
{
    struct parser p = {.text = text, .where = where, .a = a, .e = e};
    struct expr_node *root;

    if (text.len > EXPR_BYTES_MAX)
        return err_set(e, ERR_LIMIT, "%zu bytes, expected at most %u", text.len, EXPR_BYTES_MAX);
    if (read_joined(&p, EXPR_AND, &root) != 0)
        return -1;
    skip_space(&p);
    if (p.at < text.len)
        return expected(&p, "&& or ||");
    *out = (struct expr){.root = root, .n_preds = p.n_preds};
    return 0;
}
