// SPDX-License-Identifier: MIT
/* dma-buf, both ways: ours given to others, others' memory taken in. */
#include <linux/dma-buf.h>
#include <linux/udmabuf.h>

#include "npool.h"

#define BYTES KIB(256)

FIXTURE(prime)
{
	struct pool p;
	int fd, dmabuf;
	struct drm_npool_bo_create bo;
	uint8_t *m;
	uint32_t queue;
};

FIXTURE_SETUP(prime)
{
	pool_setup(&self->p);
	self->fd = node_open();
	self->bo = bo_new(self->fd, self->p.npu[0], BYTES);
	self->m = bo_map(self->fd, &self->bo);
	self->dmabuf = bo_export(self->fd, self->bo.handle);
	self->queue = queue_new(self->fd, self->p.npu[1]);
}

FIXTURE_TEARDOWN(prime)
{
	munmap(self->m, BYTES);
	close(self->dmabuf);
	close(self->fd);
	EXPECT_TRUE(pool_teardown(&self->p));
}

TEST_F(prime, tells_its_size)
{
	EXPECT_EQ(BYTES, lseek(self->dmabuf, 0, SEEK_END));
	EXPECT_EQ(0, lseek(self->dmabuf, 0, SEEK_SET));
}

TEST_F(prime, cpu_access)
{
	struct dma_buf_sync sync = { .flags = DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW };
	uint8_t *d = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, self->dmabuf, 0), *part;

	ASSERT_NE(MAP_FAILED, d);
	EXPECT_EQ(0, call(self->dmabuf, DMA_BUF_IOCTL_SYNC, &sync));
	scribble(d, BYTES, 1);
	sync.flags = DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW;
	EXPECT_EQ(0, call(self->dmabuf, DMA_BUF_IOCTL_SYNC, &sync));
	EXPECT_EQ(0, memcmp(d, self->m, BYTES));
	/* Unlike the node, a dma-buf may be mapped from within. */
	part = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, self->dmabuf, BYTES - 4096);
	if (part != MAP_FAILED) {
		EXPECT_EQ(0, memcmp(part, d + BYTES - 4096, 4096));
		part[4095] = 99;
		EXPECT_EQ(99, self->m[BYTES - 1]);
		munmap(part, 4096);
	}
	EXPECT_EQ(MAP_FAILED, mmap(NULL, 8192, PROT_READ, MAP_SHARED, self->dmabuf, BYTES - 4096));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, BYTES + 4096, PROT_READ, MAP_SHARED, self->dmabuf, 0));
	munmap(d, BYTES);
}

TEST_F(prime, importing_ones_own_gives_the_same)
{
	struct drm_npool_bo_info info = { 0 };
	int other = node_open();
	uint32_t handle = 0;

	EXPECT_EQ(0, bo_import(self->fd, self->dmabuf, &handle));
	EXPECT_EQ(self->bo.handle, handle);
	EXPECT_EQ(0, bo_import(other, self->dmabuf, &handle));
	info.handle = handle;
	EXPECT_EQ(0, call(other, DRM_IOCTL_NPOOL_BO_INFO, &info));
	EXPECT_EQ(BYTES, info.size);
	EXPECT_EQ(0, info.flags);
	EXPECT_EQ(OWN_BYTES - BYTES, npu_free(self->p.dev, self->p.npu[0]));
	close(other);
}

TEST_F(prime, dmabuf_and_its_mapping_hold_the_memory)
{
	uint8_t *d = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, self->dmabuf, 0);

	ASSERT_NE(MAP_FAILED, d);
	self->m[0] = 5;
	munmap(self->m, BYTES);
	bo_close(self->fd, self->bo.handle);
	close(self->dmabuf);
	nap(20);
	EXPECT_EQ(OWN_BYTES - BYTES, npu_free(self->p.dev, self->p.npu[0]));
	EXPECT_EQ(5, d[0]);
	munmap(d, BYTES);
	EXPECT_TRUE(eventually(npu_free(self->p.dev, self->p.npu[0]) == OWN_BYTES));
}

TEST_F(prime, removal_reaches_the_dmabuf)
{
	struct dma_buf_sync sync = { .flags = DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ };
	uint8_t *d = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, self->dmabuf, 0);

	ASSERT_NE(MAP_FAILED, d);
	d[0] = 1;
	ASSERT_EQ(0, accel_npu_remove(self->p.dev, self->p.npu[0]));
	EXPECT_EQ(SIGBUS, touch(d, true));
	EXPECT_EQ(SIGBUS, touch(d + BYTES - 1, false));
	EXPECT_EQ(-ENODEV, call(self->dmabuf, DMA_BUF_IOCTL_SYNC, &sync));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, BYTES, PROT_READ, MAP_SHARED, self->dmabuf, 0));
	EXPECT_EQ(ENODEV, errno);
	munmap(d, BYTES);
}

/* A driver that maps for its device what it imports, as a NIC's would. */
static int vgem_open(void)
{
	char path[32], name[8];
	int i, fd;

	must(system("modprobe -q vgem") != -1);
	for (i = 0; i < 8; i++) {
		struct drm_version version = { .name = name, .name_len = sizeof(name) - 1 };

		snprintf(path, sizeof(path), "/dev/dri/card%d", i);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		memset(name, 0, sizeof(name));
		if (!call(fd, DRM_IOCTL_VERSION, &version) && !strcmp(name, "vgem"))
			return fd;
		close(fd);
	}
	return -1;
}

TEST_F(prime, another_driver_holds_the_memory)
{
	int other = vgem_open();
	uint32_t handle;

	if (other < 0)
		SKIP(return, "no vgem");
	ASSERT_EQ(0, bo_import(other, self->dmabuf, &handle));
	munmap(self->m, BYTES);
	bo_close(self->fd, self->bo.handle);
	close(self->dmabuf);
	nap(20);
	EXPECT_EQ(OWN_BYTES - BYTES, npu_free(self->p.dev, self->p.npu[0]));
	bo_close(other, handle);
	EXPECT_TRUE(eventually(npu_free(self->p.dev, self->p.npu[0]) == OWN_BYTES));
	close(other);
}

TEST_F(prime, another_driver_is_told_of_removal)
{
	int other = vgem_open(), late = vgem_open();
	uint32_t handle;

	if (other < 0)
		SKIP(return, "no vgem");
	ASSERT_EQ(0, bo_import(other, self->dmabuf, &handle));
	ASSERT_EQ(0, accel_npu_remove(self->p.dev, self->p.npu[0]));
	/* It keeps the pages that it has, and is not given more. */
	EXPECT_EQ(-ENODEV, bo_import(late, self->dmabuf, &handle));
	close(late);
	close(other);
}

/* Memory of another driver: a memfd made a dma-buf by udmabuf. */
static int foreign_dmabuf(int *memfd)
{
	struct udmabuf_create create = { .flags = UDMABUF_FLAGS_CLOEXEC, .size = BYTES };
	int udma = open("/dev/udmabuf", O_RDWR | O_CLOEXEC), dmabuf;

	if (udma < 0)
		return -1;
	*memfd = memfd_create("foreign", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	must_ok(ftruncate(*memfd, BYTES));
	must_ok(fcntl(*memfd, F_ADD_SEALS, F_SEAL_SHRINK));
	create.memfd = *memfd;
	dmabuf = ioctl(udma, UDMABUF_CREATE, &create);
	must(dmabuf >= 0);
	close(udma);
	return dmabuf;
}

TEST_F(prime, foreign_memory)
{
	struct drm_npool_bo_info info = { 0 };
	struct accel_quota quota;
	uint32_t handle, again;
	uint8_t *f;
	int memfd, dmabuf = foreign_dmabuf(&memfd);

	if (dmabuf < 0)
		SKIP(return, "no /dev/udmabuf");
	f = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	ASSERT_NE(MAP_FAILED, f);
	ASSERT_EQ(0, bo_import(self->fd, dmabuf, &handle));
	EXPECT_EQ(0, bo_import(self->fd, dmabuf, &again));
	EXPECT_EQ(handle, again);
	info.handle = handle;
	ASSERT_EQ(0, call(self->fd, DRM_IOCTL_NPOOL_BO_INFO, &info));
	EXPECT_EQ(BYTES, info.size);
	EXPECT_EQ(DRM_NPOOL_BO_FOREIGN, info.flags);
	EXPECT_EQ(0, info.npu_count);
	EXPECT_EQ(0, info.stripe);
	scribble(f, BYTES, 3);
	EXPECT_EQ(0, move_bytes(self->fd, self->queue, self->bo.handle, 0, handle, 1, BYTES - 1));
	EXPECT_EQ(0, memcmp(f + 1, self->m, BYTES - 1));
	scribble(self->m, BYTES, 4);
	EXPECT_EQ(0,
		  move_bytes(self->fd, self->queue, handle, 100, self->bo.handle, 200,
			     BYTES - 300));
	EXPECT_EQ(0, memcmp(f + 100, self->m + 200, BYTES - 300));
	EXPECT_EQ(-EINVAL, move_bytes(self->fd, self->queue, handle, 1, self->bo.handle, 0, BYTES));
	EXPECT_EQ(-EINVAL, move_bytes(self->fd, self->queue, handle, 0, handle, 8, 9));
	EXPECT_EQ(0, accel_quota(self->p.dev, &quota));
	EXPECT_EQ(0, quota.used);
	/* The dma-buf may be closed first; what is imported stays. */
	close(dmabuf);
	EXPECT_EQ(0, move_bytes(self->fd, self->queue, handle, 0, self->bo.handle, 0, 8));
	bo_close(self->fd, handle);
	munmap(f, BYTES);
	close(memfd);
}

TEST_F(prime, foreign_memory_passed_on)
{
	int memfd, dmabuf = foreign_dmabuf(&memfd), other = node_open(), second;
	uint32_t handle, queue = queue_new(other, self->p.npu[2]);
	uint8_t *f, *v;

	if (dmabuf < 0)
		SKIP(return, "no /dev/udmabuf");
	f = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	ASSERT_EQ(0, bo_import(self->fd, dmabuf, &handle));
	second = bo_export(self->fd, handle);
	ASSERT_EQ(0, bo_import(other, second, &handle));
	scribble(f, BYTES / 2, 9);
	EXPECT_EQ(0, move_bytes(other, queue, handle, BYTES / 2, handle, 0, BYTES / 2));
	EXPECT_EQ(0, memcmp(f, f + BYTES / 2, BYTES / 2));
	/* If it can be mapped through us it shows the same bytes. */
	struct drm_npool_bo_info info = { .handle = handle };

	ASSERT_EQ(0, call(other, DRM_IOCTL_NPOOL_BO_INFO, &info));
	v = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, other, info.mmap_offset);
	if (v != MAP_FAILED) {
		EXPECT_EQ(0, memcmp(f, v, BYTES));
		munmap(v, BYTES);
	}
	close(other);
	close(second);
	close(dmabuf);
	close(memfd);
	munmap(f, BYTES);
}

/* The engine that works for a foreign buffer goes while it does. */
TEST_F(prime, foreign_memory_and_removal)
{
	uint32_t slow = npu_add(self->p.dev, KIB(64), SLOW_NS), handle, queue;
	int memfd, dmabuf = foreign_dmabuf(&memfd);
	struct drm_npool_seg seg = { 0, 0, 64 };
	struct drm_npool_op op = { .type = DRM_NPOOL_OP_FILL, .segs = (uintptr_t)&seg,
				   .seg_count = 1,
				   .seg_stride = sizeof(seg) };
	uint64_t seqno = 0;
	int i, err;

	if (dmabuf < 0)
		SKIP(return, "no /dev/udmabuf");
	queue = queue_new(self->fd, slow);
	ASSERT_EQ(0, bo_import(self->fd, dmabuf, &handle));
	op.dst = handle;
	for (i = 0; i < 8; i++)
		ASSERT_EQ(0, submit_one(self->fd, queue, &op, NULL, &seqno));
	bo_close(self->fd, handle);
	close(dmabuf);
	ASSERT_EQ(0, accel_npu_remove(self->p.dev, slow));
	err = wait_for(self->fd, queue, seqno);
	EXPECT_EQ(-ENODEV, err);
	close(memfd);
}

TEST_F(prime, refuses_what_is_no_dmabuf)
{
	int memfd = memfd_create("no", MFD_CLOEXEC);
	uint32_t handle;

	EXPECT_EQ(-EINVAL, bo_import(self->fd, memfd, &handle));
	EXPECT_EQ(-EBADF, bo_import(self->fd, -1, &handle));
	EXPECT_EQ(-EINVAL, bo_import(self->fd, self->fd, &handle));
	close(memfd);
}

TEST_HARNESS_MAIN
