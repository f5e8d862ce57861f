// SPDX-License-Identifier: MIT
/* Orders two queues and the host by one timeline: timeline [URI] */
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
	struct accel_queue *producer, *consumer;
	struct accel_buffer *first, *second;
	struct accel_timeline *timeline;
	struct accel_npu_info npu;
	struct accel_dev *dev;
	uint32_t count = 1;

	must(accel_open(argc > 1 ? argv[1] : "soft:example", &dev), "accel_open");
	must(accel_npus(dev, &npu, &count), "accel_npus");
	must(accel_queue_create(dev, npu.id, &producer), "accel_queue_create");
	must(accel_queue_create(dev, npu.id, &consumer), "accel_queue_create");
	must(accel_buffer_create(dev, SIZE, NULL, &first), "accel_buffer_create");
	must(accel_buffer_create(dev, SIZE, NULL, &second), "accel_buffer_create");
	must(accel_timeline_create(dev, &timeline), "accel_timeline_create");

	struct accel_seg seg = { .size = SIZE };
	struct accel_op fill = { .type = ACCEL_OP_FILL, .seg_count = 1, .dst = first,
				 .pattern = 42, .segs = &seg };
	struct accel_op copy = { .type = ACCEL_OP_COPY, .seg_count = 1, .dst = second,
				 .src = first, .segs = &seg };
	struct accel_point filled = { timeline, 1 }, copied = { timeline, 2 };
	struct accel_submit fill_it = { .ops = &fill, .op_count = 1, .signals = &filled,
					.signal_count = 1 };
	struct accel_submit copy_it = { .ops = &copy, .op_count = 1, .waits = &filled,
					.wait_count = 1, .signals = &copied, .signal_count = 1 };

	/* In this order: a submit may wait only for what was submitted. */
	must(accel_queue_submit(producer, &fill_it, NULL), "accel_queue_submit");
	must(accel_queue_submit(consumer, &copy_it, NULL), "accel_queue_submit");
	must(accel_timeline_wait(timeline, copied.value, ACCEL_WAIT_FOREVER),
	     "accel_timeline_wait");
	printf("the copy has ended\n");

	accel_timeline_close(timeline);
	accel_buffer_close(second);
	accel_buffer_close(first);
	accel_queue_destroy(consumer);
	accel_queue_destroy(producer);
	accel_close(dev);
	return 0;
}
