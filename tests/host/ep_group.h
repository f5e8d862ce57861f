/* SPDX-License-Identifier: MIT */
/*
 * What the tests of groups share: a pool, a group's shape, and a meeting, the
 * smallest call there is: each rank stores a flag at each other and waits for theirs.
 */
#ifndef TESTS_EP_GROUP_H
#define TESTS_EP_GROUP_H

#include "collective/internal.h"

#include "pool.h"

#define EVER (60ll * 1000 * 1000 * 1000)
#define SOON (20ll * 1000 * 1000)
#define AT_ONCE 0

static inline const char *group_uri(void)
{
	static char text[ACCEL_URI_MAX];
	const char *env = getenv("NPOOL_TEST_URI");

	if (env)
		return env;
	/* Tests and their children are children of one program. */
	if (!text[0])
		snprintf(text, sizeof(text), "soft:ep-%d?npus=2&size=8G", (int)getpid());
	return text;
}

static __attribute__((constructor)) void group_fix_uri(void)
{
	group_uri();
}

static inline struct accel_dev *group_open(void)
{
	struct accel_dev *dev;

	must_ok(accel_open(group_uri(), &dev));
	return dev;
}

static inline struct accel_ep_config group_shape(uint32_t ranks)
{
	return (struct accel_ep_config) {
		.ranks = ranks, .experts = ranks, .hidden = 32, .top_k = 1, .max_tokens = 4,
		.send = ACCEL_EP_BF16, .back = ACCEL_EP_FP32,
	};
}

/* Ranks that a process is: @count from @first on, of the @ranks of group @name. */
struct part {
	const char *name;
	uint32_t ranks, first, count;
};

static inline int join(struct accel_dev *dev, const struct part *part, int64_t timeout_ns,
		       struct accel_ep_group **group)
{
	struct accel_ep_config config = group_shape(part->ranks);
	uint32_t which[ACCEL_EP_MAX_RANKS], npus[ACCEL_EP_MAX_RANKS];

	for (uint32_t i = 0; i < part->count; i++) {
		which[i] = part->first + i;
		npus[i] = (part->first + i) % 2;
	}
	return accel_ep_join(dev, part->name, &config, which, npus, part->count, timeout_ns,
			     group);
}

static inline struct accel_ep_info info_of(const struct accel_ep *ep)
{
	struct accel_ep_info info;

	accel_ep_info(ep, &info);
	return info;
}

static inline bool is_absent(const struct accel_ep *ep, uint32_t rank)
{
	uint32_t ranks[ACCEL_EP_MAX_RANKS], count = ACCEL_EP_MAX_RANKS;

	accel_ep_absent(ep, ranks, &count);
	for (uint32_t i = 0; i < count; i++)
		if (ranks[i] == rank)
			return true;
	return false;
}

static inline void meet_begin(struct accel_ep *ep, uint32_t round)
{
	uint32_t joining = ep_joining(ep);

	for (uint32_t rank = 0; rank < ep->shape->config.ranks; rank++) {
		struct ep_slot *slot;

		if (!ep_set_has(&ep->alive, rank))
			continue;
		slot = ep_slot(ep, rank, round % 2, ep->rank);
		ep_st(&slot->joining, joining);
		ep_st(&slot->flag, ep_flag(ep->epoch, round, 0));
		ep_ring(ep, rank);
	}
}

/* Whose flag is not there; @joining: whether any of the others saw ranks that wait. */
static inline struct ep_set meet_missing(const struct accel_ep *ep, uint32_t round, bool *joining)
{
	struct ep_set missing = ep->alive;

	*joining = false;
	for (uint32_t rank = 0; rank < ep->shape->config.ranks; rank++) {
		const struct ep_slot *slot;

		if (!ep_set_has(&ep->alive, rank))
			continue;
		slot = ep_slot(ep, ep->rank, round % 2, rank);
		if (ep_ld(&slot->flag) != ep_flag(ep->epoch, round, 0))
			continue;
		ep_set_del(&missing, rank);
		*joining |= ep_ld(&slot->joining) > 0;
	}
	return missing;
}

static inline int meet_end(struct accel_ep *ep, uint32_t round, int64_t timeout_ns, bool *joining)
{
	struct ep_wait wait;
	int err = 0;

	ep_wait_begin(ep, &wait, timeout_ns);
	while (!err) {
		struct ep_set missing;

		ep_wait_look(ep, &wait);
		missing = meet_missing(ep, round, joining);
		if (ep_set_empty(&missing))
			break;
		err = ep_wait_more(ep, &wait, &missing, ep_set_count(&missing));
	}
	ep_wait_found(ep, &wait);
	return err;
}

static inline int meet(struct accel_ep *ep, uint32_t round, int64_t timeout_ns, bool *joining)
{
	int err = ep_whole(ep);

	if (err)
		return err;
	meet_begin(ep, round);
	return meet_end(ep, round, timeout_ns, joining);
}

#endif
