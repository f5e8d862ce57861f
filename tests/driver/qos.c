// SPDX-License-Identifier: MIT
/*
 * What the arbiter is asked for: who may reserve how much and where, which
 * deadlines are promised, and why and until when the others are not.
 */
#include "classes.h"

#define WIDE_NPUS 17		/* one more than a submit with a deadline may touch */
#define PROMISES 4096		/* of an open file */
#define DEPTH 256		/* submits of a queue */

/* --- what is asked for -------------------------------------------------------------------- */

TEST_F(qos, values)
{
	const uint32_t both = DRM_NPOOL_QUEUE_SRC | DRM_NPOOL_QUEUE_DST;
	const struct { struct drm_npool_queue_create create; int err; } bad[] = {
		{ { .class_id = DRM_NPOOL_CLASSES }, -EINVAL },
		{ { .class_id = DRM_NPOOL_CLASS_LATENCY }, -EINVAL },
		{ { .class_id = DRM_NPOOL_CLASS_CONTROL, .budget = 1 }, -EINVAL },
		{ { .class_id = DRM_NPOOL_CLASS_LATENCY, .period_ns = SEC_NS }, -EINVAL },
		{ { .class_id = DRM_NPOOL_CLASS_LATENCY, .budget = 1, .period_ns = 9999 },
		  -EINVAL },
		{ { .class_id = DRM_NPOOL_CLASS_LATENCY, .budget = 1, .period_ns = SEC_NS + 1 },
		  -EINVAL },
		{ { .class_id = DRM_NPOOL_CLASS_LATENCY, .budget = (1ull << 32) + 1,
		    .period_ns = SEC_NS }, -EINVAL },
		{ { .class_id = DRM_NPOOL_CLASS_BULK, .budget = 1, .period_ns = SEC_NS }, -EINVAL },
		{ { .class_id = DRM_NPOOL_CLASS_DEADLINE, .budget = 1, .period_ns = SEC_NS },
		  -EINVAL },
		{ { .class_id = DRM_NPOOL_CLASS_SCRUB, .budget = 1, .period_ns = SEC_NS },
		  -EINVAL },
		{ { .weight = DRM_NPOOL_MAX_WEIGHT + 1 }, -EINVAL },
		{ { .flags = DRM_NPOOL_QUEUE_SRC, .src = self->slow }, -EINVAL },
		{ { .class_id = DRM_NPOOL_CLASS_LATENCY, .budget = 1, .period_ns = SEC_NS,
		    .src = 1 }, -EINVAL },
		{ { .class_id = DRM_NPOOL_CLASS_LATENCY, .budget = 1, .period_ns = SEC_NS,
		    .flags = both, .src = self->slow, .dst = 1u << 30 }, -ENOENT },
		{ { .flags = 4 }, -EOPNOTSUPP },
	};
	struct drm_npool_submit submit = {
		.queue = queue_new(self->fd, self->slow), .class_id = DRM_NPOOL_CLASS_SCRUB };
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(bad); i++) {
		struct drm_npool_queue_create create = bad[i].create;

		create.npu = self->slow;
		EXPECT_EQ(bad[i].err, queue_try(self->fd, create, NULL))
			TH_LOG("case %u", i);
	}
	EXPECT_EQ(0, qos_info(self->fd).reserved);
	EXPECT_TRUE(ports_idle(self->fd));
	EXPECT_EQ(-EINVAL, call(self->fd, DRM_IOCTL_NPOOL_SUBMIT, &submit));
	submit.flags = DRM_NPOOL_SUBMIT_CLASS;
	EXPECT_EQ(0, call(self->fd, DRM_IOCTL_NPOOL_SUBMIT, &submit));
	submit.weight = DRM_NPOOL_MAX_WEIGHT;
	EXPECT_EQ(0, call(self->fd, DRM_IOCTL_NPOOL_SUBMIT, &submit));
	submit.weight++;
	EXPECT_EQ(-EINVAL, call(self->fd, DRM_IOCTL_NPOOL_SUBMIT, &submit));
	submit.weight = 0;
	submit.class_id = DRM_NPOOL_CLASS_LATENCY;
	EXPECT_EQ(-EINVAL, call(self->fd, DRM_IOCTL_NPOOL_SUBMIT, &submit));
	submit.class_id = DRM_NPOOL_CLASSES;
	EXPECT_EQ(-EINVAL, call(self->fd, DRM_IOCTL_NPOOL_SUBMIT, &submit));
	submit.queue = queue_reserved(self->fd, self->slow, DRM_NPOOL_CLASS_CONTROL, 4096, SEC_NS);
	submit.class_id = DRM_NPOOL_CLASS_CONTROL;
	EXPECT_EQ(0, call(self->fd, DRM_IOCTL_NPOOL_SUBMIT, &submit));
	EXPECT_EQ(-EINVAL, set_qos(self->fd, DRM_NPOOL_QOS_POLICY, 0, POLICIES));
	EXPECT_EQ(-EINVAL, set_qos(self->fd, DRM_NPOOL_QOS_SLACK, 0, 999));
	EXPECT_EQ(-EINVAL, set_qos(self->fd, DRM_NPOOL_QOS_SLACK, 0, 100000001));
	EXPECT_EQ(-ENOENT, set_qos(self->fd, DRM_NPOOL_QOS_GRANT, 1ull << 60, 1));
	EXPECT_EQ(-EOPNOTSUPP, set_qos(self->fd, DRM_NPOOL_QOS_GRANT + 1, 0, 1));
}

TEST_F(qos, slack_sizes_windows)
{
	struct drm_npool_qos_info info = qos_info(self->fd);
	uint64_t window = port_info(self->fd, self->slow, 0).window;

	EXPECT_EQ(DRM_NPOOL_POLICY_HYBRID, info.policy);
	EXPECT_EQ(0, set_qos(self->fd, DRM_NPOOL_QOS_SLACK, 0, 100000000));
	EXPECT_EQ(100000000, qos_info(self->fd).slack_ns);
	EXPECT_LT(window, port_info(self->fd, self->slow, 0).window);
	EXPECT_EQ(0, set_qos(self->fd, DRM_NPOOL_QOS_SLACK, 0, info.slack_ns));
	EXPECT_EQ(window, port_info(self->fd, self->slow, 0).window);
}

/* --- reservations --------------------------------------------------------------------------- */

TEST_F(qos, ports_do_not_reserve_too_much)
{
	struct drm_npool_queue_create half = {
		.npu = self->slow, .class_id = DRM_NPOOL_CLASS_LATENCY,
		.budget = SLOW_BANDWIDTH / 200, .period_ns = SEC_NS / 100,
		.flags = DRM_NPOOL_QUEUE_SRC | DRM_NPOOL_QUEUE_DST, .src = self->slow,
		.dst = self->slow,
	}, any = half;
	uint32_t queue, other, late;

	any.flags = any.src = any.dst = 0;
	ASSERT_EQ(0, queue_try(self->fd, half, &queue));
	EXPECT_EQ(SLOW_BANDWIDTH / 2, port_info(self->fd, self->slow, 0).reserved);
	EXPECT_EQ(SLOW_BANDWIDTH / 2, port_info(self->fd, self->slow, 1).reserved);
	EXPECT_EQ(0, port_info(self->fd, self->p.npu[0], 0).reserved);
	EXPECT_EQ(SLOW_BANDWIDTH / 2, qos_info(self->fd).reserved);
	EXPECT_EQ(-EBUSY, queue_try(self->fd, half, NULL));
	EXPECT_EQ(-EBUSY, queue_try(self->fd, any, NULL));
	/* Only one of both sides has room: then nothing is taken of that one either. */
	half.src = self->p.npu[0];
	EXPECT_EQ(-EBUSY, queue_try(self->fd, half, NULL));
	EXPECT_EQ(0, port_info(self->fd, self->p.npu[0], 0).reserved);
	EXPECT_EQ(0, port_info(self->fd, self->p.npu[3], 1).reserved);
	EXPECT_EQ(SLOW_BANDWIDTH / 2, port_info(self->fd, self->slow, 1).reserved);
	EXPECT_EQ(SLOW_BANDWIDTH / 2, qos_info(self->fd).reserved);
	ASSERT_EQ(0, queue_end(self->fd, queue));
	EXPECT_TRUE(ports_idle(self->fd));
	/* Everywhere, and at members that come later. */
	ASSERT_EQ(0, queue_try(self->fd, any, &other));
	EXPECT_EQ(SLOW_BANDWIDTH / 2, port_info(self->fd, self->slow, 0).reserved);
	EXPECT_EQ(SLOW_BANDWIDTH / 2, port_info(self->fd, self->p.npu[2], 1).reserved);
	late = npu_add(self->p.dev, OWN_BYTES, 0);
	EXPECT_EQ(SLOW_BANDWIDTH / 2, port_info(self->fd, late, 0).reserved);
	EXPECT_EQ(SLOW_BANDWIDTH / 2, port_info(self->fd, late, 1).reserved);
	ASSERT_EQ(0, queue_end(self->fd, other));
	EXPECT_TRUE(ports_idle(self->fd));
	EXPECT_EQ(0, qos_info(self->fd).reserved);
	must_ok(accel_npu_remove(self->p.dev, late));
}

struct poor {
	int fd;
	uint32_t npu;
	struct gate gate;
};

static int submit_weight(int fd, uint32_t queue, uint32_t weight)
{
	struct drm_npool_submit submit = {
		.queue = queue, .flags = DRM_NPOOL_SUBMIT_CLASS,
		.class_id = DRM_NPOOL_CLASS_SCRUB, .weight = weight,
	};

	return ioctl(fd, DRM_IOCTL_NPOOL_SUBMIT, &submit) ? -errno : 0;
}

static int as_nobody(int sock, const void *arg)
{
	const struct poor *poor = arg;
	struct drm_npool_queue_create create = {
		.npu = poor->npu, .class_id = DRM_NPOOL_CLASS_LATENCY, .budget = 10000,
		.period_ns = SEC_NS / 100,
	};
	struct drm_npool_queue_create heavy = {
		.npu = poor->npu, .weight = DRM_NPOOL_WEIGHT + 1,
	};
	uint32_t queue;

	must_ok(setgid(65534));
	must_ok(setuid(65534));
	must(set_qos(poor->fd, DRM_NPOOL_QOS_POLICY, 0, DRM_NPOOL_POLICY_FIFO) == -EPERM);
	must(set_qos(poor->fd, DRM_NPOOL_QOS_SLACK, 0, 5000) == -EPERM);
	must(set_qos(poor->fd, DRM_NPOOL_QOS_GRANT, client_id(poor->fd), 1) == -EPERM);
	must(queue_try(poor->fd, create, NULL) == -EPERM);
	queue_of(poor->fd, poor->npu, DRM_NPOOL_CLASS_DEADLINE, 1);
	queue = queue_of(poor->fd, poor->npu, DRM_NPOOL_CLASS_SCRUB, DRM_NPOOL_WEIGHT);
	must(queue_try(poor->fd, heavy, NULL) == -EPERM);
	must(submit_weight(poor->fd, queue, DRM_NPOOL_WEIGHT + 1) == -EPERM);
	must_ok(submit_weight(poor->fd, queue, DRM_NPOOL_WEIGHT));
	say(sock, 1);
	/* Granted twice that, less one byte a second. */
	hear(sock);
	must_ok(queue_try(poor->fd, create, &queue));
	must(queue_try(poor->fd, create, NULL) == -EPERM);
	must(qos_info(poor->fd).reserved == 1000000);
	must_ok(queue_end(poor->fd, queue));
	must(!qos_info(poor->fd).reserved);
	must_ok(queue_try(poor->fd, create, &queue));
	say(sock, 2);
	/* Taken back. */
	hear(sock);
	must(!qos_info(poor->fd).granted);
	must(qos_info(poor->fd).reserved == 1000000);
	must(queue_try(poor->fd, create, NULL) == -EPERM);
	must_ok(queue_end(poor->fd, queue));
	must(queue_try(poor->fd, create, NULL) == -EPERM);
	return 0;
}

TEST_F(qos, rights)
{
	struct poor poor = { .fd = self->fd, .npu = self->slow };
	struct child child = child_start(as_nobody, &poor);
	uint64_t id = client_id(self->fd);

	hear(child.sock);
	EXPECT_EQ(0, set_qos(self->fd, DRM_NPOOL_QOS_GRANT, id, 1999999));
	EXPECT_EQ(1999999, qos_info(self->fd).granted);
	say(child.sock, 1);
	hear(child.sock);
	EXPECT_EQ(0, set_qos(self->fd, DRM_NPOOL_QOS_GRANT, id, 0));
	say(child.sock, 2);
	EXPECT_EQ(0, child_end(&child));
}

/* --- deadlines -------------------------------------------------------------------------------- */

TEST_F(qos, refusals_tell_why_and_when)
{
	const uint32_t copies = 120;	/* 240 MiB: 14.5 s of what can be promised */
	struct drm_npool_submit submit = { .deadline_ns = now_ns() + SEC_NS / 1000 };
	uint32_t fast = bo_new(self->fd, self->p.npu[0], MIB(4)).handle;
	struct gate gate = gate_new(self->fd, self->p.dev);
	struct drm_npool_submit before;
	uint32_t a, b;

	wait_behind(&submit, &gate);
	submit.queue = a = queue_of(self->fd, self->slow, DRM_NPOOL_CLASS_DEADLINE, 0);
	b = queue_of(self->fd, self->slow, DRM_NPOOL_CLASS_DEADLINE, 0);
	EXPECT_EQ(-EBUSY, copy_times(self->fd, &submit, self->bo, self->bo, MIB(2), 1));
	EXPECT_EQ(DRM_NPOOL_REASON_LATE, submit.reason);
	EXPECT_LT(submit.deadline_ns, submit.earliest_ns);
	EXPECT_EQ(0, submit.seqno);
	EXPECT_EQ(0, port_info(self->fd, self->slow, 0).promised);
	submit.deadline_ns = 1;
	EXPECT_EQ(-EBUSY, copy_times(self->fd, &submit, self->bo, self->bo, MIB(2), 1));
	EXPECT_EQ(DRM_NPOOL_REASON_LATE, submit.reason);
	submit.deadline_ns = now_ns() + 61 * SEC_NS;
	EXPECT_EQ(-EBUSY, copy_times(self->fd, &submit, self->bo, self->bo, MIB(2), 1));
	EXPECT_EQ(DRM_NPOOL_REASON_FAR, submit.reason);
	submit.deadline_ns = UINT64_MAX;
	EXPECT_EQ(-EBUSY, copy_times(self->fd, &submit, self->bo, self->bo, MIB(2), 1));
	EXPECT_NE(DRM_NPOOL_REASON_NONE, submit.reason);
	EXPECT_EQ(5, 1 + class_stats(self->fd, self->slow, DRM_NPOOL_CLASS_DEADLINE).refused);

	submit.deadline_ns = now_ns() + 20 * SEC_NS;
	ASSERT_EQ(0, copy_times(self->fd, &submit, self->bo, self->bo, MIB(2), copies));
	EXPECT_EQ(DRM_NPOOL_REASON_NONE, submit.reason);
	EXPECT_EQ(1, submit.seqno);
	EXPECT_LT(MIB(200), port_info(self->fd, self->slow, 0).promised);
	EXPECT_LT(MIB(200), port_info(self->fd, self->slow, 1).promised);
	/* Another queue's cannot be done beside it, at either port. */
	submit.queue = b;
	before = submit;
	EXPECT_EQ(-EBUSY, copy_times(self->fd, &submit, self->bo, fast, MIB(2), copies));
	EXPECT_EQ(DRM_NPOOL_REASON_DST, submit.reason);
	EXPECT_LT(submit.deadline_ns, submit.earliest_ns);
	EXPECT_EQ(before.seqno, submit.seqno);
	EXPECT_EQ(-EBUSY, copy_times(self->fd, &submit, fast, self->bo, MIB(2), copies));
	EXPECT_EQ(DRM_NPOOL_REASON_SRC, submit.reason);
	/* In its own queue it cannot be earlier, and must not come after what has none. */
	submit.queue = a;
	submit.deadline_ns -= SEC_NS;
	EXPECT_EQ(-EBUSY, copy_times(self->fd, &submit, self->bo, self->bo, 4096, 1));
	EXPECT_EQ(DRM_NPOOL_REASON_ORDER, submit.reason);
	EXPECT_LE(submit.deadline_ns + SEC_NS, submit.earliest_ns);
	EXPECT_EQ(0, submit_at_earliest(self->fd, submit, self->bo, self->bo, 4096, 1));
	submit.flags = DRM_NPOOL_SUBMIT_CLASS;
	submit.class_id = DRM_NPOOL_CLASS_BULK;
	submit.deadline_ns = 0;
	EXPECT_EQ(0, copy_times(self->fd, &submit, self->bo, self->bo, 4096, 1));
	submit.class_id = DRM_NPOOL_CLASS_DEADLINE;
	submit.deadline_ns = now_ns() + 50 * SEC_NS;
	EXPECT_EQ(-EBUSY, copy_times(self->fd, &submit, self->bo, self->bo, 4096, 1));
	EXPECT_EQ(DRM_NPOOL_REASON_ORDER, submit.reason);
	EXPECT_EQ(0, submit.earliest_ns);
	/* Who wants it anyway has it as bulk, and is told. */
	submit.flags |= DRM_NPOOL_SUBMIT_ANYWAY;
	EXPECT_EQ(0, copy_times(self->fd, &submit, self->bo, self->bo, 4096, 1));
	EXPECT_EQ(DRM_NPOOL_REASON_ORDER, submit.reason);
	/* What is given up makes room. */
	ASSERT_EQ(0, queue_end(self->fd, a));
	EXPECT_EQ(0, port_info(self->fd, self->slow, 0).promised);
	submit = before;
	submit.deadline_ns = now_ns() + 20 * SEC_NS;
	EXPECT_EQ(0, copy_times(self->fd, &submit, self->bo, fast, MIB(2), copies));
	gate_end(self->fd, self->p.dev, &gate);
}

TEST_F(qos, earliest_is_admitted)
{
	struct drm_npool_submit submit = { .deadline_ns = now_ns() + SEC_NS / 1000 };
	unsigned int i;

	for (i = 0; i < 8; i++) {
		submit.queue = queue_of(self->fd, self->slow, DRM_NPOOL_CLASS_DEADLINE, 0);
		EXPECT_EQ(0, submit_at_earliest(self->fd, submit, self->bo, self->bo, MIB(1), 1));
	}
	EXPECT_EQ(0, wait_for(self->fd, submit.queue, 1));
	EXPECT_LE(8, class_stats(self->fd, self->slow, DRM_NPOOL_CLASS_DEADLINE).refused);
}

TEST_F(qos, too_wide)
{
	uint32_t npus[WIDE_NPUS], i;
	struct drm_npool_bo_create bo = {
		.size = KIB(4) * WIDE_NPUS * 8, .stripe = KIB(4), .npus = (uintptr_t)npus,
		.npu_count = WIDE_NPUS, .placement = DRM_NPOOL_PLACE_INTERLEAVE,
	};
	struct drm_npool_seg seg = { KIB(4) * 16, 0, KIB(4) * WIDE_NPUS };
	struct drm_npool_op op = { .type = DRM_NPOOL_OP_FILL, .segs = (uintptr_t)&seg,
				   .seg_count = 1, .seg_stride = sizeof(seg) };
	struct drm_npool_submit submit = {
		.ops = (uintptr_t)&op, .op_count = 1, .op_stride = sizeof(op),
		.deadline_ns = now_ns() + 50 * SEC_NS,
	};
	uint64_t promised = 0;

	for (i = 0; i < WIDE_NPUS; i++)
		npus[i] = i < OWN_NPUS ? self->p.npu[i] : npu_add(self->p.dev, MIB(1), 0);
	ASSERT_EQ(0, call(self->fd, DRM_IOCTL_NPOOL_BO_CREATE, &bo));
	op.dst = bo.handle;
	/* Behind a job that takes long, so that what is promised can be seen. */
	submit.queue = queue_of(self->fd, self->slow, DRM_NPOOL_CLASS_DEADLINE, 0);
	must_ok(copy_times(self->fd, &(struct drm_npool_submit){
			.queue = submit.queue, .deadline_ns = now_ns() + 50 * SEC_NS,
		}, self->bo, self->bo, MIB(2), 60));
	submit.deadline_ns = now_ns() + 55 * SEC_NS;
	EXPECT_EQ(-EBUSY, call(self->fd, DRM_IOCTL_NPOOL_SUBMIT, &submit));
	EXPECT_EQ(DRM_NPOOL_REASON_WIDE, submit.reason);
	EXPECT_EQ(0, submit.earliest_ns);
	/* Sixteen stripes, from the middle of one to that of another, fit. */
	seg.dst_offset = KIB(4) * 30 + 100;
	seg.size = KIB(4) * 15;
	ASSERT_EQ(0, call(self->fd, DRM_IOCTL_NPOOL_SUBMIT, &submit))
		TH_LOG("reason %u", submit.reason);
	for (i = 0; i < WIDE_NPUS; i++) {
		uint64_t here = port_info(self->fd, npus[i], 1).promised;

		/* From stripe 30 to stripe 45, on NPUs 13 to 16 and 0 to 11. */
		EXPECT_EQ(i == 12 ? 0 : i == 13 ? KIB(4) - 100 : i == 11 ? 100 : KIB(4), here)
			TH_LOG("NPU %u", i);
		promised += here;
	}
	EXPECT_EQ(seg.size, promised);
	must_ok(queue_end(self->fd, submit.queue));
	bo_close(self->fd, bo.handle);
	for (i = OWN_NPUS; i < WIDE_NPUS; i++)
		must_ok(accel_npu_remove(self->p.dev, npus[i]));
}

static int share_as_nobody(int sock, const void *arg)
{
	const struct poor *poor = arg;
	uint32_t bo = bo_new(poor->fd, poor->npu, MIB(2)).handle, first;
	struct drm_npool_submit submit = { .deadline_ns = now_ns() + 40 * SEC_NS };

	(void)sock;
	must_ok(setgid(65534));
	must_ok(setuid(65534));
	wait_behind(&submit, &poor->gate);
	/* 680 MB can be promised until then: half of it is 324 MiB. */
	submit.queue = first = queue_of(poor->fd, poor->npu, DRM_NPOOL_CLASS_DEADLINE, 0);
	must_ok(copy_times(poor->fd, &submit, bo, bo, MIB(1), 200));
	submit.queue = queue_of(poor->fd, poor->npu, DRM_NPOOL_CLASS_DEADLINE, 0);
	must(copy_times(poor->fd, &submit, bo, bo, MIB(1), 200) == -EBUSY);
	must(submit.reason == DRM_NPOOL_REASON_SHARE);
	must(submit.earliest_ns > submit.deadline_ns);
	must_ok(copy_times(poor->fd, &submit, bo, bo, MIB(1), 50));
	/* What it gives up it can have again. */
	must_ok(queue_end(poor->fd, first));
	must_ok(copy_times(poor->fd, &submit, bo, bo, MIB(1), 200));
	return 0;
}

TEST_F(qos, one_file_has_half)
{
	struct drm_npool_submit submit = { .deadline_ns = now_ns() + 40 * SEC_NS };
	struct poor poor = { .fd = node_open(), .npu = self->slow };
	struct child child;

	poor.gate = gate_new(poor.fd, self->p.dev);
	child = child_start(share_as_nobody, &poor);
	EXPECT_EQ(0, child_end(&child));
	/* The rest is there for another file. */
	submit.queue = queue_of(self->fd, self->slow, DRM_NPOOL_CLASS_DEADLINE, 0);
	EXPECT_EQ(0, copy_times(self->fd, &submit, self->bo, self->bo, MIB(1), 200));
	gate_end(poor.fd, self->p.dev, &poor.gate);
	close(poor.fd);
}

static int move_as_nobody(int sock, const void *arg)
{
	const struct poor *poor = arg;
	uint32_t bo = bo_new(poor->fd, poor->npu, MIB(2)).handle, i;

	(void)sock;
	must_ok(setgid(65534));
	must_ok(setuid(65534));
	for (i = 0; i < 32; i++) {
		struct drm_npool_submit submit = {
			.queue = queue_of(poor->fd, poor->npu, DRM_NPOOL_CLASS_DEADLINE, 0),
			.deadline_ns = now_ns() + 3 * SEC_NS,
		};

		must_ok(copy_times(poor->fd, &submit, bo, bo, MIB(1), 1));
		must_ok(wait_for(poor->fd, submit.queue, 1));
	}
	return 0;
}

/* In all it moves more than can be promised to it at once. */
TEST_F(qos, what_has_moved_is_not_of_its_half)
{
	struct poor poor = { .fd = self->fd, .npu = self->slow };
	struct child child = child_start(move_as_nobody, &poor);

	EXPECT_EQ(0, child_end(&child));
}

static int many_as_nobody(int sock, const void *arg)
{
	const struct poor *poor = arg;
	uint32_t bo = bo_new(poor->fd, poor->npu, KIB(64)).handle, i, first = 0;
	struct drm_npool_submit submit = { .deadline_ns = now_ns() + 50 * SEC_NS };

	(void)sock;
	must_ok(setgid(65534));
	must_ok(setuid(65534));
	wait_behind(&submit, &poor->gate);
	for (i = 0; i < PROMISES; i++) {
		if (i % DEPTH == 0)
			submit.queue = queue_of(poor->fd, poor->npu, DRM_NPOOL_CLASS_DEADLINE, 0);
		first = first ? first : submit.queue;
		must_ok(copy_times(poor->fd, &submit, bo, bo, 64, 1));
	}
	submit.queue = queue_of(poor->fd, poor->npu, DRM_NPOOL_CLASS_DEADLINE, 0);
	must(copy_times(poor->fd, &submit, bo, bo, 64, 1) == -EBUSY);
	must(submit.reason == DRM_NPOOL_REASON_SHARE);
	must_ok(queue_end(poor->fd, first));
	for (i = 0; i < DEPTH; i++)
		must_ok(copy_times(poor->fd, &submit, bo, bo, 64, 1));
	return 0;
}

TEST_F(qos, promises_of_a_file_are_counted)
{
	struct poor poor = { .fd = node_open(), .npu = self->slow };
	struct child child;

	poor.gate = gate_new(poor.fd, self->p.dev);
	child = child_start(many_as_nobody, &poor);
	EXPECT_EQ(0, child_end(&child));
	gate_end(poor.fd, self->p.dev, &poor.gate);
	close(poor.fd);
}

TEST_HARNESS_MAIN
