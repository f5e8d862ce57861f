// SPDX-License-Identifier: MIT
/* What the commands that show the arbiter's work share. */
#include <string.h>

#include "ctl.h"
#include "qos_info.h"

static const char *const classes[] = {
	[ACCEL_CLASS_BULK] = "bulk",
	[ACCEL_CLASS_CONTROL] = "control",
	[ACCEL_CLASS_LATENCY] = "latency",
	[ACCEL_CLASS_DEADLINE] = "deadline",
	[ACCEL_CLASS_SCRUB] = "scrub",
};

static const char *const policies[] = {
	[ACCEL_POLICY_HYBRID] = "hybrid",
	[ACCEL_POLICY_FIFO] = "fifo",
	[ACCEL_POLICY_STRICT] = "strict",
	[ACCEL_POLICY_STRICT_WINDOWS] = "strict-windows",
};

const char *qos_class_name(uint32_t class_id)
{
	return class_id < ARRAY_SIZE(classes) ? classes[class_id] : "?";
}

const char *qos_policy_name(uint32_t policy)
{
	return policy < ARRAY_SIZE(policies) ? policies[policy] : "?";
}

bool qos_policy_named(const char *name, enum accel_policy *policy)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(policies); i++) {
		if (strcmp(name, policies[i]))
			continue;
		*policy = i;
		return true;
	}
	return false;
}

static int get_ports(struct accel_dev *dev, void *array, uint32_t *count)
{
	return accel_ports(dev, array, count);
}

static int get_classes(struct accel_dev *dev, void *array, uint32_t *count)
{
	return accel_class_stats(dev, array, count);
}

static int get_list(const char *command, struct accel_dev *dev, ctl_get *get, size_t size,
		    void **list, uint32_t *count)
{
	int err = ctl_list(dev, get, size, list, count);

	if (err)
		ctl_error("%s: pool %s: %s", command, accel_uri(dev), strerror(-err));
	return ctl_status(err);
}

int qos_ports(const char *command, struct accel_dev *dev, struct accel_port_info **ports,
	      uint32_t *count)
{
	void *list;
	int status = get_list(command, dev, get_ports, sizeof(**ports), &list, count);

	if (!status)
		*ports = list;
	return status;
}

int qos_classes(const char *command, struct accel_dev *dev, struct accel_class_stats **stats,
		uint32_t *count)
{
	void *list;
	int status = get_list(command, dev, get_classes, sizeof(**stats), &list, count);

	if (!status)
		*stats = list;
	return status;
}

int qos_info(const char *command, struct accel_dev *dev, struct accel_qos_info *info)
{
	int err = accel_qos_info(dev, info);

	if (err)
		ctl_error("%s: pool %s: %s", command, accel_uri(dev), strerror(-err));
	return ctl_status(err);
}

struct json_object *qos_histogram_json(const uint64_t *buckets)
{
	struct json_object *object = json_object_new_object();

	ctl_json_u64(object, "p50", accel_time_percentile(buckets, 500));
	ctl_json_u64(object, "p99", accel_time_percentile(buckets, 990));
	ctl_json_u64(object, "p999", accel_time_percentile(buckets, 999));
	return object;
}
