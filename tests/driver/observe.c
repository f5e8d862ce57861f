// SPDX-License-Identifier: MIT
/* What can be seen from outside: fdinfo in the DRM format, and tracepoints. */
#include "npool.h"
#include "tracing.h"

FIXTURE(observe)
{
	struct pool p;
	int fd;
	uint32_t queue;
	struct drm_npool_bo_create bo;
};

FIXTURE_SETUP(observe)
{
	pool_setup(&self->p);
	self->fd = node_open();
	self->queue = queue_new(self->fd, self->p.npu[0]);
	self->bo = bo_new(self->fd, self->p.npu[0], MIB(1));
}

FIXTURE_TEARDOWN(observe)
{
	close(self->fd);
	EXPECT_TRUE(pool_teardown(&self->p));
}

/* The text after "key:" of this descriptor's fdinfo, or NULL. */
static const char *fdinfo(int fd, const char *key)
{
	static char text[8192];
	char path[64], line[64], *at;
	int file;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	file = open(path, O_RDONLY);
	must(file >= 0);
	n = read(file, text, sizeof(text) - 1);
	must(n > 0);
	text[n] = 0;
	close(file);
	snprintf(line, sizeof(line), "\n%s:", key);
	at = strstr(text, line);
	return at ? at + strlen(line) : NULL;
}

/* Its number, memory in bytes. */
static uint64_t fdinfo_number(int fd, const char *key)
{
	const char *text = fdinfo(fd, key);
	char unit[4] = "";
	unsigned long long n;

	if (!text || sscanf(text, "%llu %3s", &n, unit) < 1)
		return UINT64_MAX;
	return !strcmp(unit, "KiB") ? KIB(n) : !strcmp(unit, "MiB") ? MIB(n) : n;
}

TEST_F(observe, fdinfo_is_in_the_drm_format)
{
	const char *driver = fdinfo(self->fd, "drm-driver");
	uint64_t busy;
	int i;

	ASSERT_NE(NULL, driver);
	EXPECT_EQ(0, strncmp(driver + strspn(driver, " \t"), "npool\n", 6));
	EXPECT_NE(NULL, fdinfo(self->fd, "drm-client-id"));
	EXPECT_NE(NULL, fdinfo(self->fd, "drm-engine-copy"));
	EXPECT_EQ(MIB(1), fdinfo_number(self->fd, "drm-total-memory"));
	EXPECT_EQ(0, fdinfo_number(self->fd, "drm-shared-memory"));
	busy = fdinfo_number(self->fd, "drm-engine-copy");
	for (i = 0; i < 10; i++)
		ASSERT_EQ(0, move_bytes(self->fd, self->queue, self->bo.handle, 0, self->bo.handle,
					KIB(512), KIB(512)));
	EXPECT_TRUE(eventually(fdinfo_number(self->fd, "drm-engine-copy") > busy));
}

TEST_F(observe, fdinfo_follows_the_buffers)
{
	struct drm_npool_bo_create more = bo_new(self->fd, self->p.npu[1], MIB(2));
	int other = node_open();
	uint32_t handle;
	int dmabuf = bo_export(self->fd, more.handle);

	EXPECT_EQ(MIB(3), fdinfo_number(self->fd, "drm-total-memory"));
	EXPECT_EQ(0, fdinfo_number(other, "drm-total-memory"));
	ASSERT_EQ(0, bo_import(other, dmabuf, &handle));
	EXPECT_EQ(MIB(2), fdinfo_number(other, "drm-shared-memory"));
	close(dmabuf);
	close(other);
	bo_close(self->fd, more.handle);
	EXPECT_EQ(MIB(1), fdinfo_number(self->fd, "drm-total-memory"));
	EXPECT_NE(fdinfo_number(self->fd, "drm-client-id"), UINT64_MAX);
}

TEST_F(observe, tracepoints)
{
	char client[32];
	struct drm_npool_client_info info;
	struct drm_npool_query query = { .topic = DRM_NPOOL_TOPIC_CLIENT, .data = (uintptr_t)&info,
					 .count = 1, .stride = sizeof(info) };
	const char *submit, *start, *done, *text;

	if (!tracing_there())
		SKIP(return, "this kernel has no tracefs");
	tracing_start();
	ASSERT_EQ(0,
		  move_bytes(self->fd, self->queue, self->bo.handle, 0, self->bo.handle, KIB(512),
			     777));
	text = tracing_end();
	ASSERT_EQ(0, call(self->fd, DRM_IOCTL_NPOOL_QUERY, &query));
	submit = strstr(text, "npool_job_submit: ");
	start = strstr(text, "npool_job_start: ");
	done = strstr(text, "npool_job_done: ");
	ASSERT_TRUE(submit && start && done)
		TH_LOG("%.2000s", text);
	snprintf(client, sizeof(client), " client=%llu ", (unsigned long long)info.id);
	EXPECT_NE(NULL, strstr(submit, client));
	EXPECT_NE(NULL, strstr(submit, "seqno=1 ops=1"));
	EXPECT_NE(NULL, strstr(done, "bytes=777 error=0"));
}

TEST_HARNESS_MAIN
