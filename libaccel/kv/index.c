// SPDX-License-Identifier: MIT
/*
 * The index: key to block, in buckets of eight self-checking entries, two
 * buckets to a key.
 *
 * Anyone may look up at any time; entries change under the lock. An entry stays
 * where it is while its block is cached, so that a lookup that runs beside any
 * change finds each block that was there all the time. What an entry says is
 * only a hint: the block itself is asked.
 */
#include "internal.h"

#define PLACES (2 * KV_BUCKET_ENTRIES)

struct place {
	struct kv_bucket *bucket[2];
};

static struct place buckets(const struct accel_kv *kv, uint64_t hash)
{
	uint64_t count = kv->shape.buckets;
	uint64_t one = ((hash & UINT32_MAX) * count) >> 32;
	uint64_t two = ((hash >> 32) * count) >> 32;

	if (one == two)
		two = one + 1 < count ? one + 1 : 0;
	return (struct place){ { &kv->index[one], &kv->index[two] } };
}

static struct kv_entry *nth(struct place at, int i)
{
	return &at.bucket[i / KV_BUCKET_ENTRIES]->entries[i % KV_BUCKET_ENTRIES];
}

static uint64_t entry_word(uint64_t hash, uint32_t block)
{
	uint64_t check = (hash ^ block) * 0x9fb21c651e98df25ull;

	/* Never zero, which is an empty entry. */
	return (check >> 32 | 1) << 32 | block;
}

/* The block that an entry names for this hash, or KV_NIL. */
static uint32_t entry_block(const struct accel_kv *kv, const struct kv_entry *entry,
			    uint64_t hash)
{
	uint64_t word;
	uint32_t block;

	if (ld(&entry->hash) != hash)
		return KV_NIL;
	word = ld(&entry->word);
	block = word;
	if (word != entry_word(hash, block) || block >= kv->shape.capacity)
		return KV_NIL;
	return block;
}

static struct kv_entry *find_entry(const struct accel_kv *kv, uint64_t hash, uint32_t block)
{
	struct place at = buckets(kv, hash);

	for (int i = 0; i < PLACES; i++) {
		struct kv_entry *entry = nth(at, i);

		if (entry_block(kv, entry, hash) == block)
			return entry;
	}
	return NULL;
}

static struct kv_entry *vacancy(struct kv_bucket *bucket, int *used)
{
	struct kv_entry *vacant = NULL;

	*used = 0;
	for (int i = 0; i < KV_BUCKET_ENTRIES; i++) {
		if (ld(&bucket->entries[i].word))
			(*used)++;
		else if (!vacant)
			vacant = &bucket->entries[i];
	}
	return vacant;
}

/* A free entry in the less used of a hash's buckets. */
static struct kv_entry *emptier(const struct accel_kv *kv, uint64_t hash)
{
	struct place at = buckets(kv, hash);
	struct kv_entry *one, *two;
	int used_one, used_two;

	one = vacancy(at.bucket[0], &used_one);
	two = vacancy(at.bucket[1], &used_two);
	return used_two < used_one ? two : one;
}

/* Right if the block that it names is cached under this hash, and it is the first to say so. */
static bool entry_right(struct accel_kv *kv, const struct kv_entry *entry)
{
	uint64_t hash = ld(&entry->hash);
	uint32_t block = entry_block(kv, entry, hash);
	struct accel_kv_key key;

	if (block >= kv_used(kv) || kv_state(ld(&kv->metas[block].state)) != KV_CACHED)
		return false;
	key = kv_key_get(&kv->metas[block].key);
	return kv_hash(&key) == hash && find_entry(kv, hash, block) == entry;
}

static void clear(struct kv_entry *entry)
{
	st(&entry->word, 0);
	st(&entry->hash, 0);
}

void kv_index_prefetch(const struct accel_kv *kv, uint64_t hash)
{
	struct place at = buckets(kv, hash);

	for (int i = 0; i < 2; i++) {
		__builtin_prefetch(&at.bucket[i]->entries[0]);
		__builtin_prefetch(&at.bucket[i]->entries[KV_BUCKET_ENTRIES / 2]);
	}
}

/* A guess at the block, to prefetch it; KV_NIL if there surely is none. */
uint32_t kv_index_candidate(const struct accel_kv *kv, uint64_t hash)
{
	struct place at = buckets(kv, hash);

	for (int i = 0; i < PLACES; i++) {
		uint32_t block = entry_block(kv, nth(at, i), hash);

		if (block != KV_NIL)
			return block;
	}
	return KV_NIL;
}

/* Whether a block is cached under a key, and its state word as of then. */
bool kv_block_holds(const struct accel_kv *kv, uint32_t block, const struct accel_kv_key *key,
		    uint64_t *state)
{
	const struct kv_meta *meta = &kv->metas[block];

	*state = ld(&meta->state);
	if (kv_state(*state) != KV_CACHED || !kv_key_is(&meta->key, key))
		return false;
	/* The key was read between two equal states, so it is that generation's. */
	return ld(&meta->state) == *state;
}

uint32_t kv_index_find(const struct accel_kv *kv, uint64_t hash, const struct accel_kv_key *key,
		       uint64_t *state)
{
	struct place at = buckets(kv, hash);

	for (int i = 0; i < PLACES; i++) {
		uint32_t block = entry_block(kv, nth(at, i), hash);

		if (block != KV_NIL && kv_block_holds(kv, block, key, state))
			return block;
	}
	return KV_NIL;
}

bool kv_index_room(const struct accel_kv *kv, uint64_t hash)
{
	return emptier(kv, hash) != NULL;
}

int kv_index_insert(struct accel_kv *kv, uint64_t hash, uint32_t block)
{
	struct kv_entry *entry = emptier(kv, hash);

	if (!entry)
		return -ENOSPC;
	st(&entry->hash, hash);
	st(&entry->word, entry_word(hash, block));
	return 0;
}

void kv_index_erase(struct accel_kv *kv, uint64_t hash, uint32_t block)
{
	struct kv_entry *entry = find_entry(kv, hash, block);

	if (entry)
		clear(entry);
	else
		kv->suspect = true;
}

bool kv_index_has(const struct accel_kv *kv, uint64_t hash, uint32_t block)
{
	return find_entry(kv, hash, block) != NULL;
}

/* Count the wrong entries, and clear them if so asked; the right ones are not touched. */
uint64_t kv_index_check(struct accel_kv *kv, bool mend)
{
	uint64_t wrong = 0;

	for (uint64_t i = 0; i < kv->shape.buckets; i++) {
		for (int j = 0; j < KV_BUCKET_ENTRIES; j++) {
			struct kv_entry *entry = &kv->index[i].entries[j];

			if (!ld(&entry->word) || entry_right(kv, entry))
				continue;
			wrong++;
			if (mend)
				clear(entry);
		}
	}
	return wrong;
}
