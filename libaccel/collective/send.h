/* SPDX-License-Identifier: MIT */
/* What the files of the sending half share. */
#ifndef EP_SEND_H
#define EP_SEND_H

#include "plan.h"
#include "simd.h"

/* Sends one batch: its items are this rank's tokens, then rows to be passed on. */
struct ep_sender {
	struct accel_ep *ep;
	uint32_t lane;
	struct ep_plan *plan;
	const struct ep_simd *simd;
	bool hop;			/* to other nodes, else within this one */
	uint32_t near;			/* first rank of this one */
	const struct ep_dest *only;	/* the destination, or NULL: all */
	uint32_t first;			/* token */
	uint32_t own;			/* tokens */
	uint32_t item;			/* that is being sent */
};

static inline uint64_t ep_send_flag(const struct ep_sender *s, uint32_t round)
{
	return ep_flag(s->ep->epoch, s->ep->lanes[s->lane].generation, round);
}

static inline void ep_sent(const struct ep_sender *s, uint64_t rows, uint64_t bytes)
{
	s->ep->stats.rows_sent += rows;
	s->ep->stats.bytes_sent += bytes;
}

/* Whether something of this batch is still to go there. */
static inline bool ep_dest_rest(const struct ep_dest *dest)
{
	return dest->asks || dest->sent < dest->rows;
}

/* Whether a caller's row travels as it is, if no padding is to be cleared. */
static inline bool ep_as_it_is(const struct ep_sender *s)
{
	const struct ep_shape *shape = s->ep->shape;

	return s->plan->tokens.dtype == shape->config.send &&
	       (uint64_t)shape->config.hidden * shape->element == shape->payload;
}

/* Through the cache as long as what is stored does not drive out what was. */
static inline void ep_put(const struct ep_sender *s, void *to, const void *from, uint64_t bytes)
{
	bool cached = s->plan->cached >= bytes;

	s->plan->cached -= cached ? bytes : 0;
	s->plan->streamed |= !cached;
	(cached ? s->simd->copy : s->simd->stream)(to, from, bytes);
}

/* land.c: elements that waited to be told where to go; false if they still do. */
bool ep_land(const struct ep_sender *s, uint32_t rank);

#endif
