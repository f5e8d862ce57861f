// SPDX-License-Identifier: MIT
/*
 * The competitor, as a peer describes its scheduler: three strict queues by
 * class, first come first served in each; what has waited for PROMOTE without
 * being served moves up by one; the engine gives a slot of time to the highest
 * queue that has something, and looks again when it is over or the queue empty.
 */
#include "sim.h"

#define LEVELS 3u
#define PROMOTE (10 * NS_PER_MS)
#define SLOT (2 * NS_PER_MS)
/* What one copy command moves. */
#define PIECE 1000000ull

struct level {
	struct job *first, *last;
};

struct promotion {
	struct level levels[LEVELS];
	u32 current;		/* whose slot it is, LEVELS for nobody's */
	u64 ends;
};

void *promotion_create(const struct scheduler *scheduler, struct qos_ports *ports)
{
	struct promotion *promotion = allocated(calloc(1, sizeof(*promotion)));

	(void)scheduler;
	(void)ports;
	promotion->current = LEVELS;
	return promotion;
}

static void append(struct level *level, struct job *job)
{
	job->next = NULL;
	if (level->first)
		level->last->next = job;
	else
		level->first = job;
	level->last = job;
}

static struct job *pop(struct level *level)
{
	struct job *job = level->first;

	level->first = job->next;
	job->next = NULL;
	return job;
}

void promotion_add(void *state, struct job *job, u32 bulk_queue, u64 now)
{
	struct promotion *promotion = state;
	u32 level = job->class == QOS_LATENCY ? 0 : job->deadline ? 1 : 2;

	(void)bulk_queue;
	job->waits = now;
	append(&promotion->levels[level], job);
}

/* Behind the first, which may be the one that is served, they stand as they came. */
static struct job *waited(struct level *level, u64 now)
{
	struct job *first = level->first, *job = first;

	if (!first)
		return NULL;
	if (now - first->waits >= PROMOTE)
		return pop(level);
	job = first->next;
	if (!job || now - job->waits < PROMOTE)
		return NULL;
	first->next = job->next;
	if (level->last == job)
		level->last = first;
	return job;
}

static void promote(struct promotion *promotion, u64 now)
{
	struct job *job;
	u32 i;

	for (i = 1; i < LEVELS; i++)
		while ((job = waited(&promotion->levels[i], now))) {
			job->waits = now;
			append(&promotion->levels[i - 1], job);
		}
}

struct job *promotion_next(void *state, u64 now, u64 *bytes)
{
	struct promotion *promotion = state;
	u32 i = promotion->current;
	struct job *job;

	promote(promotion, now);
	if (i == LEVELS || now >= promotion->ends || !promotion->levels[i].first) {
		for (i = 0; i < LEVELS && !promotion->levels[i].first; i++)
			;
		promotion->current = i;
		promotion->ends = now + SLOT;
	}
	if (i == LEVELS)
		return NULL;
	job = promotion->levels[i].first;
	job->waits = now;
	*bytes = job->left < PIECE ? job->left : PIECE;
	return job;
}

void promotion_moved(void *state, struct job *job, u64 bytes, u64 now)
{
	struct promotion *promotion = state;

	(void)bytes;
	job->waits = now;
	if (!job->left)
		pop(&promotion->levels[promotion->current]);
}

void promotion_destroy(void *state)
{
	free(state);
}
