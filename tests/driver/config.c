// SPDX-License-Identifier: MIT
/*
 * What an administrator sets: npool_sim's directory of software NPUs, the modules'
 * parameters, faults that nobody else can see.
 */
#include "npool.h"

#define CONFIG "/sys/kernel/config/npool_sim/"
#define QUOTA "/sys/module/npool/parameters/default_quota"

FIXTURE(config)
{
	struct pool p;
	char name[ACCEL_NAME_LEN], dir[128];
};

FIXTURE_SETUP(config)
{
	pool_setup(&self->p);
	snprintf(self->name, sizeof(self->name), "config%d", (int)getpid());
	snprintf(self->dir, sizeof(self->dir), CONFIG "%s", self->name);
	must_ok(mkdir(self->dir, 0755));
}

FIXTURE_TEARDOWN(config)
{
	EXPECT_TRUE(!rmdir(self->dir) || errno == ENOENT);
	EXPECT_TRUE(pool_teardown(&self->p));
}

static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), err;

	must(fd >= 0);
	err = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return err;
}

static int set(FIXTURE_DATA(config) *self, const char *file, const char *text)
{
	char path[192];

	snprintf(path, sizeof(path), "%s/%s", self->dir, file);
	return put(path, text);
}

/* A number, or a negative errno. */
static long long get(FIXTURE_DATA(config) *self, const char *file)
{
	char path[192], text[32] = { 0 };
	long long value;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", self->dir, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	must(fd >= 0);
	value = read(fd, text, sizeof(text) - 1) < 0 ? -errno : strtoll(text, NULL, 10);
	close(fd);
	return value;
}

TEST_F(config, values_are_kept)
{
	struct accel_npu_info info;

	EXPECT_EQ(0, set(self, "size", "64K\n"));
	EXPECT_EQ(0, set(self, "bandwidth", "3G"));
	EXPECT_EQ(0, set(self, "latency_ns", "1234\n"));
	EXPECT_EQ(KIB(64), get(self, "size"));
	EXPECT_EQ(3 * MIB(1024), get(self, "bandwidth"));
	EXPECT_EQ(1234, get(self, "latency_ns"));
	EXPECT_EQ(-EINVAL, set(self, "size", "\n"));
	EXPECT_EQ(-EINVAL, set(self, "size", "12x"));
	EXPECT_EQ(-EINVAL, set(self, "online", "maybe"));
	EXPECT_EQ(KIB(64), get(self, "size"));
	EXPECT_EQ(0, get(self, "online"));
	EXPECT_EQ(-ENODEV, get(self, "id"));
	ASSERT_EQ(0, set(self, "online", "1"));
	EXPECT_EQ(1, get(self, "online"));
	ASSERT_TRUE(npu_find(self->p.dev, get(self, "id"), &info));
	EXPECT_STREQ(self->name, info.name);
	EXPECT_EQ(KIB(64), info.bytes_total);
	EXPECT_EQ(3 * MIB(1024), info.bandwidth);
	EXPECT_EQ(1234, info.latency_ns);
}

TEST_F(config, what_cannot_be_an_npu_stays_off)
{
	static const struct {
		const char *file, *bad, *good;
	} cases[] = {
		{ "size", "0", "64K" }, { "size", "65537", "64K" },
		{ "bandwidth", "999999", "0" }, { "latency_ns", "1000000001", "0" },
	};
	char path[160];
	unsigned int i;

	ASSERT_EQ(0, set(self, "size", "64K"));
	for (i = 0; i < ARRAY_LEN(cases); i++) {
		ASSERT_EQ(0, set(self, cases[i].file, cases[i].bad));
		EXPECT_EQ(-EINVAL, set(self, "online", "1"))
			TH_LOG("case %u", i);
		EXPECT_EQ(-ENODEV, get(self, "id"));
		ASSERT_EQ(0, set(self, cases[i].file, cases[i].good));
	}
	EXPECT_EQ(0, set(self, "online", "1"));
	snprintf(path, sizeof(path), CONFIG "%032d", 0);
	EXPECT_EQ(-1, mkdir(path, 0755));
	EXPECT_EQ(ENAMETOOLONG, errno);
}

TEST_F(config, nothing_changes_while_online)
{
	static const char *const files[] = { "size", "bandwidth", "latency_ns" };
	struct accel_npu_info info;
	long long id;
	unsigned int i;

	ASSERT_EQ(0, set(self, "size", "64K"));
	ASSERT_EQ(0, set(self, "online", "1"));
	id = get(self, "id");
	for (i = 0; i < ARRAY_LEN(files); i++)
		EXPECT_EQ(-EBUSY, set(self, files[i], "2M"))
			TH_LOG("file %u", i);
	EXPECT_EQ(KIB(64), get(self, "size"));
	EXPECT_EQ(-EEXIST, set(self, "online", "1"));
	EXPECT_EQ(id, get(self, "id"));
	ASSERT_EQ(0, set(self, "online", "0"));
	EXPECT_FALSE(npu_find(self->p.dev, id, &info));
	EXPECT_EQ(-ENODEV, get(self, "id"));
	EXPECT_EQ(0, set(self, "online", "0"));
	EXPECT_EQ(0, set(self, "size", "2M"));
	ASSERT_EQ(0, set(self, "online", "1"));
	EXPECT_LT(id, get(self, "id"));
}

/* It is there, dead, until it is told to go or to come back as a new member. */
TEST_F(config, what_died_comes_back)
{
	struct drm_npool_npu_ctl die = { .action = DRM_NPOOL_NPU_INJECT,
					 .fault = DRM_NPOOL_FAULT_DIE };
	struct accel_npu_info info;
	int fd = node_open();
	long long id;

	ASSERT_EQ(0, set(self, "size", "64K"));
	ASSERT_EQ(0, set(self, "online", "1"));
	id = get(self, "id");
	/* Not by libaccel, which would take the directory away. */
	die.npu = id;
	ASSERT_EQ(0, call(fd, DRM_IOCTL_NPOOL_NPU_CTL, &die));
	EXPECT_EQ(0, get(self, "online"));
	EXPECT_EQ(id, get(self, "id"));
	EXPECT_EQ(-EBUSY, set(self, "size", "2M"));
	ASSERT_EQ(0, set(self, "online", "1"));
	EXPECT_EQ(1, get(self, "online"));
	EXPECT_LT(id, get(self, "id"));
	EXPECT_FALSE(npu_find(self->p.dev, id, &info));
	ASSERT_TRUE(npu_find(self->p.dev, get(self, "id"), &info));
	EXPECT_EQ(ACCEL_NPU_ONLINE, info.state);
	close(fd);
}

/* The modules' own NPUs have no directory, but names like all others. */
TEST_F(config, a_name_is_had_once)
{
	FIXTURE_DATA(config) own = *self;
	struct accel_npu_info info;
	uint32_t count = 1;

	ASSERT_EQ(0, accel_npus(self->p.dev, &info, &count));
	snprintf(own.dir, sizeof(own.dir), CONFIG "%s", info.name);
	if (mkdir(own.dir, 0755))
		SKIP(return, "no NPU of the modules' own");
	EXPECT_EQ(0, set(&own, "size", "64K"));
	EXPECT_EQ(-EEXIST, set(&own, "online", "1"));
	EXPECT_EQ(0, get(&own, "online"));
	EXPECT_EQ(0, rmdir(own.dir));
}

TEST_F(config, rmdir_takes_it_out)
{
	struct drm_npool_bo_create bo;
	struct accel_npu_info info;
	int fd = node_open();
	uint32_t id;

	ASSERT_EQ(0, set(self, "size", "64K"));
	ASSERT_EQ(0, set(self, "online", "1"));
	id = get(self, "id");
	bo = bo_new(fd, id, KIB(64));
	ASSERT_EQ(0, rmdir(self->dir));
	ASSERT_TRUE(npu_find(self->p.dev, id, &info));
	EXPECT_EQ(ACCEL_NPU_DEAD, info.state);
	bo_close(fd, bo.handle);
	EXPECT_FALSE(npu_find(self->p.dev, id, &info));
	close(fd);
}

static uint64_t available(void)
{
	FILE *file = fopen("/proc/meminfo", "r");
	unsigned long long kib = 0;
	char line[128];

	must(file);
	while (fgets(line, sizeof(line), file) && !sscanf(line, "MemAvailable: %llu", &kib))
		;
	fclose(file);
	must(kib);
	return KIB(kib);
}

/* A leak checker knows nothing of pages: what four rounds of a leak take is out of the ordinary. */
TEST_F(config, memory_goes_back_to_the_system)
{
	uint64_t before = available();
	unsigned int i;

	ASSERT_EQ(0, set(self, "size", "128M"));
	for (i = 0; i < 4; i++) {
		ASSERT_EQ(0, set(self, "online", "1"));
		ASSERT_EQ(0, set(self, "online", "0"));
	}
	EXPECT_TRUE(eventually(available() + MIB(256) > before));
}

TEST_F(config, files_start_with_the_default_quota)
{
	struct drm_npool_bo_create bo;
	int fd;

	ASSERT_EQ(0, put(QUOTA, "65536"));
	fd = node_open();
	ASSERT_EQ(0, put(QUOTA, "0"));
	EXPECT_EQ(-EDQUOT, bo_try(fd, self->p.npu[0], KIB(68), &bo));
	EXPECT_EQ(0, bo_try(fd, self->p.npu[0], KIB(64), &bo));
	EXPECT_EQ(-EDQUOT, bo_try(fd, self->p.npu[0], KIB(4), &bo));
	close(fd);
	fd = node_open();
	EXPECT_EQ(0, bo_try(fd, self->p.npu[0], MIB(1), &bo));
	close(fd);
}

/* The best may refuse after it was chosen: then another is asked. */
TEST_F(config, any_goes_on_to_the_next_best)
{
	uint32_t *npus = self->p.npu;
	struct drm_npool_bo_create bo = { .size = KIB(64), .npus = (uintptr_t)npus,
					  .npu_count = 2, .placement = DRM_NPOOL_PLACE_ANY };
	int fd = node_open();

	bo_new(fd, npus[1], KIB(4));
	ASSERT_EQ(0, accel_npu_inject(self->p.dev, npus[0], ACCEL_FAULT_ALLOC, 2));
	ASSERT_EQ(0, call(fd, DRM_IOCTL_NPOOL_BO_CREATE, &bo));
	EXPECT_EQ(OWN_BYTES, npu_free(self->p.dev, npus[0]));
	EXPECT_EQ(OWN_BYTES - KIB(68), npu_free(self->p.dev, npus[1]));
	ASSERT_EQ(0, accel_npu_inject(self->p.dev, npus[1], ACCEL_FAULT_ALLOC, 1));
	EXPECT_EQ(-ENOSPC, call(fd, DRM_IOCTL_NPOOL_BO_CREATE, &bo));
	close(fd);
}

TEST_HARNESS_MAIN
