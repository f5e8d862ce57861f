// SPDX-License-Identifier: MIT
/*
 * After a death: give back what dead sessions had reserved, and make anew what
 * follows from the states of the blocks.
 *
 * All under the lock, while readers go on: of the index only wrong entries are
 * cleared and missing ones added, so that no cached block is out of sight for
 * an instant. Whoever dies in here leaves the same work to the next.
 */
#include <accel/accel.h>

#include "internal.h"

/* Make a block's words such as its state promises. */
static void settle(struct accel_kv *kv, uint32_t block)
{
	struct kv_meta *meta = &kv->metas[block];
	uint64_t word = ld(&meta->state), pin = ld(&meta->pin);
	uint64_t closed = kv_pin_word(kv_pin_next_epoch(pin), KV_PIN_CLOSED, 0);

	switch (kv_state(word)) {
	case KV_CACHED:
		/* Its evictor died on the way; no pin was left when it closed the word. */
		if (kv_pin_count(pin) == KV_PIN_CLOSED)
			st(&meta->pin, kv_pin_word(kv_pin_next_epoch(pin), 0, 0));
		break;
	case KV_AWAITING:
		break;
	case KV_FREE:
	case KV_RESERVED:
		if (kv_pin_count(pin) != KV_PIN_CLOSED)
			st(&meta->pin, closed);
		break;
	default:
		st(&meta->pin, closed);
		st(&meta->state, kv_state_word(kv_generation(word), KV_FREE));
	}
}

/* A cached block that cannot be found, for want of an entry or of a key of its own. */
static void forget(struct accel_kv *kv, uint32_t block)
{
	struct kv_meta *meta = &kv->metas[block];

	st(&meta->state, kv_state_word(kv_generation(ld(&meta->state)), KV_AWAITING));
}

static void index_missing(struct accel_kv *kv, uint32_t used)
{
	for (uint32_t i = 0; i < used; i++) {
		struct accel_kv_key key;
		uint64_t hash, state;

		if (kv_state(ld(&kv->metas[i].state)) != KV_CACHED)
			continue;
		key = kv_key_get(&kv->metas[i].key);
		hash = kv_hash(&key);
		if (kv_index_has(kv, hash, i))
			continue;
		if (kv_index_find(kv, hash, &key, &state) != KV_NIL ||
		    kv_index_insert(kv, hash, i))
			forget(kv, i);
	}
}

static void count_children(struct accel_kv *kv, uint32_t used)
{
	for (uint32_t i = 0; i < used; i++)
		st(&kv->metas[i].children, 0);
	for (uint32_t i = 0; i < used; i++) {
		struct kv_meta *meta = &kv->metas[i], *parent;
		unsigned int state = kv_state(ld(&meta->state));
		uint32_t at = ld(&meta->parent);

		if (at == KV_NIL || (state != KV_CACHED && state != KV_RESERVED))
			continue;
		parent = at < used ? &kv->metas[at] : NULL;
		if (parent && kv_state(ld(&parent->state)) == KV_CACHED)
			st(&parent->children, ld(&parent->children) + 1);
		else
			st(&meta->parent, KV_NIL);
	}
}

static void relist(struct accel_kv *kv, uint32_t used)
{
	uint32_t count[KV_AWAITING + 1] = { 0 }, free = KV_NIL, wait = KV_NIL;
	struct kv_header *head = kv->head;

	for (uint32_t i = used; i--;) {
		struct kv_meta *meta = &kv->metas[i];
		unsigned int state = kv_state(ld(&meta->state));

		if (state > KV_AWAITING)
			continue;
		count[state]++;
		if (state == KV_FREE) {
			st(&meta->next, free);
			free = i;
		} else if (state == KV_AWAITING) {
			st(&meta->next, wait);
			wait = i;
		}
	}
	st(&head->free_head, free);
	st(&head->free_count, count[KV_FREE]);
	st(&head->wait_head, wait);
	st(&head->wait_count, count[KV_AWAITING]);
	st(&head->cached, count[KV_CACHED]);
	st(&head->reserved, count[KV_RESERVED]);
}

bool kv_session_lives(const struct accel_kv *kv, uint32_t session)
{
	uint64_t client = ld(&kv->sessions[session].client);

	/* An error is no proof of death. */
	return client && (client == kv->client || accel_client_alive(kv->dev, client));
}

void kv_rebuild(struct accel_kv *kv)
{
	uint32_t used = kv_used(kv);

	for (uint32_t i = 0; i < used; i++)
		settle(kv, i);
	kv_index_check(kv, true);
	index_missing(kv, used);
	count_children(kv, used);
	relist(kv, used);
	kv_leaf_rebuild(kv);
	kv->suspect = false;
}

static bool find_dead(const struct accel_kv *kv, bool *dead)
{
	uint32_t sessions = kv_sessions(kv);
	bool any = false;

	for (uint32_t i = 0; i < sessions; i++) {
		dead[i] = ld(&kv->sessions[i].client) && !kv_session_lives(kv, i);
		any |= dead[i];
	}
	return any;
}

static bool owned(const struct accel_kv *kv, uint32_t block, const bool *dead)
{
	uint64_t owner = ld(&kv->metas[block].owner);
	uint64_t session = owner & ((1u << KV_OWNER_BITS) - 1);

	return session < KV_SESSIONS && !dead[session] && ld(&kv->sessions[session].client) &&
	       kv_owner(session, ld(&kv->sessions[session].epoch)) == owner;
}

void kv_session_end(struct accel_kv *kv, uint32_t session)
{
	struct kv_session *from = &kv->sessions[session];
	struct kv_totals *totals = &kv->head->totals;

	grow(&totals->hits, ld(&from->hits));
	grow(&totals->misses, ld(&from->misses));
	grow(&totals->expired, ld(&from->expired));
	st(&from->hits, 0);
	st(&from->misses, 0);
	st(&from->expired, 0);
	st(&from->client, 0);
}

/* A session's slot is given up last, so that who dies in here leaves it to be found again. */
void kv_reap(struct accel_kv *kv, bool all)
{
	uint32_t used = kv_used(kv);
	bool dead[KV_SESSIONS] = { false }, any = find_dead(kv, dead);

	for (uint32_t i = 0; (any || all) && i < used; i++) {
		if (kv_state(ld(&kv->metas[i].state)) == KV_RESERVED && !owned(kv, i, dead))
			kv_block_unreserve(kv, i);
	}
	for (uint32_t i = 0; any && i < KV_SESSIONS; i++) {
		if (dead[i])
			kv_session_end(kv, i);
	}
	if (any)
		grow(&kv->head->totals.recovered, 1);
	st(&kv->head->reaped_ms, kv_now() / KV_NS_PER_MS);
}
