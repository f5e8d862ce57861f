// SPDX-License-Identifier: MIT
/*
 * The ABI rules, for every ioctl: too short, as first published, long with a zero
 * tail, long with another tail, garbage, other directions, each pad and flag bit,
 * bad pointers, outputs left alone on failure. Each of them from 64-bit and from
 * 32-bit code as well.
 */
#include <stddef.h>

#include "npool.h"

#define ROOM 256		/* bytes of the longest struct tried, a tail included */
#define SLACK_NS 40000		/* what ports are tuned to at first */

/* One layout for 32 and 64 bit: nothing to translate, no hidden padding. */
#define LAYOUT(name, size, last) \
	_Static_assert(sizeof(struct drm_npool_##name) == (size) && (size) % 8 == 0 && \
		       offsetof(struct drm_npool_##name, last) + \
		       sizeof(((struct drm_npool_##name *)0)->last) == (size), #name)
LAYOUT(query, 32, stride);
LAYOUT(pool_info, 56, queue_depth);
LAYOUT(npu_info, 104, name);
LAYOUT(npu_stats, 72, queue_ns);
LAYOUT(client_info, 32, used_bytes);
LAYOUT(qos_info, 32, reserved);
LAYOUT(port_info, 64, moved);
LAYOUT(class_stats, 2104, service_ns);
LAYOUT(bo_create, 48, mmap_offset);
LAYOUT(bo_info, 48, placement);
LAYOUT(queue_create, 48, dst);
LAYOUT(queue_destroy, 8, pad);
LAYOUT(seg, 24, size);
LAYOUT(op, 40, seg_stride);
LAYOUT(sync, 16, point);
LAYOUT(submit, 96, pad2);
LAYOUT(wait, 40, pad);
LAYOUT(set_quota, 16, pad);
LAYOUT(npu_ctl, 24, arg);
LAYOUT(qos_ctl, 24, value);

/* A 32-bit caller's ioctl(): the old system call gate, with a pointer below 4 GiB. */
static int call32(int fd, unsigned long cmd, void *arg)
{
	int ret;

	asm volatile("int $0x80"
		     : "=a"(ret)
		     : "a"(54), "b"(fd), "c"((uint32_t)cmd), "d"((uint32_t)(uintptr_t)arg)
		     : "memory", "r8", "r9", "r10", "r11");
	return ret;
}

FIXTURE(abi)
{
	struct pool p;
	int fd;
	uint32_t bo, queue, sync;
	uint64_t seqno;
	void *arg, *low;	/* pages below 4 GiB, after arg's comes none */
	int (*call)(int fd, unsigned long cmd, void *arg);
};

FIXTURE_VARIANT(abi)
{
	int (*call)(int fd, unsigned long cmd, void *arg);
};

FIXTURE_VARIANT_ADD(abi, native)
{
	.call = call,
};

FIXTURE_VARIANT_ADD(abi, compat)
{
	.call = call32,
};

FIXTURE_SETUP(abi)
{
	pool_setup(&self->p);
	self->fd = node_open();
	self->bo = bo_new(self->fd, self->p.npu[0], KIB(64)).handle;
	self->queue = queue_new(self->fd, self->p.npu[0]);
	self->sync = sync_new(self->fd);
	must_ok(submit_one(self->fd, self->queue, NULL, NULL, &self->seqno));
	must_ok(wait_for(self->fd, self->queue, self->seqno));
	self->arg = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS |
			 MAP_32BIT, -1, 0);
	self->low = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS |
			 MAP_32BIT, -1, 0);
	must(self->arg != MAP_FAILED && self->low != MAP_FAILED);
	must_ok(munmap(self->arg + 4096, 4096));
	self->call = variant->call;
}

FIXTURE_TEARDOWN(abi)
{
	close(self->fd);
	EXPECT_TRUE(pool_teardown(&self->p));
}

/* --- one good call of each ioctl, and what of it must be zero ------------------------- */

struct must_be_zero {
	unsigned int offset, bytes;
	int err;
	unsigned int known;	/* lowest bits, which mean something */
};

struct ioctl_case {
	const char *name;
	unsigned long cmd;
	void (*good)(FIXTURE_DATA(abi) *self, void *arg);
	void (*undo)(FIXTURE_DATA(abi) *self, void *arg);
	unsigned int first;	/* first published size */
	struct must_be_zero zero[8];
};

static void good_query(FIXTURE_DATA(abi) *self, void *arg)
{
	struct drm_npool_query *query = arg;

	*query = (struct drm_npool_query){ .data = (uintptr_t)self->low, .count = 1,
					   .stride = sizeof(struct drm_npool_pool_info) };
}

static void good_bo_create(FIXTURE_DATA(abi) *self, void *arg)
{
	struct drm_npool_bo_create *bo = arg;

	memcpy(self->low, &self->p.npu[0], sizeof(uint32_t));
	*bo = (struct drm_npool_bo_create){ .size = KIB(4), .npus = (uintptr_t)self->low,
					    .npu_count = 1, .placement = DRM_NPOOL_PLACE_NPU };
}

static void undo_bo_create(FIXTURE_DATA(abi) *self, void *arg)
{
	bo_close(self->fd, ((struct drm_npool_bo_create *)arg)->handle);
}

static void good_bo_info(FIXTURE_DATA(abi) *self, void *arg)
{
	*(struct drm_npool_bo_info *)arg = (struct drm_npool_bo_info){ .handle = self->bo };
}

static void good_queue_create(FIXTURE_DATA(abi) *self, void *arg)
{
	*(struct drm_npool_queue_create *)arg =
		(struct drm_npool_queue_create){ .npu = self->p.npu[0] };
}

static void undo_queue_create(FIXTURE_DATA(abi) *self, void *arg)
{
	must_ok(queue_end(self->fd, ((struct drm_npool_queue_create *)arg)->queue));
}

static void good_queue_destroy(FIXTURE_DATA(abi) *self, void *arg)
{
	struct drm_npool_queue_destroy *destroy = arg;

	*destroy = (struct drm_npool_queue_destroy){ .queue = queue_new(self->fd, self->p.npu[0]) };
}

static void good_submit(FIXTURE_DATA(abi) *self, void *arg)
{
	*(struct drm_npool_submit *)arg = (struct drm_npool_submit){ .queue = self->queue };
}

static void good_wait(FIXTURE_DATA(abi) *self, void *arg)
{
	*(struct drm_npool_wait *)arg = (struct drm_npool_wait){ .queue = self->queue,
								 .seqno = self->seqno };
}

static void good_set_quota(FIXTURE_DATA(abi) *self, void *arg)
{
	(void)self;
	*(struct drm_npool_set_quota *)arg = (struct drm_npool_set_quota){ .bytes = 0 };
}

static void good_npu_ctl(FIXTURE_DATA(abi) *self, void *arg)
{
	/* Injecting no failed copies at all changes nothing. */
	*(struct drm_npool_npu_ctl *)arg = (struct drm_npool_npu_ctl){
		.npu = self->p.npu[3], .action = DRM_NPOOL_NPU_INJECT,
			.fault = DRM_NPOOL_FAULT_COPY };
}

static void good_qos_ctl(FIXTURE_DATA(abi) *self, void *arg)
{
	(void)self;
	*(struct drm_npool_qos_ctl *)arg = (struct drm_npool_qos_ctl){
		.action = DRM_NPOOL_QOS_SLACK, .value = SLACK_NS };
}

#define ZERO_ABOVE(name, field, err, known) \
	{ offsetof(struct drm_npool_##name, field), \
	  sizeof(((struct drm_npool_##name *)0)->field), err, known }
#define Z(name, field, err) ZERO_ABOVE(name, field, err, 0)

static const struct ioctl_case cases[] = {
	{ "QUERY", DRM_IOCTL_NPOOL_QUERY, good_query, NULL, 32,
	  { Z(query, flags, -EOPNOTSUPP), Z(query, id, -EINVAL) } },
	{ "BO_CREATE", DRM_IOCTL_NPOOL_BO_CREATE, good_bo_create, undo_bo_create, 48,
	  { Z(bo_create, flags, -EOPNOTSUPP), Z(bo_create, stripe, -EINVAL) } },
	{ "BO_INFO", DRM_IOCTL_NPOOL_BO_INFO, good_bo_info, NULL, 48, { { 0 } } },
	{ "QUEUE_CREATE", DRM_IOCTL_NPOOL_QUEUE_CREATE, good_queue_create, undo_queue_create, 16,
	  { ZERO_ABOVE(queue_create, flags, -EOPNOTSUPP, 2), Z(queue_create, pad, -EINVAL),
	    ZERO_ABOVE(queue_create, class_id, -EINVAL, 3),
	    Z(queue_create, budget, -EINVAL), Z(queue_create, period_ns, -EINVAL),
	    Z(queue_create, src, -EINVAL),
	    Z(queue_create, dst, -EINVAL) } },
	{ "QUEUE_DESTROY", DRM_IOCTL_NPOOL_QUEUE_DESTROY, good_queue_destroy, NULL, 8,
	  { Z(queue_destroy, pad, -EINVAL) } },
	{ "SUBMIT", DRM_IOCTL_NPOOL_SUBMIT, good_submit, NULL, 64,
	  { ZERO_ABOVE(submit, flags, -EOPNOTSUPP, 2), Z(submit, pad, -EINVAL),
	    Z(submit, class_id, -EINVAL), Z(submit, weight, -EINVAL),
	    Z(submit, pad2, -EINVAL) } },
	{ "WAIT", DRM_IOCTL_NPOOL_WAIT, good_wait, NULL, 40,
	  { Z(wait, flags, -EOPNOTSUPP), Z(wait, pad, -EINVAL) } },
	{ "SET_QUOTA", DRM_IOCTL_NPOOL_SET_QUOTA, good_set_quota, NULL, 16,
	  { Z(set_quota, flags, -EOPNOTSUPP), Z(set_quota, pad, -EINVAL) } },
	{ "NPU_CTL", DRM_IOCTL_NPOOL_NPU_CTL, good_npu_ctl, NULL, 24,
	  { Z(npu_ctl, flags, -EOPNOTSUPP) } },
	{ "QOS_CTL", DRM_IOCTL_NPOOL_QOS_CTL, good_qos_ctl, NULL, 24,
	  { Z(qos_ctl, flags, -EOPNOTSUPP), Z(qos_ctl, client, -EINVAL) } },
};

/* Makes the call expecting an error or 0; on failure not a byte of the struct may change. */
static void expect(struct __test_metadata *_metadata, FIXTURE_DATA(abi) *self,
		   const struct ioctl_case *c, unsigned long cmd, int want)
{
	uint8_t saved[ROOM];
	int got;

	memcpy(saved, self->arg, ROOM);
	got = self->call(self->fd, cmd, self->arg);
	EXPECT_EQ(want, got)
		TH_LOG("%s", c->name);
	if (got)
		EXPECT_EQ(0, memcmp(saved, self->arg, ROOM))
			TH_LOG("%s wrote", c->name);
	if (!got && c->undo)
		c->undo(self, self->arg);
}

#define EXPECT_CALL(want, c, cmd) expect(_metadata, self, c, cmd, want)

#define for_each_case(c) for (c = cases; c < cases + ARRAY_LEN(cases); c++)

static void prepare(FIXTURE_DATA(abi) *self, const struct ioctl_case *c)
{
	memset(self->arg, 0, ROOM);
	c->good(self, self->arg);
}

TEST_F(abi, exact_and_long_with_zero_tail)
{
	const struct ioctl_case *c;

	for_each_case(c) {
		unsigned int dir = _IOC_DIR(c->cmd), size = _IOC_SIZE(c->cmd), more;

		prepare(self, c);
		EXPECT_CALL(0, c, c->cmd);
		for (more = 1; size + more <= ROOM; more = more * 3 + 1) {
			prepare(self, c);
			EXPECT_CALL(0, c, cmd_with(c->cmd, dir, size + more));
			EXPECT_TRUE(all_bytes(self->arg + size, more, 0))
				TH_LOG("%s", c->name);
		}
	}
}

TEST_F(abi, long_with_another_tail)
{
	const struct ioctl_case *c;

	for_each_case(c) {
		unsigned int dir = _IOC_DIR(c->cmd), size = _IOC_SIZE(c->cmd), at;

		for (at = size; at < ROOM; at = at * 2 - size + 1) {
			prepare(self, c);
			((uint8_t *)self->arg)[at] = 1;
			EXPECT_CALL(-E2BIG, c, cmd_with(c->cmd, dir, at + 1));
			EXPECT_CALL(-E2BIG, c, cmd_with(c->cmd, dir, ROOM));
			if (c->good == good_queue_destroy)
				must_ok(call(self->fd, c->cmd, self->arg));
		}
	}
}

TEST_F(abi, short_structs)
{
	const struct ioctl_case *c;
	unsigned int size;

	for_each_case(c) {
		prepare(self, c);
		for (size = 0; size < c->first; size++)
			EXPECT_CALL(-EINVAL, c, cmd_with(c->cmd, _IOC_DIR(c->cmd), size));
	}
}

/* Old programs: what they do not know of is zero, and is not written. */
TEST_F(abi, structs_as_first_published)
{
	const struct ioctl_case *c;
	unsigned int size;

	for_each_case(c)
		for (size = c->first; size < _IOC_SIZE(c->cmd); size += 4) {
			prepare(self, c);
			memset(self->arg + size, 0xa5, ROOM - size);
			EXPECT_CALL(0, c, cmd_with(c->cmd, _IOC_DIR(c->cmd), size));
			EXPECT_TRUE(all_bytes(self->arg + size, ROOM - size, 0xa5))
				TH_LOG("%s of %u bytes", c->name, size);
			/* The bytes behind need not be there. */
			prepare(self, c);
			memmove(self->arg + 4096 - size, self->arg, size);
			EXPECT_EQ(0,
				  self->call(self->fd, cmd_with(c->cmd, _IOC_DIR(c->cmd), size),
					     self->arg + 4096 - size))
				TH_LOG("%s of %u bytes", c->name, size);
			if (c->undo)
				c->undo(self, self->arg + 4096 - size);
		}
}

TEST_F(abi, other_directions)
{
	const struct ioctl_case *c;
	unsigned int dir;

	for_each_case(c) {
		prepare(self, c);
		for (dir = 0; dir < 4; dir++)
			if (dir != _IOC_DIR(c->cmd))
				EXPECT_CALL(-EINVAL, c, cmd_with(c->cmd, dir, _IOC_SIZE(c->cmd)));
	}
}

TEST_F(abi, every_bit_that_must_be_zero)
{
	const struct must_be_zero *zero;
	const struct ioctl_case *c;
	unsigned int bit;

	for_each_case(c)
		for (zero = c->zero; zero->bytes; zero++)
			for (bit = zero->known; bit < zero->bytes * 8; bit++) {
				prepare(self, c);
				((uint8_t *)self->arg)[zero->offset + bit / 8] |= 1 << bit % 8;
				EXPECT_CALL(zero->err, c, c->cmd);
			}
}

TEST_F(abi, bad_pointers)
{
	const struct ioctl_case *c;
	void *read_only;

	for_each_case(c) {
		unsigned int size = _IOC_SIZE(c->cmd), cut;

		EXPECT_EQ(-EFAULT, self->call(self->fd, c->cmd, NULL))
			TH_LOG("%s", c->name);
		EXPECT_EQ(-EFAULT, self->call(self->fd, c->cmd, self->arg + 4096))
			TH_LOG("%s", c->name);
		/* The struct runs over the end of its page. */
		prepare(self, c);
		for (cut = 1; cut < size; cut += 3) {
			void *end = self->arg + 4096 - cut;

			memcpy(end, self->arg, cut);
			EXPECT_EQ(-EFAULT, self->call(self->fd, c->cmd, end))
				TH_LOG("%s", c->name);
		}
		if (!(_IOC_DIR(c->cmd) & _IOC_READ))
			continue;
		/* Where the result cannot be written nothing may have happened. */
		read_only = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
		memcpy(read_only, self->arg, size);
		mprotect(read_only, 4096, PROT_READ);
		EXPECT_EQ(-EFAULT, self->call(self->fd, c->cmd, read_only))
			TH_LOG("%s", c->name);
		munmap(read_only, 4096);
	}
	EXPECT_EQ(OWN_BYTES - KIB(64), npu_free(self->p.dev, self->p.npu[0]));
}

/* No errno but those that the header names, and no harm. */
TEST_F(abi, garbage)
{
	static const int allowed[] = { 0, -EINVAL, -EOPNOTSUPP, -ENOENT, -E2BIG, -EFAULT, -ENODEV,
				       -ENOSPC, -EDQUOT, -EMFILE, -EBUSY, -ETIME, -ENODATA };
	uint64_t seed = 4711;
	unsigned int i, j, k;

	for (i = 0; i < scaled(40000); i++) {
		const struct ioctl_case *c = &cases[i % ARRAY_LEN(cases)];
		unsigned int size = _IOC_SIZE(c->cmd), cmd = c->cmd;
		uint32_t *words = self->arg;
		int got;

		memset(self->arg, 0, ROOM);
		if (c->good != good_queue_destroy)
			c->good(self, self->arg);
		for (j = 1 + rnd(&seed) % 3; j; j--)
			words[rnd(&seed) % (size / 4)] = rnd(&seed) >> rnd(&seed) % 32;
		if (rnd(&seed) % 8 == 0)
			scribble(self->arg, size, seed);
		if (rnd(&seed) % 8 == 0)
			cmd = cmd_with(cmd, rnd(&seed) % 4, rnd(&seed) % ROOM);
		/* Nobody's NPU is to be killed by chance, nor may a wait be for ever. */
		if (c->good == good_npu_ctl)
			((struct drm_npool_npu_ctl *)self->arg)->npu |= 1u << 31;
		if (c->good == good_wait)
			((struct drm_npool_wait *)self->arg)->timeout_ns = 0;
		got = self->call(self->fd, cmd, self->arg);
		for (k = 0; k < ARRAY_LEN(allowed) && got != allowed[k]; k++)
			;
		ASSERT_NE(ARRAY_LEN(allowed), k)
			TH_LOG("%s gives %d", c->name, got);
		if (!got && c->undo)
			c->undo(self, self->arg);
		if (!got && c->good == good_set_quota)
			must_ok(call(self->fd, c->cmd, &(struct drm_npool_set_quota){ 0 }));
	}
	good_qos_ctl(self, self->arg);
	must_ok(call(self->fd, DRM_IOCTL_NPOOL_QOS_CTL, self->arg));
	must_ok(call(self->fd, DRM_IOCTL_NPOOL_QOS_CTL,
		     &(struct drm_npool_qos_ctl){ .action = DRM_NPOOL_QOS_POLICY,
						  .value = DRM_NPOOL_POLICY_HYBRID }));
}

TEST_F(abi, numbers_that_are_no_ioctl)
{
	unsigned int nr;

	for (nr = DRM_NPOOL_QOS_CTL + 1; nr < 0x60; nr++)
		EXPECT_GT(0,
			  self->call(self->fd,
				     DRM_IOWR(DRM_COMMAND_BASE + nr, struct drm_npool_submit),
					self->arg));
}

/* --- unprivileged ------------------------------------------------------------------------ */

static int as_nobody(int sock, const void *arg)
{
	const FIXTURE_DATA(abi) *self = arg;
	struct drm_npool_set_quota quota = { .bytes = MIB(1) };
	struct drm_npool_npu_ctl ctl = { .npu = self->p.npu[0], .action = DRM_NPOOL_NPU_REMOVE };
	struct drm_npool_bo_create bo;

	(void)sock;
	must_ok(setgid(65534));
	must_ok(setuid(65534));
	must_ok(self->call(self->fd, DRM_IOCTL_NPOOL_SET_QUOTA,
			   memcpy(self->arg, &quota, sizeof(quota))));
	quota.bytes = KIB(512);
	must_ok(self->call(self->fd, DRM_IOCTL_NPOOL_SET_QUOTA,
			   memcpy(self->arg, &quota, sizeof(quota))));
	quota.bytes = KIB(516);
	must(self->call(self->fd, DRM_IOCTL_NPOOL_SET_QUOTA,
			memcpy(self->arg, &quota, sizeof(quota))) == -EPERM);
	quota.bytes = 0;
	must(self->call(self->fd, DRM_IOCTL_NPOOL_SET_QUOTA,
			memcpy(self->arg, &quota, sizeof(quota))) == -EPERM);
	must(self->call(self->fd, DRM_IOCTL_NPOOL_NPU_CTL,
			memcpy(self->arg, &ctl, sizeof(ctl))) == -EPERM);
	ctl = (struct drm_npool_npu_ctl){ .npu = self->p.npu[0], .action = DRM_NPOOL_NPU_INJECT };
	must(self->call(self->fd, DRM_IOCTL_NPOOL_NPU_CTL,
			memcpy(self->arg, &ctl, sizeof(ctl))) == -EPERM);
	/* What needs no privilege goes on, within the quota. */
	must_ok(bo_try(self->fd, self->p.npu[0], KIB(64), &bo));
	must(bo_try(self->fd, self->p.npu[0], KIB(512), &bo) == -EDQUOT);
	return 0;
}

TEST_F(abi, unprivileged)
{
	struct child child = child_start(as_nobody, self);

	EXPECT_EQ(0, child_end(&child));
	EXPECT_EQ(0, call(self->fd, DRM_IOCTL_NPOOL_SET_QUOTA, &(struct drm_npool_set_quota){ 0 }));
}

TEST_HARNESS_MAIN
