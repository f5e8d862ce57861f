// SPDX-License-Identifier: MIT
/*
 * The soft provider's device: its address, opening and closing, what it tells,
 * and its table.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "soft_queue.h"

#define DEFAULT_NAME	"default"
#define DEFAULT_NPUS	4
#define DEFAULT_BYTES	(1ull << 30)

struct address {
	char name[SOFT_NAME_MAX + 1];
	uint32_t npus;
	uint64_t bytes;
};

/* A whole number with, if @suffix, K M G or T behind it, up to the end or an '&'. */
static int parse_number(const char **text, bool suffix, uint64_t *value)
{
	static const char units[] = "KMGT";
	const char *unit;
	char *end;

	if (!isdigit((unsigned char)**text))
		return -EINVAL;
	errno = 0;
	*value = strtoull(*text, &end, 10);
	if (errno)
		return -EINVAL;
	unit = *end ? strchr(units, *end) : NULL;
	if (suffix && unit) {
		unsigned int shift = 10 * (unit - units + 1);

		if (*value > UINT64_MAX >> shift)
			return -EINVAL;
		*value <<= shift;
		end++;
	}
	if (*end && *end != '&')
		return -EINVAL;
	*text = *end ? end + 1 : end;
	/* Nothing may follow an '&' but another option. */
	return *end && !*(end + 1) ? -EINVAL : 0;
}

static int parse_options(const char *text, struct address *address)
{
	uint64_t npus = address->npus;
	int err = *text ? 0 : -EINVAL;

	while (!err && *text) {
		if (!strncmp(text, "npus=", 5)) {
			text += 5;
			err = parse_number(&text, false, &npus);
		} else if (!strncmp(text, "size=", 5)) {
			text += 5;
			err = parse_number(&text, true, &address->bytes);
		} else {
			err = -EINVAL;
		}
	}
	if (err)
		return err;
	if (!npus || npus > SOFT_NPUS || !address->bytes || address->bytes % SOFT_MIN_ALLOC ||
	    address->bytes > INT64_MAX / SOFT_NPUS)
		return -EINVAL;
	address->npus = npus;
	return 0;
}

static int parse(const char *rest, struct address *address)
{
	size_t len = strcspn(rest, "?");

	*address = (struct address){ .npus = DEFAULT_NPUS, .bytes = DEFAULT_BYTES };
	if (!len || len > SOFT_NAME_MAX || !isalnum((unsigned char)rest[0]))
		return -EINVAL;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)rest[i]) && !strchr("._-", rest[i]))
			return -EINVAL;
	memcpy(address->name, rest, len);
	return rest[len] ? parse_options(rest + len + 1, address) : 0;
}

static int init(struct soft_dev *dev)
{
	int err;

	err = pthread_mutex_init(&dev->lock, NULL);
	if (err)
		return -err;
	dev->void_fd = memfd_create("npool-void", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (dev->void_fd < 0) {
		err = -errno;
		goto out_mutex;
	}
	if (fcntl(dev->void_fd, F_ADD_SEALS, F_SEAL_GROW)) {
		err = -errno;
		goto out_void;
	}
	return 0;

out_void:
	close(dev->void_fd);
out_mutex:
	pthread_mutex_destroy(&dev->lock);
	return err;
}

static void destroy(struct soft_dev *dev)
{
	close(dev->void_fd);
	pthread_mutex_destroy(&dev->lock);
	free(dev);
}

/* The end of a device whose service thread is done, or is the caller. */
void soft_free(struct soft_dev *dev)
{
	soft_leave(dev);
	destroy(dev);
}

static int soft_open(const char *rest, struct accel_dev **dev)
{
	struct address address;
	struct soft_dev *new;
	int err;

	err = parse(rest ? rest : DEFAULT_NAME, &address);
	if (err)
		return err;
	new = calloc(1, sizeof(*new));
	if (!new)
		return -ENOMEM;
	err = init(new);
	if (err) {
		free(new);
		return err;
	}
	strcpy(new->name, address.name);
	new->base.max_ops = SOFT_MAX_OPS;
	new->base.max_syncs = SOFT_MAX_SYNCS;
	err = soft_join(new, address.npus, address.bytes);
	if (err)
		goto out_destroy;
	err = soft_serve(new);
	if (err)
		goto out_leave;
	snprintf(new->base.uri, sizeof(new->base.uri), "soft:%s", new->name);
	*dev = &new->base;
	return 0;

out_leave:
	soft_leave(new);
out_destroy:
	destroy(new);
	return err;
}

/*
 * What mappings and descriptors outlive their device stay on the books: the
 * service thread stays behind for them, under another client's number, and
 * closes up when the last is gone.
 */
static void soft_close(struct accel_dev *base)
{
	struct soft_dev *dev = (struct soft_dev *)base;

	soft_map_linger(dev);
	soft_settle_own(dev);
	soft_renumber(dev);
	if (soft_stay_behind(dev))
		return;
	soft_stop_serving(dev);
	soft_free(dev);
}

static int soft_pool_info(struct accel_dev *base, struct accel_pool_info *info)
{
	struct soft_dev *dev = (struct soft_dev *)base;

	soft_settle(dev);
	*info = (struct accel_pool_info) {
		.min_alloc = SOFT_MIN_ALLOC,
		.max_npus = SOFT_NPUS,
		.max_ops = SOFT_MAX_OPS,
		.max_segs = SOFT_MAX_SEGS,
		.max_syncs = SOFT_MAX_SYNCS,
		.max_queues = SOFT_MAX_QUEUES,
		.queue_depth = SOFT_QUEUE_DEPTH,
	};
	soft_lock(dev);
	info->generation = atomic_load(&dev->control->generation);
	for (uint32_t i = 0; i < SOFT_NPUS; i++) {
		const struct soft_npu *npu = &dev->control->npus[i];
		uint32_t state = atomic_load(&npu->state);

		info->npu_count += state != SOFT_NPU_FREE;
		if (state != SOFT_NPU_ONLINE)
			continue;
		info->bytes_total += npu->bytes;
		info->bytes_free += soft_npu_free(npu);
	}
	soft_unlock(dev);
	return 0;
}

/* Slots of the members in the order of their ids. Control lock held. */
uint32_t soft_members(const struct soft_control *control, const struct soft_npu **sorted)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < SOFT_NPUS; i++) {
		const struct soft_npu *npu = &control->npus[i];
		uint32_t at = count;

		if (atomic_load(&npu->state) == SOFT_NPU_FREE)
			continue;
		for (; at && sorted[at - 1]->id > npu->id; at--)
			sorted[at] = sorted[at - 1];
		sorted[at] = npu;
		count++;
	}
	return count;
}

static void fill_info(const struct soft_npu *npu, struct accel_npu_info *info)
{
	bool online = atomic_load(&npu->state) == SOFT_NPU_ONLINE;

	*info = (struct accel_npu_info) {
		.id = npu->id,
		.state = online ? ACCEL_NPU_ONLINE : ACCEL_NPU_DEAD,
		.bytes_total = npu->bytes,
		.bytes_free = online ? soft_npu_free(npu) : 0,
		.bandwidth = npu->bandwidth,
		.latency_ns = npu->latency_ns,
		.backend = "soft",
	};
	memcpy(info->name, npu->name, sizeof(info->name) - 1);
}

static int soft_npus(struct accel_dev *base, struct accel_npu_info *npus, uint32_t *count)
{
	struct soft_dev *dev = (struct soft_dev *)base;
	const struct soft_npu *sorted[SOFT_NPUS];
	uint32_t found;

	soft_settle(dev);
	soft_lock(dev);
	found = soft_members(dev->control, sorted);
	for (uint32_t i = 0; npus && i < found && i < *count; i++)
		fill_info(sorted[i], &npus[i]);
	soft_unlock(dev);
	*count = found;
	return 0;
}

static void fill_stats(const struct soft_npu *npu, struct accel_npu_stats *stats)
{
	const struct soft_counters *counters = &npu->counters;

	*stats = (struct accel_npu_stats) {
		.id = npu->id,
		.jobs_submitted = atomic_load(&counters->submitted),
		.jobs_done = atomic_load(&counters->done),
		.jobs_failed = atomic_load(&counters->failed),
		.bytes_copied = atomic_load(&counters->copied),
		.bytes_filled = atomic_load(&counters->filled),
		.bytes_cleared = atomic_load(&counters->cleared),
		.busy_ns = atomic_load(&counters->busy_ns),
		.queue_ns = atomic_load(&counters->queue_ns),
	};
}

static int soft_stats(struct accel_dev *base, struct accel_npu_stats *stats, uint32_t *count)
{
	struct soft_dev *dev = (struct soft_dev *)base;
	const struct soft_npu *sorted[SOFT_NPUS];
	uint32_t found;

	soft_lock(dev);
	found = soft_members(dev->control, sorted);
	for (uint32_t i = 0; stats && i < found && i < *count; i++)
		fill_stats(sorted[i], &stats[i]);
	soft_unlock(dev);
	*count = found;
	return 0;
}

static int soft_client_alive(struct accel_dev *base, uint64_t id)
{
	return soft_alive((struct soft_dev *)base, id);
}

static int soft_quota(struct accel_dev *base, struct accel_quota *quota)
{
	struct soft_dev *dev = (struct soft_dev *)base;
	const struct soft_client *client = &dev->control->clients[dev->slot];

	soft_settle(dev);
	soft_lock(dev);
	quota->limit = client->quota;
	quota->used = client->used;
	soft_unlock(dev);
	return 0;
}

/* The pool's user is its administrator: raising is allowed. */
static int soft_set_quota(struct accel_dev *base, uint64_t bytes)
{
	struct soft_dev *dev = (struct soft_dev *)base;

	soft_lock(dev);
	dev->control->clients[dev->slot].quota = bytes;
	soft_unlock(dev);
	return 0;
}

const struct provider accel_soft_provider = {
	.scheme = "soft",
	.open = soft_open,
	.close = soft_close,
	.pool_info = soft_pool_info,
	.npus = soft_npus,
	.stats = soft_stats,
	.client_alive = soft_client_alive,
	.quota = soft_quota,
	.set_quota = soft_set_quota,
	.npu_add = soft_npu_add,
	.npu_remove = soft_npu_remove,
	.npu_inject = soft_npu_inject,
	.qos_info = soft_qos_info,
	.qos_set_policy = soft_qos_set_policy,
	.qos_set_slack = soft_qos_set_slack,
	.qos_grant = soft_qos_grant,
	.ports = soft_ports,
	.class_stats = soft_class_stats,
	.buffer_create = soft_buffer_create,
	.buffer_close = soft_buffer_close,
	.buffer_info = soft_buffer_info,
	.buffer_map = soft_buffer_map,
	.buffer_unmap = soft_buffer_unmap,
	.buffer_export = soft_buffer_export,
	.buffer_import = soft_buffer_import,
	.queue_create = soft_queue_create,
	.queue_destroy = soft_queue_destroy,
	.queue_submit = soft_queue_submit,
	.queue_wait = soft_queue_wait,
	.copy = soft_copy,
	.timeline_create = soft_timeline_create,
	.timeline_close = soft_timeline_close,
	.timeline_export = soft_timeline_export,
	.timeline_import = soft_timeline_import,
	.timeline_signal = soft_timeline_signal,
	.timeline_wait = soft_timeline_wait,
	.timeline_query = soft_timeline_query,
};
