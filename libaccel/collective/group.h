/* SPDX-License-Identifier: MIT */
/*
 * A process's part in a group: the ranks that it is, the buffers of all that it
 * has mapped, and its keeper, a thread that lets others in.
 *
 * Handles of ranks are used by a thread each. What they share is set before the
 * first call, on the board, or under the lock.
 */
#ifndef EP_GROUP_H
#define EP_GROUP_H

#include <pthread.h>

#include "board.h"

/* What a rank here knows beside what moving rows needs. */
struct ep_member {
	struct accel_ep ep;		/* first: a handle is one of these */
	struct accel_buffer *buffer;
	uint32_t life;
	/* The epoch it is ready for: ep.epoch, while it takes part or waits for others to. */
	uint64_t announced;
	bool whole;			/* all members have gone into ep.epoch */
	uint32_t tired;			/* of naps that ended late: wait.c */
	uint32_t asked;			/* rank that was asked last whether it lives */
	uint32_t joining;		/* newcomers when last counted */
	uint32_t calm;			/* board->lives when there were none */
	struct ep_proposal lives;	/* of the members of ep.epoch */
};

struct ep_peer {
	uint32_t life;			/* whose buffer it is; 0: none */
	char *map;
};

struct accel_ep_group {
	struct accel_dev *dev;
	struct ep_shape shape;
	uint32_t spins;			/* looks before sleep */
	uint64_t buffer_bytes;		/* shape.bytes, as the pool gives them */
	char name[ACCEL_EP_NAME_LEN];
	struct ep_board *board;
	int board_fd;
	uint32_t count;
	struct ep_member **members;	/* [count] */
	struct ep_member **of_rank;	/* [ranks], NULL for others */
	pthread_mutex_t lock;
	struct ep_peer *peers;		/* [ranks], under the lock */

	int listen_fd;
	int wake_fd;
	pthread_t keeper;
};

static inline struct ep_member *ep_member(struct accel_ep *ep)
{
	return (struct ep_member *)ep;
}

/* door.c: being found and finding; keeper.c: answering */
int ep_door_lock(const struct accel_ep_group *group, int64_t deadline, int *fd);
int ep_door_open(struct accel_ep_group *group, uint32_t rank, int64_t deadline);
/* -ENOENT where nobody is there, so that no board is. */
int ep_door_board(const struct accel_ep_group *group, int64_t deadline, int *fd);
/* -ECONNREFUSED where nobody answers, or not with a buffer. */
int ep_door_buffer(const struct accel_ep_group *group, uint32_t door, uint32_t rank,
		   uint32_t life, int *fd);
int ep_keeper_start(struct accel_ep_group *group);
void ep_keeper_stop(struct accel_ep_group *group);

/* shrink.c: all of these ranks, of one thread, into the next epoch */
int ep_agree(struct ep_member **members, uint32_t count, int64_t timeout_ns);

/* wait.c */
uint32_t ep_wait_spins(uint32_t ranks);
/* Asks some of these, each time others, whether they live; true if one was found dead. */
bool ep_wait_ask(struct ep_member *member, const struct ep_set *missing);
/* As ep_wait_more(), but whoever dies: what is waited for is not of an epoch. */
int ep_wait_nap(struct accel_ep *ep, struct ep_wait *wait, const struct ep_set *missing,
		uint32_t rings);
/* Ends an epoch for all that are in it, and wakes them. */
void ep_revoke(const struct accel_ep_group *group, uint64_t epoch);
bool ep_revoked(const struct accel_ep *ep);
void ep_wake_all(const struct accel_ep_group *group);

#endif
