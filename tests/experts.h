/* SPDX-License-Identifier: MIT */
/* What the programs about caches of experts share: a pool of experts that can be told apart. */
#ifndef TESTS_EXPERTS_H
#define TESTS_EXPERTS_H

#include <accel/experts.h>

#include "pool.h"

#define EXPERT_BYTES (KIB(4) + 40)	/* so that slots are not back to back */

struct experts {
	struct accel_dev *dev;
	struct accel_buffer *source;
	uint8_t *map;
	uint64_t size;
	struct accel_experts *cache;
};

/* A source on @source, or interleaved over @count of them, and a cache on @npu. */
static inline void experts_setup(struct experts *e, struct accel_dev *dev, uint32_t *source,
				 uint32_t count, uint32_t experts, uint32_t npu, uint32_t slots)
{
	struct accel_where where = {
		count > 1 ? ACCEL_PLACE_INTERLEAVE : ACCEL_PLACE_NPU, count, source,
		count > 1 ? KIB(4) : 0,
	};
	struct accel_experts_config config = {
		.expert_bytes = EXPERT_BYTES, .experts = experts, .slots = slots, .npu = npu,
	};

	e->dev = dev;
	e->size = (experts * EXPERT_BYTES + KIB(4) - 1) / KIB(4) * KIB(4);
	must_ok(accel_buffer_create(dev, e->size, &where, &e->source));
	e->map = buffer_map(e->source);
	scribble(e->map, e->size, 1 + experts);
	config.source = e->source;
	must_ok(accel_experts_create(dev, &config, &e->cache));
}

static inline void experts_teardown(struct experts *e)
{
	accel_experts_destroy(e->cache);
	accel_buffer_unmap(e->dev, e->map, e->size);
	accel_buffer_close(e->source);
}

static inline bool experts_right(const struct experts *e, uint32_t id,
				 const struct accel_expert *expert)
{
	return expert->offset % ACCEL_EXPERTS_ALIGN == 0 &&
	       !memcmp(expert->data, e->map + id * EXPERT_BYTES, EXPERT_BYTES);
}

/* Has an expert, and sees that it is the one. */
static inline int experts_take(const struct experts *e, uint32_t id, int64_t timeout_ns)
{
	struct accel_expert expert;
	int err = accel_experts_get(e->cache, id, timeout_ns, &expert);

	if (!err)
		must(experts_right(e, id, &expert));
	return err;
}

/* The same, and lets go of it. */
static inline int experts_touch(const struct experts *e, uint32_t id, int64_t timeout_ns)
{
	int err = experts_take(e, id, timeout_ns);

	return err ? err : accel_experts_put(e->cache, id);
}

static inline struct accel_experts_stats experts_stats(const struct experts *e)
{
	struct accel_experts_stats stats;

	accel_experts_stats(e->cache, &stats);
	return stats;
}

/* One step to come. */
static inline int experts_expect(const struct experts *e, uint64_t step, const uint32_t *ids,
				 uint32_t count, uint64_t needed_ns)
{
	struct accel_experts_step one = { ids, count, needed_ns };

	return accel_experts_look_ahead(e->cache, step, &one, 1);
}

#endif
