// SPDX-License-Identifier: MIT
/*
 * accelctl replay: options, the trace, the run, the result.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "content.h"
#include "ctl.h"
#include "replay.h"

#define LEASE_NS 30000000000ull		/* a stopped or slow worker shall keep its pins */
#define BLOCK_BYTES_MAX (1ull << 30)
#define CAPACITY_MAX (1ull << 30)	/* blocks */

static const char *pool, *trace_path;
static uint64_t capacity = 10000, block_bytes = 65536, workers = 1, seed = 1, requests;
static bool verify, checksum, json, quiet;

static const struct opt table[] = {
	OPT_POOL(pool),
	{ "trace", 't', OPT_TEXT, &trace_path, "FILE", "JSON lines to replay, - for stdin; "
	  "generated without", 0, 0, 0 },
	{ "requests", 'n', OPT_NUMBER, &requests, "N", "stop after N requests; generate so many", 1,
	  TRACE_REQUESTS_MAX, 0 },
	{ "seed", 's', OPT_NUMBER, &seed, "S", "of the generated trace", 0, UINT64_MAX, 0 },
	{ "capacity-blocks", 'c', OPT_NUMBER, &capacity, "N", "blocks of the cache", 1,
	  CAPACITY_MAX, 0 },
	{ "block-bytes", 'b', OPT_SIZE, &block_bytes, "B", "bytes of a block", CONTENT_ROW,
	  BLOCK_BYTES_MAX, CONTENT_ROW },
	{ "workers", 'w', OPT_NUMBER, &workers, "N", "prefill, and as many decode processes", 1,
	  REPLAY_WORKERS_MAX, 0 },
	{ "verify", 'v', OPT_FLAG, &verify, NULL, "check checksums too, audit the cache at the end",
	  0, 0, 0 },
	{ "checksum", 0, OPT_FLAG, &checksum, NULL, "have the cache keep checksums", 0, 0, 0 },
	{ "quiet", 'q', OPT_FLAG, &quiet, NULL, "no progress", 0, 0, 0 },
	OPT_JSON(json),
};

static const struct opts opts = {
	"replay", "",
	"Replay a serving trace through a KV cache in the pool, as fast as it goes. Prefill\n"
	"processes match each request's prefix, read what is cached and store the rest;\n"
	"decode processes then read the whole context. Every byte read is checked. put_ns\n"
	"is the time of reserve and publish of a block, get_ns of the get of a block,\n"
	"without making or checking its bytes. One worker of each role take turns, and the\n"
	"result depends on the trace and the capacity alone.",
	table, ARRAY_SIZE(table), 0, 0,
};

static int load_trace(struct trace *trace, char name[], size_t room)
{
	uint64_t count = requests ? requests : TRACE_HOUR_REQUESTS;

	if (trace_path) {
		snprintf(name, room, "%s", trace_path);
		return trace_read(trace_path, requests ? requests : UINT64_MAX, trace);
	}
	snprintf(name, room, "generated, seed %" PRIu64, seed);
	if (!trace_generate(count, seed, trace))
		return CTL_OK;
	ctl_error("replay: %s", strerror(ENOMEM));
	return CTL_SYSTEM;
}

static int make_shared(struct replay *replay)
{
	void *shared = mmap(NULL, sizeof(*replay->shared), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (shared == MAP_FAILED)
		goto failed;
	replay->shared = shared;
	if (pipe2(replay->handoff, O_CLOEXEC))
		goto unmap;
	if (pipe2(replay->credit, O_CLOEXEC))
		goto close_handoff;
	return CTL_OK;
close_handoff:
	close(replay->handoff[0]);
	close(replay->handoff[1]);
unmap:
	munmap(shared, sizeof(*replay->shared));
failed:
	ctl_error("replay: %s", strerror(errno));
	return CTL_SYSTEM;
}

static void drop_shared(struct replay *replay)
{
	close(replay->credit[0]);
	close(replay->credit[1]);
	close(replay->handoff[0]);
	if (replay->handoff[1] >= 0)
		close(replay->handoff[1]);
	munmap(replay->shared, sizeof(*replay->shared));
}

/* Nobody uses the namespace any more: no reservation and no pin may be left either. */
static int audit(struct accel_kv *kv, uint64_t *faults)
{
	struct accel_kv_audit found;
	int err = accel_kv_audit(kv, &found);

	if (err) {
		ctl_error("replay: audit: %s", strerror(-err));
		return ctl_status(err);
	}
	*faults = found.lost + found.broken + found.reserved + found.awaiting + found.pins;
	if (found.free + found.cached != capacity)
		*faults += 1;
	if (*faults)
		ctl_error("replay: audit: of %" PRIu64 " blocks %" PRIu64 " are free, %" PRIu64
			  " cached, %" PRIu64 " reserved, %" PRIu64 " awaiting, %" PRIu64
			  " lost; %" PRIu64 " pins, %" PRIu64 " broken", capacity, found.free,
			  found.cached, found.reserved, found.awaiting, found.lost, found.pins,
			  found.broken);
	return CTL_OK;
}

static int conclude(struct replay_result *result, struct accel_kv *kv)
{
	struct accel_kv_stats stats;
	int status = CTL_OK, err;

	err = accel_kv_stats(kv, &stats);
	if (err) {
		ctl_error("replay: reading the counters: %s", strerror(-err));
		return ctl_status(err);
	}
	result->evictions = stats.evicted;
	replay_sum(result->replay, &result->sum);
	if (verify)
		status = audit(kv, &result->audit_faults);
	if (status)
		return status;
	if (result->sum.wrong || result->audit_faults)
		status = CTL_FAILED;
	if (json)
		return ctl_json(replay_json(result), status);
	replay_table(result);
	return status;
}

static int run(struct replay *replay)
{
	struct replay_result result = {
		.replay = replay,
		.config = {
			.block_bytes = block_bytes,
			.capacity = capacity,
			.lease_ns = LEASE_NS,
			.flags = verify || checksum ? ACCEL_KV_CHECKSUM : 0,
			.model = "accelctl-replay",
		},
	};
	struct accel_dev *dev;
	struct accel_kv *kv;
	int status;

	status = replay_run(replay, pool, &result.config, &dev, &kv, &result.seconds);
	if (status)
		return status;
	result.pool = accel_uri(dev);
	status = conclude(&result, kv);
	accel_kv_close(kv);
	accel_close(dev);
	return status;
}

int cmd_replay(int argc, char **argv)
{
	char name[256];
	struct trace trace = { 0 };
	struct replay replay = { .trace = &trace, .trace_name = name };
	int status;

	status = opts_parse(&opts, argc, argv, NULL);
	if (status)
		return status == OPTS_DONE ? CTL_OK : status;
	replay.workers = workers;
	replay.verify = verify;
	replay.quiet = quiet;
	status = load_trace(&trace, name, sizeof(name));
	if (status)
		return status;
	status = make_shared(&replay);
	if (!status) {
		status = run(&replay);
		drop_shared(&replay);
	}
	trace_free(&trace);
	return status;
}
