// SPDX-License-Identifier: MIT
/*
 * accelctl bench qos: measures in rounds, so that what disturbs the machine for
 * a while disturbs all rows. However it ends, the policy it found is put back.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bench_qos.h"
#include "ctl.h"
#include "qos_info.h"

#define NS_PER_S	1000000000ull
#define ROUNDS		8
/* Load runs this long before it counts. */
#define WARM_NS		20000000u
#define CALIBRATE_NS	300000000u
#define CALIBRATE_COPIES 32
/*
 * Latency copies take at most this part of the bandwidth and, where calls and
 * wake-ups are dear, about this part of a CPU's time: what bulk loses beside
 * them is to be the policy's doing.
 */
#define BANDWIDTH_PART	8
#define TIME_PART	10
#define INTERVAL_MIN	500000u
#define LOOK_NS		200000000
/* A copy that takes longer than this does not come any more. */
#define GIVE_UP_NS	(120 * NS_PER_S)

static const char *pool;
static uint64_t seconds = 4, size = 64 << 10, flood, incast;
static bool json;

static const struct opt table[] = {
	OPT_POOL(pool),
	{ "seconds", 's', OPT_NUMBER, &seconds, "N", "to measure each row", 1, 3600, 0 },
	{ "size", 'S', OPT_SIZE, &size, "BYTES", "of the latency copy", 1, 16 << 20, 0 },
	{ "flood", 'f', OPT_NUMBER, &flood, "N", "one more row: beside N bulk queues", 1,
	  BENCH_FLOOD_MAX, 0 },
	{ "incast", 'i', OPT_NUMBER, &incast, "N", "one more row: beside N NPUs that write to the "
	  "same one; made where they lack", 1, BENCH_INCAST_MAX, 0 },
	{ "json", 'j', OPT_FLAG, &json, NULL, "print a JSON list, an object a line", 0, 0, 0 },
};

static const struct opts opts = {
	"bench qos", "",
	"Measure how long a latency-class copy takes from its submit until its waiter has seen it\n"
	"done: alone, and beside bulk queues that always have large copies waiting for the same\n"
	"ports, under each policy. Other users of the pool disturb it, and it them; it sets the\n"
	"policy and puts back the one it found. On drm: this needs root.",
	table, ARRAY_SIZE(table), 0, 0,
};

static const enum accel_policy policies[BENCH_MODES] = {
	[BENCH_ALONE] = ACCEL_POLICY_HYBRID,
	[BENCH_FIFO] = ACCEL_POLICY_FIFO,
	[BENCH_STRICT] = ACCEL_POLICY_STRICT,
	[BENCH_STRICT_WINDOWS] = ACCEL_POLICY_STRICT_WINDOWS,
	[BENCH_HYBRID] = ACCEL_POLICY_HYBRID,
	[BENCH_BULK_ALONE] = ACCEL_POLICY_HYBRID,
	[BENCH_FLOOD] = ACCEL_POLICY_HYBRID,
	[BENCH_INCAST] = ACCEL_POLICY_HYBRID,
};

/* A signal ends it between two copies, or while one does not come. */
static int rest(struct bench *bench, uint64_t ns)
{
	bench->signal = ctl_sleep(ns);
	return bench->signal ? -EINTR : 0;
}

static int wait_for(struct bench *bench, uint64_t seqno)
{
	uint64_t end = ctl_now() + GIVE_UP_NS;
	int err;

	for (;;) {
		err = accel_queue_wait(bench->queue, seqno, LOOK_NS, NULL);
		if (err != -ETIME || ctl_now() >= end)
			return err;
		err = rest(bench, 0);
		if (err)
			return err;
	}
}

static int one_copy(struct bench *bench, uint64_t *ns)
{
	struct accel_seg seg = { bench->offset, bench->offset, bench->size };
	struct accel_op op = {
		.type = ACCEL_OP_COPY, .seg_count = 1, .dst = bench->to, .src = bench->from,
		.segs = &seg,
	};
	struct accel_submit submit = { .ops = &op, .op_count = 1 };
	uint64_t start, seqno;
	int err;

	bench->offset += bench->size;
	if (bench->offset + bench->size > bench->span)
		bench->offset = 0;
	start = ctl_now();
	err = accel_queue_submit(bench->queue, &submit, &seqno);
	if (!err)
		err = wait_for(bench, seqno);
	*ns = ctl_now() - start;
	return err;
}

/* From one interval to two: never in step with what it is measured beside. */
static uint64_t next_interval(struct bench *bench)
{
	bench->seed ^= bench->seed << 13;
	bench->seed ^= bench->seed >> 7;
	bench->seed ^= bench->seed << 17;
	return bench->interval + bench->seed % bench->interval;
}

static int measure_latency(struct bench *bench, struct hist *hist, uint64_t end)
{
	uint64_t ns;
	int err;

	do {
		err = one_copy(bench, &ns);
		if (err)
			return err;
		hist_add(hist, ns);
		err = rest(bench, next_interval(bench));
	} while (!err && ctl_now() < end);
	return err;
}

/* What the engines have moved of bulk, in all and for each source, and what latency had. */
struct marks {
	uint64_t bulk;
	uint64_t demoted;
	uint64_t queued[ACCEL_TIME_BUCKETS];
	uint64_t sources[BENCH_INCAST_MAX];
	uint64_t time;
};

static int mark(struct bench *bench, struct marks *marks)
{
	struct accel_class_stats *stats;
	uint32_t count, i, k;
	int status;

	*marks = (struct marks){ 0 };
	status = qos_classes("bench qos", bench->dev, &stats, &count);
	if (status)
		return status;
	marks->time = ctl_now();
	for (i = 0; i < count; i++) {
		if (stats[i].class_id == ACCEL_CLASS_BULK)
			marks->bulk += stats[i].bytes;
		if (stats[i].class_id == ACCEL_CLASS_LATENCY && stats[i].npu == bench->dst) {
			marks->demoted = stats[i].demoted;
			memcpy(marks->queued, stats[i].queue_ns, sizeof(marks->queued));
		}
		for (k = 0; k < bench->source_count; k++)
			if (stats[i].npu == bench->sources[k].npu &&
			    stats[i].class_id == bench->sources[k].qos.class_id)
				marks->sources[k] = stats[i].bytes;
	}
	free(stats);
	return CTL_OK;
}

static void add_marks(struct bench *bench, enum bench_mode mode, const struct marks *from,
		      const struct marks *to)
{
	struct bench_row *row = &bench->rows[mode];
	uint32_t i;

	row->bulk_bytes += to->bulk - from->bulk;
	row->demoted += to->demoted - from->demoted;
	row->ns += to->time - from->time;
	for (i = 0; i < ACCEL_TIME_BUCKETS; i++)
		row->queued[i] += to->queued[i] - from->queued[i];
	for (i = 0; mode == BENCH_INCAST && i < bench->source_count; i++)
		bench->sources[i].bytes += to->sources[i] - from->sources[i];
}

/* The slower of the ports that all copies go through, and its window. */
static int read_ports(struct bench *bench)
{
	struct accel_port_info *ports;
	uint32_t count, i;
	int status;

	status = qos_ports("bench qos", bench->dev, &ports, &count);
	if (status)
		return status;
	bench->bandwidth = 0;
	for (i = 0; i < count; i++) {
		if (ports[i].npu != (ports[i].side ? bench->dst : bench->src))
			continue;
		if (bench->bandwidth && bench->bandwidth <= ports[i].bandwidth)
			continue;
		bench->bandwidth = ports[i].bandwidth ? ports[i].bandwidth : 1;
		bench->window = ports[i].window;
	}
	free(ports);
	return CTL_OK;
}

/* One turn of a row: load, some time until it is steady, and @ns that count. */
static int turn(struct bench *bench, enum bench_mode mode, uint64_t ns)
{
	struct load load = { 0 };
	struct marks from, to;
	int status = CTL_OK, err, ended;

	err = accel_qos_set_policy(bench->dev, policies[mode]);
	if (err)
		return bench_failed(bench, "setting the policy", err);
	err = bench_load(bench, mode, &load);
	if (!err)
		err = load_start(&load);
	if (!err)
		err = rest(bench, WARM_NS);
	if (!err)
		status = mark(bench, &from);
	if (!err && !status)
		err = mode == BENCH_BULK_ALONE ? rest(bench, ns) :
		      measure_latency(bench, &bench->rows[mode].latency, ctl_now() + ns);
	if (!err && !status)
		status = mark(bench, &to);
	if (!err && !status)
		add_marks(bench, mode, &from, &to);
	if (!status && (mode == BENCH_HYBRID || mode == BENCH_BULK_ALONE))
		status = read_ports(bench);
	ended = bench_unload(bench, &load);
	if (bench->signal)
		return CTL_SYSTEM;
	err = err ? err : ended;
	return err ? bench_failed(bench, bench_mode_name(mode), err) : status;
}

static int rounds(struct bench *bench)
{
	uint32_t round, i, done = 0;
	int status = CTL_OK;

	for (round = 0; round < ROUNDS && !status; round++)
		for (i = 0; i < BENCH_MODES && !status; i++) {
			/* There and back, so that nobody always comes after the same other. */
			enum bench_mode mode = round % 2 ? BENCH_MODES - 1 - i : i;

			bench_progress(++done, ROUNDS * BENCH_MODES, mode);
			if (bench->rows[mode].wanted)
				status = turn(bench, mode, bench->ns / ROUNDS);
		}
	return status;
}

static uint64_t most(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* How often to copy, from how long one takes and the ports' bandwidth. */
static int choose_interval(struct bench *bench)
{
	struct hist hist = { 0 };
	uint64_t ns;
	int err, i;

	err = accel_queue_create(bench->dev, bench->dst, &bench->queue);
	for (i = 0; i < CALIBRATE_COPIES && !err; i++) {
		err = one_copy(bench, &ns);
		hist_add(&hist, ns);
	}
	if (bench->queue)
		accel_queue_destroy(bench->queue);
	bench->queue = NULL;
	bench->interval = most(BANDWIDTH_PART * bench->size * NS_PER_S / bench->bandwidth,
			       TIME_PART * hist_percentile(&hist, 500));
	bench->interval = most(bench->interval, INTERVAL_MIN);
	if (err && !bench->signal)
		return bench_failed(bench, "copying", err);
	return err ? CTL_SYSTEM : CTL_OK;
}

static int run(struct bench *bench)
{
	int status;

	/* Until windows have been measured, the ports' bandwidth is a guess. */
	status = turn(bench, BENCH_BULK_ALONE, CALIBRATE_NS);
	if (!status)
		status = choose_interval(bench);
	if (!status)
		status = bench_reserve(bench);
	bench->rows[BENCH_BULK_ALONE] = (struct bench_row){ .wanted = true };
	return status ? status : rounds(bench);
}

int cmd_bench_qos(int argc, char **argv)
{
	struct bench *bench;
	int status, mode;

	status = opts_parse(&opts, argc, argv, NULL);
	if (status)
		return status == OPTS_DONE ? CTL_OK : status;
	bench = calloc(1, sizeof(*bench));
	if (!bench) {
		ctl_error("bench qos: %s", strerror(ENOMEM));
		return CTL_SYSTEM;
	}
	bench->ns = seconds * NS_PER_S;
	bench->size = size;
	bench->flood = flood;
	bench->incast = incast;
	bench->seed = 1;
	for (mode = 0; mode < BENCH_MODES; mode++)
		bench->rows[mode].wanted = (mode != BENCH_FLOOD || flood) &&
					   (mode != BENCH_INCAST || incast);
	ctl_hold_signals();
	status = bench_setup(bench, pool);
	if (!status) {
		status = run(bench);
		accel_qos_set_policy(bench->dev, bench->found.policy);
	}
	if (!status && json)
		status = bench_json(bench);
	else if (!status)
		bench_table(bench);
	bench_teardown(bench);
	if (bench->signal)
		ctl_die(bench->signal);
	free(bench);
	return status;
}
