/*
 * wrr.h - the order in which weighted targets take their turns.
 *
 * Every target appears in proportion to its weight, and its turns are spread evenly over
 * the round, so that a heavy target is not hit in bursts.
 */
#ifndef DATAPLANE_UPSTREAM_WRR_H
#define DATAPLANE_UPSTREAM_WRR_H

#include "common/base.h"

#define WRR_MAX 65536u /* turns in a round; weights that need more are scaled down */

/* Upper bound of a round's length: a weight above 0 keeps at least one turn. */
#define WRR_ROOM(n) ((size_t)WRR_MAX + (n))

/*
 * Writes the round for n (at most 65536) weights as indices into them.
 * order_out  room for WRR_ROOM(n)
 * Returns its length; 0 when every weight is 0.
 */
uint32_t wrr_order(const uint32_t *weights, uint32_t n, uint16_t *order_out);

#endif
