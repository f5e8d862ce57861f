// SPDX-License-Identifier: MIT
/*
 * The arithmetic of the collectives by AVX-512. Of a vector of BF16 the even and
 * the odd elements become a vector of FP32 each, which takes no shuffle.
 */
#include "simd_math.h"

#ifdef __x86_64__
#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f,avx512bw")))
#define ODD 0xaaaaaaaau		/* of 32 elements */
#define STEP 32			/* elements */

AVX512 static inline __m512 even(__m512i x)
{
	return _mm512_castsi512_ps(_mm512_slli_epi32(x, 16));
}

AVX512 static inline __m512 odd(__m512i x)
{
	return _mm512_castsi512_ps(_mm512_and_si512(x, _mm512_set1_epi32(~0xffff)));
}

/* As BF16 in the upper half of each element. */
AVX512 static inline __m512i narrow(__m512 x)
{
	const __m512i quiet = _mm512_set1_epi32(F32_QUIET), one = _mm512_set1_epi32(1);
	__m512i bits = _mm512_castps_si512(x);
	__m512i half = _mm512_add_epi32(_mm512_and_si512(_mm512_srli_epi32(bits, 16), one),
					_mm512_set1_epi32(0x7fff));
	__mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);

	return _mm512_mask_or_epi32(_mm512_add_epi32(bits, half), nan, bits, quiet);
}

/* Of elements that are even and odd, all in their order again. */
AVX512 static inline void put_bf16(void *out, __m512 evens, __m512 odds)
{
	__m512i low = _mm512_srli_epi32(narrow(evens), 16);

	_mm512_storeu_si512(out, _mm512_mask_blend_epi16(ODD, low, narrow(odds)));
}

AVX512 static inline void put_f32(float *out, __m512 evens, __m512 odds)
{
	const __m512i lower = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19,
						4, 20, 5, 21, 6, 22, 7, 23);
	const __m512i upper = _mm512_add_epi32(lower, _mm512_set1_epi32(8));

	_mm512_storeu_ps(out, _mm512_permutex2var_ps(evens, lower, odds));
	_mm512_storeu_ps(out + 16, _mm512_permutex2var_ps(evens, upper, odds));
}

AVX512 static inline __m512i quantised(__m512 x, __m512 inverse)
{
	return _mm512_cvtps_epi32(_mm512_mul_ps(x, inverse));
}

AVX512 static inline __m512 add(__m512 sum, __m512 weight, __m512 x)
{
	return _mm512_add_ps(sum, _mm512_mul_ps(weight, x));
}

AVX512 static uint32_t largest_bf16(const uint16_t *in, uint32_t n)
{
	const __m512i mask = _mm512_set1_epi16(BF16_MAGNITUDE);
	__m512i max = _mm512_setzero_si512();

	for (uint32_t i = 0; i < n; i += STEP)
		max = _mm512_max_epu16(max, _mm512_and_si512(_mm512_loadu_si512(in + i), mask));
	max = _mm512_max_epu16(max, _mm512_slli_epi32(max, 16));
	return _mm512_reduce_max_epu32(max) & 0xffff0000;
}

AVX512 static float quant_bf16(int8_t *out, const uint16_t *in, uint32_t n)
{
	float scale, inverse;
	__m512 by;

	if (!scale_of(largest_bf16(in, n), &scale, &inverse)) {
		memset(out, 0, n);
		return scale;
	}
	by = _mm512_set1_ps(inverse);
	for (uint32_t i = 0; i < n; i += STEP) {
		__m512i x = _mm512_loadu_si512(in + i);
		__m512i high = _mm512_slli_epi32(quantised(odd(x), by), 16);
		__m512i words = _mm512_mask_blend_epi16(ODD, quantised(even(x), by), high);

		_mm256_storeu_si256((void *)(out + i), _mm512_cvtepi16_epi8(words));
	}
	return scale;
}

AVX512 static uint32_t largest_f32(const float *in, uint32_t n)
{
	const __m512i mask = _mm512_set1_epi32(F32_MAGNITUDE);
	__m512i max = _mm512_setzero_si512();

	for (uint32_t i = 0; i < n; i += STEP / 2)
		max = _mm512_max_epu32(max, _mm512_and_si512(_mm512_loadu_si512(in + i), mask));
	return _mm512_reduce_max_epu32(max);
}

AVX512 static float quant_f32(int8_t *out, const float *in, uint32_t n)
{
	float scale, inverse;
	__m512 by;

	if (!scale_of(largest_f32(in, n), &scale, &inverse)) {
		memset(out, 0, n);
		return scale;
	}
	by = _mm512_set1_ps(inverse);
	for (uint32_t i = 0; i < n; i += STEP / 2) {
		__m512i x = quantised(_mm512_loadu_ps(in + i), by);

		_mm_storeu_si128((void *)(out + i), _mm512_cvtepi32_epi8(x));
	}
	return scale;
}

AVX512 static void f32_to_bf16(uint16_t *out, const float *in, uint32_t n)
{
	for (uint32_t i = 0; i < n; i += STEP / 2) {
		__m512i x = _mm512_srli_epi32(narrow(_mm512_loadu_ps(in + i)), 16);

		_mm256_storeu_si256((void *)(out + i), _mm512_cvtepi32_epi16(x));
	}
}

AVX512 static void bf16_to_f32(float *out, const uint16_t *in, uint32_t n)
{
	for (uint32_t i = 0; i < n; i += STEP) {
		__m512i x = _mm512_loadu_si512(in + i);

		put_f32(out + i, even(x), odd(x));
	}
}

AVX512 static void sum_bf16(void *out, bool out_bf16, const uint16_t *const *rows,
			    const float *weights, uint32_t count, uint32_t n)
{
	for (uint32_t i = 0; i < n; i += STEP) {
		__m512 evens = _mm512_setzero_ps(), odds = _mm512_setzero_ps();

		for (uint32_t row = 0; row < count; row++) {
			__m512 by = _mm512_set1_ps(weights[row]);
			__m512i x = _mm512_loadu_si512(rows[row] + i);

			evens = add(evens, by, even(x));
			odds = add(odds, by, odd(x));
		}
		if (out_bf16)
			put_bf16((uint16_t *)out + i, evens, odds);
		else
			put_f32((float *)out + i, evens, odds);
	}
}

AVX512 static void sum_f32(void *out, bool out_bf16, const float *const *rows,
			   const float *weights, uint32_t count, uint32_t n)
{
	for (uint32_t i = 0; i < n; i += STEP / 2) {
		__m512 sum = _mm512_setzero_ps();
		__m512i x;

		for (uint32_t row = 0; row < count; row++)
			sum = add(sum, _mm512_set1_ps(weights[row]), _mm512_loadu_ps(rows[row] + i));
		if (!out_bf16) {
			_mm512_storeu_ps((float *)out + i, sum);
			continue;
		}
		x = _mm512_srli_epi32(narrow(sum), 16);
		_mm256_storeu_si256((void *)((uint16_t *)out + i), _mm512_cvtepi32_epi16(x));
	}
}

AVX512 static void stream(void *dst, const void *src, size_t bytes)
{
	for (size_t at = 0; at < bytes; at += 64)
		_mm512_stream_si512((void *)((char *)dst + at),
				    _mm512_loadu_si512((const char *)src + at));
}

const struct ep_simd ep_simd_avx512 = {
	.name = "avx512",
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
