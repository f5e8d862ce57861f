// SPDX-License-Identifier: MIT
/*
 * A log-linear histogram: values below 32 have a bucket each, beyond that every
 * power of two is cut into 32.
 */
#include "hist.h"

static unsigned int bucket_of(uint64_t value)
{
	unsigned int shift;

	if (value < HIST_SUB)
		return value;
	shift = 63 - __builtin_clzll(value) - HIST_SUB_BITS;
	return HIST_SUB * (shift + 1) + (value >> shift) % HIST_SUB;
}

static uint64_t middle_of(unsigned int bucket)
{
	unsigned int shift;

	if (bucket < HIST_SUB)
		return bucket;
	shift = bucket / HIST_SUB - 1;
	return ((uint64_t)(HIST_SUB + bucket % HIST_SUB) << shift) + ((1ULL << shift) >> 1);
}

void hist_add(struct hist *hist, uint64_t value)
{
	hist->total++;
	hist->bucket[bucket_of(value)]++;
}

void hist_merge(struct hist *into, const struct hist *from)
{
	unsigned int i;

	into->total += from->total;
	for (i = 0; i < HIST_BUCKETS; i++)
		into->bucket[i] += from->bucket[i];
}

uint64_t hist_percentile(const struct hist *hist, unsigned int per_mille)
{
	uint64_t rank = (hist->total * per_mille + 999) / 1000, seen = 0;
	unsigned int i;

	for (i = 0; i < HIST_BUCKETS; i++) {
		seen += hist->bucket[i];
		if (seen && seen >= rank)
			return middle_of(i);
	}
	return 0;
}
