// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mapping buffers into user space: cached, shared, filled by page faults in
 * large steps with counted pages, so that get_user_pages() accepts them.
 */
#include <linux/dma-buf.h>
#include <linux/mm.h>

#include <drm/drm_vma_manager.h>

#include "npool.h"

/* Some may be mapped already: a neighbour's fault was faster. */
static int insert(struct vm_area_struct *vma, unsigned long addr, struct page **pages,
		  unsigned long count)
{
	while (count) {
		unsigned long done, left = count;
		int ret = vm_insert_pages(vma, addr, pages, &left);

		if (!ret)
			return 0;
		if (ret != -EBUSY)
			return ret;
		done = count - left + 1;
		addr += done * PAGE_SIZE;
		pages += done;
		count -= done;
	}
	return 0;
}

/* Looks up to a batch of pages up at @offset; stops early at one that cannot be had. */
static unsigned int collect(struct npool_bo *bo, u64 offset, u64 end, struct page **pages)
{
	struct npool_place place;
	unsigned int count = 0;

	while (count < NPOOL_FAULT_BATCH && offset < end) {
		u64 bytes = PAGE_SIZE;

		if (npool_bo_place(bo, offset, &bytes, &place))
			break;
		pages[count++] = place.page;
		offset += PAGE_SIZE;
	}
	return count;
}

static int fill(struct vm_area_struct *vma, struct npool_bo *bo, unsigned long addr, u64 offset,
		u64 end)
{
	struct page *pages[NPOOL_FAULT_BATCH];

	while (offset < end) {
		unsigned int count = collect(bo, offset, end, pages);
		int ret = insert(vma, addr, pages, count);

		if (ret)
			return ret;
		/* Around a fault a page that cannot be had is just left out. */
		count += !count;
		addr += count * PAGE_SIZE;
		offset += count * PAGE_SIZE;
	}
	return 0;
}

/* No mapping reaches beyond its buffer: what made it has checked that, and none can grow. */
static vm_fault_t fault_locked(struct vm_fault *vmf, struct npool_bo *bo)
{
	struct vm_area_struct *vma = vmf->vma;
	u64 base = drm_vma_node_start(&bo->gem.vma_node);
	u64 offset = (u64)(vmf->pgoff - base) << PAGE_SHIFT;
	unsigned long addr = vmf->address & PAGE_MASK;
	unsigned long first = max(ALIGN_DOWN(addr, NPOOL_FAULT_AROUND), vma->vm_start);
	unsigned long last = min(ALIGN_DOWN(addr, NPOOL_FAULT_AROUND) + NPOOL_FAULT_AROUND,
				 vma->vm_end);
	struct page *page;
	int ret;

	if (!collect(bo, offset, offset + PAGE_SIZE, &page))
		return VM_FAULT_SIGBUS;
	/* The page asked for, for sure; then its neighbours, as far as it goes. */
	ret = insert(vma, addr, &page, 1);
	if (ret)
		return vmf_error(ret);
	offset -= addr - first;
	fill(vma, bo, first, offset, offset + (last - first));
	return VM_FAULT_NOPAGE;
}

static vm_fault_t fault(struct vm_fault *vmf)
{
	struct drm_gem_object *gem = vmf->vma->vm_private_data;
	struct npool_device *pool = to_npool(gem->dev);
	vm_fault_t ret;
	int idx;

	idx = srcu_read_lock(&pool->srcu);
	ret = fault_locked(vmf, to_npool_bo(gem));
	srcu_read_unlock(&pool->srcu, idx);
	return ret;
}

const struct vm_operations_struct npool_vm_ops = {
	.open = drm_gem_vm_open,
	.close = drm_gem_vm_close,
	.fault = fault,
};

static int mmap_foreign(struct npool_bo *bo, struct vm_area_struct *vma)
{
	int ret;

	/* The exporter counts from the start of its buffer, and keeps its own reference. */
	ret = dma_buf_mmap(bo->dmabuf, vma,
			   vma->vm_pgoff - drm_vma_node_start(&bo->gem.vma_node));
	if (ret)
		return ret;
	vm_flags_set(vma, VM_DONTEXPAND);
	drm_gem_object_put(&bo->gem);
	return 0;
}

/** npool_bo_mmap() - &drm_gem_object_funcs.mmap, from the device's file or a dma-buf's */
int npool_bo_mmap(struct drm_gem_object *gem, struct vm_area_struct *vma)
{
	struct npool_bo *bo = to_npool_bo(gem);

	if (bo->dmabuf)
		return mmap_foreign(bo, vma);
	/* A private copy would not be the pool's memory. */
	if (is_cow_mapping(vma->vm_flags))
		return -EINVAL;
	if (npool_bo_lost(bo))
		return -ENODEV;
	vm_flags_set(vma, VM_MIXEDMAP | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_page_prot = vm_get_page_prot(vma->vm_flags);
	return 0;
}
