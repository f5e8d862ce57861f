// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * A flow's turn at its engine.
 *
 * Control and latency are served by earliest deadline of constant-bandwidth
 * servers (Abeni and Buttazzo, "Integrating multimedia applications in hard
 * real-time systems", 1998): a budget of bytes each period. Who has used it up
 * is not held back, but stands with bulk until it is full again. A deadline
 * that has passed stands with bulk too, so that it makes no other one late.
 * Bulk goes by start-time fair queueing (Goyal, Vin, Cheng, 1996), and gets its
 * floor ahead of deadlines, which were promised less than what that leaves.
 */
#include "qos.h"

/* What a flow is taken to move when it joins others of its group that wait. */
#define JOIN_BYTES (QOS_MAX_WINDOW / 2)

bool qos_params_check(const struct qos_params *params)
{
	bool served = params->class == QOS_CONTROL || params->class == QOS_LATENCY;

	if (params->class >= QOS_CLASSES || !params->weight || params->weight > QOS_MAX_WEIGHT)
		return false;
	if (!served)
		return !params->budget && !params->period;
	return params->budget && params->budget <= QOS_MAX_BUDGET &&
	       params->period >= QOS_MIN_PERIOD && params->period <= QOS_MAX_PERIOD;
}

u32 qos_lane(u32 out, u32 in)
{
	/* Both odd: with one port fixed, as on most engines, the other tells lanes apart. */
	return ((out >> 1) * 5 + (in >> 1) * 3) % QOS_LANES;
}

void qos_rq_init(struct qos_rq *rq, u32 policy)
{
	*rq = (struct qos_rq){ .policy = policy };
}

void qos_group_init(struct qos_group *group)
{
	*group = (struct qos_group){
		.share = { { .port = QOS_NO_PORT }, { .port = QOS_NO_PORT } },
	};
}

void qos_flow_init(struct qos_flow *flow, const struct qos_params *params)
{
	*flow = (struct qos_flow){ .params = *params, .rank = QOS_RANKS };
	qos_group_init(&flow->own);
	flow->group = &flow->own;
}

void qos_flow_join(struct qos_flow *flow, struct qos_group *group)
{
	flow->group = group;
}

static u32 class_rank(u32 class)
{
	static const u32 ranks[QOS_CLASSES] = {
		[QOS_BULK] = QOS_RANK_BULK,
		[QOS_CONTROL] = QOS_RANK_CONTROL,
		[QOS_LATENCY] = QOS_RANK_LATENCY,
		[QOS_DEADLINE] = QOS_RANK_DEADLINE,
		[QOS_SCRUB] = QOS_RANK_SCRUB,
	};

	return ranks[class];
}

static u32 hybrid_rank(struct qos_flow *flow, u64 now)
{
	u32 rank = class_rank(flow->head.class);

	switch (rank) {
	case QOS_RANK_CONTROL:
	case QOS_RANK_LATENCY:
		if (flow->head.covered && flow->left > 0)
			return rank;
		break;
	case QOS_RANK_DEADLINE:
		/* Nothing was promised, so nothing is taken back. */
		if (!flow->head.deadline)
			return QOS_RANK_BULK;
		if (qos_before(now, flow->head.deadline))
			return rank;
		break;
	default:
		return rank;
	}
	flow->demoted = true;
	return QOS_RANK_BULK;
}

static u64 hybrid_key(const struct qos_flow *flow)
{
	switch (flow->rank) {
	case QOS_RANK_CONTROL:
	case QOS_RANK_LATENCY:
		return flow->server;
	case QOS_RANK_DEADLINE:
		return flow->head.deadline;
	default:
		return flow->tag;
	}
}

/* Virtual time that a flow spends on so many bytes. */
static u64 spent(const struct qos_flow *flow, u64 bytes, u64 flows)
{
	return bytes * QOS_SCALE / flow->head.weight * flows;
}

/*
 * What it was served ahead of bulk, or while it was idle, gives a flow no claim.
 * A crowd that comes lines up behind each other, or each would be next at once.
 */
static void line_up(const struct qos_rq *rq, struct qos_flow *flow, bool comes)
{
	struct qos_group *group = flow->group;

	if (qos_before(flow->tag, rq->clock))
		flow->tag = rq->clock + (comes ? spent(flow, JOIN_BYTES, group->bulk) : 0);
	group->bulk++;
}

static void put(struct qos_rq *rq, struct qos_flow *flow, bool comes, u64 now)
{
	u64 key = flow->head.since;

	if (rq->policy == QOS_HYBRID) {
		flow->rank = hybrid_rank(flow, now);
		if (flow->rank >= QOS_RANK_BULK)
			line_up(rq, flow, comes);
		key = hybrid_key(flow);
	} else if (rq->policy == QOS_FIFO) {
		flow->rank = QOS_RANK_BULK;
	} else {
		flow->rank = class_rank(flow->head.class);
	}
	qos_tree_add(&rq->lanes[flow->head.lane][flow->rank], &flow->node, key, NULL);
	rq->ready |= 1u << flow->head.lane;
}

static void take(struct qos_rq *rq, struct qos_flow *flow)
{
	struct qos_tree *lane = rq->lanes[flow->head.lane];
	u32 rank;

	qos_tree_remove(&lane[flow->rank], &flow->node, NULL);
	if (rq->policy == QOS_HYBRID && flow->rank >= QOS_RANK_BULK)
		flow->group->bulk--;
	flow->rank = QOS_RANKS;
	for (rank = 0; rank < QOS_RANKS; rank++)
		if (!qos_tree_empty(&lane[rank]))
			return;
	rq->ready &= ~(1u << flow->head.lane);
}

/* A flow that was idle keeps its server only if that would not give it more than its rate. */
static void wake_server(struct qos_flow *flow, u64 now)
{
	const struct qos_params *params = &flow->params;

	if (!params->budget || flow->refilling)
		return;
	if (qos_before(now, flow->server) &&
	    (u64)flow->left * params->period <= (flow->server - now) * params->budget)
		return;
	flow->left = params->budget;
	flow->server = now + params->period;
}

void qos_flow_stop(struct qos_rq *rq, struct qos_flow *flow)
{
	if (flow->rank == QOS_RANKS)
		return;
	take(rq, flow);
	if (rq->held == flow)
		rq->held = NULL;
}

void qos_flow_fini(struct qos_rq *rq, struct qos_flow *flow)
{
	qos_flow_stop(rq, flow);
	if (flow->refilling)
		qos_tree_remove(&rq->refill, &flow->refill, NULL);
	flow->refilling = false;
}

static struct qos_flow *by_refill(struct qos_node *node)
{
	return (struct qos_flow *)((uintptr_t)node - offsetof(struct qos_flow, refill));
}

static struct qos_flow *by_node(struct qos_node *node)
{
	return (struct qos_flow *)((uintptr_t)node - offsetof(struct qos_flow, node));
}

static void start_refill(struct qos_rq *rq, struct qos_flow *flow)
{
	qos_tree_add(&rq->refill, &flow->refill, flow->server, NULL);
	flow->refilling = true;
}

/* What a window took beyond the budget is paid from the next ones. */
static void refill(struct qos_rq *rq, struct qos_flow *flow, u64 now)
{
	u64 budgets = (u64)-flow->left / flow->params.budget + 1;
	u64 due = (now - flow->server) / flow->params.period + 1;

	qos_tree_remove(&rq->refill, &flow->refill, NULL);
	flow->refilling = false;
	flow->left += (s64)(qos_least(budgets, due) * flow->params.budget);
	flow->server += qos_least(budgets, due) * flow->params.period;
	if (flow->left <= 0) {
		start_refill(rq, flow);
		return;
	}
	if (!qos_before(now, flow->server)) {
		flow->left = (s64)flow->params.budget;
		flow->server = now + flow->params.period;
	}
	if (flow->rank == QOS_RANKS)
		return;
	take(rq, flow);
	put(rq, flow, true, now);
}

static void refill_due(struct qos_rq *rq, u64 now)
{
	u32 steps = QOS_STEPS;
	struct qos_node *node;

	while (steps-- && (node = qos_tree_first(&rq->refill)) && !qos_before(now, node->key))
		refill(rq, by_refill(node), now);
}

void qos_flow_ready(struct qos_rq *rq, struct qos_flow *flow, const struct qos_head *head, u64 now)
{
	/* Whose budget is full by now is not over it. */
	refill_due(rq, now);
	flow->head = *head;
	wake_server(flow, now);
	put(rq, flow, true, now);
}

/* Of those in a lane, at most so many; returns how many more may be. */
static u32 demote_late(struct qos_rq *rq, u32 lane, u32 steps, u64 now)
{
	struct qos_node *node;

	while (steps && (node = qos_tree_first(&rq->lanes[lane][QOS_RANK_DEADLINE])) &&
	       !qos_before(now, node->key)) {
		struct qos_flow *flow = by_node(node);

		take(rq, flow);
		put(rq, flow, true, now);
		steps--;
	}
	return steps;
}

static struct qos_flow *first_of(const struct qos_rq *rq, u32 lanes, u32 rank, u64 now)
{
	struct qos_node *best = NULL;
	u32 lane;

	for (lane = 0; lane < QOS_LANES; lane++) {
		const struct qos_tree *tree = &rq->lanes[lane][rank];
		struct qos_node *node;

		if (!(lanes & 1u << lane))
			continue;
		/* Who is late, and still to be demoted, makes no other late. */
		if (rq->policy == QOS_HYBRID && rank == QOS_RANK_DEADLINE)
			node = qos_tree_after(tree, now);
		else
			node = qos_tree_first(tree);
		if (node && (!best || qos_before(node->key, best->key)))
			best = node;
	}
	return best ? by_node(best) : NULL;
}

struct qos_flow *qos_rq_pick(struct qos_rq *rq, u32 skip, u64 now)
{
	u32 lane, n, lanes, steps = QOS_STEPS;
	struct qos_flow *flow = NULL;

	refill_due(rq, now);
	if (rq->held)
		return skip & 1u << rq->held->head.lane ? NULL : rq->held;
	lanes = rq->ready & ~skip;
	if (!lanes)
		return NULL;
	for (lane = 0; lane < QOS_LANES && rq->policy == QOS_HYBRID; lane++)
		if (lanes & 1u << lane)
			steps = demote_late(rq, lane, steps, now);
	for (n = 0; !flow && n < QOS_RANKS; n++)
		flow = first_of(rq, lanes, qos_nth_rank(rq->owed, n), now);
	return flow;
}

const struct qos_flow *qos_rq_lender(const struct qos_rq *rq, const struct qos_flow *flow)
{
	struct qos_node *node;
	u32 n;

	if (rq->policy != QOS_HYBRID || flow->rank != QOS_RANK_BULK)
		return NULL;
	/* Ranks that bulk has gone ahead of stand one later. */
	for (n = 0; n <= QOS_RANK_BULK; n++) {
		u32 rank = qos_nth_rank(rq->owed, n);

		if (rank >= n)
			continue;
		node = qos_tree_first(&rq->lanes[flow->head.lane][rank]);
		if (node)
			return by_node(node);
	}
	return NULL;
}

u64 qos_rq_due(const struct qos_rq *rq)
{
	const struct qos_node *node = qos_tree_first(&rq->refill);

	return node ? node->key : 0;
}

u64 qos_flow_limit(const struct qos_rq *rq, const struct qos_flow *flow)
{
	if (rq->policy == QOS_HYBRID && flow->rank <= QOS_RANK_LATENCY)
		return (u64)flow->left;
	return ~(u64)0;
}

static bool bulk_waits(const struct qos_rq *rq)
{
	u32 lane;

	for (lane = 0; lane < QOS_LANES; lane++)
		if (!qos_tree_empty(&rq->lanes[lane][QOS_RANK_BULK]))
			return true;
	return false;
}

static void charge(struct qos_rq *rq, struct qos_flow *flow, u64 bytes)
{
	if (rq->policy != QOS_HYBRID)
		return;
	if (flow->rank >= QOS_RANK_BULK) {
		if (qos_before(rq->clock, flow->tag))
			rq->clock = flow->tag;
		flow->tag += spent(flow, bytes, flow->group->bulk);
	}
	if (flow->rank == QOS_RANK_BULK)
		rq->owed -= qos_least(bytes, rq->owed);
	else if (flow->rank < QOS_RANK_BULK && bulk_waits(rq))
		rq->owed = qos_owe(rq->owed, bytes);
	if (flow->rank > QOS_RANK_LATENCY)
		return;
	flow->left -= (s64)bytes;
	if (flow->left <= 0)
		start_refill(rq, flow);
}

void qos_flow_ran(struct qos_rq *rq, struct qos_flow *flow, u64 bytes,
		  const struct qos_head *next, u64 now)
{
	bool whole = rq->policy == QOS_FIFO || rq->policy == QOS_STRICT;

	/* It may have been stopped in the meantime. */
	if (flow->rank == QOS_RANKS)
		return;
	charge(rq, flow, bytes);
	take(rq, flow);
	rq->held = next && whole ? flow : NULL;
	if (!next)
		return;
	flow->head = *next;
	put(rq, flow, false, now);
}

void qos_rq_set_policy(struct qos_rq *rq, u32 policy, u64 now)
{
	struct qos_tree ready = {};
	struct qos_node *node;
	u32 lane, rank;

	for (lane = 0; lane < QOS_LANES; lane++)
		for (rank = 0; rank < QOS_RANKS; rank++)
			while ((node = qos_tree_first(&rq->lanes[lane][rank]))) {
				struct qos_flow *flow = by_node(node);

				take(rq, flow);
				qos_tree_add(&ready, &flow->node, flow->head.since, NULL);
			}
	rq->policy = policy;
	rq->held = NULL;
	while ((node = qos_tree_first(&ready))) {
		qos_tree_remove(&ready, node, NULL);
		put(rq, by_node(node), true, now);
	}
}
