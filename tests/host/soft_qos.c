// SPDX-License-Identifier: MIT
/*
 * The arbiter in a soft pool, seen from within: engines that wait for room, who
 * is granted it and does nothing with it, and ports built again after the death
 * of the lock's owner. All in one process; soft_qos_kill.c has several.
 */
#include <accel/qos.h>

#include "pool.h"
#include "provider/soft_queue.h"

POOL_FIXTURE(soft_qos)

static struct soft_dev *inside(const struct pool *p)
{
	return (struct soft_dev *)p->dev;
}

static uint32_t slot_of(const struct pool *p, int i)
{
	struct soft_dev *dev = inside(p);
	uint32_t slot;

	soft_lock(dev);
	slot = soft_npu_find(dev, p->npu[i]) - dev->control->npus;
	soft_unlock(dev);
	return slot;
}

static struct accel_port_info port_of(const struct pool *p, uint32_t npu, uint32_t side)
{
	static struct accel_port_info ports[SOFT_PORTS];
	uint32_t count = SOFT_PORTS, i;

	must_ok(accel_ports(p->dev, ports, &count));
	for (i = 0; i < count; i++)
		if (ports[i].npu == npu && ports[i].side == side)
			return ports[i];
	must(!"a port");
	return ports[0];
}

static struct accel_class_stats stats_of(const struct pool *p, int i, uint32_t class)
{
	static struct accel_class_stats stats[SOFT_NPUS * ACCEL_CLASSES];
	uint32_t count = ARRAY_LEN(stats), k;

	must_ok(accel_class_stats(p->dev, stats, &count));
	for (k = 0; k < count; k++)
		if (stats[k].npu == p->npu[i] && stats[k].class_id == class)
			return stats[k];
	must(!"stats");
	return stats[0];
}

static bool ports_clear(const struct pool *p)
{
	uint32_t i, side;
	bool clear = true;

	for (i = 0; i < OWN_NPUS; i++)
		for (side = 0; side < 2; side++) {
			struct accel_port_info port = port_of(p, p->npu[i], side);

			clear &= !port.inflight && !port.reserved && !port.promised;
		}
	return clear;
}

/* An engine that is none: it takes room and does as it likes with it. */
struct guest {
	struct soft_visitor *visitor;
	struct qos_rq rq;
	struct qos_flow flow;
};

/* Its window began @ago ns before now. */
static void guest_take(const struct pool *p, struct guest *guest, uint32_t out, uint32_t in,
		       int64_t ago)
{
	struct qos_params params = { .class = QOS_BULK, .weight = QOS_WEIGHT };
	struct qos_head head = { .weight = QOS_WEIGHT, .lane = qos_lane(out, in) };
	struct soft_turn turn;

	guest->visitor = soft_visitor_get(inside(p));
	must(guest->visitor);
	qos_rq_init(&guest->rq, QOS_HYBRID);
	qos_flow_init(&guest->flow, &params);
	qos_flow_ready(&guest->rq, &guest->flow, &head, 1);
	soft_qos_lock(inside(p), &turn);
	qos_ask(&turn.ports, &guest->visitor->visitor, &guest->rq, &guest->flow, out, in,
		QOS_MAX_WINDOW);
	soft_qos_settle(&turn);
	must(qos_granted(&guest->visitor->visitor));
	guest->visitor->granted_at = turn.now - ago;
	soft_qos_unlock(&turn);
}

static void guest_leave(const struct pool *p, struct guest *guest)
{
	soft_visitor_put(inside(p), guest->visitor);
}

#define FOREVER (-LONG_NS)

/* Two windows fill a port. */
static void fill_ports(const struct pool *p, struct guest *guests, int src, int dst, int64_t ago)
{
	int i;

	for (i = 0; i < 2; i++)
		guest_take(p, &guests[i], 2 * slot_of(p, src), 2 * slot_of(p, dst) + 1, ago);
}

static void clear_ports(const struct pool *p, struct guest *guests)
{
	guest_leave(p, &guests[0]);
	guest_leave(p, &guests[1]);
}

static struct soft_visitor *visitor_of(struct accel_queue *queue)
{
	return ((struct soft_queue *)queue)->engine->visitor;
}

static bool waits(const struct pool *p, struct accel_queue *queue)
{
	struct qos_visitor *visitor = &visitor_of(queue)->visitor;
	struct soft_turn turn;
	bool waiting;

	soft_qos_lock(inside(p), &turn);
	waiting = visitor->count && !visitor->granted;
	soft_qos_unlock(&turn);
	return waiting;
}

static uint64_t submit_copy(struct accel_queue *queue, struct accel_buffer *dst,
			    struct accel_buffer *src, uint64_t size)
{
	struct accel_seg seg = { 0, 0, size };
	struct accel_op op = { ACCEL_OP_COPY, 1, dst, src, 0, &seg };
	uint64_t seqno;

	must_ok(submit_ops(queue, &op, 1, &seqno));
	return seqno;
}

TEST_F(soft_qos, copies_give_their_room_back)
{
	struct accel_queue *queue = queue_on(self->p.dev, self->p.npu[0]);
	struct accel_buffer *src = buffer_on(self->p.dev, self->p.npu[1], MIB(1));
	struct accel_buffer *dst = buffer_on(self->p.dev, self->p.npu[2], MIB(1));
	struct accel_class_stats stats;
	uint8_t *from = buffer_map(src), *to = buffer_map(dst);
	unsigned int i;

	for (i = 0; i < scaled(50); i++) {
		scribble(from, MIB(1), i);
		ASSERT_EQ(0, run_copy(queue, dst, 0, src, 0, MIB(1)));
		ASSERT_EQ(0, memcmp(from, to, MIB(1)));
		ASSERT_EQ(0, run_fill(queue, dst, 4096, KIB(64), i));
	}
	EXPECT_TRUE(ports_clear(&self->p));
	stats = stats_of(&self->p, 0, ACCEL_CLASS_BULK);
	EXPECT_EQ(2 * scaled(50), stats.jobs);
	EXPECT_EQ(scaled(50) * (MIB(1) + KIB(64)), stats.bytes);
	EXPECT_LE(stats.jobs, stats.windows);
	accel_buffer_unmap(self->p.dev, from, MIB(1));
	accel_buffer_unmap(self->p.dev, to, MIB(1));
	accel_buffer_close(src);
	accel_buffer_close(dst);
	accel_queue_destroy(queue);
}

TEST_F(soft_qos, small_segments_share_a_window)
{
	struct accel_queue *queue = queue_on(self->p.dev, self->p.npu[0]);
	struct accel_buffer *buffer = buffer_on(self->p.dev, self->p.npu[1], KIB(64));
	struct accel_seg segs[64];
	struct accel_op ops[2] = {
		{ ACCEL_OP_COPY, 32, buffer, buffer, 0, segs },
		{ ACCEL_OP_COPY, 32, buffer, buffer, 0, segs + 32 },
	};
	unsigned int i;

	for (i = 0; i < 64; i++)
		segs[i] = (struct accel_seg){ KIB(32) + 16 * i, 16 * i, 16 };
	EXPECT_EQ(0, run_ops(queue, ops, 2));
	EXPECT_EQ(1, stats_of(&self->p, 0, ACCEL_CLASS_BULK).windows);
	accel_buffer_close(buffer);
	accel_queue_destroy(queue);
}

TEST_F(soft_qos, a_window_ends_where_the_ports_change)
{
	struct accel_where where = { ACCEL_PLACE_INTERLEAVE, OWN_NPUS, self->p.npu, KIB(4) };
	struct accel_queue *queue = queue_on(self->p.dev, self->p.npu[0]);
	struct accel_buffer *buffer;

	must_ok(accel_buffer_create(self->p.dev, KIB(64), &where, &buffer));
	EXPECT_EQ(0, run_fill(queue, buffer, KIB(2), KIB(8), 7));
	EXPECT_EQ(3, stats_of(&self->p, 0, ACCEL_CLASS_BULK).windows);
	accel_buffer_close(buffer);
	accel_queue_destroy(queue);
}

FIXTURE(waiting)
{
	struct pool p;
	struct accel_queue *queue;
	struct accel_buffer *src, *dst;
	struct guest guests[2];
};

FIXTURE_SETUP(waiting)
{
	pool_setup(&self->p);
	self->queue = queue_on(self->p.dev, self->p.npu[0]);
	self->src = buffer_on(self->p.dev, self->p.npu[1], KIB(64));
	self->dst = buffer_on(self->p.dev, self->p.npu[2], KIB(64));
}

FIXTURE_TEARDOWN(waiting)
{
	if (self->queue)
		accel_queue_destroy(self->queue);
	accel_buffer_close(self->src);
	accel_buffer_close(self->dst);
	EXPECT_TRUE(ports_clear(&self->p));
	EXPECT_TRUE(pool_teardown(&self->p));
}

TEST_F(waiting, for_room)
{
	uint64_t seqno;

	fill_ports(&self->p, self->guests, 1, 2, FOREVER);
	seqno = submit_copy(self->queue, self->dst, self->src, KIB(64));
	EXPECT_TRUE(eventually(waits(&self->p, self->queue)));
	EXPECT_EQ(-ETIME, accel_queue_wait(self->queue, seqno, 0, NULL));
	clear_ports(&self->p, self->guests);
	EXPECT_EQ(0, accel_queue_wait(self->queue, seqno, LONG_NS, NULL));
}

/* One that waits for full ports holds up none that goes elsewhere. */
TEST_F(waiting, beside_others_of_its_engine)
{
	struct accel_queue *other = queue_on(self->p.dev, self->p.npu[0]);
	struct accel_buffer *buffer = buffer_on(self->p.dev, self->p.npu[3], KIB(64));
	uint64_t seqno;

	fill_ports(&self->p, self->guests, 1, 2, FOREVER);
	seqno = submit_copy(self->queue, self->dst, self->src, KIB(64));
	EXPECT_TRUE(eventually(waits(&self->p, self->queue)));
	EXPECT_EQ(0, run_fill(other, buffer, 0, KIB(64), 1));
	EXPECT_EQ(-ETIME, accel_queue_wait(self->queue, seqno, 0, NULL));
	clear_ports(&self->p, self->guests);
	EXPECT_EQ(0, accel_queue_wait(self->queue, seqno, LONG_NS, NULL));
	accel_queue_destroy(other);
	accel_buffer_close(buffer);
}

TEST_F(waiting, until_it_is_cancelled)
{
	struct accel_queue *other = queue_on(self->p.dev, self->p.npu[0]);

	fill_ports(&self->p, self->guests, 1, 2, FOREVER);
	submit_copy(self->queue, self->dst, self->src, KIB(64));
	EXPECT_TRUE(eventually(waits(&self->p, self->queue)));
	accel_queue_destroy(self->queue);
	self->queue = NULL;
	clear_ports(&self->p, self->guests);
	EXPECT_EQ(0, run_fill(other, self->dst, 0, KIB(64), 1));
	accel_queue_destroy(other);
}

TEST_F(waiting, until_its_npu_is_removed)
{
	struct accel_result result;
	uint64_t seqno;

	fill_ports(&self->p, self->guests, 1, 2, FOREVER);
	seqno = submit_copy(self->queue, self->dst, self->src, KIB(64));
	EXPECT_TRUE(eventually(waits(&self->p, self->queue)));
	must_ok(accel_npu_remove(self->p.dev, self->p.npu[0]));
	EXPECT_EQ(-ENODEV, accel_queue_wait(self->queue, seqno, LONG_NS, &result));
	EXPECT_EQ(self->p.npu[0], result.npu);
	/* Its ports count with the others. */
	accel_queue_destroy(self->queue);
	self->queue = NULL;
	clear_ports(&self->p, self->guests);
	self->p.npu[0] = npu_add(self->p.dev, OWN_BYTES, 0);
}

/* Who was about to grant died half-way: no ask is left, and no grant has come. */
TEST_F(waiting, for_an_ask_that_was_lost)
{
	struct soft_turn turn;
	uint64_t seqno;

	fill_ports(&self->p, self->guests, 1, 2, FOREVER);
	seqno = submit_copy(self->queue, self->dst, self->src, KIB(64));
	EXPECT_TRUE(eventually(waits(&self->p, self->queue)));
	soft_qos_lock(inside(&self->p), &turn);
	qos_withdraw(&turn.ports, &visitor_of(self->queue)->visitor);
	soft_qos_unlock(&turn);
	clear_ports(&self->p, self->guests);
	EXPECT_EQ(0, accel_queue_wait(self->queue, seqno, LONG_NS, NULL));
}

/* A stopped process, say: its window was granted long ago. */
TEST_F(waiting, for_one_that_is_stopped)
{
	uint64_t seqno;

	fill_ports(&self->p, self->guests, 1, 2, 2 * SOFT_STALL_NS);
	seqno = submit_copy(self->queue, self->dst, self->src, KIB(64));
	EXPECT_EQ(0, accel_queue_wait(self->queue, seqno, LONG_NS, NULL));
	clear_ports(&self->p, self->guests);
}

/*
 * How far a queue is ahead of a port's clock with what it waits for, in parts of
 * how far a window takes it. A slot's next member must not have it wait longer.
 */
static uint64_t windows_ahead(const struct pool *p, struct accel_queue *queue, uint32_t port)
{
	const struct qos_share *share = &((struct soft_queue *)queue)->flow.group->share[port % 2];
	const struct qos_visitor *visitor = &visitor_of(queue)->visitor;
	struct soft_turn turn;
	uint64_t ahead;

	soft_qos_lock(inside(p), &turn);
	ahead = visitor->asks[0].node[port % 2].key - turn.ports.port[port].clock;
	soft_qos_unlock(&turn);
	return ahead / share->step;
}

TEST_F(waiting, no_longer_where_a_member_took_anothers_slot)
{
	uint32_t slot = slot_of(&self->p, 3);
	struct accel_buffer *buffer;
	unsigned int i;
	uint64_t seqno;

	buffer = buffer_on(self->p.dev, self->p.npu[3], MIB(1));
	for (i = 0; i < 16; i++)
		ASSERT_EQ(0, run_fill(self->queue, buffer, 0, MIB(1), i));
	accel_buffer_close(buffer);
	must_ok(accel_npu_remove(self->p.dev, self->p.npu[3]));
	self->p.npu[3] = npu_add(self->p.dev, OWN_BYTES, 0);
	ASSERT_EQ(slot, slot_of(&self->p, 3));

	buffer = buffer_on(self->p.dev, self->p.npu[3], KIB(64));
	fill_ports(&self->p, self->guests, 1, 3, FOREVER);
	seqno = submit_copy(self->queue, buffer, self->src, KIB(64));
	EXPECT_TRUE(eventually(waits(&self->p, self->queue)));
	EXPECT_GE(1, windows_ahead(&self->p, self->queue, 2 * slot + 1));
	clear_ports(&self->p, self->guests);
	EXPECT_EQ(0, accel_queue_wait(self->queue, seqno, LONG_NS, NULL));
	accel_buffer_close(buffer);
}

static void *die_with_the_lock(void *arg)
{
	struct soft_dev *dev = arg;
	struct soft_turn turn;
	uint32_t i;

	soft_qos_lock(dev, &turn);
	for (i = 0; i < SOFT_PORTS; i++) {
		struct qos_port *port = &dev->control->qos.ports[i];

		if (!port->bandwidth)
			continue;
		port->inflight = 12345678;
		port->promised = 12345678;
		port->reserved = 12345678;
		port->rate = 1;
		port->demand.root = 8;
		port->waiting[QOS_RANK_BULK].root = 8;
		port->dirty = 7;
	}
	return NULL;
}

/* Who gets the lock next builds the ports again: what waits, moves or is promised stays. */
TEST_F(waiting, while_the_locks_owner_dies)
{
	struct accel_queue_qos qos = {
		.class_id = ACCEL_CLASS_LATENCY, .weight = ACCEL_WEIGHT, .budget = KIB(64),
		.period_ns = 10000000, .src = self->p.npu[1], .dst = ACCEL_NPU_ANY,
	};
	struct accel_queue *latency;
	struct soft_engine *engine = ((struct soft_queue *)self->queue)->engine;
	struct accel_port_info before[4], after[4];
	struct soft_turn turn;
	pthread_t thread;
	uint64_t seqno;
	int i;

	must_ok(accel_queue_create_qos(self->p.dev, self->p.npu[3], &qos, &latency));
	fill_ports(&self->p, self->guests, 1, 2, FOREVER);
	seqno = submit_copy(self->queue, self->dst, self->src, KIB(64));
	EXPECT_TRUE(eventually(waits(&self->p, self->queue)));
	for (i = 0; i < 4; i++)
		before[i] = port_of(&self->p, self->p.npu[1 + i / 2], i % 2);
	EXPECT_NE(0, before[0].inflight);
	EXPECT_NE(0, before[0].reserved);
	/* Whoever joins the dead comes next, and not the engine: TSan knows of no other order. */
	pthread_mutex_lock(&engine->lock);
	must(!pthread_create(&thread, NULL, die_with_the_lock, inside(&self->p)));
	pthread_join(thread, NULL);
	soft_qos_lock(inside(&self->p), &turn);
	soft_qos_unlock(&turn);
	pthread_mutex_unlock(&engine->lock);
	for (i = 0; i < 4; i++) {
		after[i] = port_of(&self->p, self->p.npu[1 + i / 2], i % 2);
		EXPECT_EQ(before[i].inflight, after[i].inflight);
		EXPECT_EQ(before[i].reserved, after[i].reserved);
		EXPECT_EQ(before[i].promised, after[i].promised);
	}
	EXPECT_TRUE(waits(&self->p, self->queue));
	clear_ports(&self->p, self->guests);
	EXPECT_EQ(0, accel_queue_wait(self->queue, seqno, LONG_NS, NULL));
	accel_queue_destroy(latency);
}

TEST_HARNESS_MAIN
