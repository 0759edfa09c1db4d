/*
 * tls/client_hello.h - what a TLS client asks for before anything is decrypted: the server's
 * name and the protocols it offers. Bytes in, struct out. No cryptography, no socket, no
 * allocation, never blocks.
 *
 * Source: RFC 8446 sections 4.1.2 and 5.1 (RFC 5246 for older clients), RFC 6066 section 3
 * (server_name), RFC 7301 section 3.1 (ALPN). What is given on is routed by; the handshake itself is
 * judged by whoever ends it.
 */
#ifndef DATAPLANE_TLS_CLIENT_HELLO_H
#define DATAPLANE_TLS_CLIENT_HELLO_H

#include "common/str.h"

#define CLIENT_HELLO_MAX 16384 /* bytes of records that are looked at */

enum hello_result {
    HELLO_MORE,    /* so far it could become one */
    HELLO_OK,
    HELLO_BAD,     /* TLS, but no ClientHello, malformed, or longer than CLIENT_HELLO_MAX */
    HELLO_NOT_TLS, /* some other protocol */
};

struct client_hello {
    struct str server_name; /* as sent, without a dot at its end; p NULL: none */
    struct str alpn;        /* the protocol_name_list: length byte and name, repeated; p NULL: none */
};

/*
 * The ClientHello that a connection begins with; in is all that came so far.
 *
 * HELLO_OK: *out points into in, or into scratch when the message was cut over several records.
 * A name is letters, digits, '-', '_' and dots, 255 bytes at most; anything else, a second name,
 * a second extension of the two, or lengths that do not add up are HELLO_BAD.
 */
enum hello_result client_hello_parse(struct str in, char scratch[CLIENT_HELLO_MAX], struct client_hello *out);

/* Cuts the next name off *alpn. False when none is left. */
bool client_hello_alpn_next(struct str *alpn, struct str *name_out);

#endif
