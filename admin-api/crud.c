/* crud.c - reads and writes of rows, the same for every entity. */
#include "admin-api/admin.h"
#include "admin-api/body.h"
#include "admin-api/hooks.h"
#include "admin-api/rows.h"

static bool is_read(const struct call *c)
{
    return c->method == M_GET || c->method == M_HEAD;
}

/* ---- documents on their way in ---- */

/* What is told before the schema has its say. 0 or -1 with p. */
static int before(const struct entity *ent, json_t *in, struct problem *p)
{
    const struct hooks *h = hooks_of(ent);
    struct err e = {0};
    int64_t ttl;

    if (schema_ttl(ent, in, &ttl, &e) != 0)
        return problem_set(p, PROBLEM_OPTIONS, json_pack("{s:s}", "ttl", e.message),
                           "invalid option (ttl: %s)", e.message);
    return h->before ? h->before(in, p) : 0;
}

/* c->given to c->doc for a new or replaced row. 0 or -1 with p. */
static int make_doc(struct call *c, const struct entity *ent, struct problem *p)
{
    struct violations v = {0};

    if (before(ent, c->given, p) != 0)
        return -1;
    return schema_insert(ent, c->given, &c->doc, &v) != 0 ? problem_from_violations(p, &v) : 0;
}

/* ---- writers: these run on the store's thread ---- */

/* Not there: answers 404 without an error object, and undoes the transaction. */
static int gone(struct call *c)
{
    reply_not_found(c);
    return -1;
}

static int show_row(struct call *c, struct txn *t, int status, const struct entity *ent,
                    const json_t *doc, struct problem *p)
{
    const struct source src = source_txn(t);
    json_t *shown = row_answer(&src, ent, doc, p);

    if (!shown)
        return -1;
    reply_json(c, status, shown);
    return 0;
}

/* Writes doc: foreign keys by name, what the entity adds, the row itself. */
static int write_row(struct call *c, struct txn *t, const struct entity *ent, json_t *doc,
                     bool exists, struct problem *p)
{
    const struct source src = source_txn(t);
    const struct hooks *h = hooks_of(ent);

    if (rows_resolve(&src, ent, doc, p) != 0)
        return -1;
    if (h->check && h->check(t, c->given, doc, p) != 0)
        return -1;
    if ((exists ? txn_replace(t, ent, doc, p) : txn_insert(t, ent, doc, p)) != 0)
        return -1;
    return h->after ? h->after(t, c->given, doc, p) : 0;
}

static int write_insert(struct call *c, struct txn *t, struct problem *p)
{
    const struct entity *ent = c->at.ent;

    if (write_row(c, t, ent, c->doc, false, p) != 0)
        return -1;
    return show_row(c, t, 201, ent, c->doc, p);
}

/* The row that a reference names, whoever its parent is. 1, 0, -1. An empty one names none. */
static int find_row(const struct call *c, struct txn *t, json_t **doc_out, struct problem *p)
{
    if (!c->ref.by && uuid_is_nil(&c->ref.id))
        return 0;
    return txn_get(t, c->at.ent, &c->ref, doc_out, p);
}

static int write_upsert(struct call *c, struct txn *t, struct problem *p)
{
    const struct entity *ent = c->at.ent;
    json_t *stored = NULL;
    int found = find_row(c, t, &stored, p);

    if (found < 0)
        return -1;
    if (found)
        json_object_set(c->doc, "id", json_object_get(stored, "id"));
    json_decref(stored);
    if (write_row(c, t, ent, c->doc, found, p) != 0)
        return -1;
    return show_row(c, t, 200, ent, c->doc, p);
}

static int missing_update(struct call *c, struct problem *p)
{
    const char *needs = hooks_of(c->at.ent)->patch_needs;
    json_t *in = NULL;
    bool plain = c->at.place == PLACE_CHILD || c->at.place == PLACE_LINK;

    if (!plain && needs) {
        in = body_document(c, c->at.ent, NULL);
        plain = !json_object_get(in, needs);
        json_decref(in);
    }
    return plain ? gone(c) : row_missing(&c->ref, p);
}

static int write_update(struct call *c, struct txn *t, struct problem *p)
{
    const struct entity *ent = c->at.ent;
    struct violations v = {0};
    json_t *stored = NULL;
    int found = find_row(c, t, &stored, p), rc = -1;

    if (found < 0)
        return -1;
    if (!found)
        return missing_update(c, p);
    c->given = body_document(c, ent, stored);
    if (!c->given)
        goto out;
    if (before(ent, c->given, p) != 0)
        goto out;
    if (schema_update(ent, stored, c->given, &c->doc, &v) != 0) {
        problem_from_violations(p, &v);
        goto out;
    }
    if (write_row(c, t, ent, c->doc, true, p) == 0)
        rc = show_row(c, t, 200, ent, c->doc, p);
out:
    json_decref(stored);
    return rc;
}

static int delete_row(struct txn *t, const struct entity *ent, const json_t *row, struct problem *p)
{
    const struct hooks *h = hooks_of(ent);
    struct uuid id;

    WEIR_ASSERT(row_id(row, &id));
    if (h->leaving && h->leaving(t, &id, p) != 0)
        return -1;
    return txn_delete(t, ent, &id, p);
}

static int write_delete(struct call *c, struct txn *t, struct problem *p)
{
    json_t *stored = NULL;
    int found = find_row(c, t, &stored, p);

    if (found < 0)
        return -1;
    if (!found && c->at.place == PLACE_CHILD)
        return gone(c);
    if (found)
        found = delete_row(t, c->at.ent, stored, p);
    json_decref(stored);
    if (found < 0)
        return -1;
    reply_empty(c, 204);
    return 0;
}

/* PUT of a link that is null: the parent is made, then the owner points to it. */
static int write_linked(struct call *c, struct txn *t, struct problem *p)
{
    const struct entity *owner = c->at.owner;
    const struct row_ref ref = {.id = c->parent};
    struct violations v = {0};
    json_t *stored = NULL, *patch = NULL, *doc = NULL;
    int rc = -1, found = txn_get(t, owner, &ref, &stored, p);
    struct uuid id;
    bool linked;

    if (found < 0)
        return -1;
    if (!found)
        return gone(c);
    /* another PUT may have come first: its row is the one to replace */
    linked = row_link(stored, c->at.link->name, &id);
    if (linked)
        json_object_update_existing(c->doc, json_object_get(stored, c->at.link->name));
    if (write_row(c, t, c->at.ent, c->doc, linked, p) != 0)
        goto out;
    patch = json_pack("{s:{s:O}}", c->at.link->name, "id", json_object_get(c->doc, "id"));
    if (schema_update(owner, stored, patch, &doc, &v) != 0)
        problem_from_violations(p, &v);
    else if (txn_replace(t, owner, doc, p) == 0)
        rc = show_row(c, t, 200, c->at.ent, c->doc, p);
out:
    json_decref(patch);
    json_decref(doc);
    json_decref(stored);
    return rc;
}

/* ---- handlers ---- */

/* Takes the body as a new row of c->at.ent and hands it to fn. */
static enum outcome put_row(struct call *c, write_fn *fn)
{
    struct problem p = {0};

    if (make_doc(c, c->at.ent, &p) != 0)
        return reply_problem(c, &p);
    return call_write(c, fn);
}

static bool take_body(struct call *c)
{
    c->given = body_document(c, c->at.ent, NULL);
    return c->given != NULL;
}

static enum outcome show_ref(struct call *c)
{
    const struct source src = source_store(c->admin->store);
    struct problem p = {0};
    json_t *doc = NULL, *shown;
    int found = store_get(c->admin->store, c->at.ent, &c->ref, &doc, &p);

    if (found == 0 && hooks_of(c->at.ent)->missing_names_id && !c->ref.parent_field)
        found = row_missing(&c->ref, &p);
    if (found < 0)
        return reply_problem(c, &p);
    if (!found)
        return reply_not_found(c);
    /* through a link the reference shows the bare row */
    shown = c->at.place == PLACE_LINK ? schema_answer(c->at.ent, doc)
                                      : row_answer(&src, c->at.ent, doc, &p);
    json_decref(doc);
    return shown ? reply_json(c, 200, shown) : reply_problem(c, &p);
}

/* One row or none, as a page. */
static enum outcome find_one(struct call *c, const char *field, struct str value)
{
    const struct source src = source_store(c->admin->store);
    const struct row_ref ref = {.by = field, .value = value};
    struct problem p = {0};
    json_t *doc = NULL, *rows = json_array(), *shown;
    int found;

    if (!value.len) {
        json_decref(rows);
        return reply_message(c, 400, "%s must be an unempty string", field);
    }
    found = store_get(c->admin->store, c->at.ent, &ref, &doc, &p);
    if (found > 0) {
        shown = row_answer(&src, c->at.ent, doc, &p);
        json_decref(doc);
        if (shown)
            json_array_append_new(rows, shown);
        else
            found = -1;
    }
    if (found < 0) {
        json_decref(rows);
        return reply_problem(c, &p);
    }
    return page_reply(c, rows, NULL, &(struct page_span){0}, true);
}

enum outcome crud_collection(struct call *c)
{
    const char *find_by = hooks_of(c->at.ent)->find_by;

    if (is_read(c)) {
        struct str value = find_by ? call_arg(c, find_by) : STR_NONE;

        return value.p ? find_one(c, find_by, value) : page_rows(c, c->at.ent, NULL, NULL, false);
    }
    return take_body(c) ? put_row(c, write_insert) : CALL_DONE;
}

/* What the path says is the key wins over the body. */
static void key_into_body(struct call *c)
{
    char id[UUID_TEXT_LEN + 1];

    if (c->ref.by) {
        json_object_set_new(c->given, c->ref.by, json_stringn(c->ref.value.p, c->ref.value.len));
    } else if (!uuid_is_nil(&c->ref.id)) {
        uuid_format(&c->ref.id, id);
        json_object_set_new(c->given, "id", json_string(id));
    }
}

/* GET, PATCH, PUT and DELETE of the row that c->ref names. */
static enum outcome act_on_ref(struct call *c)
{
    if (is_read(c))
        return show_ref(c);
    if (c->method == M_DELETE)
        return call_write(c, write_delete);
    if (c->method == M_PATCH || hooks_of(c->at.ent)->put_updates)
        return call_write(c, write_update);
    if (!take_body(c))
        return CALL_DONE;
    key_into_body(c);
    if (c->at.place == PLACE_CHILD) {
        json_object_set_new(c->given, c->at.link->name, row_link_json(&c->parent));
        c->ref.parent_field = NULL; /* PUT takes a row away from another parent */
    }
    return put_row(c, write_upsert);
}

/* Puts the row a segment names into c->ref. False: c is answered. */
static bool find_ref(struct call *c, struct str segment)
{
    const struct source src = source_store(c->admin->store);
    struct problem p = {0};
    int found = row_ref_parse(c, &src, c->at.ent, segment, &c->ref, &p);

    if (found < 0)
        reply_problem(c, &p);
    /* a name that leads to no row may still name one to be made */
    if (found == 0 && c->method == M_PUT && !hooks_of(c->at.ent)->put_updates) {
        c->ref = (struct row_ref){0};
        return true;
    }
    return found > 0;
}

enum outcome crud_entity(struct call *c)
{
    return find_ref(c, c->seg[1].text) ? act_on_ref(c) : CALL_DONE;
}

/* Looks the owner of a nested path up; its id to c->parent. False: c is answered. */
static bool find_owner(struct call *c, json_t **row_out)
{
    const struct source src = source_store(c->admin->store);
    struct problem p = {0};
    struct row_ref ref;
    json_t *row = NULL;
    int found = row_ref_parse(c, &src, c->at.owner, c->seg[1].text, &ref, &p);

    if (found == 0)
        return false; /* answered */
    if (found > 0)
        found = store_get(c->admin->store, c->at.owner, &ref, &row, &p);
    if (found < 0)
        reply_problem(c, &p);
    else if (found == 0)
        reply_not_found(c);
    if (found <= 0)
        return false;
    WEIR_ASSERT(row_id(row, &c->parent));
    if (row_out)
        *row_out = row;
    else
        json_decref(row);
    return true;
}

enum outcome crud_children(struct call *c)
{
    if (!find_owner(c, NULL))
        return CALL_DONE;
    if (is_read(c))
        return page_rows(c, c->at.ent, c->at.link->name, &c->parent, false);
    if (!take_body(c))
        return CALL_DONE;
    json_object_set_new(c->given, c->at.link->name, row_link_json(&c->parent));
    return put_row(c, write_insert);
}

enum outcome crud_child(struct call *c)
{
    if (!find_owner(c, NULL) || !find_ref(c, c->seg[3].text))
        return CALL_DONE;
    c->ref.parent_field = c->at.link->name;
    c->ref.parent = c->parent;
    return act_on_ref(c);
}

enum outcome crud_link(struct call *c)
{
    json_t *owner = NULL;
    bool linked;

    if (!find_owner(c, &owner))
        return CALL_DONE;
    c->ref = (struct row_ref){0};
    linked = row_link(owner, c->at.link->name, &c->ref.id);
    json_decref(owner);
    if (!linked && c->method == M_PUT)
        return take_body(c) ? put_row(c, write_linked) : CALL_DONE;
    if (!linked)
        return reply_not_found(c);
    if (c->method == M_DELETE)
        return reply_message(c, 405, "Method not allowed");
    return act_on_ref(c);
}
