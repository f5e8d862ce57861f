// SPDX-License-Identifier: MIT
/*
 * The table expert -> places. A rank's own, so that it is changed without a word to
 * the others: what they are told is the slot.
 */
#include <stdlib.h>

#include "table.h"

static uint32_t experts_of(const struct accel_ep *ep)
{
	return ep->shape->config.experts + ep->shape->config.shared;
}

static struct ep_table *table_alloc(const struct accel_ep *ep, uint32_t places)
{
	uint32_t experts = experts_of(ep);
	struct ep_table *table = calloc(1, sizeof(*table));

	if (!table)
		return NULL;
	table->first = calloc(experts + 1, sizeof(*table->first));
	table->turn = calloc(experts, sizeof(*table->turn));
	table->places = calloc(places, sizeof(*table->places));
	if (!table->first || !table->turn || !table->places) {
		ep_table_free(table);
		return NULL;
	}
	/* Ranks that begin at different replicas share a popular one's from the start. */
	for (uint32_t expert = 0; expert < experts; expert++)
		table->turn[expert] = ep->rank;
	return table;
}

void ep_table_free(struct ep_table *table)
{
	if (!table)
		return;
	free(table->first);
	free(table->turn);
	free(table->places);
	free(table);
}

int ep_table_init(struct accel_ep *ep)
{
	const struct accel_ep_config *config = &ep->shape->config;
	uint32_t experts = experts_of(ep);
	struct ep_table *table;

	if (experts > config->ranks * config->slots)
		return -EINVAL;
	table = table_alloc(ep, experts);
	if (!table)
		return -ENOMEM;
	for (uint32_t expert = 0; expert < experts; expert++) {
		table->first[expert + 1] = expert + 1;
		table->places[expert].rank = expert / config->slots;
		table->places[expert].slot = expert % config->slots;
	}
	ep->table = table;
	return 0;
}

/* Each expert somewhere, each place one expert's. */
static int places_ok(const struct accel_ep *ep, const uint32_t *first,
		     const struct accel_ep_place *places)
{
	const struct accel_ep_config *config = &ep->shape->config;
	uint32_t experts = experts_of(ep), room = config->ranks * config->slots;
	uint8_t *taken;
	int ret = 0;

	if (first[0] || first[experts] > room)
		return -EINVAL;
	for (uint32_t expert = 0; expert < experts; expert++)
		if (first[expert] >= first[expert + 1])
			return -EINVAL;
	taken = calloc(room, 1);
	if (!taken)
		return -ENOMEM;
	for (uint32_t i = 0; i < first[experts] && !ret; i++) {
		const struct accel_ep_place *place = &places[i];

		if (place->rank >= config->ranks || place->slot >= config->slots ||
		    taken[place->rank * config->slots + place->slot]++)
			ret = -EINVAL;
	}
	free(taken);
	return ret;
}

int accel_ep_set_table(struct accel_ep *ep, uint64_t version, const uint32_t *first,
		       const struct accel_ep_place *places)
{
	uint32_t experts = experts_of(ep);
	struct ep_table *table;
	int ret;

	if (!first || !places || version < ep->table->version)
		return -EINVAL;
	ret = places_ok(ep, first, places);
	if (ret)
		return ret;
	table = table_alloc(ep, first[experts]);
	if (!table)
		return -ENOMEM;
	table->version = version;
	memcpy(table->first, first, (experts + 1) * sizeof(*first));
	memcpy(table->places, places, first[experts] * sizeof(*places));
	ep_table_free(ep->table);
	ep->table = table;
	return 0;
}

bool ep_table_choose(const struct accel_ep *ep, uint32_t expert, const uint32_t *load,
		     struct accel_ep_place *place)
{
	struct ep_table *table = ep->table;
	const struct accel_ep_place *places = table->places + table->first[expert], *best = NULL;
	uint32_t count = table->first[expert + 1] - table->first[expert];
	uint32_t at = count > 1 ? table->turn[expert]++ % count : 0;

	for (uint32_t i = 0; i < count; i++, at = at + 1 < count ? at + 1 : 0) {
		if (!ep_set_has(&ep->alive, places[at].rank))
			continue;
		if (!best || load[places[at].rank] < load[best->rank])
			best = &places[at];
		if (ep->shape->config.replica == ACCEL_EP_ROUND_ROBIN)
			break;
	}
	if (!best)
		return false;
	*place = *best;
	return true;
}
