/* SPDX-License-Identifier: MIT */
/* What accelctl bench ep shares with its ranks, in memory that all of them map. */
#ifndef BENCH_EP_RANK_H
#define BENCH_EP_RANK_H

#include <stdint.h>
#include <sys/types.h>

#include "bench_ep.h"

enum ep_op { EP_DISPATCH, EP_COMBINE, EP_OPS };
enum ep_route { EP_BY_EXPERT, EP_BY_RANK, EP_ROUTES };
enum ep_impl {
	EP_NPOOL,
	EP_NPOOL_NOQUANT,
	EP_NPOOL_PACKED,
	EP_NPOOL_INDEXED,
	EP_NPOOL_COPIED,
	EP_MPI_ALLTOALLV,
	EP_MPI_WINDOW,
	EP_IMPLS
};

/** struct ep_order - turns to be made */
struct ep_order {
	enum ep_op op;
	enum ep_impl impl;
	enum ep_route route;
	uint32_t turns;
};

/** struct ep_times - what a rank measured of one order */
struct ep_times {
	int error;
	uint64_t bytes;
	uint64_t begin[EP_BENCH_TURNS_MAX];
	uint64_t end[EP_BENCH_TURNS_MAX];
};

struct ep_bench {
	struct ep_load load;
	pid_t parent;
	uint32_t came;		/* ranks at this meeting */
	uint32_t met;		/* meetings that are over */
	uint32_t failed;	/* a rank did: nobody waits for it */
	struct ep_times ranks[EP_BENCH_RANKS_MAX];
};

/**
 * ep_bench_rank() - be a rank: join, make the turns of every order read from @orders
 * @answers: gets a byte once joined, and after every order
 *
 * Returns the exit status.
 */
int ep_bench_rank(struct ep_bench *bench, uint32_t rank, const char *pool, int orders, int answers);

#endif
