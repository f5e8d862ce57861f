// SPDX-License-Identifier: GPL-2.0-only
/*
 * The door from user space: one table of calls, and the rules about sizes that
 * drm_ioctl() does not have. A handler gets a struct of the size it knows, and
 * changes it only when it succeeds, because DRM copies it back either way.
 */
#include <linux/build_bug.h>
#include <linux/uaccess.h>

#include <drm/drm_ioctl.h>

#include "npool.h"

/* First published sizes: they never change, the structs may grow past them. */
#define V1_SIZE(name, size) \
	static_assert(sizeof(struct drm_npool_##name) == (size))

V1_SIZE(query, 32);
V1_SIZE(pool_info, 56);
V1_SIZE(npu_info, 104);
V1_SIZE(npu_stats, 72);
V1_SIZE(client_info, 32);
V1_SIZE(bo_create, 48);
V1_SIZE(bo_info, 48);
V1_SIZE(queue_create, 16);
V1_SIZE(queue_destroy, 8);
V1_SIZE(seg, 24);
V1_SIZE(op, 40);
V1_SIZE(sync, 16);
V1_SIZE(submit, 64);
V1_SIZE(wait, 40);
V1_SIZE(set_quota, 16);
V1_SIZE(npu_ctl, 24);

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
};

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

	if (_IOC_DIR(cmd) != _IOC_DIR(known) || size < _IOC_SIZE(known))
		return -EINVAL;
	if (size > _IOC_SIZE(known)) {
		ret = check_tail(user + _IOC_SIZE(known), size - _IOC_SIZE(known));
		if (ret)
			return ret;
	}
	return _IOC_DIR(known) & _IOC_READ ? probe(user, _IOC_SIZE(known)) : 0;
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
