// SPDX-License-Identifier: MIT
/* Conformance: reservations and deadlines are promised as far as they fit, and given back. */
#include "promises.h"

#define WIDE 17

static uint64_t reserved(struct accel_dev *dev, uint32_t npu, uint32_t side)
{
	return port_info(dev, npu, side).reserved;
}

static uint64_t promised(struct accel_dev *dev, uint32_t npu, uint32_t side)
{
	return port_info(dev, npu, side).promised;
}

TEST_F(promise, reservation_holds_where_it_says)
{
	const uint64_t rate = PERCENT * 25;
	const uint32_t slow = self->slow, fast = self->fast;
	struct accel_dev *dev = self->p.dev;
	struct accel_qos_info info;
	struct accel_queue *queue;

	ASSERT_EQ(0, reserve(dev, slow, rate, fast, slow, &queue));
	EXPECT_EQ(rate, reserved(dev, fast, 0));
	EXPECT_EQ(0, reserved(dev, fast, 1));
	EXPECT_EQ(0, reserved(dev, slow, 0));
	EXPECT_EQ(rate, reserved(dev, slow, 1));
	EXPECT_EQ(0, reserved(dev, self->p.npu[0], 0) | reserved(dev, self->p.npu[0], 1));
	ASSERT_EQ(0, accel_qos_info(dev, &info));
	EXPECT_EQ(rate, info.reserved);
	accel_queue_destroy(queue);
	EXPECT_TRUE(eventually(!reserved(dev, fast, 0) && !reserved(dev, slow, 1)));
	EXPECT_TRUE(eventually(!accel_qos_info(dev, &info) && !info.reserved));
	ASSERT_EQ(0, reserve(dev, slow, rate, ACCEL_NPU_ANY, slow, &queue));
	EXPECT_EQ(rate, reserved(dev, fast, 0));
	EXPECT_EQ(rate, reserved(dev, slow, 0));
	EXPECT_EQ(rate, reserved(dev, self->p.npu[0], 0));
	EXPECT_EQ(rate, reserved(dev, slow, 1));
	EXPECT_EQ(0, reserved(dev, fast, 1));
	accel_queue_destroy(queue);
	EXPECT_TRUE(eventually(!reserved(dev, fast, 0) && !reserved(dev, self->p.npu[0], 0)));
}

TEST_F(promise, no_port_reserves_more_than_it_has)
{
	const uint32_t slow = self->slow, fast = self->fast;
	struct accel_queue *a, *b, *none = (void *)1;
	struct accel_dev *dev = self->p.dev;

	EXPECT_EQ(-EBUSY, reserve(dev, slow, PERCENT * 86, fast, slow, &none));
	EXPECT_EQ(-EBUSY, reserve(dev, slow, PERCENT * 86, slow, fast, &none));
	EXPECT_EQ(-EBUSY, reserve(dev, slow, PERCENT * 86, slow, ACCEL_NPU_ANY, &none));
	EXPECT_EQ(0, reserved(dev, fast, 0) | reserved(dev, fast, 1));
	EXPECT_EQ(0, reserved(dev, slow, 0) | reserved(dev, slow, 1));
	EXPECT_EQ(0, reserved(dev, self->p.npu[0], 1));
	ASSERT_EQ(0, reserve(dev, slow, PERCENT * 44, fast, slow, &a));
	EXPECT_EQ(-EBUSY, reserve(dev, slow, PERCENT * 42, fast, slow, &none));
	EXPECT_EQ(PERCENT * 44, reserved(dev, slow, 1));
	/* The other direction has promised nothing. */
	ASSERT_EQ(0, reserve(dev, slow, PERCENT * 84, slow, fast, &b));
	accel_queue_destroy(b);
	accel_queue_destroy(a);
	ASSERT_TRUE(eventually(!reserve(dev, slow, PERCENT * 84, fast, slow, &a)));
	accel_queue_destroy(a);
	EXPECT_EQ((void *)1, none);
}

/* Members that come and go while a reservation holds anywhere. */
TEST_F(promise, members_change_under_a_reservation)
{
	const uint64_t rate = PERCENT;
	struct accel_dev *dev = self->p.dev;
	uint32_t late = npu_add(dev, KIB(64), 0), next;
	struct accel_queue *queue;

	ASSERT_EQ(0, reserve(dev, self->slow, rate, ACCEL_NPU_ANY, ACCEL_NPU_ANY, &queue));
	EXPECT_EQ(0, accel_npu_remove(dev, late));
	late = npu_add(dev, KIB(64), 0);
	next = npu_add(dev, KIB(64), 0);
	EXPECT_EQ(rate, reserved(dev, late, 0));
	EXPECT_EQ(rate, reserved(dev, late, 1));
	EXPECT_EQ(rate, reserved(dev, next, 0));
	EXPECT_EQ(rate, reserved(dev, next, 1));
	accel_queue_destroy(queue);
	EXPECT_TRUE(eventually(ports_rest(dev, &late, 1)));
	EXPECT_TRUE(eventually(ports_rest(dev, &next, 1)));
	EXPECT_EQ(0, accel_npu_remove(dev, late));
	EXPECT_EQ(0, accel_npu_remove(dev, next));
}

/* What comes in a member's place has nothing to do with what was reserved there. */
TEST_F(promise, a_reservation_ends_with_its_member)
{
	const uint64_t rate = PERCENT;
	struct accel_dev *dev = self->p.dev;
	uint32_t gone = npu_add(dev, KIB(64), 0), next;
	struct accel_queue *queue, *any;

	ASSERT_EQ(0, reserve(dev, self->slow, rate, gone, self->slow, &queue));
	ASSERT_EQ(0, accel_npu_remove(dev, gone));
	next = npu_add(dev, KIB(64), 0);
	EXPECT_EQ(0, reserved(dev, next, 0));
	ASSERT_EQ(0, reserve(dev, self->slow, rate, ACCEL_NPU_ANY, self->fast, &any));
	EXPECT_EQ(rate, reserved(dev, next, 0));
	accel_queue_destroy(queue);
	EXPECT_TRUE(eventually(!reserved(dev, self->slow, 1)));
	EXPECT_EQ(rate, reserved(dev, next, 0));
	accel_queue_destroy(any);
	EXPECT_TRUE(eventually(!reserved(dev, next, 0)));
	EXPECT_EQ(0, accel_npu_remove(dev, next));
}

static struct accel_submit_qos due(uint64_t deadline)
{
	return (struct accel_submit_qos){ .deadline_ns = deadline };
}

TEST_F(promise, deadline_is_promised_and_kept)
{
	struct accel_queue *queue = queue_of(self->p.dev, self->p.npu[0], ACCEL_CLASS_DEADLINE);
	struct accel_submit_qos qos = due(now_ns() + 50 * SEC_NS);
	struct accel_buffer *a = buffer_on(self->p.dev, self->p.npu[0], PIECE);
	struct accel_buffer *b = buffer_on(self->p.dev, self->p.npu[1], PIECE);
	struct accel_admission told = { 77, 77 };
	uint64_t seqno;

	ASSERT_EQ(0, copy_qos(queue, a, b, PIECE, 2, &self->gate, &qos, &seqno, &told));
	EXPECT_EQ(ACCEL_REASON_NONE, told.reason);
	EXPECT_EQ(2 * PIECE, promised(self->p.dev, self->p.npu[0], 1));
	EXPECT_EQ(2 * PIECE, promised(self->p.dev, self->p.npu[1], 0));
	EXPECT_EQ(0, promised(self->p.dev, self->p.npu[0], 0));
	EXPECT_EQ(0, promised(self->p.dev, self->p.npu[1], 1));
	gate_open(&self->gate);
	EXPECT_EQ(0, accel_queue_wait(queue, seqno, LONG_NS, NULL));
	EXPECT_TRUE(eventually(!promised(self->p.dev, self->p.npu[0], 1)));
	EXPECT_TRUE(eventually(!promised(self->p.dev, self->p.npu[1], 0)));
	EXPECT_TRUE(eventually(class_stats(self->p.dev, self->p.npu[0], ACCEL_CLASS_DEADLINE).jobs
			       == 1));
	EXPECT_EQ(0, class_stats(self->p.dev, self->p.npu[0], ACCEL_CLASS_DEADLINE).missed);
	EXPECT_EQ(0, class_stats(self->p.dev, self->p.npu[0], ACCEL_CLASS_DEADLINE).demoted);
	accel_queue_destroy(queue);
	accel_buffer_close(a);
	accel_buffer_close(b);
}

TEST_F(promise, what_has_moved_is_promised_no_more)
{
	struct accel_queue *queue = queue_of(self->p.dev, self->slow, ACCEL_CLASS_DEADLINE);
	struct accel_submit_qos qos = due(now_ns() + SOON);
	uint64_t seqno;

	ASSERT_EQ(0, copy_qos(queue, self->here, self->there, PIECE, SEGS, NULL, &qos, &seqno,
			      NULL));
	EXPECT_TRUE(eventually(promised(self->p.dev, self->slow, 1) < (SEGS - 1) * PIECE &&
			       promised(self->p.dev, self->fast, 0) < (SEGS - 1) * PIECE));
	EXPECT_LT(0, promised(self->p.dev, self->slow, 1));
	EXPECT_EQ(-ETIME, accel_queue_wait(queue, seqno, 0, NULL));
	accel_queue_destroy(queue);
}

/* It moves on, as bulk, and others can be promised what it was. */
TEST_F(promise, what_is_late_is_promised_no_more)
{
	struct accel_queue *queue = queue_of(self->p.dev, self->slow, ACCEL_CLASS_DEADLINE);
	struct accel_submit_qos qos = due(now_ns() + 6 * SEC_NS);
	uint64_t seqno;

	ASSERT_EQ(0, copy_qos(queue, self->here, self->there, PIECE, 64, &self->gate, &qos, &seqno,
			      NULL));
	EXPECT_EQ(64 * PIECE, promised(self->p.dev, self->slow, 1));
	while (now_ns() <= qos.deadline_ns)
		nap(100);
	gate_open(&self->gate);
	EXPECT_TRUE(eventually(!promised(self->p.dev, self->slow, 1) &&
			       !promised(self->p.dev, self->fast, 0)));
	EXPECT_EQ(-ETIME, accel_queue_wait(queue, seqno, 0, NULL));
	accel_queue_destroy(queue);
	EXPECT_TRUE(eventually(class_stats(self->p.dev, self->slow, ACCEL_CLASS_DEADLINE).demoted
			       == 1));
}

/* Asks for a transfer that is refused, then for the same at the earliest that was told. */
static void refused_until_earliest(struct __test_metadata *_metadata, struct pool *p,
				   struct gate *gate, struct accel_buffer *dst,
				   struct accel_buffer *src, uint32_t npu, uint64_t deadline,
				   uint32_t reason)
{
	struct accel_queue *queue = queue_of(p->dev, npu, ACCEL_CLASS_DEADLINE);
	uint64_t refused = class_stats(p->dev, npu, ACCEL_CLASS_DEADLINE).refused, seqno = 77;
	struct accel_admission told = { 77, 77 };
	struct accel_submit_qos qos = due(deadline);

	EXPECT_EQ(-EBUSY, copy_qos(queue, dst, src, PIECE, SEGS, gate, &qos, &seqno, &told));
	EXPECT_EQ(reason, told.reason);
	EXPECT_LT(deadline, told.earliest_ns);
	EXPECT_EQ(77, seqno);
	EXPECT_EQ(refused + 1, class_stats(p->dev, npu, ACCEL_CLASS_DEADLINE).refused);
	/* Less than a transfer's own time, more than this test can take. */
	qos.deadline_ns = told.earliest_ns + 5 * SEC_NS;
	EXPECT_EQ(0, copy_qos(queue, dst, src, PIECE, SEGS, gate, &qos, &seqno, &told))
		TH_LOG("reason %u", told.reason);
	EXPECT_EQ(1, seqno);
	EXPECT_EQ(ACCEL_REASON_NONE, told.reason);
	accel_queue_destroy(queue);
}

TEST_F(promise, refused_if_its_bytes_take_longer)
{
	refused_until_earliest(_metadata, &self->p, &self->gate, self->here, self->there,
			       self->slow, now_ns() + SEC_NS, ACCEL_REASON_LATE);
	refused_until_earliest(_metadata, &self->p, &self->gate, self->here, self->there,
			       self->slow, 1, ACCEL_REASON_LATE);
}

TEST_F(promise, refused_where_too_much_is_promised)
{
	struct accel_queue *in = queue_of(self->p.dev, self->slow, ACCEL_CLASS_DEADLINE);
	struct accel_queue *out = queue_of(self->p.dev, self->slow, ACCEL_CLASS_DEADLINE);
	uint64_t deadline = now_ns() + SOON;
	struct accel_submit_qos qos = due(deadline);

	ASSERT_EQ(0, copy_qos(in, self->here, self->there, PIECE, MANY, &self->gate, &qos, NULL,
			      NULL));
	refused_until_earliest(_metadata, &self->p, &self->gate, self->here, self->there,
			       self->fast, deadline, ACCEL_REASON_DST);
	/* Its other direction is free. */
	ASSERT_EQ(0, copy_qos(out, self->there, self->here, PIECE, MANY, &self->gate, &qos, NULL,
			      NULL));
	refused_until_earliest(_metadata, &self->p, &self->gate, self->there, self->here,
			       self->fast, deadline, ACCEL_REASON_SRC);
	accel_queue_destroy(in);
	accel_queue_destroy(out);
}

TEST_F(promise, refused_beside_a_reservation)
{
	struct accel_queue *late = queue_of(self->p.dev, self->slow, ACCEL_CLASS_DEADLINE), *queue;
	struct accel_submit_qos qos = due(now_ns() + SOON);
	struct accel_admission told = { 0 };

	ASSERT_EQ(0, reserve(self->p.dev, self->slow, PERCENT * 80, self->fast, self->slow,
			     &queue));
	EXPECT_EQ(-EBUSY, copy_qos(late, self->here, self->there, PIECE, SEGS, &self->gate, &qos,
				   NULL, &told));
	EXPECT_NE(ACCEL_REASON_NONE, told.reason);
	accel_queue_destroy(queue);
	EXPECT_TRUE(eventually(!reserved(self->p.dev, self->slow, 1)));
	EXPECT_EQ(0, copy_qos(late, self->here, self->there, PIECE, SEGS, &self->gate, &qos, NULL,
			      NULL));
	accel_queue_destroy(late);
}

TEST_F(promise, reservation_is_refused_beside_deadlines)
{
	struct accel_queue *queue = queue_of(self->p.dev, self->slow, ACCEL_CLASS_DEADLINE), *none;
	struct accel_submit_qos qos = due(now_ns() + SOON);

	ASSERT_EQ(0, copy_qos(queue, self->here, self->there, PIECE, MANY, &self->gate, &qos, NULL,
			      NULL));
	EXPECT_EQ(-EBUSY, reserve(self->p.dev, self->slow, PERCENT * 80, self->fast,
				  self->slow, &none));
	EXPECT_EQ(0, reserved(self->p.dev, self->slow, 1) | reserved(self->p.dev, self->fast, 0));
	accel_queue_destroy(queue);
	ASSERT_TRUE(eventually(!reserve(self->p.dev, self->slow, PERCENT * 80, self->fast,
					self->slow, &none)));
	accel_queue_destroy(none);
}

TEST_F(promise, refused_if_too_far_away)
{
	struct accel_queue *queue = queue_of(self->p.dev, self->slow, ACCEL_CLASS_DEADLINE);
	struct accel_submit_qos qos = due(now_ns() + 100 * SEC_NS);
	struct accel_admission told = { 77, 77 };

	EXPECT_EQ(-EBUSY, copy_qos(queue, self->here, self->there, 8, 1, NULL, &qos, NULL, &told));
	EXPECT_EQ(ACCEL_REASON_FAR, told.reason);
	qos.deadline_ns = UINT64_MAX;
	EXPECT_EQ(-EBUSY, copy_qos(queue, self->here, self->there, 8, 1, NULL, &qos, NULL, &told));
	EXPECT_EQ(ACCEL_REASON_FAR, told.reason);
	accel_queue_destroy(queue);
}

/* Submits of a queue run in order, so a promise is worth nothing behind one for later. */
TEST_F(promise, refused_behind_a_later_one)
{
	struct accel_queue *queue = queue_of(self->p.dev, self->slow, ACCEL_CLASS_DEADLINE);
	struct accel_queue *mixed = queue_of(self->p.dev, self->slow, ACCEL_CLASS_DEADLINE);
	uint64_t now = now_ns(), seqno;
	struct accel_submit_qos qos = due(now + 30 * SEC_NS), none = due(0);
	struct accel_admission told = { 77, 77 };

	ASSERT_EQ(0, copy_qos(queue, self->here, self->there, 8, 1, &self->gate, &qos, &seqno,
			      NULL));
	qos.deadline_ns = now + 20 * SEC_NS;
	EXPECT_EQ(-EBUSY, copy_qos(queue, self->here, self->there, 8, 1, NULL, &qos, NULL, &told));
	EXPECT_EQ(ACCEL_REASON_ORDER, told.reason);
	qos.deadline_ns = now + 40 * SEC_NS;
	EXPECT_EQ(0, copy_qos(queue, self->here, self->there, 8, 1, NULL, &qos, &seqno, &told));
	EXPECT_EQ(ACCEL_REASON_NONE, told.reason);
	ASSERT_EQ(0, copy_qos(mixed, self->here, self->there, 8, 1, &self->gate, &none, NULL,
			      &told));
	EXPECT_EQ(-EBUSY, copy_qos(mixed, self->here, self->there, 8, 1, NULL, &qos, NULL, &told));
	EXPECT_EQ(ACCEL_REASON_ORDER, told.reason);
	/* Run anyway it holds nothing. */
	EXPECT_EQ(16, promised(self->p.dev, self->slow, 1));
	qos.flags = ACCEL_SUBMIT_ANYWAY;
	EXPECT_EQ(0, copy_qos(mixed, self->here, self->there, 8, 1, NULL, &qos, &seqno, &told));
	EXPECT_EQ(ACCEL_REASON_ORDER, told.reason);
	EXPECT_EQ(16, promised(self->p.dev, self->slow, 1));
	gate_open(&self->gate);
	EXPECT_EQ(0, accel_queue_wait(queue, 2, LONG_NS, NULL));
	EXPECT_EQ(0, accel_queue_wait(mixed, seqno, LONG_NS, NULL));
	/* What has ended is in nobody's way. */
	qos.flags = 0;
	qos.deadline_ns = now_ns() + 20 * SEC_NS;
	EXPECT_TRUE(eventually(!copy_qos(mixed, self->here, self->there, 8, 1, NULL, &qos, &seqno,
					 &told)));
	EXPECT_EQ(0, accel_queue_wait(mixed, seqno, LONG_NS, NULL));
	accel_queue_destroy(queue);
	accel_queue_destroy(mixed);
}

TEST_F(promise, refused_if_it_touches_too_many)
{
	struct accel_queue *queue = queue_of(self->p.dev, self->slow, ACCEL_CLASS_DEADLINE);
	struct accel_where where = { ACCEL_PLACE_INTERLEAVE, WIDE, NULL, KIB(4) };
	struct accel_submit_qos qos = due(now_ns() + SOON);
	struct accel_admission told = { 77, 77 };
	struct accel_buffer *wide;
	uint32_t npus[WIDE], i;
	uint64_t seqno;

	ASSERT_LE(self->p.info.npu_count + WIDE, self->p.info.max_npus);
	for (i = 0; i < WIDE; i++)
		npus[i] = npu_add(self->p.dev, KIB(64), 0);
	where.npus = npus;
	ASSERT_EQ(0, accel_buffer_create(self->p.dev, WIDE * KIB(4), &where, &wide));
	EXPECT_EQ(-EBUSY, copy_qos(queue, wide, self->there, WIDE * KIB(4), 1, NULL, &qos, NULL,
				   &told));
	EXPECT_EQ(ACCEL_REASON_WIDE, told.reason);
	EXPECT_EQ(0, copy_qos(queue, wide, self->there, 8 * KIB(4), 1, NULL, &qos, NULL, &told));
	qos.flags = ACCEL_SUBMIT_ANYWAY;
	EXPECT_EQ(0, copy_qos(queue, wide, self->there, WIDE * KIB(4), 1, NULL, &qos, &seqno,
			      &told));
	EXPECT_EQ(ACCEL_REASON_WIDE, told.reason);
	EXPECT_EQ(0, accel_queue_wait(queue, seqno, LONG_NS, NULL));
	EXPECT_TRUE(eventually(ports_rest(self->p.dev, npus, WIDE)));
	accel_queue_destroy(queue);
	accel_buffer_close(wide);
	for (i = 0; i < WIDE; i++)
		EXPECT_EQ(0, accel_npu_remove(self->p.dev, npus[i]));
}

TEST_F(promise, refused_and_run_anyway)
{
	struct accel_queue *queue = queue_of(self->p.dev, self->fast, ACCEL_CLASS_DEADLINE);
	uint8_t *to = buffer_map(self->there), *from = buffer_map(self->here);
	struct accel_submit_qos qos = due(1);
	struct accel_admission told = { 77, 77 };
	struct accel_class_stats stats;
	uint64_t seqno = 77;

	scribble(from, PIECE, 5);
	EXPECT_EQ(-EBUSY, copy_qos(queue, self->there, self->here, KIB(64), 1, NULL, &qos, &seqno,
				   &told));
	EXPECT_EQ(77, seqno);
	qos.flags = ACCEL_SUBMIT_ANYWAY;
	EXPECT_EQ(0, copy_qos(queue, self->there, self->here, KIB(64), 1, NULL, &qos, &seqno,
			      &told));
	EXPECT_EQ(1, seqno);
	EXPECT_EQ(ACCEL_REASON_LATE, told.reason);
	EXPECT_LT(1, told.earliest_ns);
	EXPECT_EQ(0, accel_queue_wait(queue, seqno, LONG_NS, NULL));
	EXPECT_EQ(0, memcmp(to, from, KIB(64)));
	EXPECT_TRUE(eventually((stats = class_stats(self->p.dev, self->fast,
						    ACCEL_CLASS_BULK)).jobs == 1));
	EXPECT_EQ(1, stats.missed);
	stats = class_stats(self->p.dev, self->fast, ACCEL_CLASS_DEADLINE);
	EXPECT_EQ(2, stats.refused);
	EXPECT_EQ(0, stats.jobs);
	accel_queue_destroy(queue);
	accel_buffer_unmap(self->p.dev, to, PIECE);
	accel_buffer_unmap(self->p.dev, from, PIECE);
}

/* One errno for two answers: the reason tells them apart. */
TEST_F(promise, a_full_queue_gives_no_reason)
{
	struct accel_queue *queue = queue_of(self->p.dev, self->slow, ACCEL_CLASS_DEADLINE);
	struct accel_submit_qos none = due(0), qos = due(now_ns() + SOON);
	struct accel_admission told = { 77, 77 };
	uint32_t i;

	for (i = 0; i < self->p.info.queue_depth; i++)
		ASSERT_EQ(0, copy_qos(queue, self->here, self->there, 8, 1, &self->gate, &none,
				      NULL, NULL));
	EXPECT_EQ(-EBUSY, copy_qos(queue, self->here, self->there, 8, 1, NULL, &none, NULL, &told));
	EXPECT_EQ(ACCEL_REASON_NONE, told.reason);
	told.reason = 77;
	qos.flags = ACCEL_SUBMIT_ANYWAY;
	EXPECT_EQ(-EBUSY, copy_qos(queue, self->here, self->there, 8, 1, NULL, &qos, NULL, &told));
	EXPECT_EQ(ACCEL_REASON_NONE, told.reason);
	EXPECT_EQ(0, promised(self->p.dev, self->slow, 1));
	accel_queue_destroy(queue);
}

/* A promise ends with what it was for, however that ends. */
TEST_F(promise, nothing_stays_promised)
{
	uint32_t doomed = npu_add_rate(self->p.dev, MIB(2), SLOW_RATE);
	struct accel_buffer *lost = buffer_on(self->p.dev, doomed, PIECE);
	struct accel_queue *a = queue_of(self->p.dev, self->slow, ACCEL_CLASS_DEADLINE);
	struct accel_queue *b = queue_of(self->p.dev, self->slow, ACCEL_CLASS_DEADLINE);
	struct accel_submit_qos qos = due(now_ns() + SOON);
	uint64_t seqno;

	ASSERT_EQ(0, copy_qos(a, self->here, self->there, PIECE, 8, &self->gate, &qos, NULL, NULL));
	ASSERT_EQ(0, copy_qos(b, lost, self->there, PIECE, 8, &self->gate, &qos, &seqno, NULL));
	EXPECT_EQ(16 * PIECE, promised(self->p.dev, self->fast, 0));
	accel_queue_destroy(a);
	EXPECT_TRUE(eventually(promised(self->p.dev, self->fast, 0) == 8 * PIECE));
	EXPECT_EQ(0, promised(self->p.dev, self->slow, 1));
	EXPECT_EQ(0, accel_npu_remove(self->p.dev, doomed));
	gate_open(&self->gate);
	EXPECT_EQ(-ENODEV, accel_queue_wait(b, seqno, LONG_NS, NULL));
	EXPECT_TRUE(eventually(!promised(self->p.dev, self->fast, 0)));
	accel_queue_destroy(b);
	accel_buffer_close(lost);
	/* Its place may be another's. */
	doomed = npu_add_rate(self->p.dev, MIB(2), SLOW_RATE);
	EXPECT_TRUE(ports_rest(self->p.dev, &doomed, 1));
	EXPECT_EQ(0, accel_npu_remove(self->p.dev, doomed));
}

TEST_HARNESS_MAIN
