// SPDX-License-Identifier: MIT
/* A large copy, and beside it a small one that is not to wait, one with a deadline: qos [URI] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <accel/qos.h>

#define SIZE (8 << 20)
#define SMALL 65536

static void must(int err, const char *what)
{
	if (!err)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(-err));
	exit(1);
}

int main(int argc, char **argv)
{
	struct accel_queue_qos latency = {
		.class_id = ACCEL_CLASS_LATENCY,
		.budget = SMALL, .period_ns = 10000000,
		.src = ACCEL_NPU_ANY, .dst = ACCEL_NPU_ANY,
	};
	struct accel_queue_qos deadline = { .class_id = ACCEL_CLASS_DEADLINE };
	struct accel_seg large = { .size = SIZE }, small = { .size = SMALL };
	struct accel_op op = { .type = ACCEL_OP_COPY, .seg_count = 1 };
	struct accel_submit submit = { .ops = &op, .op_count = 1 };
	struct accel_queue *queues[3];
	struct accel_submit_qos by = { 0 };
	struct accel_admission told;
	struct accel_npu_info npu;
	struct accel_dev *dev;
	struct timespec now;
	uint32_t count = 1;
	uint64_t seqno;

	must(accel_open(argc > 1 ? argv[1] : "soft:example", &dev), "accel_open");
	must(accel_npus(dev, &npu, &count), "accel_npus");
	must(accel_buffer_create(dev, SIZE, NULL, &op.src), "accel_buffer_create");
	must(accel_buffer_create(dev, SIZE, NULL, &op.dst), "accel_buffer_create");
	must(accel_queue_create(dev, npu.id, &queues[0]), "accel_queue_create");
	must(accel_queue_create_qos(dev, npu.id, &latency, &queues[1]), "latency");
	must(accel_queue_create_qos(dev, npu.id, &deadline, &queues[2]), "deadline");

	op.segs = &large;
	must(accel_queue_submit(queues[0], &submit, NULL), "large copy");
	op.segs = &small;
	must(accel_queue_submit(queues[1], &submit, &seqno), "small copy");
	must(accel_queue_wait(queues[1], seqno, ACCEL_WAIT_FOREVER, NULL), "small copy");

	clock_gettime(CLOCK_MONOTONIC, &now);
	by.deadline_ns = now.tv_sec * 1000000000ull + now.tv_nsec + 5000000;
	by.flags = ACCEL_SUBMIT_ANYWAY;
	must(accel_queue_submit_qos(queues[2], &submit, &by, &seqno, &told), "copy in time");
	printf("within 5 ms: %s\n", told.reason ? accel_reason_name(told.reason) : "promised");
	must(accel_queue_wait(queues[2], seqno, ACCEL_WAIT_FOREVER, NULL), "copy in time");
	must(accel_queue_wait(queues[0], 1, ACCEL_WAIT_FOREVER, NULL), "large copy");

	for (int i = 0; i < 3; i++)
		accel_queue_destroy(queues[i]);
	accel_buffer_close(op.dst);
	accel_buffer_close(op.src);
	accel_close(dev);
	return 0;
}
