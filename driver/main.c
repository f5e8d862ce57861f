// SPDX-License-Identifier: GPL-2.0-only
/*
 * The module: one accel device, which is one pool, from load to unload. Files,
 * dma-bufs and fences hold the module, backends by their symbols, so that at
 * unload nothing is left but the empty pool.
 */
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include <linux/platform_device.h>

#include <drm/drm_accel.h>
#include <drm/drm_drv.h>
#include <drm/drm_ioctl.h>
#include <drm/drm_managed.h>

#include "npool.h"

struct npool_device *npool_pool;

static struct platform_device *npool_platform;

static const struct file_operations npool_fops = {
	.owner = THIS_MODULE,
	.open = accel_open,
	.release = drm_release,
	.unlocked_ioctl = npool_ioctl,
	.compat_ioctl = npool_compat_ioctl,
	.poll = drm_poll,
	.read = drm_read,
	.llseek = noop_llseek,
	.mmap = drm_gem_mmap,
	.fop_flags = FOP_UNSIGNED_OFFSET,
	.show_fdinfo = drm_show_fdinfo,
};

static struct drm_driver npool_driver = {
	.driver_features = DRIVER_COMPUTE_ACCEL | DRIVER_GEM | DRIVER_SYNCOBJ |
			   DRIVER_SYNCOBJ_TIMELINE,
	.name = "npool",
	.desc = "pool of accelerator memory",
	NPOOL_DRIVER_DATE
	.major = 0,
	.minor = 1,
	.open = npool_client_open,
	.postclose = npool_client_close,
	.show_fdinfo = npool_client_fdinfo,
	.gem_prime_import = npool_prime_import,
	.ioctls = npool_ioctls,
	.fops = &npool_fops,
};

static void fini(struct drm_device *drm, void *data)
{
	struct npool_device *pool = data;

	destroy_workqueue(pool->wq);
	cleanup_srcu_struct(&pool->srcu);
	npool_ports_fini(pool);
	/* A backend that went and left one behind has left its thread as well. */
	WARN_ON(!xa_empty(&pool->npus));
	xa_destroy(&pool->npus);
	xa_destroy(&pool->clients);
	mutex_destroy(&pool->bo_lock);
	mutex_destroy(&pool->lock);
	mutex_destroy(&pool->member_lock);
}

static int init(struct npool_device *pool)
{
	int ret;

	pool->wq = alloc_workqueue("npool", WQ_UNBOUND, 0);
	if (!pool->wq)
		return -ENOMEM;
	ret = init_srcu_struct(&pool->srcu);
	if (ret)
		goto wq;
	ret = npool_ports_init(pool);
	if (ret)
		goto srcu;
	mutex_init(&pool->member_lock);
	mutex_init(&pool->lock);
	mutex_init(&pool->bo_lock);
	INIT_LIST_HEAD(&pool->bos);
	xa_init(&pool->npus);
	xa_init(&pool->clients);
	return drmm_add_action_or_reset(&pool->drm, fini, pool);

srcu:
	cleanup_srcu_struct(&pool->srcu);
wq:
	destroy_workqueue(pool->wq);
	return ret;
}

static int __init npool_init(void)
{
	struct npool_device *pool;
	int ret;

	npool_driver.num_ioctls = npool_ioctl_count;
	npool_platform = platform_device_register_simple("npool", PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(npool_platform))
		return PTR_ERR(npool_platform);
	if (!devres_open_group(&npool_platform->dev, NULL, GFP_KERNEL)) {
		ret = -ENOMEM;
		goto unregister;
	}
	dma_coerce_mask_and_coherent(&npool_platform->dev, DMA_BIT_MASK(64));
	pool = devm_drm_dev_alloc(&npool_platform->dev, &npool_driver, struct npool_device, drm);
	if (IS_ERR(pool)) {
		ret = PTR_ERR(pool);
		goto release;
	}
	ret = init(pool);
	if (ret)
		goto release;
	npool_pool = pool;
	ret = drm_dev_register(&pool->drm, 0);
	if (ret)
		goto release;
	return 0;

release:
	devres_release_group(&npool_platform->dev, NULL);
unregister:
	platform_device_unregister(npool_platform);
	return ret;
}

static void __exit npool_exit(void)
{
	drm_dev_unregister(&npool_pool->drm);
	devres_release_group(&npool_platform->dev, NULL);
	platform_device_unregister(npool_platform);
	/* Who looks at a fence under RCU may still be at its ops when it is gone. */
	synchronize_rcu();
}

module_init(npool_init);
module_exit(npool_exit);
NPOOL_IMPORT_NS(DMA_BUF);
MODULE_DESCRIPTION("Pool of accelerator memory");
MODULE_LICENSE("GPL");
