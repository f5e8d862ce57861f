// SPDX-License-Identifier: GPL-2.0-only
/*
 * An NPU's copy engine: a thread that moves data a window at a time. Between
 * windows it asks the arbiter whose turn it is, and the ports for room, and
 * sleeps until a port grants it some or something more urgent is ready.
 *
 * Every job ends here and nowhere else: a cancelled queue or a dead NPU only
 * makes jobs ready early, and the thread ends them in order, without asking for
 * room. From a job's start to its fence's signal the thread allocates nothing
 * and takes no lock but the engine's, the ports' and those of fences.
 */
#include <linux/dma-fence.h>
#include <linux/kthread.h>

#include "npool.h"
#include "trace.h"

static struct npool_device *pool_of(struct npool_engine *engine)
{
	return container_of(engine, struct npool_npu, engine)->pool;
}

static bool runnable(struct npool_queue *queue)
{
	const struct npool_job *job;

	job = list_first_entry_or_null(&queue->jobs, struct npool_job, node);
	return job && (queue->cancelled || queue->npu->engine.dead || !atomic_read(&job->pending));
}

static struct npool_job *first_job(struct npool_queue *queue)
{
	return list_first_entry(&queue->jobs, struct npool_job, node);
}

static struct qos_head head_of(const struct npool_job *job)
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

/* A job that is not to run, or has nothing to move, needs no room. */
static bool just_ends(const struct npool_queue *queue, const struct npool_job *job)
{
	return queue->cancelled || queue->npu->engine.dead || !job->op_count;
}

static void update_locked(struct npool_queue *queue)
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
	job = first_job(queue);
	if (!job->ready)
		job->ready = ktime_get();
	engine->stirred = true;
	if (just_ends(queue, job)) {
		qos_flow_stop(&engine->rq, &queue->flow);
		if (list_empty(&queue->ending))
			list_add_tail(&queue->ending, &engine->ending);
		return;
	}
	list_del_init(&queue->ending);
	if (queue->flow.rank != QOS_RANKS)
		return;
	head = head_of(job);
	qos_flow_ready(&engine->rq, &queue->flow, &head, ktime_get_ns());
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
	update_locked(queue);
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
		job = first_job(queue);
		reason = engine->dead ? -ENODEV : queue->cancelled ? -ECANCELED : 0;
	}
	spin_unlock_irq(&engine->lock);
	if (job) {
		if (reason)
			npool_job_fail(job, reason, queue->npu->id);
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
	engine->stirred = false;
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
		look_at_demotion(queue, first_job(queue));
		span = npool_job_ahead(first_job(queue), engine->window);
		engine->asked[i] = queue;
		qos_ask(&pool->ports, visitor, &engine->rq, flow, span.port[0], span.port[1],
			span.bytes);
		skip |= 1u << flow->head.lane;
		npool_ports_settle(pool);
	}
	npool_ports_settle(pool);
	spin_unlock(&pool->qos_lock);
}

/* The job whose window the ports granted, and that window. */
static struct npool_job *granted(struct npool_engine *engine, struct npool_span *span)
{
	const struct qos_ask *ask;
	struct npool_job *job;

	spin_lock_irq(&engine->lock);
	ask_locked(engine);
	ask = qos_granted(&engine->visitor);
	job = ask ? first_job(engine->asked[ask->index]) : NULL;
	if (job && just_ends(job->queue, job)) {
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
		head = head_of(job);
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

static void run_all(struct npool_engine *engine)
{
	bool more;

	do {
		more = end_some(engine);
		more |= run_one(engine);
		cond_resched();
	} while (more);
}

static int engine_thread(void *data)
{
	struct npool_engine *engine = data;

	while (!kthread_should_stop()) {
		run_all(engine);
		/* Who stirs, grants or stops does so before it wakes. */
		wait_event_idle(engine->wait, READ_ONCE(engine->stirred) ||
				READ_ONCE(engine->visitor.granted) || kthread_should_stop());
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
	update_locked(queue);
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
		update_locked(queue);
	spin_unlock_irq(&engine->lock);
	kthread_stop(engine->thread);
	/* What came after its last look, or all, if it never got to run. No more can come. */
	run_all(engine);
	spin_lock_irq(&engine->lock);
	leave_ports(engine);
	spin_unlock_irq(&engine->lock);
}
