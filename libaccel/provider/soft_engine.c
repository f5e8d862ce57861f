// SPDX-License-Identifier: MIT
/*
 * Engines: a thread per NPU that takes jobs from its queues a window at a time.
 *
 * An idle thread sleeps on its own wake word and on the timelines that the
 * queues' first jobs wait for, all at once. It reads the words before it looks
 * whether there is something to do, so that what happens in between wakes it.
 */
#include <errno.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "clock.h"
#include "memcpy.h"
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

static bool dead(const struct soft_engine *engine)
{
	return atomic_load(&engine->npu->state) != SOFT_NPU_ONLINE;
}

/* Whether a job's waits are met; engine lock held. */
static bool ready(struct soft_job *job)
{
	for (; job->waits_met < job->wait_count; job->waits_met++) {
		const struct soft_wait *wait = &job->waits[job->waits_met];

		if (soft_timeline_reached(wait->timeline) < wait->value)
			return false;
	}
	if (!job->ready_at)
		job->ready_at = clock_now();
	return true;
}

static bool runnable(const struct soft_engine *engine, struct soft_queue *queue)
{
	return queue->head &&
	       (atomic_load(&queue->closing) || dead(engine) || ready(queue->head));
}

/*
 * Whose turn it is: the first runnable queue after the one served last. The
 * place for any other policy. Engine lock held.
 */
static struct soft_queue *pick(struct soft_engine *engine)
{
	struct soft_queue *first = engine->last ? engine->last->next : engine->queues;

	for (struct soft_queue *queue = first; queue; queue = queue->next)
		if (runnable(engine, queue))
			return queue;
	for (struct soft_queue *queue = engine->queues; queue != first; queue = queue->next)
		if (runnable(engine, queue))
			return queue;
	return NULL;
}

/* Until the modelled engine is done, or nobody cares any more. */
static void sleep_until(struct soft_engine *engine, struct soft_queue *queue, int64_t end)
{
	for (;;) {
		uint32_t wake = atomic_load(&engine->wake);
		struct timespec patience;
		int64_t left = end - clock_now();

		if (left <= 0 || atomic_load(&queue->closing) || dead(engine))
			return;
		patience = clock_timespec(left < SOFT_POLL_NS ? left : SOFT_POLL_NS);
		syscall(SYS_futex, &engine->wake, FUTEX_WAIT_PRIVATE, wake, &patience, NULL, 0);
	}
}

static uint64_t window_bytes(const struct soft_npu *npu)
{
	uint64_t bytes = npu->bandwidth / (NSEC_PER_SEC / SOFT_WINDOW_NS);

	if (!npu->bandwidth || bytes > SOFT_WINDOW)
		return SOFT_WINDOW;
	return bytes ? bytes : 1;
}

static void advance(struct soft_job *job, uint64_t size)
{
	const struct soft_op *op = &job->ops[job->op];

	job->offset += size;
	if (job->offset < op->segs[job->seg].size)
		return;
	job->offset = 0;
	if (++job->seg < op->seg_count)
		return;
	job->seg = 0;
	job->op++;
	job->op_begun = false;
}

/* Moves up to a window of a job. @end: when the modelled engine will have done it. */
static int move_window(struct soft_engine *engine, struct soft_job *job, int64_t *end)
{
	uint64_t budget = window_bytes(engine->npu);

	while (budget && job->op < job->op_count) {
		const struct soft_op *op = &job->ops[job->op];
		const struct accel_seg *seg = &op->segs[job->seg];
		uint64_t size = seg->size - job->offset;
		int err;

		job->result.npu = engine->npu->id;
		if (!job->op_begun) {
			err = soft_move_begin(engine->npu);
			if (err)
				return err;
			job->op_begun = true;
			*end = soft_model(engine->npu, 0, engine->npu->latency_ns);
			if (*end)
				return 0;
		}
		if (size > budget)
			size = budget;
		err = soft_move(engine->npu, op, seg, job->offset, size,
				copy_should_stream(seg->size, 0), &job->result.npu);
		if (err)
			return err;
		*end = soft_model(engine->npu, size, 0);
		budget -= size;
		advance(job, size);
	}
	return 0;
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
 * queue can be ahead of them.
 */
static void finish(struct soft_engine *engine, struct soft_queue *queue, int error)
{
	struct soft_counters *counters = &engine->npu->counters;
	struct soft_job *job = queue->head;

	job->result.error = error;
	job->result.op = error ? job->op : 0;
	soft_job_drop_buffers(job);
	pthread_mutex_lock(&engine->lock);
	if (error)
		remember(queue, job);
	atomic_fetch_add(error ? &counters->failed : &counters->done, 1);
	queue->done = job->seqno;
	pthread_cond_broadcast(&queue->ended);
	pthread_mutex_unlock(&engine->lock);

	for (uint32_t i = 0; i < job->signal_count; i++)
		soft_timeline_end(job->signals[i].timeline, job->signals[i].slot);

	pthread_mutex_lock(&engine->lock);
	queue->head = job->next;
	if (!queue->head)
		queue->tail = &queue->head;
	pthread_cond_broadcast(&queue->ended);
	pthread_mutex_unlock(&engine->lock);
	soft_job_free(job);
}

static void work(struct soft_engine *engine, struct soft_queue *queue)
{
	struct soft_counters *counters = &engine->npu->counters;
	struct soft_job *job = queue->head;
	int64_t begin = clock_now(), end = 0;
	int err;

	if (!job->started && job->ready_at)
		atomic_fetch_add(&counters->queue_ns, begin - job->ready_at);
	job->started = true;
	job->result.npu = engine->npu->id;
	err = dead(engine) ? -ENODEV : atomic_load(&queue->closing) ? -ECANCELED : 0;
	if (!err && job->op_count) {
		err = move_window(engine, job, &end);
		sleep_until(engine, queue, end);
		atomic_fetch_add(&counters->busy_ns, clock_now() - begin);
	}
	if (!err && dead(engine) && job->op < job->op_count)
		err = -ENODEV;
	if (err || job->op == job->op_count)
		finish(engine, queue, err);
}

/* The words to sleep on beside the engine's own; false if a job became ready meanwhile. */
static bool gather(struct soft_engine *engine, struct futex_waitv *words, uint32_t *count,
		   bool *all)
{
	for (struct soft_queue *queue = engine->queues; queue; queue = queue->next) {
		const struct soft_wait *wait;
		_Atomic uint32_t *events;
		uint32_t seen;

		if (!queue->head)
			continue;
		if (*count == MAX_WORDS) {
			*all = false;
			return true;
		}
		wait = &queue->head->waits[queue->head->waits_met];
		events = soft_timeline_events(wait->timeline);
		seen = atomic_load(events);
		if (soft_timeline_reached(wait->timeline) >= wait->value)
			return false;
		words[(*count)++] = (struct futex_waitv) {
			.val = seen, .uaddr = (uintptr_t)events, .flags = FUTEX_32,
		};
	}
	return true;
}

static void reap(struct soft_engine *engine)
{
	for (struct soft_queue *queue = engine->queues; queue; queue = queue->next)
		if (queue->head && queue->head->waits_met < queue->head->wait_count)
			soft_timeline_reap(queue->head->waits[queue->head->waits_met].timeline);
}

/* Engine lock held, dropped while asleep. */
static void idle(struct soft_engine *engine, uint32_t wake)
{
	struct futex_waitv words[MAX_WORDS] = {
		{ .val = wake, .uaddr = (uintptr_t)&engine->wake,
		  .flags = FUTEX_32 | FUTEX_PRIVATE_FLAG },
	};
	uint32_t count = 1;
	bool all = true;
	struct timespec until;
	long err;

	if (!gather(engine, words, &count, &all))
		return;
	until = clock_timespec(clock_now() + (all ? SOFT_POLL_NS : FALLBACK_NS));
	pthread_mutex_unlock(&engine->lock);
	err = syscall(SYS_futex_waitv, words, count, 0, count > 1 ? &until : NULL, CLOCK_MONOTONIC);
	if (err < 0 && errno == ENOSYS) {
		struct timespec patience = clock_timespec(FALLBACK_NS);

		syscall(SYS_futex, &engine->wake, FUTEX_WAIT_PRIVATE, wake, &patience, NULL, 0);
	}
	pthread_mutex_lock(&engine->lock);
	if (err < 0)
		reap(engine);
}

static void *run(void *arg)
{
	struct soft_engine *engine = arg;

	pthread_mutex_lock(&engine->lock);
	for (;;) {
		uint32_t wake = atomic_load(&engine->wake);
		struct soft_queue *queue = pick(engine);

		if (queue) {
			engine->last = queue;
			pthread_mutex_unlock(&engine->lock);
			work(engine, queue);
			pthread_mutex_lock(&engine->lock);
		} else if (engine->stop) {
			break;
		} else {
			idle(engine, wake);
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
	err = -pthread_mutex_init(&new->lock, NULL);
	if (err)
		goto out_free;
	err = soft_thread(&new->thread, run, new);
	if (err)
		goto out_mutex;
	*engine = new;
	return 0;

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
	pthread_mutex_destroy(&engine->lock);
	free(engine);
}
