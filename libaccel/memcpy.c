// SPDX-License-Identifier: MIT
/*
 * Copies by this CPU. Stores that bypass the cache double the speed of large
 * copies of cold data and lose on data that is in the cache or will be read
 * soon, so they are chosen by size and by what the caller says.
 */
#include <stdbool.h>
#include <string.h>

#include "memcpy.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

/* A cache line: the unit in which write-combining buffers drain. */
#define LINE 64
/* CPUID 7.0 EBX: enhanced REP MOVSB, which gcc 12's cpuid.h has no name for. */
#define CPUID_ERMS (1u << 9)

__attribute__((target("avx512f")))
static void stream_avx512(char *dst, const char *src, size_t size)
{
	for (; size >= 4 * LINE; size -= 4 * LINE, dst += 4 * LINE, src += 4 * LINE) {
		__m512i a = _mm512_loadu_si512(src);
		__m512i b = _mm512_loadu_si512(src + LINE);
		__m512i c = _mm512_loadu_si512(src + 2 * LINE);
		__m512i d = _mm512_loadu_si512(src + 3 * LINE);

		_mm512_stream_si512((void *)dst, a);
		_mm512_stream_si512((void *)(dst + LINE), b);
		_mm512_stream_si512((void *)(dst + 2 * LINE), c);
		_mm512_stream_si512((void *)(dst + 3 * LINE), d);
	}
	for (; size; size -= LINE, dst += LINE, src += LINE)
		_mm512_stream_si512((void *)dst, _mm512_loadu_si512(src));
}

__attribute__((target("avx2")))
static void stream_avx2(char *dst, const char *src, size_t size)
{
	for (; size; size -= LINE, dst += LINE, src += LINE) {
		__m256i a = _mm256_loadu_si256((const void *)src);
		__m256i b = _mm256_loadu_si256((const void *)(src + LINE / 2));

		_mm256_stream_si256((void *)dst, a);
		_mm256_stream_si256((void *)(dst + LINE / 2), b);
	}
}

static void stream_sse2(char *dst, const char *src, size_t size)
{
	for (; size; size -= 16, dst += 16, src += 16)
		_mm_stream_si128((void *)dst, _mm_loadu_si128((const void *)src));
}

/* Whole lines, the destination aligned to one. */
static void stream_lines(char *dst, const char *src, size_t size)
{
	if (__builtin_cpu_supports("avx512f"))
		stream_avx512(dst, src, size);
	else if (__builtin_cpu_supports("avx2"))
		stream_avx2(dst, src, size);
	else
		stream_sse2(dst, src, size);
}

void copy_stream(void *dst, const void *src, size_t size)
{
	char *to = dst;
	const char *from = src;
	size_t head = -(uintptr_t)to % LINE, body;

	if (size < head + LINE) {
		memcpy(dst, src, size);
		return;
	}
	memcpy(to, from, head);
	body = (size - head) & ~(size_t)(LINE - 1);
	stream_lines(to + head, from + head, body);
	memcpy(to + head + body, from + head + body, size - head - body);
	/* Weakly ordered stores must not be overtaken by the flag that announces them. */
	_mm_sfence();
}

/* Asked for once, as a virtual machine traps it; each thread finds the same. */
static bool has_fast_movsb(void)
{
	enum { UNKNOWN, NO, YES };
	static int answer;
	int known = __atomic_load_n(&answer, __ATOMIC_RELAXED);
	unsigned int a, b, c, d;

	if (known == UNKNOWN) {
		known = __get_cpuid_count(7, 0, &a, &b, &c, &d) && b & CPUID_ERMS ? YES : NO;
		__atomic_store_n(&answer, known, __ATOMIC_RELAXED);
	}
	return known == YES;
}

/* The instruction need not read the lines that it overwrites, as a loop of stores must. */
void copy_cached(void *dst, const void *src, size_t size)
{
	if (size < COPY_MOVSB_MIN || !has_fast_movsb())
		memcpy(dst, src, size);
	else
		asm volatile("rep movsb" : "+D"(dst), "+S"(src), "+c"(size) : : "memory");
}
#else
void copy_stream(void *dst, const void *src, size_t size)
{
	memcpy(dst, src, size);
}

void copy_cached(void *dst, const void *src, size_t size)
{
	memcpy(dst, src, size);
}
#endif

bool copy_should_stream(size_t size, uint32_t flags)
{
	if (flags & ACCEL_COPY_WILL_READ)
		return size >= COPY_CACHE_MAX;
	return size >= COPY_STREAM_MIN;
}

void accel_memcpy(void *dst, const void *src, size_t size, uint32_t flags)
{
	if (copy_should_stream(size, flags))
		copy_stream(dst, src, size);
	else
		copy_cached(dst, src, size);
}
