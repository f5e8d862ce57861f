// SPDX-License-Identifier: MIT
/*
 * The arbiter's lock, and its tables of engines: taking part, being woken, and
 * going on without those who died.
 *
 * A process may be killed anywhere. Holding the lock, it leaves the ports in
 * disorder: they are built again from what the tables say. Not holding it, it
 * leaves a window in flight that nobody ends: who waits for its room looks.
 */
#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "clock.h"
#include "soft.h"

static struct soft_visitor *wrap(struct qos_visitor *visitor)
{
	return (struct soft_visitor *)((char *)visitor - offsetof(struct soft_visitor, visitor));
}

static void wake(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* Remembers the last answer: tables list one owner's entries together. */
static bool owner_alive(struct soft_dev *dev, uint64_t owner, uint64_t *last, bool *alive)
{
	if (owner != *last) {
		*last = owner;
		*alive = owner && soft_alive(dev, owner);
	}
	return *alive;
}

static void rebuild_ports(struct soft_turn *turn)
{
	struct soft_qos *qos = &turn->dev->control->qos;

	for (uint32_t i = 0; i < SOFT_PORTS; i++) {
		/* Those that were ever made, for all that may be linked to them. */
		if (!qos->ports[i].bandwidth)
			continue;
		qos_port_reset(&qos->ports[i]);
		qos_port_tune(&qos->ports[i], atomic_load(&qos->slack), atomic_load(&qos->policy));
	}
}

static void rebuild_reservation(struct soft_turn *turn, const struct soft_reservation *reservation)
{
	const struct soft_control *control = turn->dev->control;

	for (uint32_t i = 0; i < SOFT_PORTS; i++)
		if (soft_reserved_at(reservation, i) &&
		    atomic_load(&control->npus[i / 2].state) != SOFT_NPU_FREE)
			qos_reserve_restore(&turn->ports, i, reservation->rate,
					    reservation->burst);
}

static void rebuild_promises(struct soft_turn *turn, uint64_t *last, bool *alive)
{
	struct soft_qos *qos = &turn->dev->control->qos;

	qos->free_promise = 0;
	for (uint32_t i = 0; i < qos->promises_high; i++) {
		struct soft_promise *promise = &qos->promises[i];

		if (owner_alive(turn->dev, promise->owner, last, alive)) {
			for (uint32_t k = 0; k < promise->count; k++)
				qos_demand_restore(&turn->ports, &promise->demands[k],
						   promise->deadline);
			continue;
		}
		promise->owner = 0;
		promise->next_free = qos->free_promise;
		qos->free_promise = i + 1;
	}
}

/* Rates first: they say how much room there is for promises. */
static void rebuild(struct soft_turn *turn)
{
	struct soft_qos *qos = &turn->dev->control->qos;
	uint64_t last = 0;
	bool alive = false;

	rebuild_ports(turn);
	for (uint32_t i = 0; i < qos->reservations_high; i++) {
		if (owner_alive(turn->dev, qos->reservations[i].owner, &last, &alive))
			rebuild_reservation(turn, &qos->reservations[i]);
		else
			qos->reservations[i].owner = 0;
	}
	rebuild_promises(turn, &last, &alive);
	for (uint32_t i = 0; i < qos->visitors_high; i++) {
		if (owner_alive(turn->dev, qos->visitors[i].owner, &last, &alive))
			qos_visitor_restore(&turn->ports, &qos->visitors[i].visitor);
		else
			qos->visitors[i].owner = 0;
	}
}

/* For an engine, which is awake and knows the time: the clock is not cheap everywhere. */
void soft_qos_lock_at(struct soft_dev *dev, struct soft_turn *turn, struct soft_visitor *own,
		      uint64_t now)
{
	struct soft_qos *qos = &dev->control->qos;

	turn->dev = dev;
	turn->own = own;
	turn->now = now;
	turn->ports = (struct qos_ports){ .port = qos->ports, .count = SOFT_PORTS };
	turn->count = 0;
	if (pthread_mutex_lock(&qos->lock) == EOWNERDEAD) {
		rebuild(turn);
		pthread_mutex_consistent(&qos->lock);
	}
}

void soft_qos_lock(struct soft_dev *dev, struct soft_turn *turn)
{
	soft_qos_lock_at(dev, turn, NULL, clock_now());
}

void soft_qos_settle(struct soft_turn *turn)
{
	struct qos_visitor *granted;

	while ((granted = qos_settle(&turn->ports))) {
		struct soft_visitor *visitor = wrap(granted);

		visitor->granted_at = turn->now;
		atomic_fetch_add(&visitor->wake, 1);
		if (visitor == turn->own)
			continue;
		if (turn->count == SOFT_WAKES)
			wake(turn->wake[--turn->count]);
		turn->wake[turn->count++] = &visitor->wake;
	}
}

void soft_qos_unlock(struct soft_turn *turn)
{
	soft_qos_settle(turn);
	pthread_mutex_unlock(&turn->dev->control->qos.lock);
	while (turn->count)
		wake(turn->wake[--turn->count]);
}

/* Withdraws its asks and gives back what it has in flight. */
static void stop_visitor(struct soft_turn *turn, struct soft_visitor *visitor)
{
	qos_withdraw(&turn->ports, &visitor->visitor);
	qos_done(&turn->ports, &visitor->visitor, NULL, 0, turn->now);
}

/* Gives up all that a client had, which is gone. */
void soft_qos_drop(struct soft_dev *dev, uint64_t client)
{
	struct soft_qos *qos = &dev->control->qos;
	struct soft_turn turn;

	if (!client)
		return;
	soft_qos_lock(dev, &turn);
	for (uint32_t i = 0; i < qos->visitors_high; i++) {
		if (qos->visitors[i].owner != client)
			continue;
		stop_visitor(&turn, &qos->visitors[i]);
		qos->visitors[i].owner = 0;
	}
	for (uint32_t i = 0; i < qos->promises_high; i++)
		if (qos->promises[i].owner == client)
			soft_promise_drop(&turn, &qos->promises[i]);
	for (uint32_t i = 0; i < qos->reservations_high; i++)
		if (qos->reservations[i].owner == client)
			soft_reservation_drop(&turn, &qos->reservations[i]);
	soft_qos_unlock(&turn);
}

/*
 * Takes room back from engines whose process died, or has been stopped in a
 * window: it goes on with that one when it can, and without room.
 */
void soft_qos_reap(struct soft_dev *dev)
{
	struct soft_qos *qos = &dev->control->qos;
	struct soft_turn turn;
	uint64_t last = 0;
	bool alive = false;

	soft_qos_lock(dev, &turn);
	for (uint32_t i = 0; i < qos->visitors_high; i++) {
		struct soft_visitor *visitor = &qos->visitors[i];
		bool granted = qos_granted(&visitor->visitor);

		if (!visitor->owner || (!granted && !visitor->visitor.count))
			continue;
		if (!owner_alive(dev, visitor->owner, &last, &alive)) {
			stop_visitor(&turn, visitor);
			visitor->owner = 0;
		} else if (granted && (int64_t)(turn.now - visitor->granted_at) > SOFT_STALL_NS) {
			stop_visitor(&turn, visitor);
		}
	}
	soft_qos_unlock(&turn);
}

static struct soft_visitor *find_free(struct soft_dev *dev)
{
	struct soft_qos *qos = &dev->control->qos;
	struct soft_visitor *found = NULL;
	struct soft_turn turn;

	soft_qos_lock(dev, &turn);
	for (uint32_t i = 0; !found && i < qos->visitors_high; i++)
		if (!qos->visitors[i].owner)
			found = &qos->visitors[i];
	if (!found && qos->visitors_high < SOFT_VISITORS)
		found = &qos->visitors[qos->visitors_high++];
	if (found) {
		memset(&found->visitor, 0, sizeof(found->visitor));
		found->owner = dev->base.client;
	}
	soft_qos_unlock(&turn);
	return found;
}

/* NULL if there are too many engines in the pool. */
struct soft_visitor *soft_visitor_get(struct soft_dev *dev)
{
	struct soft_visitor *found = find_free(dev);

	if (found)
		return found;
	soft_lock(dev);
	soft_reap(dev);
	soft_unlock(dev);
	return find_free(dev);
}

void soft_visitor_put(struct soft_dev *dev, struct soft_visitor *visitor)
{
	struct soft_turn turn;

	soft_qos_lock(dev, &turn);
	stop_visitor(&turn, visitor);
	visitor->owner = 0;
	soft_qos_unlock(&turn);
}

static void init_ports(struct soft_control *control, uint32_t slot)
{
	struct soft_qos *qos = &control->qos;

	for (uint32_t i = 2 * slot; i < 2 * slot + 2; i++) {
		uint64_t clock = qos->ports[i].clock;

		qos_port_init(&qos->ports[i], control->npus[slot].bandwidth,
			      atomic_load(&qos->slack), atomic_load(&qos->policy));
		/* Clients may still have a place in the time of who had the slot before. */
		qos->ports[i].clock = clock;
	}
}

/*
 * A new member: its ports, and the reservations that hold wherever they can. One
 * that does not fit here does not hold here. Control lock held.
 */
void soft_qos_join(struct soft_dev *dev, uint32_t slot)
{
	struct soft_qos *qos = &dev->control->qos;
	struct soft_turn turn;

	soft_qos_lock(dev, &turn);
	init_ports(dev->control, slot);
	memset(&qos->classes[slot], 0, sizeof(qos->classes[slot]));
	for (uint32_t i = 0; i < qos->reservations_high; i++)
		if (qos->reservations[i].owner)
			soft_reservation_join(&turn, &qos->reservations[i], slot);
	soft_qos_unlock(&turn);
}

/* Of a pool that nobody else sees yet. */
void soft_qos_init(struct soft_control *control, uint32_t npus)
{
	atomic_store(&control->qos.policy, QOS_HYBRID);
	atomic_store(&control->qos.slack, QOS_SLACK);
	for (uint32_t slot = 0; slot < npus; slot++)
		init_ports(control, slot);
}
