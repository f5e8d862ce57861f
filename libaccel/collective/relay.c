// SPDX-License-Identifier: MIT
/*
 * Between nodes: takes what ranks of other nodes sent to be passed on here. It is
 * checked now and never looked at again, for what is passed on is this rank's word.
 */
#include "plan.h"
#include "recv.h"
#include "route.h"

struct relay {
	const struct accel_ep *ep;
	uint32_t lane;
	struct ep_plan *plan;
	uint32_t rank;		/* whose rows they are */
	uint32_t next;		/* token that the next one can be of at least */
	uint32_t end;		/* and before which */
};

static bool meta_ok(const struct relay *r, const struct ep_meta *meta)
{
	const struct ep_shape *shape = r->ep->shape;

	if (meta->rank != r->rank || meta->token < r->next || meta->token >= r->end ||
	    !meta->entries || meta->entries > shape->all_k)
		return false;
	for (uint32_t i = 0; i < meta->entries; i++) {
		const struct ep_entry *entry = &meta->entry[i];

		if (entry->slot >= shape->config.slots || entry->k >= shape->all_k ||
		    (i && entry->k <= meta->entry[i - 1].k) ||
		    entry->place >= shape->config.node_ranks ||
		    !ep_set_has(&r->ep->alive, ep_node_first(r->ep) + entry->place))
			return false;
	}
	return true;
}

/* One rank's rows of the batch. */
static bool take(struct relay *r, uint32_t part)
{
	const struct accel_ep *ep = r->ep;
	const struct ep_slot *slot = ep_slot(ep, ep->rank, r->lane, r->rank);
	uint32_t hopped = __atomic_load_n(&slot->hopped, __ATOMIC_RELAXED);

	if (hopped > ep->route->batch)
		return false;
	for (uint32_t i = 0; i < hopped; i++) {
		char *row = ep_relay_row(ep, ep->rank, r->lane, part * ep->route->batch + i);
		struct ep_passed *passed = &r->plan->passed[r->plan->passing++];

		passed->row = row;
		passed->meta = *ep_meta(ep, row);
		/* From here on only the copy is looked at. */
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
		if (!meta_ok(r, &passed->meta))
			return false;
		r->next = passed->meta.token + 1;
	}
	return true;
}

/* Whether all heads and all of the batch came. */
static bool all_here(const struct accel_ep *ep, uint32_t lane, struct ep_set *missing)
{
	struct ep_plan *plan = ep->lanes[lane].plan;
	uint64_t want = ep_flag(ep->epoch, ep->lanes[lane].generation, plan->batch);
	bool all = true;

	for (uint32_t i = 0; i < ep->route->count; i++) {
		uint32_t rank = ep->route->ranks[i], batches;
		const struct ep_source *source = &ep->lanes[lane].recv->sources[rank];

		batches = ep_batches(ep->route, source->tokens);
		if (source->here && batches > plan->batches)
			plan->batches = batches;
		if (source->here && (batches <= plan->batch ||
				     ep_ld(&ep_slot(ep, ep->rank, lane, rank)->hop) == want))
			continue;
		ep_set_add(missing, rank);
		all = false;
	}
	return all;
}

int ep_relay_take(struct accel_ep *ep, uint32_t lane_id, struct ep_set *missing)
{
	struct ep_lane *lane = &ep->lanes[lane_id];
	uint32_t first = lane->plan->batch * ep->route->batch;

	if (!all_here(ep, lane_id, missing))
		return 0;
	lane->plan->passing = 0;
	for (uint32_t i = 0; i < ep->route->count; i++) {
		uint32_t rank = ep->route->ranks[i], tokens = lane->recv->sources[rank].tokens;
		struct relay r = {
			.ep = ep, .lane = lane_id, .plan = lane->plan, .rank = rank,
			.next = first,
			.end = tokens < first + ep->route->batch ? tokens : first + ep->route->batch,
		};

		if (ep_batches(ep->route, tokens) > lane->plan->batch && !take(&r, i)) {
			ep_set_add(&lane->bad, rank);
			return -EBADMSG;
		}
	}
	return 1;
}

void ep_relay_free(struct accel_ep *ep, uint32_t lane_id)
{
	const struct ep_lane *lane = &ep->lanes[lane_id];
	uint32_t batch = lane->plan->batch;

	for (uint32_t i = 0; i < ep->route->count; i++) {
		uint32_t rank = ep->route->ranks[i];

		if (ep_batches(ep->route, lane->recv->sources[rank].tokens) <= batch + 1)
			continue;
		ep_st(&ep_slot(ep, rank, lane_id, ep->rank)->passed,
		      ep_flag(ep->epoch, lane->generation, batch));
		ep_ring(ep, rank);
	}
}
