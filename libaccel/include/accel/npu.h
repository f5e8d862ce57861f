/* SPDX-License-Identifier: MIT */
/*
 * Changing a pool's members. On drm: these need CAP_SYS_ADMIN (-EPERM without);
 * on soft: the pool's user is its administrator.
 */
#ifndef ACCEL_NPU_H
#define ACCEL_NPU_H

#include <accel/accel.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/** struct accel_npu_config - a software NPU to be made */
struct accel_npu_config {
	char name[ACCEL_NAME_LEN];	/* letters, digits, '-' and '_'; unique in the pool */
	uint64_t bytes;			/* a multiple of min_alloc */
	uint64_t bandwidth;		/* bytes a second of its copy engine, 0 for no limit */
	uint64_t latency_ns;		/* start-up added to each copy */
};

/**
 * accel_npu_add() - add a software NPU
 * @id: out
 *
 * -EEXIST the name is taken, -ENOSPC the pool has no room for another,
 * -EOPNOTSUPP the driver for software NPUs is not loaded.
 */
int accel_npu_add(struct accel_dev *dev, const struct accel_npu_config *config, uint32_t *id);

/**
 * accel_npu_remove() - take an NPU out at once, as if it had been pulled
 *
 * Its jobs end with -ENODEV, buffers on it are lost; everything else goes on.
 * -ENOENT no such NPU, -ENODEV it is dead already.
 */
int accel_npu_remove(struct accel_dev *dev, uint32_t id);

enum accel_fault {
	ACCEL_FAULT_ALLOC = 0,	/* the next arg allocations on it fail with -ENOSPC */
	ACCEL_FAULT_COPY = 1,	/* the next arg copies or fills by its engine fail with -EIO */
	ACCEL_FAULT_POISON = 2,	/* page at offset arg of its memory: copies fail with -EIO */
	ACCEL_FAULT_DIE = 3,	/* it dies; arg is 0 */
};

/** accel_npu_inject() - have a software NPU act out a fault; -EOPNOTSUPP where it cannot */
int accel_npu_inject(struct accel_dev *dev, uint32_t id, enum accel_fault fault, uint64_t arg);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif
#endif
