// SPDX-License-Identifier: MIT
/*
 * Conformance: who gets which token as tables of experts say, replicas, a capacity,
 * rows that go on without coming back, and what is counted of all that.
 */
#include "../ep_team.h"

FIXTURE(tables)
{
	struct team team;
};

FIXTURE_SETUP(tables)
{
	team_setup(&self->team);
}

FIXTURE_TEARDOWN(tables)
{
	bool whole = team_teardown(&self->team);

	if (_metadata->exit_code == KSFT_PASS)
		EXPECT_TRUE(whole) TH_LOG("memory did not come back");
}

/* Each rank changes its table in a step of its own; all are told which is the oldest. */
TEST_F(tables, tables_change_on_the_way)
{
	struct team *team = &self->team;
	uint64_t version[RANKS] = { 0 };
	uint32_t step;

	start(team, &usual, false);
	for (step = 1; step <= scaled(60) + 9; step++) {
		uint32_t rank = step % RANKS;
		uint64_t oldest = UINT64_MAX;

		version[rank] = (step + 2) / RANKS;
		EXPECT_EQ(0, place(&team->side[rank], version[rank]));
		for (uint32_t r = 0; r < RANKS; r++)
			oldest = version[r] < oldest ? version[r] : oldest;
		EXPECT_EQ(0, go(team, step));
		each_side(s, team)
			EXPECT_EQ(oldest, s->recv.table_min);
	}
	/* What is refused leaves the one there was. */
	team->side[0].places[0].slot = SLOTS;
	EXPECT_EQ(-EINVAL, accel_ep_set_table(team->side[0].ep, step, team->side[0].first,
					      team->side[0].places));
	EXPECT_EQ(-EINVAL, place(&team->side[0], version[0] - 1));
	EXPECT_EQ(0, place(&team->side[0], version[0]));
	EXPECT_EQ(0, go(team, step));
}

/* Expert 0 on all ranks, in slot 3; the rest on rank 0. */
static void place_thrice(struct team *team, uint64_t version)
{
	each_side(s, team) {
		for (uint32_t r = 0; r < RANKS; r++)
			s->places[r] = (struct accel_ep_place){ r, 3 };
		s->first[1] = RANKS;
		for (uint32_t e = 1; e < EXPERTS; e++) {
			s->first[e + 1] = s->first[e] + 1;
			s->places[s->first[e]].rank = e > 3;
			s->places[s->first[e]].slot = e > 3 ? e - 4 : e - 1;
		}
		must_ok(accel_ep_set_table(s->ep, version, s->first, s->places));
	}
}

/* Every token of every rank, with these choices. */
static void fill_all(struct team *team, uint32_t step, int32_t one, int32_t other)
{
	fill(team, step);
	each_side(s, team) {
		s->tokens.count = TOKENS - 2;
		s->tokens.active = NULL;
		memset(s->active, 1, sizeof(s->active));
		for (uint32_t t = 0; t < TOKENS; t++) {
			s->ids[t][0] = one;
			s->ids[t][1] = other;
		}
	}
}

/* In turn: of six tokens each of three replicas gets two, from every rank. */
TEST_F(tables, replicas_take_turns)
{
	struct team *team = &self->team;

	start(team, &usual, false);
	place_thrice(team, 1);
	fill_all(team, 1, 1, 0);
	EXPECT_EQ(0, dispatch(team, 0, 0));
	each_side(s, team)
		EXPECT_EQ(RANKS * (TOKENS - 2) / RANKS, s->recv.counts[3]);
	EXPECT_EQ(0, combine(team, 0));
}

/* Rank 0 gets a row of each token for expert 1: no more of expert 0 than the others' rows. */
TEST_F(tables, replicas_share_the_load)
{
	struct accel_ep_config config = usual;
	struct team *team = &self->team;

	config.replica = ACCEL_EP_LEAST_LOAD;
	start(team, &config, false);
	place_thrice(team, 1);
	fill_all(team, 1, 1, 0);
	EXPECT_EQ(0, dispatch(team, 0, 0));
	EXPECT_EQ(0, team->side[0].recv.counts[3]);
	EXPECT_EQ(RANKS * (TOKENS - 2) / 2, team->side[1].recv.counts[3]);
	EXPECT_EQ(RANKS * (TOKENS - 2) / 2, team->side[2].recv.counts[3]);
	EXPECT_EQ(0, combine(team, 0));
}

/* Replicas on ranks that live take the place of one that is gone: nothing is dropped. */
TEST_F(tables, replicas_stand_in)
{
	struct team *team = &self->team;
	uint32_t replica;

	for (replica = 0; replica < 2; replica++) {
		struct accel_ep_config config = usual;

		config.replica = replica;
		start(team, &config, true);
		place_thrice(team, 1);
		accel_ep_leave(team->guest.group);
		team->guest.group = NULL;
		team->side[GUEST].gone = true;
		EXPECT_EQ(0, shrink(team, NULL));
		fill_all(team, 1, 0, 2);
		EXPECT_EQ(0, dispatch(team, 0, 0));
		each_side(s, team)
			EXPECT_EQ(0, s->recv.dropped);
		EXPECT_EQ(0, combine(team, 0));
		accel_ep_leave(team->host.group);
		team->host.group = NULL;
		team->side[GUEST].gone = false;
	}
}

/* So many of an expert, of each rank, in each call. */
TEST_F(tables, capacity_is_of_a_call)
{
	struct accel_ep_config config = usual;
	struct team *team = &self->team;
	struct accel_ep_stats stats;
	uint32_t call;

	config.capacity = 5;
	start(team, &config, false);
	for (call = 1; call < 4; call++) {
		fill_all(team, call, 0, 3);
		EXPECT_EQ(0, dispatch(team, 0, 0));
		each_side(s, team) {
			EXPECT_EQ(2, s->recv.dropped);
			accel_ep_stats(s->ep, &stats, NULL);
			EXPECT_EQ(2 * call, stats.dropped);
			EXPECT_EQ(10 * call, stats.choices);
		}
		EXPECT_EQ(0, combine(team, 0));
	}
}

/* What one lane received goes on by the other, as it travelled. */
TEST_F(tables, chains_of_experts)
{
	struct team *team = &self->team;
	uint32_t step;

	start(team, &usual, false);
	for (step = 0; step < 4; step++) {
		uint32_t lane = step % ACCEL_EP_LANES;
		struct accel_ep_recv recv[RANKS];

		fill_all(team, step, 0, ACCEL_EP_SKIP);
		EXPECT_EQ(0, dispatch(team, lane, 0));
		each_side(s, team)
			recv[s - team->side] = s->recv;
		EXPECT_EQ(RANKS * (TOKENS - 2), recv[0].total);
		/* All is on rank 0, which knows of each what it was. */
		each_side(s, team) {
			const struct accel_ep_recv *from = &recv[s - team->side];

			s->tokens.rows = from->rows;
			s->tokens.stride = from->stride;
			s->tokens.dtype = ACCEL_EP_BF16;
			s->tokens.count = from->total < TOKENS ? from->total : TOKENS;
			for (uint32_t t = 0; t < s->tokens.count; t++) {
				const struct accel_ep_origin *o = &from->origins[t];

				memmove(s->rows[t], team->side[o->rank].rows[o->token],
					sizeof(s->rows[t]));
				s->ids[t][0] = t % EXPERTS;
				s->ids[t][1] = (t + 4) % EXPERTS;
			}
		}
		EXPECT_EQ(0, dispatch(team, !lane, 0));
		each_side(s, team)
			EXPECT_EQ(0, accel_ep_release(s->ep, lane));
		EXPECT_EQ(0, combine(team, !lane));
	}
}

/* Outputs stay where experts put them, at some ranks, and owners read them there. */
TEST_F(tables, outputs_are_read_in_place)
{
	struct team *team = &self->team;
	uint32_t step;

	start(team, &usual, false);
	for (step = 0; step < scaled(60) + 8; step++) {
		each_side(s, team)
			s->pull = step >> (s - team->side) & 1;
		EXPECT_EQ(0, go(team, step));
		each_side(s, team)
			EXPECT_NE(NULL, s->recv.out);
	}
}

/* There, but further apart: so they are sent. */
TEST_F(tables, outputs_apart_are_not_read_in_place)
{
	struct team *team = &self->team;

	start(team, &usual, false);
	fill_all(team, 1, 0, 3);
	each_side(s, team) {
		s->tokens.count = 2;
		s->pull = true;
	}
	EXPECT_EQ(0, dispatch(team, 0, 0));
	each_side(s, team)
		s->out.stride *= 2;
	EXPECT_EQ(0, received_wrong(team));
	EXPECT_EQ(0, combine(team, 0));
}

/* All go to rank 0, call for call: its room is free again for each, so none needs two rounds. */
TEST_F(tables, room_is_free_again)
{
	struct team *team = &self->team;
	uint32_t call;

	start(team, &usual, false);
	for (call = 0; call < 6; call++) {
		fill_all(team, call, 0, 3);
		EXPECT_EQ(0, dispatch(team, 0, 0));
		EXPECT_EQ(1, team->side[0].recv.rounds);
		if (call % 3) {
			each_side(s, team)
				EXPECT_EQ(0, accel_ep_release(s->ep, 0));
		} else {
			EXPECT_EQ(0, combine(team, 0));
		}
	}
}

/* What is known beforehand, to the last one; the second half of the calls read in place. */
TEST_F(tables, all_is_counted)
{
	struct accel_ep_stats all[RANKS] = { 0 };
	struct team *team = &self->team;
	uint64_t loads[EXPERTS];
	uint32_t calls;

	start(team, &usual, false);
	for (calls = 1; calls <= 4; calls++) {
		uint32_t back = HIDDEN * sizeof(float) * (calls < 2 ? calls : 2);

		fill_all(team, calls, 0, 3);
		each_side(s, team) {
			s->pull = calls > 2;
			s->tokens.active = s->active;
			s->active[1] = 0;
			s->ids[2][1] = ACCEL_EP_SKIP;
			s->ids[3][1] = 4;
			s->ids[4][0] = ACCEL_EP_SKIP;
			s->ids[4][1] = ACCEL_EP_SKIP;
		}
		EXPECT_EQ(0, dispatch(team, calls % ACCEL_EP_LANES, 0));
		EXPECT_EQ(0, combine(team, calls % ACCEL_EP_LANES));
		each_side(s, team) {
			struct accel_ep_stats *stats = &all[s - team->side];

			accel_ep_stats(s->ep, stats, loads);
			EXPECT_EQ(calls, stats->dispatches);
			EXPECT_EQ(calls, stats->combines);
			EXPECT_EQ(calls * 5, stats->tokens);
			EXPECT_EQ(calls * 7, stats->choices);
			EXPECT_EQ(0, stats->dropped);
			EXPECT_EQ(calls * 5, stats->rows_sent);
			EXPECT_EQ(0, stats->extra_rounds);
			EXPECT_LE(stats->rows_sent * HIDDEN * 2, stats->bytes_sent);
			EXPECT_EQ(calls * 4, loads[0]);
			EXPECT_EQ(0, loads[1] + loads[2] + loads[5]);
			EXPECT_EQ(calls * 2, loads[3]);
			EXPECT_EQ(calls, loads[4]);
		}
		EXPECT_EQ(4 * RANKS, team->side[0].recv.arrived);
		EXPECT_EQ(calls * 4 * RANKS, all[0].rows_received);
		EXPECT_EQ(calls * RANKS, all[1].rows_received);
		EXPECT_EQ(0, all[2].rows_received);
		EXPECT_EQ(12 * back, all[0].bytes_back);
		EXPECT_EQ(2 * back, all[1].bytes_back);
		EXPECT_EQ(0, all[2].bytes_back);
	}
}

/* Room for two rows at a time: all arrive, and what was sent later counts too. */
TEST_F(tables, rounds_are_counted)
{
	struct accel_ep_config config = usual;
	struct team *team = &self->team;
	uint64_t rounds[RANKS] = { 0 };
	uint32_t step;

	config.chunk_tokens = 2;
	config.room_percent = 1;
	start(team, &config, false);
	for (step = 1; step <= scaled(30) + 5; step++) {
		uint64_t sent = 0, arrived = 0;

		EXPECT_EQ(0, go(team, step));
		each_side(s, team) {
			struct accel_ep_stats stats;

			accel_ep_stats(s->ep, &stats, NULL);
			sent += stats.rows_sent;
			arrived += stats.rows_received;
			rounds[s - team->side] += s->recv.rounds - 1;
			EXPECT_EQ(rounds[s - team->side], stats.extra_rounds);
			EXPECT_LE((s->recv.arrived + 1) / 2, s->recv.rounds);
		}
		EXPECT_EQ(sent, arrived);
		EXPECT_LT(0, rounds[0] + rounds[1] + rounds[2]);
	}
}

/* What comes back in rounds does so at all ranks, even if there is room for all of it. */
TEST_F(tables, outputs_in_rounds_are_not_read_in_place)
{
	struct accel_ep_config config = usual;
	struct team *team = &self->team;

	config.chunk_tokens = 2;
	start(team, &config, false);
	fill_all(team, 1, ACCEL_EP_SKIP, ACCEL_EP_SKIP);
	each_side(s, team) {
		s->pull = true;
		s->ids[1][0] = 0;
		s->ids[4][1] = 0;
	}
	EXPECT_EQ(0, dispatch(team, 0, 0));
	EXPECT_EQ(2 * RANKS, team->side[0].recv.total);
	each_side(s, team)
		EXPECT_EQ(NULL, s->recv.out);
	EXPECT_EQ(0, combine(team, 0));
}

TEST_HARNESS_MAIN
