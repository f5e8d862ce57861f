// SPDX-License-Identifier: MIT
/*
 * Dispatch and combine against a plain reference: every row that arrives is the
 * token it says it is, each choice arrives once and in order, and what comes back
 * is the sum in the order of k, bit for bit. Then rounds, lanes, chains, changes of
 * the table, and calls that run out of time.
 */
#include <math.h>

#include "ep_world.h"

#define EACH_SEND(send) for (uint32_t send = ACCEL_EP_BF16; send <= ACCEL_EP_INT8; send += 2)

static struct accel_ep_config usual(uint32_t ranks)
{
	return (struct accel_ep_config){
		.ranks = ranks,
		.experts = 16,
		.hidden = 96,
		.top_k = 4,
		.max_tokens = 40,
		.send = ACCEL_EP_INT8,
		.back = ACCEL_EP_BF16,
	};
}

TEST(ranks)
{
	static const uint32_t counts[] = { 1, 2, 3, 8 };

	for (uint32_t i = 0; i < ARRAY_LEN(counts); i++) {
		struct accel_ep_config config = usual(counts[i]);
		struct world *w = world_make(&config);

		for (uint32_t round = 0; round < scaled(20); round++) {
			w->pull = round & 2;
			w->skew = round % SKEWS;
			world_loop(w, round % ACCEL_EP_LANES, 0);
		}
		world_free(w);
	}
}

/* Outputs that owners read where experts put them, of some ranks only; and without room. */
TEST(pulled)
{
	struct accel_ep_config config = usual(4);
	struct world *w;
	uint32_t without = 0;

	config.room_percent = 100;
	w = world_make(&config);
	for (uint32_t round = 0; round < 8 + scaled(40); round++) {
		w->pull = true;
		w->skew = round % SKEWS;
		world_fill(w, 0);
		world_dispatch(w, 0, round & 1 ? ACCEL_EP_INDEXED : 0);
		for (uint32_t rank = 0; rank < 4; rank++) {
			without += !w->ranks[rank].recv[0].out;
			if (round & 4 && rank & 1)
				w->ranks[rank].recv[0].out = NULL;
		}
		world_combine(w, 0);
	}
	ASSERT_LT(0, without);
	world_free(w);
}

/* Every type in, on the way, out and back; and both forms of output. */
TEST(types)
{
	for (uint32_t dtype = ACCEL_EP_BF16; dtype <= ACCEL_EP_INT8; dtype++)
		EACH_SEND(send)
			for (uint32_t mix = 0; mix < 16; mix++) {
				struct accel_ep_config config = usual(3);
				struct world *w;

				if (dtype == ACCEL_EP_INT8 && send != ACCEL_EP_INT8)
					continue;
				config.send = send;
				config.back = mix & 1;
				/* Rows that do and that do not fill their lines. */
				config.hidden = mix & 4 ? 160 : 128;
				w = world_make(&config);
				w->dtype = dtype;
				w->out_dtype = mix >> 1 & 1;
				w->sum_dtype = mix >> 3 & 1;
				w->pull = dtype;
				world_loop(w, 0, 0);
				world_loop(w, 0, ACCEL_EP_INDEXED);
				world_free(w);
			}
}

TEST(top_k)
{
	for (uint32_t k = 1; k <= ACCEL_EP_MAX_TOP_K; k++) {
		struct accel_ep_config config = usual(3);
		struct world *w;

		config.top_k = k;
		config.shared = k % (ACCEL_EP_MAX_SHARED + 1);
		w = world_make(&config);
		for (uint32_t skew = 0; skew < SKEWS; skew++) {
			w->skew = skew;
			world_loop(w, 0, 0);
		}
		world_free(w);
	}
}

TEST(limits)
{
	struct accel_ep_config config = {
		.ranks = 2,
		.experts = ACCEL_EP_MAX_EXPERTS - ACCEL_EP_MAX_SHARED,
		.shared = ACCEL_EP_MAX_SHARED,
		.hidden = ACCEL_EP_MAX_HIDDEN,
		.top_k = ACCEL_EP_MAX_TOP_K,
		.max_tokens = 3,
		.send = ACCEL_EP_BF16,
		.back = ACCEL_EP_FP32,
	};
	struct world *w = world_make(&config);

	world_loop(w, 0, 0);
	world_free(w);
	config.hidden = ACCEL_EP_HIDDEN_UNIT;
	config.max_tokens = ACCEL_EP_MAX_TOKENS;
	config.top_k = 2;
	w = world_make(&config);
	world_loop(w, 0, 0);
	world_free(w);
}

TEST(many_ranks)
{
	static const uint32_t counts[] = { 64, 320, ACCEL_EP_MAX_RANKS };

	for (uint32_t i = 0; i < ARRAY_LEN(counts); i++) {
		struct accel_ep_config config = usual(counts[i]);
		struct world *w;

		config.experts = counts[i];
		config.hidden = ACCEL_EP_HIDDEN_UNIT;
		config.max_tokens = 4;
		w = world_make(&config);
		for (uint32_t round = 0; round < 1 + scaled(2); round++) {
			w->pull = round & 1;
			w->skew = round;
			world_loop(w, 0, 0);
		}
		world_free(w);
	}
}

/* The same tokens for the same experts, on other numbers of ranks: the same bits. */
TEST(same_for_all_ranks)
{
	float *first = NULL;

	for (uint32_t ranks = 1; ranks <= 4; ranks *= 2) {
		struct accel_ep_config config = usual(ranks);
		struct world *w = world_make(&config);
		uint32_t bytes = config.max_tokens * config.hidden * sizeof(float);

		w->sum_dtype = ACCEL_EP_FP32;
		w->out_dtype = ACCEL_EP_FP32;
		world_fill(w, 0);
		world_dispatch(w, 0, 0);
		world_combine(w, 0);
		if (!first) {
			first = malloc(bytes);
			memcpy(first, w->ranks[0].sum[0], bytes);
		}
		ASSERT_EQ(0, memcmp(first, w->ranks[0].sum[0], bytes));
		world_free(w);
	}
	free(first);
}

/* All choose what one rank hosts: rounds, with room for one rank's chunk. */
TEST(rounds)
{
	EACH_SEND(send) {
		struct accel_ep_config config = usual(3);
		struct world *w;

		config.send = send;
		config.room_percent = 1;
		config.chunk_tokens = 4;
		w = world_make(&config);
		for (uint32_t round = 0; round < scaled(20); round++) {
			w->skew = round % SKEWS;
			world_fill(w, 0);
			world_dispatch(w, 0, round & 2 ? ACCEL_EP_INDEXED : 0);
			if (w->skew == SKEW_HOT)
				ASSERT_LE(3, w->ranks[0].recv[0].rounds);
			world_combine(w, 0);
		}
		world_free(w);
	}
}

/* Both lanes under way at once, rounds on both. */
TEST(lanes)
{
	struct accel_ep_config config = usual(3);
	struct world *w;

	config.room_percent = 1;
	config.chunk_tokens = 4;
	w = world_make(&config);
	for (uint32_t round = 0; round < scaled(20); round++) {
		world_fill(w, 0);
		world_fill(w, 1);
		w->skew = round % SKEWS;
		world_each(w, step_begin, 0, 0);
		world_each(w, step_begin, 1, 0);
		world_each(w, step_finish, 0, 0);
		world_each(w, step_back, 0, 0);
		world_each(w, step_finish, 1, ACCEL_EP_INDEXED);
		world_each(w, step_back, 1, 0);
		world_each(w, step_sum, 0, 0);
		world_each(w, step_sum, 1, 0);
		for (uint32_t lane = 0; lane < ACCEL_EP_LANES; lane++) {
			world_check_recv(w, lane);
			world_check_sum(w, lane);
		}
	}
	world_free(w);
}

/* No barrier between the calls: who is early waits, not who is late. */
TEST(unleashed)
{
	struct accel_ep_config config = usual(4);
	struct world *w = world_make(&config);

	for (uint32_t pull = 0; pull < 2; pull++) {
		w->pull = pull;
		world_fill(w, 0);
		world_each(w, step_many, 0, scaled(500));
		world_check_recv(w, 0);
		world_check_sum(w, 0);
	}
	world_free(w);
}

TEST(capacity)
{
	struct accel_ep_config config = usual(2);
	struct world *w;
	uint32_t taken = 0;

	config.capacity = 3;
	w = world_make(&config);
	w->skew = SKEW_HOT;
	world_loop(w, 0, 0);
	for (uint32_t rank = 0; rank < 2; rank++) {
		const struct accel_ep_recv *recv = &w->ranks[rank].recv[0];

		ASSERT_LT(0, recv->dropped);
		for (uint32_t slot = 0; slot < 8; slot++) {
			ASSERT_GE(2 * config.capacity, recv->counts[slot]);
			taken += recv->counts[slot] == 2 * config.capacity;
		}
	}
	ASSERT_LT(0, taken);
	world_free(w);
}

/* A dispatch without a combine leaves as much room as one with. */
TEST(released)
{
	struct accel_ep_config config = usual(2);
	struct world *w = world_make(&config);

	for (uint32_t round = 0; round < 20; round++) {
		world_fill(w, 0);
		world_dispatch(w, 0, 0);
		ASSERT_EQ(1, w->ranks[0].recv[0].rounds);
		world_each(w, step_release, 0, 0);
	}
	world_free(w);
}

/* Two replicas of expert 0, on ranks 0 and 1; one each of others, @shift on. */
static void place_twice(struct world *w, uint64_t version, uint32_t shift)
{
	struct accel_ep_place places[17], at = { 0, 0 };
	uint32_t first[17] = { 0, 2 };

	places[0] = at;
	places[1] = (struct accel_ep_place){ 1, 0 };
	for (uint32_t expert = 1; expert < 16; expert++) {
		uint32_t i = (expert + shift) % 15;

		first[expert + 1] = expert + 2;
		places[expert + 1] = (struct accel_ep_place){ i % 3, 1 + i / 3 };
	}
	world_table(w, version, first, places);
}

TEST(replicas)
{
	for (uint32_t replica = 0; replica < 2; replica++) {
		struct accel_ep_config config = usual(3);
		uint32_t rows[2];
		struct world *w;

		config.slots = 8;
		config.replica = replica;
		w = world_make(&config);
		for (uint32_t round = 0; round < 6; round++) {
			place_twice(w, round + 1, round);
			w->skew = replica == ACCEL_EP_ROUND_ROBIN ? SKEW_HOT : SKEW_SAME;
			world_loop(w, 0, 0);
			for (uint32_t rank = 0; rank < 2; rank++)
				rows[rank] = w->ranks[rank].recv[0].counts[0];
			ASSERT_LT(20, rows[0]);
			/* One off for each sender, of 40 and of 160 choices. */
			ASSERT_GE(3, abs((int)rows[0] - (int)rows[1]));
			ASSERT_EQ(round + 1, w->ranks[2].recv[0].table_min);
		}
		world_free(w);
	}
}

TEST(bad_tables)
{
	struct accel_ep_config config = usual(2);
	struct world *w = world_make(&config);
	struct accel_ep *ep = w->ranks[0].ep;
	struct accel_ep_place places[16];
	uint32_t first[17];

	for (uint32_t i = 0; i < 17; i++)
		first[i] = i;
	for (uint32_t i = 0; i < 16; i++)
		places[i] = (struct accel_ep_place){ i % 2, i / 2 };
	ASSERT_EQ(0, accel_ep_set_table(ep, 5, first, places));
	ASSERT_EQ(-EINVAL, accel_ep_set_table(ep, 4, first, places));
	places[3].rank = 2;
	ASSERT_EQ(-EINVAL, accel_ep_set_table(ep, 6, first, places));
	places[3] = (struct accel_ep_place){ 1, 8 };
	ASSERT_EQ(-EINVAL, accel_ep_set_table(ep, 6, first, places));
	places[3] = places[2];
	ASSERT_EQ(-EINVAL, accel_ep_set_table(ep, 6, first, places));
	places[3] = (struct accel_ep_place){ 1, 1 };
	first[7] = 6;
	ASSERT_EQ(-EINVAL, accel_ep_set_table(ep, 6, first, places));
	first[7] = 7;
	first[0] = 1;
	ASSERT_EQ(-EINVAL, accel_ep_set_table(ep, 6, first, places));
	first[0] = 0;
	first[16] = 17;
	ASSERT_EQ(-EINVAL, accel_ep_set_table(ep, 6, first, places));
	world_free(w);
}

/* What came on one lane goes on, as it is, on the other. */
TEST(chain)
{
	EACH_SEND(send) {
		struct accel_ep_config config = usual(2);
		struct world *w;

		config.send = send;
		config.max_tokens = 400;
		w = world_make(&config);
		w->tokens = 20;
		w->dtype = ACCEL_EP_FP32;
		for (uint32_t round = 0; round < 3; round++) {
			world_fill(w, 0);
			world_dispatch(w, 0, 0);
			world_chain(w);
			world_dispatch(w, 1, 0);
			world_each(w, step_release, 0, 0);
			world_combine(w, 1);
		}
		world_free(w);
	}
}

TEST(bad_tokens)
{
	struct accel_ep_config config = usual(1);
	struct world *w = world_make(&config);
	struct accel_ep *ep = w->ranks[0].ep;
	struct accel_ep_tokens good, bad;
	struct accel_ep_recv recv;
	struct accel_ep_stats stats;

	world_fill(w, 0);
	good = w->ranks[0].tokens[0];
#define REFUSED(field, value) \
	do { \
		bad = good; \
		bad.field = value; \
		ASSERT_EQ(-EINVAL, accel_ep_dispatch(ep, 0, &bad, 0, 0, &recv)); \
	} while (0)
	REFUSED(count, 41);
	REFUSED(rows, NULL);
	REFUSED(rows, (const char *)good.rows + 1);
	REFUSED(experts, NULL);
	REFUSED(stride, 96 * 2 - 2);
	REFUSED(stride, 96 * 2 + 1);
	REFUSED(dtype, ACCEL_EP_INT8);
	REFUSED(dtype, 3);
	w->ranks[0].experts[0][17] = 16;
	ASSERT_EQ(-EINVAL, accel_ep_dispatch(ep, 0, &good, 0, 0, &recv));
	w->ranks[0].experts[0][17] = -2;
	ASSERT_EQ(-EINVAL, accel_ep_dispatch(ep, 0, &good, 0, 0, &recv));
	w->ranks[0].experts[0][17] = 0;
	ASSERT_EQ(-EINVAL, accel_ep_dispatch(ep, 2, &good, 0, 0, &recv));
	ASSERT_EQ(-EINVAL, accel_ep_dispatch(ep, 0, &good, 2, 0, &recv));
	ASSERT_EQ(-EINVAL, accel_ep_dispatch_finish(ep, 0, 0, 0, &recv));
	ASSERT_EQ(-EINVAL, accel_ep_release(ep, 0));
	accel_ep_stats(ep, &stats, NULL);
	ASSERT_EQ(0, stats.dispatches);
	ASSERT_EQ(0, accel_ep_dispatch_begin(ep, 0, &good, 0));
	ASSERT_EQ(-EBUSY, accel_ep_dispatch_begin(ep, 0, &good, 0));
	ASSERT_EQ(0, accel_ep_dispatch_finish(ep, 0, 0, 0, &recv));
	ASSERT_EQ(-EBUSY, accel_ep_dispatch_begin(ep, 0, &good, 0));
	ASSERT_EQ(0, accel_ep_release(ep, 0));
	/* None at all is a dispatch too. */
	bad = (struct accel_ep_tokens){ .count = 0 };
	ASSERT_EQ(0, accel_ep_dispatch(ep, 0, &bad, 0, 0, &recv));
	ASSERT_EQ(0, recv.total);
	ASSERT_EQ(0, accel_ep_release(ep, 0));
	world_free(w);
}

/* A call that runs out of time names who is late, and is made again. */
TEST(late)
{
	struct accel_ep_config config = usual(3);
	struct world *w = world_make(&config);

	w->skew = SKEW_HOT;
	for (uint32_t round = 0; round < 3; round++) {
		world_fill(w, 0);
		ASSERT_EQ(-ETIMEDOUT, try_dispatch(w, 0));
		ASSERT_TRUE(absent_are(w, 0, 1u << 1 | 1u << 2));
		ASSERT_EQ(-ETIMEDOUT, try_dispatch(w, 2));
		ASSERT_TRUE(absent_are(w, 2, 1u << 1));
		world_each(w, step_dispatch, 0, 0);
		world_check_recv(w, 0);
		ASSERT_EQ(-ETIMEDOUT, try_combine(w, 1));
		ASSERT_TRUE(absent_are(w, 1, 1u << 0 | 1u << 2));
		world_each(w, step_combine, 0, 0);
		world_check_sum(w, 0);
	}
	world_free(w);
}

/* Who still reads what the last dispatch sent keeps the next from beginning. */
TEST(still_open)
{
	struct accel_ep_config config = usual(2);
	struct world *w = world_make(&config);

	world_fill(w, 0);
	world_dispatch(w, 0, ACCEL_EP_INDEXED);
	ASSERT_EQ(0, accel_ep_release(w->ranks[0].ep, 0));
	ASSERT_EQ(-ETIMEDOUT, try_dispatch(w, 0));
	ASSERT_TRUE(absent_are(w, 0, 1u << 1));
	world_check_recv(w, 0);
	ASSERT_EQ(0, accel_ep_release(w->ranks[1].ep, 0));
	world_loop(w, 0, 0);
	world_free(w);
}

TEST(not_finite)
{
	struct accel_ep_config config = usual(2);
	struct world *w = world_make(&config);
	uint32_t seen = 0;

	world_fill(w, 0);
	((uint16_t *)w->ranks[0].rows[0])[5] = 0x7f80;
	world_each(w, step_dispatch, 0, 0);
	for (uint32_t rank = 0; rank < 2; rank++)
		for (uint32_t i = 0; i < w->ranks[rank].recv[0].total; i++) {
			const struct accel_ep_recv *recv = &w->ranks[rank].recv[0];
			bool bad = !recv->origins[i].rank && !recv->origins[i].token;

			ASSERT_EQ(bad, !!isnan(recv->scales[i]));
			seen += bad;
		}
	ASSERT_LT(0, seen);
	world_free(w);
}

TEST(counted)
{
	struct accel_ep_config config = usual(2);
	struct world *w = world_make(&config);
	struct accel_ep_stats stats;
	uint64_t loads[16], sum = 0;

	world_loop(w, 0, 0);
	accel_ep_stats(w->ranks[0].ep, &stats, loads);
	for (uint32_t i = 0; i < 16; i++)
		sum += loads[i];
	ASSERT_EQ(1, stats.dispatches);
	ASSERT_EQ(1, stats.combines);
	ASSERT_EQ(sum, stats.choices);
	ASSERT_EQ(w->ranks[0].recv[0].arrived, stats.rows_received);
	ASSERT_LT(0, stats.rows_sent);
	ASSERT_GE(2 * stats.tokens, stats.rows_sent);
	ASSERT_EQ(0, stats.bytes_sent % stats.rows_sent);
	ASSERT_EQ(0, stats.dropped);
	world_free(w);
}

TEST_HARNESS_MAIN
