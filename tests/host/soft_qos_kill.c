// SPDX-License-Identifier: MIT
/*
 * The arbiter of a soft pool between processes: shares, promises and policies
 * hold across them, and whoever is killed, wherever it is, leaves nothing behind
 * and holds nobody up.
 */
#include <accel/qos.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "pool.h"
#include "provider/soft_queue.h"

#define PORTS 64
#define KILLS 300
#define SLOTS 4

/* What a test and its children share. */
struct board {
	uint32_t src, dst, engine;
	struct accel_queue_qos qos[SLOTS];
	_Atomic uint64_t done[SLOTS];
	_Atomic uint32_t started;
	_Atomic bool go, stop;
};

static struct board *board;

POOL_FIXTURE(between)

static struct board *board_new(const struct pool *p)
{
	struct board *new = mmap(NULL, sizeof(*new), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	must(new != MAP_FAILED);
	new->src = p->npu[0];
	new->dst = p->npu[1];
	new->engine = p->npu[2];
	return new;
}

static bool ports_clear(struct accel_dev *dev)
{
	struct accel_port_info ports[PORTS];
	uint32_t count = PORTS, i;
	bool clear = true;

	must_ok(accel_ports(dev, ports, &count));
	must(count <= PORTS);
	for (i = 0; i < count; i++)
		clear &= !ports[i].inflight && !ports[i].promised && !ports[i].reserved;
	return clear;
}

/* With a budget in each millisecond, if there is one; bulk where that is not to be had. */
static struct accel_queue *queue_as(struct accel_dev *dev, uint32_t npu, uint32_t class,
				    uint32_t weight, uint64_t budget)
{
	struct accel_queue_qos qos = { .class_id = class, .weight = weight, .budget = budget };
	struct accel_queue *queue;
	int err;

	if (budget) {
		qos.period_ns = 1000000;
		qos.src = qos.dst = ACCEL_NPU_ANY;
	}
	err = accel_queue_create_qos(dev, npu, &qos, &queue);
	if (err == -EBUSY)
		return queue_on(dev, npu);
	must_ok(err);
	return queue;
}

/* A child's pool; a child that runs until it is told does not outlive a failed test. */
static struct accel_dev *child_open(void)
{
	must(!prctl(PR_SET_PDEATHSIG, SIGKILL));
	return dev_open();
}

/* --- shares --------------------------------------------------------------------------- */

#define PIECE KIB(4)
#define DEPTH 8

/* Copies piece by piece and counts them, until all are told to stop. */
static int sharer(int sock, const void *arg)
{
	uint32_t slot = *(const uint32_t *)arg;
	struct accel_dev *dev = child_open();
	struct accel_buffer *src = buffer_on(dev, board->src, PIECE);
	struct accel_buffer *dst = buffer_on(dev, board->dst, PIECE);
	struct accel_queue *queue = queue_as(dev, board->engine, board->qos[slot].class_id,
					     board->qos[slot].weight, 0);
	struct accel_seg seg = { 0, 0, PIECE };
	struct accel_op op = { ACCEL_OP_COPY, 1, dst, src, 0, &seg };
	uint64_t seqno = 0, i;

	say(sock, 1);
	hear(sock);
	for (i = 0; i < DEPTH; i++)
		must_ok(submit_ops(queue, &op, 1, &seqno));
	for (i = 1; !atomic_load(&board->stop); i++) {
		must_ok(accel_queue_wait(queue, i, LONG_NS, NULL));
		atomic_fetch_add(&board->done[slot], 1);
		must_ok(submit_ops(queue, &op, 1, &seqno));
	}
	accel_queue_destroy(queue);
	accel_buffer_close(src);
	accel_buffer_close(dst);
	accel_close(dev);
	return 0;
}

static uint64_t total(void)
{
	uint64_t sum = 0, i;

	for (i = 0; i < SLOTS; i++)
		sum += atomic_load(&board->done[i]);
	return sum;
}

/* Four processes over the ports of slow NPUs, which are what they contend for. */
static void share(struct pool *p, uint64_t pieces)
{
	static const uint32_t slots[SLOTS] = { 0, 1, 2, 3 };
	struct child children[SLOTS];
	struct accel_npu_config config;
	uint32_t i;

	npu_config(&config, MIB(1), 0);
	config.bandwidth = MIB(4);
	must_ok(accel_npu_add(p->dev, &config, &board->engine));
	npu_config(&config, MIB(1), 0);
	config.bandwidth = MIB(4);
	must_ok(accel_npu_add(p->dev, &config, &board->dst));
	for (i = 0; i < SLOTS; i++) {
		children[i] = child_start(sharer, &slots[i]);
		hear(children[i].sock);
	}
	for (i = 0; i < SLOTS; i++)
		say(children[i].sock, 1);
	while (total() < pieces)
		nap(5);
	atomic_store(&board->stop, true);
	for (i = 0; i < SLOTS; i++)
		must(!child_end(&children[i]));
	must_ok(accel_npu_remove(p->dev, board->engine));
	must_ok(accel_npu_remove(p->dev, board->dst));
}

TEST_F(between, processes_share_by_weight)
{
	uint64_t light, heavy;
	int i;

	board = board_new(&self->p);
	for (i = 0; i < SLOTS; i++)
		board->qos[i] = (struct accel_queue_qos){ .weight = i < 2 ? 64 : 128 };
	share(&self->p, 1500);
	light = board->done[0] + board->done[1];
	heavy = board->done[2] + board->done[3];
	TH_LOG("weight 64: %u, 128: %u", (unsigned int)light, (unsigned int)heavy);
	/* Two to one, but for what the scheduler of this machine adds. */
	EXPECT_LT(light * 3, heavy * 2);
	EXPECT_LT(heavy, light * 3);
	EXPECT_TRUE(ports_clear(self->p.dev));
}

TEST_F(between, processes_share_by_class)
{
	uint64_t scrub;
	int i;

	board = board_new(&self->p);
	for (i = 0; i < SLOTS; i++)
		board->qos[i] = (struct accel_queue_qos){
			.class_id = i ? ACCEL_CLASS_BULK : ACCEL_CLASS_SCRUB, .weight = 64,
		};
	share(&self->p, 1500);
	scrub = board->done[0];
	TH_LOG("scrub: %u, bulk: %u %u %u", (unsigned int)scrub, (unsigned int)board->done[1],
	       (unsigned int)board->done[2], (unsigned int)board->done[3]);
	for (i = 1; i < SLOTS; i++)
		EXPECT_LT(scrub * 2, atomic_load(&board->done[i]));
	EXPECT_TRUE(ports_clear(self->p.dev));
}

/* --- promises ------------------------------------------------------------------------- */

#define SECOND 1000000000ull

static uint64_t in_seconds(unsigned int s)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (ts.tv_sec + s) * SECOND + ts.tv_nsec;
}

static int fill_by(struct accel_queue *queue, struct accel_buffer *dst, uint64_t size,
		   uint64_t deadline, struct accel_admission *admission)
{
	struct accel_seg seg = { 0, 0, size };
	struct accel_op op = { ACCEL_OP_FILL, 1, dst, NULL, 0, &seg };
	struct accel_submit submit = { .ops = &op, .op_count = 1 };
	struct accel_submit_qos qos = { .flags = ACCEL_SUBMIT_CLASS,
					.class_id = ACCEL_CLASS_DEADLINE,
					.deadline_ns = deadline };
	uint64_t seqno;

	return accel_queue_submit_qos(queue, &submit, &qos, &seqno, admission);
}

/* Has most of what a slow NPU's port can promise, and waits for its end. */
static int promised(int sock, const void *arg)
{
	struct accel_dev *dev = child_open();
	struct accel_queue *queue = queue_on(dev, board->engine);

	fill_by(queue, buffer_on(dev, board->dst, MIB(1)), MIB(1), in_seconds(30), NULL);
	say(sock, 1);
	hear(sock);
	return 0;
}

static int reserving(int sock, const void *arg)
{
	struct accel_dev *dev = child_open();

	queue_as(dev, board->engine, ACCEL_CLASS_CONTROL, 64, 600000);
	say(sock, 1);
	hear(sock);
	return 0;
}

TEST_F(between, a_reservation_ends_with_its_process)
{
	struct accel_queue_qos qos = {
		.class_id = ACCEL_CLASS_LATENCY, .budget = 600000, .period_ns = 1000000,
		.src = ACCEL_NPU_ANY, .dst = ACCEL_NPU_ANY,
	};
	struct accel_queue *queue;
	struct child child;

	board = board_new(&self->p);
	child = child_start(reserving, NULL);
	hear(child.sock);
	EXPECT_EQ(-EBUSY, accel_queue_create_qos(self->p.dev, self->p.npu[3], &qos, &queue));
	child_kill(&child);
	EXPECT_EQ(0, accel_queue_create_qos(self->p.dev, self->p.npu[3], &qos, &queue));
	accel_queue_destroy(queue);
	EXPECT_TRUE(ports_clear(self->p.dev));
}

TEST_F(between, a_promise_ends_with_its_process)
{
	struct accel_npu_config config;
	struct accel_admission admission;
	struct accel_queue *queue;
	struct accel_buffer *dst;
	uint32_t slow = npu_add(self->p.dev, MIB(1), SLOW_NS);
	struct child child;

	board = board_new(&self->p);
	npu_config(&config, MIB(4), 0);
	config.bandwidth = KIB(64);
	must_ok(accel_npu_add(self->p.dev, &config, &board->dst));
	board->engine = slow;
	dst = buffer_on(self->p.dev, board->dst, MIB(1));
	queue = queue_on(self->p.dev, self->p.npu[3]);
	child = child_start(promised, NULL);
	hear(child.sock);
	EXPECT_EQ(-EBUSY, fill_by(queue, dst, MIB(1), in_seconds(30), &admission));
	EXPECT_EQ(ACCEL_REASON_DST, admission.reason);
	child_kill(&child);
	EXPECT_EQ(0, fill_by(queue, dst, MIB(1), in_seconds(30), &admission));
	accel_queue_destroy(queue);
	accel_buffer_close(dst);
	accel_npu_remove(self->p.dev, slow);
	accel_npu_remove(self->p.dev, board->dst);
	EXPECT_TRUE(ports_clear(self->p.dev));
}

/* --- policies ------------------------------------------------------------------------- */

/* Runs a copy and tells the policy by which its engine did it, once asked. */
static int follower(int sock, const void *arg)
{
	struct accel_dev *dev = child_open();
	struct accel_buffer *dst = buffer_on(dev, board->dst, KIB(64));
	struct accel_queue *queue = queue_on(dev, board->engine);
	struct soft_engine *engine = ((struct soft_queue *)queue)->engine;

	while (hear(sock)) {
		struct accel_qos_info info;
		uint32_t policy;

		must_ok(run_fill(queue, dst, 0, KIB(64), 1));
		must_ok(accel_qos_info(dev, &info));
		pthread_mutex_lock(&engine->lock);
		policy = engine->rq.policy;
		pthread_mutex_unlock(&engine->lock);
		must(policy == info.policy);
		say(sock, policy);
	}
	accel_queue_destroy(queue);
	accel_buffer_close(dst);
	accel_close(dev);
	return 0;
}

TEST_F(between, a_policy_holds_in_all_processes)
{
	static const uint32_t policies[] = {
		ACCEL_POLICY_HYBRID, ACCEL_POLICY_FIFO, ACCEL_POLICY_STRICT_WINDOWS,
		ACCEL_POLICY_STRICT, ACCEL_POLICY_HYBRID,
	};
	struct accel_port_info before[PORTS], after[PORTS];
	struct accel_qos_info info;
	struct child child;
	uint32_t i, count = PORTS;

	board = board_new(&self->p);
	child = child_start(follower, NULL);
	for (i = 0; i < ARRAY_LEN(policies); i++) {
		must_ok(accel_qos_set_policy(self->p.dev, policies[i]));
		say(child.sock, 1);
		EXPECT_EQ(policies[i], hear(child.sock));
	}
	must_ok(accel_ports(self->p.dev, before, &count));
	must_ok(accel_qos_set_slack(self->p.dev, 50000000));
	must_ok(accel_ports(self->p.dev, after, &count));
	EXPECT_LT(before[0].window, after[0].window);
	must_ok(accel_qos_info(self->p.dev, &info));
	EXPECT_EQ(50000000, info.slack_ns);
	must_ok(accel_qos_set_slack(self->p.dev, QOS_SLACK));
	say(child.sock, 0);
	EXPECT_EQ(0, child_end(&child));
}

/* --- death ---------------------------------------------------------------------------- */

/*
 * Copies without end on two engines, of all classes: small pieces, so that it is
 * in the arbiter much of the time, with windows in flight or waiting for others'.
 */
static int victim(int sock, const void *arg)
{
	struct accel_dev *dev = child_open();
	struct accel_buffer *src = buffer_on(dev, board->src, KIB(64));
	struct accel_buffer *dst = buffer_on(dev, board->dst, KIB(64));
	struct accel_queue *queues[] = {
		queue_as(dev, board->engine, ACCEL_CLASS_BULK, 64, 0),
		queue_as(dev, board->src, ACCEL_CLASS_LATENCY, 64, KIB(4)),
		queue_as(dev, board->dst, ACCEL_CLASS_DEADLINE, 64, 0),
		queue_as(dev, board->engine, ACCEL_CLASS_SCRUB, 64, 0),
	};
	uint64_t seed = getpid(), seqno;

	say(sock, 1);
	for (;;) {
		uint64_t at = rnd(&seed) % KIB(60);
		struct accel_seg seg = { at, at, 1 + rnd(&seed) % KIB(4) };
		struct accel_op op = { ACCEL_OP_COPY, 1, dst, src, 0, &seg };
		struct accel_submit submit = { .ops = &op, .op_count = 1 };
		struct accel_submit_qos qos = { .deadline_ns = in_seconds(20) };

		accel_queue_submit_qos(queues[rnd(&seed) % ARRAY_LEN(queues)], &submit, &qos,
				       &seqno, NULL);
	}
	return 0;
}

/* Dies in the middle of a change: what it leaves under the lock is anything. */
static int vandal(int sock, const void *arg)
{
	struct accel_dev *dev = child_open();
	struct soft_dev *soft = (struct soft_dev *)dev;
	struct accel_queue *queue = queue_as(dev, board->engine, ACCEL_CLASS_CONTROL, 64, KIB(4));
	struct soft_turn turn;
	uint32_t i;

	must(queue);
	soft_qos_lock(soft, &turn);
	for (i = 0; i < SOFT_PORTS; i++) {
		struct qos_port *port = &soft->control->qos.ports[i];

		if (!port->bandwidth)
			continue;
		port->inflight = port->reserved = port->promised = 1 + rnd(&turn.now);
		port->waiting[i % QOS_RANKS].root = 0;
		port->demand.root = 0;
		port->rate = 1;
	}
	kill(getpid(), SIGKILL);
	return 0;
}

/* Copies, checks, and tells how often, until told to stop. */
static int survivor(int sock, const void *arg)
{
	struct accel_dev *dev = child_open();
	struct accel_buffer *src = buffer_on(dev, board->src, KIB(64));
	struct accel_buffer *dst = buffer_on(dev, board->dst, KIB(64));
	struct accel_queue *queue = queue_on(dev, board->engine);
	uint8_t *from = buffer_map(src), *to = buffer_map(dst);
	uint64_t round = 0;

	say(sock, 1);
	while (!atomic_load(&board->stop)) {
		scribble(from, KIB(64), ++round);
		must_ok(run_copy(queue, dst, 0, src, 0, KIB(64)));
		must(!memcmp(from, to, KIB(64)));
		atomic_fetch_add(&board->done[*(const uint32_t *)arg], 1);
	}
	accel_buffer_unmap(dev, from, KIB(64));
	accel_buffer_unmap(dev, to, KIB(64));
	accel_queue_destroy(queue);
	accel_buffer_close(src);
	accel_buffer_close(dst);
	accel_close(dev);
	return 0;
}

TEST_F(between, the_killed_leave_nothing)
{
	static const uint32_t slots[] = { 0, 1 };
	struct child survivors[2], victims[3];
	uint64_t seed = getpid(), done[2];
	unsigned int i, kills = scaled(KILLS);

	board = board_new(&self->p);
	for (i = 0; i < 2; i++) {
		survivors[i] = child_start(survivor, &slots[i]);
		hear(survivors[i].sock);
	}
	for (i = 0; i < ARRAY_LEN(victims); i++) {
		victims[i] = child_start(victim, NULL);
		hear(victims[i].sock);
	}
	for (i = 0; i < kills; i++) {
		struct child *one = &victims[i % ARRAY_LEN(victims)];

		usleep(rnd(&seed) % 5000);
		child_kill(one);
		if (i % 4 == 3) {
			*one = child_start(vandal, NULL);
			EXPECT_EQ(-SIGKILL, child_end(one));
		}
		*one = child_start(victim, NULL);
		hear(one->sock);
	}
	for (i = 0; i < ARRAY_LEN(victims); i++)
		child_kill(&victims[i]);
	for (i = 0; i < 2; i++)
		done[i] = atomic_load(&board->done[i]);
	for (i = 0; i < 2; i++)
		EXPECT_TRUE(eventually(atomic_load(&board->done[i]) > done[i] + 10));
	atomic_store(&board->stop, true);
	for (i = 0; i < 2; i++)
		EXPECT_EQ(0, child_end(&survivors[i]));
	EXPECT_TRUE(ports_clear(self->p.dev));
}

TEST_HARNESS_MAIN
