// SPDX-License-Identifier: MIT
/*
 * The sending half of a dispatch: room is reserved at each destination, each token
 * is made ready once and stored straight into the rooms, then one flag a peer says
 * how much. What had no room goes in later rounds, when the peer asks for it.
 *
 * Between nodes tokens go in batches, as many as a relay has room for. A rank sends
 * one to the other nodes first, then to its own, with what was sent to it to be
 * passed on. Rounds of a batch wait for nothing of the next one, at any rank, so
 * that batches come to an end one by one.
 *
 * Where the sender sorts, only what is behind a row's elements goes at first; land.c
 * sends these.
 */
#include "route.h"
#include "send.h"
#include "table.h"

/* What one destination gets of one token. */
struct part {
	struct ep_dest *dest;
	union {
		_Alignas(EP_LINE) struct ep_meta meta;
		char bytes[2 * EP_LINE];
	};
};
_Static_assert(sizeof(struct ep_meta) <= 2 * EP_LINE, "a row's end is two lines");

static struct ep_sender sender_of(struct accel_ep *ep, uint32_t lane, bool hop)
{
	struct ep_plan *plan = ep->lanes[lane].plan;
	uint32_t batch = ep->route->batch, count = plan->tokens.count;
	uint32_t first = (hop ? plan->hopped : plan->batch) * batch;

	first = first < count ? first : count;
	return (struct ep_sender){
		.ep = ep,
		.lane = lane,
		.plan = plan,
		.simd = ep_simd(),
		.hop = hop,
		.near = ep_node_first(ep),
		.first = first,
		.own = count - first < batch ? count - first : batch,
	};
}

/* Where a rank's rows go now, or NULL. */
static struct ep_dest *dest_of(const struct ep_sender *s, uint32_t rank)
{
	uint32_t node_ranks = s->ep->shape->config.node_ranks;
	struct ep_dest *dest;

	if (rank == EP_NOWHERE || (rank - s->near < node_ranks) == s->hop)
		return NULL;
	dest = s->hop ? &s->plan->hops[rank / node_ranks] : &s->plan->dests[rank];
	return s->only && s->only != dest ? NULL : dest;
}

static void add(struct part *parts, uint32_t *count, struct ep_dest *dest, uint32_t rank,
		uint32_t token, struct ep_entry entry)
{
	struct ep_meta *meta;
	uint32_t i = 0;

	while (i < *count && parts[i].dest != dest)
		i++;
	meta = &parts[i].meta;
	if (i == *count) {
		(*count)++;
		parts[i].dest = dest;
		memset(meta, 0, sizeof(*meta));
		meta->rank = rank;
		meta->token = token;
	}
	meta->entry[meta->entries++] = entry;
}

/* Choices of a token by destination. */
static uint32_t split(const struct ep_sender *s, uint32_t token, struct part *parts)
{
	uint32_t all_k = s->ep->shape->all_k, count = 0;
	const struct accel_ep_place *choices = s->plan->choices + token * all_k;

	for (uint32_t k = 0; k < all_k; k++) {
		struct ep_entry entry = { .slot = choices[k].slot, .k = k };
		struct ep_dest *dest = dest_of(s, choices[k].rank);

		if (!dest)
			continue;
		if (s->hop)
			entry.place = choices[k].rank % s->ep->shape->config.node_ranks;
		add(parts, &count, dest, s->ep->rank, token, entry);
	}
	return count;
}

static uint32_t split_passed(const struct ep_sender *s, const struct ep_passed *passed,
			     struct part *parts)
{
	const struct ep_meta *meta = &passed->meta;
	uint32_t count = 0;

	for (uint32_t i = 0; i < meta->entries; i++) {
		struct ep_dest *dest = dest_of(s, s->near + meta->entry[i].place);

		if (dest)
			add(parts, &count, dest, meta->rank, meta->token, meta->entry[i]);
	}
	return count;
}

/* A token as it travels, with its padding: made at @room unless the caller's row will do. */
static const void *payload(const struct ep_sender *s, uint32_t token, void *room, float *scale)
{
	const struct accel_ep_config *config = &s->ep->shape->config;
	const struct accel_ep_tokens *tokens = &s->plan->tokens;
	const char *row = (const char *)tokens->rows + token * tokens->stride;
	uint64_t bytes = (uint64_t)config->hidden * s->ep->shape->element;

	*scale = 1.0f;
	if (config->send == ACCEL_EP_INT8 && tokens->dtype == ACCEL_EP_BF16) {
		*scale = s->simd->quant_bf16(room, (const void *)row, config->hidden);
	} else if (config->send == ACCEL_EP_INT8 && tokens->dtype == ACCEL_EP_FP32) {
		*scale = s->simd->quant_f32(room, (const void *)row, config->hidden);
	} else if (config->send == ACCEL_EP_BF16 && tokens->dtype == ACCEL_EP_FP32) {
		s->simd->f32_to_bf16(room, (const void *)row, config->hidden);
	} else {
		if (tokens->scales && tokens->dtype == ACCEL_EP_INT8)
			*scale = tokens->scales[token];
		if (ep_as_it_is(s))
			return row;
		memcpy(room, row, bytes);
	}
	return room;
}

static void store(const struct ep_sender *s, struct part *part, const void *elements, float scale)
{
	const struct ep_shape *shape = s->ep->shape;
	struct ep_dest *dest = part->dest;

	part->meta.scale = scale;
	if (elements != dest->row && !dest->asks)
		ep_put(s, dest->row, elements, shape->payload);
	ep_put(s, dest->row + shape->payload, part->bytes, shape->row - shape->payload);
	dest->row += shape->row;
	dest->left--;
	dest->next = s->item + 1;
}

/*
 * Where a token is made ready: where it waits, or where it goes itself, if that is here and
 * to be in the cache.
 */
static void *room_of(const struct ep_sender *s, uint32_t token, const struct part *parts,
		     uint32_t count)
{
	const struct ep_dest *own = &s->plan->dests[s->ep->rank];

	for (uint32_t i = 0; i < count; i++)
		if (parts[i].dest->asks)
			return s->plan->staged + token * s->ep->shape->payload;
	if (own->left && s->plan->cached >= count * s->ep->shape->row)
		for (uint32_t i = 0; i < count; i++)
			if (parts[i].dest == own)
				return own->row;
	return s->plan->scratch;
}

static void send_token(const struct ep_sender *s, uint32_t token)
{
	struct part parts[EP_ALL_K];
	uint32_t count = split(s, token, parts);
	void *room = room_of(s, token, parts, count);
	const void *elements = NULL;
	float scale = 1.0f;

	for (uint32_t i = 0; i < count; i++) {
		if (!parts[i].dest->left)
			continue;
		if (!elements)
			elements = payload(s, token, room, &scale);
		store(s, &parts[i], elements, scale);
	}
}

static void pass_on(const struct ep_sender *s, const struct ep_passed *passed)
{
	struct part parts[EP_ALL_K];
	uint32_t count = split_passed(s, passed, parts);

	for (uint32_t i = 0; i < count; i++)
		if (parts[i].dest->left)
			store(s, &parts[i], passed->row, passed->meta.scale);
}

static void send_item(const struct ep_sender *s)
{
	if (s->item < s->own)
		send_token(s, s->first + s->item);
	else
		pass_on(s, &s->plan->passed[s->item - s->own]);
}

/* The cursor is anybody's to write: whatever it says, rows stay within the room. */
static void reserve(const struct ep_sender *s, uint32_t rank)
{
	struct ep_dest *dest = &s->plan->dests[rank];
	uint32_t want = dest->rows - dest->sent, room = s->ep->shape->room;
	uint64_t first = 0;

	if (want)
		first = __atomic_fetch_add(ep_cursor(s->ep, rank, s->lane), want, __ATOMIC_ACQ_REL);
	dest->first = first < room ? first : room;
	dest->quota = want < room - dest->first ? want : room - dest->first;
	dest->left = dest->quota;
	dest->row = ep_row(s->ep, rank, s->lane, dest->first);
	dest->sent += dest->quota;
	dest->asks = s->plan->sorts && dest->quota && !dest->rounds;
}

/* The head: all that a rank has to know of this call. */
static void tell_call(const struct ep_sender *s, uint32_t rank)
{
	const struct accel_ep *ep = s->ep;
	uint32_t slots = ep->shape->config.slots;
	struct ep_slot *slot = ep_slot(ep, rank, s->lane, ep->rank);

	memcpy(ep_counts(slot), s->plan->counts + rank * slots, slots * sizeof(*s->plan->counts));
	slot->rows = s->plan->rows[rank];
	slot->tokens = s->plan->tokens.count;
	slot->table = ep->table->version;
	slot->joining = s->plan->joining;
	ep_st(&slot->head, ep_send_flag(s, 0));
}

static void tell_round(const struct ep_sender *s, uint32_t rank)
{
	struct ep_slot *slot = ep_slot(s->ep, rank, s->lane, s->ep->rank);
	const struct ep_shape *shape = s->ep->shape;
	struct ep_dest *dest = &s->plan->dests[rank];

	slot->first = dest->first;
	slot->sent = dest->quota;
	slot->more = dest->sent < dest->rows;
	slot->sorts = dest->asks;
	ep_st(&slot->flag, ep_send_flag(s, dest->rounds++));
	ep_ring(s->ep, rank);
	ep_sent(s, dest->quota, dest->quota * (dest->asks ? shape->row - shape->payload :
							       shape->row));
}

/* Rows of the batch for each rank of this node. */
static void count_rows(struct ep_sender *s)
{
	uint32_t items = s->own + s->plan->passing, end = s->near + s->ep->shape->config.node_ranks;
	struct part parts[EP_ALL_K];

	for (uint32_t rank = s->near; rank < end; rank++) {
		s->plan->dests[rank].rows = s->ep->shape->nodes > 1 ? 0 : s->plan->rows[rank];
		s->plan->dests[rank].sent = 0;
		s->plan->dests[rank].next = 0;
	}
	for (uint32_t item = 0; s->ep->shape->nodes > 1 && item < items; item++) {
		uint32_t count = item < s->own ?
				 split(s, s->first + item, parts) :
				 split_passed(s, &s->plan->passed[item - s->own], parts);

		while (count)
			parts[--count].dest->rows++;
	}
}

/* The first round of a batch, to all of this node; the call's head with it where there is one. */
static void send_batch(struct ep_sender *s, bool head)
{
	const struct accel_ep *ep = s->ep;
	uint32_t node_ranks = ep->shape->config.node_ranks;

	count_rows(s);
	for (uint32_t rank = s->near; rank < s->near + node_ranks; rank++)
		if (ep_set_has(&ep->alive, rank))
			reserve(s, rank);
	for (s->item = 0; s->item < s->own + s->plan->passing; s->item++)
		send_item(s);
	if (s->plan->streamed)
		ep_fence();
	/* From the next one round, so that not all hit the same. */
	for (uint32_t i = 1; i <= node_ranks; i++) {
		uint32_t rank = s->near + (ep->rank - s->near + i) % node_ranks;

		if (!ep_set_has(&ep->alive, rank))
			continue;
		if (head)
			tell_call(s, rank);
		tell_round(s, rank);
		s->plan->rest += ep_dest_rest(&s->plan->dests[rank]);
	}
	s->plan->begun = true;
}

/* This rank's next batch to the other nodes. */
static void send_hops(struct accel_ep *ep, uint32_t lane)
{
	struct ep_sender s = sender_of(ep, lane, true);
	const struct ep_hop *hops = ep->route->hops;

	for (uint32_t node = 0; node < ep->shape->nodes; node++) {
		if (hops[node].rank == EP_NOWHERE)
			continue;
		s.plan->hops[node].left = s.own;
		s.plan->hops[node].row = ep_relay_row(ep, hops[node].rank, lane,
						      hops[node].part * ep->route->batch);
	}
	for (s.item = 0; s.item < s.own; s.item++)
		send_item(&s);
	if (s.plan->streamed)
		ep_fence();
	for (uint32_t node = 0; node < ep->shape->nodes; node++) {
		struct ep_slot *slot;

		if (hops[node].rank == EP_NOWHERE)
			continue;
		slot = ep_slot(ep, hops[node].rank, lane, ep->rank);
		slot->hopped = s.own - s.plan->hops[node].left;
		ep->stats.rows_between += slot->hopped;
		ep_sent(&s, slot->hopped, slot->hopped * ep->shape->row);
		ep_st(&slot->hop, ep_send_flag(&s, s.plan->hopped));
		ep_ring(ep, hops[node].rank);
	}
	s.plan->hopped++;
}

static bool hops_left(const struct accel_ep *ep, const struct ep_plan *plan)
{
	return ep->shape->nodes > 1 &&
	       plan->hopped < ep_batches(ep->route, plan->tokens.count);
}

bool ep_send_done(const struct accel_ep *ep, uint32_t lane)
{
	const struct ep_plan *plan = ep->lanes[lane].plan;

	return plan->batch == plan->batches && !hops_left(ep, plan);
}

bool ep_send_patient(const struct accel_ep *ep, uint32_t lane)
{
	const struct ep_dest *dests = ep->lanes[lane].plan->dests;

	if (ep->shape->nodes > 1)
		return false;
	for (uint32_t rank = 0; rank < ep->shape->config.ranks; rank++)
		if (ep_dest_rest(&dests[rank]) && !dests[rank].asks)
			return false;
	return true;
}

/* Where all of the batch went out, the next one comes. */
static bool end_batch(struct accel_ep *ep, uint32_t lane)
{
	struct ep_plan *plan = ep->lanes[lane].plan;

	if (!plan->begun || plan->rest)
		return false;
	ep_relay_free(ep, lane);
	plan->begun = false;
	plan->batch++;
	return true;
}

void ep_send(struct accel_ep *ep, uint32_t lane)
{
	struct ep_sender s = sender_of(ep, lane, false);
	uint32_t ranks = ep->shape->config.ranks;

	if (ep->shape->nodes == 1) {
		send_batch(&s, true);
		end_batch(ep, lane);
		return;
	}
	send_hops(ep, lane);
	for (uint32_t i = 1; i <= ranks; i++) {
		uint32_t rank = (ep->rank + i) % ranks;

		if (!ep_set_has(&ep->alive, rank))
			continue;
		tell_call(&s, rank);
		ep_ring(ep, rank);
	}
}

/* Whether the round that a rank of this node was sent last left its room. */
static bool has_room(const struct ep_sender *s, uint32_t rank)
{
	const struct ep_slot *slot = ep_slot(s->ep, s->ep->rank, s->lane, rank);
	uint32_t rounds = s->plan->dests[rank].rounds;

	return !rounds || ep_ld(&slot->room) == ep_send_flag(s, rounds - 1);
}

/* The next batch, once all have room and what is to be passed on is here. */
static int begin_batch(struct accel_ep *ep, uint32_t lane, struct ep_set *missing)
{
	struct ep_sender s = sender_of(ep, lane, false);
	bool room = true;
	int ret;

	for (uint32_t rank = s.near; rank < s.near + ep->shape->config.node_ranks; rank++) {
		if (!ep_set_has(&ep->alive, rank) || has_room(&s, rank))
			continue;
		room = false;
		if (rank != ep->rank)
			ep_set_add(missing, rank);
	}
	if (!room)
		return 0;
	ret = ep_relay_take(ep, lane, missing);
	if (ret > 0)
		send_batch(&s, false);
	return ret;
}

/* One destination's next round. */
static void send_round(struct ep_sender *s, uint32_t rank)
{
	struct ep_dest *dest = &s->plan->dests[rank];

	s->only = dest;
	reserve(s, rank);
	for (s->item = dest->next; dest->left; s->item++)
		send_item(s);
	if (s->plan->streamed)
		ep_fence();
	tell_round(s, rank);
	s->plan->rest -= dest->sent == dest->rows;
}

static bool send_rounds(struct accel_ep *ep, uint32_t lane, struct ep_set *missing)
{
	struct ep_sender s = sender_of(ep, lane, false);
	uint32_t end = s.near + ep->shape->config.node_ranks;
	bool any = false;

	for (uint32_t rank = s.near; s.plan->rest && rank < end; rank++) {
		const struct ep_dest *dest = &s.plan->dests[rank];

		if (!ep_dest_rest(dest))
			continue;
		if (dest->asks) {
			any |= ep_land(&s, rank);
		} else if (has_room(&s, rank)) {
			send_round(&s, rank);
			any = true;
		}
		if (ep_dest_rest(dest) && rank != ep->rank)
			ep_set_add(missing, rank);
	}
	return any;
}

/* Whether the relays have passed this rank's last batch on. */
static bool hops_free(const struct accel_ep *ep, uint32_t lane, struct ep_set *missing)
{
	const struct ep_lane *of = &ep->lanes[lane];
	uint64_t want = ep_flag(ep->epoch, of->generation, of->plan->hopped - 1);
	bool all = true;

	for (uint32_t node = 0; node < ep->shape->nodes; node++) {
		uint32_t rank = ep->route->hops[node].rank;

		if (rank == EP_NOWHERE || ep_ld(&ep_slot(ep, ep->rank, lane, rank)->passed) == want)
			continue;
		ep_set_add(missing, rank);
		all = false;
	}
	return all;
}

int ep_send_more(struct accel_ep *ep, uint32_t lane, struct ep_set *missing)
{
	struct ep_plan *plan = ep->lanes[lane].plan;
	int any = 0;

	if (!plan->begun && plan->batch < plan->batches) {
		any = begin_batch(ep, lane, missing);
		if (any < 0)
			return any;
	}
	any |= send_rounds(ep, lane, missing);
	any |= end_batch(ep, lane);
	if (hops_left(ep, plan) && hops_free(ep, lane, missing)) {
		send_hops(ep, lane);
		any = 1;
	}
	return any;
}
