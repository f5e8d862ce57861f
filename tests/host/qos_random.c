// SPDX-License-Identifier: MIT
/*
 * The whole arbiter in random worlds: queues of all classes on engines that
 * share ports come, run, are cancelled; policies change, ports are reset and
 * restored. Whatever happens: each pick is the one that a plain scan of all
 * queues would make, no port holds more than its window, no room is left unused
 * beside somebody who could take it, a reservation gets what it is for, all
 * bytes that were asked for are moved, and nothing is left at the end.
 */
#include "qos_world.h"

#define WORLDS 40u
#define WINDOWS 25000u		/* of each */
#define ACTORS 64u
#define NPUS 4u

struct trial {
	double level[ACTORS];	/* bytes ahead of what the rate of a reservation allows */
	uint64_t at[ACTORS];
	uint64_t switched;	/* when the policy was */
	struct actor *whole[WORLD_ENGINES];	/* whose copy is under way, where copies are whole */
};

static uint32_t rank_of(const struct engine *engine, const struct actor *actor, uint64_t now)
{
	static const uint32_t ranks[QOS_CLASSES] = {
		[QOS_BULK] = QOS_RANK_BULK, [QOS_CONTROL] = QOS_RANK_CONTROL,
		[QOS_LATENCY] = QOS_RANK_LATENCY, [QOS_DEADLINE] = QOS_RANK_DEADLINE,
		[QOS_SCRUB] = QOS_RANK_SCRUB,
	};
	uint32_t rank = ranks[actor->class];

	if (engine->rq.policy == QOS_FIFO)
		return QOS_RANK_BULK;
	if (engine->rq.policy != QOS_HYBRID)
		return rank;
	if (rank <= QOS_RANK_LATENCY && !(actor->covered && actor->flow.left > 0))
		return QOS_RANK_BULK;
	if (rank == QOS_RANK_DEADLINE && now >= actor->deadline)
		return QOS_RANK_BULK;
	return rank;
}

static uint64_t key_of(const struct engine *engine, const struct actor *actor, uint32_t rank)
{
	if (engine->rq.policy != QOS_HYBRID)
		return actor->since;
	if (rank <= QOS_RANK_LATENCY)
		return actor->flow.server;
	return rank == QOS_RANK_DEADLINE ? actor->deadline : actor->flow.tag;
}

static uint32_t place_of(const struct engine *engine, uint32_t rank)
{
	uint32_t n;

	for (n = 0; qos_nth_rank(engine->rq.owed, n) != rank; n++)
		sure(n < QOS_RANKS);
	return n;
}

static void check_pick(struct world *world, struct engine *engine, struct actor *picked,
		       uint32_t skip)
{
	const struct trial *trial = world->test;
	const struct actor *whole = trial->whole[engine - world->engines];
	uint32_t rank = rank_of(engine, picked, world->now);

	sure(!whole || whole == picked);
	sure(picked->left && picked->flow.rank == rank);
	sure(!(skip & 1u << qos_lane(picked->out, picked->in)));
	if (engine->rq.held) {
		sure(engine->rq.policy == QOS_FIFO || engine->rq.policy == QOS_STRICT);
		sure(engine->rq.held == &picked->flow);
		return;
	}
	for (uint32_t i = 0; i < world->count; i++) {
		struct actor *other = &world->actors[i];
		uint32_t theirs = rank_of(engine, other, world->now);

		if (&world->engines[other->engine] != engine || !other->left)
			continue;
		sure(!other->flow.refilling || world->now < other->flow.server);
		if (skip & 1u << qos_lane(other->out, other->in))
			continue;
		sure(place_of(engine, rank) <= place_of(engine, theirs));
		if (theirs == rank)
			sure(!qos_before(key_of(engine, other, theirs),
					 key_of(engine, picked, rank)));
	}
}

/*
 * In no stretch of time has a reservation more than its rate and three budgets:
 * one left over, one because it was late, one that begins.
 */
static void check_ran(struct world *world, struct actor *actor, uint64_t bytes, uint32_t rank)
{
	struct trial *trial = world->test;
	size_t i = actor - world->actors;
	const struct qos_params *params = &actor->flow.params;
	const struct engine *engine = &world->engines[actor->engine];
	double per_ns = (double)params->budget / (double)params->period;
	bool whole = engine->rq.policy == QOS_FIFO || engine->rq.policy == QOS_STRICT;

	trial->whole[actor->engine] = whole && actor->left ? actor : NULL;
	if (!params->budget || rank > QOS_RANK_LATENCY || engine->rq.policy != QOS_HYBRID)
		return;
	/* It was asked for when nothing was limited. */
	if (engine->visitor.since <= trial->switched)
		return;
	trial->level[i] -= per_ns * (double)(world->now - trial->at[i]);
	trial->level[i] = (trial->level[i] > 0 ? trial->level[i] : 0) + (double)bytes;
	trial->at[i] = world->now;
	sure(trial->level[i] <= 3 * (double)params->budget + 1);
}

static uint64_t some_bytes(struct world *world)
{
	/* As many small ones as large ones, up to 8 MiB. */
	return 1 + world_draw(world, 1ull << world_draw(world, 24));
}

static void some_actor(struct world *world, uint32_t index)
{
	struct qos_params params = {
		.class = world_draw(world, QOS_CLASSES),
		.weight = 1 + world_draw(world, world_draw(world, 2) ? 64 : QOS_MAX_WEIGHT),
	};
	uint32_t out = QOS_NO_PORT, in = QOS_NO_PORT;

	if (params.class == QOS_CONTROL || params.class == QOS_LATENCY) {
		params.budget = some_bytes(world);
		params.period = QOS_MIN_PERIOD + world_draw(world, NS_PER_MS);
	}
	if (world_draw(world, 4))
		out = 2 * world_draw(world, NPUS);
	if (world_draw(world, 4))
		in = 2 * world_draw(world, NPUS) + 1;
	actor_init(world, index, world_draw(world, world->engine_count), out, in, &params);
	world->actors[index].covered = params.budget && world_draw(world, 8);
}

static void some_job(struct world *world)
{
	struct actor *actor = &world->actors[world_draw(world, world->count)];

	if (actor->left)
		return;
	actor_job(world, actor, some_bytes(world), actor->class != QOS_DEADLINE ? 0 :
		  world->now + 1 + world_draw(world, 4 * NS_PER_MS));
	engine_kick(world, &world->engines[actor->engine]);
}

static void some_cancel(struct world *world)
{
	struct trial *trial = world->test;
	struct actor *actor = &world->actors[world_draw(world, world->count)];

	if (!actor->left || world->engines[actor->engine].running == actor)
		return;
	if (trial->whole[actor->engine] == actor)
		trial->whole[actor->engine] = NULL;
	actor_stop(world, actor);
	engine_kick(world, &world->engines[actor->engine]);
}

static void other_policy(struct world *world)
{
	struct trial *trial = world->test;
	uint32_t policy = world_draw(world, 3) ? QOS_HYBRID : world_draw(world, QOS_POLICIES);

	trial->switched = world->now;
	memset(trial->whole, 0, sizeof(trial->whole));
	for (uint32_t i = 0; i < world->engine_count; i++)
		qos_rq_set_policy(&world->engines[i].rq, policy, world->now);
	for (uint32_t p = 0; p < world->ports.count; p++)
		qos_port_tune(&world->port[p], QOS_MIN_SLACK + world_draw(world, QOS_SLACK),
			      policy);
	world_settle(world);
	for (uint32_t i = 0; i < world->engine_count; i++)
		engine_kick(world, &world->engines[i]);
}

/* As after a process died in the midst of it all. */
static void restore(struct world *world)
{
	struct qos_ask *before[WORLD_PORTS][WORLD_ENGINES * QOS_ASKS];
	struct qos_ask *after[WORLD_ENGINES * QOS_ASKS];
	uint32_t count[WORLD_PORTS];

	for (uint32_t p = 0; p < world->ports.count; p++)
		count[p] = world_waiting(world, p, before[p]);
	world->ports.dirty = 0;
	for (uint32_t p = 0; p < world->ports.count; p++)
		qos_port_reset(&world->port[p]);
	for (uint32_t i = 0; i < world->engine_count; i++)
		qos_visitor_restore(&world->ports, &world->engines[i].visitor);
	check_bytes(world);
	for (uint32_t p = 0; p < world->ports.count; p++) {
		sure(world_waiting(world, p, after) == count[p]);
		/* Equal keys may have changed places. */
		for (uint32_t i = 0; i < count[p]; i++) {
			sure(after[i]->rank == before[p][i]->rank);
			sure(after[i]->node[p & 1].key == before[p][i]->node[p & 1].key);
		}
	}
	world_settle(world);
}

static void act(struct world *world)
{
	uint64_t dice = world_draw(world, 1000);

	if (dice < 600)
		some_job(world);
	else if (dice < 630)
		some_cancel(world);
	else if (dice < 633)
		restore(world);
	else if (dice < 635)
		other_policy(world);
	else if (dice < 660)
		world_run(world, world->now + world_draw(world, NS_PER_MS));
	else if (world_first(world))
		world_run(world, world_time(world));
}

static void random_world(uint32_t engines, uint32_t windows)
{
	struct trial *trial = calloc(1, sizeof(*trial));
	struct world world;

	sure(trial);
	world_init(&world, engines, 2 * NPUS, ACTORS, NS_PER_S, QOS_HYBRID);
	world.test = trial;
	world.picked = check_pick;
	world.ran = check_ran;
	world.overhead = world_draw(&world, 2000);
	for (uint32_t p = 0; p < world.ports.count; p++)
		world.rate[p] = NS_PER_S * (1 + world_draw(&world, 200));
	for (uint32_t i = 0; i < ACTORS; i++)
		some_actor(&world, i);
	while (world.windows < windows) {
		act(&world);
		world_check(&world);
	}
	world_run(&world, NEVER);
	world_fini(&world);
	free(trial);
}

TEST(random_worlds)
{
	for (uint32_t i = 0; i < WORLDS; i++, qos_seed++)
		random_world(1 + i % WORLD_ENGINES, scaled(WINDOWS));
}

TEST_HARNESS_MAIN
