/*
 * correlation_id.c - behaviour of the plugin correlation-id: a header that names a request
 * through everything it passes. What the client sent is kept.
 */
#include "common/plugins/correlation_id.h"

#include <stdlib.h>
#include <unistd.h>

#include "common/clock.h"
#include "dataplane/plugin.h"

/* One per worker: each counts under a name of its own, so nothing is shared. */
static struct sequence {
    _Alignas(64) char uuid[UUID_TEXT_LEN + 1];
    uint64_t last;
} * sequences;

static int init(unsigned n_workers, struct err *e)
{
    sequences = aligned_alloc(_Alignof(struct sequence), n_workers * sizeof(*sequences));
    if (!sequences)
        return err_set(e, ERR_LIMIT, "no memory for %u workers", n_workers);
    for (unsigned i = 0; i < n_workers; i++) {
        struct uuid id = uuid_v4();

        uuid_format(&id, sequences[i].uuid);
        sequences[i].last = 0;
    }
    return 0;
}

static void fini(void)
{
    free(sequences);
    sequences = NULL;
}

static struct str generate_uuid(struct exchange *x)
{
    struct uuid id = uuid_v4();
    char text[UUID_TEXT_LEN + 1];

    uuid_format(&id, text);
    return plugin_str(x, str_n(text, UUID_TEXT_LEN));
}

static struct str generate_uuid_counter(struct exchange *x)
{
    struct sequence *s = &sequences[plugin_worker(x)];

    return plugin_printf(x, "%s#%llu", s->uuid, (unsigned long long)++s->last);
}

/* address-port-pid-connection-requests-time: where and when it came in. */
static struct str generate_tracker(struct exchange *x)
{
    uint64_t now_us = clock_wall_us();

    return plugin_printf(x, STR_FMT "-%u-%d-%llu-%u-%llu.%03u", STR_ARG(x->local_ip), x->local_port,
                         (int)getpid(), (unsigned long long)x->connection, x->connection_requests,
                         (unsigned long long)(now_us / 1000000), (unsigned)(now_us / 1000 % 1000));
}

static struct str (*const generators[])(struct exchange *) = {
    [CORRELATION_UUID] = generate_uuid,
    [CORRELATION_UUID_COUNTER] = generate_uuid_counter,
    [CORRELATION_TRACKER] = generate_tracker,
};

static enum verdict on_access(struct exchange *x, const void *conf_)
{
    const struct correlation_id_conf *conf = conf_;

    if (conf->header_name.p && plugin_header(x, conf->header_name).len == 0)
        plugin_header_set(x, conf->header_name, generators[conf->generator](x));
    return V_NEXT;
}

static void on_header_filter(struct exchange *x, const void *conf_)
{
    const struct correlation_id_conf *conf = conf_;
    struct str id = conf->header_name.p ? plugin_header(x, conf->header_name) : STR_NONE;

    if (conf->echo_downstream && id.len)
        plugin_resp_header_set(x, conf->header_name, id);
}

const struct plugin_ops plugin_correlation_id = {
    .contract = &contract_correlation_id,
    .init = init,
    .fini = fini,
    .on_access = on_access,
    .on_header_filter = on_header_filter,
};
