// SPDX-License-Identifier: MIT
/*
 * Buffers of the drm provider. A device file knows a buffer by one GEM handle,
 * however often it is imported: handles are counted here, and closed with their
 * last accel_buffer.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "drm.h"

#define HANDLE_STEP 64u

/* Device lock held. */
static int make_room(struct drm_dev *dev, uint32_t handle)
{
	uint32_t room = (handle / HANDLE_STEP + 1) * HANDLE_STEP;
	uint32_t *grown;

	if (handle < dev->handle_room)
		return 0;
	grown = realloc(dev->handles, room * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	memset(grown + dev->handle_room, 0, (room - dev->handle_room) * sizeof(*grown));
	dev->handles = grown;
	dev->handle_room = room;
	return 0;
}

/* Device lock held: an import could otherwise be given a handle that is being closed. */
static int get_handle(struct drm_dev *dev, uint32_t handle)
{
	int err = make_room(dev, handle);

	if (err) {
		/* It has no count yet, so nobody else has it. */
		drm_kernel_bo_close(dev->fd, handle);
		return err;
	}
	dev->handles[handle]++;
	return 0;
}

static void put_handle(struct drm_dev *dev, uint32_t handle)
{
	pthread_mutex_lock(&dev->lock);
	if (!--dev->handles[handle])
		drm_kernel_bo_close(dev->fd, handle);
	pthread_mutex_unlock(&dev->lock);
}

/* Takes over the caller's count of the handle, also when it fails. */
static int wrap(struct drm_dev *dev, uint32_t handle, struct accel_buffer **buffer)
{
	uint32_t npu = 0;
	struct drm_npool_bo_info info = {
		.handle = handle, .npus = (uintptr_t)&npu, .npu_count = 1,
	};
	struct drm_buffer *new;
	int err = -ENOMEM;

	new = calloc(1, sizeof(*new));
	if (!new)
		goto out_put;
	err = drm_kernel_bo_info(dev->fd, &info);
	if (err)
		goto out_free;
	new->base.dev = &dev->base;
	new->base.size = info.size;
	new->handle = handle;
	new->npu = npu;
	new->foreign = info.flags & DRM_NPOOL_BO_FOREIGN;
	new->mmap_offset = info.mmap_offset;
	*buffer = &new->base;
	return 0;

out_free:
	free(new);
out_put:
	put_handle(dev, handle);
	return err;
}

int drm_buffer_create(struct accel_dev *base, uint64_t size, const struct accel_where *where,
		      struct accel_buffer **buffer)
{
	struct drm_dev *dev = (struct drm_dev *)base;
	struct drm_npool_bo_create arg = {
		.size = size, .stripe = where->stripe, .npus = (uintptr_t)where->npus,
		.npu_count = where->npu_count, .placement = where->placement,
	};
	int err;

	err = drm_kernel_bo_create(dev->fd, &arg);
	if (err)
		return err;
	pthread_mutex_lock(&dev->lock);
	err = get_handle(dev, arg.handle);
	pthread_mutex_unlock(&dev->lock);
	return err ? err : wrap(dev, arg.handle, buffer);
}

void drm_buffer_close(struct accel_buffer *base)
{
	put_handle((struct drm_dev *)base->dev, ((struct drm_buffer *)base)->handle);
	free(base);
}

int drm_buffer_info(struct accel_buffer *base, struct accel_buffer_info *info, uint32_t *npus,
		    uint32_t room)
{
	struct drm_dev *dev = (struct drm_dev *)base->dev;
	struct drm_npool_bo_info arg = {
		.handle = ((struct drm_buffer *)base)->handle,
		.npus = room ? (uintptr_t)npus : 0, .npu_count = room,
	};
	int err = drm_kernel_bo_info(dev->fd, &arg);

	if (err)
		return err;
	*info = (struct accel_buffer_info) {
		.size = arg.size,
		.stripe = arg.stripe,
		.flags = (arg.flags & DRM_NPOOL_BO_LOST ? ACCEL_BUFFER_LOST : 0) |
			 (arg.flags & DRM_NPOOL_BO_FOREIGN ? ACCEL_BUFFER_FOREIGN : 0),
		.placement = arg.placement,
		.npu_count = arg.npu_count,
	};
	return 0;
}

int drm_buffer_map(struct accel_buffer *base, uint32_t flags, void **ptr)
{
	struct drm_buffer *buffer = (struct drm_buffer *)base;
	struct drm_dev *dev = (struct drm_dev *)base->dev;
	int populate = flags & ACCEL_MAP_POPULATE ? MAP_POPULATE : 0;
	void *map;

	map = mmap(NULL, base->size, PROT_READ | PROT_WRITE, MAP_SHARED | populate, dev->fd,
		   buffer->mmap_offset);
	if (map == MAP_FAILED)
		return -errno;
	*ptr = map;
	return 0;
}

int drm_buffer_unmap(struct accel_dev *dev, void *ptr, uint64_t size)
{
	(void)dev;
	return munmap(ptr, size) ? -errno : 0;
}

int drm_buffer_export(struct accel_buffer *base, int *fd)
{
	struct drm_buffer *buffer = (struct drm_buffer *)base;

	return drm_kernel_export(((struct drm_dev *)base->dev)->fd, buffer->handle, fd);
}

int drm_buffer_import(struct accel_dev *base, int fd, struct accel_buffer **buffer)
{
	struct drm_dev *dev = (struct drm_dev *)base;
	uint32_t handle;
	int err;

	pthread_mutex_lock(&dev->lock);
	err = drm_kernel_import(dev->fd, fd, &handle);
	if (!err)
		err = get_handle(dev, handle);
	pthread_mutex_unlock(&dev->lock);
	return err ? err : wrap(dev, handle, buffer);
}
