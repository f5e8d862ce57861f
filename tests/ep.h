/* SPDX-License-Identifier: MIT */
/*
 * A plain reference for expert dispatch and combine. Every token, choice and
 * weight is a pure function of the step, so each rank can tell by itself what it
 * must receive from all others and what must come back, bit for bit.
 */
#ifndef TESTS_EP_H
#define TESTS_EP_H

#include <math.h>

#include <accel/ep.h>

#include "pool.h"

#define EP_WAIT_NS	(300ll * 1000 * 1000 * 1000)
#define EP_K_MAX	(ACCEL_EP_MAX_TOP_K + ACCEL_EP_MAX_SHARED)

enum ep_route {
	EP_UNIFORM,		/* distinct experts, k from 0 to top_k */
	EP_HOT,			/* expert 0 is in every token */
	EP_DOUBLES,		/* experts may come twice, skips lie in between */
	EP_EMPTY,		/* as uniform; odd ranks have no tokens */
};

/* What a test is about; the same at all ranks. */
struct ep_case {
	struct accel_ep_config config;
	uint32_t dtype;		/* of tokens */
	uint32_t out_dtype;	/* of experts' outputs */
	uint32_t sum_dtype;
	uint32_t flags;		/* of dispatch_finish */
	enum ep_route route;
	uint64_t seed;
	const uint8_t *alive;	/* [ranks], NULL: all are */
};

static inline uint64_t ep_mix(uint64_t a, uint64_t b)
{
	uint64_t z = a * 0x9e3779b97f4a7c15ull + b + 0x632be59bd9b4e019ull;

	z = (z ^ z >> 32) * 0xd6e8feb86659fd93ull;
	z = (z ^ z >> 32) * 0xd6e8feb86659fd93ull;
	return z ^ z >> 32;
}

static inline uint64_t ep_at(const struct ep_case *c, uint64_t step, uint32_t rank, uint32_t token)
{
	return ep_mix(ep_mix(c->seed, step), (uint64_t)rank << 32 | token);
}

static inline bool ep_lives(const struct ep_case *c, uint32_t rank)
{
	return !c->alive || c->alive[rank];
}

static inline uint32_t ep_count(const struct ep_case *c, uint64_t step, uint32_t rank)
{
	if (!ep_lives(c, rank) || (c->route == EP_EMPTY && rank % 2))
		return 0;
	return ep_at(c, step, rank, UINT32_MAX) % (c->config.max_tokens + 1);
}

static inline bool ep_active(const struct ep_case *c, uint64_t step, uint32_t rank, uint32_t token)
{
	return ep_at(c, step, rank, token) % 8;
}

/* Choices of a token, shared experts after the routed ones. */
static inline void ep_ids(const struct ep_case *c, uint64_t step, uint32_t rank, uint32_t token,
			  int32_t ids[EP_K_MAX])
{
	uint64_t state = ep_at(c, step, rank, token);
	uint32_t top_k = c->config.top_k, k = state >> 8 & 0xff;
	uint32_t n = 0;

	k = k % (top_k + 1) < c->config.experts ? k % (top_k + 1) : c->config.experts;
	for (uint32_t tries = 0; n < k; tries++) {
		int32_t id = ep_mix(state, tries) % c->config.experts;
		bool again = c->route != EP_DOUBLES;

		if (c->route == EP_HOT && !n)
			id = 0;
		if (c->route == EP_DOUBLES && ep_mix(state, tries) >> 40 & 1)
			id = ACCEL_EP_SKIP;
		for (uint32_t i = 0; again && i < n; i++)
			again = ids[i] != id;
		if (again || c->route == EP_DOUBLES)
			ids[n++] = id;
	}
	while (n < top_k)
		ids[n++] = ACCEL_EP_SKIP;
	for (uint32_t i = 0; i < c->config.shared; i++)
		ids[n++] = c->config.experts + i;
}

static inline float ep_weight(const struct ep_case *c, uint64_t step, uint32_t rank, uint32_t token,
			      uint32_t k)
{
	if (k >= c->config.top_k)
		return 1;
	return (float)(ep_mix(ep_at(c, step, rank, token), 1000 + k) % 4096) / 1024 - 1;
}

static inline float ep_from_bf16(uint16_t half)
{
	uint32_t bits = (uint32_t)half << 16;
	float value;

	memcpy(&value, &bits, sizeof(value));
	return value;
}

/* Nearest, ties to even. What is tested is finite. */
static inline uint16_t ep_to_bf16(float value)
{
	uint32_t bits;

	memcpy(&bits, &value, sizeof(bits));
	return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

/* One element of a token, as the router's layer would have it. */
static inline float ep_value(const struct ep_case *c, uint64_t state, uint32_t i)
{
	float value = ((float)(ep_mix(state, i) % 65536) - 32768) / 4096;

	return c->dtype == ACCEL_EP_FP32 ? value : ep_from_bf16(ep_to_bf16(value));
}

/* A token after it travelled: what an expert computes with; its row as it arrives; its scale. */
static inline float ep_travel(const struct ep_case *c, uint64_t state, float *seen, void *row)
{
	uint32_t n = c->config.hidden;
	float most = 0, scale;

	for (uint32_t i = 0; i < n; i++)
		most = fmaxf(most, fabsf(ep_value(c, state, i)));
	scale = most / 127;
	for (uint32_t i = 0; i < n; i++) {
		float value = ep_value(c, state, i);

		if (c->config.send == ACCEL_EP_INT8) {
			int8_t q = scale ? (int8_t)rintf(value * (1 / scale)) : 0;

			((int8_t *)row)[i] = q;
			seen[i] = q * scale;
		} else {
			((uint16_t *)row)[i] = ep_to_bf16(value);
			seen[i] = ep_from_bf16(((uint16_t *)row)[i]);
		}
	}
	return scale;
}

/* What an expert makes of an element. */
static inline float ep_expert(uint32_t expert, float value)
{
	return value * (0.5f + expert % 8 / 8.0f);
}

/* An output as it comes back: rounded where it leaves the expert, or on its way. */
static inline float ep_returned(const struct ep_case *c, float value)
{
	if (c->out_dtype == ACCEL_EP_BF16 || c->config.back == ACCEL_EP_BF16)
		return ep_from_bf16(ep_to_bf16(value));
	return value;
}

/* What one rank passes in and gets out in a step. */
struct ep_work {
	const struct ep_case *c;
	struct accel_ep *ep;
	uint32_t rank, slots, count;
	uint64_t step;
	char *rows;
	int32_t *ids;
	float *weights;
	uint8_t *active;
	void *outputs;
	void *sums;
	float *seen, *sum;	/* of one row */
	void *row;
	uint64_t wrong;		/* rows and sums that were not what they must be */
	uint32_t joining;	/* as the last dispatch told */
};

static inline uint32_t ep_size(uint32_t dtype)
{
	return dtype == ACCEL_EP_FP32 ? 4 : dtype == ACCEL_EP_BF16 ? 2 : 1;
}

static inline void *ep_alloc(uint64_t bytes)
{
	void *memory = calloc(1, bytes + 1);

	must(memory);
	return memory;
}

static inline void ep_work_init(struct ep_work *w, const struct ep_case *c, struct accel_ep *ep)
{
	const struct accel_ep_config *config = &c->config;
	struct accel_ep_info info;

	accel_ep_info(ep, &info);
	*w = (struct ep_work){
		.c = c, .ep = ep, .rank = info.rank, .slots = info.config.slots,
		.rows = ep_alloc((uint64_t)config->max_tokens * config->hidden * 4),
		.ids = ep_alloc((uint64_t)config->max_tokens * config->top_k * 4),
		.weights = ep_alloc((uint64_t)config->max_tokens * config->top_k * 4),
		.active = ep_alloc(config->max_tokens),
		.sums = ep_alloc((uint64_t)config->max_tokens * config->hidden * 4),
		.seen = ep_alloc(config->hidden * 4ull),
		.sum = ep_alloc(config->hidden * 4ull),
		.row = ep_alloc(config->hidden * 4ull),
	};
}

static inline void ep_work_end(struct ep_work *w)
{
	free(w->rows);
	free(w->ids);
	free(w->weights);
	free(w->active);
	free(w->outputs);
	free(w->sums);
	free(w->seen);
	free(w->sum);
	free(w->row);
}

static inline struct accel_ep_tokens ep_tokens(struct ep_work *w, uint64_t step)
{
	const struct ep_case *c = w->c;
	uint32_t hidden = c->config.hidden, top_k = c->config.top_k;

	w->step = step;
	w->count = ep_count(c, step, w->rank);
	for (uint32_t t = 0; t < w->count; t++) {
		uint64_t state = ep_at(c, step, w->rank, t);
		int32_t ids[EP_K_MAX];

		ep_ids(c, step, w->rank, t, ids);
		memcpy(w->ids + t * top_k, ids, top_k * sizeof(*ids));
		w->active[t] = ep_active(c, step, w->rank, t);
		for (uint32_t k = 0; k < top_k; k++)
			w->weights[t * top_k + k] = ep_weight(c, step, w->rank, t, k);
		for (uint32_t i = 0; i < hidden; i++) {
			float value = ep_value(c, state, i);

			if (c->dtype == ACCEL_EP_FP32)
				((float *)w->rows)[t * hidden + i] = value;
			else
				((uint16_t *)w->rows)[t * hidden + i] = ep_to_bf16(value);
		}
	}
	return (struct accel_ep_tokens){
		.rows = w->rows, .stride = (uint64_t)hidden * ep_size(c->dtype), .experts = w->ids,
		.weights = w->weights, .active = w->active, .dtype = c->dtype, .count = w->count,
	};
}

/* One row that arrived for expert @expert: right or not, and what the expert makes of it. */
static inline void ep_row_arrived(struct ep_work *w, const struct accel_ep_recv *recv, uint32_t i,
				  uint32_t expert)
{
	const struct ep_case *c = w->c;
	const struct accel_ep_origin *o = &recv->origins[i];
	const char *row = recv->at ? recv->at[i] : (const char *)recv->rows + i * recv->stride;
	float scale = ep_travel(c, ep_at(c, w->step, o->rank, o->token), w->seen, w->row);
	uint32_t hidden = c->config.hidden;

	w->wrong += memcmp(row, w->row, (uint64_t)hidden * ep_size(c->config.send)) != 0;
	if (c->config.send == ACCEL_EP_INT8)
		w->wrong += recv->scales[i] != scale;
	for (uint32_t n = 0; n < hidden; n++) {
		float y = ep_expert(expert, w->seen[n]);

		if (c->out_dtype == ACCEL_EP_FP32)
			((float *)w->outputs)[i * hidden + n] = y;
		else
			((uint16_t *)w->outputs)[i * hidden + n] = ep_to_bf16(y);
	}
}

/* All that must have arrived did, in its order, and nothing else; by the table of the start. */
static inline void ep_check_recv(struct ep_work *w, const struct accel_ep_recv *recv)
{
	const struct ep_case *c = w->c;
	uint32_t i = 0;

	free(w->outputs);
	w->outputs = ep_alloc((uint64_t)recv->total * c->config.hidden * 4);
	for (uint32_t slot = 0; slot < w->slots; slot++) {
		uint32_t expert = w->rank * w->slots + slot, first = i;

		for (uint32_t r = 0; r < c->config.ranks; r++)
			for (uint32_t t = 0; t < ep_count(c, w->step, r); t++) {
				int32_t ids[EP_K_MAX];

				if (!ep_active(c, w->step, r, t))
					continue;
				ep_ids(c, w->step, r, t, ids);
				for (uint32_t k = 0; k < c->config.top_k + c->config.shared; k++) {
					const struct accel_ep_origin *o = &recv->origins[i];

					if (ids[k] != (int32_t)expert)
						continue;
					if (i >= recv->total || o->rank != r || o->token != t ||
					    o->k != k || o->slot != slot) {
						w->wrong++;
						return;
					}
					ep_row_arrived(w, recv, i++, expert);
				}
			}
		w->wrong += recv->counts[slot] != i - first;
	}
	w->wrong += i != recv->total;
}

/* Experts of ranks that are gone have no host. */
static inline void ep_check_sums(struct ep_work *w)
{
	const struct ep_case *c = w->c;
	uint32_t hidden = c->config.hidden;

	for (uint32_t t = 0; t < w->count; t++) {
		int32_t ids[EP_K_MAX];

		ep_ids(c, w->step, w->rank, t, ids);
		ep_travel(c, ep_at(c, w->step, w->rank, t), w->seen, w->row);
		memset(w->sum, 0, hidden * sizeof(float));
		for (uint32_t k = 0; k < c->config.top_k + c->config.shared && w->active[t]; k++) {
			float weight = ep_weight(c, w->step, w->rank, t, k);

			if (ids[k] < 0 || !ep_lives(c, ids[k] / w->slots))
				continue;
			for (uint32_t i = 0; i < hidden; i++) {
				float part = weight * ep_returned(c, ep_expert(ids[k], w->seen[i]));

				w->sum[i] += part;
			}
		}
		if (c->sum_dtype == ACCEL_EP_FP32) {
			w->wrong += memcmp((float *)w->sums + t * hidden, w->sum, hidden * 4ull) != 0;
			continue;
		}
		for (uint32_t i = 0; i < hidden; i++)
			w->wrong += ((uint16_t *)w->sums)[t * hidden + i] != ep_to_bf16(w->sum[i]);
	}
}

static inline struct accel_ep_rows ep_outputs(const struct ep_work *w)
{
	return (struct accel_ep_rows){
		w->outputs, (uint64_t)w->c->config.hidden * ep_size(w->c->out_dtype),
		w->c->out_dtype,
	};
}

static inline struct accel_ep_rows ep_sums(const struct ep_work *w)
{
	return (struct accel_ep_rows){
		w->sums, (uint64_t)w->c->config.hidden * ep_size(w->c->sum_dtype),
		w->c->sum_dtype,
	};
}

/* One step of one rank: there, through its experts, and back; what is wrong is counted. */
static inline int ep_step(struct ep_work *w, uint32_t lane, uint64_t step, int64_t timeout_ns)
{
	struct accel_ep_tokens tokens = ep_tokens(w, step);
	struct accel_ep_rows out, sum = ep_sums(w);
	struct accel_ep_recv recv;
	int err;

	err = accel_ep_dispatch(w->ep, lane, &tokens, w->c->flags, timeout_ns, &recv);
	if (err)
		return err;
	w->joining = recv.joining;
	ep_check_recv(w, &recv);
	out = ep_outputs(w);
	err = accel_ep_combine(w->ep, lane, &out, &sum, timeout_ns);
	if (!err)
		ep_check_sums(w);
	return err;
}

#endif
