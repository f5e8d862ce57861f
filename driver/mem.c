// SPDX-License-Identifier: GPL-2.0-only
/*
 * An NPU's memory: what is free, what is zeroed, what must rest.
 *
 * Freed memory may still be pinned by somebody who got at it through a mapping:
 * a NIC, io_uring. To hand it to another client would let the two see each
 * other. So a freed block of which a page has more references than our own goes
 * to quarantine until they are gone; while in quarantine it is not free.
 */
#include <linux/mm.h>
#include <linux/sched/signal.h>

#include "npool.h"

static bool block_held(struct npool_npu *npu, struct npool_buddy_block *block)
{
	u64 offset = npool_buddy_block_offset(block);
	u64 end = offset + npool_buddy_block_size(&npu->mem.mm, block);

	while (offset < end) {
		u64 bytes = end - offset;
		struct page *page = npu->ops->page(npu->hw, offset, &bytes);
		u64 i;

		for (i = 0; i < bytes >> PAGE_SHIFT; i++)
			if (page_ref_count(page + i) != 1)
				return true;
		offset += bytes;
		cond_resched();
	}
	return false;
}

/* What is no longer held becomes free. */
static void rescan_locked(struct npool_npu *npu)
{
	struct npool_mem *mem = &npu->mem;
	struct npool_buddy_block *block, *next;
	LIST_HEAD(clean);

	lockdep_assert_held(&mem->lock);
	list_for_each_entry_safe(block, next, &mem->quarantine, link)
		if (!block_held(npu, block))
			list_move_tail(&block->link, &clean);
	npool_buddy_free_list(&mem->mm, &clean, 0);
	if (!list_empty(&mem->quarantine))
		schedule_delayed_work(&mem->rescan, msecs_to_jiffies(NPOOL_RESCAN_MS));
}

static void rescan(struct work_struct *work)
{
	struct npool_npu *npu = container_of(work, struct npool_npu, mem.rescan.work);

	mutex_lock(&npu->mem.lock);
	rescan_locked(npu);
	mutex_unlock(&npu->mem.lock);
}

static int take(struct npool_npu *npu, u64 bytes, struct list_head *blocks)
{
	struct npool_mem *mem = &npu->mem;
	int ret = -ENOSPC;

	mutex_lock(&mem->lock);
	if (bytes > mem->mm.avail)
		rescan_locked(npu);
	if (bytes <= mem->mm.avail)
		ret = npool_buddy_alloc_blocks(&mem->mm, 0, mem->mm.size, bytes, NPOOL_MIN_ALLOC,
					       blocks, 0);
	mutex_unlock(&mem->lock);
	return ret;
}

static int clear(struct npool_npu *npu, struct list_head *blocks)
{
	struct npool_buddy_block *block;

	list_for_each_entry(block, blocks, link) {
		u64 offset = npool_buddy_block_offset(block);
		u64 end = offset + npool_buddy_block_size(&npu->mem.mm, block);

		while (offset < end) {
			u64 bytes = min(end - offset, NPOOL_CLEAR_STEP);

			if (fatal_signal_pending(current))
				return -EINTR;
			npu->ops->clear(npu->hw, offset, bytes);
			atomic64_add(bytes, &npu->bytes_cleared);
			offset += bytes;
			cond_resched();
		}
	}
	return 0;
}

/** npool_mem_free() - give blocks back */
void npool_mem_free(struct npool_npu *npu, struct list_head *blocks)
{
	struct npool_mem *mem = &npu->mem;
	struct npool_buddy_block *block, *next;
	LIST_HEAD(held);

	/* A dead NPU's memory is not handed out again. */
	if (!READ_ONCE(npu->dead)) {
		list_for_each_entry_safe(block, next, blocks, link)
			if (block_held(npu, block))
				list_move_tail(&block->link, &held);
	}
	mutex_lock(&mem->lock);
	npool_buddy_free_list(&mem->mm, blocks, 0);
	if (!list_empty(&held)) {
		list_splice_tail(&held, &mem->quarantine);
		schedule_delayed_work(&mem->rescan, msecs_to_jiffies(NPOOL_RESCAN_MS));
	}
	mutex_unlock(&mem->lock);
}

/**
 * npool_mem_alloc() - take memory and zero it
 * @npu: whose
 * @bytes: how much
 * @blocks: out, of npool_buddy_block.link, together exactly @bytes
 */
int npool_mem_alloc(struct npool_npu *npu, u64 bytes, struct list_head *blocks)
{
	int ret;

	if (npu->ops->reserve) {
		ret = npu->ops->reserve(npu->hw, bytes);
		if (ret)
			return ret;
	}
	ret = take(npu, bytes, blocks);
	if (ret == -ENOSPC && bytes <= npu->bytes) {
		/* Jobs that have ended may not have let go of their buffers yet. */
		flush_workqueue(npu->pool->wq);
		ret = take(npu, bytes, blocks);
	}
	if (ret)
		return ret;
	ret = clear(npu, blocks);
	if (ret)
		npool_mem_free(npu, blocks);
	return ret;
}

/** npool_mem_free_bytes() - what can be allocated now */
u64 npool_mem_free_bytes(struct npool_npu *npu)
{
	struct npool_mem *mem = &npu->mem;
	u64 bytes;

	mutex_lock(&mem->lock);
	bytes = mem->mm.avail;
	mutex_unlock(&mem->lock);
	return bytes;
}

/** npool_mem_init() - all of an NPU's memory is free */
int npool_mem_init(struct npool_npu *npu)
{
	struct npool_mem *mem = &npu->mem;

	mutex_init(&mem->lock);
	INIT_LIST_HEAD(&mem->quarantine);
	INIT_DELAYED_WORK(&mem->rescan, rescan);
	return npool_buddy_init(&mem->mm, npu->bytes, NPOOL_MIN_ALLOC);
}

/** npool_mem_fini() - undo npool_mem_init() when nothing is allocated */
void npool_mem_fini(struct npool_npu *npu)
{
	struct npool_mem *mem = &npu->mem;

	cancel_delayed_work_sync(&mem->rescan);
	npool_buddy_free_list(&mem->mm, &mem->quarantine, 0);
	npool_buddy_fini(&mem->mm);
	mutex_destroy(&mem->lock);
}
