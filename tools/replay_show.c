// SPDX-License-Identifier: MIT
/* What a replay shows: its progress, and its result as a table or as JSON. */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "ctl.h"
#include "replay.h"

#define BAR_WIDTH 30
#define LINE_SECONDS 5		/* between two lines where stderr is no terminal */

static uint64_t seen(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

static void draw_bar(uint64_t done, uint64_t all, double hits, bool last)
{
	static const char full[] = "##############################";
	static const char empty[] = "..............................";
	int width = done * BAR_WIDTH / all;

	fprintf(stderr, "\r[%.*s%.*s] %3" PRIu64 " %%  %" PRIu64 "/%" PRIu64
		" requests, %.1f %% hits%s", width, full, BAR_WIDTH - width, empty,
		done * 100 / all, done, all, hits, last ? "\n" : "");
}

void replay_progress(const struct replay *replay, bool last)
{
	static time_t shown;
	const struct replay_count *counts = replay->shared->counts;
	uint64_t done = 0, refs = 0, hits = 0, i;
	struct timespec now;
	double percent;

	if (replay->quiet)
		return;
	for (i = 0; i < replay->workers; i++) {
		done += seen(&counts[REPLAY_WORKERS_MAX + i].requests);
		refs += seen(&counts[i].block_refs);
		hits += seen(&counts[i].block_hits);
	}
	percent = refs ? 100.0 * hits / refs : 0;
	if (isatty(STDERR_FILENO)) {
		draw_bar(done, replay->trace->count, percent, last);
		return;
	}
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (!shown)
		shown = now.tv_sec;
	if (last || now.tv_sec - shown < LINE_SECONDS)
		return;
	shown = now.tv_sec;
	fprintf(stderr, "accelctl: replay: %" PRIu64 " of %zu requests, %.1f %% hits\n", done,
		replay->trace->count, percent);
}

static void add(struct replay_count *sum, const struct replay_count *one)
{
	sum->block_refs += one->block_refs;
	sum->block_hits += one->block_hits;
	sum->published += one->published;
	sum->duplicates += one->duplicates;
	sum->unstored += one->unstored;
	sum->decode_refs += one->decode_refs;
	sum->decode_misses += one->decode_misses;
	sum->stale += one->stale;
	sum->wrong += one->wrong;
	sum->bytes_put += one->bytes_put;
	sum->bytes_got += one->bytes_got;
	hist_merge(&sum->put, &one->put);
	hist_merge(&sum->get, &one->get);
	hist_merge(&sum->match, &one->match);
}

void replay_sum(const struct replay *replay, struct replay_count *sum)
{
	const struct replay_count *counts = replay->shared->counts;
	uint64_t i;

	for (i = 0; i < replay->workers; i++) {
		add(sum, &counts[i]);
		add(sum, &counts[REPLAY_WORKERS_MAX + i]);
		sum->requests += counts[REPLAY_WORKERS_MAX + i].requests;
	}
}

static double ratio(const struct replay_count *sum)
{
	return sum->block_refs ? (double)sum->block_hits / sum->block_refs : 0;
}

static void row(const char *name, const char *value)
{
	printf("%-18s %s\n", name, value);
}

static void count_row(const char *name, uint64_t count)
{
	printf("%-18s %" PRIu64 "\n", name, count);
}

static void times_row(const char *name, const struct hist *hist)
{
	char p50[CTL_TEXT_LEN], p99[CTL_TEXT_LEN];

	printf("%-18s p50 %s, p99 %s\n", name, ctl_nanos(hist_percentile(hist, 500), p50),
	       ctl_nanos(hist_percentile(hist, 990), p99));
}

static void bytes_row(const char *name, uint64_t bytes, double seconds)
{
	char text[CTL_TEXT_LEN], rate[CTL_TEXT_LEN];

	printf("%-18s %s (%s/s)\n", name, ctl_bytes(bytes, text),
	       ctl_bytes(seconds > 0 ? bytes / seconds : 0, rate));
}

void replay_table(const struct replay_result *result)
{
	const struct replay_count *sum = &result->sum;
	const struct replay *replay = result->replay;
	char block[CTL_TEXT_LEN], all[CTL_TEXT_LEN];

	row("pool", result->pool);
	row("trace", replay->trace_name);
	printf("%-18s %" PRIu64 " prefill and %" PRIu64 " decode processes\n", "workers",
	       replay->workers, replay->workers);
	printf("%-18s %" PRIu64 " blocks of %s, %s\n", "cache", result->config.capacity,
	       ctl_bytes(result->config.block_bytes, block),
	       ctl_bytes(result->config.capacity * result->config.block_bytes, all));
	count_row("requests", sum->requests);
	count_row("block references", sum->block_refs);
	printf("%-18s %" PRIu64 " (%.2f %%)\n", "block hits", sum->block_hits,
	       100 * ratio(sum));
	count_row("evictions", result->evictions);
	count_row("not stored", sum->unstored);
	printf("%-18s %" PRIu64 " of %" PRIu64 " blocks\n", "decode misses", sum->decode_misses,
	       sum->decode_refs);
	bytes_row("put", sum->bytes_put, result->seconds);
	bytes_row("got", sum->bytes_got, result->seconds);
	times_row("put a block", &sum->put);
	times_row("get a block", &sum->get);
	times_row("match a chain", &sum->match);
	count_row("wrong blocks", sum->wrong);
	if (replay->verify)
		row("audit", result->audit_faults ? "FAILED" : "every block accounted for");
	printf("%-18s %.2f\n", "seconds", result->seconds);
}

static void json_times(struct json_object *object, const char *key, const struct hist *hist)
{
	struct json_object *times = json_object_new_object();

	ctl_json_u64(times, "p50", hist_percentile(hist, 500));
	ctl_json_u64(times, "p99", hist_percentile(hist, 990));
	json_object_object_add(object, key, times);
}

struct json_object *replay_json(const struct replay_result *result)
{
	struct json_object *object = json_object_new_object();
	const struct replay_count *sum = &result->sum;

	ctl_json_string(object, "pool", result->pool);
	ctl_json_string(object, "trace", result->replay->trace_name);
	ctl_json_u64(object, "workers", result->replay->workers);
	ctl_json_u64(object, "capacity_blocks", result->config.capacity);
	ctl_json_u64(object, "block_bytes", result->config.block_bytes);
	ctl_json_u64(object, "requests", sum->requests);
	ctl_json_u64(object, "block_refs", sum->block_refs);
	ctl_json_u64(object, "block_hits", sum->block_hits);
	json_object_object_add(object, "hit_ratio", json_object_new_double(ratio(sum)));
	ctl_json_u64(object, "evictions", result->evictions);
	ctl_json_u64(object, "published", sum->published);
	ctl_json_u64(object, "duplicates", sum->duplicates);
	ctl_json_u64(object, "unstored", sum->unstored);
	ctl_json_u64(object, "decode_refs", sum->decode_refs);
	ctl_json_u64(object, "decode_misses", sum->decode_misses);
	ctl_json_u64(object, "stale_reads", sum->stale);
	ctl_json_u64(object, "bytes_put", sum->bytes_put);
	ctl_json_u64(object, "bytes_got", sum->bytes_got);
	ctl_json_u64(object, "wrong_blocks", sum->wrong);
	if (result->replay->verify)
		ctl_json_u64(object, "audit_faults", result->audit_faults);
	json_times(object, "put_ns", &sum->put);
	json_times(object, "get_ns", &sum->get);
	json_times(object, "match_ns", &sum->match);
	json_object_object_add(object, "seconds", json_object_new_double(result->seconds));
	return object;
}
