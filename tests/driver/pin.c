// SPDX-License-Identifier: MIT
/*
 * Pages that the kernel pinned on somebody's behalf: file I/O straight into them,
 * pipes, registration for long. Pinned memory is never handed out to another.
 */
#include "npool.h"
#include "uring.h"

#define BYTES KIB(256)

FIXTURE(pin)
{
	struct pool p;
	int fd;
	struct drm_npool_bo_create bo;
	uint8_t *m;
	struct uring ring;
};

FIXTURE_SETUP(pin)
{
	pool_setup(&self->p);
	self->fd = node_open();
	self->bo = bo_new(self->fd, self->p.npu[0], BYTES);
	self->m = bo_map(self->fd, &self->bo);
	must_ok(uring_open(&self->ring));
}

FIXTURE_TEARDOWN(pin)
{
	munmap(self->m, BYTES);
	close(self->ring.fd);
	close(self->fd);
	EXPECT_TRUE(pool_teardown(&self->p));
}

/* Takes all that is left of an NPU, in the smallest pieces, and overwrites it. */
static uint64_t take_the_rest(int fd, uint32_t npu, uint8_t value)
{
	struct drm_npool_bo_create bo;
	uint64_t got = 0;

	while (!bo_try(fd, npu, KIB(4), &bo)) {
		uint8_t *p = bo_map(fd, &bo);

		must(all_bytes(p, KIB(4), 0));
		memset(p, value, KIB(4));
		munmap(p, KIB(4));
		got += KIB(4);
	}
	return got;
}

TEST_F(pin, file_io_straight_into_it)
{
	char path[] = "/tmp/npool-pin-XXXXXX";
	int file = mkstemp(path), direct;
	uint8_t back[8192];

	ASSERT_LE(0, file);
	direct = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (direct < 0)
		direct = dup(file);
	scribble(self->m, BYTES, 1);
	EXPECT_EQ(BYTES, pwrite(direct, self->m, BYTES, 0));
	EXPECT_EQ(8192, pread(file, back, 8192, 4096));
	EXPECT_EQ(0, memcmp(back, self->m + 4096, 8192));
	memset(self->m, 0, BYTES);
	EXPECT_EQ(BYTES, pread(direct, self->m, BYTES, 0));
	EXPECT_EQ(0, memcmp(back, self->m + 4096, 8192));
	close(direct);
	close(file);
	unlink(path);
}

/* The pipe holds the pages when handle and mapping are gone. */
TEST_F(pin, pages_in_a_pipe)
{
	struct iovec iov = { self->m, 8192 };
	uint8_t back[8192];
	int ends[2];

	ASSERT_EQ(0, pipe(ends));
	memset(self->m, 0xab, BYTES);
	ASSERT_EQ(8192, vmsplice(ends[1], &iov, 1, 0));
	munmap(self->m, BYTES);
	bo_close(self->fd, self->bo.handle);
	take_the_rest(self->fd, self->p.npu[0], 0xcd);
	EXPECT_EQ(8192, read(ends[0], back, 8192));
	EXPECT_TRUE(all_bytes(back, 8192, 0xab));
	close(ends[0]);
	close(ends[1]);
}

TEST_F(pin, registered_buffer_works)
{
	int file = memfd_create("pin", MFD_CLOEXEC);
	uint8_t back[BYTES];

	ASSERT_EQ(0, uring_pin(&self->ring, self->m, BYTES));
	scribble(self->m, BYTES, 5);
	EXPECT_EQ(BYTES, uring_move(&self->ring, IORING_OP_WRITE_FIXED, file, self->m, BYTES));
	EXPECT_EQ(BYTES, pread(file, back, BYTES, 0));
	EXPECT_EQ(0, memcmp(back, self->m, BYTES));
	scribble(back, BYTES, 6);
	EXPECT_EQ(BYTES, pwrite(file, back, BYTES, 0));
	EXPECT_EQ(BYTES, uring_move(&self->ring, IORING_OP_READ_FIXED, file, self->m, BYTES));
	EXPECT_EQ(0, memcmp(back, self->m, BYTES));
	EXPECT_EQ(0, uring_unpin(&self->ring));
	close(file);
}

TEST_F(pin, pinned_memory_is_not_handed_out)
{
	int file = memfd_create("pin", MFD_CLOEXEC);
	uint8_t back[BYTES];
	uint64_t rest;

	ASSERT_EQ(0, uring_pin(&self->ring, self->m, BYTES));
	memset(self->m, 0xab, BYTES);
	munmap(self->m, BYTES);
	bo_close(self->fd, self->bo.handle);
	nap(20);
	EXPECT_EQ(OWN_BYTES - BYTES, npu_free(self->p.dev, self->p.npu[0]));
	rest = take_the_rest(self->fd, self->p.npu[0], 0xcd);
	EXPECT_EQ(OWN_BYTES - BYTES, rest);
	/* What others wrote is not in the pinned pages, nor the other way round. */
	EXPECT_EQ(BYTES, uring_move(&self->ring, IORING_OP_WRITE_FIXED, file, self->m, BYTES));
	EXPECT_EQ(BYTES, pread(file, back, BYTES, 0));
	EXPECT_TRUE(all_bytes(back, BYTES, 0xab));
	EXPECT_EQ(0, uring_unpin(&self->ring));
	EXPECT_TRUE(eventually((rest += take_the_rest(self->fd, self->p.npu[0], 0)) == OWN_BYTES));
	close(file);
}

TEST_F(pin, pinned_when_the_npu_goes)
{
	int file = memfd_create("pin", MFD_CLOEXEC);
	struct accel_npu_info info;
	uint8_t back[BYTES];

	ASSERT_EQ(0, uring_pin(&self->ring, self->m, BYTES));
	memset(self->m, 0xab, BYTES);
	ASSERT_EQ(0, accel_npu_remove(self->p.dev, self->p.npu[0]));
	EXPECT_EQ(SIGBUS, touch(self->m, false));
	/* The holder of the pin does no harm, whatever it reads and writes. */
	EXPECT_EQ(BYTES, uring_move(&self->ring, IORING_OP_WRITE_FIXED, file, self->m, BYTES));
	EXPECT_EQ(BYTES, pread(file, back, BYTES, 0));
	EXPECT_EQ(BYTES, uring_move(&self->ring, IORING_OP_READ_FIXED, file, self->m, BYTES));
	munmap(self->m, BYTES);
	bo_close(self->fd, self->bo.handle);
	EXPECT_TRUE(eventually(!npu_find(self->p.dev, self->p.npu[0], &info)));
	EXPECT_EQ(BYTES, uring_move(&self->ring, IORING_OP_WRITE_FIXED, file, self->m, BYTES));
	EXPECT_EQ(0, uring_unpin(&self->ring));
	close(file);
}

TEST_HARNESS_MAIN
