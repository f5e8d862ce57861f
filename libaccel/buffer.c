// SPDX-License-Identifier: MIT
/*
 * Buffers, as far as they need no provider: what a call may ask for.
 */
#include <errno.h>
#include <stddef.h>

#include "provider.h"

static int check_where(const struct accel_where *where)
{
	if (where->npu_count && !where->npus)
		return -EINVAL;
	switch (where->placement) {
	case ACCEL_PLACE_ANY:
		return where->stripe ? -EINVAL : 0;
	case ACCEL_PLACE_NPU:
		return where->stripe || where->npu_count != 1 ? -EINVAL : 0;
	case ACCEL_PLACE_INTERLEAVE:
		return !where->stripe || where->npu_count < 2 ? -EINVAL : 0;
	}
	return -EOPNOTSUPP;
}

int accel_buffer_create(struct accel_dev *dev, uint64_t size, const struct accel_where *where,
			struct accel_buffer **buffer)
{
	static const struct accel_where anywhere = { .placement = ACCEL_PLACE_ANY };
	int err;

	if (!dev || !size || !buffer)
		return -EINVAL;
	if (!where)
		where = &anywhere;
	err = check_where(where);
	if (err)
		return err;
	return dev->ops->buffer_create(dev, size, where, buffer);
}

void accel_buffer_close(struct accel_buffer *buffer)
{
	if (buffer)
		buffer->dev->ops->buffer_close(buffer);
}

int accel_buffer_info(struct accel_buffer *buffer, struct accel_buffer_info *info, uint32_t *npus,
		      uint32_t room)
{
	if (!buffer || !info || (room && !npus))
		return -EINVAL;
	return buffer->dev->ops->buffer_info(buffer, info, npus, room);
}

int accel_buffer_map(struct accel_buffer *buffer, uint32_t flags, void **ptr)
{
	if (!buffer || !ptr)
		return -EINVAL;
	if (flags & ~ACCEL_MAP_POPULATE)
		return -EOPNOTSUPP;
	return buffer->dev->ops->buffer_map(buffer, flags, ptr);
}

int accel_buffer_unmap(struct accel_dev *dev, void *ptr, uint64_t size)
{
	if (!dev || !ptr || !size)
		return -EINVAL;
	return dev->ops->buffer_unmap(dev, ptr, size);
}

int accel_buffer_export(struct accel_buffer *buffer, int *fd)
{
	if (!buffer || !fd)
		return -EINVAL;
	return buffer->dev->ops->buffer_export(buffer, fd);
}

int accel_buffer_import(struct accel_dev *dev, int fd, struct accel_buffer **buffer)
{
	if (!dev || !buffer)
		return -EINVAL;
	return dev->ops->buffer_import(dev, fd, buffer);
}
