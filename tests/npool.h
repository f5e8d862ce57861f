/* SPDX-License-Identifier: MIT */
/*
 * What the driver's tests share: its ioctls called bare, so that they can be
 * called wrongly. NPUs are still added through libaccel, by the header beside.
 */
#ifndef TESTS_NPOOL_H
#define TESTS_NPOOL_H

#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <drm/npool_accel.h>

#include "pool.h"

static inline const char *node_path(void)
{
	const char *uri = getenv("NPOOL_TEST_URI");

	return uri && !strncmp(uri, "drm:", 4) ? uri + 4 : "/dev/accel/accel0";
}

static inline int node_open(void)
{
	int fd = open(node_path(), O_RDWR | O_CLOEXEC);

	must(fd >= 0);
	return fd;
}

static inline int call(int fd, unsigned long cmd, void *arg)
{
	return ioctl(fd, cmd, arg) ? -errno : 0;
}

/* The command with another size or direction. */
static inline unsigned long cmd_with(unsigned long cmd, unsigned int dir, unsigned int size)
{
	return _IOC(dir, _IOC_TYPE(cmd), _IOC_NR(cmd), size);
}

static inline int bo_try(int fd, uint32_t npu, uint64_t size, struct drm_npool_bo_create *bo)
{
	*bo = (struct drm_npool_bo_create){
		.size = size, .npus = (uintptr_t)&npu, .npu_count = 1,
		.placement = DRM_NPOOL_PLACE_NPU,
	};
	return call(fd, DRM_IOCTL_NPOOL_BO_CREATE, bo);
}

static inline struct drm_npool_bo_create bo_new(int fd, uint32_t npu, uint64_t size)
{
	struct drm_npool_bo_create bo;

	must_ok(bo_try(fd, npu, size, &bo));
	return bo;
}

static inline void bo_close(int fd, uint32_t handle)
{
	struct drm_gem_close close = { .handle = handle };

	must_ok(call(fd, DRM_IOCTL_GEM_CLOSE, &close));
}

static inline uint8_t *bo_map(int fd, const struct drm_npool_bo_create *bo)
{
	void *p = mmap(NULL, bo->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, bo->mmap_offset);

	must(p != MAP_FAILED);
	return p;
}

static inline int bo_export(int fd, uint32_t handle)
{
	struct drm_prime_handle prime = { .handle = handle, .flags = DRM_CLOEXEC | DRM_RDWR };

	must_ok(call(fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &prime));
	return prime.fd;
}

static inline int bo_import(int fd, int dmabuf, uint32_t *handle)
{
	struct drm_prime_handle prime = { .fd = dmabuf };
	int err = call(fd, DRM_IOCTL_PRIME_FD_TO_HANDLE, &prime);

	if (!err)
		*handle = prime.handle;
	return err;
}

static inline uint32_t queue_new(int fd, uint32_t npu)
{
	struct drm_npool_queue_create queue = { .npu = npu };

	must_ok(call(fd, DRM_IOCTL_NPOOL_QUEUE_CREATE, &queue));
	return queue.queue;
}

static inline int queue_end(int fd, uint32_t number)
{
	struct drm_npool_queue_destroy queue = { .queue = number };

	return call(fd, DRM_IOCTL_NPOOL_QUEUE_DESTROY, &queue);
}

static inline uint32_t sync_new(int fd)
{
	struct drm_syncobj_create create = { 0 };

	must_ok(call(fd, DRM_IOCTL_SYNCOBJ_CREATE, &create));
	return create.handle;
}

static inline int submit_one(int fd, uint32_t queue, const struct drm_npool_op *op,
			     const struct drm_npool_sync *signal, uint64_t *seqno)
{
	struct drm_npool_submit submit = {
		.queue = queue, .ops = (uintptr_t)op, .op_count = op ? 1 : 0,
			.op_stride = sizeof(*op),
		.signals = (uintptr_t)signal, .signal_count = signal ? 1 : 0,
		.sync_stride = sizeof(*signal),
	};
	int err = call(fd, DRM_IOCTL_NPOOL_SUBMIT, &submit);

	if (!err && seqno)
		*seqno = submit.seqno;
	return err;
}

/* The submit's error, waiting for it as long as it takes. */
static inline int wait_for(int fd, uint32_t queue, uint64_t seqno)
{
	struct drm_npool_wait wait = { .queue = queue, .seqno = seqno, .timeout_ns = INT64_MAX };
	int err = call(fd, DRM_IOCTL_NPOOL_WAIT, &wait);

	return err ? err : wait.error;
}

static inline int move_bytes(int fd, uint32_t queue, uint32_t dst, uint64_t to, uint32_t src,
			     uint64_t from, uint64_t size)
{
	struct drm_npool_seg seg = { to, from, size };
	struct drm_npool_op op = {
		.type = DRM_NPOOL_OP_COPY, .dst = dst, .src = src, .segs = (uintptr_t)&seg,
		.seg_count = 1, .seg_stride = sizeof(seg),
	};
	uint64_t seqno;
	int err = submit_one(fd, queue, &op, NULL, &seqno);

	return err ? err : wait_for(fd, queue, seqno);
}

#endif
