/*
 * schema_shape.c - a record's table as it is in force (schema_priv.h).
 *
 * The tables of fields are the single source. What is derived from one here, the list of the
 * fields in force and where each name is, is made at its first use and kept: tables are static,
 * there are few, and a configuration of a hundred thousand entities asks for the same ones.
 */
#include <stdatomic.h>
#include <stdlib.h>

#include "common/schema_priv.h"

#define BUCKETS 256 /* of tables; there are about as many fields with tables of their own */

static _Atomic(struct table *) tables[BUCKETS];
static bool expressions;

void schema_use_expressions(void)
{
    expressions = true;
}

bool schema_uses_expressions(void)
{
    return expressions;
}

bool field_is_gone(const struct field *f)
{
    return f->flags & FF_RETIRED || (f->flags & FF_EXPRESSIONS && !expressions);
}

/* Names of one table mostly differ in length or at their ends. */
static size_t slot_of(const struct table *t, struct str name)
{
    size_t h = name.len;

    if (name.len)
        h += (unsigned char)name.p[0] * 31u + (unsigned char)name.p[name.len - 1] * 17u +
             (unsigned char)name.p[name.len / 2] * 7u;
    return h & t->mask;
}

static void index_names(struct table *t)
{
    size_t slots = 8;

    while (slots < t->n * 4)
        slots *= 2;
    t->mask = slots - 1;
    t->slots = xcalloc(slots, sizeof(*t->slots));
    for (size_t i = 0; i < t->n; i++) {
        size_t at = slot_of(t, t->names[i]);

        while (t->slots[at])
            at = (at + 1) & t->mask;
        t->slots[at] = (uint16_t)(i + 1);
    }
}

static size_t count_fields(const struct field *fields)
{
    size_t n = 0;

    while (fields && fields[n].name)
        n++;
    return n;
}

static const struct field *search(const struct field *fields, const char *name)
{
    for (const struct field *f = fields; f && f->name; f++) {
        if (!(f->flags & FF_RETIRED) && strcmp(f->name, name) == 0)
            return f;
    }
    return NULL;
}

static void add_field(struct table *t, const struct field *f)
{
    t->names[t->n] = str_of(f->name);
    t->fields[t->n++] = f;
}

/* Defaults pass their checks, and null does where nothing is required: a unit test walks them. */
static void find_defaults(struct table *t)
{
    struct sbuf packed = {0};

    t->kept = xcalloc(t->n + 1, sizeof(json_t *));
    t->defaults = xcalloc(t->n + 1, sizeof(*t->defaults));
    t->packed = xcalloc(t->n + 1, sizeof(*t->packed));
    t->memo = xcalloc(MEMOS, sizeof(*t->memo));
    for (size_t i = 0; i < t->n; i++) {
        const struct field *f = t->fields[i];

        t->kept[i] = field_filling(f);
        t->defaults[i] = val_of_json(t->kept[i]);
        t->defaults[i].is_default = t->kept[i] || !(f->flags & FF_REQUIRED);
        WEIR_ASSERT(pack_value(f, &t->defaults[i], &packed, NULL) == 0);
        if (packed.len)
            t->packed[i] = str_n(packed.p, packed.len);
        packed = (struct sbuf){0}; /* the table's now */
    }
}

static struct table *make_table(const struct field *base, const struct field *over)
{
    size_t n = count_fields(base) + count_fields(over);
    struct table *t = xcalloc(1, sizeof(*t));
    const struct field *f;

    WEIR_ASSERT(n <= SHAPE_FIELDS_MAX);
    t->base = base;
    t->over = over;
    t->fields = xcalloc(n + 1, sizeof(struct field *));
    t->names = xcalloc(n + 1, sizeof(*t->names));
    for (f = base; f && f->name; f++) {
        const struct field *instead = search(over, f->name);

        if (!field_is_gone(f))
            add_field(t, instead ? instead : f);
    }
    for (f = over; f && f->name; f++) {
        if (!field_is_gone(f) && !search(base, f->name))
            add_field(t, f); /* else it came in the other's place */
    }
    index_names(t);
    find_defaults(t);
    return t;
}

static void free_table(struct table *t)
{
    for (size_t i = 0; i < t->n; i++) {
        struct sbuf packed = {.p = (char *)(uintptr_t)t->packed[i].p};

        json_decref(t->kept[i]);
        sbuf_free(&packed);
    }
    free(t->packed);
    free(t->memo);
    free(t->kept);
    free(t->defaults);
    free(t->fields);
    free(t->names);
    free(t->slots);
    free(t);
}

static const struct table *find_in(const struct table *t, const struct table *end,
                                   const struct field *base, const struct field *over)
{
    for (; t != end; t = t->next) {
        if (t->base == base && t->over == over)
            return t;
    }
    return NULL;
}

static const struct table *table_of(const struct field *base, const struct field *over)
{
    uintptr_t h = (uintptr_t)base / sizeof(void *) * 31 + (uintptr_t)over / sizeof(void *);
    _Atomic(struct table *) *bucket = &tables[(h ^ h >> 8 ^ h >> 16) % BUCKETS];
    struct table *head = atomic_load_explicit(bucket, memory_order_acquire), *mine;
    const struct table *found = find_in(head, NULL, base, over), *seen = head;

    if (likely(found))
        return found;
    mine = make_table(base, over);
    mine->next = head;
    while (!atomic_compare_exchange_weak_explicit(bucket, &head, mine, memory_order_acq_rel,
                                                  memory_order_acquire)) {
        found = find_in(head, seen, base, over); /* another thread may have been first */
        if (found) {
            free_table(mine);
            return found;
        }
        mine->next = head;
        seen = head;
    }
    return mine;
}

struct shape shape_of_fields(const struct field *fields, const struct record_checks *checks)
{
    return (struct shape){.table = table_of(fields, NULL), .checks = checks};
}

struct shape shape_of_record(const struct field *f)
{
    return shape_of_fields(f->fields, f->checks);
}

const struct subschema *entity_subschema(const struct entity *ent, const json_t *doc, struct err *e)
{
    struct val key;

    if (!ent->subschema)
        return NULL;
    key = val_of_json(json_object_get(doc, ent->subschema_key));
    return ent->subschema(&key, e);
}

bool shape_of(const struct entity *ent, const json_t *doc, struct shape *out, struct err *e)
{
    const struct subschema *sub = entity_subschema(ent, doc, e);

    return shape_chosen(ent, sub, out);
}

bool shape_chosen(const struct entity *ent, const struct subschema *sub, struct shape *out)
{
    *out = (struct shape){.table = table_of(ent->fields, sub ? sub->fields : NULL),
                          .checks = ent->checks,
                          .over_checks = sub ? sub->checks : NULL};
    return sub || ent->subschema == NULL;
}

#define NOWHERE SIZE_MAX

static size_t position_of(const struct table *t, struct str name)
{
    for (size_t at = slot_of(t, name); t->slots[at]; at = (at + 1) & t->mask) {
        size_t i = t->slots[at] - 1u;

        if (str_eq(t->names[i], name))
            return i;
    }
    return NOWHERE;
}

const struct field *shape_find(const struct shape *t, struct str name)
{
    size_t i = position_of(t->table, name);

    return i == NOWHERE ? NULL : t->table->fields[i];
}

const struct field *field_find(const struct field *fields, struct str name)
{
    const struct table *t = table_of(fields, NULL);
    size_t i = position_of(t, name);

    return i == NOWHERE ? NULL : t->fields[i];
}

void frame_of_json(const json_t *doc, struct frame *f)
{
    json_t *values[SHAPE_FIELDS_MAX];

    shape_values(&f->t, doc, values);
    for (size_t i = 0; i < f->t.table->n; i++)
        f->v[i] = val_of_json(values[i]);
    f->doc = doc;
}

struct val frame_get(const struct frame *f, struct str name)
{
    size_t i = position_of(f->t.table, name);

    return i == NOWHERE ? (struct val){.kind = VAL_NONE} : f->v[i];
}

struct val frame_at_path(const struct frame *f, const char *path)
{
    struct str rest = str_of(path), step;
    struct val none = {.kind = VAL_NONE}, at;
    const struct field *field;
    struct frame inner;
    size_t i = position_of(f->t.table, rest);

    if (likely(i != NOWHERE)) /* most paths are a name */
        return f->v[i];
    (void)str_next(&rest, '.', &step);
    at = frame_get(f, step);
    if (!rest.p)
        return at;
    field = shape_find(&f->t, step);
    if (at.kind != VAL_MAP || !field || !is_record(field))
        return none;
    inner.t = shape_of_record(field);
    return at.source->frame(&at, &inner) ? frame_at_path(&inner, rest.p) : none;
}

size_t table_position(const struct table *t, struct str name)
{
    return position_of(t, name);
}

void shape_values(const struct shape *t, const json_t *doc, json_t *values[SHAPE_FIELDS_MAX])
{
    const char *name;
    json_t *value;

    memset(values, 0, t->table->n * sizeof(values[0]));
    json_object_foreach(json_unconst(doc), name, value)
    {
        size_t i = position_of(t->table, str_of(name));

        if (i != NOWHERE)
            values[i] = value;
    }
}

const struct field *shape_find_path(const struct shape *t, const char *path)
{
    struct str rest = str_of(path), step;
    struct shape at = *t;
    const struct field *f = NULL;

    while (str_next(&rest, '.', &step)) {
        f = shape_find(&at, step);
        if (!f)
            return NULL;
        if (rest.p)
            at = shape_of_record(f);
    }
    return f;
}
