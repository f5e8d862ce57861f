/* SPDX-License-Identifier: MIT */
/*
 * What the files of the KV cache share: the handle, shared-memory access, the
 * words of layout.h taken apart.
 *
 * Shared memory is read by ld() and written by st() only: acquire and release,
 * so that what a killed process has written is a prefix of its program, and a
 * reader sees a word's predecessors. A word is read once, then checked. The
 * shape is copied at open and never read again.
 */
#ifndef KV_INTERNAL_H
#define KV_INTERNAL_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <time.h>

#include "layout.h"

#define KV_NS_PER_MS 1000000ull
#define KV_NS_PER_S 1000000000ull
#define KV_LEASE_NS (5 * KV_NS_PER_S)
#define KV_LEASE_MAX_NS (24 * 3600 * KV_NS_PER_S)

struct accel_kv {
	struct accel_dev *dev;
	struct accel_buffer *buffer;
	void *map;
	uint64_t map_bytes;
	struct kv_shape shape;
	struct accel_kv_key root;	/* seeds every key */
	struct kv_header *head;
	struct kv_session *sessions;
	struct kv_bucket *index;
	struct kv_meta *metas;
	struct kv_leaf *heap;
	char *blocks;
	uint64_t client;
	uint32_t session;
	uint64_t owner;			/* of this handle's reservations */
	uint64_t reservations;		/* of this handle, live */
	pthread_mutex_t mutex;		/* held around the shared lock */
	bool suspect;			/* something derived was wrong; under the lock */
};

#define ld(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define st(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
#define bump(p, n) __atomic_fetch_add(p, n, __ATOMIC_RELAXED)

static inline bool cas(uint64_t *p, uint64_t old, uint64_t new)
{
	return __atomic_compare_exchange_n(p, &old, new, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_ACQUIRE);
}

/* Only under the lock: no other writer, so no need for a locked instruction. */
#define grow(p, n) st(p, ld(p) + (n))

static inline uint64_t kv_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * KV_NS_PER_S + ts.tv_nsec;
}

static inline uint64_t kv_state_word(uint64_t generation, enum kv_state state)
{
	return generation << KV_STATE_BITS | state;
}

static inline uint64_t kv_generation(uint64_t word)
{
	return word >> KV_STATE_BITS;
}

static inline unsigned int kv_state(uint64_t word)
{
	return word & ((1u << KV_STATE_BITS) - 1);
}

static inline uint64_t kv_pin_word(uint32_t epoch, uint32_t count, uint64_t lease_ms)
{
	return (uint64_t)epoch << (KV_PIN_LEASE_BITS + KV_PIN_COUNT_BITS) |
	       (uint64_t)count << KV_PIN_LEASE_BITS |
	       (lease_ms & ((1ull << KV_PIN_LEASE_BITS) - 1));
}

static inline uint32_t kv_pin_epoch(uint64_t word)
{
	return word >> (KV_PIN_LEASE_BITS + KV_PIN_COUNT_BITS);
}

static inline uint32_t kv_pin_next_epoch(uint64_t word)
{
	return (kv_pin_epoch(word) + 1) & ((1u << KV_PIN_EPOCH_BITS) - 1);
}

static inline uint32_t kv_pin_count(uint64_t word)
{
	return word >> KV_PIN_LEASE_BITS & KV_PIN_CLOSED;
}

static inline uint64_t kv_pin_lease_ms(uint64_t word)
{
	return word & ((1ull << KV_PIN_LEASE_BITS) - 1);
}

/* Leases in the word are rounded up to ms, so none is over before its owner's is. */
static inline bool kv_pin_runs(uint64_t word, uint64_t now)
{
	return kv_pin_count(word) && kv_pin_count(word) != KV_PIN_CLOSED &&
	       kv_pin_lease_ms(word) >= now / KV_NS_PER_MS;
}

static inline uint64_t kv_owner(uint32_t session, uint64_t epoch)
{
	return epoch << KV_OWNER_BITS | session;
}

static inline bool kv_key_is(const struct accel_kv_key *shared, const struct accel_kv_key *key)
{
	return ld(&shared->lo) == key->lo && ld(&shared->hi) == key->hi;
}

static inline void kv_key_set(struct accel_kv_key *shared, const struct accel_kv_key *key)
{
	st(&shared->lo, key->lo);
	st(&shared->hi, key->hi);
}

static inline struct accel_kv_key kv_key_get(const struct accel_kv_key *shared)
{
	return (struct accel_kv_key){ .lo = ld(&shared->lo), .hi = ld(&shared->hi) };
}

static inline void *kv_block_data(const struct accel_kv *kv, uint32_t block)
{
	return kv->blocks + block * kv->shape.block_bytes;
}

/* Blocks that were ever used; what lies behind has never been written. */
static inline uint32_t kv_used(const struct accel_kv *kv)
{
	uint32_t fresh = ld(&kv->head->fresh);

	return fresh < kv->shape.capacity ? fresh : kv->shape.capacity;
}

static inline uint32_t kv_sessions(const struct accel_kv *kv)
{
	uint64_t sessions = ld(&kv->head->sessions);

	return sessions < KV_SESSIONS ? sessions : KV_SESSIONS;
}

/* key.c */
uint64_t kv_hash(const struct accel_kv_key *key);
void kv_key_root(struct accel_kv *kv);
uint64_t kv_checksum(const struct accel_kv *kv, const void *data);

/* index.c */
void kv_index_prefetch(const struct accel_kv *kv, uint64_t hash);
uint32_t kv_index_candidate(const struct accel_kv *kv, uint64_t hash);
bool kv_block_holds(const struct accel_kv *kv, uint32_t block, const struct accel_kv_key *key,
		    uint64_t *state);
uint32_t kv_index_find(const struct accel_kv *kv, uint64_t hash, const struct accel_kv_key *key,
		       uint64_t *state);
bool kv_index_room(const struct accel_kv *kv, uint64_t hash);
int kv_index_insert(struct accel_kv *kv, uint64_t hash, uint32_t block);
void kv_index_erase(struct accel_kv *kv, uint64_t hash, uint32_t block);
uint64_t kv_index_check(struct accel_kv *kv, bool mend);
bool kv_index_has(const struct accel_kv *kv, uint64_t hash, uint32_t block);

/* lru.c: the heap of leaves; under the lock */
uint64_t kv_tick(struct accel_kv *kv);
void kv_touch(struct accel_kv *kv, uint32_t block, uint64_t stamp);
void kv_leaf_add(struct accel_kv *kv, uint32_t block);
void kv_leaf_remove(struct accel_kv *kv, uint32_t block);
void kv_leaf_rebuild(struct accel_kv *kv);
uint32_t kv_leaf_victim(struct accel_kv *kv, uint64_t now);

/* block.c: what becomes of a block; under the lock */
bool kv_block_claim(struct accel_kv *kv, uint32_t block, uint64_t now);
void kv_block_free(struct accel_kv *kv, uint32_t block);
void kv_block_unlink(struct accel_kv *kv, uint32_t block, enum kv_state next);
void kv_block_unreserve(struct accel_kv *kv, uint32_t block);
void kv_child_add(struct accel_kv *kv, uint32_t parent);
void kv_child_drop(struct accel_kv *kv, uint32_t parent);
void kv_reclaim(struct accel_kv *kv, uint64_t now);
uint32_t kv_evict(struct accel_kv *kv, uint64_t now);
uint32_t kv_block_take(struct accel_kv *kv);

/* recover.c; under the lock */
bool kv_session_lives(const struct accel_kv *kv, uint32_t session);
void kv_rebuild(struct accel_kv *kv);
void kv_session_end(struct accel_kv *kv, uint32_t session);
void kv_reap(struct accel_kv *kv, bool all);

/* lock.c */
int kv_lock(struct accel_kv *kv);
void kv_unlock(struct accel_kv *kv);

#endif
