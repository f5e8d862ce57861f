// SPDX-License-Identifier: MIT
/*
 * Conformance: a queue that has used its budget up, and waits with bulk since,
 * goes ahead again when its budget is full, though nothing else happens at its
 * engine.
 */
#include "classes.h"

#define HOGS 8u
#define HOG_RATE MIB(32)	/* bytes a second of each hog's engine */
#define PIECE KIB(256)		/* a hog copies it MANY times */
#define SMALL KIB(16)		/* a budget */
#define SMALL_NS 2000000u	/* its period */
#define BUDGETS 200u

struct hog {
	uint32_t npu;
	struct accel_buffer *buffer;
	struct accel_queue *queue;
	uint64_t seqno;
};

FIXTURE(due)
{
	struct pool p;
	struct accel_buffer *src, *dst;
	struct hog hogs[HOGS];
};

FIXTURE_SETUP(due)
{
	struct accel_dev *dev;

	pool_setup(&self->p);
	dev = self->p.dev;
	self->src = buffer_on(dev, self->p.npu[0], SMALL);
	self->dst = buffer_on(dev, self->p.npu[1], PIECE);
	for (struct hog *hog = self->hogs; hog < self->hogs + HOGS; hog++) {
		hog->npu = npu_add_rate(dev, MIB(1), HOG_RATE);
		hog->buffer = buffer_on(dev, hog->npu, PIECE);
		hog->queue = queue_weighing(dev, hog->npu, ACCEL_MAX_WEIGHT);
	}
}

FIXTURE_TEARDOWN(due)
{
	for (struct hog *hog = self->hogs; hog < self->hogs + HOGS; hog++) {
		accel_queue_destroy(hog->queue);
		accel_buffer_close(hog->buffer);
		accel_npu_remove(self->p.dev, hog->npu);
	}
	accel_buffer_close(self->src);
	accel_buffer_close(self->dst);
	EXPECT_TRUE(pool_teardown(&self->p));
}

/* All want the same port, where there is no room for half of them. */
TEST_F(due, a_full_budget_wakes_its_engine)
{
	struct accel_queue_qos qos = { ACCEL_CLASS_LATENCY, 1, SMALL, SMALL_NS, ACCEL_NPU_ANY,
				       ACCEL_NPU_ANY };
	struct accel_queue *queue;
	uint64_t seqno;

	ASSERT_EQ(0, accel_queue_create_qos(self->p.dev, self->p.npu[0], &qos, &queue));
	for (struct hog *hog = self->hogs; hog < self->hogs + HOGS; hog++)
		ASSERT_EQ(0, copy_qos(hog->queue, self->dst, hog->buffer, PIECE, MANY, NULL, NULL,
				      &hog->seqno, NULL));
	for (struct hog *hog = self->hogs; hog < self->hogs + HOGS; hog++)
		EXPECT_TRUE(eventually(port_info(self->p.dev, hog->npu, 0).moved));
	ASSERT_EQ(0, copy_qos(queue, self->dst, self->src, SMALL, BUDGETS, NULL, NULL, &seqno,
			      NULL));
	EXPECT_EQ(0, accel_queue_wait(queue, seqno, LONG_NS, NULL));
	/* By weight they would have had thousands of times as much by now. */
	for (struct hog *hog = self->hogs; hog < self->hogs + HOGS; hog++)
		EXPECT_EQ(-ETIME, accel_queue_wait(hog->queue, hog->seqno, 0, NULL));
	EXPECT_TRUE(eventually(class_stats(self->p.dev, self->p.npu[0],
					   ACCEL_CLASS_LATENCY).demoted));
	accel_queue_destroy(queue);
}

TEST_HARNESS_MAIN
