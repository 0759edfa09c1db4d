/* plugins.c - one plugin bound to a route, a service, a consumer, or to everything. */
#include <pthread.h>

#include "common/entities/fields.h"
#include "common/plugins/contract.h"
#include "common/schema_priv.h"

/* clang-format off */
static const struct field fields[] = {
    F_ID(struct plugin),
    F_STR(struct plugin, name, 2, .flags = FF_REQUIRED, .doc = "Which plugin it is."),
    F_STR(struct plugin, instance_name, 3, .flags = FF_UNIQUE, .check = check_utf8_name,
          .doc = "Unique name of this row; may stand for the id in paths."),
    F_CREATED_AT(struct plugin, 4),
    F_UPDATED_AT(struct plugin, 5),
    F_FOREIGN(struct plugin, route, 6, .flags = FF_DFLT_NULL, .reference = "routes", .on_delete = FK_CASCADE,
              .doc = "Runs for this route only."),
    F_FOREIGN(struct plugin, service, 7, .flags = FF_DFLT_NULL, .reference = "services", .on_delete = FK_CASCADE,
              .doc = "Runs for this service only."),
    F_FOREIGN(struct plugin, consumer, 8, .flags = FF_DFLT_NULL, .reference = "consumers", .on_delete = FK_CASCADE,
              .doc = "Runs for this consumer only."),
    {.name = "config", .num = 9, .type = FT_SUBRECORD, .off = F_OFF(struct plugin, config, struct str),
     .doc = "What the plugin is told; its table is the plugin's."},
    F_SET(struct plugin, protocols, 10, .flags = FF_REQUIRED, .dflt = "[\"grpc\",\"grpcs\",\"http\",\"https\"]",
          .elem = ELEM(.type = FT_STRING, .one_of = protocol_words), .doc = "Protocols it runs for."),
    F_BOOL(struct plugin, enabled, 11, .flags = FF_REQUIRED, .dflt = "true", .doc = "Whether it runs."),
    F_TAGS(struct plugin, 12),
    F_END
};
/* clang-format on */

/* ---- what each plugin changes in the table: made of its contract, once ---- */

#define PLUGINS_MAX 128

struct plugin_schema {
    struct subschema schema;
    struct field fields[6]; /* consumer, service, route, protocols, config, end */
    struct field elem;
    const char *words[PROTO_COUNT + 1];
    char dflt[128];
};

static struct plugin_schema schemas[PLUGINS_MAX];
static pthread_once_t schemas_once = PTHREAD_ONCE_INIT;

static void allow_protocols(struct plugin_schema *s, struct field *f,
                            const struct plugin_contract *c)
{
    size_t n = 0, len = 0;

    for (size_t i = 0; i < PROTO_COUNT; i++) {
        if (c->protocols & 1u << i)
            s->words[n++] = protocol_words[i];
    }
    s->dflt[len++] = '[';
    for (size_t i = 0; i < PROTO_COUNT; i++) {
        if (c->protocols_default & 1u << i) {
            int wrote = snprintf(s->dflt + len, sizeof(s->dflt) - len, "%s\"%s\"",
                                 len > 1 ? "," : "", protocol_words[i]);
            len += (size_t)wrote;
            WEIR_ASSERT(len + 2 <= sizeof(s->dflt));
        }
    }
    s->dflt[len] = ']';
    s->elem = (struct field){.type = FT_STRING, .one_of = s->words};
    *f = *field_find(fields, STR("protocols"));
    f->elem = &s->elem;
    f->dflt = s->dflt;
}

static void make_schema(struct plugin_schema *s, const struct plugin_contract *c)
{
    static const struct {
        const char *name;
        enum plugin_scope scope;
    } scopes[] = {{"consumer", SCOPE_CONSUMER}, {"service", SCOPE_SERVICE}, {"route", SCOPE_ROUTE}};
    struct field *f = s->fields;

    for (size_t i = 0; i < ARRAY_LEN(scopes); i++) {
        if (c->scopes & scopes[i].scope)
            continue;
        *f = *field_find(fields, str_of(scopes[i].name));
        f->on_delete = FK_RESTRICT; /* not printed for a scope that is closed */
        f->flags = FF_NULL_ONLY;
        f++;
    }
    allow_protocols(s, f++, c);
    *f = *field_find(fields, STR("config"));
    f->flags = FF_REQUIRED;
    f->fields = c->fields;
    f->checks = c->config_checks;
    s->schema = (struct subschema){s->fields, c->checks};
}

static void make_schemas(void)
{
    for (size_t i = 0; plugin_contracts[i]; i++) {
        WEIR_ASSERT(i < PLUGINS_MAX);
        make_schema(&schemas[i], plugin_contracts[i]);
    }
}

const struct subschema *plugin_subschema(const struct plugin_contract *c)
{
    pthread_once(&schemas_once, make_schemas);
    for (size_t i = 0; plugin_contracts[i]; i++) {
        if (plugin_contracts[i] == c)
            return &schemas[i].schema;
    }
    return NULL;
}

static const struct subschema *subschema(const struct val *key, struct err *e)
{
    struct str name = val_text(key);
    const struct plugin_contract *c = name.p ? plugin_contract_by_name(name) : NULL;

    if (c)
        return plugin_subschema(c);
    if (name.p)
        err_set(e, ERR_INVALID,
                "plugin '" STR_FMT "' not enabled; add it to the 'plugins' configuration property",
                STR_ARG(name));
    else
        err_set(e, ERR_INVALID, "expected a string");
    return NULL;
}

const struct entity entity_plugins = {
    .name = "plugins",
    .singular = "plugin",
    .type = ET_PLUGIN,
    .path = "/plugins",
    .endpoint_key = "instance_name",
    .cache_key = LIST("name", "route", "service", "consumer"),
    .fields = fields,
    .struct_size = sizeof(struct plugin),
    .subschema = subschema,
    .subschema_key = "name",
    .doc = "Plugins that run for a route, a service, a consumer, or for every request.",
};
