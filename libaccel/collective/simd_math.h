/* SPDX-License-Identifier: MIT */
/*
 * What the implementations of simd.h share. To be included first: intrinsics for a
 * product and a sum are plain operators to gcc, which makes one fused instruction of
 * them, rounded once, unless told not to.
 */
#ifndef EP_SIMD_MATH_H
#define EP_SIMD_MATH_H

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#else
#pragma GCC optimize("fp-contract=off")
#endif

#include <float.h>
#include <math.h>
#include <string.h>

#include "memcpy.h"
#include "simd.h"

#define F32_MAGNITUDE	0x7fffffffu
#define F32_INFINITY	0x7f800000u
#define F32_QUIET	0x00400000u
#define BF16_MAGNITUDE	0x7fffu
#define INT8_TOP	127.0f

static inline float f32_of(uint32_t bits)
{
	float x;

	memcpy(&x, &bits, sizeof(x));
	return x;
}

static inline uint32_t f32_bits(float x)
{
	uint32_t bits;

	memcpy(&bits, &x, sizeof(bits));
	return bits;
}

/* Of a row whose largest magnitude has these bits; false: its integers are all 0. */
static inline bool scale_of(uint32_t largest, float *scale, float *inverse)
{
	if (!largest || largest >= F32_INFINITY) {
		*scale = largest ? NAN : 0.0f;
		return false;
	}
	*scale = f32_of(largest) / INT8_TOP;
	if (*scale < FLT_MIN)
		*scale = FLT_MIN;
	*inverse = 1.0f / *scale;
	return true;
}

extern const struct ep_simd ep_simd_scalar;
#ifdef __x86_64__
extern const struct ep_simd ep_simd_avx2, ep_simd_avx512;
#endif

#endif
