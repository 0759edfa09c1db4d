/*
 * decl_pack.c - an entity of a declarative file straight to its packed body: no document is
 * made of it.
 *
 * Everything comes from the tables, as for documents: what an absent field has (struct table),
 * the checks (validate_frame), the encoding (pack_frame). What is here is only how a node of
 * the tree is read as a value. Whatever is wrong, or would have to be brought to another form
 * first, is left to the document's way, which words all errors: not one is made here.
 */
#include <math.h>

#include "common/decl_priv.h"
#include "common/rand.h"

static struct val node_val(const struct node *n, const struct field *f);

/* ---- nodes as values ---- */

static size_t node_count(const struct val *v)
{
    return ((const struct node *)v->from)->n;
}

static bool node_next(struct val_walk *it, struct str *key_out, struct val *out)
{
    const struct node *n = it->of.from;

    if (it->i == n->n)
        return false;
    *key_out = n->kind == NODE_MAP ? pair_key(&n->pairs[it->i]) : STR_NONE;
    *out = node_val(n->kind == NODE_MAP ? &n->pairs[it->i].value : &n->items[it->i], it->elem);
    it->i++;
    return true;
}

static bool node_frame(const struct val *v, struct frame *out);

static const struct val_source in_tree = {node_count, node_next, node_frame};

static struct val node_val(const struct node *n, const struct field *f)
{
    if (n->kind == NODE_SCALAR)
        return scalar_val(n, f, DECL_BY_FIELD);
    return (struct val){
        .kind = n->kind == NODE_SEQ ? VAL_LIST : VAL_MAP, .from = n, .source = &in_tree};
}

/* ---- what a document would have changed ---- */

static bool has_upper_case(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] >= 'A' && s.p[i] <= 'Z')
            return true;
    return false;
}

static bool is_normal(const struct field *f, const struct val *v);

static bool elements_are_normal(const struct field *elem, const struct val *v)
{
    struct val_walk it = val_walk(v, elem);
    struct str key;
    struct val item;

    while (elem && val_next(&it, &key, &item))
        if (!is_normal(elem, &item))
            return false;
    return true;
}

#define SET_MAX 16 /* comparing all of so few is fast */

static bool all_differ(const struct field *elem, const struct val *set)
{
    struct val_walk it = val_walk(set, elem);
    struct val seen[SET_MAX];
    struct str none;

    for (size_t n = 0; val_length(set) > 1 && val_next(&it, &none, &seen[n]); n++) {
        if (n + 1 == SET_MAX || seen[n].kind == VAL_LIST || seen[n].kind == VAL_MAP)
            return false;
        for (size_t i = 0; i < n; i++)
            if (val_equal(&seen[i], &seen[n]))
                return false;
    }
    return true;
}

/* Whether schema_fill.c would leave the value as it is. */
static bool is_normal(const struct field *f, const struct val *v)
{
    bool empty = (v->kind == VAL_LIST || v->kind == VAL_MAP) && val_length(v) == 0;

    switch (f->type) {
    case FT_STRING: return !(f->flags & FF_UUID) || !has_upper_case(val_text(v));
    case FT_INTEGER:
    case FT_NUMBER: return v->kind != VAL_REAL || v->real != floor(v->real);
    case FT_SET:
        if (!all_differ(f->elem, v))
            return false;
        /* fall through */
    case FT_ARRAY: return !(empty && v->kind == VAL_MAP) && elements_are_normal(f->elem, v);
    case FT_MAP: return !(empty && v->kind == VAL_LIST) && elements_are_normal(f->elem, v);
    case FT_RECORD: /* what is in it, when its own frame is made */
    case FT_SUBRECORD: return !(empty && v->kind == VAL_LIST);
    case FT_BOOLEAN:
    case FT_FOREIGN: return true;
    }
    WEIR_UNREACHABLE("field type");
}

/* ---- records ---- */

/* Whether some of the checks can be asked with a document only. */
static bool needs_document(const struct record_checks *checks)
{
    if (checks && checks->custom)
        return true;
    for (size_t i = 0; checks && i < checks->n_list; i++)
        if (checks->list[i].kind == CK_CUSTOM)
            return true;
    return false;
}

static void set_defaults(struct frame *r)
{
    memcpy(r->v, r->t.table->defaults, r->t.table->n * sizeof(r->v[0]));
    r->doc = NULL;
}

static bool set_value(struct frame *r, size_t position, const struct node *n)
{
    const struct field *f = r->t.table->fields[position];

    r->v[position] = node_val(n, f);
    return !(f->flags & (FF_INTERNAL | FF_AUTO)) && f->type != FT_FOREIGN &&
           is_normal(f, &r->v[position]);
}

/* A record inside an entity. */
static bool node_frame(const struct val *v, struct frame *out)
{
    const struct node *n = v->from;

    if (needs_document(out->t.checks) || (out->t.checks && out->t.checks->n_shorthands))
        return false;
    set_defaults(out);
    for (size_t i = 0; i < n->n; i++) {
        size_t position = table_position(out->t.table, pair_key(&n->pairs[i]));

        if (position == SIZE_MAX || !set_value(out, position, &n->pairs[i].value))
            return false;
    }
    return true;
}

/* ---- entities ---- */

/* The table that the item chooses; false: none. */
static bool choose_shape(const struct item *it, struct shape *out)
{
    const struct entity *ent = it->in->ent;
    const struct subschema *sub = NULL;
    const struct node *n;
    struct val key;
    size_t at;

    if (ent->subschema) {
        *out = shape_of_fields(ent->fields, NULL);
        at = table_position(out->table, str_of(ent->subschema_key));
        n = node_get(it->node, str_of(ent->subschema_key));
        key = n ? node_val(n, out->table->fields[at]) : out->table->defaults[at];
        sub = ent->subschema(&key, NULL);
    }
    return shape_chosen(ent, sub, out) && !needs_document(out->checks) &&
           !needs_document(out->over_checks) &&
           !(out->over_checks && out->over_checks->n_shorthands);
}

static struct val id_val(const struct uuid *id)
{
    return (struct val){.kind = VAL_ID, .from = id};
}

static bool set_foreign(const struct reader *r, const struct field *f, const struct node *n,
                        struct val *out)
{
    const struct item *target;
    const struct node *named;

    if (!decl_foreign(r, f, n, &named))
        return false;
    *out = (struct val){.kind = VAL_NULL};
    if (!named)
        return true;
    if (!decl_find_target(r, f, node_str(named), &target) || !target)
        return false;
    *out = id_val(&target->id);
    return true;
}

static bool set_members(struct reader *r, const struct item *it, struct frame *values)
{
    for (size_t i = 0; i < it->node->n; i++) {
        struct member m = decl_member(r, it->in->ent, it->node, i);
        const struct node *n = &it->node->pairs[i].value;
        bool ok = true;

        switch (m.role) {
        case MEMBER_REMARK:
        case MEMBER_CHILDREN: break;
        case MEMBER_OTHER: return false;
        case MEMBER_FIELD:
            if (m.field->type == FT_FOREIGN)
                ok = m.field == it->in->parent_field ||
                     set_foreign(r, m.field, n, &values->v[m.position]);
            else if (m.field->flags & FF_AUTO)
                values->v[m.position] = node_val(n, m.field);
            else
                ok = set_value(values, m.position, n);
        }
        if (!ok)
            return false;
    }
    return true;
}

/* As schema_fill.c makes what is made when it is absent. */
static bool set_auto(const struct field *f, const struct item *it, int64_t now_s, char token[33],
                     struct val *v)
{
    bool updated_at = (f->flags & FF_TIMESTAMP) && strcmp(f->name, "updated_at") == 0;

    if (f->flags & FF_KEY) {
        *v = id_val(&it->id);
        v->is_default = true;
        return true;
    }
    if (!val_is_null(v) && !updated_at)
        return is_normal(f, v);
    if ((f->flags & FF_UUID) || ((f->flags & FF_TIMESTAMP) && f->type != FT_INTEGER))
        return false;
    if (f->flags & FF_TIMESTAMP) {
        *v = (struct val){.kind = VAL_INTEGER, .integer = now_s};
    } else {
        rand_token(token, 32);
        *v = (struct val){.kind = VAL_TEXT, .text = str_n(token, 32)};
    }
    return true;
}

static bool set_made(struct reader *r, const struct item *it, struct frame *values)
{
    bool token_used = false;
    const struct field *f;

    for (size_t i = 0; (f = shape_next(&values->t, &i));) {
        bool token = (f->flags & FF_AUTO) && !(f->flags & (FF_KEY | FF_TIMESTAMP | FF_UUID));

        if ((f->flags & FF_AUTO) &&
            ((token && token_used) || !set_auto(f, it, r->now_s, r->token, &values->v[i - 1])))
            return false;
        token_used = token_used || token;
        if (it->in->parent_field && f->num == it->in->parent_field->num)
            values->v[i - 1] = id_val(&r->items[it->in->parent].id);
    }
    return true;
}

bool decl_pack(struct reader *r, struct item *it, struct frame *values, struct sbuf *body)
{
    const struct item *parent = it->in->parent == NO_PARENT ? NULL : &r->items[it->in->parent];

    if (it->draft || !it->has_id || it->in->ent->normalize || (parent && !parent->has_id) ||
        (r->old_paths && it->in->ent == &entity_routes) || r->typing != DECL_BY_FIELD)
        return false;
    if (!choose_shape(it, &values->t))
        return false;
    set_defaults(values);
    if (!set_members(r, it, values) || !set_made(r, it, values))
        return false;
    validate_frame(values, r->wrong);
    if (json_object_size(r->wrong) > 0) {
        json_object_clear(r->wrong);
        return false;
    }
    sbuf_clear(body);
    return pack_frame(values, body, NULL) == 0;
}
