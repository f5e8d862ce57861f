// SPDX-License-Identifier: MIT
/*
 * What was promised, kept: transfers that were admitted, beside bulk without
 * end on engines of their own and on the same one, beside reservations that are
 * used to the last byte; and reservations that get what they are for, no more
 * while others wait.
 */
#include "qos_world.h"

#define RATE 100000000000ull
#define OVERHEAD 300u
#define JOB MIB(64)
#define SLOTS 24u
#define BULK 4u
#define RUN_MS 300u
#define PERIOD (NS_PER_MS / 2)

static const struct qos_params bulk = { .class = QOS_BULK, .weight = QOS_WEIGHT };
static const struct qos_params deadline = { .class = QOS_DEADLINE, .weight = QOS_WEIGHT };
/* A fifth of the port. */
static const struct qos_params latency = {
	.class = QOS_LATENCY, .weight = QOS_WEIGHT, .budget = RATE / NS_PER_S * PERIOD / 5,
	.period = PERIOD,
};

struct trial {
	struct qos_demand demands[SLOTS + BULK + 1];
	uint64_t admitted, refused, missed, promised;
	double level;		/* bytes ahead of what the rate allows */
	uint64_t at;
};

static void endless(struct world *world, uint32_t index)
{
	struct actor *actor = &world->actors[index];

	actor->endless = true;
	actor->job = JOB;
	actor_job(world, actor, JOB, 0);
	engine_kick(world, &world->engines[actor->engine]);
}

static void tell_demand(struct world *world, struct actor *actor, uint64_t bytes, uint32_t rank)
{
	struct trial *trial = world->test;

	(void)rank;
	if (actor->class == QOS_DEADLINE)
		qos_demand_moved(&world->ports, &trial->demands[actor - world->actors], bytes);
}

static void tell_end(struct world *world, struct actor *actor)
{
	struct trial *trial = world->test;

	if (actor->class != QOS_DEADLINE)
		return;
	qos_demand_end(&world->ports, &trial->demands[actor - world->actors]);
	trial->missed += world->now > actor->deadline;
}

static void ask_promise(struct world *world, struct actor *actor)
{
	struct trial *trial = world->test;
	struct qos_demand *demand = &trial->demands[actor - world->actors];
	uint64_t bytes = MIB(1) + world_draw(world, MIB(16)), held = 0, earliest;
	uint64_t time = world->now + 1 + world_draw(world, 6 * NS_PER_MS);

	*demand = (struct qos_demand){ .port = 1, .bytes = bytes };
	if (qos_admit(&world->ports, demand, 1, &held, 1024, time, world->now, &earliest)) {
		trial->refused++;
		/* At the first moment that is named: the tightest promise there is. */
		time = earliest;
		if (qos_admit(&world->ports, demand, 1, &held, 1024, time, world->now, &earliest))
			return;
	}
	trial->admitted++;
	trial->promised += bytes;
	actor_job(world, actor, bytes, time);
	engine_kick(world, &world->engines[actor->engine]);
}

/*
 * Deadlines on the first engines, bulk on the others or on the same; a port
 * that is promised to the brim.
 */
static void keep(uint32_t engines, uint32_t with_deadlines, bool reserved)
{
	struct trial trial = { 0 };
	struct world world;
	uint64_t end;

	world_init(&world, engines, 2, SLOTS + BULK + 1, RATE, QOS_HYBRID);
	world.test = &trial;
	world.overhead = OVERHEAD;
	world.ran = tell_demand;
	world.ended = tell_end;
	for (uint32_t i = 0; i < SLOTS; i++)
		actor_init(&world, i, i % with_deadlines, QOS_NO_PORT, 1, &deadline);
	for (uint32_t i = SLOTS; i < SLOTS + BULK; i++)
		actor_init(&world, i, engines - 1 - i % (engines - with_deadlines + 1),
			   QOS_NO_PORT, 1, &bulk);
	actor_init(&world, SLOTS + BULK, 0, QOS_NO_PORT, 1, &latency);
	for (uint32_t i = SLOTS; i < SLOTS + BULK; i++)
		endless(&world, i);
	/* The port is to know itself before it promises anything. */
	world_run(&world, 20 * NS_PER_MS);
	if (reserved) {
		sure(!qos_reserve(&world.ports, 1, qos_rate(&latency), latency.budget, world.now));
		endless(&world, SLOTS + BULK);
	}
	for (end = world.now + scaled(RUN_MS) * NS_PER_MS; world.now < end;) {
		struct actor *actor = &world.actors[world_draw(&world, SLOTS)];

		world_run(&world, world.now + world_draw(&world, NS_PER_MS / 16));
		if (!actor->left)
			ask_promise(&world, actor);
	}
	for (uint32_t i = SLOTS; i < world.count; i++)
		world.actors[i].endless = false;
	world_run(&world, NEVER);
	if (trial.missed)
		printf("# %llu of %llu missed, %u engines, %u with deadlines, reserved %d\n",
		       (unsigned long long)trial.missed, (unsigned long long)trial.admitted,
		       engines, with_deadlines, reserved);
	sure(trial.admitted && trial.refused);
	sure(!trial.missed);
	if (reserved)
		qos_unreserve(&world.ports, 1, qos_rate(&latency), latency.budget, world.now);
	world_fini(&world);
}

TEST(deadlines_beside_bulk_of_the_same_engine)
{
	keep(1, 1, false);
	keep(1, 1, true);
}

TEST(deadlines_beside_bulk_of_another_engine)
{
	keep(2, 1, false);
	keep(2, 1, true);
}

TEST(deadlines_on_many_engines)
{
	keep(8, 2, false);
	keep(8, 4, true);
	keep(6, 6, true);
}

/* In any stretch of time, its rate and two budgets: one saved up, one that begins. */
static void check_budget(struct world *world, struct actor *actor, uint64_t bytes, uint32_t rank)
{
	const struct qos_params *params = &actor->flow.params;
	struct trial *trial = world->test;

	if (!params->budget || rank > QOS_RANK_LATENCY)
		return;
	trial->level -= (double)params->budget / (double)params->period *
			(double)(world->now - trial->at);
	trial->level = (trial->level > 0 ? trial->level : 0) + (double)bytes;
	trial->at = world->now;
	actor->high += bytes;
	sure(trial->level <= 2 * (double)params->budget + 1);
}

/* Whatever pattern it comes in, and whoever waits. */
TEST(reservation_is_the_limit)
{
	struct trial trial = { 0 };
	struct world world;
	struct actor *actor;
	uint64_t begin;

	world_init(&world, 1, 2, 3, RATE, QOS_HYBRID);
	world.test = &trial;
	world.overhead = OVERHEAD;
	world.ran = check_budget;
	actor_init(&world, 0, 0, QOS_NO_PORT, 1, &latency);
	actor_init(&world, 1, 0, QOS_NO_PORT, 1, &bulk);
	actor_init(&world, 2, 0, QOS_NO_PORT, 1, &bulk);
	actor = &world.actors[0];
	endless(&world, 1);
	endless(&world, 2);
	for (begin = world.now; world.now < begin + scaled(RUN_MS) * NS_PER_MS;) {
		if (!actor->left) {
			actor_job(&world, actor, 1 + world_draw(&world, 1ull <<
				  world_draw(&world, 26)), 0);
			engine_kick(&world, &world.engines[0]);
		}
		world_run(&world, world.now + world_draw(&world, 1ull << world_draw(&world, 21)));
	}
	/* And always hungry it gets the whole of it. */
	while (actor->left)
		world_run(&world, world_time(&world));
	actor->high = 0;
	begin = world.now;
	endless(&world, 0);
	world_run(&world, world.now + scaled(RUN_MS) * NS_PER_MS);
	sure((double)actor->high >= (double)latency.budget / PERIOD *
	     (double)(world.now - begin) * 0.98 - (double)latency.budget);
	for (uint32_t i = 0; i < 3; i++)
		world.actors[i].endless = false;
	world.ran = NULL;
	world_run(&world, NEVER);
	world_fini(&world);
}

/* To use most of a budget, sleep a moment and wake as new gets nobody more. */
TEST(waking_renews_no_budget)
{
	struct trial trial = { 0 };
	struct world world;
	struct actor *actor;

	world_init(&world, 1, 2, 2, RATE, QOS_HYBRID);
	world.test = &trial;
	world.ran = check_budget;
	actor_init(&world, 0, 0, QOS_NO_PORT, 1, &latency);
	actor_init(&world, 1, 0, QOS_NO_PORT, 1, &bulk);
	actor = &world.actors[0];
	endless(&world, 1);
	for (uint32_t i = 0; i < 200; i++) {
		actor_job(&world, actor, latency.budget * 3 / 4, 0);
		engine_kick(&world, &world.engines[0]);
		while (actor->left)
			world_run(&world, world_time(&world));
	}
	world.actors[1].endless = false;
	world_run(&world, NEVER);
	world_fini(&world);
}

TEST_HARNESS_MAIN
