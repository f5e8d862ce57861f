// SPDX-License-Identifier: MIT
/*
 * Users' mappings. They are listed so that, when an NPU leaves, each process
 * can lay an empty file over its mappings of lost buffers, which raises SIGBUS
 * as the kernel driver's do. The engine's own mapping of a buffer is another and
 * stays whole: an engine never faults.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "soft.h"

static void lay_void(struct soft_dev *dev, struct soft_mapping *mapping)
{
	if (mapping->lost || !atomic_load(&mapping->buffer->entry->lost))
		return;
	if (mmap(mapping->ptr, mapping->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		 dev->void_fd, 0) != MAP_FAILED)
		mapping->lost = true;
}

int soft_buffer_map(struct accel_buffer *base, uint32_t flags, void **ptr)
{
	struct soft_buffer *buffer = (struct soft_buffer *)base;
	struct soft_dev *dev = (struct soft_dev *)base->dev;
	int populate = flags & ACCEL_MAP_POPULATE ? MAP_POPULATE : 0;
	struct soft_mapping *new;
	int err;

	new = calloc(1, sizeof(*new));
	if (!new)
		return -ENOMEM;
	new->ptr = mmap(NULL, base->size, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_NORESERVE | populate, buffer->fd, 0);
	if (new->ptr == MAP_FAILED) {
		err = -errno;
		goto out_free;
	}
	new->size = base->size;
	new->buffer = buffer;
	pthread_mutex_lock(&dev->lock);
	/* Under the lock: who marks it lost after this finds the mapping in the list. */
	if (atomic_load(&buffer->entry->lost)) {
		err = -ENODEV;
		goto out_unlock;
	}
	soft_buffer_get(buffer);
	new->next = dev->mappings;
	dev->mappings = new;
	pthread_mutex_unlock(&dev->lock);
	*ptr = new->ptr;
	return 0;

out_unlock:
	pthread_mutex_unlock(&dev->lock);
	munmap(new->ptr, new->size);
out_free:
	free(new);
	return err;
}

/* A mapping that outlived its device is in no list; ending it is all there is to do. */
int soft_buffer_unmap(struct accel_dev *base, void *ptr, uint64_t size)
{
	struct soft_dev *dev = (struct soft_dev *)base;
	struct soft_mapping **at, *mapping;
	int err;

	pthread_mutex_lock(&dev->lock);
	for (at = &dev->mappings; (mapping = *at); at = &mapping->next)
		if (mapping->ptr == ptr)
			break;
	if (mapping && mapping->size != size) {
		pthread_mutex_unlock(&dev->lock);
		return -EINVAL;
	}
	err = munmap(ptr, size) ? -errno : 0;
	if (mapping && !err)
		*at = mapping->next;
	pthread_mutex_unlock(&dev->lock);
	if (mapping && !err) {
		soft_buffer_put(mapping->buffer);
		free(mapping);
	}
	return err;
}

void soft_map_lost(struct soft_dev *dev)
{
	pthread_mutex_lock(&dev->lock);
	for (struct soft_mapping *mapping = dev->mappings; mapping; mapping = mapping->next)
		lay_void(dev, mapping);
	pthread_mutex_unlock(&dev->lock);
}

/* At accel_close(): the mappings stay, nobody can tell which, so their files are watched. */
void soft_map_linger(struct soft_dev *dev)
{
	struct soft_mapping *mapping, *next;

	pthread_mutex_lock(&dev->lock);
	next = dev->mappings;
	dev->mappings = NULL;
	pthread_mutex_unlock(&dev->lock);
	while ((mapping = next)) {
		next = mapping->next;
		atomic_store(&mapping->buffer->exposed, true);
		soft_buffer_put(mapping->buffer);
		free(mapping);
	}
}
