// SPDX-License-Identifier: GPL-2.0-only
/*
 * npool_sim: NPUs made of RAM, to develop and test with. They copy with the CPU,
 * can pretend to be slower than that, and act out faults on request.
 */
#include <linux/bitmap.h>
#include <linux/delay.h>
#include <linux/hrtimer.h>
#include <linux/kernel.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include <drm/npool_accel.h>

#include "sim.h"

static unsigned int npus = 2;
module_param(npus, uint, 0444);
MODULE_PARM_DESC(npus, "NPUs to start with, named sim0, sim1, ...");

static char *size = "128M";
module_param(size, charp, 0444);
MODULE_PARM_DESC(size, "bytes of each, K M G understood");

static unsigned long long bandwidth;
module_param(bandwidth, ullong, 0444);
MODULE_PARM_DESC(bandwidth, "bytes a second of each one's engine, 0 no limit");

static unsigned long long latency_ns;
module_param(latency_ns, ullong, 0444);
MODULE_PARM_DESC(latency_ns, "added to each operation");

/**
 * struct sim - A software NPU, from when it is added until nothing refers to it
 * @mem: its memory
 * @model: how fast it pretends to be
 * @busy_until: when its engine would be done with all it has copied so far;
 *	the engine's only
 * @poison: a bit for each page, NULL while none is poisoned
 * @fail_allocs: next allocations to fail
 * @fail_copies: next copies or fills to fail
 * @dead: it has died
 */
struct sim {
	struct sim_mem mem;
	struct sim_model model;
	ktime_t busy_until;
	unsigned long *poison;
	atomic64_t fail_allocs;
	atomic64_t fail_copies;
	bool dead;
};

static struct npool_npu *started[SIM_MAX_NPUS];

static struct page *page(void *hw, u64 offset, u64 *bytes)
{
	struct sim *sim = hw;

	return sim_mem_page(&sim->mem, offset, bytes);
}

static int check(void *hw, u64 offset, u64 bytes)
{
	struct sim *sim = hw;
	unsigned long *poison = READ_ONCE(sim->poison);
	unsigned long end = (offset + bytes - 1) / PAGE_SIZE + 1;

	if (!poison)
		return 0;
	return find_next_bit(poison, end, offset / PAGE_SIZE) < end ? -EIO : 0;
}

static int reserve(void *hw, u64 bytes)
{
	struct sim *sim = hw;

	return atomic64_dec_if_positive(&sim->fail_allocs) >= 0 ? -ENOSPC : 0;
}

static void clear(void *hw, u64 offset, u64 bytes)
{
	while (bytes) {
		u64 span = bytes;

		memset(page_address(page(hw, offset, &span)), 0, span);
		offset += span;
		bytes -= span;
	}
}

/* Sleep until the engine that is played would be done too. */
static void pretend(struct sim *sim, const struct npool_xfer *xfer)
{
	ktime_t now;
	u64 ns = xfer->start ? sim->model.latency_ns : 0;

	if (sim->model.bandwidth)
		ns += mul_u64_u64_div_u64(xfer->bytes, NSEC_PER_SEC, sim->model.bandwidth);
	if (!ns)
		return;
	now = ktime_get();
	if (sim->busy_until < now)
		sim->busy_until = now;
	sim->busy_until += ns;
	while (sim->busy_until - now > SIM_SLEEP_NS && !READ_ONCE(sim->dead)) {
		set_current_state(TASK_IDLE);
		schedule_hrtimeout_range(&sim->busy_until, SIM_SLEEP_NS, HRTIMER_MODE_ABS);
		now = ktime_get();
	}
}

static int fail_copy(struct sim *sim)
{
	return atomic64_dec_if_positive(&sim->fail_copies) >= 0 ? -EIO : 0;
}

static int copy(void *hw, const struct npool_xfer *xfer)
{
	struct sim *sim = hw;
	int ret = fail_copy(sim);

	if (ret)
		return ret;
	memcpy(xfer->dst, xfer->src, xfer->bytes);
	pretend(sim, xfer);
	return 0;
}

static int fill(void *hw, const struct npool_xfer *xfer)
{
	struct sim *sim = hw;
	size_t whole = xfer->bytes & ~(sizeof(u64) - 1);
	int ret = fail_copy(sim);

	if (ret)
		return ret;
	/* Machines that cannot store words anywhere fill such ranges by bytes. */
	if (IS_ENABLED(CONFIG_HAVE_EFFICIENT_UNALIGNED_ACCESS) ||
	    IS_ALIGNED((uintptr_t)xfer->dst, sizeof(u64)))
		memset64(xfer->dst, xfer->pattern, whole / sizeof(u64));
	else
		for (size_t i = 0; i < whole; i += sizeof(u64))
			memcpy(xfer->dst + i, &xfer->pattern, sizeof(u64));
	memcpy(xfer->dst + whole, &xfer->pattern, xfer->bytes - whole);
	pretend(sim, xfer);
	return 0;
}

static int health(void *hw)
{
	struct sim *sim = hw;

	return READ_ONCE(sim->dead) ? -ENODEV : 0;
}

static int poison_page(struct sim *sim, u64 offset)
{
	unsigned long *poison = sim->poison;

	if (offset >= sim->mem.bytes)
		return -EINVAL;
	if (!poison) {
		poison = kvcalloc(BITS_TO_LONGS(sim->mem.bytes / PAGE_SIZE), sizeof(long),
				  GFP_KERNEL);
		if (!poison)
			return -ENOMEM;
	}
	set_bit(offset / PAGE_SIZE, poison);
	/* Readers look while it is being published. */
	smp_store_release(&sim->poison, poison);
	return 0;
}

/* Called by one at a time. */
static int inject(void *hw, u32 fault, u64 arg)
{
	struct sim *sim = hw;

	switch (fault) {
	case DRM_NPOOL_FAULT_ALLOC:
		atomic64_set(&sim->fail_allocs, min_t(u64, arg, S64_MAX));
		return 0;
	case DRM_NPOOL_FAULT_COPY:
		atomic64_set(&sim->fail_copies, min_t(u64, arg, S64_MAX));
		return 0;
	case DRM_NPOOL_FAULT_POISON:
		return poison_page(sim, arg);
	case DRM_NPOOL_FAULT_DIE:
		if (arg)
			return -EINVAL;
		WRITE_ONCE(sim->dead, true);
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

static void release(void *hw)
{
	struct sim *sim = hw;

	sim_mem_fini(&sim->mem);
	kvfree(sim->poison);
	kfree(sim);
}

static const struct npool_hw_ops ops = {
	.owner = THIS_MODULE,
	.backend = "npool_sim",
	.page = page,
	.check = check,
	.reserve = reserve,
	.clear = clear,
	.copy = copy,
	.fill = fill,
	.health = health,
	.inject = inject,
	.release = release,
};

/** sim_add() - add a software NPU to the pool */
struct npool_npu *sim_add(const char *name, u64 bytes, const struct sim_model *model)
{
	struct npool_npu_desc desc = {
		.name = name,
		.bytes = bytes,
		.bandwidth = model->bandwidth,
		.latency_ns = model->latency_ns,
	};
	struct npool_npu *npu;
	struct sim *sim;
	int ret;

	if (!bytes || !PAGE_ALIGNED(bytes) || model->latency_ns > SIM_MAX_LATENCY_NS ||
	    (model->bandwidth && model->bandwidth < SIM_MIN_BANDWIDTH))
		return ERR_PTR(-EINVAL);
	sim = kzalloc(sizeof(*sim), GFP_KERNEL);
	if (!sim)
		return ERR_PTR(-ENOMEM);
	sim->model = *model;
	ret = sim_mem_init(&sim->mem, bytes);
	if (ret) {
		kfree(sim);
		return ERR_PTR(ret);
	}
	npu = npool_npu_register(&desc, &ops, sim);
	if (IS_ERR(npu))
		release(sim);
	return npu;
}

static void stop_all(void)
{
	unsigned int i;

	for (i = 0; i < SIM_MAX_NPUS; i++)
		if (started[i])
			npool_npu_unregister(started[i]);
}

static int start_all(void)
{
	struct sim_model model = { .bandwidth = bandwidth, .latency_ns = latency_ns };
	char name[NPOOL_NAME_LEN];
	unsigned int i;

	for (i = 0; i < npus; i++) {
		struct npool_npu *npu;

		snprintf(name, sizeof(name), "sim%u", i);
		npu = sim_add(name, memparse(size, NULL), &model);
		if (IS_ERR(npu))
			return PTR_ERR(npu);
		started[i] = npu;
	}
	return 0;
}

/* Whoever was quick to use an NPU of a start that fails holds this module, as does its loading. */
static void wait_for_users(void)
{
	while (module_refcount(THIS_MODULE) > 1)
		msleep(SIM_POLL_MS);
}

static int __init sim_init(void)
{
	int ret;

	if (npus > SIM_MAX_NPUS)
		return -EINVAL;
	ret = sim_configfs_init();
	if (ret)
		return ret;
	ret = start_all();
	if (ret) {
		sim_configfs_exit();
		stop_all();
		wait_for_users();
	}
	return ret;
}

static void __exit sim_exit(void)
{
	sim_configfs_exit();
	stop_all();
}

module_init(sim_init);
module_exit(sim_exit);
MODULE_DESCRIPTION("Software NPUs for npool");
MODULE_LICENSE("GPL");
