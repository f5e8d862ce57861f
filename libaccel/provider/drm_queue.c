// SPDX-License-Identifier: MIT
/*
 * Queues of the drm provider, and accel_copy() over queues of its own.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "drm.h"

/* A caller's segments go to the kernel as they are. */
_Static_assert(sizeof(struct accel_seg) == sizeof(struct drm_npool_seg) &&
	       offsetof(struct accel_seg, src_offset) == offsetof(struct drm_npool_seg, src_offset) &&
	       offsetof(struct accel_seg, size) == offsetof(struct drm_npool_seg, size),
	       "segments differ");

static int fd_of(const struct accel_queue *queue)
{
	return ((struct drm_dev *)queue->dev)->fd;
}

/* Queues kept for copies must not be what a caller lacks. */
static int create(struct drm_dev *dev, struct drm_npool_queue_create *arg)
{
	int err = drm_kernel_queue_create(dev->fd, arg);

	if (err != -EMFILE)
		return err;
	drm_copiers_drop(dev, ANY_NPU);
	return drm_kernel_queue_create(dev->fd, arg);
}

static void take_queue_qos(const struct accel_queue_qos *qos, struct drm_npool_queue_create *arg)
{
	arg->class_id = qos->class_id;
	/* Zero is the same, and what a driver without classes understands. */
	arg->weight = qos->weight == DRM_NPOOL_WEIGHT ? 0 : qos->weight;
	arg->budget = qos->budget;
	arg->period_ns = qos->period_ns;
	if (qos->budget && qos->src != ACCEL_NPU_ANY) {
		arg->flags |= DRM_NPOOL_QUEUE_SRC;
		arg->src = qos->src;
	}
	if (qos->budget && qos->dst != ACCEL_NPU_ANY) {
		arg->flags |= DRM_NPOOL_QUEUE_DST;
		arg->dst = qos->dst;
	}
}

int drm_queue_create(struct accel_dev *dev, uint32_t npu, const struct accel_queue_qos *qos,
		     struct accel_queue **queue)
{
	struct drm_npool_queue_create arg = { .npu = npu };
	struct drm_queue *new;
	int err;

	new = calloc(1, sizeof(*new));
	if (!new)
		return -ENOMEM;
	take_queue_qos(qos, &arg);
	err = create((struct drm_dev *)dev, &arg);
	if (err) {
		free(new);
		return err;
	}
	new->base.dev = dev;
	new->id = arg.queue;
	*queue = &new->base;
	return 0;
}

void drm_queue_destroy(struct accel_queue *queue)
{
	drm_kernel_queue_destroy(fd_of(queue), ((struct drm_queue *)queue)->id);
	free(queue);
}

static void take_ops(const struct accel_submit *submit, struct drm_npool_op *ops)
{
	for (uint32_t i = 0; i < submit->op_count; i++) {
		const struct accel_op *op = &submit->ops[i];

		ops[i] = (struct drm_npool_op) {
			.type = op->type,
			.dst = ((struct drm_buffer *)op->dst)->handle,
			.src = op->src ? ((struct drm_buffer *)op->src)->handle : 0,
			.pattern = op->pattern,
			.segs = (uintptr_t)op->segs,
			.seg_count = op->seg_count,
			.seg_stride = sizeof(struct accel_seg),
		};
	}
}

static void take_points(const struct accel_point *points, uint32_t count,
			struct drm_npool_sync *syncs)
{
	for (uint32_t i = 0; i < count; i++)
		syncs[i] = (struct drm_npool_sync) {
			.handle = ((struct drm_timeline *)points[i].timeline)->handle,
			.point = points[i].value,
		};
}

int drm_queue_submit(struct accel_queue *queue, const struct accel_submit *submit,
		     const struct accel_submit_qos *qos, uint64_t *seqno,
		     struct accel_admission *admission)
{
	struct drm_npool_submit arg = {
		.queue = ((struct drm_queue *)queue)->id, .flags = qos->flags,
		.class_id = qos->class_id, .weight = qos->weight, .deadline_ns = qos->deadline_ns,
		.op_count = submit->op_count, .op_stride = sizeof(struct drm_npool_op),
		.wait_count = submit->wait_count, .signal_count = submit->signal_count,
		.sync_stride = sizeof(struct drm_npool_sync),
	};
	struct drm_npool_sync *waits, *signals;
	struct drm_npool_op *ops;
	int err;

	ops = malloc(submit->op_count * sizeof(*ops) +
		     (submit->wait_count + submit->signal_count) * sizeof(*waits) + 1);
	if (!ops)
		return -ENOMEM;
	waits = (struct drm_npool_sync *)(ops + submit->op_count);
	signals = waits + submit->wait_count;
	take_ops(submit, ops);
	take_points(submit->waits, submit->wait_count, waits);
	take_points(submit->signals, submit->signal_count, signals);
	arg.ops = (uintptr_t)ops;
	arg.waits = (uintptr_t)waits;
	arg.signals = (uintptr_t)signals;
	err = drm_kernel_submit(fd_of(queue), &arg);
	free(ops);
	if (!err)
		*seqno = arg.seqno;
	if (!err || err == -EBUSY)
		*admission = (struct accel_admission){ arg.reason, arg.earliest_ns };
	return err;
}

int drm_queue_wait(struct accel_queue *queue, uint64_t seqno, int64_t deadline_ns,
		   struct accel_result *result)
{
	struct drm_npool_wait arg = {
		.queue = ((struct drm_queue *)queue)->id, .seqno = seqno,
		.timeout_ns = deadline_ns,
	};
	int err = drm_kernel_wait(fd_of(queue), &arg);

	if (err)
		return err;
	*result = (struct accel_result){ arg.error, arg.op, arg.npu };
	return arg.error;
}

/* Ends idle queues of an NPU, or of all; one in use goes with its last user's next copy. */
void drm_copiers_drop(struct drm_dev *dev, uint32_t npu)
{
	struct drm_copier **at, *copier;

	pthread_mutex_lock(&dev->lock);
	for (at = &dev->copiers; (copier = *at);) {
		if (copier->users || (npu != ANY_NPU && copier->npu != npu)) {
			at = &copier->next;
			continue;
		}
		*at = copier->next;
		drm_kernel_queue_destroy(dev->fd, copier->queue);
		free(copier);
	}
	pthread_mutex_unlock(&dev->lock);
}

/* Device lock held. */
static int find_copier(struct drm_dev *dev, uint32_t npu, struct drm_copier **copier)
{
	struct drm_npool_queue_create arg = { .npu = npu };
	struct drm_copier *new;
	int err;

	for (new = dev->copiers; new; new = new->next)
		if (new->npu == npu)
			goto found;
	new = calloc(1, sizeof(*new));
	if (!new)
		return -ENOMEM;
	err = drm_kernel_queue_create(dev->fd, &arg);
	if (err) {
		free(new);
		return err;
	}
	new->npu = npu;
	new->queue = arg.queue;
	new->next = dev->copiers;
	dev->copiers = new;
found:
	new->users++;
	*copier = new;
	return 0;
}

static int get_copier(struct drm_dev *dev, uint32_t npu, struct drm_copier **copier)
{
	int err;

	pthread_mutex_lock(&dev->lock);
	err = find_copier(dev, npu, copier);
	pthread_mutex_unlock(&dev->lock);
	return err;
}

static void put_copier(struct drm_dev *dev, struct drm_copier *copier)
{
	pthread_mutex_lock(&dev->lock);
	copier->users--;
	pthread_mutex_unlock(&dev->lock);
}

static int copy_on(struct drm_dev *dev, uint32_t queue, const struct drm_npool_op *op)
{
	struct drm_npool_submit submit = {
		.queue = queue, .ops = (uintptr_t)op, .op_count = 1, .op_stride = sizeof(*op),
		.sync_stride = sizeof(struct drm_npool_sync),
	};
	struct drm_npool_wait wait = { .queue = queue, .timeout_ns = INT64_MAX };
	int err;

	err = drm_kernel_submit(dev->fd, &submit);
	if (err)
		return err;
	wait.seqno = submit.seqno;
	err = drm_kernel_wait(dev->fd, &wait);
	return err ? err : wait.error;
}

/* Foreign memory has no engine of its own: the other side's moves it, or any. */
static int engine_for(struct drm_dev *dev, const struct drm_buffer *dst,
		      const struct drm_buffer *src, uint32_t *npu)
{
	if (dst->foreign && src->foreign)
		return drm_npu_any(dev, npu);
	*npu = dst->foreign ? src->npu : dst->npu;
	return 0;
}

int drm_copy(struct accel_buffer *dst, uint64_t dst_offset, struct accel_buffer *src,
	     uint64_t src_offset, uint64_t size, uint32_t flags)
{
	struct drm_dev *dev = (struct drm_dev *)dst->dev;
	struct accel_seg seg = { dst_offset, src_offset, size };
	struct drm_npool_op op = {
		.type = DRM_NPOOL_OP_COPY,
		.dst = ((struct drm_buffer *)dst)->handle,
		.src = ((struct drm_buffer *)src)->handle,
		.segs = (uintptr_t)&seg, .seg_count = 1, .seg_stride = sizeof(seg),
	};
	struct drm_copier *copier;
	uint32_t npu;
	int err;

	(void)flags;
	err = engine_for(dev, (struct drm_buffer *)dst, (struct drm_buffer *)src, &npu);
	if (err)
		return err;
	err = get_copier(dev, npu, &copier);
	if (err)
		return err;
	err = copy_on(dev, copier->queue, &op);
	put_copier(dev, copier);
	/* A dead NPU is listed as long as a queue of it is there. */
	if (err == -ENODEV)
		drm_copiers_drop(dev, npu);
	return err;
}
