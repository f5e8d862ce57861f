// SPDX-License-Identifier: MIT
/*
 * Queues and copies, as far as they need no provider: that the objects of a
 * submit are there and belong to the queue's device, that classes,
 * reservations and weights make sense.
 */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#include "clock.h"
#include "provider.h"

#define MIN_PERIOD_NS	10000ull
#define MAX_PERIOD_NS	1000000000ull
#define MAX_BUDGET	(1ull << 32)

static bool is_reserved(uint32_t class_id)
{
	return class_id == ACCEL_CLASS_CONTROL || class_id == ACCEL_CLASS_LATENCY;
}

static int check_queue_qos(const struct accel_queue_qos *qos)
{
	if (qos->class_id >= ACCEL_CLASSES || qos->weight > ACCEL_MAX_WEIGHT)
		return -EINVAL;
	if (!is_reserved(qos->class_id))
		return qos->budget || qos->period_ns || qos->src || qos->dst ? -EINVAL : 0;
	if (!qos->budget || qos->budget > MAX_BUDGET || qos->period_ns < MIN_PERIOD_NS ||
	    qos->period_ns > MAX_PERIOD_NS)
		return -EINVAL;
	return 0;
}

static int check_submit_qos(const struct accel_queue *queue, const struct accel_submit_qos *qos)
{
	if (qos->flags & ~(ACCEL_SUBMIT_CLASS | ACCEL_SUBMIT_ANYWAY))
		return -EOPNOTSUPP;
	if (!(qos->flags & ACCEL_SUBMIT_CLASS))
		return qos->class_id || qos->weight ? -EINVAL : 0;
	if (qos->class_id >= ACCEL_CLASSES || qos->weight > ACCEL_MAX_WEIGHT)
		return -EINVAL;
	/* Only the queue that reserved has a reservation. */
	return is_reserved(qos->class_id) && qos->class_id != queue->class_id ? -EINVAL : 0;
}

static int check_op(const struct accel_dev *dev, const struct accel_op *op)
{
	switch (op->type) {
	case ACCEL_OP_COPY:
		if (!op->src || op->src->dev != dev || op->pattern)
			return -EINVAL;
		break;
	case ACCEL_OP_FILL:
		if (op->src)
			return -EINVAL;
		break;
	default:
		return -EOPNOTSUPP;
	}
	if (!op->dst || op->dst->dev != dev || !op->segs || !op->seg_count)
		return -EINVAL;
	return 0;
}

static int check_points(const struct accel_dev *dev, const struct accel_point *points,
			uint32_t count)
{
	if (count && !points)
		return -EINVAL;
	for (uint32_t i = 0; i < count; i++)
		if (!points[i].timeline || points[i].timeline->dev != dev || !points[i].value)
			return -EINVAL;
	return 0;
}

static int check_submit(const struct accel_queue *queue, const struct accel_submit *submit)
{
	const struct accel_dev *dev = queue->dev;
	int err;

	if (submit->op_count && !submit->ops)
		return -EINVAL;
	/* Before anything of the arrays is read: a wild count must not be followed. */
	if (submit->op_count > dev->max_ops || submit->wait_count > dev->max_syncs ||
	    submit->signal_count > dev->max_syncs)
		return -EINVAL;
	for (uint32_t i = 0; i < submit->op_count; i++) {
		err = check_op(dev, &submit->ops[i]);
		if (err)
			return err;
	}
	err = check_points(dev, submit->waits, submit->wait_count);
	return err ? err : check_points(dev, submit->signals, submit->signal_count);
}

int accel_queue_create_qos(struct accel_dev *dev, uint32_t npu, const struct accel_queue_qos *qos,
			   struct accel_queue **queue)
{
	struct accel_queue_qos wanted;
	int err;

	if (!dev || !qos || !queue)
		return -EINVAL;
	wanted = *qos;
	err = check_queue_qos(&wanted);
	if (err)
		return err;
	if (!wanted.weight)
		wanted.weight = ACCEL_WEIGHT;
	err = dev->ops->queue_create(dev, npu, &wanted, queue);
	if (!err)
		(*queue)->class_id = wanted.class_id;
	return err;
}

int accel_queue_create(struct accel_dev *dev, uint32_t npu, struct accel_queue **queue)
{
	static const struct accel_queue_qos bulk = { .class_id = ACCEL_CLASS_BULK };

	return accel_queue_create_qos(dev, npu, &bulk, queue);
}

void accel_queue_destroy(struct accel_queue *queue)
{
	if (queue)
		queue->dev->ops->queue_destroy(queue);
}

int accel_queue_submit_qos(struct accel_queue *queue, const struct accel_submit *submit,
			   const struct accel_submit_qos *qos, uint64_t *seqno,
			   struct accel_admission *admission)
{
	static const struct accel_submit_qos plain = { 0 };
	struct accel_admission told = { 0 };
	uint64_t number;
	int err;

	if (!queue || !submit)
		return -EINVAL;
	if (!qos)
		qos = &plain;
	err = check_submit_qos(queue, qos);
	if (!err)
		err = check_submit(queue, submit);
	if (!err)
		err = queue->dev->ops->queue_submit(queue, submit, qos, &number, &told);
	if (!err && seqno)
		*seqno = number;
	if ((!err || err == -EBUSY) && admission)
		*admission = told;
	return err;
}

int accel_queue_submit(struct accel_queue *queue, const struct accel_submit *submit,
		       uint64_t *seqno)
{
	return accel_queue_submit_qos(queue, submit, NULL, seqno, NULL);
}

int accel_queue_wait(struct accel_queue *queue, uint64_t seqno, int64_t timeout_ns,
		     struct accel_result *result)
{
	struct accel_result unread;

	if (!queue)
		return -EINVAL;
	return queue->dev->ops->queue_wait(queue, seqno, clock_deadline(timeout_ns),
					   result ? result : &unread);
}

int accel_copy(struct accel_buffer *dst, uint64_t dst_offset, struct accel_buffer *src,
	       uint64_t src_offset, uint64_t size, uint32_t flags)
{
	if (!dst || !src || dst->dev != src->dev || !size)
		return -EINVAL;
	if (flags & ~ACCEL_COPY_WILL_READ)
		return -EOPNOTSUPP;
	return dst->dev->ops->copy(dst, dst_offset, src, src_offset, size, flags);
}
