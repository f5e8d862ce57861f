// SPDX-License-Identifier: MIT
/*
 * Timelines of the drm provider: timeline syncobjs.
 */
#include <errno.h>
#include <stdlib.h>
#include <xf86drm.h>

#include "drm.h"

static int fd_of(const struct accel_timeline *timeline)
{
	return ((struct drm_dev *)timeline->dev)->fd;
}

static uint32_t handle_of(const struct accel_timeline *timeline)
{
	return ((const struct drm_timeline *)timeline)->handle;
}

static int wrap(struct accel_dev *dev, uint32_t handle, struct accel_timeline **timeline)
{
	struct drm_timeline *new = calloc(1, sizeof(*new));

	if (!new) {
		drm_kernel_sync_destroy(((struct drm_dev *)dev)->fd, handle);
		return -ENOMEM;
	}
	new->base.dev = dev;
	new->handle = handle;
	*timeline = &new->base;
	return 0;
}

int drm_timeline_create(struct accel_dev *dev, struct accel_timeline **timeline)
{
	uint32_t handle;
	int err = drm_kernel_sync_create(((struct drm_dev *)dev)->fd, &handle);

	return err ? err : wrap(dev, handle, timeline);
}

void drm_timeline_close(struct accel_timeline *timeline)
{
	drm_kernel_sync_destroy(fd_of(timeline), handle_of(timeline));
	free(timeline);
}

int drm_timeline_export(struct accel_timeline *timeline, int *fd)
{
	return drm_kernel_sync_export(fd_of(timeline), handle_of(timeline), fd);
}

int drm_timeline_import(struct accel_dev *dev, int fd, struct accel_timeline **timeline)
{
	uint32_t handle;
	int err = drm_kernel_sync_import(((struct drm_dev *)dev)->fd, fd, &handle);

	return err ? err : wrap(dev, handle, timeline);
}

/* The kernel would take a value that does not grow, and order nothing by it. */
int drm_timeline_signal(struct accel_timeline *timeline, uint64_t value)
{
	uint64_t last;
	int err;

	err = drm_kernel_sync_query(fd_of(timeline), handle_of(timeline),
				    DRM_SYNCOBJ_QUERY_FLAGS_LAST_SUBMITTED, &last);
	if (err)
		return err;
	if (value <= last)
		return -EINVAL;
	return drm_kernel_sync_signal(fd_of(timeline), handle_of(timeline), value);
}

int drm_timeline_wait(struct accel_timeline *timeline, uint64_t value, int64_t deadline_ns)
{
	return drm_kernel_sync_wait(fd_of(timeline), handle_of(timeline), value, deadline_ns);
}

int drm_timeline_query(struct accel_timeline *timeline, uint64_t *value)
{
	return drm_kernel_sync_query(fd_of(timeline), handle_of(timeline), 0, value);
}
