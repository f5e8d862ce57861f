// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Room at the ports. A window needs room at the port it reads from and at the
 * one it writes to, and is granted both or none, so nobody waits with a port in
 * his hand. A waiter that is first at both keeps the one with room free until
 * the other has some too; else those that need only one would pass it for ever.
 *
 * An engine has one window in flight, so where few engines meet, each would
 * have as much of a port as any other, whoever goes first. So a window beside
 * that of somebody who does is small, and alone: it fills the port while his
 * engine turns round, for which time nobody else goes behind his back, and
 * leaves him sixteen parts of seventeen.
 *
 * All bytes in flight at a port stay within its window: see qos_meter.c.
 */
#include "qos_meter.h"

/* Windows that a flow may be behind its port's clock and still catch up. */
#define LAG	4u

void qos_port_init(struct qos_port *port, u64 bandwidth, u64 slack, u32 policy)
{
	*port = (struct qos_port){
		.bandwidth = bandwidth ? qos_least(bandwidth, QOS_MAX_RATE) : QOS_GUESS,
		.slack = slack,
		.policy = policy,
	};
	qos_port_size(port);
	qos_port_rerate(port, 0);
}

void qos_port_tune(struct qos_port *port, u64 slack, u32 policy)
{
	port->slack = slack;
	port->policy = policy;
	qos_port_size(port);
}

static struct qos_port *port_of(const struct qos_ports *ports, const struct qos_ask *ask, u32 side)
{
	return ask->port[side] < ports->count ? &ports->port[ask->port[side]] : NULL;
}

static u32 side_of(const struct qos_ports *ports, const struct qos_port *port)
{
	return (u32)(port - ports->port) & 1;
}

static struct qos_ask *ask_of(struct qos_node *node, u32 side)
{
	return (struct qos_ask *)((uintptr_t)(node - side) - offsetof(struct qos_ask, node));
}

static struct qos_visitor *visitor_of(struct qos_ask *ask)
{
	return (struct qos_visitor *)((uintptr_t)(ask - ask->index) -
				      offsetof(struct qos_visitor, asks));
}

static void mark(struct qos_ports *ports, struct qos_port *port)
{
	u32 self;

	if (!port || port->dirty)
		return;
	self = (u32)(port - ports->port) + 1;
	port->dirty = ports->dirty ? ports->dirty : self;
	ports->dirty = self;
}

static void unmark(struct qos_ports *ports, struct qos_port *port)
{
	u32 self = (u32)(port - ports->port) + 1;

	ports->dirty = port->dirty == self ? 0 : port->dirty;
	port->dirty = 0;
}

/* Who goes first of those in flight, NULL if there are none or it means nothing. */
static struct qos_ask *leader(const struct qos_ports *ports, const struct qos_port *port)
{
	struct qos_node *node = NULL;
	u32 n;

	if (port->policy != QOS_HYBRID)
		return NULL;
	for (n = 0; !node && n < QOS_RANKS; n++)
		node = qos_tree_first(&port->flying[qos_nth_rank(port->owed, n)]);
	return node ? ask_of(node, side_of(ports, port)) : NULL;
}

static u32 place_of(const struct qos_port *port, u32 rank)
{
	u32 n = 0;

	while (qos_nth_rank(port->owed, n) != rank)
		n++;
	return n;
}

/* Whether an ask is to go after one of a rank and key at a port. */
static bool later(const struct qos_ports *ports, const struct qos_port *port,
		  const struct qos_ask *ask, u32 rank, u64 key)
{
	if (ask->rank != rank)
		return place_of(port, ask->rank) > place_of(port, rank);
	return qos_before(key, ask->node[side_of(ports, port)].key);
}

static bool behind(const struct qos_ports *ports, const struct qos_port *port,
		   const struct qos_ask *ask, const struct qos_ask *lead)
{
	u64 key = lead->node[side_of(ports, port)].key;

	/* Who shares is behind only once he has had a window more. */
	if (lead->rank >= QOS_RANK_BULK)
		key += lead->bytes * QOS_SCALE / lead->weight;
	return later(ports, port, ask, lead->rank, key);
}

static u64 beside(const struct qos_ask *lead)
{
	return (lead->bytes / QOS_BESIDE & ~(QOS_PAGE - 1)) + QOS_PAGE;
}

static bool fits(const struct qos_ports *ports, const struct qos_port *port,
		 const struct qos_ask *ask)
{
	struct qos_ask *lead;
	u64 bytes = ask->bytes;

	if (!port || !port->inflight)
		return true;
	if (port->turning && later(ports, port, ask, port->turning - 1, port->turning_key))
		return false;
	lead = leader(ports, port);
	if (lead && behind(ports, port, ask, lead)) {
		if (port->inflight != lead->bytes)
			return false;
		bytes = qos_least(bytes, beside(lead));
	}
	return port->inflight + bytes <= port->window;
}

/* The waiter after @node at a port, the first one after NULL; *n counts ranks. */
static struct qos_node *after(const struct qos_port *port, const struct qos_node *node, u32 *n)
{
	struct qos_node *next = NULL;

	if (node) {
		next = qos_tree_next(&port->waiting[qos_nth_rank(port->owed, *n)], node);
		if (next)
			return next;
		++*n;
	}
	for (; *n < QOS_RANKS; ++*n) {
		next = qos_tree_first(&port->waiting[qos_nth_rank(port->owed, *n)]);
		if (next)
			break;
	}
	return next;
}

static struct qos_ask *first(const struct qos_ports *ports, const struct qos_port *port)
{
	u32 n = 0;
	struct qos_node *node = after(port, NULL, &n);

	return node ? ask_of(node, side_of(ports, port)) : NULL;
}

/* Whether somebody before @ask is to have the port's room, though he cannot take it yet. */
static bool kept_from(const struct qos_ports *ports, const struct qos_port *port,
		      const struct qos_ask *ask)
{
	struct qos_ask *best = first(ports, port);
	struct qos_port *other;

	if (!best || best == ask)
		return false;
	if (!fits(ports, port, best))
		return true;
	other = port_of(ports, best, !side_of(ports, port));
	return !fits(ports, other, best) && first(ports, other) == best;
}

/* Who is to have the room at a port, NULL for nobody now. */
static struct qos_ask *choose(const struct qos_ports *ports, const struct qos_port *port)
{
	u32 side = side_of(ports, port), n = 0, looks;
	struct qos_node *node = NULL;

	for (looks = 0; looks < QOS_LOOKS; looks++) {
		struct qos_port *other;
		struct qos_ask *ask;

		node = after(port, node, &n);
		if (!node)
			return NULL;
		ask = ask_of(node, side);
		if (!fits(ports, port, ask))
			return NULL;
		other = port_of(ports, ask, !side);
		if (!other || (fits(ports, other, ask) && !kept_from(ports, other, ask)))
			return ask;
		if (!looks && !fits(ports, other, ask) && first(ports, other) == ask)
			return NULL;
	}
	return NULL;
}

static void leave(struct qos_ports *ports, struct qos_ask *ask)
{
	u32 side;

	for (side = 0; side < 2; side++) {
		struct qos_port *port = port_of(ports, ask, side);

		if (!port)
			continue;
		qos_tree_remove(&port->waiting[ask->rank], &ask->node[side], NULL);
		mark(ports, port);
	}
	ask->waits = 0;
}

static bool bulk_wants(const struct qos_port *port)
{
	return !qos_tree_empty(&port->waiting[QOS_RANK_BULK]) ||
	       !qos_tree_empty(&port->flying[QOS_RANK_BULK]);
}

static void fly(struct qos_port *port, struct qos_ask *ask, u32 side)
{
	port->inflight += ask->bytes;
	port->turning = 0;
	qos_tree_add(&port->flying[ask->rank], &ask->node[side], ask->node[side].key, NULL);
}

static void charge(struct qos_port *port, const struct qos_ask *ask, u32 side)
{
	if (port->policy != QOS_HYBRID)
		return;
	if (ask->rank >= QOS_RANK_BULK) {
		if (qos_before(port->clock, ask->node[side].key))
			port->clock = ask->node[side].key;
		if (ask->rank == QOS_RANK_BULK)
			port->owed -= qos_least(ask->bytes, port->owed);
	} else if (bulk_wants(port)) {
		port->owed = qos_owe(port->owed, ask->bytes);
	}
}

static void grant(struct qos_ports *ports, struct qos_ask *ask)
{
	struct qos_visitor *visitor = visitor_of(ask);
	u32 side;

	qos_withdraw(ports, visitor);
	for (side = 0; side < 2; side++) {
		struct qos_port *port = port_of(ports, ask, side);
		struct qos_ask *lead = port ? leader(ports, port) : NULL;

		if (lead && behind(ports, port, ask, lead))
			ask->bytes = qos_least(ask->bytes, beside(lead));
	}
	for (side = 0; side < 2; side++) {
		struct qos_port *port = port_of(ports, ask, side);

		if (!port)
			continue;
		fly(port, ask, side);
		charge(port, ask, side);
	}
	visitor->granted = ask->index + 1;
}

void qos_withdraw(struct qos_ports *ports, struct qos_visitor *visitor)
{
	u32 i;

	for (i = 0; i < visitor->count; i++)
		if (visitor->asks[i].waits)
			leave(ports, &visitor->asks[i]);
	visitor->count = 0;
}

struct qos_visitor *qos_settle(struct qos_ports *ports)
{
	while (ports->dirty) {
		struct qos_port *port = &ports->port[ports->dirty - 1];
		struct qos_ask *ask = choose(ports, port);

		if (ask) {
			grant(ports, ask);
			return visitor_of(ask);
		}
		unmark(ports, port);
	}
	return NULL;
}

static struct qos_ask *granted(struct qos_visitor *visitor)
{
	return visitor->granted ? &visitor->asks[visitor->granted - 1] : NULL;
}

const struct qos_ask *qos_granted(const struct qos_visitor *visitor)
{
	return granted((struct qos_visitor *)visitor);
}

static u64 key(const struct qos_port *port, const struct qos_flow *flow, u32 index, u32 side)
{
	const struct qos_share *share = &flow->group->share[side];
	u64 back = LAG * port->window * QOS_SCALE / flow->head.weight;

	if (port->policy != QOS_HYBRID || flow->rank < QOS_RANK_BULK)
		return flow->node.key;
	/* Where it comes from another port it brings the debt of its last window. */
	if (share->port != index)
		return port->clock + share->step;
	return qos_before(share->tag, port->clock - back) ? port->clock - back : share->tag;
}

bool qos_ask(struct qos_ports *ports, struct qos_visitor *visitor, const struct qos_rq *rq,
	     const struct qos_flow *flow, u32 out, u32 in, u64 bytes)
{
	struct qos_ask *ask = &visitor->asks[visitor->count];
	const struct qos_flow *lender = qos_rq_lender(rq, flow);
	u32 side;

	if (visitor->granted || visitor->count == QOS_ASKS)
		return false;
	*ask = (struct qos_ask){
		.port = { out, in }, .rank = lender ? lender->rank : flow->rank,
		.bytes = qos_least(qos_least(bytes, qos_flow_limit(rq, flow)), QOS_MAX_WINDOW / 2),
		.index = visitor->count++, .weight = flow->head.weight,
	};
	for (side = 0; side < 2; side++) {
		struct qos_port *port = port_of(ports, ask, side);

		if (!port)
			continue;
		ask->bytes = qos_least(ask->bytes, qos_port_most(port, ask->rank));
		/* Who was first here may have kept its other port free. */
		if (first(ports, port))
			mark(ports, port_of(ports, first(ports, port), !side));
	}
	for (side = 0; side < 2; side++) {
		struct qos_port *port = port_of(ports, ask, side);

		if (!port)
			continue;
		qos_tree_add(&port->waiting[ask->rank], &ask->node[side],
			     key(port, lender ? lender : flow, ask->port[side], side), NULL);
		mark(ports, port);
		ask->waits = 1;
	}
	if (!ask->waits)
		grant(ports, ask);
	return true;
}

void qos_begin(struct qos_visitor *visitor, u64 now)
{
	visitor->since = now;
}

static void place(struct qos_flow *flow, const struct qos_ask *ask, u32 side, u64 bytes)
{
	u64 step = bytes * QOS_SCALE / flow->head.weight;

	flow->group->share[side] = (struct qos_share){
		.port = ask->port[side], .tag = ask->node[side].key + step, .step = step,
	};
}

static void land(const struct qos_ports *ports, struct qos_port *port, struct qos_ask *ask,
		 u32 side)
{
	const struct qos_ask *lead;

	port->inflight -= ask->bytes;
	qos_tree_remove(&port->flying[ask->rank], &ask->node[side], NULL);
	lead = leader(ports, port);
	if (!lead) {
		port->turning = 0;
	} else if (ask->rank < QOS_RANK_BULK &&
		   later(ports, port, lead, ask->rank, ask->node[side].key)) {
		/* Only those that share take turns. */
		port->turning = ask->rank + 1;
		port->turning_key = ask->node[side].key;
	}
}

void qos_done(struct qos_ports *ports, struct qos_visitor *visitor, struct qos_flow *flow,
	      u64 bytes, u64 now)
{
	struct qos_ask *ask = granted(visitor);
	u64 since = visitor->since;
	u32 side;

	if (!ask)
		return;
	/*
	 * With several in flight a port worked on this one from the end of the
	 * last, and the other port waited for that: it is no slower for it.
	 */
	for (side = 0; side < 2; side++) {
		struct qos_port *port = port_of(ports, ask, side);

		if (port && qos_before(since, port->last))
			since = port->last;
	}
	for (side = 0; side < 2; side++) {
		struct qos_port *port = port_of(ports, ask, side);

		if (!port)
			continue;
		land(ports, port, ask, side);
		port->moved += bytes;
		if (bytes)
			qos_port_measure(port, bytes, since, now);
		if (flow && ask->rank >= QOS_RANK_BULK && port->policy == QOS_HYBRID)
			place(flow, ask, side, bytes);
		mark(ports, port);
	}
	visitor->granted = 0;
}

void qos_port_reset(struct qos_port *port)
{
	u32 rank;

	for (rank = 0; rank < QOS_RANKS; rank++) {
		port->waiting[rank].root = 0;
		port->flying[rank].root = 0;
	}
	port->demand.root = 0;
	port->inflight = 0;
	port->promised = 0;
	port->demands = 0;
	port->reserved = 0;
	port->burst = 0;
	port->dirty = 0;
	port->turning = 0;
	/* What was half written counts no more either. */
	port->meter = (struct qos_meter){};
	port->rated = 0;
	qos_port_rerate(port, port->epoch);
}

void qos_visitor_restore(struct qos_ports *ports, struct qos_visitor *visitor)
{
	struct qos_ask *flies = granted(visitor);
	u32 i, side;

	for (side = 0; flies && side < 2; side++)
		if (port_of(ports, flies, side))
			fly(port_of(ports, flies, side), flies, side);
	for (i = 0; i < visitor->count; i++) {
		struct qos_ask *ask = &visitor->asks[i];

		for (side = 0; ask->waits && side < 2; side++) {
			struct qos_port *port = port_of(ports, ask, side);

			if (!port)
				continue;
			qos_tree_add(&port->waiting[ask->rank], &ask->node[side],
				     ask->node[side].key, NULL);
			mark(ports, port);
		}
	}
}
