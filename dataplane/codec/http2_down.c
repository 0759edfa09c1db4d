/* http2_down.c - HTTP/2 towards clients: not spoken yet, so a preface ends the connection. */
#include "dataplane/codec/http2.h"
#include "dataplane/conn.h"

void http2_accept(struct conn *c)
{
    conn_kill(c, CLOSE_PROTOCOL);
}

const struct down_codec down_http2;
