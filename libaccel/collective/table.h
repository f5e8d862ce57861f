/* SPDX-License-Identifier: MIT */
/* Which rank hosts which expert, and whose turn it is among an expert's replicas. */
#ifndef EP_TABLE_H
#define EP_TABLE_H

#include "internal.h"

struct ep_table {
	uint64_t version;
	uint32_t *first;		/* [experts + shared + 1] */
	uint32_t *turn;			/* [experts + shared], replica to begin to look at */
	struct accel_ep_place *places;
};

/*
 * The replica for one more choice of @expert; @load: rows that each rank got of this
 * call. False where nobody that is alive hosts it.
 */
bool ep_table_choose(const struct accel_ep *ep, uint32_t expert, const uint32_t *load,
		     struct accel_ep_place *place);

#endif
