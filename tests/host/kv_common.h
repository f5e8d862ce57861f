/* SPDX-License-Identifier: MIT */
/*
 * What the KV cache's tests share: small namespaces, and blocks whose content
 * follows from their key, so that any wrong byte shows.
 */
#ifndef TESTS_KV_COMMON_H
#define TESTS_KV_COMMON_H

#include <accel/kv.h>

#include "pool.h"

#define SECOND_NS 1000000000ull
#define LONG_LEASE_NS (3600 * SECOND_NS)

static inline struct accel_kv *kv_make(struct accel_dev *dev, uint64_t block_bytes,
				       uint64_t capacity, uint32_t flags, uint64_t lease_ns)
{
	struct accel_kv_config config = {
		.block_bytes = block_bytes, .capacity = capacity, .flags = flags,
		.lease_ns = lease_ns, .salt = 7, .model = "test/1/bf16",
	};
	struct accel_kv *kv;

	must_ok(accel_kv_create(dev, &config, NULL, &kv));
	return kv;
}

static inline struct accel_kv *kv_again(struct accel_dev *dev, struct accel_kv *other)
{
	struct accel_kv *kv;
	int fd;

	must_ok(accel_kv_export(other, &fd));
	must_ok(accel_kv_open(dev, fd, &kv));
	close(fd);
	return kv;
}

static inline struct accel_kv_key key_of(uint64_t id)
{
	return (struct accel_kv_key){ .lo = id, .hi = ~id };
}

static inline uint64_t word_of(const struct accel_kv_key *key, size_t i)
{
	uint64_t x = (key->lo ^ (key->hi << 17) ^ (key->hi >> 47)) + i * 0x9e3779b97f4a7c15ull;

	x ^= x >> 29;
	return x * 0xbf58476d1ce4e5b9ull;
}

static inline void fill(void *data, const struct accel_kv_key *key, uint64_t bytes)
{
	uint64_t *words = data;

	for (size_t i = 0; i < bytes / sizeof(*words); i++)
		words[i] = word_of(key, i);
}

static inline bool holds(const void *data, const struct accel_kv_key *key, uint64_t bytes)
{
	const uint64_t *words = data;

	for (size_t i = 0; i < bytes / sizeof(*words); i++) {
		if (words[i] != word_of(key, i))
			return false;
	}
	return true;
}

static inline uint64_t kv_block_bytes(struct accel_kv *kv)
{
	struct accel_kv_config config;

	accel_kv_config(kv, &config);
	return config.block_bytes;
}

static inline int kv_put(struct accel_kv *kv, const struct accel_kv_key *key,
			 const struct accel_kv_key *parent)
{
	struct accel_kv_slot slot;
	int err;

	err = accel_kv_reserve(kv, key, parent, &slot);
	if (err)
		return err;
	fill(slot.data, key, kv_block_bytes(kv));
	return accel_kv_publish(kv, &slot);
}

static inline bool kv_has(struct accel_kv *kv, const struct accel_kv_key *key)
{
	size_t matched;

	must_ok(accel_kv_match(kv, key, 1, NULL, &matched));
	return matched;
}

static inline struct accel_kv_stats kv_stats(struct accel_kv *kv)
{
	struct accel_kv_stats stats;

	must_ok(accel_kv_stats(kv, &stats));
	return stats;
}

static inline uint32_t draw(uint64_t *seed, uint32_t below)
{
	*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
	return (*seed >> 33) % below;
}

/* An audit that must find nothing wrong, and each block in exactly one state. */
static inline struct accel_kv_audit kv_sound(struct accel_kv *kv)
{
	struct accel_kv_config config;
	struct accel_kv_audit audit;

	accel_kv_config(kv, &config);
	must_ok(accel_kv_audit(kv, &audit));
	if (audit.lost || audit.broken)
		fprintf(stderr, "# lost %lu broken %lu\n", (unsigned long)audit.lost,
			(unsigned long)audit.broken);
	must(!audit.lost && !audit.broken);
	must(audit.free + audit.cached + audit.reserved + audit.awaiting == config.capacity);
	return audit;
}

/* A namespace that is to be sound at the end. */
#define KV_FIXTURE(name, block_bytes, capacity) \
	FIXTURE(name) \
	{ \
		struct accel_dev *dev; \
		struct accel_kv *kv; \
	}; \
	FIXTURE_SETUP(name) \
	{ \
		self->dev = dev_open(); \
		self->kv = kv_make(self->dev, block_bytes, capacity, ACCEL_KV_CHECKSUM, \
				   LONG_LEASE_NS); \
	} \
	FIXTURE_TEARDOWN(name) \
	{ \
		kv_sound(self->kv); \
		accel_kv_close(self->kv); \
		accel_close(self->dev); \
	}

#endif
