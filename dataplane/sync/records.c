#include "dataplane/sync/records.h"

#include <stdlib.h>

#include "common/rand.h"

/* Header and body in one block, so that an entity costs one allocation. */
struct entry {
    uint64_t order;
    struct uuid key;
    uint32_t len;
    uint8_t type;
    char body[];
};

struct records {
    struct entry **slots; /* open addressing, linear; NULL: free */
    size_t mask, n, bytes;
    uint64_t seed, next_order;
    struct state_hash hash;
};

/* One step, as it has to be taken back. */
struct records_change {
    struct entry *before, *after; /* NULL: was not there, is not there */
};

struct records *records_new(void)
{
    struct records *r = xcalloc(1, sizeof(*r));

    r->mask = 63;
    r->slots = xcalloc(r->mask + 1, sizeof(struct entry *));
    rand_bytes(&r->seed, sizeof(r->seed)); /* ids are the administrators' to choose */
    return r;
}

void records_free(struct records **rp)
{
    struct records *r = *rp;

    *rp = NULL;
    if (!r)
        return;
    for (size_t i = 0; i <= r->mask; i++)
        free(r->slots[i]);
    free(r->slots);
    free(r);
}

size_t records_count(const struct records *r)
{
    return r->n;
}

const struct state_hash *records_hash(const struct records *r)
{
    return &r->hash;
}

static struct str body_of(const struct entry *en)
{
    return str_n(en->body, en->len);
}

/* Type, key and a length of up to five bytes; an estimate, never below. */
static size_t weight(const struct entry *en)
{
    return 1 + 16 + 5 + en->len;
}

static size_t home_of(const struct records *r, uint8_t type, const struct uuid *key)
{
    return str_hash(str_n((const char *)key->b, sizeof(key->b)), r->seed + type) & r->mask;
}

/* The slot of (type, key), or the free one where it belongs. */
static size_t slot_of(const struct records *r, uint8_t type, const struct uuid *key)
{
    size_t i = home_of(r, type, key);

    while (r->slots[i] && !(r->slots[i]->type == type && uuid_eq(&r->slots[i]->key, key)))
        i = (i + 1) & r->mask;
    return i;
}

static void grow(struct records *r)
{
    struct entry **old = r->slots;
    size_t old_mask = r->mask;

    r->mask = 2 * (r->mask + 1) - 1;
    r->slots = xcalloc(r->mask + 1, sizeof(struct entry *));
    for (size_t i = 0; i <= old_mask; i++)
        if (old[i])
            r->slots[slot_of(r, old[i]->type, &old[i]->key)] = old[i];
    free(old);
}

/* Frees slot i and closes the gap, so that no search stops short. */
static void remove_slot(struct records *r, size_t i)
{
    size_t hole = i;

    r->slots[hole] = NULL;
    for (size_t j = (i + 1) & r->mask; r->slots[j]; j = (j + 1) & r->mask) {
        size_t home = home_of(r, r->slots[j]->type, &r->slots[j]->key);

        if (((j - home) & r->mask) >= ((j - hole) & r->mask)) {
            r->slots[hole] = r->slots[j];
            r->slots[j] = NULL;
            hole = j;
        }
    }
}

/* Puts `to` (NULL: nothing) where `from` (NULL: nothing) is. Neither is freed. */
static void replace(struct records *r, struct entry *from, struct entry *to)
{
    const struct entry *any = from ? from : to;
    size_t i = slot_of(r, any->type, &any->key);

    if (from)
        r->bytes -= weight(from), r->n--;
    if (to) {
        r->slots[i] = to;
        r->bytes += weight(to), r->n++;
        if (4 * r->n > 3 * r->mask)
            grow(r);
    } else {
        remove_slot(r, i);
    }
}

static struct entry *entry_new(struct records *r, const struct record *rec,
                               const struct entry *before)
{
    struct entry *en = xmalloc(sizeof(*en) + rec->body.len);

    en->order = before ? before->order : r->next_order++;
    en->key = rec->key;
    en->len = (uint32_t)rec->body.len;
    en->type = rec->type;
    memcpy(en->body, rec->body.p ? rec->body.p : "", rec->body.len);
    return en;
}

static void apply_one(struct records *r, const struct record *rec, struct records_undo *undo)
{
    struct entry *before = r->slots[slot_of(r, rec->type, &rec->key)];
    struct entry *after = rec->op == REC_PUT ? entry_new(r, rec, before) : NULL;

    if (!before && !after)
        return; /* it came and went between two versions */
    if (before)
        state_hash_sub(&r->hash, before->type, &before->key, body_of(before));
    if (after)
        state_hash_add(&r->hash, after->type, &after->key, body_of(after));
    replace(r, before, after);
    if (undo->n == undo->cap) {
        undo->cap = undo->cap ? 2 * undo->cap : 16;
        undo->changes = xrealloc(undo->changes, undo->cap * sizeof(*undo->changes));
    }
    undo->changes[undo->n++] = (struct records_change){before, after};
}

int records_try(struct records *r, struct str list, struct records_undo *undo, struct err *e)
{
    struct record rec;
    int rc;

    *undo = (struct records_undo){.hash = r->hash};
    while ((rc = record_next(&list, &rec, e)) == 1)
        apply_one(r, &rec, undo);
    if (rc < 0)
        records_undo(r, undo);
    return rc;
}

void records_undo(struct records *r, struct records_undo *undo)
{
    while (undo->n > 0) {
        struct records_change *c = &undo->changes[--undo->n];

        replace(r, c->after, c->before);
        free(c->after);
    }
    r->hash = undo->hash;
    free(undo->changes);
    *undo = (struct records_undo){0};
}

void records_keep(struct records_undo *undo)
{
    for (size_t i = 0; i < undo->n; i++)
        free(undo->changes[i].before);
    free(undo->changes);
    *undo = (struct records_undo){0};
}

static int by_order(const void *a, const void *b)
{
    const struct entry *x = *(struct entry *const *)a, *y = *(struct entry *const *)b;

    return x->order < y->order ? -1 : x->order > y->order;
}

void records_write(const struct records *r, struct sbuf *out)
{
    struct entry **all = xmalloc((r->n + 1) * sizeof(struct entry *));
    size_t n = 0;

    for (size_t i = 0; i <= r->mask; i++)
        if (r->slots[i])
            all[n++] = r->slots[i];
    qsort(all, n, sizeof(struct entry *), by_order);
    sbuf_reserve(out, r->bytes);
    for (size_t i = 0; i < n; i++) {
        struct record rec = {.op = REC_PUT, .type = all[i]->type, .key = all[i]->key,
                             .body = body_of(all[i])};

        record_append(out, &rec);
    }
    free(all);
}
