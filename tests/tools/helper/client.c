// SPDX-License-Identifier: MIT
/*
 * A user of a pool: client URI opens it, prints its number, and then for each
 * line on stdin does what it says:
 *   granted   prints what it may reserve, in bytes a second
 *   reserve   makes a queue with a reservation of 64 KiB each millisecond, prints 0 or -errno
 *   policy    prints the number of the policy in force
 * The end of stdin is its own.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <accel/qos.h>

static long long answer(struct accel_dev *dev, const char *question, struct accel_queue **queue)
{
	struct accel_queue_qos qos = {
		.class_id = ACCEL_CLASS_LATENCY, .budget = 64 << 10, .period_ns = 1000000,
		.src = ACCEL_NPU_ANY, .dst = ACCEL_NPU_ANY,
	};
	struct accel_qos_info info;
	int err;

	if (!strcmp(question, "reserve\n"))
		return accel_queue_create_qos(dev, 0, &qos, queue);
	err = accel_qos_info(dev, &info);
	if (err)
		return err;
	return strcmp(question, "policy\n") ? (long long)info.granted : info.policy;
}

int main(int argc, char **argv)
{
	struct accel_queue *queue = NULL;
	struct accel_dev *dev;
	char line[32];

	if (argc != 2 || accel_open(argv[1], &dev))
		return 1;
	printf("%" PRIu64 "\n", accel_client_id(dev));
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		printf("%lld\n", answer(dev, line, &queue));
		fflush(stdout);
	}
	if (queue)
		accel_queue_destroy(queue);
	accel_close(dev);
	return 0;
}
