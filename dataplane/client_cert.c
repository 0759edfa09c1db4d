/*
 * client_cert.c - certificates of clients, as requests see them: what a route or the listener
 * demands, and what plugins may know. The handshake's part is in tls/client_cert.c.
 */
#include "dataplane/plugin.h"
#include "dataplane/tls/options.h"
#include "dataplane/xio.h"

/* What the route says, else the setting, which is of TLS listeners alone. NULL: nothing. */
static const struct client_policy *policy_of(const struct exchange *x)
{
    const struct c_route *route = x->match.route;

    if (route && route->def.tls_verify_client >= 0)
        return config_route_client_policy(x->config, &route->def.id);
    return x->io->c->io.ssl ? tls_options->client_policy : NULL; /* TLS that passes through is not ours */
}

static enum client_cert_state judge(const struct exchange *x, const struct client_policy *p)
{
    SSL *ssl = x->io->c->io.ssl;

    return p ? client_policy_judge(p, ssl) : tls_client_cert(ssl);
}

bool exchange_client_cert(struct exchange *x)
{
    const struct client_policy *p = policy_of(x);

    if (likely(!p) || p->mode == VERIFY_CLIENT_OFF || p->mode == VERIFY_CLIENT_OPTIONAL_NO_CA)
        return true;
    switch (judge(x, p)) {
    case CLIENT_CERT_VERIFIED: return true;
    case CLIENT_CERT_NONE:
        if (p->mode == VERIFY_CLIENT_OPTIONAL)
            return true;
        exchange_error(x, 400, "No required SSL certificate was sent");
        return false;
    case CLIENT_CERT_FAILED: exchange_error(x, 400, "The SSL certificate error"); return false;
    }
    WEIR_UNREACHABLE("state of a client certificate");
}

enum client_cert_state plugin_client_cert(struct exchange *x)
{
    return judge(x, policy_of(x));
}

struct str plugin_client_cert_part(struct exchange *x, enum client_cert_part part)
{
    return tls_client_cert_part(x->io->c->io.ssl, part, &x->arena);
}
