// SPDX-License-Identifier: MIT
/*
 * For the debug kernel: each call is made again and again, with its first, second,
 * third ... allocation failing, until none is left to fail. Every failure must be
 * an honest errno and leave nothing behind; kmemleak is asked after the run.
 */
#include <dirent.h>

#include "npool.h"

#define DEBUGFS "/sys/kernel/debug/"
#define MAX_ALLOCATIONS 2000

FIXTURE(fault)
{
	struct pool p;
	int fd;
	struct drm_npool_bo_create bo;
	uint32_t queue, sync;
	uint64_t point;
};

static int echo(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY), err;

	if (fd < 0)
		return -errno;
	err = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return err;
}

/*
 * All caches but the buddy allocator's own: when it cannot split a block the kernel
 * (6.12) frees that block a second time, which no driver can help.
 */
static void choose_caches(void)
{
	DIR *dir = opendir("/sys/kernel/slab");
	struct dirent *entry;
	char path[512];

	must(dir);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/sys/kernel/slab/%s/failslab", entry->d_name);
		echo(path, strstr(entry->d_name, "buddy") ? "0" : "1");
	}
	closedir(dir);
	must_ok(echo(DEBUGFS "failslab/cache-filter", "Y"));
}

static void open_all(FIXTURE_DATA(fault) *self)
{
	self->fd = node_open();
	self->bo = bo_new(self->fd, self->p.npu[0], KIB(64));
	self->queue = queue_new(self->fd, self->p.npu[0]);
	self->sync = sync_new(self->fd);
	self->point = 0;
}

FIXTURE_SETUP(fault)
{
	if (access("/proc/thread-self/fail-nth", W_OK))
		SKIP(return, "this kernel cannot fail allocations");
	/* Ordinary allocations, of one page too, and no word about each. */
	must_ok(echo(DEBUGFS "failslab/ignore-gfp-wait", "N"));
	must_ok(echo(DEBUGFS "failslab/verbose", "0"));
	choose_caches();
	must_ok(echo(DEBUGFS "fail_page_alloc/ignore-gfp-wait", "N"));
	must_ok(echo(DEBUGFS "fail_page_alloc/ignore-gfp-highmem", "N"));
	must_ok(echo(DEBUGFS "fail_page_alloc/min-order", "0"));
	must_ok(echo(DEBUGFS "fail_page_alloc/verbose", "0"));
	pool_setup(&self->p);
	open_all(self);
}

FIXTURE_TEARDOWN(fault)
{
	close(self->fd);
	EXPECT_TRUE(pool_teardown(&self->p));
}

/* One descriptor for both: to open it again could be what fails. */
static int fail_nth_fd(void)
{
	static int fd = -1;

	if (fd < 0)
		fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	return fd;
}

/* Copies from and to user space fail as well, these here included: then try again. */
static void fail_nth(unsigned int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", n);

	while (pwrite(fail_nth_fd(), text, len, 0) != len)
		must(errno == EFAULT);
}

/* Whether the failure that was asked for has happened; asks for none from here on. */
static bool has_failed(void)
{
	char text[16] = { 0 };
	bool here = pread(fail_nth_fd(), text, sizeof(text) - 1, 0) <= 0;

	fail_nth(0);
	return !here && !strtoul(text, NULL, 10);
}

struct act {
	const char *name;
	int (*act)(FIXTURE_DATA(fault) *self, uint64_t *made);	/* 0 or a negative errno */
	void (*undo)(FIXTURE_DATA(fault) *self, uint64_t made);
};

static int act_open(FIXTURE_DATA(fault) *self, uint64_t *made)
{
	int fd = open(node_path(), O_RDWR | O_CLOEXEC);

	(void)self;
	*made = fd;
	return fd < 0 ? -errno : 0;
}

static void undo_close(FIXTURE_DATA(fault) *self, uint64_t made)
{
	(void)self;
	close(made);
}

static int act_query(FIXTURE_DATA(fault) *self, uint64_t *made)
{
	struct drm_npool_npu_info npus[64];
	struct drm_npool_query query = { .topic = DRM_NPOOL_TOPIC_NPUS, .data = (uintptr_t)npus,
					 .count = 64, .stride = sizeof(npus[0]) };

	(void)made;
	return call(self->fd, DRM_IOCTL_NPOOL_QUERY, &query);
}

static int act_create(FIXTURE_DATA(fault) *self, uint64_t *made)
{
	struct drm_npool_bo_create bo;
	int err = bo_try(self->fd, self->p.npu[1], KIB(260), &bo);

	*made = bo.handle;
	return err;
}

static int act_interleave(FIXTURE_DATA(fault) *self, uint64_t *made)
{
	struct drm_npool_bo_create bo = { .size = KIB(128), .stripe = KIB(8), .npu_count = OWN_NPUS,
					  .npus = (uintptr_t)self->p.npu,
					  .placement = DRM_NPOOL_PLACE_INTERLEAVE };
	int err = call(self->fd, DRM_IOCTL_NPOOL_BO_CREATE, &bo);

	*made = bo.handle;
	return err;
}

static void undo_create(FIXTURE_DATA(fault) *self, uint64_t made)
{
	bo_close(self->fd, made);
}

static int act_map(FIXTURE_DATA(fault) *self, uint64_t *made)
{
	/* Filled by the kernel: a user's own fault that runs out of memory is only tried again. */
	void *p = mmap(NULL, KIB(64), PROT_READ | PROT_WRITE, MAP_SHARED, self->fd,
		       self->bo.mmap_offset);
	int err;

	if (p == MAP_FAILED)
		return -errno;
	err = madvise(p, KIB(64), 23 /* MADV_POPULATE_WRITE */) ? -errno : 0;
	if (err)
		munmap(p, KIB(64));
	*made = (uintptr_t)p;
	return err;
}

static void undo_map(FIXTURE_DATA(fault) *self, uint64_t made)
{
	(void)self;
	munmap((void *)(uintptr_t)made, KIB(64));
}

static int act_export(FIXTURE_DATA(fault) *self, uint64_t *made)
{
	struct drm_prime_handle prime = { .handle = self->bo.handle, .flags = DRM_CLOEXEC |
					  DRM_RDWR };
	int err = call(self->fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &prime);

	*made = prime.fd;
	return err;
}

static int act_share(FIXTURE_DATA(fault) *self, uint64_t *made)
{
	int other = open(node_path(), O_RDWR | O_CLOEXEC), err;
	struct drm_prime_handle prime = { .handle = self->bo.handle, .flags = DRM_CLOEXEC };

	if (other < 0)
		return -errno;
	err = call(self->fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &prime);
	if (!err) {
		err = call(other, DRM_IOCTL_PRIME_FD_TO_HANDLE, &prime);
		close(prime.fd);
	}
	*made = other;
	if (err)
		close(other);
	return err;
}

static int act_queue(FIXTURE_DATA(fault) *self, uint64_t *made)
{
	struct drm_npool_queue_create queue = { .npu = self->p.npu[2] };
	int err = call(self->fd, DRM_IOCTL_NPOOL_QUEUE_CREATE, &queue);

	*made = queue.queue;
	return err;
}

static void undo_queue(FIXTURE_DATA(fault) *self, uint64_t made)
{
	must_ok(queue_end(self->fd, made));
}

static int act_submit(FIXTURE_DATA(fault) *self, uint64_t *made)
{
	struct drm_npool_seg segs[40];
	struct drm_npool_op ops[3];
	struct drm_npool_sync wait = { .handle = self->sync, .point = self->point };
	struct drm_npool_sync signal = { .handle = self->sync, .point = self->point + 1 };
	struct drm_npool_submit submit = {
		.queue = self->queue, .ops = (uintptr_t)ops, .op_count = 3,
			.op_stride = sizeof(ops[0]),
		.waits = (uintptr_t)&wait, .signals = (uintptr_t)&signal,
		.wait_count = self->point ? 1 : 0, .signal_count = 1, .sync_stride = sizeof(wait),
	};
	int i, err;

	for (i = 0; i < 40; i++)
		segs[i] = (struct drm_npool_seg){ i * 100, 0, 90 };
	for (i = 0; i < 3; i++)
		ops[i] = (struct drm_npool_op){ .type = DRM_NPOOL_OP_FILL, .dst = self->bo.handle,
						.pattern = i, .segs = (uintptr_t)segs,
							.seg_count = 40,
						.seg_stride = sizeof(segs[0]) };
	err = call(self->fd, DRM_IOCTL_NPOOL_SUBMIT, &submit);
	*made = submit.seqno;
	return err;
}

static void undo_submit(FIXTURE_DATA(fault) *self, uint64_t made)
{
	self->point++;
	must_ok(wait_for(self->fd, self->queue, made));
}

static int act_quota(FIXTURE_DATA(fault) *self, uint64_t *made)
{
	struct drm_npool_set_quota quota = { .bytes = MIB(64) };

	(void)made;
	return call(self->fd, DRM_IOCTL_NPOOL_SET_QUOTA, &quota);
}

static int act_add(FIXTURE_DATA(fault) *self, uint64_t *made)
{
	struct accel_npu_config config = { .name = "fault", .bytes = KIB(64) };
	uint32_t id;
	int err = accel_npu_add(self->p.dev, &config, &id);

	*made = id;
	return err;
}

static void undo_add(FIXTURE_DATA(fault) *self, uint64_t made)
{
	must_ok(accel_npu_remove(self->p.dev, made));
}

static const struct act acts[] = {
	{ "open", act_open, undo_close },
	{ "query", act_query, NULL },
	{ "create", act_create, undo_create },
	{ "interleave", act_interleave, undo_create },
	{ "map", act_map, undo_map },
	{ "export", act_export, undo_close },
	{ "share", act_share, undo_close },
	{ "queue", act_queue, undo_queue },
	{ "submit", act_submit, undo_submit },
	{ "quota", act_quota, NULL },
	{ "add", act_add, undo_add },
};

/* A dma-buf whose number DRM could not tell is open all the same: none is ours to keep. */
static void close_dmabufs(void)
{
	char path[64], target[64];
	ssize_t n;
	int fd;

	for (fd = 3; fd < 256; fd++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		n = readlink(path, target, sizeof(target) - 1);
		if (n > 7 && !memcmp(target, "/dmabuf", 7))
			close(fd);
	}
}

TEST_F(fault, every_allocation_in_turn)
{
	const struct act *act;

	for (act = acts; act < acts + ARRAY_LEN(acts); act++) {
		unsigned int n, failures = 0;
		bool failed = true;

		for (n = 1; failed; n++) {
			uint64_t made = 0;
			int err;

			ASSERT_GT(MAX_ALLOCATIONS, n);
			fail_nth(n);
			err = act->act(self, &made);
			failed = has_failed();
			/* EFAULT and EAGAIN are how populating a mapping and clone say ENOMEM. */
			ASSERT_TRUE(!err ||
				    (failed &&
				     (err == -ENOMEM || err == -EFAULT || err == -EAGAIN ||
							err == -ENFILE)))
				TH_LOG("%s, allocation %u: %d", act->name, n, err);
			failures += err != 0;
			/* Where DRM could not copy the result out only closing undoes the call. */
			if (err == -EFAULT) {
				close(self->fd);
				close_dmabufs();
				open_all(self);
			}
			if (!err && act->undo)
				act->undo(self, made);
		}
		printf("# %s: %u allocations, %u of them fatal\n", act->name, n - 2, failures);
		EXPECT_TRUE(eventually(npu_free(self->p.dev, self->p.npu[1]) == OWN_BYTES));
		EXPECT_EQ(OWN_BYTES - KIB(64), npu_free(self->p.dev, self->p.npu[0]));
	}
}

TEST_HARNESS_MAIN
