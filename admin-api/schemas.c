/* schemas.c - the tables themselves, and documents held against them. */
#include "admin-api/admin.h"
#include "admin-api/body.h"
#include "common/plugins/contract.h"

enum outcome schema_get(struct call *c)
{
    const struct entity *ent = entity_by_name(c->seg[1].text);

    if (!ent)
        return reply_message(c, 404, "No entity named '" STR_FMT "'", STR_ARG(c->seg[1].text));
    return reply_json(c, 200, schema_describe(ent));
}

static const struct plugin_contract *find_plugin(struct call *c)
{
    const struct plugin_contract *contract = plugin_contract_by_name(c->seg[2].text);

    if (!contract)
        reply_message(c, 404, "No plugin named '" STR_FMT "'", STR_ARG(c->seg[2].text));
    return contract;
}

enum outcome schema_plugin_get(struct call *c)
{
    const struct plugin_contract *contract = find_plugin(c);

    return contract ? reply_json(c, 200, plugin_contract_describe(contract)) : CALL_DONE;
}

enum outcome schema_plugin_config_get(struct call *c)
{
    const struct plugin_contract *contract = find_plugin(c);
    json_t *whole, *field, *config = NULL;
    size_t i;

    if (!contract)
        return CALL_DONE;
    whole = plugin_contract_describe(contract);
    json_array_foreach(json_object_get(whole, "fields"), i, field)
    {
        if (!config)
            config = json_incref(json_object_get(field, "config"));
    }
    json_decref(whole);
    return config ? reply_json(c, 200, config) : reply_failure(c, "a plugin without config");
}

enum outcome schema_validate_post(struct call *c)
{
    const struct entity *ent = entity_by_name(c->seg[1].text);
    struct problem p = {0};
    struct violations v = {0};
    json_t *doc;
    int rc;

    if (!ent)
        return reply_message(c, 404, "No entity named '" STR_FMT "'", STR_ARG(c->seg[1].text));
    doc = body_document(c, ent, NULL);
    if (!doc)
        return CALL_DONE;
    rc = schema_validate(ent, doc, &v);
    json_decref(doc);
    if (rc == 0)
        return reply_message(c, 200, "schema validation successful");
    problem_from_violations(&p, &v);
    return reply_problem(c, &p);
}
