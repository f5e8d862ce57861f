// SPDX-License-Identifier: GPL-2.0-only
/*
 * DRM_IOCTL_NPOOL_BO_CREATE and _BO_INFO: from a wish for memory to a buffer
 * with a handle, and what a buffer is like.
 */
#include <linux/sort.h>
#include <linux/uaccess.h>

#include <drm/drm_vma_manager.h>

#include "npool.h"

static int cmp_ids(const void *a, const void *b)
{
	u32 x = *(const u32 *)a, y = *(const u32 *)b;

	return x < y ? -1 : x > y;
}

static int check_ids(const u32 *ids, u32 count)
{
	u32 *sorted = kvmalloc_array(count, sizeof(*ids), GFP_KERNEL);
	int ret = 0;
	u32 i;

	if (!sorted)
		return -ENOMEM;
	memcpy(sorted, ids, count * sizeof(*ids));
	sort(sorted, count, sizeof(*ids), cmp_ids, NULL);
	for (i = 1; i < count; i++)
		if (sorted[i] == sorted[i - 1])
			ret = -EINVAL;
	kvfree(sorted);
	return ret;
}

static int check_listed(struct npool_device *pool, const u32 *ids, u32 count)
{
	int ret = 0;
	u32 i;

	mutex_lock(&pool->lock);
	for (i = 0; i < count; i++)
		if (!xa_load(&pool->npus, ids[i]))
			ret = -ENOENT;
	mutex_unlock(&pool->lock);
	return ret;
}

static int check_args(const struct drm_npool_bo_create *args)
{
	bool interleave = args->placement == DRM_NPOOL_PLACE_INTERLEAVE;

	if (args->flags || args->placement > DRM_NPOOL_PLACE_INTERLEAVE)
		return -EOPNOTSUPP;
	if (!args->size || args->size % NPOOL_MIN_ALLOC || args->stripe % NPOOL_MIN_ALLOC)
		return -EINVAL;
	if (interleave ? !args->stripe || args->npu_count < 2 : args->stripe)
		return -EINVAL;
	if (args->placement == DRM_NPOOL_PLACE_NPU && args->npu_count != 1)
		return -EINVAL;
	if (args->npu_count > NPOOL_MAX_NPUS)
		return -EINVAL;
	return 0;
}

static u32 *read_ids(const struct drm_npool_bo_create *args)
{
	size_t bytes = args->npu_count * sizeof(u32);
	u32 *ids = kvmalloc(bytes ?: 1, GFP_KERNEL_ACCOUNT);
	int ret;

	if (!ids)
		return ERR_PTR(-ENOMEM);
	ret = copy_from_user(ids, u64_to_user_ptr(args->npus), bytes) ? -EFAULT : 0;
	if (!ret)
		ret = check_ids(ids, args->npu_count);
	if (ret) {
		kvfree(ids);
		return ERR_PTR(ret);
	}
	return ids;
}

static struct npool_bo *on_one(struct npool_device *pool, u64 bytes, u32 id)
{
	struct npool_npu *npu = npool_npu_use(pool, id);
	struct npool_bo *bo;
	int ret;

	if (IS_ERR(npu))
		return ERR_CAST(npu);
	bo = npool_bo_new(pool, bytes, 1, NULL);
	if (IS_ERR(bo)) {
		npool_npu_unuse(npu);
		return bo;
	}
	ret = npool_bo_fill_part(bo, 0, npu, bytes);
	if (ret) {
		npool_bo_put(bo);
		return ERR_PTR(ret);
	}
	return bo;
}

/* The best may be full or gone by the time it is asked: then the next best. */
static struct npool_bo *on_any(struct npool_device *pool, u64 bytes, const u32 *ids, u32 count)
{
	struct npool_bo *bo;
	struct xarray tried;
	u32 id;
	int ret;

	xa_init(&tried);
	for (;;) {
		ret = npool_npu_best(pool, ids, count, &tried, &id);
		bo = ret ? ERR_PTR(ret) : on_one(pool, bytes, id);
		if (ret || !IS_ERR(bo) || (PTR_ERR(bo) != -ENOSPC && PTR_ERR(bo) != -ENODEV &&
					   PTR_ERR(bo) != -ENOENT))
			break;
		ret = xa_err(xa_store(&tried, id, xa_mk_value(1), GFP_KERNEL));
		if (ret) {
			bo = ERR_PTR(ret);
			break;
		}
	}
	xa_destroy(&tried);
	return bo;
}

/* Bytes that part @index of @count has of a buffer cut into stripes. */
static u64 part_bytes(u64 bytes, u64 stripe, u32 count, u32 index)
{
	u64 tail, last, full = div64_u64_rem(bytes, stripe, &tail);
	u32 next;

	last = div_u64_rem(full, count, &next);
	return last * stripe + (index < next ? stripe : index == next ? tail : 0);
}

static struct npool_bo *on_all(struct npool_device *pool, u64 bytes, u64 stripe, const u32 *ids,
			       u32 count)
{
	u64 stripes = div64_u64(bytes - 1, stripe) + 1;
	struct npool_bo *bo;
	int ret = 0;
	u32 i;

	/* An NPU that gets no stripe has no part in the buffer. */
	count = min_t(u64, count, stripes);
	bo = npool_bo_new(pool, bytes, count, NULL);
	if (IS_ERR(bo))
		return bo;
	bo->stripe = stripe;
	for (i = 0; i < count && !ret; i++) {
		struct npool_npu *npu = npool_npu_use(pool, ids[i]);

		ret = PTR_ERR_OR_ZERO(npu);
		if (!ret)
			ret = npool_bo_fill_part(bo, i, npu, part_bytes(bytes, stripe, count, i));
	}
	if (ret) {
		npool_bo_put(bo);
		return ERR_PTR(ret);
	}
	return bo;
}

static struct npool_bo *allocate(struct npool_device *pool, const struct drm_npool_bo_create *args,
				 const u32 *ids)
{
	int ret = check_listed(pool, ids, args->npu_count);

	if (ret)
		return ERR_PTR(ret);
	switch (args->placement) {
	case DRM_NPOOL_PLACE_ANY:
		return on_any(pool, args->size, ids, args->npu_count);
	case DRM_NPOOL_PLACE_NPU:
		return on_one(pool, args->size, ids[0]);
	default:
		return on_all(pool, args->size, args->stripe, ids, args->npu_count);
	}
}

/** npool_bo_create_ioctl() - DRM_IOCTL_NPOOL_BO_CREATE */
int npool_bo_create_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct npool_client *client = file->driver_priv;
	struct drm_npool_bo_create *args = data;
	struct npool_bo *bo;
	u32 *ids, handle;
	int ret;

	ret = check_args(args);
	if (ret)
		return ret;
	ids = read_ids(args);
	if (IS_ERR(ids))
		return PTR_ERR(ids);
	ret = npool_client_charge(client, args->size);
	if (ret)
		goto free_ids;
	bo = allocate(to_npool(drm), args, ids);
	if (IS_ERR(bo)) {
		ret = PTR_ERR(bo);
		goto uncharge;
	}
	ret = npool_bo_publish(bo);
	if (ret)
		goto put;
	bo->owner = client;
	ret = drm_gem_handle_create(file, &bo->gem, &handle);
	/* A handle that came has taken the charge with it when it went again. */
	if (ret && bo->owner)
		goto put;
	if (!ret) {
		args->handle = handle;
		args->mmap_offset = drm_vma_node_offset_addr(&bo->gem.vma_node);
	}
	npool_bo_put(bo);
	goto free_ids;

put:
	npool_bo_put(bo);
uncharge:
	npool_client_uncharge(client, args->size);
free_ids:
	kvfree(ids);
	return ret;
}

static int tell_npus(const struct npool_bo *bo, const struct drm_npool_bo_info *args)
{
	u32 __user *to = u64_to_user_ptr(args->npus);
	u32 i, count = args->npus ? min(args->npu_count, bo->part_count) : 0;

	for (i = 0; i < count; i++)
		if (put_user(bo->parts[i].npu->id, to + i))
			return -EFAULT;
	return 0;
}

/** npool_bo_info_ioctl() - DRM_IOCTL_NPOOL_BO_INFO */
int npool_bo_info_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_npool_bo_info *args = data;
	struct npool_bo *bo;
	int ret;

	bo = npool_bo_find(file, args->handle);
	if (!bo)
		return -ENOENT;
	ret = tell_npus(bo, args);
	if (!ret) {
		args->flags = (npool_bo_lost(bo) ? DRM_NPOOL_BO_LOST : 0) |
			      (bo->dmabuf ? DRM_NPOOL_BO_FOREIGN : 0);
		args->size = bo->gem.size;
		args->mmap_offset = drm_vma_node_offset_addr(&bo->gem.vma_node);
		args->stripe = bo->stripe;
		args->npu_count = bo->part_count;
		args->placement = bo->stripe ? DRM_NPOOL_PLACE_INTERLEAVE : DRM_NPOOL_PLACE_NPU;
	}
	npool_bo_put(bo);
	return ret;
}
