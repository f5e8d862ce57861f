/* SPDX-License-Identifier: MIT */
/*
 * What a KV namespace looks like in its buffer: all that processes, and later
 * nodes, share. Little-endian; each word naturally aligned and only ever read
 * and written whole.
 *
 * The state word of a block, with what was written before it (key, parent,
 * owner, checksum), and the pin word are the truth. The index, lists, heap and
 * counts follow from them and are made anew when a lock owner dies in between.
 */
#ifndef KV_LAYOUT_H
#define KV_LAYOUT_H

#include <stdint.h>

#include <accel/kv.h>

/*
 * In this order, each part page-aligned:
 *
 *	header		struct kv_header
 *	sessions	struct kv_session [KV_SESSIONS]
 *	index		struct kv_bucket [buckets]
 *	meta		struct kv_meta [capacity]
 *	heap		struct kv_leaf [capacity]
 *	blocks		block_bytes each
 *
 * A lookup by one-sided reads, in three steps:
 * 1. hash = kv_hash(key) names two buckets: (low half x buckets) >> 32 and
 *    (high half x buckets) >> 32. Read both, 128 bytes each. An entry with that
 *    hash whose check agrees names a block; a torn entry fails its check. An
 *    entry never moves while its block is cached, so a miss is a miss.
 * 2. Read the block's first meta line: the state must be CACHED and the key
 *    equal. Compare and swap the pin word to add a pin, read the state again.
 * 3. Read the block; take the pin back before its lease is over, or discard.
 */

#define KV_MAGIC 0x31564b4c4f4f504eull	/* "NPOOLKV1" */
#define KV_VERSION 1u
#define KV_PAGE 4096ull
#define KV_SESSIONS 1024u
#define KV_CAPACITY_MAX (1ull << 31)
#define KV_BYTES_MAX (1ull << 62)	/* of all blocks together */
#define KV_BLOCK_ALIGN 64u
#define KV_BUCKET_ENTRIES 8
/* Two blocks a bucket on average: that both of a key's are full does not happen. */
#define KV_BLOCKS_PER_BUCKET 2
#define KV_BUCKETS_MIN 8
#define KV_NIL UINT32_MAX

enum kv_state {
	KV_FREE = 0,
	KV_RESERVED = 1,
	KV_CACHED = 2,
	KV_AWAITING = 3,	/* removed, and not all pins have ended */
};

/* State word: generation, which grows with each reservation, above the state. */
#define KV_STATE_BITS 8

/*
 * Pin word: epoch, count, end of the last lease in ms. The epoch grows when
 * pins are ended by force, so that their owners learn of it. KV_PIN_CLOSED as
 * count keeps readers out: the block is not cached, or about not to be.
 */
#define KV_PIN_LEASE_BITS 38
#define KV_PIN_COUNT_BITS 16
#define KV_PIN_EPOCH_BITS 10
#define KV_PIN_CLOSED ((1u << KV_PIN_COUNT_BITS) - 1)

/* Lock word: a number that grows with each acquisition, above session + 1 or 0. */
#define KV_LOCK_OWNER_BITS 16

/* Owner of a reservation: the session's epoch above its number. */
#define KV_OWNER_BITS 16

/** struct kv_shape - fixed at creation */
struct kv_shape {
	uint64_t magic;
	uint32_t version;
	uint32_t flags;
	uint64_t block_bytes;
	uint64_t capacity;
	uint64_t salt;
	uint64_t lease_ns;
	char model[ACCEL_KV_MODEL_LEN];
	uint64_t buckets;
	uint64_t sessions_at;	/* offsets in the buffer, bytes */
	uint64_t index_at;
	uint64_t meta_at;
	uint64_t heap_at;
	uint64_t blocks_at;
	uint64_t end;
	uint64_t digest;	/* XXH3_64 of all before */
};

/** struct kv_totals - since creation; of the guarded part */
struct kv_totals {
	uint64_t hits;		/* these, of sessions that have ended */
	uint64_t misses;
	uint64_t published;
	uint64_t duplicates;
	uint64_t evicted;
	uint64_t removed;
	uint64_t expired;
	uint64_t recovered;
};

struct kv_header {
	struct kv_shape shape;
	_Alignas(512) uint64_t lock;
	_Alignas(128) uint64_t clock;	/* one tick a call, for last use */
	_Alignas(128) uint64_t sessions;	/* slots from here on were never taken */
	/* From here on: guarded by the lock. */
	_Alignas(128) uint32_t fresh;	/* blocks from here on were never used */
	uint32_t free_head;
	uint32_t free_count;		/* in the list, so without the fresh */
	uint32_t wait_head;		/* blocks AWAITING */
	uint32_t wait_count;
	uint32_t leaf_count;		/* of the heap */
	uint32_t cached;
	uint32_t reserved;
	uint64_t reaped_ms;		/* when dead sessions were last looked for */
	struct kv_totals totals;
};

/** struct kv_session - one handle; a slot is taken by one compare and swap of @client */
struct kv_session {
	_Alignas(64) uint64_t client;	/* accel_client_id(), 0 if the slot is free */
	uint64_t epoch;
	uint64_t hits;
	uint64_t misses;
	uint64_t expired;
};

struct kv_entry {
	uint64_t hash;
	uint64_t word;		/* check above block; 0 if the entry is free */
};

struct kv_bucket {
	_Alignas(128) struct kv_entry entries[KV_BUCKET_ENTRIES];
};

struct kv_meta {
	/* For readers */
	_Alignas(128) uint64_t state;
	uint64_t pin;
	struct accel_kv_key key;
	uint64_t stamp;		/* clock at the last use */
	uint64_t checksum;
	uint64_t owner;		/* of a reservation */
	uint64_t pad;
	/* For writers */
	struct accel_kv_key parent_key;
	uint32_t parent;	/* KV_NIL at the start of a chain */
	uint32_t children;	/* derived, from here on */
	uint32_t next;		/* in the list of free or of awaiting blocks */
	uint32_t leaf;		/* place in the heap, KV_NIL if in none */
};

/** struct kv_leaf - a cached block without continuation, in a binary heap by @stamp */
struct kv_leaf {
	uint64_t stamp;		/* the block's own may be newer */
	uint32_t block;
	uint32_t pad;
};

_Static_assert(sizeof(struct kv_shape) == 176, "shape is part of the layout");
_Static_assert(sizeof(struct kv_header) <= KV_PAGE, "header fits its page");
_Static_assert(sizeof(struct kv_session) == 64, "session is part of the layout");
_Static_assert(sizeof(struct kv_bucket) == 128, "bucket is part of the layout");
_Static_assert(sizeof(struct kv_meta) == 128, "meta is part of the layout");
_Static_assert(sizeof(struct kv_leaf) == 16, "leaf is part of the layout");
_Static_assert(KV_SESSIONS < 1u << KV_LOCK_OWNER_BITS, "a lock word names any session");

#endif
