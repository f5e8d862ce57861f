// SPDX-License-Identifier: MIT
/*
 * An NPU leaves while the kernel itself holds things of it: through configfs as
 * through the ioctl, under submits from several threads, with dma-bufs abroad.
 */
#include <sys/syscall.h>

#include "npool.h"

#define CONFIG "/sys/kernel/config/npool_sim/"
#define THREADS 4

FIXTURE(removal)
{
	struct pool p;
	int fd;
	uint32_t victim;
	char dir[128];
};

FIXTURE_SETUP(removal)
{
	struct accel_npu_info info;

	pool_setup(&self->p);
	self->fd = node_open();
	self->victim = npu_add(self->p.dev, OWN_BYTES, 0);
	must(npu_find(self->p.dev, self->victim, &info));
	snprintf(self->dir, sizeof(self->dir), CONFIG "%s", info.name);
}

FIXTURE_TEARDOWN(removal)
{
	struct accel_npu_info info;

	close(self->fd);
	accel_npu_remove(self->p.dev, self->victim);
	EXPECT_TRUE(eventually(!npu_find(self->p.dev, self->victim, &info)));
	EXPECT_TRUE(pool_teardown(&self->p));
}

/* Whoever made the NPU takes it away: the directory goes while everything is in use. */
TEST_F(removal, rmdir_with_everything_in_use)
{
	struct drm_npool_bo_create bo = bo_new(self->fd, self->victim, MIB(1));
	uint8_t *m = bo_map(self->fd, &bo), *d;
	int dmabuf = bo_export(self->fd, bo.handle);
	uint32_t queue = queue_new(self->fd, self->victim),
		mate = queue_new(self->fd, self->p.npu[0]);
	uint64_t seqno = 0;
	struct drm_npool_bo_info info = { .handle = bo.handle };
	int i, err;

	d = mmap(NULL, MIB(1), PROT_READ | PROT_WRITE, MAP_SHARED, dmabuf, 0);
	ASSERT_NE(MAP_FAILED, d);
	m[0] = d[4096] = 1;
	ASSERT_EQ(0, access(self->dir, F_OK))
		TH_LOG("no %s", self->dir);
	for (i = 0; i < 16; i++) {
		struct drm_npool_seg seg = { KIB(512), 0, KIB(512) };
		struct drm_npool_op op = { .type = DRM_NPOOL_OP_COPY, .dst = bo.handle,
					   .src = bo.handle,
					   .segs = (uintptr_t)&seg, .seg_count = 1,
					   .seg_stride = sizeof(seg) };

		ASSERT_EQ(0, submit_one(self->fd, i & 1 ? queue : mate, &op, NULL, &seqno));
	}
	ASSERT_EQ(0, rmdir(self->dir));
	EXPECT_EQ(SIGBUS, touch(m, true));
	EXPECT_EQ(SIGBUS, touch(d + KIB(600), false));
	err = wait_for(self->fd, queue, 8);
	EXPECT_TRUE(!err || err == -ENODEV);
	EXPECT_EQ(0, call(self->fd, DRM_IOCTL_NPOOL_BO_INFO, &info));
	EXPECT_EQ(DRM_NPOOL_BO_LOST, info.flags);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, MIB(1), PROT_READ, MAP_SHARED, self->fd, bo.mmap_offset));
	EXPECT_EQ(ENODEV, errno);
	munmap(m, MIB(1));
	munmap(d, MIB(1));
	close(dmabuf);
}

struct load {
	int fd;
	uint32_t victim, npu;
	bool stop;
	unsigned int bad, rounds;
};

static void *load_npu(void *arg)
{
	struct load *load = arg;
	struct drm_npool_bo_create own = bo_new(load->fd, load->npu, KIB(64)), bo;
	uint32_t queue = queue_new(load->fd, load->npu);

	while (!__atomic_load_n(&load->stop, __ATOMIC_RELAXED)) {
		int err = bo_try(load->fd, load->victim, KIB(64), &bo), fd;
		uint32_t handle;
		uint8_t *m;

		load->rounds++;
		if (err) {
			load->bad += err != -ENODEV && err != -ENOENT && err != -ENOSPC;
			load->bad += !!move_bytes(load->fd, queue, own.handle, 0, own.handle,
						  KIB(32), 99);
			continue;
		}
		m = mmap(NULL, KIB(64), PROT_READ | PROT_WRITE, MAP_SHARED, load->fd,
			 bo.mmap_offset);
		err = move_bytes(load->fd, queue, own.handle, 0, bo.handle, 0, KIB(64));
		load->bad += err && err != -ENODEV;
		err = move_bytes(load->fd, queue, bo.handle, 0, own.handle, 0, KIB(64));
		load->bad += err && err != -ENODEV;
		if (m != MAP_FAILED) {
			madvise(m, KIB(64), 23 /* MADV_POPULATE_WRITE: an error, not a signal */);
			munmap(m, KIB(64));
		}
		fd = bo_export(load->fd, bo.handle);
		bo_close(load->fd, bo.handle);
		if (!bo_import(load->fd, fd, &handle))
			bo_close(load->fd, handle);
		close(fd);
	}
	return NULL;
}

TEST_F(removal, under_heavy_load)
{
	struct load loads[THREADS];
	pthread_t threads[THREADS];
	unsigned int round, i, rounds = 0;

	for (round = 0; round < scaled(10); round++) {
		uint32_t npu = npu_add(self->p.dev, OWN_BYTES, 0);
		int fds[THREADS];

		for (i = 0; i < THREADS; i++) {
			fds[i] = node_open();
			loads[i] = (struct load){ .fd = i < 2 ? self->fd : fds[i], .victim = npu,
						  .npu = i & 1 ? self->p.npu[1] : self->p.npu[0] };
			ASSERT_EQ(0, pthread_create(&threads[i], NULL, load_npu, &loads[i]));
		}
		nap(30 + rand() % 50);
		EXPECT_EQ(0, round & 1 ? accel_npu_inject(self->p.dev, npu, ACCEL_FAULT_DIE, 0) :
				 accel_npu_remove(self->p.dev, npu));
		nap(20);
		for (i = 0; i < THREADS; i++)
			__atomic_store_n(&loads[i].stop, true, __ATOMIC_RELAXED);
		for (i = 0; i < THREADS; i++) {
			pthread_join(threads[i], NULL);
			EXPECT_EQ(0, loads[i].bad);
			rounds += loads[i].rounds;
			close(fds[i]);
		}
	}
	EXPECT_LT(0, rounds);
}

/* Files are closed, and processes die, while the NPU goes. */
static int hold_and_die(int sock, const void *arg)
{
	struct load load = { .fd = node_open(), .victim = *(const uint32_t *)arg };

	load.npu = load.victim;
	say(sock, 1);
	load_npu(&load);
	return 0;
}

TEST_F(removal, beside_dying_processes)
{
	unsigned int round;

	for (round = 0; round < scaled(10); round++) {
		uint32_t npu = npu_add(self->p.dev, OWN_BYTES, 0);
		struct child a = child_start(hold_and_die, &npu),
			b = child_start(hold_and_die, &npu);

		hear(a.sock);
		hear(b.sock);
		nap(rand() % 20);
		kill(a.pid, SIGKILL);
		EXPECT_EQ(0, accel_npu_remove(self->p.dev, npu));
		kill(b.pid, SIGKILL);
		child_end(&a);
		child_end(&b);
		struct accel_npu_info info;

		EXPECT_TRUE(eventually(!npu_find(self->p.dev, npu, &info)));
	}
}

/* All that is open when its NPU is gone can be used up to the end, then closed. */
TEST_F(removal, module_stays_while_used)
{
	EXPECT_EQ(-1, syscall(SYS_delete_module, "npool", O_NONBLOCK));
	EXPECT_TRUE(errno == EBUSY || errno == EWOULDBLOCK);
	EXPECT_EQ(0, access(node_path(), F_OK));
}

TEST_HARNESS_MAIN
