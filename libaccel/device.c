// SPDX-License-Identifier: MIT
/*
 * Pools: finding the provider of an address, and what can be asked of a pool.
 */
#include <errno.h>
#include <string.h>

#include "provider.h"

/* Order matters: accel_open(NULL) takes the first that opens. */
static const struct provider *const providers[] = {
	&accel_drm_provider,
	&accel_soft_provider,
};

#define PROVIDERS (sizeof(providers) / sizeof(providers[0]))

/* @rest NULL has the provider choose; it then writes the address itself. */
static int open_with(const struct provider *ops, const char *uri, const char *rest,
		     struct accel_dev **dev)
{
	struct accel_dev *new;
	int err;

	err = ops->open(rest, &new);
	if (err)
		return err;
	new->ops = ops;
	if (uri)
		strcpy(new->uri, uri);
	*dev = new;
	return 0;
}

static int open_default(struct accel_dev **dev)
{
	int err = -ENODEV;

	for (size_t i = 0; i < PROVIDERS; i++) {
		err = open_with(providers[i], NULL, NULL, dev);
		if (!err)
			break;
	}
	return err;
}

int accel_open(const char *uri, struct accel_dev **dev)
{
	if (!dev)
		return -EINVAL;
	if (!uri)
		return open_default(dev);
	if (strnlen(uri, ACCEL_URI_MAX) == ACCEL_URI_MAX)
		return -EINVAL;
	for (size_t i = 0; i < PROVIDERS; i++) {
		size_t len = strlen(providers[i]->scheme);

		if (!strncmp(uri, providers[i]->scheme, len) && uri[len] == ':')
			return open_with(providers[i], uri, uri + len + 1, dev);
	}
	return -EINVAL;
}

void accel_close(struct accel_dev *dev)
{
	if (dev)
		dev->ops->close(dev);
}

const char *accel_uri(const struct accel_dev *dev)
{
	return dev->uri;
}

const char *accel_version(void)
{
	return ACCEL_VERSION;
}

int accel_pool_info(struct accel_dev *dev, struct accel_pool_info *info)
{
	if (!dev || !info)
		return -EINVAL;
	return dev->ops->pool_info(dev, info);
}

int accel_npus(struct accel_dev *dev, struct accel_npu_info *npus, uint32_t *count)
{
	if (!dev || !count)
		return -EINVAL;
	return dev->ops->npus(dev, npus, count);
}

int accel_stats(struct accel_dev *dev, struct accel_npu_stats *stats, uint32_t *count)
{
	if (!dev || !count)
		return -EINVAL;
	return dev->ops->stats(dev, stats, count);
}

uint64_t accel_client_id(const struct accel_dev *dev)
{
	return dev->client;
}

int accel_client_alive(struct accel_dev *dev, uint64_t id)
{
	if (!dev)
		return -EINVAL;
	if (!id)
		return 0;
	return dev->ops->client_alive(dev, id);
}

int accel_quota(struct accel_dev *dev, struct accel_quota *quota)
{
	if (!dev || !quota)
		return -EINVAL;
	return dev->ops->quota(dev, quota);
}

int accel_set_quota(struct accel_dev *dev, uint64_t bytes)
{
	if (!dev)
		return -EINVAL;
	return dev->ops->set_quota(dev, bytes);
}
