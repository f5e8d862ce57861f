// SPDX-License-Identifier: MIT
/*
 * The ABI rules for what structs point to: strides short, long and absurd, tails
 * of items, bad pointers, huge counts, topics. Outputs are left alone on failure.
 */
#include <stddef.h>

#include "npool.h"

#define BIG_STRIDE 2200

FIXTURE(arrays)
{
	struct pool p;
	int fd;
	uint32_t bo, queue, sync;
	uint8_t *page;		/* after it comes nothing */
};

FIXTURE_SETUP(arrays)
{
	pool_setup(&self->p);
	self->fd = node_open();
	self->bo = bo_new(self->fd, self->p.npu[0], KIB(64)).handle;
	self->queue = queue_new(self->fd, self->p.npu[0]);
	self->sync = sync_new(self->fd);
	self->page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(self->page != MAP_FAILED);
	must_ok(munmap(self->page + 4096, 4096));
}

FIXTURE_TEARDOWN(arrays)
{
	close(self->fd);
	EXPECT_TRUE(pool_teardown(&self->p));
}

/* No array where items are promised: a bad value or a bad address, the header does not say. */
static bool is_bad_null(int err)
{
	return err == -EINVAL || err == -EFAULT;
}

static int query(int fd, struct drm_npool_query query)
{
	struct drm_npool_query before = query;
	int err = call(fd, DRM_IOCTL_NPOOL_QUERY, &query);

	must(!err || !memcmp(&before, &query, sizeof(query)));
	return err;
}

TEST_F(arrays, query_topics)
{
	static const uint32_t sizes[] = {
		sizeof(struct drm_npool_pool_info), sizeof(struct drm_npool_npu_info),
		sizeof(struct drm_npool_npu_stats), sizeof(struct drm_npool_client_info),
		sizeof(struct drm_npool_qos_info), sizeof(struct drm_npool_port_info),
		sizeof(struct drm_npool_class_stats),
	};
	static const uint32_t items[] = { 1, OWN_NPUS, OWN_NPUS, 1, 1, 2 * OWN_NPUS,
					  DRM_NPOOL_CLASSES * OWN_NPUS };
	uint32_t topic, bad[] = { ARRAY_LEN(sizes), ARRAY_LEN(sizes) + 1, 1u << 31, UINT32_MAX };
	unsigned int i;

	for (topic = 0; topic < ARRAY_LEN(sizes); topic++) {
		struct drm_npool_query q = { .topic = topic }, b = { .topic = topic };
		uint64_t data = (uintptr_t)self->page;

		ASSERT_EQ(0, call(self->fd, DRM_IOCTL_NPOOL_QUERY, &q));
		EXPECT_EQ(sizes[topic], q.stride);
		EXPECT_LE(items[topic], q.count);
		/* Short strides, null and bad pointers with a count. */
		for (i = 0; i < sizes[topic]; i++) {
			b = (struct drm_npool_query){ .topic = topic, .data = data, .count = 1,
						      .stride = i };
			EXPECT_EQ(-EINVAL, query(self->fd, b));
		}
		b.stride = sizes[topic];
		b.data = (uintptr_t)self->page + 4096;
		EXPECT_EQ(-EFAULT, query(self->fd, b));
		b.data = (uintptr_t)self->page + 4096 - sizes[topic] + 1;
		EXPECT_EQ(-EFAULT, query(self->fd, b));
		b.data = 1ull << 63;
		EXPECT_EQ(-EFAULT, query(self->fd, b));
		/* What lies past the kernel's item is zeroed. */
		memset(self->page, 0x5a, 4096);
		b = (struct drm_npool_query){ .topic = topic, .data = data, .count = 1,
					      .stride = BIG_STRIDE };
		ASSERT_EQ(0, call(self->fd, DRM_IOCTL_NPOOL_QUERY, &b));
		EXPECT_EQ(sizes[topic], b.stride);
		EXPECT_EQ(q.count, b.count);
		EXPECT_TRUE(all_bytes(self->page + sizes[topic], BIG_STRIDE - sizes[topic], 0));
		EXPECT_EQ(0x5a, self->page[BIG_STRIDE]);
	}
	for (i = 0; i < ARRAY_LEN(bad); i++)
		EXPECT_EQ(-EOPNOTSUPP,
			  query(self->fd, (struct drm_npool_query){ .topic = bad[i] }));
}

TEST_F(arrays, query_huge_count)
{
	struct drm_npool_npu_info *npus = calloc(1000, sizeof(*npus));
	struct drm_npool_query q = { .topic = DRM_NPOOL_TOPIC_NPUS, .data = (uintptr_t)npus,
				     .count = 1000, .stride = sizeof(*npus) };

	ASSERT_EQ(0, call(self->fd, DRM_IOCTL_NPOOL_QUERY, &q));
	EXPECT_LE(OWN_NPUS, q.count);
	EXPECT_GT(1000, q.count);
	EXPECT_NE(0, npus[q.count - 1].backend[0]);
	EXPECT_EQ(0, npus[q.count].backend[0]);
	q.count = UINT32_MAX;
	EXPECT_EQ(0, call(self->fd, DRM_IOCTL_NPOOL_QUERY, &q));
	free(npus);
}

TEST_F(arrays, query_client)
{
	struct drm_npool_client_info mine, theirs;
	int other = node_open();
	struct drm_npool_query q = { .topic = DRM_NPOOL_TOPIC_CLIENT, .data = (uintptr_t)&mine,
				     .count = 1, .stride = sizeof(mine) };

	ASSERT_EQ(0,
		  call(self->fd, DRM_IOCTL_NPOOL_SET_QUOTA,
		       &(struct drm_npool_set_quota){ MIB(1), 0, 0 }));
	ASSERT_EQ(0, call(self->fd, DRM_IOCTL_NPOOL_QUERY, &q));
	EXPECT_NE(0, mine.id);
	EXPECT_EQ(1, mine.alive);
	EXPECT_EQ(MIB(1), mine.quota_bytes);
	EXPECT_EQ(KIB(64), mine.used_bytes);
	/* Another open file learns that it lives, and no more. */
	q.id = mine.id;
	q.data = (uintptr_t)&theirs;
	ASSERT_EQ(0, call(other, DRM_IOCTL_NPOOL_QUERY, &q));
	EXPECT_EQ(mine.id, theirs.id);
	EXPECT_EQ(1, theirs.alive);
	EXPECT_EQ(0, theirs.quota_bytes);
	EXPECT_EQ(0, theirs.used_bytes);
	EXPECT_EQ(0, theirs.pad);
	q.id = UINT64_MAX;
	ASSERT_EQ(0, call(other, DRM_IOCTL_NPOOL_QUERY, &q));
	EXPECT_EQ(0, theirs.alive);
	close(other);
}

TEST_F(arrays, bo_create_npus)
{
	uint32_t ids[] = { self->p.npu[0] };
	struct drm_npool_bo_create bo = { .size = KIB(4), .npu_count = 1,
					  .placement = DRM_NPOOL_PLACE_NPU };
	struct drm_npool_bo_create want;
	static const uint64_t bad[] = { 8, 1ull << 63, UINT64_MAX - 3, 0x7ffffffffffeull };
	static const uint32_t counts[] = { UINT32_MAX, 1u << 31, 1u << 30, 100000 };
	unsigned int i, placement;

	want = bo;
	EXPECT_TRUE(is_bad_null(call(self->fd, DRM_IOCTL_NPOOL_BO_CREATE, &bo)));
	for (i = 0; i < ARRAY_LEN(bad); i++) {
		want.npus = bo.npus = bad[i];
		EXPECT_EQ(-EFAULT, call(self->fd, DRM_IOCTL_NPOOL_BO_CREATE, &bo));
	}
	want.npus = bo.npus = (uintptr_t)self->page + 4094;
	EXPECT_EQ(-EFAULT, call(self->fd, DRM_IOCTL_NPOOL_BO_CREATE, &bo));
	want.npus = bo.npus = (uintptr_t)ids;
	for (placement = 0; placement < 3; placement++)
		for (i = 0; i < ARRAY_LEN(counts); i++) {
			want.npu_count = bo.npu_count = counts[i];
			want.placement = bo.placement = placement;
			want.stripe = bo.stripe = placement == 2 ? KIB(4) : 0;
			EXPECT_EQ(-EINVAL, call(self->fd, DRM_IOCTL_NPOOL_BO_CREATE, &bo));
		}
	EXPECT_EQ(0, memcmp(&want, &bo, sizeof(bo)));
}

TEST_F(arrays, bo_info_npus)
{
	struct drm_npool_bo_info info = { .handle = self->bo, .npu_count = 1 }, was;

	info.npus = (uintptr_t)self->page + 4096;
	was = info;
	EXPECT_EQ(-EFAULT, call(self->fd, DRM_IOCTL_NPOOL_BO_INFO, &info));
	EXPECT_EQ(0, memcmp(&was, &info, sizeof(info)));
	info.npus = (uintptr_t)self->page;
	info.npu_count = UINT32_MAX;
	EXPECT_EQ(0, call(self->fd, DRM_IOCTL_NPOOL_BO_INFO, &info));
	EXPECT_EQ(1, info.npu_count);
	EXPECT_EQ(self->p.npu[0], *(uint32_t *)self->page);
	info = (struct drm_npool_bo_info){ .handle = 12345 };
	EXPECT_EQ(-ENOENT, call(self->fd, DRM_IOCTL_NPOOL_BO_INFO, &info));
	info = (struct drm_npool_bo_info){ .handle = 0 };
	EXPECT_EQ(-ENOENT, call(self->fd, DRM_IOCTL_NPOOL_BO_INFO, &info));
}

/* Lays one item of size at the end of the page with the given stride and value after it. */
static uint64_t lay(uint8_t *page, const void *item, size_t size, uint32_t stride, uint8_t tail)
{
	uint8_t *at = page + 4096 - stride;

	memset(page, 0, 4096);
	memcpy(at, item, size < stride ? size : stride);
	if (stride > size)
		at[stride - 1] = tail;
	return (uintptr_t)at;
}

TEST_F(arrays, submit_ops)
{
	struct drm_npool_seg seg = { 0, 0, 8 };
	struct drm_npool_op op = { .type = DRM_NPOOL_OP_FILL, .dst = self->bo,
				   .segs = (uintptr_t)&seg,
				   .seg_count = 1, .seg_stride = sizeof(seg) };
	struct drm_npool_submit good = { .queue = self->queue, .op_count = 1 }, s = good;
	uint32_t stride;

	for (stride = 0; stride < 256; stride += stride < 48 ? 1 : 8) {
		s = good;
		s.op_stride = stride;
		s.ops = lay(self->page, &op, sizeof(op), stride, 0);
		EXPECT_EQ(stride < sizeof(op) ? -EINVAL : 0,
			  call(self->fd, DRM_IOCTL_NPOOL_SUBMIT, &s));
		if (stride <= sizeof(op))
			continue;
		s = good;
		s.op_stride = stride;
		s.ops = lay(self->page, &op, sizeof(op), stride, 1);
		EXPECT_EQ(-E2BIG, call(self->fd, DRM_IOCTL_NPOOL_SUBMIT, &s));
	}
	s = good;
	s.op_stride = sizeof(op);
	EXPECT_TRUE(is_bad_null(call(self->fd, DRM_IOCTL_NPOOL_SUBMIT, &s)));
	s.ops = (uintptr_t)self->page + 4096;
	EXPECT_EQ(-EFAULT, call(self->fd, DRM_IOCTL_NPOOL_SUBMIT, &s));
	s.ops = (uintptr_t)self->page + 4096 - sizeof(op) + 1;
	EXPECT_EQ(-EFAULT, call(self->fd, DRM_IOCTL_NPOOL_SUBMIT, &s));
	s.ops = lay(self->page, &op, sizeof(op), sizeof(op), 0);
	s.op_stride = UINT32_MAX;
	EXPECT_GT(0, call(self->fd, DRM_IOCTL_NPOOL_SUBMIT, &s));
	s.op_stride = sizeof(op);
	s.op_count = UINT32_MAX;
	EXPECT_EQ(-EINVAL, call(self->fd, DRM_IOCTL_NPOOL_SUBMIT, &s));
	EXPECT_EQ(0, s.seqno);
}

TEST_F(arrays, submit_op_fields)
{
	struct drm_npool_seg seg = { 0, 0, 8 };
	struct drm_npool_op good = { .type = DRM_NPOOL_OP_FILL, .dst = self->bo,
				     .segs = (uintptr_t)&seg,
				     .seg_count = 1, .seg_stride = sizeof(seg) }, op;
	unsigned int bit;

	ASSERT_EQ(0, submit_one(self->fd, self->queue, &good, NULL, NULL));
	for (bit = 0; bit < 32; bit++) {
		op = good;
		op.flags = 1u << bit;
		EXPECT_EQ(-EOPNOTSUPP, submit_one(self->fd, self->queue, &op, NULL, NULL));
		op = good;
		op.type = DRM_NPOOL_OP_FILL | (2u << bit % 31);
		EXPECT_EQ(-EOPNOTSUPP, submit_one(self->fd, self->queue, &op, NULL, NULL));
	}
	op = good;
	op.src = self->bo;
	EXPECT_EQ(-EINVAL, submit_one(self->fd, self->queue, &op, NULL, NULL));
	op = good;
	op.dst = 9999;
	EXPECT_EQ(-ENOENT, submit_one(self->fd, self->queue, &op, NULL, NULL));
	op = good;
	op.type = DRM_NPOOL_OP_COPY;
	EXPECT_EQ(-ENOENT, submit_one(self->fd, self->queue, &op, NULL, NULL));
	op.src = 9999;
	EXPECT_EQ(-ENOENT, submit_one(self->fd, self->queue, &op, NULL, NULL));
	EXPECT_EQ(-ENOENT, submit_one(self->fd, self->queue + 1000, &good, NULL, NULL));
	EXPECT_EQ(-ENOENT, submit_one(self->fd, 0, &good, NULL, NULL));
}

TEST_F(arrays, submit_segs)
{
	struct drm_npool_seg seg = { 0, 0, 8 };
	struct drm_npool_op op = { .type = DRM_NPOOL_OP_FILL, .dst = self->bo, .seg_count = 1 };
	uint32_t stride;

	for (stride = 0; stride < 256; stride += stride < 32 ? 1 : 8) {
		op.seg_stride = stride;
		op.segs = lay(self->page, &seg, sizeof(seg), stride, 0);
		EXPECT_EQ(stride < sizeof(seg) ? -EINVAL : 0,
			  submit_one(self->fd, self->queue, &op, NULL, NULL));
		if (stride <= sizeof(seg))
			continue;
		op.segs = lay(self->page, &seg, sizeof(seg), stride, 1);
		EXPECT_EQ(-E2BIG, submit_one(self->fd, self->queue, &op, NULL, NULL));
	}
	op.seg_stride = sizeof(seg);
	op.segs = 0;
	EXPECT_TRUE(is_bad_null(submit_one(self->fd, self->queue, &op, NULL, NULL)));
	op.segs = (uintptr_t)self->page + 4090;
	EXPECT_EQ(-EFAULT, submit_one(self->fd, self->queue, &op, NULL, NULL));
	op.segs = UINT64_MAX - 7;
	EXPECT_EQ(-EFAULT, submit_one(self->fd, self->queue, &op, NULL, NULL));
	op.segs = (uintptr_t)&seg;
	op.seg_count = UINT32_MAX;
	EXPECT_EQ(-EINVAL, submit_one(self->fd, self->queue, &op, NULL, NULL));
	op.seg_count = 0;
	EXPECT_EQ(-EINVAL, submit_one(self->fd, self->queue, &op, NULL, NULL));
}

TEST_F(arrays, submit_syncs)
{
	struct drm_npool_sync sync = { .handle = self->sync, .point = 1 };
	struct drm_npool_submit good = { .queue = self->queue, .signal_count = 1 }, s;
	unsigned int i, bit;
	uint32_t stride;

	for (i = 0; i < 2; i++) {
		for (stride = 0; stride < 128; stride += stride < 24 ? 1 : 8) {
			uint8_t tail;

			for (tail = 0; tail < 2; tail++) {
				uint64_t at = lay(self->page, &sync, sizeof(sync), stride, tail);

				s = good;
				s.signal_count = !i;
				s.wait_count = i;
				s.sync_stride = stride;
				s.waits = i ? at : 0;
				s.signals = i ? 0 : at;
				EXPECT_EQ(stride < sizeof(sync) ? -EINVAL :
					  stride > sizeof(sync) && tail ? -E2BIG : 0,
					  call(self->fd, DRM_IOCTL_NPOOL_SUBMIT, &s));
				if (!i)
					sync.point++;
			}
		}
		sync.point = 1;
		s = good;
		s.signal_count = !i;
		s.wait_count = i;
		s.sync_stride = sizeof(sync);
		s.waits = s.signals = (uintptr_t)self->page + 4096;
		EXPECT_EQ(-EFAULT, call(self->fd, DRM_IOCTL_NPOOL_SUBMIT, &s));
		s.waits = s.signals = (uintptr_t)&sync;
		for (bit = 0; bit < 32; bit++) {
			sync.flags = 1u << bit;
			EXPECT_EQ(-EOPNOTSUPP, call(self->fd, DRM_IOCTL_NPOOL_SUBMIT, &s));
		}
		sync.flags = 0;
		sync.point = 0;
		EXPECT_EQ(-EINVAL, call(self->fd, DRM_IOCTL_NPOOL_SUBMIT, &s));
		sync.point = 1;
		sync.handle = 9999;
		EXPECT_EQ(-ENOENT, call(self->fd, DRM_IOCTL_NPOOL_SUBMIT, &s));
		sync.handle = self->sync;
		s.signal_count = i ? 0 : UINT32_MAX;
		s.wait_count = i ? UINT32_MAX : 0;
		EXPECT_EQ(-EINVAL, call(self->fd, DRM_IOCTL_NPOOL_SUBMIT, &s));
	}
}

/* Items of a caller who knows longer ones than the kernel does. */
struct wide_op {
	struct drm_npool_op op;
	uint64_t more;
};

struct wide_seg {
	struct drm_npool_seg seg;
	uint64_t more[2];
};

struct wide_sync {
	struct drm_npool_sync sync;
	uint32_t more[3];
};

TEST_F(arrays, items_lie_a_stride_apart)
{
	struct wide_seg segs[4] = { 0 };
	struct wide_sync syncs[] = {
		{ .sync = { .handle = self->sync, .point = 1 } },
		{ .sync = { .handle = sync_new(self->fd), .point = 2 } },
	};
	struct wide_op ops[2] = { 0 };
	struct drm_npool_submit s = {
		.queue = self->queue, .ops = (uintptr_t)ops, .op_count = 2,
		.op_stride = sizeof(ops[0]), .signals = (uintptr_t)syncs, .signal_count = 2,
		.sync_stride = sizeof(syncs[0]),
	};
	struct drm_npool_bo_create bo = bo_new(self->fd, self->p.npu[1], KIB(4));
	uint8_t *m = bo_map(self->fd, &bo);
	unsigned int i;

	for (i = 0; i < 4; i++)
		segs[i].seg = (struct drm_npool_seg){ i * 16, 0, 8 };
	for (i = 0; i < 2; i++)
		ops[i].op = (struct drm_npool_op){
			.type = DRM_NPOOL_OP_FILL, .dst = bo.handle,
			.pattern = (i + 1) * 0x0101010101010101ull,
			.segs = (uintptr_t)(segs + 2 * i), .seg_count = 2,
			.seg_stride = sizeof(segs[0]),
		};
	ASSERT_EQ(0, call(self->fd, DRM_IOCTL_NPOOL_SUBMIT, &s));
	/* Both points are there to be waited for. */
	s.waits = s.signals;
	s.wait_count = 2;
	s.signal_count = 0;
	ASSERT_EQ(0, call(self->fd, DRM_IOCTL_NPOOL_SUBMIT, &s));
	ASSERT_EQ(0, wait_for(self->fd, self->queue, s.seqno));
	for (i = 0; i < 64; i += 8)
		EXPECT_TRUE(all_bytes(m + i, 8, i % 16 ? 0 : 1 + i / 32))
			TH_LOG("at %u", i);
	munmap(m, KIB(4));
}

TEST_F(arrays, answers_lie_a_stride_apart)
{
	uint32_t stride = sizeof(struct drm_npool_npu_info) + 24, i, found = 0;
	struct drm_npool_query q = { .topic = DRM_NPOOL_TOPIC_NPUS, .data = (uintptr_t)self->page,
				     .count = 4096 / stride, .stride = stride };

	ASSERT_EQ(0, call(self->fd, DRM_IOCTL_NPOOL_QUERY, &q));
	for (i = 0; i < q.count && i < 4096 / stride; i++) {
		struct drm_npool_npu_info *info = (void *)(self->page + i * stride);

		found += info->id == self->p.npu[found % OWN_NPUS];
		EXPECT_TRUE(all_bytes((uint8_t *)(info + 1), 24, 0));
	}
	EXPECT_EQ(OWN_NPUS, found);
}

TEST_F(arrays, wait_and_ctl_values)
{
	struct drm_npool_wait wait = { .queue = self->queue, .seqno = 1 }, was = wait;
	struct drm_npool_npu_ctl ctl = { .npu = self->p.npu[0] };
	unsigned int i;

	EXPECT_EQ(-EINVAL, call(self->fd, DRM_IOCTL_NPOOL_WAIT, &wait));
	wait.seqno = was.seqno = 0;
	EXPECT_EQ(-EINVAL, call(self->fd, DRM_IOCTL_NPOOL_WAIT, &wait));
	wait.queue = was.queue = 4711;
	EXPECT_EQ(-ENOENT, call(self->fd, DRM_IOCTL_NPOOL_WAIT, &wait));
	EXPECT_EQ(0, memcmp(&wait, &was, sizeof(wait)));
	EXPECT_EQ(-ENOENT, queue_end(self->fd, 4711));
	EXPECT_EQ(-ENOENT, queue_end(self->fd, 0));
	for (i = 2; i < 34; i++) {
		ctl.action = i < 33 ? i : UINT32_MAX;
		EXPECT_EQ(-EOPNOTSUPP, call(self->fd, DRM_IOCTL_NPOOL_NPU_CTL, &ctl));
	}
	ctl.action = DRM_NPOOL_NPU_INJECT;
	ctl.fault = 4;
	EXPECT_EQ(-EOPNOTSUPP, call(self->fd, DRM_IOCTL_NPOOL_NPU_CTL, &ctl));
	ctl = (struct drm_npool_npu_ctl){ .npu = self->p.npu[0], .fault = 1 };
	EXPECT_EQ(-EINVAL, call(self->fd, DRM_IOCTL_NPOOL_NPU_CTL, &ctl));
	ctl = (struct drm_npool_npu_ctl){ .npu = self->p.npu[0], .arg = 1 };
	EXPECT_EQ(-EINVAL, call(self->fd, DRM_IOCTL_NPOOL_NPU_CTL, &ctl));
	ctl = (struct drm_npool_npu_ctl){ .npu = UINT32_MAX };
	EXPECT_EQ(-ENOENT, call(self->fd, DRM_IOCTL_NPOOL_NPU_CTL, &ctl));
}

/* One open file's handles and queues are nothing to another. */
TEST_F(arrays, files_are_apart)
{
	int other = node_open();
	struct drm_npool_bo_info info = { .handle = self->bo };
	uint32_t queue = queue_new(other, self->p.npu[0]);
	void *p;

	EXPECT_EQ(-ENOENT, call(other, DRM_IOCTL_NPOOL_BO_INFO, &info));
	ASSERT_EQ(0, call(self->fd, DRM_IOCTL_NPOOL_BO_INFO, &info));
	p = mmap(NULL, info.size, PROT_READ, MAP_SHARED, other, info.mmap_offset);
	EXPECT_EQ(MAP_FAILED, p);
	EXPECT_EQ(EACCES, errno);
	EXPECT_EQ(-ENOENT, move_bytes(other, queue, self->bo, 0, self->bo, 8, 8));
	close(other);
}

TEST_HARNESS_MAIN
