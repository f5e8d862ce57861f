// SPDX-License-Identifier: MIT
/*
 * Copies into a cache of experts. Each of its queues is a lane: what was promised
 * must not stand behind what was not, nor a get that waits behind either.
 */
#include "clock.h"
#include "experts.h"

/* Between being told a time and asking for it so much passes, and what asking takes, twice. */
#define ASK_NS NSEC_PER_MSEC

/* Ahead of its use: promised for then, else as bulk. */
static int submit_ahead(struct accel_experts *cache, const struct accel_submit *submit,
			uint64_t needed_ns, uint32_t *lane, uint64_t *seqno)
{
	struct accel_submit_qos qos = { .deadline_ns = needed_ns };
	struct accel_admission told;
	int err;

	if (needed_ns) {
		*lane = LANE_AHEAD;
		err = accel_queue_submit_qos(cache->lanes[LANE_AHEAD].queue, submit, &qos, seqno,
					     &told);
		if (err != -EBUSY || !told.reason)
			return err;
		cache->stats.refused++;
	}
	*lane = LANE_BULK;
	return accel_queue_submit(cache->lanes[LANE_BULK].queue, submit, seqno);
}

/* It is late already: the refusal tells for when it can be promised. */
static int submit_now(struct accel_experts *cache, const struct accel_submit *submit,
		      uint64_t *seqno)
{
	int64_t asked = clock_now();
	struct accel_submit_qos qos = { .deadline_ns = asked };
	struct accel_queue *queue = cache->lanes[LANE_NOW].queue;
	struct accel_admission told;
	int err;

	err = accel_queue_submit_qos(queue, submit, &qos, seqno, &told);
	if (err != -EBUSY || !told.reason)
		return err;
	if (told.earliest_ns)
		qos.deadline_ns = told.earliest_ns + ASK_NS + 2 * (clock_now() - asked);
	qos.flags = ACCEL_SUBMIT_ANYWAY;
	err = accel_queue_submit_qos(queue, submit, &qos, seqno, &told);
	cache->stats.refused += !err && told.reason;
	return err;
}

static void evict(struct accel_experts *cache, struct slot *slot)
{
	if (slot->state == SLOT_FREE)
		return;
	cache->experts[slot->expert].slot = EXPERTS_NONE;
	cache->stats.wasted += !slot->used;
}

static void append(struct accel_experts *cache, uint32_t index)
{
	struct lane *lane = &cache->lanes[cache->slots[index].lane];

	cache->slots[index].behind = EXPERTS_NONE;
	if (lane->head == EXPERTS_NONE)
		lane->head = index;
	else
		cache->slots[lane->tail].behind = index;
	lane->tail = index;
}

int experts_start(struct accel_experts *cache, uint32_t index, uint32_t expert, bool now,
		  uint64_t needed_ns)
{
	struct accel_seg seg = {
		index * cache->stride, expert * cache->config.expert_bytes,
		cache->config.expert_bytes,
	};
	struct accel_op op = { ACCEL_OP_COPY, 1, cache->buffer, cache->config.source, 0, &seg };
	struct accel_submit submit = { .ops = &op, .op_count = 1 };
	struct slot *slot = &cache->slots[index];
	uint32_t lane = LANE_NOW;
	uint64_t seqno;
	int err;

	err = now ? submit_now(cache, &submit, &seqno) :
		    submit_ahead(cache, &submit, needed_ns, &lane, &seqno);
	if (err)
		return err;
	evict(cache, slot);
	*slot = (struct slot) {
		.state = SLOT_ARRIVING, .expert = expert, .used_at = ++cache->clock,
		.asked = now, .lane = lane, .seqno = seqno,
	};
	cache->experts[expert].slot = index;
	append(cache, index);
	return 0;
}

static void settle(struct accel_experts *cache, struct slot *slot, int err)
{
	if (!err) {
		slot->state = SLOT_READY;
		cache->stats.copies++;
		cache->stats.bytes += cache->config.expert_bytes;
		return;
	}
	slot->err = err;
	slot->used_at = 0;
	slot->state = slot->pins ? SLOT_FAILED : SLOT_FREE;
	cache->experts[slot->expert].slot = EXPERTS_NONE;
	cache->stats.failed++;
	cache->replan = true;
}

void experts_reap(struct accel_experts *cache)
{
	for (struct lane *lane = cache->lanes; lane < cache->lanes + LANES; lane++)
		while (lane->head != EXPERTS_NONE) {
			struct slot *slot = &cache->slots[lane->head];
			int err = accel_queue_wait(lane->queue, slot->seqno, 0, NULL);

			if (err == -ETIME)
				break;
			lane->head = slot->behind;
			settle(cache, slot, err);
		}
}

int experts_await(struct accel_experts *cache, uint32_t index, int64_t deadline)
{
	struct accel_queue *queue = cache->lanes[cache->slots[index].lane].queue;
	uint64_t seqno = cache->slots[index].seqno;
	int64_t left = deadline;
	int err;

	pthread_mutex_unlock(&cache->lock);
	if (deadline != ACCEL_WAIT_FOREVER && deadline)
		left = deadline - clock_now();
	err = accel_queue_wait(queue, seqno, left, NULL);
	pthread_mutex_lock(&cache->lock);
	experts_reap(cache);
	return err == -ETIME ? -ETIME : 0;
}
