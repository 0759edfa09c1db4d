/* ptrie.c - see ptrie.h. */
#include "dataplane/config/ptrie.h"

static size_t node_size(size_t n_kids, size_t label_len)
{
    return sizeof(struct tnode) + n_kids * (sizeof(struct tnode *) + 1) + label_len;
}

static unsigned char *firsts(struct tnode *n)
{
    return (unsigned char *)(n->kids + n->n_kids);
}

static char *label(struct tnode *n)
{
    return (char *)firsts(n) + n->n_kids;
}

/* Kids and their first bytes are for the caller to fill. */
static struct tnode *node_new(unsigned n_kids, size_t label_len)
{
    struct tnode *n = mem_alloc(node_size(n_kids, label_len));

    n->refs = 1;
    n->label_len = (uint32_t)label_len;
    n->n_kids = n_kids;
    n->value = NULL;
    return n;
}

static struct tnode *leaf_new(struct str text)
{
    struct tnode *n = node_new(0, text.len);

    if (text.len)
        memcpy(label(n), text.p, text.len);
    return n;
}

static void node_unref(struct tnode *n)
{
    if (!n || --n->refs)
        return;
    obj_unref(n->value);
    for (unsigned i = 0; i < n->n_kids; i++)
        node_unref(n->kids[i]);
    mem_free(n);
}

/* Makes *at a node of nobody else's. */
static struct tnode *node_own(struct tnode **at)
{
    struct tnode *n = *at, *copy;

    if (n->refs == 1)
        return n;
    copy = mem_alloc(node_size(n->n_kids, n->label_len));
    memcpy(copy, n, node_size(n->n_kids, n->label_len));
    copy->refs = 1;
    obj_ref(copy->value);
    for (unsigned i = 0; i < copy->n_kids; i++)
        copy->kids[i]->refs++;
    n->refs--;
    return *at = copy;
}

/* Index of the kid that begins with c, or where it would stand. */
static unsigned kid_at(const struct tnode *n, unsigned char c)
{
    const unsigned char *f = tnode_firsts(n);
    unsigned i = 0;

    while (i < n->n_kids && f[i] < c)
        i++;
    return i;
}

static bool has_kid(const struct tnode *n, unsigned i, unsigned char c)
{
    return i < n->n_kids && tnode_firsts(n)[i] == c;
}

/* The owned node *at with kid at index i; takes the reference on kid. */
static struct tnode **kid_insert(struct tnode **at, unsigned i, struct tnode *kid)
{
    struct tnode *n = *at, *more = node_new(n->n_kids + 1, n->label_len);

    more->value = n->value;
    memcpy(more->kids, n->kids, i * sizeof(kid));
    more->kids[i] = kid;
    memcpy(more->kids + i + 1, n->kids + i, (n->n_kids - i) * sizeof(kid));
    memcpy(firsts(more), firsts(n), i);
    firsts(more)[i] = (unsigned char)label(kid)[0];
    memcpy(firsts(more) + i + 1, firsts(n) + i, n->n_kids - i);
    memcpy(label(more), label(n), n->label_len);
    mem_free(n);
    *at = more;
    return &more->kids[i];
}

static void kid_remove(struct tnode **at, unsigned i)
{
    struct tnode *n = *at, *less = node_new(n->n_kids - 1, n->label_len);

    less->value = n->value;
    memcpy(less->kids, n->kids, i * sizeof(n));
    memcpy(less->kids + i, n->kids + i + 1, (less->n_kids - i) * sizeof(n));
    memcpy(firsts(less), firsts(n), i);
    memcpy(firsts(less) + i, firsts(n) + i + 1, less->n_kids - i);
    memcpy(label(less), label(n), n->label_len);
    mem_free(n);
    *at = less;
}

/* Cuts the owned node *at in two: the first len bytes of its label come above it. */
static void split(struct tnode **at, size_t len)
{
    struct tnode *n = *at, *top = node_new(1, len);
    size_t rest = n->label_len - len;

    memcpy(label(top), label(n), len);
    firsts(top)[0] = (unsigned char)label(n)[len];
    top->kids[0] = n;
    memmove(label(n), label(n) + len, rest);
    n->label_len = (uint32_t)rest;
    *at = top;
}

/* Joins the owned node *at, which has no value, with its only kid. */
static void join(struct tnode **at)
{
    struct tnode *n = *at, *kid = n->kids[0];
    struct tnode *one = node_new(kid->n_kids, (size_t)n->label_len + kid->label_len);

    one->value = kid->value;
    obj_ref(one->value);
    for (unsigned i = 0; i < kid->n_kids; i++) {
        one->kids[i] = kid->kids[i];
        one->kids[i]->refs++;
    }
    memcpy(firsts(one), firsts(kid), kid->n_kids);
    memcpy(label(one), label(n), n->label_len);
    memcpy(label(one) + n->label_len, label(kid), kid->label_len);
    node_unref(kid);
    mem_free(n);
    *at = one;
}

static size_t common_len(const char *a, size_t a_len, struct str b)
{
    size_t n = size_min(a_len, b.len), i = 0;

    while (i < n && a[i] == b.p[i])
        i++;
    return i;
}

struct obj **ptrie_own(struct tnode **root, struct str key)
{
    struct tnode **at = root;

    if (!*at)
        *at = leaf_new(key);
    for (;;) {
        struct tnode *n = node_own(at);
        size_t same = common_len(label(n), n->label_len, key);
        unsigned i;

        if (same < n->label_len) {
            split(at, same);
            n = *at;
        }
        key = str_n(key.p + same, key.len - same);
        if (key.len == 0)
            return &n->value;
        i = kid_at(n, (unsigned char)key.p[0]);
        if (!has_kid(n, i, (unsigned char)key.p[0]))
            return &(*kid_insert(at, i, leaf_new(key)))->value;
        at = &n->kids[i];
    }
}

void ptrie_del(struct tnode **root, struct str key)
{
    struct tnode **at = root, **up = NULL, *n;
    unsigned index = 0;

    for (;;) {
        n = node_own(at);
        key = str_n(key.p + n->label_len, key.len - n->label_len);
        if (key.len == 0)
            break;
        up = at;
        index = kid_at(n, (unsigned char)key.p[0]);
        at = &n->kids[index];
    }
    obj_unref(n->value);
    n->value = NULL;
    if (n->n_kids == 1) {
        join(at);
        return;
    }
    if (n->n_kids > 1)
        return;
    mem_free(n);
    *at = NULL;
    if (!up)
        return;
    kid_remove(up, index);
    if ((*up)->n_kids == 1 && !(*up)->value)
        join(up);
}

struct obj *ptrie_get(const struct tnode *root, struct str key)
{
    const struct tnode *n = root;

    while (n) {
        unsigned i;

        if (key.len < n->label_len || memcmp(tnode_label(n), key.p, n->label_len) != 0)
            return NULL;
        key = str_n(key.p + n->label_len, key.len - n->label_len);
        if (key.len == 0)
            return n->value;
        i = kid_at(n, (unsigned char)key.p[0]);
        n = has_kid(n, i, (unsigned char)key.p[0]) ? n->kids[i] : NULL;
    }
    return NULL;
}

void ptrie_drop(struct tnode **root)
{
    node_unref(*root);
    *root = NULL;
}

struct obj *ptrie_next(struct tnode_walk *w)
{
    while (w->at) {
        const struct tnode *n = w->at;
        const unsigned char *f;

        if (w->len < n->label_len || memcmp(tnode_label(n), w->p, n->label_len) != 0) {
            w->at = NULL;
            break;
        }
        w->p += n->label_len;
        w->len -= n->label_len;
        w->at = NULL;
        if (w->len && n->n_kids && (f = memchr(tnode_firsts(n), w->p[0], n->n_kids)))
            w->at = n->kids[f - tnode_firsts(n)];
        if (n->value)
            return n->value;
    }
    return NULL;
}
