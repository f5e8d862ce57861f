// SPDX-License-Identifier: MIT
/*
 * Soft buffers: a sealed memfd each, and an entry in the pool's table.
 *
 * A client counts as having a buffer while it has a handle, a mapping or a copy
 * in flight. A descriptor that it gave away is in nobody's table; so the file
 * description that all descriptors and mappings of a buffer share holds a lock
 * on the buffer's first byte, and who closed a buffer whose descriptor it gave
 * away keeps it on the books ("lingering") until that lock is gone. If it dies
 * before, the descriptor holds memory that is on no books until somebody imports
 * it: the entry waits for that as an orphan.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "local.h"
#include "soft.h"

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

static struct soft_dev *dev_of(const struct soft_buffer *buffer)
{
	return (struct soft_dev *)buffer->base.dev;
}

/* A description of its own, so that locks of the shared one can be seen. */
static int reopen(int fd)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_RDWR | O_CLOEXEC);
}

static bool in_other_hands(int probe)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1 };

	return !fcntl(probe, F_OFD_GETLK, &lock) && lock.l_type != F_UNLCK;
}

static int make_memory(uint64_t size, int *fd)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1 };
	int err, new;

	if (size > INT64_MAX)
		return -ENOSPC;
	new = memfd_create("npool-buffer", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (new < 0)
		return -errno;
	if (ftruncate(new, size) || fcntl(new, F_ADD_SEALS, SEALS) ||
	    fcntl(new, F_OFD_SETLK, &lock)) {
		err = -errno;
		close(new);
		return err;
	}
	*fd = new;
	return 0;
}

/* Takes @fd over, also when it fails. */
static int wrap(struct soft_dev *dev, int fd, uint64_t size, struct soft_buffer **buffer)
{
	struct soft_buffer *new;
	int err = -ENOMEM;

	new = calloc(1, sizeof(*new));
	if (!new)
		goto out_close;
	new->map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (new->map == MAP_FAILED)
		goto out_free;
	new->base.dev = &dev->base;
	new->base.size = size;
	new->fd = fd;
	atomic_init(&new->refs, 1);
	*buffer = new;
	return 0;

out_free:
	free(new);
out_close:
	close(fd);
	return err;
}

static void unwrap(struct soft_buffer *buffer)
{
	munmap(buffer->map, buffer->base.size);
	close(buffer->fd);
	free(buffer);
}

/* Control lock held. */
static void hold(struct soft_dev *dev, struct soft_buffer *buffer, uint32_t index)
{
	struct soft_entry *entry = &dev->control->entries[index];

	buffer->index = index;
	buffer->entry = entry;
	dev->held[index]++;
	entry->refs[dev->slot / 64] |= 1ull << dev->slot % 64;
	if (!dev->handles[index]++)
		soft_entry_handle(dev, index, true);
}

static void unhold(struct soft_dev *dev, uint32_t index)
{
	soft_lock(dev);
	if (!--dev->held[index])
		soft_entry_drop(dev, index);
	soft_unlock(dev);
}

static void linger(struct soft_dev *dev, struct soft_linger *new)
{
	pthread_mutex_lock(&dev->lock);
	new->next = dev->lingering;
	dev->lingering = new;
	atomic_fetch_add(&dev->control->clients[dev->slot].lingering, 1);
	pthread_mutex_unlock(&dev->lock);
	local_wake(dev->wake_fd);
}

void soft_buffer_get(struct soft_buffer *buffer)
{
	atomic_fetch_add(&buffer->refs, 1);
}

void soft_buffer_put(struct soft_buffer *buffer)
{
	struct soft_dev *dev = dev_of(buffer);
	struct soft_linger *watch = NULL;
	uint32_t index;

	if (atomic_fetch_sub(&buffer->refs, 1) != 1)
		return;
	index = buffer->index;
	if (atomic_load(&buffer->exposed)) {
		watch = calloc(1, sizeof(*watch));
		if (watch) {
			watch->index = index;
			watch->probe = reopen(buffer->fd);
		}
	}
	unwrap(buffer);
	if (watch && watch->probe >= 0 && in_other_hands(watch->probe)) {
		linger(dev, watch);
		return;
	}
	if (watch && watch->probe >= 0)
		close(watch->probe);
	free(watch);
	unhold(dev, index);
}

/* Lets go of closed buffers whose descriptors are closed by now. */
void soft_settle_own(struct soft_dev *dev)
{
	struct soft_linger **at, *watch, *gone = NULL;

	if (!atomic_load(&dev->control->clients[dev->slot].lingering))
		return;
	pthread_mutex_lock(&dev->lock);
	for (at = &dev->lingering; (watch = *at);) {
		if (in_other_hands(watch->probe)) {
			at = &watch->next;
			continue;
		}
		*at = watch->next;
		watch->next = gone;
		gone = watch;
		atomic_fetch_sub(&dev->control->clients[dev->slot].lingering, 1);
	}
	pthread_mutex_unlock(&dev->lock);
	while ((watch = gone)) {
		gone = watch->next;
		close(watch->probe);
		unhold(dev, watch->index);
		free(watch);
	}
}

/*
 * Has the tables say what is true now: own leftovers, those of the dead, those of
 * others. Who removed an NPU may have died before it told, so mappings as well.
 */
void soft_settle(struct soft_dev *dev)
{
	soft_map_lost(dev);
	soft_settle_own(dev);
	soft_sync_others(dev, true);
	soft_lock(dev);
	soft_reap(dev);
	soft_npu_collect(dev);
	soft_unlock(dev);
}

/* Whether this allocation is one that is to fail. Control lock held. */
static bool acts_full(struct soft_dev *dev, const struct soft_entry *entry)
{
	bool fails = false;

	for (uint32_t k = 0; k < entry->npu_count; k++)
		if (soft_npu_share(entry, k))
			fails |= soft_npu_take_fault(
				&dev->control->npus[entry->npus[k]].alloc_faults);
	return fails;
}

/* @again: out, whether looking once more might help. */
static int enter(struct soft_dev *dev, uint64_t size, const struct accel_where *where,
		 uint32_t *index, bool *again)
{
	struct soft_entry *entry;
	int err;

	soft_lock(dev);
	err = soft_entry_find_free(dev, index);
	if (err)
		goto out;
	entry = &dev->control->entries[*index];
	memset(entry, 0, sizeof(*entry));
	err = soft_place(dev, size, where, entry);
	*again = err == -ENOSPC || err == -EDQUOT;
	if (!err && acts_full(dev, entry))
		err = -ENOSPC;
	if (err)
		goto out;
	entry->creator = dev->base.client;
	entry->refs[dev->slot / 64] = 1ull << dev->slot % 64;
	dev->held[*index] = 1;
	atomic_store(&entry->state, SOFT_ENTRY_LIVE);
	soft_entry_charge(dev, *index);
	for (uint32_t k = 0; k < entry->npu_count; k++)
		atomic_fetch_add(&dev->control->npus[entry->npus[k]].counters.cleared,
				 soft_npu_share(entry, k));
out:
	soft_unlock(dev);
	return err;
}

/* Another process's leftovers may be what is in the way; look once, then believe it. */
static int enter_settled(struct soft_dev *dev, uint64_t size, const struct accel_where *where,
			 uint32_t *index)
{
	bool again = false;
	int err = enter(dev, size, where, index, &again);

	if (!again)
		return err;
	soft_settle(dev);
	return enter(dev, size, where, index, &again);
}

int soft_buffer_create(struct accel_dev *base, uint64_t size, const struct accel_where *where,
		       struct accel_buffer **buffer)
{
	struct soft_dev *dev = (struct soft_dev *)base;
	struct soft_buffer *new;
	struct stat st;
	uint32_t index;
	int err, fd = -1;

	err = enter_settled(dev, size, where, &index);
	if (err)
		return err;
	err = make_memory(size, &fd);
	if (err)
		goto out_unhold;
	if (fstat(fd, &st)) {
		err = -errno;
		close(fd);
		goto out_unhold;
	}
	err = wrap(dev, fd, size, &new);
	if (err)
		goto out_unhold;
	soft_lock(dev);
	dev->control->entries[index].st_dev = st.st_dev;
	dev->control->entries[index].st_ino = st.st_ino;
	dev->held[index]--;
	hold(dev, new, index);
	soft_unlock(dev);
	*buffer = &new->base;
	return 0;

out_unhold:
	unhold(dev, index);
	return err;
}

void soft_buffer_close(struct accel_buffer *base)
{
	struct soft_buffer *buffer = (struct soft_buffer *)base;
	struct soft_dev *dev = dev_of(buffer);

	soft_lock(dev);
	if (!--dev->handles[buffer->index])
		soft_entry_handle(dev, buffer->index, false);
	soft_unlock(dev);
	soft_buffer_put(buffer);
}

int soft_buffer_info(struct accel_buffer *base, struct accel_buffer_info *info, uint32_t *npus,
		     uint32_t room)
{
	struct soft_buffer *buffer = (struct soft_buffer *)base;
	const struct soft_entry *entry = buffer->entry;
	struct soft_dev *dev = dev_of(buffer);

	soft_lock(dev);
	*info = (struct accel_buffer_info) {
		.size = entry->size,
		.stripe = entry->stripe,
		.flags = atomic_load(&entry->lost) ? ACCEL_BUFFER_LOST : 0,
		.placement = entry->stripe ? ACCEL_PLACE_INTERLEAVE : ACCEL_PLACE_NPU,
		.npu_count = entry->npu_count,
	};
	for (uint32_t k = 0; k < room && k < entry->npu_count && k < SOFT_NPUS; k++)
		npus[k] = dev->control->npus[entry->npus[k] % SOFT_NPUS].id;
	soft_unlock(dev);
	return 0;
}

int soft_buffer_export(struct accel_buffer *base, int *fd)
{
	struct soft_buffer *buffer = (struct soft_buffer *)base;
	int new;

	atomic_store(&buffer->exposed, true);
	new = fcntl(buffer->fd, F_DUPFD_CLOEXEC, 0);
	if (new < 0)
		return -errno;
	*fd = new;
	return 0;
}

/* Control lock held. Brings an orphan back, and its bytes onto the books. */
static int find_entry(struct soft_dev *dev, const struct stat *st, uint32_t *index)
{
	struct soft_control *control = dev->control;

	for (uint32_t i = 0; i < control->entries_high; i++) {
		struct soft_entry *entry = &control->entries[i];
		uint32_t state = atomic_load(&entry->state);

		if (state == SOFT_ENTRY_FREE || entry->st_ino != st->st_ino ||
		    entry->st_dev != st->st_dev || entry->size != (uint64_t)st->st_size)
			continue;
		if (state == SOFT_ENTRY_ORPHAN) {
			atomic_store(&entry->state, SOFT_ENTRY_LIVE);
			soft_entry_charge(dev, i);
		}
		*index = i;
		return 0;
	}
	return -EINVAL;
}

/* The table knows the memfds that this library made and sealed; no other is let in. */
int soft_buffer_import(struct accel_dev *base, int fd, struct accel_buffer **buffer)
{
	struct soft_dev *dev = (struct soft_dev *)base;
	struct soft_buffer *new;
	struct stat st;
	uint32_t index;
	int err, own;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode) || fcntl(fd, F_GET_SEALS) != SEALS || st.st_size <= 0 ||
	    (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDWR)
		return -EINVAL;
	own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (own < 0)
		return -errno;
	err = wrap(dev, own, st.st_size, &new);
	if (err)
		return err;
	atomic_store(&new->exposed, true);
	soft_lock(dev);
	err = find_entry(dev, &st, &index);
	if (!err)
		hold(dev, new, index);
	soft_unlock(dev);
	if (err) {
		unwrap(new);
		return err;
	}
	*buffer = &new->base;
	return 0;
}
