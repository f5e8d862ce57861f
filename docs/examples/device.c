// SPDX-License-Identifier: MIT
/* Opens a pool and lists its NPUs: device [URI] */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <accel/accel.h>

static void must(int err, const char *what)
{
	if (!err)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(-err));
	exit(1);
}

int main(int argc, char **argv)
{
	struct accel_pool_info pool;
	struct accel_npu_info *npus;
	struct accel_dev *dev;
	uint32_t count, room;

	must(accel_open(argc > 1 ? argv[1] : NULL, &dev), "accel_open");
	must(accel_pool_info(dev, &pool), "accel_pool_info");
	printf("%s: %" PRIu64 " of %" PRIu64 " bytes free\n", accel_uri(dev),
	       pool.bytes_free, pool.bytes_total);

	/* NPUs may join between the two calls: what does not fit is only counted. */
	count = room = pool.npu_count;
	npus = calloc(room, sizeof(*npus));
	must(npus || !room ? 0 : -1, "calloc");
	must(accel_npus(dev, npus, &count), "accel_npus");
	for (uint32_t i = 0; i < count && i < room; i++)
		printf("NPU %u %s (%s): %s, %" PRIu64 " bytes free\n", npus[i].id,
		       npus[i].name, npus[i].backend,
		       npus[i].state == ACCEL_NPU_ONLINE ? "online" : "dead",
		       npus[i].bytes_free);
	free(npus);
	accel_close(dev);
	return 0;
}
