/* expression.c - see expression.h. */
#include "dataplane/route/expression.h"

#include "dataplane/route/place.h"
#include "dataplane/route/regex.h"

#define PLACES_MAX  256u /* of one expression */
#define QUERIES_MAX 100u /* query arguments that are looked at */

/* ---- what all matches have in common ---- */

const struct expr_node *route_expr_conjuncts(const struct route_expr *x)
{
    return x->tree.root->kind == EXPR_AND ? x->tree.root->kids : x->tree.root;
}

int route_expr_alternatives(const struct route_expr *x, const struct expr_node **next,
                            const struct expr_pred *out[EXPR_ALTERNATIVES_MAX])
{
    const struct expr_node *node = *next, *kid;
    int n = 0;

    if (!node)
        return -1;
    *next = node == x->tree.root ? NULL : node->next;
    if (node->kind == EXPR_PRED) {
        out[0] = node->pred;
        return 1;
    }
    if (node->kind != EXPR_OR)
        return 0;
    for (kid = node->kids; kid; kid = kid->next) {
        if (kid->kind != EXPR_PRED || n == EXPR_ALTERNATIVES_MAX ||
            (n && kid->pred->field != out[0]->field))
            return 0;
        out[n++] = kid->pred;
    }
    return n;
}

/* The host pattern that a comparison stands for. */
static bool host_of(const struct route_expr *x, const struct expr_pred *pred,
                    struct host_pattern *out)
{
    *out = (struct host_pattern){.text = x->texts[pred->index]};
    out->kind = pred->op == EO_EQ ? HOST_EXACT : pred->op == EO_PREFIX ? HOST_PREFIX : HOST_SUFFIX;
    return out->text.len && (pred->op == EO_EQ || pred->op == EO_PREFIX || pred->op == EO_POSTFIX);
}

/* The beginning of all paths for which a comparison holds. */
static bool path_of(struct route_expr *x, const struct expr_pred *pred, struct str *out)
{
    struct str text = pred->text;
    char *room;

    if (pred->lower)
        return false;
    if (pred->op == EO_EQ || pred->op == EO_PREFIX) {
        *out = text;
        return true;
    }
    if (pred->op != EO_REGEX || !str_starts(text, STR("^")))
        return false;
    room = arena_alloc(&x->a, text.len + 1);
    *out = room ? regex_literal_prefix(str_n(text.p + 1, text.len - 1), room) : STR("");
    return room != NULL;
}

/* Hosts and paths of the first conjunct on each that says enough. False: no room. */
static bool choose_places(struct route_expr *x)
{
    struct host_pattern hosts[EXPR_ALTERNATIVES_MAX];
    struct str paths[EXPR_ALTERNATIVES_MAX];
    const struct expr_node *next = route_expr_conjuncts(x);
    const struct expr_pred *preds[EXPR_ALTERNATIVES_MAX];
    int n, i;

    while ((n = route_expr_alternatives(x, &next, preds)) >= 0) {
        enum expr_field field = n ? preds[0]->field : EXPR_FIELD_COUNT;

        for (i = 0; i < n && field == EF_HOST && !x->n_hosts; i++)
            if (!host_of(x, preds[i], &hosts[i]))
                break;
        if (n && i == n)
            x->n_hosts = (uint32_t)n;
        for (i = 0; i < n && field == EF_PATH && !x->n_paths; i++)
            if (!path_of(x, preds[i], &paths[i]))
                break;
        if (n && i == n)
            x->n_paths = (uint32_t)n;
    }
    if (!x->n_hosts)
        hosts[x->n_hosts++] = (struct host_pattern){.kind = HOST_ANY};
    if (!x->n_paths || x->n_hosts * x->n_paths > PLACES_MAX) {
        x->n_paths = 1;
        paths[0] = STR("");
    }
    x->hosts = arena_dup(&x->a, hosts, x->n_hosts * sizeof(hosts[0]));
    x->paths = arena_dup(&x->a, paths, x->n_paths * sizeof(paths[0]));
    return x->hosts && x->paths;
}

/* ---- compiling ---- */

static void route_expr_fini(struct obj *o)
{
    struct route_expr *x = (struct route_expr *)o;

    for (uint32_t i = 0; x->rx && i < x->tree.n_preds; i++) {
        if (x->rx[i])
            mem_note(-(int64_t)regex_bytes(x->rx[i]));
        regex_free(&x->rx[i]);
    }
    mem_note(-(int64_t)x->a.used_bytes);
    arena_fini(&x->a);
}

static const struct obj_type route_expr_type = {.name = "expression", .fini = route_expr_fini};

static bool is_name(enum expr_field field)
{
    return field == EF_HOST || field == EF_SNI;
}

static int compile_pred(struct route_expr *x, const struct expr_pred *pred, struct err *e)
{
    struct str text = pred->text;
    char *folded;

    x->asks_addresses = x->asks_addresses || pred->field == EF_SRC_IP || pred->field == EF_DST_IP;
    x->texts[pred->index] = text;
    if (pred->op == EO_REGEX) {
        if (!(x->rx[pred->index] = regex_new(text, false, is_name(pred->field), e)))
            return -1;
        mem_note((int64_t)regex_bytes(x->rx[pred->index]));
        return 0;
    }
    if (!is_name(pred->field) || !text.len) /* names have no case */
        return 0;
    folded = arena_alloc(&x->a, text.len);
    for (size_t i = 0; folded && i < text.len; i++)
        folded[i] = ascii_lower(text.p[i]);
    x->texts[pred->index] = str_n(folded, text.len);
    return folded ? 0 : err_set(e, ERR_LIMIT, "expression is too large");
}

static int compile_node(struct route_expr *x, const struct expr_node *node, struct err *e)
{
    if (node->kind == EXPR_PRED)
        return compile_pred(x, node->pred, e);
    for (const struct expr_node *kid = node->kids; kid; kid = kid->next)
        if (compile_node(x, kid, e) != 0)
            return -1;
    return 0;
}

static int compile(struct route_expr *x, struct str text, enum expr_protocols where, struct err *e)
{
    if (expr_parse(text, where, &x->a, &x->tree, e) != 0)
        return -1;
    x->rx = arena_zalloc(&x->a, x->tree.n_preds * sizeof(struct regex *));
    x->texts = arena_zalloc(&x->a, x->tree.n_preds * sizeof(*x->texts));
    if (!x->rx || !x->texts)
        return err_set(e, ERR_LIMIT, "expression is too large");
    if (compile_node(x, x->tree.root, e) != 0)
        return -1;
    return choose_places(x) ? 0 : err_set(e, ERR_LIMIT, "expression is too large");
}

struct route_expr *route_expr_new(struct str text, enum expr_protocols where, struct err *e)
{
    struct route_expr *x = obj_new(&route_expr_type, sizeof(*x));
    int rc;

    arena_init(&x->a, 512, 2 * EXPR_ARENA_BYTES);
    rc = compile(x, text, where, e);
    mem_note((int64_t)x->a.used_bytes);
    if (rc == 0)
        return x;
    obj_unref(&x->o);
    return NULL;
}

/* ---- asking ---- */

struct asking {
    const struct route_expr *x;
    const struct expr_input *in;
    struct route_match *m;
};

/* What the path's comparison took; captures point into value, which is the path or a copy. */
static void note_regex(struct route_match *m, const struct regex *rx, struct str path,
                       struct str value, uint32_t n, const struct str *captures)
{
    m->n_captures = n;
    m->capture_names = regex_names(rx);
    for (uint32_t i = 0; i < n; i++)
        m->captures[i] =
            captures[i].p ? str_n(path.p + (captures[i].p - value.p), captures[i].len) : STR_NONE;
    if (m->captures[0].p == path.p) /* in the middle there is nothing to strip */
        m->matched = m->captures[0];
}

static bool regex_holds(const struct asking *q, const struct expr_pred *pred, struct str value)
{
    const struct regex *rx = q->x->rx[pred->index];
    struct str captures[CAPTURES_MAX];
    uint32_t n = regex_match(rx, value, captures, CAPTURES_MAX);

    if (n && pred->field == EF_PATH)
        note_regex(q->m, rx, q->in->req->path, value, n, captures);
    return n > 0;
}

static bool prefix_holds(const struct asking *q, const struct expr_pred *pred, struct str value)
{
    struct str prefix = q->x->texts[pred->index];

    if (!str_starts(value, prefix))
        return false;
    if (pred->field == EF_PATH)
        q->m->matched = str_n(q->in->req->path.p, prefix.len);
    return true;
}

static bool text_holds(const struct asking *q, const struct expr_pred *pred, struct str value)
{
    struct str right = q->x->texts[pred->index];

    switch (pred->op) {
    case EO_EQ: return str_eq(value, right);
    case EO_NE: return !str_eq(value, right);
    case EO_PREFIX: return prefix_holds(q, pred, value);
    case EO_POSTFIX: return str_ends(value, right);
    case EO_CONTAINS:
        return right.len == 0 || (value.len && memmem(value.p, value.len, right.p, right.len));
    case EO_REGEX: return regex_holds(q, pred, value);
    case EO_GE:
    case EO_LE:
    case EO_GT:
    case EO_LT:
    case EO_NOT_IN:
    case EO_IN:
    case EXPR_OP_COUNT: break;
    }
    WEIR_UNREACHABLE("operator of a text");
}

/* One value of a field of text, transformed. */
static bool value_holds(const struct asking *q, const struct expr_pred *pred, struct str value)
{
    char small[256], *buf = small;

    if (!pred->lower && pred->field != EF_SNI) /* hosts come in lower case */
        return text_holds(q, pred, value);
    if (value.len > sizeof(small) && !(buf = arena_alloc(q->in->scratch, value.len)))
        return false;
    for (size_t i = 0; i < value.len; i++)
        buf[i] = ascii_lower(value.p[i]);
    return text_holds(q, pred, str_n(buf, value.len));
}

/* Without any() all values must hold, and there must be one. */
struct verdict {
    unsigned n, held;
};

static bool verdict_is(const struct verdict *v, const struct expr_pred *pred)
{
    return pred->any ? v->held > 0 : v->n > 0 && v->held == v->n;
}

static bool same_name(struct str header, struct str name)
{
    if (header.len != name.len)
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (header_fold(header.p[i]) != header_fold(name.p[i]))
            return false;
    return true;
}

static bool headers_hold(const struct asking *q, const struct expr_pred *pred)
{
    struct verdict v = {0};

    HEADERS_EACH(h, &q->in->req->headers)
    {
        if (!same_name(h->name, pred->name))
            continue;
        v.n++;
        v.held += value_holds(q, pred, h->value);
    }
    return verdict_is(&v, pred);
}

static int hex_digit(char c)
{
    c = ascii_lower(c);
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A query's name or value: escapes and '+' undone. p == NULL: no room. */
static struct str query_text(struct str s, struct arena *a)
{
    char *out;
    size_t n = 0;

    if (str_find(s, '%') == s.len && str_find(s, '+') == s.len)
        return s;
    if (!(out = arena_alloc(a, s.len)))
        return STR_NONE;
    for (size_t i = 0; i < s.len; i++) {
        int high = i + 2 < s.len && s.p[i] == '%' ? hex_digit(s.p[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(s.p[i + 2]) : -1;

        out[n++] = low >= 0 ? (char)(high * 16 + low) : s.p[i] == '+' ? ' ' : s.p[i];
        i += low >= 0 ? 2 : 0;
    }
    return str_n(out, n);
}

static bool queries_hold(const struct asking *q, const struct expr_pred *pred)
{
    struct str rest = q->in->req->query, piece;
    struct verdict v = {0};
    unsigned seen = 0;

    while (rest.p && seen < QUERIES_MAX && str_next(&rest, '&', &piece)) {
        size_t mid = str_find(piece, '=');
        struct str value =
            mid < piece.len ? str_n(piece.p + mid + 1, piece.len - mid - 1) : STR("");

        if (!piece.len)
            continue;
        seen++;
        if (!str_eq(query_text(str_n(piece.p, mid), q->in->scratch), pred->name))
            continue;
        value = query_text(value, q->in->scratch);
        v.n++;
        v.held += value.p && value_holds(q, pred, value);
    }
    return verdict_is(&v, pred);
}

/* From the first to the last segment with the slashes between them; p == NULL: there are fewer. */
static struct str segments(struct str path, uint32_t first, uint32_t last)
{
    struct str rest = str_starts(path, STR("/")) ? str_n(path.p + 1, path.len - 1) : path, piece;
    const char *from = NULL;

    for (uint32_t i = 0; rest.len && str_next(&rest, '/', &piece); i++) {
        if (i == first)
            from = piece.p;
        if (i == last)
            return str_n(from, (size_t)(piece.p + piece.len - from));
    }
    return STR_NONE;
}

static int64_t count_segments(struct str path)
{
    struct str rest = str_starts(path, STR("/")) ? str_n(path.p + 1, path.len - 1) : path, piece;
    int64_t n = 0;

    while (rest.len && str_next(&rest, '/', &piece))
        n++;
    return n;
}

static bool number_holds(const struct expr_pred *pred, int64_t value)
{
    switch (pred->op) {
    case EO_EQ: return value == pred->number;
    case EO_NE: return value != pred->number;
    case EO_GE: return value >= pred->number;
    case EO_LE: return value <= pred->number;
    case EO_GT: return value > pred->number;
    case EO_LT: return value < pred->number;
    case EO_PREFIX:
    case EO_POSTFIX:
    case EO_REGEX:
    case EO_CONTAINS:
    case EO_NOT_IN:
    case EO_IN:
    case EXPR_OP_COUNT: break;
    }
    WEIR_UNREACHABLE("operator of a number");
}

/* An address is in itself alone, so that == and in are one question. */
static bool address_holds(const struct expr_pred *pred, const unsigned char *address)
{
    bool inside = address && ip_network_has(&pred->network, address);

    return address && (pred->op == EO_EQ || pred->op == EO_IN ? inside : !inside);
}

static bool one_holds(const struct asking *q, const struct expr_pred *pred, struct str value)
{
    return value.p && value_holds(q, pred, value);
}

static struct str present(struct str s)
{
    return s.len ? s : STR_NONE;
}

static bool pred_holds(const struct asking *q, const struct expr_pred *pred)
{
    const struct expr_input *in = q->in;
    struct str path = in->req ? in->req->path : STR("");

    switch (pred->field) {
    case EF_PROTOCOL: return one_holds(q, pred, in->protocol);
    case EF_SRC_IP: return address_holds(pred, in->src);
    case EF_DST_IP: return address_holds(pred, in->dst);
    case EF_SRC_PORT: return number_holds(pred, in->src_port);
    case EF_PORT:
    case EF_DST_PORT: return number_holds(pred, in->dst_port);
    case EF_SNI: return one_holds(q, pred, present(in->sni));
    case EF_METHOD: return one_holds(q, pred, in->req->method);
    case EF_HOST: return one_holds(q, pred, present(in->req->host));
    case EF_PATH: return one_holds(q, pred, path);
    case EF_SEGMENTS: return one_holds(q, pred, segments(path, pred->first, pred->last));
    case EF_SEGMENTS_LEN: return number_holds(pred, count_segments(path));
    case EF_HEADER: return headers_hold(q, pred);
    case EF_QUERY: return queries_hold(q, pred);
    case EXPR_FIELD_COUNT: break;
    }
    WEIR_UNREACHABLE("field");
}

/* As deep as the parser let it become. */
static bool node_holds(const struct asking *q, const struct expr_node *node)
{
    const struct expr_node *kid;
    struct route_match kept;

    switch (node->kind) {
    case EXPR_PRED: return pred_holds(q, node->pred);
    case EXPR_NOT:
        kept = *q->m; /* what must not hold has taken nothing */
        if (node_holds(q, node->kids))
            return false;
        *q->m = kept;
        return true;
    case EXPR_AND:
        for (kid = node->kids; kid; kid = kid->next)
            if (!node_holds(q, kid))
                return false;
        return true;
    case EXPR_OR:
        for (kid = node->kids; kid; kid = kid->next)
            if (node_holds(q, kid))
                return true;
        return false;
    }
    WEIR_UNREACHABLE("node");
}

bool route_expr_matches(const struct route_expr *x, const struct expr_input *in,
                        struct route_match *m)
{
    const struct asking q = {x, in, m};

    m->matched = STR_NONE;
    m->n_captures = 0;
    m->capture_names = NULL;
    return node_holds(&q, x->tree.root);
}
