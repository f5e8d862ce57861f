/* SPDX-License-Identifier: MIT */
/*
 * Whose bytes go first: classes, reservations, deadlines.
 *
 * Every NPU has a port to read from and a port to write to. Copies are cut into
 * windows; what is in flight at a port is bounded by how long the latency class
 * may have to wait for it. Queues, and submits, have a class:
 *
 *   bulk      shares by weight what the others leave, and has a floor of 5 %
 *   control   first of all, within its reservation
 *   latency   next, within its reservation; what goes beyond it runs as bulk
 *   deadline  admitted only if it can be done in time; runs as bulk once late
 *   scrub     when nobody else has anything to move
 *
 * A reservation is a budget of bytes in each period (a constant-bandwidth
 * server, as SCHED_DEADLINE has). At most 85 % of a port's measured bandwidth is
 * promised, to reservations and to deadlines together.
 *
 * On drm: what changes the pool, and reserving more than was granted, needs
 * CAP_SYS_ADMIN (-EPERM); on soft: the pool's user is its administrator, and
 * reserves what he likes.
 */
#ifndef ACCEL_QOS_H
#define ACCEL_QOS_H

#include <accel/queue.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

enum accel_class {
	ACCEL_CLASS_BULK = 0,
	ACCEL_CLASS_CONTROL = 1,
	ACCEL_CLASS_LATENCY = 2,
	ACCEL_CLASS_DEADLINE = 3,
	ACCEL_CLASS_SCRUB = 4,
};

#define ACCEL_CLASSES 5

/** ACCEL_NPU_ANY - of a reservation: whichever NPU it is */
#define ACCEL_NPU_ANY UINT32_MAX

/** ACCEL_MAX_WEIGHT, ACCEL_WEIGHT - most weight, weight of who says nothing */
#define ACCEL_MAX_WEIGHT 1024
#define ACCEL_WEIGHT 64

/** struct accel_queue_qos - what a queue is for */
struct accel_queue_qos {
	uint32_t class_id;	/* enum accel_class */
	uint32_t weight;	/* where bulk shares; 0 for ACCEL_WEIGHT, on drm: more is a privilege */
	uint64_t budget;	/* for control and latency, bytes up to 4 GiB, else 0 */
	uint64_t period_ns;	/* of the budget, 10 us to 1 s, else 0 */
	uint32_t src;		/* with a budget: where it holds, ACCEL_NPU_ANY or the NPU */
	uint32_t dst;		/* read from, and written to; else 0 */
};

/**
 * accel_queue_create_qos() - make a queue of a class; accel_queue_create() makes bulk
 *
 * Beside the errors of that: -EPERM no right to reserve or weigh so much, -EBUSY a port
 * has promised too much already.
 */
int accel_queue_create_qos(struct accel_dev *dev, uint32_t npu, const struct accel_queue_qos *qos,
			   struct accel_queue **queue);

/** ACCEL_SUBMIT_CLASS - class_id and weight of the submit hold instead of the queue's */
#define ACCEL_SUBMIT_CLASS (1u << 0)
/** ACCEL_SUBMIT_ANYWAY - if the deadline cannot be promised, run and count it as bulk */
#define ACCEL_SUBMIT_ANYWAY (1u << 1)

enum accel_reason {
	ACCEL_REASON_NONE = 0,
	ACCEL_REASON_LATE = 1,	/* it has passed, or the bytes alone take longer */
	ACCEL_REASON_SRC = 2,	/* an NPU that is read from has promised too much */
	ACCEL_REASON_DST = 3,	/* an NPU that is written to has promised too much */
	ACCEL_REASON_FAR = 4,	/* it is more than a minute away */
	ACCEL_REASON_SHARE = 5,	/* the client has what one client can have */
	ACCEL_REASON_ORDER = 6,	/* what goes before it in its queue has a later one, or none */
	ACCEL_REASON_WIDE = 7,	/* it touches more than 16 ports: NPUs read from, NPUs written to */
};

/** accel_reason_name() - a few words for people; never NULL */
const char *accel_reason_name(uint32_t reason);

/** struct accel_submit_qos - what a submit is for */
struct accel_submit_qos {
	uint32_t flags;		/* ACCEL_SUBMIT_* */
	uint32_t class_id;	/* with ACCEL_SUBMIT_CLASS bulk, deadline, scrub or the queue's own */
	uint32_t weight;	/* with ACCEL_SUBMIT_CLASS, 0 for the queue's */
	uint64_t deadline_ns;	/* of CLOCK_MONOTONIC, 0 for none */
};

/** struct accel_admission - what became of a deadline */
struct accel_admission {
	uint32_t reason;	/* enum accel_reason; none if it is promised */
	uint64_t earliest_ns;	/* with a reason, the earliest deadline that would fit, 0 if none */
};

/**
 * accel_queue_submit_qos() - queue operations; as accel_queue_submit()
 * @qos: NULL for what the queue is for
 * @admission: out, may be NULL; also written with -EBUSY, which without a reason
 * is a full queue and with one a refused deadline
 *
 * A deadline on a submit of class deadline is promised or refused at once. On
 * others it only tells what to count as missed.
 */
int accel_queue_submit_qos(struct accel_queue *queue, const struct accel_submit *submit,
			   const struct accel_submit_qos *qos, uint64_t *seqno,
			   struct accel_admission *admission);

enum accel_policy {
	ACCEL_POLICY_HYBRID = 0,
	ACCEL_POLICY_FIFO = 1,		/* whole copies, first ready first; to compare */
	ACCEL_POLICY_STRICT = 2,	/* whole copies by class; to compare */
	ACCEL_POLICY_STRICT_WINDOWS = 3,	/* by class, in windows; to compare */
};

/** struct accel_qos_info - what holds for a pool's ports, and for the caller */
struct accel_qos_info {
	uint32_t policy;	/* enum accel_policy */
	uint64_t slack_ns;	/* what windows may make the latency class wait; sizes them */
	uint64_t granted;	/* bytes a second that this accel_open() may reserve unprivileged */
	uint64_t reserved;	/* that it has reserved */
};

int accel_qos_info(struct accel_dev *dev, struct accel_qos_info *info);
int accel_qos_set_policy(struct accel_dev *dev, enum accel_policy policy);

/** accel_qos_set_slack() - @slack_ns from 1 us to 100 ms */
int accel_qos_set_slack(struct accel_dev *dev, uint64_t slack_ns);

/**
 * accel_qos_grant() - let an accel_open() reserve up to @rate bytes a second
 * @client: its accel_client_id()
 *
 * -ENOENT there is no such one.
 */
int accel_qos_grant(struct accel_dev *dev, uint64_t client, uint64_t rate);

/** struct accel_port_info - one direction of an NPU's port */
struct accel_port_info {
	uint32_t npu;
	uint32_t side;		/* 0 what is read from it, 1 what is written to it */
	uint64_t bandwidth;	/* bytes a second, measured, or claimed until then */
	uint64_t overhead_ns;	/* of a window, beside its bytes; measured */
	uint64_t window;	/* most bytes in flight */
	uint64_t inflight;
	uint64_t reserved;	/* bytes a second */
	uint64_t promised;	/* bytes, to deadlines */
	uint64_t moved;		/* bytes, since the NPU joined */
};

/** accel_ports() - list the ports by NPU and side; as accel_npus() */
int accel_ports(struct accel_dev *dev, struct accel_port_info *ports, uint32_t *count);

/** ACCEL_TIME_BUCKETS - buckets of a histogram of times; see accel_time_bucket_end() */
#define ACCEL_TIME_BUCKETS 128

/** struct accel_class_stats - what an NPU's engine did for a class since the NPU joined */
struct accel_class_stats {
	uint32_t npu;
	uint32_t class_id;
	uint64_t jobs;		/* submits that ended */
	uint64_t bytes;
	uint64_t windows;
	uint64_t missed;	/* ended after their deadline */
	uint64_t demoted;	/* served as bulk for a time: over budget, or late */
	uint64_t refused;	/* deadline not promised */
	uint64_t queue_ns[ACCEL_TIME_BUCKETS];	/* from ready to first moved */
	uint64_t service_ns[ACCEL_TIME_BUCKETS];	/* from first moved to ended */
};

/** accel_class_stats() - ACCEL_CLASSES for each NPU, by NPU and class; as accel_npus() */
int accel_class_stats(struct accel_dev *dev, struct accel_class_stats *stats, uint32_t *count);

/** accel_time_bucket_end() - first time, in ns, that is too long for a bucket */
uint64_t accel_time_bucket_end(uint32_t bucket);

/**
 * accel_time_percentile() - time that @per_mille of a histogram's samples do not exceed
 *
 * The end of the bucket, so at most a quarter too much; 0 without samples.
 */
uint64_t accel_time_percentile(const uint64_t *buckets, uint32_t per_mille);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif
#endif
