// SPDX-License-Identifier: MIT
/* Mappings: what may be done with a VMA of ours, and what may not. */
#include <sys/resource.h>

#include "npool.h"

#define BYTES MIB(2)

FIXTURE(mapping)
{
	struct pool p;
	int fd;
	struct drm_npool_bo_create bo;
	uint8_t *m;
};

FIXTURE_SETUP(mapping)
{
	pool_setup(&self->p);
	self->fd = node_open();
	self->bo = bo_new(self->fd, self->p.npu[0], BYTES);
	self->m = bo_map(self->fd, &self->bo);
}

FIXTURE_TEARDOWN(mapping)
{
	munmap(self->m, BYTES);
	close(self->fd);
	EXPECT_TRUE(pool_teardown(&self->p));
}

TEST_F(mapping, faults_around)
{
	struct rusage before, after;
	uint64_t at;

	getrusage(RUSAGE_SELF, &before);
	for (at = 0; at < BYTES; at += 4096)
		self->m[at] = 1;
	getrusage(RUSAGE_SELF, &after);
	EXPECT_GT(BYTES / 4096 / 8, after.ru_minflt - before.ru_minflt);
}

TEST_F(mapping, refuses_bad_ranges)
{
	const struct {
		uint64_t size, offset;
	} bad[] = {
		{ BYTES + 4096, 0 }, { BYTES * 2, 0 }, { BYTES, 4096 }, { 4096, BYTES },
		{ 1ull << 40, 0 },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(bad); i++)
		EXPECT_EQ(MAP_FAILED, mmap(NULL, bad[i].size, PROT_READ, MAP_SHARED, self->fd,
					   self->bo.mmap_offset + bad[i].offset))
			TH_LOG("case %u", i);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, 4096, PROT_READ, MAP_SHARED, self->fd, 0));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, 4096, PROT_READ, MAP_SHARED, self->fd, 1ull << 50));
}

TEST_F(mapping, part_of_a_buffer)
{
	uint8_t *part = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd,
			     self->bo.mmap_offset);

	ASSERT_NE(MAP_FAILED, part);
	self->m[4096] = 77;
	EXPECT_EQ(77, part[4096]);
	munmap(part, 8192);
}

/* A private copy of device memory would be a surprise: it is refused, not made. */
TEST_F(mapping, private_writable_is_refused)
{
	EXPECT_EQ(MAP_FAILED, mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE, self->fd,
				   self->bo.mmap_offset));
	EXPECT_EQ(EINVAL, errno);
}

TEST_F(mapping, read_only_file_gives_no_writable_mapping)
{
	int ro = open(node_path(), O_RDONLY | O_CLOEXEC);
	struct drm_npool_bo_create bo;

	ASSERT_LE(0, ro);
	bo = bo_new(ro, self->p.npu[0], KIB(64));
	EXPECT_EQ(MAP_FAILED,
		  mmap(NULL, KIB(64), PROT_READ | PROT_WRITE, MAP_SHARED, ro, bo.mmap_offset));
	close(ro);
}

TEST_F(mapping, mprotect)
{
	self->m[0] = 5;
	ASSERT_EQ(0, mprotect(self->m, BYTES, PROT_READ));
	EXPECT_EQ(0, touch(self->m, false));
	EXPECT_EQ(SIGSEGV, touch(self->m, true));
	EXPECT_EQ(SIGSEGV, touch(self->m + BYTES - 1, true));
	ASSERT_EQ(0, mprotect(self->m, BYTES, PROT_NONE));
	EXPECT_EQ(SIGSEGV, touch(self->m, false));
	ASSERT_EQ(0, mprotect(self->m, BYTES, PROT_READ | PROT_WRITE));
	EXPECT_EQ(0, touch(self->m, true));
	EXPECT_EQ(5, self->m[0]);
}

TEST_F(mapping, mremap_moves_and_does_not_grow)
{
	uint8_t *moved, *place;

	scribble(self->m, BYTES, 1);
	EXPECT_EQ(MAP_FAILED, mremap(self->m, BYTES, BYTES * 2, MREMAP_MAYMOVE));
	place = mmap(NULL, BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	moved = mremap(self->m, BYTES, BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, place);
	ASSERT_EQ(place, moved);
	EXPECT_EQ(SIGSEGV, touch(self->m, false));
	self->m = moved;
	/* The memory that it shows is still taken away with its NPU. */
	EXPECT_EQ(0, touch(moved + BYTES - 1, true));
	ASSERT_EQ(0, accel_npu_remove(self->p.dev, self->p.npu[0]));
	EXPECT_EQ(SIGBUS, touch(moved, false));
	EXPECT_EQ(SIGBUS, touch(moved + BYTES - 1, true));
}

TEST_F(mapping, mremap_shrinks)
{
	self->m[4095] = 9;
	ASSERT_EQ(self->m, mremap(self->m, BYTES, 4096, 0));
	EXPECT_EQ(9, self->m[4095]);
	EXPECT_EQ(SIGSEGV, touch(self->m + 4096, false));
}

TEST_F(mapping, partial_unmap_holds_all)
{
	scribble(self->m, BYTES, 2);
	ASSERT_EQ(0, munmap(self->m + KIB(64), KIB(64)));
	EXPECT_EQ(SIGSEGV, touch(self->m + KIB(64), false));
	EXPECT_EQ(0, touch(self->m + KIB(128), true));
	bo_close(self->fd, self->bo.handle);
	ASSERT_EQ(0, munmap(self->m, KIB(64)));
	EXPECT_EQ(OWN_BYTES - BYTES, npu_free(self->p.dev, self->p.npu[0]));
	EXPECT_EQ(0, touch(self->m + BYTES - 1, true));
	ASSERT_EQ(0, munmap(self->m + KIB(128), BYTES - KIB(128)));
	EXPECT_TRUE(eventually(npu_free(self->p.dev, self->p.npu[0]) == OWN_BYTES));
}

struct inherited {
	uint8_t *m;
};

static int write_inherited(int sock, const void *arg)
{
	const struct inherited *in = arg;

	must(in->m[0] == 'p');
	in->m[1] = 'c';
	say(sock, 1);
	hear(sock);
	must(in->m[2] == 0 && !touch(in->m + BYTES - 1, true));
	return 0;
}

TEST_F(mapping, fork_inherits)
{
	struct inherited in = { self->m };
	struct child child;

	self->m[0] = 'p';
	child = child_start(write_inherited, &in);
	hear(child.sock);
	EXPECT_EQ('c', self->m[1]);
	bo_close(self->fd, self->bo.handle);
	munmap(self->m, BYTES);
	nap(20);
	/* The child's copy of the mapping is now the last holder. */
	EXPECT_EQ(OWN_BYTES - BYTES, npu_free(self->p.dev, self->p.npu[0]));
	say(child.sock, 1);
	EXPECT_EQ(0, child_end(&child));
	EXPECT_TRUE(eventually(npu_free(self->p.dev, self->p.npu[0]) == OWN_BYTES));
}

TEST_F(mapping, madvise_keeps_the_bytes)
{
	static const int advice[] = { MADV_DONTNEED, MADV_COLD, MADV_PAGEOUT, MADV_WILLNEED,
				      MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_FREE, MADV_REMOVE,
				      MADV_SEQUENTIAL, MADV_MERGEABLE, 22 /* POPULATE_READ */,
				      23 /* POPULATE_WRITE */, 25 /* COLLAPSE */, MADV_DONTDUMP };
	uint8_t *shadow = malloc(BYTES);
	unsigned int i;

	scribble(self->m, BYTES, 3);
	memcpy(shadow, self->m, BYTES);
	for (i = 0; i < ARRAY_LEN(advice); i++) {
		madvise(self->m, BYTES, advice[i]);
		EXPECT_EQ(0, memcmp(shadow, self->m, BYTES))
			TH_LOG("advice %d", advice[i]);
	}
	free(shadow);
}

TEST_F(mapping, mlock_and_msync)
{
	EXPECT_EQ(0, mlock(self->m, KIB(64)));
	EXPECT_EQ(0, munlock(self->m, KIB(64)));
	msync(self->m, BYTES, MS_SYNC);
	EXPECT_EQ(0, touch(self->m, true));
}

static int peek(int sock, const void *arg)
{
	const struct inherited *in = arg;
	uint8_t bytes[8192];
	char path[64];
	int mem;

	(void)sock;
	/* Of the child's own mappings none is needed. */
	must_ok(munmap(in->m, BYTES));
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)getppid());
	mem = open(path, O_RDWR | O_CLOEXEC);
	must(mem >= 0);
	must(pread(mem, bytes, sizeof(bytes), (uintptr_t)in->m + 100) == sizeof(bytes));
	must(bytes[0] == 7 && bytes[8191] == 8);
	bytes[0] = 9;
	must(pwrite(mem, bytes, sizeof(bytes), (uintptr_t)in->m + 100) == sizeof(bytes));
	close(mem);
	return 0;
}

TEST_F(mapping, another_process_reads_it)
{
	struct inherited in = { self->m };
	struct child child;

	self->m[100] = 7;
	self->m[100 + 8191] = 8;
	child = child_start(peek, &in);
	EXPECT_EQ(0, child_end(&child));
	EXPECT_EQ(9, self->m[100]);
}

/* Reads and writes of the device's file itself are not a way in. */
TEST_F(mapping, no_read_or_write_of_the_node)
{
	uint8_t byte = 0;

	EXPECT_GT(0, write(self->fd, &byte, 1));
	EXPECT_GT(0, pwrite(self->fd, &byte, 1, self->bo.mmap_offset));
}

TEST_HARNESS_MAIN
