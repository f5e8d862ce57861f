/* SPDX-License-Identifier: MIT */
/*
 * What bulk does to a latency-class copy, policy by policy: one small copy at a
 * time is measured from its submit until its waiter has seen it done, while
 * load keeps queues full of large copies through the same ports.
 */
#ifndef BENCH_QOS_H
#define BENCH_QOS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <accel/qos.h>

#include "hist.h"

#define BENCH_BULK_QUEUES	4
#define BENCH_BULK_COPY		(16ull << 20)
#define BENCH_FLOOD_COPY	(1ull << 20)
#define BENCH_INCAST_COPY	(4ull << 20)
#define BENCH_INCAST_MAX	64
#define BENCH_FLOOD_MAX		16384
#define BENCH_OPENS_MAX		64

/* bench_load.c */

/** struct load_queue - a queue that is kept full */
struct load_queue {
	struct accel_queue *queue;
	uint64_t last;		/* number of its last submit */
	uint64_t offset;	/* of its next copy */
};

/** struct load_group - queues that one thread keeps full */
struct load_group {
	struct load *load;
	pthread_t thread;
	bool running;
	struct accel_buffer *dst, *src;
	uint64_t span;		/* bytes of both that are copied */
	uint64_t copy;		/* bytes of a copy */
	uint32_t depth;		/* copies in each queue */
	uint32_t count;
	struct load_queue *queues;
	int error;		/* that ended the thread, 0 if none */
};

struct load {
	struct load_group *groups;
	uint32_t count;
	atomic_bool stop;
};

/** load_add() - add a group; its queues are made here; 0 or a negative errno */
int load_add(struct load *load, struct accel_dev *dev, uint32_t npu,
	     const struct accel_queue_qos *qos, const struct load_group *group);

/** load_start() - fill all queues and keep them full from now on */
int load_start(struct load *load);

/** load_end() - end all groups; the first error that one of them met */
int load_end(struct load *load);

enum bench_mode {
	BENCH_ALONE,
	BENCH_FIFO,
	BENCH_STRICT,
	BENCH_STRICT_WINDOWS,
	BENCH_HYBRID,
	BENCH_BULK_ALONE,
	BENCH_FLOOD,		/* hybrid, beside very many queues */
	BENCH_INCAST,		/* hybrid, beside many NPUs that write to the same one */
	BENCH_MODES
};

/** struct bench_source - an NPU that takes part in the incast */
struct bench_source {
	uint32_t npu;
	struct accel_queue_qos qos;
	struct accel_buffer *buffer;
	uint64_t bytes;		/* that it moved while it was measured */
};

struct bench_row {
	bool wanted;
	struct hist latency;	/* ns */
	uint64_t bulk_bytes;
	uint64_t ns;		/* measured */
	uint64_t demoted;	/* latency copies that were not served as such */
	uint64_t queued[ACCEL_TIME_BUCKETS];	/* as the engine has it: without wake-ups */
};

struct bench {
	/* As asked for. */
	uint64_t ns;		/* to measure each row */
	uint64_t size;		/* of the latency copy */
	uint64_t flood;
	uint64_t incast;
	/* As found and made. */
	struct accel_dev *dev;
	uint32_t src, dst;	/* NPUs */
	struct accel_buffer *from, *to;
	uint64_t span;		/* bytes of these */
	struct accel_queue *queue;
	uint64_t interval;	/* ns between two latency copies, at least */
	uint64_t offset;
	uint64_t seed;
	struct accel_qos_info found;
	struct bench_source sources[BENCH_INCAST_MAX];
	uint32_t source_count;
	uint32_t made[BENCH_INCAST_MAX];	/* NPUs to be removed */
	uint32_t made_count;
	struct bench_open {
		struct accel_dev *dev;
		struct accel_buffer *from, *to;
	} opens[BENCH_OPENS_MAX];	/* for more queues than one open can have */
	uint32_t open_count;
	/* As measured. */
	struct bench_row rows[BENCH_MODES];
	uint64_t bandwidth;	/* of the ports, the slower one */
	uint64_t window;
	int signal;		/* that ended it, 0 if none */
};

/* bench_setup.c */

/** bench_setup() - buffers, NPUs to copy from; 0 or an exit status after a message */
int bench_setup(struct bench *bench, const char *uri);

/** bench_reserve() - the latency queue, once the interval is known; likewise */
int bench_reserve(struct bench *bench);

/** bench_teardown() - give everything back; what was not made is zero */
void bench_teardown(struct bench *bench);

/** bench_failed() - say what failed; the exit status */
int bench_failed(const struct bench *bench, const char *what, int err);

/** bench_load() - make the load that a row is measured beside; 0 or a negative errno */
int bench_load(struct bench *bench, enum bench_mode mode, struct load *load);

/** bench_unload() - end it; buffers and opens that it took go with it */
int bench_unload(struct bench *bench, struct load *load);

/* bench_show.c */

const char *bench_mode_name(enum bench_mode mode);

/** bench_gbps() - bulk throughput of a row */
double bench_gbps(const struct bench_row *row);

/** bench_window_ns() - the time of a window at the ports' bandwidth */
uint64_t bench_window_ns(const struct bench *bench);

/** bench_progress() - on stderr, @done of @all turns */
void bench_progress(uint32_t done, uint32_t all, enum bench_mode mode);

void bench_table(const struct bench *bench);
int bench_json(const struct bench *bench);

#endif
