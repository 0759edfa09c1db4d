/*
 * addresses.h - how many connections each client address has open, over all workers: only
 * kept where client_max_connections_per_address asks for it.
 *
 * Touched when a connection is accepted and closed, never during a request. Threads: any; a
 * call takes one of 64 locks, for a hash lookup.
 */
#ifndef DATAPLANE_ADDRESSES_H
#define DATAPLANE_ADDRESSES_H

#include <stdbool.h>

/*
 * One more for addr (16 bytes, IPv4 mapped; of IPv6 the first 64 bits are one client).
 * False: it has max already, and nothing was counted.
 */
bool address_enter(const unsigned char addr[16], unsigned max);
/* One that entered has closed. */
void address_leave(const unsigned char addr[16]);

#endif
