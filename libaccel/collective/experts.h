/* SPDX-License-Identifier: MIT */
/*
 * A cache of experts inside: experts.c is the calls, experts_copy.c moves what is
 * to come, experts_ahead.c decides what that is.
 *
 * Everything is under the cache's lock, which is not held while waiting: who
 * waits for a slot has pinned it.
 */
#ifndef EXPERTS_H
#define EXPERTS_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>

#include <accel/experts.h>
#include <accel/qos.h>

#define EXPERTS_NONE UINT32_MAX

enum slot_state {
	SLOT_FREE,
	SLOT_ARRIVING,
	SLOT_READY,
	SLOT_FAILED,		/* who waited for it has not looked yet */
};

struct slot {
	enum slot_state state;
	uint32_t expert;	/* unless free or failed */
	uint32_t pins;
	uint64_t pinned_at;	/* step in which the first of them came */
	uint64_t used_at;	/* of the clock that counts uses; 0 if free */
	bool used;		/* since it came */
	bool asked;		/* for by a get, not copied ahead */
	int err;		/* of a failed copy */
	uint32_t lane;		/* of the copy that arrives */
	uint64_t seqno;
	uint32_t behind;	/* slot that arrives next by that lane */
	/* As it would be at the point that a plan has come to. */
	uint32_t plan_expert;
	uint32_t plan_use;	/* next use of that */
	uint64_t plan_step;	/* that holds it */
	bool planned;		/* the plan needs it until then: not to be given away now */
};

struct expert {
	uint32_t slot;		/* EXPERTS_NONE if it neither is there nor arrives */
	uint32_t use;		/* next one known, EXPERTS_NONE if none */
	uint32_t plan_slot;
};

/* A use that is to come, in the order of steps. A later one has a larger number. */
struct use {
	uint32_t expert;
	uint32_t next;		/* of the same expert, in a later step */
	uint64_t step;
};

/* Copies of a lane come in order, and so does the bad news of one that is late. */
enum lane_id {
	LANE_AHEAD,		/* promised for a time */
	LANE_BULK,		/* ahead, without a promise */
	LANE_NOW,		/* somebody waits */
	LANES,
};

struct lane {
	struct accel_queue *queue;
	uint32_t head, tail;	/* slots that arrive */
};

struct accel_experts {
	pthread_mutex_t lock;
	struct accel_dev *dev;
	struct accel_experts_config config;
	struct accel_buffer *buffer;
	char *map;
	uint64_t stride, size;
	struct lane lanes[LANES];
	struct slot *slots;
	struct expert *experts;
	uint64_t clock;
	uint64_t step;		/* that has begun */
	struct use *uses;
	uint32_t use_count, use_first;	/* those before are over */
	uint64_t *needed;	/* by step, from needed_from on */
	uint64_t needed_from;
	bool replan;		/* something can be copied ahead once a slot is let go of */
	struct accel_experts_stats stats;
};

/* experts_copy.c */

/* Whether the slot's content can be replaced now. */
static inline bool experts_idle(const struct slot *slot)
{
	return slot->state == SLOT_FREE || (slot->state == SLOT_READY && !slot->pins);
}

/* Starts a copy into an idle slot. @now: somebody waits; else @needed_ns is its deadline. */
int experts_start(struct accel_experts *cache, uint32_t slot, uint32_t expert, bool now,
		  uint64_t needed_ns);
/* Takes note of what has come. */
void experts_reap(struct accel_experts *cache);
/* Lets others at the cache until the slot's copy has come. 0, or -ETIME. */
int experts_await(struct accel_experts *cache, uint32_t slot, int64_t deadline);

/* experts_ahead.c */

/* Whether what is in use next at @use, and last at @used_at, rather goes than another. */
static inline bool experts_rather(uint32_t use, uint64_t used_at, uint32_t other_use,
				  uint64_t other_used_at)
{
	return use != other_use ? use > other_use : used_at < other_used_at;
}

void experts_used(struct accel_experts *cache, uint32_t expert);
void experts_drop_past(struct accel_experts *cache);
/* Copies ahead what can be now. */
void experts_plan(struct accel_experts *cache);

#endif
