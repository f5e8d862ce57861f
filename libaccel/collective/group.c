// SPDX-License-Identifier: MIT
/*
 * Groups: joining, leaving, and what a rank can tell about its group.
 */
#include <stdlib.h>
#include <unistd.h>

#include "group.h"

static int check(const char *name, const struct accel_ep_config *config, const uint32_t *ranks,
		 uint32_t count)
{
	struct ep_set seen = { 0 };

	if (!name[0] || strnlen(name, ACCEL_EP_NAME_LEN) == ACCEL_EP_NAME_LEN || !count)
		return -EINVAL;
	for (uint32_t i = 0; i < count; i++) {
		if (ranks[i] >= config->ranks || ep_set_has(&seen, ranks[i]))
			return -EINVAL;
		ep_set_add(&seen, ranks[i]);
	}
	return 0;
}

static void free_member(struct ep_member *member)
{
	struct accel_ep *ep = &member->ep;

	for (uint32_t lane = 0; lane < ACCEL_EP_LANES; lane++) {
		ep_plan_free(ep->lanes[lane].plan);
		ep_recv_free(ep, ep->lanes[lane].recv);
		ep_back_free(ep->lanes[lane].back);
	}
	ep_table_free(ep->table);
	ep_route_free(ep->route);
	accel_buffer_close(member->buffer);
	free(ep->loads);
	free(ep->peer);
	free(member);
}

static int make_buffer(struct accel_ep_group *group, struct ep_member *member)
{
	const struct accel_where where = {
		.placement = ACCEL_PLACE_NPU, .npu_count = 1, .npus = &member->ep.npu,
	};
	void *map;
	int err;

	err = accel_buffer_create(group->dev, group->buffer_bytes, &where, &member->buffer);
	if (err)
		return err;
	err = accel_buffer_map(member->buffer, 0, &map);
	if (!err)
		group->peers[member->ep.rank].map = map;
	return err;
}

static int make_member(struct accel_ep_group *group, uint32_t rank, uint32_t npu)
{
	const struct accel_ep_config *config = &group->shape.config;
	struct ep_member *member = calloc(1, sizeof(*member));
	int err = -ENOMEM;

	if (!member)
		return err;
	member->ep = (struct accel_ep) {
		.group = group, .shape = &group->shape, .rank = rank, .npu = npu,
		.peer = calloc(config->ranks, sizeof(*member->ep.peer)),
		.loads = calloc(config->experts + config->shared, sizeof(*member->ep.loads)),
	};
	member->announced = EP_ANY;
	if (!member->ep.peer || !member->ep.loads)
		goto out_free;
	err = make_buffer(group, member);
	if (!err)
		err = ep_table_init(&member->ep);
	if (!err)
		err = ep_route_alloc(&member->ep);
	if (err)
		goto out_free;
	group->members[group->count++] = member;
	group->of_rank[rank] = member;
	return 0;

out_free:
	free_member(member);
	return err;
}

/* What make() made, as far as it got. */
static void destroy(struct accel_ep_group *group)
{
	for (uint32_t rank = 0; rank < group->shape.config.ranks; rank++)
		if (group->peers && group->peers[rank].map)
			accel_buffer_unmap(group->dev, group->peers[rank].map,
					   group->buffer_bytes);
	for (uint32_t i = 0; i < group->count; i++)
		free_member(group->members[i]);
	pthread_mutex_destroy(&group->lock);
	free(group->peers);
	free(group->of_rank);
	free(group->members);
	free(group);
}

static int size_buffer(struct accel_ep_group *group)
{
	struct accel_pool_info info;
	int err = accel_pool_info(group->dev, &info);

	if (err)
		return err;
	group->buffer_bytes = (group->shape.bytes + info.min_alloc - 1) & -info.min_alloc;
	return 0;
}

static int make(struct accel_dev *dev, const char *name, const struct ep_shape *shape,
		const uint32_t *ranks, const uint32_t *npus, uint32_t count,
		struct accel_ep_group **out)
{
	struct accel_ep_group *group = calloc(1, sizeof(*group));
	int err = -ENOMEM;

	if (!group)
		return err;
	group->dev = dev;
	group->shape = *shape;
	group->spins = ep_wait_spins(shape->config.ranks);
	strcpy(group->name, name);
	pthread_mutex_init(&group->lock, NULL);
	group->members = calloc(count, sizeof(*group->members));
	group->of_rank = calloc(shape->config.ranks, sizeof(*group->of_rank));
	group->peers = calloc(shape->config.ranks, sizeof(*group->peers));
	if (!group->members || !group->of_rank || !group->peers)
		goto out_destroy;
	err = size_buffer(group);
	for (uint32_t i = 0; !err && i < count; i++)
		err = make_member(group, ranks[i], npus[i]);
	if (err)
		goto out_destroy;
	*out = group;
	return 0;

out_destroy:
	destroy(group);
	return err;
}

static uint32_t lowest(const uint32_t *ranks, uint32_t count)
{
	uint32_t low = ranks[0];

	for (uint32_t i = 1; i < count; i++)
		if (ranks[i] < low)
			low = ranks[i];
	return low;
}

/* Join lock held. */
static int find_board(struct accel_ep_group *group, int64_t deadline)
{
	int err;

	err = ep_door_board(group, deadline, &group->board_fd);
	if (err == -ENOENT)
		err = ep_board_create(&group->shape.config, &group->board_fd);
	if (err)
		return err;
	err = ep_board_map(group->board_fd, &group->shape.config, &group->board);
	if (err)
		close(group->board_fd);
	return err;
}

static void leave_seats(struct accel_ep_group *group)
{
	for (uint32_t i = 0; i < group->count; i++)
		ep_board_clear(group->board, group->members[i]->ep.rank,
			       group->members[i]->life);
}

/* Join lock held. */
static int take_seats(struct accel_ep_group *group, const uint32_t *ranks, int64_t deadline)
{
	uint32_t lives[ACCEL_EP_MAX_RANKS];
	uint32_t door = lowest(ranks, group->count);
	int err;

	for (uint32_t i = 0; i < group->count; i++)
		if (ep_board_ask(group->board, group->dev, ranks[i]))
			return -EEXIST;
	err = ep_door_open(group, door, deadline);
	if (err)
		return err;
	ep_board_take(group->board, group->dev, ranks, group->count, door, lives);
	for (uint32_t i = 0; i < group->count; i++) {
		group->members[i]->life = lives[i];
		group->peers[ranks[i]].life = lives[i];
	}
	err = ep_keeper_start(group);
	if (err) {
		leave_seats(group);
		close(group->listen_fd);
	}
	return err;
}

static int sit_down(struct accel_ep_group *group, const uint32_t *ranks, int64_t deadline)
{
	int err, lock_fd;

	err = ep_door_lock(group, deadline, &lock_fd);
	if (err)
		return err;
	err = find_board(group, deadline);
	if (err)
		goto out_unlock;
	err = take_seats(group, ranks, deadline);
	if (err) {
		ep_board_unmap(group->board);
		close(group->board_fd);
	}
out_unlock:
	close(lock_fd);
	return err;
}

/* The seats first: who finds the door shut must see why. */
static void get_up(struct accel_ep_group *group)
{
	uint64_t epoch = 0;

	leave_seats(group);
	for (uint32_t i = 0; i < group->count; i++)
		if (group->members[i]->ep.epoch > epoch)
			epoch = group->members[i]->ep.epoch;
	ep_revoke(group, epoch);
	ep_keeper_stop(group);
	close(group->listen_fd);
	ep_board_unmap(group->board);
	close(group->board_fd);
}

int accel_ep_join(struct accel_dev *dev, const char *name, const struct accel_ep_config *config,
		  const uint32_t *ranks, const uint32_t *npus, uint32_t count, int64_t timeout_ns,
		  struct accel_ep_group **out)
{
	int64_t deadline = clock_deadline(timeout_ns);
	struct accel_ep_group *group;
	struct ep_shape shape;
	int err;

	if (!dev || !name || !config || !ranks || !npus || !out)
		return -EINVAL;
	err = ep_shape(config, &shape);
	if (!err)
		err = check(name, config, ranks, count);
	if (!err)
		err = make(dev, name, &shape, ranks, npus, count, &group);
	if (err)
		return err;
	err = sit_down(group, ranks, deadline);
	if (err)
		goto out_destroy;
	err = ep_agree(group->members, count, deadline - clock_now());
	if (err)
		goto out_get_up;
	*out = group;
	return 0;

out_get_up:
	get_up(group);
out_destroy:
	destroy(group);
	return err;
}

void accel_ep_leave(struct accel_ep_group *group)
{
	if (!group)
		return;
	get_up(group);
	destroy(group);
}

struct accel_ep *accel_ep_rank(struct accel_ep_group *group, uint32_t rank)
{
	if (!group || rank >= group->shape.config.ranks || !group->of_rank[rank])
		return NULL;
	return &group->of_rank[rank]->ep;
}

struct accel_buffer *ep_buffer(const struct accel_ep *ep)
{
	return ((const struct ep_member *)ep)->buffer;
}

void accel_ep_info(const struct accel_ep *ep, struct accel_ep_info *info)
{
	*info = (struct accel_ep_info) {
		.config = ep->shape->config,
		.rank = ep->rank,
		.epoch = ep->epoch,
		.buffer_bytes = ep->group->buffer_bytes,
		.output_bytes = ep_output_bytes(ep),
		.room_rows = ep->shape->room,
		.alive = ep_set_count(&ep->alive),
		.joining = ep_joining(ep),
	};
}

void accel_ep_members(const struct accel_ep *ep, uint8_t *alive)
{
	for (uint32_t rank = 0; rank < ep->shape->config.ranks; rank++)
		alive[rank] = ep_set_has(&ep->alive, rank);
}

void accel_ep_absent(const struct accel_ep *ep, uint32_t *ranks, uint32_t *count)
{
	uint32_t room = *count, found = 0;

	for (uint32_t rank = 0; rank < ep->shape->config.ranks; rank++) {
		if (!ep_set_has(&ep->absent, rank))
			continue;
		if (ranks && found < room)
			ranks[found] = rank;
		found++;
	}
	*count = found;
}
