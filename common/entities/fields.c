/* fields.c - see fields.h; and the list of all entities. */
#include "common/entities/fields.h"

const struct entity *const entities[] = {
    &entity_consumers,
    &entity_certificates,
    &entity_services,
    &entity_routes,
    &entity_snis,
    &entity_upstreams,
    &entity_targets,
    &entity_plugins,
    &entity_keyauth_credentials,
    NULL,
};

const char *const protocol_words[] = {
#define X(id, word) word,
    PROTOCOLS(X)
#undef X
        NULL,
};

const struct field elem_string = {.type = FT_STRING};
const struct field elem_tag = {.type = FT_STRING, .flags = FF_REQUIRED, .check = check_tag};
const struct field elem_uuid = {.type = FT_STRING, .flags = FF_UUID};

const struct pattern pattern_empty_segments[] = {
    {.regex = "//", .lua = "//", .err = "must not have empty segments"},
    {.regex = NULL},
};

const char *const router_flavor_words[] = {
#define X(id, word) [id] = word,
    ROUTER_FLAVORS(X)
#undef X
        NULL,
};
