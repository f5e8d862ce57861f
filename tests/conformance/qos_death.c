// SPDX-License-Identifier: MIT
/* Conformance: what several processes share, and what is left of one that was killed. */
#include "promises.h"

#define STREAMS 6

struct holder {
	uint32_t slow, fast;
};

/* Reserves and is promised half of a port, then waits to be killed. */
static int hold_promises(int sock, const void *arg)
{
	const struct holder *h = arg;
	struct accel_dev *dev = dev_open();
	struct accel_submit_qos qos = { .deadline_ns = now_ns() + SOON };
	struct accel_buffer *here = buffer_on(dev, h->slow, PIECE);
	struct accel_buffer *there = buffer_on(dev, h->fast, PIECE);
	struct accel_queue *queue;
	struct gate gate;

	gate_shut(&gate, dev);
	must_ok(reserve(dev, h->slow, PERCENT * 50, h->fast, h->slow, &queue));
	queue = queue_of(dev, h->slow, ACCEL_CLASS_DEADLINE);
	must_ok(copy_qos(queue, there, here, PIECE, MANY, &gate, &qos, NULL, NULL));
	say(sock, gate.npu);
	hear(sock);
	return KSFT_FAIL;
}

TEST_F(promise, promises_are_the_pools_and_die_with_their_owner)
{
	struct holder holder = { self->slow, self->fast };
	struct child child = child_start(hold_promises, &holder);
	uint32_t gate_npu = hear(child.sock);
	struct accel_queue *queue;
	struct accel_submit_qos qos = { .deadline_ns = now_ns() + SOON };
	struct accel_admission told;
	struct accel_qos_info info;

	EXPECT_EQ(PERCENT * 50, port_info(self->p.dev, self->slow, 1).reserved);
	ASSERT_EQ(0, accel_qos_info(self->p.dev, &info));
	EXPECT_EQ(0, info.reserved);
	EXPECT_EQ(MANY * PIECE, port_info(self->p.dev, self->slow, 0).promised);
	EXPECT_EQ(-EBUSY, reserve(self->p.dev, self->slow, PERCENT * 50, self->fast,
				  self->slow, &queue));
	queue = queue_of(self->p.dev, self->slow, ACCEL_CLASS_DEADLINE);
	EXPECT_EQ(-EBUSY, copy_qos(queue, self->there, self->here, PIECE, SEGS, &self->gate, &qos,
				   NULL, &told));
	EXPECT_EQ(ACCEL_REASON_SRC, told.reason);
	child_kill(&child);
	EXPECT_TRUE(eventually(!port_info(self->p.dev, self->slow, 1).reserved));
	EXPECT_TRUE(eventually(!port_info(self->p.dev, self->slow, 0).promised));
	qos.deadline_ns = now_ns() + SOON;
	EXPECT_EQ(0, copy_qos(queue, self->there, self->here, PIECE, SEGS, &self->gate, &qos, NULL,
			      NULL));
	accel_queue_destroy(queue);
	EXPECT_EQ(0, accel_npu_remove(self->p.dev, gate_npu));
}

struct stream {
	uint32_t src, dst, class_id;
};

/* Copies and checks what arrived, until it is killed, or told to end and thrice more. */
static int stream(int sock, const void *arg)
{
	const struct stream *st = arg;
	struct accel_dev *dev = dev_open();
	struct accel_buffer *src = buffer_on(dev, st->src, KIB(64));
	struct accel_buffer *dst = buffer_on(dev, st->dst, KIB(64));
	struct accel_queue_qos qos = qos_of(st->class_id, st->dst);
	struct pollfd told = { sock, POLLIN, 0 };
	uint8_t *s = buffer_map(src), *d = buffer_map(dst);
	struct accel_queue *queue;
	uint64_t rounds = 0, more = 3;

	if (qos.budget) {
		qos.budget = KIB(64);
		qos.src = st->src;
	}
	must_ok(accel_queue_create_qos(dev, st->dst, &qos, &queue));
	while (!poll(&told, 1, 0) || more--) {
		struct accel_submit_qos by = { .flags = ACCEL_SUBMIT_ANYWAY,
					       .deadline_ns = now_ns() + SEC_NS };

		scribble(s, KIB(64), rounds + getpid());
		must_ok(run_qos(queue, dst, src, KIB(64), &by));
		must(!memcmp(s, d, KIB(64)));
		if (!rounds++)
			say(sock, 0);
	}
	accel_queue_destroy(queue);
	accel_buffer_close(src);
	accel_buffer_close(dst);
	accel_close(dev);
	return KSFT_PASS;
}

/* Killed in the midst of windows, and waiting for them: the others go on. */
TEST_F(promise, windows_end_with_their_process)
{
	struct child children[STREAMS];
	struct stream streams[STREAMS];
	unsigned int round, i;

	for (round = 0; round < scaled(10); round++) {
		for (i = 0; i < STREAMS; i++) {
			streams[i] = (struct stream){ self->slow, self->fast, i % ACCEL_CLASSES };
			if ((i + round) % 2)
				streams[i] = (struct stream){ self->fast, self->slow, i / 2 };
			children[i] = child_start(stream, &streams[i]);
		}
		for (i = 0; i < STREAMS; i++)
			hear(children[i].sock);
		nap(round % 4);
		for (i = 0; i < STREAMS - 2; i++)
			child_kill(&children[i]);
		for (; i < STREAMS; i++) {
			say(children[i].sock, 0);
			ASSERT_EQ(KSFT_PASS, child_end(&children[i]));
		}
		ASSERT_TRUE(eventually(!port_info(self->p.dev, self->slow, 0).inflight &&
				       !port_info(self->p.dev, self->slow, 1).inflight &&
				       !port_info(self->p.dev, self->fast, 0).inflight &&
				       !port_info(self->p.dev, self->fast, 1).inflight));
	}
	EXPECT_EQ(0, accel_copy(self->here, 0, self->there, 0, PIECE, 0));
}

/* Stops in the midst of a window: those are so long now that it is in no other place. */
static int stop_in_window(int sock, const void *arg)
{
	const struct holder *h = arg;
	struct accel_dev *dev = dev_open();
	struct accel_buffer *here = buffer_on(dev, h->slow, KIB(256));
	struct accel_buffer *there = buffer_on(dev, h->fast, KIB(256));
	struct accel_queue *queue = queue_on(dev, h->slow);

	must_ok(copy_qos(queue, there, here, KIB(256), MANY, NULL, NULL, NULL, NULL));
	nap(150);
	raise(SIGSTOP);
	hear(sock);
	return KSFT_FAIL;
}

/* Others have their room meanwhile. */
TEST_F(promise, the_stopped_keep_no_room)
{
	struct holder holder = { self->slow, self->fast };
	struct accel_queue *queue = queue_on(self->p.dev, self->slow);
	struct child children[STREAMS];
	uint64_t seqno;
	unsigned int i;

	ASSERT_EQ(0, accel_qos_set_slack(self->p.dev, 100000000));
	for (i = 0; i < STREAMS; i++)
		children[i] = child_start(stop_in_window, &holder);
	for (i = 0; i < STREAMS; i++)
		must(waitpid(children[i].pid, NULL, WUNTRACED) == children[i].pid);
	EXPECT_EQ(0, copy_qos(queue, self->there, self->here, PIECE, 1, NULL, NULL, &seqno, NULL));
	EXPECT_EQ(0, accel_queue_wait(queue, seqno, 2 * SOON, NULL));
	for (i = 0; i < STREAMS; i++)
		child_kill(&children[i]);
	accel_queue_destroy(queue);
	EXPECT_EQ(0, accel_qos_set_slack(self->p.dev, 40000));
}

TEST_HARNESS_MAIN
