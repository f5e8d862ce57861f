// SPDX-License-Identifier: MIT
/*
 * How a pool's ports are shared, as far as it needs no provider, and how to read
 * histograms of times.
 */
#include <errno.h>
#include <stddef.h>

#include "provider.h"

#define MIN_SLACK_NS	1000ull
#define MAX_SLACK_NS	100000000ull
/* Of times: bucket 0 ends here, then four buckets to each power of two. */
#define FIRST_BUCKET_NS	128ull

int accel_qos_info(struct accel_dev *dev, struct accel_qos_info *info)
{
	if (!dev || !info)
		return -EINVAL;
	return dev->ops->qos_info(dev, info);
}

int accel_qos_set_policy(struct accel_dev *dev, enum accel_policy policy)
{
	if (!dev || (uint32_t)policy > ACCEL_POLICY_STRICT_WINDOWS)
		return -EINVAL;
	return dev->ops->qos_set_policy(dev, policy);
}

int accel_qos_set_slack(struct accel_dev *dev, uint64_t slack_ns)
{
	if (!dev || slack_ns < MIN_SLACK_NS || slack_ns > MAX_SLACK_NS)
		return -EINVAL;
	return dev->ops->qos_set_slack(dev, slack_ns);
}

int accel_qos_grant(struct accel_dev *dev, uint64_t client, uint64_t rate)
{
	if (!dev)
		return -EINVAL;
	return client ? dev->ops->qos_grant(dev, client, rate) : -ENOENT;
}

int accel_ports(struct accel_dev *dev, struct accel_port_info *ports, uint32_t *count)
{
	if (!dev || !count)
		return -EINVAL;
	return dev->ops->ports(dev, ports, count);
}

int accel_class_stats(struct accel_dev *dev, struct accel_class_stats *stats, uint32_t *count)
{
	if (!dev || !count)
		return -EINVAL;
	return dev->ops->class_stats(dev, stats, count);
}

const char *accel_reason_name(uint32_t reason)
{
	static const char *const names[] = {
		[ACCEL_REASON_NONE] = "none",
		[ACCEL_REASON_LATE] = "too late for its bytes",
		[ACCEL_REASON_SRC] = "source has promised too much",
		[ACCEL_REASON_DST] = "destination has promised too much",
		[ACCEL_REASON_FAR] = "more than a minute away",
		[ACCEL_REASON_SHARE] = "client has its share",
		[ACCEL_REASON_ORDER] = "behind a later deadline in its queue",
		[ACCEL_REASON_WIDE] = "touches too many ports",
	};

	return reason < sizeof(names) / sizeof(names[0]) ? names[reason] : "unknown";
}

uint64_t accel_time_bucket_end(uint32_t bucket)
{
	if (!bucket)
		return FIRST_BUCKET_NS;
	if (bucket >= ACCEL_TIME_BUCKETS - 1)
		return UINT64_MAX;
	bucket--;
	return (FIRST_BUCKET_NS / 4 << bucket / 4) * (5 + bucket % 4);
}

uint64_t accel_time_percentile(const uint64_t *buckets, uint32_t per_mille)
{
	uint64_t total = 0, above;
	uint32_t i;

	if (per_mille > 1000)
		per_mille = 1000;
	for (i = 0; i < ACCEL_TIME_BUCKETS; i++)
		total += buckets[i];
	if (!total)
		return 0;
	/* From the top, by what may lie above: no product of a large total overflows. */
	above = total / 1000 * (1000 - per_mille) + total % 1000 * (1000 - per_mille) / 1000;
	for (i = ACCEL_TIME_BUCKETS - 1; i && buckets[i] <= above; i--)
		above -= buckets[i];
	return accel_time_bucket_end(i);
}
