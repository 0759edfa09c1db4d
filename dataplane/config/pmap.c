/* pmap.c - see pmap.h. Nodes are as in CHAMP: values and children apart, both dense. */
#include "dataplane/config/pmap.h"

#define BITS      5u
#define HASH_BITS 64u
#define DEPTH_MAX (HASH_BITS / BITS + 2)

struct pslot {
    uint64_t hash;
    struct obj *value;
};

/*
 * One allocation: the slots, then the children. Below the last bits of the hash stands a
 * bucket: slots of one hash, without children.
 */
struct pnode {
    uint32_t refs;
    uint32_t values; /* bit per slot; 0 in a bucket */
    uint32_t kids;   /* bit per child */
    uint32_t n : 31; /* slots */
    uint32_t bucket : 1;
    struct pslot slots[];
};

static uint64_t key_hash(struct str key)
{
    uint64_t w[2];

    if (key.len != sizeof(w))
        return str_hash(key, 0);
    memcpy(w, key.p, sizeof(w));
    w[0] = (w[0] ^ 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u;
    w[0] = (w[0] ^ w[0] >> 29 ^ w[1]) * 0x94d049bb133111ebu;
    return w[0] ^ w[0] >> 32;
}

/* Without the instruction that not every x86-64 has, and without a call. */
static unsigned count_bits(uint32_t x)
{
    x -= x >> 1 & 0x55555555u;
    x = (x & 0x33333333u) + (x >> 2 & 0x33333333u);
    return ((x + (x >> 4)) & 0x0f0f0f0fu) * 0x01010101u >> 24;
}

static unsigned n_kids(const struct pnode *n)
{
    return count_bits(n->kids);
}

static struct pnode **kids(struct pnode *n)
{
    return (struct pnode **)(void *)(n->slots + n->n);
}

static unsigned below(uint32_t set, uint32_t bit)
{
    return count_bits(set & (bit - 1));
}

static uint32_t bit_of(uint64_t hash, unsigned shift)
{
    return 1u << (hash >> shift & ((1u << BITS) - 1));
}

static struct pnode *node_new(unsigned values, unsigned children)
{
    struct pnode *n = mem_alloc(sizeof(*n) + values * sizeof(struct pslot) + children * sizeof(n));

    *n = (struct pnode){.refs = 1};
    return n;
}

static void node_unref(struct pnode *n, const struct pmap_type *t)
{
    if (!n || --n->refs)
        return;
    if (t->owns)
        for (unsigned i = 0; i < n->n; i++)
            obj_unref(n->slots[i].value);
    for (unsigned i = 0; i < n_kids(n); i++)
        node_unref(kids(n)[i], t);
    mem_free(n);
}

/* Makes *at a node of nobody else's. */
static struct pnode *node_own(struct pnode **at, const struct pmap_type *t)
{
    struct pnode *n = *at, *copy;
    unsigned nv = n->n, nk = n_kids(n);

    if (n->refs == 1)
        return n;
    copy = node_new(nv, nk);
    memcpy(copy, n, sizeof(*n) + nv * sizeof(struct pslot) + nk * sizeof(n));
    copy->refs = 1;
    if (t->owns)
        for (unsigned i = 0; i < nv; i++)
            obj_ref(copy->slots[i].value);
    for (unsigned i = 0; i < nk; i++)
        kids(copy)[i]->refs++;
    n->refs--;
    return *at = copy;
}

/* The owned node *at with one slot more at index i, of that hash, empty. */
static struct obj **slot_insert(struct pnode **at, unsigned i, uint32_t bit, uint64_t hash)
{
    struct pnode *n = *at;
    unsigned nv = n->n, nk = n_kids(n);

    n = *at = mem_realloc(n, sizeof(*n) + (nv + 1) * sizeof(struct pslot) + nk * sizeof(n));
    memmove(n->slots + i + 1, n->slots + i, (nv - i) * sizeof(struct pslot) + nk * sizeof(n));
    n->slots[i] = (struct pslot){.hash = hash};
    n->n++;
    n->values |= bit; /* 0 in a bucket */
    return &n->slots[i].value;
}

static void slot_remove(struct pnode *n, unsigned i, uint32_t bit)
{
    unsigned nv = n->n, nk = n_kids(n);

    memmove(n->slots + i, n->slots + i + 1, (nv - i - 1) * sizeof(struct pslot) + nk * sizeof(n));
    n->n--;
    n->values &= ~bit;
}

/* Moves slot i of the owned node *at into a child of its own. */
static void slot_push_down(struct pnode **at, unsigned i, uint32_t bit, unsigned shift)
{
    struct pnode *n = *at, *kid = node_new(1, 0);
    unsigned k, nk;

    kid->bucket = shift >= HASH_BITS;
    kid->values = kid->bucket ? 0 : bit_of(n->slots[i].hash, shift);
    kid->n = 1;
    kid->slots[0] = n->slots[i];
    slot_remove(n, i, bit);
    nk = n_kids(n);
    k = below(n->kids, bit);
    /* a slot is as large as two children: the room is there */
    memmove(kids(n) + k + 1, kids(n) + k, (nk - k) * sizeof(n));
    kids(n)[k] = kid;
    n->kids |= bit;
}

static bool same(const struct pslot *s, const struct pmap_type *t, uint64_t hash, struct str key)
{
    return s->hash == hash && s->value && str_eq(t->key(s->value), key);
}

struct obj *pmap_get(const struct pmap *m, const struct pmap_type *t, struct str key)
{
    uint64_t hash;
    struct pnode *n = m->root;

    if (!n)
        return NULL;
    hash = key_hash(key);
    for (unsigned shift = 0; !n->bucket; shift += BITS) {
        uint32_t bit = bit_of(hash, shift);

        if (n->kids & bit) {
            n = kids(n)[below(n->kids, bit)];
            continue;
        }
        if (n->values & bit) {
            const struct pslot *s = &n->slots[below(n->values, bit)];

            return same(s, t, hash, key) ? s->value : NULL;
        }
        return NULL;
    }
    for (unsigned i = 0; i < n->n; i++)
        if (same(&n->slots[i], t, hash, key))
            return n->slots[i].value;
    return NULL;
}

struct obj **pmap_own(struct pmap *m, const struct pmap_type *t, struct str key)
{
    uint64_t hash = key_hash(key);
    struct pnode **at = &m->root;
    struct pnode *n;

    if (!*at)
        *at = node_new(0, 0);
    for (unsigned shift = 0;; shift += BITS) {
        uint32_t bit;
        unsigned i;

        n = node_own(at, t);
        if (n->bucket)
            break;
        bit = bit_of(hash, shift);
        i = below(n->values, bit);
        if (n->values & bit) {
            if (same(&n->slots[i], t, hash, key))
                return &n->slots[i].value;
            slot_push_down(at, i, bit, shift + BITS);
        } else if (!(n->kids & bit)) {
            m->n++;
            return slot_insert(at, i, bit, hash);
        }
        at = &kids(*at)[below((*at)->kids, bit)];
    }
    for (unsigned i = 0; i < n->n; i++)
        if (same(&n->slots[i], t, hash, key))
            return &n->slots[i].value;
    m->n++;
    return slot_insert(at, n->n, 0, hash);
}

void pmap_put(struct pmap *m, const struct pmap_type *t, struct obj *value)
{
    struct obj **slot = pmap_own(m, t, t->key(value)), *old = *slot;

    *slot = value;
    if (t->owns) {
        obj_ref(value);
        obj_unref(old);
    }
}

/* The way down to an owned node: prunes the ones that are empty. */
static void prune(struct pnode **way[], const uint32_t bits[], unsigned depth)
{
    while (depth > 0 && (*way[depth])->n == 0 && (*way[depth])->kids == 0) {
        struct pnode *up;
        unsigned k, nk;

        mem_free(*way[depth]);
        up = *way[--depth];
        k = below(up->kids, bits[depth]);
        nk = n_kids(up);
        memmove(kids(up) + k, kids(up) + k + 1, (nk - k - 1) * sizeof(up));
        up->kids &= ~bits[depth];
    }
}

bool pmap_del(struct pmap *m, const struct pmap_type *t, struct str key)
{
    struct pnode **way[DEPTH_MAX + 1], **at = &m->root;
    uint32_t bits[DEPTH_MAX + 1];
    uint64_t hash = key_hash(key);
    struct obj *old = NULL;
    unsigned depth = 0, i;

    if (!pmap_get(m, t, key))
        return false;
    for (;; depth++) {
        struct pnode *n = node_own(at, t);
        uint32_t bit = n->bucket ? 0 : bit_of(hash, depth * BITS);

        way[depth] = at;
        bits[depth] = bit;
        if (n->kids & bit) {
            at = &kids(n)[below(n->kids, bit)];
            continue;
        }
        for (i = n->bucket ? 0 : below(n->values, bit); !same(&n->slots[i], t, hash, key); i++)
            ;
        old = n->slots[i].value;
        slot_remove(n, i, bit);
        break;
    }
    prune(way, bits, depth);
    if (--m->n == 0) {
        mem_free(m->root);
        m->root = NULL;
    }
    if (t->owns)
        obj_unref(old);
    return true;
}

struct pmap pmap_share(const struct pmap *m)
{
    if (m->root)
        m->root->refs++;
    return *m;
}

void pmap_drop(struct pmap *m, const struct pmap_type *t)
{
    node_unref(m->root, t);
    *m = (struct pmap){0};
}

static void each(struct pnode *n, void (*fn)(struct obj *, void *), void *arg)
{
    for (unsigned i = 0; i < n->n; i++)
        fn(n->slots[i].value, arg);
    for (unsigned i = 0; i < n_kids(n); i++)
        each(kids(n)[i], fn, arg);
}

void pmap_each(const struct pmap *m, void (*fn)(struct obj *value, void *arg), void *arg)
{
    if (m->root)
        each(m->root, fn, arg);
}
