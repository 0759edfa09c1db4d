/* clustering.c - the data planes, as the node registry knows them. */
#include <stdlib.h>

#include "admin-api/admin.h"
#include "admin-api/rows.h"

/*
 * One page of a list that is held in memory: offset is the id of the last row of the page
 * before, and rows are sorted by id.
 */
enum outcome data_planes_get(struct call *c)
{
    struct problem p = {0};
    struct page_span span;
    json_t *all, *rows, *row;
    const char *last = NULL;
    bool more = false;
    size_t i;

    if (page_span_parse(c, false, &span, &p) != 0)
        return reply_problem(c, &p);
    all = nodes_list(c->admin->nodes);
    rows = json_array();
    json_array_foreach(all, i, row)
    {
        struct str id = json_str(json_object_get(row, "id"));

        if (span.offset.p && str_cmp(id, span.offset) <= 0)
            continue;
        if (json_array_size(rows) == span.size) {
            more = true;
            break;
        }
        last = json_string_value(json_object_get(row, "id"));
        json_array_append(rows, row);
    }
    last = more ? arena_strdup(&c->arena, str_of(last)) : NULL;
    json_decref(all);
    return page_reply(c, rows, last, &span, true);
}

enum outcome clustering_status_get(struct call *c)
{
    static const char *const shown[] = {"config_hash", "hostname", "ip", "last_seen"};
    json_t *all = nodes_list(c->admin->nodes), *out = json_object(), *row;
    size_t i;

    json_array_foreach(all, i, row)
    {
        const char *id = json_string_value(json_object_get(row, "id"));
        json_t *brief = json_object();

        for (size_t k = 0; k < ARRAY_LEN(shown); k++)
            json_object_set(brief, shown[k], json_object_get(row, shown[k]));
        json_object_set_new(out, id, brief);
    }
    json_decref(all);
    reply_json(c, 200, out);
    reply_header(c, "Deprecation", "true");
    return CALL_DONE;
}
