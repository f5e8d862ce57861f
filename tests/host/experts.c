// SPDX-License-Identifier: MIT
/*
 * What a cache of experts keeps, against references in the plainest way: as few
 * copies as Belady's with all steps known, LRU with none, for any trace and size.
 */
#include "experts.h"

#define EXPERTS 64
#define STEPS 300
#define WIDTH 8			/* most experts of a step */
#define NEVER UINT32_MAX

struct trace {
	uint32_t ids[STEPS][WIDTH];
	struct accel_experts_step steps[STEPS];
	uint32_t count, width;
};

struct reference {
	bool cached[EXPERTS];
	uint64_t used[EXPERTS];
	uint32_t count;
	uint64_t clock, misses;
};

static uint64_t seed;
static struct trace trace;

static uint32_t draw(uint32_t n)
{
	return rnd(&seed) % n;
}

static bool in_step(const struct accel_experts_step *step, uint32_t id)
{
	for (uint32_t i = 0; i < step->count; i++)
		if (step->experts[i] == id)
			return true;
	return false;
}

/* Steps of experts that differ: some are liked more, and what is liked drifts. */
static void draw_trace(uint32_t width, uint32_t kind)
{
	trace.count = 1 + draw(STEPS);
	trace.width = width;
	for (uint32_t s = 0; s < trace.count; s++) {
		struct accel_experts_step *step = &trace.steps[s];

		*step = (struct accel_experts_step){ .experts = trace.ids[s] };
		while (step->count < width) {
			uint32_t id = kind == 0 ? draw(EXPERTS) : kind == 1 ?
				      (s / 20 * 3 + draw(1 + draw(EXPERTS))) % EXPERTS :
				      (s * width + step->count) % (EXPERTS / 4 + 1);

			if (!in_step(step, id))
				trace.ids[s][step->count++] = id;
		}
	}
}

static uint32_t next_use(uint32_t id, uint32_t from)
{
	for (uint32_t s = from; s < trace.count; s++)
		if (in_step(&trace.steps[s], id))
			return s;
	return NEVER;
}

/* Makes room at step @s as Belady does, or the least recently used. */
static void ref_evict(struct reference *ref, uint32_t s, bool belady)
{
	uint32_t best = EXPERTS, best_next = 0;

	for (uint32_t id = 0; id < EXPERTS; id++) {
		uint32_t next = belady ? next_use(id, s + 1) : 0;

		if (!ref->cached[id] || in_step(&trace.steps[s], id))
			continue;
		if (best == EXPERTS || next > best_next ||
		    (next == best_next && ref->used[id] < ref->used[best])) {
			best = id;
			best_next = next;
		}
	}
	must(best != EXPERTS);
	ref->cached[best] = false;
	ref->count--;
}

static void ref_use(struct reference *ref, uint32_t id, uint32_t s, uint32_t slots, bool belady)
{
	if (!ref->cached[id]) {
		if (ref->count == slots)
			ref_evict(ref, s, belady);
		ref->cached[id] = true;
		ref->count++;
		ref->misses++;
	}
	ref->used[id] = ++ref->clock;
}

static uint64_t ref_run(uint32_t slots, bool belady)
{
	struct reference ref = { .count = 0 };

	for (uint32_t s = 0; s < trace.count; s++)
		for (uint32_t i = 0; i < trace.width; i++)
			ref_use(&ref, trace.ids[s][i], s, slots, belady);
	return ref.misses;
}

/* A step: all of its experts at once, then none. */
static void run_step(const struct experts *e, uint32_t s)
{
	for (uint32_t i = 0; i < trace.width; i++)
		must_ok(experts_take(e, trace.ids[s][i], LONG_NS));
	for (uint32_t i = 0; i < trace.width; i++)
		must_ok(accel_experts_put(e->cache, trace.ids[s][i]));
}

static void check_sums(const struct accel_experts_stats *stats)
{
	must(stats->hits + stats->late + stats->misses == (uint64_t)trace.count * trace.width);
	must(stats->bytes == stats->copies * EXPERT_BYTES);
	must(stats->copies >= stats->misses + stats->wasted);
	must(!stats->failed && stats->refused <= stats->misses);
}

FIXTURE(policy)
{
	struct pool p;
	struct experts e;
};

FIXTURE_SETUP(policy)
{
	pool_setup(&self->p);
}

FIXTURE_TEARDOWN(policy)
{
	EXPECT_TRUE(pool_teardown(&self->p));
}

static void setup(struct pool *p, struct experts *e, uint32_t slots)
{
	experts_setup(e, p->dev, p->npu, 1, EXPERTS, p->npu[1], slots);
}

TEST_F(policy, copies_as_few_as_belady_with_all_steps_known)
{
	for (unsigned int round = 0; round < scaled(100); round++) {
		uint32_t width = round % 2 ? 1 : 1 + draw(WIDTH);
		uint32_t slots = width + draw(EXPERTS / 2);
		struct accel_experts_stats stats;

		seed = round;
		draw_trace(width, round / 2 % 3);
		setup(&self->p, &self->e, slots);
		ASSERT_EQ(0, accel_experts_look_ahead(self->e.cache, 0, trace.steps, trace.count));
		for (uint32_t s = 0; s < trace.count; s++) {
			ASSERT_EQ(0, accel_experts_step(self->e.cache, s));
			run_step(&self->e, s);
		}
		stats = experts_stats(&self->e);
		check_sums(&stats);
		EXPECT_EQ(ref_run(slots, true), stats.copies)
			TH_LOG("round %u: %u steps of %u, %u slots", round, trace.count, width,
			       slots);
		/* Each was copied ahead, and used. */
		EXPECT_EQ(0, stats.misses);
		EXPECT_EQ(0, stats.wasted);
		experts_teardown(&self->e);
	}
}

/* As it is used: some steps are known, and told anew each time. */
TEST_F(policy, does_no_harm_with_some_steps_known)
{
	uint64_t ours = 0, lru = 0, belady = 0;

	for (unsigned int round = 0; round < scaled(60); round++) {
		uint32_t width = 1 + draw(WIDTH), ahead = 1 + draw(12);
		uint32_t slots = width + draw(EXPERTS / 2);
		struct accel_experts_stats stats;

		seed = 1000 + round;
		draw_trace(width, round % 3);
		setup(&self->p, &self->e, slots);
		for (uint32_t s = 0; s < trace.count; s++) {
			uint32_t left = trace.count - s;

			ASSERT_EQ(0, accel_experts_look_ahead(self->e.cache, s, trace.steps + s,
							      left < ahead ? left : ahead));
			ASSERT_EQ(0, accel_experts_step(self->e.cache, s));
			run_step(&self->e, s);
		}
		stats = experts_stats(&self->e);
		check_sums(&stats);
		EXPECT_EQ(0, stats.misses);
		EXPECT_EQ(0, stats.wasted);
		EXPECT_LE(ref_run(slots, true), stats.copies);
		if (ahead == 1)
			EXPECT_EQ(ref_run(slots, false), stats.copies);
		ours += stats.copies;
		lru += ref_run(slots, false);
		belady += ref_run(slots, true);
		experts_teardown(&self->e);
	}
	TH_LOG("copies: Belady %llu, some steps known %llu, LRU %llu", (unsigned long long)belady,
	       (unsigned long long)ours, (unsigned long long)lru);
	EXPECT_GT(lru, ours);
}

TEST_F(policy, is_lru_with_no_step_known)
{
	for (unsigned int round = 0; round < scaled(100); round++) {
		uint32_t slots = 1 + draw(EXPERTS / 2);
		struct accel_experts_stats stats;
		uint64_t misses;

		seed = 2000 + round;
		draw_trace(1, round % 3);
		setup(&self->p, &self->e, slots);
		for (uint32_t s = 0; s < trace.count; s++)
			ASSERT_EQ(0, experts_touch(&self->e, trace.ids[s][0], LONG_NS));
		stats = experts_stats(&self->e);
		check_sums(&stats);
		misses = ref_run(slots, false);
		EXPECT_EQ(misses, stats.misses);
		EXPECT_EQ(trace.count - misses, stats.hits);
		EXPECT_EQ(misses, stats.copies);
		EXPECT_EQ(0, stats.wasted);
		experts_teardown(&self->e);
	}
}

/* Whatever was said, what is got is right, and what was not said is got as well. */
TEST_F(policy, bears_wrong_predictions)
{
	uint64_t wasted = 0, misses = 0;

	for (unsigned int round = 0; round < scaled(60); round++) {
		uint32_t width = 1 + draw(WIDTH), slots = width + draw(EXPERTS / 2);
		struct accel_experts_stats stats;

		seed = 3000 + round;
		draw_trace(width, round % 3);
		setup(&self->p, &self->e, slots);
		for (uint32_t s = 0; s < trace.count; s++) {
			/* Now and then, of another place of the trace, doubles and all. */
			uint32_t wrong = draw(trace.count), count = draw(20);
			struct accel_experts_step many = { trace.ids[wrong], count, 0 };

			count = count < (trace.count - wrong) * WIDTH ? count : 0;
			many.count = count;
			if (draw(3) == 0)
				ASSERT_EQ(0, accel_experts_look_ahead(self->e.cache, s + draw(3),
								      &many, 1));
			if (draw(2))
				ASSERT_EQ(0, accel_experts_step(self->e.cache, s));
			run_step(&self->e, s);
		}
		stats = experts_stats(&self->e);
		check_sums(&stats);
		wasted += stats.wasted;
		misses += stats.misses;
		experts_teardown(&self->e);
	}
	EXPECT_LT(0, wasted);
	EXPECT_LT(0, misses);
}

TEST_HARNESS_MAIN
