// SPDX-License-Identifier: MIT
/*
 * Many threads on one handle and on several. Leases are long, so that no pin
 * may go stale and every access has its order: clean under ThreadSanitizer.
 */
#include "kv_work.h"

#define THREADS 8
/* Each handle maps the namespace anew, and TSan does not know that it is the same memory. */
#ifdef __SANITIZE_THREAD__
#define HANDLES 1
#else
#define HANDLES 3
#endif
#define TURNS 4000

struct thread {
	pthread_t id;
	struct accel_kv *kv;
	struct tally *tally;
	uint64_t seed;
};

static void *work(void *arg)
{
	struct thread *thread = arg;
	unsigned int turns = scaled(TURNS);

	while (turns--)
		work_once(thread->kv, thread->tally, &thread->seed);
	return NULL;
}

static void *look(void *arg)
{
	struct thread *thread = arg;
	unsigned int turns = scaled(TURNS) / 20 + 1;

	while (turns--) {
		kv_sound(thread->kv);
		must(kv_stats(thread->kv).capacity == WORK_CAPACITY);
	}
	return NULL;
}

static void run(struct thread *threads, int count)
{
	for (int i = 0; i < count; i++)
		must(!pthread_create(&threads[i].id, NULL, i ? work : look, &threads[i]));
	for (int i = 0; i < count; i++)
		must(!pthread_join(threads[i].id, NULL));
}

TEST(share_handles)
{
	struct accel_dev *dev = dev_open();
	struct accel_kv *kv[HANDLES];
	struct thread threads[THREADS];
	struct accel_kv_audit audit;
	struct accel_kv_stats stats;
	struct tally tally = { 0 };

	kv[0] = kv_make(dev, WORK_BLOCK, WORK_CAPACITY, ACCEL_KV_CHECKSUM, LONG_LEASE_NS);
	for (int i = 1; i < HANDLES; i++)
		kv[i] = kv_again(dev, kv[0]);
	for (int i = 0; i < THREADS; i++)
		threads[i] = (struct thread){ .kv = kv[i % HANDLES], .tally = &tally, .seed = i };
	run(threads, THREADS);
	EXPECT_EQ(0, tally.wrong);
	EXPECT_EQ(0, tally.stale);
	EXPECT_EQ(0, tally.failed) TH_LOG("error %d", tally.error);
	EXPECT_LT(0, tally.reads);
	EXPECT_LT(0, tally.writes);
	audit = kv_sound(kv[0]);
	EXPECT_EQ(0, audit.pins);
	EXPECT_EQ(0, audit.reserved);
	EXPECT_EQ(0, audit.awaiting);
	stats = kv_stats(kv[0]);
	EXPECT_EQ(stats.published, stats.cached + stats.evicted + stats.removed);
	EXPECT_LT(0, stats.evicted);
	EXPECT_EQ(0, stats.expired);
	EXPECT_EQ(0, stats.recovered);
	for (int i = 0; i < HANDLES; i++)
		accel_kv_close(kv[i]);
	accel_close(dev);
}

/* Blocks that stay cached are found by every lookup, whatever happens beside them. */
struct steady {
	struct accel_kv *kv;
	uint64_t missed;
	int stop;
};

static void *find_steadily(void *arg)
{
	struct steady *steady = arg;
	struct accel_kv_key key = key_of(UINT64_MAX - 1);
	struct accel_kv_pin pin;

	while (!__atomic_load_n(&steady->stop, __ATOMIC_ACQUIRE)) {
		if (accel_kv_get(steady->kv, &key, LONG_LEASE_NS, &pin)) {
			steady->missed++;
			continue;
		}
		steady->missed += !holds(pin.data, &key, WORK_BLOCK);
		must_ok(accel_kv_release(steady->kv, &pin));
	}
	return NULL;
}

TEST(no_false_miss)
{
	struct accel_dev *dev = dev_open();
	struct accel_kv *kv = kv_make(dev, WORK_BLOCK, WORK_CAPACITY, 0, LONG_LEASE_NS);
	struct accel_kv_key key = key_of(UINT64_MAX - 1);
	struct steady steady = { .kv = kv };
	struct tally tally = { 0 };
	struct accel_kv_pin pin;
	uint64_t seed = 1;
	pthread_t finder;

	ASSERT_EQ(0, kv_put(kv, &key, NULL));
	ASSERT_EQ(0, accel_kv_get(kv, &key, LONG_LEASE_NS, &pin));
	ASSERT_EQ(0, pthread_create(&finder, NULL, find_steadily, &steady));
	for (unsigned int i = scaled(TURNS); i; i--)
		work_once(kv, &tally, &seed);
	__atomic_store_n(&steady.stop, 1, __ATOMIC_RELEASE);
	ASSERT_EQ(0, pthread_join(finder, NULL));
	EXPECT_EQ(0, steady.missed);
	EXPECT_EQ(0, tally.wrong);
	EXPECT_EQ(0, accel_kv_release(kv, &pin));
	accel_kv_close(kv);
	accel_close(dev);
}

TEST_HARNESS_MAIN
