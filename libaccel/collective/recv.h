/* SPDX-License-Identifier: MIT */
/* What arrived at a rank in a dispatch, and where each row of it came from. */
#ifndef EP_RECV_H
#define EP_RECV_H

#include "internal.h"

/* Where the output for a packed row goes back to. */
struct ep_home {
	uint32_t row;		/* of the packed ones */
	uint16_t token;
	uint16_t k;
};

/* Whose tokens they are. */
struct ep_source {
	bool here;		/* its head came */
	uint32_t rows;		/* still to be taken */
	uint32_t tokens;	/* it has in this call */
	uint32_t next;		/* token that the next row can be of at least */
	uint32_t entries;	/* of all its rows */
	uint32_t homes;		/* index of its first */
	uint32_t homed;		/* how many are there */
};

/* Who stores rows here: a rank of this node, its own and what it passes on. */
struct ep_carrier {
	bool due;		/* its flag of this round is waited for */
	bool more;		/* rounds of this batch follow */
	bool sorts;		/* its elements come when it was told where */
	uint32_t round;		/* of its, this one */
	uint32_t batches;	/* it has in this call */
	uint32_t first;		/* row of this round */
	uint32_t sent;		/* rows of this round */
};

struct ep_recv {
	/* Output that is shown: packed rows, or those that had to leave the room. */
	struct accel_buffer *buffer;
	char *map;
	uint64_t bytes;

	uint32_t capacity;		/* of the next four, packed rows */
	const void **at;
	float *scales;
	struct accel_ep_origin *origins;
	struct ep_home *homes;		/* by source, then by token, then by k */

	uint32_t *counts;		/* [slots] */
	uint32_t *next;			/* [ranks][slots], packed row of the next entry */
	uint32_t *end;			/* [ranks][slots], and where they end */
	struct ep_source *sources;	/* [ranks] */
	struct ep_carrier *carriers;	/* [ranks], of this node */

	bool indexed;
	bool direct;			/* elements arrive sorted */
	uint32_t landing;		/* carriers whose elements are to come */
	bool placed;			/* all headers came: every row's place is known */
	bool stream;			/* past the cache */
	bool done;
	uint32_t round;
	uint32_t batch;
	uint32_t batches;		/* most that a carrier has */
	uint32_t waiting;		/* heads and flags of this round that did not come */
	uint32_t total;
	uint32_t arrived;
	uint32_t moved;			/* rows that left the room, indexed */
	uint32_t joining;
	uint64_t table_min;
};

/* Of a lane, for its next dispatch; -ENOMEM. */
int ep_recv_start(const struct accel_ep *ep, struct ep_lane *lane);

/* Packed row that is the first of a source's for a slot. */
static inline uint32_t ep_base(const struct accel_ep *ep, const struct ep_recv *recv,
			       uint32_t rank, uint32_t slot)
{
	uint32_t slots = ep->shape->config.slots, ranks = ep->shape->config.ranks;

	if (rank)
		return recv->end[(rank - 1) * slots + slot];
	return slot ? recv->end[(ranks - 1) * slots + slot - 1] : 0;
}

/* Room that owners read the outputs of experts from, or NULL. */
void *ep_recv_out(const struct accel_ep *ep, uint32_t lane);

/* Takes what is there; 1: there was something, 0: nothing, else an error. @missing: who is. */
int ep_recv_more(struct accel_ep *ep, uint32_t lane, uint32_t flags, struct ep_set *missing);

#endif
