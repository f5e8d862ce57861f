// SPDX-License-Identifier: GPL-2.0-only
/*
 * From what user space says of a submit to checked operations on referenced
 * buffers. User memory is read once, into memory of ours, and checked there.
 * Nothing outside the job changes.
 */
#include <linux/dma-fence.h>
#include <linux/overflow.h>
#include <linux/sort.h>

#include <drm/drm_syncobj.h>

#include "npool.h"

static void *read_array(u64 user, u32 count, u32 stride, size_t item)
{
	void *to = kvmalloc_array(count, item, GFP_KERNEL_ACCOUNT);
	int ret;

	if (!to)
		return ERR_PTR(-ENOMEM);
	ret = npool_array_copy(to, user, count, stride, item);
	if (ret) {
		kvfree(to);
		return ERR_PTR(ret);
	}
	return to;
}

static int check_op(const struct drm_npool_op *from)
{
	bool fill = from->type == DRM_NPOOL_OP_FILL;

	if (from->type > DRM_NPOOL_OP_FILL || from->flags)
		return -EOPNOTSUPP;
	if (fill ? from->src : from->pattern)
		return -EINVAL;
	if (!from->seg_count)
		return -EINVAL;
	return npool_array_check(from->seg_count, from->seg_stride, sizeof(struct drm_npool_seg),
				 NPOOL_MAX_SEGS);
}

/* How many segments all operations have together. */
static int count_segs(const struct drm_npool_op *ops, u32 count)
{
	u32 i, total = 0;
	int ret;

	for (i = 0; i < count; i++) {
		ret = check_op(&ops[i]);
		if (ret)
			return ret;
		total += ops[i].seg_count;
		if (total > NPOOL_MAX_SEGS)
			return -EINVAL;
	}
	return total;
}

static bool outside(const struct npool_bo *bo, u64 offset, u64 size)
{
	return size > bo->gem.size || offset > bo->gem.size - size;
}

static int check_seg(const struct npool_op *op, const struct drm_npool_seg *seg)
{
	u64 apart;

	if (!seg->size || outside(op->dst, seg->dst_offset, seg->size))
		return -EINVAL;
	if (!op->src)
		return seg->src_offset ? -EINVAL : 0;
	if (outside(op->src, seg->src_offset, seg->size))
		return -EINVAL;
	apart = seg->src_offset > seg->dst_offset ? seg->src_offset - seg->dst_offset :
						    seg->dst_offset - seg->src_offset;
	return op->src == op->dst && apart < seg->size ? -EINVAL : 0;
}

/* The job gets the reference. */
static struct npool_bo *use(struct npool_job *job, struct drm_file *file, u32 handle, bool write)
{
	struct npool_bo *bo = npool_bo_find(file, handle);

	if (bo)
		job->uses[job->use_count++] = (struct npool_bo_use){ .bo = bo, .write = write };
	return bo;
}

static int parse_op(struct npool_job *job, const struct drm_npool_op *from,
		    struct drm_npool_seg *segs, struct drm_file *file)
{
	struct npool_op *op = &job->ops[job->op_count];
	u32 i;
	int ret;

	op->type = from->type;
	op->pattern = from->pattern;
	op->segs = segs;
	op->seg_count = from->seg_count;
	op->dst = use(job, file, from->dst, true);
	if (!op->dst)
		return -ENOENT;
	if (op->type == DRM_NPOOL_OP_COPY) {
		op->src = use(job, file, from->src, false);
		if (!op->src)
			return -ENOENT;
	}
	ret = npool_array_copy(segs, from->segs, from->seg_count, from->seg_stride, sizeof(*segs));
	if (ret)
		return ret;
	for (i = 0; i < op->seg_count; i++) {
		ret = check_seg(op, &segs[i]);
		if (ret)
			return ret;
	}
	job->op_count++;
	return 0;
}

static int cmp_uses(const void *a, const void *b)
{
	const struct npool_bo_use *x = a, *y = b;

	return x->bo < y->bo ? -1 : x->bo > y->bo;
}

/* Each buffer once, written to if any operation does. */
static void merge_uses(struct npool_job *job)
{
	u32 i, count = 0;

	sort(job->uses, job->use_count, sizeof(*job->uses), cmp_uses, NULL);
	for (i = 0; i < job->use_count; i++) {
		struct npool_bo_use *use = &job->uses[i];

		if (count && job->uses[count - 1].bo == use->bo) {
			job->uses[count - 1].write |= use->write;
			npool_bo_put(use->bo);
		} else {
			job->uses[count++] = *use;
		}
	}
	job->use_count = count;
}

static int parse_all(struct npool_job *job, const struct drm_npool_op *from, u32 count,
		     struct drm_file *file)
{
	struct drm_npool_seg *segs;
	int ret = count_segs(from, count);
	u32 i;

	if (ret < 0)
		return ret;
	job->segs = kvmalloc_array(ret, sizeof(*job->segs), GFP_KERNEL_ACCOUNT);
	job->ops = kvcalloc(count, sizeof(*job->ops), GFP_KERNEL_ACCOUNT);
	job->uses = kvcalloc(count, 2 * sizeof(*job->uses), GFP_KERNEL_ACCOUNT);
	if (!job->segs || !job->ops || !job->uses)
		return -ENOMEM;
	segs = job->segs;
	for (i = 0, ret = 0; i < count && !ret; i++) {
		ret = parse_op(job, &from[i], segs, file);
		segs += from[i].seg_count;
	}
	merge_uses(job);
	return ret;
}

/** npool_parse_ops() - a submit's operations and the buffers they touch */
int npool_parse_ops(struct npool_job *job, const struct drm_npool_submit *args,
		    struct drm_file *file)
{
	struct drm_npool_op *from;
	int ret;

	ret = npool_array_check(args->op_count, args->op_stride, sizeof(*from), NPOOL_MAX_OPS);
	if (ret || !args->op_count)
		return ret;
	from = read_array(args->ops, args->op_count, args->op_stride, sizeof(*from));
	if (IS_ERR(from))
		return PTR_ERR(from);
	ret = parse_all(job, from, args->op_count, file);
	kvfree(from);
	return ret;
}

/** npool_parse_syncs() - a list of points, checked but for their handles; kvfree() it */
struct drm_npool_sync *npool_parse_syncs(u64 user, u32 count, u32 stride)
{
	struct drm_npool_sync *syncs;
	int ret;
	u32 i;

	ret = npool_array_check(count, stride, sizeof(*syncs), NPOOL_MAX_SYNCS);
	if (ret)
		return ERR_PTR(ret);
	if (!count)
		return NULL;
	syncs = read_array(user, count, stride, sizeof(*syncs));
	if (IS_ERR(syncs))
		return syncs;
	for (i = 0; i < count; i++) {
		if (syncs[i].flags)
			ret = -EOPNOTSUPP;
		else if (!syncs[i].point)
			ret = -EINVAL;
	}
	if (ret) {
		kvfree(syncs);
		return ERR_PTR(ret);
	}
	return syncs;
}

static int find_fences(struct npool_job *job, const struct drm_npool_sync *syncs, u32 count,
		       struct drm_file *file)
{
	u32 i;

	job->waits = kvcalloc(count, sizeof(*job->waits), GFP_KERNEL_ACCOUNT);
	if (!job->waits)
		return -ENOMEM;
	for (i = 0; i < count; i++) {
		struct dma_fence *fence;
		int ret;

		ret = drm_syncobj_find_fence(file, syncs[i].handle, syncs[i].point, 0, &fence);
		if (ret)
			return ret;
		if (dma_fence_is_signaled(fence))
			dma_fence_put(fence);
		else
			job->waits[job->wait_count++].fence = fence;
	}
	return 0;
}

/** npool_parse_waits() - the fences of a submit's wait points that are still to be waited for */
int npool_parse_waits(struct npool_job *job, const struct drm_npool_submit *args,
		      struct drm_file *file)
{
	struct drm_npool_sync *syncs;
	int ret;

	syncs = npool_parse_syncs(args->waits, args->wait_count, args->sync_stride);
	if (IS_ERR_OR_NULL(syncs))
		return PTR_ERR_OR_ZERO(syncs);
	ret = find_fences(job, syncs, args->wait_count, file);
	kvfree(syncs);
	return ret;
}
