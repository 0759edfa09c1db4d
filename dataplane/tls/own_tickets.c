/* own_tickets.c - see own_tickets.h. */
#include "dataplane/tls/own_tickets.h"

#include "common/entities.h"
#include "proto/record.h"

static int64_t number(const json_t *key, const char *name)
{
    return json_integer_value(json_object_get(key, name));
}

static void append(const json_t *key, enum record_op op, struct sbuf *out)
{
    struct record r = {.op = op, .type = ET_TLS_TICKET_KEY};
    struct sbuf body = {0};
    bool ok = uuid_parse(json_str(json_object_get(key, "id")), &r.key);

    if (op == REC_PUT)
        ok = ok && record_encode(&entity_tls_ticket_keys, key, &body, NULL) == 0;
    WEIR_ASSERT(ok); /* a document of ours */
    r.body = sbuf_str(&body);
    record_append(out, &r);
    if (body.p)
        explicit_bzero(body.p, body.len);
    sbuf_free(&body);
}

static int64_t newest_made(const struct own_tickets *o)
{
    return o->n ? number(o->keys[o->n - 1], "created_at") : 0;
}

bool own_tickets_rotate(struct own_tickets *o, int64_t now_s, struct sbuf *out)
{
    struct ticket_plan plan = ticket_plan(o->n, newest_made(o), now_s, o->rotation_s);

    for (unsigned i = 0; i < plan.drop; i++) {
        append(o->keys[0], REC_DELETE, out);
        json_decref(o->keys[0]);
        memmove(&o->keys[0], &o->keys[1], --o->n * sizeof(o->keys[0]));
    }
    for (unsigned i = 0; i < plan.add; i++) {
        o->keys[o->n] = ticket_key_new(o->n ? number(o->keys[o->n - 1], "serial") + 1 : 1);
        append(o->keys[o->n++], REC_PUT, out);
    }
    return plan.add > 0;
}

void own_tickets_all(const struct own_tickets *o, struct sbuf *out)
{
    for (size_t i = 0; i < o->n; i++)
        append(o->keys[i], REC_PUT, out);
}

int64_t own_tickets_wait_s(const struct own_tickets *o, int64_t now_s)
{
    return ticket_wait_s(o->n, newest_made(o), now_s, o->rotation_s);
}

void own_tickets_fini(struct own_tickets *o)
{
    while (o->n)
        json_decref(o->keys[--o->n]);
}
