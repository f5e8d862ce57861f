/* SPDX-License-Identifier: MIT */
/*
 * Ways between nodes. What a rank sends to another node goes to the rank that has
 * its place there, or to the next that is alive, and that one passes it on. All
 * ranks of an epoch come to the same ways by themselves.
 */
#ifndef EP_ROUTE_H
#define EP_ROUTE_H

#include "internal.h"

struct ep_hop {
	uint16_t rank;		/* who passes it on, or EP_NOWHERE */
	uint16_t part;		/* of its relay room, in batches */
};

struct ep_route {
	uint32_t batch;		/* tokens of a rank that are on their way at a time */
	uint32_t count;		/* ranks whose tokens this one passes on */
	uint16_t *ranks;	/* [count], in the order of their parts */
	uint16_t *via;		/* [ranks], who of this node brings a rank's rows here */
	struct ep_hop *hops;	/* [nodes], of what this rank sends */
};

/* Of a rank that has so many tokens: at least one, that says that there are none. */
static inline uint32_t ep_batches(const struct ep_route *route, uint32_t tokens)
{
	return tokens > route->batch ? (tokens + route->batch - 1) / route->batch : 1;
}

#endif
