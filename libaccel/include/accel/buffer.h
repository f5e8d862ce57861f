/* SPDX-License-Identifier: MIT */
/*
 * Buffers: memory on one NPU or interleaved over several.
 *
 * A buffer is shared by its file descriptor: who has one can map it, and nobody
 * else can. Its memory returns to the pool when the last handle, descriptor,
 * mapping and unfinished copy of any process is gone. When an NPU that it lies
 * on leaves the pool the whole buffer is lost: its mappings raise SIGBUS, its
 * copies end with -ENODEV, and so do calls with it.
 */
#ifndef ACCEL_BUFFER_H
#define ACCEL_BUFFER_H

#include <accel/accel.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

struct accel_buffer;

enum accel_placement {
	ACCEL_PLACE_ANY = 0,		/* one NPU, that with most free, of the set or of all */
	ACCEL_PLACE_NPU = 1,		/* the one NPU given */
	ACCEL_PLACE_INTERLEAVE = 2,	/* stripe i on NPU i modulo the number given, in order */
};

/** struct accel_where - where a buffer's memory is to come from; NULL is anywhere */
struct accel_where {
	enum accel_placement placement;
	uint32_t npu_count;		/* 1 for NPU, 2 or more to interleave */
	const uint32_t *npus;		/* ids, none twice */
	uint64_t stripe;		/* to interleave: bytes, a multiple of min_alloc; else 0 */
};

/**
 * accel_buffer_create() - allocate zeroed memory
 * @size: bytes, a multiple of accel_pool_info.min_alloc, not 0
 *
 * -ENOSPC the NPUs are full, -EDQUOT the quota is, -ENOENT no such NPU,
 * -ENODEV it is dead.
 */
int accel_buffer_create(struct accel_dev *dev, uint64_t size, const struct accel_where *where,
			struct accel_buffer **buffer);

/** accel_buffer_close() - give up a handle; mappings and copies in flight are not disturbed */
void accel_buffer_close(struct accel_buffer *buffer);

#define ACCEL_BUFFER_LOST	(1u << 0)	/* had memory on an NPU that is dead */
#define ACCEL_BUFFER_FOREIGN	(1u << 1)	/* memory of another driver, imported */

struct accel_buffer_info {
	uint64_t size;
	uint64_t stripe;	/* 0 unless interleaved */
	uint32_t flags;		/* ACCEL_BUFFER_* */
	uint32_t placement;	/* ACCEL_PLACE_NPU or _INTERLEAVE */
	uint32_t npu_count;	/* NPUs it lies on, 0 if foreign */
};

/**
 * accel_buffer_info() - tell about a buffer
 * @npus: room for @room ids of the NPUs that it lies on, or NULL with @room 0
 */
int accel_buffer_info(struct accel_buffer *buffer, struct accel_buffer_info *info, uint32_t *npus,
		      uint32_t room);

/** ACCEL_MAP_POPULATE - fault the pages in now, not at first touch */
#define ACCEL_MAP_POPULATE (1u << 0)

/**
 * accel_buffer_map() - map a whole buffer, readable and writable, cache-coherent
 * @flags: ACCEL_MAP_*
 * @ptr: out, page-aligned; outlives the handle until accel_buffer_unmap()
 *
 * The pages can be registered with a NIC or pinned otherwise.
 */
int accel_buffer_map(struct accel_buffer *buffer, uint32_t flags, void **ptr);

/** accel_buffer_unmap() - end a mapping; @ptr and @size as mapped */
int accel_buffer_unmap(struct accel_dev *dev, void *ptr, uint64_t size);

/**
 * accel_buffer_export() - a descriptor (close-on-exec) to hand to others
 * @fd: out, the caller's to close
 */
int accel_buffer_export(struct accel_buffer *buffer, int *fd);

/**
 * accel_buffer_import() - a buffer from a descriptor that accel_buffer_export() gave
 * @fd: stays the caller's
 *
 * With drm: any dma-buf will do. -EINVAL where @fd is no buffer of this pool
 * and cannot be one.
 */
int accel_buffer_import(struct accel_dev *dev, int fd, struct accel_buffer **buffer);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif
#endif
