// SPDX-License-Identifier: MIT
/*
 * Looking at a namespace: stats and iterate.
 */
#include <string.h>

#include "internal.h"

static void count_sessions(const struct accel_kv *kv, struct accel_kv_stats *stats)
{
	uint32_t sessions = kv_sessions(kv);

	for (uint32_t i = 0; i < sessions; i++) {
		const struct kv_session *session = &kv->sessions[i];

		stats->sessions += ld(&session->client) != 0;
		stats->hits += ld(&session->hits);
		stats->misses += ld(&session->misses);
		stats->expired += ld(&session->expired);
	}
}

static void count_pinned(const struct accel_kv *kv, struct accel_kv_stats *stats)
{
	uint32_t used = kv_used(kv);
	uint64_t now = kv_now();

	for (uint32_t i = 0; i < used; i++)
		stats->pinned += kv_pin_runs(ld(&kv->metas[i].pin), now);
}

static void count_blocks(const struct accel_kv *kv, struct accel_kv_stats *stats)
{
	const struct kv_header *head = kv->head;

	stats->capacity = kv->shape.capacity;
	stats->cached = ld(&head->cached);
	stats->reserved = ld(&head->reserved);
	stats->free = kv->shape.capacity - kv_used(kv) + ld(&head->free_count);
}

int accel_kv_stats(struct accel_kv *kv, struct accel_kv_stats *stats)
{
	const struct kv_totals *totals = &kv->head->totals;
	struct accel_kv_stats now = { 0 };
	int err;

	if (!stats)
		return -EINVAL;
	err = kv_lock(kv);
	if (err)
		return err;
	kv_reap(kv, false);
	kv_reclaim(kv, kv_now());
	now.hits = ld(&totals->hits);
	now.misses = ld(&totals->misses);
	now.published = ld(&totals->published);
	now.duplicates = ld(&totals->duplicates);
	now.evicted = ld(&totals->evicted);
	now.removed = ld(&totals->removed);
	now.expired = ld(&totals->expired);
	now.recovered = ld(&totals->recovered);
	count_blocks(kv, &now);
	count_sessions(kv, &now);
	kv_unlock(kv);
	count_pinned(kv, &now);
	*stats = now;
	return 0;
}

int accel_kv_iterate(struct accel_kv *kv,
		     int (*visit)(const struct accel_kv_entry *entry, void *arg), void *arg)
{
	uint32_t used = kv_used(kv);

	if (!visit)
		return -EINVAL;
	for (uint32_t i = 0; i < used; i++) {
		const struct kv_meta *meta = &kv->metas[i];
		uint64_t state = ld(&meta->state), pin = ld(&meta->pin);
		struct accel_kv_entry entry = {
			.key = kv_key_get(&meta->key),
			.parent = kv_key_get(&meta->parent_key),
			.children = ld(&meta->children),
			.pins = kv_pin_runs(pin, kv_now()) ? kv_pin_count(pin) : 0,
			.last_use = ld(&meta->stamp),
		};
		int stop;

		if (kv_state(state) != KV_CACHED || ld(&meta->state) != state)
			continue;
		stop = visit(&entry, arg);
		if (stop)
			return stop;
	}
	return 0;
}
