// SPDX-License-Identifier: MIT
/*
 * Pins and leases: what they hold off, how they end, what their owners are told.
 */
#include "kv_common.h"

#define BLOCK 4096
#define SHORT_NS 20000000ull
#define CAPACITY 8

KV_FIXTURE(kv, BLOCK, CAPACITY)

TEST_F(kv, pins_hold_off_eviction)
{
	struct accel_kv_pin pins[CAPACITY];
	struct accel_kv_key key;

	for (int i = 0; i < CAPACITY; i++) {
		key = key_of(i);
		ASSERT_EQ(0, kv_put(self->kv, &key, NULL));
		ASSERT_EQ(0, accel_kv_get(self->kv, &key, 0, &pins[i]));
	}
	key = key_of(CAPACITY);
	EXPECT_EQ(-ENOSPC, kv_put(self->kv, &key, NULL));
	ASSERT_EQ(0, accel_kv_release(self->kv, &pins[5]));
	EXPECT_EQ(0, kv_put(self->kv, &key, NULL));
	key = key_of(5);
	EXPECT_FALSE(kv_has(self->kv, &key));
	for (int i = 0; i < CAPACITY; i++) {
		key = key_of(i);
		if (i == 5)
			continue;
		EXPECT_TRUE(holds(pins[i].data, &key, BLOCK));
		EXPECT_EQ(0, accel_kv_release(self->kv, &pins[i]));
	}
}

TEST_F(kv, leases_run_out)
{
	struct accel_kv_pin pin, second;
	struct accel_kv_key key = key_of(1);
	char copy[BLOCK];

	ASSERT_EQ(0, kv_put(self->kv, &key, NULL));
	/* Late, but nobody wanted the block: told so all the same. */
	ASSERT_EQ(0, accel_kv_get(self->kv, &key, SHORT_NS, &pin));
	nap(30);
	EXPECT_EQ(-ESTALE, accel_kv_verify(self->kv, &pin));
	EXPECT_EQ(-ESTALE, accel_kv_release(self->kv, &pin));
	EXPECT_EQ(1, kv_stats(self->kv).expired);
	EXPECT_EQ(0, kv_sound(self->kv).pins);

	/* Ended by the next reader; its own pin is not touched by the late release. */
	ASSERT_EQ(0, accel_kv_get(self->kv, &key, SHORT_NS, &pin));
	nap(30);
	ASSERT_EQ(0, accel_kv_get(self->kv, &key, 0, &second));
	EXPECT_EQ(1, kv_sound(self->kv).pins);
	EXPECT_EQ(-ESTALE, accel_kv_release(self->kv, &pin));
	EXPECT_EQ(1, kv_sound(self->kv).pins);
	EXPECT_EQ(0, accel_kv_release(self->kv, &second));
	EXPECT_EQ(2, kv_stats(self->kv).expired);

	/* Ended by eviction: the block becomes another's. */
	ASSERT_EQ(0, accel_kv_get(self->kv, &key, SHORT_NS, &pin));
	nap(30);
	for (int i = 0; i < CAPACITY; i++) {
		struct accel_kv_key other = key_of(100 + i);

		ASSERT_EQ(0, kv_put(self->kv, &other, NULL));
	}
	EXPECT_FALSE(kv_has(self->kv, &key));
	EXPECT_FALSE(holds(pin.data, &key, BLOCK));
	EXPECT_EQ(-ESTALE, accel_kv_verify(self->kv, &pin));
	EXPECT_EQ(-ESTALE, accel_kv_release(self->kv, &pin));
	EXPECT_EQ(3, kv_stats(self->kv).expired);
	EXPECT_EQ(-ENOENT, accel_kv_copy(self->kv, &key, copy));
}

/* A short and a long lease on one block: the long one holds it. */
TEST_F(kv, longest_lease_counts)
{
	struct accel_kv_pin brief, lasting;
	struct accel_kv_key key = key_of(1), other;

	ASSERT_EQ(0, kv_put(self->kv, &key, NULL));
	ASSERT_EQ(0, accel_kv_get(self->kv, &key, LONG_LEASE_NS, &lasting));
	ASSERT_EQ(0, accel_kv_get(self->kv, &key, SHORT_NS, &brief));
	nap(30);
	for (int i = 0; i < 2 * CAPACITY; i++) {
		other = key_of(100 + i);
		ASSERT_EQ(0, kv_put(self->kv, &other, NULL));
	}
	EXPECT_TRUE(holds(lasting.data, &key, BLOCK));
	EXPECT_EQ(-ESTALE, accel_kv_release(self->kv, &brief));
	EXPECT_EQ(0, accel_kv_release(self->kv, &lasting));
}

TEST_F(kv, remove)
{
	struct accel_kv_key key = key_of(1);
	struct accel_kv_pin pin;
	struct accel_kv_stats stats;

	EXPECT_EQ(-ENOENT, accel_kv_remove(self->kv, &key));
	ASSERT_EQ(0, kv_put(self->kv, &key, NULL));
	ASSERT_EQ(0, accel_kv_remove(self->kv, &key));
	EXPECT_FALSE(kv_has(self->kv, &key));
	EXPECT_EQ(CAPACITY, kv_stats(self->kv).free);

	ASSERT_EQ(0, kv_put(self->kv, &key, NULL));
	ASSERT_EQ(0, accel_kv_get(self->kv, &key, 0, &pin));
	ASSERT_EQ(0, accel_kv_remove(self->kv, &key));
	EXPECT_FALSE(kv_has(self->kv, &key));
	EXPECT_EQ(-ENOENT, accel_kv_remove(self->kv, &key));
	EXPECT_EQ(1, kv_sound(self->kv).awaiting);
	EXPECT_EQ(CAPACITY - 1, kv_stats(self->kv).free);

	/* The key can be cached anew beside it, and all the rest used. */
	for (int i = 1; i <= 2 * CAPACITY; i++) {
		struct accel_kv_key other = key_of(i);

		ASSERT_EQ(0, kv_put(self->kv, &other, NULL));
	}
	EXPECT_EQ(CAPACITY - 1, kv_stats(self->kv).cached);
	EXPECT_TRUE(holds(pin.data, &key, BLOCK));
	EXPECT_EQ(0, accel_kv_verify(self->kv, &pin));
	EXPECT_EQ(0, accel_kv_release(self->kv, &pin));
	stats = kv_stats(self->kv);
	EXPECT_EQ(1, stats.free);
	EXPECT_EQ(2, stats.removed);
	EXPECT_EQ(0, kv_sound(self->kv).awaiting);
}

TEST_HARNESS_MAIN
