/*
 * declarative.c - from the tree of a document to flat entities.
 *
 *   walk      every entity, nested or not, becomes an item: where it stands in the tree, its
 *             id, and what others may call it; parents before children
 *   settle    item by item: references to ids, the table's checks and defaults, uniqueness;
 *             packed straight from the tree (decl_pack.c) when nothing is wrong with it and
 *             nothing rare in it, else as a document (schema_insert), which has the words
 *
 * Whatever is wrong is kept until the end. People get all of it. The reference stops after
 * the first of three kinds (fields, references, uniqueness); so does its error object.
 */
#include "common/decl_priv.h"
#include "common/schema_priv.h"

#include <stdlib.h>

#include "common/clock.h"
#include "common/rand.h"

static bool deck(const struct reader *r)
{
    return r->typing == DECL_DECK;
}

static json_t *object_in(json_t *parent, const char *key)
{
    json_t *o = json_object_get(parent, key);

    if (!o)
        json_object_set_new(parent, key, o = json_object());
    return o;
}

/* "services.1.routes.2" */
static void item_path(const struct reader *r, const struct item *it, struct sbuf *out)
{
    if (it->in->parent != NO_PARENT) {
        item_path(r, &r->items[it->in->parent], out);
        sbuf_addc(out, '.');
    }
    sbuf_addf(out, "%s.%u", it->in->ent->name, it->position);
}

static struct draft *draft_of(struct item *it)
{
    if (!it->draft)
        it->draft = xcalloc(1, sizeof(*it->draft));
    return it->draft;
}

static void draft_free(struct item *it)
{
    if (!it->draft)
        return;
    json_decref(it->draft->doc);
    json_decref(it->draft->errors);
    free(it->draft->refusal);
    free(it->draft);
    it->draft = NULL;
}

/* The error of one field of an item: its value in the error object. takes value. */
static void item_error(struct item *it, struct str field, json_t *value)
{
    struct draft *d = draft_of(it);

    if (!d->errors)
        d->errors = json_object();
    json_object_setn_new_nocheck(d->errors, field.p, field.len, value);
}

/* ---- ids (declarative.md section 1) ---- */

static const json_t *defaults_of(const struct reader *r, const struct item *it)
{
    return json_object_get(r->defaults, it->in->ent->singular);
}

/* The text that the input has for a field of its table, or absent. */
static struct str input_text(const struct reader *r, const struct item *it, const struct field *f)
{
    const struct node *n = node_get(it->node, str_of(f->name));

    return n ? node_text(n, f, r->typing) : json_str(json_object_get(defaults_of(r, it), f->name));
}

/*
 * What `service: s1` or `service: {id: ...}` names, a scalar; decK also writes {name: s1}.
 * NULL: nothing, or (with what is wrong in *wrong_out, which is the caller's) no text.
 */
static const struct node *foreign_node(const struct reader *r, const struct field *f,
                                       const struct node *n, json_t **wrong_out)
{
    static const char *const words[] = {"id", "name", "username", "prefix"};
    const struct node *inner = NULL;

    *wrong_out = NULL;
    if (n->kind == NODE_MAP) {
        for (size_t i = 0; i < (deck(r) ? ARRAY_LEN(words) : 1) && !inner; i++)
            inner = node_get(n, str_of(words[i]));
        if (!inner) {
            *wrong_out = json_pack("{s:s}", "id", "missing primary key");
            return NULL;
        }
        n = inner;
    }
    if (node_is_null(n))
        return NULL;
    if (node_text(n, f, r->typing).p)
        return n;
    *wrong_out = json_string("expected a string");
    return NULL;
}

bool decl_foreign(const struct reader *r, const struct field *f, const struct node *n,
                  const struct node **named_out)
{
    json_t *wrong;

    *named_out = foreign_node(r, f, n, &wrong);
    json_decref(wrong);
    return !wrong;
}

/* The text of a reference as it is written, or absent. */
static struct str foreign_text(const struct reader *r, const struct item *it,
                               const struct field *f)
{
    const struct node *n = node_get(it->node, str_of(f->name)), *named = NULL;

    return n && decl_foreign(r, f, n, &named) && named ? node_str(named) : STR_NONE;
}

/* The id as a text: in buf, or where it is kept; absent: it was none. */
static struct str id_str(const struct item *it, char buf[UUID_TEXT_LEN + 1])
{
    if (!it->has_id)
        return it->draft ? it->draft->odd_id : STR_NONE;
    uuid_format(&it->id, buf);
    return str_n(buf, UUID_TEXT_LEN);
}

/* "plugins:*:cors::s1:bob"; false when a part is missing or made up anew each time. */
static bool cache_key_text(const struct reader *r, const struct item *it, struct sbuf *out)
{
    char buf[UUID_TEXT_LEN + 1];

    sbuf_adds(out, it->in->ent->name);
    sbuf_adds(out, ":*");
    for (const char *const *name = it->in->ent->cache_key; *name; name++) {
        const struct field *f = field_find(it->in->ent->fields, str_of(*name));
        struct str text =
            f->type == FT_FOREIGN ? foreign_text(r, it, f) : input_text(r, it, f);

        if (!text.p && f == it->in->parent_field)
            text = id_str(&r->items[it->in->parent], buf);
        if ((f->flags & FF_AUTO) || (!text.p && (f->flags & FF_REQUIRED)))
            return false;
        sbuf_addc(out, ':');
        sbuf_addstr(out, text);
    }
    return true;
}

static const struct field *endpoint_field(const struct entity *ent)
{
    return ent->endpoint_key ? field_find(ent->fields, str_of(ent->endpoint_key)) : NULL;
}

static struct uuid make_id(struct reader *r, const struct item *it)
{
    static const struct uuid space = {{0xfd, 0x02, 0x80, 0x1f, 0x09, 0x57, 0x4a, 0x15, 0xa5, 0x5a,
                                       0xc8, 0xd9, 0x60, 0x6f, 0x30, 0xb5}};
    struct sbuf key = {0};
    struct uuid id;

    if (r->space_of != it->in->ent) {
        r->space_of = it->in->ent;
        r->space = uuid_v5(&space, str_of(it->in->ent->name));
    }
    if (!it->in->ent->cache_key)
        return it->name.p ? uuid_v5(&r->space, it->name) : uuid_v4();
    id = cache_key_text(r, it, &key) ? uuid_v5(&r->space, sbuf_str(&key)) : uuid_v4();
    sbuf_free(&key);
    return id;
}

/* The id that is written, or one that follows from what is; none: it is no text, or an odd one. */
static void choose_id(struct reader *r, struct item *it)
{
    const struct node *n = node_get(it->node, STR("id"));
    const json_t *dflt = n ? NULL : json_object_get(defaults_of(r, it), "id");
    struct str text;

    it->has_id = true;
    if (n ? node_is_null(n) : !dflt || json_is_null(dflt)) {
        it->id = make_id(r, it);
        return;
    }
    text = input_text(r, it, field_find(it->in->ent->fields, STR("id")));
    it->has_id = text.p && uuid_parse(text, &it->id);
    if (text.p && !it->has_id)
        draft_of(it)->odd_id = text; /* its field's check will say so */
}

/* ---- settle: the members of one entity ---- */

/* The field through which entities called `key` nest in a parent, or NULL: they do not. */
static const struct field *nesting_field(const struct entity *parent, struct str key,
                                         const struct entity **child_out)
{
    const struct entity *child = entity_by_name(key);

    for (const struct field *f = child ? child->fields : NULL; f && f->name; f++)
        if (f->type == FT_FOREIGN && strcmp(f->reference, parent->name) == 0) {
            *child_out = child;
            return f;
        }
    return NULL;
}

static bool is_remark(struct str key)
{
    return str_eq(key, STR("_comment")) || str_eq(key, STR("_ignore"));
}

static bool is_shorthand(const struct record_checks *checks, struct str key)
{
    for (size_t i = 0; checks && i < checks->n_shorthands; i++)
        if (str_eq(key, str_of(checks->shorthands[i].field.name)))
            return true;
    return false;
}

static struct member resolve(const struct entity *ent, struct str key)
{
    const struct shape t = shape_of_fields(ent->fields, NULL);
    struct member m = {.key = key, .role = MEMBER_FIELD};

    m.field = nesting_field(ent, key, &m.child);
    if (m.field)
        m.role = MEMBER_CHILDREN;
    else if (is_remark(key))
        m.role = MEMBER_REMARK;
    else if (is_shorthand(ent->checks, key) || !(m.field = shape_find(&t, key)))
        m.role = MEMBER_OTHER;
    if (m.role == MEMBER_FIELD)
        m.position = table_position(t.table, key);
    return m;
}

struct member decl_member(struct reader *r, const struct entity *ent, const struct node *map,
                          size_t i)
{
    struct str key = pair_key(&map->pairs[i]);
    struct member *known = &r->members[ent->type][i % MEMBERS_KNOWN];

    if (!known->key.p || !str_eq(known->key, key))
        *known = resolve(ent, key);
    return *known;
}

static void add_ref(struct reader *r, struct item *it, const struct field *f, const struct node *n)
{
    struct ref *ref = arena_zalloc(r->arena, sizeof(*ref));

    *ref = (struct ref){.field = f, .text = node_str(n), .line = n->line, .next = it->draft->refs};
    it->draft->refs = ref;
}

static void take_foreign(struct reader *r, struct item *it, const struct field *f,
                         const struct node *n)
{
    json_t *wrong;

    n = foreign_node(r, f, n, &wrong);
    if (n)
        add_ref(r, it, f, n);
    else if (wrong)
        item_error(it, str_of(f->name), wrong);
}

/* `_config: name`: the block of that name, under what the plugin says itself. */
static void take_shared_config(struct reader *r, struct item *it, const struct node *name,
                               const struct field *fields)
{
    const struct node *block = NULL;
    struct node_pair pair = {.key = "config", .key_len = sizeof("config") - 1};
    json_t *config, *own;

    if (name->kind == NODE_SCALAR)
        block = node_get(node_get(r->root, STR("_plugin_configs")), node_str(name));
    if (!block || block->kind != NODE_MAP) {
        item_error(it, STR("_config"), json_string("no such entry in '_plugin_configs'"));
        return;
    }
    pair.value = *block;
    config = node_member_json(&pair, fields, NULL, r->typing);
    own = json_object_get(it->draft->doc, "config");
    if (json_is_object(own))
        json_object_update(config, own);
    json_object_set_new(it->draft->doc, "config", config);
}

/* Members whose table another member chooses: plugin configs. */
static void take_subrecords(struct reader *r, struct item *it)
{
    const struct subschema *sub = entity_subschema(it->in->ent, it->draft->doc, NULL);
    const struct field *fields = sub ? sub->fields : NULL;

    for (size_t i = 0; i < it->node->n; i++) {
        const struct node_pair *pair = &it->node->pairs[i];
        const struct field *f = field_find(it->in->ent->fields, pair_key(pair));

        if (f && f->type == FT_SUBRECORD)
            json_object_set_new(it->draft->doc, f->name,
                                node_member_json(pair, fields, NULL, r->typing));
    }
    if (deck(r) && it->in->ent == &entity_plugins) {
        const struct node *name = node_get(it->node, STR("_config"));
        if (name)
            take_shared_config(r, it, name, fields);
    }
}

static void take_members(struct reader *r, struct item *it)
{
    for (size_t i = 0; i < it->node->n; i++) {
        const struct node_pair *pair = &it->node->pairs[i];
        struct member m = decl_member(r, it->in->ent, it->node, i);
        const struct field *f = m.field;

        if (m.role == MEMBER_REMARK || m.role == MEMBER_CHILDREN)
            continue;
        if (f && f->type == FT_FOREIGN) {
            take_foreign(r, it, f, &pair->value);
        } else if (!(f && f->type == FT_SUBRECORD) &&
                   !(deck(r) && str_eq(m.key, STR("_config")))) {
            json_object_setn_new_nocheck(
                it->draft->doc, pair->key, pair->key_len,
                node_member_json(pair, it->in->ent->fields, it->in->ent->checks, r->typing));
        }
    }
    take_subrecords(r, it);
}

/* ---- walk: lists of entities ---- */

static size_t add_item(struct reader *r, const struct item *it)
{
    if (r->n_items == r->cap_items) {
        r->cap_items = r->cap_items ? r->cap_items * 2 : 64;
        r->items = xrealloc(r->items, r->cap_items * sizeof(*r->items));
    }
    r->items[r->n_items] = *it;
    return r->n_items++;
}

/* ---- items by id and by name ---- */

static struct str key_of(const struct item *it, enum item_key which)
{
    return which == BY_NAME ? it->name : str_n((const char *)it->id.b, sizeof(it->id.b));
}

/* The place of the key in the table: empty, or that of the first item with that key. */
static struct item_slot *slot_for(const struct reader *r, enum item_key which,
                                  const struct entity *ent, struct str key, uint32_t hash)
{
    const struct item_table *t = &r->by[which];
    size_t at = hash & (t->cap - 1);

    for (; t->v[at].item; at = (at + 1) & (t->cap - 1)) {
        const struct item *it = &r->items[t->v[at].item - 1];

        if (t->v[at].hash == hash && it->in->ent == ent && str_eq(key_of(it, which), key))
            break;
    }
    return &t->v[at];
}

static uint32_t key_hash(const struct reader *r, const struct entity *ent, struct str key)
{
    return (uint32_t)str_hash(key, r->seed ^ ent->type);
}

static struct item *find_item(const struct reader *r, enum item_key which,
                              const struct entity *ent, struct str key)
{
    const struct item_slot *slot =
        r->by[which].cap ? slot_for(r, which, ent, key, key_hash(r, ent, key)) : NULL;

    return slot && slot->item ? &r->items[slot->item - 1] : NULL;
}

static void grow(struct item_table *t)
{
    struct item_table bigger = {.cap = t->cap ? t->cap * 2 : 64, .n = t->n};

    bigger.v = xcalloc(bigger.cap, sizeof(*bigger.v));
    for (size_t i = 0; i < t->cap; i++) {
        size_t at = t->v[i].hash & (bigger.cap - 1);

        if (!t->v[i].item)
            continue;
        while (bigger.v[at].item)
            at = (at + 1) & (bigger.cap - 1);
        bigger.v[at] = t->v[i];
    }
    free(t->v);
    *t = bigger;
}

/* False: another one had that key first, and keeps it. */
static bool enter(struct reader *r, enum item_key which, size_t at)
{
    const struct item *it = &r->items[at];
    struct str key = key_of(it, which);
    uint32_t hash = key_hash(r, it->in->ent, key);
    struct item_slot *slot;

    if (r->by[which].n * 2 >= r->by[which].cap)
        grow(&r->by[which]);
    slot = slot_for(r, which, it->in->ent, key, hash);
    if (slot->item)
        return false;
    *slot = (struct item_slot){.hash = hash, .item = (uint32_t)at + 1};
    r->by[which].n++;
    return true;
}

/* Makes the item findable for references. */
static void index_item(struct reader *r, size_t at)
{
    struct item *it = &r->items[at];

    if (it->has_id)
        it->later[BY_ID] = !enter(r, BY_ID, at);
    else if (it->draft && it->draft->odd_id.p)
        decl_index_add(&r->index, it->in->ent, it->draft->odd_id);
    else
        return;
    if (it->name.p)
        it->later[BY_NAME] = !enter(r, BY_NAME, at);
}

/* True the first time that an item which is right in itself has this key. */
static bool takes_key(struct reader *r, struct item *it, enum item_key which)
{
    struct item *first =
        it->later[which] ? find_item(r, which, it->in->ent, key_of(it, which)) : it;

    if (first->taken[which])
        return false;
    first->taken[which] = true;
    return true;
}

/* {} is an empty list, too. */
static bool is_list(const struct node *n)
{
    return n->kind == NODE_SEQ || (n->kind == NODE_MAP && n->n == 0);
}

static void walk_list(struct reader *r, const struct entity *ent, const struct node *list,
                      uint32_t parent, const struct field *parent_field);

static void walk_children(struct reader *r, size_t at)
{
    const struct node *node = r->items[at].node;

    for (size_t i = 0; i < node->n; i++) {
        struct member m = decl_member(r, r->items[at].in->ent, node, i);
        const struct node *list = &node->pairs[i].value;

        if (m.role != MEMBER_CHILDREN || node_is_null(list))
            continue;
        if (is_list(list))
            walk_list(r, m.child, list, (uint32_t)at, m.field);
        else
            item_error(&r->items[at], m.key, json_string("expected an array"));
    }
}

static void walk_item(struct reader *r, struct item it)
{
    const struct field *name_field = endpoint_field(it.in->ent);
    size_t at;

    if (it.node->kind != NODE_MAP) {
        draft_of(&it)->refusal = xstrdup("expected a record");
        add_item(r, &it);
        return;
    }
    it.name = name_field ? input_text(r, &it, name_field) : STR_NONE;
    choose_id(r, &it);
    at = add_item(r, &it);
    index_item(r, at);
    walk_children(r, at);
}

static void walk_list(struct reader *r, const struct entity *ent, const struct node *list,
                      uint32_t parent, const struct field *parent_field)
{
    const struct place in = {ent, parent_field, parent};
    const struct place *kept = list->n ? arena_dup(r->arena, &in, sizeof(in)) : NULL;

    for (size_t i = 0; list->kind == NODE_SEQ && i < list->n; i++)
        walk_item(r, (struct item){.in = kept,
                                   .node = &list->items[i],
                                   .position = (uint32_t)i + 1});
}

/* ---- walk: the document ---- */

static const char *check_version(struct reader *r, const struct node *n)
{
    static const struct field text = {.type = FT_STRING};
    json_t *value = n ? node_json(n, &text, r->typing) : NULL;
    const char *version = json_string_value(value), *wrong = NULL;

    if (!n || node_is_null(n))
        wrong = "required field missing";
    else if (!version)
        wrong = "expected a string";
    else if (strcmp(version, "1.1") == 0 || strcmp(version, "2.1") == 0)
        r->old_paths = true;
    else if (strcmp(version, "3.0") != 0)
        wrong = "expected one of: 1.1, 2.1, 3.0";
    json_decref(value);
    return wrong;
}

static const char *check_transform(const struct reader *r, const struct node *n)
{
    static const struct field boolean = {.type = FT_BOOLEAN};
    json_t *value = node_json(n, &boolean, r->typing);
    bool ok = json_is_boolean(value) || json_is_null(value);

    json_decref(value);
    return ok ? NULL : "expected a boolean";
}

/* Keys of decK's files; NULL when the value is fine. */
static const char *check_deck_key(struct str key, const struct node *n)
{
    if (str_eq(key, STR("_info")) || str_eq(key, STR("_plugin_configs")))
        return n->kind == NODE_MAP ? NULL : "expected a record";
    if (str_eq(key, STR("_workspace")))
        return n->kind == NODE_SCALAR && str_eq(node_str(n), STR("default"))
                   ? NULL
                   : "there is one workspace here, expected: default";
    if (str_eq(key, STR("_konnect")))
        return "a file for Konnect cannot be applied to a control plane of Weir";
    return "unknown field";
}

/* Other members than lists of entities: what is wrong with this one, or NULL. */
static const char *check_top_key(const struct reader *r, struct str key, const struct node *n)
{
    if (str_eq(key, STR("_format_version")))
        return NULL; /* checked even when it is absent */
    if (str_eq(key, STR("_transform")))
        return check_transform(r, n);
    if (str_eq(key, STR("_comment")))
        return n->kind == NODE_SCALAR ? NULL : "expected a string";
    if (str_eq(key, STR("_ignore")))
        return n->kind == NODE_SEQ ? NULL : "expected an array";
    return deck(r) ? check_deck_key(key, n) : "unknown field";
}

static void walk_document(struct reader *r)
{
    const char *wrong = check_version(r, node_get(r->root, STR("_format_version")));

    if (wrong)
        json_object_set_new(r->top, "_format_version", json_string(wrong));
    for (size_t i = 0; i < r->root->n; i++) {
        const struct node_pair *pair = &r->root->pairs[i];
        const struct entity *ent = entity_by_name(pair_key(pair));
        const struct node *value = &pair->value;

        if (!ent)
            wrong = check_top_key(r, pair_key(pair), value);
        else
            wrong = is_list(value) || node_is_null(value) ? NULL : "expected an array";
        if (wrong)
            json_object_setn_new_nocheck(r->top, pair->key, pair->key_len, json_string(wrong));
        else if (ent)
            walk_list(r, ent, value, NO_PARENT, NULL);
    }
}

/* ---- settle ---- */

static void bad_ref(struct reader *r, const struct item *it, const struct ref *ref)
{
    const struct entity *ent = it->in->ent;
    const json_t *name =
        ent->endpoint_key ? json_object_get(it->draft->doc, ent->endpoint_key) : NULL;
    char buf[UUID_TEXT_LEN + 1];
    struct str key = json_is_string(name) ? json_str(name) : id_str(it, buf);
    json_t *list = object_in(r->bad_refs, ent->name), *texts;
    struct sbuf text = {0}, path = {0};

    if (!key.p)
        key = STR("?");
    texts = json_object_getn(list, key.p, key.len);
    if (!texts)
        json_object_setn_new_nocheck(list, key.p, key.len, texts = json_array());
    sbuf_addf(&text, "invalid reference '%s: " STR_FMT "' (no such entry in '%s')",
              ref->field->name, STR_ARG(ref->text), ref->field->reference);
    json_array_append_new(texts, json_string(text.p));
    item_path(r, it, &path);
    sbuf_addf(&path, ".%s", ref->field->name);
    decl_errors_add(r->errs, ref->line, path.p, text.p);
    sbuf_free(&text);
    sbuf_free(&path);
}

/* Any id will do for the checks of an entity whose document is refused anyhow. */
static const struct uuid some_id = {{[6] = 0x40, [8] = 0x80}};

static void set_foreign(struct item *it, const struct field *f, const struct item *target)
{
    char text[UUID_TEXT_LEN + 1];
    json_t *key = json_object();

    uuid_format(target && target->has_id ? &target->id : &some_id, text);
    json_object_set_new_nocheck(key, "id", json_string_nocheck(text));
    json_object_set_new_nocheck(it->draft->doc, f->name, key);
}

bool decl_find_target(const struct reader *r, const struct field *f, struct str text,
                      const struct item **target_out)
{
    const struct entity *target = entity_by_name(str_of(f->reference));
    struct uuid id;
    bool odd = false;

    *target_out = NULL;
    if (!target)
        return false;
    if (uuid_parse(text, &id))
        *target_out = find_item(r, BY_ID, target, str_n((const char *)id.b, sizeof(id.b)));
    else
        odd = decl_index_find(&r->index, target, text) != NULL;
    if (!*target_out && !odd && target->endpoint_key)
        *target_out = find_item(r, BY_NAME, target, text);
    return *target_out || odd;
}

static void settle_refs(struct reader *r, struct item *it)
{
    if (it->in->parent_field)
        set_foreign(it, it->in->parent_field, &r->items[it->in->parent]);
    for (const struct ref *ref = it->draft->refs; ref; ref = ref->next) {
        const struct item *target;

        if (ref->field == it->in->parent_field)
            continue; /* the entity around it counts; what is written shapes the id alone */
        if (!decl_find_target(r, ref->field, ref->text, &target))
            bad_ref(r, it, ref);
        set_foreign(it, ref->field, target);
    }
    /* A reference that could not be read has its error already; "required" must not follow. */
    for (const struct field *f = it->in->ent->fields; it->draft->errors && f->name; f++)
        if (f->type == FT_FOREIGN && json_object_get(it->draft->errors, f->name))
            set_foreign(it, f, NULL);
}

static void already_declared(struct item *it, const char *what, struct str value)
{
    struct sbuf b = {0};

    sbuf_addf(&b, "uniqueness violation: '%s' entity with %s set to '" STR_FMT "' already declared",
              it->in->ent->name, what, STR_ARG(value));
    draft_of(it)->refusal = sbuf_take(&b);
}

/* True the first time that an entity which is right in itself has this text. */
static bool first_time(struct reader *r, const void *space, struct str text)
{
    struct decl_slot *slot = decl_index_find(&r->index, space, text);

    if (!slot) /* text is the document's, which goes before the index does */
        slot = decl_index_add(&r->index, space, str_n(arena_strdup(r->arena, text), text.len));
    if (slot->taken)
        return false;
    slot->taken = true;
    return true;
}

static bool is_unique(struct reader *r, struct item *it, const struct field *f, struct str value)
{
    if (f == endpoint_field(it->in->ent) && it->name.p)
        return takes_key(r, it, BY_NAME);
    return first_time(r, f, value);
}

/* values: the item's; the entity's own fields are the first ones in every table of it. */
static bool check_unique(struct reader *r, struct item *it, const struct frame *values)
{
    const struct shape own = shape_of_fields(it->in->ent->fields, NULL);
    const struct field *f;
    char buf[UUID_TEXT_LEN + 1];

    for (size_t i = 0; (f = shape_next(&own, &i));) {
        struct str value = (f->flags & FF_UNIQUE) ? val_text(&values->v[i - 1]) : STR_NONE;

        if (value.p && !is_unique(r, it, f, value)) {
            already_declared(it, f->name, value);
            return false;
        }
    }
    if (takes_key(r, it, BY_ID))
        return true;
    already_declared(it, "primary key", id_str(it, buf));
    return false;
}

static void make_document(struct reader *r, struct item *it)
{
    const json_t *defaults = defaults_of(r, it);
    struct draft *d = draft_of(it);
    char buf[UUID_TEXT_LEN + 1];
    struct str id;

    d->doc = json_object();
    take_members(r, it);
    if (json_is_object(defaults))
        json_object_update_missing(d->doc, json_unconst(defaults));
    if (r->old_paths && it->in->ent == &entity_routes)
        decl_migrate_paths(d->doc);
    id = id_str(it, buf);
    if (id.p)
        json_object_set_new_nocheck(d->doc, "id", json_stringn_nocheck(id.p, id.len));
    settle_refs(r, it);
}

/* The packed entity to the sink. */
static void pass_on(struct reader *r, struct item *it)
{
    struct err e;

    err_clear(&e);
    if (r->sink(r->sink_arg, it->in->ent, &it->id, sbuf_str(&r->body), &e) != 0)
        draft_of(it)->refusal = xstrdup(e.message);
}

/* The document to where it is kept or packed, when nothing is wrong with it. */
static void hand_on(struct reader *r, struct item *it)
{
    const struct entity *ent = it->in->ent;
    char id[UUID_TEXT_LEN + 1];
    struct frame values;
    struct err e;

    values.t = shape_of_fields(ent->fields, NULL);
    frame_of_json(it->draft->doc, &values);
    if (!check_unique(r, it, &values))
        return;
    if (r->documents) {
        uuid_format(&it->id, id);
        json_object_set(object_in(r->documents, ent->name), id, it->draft->doc);
        return;
    }
    err_clear(&e);
    sbuf_clear(&r->body);
    if (record_encode(ent, it->draft->doc, &r->body, &e) != 0)
        it->draft->refusal = xstrdup(e.message);
    else
        pass_on(r, it);
}

static void settle_document(struct reader *r, struct item *it)
{
    struct draft *d = draft_of(it);
    struct violations v = {0};
    json_t *entity = NULL, *doc;

    make_document(r, it);
    doc = d->doc;
    if (schema_insert_taken(it->in->ent, doc, &entity, &v) != 0) {
        if (d->errors)
            json_object_update_missing(d->errors, v.fields);
        else
            d->errors = json_incref(v.fields);
    }
    d->doc = entity;
    if (!d->errors)
        hand_on(r, it);
    json_decref(d->doc);
    d->doc = NULL;
    violations_free(&v);
    if (!d->errors && !d->refusal)
        draft_free(it);
}

static void settle(struct reader *r, struct item *it)
{
    struct frame values;

    if (it->draft && it->draft->refusal)
        return;
    if (!r->sink || !decl_pack(r, it, &values, &r->body))
        settle_document(r, it);
    else if (check_unique(r, it, &values))
        pass_on(r, it);
}

/* ---- the errors of all items ---- */

/* Where the item stands in the error object: the slot of its list, made on the way. */
static json_t *item_list(const struct reader *r, const struct item *it, json_t *root)
{
    const struct item *up = it->in->parent == NO_PARENT ? NULL : &r->items[it->in->parent];
    json_t *holder = root, *above, *list;

    if (up) {
        above = item_list(r, up, root);
        holder = above ? json_array_get(above, up->position - 1) : NULL;
        if (json_is_null(holder)) {
            holder = json_object();
            json_array_set_new(above, up->position - 1, holder);
        }
    }
    if (!json_is_object(holder))
        return NULL; /* something else is wrong up there */
    list = json_object_get(holder, it->in->ent->name);
    if (!list)
        json_object_set_new(holder, it->in->ent->name, list = json_array());
    while (json_is_array(list) && json_array_size(list) < it->position)
        json_array_append_new(list, json_null());
    return json_is_array(list) ? list : NULL;
}

static void place_error(const struct reader *r, const struct item *it, json_t *root, json_t *value)
{
    json_t *list = item_list(r, it, root), *there;

    if (!list)
        return;
    there = json_array_get(list, it->position - 1);
    if (json_is_object(there) && json_is_object(value))
        json_object_update(there, value);
    else
        json_array_set(list, it->position - 1, value);
}

static unsigned count_texts(const json_t *v)
{
    const char *key;
    json_t *value;
    unsigned n = 0;
    size_t i;

    json_object_foreach(json_unconst(v), key, value) n += count_texts(value);
    json_array_foreach(json_unconst(v), i, value) n += count_texts(value);
    return n + json_is_string(v);
}

/* Every item's errors to the list for people and, kind by kind, to the error object. */
static void report(struct reader *r)
{
    json_t *fields = r->top, *unique = json_object();

    decl_errors_add_fields(r->errs, r->root, 0, "", r->top);
    for (size_t i = 0; i < r->n_items; i++) {
        const struct item *it = &r->items[i];
        const struct draft *d = it->draft;
        struct sbuf path = {0};
        json_t *text;

        if (!d || (!d->errors && !d->refusal))
            continue;
        text = d->refusal ? json_string(d->refusal) : NULL;
        item_path(r, it, &path);
        if (d->errors) {
            decl_errors_add_fields(r->errs, it->node, it->node->line, path.p, d->errors);
            place_error(r, it, fields, d->errors);
        }
        if (text) {
            decl_errors_add(r->errs, it->node->line, path.p, d->refusal);
            place_error(r, it, it->node->kind == NODE_MAP ? unique : fields, text);
        }
        json_decref(text);
        sbuf_free(&path);
    }
    if (json_object_size(fields) == 0)
        fields = json_object_size(r->bad_refs) ? r->bad_refs : unique;
    if (r->errs->n > 0) {
        r->errs->violations.fields = json_incref(fields);
        r->errs->violations.count = count_texts(fields);
    }
    json_decref(unique);
    decl_errors_sort(r->errs);
}

static void reader_fini(struct reader *r)
{
    for (size_t i = 0; i < r->n_items; i++)
        draft_free(&r->items[i]);
    free(r->items);
    free(r->by[BY_ID].v);
    free(r->by[BY_NAME].v);
    sbuf_free(&r->body);
    decl_index_free(&r->index);
    json_decref(r->top);
    json_decref(r->bad_refs);
    json_decref(r->wrong);
}

/* r says how to read and where entities go. */
static int read_tree(struct reader *r, struct tree *tree, json_t **info_out,
                     struct decl_errors *errs)
{
    const struct node *info = node_get(&tree->root, STR("_info"));

    r->root = &tree->root;
    r->arena = &tree->arena;
    r->errs = errs;
    r->top = json_object();
    r->bad_refs = json_object();
    r->wrong = json_object();
    r->now_s = (int64_t)(clock_wall_us() / 1000000);
    rand_bytes(&r->seed, sizeof(r->seed)); /* a file must not choose its collisions */
    if (deck(r) && info) {
        *info_out = node_json(info, NULL, r->typing);
        r->defaults = json_object_get(*info_out, "defaults");
    }
    walk_document(r);
    for (size_t i = 0; i < r->n_items; i++)
        settle(r, &r->items[i]);
    report(r);
    reader_fini(r);
    return errs->n == 0 ? 0 : -1;
}

/* One error that is not an entity's; reference: how the reference words it. */
static int refuse_document(struct decl_errors *errs, size_t line, const char *text,
                           const char *reference)
{
    struct sbuf b = {0};

    decl_errors_add(errs, line, "", text);
    if (reference[0])
        sbuf_adds(&b, "failed parsing declarative configuration: ");
    sbuf_adds(&b, reference[0] ? reference : text);
    errs->violations.fields = json_pack("{s:s}", "error", b.p);
    errs->violations.count = 1;
    sbuf_free(&b);
    return -1;
}

static int parse(struct str text, struct tree *tree, struct decl_errors *errs)
{
    struct err e = {0};

    if (tree_parse(text, tree, &e) != 0)
        return refuse_document(errs, tree->error_line, e.message,
                               tree->reference_error[0] ? tree->reference_error : e.message);
    if (tree->root.kind != NODE_MAP)
        return refuse_document(errs, tree->root.line,
                               "expected a mapping of entity names to lists", "");
    return 0;
}

int decl_read(struct str text, enum decl_typing typing, struct decl *out, struct decl_errors *errs)
{
    struct reader r = {.typing = typing};
    struct tree tree;
    int rc;

    *out = (struct decl){.entities = json_object()};
    *errs = (struct decl_errors){0};
    r.documents = out->entities;
    rc = parse(text, &tree, errs);
    if (rc == 0)
        rc = read_tree(&r, &tree, &out->info, errs);
    tree_free(&tree);
    if (rc != 0)
        decl_free(out);
    return rc;
}

void decl_free(struct decl *d)
{
    json_decref(d->entities);
    json_decref(d->info);
    *d = (struct decl){0};
}

/* ---- files ---- */

/* Not for decK's files: _info has no place to go. */
static int read_text(struct reader *r, struct str text, struct decl_errors *errs)
{
    json_t *info = NULL;
    struct tree tree;
    int rc;

    *errs = (struct decl_errors){0};
    rc = parse(text, &tree, errs);
    if (rc == 0)
        rc = read_tree(r, &tree, &info, errs);
    tree_free(&tree);
    return rc;
}

static int read_file(struct reader *r, const char *path, struct decl_errors *errs)
{
    struct sbuf text = {0};
    struct err e = {0};
    int rc;

    *errs = (struct decl_errors){0};
    if (decl_load_text(path, &text, &e) != 0) {
        sbuf_free(&text);
        return refuse_document(errs, 0, e.message, "");
    }
    rc = read_text(r, sbuf_str(&text), errs);
    sbuf_free(&text);
    decl_errors_name_file(errs, path);
    return rc;
}

int decl_read_to(struct str text, decl_sink *sink, void *arg, struct decl_errors *errs)
{
    struct reader r = {.typing = DECL_BY_FIELD, .sink = sink, .sink_arg = arg};

    return read_text(&r, text, errs);
}

int decl_read_file_to(const char *path, decl_sink *sink, void *arg, struct decl_errors *errs)
{
    struct reader r = {.typing = DECL_BY_FIELD, .sink = sink, .sink_arg = arg};

    return read_file(&r, path, errs);
}

int decl_read_file(const char *path, struct decl *out, struct decl_errors *errs)
{
    struct reader r = {.typing = DECL_BY_FIELD};
    int rc;

    *out = (struct decl){.entities = json_object()};
    r.documents = out->entities;
    rc = read_file(&r, path, errs);
    if (rc != 0)
        decl_free(out);
    return rc;
}
