/* SPDX-License-Identifier: MIT */
/*
 * The arithmetic of the collectives, by whatever vectors this CPU has. Each
 * implementation gives the same bits, whatever its compiler: a product and a sum
 * are rounded apart, always (only which NaN comes out is left open).
 *
 * Quantising: scale = max|x| / 127, but no less than the smallest normal number so
 * that its inverse is finite, and integer = x * (1 / scale) rounded to nearest, ties
 * to even; off by half a scale at most. All zero: scale 0. An element that is not
 * finite: scale NaN and integers 0.
 *
 * A number of elements is a multiple of ACCEL_EP_HIDDEN_UNIT everywhere. A pointer has
 * the alignment of its elements, or what is told.
 */
#ifndef EP_SIMD_H
#define EP_SIMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ep_simd {
	const char *name;

	/* Return the scale. */
	float (*quant_bf16)(int8_t *out, const uint16_t *in, uint32_t n);
	float (*quant_f32)(int8_t *out, const float *in, uint32_t n);

	/* To nearest, ties to even; a NaN becomes a quiet one. */
	void (*f32_to_bf16)(uint16_t *out, const float *in, uint32_t n);
	void (*bf16_to_f32)(float *out, const uint16_t *in, uint32_t n);

	/* Of weight * row in the order of rows, from +0.0; @out is FP32 or BF16. */
	void (*sum_bf16)(void *out, bool out_bf16, const uint16_t *const *rows,
			 const float *weights, uint32_t count, uint32_t n);
	void (*sum_f32)(void *out, bool out_bf16, const float *const *rows,
			const float *weights, uint32_t count, uint32_t n);

	/* Past the cache: @dst is aligned to 64, @bytes a multiple of it, ep_fence() after. */
	void (*stream)(void *dst, const void *src, size_t bytes);
	void (*copy)(void *dst, const void *src, size_t bytes);
};

/* The best that this CPU can run. */
const struct ep_simd *ep_simd(void);

/* All that it can run, for tests; the first is the scalar one. */
const struct ep_simd *const *ep_simd_all(uint32_t *count);

/* What was streamed is seen before what is stored after. */
void ep_fence(void);

#endif
