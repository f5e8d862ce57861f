// SPDX-License-Identifier: GPL-2.0-only
/*
 * The fence of a submit. It may be held by anybody for as long as they like, so
 * it refers to nothing of its queue, and holds this module for its ops.
 */
#include <linux/dma-fence.h>
#include <linux/module.h>

#include "npool.h"

struct npool_fence {
	struct dma_fence base;
	/* The base's. */
	spinlock_t lock;
	char timeline[NPOOL_NAME_LEN];
};

static struct npool_fence *to_fence(struct dma_fence *base)
{
	return container_of(base, struct npool_fence, base);
}

static const char *driver_name(struct dma_fence *base)
{
	return "npool";
}

static const char *timeline_name(struct dma_fence *base)
{
	return to_fence(base)->timeline;
}

static void release(struct dma_fence *base)
{
	kfree_rcu(to_fence(base), base.rcu);
	module_put(THIS_MODULE);
}

static const struct dma_fence_ops ops = {
	.get_driver_name = driver_name,
	.get_timeline_name = timeline_name,
	.release = release,
};

/** npool_fence_new() - memory for a fence */
struct npool_fence *npool_fence_new(void)
{
	return kzalloc(sizeof(struct npool_fence), GFP_KERNEL_ACCOUNT);
}

/** npool_fence_init() - make it the fence of a job that has its number */
void npool_fence_init(struct npool_fence *fence, const struct npool_job *job)
{
	const struct npool_queue *queue = job->queue;

	spin_lock_init(&fence->lock);
	snprintf(fence->timeline, sizeof(fence->timeline), "npu%u.client%llu.queue%u",
		 queue->npu->id, queue->client->id, queue->id);
	__module_get(THIS_MODULE);
	dma_fence_init(&fence->base, &ops, &fence->lock, queue->context, job->seqno);
}

/** npool_fence_base() - what others see of it */
struct dma_fence *npool_fence_base(struct npool_fence *fence)
{
	return &fence->base;
}

/** npool_fence_drop() - give up a fence, whether it was made one or not; may be NULL */
void npool_fence_drop(struct npool_fence *fence)
{
	if (fence && fence->base.ops)
		dma_fence_put(&fence->base);
	else
		kfree(fence);
}
