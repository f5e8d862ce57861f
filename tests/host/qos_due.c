// SPDX-License-Identifier: MIT
/*
 * What becomes due by itself: budgets are full again, deadlines pass, promises
 * lapse. It is seen though nobody else calls, and however much it is at once, a
 * call does a bounded part of it and none of what is left is taken for what it
 * was.
 */
#include "qos_world.h"

#define RATE 10000000000ull
#define BUDGET KIB(64)
#define PERIOD NS_PER_MS
#define PERIODS 50u
#define HOGS 3u
#define FLOWS 1000u
#define CALLS ((FLOWS + QOS_STEPS - 1) / QOS_STEPS)

static const struct qos_params latency = {
	.class = QOS_LATENCY, .weight = 1, .budget = BUDGET, .period = PERIOD,
};
static const struct qos_params deadline = { .class = QOS_DEADLINE, .weight = QOS_WEIGHT };

static void count_high(struct world *world, struct actor *actor, uint64_t bytes, uint32_t rank)
{
	(void)world;
	if (rank <= QOS_RANK_LATENCY)
		actor->high += bytes;
}

/*
 * Over its budget it waits behind bulk of other engines that weighs all there is,
 * so nothing ever happens at its own but that its budget is full again.
 */
TEST(who_waits_is_picked_when_due)
{
	const struct qos_params heavy = { .class = QOS_BULK, .weight = QOS_MAX_WEIGHT };
	struct world world;

	world_init(&world, HOGS + 1, 2, HOGS + 1, RATE, QOS_HYBRID);
	world.ran = count_high;
	for (uint32_t i = 0; i <= HOGS; i++) {
		actor_init(&world, i, i, QOS_NO_PORT, 1, i < HOGS ? &heavy : &latency);
		world.actors[i].endless = true;
		world.actors[i].job = MIB(1024);
		actor_job(&world, &world.actors[i], MIB(1024), 0);
		engine_kick(&world, &world.engines[i]);
	}
	world_run(&world, PERIODS * PERIOD);
	/* A period may begin late by what a window takes, and one is under way. */
	sure(world.actors[HOGS].high >= (PERIODS - 2) * BUDGET);
	for (uint32_t i = 0; i <= HOGS; i++)
		world.actors[i].endless = false;
	world_run(&world, NEVER);
	world_fini(&world);
}

struct crowd {
	struct qos_rq rq;
	struct qos_flow flows[FLOWS];
};

static void crowd_add(struct crowd *crowd, uint32_t i, const struct qos_params *params,
		      uint64_t time, uint64_t now)
{
	const struct qos_head head = {
		.class = params->class, .weight = params->weight, .lane = i % QOS_LANES,
		.covered = params->budget, .deadline = time, .since = now,
	};

	qos_flow_init(&crowd->flows[i], params);
	qos_flow_ready(&crowd->rq, &crowd->flows[i], &head, now);
}

static uint32_t standing(const struct crowd *crowd, uint32_t rank)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < FLOWS; i++)
		count += crowd->flows[i].rank == rank;
	return count;
}

static void crowd_free(struct crowd *crowd)
{
	for (uint32_t i = 0; i < FLOWS; i++)
		qos_flow_fini(&crowd->rq, &crowd->flows[i]);
	sure(!crowd->rq.ready && qos_tree_empty(&crowd->rq.refill));
	free(crowd);
}

TEST(many_budgets_at_once)
{
	struct crowd *crowd = calloc(1, sizeof(*crowd));
	uint64_t now = 1;

	sure(crowd);
	for (uint32_t i = 0; i < FLOWS; i++)
		crowd_add(crowd, i, &latency, 0, now);
	for (uint32_t i = 0; i < FLOWS; i++) {
		const struct qos_head head = crowd->flows[i].head;

		qos_flow_ran(&crowd->rq, &crowd->flows[i], BUDGET, &head, now);
	}
	sure(standing(crowd, QOS_RANK_BULK) == FLOWS);
	sure(qos_rq_due(&crowd->rq) == now + PERIOD);
	now += PERIOD;
	for (uint32_t call = 1; call <= CALLS; call++) {
		uint32_t full = call < CALLS ? call * QOS_STEPS : FLOWS;

		sure(qos_rq_due(&crowd->rq) == now);
		sure(qos_rq_pick(&crowd->rq, 0, now)->rank == QOS_RANK_LATENCY);
		sure(standing(crowd, QOS_RANK_LATENCY) == full);
		sure(standing(crowd, QOS_RANK_BULK) == FLOWS - full);
	}
	sure(!qos_rq_due(&crowd->rq));
	crowd_free(crowd);
}

/* All but one are late. */
TEST(many_deadlines_at_once)
{
	struct crowd *crowd = calloc(1, sizeof(*crowd));
	uint64_t now = 1;

	sure(crowd);
	for (uint32_t i = 0; i < FLOWS; i++)
		crowd_add(crowd, i, &deadline, i ? 1000 : 1000000, now);
	now = 1000;
	for (uint32_t call = 1; call <= CALLS; call++) {
		uint32_t late = call < CALLS ? call * QOS_STEPS : FLOWS - 1;

		sure(qos_rq_pick(&crowd->rq, 0, now) == &crowd->flows[0]);
		sure(standing(crowd, QOS_RANK_BULK) == late);
	}
	/* Without it there is somebody to go all the same. */
	crowd_free(crowd);
	crowd = calloc(1, sizeof(*crowd));
	sure(crowd);
	for (uint32_t i = 0; i < FLOWS; i++)
		crowd_add(crowd, i, &deadline, 2000, now);
	sure(qos_rq_pick(&crowd->rq, 0, 2000)->rank == QOS_RANK_BULK);
	sure(standing(crowd, QOS_RANK_DEADLINE) == FLOWS - QOS_STEPS);
	crowd_free(crowd);
}

static uint32_t promise(struct qos_ports *ports, struct qos_demand *demand, uint64_t bytes,
			uint64_t time, uint64_t now, uint64_t *earliest)
{
	const uint64_t held = 0;

	*demand = (struct qos_demand){ .port = 1, .bytes = bytes };
	return qos_admit(ports, demand, 1, &held, 1024, time, now, earliest);
}

TEST(a_port_promises_so_many)
{
	struct qos_demand *demands = calloc(QOS_DEMANDS + 1, sizeof(*demands));
	struct qos_port port[2];
	struct qos_ports ports = { .port = port, .count = 2 };
	uint64_t now = 1000, earliest;
	struct qos_node *root;
	uint32_t i;

	sure(demands);
	for (i = 0; i < 2; i++)
		qos_port_init(&port[i], RATE, QOS_SLACK, QOS_HYBRID);
	for (i = 0; i < QOS_DEMANDS; i++)
		sure(!promise(&ports, &demands[i], 1, now + NS_PER_S + i % 7, now, &earliest));
	sure(promise(&ports, &demands[i], 1, now + NS_PER_S, now, &earliest) == QOS_FULL_IN);
	sure(!earliest && !demands[i].held && port[1].promised == QOS_DEMANDS);
	qos_demand_end(&ports, &demands[3]);
	sure(!promise(&ports, &demands[3], 1, now + NS_PER_S, now, &earliest));
	sure(promise(&ports, &demands[i], 1, now + NS_PER_S, now, &earliest) == QOS_FULL_IN);
	/* But for those of the last ns, all lapse together. */
	now += NS_PER_S + 5;
	sure(!promise(&ports, &demands[i], 1, now + NS_PER_S, now, &earliest));
	sure(port[1].promised == QOS_DEMANDS / 7 + 1 && port[1].demands == port[1].promised);
	root = qos_tree_at(&port[1].demand, port[1].demand.root);
	sure(((struct qos_demand *)root)->sum == port[1].promised);
	for (i = 0; i <= QOS_DEMANDS; i++) {
		sure(demands[i].held == (i % 7 == 6 || i == QOS_DEMANDS));
		qos_demand_end(&ports, &demands[i]);
	}
	sure(!port[1].promised && !port[1].demands && qos_tree_empty(&port[1].demand));
	free(demands);
}

/* A window that takes so many times as long as the port claims. */
static void slow_window(struct qos_ports *ports, struct qos_rq *rq, struct qos_flow *flow,
			uint64_t times, uint64_t *now)
{
	struct qos_visitor visitor = { 0 };
	uint64_t bytes;

	sure(qos_ask(ports, &visitor, rq, flow, QOS_NO_PORT, 1, MIB(1)));
	sure(qos_settle(ports) == &visitor);
	bytes = qos_granted(&visitor)->bytes;
	qos_begin(&visitor, *now);
	*now += bytes * times * NS_PER_S / RATE;
	qos_done(ports, &visitor, flow, bytes, *now);
	sure(!qos_settle(ports));
}

/* It has lost half of its rate; what it has promised already counts at the new one too. */
TEST(a_slower_port_promises_less)
{
	struct qos_params bulk = { .class = QOS_BULK, .weight = QOS_WEIGHT };
	struct qos_head head = { .class = QOS_BULK, .weight = QOS_WEIGHT };
	struct qos_port port[2];
	struct qos_ports ports = { .port = port, .count = 2 };
	struct qos_demand first, second;
	uint64_t now = 1000, earliest;
	struct qos_flow flow;
	struct qos_rq rq;

	for (uint32_t i = 0; i < 2; i++)
		qos_port_init(&port[i], RATE, QOS_SLACK, QOS_HYBRID);
	qos_rq_init(&rq, QOS_HYBRID);
	qos_flow_init(&flow, &bulk);
	qos_flow_ready(&rq, &flow, &head, now);
	sure(!promise(&ports, &first, RATE / 4, now + NS_PER_S, now, &earliest));
	sure(!promise(&ports, &second, RATE / 4, now + NS_PER_S, now, &earliest));
	qos_demand_end(&ports, &second);
	for (uint32_t i = 0; i < 1000; i++)
		slow_window(&ports, &rq, &flow, 2, &now);
	sure(promise(&ports, &second, RATE / 4, now + NS_PER_S, now, &earliest) == QOS_FULL_IN);
	sure(!promise(&ports, &second, RATE / 4, earliest, now, &earliest));
	qos_demand_end(&ports, &first);
	qos_demand_end(&ports, &second);
	qos_flow_fini(&rq, &flow);
}

TEST_HARNESS_MAIN
