// SPDX-License-Identifier: MIT
/* Adds an NPU, takes it out and sees the buffer on it lost: npu [URI] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <accel/buffer.h>
#include <accel/npu.h>

static void must(int err, const char *what)
{
	if (!err)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(-err));
	exit(1);
}

int main(int argc, char **argv)
{
	struct accel_npu_config config = { .bytes = 16 << 20 };
	struct accel_buffer_info info;
	struct accel_buffer *buffer;
	struct accel_dev *dev;
	uint32_t id;

	must(accel_open(argc > 1 ? argv[1] : "soft:example", &dev), "accel_open");
	snprintf(config.name, sizeof(config.name), "example-%d", (int)getpid());
	must(accel_npu_add(dev, &config, &id), "accel_npu_add");

	struct accel_where where = { ACCEL_PLACE_NPU, 1, &id, 0 };

	must(accel_buffer_create(dev, 1 << 20, &where, &buffer), "accel_buffer_create");
	must(accel_npu_remove(dev, id), "accel_npu_remove");
	must(accel_buffer_info(buffer, &info, NULL, 0), "accel_buffer_info");
	printf("the buffer is %s\n", info.flags & ACCEL_BUFFER_LOST ? "lost" : "well");

	accel_buffer_close(buffer);
	accel_close(dev);
	return 0;
}
