// SPDX-License-Identifier: MIT
/*
 * accelctl bench ep --memory: bytes a rank takes, beside what it takes where every
 * rank has a place for each token that any other could send (arXiv 2506.12708:
 * ranks x tokens x min(top-k, experts a rank) rows, of hidden + 512 bytes on their
 * way and of 2 x hidden on their way back).
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <accel/ep.h>

#include "bench_ep_memory.h"
#include "ctl.h"

/* A scale, padded as there. */
#define PLACE_SCALE 512

static uint64_t places(const struct ep_load *load, uint64_t ranks, uint64_t experts)
{
	uint64_t here = experts / ranks ? experts / ranks : 1;
	uint64_t rows = ranks * load->tokens * (load->top_k < here ? load->top_k : here);

	return rows * (load->hidden + PLACE_SCALE + 2 * load->hidden);
}

int ep_memory(const struct ep_load *load, bool json)
{
	static const uint32_t counts[] = { 8, 16, 32, 64, 128, 256, 320 };
	struct json_object *list = json_object_new_array();
	char ours[CTL_TEXT_LEN], theirs[CTL_TEXT_LEN];

	if (!json)
		printf("ranks  a rank takes  a place for each\n");
	for (uint32_t i = 0; i < ARRAY_SIZE(counts); i++) {
		uint32_t experts = load->experts < counts[i] ? counts[i] : load->experts;
		struct accel_ep_config config = {
			.ranks = counts[i], .experts = experts, .hidden = load->hidden,
			.top_k = load->top_k, .max_tokens = load->tokens,
			.chunk_tokens = load->tokens, .send = ACCEL_EP_INT8, .back = ACCEL_EP_BF16,
		};
		struct json_object *object;
		uint64_t bytes;
		int err = accel_ep_buffer_bytes(&config, &bytes);

		if (err) {
			json_object_put(list);
			ctl_error("bench ep: %u ranks: %s", counts[i], strerror(-err));
			return ctl_status(err);
		}
		object = json_object_new_object();
		ctl_json_u64(object, "ranks", counts[i]);
		ctl_json_u64(object, "bytes", bytes);
		ctl_json_u64(object, "place_bytes", places(load, counts[i], experts));
		json_object_array_add(list, object);
		if (!json)
			printf("%5u  %12s  %16s\n", counts[i], ctl_bytes(bytes, ours),
			       ctl_bytes(places(load, counts[i], experts), theirs));
	}
	if (json)
		return ctl_json(list, CTL_OK);
	json_object_put(list);
	return CTL_OK;
}
