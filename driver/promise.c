// SPDX-License-Identifier: GPL-2.0-only
/*
 * Promises: what a submit with a deadline holds at the ports that it touches,
 * from its admission until its bytes have moved, it is late, or it has ended.
 * What an open file has been promised is counted by port, so that none of them
 * can have all.
 */
#include <linux/capability.h>
#include <linux/slab.h>

#include "npool.h"

/* Bytes of a submit by port. */
struct tally {
	u32 count;
	u32 port[NPOOL_MAX_PORTS];
	u64 bytes[NPOOL_MAX_PORTS];
};

static int count(struct tally *tally, u32 port, u64 bytes)
{
	u32 i;

	for (i = 0; i < tally->count && tally->port[i] != port; i++)
		;
	if (i == NPOOL_MAX_PORTS)
		return -E2BIG;
	if (i == tally->count) {
		tally->port[tally->count++] = port;
		tally->bytes[i] = 0;
	}
	tally->bytes[i] += bytes;
	return 0;
}

/* Bytes of a striped buffer before @offset that lie on a part. */
static u64 part_bytes(const struct npool_bo *bo, u64 offset, u32 index)
{
	u64 round = bo->stripe * bo->part_count, rest;
	u64 rounds = div64_u64_rem(offset, round, &rest), start = bo->stripe * index;

	return rounds * bo->stripe + (rest > start ? min(rest - start, bo->stripe) : 0);
}

static int count_range(struct tally *tally, const struct npool_bo *bo, u64 offset, u64 size,
		       u32 side)
{
	u64 first, stripes;
	u32 i;
	int ret = 0;

	if (bo->dmabuf)
		return 0;
	if (!bo->stripe)
		return count(tally, npool_port(bo->parts->npu->slot, side), size);
	first = div64_u64(offset, bo->stripe);
	stripes = div64_u64(offset + size - 1, bo->stripe) - first + 1;
	stripes = min_t(u64, stripes, bo->part_count);
	for (i = 0; i < stripes && !ret; i++) {
		u32 index;

		div_u64_rem(first + i, bo->part_count, &index);
		ret = count(tally, npool_port(bo->parts[index].npu->slot, side),
			    part_bytes(bo, offset + size, index) - part_bytes(bo, offset, index));
	}
	return ret;
}

static int count_all(struct tally *tally, const struct npool_job *job)
{
	const struct drm_npool_seg *seg;
	const struct npool_op *op;
	int ret = 0;

	for (op = job->ops; op < job->ops + job->op_count; op++)
		for (seg = op->segs; seg < op->segs + op->seg_count && !ret; seg++) {
			if (op->src)
				ret = count_range(tally, op->src, seg->src_offset, seg->size, 0);
			if (!ret)
				ret = count_range(tally, op->dst, seg->dst_offset, seg->size, 1);
		}
	return ret;
}

/* The file's account, made once. */
static int open_account(struct npool_client *client)
{
	u64 *promised;

	if (READ_ONCE(client->promised))
		return 0;
	promised = kvcalloc(client->pool->ports.count, sizeof(*promised), GFP_KERNEL_ACCOUNT);
	if (!promised)
		return -ENOMEM;
	if (cmpxchg(&client->promised, NULL, promised))
		kvfree(promised);
	return 0;
}

/** npool_promise_prepare() - all that admission will need, for a job that has its operations */
int npool_promise_prepare(struct npool_job *job)
{
	struct tally tally = {};
	u32 i;
	int ret;

	if (job->class != DRM_NPOOL_CLASS_DEADLINE || !job->deadline)
		return 0;
	job->exempt = capable(CAP_SYS_ADMIN);
	ret = open_account(job->queue->client);
	if (ret)
		return ret;
	if (count_all(&tally, job)) {
		job->reason = DRM_NPOOL_REASON_WIDE;
		return 0;
	}
	job->demands = kcalloc(tally.count ?: 1, sizeof(*job->demands), GFP_KERNEL_ACCOUNT);
	if (!job->demands)
		return -ENOMEM;
	for (i = 0; i < tally.count; i++) {
		job->demands[i].port = tally.port[i];
		job->demands[i].bytes = tally.bytes[i];
	}
	job->demand_count = tally.count;
	return 0;
}

static u32 admit(struct npool_job *job, u64 deadline, u64 now)
{
	struct npool_client *client = job->queue->client;
	u64 held[NPOOL_MAX_PORTS];
	u32 i;

	for (i = 0; i < job->demand_count; i++)
		held[i] = client->promised[job->demands[i].port];
	return qos_admit(&client->pool->ports, job->demands, job->demand_count, held,
			 job->exempt ? 1024 : NPOOL_SHARE, deadline, now, &job->earliest);
}

/* Whether what is before a job in its queue is promised for no later. */
static bool in_order(const struct npool_job *job, const struct npool_job *before)
{
	return !before || (before->promised && before->deadline <= job->deadline);
}

static void decide(struct npool_job *job, const struct npool_job *before)
{
	u64 now = ktime_get_ns();

	if (job->reason)
		return;
	if (!job->exempt && job->queue->client->promises >= NPOOL_MAX_PROMISES) {
		job->reason = DRM_NPOOL_REASON_SHARE;
		return;
	}
	if (in_order(job, before)) {
		job->reason = admit(job, job->deadline, now);
		return;
	}
	/* A deadline of now is refused, but tells the earliest. */
	admit(job, now, now);
	if (!before->promised)
		job->earliest = 0;
	else if (job->earliest)
		job->earliest = max(job->earliest, before->deadline);
	job->reason = DRM_NPOOL_REASON_ORDER;
}

/**
 * npool_promise_admit() - promise a job's deadline, if it has one that asks for it
 * @job: as npool_promise_prepare() left it
 * @before: the last of its queue, NULL if there is none
 *
 * Return: false if it is refused; why is in the job.
 */
bool npool_promise_admit(struct npool_job *job, const struct npool_job *before)
{
	struct npool_client *client = job->queue->client;
	u32 i;

	lockdep_assert_held(&job->queue->npu->engine.lock);
	if (job->class != DRM_NPOOL_CLASS_DEADLINE || !job->deadline)
		return true;
	spin_lock(&client->pool->qos_lock);
	decide(job, before);
	if (!job->reason) {
		job->promised = true;
		job->earliest = 0;
		client->promises++;
		for (i = 0; i < job->demand_count; i++)
			client->promised[job->demands[i].port] += job->demands[i].bytes;
	}
	spin_unlock(&client->pool->qos_lock);
	return job->promised;
}

/** npool_promise_moved() - part of a job is done */
void npool_promise_moved(struct npool_job *job, const struct npool_span *span, u64 bytes)
{
	struct npool_client *client = job->queue->client;
	u32 i;

	lockdep_assert_held(&client->pool->qos_lock);
	for (i = 0; job->promised && i < job->demand_count; i++) {
		struct qos_demand *demand = &job->demands[i];
		u64 before = demand->bytes;

		if (demand->port != span->port[0] && demand->port != span->port[1])
			continue;
		qos_demand_moved(&client->pool->ports, demand, bytes);
		client->promised[demand->port] -= before - demand->bytes;
	}
}

/** npool_promise_end() - nothing is promised to a job any more, if anything was */
void npool_promise_end(struct npool_job *job)
{
	struct npool_client *client = job->queue->client;
	u32 i;

	lockdep_assert_held(&client->pool->qos_lock);
	if (!job->promised)
		return;
	for (i = 0; i < job->demand_count; i++) {
		client->promised[job->demands[i].port] -= job->demands[i].bytes;
		qos_demand_end(&client->pool->ports, &job->demands[i]);
	}
	job->promised = false;
	client->promises--;
}
