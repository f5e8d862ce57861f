/* SPDX-License-Identifier: MIT */
/*
 * The board of a group: who is a member, who waits to be one, who sleeps.
 *
 * It is a memfd that whoever is first makes and any process of the group hands
 * to those that come (door.c); it goes with the last of them. What a rank says
 * about itself is in its seat. Membership changes by decisions, one an epoch:
 * who proposes one writes it down first, then tries to make it the valid one by
 * one compare-and-swap. So a process can be killed anywhere and the board is whole.
 *
 * A life is one coming and going of a rank. Its number is never used again, so a
 * rank that died and came back is not mistaken for what it was.
 */
#ifndef EP_BOARD_H
#define EP_BOARD_H

#include "internal.h"

/* Who has announced this would go into any epoch. */
#define EP_ANY UINT64_MAX

/* Rank r's own, but for the bell. */
struct ep_seat {
	/* 0: nobody. Stored last by who takes the seat, and cleared by who finds it dead. */
	_Alignas(EP_LINE) uint32_t life;
	uint32_t door;		/* lowest rank of its process, whose keeper answers for it */
	uint64_t client;
	uint64_t announced;	/* highest epoch that it would go into */
	uint64_t adopted;	/* that it has gone into */
	/* The bell: of all who store a flag for this rank. */
	_Alignas(EP_LINE) uint32_t rings;
	uint32_t wake_at;	/* rings */
	uint32_t sleeping;
	uint32_t gate;		/* futex */
};

/* Members of an epoch: the life of each, 0 for no member. */
struct ep_proposal {
	uint32_t life[ACCEL_EP_MAX_RANKS];
};

struct ep_board {
	uint64_t magic;
	uint32_t abi;
	uint32_t size;
	struct accel_ep_config config;
	/* Grows by one before and after a seat is taken: so it tells lives apart, and news. */
	_Alignas(EP_LINE) uint32_t lives;
	_Alignas(EP_LINE) uint64_t revoked;	/* epochs up to this one are over */
	_Alignas(EP_LINE) uint64_t decision;	/* epoch, then whose proposal it is */
	struct ep_seat seats[ACCEL_EP_MAX_RANKS];
	/* A rank's for odd and for even epochs: the last one is read while the next is made. */
	struct ep_proposal proposals[ACCEL_EP_MAX_RANKS][2];
};

#define EP_RANK_BITS 16

static inline uint64_t ep_decision(uint64_t epoch, uint32_t rank)
{
	return epoch << EP_RANK_BITS | rank;
}

static inline uint64_t ep_decision_epoch(uint64_t decision)
{
	return decision >> EP_RANK_BITS;
}

/* Whether that life goes on, as far as anybody has noticed. */
static inline bool ep_board_lives(const struct ep_board *board, uint32_t rank, uint32_t life)
{
	return life && ep_ld(&board->seats[rank].life) == life;
}

int ep_board_create(const struct accel_ep_config *config, int *fd);
/* -EPROTO where @fd is no board of this library's ABI, or of a group of another shape. */
int ep_board_map(int fd, const struct accel_ep_config *config, struct ep_board **board);
void ep_board_unmap(struct ep_board *board);

void ep_board_clear(struct ep_board *board, uint32_t rank, uint32_t life);
/* Asks whether who has a seat lives; a seat of the dead is cleared, for all to see. */
bool ep_board_ask(struct ep_board *board, struct accel_dev *dev, uint32_t rank);
/* The caller holds the join lock, and has asked. */
void ep_board_take(struct ep_board *board, struct accel_dev *dev, const uint32_t *ranks,
		   uint32_t count, uint32_t door, uint32_t *lives);
/* -EBADMSG where a peer scribbled over it. Epoch 0 has no members. */
int ep_board_members(const struct ep_board *board, uint64_t decision,
		     struct ep_proposal *members);
void ep_board_revoke(struct ep_board *board, uint64_t epoch);

#endif
