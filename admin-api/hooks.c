#include "admin-api/hooks.h"

static const struct hooks hooks_none = {0};

/* Whether data planes look at its ca_certificates: what they lack then, they refuse. */
static bool service_verifies(const json_t *doc)
{
    return json_is_true(json_object_get(doc, "enabled")) &&
           json_is_true(json_object_get(doc, "tls_verify"));
}

/* CA certificates are named in an array, which the database cannot check. */
static int service_check(struct txn *t, const json_t *given, json_t *doc, struct problem *p)
{
    const struct entity *ent = entity_by_name(STR("ca_certificates"));
    const json_t *id;
    size_t i;

    (void)given;
    if (!service_verifies(doc))
        return 0;
    json_array_foreach(json_object_get(doc, "ca_certificates"), i, id)
    {
        struct row_ref ref = {0};
        json_t *row = NULL;
        int found = 0;

        if (ent && uuid_parse(json_str(id), &ref.id))
            found = txn_get(t, ent, &ref, &row, p);
        json_decref(row);
        if (found == 0)
            found = problem_set(p, PROBLEM_FOREIGN_KEY,
                                json_pack("{s:{s:O}}", "ca_certificates", "id", id),
                                "the foreign key '{id=\"%s\"}' does not reference an existing "
                                "'ca_certificates' entity.",
                                json_string_value(id));
        if (found < 0)
            return -1;
    }
    return 0;
}

static const struct hooks hooks_consumers = {
    .ent = &entity_consumers,
    .find_by = "custom_id",
};
static const struct hooks hooks_plugins = {
    .ent = &entity_plugins,
    .patch_needs = "name", /* the reference cannot choose the config's table without it */
};
static const struct hooks hooks_services = {
    .ent = &entity_services,
    .check = service_check,
};
static const struct hooks hooks_snis = {
    .ent = &entity_snis,
    .no_links = true,
};

static const struct hooks *const all[] = {
    &hooks_certificates, &hooks_consumers, &hooks_plugins,
    &hooks_services,     &hooks_snis,      &hooks_targets,
};

const struct hooks *hooks_of(const struct entity *ent)
{
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (all[i]->ent == ent)
            return all[i];
    return &hooks_none;
}
