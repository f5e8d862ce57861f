/* SPDX-License-Identifier: MIT */
/*
 * What a busy user of a namespace does, over and over: match, read, copy, write,
 * abort, remove, on chains that all users share. Every read is checked.
 */
#ifndef TESTS_KV_WORK_H
#define TESTS_KV_WORK_H

#include "kv_common.h"

#define WORK_BLOCK 1024
#define WORK_CAPACITY 48	/* half of what is asked for, so that much is evicted */
#define WORK_CHAINS 12
#define WORK_DEPTH 8

/* What workers tell; survives them. */
struct tally {
	uint64_t reads, writes, stale, wrong, failed;
	int error;
};

static inline void add(uint64_t *counter)
{
	__atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

static inline void expect_one_of(struct tally *tally, int err, const int *allowed, int count)
{
	for (int i = 0; i < count; i++) {
		if (err == allowed[i])
			return;
	}
	add(&tally->failed);
	tally->error = err;
}

#define EXPECT_ERR(tally, err, ...) do { \
		const int allowed[] = { 0, ##__VA_ARGS__ }; \
		expect_one_of(tally, err, allowed, ARRAY_LEN(allowed)); \
	} while (0)

static inline void chain_of(uint32_t chain, struct accel_kv_key *keys)
{
	for (uint32_t i = 0; i < WORK_DEPTH; i++)
		keys[i] = key_of(1 + chain * WORK_DEPTH + i);
}

static inline void read_pin(struct accel_kv *kv, struct tally *tally,
			    const struct accel_kv_key *key, struct accel_kv_pin *pin,
			    uint64_t bytes)
{
	bool right = holds(pin->data, key, bytes);
	int err = accel_kv_release(kv, pin);

	EXPECT_ERR(tally, err, -ESTALE);
	add(err ? &tally->stale : &tally->reads);
	if (!err && !right)
		add(&tally->wrong);
}

static inline void read_chain(struct accel_kv *kv, struct tally *tally, uint64_t *seed)
{
	struct accel_kv_key keys[WORK_DEPTH];
	struct accel_kv_pin pins[WORK_DEPTH];
	size_t matched;

	chain_of(draw(seed, WORK_CHAINS), keys);
	EXPECT_ERR(tally, accel_kv_match(kv, keys, WORK_DEPTH, pins, &matched));
	for (size_t i = 0; i < matched; i++)
		read_pin(kv, tally, &keys[i], &pins[i], WORK_BLOCK);
}

static inline void read_copy(struct accel_kv *kv, struct tally *tally, uint64_t *seed)
{
	struct accel_kv_key key = key_of(1 + draw(seed, WORK_CHAINS * WORK_DEPTH));
	char copy[WORK_BLOCK];
	int err = accel_kv_copy(kv, &key, copy);

	EXPECT_ERR(tally, err, -ENOENT, -ESTALE);
	if (!err && !holds(copy, &key, WORK_BLOCK))
		add(&tally->wrong);
}

static inline void write_chain(struct accel_kv *kv, struct tally *tally, uint64_t *seed)
{
	struct accel_kv_key keys[WORK_DEPTH];
	struct accel_kv_slot slot;
	size_t matched;
	int err;

	chain_of(draw(seed, WORK_CHAINS), keys);
	EXPECT_ERR(tally, accel_kv_match(kv, keys, WORK_DEPTH, NULL, &matched));
	for (size_t i = matched; i < WORK_DEPTH; i++) {
		err = accel_kv_reserve(kv, &keys[i], i ? &keys[i - 1] : NULL, &slot);
		EXPECT_ERR(tally, err, -EEXIST, -ENOENT, -ENOSPC);
		if (err)
			return;
		fill(slot.data, &keys[i], WORK_BLOCK);
		if (!draw(seed, 8)) {
			accel_kv_abort(kv, &slot);
			return;
		}
		EXPECT_ERR(tally, accel_kv_publish(kv, &slot), -EEXIST);
		add(&tally->writes);
	}
}

static inline void forget(struct accel_kv *kv, struct tally *tally, uint64_t *seed)
{
	struct accel_kv_key key = key_of(1 + draw(seed, WORK_CHAINS * WORK_DEPTH));

	EXPECT_ERR(tally, accel_kv_remove(kv, &key), -ENOENT, -EBUSY);
}

static inline void work_once(struct accel_kv *kv, struct tally *tally, uint64_t *seed)
{
	uint32_t what = draw(seed, 15);

	if (what < 7)
		write_chain(kv, tally, seed);
	else if (what < 12)
		read_chain(kv, tally, seed);
	else if (what < 14)
		read_copy(kv, tally, seed);
	else
		forget(kv, tally, seed);
}

#endif
