// SPDX-License-Identifier: MIT
/*
 * Conformance: whatever is asked for, and however the pool is shared meanwhile,
 * each byte arrives once, in its queue's order, and nothing stays promised.
 */
#include <stdatomic.h>

#include "classes.h"

#define QUEUES 12
#define REGION KIB(64)	/* of a queue, in each buffer that is written */
#define ROUNDS 120
#define DEPTH 24	/* submits of one queue under way */
#define MOST_OPS 3
#define FUZZ_SLACK 100000

FIXTURE(mix)
{
	struct pool p;
	struct accel_buffer *src, *dst[2];	/* one of those on an NPU, one on all */
	uint8_t *s, *d[2], *shadow[2];
};

FIXTURE_SETUP(mix)
{
	struct accel_where all = { ACCEL_PLACE_INTERLEAVE, OWN_NPUS, self->p.npu, KIB(4) };
	int i;

	pool_setup(&self->p);
	self->src = buffer_on(self->p.dev, self->p.npu[0], REGION);
	self->dst[0] = buffer_on(self->p.dev, self->p.npu[1], QUEUES * REGION);
	must_ok(accel_buffer_create(self->p.dev, QUEUES * REGION, &all, &self->dst[1]));
	self->s = buffer_map(self->src);
	scribble(self->s, REGION, 3);
	for (i = 0; i < 2; i++) {
		self->d[i] = buffer_map(self->dst[i]);
		self->shadow[i] = calloc(1, QUEUES * REGION);
	}
}

FIXTURE_TEARDOWN(mix)
{
	bool rests;
	int i;

	accel_qos_set_policy(self->p.dev, ACCEL_POLICY_HYBRID);
	accel_qos_set_slack(self->p.dev, 40000);
	rests = eventually(ports_rest(self->p.dev, self->p.npu, OWN_NPUS));
	accel_buffer_unmap(self->p.dev, self->s, REGION);
	accel_buffer_close(self->src);
	for (i = 0; i < 2; i++) {
		accel_buffer_unmap(self->p.dev, self->d[i], QUEUES * REGION);
		accel_buffer_close(self->dst[i]);
		free(self->shadow[i]);
	}
	EXPECT_TRUE(pool_teardown(&self->p));
	EXPECT_TRUE(rests)
		TH_LOG("a port is not at rest");
}

/* A queue with the region that nobody else writes. */
struct lane {
	struct accel_queue *queue;
	uint32_t class_id;
	uint64_t base;
	uint64_t sent, waited;
	uint64_t bytes;
};

static void lanes_make(struct pool *p, struct lane *lanes)
{
	unsigned int i;

	for (i = 0; i < QUEUES; i++) {
		struct accel_queue_qos qos = qos_of(i % ACCEL_CLASSES, p->npu[i % 3]);

		/* A little for each, and it holds for some of what they copy only. */
		if (qos.budget) {
			qos.budget = KIB(64);
			qos.src = i % 2 ? ACCEL_NPU_ANY : p->npu[0];
			qos.dst = i % 4 ? ACCEL_NPU_ANY : p->npu[1];
		}
		qos.weight = 1 << i % 11;
		lanes[i] = (struct lane){ .class_id = qos.class_id, .base = i * REGION };
		must_ok(accel_queue_create_qos(p->dev, p->npu[i % 3], &qos, &lanes[i].queue));
	}
}

static struct accel_submit_qos random_qos(const struct lane *lane, uint64_t *seed)
{
	static const uint32_t free_for_all[] = { ACCEL_CLASS_BULK, ACCEL_CLASS_DEADLINE,
						 ACCEL_CLASS_SCRUB };
	struct accel_submit_qos qos = { 0 };

	if (rnd(seed) % 3 == 0) {
		qos.flags = ACCEL_SUBMIT_CLASS;
		qos.class_id = rnd(seed) % 2 ? lane->class_id : free_for_all[rnd(seed) % 3];
		qos.weight = rnd(seed) % (ACCEL_MAX_WEIGHT + 1);
	}
	if (rnd(seed) % 2)
		qos.flags |= ACCEL_SUBMIT_ANYWAY;
	switch (rnd(seed) % 6) {
	case 0:
		qos.deadline_ns = 1 + rnd(seed);
		break;
	case 1:
		qos.deadline_ns = now_ns() + rnd(seed) % 200000;
		break;
	case 2:
		qos.deadline_ns = now_ns() + rnd(seed) % SEC_NS;
		break;
	case 3:
		qos.deadline_ns = now_ns() + 30 * SEC_NS + rnd(seed) * 20ull;
		break;
	case 4:
		qos.deadline_ns = rnd(seed) % 4 ? 0 : UINT64_MAX - rnd(seed);
		break;
	}
	return qos;
}

struct plan {
	struct accel_op ops[MOST_OPS];
	struct accel_seg segs[MOST_OPS][4];
	uint32_t count;
};

static void random_plan(FIXTURE_DATA(mix) *self, const struct lane *lane, struct plan *plan,
			uint64_t *seed)
{
	uint32_t i, j;

	plan->count = rnd(seed) % (MOST_OPS + 1);
	for (i = 0; i < plan->count; i++) {
		bool fill = rnd(seed) % 4 == 0;

		plan->ops[i] = (struct accel_op){
			fill ? ACCEL_OP_FILL : ACCEL_OP_COPY, 1 + rnd(seed) % 4,
			self->dst[rnd(seed) % 2], fill ? NULL : self->src,
			fill ? rnd(seed) % 256 * 0x0101010101010101ull : 0, plan->segs[i],
		};
		for (j = 0; j < plan->ops[i].seg_count; j++) {
			uint64_t size = 1 + rnd(seed) % (rnd(seed) % 8 ? 2000 : REGION);

			plan->segs[i][j] = (struct accel_seg){
				lane->base + rnd(seed) % (REGION - size + 1),
				fill ? 0 : rnd(seed) % (REGION - size + 1), size,
			};
		}
	}
}

static void apply(FIXTURE_DATA(mix) *self, struct lane *lane, const struct plan *plan)
{
	uint32_t i, j;

	for (i = 0; i < plan->count; i++)
		for (j = 0; j < plan->ops[i].seg_count; j++) {
			const struct accel_op *op = &plan->ops[i];
			const struct accel_seg *seg = &op->segs[j];
			uint8_t *to = self->shadow[op->dst == self->dst[1]] + seg->dst_offset;

			if (op->type == ACCEL_OP_FILL)
				memset(to, op->pattern & 0xff, seg->size);
			else
				memcpy(to, self->s + seg->src_offset, seg->size);
			lane->bytes += seg->size;
		}
}

/* One submit, whatever it is answered; what was accepted is what will have been done. */
static void submit_random(struct __test_metadata *_metadata, FIXTURE_DATA(mix) *self,
			  struct lane *lane, uint64_t *seed)
{
	struct accel_submit_qos qos = random_qos(lane, seed);
	struct accel_admission told = { 77, 77 };
	struct accel_submit submit;
	struct plan plan;
	uint64_t seqno;
	int err;

	random_plan(self, lane, &plan, seed);
	submit = (struct accel_submit){ .ops = plan.ops, .op_count = plan.count };
	if (lane->sent - lane->waited == DEPTH)
		ASSERT_EQ(0, accel_queue_wait(lane->queue, ++lane->waited, LONG_NS, NULL));
	err = accel_queue_submit_qos(lane->queue, &submit, &qos, &seqno, &told);
	if (err) {
		ASSERT_EQ(-EBUSY, err);
		ASSERT_NE(ACCEL_REASON_NONE, told.reason);
		ASSERT_EQ(0, qos.flags & ACCEL_SUBMIT_ANYWAY);
		return;
	}
	ASSERT_GE(ACCEL_REASON_WIDE, told.reason);
	ASSERT_EQ(++lane->sent, seqno);
	apply(self, lane, &plan);
}

static uint64_t jobs_ended(struct pool *p)
{
	unsigned int i, class_id;
	uint64_t sum = 0;

	for (i = 0; i < OWN_NPUS; i++)
		for (class_id = 0; class_id < ACCEL_CLASSES; class_id++)
			sum += class_stats(p->dev, p->npu[i], class_id).jobs;
	return sum;
}

static void check_all(struct __test_metadata *_metadata, FIXTURE_DATA(mix) *self,
		      struct lane *lanes)
{
	uint64_t sent = 0, bytes = 0, moved = 0;
	unsigned int i, class_id;

	for (i = 0; i < QUEUES; i++) {
		while (lanes[i].waited < lanes[i].sent)
			ASSERT_EQ(0, accel_queue_wait(lanes[i].queue, ++lanes[i].waited, LONG_NS,
						      NULL));
		accel_queue_destroy(lanes[i].queue);
		sent += lanes[i].sent;
		bytes += lanes[i].bytes;
	}
	for (i = 0; i < 2; i++)
		EXPECT_EQ(0, memcmp(self->shadow[i], self->d[i], QUEUES * REGION))
			TH_LOG("buffer %u", i);
	EXPECT_TRUE(eventually(jobs_ended(&self->p) == sent));
	for (i = 0; i < OWN_NPUS; i++)
		for (class_id = 0; class_id < ACCEL_CLASSES; class_id++) {
			struct accel_class_stats s = class_stats(self->p.dev, self->p.npu[i],
								 class_id);

			moved += s.bytes;
			EXPECT_EQ(samples(s.queue_ns), samples(s.service_ns));
			EXPECT_GE(s.jobs, samples(s.queue_ns));
			EXPECT_GE(s.jobs, s.missed);
			EXPECT_GE(s.jobs, s.demoted);
		}
	EXPECT_EQ(bytes, moved);
}

/* For as long as the settings change under it. */
struct shaker {
	struct accel_dev *dev;
	atomic_bool stop;
	unsigned int turns;
	int bad;
};

static void *shake(void *arg)
{
	struct shaker *shaker = arg;
	struct accel_port_info ports[2 * OWN_NPUS];
	uint64_t seed = 9;

	while (!shaker->stop) {
		uint32_t count = ARRAY_LEN(ports);

		if (accel_qos_set_policy(shaker->dev, rnd(&seed) % 4) ||
		    accel_qos_set_slack(shaker->dev, 1000 + rnd(&seed) % FUZZ_SLACK) ||
		    accel_ports(shaker->dev, ports, &count))
			shaker->bad++;
		shaker->turns++;
		nap(1);
	}
	return NULL;
}

static void fuzz(struct __test_metadata *_metadata, FIXTURE_DATA(mix) *self, uint64_t seed)
{
	struct lane lanes[QUEUES];
	unsigned int i;

	lanes_make(&self->p, lanes);
	for (i = 0; i < QUEUES * scaled(ROUNDS); i++)
		submit_random(_metadata, self, &lanes[rnd(&seed) % QUEUES], &seed);
	check_all(_metadata, self, lanes);
}

TEST_F(mix, every_byte_arrives)
{
	fuzz(_metadata, self, 1);
}

TEST_F(mix, every_byte_arrives_while_policies_change)
{
	struct shaker shaker = { .dev = self->p.dev };
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, shake, &shaker));
	fuzz(_metadata, self, 2);
	shaker.stop = true;
	pthread_join(thread, NULL);
	EXPECT_EQ(0, shaker.bad);
	EXPECT_LT(0, shaker.turns);
}

static void each_policy(struct __test_metadata *_metadata, FIXTURE_DATA(mix) *self,
			enum accel_policy policy)
{
	struct accel_qos_info info;

	ASSERT_EQ(0, accel_qos_set_policy(self->p.dev, policy));
	fuzz(_metadata, self, 3 + policy);
	ASSERT_EQ(0, accel_qos_info(self->p.dev, &info));
	EXPECT_EQ(policy, info.policy);
}

TEST_F(mix, every_byte_arrives_by_fifo)
{
	each_policy(_metadata, self, ACCEL_POLICY_FIFO);
}

TEST_F(mix, every_byte_arrives_by_strict)
{
	each_policy(_metadata, self, ACCEL_POLICY_STRICT);
}

TEST_F(mix, every_byte_arrives_by_strict_windows)
{
	each_policy(_metadata, self, ACCEL_POLICY_STRICT_WINDOWS);
}

struct stream {
	struct pool *pool;
	uint32_t npu, dst;
	uint64_t seed;
	int bad;
};

/* A client of its own that copies from one NPU to another and reads it back. */
static void *stream(void *arg)
{
	struct stream *st = arg;
	struct accel_dev *dev = dev_open();
	struct accel_buffer *src = buffer_on(dev, st->npu, REGION);
	struct accel_buffer *dst = buffer_on(dev, st->dst, REGION);
	uint8_t *s = buffer_map(src), *d = buffer_map(dst);
	struct accel_queue *queue = queue_of(dev, st->npu, st->seed % ACCEL_CLASSES);
	unsigned int i;

	for (i = 0; i < scaled(60); i++) {
		struct accel_submit_qos qos = { .flags = ACCEL_SUBMIT_ANYWAY };

		qos.deadline_ns = rnd(&st->seed) % 2 ? now_ns() + rnd(&st->seed) % SEC_NS : 0;
		scribble(s, REGION, rnd(&st->seed));
		if (run_qos(queue, dst, src, REGION, &qos) || memcmp(s, d, REGION))
			st->bad++;
	}
	accel_buffer_unmap(dev, s, REGION);
	accel_buffer_unmap(dev, d, REGION);
	accel_buffer_close(src);
	accel_buffer_close(dst);
	accel_queue_destroy(queue);
	accel_close(dev);
	return NULL;
}

/* Many engines into one NPU, each by a client of its own. */
TEST_F(mix, incast)
{
	struct stream streams[2 * OWN_NPUS];
	pthread_t threads[2 * OWN_NPUS];
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(streams); i++) {
		streams[i] = (struct stream){ &self->p, self->p.npu[i % OWN_NPUS], self->p.npu[0], i,
					      0 };
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, stream, &streams[i]));
	}
	for (i = 0; i < ARRAY_LEN(streams); i++) {
		pthread_join(threads[i], NULL);
		EXPECT_EQ(0, streams[i].bad);
	}
}

TEST_HARNESS_MAIN
