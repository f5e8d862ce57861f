// SPDX-License-Identifier: MIT
#include <stdlib.h>

#include "plan.h"
#include "route.h"

void ep_route_free(struct ep_route *route)
{
	if (!route)
		return;
	free(route->ranks);
	free(route->via);
	free(route->hops);
	free(route);
}

int ep_route_alloc(struct accel_ep *ep)
{
	uint32_t ranks = ep->shape->config.ranks;
	struct ep_route *route = calloc(1, sizeof(*route));

	if (!route)
		return -ENOMEM;
	route->ranks = calloc(ranks, sizeof(*route->ranks));
	route->via = calloc(ranks, sizeof(*route->via));
	route->hops = calloc(ep->shape->nodes, sizeof(*route->hops));
	if (!route->ranks || !route->via || !route->hops) {
		ep_route_free(route);
		return -ENOMEM;
	}
	ep->route = route;
	return 0;
}

/* Who passes on at a node what a rank of another one sends there. */
static uint32_t relay_of(const struct accel_ep *ep, uint32_t node, uint32_t rank)
{
	uint32_t node_ranks = ep->shape->config.node_ranks;

	for (uint32_t i = 0; i < node_ranks; i++) {
		uint32_t relay = node * node_ranks + (rank + i) % node_ranks;

		if (ep_set_has(&ep->alive, relay))
			return relay;
	}
	return EP_NOWHERE;
}

/* The ways to one node; @served: how many each of its ranks passes on for. */
static void ways_to(struct accel_ep *ep, uint32_t node, uint16_t *served)
{
	struct ep_route *route = ep->route;
	uint32_t node_ranks = ep->shape->config.node_ranks;

	route->hops[node].rank = EP_NOWHERE;
	for (uint32_t rank = 0; rank < ep->shape->config.ranks; rank++) {
		bool here = rank / node_ranks == node;
		uint32_t relay = here ? rank : relay_of(ep, node, rank);

		if (node == ep->rank / node_ranks)
			route->via[rank] = relay;
		if (here || relay == EP_NOWHERE || !ep_set_has(&ep->alive, rank))
			continue;
		if (rank == ep->rank)
			route->hops[node] = (struct ep_hop){ relay, served[relay] };
		if (relay == ep->rank)
			route->ranks[route->count++] = rank;
		served[relay]++;
	}
}

void ep_route_make(struct accel_ep *ep)
{
	uint16_t served[ACCEL_EP_MAX_RANKS] = { 0 };
	uint32_t most = 0;

	ep->route->count = 0;
	for (uint32_t node = 0; node < ep->shape->nodes; node++)
		ways_to(ep, node, served);
	for (uint32_t rank = 0; rank < ep->shape->config.ranks; rank++)
		most = served[rank] > most ? served[rank] : most;
	ep->route->batch = most ? ep->shape->relay_room / most : ep->shape->config.max_tokens;
}
