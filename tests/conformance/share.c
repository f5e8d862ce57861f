// SPDX-License-Identifier: MIT
/* Conformance: buffers handed from process to process by descriptor. */
#include <sys/mman.h>

#include "pool.h"

POOL_FIXTURE(share)

/* Imports what it is sent, checks the parent's bytes, leaves its own, stays. */
static int import_and_answer(int sock, const void *arg)
{
	struct accel_dev *dev = dev_open();
	int fd = recv_fd(sock);
	struct accel_buffer *buffer;
	struct accel_buffer_info info;
	uint8_t *p;

	(void)arg;
	must_ok(accel_buffer_import(dev, fd, &buffer));
	close(fd);
	must_ok(accel_buffer_info(buffer, &info, NULL, 0));
	p = buffer_map(buffer);
	must(p[0] == 'p' && p[info.size - 1] == 'q');
	p[0] = 'c';
	say(sock, info.size);
	if (hear(sock))
		return 0;
	must_ok(accel_buffer_unmap(dev, p, info.size));
	accel_buffer_close(buffer);
	accel_close(dev);
	return 0;
}

/* To a child that runs import_and_answer(). */
static int hand_over(struct accel_buffer *buffer, uint8_t *p, int sock)
{
	int err, fd;

	p[0] = 'p';
	p[KIB(256) - 1] = 'q';
	err = accel_buffer_export(buffer, &fd);
	if (err)
		return err;
	send_fd(sock, fd);
	close(fd);
	return 0;
}

TEST_F(share, another_process_sees_the_same_bytes)
{
	struct child child = child_start(import_and_answer, NULL);
	struct accel_buffer *buffer = buffer_on(self->p.dev, self->p.npu[0], KIB(256));
	uint8_t *p = buffer_map(buffer);

	ASSERT_EQ(0, hand_over(buffer, p, child.sock));
	EXPECT_EQ(KIB(256), hear(child.sock));
	EXPECT_EQ('c', p[0]);
	say(child.sock, 0);
	EXPECT_EQ(0, child_end(&child));
	EXPECT_EQ('c', p[0]);
	accel_buffer_unmap(self->p.dev, p, KIB(256));
	accel_buffer_close(buffer);
}

/* The importer is the last to hold the buffer, and ends by exit or by a signal. */
TEST_F(share, memory_lives_with_the_last_process)
{
	int how;

	for (how = 0; how < 3; how++) {
		struct child child = child_start(import_and_answer, NULL);
		struct accel_buffer *buffer = buffer_on(self->p.dev, self->p.npu[0], KIB(256));
		uint8_t *p = buffer_map(buffer);

		ASSERT_EQ(0, hand_over(buffer, p, child.sock));
		hear(child.sock);
		accel_buffer_unmap(self->p.dev, p, KIB(256));
		accel_buffer_close(buffer);
		nap(50);
		EXPECT_EQ(OWN_BYTES - KIB(256), npu_free(self->p.dev, self->p.npu[0]));
		if (how == 2) {
			child_kill(&child);
		} else {
			say(child.sock, how);
			EXPECT_EQ(0, child_end(&child));
		}
		ASSERT_TRUE(eventually(pool_whole(&self->p)))
			TH_LOG("way %d", how);
	}
}

/* A descriptor on its way, in a socket that nobody reads, is a holder too. */
TEST_F(share, descriptor_in_flight_holds_the_memory)
{
	struct accel_buffer *buffer = buffer_on(self->p.dev, self->p.npu[0], KIB(64)), *again;
	int pair[2], fd;
	uint8_t *p;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	p = buffer_map(buffer);
	p[77] = 77;
	accel_buffer_unmap(self->p.dev, p, KIB(64));
	ASSERT_EQ(0, accel_buffer_export(buffer, &fd));
	send_fd(pair[0], fd);
	close(fd);
	accel_buffer_close(buffer);
	nap(50);
	EXPECT_EQ(OWN_BYTES - KIB(64), npu_free(self->p.dev, self->p.npu[0]));
	fd = recv_fd(pair[1]);
	ASSERT_EQ(0, accel_buffer_import(self->p.dev, fd, &again));
	close(fd);
	p = buffer_map(again);
	EXPECT_EQ(77, p[77]);
	accel_buffer_unmap(self->p.dev, p, KIB(64));
	accel_buffer_close(again);
	close(pair[0]);
	close(pair[1]);
}

TEST_F(share, imports_are_handles_of_their_own)
{
	struct accel_buffer *buffer = buffer_on(self->p.dev, self->p.npu[0], KIB(64)), *one, *two;
	struct accel_queue *queue = queue_on(self->p.dev, self->p.npu[1]);
	struct accel_buffer_info info;
	uint32_t npu;
	uint8_t *p;
	int fd, fd2;

	ASSERT_EQ(0, accel_buffer_export(buffer, &fd));
	ASSERT_EQ(0, accel_buffer_import(self->p.dev, fd, &one));
	ASSERT_EQ(0, accel_buffer_import(self->p.dev, fd, &two));
	EXPECT_EQ(OWN_BYTES - KIB(64), npu_free(self->p.dev, self->p.npu[0]));
	accel_buffer_close(one);
	accel_buffer_close(buffer);
	ASSERT_EQ(0, accel_buffer_info(two, &info, &npu, 1));
	EXPECT_EQ(KIB(64), info.size);
	EXPECT_EQ(0, info.flags);
	EXPECT_EQ(ACCEL_PLACE_NPU, info.placement);
	EXPECT_EQ(self->p.npu[0], npu);
	p = buffer_map(two);
	EXPECT_EQ(0, run_fill(queue, two, 0, KIB(64), 0x0101010101010101ull));
	EXPECT_TRUE(all_bytes(p, KIB(64), 1));
	/* An import can be exported on. */
	ASSERT_EQ(0, accel_buffer_export(two, &fd2));
	ASSERT_EQ(0, accel_buffer_import(self->p.dev, fd2, &one));
	accel_buffer_close(one);
	close(fd2);
	close(fd);
	accel_buffer_unmap(self->p.dev, p, KIB(64));
	accel_buffer_close(two);
	accel_queue_destroy(queue);
}

TEST_F(share, interleaved_buffers_keep_their_stripes)
{
	uint32_t order[] = { self->p.npu[3], self->p.npu[1] }, npus[2];
	struct accel_where where = { ACCEL_PLACE_INTERLEAVE, 2, order, KIB(8) };
	struct accel_dev *other = dev_open();
	struct accel_buffer *buffer, *import;
	struct accel_buffer_info info;
	uint8_t *p, *q;
	int fd;

	ASSERT_EQ(0, accel_buffer_create(self->p.dev, KIB(64), &where, &buffer));
	ASSERT_EQ(0, accel_buffer_export(buffer, &fd));
	ASSERT_EQ(0, accel_buffer_import(other, fd, &import));
	close(fd);
	ASSERT_EQ(0, accel_buffer_info(import, &info, npus, 2));
	EXPECT_EQ(2, info.npu_count);
	EXPECT_EQ(KIB(8), info.stripe);
	EXPECT_EQ(0, memcmp(npus, order, sizeof(order)));
	p = buffer_map(buffer);
	q = buffer_map(import);
	scribble(p, KIB(64), 5);
	EXPECT_EQ(0, memcmp(p, q, KIB(64)));
	accel_buffer_unmap(self->p.dev, p, KIB(64));
	accel_buffer_unmap(other, q, KIB(64));
	accel_buffer_close(import);
	accel_close(other);
	accel_buffer_close(buffer);
}

/* The quota counts what an open file created, not what it was handed. */
TEST_F(share, imports_are_not_counted)
{
	struct accel_dev *other = dev_open();
	struct accel_buffer *buffer = buffer_on(self->p.dev, self->p.npu[0], KIB(64)), *import;
	struct accel_quota quota;
	int fd;

	ASSERT_EQ(0, accel_set_quota(other, self->p.info.min_alloc));
	ASSERT_EQ(0, accel_buffer_export(buffer, &fd));
	EXPECT_EQ(0, accel_buffer_import(other, fd, &import));
	EXPECT_EQ(0, accel_quota(other, &quota));
	EXPECT_EQ(0, quota.used);
	close(fd);
	accel_buffer_close(import);
	accel_close(other);
	accel_buffer_close(buffer);
}

TEST_F(share, import_refuses_what_is_no_buffer)
{
	struct accel_buffer *buffer = (void *)1, *foreign;
	char uri[ACCEL_URI_MAX];
	struct accel_timeline *timeline = timeline_new(self->p.dev);
	struct accel_dev *other;
	int fds[8], count = 0, pair[2], i, err, fd;

	ASSERT_EQ(0, pipe(pair));
	fds[count++] = pair[0];
	fds[count++] = pair[1];
	fds[count++] = open("/dev/null", O_RDWR | O_CLOEXEC);
	fds[count++] = open("/", O_RDONLY | O_CLOEXEC);
	fds[count++] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	fds[count] = memfd_create("garbage", MFD_CLOEXEC);
	ASSERT_EQ(0, ftruncate(fds[count], KIB(64)));
	scribble(mmap(NULL, KIB(64), PROT_WRITE, MAP_SHARED, fds[count], 0), KIB(64), 4);
	count++;
	ASSERT_EQ(0, accel_timeline_export(timeline, &fds[count]));
	count++;
	for (i = 0; i < count; i++) {
		EXPECT_EQ(-EINVAL, accel_buffer_import(self->p.dev, fds[i], &buffer))
			TH_LOG("descriptor %d", i);
		close(fds[i]);
	}
	err = accel_buffer_import(self->p.dev, -1, &buffer);
	EXPECT_TRUE(err == -EINVAL || err == -EBADF);
	EXPECT_EQ((void *)1, buffer);
	accel_timeline_close(timeline);

	/* A buffer of another pool. */
	snprintf(uri, sizeof(uri), "soft:other-%d?npus=1&size=1M", (int)getpid());
	ASSERT_EQ(0, accel_open(uri, &other));
	ASSERT_EQ(0, accel_buffer_create(other, KIB(64), NULL, &foreign));
	ASSERT_EQ(0, accel_buffer_export(foreign, &fd));
	EXPECT_EQ(-EINVAL, accel_buffer_import(self->p.dev, fd, &buffer));
	close(fd);
	accel_buffer_close(foreign);
	accel_close(other);
}

TEST_HARNESS_MAIN
