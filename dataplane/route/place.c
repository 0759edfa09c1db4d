/* place.c - see place.h. */
#include "dataplane/route/place.h"

#include "dataplane/config/config_priv.h"

#define LINEAR 8u /* entries up to which a list is not split */

struct bucket {
    struct obj o;
    struct obj *inner; /* entry_list or place */
    uint32_t len;
    char key[];
};

struct place {
    struct obj o;
    struct obj *rest; /* entry_list, or NULL */
    struct pmap buckets;
    uint64_t best;       /* no entry is above; may be too high after some left */
    uint64_t names;      /* a bit per header name that buckets have; bits stay when names leave */
    uint64_t bits[2][3]; /* lengths of the networks that buckets have: source, destination */
    uint32_t kinds;      /* 1u << key_kind */
    uint32_t n;          /* entries, each counted once */
};

/* ---- lists ---- */

/* Of one route in the oldest flavor: expressions first, then the longer path. */
static int path_cmp(const struct route_entry *a, const struct route_entry *b)
{
    struct list paths = a->route->c.def.paths;
    size_t x, y;

    if (a->kind == ENTRY_EXPRESSION)
        return 0;
    x = LIST_AT(paths, struct str, a->path).len;
    y = LIST_AT(paths, struct str, b->path).len;
    if (a->kind != b->kind)
        return a->kind == ENTRY_REGEX ? 1 : -1;
    return x == y ? 0 : x < y ? -1 : 1;
}

int entry_cmp(const struct route_entry *a, const struct route_entry *b)
{
    int by_id, by_path;

    if (a->priority != b->priority)
        return a->priority < b->priority ? -1 : 1;
    if (a->route->age != b->route->age)
        return a->route->age < b->route->age ? -1 : 1;
    by_id = memcmp(&a->route->head.id, &b->route->head.id, sizeof(struct uuid));
    if (by_id != 0)
        return by_id;
    if (a->path != b->path && a->route->flavor == FLAVOR_TRADITIONAL && (by_path = path_cmp(a, b)))
        return by_path;
    if (a->path != b->path)
        return a->path > b->path ? -1 : 1;
    return a->port == b->port ? 0 : a->port < b->port ? -1 : 1;
}

static const struct obj_type entry_list_type = {.name = "entries"};

/* Index of the first entry that is not below e. */
static uint32_t lower_bound(const struct entry_list *list, const struct route_entry *e)
{
    uint32_t lo = 0, hi = list->n;

    if (hi && entry_cmp(&list->v[hi - 1], e) < 0) /* changes come sorted: mostly the end */
        return hi;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;

        if (entry_cmp(&list->v[mid], e) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static struct entry_list *list_copy(struct obj **slot, uint32_t cap)
{
    struct entry_list *old = (struct entry_list *)*slot, *list;

    list = obj_new(&entry_list_type, sizeof(*list) + cap * sizeof(list->v[0]));
    list->cap = cap;
    if (old) {
        list->n = old->n;
        memcpy(list->v, old->v, old->n * sizeof(old->v[0]));
        obj_unref(*slot);
    }
    *slot = &list->o;
    return list;
}

static void list_insert(struct obj **slot, const struct route_entry *e)
{
    struct entry_list *list = (struct entry_list *)*slot;
    uint32_t i;

    if (!list)
        list = list_copy(slot, 1);
    else if (list->o.refs > 1 || list->n == list->cap)
        list = list_copy(slot, list->n < 4 ? list->n + 1 : list->n + list->n / 2);
    i = lower_bound(list, e);
    memmove(list->v + i + 1, list->v + i, (list->n - i) * sizeof(*e));
    list->v[i] = *e;
    list->n++;
}

/* True when nothing is left. */
static bool list_remove(struct obj **slot, const struct route_entry *e)
{
    struct entry_list *list = (struct entry_list *)*slot;
    uint32_t i;

    if (list->o.refs > 1 && list->n > 1)
        list = list_copy(slot, list->n);
    i = lower_bound(list, e);
    WEIR_ASSERT(i < list->n && entry_cmp(&list->v[i], e) == 0);
    if (list->n == 1)
        return true; /* the caller drops it, shared or not */
    memmove(list->v + i, list->v + i + 1, (list->n - i - 1) * sizeof(*e));
    list->n--;
    return false;
}

/* ---- places ---- */

static void bucket_fini(struct obj *o)
{
    obj_unref(((struct bucket *)o)->inner);
}

static const struct obj_type bucket_type = {.name = "bucket", .fini = bucket_fini};

static struct str bucket_key(const struct obj *o)
{
    const struct bucket *b = (const struct bucket *)o;

    return str_n(b->key, b->len);
}

static const struct pmap_type bucket_map = {.key = bucket_key, .owns = true};

static void place_fini(struct obj *o)
{
    struct place *p = (struct place *)o;

    obj_unref(p->rest);
    pmap_drop(&p->buckets, &bucket_map);
}

static const struct obj_type place_type = {.name = "place", .fini = place_fini};

static bool is_place(const struct obj *o)
{
    return o->type == &place_type;
}

/* The place in *slot, nobody else's. */
static struct place *place_own(struct obj **slot)
{
    struct place *old = (struct place *)*slot, *p;

    if (old->o.refs == 1)
        return old;
    p = obj_new(&place_type, sizeof(*p));
    memcpy((char *)p + sizeof(p->o), (char *)old + sizeof(p->o), sizeof(*p) - sizeof(p->o));
    obj_ref(p->rest);
    p->buckets = pmap_share(&old->buckets);
    obj_unref(*slot);
    *slot = &p->o;
    return p;
}

static struct bucket *bucket_own(struct pmap *buckets, struct str key)
{
    struct obj **slot = pmap_own(buckets, &bucket_map, key);
    struct bucket *old = (struct bucket *)*slot, *b;

    if (old && old->o.refs == 1)
        return old;
    b = obj_new(&bucket_type, sizeof(*b) + key.len);
    b->len = (uint32_t)key.len;
    memcpy(b->key, key.p, key.len);
    if (old) {
        obj_ref(b->inner = old->inner);
        obj_unref(*slot);
    }
    *slot = &b->o;
    return b;
}

/* Cheap: every field of a request is asked for it. */
static uint64_t name_bit(struct str name)
{
    unsigned first = name.len ? (unsigned char)header_fold(name.p[0]) : 0;
    unsigned last = name.len ? (unsigned char)header_fold(name.p[name.len - 1]) : 0;

    return 1ull << ((name.len * 7 + first + last * 3) & 63);
}

/* Remembers what p's buckets have, so that only that is looked for. */
static void place_note(struct place *p, struct str key)
{
    enum key_kind kind = (enum key_kind)key.p[0];

    p->kinds |= 1u << kind;
    if (kind == KEY_HEADER)
        p->names |= name_bit(str_n(key.p + 1, strlen(key.p + 1)));
    if (kind == KEY_SRC || kind == KEY_DST) {
        unsigned bits = (unsigned char)key.p[1];

        p->bits[kind == KEY_DST][bits / 64] |= 1ull << bits % 64;
    }
}

/* An entry on its way in or out; its conditions are made when they are asked for. */
struct moving {
    const struct route_entry *e;
    struct conditions c;
    bool known;
};

static const struct condition *condition_at(struct moving *m, unsigned level)
{
    if (!m->known)
        conditions_of(m->e, &m->c);
    m->known = true;
    return level < m->c.n ? &m->c.v[level] : NULL;
}

static void insert_at(struct obj **slot, struct moving *m, unsigned level);

static void place_put(struct place *p, struct moving *m, unsigned level)
{
    const struct condition *c = condition_at(m, level);

    p->n++;
    p->best = p->best > m->e->priority ? p->best : m->e->priority;
    if (!c) {
        list_insert(&p->rest, m->e);
        return;
    }
    for (size_t i = 0; i < c->n; i++) {
        struct str key = conditions_key(&m->c, c->first + i);

        place_note(p, key);
        insert_at(&bucket_own(&p->buckets, key)->inner, m, level + 1);
    }
}

/* A list that has grown too long becomes a place. */
static void split(struct obj **slot, unsigned level)
{
    struct entry_list *list = (struct entry_list *)*slot;
    struct place *p = obj_new(&place_type, sizeof(*p));
    struct conditions c = {0};

    for (uint32_t i = 0; i < list->n; i++) {
        struct moving m = {.e = &list->v[i], .c = c};

        place_put(p, &m, level);
        c = m.c; /* its room is used again */
    }
    conditions_free(&c);
    obj_unref(*slot);
    *slot = &p->o;
}

static void insert_at(struct obj **slot, struct moving *m, unsigned level)
{
    if (*slot && !is_place(*slot) && ((struct entry_list *)*slot)->n >= LINEAR &&
        condition_at(m, level))
        split(slot, level);
    if (*slot && is_place(*slot))
        place_put(place_own(slot), m, level);
    else
        list_insert(slot, m->e);
}

bool place_is_crowded(const struct obj *place)
{
    return place && (is_place(place) || ((const struct entry_list *)place)->n >= LINEAR);
}

void place_insert(struct obj **slot, const struct route_entry *e)
{
    struct moving m = {.e = e};

    insert_at(slot, &m, 0);
    conditions_free(&m.c);
}

static bool remove_at(struct obj **slot, struct moving *m, unsigned level)
{
    const struct condition *c;
    struct place *p;

    if (!is_place(*slot))
        return list_remove(slot, m->e);
    p = place_own(slot);
    c = condition_at(m, level);
    if (!c && list_remove(&p->rest, m->e)) {
        obj_unref(p->rest);
        p->rest = NULL;
    }
    for (size_t i = 0; c && i < c->n; i++) {
        struct str key = conditions_key(&m->c, c->first + i);

        if (remove_at(&bucket_own(&p->buckets, key)->inner, m, level + 1))
            pmap_del(&p->buckets, &bucket_map, key);
    }
    return --p->n == 0;
}

bool place_remove(struct obj **slot, const struct route_entry *e)
{
    struct moving m = {.e = e};
    bool empty = remove_at(slot, &m, 0);

    conditions_free(&m.c);
    return empty;
}

/* ---- searching ---- */

struct looking {
    const struct place_query *q;
    const uint64_t *above;
    place_visit *visit;
    void *arg;
};

uint64_t place_best(const struct obj *place)
{
    const struct entry_list *list = (const struct entry_list *)place;

    return is_place(place) ? ((const struct place *)place)->best : list->v[list->n - 1].priority;
}

static bool look(const struct obj *o, const struct looking *l);

static bool look_at(const struct place *p, struct str key, const struct looking *l)
{
    const struct obj *b = pmap_get(&p->buckets, &bucket_map, key);

    return !b || look(((const struct bucket *)b)->inner, l);
}

static bool look_at_headers(const struct place *p, const struct looking *l)
{
    char key[KEY_MAX];

    HEADERS_EACH(h, l->q->headers)
    {
        size_t n = 1;

        if (h->name.len + h->value.len + 2 > sizeof(key) || !(p->names & name_bit(h->name)))
            continue;
        key[0] = KEY_HEADER;
        for (size_t i = 0; i < h->name.len; i++)
            key[n++] = header_fold(h->name.p[i]);
        key[n++] = '\0';
        for (size_t i = 0; i < h->value.len; i++)
            key[n++] = ascii_lower(h->value.p[i]);
        if (!look_at(p, str_n(key, n), l))
            return false;
    }
    return true;
}

/* The name itself, "*.b.c" for each of its ends, "a.*" for each of its beginnings. */
static bool look_at_sni(const struct place *p, const struct looking *l)
{
    struct str name = l->q->sni;
    char key[KEY_MAX], kept[2], *text = key + 2; /* room for the kind and a star in front */

    if (name.len + 4 > sizeof(key))
        return true;
    for (size_t i = 0; i < name.len; i++)
        text[i] = ascii_lower(name.p[i]);
    text[-1] = KEY_SNI;
    if (!look_at(p, str_n(text - 1, name.len + 1), l))
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char *dot = text + i;
        bool go_on;

        if (*dot != '.')
            continue;
        memcpy(kept, dot - 2, 2);
        dot[-2] = KEY_SNI;
        dot[-1] = '*';
        go_on = look_at(p, str_n(dot - 2, name.len - i + 2), l);
        memcpy(dot - 2, kept, 2);
        if (!go_on)
            return false;
        kept[0] = dot[1];
        dot[1] = '*';
        text[-1] = KEY_SNI;
        go_on = look_at(p, str_n(text - 1, i + 3), l);
        dot[1] = kept[0];
        if (!go_on)
            return false;
    }
    return true;
}

void key_network(const unsigned char addr[16], unsigned bits, char *out)
{
    unsigned whole = bits / 8;

    out[0] = (char)bits;
    memset(out + 1, 0, 16);
    memcpy(out + 1, addr, whole);
    if (bits % 8)
        out[1 + whole] = (char)(addr[whole] & 0xff00u >> bits % 8);
}

static bool look_at_networks(const struct place *p, enum key_kind kind, const unsigned char *addr,
                             const struct looking *l)
{
    const uint64_t *lengths = p->bits[kind == KEY_DST];
    char key[18] = {(char)kind};

    for (unsigned word = 0; word < 3; word++)
        for (uint64_t set = lengths[word]; set; set &= set - 1) {
            key_network(addr, word * 64 + (unsigned)__builtin_ctzll(set), key + 1);
            if (!look_at(p, str_n(key, sizeof(key)), l))
                return false;
        }
    return true;
}

static bool look_at_method(const struct place *p, const struct looking *l)
{
    char key[KEY_MAX];

    if (l->q->method.len + 1 > sizeof(key))
        return true;
    key[0] = KEY_METHOD;
    if (l->q->method.len)
        memcpy(key + 1, l->q->method.p, l->q->method.len);
    return look_at(p, str_n(key, l->q->method.len + 1), l);
}

static bool look_into(const struct place *p, const struct looking *l)
{
    const struct place_query *q = l->q;
    const char port[3] = {KEY_PORT, (char)(q->port >> 8), (char)q->port},
               plain[1] = {KEY_PLAINTEXT};
    const uint32_t kinds = p->kinds;

    if (p->rest && !look(p->rest, l))
        return false;
    if (kinds & 1u << KEY_PORT && !look_at(p, str_n(port, sizeof(port)), l))
        return false;
    if (kinds & 1u << KEY_HEADER && q->headers && !look_at_headers(p, l))
        return false;
    if (kinds & 1u << KEY_SNI && q->tls && !look_at_sni(p, l))
        return false;
    if (kinds & 1u << KEY_PLAINTEXT && !q->tls && !look_at(p, str_n(plain, sizeof(plain)), l))
        return false;
    if (kinds & 1u << KEY_METHOD && !look_at_method(p, l))
        return false;
    if (kinds & 1u << KEY_SRC && q->src && !look_at_networks(p, KEY_SRC, q->src, l))
        return false;
    return !(kinds & 1u << KEY_DST) || !q->dst || look_at_networks(p, KEY_DST, q->dst, l);
}

static bool look(const struct obj *o, const struct looking *l)
{
    if (place_best(o) < *l->above)
        return true;
    return is_place(o) ? look_into((const struct place *)o, l)
                       : l->visit(l->arg, (const struct entry_list *)o);
}

bool place_search(const struct obj *place, const struct place_query *q, const uint64_t *above,
                  place_visit *visit, void *arg)
{
    const struct looking l = {q, above, visit, arg};

    return look(place, &l);
}
