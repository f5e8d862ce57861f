// SPDX-License-Identifier: MIT
/*
 * Where the sender sorts: the receiver of rows that came without their elements says
 * where these are to go, to the sorted place of each choice or, where there is no
 * room for all, to the rows.
 */
#include "send.h"

/* The elements of a token, which was made ready. */
static const void *ready(const struct ep_sender *s, uint32_t token)
{
	if (ep_as_it_is(s))
		return (const char *)s->plan->tokens.rows + token * s->plan->tokens.stride;
	return s->plan->staged + token * s->ep->shape->payload;
}

/* Straight to where each is in the sorted order. Whatever that is said to be, it lies there. */
static uint64_t land_sorted(const struct ep_sender *s, uint32_t rank)
{
	const struct ep_shape *shape = s->ep->shape;
	const uint32_t *bases = ep_bases(s->ep, ep_slot(s->ep, s->ep->rank, s->lane, rank));
	const struct accel_ep_place *place = s->plan->choices;
	uint32_t next[ACCEL_EP_MAX_SLOTS];
	uint64_t rows = 0;

	for (uint32_t i = 0; i < shape->config.slots; i++)
		next[i] = __atomic_load_n(&bases[i], __ATOMIC_RELAXED);
	for (uint32_t token = 0; token < s->own; token++)
		for (uint32_t k = 0; k < shape->all_k; k++, place++) {
			uint32_t at;

			if (place->rank != rank)
				continue;
			at = next[place->slot]++;
			at = at < shape->sorted_room ? at : 0;
			ep_put(s, ep_sorted(s->ep, rank, s->lane, at), ready(s, token),
			       shape->payload);
			rows++;
		}
	return rows;
}

/* To their rows. */
static uint64_t land_rows(const struct ep_sender *s, uint32_t rank)
{
	const struct ep_shape *shape = s->ep->shape;
	const struct ep_dest *dest = &s->plan->dests[rank];
	const struct accel_ep_place *choices = s->plan->choices;
	uint32_t row = 0;

	for (uint32_t token = 0; row < dest->quota; token++, choices += shape->all_k) {
		uint32_t k = 0;

		while (k < shape->all_k && choices[k].rank != rank)
			k++;
		if (k < shape->all_k)
			ep_put(s, ep_row(s->ep, rank, s->lane, dest->first + row++), ready(s, token),
			       shape->payload);
	}
	return row;
}

bool ep_land(const struct ep_sender *s, uint32_t rank)
{
	struct ep_slot *slot = ep_slot(s->ep, s->ep->rank, s->lane, rank);
	struct ep_dest *dest = &s->plan->dests[rank];
	uint64_t rows;

	if (ep_ld(&slot->told) != ep_send_flag(s, 0))
		return false;
	if (__atomic_load_n(&slot->direct, __ATOMIC_RELAXED))
		rows = land_sorted(s, rank);
	else
		rows = land_rows(s, rank);
	ep_sent(s, 0, rows * s->ep->shape->payload);
	if (s->plan->streamed)
		ep_fence();
	ep_st(&ep_slot(s->ep, rank, s->lane, s->ep->rank)->landed, ep_send_flag(s, 0));
	ep_ring(s->ep, rank);
	dest->asks = false;
	s->plan->rest -= !ep_dest_rest(dest);
	return true;
}
