/* SPDX-License-Identifier: MIT */
/*
 * qos-sim: one NPU's port and its engine in simulated time, under the driver's
 * own arbiter and under a competitor. What the files share; read main.c last.
 *
 *   workload.c   what arrives, and when
 *   arbiter.c    the driver's arbiter, in any of its policies
 *   promotion.c  the competitor: three strict queues with promotion
 *   engine.c     moves windows, admits deadlines, keeps the clock
 *   stats.c      what came of it
 *   output.c     a table, or JSON
 */
#ifndef QOS_SIM_H
#define QOS_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "qos.h"

#define NS_PER_S 1000000000ull
#define NS_PER_MS 1000000ull
#define NS_PER_US 1000ull

/* The port, and what it has to carry. */
#define BANDWIDTH 196000000000ull
#define BURST_BYTES 5800000ull
#define BURST_PERIOD (397 * NS_PER_US)
#define BULK_MEAN 300e6
#define BULK_SIGMA 1.0
#define BULK_QUEUES 16u
/* Of the port, offered as transfers with a deadline; part of the load that is asked for. */
#define DEADLINE_LOAD 0.40
#define DEADLINE_MEAN 40e6
#define DEADLINE_SIGMA 0.7
/* A deadline leaves this many times what the bytes alone take. */
#define DEADLINE_TIGHT 1.5
#define DEADLINE_LOOSE 20.0

/* The share of the time that only fills the port. */
#define WARM_UP 0.1

struct options {
	u64 seed;
	u32 seeds;
	double seconds;
	u64 overhead;		/* ns that a window takes beside its bytes */
	u64 slack;
	bool json;
};

/** struct job - a transfer; as a deadline it has a queue of its own */
struct job {
	struct job *next;
	struct queue *queue;
	u32 class;
	bool copy;		/* it came as bulk, not as a deadline that was refused */
	bool measured;		/* it came after the warm-up */
	u64 bytes;
	u64 left;
	u64 arrived;
	u64 deadline;		/* admitted for, 0 if it was not */
	u64 waits;		/* since it was served, or promoted */
	struct qos_demand demand;
};

struct queue {
	struct qos_flow flow;
	struct job *first, *last;
	bool single;		/* goes with its only job */
};

/* workload.c */

struct workload {
	u64 random;
	double bulk_gap, deadline_gap;	/* mean ns between arrivals */
	u64 latency, bulk, deadline;	/* when the next ones come */
};

void workload_init(struct workload *load, double total, u64 seed);
/** workload_next() - when something arrives next */
u64 workload_next(const struct workload *load);
/** workload_draw() - what does; a deadline is what is asked for */
struct job *workload_draw(struct workload *load, u32 *bulk_queue);

/* What decides whose bytes go next. */

struct scheduler {
	const char *name;
	u32 policy;		/* of the ports */
	void *(*create)(const struct scheduler *scheduler, struct qos_ports *ports);
	void (*add)(void *state, struct job *job, u32 bulk_queue, u64 now);
	/** @next: whose window begins now, and how long it is; NULL if there is nothing to move */
	struct job *(*next)(void *state, u64 now, u64 *bytes);
	/** @moved: it ended, and so did the job if nothing of it is left */
	void (*moved)(void *state, struct job *job, u64 bytes, u64 now);
	/** @destroy: with nothing waiting any more */
	void (*destroy)(void *state);
};

extern const struct scheduler schedulers[];
extern const u32 scheduler_count;

void *arbiter_create(const struct scheduler *scheduler, struct qos_ports *ports);
void arbiter_add(void *state, struct job *job, u32 bulk_queue, u64 now);
struct job *arbiter_next(void *state, u64 now, u64 *bytes);
void arbiter_moved(void *state, struct job *job, u64 bytes, u64 now);
void arbiter_destroy(void *state);

void *promotion_create(const struct scheduler *scheduler, struct qos_ports *ports);
void promotion_add(void *state, struct job *job, u32 bulk_queue, u64 now);
struct job *promotion_next(void *state, u64 now, u64 *bytes);
void promotion_moved(void *state, struct job *job, u64 bytes, u64 now);
void promotion_destroy(void *state);

/* stats.c */

struct times {
	u64 *ns;
	size_t count, room;
};

struct stats {
	struct times latency, bulk;	/* from arrival to end */
	u64 bulk_bytes;		/* moved while measured */
	double seconds;		/* measured */
	u64 admitted, refused, missed;
	u64 window, bandwidth, overhead;	/* of the port, as the last run left them */
};

void times_add(struct times *times, u64 ns);
/** times_at() - the time that a part of them does not exceed */
u64 times_at(struct times *times, double part);
void stats_free(struct stats *stats);

/* engine.c */

/** engine_run() - one seed of one load under one scheduler, added to what there is */
void engine_run(const struct scheduler *scheduler, const struct options *options, double load,
		u64 seed, struct stats *stats);

/* output.c */

struct result {
	const char *policy;
	double load;
	struct stats stats;
};

void output_text(const struct options *options, struct result *results, size_t count);
void output_json(struct result *results, size_t count);

static inline void *allocated(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

#endif
