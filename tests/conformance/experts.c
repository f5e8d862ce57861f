// SPDX-License-Identifier: MIT
/* Conformance: caches of experts' weights, on NPUs that are slow, fail and die. */
#include "classes.h"
#include "experts.h"

#define EXPERTS 16
#define SLOTS 4
#define THREADS 4

FIXTURE(cache)
{
	struct pool p;
	struct experts e;
	uint32_t slow;		/* an NPU whose copies take a second */
};

FIXTURE_SETUP(cache)
{
	pool_setup(&self->p);
	self->slow = npu_add(self->p.dev, MIB(1), SEC_NS);
	experts_setup(&self->e, self->p.dev, self->p.npu, 3, EXPERTS, self->p.npu[3], SLOTS);
}

FIXTURE_TEARDOWN(cache)
{
	experts_teardown(&self->e);
	accel_npu_remove(self->p.dev, self->slow);
	EXPECT_TRUE(pool_teardown(&self->p));
}

/* The same with the cache on the slow NPU. */
static void move_to_slow(struct experts *e, uint32_t *source, uint32_t slow, uint32_t slots)
{
	struct accel_dev *dev = e->dev;

	experts_teardown(e);
	experts_setup(e, dev, source, 1, EXPERTS, slow, slots);
}

TEST_F(cache, create_refuses)
{
	struct accel_experts_config good = { self->e.source, EXPERT_BYTES, EXPERTS, SLOTS,
					     self->p.npu[3] }, config;
	struct accel_experts *cache = NULL;
	struct accel_dev *other = dev_open();
	struct {
		int err;
		struct accel_experts_config config;
	} cases[] = {
		{ -EINVAL, { NULL, EXPERT_BYTES, EXPERTS, SLOTS, good.npu } },
		{ -EINVAL, { good.source, 0, EXPERTS, SLOTS, good.npu } },
		{ -EINVAL, { good.source, EXPERT_BYTES, 0, SLOTS, good.npu } },
		{ -EINVAL, { good.source, EXPERT_BYTES, EXPERTS + 1, SLOTS, good.npu } },
		{ -EINVAL, { good.source, UINT64_MAX / 2, EXPERTS, SLOTS, good.npu } },
		{ -EINVAL, { good.source, 1, ACCEL_EXPERTS_MAX + 1, SLOTS, good.npu } },
		{ -EINVAL, { good.source, EXPERT_BYTES, EXPERTS, 0, good.npu } },
		{ -EINVAL, { good.source, EXPERT_BYTES, EXPERTS, ACCEL_EXPERTS_MAX + 1, good.npu } },
		{ -ENOENT, { good.source, EXPERT_BYTES, EXPERTS, SLOTS, UINT32_MAX } },
		{ -ENOSPC, { good.source, EXPERT_BYTES, EXPERTS, 2000, good.npu } },
	};

	for (unsigned int i = 0; i < ARRAY_LEN(cases); i++) {
		EXPECT_EQ(cases[i].err, accel_experts_create(self->p.dev, &cases[i].config, &cache))
			TH_LOG("case %u", i);
	}
	config = good;
	EXPECT_EQ(-EINVAL, accel_experts_create(other, &config, &cache));
	EXPECT_EQ(-EINVAL, accel_experts_create(NULL, &config, &cache));
	EXPECT_EQ(-EINVAL, accel_experts_create(self->p.dev, NULL, &cache));
	EXPECT_EQ(-EINVAL, accel_experts_create(self->p.dev, &config, NULL));
	EXPECT_EQ(NULL, cache);
	accel_experts_destroy(NULL);
	accel_close(other);
}

TEST_F(cache, calls_refuse)
{
	struct accel_experts *cache = self->e.cache;
	uint32_t ids[] = { 0, EXPERTS }, *many = calloc(ACCEL_EXPERTS_MAX_USES + 1, sizeof(*many));
	struct accel_experts_step steps[2] = { { ids, 1, 0 }, { ids, 2, 0 } };
	struct accel_expert expert;

	EXPECT_EQ(-EINVAL, accel_experts_look_ahead(cache, 0, steps, 2));
	EXPECT_EQ(-EINVAL, accel_experts_look_ahead(cache, 0, NULL, 1));
	EXPECT_EQ(-EINVAL, accel_experts_look_ahead(cache, UINT64_MAX, steps, 1));
	EXPECT_EQ(-EINVAL, accel_experts_look_ahead(NULL, 0, steps, 1));
	steps[1] = (struct accel_experts_step){ many, ACCEL_EXPERTS_MAX_USES, 0 };
	EXPECT_EQ(-EINVAL, accel_experts_look_ahead(cache, 0, steps, 2));
	steps[1].count = UINT32_MAX;
	EXPECT_EQ(-EINVAL, accel_experts_look_ahead(cache, 0, steps, 2));
	steps[1] = (struct accel_experts_step){ NULL, 1, 0 };
	EXPECT_EQ(-EINVAL, accel_experts_look_ahead(cache, 0, steps, 2));
	/* Nothing of it was taken: nothing comes. */
	EXPECT_EQ(0, accel_experts_step(cache, 0));
	nap(20);
	EXPECT_EQ(0, experts_stats(&self->e).copies);
	EXPECT_EQ(-EINVAL, accel_experts_get(cache, EXPERTS, LONG_NS, &expert));
	EXPECT_EQ(-EINVAL, accel_experts_get(cache, 0, LONG_NS, NULL));
	EXPECT_EQ(-EINVAL, accel_experts_get(NULL, 0, LONG_NS, &expert));
	EXPECT_EQ(-EINVAL, accel_experts_put(cache, 0));
	EXPECT_EQ(-EINVAL, accel_experts_put(cache, EXPERTS));
	EXPECT_EQ(-EINVAL, accel_experts_put(NULL, 0));
	EXPECT_EQ(0, experts_touch(&self->e, 0, LONG_NS));
	EXPECT_EQ(-EINVAL, accel_experts_put(cache, 0));
	EXPECT_EQ(0, accel_experts_step(cache, 7));
	EXPECT_EQ(0, accel_experts_step(cache, 7));
	EXPECT_EQ(-EINVAL, accel_experts_step(cache, 6));
	EXPECT_EQ(-EINVAL, accel_experts_step(NULL, 8));
	/* The most that can be. */
	steps[0] = (struct accel_experts_step){ many, ACCEL_EXPERTS_MAX_USES, 0 };
	EXPECT_EQ(0, accel_experts_look_ahead(cache, 7, steps, 1));
	EXPECT_EQ(0, accel_experts_look_ahead(cache, 7, NULL, 0));
	free(many);
}

TEST_F(cache, a_hit_costs_no_copy)
{
	struct accel_experts_stats stats;
	struct accel_expert expert, again;

	for (unsigned int i = 0; i < 3; i++)
		for (uint32_t id = 0; id < SLOTS; id++)
			ASSERT_EQ(0, experts_touch(&self->e, id, LONG_NS));
	/* Twice at once, at one place, which can be copied from. */
	ASSERT_EQ(0, accel_experts_get(self->e.cache, 2, 0, &expert));
	ASSERT_EQ(0, accel_experts_get(self->e.cache, 2, 0, &again));
	EXPECT_EQ(expert.data, again.data);
	EXPECT_EQ(expert.offset, again.offset);
	ASSERT_EQ(0, accel_copy(self->e.source, 3 * EXPERT_BYTES,
				accel_experts_buffer(self->e.cache), expert.offset, EXPERT_BYTES,
				0));
	EXPECT_EQ(0, memcmp(self->e.map + 3 * EXPERT_BYTES, self->e.map + 2 * EXPERT_BYTES,
			    EXPERT_BYTES));
	EXPECT_EQ(0, accel_experts_put(self->e.cache, 2));
	EXPECT_EQ(0, accel_experts_put(self->e.cache, 2));
	EXPECT_EQ(-EINVAL, accel_experts_put(self->e.cache, 2));
	stats = experts_stats(&self->e);
	EXPECT_EQ(SLOTS, stats.misses);
	EXPECT_EQ(2 * SLOTS + 2, stats.hits);
	EXPECT_EQ(0, stats.late);
	EXPECT_EQ(SLOTS, stats.copies);
	EXPECT_EQ(SLOTS * EXPERT_BYTES, stats.bytes);
	EXPECT_EQ(0, stats.failed + stats.wasted);
}

TEST_F(cache, what_is_predicted_is_there)
{
	uint32_t ids[] = { 5, 9, 5, 13 };
	struct accel_experts_stats stats;

	ASSERT_EQ(0, experts_expect(&self->e, 3, ids, 4, now_ns() + 30 * SEC_NS));
	ASSERT_TRUE(eventually(experts_stats(&self->e).copies == 3));
	/* All of it was promised. */
	EXPECT_EQ(3 * EXPERT_BYTES,
		  class_stats(self->p.dev, self->p.npu[3], ACCEL_CLASS_DEADLINE).bytes);
	EXPECT_EQ(0, class_stats(self->p.dev, self->p.npu[3], ACCEL_CLASS_BULK).bytes);
	EXPECT_EQ(0, experts_stats(&self->e).refused);
	ASSERT_EQ(0, accel_experts_step(self->e.cache, 3));
	for (unsigned int i = 0; i < 4; i++)
		EXPECT_EQ(0, experts_touch(&self->e, ids[i], 0));
	stats = experts_stats(&self->e);
	EXPECT_EQ(4, stats.hits);
	EXPECT_EQ(3, stats.copies);
	EXPECT_EQ(0, stats.late + stats.misses + stats.wasted);
}

/* Where a slot is free nothing goes, also if it is predicted no more, or a copy failed. */
TEST_F(cache, a_free_slot_is_taken_first)
{
	uint32_t ids[] = { 5, 9 };

	ASSERT_EQ(0, experts_expect(&self->e, 1, ids, 2, 0));
	ASSERT_TRUE(eventually(experts_stats(&self->e).copies == 2));
	ASSERT_EQ(0, accel_experts_look_ahead(self->e.cache, 1, NULL, 0));
	ASSERT_EQ(0, experts_touch(&self->e, 1, LONG_NS));
	ASSERT_EQ(0, accel_npu_inject(self->p.dev, self->p.npu[3], ACCEL_FAULT_COPY, 1));
	EXPECT_EQ(-EIO, experts_take(&self->e, 2, LONG_NS));
	ASSERT_EQ(0, experts_touch(&self->e, 3, LONG_NS));
	EXPECT_EQ(0, experts_touch(&self->e, 5, 0));
	EXPECT_EQ(0, experts_touch(&self->e, 9, 0));
	EXPECT_EQ(0, experts_touch(&self->e, 1, 0));
	EXPECT_EQ(0, experts_touch(&self->e, 3, 0));
	EXPECT_EQ(0, experts_stats(&self->e).wasted);
	EXPECT_EQ(4, experts_stats(&self->e).hits);
}

/* Its slot is needed sooner: it comes as soon as that is over, and not before. */
TEST_F(cache, a_slot_is_taken_after_its_last_use)
{
	uint32_t ids[][SLOTS + 1] = { { 0, 1, 2, 3 }, { 0, 1, 2, 4, 0 }, { 5, 3, 1, 4 } };
	struct accel_experts_step steps[] = {
		{ ids[0], 4, 0 }, { ids[1], 5, 0 }, { ids[2], 4, 0 },
	};

	ASSERT_EQ(0, accel_experts_look_ahead(self->e.cache, 0, steps, 3));
	ASSERT_TRUE(eventually(experts_stats(&self->e).copies == 4));
	for (unsigned int i = 0; i < 3; i++)
		EXPECT_EQ(0, experts_touch(&self->e, ids[0][i], 0));
	nap(20);
	/* 4 waits for 3, whose next use is furthest. */
	EXPECT_EQ(4, experts_stats(&self->e).copies);
	EXPECT_EQ(0, experts_touch(&self->e, 3, 0));
	ASSERT_TRUE(eventually(experts_stats(&self->e).copies == 5));
	ASSERT_EQ(0, accel_experts_step(self->e.cache, 1));
	EXPECT_EQ(0, experts_touch(&self->e, 4, 0));
	EXPECT_EQ(0, experts_touch(&self->e, 1, 0));
	nap(20);
	EXPECT_EQ(5, experts_stats(&self->e).copies);
	/* Those that are used no more make room, each at once. */
	EXPECT_EQ(0, experts_touch(&self->e, 0, 0));
	ASSERT_TRUE(eventually(experts_stats(&self->e).copies == 6));
	EXPECT_EQ(0, experts_touch(&self->e, 2, 0));
	ASSERT_TRUE(eventually(experts_stats(&self->e).copies == 7));
	ASSERT_EQ(0, accel_experts_step(self->e.cache, 2));
	for (unsigned int i = 0; i < 4; i++)
		EXPECT_EQ(0, experts_touch(&self->e, ids[2][i], 0));
	EXPECT_EQ(12, experts_stats(&self->e).hits);
}

/* It was not used in its step: there is nothing any more to keep it for. */
TEST_F(cache, what_is_over_goes_first)
{
	uint32_t ids[] = { 0, 1, 2, 3 };
	struct accel_experts_step steps[] = {
		{ ids, 1, 0 }, { ids + 1, 1, 0 }, { ids + 2, 1, 0 }, { ids + 3, 1, 0 },
	};

	ASSERT_EQ(0, accel_experts_look_ahead(self->e.cache, 1, steps, 4));
	ASSERT_TRUE(eventually(experts_stats(&self->e).copies == 4));
	ASSERT_EQ(0, accel_experts_step(self->e.cache, 2));
	EXPECT_EQ(0, experts_touch(&self->e, 7, LONG_NS));
	EXPECT_EQ(1, experts_stats(&self->e).wasted);
	for (uint32_t id = 1; id < 4; id++)
		EXPECT_EQ(0, experts_touch(&self->e, id, 0));
	EXPECT_EQ(3, experts_stats(&self->e).hits);
}

/* Somebody holds an expert for ever: the others go on with the slots that are left. */
TEST_F(cache, what_is_held_stays)
{
	struct accel_expert held;

	ASSERT_EQ(0, accel_experts_get(self->e.cache, 0, LONG_NS, &held));
	for (uint64_t s = 1; s < 40; s++) {
		uint32_t ids[6];
		struct accel_experts_step steps[2] = { { ids, 3, 0 }, { ids + 3, 3, 0 } };

		for (unsigned int i = 0; i < 6; i++)
			ids[i] = 1 + (s * 3 + i) % (EXPERTS - 1);
		ASSERT_EQ(0, accel_experts_look_ahead(self->e.cache, s, steps, 2));
		ASSERT_EQ(0, accel_experts_step(self->e.cache, s));
		for (unsigned int i = 0; i < 3; i++)
			ASSERT_EQ(0, experts_take(&self->e, ids[i], LONG_NS));
		for (unsigned int i = 0; i < 3; i++)
			ASSERT_EQ(0, accel_experts_put(self->e.cache, ids[i]));
		ASSERT_TRUE(experts_right(&self->e, 0, &held));
	}
	EXPECT_EQ(1, experts_stats(&self->e).misses);
	ASSERT_EQ(0, accel_experts_put(self->e.cache, 0));
}

TEST_F(cache, all_in_use)
{
	for (uint32_t id = 0; id < SLOTS; id++)
		ASSERT_EQ(0, experts_take(&self->e, id, LONG_NS));
	EXPECT_EQ(-EBUSY, experts_take(&self->e, SLOTS, LONG_NS));
	EXPECT_EQ(-EBUSY, experts_take(&self->e, SLOTS, 0));
	/* Those that are there can be had. */
	EXPECT_EQ(0, experts_touch(&self->e, 1, 0));
	EXPECT_EQ(-EBUSY, experts_take(&self->e, SLOTS, 0));
	ASSERT_EQ(0, accel_experts_put(self->e.cache, 2));
	EXPECT_EQ(0, experts_touch(&self->e, SLOTS, LONG_NS));
	EXPECT_EQ(0, experts_touch(&self->e, 1, 0));
	EXPECT_EQ(SLOTS + 1, experts_stats(&self->e).copies);
	EXPECT_EQ(SLOTS + 1, experts_stats(&self->e).misses);
	for (uint32_t id = 0; id < SLOTS; id++)
		if (id != 2)
			ASSERT_EQ(0, accel_experts_put(self->e.cache, id));
}

TEST_F(cache, late_and_missed)
{
	uint32_t ids[] = { 1, 2 };
	struct accel_experts_stats stats;

	move_to_slow(&self->e, self->p.npu, self->slow, 2);
	/* Nothing was said: it is missed, however often it is asked for until it comes. */
	EXPECT_EQ(-ETIME, experts_take(&self->e, 0, 0));
	EXPECT_EQ(-ETIME, experts_take(&self->e, 0, 1000));
	EXPECT_EQ(0, experts_touch(&self->e, 0, LONG_NS));
	/* On its way when it is needed. */
	ASSERT_EQ(0, experts_expect(&self->e, 0, ids, 2, 0));
	EXPECT_EQ(0, experts_touch(&self->e, 1, LONG_NS));
	EXPECT_EQ(0, experts_touch(&self->e, 1, LONG_NS));
	stats = experts_stats(&self->e);
	EXPECT_EQ(1, stats.misses);
	EXPECT_EQ(1, stats.late);
	EXPECT_EQ(1, stats.hits);
	/* Both arrive, and neither is what is wanted: there is room once one came. */
	EXPECT_EQ(-ETIME, experts_take(&self->e, 2, 0));
	ids[0] = 4;
	ids[1] = 5;
	ASSERT_EQ(0, accel_experts_look_ahead(self->e.cache, 0, NULL, 0));
	EXPECT_EQ(0, experts_touch(&self->e, 2, LONG_NS));
	ASSERT_EQ(0, experts_expect(&self->e, 1, ids, 2, 0));
	EXPECT_EQ(-ETIME, experts_take(&self->e, 3, 0));
	EXPECT_EQ(-ETIME, experts_take(&self->e, 3, 1000));
	EXPECT_EQ(0, experts_touch(&self->e, 3, LONG_NS));
	stats = experts_stats(&self->e);
	EXPECT_EQ(2, stats.misses);
	EXPECT_EQ(1, stats.wasted);
	EXPECT_EQ(2, stats.late);
}

TEST_F(cache, what_cannot_be_promised_goes_as_bulk)
{
	uint32_t npu = npu_add_rate(self->p.dev, MIB(1), MIB(1)), ids[] = { 3, 4, 5, 6 };
	uint64_t promised, bulk, touched = 0;
	struct experts e;

	experts_setup(&e, self->p.dev, self->p.npu, 1, EXPERTS, npu, SLOTS);
	/* Some 4 ms for each. */
	ASSERT_EQ(0, experts_expect(&e, 1, ids, 1, now_ns() + 1000));
	EXPECT_EQ(1, experts_stats(&e).refused);
	ASSERT_TRUE(eventually(experts_stats(&e).copies == 1));
	promised = class_stats(self->p.dev, npu, ACCEL_CLASS_DEADLINE).bytes;
	bulk = class_stats(self->p.dev, npu, ACCEL_CLASS_BULK).bytes;
	EXPECT_EQ(0, promised);
	EXPECT_EQ(EXPERT_BYTES, bulk);
	/* No deadline, none refused. */
	ASSERT_EQ(0, experts_expect(&e, 1, ids, 2, 0));
	ASSERT_TRUE(eventually(experts_stats(&e).copies == 2));
	EXPECT_EQ(2 * EXPERT_BYTES, class_stats(self->p.dev, npu, ACCEL_CLASS_BULK).bytes);
	/* One that is far enough is kept, also behind one that was not. */
	ASSERT_EQ(0, experts_expect(&e, 1, ids, 3, now_ns() + 20 * SEC_NS));
	ASSERT_TRUE(eventually(experts_stats(&e).copies == 3));
	EXPECT_EQ(EXPERT_BYTES, class_stats(self->p.dev, npu, ACCEL_CLASS_DEADLINE).bytes);
	EXPECT_EQ(1, experts_stats(&e).refused);
	/* Somebody waits: promised for when it can be, if asked for in time, as some time it is. */
	do {
		for (uint32_t id = 7; id < EXPERTS; id++, touched++)
			EXPECT_EQ(0, experts_touch(&e, id, LONG_NS));
		promised = class_stats(self->p.dev, npu, ACCEL_CLASS_DEADLINE).bytes;
	} while (promised == EXPERT_BYTES && touched < 2000);
	bulk = class_stats(self->p.dev, npu, ACCEL_CLASS_BULK).bytes;
	EXPECT_LT(EXPERT_BYTES, promised);
	EXPECT_EQ((touched + 3) * EXPERT_BYTES, promised + bulk);
	EXPECT_EQ(bulk / EXPERT_BYTES - 1, experts_stats(&e).refused);
	experts_teardown(&e);
	accel_npu_remove(self->p.dev, npu);
}

TEST_F(cache, a_copy_that_failed_is_tried_again)
{
	uint32_t npu = self->p.npu[3], ids[] = { 4, 5 };
	struct accel_experts_stats stats;

	ASSERT_EQ(0, accel_npu_inject(self->p.dev, npu, ACCEL_FAULT_COPY, 2));
	EXPECT_EQ(-EIO, experts_take(&self->e, 1, LONG_NS));
	EXPECT_EQ(-EIO, experts_take(&self->e, 1, LONG_NS));
	EXPECT_EQ(0, experts_touch(&self->e, 1, LONG_NS));
	/* What was copied ahead is gone, and comes when it is needed. */
	ASSERT_EQ(0, accel_npu_inject(self->p.dev, npu, ACCEL_FAULT_COPY, 1));
	ASSERT_EQ(0, experts_expect(&self->e, 1, ids, 1, 0));
	ASSERT_TRUE(eventually(experts_stats(&self->e).failed == 3));
	EXPECT_EQ(0, experts_touch(&self->e, 4, LONG_NS));
	/* Or before, at the next occasion. */
	ASSERT_EQ(0, accel_npu_inject(self->p.dev, npu, ACCEL_FAULT_COPY, 1));
	ASSERT_EQ(0, experts_expect(&self->e, 1, ids + 1, 1, 0));
	ASSERT_TRUE(eventually(experts_stats(&self->e).failed == 4));
	EXPECT_EQ(0, experts_touch(&self->e, 1, 0));
	ASSERT_TRUE(eventually(experts_stats(&self->e).copies == 3));
	EXPECT_EQ(0, experts_touch(&self->e, 5, 0));
	stats = experts_stats(&self->e);
	EXPECT_EQ(2, stats.misses);
	EXPECT_EQ(2, stats.hits);
	EXPECT_EQ(0, stats.late + stats.wasted);
	EXPECT_EQ(3 * EXPERT_BYTES, stats.bytes);
}

TEST_F(cache, poison_hits_one_expert)
{
	uint32_t npu = npu_add(self->p.dev, EXPERTS * KIB(8), 0), bad = EXPERTS;
	struct experts e;

	experts_setup(&e, self->p.dev, &npu, 1, EXPERTS, self->p.npu[3], SLOTS);
	ASSERT_EQ(0, accel_npu_inject(self->p.dev, npu, ACCEL_FAULT_POISON, KIB(16)));
	for (unsigned int round = 0; round < 2; round++)
		for (uint32_t id = 0; id < EXPERTS; id++) {
			int err = experts_touch(&e, id, LONG_NS);

			ASSERT_TRUE(!err || err == -EIO);
			if (err && bad == EXPERTS)
				bad = id;
			/* A page can be of two. */
			EXPECT_EQ(err != 0, id == bad || (err && id == bad + 1));
		}
	/* Which page is which is the allocator's choice; that it was one of these is likely. */
	EXPECT_GT(2 * 2 + 1, experts_stats(&e).failed);
	experts_teardown(&e);
	accel_npu_remove(self->p.dev, npu);
}

struct waiter {
	struct experts *e;
	pthread_t thread;
	uint32_t id;
	int err;
};

static void *wait_for(void *arg)
{
	struct waiter *waiter = arg;
	struct accel_expert expert;

	/* Not read: its memory may be gone at any time. */
	waiter->err = accel_experts_get(waiter->e->cache, waiter->id, LONG_NS, &expert);
	if (!waiter->err)
		must_ok(accel_experts_put(waiter->e->cache, waiter->id));
	return NULL;
}

TEST_F(cache, all_who_wait_learn_that_it_failed)
{
	struct waiter waiters[3];

	move_to_slow(&self->e, self->p.npu, self->slow, 2);
	/* Theirs stands behind one that has begun, or else that one fails. */
	EXPECT_EQ(-ETIME, experts_take(&self->e, 5, 0));
	nap(100);
	ASSERT_EQ(0, accel_npu_inject(self->p.dev, self->slow, ACCEL_FAULT_COPY, 1));
	for (unsigned int i = 0; i < 3; i++) {
		waiters[i] = (struct waiter){ .e = &self->e, .id = 6 };
		must(!pthread_create(&waiters[i].thread, NULL, wait_for, &waiters[i]));
	}
	for (unsigned int i = 0; i < 3; i++)
		must(!pthread_join(waiters[i].thread, NULL));
	/* One who came after it failed had it copied anew. */
	for (unsigned int i = 0; i < 3; i++)
		EXPECT_TRUE(waiters[i].err == -EIO || waiters[i].err == 0);
	EXPECT_EQ(1, experts_stats(&self->e).failed);
	EXPECT_EQ(0, experts_touch(&self->e, 6, LONG_NS));
	EXPECT_EQ(0, experts_touch(&self->e, 7, LONG_NS));
	EXPECT_EQ(0, experts_touch(&self->e, 8, LONG_NS));
}

TEST_F(cache, the_source_dies)
{
	uint32_t ids[] = { 7, 8 };

	ASSERT_EQ(0, experts_take(&self->e, 1, LONG_NS));
	ASSERT_EQ(0, accel_npu_remove(self->p.dev, self->p.npu[1]));
	EXPECT_EQ(-ENODEV, accel_experts_get(self->e.cache, 2, LONG_NS,
					     &(struct accel_expert){ 0 }));
	EXPECT_EQ(0, experts_expect(&self->e, 0, ids, 2, now_ns() + SEC_NS));
	EXPECT_EQ(0, accel_experts_step(self->e.cache, 1));
	/* What is here stays of use. */
	EXPECT_EQ(0, accel_experts_get(self->e.cache, 1, 0, &(struct accel_expert){ 0 }));
	EXPECT_EQ(0, accel_experts_put(self->e.cache, 1));
	EXPECT_EQ(0, accel_experts_put(self->e.cache, 1));
	EXPECT_EQ(-ENODEV, accel_experts_get(self->e.cache, 7, LONG_NS,
					     &(struct accel_expert){ 0 }));
}

TEST_F(cache, the_cache_dies)
{
	struct waiter waiter = { .e = &self->e, .id = 2 };
	uint32_t ids[] = { 7, 8 };

	move_to_slow(&self->e, self->p.npu, self->slow, 2);
	ASSERT_EQ(0, experts_take(&self->e, 1, LONG_NS));
	must(!pthread_create(&waiter.thread, NULL, wait_for, &waiter));
	nap(50);
	ASSERT_EQ(0, accel_npu_remove(self->p.dev, self->slow));
	must(!pthread_join(waiter.thread, NULL));
	/* It came in time only if this place is very slow. */
	EXPECT_TRUE(waiter.err == -ENODEV || waiter.err == 0);
	EXPECT_EQ(-ENODEV, experts_take(&self->e, 1, LONG_NS));
	EXPECT_EQ(-ENODEV, experts_take(&self->e, 2, LONG_NS));
	EXPECT_EQ(0, experts_expect(&self->e, 0, ids, 2, 0));
	EXPECT_EQ(0, accel_experts_step(self->e.cache, 1));
	EXPECT_EQ(0, accel_experts_put(self->e.cache, 1));
}

struct crowd {
	struct experts *e;
	pthread_t thread;
	uint64_t seed;
	unsigned int rounds;
	uint64_t gets;
	bool leads;
};

static void foretell(struct crowd *c, uint64_t step)
{
	uint32_t ids[SLOTS];
	struct accel_experts_step steps[2] = { { ids, 2, 0 }, { ids + 2, 2, 0 } };

	for (unsigned int i = 0; i < SLOTS; i++)
		ids[i] = rnd(&c->seed) % EXPERTS;
	if (rnd(&c->seed) % 2)
		steps[1].needed_ns = now_ns() + rnd(&c->seed) % (SEC_NS / 100);
	must_ok(accel_experts_look_ahead(c->e->cache, step, steps, 2));
	must_ok(accel_experts_step(c->e->cache, step));
}

static void *crowd(void *arg)
{
	struct crowd *c = arg;

	for (unsigned int i = 0; i < c->rounds; i++) {
		uint32_t id = rnd(&c->seed) % EXPERTS;
		struct accel_expert expert;
		int err;

		if (c->leads)
			foretell(c, i);
		err = accel_experts_get(c->e->cache, id, rnd(&c->seed) % 4 ? LONG_NS : 0, &expert);
		must(!err || err == -ETIME);
		if (err)
			continue;
		must(experts_right(c->e, id, &expert));
		sched_yield();
		must(experts_right(c->e, id, &expert));
		must_ok(accel_experts_put(c->e->cache, id));
		c->gets++;
	}
	return NULL;
}

TEST_F(cache, many_threads)
{
	struct crowd crowds[THREADS];
	struct accel_experts_stats stats;
	uint64_t gets = 0;

	for (unsigned int i = 0; i < THREADS; i++) {
		crowds[i] = (struct crowd){ .e = &self->e, .seed = i, .rounds = scaled(2000),
					    .leads = i == 0 };
		must(!pthread_create(&crowds[i].thread, NULL, crowd, &crowds[i]));
	}
	for (unsigned int i = 0; i < THREADS; i++) {
		must(!pthread_join(crowds[i].thread, NULL));
		gets += crowds[i].gets;
	}
	stats = experts_stats(&self->e);
	EXPECT_EQ(gets, stats.hits + stats.late + stats.misses);
	EXPECT_EQ(0, stats.failed);
	EXPECT_LE(stats.misses, stats.copies);
	EXPECT_EQ(stats.copies * EXPERT_BYTES, stats.bytes);
	/* Nobody holds any. */
	for (uint32_t id = 0; id < EXPERTS; id++)
		EXPECT_EQ(-EINVAL, accel_experts_put(self->e.cache, id));
}

TEST_HARNESS_MAIN
