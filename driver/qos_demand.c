// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Promises. A port can promise QOS_PROMISE parts of what windows get through; what
 * reservations have of it is not there for transfers. A set of transfers can be
 * promised if for each deadline d among them
 *
 *	bytes due by d <= rate * (d - now) - budgets - windows
 *
 * which is the test for EDF on one machine (Liu and Layland 1973; Baruah 1990),
 * less one budget of each reservation, which may come at the worst moment, and
 * the windows that nobody can stop any more. The tree keeps for each subtree the
 * bytes due in it and the least room left at any of its deadlines, so that a
 * question or a change costs its height. Another rate costs its size, which
 * QOS_DEMANDS bounds.
 */
#include "qos_meter.h"

#define SHIFT		20u
/* After this long, counting starts anew, so that it never overflows. */
#define EPOCH_NS	0x40000000000ull
/* Parts by which a port must be slower, or faster, to change what is promised. */
#define SLOWER		64u
#define FASTER		8u

static struct qos_demand *demand_of(struct qos_node *node)
{
	return (struct qos_demand *)((uintptr_t)node - offsetof(struct qos_demand, node));
}

static struct qos_demand *at(const struct qos_tree *tree, s64 link)
{
	struct qos_node *node = qos_tree_at(tree, link);

	return node ? demand_of(node) : NULL;
}

static void sum_up(const struct qos_tree *tree, struct qos_node *node)
{
	struct qos_demand *demand = demand_of(node);
	struct qos_demand *left = at(tree, node->left), *right = at(tree, node->right);
	u64 before = (left ? left->sum : 0) + demand->bytes;

	demand->sum = before;
	demand->least = demand->room - (s64)before;
	if (left && left->least < demand->least)
		demand->least = left->least;
	if (!right)
		return;
	demand->sum += right->sum;
	if (right->least - (s64)before < demand->least)
		demand->least = right->least - (s64)before;
}

/* Bytes that a port can promise from its epoch to a moment. */
static s64 room_until(const struct qos_port *port, u64 time)
{
	u64 ns = qos_before(port->epoch, time) ? time - port->epoch : 0;

	return (s64)(port->rate * (ns >> SHIFT) +
		     (port->rate * (ns & ((1u << SHIFT) - 1)) >> SHIFT));
}

/* The first moment at which it can have promised so much. */
static u64 time_for(const struct qos_port *port, u64 bytes)
{
	return port->epoch + (bytes / port->rate << SHIFT) +
	       ((bytes % port->rate << SHIFT) + port->rate - 1) / port->rate + 1;
}

/* What may go ahead of any transfer: all in flight, a window of bulk's floor, and turning round. */
static u64 ahead(const struct qos_port *port)
{
	return port->burst + 2 * port->window;
}

static s64 used_up(const struct qos_port *port, u64 now)
{
	return room_until(port, now) + (s64)ahead(port);
}

static u64 promisable(const struct qos_port *port)
{
	return port->rated * QOS_PROMISE / 1024;
}

static void count_anew(const struct qos_tree *tree, struct qos_node *node)
{
	const struct qos_port *port = (const struct qos_port *)((uintptr_t)tree -
								offsetof(struct qos_port, demand));

	demand_of(node)->room = room_until(port, node->key);
	sum_up(tree, node);
}

/* From a new start, or at a new rate. */
static void recount(struct qos_port *port, u64 epoch)
{
	u64 rest = promisable(port);

	rest -= qos_least(rest, port->reserved);
	port->rate = (rest << SHIFT) / QOS_NS_PER_S + 1;
	port->epoch = epoch;
	qos_tree_all_changed(&port->demand, count_anew);
}

static void release(struct qos_port *port, struct qos_demand *demand, qos_sum_t *sum)
{
	demand->held = 0;
	port->promised -= demand->bytes;
	port->demands--;
	qos_tree_remove(&port->demand, &demand->node, sum);
}

/*
 * A promise for a time that has passed was kept or broken, and is none. Its
 * transfer may wait for long yet; what it left in the tree would refuse all others.
 */
static void expire(struct qos_port *port, u64 now)
{
	struct qos_node *node = qos_tree_first(&port->demand), *next;

	for (; node && !qos_before(now, node->key); node = next) {
		next = qos_tree_next(&port->demand, node);
		release(port, demand_of(node), NULL);
	}
	/* All that had sums of those is above the one that is first now. */
	if (node)
		qos_tree_changed(&port->demand, node, sum_up);
}

/* What is left of the bandwidth when all go in windows. */
static u64 in_windows(const struct qos_port *port)
{
	u64 bytes = port->window / 2;

	return bytes * QOS_NS_PER_S / (bytes * QOS_NS_PER_S / port->bandwidth + port->overhead + 1);
}

void qos_port_rerate(struct qos_port *port, u64 now)
{
	u64 rate = in_windows(port);

	if (rate >= port->rated - port->rated / SLOWER &&
	    rate <= port->rated + port->rated / FASTER)
		return;
	port->rated = rate;
	recount(port, now);
}

/* Only who wants a promise needs it to be up to date: engines need not wait for that. */
static void renew(struct qos_port *port, u64 now)
{
	expire(port, now);
	if (qos_tree_empty(&port->demand))
		port->epoch = now;
	else if (now - port->epoch > EPOCH_NS)
		recount(port, now);
	qos_port_rerate(port, now);
}

u64 qos_rate(const struct qos_params *params)
{
	return params->period ? params->budget * QOS_NS_PER_S / params->period : 0;
}

static void reserve(struct qos_port *port, u64 rate, u64 burst, u64 epoch)
{
	port->reserved += rate;
	port->burst += burst;
	recount(port, epoch);
}

u32 qos_reserve(struct qos_ports *ports, u32 index, u64 rate, u64 burst, u64 now)
{
	struct qos_port *port = &ports->port[index];
	const struct qos_demand *root;

	renew(port, now);
	reserve(port, rate, burst, now);
	root = at(&port->demand, port->demand.root);
	if (port->reserved <= promisable(port) && (!root || root->least >= used_up(port, now)))
		return QOS_OK;
	qos_unreserve(ports, index, rate, burst, now);
	return index & 1 ? QOS_FULL_IN : QOS_FULL_OUT;
}

void qos_unreserve(struct qos_ports *ports, u32 index, u64 rate, u64 burst, u64 now)
{
	reserve(&ports->port[index], -rate, -burst, now);
}

/*
 * The earliest deadline at which so many bytes fit. Promises due from then on
 * get as many bytes less, so it lies after the last one that cannot spare them.
 * Those after it can, which is to say that the bytes fit before any of them.
 */
static u64 earliest_at(const struct qos_port *port, u64 bytes, u64 now)
{
	s64 used = used_up(port, now), need = used + (s64)bytes;
	const struct qos_demand *demand = at(&port->demand, port->demand.root);
	u64 before = 0, prefix = 0, last = now, time;

	while (demand) {
		const struct qos_demand *left = at(&port->demand, demand->node.left);
		const struct qos_demand *right = at(&port->demand, demand->node.right);
		u64 here = before + (left ? left->sum : 0) + demand->bytes;

		if (right && right->least - (s64)here < need) {
			before = here;
			demand = right;
			continue;
		}
		if (demand->room - (s64)here < need) {
			last = demand->node.key;
			prefix = here;
			break;
		}
		demand = left;
	}
	time = time_for(port, (u64)used + prefix + bytes);
	return qos_before(last, time) ? time : last + 1;
}

static void hold(struct qos_ports *ports, struct qos_demand *demand, u64 deadline)
{
	struct qos_port *port = &ports->port[demand->port];

	demand->room = room_until(port, deadline);
	demand->held = 1;
	port->promised += demand->bytes;
	port->demands++;
	qos_tree_add(&port->demand, &demand->node, deadline, sum_up);
}

/* Why a transfer cannot be promised at one of its ports, and from when on it could. */
static u32 refuse(struct qos_port *port, const struct qos_demand *demand, u64 held, u32 share,
		  u64 deadline, u64 now, u64 *from)
{
	u64 fair, alone, own;

	renew(port, now);
	fair = port->rate * share / 1024 + 1;
	/* Before anything can overflow: what takes longer than all that can be asked for. */
	if (demand->bytes > port->rate * (QOS_HORIZON >> SHIFT)) {
		*from = now + QOS_HORIZON + 1;
		return QOS_LATE;
	}
	alone = now + time_for(port, ahead(port) + demand->bytes) - port->epoch;
	own = now + (((held + demand->bytes) / fair + 1) << SHIFT);
	*from = now + QOS_HORIZON + 1;
	if (port->demands < QOS_DEMANDS)
		*from = earliest_at(port, demand->bytes, now);
	if (share < 1024 && qos_before(*from, own))
		*from = own;
	if (!qos_before(deadline, *from))
		return QOS_OK;
	if (qos_before(deadline, alone))
		return QOS_LATE;
	if (share < 1024 && *from == own)
		return QOS_SHARE;
	return demand->port & 1 ? QOS_FULL_IN : QOS_FULL_OUT;
}

u32 qos_admit(struct qos_ports *ports, struct qos_demand *demands, u32 count, const u64 *held,
	      u32 share, u64 deadline, u64 now, u64 *earliest)
{
	u32 i, reason = QOS_OK;

	*earliest = 0;
	for (i = 0; i < count; i++) {
		u64 from;
		u32 why = refuse(&ports->port[demands[i].port], &demands[i], held[i], share,
				 deadline, now, &from);

		reason = reason ? reason : why;
		if (!*earliest || qos_before(*earliest, from))
			*earliest = from;
	}
	if (qos_before(now + QOS_HORIZON, *earliest))
		*earliest = 0;
	/* What was asked for may be any number, so that differences would wrap. */
	if (deadline <= now)
		reason = QOS_LATE;
	else if (deadline - now > QOS_HORIZON)
		reason = QOS_FAR;
	for (i = 0; !reason && i < count; i++)
		hold(ports, &demands[i], deadline);
	return reason;
}

void qos_demand_moved(struct qos_ports *ports, struct qos_demand *demand, u64 bytes)
{
	struct qos_port *port = &ports->port[demand->port];

	if (!demand->held)
		return;
	bytes = qos_least(bytes, demand->bytes);
	demand->bytes -= bytes;
	port->promised -= bytes;
	qos_tree_changed(&port->demand, &demand->node, sum_up);
}

void qos_demand_end(struct qos_ports *ports, struct qos_demand *demand)
{
	if (demand->held)
		release(&ports->port[demand->port], demand, sum_up);
}

void qos_reserve_restore(struct qos_ports *ports, u32 index, u64 rate, u64 burst)
{
	reserve(&ports->port[index], rate, burst, ports->port[index].epoch);
}

void qos_demand_restore(struct qos_ports *ports, struct qos_demand *demand, u64 deadline)
{
	if (demand->held)
		hold(ports, demand, deadline);
}
