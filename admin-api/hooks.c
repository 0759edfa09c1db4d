#include "admin-api/hooks.h"

#include <stdlib.h>

static const struct hooks hooks_none = {0};

/* CA certificates are named in an array, which the database cannot check. */
static int need_cas(struct txn *t, const json_t *ids, const char *field, struct problem *p)
{
    const json_t *id;
    size_t i;

    json_array_foreach(ids, i, id)
    {
        struct row_ref ref = {0};
        json_t *row = NULL;
        int found = 0;

        if (uuid_parse(json_str(id), &ref.id))
            found = txn_get(t, &entity_ca_certificates, &ref, &row, p);
        json_decref(row);
        if (found == 0)
            found = problem_set(p, PROBLEM_FOREIGN_KEY, json_pack("{s:{s:O}}", field, "id", id),
                                "the foreign key '{id=\"%s\"}' does not reference an existing "
                                "'ca_certificates' entity.",
                                json_string_value(id));
        if (found < 0)
            return -1;
    }
    return 0;
}

/* When data planes look at its ca_certificates: what they lack then, they refuse. */
static int service_check(struct txn *t, const json_t *given, json_t *doc, struct problem *p)
{
    (void)given;
    if (!json_is_true(json_object_get(doc, "enabled")) || !json_is_true(json_object_get(doc, "tls_verify")))
        return 0;
    return need_cas(t, json_object_get(doc, "ca_certificates"), "ca_certificates", p);
}

static int route_check(struct txn *t, const json_t *given, json_t *doc, struct problem *p)
{
    (void)given;
    return need_cas(t, json_object_get(doc, "tls_client_ca_certificates"), "tls_client_ca_certificates", p);
}

/* Arrays of ids of CA certificates. */
static const struct {
    const struct entity *ent;
    const char *field;
} ca_lists[] = {
    {&entity_services, "ca_certificates"},
    {&entity_routes, "tls_client_ca_certificates"},
};

static bool names_id(const json_t *list, const char *id)
{
    const json_t *item;
    size_t i;

    json_array_foreach(list, i, item) if (strcmp(json_string_value(item), id) == 0) return true;
    return false;
}

/* 1 with p: a row of ent names the id in its list; 0; -1 with p. */
static int find_ca_user(struct txn *t, const struct entity *ent, const char *field, const char *id,
                        struct problem *p)
{
    struct page_query q = {.size = 1000};
    char *offset = NULL;
    int found = 0;

    do {
        char *next = NULL;
        json_t *rows = NULL;
        const json_t *row;
        size_t i;

        q.offset = offset ? str_of(offset) : STR_NONE;
        found = txn_page(t, ent, &q, &rows, &next, p);
        free(offset);
        offset = next;
        json_array_foreach(rows, i, row)
        {
            if (found != 0 || !names_id(json_object_get(row, field), id))
                continue;
            found = 1;
            problem_set(p, PROBLEM_REFERENCED, NULL,
                        "ca certificate %s is still referenced by %s (id = %s)", id, ent->name,
                        json_string_value(json_object_get(row, "id")));
        }
        json_decref(rows);
    } while (offset && found == 0);
    free(offset);
    return found;
}

static int ca_leaving(struct txn *t, const struct uuid *id, struct problem *p)
{
    char text[UUID_TEXT_LEN + 1];

    uuid_format(id, text);
    for (size_t i = 0; i < ARRAY_LEN(ca_lists); i++)
        if (find_ca_user(t, ca_lists[i].ent, ca_lists[i].field, text, p) != 0)
            return -1;
    return 0;
}

static const struct hooks hooks_ca_certificates = {
    .ent = &entity_ca_certificates,
    .leaving = ca_leaving,
};
static const struct hooks hooks_consumers = {
    .ent = &entity_consumers,
    .find_by = "custom_id",
};
static const struct hooks hooks_plugins = {
    .ent = &entity_plugins,
    .patch_needs = "name", /* the reference cannot choose the config's table without it */
};
static const struct hooks hooks_routes = {
    .ent = &entity_routes,
    .check = route_check,
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
    &hooks_ca_certificates, &hooks_certificates, &hooks_consumers, &hooks_plugins,
    &hooks_routes,          &hooks_services,     &hooks_snis,      &hooks_targets,
};

const struct hooks *hooks_of(const struct entity *ent)
{
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (all[i]->ent == ent)
            return all[i];
    return &hooks_none;
}
