// SPDX-License-Identifier: MIT
/* Conformance: buffers of every size and placement, zeroed, mapped, given back. */
#include "pool.h"

POOL_FIXTURE(buffer)

TEST_F(buffer, create_refuses)
{
	uint64_t unit = self->p.info.min_alloc;
	uint32_t *own = self->p.npu, twice[] = { own[0], own[0] }, none[] = { own[0], UINT32_MAX };
	const struct {
		uint64_t size;
		struct accel_where where;
		int err;
	} bad[] = {
		{ 0, { ACCEL_PLACE_NPU, 1, own, 0 }, -EINVAL },
		{ unit / 2, { ACCEL_PLACE_NPU, 1, own, 0 }, -EINVAL },
		{ unit + 1, { ACCEL_PLACE_NPU, 1, own, 0 }, -EINVAL },
		{ UINT64_MAX, { ACCEL_PLACE_NPU, 1, own, 0 }, -EINVAL },
		{ -unit, { ACCEL_PLACE_NPU, 1, own, 0 }, -ENOSPC },
		{ 1ull << 63, { ACCEL_PLACE_NPU, 1, own, 0 }, -ENOSPC },
		{ OWN_BYTES + unit, { ACCEL_PLACE_NPU, 1, own, 0 }, -ENOSPC },
		{ -unit, { ACCEL_PLACE_INTERLEAVE, 2, own, unit }, -ENOSPC },
		{ 2 * OWN_BYTES + unit, { ACCEL_PLACE_INTERLEAVE, 2, own, unit }, -ENOSPC },
		{ unit, { (enum accel_placement)3, 1, own, 0 }, -EOPNOTSUPP },
		{ unit, { ACCEL_PLACE_NPU, 0, own, 0 }, -EINVAL },
		{ unit, { ACCEL_PLACE_NPU, 2, own, 0 }, -EINVAL },
		{ unit, { ACCEL_PLACE_NPU, 1, own, unit }, -EINVAL },
		{ unit, { ACCEL_PLACE_ANY, 1, own, unit }, -EINVAL },
		{ unit, { ACCEL_PLACE_ANY, 2, twice, 0 }, -EINVAL },
		{ unit, { ACCEL_PLACE_ANY, 2, none, 0 }, -ENOENT },
		{ unit, { ACCEL_PLACE_NPU, 1, none + 1, 0 }, -ENOENT },
		{ unit, { ACCEL_PLACE_INTERLEAVE, 0, own, unit }, -EINVAL },
		{ unit, { ACCEL_PLACE_INTERLEAVE, 1, own, unit }, -EINVAL },
		{ unit, { ACCEL_PLACE_INTERLEAVE, 2, own, 0 }, -EINVAL },
		{ unit, { ACCEL_PLACE_INTERLEAVE, 2, own, unit - 1 }, -EINVAL },
		{ unit, { ACCEL_PLACE_INTERLEAVE, 2, twice, unit }, -EINVAL },
		{ unit, { ACCEL_PLACE_INTERLEAVE, 2, none, unit }, -ENOENT },
		{ unit, { ACCEL_PLACE_INTERLEAVE, UINT32_MAX, own, unit }, -EINVAL },
		{ unit, { ACCEL_PLACE_ANY, UINT32_MAX, own, 0 }, -EINVAL },
	};
	struct accel_buffer *buffer = (void *)1;
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(bad); i++)
		EXPECT_EQ(bad[i].err,
			  accel_buffer_create(self->p.dev, bad[i].size, &bad[i].where, &buffer))
			TH_LOG("case %u", i);
	EXPECT_EQ((void *)1, buffer);
	EXPECT_TRUE(pool_whole(&self->p));
}

TEST_F(buffer, every_size_to_a_whole_npu)
{
	uint64_t unit = self->p.info.min_alloc, size;
	struct accel_buffer_info info;
	struct accel_buffer *buffer;
	uint32_t npu;
	uint8_t *p;

	for (size = unit; size <= OWN_BYTES;
	     size = size < 8 * unit ? size + unit : size * 3 / 2 / unit * unit) {
		buffer = buffer_on(self->p.dev, self->p.npu[0], size);
		ASSERT_EQ(0, accel_buffer_info(buffer, &info, &npu, 1));
		EXPECT_EQ(size, info.size);
		EXPECT_EQ(0, info.stripe);
		EXPECT_EQ(0, info.flags);
		EXPECT_EQ(ACCEL_PLACE_NPU, info.placement);
		EXPECT_EQ(1, info.npu_count);
		EXPECT_EQ(self->p.npu[0], npu);
		EXPECT_EQ(OWN_BYTES - size, npu_free(self->p.dev, self->p.npu[0]));
		p = buffer_map(buffer);
		EXPECT_EQ(0, p[0] | p[size - 1]);
		p[0] = p[size - 1] = 0xff;
		EXPECT_EQ(0, accel_buffer_unmap(self->p.dev, p, size));
		accel_buffer_close(buffer);
		ASSERT_TRUE(eventually(pool_whole(&self->p)));
	}
	buffer = buffer_on(self->p.dev, self->p.npu[0], OWN_BYTES);
	EXPECT_EQ(0, npu_free(self->p.dev, self->p.npu[0]));
	EXPECT_EQ(-ENOSPC, accel_buffer_create(self->p.dev, unit,
					       &(struct accel_where){ ACCEL_PLACE_NPU, 1,
								      self->p.npu, 0 },
					       &(struct accel_buffer *){ 0 }));
	accel_buffer_close(buffer);
}

TEST_F(buffer, a_fragmented_npu_fills_up)
{
	uint64_t unit = self->p.info.min_alloc;
	unsigned int count = OWN_BYTES / unit, i;
	struct accel_buffer **small = calloc(count, sizeof(*small)), *large;
	uint8_t *p;

	for (i = 0; i < count; i++)
		small[i] = buffer_on(self->p.dev, self->p.npu[0], unit);
	for (i = 0; i < count; i += 2)
		accel_buffer_close(small[i]);
	ASSERT_TRUE(eventually(npu_free(self->p.dev, self->p.npu[0]) == OWN_BYTES / 2));
	/* No two free units touch, and yet half of the NPU can be had as one buffer. */
	large = buffer_on(self->p.dev, self->p.npu[0], OWN_BYTES / 2);
	p = buffer_map(large);
	scribble(p, OWN_BYTES / 2, 1);
	for (i = 1; i < count; i += 2) {
		uint8_t *q = buffer_map(small[i]);

		ASSERT_TRUE(all_bytes(q, unit, 0));
		accel_buffer_unmap(self->p.dev, q, unit);
		accel_buffer_close(small[i]);
	}
	accel_buffer_unmap(self->p.dev, p, OWN_BYTES / 2);
	accel_buffer_close(large);
	free(small);
}

TEST_F(buffer, any_takes_the_emptiest)
{
	struct accel_buffer *a = buffer_on(self->p.dev, self->p.npu[0], KIB(64));
	struct accel_buffer *b = buffer_on(self->p.dev, self->p.npu[2], KIB(128)), *c, *d;
	struct accel_where where = { ACCEL_PLACE_ANY, 3, self->p.npu, 0 };
	struct accel_buffer_info info;
	uint32_t npu;

	ASSERT_EQ(0, accel_buffer_create(self->p.dev, KIB(96), &where, &c));
	ASSERT_EQ(0, accel_buffer_info(c, &info, &npu, 1));
	EXPECT_EQ(ACCEL_PLACE_NPU, info.placement);
	EXPECT_EQ(self->p.npu[1], npu);
	ASSERT_EQ(0, accel_buffer_create(self->p.dev, KIB(4), &where, &d));
	ASSERT_EQ(0, accel_buffer_info(d, &info, &npu, 1));
	EXPECT_EQ(self->p.npu[0], npu);
	accel_buffer_close(d);
	ASSERT_EQ(0, accel_buffer_create(self->p.dev, KIB(4), NULL, &d));
	ASSERT_EQ(0, accel_buffer_info(d, &info, NULL, 0));
	EXPECT_EQ(1, info.npu_count);
	accel_buffer_close(d);
	accel_buffer_close(c);
	accel_buffer_close(b);
	accel_buffer_close(a);
}

TEST_F(buffer, interleave_puts_stripes_in_turn)
{
	uint64_t unit = self->p.info.min_alloc, stripe = 2 * unit, size = 7 * stripe + unit;
	uint32_t order[] = { self->p.npu[2], self->p.npu[0], self->p.npu[1] }, npus[4];
	struct accel_where where = { ACCEL_PLACE_INTERLEAVE, 3, order, stripe };
	struct accel_buffer_info info;
	struct accel_buffer *buffer;

	ASSERT_EQ(0, accel_buffer_create(self->p.dev, size, &where, &buffer));
	memset(npus, 0x5a, sizeof(npus));
	ASSERT_EQ(0, accel_buffer_info(buffer, &info, npus, 4));
	EXPECT_EQ(stripe, info.stripe);
	EXPECT_EQ(ACCEL_PLACE_INTERLEAVE, info.placement);
	EXPECT_EQ(3, info.npu_count);
	EXPECT_EQ(0, memcmp(npus, order, sizeof(order)));
	EXPECT_EQ(0x5a5a5a5a, npus[3]);
	memset(npus, 0x5a, sizeof(npus));
	ASSERT_EQ(0, accel_buffer_info(buffer, &info, npus, 1));
	EXPECT_EQ(order[0], npus[0]);
	EXPECT_EQ(0x5a5a5a5a, npus[1]);
	/* Stripes 0 3 6, 1 4 and the last half one, 2 5. */
	EXPECT_EQ(OWN_BYTES - 3 * stripe, npu_free(self->p.dev, order[0]));
	EXPECT_EQ(OWN_BYTES - 2 * stripe - unit, npu_free(self->p.dev, order[1]));
	EXPECT_EQ(OWN_BYTES - 2 * stripe, npu_free(self->p.dev, order[2]));
	accel_buffer_close(buffer);
}

TEST_F(buffer, interleave_reaches_all_memory)
{
	uint64_t unit = self->p.info.min_alloc, stripes[] = { unit, 16 * unit, OWN_BYTES };
	struct accel_buffer *buffer;
	unsigned int i;
	uint8_t *p;

	for (i = 0; i < ARRAY_LEN(stripes); i++) {
		struct accel_where where = { ACCEL_PLACE_INTERLEAVE, OWN_NPUS, self->p.npu,
					     stripes[i] };

		ASSERT_EQ(0,
			  accel_buffer_create(self->p.dev, OWN_NPUS * OWN_BYTES, &where, &buffer));
		p = buffer_map(buffer);
		EXPECT_TRUE(all_bytes(p, OWN_NPUS * OWN_BYTES, 0));
		memset(p, 0xee, OWN_NPUS * OWN_BYTES);
		accel_buffer_unmap(self->p.dev, p, OWN_NPUS * OWN_BYTES);
		accel_buffer_close(buffer);
		ASSERT_TRUE(eventually(pool_whole(&self->p)));
	}
}

TEST_F(buffer, zeroed_again_after_use)
{
	struct accel_queue *queue = queue_on(self->p.dev, self->p.npu[0]);
	struct accel_buffer *buffer;
	unsigned int i;
	uint8_t *p;

	for (i = 0; i < 4; i++) {
		buffer = buffer_on(self->p.dev, self->p.npu[0], OWN_BYTES);
		p = buffer_map(buffer);
		ASSERT_TRUE(all_bytes(p, OWN_BYTES, 0))
			TH_LOG("round %u", i);
		if (i & 1)
			memset(p, 0xff, OWN_BYTES);
		else
			ASSERT_EQ(0, run_fill(queue, buffer, 0, OWN_BYTES, ~0ull));
		EXPECT_EQ(0xff, p[OWN_BYTES - 1]);
		EXPECT_EQ(0, accel_buffer_unmap(self->p.dev, p, OWN_BYTES));
		accel_buffer_close(buffer);
		ASSERT_TRUE(eventually(pool_whole(&self->p)));
	}
	accel_queue_destroy(queue);
}

TEST_F(buffer, mappings_are_coherent_and_outlive_the_handle)
{
	struct accel_buffer *buffer = buffer_on(self->p.dev, self->p.npu[0], KIB(64));
	uint8_t *p = buffer_map(buffer), *q;
	void *populated;

	ASSERT_EQ(0, accel_buffer_map(buffer, ACCEL_MAP_POPULATE, &populated));
	q = populated;
	EXPECT_NE(p, q);
	EXPECT_EQ(0, (uintptr_t)p % 4096 + (uintptr_t)q % 4096);
	scribble(p, KIB(64), 3);
	EXPECT_EQ(0, memcmp(p, q, KIB(64)));
	EXPECT_EQ(-EOPNOTSUPP, accel_buffer_map(buffer, 1u << 31, &populated));
	accel_buffer_close(buffer);
	EXPECT_EQ(OWN_BYTES - KIB(64), npu_free(self->p.dev, self->p.npu[0]));
	q[100] = 42;
	EXPECT_EQ(42, p[100]);
	EXPECT_EQ(0, accel_buffer_unmap(self->p.dev, p, KIB(64)));
	EXPECT_EQ(42, q[100]);
	EXPECT_EQ(OWN_BYTES - KIB(64), npu_free(self->p.dev, self->p.npu[0]));
	EXPECT_EQ(0, accel_buffer_unmap(self->p.dev, q, KIB(64)));
	EXPECT_TRUE(eventually(pool_whole(&self->p)));
}

TEST_F(buffer, mapping_outlives_the_device)
{
	struct accel_dev *dev = dev_open();
	struct accel_buffer *buffer = buffer_on(dev, self->p.npu[1], KIB(64));
	uint8_t *p = buffer_map(buffer);

	scribble(p, KIB(64), 9);
	accel_buffer_close(buffer);
	accel_close(dev);
	EXPECT_EQ(0, touch(p + KIB(60), true));
	EXPECT_EQ(OWN_BYTES - KIB(64), npu_free(self->p.dev, self->p.npu[1]));
	EXPECT_EQ(0, accel_buffer_unmap(self->p.dev, p, KIB(64)));
}

TEST_F(buffer, descriptor_holds_the_memory)
{
	struct accel_buffer *buffer = buffer_on(self->p.dev, self->p.npu[0], KIB(64)), *again;
	uint8_t *p = buffer_map(buffer);
	int fd;

	p[5] = 99;
	ASSERT_EQ(0, accel_buffer_export(buffer, &fd));
	EXPECT_EQ(FD_CLOEXEC, fcntl(fd, F_GETFD) & FD_CLOEXEC);
	accel_buffer_unmap(self->p.dev, p, KIB(64));
	accel_buffer_close(buffer);
	nap(50);
	EXPECT_EQ(OWN_BYTES - KIB(64), npu_free(self->p.dev, self->p.npu[0]));
	ASSERT_EQ(0, accel_buffer_import(self->p.dev, fd, &again));
	p = buffer_map(again);
	EXPECT_EQ(99, p[5]);
	accel_buffer_unmap(self->p.dev, p, KIB(64));
	accel_buffer_close(again);
	nap(50);
	EXPECT_EQ(OWN_BYTES - KIB(64), npu_free(self->p.dev, self->p.npu[0]));
	close(fd);
	EXPECT_TRUE(eventually(pool_whole(&self->p)));
}

TEST_F(buffer, copy_in_flight_holds_the_memory)
{
	uint32_t slow = npu_add(self->p.dev, MIB(1), SLOW_NS);
	struct accel_buffer *buffer = buffer_on(self->p.dev, self->p.npu[0], KIB(64));
	struct accel_queue *queue = queue_on(self->p.dev, slow);
	uint64_t seqno;

	ASSERT_EQ(0, submit_slow(queue, buffer, NULL, &seqno));
	accel_buffer_close(buffer);
	EXPECT_EQ(OWN_BYTES - KIB(64), npu_free(self->p.dev, self->p.npu[0]));
	EXPECT_EQ(-ETIME, accel_queue_wait(queue, seqno, 0, NULL));
	accel_queue_destroy(queue);
	EXPECT_TRUE(eventually(pool_whole(&self->p)));
	EXPECT_EQ(0, accel_npu_remove(self->p.dev, slow));
}

static int hold_everything(int sock, const void *npus)
{
	const uint32_t *npu = npus;
	struct accel_dev *dev = dev_open();
	struct accel_buffer *a = buffer_on(dev, npu[0], OWN_BYTES), *b;
	struct accel_where where = { ACCEL_PLACE_INTERLEAVE, 3, npu + 1, KIB(64) };
	struct accel_queue *queue = queue_on(dev, npu[0]);
	struct accel_seg seg = { 0, 0, OWN_BYTES };
	struct accel_op op = { ACCEL_OP_FILL, 1, a, NULL, 7, &seg };
	int fd;

	must_ok(accel_buffer_create(dev, 3 * OWN_BYTES, &where, &b));
	memset(buffer_map(a), 1, OWN_BYTES);
	memset(buffer_map(b), 2, 3 * OWN_BYTES);
	must_ok(accel_buffer_export(b, &fd));
	say(sock, 1);
	for (;;) {
		uint64_t seqno;

		submit_ops(queue, &op, 1, &seqno);
	}
}

TEST_F(buffer, a_killed_process_gives_everything_back)
{
	unsigned int i;

	for (i = 0; i < scaled(10); i++) {
		struct child child = child_start(hold_everything, self->p.npu);

		hear(child.sock);
		EXPECT_EQ(0, npu_free(self->p.dev, self->p.npu[0]));
		EXPECT_EQ(0, npu_free(self->p.dev, self->p.npu[3]));
		nap(rand() % 20);
		child_kill(&child);
		ASSERT_TRUE(eventually(pool_whole(&self->p)));
	}
}

TEST_HARNESS_MAIN
