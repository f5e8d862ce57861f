// SPDX-License-Identifier: MIT
/* accelctl stat: what the copy engines of a pool did, once or again and again. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "qos_info.h"

#define WATCH_MAX 86400

static const char *pool;
static uint64_t watch, samples;
static bool by_class, json;

static const struct opt table[] = {
	OPT_POOL(pool),
	{ "class", 'C', OPT_FLAG, &by_class, NULL, "by class: jobs, misses, times", 0, 0, 0 },
	{ "watch", 'w', OPT_NUMBER, &watch, "N", "again every N seconds, until interrupted", 1,
	  WATCH_MAX, 0 },
	{ "count", 'c', OPT_NUMBER, &samples, "N", "with --watch, end after N times", 1,
	  UINT32_MAX, 0 },
	OPT_JSON(json),
};

static const struct opts opts = {
	"stat", "",
	"Show what the NPUs' copy engines did since they joined. With --watch, --json prints a\n"
	"value each time. With --class, what they did for each class of transfers, and how long\n"
	"those were queued and served.",
	table, ARRAY_SIZE(table), 0, 0,
};

/* What is shown: a list from the library, as a table or as JSON. */
struct view {
	ctl_get *get;
	size_t size;
	void (*print_head)(void);
	void (*print)(const void *item);
	void (*add)(struct json_object *object, const void *item);
};

static int get_npus(struct accel_dev *dev, void *items, uint32_t *count)
{
	return accel_stats(dev, items, count);
}

static void print_npus_head(void)
{
	printf("%4s %10s %10s %8s %11s %11s %11s %10s %10s\n", "npu", "submitted", "done", "failed",
	       "copied", "filled", "cleared", "busy", "queued");
}

static void print_npu(const void *item)
{
	char copied[CTL_TEXT_LEN], filled[CTL_TEXT_LEN], cleared[CTL_TEXT_LEN];
	char busy[CTL_TEXT_LEN], queued[CTL_TEXT_LEN];
	const struct accel_npu_stats *stats = item;

	printf("%4u %10" PRIu64 " %10" PRIu64 " %8" PRIu64 " %11s %11s %11s %10s %10s\n",
	       stats->id, stats->jobs_submitted, stats->jobs_done, stats->jobs_failed,
	       ctl_bytes(stats->bytes_copied, copied), ctl_bytes(stats->bytes_filled, filled),
	       ctl_bytes(stats->bytes_cleared, cleared), ctl_nanos(stats->busy_ns, busy),
	       ctl_nanos(stats->queue_ns, queued));
}

static void add_npu(struct json_object *object, const void *item)
{
	const struct accel_npu_stats *stats = item;

	ctl_json_u64(object, "npu", stats->id);
	ctl_json_u64(object, "jobs_submitted", stats->jobs_submitted);
	ctl_json_u64(object, "jobs_done", stats->jobs_done);
	ctl_json_u64(object, "jobs_failed", stats->jobs_failed);
	ctl_json_u64(object, "bytes_copied", stats->bytes_copied);
	ctl_json_u64(object, "bytes_filled", stats->bytes_filled);
	ctl_json_u64(object, "bytes_cleared", stats->bytes_cleared);
	ctl_json_u64(object, "busy_ns", stats->busy_ns);
	ctl_json_u64(object, "queue_ns", stats->queue_ns);
}

static const struct view npus = {
	get_npus, sizeof(struct accel_npu_stats), print_npus_head, print_npu, add_npu,
};

static int get_classes(struct accel_dev *dev, void *items, uint32_t *count)
{
	return accel_class_stats(dev, items, count);
}

static void print_classes_head(void)
{
	printf("%4s %-8s %10s %11s %10s %8s %8s %8s %-32s %-32s\n", "", "", "", "", "", "", "", "",
	       "   queueing p50, p99, p99.9", "   service p50, p99, p99.9");
	printf("%4s %-8s %10s %11s %10s %8s %8s %8s\n", "npu", "class", "jobs", "moved", "windows",
	       "missed", "demoted", "refused");
}

static void print_times(const uint64_t *buckets)
{
	static const uint32_t per_mille[] = { 500, 990, 999 };
	char text[CTL_TEXT_LEN];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(per_mille); i++)
		printf(" %10s", ctl_nanos(accel_time_percentile(buckets, per_mille[i]), text));
}

static void print_class(const void *item)
{
	const struct accel_class_stats *stats = item;
	char moved[CTL_TEXT_LEN];

	printf("%4u %-8s %10" PRIu64 " %11s %10" PRIu64 " %8" PRIu64 " %8" PRIu64 " %8" PRIu64,
	       stats->npu, qos_class_name(stats->class_id), stats->jobs,
	       ctl_bytes(stats->bytes, moved), stats->windows, stats->missed, stats->demoted,
	       stats->refused);
	print_times(stats->queue_ns);
	print_times(stats->service_ns);
	putchar('\n');
}

static void add_class(struct json_object *object, const void *item)
{
	const struct accel_class_stats *stats = item;

	ctl_json_u64(object, "npu", stats->npu);
	ctl_json_string(object, "class", qos_class_name(stats->class_id));
	ctl_json_u64(object, "jobs", stats->jobs);
	ctl_json_u64(object, "bytes", stats->bytes);
	ctl_json_u64(object, "windows", stats->windows);
	ctl_json_u64(object, "missed", stats->missed);
	ctl_json_u64(object, "demoted", stats->demoted);
	ctl_json_u64(object, "refused", stats->refused);
	json_object_object_add(object, "queue_ns", qos_histogram_json(stats->queue_ns));
	json_object_object_add(object, "service_ns", qos_histogram_json(stats->service_ns));
}

static const struct view classes = {
	get_classes, sizeof(struct accel_class_stats), print_classes_head, print_class, add_class,
};

static struct json_object *to_json(const struct view *view, const char *items, uint32_t count)
{
	struct json_object *list = json_object_new_array();
	uint32_t i;

	for (i = 0; i < count; i++) {
		struct json_object *object = json_object_new_object();

		view->add(object, items + i * view->size);
		json_object_array_add(list, object);
	}
	return list;
}

static void print(const struct view *view, const char *items, uint32_t count)
{
	uint32_t i;

	view->print_head();
	for (i = 0; i < count; i++)
		view->print(items + i * view->size);
	fflush(stdout);
}

static int show(struct accel_dev *dev)
{
	const struct view *view = by_class ? &classes : &npus;
	int err, status = CTL_OK;
	uint32_t count;
	void *items;

	err = ctl_list(dev, view->get, view->size, &items, &count);
	if (err) {
		ctl_error("stat: pool %s: %s", accel_uri(dev), strerror(-err));
		return ctl_status(err);
	}
	if (json)
		status = ctl_json(to_json(view, items, count), CTL_OK);
	else
		print(view, items, count);
	free(items);
	return status;
}

int cmd_stat(int argc, char **argv)
{
	struct accel_dev *dev;
	uint64_t shown;
	int status;

	status = opts_parse(&opts, argc, argv, NULL);
	if (status)
		return status == OPTS_DONE ? CTL_OK : status;
	if (samples && !watch) {
		ctl_error("stat: --count needs --watch");
		return CTL_USAGE;
	}
	status = ctl_open(pool, &dev);
	if (status)
		return status;
	for (shown = 1; !(status = show(dev)) && watch && shown != samples; shown++)
		sleep(watch);
	accel_close(dev);
	return status;
}
