/* http2_up.c - HTTP/2 towards upstreams: not spoken yet. */
#include "dataplane/codec/http2.h"

#include <errno.h>

struct uconn *http2_open(struct worker *w, const struct address *addr, uint16_t port, SSL_CTX *tls,
                         struct str sni, bool *reused)
{
    (void)w, (void)addr, (void)port, (void)tls, (void)sni;
    *reused = false;
    errno = EPROTONOSUPPORT;
    return NULL;
}

const struct up_codec up_http2;
