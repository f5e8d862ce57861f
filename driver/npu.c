// SPDX-License-Identifier: GPL-2.0-only
/*
 * Members: joining, being used, leaving.
 *
 * Leaving is: mark dead, so that nothing new starts, and its buffers lost; wait
 * for page faults that did not see that; take mappings away; end the engine and
 * with it all jobs; drop what being alive held. Who may still hold the memory
 * after that: buffers, and through them handles, mappings, dma-bufs and jobs of
 * other engines; and queues. The last of them lists the NPU out and gives its
 * memory back.
 */
#include <linux/capability.h>
#include <linux/module.h>

#include "npool.h"

static void free_npu(struct kref *ref)
{
	kfree(container_of(ref, struct npool_npu, ref));
}

static void drop_user(struct npool_npu *npu)
{
	struct npool_device *pool = npu->pool;

	if (!refcount_dec_and_test(&npu->users))
		return;
	mutex_lock(&pool->lock);
	xa_erase(&pool->npus, npu->id);
	npool_ports_leave(npu);
	WRITE_ONCE(pool->npu_count, pool->npu_count - 1);
	mutex_unlock(&pool->lock);
	npool_mem_fini(npu);
	npu->ops->release(npu->hw);
	kref_put(&npu->ref, free_npu);
}

static int kill_npu(struct npool_npu *npu)
{
	struct npool_device *pool = npu->pool;

	lockdep_assert_held(&pool->member_lock);
	mutex_lock(&pool->lock);
	if (npu->dead) {
		mutex_unlock(&pool->lock);
		return -ENODEV;
	}
	WRITE_ONCE(npu->dead, true);
	npool_bo_lose(pool, npu);
	pool->generation++;
	mutex_unlock(&pool->lock);

	synchronize_srcu(&pool->srcu);
	npool_bo_zap(pool, npu);
	npool_engine_stop(npu);
	drop_user(npu);
	return 0;
}

static void die(struct work_struct *work)
{
	struct npool_npu *npu = container_of(work, struct npool_npu, death);

	mutex_lock(&npu->pool->member_lock);
	kill_npu(npu);
	mutex_unlock(&npu->pool->member_lock);
	kref_put(&npu->ref, free_npu);
}

/* With the pool's lock held, so that it cannot be listed out meanwhile. */
static struct npool_npu *lookup(struct npool_device *pool, u32 id)
{
	struct npool_npu *npu = xa_load(&pool->npus, id);

	lockdep_assert_held(&pool->lock);
	if (!npu)
		return ERR_PTR(-ENOENT);
	return npu->dead ? ERR_PTR(-ENODEV) : npu;
}

static bool name_taken(struct npool_device *pool, const char *name)
{
	struct npool_npu *npu;
	unsigned long id;

	xa_for_each(&pool->npus, id, npu)
		if (!npu->dead && !strcmp(npu->name, name))
			return true;
	return false;
}

static int list_npu(struct npool_device *pool, struct npool_npu *npu)
{
	int ret;

	mutex_lock(&pool->lock);
	ret = -ENOSPC;
	if (pool->npu_count >= NPOOL_MAX_NPUS || pool->next_npu == NPOOL_NO_NPU)
		goto unlock;
	ret = -EEXIST;
	if (name_taken(pool, npu->name))
		goto unlock;
	npu->id = pool->next_npu;
	npu->engine.stats.id = npu->id;
	ret = npool_ports_join(npu);
	if (ret)
		goto unlock;
	ret = xa_err(xa_store(&pool->npus, npu->id, npu, GFP_KERNEL));
	if (ret) {
		npool_ports_leave(npu);
		goto unlock;
	}
	pool->next_npu++;
	WRITE_ONCE(pool->npu_count, pool->npu_count + 1);
	pool->generation++;
unlock:
	mutex_unlock(&pool->lock);
	return ret;
}

static struct npool_npu *new_npu(const struct npool_npu_desc *desc,
				 const struct npool_hw_ops *ops, void *hw)
{
	struct npool_npu *npu;

	if (!desc->bytes || !PAGE_ALIGNED(desc->bytes))
		return ERR_PTR(-EINVAL);
	npu = kzalloc(sizeof(*npu), GFP_KERNEL);
	if (!npu)
		return ERR_PTR(-ENOMEM);
	if (strscpy(npu->name, desc->name, sizeof(npu->name)) < 1) {
		kfree(npu);
		return ERR_PTR(-EINVAL);
	}
	kref_init(&npu->ref);
	refcount_set(&npu->users, 1);
	INIT_WORK(&npu->death, die);
	npu->pool = npool_pool;
	npu->ops = ops;
	npu->hw = hw;
	npu->bytes = desc->bytes;
	npu->bandwidth = desc->bandwidth;
	npu->latency_ns = desc->latency_ns;
	return npu;
}

/**
 * npool_npu_register() - have an NPU join the pool
 * @desc: what it is, not needed after the call
 * @ops: what it can do; lives as long as the backend's module
 * @hw: passed to @ops, owned by the pool until &npool_hw_ops.release. On failure
 *	it stays the caller's and release is not called
 *
 * Return: the member, to be given to npool_npu_unregister() once; -EEXIST for a
 * name that is taken, -ENOSPC if the pool has too many members.
 */
struct npool_npu *npool_npu_register(const struct npool_npu_desc *desc,
				     const struct npool_hw_ops *ops, void *hw)
{
	struct npool_device *pool = npool_pool;
	struct npool_npu *npu = new_npu(desc, ops, hw);
	int ret;

	if (IS_ERR(npu))
		return npu;
	ret = npool_mem_init(npu);
	if (ret)
		goto free;
	ret = npool_engine_start(npu);
	if (ret)
		goto mem;
	kref_get(&npu->ref);
	mutex_lock(&pool->member_lock);
	ret = list_npu(pool, npu);
	mutex_unlock(&pool->member_lock);
	if (ret)
		goto engine;
	return npu;

engine:
	kref_put(&npu->ref, free_npu);
	npool_engine_stop(npu);
mem:
	npool_mem_fini(npu);
free:
	kref_put(&npu->ref, free_npu);
	return ERR_PTR(ret);
}
EXPORT_SYMBOL_GPL(npool_npu_register);

/**
 * npool_npu_unregister() - take an NPU out, if it is not out yet, and forget it
 * @npu: as registered, not to be used after
 *
 * Its memory is released when nothing refers to it any more, which may be later;
 * until then the pool holds the backend's module.
 */
void npool_npu_unregister(struct npool_npu *npu)
{
	struct npool_device *pool = npu->pool;

	mutex_lock(&pool->member_lock);
	kill_npu(npu);
	mutex_unlock(&pool->member_lock);
	kref_put(&npu->ref, free_npu);
}
EXPORT_SYMBOL_GPL(npool_npu_unregister);

/** npool_npu_id() - the number of a member in its pool */
u32 npool_npu_id(const struct npool_npu *npu)
{
	return npu->id;
}
EXPORT_SYMBOL_GPL(npool_npu_id);

/** npool_npu_alive() - whether a member has not left yet */
bool npool_npu_alive(const struct npool_npu *npu)
{
	return !READ_ONCE(npu->dead);
}
EXPORT_SYMBOL_GPL(npool_npu_alive);

/** npool_npu_use() - a living member by its number, held with its backend's module */
struct npool_npu *npool_npu_use(struct npool_device *pool, u32 id)
{
	struct npool_npu *npu;

	mutex_lock(&pool->lock);
	npu = lookup(pool, id);
	if (!IS_ERR(npu)) {
		if (try_module_get(npu->ops->owner))
			refcount_inc(&npu->users);
		else
			npu = ERR_PTR(-ENODEV);
	}
	mutex_unlock(&pool->lock);
	return npu;
}

/** npool_npu_unuse() - undo npool_npu_use() */
void npool_npu_unuse(struct npool_npu *npu)
{
	struct module *owner = npu->ops->owner;

	drop_user(npu);
	module_put(owner);
}

/**
 * npool_npu_best() - the living member with most memory free
 * @pool: the pool
 * @ids: to choose from, all of the pool if @count is 0
 * @count: length of @ids
 * @tried: has an entry for each member that is not to be chosen
 * @best: out, its number
 *
 * Return: -ENODEV if there is none, -ENOSPC if all were tried.
 */
int npool_npu_best(struct npool_device *pool, const u32 *ids, u32 count, struct xarray *tried,
		   u32 *best)
{
	struct npool_npu *npu;
	unsigned long id;
	u64 most = 0;
	int ret = -ENODEV;
	u32 i;

	mutex_lock(&pool->lock);
	xa_for_each(&pool->npus, id, npu) {
		u64 bytes;

		for (i = 0; i < count && ids[i] != id; i++)
			;
		if (npu->dead || (count && i == count))
			continue;
		if (ret == -ENODEV)
			ret = -ENOSPC;
		bytes = npool_mem_free_bytes(npu);
		if (xa_load(tried, id) || (!ret && bytes <= most))
			continue;
		most = bytes;
		*best = id;
		ret = 0;
	}
	mutex_unlock(&pool->lock);
	return ret;
}

/** npool_npu_died() - have a member removed whose backend reported it dead; any context */
void npool_npu_died(struct npool_npu *npu)
{
	kref_get(&npu->ref);
	if (!queue_work(npu->pool->wq, &npu->death))
		kref_put(&npu->ref, free_npu);
}

static int inject(struct npool_npu *npu, u32 fault, u64 arg)
{
	int ret;

	if (fault > DRM_NPOOL_FAULT_DIE || !npu->ops->inject)
		return -EOPNOTSUPP;
	ret = npu->ops->inject(npu->hw, fault, arg);
	if (!ret && npu->ops->health(npu->hw))
		ret = kill_npu(npu);
	return ret;
}

/** npool_npu_ctl_ioctl() - DRM_IOCTL_NPOOL_NPU_CTL */
int npool_npu_ctl_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct npool_device *pool = to_npool(drm);
	struct drm_npool_npu_ctl *args = data;
	struct npool_npu *npu;
	int ret;

	if (args->flags || args->action > DRM_NPOOL_NPU_INJECT)
		return -EOPNOTSUPP;
	if (args->action == DRM_NPOOL_NPU_REMOVE && (args->fault || args->arg))
		return -EINVAL;
	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;

	/* While this is held nobody else can take a living member out. */
	mutex_lock(&pool->member_lock);
	mutex_lock(&pool->lock);
	npu = lookup(pool, args->npu);
	mutex_unlock(&pool->lock);
	if (IS_ERR(npu))
		ret = PTR_ERR(npu);
	else if (args->action == DRM_NPOOL_NPU_REMOVE)
		ret = kill_npu(npu);
	else
		ret = inject(npu, args->fault, args->arg);
	mutex_unlock(&pool->member_lock);
	return ret;
}
