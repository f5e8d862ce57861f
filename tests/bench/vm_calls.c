// SPDX-License-Identifier: MIT
/*
 * What a call of the driver costs in a VM, against getppid() there: a submit
 * without operations and its wait, and a completed copy of 4 KiB.
 *
 * Under an emulator only the ratios mean something; they are what a call costs in
 * calls of getppid().
 */
#include <sys/syscall.h>

#include <accel/queue.h>

#include "bench.h"

#define PAGE KIB(4)
#define TURNS 200
#define TURN 20

struct calls {
	struct accel_dev *dev;
	struct accel_buffer *to, *from;
	struct accel_queue *queue;
	uint64_t seqno;
};

static void getppid_call(struct calls *c)
{
	(void)c;
	check(syscall(SYS_getppid) < 0);
}

static void wait_done(struct calls *c)
{
	check(accel_queue_wait(c->queue, c->seqno, ACCEL_WAIT_FOREVER, NULL));
}

static void noop(struct calls *c)
{
	struct accel_submit submit = { 0 };

	check(accel_queue_submit(c->queue, &submit, &c->seqno));
	wait_done(c);
}

static void copy(struct calls *c)
{
	struct accel_seg seg = { 0, 0, PAGE };
	struct accel_op op = { .type = ACCEL_OP_COPY, .seg_count = 1, .dst = c->to,
			       .src = c->from, .segs = &seg };
	struct accel_submit submit = { .ops = &op, .op_count = 1 };

	check(accel_queue_submit(c->queue, &submit, &c->seqno));
	wait_done(c);
}

static void turn(struct calls *c, void (*call)(struct calls *), struct samples *out)
{
	for (int i = 0; i < TURN; i++) {
		uint64_t start = now_ns();

		call(c);
		sample(out, now_ns() - start);
	}
}

int main(int argc, char **argv)
{
	struct samples peer = { 0 }, polls = { 0 }, noops = { 0 }, copies = { 0 };
	const char *uri = getenv("NPOOL_TEST_URI");
	struct accel_npu_info npu;
	uint32_t count = 1;
	struct calls c;

	bench_begin(argc, argv, "Calls of the driver");
	check(accel_open(uri ? uri : "drm:/dev/accel/accel0", &c.dev));
	check(accel_npus(c.dev, &npu, &count));
	check(!count);
	check(accel_buffer_create(c.dev, PAGE, NULL, &c.to));
	check(accel_buffer_create(c.dev, PAGE, NULL, &c.from));
	check(accel_queue_create(c.dev, npu.id, &c.queue));
	noop(&c);
	for (int i = 0; i < TURNS; i++) {
		turn(&c, getppid_call, &peer);
		turn(&c, wait_done, &polls);
		turn(&c, noop, &noops);
		turn(&c, copy, &copies);
	}
	row_print(&(struct row){ .group = "calls", .what = "wait for what is done",
				 .peer_name = "getppid", .ours = &polls, .peer = &peer,
				 .cost = true });
	row_print(&(struct row){ .group = "calls", .what = "no-op submit and wait",
				 .peer_name = "getppid", .ours = &noops, .peer = &peer,
				 .cost = true });
	row_print(&(struct row){ .group = "calls", .what = "copy of 4 KiB, submit and wait",
				 .peer_name = "getppid", .ours = &copies, .peer = &peer,
				 .cost = true });
	accel_queue_destroy(c.queue);
	accel_buffer_close(c.to);
	accel_buffer_close(c.from);
	accel_close(c.dev);
	samples_free(&peer);
	samples_free(&polls);
	samples_free(&noops);
	samples_free(&copies);
	return 0;
}
