/* records_of.c - see records_of.h. */
#include "proto/records_of.h"

#define ENTITY_KINDS_MAX 64 /* as many as a record's first byte can tell apart */

static int append_body(const struct entity *ent, const struct uuid *id, struct str body,
                       struct sbuf *out, struct err *e)
{
    if (body.len > RECORD_BODY_MAX)
        return err_set(e, ERR_LIMIT, "expected at most %u bytes in one entity", RECORD_BODY_MAX);
    record_append(out, &(struct record){.op = REC_PUT, .type = ent->type, .key = *id, .body = body});
    return 0;
}

static int append_entity(const struct entity *ent, const char *id, const json_t *doc,
                         struct sbuf *out, struct state_hash *hash, struct err *e)
{
    struct sbuf body = {0};
    struct uuid key;
    int rc = -1;

    if (!uuid_parse(str_of(id), &key))
        err_set(e, ERR_INVALID, "expected a UUID as id");
    else if (record_encode(ent, doc, &body, e) == 0)
        rc = append_body(ent, &key, sbuf_str(&body), out, e);
    if (rc == 0)
        state_hash_add(hash, ent->type, &key, sbuf_str(&body));
    sbuf_free(&body);
    return rc;
}

int records_of_entities(const json_t *by_kind, struct sbuf *out, struct state_hash *hash_out,
                        struct err *e)
{
    const char *id;
    json_t *doc;

    *hash_out = (struct state_hash){{0}};
    for (size_t i = 0; entities[i]; i++) {
        json_t *list = json_object_get(by_kind, entities[i]->name);

        json_object_foreach(list, id, doc)
        {
            if (append_entity(entities[i], id, doc, out, hash_out, e) == 0)
                continue;
            err_in(e, id);
            return err_in(e, entities[i]->name);
        }
    }
    return 0;
}

/* Records by kind: a document has them in another order than parents before children. */
struct kinds {
    struct sbuf v[ENTITY_KINDS_MAX];
};

static size_t kind_of(const struct entity *ent)
{
    size_t i = 0;

    while (entities[i] != ent)
        i++;
    WEIR_ASSERT(i < ENTITY_KINDS_MAX);
    return i;
}

static int take_entity(void *arg, const struct entity *ent, const struct uuid *id, struct str body,
                       struct err *e)
{
    struct kinds *kinds = arg;

    return append_body(ent, id, body, &kinds->v[kind_of(ent)], e);
}

static void take_kinds(struct kinds *kinds, bool wanted, struct sbuf *out)
{
    for (size_t i = 0; i < ENTITY_KINDS_MAX; i++) {
        if (wanted)
            sbuf_addstr(out, sbuf_str(&kinds->v[i]));
        sbuf_free(&kinds->v[i]);
    }
}

int records_of_text(struct str text, struct sbuf *out, struct decl_errors *errs)
{
    struct kinds kinds = {0};
    int rc = decl_read_to(text, take_entity, &kinds, errs);

    take_kinds(&kinds, rc == 0, out);
    return rc;
}

int records_of_file(const char *path, struct sbuf *out, struct decl_errors *errs)
{
    struct kinds kinds = {0};
    int rc = decl_read_file_to(path, take_entity, &kinds, errs);

    take_kinds(&kinds, rc == 0, out);
    return rc;
}
