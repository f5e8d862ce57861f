// SPDX-License-Identifier: MIT
/*
 * Every call of the KV cache and every error that kv.h names, one handle or two.
 */
#include "kv_common.h"

#define BLOCK 4096
#define CAPACITY 8

KV_FIXTURE(kv, BLOCK, CAPACITY)

TEST_F(kv, shapes)
{
	struct accel_kv_config good = { .block_bytes = 64, .capacity = 1 }, bad, got;
	struct accel_kv *kv = NULL;

#define REFUSED(field, value) do { \
		bad = good; \
		bad.field = value; \
		EXPECT_EQ(-EINVAL, accel_kv_create(self->dev, &bad, NULL, &kv)); \
		EXPECT_EQ(NULL, kv); \
	} while (0)

	REFUSED(block_bytes, 0);
	REFUSED(block_bytes, 65);
	REFUSED(block_bytes, UINT64_MAX - 63);
	REFUSED(capacity, 0);
	REFUSED(capacity, (1ull << 31) + 1);
	REFUSED(capacity, UINT64_MAX);
	REFUSED(flags, 2);
	REFUSED(lease_ns, UINT64_MAX);
	bad = good;
	memset(bad.model, 'x', sizeof(bad.model));
	EXPECT_EQ(-EINVAL, accel_kv_create(self->dev, &bad, NULL, &kv));
	bad = good;
	bad.block_bytes = 1ull << 40;
	bad.capacity = 1 << 20;
	EXPECT_NE(0, accel_kv_create(self->dev, &bad, NULL, &kv));
	EXPECT_EQ(-EINVAL, accel_kv_create(self->dev, NULL, NULL, &kv));

	ASSERT_EQ(0, accel_kv_create(self->dev, &good, NULL, &kv));
	accel_kv_config(kv, &got);
	EXPECT_EQ(64, got.block_bytes);
	EXPECT_EQ(1, got.capacity);
	EXPECT_EQ(5 * SECOND_NS, got.lease_ns);
	accel_kv_close(kv);
	accel_kv_close(NULL);
}

TEST_F(kv, open_by_descriptor)
{
	struct accel_kv *again = kv_again(self->dev, self->kv);
	struct accel_kv_key key = key_of(1);
	struct accel_kv_config config;
	struct accel_kv_pin pin;

	accel_kv_config(again, &config);
	EXPECT_EQ(CAPACITY, config.capacity);
	EXPECT_EQ(7, config.salt);
	EXPECT_STREQ("test/1/bf16", config.model);
	EXPECT_EQ(2, kv_stats(self->kv).sessions);
	ASSERT_EQ(0, kv_put(self->kv, &key, NULL));
	ASSERT_EQ(0, accel_kv_get(again, &key, 0, &pin));
	EXPECT_TRUE(holds(pin.data, &key, BLOCK));
	EXPECT_EQ(0, accel_kv_release(again, &pin));
	accel_kv_close(again);
	EXPECT_EQ(1, kv_stats(self->kv).sessions);
}

TEST_F(kv, open_refuses_what_is_none)
{
	struct accel_buffer *buffer;
	struct accel_kv *kv = NULL;
	unsigned char *bytes, *good;
	struct accel_pool_info pool;
	int fd, theirs;

	ASSERT_EQ(0, accel_pool_info(self->dev, &pool));
	ASSERT_EQ(0, accel_buffer_create(self->dev, pool.min_alloc, NULL, &buffer));
	ASSERT_EQ(0, accel_buffer_export(buffer, &fd));
	EXPECT_EQ(-EPROTO, accel_kv_open(self->dev, fd, &kv));
	ASSERT_EQ(0, accel_buffer_map(buffer, 0, (void **)&bytes));

	/* A good header in too small a buffer, then one wrong byte at a time. */
	ASSERT_EQ(0, accel_kv_export(self->kv, &theirs));
	struct accel_buffer *other;
	ASSERT_EQ(0, accel_buffer_import(self->dev, theirs, &other));
	ASSERT_EQ(0, accel_buffer_map(other, 0, (void **)&good));
	memcpy(bytes, good, pool.min_alloc);
	EXPECT_EQ(-EPROTO, accel_kv_open(self->dev, fd, &kv));
	for (int i = 0; i < 176; i++) {
		good[i] ^= 0x10;
		EXPECT_EQ(-EPROTO, accel_kv_open(self->dev, theirs, &kv)) TH_LOG("byte %d", i);
		good[i] ^= 0x10;
	}
	EXPECT_EQ(0, accel_kv_open(self->dev, theirs, &kv));
	accel_kv_close(kv);
	EXPECT_NE(0, accel_kv_open(self->dev, -1, &kv));

	struct accel_buffer_info info;
	ASSERT_EQ(0, accel_buffer_info(other, &info, NULL, 0));
	accel_buffer_unmap(self->dev, good, info.size);
	accel_buffer_unmap(self->dev, bytes, pool.min_alloc);
	accel_buffer_close(other);
	accel_buffer_close(buffer);
	close(theirs);
	close(fd);
}

TEST_F(kv, too_many_users)
{
	static struct accel_kv *users[1024];
	struct accel_kv *more;
	int fd;

	ASSERT_EQ(0, accel_kv_export(self->kv, &fd));
	for (int i = 1; i < 1024; i++)
		ASSERT_EQ(0, accel_kv_open(self->dev, fd, &users[i]));
	EXPECT_EQ(-EUSERS, accel_kv_open(self->dev, fd, &more));
	EXPECT_EQ(1024, kv_stats(self->kv).sessions);
	accel_kv_close(users[500]);
	EXPECT_EQ(0, accel_kv_open(self->dev, fd, &users[500]));
	for (int i = 1; i < 1024; i++)
		accel_kv_close(users[i]);
	EXPECT_EQ(1, kv_stats(self->kv).sessions);
	close(fd);
}

TEST_F(kv, keys)
{
	struct accel_kv_config config;
	struct accel_kv *salted, *other_model;
	uint32_t tokens[4] = { 1, 2, 3, 4 };
	struct accel_kv_key a, b, c, d;

	accel_kv_config(self->kv, &config);
	config.salt++;
	ASSERT_EQ(0, accel_kv_create(self->dev, &config, NULL, &salted));
	config.salt--;
	config.model[0] ^= 1;
	ASSERT_EQ(0, accel_kv_create(self->dev, &config, NULL, &other_model));
#define DIFFER(x, y) EXPECT_NE(0, memcmp(&(x), &(y), sizeof(x)))
#define SAME(x, y) EXPECT_EQ(0, memcmp(&(x), &(y), sizeof(x)))
	accel_kv_key_tokens(self->kv, NULL, tokens, 4, &a);
	accel_kv_key_tokens(self->kv, NULL, tokens, 4, &b);
	SAME(a, b);
	accel_kv_key_tokens(self->kv, NULL, tokens, 3, &b);
	DIFFER(a, b);
	accel_kv_key_tokens(salted, NULL, tokens, 4, &b);
	DIFFER(a, b);
	accel_kv_key_tokens(other_model, NULL, tokens, 4, &b);
	DIFFER(a, b);
	accel_kv_key_tokens(self->kv, &a, tokens, 4, &b);
	DIFFER(a, b);
	accel_kv_key_tokens(self->kv, &b, tokens, 4, &c);
	DIFFER(b, c);
	accel_kv_key_hash(self->kv, NULL, 5, &c);
	accel_kv_key_hash(self->kv, NULL, 5, &d);
	SAME(c, d);
	accel_kv_key_hash(self->kv, NULL, 6, &d);
	DIFFER(c, d);
	accel_kv_key_hash(self->kv, &a, 5, &d);
	DIFFER(c, d);
	d = (struct accel_kv_key){ 0 };
	accel_kv_key_hash(self->kv, &d, 5, &d);
	DIFFER(c, d);
	accel_kv_close(salted);
	accel_kv_close(other_model);
}

TEST_F(kv, write_then_read)
{
	struct accel_kv_key key = key_of(1);
	struct accel_kv_slot slot, old;
	struct accel_kv_pin pin;
	char copy[BLOCK];

	EXPECT_EQ(-ENOENT, accel_kv_get(self->kv, &key, 0, &pin));
	EXPECT_EQ(-ENOENT, accel_kv_copy(self->kv, &key, copy));
	ASSERT_EQ(0, accel_kv_reserve(self->kv, &key, NULL, &slot));
	EXPECT_EQ(0, (uintptr_t)slot.data % 64);
	fill(slot.data, &key, BLOCK);
	EXPECT_EQ(-ENOENT, accel_kv_get(self->kv, &key, 0, &pin));
	EXPECT_EQ(1, kv_stats(self->kv).reserved);
	old = slot;
	ASSERT_EQ(0, accel_kv_publish(self->kv, &slot));
	EXPECT_EQ(-EINVAL, accel_kv_publish(self->kv, &old));
	EXPECT_EQ(-EEXIST, accel_kv_reserve(self->kv, &key, NULL, &slot));

	ASSERT_EQ(0, accel_kv_get(self->kv, &key, 0, &pin));
	EXPECT_TRUE(holds(pin.data, &key, BLOCK));
	EXPECT_EQ(0, accel_kv_verify(self->kv, &pin));
	EXPECT_EQ(1, kv_stats(self->kv).pinned);
	EXPECT_EQ(1, kv_sound(self->kv).pins);
	EXPECT_EQ(0, accel_kv_release(self->kv, &pin));
	EXPECT_EQ(-EINVAL, accel_kv_release(self->kv, &pin));
	EXPECT_EQ(0, kv_stats(self->kv).pinned);
	ASSERT_EQ(0, accel_kv_copy(self->kv, &key, copy));
	EXPECT_TRUE(holds(copy, &key, BLOCK));

	EXPECT_EQ(-EINVAL, accel_kv_get(self->kv, &key, UINT64_MAX, &pin));
	EXPECT_EQ(-EINVAL, accel_kv_get(self->kv, NULL, 0, &pin));
	EXPECT_EQ(-EINVAL, accel_kv_copy(self->kv, &key, NULL));
	EXPECT_EQ(-EINVAL, accel_kv_reserve(self->kv, NULL, NULL, &slot));
}

TEST_F(kv, two_writers_of_one_key)
{
	struct accel_kv *other = kv_again(self->dev, self->kv);
	struct accel_kv_key key = key_of(1);
	struct accel_kv_slot mine, theirs, stolen;
	struct accel_kv_stats stats;

	ASSERT_EQ(0, accel_kv_reserve(self->kv, &key, NULL, &mine));
	ASSERT_EQ(0, accel_kv_reserve(other, &key, NULL, &theirs));
	fill(mine.data, &key, BLOCK);
	fill(theirs.data, &key, BLOCK);
	stolen = mine;
	EXPECT_EQ(-EINVAL, accel_kv_publish(other, &stolen));
	ASSERT_EQ(0, accel_kv_publish(self->kv, &mine));
	ASSERT_EQ(-EEXIST, accel_kv_publish(other, &theirs));
	stats = kv_stats(self->kv);
	EXPECT_EQ(1, stats.cached);
	EXPECT_EQ(0, stats.reserved);
	EXPECT_EQ(CAPACITY - 1, stats.free);
	EXPECT_EQ(1, stats.published);
	EXPECT_EQ(1, stats.duplicates);
	accel_kv_close(other);
}

TEST_F(kv, abort_and_close_drop_reservations)
{
	struct accel_kv *other = kv_again(self->dev, self->kv);
	struct accel_kv_key parent = key_of(1), key = key_of(2);
	struct accel_kv_slot slot;

	ASSERT_EQ(0, kv_put(self->kv, &parent, NULL));
	ASSERT_EQ(0, accel_kv_reserve(self->kv, &key, &parent, &slot));
	EXPECT_EQ(-EBUSY, accel_kv_remove(self->kv, &parent));
	accel_kv_abort(self->kv, &slot);
	accel_kv_abort(self->kv, &slot);
	EXPECT_EQ(CAPACITY - 1, kv_stats(self->kv).free);
	ASSERT_EQ(0, accel_kv_reserve(other, &key, &parent, &slot));
	EXPECT_EQ(CAPACITY - 2, kv_stats(self->kv).free);
	accel_kv_close(other);
	EXPECT_EQ(CAPACITY - 1, kv_stats(self->kv).free);
	EXPECT_EQ(0, accel_kv_remove(self->kv, &parent));
}

TEST_F(kv, parents)
{
	struct accel_kv_key key[CAPACITY + 1];
	struct accel_kv_slot slot;
	size_t matched;

	for (int i = 0; i <= CAPACITY; i++)
		key[i] = key_of(i + 1);
	EXPECT_EQ(-ENOENT, kv_put(self->kv, &key[1], &key[0]));
	EXPECT_EQ(-ENOENT, kv_put(self->kv, &key[0], &key[0]));
	for (int i = 0; i < CAPACITY; i++)
		ASSERT_EQ(0, kv_put(self->kv, &key[i], i ? &key[i - 1] : NULL));
	EXPECT_EQ(-EBUSY, accel_kv_remove(self->kv, &key[0]));

	/* The one leaf is the parent: nothing can be evicted for its child. */
	EXPECT_EQ(-ENOSPC, accel_kv_reserve(self->kv, &key[CAPACITY], &key[CAPACITY - 1], &slot));
	EXPECT_TRUE(kv_has(self->kv, &key[CAPACITY - 1]));
	/* As a chain of its own, it takes the leaf's place. */
	EXPECT_EQ(0, kv_put(self->kv, &key[CAPACITY], NULL));
	ASSERT_EQ(0, accel_kv_match(self->kv, key, CAPACITY, NULL, &matched));
	EXPECT_EQ(CAPACITY - 1, matched);
	EXPECT_EQ(1, kv_stats(self->kv).evicted);
}

TEST_F(kv, match)
{
	struct accel_kv_key key[40];
	struct accel_kv_pin pins[40];
	struct accel_kv *kv = kv_make(self->dev, 64, 64, 0, LONG_LEASE_NS);
	size_t matched = 99;

	for (int i = 0; i < 40; i++) {
		key[i] = key_of(i);
		if (i != 37)
			ASSERT_EQ(0, kv_put(kv, &key[i], i && i != 38 ? &key[i - 1] : NULL));
	}
	for (size_t n = 0; n <= 40; n++) {
		ASSERT_EQ(0, accel_kv_match(kv, key, n, NULL, &matched));
		EXPECT_EQ(n < 37 ? n : 37, matched);
	}
	ASSERT_EQ(0, accel_kv_match(kv, key, 40, pins, &matched));
	ASSERT_EQ(37, matched);
	EXPECT_EQ(37, kv_sound(kv).pins);
	EXPECT_EQ(37, kv_stats(kv).pinned);
	for (size_t i = 0; i < matched; i++) {
		EXPECT_TRUE(holds(pins[i].data, &key[i], 64));
		EXPECT_EQ(0, accel_kv_release(kv, &pins[i]));
	}
	ASSERT_EQ(0, accel_kv_match(kv, &key[37], 1, pins, &matched));
	EXPECT_EQ(0, matched);
	ASSERT_EQ(0, accel_kv_match(kv, NULL, 0, NULL, &matched));
	EXPECT_EQ(-EINVAL, accel_kv_match(kv, key, 1, NULL, NULL));
	kv_sound(kv);
	accel_kv_close(kv);
}

TEST_F(kv, checksums)
{
	struct accel_kv *plain = kv_make(self->dev, BLOCK, 2, 0, 0);
	struct accel_kv_key key = key_of(1);
	struct accel_kv_pin pin;
	char copy[BLOCK];

	ASSERT_EQ(0, kv_put(self->kv, &key, NULL));
	ASSERT_EQ(0, accel_kv_get(self->kv, &key, 0, &pin));
	EXPECT_EQ(0, accel_kv_verify(self->kv, &pin));
	((char *)pin.data)[BLOCK - 1] ^= 1;
	EXPECT_EQ(-EBADMSG, accel_kv_verify(self->kv, &pin));
	EXPECT_EQ(-EBADMSG, accel_kv_copy(self->kv, &key, copy));
	EXPECT_EQ(0, accel_kv_release(self->kv, &pin));
	EXPECT_EQ(-EINVAL, accel_kv_verify(self->kv, &pin));

	ASSERT_EQ(0, kv_put(plain, &key, NULL));
	ASSERT_EQ(0, accel_kv_get(plain, &key, 0, &pin));
	EXPECT_EQ(-EOPNOTSUPP, accel_kv_verify(plain, &pin));
	EXPECT_EQ(0, accel_kv_release(plain, &pin));
	EXPECT_EQ(0, accel_kv_copy(plain, &key, copy));
	accel_kv_close(plain);
}

struct seen {
	struct accel_kv_entry entries[CAPACITY];
	int count;
	int stop_at;
};

static int see(const struct accel_kv_entry *entry, void *arg)
{
	struct seen *seen = arg;

	must(seen->count < CAPACITY);
	seen->entries[seen->count++] = *entry;
	return seen->count == seen->stop_at ? 42 : 0;
}

TEST_F(kv, iterate)
{
	struct accel_kv_key a = key_of(1), b = key_of(2), c = key_of(3);
	struct seen seen = { .count = 0 };
	struct accel_kv_slot slot;
	struct accel_kv_pin pin;
	int found = 0;

	ASSERT_EQ(0, kv_put(self->kv, &a, NULL));
	ASSERT_EQ(0, kv_put(self->kv, &b, &a));
	ASSERT_EQ(0, accel_kv_reserve(self->kv, &c, &a, &slot));
	ASSERT_EQ(0, accel_kv_get(self->kv, &b, 0, &pin));
	ASSERT_EQ(0, accel_kv_iterate(self->kv, see, &seen));
	ASSERT_EQ(2, seen.count);
	for (int i = 0; i < 2; i++) {
		const struct accel_kv_entry *entry = &seen.entries[i], *other = &seen.entries[!i];

		if (entry->key.lo != b.lo)
			continue;
		found++;
		EXPECT_EQ(a.lo, entry->parent.lo);
		EXPECT_EQ(a.hi, entry->parent.hi);
		EXPECT_EQ(1, entry->pins);
		EXPECT_EQ(0, entry->children);
		EXPECT_EQ(0, other->pins);
		EXPECT_EQ(2, other->children);
		EXPECT_EQ(0, other->parent.lo | other->parent.hi);
		EXPECT_LT(other->last_use, entry->last_use);
	}
	EXPECT_EQ(1, found);
	seen = (struct seen){ .stop_at = 1 };
	EXPECT_EQ(42, accel_kv_iterate(self->kv, see, &seen));
	EXPECT_EQ(1, seen.count);
	EXPECT_EQ(-EINVAL, accel_kv_iterate(self->kv, NULL, NULL));
	accel_kv_abort(self->kv, &slot);
	EXPECT_EQ(0, accel_kv_release(self->kv, &pin));
}

TEST_F(kv, counters)
{
	struct accel_kv_key key[3] = { key_of(1), key_of(2), key_of(3) };
	struct accel_kv *other = kv_again(self->dev, self->kv);
	struct accel_kv_stats stats;
	struct accel_kv_pin pin;
	size_t matched;

	ASSERT_EQ(0, kv_put(self->kv, &key[0], NULL));
	ASSERT_EQ(0, kv_put(self->kv, &key[1], &key[0]));
	ASSERT_EQ(0, accel_kv_match(other, key, 3, NULL, &matched));
	ASSERT_EQ(0, accel_kv_get(other, &key[0], 0, &pin));
	ASSERT_EQ(-ENOENT, accel_kv_get(other, &key[2], 0, &pin));
	/* What a closed handle counted stays counted. */
	accel_kv_close(other);
	stats = kv_stats(self->kv);
	EXPECT_EQ(CAPACITY, stats.capacity);
	EXPECT_EQ(2, stats.cached);
	EXPECT_EQ(CAPACITY - 2, stats.free);
	EXPECT_EQ(2, stats.published);
	EXPECT_EQ(3, stats.hits);
	EXPECT_EQ(2, stats.misses);
	EXPECT_EQ(0, stats.recovered);
	EXPECT_EQ(-EINVAL, accel_kv_stats(self->kv, NULL));
	EXPECT_EQ(-EINVAL, accel_kv_audit(self->kv, NULL));
}

TEST_HARNESS_MAIN
