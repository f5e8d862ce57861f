// SPDX-License-Identifier: GPL-2.0-only
/*
 * DRM_IOCTL_NPOOL_SUBMIT. Everything that can fail comes first: reading,
 * checking, allocating, mapping foreign memory, locking. Then the job is pushed,
 * with its deadline promised or refused, and from there on nothing fails.
 */
#include <linux/capability.h>
#include <linux/dma-fence-chain.h>
#include <linux/dma-resv.h>

#include <drm/drm_exec.h>
#include <drm/drm_syncobj.h>

#include "npool.h"

struct signal {
	struct drm_syncobj *syncobj;
	struct dma_fence_chain *chain;
	u64 point;
};

struct signals {
	struct signal *list;
	u32 count;
};

static void free_signals(struct signals *signals)
{
	u32 i;

	for (i = 0; i < signals->count; i++) {
		drm_syncobj_put(signals->list[i].syncobj);
		dma_fence_chain_free(signals->list[i].chain);
	}
	kvfree(signals->list);
}

static int find_syncobjs(struct signals *signals, const struct drm_npool_sync *syncs, u32 count,
			 struct drm_file *file)
{
	u32 i;

	signals->list = kvcalloc(count, sizeof(*signals->list), GFP_KERNEL_ACCOUNT);
	if (!signals->list)
		return -ENOMEM;
	for (i = 0; i < count; i++) {
		struct signal *signal = &signals->list[i];

		signal->syncobj = drm_syncobj_find(file, syncs[i].handle);
		if (!signal->syncobj)
			return -ENOENT;
		signals->count++;
		signal->point = syncs[i].point;
		signal->chain = dma_fence_chain_alloc();
		if (!signal->chain)
			return -ENOMEM;
	}
	return 0;
}

static int parse_signals(struct signals *signals, const struct drm_npool_submit *args,
			 struct drm_file *file)
{
	struct drm_npool_sync *syncs;
	int ret;

	syncs = npool_parse_syncs(args->signals, args->signal_count, args->sync_stride);
	if (IS_ERR_OR_NULL(syncs))
		return PTR_ERR_OR_ZERO(syncs);
	ret = find_syncobjs(signals, syncs, args->signal_count, file);
	kvfree(syncs);
	return ret;
}

static int reach_buffers(struct npool_job *job)
{
	u32 i;
	int ret;

	for (i = 0; i < job->use_count; i++) {
		struct npool_bo_use *use = &job->uses[i];

		if (npool_bo_lost(use->bo))
			return -ENODEV;
		if (!use->bo->dmabuf)
			continue;
		ret = npool_foreign_begin(use->bo, use->write);
		if (ret)
			return ret;
		use->access = true;
	}
	return 0;
}

/* Foreign buffers may share a reservation, and each may add a fence to it. */
static int lock_buffers(struct drm_exec *exec, struct npool_job *job)
{
	int ret = 0;
	u32 i;

	drm_exec_until_all_locked(exec) {
		for (i = 0; i < job->use_count; i++) {
			ret = drm_exec_prepare_obj(exec, &job->uses[i].bo->gem, 2);
			drm_exec_retry_on_contention(exec);
			if (ret)
				return ret;
		}
	}
	return ret;
}

/*
 * Importers of our memory wait for what we write. On foreign memory the fence
 * only keeps it in place: were it waited for, the next submit's begin of CPU
 * access would wait for the one before, and queues would be none.
 */
static enum dma_resv_usage usage(const struct npool_bo_use *use)
{
	if (use->bo->dmabuf)
		return DMA_RESV_USAGE_BOOKKEEP;
	return use->write ? DMA_RESV_USAGE_WRITE : DMA_RESV_USAGE_READ;
}

static void fence_buffers(const struct npool_job *job, struct dma_fence *fence)
{
	u32 i;

	for (i = 0; i < job->use_count; i++)
		dma_resv_add_fence(job->uses[i].bo->gem.resv, fence, usage(&job->uses[i]));
}

static void signal_points(struct signals *signals, struct dma_fence *fence)
{
	u32 i;

	for (i = 0; i < signals->count; i++) {
		struct signal *signal = &signals->list[i];

		drm_syncobj_add_point(signal->syncobj, signal->chain, fence, signal->point);
		signal->chain = NULL;
	}
}

static int commit(struct npool_job *job, struct signals *signals, u64 *seqno)
{
	struct drm_exec exec;
	struct dma_fence *fence;
	int ret;

	drm_exec_init(&exec, DRM_EXEC_INTERRUPTIBLE_WAIT | DRM_EXEC_IGNORE_DUPLICATES,
		      job->use_count);
	ret = lock_buffers(&exec, job);
	if (ret)
		goto fini;
	npool_engine_arm(job);
	fence = npool_engine_push(job);
	if (IS_ERR(fence)) {
		npool_engine_disarm(job);
		ret = PTR_ERR(fence);
		goto fini;
	}
	*seqno = fence->seqno;
	fence_buffers(job, fence);
	signal_points(signals, fence);
	dma_fence_put(fence);
fini:
	drm_exec_fini(&exec);
	return ret;
}

static int check_args(const struct drm_npool_submit *args)
{
	if (args->flags & ~(DRM_NPOOL_SUBMIT_CLASS | DRM_NPOOL_SUBMIT_ANYWAY))
		return -EOPNOTSUPP;
	if (args->pad || args->pad2)
		return -EINVAL;
	if (!(args->flags & DRM_NPOOL_SUBMIT_CLASS) && (args->class_id || args->weight))
		return -EINVAL;
	return args->weight > DRM_NPOOL_MAX_WEIGHT ? -EINVAL : 0;
}

/* What the job is for: its queue's purpose, or one that needs no reservation. */
static int set_class(struct npool_job *job, const struct drm_npool_submit *args)
{
	const struct qos_params *params = &job->queue->params;

	job->class = params->class;
	job->weight = args->weight ?: params->weight;
	job->deadline = args->deadline_ns;
	job->anyway = args->flags & DRM_NPOOL_SUBMIT_ANYWAY;
	if (job->weight > max_t(u32, params->weight, DRM_NPOOL_WEIGHT) && !capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (!(args->flags & DRM_NPOOL_SUBMIT_CLASS) || args->class_id == params->class)
		return 0;
	job->class = args->class_id;
	switch (args->class_id) {
	case DRM_NPOOL_CLASS_BULK:
	case DRM_NPOOL_CLASS_DEADLINE:
	case DRM_NPOOL_CLASS_SCRUB:
		return 0;
	default:
		return -EINVAL;
	}
}

/** npool_submit_ioctl() - DRM_IOCTL_NPOOL_SUBMIT */
int npool_submit_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_npool_submit *args = data;
	struct signals signals = {};
	struct npool_queue *queue;
	struct npool_job *job;
	int ret = check_args(args);

	if (ret)
		return ret;
	queue = npool_queue_find(file->driver_priv, args->queue);
	if (!queue)
		return -ENOENT;
	job = npool_job_new(queue);
	if (!job) {
		npool_queue_put(queue);
		return -ENOMEM;
	}
	ret = set_class(job, args);
	if (!ret)
		ret = npool_parse_ops(job, args, file);
	if (!ret)
		ret = npool_promise_prepare(job);
	if (!ret)
		ret = npool_parse_waits(job, args, file);
	if (!ret)
		ret = parse_signals(&signals, args, file);
	if (!ret)
		ret = reach_buffers(job);
	if (!ret)
		ret = commit(job, &signals, &args->seqno);
	if (!ret || job->reason) {
		args->reason = job->reason;
		args->earliest_ns = job->earliest;
	}
	npool_job_put(job);
	free_signals(&signals);
	return ret;
}
