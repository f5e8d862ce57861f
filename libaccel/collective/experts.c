// SPDX-License-Identifier: MIT
/*
 * A cache of experts: making and ending it, getting and letting go.
 */
#include <stdlib.h>

#include "clock.h"
#include "experts.h"
#include "provider.h"

static int check_config(const struct accel_dev *dev, const struct accel_experts_config *config)
{
	if (!config->source || config->source->dev != dev || !config->expert_bytes ||
	    !config->experts || config->experts > ACCEL_EXPERTS_MAX ||
	    !config->slots || config->slots > ACCEL_EXPERTS_MAX ||
	    config->expert_bytes > config->source->size / config->experts)
		return -EINVAL;
	return 0;
}

/* The buffer's size, of slots that are aligned; no NPU has what does not fit 64 bits. */
static int measure(struct accel_experts *cache)
{
	struct accel_pool_info pool;
	int err = accel_pool_info(cache->dev, &pool);

	if (err)
		return err;
	cache->stride = (cache->config.expert_bytes + ACCEL_EXPERTS_ALIGN - 1) /
			ACCEL_EXPERTS_ALIGN * ACCEL_EXPERTS_ALIGN;
	if (__builtin_mul_overflow(cache->stride, cache->config.slots, &cache->size) ||
	    cache->size > UINT64_MAX - pool.min_alloc)
		return -ENOSPC;
	cache->size = (cache->size + pool.min_alloc - 1) / pool.min_alloc * pool.min_alloc;
	return 0;
}

static int make_lanes(struct accel_experts *cache)
{
	static const uint32_t classes[LANES] = {
		[LANE_AHEAD] = ACCEL_CLASS_DEADLINE,
		[LANE_BULK] = ACCEL_CLASS_BULK,
		[LANE_NOW] = ACCEL_CLASS_DEADLINE,
	};

	for (int i = 0; i < LANES; i++) {
		struct accel_queue_qos qos = { .class_id = classes[i] };
		int err = accel_queue_create_qos(cache->dev, cache->config.npu, &qos,
						 &cache->lanes[i].queue);

		if (err)
			return err;
		cache->lanes[i].head = EXPERTS_NONE;
	}
	return 0;
}

static int make(struct accel_experts *cache)
{
	const struct accel_where where = { ACCEL_PLACE_NPU, 1, &cache->config.npu, 0 };
	void *map;
	int err;

	cache->slots = calloc(cache->config.slots, sizeof(*cache->slots));
	cache->experts = calloc(cache->config.experts, sizeof(*cache->experts));
	if (!cache->slots || !cache->experts)
		return -ENOMEM;
	for (uint32_t i = 0; i < cache->config.experts; i++)
		cache->experts[i] = (struct expert){ .slot = EXPERTS_NONE, .use = EXPERTS_NONE };
	err = measure(cache);
	if (!err)
		err = accel_buffer_create(cache->dev, cache->size, &where, &cache->buffer);
	if (!err)
		err = accel_buffer_map(cache->buffer, 0, &map);
	if (err)
		return err;
	cache->map = map;
	return make_lanes(cache);
}

int accel_experts_create(struct accel_dev *dev, const struct accel_experts_config *config,
			 struct accel_experts **out)
{
	struct accel_experts *cache;
	int err;

	if (!dev || !config || !out || check_config(dev, config))
		return -EINVAL;
	cache = calloc(1, sizeof(*cache));
	if (!cache)
		return -ENOMEM;
	pthread_mutex_init(&cache->lock, NULL);
	cache->dev = dev;
	cache->config = *config;
	err = make(cache);
	if (err) {
		accel_experts_destroy(cache);
		return err;
	}
	*out = cache;
	return 0;
}

void accel_experts_destroy(struct accel_experts *cache)
{
	if (!cache)
		return;
	for (int i = 0; i < LANES; i++)
		accel_queue_destroy(cache->lanes[i].queue);
	if (cache->map)
		accel_buffer_unmap(cache->dev, cache->map, cache->size);
	accel_buffer_close(cache->buffer);
	free(cache->slots);
	free(cache->experts);
	free(cache->uses);
	free(cache->needed);
	pthread_mutex_destroy(&cache->lock);
	free(cache);
}

struct accel_buffer *accel_experts_buffer(const struct accel_experts *cache)
{
	return cache->buffer;
}

int accel_experts_step(struct accel_experts *cache, uint64_t step)
{
	int err = -EINVAL;

	if (!cache)
		return -EINVAL;
	pthread_mutex_lock(&cache->lock);
	if (step >= cache->step) {
		cache->step = step;
		experts_drop_past(cache);
		experts_reap(cache);
		experts_plan(cache);
		err = 0;
	}
	pthread_mutex_unlock(&cache->lock);
	return err;
}

static bool gone(const struct accel_experts *cache)
{
	struct accel_buffer_info info;

	return accel_buffer_info(cache->buffer, &info, NULL, 0) || info.flags & ACCEL_BUFFER_LOST;
}

/* What goes for an expert that is waited for. */
static uint32_t victim(const struct accel_experts *cache)
{
	uint32_t best = EXPERTS_NONE, best_use = 0;

	for (uint32_t i = 0; i < cache->config.slots; i++) {
		const struct slot *slot = &cache->slots[i];
		uint32_t use = EXPERTS_NONE;

		if (!experts_idle(slot))
			continue;
		if (slot->state == SLOT_READY)
			use = cache->experts[slot->expert].use;
		if (best != EXPERTS_NONE && !experts_rather(use, slot->used_at, best_use,
							    cache->slots[best].used_at))
			continue;
		best = i;
		best_use = use;
	}
	return best;
}

/* Where nobody can go yet: somebody who arrives, and could go then. */
static uint32_t arriving(const struct accel_experts *cache)
{
	for (uint32_t i = 0; i < cache->config.slots; i++)
		if (cache->slots[i].state == SLOT_ARRIVING && !cache->slots[i].pins)
			return i;
	return EXPERTS_NONE;
}

/* The slot that an expert is in or arrives at. */
static int reach(struct accel_experts *cache, uint32_t id, int64_t deadline, uint32_t *index)
{
	int err = 0;

	for (;;) {
		experts_reap(cache);
		if (gone(cache))
			return -ENODEV;
		*index = cache->experts[id].slot;
		if (*index != EXPERTS_NONE)
			return 0;
		*index = victim(cache);
		if (*index != EXPERTS_NONE) {
			cache->replan = true;
			return experts_start(cache, *index, id, true, 0);
		}
		*index = arriving(cache);
		if (*index == EXPERTS_NONE)
			return -EBUSY;
		if (err)
			return err;
		err = experts_await(cache, *index, deadline);
	}
}

static void pin(struct accel_experts *cache, struct slot *slot)
{
	if (!slot->pins++)
		slot->pinned_at = cache->step;
}

static void unpin(struct accel_experts *cache, struct slot *slot)
{
	if (--slot->pins)
		return;
	if (slot->state == SLOT_FAILED)
		slot->state = SLOT_FREE;
	if (cache->replan)
		experts_plan(cache);
}

static void count(struct accel_experts *cache, const struct slot *slot, bool waited)
{
	if (slot->asked && !slot->used)
		cache->stats.misses++;
	else if (waited)
		cache->stats.late++;
	else
		cache->stats.hits++;
}

/* Of a slot that is pinned: waits for what is to be in it. */
static int complete(struct accel_experts *cache, struct slot *slot, int64_t deadline)
{
	bool waited = slot->state == SLOT_ARRIVING;

	while (slot->state == SLOT_ARRIVING)
		if (experts_await(cache, slot - cache->slots, deadline) &&
		    slot->state == SLOT_ARRIVING)
			return -ETIME;
	if (slot->state == SLOT_FAILED)
		return slot->err;
	count(cache, slot, waited);
	slot->used = true;
	slot->used_at = ++cache->clock;
	experts_used(cache, slot->expert);
	return 0;
}

int accel_experts_get(struct accel_experts *cache, uint32_t id, int64_t timeout_ns,
		      struct accel_expert *out)
{
	int64_t deadline = clock_deadline(timeout_ns);
	struct slot *slot;
	uint32_t index;
	int err;

	if (!cache || !out || id >= cache->config.experts)
		return -EINVAL;
	pthread_mutex_lock(&cache->lock);
	err = reach(cache, id, deadline, &index);
	if (err)
		goto unlock;
	slot = &cache->slots[index];
	pin(cache, slot);
	err = complete(cache, slot, deadline);
	if (err) {
		unpin(cache, slot);
		goto unlock;
	}
	out->offset = index * cache->stride;
	out->data = cache->map + out->offset;
unlock:
	pthread_mutex_unlock(&cache->lock);
	return err;
}

int accel_experts_put(struct accel_experts *cache, uint32_t id)
{
	struct slot *slot;
	int err = -EINVAL;

	if (!cache || id >= cache->config.experts)
		return -EINVAL;
	pthread_mutex_lock(&cache->lock);
	if (cache->experts[id].slot != EXPERTS_NONE) {
		slot = &cache->slots[cache->experts[id].slot];
		if (slot->state == SLOT_READY && slot->pins) {
			unpin(cache, slot);
			err = 0;
		}
	}
	pthread_mutex_unlock(&cache->lock);
	return err;
}

void accel_experts_stats(struct accel_experts *cache, struct accel_experts_stats *stats)
{
	pthread_mutex_lock(&cache->lock);
	experts_reap(cache);
	*stats = cache->stats;
	pthread_mutex_unlock(&cache->lock);
}
