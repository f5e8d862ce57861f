// SPDX-License-Identifier: MIT
/* Timeline syncobjs as the kernel knows them: sync files, eventfds, other files, signals. */
#include <linux/sync_file.h>
#include <sys/eventfd.h>

#include "npool.h"

/* Newer than the libdrm of Debian 12. */
#ifndef DRM_IOCTL_SYNCOBJ_EVENTFD
struct drm_syncobj_eventfd {
	__u32 handle;
	__u32 flags;
	__u64 point;
	__s32 fd;
	__u32 pad;
};
#define DRM_IOCTL_SYNCOBJ_EVENTFD DRM_IOWR(0xcf, struct drm_syncobj_eventfd)
#endif

FIXTURE(syncobj)
{
	struct pool p;
	int fd;
	uint32_t slow, queue, slow_queue, sync;
	struct drm_npool_bo_create bo;
};

FIXTURE_SETUP(syncobj)
{
	pool_setup(&self->p);
	self->fd = node_open();
	self->slow = npu_add(self->p.dev, KIB(64), SLOW_NS);
	self->queue = queue_new(self->fd, self->p.npu[0]);
	self->slow_queue = queue_new(self->fd, self->slow);
	self->sync = sync_new(self->fd);
	self->bo = bo_new(self->fd, self->p.npu[0], KIB(64));
}

FIXTURE_TEARDOWN(syncobj)
{
	close(self->fd);
	accel_npu_remove(self->p.dev, self->slow);
	EXPECT_TRUE(pool_teardown(&self->p));
}

/* Keeps slow_queue busy until it is destroyed; the last submit reaches the point. */
static void block(FIXTURE_DATA(syncobj) *self, uint64_t point)
{
	static const struct drm_npool_seg seg = { 0, 0, 64 };
	struct drm_npool_op op = { .type = DRM_NPOOL_OP_FILL, .dst = self->bo.handle,
				   .segs = (uintptr_t)&seg, .seg_count = 1,
					   .seg_stride = sizeof(seg) };
	struct drm_npool_sync signal = { .handle = self->sync, .point = point };
	int i;

	for (i = 0; i < 60; i++)
		must_ok(submit_one(self->fd, self->slow_queue, &op, i < 59 ? NULL : &signal, NULL));
}

static int sync_wait(int fd, uint32_t handle, uint64_t point, int64_t timeout, uint32_t flags)
{
	struct drm_syncobj_timeline_wait wait = {
		.handles = (uintptr_t)&handle, .points = (uintptr_t)&point, .count_handles = 1,
		.timeout_nsec = timeout, .flags = flags,
	};

	return call(fd, DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT, &wait);
}

static int submit_wait(FIXTURE_DATA(syncobj) *self, uint32_t handle, uint64_t point,
		       uint64_t *seqno)
{
	struct drm_npool_sync wait = { .handle = handle, .point = point };
	struct drm_npool_submit submit = { .queue = self->queue, .waits = (uintptr_t)&wait,
					   .wait_count = 1, .sync_stride = sizeof(wait) };
	int err = call(self->fd, DRM_IOCTL_NPOOL_SUBMIT, &submit);

	*seqno = submit.seqno;
	return err;
}

TEST_F(syncobj, sync_file_of_a_point)
{
	struct drm_syncobj_transfer transfer = { .src_handle = self->sync, .src_point = 3 };
	struct drm_syncobj_handle export =
		{ .flags = DRM_SYNCOBJ_HANDLE_TO_FD_FLAGS_EXPORT_SYNC_FILE };
	struct sync_fence_info fence = { .status = 0 };
	struct sync_file_info info = { .num_fences = 0 };
	struct pollfd pollfd = { .events = POLLIN };

	block(self, 3);
	transfer.dst_handle = export.handle = sync_new(self->fd);
	ASSERT_EQ(0, call(self->fd, DRM_IOCTL_SYNCOBJ_TRANSFER, &transfer));
	ASSERT_EQ(0, call(self->fd, DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD, &export));
	pollfd.fd = export.fd;
	EXPECT_EQ(0, poll(&pollfd, 1, 0));
	EXPECT_EQ(0, call(export.fd, SYNC_IOC_FILE_INFO, &info));
	EXPECT_EQ(0, info.status);
	EXPECT_EQ(0, queue_end(self->fd, self->slow_queue));
	EXPECT_EQ(1, poll(&pollfd, 1, -1));
	/* Whoever waits by the fence alone learns how the submit ended. */
	info = (struct sync_file_info){ .num_fences = 1, .sync_fence_info = (uintptr_t)&fence };
	EXPECT_EQ(0, call(export.fd, SYNC_IOC_FILE_INFO, &info));
	EXPECT_EQ(-ECANCELED, info.status);
	EXPECT_EQ(-ECANCELED, fence.status);
	close(export.fd);
}

TEST_F(syncobj, eventfd_of_a_point)
{
	struct drm_syncobj_eventfd ev = { .handle = self->sync, .point = 3,
					  .fd = eventfd(0, EFD_CLOEXEC) };
	struct pollfd pollfd = { .fd = ev.fd, .events = POLLIN };

	/* Registered before anybody submitted the point. */
	ASSERT_EQ(0, call(self->fd, DRM_IOCTL_SYNCOBJ_EVENTFD, &ev));
	block(self, 3);
	EXPECT_EQ(0, poll(&pollfd, 1, 20));
	EXPECT_EQ(0, queue_end(self->fd, self->slow_queue));
	EXPECT_EQ(1, poll(&pollfd, 1, -1));
	close(ev.fd);
}

TEST_F(syncobj, closing_the_file_reaches_its_points)
{
	struct drm_syncobj_handle handle = { .handle = self->sync };
	int other = node_open();

	ASSERT_EQ(0, call(self->fd, DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD, &handle));
	block(self, 9);
	handle.handle = 0;
	ASSERT_EQ(0, call(other, DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE, &handle));
	EXPECT_EQ(-ETIME, sync_wait(other, handle.handle, 9, 0, 0));
	close(self->fd);
	EXPECT_EQ(0, sync_wait(other, handle.handle, 9, INT64_MAX, 0));
	close(handle.fd);
	self->fd = other;
}

TEST_F(syncobj, handles_may_go_after_submit)
{
	struct drm_syncobj_destroy destroy = { .handle = self->sync };
	uint64_t seqno;

	block(self, 1);
	ASSERT_EQ(0, submit_wait(self, self->sync, 1, &seqno));
	ASSERT_EQ(0, call(self->fd, DRM_IOCTL_SYNCOBJ_DESTROY, &destroy));
	EXPECT_EQ(0, queue_end(self->fd, self->slow_queue));
	EXPECT_EQ(0, wait_for(self->fd, self->queue, seqno));
}

TEST_F(syncobj, wait_values)
{
	struct drm_syncobj_create binary = { .flags = DRM_SYNCOBJ_CREATE_SIGNALED };
	uint64_t seqno;

	EXPECT_EQ(-ENOENT, submit_wait(self, 4711, 1, &seqno));
	EXPECT_EQ(-EINVAL, submit_wait(self, self->sync, 1, &seqno));
	EXPECT_EQ(-EINVAL, submit_wait(self, self->sync, UINT64_MAX, &seqno));
	block(self, 5);
	/* Point 3 is reached together with 5, 6 was submitted by nobody. */
	EXPECT_EQ(0, submit_wait(self, self->sync, 3, &seqno));
	EXPECT_EQ(-EINVAL, submit_wait(self, self->sync, 6, &seqno));
	ASSERT_EQ(0, call(self->fd, DRM_IOCTL_SYNCOBJ_CREATE, &binary));
	submit_wait(self, binary.handle, 1, &seqno);
}

/* Points out of order are somebody's mistake; they do no harm to the kernel. */
TEST_F(syncobj, points_that_go_back)
{
	struct drm_npool_sync signal = { .handle = self->sync };
	static const uint64_t points[] = { 10, 5, 5, 7, 10, UINT64_MAX, 1 };
	uint64_t seqno = 0;
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(points); i++) {
		signal.point = points[i];
		submit_one(self->fd, self->queue, NULL, &signal, &seqno);
	}
	EXPECT_LT(0, seqno);
	EXPECT_EQ(0, wait_for(self->fd, self->queue, seqno));
}

static void *interrupt(void *arg)
{
	pthread_t *thread = arg;
	int i;

	for (i = 0; i < 20; i++) {
		nap(5);
		pthread_kill(*thread, SIGUSR1);
	}
	return NULL;
}

static void on_usr1(int sig)
{
	(void)sig;
}

/* A signal ends the call, not the wait: called again it goes on to the same deadline. */
TEST_F(syncobj, wait_is_interruptible)
{
	struct sigaction act = { .sa_handler = on_usr1 };
	struct drm_npool_wait wait = { .queue = self->slow_queue, .timeout_ns = INT64_MAX };
	pthread_t me = pthread_self(), thread;
	int err;

	sigaction(SIGUSR1, &act, NULL);
	block(self, 1);
	wait.seqno = 60;
	ASSERT_EQ(0, pthread_create(&thread, NULL, interrupt, &me));
	err = call(self->fd, DRM_IOCTL_NPOOL_WAIT, &wait);
	EXPECT_EQ(-EINTR, err);
	pthread_join(thread, NULL);
}

/* The waiter sleeps in the kernel when its queue is destroyed under it. */
struct sleeper {
	int fd, err;
	struct drm_npool_wait wait;
};

static void *sleep_on(void *arg)
{
	struct sleeper *s = arg;

	do {
		s->err = call(s->fd, DRM_IOCTL_NPOOL_WAIT, &s->wait);
	} while (s->err == -EINTR);
	return NULL;
}

TEST_F(syncobj, destroy_under_a_waiter)
{
	struct sleeper s = { .fd = self->fd, .err = 1,
			     .wait = { .queue = self->slow_queue, .seqno = 60,
								 .timeout_ns = INT64_MAX } };
	pthread_t thread;

	block(self, 1);
	ASSERT_EQ(0, pthread_create(&thread, NULL, sleep_on, &s));
	nap(50);
	EXPECT_EQ(0, queue_end(self->fd, self->slow_queue));
	pthread_join(thread, NULL);
	EXPECT_EQ(0, s.err);
	EXPECT_EQ(-ECANCELED, s.wait.error);
}

TEST_HARNESS_MAIN
