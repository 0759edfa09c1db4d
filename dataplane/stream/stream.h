/*
 * stream/stream.h - a client of the stream proxy (layer 4): bytes both ways, TCP or TLS.
 *
 *   plain listener   routed by addresses at once
 *   ssl listener     the ClientHello is looked at; its route says whether TLS ends here
 *                    ("tls", then it is routed once more) or passes through ("tls_passthrough")
 *
 * What follows is an exchange as any other (codec/raw.c, exchange_stream.c): plugins, target,
 * tries, log.
 */
#ifndef DATAPLANE_STREAM_STREAM_H
#define DATAPLANE_STREAM_STREAM_H

#include "dataplane/conn.h"

/* c has just been accepted, and its PROXY header taken if one was due. */
void stream_begin(struct conn *c);

#endif
