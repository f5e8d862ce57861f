/* SPDX-License-Identifier: (GPL-2.0-only WITH Linux-syscall-note) OR MIT */
/*
 * The contract between npool.ko and user space: one accel device is one pool of
 * memory whose members are NPUs.
 *
 * Rules that hold for every ioctl here:
 *  - A struct may grow at its end. A caller built against a longer one than the
 *    kernel knows gets %E2BIG unless the unknown tail is zero; one shorter than
 *    the first published version gets %EINVAL. A zero in a new field means what
 *    the kernel did before the field existed. Arrays carry their stride and
 *    follow the same rule, item by item.
 *  - Unknown flags, topics, placements and operations are %EOPNOTSUPP, a value
 *    out of range or a pad that is not zero is %EINVAL, an unknown handle, queue
 *    or NPU is %ENOENT, a call that needs CAP_SYS_ADMIN is %EPERM.
 *  - Outputs are written only on success.
 *  - Sizes and offsets are bytes. Times are nanoseconds of CLOCK_MONOTONIC.
 */
#ifndef NPOOL_ACCEL_H
#define NPOOL_ACCEL_H

#include "drm.h"

#if defined(__cplusplus)
extern "C" {
#endif

#define DRM_NPOOL_QUERY		0x00
#define DRM_NPOOL_BO_CREATE	0x01
#define DRM_NPOOL_BO_INFO	0x02
#define DRM_NPOOL_QUEUE_CREATE	0x03
#define DRM_NPOOL_QUEUE_DESTROY	0x04
#define DRM_NPOOL_SUBMIT	0x05
#define DRM_NPOOL_WAIT		0x06
#define DRM_NPOOL_SET_QUOTA	0x07
#define DRM_NPOOL_NPU_CTL	0x08
#define DRM_NPOOL_QOS_CTL	0x09

/** define DRM_NPOOL_NAME_LEN - Bytes of a name, the terminating zero included */
#define DRM_NPOOL_NAME_LEN	32

/** enum drm_npool_topic - What DRM_IOCTL_NPOOL_QUERY can be asked */
enum drm_npool_topic {
	/** @DRM_NPOOL_TOPIC_POOL: one &struct drm_npool_pool_info */
	DRM_NPOOL_TOPIC_POOL = 0,
	/** @DRM_NPOOL_TOPIC_NPUS: a &struct drm_npool_npu_info per member, by id */
	DRM_NPOOL_TOPIC_NPUS = 1,
	/** @DRM_NPOOL_TOPIC_STATS: a &struct drm_npool_npu_stats per member, by id */
	DRM_NPOOL_TOPIC_STATS = 2,
	/**
	 * @DRM_NPOOL_TOPIC_CLIENT: one &struct drm_npool_client_info about the
	 * open file whose number is in &drm_npool_query.id, 0 for the caller's
	 */
	DRM_NPOOL_TOPIC_CLIENT = 3,
	/** @DRM_NPOOL_TOPIC_QOS: one &struct drm_npool_qos_info */
	DRM_NPOOL_TOPIC_QOS = 4,
	/** @DRM_NPOOL_TOPIC_PORTS: two &struct drm_npool_port_info per member, by id and side */
	DRM_NPOOL_TOPIC_PORTS = 5,
	/**
	 * @DRM_NPOOL_TOPIC_CLASSES: %DRM_NPOOL_CLASSES &struct
	 * drm_npool_class_stats per member, by id and class
	 */
	DRM_NPOOL_TOPIC_CLASSES = 6,
};

/** struct drm_npool_query - Reads an array of items of one topic */
struct drm_npool_query {
	/** @topic: in, an &enum drm_npool_topic */
	__u32 topic;
	/** @flags: in, must be zero */
	__u32 flags;
	/** @id: in, which object, where the topic says so, else must be zero */
	__u64 id;
	/** @data: in, user pointer to @count items of @stride bytes, or 0 to learn @count */
	__u64 data;
	/** @count: in, items that fit at @data; out, items there are */
	__u32 count;
	/**
	 * @stride: in, bytes from item to item, at least the first version's size;
	 * what lies past the kernel's item is zeroed. With @data 0 it may be 0.
	 * out, the kernel's size of an item
	 */
	__u32 stride;
};

/** struct drm_npool_pool_info - The pool and its limits */
struct drm_npool_pool_info {
	/** @generation: grows by one whenever a member joins or leaves */
	__u64 generation;
	/** @bytes_total: memory of all members that are online */
	__u64 bytes_total;
	/** @bytes_free: of @bytes_total, what can be allocated now */
	__u64 bytes_free;
	/** @npu_count: members listed by %DRM_NPOOL_TOPIC_NPUS */
	__u32 npu_count;
	/** @max_npus: members a pool can have at once */
	__u32 max_npus;
	/** @min_alloc: granularity of sizes and stripes, a power of two */
	__u32 min_alloc;
	/** @max_ops: operations in one submit */
	__u32 max_ops;
	/** @max_segs: segments in one submit, over all its operations */
	__u32 max_segs;
	/** @max_syncs: waits, and likewise signals, in one submit */
	__u32 max_syncs;
	/** @max_queues: queues of one open file */
	__u32 max_queues;
	/** @queue_depth: unfinished submits of one queue */
	__u32 queue_depth;
};

/** enum drm_npool_npu_state - Life of a member */
enum drm_npool_npu_state {
	/** @DRM_NPOOL_NPU_ONLINE: serves */
	DRM_NPOOL_NPU_ONLINE = 0,
	/** @DRM_NPOOL_NPU_DEAD: removed or failed; listed until nothing refers to it */
	DRM_NPOOL_NPU_DEAD = 1,
};

/** struct drm_npool_npu_info - One member */
struct drm_npool_npu_info {
	/** @id: never reused while the pool lives, starts at 0 */
	__u32 id;
	/** @state: an &enum drm_npool_npu_state */
	__u32 state;
	/** @bytes_total: size of its memory */
	__u64 bytes_total;
	/**
	 * @bytes_free: memory that can be allocated. Freed memory that somebody
	 * still has pinned is in neither @bytes_free nor a buffer
	 */
	__u64 bytes_free;
	/** @bandwidth: bytes a second the backend claims for its copy engine, 0 if unknown */
	__u64 bandwidth;
	/** @latency_ns: start-up of one copy that the backend claims, 0 if unknown */
	__u64 latency_ns;
	/** @backend: name of the backend's driver, zero-terminated */
	char backend[DRM_NPOOL_NAME_LEN];
	/** @name: name that the backend gave the NPU, zero-terminated */
	char name[DRM_NPOOL_NAME_LEN];
};

/** struct drm_npool_npu_stats - What a member's copy engine has done since it joined */
struct drm_npool_npu_stats {
	/** @id: as in &struct drm_npool_npu_info */
	__u32 id;
	/** @pad: zero */
	__u32 pad;
	/** @jobs_submitted: submits accepted on its queues */
	__u64 jobs_submitted;
	/** @jobs_done: submits that ended well */
	__u64 jobs_done;
	/** @jobs_failed: submits that ended with an error */
	__u64 jobs_failed;
	/** @bytes_copied: bytes its engine wrote by copies */
	__u64 bytes_copied;
	/** @bytes_filled: bytes its engine wrote by fills */
	__u64 bytes_filled;
	/** @bytes_cleared: bytes zeroed before they were handed out */
	__u64 bytes_cleared;
	/** @busy_ns: time its engine spent moving data */
	__u64 busy_ns;
	/** @queue_ns: sum over finished submits, from ready to started */
	__u64 queue_ns;
};

/** struct drm_npool_client_info - An open file, seen by anybody who has the device open */
struct drm_npool_client_info {
	/** @id: number of the open file, never zero, never reused while the device lives */
	__u64 id;
	/** @alive: 1 while it is open, 0 once its last user is gone or it never was */
	__u32 alive;
	/** @pad: zero */
	__u32 pad;
	/**
	 * @quota_bytes: most it may have in buffers it created, 0 for no limit;
	 * zero unless its own
	 */
	__u64 quota_bytes;
	/** @used_bytes: what it has in buffers it created; zero unless its own */
	__u64 used_bytes;
};

/** enum drm_npool_placement - Where a buffer's memory comes from */
enum drm_npool_placement {
	/**
	 * @DRM_NPOOL_PLACE_ANY: one NPU, the one with most memory free, of the
	 * given set or, if the set is empty, of all
	 */
	DRM_NPOOL_PLACE_ANY = 0,
	/** @DRM_NPOOL_PLACE_NPU: the one NPU given */
	DRM_NPOOL_PLACE_NPU = 1,
	/**
	 * @DRM_NPOOL_PLACE_INTERLEAVE: stripe i on NPU i modulo the number of
	 * NPUs given, in the order given
	 */
	DRM_NPOOL_PLACE_INTERLEAVE = 2,
};

/**
 * struct drm_npool_bo_create - Allocates a buffer, zeroed
 *
 * A handle is closed by DRM_IOCTL_GEM_CLOSE, shared by DRM_IOCTL_PRIME_*.
 * Errors beside the general ones: %ENOSPC the chosen NPUs are full, %EDQUOT the
 * open file's quota is, %ENODEV a chosen NPU is dead or the pool has none.
 */
struct drm_npool_bo_create {
	/** @size: in, a multiple of &drm_npool_pool_info.min_alloc, not zero */
	__u64 size;
	/** @stripe: in, for %DRM_NPOOL_PLACE_INTERLEAVE a multiple of min_alloc, else zero */
	__u64 stripe;
	/** @npus: in, user pointer to @npu_count ids, each a __u32, no id twice */
	__u64 npus;
	/** @npu_count: in, 1 for %DRM_NPOOL_PLACE_NPU, 2 or more to interleave */
	__u32 npu_count;
	/** @placement: in, an &enum drm_npool_placement */
	__u32 placement;
	/** @flags: in, must be zero */
	__u32 flags;
	/** @handle: out, a GEM handle */
	__u32 handle;
	/** @mmap_offset: out, offset for mmap() on the device's file */
	__u64 mmap_offset;
};

/** define DRM_NPOOL_BO_LOST - The buffer had memory on an NPU that is dead */
#define DRM_NPOOL_BO_LOST	0x1
/** define DRM_NPOOL_BO_FOREIGN - The buffer's memory is another driver's dma-buf */
#define DRM_NPOOL_BO_FOREIGN	0x2

/** struct drm_npool_bo_info - Tells about a buffer, however the caller came by its handle */
struct drm_npool_bo_info {
	/** @handle: in */
	__u32 handle;
	/** @flags: out, DRM_NPOOL_BO_* */
	__u32 flags;
	/** @size: out */
	__u64 size;
	/** @mmap_offset: out */
	__u64 mmap_offset;
	/** @stripe: out, 0 unless interleaved */
	__u64 stripe;
	/** @npus: in, user pointer to room for @npu_count ids, each a __u32, or 0 */
	__u64 npus;
	/** @npu_count: in, room at @npus; out, NPUs the buffer lies on */
	__u32 npu_count;
	/** @placement: out, %DRM_NPOOL_PLACE_NPU or %DRM_NPOOL_PLACE_INTERLEAVE */
	__u32 placement;
};

/** enum drm_npool_class - What a queue or a submit is for */
enum drm_npool_class {
	/**
	 * @DRM_NPOOL_CLASS_BULK: shares, by weight, what the others leave, and
	 * one part in twenty whatever they do
	 */
	DRM_NPOOL_CLASS_BULK = 0,
	/** @DRM_NPOOL_CLASS_CONTROL: before all others, within its reservation */
	DRM_NPOOL_CLASS_CONTROL = 1,
	/**
	 * @DRM_NPOOL_CLASS_LATENCY: next, within its reservation; what goes
	 * beyond it is served as bulk
	 */
	DRM_NPOOL_CLASS_LATENCY = 2,
	/**
	 * @DRM_NPOOL_CLASS_DEADLINE: submits with a deadline, which are admitted
	 * only if they can be done by then; a late one is served as bulk
	 */
	DRM_NPOOL_CLASS_DEADLINE = 3,
	/** @DRM_NPOOL_CLASS_SCRUB: when nobody else has anything to move */
	DRM_NPOOL_CLASS_SCRUB = 4,
};

/** define DRM_NPOOL_CLASSES - Number of classes */
#define DRM_NPOOL_CLASSES	5

/** define DRM_NPOOL_MAX_WEIGHT - Most weight of a queue or submit */
#define DRM_NPOOL_MAX_WEIGHT	1024
/** define DRM_NPOOL_WEIGHT - Weight of one that says nothing */
#define DRM_NPOOL_WEIGHT	64

/** define DRM_NPOOL_QUEUE_SRC - The reservation holds only where src is read from */
#define DRM_NPOOL_QUEUE_SRC	0x1
/** define DRM_NPOOL_QUEUE_DST - The reservation holds only where dst is written to */
#define DRM_NPOOL_QUEUE_DST	0x2

/**
 * struct drm_npool_queue_create - Makes a queue on one NPU's copy engine
 *
 * Submits of one queue run in order; queues run beside each other.
 *
 * Control and latency need a reservation: @budget bytes in each @period_ns, at the
 * port of each NPU that is read from and written to. Reservations need
 * CAP_SYS_ADMIN or a right that was given to the file, %DRM_NPOOL_QOS_GRANT.
 *
 * Errors beside the general ones: %ENODEV the NPU is dead, %EMFILE too many
 * queues, %EPERM no right to reserve or weigh that much, %EBUSY a port has promised too
 * much already.
 */
struct drm_npool_queue_create {
	/** @npu: in, whose engine */
	__u32 npu;
	/** @flags: in, DRM_NPOOL_QUEUE_* */
	__u32 flags;
	/** @queue: out, a number of this open file, never zero */
	__u32 queue;
	/** @pad: must be zero */
	__u32 pad;
	/** @class_id: in, an &enum drm_npool_class */
	__u32 class_id;
	/**
	 * @weight: in, up to %DRM_NPOOL_MAX_WEIGHT, 0 for %DRM_NPOOL_WEIGHT; more
	 * than that needs CAP_SYS_ADMIN. Queues of one file on one NPU weigh
	 * together as much as one of them does on average
	 */
	__u32 weight;
	/** @budget: in, for control and latency 1 byte to 4 GiB, else zero */
	__u64 budget;
	/** @period_ns: in, for control and latency 10 us to 1 s, else zero */
	__u64 period_ns;
	/** @src: in, an NPU with %DRM_NPOOL_QUEUE_SRC, else zero */
	__u32 src;
	/** @dst: in, an NPU with %DRM_NPOOL_QUEUE_DST, else zero */
	__u32 dst;
};

/** struct drm_npool_queue_destroy - Ends a queue; unfinished submits end with %ECANCELED */
struct drm_npool_queue_destroy {
	/** @queue: in */
	__u32 queue;
	/** @pad: must be zero */
	__u32 pad;
};

/** enum drm_npool_op_type - What an operation does */
enum drm_npool_op_type {
	/** @DRM_NPOOL_OP_COPY: bytes of one buffer to another, or within one without overlap */
	DRM_NPOOL_OP_COPY = 0,
	/**
	 * @DRM_NPOOL_OP_FILL: byte i of each range becomes byte i modulo 8 of
	 * &drm_npool_op.pattern in little-endian order
	 */
	DRM_NPOOL_OP_FILL = 1,
};

/** struct drm_npool_seg - One contiguous piece of an operation */
struct drm_npool_seg {
	/** @dst_offset: in, in the destination */
	__u64 dst_offset;
	/** @src_offset: in, in the source; zero for a fill */
	__u64 src_offset;
	/** @size: in, not zero; any alignment */
	__u64 size;
};

/** struct drm_npool_op - One operation over a list of segments */
struct drm_npool_op {
	/** @type: in, an &enum drm_npool_op_type */
	__u32 type;
	/** @flags: in, must be zero */
	__u32 flags;
	/** @dst: in, handle written to */
	__u32 dst;
	/** @src: in, handle read from; zero for a fill */
	__u32 src;
	/** @pattern: in, for a fill, else zero */
	__u64 pattern;
	/** @segs: in, user pointer to @seg_count &struct drm_npool_seg */
	__u64 segs;
	/** @seg_count: in, at least 1 */
	__u32 seg_count;
	/** @seg_stride: in, bytes from segment to segment */
	__u32 seg_stride;
};

/** struct drm_npool_sync - A point on a timeline syncobj */
struct drm_npool_sync {
	/** @handle: in, a timeline syncobj */
	__u32 handle;
	/** @flags: in, must be zero */
	__u32 flags;
	/** @point: in, not zero */
	__u64 point;
};

/** define DRM_NPOOL_SUBMIT_CLASS - @class_id and @weight of the submit hold, not the queue's */
#define DRM_NPOOL_SUBMIT_CLASS	0x1
/** define DRM_NPOOL_SUBMIT_ANYWAY - If its deadline cannot be promised, run it as bulk */
#define DRM_NPOOL_SUBMIT_ANYWAY	0x2

/** enum drm_npool_reason - Why something is not promised */
enum drm_npool_reason {
	/** @DRM_NPOOL_REASON_NONE: it is, or nothing was asked for */
	DRM_NPOOL_REASON_NONE = 0,
	/** @DRM_NPOOL_REASON_LATE: the deadline has passed, or the bytes alone take longer */
	DRM_NPOOL_REASON_LATE = 1,
	/** @DRM_NPOOL_REASON_SRC: an NPU that is read from has promised too much */
	DRM_NPOOL_REASON_SRC = 2,
	/** @DRM_NPOOL_REASON_DST: an NPU that is written to has promised too much */
	DRM_NPOOL_REASON_DST = 3,
	/** @DRM_NPOOL_REASON_FAR: the deadline is more than a minute away */
	DRM_NPOOL_REASON_FAR = 4,
	/** @DRM_NPOOL_REASON_SHARE: the file has what one file can have of an NPU's promises */
	DRM_NPOOL_REASON_SHARE = 5,
	/** @DRM_NPOOL_REASON_ORDER: what is before it in its queue has a later deadline or none */
	DRM_NPOOL_REASON_ORDER = 6,
	/**
	 * @DRM_NPOOL_REASON_WIDE: it touches more than 16 ports; an NPU that is
	 * both read from and written to counts twice
	 */
	DRM_NPOOL_REASON_WIDE = 7,
};

/**
 * struct drm_npool_submit - Queues operations
 *
 * The operations start when every wait point is reached and the queue's earlier
 * submits have ended, run in order, and then all signal points are reached,
 * whether or not an operation failed: points order, DRM_IOCTL_NPOOL_WAIT tells
 * what became of a submit. A wait on a point for which nothing was submitted is
 * %EINVAL. The first operation that fails ends its submit; later submits of the
 * queue run. No operation at all is a way to join timelines.
 *
 * A deadline on a submit of class deadline is a question: the submit is queued
 * if it can be done by then beside all that is promised, from when its waits are
 * reached. If not, the call fails with %EBUSY and tells @reason and @earliest_ns,
 * the one case in which a failed call writes. A file without CAP_SYS_ADMIN can
 * have half of what an NPU can promise. On other classes a deadline only tells
 * what to count as missed.
 *
 * Errors beside the general ones: %EBUSY the queue is full, with @reason zero,
 * or the deadline is refused; %ENODEV the queue's NPU is dead or a buffer is
 * lost.
 */
struct drm_npool_submit {
	/** @queue: in */
	__u32 queue;
	/** @flags: in, DRM_NPOOL_SUBMIT_* */
	__u32 flags;
	/** @ops: in, user pointer to @op_count &struct drm_npool_op */
	__u64 ops;
	/** @op_count: in */
	__u32 op_count;
	/** @op_stride: in, bytes from operation to operation; may be 0 without any */
	__u32 op_stride;
	/** @waits: in, user pointer to @wait_count &struct drm_npool_sync */
	__u64 waits;
	/** @signals: in, user pointer to @signal_count &struct drm_npool_sync */
	__u64 signals;
	/** @wait_count: in */
	__u32 wait_count;
	/** @signal_count: in */
	__u32 signal_count;
	/** @sync_stride: in, bytes from point to point, of both lists; may be 0 without any */
	__u32 sync_stride;
	/** @pad: must be zero */
	__u32 pad;
	/** @seqno: out, number of this submit in its queue, from 1 without gaps */
	__u64 seqno;
	/** @deadline_ns: in, absolute time, 0 for none */
	__u64 deadline_ns;
	/** @earliest_ns: out, with @reason, the earliest deadline that would fit, 0 if none */
	__u64 earliest_ns;
	/**
	 * @class_id: in, with %DRM_NPOOL_SUBMIT_CLASS an &enum drm_npool_class that
	 * needs no reservation, or the queue's own; else zero
	 */
	__u32 class_id;
	/** @weight: in, with %DRM_NPOOL_SUBMIT_CLASS as a queue's, 0 for the queue's; else zero */
	__u32 weight;
	/** @reason: out, an &enum drm_npool_reason */
	__u32 reason;
	/** @pad2: must be zero */
	__u32 pad2;
};

/**
 * struct drm_npool_wait - Waits for a submit to end and tells how it did
 *
 * Errors beside the general ones: %ETIME not ended by @timeout_ns, %ENODATA so
 * many submits of the queue have failed since that how it ended is forgotten.
 */
struct drm_npool_wait {
	/** @queue: in */
	__u32 queue;
	/** @flags: in, must be zero */
	__u32 flags;
	/** @seqno: in, a number that DRM_IOCTL_NPOOL_SUBMIT gave */
	__u64 seqno;
	/** @timeout_ns: in, absolute time, 0 or the past to poll */
	__s64 timeout_ns;
	/**
	 * @error: out, 0 or a negative errno: -%EIO a copy failed or met poisoned
	 * memory, -%ENODEV an NPU died, -%ECANCELED its queue or file was closed
	 */
	__s32 error;
	/** @op: out, with @error, the operation that failed, else 0 */
	__u32 op;
	/** @npu: out, with @error, the NPU at fault, else 0 */
	__u32 npu;
	/** @pad: must be zero */
	__u32 pad;
};

/**
 * struct drm_npool_set_quota - Limits what the calling open file may have in
 * buffers that it created
 *
 * Lowering is free, raising above the present limit needs CAP_SYS_ADMIN. What
 * is above a lowered limit stays. Closing all handles of a buffer gives back.
 */
struct drm_npool_set_quota {
	/** @bytes: in, 0 for no limit */
	__u64 bytes;
	/** @flags: in, must be zero */
	__u32 flags;
	/** @pad: must be zero */
	__u32 pad;
};

/** enum drm_npool_npu_action - What DRM_IOCTL_NPOOL_NPU_CTL does */
enum drm_npool_npu_action {
	/**
	 * @DRM_NPOOL_NPU_REMOVE: takes it out of the pool at once, as if it had
	 * been pulled: jobs end with an error, buffers on it are lost
	 */
	DRM_NPOOL_NPU_REMOVE = 0,
	/**
	 * @DRM_NPOOL_NPU_INJECT: has the backend act out a fault;
	 * %EOPNOTSUPP where it cannot
	 */
	DRM_NPOOL_NPU_INJECT = 1,
};

/** enum drm_npool_fault - Faults that a software NPU can act out */
enum drm_npool_fault {
	/** @DRM_NPOOL_FAULT_ALLOC: the next arg allocations on it fail with %ENOSPC */
	DRM_NPOOL_FAULT_ALLOC = 0,
	/** @DRM_NPOOL_FAULT_COPY: the next arg copies or fills by its engine fail with -%EIO */
	DRM_NPOOL_FAULT_COPY = 1,
	/**
	 * @DRM_NPOOL_FAULT_POISON: the page at offset arg of its memory is
	 * poisoned: copies from or to it fail with -%EIO, new faults on it get SIGBUS
	 */
	DRM_NPOOL_FAULT_POISON = 2,
	/**
	 * @DRM_NPOOL_FAULT_DIE: the backend reports it dead, which ends as
	 * %DRM_NPOOL_NPU_REMOVE does; arg is 0
	 */
	DRM_NPOOL_FAULT_DIE = 3,
};

/** struct drm_npool_npu_ctl - Changes a member; needs CAP_SYS_ADMIN */
struct drm_npool_npu_ctl {
	/** @npu: in */
	__u32 npu;
	/** @action: in, an &enum drm_npool_npu_action */
	__u32 action;
	/** @fault: in, an &enum drm_npool_fault with %DRM_NPOOL_NPU_INJECT, else zero */
	__u32 fault;
	/** @flags: in, must be zero */
	__u32 flags;
	/** @arg: in, as @fault says, else zero */
	__u64 arg;
};

/** enum drm_npool_policy - How ports and engines are shared */
enum drm_npool_policy {
	/** @DRM_NPOOL_POLICY_HYBRID: as the classes say, in windows */
	DRM_NPOOL_POLICY_HYBRID = 0,
	/** @DRM_NPOOL_POLICY_FIFO: whole copies in the order in which they are ready; to compare */
	DRM_NPOOL_POLICY_FIFO = 1,
	/** @DRM_NPOOL_POLICY_STRICT: whole copies by class; to compare */
	DRM_NPOOL_POLICY_STRICT = 2,
	/** @DRM_NPOOL_POLICY_STRICT_WINDOWS: by class in windows; to compare */
	DRM_NPOOL_POLICY_STRICT_WINDOWS = 3,
};

/** struct drm_npool_qos_info - What holds for all ports of the pool */
struct drm_npool_qos_info {
	/** @policy: an &enum drm_npool_policy */
	__u32 policy;
	/** @pad: zero */
	__u32 pad;
	/** @slack_ns: what windows may make the latency class wait, which sizes them */
	__u64 slack_ns;
	/** @granted: bytes a second that the caller's file may reserve without privilege */
	__u64 granted;
	/** @reserved: rate that it has reserved */
	__u64 reserved;
};

/** struct drm_npool_port_info - One direction of a member's port */
struct drm_npool_port_info {
	/** @npu: as in &struct drm_npool_npu_info */
	__u32 npu;
	/** @side: 0 what is read from it, 1 what is written to it */
	__u32 side;
	/** @bandwidth: bytes a second, as measured, or claimed until then */
	__u64 bandwidth;
	/** @overhead_ns: what a window costs beside its bytes, as measured */
	__u64 overhead_ns;
	/** @window: most bytes in flight */
	__u64 window;
	/** @inflight: bytes in flight */
	__u64 inflight;
	/** @reserved: bytes a second promised to reservations */
	__u64 reserved;
	/** @promised: bytes promised to transfers with a deadline and not moved */
	__u64 promised;
	/** @moved: bytes since the member joined */
	__u64 moved;
};

/**
 * define DRM_NPOOL_BUCKETS - Buckets of a histogram of times
 *
 * Bucket 0 counts times below 128 ns. Bucket 1 + 4 i + j, j from 0 to 3, those
 * from 2^(i + 5) (4 + j) ns to 2^(i + 5) (5 + j) ns; the last one all above.
 */
#define DRM_NPOOL_BUCKETS	128

/** struct drm_npool_class_stats - What a member's engine has done for a class since it joined */
struct drm_npool_class_stats {
	/** @npu: as in &struct drm_npool_npu_info */
	__u32 npu;
	/** @class_id: an &enum drm_npool_class */
	__u32 class_id;
	/** @jobs: submits that ended, well or not */
	__u64 jobs;
	/** @bytes: moved */
	__u64 bytes;
	/** @windows: in which they were moved */
	__u64 windows;
	/** @missed: submits that ended after their deadline */
	__u64 missed;
	/** @demoted: submits that were for a time served as bulk: over budget, or late */
	__u64 demoted;
	/** @refused: submits whose deadline was not promised */
	__u64 refused;
	/** @queue_ns: histogram over submits that ran, from ready to first moved */
	__u64 queue_ns[DRM_NPOOL_BUCKETS];
	/** @service_ns: likewise, from first moved to ended */
	__u64 service_ns[DRM_NPOOL_BUCKETS];
};

/** enum drm_npool_qos_action - What DRM_IOCTL_NPOOL_QOS_CTL does */
enum drm_npool_qos_action {
	/** @DRM_NPOOL_QOS_POLICY: value is an &enum drm_npool_policy */
	DRM_NPOOL_QOS_POLICY = 0,
	/** @DRM_NPOOL_QOS_SLACK: value is slack in nanoseconds, 1 us to 100 ms */
	DRM_NPOOL_QOS_SLACK = 1,
	/**
	 * @DRM_NPOOL_QOS_GRANT: gives the file whose number is client the right to
	 * reserve up to value bytes a second, 0 takes it back. What it has
	 * reserved stays. %ENOENT there is no such file
	 */
	DRM_NPOOL_QOS_GRANT = 2,
};

/** struct drm_npool_qos_ctl - Changes how the pool is shared; needs CAP_SYS_ADMIN */
struct drm_npool_qos_ctl {
	/** @action: in, an &enum drm_npool_qos_action */
	__u32 action;
	/** @flags: in, must be zero */
	__u32 flags;
	/** @client: in, as @action says, else zero */
	__u64 client;
	/** @value: in, as @action says */
	__u64 value;
};

#define DRM_IOCTL_NPOOL_QUERY \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_NPOOL_QUERY, struct drm_npool_query)
#define DRM_IOCTL_NPOOL_BO_CREATE \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_NPOOL_BO_CREATE, struct drm_npool_bo_create)
#define DRM_IOCTL_NPOOL_BO_INFO \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_NPOOL_BO_INFO, struct drm_npool_bo_info)
#define DRM_IOCTL_NPOOL_QUEUE_CREATE \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_NPOOL_QUEUE_CREATE, struct drm_npool_queue_create)
#define DRM_IOCTL_NPOOL_QUEUE_DESTROY \
	DRM_IOW(DRM_COMMAND_BASE + DRM_NPOOL_QUEUE_DESTROY, struct drm_npool_queue_destroy)
#define DRM_IOCTL_NPOOL_SUBMIT \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_NPOOL_SUBMIT, struct drm_npool_submit)
#define DRM_IOCTL_NPOOL_WAIT \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_NPOOL_WAIT, struct drm_npool_wait)
#define DRM_IOCTL_NPOOL_SET_QUOTA \
	DRM_IOW(DRM_COMMAND_BASE + DRM_NPOOL_SET_QUOTA, struct drm_npool_set_quota)
#define DRM_IOCTL_NPOOL_NPU_CTL \
	DRM_IOW(DRM_COMMAND_BASE + DRM_NPOOL_NPU_CTL, struct drm_npool_npu_ctl)
#define DRM_IOCTL_NPOOL_QOS_CTL \
	DRM_IOW(DRM_COMMAND_BASE + DRM_NPOOL_QOS_CTL, struct drm_npool_qos_ctl)

#if defined(__cplusplus)
}
#endif

#endif
