/*
 * cmd_sync.c - weirctl sync: makes the control plane hold what a declarative file says.
 *
 *   read     the file, as decK would; every entity of the control plane (of the tags)
 *   match    by id, else by name or cache key, else by being equal: matches keep their ids
 *   plan     creates and updates, parents first; then deletions, children first
 *   apply    one call each, in that order; the first refusal ends it
 */
#include "admin-api/cli/cli.h"

#include <stdio.h>
#include <stdlib.h>

#include "admin-api/cli/api.h"
#include "admin-api/cli/sync.h"
#include "common/clock.h"

struct flags {
    const char *admin_url, *select_tag;
    bool dry_run;
};

static const struct setting table[] = {
    ADMIN_URL_SETTING(struct flags),
    {"select_tag", ST_TEXT, offsetof(struct flags, select_tag),
     .doc = "Tags, separated by commas: entities without them are left alone, and what the file "
            "has gets them."},
    {"dry_run", ST_BOOL, offsetof(struct flags, dry_run),
     .doc = "Prints what would change and changes nothing."},
    SETTING_END,
};

enum action { CREATE, UPDATE, DELETE, N_ACTIONS };

static const char *const done_words[N_ACTIONS] = {"created", "updated", "deleted"};
static const char *const would_words[N_ACTIONS] = {"would create", "would update", "would delete"};

struct change {
    enum action action;
    const struct entity *ent;
    json_t *doc; /* what to write; for deletions what is there */
    char *what;  /* "service s1: host, port" */
};

struct sync {
    struct api *api;
    struct flags flags;
    struct decl file;
    json_t *tags;    /* array */
    json_t *ids;     /* id in the file: id on the control plane */
    json_t *current; /* entity name: {id: document} */
    struct change *changes;
    size_t n_changes, n_unchanged;
};

static const char *doc_id(const json_t *doc)
{
    return json_string_value(json_object_get(doc, "id"));
}

/* ---- read ---- */

static int read_file(struct sync *s, const char *path, struct err *e)
{
    struct sbuf raw = {0}, text = {0};
    struct decl_errors errs = {0};
    int rc = -1;

    if (decl_load_text(path, &raw, e) != 0)
        goto out;
    if (sync_expand_env(sbuf_str(&raw), &text, e) != 0) {
        err_in(e, path);
        goto out;
    }
    rc = decl_read(sbuf_str(&text), DECL_DECK, &s->file, &errs);
    if (rc != 0) {
        decl_errors_name_file(&errs, path);
        for (size_t i = 0; i < errs.n; i++)
            fprintf(stderr, "%s\n", errs.v[i].text);
        err_set(e, ERR_INVALID, "%s: %zu error%s, nothing was changed", path, errs.n,
                errs.n == 1 ? "" : "s");
        decl_errors_free(&errs);
    }
out:
    sbuf_free(&raw);
    sbuf_free(&text);
    return rc;
}

static void add_tag(json_t *tags, const char *tag)
{
    json_t *t;
    size_t i;

    json_array_foreach(tags, i, t) if (strcmp(json_string_value(t), tag) == 0) return;
    json_array_append_new(tags, json_string(tag));
}

/* --select-tag and _info.select_tags. */
static int collect_tags(struct sync *s, struct err *e)
{
    struct str rest = str_of(s->flags.select_tag), piece;
    json_t *from_file = json_object_get(s->file.info, "select_tags"), *tag;
    size_t i;

    s->tags = json_array();
    while (str_next(&rest, ',', &piece)) {
        char *text = str_dup(str_trim(piece));
        if (text[0])
            add_tag(s->tags, text);
        free(text);
    }
    json_array_foreach(from_file, i, tag)
    {
        if (!json_is_string(tag))
            return err_set(e, ERR_INVALID, "_info.select_tags: expected an array of strings");
        add_tag(s->tags, json_string_value(tag));
    }
    return 0;
}

/* "tags=a,b", percent-encoded. */
static void tags_query(const json_t *tags, struct sbuf *out)
{
    json_t *tag;
    size_t i;

    json_array_foreach(json_unconst(tags), i, tag)
    {
        sbuf_adds(out, i ? "," : "tags=");
        for (const char *p = json_string_value(tag); *p; p++)
            sbuf_addf(out,
                      strchr("-._~", *p) || (ascii_lower(*p) >= 'a' && ascii_lower(*p) <= 'z') ||
                              (*p >= '0' && *p <= '9')
                          ? "%c"
                          : "%%%02X",
                      (unsigned char)*p);
    }
}

/* The foreign field whose entity the paths of ent go through, or NULL. */
static const struct field *parent_field(const struct entity *ent)
{
    if (ent->nested_path || ent->hidden_collection)
        for (const struct field *f = ent->fields; f->name; f++)
            if (f->type == FT_FOREIGN && (f->flags & FF_REQUIRED))
                return f;
    return NULL;
}

static void nested_path(const struct entity *ent, const struct field *parent, const char *parent_id,
                        struct sbuf *out)
{
    const struct entity *above = entity_by_name(str_of(parent->reference));

    sbuf_addf(out, "%s/%s/%s", above->path, parent_id,
              ent->nested_path ? ent->nested_path : ent->name);
}

static int fetch(struct sync *s, const struct entity *ent, const char *path, const char *query,
                 struct err *e)
{
    json_t *rows, *row, *by_id = json_object_get(s->current, ent->name);
    size_t i;

    if (api_list(s->api, path, query, &rows, e) != 0)
        return -1;
    json_array_foreach(rows, i, row) if (doc_id(row)) json_object_set(by_id, doc_id(row), row);
    json_decref(rows);
    return 0;
}

static int read_current(struct sync *s, struct err *e)
{
    struct sbuf query = {0}, path = {0};
    const char *id;
    json_t *parent;
    int rc = 0;

    tags_query(s->tags, &query);
    s->current = json_object();
    for (size_t i = 0; rc == 0 && entities[i]; i++) {
        const struct entity *ent = entities[i];

        if (ent->internal)
            continue;
        json_object_set_new(s->current, ent->name, json_object());
        if (!ent->hidden_collection && ent->path) {
            rc = fetch(s, ent, ent->path, query.p ? query.p : "", e);
            continue;
        }
        json_object_foreach(json_object_get(s->current, parent_field(ent)->reference), id, parent)
        {
            sbuf_clear(&path);
            nested_path(ent, parent_field(ent), id, &path);
            if ((rc = fetch(s, ent, path.p, query.p ? query.p : "", e)) != 0)
                break;
        }
    }
    sbuf_free(&query);
    sbuf_free(&path);
    return rc;
}

/* ---- match and plan ---- */

/* takes doc and more (may be NULL). */
static void plan(struct sync *s, enum action action, const struct entity *ent, json_t *doc,
                 const char *more)
{
    struct sbuf what = {0};

    sync_label(ent, doc, &what);
    if (more)
        sbuf_addf(&what, ": %s", more);
    s->changes = xrealloc(s->changes, (s->n_changes + 1) * sizeof(*s->changes));
    s->changes[s->n_changes++] = (struct change){action, ent, doc, sbuf_take(&what)};
}

/* Points the document's foreign keys at the ids on the control plane; adds the tags. */
static void adapt(struct sync *s, const struct entity *ent, json_t *doc)
{
    json_t *tags = json_object_get(doc, "tags"), *tag;
    size_t i;

    for (const struct field *f = ent->fields; f->name; f++) {
        json_t *foreign = f->type == FT_FOREIGN ? json_object_get(doc, f->name) : NULL;
        json_t *id = json_object_get(s->ids, doc_id(foreign) ? doc_id(foreign) : "");
        if (id)
            json_object_set(foreign, "id", id);
    }
    if (json_array_size(s->tags) == 0 || !field_find(ent->fields, STR("tags")))
        return;
    if (!json_is_array(tags))
        json_object_set_new(doc, "tags", tags = json_array());
    json_array_foreach(s->tags, i, tag) add_tag(tags, json_string_value(tag));
}

/* Everything without keys of its own, as one text. */
static void content_identity(const struct entity *ent, const json_t *doc, struct sbuf *out)
{
    json_t *canonical = sync_canonical(ent, doc);
    char *text = json_dumps(canonical, JSON_COMPACT | JSON_SORT_KEYS);

    sbuf_adds(out, text);
    free(text);
    json_decref(canonical);
}

static bool key_of(const struct entity *ent, const json_t *doc, bool by_content, struct sbuf *out)
{
    sbuf_clear(out);
    if (!by_content)
        return sync_identity(ent, doc, out);
    content_identity(ent, doc, out);
    return true;
}

/* The key of each row that nothing has matched yet: its id. */
static json_t *index_rows(const struct entity *ent, json_t *rows, bool by_content)
{
    json_t *index = json_object(), *row;
    struct sbuf key = {0};
    const char *id;

    json_object_foreach(rows, id, row) if (key_of(ent, row, by_content, &key))
        json_object_set_new(index, key.p, json_string(id));
    sbuf_free(&key);
    return index;
}

/* Takes the row out of rows, so that nothing else matches it; creates or updates or neither. */
static void matched(struct sync *s, const struct entity *ent, json_t *rows, const char *file_id,
                    const char *row_id, const json_t *doc)
{
    json_t *row = json_incref(json_object_get(rows, row_id)), *want = json_deep_copy(doc);
    json_t *before = sync_canonical(ent, row), *after;
    struct sbuf fields = {0};

    json_object_set_new(s->ids, file_id, json_string(row_id));
    json_object_set_new(want, "id", json_string(row_id));
    json_object_set(want, "created_at", json_object_get(row, "created_at"));
    after = sync_canonical(ent, want);
    sync_differences(before, after, &fields);
    if (fields.len) {
        plan(s, UPDATE, ent, want, fields.p);
    } else {
        s->n_unchanged++;
        json_decref(want);
    }
    json_object_del(rows, row_id);
    json_decref(row);
    json_decref(before);
    json_decref(after);
    sbuf_free(&fields);
}

/* One way to match all of the file's entities that are still without one. */
static void match_by_key(struct sync *s, const struct entity *ent, json_t *wanted, json_t *rows,
                         bool by_content)
{
    json_t *index = index_rows(ent, rows, by_content), *doc;
    struct sbuf key = {0};
    const char *id;

    json_object_foreach(wanted, id, doc)
    {
        const char *row_id = NULL;

        if (!json_object_get(s->ids, id) && key_of(ent, doc, by_content, &key))
            row_id = json_string_value(json_object_get(index, key.p));
        if (!row_id)
            continue;
        matched(s, ent, rows, id, row_id, doc);
        json_object_del(index, key.p);
    }
    sbuf_free(&key);
    json_decref(index);
}

static void plan_entity(struct sync *s, const struct entity *ent)
{
    json_t *wanted = json_object_get(s->file.entities, ent->name), *doc;
    json_t *rows = json_object_get(s->current, ent->name);
    const char *id;

    json_object_foreach(wanted, id, doc)
    {
        adapt(s, ent, doc);
        if (json_object_get(rows, id))
            matched(s, ent, rows, id, id, doc);
    }
    match_by_key(s, ent, wanted, rows, false);
    match_by_key(s, ent, wanted, rows, true);
    json_object_foreach(wanted, id, doc)
    {
        if (json_object_get(s->ids, id))
            continue;
        json_object_set_new(s->ids, id, json_string(id));
        plan(s, CREATE, ent, json_incref(doc), NULL);
    }
}

static void plan_deletions(struct sync *s)
{
    size_t n = 0;
    const char *id;
    json_t *row;

    while (entities[n])
        n++;
    while (n-- > 0)
        json_object_foreach(json_object_get(s->current, entities[n]->name), id, row)
            plan(s, DELETE, entities[n], json_incref(row), NULL);
}

/* ---- apply ---- */

static void entity_path(const struct change *c, struct sbuf *out)
{
    const struct field *parent = parent_field(c->ent);

    if (parent)
        nested_path(c->ent, parent, doc_id(json_object_get(c->doc, parent->name)), out);
    else
        sbuf_adds(out, c->ent->path);
    sbuf_addf(out, "/%s", doc_id(c->doc));
}

/* The document as a client may write it. */
static json_t *request_body(const struct change *c)
{
    json_t *body = json_deep_copy(c->doc);
    const json_t *expires = json_object_get(body, "expires_at");

    if (c->ent->has_ttl && json_is_integer(expires) && json_integer_value(expires) > 0) {
        json_int_t left = json_integer_value(expires) - (json_int_t)(clock_wall_us() / 1000000);
        json_object_set_new(body, "ttl", json_integer(left > 0 ? left : 1));
    }
    if (c->action == CREATE)
        json_object_del(body, "created_at");
    json_object_del(body, "updated_at");
    for (const struct field *f = c->ent->fields; f->name; f++)
        if (f->flags & (FF_TRANSIENT | FF_INTERNAL) ||
            (f->flags & FF_QUIET && json_is_null(json_object_get(body, f->name)))) /* the reference knows none of ours */
            json_object_del(body, f->name);
    return body;
}

static int apply(struct sync *s, const struct change *c, struct err *e)
{
    json_t *body = c->action == DELETE ? NULL : request_body(c);
    struct sbuf path = {0};
    int rc;

    entity_path(c, &path);
    rc = api_do(s->api, body ? "PUT" : "DELETE", path.p, body, NULL, e);
    if (rc != 0 && c->action == CREATE && e->code == ERR_NOT_FOUND && c->ent->hidden_collection) {
        /* PUT of a target that is not there yet is refused by the reference */
        path.p[path.len - strlen(doc_id(c->doc)) - 1] = '\0';
        rc = api_do(s->api, "POST", path.p, body, NULL, e);
    }
    json_decref(body);
    sbuf_free(&path);
    return rc;
}

static int apply_all(struct sync *s, struct err *e)
{
    size_t counts[N_ACTIONS] = {0}, done = 0;
    int rc = 0;

    for (; done < s->n_changes && rc == 0; done++) {
        const struct change *c = &s->changes[done];

        rc = s->flags.dry_run ? 0 : apply(s, c, e);
        if (rc != 0) {
            err_in(e, c->what);
            break;
        }
        counts[c->action]++;
        printf("%s %s\n", (s->flags.dry_run ? would_words : done_words)[c->action], c->what);
    }
    printf("%s%zu created, %zu updated, %zu deleted, %zu unchanged",
           s->flags.dry_run ? "dry run: " : "", counts[CREATE], counts[UPDATE], counts[DELETE],
           s->n_unchanged);
    if (rc != 0)
        printf(", %zu left undone", s->n_changes - done);
    putchar('\n');
    fflush(stdout);
    return rc;
}

/* ---- all of it ---- */

/* Routes have more fields in one router flavor. Who does not answer is met again later. */
static void learn_flavor(struct sync *s)
{
    json_t *root = NULL;
    struct err e = {0};
    const char *flavor;

    if (api_do(s->api, "GET", "/", NULL, &root, &e) != 0)
        return;
    flavor = json_string_value(
        json_object_get(json_object_get(root, "configuration"), "router_flavor"));
    if (flavor && strcmp(flavor, router_flavor_words[FLAVOR_EXPRESSIONS]) == 0)
        schema_use_expressions();
    json_decref(root);
}

static void sync_fini(struct sync *s)
{
    for (size_t i = 0; i < s->n_changes; i++) {
        json_decref(s->changes[i].doc);
        free(s->changes[i].what);
    }
    free(s->changes);
    decl_free(&s->file);
    json_decref(s->tags);
    json_decref(s->ids);
    json_decref(s->current);
    api_close(&s->api);
}

static int run(int argc, char **argv)
{
    struct sync s = {0};
    struct err e = {0};
    int status;

    if (!command_flags(&command_sync, table, 1, &argc, argv, &s.flags, &status))
        return status;
    s.ids = json_object();
    if (api_open(s.flags.admin_url, &s.api, &e) == 0)
        learn_flavor(&s);
    if (!s.api || read_file(&s, argv[1], &e) != 0 || collect_tags(&s, &e) != 0 ||
        read_current(&s, &e) != 0) {
        status = command_fail(&command_sync, &e);
        sync_fini(&s);
        return status;
    }
    for (size_t i = 0; entities[i]; i++)
        plan_entity(&s, entities[i]);
    plan_deletions(&s);
    if (apply_all(&s, &e) != 0)
        status = command_fail(&command_sync, &e);
    sync_fini(&s);
    return status;
}

const struct command command_sync = {
    .name = "sync",
    .operands = "FILE",
    .run = run,
    .about = "Makes the control plane hold what a declarative file says.",
};
