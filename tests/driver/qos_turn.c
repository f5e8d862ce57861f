// SPDX-License-Identifier: MIT
/*
 * What the arbiter does: whose submit ends first, what is counted, what a flood, a
 * death or a removal leaves behind.
 */
#include "classes.h"
#include "tracing.h"

#define FLOOD 64		/* submits */

/* --- whose turn it is -------------------------------------------------------------------- */

TEST_F(qos, latency_goes_before_a_flood)
{
	uint32_t bulk = queue_new(self->fd, self->slow), latency, i;
	uint64_t last = 0;

	latency = queue_reserved(self->fd, self->slow, DRM_NPOOL_CLASS_LATENCY, KIB(64),
				 SEC_NS / 10);
	for (i = 0; i < FLOOD; i++)
		last = copy_later(self->fd, bulk, self->bo, KIB(512));
	EXPECT_EQ(0, wait_for(self->fd, latency, copy_later(self->fd, latency, self->bo, KIB(16))));
	EXPECT_FALSE(has_ended(self->fd, bulk, last - FLOOD / 2));
	EXPECT_EQ(0, class_stats(self->fd, self->slow, DRM_NPOOL_CLASS_LATENCY).demoted);
	EXPECT_EQ(1, class_stats(self->fd, self->slow, DRM_NPOOL_CLASS_LATENCY).jobs);
}

TEST_F(qos, deadlines_go_by_deadline)
{
	struct drm_npool_submit submit = {};
	uint32_t queues[8], i;

	for (i = 0; i < 8; i++) {
		queues[i] = queue_of(self->fd, self->slow, DRM_NPOOL_CLASS_DEADLINE, 0);
		submit.queue = queues[i];
		submit.deadline_ns = now_ns() + (50 - i * 5) * SEC_NS;
		ASSERT_EQ(0, copy_times(self->fd, &submit, self->bo, self->bo, MIB(1), 1));
	}
	/* The first may be under way when the last comes; the others wait for it. */
	EXPECT_EQ(0, wait_for(self->fd, queues[7], 1));
	for (i = 0; i < 7; i++)
		EXPECT_FALSE(has_ended(self->fd, queues[i], 1));
	EXPECT_EQ(0, wait_for(self->fd, queues[4], 1));
	EXPECT_FALSE(has_ended(self->fd, queues[1], 1));
	EXPECT_EQ(0, wait_for(self->fd, queues[0], 1));
	EXPECT_EQ(0, class_stats(self->fd, self->slow, DRM_NPOOL_CLASS_DEADLINE).missed);
}

TEST_F(qos, what_has_moved_is_promised_no_more)
{
	struct drm_npool_submit submit = {
		.queue = queue_of(self->fd, self->slow, DRM_NPOOL_CLASS_DEADLINE, 0),
		.deadline_ns = now_ns() + 50 * SEC_NS,
	};

	ASSERT_EQ(0, copy_times(self->fd, &submit, self->bo, self->bo, MIB(2), 60));
	EXPECT_TRUE(eventually(port_info(self->fd, self->slow, 0).promised < MIB(119) &&
			       port_info(self->fd, self->slow, 1).promised < MIB(119)));
	EXPECT_LT(0, port_info(self->fd, self->slow, 0).promised);
	EXPECT_FALSE(has_ended(self->fd, submit.queue, 1));
}

TEST_F(qos, fifo_goes_by_when_it_was_ready)
{
	uint32_t scrub = queue_of(self->fd, self->slow, DRM_NPOOL_CLASS_SCRUB, 1);
	uint32_t first = queue_new(self->fd, self->slow), last = queue_new(self->fd, self->slow);

	ASSERT_EQ(0, set_qos(self->fd, DRM_NPOOL_QOS_POLICY, 0, DRM_NPOOL_POLICY_FIFO));
	copy_later(self->fd, first, self->bo, MIB(2));
	copy_later(self->fd, scrub, self->bo, KIB(64));
	copy_later(self->fd, last, self->bo, MIB(2));
	EXPECT_EQ(0, wait_for(self->fd, scrub, 1));
	EXPECT_TRUE(has_ended(self->fd, first, 1));
	EXPECT_FALSE(has_ended(self->fd, last, 1));
}

TEST_F(qos, weights_share)
{
	int other = node_open();
	uint32_t light = queue_of(self->fd, self->slow, DRM_NPOOL_CLASS_BULK, 64);
	uint32_t heavy = queue_of(other, self->slow, DRM_NPOOL_CLASS_BULK, 512), i;
	uint32_t bo = bo_new(other, self->slow, MIB(1)).handle;
	uint64_t last = 0, done;

	/* Behind one another first, so that both stand ready before either is served. */
	copy_later(self->fd, light, self->bo, MIB(2));
	copy_later(other, heavy, bo, KIB(512));
	for (i = 0; i < FLOOD; i++) {
		copy_later(self->fd, light, self->bo, KIB(64));
		last = copy_later(other, heavy, bo, KIB(64));
	}
	EXPECT_EQ(0, wait_for(other, heavy, last));
	/* An eighth of 4.5 MiB is less than what comes first. */
	done = ended_of(self->fd, light, FLOOD + 1);
	EXPECT_GT(FLOOD / 2, done)
		TH_LOG("the light one has done %llu", (unsigned long long)done);
	EXPECT_EQ(0, wait_for(self->fd, light, FLOOD + 1));
	close(other);
}

/* A thousand queues of one file weigh no more than another file's one. */
TEST_F(qos, queues_do_not_add_up)
{
	int other = node_open();
	uint32_t one = queue_new(other, self->slow), bo = bo_new(other, self->slow, MIB(1)).handle;
	uint32_t i, n = 32, queues[32];
	uint64_t last = 0, done = 0;

	for (i = 0; i < n; i++) {
		queues[i] = queue_new(self->fd, self->slow);
		copy_later(self->fd, queues[i], self->bo, KIB(512));
	}
	for (i = 0; i < 16; i++)
		last = copy_later(other, one, bo, KIB(64));
	EXPECT_EQ(0, wait_for(other, one, last));
	for (i = 0; i < n; i++)
		done += has_ended(self->fd, queues[i], 1);
	/* It had 1 MiB, and the others about as much. */
	EXPECT_GT(n / 2, done)
		TH_LOG("%llu of the others are done", (unsigned long long)done);
	close(other);
}

TEST_F(qos, scrub_waits_for_all)
{
	uint32_t scrub = queue_of(self->fd, self->slow, DRM_NPOOL_CLASS_SCRUB, 1024);
	uint32_t bulk = queue_of(self->fd, self->slow, DRM_NPOOL_CLASS_BULK, 1), i;
	uint64_t last = 0;

	copy_later(self->fd, bulk, self->bo, MIB(1));
	for (i = 0; i < 4; i++)
		copy_later(self->fd, scrub, self->bo, KIB(256));
	for (i = 0; i < FLOOD / 4; i++)
		last = copy_later(self->fd, bulk, self->bo, KIB(128));
	EXPECT_EQ(0, wait_for(self->fd, scrub, 1));
	EXPECT_TRUE(has_ended(self->fd, bulk, last));
	EXPECT_EQ(0, wait_for(self->fd, scrub, 4));
}

/* --- what is counted --------------------------------------------------------------------- */

TEST_F(qos, class_statistics)
{
	struct drm_npool_submit late = { .queue = queue_new(self->fd, self->slow),
					 .deadline_ns = 1 };
	struct drm_npool_class_stats stats;
	uint32_t latency;
	uint64_t last = 0;
	int i;

	ASSERT_EQ(0, copy_times(self->fd, &late, self->bo, self->bo, KIB(64), 3));
	ASSERT_EQ(0, wait_for(self->fd, late.queue, late.seqno));
	ASSERT_EQ(0, wait_for(self->fd, late.queue, copy_later(self->fd, late.queue, self->bo, 1)));
	stats = class_stats(self->fd, self->slow, DRM_NPOOL_CLASS_BULK);
	EXPECT_EQ(2, stats.jobs);
	EXPECT_EQ(1, stats.missed);
	EXPECT_EQ(0, stats.demoted);
	EXPECT_EQ(0, stats.refused);
	EXPECT_EQ(3 * KIB(64) + 1, stats.bytes);
	EXPECT_LE(2, stats.windows);
	EXPECT_EQ(2, samples(stats.queue_ns));
	EXPECT_EQ(2, samples(stats.service_ns));
	/* Beyond its budget it is bulk, but counts as what it is. */
	latency = queue_reserved(self->fd, self->slow, DRM_NPOOL_CLASS_LATENCY, KIB(8), SEC_NS);
	for (i = 0; i < 3; i++)
		last = copy_later(self->fd, latency, self->bo, KIB(32));
	ASSERT_EQ(0, wait_for(self->fd, latency, last));
	stats = class_stats(self->fd, self->slow, DRM_NPOOL_CLASS_LATENCY);
	EXPECT_EQ(3, stats.jobs);
	EXPECT_EQ(3 * KIB(32), stats.bytes);
	EXPECT_LE(2, stats.demoted);
	EXPECT_EQ(0, stats.missed);
	/* Where its reservation does not hold it is bulk too. */
	EXPECT_EQ(0, class_stats(self->fd, self->slow, DRM_NPOOL_CLASS_CONTROL).jobs);
	must_ok(queue_try(self->fd, (struct drm_npool_queue_create){
			.npu = self->slow, .class_id = DRM_NPOOL_CLASS_CONTROL, .budget = KIB(64),
			.period_ns = SEC_NS, .flags = DRM_NPOOL_QUEUE_SRC, .src = self->p.npu[1],
		}, &latency));
	ASSERT_EQ(0, wait_for(self->fd, latency, copy_later(self->fd, latency, self->bo, 64)));
	EXPECT_EQ(1, class_stats(self->fd, self->slow, DRM_NPOOL_CLASS_CONTROL).demoted);
}

TEST_F(qos, tracepoints)
{
	struct drm_npool_submit submit = {
		.queue = queue_new(self->fd, self->slow),
		.flags = DRM_NPOOL_SUBMIT_CLASS | DRM_NPOOL_SUBMIT_ANYWAY,
		.class_id = DRM_NPOOL_CLASS_DEADLINE, .deadline_ns = 77,
	};
	const char *refused, *window, *done, *text;
	char mine[64];

	if (!tracing_there())
		SKIP(return, "this kernel has no tracefs");
	tracing_start();
	ASSERT_EQ(0, copy_times(self->fd, &submit, self->bo, self->bo, 777, 1));
	ASSERT_EQ(0, wait_for(self->fd, submit.queue, submit.seqno));
	text = tracing_end();
	refused = strstr(text, "npool_refused: ");
	window = strstr(text, "npool_window: ");
	done = strstr(text, "npool_job_done: ");
	ASSERT_TRUE(refused && window && done)
		TH_LOG("%.2000s", text);
	snprintf(mine, sizeof(mine), "npu=%u client=%llu queue=%u ", self->slow,
		 (unsigned long long)client_id(self->fd), submit.queue);
	EXPECT_EQ(0, strncmp(refused + 15, mine, strlen(mine)));
	EXPECT_EQ(0, strncmp(window + 14, mine, strlen(mine)));
	EXPECT_NE(NULL, strstr(refused, "reason=1 deadline=77 earliest="));
	EXPECT_NE(NULL, strstr(window, "seqno=1 bytes=777 rank=3"));
	EXPECT_NE(NULL, strstr(done, "error=0 class=0 missed=1 demoted=0"));
	EXPECT_NE(NULL, strstr(text, "ops=1 class=0 deadline=77"));
}

/* --- floods, deaths, removals ------------------------------------------------------------ */

struct load {
	int fd;
	uint32_t npu, seed;
	bool stop;
	unsigned int bad, rounds;
};

static void *load_npu(void *arg)
{
	static const uint32_t classes[] = { DRM_NPOOL_CLASS_BULK, DRM_NPOOL_CLASS_DEADLINE,
					    DRM_NPOOL_CLASS_SCRUB, DRM_NPOOL_CLASS_LATENCY };
	struct load *load = arg;
	uint32_t bo = bo_new(load->fd, load->npu, KIB(256)).handle, queues[4], i;
	uint64_t seed = load->seed, last[4] = { 0 };

	for (i = 0; i < 3; i++)
		queues[i] = queue_of(load->fd, load->npu, classes[i], 1 + rnd(&seed) % 1024);
	queues[3] = queue_reserved(load->fd, load->npu, classes[3], KIB(64), SEC_NS / 100);
	while (!__atomic_load_n(&load->stop, __ATOMIC_RELAXED)) {
		for (i = 0; i < 4; i++) {
			struct drm_npool_submit submit = {
				.queue = queues[i], .flags = DRM_NPOOL_SUBMIT_ANYWAY,
				.deadline_ns = rnd(&seed) % 2 ? now_ns() + rnd(&seed) % SEC_NS : 0,
			};
			int err = copy_times(load->fd, &submit, bo, bo,
					     1 + rnd(&seed) % KIB(64), 1 + rnd(&seed) % 4);

			load->bad += err && err != -EBUSY;
			last[i] = err ? last[i] : submit.seqno;
			load->rounds++;
		}
		for (i = 0; i < 4 && rnd(&seed) % 8 == 0; i++)
			load->bad += !!wait_for(load->fd, queues[i], 1);
	}
	for (i = 0; i < 4; i++)
		load->bad += !eventually(has_ended(load->fd, queues[i], last[i]));
	return NULL;
}

TEST_F(qos, policies_change_under_load)
{
	struct load loads[3];
	pthread_t threads[3];
	unsigned int i;

	for (i = 0; i < 3; i++) {
		loads[i] = (struct load){ .fd = node_open(), .npu = self->p.npu[i / 2],
					  .seed = i };
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, load_npu, &loads[i]));
	}
	for (i = 0; i < scaled(200); i++) {
		EXPECT_EQ(0, set_qos(self->fd, DRM_NPOOL_QOS_POLICY, 0, i % POLICIES));
		EXPECT_EQ(0, set_qos(self->fd, DRM_NPOOL_QOS_SLACK, 0, 1000ull << i % 8));
		nap(5);
	}
	EXPECT_EQ(0, set_qos(self->fd, DRM_NPOOL_QOS_SLACK, 0, 40000));
	for (i = 0; i < 3; i++)
		__atomic_store_n(&loads[i].stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < 3; i++) {
		pthread_join(threads[i], NULL);
		EXPECT_EQ(0, loads[i].bad);
		EXPECT_LT(0, loads[i].rounds);
		close(loads[i].fd);
	}
}

/* Under each policy everything that is submitted ends. */
TEST_F(qos, policies_leave_nobody_out)
{
	uint32_t policy, i, npu = self->p.npu[0], queues[4];
	uint32_t bo = bo_new(self->fd, npu, MIB(1)).handle;
	uint64_t last[4];

	for (i = 0; i < 3; i++)
		queues[i] = queue_of(self->fd, npu, i ? i + 2 : 0, 0);
	queues[3] = queue_reserved(self->fd, npu, DRM_NPOOL_CLASS_LATENCY, 4096, SEC_NS / 10);
	for (policy = 0; policy < POLICIES; policy++) {
		ASSERT_EQ(0, set_qos(self->fd, DRM_NPOOL_QOS_POLICY, 0, policy));
		EXPECT_EQ(policy, qos_info(self->fd).policy);
		for (i = 0; i < FLOOD; i++)
			last[i % 4] = copy_later(self->fd, queues[i % 4], bo, KIB(128));
		for (i = 0; i < 4; i++)
			EXPECT_EQ(0, wait_for(self->fd, queues[i], last[i]));
	}
}

static int flood(int sock, const void *arg)
{
	uint32_t npu = *(const uint32_t *)arg, queues[4], i;
	int fd = node_open();
	uint32_t bo = bo_new(fd, npu, KIB(64)).handle;

	for (i = 0; i < 4; i++)
		queues[i] = queue_new(fd, npu);
	for (i = 0; i < FLOOD; i++) {
		struct drm_npool_submit submit = { .queue = queues[i % 4] };

		must_ok(copy_times(fd, &submit, bo, bo, 64, SLOW_OPS));
	}
	say(sock, client_id(fd));
	pause();
	return 0;
}

/* An operation takes a quarter of a second there, so each is a window. */
TEST_F(qos, a_dead_flood_ends_within_a_window)
{
	uint32_t npu = npu_add(self->p.dev, OWN_BYTES, SLOW_NS);
	struct child child = child_start(flood, &npu);
	struct drm_npool_client_info info;
	struct drm_npool_query alive = { .topic = DRM_NPOOL_TOPIC_CLIENT, .id = hear(child.sock),
					 .data = (uintptr_t)&info, .count = 1,
					 .stride = sizeof(info) };
	uint64_t windows = class_stats(self->fd, npu, DRM_NPOOL_CLASS_BULK).windows;
	uint32_t queue = queue_new(self->fd, npu), bo;

	child_kill(&child);
	EXPECT_TRUE(eventually(!call(self->fd, DRM_IOCTL_NPOOL_QUERY, &alive) && !info.alive));
	/* What was under way when it was counted, when it was killed, and when it was closed. */
	EXPECT_GE(windows + 4, class_stats(self->fd, npu, DRM_NPOOL_CLASS_BULK).windows);
	EXPECT_EQ(FLOOD, class_stats(self->fd, npu, DRM_NPOOL_CLASS_BULK).jobs);
	bo = bo_new(self->fd, npu, KIB(64)).handle;
	EXPECT_EQ(0, wait_for(self->fd, queue, copy_later(self->fd, queue, bo, 64)));
	must_ok(accel_npu_remove(self->p.dev, npu));
}

TEST_F(qos, many_queues_of_many_files)
{
	unsigned int files = scaled(10), i, j, bad = 0;
	uint32_t npu = self->p.npu[0], queue = queue_new(self->fd, npu), mine;
	int fds[10];

	files = files < 10 ? files : 10;
	mine = bo_new(self->fd, npu, KIB(64)).handle;
	for (i = 0; i < files; i++) {
		uint32_t bo;

		fds[i] = node_open();
		bo = bo_new(fds[i], npu, KIB(64)).handle;
		for (j = 0; j < 1000; j++) {
			uint32_t q = queue_of(fds[i], npu, j % 2 ? DRM_NPOOL_CLASS_BULK :
					      DRM_NPOOL_CLASS_SCRUB, 1 + j);

			copy_later(fds[i], q, bo, KIB(16));
			bad += copy_later(fds[i], q, bo, 64) != 2;
		}
	}
	EXPECT_EQ(0, bad);
	EXPECT_EQ(0, wait_for(self->fd, queue, copy_later(self->fd, queue, mine, KIB(32))));
	for (i = 0; i < files; i++)
		close(fds[i]);
}

/*
 * Engines of other NPUs wait for room at a port whose NPU goes, queues have
 * reserved there and submits have promises there: all that ends, the rest goes on.
 */
TEST_F(qos, removal_with_all_of_it)
{
	struct drm_npool_submit submit = { .deadline_ns = now_ns() + 50 * SEC_NS };
	uint32_t npus[3], engines[3], queues[3], own[3], i, reserved, any;
	uint64_t last[3];

	for (i = 0; i < 3; i++) {
		uint32_t j;

		npus[i] = npu_add_slow(self->p.dev);
		engines[i] = queue_new(self->fd, npus[i]);
		queues[i] = queue_new(self->fd, npus[i]);
		own[i] = bo_new(self->fd, npus[i], MIB(1)).handle;
		for (j = 0; j < 16; j++) {
			struct drm_npool_submit s = { .queue = engines[i] };

			must_ok(copy_times(self->fd, &s, self->bo, own[i], MIB(1), 60));
		}
	}
	reserved = queue_reserved(self->fd, self->p.npu[3], DRM_NPOOL_CLASS_LATENCY, 100, SEC_NS);
	must_ok(queue_try(self->fd, (struct drm_npool_queue_create){
			.npu = self->p.npu[3], .class_id = DRM_NPOOL_CLASS_CONTROL, .budget = 4096,
			.period_ns = SEC_NS, .flags = DRM_NPOOL_QUEUE_DST, .dst = self->slow,
		}, &any));
	submit.queue = queue_of(self->fd, self->slow, DRM_NPOOL_CLASS_DEADLINE, 0);
	EXPECT_EQ(0, copy_times(self->fd, &submit, self->bo, own[0], MIB(1), 64));
	EXPECT_LT(0, port_info(self->fd, self->slow, 1).promised);
	EXPECT_LT(0, port_info(self->fd, npus[0], 0).promised);
	EXPECT_LT(0, port_info(self->fd, self->slow, 1).reserved);

	ASSERT_EQ(0, accel_npu_remove(self->p.dev, self->slow));
	EXPECT_EQ(-ENODEV, wait_for(self->fd, submit.queue, 1));
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(-ENODEV, wait_for(self->fd, engines[i], 16));
		last[i] = copy_later(self->fd, queues[i], own[i], KIB(256));
		EXPECT_EQ(0, wait_for(self->fd, queues[i], last[i]));
	}
	EXPECT_EQ(0, port_info(self->fd, npus[0], 0).promised);
	EXPECT_EQ(0, port_info(self->fd, self->slow, 1).promised);
	EXPECT_EQ(-ENODEV, queue_try(self->fd, (struct drm_npool_queue_create){
			.npu = self->p.npu[3], .class_id = DRM_NPOOL_CLASS_CONTROL, .budget = 4096,
			.period_ns = SEC_NS, .flags = DRM_NPOOL_QUEUE_DST, .dst = self->slow,
		}, NULL));
	EXPECT_EQ(0, queue_end(self->fd, reserved));
	EXPECT_EQ(0, queue_end(self->fd, any));
	EXPECT_TRUE(ports_idle(self->fd));
	for (i = 0; i < 3; i++) {
		bo_close(self->fd, own[i]);
		must_ok(accel_npu_remove(self->p.dev, npus[i]));
	}
}

TEST_HARNESS_MAIN
