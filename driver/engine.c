// SPDX-License-Identifier: GPL-2.0-only
/*
 * An NPU's copy engine: its queues, and what makes their jobs ready for the
 * thread that takes turns at moving them.
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

/** npool_engine_update() - put a queue where its first job, that it may have only now, belongs */
void npool_engine_update(struct npool_queue *queue)
{
	struct npool_engine *engine = &queue->npu->engine;
	struct npool_job *job;
	struct qos_head head;

	lockdep_assert_held(&engine->lock);
	if (!runnable(queue)) {
		list_del_init(&queue->ending);
		qos_flow_stop(&engine->rq, &queue->flow);
		return;
	}
	job = npool_queue_first(queue);
	if (!job->ready)
		job->ready = ktime_get();
	engine->stirred = true;
	if (npool_job_just_ends(job)) {
		qos_flow_stop(&engine->rq, &queue->flow);
		if (list_empty(&queue->ending))
			list_add_tail(&queue->ending, &engine->ending);
		return;
	}
	list_del_init(&queue->ending);
	if (queue->flow.rank != QOS_RANKS)
		return;
	head = npool_job_head(job);
	qos_flow_ready(&engine->rq, &queue->flow, &head, ktime_get_ns());
}

static void update(struct npool_queue *queue)
{
	struct npool_engine *engine = &queue->npu->engine;
	unsigned long flags;

	spin_lock_irqsave(&engine->lock, flags);
	npool_engine_update(queue);
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

/* Who stirs, grants or stops does so before it wakes. */
static bool called(const struct npool_engine *engine)
{
	return READ_ONCE(engine->stirred) || READ_ONCE(engine->visitor.granted) ||
	       kthread_should_stop();
}

static int engine_thread(void *data)
{
	struct npool_engine *engine = data;

	while (!kthread_should_stop()) {
		u64 due = npool_turns(engine), now = ktime_get_ns();
		ktime_t left = due ? max_t(s64, due - now, 0) : KTIME_MAX;

		__wait_event_hrtimeout(engine->wait, called(engine), left, TASK_IDLE);
	}
	return 0;
}

static struct npool_group *find_group(struct npool_engine *engine,
				      const struct npool_client *client)
{
	struct npool_group *group;

	list_for_each_entry(group, &engine->groups, node)
		if (group->client == client)
			return group;
	return NULL;
}

/**
 * npool_engine_attach() - let a queue have submits
 * @queue: the queue
 * @group: zeroed memory for its client's group
 */
int npool_engine_attach(struct npool_queue *queue, struct npool_group *group)
{
	struct npool_engine *engine = &queue->npu->engine;
	struct npool_group *found;
	int ret = 0;

	spin_lock_irq(&engine->lock);
	found = find_group(engine, queue->client);
	if (engine->dead) {
		ret = -ENODEV;
	} else {
		if (!found) {
			swap(found, group);
			found->client = queue->client;
			qos_group_init(&found->group);
			list_add(&found->node, &engine->groups);
		}
		found->queues++;
		queue->group = found;
		qos_flow_join(&queue->flow, &found->group);
		list_add_tail(&queue->node, &engine->queues);
	}
	spin_unlock_irq(&engine->lock);
	kfree(group);
	return ret;
}

/** npool_engine_cancel() - have all jobs of a queue end, and take no more */
void npool_engine_cancel(struct npool_queue *queue)
{
	struct npool_engine *engine = &queue->npu->engine;

	spin_lock_irq(&engine->lock);
	queue->cancelled = true;
	npool_engine_update(queue);
	spin_unlock_irq(&engine->lock);
	wake_up(&engine->wait);
}

/** npool_engine_detach() - forget a cancelled queue that has no jobs any more */
void npool_engine_detach(struct npool_queue *queue)
{
	struct npool_engine *engine = &queue->npu->engine;
	struct npool_group *group = queue->group;

	spin_lock_irq(&engine->lock);
	list_del_init(&queue->node);
	qos_flow_fini(&engine->rq, &queue->flow);
	if (--group->queues)
		group = NULL;
	else
		list_del(&group->node);
	spin_unlock_irq(&engine->lock);
	kfree(group);
}

/** npool_engine_set_policy() - share the engine in another way from now on */
void npool_engine_set_policy(struct npool_engine *engine, u32 policy)
{
	spin_lock_irq(&engine->lock);
	qos_rq_set_policy(&engine->rq, policy, ktime_get_ns());
	engine->stirred = true;
	spin_unlock_irq(&engine->lock);
	wake_up(&engine->wait);
}

static bool admit_locked(struct npool_job *job)
{
	struct npool_queue *queue = job->queue;
	struct npool_job *before = NULL;

	if (!list_empty(&queue->jobs))
		before = list_last_entry(&queue->jobs, struct npool_job, node);
	if (npool_promise_admit(job, before))
		return true;
	queue->npu->engine.classes[job->class].refused++;
	trace_npool_refused(job);
	job->class = DRM_NPOOL_CLASS_BULK;
	return job->anyway;
}

/**
 * npool_engine_push() - queue an armed job
 * @job: the job
 *
 * The one moment at which a submit happens: before it nothing is to be seen of
 * it, after it nothing can stop it from ending. The engine has a reference then.
 *
 * Return: its fence, referenced; or -ENODEV, -ENOENT, -EBUSY, that with a reason
 * in @job if it is its deadline that is refused.
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
	else if (queue->depth >= NPOOL_QUEUE_DEPTH || !admit_locked(job))
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
		npool_engine_update(queue);
	trace_npool_job_submit(job);
	spin_unlock_irq(&engine->lock);
	wake_up(&engine->wait);
	return fence;
}

/** npool_engine_start() - bring an NPU's engine up */
int npool_engine_start(struct npool_npu *npu)
{
	struct npool_engine *engine = &npu->engine;

	spin_lock_init(&engine->lock);
	INIT_LIST_HEAD(&engine->queues);
	INIT_LIST_HEAD(&engine->groups);
	INIT_LIST_HEAD(&engine->ending);
	init_waitqueue_head(&engine->wait);
	qos_rq_init(&engine->rq, QOS_HYBRID);
	/* Memory that is no NPU's has no port to say how much is quick. */
	engine->window = QOS_MAX_WINDOW;
	if (npu->bandwidth)
		engine->window = clamp(mul_u64_u64_div_u64(npu->bandwidth, NPOOL_WINDOW_NS,
							   NSEC_PER_SEC),
				       (u64)PAGE_SIZE, engine->window);
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
		npool_engine_update(queue);
	spin_unlock_irq(&engine->lock);
	kthread_stop(engine->thread);
	/* What came after its last look, or all, if it never got to run. No more can come. */
	npool_turns(engine);
}
