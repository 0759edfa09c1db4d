/*
 * declarative.c - from the tree of a document to flat entities.
 *
 *   walk      every entity, nested or not, becomes an item: where it stands in the tree, its
 *             id, and what others may call it; parents before children
 *   settle    item by item, the document: its members, references to ids, the table's checks
 *             and defaults (schema_insert), uniqueness; it goes to the sink and is forgotten
 *
 * Whatever is wrong is kept until the end. People get all of it. The reference stops after
 * the first of three kinds (fields, references, uniqueness); so does its error object.
 */
#include "common/decl_priv.h"
#include "common/schema_priv.h"

#include <stdlib.h>

#define NO_PARENT SIZE_MAX

struct ref { /* a foreign key as written */
    const struct field *field;
    const char *text;
    size_t line;
    struct ref *next;
};

struct item {
    const struct entity *ent;
    const struct node *node;
    size_t parent; /* index of the item around this one, or NO_PARENT */
    const struct field *parent_field;
    size_t position; /* 1-based, in its list */
    json_t *doc;     /* while it is settled */
    const char *id;  /* or NULL: not a text */
    struct ref *refs;
    json_t *errors; /* object, as violations.fields; NULL: none so far */
    char *refusal;  /* what is wrong with the item as a whole */
};

struct reader {
    enum decl_typing typing;
    const struct node *root;
    struct arena *arena;
    struct item *items;
    size_t n_items, cap_items;
    /* by entity: its ids; by field: its values that are unique or stand for an id */
    struct decl_index index;
    json_t *top;         /* errors of the document itself */
    json_t *bad_refs;    /* entity name: {name or id: [text]} */
    json_t *defaults;    /* _info.defaults, borrowed, or NULL */
    bool old_paths;      /* versions 1.1 and 2.1: regexes carry no ~ yet */
    struct decl_errors *errs;
    decl_sink *sink;
    void *sink_arg;
    /* the last kind that an id was made for, and what its ids derive from */
    const struct entity *space_of;
    struct uuid space;
};

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
    if (it->parent != NO_PARENT) {
        item_path(r, &r->items[it->parent], out);
        sbuf_addc(out, '.');
    }
    sbuf_addf(out, "%s.%zu", it->ent->name, it->position);
}

/* The error of one field of an item: its value in the error object. takes value. */
static void item_error(struct item *it, const char *field, json_t *value)
{
    if (!it->errors)
        it->errors = json_object();
    json_object_set_new(it->errors, field, value);
}

/* ---- ids (declarative.md section 1) ---- */

static const char *doc_text(const json_t *doc, const char *name)
{
    return json_string_value(json_object_get(doc, name));
}

/* Ids are compared as texts: text in lower case when it is one, else as it is (maybe NULL). */
static const char *id_text(const char *text, char buf[UUID_TEXT_LEN + 1])
{
    struct uuid id;

    if (!text || !uuid_parse(str_of(text), &id))
        return text;
    uuid_format(&id, buf);
    return buf;
}

static const json_t *defaults_of(const struct reader *r, const struct item *it)
{
    return json_object_get(r->defaults, it->ent->singular);
}

/* The text that the input has for a field of its table, or NULL. */
static const char *input_text(const struct reader *r, const struct item *it, const struct field *f)
{
    const struct node *n = node_get(it->node, str_of(f->name));

    return n ? node_text(n, f, r->typing) : doc_text(defaults_of(r, it), f->name);
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
    if (node_text(n, f, r->typing))
        return n;
    *wrong_out = json_string("expected a string");
    return NULL;
}

/* The text of a reference as it is written, or NULL. */
static const char *foreign_text(const struct reader *r, const struct item *it,
                                const struct field *f)
{
    const struct node *n = node_get(it->node, str_of(f->name));
    json_t *wrong = NULL;

    n = n ? foreign_node(r, f, n, &wrong) : NULL;
    json_decref(wrong);
    return n ? n->text.p : NULL;
}

/* "plugins:*:cors::s1:bob"; false when a part is missing or made up anew each time. */
static bool cache_key_text(const struct reader *r, const struct item *it, struct sbuf *out)
{
    sbuf_addf(out, "%s:*", it->ent->name);
    for (const char *const *name = it->ent->cache_key; *name; name++) {
        const struct field *f = field_find(it->ent->fields, str_of(*name));
        const char *text =
            f->type == FT_FOREIGN ? foreign_text(r, it, f) : input_text(r, it, f);

        if (!text && f == it->parent_field)
            text = r->items[it->parent].id;
        if ((f->flags & FF_AUTO) || (!text && (f->flags & FF_REQUIRED)))
            return false;
        sbuf_addf(out, ":%s", text ? text : "");
    }
    return true;
}

static const struct field *endpoint_field(const struct entity *ent)
{
    return ent->endpoint_key ? field_find(ent->fields, str_of(ent->endpoint_key)) : NULL;
}

static struct uuid make_id(struct reader *r, const struct item *it, const char *name)
{
    static const struct uuid space = {{0xfd, 0x02, 0x80, 0x1f, 0x09, 0x57, 0x4a, 0x15, 0xa5, 0x5a,
                                       0xc8, 0xd9, 0x60, 0x6f, 0x30, 0xb5}};
    struct sbuf key = {0};
    struct uuid id;

    if (r->space_of != it->ent) {
        r->space_of = it->ent;
        r->space = uuid_v5(&space, str_of(it->ent->name));
    }
    if (!it->ent->cache_key)
        return name ? uuid_v5(&r->space, str_of(name)) : uuid_v4();
    id = cache_key_text(r, it, &key) ? uuid_v5(&r->space, sbuf_str(&key)) : uuid_v4();
    sbuf_free(&key);
    return id;
}

/* The id that is written, or one that follows from what is; NULL when it is no text. */
static const char *choose_id(struct reader *r, const struct item *it, const char *name)
{
    const struct field *f = field_find(it->ent->fields, STR("id"));
    const struct node *n = node_get(it->node, STR("id"));
    const json_t *dflt = n ? NULL : json_object_get(defaults_of(r, it), "id");
    char buf[UUID_TEXT_LEN + 1];
    const char *text;
    struct uuid id;

    if (n ? !node_is_null(n) : dflt && !json_is_null(dflt)) {
        text = id_text(input_text(r, it, f), buf);
        return text ? arena_strdup(r->arena, str_of(text)) : NULL;
    }
    id = make_id(r, it, name);
    uuid_format(&id, buf);
    return arena_strdup(r->arena, str_n(buf, UUID_TEXT_LEN));
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

static void add_ref(struct reader *r, struct item *it, const struct field *f, const struct node *n)
{
    struct ref *ref = arena_zalloc(r->arena, sizeof(*ref));

    *ref = (struct ref){.field = f, .text = n->text.p, .line = n->line, .next = it->refs};
    it->refs = ref;
}

static void take_foreign(struct reader *r, struct item *it, const struct field *f,
                         const struct node *n)
{
    json_t *wrong;

    n = foreign_node(r, f, n, &wrong);
    if (n)
        add_ref(r, it, f, n);
    else if (wrong)
        item_error(it, f->name, wrong);
}

/* `_config: name`: the block of that name, under what the plugin says itself. */
static void take_shared_config(struct reader *r, struct item *it, const struct node *name,
                               const struct field *fields)
{
    const struct node *block = NULL;
    struct node_pair pair = {.key = STR("config")};
    json_t *config, *own;

    if (name->kind == NODE_SCALAR)
        block = node_get(node_get(r->root, STR("_plugin_configs")), name->text);
    if (!block || block->kind != NODE_MAP) {
        item_error(it, "_config", json_string("no such entry in '_plugin_configs'"));
        return;
    }
    pair.value = block;
    config = node_member_json(&pair, fields, NULL, r->typing);
    own = json_object_get(it->doc, "config");
    if (json_is_object(own))
        json_object_update(config, own);
    json_object_set_new(it->doc, "config", config);
}

/* Members whose table another member chooses: plugin configs. */
static void take_subrecords(struct reader *r, struct item *it)
{
    const struct subschema *sub = it->ent->subschema ? it->ent->subschema(it->doc, NULL) : NULL;
    const struct field *fields = sub ? sub->fields : NULL;

    for (size_t i = 0; i < it->node->n; i++) {
        const struct node_pair *pair = &it->node->pairs[i];
        const struct field *f = field_find(it->ent->fields, pair->key);

        if (f && f->type == FT_SUBRECORD)
            json_object_set_new(it->doc, pair->key.p,
                                node_member_json(pair, fields, NULL, r->typing));
    }
    if (deck(r) && it->ent == &entity_plugins) {
        const struct node *name = node_get(it->node, STR("_config"));
        if (name)
            take_shared_config(r, it, name, fields);
    }
}

static bool is_remark(struct str key)
{
    return str_eq(key, STR("_comment")) || str_eq(key, STR("_ignore"));
}

static void take_members(struct reader *r, struct item *it)
{
    const struct entity *child;

    for (size_t i = 0; i < it->node->n; i++) {
        const struct node_pair *pair = &it->node->pairs[i];
        const struct field *f;

        if (is_remark(pair->key) || nesting_field(it->ent, pair->key, &child))
            continue;
        f = field_find(it->ent->fields, pair->key);
        if (f && f->type == FT_FOREIGN) {
            take_foreign(r, it, f, pair->value);
        } else if (!(f && f->type == FT_SUBRECORD) &&
                   !(deck(r) && str_eq(pair->key, STR("_config")))) {
            json_object_setn_new_nocheck(
                it->doc, pair->key.p, pair->key.len,
                node_member_json(pair, it->ent->fields, it->ent->checks, r->typing));
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

/* Makes the item findable for references. */
static void index_item(struct reader *r, const struct item *it, const struct field *name_field,
                       const char *name)
{
    struct decl_slot *slot = decl_index_add(&r->index, it->ent, str_of(it->id));

    slot->id = it->id;
    if (!name)
        return;
    slot = decl_index_add(&r->index, name_field, str_of(name));
    if (!slot->id) /* the first one of a name has it */
        slot->id = it->id;
}

/* {} is an empty list, too. */
static bool is_list(const struct node *n)
{
    return n->kind == NODE_SEQ || (n->kind == NODE_MAP && n->n == 0);
}

static void walk_list(struct reader *r, const struct entity *ent, const struct node *list,
                      size_t parent, const struct field *parent_field);

static void walk_children(struct reader *r, size_t at)
{
    const struct node *node = r->items[at].node;
    const struct entity *child;

    for (size_t i = 0; i < node->n; i++) {
        const struct field *f = nesting_field(r->items[at].ent, node->pairs[i].key, &child);
        const struct node *list = node->pairs[i].value;

        if (!f || node_is_null(list))
            continue;
        if (is_list(list))
            walk_list(r, child, list, at, f);
        else
            item_error(&r->items[at], node->pairs[i].key.p, json_string("expected an array"));
    }
}

static void walk_item(struct reader *r, struct item it)
{
    const struct field *name_field = endpoint_field(it.ent);
    const char *name;

    if (it.node->kind != NODE_MAP) {
        it.refusal = xstrdup("expected a record");
        add_item(r, &it);
        return;
    }
    name = name_field ? input_text(r, &it, name_field) : NULL;
    it.id = choose_id(r, &it, name);
    if (it.id)
        index_item(r, &it, name_field, name);
    walk_children(r, add_item(r, &it));
}

static void walk_list(struct reader *r, const struct entity *ent, const struct node *list,
                      size_t parent, const struct field *parent_field)
{
    for (size_t i = 0; list->kind == NODE_SEQ && i < list->n; i++)
        walk_item(r, (struct item){.ent = ent,
                                   .node = list->items[i],
                                   .parent = parent,
                                   .parent_field = parent_field,
                                   .position = i + 1});
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
        return n->kind == NODE_SCALAR && str_eq(n->text, STR("default"))
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
        const struct entity *ent = entity_by_name(pair->key);

        if (!ent)
            wrong = check_top_key(r, pair->key, pair->value);
        else
            wrong = is_list(pair->value) || node_is_null(pair->value) ? NULL : "expected an array";
        if (wrong)
            json_object_set_new(r->top, pair->key.p, json_string(wrong));
        else if (ent)
            walk_list(r, ent, pair->value, NO_PARENT, NULL);
    }
}

/* ---- settle ---- */

static void bad_ref(struct reader *r, const struct item *it, const struct ref *ref)
{
    const char *name = it->ent->endpoint_key ? doc_text(it->doc, it->ent->endpoint_key) : NULL;
    const char *key = name ? name : it->id ? it->id : "?";
    json_t *list = object_in(r->bad_refs, it->ent->name), *texts = json_object_get(list, key);
    struct sbuf text = {0}, path = {0};

    if (!texts)
        json_object_set_new(list, key, texts = json_array());
    sbuf_addf(&text, "invalid reference '%s: %s' (no such entry in '%s')", ref->field->name,
              ref->text, ref->field->reference);
    json_array_append_new(texts, json_string(text.p));
    item_path(r, it, &path);
    sbuf_addf(&path, ".%s", ref->field->name);
    decl_errors_add(r->errs, ref->line, path.p, text.p);
    sbuf_free(&text);
    sbuf_free(&path);
}

/* Any id will do for the checks of an entity whose document is refused anyhow. */
#define SOME_ID "00000000-0000-4000-8000-000000000000"

static void set_foreign(struct item *it, const struct field *f, const char *id)
{
    struct uuid u;
    json_t *key;

    if (!id || !uuid_parse(str_of(id), &u))
        id = SOME_ID;
    key = json_object();
    json_object_set_new_nocheck(key, "id", json_string_nocheck(id));
    json_object_set_new_nocheck(it->doc, f->name, key);
}

/* The id of the entity that a reference means by its id or its name, or NULL. */
static const char *find_target(const struct reader *r, const struct ref *ref)
{
    const struct entity *target = entity_by_name(str_of(ref->field->reference));
    const struct field *name_field = target ? endpoint_field(target) : NULL;
    char buf[UUID_TEXT_LEN + 1];
    const struct decl_slot *slot =
        decl_index_find(&r->index, target, str_of(id_text(ref->text, buf)));

    if (!slot && name_field)
        slot = decl_index_find(&r->index, name_field, str_of(ref->text));
    return slot ? slot->id : NULL;
}

static void settle_refs(struct reader *r, struct item *it)
{
    if (it->parent_field)
        set_foreign(it, it->parent_field, r->items[it->parent].id);
    for (const struct ref *ref = it->refs; ref; ref = ref->next) {
        const char *id;

        if (ref->field == it->parent_field)
            continue; /* the entity around it counts; what is written shapes the id alone */
        id = find_target(r, ref);
        if (!id)
            bad_ref(r, it, ref);
        set_foreign(it, ref->field, id);
    }
    /* A reference that could not be read has its error already; "required" must not follow. */
    for (const struct field *f = it->ent->fields; it->errors && f->name; f++)
        if (f->type == FT_FOREIGN && json_object_get(it->errors, f->name))
            set_foreign(it, f, SOME_ID);
}

static void already_declared(struct item *it, const char *what, const char *value)
{
    struct sbuf b = {0};

    sbuf_addf(&b, "uniqueness violation: '%s' entity with %s set to '%s' already declared",
              it->ent->name, what, value);
    it->refusal = sbuf_take(&b);
}

/* True the first time that an entity which is right in itself has this text. */
static bool first_time(struct reader *r, const void *space, const char *text)
{
    struct decl_slot *slot = decl_index_find(&r->index, space, str_of(text));

    if (!slot) /* text is the document's, which goes before the index does */
        slot = decl_index_add(&r->index, space,
                              str_of(arena_strdup(r->arena, str_of(text))));
    if (slot->taken)
        return false;
    slot->taken = true;
    return true;
}

static void check_unique(struct reader *r, struct item *it)
{
    for (const struct field *f = it->ent->fields; f->name && !it->refusal; f++) {
        const char *value = (f->flags & FF_UNIQUE) ? doc_text(it->doc, f->name) : NULL;
        if (value && !first_time(r, f, value))
            already_declared(it, f->name, value);
    }
    if (!it->refusal && !first_time(r, it->ent, it->id))
        already_declared(it, "primary key", it->id);
}

static void make_document(struct reader *r, struct item *it)
{
    const json_t *defaults = defaults_of(r, it);

    it->doc = json_object();
    take_members(r, it);
    if (json_is_object(defaults))
        json_object_update_missing(it->doc, json_unconst(defaults));
    if (r->old_paths && it->ent == &entity_routes)
        decl_migrate_paths(it->doc);
    if (it->id)
        json_object_set_new_nocheck(it->doc, "id", json_string_nocheck(it->id));
    settle_refs(r, it);
}

/* The document to the sink, when nothing is wrong with it. */
static void hand_on(struct reader *r, struct item *it)
{
    struct err e;

    check_unique(r, it);
    if (it->refusal)
        return;
    err_clear(&e);
    if (r->sink(r->sink_arg, it->ent, it->id, it->doc, &e) != 0)
        it->refusal = xstrdup(e.message);
}

static void settle(struct reader *r, struct item *it)
{
    struct violations v = {0};
    json_t *entity = NULL;

    if (it->refusal)
        return;
    make_document(r, it);
    if (schema_insert_taken(it->ent, it->doc, &entity, &v) != 0) {
        if (it->errors)
            json_object_update_missing(it->errors, v.fields);
        else
            it->errors = json_incref(v.fields);
    }
    it->doc = entity;
    if (!it->errors)
        hand_on(r, it);
    json_decref(it->doc);
    it->doc = NULL;
    violations_free(&v);
}

/* ---- the errors of all items ---- */

/* Where the item stands in the error object: the slot of its list, made on the way. */
static json_t *item_list(const struct reader *r, const struct item *it, json_t *root)
{
    const struct item *up = it->parent == NO_PARENT ? NULL : &r->items[it->parent];
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
    list = json_object_get(holder, it->ent->name);
    if (!list)
        json_object_set_new(holder, it->ent->name, list = json_array());
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
        json_t *text = it->refusal ? json_string(it->refusal) : NULL;
        struct sbuf path = {0};

        if (!it->errors && !text)
            continue;
        item_path(r, it, &path);
        if (it->errors) {
            decl_errors_add_fields(r->errs, it->node, it->node->line, path.p, it->errors);
            place_error(r, it, fields, it->errors);
        }
        if (text) {
            decl_errors_add(r->errs, it->node->line, path.p, it->refusal);
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
    for (size_t i = 0; i < r->n_items; i++) {
        json_decref(r->items[i].errors);
        free(r->items[i].refusal);
    }
    free(r->items);
    decl_index_free(&r->index);
    json_decref(r->top);
    json_decref(r->bad_refs);
}

static int read_tree(struct tree *tree, enum decl_typing typing, decl_sink *sink, void *arg,
                     json_t **info_out, struct decl_errors *errs)
{
    struct reader r = {.typing = typing,
                       .root = tree->root,
                       .arena = &tree->arena,
                       .errs = errs,
                       .sink = sink,
                       .sink_arg = arg,
                       .top = json_object(),
                       .bad_refs = json_object()};
    const struct node *info = node_get(tree->root, STR("_info"));

    if (deck(&r) && info) {
        *info_out = node_json(info, NULL, typing);
        r.defaults = json_object_get(*info_out, "defaults");
    }
    walk_document(&r);
    for (size_t i = 0; i < r.n_items; i++)
        settle(&r, &r.items[i]);
    report(&r);
    reader_fini(&r);
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
    if (tree->root->kind != NODE_MAP)
        return refuse_document(errs, tree->root->line,
                               "expected a mapping of entity names to lists", "");
    return 0;
}

/* A sink: into an object as that of struct decl. */
static int keep(void *arg, const struct entity *ent, const char *id, json_t *doc, struct err *e)
{
    (void)e;
    json_object_set(object_in(arg, ent->name), id, doc);
    return 0;
}

int decl_read(struct str text, enum decl_typing typing, struct decl *out, struct decl_errors *errs)
{
    struct tree tree;
    int rc;

    *out = (struct decl){.entities = json_object()};
    *errs = (struct decl_errors){0};
    rc = parse(text, &tree, errs);
    if (rc == 0)
        rc = read_tree(&tree, typing, keep, out->entities, &out->info, errs);
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

int decl_read_file_to(const char *path, decl_sink *sink, void *arg, struct decl_errors *errs)
{
    struct sbuf text = {0};
    struct err e = {0};
    json_t *info = NULL;
    struct tree tree;
    int rc;

    *errs = (struct decl_errors){0};
    if (decl_load_text(path, &text, &e) != 0) {
        sbuf_free(&text);
        return refuse_document(errs, 0, e.message, "");
    }
    rc = parse(sbuf_str(&text), &tree, errs);
    sbuf_free(&text); /* the tree has copies of what it needs */
    if (rc == 0)
        rc = read_tree(&tree, DECL_BY_FIELD, sink, arg, &info, errs);
    tree_free(&tree);
    decl_errors_name_file(errs, path);
    return rc;
}

int decl_read_file(const char *path, struct decl *out, struct decl_errors *errs)
{
    int rc;

    *out = (struct decl){.entities = json_object()};
    rc = decl_read_file_to(path, keep, out->entities, errs);
    if (rc != 0)
        decl_free(out);
    return rc;
}
