/* registry.c - see registry.h. */
#include "dataplane/plugins/registry.h"

#define PLUGIN(symbol) extern const struct plugin_ops plugin_##symbol;
#include "common/plugins/plugins.def"
#undef PLUGIN

const struct plugin_ops *const plugin_list[] = {
#define PLUGIN(symbol) &plugin_##symbol,
#include "common/plugins/plugins.def"
#undef PLUGIN
    NULL,
};

static char node_id[UUID_TEXT_LEN + 1];

struct str plugin_node_id(void)
{
    return str_of(node_id);
}

const struct plugin_ops *plugin_ops_by_name(struct str name)
{
    for (size_t i = 0; plugin_list[i]; i++)
        if (str_eq(str_of(plugin_list[i]->contract->name), name))
            return plugin_list[i];
    return NULL;
}

static void check(const struct plugin_ops *p)
{
    unsigned phases = p->contract->phases;

    WEIR_ASSERT(!p->on_rewrite || phases & PH_BIT(PH_REWRITE));
    WEIR_ASSERT(!p->on_access || phases & PH_BIT(PH_ACCESS));
    WEIR_ASSERT(!p->on_header_filter || phases & PH_BIT(PH_HEADER_FILTER));
    WEIR_ASSERT(!p->on_body_filter || phases & PH_BIT(PH_BODY_FILTER));
    WEIR_ASSERT(!p->on_log || phases & PH_BIT(PH_LOG));
    WEIR_ASSERT(!p->prepare || p->unprepare);
}

static void fini_first(size_t n)
{
    while (n-- > 0)
        if (plugin_list[n]->fini)
            plugin_list[n]->fini();
}

int plugins_init(unsigned n_workers, const struct uuid *node, struct err *e)
{
    size_t i;

    uuid_format(node, node_id);
    for (i = 0; plugin_list[i]; i++) {
        check(plugin_list[i]);
        if (plugin_list[i]->init && plugin_list[i]->init(n_workers, e) != 0) {
            fini_first(i);
            return err_in(e, plugin_list[i]->contract->name);
        }
    }
    return 0;
}

void plugins_fini(void)
{
    fini_first(ARRAY_LEN(plugin_list) - 1);
}
