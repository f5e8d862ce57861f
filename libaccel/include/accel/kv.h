/* SPDX-License-Identifier: MIT */
/*
 * A distributed KV cache: blocks of fixed size under 128-bit keys that are
 * chained over a prompt's prefix.
 *
 * A namespace lives wholly in one pool buffer, index and blocks. Any process
 * that can map the buffer can use it; none is special, and any may be killed at
 * any instruction: the others go on at once and what it held is reclaimed.
 *
 * A writer reserves a block, fills it, publishes it; a reader gets a pointer
 * to the block itself, pinned by a lease. A block is seen whole or not at all.
 * Lookups take no lock. A full namespace evicts the least recently used block
 * that has no cached continuation and no lease.
 *
 * Thread-safety: any thread may use a namespace at any time; a reservation or a
 * pin belongs to one thread at a time.
 */
#ifndef ACCEL_KV_H
#define ACCEL_KV_H

#include <accel/buffer.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

struct accel_kv;

/** struct accel_kv_key - identity of a block and of the whole prefix it ends */
struct accel_kv_key {
	uint64_t lo;
	uint64_t hi;
};

/** ACCEL_KV_MODEL_LEN - bytes of a model tag, its terminating zero included */
#define ACCEL_KV_MODEL_LEN 64

/** ACCEL_KV_CHECKSUM - keep a checksum of every block, for accel_kv_verify() and copies */
#define ACCEL_KV_CHECKSUM (1u << 0)

/** struct accel_kv_config - shape of a namespace, fixed at its creation */
struct accel_kv_config {
	uint64_t block_bytes;	/* a multiple of 64 */
	uint64_t capacity;	/* blocks */
	uint64_t salt;		/* enters every key: tenants with other salts share nothing */
	uint64_t lease_ns;	/* how long a pin holds by default, at most a day; 0 takes 5 s */
	uint32_t flags;		/* ACCEL_KV_CHECKSUM */
	char model[ACCEL_KV_MODEL_LEN];	/* enters every key: "name/revision/dtype", free form */
};

/*
 * Calls that change, open or count in a namespace return -ETIMEDOUT when a living
 * process has held them up for 10 s: it is stopped, or the memory is corrupt.
 */

/**
 * accel_kv_create() - allocate a buffer and make an empty namespace in it
 * @where: as for accel_buffer_create(); NULL is anywhere
 *
 * -EINVAL for a shape that cannot be; else the errors of accel_buffer_create().
 */
int accel_kv_create(struct accel_dev *dev, const struct accel_kv_config *config,
		    const struct accel_where *where, struct accel_kv **kv);

/**
 * accel_kv_open() - use the namespace in a buffer that another process made
 * @fd: the buffer's descriptor, stays the caller's
 *
 * -EPROTO not a namespace, or one of another layout version; -EUSERS too many
 * users at once.
 */
int accel_kv_open(struct accel_dev *dev, int fd, struct accel_kv **kv);

/** accel_kv_export() - a descriptor of the namespace's buffer, the caller's to close */
int accel_kv_export(struct accel_kv *kv, int *fd);

/**
 * accel_kv_close() - stop using it
 *
 * Reservations are dropped. Pins must have been released: their data is unmapped, and
 * what they hold stays held until its lease runs out.
 */
void accel_kv_close(struct accel_kv *kv);

/** accel_kv_config() - the namespace's shape */
void accel_kv_config(const struct accel_kv *kv, struct accel_kv_config *config);

/* Keys. A chain starts at the namespace's root: parent NULL. */

/** accel_kv_key_tokens() - key of a block from its token ids and the key of the prefix */
void accel_kv_key_tokens(const struct accel_kv *kv, const struct accel_kv_key *parent,
			 const uint32_t *tokens, size_t count, struct accel_kv_key *key);

/** accel_kv_key_hash() - the same from a hash of the block that the caller has already */
void accel_kv_key_hash(const struct accel_kv *kv, const struct accel_kv_key *parent,
		       uint64_t hash, struct accel_kv_key *key);

/* Reading */

/**
 * struct accel_kv_pin - a block that may be read until its lease runs out
 *
 * Plain data; ends by accel_kv_release(). The fields past @lease_end are the
 * library's.
 */
struct accel_kv_pin {
	const void *data;	/* block_bytes of it, in the pool */
	uint64_t lease_end;	/* ns of CLOCK_MONOTONIC */
	uint64_t generation;
	uint32_t block;
	uint32_t epoch;
};

/**
 * accel_kv_match() - length of the longest cached prefix of a chain
 * @keys: the chain, first block first
 * @count: keys
 * @pins: NULL, or room for @count; the matched blocks are then pinned as by
 *        accel_kv_get() for the namespace's lease
 * @matched: out
 *
 * Counts as a use of the matched blocks; in the stats as a hit for each, and a
 * miss where the chain goes on.
 */
int accel_kv_match(struct accel_kv *kv, const struct accel_kv_key *keys, size_t count,
		   struct accel_kv_pin *pins, size_t *matched);

/**
 * accel_kv_get() - pin a block and point at its bytes
 * @lease_ns: how long, at most a day; 0 takes the namespace's
 *
 * Where the leases of several pins of a block overlap, a pin that is not
 * released, its owner dead, holds the block until the last of them is over.
 * -ENOENT it is not cached, -EUSERS 65,534 pins hold it already.
 */
int accel_kv_get(struct accel_kv *kv, const struct accel_kv_key *key, uint64_t lease_ns,
		 struct accel_kv_pin *pin);

/**
 * accel_kv_release() - end a pin
 *
 * -ESTALE: its lease ran out before, and what was read since may be another
 * block's; the reader must discard it.
 */
int accel_kv_release(struct accel_kv *kv, struct accel_kv_pin *pin);

/**
 * accel_kv_verify() - check a pinned block against its checksum
 *
 * -EBADMSG it is wrong, -ESTALE the lease ran out, -EOPNOTSUPP the namespace keeps none.
 */
int accel_kv_verify(struct accel_kv *kv, const struct accel_kv_pin *pin);

/**
 * accel_kv_copy() - copy a cached block out
 * @dst: block_bytes of room
 *
 * -ENOENT it is not cached, -ESTALE the lease ran out in the middle, -EBADMSG its checksum
 * is wrong; @dst is then undefined.
 */
int accel_kv_copy(struct accel_kv *kv, const struct accel_kv_key *key, void *dst);

/* Writing */

/** struct accel_kv_slot - a block being written; plain data */
struct accel_kv_slot {
	void *data;		/* block_bytes of room, in the pool, its content undefined */
	uint64_t generation;
	uint32_t block;
	uint32_t pad;
};

/**
 * accel_kv_reserve() - get a block to write
 * @parent: key of the block before it in the chain, NULL for the first; eviction
 *          spares it while it has this continuation
 *
 * Evicts if the namespace is full. -EEXIST the key is cached, -ENOENT the
 * parent is not, -ENOSPC nothing can be evicted.
 */
int accel_kv_reserve(struct accel_kv *kv, const struct accel_kv_key *key,
		     const struct accel_kv_key *parent, struct accel_kv_slot *slot);

/**
 * accel_kv_publish() - make a written block visible
 *
 * -EEXIST another writer was first: the key is cached and the slot is free
 * again, which most callers count as success. -EINVAL the slot is no reservation of this
 * handle. -ENOSPC the index has no room for this key, and the slot is free again: with
 * keys made here it does not happen.
 */
int accel_kv_publish(struct accel_kv *kv, struct accel_kv_slot *slot);

/** accel_kv_abort() - give a reserved block back */
void accel_kv_abort(struct accel_kv *kv, struct accel_kv_slot *slot);

/**
 * accel_kv_remove() - forget a block
 *
 * Readers that have it pinned keep it until they release. -ENOENT it is not cached,
 * -EBUSY it has continuations, cached or reserved.
 */
int accel_kv_remove(struct accel_kv *kv, const struct accel_kv_key *key);

/* Looking at it */

/** struct accel_kv_stats - counters since creation and sizes now, in blocks */
struct accel_kv_stats {
	uint64_t capacity;
	uint64_t cached;	/* now visible */
	uint64_t reserved;	/* now being written */
	uint64_t free;		/* now neither, nor awaiting a reader's release */
	uint64_t pinned;	/* now under a lease, removed ones too */
	uint64_t sessions;	/* now open handles, of living processes */
	uint64_t hits;		/* lookups that found their block */
	uint64_t misses;	/* lookups that did not */
	uint64_t published;
	uint64_t duplicates;	/* publishes that another writer was ahead of */
	uint64_t evicted;
	uint64_t removed;
	uint64_t expired;	/* pins that a lease ended, not a release */
	uint64_t recovered;	/* times that a dead process's work was cleared up */
};

int accel_kv_stats(struct accel_kv *kv, struct accel_kv_stats *stats);

/** struct accel_kv_entry - one cached block */
struct accel_kv_entry {
	struct accel_kv_key key;
	struct accel_kv_key parent;	/* zero for the first of a chain */
	uint32_t children;		/* cached or reserved continuations */
	uint32_t pins;			/* readers that have it now */
	uint64_t last_use;		/* by the namespace's own clock: larger is later */
};

/**
 * accel_kv_iterate() - call back for every cached block, in no order
 * @visit: a non-zero return ends the walk and is returned
 */
int accel_kv_iterate(struct accel_kv *kv,
		     int (*visit)(const struct accel_kv_entry *entry, void *arg), void *arg);

/** struct accel_kv_audit - what a full check of a namespace found, in blocks and pins */
struct accel_kv_audit {
	uint64_t free;
	uint64_t cached;
	uint64_t reserved;	/* of them all by living sessions */
	uint64_t awaiting;	/* removed, and a reader has not released yet */
	uint64_t pins;		/* with a lease that still runs */
	uint64_t lost;		/* blocks in no list, or in two: 0 unless the memory was corrupted */
	uint64_t broken;	/* index entries, links or counts that do not agree: likewise 0 */
};

/**
 * accel_kv_audit() - clear up after the dead, then check everything against everything
 *
 * Holds writers up meanwhile; for tests and diagnosis.
 */
int accel_kv_audit(struct accel_kv *kv, struct accel_kv_audit *audit);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif
#endif
