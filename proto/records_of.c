/* records_of.c - see records_of.h. */
#include "proto/records_of.h"

static int append_entity(const struct entity *ent, const char *id, const json_t *doc,
                         struct sbuf *out, struct state_hash *hash, struct err *e)
{
    struct record r = {.op = REC_PUT, .type = ent->type};
    struct sbuf body = {0};
    int rc = -1;

    if (!uuid_parse(str_of(id), &r.key)) {
        err_set(e, ERR_INVALID, "expected a UUID as id");
    } else if (record_encode(ent, doc, &body, e) == 0) {
        r.body = sbuf_str(&body);
        if (body.len > RECORD_BODY_MAX) {
            err_set(e, ERR_LIMIT, "expected at most %u bytes in one entity", RECORD_BODY_MAX);
        } else {
            record_append(out, &r);
            state_hash_add(hash, r.type, &r.key, r.body);
            rc = 0;
        }
    }
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
