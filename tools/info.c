// SPDX-License-Identifier: MIT
/* accelctl info: one pool, its limits, and what this client may and does take of it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

static const char *pool;
static bool json;

static const struct opt table[] = {
	OPT_POOL(pool),
	OPT_JSON(json),
};

static const struct opts opts = {
	"info", "", "Show a pool: its memory, its limits and the quota of a client.", table,
	ARRAY_SIZE(table), 0, 0,
};

static struct json_object *to_json(const char *uri, const struct accel_pool_info *info,
				   const struct accel_quota *quota)
{
	struct json_object *object = json_object_new_object();

	ctl_json_string(object, "pool", uri);
	ctl_json_string(object, "version", accel_version());
	ctl_json_u64(object, "generation", info->generation);
	ctl_json_u64(object, "npus", info->npu_count);
	ctl_json_u64(object, "bytes_total", info->bytes_total);
	ctl_json_u64(object, "bytes_free", info->bytes_free);
	ctl_json_u64(object, "min_alloc", info->min_alloc);
	ctl_json_u64(object, "max_npus", info->max_npus);
	ctl_json_u64(object, "max_ops", info->max_ops);
	ctl_json_u64(object, "max_segs", info->max_segs);
	ctl_json_u64(object, "max_syncs", info->max_syncs);
	ctl_json_u64(object, "max_queues", info->max_queues);
	ctl_json_u64(object, "queue_depth", info->queue_depth);
	ctl_json_u64(object, "quota_limit", quota->limit);
	ctl_json_u64(object, "quota_used", quota->used);
	return object;
}

static void print(const char *uri, const struct accel_pool_info *info,
		  const struct accel_quota *quota)
{
	char total[CTL_TEXT_LEN], left[CTL_TEXT_LEN], unit[CTL_TEXT_LEN], limit[CTL_TEXT_LEN];

	printf("pool        %s\n", uri);
	printf("NPUs        %u, at most %u; generation %" PRIu64 "\n", info->npu_count,
	       info->max_npus, info->generation);
	printf("memory      %s free of %s, in units of %s\n", ctl_bytes(info->bytes_free, left),
	       ctl_bytes(info->bytes_total, total), ctl_bytes(info->min_alloc, unit));
	printf("submit      %u operations, %u segments, %u waits, %u signals at most\n",
	       info->max_ops, info->max_segs, info->max_syncs, info->max_syncs);
	printf("queues      %u a client, %u unfinished submits in each\n", info->max_queues,
	       info->queue_depth);
	printf("quota       %s a client\n", quota->limit ? ctl_bytes(quota->limit, limit) : "none");
}

int cmd_info(int argc, char **argv)
{
	struct accel_pool_info info;
	struct accel_quota quota;
	struct accel_dev *dev;
	int status, err;

	status = opts_parse(&opts, argc, argv, NULL);
	if (status)
		return status == OPTS_DONE ? CTL_OK : status;
	status = ctl_open(pool, &dev);
	if (status)
		return status;
	err = accel_pool_info(dev, &info);
	if (!err)
		err = accel_quota(dev, &quota);
	if (err) {
		ctl_error("info: pool %s: %s", accel_uri(dev), strerror(-err));
		status = ctl_status(err);
	} else if (json) {
		status = ctl_json(to_json(accel_uri(dev), &info, &quota), CTL_OK);
	} else {
		print(accel_uri(dev), &info, &quota);
	}
	accel_close(dev);
	return status;
}
