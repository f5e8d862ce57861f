/* SPDX-License-Identifier: MIT */
/*
 * How processes of a group find each other, without a file. Each has a door, the
 * abstract name npool-ep/UID/POOL/GROUP/RANK of its lowest rank, which is gone with
 * it. Who knocks asks one thing and gets a descriptor, or nothing.
 */
#ifndef EP_DOOR_H
#define EP_DOOR_H

#include "group.h"

enum ep_ask {
	EP_ASK_BOARD = 1,
	EP_ASK_BUFFER = 2,
};

struct ep_question {
	uint32_t ask;		/* enum ep_ask */
	uint32_t rank;		/* whose buffer */
	uint32_t life;		/* of that rank */
};

/* How long one side may keep the other waiting. */
#define EP_PATIENCE_US	100000
#define EP_RETRY_US	1000

#endif
