// SPDX-License-Identifier: MIT
/* Two ranks, each of which hosts an expert that multiplies by a number: ep [URI] */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <accel/ep.h>

#define RANKS 2
#define EXPERTS 2
#define TOKENS 3
#define HIDDEN 32
#define TIMEOUT 10000000000

static void must(int err, const char *what)
{
	if (!err)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(-err));
	exit(1);
}

/* A thread of its own for each rank: a call returns when the others have made it, too. */
static void *run(void *arg)
{
	static const int32_t experts[TOKENS] = { 0, 1, ACCEL_EP_SKIP };
	float in[TOKENS][HIDDEN], sum[TOKENS][HIDDEN], out[RANKS * TOKENS][HIDDEN];
	struct accel_ep_tokens tokens = {
		.rows = in, .stride = sizeof(in[0]), .experts = experts,
		.dtype = ACCEL_EP_FP32, .count = TOKENS,
	};
	struct accel_ep_rows back = { .rows = out, .stride = sizeof(out[0]), .dtype = ACCEL_EP_FP32 };
	struct accel_ep_rows to = { .rows = sum, .stride = sizeof(sum[0]), .dtype = ACCEL_EP_FP32 };
	struct accel_ep_recv recv;
	struct accel_ep *ep = arg;
	struct accel_ep_info info;

	accel_ep_info(ep, &info);
	for (int i = 0; i < TOKENS * HIDDEN; i++)
		in[i / HIDDEN][i % HIDDEN] = 10 * info.rank + 1;
	must(accel_ep_dispatch(ep, 0, &tokens, 0, TIMEOUT, &recv), "accel_ep_dispatch");
	for (uint32_t row = 0; row < recv.total; row++) {
		const int8_t *x = (const int8_t *)recv.rows + row * recv.stride;

		for (int i = 0; i < HIDDEN; i++)
			out[row][i] = (info.rank + 2) * recv.scales[row] * x[i];
	}
	must(accel_ep_combine(ep, 0, &back, &to, TIMEOUT), "accel_ep_combine");
	printf("rank %u: 2 * %g = %g, 3 * %g = %g, and %g from none\n", info.rank, in[0][0],
	       sum[0][0], in[1][0], sum[1][0], sum[2][0]);
	return NULL;
}

int main(int argc, char **argv)
{
	struct accel_ep_config config = {
		.ranks = RANKS, .experts = EXPERTS, .hidden = HIDDEN, .top_k = 1,
		.max_tokens = TOKENS, .send = ACCEL_EP_INT8, .back = ACCEL_EP_FP32,
	};
	const uint32_t ranks[RANKS] = { 0, 1 };
	struct accel_ep_group *group;
	struct accel_npu_info npu;
	pthread_t threads[RANKS];
	struct accel_dev *dev;
	uint32_t count = 1;

	must(accel_open(argc > 1 ? argv[1] : "soft:example", &dev), "accel_open");
	must(accel_npus(dev, &npu, &count), "accel_npus");

	const uint32_t npus[RANKS] = { npu.id, npu.id };

	must(accel_ep_join(dev, "example", &config, ranks, npus, RANKS, TIMEOUT, &group),
	     "accel_ep_join");
	for (int i = 0; i < RANKS; i++)
		must(-pthread_create(&threads[i], NULL, run, accel_ep_rank(group, i)), "a thread");
	for (int i = 0; i < RANKS; i++)
		pthread_join(threads[i], NULL);
	accel_ep_leave(group);
	accel_close(dev);
	return 0;
}
