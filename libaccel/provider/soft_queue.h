/* SPDX-License-Identifier: MIT */
/*
 * The moving half of the soft provider: jobs, queues, engines and timelines.
 *
 * A device runs a thread per NPU that it has queues on. The thread takes jobs
 * from its queues window by window, as the arbiter says (driver/qos.h): which of
 * its queues is next, and when there is room for a window at the ports that all
 * processes share.
 */
#ifndef LIBACCEL_SOFT_QUEUE_H
#define LIBACCEL_SOFT_QUEUE_H

#include "soft.h"

struct timeline_page;

struct soft_timeline {
	struct accel_timeline base;
	_Atomic uint32_t refs;		/* handle, jobs */
	int fd;
	struct timeline_page *page;
};

struct soft_op {
	enum accel_op_type type;
	uint32_t seg_count;
	struct soft_buffer *dst, *src;
	uint64_t pattern;
	const struct accel_seg *segs;
};

struct soft_wait {
	struct soft_timeline *timeline;
	uint64_t value;
};

struct soft_signal {
	struct soft_timeline *timeline;
	uint64_t value;
	uint32_t slot;
};

struct soft_job {
	struct soft_job *next;
	uint64_t seqno;
	uint32_t op_count, wait_count, signal_count;
	struct soft_op *ops;
	struct soft_wait *waits;
	struct soft_signal *signals;
	/* How far it got: waits met, then the place of the next byte. */
	uint32_t waits_met;
	uint32_t op, seg;
	uint64_t offset;
	bool started, op_begun;
	int64_t ready_at, started_at;
	/* What it is for. */
	uint32_t class_id, weight;
	uint64_t deadline;
	struct soft_promise *promise;	/* the deadline's, if it was admitted */
	bool demoted;
	struct accel_result result;
};

struct soft_failure {
	uint64_t seqno;
	struct accel_result result;
};

struct soft_queue {
	struct accel_queue base;
	struct soft_queue *next;
	struct soft_engine *engine;
	struct accel_queue_qos qos;
	struct soft_reservation *reservation;	/* if the class has one */
	/* Under the engine's lock. */
	struct qos_flow flow;
	struct soft_queue *next_news;
	bool news;
	struct soft_queue *next_waiting, **waiting_at;	/* the latter NULL if it does not wait */
	uint32_t looked;	/* 1 + the wait that is not met while its timeline is as seen */
	uint32_t seen;
	uint64_t last_deadline;	/* of the newest job; UINT64_MAX if nothing was promised */
	struct soft_job *head, **tail;
	uint64_t submitted, done;
	uint64_t forgotten_first, forgotten_last;	/* failures that made room for others */
	uint32_t failure_count;
	_Atomic bool closing;
	pthread_cond_t ended;
	struct soft_failure failures[SOFT_FAILURES];
};

/* What the engine waits for room for. */
struct soft_ask {
	struct soft_queue *queue;
	uint32_t rank;
};

/* Room that it was granted. */
struct soft_window {
	uint32_t ports[2];
	uint64_t bytes;
};

struct soft_engine {
	struct soft_dev *dev;
	struct soft_npu *npu;
	uint32_t slot;
	pthread_t thread;
	pthread_mutex_t lock;
	_Atomic uint32_t wake;		/* futex: grows when there may be something to do */
	bool stop;
	struct soft_queue *queues;
	struct soft_queue *news;	/* to be looked at: a first job, or the end */
	struct soft_queue *waiting;	/* for timelines */
	uint64_t look_again;		/* when to look whether somebody died */
	bool buried;			/* the NPU's death has been seen */
	/* The thread's own, but for flows and the group, which go with queues. */
	struct qos_rq rq;
	struct qos_group group;
	uint64_t now;			/* when it last looked at the clock */
	struct soft_visitor *visitor;
	uint32_t asked;
	struct soft_ask asks[QOS_ASKS];
	struct soft_window window;
};

/* soft_engine.c */
int soft_engine_start(struct soft_dev *dev, struct soft_npu *npu, struct soft_engine **engine);
void soft_engine_stop(struct soft_engine *engine);
void soft_engine_kick(struct soft_engine *engine);
void soft_engine_news(struct soft_engine *engine, struct soft_queue *queue);
bool soft_engine_dead(const struct soft_engine *engine);

/* soft_window.c */
void soft_window_head(const struct soft_queue *queue, struct qos_head *head);
struct soft_queue *soft_window_ask(struct soft_engine *engine);
void soft_window_forget(struct soft_engine *engine);
int soft_window_move(struct soft_engine *engine, struct soft_queue *queue, uint64_t *moved);
uint32_t soft_port_of(const struct soft_buffer *buffer, uint64_t offset, uint32_t side);

/* soft_class.c */
struct soft_class *soft_class_of(const struct soft_engine *engine, const struct soft_job *job);
void soft_job_started(struct soft_engine *engine, struct soft_job *job, int64_t now);
void soft_job_ended(struct soft_engine *engine, struct soft_job *job);

/* soft_move.c */
int soft_move_check(const struct soft_op *op);
int soft_move_begin(struct soft_npu *npu);
int soft_move(struct soft_npu *npu, const struct soft_op *op, const struct accel_seg *seg,
	      uint64_t offset, uint64_t size, bool stream, uint32_t *fault);
bool soft_move_lost(struct soft_buffer *buffer, uint32_t *fault);
int64_t soft_model(struct soft_npu *npu, uint64_t bytes, uint64_t latency_ns);

/* soft_queue.c */
int soft_queue_create(struct accel_dev *dev, uint32_t npu, const struct accel_queue_qos *qos,
		      struct accel_queue **queue);
void soft_queue_destroy(struct accel_queue *queue);
int soft_queue_submit(struct accel_queue *queue, const struct accel_submit *submit,
		      const struct accel_submit_qos *qos, uint64_t *seqno,
		      struct accel_admission *admission);
int soft_queue_wait(struct accel_queue *queue, uint64_t seqno, int64_t deadline_ns,
		    struct accel_result *result);
int soft_copy(struct accel_buffer *dst, uint64_t dst_offset, struct accel_buffer *src,
	      uint64_t src_offset, uint64_t size, uint32_t flags);

/* soft_job.c */
int soft_job_build(struct soft_queue *queue, const struct accel_submit *submit,
		   struct soft_job **job);
void soft_job_drop_buffers(struct soft_job *job);
void soft_job_free(struct soft_job *job);

/* soft_timeline.c */
int soft_timeline_create(struct accel_dev *dev, struct accel_timeline **timeline);
void soft_timeline_close(struct accel_timeline *timeline);
int soft_timeline_export(struct accel_timeline *timeline, int *fd);
int soft_timeline_import(struct accel_dev *dev, int fd, struct accel_timeline **timeline);
int soft_timeline_signal(struct accel_timeline *timeline, uint64_t value);
int soft_timeline_wait(struct accel_timeline *timeline, uint64_t value, int64_t deadline_ns);
int soft_timeline_query(struct accel_timeline *timeline, uint64_t *value);
void soft_timeline_get(struct soft_timeline *timeline);
void soft_timeline_put(struct soft_timeline *timeline);
uint64_t soft_timeline_submitted(const struct soft_timeline *timeline);
uint64_t soft_timeline_reached(const struct soft_timeline *timeline);
void soft_timeline_reap(struct soft_timeline *timeline);
int soft_timeline_claim(struct soft_timeline *timeline, uint32_t *slot);
void soft_timeline_publish(struct soft_timeline *timeline, uint32_t slot, uint64_t point);
void soft_timeline_end(struct soft_timeline *timeline, uint32_t slot);
_Atomic uint32_t *soft_timeline_events(const struct soft_timeline *timeline);

#endif
