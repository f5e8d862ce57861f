// SPDX-License-Identifier: GPL-2.0-only
/*
 * The engine's turns: its thread moves data a window at a time. Between windows
 * it asks the arbiter whose turn it is, and the ports for room, and sleeps until
 * a port grants it some or something else is ready.
 *
 * Every job ends here and nowhere else: a cancelled queue or a dead NPU only
 * makes jobs ready early, and the thread ends them in order, without asking for
 * room. From a job's start to its fence's signal the thread allocates nothing
 * and takes no lock but the engine's, the ports' and those of fences.
 */
#include <linux/dma-fence.h>

#include "npool.h"
#include "trace.h"

static struct npool_device *pool_of(struct npool_engine *engine)
{
	return container_of(engine, struct npool_npu, engine)->pool;
}

static void remember_locked(struct npool_queue *queue, const struct npool_failure *failure)
{
	struct npool_failure *slot;

	slot = &queue->failures[queue->failure_count++ % NPOOL_MAX_FAILURES];
	if (slot->seqno) {
		queue->lost_first = queue->lost_first ?: slot->seqno;
		queue->lost_last = slot->seqno;
	}
	*slot = *failure;
}

static void count_locked(struct npool_engine *engine, const struct npool_job *job)
{
	struct drm_npool_npu_stats *stats = &engine->stats;
	struct drm_npool_class_stats *class = &engine->classes[job->class];
	ktime_t now = ktime_get(), started = job->started ?: job->ready;
	u64 waited = ktime_to_ns(ktime_sub(started, job->ready));

	if (job->failure.error)
		WRITE_ONCE(stats->jobs_failed, stats->jobs_failed + 1);
	else
		WRITE_ONCE(stats->jobs_done, stats->jobs_done + 1);
	WRITE_ONCE(stats->queue_ns, stats->queue_ns + waited);
	class->jobs++;
	class->missed += npool_job_missed(job, now);
	class->demoted += job->demoted;
	if (!job->started)
		return;
	class->queue_ns[qos_bucket(waited)]++;
	class->service_ns[qos_bucket(ktime_to_ns(ktime_sub(now, started)))]++;
}

static void end_locked(struct npool_engine *engine, struct npool_job *job)
{
	struct npool_queue *queue = job->queue;

	lockdep_assert_held(&engine->lock);
	if (job->promised) {
		spin_lock(&pool_of(engine)->qos_lock);
		npool_promise_end(job);
		spin_unlock(&pool_of(engine)->qos_lock);
	}
	list_del(&job->node);
	queue->depth--;
	if (job->failure.error)
		remember_locked(queue, &job->failure);
	count_locked(engine, job);
	queue->done_seqno = job->seqno;
	npool_engine_update(queue);
}

/* What is left once a job is in no list any more. */
static void tell(struct npool_job *job)
{
	struct dma_fence *fence = npool_fence_base(job->fence);

	trace_npool_job_done(job);
	if (job->failure.error)
		dma_fence_set_error(fence, job->failure.error);
	dma_fence_signal(fence);
	wake_up_all(&job->queue->wait);
	npool_job_retire(job);
}

/* Wait for nothing, and give back the room of a window that does not begin. */
static void leave_ports(struct npool_engine *engine)
{
	struct npool_device *pool = pool_of(engine);

	lockdep_assert_held(&engine->lock);
	spin_lock(&pool->qos_lock);
	qos_done(&pool->ports, &engine->visitor, NULL, 0, ktime_get_ns());
	qos_withdraw(&pool->ports, &engine->visitor);
	npool_ports_settle(pool);
	spin_unlock(&pool->qos_lock);
	memset(engine->asked, 0, sizeof(engine->asked));
	engine->stirred = true;
}

/* Whether a queue's first job is one that the visitor asks for. */
static bool asked_for(const struct npool_engine *engine, const struct npool_queue *queue)
{
	u32 i;

	lockdep_assert_held(&engine->lock);
	for (i = 0; i < QOS_ASKS; i++)
		if (engine->asked[i] == queue)
			return true;
	return false;
}

/* End the first job of a queue that needs no room. */
static bool end_one(struct npool_engine *engine)
{
	bool signalling = dma_fence_begin_signalling();
	struct npool_queue *queue;
	struct npool_job *job = NULL;
	int reason = 0;

	spin_lock_irq(&engine->lock);
	queue = list_first_entry_or_null(&engine->ending, struct npool_queue, ending);
	if (queue) {
		if (asked_for(engine, queue))
			leave_ports(engine);
		job = npool_queue_first(queue);
		reason = engine->dead ? -ENODEV : queue->cancelled ? -ECANCELED : 0;
	}
	spin_unlock_irq(&engine->lock);
	if (job) {
		struct npool_npu *npu = queue->npu;

		/* Nothing ends well on one that has died, though it may not be out yet. */
		if (!reason && npu->ops->health(npu->hw))
			reason = -ENODEV;
		if (reason)
			npool_job_fail(job, reason, npu->id);
		npool_engine_disarm(job);
		spin_lock_irq(&engine->lock);
		end_locked(engine, job);
		spin_unlock_irq(&engine->lock);
		tell(job);
	}
	dma_fence_end_signalling(signalling);
	return job;
}

/* A job that had to stand with bulk has lost its promise, so that others can be given it. */
static void look_at_demotion(struct npool_queue *queue, struct npool_job *job)
{
	if (!queue->flow.demoted)
		return;
	queue->flow.demoted = false;
	job->demoted = true;
	npool_promise_end(job);
}

/* Wait at the ports for what goes next, the most urgent first, until one has room. */
static void ask_locked(struct npool_engine *engine)
{
	struct npool_device *pool = pool_of(engine);
	struct qos_visitor *visitor = &engine->visitor;
	u64 now = ktime_get_ns();
	u32 skip = 0, i;

	lockdep_assert_held(&engine->lock);
	/* What has to end may have come since somebody looked. */
	engine->stirred = !list_empty(&engine->ending);
	spin_lock(&pool->qos_lock);
	qos_withdraw(&pool->ports, visitor);
	if (!qos_granted(visitor))
		memset(engine->asked, 0, sizeof(engine->asked));
	for (i = 0; i < QOS_ASKS && !qos_granted(visitor); i++) {
		struct qos_flow *flow = qos_rq_pick(&engine->rq, skip, now);
		struct npool_queue *queue;
		struct npool_span span;

		if (!flow)
			break;
		queue = container_of(flow, struct npool_queue, flow);
		look_at_demotion(queue, npool_queue_first(queue));
		span = npool_job_ahead(npool_queue_first(queue), engine->window);
		engine->asked[i] = queue;
		qos_ask(&pool->ports, visitor, &engine->rq, flow, span.port[0], span.port[1],
			span.bytes);
		skip |= 1u << flow->head.lane;
		npool_ports_settle(pool);
	}
	npool_ports_settle(pool);
	spin_unlock(&pool->qos_lock);
	engine->due = qos_rq_due(&engine->rq);
}

/* The job whose window the ports granted, and that window. */
static struct npool_job *granted(struct npool_engine *engine, struct npool_span *span)
{
	const struct qos_ask *ask;
	struct npool_job *job;

	spin_lock_irq(&engine->lock);
	ask_locked(engine);
	ask = qos_granted(&engine->visitor);
	job = ask ? npool_queue_first(engine->asked[ask->index]) : NULL;
	if (job && npool_job_just_ends(job)) {
		leave_ports(engine);
		job = NULL;
	}
	if (job) {
		*span = (struct npool_span){
			.port = { ask->port[0], ask->port[1] },
			.bytes = ask->bytes,
		};
		qos_begin(&engine->visitor, ktime_get_ns());
	}
	spin_unlock_irq(&engine->lock);
	return job;
}

static void window_done(struct npool_engine *engine, struct npool_job *job,
			const struct npool_span *span, u64 bytes, bool ended)
{
	struct drm_npool_class_stats *class = &engine->classes[job->class];
	struct npool_device *pool = pool_of(engine);
	struct npool_queue *queue = job->queue;
	u64 now = ktime_get_ns();
	struct qos_head head;

	if (ended)
		npool_engine_disarm(job);
	else
		head = npool_job_head(job);
	spin_lock_irq(&engine->lock);
	class->windows++;
	class->bytes += bytes;
	trace_npool_window(job, bytes, engine->visitor.asks[engine->visitor.granted - 1].rank);
	spin_lock(&pool->qos_lock);
	npool_promise_moved(job, span, bytes);
	qos_done(&pool->ports, &engine->visitor, &queue->flow, bytes, now);
	npool_ports_settle(pool);
	spin_unlock(&pool->qos_lock);
	qos_flow_ran(&engine->rq, &queue->flow, bytes, ended ? NULL : &head, now);
	if (ended)
		end_locked(engine, job);
	spin_unlock_irq(&engine->lock);
	if (ended)
		tell(job);
}

/* Move a window of whoever's turn it is, if the ports have room for one. */
static bool run_one(struct npool_engine *engine)
{
	bool signalling = dma_fence_begin_signalling(), ended;
	struct npool_span span;
	struct npool_job *job = granted(engine, &span);

	if (job) {
		ktime_t start = ktime_get();
		u64 bytes = job->bytes, ns;

		if (!job->started) {
			job->started = start;
			trace_npool_job_start(job);
		}
		ended = npool_job_step(job, &span);
		bytes = job->bytes - bytes;
		ns = ktime_to_ns(ktime_sub(ktime_get(), start));
		WRITE_ONCE(engine->stats.busy_ns, engine->stats.busy_ns + ns);
		atomic64_add(ns, &job->queue->client->busy_ns);
		window_done(engine, job, &span, bytes, ended);
	}
	dma_fence_end_signalling(signalling);
	return job;
}

/* Jobs that only end must not keep others from moving, nor while it has room in its hand. */
static bool end_some(struct npool_engine *engine)
{
	u32 i;

	for (i = 0; i < NPOOL_END_BATCH; i++)
		if (READ_ONCE(engine->visitor.granted) || !end_one(engine))
			break;
	return i;
}

/**
 * npool_turns() - end and move all that can be
 * @engine: the thread's own, or one whose thread has ended
 *
 * When it returns the engine may be waiting for room at ports.
 *
 * Return: when to call it again though nothing has happened, 0 for never.
 */
u64 npool_turns(struct npool_engine *engine)
{
	bool more;

	do {
		more = end_some(engine);
		more |= run_one(engine);
		cond_resched();
	} while (more);
	return engine->due;
}
