/* SPDX-License-Identifier: MIT */
/*
 * What accelctl bench ep and its peer under MPI agree on: the same tokens go to
 * the same experts, and a turn is timed alike.
 *
 * A turn begins with a barrier; its time is from the first rank that left it to
 * the last that was done. Before a combine there is a dispatch, and experts that
 * write their outputs, on either side. Peers send rows that are quantised already, with their
 * scale in a line of its own after them; ours quantise within their time.
 *
 * The peer reads a line a turn set from its standard input, "OP IMPL ROUTE TURNS",
 * and answers with a line of TURNS times in ns. An empty line ends it.
 */
#ifndef BENCH_EP_H
#define BENCH_EP_H

#include <stdint.h>

#define EP_BENCH_LINE		64u
#define EP_BENCH_TOP_K_MAX	16u
#define EP_BENCH_RANKS_MAX	64u
#define EP_BENCH_EXPERTS_MAX	512u
#define EP_BENCH_TURNS_MAX	10000u

/** struct ep_load - the shape that is measured */
struct ep_load {
	uint32_t ranks, tokens, hidden, top_k, experts;
	uint64_t seed;
};

static inline uint64_t ep_random(uint64_t *state)
{
	/* splitmix64, of Steele, Lea and Flood. */
	uint64_t z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

/** ep_choose() - the distinct experts, uniform, of a rank's token */
static inline void ep_choose(const struct ep_load *load, uint32_t rank, uint32_t token,
			     int32_t ids[EP_BENCH_TOP_K_MAX])
{
	uint64_t state = load->seed ^ ((uint64_t)rank << 40 | (uint64_t)token << 8);
	uint32_t n = 0;

	while (n < load->top_k) {
		uint32_t i = 0;

		ids[n] = ep_random(&state) % load->experts;
		while (ids[i] != ids[n])
			i++;
		n += i == n;
	}
}

/** ep_choose_ranks() - likewise, each rank that hosts one of them once; the rest are -1 */
static inline void ep_choose_ranks(const struct ep_load *load, uint32_t rank, uint32_t token,
				   int32_t ids[EP_BENCH_TOP_K_MAX])
{
	uint32_t each = load->experts / load->ranks, n = 0;

	ep_choose(load, rank, token, ids);
	for (uint32_t k = 0; k < load->top_k; k++) {
		int32_t host = ids[k] / each;
		uint32_t i = 0;

		while (i < n && ids[i] != host)
			i++;
		ids[i] = host;
		n += i == n;
	}
	while (n < load->top_k)
		ids[n++] = -1;
}

#endif
