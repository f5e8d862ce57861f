// SPDX-License-Identifier: MIT
/* What a rank has counted. */
#include "internal.h"

void accel_ep_stats(const struct accel_ep *ep, struct accel_ep_stats *stats, uint64_t *loads)
{
	const struct accel_ep_config *config = &ep->shape->config;

	*stats = ep->stats;
	if (loads)
		memcpy(loads, ep->loads, (config->experts + config->shared) * sizeof(*loads));
}
