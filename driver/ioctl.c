// SPDX-License-Identifier: GPL-2.0-only
/*
 * The door from user space: one table of calls, and the rules about sizes that
 * drm_ioctl() does not have. A handler gets a struct of the size it knows, zeroed
 * where the caller's is shorter, and changes it only when it succeeds, because
 * DRM copies it back either way. A submit whose deadline is refused uses that: the
 * refusal is what the caller asked for.
 */
#include <linux/build_bug.h>
#include <linux/uaccess.h>

#include <drm/drm_ioctl.h>

#include "npool.h"

/* Present sizes: a struct may only grow. */
#define SIZE(name, size) \
	static_assert(sizeof(struct drm_npool_##name) == (size))

SIZE(query, 32);
SIZE(pool_info, 56);
SIZE(npu_info, 104);
SIZE(npu_stats, 72);
SIZE(client_info, 32);
SIZE(qos_info, 32);
SIZE(port_info, 64);
SIZE(class_stats, 2104);
SIZE(bo_create, 48);
SIZE(bo_info, 48);
SIZE(queue_create, 48);
SIZE(queue_destroy, 8);
SIZE(seg, 24);
SIZE(op, 40);
SIZE(sync, 16);
SIZE(submit, 96);
SIZE(wait, 40);
SIZE(set_quota, 16);
SIZE(npu_ctl, 24);
SIZE(qos_ctl, 24);

/* First published sizes, which never change: callers with those go on working. */
static const u8 first_size[] = {
	[DRM_NPOOL_QUERY] = 32,
	[DRM_NPOOL_BO_CREATE] = 48,
	[DRM_NPOOL_BO_INFO] = 48,
	[DRM_NPOOL_QUEUE_CREATE] = 16,
	[DRM_NPOOL_QUEUE_DESTROY] = 8,
	[DRM_NPOOL_SUBMIT] = 64,
	[DRM_NPOOL_WAIT] = 40,
	[DRM_NPOOL_SET_QUOTA] = 16,
	[DRM_NPOOL_NPU_CTL] = 24,
	[DRM_NPOOL_QOS_CTL] = 24,
};

#define NPOOL_IOCTL(name, func) DRM_IOCTL_DEF_DRV(NPOOL_##name, func, 0)

const struct drm_ioctl_desc npool_ioctls[] = {
	NPOOL_IOCTL(QUERY, npool_query_ioctl),
	NPOOL_IOCTL(BO_CREATE, npool_bo_create_ioctl),
	NPOOL_IOCTL(BO_INFO, npool_bo_info_ioctl),
	NPOOL_IOCTL(QUEUE_CREATE, npool_queue_create_ioctl),
	NPOOL_IOCTL(QUEUE_DESTROY, npool_queue_destroy_ioctl),
	NPOOL_IOCTL(SUBMIT, npool_submit_ioctl),
	NPOOL_IOCTL(WAIT, npool_wait_ioctl),
	NPOOL_IOCTL(SET_QUOTA, npool_set_quota_ioctl),
	NPOOL_IOCTL(NPU_CTL, npool_npu_ctl_ioctl),
	NPOOL_IOCTL(QOS_CTL, npool_qos_ctl_ioctl),
};

static_assert(ARRAY_SIZE(npool_ioctls) == ARRAY_SIZE(first_size));

const int npool_ioctl_count = ARRAY_SIZE(npool_ioctls);

static bool ours(unsigned int cmd)
{
	unsigned int nr = _IOC_NR(cmd);

	return _IOC_TYPE(cmd) == DRM_IOCTL_BASE && nr >= DRM_COMMAND_BASE &&
	       nr < DRM_COMMAND_BASE + ARRAY_SIZE(npool_ioctls);
}

static int check_tail(const void __user *tail, size_t bytes)
{
	int ret = check_zeroed_user(tail, bytes);

	if (ret < 0)
		return ret;
	return ret ? 0 : -E2BIG;
}

/*
 * What the call returns must not get lost when it has had an effect, so find
 * out before whether it can be written: with the bytes that are there already.
 */
static int probe(void __user *user, size_t bytes)
{
	u8 copy[sizeof(struct drm_npool_submit)];

	if (WARN_ON_ONCE(bytes > sizeof(copy)))
		return -EINVAL;
	if (copy_from_user(copy, user, bytes) || copy_to_user(user, copy, bytes))
		return -EFAULT;
	return 0;
}

static int check(unsigned int cmd, unsigned long arg)
{
	unsigned int known = npool_ioctls[_IOC_NR(cmd) - DRM_COMMAND_BASE].cmd;
	unsigned int size = _IOC_SIZE(cmd);
	void __user *user = (void __user *)arg;
	int ret;

	if (_IOC_DIR(cmd) != _IOC_DIR(known) || size < first_size[_IOC_NR(cmd) - DRM_COMMAND_BASE])
		return -EINVAL;
	if (size > _IOC_SIZE(known)) {
		ret = check_tail(user + _IOC_SIZE(known), size - _IOC_SIZE(known));
		if (ret)
			return ret;
		size = _IOC_SIZE(known);
	}
	return _IOC_DIR(known) & _IOC_READ ? probe(user, size) : 0;
}

/**
 * npool_array_check() - check the shape of an array that user space passed
 * @count: its items
 * @stride: bytes from item to item
 * @item: first published size of an item
 * @max: most items
 */
int npool_array_check(u32 count, u32 stride, size_t item, u32 max)
{
	if (count > max)
		return -EINVAL;
	if (!count)
		return stride && stride < item ? -EINVAL : 0;
	if (stride < item)
		return -EINVAL;
	return stride > NPOOL_MAX_STRIDE ? -E2BIG : 0;
}

/** npool_array_copy() - read an array whose shape was checked, items next to each other at @to */
int npool_array_copy(void *to, u64 user, u32 count, u32 stride, size_t item)
{
	const u8 __user *from = u64_to_user_ptr(user);
	u32 i;
	int ret;

	if (stride == item)
		return copy_from_user(to, from, count * item) ? -EFAULT : 0;
	for (i = 0; i < count; i++) {
		ret = copy_struct_from_user(to + i * item, item, from + (u64)i * stride, stride);
		if (ret)
			return ret;
	}
	return 0;
}

/** npool_ioctl() - &file_operations.unlocked_ioctl */
long npool_ioctl(struct file *filp, unsigned int cmd, unsigned long arg)
{
	int ret = ours(cmd) ? check(cmd, arg) : 0;

	return ret ?: drm_ioctl(filp, cmd, arg);
}

#ifdef CONFIG_COMPAT
/** npool_compat_ioctl() - the same for 32-bit callers: our structs are the same for them */
long npool_compat_ioctl(struct file *filp, unsigned int cmd, unsigned long arg)
{
	return ours(cmd) ? npool_ioctl(filp, cmd, arg) : drm_compat_ioctl(filp, cmd, arg);
}
#endif
