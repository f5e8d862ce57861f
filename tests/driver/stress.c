// SPDX-License-Identifier: MIT
/*
 * Random calls from several processes for NPOOL_STRESS_SECONDS, with processes
 * killed and NPUs added and removed meanwhile. After it all memory is free again
 * and the counters agree.
 */
#include "npool.h"

#define PROCESSES 4
#define SLOTS 24

POOL_FIXTURE(stress)

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static unsigned int seconds(void)
{
	const char *env = getenv("NPOOL_STRESS_SECONDS");

	return env ? strtoul(env, NULL, 10) : scaled(20);
}

struct slot {
	struct drm_npool_bo_create bo;
	uint8_t *m;
	int dmabuf;
};

struct life {
	int fd;
	struct slot slots[SLOTS];
	uint32_t queue[4], sync;
	uint64_t point, seed;
};

static void drop(struct life *life, struct slot *slot)
{
	if (slot->m)
		munmap(slot->m, slot->bo.size);
	if (slot->dmabuf > 0)
		close(slot->dmabuf);
	if (slot->bo.handle)
		bo_close(life->fd, slot->bo.handle);
	memset(slot, 0, sizeof(*slot));
}

static void grab(struct life *life, struct slot *slot)
{
	uint32_t npus[2];

	drop(life, slot);
	npus[0] = rnd(&life->seed) % 64;
	npus[1] = npus[0] + 1;
	slot->bo = (struct drm_npool_bo_create){
		.size = KIB(4) * (1 + rnd(&life->seed) % 64), .npus = (uintptr_t)npus,
		.npu_count = rnd(&life->seed) % 3, .placement = rnd(&life->seed) % 3,
	};
	if (slot->bo.placement == DRM_NPOOL_PLACE_INTERLEAVE)
		slot->bo.stripe = KIB(4) << rnd(&life->seed) % 4;
	if (call(life->fd, DRM_IOCTL_NPOOL_BO_CREATE, &slot->bo))
		memset(slot, 0, sizeof(*slot));
}

static void submit(struct life *life)
{
	struct slot *a = &life->slots[rnd(&life->seed) % SLOTS],
		*b = &life->slots[rnd(&life->seed) % SLOTS];
	uint64_t size = 1 + rnd(&life->seed) % KIB(16);
	struct drm_npool_seg segs[] = { { rnd(&life->seed) % KIB(8), 0, size },
					{ rnd(&life->seed) % KIB(64), 0, size } };
	struct drm_npool_op op = { .type = rnd(&life->seed) % 2, .dst = a->bo.handle,
				   .segs = (uintptr_t)segs,
				   .seg_count = 1 + rnd(&life->seed) % 2,
					   .seg_stride = sizeof(segs[0]) };
	struct drm_npool_sync wait = { .handle = life->sync, .point = life->point };
	struct drm_npool_sync signal = { .handle = life->sync, .point = life->point + 1 };
	struct drm_npool_submit submit = {
		.queue = life->queue[rnd(&life->seed) % 4], .ops = (uintptr_t)&op, .op_count = 1,
		.op_stride = sizeof(op), .waits = (uintptr_t)&wait, .signals = (uintptr_t)&signal,
		.wait_count = life->point ? rnd(&life->seed) % 2 : 0,
		.signal_count = rnd(&life->seed) % 2, .sync_stride = sizeof(wait),
	};

	if (op.type == DRM_NPOOL_OP_COPY)
		op.src = b->bo.handle;
	if (call(life->fd, DRM_IOCTL_NPOOL_SUBMIT, &submit))
		return;
	life->point += submit.signal_count;
	if (rnd(&life->seed) % 4 == 0)
		wait_for(life->fd, submit.queue, submit.seqno);
}

static void step(struct life *life)
{
	struct slot *slot = &life->slots[rnd(&life->seed) % SLOTS];
	unsigned int at = rnd(&life->seed) % 4;
	struct drm_npool_queue_create queue = { .npu = rnd(&life->seed) % 64 };
	uint32_t handle;

	switch (rnd(&life->seed) % 10) {
	case 0:
		grab(life, slot);
		break;
	case 1:
		drop(life, slot);
		break;
	case 2:
		if (slot->bo.handle && !slot->m) {
			slot->m = mmap(NULL, slot->bo.size, PROT_READ | PROT_WRITE, MAP_SHARED,
				       life->fd,
				       slot->bo.mmap_offset);
			if (slot->m == MAP_FAILED)
				slot->m = NULL;
		}
		break;
	case 3:
		if (slot->m)
			touch(slot->m + rnd(&life->seed) % slot->bo.size, true);
		break;
	case 4:
		if (slot->bo.handle && !slot->dmabuf)
			slot->dmabuf = bo_export(life->fd, slot->bo.handle);
		break;
	case 5:
		if (slot->dmabuf)
			bo_import(life->fd, slot->dmabuf, &handle);
		break;
	case 6:
		if (!call(life->fd, DRM_IOCTL_NPOOL_QUEUE_CREATE, &queue)) {
			if (life->queue[at])
				queue_end(life->fd, life->queue[at]);
			life->queue[at] = queue.queue;
		}
		break;
	default:
		submit(life);
	}
}

static int live(int sock, const void *arg)
{
	struct life life = { .fd = node_open(), .seed = getpid() };
	double end = now() + *(const unsigned int *)arg;
	unsigned int i;

	(void)sock;
	life.sync = sync_new(life.fd);
	for (i = 0; i < SLOTS; i++)
		grab(&life, &life.slots[i]);
	while (now() < end)
		step(&life);
	for (i = 0; i < SLOTS; i++)
		drop(&life, &life.slots[i]);
	close(life.fd);
	return 0;
}

static bool settled(struct accel_dev *dev)
{
	struct accel_npu_stats stats[256];
	struct accel_npu_info npus[256];
	uint32_t count = 256, i;

	must_ok(accel_npus(dev, npus, &count));
	must(count <= 256);
	for (i = 0; i < count; i++)
		if (npus[i].state != ACCEL_NPU_ONLINE || npus[i].bytes_free != npus[i].bytes_total)
			return false;
	must_ok(accel_stats(dev, stats, &count));
	for (i = 0; i < count; i++)
		if (stats[i].jobs_submitted != stats[i].jobs_done + stats[i].jobs_failed)
			return false;
	return true;
}

TEST_F(stress, everything_at_once)
{
	struct child children[PROCESSES];
	unsigned int left = seconds(), i;
	double end = now() + left;
	uint64_t seed = 1;

	ASSERT_TRUE(eventually(settled(self->p.dev)));
	for (i = 0; i < PROCESSES; i++)
		children[i] = child_start(live, &left);
	while (now() < end) {
		uint32_t npu = npu_add(self->p.dev, MIB(1), rnd(&seed) % 3 ? 0 : 1000000);

		nap(rnd(&seed) % 200);
		EXPECT_EQ(0, rnd(&seed) % 2 ? accel_npu_remove(self->p.dev, npu) :
				 accel_npu_inject(self->p.dev, npu, ACCEL_FAULT_DIE, 0));
		i = rnd(&seed) % PROCESSES;
		if (rnd(&seed) % 3 == 0 && now() < end) {
			unsigned int rest = 1 + (unsigned int)(end - now());

			kill(children[i].pid, SIGKILL);
			child_end(&children[i]);
			children[i] = child_start(live, &rest);
		}
	}
	for (i = 0; i < PROCESSES; i++)
		EXPECT_EQ(0, child_end(&children[i]));
	EXPECT_TRUE(eventually(settled(self->p.dev)));
}

TEST_HARNESS_MAIN
