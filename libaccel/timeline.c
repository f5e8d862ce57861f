// SPDX-License-Identifier: MIT
/*
 * Timelines, as far as they need no provider.
 */
#include <errno.h>
#include <stddef.h>

#include "clock.h"
#include "provider.h"

int accel_timeline_create(struct accel_dev *dev, struct accel_timeline **timeline)
{
	if (!dev || !timeline)
		return -EINVAL;
	return dev->ops->timeline_create(dev, timeline);
}

void accel_timeline_close(struct accel_timeline *timeline)
{
	if (timeline)
		timeline->dev->ops->timeline_close(timeline);
}

int accel_timeline_export(struct accel_timeline *timeline, int *fd)
{
	if (!timeline || !fd)
		return -EINVAL;
	return timeline->dev->ops->timeline_export(timeline, fd);
}

int accel_timeline_import(struct accel_dev *dev, int fd, struct accel_timeline **timeline)
{
	if (!dev || !timeline)
		return -EINVAL;
	return dev->ops->timeline_import(dev, fd, timeline);
}

int accel_timeline_signal(struct accel_timeline *timeline, uint64_t value)
{
	if (!timeline || !value)
		return -EINVAL;
	return timeline->dev->ops->timeline_signal(timeline, value);
}

int accel_timeline_wait(struct accel_timeline *timeline, uint64_t value, int64_t timeout_ns)
{
	if (!timeline)
		return -EINVAL;
	if (!value)
		return 0;
	return timeline->dev->ops->timeline_wait(timeline, value, clock_deadline(timeout_ns));
}

int accel_timeline_query(struct accel_timeline *timeline, uint64_t *value)
{
	if (!timeline || !value)
		return -EINVAL;
	return timeline->dev->ops->timeline_query(timeline, value);
}
