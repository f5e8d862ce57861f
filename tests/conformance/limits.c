// SPDX-License-Identifier: MIT
/* Conformance: each limit that a pool tells can be reached, and not be passed. */
#include <sys/resource.h>

#include "pool.h"

FIXTURE(limits)
{
	struct pool p;
	struct accel_queue *queue;
	struct accel_buffer *buffer;
};

FIXTURE_SETUP(limits)
{
	pool_setup(&self->p);
	self->queue = queue_on(self->p.dev, self->p.npu[0]);
	self->buffer = buffer_on(self->p.dev, self->p.npu[0], KIB(64));
}

FIXTURE_TEARDOWN(limits)
{
	accel_queue_destroy(self->queue);
	accel_buffer_close(self->buffer);
	EXPECT_TRUE(pool_teardown(&self->p));
}

TEST_F(limits, max_ops)
{
	uint32_t max = self->p.info.max_ops, i;
	struct accel_op *ops = calloc(max + 1, sizeof(*ops));
	struct accel_seg seg = { 0, 0, 1 };

	for (i = 0; i <= max; i++)
		ops[i] = (struct accel_op){ ACCEL_OP_FILL, 1, self->buffer, NULL, i, &seg };
	EXPECT_EQ(0, run_ops(self->queue, ops, max));
	EXPECT_EQ(-EINVAL, run_ops(self->queue, ops, max + 1));
	EXPECT_EQ(-EINVAL, run_ops(self->queue, ops, UINT32_MAX));
	free(ops);
}

TEST_F(limits, max_segs)
{
	uint32_t max = self->p.info.max_segs, i;
	struct accel_seg *segs = calloc(max + 1, sizeof(*segs));
	struct accel_op ops[2];

	for (i = 0; i <= max; i++)
		segs[i] = (struct accel_seg){ i % 60000, 0, 1 };
	ops[0] = (struct accel_op){ ACCEL_OP_FILL, max, self->buffer, NULL, 1, segs };
	ops[1] = (struct accel_op){ ACCEL_OP_FILL, 1, self->buffer, NULL, 1, segs };
	EXPECT_EQ(0, run_ops(self->queue, ops, 1));
	/* It counts over all operations of a submit. */
	EXPECT_EQ(-EINVAL, run_ops(self->queue, ops, 2));
	ops[0].seg_count = max - 1;
	EXPECT_EQ(0, run_ops(self->queue, ops, 2));
	ops[0].seg_count = max + 1;
	EXPECT_EQ(-EINVAL, run_ops(self->queue, ops, 1));
	ops[0].seg_count = UINT32_MAX;
	EXPECT_EQ(-EINVAL, run_ops(self->queue, ops, 1));
	EXPECT_EQ(-EINVAL, run_ops(self->queue, ops, 2));
	free(segs);
}

TEST_F(limits, max_syncs)
{
	uint32_t max = self->p.info.max_syncs, i;
	struct accel_point *waits = calloc(max + 1, sizeof(*waits));
	struct accel_point *signals = calloc(max + 1, sizeof(*signals));
	struct accel_submit submit = { .waits = waits, .signals = signals };
	uint64_t seqno = 0;

	for (i = 0; i <= max; i++) {
		waits[i] = (struct accel_point){ timeline_new(self->p.dev), 1 };
		signals[i] = (struct accel_point){ timeline_new(self->p.dev), 1 };
		ASSERT_EQ(0, accel_timeline_signal(waits[i].timeline, 1));
	}
	submit.wait_count = max + 1;
	EXPECT_EQ(-EINVAL, accel_queue_submit(self->queue, &submit, &seqno));
	submit.wait_count = 0;
	submit.signal_count = max + 1;
	EXPECT_EQ(-EINVAL, accel_queue_submit(self->queue, &submit, &seqno));
	submit.signal_count = UINT32_MAX;
	EXPECT_EQ(-EINVAL, accel_queue_submit(self->queue, &submit, &seqno));
	submit.wait_count = max;
	submit.signal_count = max;
	EXPECT_EQ(0, accel_queue_submit(self->queue, &submit, &seqno));
	EXPECT_EQ(0, accel_queue_wait(self->queue, seqno, LONG_NS, NULL));
	for (i = 0; i <= max; i++) {
		EXPECT_EQ(i < max ? 0 : -ETIME,
			  accel_timeline_wait(signals[i].timeline, 1, i < max ? LONG_NS : 0));
		accel_timeline_close(waits[i].timeline);
		accel_timeline_close(signals[i].timeline);
	}
	free(waits);
	free(signals);
}

TEST_F(limits, max_queues)
{
	uint32_t max = self->p.info.max_queues, i;
	struct accel_queue **queues = calloc(max, sizeof(*queues)), *one_more;
	struct accel_dev *other = dev_open();

	queues[0] = self->queue;
	for (i = 1; i < max; i++)
		queues[i] = queue_on(self->p.dev, self->p.npu[i % OWN_NPUS]);
	EXPECT_EQ(-EMFILE, accel_queue_create(self->p.dev, self->p.npu[0], &one_more));
	/* It is a limit of this accel_open() alone. */
	ASSERT_EQ(0, accel_queue_create(other, self->p.npu[0], &one_more));
	accel_queue_destroy(one_more);
	for (i = 0; i < max; i += max / 8 + 1)
		EXPECT_EQ(0, run_fill(queues[i], self->buffer, i, 8, i));
	accel_queue_destroy(queues[max - 1]);
	ASSERT_EQ(0, accel_queue_create(self->p.dev, self->p.npu[0], &queues[max - 1]));
	for (i = 1; i < max; i++)
		accel_queue_destroy(queues[i]);
	accel_close(other);
	free(queues);
}

/* More buffers, mappings and timelines than there are file descriptors by default. */
TEST_F(limits, many_objects)
{
	struct rlimit files;
	unsigned int n = 3000, i;
	struct accel_buffer **buffers = calloc(n, sizeof(*buffers));
	struct accel_timeline **timelines = calloc(n, sizeof(*timelines));
	uint64_t unit = self->p.info.min_alloc;

	getrlimit(RLIMIT_NOFILE, &files);
	if (files.rlim_max > 16 * 1024)
		files.rlim_cur = 16 * 1024;
	setrlimit(RLIMIT_NOFILE, &files);
	for (i = 0; i < n; i++) {
		buffers[i] = buffer_on(self->p.dev, self->p.npu[i % OWN_NPUS], unit);
		timelines[i] = timeline_new(self->p.dev);
	}
	for (i = 0; i < n; i += 97)
		EXPECT_EQ(0, run_copy(self->queue, buffers[i], 0, buffers[n - 1 - i], 0, unit));
	for (i = 0; i < n; i++) {
		accel_buffer_close(buffers[i]);
		accel_timeline_close(timelines[i]);
	}
	free(buffers);
	free(timelines);
}

TEST_HARNESS_MAIN
