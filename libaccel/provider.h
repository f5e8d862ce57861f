/* SPDX-License-Identifier: MIT */
/*
 * What a provider gives to the library. Everything above this table works on
 * any provider; a provider's objects begin with the structs below and are
 * otherwise its own.
 *
 * The callers in libaccel/ have checked what needs no provider: pointers, flags,
 * sizes that are zero, objects of one call belonging to one device.
 */
#ifndef LIBACCEL_PROVIDER_H
#define LIBACCEL_PROVIDER_H

#include <accel/accel.h>
#include <accel/buffer.h>
#include <accel/npu.h>
#include <accel/qos.h>

struct provider;

struct accel_dev {
	const struct provider *ops;
	uint64_t client;
	uint32_t max_ops, max_syncs;	/* in one submit */
	char uri[ACCEL_URI_MAX];
};

struct accel_buffer {
	struct accel_dev *dev;
	uint64_t size;
};

struct accel_queue {
	struct accel_dev *dev;
	uint32_t class_id;	/* set by the caller of queue_create */
};

struct accel_timeline {
	struct accel_dev *dev;
};

struct provider {
	const char *scheme;
	/* @rest: address without scheme, NULL to choose one; sets client, uri if it chose, limits */
	int (*open)(const char *rest, struct accel_dev **dev);
	void (*close)(struct accel_dev *dev);
	int (*pool_info)(struct accel_dev *dev, struct accel_pool_info *info);
	int (*npus)(struct accel_dev *dev, struct accel_npu_info *npus, uint32_t *count);
	int (*stats)(struct accel_dev *dev, struct accel_npu_stats *stats, uint32_t *count);
	int (*client_alive)(struct accel_dev *dev, uint64_t id);
	int (*quota)(struct accel_dev *dev, struct accel_quota *quota);
	int (*set_quota)(struct accel_dev *dev, uint64_t bytes);

	int (*npu_add)(struct accel_dev *dev, const struct accel_npu_config *config, uint32_t *id);
	int (*npu_remove)(struct accel_dev *dev, uint32_t id);
	int (*npu_inject)(struct accel_dev *dev, uint32_t id, enum accel_fault fault, uint64_t arg);

	int (*buffer_create)(struct accel_dev *dev, uint64_t size, const struct accel_where *where,
			     struct accel_buffer **buffer);
	void (*buffer_close)(struct accel_buffer *buffer);
	int (*buffer_info)(struct accel_buffer *buffer, struct accel_buffer_info *info,
			   uint32_t *npus, uint32_t room);
	int (*buffer_map)(struct accel_buffer *buffer, uint32_t flags, void **ptr);
	int (*buffer_unmap)(struct accel_dev *dev, void *ptr, uint64_t size);
	int (*buffer_export)(struct accel_buffer *buffer, int *fd);
	int (*buffer_import)(struct accel_dev *dev, int fd, struct accel_buffer **buffer);

	int (*qos_info)(struct accel_dev *dev, struct accel_qos_info *info);
	int (*qos_set_policy)(struct accel_dev *dev, uint32_t policy);
	int (*qos_set_slack)(struct accel_dev *dev, uint64_t slack_ns);
	int (*qos_grant)(struct accel_dev *dev, uint64_t client, uint64_t rate);
	int (*ports)(struct accel_dev *dev, struct accel_port_info *ports, uint32_t *count);
	int (*class_stats)(struct accel_dev *dev, struct accel_class_stats *stats, uint32_t *count);

	/* @qos: checked but for src and dst, its weight not 0 */
	int (*queue_create)(struct accel_dev *dev, uint32_t npu, const struct accel_queue_qos *qos,
			    struct accel_queue **queue);
	void (*queue_destroy)(struct accel_queue *queue);
	/* @qos: never NULL; @admission: never NULL, to be written on success and on refusal */
	int (*queue_submit)(struct accel_queue *queue, const struct accel_submit *submit,
			    const struct accel_submit_qos *qos, uint64_t *seqno,
			    struct accel_admission *admission);
	int (*queue_wait)(struct accel_queue *queue, uint64_t seqno, int64_t deadline_ns,
			  struct accel_result *result);
	int (*copy)(struct accel_buffer *dst, uint64_t dst_offset, struct accel_buffer *src,
		    uint64_t src_offset, uint64_t size, uint32_t flags);

	int (*timeline_create)(struct accel_dev *dev, struct accel_timeline **timeline);
	void (*timeline_close)(struct accel_timeline *timeline);
	int (*timeline_export)(struct accel_timeline *timeline, int *fd);
	int (*timeline_import)(struct accel_dev *dev, int fd, struct accel_timeline **timeline);
	int (*timeline_signal)(struct accel_timeline *timeline, uint64_t value);
	int (*timeline_wait)(struct accel_timeline *timeline, uint64_t value, int64_t deadline_ns);
	int (*timeline_query)(struct accel_timeline *timeline, uint64_t *value);
};

extern const struct provider accel_drm_provider;
extern const struct provider accel_soft_provider;

#endif
