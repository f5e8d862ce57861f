// SPDX-License-Identifier: MIT
/*
 * Processes of a group are killed at any moment, joining and shrinking included, and
 * come again. The living go on, and agree on who is in each epoch.
 */
#include <sys/mman.h>

#include "ep_group.h"

#define PROCESSES 5		/* the last of them lives on */
#define RANKS 6
#define EPOCHS (1u << 16)

/* In memory that all processes share. */
struct record {
	uint64_t meetings[RANKS];
	uint64_t members[EPOCHS];	/* of each epoch, as seen by the first to be in it */
	uint32_t quarrels;
};

struct work {
	struct record *record;
	struct part part;
};

/* A rank and its thread. */
struct hand {
	struct record *record;
	struct accel_ep *ep;
	pthread_t thread;
};

static void compare(struct hand *hand)
{
	uint64_t *seen = &hand->record->members[hand->ep->epoch % EPOCHS];
	uint64_t members = hand->ep->alive.bits[0], before = 0;

	if (!__atomic_compare_exchange_n(seen, &before, members, false, __ATOMIC_SEQ_CST,
					 __ATOMIC_SEQ_CST) && before != members)
		__atomic_fetch_add(&hand->record->quarrels, 1, __ATOMIC_SEQ_CST);
}

static void *meet_and_shrink(void *arg)
{
	struct hand *hand = arg;
	uint32_t round = 1;
	bool joining;

	compare(hand);
	for (;;) {
		int err = meet(hand->ep, round++, EVER, &joining);

		if (!err)
			__atomic_fetch_add(&hand->record->meetings[hand->ep->rank], 1,
					   __ATOMIC_SEQ_CST);
		if (!err && !joining)
			continue;
		must(!err || err == -EOWNERDEAD);
		must_ok(accel_ep_shrink(hand->ep, EVER, NULL));
		compare(hand);
		round = 1;
	}
}

static void work(struct accel_ep_group *group, const struct work *work)
{
	struct hand hands[RANKS];

	for (uint32_t i = 0; i < work->part.count; i++) {
		hands[i].record = work->record;
		hands[i].ep = accel_ep_rank(group, work->part.first + i);
		must(!pthread_create(&hands[i].thread, NULL, meet_and_shrink, &hands[i]));
	}
	pthread_join(hands[0].thread, NULL);
}

static int worker(int sock, const void *arg)
{
	const struct work *mine = arg;
	struct accel_dev *dev = group_open();
	struct accel_ep_group *group;
	int err;

	(void)sock;
	/* The one before may not be gone yet, to the pool. */
	do {
		err = join(dev, &mine->part, EVER, &group);
	} while (err == -EEXIST);
	must_ok(err);
	work(group, mine);
	return 0;
}

/* Each rank at further meetings: it is neither stuck nor left out. */
static bool all_meet(const struct record *record)
{
	uint64_t from[RANKS];

	for (uint32_t rank = 0; rank < RANKS; rank++)
		from[rank] = ep_ld(&record->meetings[rank]);
	for (uint32_t rank = 0; rank < RANKS; rank++)
		if (!eventually(ep_ld(&record->meetings[rank]) > from[rank] + 1))
			return false;
	return true;
}

TEST(killed_anywhere_the_living_go_on)
{
	static const uint32_t first[] = { 0, 1, 3, 4, 5 }, count[] = { 1, 2, 1, 1, 1 };
	struct record *record = mmap(NULL, sizeof(*record), PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct work works[PROCESSES];
	struct child children[PROCESSES];
	unsigned int kills = scaled(400);
	uint64_t seed = 11;

	must(record != MAP_FAILED);
	for (uint32_t i = 0; i < PROCESSES; i++) {
		works[i] = (struct work){ record, { "kill", RANKS, first[i], count[i] } };
		children[i] = child_start(worker, &works[i]);
	}
	for (unsigned int i = 0; i < kills; i++) {
		uint32_t victim = rnd(&seed) % (PROCESSES - 1);

		usleep(rnd(&seed) % 6000);
		child_kill(&children[victim]);
		children[victim] = child_start(worker, &works[victim]);
		if (i % 8 == 7) {
			ASSERT_TRUE(all_meet(record))
				TH_LOG("kill %u", i);
		}
	}
	EXPECT_TRUE(all_meet(record));
	EXPECT_EQ(0, ep_ld(&record->quarrels));
	for (uint32_t i = 0; i < PROCESSES; i++)
		child_kill(&children[i]);
	munmap(record, sizeof(*record));
}

TEST_HARNESS_MAIN
