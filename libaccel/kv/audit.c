// SPDX-License-Identifier: MIT
/*
 * The full check of a namespace: every block, list, link, count and index entry
 * against the states of the blocks. It mends nothing but what the dead, and
 * leases that are over, have left.
 */
#include <stdlib.h>

#include "internal.h"

/* What was found of each block while walking. */
struct found {
	uint32_t children;
	uint32_t lists;		/* in how many it is */
};

struct check {
	struct accel_kv *kv;
	struct found *found;
	uint32_t used;
	uint64_t now;
	struct accel_kv_audit audit;
};

/* End the pins whose leases are over, as an eviction would. */
static void expire(struct check *c, uint64_t *pin)
{
	uint64_t word = ld(pin);
	uint32_t count = kv_pin_count(word);

	if (!count || count == KV_PIN_CLOSED || kv_pin_runs(word, c->now))
		return;
	if (cas(pin, word, kv_pin_word(kv_pin_next_epoch(word), 0, 0)))
		grow(&c->kv->head->totals.expired, count);
}

static void check_list(struct check *c, uint32_t block, uint32_t length, enum kv_state state)
{
	if (length > c->used) {
		c->audit.broken++;
		return;
	}
	for (; block != KV_NIL; length--) {
		if (!length || block >= c->used) {
			c->audit.broken++;
			return;
		}
		if (kv_state(ld(&c->kv->metas[block].state)) != state)
			c->audit.broken++;
		c->found[block].lists++;
		block = ld(&c->kv->metas[block].next);
	}
	c->audit.broken += length != 0;
}

static void check_heap(struct check *c)
{
	struct accel_kv *kv = c->kv;
	uint32_t count = ld(&kv->head->leaf_count);

	if (count > c->used) {
		c->audit.broken++;
		return;
	}
	for (uint32_t i = 0; i < count; i++) {
		uint32_t block = ld(&kv->heap[i].block);
		uint64_t stamp = ld(&kv->heap[i].stamp);

		if (block >= c->used) {
			c->audit.broken++;
			continue;
		}
		c->found[block].lists++;
		c->audit.broken += kv_state(ld(&kv->metas[block].state)) != KV_CACHED ||
				   ld(&kv->metas[block].leaf) != i;
		c->audit.broken += i && ld(&kv->heap[(i - 1) / 2].stamp) > stamp;
	}
}

static void find_child(struct check *c, const struct kv_meta *meta)
{
	uint32_t parent = ld(&meta->parent);

	if (parent == KV_NIL)
		return;
	if (parent >= c->used || kv_state(ld(&c->kv->metas[parent].state)) != KV_CACHED) {
		c->audit.broken++;
		return;
	}
	c->found[parent].children++;
	c->audit.broken += ld(&c->kv->metas[parent].key.lo) != ld(&meta->parent_key.lo) ||
			   ld(&c->kv->metas[parent].key.hi) != ld(&meta->parent_key.hi);
}

static void check_pins(struct check *c, struct kv_meta *meta, bool open)
{
	uint64_t word;

	expire(c, &meta->pin);
	word = ld(&meta->pin);
	if (open == (kv_pin_count(word) == KV_PIN_CLOSED))
		c->audit.broken++;
	else if (open)
		c->audit.pins += kv_pin_count(word);
}

static void check_cached(struct check *c, uint32_t block)
{
	struct kv_meta *meta = &c->kv->metas[block];
	struct accel_kv_key key = kv_key_get(&meta->key);
	uint64_t state;

	c->audit.cached++;
	find_child(c, meta);
	check_pins(c, meta, true);
	c->audit.broken += kv_index_find(c->kv, kv_hash(&key), &key, &state) != block;
}

static void check_states(struct check *c)
{
	for (uint32_t i = 0; i < c->used; i++) {
		struct kv_meta *meta = &c->kv->metas[i];

		switch (kv_state(ld(&meta->state))) {
		case KV_FREE:
			c->audit.free++;
			check_pins(c, meta, false);
			break;
		case KV_RESERVED:
			c->audit.reserved++;
			find_child(c, meta);
			check_pins(c, meta, false);
			break;
		case KV_CACHED:
			check_cached(c, i);
			break;
		case KV_AWAITING:
			c->audit.awaiting++;
			check_pins(c, meta, true);
			break;
		default:
			c->audit.lost++;
		}
	}
	c->audit.free += c->kv->shape.capacity - c->used;
}

/* Each block belongs in one list, but reserved ones, and cached ones with children, in none. */
static void check_places(struct check *c)
{
	for (uint32_t i = 0; i < c->used; i++) {
		const struct kv_meta *meta = &c->kv->metas[i];
		unsigned int state = kv_state(ld(&meta->state));
		uint32_t children = state == KV_CACHED ? ld(&meta->children) : 0;
		bool listed = state != KV_RESERVED && !children;

		c->audit.broken += children != c->found[i].children;
		c->audit.lost += c->found[i].lists != listed;
	}
}

static void check_all(struct check *c)
{
	struct kv_header *head = c->kv->head;

	check_list(c, ld(&head->free_head), ld(&head->free_count), KV_FREE);
	check_list(c, ld(&head->wait_head), ld(&head->wait_count), KV_AWAITING);
	check_heap(c);
	check_states(c);
	check_places(c);
	c->audit.broken += kv_index_check(c->kv, false);
	c->audit.broken += c->audit.cached != ld(&head->cached);
	c->audit.broken += c->audit.reserved != ld(&head->reserved);
}

int accel_kv_audit(struct accel_kv *kv, struct accel_kv_audit *audit)
{
	struct check c = { .kv = kv };
	int err;

	if (!audit)
		return -EINVAL;
	err = kv_lock(kv);
	if (err)
		return err;
	c.now = kv_now();
	c.used = kv_used(kv);
	c.found = calloc(c.used + 1, sizeof(*c.found));
	err = -ENOMEM;
	if (!c.found)
		goto unlock;
	kv_reap(kv, true);
	kv_reclaim(kv, c.now);
	check_all(&c);
	*audit = c.audit;
	free(c.found);
	err = 0;
unlock:
	kv_unlock(kv);
	return err;
}
