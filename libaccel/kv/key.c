// SPDX-License-Identifier: MIT
/*
 * Keys: identity of a block and of the prefix that it ends; and the hash by
 * which the index finds a key.
 *
 * A key is XXH3_128 over the namespace's root (salt and model), the parent's
 * key and the block's own hash. XXH3 is no cryptographic hash: who may choose
 * tokens and knows the salt can make two prefixes meet in his own namespace.
 */
#include <string.h>
#include <xxhash.h>

#include "internal.h"

/* What a key is made from; the kinds keep the ways to make one apart. */
enum {
	ROOT = 1,
	TOKENS = 2,
	HASH = 3,
};

struct seed {
	uint64_t kind;
	uint64_t salt;
	char model[ACCEL_KV_MODEL_LEN];
};

struct link {
	struct accel_kv_key root;
	struct accel_kv_key parent;
	struct accel_kv_key own;
	uint64_t kind;
	uint64_t has_parent;
};

static struct accel_kv_key hash128(const void *data, size_t bytes, uint64_t seed)
{
	XXH128_hash_t hash = XXH3_128bits_withSeed(data, bytes, seed);

	return (struct accel_kv_key){ .lo = hash.low64, .hi = hash.high64 };
}

static struct accel_kv_key chain(const struct accel_kv *kv, const struct accel_kv_key *parent,
				 struct accel_kv_key own, uint64_t kind)
{
	struct link link = {
		.root = kv->root, .own = own, .kind = kind, .has_parent = parent != NULL,
	};

	if (parent)
		link.parent = *parent;
	return hash128(&link, sizeof(link), 0);
}

static uint64_t mix(uint64_t x)
{
	x ^= x >> 32;
	x *= 0xe9846af9b1a615dull;
	x ^= x >> 32;
	x *= 0xe9846af9b1a615dull;
	return x ^ x >> 28;
}

/* Callers may use keys of their own making, so do not count on them to be random. */
uint64_t kv_hash(const struct accel_kv_key *key)
{
	return mix(key->lo + mix(key->hi + 0x9e3779b97f4a7c15ull));
}

void kv_key_root(struct accel_kv *kv)
{
	struct seed seed = { .kind = ROOT, .salt = kv->shape.salt };

	memcpy(seed.model, kv->shape.model, sizeof(seed.model));
	kv->root = hash128(&seed, sizeof(seed), 0);
}

uint64_t kv_checksum(const struct accel_kv *kv, const void *data)
{
	return XXH3_64bits(data, kv->shape.block_bytes);
}

void accel_kv_key_tokens(const struct accel_kv *kv, const struct accel_kv_key *parent,
			 const uint32_t *tokens, size_t count, struct accel_kv_key *key)
{
	*key = chain(kv, parent, hash128(tokens, count * sizeof(*tokens), kv->root.lo), TOKENS);
}

void accel_kv_key_hash(const struct accel_kv *kv, const struct accel_kv_key *parent,
		       uint64_t hash, struct accel_kv_key *key)
{
	*key = chain(kv, parent, (struct accel_kv_key){ .lo = hash }, HASH);
}
