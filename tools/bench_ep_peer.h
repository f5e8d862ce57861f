/* SPDX-License-Identifier: MIT */
/* The same collectives over MPI, in processes of their own. */
#ifndef BENCH_EP_PEER_H
#define BENCH_EP_PEER_H

#include <stdio.h>
#include <sys/types.h>

#include "bench_ep_rank.h"

struct ep_peer {
	pid_t pid;		/* 0 without one */
	FILE *orders, *answers;
};

/** ep_peer_start() - start @program, NULL for ep-mpi beside accelctl, or say why there is none */
void ep_peer_start(struct ep_peer *peer, const struct ep_load *load, const char *program);

/** ep_peer_turns() - make turns; 0, or -EPIPE where the peer is gone */
int ep_peer_turns(struct ep_peer *peer, const struct ep_order *order, uint64_t *ns);

void ep_peer_end(struct ep_peer *peer);

#endif
