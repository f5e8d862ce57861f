// SPDX-License-Identifier: MIT
/*
 * What is promised at the ports: rates to queues, bytes to transfers with a
 * deadline. Both lie in tables of the control page under the arbiter's lock, with
 * their owner, so that they go with it.
 */
#include <errno.h>
#include <string.h>

#include "soft_queue.h"

#define ALL_PORTS UINT32_MAX

bool soft_reserved_at(const struct soft_reservation *reservation, uint32_t port)
{
	return atomic_load_explicit(&reservation->held[port / 64], memory_order_relaxed) >>
	       port % 64 & 1;
}

static void set_held(struct soft_reservation *reservation, uint32_t port, bool held)
{
	uint64_t bit = 1ull << port % 64;

	if (held)
		atomic_fetch_or(&reservation->held[port / 64], bit);
	else
		atomic_fetch_and(&reservation->held[port / 64], ~bit);
}

static uint32_t reserve_at(struct soft_turn *turn, struct soft_reservation *reservation,
			   uint32_t port)
{
	uint32_t reason = qos_reserve(&turn->ports, port, reservation->rate, reservation->burst,
				      turn->now);

	if (!reason)
		set_held(reservation, port, true);
	return reason;
}

void soft_reservation_drop(struct soft_turn *turn, struct soft_reservation *reservation)
{
	for (uint32_t i = 0; i < SOFT_PORTS; i++)
		if (soft_reserved_at(reservation, i)) {
			qos_unreserve(&turn->ports, i, reservation->rate, reservation->burst,
				      turn->now);
			set_held(reservation, i, false);
		}
	reservation->owner = 0;
}

/* What was held at the slot was held at a member that is gone. */
void soft_reservation_join(struct soft_turn *turn, struct soft_reservation *reservation,
			   uint32_t slot)
{
	set_held(reservation, 2 * slot, false);
	set_held(reservation, 2 * slot + 1, false);
	if (reservation->src == ACCEL_NPU_ANY)
		reserve_at(turn, reservation, 2 * slot);
	if (reservation->dst == ACCEL_NPU_ANY)
		reserve_at(turn, reservation, 2 * slot + 1);
}

/* The NPU's slot, ALL_PORTS for any. Control lock held. */
static int resolve(struct soft_dev *dev, uint32_t id, uint32_t *slot)
{
	struct soft_npu *npu;
	int err;

	*slot = ALL_PORTS;
	if (id == ACCEL_NPU_ANY)
		return 0;
	err = soft_npu_online(dev, id, &npu);
	if (!err)
		*slot = npu - dev->control->npus;
	return err;
}

static struct soft_reservation *free_reservation(struct soft_qos *qos)
{
	for (uint32_t i = 0; i < qos->reservations_high; i++)
		if (!qos->reservations[i].owner)
			return &qos->reservations[i];
	if (qos->reservations_high == SOFT_RESERVATIONS)
		return NULL;
	return &qos->reservations[qos->reservations_high++];
}

/* Control lock held. */
static int reserve_all(struct soft_turn *turn, struct soft_reservation *reservation,
		       uint32_t src, uint32_t dst)
{
	const struct soft_control *control = turn->dev->control;

	for (uint32_t i = 0; i < SOFT_PORTS; i++) {
		uint32_t wanted = i % 2 ? dst : src;

		if (atomic_load(&control->npus[i / 2].state) != SOFT_NPU_ONLINE ||
		    (wanted != ALL_PORTS && wanted != i / 2))
			continue;
		if (reserve_at(turn, reservation, i))
			return -EBUSY;
	}
	return 0;
}

static int reserve(struct soft_dev *dev, const struct accel_queue_qos *qos,
		   struct soft_reservation **reservation)
{
	struct qos_params params = { .budget = qos->budget, .period = qos->period_ns };
	struct soft_reservation *new;
	struct soft_turn turn;
	uint32_t src, dst;
	int err;

	err = resolve(dev, qos->src, &src);
	if (!err)
		err = resolve(dev, qos->dst, &dst);
	if (err)
		return err;
	soft_qos_lock(dev, &turn);
	new = free_reservation(&dev->control->qos);
	err = -EMFILE;
	if (new) {
		new->src = qos->src;
		new->dst = qos->dst;
		new->rate = qos_rate(&params);
		new->burst = qos->budget;
		for (uint32_t i = 0; i < SOFT_PORTS / 64; i++)
			atomic_store(&new->held[i], 0);
		new->owner = dev->base.client;
		err = reserve_all(&turn, new, src, dst);
		if (err)
			soft_reservation_drop(&turn, new);
	}
	soft_qos_unlock(&turn);
	if (!err)
		*reservation = new;
	return err;
}

/* What the dead have reserved is there to be had. */
int soft_reserve(struct soft_dev *dev, const struct accel_queue_qos *qos,
		 struct soft_reservation **reservation)
{
	int err;

	soft_lock(dev);
	err = reserve(dev, qos, reservation);
	if (err == -EBUSY || err == -EMFILE) {
		soft_reap(dev);
		err = reserve(dev, qos, reservation);
	}
	soft_unlock(dev);
	return err;
}

void soft_unreserve(struct soft_dev *dev, struct soft_reservation *reservation)
{
	struct soft_turn turn;

	soft_qos_lock(dev, &turn);
	soft_reservation_drop(&turn, reservation);
	soft_qos_unlock(&turn);
}

static struct soft_promise *take_promise(struct soft_qos *qos)
{
	struct soft_promise *promise;

	if (!qos->free_promise)
		return qos->promises_high < SOFT_PROMISES ?
		       &qos->promises[qos->promises_high++] : NULL;
	promise = &qos->promises[qos->free_promise - 1];
	qos->free_promise = promise->next_free;
	return promise;
}

void soft_promise_drop(struct soft_turn *turn, struct soft_promise *promise)
{
	struct soft_qos *qos = &turn->dev->control->qos;

	for (uint32_t i = 0; i < promise->count; i++)
		qos_demand_end(&turn->ports, &promise->demands[i]);
	promise->count = 0;
	promise->owner = 0;
	promise->next_free = qos->free_promise;
	qos->free_promise = promise - qos->promises + 1;
}

/* A transfer's bytes by port; false if it touches too many. */
struct demands {
	uint32_t count;
	struct qos_demand at[SOFT_JOB_PORTS];
};

static bool demand_at(struct demands *demands, uint32_t port, uint64_t bytes)
{
	uint32_t i = 0;

	if (!bytes)
		return true;
	while (i < demands->count && demands->at[i].port != port)
		i++;
	if (i == SOFT_JOB_PORTS)
		return false;
	if (i == demands->count)
		demands->at[demands->count++] = (struct qos_demand){ .port = port };
	demands->at[i].bytes += bytes;
	return true;
}

static bool demand_range(struct demands *demands, const struct soft_buffer *buffer,
			 uint64_t offset, uint64_t size, uint32_t side)
{
	const struct soft_entry *entry = buffer->entry;
	uint64_t first, count;

	if (!entry->stripe)
		return demand_at(demands, soft_port_of(buffer, offset, side), size);
	/* No more NPUs than stripes; and the ones touched follow each other. */
	first = offset / entry->stripe;
	count = (offset + size - 1) / entry->stripe - first + 1;
	for (uint64_t i = 0; i < count && i < entry->npu_count; i++) {
		uint32_t k = (first + i) % entry->npu_count;

		if (!demand_at(demands, 2 * (entry->npus[k] % SOFT_NPUS) + side,
			       soft_npu_part(entry, k, offset + size) -
			       soft_npu_part(entry, k, offset)))
			return false;
	}
	return true;
}

static bool count_demands(struct demands *demands, const struct soft_job *job)
{
	for (uint32_t i = 0; i < job->op_count; i++) {
		const struct soft_op *op = &job->ops[i];

		for (uint32_t s = 0; s < op->seg_count; s++) {
			const struct accel_seg *seg = &op->segs[s];

			if (!demand_range(demands, op->dst, seg->dst_offset, seg->size, 1) ||
			    (op->src &&
			     !demand_range(demands, op->src, seg->src_offset, seg->size, 0)))
				return false;
		}
	}
	return true;
}

static uint32_t admit(struct soft_dev *dev, struct soft_job *job, const struct demands *demands,
		      uint64_t after, uint64_t *earliest)
{
	static const uint64_t none[SOFT_JOB_PORTS];
	struct soft_promise *promise;
	uint32_t reason = QOS_SHARE;
	struct soft_turn turn;
	uint64_t deadline;

	soft_qos_lock(dev, &turn);
	promise = take_promise(&dev->control->qos);
	if (promise) {
		/* Nothing is promised until now: only asked for, to know from when it could be. */
		deadline = job->deadline < after ? turn.now : job->deadline;
		promise->count = demands->count;
		promise->deadline = deadline;
		memcpy(promise->demands, demands->at, sizeof(demands->at));
		promise->owner = dev->base.client;
		reason = qos_admit(&turn.ports, promise->demands, promise->count, none, SOFT_SHARE,
				   deadline, turn.now, earliest);
		if (reason)
			soft_promise_drop(&turn, promise);
		else
			job->promise = promise;
		if (job->deadline < after && job->deadline > turn.now) {
			reason = QOS_ORDER;
			if (*earliest && *earliest < after)
				*earliest = after == UINT64_MAX ? 0 : after;
		}
	}
	soft_qos_unlock(&turn);
	return reason;
}

/*
 * Asks for a job's deadline. @after: that of the job before it in the queue, for
 * a queue runs in order. Engine lock held.
 */
void soft_admit(struct soft_dev *dev, struct soft_job *job, uint64_t after,
		struct accel_admission *admission)
{
	struct demands demands = { .count = 0 };

	if (!count_demands(&demands, job)) {
		admission->reason = QOS_WIDE;
		return;
	}
	admission->reason = admit(dev, job, &demands, after, &admission->earliest_ns);
	if (admission->reason < QOS_FULL_OUT || admission->reason > QOS_SHARE)
		return;
	/* What was promised to the dead is there to be had. */
	soft_lock(dev);
	soft_reap(dev);
	soft_unlock(dev);
	admission->reason = admit(dev, job, &demands, after, &admission->earliest_ns);
}

/* A window between two ports was moved. */
void soft_promise_moved(struct soft_turn *turn, struct soft_promise *promise, const uint32_t *ports,
			uint64_t bytes)
{
	for (uint32_t i = 0; i < promise->count; i++)
		if (promise->demands[i].port == ports[0] || promise->demands[i].port == ports[1])
			qos_demand_moved(&turn->ports, &promise->demands[i], bytes);
}

/* Nothing of it is left to do, or it is given up. */
void soft_promise_end(struct soft_dev *dev, struct soft_job *job)
{
	struct soft_turn turn;

	if (!job->promise)
		return;
	soft_qos_lock(dev, &turn);
	soft_promise_drop(&turn, job->promise);
	soft_qos_unlock(&turn);
	job->promise = NULL;
}
