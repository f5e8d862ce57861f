// SPDX-License-Identifier: MIT
/*
 * What a dispatch is to do: each choice of an expert becomes a place, and each rank
 * a number of rows. Everything that a caller can have wrong is found here, before
 * anything is sent.
 */
#include <stdlib.h>

#include "plan.h"
#include "route.h"
#include "table.h"

bool ep_rows_ok(const struct accel_ep *ep, const void *rows, uint64_t stride, uint32_t dtype,
		uint32_t count)
{
	uint32_t element = ep_element(dtype);

	if (!count)
		return true;
	return rows && stride >= (uint64_t)ep->shape->config.hidden * element &&
	       !(stride % element) && !((uintptr_t)rows % element);
}

int ep_plan_check(const struct accel_ep *ep, const struct accel_ep_tokens *tokens)
{
	const struct accel_ep_config *config = &ep->shape->config;
	uint32_t count = tokens->count;

	if (tokens->dtype > ACCEL_EP_INT8 || count > config->max_tokens)
		return -EINVAL;
	if (!ep_rows_ok(ep, tokens->rows, tokens->stride, tokens->dtype, count))
		return -EINVAL;
	if (count && (!tokens->experts || (tokens->dtype == ACCEL_EP_INT8 && !tokens->scales)))
		return -EINVAL;
	if (tokens->dtype == ACCEL_EP_INT8 && config->send != ACCEL_EP_INT8)
		return -EINVAL;
	for (uint32_t i = 0; i < count * config->top_k; i++)
		if (tokens->experts[i] < ACCEL_EP_SKIP ||
		    tokens->experts[i] >= (int64_t)config->experts)
			return -EINVAL;
	return 0;
}

bool ep_should_stream(const struct accel_ep *ep, uint64_t bytes)
{
	return bytes * ep_set_count(&ep->alive) >= EP_CACHE_MAX;
}

void ep_plan_free(struct ep_plan *plan)
{
	if (!plan)
		return;
	free(plan->choices);
	free(plan->weights);
	free(plan->counts);
	free(plan->rows);
	free(plan->taken);
	free(plan->dests);
	free(plan->hops);
	free(plan->passed);
	free(plan->scratch);
	free(plan->staged);
	free(plan);
}

int ep_plan_alloc(const struct accel_ep *ep, struct ep_lane *lane)
{
	const struct ep_shape *shape = ep->shape;
	const struct accel_ep_config *config = &shape->config;
	uint64_t choices = (uint64_t)config->max_tokens * shape->all_k;
	struct ep_plan *plan;

	if (lane->plan)
		return 0;
	plan = calloc(1, sizeof(*plan));
	if (!plan)
		return -ENOMEM;
	plan->choices = calloc(choices, sizeof(*plan->choices));
	plan->weights = calloc(choices, sizeof(*plan->weights));
	plan->counts = calloc(config->ranks * config->slots, sizeof(*plan->counts));
	plan->rows = calloc(config->ranks, sizeof(*plan->rows));
	plan->taken = calloc(config->experts + config->shared, sizeof(*plan->taken));
	plan->dests = calloc(config->ranks, sizeof(*plan->dests));
	plan->hops = calloc(shape->nodes, sizeof(*plan->hops));
	plan->passed = calloc(shape->relay_room + 1, sizeof(*plan->passed));
	plan->scratch = aligned_alloc(EP_LINE, shape->payload);
	if (config->sort)
		plan->staged = aligned_alloc(EP_LINE, config->chunk_tokens * shape->payload);
	if (!plan->choices || !plan->weights || !plan->counts || !plan->rows || !plan->taken ||
	    !plan->dests || !plan->hops || !plan->passed || !plan->scratch ||
	    (config->sort && !plan->staged)) {
		ep_plan_free(plan);
		return -ENOMEM;
	}
	/* What pads a row is sent too. */
	memset(plan->scratch, 0, shape->payload);
	if (config->sort)
		memset(plan->staged, 0, config->chunk_tokens * shape->payload);
	lane->plan = plan;
	return 0;
}

static void choose(struct accel_ep *ep, struct ep_plan *plan, uint32_t token, uint32_t k,
		   int32_t expert)
{
	const struct accel_ep_config *config = &ep->shape->config;
	struct accel_ep_place *place = &plan->choices[token * ep->shape->all_k + k];
	struct ep_dest *dest;

	place->rank = EP_NOWHERE;
	if (expert == ACCEL_EP_SKIP)
		return;
	ep->loads[expert]++;
	if ((config->capacity && plan->taken[expert] == config->capacity) ||
	    !ep_table_choose(ep, expert, plan->rows, place)) {
		plan->dropped++;
		return;
	}
	plan->taken[expert]++;
	plan->counts[place->rank * config->slots + place->slot]++;
	ep->stats.choices++;
	dest = &plan->dests[place->rank];
	if (dest->seen != token + 1) {
		dest->seen = token + 1;
		plan->rows[place->rank]++;
	}
}

static void choose_all(struct accel_ep *ep, struct ep_plan *plan, uint32_t token)
{
	const struct accel_ep_config *config = &ep->shape->config;
	const int32_t *experts = plan->tokens.experts + token * config->top_k;
	const float *weights = plan->tokens.weights;
	float *weight = plan->weights + token * ep->shape->all_k;
	bool active = !plan->tokens.active || plan->tokens.active[token];

	ep->stats.tokens += active;
	for (uint32_t k = 0; k < ep->shape->all_k; k++) {
		bool routed = k < config->top_k;
		int32_t expert = routed ? experts[k] : (int32_t)(config->experts + k - config->top_k);

		weight[k] = routed && weights ? weights[token * config->top_k + k] : 1.0f;
		choose(ep, plan, token, k, active ? expert : ACCEL_EP_SKIP);
	}
}

void ep_plan_make(struct accel_ep *ep, struct ep_plan *plan, const struct accel_ep_tokens *tokens)
{
	const struct accel_ep_config *config = &ep->shape->config;

	plan->tokens = *tokens;
	plan->dropped = 0;
	plan->joining = ep_joining(ep);
	plan->batch = 0;
	plan->batches = ep_batches(ep->route, tokens->count);
	plan->begun = false;
	plan->rest = 0;
	plan->hopped = 0;
	plan->passing = 0;
	plan->whole = false;
	plan->sorts = config->sort && tokens->count <= config->chunk_tokens;
	memset(plan->counts, 0, config->ranks * config->slots * sizeof(*plan->counts));
	memset(plan->rows, 0, config->ranks * sizeof(*plan->rows));
	memset(plan->taken, 0, (config->experts + config->shared) * sizeof(*plan->taken));
	memset(plan->dests, 0, config->ranks * sizeof(*plan->dests));
	memset(plan->hops, 0, ep->shape->nodes * sizeof(*plan->hops));
	for (uint32_t token = 0; token < tokens->count; token++)
		choose_all(ep, plan, token);
	plan->cached = EP_CACHE_MAX / ep_set_count(&ep->alive);
	plan->streamed = false;
	ep->stats.dropped += plan->dropped;
}
