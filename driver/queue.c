// SPDX-License-Identifier: GPL-2.0-only
/*
 * Queues of an open file: making, ending, and waiting for what was submitted.
 */
#include <linux/capability.h>
#include <linux/dma-fence.h>

#include "npool.h"

static void free_queue(struct kref *ref)
{
	struct npool_queue *queue = container_of(ref, struct npool_queue, ref);

	npool_npu_unuse(queue->npu);
	kfree(queue);
}

/** npool_queue_put() - drop a reference; may sleep */
void npool_queue_put(struct npool_queue *queue)
{
	kref_put(&queue->ref, free_queue);
}

/** npool_queue_find() - a queue by its number, referenced, or NULL */
struct npool_queue *npool_queue_find(struct npool_client *client, u32 id)
{
	struct npool_queue *queue;

	xa_lock(&client->queues);
	queue = xa_load(&client->queues, id);
	if (queue)
		kref_get(&queue->ref);
	xa_unlock(&client->queues);
	return queue;
}

static void end(struct npool_queue *queue)
{
	npool_engine_cancel(queue);
	wait_event(queue->wait, !atomic_read(&queue->unfreed));
	npool_engine_detach(queue);
	npool_unreserve(queue);
	npool_queue_put(queue);
}

/** npool_queues_cancel() - end all queues of a file that is being closed */
void npool_queues_cancel(struct npool_client *client)
{
	struct npool_queue *queue;
	unsigned long id;

	/* First all, so that their engines wind down beside each other. */
	xa_for_each(&client->queues, id, queue)
		npool_engine_cancel(queue);
	xa_for_each(&client->queues, id, queue)
		end(queue);
}

static int check_args(const struct drm_npool_queue_create *args)
{
	u32 flags = args->flags;

	if (flags & ~(DRM_NPOOL_QUEUE_SRC | DRM_NPOOL_QUEUE_DST))
		return -EOPNOTSUPP;
	if (args->pad || (flags && !args->budget))
		return -EINVAL;
	if ((!(flags & DRM_NPOOL_QUEUE_SRC) && args->src) ||
	    (!(flags & DRM_NPOOL_QUEUE_DST) && args->dst))
		return -EINVAL;
	return 0;
}

static struct npool_queue *new_queue(struct npool_client *client, struct npool_npu *npu,
				     const struct qos_params *params)
{
	struct npool_queue *queue = kzalloc(sizeof(*queue), GFP_KERNEL_ACCOUNT);

	if (!queue)
		return NULL;
	kref_init(&queue->ref);
	queue->npu = npu;
	queue->client = client;
	queue->context = dma_fence_context_alloc(1);
	queue->params = *params;
	qos_flow_init(&queue->flow, params);
	INIT_LIST_HEAD(&queue->node);
	INIT_LIST_HEAD(&queue->ending);
	INIT_LIST_HEAD(&queue->jobs);
	init_waitqueue_head(&queue->wait);
	return queue;
}

/* Reserved first: nobody may find the queue before it is whole. */
static int publish(struct npool_client *client, struct npool_queue *queue)
{
	struct npool_group *group = kzalloc(sizeof(*group), GFP_KERNEL_ACCOUNT);
	int ret;

	if (!group)
		return -ENOMEM;
	ret = xa_alloc(&client->queues, &queue->id, NULL, XA_LIMIT(1, NPOOL_MAX_QUEUES),
		       GFP_KERNEL_ACCOUNT);
	if (ret) {
		kfree(group);
		return ret == -EBUSY ? -EMFILE : ret;
	}
	ret = npool_engine_attach(queue, group);
	if (ret)
		xa_erase(&client->queues, queue->id);
	return ret;
}

/** npool_queue_create_ioctl() - DRM_IOCTL_NPOOL_QUEUE_CREATE */
int npool_queue_create_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct npool_client *client = file->driver_priv;
	struct drm_npool_queue_create *args = data;
	struct qos_params params = {
		.class = args->class_id,
		.weight = args->weight ?: DRM_NPOOL_WEIGHT,
		.budget = args->budget,
		.period = args->period_ns,
	};
	struct npool_queue *queue;
	struct npool_npu *npu;
	int ret = check_args(args);

	if (ret)
		return ret;
	if (!qos_params_check(&params))
		return -EINVAL;
	if (params.weight > DRM_NPOOL_WEIGHT && !capable(CAP_SYS_ADMIN))
		return -EPERM;
	npu = npool_npu_use(client->pool, args->npu);
	if (IS_ERR(npu))
		return PTR_ERR(npu);
	queue = new_queue(client, npu, &params);
	if (!queue) {
		npool_npu_unuse(npu);
		return -ENOMEM;
	}
	ret = npool_reserve(queue, args);
	if (!ret)
		ret = publish(client, queue);
	if (ret) {
		npool_unreserve(queue);
		npool_queue_put(queue);
		return ret;
	}
	args->queue = queue->id;
	xa_store(&client->queues, queue->id, queue, GFP_KERNEL_ACCOUNT);
	return 0;
}

/** npool_queue_destroy_ioctl() - DRM_IOCTL_NPOOL_QUEUE_DESTROY */
int npool_queue_destroy_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct npool_client *client = file->driver_priv;
	struct drm_npool_queue_destroy *args = data;
	struct npool_queue *queue;

	if (args->pad)
		return -EINVAL;
	/* Who takes it out of the table ends it. A reserved entry is no queue yet. */
	xa_lock(&client->queues);
	queue = xa_load(&client->queues, args->queue);
	if (queue)
		__xa_erase(&client->queues, args->queue);
	xa_unlock(&client->queues);
	if (!queue)
		return -ENOENT;
	end(queue);
	return 0;
}

static bool ended(struct npool_queue *queue, u64 seqno)
{
	struct npool_engine *engine = &queue->npu->engine;
	bool ret;

	spin_lock_irq(&engine->lock);
	ret = queue->done_seqno >= seqno;
	spin_unlock_irq(&engine->lock);
	return ret;
}

static bool submitted(struct npool_queue *queue, u64 seqno)
{
	struct npool_engine *engine = &queue->npu->engine;
	bool ret;

	spin_lock_irq(&engine->lock);
	ret = seqno && seqno <= queue->last_seqno;
	spin_unlock_irq(&engine->lock);
	return ret;
}

static int result(struct npool_queue *queue, struct drm_npool_wait *args)
{
	struct npool_engine *engine = &queue->npu->engine;
	struct npool_failure found = {};
	u32 i;
	int ret = 0;

	spin_lock_irq(&engine->lock);
	for (i = 0; i < NPOOL_MAX_FAILURES; i++)
		if (queue->failures[i].seqno == args->seqno)
			found = queue->failures[i];
	if (!found.seqno && queue->lost_first && args->seqno >= queue->lost_first &&
	    args->seqno <= queue->lost_last)
		ret = -ENODATA;
	spin_unlock_irq(&engine->lock);
	if (ret)
		return ret;
	args->error = found.error;
	args->op = found.op;
	args->npu = found.npu;
	return 0;
}

/* The timeout is a moment, so a call that a signal interrupts can just be made again. */
static int wait(struct npool_queue *queue, u64 seqno, s64 timeout_ns)
{
	ktime_t left = KTIME_MAX;

	if (ended(queue, seqno))
		return 0;
	if (timeout_ns != S64_MAX) {
		left = ktime_get() < timeout_ns ? timeout_ns - ktime_get() : 0;
		if (left <= 0)
			return -ETIME;
	}
	return wait_event_interruptible_hrtimeout(queue->wait, ended(queue, seqno), left);
}

/** npool_wait_ioctl() - DRM_IOCTL_NPOOL_WAIT */
int npool_wait_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_npool_wait *args = data;
	struct npool_queue *queue;
	int ret;

	if (args->flags)
		return -EOPNOTSUPP;
	if (args->pad)
		return -EINVAL;
	queue = npool_queue_find(file->driver_priv, args->queue);
	if (!queue)
		return -ENOENT;
	ret = submitted(queue, args->seqno) ? 0 : -EINVAL;
	if (!ret)
		ret = wait(queue, args->seqno, args->timeout_ns);
	if (!ret)
		ret = result(queue, args);
	npool_queue_put(queue);
	return ret;
}
