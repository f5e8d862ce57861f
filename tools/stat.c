// SPDX-License-Identifier: MIT
/* accelctl stat: what the copy engines of a pool did, once or again and again. */
#include <errno.h>
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

static int get_stats(struct accel_dev *dev, struct accel_npu_stats **stats, uint32_t *count)
{
	struct accel_npu_stats *array;
	uint32_t room = 0, there;
	int err;

	err = accel_stats(dev, NULL, &room);
	if (err)
		return err;
	/* Some more, for NPUs that join meanwhile; later ones are seen next time. */
	room += 8;
	array = calloc(room, sizeof(*array));
	if (!array)
		return -ENOMEM;
	there = room;
	err = accel_stats(dev, array, &there);
	if (err) {
		free(array);
		return err;
	}
	*stats = array;
	*count = there < room ? there : room;
	return 0;
}

static struct json_object *to_json(const struct accel_npu_stats *stats, uint32_t count)
{
	struct json_object *list = json_object_new_array();
	uint32_t i;

	for (i = 0; i < count; i++) {
		struct json_object *object = json_object_new_object();

		ctl_json_u64(object, "npu", stats[i].id);
		ctl_json_u64(object, "jobs_submitted", stats[i].jobs_submitted);
		ctl_json_u64(object, "jobs_done", stats[i].jobs_done);
		ctl_json_u64(object, "jobs_failed", stats[i].jobs_failed);
		ctl_json_u64(object, "bytes_copied", stats[i].bytes_copied);
		ctl_json_u64(object, "bytes_filled", stats[i].bytes_filled);
		ctl_json_u64(object, "bytes_cleared", stats[i].bytes_cleared);
		ctl_json_u64(object, "busy_ns", stats[i].busy_ns);
		ctl_json_u64(object, "queue_ns", stats[i].queue_ns);
		json_object_array_add(list, object);
	}
	return list;
}

static void print(const struct accel_npu_stats *stats, uint32_t count)
{
	char copied[CTL_TEXT_LEN], filled[CTL_TEXT_LEN], cleared[CTL_TEXT_LEN];
	char busy[CTL_TEXT_LEN], queued[CTL_TEXT_LEN];
	uint32_t i;

	printf("%4s %10s %10s %8s %11s %11s %11s %10s %10s\n", "npu", "submitted", "done", "failed",
	       "copied", "filled", "cleared", "busy", "queued");
	for (i = 0; i < count; i++)
		printf("%4u %10" PRIu64 " %10" PRIu64 " %8" PRIu64 " %11s %11s %11s %10s %10s\n",
		       stats[i].id, stats[i].jobs_submitted, stats[i].jobs_done,
		       stats[i].jobs_failed, ctl_bytes(stats[i].bytes_copied, copied),
		       ctl_bytes(stats[i].bytes_filled, filled),
		       ctl_bytes(stats[i].bytes_cleared, cleared),
		       ctl_nanos(stats[i].busy_ns, busy), ctl_nanos(stats[i].queue_ns, queued));
	fflush(stdout);
}

static struct json_object *classes_json(const struct accel_class_stats *stats, uint32_t count)
{
	struct json_object *list = json_object_new_array();
	uint32_t i;

	for (i = 0; i < count; i++) {
		struct json_object *object = json_object_new_object();

		ctl_json_u64(object, "npu", stats[i].npu);
		ctl_json_string(object, "class", qos_class_name(stats[i].class_id));
		ctl_json_u64(object, "jobs", stats[i].jobs);
		ctl_json_u64(object, "bytes", stats[i].bytes);
		ctl_json_u64(object, "windows", stats[i].windows);
		ctl_json_u64(object, "missed", stats[i].missed);
		ctl_json_u64(object, "demoted", stats[i].demoted);
		ctl_json_u64(object, "refused", stats[i].refused);
		json_object_object_add(object, "queue_ns", qos_histogram_json(stats[i].queue_ns));
		json_object_object_add(object, "service_ns",
				       qos_histogram_json(stats[i].service_ns));
		json_object_array_add(list, object);
	}
	return list;
}

static void print_times(const uint64_t *buckets)
{
	static const uint32_t per_mille[] = { 500, 990, 999 };
	char text[CTL_TEXT_LEN];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(per_mille); i++)
		printf(" %10s", ctl_nanos(accel_time_percentile(buckets, per_mille[i]), text));
}

static void print_classes(const struct accel_class_stats *stats, uint32_t count)
{
	char moved[CTL_TEXT_LEN];
	uint32_t i;

	printf("%4s %-8s %10s %11s %10s %8s %8s %8s %-32s %-32s\n", "", "", "", "", "", "", "", "",
	       "   queueing p50, p99, p99.9", "   service p50, p99, p99.9");
	printf("%4s %-8s %10s %11s %10s %8s %8s %8s\n", "npu", "class", "jobs", "moved", "windows",
	       "missed", "demoted", "refused");
	for (i = 0; i < count; i++) {
		printf("%4u %-8s %10" PRIu64 " %11s %10" PRIu64 " %8" PRIu64 " %8" PRIu64
		       " %8" PRIu64, stats[i].npu, qos_class_name(stats[i].class_id), stats[i].jobs,
		       ctl_bytes(stats[i].bytes, moved), stats[i].windows, stats[i].missed,
		       stats[i].demoted, stats[i].refused);
		print_times(stats[i].queue_ns);
		print_times(stats[i].service_ns);
		putchar('\n');
	}
	fflush(stdout);
}

static int show_classes(struct accel_dev *dev)
{
	struct accel_class_stats *stats;
	uint32_t count;
	int status;

	status = qos_classes("stat", dev, &stats, &count);
	if (status)
		return status;
	if (json)
		status = ctl_json(classes_json(stats, count), CTL_OK);
	else
		print_classes(stats, count);
	free(stats);
	return status;
}

static int show(struct accel_dev *dev)
{
	struct accel_npu_stats *stats;
	uint32_t count;
	int err, status = CTL_OK;

	if (by_class)
		return show_classes(dev);
	err = get_stats(dev, &stats, &count);
	if (err) {
		ctl_error("stat: pool %s: %s", accel_uri(dev), strerror(-err));
		return ctl_status(err);
	}
	if (json)
		status = ctl_json(to_json(stats, count), CTL_OK);
	else
		print(stats, count);
	free(stats);
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
