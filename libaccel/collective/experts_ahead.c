// SPDX-License-Identifier: MIT
/*
 * What to copy ahead. The plan walks through the uses that are known as the cache
 * would without prefetching: for what is missing goes what is used furthest from
 * there (Belady 1966, the fewest copies). Then a copy is started at once where its
 * slot is not needed in between. Doing the same sooner costs no copy; replacing
 * something else so as to start sooner would.
 */
#include <stdlib.h>

#include "experts.h"

#define NO_STEP UINT64_MAX

void experts_used(struct accel_experts *cache, uint32_t id)
{
	struct expert *expert = &cache->experts[id];

	if (expert->use != EXPERTS_NONE && cache->uses[expert->use].step == cache->step)
		expert->use = cache->uses[expert->use].next;
}

void experts_drop_past(struct accel_experts *cache)
{
	for (; cache->use_first < cache->use_count; cache->use_first++) {
		const struct use *use = &cache->uses[cache->use_first];

		if (use->step >= cache->step)
			return;
		if (cache->experts[use->expert].use == cache->use_first)
			cache->experts[use->expert].use = use->next;
	}
}

static void plan_begin(struct accel_experts *cache)
{
	for (uint32_t i = 0; i < cache->config.slots; i++) {
		struct slot *slot = &cache->slots[i];
		bool full = slot->state == SLOT_READY || slot->state == SLOT_ARRIVING;

		slot->plan_expert = full ? slot->expert : EXPERTS_NONE;
		slot->plan_use = full ? cache->experts[slot->expert].use : EXPERTS_NONE;
		slot->plan_step = NO_STEP;
		slot->planned = false;
	}
}

/* The slot that the plan has an expert in. */
static struct slot *plan_find(const struct accel_experts *cache, uint32_t id)
{
	const struct expert *expert = &cache->experts[id];

	if (cache->slots[expert->plan_slot].plan_expert == id)
		return &cache->slots[expert->plan_slot];
	if (expert->slot != EXPERTS_NONE && cache->slots[expert->slot].plan_expert == id)
		return &cache->slots[expert->slot];
	return NULL;
}

static void plan_hold(struct accel_experts *cache, struct slot *slot, uint32_t index)
{
	const struct use *use = &cache->uses[index];

	cache->experts[use->expert].plan_slot = slot - cache->slots;
	slot->plan_expert = use->expert;
	slot->plan_use = use->next;
	slot->plan_step = use->step;
	slot->planned = true;
}

/* What is held is held through this step; what was before it began, perhaps for ever. */
static bool kept(const struct accel_experts *cache, const struct slot *slot, uint64_t step)
{
	return slot->pins && (step == cache->step || slot->pinned_at != cache->step);
}

static struct slot *plan_victim(const struct accel_experts *cache, uint64_t step)
{
	struct slot *best = NULL;

	for (uint32_t i = 0; i < cache->config.slots; i++) {
		struct slot *slot = &cache->slots[i];

		if (slot->plan_step != step && !kept(cache, slot, step) &&
		    (!best || experts_rather(slot->plan_use, slot->used_at, best->plan_use,
					     best->used_at)))
			best = slot;
	}
	return best;
}

/* Not one that a get of this step has had already. */
static bool to_come(const struct accel_experts *cache, uint32_t index)
{
	return cache->experts[cache->uses[index].expert].use <= index;
}

/* Where @index is of a step, the first use of the next one. */
static uint32_t step_end(const struct accel_experts *cache, uint32_t index)
{
	uint64_t step = cache->uses[index].step;

	while (index < cache->use_count && cache->uses[index].step == step)
		index++;
	return index;
}

/* Has a step's missing experts come. Returns whether there is a slot left to plan on for. */
static bool plan_missing(struct accel_experts *cache, uint32_t from, uint32_t end)
{
	uint64_t step = cache->uses[from].step, needed = cache->needed[step - cache->needed_from];

	for (uint32_t i = from; i < end; i++) {
		uint32_t id = cache->uses[i].expert;
		struct slot *slot;

		if (!to_come(cache, i) || plan_find(cache, id))
			continue;
		slot = plan_victim(cache, step);
		if (!slot)
			break;
		if (slot->planned || !experts_idle(slot))
			cache->replan = true;
		else if (experts_start(cache, slot - cache->slots, id, false, needed))
			return false;
		plan_hold(cache, slot, i);
	}
	for (uint32_t i = 0; i < cache->config.slots; i++)
		if (!cache->slots[i].planned)
			return true;
	return false;
}

void experts_plan(struct accel_experts *cache)
{
	uint32_t from = cache->use_first, end;
	bool more = true;

	cache->replan = false;
	plan_begin(cache);
	for (; more && from < cache->use_count; from = end) {
		end = step_end(cache, from);
		for (uint32_t i = from; i < end; i++) {
			struct slot *slot = plan_find(cache, cache->uses[i].expert);

			if (slot && to_come(cache, i))
				plan_hold(cache, slot, i);
		}
		more = plan_missing(cache, from, end);
	}
	cache->replan |= !more;
}

static int check(const struct accel_experts *cache, uint64_t first,
		 const struct accel_experts_step *steps, uint32_t count, uint32_t *uses)
{
	uint64_t sum = 0;

	if ((count && !steps) || first > NO_STEP - count)
		return -EINVAL;
	for (uint32_t i = 0; i < count; i++) {
		sum += steps[i].count;
		if (sum > ACCEL_EXPERTS_MAX_USES || (steps[i].count && !steps[i].experts))
			return -EINVAL;
		for (uint32_t k = 0; k < steps[i].count; k++)
			if (steps[i].experts[k] >= cache->config.experts)
				return -EINVAL;
	}
	*uses = sum;
	return 0;
}

/* Links each expert's uses, from the last. */
static void link_uses(struct accel_experts *cache)
{
	for (uint32_t i = 0; i < cache->config.experts; i++)
		cache->experts[i].use = EXPERTS_NONE;
	for (uint32_t i = cache->use_count; i-- > 0;) {
		struct use *use = &cache->uses[i];
		uint32_t next = cache->experts[use->expert].use;

		if (next != EXPERTS_NONE && cache->uses[next].step == use->step)
			next = cache->uses[next].next;
		use->next = next;
		cache->experts[use->expert].use = i;
	}
}

int accel_experts_look_ahead(struct accel_experts *cache, uint64_t first,
			     const struct accel_experts_step *steps, uint32_t count)
{
	uint64_t *needed, *old_needed;
	struct use *uses, *old_uses;
	uint32_t total, at = 0;

	if (!cache || check(cache, first, steps, count, &total))
		return -EINVAL;
	uses = malloc(total * sizeof(*uses) + 1);
	needed = malloc(count * sizeof(*needed) + 1);
	if (!uses || !needed) {
		free(uses);
		free(needed);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < count; i++) {
		needed[i] = steps[i].needed_ns;
		for (uint32_t k = 0; k < steps[i].count; k++)
			uses[at++] = (struct use){ steps[i].experts[k], 0, first + i };
	}
	pthread_mutex_lock(&cache->lock);
	old_uses = cache->uses;
	old_needed = cache->needed;
	cache->uses = uses;
	cache->use_count = total;
	cache->use_first = 0;
	cache->needed = needed;
	cache->needed_from = first;
	link_uses(cache);
	experts_drop_past(cache);
	experts_reap(cache);
	experts_plan(cache);
	pthread_mutex_unlock(&cache->lock);
	free(old_uses);
	free(old_needed);
	return 0;
}
