// SPDX-License-Identifier: MIT
/*
 * The arithmetic of the collectives: each implementation that this CPU can run against
 * the scalar one bit for bit, and all of them against what is right. Behind every row
 * lies a page that nobody may touch.
 */
#include <float.h>
#include <math.h>
#include <string.h>
#include <sys/mman.h>

#include <accel/ep.h>

#include "collective/simd.h"
#include "harness.h"

#define UNIT ACCEL_EP_HIDDEN_UNIT
#define MAX ACCEL_EP_MAX_HIDDEN
#define ROWS (ACCEL_EP_MAX_TOP_K + ACCEL_EP_MAX_SHARED)
#define PAGE 4096ul
#define ROOM (MAX * sizeof(float) + 2 * PAGE)
#define UNTOUCHED 0xa5

/* The bits of floats: anything; plain numbers; subnormal, huge; halves, to be rounded. */
enum kind { ANY, PLAIN, TINY, HUGE_ONES, HALVES, KINDS };

static uint32_t random_bits(void)
{
	static uint64_t state = 88172645463325252ull;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state >> 32;
}

static float float_of(uint32_t bits)
{
	float x;

	memcpy(&x, &bits, sizeof(x));
	return x;
}

static uint32_t bits_of(float x)
{
	uint32_t bits;

	memcpy(&bits, &x, sizeof(bits));
	return bits;
}

static float wide(uint16_t x)
{
	return float_of((uint32_t)x << 16);
}

static float random_float(enum kind kind)
{
	uint32_t bits = random_bits();

	switch (kind) {
	case PLAIN:
		return ldexpf((float)(int32_t)bits, -31 + (int)(random_bits() % 16));
	case TINY:
		return float_of(bits & 0x807fffff);
	case HUGE_ONES:
		return float_of((bits & 0x807fffff) | (0xfeu - random_bits() % 4) << 23);
	case HALVES:
		return (int)(bits % 255) - 127 + ((bits >> 8 & 1) && bits % 255 < 254 ? 0.5f : 0.0f);
	default:
		return float_of(bits);
	}
}

/* Memory before a page that must not be touched. */
struct room {
	char *start, *end;
};

static struct room room(void)
{
	char *start = mmap(NULL, ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	mprotect(start + ROOM - PAGE, PAGE, PROT_NONE);
	return (struct room){ start, start + ROOM - PAGE };
}

/* @bytes that end @shift before the room does; all others can be seen to be untouched. */
static void *place(const struct room *room, size_t bytes, size_t shift)
{
	memset(room->start, UNTOUCHED, ROOM - PAGE);
	return room->end - bytes - shift;
}

static bool only_touched(const struct room *room, const void *at, size_t bytes)
{
	const unsigned char *byte = (void *)room->start, *end = (void *)room->end;

	for (; byte < end; byte++)
		if ((byte < (const unsigned char *)at || byte >= (const unsigned char *)at + bytes) &&
		    *byte != UNTOUCHED)
			return false;
	return true;
}

/* Which NaN it is may differ. */
static bool same_floats(const float *a, const float *b, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (bits_of(a[i]) != bits_of(b[i]) && !(isnan(a[i]) && isnan(b[i])))
			return false;
	return true;
}

static bool same_halves(const uint16_t *a, const uint16_t *b, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (a[i] != b[i] && !(isnan(wide(a[i])) && isnan(wide(b[i]))))
			return false;
	return true;
}

FIXTURE(simd)
{
	const struct ep_simd *it, *scalar;
	struct room in[ROWS], out, other;
};

FIXTURE_VARIANT(simd)
{
	uint32_t number;
};

FIXTURE_VARIANT_ADD(simd, scalar) { 0 };
FIXTURE_VARIANT_ADD(simd, avx2) { 1 };
FIXTURE_VARIANT_ADD(simd, avx512) { 2 };

FIXTURE_SETUP(simd)
{
	const struct ep_simd *const *all;
	uint32_t count;

	all = ep_simd_all(&count);
	if (variant->number >= count)
		SKIP(return, "this CPU has no such vectors");
	self->scalar = all[0];
	self->it = all[variant->number];
	for (uint32_t i = 0; i < ROWS; i++)
		self->in[i] = room();
	self->out = room();
	self->other = room();
}

FIXTURE_TEARDOWN(simd)
{
	for (uint32_t i = 0; i < ROWS; i++)
		munmap(self->in[i].start, ROOM);
	munmap(self->out.start, ROOM);
	munmap(self->other.start, ROOM);
}

/* BF16 are the upper halves of floats, which keeps the kinds. */
static uint16_t *halves(const struct room *room, enum kind kind, uint32_t n, uint32_t shift)
{
	uint16_t *in = place(room, n * 2ul, shift * 2);

	for (uint32_t i = 0; i < n; i++)
		in[i] = bits_of(random_float(kind)) >> 16;
	return in;
}

static float *floats(const struct room *room, enum kind kind, uint32_t n, uint32_t shift)
{
	float *in = place(room, n * 4ul, shift * 4);

	for (uint32_t i = 0; i < n; i++)
		in[i] = random_float(kind);
	return in;
}

static bool quantised_alike(FIXTURE_DATA(simd) *self, enum kind kind, uint32_t n, uint32_t shift)
{
	int8_t *out = place(&self->out, n, shift), *other = place(&self->other, n, 0);
	uint16_t *half = halves(&self->in[0], kind, n, shift);
	float *single = floats(&self->in[1], kind, n, shift);
	float a = self->it->quant_bf16(out, half, n), b = self->scalar->quant_bf16(other, half, n);

	if (!same_floats(&a, &b, 1) || memcmp(out, other, n) || !only_touched(&self->out, out, n))
		return false;
	a = self->it->quant_f32(out, single, n);
	b = self->scalar->quant_f32(other, single, n);
	return same_floats(&a, &b, 1) && !memcmp(out, other, n) &&
	       only_touched(&self->out, out, n);
}

TEST_F(simd, quantises_like_the_scalar_one)
{
	for (uint32_t n = UNIT; n <= MAX; n += UNIT)
		ASSERT_TRUE(quantised_alike(self, n / UNIT % KINDS, n, n / UNIT % 17));
	for (uint32_t kind = 0; kind < KINDS; kind++)
		for (uint32_t n = UNIT; n <= 8 * UNIT; n += UNIT)
			for (uint32_t shift = 0; shift < 64; shift++)
				ASSERT_TRUE(quantised_alike(self, kind, n, shift));
}

/* The bound that callers are told: half a scale, and what the product is rounded by. */
static bool close_to(const float *in, const int8_t *out, float scale, uint32_t n)
{
	float largest = 0, want;
	bool reached = false;

	for (uint32_t i = 0; i < n; i++)
		largest = fmaxf(largest, fabsf(in[i]));
	want = largest / 127;
	if (want < FLT_MIN)
		want = largest ? FLT_MIN : 0;
	for (uint32_t i = 0; i < n; i++) {
		double off = fabs((double)in[i] - (double)out[i] * scale);

		if (out[i] < -127 || off > 0.5 * scale + ldexp(fabsf(in[i]), -22))
			return false;
		reached |= out[i] == 127 || out[i] == -127;
	}
	return scale == want && (reached || want <= FLT_MIN);
}

TEST_F(simd, quantises_within_half_a_scale)
{
	int8_t *out = (void *)self->out.start;
	float in[UNIT * 7];

	for (uint32_t i = 0; i < 4000; i++) {
		enum kind kind = PLAIN + i % (KINDS - PLAIN);
		uint32_t n = UNIT * (1 + i % 7);
		uint16_t *half = halves(&self->in[0], kind, n, 0);
		float *single = floats(&self->in[1], kind, n, 0);

		for (uint32_t at = 0; at < n; at++)
			in[at] = wide(half[at]);
		ASSERT_TRUE(close_to(in, out, self->it->quant_bf16(out, half, n), n));
		ASSERT_TRUE(close_to(single, out, self->it->quant_f32(out, single, n), n));
	}
}

TEST_F(simd, rounds_integers_to_even)
{
	float in[UNIT * 16] = { 127 }, scale;
	uint16_t half[UNIT * 16];
	int8_t out[UNIT * 16];

	for (int i = 1; i < 508; i++)
		in[i] = (i - 254) / 2.0f;
	for (uint32_t i = 0; i < UNIT * 16; i++)
		half[i] = bits_of(in[i]) >> 16;
	scale = self->it->quant_f32(out, in, UNIT * 16);
	ASSERT_EQ(bits_of(1), bits_of(scale));
	for (uint32_t i = 0; i < UNIT * 16; i++)
		ASSERT_EQ((int)nearbyint(in[i]), out[i]);
	scale = self->it->quant_bf16(out, half, UNIT * 16);
	ASSERT_EQ(bits_of(1), bits_of(scale));
	for (uint32_t i = 0; i < UNIT * 16; i++)
		ASSERT_EQ((int)nearbyint(in[i]), out[i]);
}

static float quantised(const struct ep_simd *it, bool bf16, int8_t *out, const uint32_t *in)
{
	uint16_t half[UNIT * 3];
	float single[UNIT * 3];

	for (uint32_t i = 0; i < UNIT * 3; i++) {
		half[i] = in[i] >> 16;
		single[i] = float_of(in[i]);
	}
	memset(out, UNTOUCHED, UNIT * 3);
	return bf16 ? it->quant_bf16(out, half, UNIT * 3) : it->quant_f32(out, single, UNIT * 3);
}

TEST_F(simd, quantises_what_is_not_finite_as_nan)
{
	static const uint32_t odd_ones[] = { 0x7f800000, 0xff800000, 0x7fc00000, 0xffc00000,
					     0x7f810000, 0xffffffff };
	int8_t out[UNIT * 3], zeros[UNIT * 3] = { 0 };
	uint32_t in[UNIT * 3];

	for (uint32_t i = 0; i < UNIT * 3 * 6 * 2; i++) {
		for (uint32_t at = 0; at < UNIT * 3; at++)
			in[at] = bits_of(random_float(PLAIN));
		in[i / 12] = odd_ones[i % 6];
		ASSERT_TRUE(isnan(quantised(self->it, i / 6 % 2, out, in)));
		ASSERT_EQ(0, memcmp(zeros, out, sizeof(out)));
	}
}

TEST_F(simd, quantises_extremes)
{
	int8_t out[UNIT * 3], zeros[UNIT * 3] = { 0 };
	uint32_t in[UNIT * 3] = { 0 };

	for (uint32_t i = 0; i < UNIT * 3 * 2; i++) {
		memset(in, 0, sizeof(in));
		in[i / 2 * 5 % (UNIT * 3)] = 0x80000000;
		ASSERT_EQ(0, bits_of(quantised(self->it, i % 2, out, in)));
		ASSERT_EQ(0, memcmp(zeros, out, sizeof(out)));
		/* The smallest is lost, and an inverse is finite. */
		in[i / 2] = 0x00010000;
		ASSERT_EQ(bits_of(FLT_MIN), bits_of(quantised(self->it, i % 2, out, in)));
		ASSERT_EQ(0, out[i / 2]);
		in[i / 2] = 0xff7f0000;
		ASSERT_EQ(bits_of(-float_of(0xff7f0000) / 127),
			  bits_of(quantised(self->it, i % 2, out, in)));
		ASSERT_EQ(-127, out[i / 2]);
		out[i / 2] = 0;
		ASSERT_EQ(0, memcmp(zeros, out, sizeof(out)));
	}
}

TEST_F(simd, widens_every_pattern)
{
	uint16_t in[UNIT];
	float out[UNIT];

	for (uint32_t i = 0; i < 1 << 16; i += UNIT) {
		for (uint32_t at = 0; at < UNIT; at++)
			in[at] = i + at;
		self->it->bf16_to_f32(out, in, UNIT);
		for (uint32_t at = 0; at < UNIT; at++)
			ASSERT_EQ((i + at) << 16, bits_of(out[at]));
	}
}

static uint16_t rounded(uint32_t bits)
{
	uint32_t up = bits >> 16, low = bits & 0xffff;

	if ((bits & 0x7fffffff) > 0x7f800000)
		return up | 0x40;
	return up + (low > 0x8000 || (low == 0x8000 && (up & 1)));
}

TEST_F(simd, narrows_to_even_from_every_pattern)
{
	static const uint16_t between[] = { 0, 1, 0x7fff, 0x8000, 0x8001, 0xffff };
	float in[UNIT];
	uint16_t out[UNIT];

	for (uint32_t i = 0; i < 6 << 16; i += UNIT) {
		for (uint32_t at = 0; at < UNIT; at++)
			in[at] = float_of((i + at) << 16 | between[i >> 16]);
		self->it->f32_to_bf16(out, in, UNIT);
		for (uint32_t at = 0; at < UNIT; at++)
			ASSERT_EQ(rounded(bits_of(in[at])), out[at]);
	}
}

static bool converted_alike(FIXTURE_DATA(simd) *self, enum kind kind, uint32_t n, uint32_t shift)
{
	float *single = floats(&self->in[0], kind, n, shift);
	uint16_t *half = halves(&self->in[1], kind, n, shift);
	void *out = place(&self->out, n * 2ul, shift * 2), *other = place(&self->other, n * 2ul, 0);

	self->it->f32_to_bf16(out, single, n);
	self->scalar->f32_to_bf16(other, single, n);
	if (memcmp(out, other, n * 2ul) || !only_touched(&self->out, out, n * 2ul))
		return false;
	out = place(&self->out, n * 4ul, shift * 4);
	other = place(&self->other, n * 4ul, 0);
	self->it->bf16_to_f32(out, half, n);
	self->scalar->bf16_to_f32(other, half, n);
	return !memcmp(out, other, n * 4ul) && only_touched(&self->out, out, n * 4ul);
}

TEST_F(simd, converts_like_the_scalar_one)
{
	for (uint32_t n = UNIT; n <= MAX; n += UNIT)
		ASSERT_TRUE(converted_alike(self, n / UNIT % KINDS, n, n / UNIT % 17));
}

static bool summed_alike(FIXTURE_DATA(simd) *self, enum kind kind, uint32_t count, uint32_t n,
			 uint32_t shift)
{
	const uint16_t *half[ROWS];
	const float *single[ROWS];
	float weights[ROWS];

	for (uint32_t bf16 = 0; bf16 < 2; bf16++) {
		size_t bytes = n * (bf16 ? 2ul : 4ul);
		void *out = place(&self->out, bytes, shift * 4);
		void *other = place(&self->other, bytes, 0);

		for (uint32_t row = 0; row < count; row++) {
			weights[row] = random_float(kind == ANY ? ANY : PLAIN);
			half[row] = halves(&self->in[row], kind, n, (shift + row) % 32);
		}
		self->it->sum_bf16(out, bf16, half, weights, count, n);
		self->scalar->sum_bf16(other, bf16, half, weights, count, n);
		if (!(bf16 ? same_halves(out, other, n) : same_floats(out, other, n)) ||
		    !only_touched(&self->out, out, bytes))
			return false;
		for (uint32_t row = 0; row < count; row++)
			single[row] = floats(&self->in[row], kind, n, (shift + row) % 16);
		self->it->sum_f32(out, bf16, single, weights, count, n);
		self->scalar->sum_f32(other, bf16, single, weights, count, n);
		if (!(bf16 ? same_halves(out, other, n) : same_floats(out, other, n)) ||
		    !only_touched(&self->out, out, bytes))
			return false;
	}
	return true;
}

TEST_F(simd, sums_like_the_scalar_one)
{
	for (uint32_t n = UNIT; n <= MAX; n += 37 * UNIT)
		ASSERT_TRUE(summed_alike(self, n / UNIT % KINDS, 8, n, n / UNIT % 17));
	for (uint32_t kind = 0; kind < KINDS; kind++)
		for (uint32_t count = 0; count <= ROWS; count++)
			ASSERT_TRUE(summed_alike(self, kind, count, UNIT * (1 + count % 5), count));
}

/* Volatile, so that no compiler rounds a product and a sum as one. */
static float weighed(float sum, float weight, float x)
{
	volatile float product = weight * x;
	volatile float all = sum + product;

	return all;
}

TEST_F(simd, sums_in_order_rounding_each_step)
{
	const float *single[ROWS];
	const uint16_t *half[ROWS];
	float weights[ROWS], out[UNIT * 3];

	for (uint32_t i = 0; i < 1000; i++) {
		uint32_t count = i % (ROWS + 1);

		for (uint32_t row = 0; row < count; row++) {
			weights[row] = random_float(PLAIN);
			single[row] = floats(&self->in[row], PLAIN, UNIT * 3, 0);
		}
		self->it->sum_f32(out, false, single, weights, count, UNIT * 3);
		for (uint32_t at = 0; at < UNIT * 3; at++) {
			float sum = 0;

			for (uint32_t row = 0; row < count; row++)
				sum = weighed(sum, weights[row], single[row][at]);
			ASSERT_EQ(bits_of(sum), bits_of(out[at]));
		}
		for (uint32_t row = 0; row < count; row++)
			half[row] = halves(&self->in[row], PLAIN, UNIT * 3, 0);
		self->it->sum_bf16(out, false, half, weights, count, UNIT * 3);
		for (uint32_t at = 0; at < UNIT * 3; at++) {
			float sum = 0;

			for (uint32_t row = 0; row < count; row++)
				sum = weighed(sum, weights[row], wide(half[row][at]));
			ASSERT_EQ(bits_of(sum), bits_of(out[at]));
		}
	}
}

TEST_F(simd, streams_whole_lines_from_anywhere)
{
	for (size_t bytes = 64; bytes <= MAX; bytes += 64) {
		unsigned char *in = place(&self->in[0], bytes, bytes / 64 % 67);
		unsigned char *out = place(&self->out, bytes, bytes / 64 % 3 * 64);

		for (size_t i = 0; i < bytes; i++)
			in[i] = random_bits();
		self->it->stream(out, in, bytes);
		ep_fence();
		ASSERT_EQ(0, memcmp(in, out, bytes));
		ASSERT_TRUE(only_touched(&self->out, out, bytes));
	}
}

TEST(the_best_is_chosen)
{
	uint32_t count;
	const struct ep_simd *const *all = ep_simd_all(&count);

	ASSERT_EQ(all[count - 1], ep_simd());
	ASSERT_EQ(0, strcmp("scalar", all[0]->name));
}

TEST_HARNESS_MAIN
