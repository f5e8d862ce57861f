// SPDX-License-Identifier: GPL-2.0-only
/*
 * An NPU's copy engine: a thread that moves data a window at a time, and
 * between windows asks pick() whose turn it is.
 *
 * Every job ends here and nowhere else: a cancelled queue or a dead NPU only
 * makes jobs ready early, and the thread ends them in order. From a job's start
 * to its fence's signal the thread allocates nothing and takes no lock but the
 * engine's and those of fences.
 */
#include <linux/dma-fence.h>
#include <linux/kthread.h>

#include "npool.h"
#include "trace.h"

static bool runnable(struct npool_queue *queue)
{
	const struct npool_job *job;

	job = list_first_entry_or_null(&queue->jobs, struct npool_job, node);
	return job && (queue->cancelled || queue->npu->engine.dead || !atomic_read(&job->pending));
}

static void update_locked(struct npool_queue *queue)
{
	struct npool_engine *engine = &queue->npu->engine;
	struct npool_job *job;

	lockdep_assert_held(&engine->lock);
	if (!runnable(queue)) {
		list_del_init(&queue->ready);
		return;
	}
	if (list_empty(&queue->ready))
		list_add_tail(&queue->ready, &engine->ready);
	job = list_first_entry(&queue->jobs, struct npool_job, node);
	if (!job->ready)
		job->ready = ktime_get();
}

static void update(struct npool_queue *queue)
{
	struct npool_engine *engine = &queue->npu->engine;
	unsigned long flags;

	spin_lock_irqsave(&engine->lock, flags);
	update_locked(queue);
	spin_unlock_irqrestore(&engine->lock, flags);
	wake_up(&engine->wait);
}

/*
 * Under the fence's lock. With the last fence gone the thread may end the job
 * at once, but disarms it first, which waits for that lock: so job and queue
 * are there until this returns.
 */
static void fence_signalled(struct dma_fence *fence, struct dma_fence_cb *cb)
{
	struct npool_job *job = container_of(cb, struct npool_job_wait, cb)->job;

	if (atomic_dec_and_test(&job->pending))
		update(job->queue);
}

/** npool_engine_arm() - have a job count its fences; it is not queued yet */
void npool_engine_arm(struct npool_job *job)
{
	struct npool_job_wait *wait;

	for (wait = job->waits; wait < job->waits + job->wait_count; wait++) {
		wait->job = job;
		atomic_inc(&job->pending);
		if (dma_fence_add_callback(wait->fence, &wait->cb, fence_signalled))
			atomic_dec(&job->pending);
	}
}

/** npool_engine_disarm() - undo npool_engine_arm(), no callback runs after */
void npool_engine_disarm(struct npool_job *job)
{
	struct npool_job_wait *wait;

	for (wait = job->waits; wait < job->waits + job->wait_count; wait++)
		dma_fence_remove_callback(wait->fence, &wait->cb);
}

/* Whose turn it is: each ready queue a window, in turn. */
static struct npool_job *pick(struct npool_engine *engine)
{
	struct npool_queue *queue;

	lockdep_assert_held(&engine->lock);
	queue = list_first_entry_or_null(&engine->ready, struct npool_queue, ready);
	if (!queue)
		return NULL;
	list_move_tail(&queue->ready, &engine->ready);
	return list_first_entry(&queue->jobs, struct npool_job, node);
}

/* The next job, and whether it may not run but has to end. */
static struct npool_job *next(struct npool_engine *engine, int *reason)
{
	struct npool_job *job;

	spin_lock_irq(&engine->lock);
	job = pick(engine);
	*reason = engine->dead ? -ENODEV : job && job->queue->cancelled ? -ECANCELED : 0;
	spin_unlock_irq(&engine->lock);
	return job;
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
	ktime_t started = job->started ?: job->ready;

	if (job->failure.error)
		WRITE_ONCE(stats->jobs_failed, stats->jobs_failed + 1);
	else
		WRITE_ONCE(stats->jobs_done, stats->jobs_done + 1);
	WRITE_ONCE(stats->queue_ns, stats->queue_ns + ktime_to_ns(ktime_sub(started, job->ready)));
}

static void finish(struct npool_engine *engine, struct npool_job *job)
{
	struct dma_fence *fence = npool_fence_base(job->fence);
	struct npool_queue *queue = job->queue;

	npool_engine_disarm(job);
	spin_lock_irq(&engine->lock);
	list_del(&job->node);
	queue->depth--;
	if (job->failure.error)
		remember_locked(queue, &job->failure);
	count_locked(engine, job);
	queue->done_seqno = job->seqno;
	update_locked(queue);
	spin_unlock_irq(&engine->lock);

	trace_npool_job_done(job);
	if (job->failure.error)
		dma_fence_set_error(fence, job->failure.error);
	dma_fence_signal(fence);
	wake_up_all(&queue->wait);
	npool_job_retire(job);
}

static void run(struct npool_engine *engine, struct npool_job *job, int reason)
{
	bool signalling = dma_fence_begin_signalling();
	struct npool_client *client = job->queue->client;
	ktime_t start = ktime_get();
	bool ended = true;
	u64 ns;

	if (!job->started && !reason) {
		job->started = start;
		trace_npool_job_start(job);
	}
	if (reason)
		npool_job_fail(job, reason, job->queue->npu->id);
	else
		ended = npool_job_step(job, engine->window);
	ns = ktime_to_ns(ktime_sub(ktime_get(), start));
	WRITE_ONCE(engine->stats.busy_ns, engine->stats.busy_ns + ns);
	atomic64_add(ns, &client->busy_ns);
	if (ended)
		finish(engine, job);
	dma_fence_end_signalling(signalling);
}

static void run_all(struct npool_engine *engine)
{
	struct npool_job *job;
	int reason;

	while ((job = next(engine, &reason))) {
		run(engine, job, reason);
		cond_resched();
	}
}

static int engine_thread(void *data)
{
	struct npool_engine *engine = data;

	while (!kthread_should_stop()) {
		run_all(engine);
		wait_event_idle(engine->wait, !list_empty_careful(&engine->ready) ||
				kthread_should_stop());
	}
	return 0;
}

/** npool_engine_attach() - let a queue have submits */
int npool_engine_attach(struct npool_queue *queue)
{
	struct npool_engine *engine = &queue->npu->engine;
	int ret = 0;

	spin_lock_irq(&engine->lock);
	if (engine->dead)
		ret = -ENODEV;
	else
		list_add_tail(&queue->node, &engine->queues);
	spin_unlock_irq(&engine->lock);
	return ret;
}

/** npool_engine_cancel() - have all jobs of a queue end, and take no more */
void npool_engine_cancel(struct npool_queue *queue)
{
	struct npool_engine *engine = &queue->npu->engine;

	spin_lock_irq(&engine->lock);
	queue->cancelled = true;
	update_locked(queue);
	spin_unlock_irq(&engine->lock);
	wake_up(&engine->wait);
}

/** npool_engine_detach() - forget a cancelled queue that has no jobs any more */
void npool_engine_detach(struct npool_queue *queue)
{
	struct npool_engine *engine = &queue->npu->engine;

	spin_lock_irq(&engine->lock);
	list_del_init(&queue->node);
	spin_unlock_irq(&engine->lock);
}

/**
 * npool_engine_push() - queue an armed job
 * @job: the job
 *
 * The one moment at which a submit happens: before it nothing is to be seen of
 * it, after it nothing can stop it from ending. The engine has a reference then.
 *
 * Return: its fence, referenced; or -ENODEV, -ENOENT, -EBUSY.
 */
struct dma_fence *npool_engine_push(struct npool_job *job)
{
	struct npool_queue *queue = job->queue;
	struct npool_engine *engine = &queue->npu->engine;
	struct dma_fence *fence;
	int ret = 0;

	spin_lock_irq(&engine->lock);
	if (engine->dead)
		ret = -ENODEV;
	else if (queue->cancelled)
		ret = -ENOENT;
	else if (queue->depth >= NPOOL_QUEUE_DEPTH)
		ret = -EBUSY;
	if (ret) {
		spin_unlock_irq(&engine->lock);
		return ERR_PTR(ret);
	}
	refcount_inc(&job->ref);
	job->seqno = ++queue->last_seqno;
	npool_fence_init(job->fence, job);
	fence = dma_fence_get(npool_fence_base(job->fence));
	queue->depth++;
	list_add_tail(&job->node, &queue->jobs);
	atomic_inc(&queue->unfreed);
	engine->stats.jobs_submitted++;
	atomic_dec(&job->pending);
	if (list_is_first(&job->node, &queue->jobs))
		update_locked(queue);
	trace_npool_job_submit(job);
	spin_unlock_irq(&engine->lock);
	wake_up(&engine->wait);
	return fence;
}

/** npool_engine_start() - bring an NPU's engine up */
int npool_engine_start(struct npool_npu *npu)
{
	struct npool_engine *engine = &npu->engine;
	u64 window = NPOOL_WINDOW;

	spin_lock_init(&engine->lock);
	INIT_LIST_HEAD(&engine->queues);
	INIT_LIST_HEAD(&engine->ready);
	init_waitqueue_head(&engine->wait);
	/* On a slow NPU a window is shorter, so that queues share and cancelling is quick. */
	if (npu->bandwidth)
		window = clamp(mul_u64_u64_div_u64(npu->bandwidth, NPOOL_WINDOW_NS, NSEC_PER_SEC),
			       (u64)PAGE_SIZE, window);
	engine->window = window;
	engine->start_cost = min(mul_u64_u64_div_u64(npu->latency_ns, window, NPOOL_WINDOW_NS),
				 window);
	engine->thread = kthread_run(engine_thread, engine, "npool/%s", npu->name);
	return PTR_ERR_OR_ZERO(engine->thread);
}

/** npool_engine_stop() - end all jobs with -ENODEV, then the engine */
void npool_engine_stop(struct npool_npu *npu)
{
	struct npool_engine *engine = &npu->engine;
	struct npool_queue *queue;

	spin_lock_irq(&engine->lock);
	engine->dead = true;
	list_for_each_entry(queue, &engine->queues, node)
		update_locked(queue);
	spin_unlock_irq(&engine->lock);
	kthread_stop(engine->thread);
	/* What came after its last look, or all, if it never got to run. No more can come. */
	run_all(engine);
}
