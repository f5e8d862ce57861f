// SPDX-License-Identifier: MIT
/*
 * What a port learns of itself: bandwidth and the overhead of a window, from
 * windows of many sizes whose times are noisy, whatever it claimed at first;
 * and windows that follow from it.
 */
#include "qos_world.h"

#define WINDOWS 40000u
#define PERCENT 10u

struct bench {
	struct qos_port port[2];
	struct qos_ports ports;
	struct qos_rq rq;
	struct qos_flow flow;
	struct qos_visitor visitor;
	struct world dice;
	uint64_t now;
};

static void bench_init(struct bench *bench, uint64_t claim, uint64_t slack)
{
	const struct qos_params params = { .class = QOS_BULK, .weight = QOS_WEIGHT };
	struct qos_head head = { .class = QOS_BULK, .weight = QOS_WEIGHT };

	memset(bench, 0, sizeof(*bench));
	bench->ports = (struct qos_ports){ .port = bench->port, .count = 2 };
	bench->dice.random = qos_seed;
	for (int i = 0; i < 2; i++)
		qos_port_init(&bench->port[i], claim, slack, QOS_HYBRID);
	qos_rq_init(&bench->rq, QOS_HYBRID);
	qos_flow_init(&bench->flow, &params);
	qos_flow_ready(&bench->rq, &bench->flow, &head, 0);
}

/* A window that asks for so much; how much it got. */
static uint64_t window(struct bench *bench, uint64_t bytes, uint64_t rate, uint64_t overhead)
{
	const struct qos_ask *ask;
	uint64_t ns;

	sure(qos_ask(&bench->ports, &bench->visitor, &bench->rq, &bench->flow, QOS_NO_PORT, 1,
		     bytes));
	sure(qos_settle(&bench->ports) == &bench->visitor);
	ask = qos_granted(&bench->visitor);
	bytes = ask->bytes;
	qos_begin(&bench->visitor, bench->now);
	ns = overhead + (uint64_t)((double)bytes * 1e9 / (double)rate);
	/* An eighth more or less, and now and then something that has nothing to do with it. */
	ns += ns * world_draw(&bench->dice, 256) / 1024 - ns / 8;
	if (!world_draw(&bench->dice, 2000))
		ns += 10 * NS_PER_MS;
	bench->now += ns;
	qos_done(&bench->ports, &bench->visitor, &bench->flow, bytes, bench->now);
	sure(!qos_settle(&bench->ports));
	bench->now += world_draw(&bench->dice, 1000);
	return bytes;
}

static bool near(double a, double b)
{
	return a * 100 >= b * (100 - PERCENT) && a * 100 <= b * (100 + PERCENT);
}

static void learn(uint64_t claim, uint64_t rate, uint64_t overhead)
{
	static struct bench bench;
	const struct qos_port *port = &bench.port[1];
	double bandwidth = 0, cost = 0;

	bench_init(&bench, claim, QOS_SLACK);
	for (uint32_t i = 0; i < WINDOWS; i++) {
		window(&bench, 1 + world_draw(&bench.dice, port->window), rate, overhead);
		if (i < WINDOWS / 4)
			continue;
		bandwidth += (double)port->bandwidth;
		cost += (double)port->overhead;
		sure(port->window >= QOS_MIN_WINDOW && port->window <= QOS_MAX_WINDOW);
	}
	bandwidth /= WINDOWS - WINDOWS / 4;
	cost /= WINDOWS - WINDOWS / 4;
	if (!near(bandwidth, (double)rate) || !near(cost, (double)overhead))
		printf("# %.2f GB/s and %.0f ns, taken for %.2f GB/s and %.0f ns\n",
		       (double)rate / 1e9, (double)overhead, bandwidth / 1e9, cost);
	sure(near(bandwidth, (double)rate));
	sure(near(cost, (double)overhead));
}

TEST(bandwidth_and_overhead)
{
	static const uint64_t rates[] = { 2 * NS_PER_S, 20 * NS_PER_S, 200 * NS_PER_S };

	for (size_t i = 0; i < ARRAY_LEN(rates); i++) {
		/* As claimed, ten times less, nothing said. */
		learn(rates[i], rates[i], 2000);
		learn(10 * rates[i], rates[i], 2000);
		learn(0, rates[i], 2000);
	}
}

/* Where all windows are of a size the line has no slope; the rate they get through is known. */
TEST(one_size)
{
	static struct bench bench;

	bench_init(&bench, 0, QOS_SLACK);
	for (uint32_t i = 0; i < WINDOWS; i++)
		window(&bench, KIB(4), 10 * NS_PER_S, 0);
	sure(near((double)bench.port[1].bandwidth, 10e9));
}

/* Mean size of the window while it moves copies of all sizes. */
static double mean_window(struct bench *bench, uint64_t rate, uint64_t overhead)
{
	double sum = 0;

	for (uint32_t i = 0; i < WINDOWS; i++) {
		window(bench, 1 + world_draw(&bench->dice, MIB(1)), rate, overhead);
		if (i >= WINDOWS / 2)
			sum += (double)bench->port[1].window;
	}
	return sum / (WINDOWS - WINDOWS / 2);
}

/* It is what the slack allows, or what makes a window worth its cost. */
TEST(window_follows)
{
	static struct bench bench;
	double window;

	bench_init(&bench, 20 * NS_PER_S, QOS_SLACK);
	window = mean_window(&bench, 20 * NS_PER_S, 0);
	sure(window > 20 * QOS_SLACK / 2 * 0.8 && window < 20 * QOS_SLACK / 2 * 1.3);
	window = mean_window(&bench, 20 * NS_PER_S, 5000);
	sure(window > 8 * 20 * 5000 * 0.8 && window < 8 * 20 * 5000 * 1.3);
	qos_port_tune(&bench.port[1], 10 * QOS_SLACK, QOS_HYBRID);
	window = mean_window(&bench, 20 * NS_PER_S, 0);
	sure(window > 20 * 10 * QOS_SLACK / 2 * 0.8 && window < 20 * 10 * QOS_SLACK / 2 * 1.3);
}

/* What lies within a window is never more than half of what may be in flight. */
TEST(no_sample_breaks_it)
{
	static struct bench bench;

	bench_init(&bench, QOS_MAX_RATE, QOS_MIN_SLACK);
	for (uint32_t i = 0; i < scaled(100000); i++) {
		uint64_t rate = 1 + world_draw(&bench.dice, 1ull << world_draw(&bench.dice, 43));
		uint64_t bytes = 1 + world_draw(&bench.dice, 1ull << world_draw(&bench.dice, 23));

		if (rate < 1000000)
			rate = 1000000;
		sure(window(&bench, bytes, rate, 0) <= bench.port[1].window + QOS_MAX_WINDOW / 2);
		sure(bench.port[1].bandwidth && bench.port[1].bandwidth <= QOS_MAX_RATE);
		sure(bench.port[1].window >= QOS_MIN_WINDOW);
		sure(bench.port[1].window <= QOS_MAX_WINDOW);
	}
}

TEST_HARNESS_MAIN
