// SPDX-License-Identifier: MIT
/* Which implementation of simd.h this CPU gets. */
#include "simd_math.h"

#ifdef __x86_64__
#include <immintrin.h>

static const struct ep_simd *const all[] = { &ep_simd_scalar, &ep_simd_avx2, &ep_simd_avx512 };

const struct ep_simd *const *ep_simd_all(uint32_t *count)
{
	*count = 1;
	if (__builtin_cpu_supports("avx2"))
		*count = 2;
	if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw"))
		*count = 3;
	return all;
}

void ep_fence(void)
{
	_mm_sfence();
}
#else
static const struct ep_simd *const all[] = { &ep_simd_scalar };

const struct ep_simd *const *ep_simd_all(uint32_t *count)
{
	*count = 1;
	return all;
}

void ep_fence(void)
{
	__atomic_thread_fence(__ATOMIC_RELEASE);
}
#endif

const struct ep_simd *ep_simd(void)
{
	uint32_t count;
	const struct ep_simd *const *best = ep_simd_all(&count);

	return best[count - 1];
}
