// SPDX-License-Identifier: MIT
/*
 * Somebody scribbles over all that a namespace keeps about itself while others
 * use it. They may miss, fail or read nonsense in it; they must not crash, hang
 * or touch memory outside.
 */
#include <sys/mman.h>

#include "kv/internal.h"
#include "kv_death.h"
#include "kv_work.h"

#define WORKERS 3
#define TURNS 3000
#define ROUNDS 6
#define BURST 64		/* words scribbled over between two breaths */

/* Their content is of no interest here: only that they live and come to an end. */
static void work(struct accel_kv *kv, uint64_t seed)
{
	struct accel_kv_audit audit;
	struct accel_kv_stats stats;
	struct tally tally = { 0 };

	for (unsigned int i = scaled(TURNS); i; i--) {
		work_once(kv, &tally, &seed);
		if (draw(&seed, 32))
			continue;
		accel_kv_audit(kv, &audit);
		accel_kv_stats(kv, &stats);
	}
	accel_kv_close(kv);
}

static pid_t start(int fd, uint64_t seed)
{
	pid_t pid = fork_worker();
	struct accel_dev *dev;
	struct accel_kv *kv;

	if (pid)
		return pid;
	dev = dev_open();
	if (!accel_kv_open(dev, fd, &kv))
		work(kv, seed);
	accel_close(dev);
	_exit(0);
}

static bool over(pid_t pid)
{
	int status;
	pid_t got = waitpid(pid, &status, WNOHANG);

	must(got >= 0);
	if (!got)
		return false;
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		fprintf(stderr, "# a user of a hostile namespace ended by %#x\n", status);
	must(WIFEXITED(status) && !WEXITSTATUS(status));
	return true;
}

static uint64_t nonsense(uint64_t *seed, uint64_t old)
{
	switch (draw(seed, 8)) {
	case 0: return 0;
	case 1: return UINT64_MAX;
	case 2: return draw(seed, 2 * WORK_CAPACITY);
	case 3: return (uint64_t)draw(seed, 2 * WORK_CAPACITY) << 32 | KV_NIL;
	case 4: return old ^ 1ull << draw(seed, 64);
	case 5: return old + (1ull << draw(seed, 64));
	case 6: return (uint64_t)KV_NIL << 32 | draw(seed, 2 * WORK_CAPACITY);
	default: return (uint64_t)draw(seed, UINT32_MAX) << 32 | draw(seed, UINT32_MAX);
	}
}

/* The shape stays, so that all can open it; a lock word never names a session that lives. */
static void deface(uint64_t *words, uint64_t count, uint64_t *seed)
{
	uint64_t at = sizeof(struct kv_shape) / 8 + draw(seed, count - sizeof(struct kv_shape) / 8);
	uint64_t value;

	if (!draw(seed, 4))
		at = offsetof(struct kv_header, clock) / 8 + draw(seed, 32);
	value = nonsense(seed, __atomic_load_n(&words[at], __ATOMIC_RELAXED));
	if (at == offsetof(struct kv_header, lock) / 8)
		value |= 1ull << (KV_LOCK_OWNER_BITS - 1);
	__atomic_store_n(&words[at], value, __ATOMIC_RELAXED);
}

static uint64_t *words_map(struct accel_dev *dev, int fd, uint64_t *bytes)
{
	struct accel_buffer *buffer;
	struct accel_buffer_info info;
	void *words;

	must_ok(accel_buffer_import(dev, fd, &buffer));
	must_ok(accel_buffer_info(buffer, &info, NULL, 0));
	must_ok(accel_buffer_map(buffer, 0, &words));
	accel_buffer_close(buffer);
	*bytes = info.size;
	return words;
}

TEST(scribbled_over)
{
	struct accel_dev *dev = dev_open();

	for (int round = 0; round < ROUNDS; round++) {
		struct accel_kv *kv = kv_make(dev, WORK_BLOCK, WORK_CAPACITY, 0, DEATH_LEASE_NS);
		uint64_t seed = getpid() + round, *words, bytes, count;
		pid_t workers[WORKERS];
		int left = WORKERS, fd;

		ASSERT_EQ(0, accel_kv_export(kv, &fd));
		words = words_map(dev, fd, &bytes);
		count = ((const struct kv_shape *)words)->blocks_at / 8;
		for (int i = 0; i < WORKERS; i++)
			workers[i] = start(fd, seed + i);
		while (left) {
			for (int i = 0; i < BURST; i++)
				deface(words, count, &seed);
			nap(draw(&seed, 3));
			for (int i = 0; i < WORKERS; i++) {
				if (workers[i] && over(workers[i])) {
					workers[i] = 0;
					left--;
				}
			}
		}
		accel_buffer_unmap(dev, words, bytes);
		close(fd);
		accel_kv_close(kv);
	}
	accel_close(dev);
}

/* One wrong word at a time, in an otherwise good namespace: each call once, then all is well. */
TEST(one_word_wrong)
{
	struct accel_dev *dev = dev_open();
	unsigned int times = scaled(TURNS);
	uint64_t seed = getpid();

	while (times) {
		struct accel_kv *kv = kv_make(dev, WORK_BLOCK, WORK_CAPACITY, 0, DEATH_LEASE_NS);
		struct tally tally = { 0 };
		uint64_t *words, bytes, count;
		struct accel_kv_audit audit;
		int fd;

		must_ok(accel_kv_export(kv, &fd));
		words = words_map(dev, fd, &bytes);
		count = ((const struct kv_shape *)words)->blocks_at / 8;
		for (int i = 0; i < 100; i++)
			work_once(kv, &tally, &seed);
		for (int i = 0; i < 10 && times; i++, times--) {
			deface(words, count, &seed);
			for (int j = 0; j < 10; j++)
				work_once(kv, &tally, &seed);
			must_ok(accel_kv_audit(kv, &audit));
		}
		accel_buffer_unmap(dev, words, bytes);
		close(fd);
		accel_kv_close(kv);
	}
	accel_close(dev);
}

/* An index entry whose check agrees, for a block that there is not. */
TEST(forged_entry)
{
	static const uint32_t blocks[] = { WORK_CAPACITY, 1u << 24, 1u << 31, KV_NIL - 1, KV_NIL };
	struct accel_dev *dev = dev_open();
	struct accel_kv *kv = kv_make(dev, WORK_BLOCK, WORK_CAPACITY, 0, DEATH_LEASE_NS);
	struct accel_kv_key key = key_of(1);
	uint64_t hash = kv_hash(&key), *words, bytes, at;
	int fd;

	ASSERT_EQ(0, kv_put(kv, &key, NULL));
	ASSERT_EQ(0, accel_kv_export(kv, &fd));
	words = words_map(dev, fd, &bytes);
	for (at = kv->shape.index_at / 8; words[at] != hash; at += 2)
		ASSERT_LT(at, kv->shape.meta_at / 8);
	for (size_t i = 0; i < ARRAY_LEN(blocks); i++) {
		uint64_t check = (hash ^ blocks[i]) * 0x9fb21c651e98df25ull;

		words[at + 1] = (check >> 32 | 1) << 32 | blocks[i];
		EXPECT_FALSE(kv_has(kv, &key));
		EXPECT_EQ(-ENOENT, accel_kv_remove(kv, &key));
	}
	accel_buffer_unmap(dev, words, bytes);
	close(fd);
	accel_kv_close(kv);
	accel_close(dev);
}

/* A lock that a living session is said to hold: writers give up, readers do not notice. */
TEST(lock_never_released)
{
	struct accel_dev *dev = dev_open();
	struct accel_kv *kv = kv_make(dev, WORK_BLOCK, WORK_CAPACITY, 0, DEATH_LEASE_NS);
	struct accel_kv *other = kv_again(dev, kv);
	struct accel_kv_key key = key_of(1), more = key_of(2);
	struct kv_header *head;
	uint64_t bytes;
	int fd;

	ASSERT_EQ(0, kv_put(kv, &key, NULL));
	ASSERT_EQ(0, accel_kv_export(kv, &fd));
	head = (struct kv_header *)words_map(dev, fd, &bytes);
	/* Sessions are taken in order: the first is that of kv. */
	__atomic_store_n(&head->lock, 1, __ATOMIC_RELEASE);
	EXPECT_TRUE(kv_has(other, &key));
	EXPECT_EQ(-ETIMEDOUT, kv_put(other, &more, NULL));
	EXPECT_TRUE(kv_has(other, &key));
	/* Its own handle knows better, and mends it. */
	EXPECT_EQ(0, kv_put(kv, &more, NULL));
	EXPECT_TRUE(kv_has(other, &more));
	kv_sound(other);
	accel_buffer_unmap(dev, head, bytes);
	close(fd);
	accel_kv_close(other);
	accel_kv_close(kv);
	accel_close(dev);
}

TEST_HARNESS_MAIN
