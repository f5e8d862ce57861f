// SPDX-License-Identifier: GPL-2.0-only
/*
 * The memory of a software NPU: pages in chunks as large as can be had, each
 * page with a reference count of its own.
 */
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "sim.h"

static struct page *alloc_chunk(u64 left, unsigned int *order)
{
	/* Large chunks are a bonus; only for single pages is it worth to try hard. */
	gfp_t gfp = GFP_KERNEL | __GFP_NOWARN;
	struct page *page;

	while (*order && (PAGE_SIZE << *order) > left)
		--*order;
	for (;; --*order) {
		page = alloc_pages(gfp | (*order ? __GFP_NORETRY : __GFP_RETRY_MAYFAIL), *order);
		if (page || !*order)
			break;
	}
	if (page && *order)
		split_page(page, *order);
	return page;
}

/** sim_mem_init() - get @bytes of memory, a multiple of PAGE_SIZE */
int sim_mem_init(struct sim_mem *mem, u64 bytes)
{
	unsigned int order = MAX_PAGE_ORDER;
	u64 start = 0;

	/* At worst each chunk is one page. */
	mem->count = 0;
	mem->bytes = 0;
	mem->chunks = kvmalloc_array(bytes >> PAGE_SHIFT, sizeof(*mem->chunks),
				     GFP_KERNEL | __GFP_NOWARN);
	if (!mem->chunks)
		return -ENOMEM;
	while (start < bytes) {
		struct page *page = alloc_chunk(bytes - start, &order);

		if (!page) {
			sim_mem_fini(mem);
			return -ENOMEM;
		}
		mem->chunks[mem->count++] = (struct sim_chunk){ .start = start, .page = page };
		start += PAGE_SIZE << order;
		mem->bytes = start;
		cond_resched();
	}
	return 0;
}

/** sim_mem_fini() - put all pages; those that others have pinned live on */
void sim_mem_fini(struct sim_mem *mem)
{
	unsigned int i;

	for (i = 0; i < mem->count; i++) {
		u64 end = i + 1 < mem->count ? mem->chunks[i + 1].start : mem->bytes;
		u64 page, pages = (end - mem->chunks[i].start) >> PAGE_SHIFT;

		for (page = 0; page < pages; page++)
			__free_page(mem->chunks[i].page + page);
		cond_resched();
	}
	kvfree(mem->chunks);
}

/** sim_mem_page() - &npool_hw_ops.page */
struct page *sim_mem_page(const struct sim_mem *mem, u64 offset, u64 *bytes)
{
	unsigned int low = 0, high = mem->count;
	u64 end;

	while (high - low > 1) {
		unsigned int mid = low + (high - low) / 2;

		if (mem->chunks[mid].start <= offset)
			low = mid;
		else
			high = mid;
	}
	end = high < mem->count ? mem->chunks[high].start : mem->bytes;
	*bytes = min(*bytes, end - offset);
	return mem->chunks[low].page + ((offset - mem->chunks[low].start) >> PAGE_SHIFT);
}
