/* contracts.c - the list of all plugins, and lookup in it. */
#include "common/entities.h"
#include "common/plugins/contract.h"
#include "common/schema_priv.h"

#define PLUGIN(symbol) extern const struct plugin_contract contract_##symbol;
#include "common/plugins/plugins.def"
#undef PLUGIN

const struct plugin_contract *const plugin_contracts[] = {
#define PLUGIN(symbol) &contract_##symbol,
#include "common/plugins/plugins.def"
#undef PLUGIN
    NULL,
};

const struct plugin_contract *plugin_contract_by_name(struct str name)
{
    for (size_t i = 0; plugin_contracts[i]; i++) {
        if (str_eq(name, str_of(plugin_contracts[i]->name)))
            return plugin_contracts[i];
    }
    return NULL;
}

json_t *plugin_contract_describe(const struct plugin_contract *c)
{
    const struct subschema *sub = plugin_subschema(c);

    return describe_shape(sub->fields, sub->checks);
}
