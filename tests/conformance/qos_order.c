// SPDX-License-Identifier: MIT
/*
 * Conformance: who goes first. Never judged by time: each submit ends with a copy
 * of all marks to a row of its own and a mark of its own, so that a row tells
 * what had ended before. Everything is ready at once, behind a gate, and the NPU
 * is slow, so that whoever opens the gate may be late at it.
 */
#include "classes.h"

#define RATE MIB(16)	/* of the NPU */
#define WORK KIB(256)	/* of a submit */
#define CHUNK KIB(32)	/* between marks of one submit */
#define CHUNKS 64
#define IN_BUDGET 28	/* of them are less than one BUDGET */
#define MARKS 256
#define RIVALS 8
#define CROWD 8		/* queues of one client */
#define LONG_SLACK (10 * 1000 * 1000)	/* ns; windows of several pages on so slow an NPU */

FIXTURE(order)
{
	struct pool p;
	uint32_t npu;
	struct accel_buffer *data, *marks, *rows;
	uint8_t *seen;
	struct gate gate;
};

FIXTURE_SETUP(order)
{
	pool_setup(&self->p);
	self->npu = npu_add_rate(self->p.dev, MIB(4), RATE);
	self->data = buffer_on(self->p.dev, self->npu, 2 * WORK);
	self->marks = buffer_on(self->p.dev, self->npu, KIB(4));
	self->rows = buffer_on(self->p.dev, self->npu, MARKS * MARKS);
	self->seen = buffer_map(self->rows);
	gate_shut(&self->gate, self->p.dev);
}

FIXTURE_TEARDOWN(order)
{
	bool rests;

	accel_qos_set_policy(self->p.dev, ACCEL_POLICY_HYBRID);
	accel_qos_set_slack(self->p.dev, 40000);
	gate_free(&self->gate);
	rests = eventually(ports_rest(self->p.dev, &self->npu, 1));
	accel_buffer_unmap(self->p.dev, self->seen, MARKS * MARKS);
	accel_buffer_close(self->data);
	accel_buffer_close(self->marks);
	accel_buffer_close(self->rows);
	accel_npu_remove(self->p.dev, self->npu);
	EXPECT_TRUE(pool_teardown(&self->p));
	EXPECT_TRUE(rests)
		TH_LOG("a port is not at rest");
}

/* Work that leaves a mark when it is done, and a row of what was marked then. */
static int submit_marked(FIXTURE_DATA(order) *self, struct accel_queue *queue, uint32_t mark,
			 bool gated, const struct accel_submit_qos *qos, uint64_t *seqno)
{
	struct accel_seg work = { 0, WORK, WORK }, row = { mark * MARKS, 0, MARKS };
	struct accel_seg own = { mark, 0, 1 };
	struct accel_op ops[] = {
		{ ACCEL_OP_COPY, 1, self->data, self->data, 0, &work },
		{ ACCEL_OP_COPY, 1, self->rows, self->marks, 0, &row },
		{ ACCEL_OP_FILL, 1, self->marks, NULL, 1, &own },
	};
	struct accel_submit submit = {
		.ops = ops, .op_count = ARRAY_LEN(ops),
		.waits = gated ? &self->gate.point : NULL, .wait_count = gated,
	};

	return accel_queue_submit_qos(queue, &submit, qos, seqno, NULL);
}

static bool ended_before(FIXTURE_DATA(order) *self, uint32_t first, uint32_t second)
{
	return self->seen[second * MARKS + first] && !self->seen[first * MARKS + second];
}

/* A queue of a class beside rivals of another, all ready at once; how many of those it beats. */
static unsigned int beaten(struct __test_metadata *_metadata, FIXTURE_DATA(order) *self,
			   uint32_t class_id, uint32_t rival)
{
	struct accel_queue *queue = queue_of(self->p.dev, self->npu, class_id), *rivals[RIVALS];
	struct accel_submit_qos late = { .deadline_ns = now_ns() + 50 * SEC_NS };
	struct accel_submit_qos soon = { .deadline_ns = now_ns() + 40 * SEC_NS };
	unsigned int i, count = 0;

	for (i = 0; i < RIVALS; i++) {
		rivals[i] = queue_of(self->p.dev, self->npu, rival);
		EXPECT_EQ(0, submit_marked(self, rivals[i], 1 + i, true, &late, NULL));
	}
	EXPECT_EQ(0, submit_marked(self, queue, 0, true, &soon, NULL));
	gate_open(&self->gate);
	EXPECT_EQ(0, accel_queue_wait(queue, 1, LONG_NS, NULL));
	for (i = 0; i < RIVALS; i++) {
		EXPECT_EQ(0, accel_queue_wait(rivals[i], 1, LONG_NS, NULL));
		accel_queue_destroy(rivals[i]);
		count += ended_before(self, 0, 1 + i);
	}
	accel_queue_destroy(queue);
	return count;
}

TEST_F(order, latency_before_bulk)
{
	EXPECT_EQ(RIVALS, beaten(_metadata, self, ACCEL_CLASS_LATENCY, ACCEL_CLASS_BULK));
}

TEST_F(order, latency_before_deadline)
{
	EXPECT_EQ(RIVALS, beaten(_metadata, self, ACCEL_CLASS_LATENCY, ACCEL_CLASS_DEADLINE));
}

TEST_F(order, deadline_before_bulk)
{
	EXPECT_EQ(RIVALS, beaten(_metadata, self, ACCEL_CLASS_DEADLINE, ACCEL_CLASS_BULK));
}

TEST_F(order, earlier_deadline_first)
{
	EXPECT_EQ(RIVALS, beaten(_metadata, self, ACCEL_CLASS_DEADLINE, ACCEL_CLASS_DEADLINE));
}

TEST_F(order, bulk_before_scrub)
{
	EXPECT_EQ(RIVALS, beaten(_metadata, self, ACCEL_CLASS_BULK, ACCEL_CLASS_SCRUB));
}

TEST_F(order, scrub_is_last)
{
	EXPECT_EQ(0, beaten(_metadata, self, ACCEL_CLASS_SCRUB, ACCEL_CLASS_BULK));
}

/* Both within their reservations, which share what can be promised. */
TEST_F(order, control_before_latency)
{
	struct accel_queue_qos half = { ACCEL_CLASS_LATENCY, 0, KIB(512), PERIOD_NS, self->npu,
					self->npu };
	struct accel_queue *queue[2];

	ASSERT_EQ(0, accel_queue_create_qos(self->p.dev, self->npu, &half, &queue[0]));
	half.class_id = ACCEL_CLASS_CONTROL;
	ASSERT_EQ(0, accel_queue_create_qos(self->p.dev, self->npu, &half, &queue[1]));
	EXPECT_EQ(0, submit_marked(self, queue[0], 0, true, NULL, NULL));
	EXPECT_EQ(0, submit_marked(self, queue[1], 1, true, NULL, NULL));
	gate_open(&self->gate);
	EXPECT_EQ(0, accel_queue_wait(queue[0], 1, LONG_NS, NULL));
	EXPECT_EQ(0, accel_queue_wait(queue[1], 1, LONG_NS, NULL));
	EXPECT_TRUE(ended_before(self, 1, 0));
	accel_queue_destroy(queue[0]);
	accel_queue_destroy(queue[1]);
}

/* The first that is ready ends first, whatever its class: what hybrid is compared with. */
TEST_F(order, fifo_knows_no_class)
{
	struct accel_queue *queue = queue_of(self->p.dev, self->npu, ACCEL_CLASS_LATENCY);
	struct accel_queue *bulk[RIVALS];
	unsigned int i;

	ASSERT_EQ(0, accel_qos_set_policy(self->p.dev, ACCEL_POLICY_FIFO));
	for (i = 0; i < RIVALS; i++) {
		bulk[i] = queue_on(self->p.dev, self->npu);
		EXPECT_EQ(0, submit_marked(self, bulk[i], 1 + i, false, NULL, NULL));
	}
	EXPECT_EQ(0, submit_marked(self, queue, 0, false, NULL, NULL));
	EXPECT_EQ(0, accel_queue_wait(queue, 1, LONG_NS, NULL));
	for (i = 0; i < RIVALS; i++) {
		EXPECT_EQ(0, accel_queue_wait(bulk[i], 1, LONG_NS, NULL));
		EXPECT_TRUE(ended_before(self, 1 + i, 0));
		EXPECT_TRUE(!i || ended_before(self, i, 1 + i));
		accel_queue_destroy(bulk[i]);
	}
	accel_queue_destroy(queue);
}

static void strict(struct __test_metadata *_metadata, FIXTURE_DATA(order) *self,
		   enum accel_policy policy)
{
	ASSERT_EQ(0, accel_qos_set_policy(self->p.dev, policy));
	/* The whole copy that began before the other was ready is not interrupted. */
	EXPECT_LE(RIVALS - 1, beaten(_metadata, self, ACCEL_CLASS_LATENCY, ACCEL_CLASS_BULK));
}

TEST_F(order, strict_goes_by_class)
{
	strict(_metadata, self, ACCEL_POLICY_STRICT);
}

TEST_F(order, strict_windows_go_by_class)
{
	strict(_metadata, self, ACCEL_POLICY_STRICT_WINDOWS);
}

/* The objects of the fixture as one client has them. */
struct view {
	struct accel_buffer *data, *marks, *rows;
	struct accel_point gate;
};

static struct view own_view(const FIXTURE_DATA(order) *self)
{
	return (struct view){ self->data, self->marks, self->rows, self->gate.point };
}

/* Chunks with a mark after each, and at the end a row of all marks. */
static void submit_chunks(struct __test_metadata *_metadata, const struct view *view,
			  struct accel_queue *queue, uint32_t base, uint32_t count, uint32_t row,
			  const struct accel_submit_qos *qos)
{
	struct accel_seg work = { 0, WORK, CHUNK }, own[CHUNKS], all = { row * MARKS, 0, MARKS };
	struct accel_op ops[2 * CHUNKS + 1];
	struct accel_submit submit = { .ops = ops, .op_count = 2 * count + 1,
				       .waits = &view->gate, .wait_count = 1 };
	unsigned int i;

	for (i = 0; i < count; i++) {
		own[i] = (struct accel_seg){ base + i, 0, 1 };
		ops[2 * i] = (struct accel_op){ ACCEL_OP_COPY, 1, view->data, view->data, 0,
						&work };
		ops[2 * i + 1] = (struct accel_op){ ACCEL_OP_FILL, 1, view->marks, NULL, 1,
						    &own[i] };
	}
	ops[2 * i] = (struct accel_op){ ACCEL_OP_COPY, 1, view->rows, view->marks, 0, &all };
	ASSERT_EQ(0, accel_queue_submit_qos(queue, &submit, qos, NULL, NULL));
}

static unsigned int marked(FIXTURE_DATA(order) *self, uint32_t base, uint32_t count, uint32_t row)
{
	unsigned int i, sum = 0;

	for (i = 0; i < count; i++)
		sum += self->seen[row * MARKS + base + i];
	return sum;
}

/* What the light one had when the heavy one was done; a quarter would be its due. */
static unsigned int light_share(struct __test_metadata *_metadata, FIXTURE_DATA(order) *self,
				struct accel_queue *light, struct accel_queue *heavy,
				const struct accel_submit_qos *first,
				const struct accel_submit_qos *second)
{
	struct view view = own_view(self);
	unsigned int had;

	submit_chunks(_metadata, &view, light, 0, CHUNKS, 0, first);
	submit_chunks(_metadata, &view, heavy, CHUNKS, CHUNKS, 1, second);
	gate_open(&self->gate);
	EXPECT_EQ(0, accel_queue_wait(light, 1, LONG_NS, NULL));
	EXPECT_EQ(0, accel_queue_wait(heavy, 1, LONG_NS, NULL));
	EXPECT_EQ(CHUNKS, marked(self, CHUNKS, CHUNKS, 1));
	had = marked(self, 0, CHUNKS, 1);
	accel_queue_destroy(light);
	accel_queue_destroy(heavy);
	return had;
}

TEST_F(order, queues_share_by_weight)
{
	unsigned int had = light_share(_metadata, self,
				       queue_weighing(self->p.dev, self->npu, 100),
				       queue_weighing(self->p.dev, self->npu, 400), NULL, NULL);

	EXPECT_LE(CHUNKS / 8, had);
	EXPECT_GE(CHUNKS / 2, had);
}

TEST_F(order, queues_share_equally_if_they_say_nothing)
{
	unsigned int had = light_share(_metadata, self, queue_on(self->p.dev, self->npu),
				       queue_weighing(self->p.dev, self->npu, ACCEL_WEIGHT), NULL,
				       NULL);

	EXPECT_LE(CHUNKS * 5 / 8, had);
}

TEST_F(order, submits_share_by_their_own_weight)
{
	struct accel_submit_qos light = { ACCEL_SUBMIT_CLASS, ACCEL_CLASS_BULK, 20, 0 };
	struct accel_submit_qos heavy = { ACCEL_SUBMIT_CLASS, ACCEL_CLASS_BULK, 80, 0 };
	unsigned int had = light_share(_metadata, self, queue_on(self->p.dev, self->npu),
				       queue_on(self->p.dev, self->npu), &light, &heavy);

	EXPECT_LE(CHUNKS / 8, had);
	EXPECT_GE(CHUNKS / 2, had);
}

/* Elsewhere than at the ports that it is for, a reservation is worth nothing. */
TEST_F(order, latency_elsewhere_is_bulk)
{
	struct accel_queue_qos qos = qos_of(ACCEL_CLASS_LATENCY, self->npu);
	struct accel_queue *bulk = queue_on(self->p.dev, self->npu), *queue;
	struct view view = own_view(self);

	qos.src = self->p.npu[0];
	ASSERT_EQ(0, accel_queue_create_qos(self->p.dev, self->npu, &qos, &queue));
	submit_chunks(_metadata, &view, bulk, 0, CHUNKS, 0, NULL);
	submit_chunks(_metadata, &view, queue, CHUNKS, CHUNKS, 1, NULL);
	gate_open(&self->gate);
	EXPECT_EQ(0, accel_queue_wait(queue, 1, LONG_NS, NULL));
	EXPECT_EQ(0, accel_queue_wait(bulk, 1, LONG_NS, NULL));
	EXPECT_LE(CHUNKS / 2, marked(self, 0, CHUNKS, 1));
	EXPECT_EQ(1, class_stats(self->p.dev, self->npu, ACCEL_CLASS_LATENCY).demoted);
	accel_queue_destroy(queue);
	accel_queue_destroy(bulk);
}

static struct accel_buffer *seen_by(struct accel_dev *dev, struct accel_buffer *buffer)
{
	struct accel_buffer *import;
	int fd;

	must_ok(accel_buffer_export(buffer, &fd));
	must_ok(accel_buffer_import(dev, fd, &import));
	close(fd);
	return import;
}

static struct view view_of(struct accel_dev *dev, const FIXTURE_DATA(order) *self)
{
	struct view view = { seen_by(dev, self->data), seen_by(dev, self->marks),
			     seen_by(dev, self->rows), { NULL, 1 } };
	int fd;

	must_ok(accel_timeline_export(self->gate.point.timeline, &fd));
	must_ok(accel_timeline_import(dev, fd, &view.gate.timeline));
	close(fd);
	return view;
}

static void view_close(struct view *view)
{
	accel_buffer_close(view->data);
	accel_buffer_close(view->marks);
	accel_buffer_close(view->rows);
	accel_timeline_close(view->gate.timeline);
}

/*
 * Clients may have engines of their own, which hear of the gate one after the
 * other: let the one that is to have more go through it first.
 */
static void let_first(struct __test_metadata *_metadata, struct accel_queue *queue,
		      const struct view *first, struct view *second)
{
	struct accel_point next = { first->gate.timeline, 2 };
	struct accel_submit submit = { .waits = &first->gate, .wait_count = 1, .signals = &next,
				       .signal_count = 1 };

	ASSERT_EQ(0, accel_queue_submit(queue, &submit, NULL));
	second->gate.value = 2;
}

/* On one engine or, where each client has its own, at the port. */
TEST_F(order, clients_share_by_weight)
{
	struct accel_dev *other = dev_open();
	struct view mine = own_view(self), theirs = view_of(other, self);
	struct accel_queue *light = queue_weighing(self->p.dev, self->npu, 100);
	struct accel_queue *heavy = queue_weighing(other, self->npu, 400);
	unsigned int had;

	ASSERT_EQ(0, accel_qos_set_slack(self->p.dev, LONG_SLACK));
	let_first(_metadata, heavy, &theirs, &mine);
	submit_chunks(_metadata, &theirs, heavy, CHUNKS, CHUNKS, 1, NULL);
	submit_chunks(_metadata, &mine, light, 0, CHUNKS, 0, NULL);
	gate_open(&self->gate);
	EXPECT_EQ(0, accel_queue_wait(heavy, 2, LONG_NS, NULL));
	EXPECT_EQ(0, accel_queue_wait(light, 1, LONG_NS, NULL));
	EXPECT_EQ(CHUNKS, marked(self, CHUNKS, CHUNKS, 1));
	had = marked(self, 0, CHUNKS, 1);
	EXPECT_LE(CHUNKS / 8, had);
	EXPECT_GE(CHUNKS / 2, had);
	accel_queue_destroy(light);
	accel_queue_destroy(heavy);
	view_close(&theirs);
	accel_close(other);
}

/* Latency goes first, whosever it is. */
TEST_F(order, rank_holds_between_clients)
{
	struct accel_dev *other = dev_open();
	struct view mine = own_view(self), theirs = view_of(other, self);
	struct accel_queue *bulk = queue_on(self->p.dev, self->npu);
	struct accel_queue *latency = queue_of(other, self->npu, ACCEL_CLASS_LATENCY);

	ASSERT_EQ(0, accel_qos_set_slack(self->p.dev, LONG_SLACK));
	let_first(_metadata, latency, &theirs, &mine);
	submit_chunks(_metadata, &theirs, latency, CHUNKS, IN_BUDGET, 1, NULL);
	submit_chunks(_metadata, &mine, bulk, 0, CHUNKS, 0, NULL);
	gate_open(&self->gate);
	EXPECT_EQ(0, accel_queue_wait(latency, 2, LONG_NS, NULL));
	EXPECT_EQ(0, accel_queue_wait(bulk, 1, LONG_NS, NULL));
	/* A little fits beside each of its windows; as much would be no rank at all. */
	EXPECT_GE(IN_BUDGET * 2 / 3, marked(self, 0, CHUNKS, 1));
	accel_queue_destroy(bulk);
	accel_queue_destroy(latency);
	view_close(&theirs);
	accel_close(other);
}

/* Nobody gets more by having more queues: half a port is the crowd's, and half the other's. */
TEST_F(order, clients_share_whatever_their_queues)
{
	struct accel_dev *other = dev_open();
	struct view mine = own_view(self), theirs = view_of(other, self);
	struct accel_queue *queue = queue_on(self->p.dev, self->npu), *crowd[CROWD];
	unsigned int each = 2 * CHUNKS / CROWD, i, had;

	for (i = 0; i < CROWD; i++) {
		crowd[i] = queue_on(other, self->npu);
		submit_chunks(_metadata, &theirs, crowd[i], CHUNKS + i * each, each, 1 + i, NULL);
	}
	submit_chunks(_metadata, &mine, queue, 0, CHUNKS, 0, NULL);
	gate_open(&self->gate);
	EXPECT_EQ(0, accel_queue_wait(queue, 1, LONG_NS, NULL));
	for (i = 0; i < CROWD; i++) {
		EXPECT_EQ(0, accel_queue_wait(crowd[i], 1, LONG_NS, NULL));
		accel_queue_destroy(crowd[i]);
	}
	EXPECT_EQ(CHUNKS, marked(self, 0, CHUNKS, 0));
	had = marked(self, CHUNKS, 2 * CHUNKS, 0);
	EXPECT_LE(CHUNKS / 2, had);
	EXPECT_GE(CHUNKS * 3 / 2, had);
	accel_queue_destroy(queue);
	view_close(&theirs);
	accel_close(other);
}

TEST_HARNESS_MAIN
