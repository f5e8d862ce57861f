// SPDX-License-Identifier: MIT
/*
 * A job: a submit taken over whole, so that nothing of the caller's is read
 * later, with references to all that it uses.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "soft_queue.h"

static int count_segs(const struct accel_submit *submit, uint64_t *count)
{
	*count = 0;
	for (uint32_t i = 0; i < submit->op_count; i++)
		*count += submit->ops[i].seg_count;
	return *count > SOFT_MAX_SEGS ? -EINVAL : 0;
}

/* The arrays lie behind the job in one piece of memory. */
static struct soft_job *alloc(const struct accel_submit *submit, uint64_t segs,
			      struct accel_seg **seg)
{
	size_t ops = submit->op_count * sizeof(struct soft_op);
	size_t waits = submit->wait_count * sizeof(struct soft_wait);
	size_t signals = submit->signal_count * sizeof(struct soft_signal);
	struct soft_job *job;

	job = calloc(1, sizeof(*job) + ops + waits + signals + segs * sizeof(**seg));
	if (!job)
		return NULL;
	job->ops = (struct soft_op *)(job + 1);
	job->waits = (struct soft_wait *)((char *)job->ops + ops);
	job->signals = (struct soft_signal *)((char *)job->waits + waits);
	*seg = (struct accel_seg *)((char *)job->signals + signals);
	return job;
}

static int take_ops(struct soft_job *job, const struct accel_submit *submit, struct accel_seg *seg)
{
	for (uint32_t i = 0; i < submit->op_count; i++) {
		const struct accel_op *from = &submit->ops[i];
		struct soft_op *op = &job->ops[i];
		int err;

		op->type = from->type;
		op->seg_count = from->seg_count;
		op->dst = (struct soft_buffer *)from->dst;
		op->src = (struct soft_buffer *)from->src;
		op->pattern = from->pattern;
		op->segs = seg;
		memcpy(seg, from->segs, from->seg_count * sizeof(*seg));
		seg += from->seg_count;
		err = soft_move_check(op);
		if (err)
			return err;
		soft_buffer_get(op->dst);
		if (op->src)
			soft_buffer_get(op->src);
		job->op_count++;
	}
	return 0;
}

static void take_points(struct soft_job *job, const struct accel_submit *submit)
{
	for (uint32_t i = 0; i < submit->wait_count; i++) {
		job->waits[i].timeline = (struct soft_timeline *)submit->waits[i].timeline;
		job->waits[i].value = submit->waits[i].value;
		soft_timeline_get(job->waits[i].timeline);
	}
	job->wait_count = submit->wait_count;
	for (uint32_t i = 0; i < submit->signal_count; i++) {
		job->signals[i].timeline = (struct soft_timeline *)submit->signals[i].timeline;
		job->signals[i].value = submit->signals[i].value;
		soft_timeline_get(job->signals[i].timeline);
	}
	job->signal_count = submit->signal_count;
}

/* Before the end is told: who learns of it may count the pool's bytes. */
void soft_job_drop_buffers(struct soft_job *job)
{
	for (uint32_t i = 0; i < job->op_count; i++) {
		soft_buffer_put(job->ops[i].dst);
		if (job->ops[i].src)
			soft_buffer_put(job->ops[i].src);
	}
	job->op_count = 0;
}

void soft_job_free(struct soft_job *job)
{
	soft_job_drop_buffers(job);
	for (uint32_t i = 0; i < job->wait_count; i++)
		soft_timeline_put(job->waits[i].timeline);
	for (uint32_t i = 0; i < job->signal_count; i++)
		soft_timeline_put(job->signals[i].timeline);
	free(job);
}

int soft_job_build(struct soft_queue *queue, const struct accel_submit *submit,
		   struct soft_job **job)
{
	struct soft_job *new;
	struct accel_seg *seg;
	uint64_t segs;
	uint32_t npu;
	int err;

	err = count_segs(submit, &segs);
	if (err)
		return err;
	new = alloc(submit, segs, &seg);
	if (!new)
		return -ENOMEM;
	err = take_ops(new, submit, seg);
	if (err)
		goto out_free;
	take_points(new, submit);
	err = -EINVAL;
	for (uint32_t i = 0; i < new->wait_count; i++)
		if (soft_timeline_submitted(new->waits[i].timeline) < new->waits[i].value)
			goto out_free;
	err = -ENODEV;
	if (atomic_load(&queue->engine->npu->state) != SOFT_NPU_ONLINE)
		goto out_free;
	for (uint32_t i = 0; i < new->op_count; i++)
		if (soft_move_lost(new->ops[i].dst, &npu) ||
		    (new->ops[i].src && soft_move_lost(new->ops[i].src, &npu)))
			goto out_free;
	*job = new;
	return 0;

out_free:
	soft_job_free(new);
	return err;
}
