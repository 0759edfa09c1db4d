/* decl_index.c - texts by what they mean (decl_priv.h): open addressing, nothing is removed. */
#include <stdlib.h>

#include "common/decl_priv.h"
#include "common/rand.h"

static uint32_t hash_of(const struct decl_index *ix, const void *space, struct str key)
{
    return (uint32_t)str_hash(key, ix->seed ^ (uintptr_t)space);
}

static struct decl_slot *slot_for(const struct decl_index *ix, const void *space, struct str key,
                                  uint32_t hash)
{
    size_t at = hash & (ix->cap - 1);

    while (ix->v[at].space &&
           !(ix->v[at].hash == hash && ix->v[at].space == space && str_eq(ix->v[at].key, key)))
        at = (at + 1) & (ix->cap - 1);
    return &ix->v[at];
}

static void grow(struct decl_index *ix)
{
    struct decl_index bigger = {.cap = ix->cap ? ix->cap * 2 : 64, .n = ix->n, .seed = ix->seed};

    if (!ix->cap)
        rand_bytes(&bigger.seed, sizeof(bigger.seed)); /* a file must not choose its collisions */
    bigger.v = xcalloc(bigger.cap, sizeof(*bigger.v));
    for (size_t i = 0; i < ix->cap; i++)
        if (ix->v[i].space)
            *slot_for(&bigger, ix->v[i].space, ix->v[i].key, ix->v[i].hash) = ix->v[i];
    free(ix->v);
    *ix = bigger;
}

struct decl_slot *decl_index_find(const struct decl_index *ix, const void *space, struct str key)
{
    struct decl_slot *slot =
        ix->cap ? slot_for(ix, space, key, hash_of(ix, space, key)) : NULL;

    return slot && slot->space ? slot : NULL;
}

struct decl_slot *decl_index_add(struct decl_index *ix, const void *space, struct str key)
{
    struct decl_slot *slot;
    uint32_t hash;

    if (ix->n + ix->n / 4 >= ix->cap)
        grow(ix);
    hash = hash_of(ix, space, key);
    slot = slot_for(ix, space, key, hash);
    if (!slot->space) {
        *slot = (struct decl_slot){.space = space, .key = key, .hash = hash};
        ix->n++;
    }
    return slot;
}

void decl_index_free(struct decl_index *ix)
{
    free(ix->v);
    *ix = (struct decl_index){0};
}
