// SPDX-License-Identifier: GPL-2.0-only
/*
 * DRM_IOCTL_NPOOL_QUERY: a topic's items are collected under the pool's lock
 * into kernel memory, then copied out at the caller's stride.
 */
#include <linux/uaccess.h>

#include "npool.h"

struct answer {
	void *items;
	u32 count;
	u32 size;
};

static void npu_info(struct npool_npu *npu, struct drm_npool_npu_info *info)
{
	info->id = npu->id;
	info->state = npu->dead ? DRM_NPOOL_NPU_DEAD : DRM_NPOOL_NPU_ONLINE;
	info->bytes_total = npu->bytes;
	info->bytes_free = npu->dead ? 0 : npool_mem_free_bytes(npu);
	info->bandwidth = npu->bandwidth;
	info->latency_ns = npu->latency_ns;
	strscpy(info->backend, npu->ops->backend, sizeof(info->backend));
	strscpy(info->name, npu->name, sizeof(info->name));
}

static void npu_stats(struct npool_npu *npu, struct drm_npool_npu_stats *to)
{
	const struct drm_npool_npu_stats *from = &npu->engine.stats;

	to->id = npu->id;
	to->jobs_submitted = READ_ONCE(from->jobs_submitted);
	to->jobs_done = READ_ONCE(from->jobs_done);
	to->jobs_failed = READ_ONCE(from->jobs_failed);
	to->bytes_copied = READ_ONCE(from->bytes_copied);
	to->bytes_filled = READ_ONCE(from->bytes_filled);
	to->bytes_cleared = atomic64_read(&npu->bytes_cleared);
	to->busy_ns = READ_ONCE(from->busy_ns);
	to->queue_ns = READ_ONCE(from->queue_ns);
}

static void *new_items(struct answer *answer, u32 count, u32 size)
{
	answer->count = count;
	answer->size = size;
	answer->items = kvcalloc(count ?: 1, size, GFP_KERNEL_ACCOUNT);
	return answer->items;
}

static int ask_pool(struct npool_device *pool, struct answer *answer)
{
	struct drm_npool_pool_info *info = new_items(answer, 1, sizeof(*info));
	struct npool_npu *npu;
	unsigned long id;

	if (!info)
		return -ENOMEM;
	info->max_npus = NPOOL_MAX_NPUS;
	info->min_alloc = NPOOL_MIN_ALLOC;
	info->max_ops = NPOOL_MAX_OPS;
	info->max_segs = NPOOL_MAX_SEGS;
	info->max_syncs = NPOOL_MAX_SYNCS;
	info->max_queues = NPOOL_MAX_QUEUES;
	info->queue_depth = NPOOL_QUEUE_DEPTH;
	/* Memory of jobs that have ended counts as free, as a waiter expects. */
	flush_workqueue(pool->wq);
	mutex_lock(&pool->lock);
	info->generation = pool->generation;
	info->npu_count = pool->npu_count;
	xa_for_each(&pool->npus, id, npu) {
		if (npu->dead)
			continue;
		info->bytes_total += npu->bytes;
		info->bytes_free += npool_mem_free_bytes(npu);
	}
	mutex_unlock(&pool->lock);
	return 0;
}

static int ask_npus(struct npool_device *pool, struct answer *answer, bool stats)
{
	u32 size = stats ? sizeof(struct drm_npool_npu_stats) : sizeof(struct drm_npool_npu_info);
	struct npool_npu *npu;
	unsigned long id;
	void *item;

	flush_workqueue(pool->wq);
	mutex_lock(&pool->lock);
	item = new_items(answer, pool->npu_count, size);
	if (!item) {
		mutex_unlock(&pool->lock);
		return -ENOMEM;
	}
	xa_for_each(&pool->npus, id, npu) {
		if (stats)
			npu_stats(npu, item);
		else
			npu_info(npu, item);
		item += size;
	}
	mutex_unlock(&pool->lock);
	return 0;
}

static int ask_client(struct npool_client *self, u64 id, struct answer *answer)
{
	struct drm_npool_client_info *info = new_items(answer, 1, sizeof(*info));

	if (!info)
		return -ENOMEM;
	info->id = id ?: self->id;
	if (info->id != self->id) {
		info->alive = !!xa_load(&self->pool->clients, info->id);
		return 0;
	}
	info->alive = 1;
	spin_lock(&self->lock);
	info->quota_bytes = self->quota;
	info->used_bytes = self->used;
	spin_unlock(&self->lock);
	return 0;
}

static int ask_qos(struct npool_client *client, struct answer *answer)
{
	struct drm_npool_qos_info *info = new_items(answer, 1, sizeof(*info));
	struct npool_device *pool = client->pool;

	if (!info)
		return -ENOMEM;
	mutex_lock(&pool->lock);
	info->policy = pool->policy;
	info->slack_ns = pool->slack_ns;
	mutex_unlock(&pool->lock);
	spin_lock(&client->lock);
	info->granted = client->granted;
	info->reserved = client->reserved;
	spin_unlock(&client->lock);
	return 0;
}

static void port_info(struct npool_npu *npu, u32 side, struct drm_npool_port_info *info)
{
	struct npool_device *pool = npu->pool;
	const struct qos_port *port = &pool->ports.port[npool_port(npu->slot, side)];

	info->npu = npu->id;
	info->side = side;
	spin_lock_irq(&pool->qos_lock);
	info->bandwidth = port->bandwidth;
	info->overhead_ns = port->overhead;
	info->window = port->window;
	info->inflight = port->inflight;
	info->reserved = port->reserved;
	info->promised = port->promised;
	info->moved = port->moved;
	spin_unlock_irq(&pool->qos_lock);
}

static int ask_ports(struct npool_device *pool, struct answer *answer)
{
	struct drm_npool_port_info *info;
	struct npool_npu *npu;
	unsigned long id;

	mutex_lock(&pool->lock);
	info = new_items(answer, 2 * pool->npu_count, sizeof(*info));
	if (!info) {
		mutex_unlock(&pool->lock);
		return -ENOMEM;
	}
	xa_for_each(&pool->npus, id, npu) {
		port_info(npu, 0, info++);
		port_info(npu, 1, info++);
	}
	mutex_unlock(&pool->lock);
	return 0;
}

static void class_stats(struct npool_npu *npu, struct drm_npool_class_stats *stats)
{
	struct npool_engine *engine = &npu->engine;
	u32 class;

	spin_lock_irq(&engine->lock);
	memcpy(stats, engine->classes, sizeof(engine->classes));
	spin_unlock_irq(&engine->lock);
	for (class = 0; class < DRM_NPOOL_CLASSES; class++) {
		stats[class].npu = npu->id;
		stats[class].class_id = class;
	}
}

static int ask_classes(struct npool_device *pool, struct answer *answer)
{
	struct drm_npool_class_stats *stats;
	struct npool_npu *npu;
	unsigned long id;

	mutex_lock(&pool->lock);
	stats = new_items(answer, DRM_NPOOL_CLASSES * pool->npu_count, sizeof(*stats));
	if (!stats) {
		mutex_unlock(&pool->lock);
		return -ENOMEM;
	}
	xa_for_each(&pool->npus, id, npu) {
		class_stats(npu, stats);
		stats += DRM_NPOOL_CLASSES;
	}
	mutex_unlock(&pool->lock);
	return 0;
}

static int ask(struct npool_client *client, const struct drm_npool_query *args,
	       struct answer *answer)
{
	struct npool_device *pool = client->pool;

	if (args->topic != DRM_NPOOL_TOPIC_CLIENT && args->topic <= DRM_NPOOL_TOPIC_CLASSES &&
	    args->id)
		return -EINVAL;
	switch (args->topic) {
	case DRM_NPOOL_TOPIC_POOL:
		return ask_pool(pool, answer);
	case DRM_NPOOL_TOPIC_NPUS:
		return ask_npus(pool, answer, false);
	case DRM_NPOOL_TOPIC_STATS:
		return ask_npus(pool, answer, true);
	case DRM_NPOOL_TOPIC_CLIENT:
		return ask_client(client, args->id, answer);
	case DRM_NPOOL_TOPIC_QOS:
		return ask_qos(client, answer);
	case DRM_NPOOL_TOPIC_PORTS:
		return ask_ports(pool, answer);
	case DRM_NPOOL_TOPIC_CLASSES:
		return ask_classes(pool, answer);
	default:
		return -EOPNOTSUPP;
	}
}

static int tell(const struct drm_npool_query *args, const struct answer *answer)
{
	u32 count = min(args->count, answer->count);
	u8 __user *to = u64_to_user_ptr(args->data);
	u32 size = answer->size;
	u32 i;

	if (args->stride < size)
		return -EINVAL;
	for (i = 0; i < count; i++) {
		if (copy_to_user(to, answer->items + (size_t)i * size, size) ||
		    clear_user(to + size, args->stride - size))
			return -EFAULT;
		to += args->stride;
	}
	return 0;
}

/** npool_query_ioctl() - DRM_IOCTL_NPOOL_QUERY */
int npool_query_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_npool_query *args = data;
	struct answer answer = {};
	int ret;

	if (args->flags)
		return -EOPNOTSUPP;
	ret = ask(file->driver_priv, args, &answer);
	if (!ret && args->data)
		ret = tell(args, &answer);
	if (!ret && !args->data && args->stride && args->stride < answer.size)
		ret = -EINVAL;
	if (!ret) {
		args->count = answer.count;
		args->stride = answer.size;
	}
	kvfree(answer.items);
	return ret;
}
