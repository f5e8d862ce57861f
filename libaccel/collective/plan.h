/* SPDX-License-Identifier: MIT */
/* Where each choice of a dispatch goes, and how far its sending got. */
#ifndef EP_PLAN_H
#define EP_PLAN_H

#include "internal.h"

/* Rank of a choice that goes nowhere. */
#define EP_NOWHERE	UINT16_MAX
/*
 * Bytes that all ranks write in a call before they bypass the cache: of more the first
 * would not be in it any more when they are read.
 */
#define EP_CACHE_MAX	(24u << 20)

struct ep_dest {
	uint32_t rows;		/* of this batch */
	uint32_t sent;		/* of them, this round's included */
	uint32_t first;		/* of this round, in its room */
	uint32_t quota;		/* rows of this round */
	uint32_t left;		/* of them, not stored yet */
	uint32_t next;		/* item of the batch to go on with */
	uint32_t rounds;	/* that were sent in this call */
	uint32_t seen;		/* last token + 1 that was found to go there */
	char *row;		/* where the next one is stored */
	bool asks;		/* is to be told where the elements of this round go */
};

/* A row of another node's rank that is to be passed on; what was checked is kept here. */
struct ep_passed {
	const char *row;
	struct ep_meta meta;
};

struct ep_plan {
	struct accel_ep_tokens tokens;
	uint32_t dropped;
	uint32_t joining;		/* newcomers: all peers are told the same */
	uint32_t batch;			/* that is being sent */
	uint32_t batches;		/* of this rank's tokens, or of those that it passes on */
	bool begun;			/* this batch was sent its first round of */
	uint32_t rest;			/* destinations that not all of it was sent to */
	uint32_t hopped;		/* batches of this rank's tokens sent to other nodes */
	bool whole;			/* begun by the call that does both halves */
	bool sorts;			/* elements go when it is known where to */
	uint64_t cached;		/* bytes that may still go through the cache */
	bool streamed;			/* some went past it */
	struct accel_ep_place *choices;	/* [max_tokens][all_k] */
	float *weights;			/* the same */
	uint32_t *counts;		/* [ranks][slots], choices */
	uint32_t *rows;			/* [ranks], for each in all rounds */
	uint32_t *taken;		/* [experts + shared], choices, for the capacity */
	struct ep_dest *dests;		/* [ranks] of this node */
	struct ep_dest *hops;		/* [nodes] but this one */
	struct ep_passed *passed;	/* [relay_room], of this batch */
	uint32_t passing;		/* how many there are */
	char *scratch;			/* of a row's elements, padded */
	char *staged;			/* [chunk_tokens] such, that wait to be told; or NULL */
};

/* -EINVAL for what cannot be dispatched. */
int ep_plan_check(const struct accel_ep *ep, const struct accel_ep_tokens *tokens);
/* Of a lane, once; -ENOMEM. */
int ep_plan_alloc(const struct accel_ep *ep, struct ep_lane *lane);
/* Of tokens that are checked. */
void ep_plan_make(struct accel_ep *ep, struct ep_plan *plan, const struct accel_ep_tokens *tokens);

/* send.c: to all, what needs nobody else to go on. */
void ep_send(struct accel_ep *ep, uint32_t lane);
/* What comes after; 1: there was something, 0: nothing, -EBADMSG. @missing: who is waited for. */
int ep_send_more(struct accel_ep *ep, uint32_t lane, struct ep_set *missing);
bool ep_send_done(const struct accel_ep *ep, uint32_t lane);
/* Whether all that is waited for comes, though this rank sends nothing until the last of it. */
bool ep_send_patient(const struct accel_ep *ep, uint32_t lane);

/*
 * relay.c: takes what other nodes sent of the batch that comes next; 1 when all is here, else 0
 * or -EBADMSG.
 */
int ep_relay_take(struct accel_ep *ep, uint32_t lane, struct ep_set *missing);
/* All of a batch is passed on: they may send the next. */
void ep_relay_free(struct accel_ep *ep, uint32_t lane);

/* Whether @bytes that this rank writes, and others alike, are to bypass the cache. */
bool ep_should_stream(const struct accel_ep *ep, uint64_t bytes);

/* Bytes of an element of a caller's row. */
static inline uint32_t ep_element(uint32_t dtype)
{
	return dtype == ACCEL_EP_FP32 ? 4 : dtype == ACCEL_EP_BF16 ? 2 : 1;
}

/* What is left of a call's time for its second half. */
static inline int64_t ep_time_left(int64_t deadline)
{
	int64_t left = deadline == INT64_MAX ? INT64_MAX : deadline - clock_now();

	return left > 0 ? left : 0;
}

/* Whether rows of a caller can be. */
bool ep_rows_ok(const struct accel_ep *ep, const void *rows, uint64_t stride, uint32_t dtype,
		uint32_t count);

#endif
