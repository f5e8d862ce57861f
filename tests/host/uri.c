// SPDX-License-Identifier: MIT
/* Addresses of soft pools: what is understood, what is refused, what NULL takes. */
#include "pool.h"

static struct accel_pool_info info_of(const char *uri)
{
	struct accel_pool_info info = { 0 };
	struct accel_dev *dev;

	if (accel_open(uri, &dev))
		return info;
	accel_pool_info(dev, &info);
	accel_close(dev);
	return info;
}

/* Names that no other run of this test uses. */
static const char *with(const char *options)
{
	static char uri[ACCEL_URI_MAX];

	snprintf(uri, sizeof(uri), "soft:uri-%d%s", (int)getpid(), options);
	return uri;
}

TEST(options_shape_the_pool)
{
	struct accel_pool_info info = info_of(with(""));

	EXPECT_EQ(4, info.npu_count);
	EXPECT_EQ(4ull << 30, info.bytes_total);
	info = info_of(with("?npus=7&size=12288"));
	EXPECT_EQ(7, info.npu_count);
	EXPECT_EQ(7 * 12288, info.bytes_total);
	EXPECT_EQ(4096, info.min_alloc);
	info = info_of(with("?size=2T&npus=384"));
	EXPECT_EQ(384, info.npu_count);
	EXPECT_EQ(384ull * 2 << 40, info.bytes_total);
	EXPECT_EQ(512, info.max_npus);
	EXPECT_EQ(64ull << 10, info_of(with("?size=64K&npus=1")).bytes_total);
	EXPECT_EQ(512, info_of(with("?npus=512&size=1M")).npu_count);
}

TEST(options_count_only_for_the_first)
{
	struct accel_dev *first, *second;
	struct accel_pool_info info;

	ASSERT_EQ(0, accel_open(with("?npus=2&size=1M"), &first));
	ASSERT_EQ(0, accel_open(with("?npus=9&size=8M"), &second));
	ASSERT_EQ(0, accel_pool_info(second, &info));
	EXPECT_EQ(2, info.npu_count);
	EXPECT_EQ(2ull << 20, info.bytes_total);
	accel_close(first);
	accel_close(second);
}

TEST(names)
{
	static const char *const good[] = { "a", "A-b_c.d", "9", "x" };
	static const char *const bad[] = {
		"soft:.", "soft:-a", "soft:a?", "soft:a?npus", "soft:a?npus=513", "soft:a?size=4097",
		"soft:a?npus=1&", "soft:a?npus=1&&size=1M", "soft:a?npus=1 ", "soft:a?npus=0x10",
		"soft:a?size=1MB", "soft:a?size=M", "soft:a?size=+1M", "soft:a\n", "soft:a?b=c",
		"soft:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		"soft:a?size=8388608T", "soft:a?npus=4294967297", "softx:a", "sof:a",
	};
	struct accel_dev *dev = (void *)1;
	char uri[ACCEL_URI_MAX];
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(good); i++) {
		snprintf(uri, sizeof(uri), "soft:%s%d", good[i], (int)getpid());
		ASSERT_EQ(0, accel_open(uri, &dev));
		EXPECT_STREQ(uri, accel_uri(dev));
		accel_close(dev);
	}
	dev = (void *)1;
	for (i = 0; i < ARRAY_LEN(bad); i++) {
		ASSERT_EQ(-EINVAL, accel_open(bad[i], &dev))
			TH_LOG("bad address %u", i);
	}
	EXPECT_EQ((void *)1, dev);
	EXPECT_EQ(-EINVAL, accel_open("soft:a", NULL));
}

TEST(null_takes_what_is_there)
{
	struct accel_dev *dev;
	bool driver;

	ASSERT_EQ(0, accel_open(NULL, &dev));
	driver = !strncmp(accel_uri(dev), "drm:/dev/accel/accel", 20);
	EXPECT_TRUE(driver || !strcmp(accel_uri(dev), "soft:default"))
		TH_LOG("%s", accel_uri(dev));
	accel_close(dev);
}

TEST(version)
{
	EXPECT_STREQ(ACCEL_VERSION, accel_version());
}

TEST_HARNESS_MAIN
