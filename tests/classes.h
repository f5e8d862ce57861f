/* SPDX-License-Identifier: MIT */
/*
 * What the programs about classes share: queues of a class, what ports and
 * classes tell, and gates, by which a test has many submits become ready at once.
 */
#ifndef TESTS_CLASSES_H
#define TESTS_CLASSES_H

#include <accel/qos.h>

#include "pool.h"

#define MANY 256			/* pieces of a copy */
#define BUDGET MIB(1)			/* of queues that reserve, in each PERIOD_NS */
#define PERIOD_NS (100ull * 1000 * 1000)

/* A queue of a class; one that reserves does so for copies within its NPU. */
static inline struct accel_queue_qos qos_of(uint32_t class_id, uint32_t npu)
{
	if (class_id == ACCEL_CLASS_CONTROL || class_id == ACCEL_CLASS_LATENCY)
		return (struct accel_queue_qos){ class_id, 0, BUDGET, PERIOD_NS, npu, npu };
	return (struct accel_queue_qos){ .class_id = class_id };
}

static inline struct accel_queue *queue_of(struct accel_dev *dev, uint32_t npu, uint32_t class_id)
{
	struct accel_queue_qos qos = qos_of(class_id, npu);
	struct accel_queue *queue;

	must_ok(accel_queue_create_qos(dev, npu, &qos, &queue));
	return queue;
}

static inline struct accel_queue *queue_weighing(struct accel_dev *dev, uint32_t npu,
						 uint32_t weight)
{
	struct accel_queue_qos qos = { .weight = weight };
	struct accel_queue *queue;

	must_ok(accel_queue_create_qos(dev, npu, &qos, &queue));
	return queue;
}

static inline struct accel_port_info port_info(struct accel_dev *dev, uint32_t npu, uint32_t side)
{
	struct accel_port_info *ports, found = { .npu = UINT32_MAX };
	uint32_t count, i;

	listed(accel_ports, dev, &ports, &count);
	for (i = 0; i < count; i++)
		if (ports[i].npu == npu && ports[i].side == side)
			found = ports[i];
	free(ports);
	return found;
}

static inline struct accel_class_stats class_stats(struct accel_dev *dev, uint32_t npu,
						   uint32_t class_id)
{
	struct accel_class_stats *stats, found = { .npu = UINT32_MAX };
	uint32_t count, i;

	listed(accel_class_stats, dev, &stats, &count);
	for (i = 0; i < count; i++)
		if (stats[i].npu == npu && stats[i].class_id == class_id)
			found = stats[i];
	free(stats);
	return found;
}

/* Nothing moves, nothing is promised. */
static inline bool ports_rest(struct accel_dev *dev, const uint32_t *npus, unsigned int count)
{
	unsigned int i, side;

	for (i = 0; i < count; i++)
		for (side = 0; side < 2; side++) {
			struct accel_port_info port = port_info(dev, npus[i], side);

			if (port.npu == UINT32_MAX)
				continue;
			if (port.inflight || port.promised || port.reserved)
				return false;
		}
	return true;
}

/*
 * A point that is reached when the test says so, not before: the host could
 * signal a timeline too, but a submit may not wait for what nobody has submitted.
 */
struct gate {
	struct accel_dev *dev;
	uint32_t npu;
	struct accel_queue *queue;
	struct accel_buffer *buffer;
	struct accel_point point;
};

static inline void gate_shut(struct gate *gate, struct accel_dev *dev)
{
	gate->dev = dev;
	gate->npu = npu_add(dev, KIB(64), SLOW_NS);
	gate->queue = queue_on(dev, gate->npu);
	gate->buffer = buffer_on(dev, gate->npu, KIB(64));
	gate->point = (struct accel_point){ timeline_new(dev), 1 };
	must_ok(submit_slow(gate->queue, gate->buffer, &gate->point, NULL));
}

static inline void gate_open(struct gate *gate)
{
	accel_queue_destroy(gate->queue);
	gate->queue = NULL;
}

static inline void gate_free(struct gate *gate)
{
	accel_queue_destroy(gate->queue);
	accel_timeline_close(gate->point.timeline);
	accel_buffer_close(gate->buffer);
	accel_npu_remove(gate->dev, gate->npu);
}

/* Copies count times, MANY at most, the same piece; behind the gate if there is one. */
static inline int copy_qos(struct accel_queue *queue, struct accel_buffer *dst,
			   struct accel_buffer *src, uint64_t piece, uint32_t count,
			   const struct gate *gate, const struct accel_submit_qos *qos,
			   uint64_t *seqno, struct accel_admission *admission)
{
	struct accel_seg segs[MANY];
	struct accel_op op = { ACCEL_OP_COPY, count, dst, src, 0, segs };
	struct accel_submit submit = {
		.ops = &op, .op_count = 1,
		.waits = gate ? &gate->point : NULL, .wait_count = gate ? 1 : 0,
	};
	uint32_t i;

	for (i = 0; i < count; i++)
		segs[i] = (struct accel_seg){ 0, 0, piece };
	return accel_queue_submit_qos(queue, &submit, qos, seqno, admission);
}

static inline int run_qos(struct accel_queue *queue, struct accel_buffer *dst,
			  struct accel_buffer *src, uint64_t size,
			  const struct accel_submit_qos *qos)
{
	uint64_t seqno;
	int err = copy_qos(queue, dst, src, size, 1, NULL, qos, &seqno, NULL);

	return err ? err : accel_queue_wait(queue, seqno, LONG_NS, NULL);
}

#endif
