// SPDX-License-Identifier: GPL-2.0-only
/*
 * Open files: their number, their quota, what they leave behind.
 *
 * A buffer is charged to the file that created it until that file closes its
 * last handle to it, whoever else holds the memory then.
 */
#include <linux/capability.h>
#include <linux/moduleparam.h>

#include <drm/drm_print.h>

#include "npool.h"

static_assert(BITS_PER_LONG == 64, "client numbers are indexes of an xarray");

static unsigned long long default_quota;
module_param(default_quota, ullong, 0644);
MODULE_PARM_DESC(default_quota, "bytes in buffers that a newly opened file may create, 0 no limit");

/** npool_client_charge() - count @bytes, or -EDQUOT */
int npool_client_charge(struct npool_client *client, u64 bytes)
{
	u64 used;
	int ret = 0;

	spin_lock(&client->lock);
	if (check_add_overflow(client->used, bytes, &used) ||
	    (client->quota && used > client->quota))
		ret = -EDQUOT;
	else
		client->used = used;
	spin_unlock(&client->lock);
	return ret;
}

/** npool_client_uncharge() - give @bytes back */
void npool_client_uncharge(struct npool_client *client, u64 bytes)
{
	spin_lock(&client->lock);
	client->used -= bytes;
	spin_unlock(&client->lock);
}

/** npool_set_quota_ioctl() - DRM_IOCTL_NPOOL_SET_QUOTA */
int npool_set_quota_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct npool_client *client = file->driver_priv;
	struct drm_npool_set_quota *args = data;
	bool may_raise = capable(CAP_SYS_ADMIN);
	int ret = 0;

	if (args->flags)
		return -EOPNOTSUPP;
	if (args->pad)
		return -EINVAL;
	spin_lock(&client->lock);
	if (client->quota && (!args->bytes || args->bytes > client->quota) && !may_raise)
		ret = -EPERM;
	else
		client->quota = args->bytes;
	spin_unlock(&client->lock);
	return ret;
}

/** npool_client_fdinfo() - &drm_driver.show_fdinfo */
void npool_client_fdinfo(struct drm_printer *p, struct drm_file *file)
{
	struct npool_client *client = file->driver_priv;

	drm_printf(p, "drm-engine-copy:\t%llu ns\n", (u64)atomic64_read(&client->busy_ns));
	drm_printf(p, "drm-engine-capacity-copy:\t%u\n", READ_ONCE(client->pool->npu_count));
	drm_show_memory_stats(p, file);
	drm_printf(p, "npool-client:\t%llu\n", client->id);
	spin_lock(&client->lock);
	drm_printf(p, "npool-used:\t%llu\n", client->used);
	drm_printf(p, "npool-quota:\t%llu\n", client->quota);
	spin_unlock(&client->lock);
}

/** npool_client_open() - &drm_driver.open */
int npool_client_open(struct drm_device *drm, struct drm_file *file)
{
	struct npool_device *pool = to_npool(drm);
	struct npool_client *client;
	int ret;

	client = kzalloc(sizeof(*client), GFP_KERNEL_ACCOUNT);
	if (!client)
		return -ENOMEM;
	client->pool = pool;
	client->id = atomic64_inc_return(&pool->next_client);
	client->quota = READ_ONCE(default_quota);
	spin_lock_init(&client->lock);
	xa_init_flags(&client->queues, XA_FLAGS_ALLOC1);
	file->driver_priv = client;
	ret = xa_err(xa_store(&pool->clients, client->id, client, GFP_KERNEL));
	if (ret)
		kfree(client);
	return ret;
}

/**
 * npool_client_close() - &drm_driver.postclose
 * @drm: the pool's device
 * @file: the open file
 *
 * Handles and mappings are gone by now. The number counts as alive until no
 * engine can write for this file any more.
 */
void npool_client_close(struct drm_device *drm, struct drm_file *file)
{
	struct npool_client *client = file->driver_priv;

	npool_queues_cancel(client);
	xa_erase(&client->pool->clients, client->id);
	xa_destroy(&client->queues);
	kvfree(client->promised);
	kfree_rcu_mightsleep(client);
}
