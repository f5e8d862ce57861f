// SPDX-License-Identifier: MIT
/*
 * Members coming, going, and acting out faults.
 *
 * Nobody sees addresses in a soft NPU, so its memory is taken to lie in the
 * order of the table of buffers with all that is free behind. A poisoned page
 * stays with the buffer that it was in; once free it is handed out last.
 */
#include <errno.h>
#include <string.h>

#include "soft.h"

static bool on_npu(const struct soft_entry *entry, uint32_t slot, uint32_t *k)
{
	for (*k = 0; *k < entry->npu_count && *k < SOFT_NPUS; ++*k)
		if (entry->npus[*k] == slot)
			return true;
	return false;
}

/* One allocation or copy less that is to fail; true if this is one. */
bool soft_npu_take_fault(_Atomic uint32_t *count)
{
	uint32_t left = atomic_load(count);

	while (left)
		if (atomic_compare_exchange_weak(count, &left, left - 1))
			return true;
	return false;
}

static void drop_poison(struct soft_npu *npu, uint32_t i)
{
	uint32_t last = atomic_load(&npu->poison_count) - 1;

	npu->poison[i] = npu->poison[last];
	atomic_store(&npu->poison_count, last);
}

static uint64_t free_poison(const struct soft_npu *npu)
{
	uint64_t count = 0;

	for (uint32_t i = 0; i < atomic_load(&npu->poison_count); i++)
		count += npu->poison[i].buffer == SOFT_POISON_FREE;
	return count;
}

/* A new buffer takes poisoned pages where the good ones do not do. Control lock held. */
void soft_poison_alloc(struct soft_dev *dev, uint32_t index)
{
	const struct soft_entry *entry = &dev->control->entries[index];

	for (uint32_t k = 0; k < entry->npu_count && k < SOFT_NPUS; k++) {
		struct soft_npu *npu = &dev->control->npus[entry->npus[k] % SOFT_NPUS];
		uint64_t page = soft_npu_share(entry, k) / SOFT_MIN_ALLOC;
		uint64_t room = soft_npu_free(npu) / SOFT_MIN_ALLOC, bad = free_poison(npu);

		for (uint32_t i = 0; page && bad > room && i < atomic_load(&npu->poison_count); i++) {
			if (npu->poison[i].buffer != SOFT_POISON_FREE)
				continue;
			npu->poison[i].page = --page;
			npu->poison[i].buffer = index;
			bad--;
		}
	}
}

void soft_poison_free(struct soft_dev *dev, uint32_t index)
{
	const struct soft_entry *entry = &dev->control->entries[index];

	for (uint32_t k = 0; k < entry->npu_count && k < SOFT_NPUS; k++) {
		struct soft_npu *npu = &dev->control->npus[entry->npus[k] % SOFT_NPUS];

		for (uint32_t i = 0; i < atomic_load(&npu->poison_count); i++)
			if (npu->poison[i].buffer == index)
				npu->poison[i].buffer = SOFT_POISON_FREE;
	}
}

/* Whether a page of the buffer, given as page of its part on NPU k, touches the range. */
static bool page_in_range(const struct soft_entry *entry, uint32_t k, uint64_t page,
			  uint64_t offset, uint64_t size)
{
	uint64_t at = page * SOFT_MIN_ALLOC;

	if (entry->stripe)
		at = (at / entry->stripe * entry->npu_count + k) * entry->stripe +
		     at % entry->stripe;
	return at < offset + size && offset < at + SOFT_MIN_ALLOC;
}

bool soft_poisoned(struct soft_buffer *buffer, uint64_t offset, uint64_t size, uint32_t *id)
{
	struct soft_dev *dev = (struct soft_dev *)buffer->base.dev;
	const struct soft_entry *entry = buffer->entry;
	bool found = false;

	for (uint32_t k = 0; !found && k < entry->npu_count && k < SOFT_NPUS; k++) {
		const struct soft_npu *npu = &dev->control->npus[entry->npus[k] % SOFT_NPUS];

		if (!atomic_load(&npu->poison_count))
			continue;
		soft_lock(dev);
		for (uint32_t i = 0; i < atomic_load(&npu->poison_count); i++)
			found |= npu->poison[i].buffer == buffer->index &&
				 page_in_range(entry, k, npu->poison[i].page, offset, size);
		if (found)
			*id = npu->id;
		soft_unlock(dev);
	}
	return found;
}

static int poison(struct soft_dev *dev, struct soft_npu *npu, uint64_t offset)
{
	uint32_t slot = npu - dev->control->npus, count = atomic_load(&npu->poison_count), k;
	struct soft_poison new = { SOFT_POISON_FREE, 0, offset / SOFT_MIN_ALLOC };

	if (offset >= npu->bytes)
		return -EINVAL;
	for (uint32_t i = 0; i < dev->control->entries_high; i++) {
		const struct soft_entry *entry = &dev->control->entries[i];
		uint64_t pages;

		if (atomic_load(&entry->state) != SOFT_ENTRY_LIVE || !on_npu(entry, slot, &k))
			continue;
		pages = soft_npu_share(entry, k) / SOFT_MIN_ALLOC;
		if (new.page < pages) {
			new.buffer = i;
			break;
		}
		new.page -= pages;
	}
	for (uint32_t i = 0; i < count; i++)
		if (npu->poison[i].buffer == new.buffer && npu->poison[i].page == new.page)
			return 0;
	if (count == SOFT_POISONS)
		return -ENOSPC;
	npu->poison[count] = new;
	atomic_store(&npu->poison_count, count + 1);
	return 0;
}

static struct soft_npu *find_place(struct soft_control *control, const char *name, int *err)
{
	struct soft_npu *place = NULL;

	*err = -ENOSPC;
	for (uint32_t i = 0; i < SOFT_NPUS; i++) {
		struct soft_npu *npu = &control->npus[i];
		uint32_t state = atomic_load(&npu->state);

		if (state == SOFT_NPU_ONLINE && !strncmp(npu->name, name, ACCEL_NAME_LEN)) {
			*err = -EEXIST;
			return NULL;
		}
		if (state == SOFT_NPU_FREE && !place)
			place = npu;
	}
	return place;
}

int soft_npu_add(struct accel_dev *base, const struct accel_npu_config *config, uint32_t *id)
{
	struct soft_dev *dev = (struct soft_dev *)base;
	struct soft_control *control = dev->control;
	struct soft_npu *npu;
	int err = 0;

	if (config->bytes % SOFT_MIN_ALLOC)
		return -EINVAL;
	soft_settle(dev);
	soft_lock(dev);
	npu = find_place(control, config->name, &err);
	if (npu) {
		err = 0;
		memset(npu, 0, sizeof(*npu));
		npu->id = control->next_npu++;
		npu->bytes = config->bytes;
		npu->bandwidth = config->bandwidth;
		npu->latency_ns = config->latency_ns;
		memcpy(npu->name, config->name, strlen(config->name));
		soft_qos_join(dev, npu - control->npus);
		atomic_store(&npu->state, SOFT_NPU_ONLINE);
		atomic_fetch_add(&control->generation, 1);
		*id = npu->id;
	}
	soft_unlock(dev);
	return err;
}

/* Control lock held. What lies on the NPU is lost before anybody can see it dead. */
static void kill_npu(struct soft_dev *dev, struct soft_npu *npu)
{
	struct soft_control *control = dev->control;
	uint32_t slot = npu - control->npus, k;

	for (uint32_t i = 0; i < control->entries_high; i++) {
		struct soft_entry *entry = &control->entries[i];
		uint32_t state = atomic_load(&entry->state);

		if (state == SOFT_ENTRY_FREE || !on_npu(entry, slot, &k))
			continue;
		atomic_store(&entry->lost, 1);
		if (state == SOFT_ENTRY_ORPHAN)
			atomic_store(&entry->state, SOFT_ENTRY_FREE);
	}
	while (atomic_load(&npu->poison_count))
		drop_poison(npu, 0);
	atomic_store(&npu->state, SOFT_NPU_DEAD);
	atomic_fetch_add(&control->generation, 1);
}

int soft_npu_remove(struct accel_dev *base, uint32_t id)
{
	struct soft_dev *dev = (struct soft_dev *)base;
	struct soft_npu *npu;
	int err;

	soft_lock(dev);
	err = soft_npu_online(dev, id, &npu);
	if (!err)
		kill_npu(dev, npu);
	soft_npu_collect(dev);
	soft_unlock(dev);
	if (err)
		return err;
	soft_map_lost(dev);
	soft_engine_wake(dev);
	soft_sync_others(dev, false);
	return 0;
}

int soft_npu_inject(struct accel_dev *base, uint32_t id, enum accel_fault fault, uint64_t arg)
{
	struct soft_dev *dev = (struct soft_dev *)base;
	struct soft_npu *npu;
	int err;

	if (fault > ACCEL_FAULT_DIE)
		return -EOPNOTSUPP;
	if (fault == ACCEL_FAULT_DIE)
		return arg ? -EINVAL : soft_npu_remove(base, id);
	if (fault != ACCEL_FAULT_POISON && arg > UINT32_MAX)
		return -EINVAL;
	soft_lock(dev);
	err = soft_npu_online(dev, id, &npu);
	if (err)
		goto out;
	if (fault == ACCEL_FAULT_ALLOC)
		atomic_store(&npu->alloc_faults, arg);
	else if (fault == ACCEL_FAULT_COPY)
		atomic_store(&npu->copy_faults, arg);
	else
		err = poison(dev, npu, arg);
out:
	soft_unlock(dev);
	return err;
}
