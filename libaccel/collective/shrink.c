// SPDX-License-Identifier: MIT
/*
 * Going into a new epoch together, at the start and whenever somebody came or went.
 *
 * 1. Each rank announces that it is done with its epoch. When all that live have,
 *    nobody stores into another's buffer any more.
 * 2. One of them, any, decides who is in the next.
 * 3. Each adopts that: maps newcomers' buffers, resets its cursors, says so. When all
 *    have, the first may send.
 * Who dies on the way is found dead by those who wait for it, and they do without: in
 * step 3 by beginning again.
 *
 * Before the first epoch, and where all members died, all ranks must be there.
 */
#include <unistd.h>

#include "door.h"

/* One look at what was decided last. */
struct sight {
	uint64_t decision;
	uint64_t epoch;
	struct ep_proposal members;
};

/* While it is read the next may be decided, and the one after written over it. */
static int look(const struct ep_board *board, struct sight *sight)
{
	int err;

	do {
		sight->decision = ep_ld(&board->decision);
		err = ep_board_members(board, sight->decision, &sight->members);
		if (err)
			return err;
	} while (ep_ld(&board->decision) != sight->decision);
	sight->epoch = ep_decision_epoch(sight->decision);
	return 0;
}

/* Ranks of a process sit down one by one; the lowest, whose door it is, says when all have. */
static bool joins(const struct accel_ep_group *group, uint32_t rank,
		  const struct ep_proposal *next)
{
	const struct ep_seat *seat = &group->board->seats[rank];
	uint32_t door = ep_ld(&seat->door);

	if (door == rank)
		return ep_ld(&seat->announced) == EP_ANY;
	return door < rank && next->life[door];
}

/* Who would be in the next epoch; true if that may be decided, else @missing are waited for. */
static bool ready(const struct accel_ep_group *group, const struct sight *now,
		  struct ep_proposal *next, struct ep_set *missing)
{
	struct ep_set late = { 0 };
	bool some_live = false;

	*next = (struct ep_proposal){ 0 };
	*missing = (struct ep_set){ 0 };
	for (uint32_t rank = 0; rank < group->shape.config.ranks; rank++) {
		const struct ep_seat *seat = &group->board->seats[rank];
		uint32_t life = ep_ld(&seat->life);

		if (life && life == now->members.life[rank]) {
			some_live = true;
			if (ep_ld(&seat->adopted) == now->epoch &&
			    ep_ld(&seat->announced) > now->epoch)
				next->life[rank] = life;
			else
				ep_set_add(missing, rank);
		} else if (life && joins(group, rank, next)) {
			next->life[rank] = life;
		} else {
			ep_set_add(&late, rank);
		}
	}
	if (!some_live)
		*missing = late;
	return ep_set_empty(missing);
}

static uint32_t newcomers(const struct ep_member *member)
{
	const struct accel_ep_group *group = member->ep.group;
	struct ep_proposal all = { 0 };
	uint32_t count = 0;

	for (uint32_t rank = 0; rank < group->shape.config.ranks; rank++) {
		uint32_t life = ep_ld(&group->board->seats[rank].life);

		if (life && life != member->lives.life[rank] && joins(group, rank, &all) &&
		    ep_board_ask(group->board, group->dev, rank)) {
			all.life[rank] = life;
			count++;
		}
	}
	return count;
}

uint32_t ep_joining(const struct accel_ep *ep)
{
	struct ep_member *member = (struct ep_member *)ep;
	uint32_t lives = ep_ld(&ep->group->board->lives);

	if (lives != member->calm) {
		member->joining = newcomers(member);
		if (!member->joining)
			member->calm = lives;
	}
	return member->joining;
}

/* By compare-and-swap: of all who saw the same, one decides, and its proposal stays as it is. */
static bool decide(const struct ep_member *lead, const struct sight *now,
		   const struct ep_proposal *next)
{
	struct ep_board *board = lead->ep.group->board;
	struct ep_proposal *own = &board->proposals[lead->ep.rank][(now->epoch + 1) % 2];
	uint64_t old = now->decision;

	for (uint32_t rank = 0; rank < ACCEL_EP_MAX_RANKS; rank++)
		ep_st(&own->life[rank], next->life[rank]);
	return __atomic_compare_exchange_n(&board->decision, &old,
					   ep_decision(now->epoch + 1, lead->ep.rank), false,
					   __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

static int map_fd(const struct accel_ep_group *group, int fd, char **map)
{
	struct accel_buffer_info info;
	struct accel_buffer *buffer;
	void *ptr;
	int err;

	err = accel_buffer_import(group->dev, fd, &buffer);
	if (err)
		return err;
	err = accel_buffer_info(buffer, &info, NULL, 0);
	if (!err && info.size != group->buffer_bytes)
		err = -EBADMSG;
	if (!err)
		err = accel_buffer_map(buffer, 0, &ptr);
	accel_buffer_close(buffer);
	if (!err)
		*map = ptr;
	return err;
}

/* Leaves NULL where the rank died. -EAGAIN where it lives and does not answer. */
static int fetch(const struct accel_ep_group *group, uint32_t rank, uint32_t life, char **map)
{
	const struct ep_seat *seat = &group->board->seats[rank];
	uint32_t door = ep_ld(&seat->door);
	int err, fd;

	if (door >= group->shape.config.ranks)
		return -EBADMSG;
	err = ep_door_buffer(group, door, rank, life, &fd);
	if (!err) {
		err = map_fd(group, fd, map);
		close(fd);
		return err;
	}
	ep_board_ask(group->board, group->dev, rank);
	if (!ep_board_lives(group->board, rank, life))
		return 0;
	if (err == -ECONNREFUSED)
		usleep(EP_RETRY_US);
	return err == -ECONNREFUSED ? -EAGAIN : err;
}

/* Group lock held. No rank here uses a buffer of the epoch before: all have announced. */
static int map_peers(struct accel_ep_group *group, const struct ep_proposal *members)
{
	for (uint32_t rank = 0; rank < group->shape.config.ranks; rank++) {
		struct ep_peer *peer = &group->peers[rank];
		uint32_t life = members->life[rank];
		int err;

		if (group->of_rank[rank] || peer->life == life)
			continue;
		if (peer->map)
			accel_buffer_unmap(group->dev, peer->map, group->buffer_bytes);
		*peer = (struct ep_peer){ 0 };
		if (!life)
			continue;
		err = fetch(group, rank, life, &peer->map);
		if (err)
			return err;
		if (peer->map)
			peer->life = life;
	}
	return 0;
}

static void announce(struct ep_member *member, uint64_t epoch)
{
	member->whole = false;
	member->announced = epoch;
	ep_st(&member->ep.group->board->seats[member->ep.rank].announced, epoch);
}

/* Group lock held. Now nobody stores here, so what was under way can be forgotten. */
static void adopt(struct ep_member *member, const struct sight *now)
{
	struct accel_ep *ep = &member->ep;
	struct ep_board *board = ep->group->board;

	member->lives = now->members;
	ep->alive = (struct ep_set){ 0 };
	for (uint32_t rank = 0; rank < ep->shape->config.ranks; rank++) {
		ep->peer[rank] = NULL;
		if (!now->members.life[rank])
			continue;
		ep_set_add(&ep->alive, rank);
		ep->peer[rank] = ep->group->peers[rank].map;
	}
	ep_route_make(ep);
	for (uint32_t lane = 0; lane < ACCEL_EP_LANES; lane++) {
		ep->lanes[lane].state = EP_IDLE;
		ep->lanes[lane].generation = 0;
		ep_st(ep_cursor(ep, ep->rank, lane), 0);
	}
	ep->epoch = now->epoch;
	announce(member, now->epoch);
	ep_st(&board->seats[ep->rank].adopted, now->epoch);
}

static int adopt_all(struct ep_member **members, uint32_t count, const struct sight *now)
{
	struct accel_ep_group *group = members[0]->ep.group;
	int err;

	for (uint32_t i = 0; i < count; i++)
		if (now->members.life[members[i]->ep.rank] != members[i]->life)
			return -EBADMSG;
	pthread_mutex_lock(&group->lock);
	err = map_peers(group, &now->members);
	for (uint32_t i = 0; !err && i < count; i++)
		adopt(members[i], now);
	pthread_mutex_unlock(&group->lock);
	return err;
}

/* Whether all have adopted the epoch; else @missing have not, or one that @died never will. */
static bool all_adopted(struct ep_member *member, struct ep_set *missing, bool *died)
{
	const struct accel_ep *ep = &member->ep;

	*died = false;
	*missing = (struct ep_set){ 0 };
	for (uint32_t rank = 0; rank < ep->shape->config.ranks; rank++) {
		if (!ep_set_has(&ep->alive, rank))
			continue;
		if (ep->peer[rank] &&
		    ep_ld(&ep->group->board->seats[rank].adopted) == ep->epoch)
			continue;
		ep_set_add(missing, rank);
		*died |= !ep->peer[rank] ||
			 !ep_board_lives(ep->group->board, rank, member->lives.life[rank]);
	}
	*died |= ep_wait_ask(member, missing);
	return ep_set_empty(missing);
}

/* True when it is over. */
static bool pass(struct ep_member **members, uint32_t count, bool first, struct ep_set *missing)
{
	struct ep_member *lead = members[0];
	bool died;

	if (all_adopted(lead, missing, &died)) {
		for (uint32_t i = 0; i < count; i++)
			members[i]->whole = true;
		/* Who comes last wakes those before. */
		if (first)
			ep_wake_all(lead->ep.group);
		return true;
	}
	if (died)
		ep_revoke(lead->ep.group, lead->ep.epoch);
	if (ep_revoked(&lead->ep))
		for (uint32_t i = 0; i < count; i++)
			announce(members[i], lead->ep.epoch + 1);
	return false;
}

/* 0 when these ranks are in, -EAGAIN when @missing are waited for, 1 to go on at once. */
static int step(struct ep_member **members, uint32_t count, struct ep_set *missing)
{
	struct ep_member *lead = members[0];
	const struct accel_ep_group *group = lead->ep.group;
	struct ep_proposal next;
	bool first = false;
	struct sight now;
	int err;

	err = look(group->board, &now);
	if (err)
		return err;
	if (now.epoch < lead->ep.epoch)
		return -EBADMSG;
	if (now.epoch > lead->ep.epoch && (lead->ep.epoch || now.members.life[lead->ep.rank] ==
							     lead->life)) {
		err = adopt_all(members, count, &now);
		if (err)
			return err;
		first = true;
	}
	if (lead->announced == lead->ep.epoch) {
		if (pass(members, count, first, missing))
			return 0;
		return lead->announced == lead->ep.epoch ? -EAGAIN : 1;
	}
	if (!ready(group, &now, &next, missing))
		return ep_wait_ask(lead, missing) ? 1 : -EAGAIN;
	if (decide(lead, &now, &next))
		ep_wake_all(group);
	return 1;
}

int ep_agree(struct ep_member **members, uint32_t count, int64_t timeout_ns)
{
	struct accel_ep *lead = &members[0]->ep;
	struct ep_set missing = { 0 };
	struct ep_wait wait;
	int err;

	ep_wait_begin(lead, &wait, timeout_ns);
	for (;;) {
		ep_wait_look(lead, &wait);
		err = step(members, count, &missing);
		if (err == -EAGAIN)
			err = ep_wait_nap(lead, &wait, &missing, 1);
		else if (!err)
			return 0;
		if (err < 0)
			return err;
	}
}

int accel_ep_shrink(struct accel_ep *ep, int64_t timeout_ns, uint8_t *alive)
{
	struct ep_member *member = ep_member(ep);
	int err;

	if (member->whole)
		announce(member, ep->epoch + 1);
	err = ep_agree(&member, 1, timeout_ns);
	if (err)
		return err;
	for (uint32_t rank = 0; alive && rank < ep->shape->config.ranks; rank++)
		alive[rank] = ep_set_has(&ep->alive, rank);
	return 0;
}
