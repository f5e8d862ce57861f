// SPDX-License-Identifier: MIT
/* Conformance: what can be asked of classes, what is promised, what is counted. */
#include "classes.h"

#define BYTES KIB(256)

FIXTURE(qos)
{
	struct pool p;
	struct accel_buffer *src, *dst;
	struct gate gate;
};

FIXTURE_SETUP(qos)
{
	pool_setup(&self->p);
	self->src = buffer_on(self->p.dev, self->p.npu[0], BYTES);
	self->dst = buffer_on(self->p.dev, self->p.npu[1], BYTES);
	gate_shut(&self->gate, self->p.dev);
}

FIXTURE_TEARDOWN(qos)
{
	bool rests;

	accel_qos_set_policy(self->p.dev, ACCEL_POLICY_HYBRID);
	gate_free(&self->gate);
	rests = eventually(ports_rest(self->p.dev, self->p.npu, OWN_NPUS));
	accel_buffer_close(self->src);
	accel_buffer_close(self->dst);
	EXPECT_TRUE(pool_teardown(&self->p));
	EXPECT_TRUE(rests)
		TH_LOG("a port is not at rest");
}

TEST_F(qos, queue_create_checks)
{
	const uint32_t npu = self->p.npu[0], any = ACCEL_NPU_ANY;
	const struct accel_queue_qos bad[] = {
		{ .class_id = ACCEL_CLASSES }, { .class_id = UINT32_MAX },
		{ .weight = ACCEL_MAX_WEIGHT + 1 }, { .weight = UINT32_MAX },
		{ .budget = 1 }, { .period_ns = 10000 }, { .budget = KIB(1), .period_ns = 10000 },
		{ .src = 1 }, { .dst = 1 }, { .src = any }, { .dst = any },
		{ ACCEL_CLASS_DEADLINE, 0, KIB(1), SEC_NS, any, any },
		{ ACCEL_CLASS_SCRUB, 0, KIB(1), SEC_NS, any, any },
		{ .class_id = ACCEL_CLASS_LATENCY }, { .class_id = ACCEL_CLASS_CONTROL },
		{ ACCEL_CLASS_LATENCY, 0, 0, SEC_NS, npu, npu },
		{ ACCEL_CLASS_LATENCY, 0, 1, 0, npu, npu },
		{ ACCEL_CLASS_CONTROL, 0, 1, 9999, npu, npu },
		{ ACCEL_CLASS_CONTROL, 0, 1, SEC_NS + 1, npu, npu },
		{ ACCEL_CLASS_LATENCY, 0, (4ull << 30) + 1, SEC_NS, npu, npu },
		{ ACCEL_CLASS_LATENCY, ACCEL_MAX_WEIGHT + 1, 1, SEC_NS, npu, npu },
	};
	const struct accel_queue_qos good[] = {
		{ 0 }, { .weight = 1 }, { .weight = ACCEL_MAX_WEIGHT },
		{ .class_id = ACCEL_CLASS_DEADLINE }, { .class_id = ACCEL_CLASS_SCRUB, .weight = 9 },
		{ ACCEL_CLASS_LATENCY, 0, 1, 10000, npu, npu },
		{ ACCEL_CLASS_LATENCY, 7, 1, SEC_NS, any, npu },
		{ ACCEL_CLASS_CONTROL, 0, KIB(1), SEC_NS, npu, any },
	};
	struct accel_queue_qos unknown = { ACCEL_CLASS_LATENCY, 0, 1, SEC_NS, UINT32_MAX - 1, npu };
	struct accel_queue *queue = (void *)1;
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(bad); i++)
		EXPECT_EQ(-EINVAL, accel_queue_create_qos(self->p.dev, npu, &bad[i], &queue))
			TH_LOG("bad %u", i);
	EXPECT_EQ(-ENOENT, accel_queue_create_qos(self->p.dev, npu, &unknown, &queue));
	unknown.src = npu;
	unknown.dst = UINT32_MAX - 1;
	EXPECT_EQ(-ENOENT, accel_queue_create_qos(self->p.dev, npu, &unknown, &queue));
	EXPECT_EQ(-ENOENT, accel_queue_create_qos(self->p.dev, UINT32_MAX, &good[0], &queue));
	EXPECT_EQ(-EINVAL, accel_queue_create_qos(self->p.dev, npu, NULL, &queue));
	EXPECT_EQ((void *)1, queue);
	for (i = 0; i < ARRAY_LEN(good); i++) {
		EXPECT_EQ(0, accel_queue_create_qos(self->p.dev, npu, &good[i], &queue))
			TH_LOG("good %u", i);
		EXPECT_EQ(0, run_ops(queue, NULL, 0));
		accel_queue_destroy(queue);
	}
}

TEST_F(qos, submit_checks)
{
	struct accel_queue *bulk = queue_on(self->p.dev, self->p.npu[1]);
	struct accel_queue *latency = queue_of(self->p.dev, self->p.npu[1], ACCEL_CLASS_LATENCY);
	const uint32_t own = ACCEL_SUBMIT_CLASS;
	const struct accel_submit_qos flags = { .flags = 4 }, high = { .flags = 1u << 31 };
	const struct accel_submit_qos bad[] = {
		{ .class_id = ACCEL_CLASS_SCRUB }, { .weight = 1 },
		{ own, ACCEL_CLASSES, 0, 0 }, { own, 0, ACCEL_MAX_WEIGHT + 1, 0 },
		{ own, ACCEL_CLASS_LATENCY, 0, 0 }, { own, ACCEL_CLASS_CONTROL, 0, 0 },
	};
	const struct accel_submit_qos good[] = {
		{ 0 }, { own, ACCEL_CLASS_BULK, 1, 0 }, { own, ACCEL_CLASS_SCRUB, 0, 0 },
		{ own, ACCEL_CLASS_DEADLINE, ACCEL_MAX_WEIGHT, now_ns() + 50 * SEC_NS },
		{ own, ACCEL_CLASS_DEADLINE, 0, 0 }, { .flags = ACCEL_SUBMIT_ANYWAY },
		{ .deadline_ns = 1 }, { .deadline_ns = UINT64_MAX },
	};
	struct accel_admission told = { 77, 77 };
	uint64_t seqno = 77;
	unsigned int i;

	EXPECT_EQ(-EOPNOTSUPP, copy_qos(bulk, self->dst, self->src, 8, 1, NULL, &flags, &seqno,
					&told));
	EXPECT_EQ(-EOPNOTSUPP, copy_qos(bulk, self->dst, self->src, 8, 1, NULL, &high, &seqno,
					&told));
	for (i = 0; i < ARRAY_LEN(bad); i++)
		EXPECT_EQ(-EINVAL, copy_qos(bulk, self->dst, self->src, 8, 1, NULL, &bad[i], &seqno,
					    &told))
			TH_LOG("bad %u", i);
	EXPECT_EQ(77, seqno);
	EXPECT_EQ(77, told.reason);
	EXPECT_EQ(77, told.earliest_ns);
	for (i = 0; i < ARRAY_LEN(good); i++) {
		told.reason = 77;
		EXPECT_EQ(0, copy_qos(bulk, self->dst, self->src, 8, 1, NULL, &good[i], &seqno,
				      &told))
			TH_LOG("good %u", i);
		EXPECT_EQ(i + 1, seqno);
		EXPECT_EQ(ACCEL_REASON_NONE, told.reason);
		EXPECT_EQ(0, accel_queue_wait(bulk, seqno, LONG_NS, NULL));
	}
	/* Its own class a queue may always name. */
	EXPECT_EQ(0, run_qos(latency, self->dst, self->src, 8,
			     &(struct accel_submit_qos){ own, ACCEL_CLASS_LATENCY, 5, 0 }));
	EXPECT_EQ(-EINVAL, run_qos(latency, self->dst, self->src, 8,
				   &(struct accel_submit_qos){ own, ACCEL_CLASS_CONTROL, 0, 0 }));
	accel_queue_destroy(bulk);
	accel_queue_destroy(latency);
}

TEST_F(qos, pool_settings)
{
	struct accel_qos_info info;
	unsigned int i;

	for (i = ACCEL_POLICY_HYBRID; i <= ACCEL_POLICY_STRICT_WINDOWS; i++) {
		EXPECT_EQ(0, accel_qos_set_policy(self->p.dev, i));
		EXPECT_EQ(0, accel_qos_info(self->p.dev, &info));
		EXPECT_EQ(i, info.policy);
	}
	EXPECT_EQ(-EINVAL, accel_qos_set_policy(self->p.dev, (enum accel_policy)4));
	EXPECT_EQ(0, accel_qos_set_policy(self->p.dev, ACCEL_POLICY_HYBRID));
	EXPECT_EQ(-EINVAL, accel_qos_set_slack(self->p.dev, 0));
	EXPECT_EQ(-EINVAL, accel_qos_set_slack(self->p.dev, 999));
	EXPECT_EQ(-EINVAL, accel_qos_set_slack(self->p.dev, 100000001));
	EXPECT_EQ(0, accel_qos_set_slack(self->p.dev, 100000000));
	EXPECT_EQ(0, accel_qos_set_slack(self->p.dev, 1000));
	EXPECT_EQ(0, accel_qos_info(self->p.dev, &info));
	EXPECT_EQ(1000, info.slack_ns);
	EXPECT_EQ(0, accel_qos_set_slack(self->p.dev, 40000));
	EXPECT_EQ(-EINVAL, accel_qos_info(self->p.dev, NULL));
	EXPECT_EQ(-EINVAL, accel_qos_info(NULL, &info));
}

/* What windows may cost the latency class decides how large they are. */
TEST_F(qos, slack_sizes_windows)
{
	uint64_t small, large;

	ASSERT_EQ(0, accel_qos_set_slack(self->p.dev, 1000));
	small = port_info(self->p.dev, self->p.npu[0], 0).window;
	ASSERT_EQ(0, accel_qos_set_slack(self->p.dev, 2000000));
	large = port_info(self->p.dev, self->p.npu[0], 0).window;
	EXPECT_LT(0, small);
	EXPECT_LT(small, large);
	EXPECT_EQ(0, accel_qos_set_slack(self->p.dev, 40000));
	EXPECT_GT(large, port_info(self->p.dev, self->p.npu[0], 0).window);
}

TEST_F(qos, grants)
{
	struct accel_dev *other = dev_open();
	struct accel_qos_info info;

	ASSERT_EQ(0, accel_qos_info(other, &info));
	EXPECT_EQ(0, info.granted);
	EXPECT_EQ(0, info.reserved);
	EXPECT_EQ(0, accel_qos_grant(self->p.dev, accel_client_id(other), 12345678));
	ASSERT_EQ(0, accel_qos_info(other, &info));
	EXPECT_EQ(12345678, info.granted);
	ASSERT_EQ(0, accel_qos_info(self->p.dev, &info));
	EXPECT_EQ(0, info.granted);
	EXPECT_EQ(0, accel_qos_grant(self->p.dev, accel_client_id(other), 0));
	ASSERT_EQ(0, accel_qos_info(other, &info));
	EXPECT_EQ(0, info.granted);
	EXPECT_EQ(-ENOENT, accel_qos_grant(self->p.dev, 0, 1));
	EXPECT_EQ(-ENOENT, accel_qos_grant(self->p.dev, UINT64_MAX, 1));
	accel_close(other);
}

TEST_F(qos, ports_are_listed)
{
	uint32_t npu = npu_add_rate(self->p.dev, KIB(64), MIB(100)), count = 0, room, i, n = 0;
	struct accel_port_info *ports, port;
	struct accel_npu_info info;

	ASSERT_EQ(0, accel_ports(self->p.dev, NULL, &count));
	room = count;
	ports = calloc(room + 1, sizeof(*ports));
	memset(&ports[room], 0x5a, sizeof(*ports));
	ASSERT_EQ(0, accel_ports(self->p.dev, ports, &count));
	ASSERT_EQ(room, count);
	for (i = 0; i < count; i++) {
		EXPECT_EQ(i % 2, ports[i].side);
		EXPECT_TRUE(i % 2 ? ports[i].npu == ports[i - 1].npu :
				    !i || ports[i].npu > ports[i - 1].npu);
		EXPECT_TRUE(npu_find(self->p.dev, ports[i].npu, &info));
		EXPECT_LT(0, ports[i].bandwidth);
		EXPECT_LT(0, ports[i].window);
		EXPECT_EQ(0, ports[i].reserved | ports[i].promised);
		EXPECT_TRUE(!ports[i].inflight || ports[i].npu == self->gate.npu);
		n += ports[i].npu == npu;
	}
	EXPECT_EQ(2, n);
	port = port_info(self->p.dev, npu, 1);
	EXPECT_EQ(MIB(100), port.bandwidth);
	/* Room for fewer is not overrun, and all are counted. */
	memset(ports, 0x5a, (room + 1) * sizeof(*ports));
	count = 3;
	ASSERT_EQ(0, accel_ports(self->p.dev, ports, &count));
	EXPECT_EQ(room, count);
	EXPECT_TRUE(all_bytes((uint8_t *)&ports[3], (room - 2) * sizeof(*ports), 0x5a));
	EXPECT_EQ(-EINVAL, accel_ports(self->p.dev, ports, NULL));
	EXPECT_EQ(0, accel_npu_remove(self->p.dev, npu));
	free(ports);
}

static uint64_t port_moved(struct accel_dev *dev, uint32_t npu, uint32_t side)
{
	return port_info(dev, npu, side).moved;
}

/* Whichever engine does it, what is read and what is written passes a port each. */
TEST_F(qos, ports_count_what_is_moved)
{
	const uint32_t src = self->p.npu[0], dst = self->p.npu[1], other = self->p.npu[2];
	struct accel_queue *queue = queue_on(self->p.dev, other);
	struct accel_seg seg = { 3, 0, BYTES - 5 };
	struct accel_op fill = { ACCEL_OP_FILL, 1, self->src, NULL, 7, &seg };
	uint64_t seqno;

	EXPECT_EQ(0, port_moved(self->p.dev, src, 0) | port_moved(self->p.dev, dst, 1));
	EXPECT_EQ(0, copy_qos(queue, self->dst, self->src, BYTES, 3, NULL, NULL, &seqno, NULL));
	EXPECT_EQ(0, accel_queue_wait(queue, seqno, LONG_NS, NULL));
	EXPECT_TRUE(eventually(port_moved(self->p.dev, src, 0) == 3 * BYTES));
	EXPECT_EQ(3 * BYTES, port_moved(self->p.dev, dst, 1));
	EXPECT_EQ(0, port_moved(self->p.dev, src, 1) | port_moved(self->p.dev, dst, 0));
	EXPECT_EQ(0, run_ops(queue, &fill, 1));
	EXPECT_EQ(0, run_copy(queue, self->dst, 0, self->dst, BYTES / 2, BYTES / 2));
	EXPECT_TRUE(eventually(port_moved(self->p.dev, dst, 0) == BYTES / 2));
	EXPECT_EQ(3 * BYTES + BYTES / 2, port_moved(self->p.dev, dst, 1));
	EXPECT_EQ(BYTES - 5, port_moved(self->p.dev, src, 1));
	EXPECT_EQ(3 * BYTES, port_moved(self->p.dev, src, 0));
	EXPECT_EQ(0, port_moved(self->p.dev, other, 0) | port_moved(self->p.dev, other, 1));
	accel_queue_destroy(queue);
}

TEST_F(qos, classes_are_listed)
{
	struct accel_class_stats *stats;
	uint32_t count = 0, room, i;

	ASSERT_EQ(0, accel_class_stats(self->p.dev, NULL, &count));
	EXPECT_EQ(0, count % ACCEL_CLASSES);
	EXPECT_LE(OWN_NPUS * ACCEL_CLASSES, count);
	room = count;
	stats = calloc(room + 1, sizeof(*stats));
	ASSERT_EQ(0, accel_class_stats(self->p.dev, stats, &count));
	ASSERT_EQ(room, count);
	for (i = 0; i < count; i++) {
		EXPECT_EQ(i % ACCEL_CLASSES, stats[i].class_id);
		EXPECT_TRUE(!i || stats[i].npu >= stats[i - 1].npu);
	}
	memset(stats, 0x5a, (room + 1) * sizeof(*stats));
	count = ACCEL_CLASSES + 1;
	ASSERT_EQ(0, accel_class_stats(self->p.dev, stats, &count));
	EXPECT_EQ(room, count);
	EXPECT_TRUE(all_bytes((uint8_t *)&stats[ACCEL_CLASSES + 1],
			      (room - ACCEL_CLASSES) * sizeof(*stats), 0x5a));
	EXPECT_EQ(-EINVAL, accel_class_stats(self->p.dev, stats, NULL));
	free(stats);
}

TEST_F(qos, each_class_is_counted)
{
	static const uint32_t jobs[ACCEL_CLASSES] = { 3, 1, 2, 4, 5 };
	const uint32_t npu = self->p.npu[2];
	struct accel_buffer *buffer = buffer_on(self->p.dev, npu, 2 * BYTES);
	struct accel_seg seg = { 0, BYTES, BYTES };
	struct accel_op op = { ACCEL_OP_COPY, 1, buffer, buffer, 0, &seg };
	struct accel_submit submit = { .ops = &op, .op_count = 1 };
	uint32_t class_id, i;
	uint64_t seqno;

	for (class_id = 0; class_id < ACCEL_CLASSES; class_id++) {
		struct accel_queue *queue = queue_of(self->p.dev, npu, class_id);
		struct accel_submit_qos qos = { .deadline_ns = now_ns() + 50 * SEC_NS };

		for (i = 0; i < jobs[class_id]; i++) {
			ASSERT_EQ(0, accel_queue_submit_qos(queue, &submit, &qos, &seqno, NULL));
			ASSERT_EQ(0, accel_queue_wait(queue, seqno, LONG_NS, NULL));
		}
		accel_queue_destroy(queue);
	}
	for (class_id = 0; class_id < ACCEL_CLASSES; class_id++) {
		struct accel_class_stats s;

		EXPECT_TRUE(eventually((s = class_stats(self->p.dev, npu, class_id)).jobs ==
				       jobs[class_id]))
			TH_LOG("class %u: %u", class_id, (unsigned int)s.jobs);
		EXPECT_EQ(jobs[class_id] * BYTES, s.bytes);
		EXPECT_LE(jobs[class_id], s.windows);
		EXPECT_EQ(0, s.missed | s.demoted | s.refused);
		EXPECT_EQ(jobs[class_id], samples(s.queue_ns));
		EXPECT_EQ(jobs[class_id], samples(s.service_ns));
		EXPECT_LT(0, accel_time_percentile(s.service_ns, 500));
		EXPECT_LE(accel_time_percentile(s.service_ns, 500),
			  accel_time_percentile(s.service_ns, 1000));
	}
	accel_buffer_close(buffer);
}

/* A submit may be of another class than its queue, and is counted there. */
TEST_F(qos, submits_have_a_class_of_their_own)
{
	const uint32_t npu = self->p.npu[1];
	struct accel_queue *bulk = queue_on(self->p.dev, npu);
	struct accel_queue *latency = queue_of(self->p.dev, npu, ACCEL_CLASS_LATENCY);
	struct accel_submit_qos qos = { ACCEL_SUBMIT_CLASS, ACCEL_CLASS_SCRUB, 3, 0 };

	EXPECT_EQ(0, run_qos(bulk, self->dst, self->src, 1000, &qos));
	EXPECT_EQ(0, run_qos(latency, self->dst, self->src, 200, &qos));
	qos = (struct accel_submit_qos){ ACCEL_SUBMIT_CLASS, ACCEL_CLASS_BULK, 0, 0 };
	EXPECT_EQ(0, run_qos(latency, self->dst, self->src, 30, &qos));
	EXPECT_EQ(0, run_copy(bulk, self->dst, 0, self->src, 0, 4));
	EXPECT_TRUE(eventually(class_stats(self->p.dev, npu, ACCEL_CLASS_BULK).jobs == 2));
	EXPECT_EQ(34, class_stats(self->p.dev, npu, ACCEL_CLASS_BULK).bytes);
	EXPECT_EQ(1200, class_stats(self->p.dev, npu, ACCEL_CLASS_SCRUB).bytes);
	EXPECT_EQ(0, class_stats(self->p.dev, npu, ACCEL_CLASS_LATENCY).jobs);
	accel_queue_destroy(bulk);
	accel_queue_destroy(latency);
}

/* A deadline that is no question is only counted. */
TEST_F(qos, deadline_on_other_classes_is_counted)
{
	const uint32_t npu = self->p.npu[1];
	struct accel_queue *bulk = queue_on(self->p.dev, npu);
	struct accel_submit_qos past = { .deadline_ns = 1 };
	struct accel_submit_qos later = { .deadline_ns = now_ns() + 600 * SEC_NS };
	struct accel_submit_qos never = { .deadline_ns = UINT64_MAX };

	EXPECT_EQ(0, run_qos(bulk, self->dst, self->src, BYTES, &past));
	EXPECT_EQ(0, run_qos(bulk, self->dst, self->src, BYTES, &later));
	EXPECT_EQ(0, run_qos(bulk, self->dst, self->src, BYTES, &never));
	EXPECT_TRUE(eventually(class_stats(self->p.dev, npu, ACCEL_CLASS_BULK).jobs == 3));
	EXPECT_EQ(1, class_stats(self->p.dev, npu, ACCEL_CLASS_BULK).missed);
	EXPECT_EQ(0, class_stats(self->p.dev, npu, ACCEL_CLASS_BULK).refused);
	accel_queue_destroy(bulk);
}

/* Who moves more than it reserved is served on, as bulk. */
TEST_F(qos, over_budget_is_demoted_not_blocked)
{
	const uint32_t npu = self->p.npu[1];
	struct accel_queue_qos tiny = { ACCEL_CLASS_LATENCY, 0, KIB(4), SEC_NS, ACCEL_NPU_ANY,
					ACCEL_NPU_ANY };
	struct accel_queue *queue;
	uint64_t seqno;

	ASSERT_EQ(0, accel_queue_create_qos(self->p.dev, npu, &tiny, &queue));
	EXPECT_EQ(0, copy_qos(queue, self->dst, self->src, BYTES, 64, NULL, NULL, &seqno, NULL));
	EXPECT_EQ(0, accel_queue_wait(queue, seqno, LONG_NS, NULL));
	EXPECT_TRUE(eventually(class_stats(self->p.dev, npu, ACCEL_CLASS_LATENCY).jobs == 1));
	EXPECT_EQ(1, class_stats(self->p.dev, npu, ACCEL_CLASS_LATENCY).demoted);
	EXPECT_EQ(64 * BYTES, class_stats(self->p.dev, npu, ACCEL_CLASS_LATENCY).bytes);
	accel_queue_destroy(queue);
}

TEST_F(qos, time_buckets)
{
	uint64_t buckets[ACCEL_TIME_BUCKETS] = { 0 };
	unsigned int i;

	EXPECT_EQ(128, accel_time_bucket_end(0));
	EXPECT_EQ(160, accel_time_bucket_end(1));
	EXPECT_EQ(256, accel_time_bucket_end(4));
	EXPECT_EQ(320, accel_time_bucket_end(5));
	for (i = 1; i + 1 < ACCEL_TIME_BUCKETS; i++) {
		EXPECT_LT(accel_time_bucket_end(i - 1), accel_time_bucket_end(i));
		EXPECT_LE(accel_time_bucket_end(i), accel_time_bucket_end(i - 1) / 4 * 5);
	}
	EXPECT_EQ(UINT64_MAX, accel_time_bucket_end(ACCEL_TIME_BUCKETS - 1));
	EXPECT_EQ(UINT64_MAX, accel_time_bucket_end(ACCEL_TIME_BUCKETS));
	EXPECT_EQ(0, accel_time_percentile(buckets, 999));
	buckets[10] = 990;
	buckets[20] = 9;
	buckets[30] = 1;
	EXPECT_EQ(accel_time_bucket_end(10), accel_time_percentile(buckets, 500));
	EXPECT_EQ(accel_time_bucket_end(10), accel_time_percentile(buckets, 990));
	EXPECT_EQ(accel_time_bucket_end(20), accel_time_percentile(buckets, 991));
	EXPECT_EQ(accel_time_bucket_end(20), accel_time_percentile(buckets, 999));
	EXPECT_EQ(accel_time_bucket_end(30), accel_time_percentile(buckets, 1000));
	EXPECT_EQ(accel_time_bucket_end(30), accel_time_percentile(buckets, UINT32_MAX));
	buckets[10] = 1ull << 62;
	EXPECT_EQ(accel_time_bucket_end(10), accel_time_percentile(buckets, 500));
	EXPECT_EQ(accel_time_bucket_end(10), accel_time_percentile(buckets, 999));
	EXPECT_EQ(accel_time_bucket_end(30), accel_time_percentile(buckets, 1000));
}

TEST_F(qos, reasons_have_names)
{
	uint32_t a, b;

	for (a = ACCEL_REASON_NONE; a <= ACCEL_REASON_WIDE; a++)
		for (b = a + 1; b <= ACCEL_REASON_WIDE + 1; b++)
			EXPECT_STRNE(accel_reason_name(a), accel_reason_name(b));
	EXPECT_STREQ(accel_reason_name(UINT32_MAX), accel_reason_name(ACCEL_REASON_WIDE + 1));
}

TEST_HARNESS_MAIN
