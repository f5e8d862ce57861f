// SPDX-License-Identifier: MIT
/*
 * What a leaf-first LRU cache would do with a trace, worked out by other means
 * than the library's, to hold a replay against: lru TRACE CAPACITY prints
 * "references hits evictions"; lru TRACE alone prints
 * "requests references unique used-once steps-of-3s tokens-fit".
 *
 * One list holds all cached blocks. A request moves its chain to the young end
 * from its last block to its first, so that a block is always younger than its
 * continuations and the old end is always a leaf.
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS (1u << 22)
#define CHAIN_MAX 65536

struct node {
	uint64_t id;
	uint32_t parent;	/* node + 1, 0 for the first of a chain */
	uint32_t uses;
	uint32_t request;	/* that used it last, from 1 */
	bool cached;
	uint32_t older, younger;
};

/* Node 0 closes the ring of cached nodes: its younger is the oldest. */
static struct node nodes[SLOTS / 2];
static uint32_t node_count = 1, slots[SLOTS], chain[CHAIN_MAX];
static uint64_t cached, capacity, references, hits, evictions;

static uint32_t find(uint32_t parent, uint64_t id)
{
	uint64_t h = (id + 1) * 0x9e3779b97f4a7c15ull + parent * 0xbf58476d1ce4e5b9ull;
	uint32_t at = (h ^ h >> 31) % SLOTS;

	for (; slots[at]; at = (at + 1) % SLOTS)
		if (nodes[slots[at]].id == id && nodes[slots[at]].parent == parent)
			return slots[at];
	if (node_count == SLOTS / 2)
		exit(2);
	nodes[node_count].id = id;
	nodes[node_count].parent = parent;
	return slots[at] = node_count++;
}

static void unlink_node(uint32_t at)
{
	nodes[nodes[at].older].younger = nodes[at].younger;
	nodes[nodes[at].younger].older = nodes[at].older;
}

static void link_youngest(uint32_t at)
{
	nodes[at].older = nodes[0].older;
	nodes[at].younger = 0;
	nodes[nodes[0].older].younger = at;
	nodes[0].older = at;
}

static void run_request(uint32_t request, uint32_t count)
{
	uint32_t matched = 0, stored, i;

	while (matched < count && nodes[chain[matched]].cached)
		matched++;
	references += count;
	hits += matched;
	for (i = 0; i < count; i++) {
		nodes[chain[i]].request = request;
		nodes[chain[i]].uses++;
	}
	for (i = matched; i-- > 0;) {
		unlink_node(chain[i]);
		link_youngest(chain[i]);
	}
	for (stored = matched; stored < count; stored++) {
		if (cached == capacity) {
			uint32_t oldest = nodes[0].younger;

			if (!capacity || nodes[oldest].request == request)
				break;
			unlink_node(oldest);
			nodes[oldest].cached = false;
			cached--;
			evictions++;
		}
		nodes[chain[stored]].cached = true;
		link_youngest(chain[stored]);
		cached++;
	}
	for (i = stored; i-- > 0;) {
		unlink_node(chain[i]);
		link_youngest(chain[i]);
	}
}

static uint64_t number_after(const char *line, const char *key)
{
	const char *at = strstr(line, key);

	return at ? strtoull(at + strlen(key), NULL, 10) : 0;
}

int main(int argc, char **argv)
{
	static char line[1 << 22];
	uint32_t request = 0, once = 0, i;
	bool steps = true, fit = true;
	FILE *from = argc > 1 ? fopen(argv[1], "r") : NULL;

	if (!from)
		return 2;
	if (argc > 2)
		capacity = strtoull(argv[2], NULL, 10);
	while (fgets(line, sizeof(line), from)) {
		char *at = strstr(line, "\"hash_ids\": [");
		uint32_t count = 0, parent = 0;

		if (!at)
			return 2;
		for (at += strlen("\"hash_ids\": ["); isdigit(*at) && count < CHAIN_MAX; count++) {
			parent = chain[count] = find(parent, strtoull(at, &at, 10));
			at += strspn(at, ", ");
		}
		steps &= number_after(line, "\"timestamp\": ") % 3000 == 0;
		fit &= (number_after(line, "\"input_length\": ") + 511) / 512 == count;
		run_request(++request, count);
	}
	for (i = 1; i < node_count; i++)
		once += nodes[i].uses == 1;
	if (argc > 2)
		printf("%" PRIu64 " %" PRIu64 " %" PRIu64 "\n", references, hits, evictions);
	else
		printf("%u %" PRIu64 " %u %u %d %d\n", request, references, node_count - 1, once,
		       steps, fit);
	return 0;
}
