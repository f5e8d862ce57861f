// SPDX-License-Identifier: MIT
/* Conformance: a software NPU acts out the faults it is told to, and only those. */
#include "pool.h"

FIXTURE(fault)
{
	struct pool p;
	uint32_t npu;
	struct accel_queue *queue;
	struct accel_buffer *a, *b;	/* a fills npu, b is elsewhere */
	uint8_t *a_p;
};

FIXTURE_SETUP(fault)
{
	pool_setup(&self->p);
	self->npu = self->p.npu[0];
	self->queue = queue_on(self->p.dev, self->p.npu[1]);
	self->a = buffer_on(self->p.dev, self->npu, OWN_BYTES);
	self->b = buffer_on(self->p.dev, self->p.npu[2], OWN_BYTES);
	self->a_p = buffer_map(self->a);
}

FIXTURE_TEARDOWN(fault)
{
	accel_queue_destroy(self->queue);
	accel_buffer_unmap(self->p.dev, self->a_p, OWN_BYTES);
	accel_buffer_close(self->a);
	accel_buffer_close(self->b);
	EXPECT_TRUE(pool_teardown(&self->p));
}

TEST_F(fault, inject_refuses)
{
	EXPECT_EQ(-ENOENT, accel_npu_inject(self->p.dev, UINT32_MAX, ACCEL_FAULT_COPY, 1));
	EXPECT_EQ(-EOPNOTSUPP, accel_npu_inject(self->p.dev, self->npu, (enum accel_fault)4, 0));
	EXPECT_EQ(-EINVAL, accel_npu_inject(self->p.dev, self->npu, ACCEL_FAULT_DIE, 1));
	EXPECT_EQ(-EINVAL, accel_npu_inject(self->p.dev, self->npu, ACCEL_FAULT_POISON, OWN_BYTES));
	EXPECT_EQ(-EINVAL,
		  accel_npu_inject(self->p.dev, self->npu, ACCEL_FAULT_POISON, UINT64_MAX));
	EXPECT_EQ(0, run_fill(self->queue, self->a, 0, OWN_BYTES, 1));
}

TEST_F(fault, allocations_fail_as_often_as_asked)
{
	uint32_t npus[] = { self->p.npu[1], self->p.npu[3] };
	struct accel_where there = { ACCEL_PLACE_NPU, 1, &npus[1], 0 };
	struct accel_where across = { ACCEL_PLACE_INTERLEAVE, 2, npus, KIB(4) };
	struct accel_buffer *buffer = NULL;

	ASSERT_EQ(0, accel_npu_inject(self->p.dev, npus[1], ACCEL_FAULT_ALLOC, 3));
	EXPECT_EQ(-ENOSPC, accel_buffer_create(self->p.dev, KIB(4), &there, &buffer));
	EXPECT_EQ(-ENOSPC, accel_buffer_create(self->p.dev, KIB(4), &there, &buffer));
	/* What was got on the other NPU before this one refused is given back. */
	EXPECT_EQ(-ENOSPC, accel_buffer_create(self->p.dev, KIB(64), &across, &buffer));
	EXPECT_EQ(OWN_BYTES, npu_free(self->p.dev, npus[0]));
	EXPECT_EQ(OWN_BYTES, npu_free(self->p.dev, npus[1]));
	ASSERT_EQ(0, accel_buffer_create(self->p.dev, KIB(64), &across, &buffer));
	accel_buffer_close(buffer);
}

TEST_F(fault, copies_fail_as_often_as_asked)
{
	struct accel_seg seg = { 0, 0, 64 };
	struct accel_op ops[] = {
		{ ACCEL_OP_FILL, 1, self->b, NULL, 1, &seg },
		{ ACCEL_OP_COPY, 1, self->a, self->b, 0, &seg },
	};
	struct accel_result result;
	uint64_t seqno;

	ASSERT_EQ(0, accel_npu_inject(self->p.dev, self->p.npu[1], ACCEL_FAULT_COPY, 2));
	ASSERT_EQ(0, submit_ops(self->queue, ops, 2, &seqno));
	EXPECT_EQ(-EIO, accel_queue_wait(self->queue, seqno, LONG_NS, &result));
	EXPECT_EQ(0, result.op);
	EXPECT_EQ(self->p.npu[1], result.npu);
	EXPECT_EQ(-EIO, run_ops(self->queue, ops + 1, 1));
	EXPECT_EQ(0, run_ops(self->queue, ops, 2));
	/* Another engine that moves the same bytes is not affected. */
	ASSERT_EQ(0, accel_npu_inject(self->p.dev, self->npu, ACCEL_FAULT_COPY, 1));
	EXPECT_EQ(0, run_ops(self->queue, ops, 2));
	EXPECT_EQ(-EIO, accel_copy(self->a, 0, self->b, 0, 8, 0));
}

TEST_F(fault, poison_names_operation_and_npu)
{
	struct accel_seg clean = { 0, 0, 64 }, hit = { KIB(8), KIB(8), KIB(12) };
	struct accel_op ops[] = {
		{ ACCEL_OP_FILL, 1, self->a, NULL, 0x0303030303030303ull, &clean },
		{ ACCEL_OP_COPY, 1, self->b, self->a, 0, &clean },
		{ ACCEL_OP_COPY, 1, self->b, self->a, 0, &hit },
		{ ACCEL_OP_FILL, 1, self->b, NULL, 9, &clean },
	};
	struct accel_result result;
	uint64_t seqno, at;
	unsigned int poisoned = 0;
	uint8_t back[64];

	ASSERT_EQ(0, run_ops(self->queue, ops, 4));
	ASSERT_EQ(0, accel_npu_inject(self->p.dev, self->npu, ACCEL_FAULT_POISON, KIB(16) + 5));
	/* The buffer is the whole NPU; which of its pages was hit is the allocator's choice. */
	for (at = 0; at < OWN_BYTES; at += KIB(4)) {
		int err = run_copy(self->queue, self->b, at, self->a, at, KIB(4));

		ASSERT_TRUE(!err || err == -EIO);
		if (!err)
			continue;
		poisoned++;
		hit = (struct accel_seg){ at, at, KIB(4) };
		clean.dst_offset = clean.src_offset = at ? 0 : KIB(64);
	}
	ASSERT_EQ(1, poisoned);
	ops[0].segs = &(struct accel_seg){ clean.dst_offset, 0, 64 };
	ops[3].segs = ops[0].segs;
	ASSERT_EQ(0, submit_ops(self->queue, ops, 4, &seqno));
	EXPECT_EQ(-EIO, accel_queue_wait(self->queue, seqno, LONG_NS, &result));
	EXPECT_EQ(2, result.op);
	EXPECT_EQ(self->npu, result.npu);
	/* What ran before stays done, what comes after was not run. */
	ASSERT_EQ(0, run_copy(self->queue, self->a, KIB(128), self->b, clean.dst_offset, 64));
	memcpy(back, self->a_p + KIB(128), 64);
	EXPECT_TRUE(all_bytes(back, 64, 3));
	EXPECT_EQ(-EIO, run_fill(self->queue, self->a, hit.dst_offset, 8, 1));
	EXPECT_EQ(-EIO, run_copy(self->queue, self->a, hit.dst_offset + KIB(4) - 1, self->b, 0, 1));
	EXPECT_EQ(0, run_fill(self->queue, self->b, 0, OWN_BYTES, 1));
	/* It will never be whole again, nor has to. */
	EXPECT_EQ(0, accel_npu_remove(self->p.dev, self->npu));
}

/* A poisoned page is never handed out as if it were good. */
TEST_F(fault, poisoned_memory_stays_out)
{
	struct accel_buffer *again;
	struct accel_where where = { ACCEL_PLACE_NPU, 1, &self->npu, 0 };
	uint64_t at;
	int err;

	ASSERT_EQ(0, accel_npu_inject(self->p.dev, self->npu, ACCEL_FAULT_POISON, 0));
	accel_buffer_close(self->a);
	accel_buffer_unmap(self->p.dev, self->a_p, OWN_BYTES);
	nap(50);
	err = accel_buffer_create(self->p.dev, OWN_BYTES / 2, &where, &again);
	if (!err) {
		for (at = 0; at < OWN_BYTES / 2; at += KIB(4))
			EXPECT_EQ(0, run_copy(self->queue, self->b, at, again, at, KIB(4)))
				TH_LOG("at %llu", (unsigned long long)at);
		accel_buffer_close(again);
	}
	EXPECT_TRUE(!err || err == -ENOSPC);
	self->a = buffer_on(self->p.dev, self->p.npu[3], OWN_BYTES);
	self->a_p = buffer_map(self->a);
	EXPECT_EQ(0, accel_npu_remove(self->p.dev, self->npu));
}

TEST_HARNESS_MAIN
