// SPDX-License-Identifier: GPL-2.0-only
/*
 * Adding and removing software NPUs while the pool runs:
 *
 *   mkdir /sys/kernel/config/npool_sim/NAME
 *   echo 64M > NAME/size; echo 1 > NAME/online; cat NAME/id
 *   echo 0 > NAME/online		or rmdir NAME
 */
#include <linux/configfs.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>

#include "sim.h"

/**
 * struct item - A directory
 * @item: configfs
 * @bytes: memory to have
 * @model: how fast to be
 * @npu: while online, or dead and not yet told to go offline
 */
struct item {
	struct config_item item;
	/** @lock: protects the rest */
	struct mutex lock;
	u64 bytes;
	struct sim_model model;
	struct npool_npu *npu;
};

static struct item *to_item(struct config_item *item)
{
	return container_of(item, struct item, item);
}

static ssize_t show(struct config_item *item, char *page, const u64 *value)
{
	struct item *self = to_item(item);
	ssize_t ret;

	mutex_lock(&self->lock);
	ret = sysfs_emit(page, "%llu\n", *value);
	mutex_unlock(&self->lock);
	return ret;
}

static ssize_t store(struct config_item *item, const char *page, size_t count, u64 *value)
{
	struct item *self = to_item(item);
	ssize_t ret = count;
	char *end;
	u64 parsed = memparse(page, &end);

	if (end == page || (*end && *end != '\n'))
		return -EINVAL;
	mutex_lock(&self->lock);
	if (self->npu)
		ret = -EBUSY;
	else
		*value = parsed;
	mutex_unlock(&self->lock);
	return ret;
}

static ssize_t sim_size_show(struct config_item *item, char *page)
{
	return show(item, page, &to_item(item)->bytes);
}

static ssize_t sim_size_store(struct config_item *item, const char *page, size_t count)
{
	return store(item, page, count, &to_item(item)->bytes);
}
CONFIGFS_ATTR(sim_, size);

static ssize_t sim_bandwidth_show(struct config_item *item, char *page)
{
	return show(item, page, &to_item(item)->model.bandwidth);
}

static ssize_t sim_bandwidth_store(struct config_item *item, const char *page, size_t count)
{
	return store(item, page, count, &to_item(item)->model.bandwidth);
}
CONFIGFS_ATTR(sim_, bandwidth);

static ssize_t sim_latency_ns_show(struct config_item *item, char *page)
{
	return show(item, page, &to_item(item)->model.latency_ns);
}

static ssize_t sim_latency_ns_store(struct config_item *item, const char *page, size_t count)
{
	return store(item, page, count, &to_item(item)->model.latency_ns);
}
CONFIGFS_ATTR(sim_, latency_ns);

static ssize_t sim_id_show(struct config_item *item, char *page)
{
	struct item *self = to_item(item);
	ssize_t ret = -ENODEV;

	mutex_lock(&self->lock);
	if (self->npu)
		ret = sysfs_emit(page, "%u\n", npool_npu_id(self->npu));
	mutex_unlock(&self->lock);
	return ret;
}
CONFIGFS_ATTR_RO(sim_, id);

static ssize_t sim_online_show(struct config_item *item, char *page)
{
	struct item *self = to_item(item);
	ssize_t ret;

	mutex_lock(&self->lock);
	ret = sysfs_emit(page, "%d\n", self->npu && npool_npu_alive(self->npu));
	mutex_unlock(&self->lock);
	return ret;
}

static void offline(struct item *self)
{
	if (self->npu)
		npool_npu_unregister(self->npu);
	self->npu = NULL;
}

static int online(struct item *self)
{
	struct npool_npu *npu;

	if (self->npu && npool_npu_alive(self->npu))
		return -EEXIST;
	/* What has died may come back as a new member. */
	offline(self);
	npu = sim_add(config_item_name(&self->item), self->bytes, &self->model);
	if (IS_ERR(npu))
		return PTR_ERR(npu);
	self->npu = npu;
	return 0;
}

static ssize_t sim_online_store(struct config_item *item, const char *page, size_t count)
{
	struct item *self = to_item(item);
	bool on;
	int ret = kstrtobool(page, &on);

	if (ret)
		return ret;
	mutex_lock(&self->lock);
	if (on)
		ret = online(self);
	else
		offline(self);
	mutex_unlock(&self->lock);
	return ret ?: count;
}
CONFIGFS_ATTR(sim_, online);

static struct configfs_attribute *attrs[] = {
	&sim_attr_size,
	&sim_attr_bandwidth,
	&sim_attr_latency_ns,
	&sim_attr_id,
	&sim_attr_online,
	NULL,
};

static void release_item(struct config_item *item)
{
	struct item *self = to_item(item);

	mutex_destroy(&self->lock);
	kfree(self);
}

static struct configfs_item_operations item_ops = {
	.release = release_item,
};

static const struct config_item_type item_type = {
	.ct_item_ops = &item_ops,
	.ct_attrs = attrs,
	.ct_owner = THIS_MODULE,
};

static struct config_item *make_item(struct config_group *group, const char *name)
{
	struct item *self;

	if (strlen(name) >= NPOOL_NAME_LEN)
		return ERR_PTR(-ENAMETOOLONG);
	self = kzalloc(sizeof(*self), GFP_KERNEL);
	if (!self)
		return ERR_PTR(-ENOMEM);
	mutex_init(&self->lock);
	config_item_init_type_name(&self->item, name, &item_type);
	return &self->item;
}

static void drop_item(struct config_group *group, struct config_item *item)
{
	struct item *self = to_item(item);

	mutex_lock(&self->lock);
	offline(self);
	mutex_unlock(&self->lock);
	config_item_put(item);
}

static struct configfs_group_operations group_ops = {
	.make_item = make_item,
	.drop_item = drop_item,
};

static const struct config_item_type group_type = {
	.ct_group_ops = &group_ops,
	.ct_owner = THIS_MODULE,
};

static struct configfs_subsystem subsystem = {
	.su_group = {
		.cg_item = {
			.ci_namebuf = "npool_sim",
			.ci_type = &group_type,
		},
	},
};

/** sim_configfs_init() - have the directory appear */
int sim_configfs_init(void)
{
	config_group_init(&subsystem.su_group);
	mutex_init(&subsystem.su_mutex);
	return configfs_register_subsystem(&subsystem);
}

/** sim_configfs_exit() - have it go; it is empty, or the module would be in use */
void sim_configfs_exit(void)
{
	configfs_unregister_subsystem(&subsystem);
}
