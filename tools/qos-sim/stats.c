// SPDX-License-Identifier: MIT
/* Every sample is kept, so that percentiles over all seeds are exact. */
#include "sim.h"

void times_add(struct times *times, u64 ns)
{
	if (times->count == times->room) {
		times->room = times->room ? 2 * times->room : 4096;
		times->ns = allocated(realloc(times->ns, times->room * sizeof(*times->ns)));
	}
	times->ns[times->count++] = ns;
}

static int compare(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return (x > y) - (x < y);
}

u64 times_at(struct times *times, double part)
{
	if (!times->count)
		return 0;
	qsort(times->ns, times->count, sizeof(*times->ns), compare);
	return times->ns[(size_t)(part * (double)(times->count - 1) + 0.5)];
}

void stats_free(struct stats *stats)
{
	free(stats->latency.ns);
	free(stats->bulk.ns);
}
