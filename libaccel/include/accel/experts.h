/* SPDX-License-Identifier: MIT */
/*
 * Expert weights: a cache in one NPU's memory over a larger pool that holds all.
 *
 * Experts are of one size and lie one after another in a source buffer, wherever
 * that is. What steps to come are predicted to choose is copied ahead by the
 * NPU's engine, in the deadline class. What makes room is what is used furthest
 * from now, as far as it is known, else what was used least recently. A slot is
 * given to its next expert as soon as its last use before that is over and no
 * sooner, so prefetching copies no more than the fewest copies that can be.
 *
 * Thread-safety: any thread may make any call at any time, but the last.
 */
#ifndef ACCEL_EXPERTS_H
#define ACCEL_EXPERTS_H

#include <accel/buffer.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

#define ACCEL_EXPERTS_MAX	65536u	/* experts of a pool: of all layers together */
#define ACCEL_EXPERTS_MAX_USES	65536u	/* predicted at a time, over all steps */
#define ACCEL_EXPERTS_ALIGN	64u	/* of a slot's offset, and least that it is a multiple of */

struct accel_experts;

/** struct accel_experts_config - shape of a cache */
struct accel_experts_config {
	struct accel_buffer *source;	/* expert e at e * expert_bytes; outlives the cache */
	uint64_t expert_bytes;
	uint32_t experts;	/* up to ACCEL_EXPERTS_MAX */
	uint32_t slots;		/* experts that the cache holds, up to ACCEL_EXPERTS_MAX */
	uint32_t npu;		/* id of the NPU it lies on */
};

/**
 * accel_experts_create() - make an empty cache
 *
 * -EINVAL for a shape that cannot be, or a source too small; else the errors of
 * accel_buffer_create() and accel_queue_create().
 */
int accel_experts_create(struct accel_dev *dev, const struct accel_experts_config *config,
			 struct accel_experts **cache);

/** accel_experts_destroy() - end a cache; copies under way are given up. @cache may be NULL */
void accel_experts_destroy(struct accel_experts *cache);

/** accel_experts_buffer() - the cache's buffer, to copy from; the cache's to close */
struct accel_buffer *accel_experts_buffer(const struct accel_experts *cache);

/** struct accel_experts_step - what one step, such as a layer of a batch, will use */
struct accel_experts_step {
	const uint32_t *experts;	/* ids, the first needed first; doubles count once */
	uint32_t count;
	uint64_t needed_ns;	/* of CLOCK_MONOTONIC: when the step begins; 0: not known */
};

/**
 * accel_experts_look_ahead() - say what steps to come will use, and copy ahead for them
 * @first: number of the first of @steps, the others follow
 * @steps: copied; replaces what was said before
 *
 * A copy is promised for the time that its step needs it; if that is refused, or the time
 * is not known, it goes as bulk. -EINVAL for an expert that there is not, or more than
 * ACCEL_EXPERTS_MAX_USES; what was said before then stays.
 */
int accel_experts_look_ahead(struct accel_experts *cache, uint64_t first,
			     const struct accel_experts_step *steps, uint32_t count);

/**
 * accel_experts_step() - begin a step
 * @step: its number; at first 0 has begun
 *
 * What was said of those before is over. -EINVAL for a step that is over.
 */
int accel_experts_step(struct accel_experts *cache, uint64_t step);

/** struct accel_expert - an expert that stays where it is until accel_experts_put() */
struct accel_expert {
	const void *data;	/* expert_bytes */
	uint64_t offset;	/* in accel_experts_buffer() */
};

/**
 * accel_experts_get() - have an expert in the cache, and keep it there
 * @timeout_ns: for its copy to come, and for a slot if copies are under way to all
 *
 * An expert may be had several times at once, each ended by a put. -ETIME it did not
 * come in time, and is still on its way; -EBUSY all slots are in use, or no more copies can
 * be under way; -EIO its copy failed, and may be tried again; -ENODEV the cache's NPU is
 * gone, or it is not cached and its source's NPU is.
 */
int accel_experts_get(struct accel_experts *cache, uint32_t expert, int64_t timeout_ns,
		      struct accel_expert *out);

/** accel_experts_put() - let go of an expert; -EINVAL if it is not held */
int accel_experts_put(struct accel_experts *cache, uint32_t expert);

/** struct accel_experts_stats - what a cache has done */
struct accel_experts_stats {
	uint64_t hits;		/* gets of what was there */
	uint64_t late;		/* that waited for a copy that was on its way */
	uint64_t misses;	/* that nothing had been copied ahead for */
	uint64_t wasted;	/* copied, and replaced without a get */
	uint64_t copies;	/* that came */
	uint64_t bytes;		/* of them */
	uint64_t failed;	/* copies that did not */
	uint64_t refused;	/* copies with a deadline that went as bulk */
};

void accel_experts_stats(struct accel_experts *cache, struct accel_experts_stats *stats);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif
#endif
