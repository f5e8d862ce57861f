/* SPDX-License-Identifier: MIT */
/*
 * The drm provider: the pool in the kernel, thinly wrapped. The kernel checks,
 * orders and counts; what is kept here is only what its handles need.
 */
#ifndef LIBACCEL_DRM_H
#define LIBACCEL_DRM_H

#include <pthread.h>
#include <stdbool.h>

#include <drm/npool_accel.h>

#include "provider.h"

/* A queue for accel_copy() on one NPU, made at the first copy. */
struct drm_copier {
	struct drm_copier *next;
	uint32_t npu;
	uint32_t queue;
	uint32_t users;
};

struct drm_dev {
	struct accel_dev base;
	int fd;
	pthread_mutex_t lock;		/* what follows */
	uint32_t *handles;		/* accel_buffers by GEM handle */
	uint32_t handle_room;
	struct drm_copier *copiers;
};

struct drm_buffer {
	struct accel_buffer base;
	uint32_t handle;
	uint32_t npu;			/* the first that it lies on, if on any */
	bool foreign;
	uint64_t mmap_offset;
};

struct drm_queue {
	struct accel_queue base;
	uint32_t id;
};

struct drm_timeline {
	struct accel_timeline base;
	uint32_t handle;
};

/* drm.c */
int drm_fetch_one(int fd, uint32_t topic, uint64_t id, void *item, uint32_t size);

/* drm_ioctl.c: every call into the kernel driver; 0 or a negative errno */
int drm_kernel_check(int fd);
int drm_kernel_query(int fd, uint32_t topic, uint64_t id, void *data, uint32_t stride,
		     uint32_t *count);
int drm_kernel_bo_create(int fd, struct drm_npool_bo_create *arg);
int drm_kernel_bo_info(int fd, struct drm_npool_bo_info *arg);
int drm_kernel_bo_close(int fd, uint32_t handle);
int drm_kernel_export(int fd, uint32_t handle, int *prime);
int drm_kernel_import(int fd, int prime, uint32_t *handle);
int drm_kernel_queue_create(int fd, struct drm_npool_queue_create *arg);
int drm_kernel_queue_destroy(int fd, uint32_t queue);
int drm_kernel_submit(int fd, struct drm_npool_submit *arg);
int drm_kernel_wait(int fd, struct drm_npool_wait *arg);
int drm_kernel_set_quota(int fd, uint64_t bytes);
int drm_kernel_npu_ctl(int fd, struct drm_npool_npu_ctl *arg);
int drm_kernel_qos_ctl(int fd, uint32_t action, uint64_t client, uint64_t value);
int drm_kernel_sync_create(int fd, uint32_t *handle);
int drm_kernel_sync_destroy(int fd, uint32_t handle);
int drm_kernel_sync_export(int fd, uint32_t handle, int *obj);
int drm_kernel_sync_import(int fd, int obj, uint32_t *handle);
int drm_kernel_sync_signal(int fd, uint32_t handle, uint64_t point);
int drm_kernel_sync_wait(int fd, uint32_t handle, uint64_t point, int64_t deadline_ns);
int drm_kernel_sync_query(int fd, uint32_t handle, uint32_t flags, uint64_t *point);

/* drm_buffer.c */
int drm_buffer_create(struct accel_dev *dev, uint64_t size, const struct accel_where *where,
		      struct accel_buffer **buffer);
void drm_buffer_close(struct accel_buffer *buffer);
int drm_buffer_info(struct accel_buffer *buffer, struct accel_buffer_info *info, uint32_t *npus,
		    uint32_t room);
int drm_buffer_map(struct accel_buffer *buffer, uint32_t flags, void **ptr);
int drm_buffer_unmap(struct accel_dev *dev, void *ptr, uint64_t size);
int drm_buffer_export(struct accel_buffer *buffer, int *fd);
int drm_buffer_import(struct accel_dev *dev, int fd, struct accel_buffer **buffer);

/* drm_queue.c */
int drm_queue_create(struct accel_dev *dev, uint32_t npu, const struct accel_queue_qos *qos,
		     struct accel_queue **queue);
void drm_queue_destroy(struct accel_queue *queue);
int drm_queue_submit(struct accel_queue *queue, const struct accel_submit *submit,
		     const struct accel_submit_qos *qos, uint64_t *seqno,
		     struct accel_admission *admission);
int drm_queue_wait(struct accel_queue *queue, uint64_t seqno, int64_t deadline_ns,
		   struct accel_result *result);
int drm_copy(struct accel_buffer *dst, uint64_t dst_offset, struct accel_buffer *src,
	     uint64_t src_offset, uint64_t size, uint32_t flags);
void drm_copiers_drop(struct drm_dev *dev, uint32_t npu);

/* ANY_NPU - drm_copiers_drop() of all */
#define ANY_NPU UINT32_MAX

/* drm_qos.c */
int drm_qos_info(struct accel_dev *dev, struct accel_qos_info *info);
int drm_qos_set_policy(struct accel_dev *dev, uint32_t policy);
int drm_qos_set_slack(struct accel_dev *dev, uint64_t slack_ns);
int drm_qos_grant(struct accel_dev *dev, uint64_t client, uint64_t rate);
int drm_ports(struct accel_dev *dev, struct accel_port_info *ports, uint32_t *count);
int drm_class_stats(struct accel_dev *dev, struct accel_class_stats *stats, uint32_t *count);

/* drm_timeline.c */
int drm_timeline_create(struct accel_dev *dev, struct accel_timeline **timeline);
void drm_timeline_close(struct accel_timeline *timeline);
int drm_timeline_export(struct accel_timeline *timeline, int *fd);
int drm_timeline_import(struct accel_dev *dev, int fd, struct accel_timeline **timeline);
int drm_timeline_signal(struct accel_timeline *timeline, uint64_t value);
int drm_timeline_wait(struct accel_timeline *timeline, uint64_t value, int64_t deadline_ns);
int drm_timeline_query(struct accel_timeline *timeline, uint64_t *value);

/* drm_npu.c */
int drm_npu_any(struct drm_dev *dev, uint32_t *id);
int drm_npu_add(struct accel_dev *dev, const struct accel_npu_config *config, uint32_t *id);
int drm_npu_remove(struct accel_dev *dev, uint32_t id);
int drm_npu_inject(struct accel_dev *dev, uint32_t id, enum accel_fault fault, uint64_t arg);

#endif
