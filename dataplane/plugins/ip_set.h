/*
 * ip_set.h - a fixed set of addresses, made of networks that may overlap.
 *
 * Of each family are kept the points where membership changes, in the order of the addresses as
 * numbers, and where in them each of some equal parts of what they span begins. A lookup finds its
 * part and searches there, in 4 to 8 points when networks are spread evenly; at worst it is one
 * binary search of all: 18 steps for 100 000 networks. Up to 34 bytes a network.
 */
#ifndef DATAPLANE_PLUGINS_IP_SET_H
#define DATAPLANE_PLUGINS_IP_SET_H

#include "common/checks.h"

struct ip_set;

/* What is in any of the n networks, as ip_network_has says it. The caller frees it. */
struct ip_set *ip_set_new(const struct ip_network *networks, size_t n);
void ip_set_free(struct ip_set **s);

/* addr: IPv4 mapped. */
bool ip_set_has(const struct ip_set *s, const unsigned char addr[16]);

#endif
