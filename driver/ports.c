// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ports of the pool's members, and what holds for all of them. A member has
 * two as long as it is listed: jobs, buffers and queues that refer to it may
 * outlive it, and so do what they wait for, move and have been promised there.
 */
#include <linux/build_bug.h>
#include <linux/capability.h>

#include "npool.h"

/* The arbiter's numbers are user space's. */
static_assert((u32)DRM_NPOOL_CLASSES == QOS_CLASSES && (u32)DRM_NPOOL_CLASS_SCRUB == QOS_SCRUB);
static_assert((u32)DRM_NPOOL_POLICY_STRICT_WINDOWS == QOS_STRICT_WINDOWS);
static_assert((u32)DRM_NPOOL_REASON_WIDE == QOS_WIDE);
static_assert(DRM_NPOOL_BUCKETS == QOS_BUCKETS && DRM_NPOOL_MAX_WEIGHT == QOS_MAX_WEIGHT);

/** npool_ports_init() - memory for the ports of all members there can be */
int npool_ports_init(struct npool_device *pool)
{
	pool->ports.count = 2 * NPOOL_MAX_NPUS;
	pool->ports.port = kvcalloc(pool->ports.count, sizeof(*pool->ports.port), GFP_KERNEL);
	if (!pool->ports.port)
		return -ENOMEM;
	spin_lock_init(&pool->qos_lock);
	ida_init(&pool->slots);
	pool->policy = DRM_NPOOL_POLICY_HYBRID;
	pool->slack_ns = QOS_SLACK;
	return 0;
}

/** npool_ports_fini() - undo npool_ports_init() */
void npool_ports_fini(struct npool_device *pool)
{
	ida_destroy(&pool->slots);
	kvfree(pool->ports.port);
}

/** npool_ports_settle() - grant what can be granted, and wake who was */
void npool_ports_settle(struct npool_device *pool)
{
	struct qos_visitor *visitor;

	lockdep_assert_held(&pool->qos_lock);
	while ((visitor = qos_settle(&pool->ports)))
		wake_up(&container_of(visitor, struct npool_engine, visitor)->wait);
}

/* It may be that what is reserved does not fit: then it takes all that can be promised. */
static void open_port(struct npool_npu *npu, u32 side)
{
	struct npool_device *pool = npu->pool;
	struct qos_port *port = &pool->ports.port[npool_port(npu->slot, side)];
	u64 clock = port->clock;

	spin_lock_irq(&pool->qos_lock);
	qos_port_init(port, npu->bandwidth, pool->slack_ns, pool->policy);
	/* Clients may still have a place in the time of who had the slot before. */
	port->clock = clock;
	qos_reserve_restore(&pool->ports, npool_port(npu->slot, side), pool->any[side].rate,
			    pool->any[side].burst);
	spin_unlock_irq(&pool->qos_lock);
}

/** npool_ports_join() - give an NPU that is about to be listed its ports */
int npool_ports_join(struct npool_npu *npu)
{
	int slot = ida_alloc_max(&npu->pool->slots, NPOOL_MAX_NPUS - 1, GFP_KERNEL);

	lockdep_assert_held(&npu->pool->lock);
	if (slot < 0)
		return slot;
	npu->slot = slot;
	open_port(npu, 0);
	open_port(npu, 1);
	npool_engine_set_policy(&npu->engine, npu->pool->policy);
	return 0;
}

/** npool_ports_leave() - take them back: nothing refers to the NPU any more */
void npool_ports_leave(struct npool_npu *npu)
{
	ida_free(&npu->pool->slots, npu->slot);
}

static void tune(struct npool_device *pool)
{
	struct npool_npu *npu;
	unsigned long id;

	lockdep_assert_held(&pool->lock);
	xa_for_each(&pool->npus, id, npu) {
		u32 side;

		npool_engine_set_policy(&npu->engine, pool->policy);
		spin_lock_irq(&pool->qos_lock);
		for (side = 0; side < 2; side++)
			qos_port_tune(&pool->ports.port[npool_port(npu->slot, side)],
				      pool->slack_ns, pool->policy);
		npool_ports_settle(pool);
		spin_unlock_irq(&pool->qos_lock);
	}
}

static int set_policy(struct npool_device *pool, u64 value)
{
	if (value >= QOS_POLICIES)
		return -EINVAL;
	mutex_lock(&pool->lock);
	pool->policy = value;
	tune(pool);
	mutex_unlock(&pool->lock);
	return 0;
}

static int set_slack(struct npool_device *pool, u64 value)
{
	if (value < QOS_MIN_SLACK || value > QOS_MAX_SLACK)
		return -EINVAL;
	mutex_lock(&pool->lock);
	pool->slack_ns = value;
	tune(pool);
	mutex_unlock(&pool->lock);
	return 0;
}

static int grant(struct npool_device *pool, u64 id, u64 rate)
{
	struct npool_client *client;

	rcu_read_lock();
	client = xa_load(&pool->clients, id);
	if (client) {
		spin_lock(&client->lock);
		client->granted = rate;
		spin_unlock(&client->lock);
	}
	rcu_read_unlock();
	return client ? 0 : -ENOENT;
}

/** npool_qos_ctl_ioctl() - DRM_IOCTL_NPOOL_QOS_CTL */
int npool_qos_ctl_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct npool_device *pool = to_npool(drm);
	struct drm_npool_qos_ctl *args = data;

	if (args->flags || args->action > DRM_NPOOL_QOS_GRANT)
		return -EOPNOTSUPP;
	if (args->action != DRM_NPOOL_QOS_GRANT && args->client)
		return -EINVAL;
	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	switch (args->action) {
	case DRM_NPOOL_QOS_POLICY:
		return set_policy(pool, args->value);
	case DRM_NPOOL_QOS_SLACK:
		return set_slack(pool, args->value);
	default:
		return grant(pool, args->client, args->value);
	}
}
