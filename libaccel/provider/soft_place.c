// SPDX-License-Identifier: MIT
/*
 * Where a new buffer goes: from what a caller asks to NPU slots, or the errno
 * that says why not. Called with the control lock held; changes nothing but the
 * entry it fills.
 */
#include <errno.h>
#include <string.h>

#include "soft.h"

/* Slots of the NPUs that the caller named. */
static int resolve(struct soft_dev *dev, const struct accel_where *where, uint16_t *slots)
{
	bool seen[SOFT_NPUS] = { false };
	bool dead = false;

	for (uint32_t k = 0; k < where->npu_count; k++) {
		struct soft_npu *npu = soft_npu_find(dev, where->npus[k]);
		uint32_t slot;

		for (uint32_t i = 0; !npu && i < k; i++)
			if (where->npus[i] == where->npus[k])
				return -EINVAL;
		if (!npu)
			return -ENOENT;
		slot = npu - dev->control->npus;
		if (seen[slot])
			return -EINVAL;
		seen[slot] = true;
		dead |= atomic_load(&npu->state) == SOFT_NPU_DEAD;
		slots[k] = slot;
	}
	return dead ? -ENODEV : 0;
}

static uint32_t resolve_all(struct soft_dev *dev, uint16_t *slots)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < SOFT_NPUS; i++)
		if (atomic_load(&dev->control->npus[i].state) == SOFT_NPU_ONLINE)
			slots[count++] = i;
	return count;
}

/* Leaves in @slots[0] the one with most memory free. */
static void choose(struct soft_dev *dev, uint16_t *slots, uint32_t count)
{
	uint16_t best = slots[0];

	for (uint32_t i = 1; i < count; i++)
		if (soft_npu_free(&dev->control->npus[slots[i]]) >
		    soft_npu_free(&dev->control->npus[best]))
			best = slots[i];
	slots[0] = best;
}

static int check_room(struct soft_dev *dev, const struct soft_entry *entry)
{
	for (uint32_t k = 0; k < entry->npu_count; k++)
		if (soft_npu_share(entry, k) > soft_npu_free(&dev->control->npus[entry->npus[k]]))
			return -ENOSPC;
	return 0;
}

static int check_quota(struct soft_dev *dev, uint64_t size)
{
	const struct soft_client *client = &dev->control->clients[dev->slot];

	if (client->quota && (client->used > client->quota || size > client->quota - client->used))
		return -EDQUOT;
	return 0;
}

int soft_place(struct soft_dev *dev, uint64_t size, const struct accel_where *where,
	       struct soft_entry *entry)
{
	uint32_t count = where->npu_count;
	int err;

	if (size % SOFT_MIN_ALLOC || where->stripe % SOFT_MIN_ALLOC || count > SOFT_NPUS)
		return -EINVAL;
	err = resolve(dev, where, entry->npus);
	if (err)
		return err;
	if (!count)
		count = resolve_all(dev, entry->npus);
	if (!count)
		return -ENODEV;
	if (where->placement == ACCEL_PLACE_ANY) {
		choose(dev, entry->npus, count);
		count = 1;
	}
	/* A stripe as long as the buffer is no stripe, and cannot overflow a round. */
	entry->stripe = where->stripe;
	entry->npu_count = count;
	entry->size = size;
	err = check_quota(dev, size);
	return err ? err : check_room(dev, entry);
}
