// SPDX-License-Identifier: MIT
/* What is there on this machine, and what is not. */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <accel/buffer.h>

#include "ctl.h"
#include "doctor.h"

#define MEMORY_WANTED (1ull << 30)	/* the demo's cache, and some for the rest */
#define MEMLOCK_WANTED (64ull << 20)
#define CONFIGFS 0x62656570		/* its statfs type, in no header of user space */
#define KERNEL_MAJOR 6
#define KERNEL_MINOR 12

static void say(char *detail, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(char *detail, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(detail, DOCTOR_DETAIL, format, args);
	va_end(args);
}

static const char *release(void)
{
	static struct utsname name;

	return uname(&name) ? "" : name.release;
}

static bool exists(const char *path)
{
	return !access(path, F_OK);
}

/* First path that matches a pattern. */
static bool first_match(const char *pattern, char path[PATH_MAX])
{
	glob_t found;
	bool some = !glob(pattern, 0, NULL, &found) && found.gl_pathc;

	if (some)
		snprintf(path, PATH_MAX, "%s", found.gl_pathv[0]);
	globfree(&found);
	return some;
}

static bool in_path(const char *program, char *detail)
{
	char *copy = strdup(getenv("PATH") ? getenv("PATH") : "/usr/bin:/bin"), *rest = copy;
	char file[PATH_MAX];
	bool found = false;
	const char *dir;

	while (copy && !found && (dir = strsep(&rest, ":"))) {
		snprintf(file, sizeof(file), "%s/%s", dir, program);
		found = !access(file, X_OK);
	}
	free(copy);
	if (found)
		say(detail, "%.*s", DOCTOR_DETAIL - 1, file);
	else
		say(detail, "no %s in PATH", program);
	return found;
}

bool probe_memory(char *detail)
{
	char line[256], text[CTL_TEXT_LEN];
	uint64_t kib = 0;
	FILE *from = fopen("/proc/meminfo", "re");

	while (from && fgets(line, sizeof(line), from))
		if (sscanf(line, "MemAvailable: %" SCNu64, &kib) == 1)
			break;
	if (from)
		fclose(from);
	say(detail, "%s available", ctl_bytes(kib << 10, text));
	return kib << 10 >= MEMORY_WANTED;
}

bool probe_memfd(char *detail)
{
	int fd = memfd_create("accelctl-doctor", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	say(detail, "memfd_create: %s", fd < 0 ? strerror(errno) : "works");
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

bool probe_soft(char *detail)
{
	struct accel_buffer *buffer;
	struct accel_dev *dev;
	char uri[64];
	void *map;
	int err;

	snprintf(uri, sizeof(uri), "soft:doctor-%d?npus=1&size=1M", getpid());
	err = accel_open(uri, &dev);
	if (err) {
		say(detail, "opening a pool: %s", strerror(-err));
		return false;
	}
	err = accel_buffer_create(dev, 65536, NULL, &buffer);
	if (!err) {
		err = accel_buffer_map(buffer, 0, &map);
		if (!err) {
			memset(map, 1, 65536);
			accel_buffer_unmap(dev, map, 65536);
		}
		accel_buffer_close(buffer);
	}
	accel_close(dev);
	say(detail, "a pool, a buffer, a mapping: %s", err ? strerror(-err) : "work");
	return !err;
}

bool probe_simd(char *detail)
{
#if defined(__x86_64__)
	__builtin_cpu_init();
	if (__builtin_cpu_supports("avx512f")) {
		say(detail, "AVX-512");
		return true;
	}
	if (__builtin_cpu_supports("avx2")) {
		say(detail, "AVX2");
		return true;
	}
#endif
	say(detail, "neither AVX-512 nor AVX2");
	return false;
}

bool probe_memlock(char *detail)
{
	char text[CTL_TEXT_LEN];
	struct rlimit limit;

	if (getrlimit(RLIMIT_MEMLOCK, &limit)) {
		say(detail, "%s", strerror(errno));
		return false;
	}
	say(detail, "%s", limit.rlim_cur == RLIM_INFINITY ? "no limit" :
	    ctl_bytes(limit.rlim_cur, text));
	return limit.rlim_cur >= MEMLOCK_WANTED;
}

/* Whether the running kernel was built with an option; -1 where that cannot be seen. */
static int kernel_option(const char *option)
{
	char path[PATH_MAX], line[256];
	size_t length = strlen(option);
	int found = 0;
	FILE *from;

	snprintf(path, sizeof(path), "/boot/config-%s", release());
	from = fopen(path, "re");
	if (!from)
		return -1;
	while (!found && fgets(line, sizeof(line), from))
		found = !strncmp(line, option, length) && line[length] == '=';
	fclose(from);
	return found;
}

bool probe_kernel(char *detail)
{
	int major = 0, minor = 0, accel = kernel_option("CONFIG_DRM_ACCEL");

	if (exists("/sys/class/accel"))
		accel = 1;
	if (sscanf(release(), "%d.%d", &major, &minor) != 2)
		major = 0;
	say(detail, "%s, DRM_ACCEL %s", release(),
	    accel > 0 ? "is there" : accel ? "is not to be seen" : "is not there");
	return (major > KERNEL_MAJOR || (major == KERNEL_MAJOR && minor >= KERNEL_MINOR)) &&
	       accel > 0;
}

bool probe_modules(char *detail)
{
	bool can = exists("/proc/modules");

	say(detail, "the kernel %s modules", can ? "loads" : "is built without");
	return can;
}

bool probe_headers(char *detail)
{
	char path[PATH_MAX];
	bool there;

	snprintf(path, sizeof(path), "/lib/modules/%s/build/Makefile", release());
	there = exists(path);
	say(detail, "%s %s", path, there ? "is there" : "is not there");
	return there;
}

bool probe_built(char *detail)
{
	char self[PATH_MAX] = "", path[PATH_MAX + 16];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char found[PATH_MAX], *slash;

	slash = length > 0 ? strrchr(self, '/') : NULL;
	if (slash) {
		*slash = '\0';
		snprintf(path, sizeof(path), "%s/npool.ko", self);
		if (exists(path)) {
			say(detail, "%.*s", DOCTOR_DETAIL - 1, path);
			return true;
		}
	}
	snprintf(path, sizeof(path), "/lib/modules/%s/*/npool.ko*", release());
	if (first_match(path, found)) {
		say(detail, "%.*s", DOCTOR_DETAIL - 1, found);
		return true;
	}
	say(detail, "npool.ko is neither beside accelctl nor installed");
	return false;
}

bool probe_loaded(char *detail)
{
	bool there = exists("/sys/module/npool");

	say(detail, "npool is %sloaded", there ? "" : "not ");
	return there;
}

bool probe_sim(char *detail)
{
	bool there = exists("/sys/module/npool_sim");

	say(detail, "npool_sim is %sloaded", there ? "" : "not ");
	return there;
}

bool probe_device(char *detail)
{
	char path[PATH_MAX];

	if (!first_match("/dev/accel/accel*", path)) {
		say(detail, "no /dev/accel/accel*");
		return false;
	}
	if (access(path, R_OK | W_OK)) {
		say(detail, "%.64s: %s", path, strerror(errno));
		return false;
	}
	say(detail, "%.64s can be read and written", path);
	return true;
}

bool probe_configfs(char *detail)
{
	struct statfs stat;
	bool mounted = !statfs("/sys/kernel/config", &stat) && stat.f_type == CONFIGFS;

	say(detail, "/sys/kernel/config is %smounted", mounted ? "" : "not ");
	return mounted;
}

bool probe_compiler(char *detail)
{
	return in_path("make", detail) && in_path("pkg-config", detail) && in_path("cc", detail);
}

bool probe_libraries(char *detail)
{
	static const char *const headers[] = {
		"/usr/include/libdrm/drm.h", "/usr/include/xxhash.h", "/usr/include/json-c/json.h",
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(headers); i++)
		if (!exists(headers[i])) {
			say(detail, "no %s", headers[i]);
			return false;
		}
	say(detail, "libdrm, xxhash and json-c");
	return true;
}

bool probe_qemu(char *detail)
{
	return in_path("qemu-system-x86_64", detail);
}

bool probe_kvm(char *detail)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	/* Some machines have one that boots nothing: only a real boot tells. */
	say(detail, "/dev/kvm: %s", fd < 0 ? strerror(errno) : "opens; the tests try a boot");
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

bool probe_rdma(char *detail)
{
	char path[PATH_MAX];
	bool there = first_match("/sys/class/infiniband/*", path);

	say(detail, "%.100s", there ? strrchr(path, '/') + 1 : "no RDMA device");
	return there;
}
