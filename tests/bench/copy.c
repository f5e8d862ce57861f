// SPDX-License-Identifier: MIT
/*
 * accel_memcpy() and, on a soft pool, accel_copy() against the better of
 * memcpy() and a plain non-temporal loop, over the same memory.
 *
 * Cold: pieces of two areas much larger than any cache. Contenders take turns of
 * many pieces and only the later half of a turn counts, because a cached copy
 * leaves dirty lines that whoever comes next would pay for. Hot: the same piece
 * over and over.
 */
#include <immintrin.h>

#include <accel/queue.h>

#include "bench.h"

#define AREA MIB(512)
/* More than twice the largest last-level cache in sight. */
#define TURN MIB(128)
#define TURNS 24
#define HOT_TURN 12
#define TARGET 0.9

struct areas {
	struct accel_dev *dev;
	struct accel_buffer *to_buffer, *from_buffer;
	char *to, *from;
	uint64_t next;		/* where the next cold copy starts */
};

static void stream_sse2(char *dst, const char *src, size_t size)
{
	for (; size; dst += 64, src += 64, size -= 64)
		for (int i = 0; i < 64; i += 16)
			_mm_stream_si128((__m128i *)(dst + i),
					 _mm_loadu_si128((const __m128i *)(src + i)));
	_mm_sfence();
}

__attribute__((target("avx512f")))
static void stream_avx512(char *dst, const char *src, size_t size)
{
	for (; size; dst += 256, src += 256, size -= 256) {
		__m512i a = _mm512_loadu_si512(src), b = _mm512_loadu_si512(src + 64);
		__m512i c = _mm512_loadu_si512(src + 128), d = _mm512_loadu_si512(src + 192);

		_mm512_stream_si512((void *)dst, a);
		_mm512_stream_si512((void *)(dst + 64), b);
		_mm512_stream_si512((void *)(dst + 128), c);
		_mm512_stream_si512((void *)(dst + 192), d);
	}
	_mm_sfence();
}

static void by_memcpy(struct areas *a, uint64_t offset, uint64_t size)
{
	memcpy(a->to + offset, a->from + offset, size);
}

static void by_stream(struct areas *a, uint64_t offset, uint64_t size)
{
	if (__builtin_cpu_supports("avx512f"))
		stream_avx512(a->to + offset, a->from + offset, size);
	else
		stream_sse2(a->to + offset, a->from + offset, size);
}

static void by_accel_memcpy(struct areas *a, uint64_t offset, uint64_t size)
{
	accel_memcpy(a->to + offset, a->from + offset, size, 0);
}

static void by_accel_memcpy_read(struct areas *a, uint64_t offset, uint64_t size)
{
	accel_memcpy(a->to + offset, a->from + offset, size, ACCEL_COPY_WILL_READ);
}

static void by_accel_copy(struct areas *a, uint64_t offset, uint64_t size)
{
	check(accel_copy(a->to_buffer, offset, a->from_buffer, offset, size, 0));
}

static void by_accel_copy_read(struct areas *a, uint64_t offset, uint64_t size)
{
	check(accel_copy(a->to_buffer, offset, a->from_buffer, offset, size,
			 ACCEL_COPY_WILL_READ));
}

enum { MEMCPY, STREAM, ACCEL_MEMCPY, ACCEL_MEMCPY_READ, ACCEL_COPY, ACCEL_COPY_READ, CONTENDERS };

static void (*const contender[CONTENDERS])(struct areas *, uint64_t, uint64_t) = {
	[MEMCPY] = by_memcpy,
	[STREAM] = by_stream,
	[ACCEL_MEMCPY] = by_accel_memcpy,
	[ACCEL_MEMCPY_READ] = by_accel_memcpy_read,
	[ACCEL_COPY] = by_accel_copy,
	[ACCEL_COPY_READ] = by_accel_copy_read,
};

static double timed(struct areas *a, int who, uint64_t offset, uint64_t size)
{
	uint64_t start = now_ns();

	contender[who](a, offset, size);
	return now_ns() - start;
}

static void cold_turn(struct areas *a, int who, uint64_t size, struct samples *out)
{
	for (uint64_t done = 0; done < TURN; done += size, a->next = (a->next + size) % AREA) {
		double ns = timed(a, who, a->next, size);

		if (done >= TURN / 2)
			sample(out, ns);
	}
}

static void measure_cold(struct areas *a, uint64_t size, struct samples *out)
{
	/* There and back, so that nobody always comes after the same other. */
	for (int turn = 0; turn < TURNS; turn++)
		for (int i = 0; i < CONTENDERS; i++) {
			int who = turn % 2 ? CONTENDERS - 1 - i : i;

			cold_turn(a, who, size, &out[who]);
		}
}

static void measure_hot(struct areas *a, uint64_t size, struct samples *out)
{
	int turns = size > MIB(1) ? TURNS / 4 : 10 * TURNS;

	for (int turn = 0; turn < turns; turn++)
		for (int who = 0; who < CONTENDERS; who++)
			for (int i = 0; i < HOT_TURN; i++) {
				double ns = timed(a, who, 0, size);

				if (i >= HOT_TURN / 2)
					sample(&out[who], ns);
			}
}

static void print(const char *what, uint64_t size, const char *heat, struct samples *s, int who,
		  double target)
{
	bool stream = quantile(&s[STREAM], 0.5) < quantile(&s[MEMCPY], 0.5);
	char name[64];
	struct row row = {
		.group = "copy",
		.what = name,
		.peer_name = stream ? "non-temporal" : "memcpy",
		.ours = &s[who],
		.peer = &s[stream ? STREAM : MEMCPY],
		.bytes = size,
		.min_ratio = target,
	};

	if (size < MIB(1))
		snprintf(name, sizeof(name), "%s %u KiB %s", what, (unsigned int)(size >> 10), heat);
	else
		snprintf(name, sizeof(name), "%s %u MiB %s", what, (unsigned int)(size >> 20), heat);
	row_print(&row);
}

static void run_size(struct areas *a, uint64_t size)
{
	struct samples cold[CONTENDERS] = { 0 }, hot[CONTENDERS] = { 0 };

	measure_cold(a, size, cold);
	print("accel_memcpy", size, "cold", cold, ACCEL_MEMCPY, TARGET);
	print("accel_copy", size, "cold", cold, ACCEL_COPY, TARGET);
	measure_hot(a, size, hot);
	/* Who copies hot data has a use for it: the hint is part of the case. */
	print("accel_memcpy", size, "hot, to be read", hot, ACCEL_MEMCPY_READ, TARGET);
	print("accel_copy", size, "hot, to be read", hot, ACCEL_COPY_READ, TARGET);
	print("accel_memcpy", size, "hot, no hint", hot, ACCEL_MEMCPY, 0);
	print("accel_copy", size, "hot, no hint", hot, ACCEL_COPY, 0);
	for (int who = 0; who < CONTENDERS; who++) {
		samples_free(&cold[who]);
		samples_free(&hot[who]);
	}
}

static struct accel_buffer *area(struct accel_dev *dev, char **ptr, int fill)
{
	struct accel_buffer *buffer;
	void *map;

	check(accel_buffer_create(dev, AREA, NULL, &buffer));
	check(accel_buffer_map(buffer, ACCEL_MAP_POPULATE, &map));
	memset(map, fill, AREA);
	*ptr = map;
	return buffer;
}

int main(int argc, char **argv)
{
	static const uint64_t sizes[] = { KIB(64), MIB(1), MIB(64) };
	struct areas a = { 0 };
	char uri[64];

	bench_begin(argc, argv, "Copies in a soft pool");
	snprintf(uri, sizeof(uri), "soft:bench-copy-%d?npus=2&size=600M", (int)getpid());
	check(accel_open(uri, &a.dev));
	a.to_buffer = area(a.dev, &a.to, 1);
	a.from_buffer = area(a.dev, &a.from, 2);
	/* First touch is dear, and each contender may have mappings of its own. */
	for (int who = 0; who < CONTENDERS; who++)
		contender[who](&a, 0, AREA);
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
		run_size(&a, sizes[i]);
	accel_buffer_unmap(a.dev, a.to, AREA);
	accel_buffer_unmap(a.dev, a.from, AREA);
	accel_buffer_close(a.to_buffer);
	accel_buffer_close(a.from_buffer);
	accel_close(a.dev);
	return 0;
}
