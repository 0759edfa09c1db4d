/* rows.c - see rows.h: decoding, and records in and out; kinds.c has the types. */
#include "dataplane/config/rows.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- ids ---- */

void id_list_add(struct id_list *l, const struct uuid *id)
{
    if (l->n == l->cap) {
        l->cap = size_max(16, l->cap * 2);
        l->v = xrealloc(l->v, l->cap * sizeof(*l->v));
    }
    l->v[l->n++] = *id;
}

/*
 * Each id once, where it first stood: entities then are visited in the order in which they lie
 * in memory, which for a hundred thousand of them is what counts.
 */
void id_list_unique(struct id_list *l)
{
    size_t slots = 16, n = 0;
    uint32_t *first; /* hash of an id to its index + 1 */

    if (l->n < 2)
        return;
    while (slots < l->n * 2)
        slots *= 2;
    first = xcalloc(slots, sizeof(*first));
    for (size_t i = 0; i < l->n; i++) {
        struct str id = str_n((const char *)l->v[i].b, sizeof(l->v[i].b));
        size_t at = str_hash(id, 0) & (slots - 1);

        while (first[at] && !uuid_eq(&l->v[first[at] - 1], &l->v[i]))
            at = (at + 1) & (slots - 1);
        if (first[at])
            continue;
        l->v[n] = l->v[i];
        first[at] = (uint32_t)++n;
    }
    l->n = n;
    free(first);
}

void row_list_add(struct row_list *l, struct ent_obj *o)
{
    if (l->n == l->cap) {
        l->cap = size_max(16, l->cap * 2);
        l->v = xrealloc(l->v, l->cap * sizeof(struct ent_obj *));
    }
    l->v[l->n++] = o;
}

/* ---- decoding ---- */

static void block_fini(struct obj *o)
{
    struct block *b = (struct block *)o;

    if (!b->overflow)
        return;
    mem_note(-(int64_t)b->overflow->used_bytes);
    arena_fini(b->overflow);
    mem_free(b->overflow);
}

static const struct obj_type block_type = {.name = "block", .fini = block_fini};

/* A block of lists and body, the body filled in. */
static struct block *block_new(size_t lists, struct str body)
{
    struct block *b = obj_new(&block_type, sizeof(*b) + lists + body.len);

    b->body = b->mem + lists;
    b->body_len = body.len;
    if (body.len)
        memcpy(b->body, body.p, body.len);
    return b;
}

/* Decodes into a block whose lists take as much as those of the entity before, mostly right; NULL: not so. */
static struct block *decode_alike(const struct entity *ent, size_t lists, struct str body, void *out)
{
    struct block *b = block_new(lists, body);
    struct arena a;
    bool fits;

    memset(out, 0, ent->struct_size);
    arena_init_in(&a, b->mem, lists, 0);
    fits = record_decode(ent, str_n(b->body, body.len), &a, out, NULL) == 0 && !a.chunk &&
           a.at == a.end;
    arena_fini(&a);
    if (!fits)
        obj_unref(&b->o);
    return fits ? b : NULL;
}

/*
 * Decodes body into out, which it zeroes before. Unless it is like the one before, twice: the
 * first time tells how large the lists are, so that lists and body then fit one block without
 * waste.
 */
static struct block *decode(struct compiler *c, const struct entity *ent, struct str body,
                            void *out, struct err *e)
{
    size_t size, lists, *alike = compiler_lists_of(c, ent);
    struct arena a;
    struct block *b;
    char *scratch = compiler_scratch(c, &size);
    int rc;

    b = *alike ? decode_alike(ent, *alike, body, out) : NULL;
    if (b)
        return b;
    memset(out, 0, ent->struct_size);
    arena_init_in(&a, scratch, size, 0);
    rc = record_decode(ent, body, &a, out, e);
    lists = a.chunk ? a.used_bytes : a.at ? (size_t)(a.at - scratch) : 0;
    arena_fini(&a);
    if (rc != 0)
        return NULL;

    b = block_new(lists, body);
    memset(out, 0, ent->struct_size);
    arena_init_in(&a, b->mem, lists, 0);
    rc = record_decode(ent, str_n(b->body, body.len), &a, out, e);
    if (a.chunk) {
        b->overflow = mem_alloc(sizeof(a));
        *b->overflow = a;
        mem_note((int64_t)a.used_bytes);
    }
    if (rc != 0) {
        obj_unref(&b->o);
        return NULL;
    }
    *alike = b->overflow ? 0 : lists;
    return b;
}

/* ---- records ---- */

const struct row_kind *row_kind_of(uint8_t type)
{
    for (size_t i = 0; i < n_row_kinds; i++)
        if (row_kinds[i].type == type)
            return &row_kinds[i];
    return NULL;
}

/* What is in slot (NULL: nothing) gives way to now, whose reference it takes. */
static void replace(struct build *b, const struct row_kind *kind, struct obj **slot, struct ent_obj *now)
{
    struct ent_obj *old = (struct ent_obj *)*slot;

    if (kind->index)
        kind->index(b, old, now);
    *slot = &now->o;
    obj_unref(old ? &old->o : NULL);
}

static void apply_put(struct build *b, const struct row_kind *kind, struct ent_obj *now)
{
    struct obj **slot = pmap_own(&b->r.m[kind->map], &map_types[kind->map], uuid_key(&now->id));
    struct ent_obj *old = (struct ent_obj *)*slot;

    if (kind->touch)
        kind->touch(b, old, now);
    replace(b, kind, slot, now);
    if (b->full && kind->listed) {
        b->repeated = b->repeated || old;
        row_list_add(&b->rows[kind->map], now);
    }
}

static void apply_delete(struct build *b, const struct row_kind *kind, const struct uuid *id)
{
    struct ent_obj *old = roots_get(&b->r, kind->map, id);

    if (!old)
        return;
    if (kind->touch)
        kind->touch(b, old, NULL);
    if (kind->index)
        kind->index(b, old, NULL);
    b->repeated = true;
    pmap_del(&b->r.m[kind->map], &map_types[kind->map], uuid_key(&old->id));
}

static int put(struct build *b, const struct row_kind *kind, const struct record *r,
               struct ent_obj **now_out, struct err *e)
{
    struct ent_obj *o = obj_new(&kind->obj_type, kind->size);
    int rc;

    o->id = r->key;
    o->block = decode(b->compiler, kind->ent, r->body, (char *)o + kind->def, e);
    if (!o->block) {
        obj_unref(&o->o);
        return -1;
    }
    memcpy((char *)o + kind->def, &r->key,
           sizeof(r->key)); /* every entity's struct begins with its id */
    rc = kind->complete ? kind->complete(b->compiler, o, e) : 0;
    if (rc != 0) {
        obj_unref(&o->o);
        return rc < 0 ? -1 : 0;
    }
    *now_out = o;
    return 0;
}

int row_apply(struct build *b, const struct record *r, struct err *e)
{
    const struct row_kind *kind = row_kind_of(r->type);
    struct ent_obj *now = NULL;
    char where[64 + UUID_TEXT_LEN], id[UUID_TEXT_LEN + 1];

    if (!kind) {
        uuid_format(&r->key, id);
        err_set(e, ERR_INVALID, "entity type %u is not known to this data plane", r->type);
        return err_in(e, id);
    }
    if (r->op == REC_PUT && put(b, kind, r, &now, e) != 0) {
        uuid_format(&r->key, id);
        snprintf(where, sizeof(where), "%s.%s", kind->ent->name, id);
        return err_in(e, where);
    }
    if (now)
        apply_put(b, kind, now);
    else
        apply_delete(b, kind, &r->key);
    return 0;
}

struct ent_obj *row_own(struct build *b, uint8_t type, const struct uuid *id)
{
    const struct row_kind *kind = row_kind_of(type);
    struct ent_obj *old = roots_get(&b->r, kind->map, id), *copy;

    if (!old || roots_get(b->base, kind->map, id) != old)
        return old;
    copy = obj_new(&kind->obj_type, kind->size);
    memcpy((char *)copy + sizeof(struct obj), (char *)old + sizeof(struct obj),
           kind->size - sizeof(struct obj));
    obj_ref(&copy->block->o);
    if (kind->copied)
        kind->copied(copy);
    replace(b, kind, pmap_own(&b->r.m[kind->map], &map_types[kind->map], uuid_key(id)), copy);
    return copy;
}

static void gather(struct obj *o, void *arg)
{
    row_list_add(arg, (struct ent_obj *)o);
}

const struct row_list *rows_all(struct build *b, enum map_id map)
{
    struct row_list *l = &b->rows[map];

    if (b->full && b->repeated) { /* some of those noted have gone */
        l->n = 0;
        pmap_each(&b->r.m[map], gather, l);
    }
    return l;
}
