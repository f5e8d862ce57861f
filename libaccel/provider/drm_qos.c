// SPDX-License-Identifier: MIT
/*
 * How the kernel's pool is shared: the library's words are the kernel's, so
 * lists go into the caller's memory as they are.
 */
#include <stddef.h>

#include "drm.h"

#define SAME(ours, theirs) _Static_assert((int)(ours) == (int)(theirs), #ours " differs")
#define SAME_FIELD(name, field) \
	SAME(offsetof(struct accel_##name, field), offsetof(struct drm_npool_##name, field))

SAME(ACCEL_CLASS_BULK, DRM_NPOOL_CLASS_BULK);
SAME(ACCEL_CLASS_CONTROL, DRM_NPOOL_CLASS_CONTROL);
SAME(ACCEL_CLASS_LATENCY, DRM_NPOOL_CLASS_LATENCY);
SAME(ACCEL_CLASS_DEADLINE, DRM_NPOOL_CLASS_DEADLINE);
SAME(ACCEL_CLASS_SCRUB, DRM_NPOOL_CLASS_SCRUB);
SAME(ACCEL_CLASSES, DRM_NPOOL_CLASSES);
SAME(ACCEL_MAX_WEIGHT, DRM_NPOOL_MAX_WEIGHT);
SAME(ACCEL_WEIGHT, DRM_NPOOL_WEIGHT);

SAME(ACCEL_SUBMIT_CLASS, DRM_NPOOL_SUBMIT_CLASS);
SAME(ACCEL_SUBMIT_ANYWAY, DRM_NPOOL_SUBMIT_ANYWAY);

SAME(ACCEL_REASON_NONE, DRM_NPOOL_REASON_NONE);
SAME(ACCEL_REASON_LATE, DRM_NPOOL_REASON_LATE);
SAME(ACCEL_REASON_SRC, DRM_NPOOL_REASON_SRC);
SAME(ACCEL_REASON_DST, DRM_NPOOL_REASON_DST);
SAME(ACCEL_REASON_FAR, DRM_NPOOL_REASON_FAR);
SAME(ACCEL_REASON_SHARE, DRM_NPOOL_REASON_SHARE);
SAME(ACCEL_REASON_ORDER, DRM_NPOOL_REASON_ORDER);
SAME(ACCEL_REASON_WIDE, DRM_NPOOL_REASON_WIDE);

SAME(ACCEL_POLICY_HYBRID, DRM_NPOOL_POLICY_HYBRID);
SAME(ACCEL_POLICY_FIFO, DRM_NPOOL_POLICY_FIFO);
SAME(ACCEL_POLICY_STRICT, DRM_NPOOL_POLICY_STRICT);
SAME(ACCEL_POLICY_STRICT_WINDOWS, DRM_NPOOL_POLICY_STRICT_WINDOWS);

SAME(sizeof(struct accel_port_info), sizeof(struct drm_npool_port_info));
SAME_FIELD(port_info, npu);
SAME_FIELD(port_info, side);
SAME_FIELD(port_info, bandwidth);
SAME_FIELD(port_info, overhead_ns);
SAME_FIELD(port_info, window);
SAME_FIELD(port_info, inflight);
SAME_FIELD(port_info, reserved);
SAME_FIELD(port_info, promised);
SAME_FIELD(port_info, moved);

SAME(ACCEL_TIME_BUCKETS, DRM_NPOOL_BUCKETS);
SAME(sizeof(struct accel_class_stats), sizeof(struct drm_npool_class_stats));
SAME_FIELD(class_stats, npu);
SAME_FIELD(class_stats, class_id);
SAME_FIELD(class_stats, jobs);
SAME_FIELD(class_stats, bytes);
SAME_FIELD(class_stats, windows);
SAME_FIELD(class_stats, missed);
SAME_FIELD(class_stats, demoted);
SAME_FIELD(class_stats, refused);
SAME_FIELD(class_stats, queue_ns);
SAME_FIELD(class_stats, service_ns);

static int fd_of(const struct accel_dev *dev)
{
	return ((const struct drm_dev *)dev)->fd;
}

/* Without room it asks for the count alone. */
static int fetch_list(const struct accel_dev *dev, uint32_t topic, void *items, uint32_t size,
		      uint32_t *count)
{
	uint32_t found = items ? *count : 0;
	int err;

	err = drm_kernel_query(fd_of(dev), topic, 0, found ? items : NULL, size, &found);
	if (!err)
		*count = found;
	return err;
}

int drm_qos_info(struct accel_dev *dev, struct accel_qos_info *info)
{
	struct drm_npool_qos_info from;
	int err;

	err = drm_fetch_one(fd_of(dev), DRM_NPOOL_TOPIC_QOS, 0, &from, sizeof(from));
	if (err)
		return err;
	*info = (struct accel_qos_info) {
		.policy = from.policy,
		.slack_ns = from.slack_ns,
		.granted = from.granted,
		.reserved = from.reserved,
	};
	return 0;
}

int drm_qos_set_policy(struct accel_dev *dev, uint32_t policy)
{
	return drm_kernel_qos_ctl(fd_of(dev), DRM_NPOOL_QOS_POLICY, 0, policy);
}

int drm_qos_set_slack(struct accel_dev *dev, uint64_t slack_ns)
{
	return drm_kernel_qos_ctl(fd_of(dev), DRM_NPOOL_QOS_SLACK, 0, slack_ns);
}

int drm_qos_grant(struct accel_dev *dev, uint64_t client, uint64_t rate)
{
	return drm_kernel_qos_ctl(fd_of(dev), DRM_NPOOL_QOS_GRANT, client, rate);
}

int drm_ports(struct accel_dev *dev, struct accel_port_info *ports, uint32_t *count)
{
	return fetch_list(dev, DRM_NPOOL_TOPIC_PORTS, ports, sizeof(*ports), count);
}

int drm_class_stats(struct accel_dev *dev, struct accel_class_stats *stats, uint32_t *count)
{
	return fetch_list(dev, DRM_NPOOL_TOPIC_CLASSES, stats, sizeof(*stats), count);
}
