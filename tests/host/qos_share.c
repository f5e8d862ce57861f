// SPDX-License-Identifier: MIT
/*
 * Who gets how much, and how soon, where more is wanted than there is: bulk by
 * weight, at one engine and between engines, many sources to one port, the
 * floor, transfers that need two ports, and bursts beside any flood.
 */
#include "qos_world.h"

#define RATE 100000000000ull	/* bytes a second */
#define JOB MIB(64)
#define WINDOWS 20000u
#define FLOOD 10000u
#define BURST KIB(64)
#define BURSTS 400u
#define OVERHEAD 200u
#define SOURCES 8u
#define FLOOR_PERCENT 5u

static const struct qos_params bulk = { .class = QOS_BULK, .weight = QOS_WEIGHT };

static void endless(struct world *world, uint32_t index, uint64_t bytes, uint64_t deadline)
{
	struct actor *actor = &world->actors[index];

	actor->endless = true;
	actor->job = bytes;
	actor_job(world, actor, bytes, deadline);
}

static void weighted(struct world *world, uint32_t index, uint32_t engine, uint32_t out,
		     uint32_t in, uint32_t weight)
{
	const struct qos_params params = { .class = QOS_BULK, .weight = weight };

	actor_init(world, index, engine, out, in, &params);
	endless(world, index, JOB, 0);
}

static void kick_all(struct world *world)
{
	for (uint32_t i = 0; i < world->engine_count; i++)
		engine_kick(world, &world->engines[i]);
}

static void run_windows(struct world *world, uint64_t count)
{
	uint64_t end = world->windows + count;

	kick_all(world);
	while (world->windows < end) {
		world_step(world);
		world_check(world);
	}
}

/* Lets all come to an end, that nothing may be left. */
static void finish(struct world *world)
{
	for (uint32_t i = 0; i < world->count; i++)
		world->actors[i].endless = false;
	world_run(world, NEVER);
	world_fini(world);
}

static uint64_t total(const struct world *world)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < world->count; i++)
		bytes += world->actors[i].moved;
	return bytes;
}

/* Each has its part of what all have moved, within so many percent. */
static void check_shares(const struct world *world, const uint32_t *weights, uint32_t percent)
{
	uint64_t bytes = total(world), sum = 0;

	for (uint32_t i = 0; i < world->count; i++)
		sum += weights[i];
	for (uint32_t i = 0; i < world->count; i++) {
		uint64_t fair = (uint64_t)((double)bytes * weights[i] / (double)sum);
		uint64_t moved = world->actors[i].moved;

		if (moved * 100 < fair * (100 - percent) || moved * 100 > fair * (100 + percent))
			printf("# %u of %u, weight %u: %.2f of its share\n", i, world->count,
			       weights[i], (double)moved / (double)fair);
		sure(moved * 100 >= fair * (100 - percent));
		sure(moved * 100 <= fair * (100 + percent));
	}
}

static void share_between(uint32_t count, uint32_t engines, uint32_t percent)
{
	uint32_t *weights = calloc(count, sizeof(*weights));
	struct world world;

	sure(weights);
	world_init(&world, engines, 2, count, RATE, QOS_HYBRID);
	for (uint32_t i = 0; i < count; i++) {
		weights[i] = 16 + world_draw(&world, 112);
		weighted(&world, i, i % engines, QOS_NO_PORT, 1, weights[i]);
	}
	run_windows(&world, WINDOWS);
	check_shares(&world, weights, percent);
	finish(&world);
	free(weights);
}

TEST(weights_at_one_engine)
{
	share_between(2, 1, 2);
	share_between(8, 1, 3);
	share_between(64, 1, 5);
}

TEST(weights_between_engines)
{
	share_between(2, 2, 2);
	share_between(8, 4, 3);
	share_between(64, 8, 5);
}

/* It is the queues that share a port, not the engines that they happen to run on. */
TEST(queues_not_engines)
{
	uint32_t weights[9];
	struct world world;

	world_init(&world, 2, 2, 9, RATE, QOS_HYBRID);
	for (uint32_t i = 0; i < 9; i++) {
		weights[i] = QOS_WEIGHT;
		weighted(&world, i, i == 8, QOS_NO_PORT, 1, QOS_WEIGHT);
	}
	run_windows(&world, WINDOWS);
	check_shares(&world, weights, 5);
	finish(&world);
}

TEST(incast_by_weight)
{
	uint32_t weights[SOURCES];
	struct world world;

	world_init(&world, SOURCES, 2 * SOURCES, SOURCES, RATE, QOS_HYBRID);
	for (uint32_t i = 0; i < SOURCES; i++) {
		weights[i] = 16 * (i + 1);
		weighted(&world, i, i, 2 * i, 1, weights[i]);
	}
	run_windows(&world, WINDOWS);
	check_shares(&world, weights, 3);
	finish(&world);
}

/* Of eight to one port, the reserved ones go first, then deadlines, and bulk has its floor. */
TEST(incast_by_class)
{
	const struct qos_params latency = {
		.class = QOS_LATENCY, .weight = QOS_WEIGHT, .budget = MIB(1),
		.period = MIB(1) * NS_PER_S / (RATE / 5),
	};
	const struct qos_params deadline = { .class = QOS_DEADLINE, .weight = QOS_WEIGHT };
	struct world world;
	uint64_t bytes;

	world_init(&world, SOURCES, 2 * SOURCES, SOURCES, RATE, QOS_HYBRID);
	for (uint32_t i = 0; i < SOURCES; i++)
		actor_init(&world, i, i, 2 * i, 1, i < 2 ? &latency : i < 4 ? &deadline : &bulk);
	for (uint32_t i = 0; i < SOURCES; i++)
		endless(&world, i, JOB, i < 4 ? QOS_HORIZON : 0);
	run_windows(&world, WINDOWS);
	bytes = total(&world);
	/* A fifth each is reserved; a little is lost on windows that begin late. */
	for (uint32_t i = 0; i < 2; i++)
		sure(world.actors[i].moved >= bytes * 19 / 100);
	/* The reserved ones stand with bulk whenever they have used that up, so six share. */
	for (uint32_t i = 4; i < SOURCES; i++)
		sure(world.actors[i].moved * 100 >= bytes * FLOOR_PERCENT / 6 * 9 / 10);
	sure(world.actors[2].moved + world.actors[3].moved >= bytes * 50 / 100);
	finish(&world);
}

/*
 * Whoever floods an engine or a port with more than can be, bulk has its part
 * of what others move but for what it may be owed and the windows under way.
 */
static void floor_beside(const struct qos_params *params, uint32_t engines, uint64_t owed)
{
	struct world world;
	uint64_t others;

	world_init(&world, engines, 2, 4, RATE, QOS_HYBRID);
	for (uint32_t i = 0; i < 4; i++)
		actor_init(&world, i, i % engines, QOS_NO_PORT, 1, i ? params : &bulk);
	for (uint32_t i = 0; i < 4; i++)
		endless(&world, i, JOB, QOS_HORIZON);
	for (uint32_t i = 0; i < 20; i++) {
		run_windows(&world, WINDOWS / 20);
		others = total(&world) - world.actors[0].moved;
		sure(world.actors[0].moved + owed + 2 * world.port[1].window >=
		     others * FLOOR_PERCENT / 100);
		/* Nor much more, though windows beside others' are not counted so closely. */
		sure(world.actors[0].moved <= others * QOS_FLOOR / 1024 + MIB(8));
	}
	finish(&world);
}

TEST(floor_of_bulk)
{
	const struct qos_params control = {
		.class = QOS_CONTROL, .weight = QOS_WEIGHT, .budget = QOS_MAX_BUDGET,
		.period = QOS_MIN_PERIOD,
	};
	const struct qos_params latency = {
		.class = QOS_LATENCY, .weight = QOS_WEIGHT, .budget = QOS_MAX_BUDGET,
		.period = QOS_MIN_PERIOD,
	};
	const struct qos_params deadline = { .class = QOS_DEADLINE, .weight = QOS_WEIGHT };

	for (uint32_t engines = 1; engines <= 4; engines += 3) {
		floor_beside(&control, engines, QOS_FLOOR_MOST);
		floor_beside(&latency, engines, QOS_FLOOR_MOST);
		floor_beside(&deadline, engines, QOS_FLOOR_STEP);
	}
}

TEST(scrub_when_idle)
{
	const struct qos_params scrub = { .class = QOS_SCRUB, .weight = QOS_MAX_WEIGHT };
	struct world world;

	world_init(&world, 2, 2, 3, RATE, QOS_HYBRID);
	actor_init(&world, 0, 0, QOS_NO_PORT, 1, &bulk);
	actor_init(&world, 1, 0, QOS_NO_PORT, 1, &scrub);
	actor_init(&world, 2, 1, QOS_NO_PORT, 1, &scrub);
	for (uint32_t i = 1; i < 3; i++)
		endless(&world, i, JOB, 0);
	run_windows(&world, 100);
	sure(world.actors[1].windows && world.actors[2].windows);
	actor_job(&world, &world.actors[0], JOB, 0);
	engine_kick(&world, &world.engines[0]);
	while (world.actors[0].left)
		run_windows(&world, 1);
	/* The other engine only had what bulk's engine left while it was between windows. */
	sure(world.actors[1].windows <= 100);
	finish(&world);
}

/*
 * One that needs two ports at once which others keep busy: he has as much of
 * them as any of those.
 */
static void both_at_once(uint32_t out[2], uint32_t in[2])
{
	struct world world;
	uint64_t bytes;

	world_init(&world, 5, 8, 5, RATE, QOS_HYBRID);
	weighted(&world, 0, 0, 0, 3, QOS_WEIGHT);
	for (uint32_t i = 0; i < 2; i++) {
		weighted(&world, 1 + i, 1 + i, 0, in[i], QOS_WEIGHT);
		weighted(&world, 3 + i, 3 + i, out[i], 3, QOS_WEIGHT);
	}
	run_windows(&world, WINDOWS);
	bytes = world.actors[0].moved + world.actors[1].moved + world.actors[2].moved;
	sure(world.actors[0].moved * 100 >= bytes * 28);
	/* And a port is kept idle for him for one window at most beside each three. */
	sure(bytes >= RATE / NS_PER_S * (world.now - 1000) * 75 / 100);
	finish(&world);
}

TEST(two_ports_at_once)
{
	both_at_once((uint32_t [2]){ QOS_NO_PORT, QOS_NO_PORT },
		     (uint32_t [2]){ QOS_NO_PORT, QOS_NO_PORT });
	/* Others whose ask is looked at from the other side. */
	both_at_once((uint32_t [2]){ 2, 4 }, (uint32_t [2]){ 5, 7 });
}

/* Longest time that bursts of a reserved queue took, beside whatever else there is. */
static uint64_t bursts(struct world *world, struct actor *actor)
{
	uint64_t longest = 0;

	kick_all(world);
	for (uint32_t i = 0; i < BURSTS; i++) {
		uint64_t since;

		world_run(world, world->now + NS_PER_MS / 10 + world_draw(world, NS_PER_MS / 10));
		since = world->now;
		actor_job(world, actor, BURST, 0);
		engine_kick(world, &world->engines[actor->engine]);
		while (actor->left) {
			world_step(world);
			world_check(world);
		}
		longest = world->now - since > longest ? world->now - since : longest;
	}
	return longest;
}

static uint64_t time_of(uint64_t bytes)
{
	return bytes * NS_PER_S / RATE + OVERHEAD;
}

static const struct qos_params reserved = {
	.class = QOS_LATENCY, .weight = QOS_WEIGHT, .budget = BURST, .period = NS_PER_MS / 10,
};

/* 10,000 queues on the engine of a burst hold it up for no longer than the window under way. */
TEST(flood_of_queues)
{
	const struct qos_params deadline = { .class = QOS_DEADLINE, .weight = QOS_WEIGHT };
	struct world world;
	uint64_t longest;

	world_init(&world, 1, 2, FLOOD + 1, RATE, QOS_HYBRID);
	world.overhead = OVERHEAD;
	actor_init(&world, 0, 0, QOS_NO_PORT, 1, &reserved);
	for (uint32_t i = 1; i <= FLOOD; i++) {
		actor_init(&world, i, 0, QOS_NO_PORT, 1, i % 2 ? &bulk : &deadline);
		endless(&world, i, MIB(1), i % 4 ? QOS_HORIZON : 0);
	}
	longest = bursts(&world, &world.actors[0]);
	sure(longest <= time_of(QOS_MAX_WINDOW / 2) + time_of(BURST));
	sure(longest <= time_of(world.port[1].window / 2) + time_of(BURST) + OVERHEAD);
	finish(&world);
}

/* And floods from all sides at its port by what is in flight there. */
TEST(flood_of_engines)
{
	const struct qos_params deadline = { .class = QOS_DEADLINE, .weight = QOS_WEIGHT };
	struct world world;
	uint64_t longest;

	world_init(&world, SOURCES, 2 * SOURCES, SOURCES, RATE, QOS_HYBRID);
	world.overhead = OVERHEAD;
	actor_init(&world, 0, 0, 0, 1, &reserved);
	for (uint32_t i = 1; i < SOURCES; i++) {
		actor_init(&world, i, i, 2 * i, 1, i % 2 ? &bulk : &deadline);
		endless(&world, i, MIB(1), QOS_HORIZON);
	}
	longest = bursts(&world, &world.actors[0]);
	sure(longest <= time_of(world.port[1].window) + OVERHEAD + time_of(BURST) + OVERHEAD);
	finish(&world);
}

TEST_HARNESS_MAIN
