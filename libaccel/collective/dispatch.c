// SPDX-License-Identifier: MIT
/*
 * Dispatch: both halves. The second one receives, and sends what had no room, in
 * one loop that blocks on neither, so that no rank waits for one that waits for it.
 */
#include "plan.h"
#include "recv.h"
#include "table.h"

/* Ranks that may still use what the call before sent them. */
static void find_open(struct accel_ep *ep, uint32_t lane, struct ep_set *missing)
{
	uint64_t want = ep_flag(ep->epoch, ep->lanes[lane].generation, 0);

	*missing = (struct ep_set){ 0 };
	for (uint32_t rank = 0; rank < ep->shape->config.ranks; rank++)
		if (ep_set_has(&ep->alive, rank) &&
		    ep_ld(&ep_slot(ep, ep->rank, lane, rank)->closed) != want)
			ep_set_add(missing, rank);
}

static int wait_closed(struct accel_ep *ep, uint32_t lane, int64_t timeout_ns)
{
	struct ep_set missing;
	struct ep_wait wait;
	int ret = 0;

	if (!ep->lanes[lane].generation)
		return 0;
	ep_wait_begin(ep, &wait, timeout_ns);
	while (!ret) {
		ep_wait_look(ep, &wait);
		find_open(ep, lane, &missing);
		if (ep_set_empty(&missing))
			break;
		ret = ep_wait_more(ep, &wait, &missing, ep_set_count(&missing));
	}
	ep_wait_found(ep, &wait);
	return ret;
}

int accel_ep_dispatch_begin(struct accel_ep *ep, uint32_t lane_id,
			    const struct accel_ep_tokens *tokens, int64_t timeout_ns)
{
	struct ep_lane *lane;
	int64_t start;
	int ret;

	if (lane_id >= ACCEL_EP_LANES || !tokens)
		return -EINVAL;
	lane = &ep->lanes[lane_id];
	if (lane->state != EP_IDLE)
		return -EBUSY;
	ret = ep_plan_check(ep, tokens);
	if (!ret)
		ret = ep_whole(ep);
	if (!ret)
		ret = ep_plan_alloc(ep, lane);
	if (!ret)
		ret = wait_closed(ep, lane_id, timeout_ns);
	if (!ret)
		ret = ep_recv_start(ep, lane);
	if (ret)
		return ret;
	start = clock_now();
	if (!++lane->generation)
		lane->generation = 1;
	ep_plan_make(ep, lane->plan, tokens);
	ep_send(ep, lane_id);
	lane->state = EP_SENT;
	ep->stats.send_ns += clock_now() - start;
	ep->stats.dispatches++;
	return 0;
}

static void tell(const struct accel_ep *ep, uint32_t lane_id, struct accel_ep_recv *out)
{
	const struct ep_lane *lane = &ep->lanes[lane_id];
	const struct ep_recv *recv = lane->recv;
	bool packed = !recv->indexed && recv->total;

	*out = (struct accel_ep_recv){
		.rows = !packed ? NULL :
			recv->direct ? ep_sorted(ep, ep->rank, lane_id, 0) : recv->map,
		.at = recv->indexed ? recv->at : NULL,
		.scales = ep->shape->config.send == ACCEL_EP_INT8 ? recv->scales : NULL,
		.counts = recv->counts,
		.origins = recv->origins,
		.out = ep_recv_out(ep, lane_id),
		.out_stride = ep->shape->back_row,
		.buffer = !packed ? NULL : recv->direct ? ep_buffer(ep) : recv->buffer,
		.offset = packed && recv->direct ?
			  ep->shape->lane[lane_id] + ep->shape->sorted : 0,
		.stride = ep->shape->payload,
		.table_min = recv->table_min,
		.total = recv->total,
		.arrived = recv->arrived,
		.dropped = lane->plan->dropped,
		.rounds = recv->round + 1,
		.joining = recv->joining,
	};
}

/* One look at both directions: 1 where something moved, else 0 or an error. */
static int move(struct accel_ep *ep, uint32_t lane, uint32_t flags, struct ep_set *missing,
		uint32_t *rings)
{
	int ret, sent;

	if (!ep_set_empty(&ep->lanes[lane].bad))
		return -EBADMSG;
	*missing = (struct ep_set){ 0 };
	ret = ep_recv_more(ep, lane, flags, missing);
	*rings = ep_set_count(missing);
	if (ret < 0 || ep_send_done(ep, lane))
		return ret;
	sent = ep_send_more(ep, lane, missing);
	*rings = ep_send_patient(ep, lane) ? ep_set_count(missing) : 1;
	return sent < 0 ? sent : ret || sent;
}

int accel_ep_dispatch_finish(struct accel_ep *ep, uint32_t lane_id, uint32_t flags,
			     int64_t timeout_ns, struct accel_ep_recv *recv)
{
	struct ep_set missing;
	struct ep_lane *lane;
	struct ep_wait wait;
	uint32_t rings;
	int ret = 0;

	if (lane_id >= ACCEL_EP_LANES || (flags & ~ACCEL_EP_INDEXED) || !recv)
		return -EINVAL;
	lane = &ep->lanes[lane_id];
	if (lane->state != EP_SENT)
		return -EINVAL;
	ep_wait_begin(ep, &wait, timeout_ns);
	while (!lane->recv->done || !ep_send_done(ep, lane_id)) {
		ep_wait_look(ep, &wait);
		ret = move(ep, lane_id, flags, &missing, &rings);
		if (ret > 0)
			ep_wait_found(ep, &wait);
		else if (!ret)
			ret = ep_wait_more(ep, &wait, &missing, rings);
		if (ret < 0)
			break;
	}
	if (ret == -EBADMSG)
		ep->absent = lane->bad;
	if (ret < 0)
		return ret;
	lane->state = EP_RECEIVED;
	tell(ep, lane_id, recv);
	return 0;
}

int accel_ep_dispatch(struct accel_ep *ep, uint32_t lane, const struct accel_ep_tokens *tokens,
		      uint32_t flags, int64_t timeout_ns, struct accel_ep_recv *recv)
{
	int64_t deadline = clock_deadline(timeout_ns);
	int ret = 0;

	if (lane >= ACCEL_EP_LANES || (flags & ~ACCEL_EP_INDEXED) || !recv)
		return -EINVAL;
	/* The same call again, after it ran out of time in its second half, goes on there. */
	if (ep->lanes[lane].state != EP_SENT || !ep->lanes[lane].plan->whole)
		ret = accel_ep_dispatch_begin(ep, lane, tokens, timeout_ns);
	if (ret)
		return ret;
	ep->lanes[lane].plan->whole = true;
	return accel_ep_dispatch_finish(ep, lane, flags, ep_time_left(deadline), recv);
}

int accel_ep_release(struct accel_ep *ep, uint32_t lane)
{
	uint32_t ranks = ep->shape->config.ranks, rank;

	if (lane >= ACCEL_EP_LANES || ep->lanes[lane].state != EP_RECEIVED)
		return -EINVAL;
	ep_st(ep_cursor(ep, ep->rank, lane), 0);
	for (uint32_t i = 1; i <= ranks; i++) {
		rank = (ep->rank + i) % ranks;
		if (!ep_set_has(&ep->alive, rank))
			continue;
		ep_st(&ep_slot(ep, rank, lane, ep->rank)->closed,
		      ep_flag(ep->epoch, ep->lanes[lane].generation, 0));
		ep_ring(ep, rank);
	}
	ep->lanes[lane].state = EP_IDLE;
	return 0;
}
