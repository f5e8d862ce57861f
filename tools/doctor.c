// SPDX-License-Identifier: MIT
/*
 * accelctl doctor: what this machine lacks for each feature, why that matters, and
 * the command that mends it. Only the basics, without which nothing works, count
 * for the exit status.
 */
#include <stdio.h>

#include "ctl.h"
#include "doctor.h"

static bool json;

static const struct opt table[] = {
	OPT_JSON(json),
};

static const struct opts opts = {
	"doctor", "",
	"Tell what this machine lacks for each feature, and the command that mends it. Changes\n"
	"nothing. Exit status 0 when the basics work: pools in user space (soft:).",
	table, ARRAY_SIZE(table), 0, 0,
};

struct check {
	const char *feature;
	const char *name;
	bool (*probe)(char *detail);
	bool basic;
	const char *why;
	const char *mend;
};

#define MODULES "sudo modprobe drm_buddy; sudo modprobe gpu-sched; "

static const struct check checks[] = {
	{ "soft", "memory", probe_memory, true, "a soft: pool is this machine's memory",
	  "accelctl replay --capacity-blocks 1000 (a smaller cache), or end what takes the memory" },
	{ "soft", "memfd", probe_memfd, true, "soft: buffers are memfds", NULL },
	{ "soft", "pool", probe_soft, true, "what everything else builds on", NULL },
	{ "speed", "simd", probe_simd, false, "wide non-temporal stores copy faster", NULL },
	{ "rdma", "memlock", probe_memlock, false, "a NIC's registrations count as locked memory",
	  "echo '* - memlock unlimited' | sudo tee /etc/security/limits.d/npool.conf (then log in "
	  "again)" },
	{ "rdma", "device", probe_rdma, false, "pools of several machines meet over RDMA",
	  "sudo modprobe rdma_rxe && sudo rdma link add rxe0 type rxe netdev eth0" },
	{ "driver", "kernel", probe_kernel, false, "npool.ko is a DRM accel driver of Linux 6.12",
	  "sudo apt-get install linux-image-6.12-amd64 && sudo reboot" },
	{ "driver", "modules", probe_modules, false, "npool.ko is a module",
	  "sudo apt-get install linux-image-6.12-amd64 && sudo reboot" },
	{ "driver", "headers", probe_headers, false, "building npool.ko for this kernel needs them",
	  "sudo apt-get install linux-headers-$(uname -r)" },
	{ "driver", "built", probe_built, false, "it has to be built for this kernel",
	  "make module" },
	{ "driver", "loaded", probe_loaded, false, "drm: pools are the driver's",
	  MODULES "sudo insmod build/npool.ko" },
	{ "driver", "npus", probe_sim, false, "software NPUs give the driver's pool its memory",
	  "sudo insmod build/npool_sim.ko" },
	{ "driver", "access", probe_device, false, "drm: opens /dev/accel/accelN",
	  "sudo chgrp render /dev/accel/accel0 && sudo chmod 660 /dev/accel/accel0 && "
	  "sudo usermod -aG render $USER (then log in again)" },
	{ "driver", "configfs", probe_configfs, false, "NPUs are added to a running pool there",
	  "sudo modprobe configfs && sudo mount -t configfs none /sys/kernel/config" },
	{ "build", "compiler", probe_compiler, false, "building npool",
	  "sudo apt-get install build-essential pkg-config" },
	{ "build", "libraries", probe_libraries, false, "libaccel and accelctl build on them",
	  "sudo apt-get install libdrm-dev libxxhash-dev libjson-c-dev" },
	{ "tests", "qemu", probe_qemu, false, "make check-vm runs the driver in a VM",
	  "sudo apt-get install qemu-system-x86" },
	{ "tests", "kvm", probe_kvm, false, "without it the VM is emulated, ten times slower",
	  "sudo modprobe -a kvm kvm_intel kvm_amd; sudo usermod -aG kvm $USER (then log in again)" },
};

#define CHECKS ARRAY_SIZE(checks)

static const char *mend_of(const struct check *check)
{
	return check->mend ? check->mend : "nothing mends it on this machine";
}

static void print(const struct check *check, bool there, const char *detail)
{
	printf("%-7s  %-6s  %-9s  %s\n", there ? "ok" : "missing", check->feature, check->name,
	       detail);
	if (!there)
		printf("%28s%s%s\n%28s%s\n", "why:  ", check->why,
		       check->basic ? " (nothing works without)" : "", "mend: ", mend_of(check));
}

static struct json_object *to_json(const struct check *check, bool there, const char *detail)
{
	struct json_object *object = json_object_new_object();

	ctl_json_string(object, "feature", check->feature);
	ctl_json_string(object, "name", check->name);
	json_object_object_add(object, "ok", json_object_new_boolean(there));
	json_object_object_add(object, "basic", json_object_new_boolean(check->basic));
	ctl_json_string(object, "detail", detail);
	ctl_json_string(object, "why", check->why);
	if (!there)
		ctl_json_string(object, "mend", mend_of(check));
	return object;
}

int cmd_doctor(int argc, char **argv)
{
	struct json_object *list = json_object_new_array();
	char detail[DOCTOR_DETAIL];
	int status;
	size_t i;

	status = opts_parse(&opts, argc, argv, NULL);
	if (status) {
		json_object_put(list);
		return status == OPTS_DONE ? CTL_OK : status;
	}
	for (i = 0; i < CHECKS; i++) {
		bool there = checks[i].probe(detail);

		if (!there && checks[i].basic)
			status = CTL_FAILED;
		if (json)
			json_object_array_add(list, to_json(&checks[i], there, detail));
		else
			print(&checks[i], there, detail);
	}
	if (json)
		return ctl_json(list, status);
	json_object_put(list);
	return status;
}
