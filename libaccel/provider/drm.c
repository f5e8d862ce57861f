// SPDX-License-Identifier: MIT
/*
 * The drm provider's device: opening and closing, what it tells, and its table.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "drm.h"

#define NODE "/dev/accel/accel"
/* Minors that the kernel gives to accel devices. */
#define NODES 64

int drm_fetch_one(int fd, uint32_t topic, uint64_t id, void *item, uint32_t size)
{
	uint32_t count = 1;

	return drm_kernel_query(fd, topic, id, item, size, &count);
}

/* -EPROTO where the driver is npool's and yet does not answer as this library knows. */
static int learn(struct drm_dev *dev)
{
	struct drm_npool_client_info client;
	struct drm_npool_pool_info pool;

	if (drm_fetch_one(dev->fd, DRM_NPOOL_TOPIC_POOL, 0, &pool, sizeof(pool)) ||
	    drm_fetch_one(dev->fd, DRM_NPOOL_TOPIC_CLIENT, 0, &client, sizeof(client)))
		return -EPROTO;
	dev->base.client = client.id;
	dev->base.max_ops = pool.max_ops;
	dev->base.max_syncs = pool.max_syncs;
	return 0;
}

static int open_path(const char *path, struct accel_dev **dev)
{
	struct drm_dev *new;
	int err;

	new = calloc(1, sizeof(*new));
	if (!new)
		return -ENOMEM;
	new->fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY);
	if (new->fd < 0) {
		err = errno == ENXIO ? -ENODEV : -errno;
		goto out_free;
	}
	err = drm_kernel_check(new->fd);
	if (!err)
		err = learn(new);
	if (!err)
		err = -pthread_mutex_init(&new->lock, NULL);
	if (err)
		goto out_close;
	*dev = &new->base;
	return 0;

out_close:
	close(new->fd);
out_free:
	free(new);
	return err;
}

static int open_first(struct accel_dev **dev)
{
	char path[sizeof(NODE) + 12];

	for (int i = 0; i < NODES; i++) {
		snprintf(path, sizeof(path), NODE "%d", i);
		if (!open_path(path, dev)) {
			snprintf((*dev)->uri, sizeof((*dev)->uri), "drm:%s", path);
			return 0;
		}
	}
	return -ENODEV;
}

static int drm_open(const char *rest, struct accel_dev **dev)
{
	if (!rest)
		return open_first(dev);
	return *rest ? open_path(rest, dev) : -EINVAL;
}

static void drm_close(struct accel_dev *base)
{
	struct drm_dev *dev = (struct drm_dev *)base;

	drm_copiers_drop(dev, ANY_NPU);
	close(dev->fd);
	pthread_mutex_destroy(&dev->lock);
	free(dev->handles);
	free(dev);
}

static int drm_pool_info(struct accel_dev *base, struct accel_pool_info *info)
{
	struct drm_npool_pool_info from;
	int err;

	err = drm_fetch_one(((struct drm_dev *)base)->fd, DRM_NPOOL_TOPIC_POOL, 0, &from,
			    sizeof(from));
	if (err)
		return err;
	*info = (struct accel_pool_info) {
		.generation = from.generation,
		.bytes_total = from.bytes_total,
		.bytes_free = from.bytes_free,
		.min_alloc = from.min_alloc,
		.npu_count = from.npu_count,
		.max_npus = from.max_npus,
		.max_ops = from.max_ops,
		.max_segs = from.max_segs,
		.max_syncs = from.max_syncs,
		.max_queues = from.max_queues,
		.queue_depth = from.queue_depth,
	};
	return 0;
}

/* Room of none, as NULL, asks for the count alone. */
static int fetch_all(struct drm_dev *dev, uint32_t topic, uint32_t size, uint32_t room,
		     void **items, uint32_t *count)
{
	int err;

	*count = room;
	*items = calloc(room + 1, size);
	if (!*items)
		return -ENOMEM;
	err = drm_kernel_query(dev->fd, topic, 0, room ? *items : NULL, size, count);
	if (err)
		free(*items);
	return err;
}

static void take_npu(const struct drm_npool_npu_info *from, struct accel_npu_info *npu)
{
	*npu = (struct accel_npu_info) {
		.id = from->id,
		.state = from->state,
		.bytes_total = from->bytes_total,
		.bytes_free = from->bytes_free,
		.bandwidth = from->bandwidth,
		.latency_ns = from->latency_ns,
	};
	memcpy(npu->backend, from->backend, sizeof(npu->backend));
	memcpy(npu->name, from->name, sizeof(npu->name));
	npu->backend[sizeof(npu->backend) - 1] = 0;
	npu->name[sizeof(npu->name) - 1] = 0;
}

/* Queues that are kept for copies must not be why a dead NPU is listed. */
static void drop_dead(struct drm_dev *dev)
{
	struct drm_npool_npu_info *npus = NULL;
	uint32_t room = 0, count = 0;

	if (drm_kernel_query(dev->fd, DRM_NPOOL_TOPIC_NPUS, 0, NULL, 0, &room) ||
	    fetch_all(dev, DRM_NPOOL_TOPIC_NPUS, sizeof(*npus), room, (void **)&npus, &count))
		return;
	for (uint32_t i = 0; i < room && i < count; i++)
		if (npus[i].state != DRM_NPOOL_NPU_ONLINE)
			drm_copiers_drop(dev, npus[i].id);
	free(npus);
}

static int drm_npus(struct accel_dev *base, struct accel_npu_info *npus, uint32_t *count)
{
	struct drm_dev *dev = (struct drm_dev *)base;
	struct drm_npool_npu_info *from = NULL;
	uint32_t room = npus ? *count : 0, found;
	bool copiers;
	int err;

	pthread_mutex_lock(&dev->lock);
	copiers = dev->copiers;
	pthread_mutex_unlock(&dev->lock);
	if (copiers)
		drop_dead(dev);
	err = fetch_all(dev, DRM_NPOOL_TOPIC_NPUS, sizeof(*from), room, (void **)&from, &found);
	if (err)
		return err;
	for (uint32_t i = 0; i < room && i < found; i++)
		take_npu(&from[i], &npus[i]);
	free(from);
	*count = found;
	return 0;
}

static void take_stats(const struct drm_npool_npu_stats *from, struct accel_npu_stats *stats)
{
	*stats = (struct accel_npu_stats) {
		.id = from->id,
		.jobs_submitted = from->jobs_submitted,
		.jobs_done = from->jobs_done,
		.jobs_failed = from->jobs_failed,
		.bytes_copied = from->bytes_copied,
		.bytes_filled = from->bytes_filled,
		.bytes_cleared = from->bytes_cleared,
		.busy_ns = from->busy_ns,
		.queue_ns = from->queue_ns,
	};
}

static int drm_stats(struct accel_dev *base, struct accel_npu_stats *stats, uint32_t *count)
{
	struct drm_dev *dev = (struct drm_dev *)base;
	struct drm_npool_npu_stats *from = NULL;
	uint32_t room = stats ? *count : 0, found;
	int err;

	err = fetch_all(dev, DRM_NPOOL_TOPIC_STATS, sizeof(*from), room, (void **)&from, &found);
	if (err)
		return err;
	for (uint32_t i = 0; i < room && i < found; i++)
		take_stats(&from[i], &stats[i]);
	free(from);
	*count = found;
	return 0;
}

static int drm_client_alive(struct accel_dev *base, uint64_t id)
{
	struct drm_npool_client_info info;
	int err;

	err = drm_fetch_one(((struct drm_dev *)base)->fd, DRM_NPOOL_TOPIC_CLIENT, id, &info,
			    sizeof(info));
	return err ? err : info.alive != 0;
}

static int drm_quota(struct accel_dev *base, struct accel_quota *quota)
{
	struct drm_npool_client_info info;
	int err;

	err = drm_fetch_one(((struct drm_dev *)base)->fd, DRM_NPOOL_TOPIC_CLIENT, 0, &info,
			    sizeof(info));
	if (err)
		return err;
	quota->limit = info.quota_bytes;
	quota->used = info.used_bytes;
	return 0;
}

static int drm_set_quota(struct accel_dev *base, uint64_t bytes)
{
	return drm_kernel_set_quota(((struct drm_dev *)base)->fd, bytes);
}

const struct provider accel_drm_provider = {
	.scheme = "drm",
	.open = drm_open,
	.close = drm_close,
	.pool_info = drm_pool_info,
	.npus = drm_npus,
	.stats = drm_stats,
	.client_alive = drm_client_alive,
	.quota = drm_quota,
	.set_quota = drm_set_quota,
	.npu_add = drm_npu_add,
	.npu_remove = drm_npu_remove,
	.npu_inject = drm_npu_inject,
	.buffer_create = drm_buffer_create,
	.buffer_close = drm_buffer_close,
	.buffer_info = drm_buffer_info,
	.buffer_map = drm_buffer_map,
	.buffer_unmap = drm_buffer_unmap,
	.buffer_export = drm_buffer_export,
	.buffer_import = drm_buffer_import,
	.qos_info = drm_qos_info,
	.qos_set_policy = drm_qos_set_policy,
	.qos_set_slack = drm_qos_set_slack,
	.qos_grant = drm_qos_grant,
	.ports = drm_ports,
	.class_stats = drm_class_stats,
	.queue_create = drm_queue_create,
	.queue_destroy = drm_queue_destroy,
	.queue_submit = drm_queue_submit,
	.queue_wait = drm_queue_wait,
	.copy = drm_copy,
	.timeline_create = drm_timeline_create,
	.timeline_close = drm_timeline_close,
	.timeline_export = drm_timeline_export,
	.timeline_import = drm_timeline_import,
	.timeline_signal = drm_timeline_signal,
	.timeline_wait = drm_timeline_wait,
	.timeline_query = drm_timeline_query,
};
