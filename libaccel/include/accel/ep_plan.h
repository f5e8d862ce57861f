/* SPDX-License-Identifier: MIT */
/*
 * Where to host experts, from the load that each had: who gets replicas, and
 * which rank takes each. What comes out is what accel_ep_set_table() takes.
 *
 * Pure: the answer depends on the arguments alone, in integers, in the caller's
 * memory (and 64 KiB of stack); any thread may ask at any time.
 *
 * A replica is counted with an equal share of its expert's load.
 */
#ifndef ACCEL_EP_PLAN_H
#define ACCEL_EP_PLAN_H

#include <accel/ep.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/** struct accel_ep_plan_config - who has to host what */
struct accel_ep_plan_config {
	uint32_t experts;	/* routed and shared, 1 to ACCEL_EP_MAX_EXPERTS */
	uint32_t ranks;		/* 1 to ACCEL_EP_MAX_RANKS */
	uint32_t slots;		/* of a rank, 1 to ACCEL_EP_MAX_SLOTS */
	uint32_t places;	/* most replicas of all experts together */
	uint32_t node_ranks;	/* two levels: ranks of a node, divides ranks; 0: one level */
	uint32_t groups;	/* of experts that stay on one node, divides experts; 0: each alone */
	const uint8_t *alive;	/* [ranks], as accel_ep_shrink() tells; NULL: all are */
	/* The table until now: replicas stay where that keeps balance; NULL: none. */
	const uint32_t *first;
	const struct accel_ep_place *before;
	uint32_t slack;		/* that much more on the busiest rank is no loss, in 1/1024 */
};

/**
 * accel_ep_plan() - place experts
 * @loads: [config.experts], such as accel_ep_stats() counts, summed over ranks
 * @first: out, [experts + 1]
 * @places: out, room for config.places
 *
 * The next replica goes to the expert with most load a replica, while it has fewer than
 * there are ranks to take them; then replicas go, those of most load first, to the rank
 * with least that has a slot left. No two of an expert are on one rank, and no two in
 * one slot.
 *
 * With two levels, groups of experts are first spread over the nodes in the same way, each
 * node taking equally many, and their replicas stay within the node. So it is where the
 * nodes that have living ranks have equally many, and divide the groups; else it is one.
 *
 * -EINVAL for what cannot be, -ENOSPC for fewer places or slots than experts; the outputs
 * are then not written.
 */
int accel_ep_plan(const struct accel_ep_plan_config *config, const uint64_t *loads,
		  uint32_t *first, struct accel_ep_place *places);

/**
 * accel_ep_plan_balance() - load of the busiest living rank, against the mean of them
 * @first: a table, as accel_ep_plan() makes
 * @balance: out, in 1/1024 and rounded up: 1024 is perfect
 *
 * Of @config only experts, ranks, slots and alive count. What dead ranks host is of no
 * use: others of the expert take it, or it is dropped. -EINVAL for a table that cannot be.
 */
int accel_ep_plan_balance(const struct accel_ep_plan_config *config, const uint64_t *loads,
			  const uint32_t *first, const struct accel_ep_place *places,
			  uint32_t *balance);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif
#endif
