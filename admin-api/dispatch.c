/* dispatch.c - from a request to its handler: methods, OPTIONS, bodies. */
#include "admin-api/admin.h"
#include "admin-api/body.h"
#include "admin-api/hooks.h"
#include "admin-api/rows.h"

static enum outcome (*const crud_by_place[])(struct call *c) = {
    [PLACE_COLLECTION] = crud_collection,
    [PLACE_ENTITY] = crud_entity,
    [PLACE_CHILDREN] = crud_children,
    [PLACE_CHILD] = crud_child,
    [PLACE_LINK] = crud_link,
};

static enum outcome reply_options(struct call *c, unsigned methods)
{
    char list[80];

    methods_list(methods, list, sizeof(list));
    reply_empty(c, 204);
    reply_header(c, "Allow", "%s", list);
    reply_header(c, "Access-Control-Allow-Methods", "%s", list);
    if (c->cors_headers.p)
        reply_header(c, "Access-Control-Allow-Headers", STR_FMT, STR_ARG(c->cors_headers));
    else
        reply_header(c, "Access-Control-Allow-Headers", "Content-Type");
    return CALL_DONE;
}

static enum outcome wrong_method(struct call *c)
{
    return reply_message(c, 405, "Method not allowed");
}

/* Entities that are found by another's name say so to OPTIONS too. False: c is answered. */
static bool first_name_leads_somewhere(struct call *c)
{
    const struct entity *first = c->at.owner ? c->at.owner : c->at.ent;
    const struct source src = source_store(c->admin->store);
    struct problem p = {0};
    struct row_ref ref;
    int found;

    if (c->n_seg < 2 || !first || !hooks_of(first)->by_name)
        return true;
    found = row_ref_parse(c, &src, first, c->seg[1].text, &ref, &p);
    if (found < 0)
        reply_problem(c, &p);
    return found > 0;
}

enum outcome admin_dispatch(struct call *c)
{
    c->at = router_find(c->seg, c->n_seg);
    if (c->at.place == PLACE_NONE)
        return reply_not_found(c);
    if (c->method == M_OTHER || !(c->at.methods & MBIT(c->method)))
        return wrong_method(c);
    if (c->method == M_OPTIONS)
        return first_name_leads_somewhere(c) ? reply_options(c, c->at.methods) : CALL_DONE;
    if (MBIT(c->method) & (MBIT(M_POST) | MBIT(M_PUT) | MBIT(M_PATCH)) && !body_read(c))
        return CALL_DONE;
    if (c->at.place == PLACE_SPECIAL)
        return c->at.special->handle(c);
    return crud_by_place[c->at.place](c);
}

/* ---- the status listener: three paths, read only ---- */

enum outcome status_dispatch(struct call *c)
{
    static const struct {
        struct str path;
        enum outcome (*get)(struct call *c);
    } places[] = {
        {{"/status", 7}, status_get},
        {{"/status/ready", 13}, ready_get},
        {{"/metrics", 8}, metrics_get},
    };

    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        if (!str_eq(c->path, places[i].path))
            continue;
        if (c->method == M_OPTIONS)
            return reply_options(c, METHODS_READ);
        return c->method == M_GET || c->method == M_HEAD ? places[i].get(c) : wrong_method(c);
    }
    return reply_not_found(c);
}
