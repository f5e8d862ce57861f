// SPDX-License-Identifier: MIT
/*
 * Conformance: an NPU is pulled or dies while it is used in every way. What lay on
 * it is lost, and told so; everything else goes on; nothing leaks.
 */
#include "pool.h"

#define BYTES KIB(256)

FIXTURE(removal)
{
	struct pool p;
	uint32_t victim, slow;
	struct accel_buffer *on, *across, *off;	/* on the victim, partly, not */
	uint8_t *on_p, *across_p, *off_p;
};

FIXTURE_VARIANT(removal)
{
	bool dies;
};

FIXTURE_VARIANT_ADD(removal, pulled)
{
	.dies = false,
};

FIXTURE_VARIANT_ADD(removal, dies)
{
	.dies = true,
};

FIXTURE_SETUP(removal)
{
	uint32_t npus[3];
	struct accel_where where = { ACCEL_PLACE_INTERLEAVE, 3, npus, KIB(4) };

	pool_setup(&self->p);
	self->victim = npus[1] = npu_add(self->p.dev, OWN_BYTES, 0);
	self->slow = npu_add(self->p.dev, OWN_BYTES, SLOW_NS);
	npus[0] = self->p.npu[0];
	npus[2] = self->p.npu[1];
	self->on = buffer_on(self->p.dev, self->victim, BYTES);
	self->off = buffer_on(self->p.dev, self->p.npu[2], BYTES);
	must_ok(accel_buffer_create(self->p.dev, BYTES, &where, &self->across));
	self->on_p = buffer_map(self->on);
	self->across_p = buffer_map(self->across);
	self->off_p = buffer_map(self->off);
	scribble(self->off_p, BYTES, 1);
}

FIXTURE_TEARDOWN(removal)
{
	struct accel_npu_info info;

	accel_buffer_unmap(self->p.dev, self->on_p, BYTES);
	accel_buffer_unmap(self->p.dev, self->across_p, BYTES);
	accel_buffer_unmap(self->p.dev, self->off_p, BYTES);
	accel_buffer_close(self->on);
	accel_buffer_close(self->across);
	accel_buffer_close(self->off);
	accel_npu_remove(self->p.dev, self->victim);
	accel_npu_remove(self->p.dev, self->slow);
	/* Nothing refers to them any more, so that they are not listed either. */
	EXPECT_TRUE(eventually(!npu_find(self->p.dev, self->victim, &info)));
	EXPECT_TRUE(eventually(!npu_find(self->p.dev, self->slow, &info)));
	EXPECT_TRUE(pool_teardown(&self->p));
}

static void take_out(struct accel_dev *dev, uint32_t npu, bool dies)
{
	if (dies)
		must_ok(accel_npu_inject(dev, npu, ACCEL_FAULT_DIE, 0));
	else
		must_ok(accel_npu_remove(dev, npu));
}

TEST_F(removal, is_told)
{
	struct accel_where where = { ACCEL_PLACE_NPU, 1, &self->victim, 0 };
	struct accel_pool_info before, after;
	struct accel_buffer_info binfo;
	struct accel_npu_info info;
	struct accel_buffer *none;

	ASSERT_EQ(0, accel_pool_info(self->p.dev, &before));
	take_out(self->p.dev, self->victim, variant->dies);
	ASSERT_EQ(0, accel_pool_info(self->p.dev, &after));
	EXPECT_EQ(before.bytes_total - OWN_BYTES, after.bytes_total);
	EXPECT_LT(before.generation, after.generation);
	ASSERT_TRUE(npu_find(self->p.dev, self->victim, &info));
	EXPECT_EQ(ACCEL_NPU_DEAD, info.state);
	EXPECT_EQ(-ENODEV, accel_npu_remove(self->p.dev, self->victim));
	EXPECT_EQ(-ENODEV, accel_npu_inject(self->p.dev, self->victim, ACCEL_FAULT_DIE, 0));
	EXPECT_EQ(-ENODEV, accel_buffer_create(self->p.dev, KIB(4), &where, &none));
	ASSERT_EQ(0, accel_buffer_info(self->on, &binfo, NULL, 0));
	EXPECT_EQ(ACCEL_BUFFER_LOST, binfo.flags);
	EXPECT_EQ(BYTES, binfo.size);
	ASSERT_EQ(0, accel_buffer_info(self->across, &binfo, NULL, 0));
	EXPECT_EQ(ACCEL_BUFFER_LOST, binfo.flags);
	ASSERT_EQ(0, accel_buffer_info(self->off, &binfo, NULL, 0));
	EXPECT_EQ(0, binfo.flags);
}

TEST_F(removal, mappings_raise_sigbus)
{
	uint64_t at;

	/* Some pages were touched before, some never: all are gone. */
	self->on_p[0] = 1;
	memset(self->across_p, 1, BYTES / 2);
	take_out(self->p.dev, self->victim, variant->dies);
	for (at = 0; at < BYTES; at += KIB(4)) {
		EXPECT_EQ(SIGBUS, touch(self->on_p + at, at & KIB(4)));
		EXPECT_EQ(SIGBUS, touch(self->across_p + at, at & KIB(4)));
	}
	scribble(self->off_p, BYTES, 2);
	EXPECT_EQ(0, touch(self->off_p, true));
}

static int touch_until_gone(int sock, const void *arg)
{
	struct accel_dev *dev = dev_open();
	int fd = recv_fd(sock);
	struct accel_buffer *buffer;
	struct accel_buffer_info info;
	volatile uint8_t *p;

	(void)arg;
	must_ok(accel_buffer_import(dev, fd, &buffer));
	close(fd);
	p = buffer_map(buffer);
	must(!touch(p, true));
	say(sock, 1);
	while (!touch(p + KIB(4) * (rand() % (BYTES / KIB(4))), rand() & 1))
		;
	/* All of it is gone when removal has returned, a page more or less before. */
	must(eventually(touch(p, true) == SIGBUS));
	must_ok(accel_buffer_info(buffer, &info, NULL, 0));
	must(info.flags & ACCEL_BUFFER_LOST);
	return 0;
}

TEST_F(removal, another_process_is_told_by_sigbus)
{
	struct child a = child_start(touch_until_gone, NULL),
		b = child_start(touch_until_gone, NULL);
	int fd;

	ASSERT_EQ(0, accel_buffer_export(self->on, &fd));
	send_fd(a.sock, fd);
	close(fd);
	ASSERT_EQ(0, accel_buffer_export(self->across, &fd));
	send_fd(b.sock, fd);
	close(fd);
	hear(a.sock);
	hear(b.sock);
	take_out(self->p.dev, self->victim, variant->dies);
	EXPECT_EQ(0, child_end(&a));
	EXPECT_EQ(0, child_end(&b));
}

TEST_F(removal, calls_with_what_is_lost_fail)
{
	struct accel_queue *dead = queue_on(self->p.dev, self->victim);
	struct accel_queue *queue = queue_on(self->p.dev, self->p.npu[0]);
	struct accel_dev *other = dev_open();
	struct accel_buffer *import;
	void *ptr;
	int fd, err;

	ASSERT_EQ(0, accel_buffer_export(self->on, &fd));
	take_out(self->p.dev, self->victim, variant->dies);
	EXPECT_EQ(-ENODEV, run_copy(queue, self->off, 0, self->on, 0, 8));
	EXPECT_EQ(-ENODEV, run_copy(queue, self->on, 0, self->off, 0, 8));
	EXPECT_EQ(-ENODEV, run_copy(queue, self->off, 0, self->across, 0, 8));
	EXPECT_EQ(-ENODEV, run_fill(queue, self->across, 0, 8, 1));
	EXPECT_EQ(-ENODEV, accel_copy(self->off, 0, self->on, 0, 8, 0));
	EXPECT_EQ(-ENODEV, accel_copy(self->on, 0, self->off, 0, 8, 0));
	EXPECT_EQ(-ENODEV, run_fill(dead, self->off, 0, 8, 1));
	EXPECT_EQ(-ENODEV, submit_ops(dead, NULL, 0, NULL));
	EXPECT_EQ(-ENODEV, accel_buffer_map(self->on, 0, &ptr));
	EXPECT_EQ(-ENODEV, accel_buffer_map(self->across, ACCEL_MAP_POPULATE, &ptr));
	err = accel_buffer_import(other, fd, &import);
	EXPECT_TRUE(err == 0 || err == -ENODEV);
	if (!err) {
		EXPECT_EQ(-ENODEV, accel_buffer_map(import, 0, &ptr));
		accel_buffer_close(import);
	}
	close(fd);
	accel_close(other);
	/* Everybody else goes on. */
	EXPECT_EQ(0, run_fill(queue, self->off, 0, 8, 0x0707070707070707ull));
	EXPECT_EQ(7, self->off_p[7]);
	EXPECT_EQ(0, accel_copy(self->off, 100, self->off, 0, 8, 0));
	accel_queue_destroy(dead);
	accel_queue_destroy(queue);
}

/* Jobs of the dead NPU's engine: running, queued, and waiting for a point. */
TEST_F(removal, jobs_of_its_engine_end)
{
	struct accel_queue *queue = queue_on(self->p.dev, self->slow),
		*other = queue_on(self->p.dev, self->slow);
	struct accel_timeline *t = timeline_new(self->p.dev);
	struct accel_point first = { t, 1 }, second = { t, 2 };
	struct accel_submit wait = { .waits = &first, .wait_count = 1, .signals = &second,
				     .signal_count = 1 };
	uint64_t running, queued, waiting;
	struct accel_result result;

	ASSERT_EQ(0, submit_slow(queue, self->off, &first, &running));
	ASSERT_EQ(0, submit_slow(queue, self->off, NULL, &queued));
	ASSERT_EQ(0, accel_queue_submit(other, &wait, &waiting));
	nap(20);
	take_out(self->p.dev, self->slow, variant->dies);
	EXPECT_EQ(-ENODEV, accel_queue_wait(queue, running, LONG_NS, &result));
	EXPECT_EQ(-ENODEV, result.error);
	EXPECT_EQ(self->slow, result.npu);
	EXPECT_GT(SLOW_OPS, result.op);
	EXPECT_EQ(-ENODEV, accel_queue_wait(queue, queued, LONG_NS, &result));
	EXPECT_EQ(self->slow, result.npu);
	EXPECT_EQ(-ENODEV, accel_queue_wait(other, waiting, LONG_NS, NULL));
	EXPECT_EQ(0, accel_timeline_wait(t, 2, LONG_NS));
	accel_timeline_close(t);
	accel_queue_destroy(queue);
	accel_queue_destroy(other);
}

/* A job of a living engine that reads from or writes to the dead NPU. */
TEST_F(removal, jobs_with_its_memory_end)
{
	struct accel_queue *queue = queue_on(self->p.dev, self->slow);
	struct accel_queue *mate = queue_on(self->p.dev, self->slow);
	struct accel_result result = { 0 };
	uint64_t lost, fine;

	ASSERT_EQ(0, submit_slow(queue, self->across, NULL, &lost));
	ASSERT_EQ(0, submit_ops(queue, NULL, 0, &fine));
	nap(20);
	take_out(self->p.dev, self->victim, variant->dies);
	EXPECT_EQ(-ENODEV, accel_queue_wait(queue, lost, LONG_NS, &result));
	EXPECT_EQ(self->victim, result.npu);
	/* The engine lives, and its queue too. */
	EXPECT_EQ(0, accel_queue_wait(queue, fine, LONG_NS, NULL));
	EXPECT_EQ(0, run_fill(mate, self->off, 0, 8, 3));
	accel_queue_destroy(queue);
	accel_queue_destroy(mate);
}

TEST_F(removal, memory_is_accounted)
{
	uint64_t before = npu_free(self->p.dev, self->p.npu[0]);

	EXPECT_GT(OWN_BYTES, before);
	take_out(self->p.dev, self->victim, variant->dies);
	accel_buffer_close(self->across);
	accel_buffer_unmap(self->p.dev, self->across_p, BYTES);
	/* What a lost buffer had on the living returns to them. */
	EXPECT_TRUE(eventually(npu_free(self->p.dev, self->p.npu[0]) == OWN_BYTES));
	EXPECT_TRUE(eventually(npu_free(self->p.dev, self->p.npu[1]) == OWN_BYTES));
	self->across = buffer_on(self->p.dev, self->p.npu[0], BYTES);
	self->across_p = buffer_map(self->across);
	EXPECT_TRUE(all_bytes(self->across_p, BYTES, 0));
}

struct worker {
	struct accel_dev *dev;
	uint32_t npu, victim;
	struct accel_buffer *shared;
	bool stop;
	int ok, gone, bad;
};

static void *work(void *arg)
{
	struct worker *w = arg;
	struct accel_queue *queue;
	struct accel_buffer *own = buffer_on(w->dev, w->npu, KIB(64));
	uint32_t npus[] = { w->npu, w->victim };
	struct accel_where where = { ACCEL_PLACE_INTERLEAVE, 2, npus, KIB(4) };
	struct accel_buffer *fresh;
	int err;

	queue = queue_on(w->dev, w->npu);
	while (!__atomic_load_n(&w->stop, __ATOMIC_RELAXED)) {
		err = run_copy(queue, own, 0, w->shared, 0, KIB(64));
		w->ok += !err;
		w->gone += err == -ENODEV;
		w->bad += err && err != -ENODEV;
		err = accel_buffer_create(w->dev, KIB(16), &where, &fresh);
		if (!err)
			accel_buffer_close(fresh);
		/* Dead is ENODEV, and once nobody refers to it there is no such NPU. */
		w->bad += err && err != -ENODEV && err != -ENOENT;
		w->bad += !!run_fill(queue, own, 0, KIB(64), 1);
	}
	accel_queue_destroy(queue);
	accel_buffer_close(own);
	return NULL;
}

TEST_F(removal, under_load_from_many_threads)
{
	struct worker workers[4];
	pthread_t threads[4];
	int i;

	for (i = 0; i < 4; i++) {
		workers[i] = (struct worker){ .dev = self->p.dev, .npu = self->p.npu[i],
					      .victim = self->victim, .shared = self->on };
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, work, &workers[i]));
	}
	nap(50);
	take_out(self->p.dev, self->victim, variant->dies);
	nap(50);
	for (i = 0; i < 4; i++)
		__atomic_store_n(&workers[i].stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		EXPECT_EQ(0, workers[i].bad);
	}
}

/* The NPU goes while other processes map, copy and allocate; then it comes back. */
TEST_F(removal, again_and_again)
{
	struct accel_npu_config config;
	struct accel_npu_info info;
	unsigned int i;
	uint32_t id, last = self->slow;

	npu_config(&config, MIB(1), 0);
	for (i = 0; i < scaled(30); i++) {
		struct accel_buffer *buffer;
		struct accel_queue *queue;
		uint64_t seqno = 0;
		uint8_t *p;
		int err;

		ASSERT_TRUE(eventually(!accel_npu_add(self->p.dev, &config, &id)));
		ASSERT_LT(last, id);
		last = id;
		buffer = buffer_on(self->p.dev, id, MIB(1));
		p = buffer_map(buffer);
		ASSERT_TRUE(all_bytes(p, KIB(64), 0));
		queue = queue_on(self->p.dev, id);
		ASSERT_EQ(0,
			  submit_ops(queue,
				     &(struct accel_op){ ACCEL_OP_FILL, 1, buffer, NULL, ~0ull,
				 &(struct accel_seg){ 0, 0, MIB(1) } }, 1, &seqno));
		take_out(self->p.dev, id, variant->dies);
		err = accel_queue_wait(queue, seqno, LONG_NS, NULL);
		ASSERT_TRUE(!err || err == -ENODEV);
		ASSERT_EQ(SIGBUS, touch(p, i & 1));
		accel_queue_destroy(queue);
		accel_buffer_close(buffer);
		ASSERT_EQ(0, accel_buffer_unmap(self->p.dev, p, MIB(1)));
		ASSERT_TRUE(eventually(!npu_find(self->p.dev, id, &info)));
	}
}

TEST_HARNESS_MAIN
