// SPDX-License-Identifier: MIT
/* Fills a buffer and gathers pieces of it into another: queue [URI] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <accel/queue.h>

#define SIZE (1 << 20)

static void must(int err, const char *what)
{
	if (!err)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(-err));
	exit(1);
}

int main(int argc, char **argv)
{
	struct accel_seg all = { .size = SIZE };
	struct accel_seg pieces[] = {
		{ .dst_offset = 0, .src_offset = 8192, .size = 100 },
		{ .dst_offset = 100, .src_offset = 4096, .size = 100 },
	};
	struct accel_op ops[] = {
		{ .type = ACCEL_OP_FILL, .pattern = 0x6c656363612a2a20, .segs = &all,
		  .seg_count = 1 },
		{ .type = ACCEL_OP_COPY, .segs = pieces, .seg_count = 2 },
	};
	struct accel_submit submit = { .ops = ops, .op_count = 2 };
	struct accel_npu_info npu;
	struct accel_result result;
	struct accel_queue *queue;
	struct accel_dev *dev;
	uint32_t count = 1;
	uint64_t seqno;
	int err;

	must(accel_open(argc > 1 ? argv[1] : "soft:example", &dev), "accel_open");
	must(accel_npus(dev, &npu, &count), "accel_npus");
	must(accel_queue_create(dev, npu.id, &queue), "accel_queue_create");
	must(accel_buffer_create(dev, SIZE, NULL, &ops[0].dst), "accel_buffer_create");
	must(accel_buffer_create(dev, SIZE, NULL, &ops[1].dst), "accel_buffer_create");
	ops[1].src = ops[0].dst;

	must(accel_queue_submit(queue, &submit, &seqno), "accel_queue_submit");
	err = accel_queue_wait(queue, seqno, ACCEL_WAIT_FOREVER, &result);
	if (err)
		fprintf(stderr, "operation %u failed on NPU %u: %s\n", result.op, result.npu,
			strerror(-err));

	accel_buffer_close(ops[1].dst);
	accel_buffer_close(ops[0].dst);
	accel_queue_destroy(queue);
	accel_close(dev);
	return err ? 1 : 0;
}
