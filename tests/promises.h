/* SPDX-License-Identifier: MIT */
/*
 * What the programs about promises share: two NPUs of known rates, promises at
 * the slow one of which are dear, and a gate behind which they are only held.
 */
#ifndef TESTS_PROMISES_H
#define TESTS_PROMISES_H

#include "classes.h"

#define PIECE MIB(1)
#define SLOW_RATE MIB(16)	/* bytes a second of the slow NPU */
#define PERCENT (SLOW_RATE / 10000 * 100)	/* of that */
#define SEGS 192	/* pieces of a transfer that is worth 14 s of what it can promise */
#define SOON (30 * SEC_NS)

FIXTURE(promise)
{
	struct pool p;
	uint32_t slow, fast;
	struct accel_buffer *here, *there;
	struct gate gate;
};

FIXTURE_SETUP(promise)
{
	pool_setup(&self->p);
	self->slow = npu_add_rate(self->p.dev, MIB(4), SLOW_RATE);
	self->fast = npu_add_rate(self->p.dev, MIB(4), 64 * SLOW_RATE);
	self->here = buffer_on(self->p.dev, self->slow, PIECE);
	self->there = buffer_on(self->p.dev, self->fast, PIECE);
	gate_shut(&self->gate, self->p.dev);
}

FIXTURE_TEARDOWN(promise)
{
	uint32_t npus[] = { self->slow, self->fast };
	bool rests;

	gate_free(&self->gate);
	rests = eventually(ports_rest(self->p.dev, npus, 2));
	accel_buffer_close(self->here);
	accel_buffer_close(self->there);
	accel_npu_remove(self->p.dev, self->slow);
	accel_npu_remove(self->p.dev, self->fast);
	EXPECT_TRUE(pool_teardown(&self->p));
	EXPECT_TRUE(rests)
		TH_LOG("a port is not at rest");
}

static inline int reserve(struct accel_dev *dev, uint32_t npu, uint64_t rate, uint32_t src,
			  uint32_t dst, struct accel_queue **queue)
{
	struct accel_queue_qos qos = { ACCEL_CLASS_LATENCY, 0, rate / 100, SEC_NS / 100, src, dst };

	return accel_queue_create_qos(dev, npu, &qos, queue);
}

#endif
