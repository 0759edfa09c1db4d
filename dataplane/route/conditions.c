/* conditions.c - what an entry asks of requests, as keys: see place.h. */
#include <stdlib.h>

#include "dataplane/route/expression.h"
#include "dataplane/route/router_priv.h"

/* ---- building ---- */

static void key_add(struct conditions *c, enum key_kind kind, const void *p, size_t len)
{
    if (c->n_keys == c->cap) {
        c->cap = size_max(16, c->cap * 2);
        c->keys = xrealloc(c->keys, c->cap * sizeof(*c->keys));
    }
    c->keys[c->n_keys++] = (struct key){c->text.len, len + 1};
    sbuf_addc(&c->text, (char)kind);
    sbuf_add(&c->text, p, len);
}

static void key_add_port(struct conditions *c, uint16_t port)
{
    const char key[2] = {(char)(port >> 8), (char)port};

    key_add(c, KEY_PORT, key, sizeof(key));
}

static void key_add_network(struct conditions *c, enum key_kind kind, const struct ip_network *net)
{
    char key[17];

    key_network(net->addr, net->bits, key);
    key_add(c, kind, key, sizeof(key));
}

static bool same_key(const struct conditions *c, size_t a, size_t b)
{
    return str_eq(conditions_key(c, a), conditions_key(c, b));
}

/*
 * Makes a condition of the keys from first on, each once. When they are too many or too long
 * they are dropped: the entry is found without them.
 */
static void condition_add(struct conditions *c, size_t first)
{
    size_t n = first;
    bool usable =
        c->n < CONDITIONS_MAX && c->n_keys > first && c->fan * (c->n_keys - first) <= KEYS_MAX;

    for (size_t i = first; i < c->n_keys && usable; i++) {
        bool twice = false;

        for (size_t k = first; k < n && !twice; k++)
            twice = same_key(c, i, k);
        if (!twice)
            c->keys[n++] = c->keys[i];
        usable = c->keys[i].len <= KEY_MAX;
    }
    if (!usable) {
        c->n_keys = first;
        return;
    }
    c->n_keys = n;
    c->fan *= n - first;
    c->v[c->n++] = (struct condition){first, n - first};
}

void conditions_free(struct conditions *c)
{
    free(c->keys);
    sbuf_free(&c->text);
    *c = (struct conditions){0};
}

/* ---- classic routes ---- */

static void add_names(struct conditions *c, struct list snis, bool plaintext_too)
{
    size_t first = c->n_keys;

    if (snis.n == 0)
        return;
    if (plaintext_too)
        key_add(c, KEY_PLAINTEXT, NULL, 0);
    for (size_t i = 0; i < snis.n; i++) {
        struct str name = LIST_AT(snis, struct str, i);
        size_t at;

        name.len -= str_ends(name, STR("."));
        key_add(c, KEY_SNI, name.p, name.len);
        for (at = c->text.len - name.len; at < c->text.len; at++)
            c->text.p[at] = ascii_lower(c->text.p[at]);
    }
    condition_add(c, first);
}

static void key_add_header(struct conditions *c, struct str name, struct str value)
{
    size_t at = c->text.len + 1;

    key_add(c, KEY_HEADER, name.p, name.len);
    for (; at < c->text.len; at++)
        c->text.p[at] = header_fold(c->text.p[at]);
    sbuf_addc(&c->text, '\0');
    sbuf_addstr(&c->text, value);
    for (; at < c->text.len; at++)
        c->text.p[at] = ascii_lower(c->text.p[at]);
    c->keys[c->n_keys - 1].len += value.len + 1;
}

static void add_header(struct conditions *c, const struct map_entry *rule)
{
    size_t first = c->n_keys;

    for (size_t i = 0; i < rule->values.n; i++)
        key_add_header(c, rule->key, LIST_AT(rule->values, struct str, i));
    condition_add(c, first);
}

static bool has_regex(struct regex *const *rx, size_t n)
{
    for (size_t i = 0; rx && i < n; i++)
        if (rx[i])
            return true;
    return false;
}

static void http_conditions(const struct route_entry *e, struct conditions *c)
{
    const struct route *def = &e->route->c.def;
    struct regex *const *rx = e->route->rules ? e->route->rules->v + def->paths.n : NULL;
    size_t first = c->n_keys;

    if (e->port) {
        key_add_port(c, e->port);
        condition_add(c, first);
    }
    for (size_t i = 0; i < def->headers.n; i++) {
        const struct map_entry *rule = &LIST_AT(def->headers, struct map_entry, i);

        if (!has_regex(rx, rule->values.n))
            add_header(c, rule);
        rx = rx ? rx + rule->values.n : NULL;
    }
    add_names(c, def->snis, true);
    first = c->n_keys;
    for (size_t i = 0; i < def->methods.n; i++)
        key_add(c, KEY_METHOD, LIST_AT(def->methods, struct str, i).p,
                LIST_AT(def->methods, struct str, i).len);
    condition_add(c, first);
}

/* ---- stream routes ---- */

/* By port when each of them has one (ports is allowed), else by address when each has one. */
static void add_endpoints(struct conditions *c, const struct c_endpoint *v, size_t n,
                          enum key_kind kind)
{
    bool by_port = kind == KEY_DST, by_addr = true;
    size_t first = c->n_keys;

    for (size_t i = 0; i < n; i++) {
        by_port = by_port && v[i].has_port;
        by_addr = by_addr && v[i].has_addr;
    }
    if (by_port)
        for (size_t i = 0; i < n; i++)
            key_add_port(c, v[i].port);
    condition_add(c, first);
    first = c->n_keys;
    if (by_addr)
        for (size_t i = 0; i < n; i++)
            key_add_network(c, kind, &v[i].net);
    condition_add(c, first);
}

static void stream_conditions(const struct route_entry *e, struct conditions *c)
{
    const struct route_endpoints *ends = e->route->endpoints;

    if (ends)
        add_endpoints(c, ends->v + ends->n_sources, ends->n - ends->n_sources, KEY_DST);
    add_names(c, e->route->c.def.snis, e->route->c.protocols & 1u << PROTO_TCP);
    if (ends)
        add_endpoints(c, ends->v, ends->n_sources, KEY_SRC);
}

/* ---- expressions ---- */

/* The server names that a comparison stands for. */
static bool key_add_name(struct conditions *c, enum expr_op op, struct str text)
{
    bool suffix = op == EO_POSTFIX && str_starts(text, STR("."));
    bool prefix = op == EO_PREFIX && str_ends(text, STR("."));

    if (op != EO_EQ && !suffix && !prefix)
        return false;
    key_add(c, KEY_SNI, "*", suffix);
    sbuf_addstr(&c->text, text);
    if (prefix)
        sbuf_addc(&c->text, '*');
    c->keys[c->n_keys - 1].len += text.len + prefix;
    return true;
}

/* False: requests for which pred holds have no key in common. */
static bool pred_key(struct conditions *c, const struct route_expr *x, const struct expr_pred *pred)
{
    switch (pred->field) {
    case EF_HEADER:
        if (pred->op != EO_EQ)
            return false;
        key_add_header(c, pred->name, pred->text);
        return true;
    case EF_METHOD:
        if (pred->op != EO_EQ || pred->lower)
            return false;
        key_add(c, KEY_METHOD, pred->text.p, pred->text.len);
        return true;
    case EF_SNI: return key_add_name(c, pred->op, x->texts[pred->index]);
    case EF_DST_PORT:
        if (pred->op != EO_EQ || pred->number < 0 || pred->number > UINT16_MAX)
            return false;
        key_add_port(c, (uint16_t)pred->number);
        return true;
    case EF_SRC_IP:
    case EF_DST_IP:
        if (pred->op != EO_EQ && pred->op != EO_IN)
            return false;
        key_add_network(c, pred->field == EF_SRC_IP ? KEY_SRC : KEY_DST, &pred->network);
        return true;
    case EF_PROTOCOL:
    case EF_SRC_PORT:
    case EF_PORT:
    case EF_HOST:
    case EF_PATH:
    case EF_SEGMENTS_LEN:
    case EF_SEGMENTS:
    case EF_QUERY:
    case EXPR_FIELD_COUNT: return false;
    }
    WEIR_UNREACHABLE("field");
}

static void expr_conditions(const struct route_expr *x, struct conditions *c)
{
    const struct expr_node *next = route_expr_conjuncts(x);
    const struct expr_pred *preds[EXPR_ALTERNATIVES_MAX];
    int n;

    while ((n = route_expr_alternatives(x, &next, preds)) >= 0) {
        size_t first = c->n_keys;
        int i = 0;

        while (i < n && pred_key(c, x, preds[i]))
            i++;
        if (i < n)
            c->n_keys = first;
        else
            condition_add(c, first);
    }
}

void conditions_of(const struct route_entry *e, struct conditions *c)
{
    c->n = 0;
    c->n_keys = 0;
    c->fan = 1;
    sbuf_clear(&c->text);
    if (e->route->expr)
        expr_conditions(e->route->expr, c);
    else if (e->kind == ENTRY_STREAM)
        stream_conditions(e, c);
    else
        http_conditions(e, c);
}
