// SPDX-License-Identifier: MIT
/* Conformance: queues are in order within, beside each other, bounded, and end well. */
#include "pool.h"

#define REMEMBERED 64	/* failures of a queue, says docs/design.md */

FIXTURE(queue)
{
	struct pool p;
	uint32_t slow;
	struct accel_queue *slow_queue;
	struct accel_buffer *buffer;
	uint8_t *bytes;
	struct accel_timeline *timeline;
};

FIXTURE_SETUP(queue)
{
	pool_setup(&self->p);
	self->slow = npu_add(self->p.dev, MIB(1), SLOW_NS);
	self->slow_queue = queue_on(self->p.dev, self->slow);
	self->buffer = buffer_on(self->p.dev, self->p.npu[0], KIB(64));
	self->bytes = buffer_map(self->buffer);
	self->timeline = timeline_new(self->p.dev);
}

FIXTURE_TEARDOWN(queue)
{
	accel_queue_destroy(self->slow_queue);
	accel_timeline_close(self->timeline);
	accel_buffer_unmap(self->p.dev, self->bytes, KIB(64));
	accel_buffer_close(self->buffer);
	accel_npu_remove(self->p.dev, self->slow);
	EXPECT_TRUE(pool_teardown(&self->p));
}

TEST_F(queue, create_refuses)
{
	uint32_t gone = npu_add(self->p.dev, KIB(64), 0);
	struct accel_queue *queue = (void *)1;
	struct accel_buffer *hold = buffer_on(self->p.dev, gone, KIB(64));

	EXPECT_EQ(-ENOENT, accel_queue_create(self->p.dev, UINT32_MAX, &queue));
	EXPECT_EQ(0, accel_npu_remove(self->p.dev, gone));
	EXPECT_EQ(-ENODEV, accel_queue_create(self->p.dev, gone, &queue));
	EXPECT_EQ((void *)1, queue);
	accel_buffer_close(hold);
}

TEST_F(queue, numbers_start_at_one_without_gaps)
{
	struct accel_queue *a = queue_on(self->p.dev, self->p.npu[0]);
	struct accel_queue *b = queue_on(self->p.dev, self->p.npu[0]);
	struct accel_seg bad = { KIB(64), 0, 1 };
	struct accel_op op = { ACCEL_OP_FILL, 1, self->buffer, NULL, 0, &bad };
	uint64_t seqno, i;

	for (i = 1; i <= 10; i++) {
		ASSERT_EQ(0, submit_ops(a, NULL, 0, &seqno));
		EXPECT_EQ(i, seqno);
		EXPECT_EQ(-EINVAL, submit_ops(a, &op, 1, &seqno));
		EXPECT_EQ(i, seqno);
		EXPECT_EQ(0, accel_queue_wait(a, i, LONG_NS, NULL));
	}
	ASSERT_EQ(0, submit_ops(b, NULL, 0, &seqno));
	EXPECT_EQ(1, seqno);
	EXPECT_EQ(0, submit_ops(b, NULL, 0, NULL));
	EXPECT_EQ(0, accel_queue_wait(b, 2, LONG_NS, NULL));
	/* Waiting again, and for what ended long ago, is fine. */
	EXPECT_EQ(0, accel_queue_wait(a, 1, 0, NULL));
	EXPECT_EQ(0, accel_queue_wait(a, 10, 0, NULL));
	EXPECT_EQ(-EINVAL, accel_queue_wait(a, 0, 0, NULL));
	EXPECT_EQ(-EINVAL, accel_queue_wait(a, 11, 0, NULL));
	EXPECT_EQ(-EINVAL, accel_queue_wait(a, UINT64_MAX, 0, NULL));
	accel_queue_destroy(a);
	accel_queue_destroy(b);
}

TEST_F(queue, submits_of_a_queue_run_in_order)
{
	struct accel_queue *queue = queue_on(self->p.dev, self->p.npu[1]);
	unsigned int n = self->p.info.queue_depth < 32 ? self->p.info.queue_depth : 32, i, round;
	uint64_t seqno = 0;

	for (round = 0; round < scaled(50); round++) {
		/* Each copies the byte that the one before it wrote. */
		self->bytes[0] = round + 1;
		memset(self->bytes + 1, 0, 64 * 1000);
		for (i = 0; i < n; i++) {
			struct accel_seg seg = { (i + 1) * 997, i * 997, 900 };
			struct accel_op op = { ACCEL_OP_COPY, 1, self->buffer, self->buffer, 0,
					       &seg };

			ASSERT_EQ(0, submit_ops(queue, &op, 1, &seqno));
		}
		ASSERT_EQ(0, accel_queue_wait(queue, seqno, LONG_NS, NULL));
		ASSERT_EQ((round + 1) & 0xff, self->bytes[n * 997]);
		for (i = 1; i <= n; i++)
			ASSERT_EQ(0, accel_queue_wait(queue, round * n + i, 0, NULL));
	}
	accel_queue_destroy(queue);
}

/* A submit that waits for another NPU must not hold up its own NPU's other queues. */
TEST_F(queue, a_blocked_queue_blocks_no_other)
{
	struct accel_queue *blocked = queue_on(self->p.dev, self->p.npu[1]);
	struct accel_queue *other = queue_on(self->p.dev, self->p.npu[1]);
	struct accel_point point = { self->timeline, 1 };
	struct accel_seg seg = { 4096, 0, 8 };
	struct accel_op op = { ACCEL_OP_FILL, 1, self->buffer, NULL, 5, &seg };
	struct accel_submit waiting = { .ops = &op, .op_count = 1, .waits = &point,
					.wait_count = 1 };
	uint64_t slow, seqno, i;

	ASSERT_EQ(0, submit_slow(self->slow_queue, self->buffer, &point, &slow));
	ASSERT_EQ(0, accel_queue_submit(blocked, &waiting, &seqno));
	for (i = 0; i < scaled(100); i++)
		ASSERT_EQ(0, run_fill(other, self->buffer, 8192, 4096, i));
	EXPECT_EQ(-ETIME, accel_queue_wait(blocked, seqno, 0, NULL));
	EXPECT_EQ(-ETIME, accel_queue_wait(blocked, seqno, 1000000, NULL));
	EXPECT_EQ(-ETIME, accel_queue_wait(self->slow_queue, slow, 0, NULL));
	EXPECT_EQ(0, self->bytes[4096]);
	accel_queue_destroy(self->slow_queue);
	self->slow_queue = queue_on(self->p.dev, self->slow);
	EXPECT_EQ(0, accel_queue_wait(blocked, seqno, LONG_NS, NULL));
	EXPECT_EQ(5, self->bytes[4096]);
	accel_queue_destroy(blocked);
	accel_queue_destroy(other);
}

/* Of two NPUs a busy one does not slow the other down. */
TEST_F(queue, npus_run_beside_each_other)
{
	struct accel_queue *fast = queue_on(self->p.dev, self->p.npu[2]);
	uint64_t slow;

	ASSERT_EQ(0, submit_slow(self->slow_queue, self->buffer, NULL, &slow));
	EXPECT_EQ(0, run_fill(fast, self->buffer, 8192, 4096, 1));
	EXPECT_EQ(-ETIME, accel_queue_wait(self->slow_queue, slow, 0, NULL));
	accel_queue_destroy(fast);
}

TEST_F(queue, a_full_queue_is_busy)
{
	struct accel_queue *queue = queue_on(self->p.dev, self->p.npu[1]);
	struct accel_queue *other = queue_on(self->p.dev, self->p.npu[1]);
	struct accel_point point = { self->timeline, 1 };
	struct accel_submit waiting = { .waits = &point, .wait_count = 1 };
	uint64_t slow, seqno, i;

	ASSERT_EQ(0, submit_slow(self->slow_queue, self->buffer, &point, &slow));
	for (i = 1; i <= self->p.info.queue_depth; i++) {
		ASSERT_EQ(0, accel_queue_submit(queue, &waiting, &seqno))
			TH_LOG("submit %d", (int)i);
		ASSERT_EQ(i, seqno);
	}
	EXPECT_EQ(-EBUSY, accel_queue_submit(queue, &waiting, &seqno));
	EXPECT_EQ(-EBUSY, submit_ops(queue, NULL, 0, &seqno));
	EXPECT_EQ(i - 1, seqno);
	EXPECT_EQ(0, run_ops(other, NULL, 0));
	accel_queue_destroy(self->slow_queue);
	self->slow_queue = queue_on(self->p.dev, self->slow);
	EXPECT_EQ(0, accel_queue_wait(queue, i - 1, LONG_NS, NULL));
	ASSERT_TRUE(eventually(!submit_ops(queue, NULL, 0, &seqno)));
	EXPECT_EQ(i, seqno);
	accel_queue_destroy(queue);
	accel_queue_destroy(other);
}

struct waiter {
	struct accel_queue *queue;
	uint64_t seqno;
	int err;
	struct accel_result result;
};

static void *wait_in_thread(void *arg)
{
	struct waiter *waiter = arg;

	waiter->err = accel_queue_wait(waiter->queue, waiter->seqno, LONG_NS, &waiter->result);
	return NULL;
}

TEST_F(queue, wait_wakes_and_times_out)
{
	uint32_t lazy = npu_add(self->p.dev, KIB(64), 3 * SLOW_NS);
	struct accel_queue *queue = queue_on(self->p.dev, lazy);
	struct accel_seg seg = { 0, 0, 8 };
	struct accel_op op = { ACCEL_OP_FILL, 1, self->buffer, NULL, 9, &seg };
	struct waiter waiter = { .queue = queue, .err = 1 };
	struct accel_result result = { 77, 77, 77 };
	pthread_t thread;

	ASSERT_EQ(0, submit_ops(queue, &op, 1, &waiter.seqno));
	EXPECT_EQ(-ETIME, accel_queue_wait(queue, waiter.seqno, 0, &result));
	EXPECT_EQ(77, result.error);
	ASSERT_EQ(0, pthread_create(&thread, NULL, wait_in_thread, &waiter));
	EXPECT_EQ(0, accel_queue_wait(queue, waiter.seqno, ACCEL_WAIT_FOREVER, &result));
	pthread_join(thread, NULL);
	EXPECT_EQ(0, waiter.err);
	EXPECT_EQ(0, result.error);
	EXPECT_EQ(0, result.op);
	EXPECT_EQ(0, result.npu);
	EXPECT_EQ(9, self->bytes[0]);
	accel_queue_destroy(queue);
	EXPECT_EQ(0, accel_npu_remove(self->p.dev, lazy));
}

/* Points of a destroyed queue's submits are reached, whatever became of the work. */
TEST_F(queue, destroy_cancels_and_signals)
{
	struct accel_queue *queue = queue_on(self->p.dev, self->p.npu[1]);
	struct accel_timeline *own = timeline_new(self->p.dev);
	struct accel_point first = { self->timeline, 1 }, blocked = { own, 1 };
	struct accel_seg seg = { 4096, 0, 8 };
	struct accel_op op = { ACCEL_OP_FILL, 1, self->buffer, NULL, 5, &seg };
	struct accel_submit waiting = { .ops = &op, .op_count = 1, .waits = &first, .wait_count = 1,
					.signals = &blocked, .signal_count = 1 };
	struct accel_submit follow = { .ops = &op, .op_count = 1, .waits = &blocked,
				       .wait_count = 1 };
	uint64_t slow, seqno, value;

	ASSERT_EQ(0, submit_slow(self->slow_queue, self->buffer, &first, &slow));
	ASSERT_EQ(0, accel_queue_submit(queue, &waiting, &seqno));
	ASSERT_EQ(0, accel_queue_submit(queue, &follow, &seqno));
	accel_queue_destroy(queue);
	EXPECT_EQ(0, accel_timeline_wait(own, 1, LONG_NS));
	nap(50);
	EXPECT_EQ(0, self->bytes[4096]);
	accel_queue_destroy(self->slow_queue);
	self->slow_queue = queue_on(self->p.dev, self->slow);
	EXPECT_EQ(0, accel_timeline_wait(self->timeline, 1, LONG_NS));
	EXPECT_EQ(0, accel_timeline_query(self->timeline, &value));
	EXPECT_EQ(1, value);
	EXPECT_EQ(0, self->bytes[4096]);
	accel_timeline_close(own);
}

/* The memory that a cancelled copy would have written is not written after. */
TEST_F(queue, nothing_runs_after_destroy)
{
	unsigned int i, j;

	for (i = 0; i < scaled(50); i++) {
		struct accel_queue *queue = queue_on(self->p.dev, self->p.npu[1]);
		struct accel_seg seg = { 0, 0, KIB(64) };
		struct accel_op op = { ACCEL_OP_FILL, 1, self->buffer, NULL, ~0ull, &seg };

		for (j = 0; j < 8; j++)
			ASSERT_EQ(0, submit_ops(queue, &op, 1, NULL));
		accel_queue_destroy(queue);
		memset(self->bytes, 0, KIB(64));
		nap(1);
		ASSERT_TRUE(all_bytes(self->bytes, KIB(64), 0));
	}
}

TEST_F(queue, a_failed_submit_does_not_stop_later_ones)
{
	struct accel_queue *queue = queue_on(self->p.dev, self->p.npu[1]);
	struct accel_seg at[] = { { 0, 0, 8 }, { 8, 0, 8 }, { 16, 0, 8 } };
	struct accel_op ops[] = {
		{ ACCEL_OP_FILL, 1, self->buffer, NULL, 1, &at[0] },
		{ ACCEL_OP_FILL, 1, self->buffer, NULL, 2, &at[1] },
		{ ACCEL_OP_FILL, 1, self->buffer, NULL, 3, &at[2] },
	};
	struct accel_point point = { self->timeline, 1 };
	struct accel_submit submit = { .ops = ops, .op_count = 3, .signals = &point,
				       .signal_count = 1 };
	struct accel_result result;
	uint64_t failed, after;

	ASSERT_EQ(0, accel_npu_inject(self->p.dev, self->p.npu[1], ACCEL_FAULT_COPY, 1));
	ASSERT_EQ(0, accel_queue_submit(queue, &submit, &failed));
	ASSERT_EQ(0, submit_ops(queue, &ops[2], 1, &after));
	EXPECT_EQ(-EIO, accel_queue_wait(queue, failed, LONG_NS, &result));
	EXPECT_EQ(-EIO, result.error);
	EXPECT_EQ(0, result.op);
	EXPECT_EQ(self->p.npu[1], result.npu);
	EXPECT_EQ(0, accel_timeline_wait(self->timeline, 1, LONG_NS));
	EXPECT_EQ(0, accel_queue_wait(queue, after, LONG_NS, NULL));
	EXPECT_EQ(0, self->bytes[0] | self->bytes[8]);
	EXPECT_EQ(3, self->bytes[16]);
	/* The reason is still known, and asking again does not forget it. */
	EXPECT_EQ(-EIO, accel_queue_wait(queue, failed, 0, &result));
	accel_queue_destroy(queue);
}

/* Old reasons may be forgotten; the newest is not, and no failure turns into a success. */
TEST_F(queue, many_failures)
{
	struct accel_queue *queue = queue_on(self->p.dev, self->p.npu[1]);
	struct accel_result result, untouched = { 77, 77, 77 };
	unsigned int n = 2000, i;
	int err;

	ASSERT_EQ(0, accel_npu_inject(self->p.dev, self->p.npu[1], ACCEL_FAULT_COPY, n));
	for (i = 1; i <= n; i++)
		ASSERT_EQ(-EIO, run_fill(queue, self->buffer, 0, 8, 1));
	EXPECT_EQ(0, run_fill(queue, self->buffer, 0, 8, 1));
	for (i = 1; i <= n; i++) {
		result = untouched;
		err = accel_queue_wait(queue, i, 0, &result);
		ASSERT_EQ(i > n - REMEMBERED ? -EIO : -ENODATA, err)
			TH_LOG("submit %u", i);
		ASSERT_EQ(err == -EIO ? -EIO : 77, result.error);
	}
	EXPECT_EQ(-EIO, accel_queue_wait(queue, n, 0, NULL));
	EXPECT_EQ(0, accel_queue_wait(queue, n + 1, 0, NULL));
	accel_queue_destroy(queue);
}

/* What a submit is made of may be changed as soon as the call returns. */
TEST_F(queue, nothing_of_a_submit_is_read_later)
{
	struct accel_queue *queue = queue_on(self->p.dev, self->p.npu[1]);
	struct accel_buffer *victim = buffer_on(self->p.dev, self->p.npu[2], KIB(4));
	uint8_t *v = buffer_map(victim);
	struct accel_point wait = { self->timeline, 1 };
	struct accel_seg *seg = malloc(sizeof(*seg));
	struct accel_op *op = malloc(sizeof(*op));
	struct accel_submit submit = { .ops = op, .op_count = 1, .waits = &wait, .wait_count = 1 };
	uint64_t slow, seqno;

	*seg = (struct accel_seg){ 0, 0, 16 };
	*op = (struct accel_op){ ACCEL_OP_FILL, 1, self->buffer, NULL, ~0ull, seg };
	ASSERT_EQ(0, submit_slow(self->slow_queue, self->buffer, &wait, &slow));
	ASSERT_EQ(0, accel_queue_submit(queue, &submit, &seqno));
	seg->dst_offset = 64;
	op->dst = victim;
	op->pattern = 1;
	memset(&submit, 0xff, sizeof(submit));
	accel_queue_destroy(self->slow_queue);
	self->slow_queue = queue_on(self->p.dev, self->slow);
	EXPECT_EQ(0, accel_queue_wait(queue, seqno, LONG_NS, NULL));
	EXPECT_TRUE(all_bytes(self->bytes, 16, 0xff));
	EXPECT_EQ(0, self->bytes[64] | v[0]);
	free(seg);
	free(op);
	accel_buffer_unmap(self->p.dev, v, KIB(4));
	accel_buffer_close(victim);
	accel_queue_destroy(queue);
}

TEST_HARNESS_MAIN
