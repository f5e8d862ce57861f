// SPDX-License-Identifier: MIT
/*
 * The driver's arbiter, used as an engine uses it: the bursts have a queue with
 * a reservation, bulk copies share some queues, and each transfer that asked for
 * a deadline has a queue of its own. One that was refused runs as bulk.
 */
#include "sim.h"

/* Written to; what it comes from is no NPU's. */
#define PORT 1u

struct arbiter {
	struct qos_rq rq;
	struct qos_ports *ports;
	struct qos_visitor visitor;
	struct queue latency;
	struct queue bulk[BULK_QUEUES];
};

void *arbiter_create(const struct scheduler *scheduler, struct qos_ports *ports)
{
	const struct qos_params burst = {
		.class = QOS_LATENCY, .weight = QOS_WEIGHT,
		.budget = BURST_BYTES, .period = BURST_PERIOD,
	};
	const struct qos_params bulk = { .class = QOS_BULK, .weight = QOS_WEIGHT };
	struct arbiter *arbiter = allocated(calloc(1, sizeof(*arbiter)));
	u32 i;

	arbiter->ports = ports;
	qos_rq_init(&arbiter->rq, scheduler->policy);
	qos_flow_init(&arbiter->latency.flow, &burst);
	for (i = 0; i < BULK_QUEUES; i++)
		qos_flow_init(&arbiter->bulk[i].flow, &bulk);
	return arbiter;
}

static struct queue *single(void)
{
	const struct qos_params params = { .class = QOS_DEADLINE, .weight = QOS_WEIGHT };
	struct queue *queue = allocated(calloc(1, sizeof(*queue)));

	qos_flow_init(&queue->flow, &params);
	queue->single = true;
	return queue;
}

static struct qos_head head_of(const struct job *job)
{
	return (struct qos_head){
		.class = job->class,
		.weight = QOS_WEIGHT,
		.lane = qos_lane(QOS_NO_PORT, PORT),
		.covered = job->class == QOS_LATENCY,
		.deadline = job->deadline,
		.since = job->arrived,
	};
}

void arbiter_add(void *state, struct job *job, u32 bulk_queue, u64 now)
{
	struct arbiter *arbiter = state;
	struct qos_head head = head_of(job);
	struct queue *queue;

	if (job->class == QOS_LATENCY)
		queue = &arbiter->latency;
	else if (job->class == QOS_BULK && bulk_queue < BULK_QUEUES)
		queue = &arbiter->bulk[bulk_queue];
	else
		queue = single();
	job->queue = queue;
	if (queue->first) {
		queue->last->next = job;
		queue->last = job;
		return;
	}
	queue->first = job;
	queue->last = job;
	qos_flow_ready(&arbiter->rq, &queue->flow, &head, now);
}

struct job *arbiter_next(void *state, u64 now, u64 *bytes)
{
	struct arbiter *arbiter = state;
	struct qos_flow *flow = qos_rq_pick(&arbiter->rq, 0, now);
	struct job *job;

	if (!flow)
		return NULL;
	job = ((struct queue *)((char *)flow - offsetof(struct queue, flow)))->first;
	if (flow->demoted && job->demand.held)
		qos_demand_end(arbiter->ports, &job->demand);
	flow->demoted = false;
	qos_ask(arbiter->ports, &arbiter->visitor, &arbiter->rq, flow, QOS_NO_PORT, PORT,
		job->left);
	while (qos_settle(arbiter->ports))
		;
	/* There is nobody else who could have the room. */
	if (!qos_granted(&arbiter->visitor))
		abort();
	*bytes = qos_granted(&arbiter->visitor)->bytes;
	qos_begin(&arbiter->visitor, now);
	return job;
}

void arbiter_moved(void *state, struct job *job, u64 bytes, u64 now)
{
	struct arbiter *arbiter = state;
	struct queue *queue = job->queue;
	struct qos_head head = head_of(job);

	qos_done(arbiter->ports, &arbiter->visitor, &queue->flow, bytes, now);
	while (qos_settle(arbiter->ports))
		;
	/* What is whole ends with the copy, not with the queue. */
	qos_flow_ran(&arbiter->rq, &queue->flow, bytes, job->left ? &head : NULL, now);
	if (job->left)
		return;
	queue->first = job->next;
	if (queue->first) {
		head = head_of(queue->first);
		qos_flow_ready(&arbiter->rq, &queue->flow, &head, now);
	} else if (queue->single) {
		qos_flow_fini(&arbiter->rq, &queue->flow);
		free(queue);
	}
}

void arbiter_destroy(void *state)
{
	struct arbiter *arbiter = state;

	qos_flow_fini(&arbiter->rq, &arbiter->latency.flow);
	free(arbiter);
}
