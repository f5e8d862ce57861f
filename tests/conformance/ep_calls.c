// SPDX-License-Identifier: MIT
/*
 * Conformance: what every call of expert collectives refuses, and why; what it says
 * of those who did not come or are gone, and how it goes on.
 */
#include "../ep_team.h"

FIXTURE(calls)
{
	struct team team;
};

FIXTURE_SETUP(calls)
{
	team_setup(&self->team);
}

FIXTURE_TEARDOWN(calls)
{
	bool whole = team_teardown(&self->team);

	if (_metadata->exit_code == KSFT_PASS)
		EXPECT_TRUE(whole) TH_LOG("memory did not come back");
}

TEST_F(calls, joining_tells_why_not)
{
	struct team *team = &self->team;
	struct joiner one = joiner_of(team, &usual, 1, 1), bad;
	struct accel_ep_group *group;
	char name[ACCEL_EP_NAME_LEN + 1];

#define REFUSED(error, field, value) \
	do { \
		bad = one; \
		bad.field = value; \
		EXPECT_EQ(error, join_now(&bad, 0)); \
	} while (0)
	REFUSED(-EINVAL, dev, NULL);
	REFUSED(-EINVAL, count, 0);
	REFUSED(-EINVAL, ranks[0], RANKS);
	REFUSED(-EINVAL, config.slots, 1);
	REFUSED(-EINVAL, config.slots, ACCEL_EP_MAX_SLOTS + 1);
	REFUSED(-EINVAL, config.shared, ACCEL_EP_MAX_SHARED + 1);
	REFUSED(-EINVAL, config.chunk_tokens, TOKENS + 1);
	REFUSED(-EINVAL, config.back, ACCEL_EP_INT8);
	REFUSED(-EINVAL, config.replica, 2);
	REFUSED(-EINVAL, config.sort, 2);
	bad = one;
	bad.config.sort = ACCEL_EP_SORT_SENDER;
	bad.config.node_ranks = 1;
	EXPECT_EQ(-EINVAL, join_now(&bad, 0));
	bad = joiner_of(team, &usual, 0, 2);
	bad.ranks[1] = 0;
	EXPECT_EQ(-EINVAL, join_now(&bad, 0));
	memset(name, 'x', ACCEL_EP_NAME_LEN);
	name[ACCEL_EP_NAME_LEN] = 0;
	EXPECT_EQ(-EINVAL, accel_ep_join(team->dev, name, &usual, one.ranks, one.npus, 1, 0,
					 &group));
	EXPECT_EQ(-EINVAL, accel_ep_join(team->dev, "", &usual, one.ranks, one.npus, 1, 0, &group));
	bad = one;
	/* Nobody else came; and who gave up has left nothing behind. */
	EXPECT_EQ(-ETIMEDOUT, join_now(&bad, 0));
	EXPECT_EQ(-ETIMEDOUT, join_now(&bad, 0));
	start(team, &usual, false);
	EXPECT_EQ(-EEXIST, join_now(&bad, 0));
	bad.config.hidden *= 2;
	EXPECT_EQ(-EPROTO, join_now(&bad, 0));
	EXPECT_EQ(0, go(team, 1));
	EXPECT_EQ(NULL, accel_ep_rank(team->host.group, RANKS));
	EXPECT_EQ(NULL, accel_ep_rank(NULL, 0));
	accel_ep_leave(NULL);
}

/* No half without the one before it, and lanes know nothing of each other. */
TEST_F(calls, halves_come_in_order)
{
	struct team *team = &self->team;
	struct side *s = team->side;
	struct accel_ep_rows bad;

	start(team, &usual, false);
	fill(team, 1);
	bad = s->sum;
	bad.dtype = ACCEL_EP_INT8;
	EXPECT_EQ(-EINVAL, accel_ep_dispatch_begin(s->ep, ACCEL_EP_LANES, &s->tokens, 0));
	EXPECT_EQ(-EINVAL, accel_ep_dispatch_begin(s->ep, 0, NULL, 0));
	EXPECT_EQ(-EINVAL, accel_ep_dispatch_finish(s->ep, 0, 0, 0, &s->recv));
	EXPECT_EQ(-EINVAL, accel_ep_combine_begin(s->ep, 0, &s->out, 0));
	EXPECT_EQ(-EINVAL, accel_ep_combine_finish(s->ep, 0, &s->sum, 0));
	EXPECT_EQ(-EINVAL, accel_ep_release(s->ep, 0));
	each_side(r, team)
		EXPECT_EQ(0, accel_ep_dispatch_begin(r->ep, 0, &r->tokens, 0));
	EXPECT_EQ(-EBUSY, accel_ep_dispatch_begin(s->ep, 0, &s->tokens, 0));
	EXPECT_EQ(-EINVAL, accel_ep_release(s->ep, 0));
	EXPECT_EQ(-EINVAL, accel_ep_combine_begin(s->ep, 0, &s->out, 0));
	EXPECT_EQ(-EINVAL, accel_ep_dispatch_finish(s->ep, 1, 0, 0, &s->recv));
	EXPECT_EQ(-EINVAL, accel_ep_dispatch_finish(s->ep, 0, 2, 0, &s->recv));
	each_side(r, team)
		EXPECT_EQ(0, accel_ep_dispatch_finish(r->ep, 0, 0, 0, &r->recv));
	EXPECT_EQ(0, received_wrong(team));
	EXPECT_EQ(-EINVAL, accel_ep_dispatch_finish(s->ep, 0, 0, 0, &s->recv));
	EXPECT_EQ(-EBUSY, accel_ep_dispatch_begin(s->ep, 0, &s->tokens, 0));
	EXPECT_EQ(-EINVAL, accel_ep_combine_begin(s->ep, 0, &bad, 0));
	EXPECT_EQ(-EINVAL, accel_ep_combine_begin(s->ep, ACCEL_EP_LANES, &s->out, 0));
	EXPECT_EQ(-EINVAL, accel_ep_combine_finish(s->ep, 0, &s->sum, 0));
	each_side(r, team)
		EXPECT_EQ(0, accel_ep_combine_begin(r->ep, 0, &r->out, 0));
	EXPECT_EQ(-EINVAL, accel_ep_release(s->ep, 0));
	EXPECT_EQ(-EBUSY, accel_ep_dispatch_begin(s->ep, 0, &s->tokens, 0));
	EXPECT_EQ(-EINVAL, accel_ep_combine_finish(s->ep, 0, &bad, 0));
	bad = s->sum;
	bad.stride = HIDDEN * sizeof(float) - 4;
	EXPECT_EQ(-EINVAL, accel_ep_combine_finish(s->ep, 0, &bad, 0));
	each_side(r, team)
		EXPECT_EQ(0, accel_ep_combine_finish(r->ep, 0, &r->sum, 0));
	EXPECT_EQ(0, sums_wrong(team));
}

/* Whether each rank's rows lie where they are said to in a buffer. */
static bool in_buffers(struct team *team)
{
	bool right = true;

	each_side(s, team) {
		struct accel_buffer_info info;
		void *map;

		if (!s->recv.total)
			continue;
		must(s->recv.buffer);
		must_ok(accel_buffer_info(s->recv.buffer, &info, NULL, 0));
		must_ok(accel_buffer_map(s->recv.buffer, 0, &map));
		right &= !memcmp((char *)map + s->recv.offset, s->recv.rows,
				 s->recv.total * s->recv.stride);
		accel_buffer_unmap(team->dev, map, info.size);
	}
	return right;
}

/* Whoever sorts the rows; where the sender does, they are stored once, if they have room. */
TEST_F(calls, sorted_by_either)
{
	static const struct {
		uint32_t sort, chunk_tokens;
		bool direct;
	} ways[] = {
		{ ACCEL_EP_SORT_RECEIVER, TOKENS, false },
		{ ACCEL_EP_SORT_SENDER, TOKENS, true },
		{ ACCEL_EP_SORT_SENDER, TOKENS - 1, false },
	};
	struct team *team = &self->team;
	struct side *s = team->side;

	for (uint32_t way = 0; way < ARRAY_LEN(ways); way++) {
		struct accel_ep_config config = usual;
		struct accel_ep_info info;

		config.sort = ways[way].sort;
		config.chunk_tokens = ways[way].chunk_tokens;
		start(team, &config, false);
		for (uint32_t step = 0; step < 6; step++) {
			fill(team, step);
			EXPECT_EQ(0, dispatch(team, step % 2, 0));
			EXPECT_TRUE(in_buffers(team));
			EXPECT_EQ(ways[way].direct, s->recv.offset > 0);
			EXPECT_EQ(0, combine(team, step % 2));
		}
		accel_ep_info(s->ep, &info);
		EXPECT_EQ(ways[way].direct, !info.output_bytes);
		/* One that is small enough after one that was not. */
		fill(team, 6);
		s->tokens.count = TOKENS - 1;
		EXPECT_EQ(0, dispatch(team, 0, 0));
		EXPECT_TRUE(in_buffers(team));
		EXPECT_EQ(config.sort, s->recv.offset > 0);
		EXPECT_EQ(0, combine(team, 0));
		fill(team, 7);
		EXPECT_EQ(0, dispatch(team, 0, ACCEL_EP_INDEXED));
		EXPECT_EQ(NULL, s->recv.buffer);
		EXPECT_EQ(0, combine(team, 0));
		accel_ep_leave(team->host.group);
		team->host.group = NULL;
	}
}

TEST_F(calls, one_token_too_many)
{
	static const float rows[TOKENS + 1][HIDDEN];
	static const int32_t ids[TOKENS + 1][TOP_K];
	struct team *team = &self->team;
	struct side *s = team->side;

	start(team, &usual, false);
	s->tokens = (struct accel_ep_tokens){
		.rows = rows, .stride = sizeof(rows[0]), .experts = ids[0],
		.dtype = ACCEL_EP_FP32, .count = TOKENS + 1,
	};
	EXPECT_EQ(-EINVAL, accel_ep_dispatch_begin(s->ep, 0, &s->tokens, 0));
	s->tokens.count--;
	EXPECT_EQ(0, accel_ep_dispatch_begin(s->ep, 0, &s->tokens, 0));
}

/* The same call goes on where it stopped, and each tells who did not come. */
TEST_F(calls, time_runs_out)
{
	struct team *team = &self->team;
	uint32_t step, none = 0, count;

	start(team, &usual, false);
	for (step = 0; step < 4; step++) {
		uint32_t some[2] = { RANKS, RANKS };
		struct accel_ep_stats before, after;
		struct side *s = team->side;

		fill(team, step);
		accel_ep_stats(s->ep, &before, NULL);
		EXPECT_EQ(-ETIMEDOUT, accel_ep_dispatch(s->ep, 0, &s->tokens, 0, 1000, &s->recv));
		EXPECT_TRUE(absent_are(s, 6));
		accel_ep_stats(s->ep, &after, NULL);
		EXPECT_LT(before.wait_ns, after.wait_ns);
		accel_ep_absent(s->ep, NULL, &none);
		EXPECT_EQ(2, none);
		none = 0;
		count = 1;
		accel_ep_absent(s->ep, some, &count);
		EXPECT_EQ(2, count);
		EXPECT_EQ(1, some[0]);
		EXPECT_EQ(RANKS, some[1]);
		EXPECT_EQ(-ETIMEDOUT, accel_ep_dispatch(s[2].ep, 0, &s[2].tokens, 0, 0, &s[2].recv));
		EXPECT_TRUE(absent_are(&s[2], 2));
		EXPECT_EQ(-ETIMEDOUT, accel_ep_dispatch(s->ep, 0, &s->tokens, 0, 0, &s->recv));
		EXPECT_TRUE(absent_are(s, 2));
		EXPECT_EQ(0, accel_ep_dispatch(s[1].ep, 0, &s[1].tokens, 0, 0, &s[1].recv));
		EXPECT_EQ(0, accel_ep_dispatch(s[0].ep, 0, &s[0].tokens, 0, 0, &s[0].recv));
		EXPECT_EQ(0, accel_ep_dispatch(s[2].ep, 0, &s[2].tokens, 0, 0, &s[2].recv));
		EXPECT_EQ(0, received_wrong(team));
		EXPECT_EQ(-ETIMEDOUT, accel_ep_combine(s[1].ep, 0, &s[1].out, &s[1].sum, 0));
		EXPECT_TRUE(absent_are(&s[1], 5));
		EXPECT_EQ(-ETIMEDOUT, accel_ep_combine(s[0].ep, 0, &s[0].out, &s[0].sum, 0));
		EXPECT_TRUE(absent_are(&s[0], 4));
		EXPECT_EQ(0, accel_ep_combine(s[2].ep, 0, &s[2].out, &s[2].sum, 0));
		EXPECT_EQ(0, accel_ep_combine(s[1].ep, 0, &s[1].out, &s[1].sum, 0));
		EXPECT_EQ(0, accel_ep_combine(s[0].ep, 0, &s[0].out, &s[0].sum, 0));
		EXPECT_EQ(0, sums_wrong(team));
	}
}

/* Who has not released what it received keeps others from the lane, and from no other. */
TEST_F(calls, next_waits_for_the_last_reader)
{
	struct team *team = &self->team;
	struct side *s = team->side;

	start(team, &usual, false);
	fill(team, 1);
	EXPECT_EQ(0, dispatch(team, 0, ACCEL_EP_INDEXED));
	EXPECT_EQ(0, accel_ep_release(s[0].ep, 0));
	EXPECT_EQ(0, accel_ep_release(s[1].ep, 0));
	EXPECT_EQ(-ETIMEDOUT, accel_ep_dispatch_begin(s[0].ep, 0, &s->tokens, 0));
	EXPECT_TRUE(absent_are(s, 4));
	EXPECT_EQ(0, received_wrong(team));
	EXPECT_EQ(0, go(team, 3));
	EXPECT_EQ(0, accel_ep_release(s[2].ep, 0));
	EXPECT_EQ(0, go(team, 4));
}

/* A rank that leaves is gone for all; it is done without, and taken in when it is back. */
TEST_F(calls, who_is_gone_may_return)
{
	struct team *team = &self->team;
	struct side *s = team->side;
	struct accel_ep_info info;
	uint8_t alive[RANKS];
	uint32_t visit;

	start(team, &usual, true);
	for (visit = 0; visit < scaled(10) + 1; visit++) {
		uint64_t epoch;

		accel_ep_info(s->ep, &info);
		epoch = info.epoch;
		EXPECT_EQ(0, go(team, 1));
		fill(team, 2);
		EXPECT_EQ(0, accel_ep_dispatch_begin(s[0].ep, 0, &s[0].tokens, 0));
		accel_ep_leave(team->guest.group);
		team->guest.group = NULL;
		s[GUEST].gone = true;
		EXPECT_EQ(-EOWNERDEAD, accel_ep_dispatch_finish(s[0].ep, 0, 0, EP_WAIT_NS,
								&s[0].recv));
		EXPECT_TRUE(absent_are(&s[0], 1 << GUEST));
		EXPECT_EQ(-EOWNERDEAD, accel_ep_dispatch_begin(s[1].ep, 0, &s[1].tokens, 0));
		EXPECT_TRUE(absent_are(&s[1], 1 << GUEST));
		EXPECT_EQ(-ETIMEDOUT, accel_ep_shrink(s[0].ep, 0, alive));
		EXPECT_TRUE(absent_are(&s[0], 1 << 1));
		EXPECT_EQ(0, shrink(team, alive));
		EXPECT_EQ(0, memcmp(alive, "\1\1\0", RANKS));
		memset(alive, 7, sizeof(alive));
		accel_ep_members(s[1].ep, alive);
		EXPECT_EQ(0, memcmp(alive, "\1\1\0", RANKS));
		accel_ep_info(s->ep, &info);
		EXPECT_EQ(2, info.alive);
		EXPECT_LT(epoch, info.epoch);
		EXPECT_EQ(0, go(team, 3));
		EXPECT_LT(0, s[0].recv.dropped + s[1].recv.dropped);
		EXPECT_EQ(0, s[0].recv.joining);

		/* One of them has begun before there is anybody to tell of. */
		fill(team, 4);
		EXPECT_EQ(0, accel_ep_dispatch_begin(s[visit % 2].ep, 0, &s[visit % 2].tokens, 0));
		team->guest = joiner_of(team, &usual, GUEST, 1);
		must(!pthread_create(&team->guest.thread, NULL, join_on, &team->guest));
		EXPECT_TRUE(eventually((accel_ep_info(s->ep, &info), info.joining == 1)));
		EXPECT_EQ(0, accel_ep_dispatch_begin(s[!(visit % 2)].ep, 0,
						     &s[!(visit % 2)].tokens, 0));
		each_side(r, team)
			EXPECT_EQ(0, accel_ep_dispatch_finish(r->ep, 0, 0, 0, &r->recv));
		EXPECT_EQ(0, received_wrong(team));
		EXPECT_EQ(1, s[0].recv.joining);
		EXPECT_EQ(1, s[1].recv.joining);
		EXPECT_EQ(0, shrink(team, NULL));
		pthread_join(team->guest.thread, NULL);
		EXPECT_EQ(0, team->guest.err);
		s[GUEST].ep = accel_ep_rank(team->guest.group, GUEST);
		s[GUEST].gone = false;
		EXPECT_EQ(0, place(&s[GUEST], 0));
		accel_ep_info(s[GUEST].ep, &info);
		EXPECT_EQ(RANKS, info.alive);
		EXPECT_EQ(GUEST, info.rank);
		EXPECT_EQ(0, info.joining);
	}
	EXPECT_EQ(0, go(team, 5));
}

TEST_HARNESS_MAIN
