// SPDX-License-Identifier: MIT
/*
 * Writers, readers and evictors are killed at random moments. The others must
 * go on at once, no reader may see a wrong byte, and once leases are over
 * nothing may be lost.
 */
#include <sys/mman.h>

#include "kv_death.h"
#include "kv_work.h"

#define KILLS 2000
#define WORKERS 4
#define REOPEN 16		/* one in so many turns, a worker comes anew */

static void work(int fd, struct tally *tally, uint64_t seed)
{
	struct accel_dev *dev = dev_open();
	struct accel_kv *kv;

	must_ok(accel_kv_open(dev, fd, &kv));
	for (;;) {
		if (draw(&seed, REOPEN)) {
			work_once(kv, tally, &seed);
			continue;
		}
		accel_kv_close(kv);
		must_ok(accel_kv_open(dev, fd, &kv));
	}
}

static pid_t start(int fd, struct tally *tally, uint64_t seed)
{
	pid_t pid = fork_worker();

	if (!pid) {
		work(fd, tally, seed);
		_exit(0);
	}
	return pid;
}

TEST(random_moments)
{
	struct tally *tally = mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct accel_dev *dev = dev_open();
	struct accel_kv *kv = kv_make(dev, WORK_BLOCK, WORK_CAPACITY, ACCEL_KV_CHECKSUM, DEATH_LEASE_NS);
	unsigned int kills = scaled(KILLS);
	uint64_t seed = getpid(), put_errors = 0;
	pid_t workers[WORKERS];
	int fd;

	ASSERT_NE(MAP_FAILED, tally);
	ASSERT_EQ(0, accel_kv_export(kv, &fd));
	for (int i = 0; i < WORKERS; i++)
		workers[i] = start(fd, tally, seed + i);
	for (unsigned int i = 0; i < kills; i++) {
		struct timespec ts = { .tv_nsec = draw(&seed, 2000000) };
		struct accel_kv_key key = key_of(1 + draw(&seed, WORK_CHAINS * WORK_DEPTH));
		uint32_t victim = draw(&seed, WORKERS);
		int err;

		nanosleep(&ts, NULL);
		end_worker(workers[victim]);
		/* The next call does not wait for anything, whatever the victim held. */
		err = kv_put(kv, &key, NULL);
		put_errors += err && err != -EEXIST && err != -ENOSPC;
		if (i % 64 == 0)
			kv_sound(kv);
		workers[victim] = start(fd, tally, seed + i);
	}
	for (int i = 0; i < WORKERS; i++)
		end_worker(workers[i]);
	check_aftermath(kv);
	EXPECT_EQ(0, put_errors);
	EXPECT_EQ(0, tally->wrong);
	EXPECT_EQ(0, tally->failed) TH_LOG("error %d", tally->error);
	EXPECT_LT(0, tally->reads);
	EXPECT_LT(0, tally->writes);
	struct accel_kv_stats stats = kv_stats(kv);
	EXPECT_LT(0, stats.recovered);
	EXPECT_LT(0, stats.evicted);
	ksft_print_msg("%u kills: %lu blocks written, %lu read, %lu stale, %lu evicted,"
		       " %lu expired, %lu recoveries\n", kills, (unsigned long)tally->writes, (unsigned long)tally->reads,
		       (unsigned long)tally->stale, (unsigned long)stats.evicted,
		       (unsigned long)stats.expired, (unsigned long)stats.recovered);
	close(fd);
	accel_kv_close(kv);
	accel_close(dev);
}

TEST_HARNESS_MAIN
