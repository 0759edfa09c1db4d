/*
 * ip_restriction.c - behaviour of the plugin ip-restriction: lets clients in by their address.
 * What deny has is refused; then, when there is an allow list, what that does not have.
 */
#include "common/plugins/ip_restriction.h"

#include <stdio.h>
#include <stdlib.h>

#include "dataplane/plugin.h"
#include "dataplane/plugins/ip_set.h"

struct prepared {
    struct ip_set *allow, *deny; /* NULL: no such list */
    unsigned status;
    char *message; /* NULL: the one that names the address */
};

static void unprepare(void *prepared)
{
    struct prepared *p = prepared;

    ip_set_free(&p->allow);
    ip_set_free(&p->deny);
    free(p->message);
    free(p);
}

/* An empty list is none. */
static int prepare_list(struct list list, const char *name, struct ip_set **out, struct err *e)
{
    struct ip_network *networks = xcalloc(list.n + 1, sizeof(*networks));
    char step[32];
    size_t i;

    for (i = 0; i < list.n; i++)
        if (!ip_network_parse(LIST_AT(list, struct str, i), &networks[i]))
            break;
    if (i == list.n && i > 0)
        *out = ip_set_new(networks, i);
    free(networks);
    if (i == list.n)
        return 0;
    err_set(e, ERR_INVALID, "invalid ip or cidr range: '" STR_FMT "'", STR_ARG(LIST_AT(list, struct str, i)));
    snprintf(step, sizeof(step), "%s.%zu", name, i + 1);
    return err_in(e, step);
}

static int prepare(const void *conf_, void **prepared_out, struct err *e)
{
    const struct ip_restriction_conf *conf = conf_;
    struct prepared *p = xcalloc(1, sizeof(*p));

    /* The schema lets any number through; only a status can be sent. */
    p->status = conf->status >= 200 && conf->status <= 599 ? (unsigned)conf->status : 403;
    p->message = conf->message.p ? str_dup(conf->message) : NULL;
    if (prepare_list(conf->allow, "allow", &p->allow, e) != 0 ||
        prepare_list(conf->deny, "deny", &p->deny, e) != 0) {
        unprepare(p);
        return -1;
    }
    *prepared_out = p;
    return 0;
}

static enum verdict on_access(struct exchange *x, const void *conf)
{
    const struct prepared *p = plugin_prepared(x);

    (void)conf;
    if (!(p->deny && ip_set_has(p->deny, x->client_addr)) &&
        (!p->allow || ip_set_has(p->allow, x->client_addr)))
        return V_NEXT;
    return plugin_error(
        x, p->status,
        p->message ? p->message
                   : plugin_printf(x, "IP address not allowed: " STR_FMT, STR_ARG(x->client_ip)).p);
}

const struct plugin_ops plugin_ip_restriction = {
    .contract = &contract_ip_restriction,
    .prepare = prepare,
    .unprepare = unprepare,
    .on_access = on_access,
};
