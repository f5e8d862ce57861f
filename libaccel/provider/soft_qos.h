/* SPDX-License-Identifier: MIT */
/*
 * The arbiter in the control page: the ports of all NPUs, the engines that wait
 * for them, and what is promised there. Each process has its own queues in order;
 * here they meet.
 *
 * All of it is under one robust lock, the innermost. Who gets it after its owner
 * died builds the ports again from the tables of visitors, promises and
 * reservations; what the dead had is left out.
 */
#ifndef LIBACCEL_SOFT_QOS_H
#define LIBACCEL_SOFT_QOS_H

#include <accel/qos.h>
#include <pthread.h>
#include <stdatomic.h>

#include "qos.h"

#define SOFT_NPUS		512
#define SOFT_PORTS		(2 * SOFT_NPUS)
#define SOFT_VISITORS		1024u
#define SOFT_PROMISES		2048u
#define SOFT_RESERVATIONS	4096u
/* Most ports that a transfer with a deadline may touch. */
#define SOFT_JOB_PORTS		16u
/* Parts of 1024 of a port's promises that one client may have: all, it is the administrator. */
#define SOFT_SHARE		1024u
/* Segments that are looked at to see how much goes between the same two ports. */
#define SOFT_WALK		512u
/* Engines that are woken at once without the lock. */
#define SOFT_WAKES		16u
/* A window that takes longer is taken for one of a stopped process. */
#define SOFT_STALL_NS		500000000ll

/* An engine thread's place. Owners are clients' numbers, which are never used twice. */
struct soft_visitor {
	uint64_t owner;			/* 0: free */
	uint64_t granted_at;
	_Atomic uint32_t wake;		/* futex: grows with each grant */
	uint32_t pad;
	struct qos_visitor visitor;
};

struct soft_promise {
	uint64_t owner;			/* 0: free */
	uint64_t deadline;
	uint32_t count;
	uint32_t next_free;		/* 1 + its index */
	struct qos_demand demands[SOFT_JOB_PORTS];
};

struct soft_reservation {
	uint64_t owner;			/* 0: free */
	uint32_t src, dst;		/* ids of NPUs */
	uint64_t rate, burst;
	_Atomic uint64_t held[SOFT_PORTS / 64];	/* a bit per port */
};

struct soft_class {
	_Atomic uint64_t jobs, bytes, windows, missed, demoted, refused;
	_Atomic uint64_t queue_ns[QOS_BUCKETS], service_ns[QOS_BUCKETS];
};

struct soft_qos {
	pthread_mutex_t lock;
	_Atomic uint32_t policy;
	_Atomic uint64_t slack;
	/* Entries at and above were never used. */
	uint32_t visitors_high, promises_high, reservations_high;
	uint32_t free_promise;		/* 1 + its index */
	struct qos_port ports[SOFT_PORTS];
	struct soft_visitor visitors[SOFT_VISITORS];
	struct soft_promise promises[SOFT_PROMISES];
	struct soft_reservation reservations[SOFT_RESERVATIONS];
	struct soft_class classes[SOFT_NPUS][ACCEL_CLASSES];
};

struct soft_control;
struct soft_dev;
struct soft_job;

/* The arbiter while it is locked, and whom to wake when it is not any more. */
struct soft_turn {
	struct soft_dev *dev;
	struct soft_visitor *own;	/* needs no wake */
	struct qos_ports ports;
	uint64_t now;
	uint32_t count;
	_Atomic uint32_t *wake[SOFT_WAKES];
};

/* soft_qos.c */
void soft_qos_init(struct soft_control *control, uint32_t npus);
void soft_qos_lock(struct soft_dev *dev, struct soft_turn *turn);
void soft_qos_lock_at(struct soft_dev *dev, struct soft_turn *turn, struct soft_visitor *own,
		      uint64_t now);
void soft_qos_settle(struct soft_turn *turn);
void soft_qos_unlock(struct soft_turn *turn);
void soft_qos_join(struct soft_dev *dev, uint32_t slot);
void soft_qos_drop(struct soft_dev *dev, uint64_t client);
void soft_qos_reap(struct soft_dev *dev);
struct soft_visitor *soft_visitor_get(struct soft_dev *dev);
void soft_visitor_put(struct soft_dev *dev, struct soft_visitor *visitor);

/* soft_promise.c */
int soft_reserve(struct soft_dev *dev, const struct accel_queue_qos *qos,
		 struct soft_reservation **reservation);
void soft_unreserve(struct soft_dev *dev, struct soft_reservation *reservation);
bool soft_reserved_at(const struct soft_reservation *reservation, uint32_t port);
void soft_reservation_join(struct soft_turn *turn, struct soft_reservation *reservation,
			   uint32_t slot);
void soft_reservation_drop(struct soft_turn *turn, struct soft_reservation *reservation);
void soft_promise_drop(struct soft_turn *turn, struct soft_promise *promise);
void soft_admit(struct soft_dev *dev, struct soft_job *job, uint64_t after,
		struct accel_admission *admission);
void soft_promise_moved(struct soft_turn *turn, struct soft_promise *promise,
			const uint32_t *ports, uint64_t bytes);
void soft_promise_end(struct soft_dev *dev, struct soft_job *job);

/* soft_class.c */
int soft_qos_info(struct accel_dev *dev, struct accel_qos_info *info);
int soft_qos_set_policy(struct accel_dev *dev, uint32_t policy);
int soft_qos_set_slack(struct accel_dev *dev, uint64_t slack_ns);
int soft_qos_grant(struct accel_dev *dev, uint64_t client, uint64_t rate);
int soft_ports(struct accel_dev *dev, struct accel_port_info *ports, uint32_t *count);
int soft_class_stats(struct accel_dev *dev, struct accel_class_stats *stats, uint32_t *count);

#endif
