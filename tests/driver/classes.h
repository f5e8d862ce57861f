/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the arbiter share: its calls, and beside the pool's NPUs a
 * modelled slow one, so that what is under way outlasts what is asked about it.
 */
#ifndef TESTS_DRIVER_CLASSES_H
#define TESTS_DRIVER_CLASSES_H

#include "npool.h"

#define SLOW_BANDWIDTH 20000000ull
#define SLOW_BYTES MIB(8)
#define POLICIES (DRM_NPOOL_POLICY_STRICT_WINDOWS + 1)

static inline int set_qos(int fd, uint32_t action, uint64_t client, uint64_t value)
{
	struct drm_npool_qos_ctl ctl = { .action = action, .client = client, .value = value };

	return call(fd, DRM_IOCTL_NPOOL_QOS_CTL, &ctl);
}

static inline void query(int fd, uint32_t topic, void *items, uint32_t *count, uint32_t size)
{
	struct drm_npool_query q = { .topic = topic, .data = (uintptr_t)items, .count = *count,
				     .stride = size };

	must_ok(call(fd, DRM_IOCTL_NPOOL_QUERY, &q));
	must(q.count <= *count);
	*count = q.count;
}

static inline struct drm_npool_qos_info qos_info(int fd)
{
	struct drm_npool_qos_info info;
	uint32_t one = 1;

	query(fd, DRM_NPOOL_TOPIC_QOS, &info, &one, sizeof(info));
	return info;
}

static inline uint64_t client_id(int fd)
{
	struct drm_npool_client_info info;
	uint32_t one = 1;

	query(fd, DRM_NPOOL_TOPIC_CLIENT, &info, &one, sizeof(info));
	return info.id;
}

static inline struct drm_npool_port_info port_info(int fd, uint32_t npu, uint32_t side)
{
	struct drm_npool_port_info ports[256];
	uint32_t count = ARRAY_LEN(ports), i;

	query(fd, DRM_NPOOL_TOPIC_PORTS, ports, &count, sizeof(ports[0]));
	for (i = 0; i < count && (ports[i].npu != npu || ports[i].side != side); i++)
		;
	must(i < count);
	return ports[i];
}

static inline bool ports_idle(int fd)
{
	struct drm_npool_port_info ports[256];
	uint32_t count = ARRAY_LEN(ports), i;

	query(fd, DRM_NPOOL_TOPIC_PORTS, ports, &count, sizeof(ports[0]));
	for (i = 0; i < count; i++)
		if (ports[i].reserved || ports[i].promised || ports[i].inflight)
			return false;
	return true;
}

static inline struct drm_npool_class_stats class_stats(int fd, uint32_t npu, uint32_t class)
{
	static struct drm_npool_class_stats stats[512];
	uint32_t count = ARRAY_LEN(stats), i;

	query(fd, DRM_NPOOL_TOPIC_CLASSES, stats, &count, sizeof(stats[0]));
	for (i = 0; i < count && (stats[i].npu != npu || stats[i].class_id != class); i++)
		;
	must(i < count);
	return stats[i];
}

static inline int queue_try(int fd, struct drm_npool_queue_create create, uint32_t *queue)
{
	struct drm_npool_queue_create before = create;
	int err = call(fd, DRM_IOCTL_NPOOL_QUEUE_CREATE, &create);

	must(!err || !memcmp(&before, &create, sizeof(create)));
	if (!err && queue)
		*queue = create.queue;
	return err;
}

static inline uint32_t queue_of(int fd, uint32_t npu, uint32_t class, uint32_t weight)
{
	uint32_t queue = 0;

	must_ok(queue_try(fd, (struct drm_npool_queue_create){
			.npu = npu, .class_id = class, .weight = weight }, &queue));
	return queue;
}

static inline uint32_t queue_reserved(int fd, uint32_t npu, uint32_t class, uint64_t budget,
			       uint64_t period)
{
	uint32_t queue = 0;

	must_ok(queue_try(fd, (struct drm_npool_queue_create){
			.npu = npu, .class_id = class, .budget = budget, .period_ns = period,
			.flags = DRM_NPOOL_QUEUE_SRC | DRM_NPOOL_QUEUE_DST, .src = npu,
			.dst = npu }, &queue));
	return queue;
}

/* @count times the same bytes to another place, at once. */
static inline int copy_times(int fd, struct drm_npool_submit *submit, uint32_t dst, uint32_t src,
		      uint64_t size, uint32_t count)
{
	struct drm_npool_seg seg = { 0, src == dst ? size : 0, size };
	struct drm_npool_op op = { .type = DRM_NPOOL_OP_COPY, .dst = dst, .src = src,
				   .segs = (uintptr_t)&seg, .seg_count = 1,
				   .seg_stride = sizeof(seg) }, *ops;
	uint32_t i;
	int err;

	ops = calloc(count, sizeof(*ops));
	for (i = 0; i < count; i++)
		ops[i] = op;
	submit->ops = (uintptr_t)ops;
	submit->op_count = count;
	submit->op_stride = sizeof(op);
	err = call(fd, DRM_IOCTL_NPOOL_SUBMIT, submit);
	free(ops);
	return err;
}

static inline uint64_t copy_later(int fd, uint32_t queue, uint32_t bo, uint64_t size)
{
	struct drm_npool_submit submit = { .queue = queue };

	must_ok(copy_times(fd, &submit, bo, bo, size, 1));
	return submit.seqno;
}

/*
 * A point that is reached when its queue ends, and not before: submits that wait
 * for it hold what they were promised, and move nothing.
 */
struct gate {
	struct drm_npool_sync point;
	uint32_t npu, queue;
};

static inline struct gate gate_new(int fd, struct accel_dev *dev)
{
	struct gate gate = { .point = { .handle = sync_new(fd), .point = 1 },
			     .npu = npu_add(dev, OWN_BYTES, SLOW_NS) };
	uint32_t bo = bo_new(fd, gate.npu, KIB(64)).handle;
	struct drm_npool_submit submit = {
		.queue = gate.queue = queue_new(fd, gate.npu), .signals = (uintptr_t)&gate.point,
		.signal_count = 1, .sync_stride = sizeof(gate.point),
	};

	must_ok(copy_times(fd, &submit, bo, bo, 64, SLOW_OPS));
	bo_close(fd, bo);
	return gate;
}

static inline void wait_behind(struct drm_npool_submit *submit, const struct gate *gate)
{
	submit->waits = (uintptr_t)&gate->point;
	submit->wait_count = 1;
	submit->sync_stride = sizeof(gate->point);
}

static inline void gate_end(int fd, struct accel_dev *dev, const struct gate *gate)
{
	must_ok(queue_end(fd, gate->queue));
	must_ok(accel_npu_remove(dev, gate->npu));
}

static inline bool has_ended(int fd, uint32_t queue, uint64_t seqno)
{
	struct drm_npool_wait wait = { .queue = queue, .seqno = seqno };
	int err = call(fd, DRM_IOCTL_NPOOL_WAIT, &wait);

	must(!err || err == -ETIME);
	return !err;
}

/* How many of a queue's first @count submits have ended. */
static inline uint64_t ended_of(int fd, uint32_t queue, uint64_t count)
{
	uint64_t seqno = 0;

	while (seqno < count && has_ended(fd, queue, seqno + 1))
		seqno++;
	return seqno;
}

/* A deadline that the call itself said would fit, but for the time that passes meanwhile. */
static inline int submit_at_earliest(int fd, struct drm_npool_submit submit, uint32_t dst,
				     uint32_t src, uint64_t size, uint32_t count)
{
	uint64_t margin = SEC_NS / 100;
	int err, i;

	for (i = 0; i < 12; i++, margin *= 2) {
		err = copy_times(fd, &submit, dst, src, size, count);
		if (!err || !submit.earliest_ns)
			break;
		submit.deadline_ns = submit.earliest_ns + margin;
	}
	return err;
}

static inline uint32_t npu_add_slow(struct accel_dev *dev)
{
	return npu_add_rate(dev, SLOW_BYTES, SLOW_BANDWIDTH);
}

FIXTURE(qos)
{
	struct pool p;
	int fd;
	uint32_t slow, bo;
};

FIXTURE_SETUP(qos)
{
	pool_setup(&self->p);
	self->fd = node_open();
	self->slow = npu_add_slow(self->p.dev);
	self->bo = bo_new(self->fd, self->slow, MIB(4)).handle;
}

FIXTURE_TEARDOWN(qos)
{
	struct accel_npu_info info;
	int fd = node_open();

	EXPECT_EQ(0, set_qos(fd, DRM_NPOOL_QOS_POLICY, 0, DRM_NPOOL_POLICY_HYBRID));
	close(self->fd);
	EXPECT_TRUE(eventually(ports_idle(fd)));
	close(fd);
	accel_npu_remove(self->p.dev, self->slow);
	EXPECT_TRUE(eventually(!npu_find(self->p.dev, self->slow, &info)));
	EXPECT_TRUE(pool_teardown(&self->p));
}

#endif
