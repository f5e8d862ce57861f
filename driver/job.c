// SPDX-License-Identifier: GPL-2.0-only
/*
 * A submit in the kernel: its memory, and one step of its work. The cursor in
 * the job is all that a step leaves behind, so that a job can be cut anywhere.
 */
#include <linux/dma-fence.h>

#include "npool.h"

static void give_back(struct npool_job *job)
{
	u32 i;

	for (i = 0; i < job->use_count; i++) {
		if (job->uses[i].access)
			npool_foreign_end(job->uses[i].bo, job->uses[i].write);
		npool_bo_put(job->uses[i].bo);
	}
	for (i = 0; i < job->wait_count; i++)
		dma_fence_put(job->waits[i].fence);
	npool_fence_drop(job->fence);
	kvfree(job->uses);
	kvfree(job->waits);
	kvfree(job->segs);
	kvfree(job->ops);
	kfree(job);
}

/** npool_job_put() - drop a reference; may sleep */
void npool_job_put(struct npool_job *job)
{
	struct npool_queue *queue = job->queue;
	bool queued = job->seqno;

	if (!refcount_dec_and_test(&job->ref))
		return;
	give_back(job);
	if (queued) {
		atomic_dec(&queue->unfreed);
		wake_up_all(&queue->wait);
	}
	npool_queue_put(queue);
}

static void retire(struct work_struct *work)
{
	npool_job_put(container_of(work, struct npool_job, free));
}

/** npool_job_new() - an empty job, to which the caller's reference to @queue goes */
struct npool_job *npool_job_new(struct npool_queue *queue)
{
	struct npool_job *job = kzalloc(sizeof(*job), GFP_KERNEL_ACCOUNT);

	if (!job)
		return NULL;
	job->fence = npool_fence_new();
	if (!job->fence) {
		kfree(job);
		return NULL;
	}
	job->queue = queue;
	refcount_set(&job->ref, 1);
	atomic_set(&job->pending, 1);
	INIT_WORK(&job->free, retire);
	return job;
}

/** npool_job_retire() - drop the engine's reference, later, where sleeping is allowed */
void npool_job_retire(struct npool_job *job)
{
	queue_work(job->queue->client->pool->wq, &job->free);
}

/** npool_job_fail() - note why a job failed */
void npool_job_fail(struct npool_job *job, int error, u32 npu)
{
	job->failure = (struct npool_failure){
		.seqno = job->seqno,
		.error = error,
		.op = job->op,
		.npu = npu,
	};
}

static void advance(struct npool_job *job, u64 bytes)
{
	const struct npool_op *op = &job->ops[job->op];

	job->bytes += bytes;
	job->done += bytes;
	if (job->done < op->segs[job->seg].size)
		return;
	job->done = 0;
	if (++job->seg < op->seg_count)
		return;
	job->seg = 0;
	job->op++;
}

static int locate(struct npool_job *job, struct npool_bo *bo, u64 offset, u64 *bytes,
		  struct npool_place *place)
{
	int ret = npool_bo_place(bo, offset, bytes, place);

	if (ret)
		npool_job_fail(job, ret, place->npu->id);
	return ret;
}

/* One contiguous move at the cursor; *budget is lowered by what it took. */
static int move(struct npool_job *job, u64 *budget)
{
	const struct npool_op *op = &job->ops[job->op];
	const struct drm_npool_seg *seg = &op->segs[job->seg];
	struct npool_npu *npu = job->queue->npu;
	struct drm_npool_npu_stats *stats = &npu->engine.stats;
	u64 bytes = min(seg->size - job->done, *budget);
	struct npool_place dst, src = {};
	struct npool_xfer xfer;
	bool copy = op->type == DRM_NPOOL_OP_COPY;
	bool start = !job->seg && !job->done;
	int ret;

	ret = locate(job, op->dst, seg->dst_offset + job->done, &bytes, &dst);
	if (!ret && copy)
		ret = locate(job, op->src, seg->src_offset + job->done, &bytes, &src);
	if (ret)
		return ret;
	xfer = (struct npool_xfer){
		.dst = dst.addr,
		.src = src.addr,
		.dst_page = dst.page,
		.src_page = src.page,
		.bytes = bytes,
		.pattern = (__force u64)cpu_to_le64(ror64(op->pattern, job->done % 8 * 8)),
		.start = start,
	};
	ret = copy ? npu->ops->copy(npu->hw, &xfer) : npu->ops->fill(npu->hw, &xfer);
	if (ret) {
		npool_job_fail(job, ret, npu->id);
		return ret;
	}
	if (copy)
		WRITE_ONCE(stats->bytes_copied, stats->bytes_copied + bytes);
	else
		WRITE_ONCE(stats->bytes_filled, stats->bytes_filled + bytes);
	*budget -= min(*budget, bytes + (start ? npu->engine.start_cost : 0));
	advance(job, bytes);
	return 0;
}

/**
 * npool_job_step() - go on with a job
 * @job: the engine's current
 * @window: most bytes to move, starts of operations counted by what they cost
 *
 * Return: true when the job has ended, well or not.
 */
bool npool_job_step(struct npool_job *job, u64 window)
{
	struct npool_npu *npu = job->queue->npu;

	if (npu->ops->health(npu->hw)) {
		npool_job_fail(job, -ENODEV, npu->id);
		npool_npu_died(npu);
		return true;
	}
	while (window && job->op < job->op_count)
		if (move(job, &window))
			return true;
	return job->op == job->op_count;
}
