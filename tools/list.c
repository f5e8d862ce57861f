// SPDX-License-Identifier: MIT
/*
 * accelctl list: the driver's pools, the soft pools that some process has open,
 * and their NPUs.
 */
#include <errno.h>
#include <glob.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"

static const char *pool;
static bool json;

static const struct opt table[] = {
	OPT_POOL(pool),
	OPT_JSON(json),
};

static const struct opts opts = {
	"list", "",
	"List the driver's pools, the soft pools that processes of this user have open, and\n"
	"their NPUs. Where there is none, the pool that a command would take.",
	table, ARRAY_SIZE(table), 0, 0,
};

struct uris {
	char (*uri)[ACCEL_URI_MAX];
	size_t count;
};

static void add_uri(struct uris *uris, const char *scheme, const char *rest)
{
	char uri[ACCEL_URI_MAX];
	void *more;
	size_t i;

	if ((size_t)snprintf(uri, sizeof(uri), "%s:%s", scheme, rest) >= sizeof(uri))
		return;
	for (i = 0; i < uris->count; i++)
		if (!strcmp(uris->uri[i], uri))
			return;
	more = realloc(uris->uri, (uris->count + 1) * sizeof(*uris->uri));
	if (!more)
		return;
	uris->uri = more;
	memcpy(uris->uri[uris->count++], uri, sizeof(uri));
}

static void find_drm(struct uris *uris)
{
	glob_t found;
	size_t i;

	if (!glob("/dev/accel/accel*", 0, NULL, &found))
		for (i = 0; i < found.gl_pathc; i++)
			add_uri(uris, "drm", found.gl_pathv[i]);
	globfree(&found);
}

/* A user of a soft pool listens on the abstract socket npool/UID/NAME/... */
static void find_soft(struct uris *uris)
{
	FILE *from = fopen("/proc/net/unix", "re");
	char line[512], prefix[64], *name, *end;

	snprintf(prefix, sizeof(prefix), " @npool/%u/", getuid());
	while (from && fgets(line, sizeof(line), from)) {
		name = strstr(line, prefix);
		if (!name)
			continue;
		name += strlen(prefix);
		end = strchr(name, '/');
		if (!end)
			continue;
		*end = '\0';
		add_uri(uris, "soft", name);
	}
	if (from)
		fclose(from);
}

static struct json_object *npu_json(const struct accel_npu_info *npu)
{
	struct json_object *object = json_object_new_object();

	ctl_json_u64(object, "id", npu->id);
	ctl_json_string(object, "name", npu->name);
	ctl_json_string(object, "backend", npu->backend);
	ctl_json_string(object, "state", npu->state == ACCEL_NPU_ONLINE ? "online" : "dead");
	ctl_json_u64(object, "bytes_total", npu->bytes_total);
	ctl_json_u64(object, "bytes_free", npu->bytes_free);
	ctl_json_u64(object, "bandwidth", npu->bandwidth);
	ctl_json_u64(object, "latency_ns", npu->latency_ns);
	return object;
}

static struct json_object *pool_json(const char *uri, const struct accel_pool_info *info,
				     const struct accel_npu_info *npus, uint32_t count)
{
	struct json_object *object = json_object_new_object(), *list = json_object_new_array();
	uint32_t i;

	ctl_json_string(object, "pool", uri);
	ctl_json_u64(object, "bytes_total", info->bytes_total);
	ctl_json_u64(object, "bytes_free", info->bytes_free);
	for (i = 0; i < count; i++)
		json_object_array_add(list, npu_json(&npus[i]));
	json_object_object_add(object, "npus", list);
	return object;
}

static void print(const char *uri, const struct accel_pool_info *info,
		  const struct accel_npu_info *npus, uint32_t count)
{
	char left[CTL_TEXT_LEN], total[CTL_TEXT_LEN], rate[CTL_TEXT_LEN];
	uint32_t i;

	printf("%s  %s free of %s, %u NPUs\n", uri, ctl_bytes(info->bytes_free, left),
	       ctl_bytes(info->bytes_total, total), count);
	for (i = 0; i < count; i++) {
		printf("  %4u  %-16s %-10s %-7s %s free of %s", npus[i].id, npus[i].name,
		       npus[i].backend, npus[i].state == ACCEL_NPU_ONLINE ? "online" : "dead",
		       ctl_bytes(npus[i].bytes_free, left), ctl_bytes(npus[i].bytes_total, total));
		if (npus[i].bandwidth)
			printf(", %s/s", ctl_bytes(npus[i].bandwidth, rate));
		putchar('\n');
	}
}

static int show(const char *uri, struct json_object *list)
{
	struct accel_npu_info *npus;
	struct accel_pool_info info;
	struct accel_dev *dev;
	uint32_t count;
	int status, err;

	status = ctl_open(uri, &dev);
	if (status)
		return status;
	err = accel_pool_info(dev, &info);
	if (err) {
		ctl_error("list: pool %s: %s", accel_uri(dev), strerror(-err));
		status = ctl_status(err);
		goto out;
	}
	status = ctl_npus(dev, &npus, &count);
	if (status)
		goto out;
	if (json)
		json_object_array_add(list, pool_json(accel_uri(dev), &info, npus, count));
	else
		print(accel_uri(dev), &info, npus, count);
	free(npus);
out:
	accel_close(dev);
	return status;
}

int cmd_list(int argc, char **argv)
{
	struct json_object *list;
	struct uris uris = { 0 };
	int status, one;
	size_t i;

	status = opts_parse(&opts, argc, argv, NULL);
	if (status)
		return status == OPTS_DONE ? CTL_OK : status;
	if (!pool) {
		find_drm(&uris);
		find_soft(&uris);
	}
	list = json_object_new_array();
	if (!uris.count)
		status = show(pool, list);
	for (i = 0; i < uris.count; i++) {
		one = show(uris.uri[i], list);
		status = status ? status : one;
	}
	free(uris.uri);
	if (json)
		return ctl_json(list, status);
	json_object_put(list);
	return status;
}
