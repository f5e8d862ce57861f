// SPDX-License-Identifier: MIT
/*
 * What becomes of a block: free, reserved, cached, awaiting the end of its
 * pins, free again. All under the lock.
 *
 * The state word is stored when all it vouches for has been written; lists,
 * index and heap follow. A process killed in between leaves them wrong for
 * kv_rebuild(), which believes states only.
 */
#include "internal.h"

/* How often a full namespace looks for dead sessions, whose blocks it could have. */
#define REAP_MS 1000

static void list_push(struct accel_kv *kv, uint32_t *head, uint32_t *count, uint32_t block)
{
	st(&kv->metas[block].next, ld(head));
	st(head, block);
	st(count, ld(count) + 1);
}

static uint32_t free_pop(struct accel_kv *kv)
{
	struct kv_header *head = kv->head;
	uint32_t block = ld(&head->free_head);

	if (block == KV_NIL)
		return KV_NIL;
	if (block >= kv->shape.capacity ||
	    kv_state(ld(&kv->metas[block].state)) != KV_FREE) {
		kv->suspect = true;
		return KV_NIL;
	}
	st(&head->free_head, ld(&kv->metas[block].next));
	st(&head->free_count, ld(&head->free_count) - 1);
	return block;
}

static uint32_t fresh_take(struct accel_kv *kv)
{
	uint32_t block = kv_used(kv);

	if (block == kv->shape.capacity)
		return KV_NIL;
	st(&kv->metas[block].pin, kv_pin_word(0, KV_PIN_CLOSED, 0));
	st(&kv->metas[block].leaf, KV_NIL);
	st(&kv->head->fresh, block + 1);
	return block;
}

/*
 * Close the pin word of a block whose pins have all ended, by release or by
 * lease. One word decides between this and a reader's new pin.
 */
bool kv_block_claim(struct accel_kv *kv, uint32_t block, uint64_t now)
{
	uint64_t *pin = &kv->metas[block].pin, word = ld(pin);

	if (kv_pin_runs(word, now))
		return false;
	if (!cas(pin, word, kv_pin_word(kv_pin_next_epoch(word), KV_PIN_CLOSED, 0)))
		return false;
	if (kv_pin_count(word) != KV_PIN_CLOSED)
		grow(&kv->head->totals.expired, kv_pin_count(word));
	return true;
}

/* Of a block with a closed pin word that nothing refers to any more. */
void kv_block_free(struct accel_kv *kv, uint32_t block)
{
	struct kv_meta *meta = &kv->metas[block];

	st(&meta->state, kv_state_word(kv_generation(ld(&meta->state)), KV_FREE));
	list_push(kv, &kv->head->free_head, &kv->head->free_count, block);
}

void kv_child_add(struct accel_kv *kv, uint32_t parent)
{
	struct kv_meta *meta;

	if (parent == KV_NIL)
		return;
	meta = &kv->metas[parent];
	if (!ld(&meta->children))
		kv_leaf_remove(kv, parent);
	st(&meta->children, ld(&meta->children) + 1);
}

void kv_child_drop(struct accel_kv *kv, uint32_t parent)
{
	struct kv_meta *meta;
	uint32_t children;

	if (parent == KV_NIL)
		return;
	if (parent >= kv->shape.capacity || !(children = ld(&kv->metas[parent].children))) {
		kv->suspect = true;
		return;
	}
	meta = &kv->metas[parent];
	st(&meta->children, children - 1);
	if (children == 1 && kv_state(ld(&meta->state)) == KV_CACHED)
		kv_leaf_add(kv, parent);
}

/* Take a cached leaf out of sight; its pins decide whether it is free or awaits them. */
void kv_block_unlink(struct accel_kv *kv, uint32_t block, enum kv_state next)
{
	struct kv_meta *meta = &kv->metas[block];
	struct accel_kv_key key = kv_key_get(&meta->key);
	struct kv_header *head = kv->head;

	st(&meta->state, kv_state_word(kv_generation(ld(&meta->state)), next));
	kv_index_erase(kv, kv_hash(&key), block);
	kv_leaf_remove(kv, block);
	kv_child_drop(kv, ld(&meta->parent));
	grow(&head->cached, -1);
	if (next == KV_FREE)
		list_push(kv, &head->free_head, &head->free_count, block);
	else
		list_push(kv, &head->wait_head, &head->wait_count, block);
}

void kv_block_unreserve(struct accel_kv *kv, uint32_t block)
{
	kv_block_free(kv, block);
	kv_child_drop(kv, ld(&kv->metas[block].parent));
	grow(&kv->head->reserved, -1);
}

/* Free the removed blocks whose pins have ended. */
void kv_reclaim(struct accel_kv *kv, uint64_t now)
{
	struct kv_header *head = kv->head;
	uint32_t block = ld(&head->wait_head), left = ld(&head->wait_count);

	if (block == KV_NIL)
		return;
	if (left > kv->shape.capacity)
		left = kv->shape.capacity;
	st(&head->wait_head, KV_NIL);
	st(&head->wait_count, 0);
	for (; block != KV_NIL; left--) {
		uint32_t next;

		if (!left || block >= kv->shape.capacity ||
		    kv_state(ld(&kv->metas[block].state)) != KV_AWAITING) {
			kv->suspect = true;
			return;
		}
		next = ld(&kv->metas[block].next);
		if (kv_block_claim(kv, block, now))
			kv_block_free(kv, block);
		else
			list_push(kv, &head->wait_head, &head->wait_count, block);
		block = next;
	}
}

uint32_t kv_evict(struct accel_kv *kv, uint64_t now)
{
	uint32_t block = kv_leaf_victim(kv, now);

	if (block == KV_NIL)
		return KV_NIL;
	kv_block_unlink(kv, block, KV_FREE);
	grow(&kv->head->totals.evicted, 1);
	return free_pop(kv);
}

static uint32_t take_unused(struct accel_kv *kv)
{
	uint32_t block = free_pop(kv);

	return block != KV_NIL ? block : fresh_take(kv);
}

/* A free block for a reservation, in no list; its owner is the caller's until its state says so. */
uint32_t kv_block_take(struct accel_kv *kv)
{
	uint64_t now;
	uint32_t block = take_unused(kv);

	if (block != KV_NIL)
		return block;
	now = kv_now();
	kv_reclaim(kv, now);
	if (now / KV_NS_PER_MS - ld(&kv->head->reaped_ms) >= REAP_MS)
		kv_reap(kv, false);
	block = take_unused(kv);
	if (block == KV_NIL)
		block = kv_evict(kv, now);
	if (block != KV_NIL)
		return block;
	kv_reap(kv, false);
	return take_unused(kv);
}
