// SPDX-License-Identifier: MIT
/* Conformance: timelines order work of hosts, queues and processes. */
#include "pool.h"

FIXTURE(timeline)
{
	struct pool p;
	struct accel_timeline *t;
	struct accel_buffer *buffer;
	uint8_t *bytes;
	uint32_t slow;
};

FIXTURE_SETUP(timeline)
{
	pool_setup(&self->p);
	self->t = timeline_new(self->p.dev);
	self->buffer = buffer_on(self->p.dev, self->p.npu[0], KIB(64));
	self->bytes = buffer_map(self->buffer);
	self->slow = npu_add(self->p.dev, MIB(1), SLOW_NS);
}

FIXTURE_TEARDOWN(timeline)
{
	accel_timeline_close(self->t);
	accel_buffer_unmap(self->p.dev, self->bytes, KIB(64));
	accel_buffer_close(self->buffer);
	accel_npu_remove(self->p.dev, self->slow);
	EXPECT_TRUE(pool_teardown(&self->p));
}

TEST_F(timeline, host_signals_and_queries)
{
	uint64_t value = 77;

	ASSERT_EQ(0, accel_timeline_query(self->t, &value));
	EXPECT_EQ(0, value);
	EXPECT_EQ(-ETIME, accel_timeline_wait(self->t, 1, 0));
	EXPECT_EQ(-ETIME, accel_timeline_wait(self->t, 1, 1000000));
	EXPECT_EQ(0, accel_timeline_signal(self->t, 5));
	ASSERT_EQ(0, accel_timeline_query(self->t, &value));
	EXPECT_EQ(5, value);
	EXPECT_EQ(0, accel_timeline_wait(self->t, 1, 0));
	EXPECT_EQ(0, accel_timeline_wait(self->t, 5, 0));
	EXPECT_EQ(0, accel_timeline_wait(self->t, 5, ACCEL_WAIT_FOREVER));
	EXPECT_EQ(-ETIME, accel_timeline_wait(self->t, 6, 0));
	EXPECT_EQ(-EINVAL, accel_timeline_signal(self->t, 5));
	EXPECT_EQ(-EINVAL, accel_timeline_signal(self->t, 4));
	EXPECT_EQ(-EINVAL, accel_timeline_signal(self->t, 0));
	EXPECT_EQ(0, accel_timeline_signal(self->t, 6));
	EXPECT_EQ(0, accel_timeline_signal(self->t, 1ull << 40));
	ASSERT_EQ(0, accel_timeline_query(self->t, &value));
	EXPECT_EQ(1ull << 40, value);
}

TEST_F(timeline, a_submit_may_not_wait_for_what_nobody_submitted)
{
	struct accel_queue *queue = queue_on(self->p.dev, self->p.npu[0]);
	struct accel_point point = { self->t, 3 }, zero = { self->t, 0 };
	struct accel_submit wait = { .waits = &point, .wait_count = 1 };
	struct accel_submit signal = { .signals = &point, .signal_count = 1 };
	struct accel_submit wait_zero = { .waits = &zero, .wait_count = 1 };
	struct accel_submit signal_zero = { .signals = &zero, .signal_count = 1 };
	uint64_t seqno = 77, value;

	EXPECT_EQ(-EINVAL, accel_queue_submit(queue, &wait, &seqno));
	EXPECT_EQ(-EINVAL, accel_queue_submit(queue, &wait_zero, &seqno));
	EXPECT_EQ(-EINVAL, accel_queue_submit(queue, &signal_zero, &seqno));
	EXPECT_EQ(77, seqno);
	ASSERT_EQ(0, accel_queue_submit(queue, &signal, &seqno));
	ASSERT_EQ(0, accel_queue_submit(queue, &wait, &seqno));
	EXPECT_EQ(0, accel_queue_wait(queue, seqno, LONG_NS, NULL));
	EXPECT_EQ(0, accel_timeline_wait(self->t, 3, LONG_NS));
	EXPECT_EQ(0, accel_timeline_query(self->t, &value));
	EXPECT_EQ(3, value);
	/* What the host signalled counts as submitted. */
	EXPECT_EQ(0, accel_timeline_signal(self->t, 8));
	point.value = 7;
	EXPECT_EQ(0, accel_queue_submit(queue, &wait, &seqno));
	EXPECT_EQ(0, accel_queue_wait(queue, seqno, LONG_NS, NULL));
	accel_queue_destroy(queue);
}

TEST_F(timeline, chains_over_npus_keep_order)
{
	unsigned int n = scaled(200), i;
	struct accel_queue *queues[3];
	uint64_t seqno = 0;

	for (i = 0; i < 3; i++)
		queues[i] = queue_on(self->p.dev, self->p.npu[i]);
	self->bytes[0] = 1;
	for (i = 1; i <= n; i++) {
		struct accel_seg seg = { i % 60 * 1000 + 1000, (i - 1) % 60 * 1000 + 1000, 999 };
		struct accel_op op = { ACCEL_OP_COPY, 1, self->buffer, self->buffer, 0, &seg };
		struct accel_point wait = { self->t, i - 1 }, signal = { self->t, i };
		struct accel_submit submit = {
			.ops = &op, .op_count = 1, .waits = &wait, .wait_count = i > 1,
			.signals = &signal, .signal_count = 1,
		};
		int err;

		if (i == 1)
			memset(self->bytes + 1000, 0xa5, 999);
		while ((err = accel_queue_submit(queues[i % 3], &submit, &seqno)) == -EBUSY)
			nap(1);
		ASSERT_EQ(0, err);
	}
	EXPECT_EQ(0, accel_timeline_wait(self->t, n, LONG_NS));
	EXPECT_TRUE(all_bytes(self->bytes + n % 60 * 1000 + 1000, 999, 0xa5));
	for (i = 0; i < 3; i++)
		accel_queue_destroy(queues[i]);
}

TEST_F(timeline, a_submit_joins_several)
{
	struct accel_queue *queue = queue_on(self->p.dev, self->p.npu[0]);
	struct accel_queue *slow = queue_on(self->p.dev, self->slow);
	struct accel_timeline *a = timeline_new(self->p.dev), *b = timeline_new(self->p.dev);
	struct accel_point waits[] = { { self->t, 1 }, { a, 4 } };
	struct accel_point signals[] = { { b, 9 }, { a, 5 } };
	struct accel_submit join = { .waits = waits, .wait_count = 2, .signals = signals,
				     .signal_count = 2 };
	uint64_t value, seqno;

	ASSERT_EQ(0, accel_timeline_signal(a, 4));
	ASSERT_EQ(0, submit_slow(slow, self->buffer, waits, NULL));
	ASSERT_EQ(0, accel_queue_submit(queue, &join, &seqno));
	/* Submits do not need the handles any more. */
	accel_timeline_close(a);
	EXPECT_EQ(-ETIME, accel_timeline_wait(b, 9, 10000000));
	ASSERT_EQ(0, accel_timeline_query(b, &value));
	EXPECT_EQ(0, value);
	accel_queue_destroy(slow);
	EXPECT_EQ(0, accel_timeline_wait(b, 9, LONG_NS));
	EXPECT_EQ(0, accel_queue_wait(queue, seqno, LONG_NS, NULL));
	accel_timeline_close(b);
	accel_queue_destroy(queue);
}

struct sleeper {
	struct accel_timeline *timeline;
	uint64_t value;
	int err;
};

static void *sleep_on(void *arg)
{
	struct sleeper *sleeper = arg;

	sleeper->err = accel_timeline_wait(sleeper->timeline, sleeper->value, LONG_NS);
	return NULL;
}

/* Waiters sleep on points that nobody submitted yet, and each wakes for its own. */
TEST_F(timeline, wait_before_submit)
{
	struct accel_queue *queue = queue_on(self->p.dev, self->p.npu[0]);
	struct accel_point point = { self->t, 10 };
	struct accel_submit signal = { .signals = &point, .signal_count = 1 };
	struct sleeper sleepers[16];
	pthread_t threads[16];
	int i;

	for (i = 0; i < 16; i++) {
		sleepers[i] = (struct sleeper){ self->t, i + 1, 1 };
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, sleep_on, &sleepers[i]));
	}
	nap(20);
	EXPECT_EQ(0, accel_timeline_signal(self->t, 4));
	for (i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	ASSERT_EQ(0, accel_queue_submit(queue, &signal, NULL));
	for (; i < 10; i++)
		pthread_join(threads[i], NULL);
	EXPECT_EQ(0, accel_timeline_signal(self->t, 16));
	for (; i < 16; i++)
		pthread_join(threads[i], NULL);
	for (i = 0; i < 16; i++)
		EXPECT_EQ(0, sleepers[i].err);
	accel_queue_destroy(queue);
}

/* Gets a timeline, waits for 1, signals 2, has a queue signal 3 after 2, waits for 4. */
static int play(int sock, const void *npu)
{
	struct accel_dev *dev = dev_open();
	struct accel_queue *queue = queue_on(dev, *(const uint32_t *)npu);
	struct accel_point wait = { NULL, 2 }, signal = { NULL, 3 };
	struct accel_submit submit = { .waits = &wait, .wait_count = 1, .signals = &signal,
				       .signal_count = 1 };
	struct accel_timeline *t;
	int fd = recv_fd(sock);

	must_ok(accel_timeline_import(dev, fd, &t));
	close(fd);
	must_ok(accel_timeline_wait(t, 1, LONG_NS));
	must_ok(accel_timeline_signal(t, 2));
	wait.timeline = signal.timeline = t;
	must_ok(accel_queue_submit(queue, &submit, NULL));
	must_ok(accel_timeline_wait(t, 4, LONG_NS));
	accel_timeline_close(t);
	accel_queue_destroy(queue);
	accel_close(dev);
	return 0;
}

TEST_F(timeline, processes_order_each_other)
{
	unsigned int round;

	for (round = 0; round < scaled(20); round++) {
		struct child child = child_start(play, &self->p.npu[1]);
		struct accel_timeline *t = timeline_new(self->p.dev);
		int fd;

		ASSERT_EQ(0, accel_timeline_export(t, &fd));
		EXPECT_EQ(FD_CLOEXEC, fcntl(fd, F_GETFD) & FD_CLOEXEC);
		send_fd(child.sock, fd);
		close(fd);
		EXPECT_EQ(-ETIME, accel_timeline_wait(t, 2, 1000000));
		EXPECT_EQ(0, accel_timeline_signal(t, 1));
		EXPECT_EQ(0, accel_timeline_wait(t, 2, LONG_NS));
		EXPECT_EQ(0, accel_timeline_wait(t, 3, LONG_NS));
		EXPECT_EQ(0, accel_timeline_signal(t, 4));
		ASSERT_EQ(0, child_end(&child));
		accel_timeline_close(t);
	}
}

static int submit_and_hang(int sock, const void *npu)
{
	struct accel_dev *dev = dev_open();
	struct accel_queue *queue = queue_on(dev, *(const uint32_t *)npu);
	struct accel_buffer *buffer = buffer_on(dev, *(const uint32_t *)npu, KIB(64));
	struct accel_timeline *t;
	int fd = recv_fd(sock);
	struct accel_point point;

	must_ok(accel_timeline_import(dev, fd, &t));
	point = (struct accel_point){ t, 7 };
	must_ok(submit_slow(queue, buffer, &point, NULL));
	say(sock, 1);
	return hear(sock);
}

TEST_F(timeline, a_killed_submitters_point_is_reached)
{
	struct accel_queue *queue = queue_on(self->p.dev, self->p.npu[1]);
	struct accel_point wait = { self->t, 7 };
	struct accel_submit join = { .waits = &wait, .wait_count = 1 };
	struct child child = child_start(submit_and_hang, &self->slow);
	uint64_t seqno, value;
	int fd;

	ASSERT_EQ(0, accel_timeline_export(self->t, &fd));
	send_fd(child.sock, fd);
	close(fd);
	hear(child.sock);
	ASSERT_EQ(0, accel_queue_submit(queue, &join, &seqno));
	EXPECT_EQ(-ETIME, accel_timeline_wait(self->t, 7, 0));
	child_kill(&child);
	EXPECT_EQ(0, accel_timeline_wait(self->t, 7, LONG_NS));
	EXPECT_EQ(0, accel_queue_wait(queue, seqno, LONG_NS, NULL));
	EXPECT_EQ(0, accel_timeline_query(self->t, &value));
	EXPECT_EQ(7, value);
	accel_queue_destroy(queue);
}

TEST_F(timeline, import_twice_and_garbage)
{
	struct accel_timeline *one, *two, *none = (void *)1;
	struct accel_buffer *buffer = buffer_on(self->p.dev, self->p.npu[0], KIB(4));
	int fd, pair[2], buffer_fd, err;
	uint64_t value;

	ASSERT_EQ(0, accel_timeline_export(self->t, &fd));
	ASSERT_EQ(0, accel_timeline_import(self->p.dev, fd, &one));
	ASSERT_EQ(0, accel_timeline_import(self->p.dev, fd, &two));
	close(fd);
	EXPECT_EQ(0, accel_timeline_signal(one, 3));
	accel_timeline_close(one);
	EXPECT_EQ(0, accel_timeline_query(two, &value));
	EXPECT_EQ(3, value);
	EXPECT_EQ(0, accel_timeline_wait(self->t, 3, 0));
	accel_timeline_close(two);
	ASSERT_EQ(0, pipe(pair));
	ASSERT_EQ(0, accel_buffer_export(buffer, &buffer_fd));
	EXPECT_EQ(-EINVAL, accel_timeline_import(self->p.dev, pair[0], &none));
	EXPECT_EQ(-EINVAL, accel_timeline_import(self->p.dev, buffer_fd, &none));
	err = accel_timeline_import(self->p.dev, -1, &none);
	EXPECT_TRUE(err == -EINVAL || err == -EBADF);
	EXPECT_EQ((void *)1, none);
	close(pair[0]);
	close(pair[1]);
	close(buffer_fd);
	accel_buffer_close(buffer);
}

TEST_HARNESS_MAIN
