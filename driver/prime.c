// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sharing with other drivers: our buffers as dma-bufs, their dma-bufs as our
 * buffers. Of a lost buffer nobody can get at the memory any more; what
 * importers have mapped stays allocated until they let go.
 *
 * Foreign memory is reached by a kernel mapping, made when a submit first needs
 * it, and each job brackets its work by begin and end of CPU access. Both may
 * wait and allocate, so both are done outside the engine. What a submit waits
 * for there is other drivers' work, never that of our own queues.
 */
#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/vmalloc.h>

#include <drm/drm_prime.h>

#include "npool.h"

static int attach(struct dma_buf *dmabuf, struct dma_buf_attachment *attachment)
{
	if (npool_bo_lost(to_npool_bo(dmabuf->priv)))
		return -ENODEV;
	/* A device that cannot do DMA has nothing to map for. */
	return attachment->dev->dma_mask ? 0 : -EOPNOTSUPP;
}

static struct sg_table *map(struct dma_buf_attachment *attachment, enum dma_data_direction dir)
{
	struct drm_gem_object *gem = attachment->dmabuf->priv;
	struct sg_table *table;
	struct page **pages;
	unsigned int count;
	int ret;

	pages = npool_bo_pages(to_npool_bo(gem), &count);
	if (IS_ERR(pages))
		return ERR_CAST(pages);
	table = kmalloc(sizeof(*table), GFP_KERNEL);
	if (!table) {
		ret = -ENOMEM;
		goto free_pages;
	}
	ret = sg_alloc_table_from_pages_segment(table, pages, count, 0, gem->size,
						dma_get_max_seg_size(attachment->dev), GFP_KERNEL);
	if (ret)
		goto free_table;
	ret = dma_map_sgtable(attachment->dev, table, dir, 0);
	if (ret)
		goto free_sg;
	kvfree(pages);
	return table;

free_sg:
	sg_free_table(table);
free_table:
	kfree(table);
free_pages:
	kvfree(pages);
	return ERR_PTR(ret);
}

static void unmap(struct dma_buf_attachment *attachment, struct sg_table *table,
		  enum dma_data_direction dir)
{
	dma_unmap_sgtable(attachment->dev, table, dir, 0);
	sg_free_table(table);
	kfree(table);
}

/* The memory is coherent for CPUs; the core waits for fences. */
static int begin_cpu_access(struct dma_buf *dmabuf, enum dma_data_direction dir)
{
	return npool_bo_lost(to_npool_bo(dmabuf->priv)) ? -ENODEV : 0;
}

static const struct dma_buf_ops dmabuf_ops = {
	.attach = attach,
	.map_dma_buf = map,
	.unmap_dma_buf = unmap,
	.release = drm_gem_dmabuf_release,
	.begin_cpu_access = begin_cpu_access,
	.mmap = drm_gem_dmabuf_mmap,
	.vmap = drm_gem_dmabuf_vmap,
	.vunmap = drm_gem_dmabuf_vunmap,
};

/** npool_bo_export() - &drm_gem_object_funcs.export */
struct dma_buf *npool_bo_export(struct drm_gem_object *gem, int flags)
{
	struct dma_buf_export_info info = {
		.exp_name = "npool",
		.owner = THIS_MODULE,
		.ops = &dmabuf_ops,
		.size = gem->size,
		.flags = flags,
		.priv = gem,
		.resv = gem->resv,
	};

	return drm_gem_dmabuf_export(gem->dev, &info);
}

/** npool_bo_vmap() - &drm_gem_object_funcs.vmap, for importers of our dma-bufs */
int npool_bo_vmap(struct drm_gem_object *gem, struct iosys_map *map)
{
	struct page **pages;
	unsigned int count;
	void *addr;

	pages = npool_bo_pages(to_npool_bo(gem), &count);
	if (IS_ERR(pages))
		return PTR_ERR(pages);
	addr = vmap(pages, count, VM_MAP, PAGE_KERNEL);
	kvfree(pages);
	if (!addr)
		return -ENOMEM;
	iosys_map_set_vaddr(map, addr);
	return 0;
}

/** npool_bo_vunmap() - &drm_gem_object_funcs.vunmap */
void npool_bo_vunmap(struct drm_gem_object *gem, struct iosys_map *map)
{
	vunmap(map->vaddr);
}

/** npool_prime_import() - &drm_driver.gem_prime_import */
struct drm_gem_object *npool_prime_import(struct drm_device *drm, struct dma_buf *dmabuf)
{
	struct drm_gem_object *gem = dmabuf->priv;
	struct npool_bo *bo;
	int ret;

	if (dmabuf->ops == &dmabuf_ops && gem->dev == drm) {
		drm_gem_object_get(gem);
		return gem;
	}
	if (!dmabuf->ops->vmap || !dmabuf->size || !PAGE_ALIGNED(dmabuf->size))
		return ERR_PTR(-EINVAL);
	bo = npool_bo_new(to_npool(drm), dmabuf->size, 0, dmabuf);
	if (IS_ERR(bo))
		return ERR_CAST(bo);
	get_dma_buf(dmabuf);
	ret = npool_bo_publish(bo);
	if (ret) {
		npool_bo_put(bo);
		return ERR_PTR(ret);
	}
	return &bo->gem;
}

static int map_once(struct npool_bo *bo)
{
	int ret = 0;

	mutex_lock(&bo->map_lock);
	if (iosys_map_is_null(&bo->map)) {
		ret = dma_buf_vmap_unlocked(bo->dmabuf, &bo->map);
		if (!ret && bo->map.is_iomem) {
			/* The engines move memory, not device registers. */
			dma_buf_vunmap_unlocked(bo->dmabuf, &bo->map);
			ret = -EOPNOTSUPP;
		}
		if (ret)
			iosys_map_clear(&bo->map);
	}
	mutex_unlock(&bo->map_lock);
	return ret;
}

static enum dma_data_direction direction(bool write)
{
	return write ? DMA_BIDIRECTIONAL : DMA_FROM_DEVICE;
}

/** npool_foreign_begin() - make foreign memory reachable for a job; waits for its fences */
int npool_foreign_begin(struct npool_bo *bo, bool write)
{
	int ret = map_once(bo);

	return ret ?: dma_buf_begin_cpu_access(bo->dmabuf, direction(write));
}

/** npool_foreign_end() - undo npool_foreign_begin() when the job has ended */
void npool_foreign_end(struct npool_bo *bo, bool write)
{
	dma_buf_end_cpu_access(bo->dmabuf, direction(write));
}

/** npool_foreign_fini() - let go of foreign memory when the buffer goes */
void npool_foreign_fini(struct npool_bo *bo)
{
	if (!iosys_map_is_null(&bo->map))
		dma_buf_vunmap_unlocked(bo->dmabuf, &bo->map);
	dma_buf_put(bo->dmabuf);
}
