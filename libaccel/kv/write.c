// SPDX-License-Identifier: MIT
/*
 * Writing: reserve, publish, abort, remove. Each is one short stay under the
 * lock, but for the checksum, which is made before.
 */
#include "internal.h"

static uint32_t lookup(const struct accel_kv *kv, const struct accel_kv_key *key)
{
	uint64_t state;

	return kv_index_find(kv, kv_hash(key), key, &state);
}

static void reserve_block(struct accel_kv *kv, uint32_t block, const struct accel_kv_key *key,
			  uint32_t parent, const struct accel_kv_key *parent_key)
{
	static const struct accel_kv_key none;
	struct kv_meta *meta = &kv->metas[block];
	uint64_t generation = kv_generation(ld(&meta->state)) + 1;

	kv_key_set(&meta->key, key);
	kv_key_set(&meta->parent_key, parent_key ? parent_key : &none);
	st(&meta->parent, parent);
	st(&meta->children, 0);
	st(&meta->owner, kv->owner);
	st(&meta->state, kv_state_word(generation, KV_RESERVED));
	grow(&kv->head->reserved, 1);
}

static int reserve(struct accel_kv *kv, const struct accel_kv_key *key,
		   const struct accel_kv_key *parent_key, uint32_t *block)
{
	uint32_t parent = KV_NIL;

	if (lookup(kv, key) != KV_NIL)
		return -EEXIST;
	if (parent_key) {
		parent = lookup(kv, parent_key);
		if (parent == KV_NIL)
			return -ENOENT;
	}
	/* First, so that the parent is no leaf that could be evicted for its child. */
	kv_child_add(kv, parent);
	*block = kv_block_take(kv);
	if (*block == KV_NIL) {
		kv_child_drop(kv, parent);
		return -ENOSPC;
	}
	reserve_block(kv, *block, key, parent, parent_key);
	return 0;
}

/* Whether this handle holds the reservation that a slot names. */
static bool holds(const struct accel_kv *kv, const struct accel_kv_slot *slot)
{
	const struct kv_meta *meta;

	if (!slot || slot->block >= kv->shape.capacity)
		return false;
	meta = &kv->metas[slot->block];
	return ld(&meta->state) == kv_state_word(slot->generation, KV_RESERVED) &&
	       ld(&meta->owner) == kv->owner;
}

/* The block is whole and its words are written before its state says so; then it can be found. */
static int publish(struct accel_kv *kv, uint32_t block, uint64_t checksum)
{
	struct kv_meta *meta = &kv->metas[block];
	struct accel_kv_key key = kv_key_get(&meta->key);
	uint64_t hash = kv_hash(&key), state;
	uint64_t generation = kv_generation(ld(&meta->state));

	if (kv_index_find(kv, hash, &key, &state) != KV_NIL) {
		grow(&kv->head->totals.duplicates, 1);
		kv_block_unreserve(kv, block);
		return -EEXIST;
	}
	if (!kv_index_room(kv, hash)) {
		kv_block_unreserve(kv, block);
		return -ENOSPC;
	}
	st(&meta->checksum, checksum);
	st(&meta->stamp, kv_tick(kv));
	st(&meta->pin, kv_pin_word(kv_pin_next_epoch(ld(&meta->pin)), 0, 0));
	st(&meta->state, kv_state_word(generation, KV_CACHED));
	kv_index_insert(kv, hash, block);
	kv_leaf_add(kv, block);
	grow(&kv->head->reserved, -1);
	grow(&kv->head->cached, 1);
	grow(&kv->head->totals.published, 1);
	return 0;
}

static int forget(struct accel_kv *kv, const struct accel_kv_key *key)
{
	uint32_t block = lookup(kv, key);

	if (block == KV_NIL)
		return -ENOENT;
	if (ld(&kv->metas[block].children))
		return -EBUSY;
	kv_block_unlink(kv, block, kv_block_claim(kv, block, kv_now()) ? KV_FREE : KV_AWAITING);
	grow(&kv->head->totals.removed, 1);
	return 0;
}

int accel_kv_reserve(struct accel_kv *kv, const struct accel_kv_key *key,
		     const struct accel_kv_key *parent, struct accel_kv_slot *slot)
{
	uint32_t block;
	int err;

	if (!key || !slot)
		return -EINVAL;
	if (lookup(kv, key) != KV_NIL)
		return -EEXIST;
	err = kv_lock(kv);
	if (err)
		return err;
	err = reserve(kv, key, parent, &block);
	if (!err) {
		bump(&kv->reservations, 1);
		*slot = (struct accel_kv_slot){
			.data = kv_block_data(kv, block), .block = block,
			.generation = kv_generation(ld(&kv->metas[block].state)),
		};
	}
	kv_unlock(kv);
	return err;
}

int accel_kv_publish(struct accel_kv *kv, struct accel_kv_slot *slot)
{
	uint64_t checksum = 0;
	int err;

	if (!holds(kv, slot))
		return -EINVAL;
	if (kv->shape.flags & ACCEL_KV_CHECKSUM)
		checksum = kv_checksum(kv, kv_block_data(kv, slot->block));
	err = kv_lock(kv);
	if (err)
		return err;
	err = -EINVAL;
	if (holds(kv, slot)) {
		err = publish(kv, slot->block, checksum);
		bump(&kv->reservations, -1);
		slot->data = NULL;
	}
	kv_unlock(kv);
	return err;
}

void accel_kv_abort(struct accel_kv *kv, struct accel_kv_slot *slot)
{
	if (!holds(kv, slot) || kv_lock(kv))
		return;
	if (holds(kv, slot)) {
		kv_block_unreserve(kv, slot->block);
		bump(&kv->reservations, -1);
		slot->data = NULL;
	}
	kv_unlock(kv);
}

int accel_kv_remove(struct accel_kv *kv, const struct accel_kv_key *key)
{
	int err;

	if (!key)
		return -EINVAL;
	err = kv_lock(kv);
	if (err)
		return err;
	err = forget(kv, key);
	kv_unlock(kv);
	return err;
}
