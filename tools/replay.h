/* SPDX-License-Identifier: MIT */
/*
 * A replay: prefill processes look up each request's prefix in a KV namespace,
 * read what is cached and write what is not; decode processes then read the
 * whole context. The parent starts them, watches them and adds up.
 *
 * All that the processes share is made before they are forked: the trace, by
 * copy on write; a mapping with the index of the next request and, each in its
 * own part, the workers' counters; two pipes. A request's index goes to decode
 * through one pipe, and a credit comes back through the other, so that requests
 * in flight are bounded and a worker's death corrupts nothing. Nobody shares
 * an open pool: each worker opens it itself and is sent the namespace's
 * descriptor.
 */
#ifndef REPLAY_H
#define REPLAY_H

#include <stdbool.h>
#include <stdint.h>

#include <accel/kv.h>

#include "hist.h"
#include "trace.h"

#define REPLAY_WORKERS_MAX 64

enum replay_role {
	REPLAY_PREFILL,
	REPLAY_DECODE,
};

/** struct replay_count - what one worker did; only it writes, the parent may read at any time */
struct replay_count {
	uint64_t requests;
	uint64_t block_refs;	/* blocks that prefill looked up */
	uint64_t block_hits;	/* of them, in a cached prefix */
	uint64_t published;
	uint64_t duplicates;	/* another worker had published first */
	uint64_t unstored;	/* no room beside the blocks in use */
	uint64_t decode_refs;
	uint64_t decode_misses;	/* unstored, or evicted meanwhile */
	uint64_t stale;		/* read, but the lease had run out: discarded */
	uint64_t wrong;
	uint64_t bytes_put;
	uint64_t bytes_got;
	struct hist put;	/* ns */
	struct hist get;
	struct hist match;	/* of a whole chain */
} __attribute__((aligned(64)));

struct replay_shared {
	uint64_t next;		/* index of the next request for prefill */
	struct replay_count counts[2 * REPLAY_WORKERS_MAX];
};

struct replay {
	const struct trace *trace;
	const char *trace_name;
	struct replay_shared *shared;
	uint64_t workers;	/* of each role */
	bool verify;
	bool quiet;
	int handoff[2];		/* pipe of request indices, prefill to decode */
	int credit[2];		/* pipe of single bytes, decode to prefill */
};

/** struct replay_start - what a worker is sent, together with the namespace's descriptor */
struct replay_start {
	char uri[ACCEL_URI_MAX];
};

/* replay_run.c */

/**
 * replay_run() - start the workers, let them work, end them
 * @dev: out, opened here once the workers are forked; close it after @kv
 * @seconds: out, from the first request to the last worker's end
 *
 * Returns an exit status; on any but 0 nothing is left open and no worker alive.
 * A signal that ends the replay is raised again at the end.
 */
int replay_run(struct replay *replay, const char *uri, const struct accel_kv_config *config,
	       struct accel_dev **dev, struct accel_kv **kv, double *seconds);

/* replay_work.c */

/** replay_work() - life of a worker: returns its exit status */
int replay_work(const struct replay *replay, enum replay_role role, uint64_t number, int socket);

/* replay_show.c */

/** struct replay_result - sums over the workers, and what the namespace tells at the end */
struct replay_result {
	const struct replay *replay;
	const char *pool;
	struct accel_kv_config config;
	struct replay_count sum;
	uint64_t evictions;
	uint64_t audit_faults;	/* blocks lost, links broken, reservations and pins left */
	double seconds;
};

/** replay_progress() - draw the bar, or now and then a line where stderr is no terminal */
void replay_progress(const struct replay *replay, bool last);

/** replay_sum() - add up the workers' counters */
void replay_sum(const struct replay *replay, struct replay_count *sum);

void replay_table(const struct replay_result *result);
struct json_object *replay_json(const struct replay_result *result);

#endif
