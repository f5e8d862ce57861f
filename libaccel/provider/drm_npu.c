// SPDX-License-Identifier: MIT
/*
 * Members of the kernel's pool. Software NPUs come by npool_sim's configfs, all
 * else is the driver's.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "drm.h"

#define CONFIGFS "/sys/kernel/config/npool_sim"
#define NUMBER_LEN 32

/* Without privilege configfs says EACCES; the contract says EPERM. */
static int failure(void)
{
	return errno == EACCES ? -EPERM : -errno;
}

static int write_value(int dir, const char *file, uint64_t value)
{
	char text[NUMBER_LEN];
	int len = snprintf(text, sizeof(text), "%llu\n", (unsigned long long)value);
	int err = 0, fd;

	fd = openat(dir, file, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return failure();
	if (write(fd, text, len) != len)
		err = failure();
	close(fd);
	return err;
}

static int read_value(int dir, const char *file, uint64_t *value)
{
	char text[NUMBER_LEN];
	int err = 0, fd;
	ssize_t len;

	fd = openat(dir, file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return failure();
	len = read(fd, text, sizeof(text) - 1);
	if (len < 0)
		err = failure();
	else if (!len)
		err = -EIO;
	close(fd);
	if (err)
		return err;
	text[len] = 0;
	*value = strtoull(text, NULL, 10);
	return 0;
}

static int bring_up(int dir, const struct accel_npu_config *config, uint32_t *id)
{
	uint64_t value;
	int err;

	err = write_value(dir, "size", config->bytes);
	if (!err)
		err = write_value(dir, "bandwidth", config->bandwidth);
	if (!err)
		err = write_value(dir, "latency_ns", config->latency_ns);
	if (!err)
		err = write_value(dir, "online", 1);
	if (!err)
		err = read_value(dir, "id", &value);
	if (!err)
		*id = value;
	return err;
}

/* A directory may be left of an NPU that has died: its name is free again. */
static int clear_dead(const char *path)
{
	uint64_t online = 1;
	int dir;

	dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	read_value(dir, "online", &online);
	close(dir);
	if (online)
		return -EEXIST;
	return rmdir(path) ? failure() : 0;
}

static int make_directory(const char *path)
{
	if (access(CONFIGFS, F_OK))
		return errno == ENOENT ? -EOPNOTSUPP : failure();
	if (!mkdir(path, 0755))
		return 0;
	if (errno != EEXIST)
		return failure();
	if (clear_dead(path))
		return -EEXIST;
	return mkdir(path, 0755) ? failure() : 0;
}

struct wanted {
	const uint32_t *id;
	const char *name;
};

static bool is_wanted(const struct drm_npool_npu_info *npu, const struct wanted *wanted)
{
	if (wanted->id)
		return npu->id == *wanted->id;
	return npu->state == DRM_NPOOL_NPU_ONLINE &&
	       (!wanted->name || !strncmp(npu->name, wanted->name, sizeof(npu->name)));
}

/* By id; else one that is online, by name or any. */
static int find_npu(struct drm_dev *dev, const struct wanted *wanted,
		    struct drm_npool_npu_info *found)
{
	struct drm_npool_npu_info *npus;
	uint32_t count = 0, room;
	int err;

	err = drm_kernel_query(dev->fd, DRM_NPOOL_TOPIC_NPUS, 0, NULL, 0, &count);
	if (err)
		return err;
	room = count;
	npus = calloc(room + 1, sizeof(*npus));
	if (!npus)
		return -ENOMEM;
	err = drm_kernel_query(dev->fd, DRM_NPOOL_TOPIC_NPUS, 0, npus, sizeof(*npus), &count);
	for (uint32_t i = 0; !err && i < count && i < room; i++)
		if (is_wanted(&npus[i], wanted)) {
			*found = npus[i];
			free(npus);
			return 0;
		}
	free(npus);
	return err ? err : -ENOENT;
}

/* Some NPU that is online; -ENODEV without one. */
int drm_npu_any(struct drm_dev *dev, uint32_t *id)
{
	struct drm_npool_npu_info info;
	int err = find_npu(dev, &(struct wanted){ 0 }, &info);

	if (err)
		return err == -ENOENT ? -ENODEV : err;
	*id = info.id;
	return 0;
}

int drm_npu_add(struct accel_dev *base, const struct accel_npu_config *config, uint32_t *id)
{
	char path[sizeof(CONFIGFS) + ACCEL_NAME_LEN + 1];
	struct drm_npool_npu_info taken;
	int dir, err;

	/* Modules bring NPUs of their own, which have no directory. */
	err = find_npu((struct drm_dev *)base, &(struct wanted){ .name = config->name }, &taken);
	if (err != -ENOENT)
		return err ? err : -EEXIST;
	snprintf(path, sizeof(path), CONFIGFS "/%s", config->name);
	err = make_directory(path);
	if (err)
		return err;
	dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	err = dir < 0 ? failure() : bring_up(dir, config, id);
	if (dir >= 0)
		close(dir);
	if (err)
		rmdir(path);
	return err;
}

/* A dead NPU's directory, where it has one, would keep the module and the name in use. */
static int control(struct drm_dev *dev, struct drm_npool_npu_ctl *arg, bool kills)
{
	char path[sizeof(CONFIGFS) + DRM_NPOOL_NAME_LEN + 1];
	struct drm_npool_npu_info info;
	bool known = kills && !find_npu(dev, &(struct wanted){ .id = &arg->npu }, &info);
	int err;

	err = drm_kernel_npu_ctl(dev->fd, arg);
	if (!kills || (err && err != -ENODEV))
		return err;
	drm_copiers_drop(dev, arg->npu);
	if (known) {
		snprintf(path, sizeof(path), CONFIGFS "/%.*s", DRM_NPOOL_NAME_LEN, info.name);
		clear_dead(path);
	}
	return err;
}

int drm_npu_remove(struct accel_dev *base, uint32_t id)
{
	struct drm_npool_npu_ctl arg = { .npu = id, .action = DRM_NPOOL_NPU_REMOVE };

	return control((struct drm_dev *)base, &arg, true);
}

int drm_npu_inject(struct accel_dev *base, uint32_t id, enum accel_fault fault, uint64_t arg)
{
	struct drm_npool_npu_ctl ctl = {
		.npu = id, .action = DRM_NPOOL_NPU_INJECT, .fault = fault, .arg = arg,
	};

	return control((struct drm_dev *)base, &ctl, fault == ACCEL_FAULT_DIE);
}
