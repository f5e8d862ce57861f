/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The QoS arbiter: whose window of bytes goes next. Pure C that calls nothing:
 * compiled unchanged into the driver, the library's soft provider, the
 * simulator and tests. The caller gives memory, time and locks.
 *
 *   qos_rq       an engine's flows, in order; a flow is a queue (qos.c)
 *   qos_port     one direction of an NPU's link: bytes in flight, who waits (qos_port.c),
 *                and how fast it is (qos_meter.c)
 *   qos_visitor  an engine before the ports
 *   qos_demand   bytes promised at a port until a deadline (qos_demand.c)
 *
 * An engine picks a flow of its rq, asks the ports for room, moves a window,
 * tells both what it moved, and starts over. A rq needs a lock of its own; the
 * ports, visitors and demands of a pool share one. Those find each other by
 * links relative to where they are, so that they can lie in memory that
 * processes map where they like, as long as they all lie in one mapping.
 *
 * An engine's calls, of all but the last group, take log(flows) steps, at most
 * QOS_STEPS times that if so many have become due: the rest is left to the next
 * call. Only qos_rq_set_policy() looks at all flows. A promise takes log(promises)
 * at each of its ports, and at most QOS_DEMANDS steps where the port's rate has
 * changed or promises have lapsed.
 *
 * Times are nanoseconds of one monotonic clock, rates bytes a second.
 */
#ifndef NPOOL_QOS_H
#define NPOOL_QOS_H

#include "qos_tree.h"

#define QOS_LANES	32u		/* port pairs that an engine keeps apart */
#define QOS_ASKS	4u		/* of them, waited for at once */
#define QOS_LOOKS	8u		/* waiters that are looked at to fill a port */
#define QOS_BESIDE	16u		/* a window behind that of another is this part of it */
#define QOS_STEPS	64u		/* flows that change their rank by themselves in a call */
#define QOS_DEMANDS	8192u		/* transfers that a port promises at once */
#define QOS_NO_PORT	0xffffffffu
#define QOS_WEIGHT	64u		/* of a queue that says nothing */
#define QOS_MAX_WEIGHT	1024u
#define QOS_SCALE	1024u		/* virtual bytes that a byte at weight 1 counts */
#define QOS_MIN_PERIOD	10000ull	/* ns */
#define QOS_MAX_PERIOD	1000000000ull
#define QOS_MAX_BUDGET	0x100000000ull
#define QOS_HORIZON	60000000000ull	/* ns; no promise reaches farther */
#define QOS_SLACK	40000ull	/* ns that windows may make the latency class wait */
#define QOS_MIN_SLACK	1000ull
#define QOS_MAX_SLACK	100000000ull
#define QOS_MAX_WINDOW	(4ull << 20)	/* most bytes in flight at a port */
#define QOS_MIN_WINDOW	(8ull << 10)
#define QOS_GUESS	1000000000ull	/* bandwidth of a port that claims none, until measured */
#define QOS_MAX_RATE	0x40000000000ull
/*
 * Parts of 1024 of a port's bandwidth: to be promised, to be had by bulk
 * whatever happens. That is 5 %, and some for windows of others that slip in
 * while an engine turns from one of bulk's to the next.
 */
#define QOS_PROMISE	870u
#define QOS_FLOOR	56u
/*
 * Bytes that bulk is owed before it goes ahead of deadlines, and ahead of all.
 * Reservations leave it more than its floor as long as ports are as fast as
 * they were measured, so it hardly ever comes to the latter.
 */
#define QOS_FLOOR_STEP	0x100000ull
#define QOS_FLOOR_MOST	(16ull << 20)

/** enum qos_class - What a queue is for; bulk is what all were before there were classes */
enum qos_class {
	QOS_BULK = 0,
	QOS_CONTROL,
	QOS_LATENCY,
	QOS_DEADLINE,
	QOS_SCRUB,
	QOS_CLASSES
};

/** enum qos_policy - The arbiter, and what it is compared with */
enum qos_policy {
	/** @QOS_HYBRID: by rank, in windows */
	QOS_HYBRID = 0,
	/** @QOS_FIFO: whole copies, first ready first */
	QOS_FIFO,
	/** @QOS_STRICT: whole copies, by class, then first ready first */
	QOS_STRICT,
	/** @QOS_STRICT_WINDOWS: the same in windows */
	QOS_STRICT_WINDOWS,
	QOS_POLICIES
};

/** enum qos_rank - Where a flow stands at the moment; lower goes first */
enum qos_rank {
	/** @QOS_RANK_CONTROL: control within its reservation, EDF */
	QOS_RANK_CONTROL = 0,
	/** @QOS_RANK_LATENCY: latency within its reservation, EDF */
	QOS_RANK_LATENCY,
	/** @QOS_RANK_DEADLINE: an admitted transfer that is not late, EDF */
	QOS_RANK_DEADLINE,
	/** @QOS_RANK_BULK: all else, by weighted virtual time */
	QOS_RANK_BULK,
	/** @QOS_RANK_SCRUB: when there is nothing else */
	QOS_RANK_SCRUB,
	QOS_RANKS
};

/** enum qos_reason - Why something is not promised */
enum qos_reason {
	QOS_OK = 0,
	/** @QOS_LATE: the deadline has passed, or the bytes alone take longer */
	QOS_LATE,
	/** @QOS_FULL_OUT: a port that is read from has promised too much already */
	QOS_FULL_OUT,
	/** @QOS_FULL_IN: likewise a port that is written to */
	QOS_FULL_IN,
	/** @QOS_FAR: the deadline lies beyond QOS_HORIZON */
	QOS_FAR,
	/** @QOS_SHARE: the client has what one client can have of a port's promises */
	QOS_SHARE,
	/** @QOS_ORDER: for the caller: what goes before it in its queue is promised for later */
	QOS_ORDER,
	/** @QOS_WIDE: for the caller: it touches too many ports */
	QOS_WIDE,
	QOS_REASONS
};

/**
 * struct qos_params - What a flow is, as its owner asked for
 * @class: an &enum qos_class
 * @weight: its share when bulk shares, against those of others, 1 to QOS_MAX_WEIGHT
 * @budget: bytes that it may move ahead of lower ranks,
 * @period: in each such time. Both are 0 but for control and latency
 */
struct qos_params {
	u32 class;
	u32 weight;
	u64 budget;
	u64 period;
};

/**
 * struct qos_head - What a flow wants to move next
 * @class: an &enum qos_class, the flow's or one that does without its reservation
 * @weight: likewise the flow's or another
 * @lane: qos_lane() of its ports
 * @covered: its reservation holds at these ports
 * @deadline: admitted for it, 0 if none
 * @since: when it became ready
 */
struct qos_head {
	u32 class;
	u32 weight;
	u32 lane;
	bool covered;
	u64 deadline;
	u64 since;
};

/**
 * struct qos_share - A group's place in the virtual time of a port
 * @port: which
 * @tag: up to when it has been served there
 * @step: what its last window added
 */
struct qos_share {
	u32 port;
	u64 tag;
	u64 step;
};

/**
 * struct qos_group - Flows of one client on one engine
 *
 * Together they weigh as much as one of them does on average, so that nobody
 * gets more by having more queues.
 *
 * @bulk: of them, those that stand with bulk
 * @share: its places at the ports read from, written to
 */
struct qos_group {
	u64 bulk;
	struct qos_share share[2];
};

/**
 * struct qos_flow - A queue, as the arbiter sees it
 * @node: in its lane, while it is ready
 * @refill: in qos_rq.refill, while its budget is used up
 * @params: as given
 * @head: as given, while it is ready
 * @rank: where it stands, QOS_RANKS while it is not ready
 * @demoted: it has stood with bulk though its class is higher; the caller clears it
 * @refilling: @refill is in its tree
 * @left: of its budget; below 0 when a window went over
 * @server: when its budget is full again
 * @tag: its place in the virtual time of its engine
 * @group: its group
 * @own: that, if it is in no other
 */
struct qos_flow {
	struct qos_node node;
	struct qos_node refill;
	struct qos_params params;
	struct qos_head head;
	u32 rank;
	bool demoted;
	bool refilling;
	s64 left;
	u64 server;
	u64 tag;
	struct qos_group *group;
	struct qos_group own;
};

/**
 * struct qos_rq - An engine's flows
 * @lanes: those that are ready, by lane and rank
 * @ready: a bit for each lane that has some
 * @policy: an &enum qos_policy
 * @refill: those whose budget is used up, by when it is full again
 * @held: the one whose copy is under way, where copies are whole
 * @clock: virtual time
 * @owed: bytes of the floor that bulk has not had
 */
struct qos_rq {
	struct qos_tree lanes[QOS_LANES][QOS_RANKS];
	u32 ready;
	u32 policy;
	struct qos_tree refill;
	struct qos_flow *held;
	u64 clock;
	u64 owed;
};

/**
 * struct qos_meter - Windows and how long they took, the older the less they count
 * @n: windows
 * @x: KiB
 * @y: ns
 * @xx: sum of squares
 * @xy: sum of products
 * @fresh: windows since the last fit
 * @pad: zero
 */
struct qos_meter {
	u64 n, x, y, xx, xy;
	u32 fresh;
	u32 pad;
};

/**
 * struct qos_port - One direction of an NPU's link
 * @waiting: asks, by rank
 * @flying: those granted and not done, likewise
 * @inflight: bytes of them
 * @window: most bytes in flight
 * @bandwidth: as measured; before that as claimed
 * @overhead: ns that a window takes beside its bytes, as measured
 * @slack: ns that windows may make the latency class wait
 * @last: when a window was last done
 * @moved: bytes of all that were
 * @meter: what @bandwidth and @overhead come from
 * @clock: virtual time
 * @owed: bytes of the floor that bulk has not had
 * @demand: what is promised to transfers, by deadline
 * @promised: bytes of it
 * @demands: how many
 * @reserved: rate promised to reservations
 * @burst: their budgets
 * @rate: bytes in 2^20 ns that are left for @demand
 * @rated: bandwidth, less what windows cost, that @rate comes from
 * @epoch: time from which bytes at @rate are counted
 * @policy: an &enum qos_policy
 * @turning: 1 + the rank of who led until now, and may be back at once; 0 for nobody
 * @turning_key: and his key
 * @dirty: in the list of ports to settle: 1 + the next one, or 1 + itself at the end
 */
struct qos_port {
	struct qos_tree waiting[QOS_RANKS];
	struct qos_tree flying[QOS_RANKS];
	u64 inflight;
	u64 window;
	u64 bandwidth;
	u64 overhead;
	u64 slack;
	u64 last;
	u64 moved;
	struct qos_meter meter;
	u64 clock;
	u64 owed;
	struct qos_tree demand;
	u64 promised;
	u64 reserved;
	u64 burst;
	u64 rate;
	u64 rated;
	u64 epoch;
	u64 turning_key;
	u32 policy;
	u32 turning;
	u32 demands;
	u32 dirty;
};

/**
 * struct qos_ports - The ports of a pool
 * @port: wherever they lie; even ones are read from, odd ones written to
 * @count: how many
 * @dirty: 1 + the first to settle, 0 for none
 */
struct qos_ports {
	struct qos_port *port;
	u32 count;
	u32 dirty;
};

/**
 * struct qos_ask - A window that wants room at its ports
 * @node: in the trees of both, where it waits or flies
 * @port: read from, written to; QOS_NO_PORT for memory that is no NPU's
 * @rank: an &enum qos_rank
 * @weight: the flow's
 * @bytes: wanted
 * @index: in the visitor's asks
 * @waits: it is in the trees of those that wait
 */
struct qos_ask {
	struct qos_node node[2];
	u32 port[2];
	u32 rank;
	u32 weight;
	u64 bytes;
	u32 index;
	u32 waits;
};

/**
 * struct qos_visitor - An engine before the ports; zeroed at first
 * @asks: what it waits for
 * @count: how many of them
 * @granted: 1 + the ask that it may move now, 0 for none
 * @since: when it turned to its next window
 */
struct qos_visitor {
	struct qos_ask asks[QOS_ASKS];
	u32 count;
	u32 granted;
	u64 since;
};

/**
 * struct qos_demand - Bytes promised at one port
 * @node: in the port's tree, by deadline
 * @port: which
 * @held: it is in the tree
 * @bytes: left to move
 * @room: bytes that the port can promise up to the deadline, from its epoch
 * @sum: bytes of it and of those below it in the tree
 * @least: least room left at a deadline of theirs, were there no others
 */
struct qos_demand {
	struct qos_node node;
	u32 port;
	u32 held;
	u64 bytes;
	s64 room;
	u64 sum;
	s64 least;
};

/** define QOS_BUCKETS - Of a histogram of times: four to each power of two from 2^QOS_BUCKET_LOW */
#define QOS_BUCKETS	128u
#define QOS_BUCKET_LOW	7u

/** qos_bucket() - where a time belongs; the last bucket takes all that is longer */
static inline u32 qos_bucket(u64 ns)
{
	u32 log, bucket;

	if (ns >> QOS_BUCKET_LOW == 0)
		return 0;
	log = 63u - (u32)__builtin_clzll(ns);
	bucket = (log - QOS_BUCKET_LOW) * 4 + (u32)(ns >> (log - 2) & 3) + 1;
	return bucket < QOS_BUCKETS ? bucket : QOS_BUCKETS - 1;
}

/* qos.c: a flow's turn at its engine. */

/** qos_params_check() - whether they make sense, and together */
bool qos_params_check(const struct qos_params *params);
/** qos_lane() - where flows between two ports wait; different pairs may share one */
u32 qos_lane(u32 out, u32 in);
void qos_rq_init(struct qos_rq *rq, u32 policy);
void qos_group_init(struct qos_group *group);
/** qos_flow_init() - a flow that is a group of its own */
void qos_flow_init(struct qos_flow *flow, const struct qos_params *params);
/** qos_flow_join() - make it one of @group; before it is ready for the first time */
void qos_flow_join(struct qos_flow *flow, struct qos_group *group);
/** qos_flow_ready() - it has something to move, which it had not */
void qos_flow_ready(struct qos_rq *rq, struct qos_flow *flow, const struct qos_head *head, u64 now);
/** qos_flow_stop() - it has nothing to move, or must not; it may be stopped already */
void qos_flow_stop(struct qos_rq *rq, struct qos_flow *flow);
/** qos_flow_fini() - stop it, and let nothing refer to it */
void qos_flow_fini(struct qos_rq *rq, struct qos_flow *flow);
/** qos_rq_pick() - the flow to go next, but for those in the lanes @skip; NULL if there is none */
struct qos_flow *qos_rq_pick(struct qos_rq *rq, u32 skip, u64 now);
/*
 * qos_rq_lender() - whose turn a flow takes; NULL if its own
 *
 * A window of the floor stands at the ports where that flow would, which goes on
 * behind it: else it would wait there among all of bulk.
 */
const struct qos_flow *qos_rq_lender(const struct qos_rq *rq, const struct qos_flow *flow);
/*
 * qos_rq_due() - when to pick anew though nothing has happened; 0 for never
 *
 * A budget is full again then, so that a flow may ask for more than it waits for.
 */
u64 qos_rq_due(const struct qos_rq *rq);
/** qos_flow_limit() - most bytes that a flow may move in its rank */
u64 qos_flow_limit(const struct qos_rq *rq, const struct qos_flow *flow);
/** qos_flow_ran() - a flow moved @bytes; @next is what it goes on with, NULL if it has ended */
void qos_flow_ran(struct qos_rq *rq, struct qos_flow *flow, u64 bytes,
		  const struct qos_head *next, u64 now);
/** qos_rq_set_policy() - from now on; all flows that are ready are put in their new places */
void qos_rq_set_policy(struct qos_rq *rq, u32 policy, u64 now);

/* qos_port.c: room at the ports. */

/** qos_port_init() - where nobody waits, has anything in flight or was promised anything */
void qos_port_init(struct qos_port *port, u64 bandwidth, u64 slack, u32 policy);
/** qos_port_tune() - another slack or policy; what waits keeps its place */
void qos_port_tune(struct qos_port *port, u64 slack, u32 policy);
/*
 * qos_ask() - ask for room for a flow's next window, up to @bytes
 *
 * The visitor waits from now on; call qos_settle(). A visitor may ask for
 * several flows before it lies down, the most urgent first.
 *
 * Return: false if it waits for as many as it can.
 */
bool qos_ask(struct qos_ports *ports, struct qos_visitor *visitor, const struct qos_rq *rq,
	     const struct qos_flow *flow, u32 out, u32 in, u64 bytes);
/*
 * qos_settle() - grant what can be granted
 *
 * To be called until it returns NULL after each qos_ask(), qos_done(),
 * qos_withdraw() and qos_port_tune(); who is returned has been granted one of
 * its asks, waits for no other any more, and is to be woken.
 */
struct qos_visitor *qos_settle(struct qos_ports *ports);
/** qos_granted() - what the visitor may move now, NULL if it waits */
const struct qos_ask *qos_granted(const struct qos_visitor *visitor);
/** qos_withdraw() - it waits for nothing any more; what it was granted it keeps */
void qos_withdraw(struct qos_ports *ports, struct qos_visitor *visitor);
/*
 * qos_begin() - the engine turns to its next window
 *
 * Before it asks, so that what a window costs beside its bytes counts; or when
 * it wakes, if it had nothing to ask for.
 */
void qos_begin(struct qos_visitor *visitor, u64 now);
/** qos_done() - it ended, @bytes of it moved; @flow is told, NULL if there is none any more */
void qos_done(struct qos_ports *ports, struct qos_visitor *visitor, struct qos_flow *flow,
	      u64 bytes, u64 now);
/** qos_port_reset() - forget who waits, what is in flight and what is promised */
void qos_port_reset(struct qos_port *port);
/*
 * qos_visitor_restore() - bring back what a visitor waits for or has in flight
 *
 * After qos_port_reset() of every port where it may be, also those of NPUs that have gone: what
 * is linked twice is lost.
 */
void qos_visitor_restore(struct qos_ports *ports, struct qos_visitor *visitor);

/* qos_demand.c: promises. */

/*
 * qos_reserve() - promise a rate, with budgets of @burst, at a port
 *
 * Return: an &enum qos_reason; QOS_FULL_* if it does not fit beside what is promised.
 */
u32 qos_reserve(struct qos_ports *ports, u32 port, u64 rate, u64 burst, u64 now);
void qos_unreserve(struct qos_ports *ports, u32 port, u64 rate, u64 burst, u64 now);
/** qos_rate() - the rate of a reservation */
u64 qos_rate(const struct qos_params *params);
/*
 * qos_admit() - promise a transfer
 * @demands: one for each port it touches, with port and bytes set
 * @count: how many
 * @held: bytes that the client has been promised at each of them so far
 * @share: parts of 1024 of a port's promises that the client may have
 * @earliest: out, if it is refused, the earliest deadline that would fit now; 0 if none would
 *
 * A deadline that is not after the present or beyond QOS_HORIZON is refused too.
 *
 * Return: an &enum qos_reason; if QOS_OK all demands are held, else none.
 */
u32 qos_admit(struct qos_ports *ports, struct qos_demand *demands, u32 count, const u64 *held,
	      u32 share, u64 deadline, u64 now, u64 *earliest);
/** qos_demand_moved() - part of it is done */
void qos_demand_moved(struct qos_ports *ports, struct qos_demand *demand, u64 bytes);
/** qos_demand_end() - it is done, late or given up; no effect if it is not held */
void qos_demand_end(struct qos_ports *ports, struct qos_demand *demand);
/** qos_reserve_restore() - after qos_port_reset(), and before the demands of the port */
void qos_reserve_restore(struct qos_ports *ports, u32 port, u64 rate, u64 burst);
/** qos_demand_restore() - after qos_port_reset() */
void qos_demand_restore(struct qos_ports *ports, struct qos_demand *demand, u64 deadline);

static inline u64 qos_least(u64 a, u64 b)
{
	return a < b ? a : b;
}

/** qos_owe() - others moved so much; who cannot go for a while is not owed ever more */
static inline u64 qos_owe(u64 owed, u64 bytes)
{
	/* A step more, so that no part of what is owed is lost on the way. */
	return qos_least(owed + bytes * QOS_FLOOR / 1024, QOS_FLOOR_MOST + QOS_FLOOR_STEP);
}

/** qos_nth_rank() - the order in which ranks go when bulk is owed so much of its floor */
static inline u32 qos_nth_rank(u64 owed, u32 n)
{
	u32 bulk = owed >= QOS_FLOOR_MOST ? 0 : owed >= QOS_FLOOR_STEP ? QOS_RANK_DEADLINE :
									 QOS_RANK_BULK;

	if (n < bulk || n > QOS_RANK_BULK)
		return n;
	return n == bulk ? QOS_RANK_BULK : n - 1;
}

#endif
