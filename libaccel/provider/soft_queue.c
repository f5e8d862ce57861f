// SPDX-License-Identifier: MIT
/*
 * Queues of the soft provider: making and ending them, submitting, waiting, and
 * the copy that needs none.
 */
#include <errno.h>
#include <stdlib.h>

#include "clock.h"
#include "memcpy.h"
#include "soft_queue.h"

/* Of small copies that no queue orders, one in so many is timed. */
#define TIMED_OF 16

static int init_cond(pthread_cond_t *cond)
{
	pthread_condattr_t attr;
	int err;

	err = pthread_condattr_init(&attr);
	if (err)
		return -err;
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	err = pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
	return -err;
}

/* Has the NPU referred to by this client's queues; device lock held. */
static int use_npu(struct soft_dev *dev, uint32_t id, struct soft_npu **npu)
{
	struct soft_client *client = &dev->control->clients[dev->slot];
	int err;

	soft_lock(dev);
	err = soft_npu_online(dev, id, npu);
	if (!err)
		client->queues[*npu - dev->control->npus]++;
	soft_unlock(dev);
	return err;
}

static void unuse_npu(struct soft_dev *dev, uint32_t slot)
{
	soft_lock(dev);
	dev->control->clients[dev->slot].queues[slot]--;
	soft_unlock(dev);
}

/* Device lock held. */
static int attach(struct soft_dev *dev, uint32_t id, struct soft_queue *queue)
{
	struct soft_engine **engine;
	struct soft_npu *npu;
	int err;

	if (dev->queue_count == SOFT_MAX_QUEUES)
		return -EMFILE;
	err = use_npu(dev, id, &npu);
	if (err)
		return err;
	engine = &dev->engines[npu - dev->control->npus];
	if (!*engine)
		err = soft_engine_start(dev, npu, engine);
	if (err) {
		unuse_npu(dev, npu - dev->control->npus);
		return err;
	}
	queue->engine = *engine;
	dev->queue_count++;
	qos_flow_join(&queue->flow, &queue->engine->group);
	pthread_mutex_lock(&queue->engine->lock);
	queue->next = queue->engine->queues;
	queue->engine->queues = queue;
	pthread_mutex_unlock(&queue->engine->lock);
	return 0;
}

static void init_flow(struct soft_queue *queue)
{
	const struct accel_queue_qos *qos = &queue->qos;
	const struct qos_params params = {
		.class = qos->class_id, .weight = qos->weight,
		.budget = qos->budget, .period = qos->period_ns,
	};

	qos_flow_init(&queue->flow, &params);
}

int soft_queue_create(struct accel_dev *base, uint32_t npu, const struct accel_queue_qos *qos,
		      struct accel_queue **queue)
{
	struct soft_dev *dev = (struct soft_dev *)base;
	struct soft_queue *new;
	int err;

	new = calloc(1, sizeof(*new));
	if (!new)
		return -ENOMEM;
	new->base.dev = base;
	new->tail = &new->head;
	new->qos = *qos;
	init_flow(new);
	err = init_cond(&new->ended);
	if (err)
		goto out_free;
	if (qos->budget)
		err = soft_reserve(dev, qos, &new->reservation);
	if (err)
		goto out_cond;
	pthread_mutex_lock(&dev->lock);
	err = attach(dev, npu, new);
	pthread_mutex_unlock(&dev->lock);
	if (err)
		goto out_reservation;
	*queue = &new->base;
	return 0;

out_reservation:
	if (new->reservation)
		soft_unreserve(dev, new->reservation);
out_cond:
	pthread_cond_destroy(&new->ended);
out_free:
	free(new);
	return err;
}

/* Has the engine end the queue's jobs, then takes the queue away from it. */
static void drain(struct soft_queue *queue)
{
	struct soft_engine *engine = queue->engine;

	pthread_mutex_lock(&engine->lock);
	atomic_store(&queue->closing, true);
	soft_engine_news(engine, queue);
	soft_engine_kick(engine);
	while (queue->head)
		pthread_cond_wait(&queue->ended, &engine->lock);
	pthread_mutex_unlock(&engine->lock);
}

/* Device lock held. Returns the engine if this was its last queue. */
static struct soft_engine *detach(struct soft_dev *dev, struct soft_queue *queue)
{
	struct soft_engine *engine = queue->engine;
	struct soft_queue **at;
	bool last;

	pthread_mutex_lock(&engine->lock);
	for (at = &engine->queues; *at != queue; at = &(*at)->next)
		;
	*at = queue->next;
	for (at = &engine->news; *at && *at != queue; at = &(*at)->next_news)
		;
	if (*at)
		*at = queue->next_news;
	qos_flow_fini(&engine->rq, &queue->flow);
	last = !engine->queues;
	pthread_mutex_unlock(&engine->lock);
	dev->queue_count--;
	if (!last)
		return NULL;
	dev->engines[engine->slot] = NULL;
	return engine;
}

void soft_queue_destroy(struct accel_queue *base)
{
	struct soft_queue *queue = (struct soft_queue *)base;
	struct soft_dev *dev = (struct soft_dev *)base->dev;
	uint32_t slot = queue->engine->slot;
	struct soft_engine *idle;

	drain(queue);
	pthread_mutex_lock(&dev->lock);
	idle = detach(dev, queue);
	pthread_mutex_unlock(&dev->lock);
	if (idle)
		soft_engine_stop(idle);
	if (queue->reservation)
		soft_unreserve(dev, queue->reservation);
	unuse_npu(dev, slot);
	pthread_cond_destroy(&queue->ended);
	free(queue);
}

static int claim_signals(struct soft_job *job)
{
	uint32_t i;
	int err;

	for (i = 0; i < job->signal_count; i++) {
		struct soft_signal *signal = &job->signals[i];

		err = soft_timeline_claim(signal->timeline, &signal->slot);
		if (err)
			goto out_end;
	}
	return 0;

out_end:
	while (i--)
		soft_timeline_end(job->signals[i].timeline, job->signals[i].slot);
	return err;
}

static void set_class(struct soft_queue *queue, struct soft_job *job,
		      const struct accel_submit_qos *qos)
{
	bool own = !(qos->flags & ACCEL_SUBMIT_CLASS);

	job->class_id = own ? queue->qos.class_id : qos->class_id;
	job->weight = own || !qos->weight ? queue->qos.weight : qos->weight;
	job->deadline = qos->deadline_ns;
}

/* Engine lock held. Whether the job may be queued, as what it is or as bulk. */
static int check_deadline(struct soft_queue *queue, struct soft_job *job, uint32_t flags,
			  struct accel_admission *admission)
{
	bool first = queue->submitted == queue->done;

	if (job->class_id != ACCEL_CLASS_DEADLINE || !job->deadline)
		return 0;
	soft_admit(queue->engine->dev, job, first ? 0 : queue->last_deadline, admission);
	if (!admission->reason)
		return 0;
	atomic_fetch_add(&soft_class_of(queue->engine, job)->refused, 1);
	job->class_id = ACCEL_CLASS_BULK;
	return flags & ACCEL_SUBMIT_ANYWAY ? 0 : -EBUSY;
}

/* Engine lock held: points are submitted in the order of the queue. */
static int append(struct soft_queue *queue, struct soft_job *job, uint32_t flags,
		  struct accel_admission *admission)
{
	int err;

	if (queue->submitted - queue->done >= SOFT_QUEUE_DEPTH)
		return -EBUSY;
	err = check_deadline(queue, job, flags, admission);
	if (!err)
		err = claim_signals(job);
	if (err)
		return err;
	queue->last_deadline = job->promise ? job->deadline : UINT64_MAX;
	if (!queue->head) {
		/* The engine may be busy: that it has to come to look counts as waiting. */
		job->ready_at = job->wait_count ? 0 : clock_now();
		soft_engine_news(queue->engine, queue);
	}
	for (uint32_t i = 0; i < job->signal_count; i++)
		soft_timeline_publish(job->signals[i].timeline, job->signals[i].slot,
				      job->signals[i].value);
	job->seqno = ++queue->submitted;
	*queue->tail = job;
	queue->tail = &job->next;
	return 0;
}

int soft_queue_submit(struct accel_queue *base, const struct accel_submit *submit,
		      const struct accel_submit_qos *qos, uint64_t *seqno,
		      struct accel_admission *admission)
{
	struct soft_queue *queue = (struct soft_queue *)base;
	struct soft_engine *engine = queue->engine;
	struct soft_job *job;
	bool first;
	int err;

	err = soft_job_build(queue, submit, &job);
	if (err)
		return err;
	set_class(queue, job, qos);
	*admission = (struct accel_admission){ 0 };
	pthread_mutex_lock(&engine->lock);
	first = !queue->head;
	err = append(queue, job, qos->flags, admission);
	if (!err)
		*seqno = job->seqno;
	pthread_mutex_unlock(&engine->lock);
	if (err) {
		soft_promise_end(engine->dev, job);
		soft_job_free(job);
		return err;
	}
	atomic_fetch_add(&engine->npu->counters.submitted, 1);
	/* The engine comes by itself to one behind others. */
	if (first)
		soft_engine_kick(engine);
	return 0;
}

/* Engine lock held. */
static int recall(const struct soft_queue *queue, uint64_t seqno, struct accel_result *result)
{
	for (uint32_t i = 0; i < SOFT_FAILURES && i < queue->failure_count; i++)
		if (queue->failures[i].seqno == seqno) {
			*result = queue->failures[i].result;
			return result->error;
		}
	if (queue->forgotten_first && seqno >= queue->forgotten_first &&
	    seqno <= queue->forgotten_last)
		return -ENODATA;
	*result = (struct accel_result){ 0 };
	return 0;
}

int soft_queue_wait(struct accel_queue *base, uint64_t seqno, int64_t deadline_ns,
		    struct accel_result *result)
{
	struct soft_queue *queue = (struct soft_queue *)base;
	struct soft_engine *engine = queue->engine;
	struct timespec until = clock_timespec(deadline_ns);
	int err = 0;

	pthread_mutex_lock(&engine->lock);
	if (!seqno || seqno > queue->submitted) {
		pthread_mutex_unlock(&engine->lock);
		return -EINVAL;
	}
	while (queue->done < seqno && !err)
		err = pthread_cond_timedwait(&queue->ended, &engine->lock, &until);
	err = queue->done < seqno ? -ETIME : recall(queue, seqno, result);
	pthread_mutex_unlock(&engine->lock);
	return err;
}

/* In slices, so that the death of the NPU ends it. */
static int model_sleep(struct soft_npu *npu, int64_t end)
{
	int64_t left;

	while (end && (left = end - clock_now()) > 0) {
		struct timespec nap = clock_timespec(left < SOFT_POLL_NS ? left : SOFT_POLL_NS);

		if (atomic_load(&npu->state) != SOFT_NPU_ONLINE)
			return -ENODEV;
		nanosleep(&nap, NULL);
	}
	return 0;
}

/*
 * Counts a copy and says for how many its time is to stand: reading the clock
 * would cost a small copy in the cache a tenth of its speed.
 */
static unsigned int begin_timing(struct soft_npu *npu, uint64_t size, int64_t *begin)
{
	uint64_t number = atomic_fetch_add(&npu->counters.submitted, 1);
	bool slow = size >= SOFT_CHUNK || npu->bandwidth || npu->latency_ns;

	if (!slow && number % TIMED_OF)
		return 0;
	*begin = clock_now();
	return slow ? 1 : TIMED_OF;
}

/*
 * It is in no queue and so in order with none: the caller's own thread moves the
 * bytes, which spares small copies two switches. The NPU's model, faults and
 * counters apply as on its engine.
 */
int soft_copy(struct accel_buffer *dst, uint64_t dst_offset, struct accel_buffer *src,
	      uint64_t src_offset, uint64_t size, uint32_t flags)
{
	struct accel_seg seg = { dst_offset, src_offset, size };
	struct soft_op op = {
		.type = ACCEL_OP_COPY, .seg_count = 1, .segs = &seg,
		.dst = (struct soft_buffer *)dst, .src = (struct soft_buffer *)src,
	};
	struct soft_dev *dev = (struct soft_dev *)dst->dev;
	struct soft_npu *npu = &dev->control->npus[op.dst->entry->npus[0] % SOFT_NPUS];
	bool stream = copy_should_stream(size, flags);
	uint32_t fault;
	unsigned int stands_for;
	int64_t begin = 0;
	int err;

	err = soft_move_check(&op);
	if (err)
		return err;
	if (soft_move_lost(op.dst, &fault) || soft_move_lost(op.src, &fault))
		return -ENODEV;
	stands_for = begin_timing(npu, size, &begin);
	err = soft_move_begin(npu);
	if (!err)
		err = model_sleep(npu, soft_model(npu, 0, npu->latency_ns));
	for (uint64_t done = 0; !err && done < size; done += SOFT_CHUNK) {
		uint64_t part = size - done < SOFT_CHUNK ? size - done : SOFT_CHUNK;

		err = soft_move(npu, &op, &seg, done, part, stream, &fault);
		if (!err)
			err = model_sleep(npu, soft_model(npu, part, 0));
	}
	atomic_fetch_add(err ? &npu->counters.failed : &npu->counters.done, 1);
	if (stands_for)
		atomic_fetch_add(&npu->counters.busy_ns, (clock_now() - begin) * stands_for);
	return err;
}
