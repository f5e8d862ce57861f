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
	kfree(job->demands);
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

/** npool_job_missed() - whether a job that ends now does so after its deadline */
bool npool_job_missed(const struct npool_job *job, ktime_t now)
{
	return job->deadline && ktime_to_ns(now) > job->deadline;
}

/* Where a job is. */
struct cursor {
	u32 op;
	u32 seg;
	u64 done;
};

static struct cursor advance(const struct npool_job *job, struct cursor at, u64 bytes)
{
	const struct npool_op *op = &job->ops[at.op];

	at.done += bytes;
	if (at.done < op->segs[at.seg].size)
		return at;
	at.done = 0;
	if (++at.seg < op->seg_count)
		return at;
	at.seg = 0;
	at.op++;
	return at;
}

static struct cursor here(const struct npool_job *job)
{
	return (struct cursor){ .op = job->op, .seg = job->seg, .done = job->done };
}

/* What of the segment at a cursor lies between the same ports. */
static struct npool_span piece(const struct npool_job *job, struct cursor at)
{
	const struct npool_op *op = &job->ops[at.op];
	const struct drm_npool_seg *seg = &op->segs[at.seg];
	struct npool_span span = { .bytes = seg->size - at.done };
	u32 src = QOS_NO_PORT, dst;

	if (op->src)
		src = npool_bo_slot(op->src, seg->src_offset + at.done, &span.bytes);
	dst = npool_bo_slot(op->dst, seg->dst_offset + at.done, &span.bytes);
	span.port[0] = npool_port(src, 0);
	span.port[1] = npool_port(dst, 1);
	return span;
}

static bool same_ports(const struct npool_span *a, const struct npool_span *b)
{
	return a->port[0] == b->port[0] && a->port[1] == b->port[1];
}

/**
 * npool_job_ahead() - what a job goes on with, up to about @most bytes; any context
 * @job: has not ended, and is moved by nobody meanwhile
 * @most: at least 1
 */
struct npool_span npool_job_ahead(const struct npool_job *job, u64 most)
{
	struct cursor at = here(job);
	struct npool_span span = piece(job, at), next = span;
	u32 segs;

	for (segs = 1; segs < NPOOL_WINDOW_SEGS && span.bytes < most; segs++) {
		at = advance(job, at, next.bytes);
		if (at.op == job->op_count)
			break;
		next = piece(job, at);
		if (!same_ports(&next, &span))
			break;
		span.bytes += next.bytes;
	}
	span.bytes = min(span.bytes, most);
	return span;
}

static int locate(struct npool_job *job, struct npool_bo *bo, u64 offset, u64 *bytes,
		  struct npool_place *place)
{
	int ret = npool_bo_place(bo, offset, bytes, place);

	if (ret)
		npool_job_fail(job, ret, place->npu->id);
	return ret;
}

/** npool_job_head() - what a job that is ready wants next, for the arbiter; any context */
struct qos_head npool_job_head(const struct npool_job *job)
{
	struct npool_span span = npool_job_ahead(job, 1);

	return (struct qos_head){
		.class = job->class,
		.weight = job->weight,
		.lane = qos_lane(span.port[0], span.port[1]),
		.covered = npool_covered(job->queue, &span),
		.deadline = job->promised ? job->deadline : 0,
		.since = ktime_to_ns(job->ready),
	};
}

/** npool_job_just_ends() - whether it is not to run, or has nothing to move: it needs no room */
bool npool_job_just_ends(const struct npool_job *job)
{
	const struct npool_queue *queue = job->queue;

	return queue->cancelled || queue->npu->engine.dead || !job->op_count;
}

/* One contiguous move at the cursor of at most *bytes, which is lowered to what it took. */
static int move(struct npool_job *job, u64 *bytes)
{
	const struct npool_op *op = &job->ops[job->op];
	const struct drm_npool_seg *seg = &op->segs[job->seg];
	struct npool_npu *npu = job->queue->npu;
	struct drm_npool_npu_stats *stats = &npu->engine.stats;
	struct npool_place dst, src = {};
	struct npool_xfer xfer;
	bool copy = op->type == DRM_NPOOL_OP_COPY;
	int ret;

	ret = locate(job, op->dst, seg->dst_offset + job->done, bytes, &dst);
	if (!ret && copy)
		ret = locate(job, op->src, seg->src_offset + job->done, bytes, &src);
	if (ret)
		return ret;
	xfer = (struct npool_xfer){
		.dst = dst.addr,
		.src = src.addr,
		.dst_page = dst.page,
		.src_page = src.page,
		.bytes = *bytes,
		.pattern = (__force u64)cpu_to_le64(ror64(op->pattern, job->done % 8 * 8)),
		.start = !job->seg && !job->done,
	};
	ret = copy ? npu->ops->copy(npu->hw, &xfer) : npu->ops->fill(npu->hw, &xfer);
	if (ret) {
		npool_job_fail(job, ret, npu->id);
		return ret;
	}
	if (copy)
		WRITE_ONCE(stats->bytes_copied, stats->bytes_copied + *bytes);
	else
		WRITE_ONCE(stats->bytes_filled, stats->bytes_filled + *bytes);
	return 0;
}

/**
 * npool_job_step() - go on with a job for a window
 * @job: the engine's current
 * @span: as npool_job_ahead() said, not longer
 *
 * Less is moved where it takes long, for an NPU that starts each operation slowly
 * must not keep others waiting for all that a window holds.
 *
 * Return: true when the job has ended, well or not.
 */
bool npool_job_step(struct npool_job *job, const struct npool_span *span)
{
	struct npool_npu *npu = job->queue->npu;
	u64 left = span->bytes, end = ktime_get_ns() + NPOOL_WINDOW_NS;

	if (npu->ops->health(npu->hw)) {
		npool_job_fail(job, -ENODEV, npu->id);
		npool_npu_died(npu);
		return true;
	}
	while (left && job->op < job->op_count) {
		struct cursor at = here(job);
		struct npool_span next = piece(job, at);
		u64 bytes = min(next.bytes, left);

		if (!same_ports(&next, span))
			break;
		/* Copying starts slowly: what fits a window is not cut to fill another. */
		if (bytes < next.bytes && next.bytes <= span->bytes && left <= span->bytes / 2)
			break;
		if (move(job, &bytes))
			return true;
		at = advance(job, at, bytes);
		job->op = at.op;
		job->seg = at.seg;
		job->done = at.done;
		job->bytes += bytes;
		left -= bytes;
		if (ktime_get_ns() >= end)
			break;
	}
	return job->op == job->op_count;
}
