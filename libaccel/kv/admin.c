// SPDX-License-Identifier: MIT
/*
 * Namespaces as a whole: create, open, export, close.
 *
 * The shape that another process wrote is copied once, checked, and computed
 * again from its few free numbers; from then on only the copy counts.
 */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "internal.h"

static uint64_t page_up(uint64_t bytes)
{
	return (bytes + KV_PAGE - 1) & ~(KV_PAGE - 1);
}

static uint64_t digest(const struct kv_shape *shape)
{
	return XXH3_64bits(shape, offsetof(struct kv_shape, digest));
}

static int check_config(const struct accel_kv_config *config)
{
	if (!config->block_bytes || config->block_bytes % KV_BLOCK_ALIGN || !config->capacity ||
	    config->capacity > KV_CAPACITY_MAX ||
	    config->block_bytes > KV_BYTES_MAX / config->capacity)
		return -EINVAL;
	if (config->lease_ns > KV_LEASE_MAX_NS || config->flags & ~ACCEL_KV_CHECKSUM ||
	    !memchr(config->model, 0, sizeof(config->model)))
		return -EINVAL;
	return 0;
}

static void plan(const struct accel_kv_config *config, struct kv_shape *shape)
{
	uint64_t capacity = config->capacity;

	memset(shape, 0, sizeof(*shape));
	shape->magic = KV_MAGIC;
	shape->version = KV_VERSION;
	shape->flags = config->flags;
	shape->block_bytes = config->block_bytes;
	shape->capacity = capacity;
	shape->salt = config->salt;
	shape->lease_ns = config->lease_ns ? config->lease_ns : KV_LEASE_NS;
	strcpy(shape->model, config->model);
	shape->buckets = capacity / KV_BLOCKS_PER_BUCKET + KV_BUCKETS_MIN;
	shape->sessions_at = KV_PAGE;
	shape->index_at = page_up(shape->sessions_at + KV_SESSIONS * sizeof(struct kv_session));
	shape->meta_at = page_up(shape->index_at + shape->buckets * sizeof(struct kv_bucket));
	shape->heap_at = page_up(shape->meta_at + capacity * sizeof(struct kv_meta));
	shape->blocks_at = page_up(shape->heap_at + capacity * sizeof(struct kv_leaf));
	shape->end = page_up(shape->blocks_at + capacity * shape->block_bytes);
	shape->digest = digest(shape);
}

static void config_of(const struct kv_shape *shape, struct accel_kv_config *config)
{
	memset(config, 0, sizeof(*config));
	config->block_bytes = shape->block_bytes;
	config->capacity = shape->capacity;
	config->salt = shape->salt;
	config->lease_ns = shape->lease_ns;
	config->flags = shape->flags;
	memcpy(config->model, shape->model, sizeof(config->model));
}

/* Whether a shape read from shared memory is one that plan() makes, and fits. */
static bool shape_good(const struct kv_shape *shape, uint64_t bytes)
{
	struct accel_kv_config config;
	struct kv_shape right;

	config_of(shape, &config);
	if (check_config(&config))
		return false;
	plan(&config, &right);
	return !memcmp(shape, &right, sizeof(right)) && right.end <= bytes;
}

static struct accel_kv *handle_new(struct accel_dev *dev)
{
	struct accel_kv *kv = calloc(1, sizeof(*kv));

	if (!kv)
		return NULL;
	kv->dev = dev;
	kv->client = accel_client_id(dev);
	pthread_mutex_init(&kv->mutex, NULL);
	return kv;
}

static void handle_free(struct accel_kv *kv)
{
	pthread_mutex_destroy(&kv->mutex);
	free(kv);
}

static int map(struct accel_kv *kv)
{
	struct accel_buffer_info info;
	int err;

	err = accel_buffer_info(kv->buffer, &info, NULL, 0);
	if (err)
		return err;
	kv->map_bytes = info.size;
	return accel_buffer_map(kv->buffer, 0, &kv->map);
}

static void place(struct accel_kv *kv)
{
	char *base = kv->map;

	kv->head = kv->map;
	kv->sessions = (struct kv_session *)(base + kv->shape.sessions_at);
	kv->index = (struct kv_bucket *)(base + kv->shape.index_at);
	kv->metas = (struct kv_meta *)(base + kv->shape.meta_at);
	kv->heap = (struct kv_leaf *)(base + kv->shape.heap_at);
	kv->blocks = base + kv->shape.blocks_at;
	kv_key_root(kv);
}

/* Before the slot is taken, so that no taken one is overlooked. */
static void session_reach(struct accel_kv *kv, uint32_t session)
{
	uint64_t *sessions = &kv->head->sessions, seen = ld(sessions);

	while (seen <= session && !cas(sessions, seen, session + 1))
		seen = ld(sessions);
}

/* One compare and swap takes the slot and names its owner, dead or alive from then on. */
static bool session_take(struct accel_kv *kv, bool of_dead)
{
	for (uint32_t i = 0; i < KV_SESSIONS; i++) {
		uint64_t client = ld(&kv->sessions[i].client);

		if (client && (!of_dead || kv_session_lives(kv, i)))
			continue;
		session_reach(kv, i);
		if (!cas(&kv->sessions[i].client, client, kv->client))
			continue;
		kv->session = i;
		return true;
	}
	return false;
}

static int session_start(struct accel_kv *kv)
{
	struct kv_session *me;
	int err;

	if (!session_take(kv, false) && !session_take(kv, true))
		return -EUSERS;
	me = &kv->sessions[kv->session];
	st(&me->epoch, ld(&me->epoch) + 1);
	kv->owner = kv_owner(kv->session, ld(&me->epoch));
	err = kv_lock(kv);
	if (err) {
		st(&me->client, 0);
		return err;
	}
	/* All: also what a dead session in this same slot has left. */
	kv_reap(kv, ld(&kv->head->reserved));
	kv_unlock(kv);
	return 0;
}

static void format(struct accel_kv *kv)
{
	st(&kv->head->free_head, KV_NIL);
	st(&kv->head->wait_head, KV_NIL);
	kv->head->shape = kv->shape;
}

/* What the namespace in the buffer says of itself, which somebody else may have written. */
static int take_shape(struct accel_kv *kv)
{
	if (kv->map_bytes < KV_PAGE)
		return -EPROTO;
	memcpy(&kv->shape, kv->map, sizeof(kv->shape));
	return shape_good(&kv->shape, kv->map_bytes) ? 0 : -EPROTO;
}

/* Joins the namespace in the handle's buffer, a new one with its shape. Undoes the handle if not. */
static int start(struct accel_kv *kv, bool new, struct accel_kv **out)
{
	int err;

	err = map(kv);
	if (err)
		goto close_buffer;
	if (!new)
		err = take_shape(kv);
	if (err)
		goto unmap;
	place(kv);
	if (new)
		format(kv);
	err = session_start(kv);
	if (err)
		goto unmap;
	*out = kv;
	return 0;

unmap:
	accel_buffer_unmap(kv->dev, kv->map, kv->map_bytes);
close_buffer:
	accel_buffer_close(kv->buffer);
	handle_free(kv);
	return err;
}

int accel_kv_create(struct accel_dev *dev, const struct accel_kv_config *config,
		    const struct accel_where *where, struct accel_kv **out)
{
	struct accel_pool_info pool;
	struct accel_kv *kv;
	uint64_t bytes;
	int err;

	if (!dev || !config || !out || check_config(config))
		return -EINVAL;
	err = accel_pool_info(dev, &pool);
	if (err)
		return err;
	kv = handle_new(dev);
	if (!kv)
		return -ENOMEM;
	plan(config, &kv->shape);
	bytes = (kv->shape.end + pool.min_alloc - 1) / pool.min_alloc * pool.min_alloc;
	err = accel_buffer_create(dev, bytes, where, &kv->buffer);
	if (err) {
		handle_free(kv);
		return err;
	}
	return start(kv, true, out);
}

int accel_kv_open(struct accel_dev *dev, int fd, struct accel_kv **out)
{
	struct accel_kv *kv;
	int err;

	if (!dev || !out)
		return -EINVAL;
	kv = handle_new(dev);
	if (!kv)
		return -ENOMEM;
	err = accel_buffer_import(dev, fd, &kv->buffer);
	if (err) {
		handle_free(kv);
		return err;
	}
	return start(kv, false, out);
}

int accel_kv_export(struct accel_kv *kv, int *fd)
{
	return accel_buffer_export(kv->buffer, fd);
}

/* Without the lock (its owner is stopped) only the slot is given up: the next reap sees to it. */
static void session_stop(struct accel_kv *kv)
{
	struct kv_session *me = &kv->sessions[kv->session];

	if (kv_lock(kv)) {
		st(&me->client, 0);
		return;
	}
	kv_session_end(kv, kv->session);
	if (ld(&kv->reservations))
		kv_reap(kv, true);
	kv_unlock(kv);
}

void accel_kv_close(struct accel_kv *kv)
{
	if (!kv)
		return;
	session_stop(kv);
	accel_buffer_unmap(kv->dev, kv->map, kv->map_bytes);
	accel_buffer_close(kv->buffer);
	handle_free(kv);
}

void accel_kv_config(const struct accel_kv *kv, struct accel_kv_config *config)
{
	config_of(&kv->shape, config);
}
