// SPDX-License-Identifier: MIT
/* Allocates a buffer, shares it by descriptor, reads what was written: buffer [URI] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <accel/buffer.h>

#define SIZE (1 << 20)

static void must(int err, const char *what)
{
	if (!err)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(-err));
	exit(1);
}

int main(int argc, char **argv)
{
	struct accel_buffer *buffer, *again;
	struct accel_buffer_info info;
	struct accel_dev *dev;
	void *here, *there;
	int fd;

	must(accel_open(argc > 1 ? argv[1] : "soft:example", &dev), "accel_open");
	must(accel_buffer_create(dev, SIZE, NULL, &buffer), "accel_buffer_create");
	must(accel_buffer_map(buffer, ACCEL_MAP_POPULATE, &here), "accel_buffer_map");
	strcpy(here, "hello");

	/* The descriptor could go to another process, by SCM_RIGHTS for one. */
	must(accel_buffer_export(buffer, &fd), "accel_buffer_export");
	must(accel_buffer_import(dev, fd, &again), "accel_buffer_import");
	close(fd);
	must(accel_buffer_map(again, 0, &there), "accel_buffer_map");
	must(accel_buffer_info(again, &info, NULL, 0), "accel_buffer_info");
	printf("%s from a buffer of %llu bytes\n", (char *)there,
	       (unsigned long long)info.size);

	must(accel_buffer_unmap(dev, there, SIZE), "accel_buffer_unmap");
	must(accel_buffer_unmap(dev, here, SIZE), "accel_buffer_unmap");
	accel_buffer_close(again);
	accel_buffer_close(buffer);
	accel_close(dev);
	return 0;
}
