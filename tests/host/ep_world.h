/* SPDX-License-Identifier: MIT */
/*
 * A group of ranks in one process, a thread each, and what it ought to do: what
 * arrives and what comes back is worked out here in plain C.
 */
#ifndef TESTS_EP_WORLD_H
#define TESTS_EP_WORLD_H

#include <accel/ep.h>

#include "pool.h"

#define WORLD_BYTES MIB(96)	/* of each of its NPUs */
#define SHORT_NS 1000000ll

enum skew {
	SKEW_NONE,		/* any experts, doubles, skips, idle tokens and ranks */
	SKEW_HOT,		/* expert 0 first, always, then any */
	SKEW_SAME,		/* expert 0 only, as often as k allows */
	SKEW_FEW,		/* hardly anything */
	SKEWS
};

struct world_rank {
	struct accel_ep *ep;
	void *rows[ACCEL_EP_LANES];
	float *scales[ACCEL_EP_LANES];
	int32_t *experts[ACCEL_EP_LANES];
	float *weights[ACCEL_EP_LANES];
	uint8_t *active[ACCEL_EP_LANES];
	uint8_t *seen[ACCEL_EP_LANES];	/* [max_tokens][all_k], arrived somewhere */
	void *sum[ACCEL_EP_LANES];
	void *made[ACCEL_EP_LANES];
	struct accel_ep_tokens tokens[ACCEL_EP_LANES];
	struct accel_ep_recv recv[ACCEL_EP_LANES];
	struct accel_ep_rows out[ACCEL_EP_LANES];
	struct accel_ep_rows sums[ACCEL_EP_LANES];
};

struct world {
	struct accel_dev *dev;
	uint32_t npu[2];
	struct accel_ep_config config;
	struct accel_ep_group *group;
	struct world_rank *ranks;
	uint32_t all_k;
	uint32_t first[ACCEL_EP_MAX_EXPERTS + 1];
	struct accel_ep_place *places;
	uint64_t seed;

	uint32_t tokens;		/* a rank may have */
	uint32_t dtype;
	uint32_t out_dtype;
	uint32_t sum_dtype;
	bool pull;			/* experts put out where owners read it, if there is room */
	enum skew skew;
};

static inline uint32_t element_of(uint32_t dtype)
{
	return dtype == ACCEL_EP_FP32 ? 4 : dtype == ACCEL_EP_BF16 ? 2 : 1;
}

static inline uint16_t to_bf16(float x)
{
	uint32_t bits;

	memcpy(&bits, &x, sizeof(bits));
	return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

static inline float of_bf16(uint16_t x)
{
	uint32_t bits = (uint32_t)x << 16;
	float value;

	memcpy(&value, &bits, sizeof(value));
	return value;
}

static inline struct world *world_make(const struct accel_ep_config *config)
{
	uint32_t ids[ACCEL_EP_MAX_RANKS], npus[ACCEL_EP_MAX_RANKS], experts;
	struct world *w = calloc(1, sizeof(*w));
	struct accel_ep_info info;
	char name[ACCEL_EP_NAME_LEN];

	w->dev = dev_open();
	for (uint32_t i = 0; i < 2; i++)
		w->npu[i] = npu_add(w->dev, WORLD_BYTES, 0);
	for (uint32_t i = 0; i < config->ranks; i++) {
		ids[i] = i;
		npus[i] = w->npu[i % 2];
	}
	snprintf(name, sizeof(name), "world-%d", (int)getpid());
	must_ok(accel_ep_join(w->dev, name, config, ids, npus, config->ranks, LONG_NS, &w->group));
	w->ranks = calloc(config->ranks, sizeof(*w->ranks));
	for (uint32_t i = 0; i < config->ranks; i++)
		w->ranks[i].ep = accel_ep_rank(w->group, i);
	accel_ep_info(w->ranks[0].ep, &info);
	w->config = info.config;
	w->all_k = config->top_k + config->shared;
	w->tokens = config->max_tokens;
	w->seed = 1;
	experts = config->experts + config->shared;
	w->places = calloc(config->ranks * w->config.slots, sizeof(*w->places));
	for (uint32_t i = 0; i < experts; i++) {
		w->first[i + 1] = i + 1;
		w->places[i].rank = i / w->config.slots;
		w->places[i].slot = i % w->config.slots;
	}
	return w;
}

static inline void world_lane_free(struct world_rank *r, uint32_t lane)
{
	free(r->rows[lane]);
	free(r->scales[lane]);
	free(r->experts[lane]);
	free(r->weights[lane]);
	free(r->active[lane]);
	free(r->seen[lane]);
	free(r->sum[lane]);
	free(r->made[lane]);
	r->made[lane] = NULL;
	memset(&r->out[lane], 0, sizeof(r->out[lane]));
}

/* Nothing of it is left in the pool. */
static inline void world_free(struct world *w)
{
	accel_ep_leave(w->group);
	for (uint32_t i = 0; i < w->config.ranks; i++)
		for (uint32_t lane = 0; lane < ACCEL_EP_LANES; lane++)
			world_lane_free(&w->ranks[i], lane);
	for (uint32_t i = 0; i < 2; i++) {
		must(eventually(npu_free(w->dev, w->npu[i]) == WORLD_BYTES));
		must_ok(accel_npu_remove(w->dev, w->npu[i]));
	}
	accel_close(w->dev);
	free(w->places);
	free(w->ranks);
	free(w);
}

static inline void world_table(struct world *w, uint64_t version, const uint32_t *first,
			       const struct accel_ep_place *places)
{
	uint32_t experts = w->config.experts + w->config.shared;

	for (uint32_t i = 0; i < w->config.ranks; i++)
		must_ok(accel_ep_set_table(w->ranks[i].ep, version, first, places));
	memcpy(w->first, first, (experts + 1) * sizeof(*first));
	memcpy(w->places, places, first[experts] * sizeof(*places));
}

/* --- tokens --------------------------------------------------------------------------- */

static inline float draw_float(uint64_t *seed)
{
	return ((int32_t)(rnd(seed) & 0xffff) - 0x8000) / 4096.0f;
}

static inline void fill_rows(struct world *w, struct world_rank *r, uint32_t lane, uint64_t *seed)
{
	uint32_t hidden = w->config.hidden, element = element_of(w->dtype);
	/* A line beyond the elements, that is nobody's. */
	uint64_t stride = (uint64_t)hidden * element + 64;
	char *row = r->rows[lane] = malloc(w->config.max_tokens * stride);

	memset(row, 0x77, w->config.max_tokens * stride);
	r->scales[lane] = malloc(w->config.max_tokens * sizeof(float));
	for (uint32_t token = 0; token < w->tokens; token++, row += stride) {
		r->scales[lane][token] = draw_float(seed);
		for (uint32_t i = 0; i < hidden; i++) {
			float x = token % 7 == 6 ? 0 : draw_float(seed);

			if (w->dtype == ACCEL_EP_FP32)
				((float *)row)[i] = x;
			else if (w->dtype == ACCEL_EP_BF16)
				((uint16_t *)row)[i] = to_bf16(x);
			else
				((int8_t *)row)[i] = rnd(seed);
		}
	}
	r->tokens[lane].rows = r->rows[lane];
	r->tokens[lane].scales = w->dtype == ACCEL_EP_INT8 ? r->scales[lane] : NULL;
	r->tokens[lane].stride = stride;
	r->tokens[lane].dtype = w->dtype;
}

static inline int32_t draw_expert(const struct world *w, uint32_t k, uint64_t *seed)
{
	switch (w->skew) {
	case SKEW_HOT:
		return k ? (int32_t)(rnd(seed) % w->config.experts) : 0;
	case SKEW_SAME:
		return 0;
	case SKEW_FEW:
		return rnd(seed) % 32 ? ACCEL_EP_SKIP : (int32_t)(rnd(seed) % w->config.experts);
	default:
		return (int32_t)(rnd(seed) % (w->config.experts + 1)) - 1;
	}
}

static inline void fill_choices(struct world *w, struct world_rank *r, uint32_t lane,
				uint32_t count, uint64_t *seed)
{
	uint32_t max = w->config.max_tokens, top_k = w->config.top_k;
	bool any = w->skew == SKEW_NONE;

	r->experts[lane] = malloc(max * top_k * sizeof(int32_t));
	r->weights[lane] = malloc(max * top_k * sizeof(float));
	r->active[lane] = malloc(max);
	r->seen[lane] = malloc(max * w->all_k);
	for (uint32_t i = 0; i < count * top_k; i++) {
		r->experts[lane][i] = draw_expert(w, i % top_k, seed);
		r->weights[lane][i] = draw_float(seed);
	}
	for (uint32_t i = 0; i < count; i++)
		r->active[lane][i] = rnd(seed) % 5;
	r->tokens[lane].experts = r->experts[lane];
	r->tokens[lane].weights = any && rnd(seed) % 4 == 0 ? NULL : r->weights[lane];
	r->tokens[lane].active = any && rnd(seed) % 2 ? r->active[lane] : NULL;
	r->tokens[lane].count = count;
}

static inline void world_fill(struct world *w, uint32_t lane)
{
	w->seed++;
	for (uint32_t rank = 0; rank < w->config.ranks; rank++) {
		struct world_rank *r = &w->ranks[rank];
		uint64_t seed = w->seed * 1000 + rank;
		uint32_t count = w->tokens;

		if (w->skew == SKEW_NONE && rank && rnd(&seed) % 3 == 0)
			count = rnd(&seed) % (count + 1) * (rnd(&seed) % 2);
		world_lane_free(r, lane);
		fill_rows(w, r, lane, &seed);
		fill_choices(w, r, lane, count, &seed);
		r->sum[lane] = malloc(w->config.max_tokens * w->config.hidden * sizeof(float));
		r->sums[lane] = (struct accel_ep_rows){
			r->sum[lane], w->config.hidden * element_of(w->sum_dtype), w->sum_dtype
		};
	}
}

/* What lane 0 received is dispatched on lane 1. */
static inline void world_chain(struct world *w)
{
	for (uint32_t rank = 0; rank < w->config.ranks; rank++) {
		struct world_rank *r = &w->ranks[rank];
		const struct accel_ep_recv *recv = &r->recv[0];
		uint64_t seed = ++w->seed;

		world_lane_free(r, 1);
		r->rows[1] = NULL;
		r->scales[1] = NULL;
		fill_choices(w, r, 1, recv->total, &seed);
		r->tokens[1].rows = recv->rows;
		r->tokens[1].scales = recv->scales;
		r->tokens[1].stride = recv->stride;
		r->tokens[1].dtype = w->config.send;
		r->sum[1] = malloc(w->config.max_tokens * w->config.hidden * sizeof(float));
		r->sums[1] = (struct accel_ep_rows){
			r->sum[1], w->config.hidden * element_of(w->sum_dtype), w->sum_dtype
		};
	}
}

/* --- what ought to be ----------------------------------------------------------------- */

/* Expert of a choice, or ACCEL_EP_SKIP. */
static inline int32_t expert_of(const struct world *w, const struct accel_ep_tokens *tokens,
				uint32_t token, uint32_t k)
{
	if (tokens->active && !tokens->active[token])
		return ACCEL_EP_SKIP;
	return k < w->config.top_k ? tokens->experts[token * w->config.top_k + k] :
				     (int32_t)(w->config.experts + k - w->config.top_k);
}

static inline float element_at(const struct accel_ep_tokens *tokens, uint32_t token, uint32_t i)
{
	const char *row = (const char *)tokens->rows + token * tokens->stride;

	return tokens->dtype == ACCEL_EP_FP32 ? ((const float *)row)[i] :
						of_bf16(((const uint16_t *)row)[i]);
}

static inline void check_int8(const struct world *w, const struct accel_ep_tokens *tokens,
			      uint32_t token, const int8_t *row, float scale)
{
	const int8_t *from = (const int8_t *)tokens->rows + token * tokens->stride;
	float max = 0, inverse;

	if (tokens->dtype == ACCEL_EP_INT8) {
		must(scale == tokens->scales[token]);
		must(!memcmp(row, from, w->config.hidden));
		return;
	}
	for (uint32_t i = 0; i < w->config.hidden; i++)
		max = __builtin_fmaxf(max, __builtin_fabsf(element_at(tokens, token, i)));
	must(scale == max / 127);
	inverse = max ? 1 / scale : 0;
	for (uint32_t i = 0; i < w->config.hidden; i++)
		must(row[i] == __builtin_rintf(element_at(tokens, token, i) * inverse));
}

static inline void check_elements(const struct world *w, const struct accel_ep_tokens *tokens,
				  uint32_t token, const void *row, float scale)
{
	if (w->config.send == ACCEL_EP_INT8) {
		check_int8(w, tokens, token, row, scale);
		return;
	}
	for (uint32_t i = 0; i < w->config.hidden; i++)
		must(((const uint16_t *)row)[i] == to_bf16(element_at(tokens, token, i)));
}

static inline bool hosts(const struct world *w, uint32_t expert, uint32_t rank, uint32_t slot)
{
	for (uint32_t i = w->first[expert]; i < w->first[expert + 1]; i++)
		if (w->places[i].rank == rank && w->places[i].slot == slot)
			return true;
	return false;
}

static inline uint64_t order_of(const struct accel_ep_origin *origin)
{
	return (uint64_t)origin->slot << 48 | (uint64_t)origin->rank << 32 |
	       origin->token << 16 | origin->k;
}

static inline void check_rank(struct world *w, uint32_t rank, uint32_t lane)
{
	const struct accel_ep_recv *recv = &w->ranks[rank].recv[lane];
	uint32_t *counts = calloc(w->config.slots, sizeof(*counts));

	must(recv->stride % 64 == 0);
	for (uint32_t i = 0; i < recv->total; i++) {
		const struct accel_ep_origin *from = &recv->origins[i];
		const void *row = recv->at ? recv->at[i] :
				  (const char *)recv->rows + i * recv->stride;
		const struct accel_ep_tokens *tokens;
		int32_t expert;

		must(!i || order_of(from - 1) < order_of(from));
		must(from->rank < w->config.ranks && from->k < w->all_k);
		tokens = &w->ranks[from->rank].tokens[lane];
		must(from->token < tokens->count && from->slot < w->config.slots);
		expert = expert_of(w, tokens, from->token, from->k);
		must(expert != ACCEL_EP_SKIP && hosts(w, expert, rank, from->slot));
		must(!w->ranks[from->rank].seen[lane][from->token * w->all_k + from->k]++);
		counts[from->slot]++;
		check_elements(w, tokens, from->token, row, recv->scales ? recv->scales[i] : 1);
	}
	must(!memcmp(counts, recv->counts, w->config.slots * sizeof(*counts)));
	free(counts);
}

/* Every choice came to a rank that hosts its expert, once, unless it is counted as dropped. */
static inline void world_check_recv(struct world *w, uint32_t lane)
{
	for (uint32_t rank = 0; rank < w->config.ranks; rank++)
		memset(w->ranks[rank].seen[lane], 0, w->config.max_tokens * w->all_k);
	for (uint32_t rank = 0; rank < w->config.ranks; rank++)
		check_rank(w, rank, lane);
	for (uint32_t rank = 0; rank < w->config.ranks; rank++) {
		const struct accel_ep_tokens *tokens = &w->ranks[rank].tokens[lane];
		uint32_t lost = 0;

		for (uint32_t i = 0; i < tokens->count * w->all_k; i++)
			lost += expert_of(w, tokens, i / w->all_k, i % w->all_k) != ACCEL_EP_SKIP &&
				!w->ranks[rank].seen[lane][i];
		must(lost == w->ranks[rank].recv[lane].dropped);
	}
}

/* What an expert makes of a token: it depends on nothing but this. */
static inline float made(const struct world *w, uint32_t rank, uint32_t token, uint32_t k,
			 int32_t expert, uint32_t i)
{
	uint64_t seed = (uint64_t)rank << 48 | (uint64_t)token << 32 | k << 24 | expert << 12;
	float x;

	seed = (seed + i + 1) * 0x9e3779b97f4a7c15ull;
	x = draw_float(&seed) / 3;
	return w->out_dtype == ACCEL_EP_BF16 ? of_bf16(to_bf16(x)) : x;
}

static inline void world_make_out(struct world *w, uint32_t rank, uint32_t lane)
{
	struct world_rank *r = &w->ranks[rank];
	const struct accel_ep_recv *recv = &r->recv[lane];
	uint64_t stride = w->config.hidden * element_of(w->out_dtype) + 4;
	bool pull = w->pull && recv->out && w->out_dtype == w->config.back;

	free(r->made[lane]);
	r->made[lane] = malloc(recv->total * stride + 1);
	r->out[lane] = (struct accel_ep_rows){ pull ? recv->out : r->made[lane],
					       pull ? recv->out_stride : stride, w->out_dtype };
	stride = r->out[lane].stride;
	for (uint32_t row = 0; row < recv->total; row++) {
		const struct accel_ep_origin *from = &recv->origins[row];
		int32_t expert = expert_of(w, &w->ranks[from->rank].tokens[lane], from->token,
					   from->k);
		char *to = (char *)r->out[lane].rows + row * stride;

		for (uint32_t i = 0; i < w->config.hidden; i++) {
			float x = made(w, from->rank, from->token, from->k, expert, i);

			if (w->out_dtype == ACCEL_EP_FP32)
				((float *)to)[i] = x;
			else
				((uint16_t *)to)[i] = to_bf16(x);
		}
	}
}

static inline void check_token(const struct world *w, uint32_t rank, uint32_t lane, uint32_t token)
{
	const struct world_rank *r = &w->ranks[rank];
	const struct accel_ep_tokens *tokens = &r->tokens[lane];
	const char *row = (const char *)r->sum[lane] + token * r->sums[lane].stride;

	for (uint32_t i = 0; i < w->config.hidden; i++) {
		volatile float sum = 0, product;

		for (uint32_t k = 0; k < w->all_k; k++) {
			bool routed = k < w->config.top_k && tokens->weights;
			float y;

			if (!r->seen[lane][token * w->all_k + k])
				continue;
			y = made(w, rank, token, k, expert_of(w, tokens, token, k), i);
			if (w->config.back == ACCEL_EP_BF16)
				y = of_bf16(to_bf16(y));
			product = routed ? tokens->weights[token * w->config.top_k + k] * y : y;
			sum += product;
		}
		if (w->sum_dtype == ACCEL_EP_BF16)
			must(((const uint16_t *)row)[i] == to_bf16(sum));
		else
			must(((const float *)row)[i] == sum);
	}
}

static inline void world_check_sum(const struct world *w, uint32_t lane)
{
	for (uint32_t rank = 0; rank < w->config.ranks; rank++)
		for (uint32_t token = 0; token < w->ranks[rank].tokens[lane].count; token++)
			check_token(w, rank, lane, token);
}

/* --- steps, of one rank each, all at once --------------------------------------------- */

struct step {
	struct world *w;
	uint32_t rank;
	uint32_t lane;
	uint32_t arg;
	void (*run)(const struct step *step);
	pthread_t thread;
};

static inline void *step_thread(void *arg)
{
	const struct step *step = arg;

	step->run(step);
	return NULL;
}

static inline void world_each(struct world *w, void (*run)(const struct step *step), uint32_t lane,
			      uint32_t arg)
{
	struct step *steps = calloc(w->config.ranks, sizeof(*steps));

	for (uint32_t i = 0; i < w->config.ranks; i++) {
		steps[i] = (struct step){ .w = w, .rank = i, .lane = lane, .arg = arg, .run = run };
		must_ok(pthread_create(&steps[i].thread, NULL, step_thread, &steps[i]));
	}
	for (uint32_t i = 0; i < w->config.ranks; i++)
		pthread_join(steps[i].thread, NULL);
	free(steps);
}

static inline void step_begin(const struct step *step)
{
	struct world_rank *r = &step->w->ranks[step->rank];

	must_ok(accel_ep_dispatch_begin(r->ep, step->lane, &r->tokens[step->lane], LONG_NS));
}

static inline void step_finish(const struct step *step)
{
	struct world_rank *r = &step->w->ranks[step->rank];

	must_ok(accel_ep_dispatch_finish(r->ep, step->lane, step->arg, LONG_NS,
					 &r->recv[step->lane]));
}

static inline void step_dispatch(const struct step *step)
{
	struct world_rank *r = &step->w->ranks[step->rank];

	must_ok(accel_ep_dispatch(r->ep, step->lane, &r->tokens[step->lane], step->arg, LONG_NS,
				  &r->recv[step->lane]));
}

static inline void step_back(const struct step *step)
{
	struct world_rank *r = &step->w->ranks[step->rank];

	world_make_out(step->w, step->rank, step->lane);
	must_ok(accel_ep_combine_begin(r->ep, step->lane, &r->out[step->lane], LONG_NS));
}

static inline void step_sum(const struct step *step)
{
	struct world_rank *r = &step->w->ranks[step->rank];

	/* Whatever was there is no part of the sum. */
	memset(r->sum[step->lane], 0x7f,
	       r->tokens[step->lane].count * r->sums[step->lane].stride);
	must_ok(accel_ep_combine_finish(r->ep, step->lane, &r->sums[step->lane], LONG_NS));
}

static inline void step_combine(const struct step *step)
{
	struct world_rank *r = &step->w->ranks[step->rank];

	if (!r->out[step->lane].rows)
		world_make_out(step->w, step->rank, step->lane);
	must_ok(accel_ep_combine(r->ep, step->lane, &r->out[step->lane], &r->sums[step->lane],
				 LONG_NS));
}

static inline void step_release(const struct step *step)
{
	must_ok(accel_ep_release(step->w->ranks[step->rank].ep, step->lane));
}

/* The same again and again, each as fast as it can. */
static inline void step_many(const struct step *step)
{
	struct step one = *step;

	one.arg = 0;
	for (uint32_t i = 0; i < step->arg; i++) {
		step_dispatch(&one);
		step_combine(&one);
	}
}

static inline void world_dispatch(struct world *w, uint32_t lane, uint32_t flags)
{
	world_each(w, step_dispatch, lane, flags);
	world_check_recv(w, lane);
}

static inline void world_combine(struct world *w, uint32_t lane)
{
	world_each(w, step_back, lane, 0);
	world_each(w, step_sum, lane, 0);
	world_check_sum(w, lane);
}

/* A dispatch of new tokens, and what comes back. */
static inline void world_loop(struct world *w, uint32_t lane, uint32_t flags)
{
	world_fill(w, lane);
	world_dispatch(w, lane, flags);
	world_combine(w, lane);
}

/* --- alone ---------------------------------------------------------------------------- */

static inline int try_dispatch(struct world *w, uint32_t rank)
{
	struct world_rank *r = &w->ranks[rank];

	return accel_ep_dispatch(r->ep, 0, &r->tokens[0], 0, SHORT_NS, &r->recv[0]);
}

static inline int try_combine(struct world *w, uint32_t rank)
{
	struct world_rank *r = &w->ranks[rank];

	world_make_out(w, rank, 0);
	return accel_ep_combine(r->ep, 0, &r->out[0], &r->sums[0], SHORT_NS);
}

/* The ranks of a set of bits, and none else. */
static inline bool absent_are(struct world *w, uint32_t rank, uint64_t bits)
{
	uint32_t ranks[ACCEL_EP_MAX_RANKS], count = ARRAY_LEN(ranks);
	uint64_t seen = 0;

	accel_ep_absent(w->ranks[rank].ep, ranks, &count);
	for (uint32_t i = 0; i < count; i++)
		seen |= 1ull << ranks[i];
	return seen == bits;
}

#endif
