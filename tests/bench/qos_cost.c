// SPDX-License-Identifier: MIT
/*
 * What the arbiter itself costs: one decision, which is to pick a queue, ask for
 * room at two ports, be granted it, give it back and put the queue in its new
 * place, beside so many others that are ready. All in one thread: locks and
 * wake-ups are the engine's.
 */
#include "bench.h"
#include "qos.h"

#define NPUS 8u
#define PORTS (2 * NPUS)
#define NPU_RATE 100000000000ull
#define WINDOW_NS 5000u
#define BUDGET KIB(64)
#define PERIOD 100000u
/* Decisions in a sample: the clock costs as much as some of them. */
#define BATCH 64
#define SAMPLES 4000
#define WARM_UP 400

struct queue {
	struct qos_flow flow;
	struct qos_head head;
	uint32_t port[2];
};

struct cost {
	struct qos_port port[PORTS];
	struct qos_ports ports;
	struct qos_rq rq;
	struct qos_visitor visitor;
	struct queue *queues;
	uint64_t now;
};

/* One in eight has a reservation, one in eight a deadline; the others are bulk. */
static void add_queue(struct cost *cost, struct queue *queue, unsigned int i, uint64_t *seed)
{
	struct qos_params params = { .weight = 1 + rnd(seed) % QOS_MAX_WEIGHT };

	if (i % 8 == 0) {
		params.class = QOS_LATENCY;
		params.budget = BUDGET;
		params.period = PERIOD + rnd(seed) % PERIOD;
	} else if (i % 8 == 1) {
		params.class = QOS_DEADLINE;
		/* All pass in the course of it. */
		queue->head.deadline = cost->now + rnd(seed) % 1000000000;
	}
	queue->port[0] = 0;
	queue->port[1] = 2 * (uint32_t)(rnd(seed) % NPUS) + 1;
	queue->head.class = params.class;
	queue->head.weight = params.weight;
	queue->head.lane = qos_lane(queue->port[0], queue->port[1]);
	queue->head.covered = params.budget;
	queue->head.since = cost->now;
	qos_flow_init(&queue->flow, &params);
	qos_flow_ready(&cost->rq, &queue->flow, &queue->head, cost->now);
}

static void cost_init(struct cost *cost, unsigned int count)
{
	uint64_t seed = 88172645463325252ull;

	*cost = (struct cost){ .queues = calloc(count, sizeof(*cost->queues)), .now = 1 };
	check(!cost->queues);
	cost->ports = (struct qos_ports){ .port = cost->port, .count = PORTS };
	for (unsigned int i = 0; i < PORTS; i++)
		qos_port_init(&cost->port[i], NPU_RATE, QOS_SLACK, QOS_HYBRID);
	qos_rq_init(&cost->rq, QOS_HYBRID);
	for (unsigned int i = 0; i < count; i++)
		add_queue(cost, &cost->queues[i], i, &seed);
}

static void decide(struct cost *cost)
{
	struct qos_flow *flow = qos_rq_pick(&cost->rq, 0, cost->now);
	struct queue *queue = (struct queue *)((char *)flow - offsetof(struct queue, flow));
	uint64_t bytes;

	check(!qos_ask(&cost->ports, &cost->visitor, &cost->rq, flow, queue->port[0],
		       queue->port[1], MIB(4)));
	check(qos_settle(&cost->ports) != &cost->visitor);
	while (qos_settle(&cost->ports))
		;
	bytes = qos_granted(&cost->visitor)->bytes;
	qos_begin(&cost->visitor, cost->now);
	cost->now += WINDOW_NS;
	qos_done(&cost->ports, &cost->visitor, flow, bytes, cost->now);
	while (qos_settle(&cost->ports))
		;
	qos_flow_ran(&cost->rq, flow, bytes, &queue->head, cost->now);
}

static void run(unsigned int count)
{
	struct samples ours = { 0 };
	char name[64];
	struct row row = { .group = "qos", .what = name, .ours = &ours };
	struct cost cost;

	cost_init(&cost, count);
	for (int i = -WARM_UP; i < SAMPLES; i++) {
		uint64_t start = now_ns();

		for (int k = 0; k < BATCH; k++)
			decide(&cost);
		if (i >= 0)
			sample(&ours, (double)(now_ns() - start) / BATCH);
	}
	snprintf(name, sizeof(name), "decision among %u queues", count);
	row_print(&row);
	samples_free(&ours);
	free(cost.queues);
}

int main(int argc, char **argv)
{
	static const unsigned int counts[] = { 10, 1000, 10000 };

	bench_begin(argc, argv, "The arbiter alone");
	for (size_t i = 0; i < ARRAY_LEN(counts); i++)
		run(counts[i]);
	return 0;
}
