// SPDX-License-Identifier: MIT
/*
 * A peer that writes what it should not: headers, counts, rows, cursors and flags
 * that cannot be are refused with its name, and whatever it writes at whatever time,
 * calls come to an end and touch nothing that is not theirs.
 */
#include "collective/internal.h"
#include "ep_world.h"

#define VICTIM 0
#define PEER 1
#define SLOTS 8u

static const struct accel_ep_config two = {
	.ranks = 2,
	.experts = 2 * SLOTS,
	.hidden = 64,
	.top_k = 4,
	.max_tokens = 16,
	.send = ACCEL_EP_INT8,
	.back = ACCEL_EP_BF16,
};

/* What the peer says to the victim: two rows, of tokens 0 and 2, and room for one more. */
struct lie {
	struct ep_slot *slot;
	uint32_t *counts;
	struct ep_meta *meta[3];
	uint32_t room;
};

static void tokens_beyond(struct lie *lie)
{
	lie->slot->tokens = two.max_tokens + 1;
}

static void more_rows_than_tokens(struct lie *lie)
{
	lie->slot->tokens = 1;
	lie->slot->sent = 0;
}

/* What comes first is as it must be: only later would the rest be missed. */
static void more_rows_to_come_than_tokens(struct lie *lie)
{
	lie->slot->rows = 4;
	lie->counts[0] = 4;
}

static void more_rows_to_come_than_counts(struct lie *lie)
{
	lie->slot->rows = 3;
	lie->counts[0] = 2;
	lie->meta[0]->entries = 1;
}

static void more_sent_than_rows(struct lie *lie)
{
	lie->slot->sent = 3;
	lie->slot->tokens = 4;
	lie->counts[0] = 4;
	*lie->meta[2] = (struct ep_meta){ .rank = PEER, .token = 3, .entries = 1 };
}

/* They are not moved out of the room either. */
static void more_sent_than_rows_in_a_round(struct lie *lie)
{
	more_sent_than_rows(lie);
	lie->slot->more = 1;
}

static void rows_beyond_the_room(struct lie *lie)
{
	lie->slot->first = lie->room - 1;
}

static void first_beyond_the_room(struct lie *lie)
{
	lie->slot->first = UINT32_MAX;
}

static void more_rows_than_came(struct lie *lie)
{
	lie->slot->rows = 3;
}

static void fewer_counts_than_rows(struct lie *lie)
{
	lie->counts[0] = 1;
	lie->slot->sent = 0;
}

static void more_counts_than_choices(struct lie *lie)
{
	lie->counts[0] = 2 * two.top_k + 1;
}

static void counts_without_rows(struct lie *lie)
{
	lie->slot->rows = 0;
	lie->slot->sent = 0;
}

static void counts_that_overflow(struct lie *lie)
{
	lie->counts[0] = UINT32_MAX;
	lie->counts[1] = 4;
}

static void one_count_too_many(struct lie *lie)
{
	lie->counts[0]++;
}

static void one_count_too_few(struct lie *lie)
{
	lie->counts[0]--;
}

static void count_of_another_slot(struct lie *lie)
{
	lie->counts[0]--;
	lie->counts[1]++;
}

static void token_beyond(struct lie *lie)
{
	lie->meta[1]->token = 3;
}

static void token_twice(struct lie *lie)
{
	lie->meta[1]->token = 0;
}

static void no_entries(struct lie *lie)
{
	lie->meta[0]->entries = 3;
	lie->meta[0]->entry[2].k = 3;
	lie->meta[1]->entries = 0;
}

static void no_entries_counted(struct lie *lie)
{
	lie->counts[0] = 2;
	lie->meta[1]->entries = 0;
}

static void too_many_entries(struct lie *lie)
{
	lie->meta[1]->entries = UINT16_MAX;
}

static void slot_beyond(struct lie *lie)
{
	lie->meta[0]->entry[1].slot = SLOTS;
}

static void k_beyond(struct lie *lie)
{
	lie->meta[0]->entry[1].k = two.top_k;
}

static void k_twice(struct lie *lie)
{
	lie->meta[0]->entry[1].k = 0;
}

static void hopped_beyond(struct lie *lie)
{
	lie->slot->hopped = two.max_tokens + 1;
}

static void hopped_far_beyond(struct lie *lie)
{
	lie->slot->hopped = UINT32_MAX;
}

static void hopped_too_few(struct lie *lie)
{
	lie->slot->hopped = 1;
}

static void place_beyond(struct lie *lie)
{
	lie->meta[0]->entry[0].place = 1;
}

static void rank_of_the_victim(struct lie *lie)
{
	lie->meta[1]->rank = VICTIM;
}

static void rank_beyond(struct lie *lie)
{
	lie->meta[1]->rank = two.ranks;
}

static void (*const lies[])(struct lie *lie) = {
	tokens_beyond, more_rows_than_tokens, more_rows_to_come_than_tokens,
	more_rows_to_come_than_counts, more_sent_than_rows, more_sent_than_rows_in_a_round,
	rows_beyond_the_room,
	first_beyond_the_room, more_rows_than_came, fewer_counts_than_rows, more_counts_than_choices,
	counts_without_rows, counts_that_overflow, one_count_too_many, one_count_too_few,
	count_of_another_slot, token_beyond, token_twice, no_entries, no_entries_counted,
	too_many_entries, slot_beyond, k_beyond, k_twice, rank_of_the_victim, rank_beyond,
};

/* What can be, then one thing in it that cannot. */
static void tell(struct accel_ep *ep, void (*lie_of)(struct lie *lie))
{
	struct lie lie = {
		.slot = ep_slot(ep, VICTIM, 0, PEER),
		.room = ep->shape->room,
	};

	lie.counts = ep_counts(lie.slot);
	for (uint32_t i = 0; i < 3; i++)
		lie.meta[i] = ep_meta(ep, ep_row(ep, VICTIM, 0, lie.room - 3 + i));
	*lie.meta[0] = (struct ep_meta){ .rank = PEER, .entries = 2,
					 .entry = { { .k = 0 }, { .k = 2 } } };
	*lie.meta[1] = (struct ep_meta){ .rank = PEER, .token = 2, .entries = 1,
					 .entry = { { .k = 1 } } };
	lie.slot->first = lie.room - 3;
	lie.slot->sent = 2;
	lie.slot->more = 0;
	lie.slot->rows = 2;
	lie.slot->tokens = 3;
	lie.counts[0] = 3;
	if (lie_of)
		lie_of(&lie);
	ep_st(&lie.slot->head, ep_flag(ep->epoch, 1, 0));
	ep_st(&lie.slot->flag, ep_flag(ep->epoch, 1, 0));
}

/* The same from another node, to be passed on. */
static void (*const hop_lies[])(struct lie *lie) = {
	tokens_beyond, more_rows_than_tokens, fewer_counts_than_rows, more_counts_than_choices,
	counts_without_rows, counts_that_overflow, token_beyond, token_twice, no_entries,
	no_entries_counted, too_many_entries, slot_beyond, k_beyond, k_twice, rank_of_the_victim,
	rank_beyond, hopped_beyond, hopped_far_beyond, place_beyond,
};

/* What could as well be a lie of who passed it on. */
static void (*const passed_lies[])(struct lie *lie) = {
	more_rows_than_came, one_count_too_many, one_count_too_few, count_of_another_slot,
	hopped_too_few,
};

static void tell_hop(struct accel_ep *ep, void (*lie_of)(struct lie *lie))
{
	struct lie lie = {
		.slot = ep_slot(ep, VICTIM, 0, ep->rank),
	};

	lie.counts = ep_counts(lie.slot);
	for (uint32_t i = 0; i < 3; i++)
		lie.meta[i] = ep_meta(ep, ep_relay_row(ep, VICTIM, 0, i));
	*lie.meta[0] = (struct ep_meta){ .rank = ep->rank, .entries = 2,
					 .entry = { { .k = 0 }, { .k = 2 } } };
	*lie.meta[1] = (struct ep_meta){ .rank = ep->rank, .token = 2, .entries = 1,
					 .entry = { { .k = 1 } } };
	lie.slot->hopped = 2;
	lie.slot->rows = 2;
	lie.slot->tokens = 3;
	lie.counts[0] = 3;
	if (lie_of)
		lie_of(&lie);
	ep_st(&lie.slot->head, ep_flag(ep->epoch, 1, 0));
	ep_st(&lie.slot->hop, ep_flag(ep->epoch, 1, 0));
}

/* The number of the first lie that was not refused with the liar's name, or -1. */
static int first_believed(const struct accel_ep_config *config,
			  void (*teller)(struct accel_ep *ep, void (*lie_of)(struct lie *lie)),
			  void (*const *told)(struct lie *lie), int count, uint32_t named)
{
	bool right = true;
	int i;

	for (i = 0; i < count && right; i++) {
		struct world *w = world_make(config);

		w->skew = SKEW_FEW;
		world_fill(w, 0);
		must(try_dispatch(w, VICTIM) == -ETIMEDOUT);
		teller(w->ranks[PEER].ep, told[i]);
		for (uint32_t again = 0; again < 2; again++)
			right &= try_dispatch(w, VICTIM) == -EBADMSG &&
				 absent_are(w, VICTIM, named);
		world_free(w);
	}
	return right ? -1 : i - 1;
}

/* What can be is no lie. */
static bool truth_believed(const struct accel_ep_config *config,
			   void (*teller)(struct accel_ep *ep, void (*lie_of)(struct lie *lie)))
{
	struct world *w = world_make(config);
	bool right;

	w->skew = SKEW_FEW;
	world_fill(w, 0);
	must(try_dispatch(w, VICTIM) == -ETIMEDOUT);
	teller(w->ranks[PEER].ep, NULL);
	right = try_dispatch(w, VICTIM) == 0 && w->ranks[VICTIM].recv[0].total >= 3;
	world_free(w);
	return right;
}

TEST(refused)
{
	EXPECT_TRUE(truth_believed(&two, tell));
	EXPECT_EQ(-1, first_believed(&two, tell, lies, ARRAY_LEN(lies), 1u << PEER));
}

TEST(refused_between_nodes)
{
	struct accel_ep_config config = two;

	config.node_ranks = 1;
	EXPECT_TRUE(truth_believed(&config, tell_hop));
	EXPECT_EQ(-1, first_believed(&config, tell_hop, hop_lies, ARRAY_LEN(hop_lies), 1u << PEER));
	EXPECT_EQ(-1, first_believed(&config, tell_hop, passed_lies, ARRAY_LEN(passed_lies),
				     1u << PEER | 1u << VICTIM));
}

/* A row to be passed on to a rank that is gone, whose buffer nobody has any more. */
TEST(refused_for_the_dead)
{
	struct accel_ep_config config = two;
	struct accel_ep *ep;
	struct world *w;

	config.ranks = 4;
	config.node_ranks = 2;
	w = world_make(&config);
	ep = w->ranks[VICTIM].ep;
	ep_set_del(&ep->alive, VICTIM + 1);
	ep_set_del(&ep->alive, 3);
	ep_route_make(ep);
	ep->peer[VICTIM + 1] = NULL;
	w->skew = SKEW_FEW;
	world_fill(w, 0);
	EXPECT_EQ(-ETIMEDOUT, try_dispatch(w, VICTIM));
	tell_hop(w->ranks[2].ep, place_beyond);
	EXPECT_EQ(-EBADMSG, try_dispatch(w, VICTIM));
	EXPECT_TRUE(absent_are(w, VICTIM, 1u << 2));
	world_free(w);
}

/* Rows that have no room because of it go in the next round. */
TEST(cursor_spoilt)
{
	static const uint64_t cursors[] = { 1, UINT32_MAX, UINT64_MAX - 1000 };

	for (uint32_t i = 0; i < ARRAY_LEN(cursors); i++) {
		struct world *w = world_make(&two);
		struct accel_ep *ep = w->ranks[VICTIM].ep;

		w->skew = SKEW_HOT;
		world_fill(w, 0);
		ep_st(ep_cursor(ep, VICTIM, 0), cursors[i]);
		world_dispatch(w, 0, 0);
		ASSERT_EQ(2, w->ranks[VICTIM].recv[0].rounds);
		world_combine(w, 0);
		world_free(w);
	}
}

static void step_shrink(const struct step *step)
{
	must_ok(accel_ep_shrink(step->w->ranks[step->rank].ep, LONG_NS, NULL));
}

/* Offsets of what is read with care lie here; elements may be anything. */
static uint64_t any_word(struct accel_ep *ep, uint64_t *seed)
{
	const struct ep_shape *shape = ep->shape;
	uint64_t at;

	switch (rnd(seed) % 8) {
	case 0:
		at = 0;
		break;
	case 1:
		at = shape->rows + rnd(seed) % shape->room * shape->row + shape->payload +
		     rnd(seed) % sizeof(struct ep_meta);
		break;
	case 2:
		at = shape->relays + rnd(seed) % (shape->relay_room + 1) * shape->row +
		     shape->payload + rnd(seed) % sizeof(struct ep_meta);
		break;
	default:
		at = shape->slots + rnd(seed) % (2 * shape->slot_bytes);
	}
	return shape->lane[0] + at / 8 * 8;
}

static uint64_t any_value(struct accel_ep *ep, uint64_t *seed)
{
	uint32_t generation = __atomic_load_n(&ep->lanes[0].generation, __ATOMIC_RELAXED);

	switch (rnd(seed) % 4) {
	case 0:
		return ep_flag(ep->epoch, generation + rnd(seed) % 2, rnd(seed) % 2);
	case 1:
		return rnd(seed) % 4 | (uint64_t)(rnd(seed) % 4) << 32;
	case 2:
		return rnd(seed) % 4;
	default:
		return (uint64_t)rnd(seed) << 33 | rnd(seed);
	}
}

static void scribble_on(struct world *w, uint64_t *seed)
{
	struct accel_ep *ep = w->ranks[VICTIM].ep;
	uint64_t at = any_word(ep, seed);

	ep_st((uint64_t *)(ep->peer[VICTIM] + at), any_value(ep, seed));
}

static void sane_again(struct world *w)
{
	world_each(w, step_shrink, 0, 0);
	w->skew = SKEW_NONE;
	world_loop(w, 0, 0);
	world_free(w);
}

/* Between the halves, where what was said is not read yet. */
static void scribble_between(const struct accel_ep_config *config)
{
	struct world *w = world_make(config);
	uint64_t seed = 7;

	for (uint32_t round = 0; round < scaled(300); round++) {
		w->pull = round & 1;
		w->skew = round % SKEWS;
		world_fill(w, 0);
		world_each(w, step_begin, 0, 0);
		for (uint32_t i = rnd(&seed) % 4; i < 4; i++)
			scribble_on(w, &seed);
		for (uint32_t rank = 0; rank < 2; rank++) {
			struct world_rank *r = &w->ranks[rank];

			accel_ep_dispatch_finish(r->ep, 0, 0, SHORT_NS, &r->recv[0]);
		}
		for (uint32_t rank = 0; rank < 2; rank++)
			if (w->ranks[rank].ep->lanes[0].state == EP_RECEIVED) {
				world_make_out(w, rank, 0);
				accel_ep_combine_begin(w->ranks[rank].ep, 0, &w->ranks[rank].out[0],
						       0);
			}
		for (uint32_t i = rnd(&seed) % 4; i < 4; i++)
			scribble_on(w, &seed);
		for (uint32_t rank = 0; rank < 2; rank++)
			if (w->ranks[rank].ep->lanes[0].state == EP_RETURNED)
				accel_ep_combine_finish(w->ranks[rank].ep, 0, &w->ranks[rank].sums[0],
							SHORT_NS);
		world_each(w, step_shrink, 0, 0);
	}
	sane_again(w);
}

TEST(scribbled)
{
	scribble_between(&two);
}

TEST(scribbled_while_sorting)
{
	struct accel_ep_config config = two;

	config.sort = ACCEL_EP_SORT_SENDER;
	scribble_between(&config);
}

TEST(scribbled_between_nodes)
{
	struct accel_ep_config config = two;

	config.node_ranks = 1;
	scribble_between(&config);
}

/* A race on purpose is nothing to tell a race detector. */
#ifndef __SANITIZE_THREAD__
static void step_try(const struct step *step)
{
	struct world_rank *r = &step->w->ranks[step->rank];
	int ret = accel_ep_dispatch(r->ep, 0, &r->tokens[0], 0, SHORT_NS, &r->recv[0]);

	if (!ret)
		ret = try_combine(step->w, step->rank);
	must(!ret || ret == -EBADMSG || ret == -ETIMEDOUT);
}

struct scribbler {
	struct world *w;
	bool stop;
};

static void *scribble_thread(void *arg)
{
	struct scribbler *s = arg;
	uint64_t seed = 11;

	while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED))
		scribble_on(s->w, &seed);
	return NULL;
}

/* At any time, while it is read. */
static void scribble_while(const struct accel_ep_config *config)
{
	struct scribbler s = { .w = world_make(config) };
	pthread_t thread;

	for (uint32_t round = 0; round < scaled(100); round++) {
		s.w->pull = round & 1;
		s.w->skew = round % 2;
		world_fill(s.w, 0);
		s.stop = false;
		must_ok(pthread_create(&thread, NULL, scribble_thread, &s));
		world_each(s.w, step_try, 0, 0);
		__atomic_store_n(&s.stop, true, __ATOMIC_RELAXED);
		pthread_join(thread, NULL);
		world_each(s.w, step_shrink, 0, 0);
	}
	sane_again(s.w);
}

TEST(scribbling)
{
	scribble_while(&two);
}

TEST(scribbling_while_sorting)
{
	struct accel_ep_config config = two;

	config.sort = ACCEL_EP_SORT_SENDER;
	scribble_while(&config);
}

TEST(scribbling_between_nodes)
{
	struct accel_ep_config config = two;

	config.node_ranks = 1;
	scribble_while(&config);
}
#endif

TEST_HARNESS_MAIN
