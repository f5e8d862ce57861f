// SPDX-License-Identifier: MIT
/* accel_memcpy() and its streaming routine, byte for byte, at every edge. */
#include <stdlib.h>
#include <string.h>

#include <accel/queue.h>

#include "harness.h"
#include "memcpy.h"

#define ROOM (3u << 20)
#define GUARD 256u

static unsigned char *source, *target, *expected;

static void prepare(void)
{
	unsigned int value = 12345;

	source = aligned_alloc(64, ROOM + 2 * GUARD);
	target = aligned_alloc(64, ROOM + 2 * GUARD);
	expected = aligned_alloc(64, ROOM + 2 * GUARD);
	for (size_t i = 0; i < ROOM + 2 * GUARD; i++) {
		value = value * 1103515245 + 12345;
		source[i] = value >> 16;
	}
}

/* Also that nothing before or behind is touched. */
static bool same(void (*copy)(void *, const void *, size_t), size_t to, size_t from, size_t size)
{
	size_t whole = size + 2 * GUARD;

	memset(target, 0xa5, whole);
	memset(expected, 0xa5, whole);
	memcpy(expected + to, source + from, size);
	copy(target + to, source + from, size);
	return !memcmp(target, expected, whole);
}

static void plain(void *dst, const void *src, size_t size)
{
	accel_memcpy(dst, src, size, 0);
}

static void will_read(void *dst, const void *src, size_t size)
{
	accel_memcpy(dst, src, size, ACCEL_COPY_WILL_READ);
}

static void stream(void *dst, const void *src, size_t size)
{
	copy_stream(dst, src, size);
}

static void (*const ways[])(void *, const void *, size_t) = { plain, will_read, stream };

FIXTURE(memcpy)
{
	int unused;
};

FIXTURE_SETUP(memcpy)
{
	prepare();
}

FIXTURE_TEARDOWN(memcpy)
{
	free(source);
	free(target);
	free(expected);
}

static bool check(size_t to, size_t from, size_t size)
{
	for (int way = 0; way < 3; way++)
		if (!same(ways[way], to, from, size)) {
			printf("# way %d, %zu bytes from %zu to %zu\n", way, size, from, to);
			return false;
		}
	return true;
}

TEST_F(memcpy, every_small_size_at_every_alignment)
{
	for (size_t size = 0; size <= 640; size++)
		for (size_t at = 0; at < 64; at++) {
			ASSERT_TRUE(check(at, (at * 7 + size) % 64, size));
		}
}

TEST_F(memcpy, around_every_threshold)
{
	static const size_t sizes[] = {
		4096, 7424, COPY_STREAM_MIN, 64u << 10, 256u << 10, 1u << 20, (2u << 20) + 4096,
	};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		for (int delta = -65; delta <= 65; delta += 13)
			for (size_t at = 0; at < 64; at += 9) {
				ASSERT_TRUE(check(at, 63 - at, sizes[i] + delta));
			}
}

TEST(sizes_choose_the_way)
{
	EXPECT_FALSE(copy_should_stream(COPY_STREAM_MIN - 1, 0));
	EXPECT_TRUE(copy_should_stream(COPY_STREAM_MIN, 0));
	EXPECT_FALSE(copy_should_stream(COPY_CACHE_MAX - 1, ACCEL_COPY_WILL_READ));
	EXPECT_TRUE(copy_should_stream(COPY_CACHE_MAX, ACCEL_COPY_WILL_READ));
}

TEST_HARNESS_MAIN
