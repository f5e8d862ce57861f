// SPDX-License-Identifier: MIT
/* The arithmetic of the collectives by AVX2, in the manner of simd_avx512.c. */
#include "simd_math.h"

#ifdef __x86_64__
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2")))
#define ODD 0xaa		/* of 8 elements, in each half of a vector */
#define IN_ORDER 0xd8		/* quarters that were packed by halves */
#define STEP 16			/* elements */

AVX2 static inline __m256i load(const void *at)
{
	return _mm256_loadu_si256(at);
}

AVX2 static inline __m256 even(__m256i x)
{
	return _mm256_castsi256_ps(_mm256_slli_epi32(x, 16));
}

AVX2 static inline __m256 odd(__m256i x)
{
	return _mm256_castsi256_ps(_mm256_and_si256(x, _mm256_set1_epi32(~0xffff)));
}

/* As BF16 in the upper half of each element. */
AVX2 static inline __m256i narrow(__m256 x)
{
	const __m256i quiet = _mm256_set1_epi32(F32_QUIET), one = _mm256_set1_epi32(1);
	__m256i bits = _mm256_castps_si256(x);
	__m256i half = _mm256_add_epi32(_mm256_and_si256(_mm256_srli_epi32(bits, 16), one),
					_mm256_set1_epi32(0x7fff));
	__m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));

	return _mm256_blendv_epi8(_mm256_add_epi32(bits, half), _mm256_or_si256(bits, quiet), nan);
}

AVX2 static inline void put_bf16(void *out, __m256 evens, __m256 odds)
{
	__m256i low = _mm256_srli_epi32(narrow(evens), 16);

	_mm256_storeu_si256(out, _mm256_blend_epi16(low, narrow(odds), ODD));
}

AVX2 static inline void put_f32(float *out, __m256 evens, __m256 odds)
{
	__m256 low = _mm256_unpacklo_ps(evens, odds), high = _mm256_unpackhi_ps(evens, odds);

	_mm256_storeu_ps(out, _mm256_permute2f128_ps(low, high, 0x20));
	_mm256_storeu_ps(out + 8, _mm256_permute2f128_ps(low, high, 0x31));
}

/* Of FP32 in their order. */
AVX2 static inline void put_narrow(void *out, __m256 first, __m256 second)
{
	__m256i words = _mm256_packus_epi32(_mm256_srli_epi32(narrow(first), 16),
					    _mm256_srli_epi32(narrow(second), 16));

	_mm256_storeu_si256(out, _mm256_permute4x64_epi64(words, IN_ORDER));
}

AVX2 static inline __m256i quantised(__m256 x, __m256 inverse)
{
	return _mm256_cvtps_epi32(_mm256_mul_ps(x, inverse));
}

AVX2 static inline void put_bytes(int8_t *out, __m256i first, __m256i second)
{
	__m256i bytes = _mm256_packs_epi16(first, second);

	_mm256_storeu_si256((void *)out, _mm256_permute4x64_epi64(bytes, IN_ORDER));
}

AVX2 static inline __m256 add(__m256 sum, __m256 weight, __m256 x)
{
	return _mm256_add_ps(sum, _mm256_mul_ps(weight, x));
}

AVX2 static uint32_t largest_of(__m256i max)
{
	uint32_t each[8], largest = 0;

	_mm256_storeu_si256((void *)each, max);
	for (int i = 0; i < 8; i++)
		if (each[i] > largest)
			largest = each[i];
	return largest;
}

AVX2 static uint32_t largest_bf16(const uint16_t *in, uint32_t n)
{
	const __m256i mask = _mm256_set1_epi16(BF16_MAGNITUDE);
	__m256i max = _mm256_setzero_si256();

	for (uint32_t i = 0; i < n; i += STEP)
		max = _mm256_max_epu16(max, _mm256_and_si256(load(in + i), mask));
	max = _mm256_max_epu16(max, _mm256_slli_epi32(max, 16));
	return largest_of(max) & 0xffff0000;
}

AVX2 static inline __m256i words_of(__m256i x, __m256 by)
{
	__m256i high = _mm256_slli_epi32(quantised(odd(x), by), 16);

	return _mm256_blend_epi16(quantised(even(x), by), high, ODD);
}

AVX2 static float quant_bf16(int8_t *out, const uint16_t *in, uint32_t n)
{
	float scale, inverse;
	__m256 by;

	if (!scale_of(largest_bf16(in, n), &scale, &inverse)) {
		memset(out, 0, n);
		return scale;
	}
	by = _mm256_set1_ps(inverse);
	for (uint32_t i = 0; i < n; i += 2 * STEP)
		put_bytes(out + i, words_of(load(in + i), by), words_of(load(in + i + STEP), by));
	return scale;
}

AVX2 static uint32_t largest_f32(const float *in, uint32_t n)
{
	const __m256i mask = _mm256_set1_epi32(F32_MAGNITUDE);
	__m256i max = _mm256_setzero_si256();

	for (uint32_t i = 0; i < n; i += 8)
		max = _mm256_max_epu32(max, _mm256_and_si256(load(in + i), mask));
	return largest_of(max);
}

/* 16 elements as words, in the order that put_bytes() undoes when they are packed. */
AVX2 static inline __m256i words_of_f32(const float *in, __m256 by)
{
	__m256i words = _mm256_packs_epi32(quantised(_mm256_loadu_ps(in), by),
					   quantised(_mm256_loadu_ps(in + 8), by));

	return _mm256_permute4x64_epi64(words, IN_ORDER);
}

AVX2 static float quant_f32(int8_t *out, const float *in, uint32_t n)
{
	float scale, inverse;
	__m256 by;

	if (!scale_of(largest_f32(in, n), &scale, &inverse)) {
		memset(out, 0, n);
		return scale;
	}
	by = _mm256_set1_ps(inverse);
	for (uint32_t i = 0; i < n; i += 2 * STEP)
		put_bytes(out + i, words_of_f32(in + i, by), words_of_f32(in + i + STEP, by));
	return scale;
}

AVX2 static void f32_to_bf16(uint16_t *out, const float *in, uint32_t n)
{
	for (uint32_t i = 0; i < n; i += STEP)
		put_narrow(out + i, _mm256_loadu_ps(in + i), _mm256_loadu_ps(in + i + 8));
}

AVX2 static void bf16_to_f32(float *out, const uint16_t *in, uint32_t n)
{
	for (uint32_t i = 0; i < n; i += STEP) {
		__m256i x = load(in + i);

		put_f32(out + i, even(x), odd(x));
	}
}

AVX2 static void sum_bf16(void *out, bool out_bf16, const uint16_t *const *rows,
			  const float *weights, uint32_t count, uint32_t n)
{
	for (uint32_t i = 0; i < n; i += STEP) {
		__m256 evens = _mm256_setzero_ps(), odds = _mm256_setzero_ps();

		for (uint32_t row = 0; row < count; row++) {
			__m256 by = _mm256_set1_ps(weights[row]);
			__m256i x = load(rows[row] + i);

			evens = add(evens, by, even(x));
			odds = add(odds, by, odd(x));
		}
		if (out_bf16)
			put_bf16((uint16_t *)out + i, evens, odds);
		else
			put_f32((float *)out + i, evens, odds);
	}
}

AVX2 static void sum_f32(void *out, bool out_bf16, const float *const *rows,
			 const float *weights, uint32_t count, uint32_t n)
{
	for (uint32_t i = 0; i < n; i += STEP) {
		__m256 first = _mm256_setzero_ps(), second = _mm256_setzero_ps();

		for (uint32_t row = 0; row < count; row++) {
			__m256 by = _mm256_set1_ps(weights[row]);

			first = add(first, by, _mm256_loadu_ps(rows[row] + i));
			second = add(second, by, _mm256_loadu_ps(rows[row] + i + 8));
		}
		if (out_bf16) {
			put_narrow((uint16_t *)out + i, first, second);
		} else {
			_mm256_storeu_ps((float *)out + i, first);
			_mm256_storeu_ps((float *)out + i + 8, second);
		}
	}
}

AVX2 static void stream(void *dst, const void *src, size_t bytes)
{
	for (size_t at = 0; at < bytes; at += 32)
		_mm256_stream_si256((void *)((char *)dst + at), load((const char *)src + at));
}

const struct ep_simd ep_simd_avx2 = {
	.name = "avx2",
	.quant_bf16 = quant_bf16,
	.quant_f32 = quant_f32,
	.f32_to_bf16 = f32_to_bf16,
	.bf16_to_f32 = bf16_to_f32,
	.sum_bf16 = sum_bf16,
	.sum_f32 = sum_f32,
	.stream = stream,
	.copy = copy_cached,
};
#endif
