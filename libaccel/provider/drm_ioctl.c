// SPDX-License-Identifier: MIT
/*
 * Every call into the kernel driver, by libdrm. The only file that makes any.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <xf86drm.h>

#include "drm.h"

static int call(int fd, unsigned long request, void *arg)
{
	return drmIoctl(fd, request, arg) ? -errno : 0;
}

/* A driver older than classes finds its structs too long, as soon as they are used. */
static int older(int err)
{
	return err == -E2BIG ? -EOPNOTSUPP : err;
}

/* libdrm's calls return a negative errno, or -1 with errno set, by no rule. */
static int result(int err)
{
	if (!err)
		return 0;
	return errno ? -errno : err;
}

/* -ENODEV where @fd is not npool's. */
int drm_kernel_check(int fd)
{
	drmVersion *version = drmGetVersion(fd);
	int err = -ENODEV;

	if (!version)
		return err;
	if (version->name_len == 5 && !memcmp(version->name, "npool", 5))
		err = 0;
	drmFreeVersion(version);
	return err;
}

/* @count: in, room at @data; out, items there are. */
int drm_kernel_query(int fd, uint32_t topic, uint64_t id, void *data, uint32_t stride,
		     uint32_t *count)
{
	struct drm_npool_query arg = {
		.topic = topic, .id = id, .data = (uintptr_t)data, .count = *count,
		.stride = stride,
	};
	int err = call(fd, DRM_IOCTL_NPOOL_QUERY, &arg);

	if (!err)
		*count = arg.count;
	return err;
}

int drm_kernel_bo_create(int fd, struct drm_npool_bo_create *arg)
{
	return call(fd, DRM_IOCTL_NPOOL_BO_CREATE, arg);
}

int drm_kernel_bo_info(int fd, struct drm_npool_bo_info *arg)
{
	return call(fd, DRM_IOCTL_NPOOL_BO_INFO, arg);
}

int drm_kernel_bo_close(int fd, uint32_t handle)
{
	errno = 0;
	return result(drmCloseBufferHandle(fd, handle));
}

int drm_kernel_export(int fd, uint32_t handle, int *prime)
{
	errno = 0;
	return result(drmPrimeHandleToFD(fd, handle, DRM_CLOEXEC | DRM_RDWR, prime));
}

int drm_kernel_import(int fd, int prime, uint32_t *handle)
{
	errno = 0;
	return result(drmPrimeFDToHandle(fd, prime, handle));
}

int drm_kernel_queue_create(int fd, struct drm_npool_queue_create *arg)
{
	return older(call(fd, DRM_IOCTL_NPOOL_QUEUE_CREATE, arg));
}

int drm_kernel_queue_destroy(int fd, uint32_t queue)
{
	struct drm_npool_queue_destroy arg = { .queue = queue };

	return call(fd, DRM_IOCTL_NPOOL_QUEUE_DESTROY, &arg);
}

int drm_kernel_submit(int fd, struct drm_npool_submit *arg)
{
	return older(call(fd, DRM_IOCTL_NPOOL_SUBMIT, arg));
}

int drm_kernel_wait(int fd, struct drm_npool_wait *arg)
{
	return call(fd, DRM_IOCTL_NPOOL_WAIT, arg);
}

int drm_kernel_set_quota(int fd, uint64_t bytes)
{
	struct drm_npool_set_quota arg = { .bytes = bytes };

	return call(fd, DRM_IOCTL_NPOOL_SET_QUOTA, &arg);
}

int drm_kernel_npu_ctl(int fd, struct drm_npool_npu_ctl *arg)
{
	return call(fd, DRM_IOCTL_NPOOL_NPU_CTL, arg);
}

int drm_kernel_qos_ctl(int fd, uint32_t action, uint64_t client, uint64_t value)
{
	struct drm_npool_qos_ctl arg = { .action = action, .client = client, .value = value };

	return call(fd, DRM_IOCTL_NPOOL_QOS_CTL, &arg);
}

int drm_kernel_sync_create(int fd, uint32_t *handle)
{
	errno = 0;
	return result(drmSyncobjCreate(fd, 0, handle));
}

int drm_kernel_sync_destroy(int fd, uint32_t handle)
{
	errno = 0;
	return result(drmSyncobjDestroy(fd, handle));
}

int drm_kernel_sync_export(int fd, uint32_t handle, int *obj)
{
	errno = 0;
	return result(drmSyncobjHandleToFD(fd, handle, obj));
}

int drm_kernel_sync_import(int fd, int obj, uint32_t *handle)
{
	errno = 0;
	return result(drmSyncobjFDToHandle(fd, obj, handle));
}

int drm_kernel_sync_signal(int fd, uint32_t handle, uint64_t point)
{
	errno = 0;
	return result(drmSyncobjTimelineSignal(fd, &handle, &point, 1));
}

int drm_kernel_sync_wait(int fd, uint32_t handle, uint64_t point, int64_t deadline_ns)
{
	errno = 0;
	return result(drmSyncobjTimelineWait(fd, &handle, &point, 1, deadline_ns,
					     DRM_SYNCOBJ_WAIT_FLAGS_WAIT_FOR_SUBMIT, NULL));
}

int drm_kernel_sync_query(int fd, uint32_t handle, uint32_t flags, uint64_t *point)
{
	errno = 0;
	return result(drmSyncobjQuery2(fd, &handle, point, 1, flags));
}
