/* tags.c - which entities carry which tag: a view, not an entity. */
#include <stdlib.h>

#include "admin-api/admin.h"
#include "admin-api/rows.h"

enum outcome tags_any(struct call *c)
{
    static const char refused[] = "does not support insert/upsert/update/delete operations";
    struct page_query q = {0};
    struct problem p = {0};
    struct page_span span;
    json_t *rows = NULL;
    char *offset = NULL;
    enum outcome done;

    if (c->method != M_GET && c->method != M_HEAD)
        problem_set(&p, PROBLEM_SCHEMA, json_pack("{s:s}", "tags", refused),
                    "schema violation (tags: %s)", refused);
    if (p.kind != PROBLEM_NONE || page_span_parse(c, false, &span, &p) != 0)
        return reply_problem(c, &p);
    q.size = span.size;
    q.offset = span.offset;
    if (store_tags(c->admin->store, c->n_seg > 1 ? c->seg[1].text : STR_NONE, &q, &rows, &offset,
                   &p) != 0)
        return reply_problem(c, &p);
    done = page_reply(c, rows, offset, &span, false);
    free(offset);
    return done;
}
