// SPDX-License-Identifier: MIT
/* Ranks that die or leave: the others learn it, go on without, and take them in again. */
#include <sys/mman.h>

#include "collective/group.h"
#include "ep_group.h"

#define MANY 6

/* Meets until told otherwise by the others' deaths; says its epoch after each shrink. */
static int companion(int sock, const void *arg)
{
	const struct part *part = arg;
	struct accel_dev *dev = group_open();
	struct accel_ep_group *group;
	struct accel_ep *ep;
	bool joining;
	int err;

	must_ok(join(dev, part, EVER, &group));
	ep = accel_ep_rank(group, part->first);
	for (;;) {
		say(sock, ep->epoch);
		for (uint32_t round = 1;; round++) {
			err = meet(ep, round, EVER, &joining);
			if (err || joining)
				break;
		}
		must(!err || err == -EOWNERDEAD);
		must_ok(accel_ep_shrink(ep, EVER, NULL));
	}
}

/* This process's rank, and the others each a process. */
struct company {
	struct accel_dev *dev;
	struct accel_ep_group *group;
	struct accel_ep *ep;
	struct part parts[MANY];
	struct child children[MANY];
	uint32_t ranks, round;
};

static void company_start(struct company *co, const char *name, uint32_t ranks, uint32_t own)
{
	co->ranks = ranks;
	co->round = 0;
	for (uint32_t rank = 0; rank < ranks; rank++) {
		co->parts[rank] = (struct part){ name, ranks, rank, 1 };
		if (rank != own)
			co->children[rank] = child_start(companion, &co->parts[rank]);
	}
	co->dev = group_open();
	must_ok(join(co->dev, &co->parts[own], EVER, &co->group));
	co->ep = accel_ep_rank(co->group, own);
	for (uint32_t rank = 0; rank < ranks; rank++)
		if (rank != own)
			must(hear(co->children[rank].sock) == 1);
}

static void company_end(struct company *co)
{
	for (uint32_t rank = 0; rank < co->ranks; rank++)
		if (co->children[rank].pid)
			child_kill(&co->children[rank]);
	accel_ep_leave(co->group);
	accel_close(co->dev);
}

static void lose(struct company *co, uint32_t rank)
{
	child_kill(&co->children[rank]);
	co->children[rank].pid = 0;
}

static int meet_all(struct company *co, bool *joining)
{
	return meet(co->ep, ++co->round, EVER, joining);
}

/* Who died may have been at the next meetings already. */
static int meet_until_error(struct company *co)
{
	bool joining;
	int err;

	do {
		err = meet_all(co, &joining);
	} while (!err);
	return err;
}

/* Every companion that lives says that it is in this epoch. */
static bool in_epoch(struct company *co, uint64_t epoch)
{
	bool all = co->ep->epoch == epoch;

	co->round = 0;
	for (uint32_t rank = 0; rank < co->ranks; rank++)
		if (co->children[rank].pid)
			all &= hear(co->children[rank].sock) == epoch;
	return all;
}

TEST(death_is_noticed_and_named)
{
	struct company co = { 0 };
	bool joining;

	company_start(&co, "noticed", 3, 1);
	ASSERT_EQ(0, meet_all(&co, &joining));
	lose(&co, 2);
	EXPECT_EQ(-EOWNERDEAD, meet_until_error(&co));
	EXPECT_TRUE(is_absent(co.ep, 2));
	EXPECT_FALSE(is_absent(co.ep, 0));
	/* Nothing goes on before all have agreed. */
	EXPECT_EQ(-EOWNERDEAD, ep_whole(co.ep));
	EXPECT_TRUE(is_absent(co.ep, 2));
	company_end(&co);
}

TEST(any_number_may_die)
{
	for (uint32_t deaths = 1; deaths < MANY; deaths++) {
		struct company co = { 0 };
		uint8_t alive[MANY];
		bool joining;

		company_start(&co, "number", MANY, deaths);
		for (uint32_t rank = 0; rank < deaths; rank++)
			lose(&co, rank);
		EXPECT_EQ(-EOWNERDEAD, meet_until_error(&co));
		ASSERT_EQ(0, accel_ep_shrink(co.ep, EVER, alive));
		EXPECT_LT(1, co.ep->epoch);
		for (uint32_t rank = 0; rank < MANY; rank++)
			EXPECT_EQ(rank >= deaths, alive[rank]);
		EXPECT_EQ(MANY - deaths, info_of(co.ep).alive);
		EXPECT_TRUE(in_epoch(&co, co.ep->epoch));
		EXPECT_EQ(0, meet_all(&co, &joining));
		company_end(&co);
	}
}

TEST(the_dead_come_back)
{
	struct company co = { 0 };
	uint64_t epoch;
	bool joining;

	company_start(&co, "back", 3, 1);
	/* Rank 0 made the board, more often than not. */
	for (uint32_t rank = 0; rank < 3; rank += 2) {
		lose(&co, rank);
		EXPECT_EQ(-EOWNERDEAD, meet_until_error(&co));
		*ep_cursor(co.ep, 1, 1) = 77;
		co.ep->lanes[0].generation = 5;
		co.ep->lanes[1].state = EP_SENT;
		ASSERT_EQ(0, accel_ep_shrink(co.ep, EVER, NULL));
		/* What was under way is dropped. */
		EXPECT_EQ(0, ep_ld(ep_cursor(co.ep, 1, 1)));
		EXPECT_EQ(0, co.ep->lanes[0].generation);
		EXPECT_EQ(EP_IDLE, co.ep->lanes[1].state);
		EXPECT_EQ(2, info_of(co.ep).alive);
		ASSERT_TRUE(in_epoch(&co, co.ep->epoch));
		co.children[rank] = child_start(companion, &co.parts[rank]);
		do {
			ASSERT_EQ(0, meet_all(&co, &joining));
		} while (!joining);
		epoch = co.ep->epoch;
		ASSERT_EQ(0, accel_ep_shrink(co.ep, EVER, NULL));
		EXPECT_EQ(3, info_of(co.ep).alive);
		EXPECT_EQ(0, info_of(co.ep).joining);
		EXPECT_EQ(epoch + 1, co.ep->epoch);
		EXPECT_TRUE(in_epoch(&co, epoch + 1));
		ASSERT_EQ(0, meet_all(&co, &joining));
		EXPECT_FALSE(joining);
	}
	company_end(&co);
}

TEST(death_before_the_return_is_noticed)
{
	struct company co = { 0 };
	bool joining;

	company_start(&co, "return", 2, 0);
	lose(&co, 1);
	co.children[1] = child_start(companion, &co.parts[1]);
	/* It is somebody's again, but not of the one that was a member. */
	ASSERT_TRUE(eventually(ep_joining(co.ep) == 1));
	EXPECT_EQ(-EOWNERDEAD, meet_until_error(&co));
	EXPECT_TRUE(is_absent(co.ep, 1));
	ASSERT_EQ(0, accel_ep_shrink(co.ep, EVER, NULL));
	EXPECT_EQ(2, info_of(co.ep).alive);
	EXPECT_TRUE(in_epoch(&co, 2));
	EXPECT_EQ(0, meet_all(&co, &joining));
	company_end(&co);
}

/* Told to, it leaves, and joins again. */
static int leaver(int sock, const void *arg)
{
	const struct part *part = arg;
	struct accel_dev *dev = group_open();
	struct accel_ep_group *group;

	for (;;) {
		must_ok(join(dev, part, EVER, &group));
		say(sock, info_of(accel_ep_rank(group, part->first)).epoch);
		hear(sock);
		accel_ep_leave(group);
		say(sock, 0);
		hear(sock);
	}
}

/* Who waits for one that lives must hear of another's death: it may have given up. */
TEST(who_gave_up_is_not_waited_for)
{
	struct part all = { "gave", 3, 0, 2 }, third = { "gave", 3, 2, 1 };
	struct child child = child_start(leaver, &third);
	struct accel_dev *dev = group_open();
	struct accel_ep_group *group;
	struct accel_ep *first, *second;
	bool joining;

	ASSERT_EQ(0, join(dev, &all, EVER, &group));
	first = accel_ep_rank(group, 0);
	second = accel_ep_rank(group, 1);
	child_kill(&child);
	meet_begin(first, 1);
	EXPECT_EQ(-EOWNERDEAD, meet_end(first, 1, EVER, &joining));
	/* The first will come no more, and the second waits for it only. */
	ep_st(&ep_slot(second, 1, 1, 2)->flag, ep_flag(1, 1, 0));
	ep_st(&ep_slot(second, 1, 1, 1)->flag, ep_flag(1, 1, 0));
	ep_st(&ep_slot(second, 1, 1, 0)->flag, 0);
	EXPECT_EQ(-EOWNERDEAD, meet_end(second, 1, EVER, &joining));
	EXPECT_TRUE(is_absent(second, 2));
	/* Both must call: each does its half while the other's is to come. */
	EXPECT_EQ(-ETIMEDOUT, accel_ep_shrink(first, AT_ONCE, NULL));
	EXPECT_TRUE(is_absent(first, 1));
	EXPECT_EQ(-EOWNERDEAD, ep_whole(first));
	EXPECT_EQ(-ETIMEDOUT, accel_ep_shrink(second, SOON, NULL));
	EXPECT_TRUE(is_absent(second, 0));
	EXPECT_EQ(0, accel_ep_shrink(first, EVER, NULL));
	EXPECT_EQ(0, accel_ep_shrink(second, EVER, NULL));
	EXPECT_EQ(2, info_of(first).alive);
	EXPECT_EQ(first->epoch, second->epoch);
	EXPECT_EQ(0, ep_whole(second));
	accel_ep_leave(group);
	accel_close(dev);
}

/* Shrink for a newcomer, not for a death: who is slow may finish what it is at. */
TEST(shrink_waits_for_who_is_slow)
{
	struct part all = { "slow", 2, 0, 2 };
	struct accel_dev *dev = group_open();
	struct accel_ep_group *group;
	struct accel_ep *fast, *slow;
	bool joining;

	ASSERT_EQ(0, join(dev, &all, EVER, &group));
	fast = accel_ep_rank(group, 0);
	slow = accel_ep_rank(group, 1);
	meet_begin(fast, 1);
	EXPECT_EQ(-ETIMEDOUT, accel_ep_shrink(fast, SOON, NULL));
	EXPECT_TRUE(is_absent(fast, 1));
	EXPECT_EQ(0, meet(slow, 1, EVER, &joining));
	EXPECT_EQ(-ETIMEDOUT, accel_ep_shrink(slow, SOON, NULL));
	EXPECT_EQ(0, accel_ep_shrink(fast, EVER, NULL));
	EXPECT_EQ(0, accel_ep_shrink(slow, EVER, NULL));
	accel_ep_leave(group);
	accel_close(dev);
}

TEST(who_leaves_is_gone_and_may_return)
{
	struct part ours = { "leave", 4, 1, 1 }, theirs = { "leave", 4, 0, 1 };
	struct part others = { "leave", 4, 2, 2 };
	struct child child = child_start(leaver, &theirs), pair = child_start(leaver, &others);
	struct accel_dev *dev = group_open();
	struct accel_ep_group *group;
	struct accel_ep *ep;
	bool joining;

	ASSERT_EQ(0, join(dev, &ours, EVER, &group));
	ep = accel_ep_rank(group, 1);
	EXPECT_EQ(1, hear(child.sock));
	EXPECT_EQ(1, hear(pair.sock));
	say(pair.sock, 1);
	EXPECT_EQ(0, hear(pair.sock));
	say(child.sock, 1);
	EXPECT_EQ(0, hear(child.sock));
	EXPECT_EQ(-EOWNERDEAD, meet(ep, 1, EVER, &joining));
	EXPECT_TRUE(is_absent(ep, 0));
	EXPECT_TRUE(is_absent(ep, 2));
	EXPECT_TRUE(is_absent(ep, 3));
	ASSERT_EQ(0, accel_ep_shrink(ep, EVER, NULL));
	EXPECT_EQ(1, info_of(ep).alive);
	EXPECT_EQ(0, meet(ep, 1, EVER, &joining));
	EXPECT_EQ(0, info_of(ep).joining);
	say(pair.sock, 1);
	ASSERT_TRUE(eventually(info_of(ep).joining == 2));
	ASSERT_EQ(0, accel_ep_shrink(ep, EVER, NULL));
	EXPECT_EQ(3, hear(pair.sock));
	EXPECT_EQ(3, info_of(ep).alive);
	child_kill(&child);
	child_kill(&pair);
	accel_ep_leave(group);
	accel_close(dev);
}

/* A process's ranks are taken in together: not while it has told of some only. */
TEST(half_a_process_is_not_taken_in)
{
	struct part all = { "half", 3, 0, 1 }, gone = { "half", 3, 1, 2 };
	struct child child = child_start(leaver, &gone);
	struct accel_dev *dev = group_open();
	struct accel_ep_group *group;
	struct ep_seat *seat;
	struct accel_ep *ep;

	ASSERT_EQ(0, join(dev, &all, EVER, &group));
	ep = accel_ep_rank(group, 0);
	child_kill(&child);
	ASSERT_EQ(0, accel_ep_shrink(ep, EVER, NULL));
	EXPECT_EQ(1, info_of(ep).alive);
	seat = &group->board->seats[1];
	ep_st(&seat->announced, 0);
	ep_st(&seat->client, accel_client_id(dev));
	ep_st(&seat->life, 1000);
	ep_st(&group->board->lives, 1001);
	EXPECT_EQ(0, ep_joining(ep));
	ASSERT_EQ(0, accel_ep_shrink(ep, EVER, NULL));
	EXPECT_EQ(1, info_of(ep).alive);
	ep_st(&seat->announced, EP_ANY);
	ep_st(&group->board->lives, 1002);
	EXPECT_EQ(1, ep_joining(ep));
	accel_ep_leave(group);
	accel_close(dev);
}

TEST(newcomers_form_anew_where_all_died)
{
	struct part parts[] = { { "anew", 2, 0, 1 }, { "anew", 2, 1, 1 } };
	struct child first = child_start(leaver, &parts[0]), second = child_start(leaver, &parts[1]);
	uint64_t epoch;

	EXPECT_EQ(1, hear(first.sock));
	EXPECT_EQ(1, hear(second.sock));
	child_kill(&second);
	second = child_start(leaver, &parts[1]);
	/* It waits for the first, which neither meets it nor lives for long. */
	nap(50);
	child_kill(&first);
	/* Alone it is no group. */
	EXPECT_EQ(0, poll(&(struct pollfd){ .fd = second.sock, .events = POLLIN }, 1, 200));
	first = child_start(leaver, &parts[0]);
	epoch = hear(first.sock);
	EXPECT_EQ(epoch, hear(second.sock));
	child_kill(&first);
	child_kill(&second);
}

TEST(memory_of_the_dead_comes_back)
{
	struct company co = { 0 };
	struct accel_pool_info before, after;

	company_start(&co, "memory", 2, 0);
	must_ok(accel_pool_info(co.dev, &before));
	lose(&co, 1);
	EXPECT_EQ(-EOWNERDEAD, meet_until_error(&co));
	ASSERT_EQ(0, accel_ep_shrink(co.ep, EVER, NULL));
	must_ok(accel_pool_info(co.dev, &after));
	EXPECT_EQ(before.bytes_free + co.group->buffer_bytes, after.bytes_free);
	company_end(&co);
}

TEST_HARNESS_MAIN
