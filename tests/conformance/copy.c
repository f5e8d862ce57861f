// SPDX-License-Identifier: MIT
/* Conformance: what copies and fills write, and what they refuse. */
#include "pool.h"

#define BYTES KIB(64)

FIXTURE(copy)
{
	struct pool p;
	struct accel_queue *queue;
	struct accel_buffer *src, *dst;	/* dst is interleaved in small stripes */
	uint8_t *s, *d, *shadow;
};

FIXTURE_SETUP(copy)
{
	struct accel_where where = { ACCEL_PLACE_INTERLEAVE, 3, self->p.npu, KIB(4) };

	pool_setup(&self->p);
	self->queue = queue_on(self->p.dev, self->p.npu[3]);
	self->src = buffer_on(self->p.dev, self->p.npu[0], BYTES);
	must_ok(accel_buffer_create(self->p.dev, BYTES, &where, &self->dst));
	self->s = buffer_map(self->src);
	self->d = buffer_map(self->dst);
	self->shadow = calloc(1, BYTES);
	scribble(self->s, BYTES, 1);
}

FIXTURE_TEARDOWN(copy)
{
	accel_queue_destroy(self->queue);
	accel_buffer_close(self->src);
	accel_buffer_close(self->dst);
	accel_buffer_unmap(self->p.dev, self->s, BYTES);
	accel_buffer_unmap(self->p.dev, self->d, BYTES);
	free(self->shadow);
	EXPECT_TRUE(pool_teardown(&self->p));
}

TEST_F(copy, every_alignment)
{
	static const uint16_t sizes[] = { 1, 2, 3, 7, 8, 15, 16, 31, 63, 64, 65, 4095, 4097, 9001 };
	unsigned int to, from, i;

	for (i = 0; i < ARRAY_LEN(sizes); i++) {
		struct accel_seg segs[17 * 17];
		struct accel_op op = { ACCEL_OP_COPY, 0, self->dst, self->src, 0, segs };

		for (to = 0; to < 17; to++)
			for (from = 0; from < 17; from++) {
				struct accel_seg seg = { to * 37 + 4080 + (sizes[i] & 15),
							 from * 61, sizes[i] };

				segs[op.seg_count++] = seg;
				memcpy(self->shadow + seg.dst_offset, self->s + seg.src_offset,
				       seg.size);
			}
		ASSERT_EQ(0, run_ops(self->queue, &op, 1));
		ASSERT_EQ(0, memcmp(self->shadow, self->d, BYTES))
			TH_LOG("size %u", sizes[i]);
	}
}

TEST_F(copy, from_stripes_to_stripes)
{
	uint32_t order[] = { self->p.npu[2], self->p.npu[3] };
	struct accel_where where = { ACCEL_PLACE_INTERLEAVE, 2, order, KIB(8) };
	struct accel_buffer *other;
	uint8_t *o;

	scribble(self->d, BYTES, 2);
	ASSERT_EQ(0, accel_buffer_create(self->p.dev, BYTES, &where, &other));
	o = buffer_map(other);
	EXPECT_EQ(0, run_copy(self->queue, other, 3, self->dst, 5, BYTES - 9));
	EXPECT_EQ(0, memcmp(o + 3, self->d + 5, BYTES - 9));
	EXPECT_EQ(0, o[0] | o[1] | o[2] | o[BYTES - 1]);
	accel_buffer_unmap(self->p.dev, o, BYTES);
	accel_buffer_close(other);
}

TEST_F(copy, whole_npu_and_within_one_buffer)
{
	struct accel_buffer *whole = buffer_on(self->p.dev, self->p.npu[3], OWN_BYTES);
	uint8_t *p = buffer_map(whole);

	scribble(p, OWN_BYTES / 2, 7);
	EXPECT_EQ(0, run_copy(self->queue, whole, OWN_BYTES / 2, whole, 0, OWN_BYTES / 2));
	EXPECT_EQ(0, memcmp(p, p + OWN_BYTES / 2, OWN_BYTES / 2));
	accel_buffer_unmap(self->p.dev, p, OWN_BYTES);
	accel_buffer_close(whole);
}

TEST_F(copy, random_gather_and_scatter)
{
	uint32_t max = self->p.info.max_segs < 4096 ? self->p.info.max_segs : 4096, i, n;
	struct accel_seg *segs = calloc(max, sizeof(*segs));
	uint64_t seed = 11;
	unsigned int round;

	for (round = 0; round < scaled(40); round++) {
		struct accel_op op = { ACCEL_OP_COPY, 1 + rnd(&seed) % max, self->dst, self->src, 0,
				       segs };

		for (i = 0; i < op.seg_count; i++) {
			n = 1 + rnd(&seed) % (rnd(&seed) % 16 ? 200 : 20000);
			segs[i] = (struct accel_seg){ rnd(&seed) % (BYTES - n + 1),
						      rnd(&seed) % (BYTES - n + 1), n };
			memcpy(self->shadow + segs[i].dst_offset, self->s + segs[i].src_offset, n);
		}
		ASSERT_EQ(0, run_ops(self->queue, &op, 1));
		ASSERT_EQ(0, memcmp(self->shadow, self->d, BYTES));
	}
	free(segs);
}

TEST_F(copy, operations_run_in_order)
{
	struct accel_seg fill = { 100, 0, 1000 }, move = { 5000, 100, 1000 },
		back = { 8, 5000, 1000 };
	struct accel_op ops[] = {
		{ ACCEL_OP_FILL, 1, self->src, NULL, 0x4242424242424242ull, &fill },
		{ ACCEL_OP_COPY, 1, self->dst, self->src, 0, &move },
		{ ACCEL_OP_FILL, 1, self->src, NULL, 0x1717171717171717ull, &fill },
		{ ACCEL_OP_COPY, 1, self->src, self->dst, 0, &back },
	};

	EXPECT_EQ(0, run_ops(self->queue, ops, 4));
	EXPECT_TRUE(all_bytes(self->d + 5000, 1000, 0x42));
	EXPECT_TRUE(all_bytes(self->s + 8, 1000, 0x42));
	EXPECT_TRUE(all_bytes(self->s + 1008, 92, 0x17));
}

TEST_F(copy, fill_repeats_its_pattern_from_each_segment)
{
	const uint64_t pattern = 0x0807060504030201ull;
	unsigned int off, size, i;

	for (off = 0; off < 9; off++)
		for (size = 1; size < 40; size++) {
			struct accel_seg segs[] = { { 4090 + off, 0, size },
						    { 9000 + off, 0, size * 300 } };
			struct accel_op op = { ACCEL_OP_FILL, 2, self->dst, NULL, pattern, segs };

			for (i = 0; i < size; i++)
				self->shadow[4090 + off + i] = i % 8 + 1;
			for (i = 0; i < size * 300; i++)
				self->shadow[9000 + off + i] = i % 8 + 1;
			ASSERT_EQ(0, run_ops(self->queue, &op, 1));
			ASSERT_EQ(0, memcmp(self->shadow, self->d, BYTES))
				TH_LOG("offset %u size %u", off, size);
		}
}

TEST_F(copy, overlap_is_refused)
{
	EXPECT_EQ(-EINVAL, run_copy(self->queue, self->src, 10, self->src, 0, 11));
	EXPECT_EQ(-EINVAL, run_copy(self->queue, self->src, 0, self->src, 10, 11));
	EXPECT_EQ(-EINVAL, run_copy(self->queue, self->src, 0, self->src, 0, 1));
	memcpy(self->shadow, self->s, BYTES);
	EXPECT_EQ(0, run_copy(self->queue, self->src, 10, self->src, 0, 10));
	EXPECT_EQ(0, run_copy(self->queue, self->src, 100, self->src, 110, 10));
	memcpy(self->shadow + 10, self->shadow, 10);
	memcpy(self->shadow + 100, self->shadow + 110, 10);
	EXPECT_EQ(0, memcmp(self->shadow, self->s, BYTES));
}

TEST_F(copy, overlap_through_two_handles_is_refused)
{
	struct accel_buffer *alias;
	int fd;

	ASSERT_EQ(0, accel_buffer_export(self->src, &fd));
	ASSERT_EQ(0, accel_buffer_import(self->p.dev, fd, &alias));
	close(fd);
	EXPECT_EQ(-EINVAL, run_copy(self->queue, alias, 10, self->src, 0, 11));
	EXPECT_EQ(0, run_copy(self->queue, alias, 11, self->src, 0, 11));
	accel_buffer_close(alias);
}

TEST_F(copy, ranges_are_checked_before_anything_runs)
{
	const uint64_t top = UINT64_MAX;
	const struct accel_seg bad[] = {
		{ 0, 0, 0 }, { 0, 0, BYTES + 1 }, { 1, 0, BYTES }, { 0, 1, BYTES }, { BYTES, 0, 1 },
		{ 0, BYTES, 1 }, { top, 0, 1 }, { 0, top, 1 }, { top, 0, 2 }, { 0, top, 2 },
			{ 0, 0, top },
		{ 1, 0, top }, { 0, 1, top }, { top, top, top }, { 1ull << 63, 0, 1ull << 63 },
		{ 1ull << 32, 0, 1 }, { 0, 1ull << 32, 1 }, { 0, 0, 1ull << 32 },
			{ 0, 0, (1ull << 32) + 1 },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(bad); i++) {
		struct accel_seg segs[] = { { 0, 0, 100 }, bad[i] };
		struct accel_op op = { ACCEL_OP_COPY, 2, self->dst, self->src, 0, segs };
		uint64_t seqno = 77;

		EXPECT_EQ(-EINVAL, submit_ops(self->queue, &op, 1, &seqno))
			TH_LOG("copy %u", i);
		segs[1].src_offset = 0;
		op = (struct accel_op){ ACCEL_OP_FILL, 2, self->dst, NULL, 1, segs };
		if (bad[i].dst_offset || bad[i].size != BYTES) {
			if (bad[i].dst_offset + bad[i].size > BYTES ||
			    bad[i].dst_offset > BYTES || !bad[i].size)
				EXPECT_EQ(-EINVAL, submit_ops(self->queue, &op, 1, &seqno))
					TH_LOG("fill %u", i);
		}
		EXPECT_EQ(77, seqno);
	}
	EXPECT_EQ(-EINVAL, accel_copy(self->dst, 0, self->src, BYTES, 1, 0));
	EXPECT_TRUE(all_bytes(self->d, BYTES, 0));
}

TEST_F(copy, malformed_operations_are_refused)
{
	struct accel_seg seg = { 0, 0, 8 }, from = { 0, 8, 8 };
	struct accel_op type = { (enum accel_op_type)2, 1, self->dst, self->src, 0, &seg };
	struct accel_op none = { ACCEL_OP_COPY, 0, self->dst, self->src, 0, &seg };
	struct accel_op pattern = { ACCEL_OP_COPY, 1, self->dst, self->src, 1, &seg };
	struct accel_op source = { ACCEL_OP_FILL, 1, self->dst, self->src, 1, &seg };
	struct accel_op offset = { ACCEL_OP_FILL, 1, self->dst, NULL, 1, &from };
	struct accel_op nowhere = { ACCEL_OP_COPY, 1, self->dst, NULL, 0, &seg };

	EXPECT_EQ(-EOPNOTSUPP, run_ops(self->queue, &type, 1));
	EXPECT_EQ(-EINVAL, run_ops(self->queue, &none, 1));
	EXPECT_EQ(-EINVAL, run_ops(self->queue, &pattern, 1));
	EXPECT_EQ(-EINVAL, run_ops(self->queue, &source, 1));
	EXPECT_EQ(-EINVAL, run_ops(self->queue, &offset, 1));
	EXPECT_GT(0, run_ops(self->queue, &nowhere, 1));
	EXPECT_TRUE(all_bytes(self->d, BYTES, 0));
}

TEST_F(copy, one_bad_operation_stops_all_of_a_submit)
{
	struct accel_seg good = { 0, 0, 8 }, bad = { BYTES, 0, 8 };
	struct accel_op ops[] = {
		{ ACCEL_OP_FILL, 1, self->dst, NULL, ~0ull, &good },
		{ ACCEL_OP_FILL, 1, self->dst, NULL, ~0ull, &bad },
	};

	EXPECT_EQ(-EINVAL, run_ops(self->queue, ops, 2));
	EXPECT_EQ(0, run_ops(self->queue, NULL, 0));
	EXPECT_TRUE(all_bytes(self->d, BYTES, 0));
}

TEST_F(copy, synchronous_copies)
{
	EXPECT_EQ(0, accel_copy(self->dst, 11, self->src, 3, 5000, 0));
	EXPECT_EQ(0, memcmp(self->d + 11, self->s + 3, 5000));
	EXPECT_EQ(0, accel_copy(self->dst, 20011, self->src, 3, 5000, ACCEL_COPY_WILL_READ));
	EXPECT_EQ(0, memcmp(self->d + 20011, self->s + 3, 5000));
	EXPECT_EQ(-EOPNOTSUPP, accel_copy(self->dst, 0, self->src, 0, 8, 1u << 31));
	EXPECT_EQ(-EINVAL, accel_copy(self->dst, 0, self->src, 0, 0, 0));
	EXPECT_EQ(-EINVAL, accel_copy(self->src, 0, self->src, 4, 8, 0));
	/* It runs on the engine of the destination's first NPU. */
	EXPECT_EQ(2, npu_stats(self->p.dev, self->p.npu[0]).jobs_submitted);
	EXPECT_EQ(0, accel_npu_inject(self->p.dev, self->p.npu[0], ACCEL_FAULT_COPY, 1));
	EXPECT_EQ(-EIO, accel_copy(self->dst, 0, self->src, 0, 8, 0));
	EXPECT_EQ(0, accel_copy(self->dst, 0, self->src, 0, 8, 0));
}

TEST_F(copy, accel_memcpy_is_memcpy)
{
	static const uint32_t sizes[] = { 0, 1, 7, 8, 63, 64, 65, 127, 255, 1000, 4096, 5000,
					  20000 };
	unsigned int i, to, from, flags;

	for (i = 0; i < ARRAY_LEN(sizes); i++)
		for (to = 0; to < 67; to += 3)
			for (from = 0; from < 67; from += 5)
				for (flags = 0; flags < 2; flags++) {
					accel_memcpy(self->d + to, self->s + from, sizes[i], flags);
					memcpy(self->shadow + to, self->s + from, sizes[i]);
					ASSERT_EQ(0, memcmp(self->d, self->shadow, 20100))
						TH_LOG("%u from %u to %u", sizes[i], from, to);
				}
}

TEST_F(copy, accel_memcpy_of_large_sizes)
{
	uint64_t size = MIB(40) + 4711;
	uint8_t *from = malloc(size + 64), *to = malloc(size + 64);
	unsigned int off;

	scribble(from, size + 64, 5);
	for (off = 0; off < 64; off += 21) {
		memset(to, 0, size + 64);
		accel_memcpy(to + off, from + 1, size, 0);
		EXPECT_EQ(0, memcmp(to + off, from + 1, size));
		EXPECT_EQ(0, to[off + size]);
	}
	free(from);
	free(to);
}

TEST_HARNESS_MAIN
