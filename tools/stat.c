// SPDX-License-Identifier: MIT
/* accelctl stat: what the copy engines of a pool did, once or again and again. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"

#define WATCH_MAX 86400

static const char *pool;
static uint64_t watch, samples;
static bool json;

static const struct opt table[] = {
	OPT_POOL(pool),
	{ "watch", 'w', OPT_NUMBER, &watch, "N", "again every N seconds, until interrupted", 1,
	  WATCH_MAX, 0 },
	{ "count", 'c', OPT_NUMBER, &samples, "N", "with --watch, end after N times", 1,
	  UINT32_MAX, 0 },
	OPT_JSON(json),
};

static const struct opts opts = {
	"stat", "",
	"Show what the NPUs' copy engines did since they joined. With --watch, --json prints a\n"
	"value each time.",
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

static int show(struct accel_dev *dev)
{
	struct accel_npu_stats *stats;
	uint32_t count;
	int err, status = CTL_OK;

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
