/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a backend tells npool about an NPU, and how the NPU joins and leaves the
 * pool. A vendor's driver needs this header and nothing else of npool.
 *
 * An NPU's memory is made of struct pages, each with a reference count of its
 * own (split_page()), so that it can be mapped, pinned and shared. Offsets are
 * bytes from the start of that memory.
 */
#ifndef NPOOL_HW_H
#define NPOOL_HW_H

#include <linux/types.h>

struct module;
struct npool_npu;
struct page;

/** define NPOOL_NAME_LEN - Bytes of an NPU's or backend's name with its terminating zero */
#define NPOOL_NAME_LEN 32

/**
 * struct npool_xfer - One contiguous move that an NPU's engine is to make
 * @dst: kernel address written to
 * @src: kernel address read from, NULL for a fill
 * @dst_page: page of @dst, NULL if the memory is another driver's
 * @src_page: page of @src, likewise
 * @bytes: length of both, at most a window of the core's choice
 * @pattern: for a fill, its bytes are written in the order they have in memory
 * @start: the first move of an operation
 */
struct npool_xfer {
	void *dst;
	const void *src;
	struct page *dst_page;
	struct page *src_page;
	size_t bytes;
	u64 pattern;
	bool start;
};

/**
 * struct npool_hw_ops - What npool asks of a backend
 * @owner: the backend's module
 * @backend: its name
 * @page: the page at an offset; lowers *bytes to how far the memory goes on
 *	physically contiguous and kernel-mapped from @offset, which may lie
 *	within a page. Cannot fail; any context
 * @check: optional, -EIO if a byte of the range can no longer be trusted. Any
 *	context
 * @reserve: optional, called before memory is allocated, may refuse with
 *	-ENOSPC. May sleep
 * @clear: zeroes a range before it is handed out. May sleep
 * @copy: makes a move and returns when it is done, 0 or -EIO. Called by one
 *	thread at a time, which may sleep but is on the way to signalling a
 *	fence: no allocation, no lock that is held over one
 * @fill: likewise
 * @health: 0, or -ENODEV when the NPU has died. Any context
 * @inject: optional, acts out an &enum drm_npool_fault. May sleep
 * @release: nothing of npool refers to the NPU's memory any more; pages may
 *	still be pinned by others, so they are to be put, not reused. May sleep
 *
 * Every op gets the pointer given to npool_npu_register(). After
 * npool_npu_unregister() no copy, fill, reserve or inject is called; the others
 * may be until @release.
 */
struct npool_hw_ops {
	struct module *owner;
	const char *backend;
	struct page *(*page)(void *hw, u64 offset, u64 *bytes);
	int (*check)(void *hw, u64 offset, u64 bytes);
	int (*reserve)(void *hw, u64 bytes);
	void (*clear)(void *hw, u64 offset, u64 bytes);
	int (*copy)(void *hw, const struct npool_xfer *xfer);
	int (*fill)(void *hw, const struct npool_xfer *xfer);
	int (*health)(void *hw);
	int (*inject)(void *hw, u32 fault, u64 arg);
	void (*release)(void *hw);
};

/**
 * struct npool_npu_desc - An NPU as its backend presents it
 * @name: unique among the pool's living members
 * @bytes: size of its memory, a multiple of PAGE_SIZE
 * @bandwidth: bytes a second that its engine moves, 0 if unknown
 * @latency_ns: start-up of one operation, 0 if unknown
 */
struct npool_npu_desc {
	const char *name;
	u64 bytes;
	u64 bandwidth;
	u64 latency_ns;
};

struct npool_npu *npool_npu_register(const struct npool_npu_desc *desc,
				     const struct npool_hw_ops *ops, void *hw);
void npool_npu_unregister(struct npool_npu *npu);
u32 npool_npu_id(const struct npool_npu *npu);
bool npool_npu_alive(const struct npool_npu *npu);

#endif
