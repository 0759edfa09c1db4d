/*
 * registry.h - the behaviours of plugins.def: found by name when a configuration is
 * compiled, started and ended with the process.
 */
#ifndef DATAPLANE_PLUGINS_REGISTRY_H
#define DATAPLANE_PLUGINS_REGISTRY_H

#include "dataplane/plugin.h"

/* In the order of plugins.def, highest priority first; NULL-terminated. */
extern const struct plugin_ops *const plugin_list[];

/* NULL: this data plane does not have it. */
const struct plugin_ops *plugin_ops_by_name(struct str name);

/*
 * Calls every plugin's init, before workers start; on failure the ones already started are
 * ended. node: what plugin_node_id gives. Asserts that every callback's phase is in its
 * plugin's contract, without which it would never run.
 */
int plugins_init(unsigned n_workers, const struct uuid *node, struct err *e) WEIR_MUSTCHECK;
void plugins_fini(void); /* after the workers have ended */

#endif
