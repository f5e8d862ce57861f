// SPDX-License-Identifier: MIT
/* Ranks of one process, a thread each, while others come and go. */
#include "ep_group.h"

#define RANKS 8
#define GUESTS 2	/* the last of them, of a group handle of their own */

struct hand {
	struct accel_ep *ep;
	pthread_t thread;
	uint32_t meetings;	/* to go to; a host goes on while guests are to come */
	const uint32_t *over;
};

static bool stays(const struct hand *hand)
{
	return hand->over && !(ep_ld(hand->over) && !ep_set_has(&hand->ep->alive, RANKS - 1));
}

static void *meet_on(void *arg)
{
	struct hand *hand = arg;
	uint32_t round = 1;
	bool joining, host = hand->over;

	while (host || hand->meetings) {
		int err = meet(hand->ep, round++, EVER, &joining);

		must(!err || err == -EOWNERDEAD);
		if (!err && !joining) {
			hand->meetings -= hand->meetings > 0;
			continue;
		}
		must_ok(accel_ep_shrink(hand->ep, EVER, NULL));
		host = stays(hand);
		round = 1;
	}
	return NULL;
}

static void start(struct accel_ep_group *group, struct hand *hands, uint32_t first, uint32_t count,
		  uint32_t meetings, const uint32_t *over)
{
	for (uint32_t i = 0; i < count; i++) {
		hands[i] = (struct hand){ .ep = accel_ep_rank(group, first + i),
					  .meetings = meetings, .over = over };
		must(!pthread_create(&hands[i].thread, NULL, meet_on, &hands[i]));
	}
}

static void end(struct hand *hands, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		pthread_join(hands[i].thread, NULL);
}

TEST(all_meet)
{
	struct part part = { "meet", RANKS, 0, RANKS };
	struct accel_dev *dev = group_open();
	struct accel_ep_group *group;
	struct hand hands[RANKS];

	ASSERT_EQ(0, join(dev, &part, EVER, &group));
	start(group, hands, 0, RANKS, scaled(20000), NULL);
	end(hands, RANKS);
	accel_ep_leave(group);
	accel_close(dev);
}

struct joiner {
	struct part part;
	struct accel_dev *dev;
	struct accel_ep_group *group;
	pthread_t thread;
};

static void *join_on(void *arg)
{
	struct joiner *joiner = arg;

	must_ok(join(joiner->dev, &joiner->part, EVER, &joiner->group));
	return NULL;
}

TEST(guests_come_and_go)
{
	struct joiner hosts = { .part = { "guests", RANKS, 0, RANKS - GUESTS } };
	struct joiner guests = { .part = { "guests", RANKS, RANKS - GUESTS, GUESTS } };
	unsigned int visits = scaled(30);
	struct hand hands[RANKS];
	uint32_t over = 0;

	hosts.dev = group_open();
	guests.dev = group_open();
	must(!pthread_create(&hosts.thread, NULL, join_on, &hosts));
	must(!pthread_create(&guests.thread, NULL, join_on, &guests));
	pthread_join(hosts.thread, NULL);
	pthread_join(guests.thread, NULL);
	start(hosts.group, hands, 0, RANKS - GUESTS, 0, &over);
	for (unsigned int i = 0; i < visits; i++) {
		struct hand *visitors = hands + RANKS - GUESTS;

		start(guests.group, visitors, RANKS - GUESTS, GUESTS, 20, NULL);
		end(visitors, GUESTS);
		accel_ep_leave(guests.group);
		join_on(&guests);
	}
	/* Now all hosts are in an epoch with guests; the next without them is the last. */
	ep_st(&over, 1);
	accel_ep_leave(guests.group);
	end(hands, RANKS - GUESTS);
	accel_ep_leave(hosts.group);
	accel_close(hosts.dev);
	accel_close(guests.dev);
}

TEST_HARNESS_MAIN
