// SPDX-License-Identifier: MIT
/*
 * Least recently used, leaves first: a binary heap, by last use, of the cached
 * blocks that have no continuation.
 *
 * A use only stamps the block; the heap learns of it when the block comes up
 * for eviction. So a leaf's stamp in the heap may be older than the block's
 * own, and the order of eviction is exact all the same. (Two uses at the same
 * instant may leave the older stamp of the two.)
 */
#include "internal.h"

/* Open ends of a walk down the heap: at most one a level, and one more; 31 levels. */
#define WALK_MAX 40
/* Oldest leaves that readers may pin under the evictor's hands before it gives up. */
#define CLAIMS_MAX 1000

static uint32_t leaf_count(const struct accel_kv *kv)
{
	uint32_t count = ld(&kv->head->leaf_count);

	return count < kv->shape.capacity ? count : kv->shape.capacity;
}

static void put(struct accel_kv *kv, uint32_t at, uint64_t stamp, uint32_t block)
{
	st(&kv->heap[at].stamp, stamp);
	st(&kv->heap[at].block, block);
	if (block < kv->shape.capacity)
		st(&kv->metas[block].leaf, at);
	else
		kv->suspect = true;
}

static void move(struct accel_kv *kv, uint32_t to, uint32_t from)
{
	put(kv, to, ld(&kv->heap[from].stamp), ld(&kv->heap[from].block));
}

static void sift_up(struct accel_kv *kv, uint32_t at, uint64_t stamp, uint32_t block)
{
	while (at && ld(&kv->heap[(at - 1) / 2].stamp) > stamp) {
		move(kv, at, (at - 1) / 2);
		at = (at - 1) / 2;
	}
	put(kv, at, stamp, block);
}

static void sift_down(struct accel_kv *kv, uint32_t at, uint32_t count, uint64_t stamp,
		      uint32_t block)
{
	for (;;) {
		uint64_t child = 2ull * at + 1;

		if (child + 1 < count &&
		    ld(&kv->heap[child + 1].stamp) < ld(&kv->heap[child].stamp))
			child++;
		if (child >= count || ld(&kv->heap[child].stamp) >= stamp)
			break;
		move(kv, at, child);
		at = child;
	}
	put(kv, at, stamp, block);
}

/* Bring the leaf at this place up to date, and so perhaps another into its place. */
static uint64_t refresh(struct accel_kv *kv, uint32_t at, uint32_t count, uint32_t *block)
{
	for (;;) {
		uint64_t stamp = ld(&kv->heap[at].stamp), now;

		*block = ld(&kv->heap[at].block);
		if (*block >= kv->shape.capacity) {
			kv->suspect = true;
			*block = KV_NIL;
			return stamp;
		}
		now = ld(&kv->metas[*block].stamp);
		if (now <= stamp)
			return stamp;
		sift_down(kv, at, count, now, *block);
	}
}

static bool evictable(struct accel_kv *kv, uint32_t block, uint64_t now)
{
	const struct kv_meta *meta;

	if (block == KV_NIL)
		return false;
	meta = &kv->metas[block];
	if (kv_state(ld(&meta->state)) != KV_CACHED || ld(&meta->children)) {
		kv->suspect = true;
		return false;
	}
	return !kv_pin_runs(ld(&meta->pin), now);
}

/*
 * The oldest leaf without a running pin. Below such a leaf all are younger, so
 * only pinned ones, and what hangs on them, are looked at.
 */
static uint32_t oldest(struct accel_kv *kv, uint64_t now)
{
	uint32_t walk[WALK_MAX], open = 0, count = leaf_count(kv), best = KV_NIL;
	uint64_t best_stamp = UINT64_MAX;

	if (count)
		walk[open++] = 0;
	while (open) {
		uint32_t at = walk[--open], block;
		uint64_t stamp, child = 2ull * at + 1;

		stamp = refresh(kv, at, count, &block);
		if (stamp >= best_stamp)
			continue;
		if (evictable(kv, block, now)) {
			best = block;
			best_stamp = stamp;
			continue;
		}
		if (child < count)
			walk[open++] = child;
		if (child + 1 < count)
			walk[open++] = child + 1;
	}
	return best;
}

uint64_t kv_tick(struct accel_kv *kv)
{
	return bump(&kv->head->clock, 1) + 1;
}

void kv_touch(struct accel_kv *kv, uint32_t block, uint64_t stamp)
{
	uint64_t *last = &kv->metas[block].stamp;

	if (ld(last) < stamp)
		st(last, stamp);
}

void kv_leaf_add(struct accel_kv *kv, uint32_t block)
{
	uint32_t count = leaf_count(kv);

	if (count == kv->shape.capacity) {
		kv->suspect = true;
		return;
	}
	st(&kv->head->leaf_count, count + 1);
	sift_up(kv, count, ld(&kv->metas[block].stamp), block);
}

void kv_leaf_remove(struct accel_kv *kv, uint32_t block)
{
	uint32_t count = leaf_count(kv), at = ld(&kv->metas[block].leaf), last;
	uint64_t stamp;

	if (at >= count || ld(&kv->heap[at].block) != block) {
		kv->suspect = true;
		return;
	}
	st(&kv->metas[block].leaf, KV_NIL);
	st(&kv->head->leaf_count, --count);
	if (at == count)
		return;
	stamp = ld(&kv->heap[count].stamp);
	last = ld(&kv->heap[count].block);
	if (at && ld(&kv->heap[(at - 1) / 2].stamp) > stamp)
		sift_up(kv, at, stamp, last);
	else
		sift_down(kv, at, count, stamp, last);
}

/* From the blocks' states and child counts, which are right. */
void kv_leaf_rebuild(struct accel_kv *kv)
{
	uint32_t used = kv_used(kv), count = 0;

	for (uint32_t i = 0; i < used; i++) {
		struct kv_meta *meta = &kv->metas[i];

		st(&meta->leaf, KV_NIL);
		if (kv_state(ld(&meta->state)) == KV_CACHED && !ld(&meta->children))
			put(kv, count++, ld(&meta->stamp), i);
	}
	for (uint32_t i = count / 2; i--;)
		sift_down(kv, i, count, ld(&kv->heap[i].stamp), ld(&kv->heap[i].block));
	st(&kv->head->leaf_count, count);
}

/* The leaf to evict next, off limits for readers from now on; KV_NIL if all are pinned. */
uint32_t kv_leaf_victim(struct accel_kv *kv, uint64_t now)
{
	/* A claim fails only when a reader has just pinned that very block. */
	for (int i = 0; i < CLAIMS_MAX; i++) {
		uint32_t block = oldest(kv, now);

		if (block == KV_NIL || kv_block_claim(kv, block, now))
			return block;
	}
	return KV_NIL;
}
