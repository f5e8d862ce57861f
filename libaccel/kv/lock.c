// SPDX-License-Identifier: MIT
/*
 * The lock of all that changes a namespace: one word in the shared memory that
 * names its owner. No futex: the kernel knows none on a device's memory, nor on
 * another node's. It is held for about a microsecond.
 *
 * Only a dead owner is robbed, and then its half-done work is mended first. An
 * owner that lives but is stopped holds writers up until they give up.
 */
#include <sched.h>

#include "internal.h"

#define SPINS 100
#define YIELDS 50
#define SUSPECT_NS (1 * KV_NS_PER_MS)	/* with one owner so long, ask whether it lives */
#define NAP_NS 50000
#define GIVE_UP_NS (10 * KV_NS_PER_S)

#define OWNER_MASK ((1ull << KV_LOCK_OWNER_BITS) - 1)

/* One waiter's view of the lock. */
struct wait {
	uint64_t word;		/* last seen */
	uint64_t since;		/* when it was seen first */
	uint64_t start;
	unsigned int rounds;
};

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#endif
}

static void nap(void)
{
	struct timespec ts = { .tv_nsec = NAP_NS };

	nanosleep(&ts, NULL);
}

static bool dead(const struct accel_kv *kv, uint64_t word)
{
	uint64_t owner = word & OWNER_MASK;

	/* This process's threads are held apart by a mutex: it is not one of them. */
	if (owner == kv->session + 1)
		return true;
	return owner > KV_SESSIONS || !kv_session_lives(kv, owner - 1);
}

/* Let the owner get on with it; true if it never will. */
static bool wait(const struct accel_kv *kv, struct wait *w, uint64_t word)
{
	uint64_t now;

	if (w->rounds++ < SPINS) {
		relax();
		return false;
	}
	now = kv_now();
	if (!w->start)
		w->start = now;
	if (word != w->word) {
		w->word = word;
		w->since = now;
	}
	if (now - w->since >= SUSPECT_NS && dead(kv, word))
		return true;
	if (w->rounds < SPINS + YIELDS)
		sched_yield();
	else
		nap();
	return false;
}

static bool take(struct accel_kv *kv, uint64_t word)
{
	uint64_t next = (word | OWNER_MASK) + 1 + kv->session + 1;

	return cas(&kv->head->lock, word, next);
}

static int acquire(struct accel_kv *kv, bool *robbed)
{
	struct wait w = { 0 };

	for (;;) {
		uint64_t word = ld(&kv->head->lock);

		*robbed = word & OWNER_MASK;
		if ((!*robbed || wait(kv, &w, word)) && take(kv, word))
			return 0;
		if (w.start && kv_now() - w.start >= GIVE_UP_NS)
			return -ETIMEDOUT;
	}
}

int kv_lock(struct accel_kv *kv)
{
	bool robbed;
	int err;

	pthread_mutex_lock(&kv->mutex);
	err = acquire(kv, &robbed);
	if (err) {
		pthread_mutex_unlock(&kv->mutex);
		return err;
	}
	if (robbed) {
		kv_rebuild(kv);
		kv_reap(kv, false);
		grow(&kv->head->totals.recovered, 1);
	}
	return 0;
}

void kv_unlock(struct accel_kv *kv)
{
	if (kv->suspect)
		kv_rebuild(kv);
	st(&kv->head->lock, ld(&kv->head->lock) & ~OWNER_MASK);
	pthread_mutex_unlock(&kv->mutex);
}
