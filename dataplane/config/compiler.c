/* compiler.c - from records to a version: all or nothing. See config.h. */
#include "dataplane/config/compiler.h"

#include <stdlib.h>

/* ---- the order of plugins ---- */

/* Higher priority first; ties: the name that sorts last. */
static int contract_cmp(const void *a, const void *b)
{
    const struct plugin_contract *x = *(const struct plugin_contract *const *)a;
    const struct plugin_contract *y = *(const struct plugin_contract *const *)b;

    if (x->priority != y->priority)
        return x->priority > y->priority ? -1 : 1;
    return strcmp(y->name, x->name);
}

unsigned compiler_plugin_order(const struct compiler *c, const struct plugin_contract *contract)
{
    for (unsigned i = 0; i < c->n_order; i++)
        if (c->order[i] == contract)
            return i;
    WEIR_UNREACHABLE("a contract outside of plugin_contracts");
}

char *compiler_scratch(struct compiler *c, size_t *size_out)
{
    *size_out = sizeof(c->scratch);
    return c->scratch;
}

size_t *compiler_lists_of(struct compiler *c, const struct entity *ent)
{
    return &c->lists[ent->type];
}

struct compiler *compiler_new(void)
{
    struct compiler *c = xcalloc(1, sizeof(*c));

    while (plugin_contracts[c->n_order])
        c->n_order++;
    c->order = xcalloc(c->n_order + 1u, sizeof(const struct plugin_contract *));
    c->pick = xcalloc(2 * c->n_order + 1u, sizeof(const struct o_plugin *));
    for (unsigned i = 0; i < c->n_order; i++)
        c->order[i] = plugin_contracts[i];
    qsort(c->order, c->n_order, sizeof(const struct plugin_contract *), contract_cmp);
    return c;
}

void compiler_set_flavor(struct compiler *c, enum router_flavor flavor)
{
    c->flavor = flavor;
}

enum router_flavor compiler_flavor(const struct compiler *c)
{
    return c->flavor;
}

void compiler_free(struct compiler **c)
{
    struct compiler *it = *c;

    if (!it)
        return;
    if (it->newest)
        config_release(it, &it->newest);
    client_tls_drop(it);
    free(it->order);
    free(it->pick);
    free(it);
    *c = NULL;
}

/* ---- versions ---- */

static struct config_stats count(const struct roots *r)
{
    return (struct config_stats){
        .routes = r->m[MAP_ROUTES].n,
        .services = r->m[MAP_SERVICES].n,
        .consumers = r->m[MAP_CONSUMERS].n,
        .credentials = r->m[MAP_CREDENTIALS].n,
        .plugins = r->m[MAP_PLUGINS].n,
        .upstreams = r->m[MAP_UPSTREAMS].n,
        .targets = r->m[MAP_TARGETS].n,
        .certificates = r->m[MAP_CERTIFICATES].n,
        .bytes = mem_bytes(),
    };
}

static void build_free(struct build *b)
{
    free(b->routes.v);
    free(b->services.v);
    free(b->consumers.v);
    free(b->upstreams.v);
    free(b->plugged.v);
    for (size_t i = 0; i < ARRAY_LEN(b->rows); i++)
        free(b->rows[i].v);
}

static int apply_records(struct build *b, struct str records, struct err *e)
{
    struct record r;
    int rc;

    while ((rc = record_next(&records, &r, e)) == 1)
        if (row_apply(b, &r, e) != 0)
            return -1;
    return rc;
}

/* done_with (may be NULL): what records lie in, freed before the rest is derived from the rows. */
static int apply(struct compiler *c, bool full, struct str records, struct sbuf *done_with,
                 uint64_t version, struct config **out, struct err *e)
{
    static const struct roots empty;
    struct build b = {.compiler = c, .base = full || !c->newest ? &empty : &c->newest->r};
    struct config *made;
    int rc;

    b.full = b.base == &empty;
    b.r = roots_share(b.base);
    b.r.router.flavor = c->flavor;
    rc = apply_records(&b, records, e);
    if (done_with)
        sbuf_free(done_with);
    if (rc == 0)
        rc = derive(&b, e);
    build_free(&b);
    if (rc != 0) {
        roots_drop(&b.r);
        client_tls_prune(c);
        return -1;
    }
    made = xcalloc(1, sizeof(*made));
    *made = (struct config){.refs = 2, .version = version, .r = b.r, .stats = count(&b.r)};
    if (c->newest)
        config_release(c, &c->newest);
    c->newest = made;
    *out = made;
    return 0;
}

int compiler_apply(struct compiler *c, bool full, struct str records, uint64_t version,
                   struct config **out, struct err *e)
{
    return apply(c, full, records, NULL, version, out, e);
}

int compiler_load(struct compiler *c, struct sbuf *records, uint64_t version, struct config **out,
                  struct err *e)
{
    return apply(c, true, sbuf_str(records), records, version, out, e);
}

void config_release(struct compiler *c, struct config **config)
{
    struct config *it = *config;

    *config = NULL;
    if (!it || --it->refs)
        return;
    roots_drop(&it->r);
    free(it);
    client_tls_prune(c);
}
