// SPDX-License-Identifier: MIT
/*
 * Windows: what a job moves next, room for it at the ports, and moving it. A
 * window never spans two pairs of ports; all that goes between the same two,
 * whichever segments and operations it is of, can be in one.
 */
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "clock.h"
#include "memcpy.h"
#include "soft_queue.h"

/* A place in a job: that of its next byte. */
struct cursor {
	uint32_t op, seg;
	uint64_t offset;
};

/* The port through which a buffer's byte is read, or with @side 1 written. */
uint32_t soft_port_of(const struct soft_buffer *buffer, uint64_t offset, uint32_t side)
{
	const struct soft_entry *entry = buffer->entry;
	uint64_t k = entry->stripe ? offset / entry->stripe % entry->npu_count : 0;

	return 2 * (entry->npus[k % SOFT_NPUS] % SOFT_NPUS) + side;
}

/* Bytes from there on that are the same NPU's. */
static uint64_t run_of(const struct soft_buffer *buffer, uint64_t offset)
{
	uint64_t stripe = buffer->entry->stripe;

	return stripe ? stripe - offset % stripe : UINT64_MAX;
}

/* The ports between which a job goes on, and for how many bytes it stays with them. */
static uint64_t stretch(const struct soft_job *job, const struct cursor *at, uint32_t *ports)
{
	const struct soft_op *op = &job->ops[at->op];
	const struct accel_seg *seg = &op->segs[at->seg];
	uint64_t to = seg->dst_offset + at->offset, from = seg->src_offset + at->offset;
	uint64_t bytes = seg->size - at->offset, run = run_of(op->dst, to);

	ports[0] = QOS_NO_PORT;
	ports[1] = soft_port_of(op->dst, to, 1);
	bytes = bytes < run ? bytes : run;
	if (!op->src)
		return bytes;
	ports[0] = soft_port_of(op->src, from, 0);
	run = run_of(op->src, from);
	return bytes < run ? bytes : run;
}

/* True at the end of an operation. */
static bool advance(const struct soft_job *job, struct cursor *at, uint64_t size)
{
	const struct soft_op *op = &job->ops[at->op];

	at->offset += size;
	if (at->offset < op->segs[at->seg].size)
		return false;
	at->offset = 0;
	if (++at->seg < op->seg_count)
		return false;
	at->seg = 0;
	at->op++;
	return true;
}

static struct cursor cursor_of(const struct soft_job *job)
{
	return (struct cursor){ job->op, job->seg, job->offset };
}

/* What the job's next window could be, were there all the room in the world. */
static void next_window(const struct soft_job *job, struct soft_window *window)
{
	struct cursor at = cursor_of(job);
	uint32_t ports[2], walked = 0;

	window->bytes = stretch(job, &at, window->ports);
	advance(job, &at, window->bytes);
	while (window->bytes < QOS_MAX_WINDOW && at.op < job->op_count && ++walked < SOFT_WALK) {
		uint64_t bytes = stretch(job, &at, ports);

		if (ports[0] != window->ports[0] || ports[1] != window->ports[1])
			return;
		window->bytes += bytes;
		advance(job, &at, bytes);
	}
}

static bool covered(const struct soft_queue *queue, const uint32_t *ports)
{
	return queue->reservation &&
	       (ports[0] == QOS_NO_PORT || soft_reserved_at(queue->reservation, ports[0])) &&
	       soft_reserved_at(queue->reservation, ports[1]);
}

/* The queue's first job has something to move. */
void soft_window_head(const struct soft_queue *queue, struct qos_head *head)
{
	const struct soft_job *job = queue->head;
	struct cursor at = cursor_of(job);
	uint32_t ports[2];

	stretch(job, &at, ports);
	*head = (struct qos_head) {
		.class = job->class_id,
		.weight = job->weight,
		.lane = qos_lane(ports[0], ports[1]),
		.covered = covered(queue, ports),
		.deadline = job->promise ? job->deadline : 0,
		.since = job->ready_at,
	};
}

/* The queue whose window was granted, NULL for none. The arbiter is locked. */
static struct soft_queue *take_grant(struct soft_engine *engine)
{
	const struct qos_ask *ask = qos_granted(&engine->visitor->visitor);

	if (!ask)
		return NULL;
	engine->window.ports[0] = ask->port[0];
	engine->window.ports[1] = ask->port[1];
	engine->window.bytes = ask->bytes;
	engine->asked = 0;
	return engine->asks[ask->index].queue;
}

/* Looks whether one of its asks was granted. What was lost with its granter is asked for anew. */
static struct soft_queue *look(struct soft_engine *engine)
{
	struct qos_visitor *visitor = &engine->visitor->visitor;
	struct soft_queue *queue;
	struct soft_turn turn;

	soft_qos_lock_at(engine->dev, &turn, engine->visitor, engine->now);
	queue = take_grant(engine);
	if (queue) {
		/* It was others' windows that made it wait. */
		qos_begin(visitor, engine->now);
	} else if (visitor->count != engine->asked) {
		qos_withdraw(&turn.ports, visitor);
		engine->asked = 0;
	}
	soft_qos_unlock(&turn);
	return queue;
}

/* Waits for nothing any more, and wants nothing of what it was granted meanwhile. */
void soft_window_forget(struct soft_engine *engine)
{
	struct qos_visitor *visitor = &engine->visitor->visitor;
	struct soft_turn turn;

	if (!engine->asked)
		return;
	soft_qos_lock_at(engine->dev, &turn, engine->visitor, engine->now);
	qos_withdraw(&turn.ports, visitor);
	qos_done(&turn.ports, visitor, NULL, 0, turn.now);
	soft_qos_unlock(&turn);
	engine->asked = 0;
}

/* Adds an ask for a queue's next window; which queue may move one now, NULL for none. */
static struct soft_queue *ask(struct soft_engine *engine, struct soft_queue *queue)
{
	struct qos_visitor *visitor = &engine->visitor->visitor;
	struct soft_window window;
	struct soft_turn turn;

	next_window(queue->head, &window);
	engine->asks[engine->asked] = (struct soft_ask){ queue, queue->flow.rank };
	soft_qos_lock_at(engine->dev, &turn, engine->visitor, engine->now);
	/* Since it was done with the last one: what it takes to come to this one counts. */
	if (!engine->asked)
		qos_begin(visitor, engine->now);
	if (qos_ask(&turn.ports, visitor, &engine->rq, &queue->flow, window.ports[0],
		    window.ports[1], window.bytes))
		engine->asked++;
	soft_qos_settle(&turn);
	queue = take_grant(engine);
	soft_qos_unlock(&turn);
	return queue;
}

/*
 * The queue that may move a window now, NULL if there is none or no room. Asks in
 * the order in which the engine's queues are to go; what it waits for already
 * keeps its place unless something more urgent came. Engine lock held.
 */
struct soft_queue *soft_window_ask(struct soft_engine *engine)
{
	struct soft_queue *granted = engine->asked ? look(engine) : NULL;
	uint32_t i = 0, skip = 0;

	while (!granted && i < QOS_ASKS) {
		struct qos_flow *flow = qos_rq_pick(&engine->rq, skip, engine->now);
		struct soft_queue *queue;

		if (!flow)
			break;
		queue = (struct soft_queue *)((char *)flow - offsetof(struct soft_queue, flow));
		if (i < engine->asked && (engine->asks[i].queue != queue ||
					  engine->asks[i].rank != flow->rank)) {
			soft_window_forget(engine);
			skip = 0;
			i = 0;
			continue;
		}
		skip |= 1u << flow->head.lane;
		if (i++ == engine->asked)
			granted = ask(engine, queue);
	}
	return granted;
}

/* Until the modelled engine is done, or nobody cares any more. */
static void sleep_until(struct soft_engine *engine, struct soft_queue *queue, int64_t end)
{
	while (end) {
		uint32_t wake = atomic_load(&engine->wake);
		struct timespec patience;
		int64_t left = end - clock_now();

		if (left <= 0 || atomic_load(&queue->closing) || soft_engine_dead(engine))
			return;
		patience = clock_timespec(left < SOFT_POLL_NS ? left : SOFT_POLL_NS);
		syscall(SYS_futex, &engine->wake, FUTEX_WAIT_PRIVATE, wake, &patience, NULL, 0);
	}
}

/* What a window came to. */
struct outcome {
	uint64_t moved;
	/* When the modelled engine will have moved it; then, when it has begun the next operation. */
	int64_t end, begun;
};

static int begin_op(struct soft_npu *npu, struct soft_job *job, struct outcome *outcome)
{
	int err = soft_move_begin(npu);

	if (err)
		return err;
	job->op_begun = true;
	outcome->begun = soft_model(npu, 0, npu->latency_ns);
	return 0;
}

/* Moves up to the window that was granted. */
static int move(struct soft_engine *engine, struct soft_job *job, struct outcome *outcome)
{
	const struct soft_window *window = &engine->window;
	struct soft_npu *npu = engine->npu;
	int err;

	while (outcome->moved < window->bytes && job->op < job->op_count) {
		const struct soft_op *op = &job->ops[job->op];
		const struct accel_seg *seg = &op->segs[job->seg];
		struct cursor at = cursor_of(job);
		uint64_t left = window->bytes - outcome->moved, size;
		uint32_t ports[2];

		size = stretch(job, &at, ports);
		if (!job->op_begun) {
			err = begin_op(npu, job, outcome);
			if (err || outcome->begun)
				return err;
		}
		size = size < left ? size : left;
		err = soft_move(npu, op, seg, job->offset, size, copy_should_stream(seg->size, 0),
				&job->result.npu);
		if (err)
			return err;
		outcome->end = soft_model(npu, size, 0);
		outcome->moved += size;
		if (advance(job, &at, size))
			job->op_begun = false;
		job->op = at.op;
		job->seg = at.seg;
		job->offset = at.offset;
	}
	return 0;
}

/* At its turn: it has stood with bulk, so what was promised for it is void. */
static void note_demotion(struct soft_engine *engine, struct soft_queue *queue)
{
	struct soft_job *job = queue->head;

	if (!queue->flow.demoted)
		return;
	queue->flow.demoted = false;
	soft_promise_end(engine->dev, job);
	if (!job->demoted)
		atomic_fetch_add(&soft_class_of(engine, job)->demoted, 1);
	job->demoted = true;
}

/* Tells the arbiter; the room is free from now on. */
static void give_back(struct soft_engine *engine, struct soft_queue *queue, uint64_t moved)
{
	struct soft_job *job = queue->head;
	struct soft_turn turn;

	engine->now = clock_now();
	soft_qos_lock_at(engine->dev, &turn, engine->visitor, engine->now);
	if (job->promise)
		soft_promise_moved(&turn, job->promise, engine->window.ports, moved);
	qos_done(&turn.ports, &engine->visitor->visitor, &queue->flow, moved, turn.now);
	soft_qos_unlock(&turn);
}

/* Moves the window that was granted to a queue. An operation's latency takes no room. */
int soft_window_move(struct soft_engine *engine, struct soft_queue *queue, uint64_t *moved)
{
	struct soft_job *job = queue->head;
	struct soft_class *class = soft_class_of(engine, job);
	struct outcome outcome = { 0 };
	uint64_t begin = engine->now;
	int err;

	soft_job_started(engine, job, begin);
	note_demotion(engine, queue);
	err = move(engine, job, &outcome);
	sleep_until(engine, queue, outcome.end);
	give_back(engine, queue, outcome.moved);
	if (outcome.begun) {
		sleep_until(engine, queue, outcome.begun);
		engine->now = clock_now();
	}
	*moved = outcome.moved;
	atomic_fetch_add(&class->bytes, outcome.moved);
	atomic_fetch_add(&class->windows, outcome.moved != 0);
	atomic_fetch_add(&engine->npu->counters.busy_ns, engine->now - begin);
	return err;
}
