/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Software NPUs: what their files share.
 */
#ifndef NPOOL_SIM_H
#define NPOOL_SIM_H

#include <linux/atomic.h>
#include <linux/ktime.h>
#include <linux/types.h>

#include "npool_hw.h"

#define SIM_MIN_BANDWIDTH	1000000ull	/* bytes a second: a page takes 4 ms */
#define SIM_MAX_LATENCY_NS	1000000000ull
#define SIM_MAX_NPUS		64u	/* made by module parameters */
#define SIM_POLL_MS		10
#define SIM_SLEEP_NS		10000	/* shorter waits are carried over to the next copy */

struct npool_npu;

/**
 * struct sim_chunk - Contiguous pages
 * @start: first byte in the NPU's memory
 * @page: first page
 */
struct sim_chunk {
	u64 start;
	struct page *page;
};

/**
 * struct sim_mem - RAM that plays an NPU's memory
 * @bytes: its size
 * @chunks: ascending by start
 * @count: how many
 */
struct sim_mem {
	u64 bytes;
	struct sim_chunk *chunks;
	unsigned int count;
};

/**
 * struct sim_model - How fast it pretends to be
 * @bandwidth: bytes a second, 0 for no limit
 * @latency_ns: added to each operation
 */
struct sim_model {
	u64 bandwidth;
	u64 latency_ns;
};

/* sim_mem.c */
int sim_mem_init(struct sim_mem *mem, u64 bytes);
void sim_mem_fini(struct sim_mem *mem);
struct page *sim_mem_page(const struct sim_mem *mem, u64 offset, u64 *bytes);

/* sim.c */
struct npool_npu *sim_add(const char *name, u64 bytes, const struct sim_model *model);

/* sim_configfs.c */
int sim_configfs_init(void);
void sim_configfs_exit(void);

#endif
