// SPDX-License-Identifier: MIT
/*
 * Combine: each row that an expert made goes straight to its place at the owner of
 * its token, one flag a peer follows, and the owner adds up in the order of k. What
 * an owner's experts made here never travels. An owner of more tokens than a round
 * has room for says after each round that the next may come.
 *
 * Outputs that lie in this rank's buffer already stay there, and owners read them:
 * they know the order that their rows are sorted in, and are told where those of
 * each slot begin. Nobody needs to tell that they have read: who dispatches again
 * has, and only then are there new outputs.
 */
#include <stdlib.h>

#include "plan.h"
#include "recv.h"
#include "simd.h"

struct owner {
	uint32_t round;		/* that it is sent next */
	uint32_t rounds;	/* it has */
	uint32_t home;		/* next row of its */
	uint32_t end;
};

struct ep_back {
	struct accel_ep_rows out;
	struct owner *owners;	/* [ranks] */
	uint32_t rest;		/* owners that have rounds to come */
	uint32_t round;		/* own, that is added up next */
	uint32_t own;		/* next row of this rank's tokens */
	bool whole;		/* begun by the call that does both halves */
	bool in_place;		/* own rows are added up where the caller has them */
	bool pull;		/* all are left for the owners to read */
	bool *pulled;		/* [ranks], whose outputs this owner is to read */
	uint32_t *next;		/* [ranks][slots], which of them is next */
	bool stream;		/* past the cache */
	char *scratch;		/* of a row as it travels back */
};

void ep_back_free(struct ep_back *back)
{
	if (!back)
		return;
	free(back->owners);
	free(back->pulled);
	free(back->next);
	free(back->scratch);
	free(back);
}

static int back_alloc(const struct accel_ep *ep, struct ep_lane *lane)
{
	uint32_t ranks = ep->shape->config.ranks;
	struct ep_back *back;

	if (lane->back)
		return 0;
	back = calloc(1, sizeof(*back));
	if (!back)
		return -ENOMEM;
	back->owners = calloc(ranks, sizeof(*back->owners));
	back->pulled = calloc(ranks, sizeof(*back->pulled));
	back->next = calloc(ranks * ep->shape->config.slots, sizeof(*back->next));
	back->scratch = aligned_alloc(EP_LINE, ep->shape->back_row);
	if (!back->owners || !back->pulled || !back->next || !back->scratch) {
		ep_back_free(back);
		return -ENOMEM;
	}
	memset(back->scratch, 0, ep->shape->back_row);
	lane->back = back;
	return 0;
}

static uint32_t rounds_of(const struct accel_ep *ep, uint32_t tokens)
{
	uint32_t chunk = ep->shape->config.chunk_tokens;

	return tokens ? (tokens + chunk - 1) / chunk : 1;
}

/* A caller's row as it travels, with its padding. */
static const void *convert(const struct accel_ep *ep, struct ep_back *back, uint32_t row)
{
	const struct accel_ep_config *config = &ep->shape->config;
	const void *from = (const char *)back->out.rows + row * back->out.stride;
	uint64_t bytes = (uint64_t)config->hidden * ep->shape->back_element;

	if (back->out.dtype == config->back) {
		if (bytes == ep->shape->back_row)
			return from;
		memcpy(back->scratch, from, bytes);
	} else if (config->back == ACCEL_EP_BF16) {
		ep_simd()->f32_to_bf16((void *)back->scratch, from, config->hidden);
	} else {
		ep_simd()->bf16_to_f32((void *)back->scratch, from, config->hidden);
	}
	return back->scratch;
}

/* Where the rows of one owner begin, instead of the rows. */
static void tell_bases(struct accel_ep *ep, uint32_t lane, struct ep_slot *slot, uint32_t rank)
{
	uint32_t *bases = ep_bases(ep, slot);

	for (uint32_t i = 0; i < ep->shape->config.slots; i++)
		bases[i] = ep_base(ep, ep->lanes[lane].recv, rank, i);
}

/* One round of rows to one owner. */
static void send_back(struct accel_ep *ep, uint32_t lane_id, uint32_t rank)
{
	struct ep_lane *lane = &ep->lanes[lane_id];
	struct ep_back *back = lane->back;
	struct owner *owner = &back->owners[rank];
	const struct ep_home *homes = lane->recv->homes;
	uint64_t end = (uint64_t)(owner->round + 1) * ep->shape->config.chunk_tokens;
	const struct ep_simd *simd = ep_simd();
	void (*put)(void *, const void *, size_t) = back->stream ? simd->stream : simd->copy;
	uint32_t first = owner->home;
	bool stay = back->pull || (rank == ep->rank && back->in_place);
	struct ep_slot *slot = ep_slot(ep, rank, lane_id, ep->rank);

	for (; owner->home < owner->end && homes[owner->home].token < end; owner->home++) {
		const struct ep_home *home = &homes[owner->home];

		if (!stay)
			put(ep_back_row(ep, rank, lane_id, home->token, home->k),
			    convert(ep, back, home->row), ep->shape->back_row);
	}
	if (back->stream)
		ep_fence();
	if (!stay)
		ep->stats.bytes_back += (owner->home - first) * ep->shape->back_row;
	if (back->pull)
		tell_bases(ep, lane_id, slot, rank);
	slot->pull = back->pull;
	ep_st(&slot->back, ep_flag(ep->epoch, lane->generation, owner->round));
	owner->round++;
	back->rest -= owner->round == owner->rounds;
}

static void start(const struct accel_ep *ep, uint32_t lane_id, const struct accel_ep_rows *out)
{
	const struct ep_lane *lane = &ep->lanes[lane_id];
	const struct accel_ep_config *config = &ep->shape->config;
	const struct ep_recv *recv = lane->recv;
	struct ep_back *back = lane->back;

	back->out = *out;
	back->rest = 0;
	back->round = 0;
	back->whole = false;
	back->in_place = out->dtype == config->back;
	back->pull = back->in_place && out->rows && out->stride == ep->shape->back_row &&
		     out->rows == ep_recv_out(ep, lane_id);
	back->stream = ep_should_stream(ep, recv->total * ep->shape->back_row);
	for (uint32_t rank = 0; rank < config->ranks; rank++) {
		const struct ep_source *source = &recv->sources[rank];

		back->owners[rank] = (struct owner){
			.rounds = rounds_of(ep, source->tokens),
			.home = source->homes,
			.end = source->homes + source->entries,
		};
		back->rest += ep_set_has(&ep->alive, rank);
	}
	back->own = back->owners[ep->rank].home;
}

int accel_ep_combine_begin(struct accel_ep *ep, uint32_t lane_id, const struct accel_ep_rows *out,
			   int64_t timeout_ns)
{
	uint32_t ranks = ep->shape->config.ranks, rank;
	struct ep_lane *lane;
	int64_t since;
	int ret;

	/* Owners have room for the first round since they dispatched. */
	(void)timeout_ns;
	if (lane_id >= ACCEL_EP_LANES || !out || out->dtype > ACCEL_EP_FP32)
		return -EINVAL;
	lane = &ep->lanes[lane_id];
	if (lane->state != EP_RECEIVED ||
	    !ep_rows_ok(ep, out->rows, out->stride, out->dtype, lane->recv->total))
		return -EINVAL;
	ret = ep_whole(ep);
	if (!ret)
		ret = back_alloc(ep, lane);
	if (ret)
		return ret;
	since = clock_now();
	start(ep, lane_id, out);
	ep_st(ep_cursor(ep, ep->rank, lane_id), 0);
	for (uint32_t i = 1; i <= ranks; i++) {
		rank = (ep->rank + i) % ranks;
		if (!ep_set_has(&ep->alive, rank))
			continue;
		ep_st(&ep_slot(ep, rank, lane_id, ep->rank)->closed,
		      ep_flag(ep->epoch, lane->generation, 0));
		send_back(ep, lane_id, rank);
		ep_ring(ep, rank);
	}
	lane->state = EP_RETURNED;
	ep->stats.back_ns += clock_now() - since;
	ep->stats.combines++;
	return 0;
}

/* Where the row of a choice of this rank lies: whatever its host says, in a buffer. */
static const void *row_of(struct accel_ep *ep, uint32_t lane_id, uint32_t token, uint32_t k,
			  const struct accel_ep_place *place)
{
	const struct ep_lane *lane = &ep->lanes[lane_id];
	const struct owner *self = &lane->back->owners[ep->rank];
	const struct ep_home *home = &lane->recv->homes[lane->back->own];
	struct ep_back *back = lane->back;

	if (back->pulled[place->rank]) {
		uint32_t i = back->next[place->rank * ep->shape->config.slots + place->slot]++;

		return ep_out(ep, place->rank, lane_id, i < ep->shape->out_room ? i : 0);
	}
	if (!back->in_place || back->own == self->end || home->token != token || home->k != k)
		return ep_back_row(ep, ep->rank, lane_id, token, k);
	back->own++;
	return (const char *)back->out.rows + home->row * back->out.stride;
}

static void sum_token(struct accel_ep *ep, uint32_t lane_id, uint32_t token, void *sum, bool bf16)
{
	const struct accel_ep_config *config = &ep->shape->config;
	const struct ep_plan *plan = ep->lanes[lane_id].plan;
	const struct accel_ep_place *choices = plan->choices + token * ep->shape->all_k;
	const void *rows[EP_ALL_K];
	float weights[EP_ALL_K];
	uint32_t count = 0;

	for (uint32_t k = 0; k < ep->shape->all_k; k++) {
		if (choices[k].rank == EP_NOWHERE)
			continue;
		rows[count] = row_of(ep, lane_id, token, k, &choices[k]);
		weights[count++] = plan->weights[token * ep->shape->all_k + k];
	}
	if (config->back == ACCEL_EP_BF16)
		ep_simd()->sum_bf16(sum, bf16, (const uint16_t *const *)rows, weights, count,
				    config->hidden);
	else
		ep_simd()->sum_f32(sum, bf16, (const float *const *)rows, weights, count,
				   config->hidden);
}

/* All ranks' rows of a round are here. */
static void sum_round(struct accel_ep *ep, uint32_t lane_id, const struct accel_ep_rows *sum)
{
	struct ep_lane *lane = &ep->lanes[lane_id];
	uint32_t chunk = ep->shape->config.chunk_tokens, round = lane->back->round;
	uint32_t end = lane->plan->tokens.count;
	int64_t since = clock_now();

	if (end - round * chunk > chunk)
		end = (round + 1) * chunk;
	for (uint32_t token = round * chunk; token < end; token++)
		sum_token(ep, lane_id, token, (char *)sum->rows + token * sum->stride,
			  sum->dtype == ACCEL_EP_BF16);
	ep->stats.sum_ns += clock_now() - since;
}

/* Whose outputs are to be read, and where. */
static void read_bases(struct accel_ep *ep, uint32_t lane, uint32_t rank)
{
	struct ep_back *back = ep->lanes[lane].back;
	struct ep_slot *slot = ep_slot(ep, ep->rank, lane, rank);
	const uint32_t *bases = ep_bases(ep, slot);
	uint32_t slots = ep->shape->config.slots;

	back->pulled[rank] = __atomic_load_n(&slot->pull, __ATOMIC_RELAXED);
	for (uint32_t i = 0; back->pulled[rank] && i < slots; i++)
		back->next[rank * slots + i] = __atomic_load_n(&bases[i], __ATOMIC_RELAXED);
}

/* As owner: whether a round was added up. @missing: whose rows are not here. */
static bool sum_more(struct accel_ep *ep, uint32_t lane_id, const struct accel_ep_rows *sum,
		     struct ep_set *missing)
{
	struct ep_lane *lane = &ep->lanes[lane_id];
	struct ep_back *back = lane->back;
	uint64_t flag = ep_flag(ep->epoch, lane->generation, back->round);
	uint32_t ranks = ep->shape->config.ranks, rank;
	bool all = true;

	for (rank = 0; rank < ranks; rank++)
		if (ep_set_has(&ep->alive, rank) &&
		    ep_ld(&ep_slot(ep, ep->rank, lane_id, rank)->back) != flag) {
			ep_set_add(missing, rank);
			all = false;
		}
	if (!all)
		return false;
	for (rank = 0; rank < ranks; rank++)
		if (ep_set_has(&ep->alive, rank))
			read_bases(ep, lane_id, rank);
	sum_round(ep, lane_id, sum);
	if (++back->round == rounds_of(ep, lane->plan->tokens.count))
		return true;
	for (rank = 0; rank < ranks; rank++)
		if (ep_set_has(&ep->alive, rank)) {
			ep_st(&ep_slot(ep, rank, lane_id, ep->rank)->added, flag);
			ep_ring(ep, rank);
		}
	return true;
}

/* As sender: whether some owner got a round. @missing: who has no room for its next. */
static bool back_more(struct accel_ep *ep, uint32_t lane_id, struct ep_set *missing)
{
	struct ep_lane *lane = &ep->lanes[lane_id];
	bool any = false;

	for (uint32_t rank = 0; rank < ep->shape->config.ranks; rank++) {
		const struct owner *owner = &lane->back->owners[rank];
		int64_t since;

		if (owner->round == owner->rounds || !ep_set_has(&ep->alive, rank))
			continue;
		if (ep_ld(&ep_slot(ep, ep->rank, lane_id, rank)->added) !=
		    ep_flag(ep->epoch, lane->generation, owner->round - 1)) {
			if (rank != ep->rank)
				ep_set_add(missing, rank);
			continue;
		}
		since = clock_now();
		send_back(ep, lane_id, rank);
		ep_ring(ep, rank);
		ep->stats.back_ns += clock_now() - since;
		any = true;
	}
	return any;
}

int accel_ep_combine_finish(struct accel_ep *ep, uint32_t lane_id, const struct accel_ep_rows *sum,
			    int64_t timeout_ns)
{
	struct ep_lane *lane;
	struct ep_wait wait;
	uint32_t rounds;
	int ret = 0;

	if (lane_id >= ACCEL_EP_LANES || !sum || sum->dtype > ACCEL_EP_FP32)
		return -EINVAL;
	lane = &ep->lanes[lane_id];
	if (lane->state != EP_RETURNED ||
	    !ep_rows_ok(ep, sum->rows, sum->stride, sum->dtype, lane->plan->tokens.count))
		return -EINVAL;
	rounds = rounds_of(ep, lane->plan->tokens.count);
	ep_wait_begin(ep, &wait, timeout_ns);
	while (lane->back->round < rounds || lane->back->rest) {
		struct ep_set missing = { 0 };
		bool any = false;

		ep_wait_look(ep, &wait);
		if (lane->back->round < rounds)
			any = sum_more(ep, lane_id, sum, &missing);
		if (lane->back->rest)
			any |= back_more(ep, lane_id, &missing);
		if (any) {
			ep_wait_found(ep, &wait);
			continue;
		}
		ret = ep_wait_more(ep, &wait, &missing,
				   lane->back->rest ? 1 : ep_set_count(&missing));
		if (ret)
			return ret;
	}
	lane->state = EP_IDLE;
	return 0;
}

int accel_ep_combine(struct accel_ep *ep, uint32_t lane, const struct accel_ep_rows *out,
		     const struct accel_ep_rows *sum, int64_t timeout_ns)
{
	int64_t deadline = clock_deadline(timeout_ns);
	int ret = 0;

	if (lane >= ACCEL_EP_LANES || !sum || sum->dtype > ACCEL_EP_FP32)
		return -EINVAL;
	/* The same call again, after it ran out of time in its second half, goes on there. */
	if (ep->lanes[lane].state != EP_RETURNED || !ep->lanes[lane].back->whole)
		ret = accel_ep_combine_begin(ep, lane, out, timeout_ns);
	if (ret)
		return ret;
	ep->lanes[lane].back->whole = true;
	return accel_ep_combine_finish(ep, lane, sum, ep_time_left(deadline));
}
