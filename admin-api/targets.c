/* targets.c - targets, which exist under their upstream alone, and the health of upstreams. */
#include <stdlib.h>

#include "admin-api/admin.h"
#include "admin-api/hooks.h"
#include "admin-api/rows.h"

/* A bad address is told before anything else that may be wrong, and without quoting it. */
static int before(json_t *in, struct problem *p)
{
    static const char text[] = "Invalid target; not a valid hostname or ip address";
    const json_t *target = json_object_get(in, "target");
    struct problem quoted = {0};

    if (!json_is_string(target) ||
        row_key_check(&entity_targets, "target",
                      json_str(target), &quoted) == 0)
        return 0;
    problem_free(&quoted);
    return problem_set(p, PROBLEM_SCHEMA, json_pack("{s:s}", "target", text),
                       "schema violation (target: %s)", text);
}

const struct hooks hooks_targets = {
    .ent = &entity_targets,
    .no_links = true,
    .newest_first = true,
    .put_updates = true,
    .before = before,
};

/* The upstream of the path. 1 with *doc_out, the caller's; else c is answered. */
static bool find_upstream(struct call *c, json_t **doc_out, struct uuid *id_out)
{
    const struct source src = source_store(c->admin->store);
    struct problem p = {0};
    struct row_ref ref;
    int found = row_ref_parse(c, &src, &entity_upstreams, c->seg[1].text, &ref, &p);

    if (found == 0)
        return false;
    if (found > 0)
        found = store_get(c->admin->store, &entity_upstreams, &ref, doc_out, &p);
    if (found < 0)
        reply_problem(c, &p);
    else if (found == 0)
        reply_not_found(c);
    return found > 0 && row_id(*doc_out, id_out);
}

enum outcome targets_all_get(struct call *c)
{
    json_t *upstream = NULL;
    struct uuid id;

    if (!find_upstream(c, &upstream, &id))
        return CALL_DONE;
    json_decref(upstream);
    return page_rows(c, &entity_targets, "upstream", &id, true);
}

/* ---- health: no check runs on a control plane, so every address counts as usable ---- */

static json_t *weights(int64_t total)
{
    return json_pack("{s:I, s:I, s:i}", "total", (json_int_t)total, "available", (json_int_t)total,
                     "unavailable", 0);
}

static json_t *host_data(const json_t *row)
{
    struct str target = json_str(json_object_get(row, "target"));
    int64_t weight = json_integer_value(json_object_get(row, "weight"));
    size_t colon = target.len;
    uint64_t port = 0;

    while (colon > 0 && target.p[colon - 1] != ':')
        colon--;
    if (colon == 0 || !str_to_u64(str_n(target.p + colon, target.len - colon), &port))
        return json_null();
    return json_pack("{s:s%, s:I, s:s, s:I, s:o, s:[]}", "host", target.p, colon - 1, "port",
                     (json_int_t)port, "dns", "A", "nodeWeight", (json_int_t)weight, "weight",
                     weights(weight), "addresses");
}

static json_t *node_id(const struct call *c)
{
    char text[UUID_TEXT_LEN + 1];

    uuid_format(&c->admin->node_id, text);
    return json_string(text);
}

static enum outcome balancer_health(struct call *c, const json_t *upstream, const json_t *rows)
{
    json_t *hosts = json_array();
    int64_t total = 0;
    const char *state;
    size_t i;
    json_t *row;

    json_array_foreach(rows, i, row)
    {
        total += json_integer_value(json_object_get(row, "weight"));
        json_array_append_new(hosts, host_data(row));
    }
    state = total > 0 ? "HEALTHY" : "UNHEALTHY";
    return reply_json(c, 200,
                      json_pack("{s:{s:O, s:s, s:s, s:{s:b, s:o, s:o}}, s:n, s:o}", "data", "id",
                                json_object_get(upstream, "id"), "health", "HEALTHCHECKS_OFF",
                                "balancer_health", state, "details", "healthy", total > 0, "weight",
                                weights(total), "hosts", hosts, "next", "node_id", node_id(c)));
}

static enum outcome health_page(struct call *c, const json_t *rows, const char *offset,
                                const struct page_span *span)
{
    const struct source src = source_store(c->admin->store);
    struct problem p = {0};
    json_t *out = json_array(), *body, *row;
    size_t i;

    json_array_foreach(rows, i, row)
    {
        json_t *shown = row_answer(&src, &entity_targets, row, &p);

        if (!shown) {
            json_decref(out);
            return reply_problem(c, &p);
        }
        json_object_set_new(shown, "health", json_string("HEALTHCHECKS_OFF"));
        json_object_set_new(shown, "data", host_data(row));
        json_array_append_new(out, shown);
    }
    body = page_body(c, out, offset, span, false);
    json_object_set_new(body, "node_id", node_id(c));
    return reply_json(c, 200, body);
}

enum outcome upstream_health_get(struct call *c)
{
    bool whole = str_eq(call_arg(c, "balancer_health"), STR("1"));
    struct problem p = {0};
    json_t *upstream = NULL, *rows = NULL;
    struct page_span span;
    struct page_query q = {.parent_field = "upstream", .newest_first = true};
    char *offset = NULL;
    enum outcome done;

    if (!find_upstream(c, &upstream, &q.parent))
        return CALL_DONE;
    if (page_span_parse(c, false, &span, &p) != 0) {
        json_decref(upstream);
        return reply_problem(c, &p);
    }
    q.size = span.size;
    q.offset = span.offset;
    if (store_page(c->admin->store, &entity_targets, &q, &rows, &offset, &p) != 0) {
        done = reply_problem(c, &p);
    } else if (whole) {
        done = balancer_health(c, upstream, rows);
    } else {
        done = health_page(c, rows, offset, &span);
    }
    free(offset);
    json_decref(rows);
    json_decref(upstream);
    return done;
}
