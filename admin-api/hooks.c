#include "admin-api/hooks.h"

static const struct hooks hooks_none = {0};

static const struct hooks hooks_consumers = {
    .ent = &entity_consumers,
    .find_by = "custom_id",
};
static const struct hooks hooks_plugins = {
    .ent = &entity_plugins,
    .patch_needs = "name", /* the reference cannot choose the config's table without it */
};
static const struct hooks hooks_snis = {
    .ent = &entity_snis,
    .no_links = true,
};

static const struct hooks *const all[] = {
    &hooks_certificates, &hooks_consumers, &hooks_plugins, &hooks_snis, &hooks_targets,
};

const struct hooks *hooks_of(const struct entity *ent)
{
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (all[i]->ent == ent)
            return all[i];
    return &hooks_none;
}
