// SPDX-License-Identifier: MIT
/* What bench qos shows: its progress, and its rows as a table or as JSON. */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "bench_qos.h"
#include "ctl.h"
#include "qos_info.h"

#define LINE_NS		5000000000ull	/* between two lines where stderr is no terminal */

static const char *const names[BENCH_MODES] = {
	[BENCH_ALONE] = "alone",
	[BENCH_FIFO] = "fifo",
	[BENCH_STRICT] = "strict",
	[BENCH_STRICT_WINDOWS] = "strict-windows",
	[BENCH_HYBRID] = "hybrid",
	[BENCH_BULK_ALONE] = "bulk-alone",
	[BENCH_FLOOD] = "flood",
	[BENCH_INCAST] = "incast",
};

const char *bench_mode_name(enum bench_mode mode)
{
	return names[mode];
}

double bench_gbps(const struct bench_row *row)
{
	return row->ns ? (double)row->bulk_bytes / row->ns : 0;
}

uint64_t bench_window_ns(const struct bench *bench)
{
	return bench->window * 1e9 / bench->bandwidth;
}

void bench_progress(uint32_t done, uint32_t all, enum bench_mode mode)
{
	static uint64_t shown;
	uint64_t now = ctl_now();

	if (isatty(STDERR_FILENO)) {
		fprintf(stderr, "\r%3u %%  %-16s%s", (done - 1) * 100 / all, names[mode],
			done == all ? "\r\033[K" : "");
		return;
	}
	if (!shown)
		shown = now;
	if (now - shown < LINE_NS)
		return;
	shown = now;
	fprintf(stderr, "accelctl: bench qos: %u %%\n", done * 100 / all);
}

static uint64_t p99(const struct bench *bench, enum bench_mode mode)
{
	return hist_percentile(&bench->rows[mode].latency, 990);
}

static double ratio(const struct bench *bench, enum bench_mode mode)
{
	uint64_t alone = p99(bench, BENCH_ALONE);

	return alone ? (double)p99(bench, mode) / alone : 0;
}

/* What the weights of those that are of its class give a source of the incast. */
static double weight_part(const struct bench *bench, const struct bench_source *source)
{
	uint64_t sum = 0;
	uint32_t i;

	for (i = 0; i < bench->source_count; i++)
		sum += bench->sources[i].qos.weight;
	return (double)source->qos.weight / sum;
}

static double share(const struct bench *bench, const struct bench_source *source)
{
	uint64_t sum = 0;
	uint32_t i;

	for (i = 0; i < bench->source_count; i++)
		sum += bench->sources[i].bytes;
	return sum ? (double)source->bytes / sum : 0;
}

static void print_row(const struct bench *bench, enum bench_mode mode)
{
	const struct bench_row *row = &bench->rows[mode];
	char text[4][CTL_TEXT_LEN];

	printf("%-15s", names[mode]);
	if (mode == BENCH_BULK_ALONE)
		printf("%11s %11s %11s %9s %11s %8s", "-", "-", "-", "-", "-", "-");
	else
		printf("%11s %11s %11s %9.2f %11s %8" PRIu64,
		       ctl_nanos(hist_percentile(&row->latency, 500), text[0]),
		       ctl_nanos(hist_percentile(&row->latency, 990), text[1]),
		       ctl_nanos(hist_percentile(&row->latency, 999), text[2]), ratio(bench, mode),
		       ctl_nanos(accel_time_percentile(row->queued, 990), text[3]),
		       row->latency.total);
	if (mode == BENCH_ALONE)
		printf(" %10s", "-");
	else
		printf(" %10.2f", bench_gbps(row));
	if (row->demoted)
		printf("  %" PRIu64 " demoted", row->demoted);
	putchar('\n');
}

static void print_sources(const struct bench *bench)
{
	const uint64_t ns = bench->rows[BENCH_INCAST].ns;
	uint32_t i;

	printf("\nincast into NPU %u\n%4s %-6s %6s %8s %8s %9s\n", bench->dst, "npu", "class",
	       "weight", "GB/s", "share", "by weight");
	for (i = 0; i < bench->source_count; i++) {
		const struct bench_source *source = &bench->sources[i];

		printf("%4u %-6s %6u %8.2f %6.1f %% %7.1f %%\n", source->npu,
		       qos_class_name(source->qos.class_id), source->qos.weight,
		       (double)source->bytes / ns, 100 * share(bench, source),
		       100 * weight_part(bench, source));
	}
}

static void print_yardstick(const struct bench *bench)
{
	uint64_t window = bench_window_ns(bench), most = p99(bench, BENCH_ALONE) + window;
	char text[3][CTL_TEXT_LEN];

	printf("\nwindow %s: %s at %.2f GB/s as measured\n"
	       "p99 alone and one window: %s; hybrid's p99 is %s it\n",
	       ctl_bytes(bench->window, text[0]), ctl_nanos(window, text[1]),
	       bench->bandwidth / 1e9, ctl_nanos(most, text[2]),
	       p99(bench, BENCH_HYBRID) <= most ? "within" : "above");
}

void bench_table(const struct bench *bench)
{
	char text[2][CTL_TEXT_LEN];
	int mode;

	printf("%s: %s latency-class copies, NPU %u to NPU %u, beside %u bulk queues of %s copies",
	       accel_uri(bench->dev), ctl_bytes(bench->size, text[0]), bench->src, bench->dst,
	       BENCH_BULK_QUEUES, ctl_bytes(BENCH_BULK_COPY, text[1]));
	if (bench->flood)
		printf("; flood: %" PRIu64 " of %s", bench->flood,
		       ctl_bytes(BENCH_FLOOD_COPY, text[1]));
	printf("\n\n%-15s%11s %11s %11s %9s %11s %8s %10s\n", "", "p50", "p99", "p99.9",
	       "p99/alone", "queued p99", "copies", "bulk GB/s");
	for (mode = 0; mode < BENCH_MODES; mode++)
		if (bench->rows[mode].wanted)
			print_row(bench, mode);
	print_yardstick(bench);
	if (bench->incast)
		print_sources(bench);
}

static void add_number(struct json_object *object, const char *key, double value)
{
	json_object_object_add(object, key, json_object_new_double(value));
}

static struct json_object *sources_json(const struct bench *bench)
{
	struct json_object *list = json_object_new_array();
	uint32_t i;

	for (i = 0; i < bench->source_count; i++) {
		const struct bench_source *source = &bench->sources[i];
		struct json_object *object = json_object_new_object();

		ctl_json_u64(object, "npu", source->npu);
		ctl_json_string(object, "class", qos_class_name(source->qos.class_id));
		ctl_json_u64(object, "weight", source->qos.weight);
		ctl_json_u64(object, "bytes", source->bytes);
		add_number(object, "share", share(bench, source));
		add_number(object, "weight_share", weight_part(bench, source));
		json_object_array_add(list, object);
	}
	return list;
}

static struct json_object *row_json(const struct bench *bench, enum bench_mode mode)
{
	const struct bench_row *row = &bench->rows[mode];
	struct json_object *object = json_object_new_object();

	ctl_json_string(object, "policy", names[mode]);
	ctl_json_u64(object, "latency_p50_ns", hist_percentile(&row->latency, 500));
	ctl_json_u64(object, "latency_p99_ns", hist_percentile(&row->latency, 990));
	ctl_json_u64(object, "latency_p999_ns", hist_percentile(&row->latency, 999));
	ctl_json_u64(object, "queued_p99_ns", accel_time_percentile(row->queued, 990));
	ctl_json_u64(object, "copies", row->latency.total);
	ctl_json_u64(object, "demoted", row->demoted);
	add_number(object, "bulk_gbps", bench_gbps(row));
	ctl_json_u64(object, "alone_p99_ns", p99(bench, BENCH_ALONE));
	add_number(object, "ratio", ratio(bench, mode));
	ctl_json_u64(object, "window", bench->window);
	ctl_json_u64(object, "window_ns", bench_window_ns(bench));
	if (mode == BENCH_FLOOD)
		ctl_json_u64(object, "queues", bench->flood);
	if (mode == BENCH_INCAST)
		json_object_object_add(object, "sources", sources_json(bench));
	return object;
}

int bench_json(const struct bench *bench)
{
	int mode, status = CTL_OK;

	printf("[");
	for (mode = 0; mode < BENCH_MODES && !status; mode++) {
		if (!bench->rows[mode].wanted)
			continue;
		if (mode)
			printf(",");
		status = ctl_json_line(row_json(bench, mode), CTL_OK);
	}
	printf("]\n");
	return status;
}
