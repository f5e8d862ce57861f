// SPDX-License-Identifier: MIT
/*
 * The sending half of a dispatch: room is reserved at each destination, each token
 * is made ready once and stored straight into the rooms, then one flag a peer says
 * how much. What had no room goes in later rounds, when the peer asks for it.
 */
#include "plan.h"
#include "simd.h"
#include "table.h"

#define NO_RANK UINT32_MAX

/* What one rank gets of one token. */
struct part {
	uint32_t rank;
	union {
		_Alignas(EP_LINE) struct ep_meta meta;
		char bytes[2 * EP_LINE];
	};
};
_Static_assert(sizeof(struct ep_meta) <= 2 * EP_LINE, "a row's end is two lines");

struct sender {
	struct accel_ep *ep;
	uint32_t lane;
	struct ep_plan *plan;
	const struct ep_simd *simd;
	uint32_t only;		/* the destination, or NO_RANK: all */
};

static struct sender sender_of(struct accel_ep *ep, uint32_t lane)
{
	return (struct sender){
		.ep = ep,
		.lane = lane,
		.plan = ep->lanes[lane].plan,
		.simd = ep_simd(),
		.only = NO_RANK,
	};
}

/* Choices of a token by rank. */
static uint32_t split(const struct sender *s, uint32_t token, struct part *parts)
{
	uint32_t all_k = s->ep->shape->all_k, count = 0;
	const struct accel_ep_place *choices = s->plan->choices + token * all_k;

	for (uint32_t k = 0; k < all_k; k++) {
		uint32_t rank = choices[k].rank, i = 0;
		struct ep_meta *meta;

		if (rank == EP_NOWHERE || (s->only != NO_RANK && rank != s->only))
			continue;
		while (i < count && parts[i].rank != rank)
			i++;
		meta = &parts[i].meta;
		if (i == count) {
			count++;
			parts[i].rank = rank;
			memset(meta, 0, sizeof(*meta));
			meta->token = token;
		}
		meta->entry[meta->entries++] = (struct ep_entry){ choices[k].slot, k };
	}
	return count;
}

/* A token as it travels, with its padding: made at @room unless the caller's row will do. */
static const void *payload(const struct sender *s, uint32_t token, void *room, float *scale)
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
		if (bytes == s->ep->shape->payload)
			return row;
		memcpy(room, row, bytes);
	}
	return room;
}

static void store(const struct sender *s, struct part *part, const void *elements, float scale)
{
	const struct ep_shape *shape = s->ep->shape;
	struct ep_dest *dest = &s->plan->dests[part->rank];
	bool cached = s->plan->cached >= shape->row;
	void (*put)(void *, const void *, size_t) = cached ? s->simd->copy : s->simd->stream;

	s->plan->cached -= cached ? shape->row : 0;
	s->plan->streamed |= !cached;
	part->meta.scale = scale;
	if (elements != dest->row)
		put(dest->row, elements, shape->payload);
	put(dest->row + shape->payload, part->bytes, shape->row - shape->payload);
	dest->row += shape->row;
	dest->left--;
	dest->next = part->meta.token + 1;
}

/* Where a token is made ready: where it goes itself, if that is here and to be in the cache. */
static void *room_of(const struct sender *s, const struct part *parts, uint32_t count)
{
	const struct ep_dest *own = &s->plan->dests[s->ep->rank];

	if (own->left && s->plan->cached >= count * s->ep->shape->row)
		for (uint32_t i = 0; i < count; i++)
			if (parts[i].rank == s->ep->rank)
				return own->row;
	return s->plan->scratch;
}

static void send_token(const struct sender *s, uint32_t token)
{
	struct part parts[EP_ALL_K];
	uint32_t count = split(s, token, parts);
	void *room = room_of(s, parts, count);
	const void *elements = NULL;
	float scale = 1.0f;

	for (uint32_t i = 0; i < count; i++) {
		if (!s->plan->dests[parts[i].rank].left)
			continue;
		if (!elements)
			elements = payload(s, token, room, &scale);
		store(s, &parts[i], elements, scale);
	}
}

/* The cursor is anybody's to write: whatever it says, rows stay within the room. */
static void reserve(const struct sender *s, uint32_t rank)
{
	struct ep_dest *dest = &s->plan->dests[rank];
	uint32_t want = s->plan->rows[rank] - dest->sent, room = s->ep->shape->room;
	uint64_t first = 0;

	if (want)
		first = __atomic_fetch_add(ep_cursor(s->ep, rank, s->lane), want, __ATOMIC_ACQ_REL);
	dest->first = first < room ? first : room;
	dest->quota = want < room - dest->first ? want : room - dest->first;
	dest->left = dest->quota;
	dest->row = ep_row(s->ep, rank, s->lane, dest->first);
	dest->sent += dest->quota;
}

static void announce(const struct sender *s, uint32_t rank)
{
	const struct accel_ep *ep = s->ep;
	const struct accel_ep_config *config = &ep->shape->config;
	const struct ep_dest *dest = &s->plan->dests[rank];
	struct ep_slot *slot = ep_slot(ep, rank, s->lane, ep->rank);

	if (!dest->round) {
		memcpy(ep_counts(slot), s->plan->counts + rank * config->slots,
		       config->slots * sizeof(*s->plan->counts));
		slot->rows = s->plan->rows[rank];
		slot->tokens = s->plan->tokens.count;
		slot->table = ep->table->version;
		slot->joining = s->plan->joining;
	}
	slot->first = dest->first;
	slot->sent = dest->quota;
	ep_st(&slot->flag, ep_flag(ep->epoch, ep->lanes[s->lane].generation, dest->round));
	ep_ring(s->ep, rank);
}

static void count_sent(const struct sender *s, uint64_t rows)
{
	s->ep->stats.rows_sent += rows;
	s->ep->stats.bytes_sent += rows * s->ep->shape->row;
}

void ep_send(struct accel_ep *ep, uint32_t lane)
{
	struct sender s = sender_of(ep, lane);
	uint32_t ranks = ep->shape->config.ranks, rank;

	for (rank = 0; rank < ranks; rank++)
		if (s.plan->rows[rank])
			reserve(&s, rank);
	for (uint32_t token = 0; token < s.plan->tokens.count; token++)
		send_token(&s, token);
	if (s.plan->streamed)
		ep_fence();
	/* From the next one round, so that not all hit the same. */
	for (uint32_t i = 1; i <= ranks; i++) {
		rank = (ep->rank + i) % ranks;
		if (!ep_set_has(&ep->alive, rank))
			continue;
		announce(&s, rank);
		count_sent(&s, s.plan->dests[rank].quota);
		s.plan->rest += s.plan->dests[rank].sent < s.plan->rows[rank];
	}
}

/* One destination's next round. */
static void send_round(struct sender *s, uint32_t rank)
{
	struct ep_dest *dest = &s->plan->dests[rank];

	s->only = rank;
	dest->round++;
	reserve(s, rank);
	for (uint32_t token = dest->next; dest->left; token++)
		send_token(s, token);
	if (s->plan->streamed)
		ep_fence();
	announce(s, rank);
	count_sent(s, dest->quota);
	s->plan->rest -= dest->sent == s->plan->rows[rank];
}

bool ep_send_more(struct accel_ep *ep, uint32_t lane, struct ep_set *missing)
{
	struct sender s = sender_of(ep, lane);
	uint32_t generation = ep->lanes[lane].generation;
	bool any = false;

	for (uint32_t rank = 0; s.plan->rest && rank < ep->shape->config.ranks; rank++) {
		const struct ep_dest *dest = &s.plan->dests[rank];
		const struct ep_slot *slot;

		if (dest->sent == s.plan->rows[rank])
			continue;
		slot = ep_slot(ep, ep->rank, lane, rank);
		if (ep_ld(&slot->room) == ep_flag(ep->epoch, generation, dest->round)) {
			send_round(&s, rank);
			any = true;
		}
		if (dest->sent < s.plan->rows[rank] && rank != ep->rank)
			ep_set_add(missing, rank);
	}
	return any;
}
