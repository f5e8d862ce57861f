// SPDX-License-Identifier: MIT
/*
 * Synthetic chat with the statistics of the Mooncake conversation trace: all
 * prompts begin with one system prompt, sessions grow turn by turn, some branch
 * off halfway, most are never continued. Integers only, so that a seed means the
 * same trace on every machine.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "ctl.h"
#include "trace.h"

#define HOUR_MS		3600000ull
#define STEP_MS		3000	/* arrivals are reported in steps */
#define INPUT_MAX	126000	/* tokens of context that the model takes */
#define BRANCH_PER_MILLE 156	/* follow-ups that keep only a part of their prefix */

/* A point of a distribution: @part of 128 samples are below @value. */
struct knot {
	uint32_t part;
	uint32_t value;
};

/* Tokens of a session's first prompt. */
static const struct knot first_input[] = {
	{ 0, 890 }, { 8, 900 }, { 16, 920 }, { 24, 1090 }, { 32, 1430 }, { 40, 2270 },
	{ 48, 3650 }, { 56, 4560 }, { 64, 5470 }, { 72, 6720 }, { 80, 8260 }, { 88, 10180 },
	{ 96, 12580 }, { 104, 15650 }, { 112, 20540 }, { 116, 24000 }, { 120, 29760 },
	{ 124, 45120 }, { 126, 63360 }, { 127, 80640 }, { 128, 123000 },
};

/* Tokens that a user adds in a later turn. */
static const struct knot more_input[] = {
	{ 0, 1 }, { 16, 4 }, { 32, 9 }, { 48, 14 }, { 64, 26 }, { 80, 62 }, { 88, 142 },
	{ 96, 380 }, { 104, 1230 }, { 112, 3630 }, { 116, 4430 }, { 120, 6700 }, { 124, 10300 },
	{ 126, 15100 }, { 127, 20000 }, { 128, 91000 },
};

static const struct knot output[] = {
	{ 0, 1 }, { 8, 13 }, { 16, 31 }, { 24, 83 }, { 32, 151 }, { 40, 226 }, { 56, 322 },
	{ 72, 386 }, { 88, 445 }, { 104, 521 }, { 112, 575 }, { 120, 669 }, { 124, 799 },
	{ 126, 958 }, { 127, 1210 }, { 128, 2000 },
};

/* Milliseconds from one turn to the next. */
static const struct knot think[] = {
	{ 0, 3000 }, { 8, 33000 }, { 16, 45000 }, { 24, 57000 }, { 32, 66000 }, { 40, 78000 },
	{ 48, 90000 }, { 56, 102000 }, { 64, 120000 }, { 72, 140000 }, { 80, 168000 },
	{ 88, 205000 }, { 96, 265000 }, { 104, 340000 }, { 112, 450000 }, { 120, 660000 },
	{ 124, 1200000 }, { 128, 2700000 },
};

/* Of 1000 sessions that had turn i + 1, those that have another. */
static const uint32_t goes_on[] = { 255, 425, 600, 710, 760 };

#define LAST_GOES_ON (ARRAY_SIZE(goes_on) - 1)

/*
 * The share of blocks seen before hangs on a few long sessions. It is steered to
 * the published one by letting a little more or less of them go on.
 */
#define SHARED_PER_MILLE 365
#define STEER_PER_MILLE 60

/* A turn to come, in a heap whose top is due first. */
struct turn {
	uint64_t due;		/* ms */
	size_t before;		/* request that it goes on from */
	uint32_t number;	/* turns that were before it */
};

struct gen {
	struct trace *trace;
	struct turn *heap;	/* room for one a request */
	size_t waiting;
	uint64_t random;
	uint64_t spread;	/* of first prompts, see draw_even() */
	uint64_t next_id;
	uint64_t chain[INPUT_MAX / TRACE_BLOCK_TOKENS + 1];
};

/* splitmix64 */
static uint64_t next_random(struct gen *gen)
{
	uint64_t x = gen->random += 0x9e3779b97f4a7c15ull;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

/* The value of a distribution at @at, a fraction of 2^32. */
static uint32_t value_at(const struct knot *knot, uint32_t at)
{
	uint64_t part = (uint64_t)at << 7, low;

	while (part >= (uint64_t)knot[1].part << 32)
		knot++;
	low = part - ((uint64_t)knot->part << 32);
	return knot->value + (low >> 16) * (knot[1].value - knot->value) /
			     ((uint64_t)(knot[1].part - knot->part) << 16);
}

static uint32_t draw(struct gen *gen, const struct knot *knot)
{
	return value_at(knot, next_random(gen) >> 32);
}

/*
 * Draw along a low-discrepancy sequence: the few longest prompts hold much of the
 * trace, and left to chance would move its totals by several percent.
 */
static uint32_t draw_even(struct gen *gen, const struct knot *knot)
{
	gen->spread += 0x9e3779b97f4a7c15ull;
	return value_at(knot, gen->spread >> 32);
}

static void push_turn(struct gen *gen, struct turn turn)
{
	size_t at = gen->waiting++;

	while (at && gen->heap[(at - 1) / 2].due > turn.due) {
		gen->heap[at] = gen->heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	gen->heap[at] = turn;
}

static struct turn pop_turn(struct gen *gen)
{
	struct turn top = gen->heap[0], last = gen->heap[--gen->waiting];
	size_t at = 0, child;

	while ((child = 2 * at + 1) < gen->waiting) {
		if (child + 1 < gen->waiting && gen->heap[child + 1].due < gen->heap[child].due)
			child++;
		if (gen->heap[child].due >= last.due)
			break;
		gen->heap[at] = gen->heap[child];
		at = child;
	}
	gen->heap[at] = last;
	return top;
}

/* Add a request that shares @kept blocks with request @before and has new ones after them. */
static int add_request(struct gen *gen, uint64_t now, size_t before, uint32_t kept, uint32_t input)
{
	struct trace *trace = gen->trace;
	struct trace_request request = {
		.timestamp = now,
		.input_length = input,
		.output_length = draw(gen, output),
		.count = (input + TRACE_BLOCK_TOKENS - 1) / TRACE_BLOCK_TOKENS,
	};
	uint32_t i;

	for (i = 0; i < request.count; i++)
		gen->chain[i] = i < kept ? trace->ids[trace->requests[before].first + i] :
					   gen->next_id++;
	return trace_add(trace, &request, gen->chain);
}

static int first_turn(struct gen *gen, uint64_t now)
{
	/* The system prompt is the first block of them all. */
	return add_request(gen, now, 0, gen->trace->count ? 1 : 0, draw_even(gen, first_input));
}

static int later_turn(struct gen *gen, uint64_t now, const struct turn *turn)
{
	const struct trace_request *before = &gen->trace->requests[turn->before];
	/* A block that was not full before gets another hash now. */
	uint32_t kept = before->input_length / TRACE_BLOCK_TOKENS, input;

	if (next_random(gen) % 1000 < BRANCH_PER_MILLE) {
		kept = 1 + next_random(gen) % kept;
		input = kept * TRACE_BLOCK_TOKENS + draw(gen, first_input);
	} else {
		input = before->input_length + before->output_length + draw(gen, more_input);
	}
	return add_request(gen, now, turn->before, kept, input < INPUT_MAX ? input : INPUT_MAX);
}

static bool another_turn(struct gen *gen, uint32_t number)
{
	const struct trace *trace = gen->trace;
	uint64_t shared = trace->id_count - gen->next_id;
	uint32_t per_mille = goes_on[number < LAST_GOES_ON ? number : LAST_GOES_ON];

	if (shared * 1000 < trace->id_count * SHARED_PER_MILLE)
		per_mille += STEER_PER_MILLE;
	else
		per_mille -= STEER_PER_MILLE;
	return next_random(gen) % 1000 < per_mille &&
	       trace->requests[trace->count - 1].input_length < INPUT_MAX;
}

static int generate(struct gen *gen, uint64_t requests)
{
	struct turn turn;
	uint64_t i, now;
	int err;

	for (i = 0; i < requests; i++) {
		now = i * HOUR_MS / TRACE_HOUR_REQUESTS / STEP_MS * STEP_MS;
		turn.number = 0;
		if (gen->waiting && gen->heap[0].due <= now) {
			turn = pop_turn(gen);
			err = later_turn(gen, now, &turn);
		} else {
			err = first_turn(gen, now);
		}
		if (err)
			return err;
		if (another_turn(gen, turn.number))
			push_turn(gen, (struct turn){ now + draw(gen, think), i, turn.number + 1 });
	}
	return 0;
}

int trace_generate(uint64_t requests, uint64_t seed, struct trace *trace)
{
	struct gen gen = { .trace = trace, .random = seed };
	int err;

	gen.heap = calloc(requests, sizeof(*gen.heap));
	if (!gen.heap)
		return -ENOMEM;
	gen.spread = next_random(&gen);
	err = generate(&gen, requests);
	free(gen.heap);
	if (err)
		trace_free(trace);
	return err;
}
