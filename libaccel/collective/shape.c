// SPDX-License-Identifier: MIT
/*
 * The shape of a group: what a configuration that leaves things open means, what
 * is beyond the limits, and where things lie in a rank's buffer.
 */
#include "internal.h"

#define CHUNK_TOKENS	128u
#define ROOM_PERCENT	200u
#define PAGE		4096u
/* Likelihoods are fixed-point numbers of so many bits, the same on every machine. */
#define LIKELY_BITS	32

static uint64_t pad(uint64_t bytes, uint64_t unit)
{
	return (bytes + unit - 1) / unit * unit;
}

static void resolve(struct accel_ep_config *config)
{
	uint32_t all = config->experts + config->shared;

	if (!config->slots)
		config->slots = (all + config->ranks - 1) / config->ranks;
	if (!config->chunk_tokens)
		config->chunk_tokens = config->max_tokens < CHUNK_TOKENS ? config->max_tokens :
									   CHUNK_TOKENS;
	if (!config->room_percent)
		config->room_percent = ROOM_PERCENT;
	if (!config->node_ranks)
		config->node_ranks = config->ranks;
}

static bool within(uint32_t value, uint32_t low, uint32_t high)
{
	return low <= value && value <= high;
}

/* What has no default, and is needed to make the others. */
static bool stated(const struct accel_ep_config *config)
{
	return within(config->ranks, 1, ACCEL_EP_MAX_RANKS) &&
	       within(config->experts, 1, ACCEL_EP_MAX_EXPERTS) &&
	       within(config->shared, 0, ACCEL_EP_MAX_SHARED) &&
	       config->experts + config->shared <= ACCEL_EP_MAX_EXPERTS &&
	       within(config->hidden, 1, ACCEL_EP_MAX_HIDDEN) &&
	       config->hidden % ACCEL_EP_HIDDEN_UNIT == 0 &&
	       within(config->top_k, 1, ACCEL_EP_MAX_TOP_K) &&
	       within(config->max_tokens, 1, ACCEL_EP_MAX_TOKENS) &&
	       (config->send == ACCEL_EP_INT8 || config->send == ACCEL_EP_BF16) &&
	       (config->back == ACCEL_EP_BF16 || config->back == ACCEL_EP_FP32) &&
	       (config->sort == ACCEL_EP_SORT_RECEIVER || config->sort == ACCEL_EP_SORT_SENDER) &&
	       (config->replica == ACCEL_EP_ROUND_ROBIN || config->replica == ACCEL_EP_LEAST_LOAD);
}

static bool possible(const struct accel_ep_config *config)
{
	return within(config->slots, 1, ACCEL_EP_MAX_SLOTS) &&
	       config->slots * config->ranks >= config->experts + config->shared &&
	       within(config->chunk_tokens, 1, config->max_tokens) &&
	       config->ranks % config->node_ranks == 0 &&
	       (config->sort == ACCEL_EP_SORT_RECEIVER || config->node_ranks == config->ranks);
}

/*
 * A token goes to a rank unless each of its choices goes elsewhere. Uniform routing
 * sends so many rows; never less than what one rank alone may send, so that it
 * needs no second round, nor more than all can.
 */
static uint32_t room_rows(const struct accel_ep_config *config, uint32_t all_k)
{
	uint64_t most = (uint64_t)config->ranks * config->chunk_tokens;
	uint64_t elsewhere = ((config->ranks - 1ull) << LIKELY_BITS) / config->ranks;
	uint64_t missed = 1ull << LIKELY_BITS;
	uint64_t rows;

	for (uint32_t k = 0; k < all_k; k++)
		missed = missed * elsewhere >> LIKELY_BITS;
	rows = pad(most * ((1ull << LIKELY_BITS) - missed), 1ull << LIKELY_BITS) >> LIKELY_BITS;
	if (config->room_percent >= 100 * most / rows)
		return most;
	rows = rows * config->room_percent / 100;
	return rows < config->chunk_tokens ? config->chunk_tokens : rows;
}

/*
 * A rank passes on what those with its place in other nodes send to this one: a chunk of
 * each, or of all ranks there a token, should it come to be the only one left here.
 */
static uint32_t relay_rows(const struct accel_ep_config *config)
{
	uint32_t others = config->ranks - config->node_ranks;
	uint32_t rows = others / config->node_ranks * config->chunk_tokens;

	return rows > others ? rows : others;
}

/* Experts here make as many rows as choices of one rank's chunk, if all get alike. */
static uint32_t out_rows(const struct accel_ep_config *config, uint32_t all_k)
{
	uint64_t rows = (uint64_t)config->chunk_tokens * all_k, most = rows * config->ranks;

	if (config->room_percent > 100)
		rows = rows * config->room_percent / 100;
	return rows < most ? rows : most;
}

static void lay_out(struct ep_shape *shape)
{
	const struct accel_ep_config *config = &shape->config;
	uint64_t lane_bytes;

	shape->element = config->send == ACCEL_EP_INT8 ? 1 : 2;
	shape->back_element = config->back == ACCEL_EP_BF16 ? 2 : 4;
	shape->payload = pad((uint64_t)config->hidden * shape->element, EP_LINE);
	shape->row = shape->payload + pad(sizeof(struct ep_meta), EP_LINE);
	shape->back_row = pad((uint64_t)config->hidden * shape->back_element, EP_LINE);
	shape->counts_bytes = pad(config->slots * sizeof(uint32_t), EP_LINE);
	shape->slot_bytes = sizeof(struct ep_slot) + 2 * shape->counts_bytes;
	shape->slots = EP_LINE;
	shape->rows = pad(shape->slots + config->ranks * shape->slot_bytes, PAGE);
	shape->relays = pad(shape->rows + shape->room * shape->row, PAGE);
	shape->backs = pad(shape->relays + shape->relay_room * shape->row, PAGE);
	shape->outs = shape->backs +
		      (uint64_t)config->chunk_tokens * shape->all_k * shape->back_row;
	shape->sorted = pad(shape->outs + shape->out_room * shape->back_row, PAGE);
	lane_bytes = pad(shape->sorted + shape->sorted_room * shape->payload, PAGE);
	for (uint32_t lane = 0; lane < ACCEL_EP_LANES; lane++)
		shape->lane[lane] = lane * lane_bytes;
	shape->bytes = ACCEL_EP_LANES * lane_bytes;
}

int ep_shape(const struct accel_ep_config *config, struct ep_shape *shape)
{
	struct ep_shape new = { .config = *config };

	if (!stated(config))
		return -EINVAL;
	resolve(&new.config);
	if (!possible(&new.config))
		return -EINVAL;
	new.all_k = config->top_k + config->shared;
	new.nodes = new.config.ranks / new.config.node_ranks;
	new.relay_room = relay_rows(&new.config);
	new.room = room_rows(&new.config, new.all_k);
	new.out_room = out_rows(&new.config, new.all_k);
	new.sorted_room = new.config.sort == ACCEL_EP_SORT_SENDER ? new.out_room : 0;
	lay_out(&new);
	*shape = new;
	return 0;
}

int accel_ep_buffer_bytes(const struct accel_ep_config *config, uint64_t *bytes)
{
	struct ep_shape shape;
	int err;

	if (!config || !bytes)
		return -EINVAL;
	err = ep_shape(config, &shape);
	if (!err)
		*bytes = shape.bytes;
	return err;
}
