/* SPDX-License-Identifier: MIT */
/*
 * What the files of the collectives share. group.c knows who is there, wait.c
 * how to wait for them; plan.c, send.c, recv.c and combine.c move rows, route.c
 * and relay.c between nodes; simd.c does the arithmetic.
 */
#ifndef EP_INTERNAL_H
#define EP_INTERNAL_H

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "clock.h"
#include "layout.h"

#define ep_ld(p)	__atomic_load_n(p, __ATOMIC_ACQUIRE)
#define ep_st(p, v)	__atomic_store_n(p, v, __ATOMIC_RELEASE)

struct ep_set {
	uint64_t bits[EP_WORDS];
};

static inline bool ep_set_has(const struct ep_set *set, uint32_t rank)
{
	return set->bits[rank / 64] >> rank % 64 & 1;
}

static inline void ep_set_add(struct ep_set *set, uint32_t rank)
{
	set->bits[rank / 64] |= 1ull << rank % 64;
}

static inline void ep_set_del(struct ep_set *set, uint32_t rank)
{
	set->bits[rank / 64] &= ~(1ull << rank % 64);
}

static inline bool ep_set_empty(const struct ep_set *set)
{
	uint64_t any = 0;

	for (uint32_t i = 0; i < EP_WORDS; i++)
		any |= set->bits[i];
	return !any;
}

static inline uint32_t ep_set_count(const struct ep_set *set)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < EP_WORDS; i++)
		count += __builtin_popcountll(set->bits[i]);
	return count;
}

struct ep_plan;		/* plan.c: where each choice of a call goes */
struct ep_route;	/* route.c: ways between nodes */
struct ep_table;	/* table.c: who hosts what */

enum ep_state {
	EP_IDLE,		/* nothing under way, or all over */
	EP_SENT,		/* dispatch_begin returned 0 */
	EP_RECEIVED,		/* dispatch_finish did */
	EP_RETURNED,		/* combine_begin did */
};

/* What a rank knows of one lane. */
struct ep_lane {
	enum ep_state state;
	uint32_t generation;	/* of the last dispatch begun; 0: none in this epoch */
	struct ep_plan *plan;
	struct ep_recv *recv;	/* recv.c: what arrived, and where it goes back to */
	struct ep_back *back;	/* combine.c: rounds of a combine */
	struct ep_set bad;	/* sent what cannot be: the same answer to every call that follows */
};

struct accel_ep {
	struct accel_ep_group *group;
	const struct ep_shape *shape;
	uint32_t rank;
	uint64_t epoch;
	char **peer;			/* [ranks], each rank's buffer; NULL where nobody takes part */
	struct ep_set alive;		/* takes part; changes in accel_ep_shrink() only */
	struct ep_set absent;		/* whom the last call that failed waited for */
	uint32_t npu;
	struct ep_table *table;
	struct ep_route *route;		/* changes with @alive */
	struct ep_lane lanes[ACCEL_EP_LANES];
	struct accel_ep_stats stats;
	uint64_t *loads;		/* [experts + shared] */
};

static inline uint64_t *ep_cursor(const struct accel_ep *ep, uint32_t rank, uint32_t lane)
{
	return (uint64_t *)(ep->peer[rank] + ep->shape->lane[lane]);
}

/* The words by which @from tells @to. */
static inline struct ep_slot *ep_slot(const struct accel_ep *ep, uint32_t to, uint32_t lane,
				      uint32_t from)
{
	return (struct ep_slot *)(ep->peer[to] + ep->shape->lane[lane] + ep->shape->slots +
				  from * ep->shape->slot_bytes);
}

static inline uint32_t *ep_counts(const struct ep_slot *slot)
{
	return (uint32_t *)(slot + 1);
}

/* Combine: which of @from's outputs is the first of each slot for a token of @to. */
static inline uint32_t *ep_bases(const struct accel_ep *ep, struct ep_slot *slot)
{
	return (uint32_t *)((char *)ep_counts(slot) + ep->shape->counts_bytes);
}

/* First rank of this rank's node. */
static inline uint32_t ep_node_first(const struct accel_ep *ep)
{
	return ep->rank - ep->rank % ep->shape->config.node_ranks;
}

/* Whether a rank is of this rank's node. */
static inline bool ep_near(const struct accel_ep *ep, uint32_t rank)
{
	return rank - ep_node_first(ep) < ep->shape->config.node_ranks;
}

static inline char *ep_row(const struct accel_ep *ep, uint32_t rank, uint32_t lane, uint32_t row)
{
	return ep->peer[rank] + ep->shape->lane[lane] + ep->shape->rows + row * ep->shape->row;
}

/* Of those that are passed on. */
static inline char *ep_relay_row(const struct accel_ep *ep, uint32_t rank, uint32_t lane,
				 uint32_t row)
{
	return ep->peer[rank] + ep->shape->lane[lane] + ep->shape->relays + row * ep->shape->row;
}

static inline struct ep_meta *ep_meta(const struct accel_ep *ep, char *row)
{
	return (struct ep_meta *)(row + ep->shape->payload);
}

static inline char *ep_back_row(const struct accel_ep *ep, uint32_t rank, uint32_t lane,
				uint32_t token, uint32_t k)
{
	uint64_t at = token % ep->shape->config.chunk_tokens * (uint64_t)ep->shape->all_k + k;

	return ep->peer[rank] + ep->shape->lane[lane] + ep->shape->backs +
	       at * ep->shape->back_row;
}

/* Elements that arrive sorted. */
static inline char *ep_sorted(const struct accel_ep *ep, uint32_t rank, uint32_t lane, uint32_t row)
{
	return ep->peer[rank] + ep->shape->lane[lane] + ep->shape->sorted +
	       row * ep->shape->payload;
}

static inline char *ep_out(const struct accel_ep *ep, uint32_t rank, uint32_t lane, uint32_t row)
{
	return ep->peer[rank] + ep->shape->lane[lane] + ep->shape->outs +
	       row * ep->shape->back_row;
}

/* group.c */
struct accel_dev *ep_dev(const struct accel_ep *ep);
struct accel_buffer *ep_buffer(const struct accel_ep *ep);
/* Ranks that wait to be taken in, as far as the board tells now. */
uint32_t ep_joining(const struct accel_ep *ep);
/* What outlives a rank's handle is freed by the file that made it. */
void ep_plan_free(struct ep_plan *plan);
void ep_recv_free(struct accel_ep *ep, struct ep_recv *recv);
void ep_back_free(struct ep_back *back);
void ep_table_free(struct ep_table *table);
void ep_route_free(struct ep_route *route);
/* The table that every group starts with. */
int ep_table_init(struct accel_ep *ep);
/* -ENOMEM. */
int ep_route_alloc(struct accel_ep *ep);
/* Of those that are alive. */
void ep_route_make(struct accel_ep *ep);
/* Pool memory that holds what the last dispatches put out. */
uint64_t ep_output_bytes(const struct accel_ep *ep);

/* wait.c: a loop looks for something to do, and where it finds nothing, waits for more. */
struct ep_wait {
	int64_t deadline;
	int64_t since;		/* that this wait began, for the statistics */
	int64_t asked;		/* when it was last asked who lives */
	uint32_t spins;
	uint32_t rings;		/* of this rank's bell, before the loop last looked */
};

/* To be called before the loop looks: what is stored after cannot be slept over. */
void ep_wait_begin(struct accel_ep *ep, struct ep_wait *wait, int64_t timeout_ns);
void ep_wait_look(struct accel_ep *ep, struct ep_wait *wait);
/*
 * Sleep until @rings more flags came, or a moment passed. 0: look again. Else the call's
 * error, with ep->absent set from @missing, the ranks that are waited for.
 */
int ep_wait_more(struct accel_ep *ep, struct ep_wait *wait, const struct ep_set *missing,
		 uint32_t rings);
/* It looked, and there was something: how long it waited is counted, it spins anew. */
void ep_wait_found(struct accel_ep *ep, struct ep_wait *wait);
/* After a flag was stored into @rank's buffer. */
void ep_ring(struct accel_ep *ep, uint32_t rank);
/* -EOWNERDEAD where the group is not whole any more: nothing may be begun. */
int ep_whole(struct accel_ep *ep);

#endif
