// SPDX-License-Identifier: MIT
/*
 * Engines: a thread per NPU that takes jobs from its queues a window at a time.
 *
 * A queue is in the arbiter's order while its first job can go, in a list of its
 * own while that waits for timelines, and in another when there is news of it:
 * so that what is ready is found without asking all the others.
 *
 * An idle thread sleeps on its own wake word, on that of its place before the
 * ports, and on the timelines that first jobs wait for, all at once. It reads the
 * words before it looks whether there is something to do, so that what happens in
 * between wakes it.
 */
#include <errno.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "clock.h"
#include "local.h"
#include "soft_queue.h"

/* The kernel's limit for one futex_waitv(). */
#define MAX_WORDS	128
/* How often to look where that is not enough, or the kernel (before 5.16) lacks it. */
#define FALLBACK_NS	1000000ll

void soft_engine_kick(struct soft_engine *engine)
{
	atomic_fetch_add(&engine->wake, 1);
	syscall(SYS_futex, &engine->wake, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

void soft_engine_wake(struct soft_dev *dev)
{
	pthread_mutex_lock(&dev->lock);
	for (uint32_t i = 0; i < SOFT_NPUS; i++)
		if (dev->engines[i])
			soft_engine_kick(dev->engines[i]);
	pthread_mutex_unlock(&dev->lock);
}

bool soft_engine_dead(const struct soft_engine *engine)
{
	return atomic_load(&engine->npu->state) != SOFT_NPU_ONLINE;
}

/* There is something to look at: a first job, or the end. Engine lock held. */
void soft_engine_news(struct soft_engine *engine, struct soft_queue *queue)
{
	if (queue->news)
		return;
	queue->news = true;
	queue->next_news = engine->news;
	engine->news = queue;
}

/* What nobody may have told: points whose submitters died. Engine lock held. */
static void reap(struct soft_engine *engine)
{
	for (struct soft_queue *queue = engine->waiting; queue; queue = queue->next_waiting) {
		soft_timeline_reap(queue->head->waits[queue->head->waits_met].timeline);
		queue->looked = 0;
	}
}

/* Whether a first job's waits are met; engine lock held. */
static bool ready(const struct soft_engine *engine, struct soft_queue *queue)
{
	struct soft_job *job = queue->head;

	for (; job->waits_met < job->wait_count; job->waits_met++) {
		const struct soft_wait *wait = &job->waits[job->waits_met];
		uint32_t events = atomic_load(soft_timeline_events(wait->timeline));

		if (queue->looked == job->waits_met + 1 && queue->seen == events)
			return false;
		if (soft_timeline_reached(wait->timeline) < wait->value) {
			queue->looked = job->waits_met + 1;
			queue->seen = events;
			return false;
		}
	}
	if (!job->ready_at)
		job->ready_at = engine->now;
	return true;
}

static void start_waiting(struct soft_engine *engine, struct soft_queue *queue)
{
	queue->next_waiting = engine->waiting;
	queue->waiting_at = &engine->waiting;
	if (engine->waiting)
		engine->waiting->waiting_at = &queue->next_waiting;
	engine->waiting = queue;
}

static void stop_waiting(struct soft_queue *queue)
{
	if (!queue->waiting_at)
		return;
	*queue->waiting_at = queue->next_waiting;
	if (queue->next_waiting)
		queue->next_waiting->waiting_at = queue->waiting_at;
	queue->waiting_at = NULL;
}

/* Engine lock held. */
static void remember(struct soft_queue *queue, const struct soft_job *job)
{
	struct soft_failure *place = &queue->failures[queue->failure_count % SOFT_FAILURES];

	if (queue->failure_count >= SOFT_FAILURES) {
		if (!queue->forgotten_first)
			queue->forgotten_first = place->seqno;
		queue->forgotten_last = place->seqno;
	}
	place->seqno = job->seqno;
	place->result = job->result;
	queue->failure_count++;
}

/*
 * Ends a queue's first job. Its buffers go first and its points are signalled
 * before it leaves the queue, so that neither the waiter nor the destroyer of the
 * queue can be ahead of them. Engine lock held, dropped meanwhile.
 *
 * Return: whether there is another; if not, the queue may be gone.
 */
static bool finish(struct soft_engine *engine, struct soft_queue *queue, int error)
{
	struct soft_counters *counters = &engine->npu->counters;
	struct soft_job *job = queue->head;
	bool more;

	pthread_mutex_unlock(&engine->lock);
	job->result.error = error;
	job->result.op = error ? job->op : 0;
	soft_promise_end(engine->dev, job);
	soft_job_drop_buffers(job);
	soft_job_ended(engine, job);
	atomic_fetch_add(error ? &counters->failed : &counters->done, 1);
	pthread_mutex_lock(&engine->lock);
	if (error)
		remember(queue, job);
	queue->done = job->seqno;
	pthread_cond_broadcast(&queue->ended);
	pthread_mutex_unlock(&engine->lock);

	for (uint32_t i = 0; i < job->signal_count; i++)
		soft_timeline_end(job->signals[i].timeline, job->signals[i].slot);

	pthread_mutex_lock(&engine->lock);
	queue->head = job->next;
	queue->looked = 0;
	more = queue->head;
	if (!more)
		queue->tail = &queue->head;
	pthread_cond_broadcast(&queue->ended);
	pthread_mutex_unlock(&engine->lock);
	soft_job_free(job);
	pthread_mutex_lock(&engine->lock);
	return more;
}

/* Out of the arbiter's order, and of whatever was asked for it. Engine lock held. */
static void stop_flow(struct soft_engine *engine, struct soft_queue *queue)
{
	for (uint32_t i = 0; i < engine->asked; i++)
		if (engine->asks[i].queue == queue)
			soft_window_forget(engine);
	qos_flow_stop(&engine->rq, &queue->flow);
}

/*
 * Puts a queue where its first job belongs, and ends those that can be ended at
 * once. Engine lock held, dropped meanwhile; the queue may be gone afterwards.
 */
static void sort(struct soft_engine *engine, struct soft_queue *queue)
{
	stop_waiting(queue);
	stop_flow(engine, queue);
	while (queue->head) {
		int err = soft_engine_dead(engine) ? -ENODEV :
			  atomic_load(&queue->closing) ? -ECANCELED : 0;

		queue->head->result.npu = engine->npu->id;
		if (!err && !ready(engine, queue)) {
			start_waiting(engine, queue);
			return;
		}
		if (!err && queue->head->op_count) {
			struct qos_head head;

			queue->flow.demoted = false;
			soft_window_head(queue, &head);
			qos_flow_ready(&engine->rq, &queue->flow, &head, engine->now);
			return;
		}
		if (!finish(engine, queue, err))
			return;
	}
}

/* Engine lock held, dropped meanwhile. */
static void hear_news(struct soft_engine *engine)
{
	struct soft_queue *queue;

	if (!engine->buried && soft_engine_dead(engine)) {
		engine->buried = true;
		for (queue = engine->queues; queue; queue = queue->next)
			soft_engine_news(engine, queue);
	}
	while ((queue = engine->news)) {
		engine->news = queue->next_news;
		queue->news = false;
		sort(engine, queue);
	}
}

/* Those that waited and need not any more are news. Engine lock held. */
static void check_waiting(struct soft_engine *engine)
{
	struct soft_queue *queue, *next;

	if (engine->waiting && engine->now >= engine->look_again) {
		engine->look_again = engine->now + SOFT_POLL_NS;
		reap(engine);
	}
	for (queue = engine->waiting; queue; queue = next) {
		next = queue->next_waiting;
		if (!ready(engine, queue))
			continue;
		stop_waiting(queue);
		soft_engine_news(engine, queue);
	}
}

/* Another process may have changed the pool's policy. Engine lock held. */
static void follow_policy(struct soft_engine *engine)
{
	uint32_t policy = atomic_load(&engine->dev->control->qos.policy);

	if (policy == engine->rq.policy || policy >= QOS_POLICIES)
		return;
	soft_window_forget(engine);
	qos_rq_set_policy(&engine->rq, policy, engine->now);
}

/* Moves a window of a queue's first job. Engine lock held, dropped meanwhile. */
static void work(struct soft_engine *engine, struct soft_queue *queue)
{
	struct soft_job *job = queue->head;
	struct qos_head next;
	uint64_t moved;
	int err;

	pthread_mutex_unlock(&engine->lock);
	err = soft_window_move(engine, queue, &moved);
	pthread_mutex_lock(&engine->lock);
	if (!err && job->op < job->op_count) {
		soft_window_head(queue, &next);
		qos_flow_ran(&engine->rq, &queue->flow, moved, &next, engine->now);
		return;
	}
	qos_flow_ran(&engine->rq, &queue->flow, moved, NULL, engine->now);
	if (finish(engine, queue, err))
		sort(engine, queue);
}

/* The timelines to sleep on; not *all if there are too many. Engine lock held. */
static void gather(struct soft_engine *engine, struct futex_waitv *words, uint32_t *count,
		   bool *all)
{
	for (struct soft_queue *queue = engine->waiting; queue; queue = queue->next_waiting) {
		const struct soft_wait *wait = &queue->head->waits[queue->head->waits_met];
		_Atomic uint32_t *events = soft_timeline_events(wait->timeline);

		if (*count == MAX_WORDS) {
			*all = false;
			return;
		}
		/* It looked at the timeline after it had read this. */
		words[(*count)++] = (struct futex_waitv) {
			.val = queue->seen, .uaddr = (uintptr_t)events, .flags = FUTEX_32,
		};
	}
}

/* Engine lock held, dropped while asleep. */
static void idle(struct soft_engine *engine, uint32_t wake, uint32_t grant)
{
	struct futex_waitv words[MAX_WORDS] = {
		{ .val = wake, .uaddr = (uintptr_t)&engine->wake,
		  .flags = FUTEX_32 | FUTEX_PRIVATE_FLAG },
		{ .val = grant, .uaddr = (uintptr_t)&engine->visitor->wake, .flags = FUTEX_32 },
	};
	uint32_t count = engine->asked ? 2 : 1;
	bool all = true;
	struct timespec until;
	int64_t end, due;
	long err;

	gather(engine, words, &count, &all);
	end = clock_now() + (all ? SOFT_POLL_NS : FALLBACK_NS);
	/* A queue may ask for more then. */
	due = qos_rq_due(&engine->rq);
	until = clock_timespec(due && due < end ? due : end);
	pthread_mutex_unlock(&engine->lock);
	err = syscall(SYS_futex_waitv, words, count, 0, count > 1 ? &until : NULL, CLOCK_MONOTONIC);
	if (err < 0 && errno == ENOSYS) {
		struct timespec patience = clock_timespec(FALLBACK_NS);

		syscall(SYS_futex, &engine->wake, FUTEX_WAIT_PRIVATE, wake, &patience, NULL, 0);
	}
	pthread_mutex_lock(&engine->lock);
	if (err < 0 && engine->asked && clock_now() >= end)
		soft_qos_reap(engine->dev);
}

static void *run(void *arg)
{
	struct soft_engine *engine = arg;

	pthread_mutex_lock(&engine->lock);
	engine->now = clock_now();
	for (;;) {
		uint32_t wake = atomic_load(&engine->wake);
		uint32_t grant = atomic_load(&engine->visitor->wake);
		struct soft_queue *queue;

		check_waiting(engine);
		hear_news(engine);
		follow_policy(engine);
		queue = soft_window_ask(engine);
		if (queue) {
			work(engine, queue);
		} else if (engine->stop) {
			break;
		} else {
			idle(engine, wake, grant);
			engine->now = clock_now();
		}
	}
	pthread_mutex_unlock(&engine->lock);
	return NULL;
}

int soft_engine_start(struct soft_dev *dev, struct soft_npu *npu, struct soft_engine **engine)
{
	struct soft_engine *new;
	int err;

	new = calloc(1, sizeof(*new));
	if (!new)
		return -ENOMEM;
	new->dev = dev;
	new->npu = npu;
	new->slot = npu - dev->control->npus;
	qos_rq_init(&new->rq, atomic_load(&dev->control->qos.policy));
	qos_group_init(&new->group);
	err = -pthread_mutex_init(&new->lock, NULL);
	if (err)
		goto out_free;
	err = -EMFILE;
	new->visitor = soft_visitor_get(dev);
	if (!new->visitor)
		goto out_mutex;
	err = local_thread(&new->thread, run, new);
	if (err)
		goto out_visitor;
	*engine = new;
	return 0;

out_visitor:
	soft_visitor_put(dev, new->visitor);
out_mutex:
	pthread_mutex_destroy(&new->lock);
out_free:
	free(new);
	return err;
}

/* The engine has no queues any more. */
void soft_engine_stop(struct soft_engine *engine)
{
	pthread_mutex_lock(&engine->lock);
	engine->stop = true;
	pthread_mutex_unlock(&engine->lock);
	soft_engine_kick(engine);
	pthread_join(engine->thread, NULL);
	soft_visitor_put(engine->dev, engine->visitor);
	pthread_mutex_destroy(&engine->lock);
	free(engine);
}
