// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reservations: what a queue of class control or latency has ahead of others at
 * ports, from its making to its end. One that holds at whichever NPU is read
 * from, or written to, is kept at all members, those that come later too.
 */
#include <linux/capability.h>

#include "npool.h"

static int charge(struct npool_client *client, u64 rate)
{
	bool may = capable(CAP_SYS_ADMIN);
	int ret = 0;

	spin_lock(&client->lock);
	if (!may && (rate > client->granted || client->reserved > client->granted - rate))
		ret = -EPERM;
	else
		client->reserved += rate;
	spin_unlock(&client->lock);
	return ret;
}

static void uncharge(struct npool_client *client, u64 rate)
{
	spin_lock(&client->lock);
	client->reserved -= rate;
	spin_unlock(&client->lock);
}

static int take_port(struct npool_queue *queue, struct npool_npu *npu, u32 side)
{
	struct npool_device *pool = npu->pool;
	u32 reason;

	spin_lock_irq(&pool->qos_lock);
	reason = qos_reserve(&pool->ports, npool_port(npu->slot, side), qos_rate(&queue->params),
			     queue->params.budget, ktime_get_ns());
	spin_unlock_irq(&pool->qos_lock);
	return reason ? -EBUSY : 0;
}

static void drop_port(struct npool_queue *queue, struct npool_npu *npu, u32 side)
{
	struct npool_device *pool = npu->pool;

	spin_lock_irq(&pool->qos_lock);
	qos_unreserve(&pool->ports, npool_port(npu->slot, side), qos_rate(&queue->params),
		      queue->params.budget, ktime_get_ns());
	spin_unlock_irq(&pool->qos_lock);
}

/* At all members, those before @end if it is not NULL; dead ones are listed like others. */
static void drop_ports(struct npool_queue *queue, u32 side, const struct npool_npu *end)
{
	struct npool_device *pool = queue->client->pool;
	struct npool_npu *npu;
	unsigned long id;

	lockdep_assert_held(&pool->lock);
	xa_for_each(&pool->npus, id, npu) {
		if (npu == end)
			return;
		drop_port(queue, npu, side);
	}
}

static int take_ports(struct npool_queue *queue, u32 side)
{
	struct npool_device *pool = queue->client->pool;
	struct npool_npu *npu;
	unsigned long id;
	int ret;

	lockdep_assert_held(&pool->lock);
	xa_for_each(&pool->npus, id, npu) {
		ret = take_port(queue, npu, side);
		if (ret) {
			drop_ports(queue, side, npu);
			return ret;
		}
	}
	pool->any[side].rate += qos_rate(&queue->params);
	pool->any[side].burst += queue->params.budget;
	return 0;
}

static int take(struct npool_queue *queue, u32 side)
{
	if (queue->side[side])
		return take_port(queue, queue->side[side], side);
	return take_ports(queue, side);
}

static void drop(struct npool_queue *queue, u32 side)
{
	struct npool_device *pool = queue->client->pool;

	if (queue->side[side]) {
		drop_port(queue, queue->side[side], side);
		return;
	}
	drop_ports(queue, side, NULL);
	pool->any[side].rate -= qos_rate(&queue->params);
	pool->any[side].burst -= queue->params.budget;
}

static int take_both(struct npool_queue *queue)
{
	struct npool_device *pool = queue->client->pool;
	int ret;

	mutex_lock(&pool->lock);
	ret = take(queue, 0);
	if (!ret) {
		ret = take(queue, 1);
		if (ret)
			drop(queue, 0);
	}
	mutex_unlock(&pool->lock);
	return ret;
}

static int use_side(struct npool_queue *queue, u32 side, u32 id)
{
	struct npool_npu *npu = npool_npu_use(queue->client->pool, id);

	if (IS_ERR(npu))
		return PTR_ERR(npu);
	queue->side[side] = npu;
	return 0;
}

static void unuse_sides(struct npool_queue *queue)
{
	u32 side;

	for (side = 0; side < 2; side++)
		if (queue->side[side])
			npool_npu_unuse(queue->side[side]);
}

/** npool_reserve() - make the reservation of a new queue */
int npool_reserve(struct npool_queue *queue, const struct drm_npool_queue_create *args)
{
	u64 rate = qos_rate(&queue->params);
	int ret = 0;

	if (!rate)
		return 0;
	ret = charge(queue->client, rate);
	if (ret)
		return ret;
	if (args->flags & DRM_NPOOL_QUEUE_SRC)
		ret = use_side(queue, 0, args->src);
	if (!ret && args->flags & DRM_NPOOL_QUEUE_DST)
		ret = use_side(queue, 1, args->dst);
	if (!ret)
		ret = take_both(queue);
	queue->reserved = !ret;
	if (ret)
		uncharge(queue->client, rate);
	return ret;
}

/** npool_unreserve() - give back what npool_reserve() took, all or part of it; may sleep */
void npool_unreserve(struct npool_queue *queue)
{
	struct npool_device *pool = queue->client->pool;

	if (queue->reserved) {
		mutex_lock(&pool->lock);
		drop(queue, 0);
		drop(queue, 1);
		mutex_unlock(&pool->lock);
		uncharge(queue->client, qos_rate(&queue->params));
	}
	queue->reserved = false;
	unuse_sides(queue);
}

/** npool_covered() - whether a queue's reservation holds between two ports */
bool npool_covered(const struct npool_queue *queue, const struct npool_span *span)
{
	u32 side;

	for (side = 0; side < 2; side++) {
		const struct npool_npu *npu = queue->side[side];

		if (npu && span->port[side] != QOS_NO_PORT &&
		    span->port[side] != npool_port(npu->slot, side))
			return false;
	}
	return queue->reserved;
}
