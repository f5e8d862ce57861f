/* SPDX-License-Identifier: MIT */
/*
 * What the arbiter's tests share: engines that drive it as the driver does, over
 * ports that move one window after the other, in simulated time. After every
 * step the world is held against plain rules (world_check()).
 *
 * NPOOL_QOS_SEED repeats what a failure printed.
 */
#ifndef TESTS_QOS_WORLD_H
#define TESTS_QOS_WORLD_H

#include "pool.h"
#include "qos.h"

#define NS_PER_MS 1000000ull
#define NS_PER_S 1000000000ull
#define WORLD_PORTS 16u
#define WORLD_ENGINES 8u
#define NEVER UINT64_MAX

static uint64_t qos_seed;

static __attribute__((constructor)) void qos_seed_init(void)
{
	const char *env = getenv("NPOOL_QOS_SEED");
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	qos_seed = env ? strtoull(env, NULL, 0) : (uint64_t)ts.tv_sec * 1000003 + ts.tv_nsec;
}

#define sure(cond) \
	do { \
		if (!(cond)) { \
			fprintf(stderr, "# %s:%d: %s (NPOOL_QOS_SEED=%llu)\n", __FILE__, __LINE__, \
				#cond, (unsigned long long)qos_seed); \
			_exit(KSFT_FAIL); \
		} \
	} while (0)

/* An engine's queue; it has one job at a time. */
struct actor {
	struct qos_flow flow;
	uint32_t engine, out, in;
	uint64_t left;		/* of the job, 0 if there is none */
	uint64_t since, deadline;
	uint64_t asked, moved;	/* bytes of all its jobs */
	uint64_t windows;
	uint64_t high;		/* bytes that went ahead of others by a reservation */
	bool endless;		/* a job is followed by one like it */
	uint64_t job;		/* bytes of such */
	uint32_t class, weight;
	bool covered;
};

struct engine {
	struct qos_rq rq;
	struct qos_visitor visitor;
	struct actor *asked[QOS_ASKS];
	struct actor *running;
	uint64_t until;
};

struct world {
	struct qos_port port[WORLD_PORTS];
	struct qos_ports ports;
	struct engine engines[WORLD_ENGINES];
	uint32_t engine_count;
	struct actor *actors;
	uint32_t count;
	uint64_t now, random, windows;
	uint64_t rate[WORLD_PORTS], overhead;	/* as the ports are; what they claim may differ */
	uint64_t free[WORLD_PORTS];		/* when a port has moved what it was given */
	void (*picked)(struct world *world, struct engine *engine, struct actor *actor,
		       uint32_t skip);
	void (*ended)(struct world *world, struct actor *actor);
	void (*ran)(struct world *world, struct actor *actor, uint64_t bytes, uint32_t rank);
	void *test;
};

static inline uint64_t world_draw(struct world *world, uint64_t below)
{
	uint64_t x = world->random += 0x9e3779b97f4a7c15ull;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return (x ^ x >> 31) % below;
}

static inline struct actor *actor_of(struct qos_flow *flow)
{
	return (struct actor *)((char *)flow - offsetof(struct actor, flow));
}

static inline void world_init(struct world *world, uint32_t engines, uint32_t ports,
			      uint32_t actors, uint64_t rate, uint32_t policy)
{
	memset(world, 0, sizeof(*world));
	world->ports = (struct qos_ports){ .port = world->port, .count = ports };
	world->engine_count = engines;
	world->count = actors;
	world->actors = calloc(actors, sizeof(*world->actors));
	sure(world->actors);
	world->random = qos_seed;
	world->now = 1000;
	for (uint32_t i = 0; i < ports; i++) {
		world->rate[i] = rate;
		qos_port_init(&world->port[i], rate, QOS_SLACK, policy);
	}
	for (uint32_t i = 0; i < engines; i++)
		qos_rq_init(&world->engines[i].rq, policy);
}

static inline void actor_init(struct world *world, uint32_t index, uint32_t engine, uint32_t out,
			      uint32_t in, const struct qos_params *params)
{
	struct actor *actor = &world->actors[index];

	*actor = (struct actor){
		.engine = engine, .out = out, .in = in, .class = params->class,
		.weight = params->weight, .covered = params->budget,
	};
	sure(qos_params_check(params));
	qos_flow_init(&actor->flow, params);
}

static inline struct qos_head actor_head(const struct actor *actor)
{
	return (struct qos_head){
		.class = actor->class, .weight = actor->weight,
		.lane = qos_lane(actor->out, actor->in), .covered = actor->covered,
		.deadline = actor->deadline, .since = actor->since,
	};
}

static inline struct qos_port *world_port(struct world *world, uint32_t index)
{
	return index < world->ports.count ? &world->port[index] : NULL;
}

/* What a grant may not break, at the moment it is made. */
static inline void check_grant(struct world *world, const struct qos_ask *ask)
{
	for (uint32_t side = 0; side < 2; side++) {
		struct qos_port *port = world_port(world, ask->port[side]);

		sure(!port || port->inflight <= port->window || port->inflight == ask->bytes);
	}
}

static inline void engine_start(struct world *world, struct engine *engine)
{
	const struct qos_ask *ask = qos_granted(&engine->visitor);
	struct actor *actor = engine->asked[ask->index];
	uint64_t bytes = ask->bytes < actor->left ? ask->bytes : actor->left;
	uint64_t end = world->now, ns = 0;

	sure(!engine->running && actor->left && ask->bytes);
	check_grant(world, ask);
	qos_begin(&engine->visitor, world->now);
	for (uint32_t side = 0; side < 2; side++) {
		uint32_t p = ask->port[side];

		if (!world_port(world, p))
			continue;
		end = world->free[p] > end ? world->free[p] : end;
		if (bytes * NS_PER_S / world->rate[p] > ns)
			ns = bytes * NS_PER_S / world->rate[p];
	}
	end += ns + world->overhead;
	for (uint32_t side = 0; side < 2; side++)
		if (world_port(world, ask->port[side]))
			world->free[ask->port[side]] = end;
	engine->running = actor;
	engine->until = end;
}

static inline struct engine *engine_of(struct qos_visitor *visitor)
{
	return (struct engine *)((char *)visitor - offsetof(struct engine, visitor));
}

static inline void world_settle(struct world *world)
{
	struct qos_visitor *visitor;

	while ((visitor = qos_settle(&world->ports)))
		engine_start(world, engine_of(visitor));
}

/* New work, or a freed engine: asks anew for the most urgent. */
static inline void engine_kick(struct world *world, struct engine *engine)
{
	uint32_t skip = 0;

	if (engine->running)
		return;
	qos_withdraw(&world->ports, &engine->visitor);
	world_settle(world);
	while (!engine->running && engine->visitor.count < QOS_ASKS) {
		struct qos_flow *flow = qos_rq_pick(&engine->rq, skip, world->now);
		struct actor *actor = flow ? actor_of(flow) : NULL;

		if (!flow)
			break;
		if (world->picked)
			world->picked(world, engine, actor, skip);
		engine->asked[engine->visitor.count] = actor;
		sure(qos_ask(&world->ports, &engine->visitor, &engine->rq, flow, actor->out,
			     actor->in, actor->left));
		skip |= 1u << flow->head.lane;
		if (qos_granted(&engine->visitor))
			engine_start(world, engine);
		world_settle(world);
	}
}

static inline void actor_job(struct world *world, struct actor *actor, uint64_t bytes,
			     uint64_t deadline)
{
	struct engine *engine = &world->engines[actor->engine];
	struct qos_head head;

	sure(!actor->left);
	actor->left = bytes;
	actor->asked += bytes;
	actor->since = world->now;
	actor->deadline = deadline;
	head = actor_head(actor);
	qos_flow_ready(&engine->rq, &actor->flow, &head, world->now);
}

/* Cancelled; not while a window of it moves. */
static inline void actor_stop(struct world *world, struct actor *actor)
{
	struct engine *engine = &world->engines[actor->engine];

	sure(engine->running != actor);
	qos_withdraw(&world->ports, &engine->visitor);
	world_settle(world);
	qos_flow_stop(&engine->rq, &actor->flow);
	actor->asked -= actor->left;
	actor->left = 0;
}

static inline void engine_finish(struct world *world, struct engine *engine)
{
	struct actor *actor = engine->running;
	const struct qos_ask ask = *qos_granted(&engine->visitor);
	uint64_t bytes = ask.bytes < actor->left ? ask.bytes : actor->left;
	struct qos_head head;

	world->now = engine->until;
	world->windows++;
	engine->running = NULL;
	actor->left -= bytes;
	actor->moved += bytes;
	actor->windows++;
	if (world->ran)
		world->ran(world, actor, bytes, ask.rank);
	qos_done(&world->ports, &engine->visitor, &actor->flow, bytes, world->now);
	world_settle(world);
	if (!actor->left && actor->endless) {
		actor->left = actor->job;
		actor->asked += actor->job;
	}
	head = actor_head(actor);
	qos_flow_ran(&engine->rq, &actor->flow, bytes, actor->left ? &head : NULL, world->now);
	if (!actor->left && world->ended)
		world->ended(world, actor);
	engine_kick(world, engine);
}

/* The engine whose window ends first; NULL if none moves. */
static inline struct engine *world_first(struct world *world)
{
	struct engine *best = NULL;

	for (uint32_t i = 0; i < world->engine_count; i++) {
		struct engine *engine = &world->engines[i];

		if (engine->running && (!best || engine->until < best->until))
			best = engine;
	}
	return best;
}

/* All asks that wait at a port, in the order in which it would take them. */
static inline uint32_t world_waiting(struct world *world, uint32_t p, struct qos_ask **asks)
{
	struct qos_port *port = &world->port[p];
	uint32_t count = 0;

	for (uint32_t n = 0; n < QOS_RANKS; n++) {
		const struct qos_tree *tree = &port->waiting[qos_nth_rank(port->owed, n)];
		struct qos_node *node;

		for (node = qos_tree_first(tree); node; node = qos_tree_next(tree, node)) {
			sure(count < WORLD_ENGINES * QOS_ASKS);
			asks[count++] = (struct qos_ask *)((char *)(node - (p & 1)) -
							   offsetof(struct qos_ask, node));
		}
	}
	return count;
}

static inline uint32_t place_at(const struct qos_port *port, uint32_t rank)
{
	uint32_t n;

	for (n = 0; qos_nth_rank(port->owed, n) != rank; n++)
		sure(n < QOS_RANKS);
	return n;
}

/* Whether one window goes before another that is as large as it may be. */
static inline bool goes_before(struct world *world, uint32_t p, const struct qos_ask *a,
			       const struct qos_ask *b)
{
	uint64_t key = a->node[p & 1].key;

	if (a->rank != b->rank)
		return place_at(&world->port[p], a->rank) < place_at(&world->port[p], b->rank);
	if (a->rank >= QOS_RANK_BULK)
		key += a->bytes * 1024 / a->weight;
	return (int64_t)(key - b->node[p & 1].key) < 0;
}

/* There is room; beside a window that goes before it for a part of that, and for one only. */
static inline bool world_fits(struct world *world, uint32_t p, const struct qos_ask *ask)
{
	struct qos_port *port = world_port(world, p);
	const struct qos_ask *best = NULL;
	uint64_t bytes = ask->bytes;
	uint32_t count = 0;

	if (!port || !port->inflight)
		return true;
	/* The room is for who is about to be back. */
	if (port->turning && place_at(port, port->turning - 1) < place_at(port, ask->rank))
		return false;
	if (port->turning && port->turning - 1 == ask->rank &&
	    (int64_t)(port->turning_key - ask->node[p & 1].key) < 0)
		return false;
	for (uint32_t i = 0; i < world->engine_count; i++) {
		const struct qos_ask *other = qos_granted(&world->engines[i].visitor);

		if (!other || other->port[p & 1] != p)
			continue;
		count++;
		/* Among equals who came first. */
		if (!best || place_at(port, other->rank) < place_at(port, best->rank) ||
		    (other->rank == best->rank &&
		     (int64_t)(other->node[p & 1].key - best->node[p & 1].key) < 0) ||
		    (other->rank == best->rank && other->node[p & 1].key == best->node[p & 1].key &&
		     qos_tree_first(&port->flying[other->rank]) == &other->node[p & 1]))
			best = other;
	}
	sure(best);
	if (port->policy == QOS_HYBRID && goes_before(world, p, best, ask)) {
		if (count > 1)
			return false;
		if (bytes > (best->bytes / QOS_BESIDE / 4096 + 1) * 4096)
			bytes = (best->bytes / QOS_BESIDE / 4096 + 1) * 4096;
	}
	return port->inflight + bytes <= port->window;
}

static inline void check_bytes(struct world *world)
{
	uint64_t inflight[WORLD_PORTS] = { 0 };

	for (uint32_t i = 0; i < world->engine_count; i++) {
		const struct qos_ask *ask = qos_granted(&world->engines[i].visitor);

		sure(!ask == !world->engines[i].running);
		for (uint32_t side = 0; ask && side < 2; side++)
			if (world_port(world, ask->port[side]))
				inflight[ask->port[side]] += ask->bytes;
	}
	for (uint32_t p = 0; p < world->ports.count; p++)
		sure(world->port[p].inflight == inflight[p]);
}

struct queues {
	struct qos_ask *asks[WORLD_PORTS][WORLD_ENGINES * QOS_ASKS];
	uint32_t count[WORLD_PORTS];
};

/* The first at a port who cannot go keeps its room, if he is first wherever he waits. */
static inline bool keeps(struct world *world, const struct queues *queues, uint32_t p)
{
	const struct qos_ask *first = queues->asks[p][0];
	uint32_t q = first->port[!(p & 1)];

	return !world_fits(world, p, first) ||
	       (!world_fits(world, q, first) && queues->asks[q][0] == first);
}

/* A port alone would let somebody go: few are looked at, and nobody passes one who is too large. */
static inline bool admits(struct world *world, const struct queues *queues, uint32_t p,
			  const struct qos_ask *ask)
{
	if (!world_port(world, p))
		return true;
	if (queues->asks[p][0] != ask && keeps(world, queues, p))
		return false;
	for (uint32_t i = 0; i < QOS_LOOKS && i < queues->count[p]; i++) {
		if (!world_fits(world, p, queues->asks[p][i]))
			return false;
		if (queues->asks[p][i] == ask)
			return true;
	}
	return false;
}

/* No room is left beside somebody whom it would do. */
static inline void check_waiting(struct world *world)
{
	struct queues queues;

	for (uint32_t p = 0; p < world->ports.count; p++)
		queues.count[p] = world_waiting(world, p, queues.asks[p]);
	for (uint32_t p = 0; p < world->ports.count; p++)
		for (uint32_t i = 0; i < queues.count[p]; i++) {
			const struct qos_ask *ask = queues.asks[p][i];

			sure(!admits(world, &queues, ask->port[0], ask) ||
			     !admits(world, &queues, ask->port[1], ask));
		}
}

/* Nobody sleeps beside work unless somebody moves, who will wake him. */
static inline void check_progress(struct world *world)
{
	bool moves = world_first(world);

	for (uint32_t i = 0; i < world->engine_count; i++) {
		struct engine *engine = &world->engines[i];

		sure(engine->running || !engine->rq.ready || (moves && engine->visitor.count));
	}
}

static inline void world_check(struct world *world)
{
	check_bytes(world);
	check_waiting(world);
	check_progress(world);
}

/* When something happens next by itself: a window ends, or a waiting engine has a budget again. */
static inline uint64_t world_time(struct world *world)
{
	struct engine *first = world_first(world);
	uint64_t time = first ? first->until : NEVER;

	for (uint32_t i = 0; i < world->engine_count; i++) {
		struct engine *engine = &world->engines[i];
		uint64_t due = engine->visitor.count ? qos_rq_due(&engine->rq) : 0;

		if (due && due < time)
			time = due > world->now ? due : world->now;
	}
	return time;
}

static inline void world_step(struct world *world)
{
	uint64_t time = world_time(world);
	struct engine *first = world_first(world);

	if (first && first->until == time) {
		engine_finish(world, first);
		return;
	}
	world->now = time;
	for (uint32_t i = 0; i < world->engine_count; i++) {
		struct engine *engine = &world->engines[i];
		uint64_t due = engine->visitor.count ? qos_rq_due(&engine->rq) : 0;

		if (due && due <= time)
			engine_kick(world, engine);
	}
}

static inline void world_run(struct world *world, uint64_t until)
{
	struct engine *engine;

	while ((engine = world_first(world)) && world_time(world) <= until) {
		world_step(world);
		world_check(world);
	}
	if (until != NEVER)
		world->now = until;
}

/* Nothing may be left of anybody. */
static inline void world_fini(struct world *world)
{
	for (uint32_t i = 0; i < world->count; i++) {
		struct actor *actor = &world->actors[i];

		sure(actor->asked == actor->moved);
		qos_flow_fini(&world->engines[actor->engine].rq, &actor->flow);
		sure(!actor->flow.refilling);
	}
	for (uint32_t i = 0; i < world->engine_count; i++) {
		struct engine *engine = &world->engines[i];

		sure(!engine->running && !engine->visitor.count && !engine->visitor.granted);
		sure(!engine->rq.ready && !engine->rq.held && qos_tree_empty(&engine->rq.refill));
		for (uint32_t lane = 0; lane < QOS_LANES; lane++)
			for (uint32_t rank = 0; rank < QOS_RANKS; rank++)
				sure(qos_tree_empty(&engine->rq.lanes[lane][rank]));
	}
	for (uint32_t p = 0; p < world->ports.count; p++) {
		for (uint32_t rank = 0; rank < QOS_RANKS; rank++)
			sure(qos_tree_empty(&world->port[p].waiting[rank]));
		for (uint32_t rank = 0; rank < QOS_RANKS; rank++)
			sure(qos_tree_empty(&world->port[p].flying[rank]));
		sure(!world->port[p].inflight && !world->port[p].dirty);
		sure(qos_tree_empty(&world->port[p].demand) && !world->port[p].promised);
	}
	sure(!world->ports.dirty);
	free(world->actors);
}

#endif
