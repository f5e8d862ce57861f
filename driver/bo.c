// SPDX-License-Identifier: GPL-2.0-only
/*
 * Buffers: GEM objects over memory of one NPU, or striped over several. This is
 * their life from the first part to the last reference, and the way from an
 * offset in a buffer to a byte of memory.
 */
#include <linux/dma-buf.h>
#include <linux/sort.h>

#include <drm/drm_vma_manager.h>

#include "npool.h"

static void free_part(struct npool_part *part)
{
	if (!part->npu)
		return;
	npool_mem_free(part->npu, &part->blocks);
	kvfree(part->extents);
	npool_npu_unuse(part->npu);
}

static void free_bo(struct drm_gem_object *gem)
{
	struct npool_device *pool = to_npool(gem->dev);
	struct npool_bo *bo = to_npool_bo(gem);
	unsigned int i;

	if (!list_empty(&bo->node)) {
		mutex_lock(&pool->bo_lock);
		list_del(&bo->node);
		mutex_unlock(&pool->bo_lock);
	}
	drm_gem_object_release(gem);
	if (bo->dmabuf)
		npool_foreign_fini(bo);
	for (i = 0; i < bo->part_count; i++)
		free_part(&bo->parts[i]);
	kvfree(bo->parts);
	mutex_destroy(&bo->map_lock);
	kfree(bo);
}

/* The owner is compared only: if it is @file's client, it is alive. */
static int open_bo(struct drm_gem_object *gem, struct drm_file *file)
{
	struct npool_client *client = file->driver_priv;
	struct npool_bo *bo = to_npool_bo(gem);

	if (READ_ONCE(bo->owner) == client) {
		spin_lock(&client->lock);
		bo->handles++;
		spin_unlock(&client->lock);
	}
	return 0;
}

static void close_bo(struct drm_gem_object *gem, struct drm_file *file)
{
	struct npool_client *client = file->driver_priv;
	struct npool_bo *bo = to_npool_bo(gem);
	bool last;

	if (READ_ONCE(bo->owner) != client)
		return;
	spin_lock(&client->lock);
	last = bo->handles && !--bo->handles;
	if (last)
		WRITE_ONCE(bo->owner, NULL);
	spin_unlock(&client->lock);
	if (last)
		npool_client_uncharge(client, gem->size);
}

static const struct drm_gem_object_funcs funcs = {
	.free = free_bo,
	.open = open_bo,
	.close = close_bo,
	.export = npool_bo_export,
	.vmap = npool_bo_vmap,
	.vunmap = npool_bo_vunmap,
	.mmap = npool_bo_mmap,
	.vm_ops = &npool_vm_ops,
};

static int cmp_extents(const void *a, const void *b)
{
	const struct npool_extent *x = a, *y = b;

	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* Ascending in memory, so that neighbours become one extent. */
static int fill_extents(struct npool_part *part)
{
	struct npool_buddy *mm = &part->npu->mem.mm;
	struct npool_buddy_block *block;
	struct npool_extent *extents;
	u64 end = U64_MAX, start = 0;
	unsigned int i, count = 0;

	extents = kvmalloc_array(list_count_nodes(&part->blocks), sizeof(*extents), GFP_KERNEL);
	if (!extents)
		return -ENOMEM;
	/* First the size of each block in start, to sort with its offset. */
	list_for_each_entry(block, &part->blocks, link) {
		extents[count].offset = npool_buddy_block_offset(block);
		extents[count++].start = npool_buddy_block_size(mm, block);
	}
	sort(extents, count, sizeof(*extents), cmp_extents, NULL);
	for (i = 0; i < count; i++) {
		u64 bytes = extents[i].start;

		if (extents[i].offset != end) {
			extents[part->extent_count].offset = extents[i].offset;
			extents[part->extent_count++].start = start;
			end = extents[i].offset;
		}
		start += bytes;
		end += bytes;
	}
	part->extents = extents;
	return 0;
}

/**
 * npool_bo_new() - a buffer without memory yet
 * @pool: its pool
 * @bytes: its size
 * @part_count: NPUs it is to lie on
 * @dmabuf: another driver's memory, referenced by the caller for the buffer, or NULL
 */
struct npool_bo *npool_bo_new(struct npool_device *pool, u64 bytes, unsigned int part_count,
			      struct dma_buf *dmabuf)
{
	struct npool_bo *bo = kzalloc(sizeof(*bo), GFP_KERNEL_ACCOUNT);
	unsigned int i;

	if (!bo)
		return ERR_PTR(-ENOMEM);
	if (part_count) {
		bo->parts = kvcalloc(part_count, sizeof(*bo->parts), GFP_KERNEL_ACCOUNT);
		if (!bo->parts) {
			kfree(bo);
			return ERR_PTR(-ENOMEM);
		}
	}
	bo->part_count = part_count;
	for (i = 0; i < part_count; i++)
		INIT_LIST_HEAD(&bo->parts[i].blocks);
	INIT_LIST_HEAD(&bo->node);
	mutex_init(&bo->map_lock);
	bo->gem.funcs = &funcs;
	if (dmabuf) {
		bo->dmabuf = dmabuf;
		bo->gem.resv = dmabuf->resv;
	}
	drm_gem_private_object_init(&pool->drm, &bo->gem, bytes);
	return bo;
}

/**
 * npool_bo_fill_part() - give a part its memory
 * @bo: not published yet
 * @index: of the part
 * @npu: in use by the caller, by the part from now on whether this works or not
 * @bytes: size of the part
 */
int npool_bo_fill_part(struct npool_bo *bo, unsigned int index, struct npool_npu *npu, u64 bytes)
{
	struct npool_part *part = &bo->parts[index];
	int ret;

	part->npu = npu;
	part->bytes = bytes;
	ret = npool_mem_alloc(npu, bytes, &part->blocks);
	return ret ?: fill_extents(part);
}

static struct npool_npu *dead_npu(const struct npool_bo *bo)
{
	unsigned int i;

	for (i = 0; i < bo->part_count; i++)
		if (READ_ONCE(bo->parts[i].npu->dead))
			return bo->parts[i].npu;
	return NULL;
}

/** npool_bo_publish() - make a buffer with all its memory mappable, and lost when an NPU dies */
int npool_bo_publish(struct npool_bo *bo)
{
	struct npool_device *pool = to_npool(bo->gem.dev);
	int ret = drm_gem_create_mmap_offset(&bo->gem);

	if (ret || !bo->part_count)
		return ret;
	/* An NPU that dies after this look finds it in the list. */
	mutex_lock(&pool->bo_lock);
	list_add_tail(&bo->node, &pool->bos);
	bo->lost = dead_npu(bo);
	mutex_unlock(&pool->bo_lock);
	return npool_bo_lost(bo) ? -ENODEV : 0;
}

/** npool_bo_find() - the buffer of a handle, referenced, or NULL */
struct npool_bo *npool_bo_find(struct drm_file *file, u32 handle)
{
	struct drm_gem_object *gem = drm_gem_object_lookup(file, handle);

	return gem ? to_npool_bo(gem) : NULL;
}

/** npool_bo_put() - drop a reference */
void npool_bo_put(struct npool_bo *bo)
{
	drm_gem_object_put(&bo->gem);
}

/** npool_bo_lost() - whether some of its memory is on a dead NPU */
bool npool_bo_lost(const struct npool_bo *bo)
{
	return READ_ONCE(bo->lost);
}

/** npool_bo_lose() - have all buffers lost that lie on @npu, now dead */
void npool_bo_lose(struct npool_device *pool, struct npool_npu *npu)
{
	struct npool_bo *bo;
	unsigned int i;

	mutex_lock(&pool->bo_lock);
	list_for_each_entry(bo, &pool->bos, node)
		for (i = 0; i < bo->part_count && !bo->lost; i++)
			if (bo->parts[i].npu == npu)
				WRITE_ONCE(bo->lost, npu);
	mutex_unlock(&pool->bo_lock);
}

/** npool_bo_zap() - take away all mappings of buffers that were lost with @npu */
void npool_bo_zap(struct npool_device *pool, const struct npool_npu *npu)
{
	struct npool_bo *bo;

	mutex_lock(&pool->bo_lock);
	list_for_each_entry(bo, &pool->bos, node)
		if (bo->lost == npu)
			drm_vma_node_unmap(&bo->gem.vma_node, pool->drm.anon_inode->i_mapping);
	mutex_unlock(&pool->bo_lock);
}

static const struct npool_extent *find_extent(const struct npool_part *part, u64 start, u64 *end)
{
	unsigned int low = 0, high = part->extent_count;

	while (high - low > 1) {
		unsigned int mid = low + (high - low) / 2;

		if (part->extents[mid].start <= start)
			low = mid;
		else
			high = mid;
	}
	*end = high < part->extent_count ? part->extents[high].start : part->bytes;
	return &part->extents[low];
}

/* The part that a byte of a buffer is in, and where in it. */
static struct npool_part *find_part(const struct npool_bo *bo, u64 offset, u64 *bytes, u64 *start)
{
	u64 in_stripe, stripe;
	u32 index;

	*start = offset;
	if (!bo->stripe)
		return bo->parts;
	stripe = div64_u64_rem(offset, bo->stripe, &in_stripe);
	*bytes = min(*bytes, bo->stripe - in_stripe);
	stripe = div_u64_rem(stripe, bo->part_count, &index);
	*start = stripe * bo->stripe + in_stripe;
	return &bo->parts[index];
}

/**
 * npool_bo_slot() - whose ports a byte of a buffer passes, lost or not; any context
 * @bo: the buffer
 * @offset: in the buffer, less than its size
 * @bytes: lowered to how far that holds from there
 *
 * Return: the NPU's slot, QOS_NO_PORT for foreign memory.
 */
u32 npool_bo_slot(const struct npool_bo *bo, u64 offset, u64 *bytes)
{
	u64 start;

	return bo->dmabuf ? QOS_NO_PORT : find_part(bo, offset, bytes, &start)->npu->slot;
}

/**
 * npool_bo_place() - where a byte of a buffer is
 * @bo: the buffer
 * @offset: in the buffer, less than its size
 * @bytes: lowered to how far the memory goes on contiguously from there
 * @place: out
 *
 * Return: -ENODEV if its NPU is dead, -EIO if it is poisoned; @place->npu tells which.
 */
int npool_bo_place(struct npool_bo *bo, u64 offset, u64 *bytes, struct npool_place *place)
{
	const struct npool_extent *extent;
	struct npool_part *part;
	struct npool_npu *npu;
	u64 end, left, in_page;

	if (bo->dmabuf) {
		*place = (struct npool_place){ .addr = bo->map.vaddr + offset };
		return 0;
	}
	part = find_part(bo, offset, bytes, &offset);
	extent = find_extent(part, offset, &end);
	*bytes = min(*bytes, end - offset);
	/* With one NPU the whole buffer is lost, what lies on others too. */
	npu = READ_ONCE(bo->lost);
	place->npu = npu ?: part->npu;
	if (npu)
		return -ENODEV;
	npu = part->npu;
	place->offset = extent->offset + offset - extent->start;
	in_page = offset_in_page(place->offset);
	left = *bytes + in_page;
	place->page = npu->ops->page(npu->hw, place->offset - in_page, &left);
	place->addr = page_address(place->page) + in_page;
	*bytes = min(*bytes, left - in_page);
	return npu->ops->check ? npu->ops->check(npu->hw, place->offset, *bytes) : 0;
}

/** npool_bo_pages() - all pages of a buffer that is not foreign, to be kvfree()d */
struct page **npool_bo_pages(struct npool_bo *bo, unsigned int *count)
{
	unsigned long total = bo->gem.size >> PAGE_SHIFT;
	struct npool_place place;
	struct page **pages;
	u64 offset = 0;

	if (total > UINT_MAX)
		return ERR_PTR(-E2BIG);
	if (npool_bo_lost(bo))
		return ERR_PTR(-ENODEV);
	pages = kvmalloc_array(total, sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return ERR_PTR(-ENOMEM);
	while (offset < bo->gem.size) {
		u64 i, bytes = bo->gem.size - offset;
		int ret = npool_bo_place(bo, offset, &bytes, &place);

		if (ret) {
			kvfree(pages);
			return ERR_PTR(ret);
		}
		for (i = 0; i < bytes >> PAGE_SHIFT; i++)
			pages[(offset >> PAGE_SHIFT) + i] = place.page + i;
		offset += bytes;
	}
	*count = total;
	return pages;
}
