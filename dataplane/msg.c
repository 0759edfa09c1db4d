/* msg.c - see msg.h. */
#include "dataplane/msg.h"

static const struct str names[HDR_COUNT] = {
    [HDR_OTHER] = {"", 0},
#define X(id, name) [id] = {name, sizeof(name) - 1},
    HEADER_IDS(X)
#undef X
};

/*
 * A closed table, filled before main: position by length and three letters, then linear. The
 * factor was searched for: no two names meet at present, nor any common one that is not ours.
 */
#define SLOTS        256u
#define NAME_MAX_LEN 24u
static uint8_t slots[SLOTS];

/* A name for comparing eight bytes at a time: letters folded, with the bits that fold them. */
static struct {
    char folded[NAME_MAX_LEN], fold[NAME_MAX_LEN];
} forms[HDR_COUNT];

static inline unsigned slot_of(struct str name)
{
    const unsigned char *p = (const unsigned char *)name.p;
    uint32_t late = p[name.len - 1 - name.len / 16], middle = p[name.len / 2];

    return (((uint32_t)name.len | (uint32_t)p[0] << 8 | late << 16 | middle << 24 | 0x20202020u) * 0x31d2aa17u) >> 24;
}

__attribute__((constructor)) static void fill(void)
{
    for (unsigned id = HDR_OTHER + 1; id < HDR_COUNT; id++) {
        unsigned at = slot_of(names[id]);
        while (slots[at])
            at = (at + 1) % SLOTS;
        slots[at] = (uint8_t)id;
        WEIR_ASSERT(names[id].len <= NAME_MAX_LEN);
        for (size_t i = 0; i < names[id].len; i++) {
            forms[id].folded[i] = ascii_lower(names[id].p[i]);
            forms[id].fold[i] = names[id].p[i] == '-' ? 0 : 0x20;
        }
    }
}

#define SAME_AT(type, at)                                                                          \
    do {                                                                                           \
        type w, fold, folded;                                                                      \
        memcpy(&w, p + (at), sizeof(w));                                                           \
        memcpy(&fold, forms[id].fold + (at), sizeof(w));                                           \
        memcpy(&folded, forms[id].folded + (at), sizeof(w));                                       \
        if ((type)(w | fold) != folded)                                                            \
            return false;                                                                          \
    } while (0)

/* Of equal length. The last piece may overlap the one before. */
static inline bool same_name(unsigned id, const char *p, size_t len)
{
    if (len >= 8) {
        for (size_t i = 0; i + 8 < len; i += 8)
            SAME_AT(uint64_t, i);
        SAME_AT(uint64_t, len - 8);
    } else if (len >= 4) {
        SAME_AT(uint32_t, 0);
        SAME_AT(uint32_t, len - 4);
    } else {
        for (size_t i = 0; i < len; i++)
            SAME_AT(uint8_t, i);
    }
    return true;
}

enum header_id header_id_of(struct str name)
{
    if (unlikely(name.len == 0))
        return HDR_OTHER;
    for (unsigned at = slot_of(name); slots[at]; at = (at + 1) % SLOTS)
        if (names[slots[at]].len == name.len && same_name(slots[at], name.p, name.len))
            return slots[at];
    return HDR_OTHER;
}

bool header_may_trail(const struct header *h)
{
    static const bool never[HDR_COUNT] = {
        [HDR_AUTHORIZATION] = true,   [HDR_CONNECTION] = true,       [HDR_CONTENT_LENGTH] = true,
        [HDR_CONTENT_TYPE] = true,    [HDR_COOKIE] = true,           [HDR_DATE] = true,
        [HDR_EXPECT] = true,          [HDR_HOST] = true,             [HDR_KEEP_ALIVE] = true,
        [HDR_ORIGIN] = true,          [HDR_PROXY] = true,            [HDR_PROXY_CONNECTION] = true,
        [HDR_TE] = true,              [HDR_TRAILER] = true,          [HDR_TRANSFER_ENCODING] = true,
        [HDR_UPGRADE] = true,         [HDR_VARY] = true,             [HDR_VIA] = true,
        [HDR_X_ANONYMOUS_CONSUMER] = true, [HDR_X_CONSUMER_CUSTOM_ID] = true, [HDR_X_CONSUMER_ID] = true,
        [HDR_X_CONSUMER_USERNAME] = true, [HDR_X_CREDENTIAL_IDENTIFIER] = true, [HDR_X_FORWARDED_FOR] = true,
        [HDR_X_FORWARDED_HOST] = true, [HDR_X_FORWARDED_PATH] = true, [HDR_X_FORWARDED_PORT] = true,
        [HDR_X_FORWARDED_PREFIX] = true, [HDR_X_FORWARDED_PROTO] = true, [HDR_X_REAL_IP] = true,
    };
    static const struct str others[] = {
        {"Age", 3}, {"Cache-Control", 13}, {"Content-Encoding", 16}, {"Content-Range", 13}, {"Expires", 7},
        {"Location", 8}, {"Max-Forwards", 12}, {"Pragma", 6}, {"Proxy-Authenticate", 18},
        {"Proxy-Authorization", 19}, {"Range", 5}, {"Retry-After", 11}, {"Set-Cookie", 10},
        {"WWW-Authenticate", 16},
    };

    if (h->id != HDR_OTHER)
        return !never[h->id];
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (str_ieq(h->name, others[i]))
            return false;
    return true;
}

struct str header_id_name(enum header_id id)
{
    WEIR_ASSERT(id < HDR_COUNT);
    return names[id];
}

struct header *headers_find_id(const struct headers *hs, enum header_id id)
{
    if (!headers_may_have(hs, id))
        return NULL;
    HEADERS_EACH(h, hs)
        if (h->id == id)
            return h;
    return NULL;
}

/* h has the name, whose id is known. */
static inline bool named(const struct header *h, enum header_id id, struct str name)
{
    return h->id == id && (id != HDR_OTHER || (h->name.len == name.len && str_ieq(h->name, name)));
}

struct header *headers_find(const struct headers *hs, struct str name)
{
    enum header_id id = header_id_of(name);

    if (!(hs->seen & headers_bit(id, name)))
        return NULL;
    HEADERS_EACH(h, hs)
        if (named(h, id, name))
            return h;
    return NULL;
}

unsigned headers_all(const struct headers *hs, struct str name, struct str *first_out)
{
    enum header_id id = header_id_of(name);
    unsigned n = 0;

    if (hs->seen & headers_bit(id, name))
        HEADERS_EACH(h, hs)
            if (named(h, id, name) && n++ == 0)
                *first_out = h->value;
    return n;
}

bool headers_grow(struct headers *hs, struct arena *a)
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

bool headers_add(struct headers *hs, struct arena *a, struct str name, struct str value)
{
    return headers_add_as(hs, a, header_id_of(name), name, value);
}

static inline bool set(struct headers *hs, struct arena *a, enum header_id id, struct str name, struct str value)
{
    bool kept = false;

    if (hs->seen & headers_bit(id, name)) {
        HEADERS_EACH(h, hs) {
            if (!named(h, id, name))
                continue;
            if (kept) {
                h->id = HDR_REMOVED;
                continue;
            }
            h->name = name;
            h->value = value;
            h->hop = false; /* it is ours now */
            kept = true;
        }
    }
    return kept || headers_add_as(hs, a, id, name, value);
}

bool headers_set(struct headers *hs, struct arena *a, struct str name, struct str value)
{
    return set(hs, a, header_id_of(name), name, value);
}

bool headers_set_id(struct headers *hs, struct arena *a, enum header_id id, struct str value)
{
    return set(hs, a, id, names[id], value);
}

static void remove_named(struct headers *hs, enum header_id id, struct str name)
{
    if (!(hs->seen & headers_bit(id, name)))
        return;
    HEADERS_EACH(h, hs)
        if (named(h, id, name))
            h->id = HDR_REMOVED;
}

void headers_remove_id(struct headers *hs, enum header_id id)
{
    remove_named(hs, id, names[id]);
}

void headers_remove(struct headers *hs, struct str name)
{
    remove_named(hs, header_id_of(name), name);
}
