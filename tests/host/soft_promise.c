// SPDX-License-Identifier: MIT
/*
 * Promises of a soft pool, as its ports show them: who holds what for how long,
 * and that it all goes again.
 */
#include <accel/qos.h>

#include "pool.h"
#include "provider/soft_queue.h"

/* Submits to @queue wait until @slow is destroyed. */
FIXTURE(promise)
{
	struct pool p;
	uint32_t slow_npu;
	struct accel_queue *slow, *queue;
	struct accel_buffer *src, *dst;
	struct accel_timeline *timeline;
};

FIXTURE_SETUP(promise)
{
	struct accel_point point;
	uint64_t seqno;

	pool_setup(&self->p);
	self->slow_npu = npu_add(self->p.dev, MIB(1), SLOW_NS);
	self->slow = queue_on(self->p.dev, self->slow_npu);
	self->queue = queue_on(self->p.dev, self->p.npu[0]);
	self->src = buffer_on(self->p.dev, self->p.npu[1], MIB(1));
	self->dst = buffer_on(self->p.dev, self->p.npu[2], MIB(1));
	self->timeline = timeline_new(self->p.dev);
	point = (struct accel_point){ self->timeline, 1 };
	must_ok(submit_slow(self->slow, self->src, &point, &seqno));
}

FIXTURE_TEARDOWN(promise)
{
	if (self->slow)
		accel_queue_destroy(self->slow);
	accel_queue_destroy(self->queue);
	accel_buffer_close(self->src);
	accel_buffer_close(self->dst);
	accel_timeline_close(self->timeline);
	accel_npu_remove(self->p.dev, self->slow_npu);
	EXPECT_TRUE(pool_teardown(&self->p));
}

static struct accel_port_info port_of(struct accel_dev *dev, uint32_t npu, uint32_t side)
{
	static struct accel_port_info ports[SOFT_PORTS];
	uint32_t count = SOFT_PORTS, i;

	must_ok(accel_ports(dev, ports, &count));
	for (i = 0; i < count; i++)
		if (ports[i].npu == npu && ports[i].side == side)
			return ports[i];
	must(!"a port");
	return ports[0];
}

static struct accel_class_stats stats_of(struct accel_dev *dev, uint32_t npu, uint32_t class)
{
	static struct accel_class_stats stats[SOFT_NPUS * ACCEL_CLASSES];
	uint32_t count = ARRAY_LEN(stats), k;

	must_ok(accel_class_stats(dev, stats, &count));
	for (k = 0; k < count; k++)
		if (stats[k].npu == npu && stats[k].class_id == class)
			return stats[k];
	must(!"stats");
	return stats[0];
}

/* A copy of class deadline that waits; @deadline 0 for a plain one. */
static int submit_by(struct accel_queue *queue, struct accel_buffer *dst, struct accel_buffer *src,
		     struct accel_timeline *timeline, uint64_t size, uint64_t deadline,
		     uint32_t flags, struct accel_admission *admission)
{
	struct accel_point point = { timeline, 1 };
	struct accel_seg seg = { 0, 0, size };
	struct accel_op op = { src ? ACCEL_OP_COPY : ACCEL_OP_FILL, 1, dst, src, 0, &seg };
	struct accel_submit submit = { .ops = &op, .op_count = 1, .waits = &point,
				       .wait_count = 1 };
	struct accel_submit_qos qos = { .flags = flags, .deadline_ns = deadline };
	uint64_t seqno;

	if (deadline) {
		qos.flags |= ACCEL_SUBMIT_CLASS;
		qos.class_id = ACCEL_CLASS_DEADLINE;
	}
	return accel_queue_submit_qos(queue, &submit, &qos, &seqno, admission);
}

TEST_F(promise, is_kept_until_the_job_ends)
{
	struct accel_admission admission = { 99, 99 };
	struct accel_dev *dev = self->p.dev;

	ASSERT_EQ(0, submit_by(self->queue, self->dst, self->src, self->timeline, KIB(100),
			       now_ns() + 30 * SEC_NS, 0, &admission));
	EXPECT_EQ(ACCEL_REASON_NONE, admission.reason);
	EXPECT_EQ(KIB(100), port_of(dev, self->p.npu[1], 0).promised);
	EXPECT_EQ(KIB(100), port_of(dev, self->p.npu[2], 1).promised);
	EXPECT_EQ(0, port_of(dev, self->p.npu[1], 1).promised);
	EXPECT_EQ(0, port_of(dev, self->p.npu[2], 0).promised);
	accel_queue_destroy(self->slow);
	self->slow = NULL;
	EXPECT_EQ(0, accel_queue_wait(self->queue, 1, LONG_NS, NULL));
	EXPECT_EQ(0, port_of(dev, self->p.npu[1], 0).promised);
	EXPECT_EQ(0, port_of(dev, self->p.npu[2], 1).promised);
	EXPECT_EQ(KIB(100), stats_of(dev, self->p.npu[0], ACCEL_CLASS_DEADLINE).bytes);
}

TEST_F(promise, goes_with_its_queue)
{
	ASSERT_EQ(0, submit_by(self->queue, self->dst, self->src, self->timeline, KIB(100),
			       now_ns() + 30 * SEC_NS, 0, NULL));
	accel_queue_destroy(self->queue);
	EXPECT_EQ(0, port_of(self->p.dev, self->p.npu[1], 0).promised);
	EXPECT_EQ(0, port_of(self->p.dev, self->p.npu[2], 1).promised);
	self->queue = queue_on(self->p.dev, self->p.npu[0]);
}

TEST_F(promise, is_refused_beside_another)
{
	/* Some 19 s for a MiB. */
	uint32_t npu = npu_add_rate(self->p.dev, OWN_BYTES, KIB(64));
	struct accel_buffer *dst = buffer_on(self->p.dev, npu, MIB(1));
	struct accel_queue *other = queue_on(self->p.dev, self->p.npu[3]);
	uint64_t deadline = now_ns() + 30 * SEC_NS;
	struct accel_admission admission;

	EXPECT_EQ(-EBUSY, submit_by(self->queue, dst, self->src, self->timeline, MIB(1),
				    now_ns() + 5 * SEC_NS, 0, &admission));
	EXPECT_EQ(ACCEL_REASON_LATE, admission.reason);
	EXPECT_LT(now_ns() + 5 * SEC_NS, admission.earliest_ns);
	EXPECT_EQ(0, submit_by(self->queue, dst, self->src, self->timeline, MIB(1), deadline, 0,
			       &admission));
	EXPECT_EQ(-EBUSY, submit_by(other, dst, self->src, self->timeline, MIB(1), deadline, 0,
				    &admission));
	EXPECT_EQ(ACCEL_REASON_DST, admission.reason);
	EXPECT_LT(deadline, admission.earliest_ns);
	EXPECT_EQ(1, stats_of(self->p.dev, self->p.npu[3], ACCEL_CLASS_DEADLINE).refused);
	EXPECT_EQ(MIB(1), port_of(self->p.dev, npu, 1).promised);
	/* As bulk, it is promised nothing; at the time named, it is. */
	EXPECT_EQ(0, submit_by(other, dst, self->src, self->timeline, MIB(1), deadline,
			       ACCEL_SUBMIT_ANYWAY, &admission));
	EXPECT_EQ(ACCEL_REASON_DST, admission.reason);
	EXPECT_EQ(MIB(1), port_of(self->p.dev, npu, 1).promised);
	accel_queue_destroy(other);
	other = queue_on(self->p.dev, self->p.npu[3]);
	EXPECT_EQ(0, submit_by(other, dst, self->src, self->timeline, MIB(1),
			       admission.earliest_ns + 8 * SEC_NS, 0, &admission));
	EXPECT_EQ(MIB(2), port_of(self->p.dev, npu, 1).promised);
	accel_queue_destroy(other);
	accel_queue_destroy(self->queue);
	self->queue = queue_on(self->p.dev, self->p.npu[0]);
	accel_buffer_close(dst);
	accel_npu_remove(self->p.dev, npu);
}

/* A job that waits for somebody past its deadline holds nothing any more. */
TEST_F(promise, lapses)
{
	uint32_t npu = npu_add_rate(self->p.dev, OWN_BYTES, MIB(1));
	struct accel_buffer *dst = buffer_on(self->p.dev, npu, MIB(1));
	struct accel_queue *other = queue_on(self->p.dev, self->p.npu[3]);
	uint64_t deadline = now_ns() + SEC_NS;

	ASSERT_EQ(0, submit_by(self->queue, dst, self->src, self->timeline, KIB(4), deadline, 0,
			       NULL));
	while (now_ns() <= deadline)
		nap(10);
	EXPECT_EQ(0, submit_by(other, dst, self->src, self->timeline, MIB(1),
			       now_ns() + 50 * SEC_NS, 0, NULL));
	EXPECT_EQ(MIB(1), port_of(self->p.dev, npu, 1).promised);
	accel_queue_destroy(self->slow);
	self->slow = NULL;
	EXPECT_EQ(0, accel_queue_wait(self->queue, 1, LONG_NS, NULL));
	EXPECT_EQ(0, accel_queue_wait(other, 1, LONG_NS, NULL));
	EXPECT_EQ(1, stats_of(self->p.dev, self->p.npu[0], ACCEL_CLASS_DEADLINE).missed);
	EXPECT_EQ(1, stats_of(self->p.dev, self->p.npu[0], ACCEL_CLASS_DEADLINE).demoted);
	EXPECT_EQ(0, port_of(self->p.dev, npu, 1).promised);
	accel_queue_destroy(other);
	accel_buffer_close(dst);
	accel_npu_remove(self->p.dev, npu);
}

TEST_F(promise, follows_the_queues_order)
{
	uint64_t late = now_ns() + 40 * SEC_NS, early = now_ns() + 20 * SEC_NS;
	struct accel_admission admission;

	ASSERT_EQ(0, submit_by(self->queue, self->dst, self->src, self->timeline, KIB(4), late, 0,
			       NULL));
	EXPECT_EQ(-EBUSY, submit_by(self->queue, self->dst, self->src, self->timeline, KIB(4),
				    early, 0, &admission));
	EXPECT_EQ(ACCEL_REASON_ORDER, admission.reason);
	EXPECT_EQ(late, admission.earliest_ns);
	EXPECT_EQ(0, submit_by(self->queue, self->dst, self->src, self->timeline, KIB(4), late, 0,
			       &admission));
	EXPECT_EQ(0, submit_by(self->queue, self->dst, self->src, self->timeline, KIB(4), 0, 0,
			       &admission));
	EXPECT_EQ(-EBUSY, submit_by(self->queue, self->dst, self->src, self->timeline, KIB(4),
				    late, 0, &admission));
	EXPECT_EQ(ACCEL_REASON_ORDER, admission.reason);
	EXPECT_EQ(0, admission.earliest_ns);
	EXPECT_EQ(KIB(8), port_of(self->p.dev, self->p.npu[1], 0).promised);
}

TEST_F(promise, covers_stripes)
{
	struct accel_where where = { ACCEL_PLACE_INTERLEAVE, 0, NULL, KIB(4) };
	uint32_t npus[SOFT_JOB_PORTS + 1], i;
	struct accel_admission admission;
	struct accel_buffer *wide, *narrow;

	for (i = 0; i <= SOFT_JOB_PORTS; i++)
		npus[i] = npu_add(self->p.dev, KIB(64), 0);
	where.npus = npus;
	where.npu_count = SOFT_JOB_PORTS + 1;
	must_ok(accel_buffer_create(self->p.dev, KIB(4) * where.npu_count, &where, &wide));
	where.npu_count = SOFT_JOB_PORTS;
	must_ok(accel_buffer_create(self->p.dev, KIB(4) * where.npu_count, &where, &narrow));
	EXPECT_EQ(-EBUSY, submit_by(self->queue, wide, NULL, self->timeline,
				    KIB(4) * (SOFT_JOB_PORTS + 1), now_ns() + 30 * SEC_NS, 0,
				    &admission));
	EXPECT_EQ(ACCEL_REASON_WIDE, admission.reason);
	/* Only what is touched counts. */
	EXPECT_EQ(0, submit_by(self->queue, wide, NULL, self->timeline, KIB(10),
			       now_ns() + 30 * SEC_NS, 0, &admission));
	EXPECT_EQ(KIB(4), port_of(self->p.dev, npus[0], 1).promised);
	EXPECT_EQ(KIB(4), port_of(self->p.dev, npus[1], 1).promised);
	EXPECT_EQ(KIB(2), port_of(self->p.dev, npus[2], 1).promised);
	EXPECT_EQ(0, port_of(self->p.dev, npus[3], 1).promised);
	EXPECT_EQ(0, submit_by(self->queue, narrow, NULL, self->timeline,
			       KIB(4) * SOFT_JOB_PORTS, now_ns() + 30 * SEC_NS, 0, &admission));
	accel_queue_destroy(self->queue);
	self->queue = queue_on(self->p.dev, self->p.npu[0]);
	accel_buffer_close(wide);
	accel_buffer_close(narrow);
	for (i = 0; i <= SOFT_JOB_PORTS; i++) {
		EXPECT_EQ(0, port_of(self->p.dev, npus[i], 1).promised);
		accel_npu_remove(self->p.dev, npus[i]);
	}
}

/* As many as the pool's table has; what does not fit in is refused, and room comes back. */
TEST_F(promise, has_a_bounded_table)
{
	struct accel_queue *queues[SOFT_PROMISES / SOFT_QUEUE_DEPTH + 1];
	struct accel_admission admission = { 0 };
	uint32_t count = 0, i;

	for (i = 0; i < ARRAY_LEN(queues); i++)
		queues[i] = queue_on(self->p.dev, self->p.npu[0]);
	for (i = 0; i < ARRAY_LEN(queues) && !admission.reason; i++) {
		uint32_t n = 0;

		while (n < SOFT_QUEUE_DEPTH &&
		       !submit_by(queues[i], self->dst, self->src, self->timeline, 1,
				  now_ns() + 50 * SEC_NS, 0, &admission))
			n++;
		count += n;
	}
	EXPECT_EQ(SOFT_PROMISES, count);
	EXPECT_EQ(ACCEL_REASON_SHARE, admission.reason);
	EXPECT_EQ(SOFT_PROMISES, port_of(self->p.dev, self->p.npu[1], 0).promised);
	accel_queue_destroy(queues[0]);
	EXPECT_EQ(SOFT_PROMISES - SOFT_QUEUE_DEPTH,
		  port_of(self->p.dev, self->p.npu[1], 0).promised);
	EXPECT_EQ(0, submit_by(self->queue, self->dst, self->src, self->timeline, 1,
			       now_ns() + 50 * SEC_NS, 0, &admission));
	for (i = 1; i < ARRAY_LEN(queues); i++)
		accel_queue_destroy(queues[i]);
	EXPECT_EQ(1, port_of(self->p.dev, self->p.npu[1], 0).promised);
}

POOL_FIXTURE(reservation)

static int reserve(struct pool *p, uint64_t budget, uint32_t src, uint32_t dst,
		   struct accel_queue **queue)
{
	struct accel_queue_qos qos = {
		.class_id = ACCEL_CLASS_LATENCY, .budget = budget, .period_ns = SEC_NS / 1000,
		.src = src, .dst = dst,
	};

	return accel_queue_create_qos(p->dev, p->npu[0], &qos, queue);
}

static uint64_t reserved(struct pool *p, uint32_t npu, uint32_t side)
{
	return port_of(p->dev, npu, side).reserved;
}

TEST_F(reservation, holds_at_its_ports)
{
	struct accel_buffer *src = buffer_on(self->p.dev, self->p.npu[1], KIB(4));
	struct accel_buffer *dst = buffer_on(self->p.dev, self->p.npu[2], KIB(4));
	struct accel_qos_info info;
	struct accel_queue *queue;
	const uint32_t *npu = self->p.npu;

	EXPECT_EQ(-ENOENT, reserve(&self->p, KIB(64), 0x7fffffff, npu[2], &queue));
	ASSERT_EQ(0, reserve(&self->p, KIB(64), npu[1], npu[2], &queue));
	EXPECT_EQ(KIB(64) * 1000, reserved(&self->p, npu[1], 0));
	EXPECT_EQ(KIB(64) * 1000, reserved(&self->p, npu[2], 1));
	EXPECT_EQ(0, reserved(&self->p, npu[1], 1));
	EXPECT_EQ(0, reserved(&self->p, npu[2], 0));
	EXPECT_EQ(0, reserved(&self->p, npu[0], 0));
	must_ok(accel_qos_info(self->p.dev, &info));
	EXPECT_EQ(KIB(64) * 1000, info.reserved);
	EXPECT_EQ(0, run_copy(queue, dst, 0, src, 0, KIB(4)));
	EXPECT_EQ(0, stats_of(self->p.dev, npu[0], ACCEL_CLASS_LATENCY).demoted);
	EXPECT_EQ(0, run_copy(queue, src, 0, dst, 0, KIB(4)));
	EXPECT_EQ(1, stats_of(self->p.dev, npu[0], ACCEL_CLASS_LATENCY).demoted);
	accel_queue_destroy(queue);
	EXPECT_EQ(0, reserved(&self->p, npu[1], 0));
	EXPECT_EQ(0, reserved(&self->p, npu[2], 1));
	accel_buffer_close(src);
	accel_buffer_close(dst);
}

/* All or nothing; what is left over can be had by another. */
TEST_F(reservation, is_bounded)
{
	struct accel_queue *first, *second;
	const uint32_t *npu = self->p.npu;

	ASSERT_EQ(0, reserve(&self->p, 600000, npu[3], npu[2], &first));
	EXPECT_EQ(-EBUSY, reserve(&self->p, 600000, npu[1], npu[2], &second));
	EXPECT_EQ(0, reserved(&self->p, npu[1], 0));
	accel_queue_destroy(first);
	ASSERT_EQ(0, reserve(&self->p, 600000, ACCEL_NPU_ANY, npu[2], &first));
	EXPECT_EQ(-EBUSY, reserve(&self->p, 600000, npu[3], npu[2], &second));
	EXPECT_EQ(600000000, reserved(&self->p, npu[3], 0));
	EXPECT_EQ(0, reserve(&self->p, 200000, npu[3], npu[2], &second));
	EXPECT_EQ(800000000, reserved(&self->p, npu[3], 0));
	EXPECT_EQ(600000000, reserved(&self->p, npu[1], 0));
	accel_queue_destroy(first);
	EXPECT_EQ(200000000, reserved(&self->p, npu[3], 0));
	accel_queue_destroy(second);
}

TEST_F(reservation, of_any_holds_where_npus_join)
{
	struct accel_queue *queue;
	uint32_t npu, small;

	ASSERT_EQ(0, reserve(&self->p, 100000, ACCEL_NPU_ANY, ACCEL_NPU_ANY, &queue));
	npu = npu_add(self->p.dev, KIB(64), 0);
	EXPECT_EQ(100000000, reserved(&self->p, npu, 0));
	EXPECT_EQ(100000000, reserved(&self->p, npu, 1));
	/* Not where it does not fit. */
	small = npu_add_rate(self->p.dev, OWN_BYTES, MIB(1));
	EXPECT_EQ(0, reserved(&self->p, small, 0));
	accel_npu_remove(self->p.dev, npu);
	npu = npu_add(self->p.dev, KIB(64), 0);
	EXPECT_EQ(100000000, reserved(&self->p, npu, 1));
	accel_queue_destroy(queue);
	EXPECT_EQ(0, reserved(&self->p, npu, 0));
	EXPECT_EQ(0, reserved(&self->p, npu, 1));
	EXPECT_EQ(0, reserved(&self->p, small, 0));
	accel_npu_remove(self->p.dev, npu);
	accel_npu_remove(self->p.dev, small);
}

TEST_HARNESS_MAIN
