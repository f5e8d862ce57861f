// SPDX-License-Identifier: MIT
/* The arithmetic of the collectives in plain C: what the vectors must agree with. */
#include "simd_math.h"

/* Adding it leaves the nearest integer, ties to even, in a float's lowest bits. */
#define ROUNDER 12582912.0f

static float wide(uint16_t x)
{
	return f32_of((uint32_t)x << 16);
}

static uint16_t narrow(float x)
{
	uint32_t bits = f32_bits(x);

	if ((bits & F32_MAGNITUDE) > F32_INFINITY)
		return (bits | F32_QUIET) >> 16;
	return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

static int8_t quantised(float x, float inverse)
{
	return (int8_t)f32_bits(x * inverse + ROUNDER);
}

static float quant_bf16(int8_t *out, const uint16_t *in, uint32_t n)
{
	uint32_t largest = 0;
	float scale, inverse;

	for (uint32_t i = 0; i < n; i++)
		if ((in[i] & BF16_MAGNITUDE) > largest)
			largest = in[i] & BF16_MAGNITUDE;
	if (!scale_of(largest << 16, &scale, &inverse))
		memset(out, 0, n);
	else
		for (uint32_t i = 0; i < n; i++)
			out[i] = quantised(wide(in[i]), inverse);
	return scale;
}

static float quant_f32(int8_t *out, const float *in, uint32_t n)
{
	uint32_t largest = 0;
	float scale, inverse;

	for (uint32_t i = 0; i < n; i++)
		if ((f32_bits(in[i]) & F32_MAGNITUDE) > largest)
			largest = f32_bits(in[i]) & F32_MAGNITUDE;
	if (!scale_of(largest, &scale, &inverse))
		memset(out, 0, n);
	else
		for (uint32_t i = 0; i < n; i++)
			out[i] = quantised(in[i], inverse);
	return scale;
}

static void f32_to_bf16(uint16_t *out, const float *in, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		out[i] = narrow(in[i]);
}

static void bf16_to_f32(float *out, const uint16_t *in, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		out[i] = wide(in[i]);
}

static void put(void *out, bool out_bf16, uint32_t i, float x)
{
	if (out_bf16)
		((uint16_t *)out)[i] = narrow(x);
	else
		((float *)out)[i] = x;
}

static void sum_bf16(void *out, bool out_bf16, const uint16_t *const *rows, const float *weights,
		     uint32_t count, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		float sum = 0.0f;

		for (uint32_t row = 0; row < count; row++)
			sum += weights[row] * wide(rows[row][i]);
		put(out, out_bf16, i, sum);
	}
}

static void sum_f32(void *out, bool out_bf16, const float *const *rows, const float *weights,
		    uint32_t count, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		float sum = 0.0f;

		for (uint32_t row = 0; row < count; row++)
			sum += weights[row] * rows[row][i];
		put(out, out_bf16, i, sum);
	}
}

static void stream(void *dst, const void *src, size_t bytes)
{
	memcpy(dst, src, bytes);
}

const struct ep_simd ep_simd_scalar = {
	.name = "scalar",
	.quant_bf16 = quant_bf16,
	.quant_f32 = quant_f32,
	.f32_to_bf16 = f32_to_bf16,
	.bf16_to_f32 = bf16_to_f32,
	.sum_bf16 = sum_bf16,
	.sum_f32 = sum_f32,
	.stream = stream,
	.copy = copy_cached,
};
