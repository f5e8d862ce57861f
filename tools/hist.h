/* SPDX-License-Identifier: MIT */
/*
 * A histogram of times in fixed memory: 32 buckets to each power of two, so that
 * a percentile is right to 1.6 %. Plain data, so it can lie in shared memory and
 * be merged by adding.
 */
#ifndef HIST_H
#define HIST_H

#include <stdint.h>

#define HIST_SUB_BITS	5
#define HIST_SUB	(1 << HIST_SUB_BITS)
#define HIST_BUCKETS	(HIST_SUB + (64 - HIST_SUB_BITS) * HIST_SUB)

struct hist {
	uint64_t total;
	uint64_t bucket[HIST_BUCKETS];
};

void hist_add(struct hist *hist, uint64_t value);
void hist_merge(struct hist *into, const struct hist *from);

/** hist_percentile() - value that @per_mille of the samples do not exceed, 0 without samples */
uint64_t hist_percentile(const struct hist *hist, unsigned int per_mille);

#endif
