/* msg.c - see msg.h. */
#include "dataplane/msg.h"

static const struct str names[HDR_COUNT] = {
    [HDR_OTHER] = {"", 0},
#define X(id, name) [id] = {name, sizeof(name) - 1},
    HEADER_IDS(X)
#undef X
};

/* A closed table, filled before main: position by length and two letters, then linear. */
#define SLOTS 128u
static uint8_t slots[SLOTS];

static inline unsigned slot_of(struct str name)
{
    unsigned char first = (unsigned char)name.p[0] | 0x20, last = (unsigned char)name.p[name.len - 1] | 0x20;
    unsigned char middle = (unsigned char)name.p[name.len / 2] | 0x20;

    return (unsigned)(name.len * 7u + first * 31u + last * 5u + middle * 17u) % SLOTS;
}

__attribute__((constructor)) static void fill(void)
{
    for (unsigned id = HDR_OTHER + 1; id < HDR_COUNT; id++) {
        unsigned at = slot_of(names[id]);
        while (slots[at])
            at = (at + 1) % SLOTS;
        slots[at] = (uint8_t)id;
    }
}

static inline uint64_t folded8(const char *p)
{
    uint64_t w;

    memcpy(&w, p, sizeof(w));
    return w | 0x2020202020202020u;
}

/* Of equal length. Known names are letters and '-', so setting one bit folds a token's case. */
static inline bool same_name(const char *known, const char *p, size_t len)
{
    size_t i = 0;

    for (; len - i >= 8; i += 8)
        if (folded8(known + i) != folded8(p + i))
            return false;
    for (; i < len; i++)
        if ((known[i] | 0x20) != (p[i] | 0x20))
            return false;
    return true;
}

enum header_id header_id_of(struct str name)
{
    if (name.len == 0)
        return HDR_OTHER;
    for (unsigned at = slot_of(name); slots[at]; at = (at + 1) % SLOTS)
        if (names[slots[at]].len == name.len && same_name(names[slots[at]].p, name.p, name.len))
            return slots[at];
    return HDR_OTHER;
}

struct str header_id_name(enum header_id id)
{
    WEIR_ASSERT(id < HDR_COUNT);
    return names[id];
}

struct header *headers_find_id(const struct headers *hs, enum header_id id)
{
    HEADERS_EACH(h, hs)
        if (h->id == id)
            return h;
    return NULL;
}

struct header *headers_find(const struct headers *hs, struct str name)
{
    enum header_id id = header_id_of(name);

    if (id != HDR_OTHER)
        return headers_find_id(hs, id);
    HEADERS_EACH(h, hs)
        if (h->id == HDR_OTHER && str_ieq(h->name, name))
            return h;
    return NULL;
}

static bool grow(struct headers *hs, struct arena *a)
{
    uint32_t cap = hs->cap ? hs->cap * 2 : 24;
    struct header *v = arena_alloc(a, cap * sizeof(*v));

    if (!v)
        return false;
    if (hs->n)
        memcpy(v, hs->v, hs->n * sizeof(*v));
    hs->v = v;
    hs->cap = cap;
    return true;
}

bool headers_add_as(struct headers *hs, struct arena *a, enum header_id id, struct str name, struct str value)
{
    if (unlikely(hs->n == hs->cap) && !grow(hs, a))
        return false;
    hs->v[hs->n++] = (struct header){name, value, (uint8_t)id};
    return true;
}

bool headers_add(struct headers *hs, struct arena *a, struct str name, struct str value)
{
    return headers_add_as(hs, a, header_id_of(name), name, value);
}

bool headers_set(struct headers *hs, struct arena *a, struct str name, struct str value)
{
    struct header *first = headers_find(hs, name);

    if (!first)
        return headers_add(hs, a, name, value);
    first->name = name;
    first->value = value;
    for (struct header *h = first + 1; h < hs->v + hs->n; h++)
        if (h->id == first->id && (h->id != HDR_OTHER || str_ieq(h->name, name)))
            h->id = HDR_REMOVED;
    return true;
}

void headers_remove_id(struct headers *hs, enum header_id id)
{
    HEADERS_EACH(h, hs)
        if (h->id == id)
            h->id = HDR_REMOVED;
}

void headers_remove(struct headers *hs, struct str name)
{
    enum header_id id = header_id_of(name);

    if (id != HDR_OTHER) {
        headers_remove_id(hs, id);
        return;
    }
    HEADERS_EACH(h, hs)
        if (h->id == HDR_OTHER && str_ieq(h->name, name))
            h->id = HDR_REMOVED;
}
