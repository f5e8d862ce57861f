/* SPDX-License-Identifier: MIT */
/*
 * Queues, timelines and copies.
 *
 * A queue belongs to one NPU's copy engine, which moves bytes between any two
 * buffers of the pool. Submits of a queue run in order, queues run beside each
 * other. A timeline is a counter that submits and hosts advance and wait for,
 * in any process that has its descriptor.
 */
#ifndef ACCEL_QUEUE_H
#define ACCEL_QUEUE_H

#include <accel/buffer.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

struct accel_queue;
struct accel_timeline;

/** ACCEL_WAIT_FOREVER - a timeout that does not run out */
#define ACCEL_WAIT_FOREVER INT64_MAX

/**
 * accel_queue_create() - make a queue on an NPU's engine
 *
 * -ENOENT no such NPU, -ENODEV it is dead, -EMFILE too many queues.
 */
int accel_queue_create(struct accel_dev *dev, uint32_t npu, struct accel_queue **queue);

/** accel_queue_destroy() - end a queue; unfinished submits end with -ECANCELED */
void accel_queue_destroy(struct accel_queue *queue);

enum accel_op_type {
	ACCEL_OP_COPY = 0,
	ACCEL_OP_FILL = 1,
};

/** struct accel_seg - one contiguous piece of an operation, in bytes of any alignment */
struct accel_seg {
	uint64_t dst_offset;
	uint64_t src_offset;	/* 0 for a fill */
	uint64_t size;		/* not 0 */
};

/**
 * struct accel_op - one operation over a list of segments
 *
 * A copy's segment must not overlap itself. A fill writes byte i modulo 8 of
 * @pattern, in little-endian order, to byte i of each segment.
 */
struct accel_op {
	enum accel_op_type type;
	uint32_t seg_count;	/* at least 1 */
	struct accel_buffer *dst;
	struct accel_buffer *src;	/* NULL for a fill */
	uint64_t pattern;	/* 0 for a copy */
	const struct accel_seg *segs;
};

/** struct accel_point - a value of a timeline */
struct accel_point {
	struct accel_timeline *timeline;
	uint64_t value;		/* not 0 */
};

/** struct accel_submit - operations with what they wait for and what they signal */
struct accel_submit {
	const struct accel_op *ops;
	const struct accel_point *waits;
	const struct accel_point *signals;
	uint32_t op_count;	/* 0 is a way to join timelines */
	uint32_t wait_count;
	uint32_t signal_count;
};

/**
 * accel_queue_submit() - queue operations
 * @seqno: out, number of this submit in its queue, from 1; may be NULL
 *
 * Everything is checked before anything is queued, and nothing of @submit is
 * read after the call. Signal points are reached even if an operation failed:
 * points order, accel_queue_wait() tells. The first operation that fails ends
 * its submit; later submits run. -EBUSY the queue is full, -EINVAL a range, or
 * a wait for a point that nobody has submitted, -ENODEV a buffer is lost or the
 * queue's NPU dead.
 */
int accel_queue_submit(struct accel_queue *queue, const struct accel_submit *submit,
		       uint64_t *seqno);

/** struct accel_result - what became of a submit */
struct accel_result {
	int error;		/* 0; -EIO copy failed, -ENODEV NPU died, -ECANCELED queue closed */
	uint32_t op;		/* with an error, index of the operation that failed */
	uint32_t npu;		/* with an error, id of the NPU at fault */
};

/**
 * accel_queue_wait() - wait for a submit to end
 * @timeout_ns: from now; 0 polls
 * @result: out, may be NULL
 *
 * Returns the submit's error, with @result filled, or -ETIME if it did not end in
 * time, -EINVAL for a number never given, -ENODATA if it failed so many
 * failures ago that the reason is forgotten. With these three @result is untouched.
 */
int accel_queue_wait(struct accel_queue *queue, uint64_t seqno, int64_t timeout_ns,
		     struct accel_result *result);

/** ACCEL_COPY_WILL_READ - the bytes are about to be read: leave them in the cache */
#define ACCEL_COPY_WILL_READ (1u << 0)

/**
 * accel_copy() - copy between buffers and wait until it is done
 * @flags: ACCEL_COPY_*, a hint
 *
 * Runs on the engine of the destination's first NPU. The error is the copy's own.
 */
int accel_copy(struct accel_buffer *dst, uint64_t dst_offset, struct accel_buffer *src,
	       uint64_t src_offset, uint64_t size, uint32_t flags);

/**
 * accel_memcpy() - copy between mapped or private memory with this CPU
 * @flags: ACCEL_COPY_*
 *
 * As memcpy(), but large copies bypass the cache unless the destination is
 * about to be read. Globally visible in order with later stores on return.
 */
void accel_memcpy(void *dst, const void *src, size_t size, uint32_t flags);

/** accel_timeline_create() - a timeline at 0 */
int accel_timeline_create(struct accel_dev *dev, struct accel_timeline **timeline);

/** accel_timeline_close() - give up a handle; submits that use it are not disturbed */
void accel_timeline_close(struct accel_timeline *timeline);

/** accel_timeline_export() - a descriptor (close-on-exec) to hand to others, theirs to close */
int accel_timeline_export(struct accel_timeline *timeline, int *fd);

/** accel_timeline_import() - a timeline from a descriptor, which stays the caller's */
int accel_timeline_import(struct accel_dev *dev, int fd, struct accel_timeline **timeline);

/** accel_timeline_signal() - have the host advance a timeline to @value, which must grow */
int accel_timeline_signal(struct accel_timeline *timeline, uint64_t value);

/**
 * accel_timeline_wait() - wait until a timeline has reached @value
 * @timeout_ns: from now; 0 polls
 *
 * Waits also for points that nobody has submitted yet. A point whose submitter
 * died counts as reached. -ETIME when time ran out.
 */
int accel_timeline_wait(struct accel_timeline *timeline, uint64_t value, int64_t timeout_ns);

/** accel_timeline_query() - the value that a timeline has reached */
int accel_timeline_query(struct accel_timeline *timeline, uint64_t *value);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif
#endif
