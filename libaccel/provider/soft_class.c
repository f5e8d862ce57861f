// SPDX-License-Identifier: MIT
/*
 * What the arbiter tells and is told: policies, ports, and how the classes fare.
 */
#include <errno.h>

#include "clock.h"
#include "soft_queue.h"

_Static_assert(QOS_BUCKETS == ACCEL_TIME_BUCKETS, "histograms differ");

struct soft_class *soft_class_of(const struct soft_engine *engine, const struct soft_job *job)
{
	return &engine->dev->control->qos.classes[engine->slot][job->class_id];
}

static void count_time(_Atomic uint64_t *buckets, int64_t ns)
{
	atomic_fetch_add(&buckets[qos_bucket(ns > 0 ? ns : 0)], 1);
}

/* A window of it is about to be moved. */
void soft_job_started(struct soft_engine *engine, struct soft_job *job, int64_t now)
{
	if (job->started)
		return;
	/* It was submitted after the engine had looked at the clock. */
	if (now < job->ready_at)
		now = job->ready_at;
	job->started = true;
	job->started_at = now;
	atomic_fetch_add(&engine->npu->counters.queue_ns, now - job->ready_at);
	count_time(soft_class_of(engine, job)->queue_ns, now - job->ready_at);
}

void soft_job_ended(struct soft_engine *engine, struct soft_job *job)
{
	struct soft_class *class = soft_class_of(engine, job);
	int64_t now = clock_now();

	atomic_fetch_add(&class->jobs, 1);
	if (job->deadline && (uint64_t)now > job->deadline)
		atomic_fetch_add(&class->missed, 1);
	if (job->started)
		count_time(class->service_ns, now - job->started_at);
}

int soft_qos_info(struct accel_dev *base, struct accel_qos_info *info)
{
	struct soft_dev *dev = (struct soft_dev *)base;
	const struct soft_qos *qos = &dev->control->qos;
	struct soft_turn turn;

	*info = (struct accel_qos_info) {
		.policy = atomic_load(&qos->policy),
		.slack_ns = atomic_load(&qos->slack),
	};
	soft_lock(dev);
	info->granted = dev->control->clients[dev->slot].granted;
	soft_qos_lock(dev, &turn);
	for (uint32_t i = 0; i < qos->reservations_high; i++)
		if (qos->reservations[i].owner == base->client)
			info->reserved += qos->reservations[i].rate;
	soft_qos_unlock(&turn);
	soft_unlock(dev);
	return 0;
}

/* Under the control lock, so that a port that is being made gets what is new or is changed. */
static void tune(struct soft_dev *dev, uint32_t policy, uint64_t slack)
{
	struct soft_control *control = dev->control;
	struct soft_turn turn;

	soft_qos_lock(dev, &turn);
	atomic_store(&control->qos.policy, policy);
	atomic_store(&control->qos.slack, slack);
	for (uint32_t i = 0; i < SOFT_PORTS; i++)
		if (atomic_load(&control->npus[i / 2].state) != SOFT_NPU_FREE)
			qos_port_tune(&control->qos.ports[i], slack, policy);
	soft_qos_unlock(&turn);
}

int soft_qos_set_policy(struct accel_dev *base, uint32_t policy)
{
	struct soft_dev *dev = (struct soft_dev *)base;

	soft_lock(dev);
	tune(dev, policy, atomic_load(&dev->control->qos.slack));
	soft_unlock(dev);
	return 0;
}

int soft_qos_set_slack(struct accel_dev *base, uint64_t slack_ns)
{
	struct soft_dev *dev = (struct soft_dev *)base;

	soft_lock(dev);
	tune(dev, atomic_load(&dev->control->qos.policy), slack_ns);
	soft_unlock(dev);
	return 0;
}

int soft_qos_grant(struct accel_dev *base, uint64_t id, uint64_t rate)
{
	struct soft_dev *dev = (struct soft_dev *)base;
	int err = -ENOENT;

	soft_lock(dev);
	soft_reap(dev);
	for (uint32_t i = 0; i < SOFT_CLIENTS; i++) {
		struct soft_client *client = &dev->control->clients[i];

		if (atomic_load(&client->id) != id)
			continue;
		client->granted = rate;
		err = 0;
	}
	soft_unlock(dev);
	return err;
}

static void fill_port(const struct qos_port *port, struct accel_port_info *info)
{
	info->bandwidth = port->bandwidth;
	info->overhead_ns = port->overhead;
	info->window = port->window;
	info->inflight = port->inflight;
	info->reserved = port->reserved;
	info->promised = port->promised;
	info->moved = port->moved;
}

int soft_ports(struct accel_dev *base, struct accel_port_info *ports, uint32_t *count)
{
	struct soft_dev *dev = (struct soft_dev *)base;
	const struct soft_control *control = dev->control;
	const struct soft_npu *sorted[SOFT_NPUS];
	struct soft_turn turn;
	uint32_t found;

	soft_settle(dev);
	soft_lock(dev);
	found = soft_members(control, sorted);
	soft_qos_lock(dev, &turn);
	for (uint32_t i = 0; ports && i < 2 * found && i < *count; i++) {
		uint32_t slot = sorted[i / 2] - control->npus;

		ports[i] = (struct accel_port_info){ .npu = sorted[i / 2]->id, .side = i % 2 };
		fill_port(&control->qos.ports[2 * slot + i % 2], &ports[i]);
	}
	soft_qos_unlock(&turn);
	soft_unlock(dev);
	*count = 2 * found;
	return 0;
}

static void fill_class(struct soft_class *class, struct accel_class_stats *stats)
{
	stats->jobs = atomic_load(&class->jobs);
	stats->bytes = atomic_load(&class->bytes);
	stats->windows = atomic_load(&class->windows);
	stats->missed = atomic_load(&class->missed);
	stats->demoted = atomic_load(&class->demoted);
	stats->refused = atomic_load(&class->refused);
	for (uint32_t i = 0; i < QOS_BUCKETS; i++) {
		stats->queue_ns[i] = atomic_load(&class->queue_ns[i]);
		stats->service_ns[i] = atomic_load(&class->service_ns[i]);
	}
}

int soft_class_stats(struct accel_dev *base, struct accel_class_stats *stats, uint32_t *count)
{
	struct soft_dev *dev = (struct soft_dev *)base;
	struct soft_control *control = dev->control;
	const struct soft_npu *sorted[SOFT_NPUS];
	uint32_t found;

	soft_lock(dev);
	found = soft_members(control, sorted) * ACCEL_CLASSES;
	for (uint32_t i = 0; stats && i < found && i < *count; i++) {
		const struct soft_npu *npu = sorted[i / ACCEL_CLASSES];
		uint32_t class = i % ACCEL_CLASSES;

		stats[i].npu = npu->id;
		stats[i].class_id = class;
		fill_class(&control->qos.classes[npu - control->npus][class], &stats[i]);
	}
	soft_unlock(dev);
	*count = found;
	return 0;
}
