// SPDX-License-Identifier: MIT
/*
 * Waiting for other ranks: look some times, then sleep until the bell rings.
 *
 * Who stores a flag rings, and wakes the sleeper when as many rings came as it
 * waits for. No bell is trusted: a sleeper wakes by itself after a moment, so one
 * that is never rung, its ringer dead between flag and bell, costs that moment.
 */
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "group.h"

/* Looks before sleep. All but the first let others run: they may be what is waited for. */
#define LOOKS_ALONE	1000	/* where each rank has a CPU of its own */
#define LOOKS_AMONG	50	/* else, where there are not too many more */
#define LOOKS_FIRST	20
#define CROWDED		8	/* ranks for each CPU that are too many */
/* Naps grow with the ranks, so that those who only look cost the others little. */
#define NAP_NS		NSEC_PER_MSEC
#define NAP_RANKS	32
/* A nap that ended late, by a part of it, doubles the next ones; so many in time halve them. */
#define NAP_LATE	4
#define NAP_IN_TIME	16
#define NAP_DOUBLED	7	/* times, at most */
#define ASK_NS		NSEC_PER_MSEC
#define ASK_RANKS	8	/* at a time */

struct accel_dev *ep_dev(const struct accel_ep *ep)
{
	return ep->group->dev;
}

static long futex(uint32_t *word, int op, uint32_t value, const struct timespec *timeout)
{
	return syscall(SYS_futex, word, op, value, timeout, NULL, 0);
}

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#endif
}

static struct ep_seat *own_seat(const struct accel_ep *ep)
{
	return &ep->group->board->seats[ep->rank];
}

static void wake(struct ep_seat *seat)
{
	if (!__atomic_exchange_n(&seat->sleeping, 0, __ATOMIC_SEQ_CST))
		return;
	__atomic_add_fetch(&seat->gate, 1, __ATOMIC_SEQ_CST);
	futex(&seat->gate, FUTEX_WAKE, 1, NULL);
}

/* Also who has slept all along hears this. */
static void ring_loud(struct ep_seat *seat)
{
	__atomic_add_fetch(&seat->rings, 1, __ATOMIC_SEQ_CST);
	wake(seat);
}

void ep_wake_all(const struct accel_ep_group *group)
{
	for (uint32_t rank = 0; rank < group->shape.config.ranks; rank++)
		ring_loud(&group->board->seats[rank]);
}

void ep_ring(struct accel_ep *ep, uint32_t rank)
{
	struct ep_seat *seat = &ep->group->board->seats[rank];
	uint32_t rings = __atomic_add_fetch(&seat->rings, 1, __ATOMIC_SEQ_CST);

	if (__atomic_load_n(&seat->sleeping, __ATOMIC_SEQ_CST) &&
	    (int32_t)(rings - __atomic_load_n(&seat->wake_at, __ATOMIC_SEQ_CST)) >= 0)
		wake(seat);
}

void ep_revoke(const struct accel_ep_group *group, uint64_t epoch)
{
	ep_board_revoke(group->board, epoch);
	ep_wake_all(group);
}

bool ep_revoked(const struct accel_ep *ep)
{
	return ep_ld(&ep->group->board->revoked) >= ep->epoch;
}

/* Members of which somebody noticed that they are gone. */
static int gone(struct accel_ep *ep)
{
	ep->absent = (struct ep_set){ 0 };
	for (uint32_t rank = 0; rank < ep->shape->config.ranks; rank++)
		if (ep_set_has(&ep->alive, rank) &&
		    !ep_board_lives(ep->group->board, rank, ep_member(ep)->lives.life[rank]))
			ep_set_add(&ep->absent, rank);
	return -EOWNERDEAD;
}

int ep_whole(struct accel_ep *ep)
{
	return ep_member(ep)->whole && !ep_revoked(ep) ? 0 : gone(ep);
}

bool ep_wait_ask(struct ep_member *member, const struct ep_set *missing)
{
	const struct accel_ep_group *group = member->ep.group;
	uint32_t ranks = group->shape.config.ranks, asked = 0;
	bool died = false;

	for (uint32_t i = 0; i < ranks && asked < ASK_RANKS; i++) {
		member->asked = (member->asked + 1) % ranks;
		if (!ep_set_has(missing, member->asked) ||
		    !ep_ld(&group->board->seats[member->asked].life))
			continue;
		died |= !ep_board_ask(group->board, group->dev, member->asked);
		asked++;
	}
	return died;
}

/* Where one is gone others may be, of its process or of its node: they are named together. */
static bool some_gone(struct accel_ep *ep, const struct ep_set *missing)
{
	const struct accel_ep_group *group = ep->group;

	ep_wait_ask(ep_member(ep), missing);
	gone(ep);
	if (ep_set_empty(&ep->absent))
		return false;
	for (uint32_t rank = 0; rank < group->shape.config.ranks; rank++)
		ep_board_ask(group->board, group->dev, rank);
	ep_revoke(group, ep->epoch);
	return true;
}

uint32_t ep_wait_spins(uint32_t ranks)
{
	cpu_set_t cpus;
	uint32_t count = 1;

	if (!sched_getaffinity(0, sizeof(cpus), &cpus))
		count = CPU_COUNT(&cpus);
	if (ranks <= count)
		return LOOKS_ALONE;
	return ranks <= CROWDED * count ? LOOKS_AMONG : 0;
}

void ep_wait_begin(struct accel_ep *ep, struct ep_wait *wait, int64_t timeout_ns)
{
	*wait = (struct ep_wait) {
		.deadline = clock_deadline(timeout_ns),
	};
	ep_wait_look(ep, wait);
}

void ep_wait_look(struct accel_ep *ep, struct ep_wait *wait)
{
	wait->rings = __atomic_load_n(&own_seat(ep)->rings, __ATOMIC_SEQ_CST);
}

static void account(struct accel_ep *ep, struct ep_wait *wait)
{
	if (wait->since)
		ep->stats.wait_ns += clock_now() - wait->since;
	wait->since = 0;
	wait->spins = 0;
}

void ep_wait_found(struct accel_ep *ep, struct ep_wait *wait)
{
	account(ep, wait);
}

/*
 * Until @at rings came. The gate is read before they are counted: who comes after opens it.
 * True if it slept till it woke by itself.
 */
static bool sleep_until(struct accel_ep *ep, uint32_t at, int64_t nap_ns)
{
	struct ep_seat *seat = own_seat(ep);
	struct timespec nap = clock_timespec(nap_ns);
	uint32_t gate = __atomic_load_n(&seat->gate, __ATOMIC_SEQ_CST);
	bool by_itself = false;

	__atomic_store_n(&seat->wake_at, at, __ATOMIC_SEQ_CST);
	__atomic_store_n(&seat->sleeping, 1, __ATOMIC_SEQ_CST);
	if ((int32_t)(__atomic_load_n(&seat->rings, __ATOMIC_SEQ_CST) - at) < 0)
		by_itself = futex(&seat->gate, FUTEX_WAIT, gate, &nap) && errno == ETIMEDOUT;
	__atomic_store_n(&seat->sleeping, 0, __ATOMIC_SEQ_CST);
	return by_itself;
}

int ep_wait_nap(struct accel_ep *ep, struct ep_wait *wait, const struct ep_set *missing,
		uint32_t rings)
{
	struct ep_member *member = ep_member(ep);
	int64_t nap_ns = NAP_NS * (1 + ep->shape->config.ranks / NAP_RANKS) <<
			 member->tired / NAP_IN_TIME;
	int64_t now = clock_now();

	if (now >= wait->deadline) {
		ep->absent = *missing;
		account(ep, wait);
		return -ETIMEDOUT;
	}
	if (nap_ns > wait->deadline - now)
		nap_ns = wait->deadline - now;
	if (!sleep_until(ep, wait->rings + rings, nap_ns))
		return 0;
	/* Late: the CPUs are busy, maybe with others who only look whether somebody died. */
	if (clock_now() - now > nap_ns + nap_ns / NAP_LATE)
		member->tired += NAP_IN_TIME;
	else if (member->tired)
		member->tired--;
	if (member->tired > NAP_IN_TIME * NAP_DOUBLED)
		member->tired = NAP_IN_TIME * NAP_DOUBLED;
	return 0;
}

int ep_wait_more(struct accel_ep *ep, struct ep_wait *wait, const struct ep_set *missing,
		 uint32_t rings)
{
	int64_t now;

	if (ep_revoked(ep)) {
		account(ep, wait);
		return gone(ep);
	}
	if (!wait->since)
		wait->since = wait->asked = clock_now();
	if (wait->spins < ep->group->spins && wait->deadline) {
		if (wait->spins++ < LOOKS_FIRST)
			relax();
		else
			sched_yield();
		return 0;
	}
	now = clock_now();
	if (now - wait->asked >= ASK_NS) {
		wait->asked = now;
		if (some_gone(ep, missing)) {
			account(ep, wait);
			return gone(ep);
		}
	}
	return ep_wait_nap(ep, wait, missing, rings);
}
