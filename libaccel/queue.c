// SPDX-License-Identifier: MIT
/*
 * Queues and copies, as far as they need no provider: that the objects of a
 * submit are there and belong to the queue's device.
 */
#include <errno.h>
#include <stddef.h>

#include "clock.h"
#include "provider.h"

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

int accel_queue_create(struct accel_dev *dev, uint32_t npu, struct accel_queue **queue)
{
	if (!dev || !queue)
		return -EINVAL;
	return dev->ops->queue_create(dev, npu, queue);
}

void accel_queue_destroy(struct accel_queue *queue)
{
	if (queue)
		queue->dev->ops->queue_destroy(queue);
}

int accel_queue_submit(struct accel_queue *queue, const struct accel_submit *submit,
		       uint64_t *seqno)
{
	uint64_t number;
	int err;

	if (!queue || !submit || (submit->op_count && !submit->ops))
		return -EINVAL;
	/* Before anything of the arrays is read: a wild count must not be followed. */
	if (submit->op_count > queue->dev->max_ops || submit->wait_count > queue->dev->max_syncs ||
	    submit->signal_count > queue->dev->max_syncs)
		return -EINVAL;
	for (uint32_t i = 0; i < submit->op_count; i++) {
		err = check_op(queue->dev, &submit->ops[i]);
		if (err)
			return err;
	}
	err = check_points(queue->dev, submit->waits, submit->wait_count);
	if (!err)
		err = check_points(queue->dev, submit->signals, submit->signal_count);
	if (!err)
		err = queue->dev->ops->queue_submit(queue, submit, &number);
	if (!err && seqno)
		*seqno = number;
	return err;
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
