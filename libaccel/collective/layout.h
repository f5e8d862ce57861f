/* SPDX-License-Identifier: MIT */
/*
 * What the ranks of a group share.
 *
 * Each rank has a buffer on its NPU, the same shape at all: per lane a cursor,
 * a slot for every peer, room for rows, room for what comes back. A word of slot
 * s of rank r's buffer is stored by rank s and nobody else, the cursor by all.
 * Flags carry epoch, generation and round, so none is ever cleared: a flag of
 * another time simply is not the one waited for.
 *
 * Beside it a group has a board, in ordinary shared memory as futexes need it:
 * who is a member, who sleeps. Nothing on it is needed for the data to be right.
 *
 * All of it is read once, then checked: a peer may be broken or hostile.
 */
#ifndef EP_LAYOUT_H
#define EP_LAYOUT_H

#include <accel/ep.h>

#define EP_LINE		64u
#define EP_MAGIC	0x70656c6f6f706eull
#define EP_ABI		1u
#define EP_ALL_K	(ACCEL_EP_MAX_TOP_K + ACCEL_EP_MAX_SHARED)
#define EP_WORDS	(ACCEL_EP_MAX_RANKS / 64)	/* of a set of ranks */

/* One time in the life of a lane: never 0, never the same twice. */
static inline uint64_t ep_flag(uint64_t epoch, uint32_t generation, uint32_t round)
{
	return epoch << 48 | (uint64_t)generation << 16 | (round + 1);
}

/* What rank s tells rank r about a lane; each line is written by stores of s alone. */
struct ep_slot {
	/* Dispatch: what s has for r in this call, whoever brings it. The head is stored last. */
	_Alignas(EP_LINE) uint64_t head;
	uint64_t table;		/* version that s used */
	uint32_t rows;
	uint32_t tokens;	/* of s, for anybody */
	uint32_t joining;	/* as s saw it */
	/* Of a round: @sent rows, s's and what it passes on, lie at @first of r's room. */
	uint32_t first;
	uint32_t sent;
	uint16_t more;		/* rounds of this batch follow */
	uint16_t sorts;		/* their elements come when r has told where */
	uint64_t flag;		/* stored last */
	/* Combine: all rows of this round for r are there. */
	_Alignas(EP_LINE) uint64_t back;
	uint32_t pull;		/* they are among s's outputs, by the bases: r is to read them */
	/* s has taken the rows of this round out: r may send it the next (dispatch). */
	_Alignas(EP_LINE) uint64_t room;
	/* s has added up this round: r may send it the next (combine). */
	uint64_t added;
	/* s has passed on the rows of this batch: r may send it the next (nodes). */
	uint64_t passed;
	/* s needs nothing any more of what this generation's dispatch sent it. */
	uint64_t closed;
	/* From another node: @hopped rows of s's batch lie in its part of r's relay room. */
	_Alignas(EP_LINE) uint64_t hop;
	uint32_t hopped;
	/* s tells where elements are to go: to its sorted rows, by the bases; else to their rows. */
	uint32_t direct;
	uint64_t told;
	/* Elements of s are all there. */
	uint64_t landed;
};

/*
 * A row: its elements, padded to a line, and this after it. Entries are in the
 * order of k.
 */
struct ep_entry {
	uint16_t slot;
	uint8_t k;
	uint8_t place;		/* of the rank in its node: to whom it is to be passed on */
};

struct ep_meta {
	float scale;
	uint16_t rank;		/* whose token it is */
	uint16_t token;
	uint16_t entries;	/* 1 to EP_ALL_K */
	struct ep_entry entry[EP_ALL_K];
};

/* Where things lie in a rank's buffer, the same at all ranks; offsets of bytes. */
struct ep_shape {
	struct accel_ep_config config;	/* defaults resolved */
	uint32_t all_k;			/* top_k + shared */
	uint32_t nodes;
	uint32_t room;			/* rows of a lane */
	uint32_t relay_room;		/* rows of a lane that are passed on; 0: there is one node */
	uint32_t element;		/* bytes of one in dispatch */
	uint32_t back_element;		/* in combine */
	uint64_t payload;		/* bytes of a row's elements, padded */
	uint64_t row;			/* bytes of a row with what comes after it */
	uint64_t back_row;		/* bytes of a row on its way back */
	uint64_t counts_bytes;		/* of uint32_t [slots], padded */
	uint64_t slot_bytes;		/* struct ep_slot, counts and bases */
	uint64_t lane[ACCEL_EP_LANES];	/* of a lane's cursor, which has a line of its own */
	uint64_t slots;			/* of slot 0, from the lane's start; so are the next four */
	uint64_t rows;
	uint64_t relays;		/* rows as well */
	uint64_t backs;			/* row of token t and k: (t % chunk_tokens) * all_k + k */
	uint64_t outs;			/* what experts here made, as recv is sorted */
	uint64_t sorted;		/* elements that arrive sorted */
	uint32_t sorted_room;		/* rows of them */
	uint32_t out_room;		/* rows of it */
	uint64_t bytes;			/* of the whole buffer */
};

/* -EINVAL for a configuration beyond the limits. */
int ep_shape(const struct accel_ep_config *config, struct ep_shape *shape);

#endif
