// SPDX-License-Identifier: MIT
/* What a soft pool lets in: its own buffers and timelines, and nothing that lies. */
#include <sys/mman.h>
#include <sys/stat.h>

#include "pool.h"

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

FIXTURE(hostile)
{
	struct accel_dev *dev, *other;	/* two pools */
	struct accel_buffer *buffer;
	struct accel_timeline *timeline;
	int buffer_fd, timeline_fd;
};

static struct accel_dev *open_named(const char *name)
{
	char uri[ACCEL_URI_MAX];
	struct accel_dev *dev;

	snprintf(uri, sizeof(uri), "soft:%s-%d?npus=2&size=1M", name, (int)getppid());
	must_ok(accel_open(uri, &dev));
	return dev;
}

FIXTURE_SETUP(hostile)
{
	self->dev = open_named("hostile");
	self->other = open_named("other");
	self->timeline = timeline_new(self->dev);
	must_ok(accel_buffer_create(self->dev, KIB(64), NULL, &self->buffer));
	must_ok(accel_buffer_export(self->buffer, &self->buffer_fd));
	must_ok(accel_timeline_export(self->timeline, &self->timeline_fd));
}

FIXTURE_TEARDOWN(hostile)
{
	close(self->buffer_fd);
	close(self->timeline_fd);
	accel_buffer_close(self->buffer);
	accel_timeline_close(self->timeline);
	accel_close(self->dev);
	accel_close(self->other);
}

static int sealed(uint64_t size)
{
	int fd = memfd_create("fake", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	must(fd >= 0 && !ftruncate(fd, size) && !fcntl(fd, F_ADD_SEALS, SEALS));
	return fd;
}

static int reopened(int fd, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, flags | O_CLOEXEC);
}

/* The errors of importing fd as a buffer and as a timeline; closes it. */
static void import(struct accel_dev *dev, int fd, int *as_buffer, int *as_timeline)
{
	struct accel_buffer *buffer = NULL;
	struct accel_timeline *timeline = NULL;

	*as_buffer = accel_buffer_import(dev, fd, &buffer);
	*as_timeline = accel_timeline_import(dev, fd, &timeline);
	accel_buffer_close(buffer);
	accel_timeline_close(timeline);
	close(fd);
}

static uint64_t size_of(int fd)
{
	struct stat st;

	must(!fstat(fd, &st));
	return st.st_size;
}

TEST_F(hostile, foreign_descriptors_are_refused)
{
	int pair[2], fds[10], count = 0, buffer, timeline;

	must(!pipe(pair));
	fds[count++] = pair[0];
	fds[count++] = pair[1];
	fds[count++] = open("/dev/null", O_RDWR);
	fds[count++] = open("/proc/self/exe", O_RDONLY);
	fds[count++] = memfd_create("fake", MFD_CLOEXEC);
	fds[count++] = sealed(0);
	fds[count++] = sealed(KIB(64));
	fds[count++] = sealed(size_of(self->timeline_fd));
	fds[count++] = reopened(self->buffer_fd, O_RDONLY);
	fds[count++] = reopened(self->timeline_fd, O_RDONLY);
	for (int i = 0; i < count; i++) {
		ASSERT_LE(0, fds[i]);
		import(self->dev, fds[i], &buffer, &timeline);
		EXPECT_EQ(-EINVAL, buffer)
			TH_LOG("descriptor %d", i);
		EXPECT_EQ(-EINVAL, timeline)
			TH_LOG("descriptor %d", i);
	}
	import(self->dev, -1, &buffer, &timeline);
	EXPECT_EQ(-EBADF, buffer);
	EXPECT_EQ(-EBADF, timeline);
}

TEST_F(hostile, what_is_one_thing_is_not_the_other)
{
	int buffer, timeline;

	import(self->dev, dup(self->buffer_fd), &buffer, &timeline);
	EXPECT_EQ(0, buffer);
	EXPECT_EQ(-EINVAL, timeline);
	import(self->dev, dup(self->timeline_fd), &buffer, &timeline);
	EXPECT_EQ(-EINVAL, buffer);
	EXPECT_EQ(0, timeline);
}

TEST_F(hostile, other_pools_are_other)
{
	int buffer, timeline;

	import(self->other, dup(self->buffer_fd), &buffer, &timeline);
	EXPECT_EQ(-EINVAL, buffer);
	import(self->other, dup(self->timeline_fd), &buffer, &timeline);
	EXPECT_EQ(-EINVAL, timeline);
}

TEST_F(hostile, memory_cannot_be_pulled_away)
{
	EXPECT_EQ(-1, ftruncate(self->buffer_fd, 0));
	EXPECT_EQ(-1, ftruncate(self->buffer_fd, MIB(1)));
	EXPECT_EQ(-1, ftruncate(self->timeline_fd, 0));
	EXPECT_EQ(-1, fcntl(self->buffer_fd, F_ADD_SEALS, F_SEAL_WRITE));
	EXPECT_EQ(-1, fcntl(self->timeline_fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE));
}

/* Any bytes: calls end, with whatever answer; only this timeline is the worse for it. */
TEST_F(hostile, scribbled_timeline_hangs_nobody)
{
	struct accel_queue *queue = queue_on(self->dev, 0);
	struct accel_timeline *good = timeline_new(self->dev);
	uint64_t size = size_of(self->timeline_fd), value, seqno;
	uint8_t *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, self->timeline_fd, 0);
	unsigned int i, rounds = scaled(50);

	must(page != MAP_FAILED);
	for (i = 0; i < rounds; i++) {
		struct accel_point wait = { self->timeline, 1 };
		struct accel_point signals[] = { { self->timeline, 5 + i }, { good, 1 + i } };
		struct accel_submit submit = { .waits = &wait, .wait_count = i % 2,
					       .signals = signals, .signal_count = 2 };
		int err;

		if (i % 5)
			scribble(page, size, i);
		else
			memset(page, i % 2 ? 0xff : 0, size);
		accel_timeline_query(self->timeline, &value);
		accel_timeline_signal(self->timeline, value + 1);
		accel_timeline_wait(self->timeline, 3, 1000000);
		err = accel_queue_submit(queue, &submit, &seqno);
		if (!err && !(i % 2)) {
			ASSERT_EQ(0, accel_queue_wait(queue, seqno, LONG_NS, NULL));
			ASSERT_EQ(0, accel_timeline_wait(good, 1 + i, LONG_NS));
		}
	}
	/* A submit may wait for ever for a point that was scribbled over; ending its queue ends it. */
	accel_queue_destroy(queue);
	munmap(page, size);
	accel_timeline_close(good);
}

/* A child makes a buffer, hands it over and dies; the descriptor brings it back. */
static int maker(int sock, const void *unused)
{
	struct accel_buffer *buffer;
	struct accel_dev *dev;
	char uri[ACCEL_URI_MAX];
	uint8_t *p;
	int fd;

	(void)unused;
	/* The pool's name holds the number of the test's parent. */
	snprintf(uri, sizeof(uri), "soft:hostile-%d", (int)hear(sock));
	must_ok(accel_open(uri, &dev));
	must_ok(accel_buffer_create(dev, KIB(128), NULL, &buffer));
	p = buffer_map(buffer);
	memset(p, 0x5a, KIB(128));
	must_ok(accel_buffer_export(buffer, &fd));
	send_fd(sock, fd);
	hear(sock);
	return 0;
}

static uint64_t free_of(struct accel_dev *dev)
{
	struct accel_pool_info info;

	must_ok(accel_pool_info(dev, &info));
	return info.bytes_free;
}

TEST_F(hostile, descriptor_in_flight_comes_back_to_the_books)
{
	uint64_t before = free_of(self->dev);
	struct child child = child_start(maker, NULL);
	struct accel_buffer *buffer;
	uint8_t *p;
	int fd;

	say(child.sock, getppid());
	fd = recv_fd(child.sock);
	EXPECT_EQ(before - KIB(128), free_of(self->dev));
	child_kill(&child);
	EXPECT_EQ(before, free_of(self->dev));
	ASSERT_EQ(0, accel_buffer_import(self->dev, fd, &buffer));
	close(fd);
	EXPECT_EQ(before - KIB(128), free_of(self->dev));
	p = buffer_map(buffer);
	EXPECT_TRUE(all_bytes(p, KIB(128), 0x5a));
	EXPECT_EQ(0, accel_buffer_unmap(self->dev, p, KIB(128)));
	accel_buffer_close(buffer);
	EXPECT_EQ(before, free_of(self->dev));
}

TEST_HARNESS_MAIN
