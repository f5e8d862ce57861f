// SPDX-License-Identifier: MIT
/*
 * Changing a pool's members.
 */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "provider.h"

static int check_name(const char *name)
{
	size_t len = strnlen(name, ACCEL_NAME_LEN);

	if (!len || len == ACCEL_NAME_LEN)
		return -EINVAL;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)name[i]) && name[i] != '-' && name[i] != '_')
			return -EINVAL;
	return 0;
}

int accel_npu_add(struct accel_dev *dev, const struct accel_npu_config *config, uint32_t *id)
{
	if (!dev || !config || !id || !config->bytes || check_name(config->name))
		return -EINVAL;
	return dev->ops->npu_add(dev, config, id);
}

int accel_npu_remove(struct accel_dev *dev, uint32_t id)
{
	if (!dev)
		return -EINVAL;
	return dev->ops->npu_remove(dev, id);
}

int accel_npu_inject(struct accel_dev *dev, uint32_t id, enum accel_fault fault, uint64_t arg)
{
	if (!dev)
		return -EINVAL;
	return dev->ops->npu_inject(dev, id, fault, arg);
}
