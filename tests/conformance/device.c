// SPDX-License-Identifier: MIT
/* Conformance: opening, what a pool tells about itself, clients and quotas. */
#include "pool.h"

POOL_FIXTURE(device)

TEST(open_refuses_bad_addresses)
{
	static const char *const bad[] = {
		"", ":", "soft", "soft:", "drm:", "nothing:here", "Soft:x", "soft:a/b", "soft:..",
		"soft:x?npus=0", "soft:x?npus=", "soft:x?npus=1x", "soft:x?size=0",
			"soft:x?size=9Q",
		"soft:x?size=1", "soft:x?what=1", "soft:x?npus=-1",
			"soft:x?npus=99999999999999999999",
		"soft:x?size=99999999999999999999G", "soft:x?", " soft:x", "soft:a b",
	};
	struct accel_dev *dev = (void *)1;
	char uri[ACCEL_URI_MAX + 1];
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(bad); i++)
		EXPECT_EQ(-EINVAL, accel_open(bad[i], &dev))
			TH_LOG("address %u", i);
	memset(uri, 'x', sizeof(uri));
	memcpy(uri, "soft:", 5);
	uri[ACCEL_URI_MAX] = 0;
	EXPECT_EQ(-EINVAL, accel_open(uri, &dev));
	EXPECT_EQ((void *)1, dev);
}

TEST(open_tells_what_is_missing)
{
	struct accel_dev *dev;
	int err = accel_open("drm:/dev/null", &dev);

	EXPECT_EQ(-ENOENT, accel_open("drm:/dev/accel/none", &dev));
	EXPECT_TRUE(err == -ENODEV || err == -EPROTO)
		TH_LOG("/dev/null: %d", err);
}

static int open_as_nobody(int sock, const void *path)
{
	struct accel_dev *dev;

	(void)sock;
	must_ok(setgid(65534));
	must_ok(setuid(65534));
	return accel_open(path, &dev) == -EACCES ? 0 : 1;
}

TEST(open_respects_permissions)
{
	char file[] = "/tmp/npool-test-XXXXXX", uri[64];
	int fd = mkstemp(file);
	struct child child;

	if (geteuid())
		SKIP(return, "needs root");
	ASSERT_LE(0, fd);
	snprintf(uri, sizeof(uri), "drm:%s", file);
	child = child_start(open_as_nobody, uri);
	EXPECT_EQ(0, child_end(&child));
	close(fd);
	unlink(file);
}

TEST(open_null_takes_a_default)
{
	struct accel_dev *dev;
	const char *uri;

	ASSERT_EQ(0, accel_open(NULL, &dev));
	uri = accel_uri(dev);
	EXPECT_TRUE(!strncmp(uri, "drm:/dev/accel/", 15) || !strcmp(uri, "soft:default"))
		TH_LOG("%s", uri);
	accel_close(dev);
}

TEST(uri_and_version)
{
	struct accel_dev *dev = dev_open();
	unsigned int major, minor, patch;
	char rest;

	EXPECT_STREQ(pool_uri(), accel_uri(dev));
	EXPECT_EQ(3, sscanf(accel_version(), "%u.%u.%u%c", &major, &minor, &patch, &rest));
	accel_close(dev);
	accel_close(NULL);
}

TEST_F(device, pool_info_adds_up)
{
	struct accel_npu_info *npus = calloc(self->p.info.max_npus, sizeof(*npus));
	uint32_t count = self->p.info.max_npus, i;
	uint64_t total = 0, unused = 0;
	struct accel_pool_info info;

	ASSERT_EQ(0, accel_npus(self->p.dev, npus, &count));
	ASSERT_EQ(0, accel_pool_info(self->p.dev, &info));
	for (i = 0; i < count; i++) {
		if (i)
			EXPECT_LT(npus[i - 1].id, npus[i].id);
		EXPECT_LE(npus[i].bytes_free, npus[i].bytes_total);
		EXPECT_LT(strnlen(npus[i].name, ACCEL_NAME_LEN), ACCEL_NAME_LEN);
		EXPECT_NE(0, npus[i].backend[0]);
		if (npus[i].state != ACCEL_NPU_ONLINE)
			continue;
		total += npus[i].bytes_total;
		unused += npus[i].bytes_free;
	}
	EXPECT_EQ(info.npu_count, count);
	EXPECT_EQ(info.bytes_total, total);
	EXPECT_EQ(info.bytes_free, unused);
	EXPECT_LE(4096, info.min_alloc);
	EXPECT_EQ(0, info.min_alloc & (info.min_alloc - 1));
	EXPECT_LE(info.npu_count, info.max_npus);
	EXPECT_LT(0, info.max_ops);
	EXPECT_LE(info.max_ops, info.max_segs);
	EXPECT_LT(0, info.max_syncs);
	EXPECT_LT(0, info.max_queues);
	EXPECT_LT(1, info.queue_depth);
	free(npus);
}

TEST_F(device, npus_with_short_room)
{
	struct accel_npu_info npus[4], many[256];
	uint32_t count = 0, all, i;

	ASSERT_EQ(0, accel_npus(self->p.dev, NULL, &count));
	ASSERT_LE(OWN_NPUS, count);
	all = count;
	memset(npus, 0x5a, sizeof(npus));
	count = 2;
	ASSERT_EQ(0, accel_npus(self->p.dev, npus, &count));
	EXPECT_EQ(all, count);
	EXPECT_LT(npus[0].id, npus[1].id);
	EXPECT_TRUE(all_bytes((uint8_t *)&npus[2], 2 * sizeof(npus[0]), 0x5a));
	count = 0;
	ASSERT_EQ(0, accel_npus(self->p.dev, npus, &count));
	EXPECT_EQ(all, count);
	memset(many, 0x5a, sizeof(many));
	count = ARRAY_LEN(many);
	ASSERT_EQ(0, accel_npus(self->p.dev, many, &count));
	for (i = count; i < ARRAY_LEN(many); i++)
		EXPECT_EQ(0x5a5a5a5a, many[i].id);
}

TEST_F(device, npu_tells_its_config)
{
	struct accel_npu_config config;
	struct accel_npu_info info;
	struct accel_pool_info before, with, after;
	uint32_t id;

	npu_config(&config, MIB(1), 12345);
	config.bandwidth = 6789000000ull;
	ASSERT_EQ(0, accel_pool_info(self->p.dev, &before));
	ASSERT_EQ(0, accel_npu_add(self->p.dev, &config, &id));
	ASSERT_EQ(0, accel_pool_info(self->p.dev, &with));
	ASSERT_TRUE(npu_find(self->p.dev, id, &info));
	EXPECT_LT(self->p.npu[OWN_NPUS - 1], id);
	EXPECT_EQ(ACCEL_NPU_ONLINE, info.state);
	EXPECT_EQ(MIB(1), info.bytes_total);
	EXPECT_EQ(MIB(1), info.bytes_free);
	EXPECT_EQ(config.bandwidth, info.bandwidth);
	EXPECT_EQ(config.latency_ns, info.latency_ns);
	EXPECT_STREQ(config.name, info.name);
	ASSERT_EQ(0, accel_npu_remove(self->p.dev, id));
	ASSERT_EQ(0, accel_pool_info(self->p.dev, &after));
	EXPECT_EQ(before.generation + 1, with.generation);
	EXPECT_EQ(before.generation + 2, after.generation);
	EXPECT_EQ(before.bytes_total + MIB(1), with.bytes_total);
	EXPECT_EQ(before.bytes_total, after.bytes_total);
	EXPECT_EQ(before.npu_count + 1, with.npu_count);
}

TEST_F(device, npu_add_refuses)
{
	static const char *const names[] = { "", "a/b", "a b", ".", "..", "\n", "\xc3\xa4", "a.b" };
	struct accel_npu_config config;
	uint32_t id = 77;
	unsigned int i;

	npu_config(&config, MIB(1), 0);
	for (i = 0; i < ARRAY_LEN(names); i++) {
		memset(config.name, 0, sizeof(config.name));
		strcpy(config.name, names[i]);
		EXPECT_EQ(-EINVAL, accel_npu_add(self->p.dev, &config, &id))
			TH_LOG("name %s", names[i]);
	}
	memset(config.name, 'n', sizeof(config.name));
	EXPECT_EQ(-EINVAL, accel_npu_add(self->p.dev, &config, &id));
	npu_config(&config, 0, 0);
	EXPECT_EQ(-EINVAL, accel_npu_add(self->p.dev, &config, &id));
	config.bytes = self->p.info.min_alloc + 1;
	EXPECT_EQ(-EINVAL, accel_npu_add(self->p.dev, &config, &id));
	EXPECT_EQ(77, id);
	config.bytes = self->p.info.min_alloc;
	ASSERT_EQ(0, accel_npu_add(self->p.dev, &config, &id));
	EXPECT_EQ(-EEXIST, accel_npu_add(self->p.dev, &config, &id));
	EXPECT_EQ(0, accel_npu_remove(self->p.dev, id));
	EXPECT_EQ(-ENOENT, accel_npu_remove(self->p.dev, UINT32_MAX));
}

TEST_F(device, npu_name_is_free_after_removal)
{
	struct accel_npu_config config;
	uint32_t first, second;
	unsigned int i;

	npu_config(&config, KIB(64), 0);
	ASSERT_EQ(0, accel_npu_add(self->p.dev, &config, &first));
	for (i = 0; i < scaled(20); i++) {
		/* Though it stays listed for as long as a buffer refers to it. */
		struct accel_buffer *held = buffer_on(self->p.dev, first, KIB(4));

		ASSERT_EQ(0, accel_npu_remove(self->p.dev, first));
		ASSERT_EQ(0, accel_npu_add(self->p.dev, &config, &second));
		ASSERT_LT(first, second);
		accel_buffer_close(held);
		first = second;
	}
	EXPECT_EQ(0, accel_npu_remove(self->p.dev, first));
}

TEST_F(device, pool_holds_max_npus)
{
	uint32_t room = self->p.info.max_npus - self->p.info.npu_count, i, id, *ids;
	struct accel_npu_config config;

	ids = calloc(room, sizeof(*ids));
	for (i = 0; i < room; i++)
		ids[i] = npu_add(self->p.dev, self->p.info.min_alloc, 0);
	npu_config(&config, self->p.info.min_alloc, 0);
	EXPECT_EQ(-ENOSPC, accel_npu_add(self->p.dev, &config, &id));
	for (i = 0; i < room; i++)
		EXPECT_EQ(0, accel_npu_remove(self->p.dev, ids[i]));
	ASSERT_TRUE(eventually(!accel_npu_add(self->p.dev, &config, &id)));
	EXPECT_EQ(0, accel_npu_remove(self->p.dev, id));
	free(ids);
}

TEST_F(device, stats_count)
{
	struct accel_buffer *a = buffer_on(self->p.dev, self->p.npu[0], KIB(64));
	struct accel_buffer *b = buffer_on(self->p.dev, self->p.npu[1], KIB(64));
	struct accel_queue *queue = queue_on(self->p.dev, self->p.npu[0]);
	struct accel_npu_stats s = npu_stats(self->p.dev, self->p.npu[0]), t;

	EXPECT_EQ(self->p.npu[0], s.id);
	EXPECT_EQ(0, s.jobs_submitted);
	EXPECT_EQ(KIB(64), s.bytes_cleared);
	EXPECT_EQ(0, run_fill(queue, a, 0, 1000, 1));
	EXPECT_EQ(0, run_copy(queue, b, 5, a, 7, 3000));
	EXPECT_EQ(0, run_ops(queue, NULL, 0));
	EXPECT_EQ(0, accel_npu_inject(self->p.dev, self->p.npu[0], ACCEL_FAULT_COPY, 1));
	EXPECT_EQ(-EIO, run_fill(queue, a, 0, 8, 1));
	EXPECT_EQ(-EINVAL, run_fill(queue, a, KIB(64), 8, 1));
	ASSERT_TRUE(eventually((t = npu_stats(self->p.dev, self->p.npu[0])).jobs_done == 3));
	EXPECT_EQ(4, t.jobs_submitted);
	EXPECT_EQ(1, t.jobs_failed);
	EXPECT_EQ(1000, t.bytes_filled);
	EXPECT_EQ(3000, t.bytes_copied);
	EXPECT_LT(0, t.busy_ns);
	EXPECT_LT(0, t.queue_ns);
	EXPECT_EQ(0, npu_stats(self->p.dev, self->p.npu[1]).jobs_submitted);
	EXPECT_EQ(0, npu_stats(self->p.dev, self->p.npu[1]).bytes_copied);
	accel_queue_destroy(queue);
	accel_buffer_close(a);
	accel_buffer_close(b);
}

TEST_F(device, stats_with_short_room)
{
	struct accel_npu_stats stats[3];
	uint32_t count = 2;

	memset(stats, 0x5a, sizeof(stats));
	ASSERT_EQ(0, accel_stats(self->p.dev, stats, &count));
	EXPECT_LE(OWN_NPUS, count);
	EXPECT_TRUE(all_bytes((uint8_t *)&stats[2], sizeof(stats[2]), 0x5a));
}

TEST_F(device, client_ids)
{
	struct accel_dev *other = dev_open();
	uint64_t mine = accel_client_id(self->p.dev), theirs = accel_client_id(other),
		last = theirs;
	unsigned int i;

	EXPECT_NE(0, mine);
	EXPECT_NE(0, theirs);
	EXPECT_NE(mine, theirs);
	EXPECT_EQ(mine, accel_client_id(self->p.dev));
	EXPECT_EQ(1, accel_client_alive(self->p.dev, mine));
	EXPECT_EQ(1, accel_client_alive(self->p.dev, theirs));
	EXPECT_EQ(1, accel_client_alive(other, mine));
	EXPECT_EQ(0, accel_client_alive(self->p.dev, UINT64_MAX));
	EXPECT_EQ(0, accel_client_alive(self->p.dev, theirs + 1000000));
	accel_close(other);
	EXPECT_TRUE(eventually(!accel_client_alive(self->p.dev, theirs)));
	for (i = 0; i < scaled(50); i++) {
		other = dev_open();
		EXPECT_LT(last, accel_client_id(other));
		last = accel_client_id(other);
		accel_close(other);
	}
	EXPECT_EQ(1, accel_client_alive(self->p.dev, mine));
}

/* Opens the pool, has a child of its own that forks or executes, tells both. */
static int client_with_child(int sock, const void *exec)
{
	struct accel_dev *dev = dev_open();
	pid_t pid = fork();

	if (!pid) {
		close(sock);
		if (exec)
			execl("/bin/sleep", "sleep", "600", NULL);
		for (;;)
			pause();
	}
	say(sock, accel_client_id(dev));
	say(sock, pid);
	return hear(sock);
}

TEST_F(device, client_lives_while_a_fork_holds_it)
{
	struct child child = child_start(client_with_child, NULL);
	uint64_t id = hear(child.sock);
	pid_t holder = hear(child.sock);

	EXPECT_EQ(1, accel_client_alive(self->p.dev, id));
	child_kill(&child);
	nap(200);
	EXPECT_EQ(1, accel_client_alive(self->p.dev, id));
	kill(holder, SIGKILL);
	EXPECT_TRUE(eventually(!accel_client_alive(self->p.dev, id)));
}

TEST_F(device, client_dies_with_its_process_despite_an_exec)
{
	struct child child = child_start(client_with_child, "exec");
	uint64_t id = hear(child.sock);
	pid_t holder = hear(child.sock);

	EXPECT_EQ(1, accel_client_alive(self->p.dev, id));
	child_kill(&child);
	EXPECT_TRUE(eventually(!accel_client_alive(self->p.dev, id)));
	EXPECT_EQ(0, kill(holder, 0));
	kill(holder, SIGKILL);
}

TEST_F(device, quota_limits)
{
	uint64_t unit = self->p.info.min_alloc;
	struct accel_dev *other = dev_open();
	struct accel_buffer *a, *b;
	struct accel_quota quota;

	ASSERT_EQ(0, accel_quota(self->p.dev, &quota));
	EXPECT_EQ(0, quota.limit);
	EXPECT_EQ(0, quota.used);
	a = buffer_on(self->p.dev, self->p.npu[0], 4 * unit);
	EXPECT_EQ(0, accel_set_quota(self->p.dev, 6 * unit));
	ASSERT_EQ(0, accel_quota(self->p.dev, &quota));
	EXPECT_EQ(6 * unit, quota.limit);
	EXPECT_EQ(4 * unit, quota.used);
	EXPECT_EQ(-EDQUOT, accel_buffer_create(self->p.dev, 3 * unit, NULL, &b));
	/* Another open of the pool has a quota of its own. */
	ASSERT_EQ(0, accel_buffer_create(other, 3 * unit, NULL, &b));
	accel_buffer_close(b);
	b = buffer_on(self->p.dev, self->p.npu[0], 2 * unit);
	EXPECT_EQ(-EDQUOT,
		  accel_buffer_create(self->p.dev, unit, NULL, &(struct accel_buffer *){ 0 }));
	accel_buffer_close(b);
	EXPECT_TRUE(eventually(!accel_quota(self->p.dev, &quota) && quota.used == 4 * unit));
	EXPECT_EQ(0, accel_set_quota(self->p.dev, unit));
	EXPECT_EQ(0, accel_quota(self->p.dev, &quota));
	EXPECT_EQ(unit, quota.limit);
	EXPECT_EQ(4 * unit, quota.used);
	EXPECT_EQ(-EDQUOT, accel_buffer_create(self->p.dev, unit, NULL, &b));
	accel_buffer_close(a);
	EXPECT_TRUE(eventually(!accel_quota(self->p.dev, &quota) && !quota.used));
	/* Whoever runs the suite is the pool's administrator. */
	EXPECT_EQ(0, accel_set_quota(self->p.dev, 0));
	b = buffer_on(self->p.dev, self->p.npu[0], OWN_BYTES);
	accel_buffer_close(b);
	accel_close(other);
}

TEST_F(device, quota_and_space_are_told_apart)
{
	uint32_t npu = self->p.npu[0];
	struct accel_where where = { ACCEL_PLACE_NPU, 1, &npu, 0 };
	struct accel_buffer *a;

	ASSERT_EQ(0, accel_set_quota(self->p.dev, 2 * OWN_BYTES));
	EXPECT_EQ(-ENOSPC, accel_buffer_create(self->p.dev, 2 * OWN_BYTES, &where, &a));
	EXPECT_EQ(-EDQUOT, accel_buffer_create(self->p.dev, 3 * OWN_BYTES, &where, &a));
}

TEST_HARNESS_MAIN
