/* SPDX-License-Identifier: MIT */
/*
 * A serving trace: requests in order of arrival, each a chain of hash ids, one a
 * block of its prompt. The file format is JSON lines, as Mooncake published it:
 * {"timestamp": ms, "input_length": tokens, "output_length": tokens,
 *  "hash_ids": [...]}.
 */
#ifndef TRACE_H
#define TRACE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define TRACE_BLOCK_TOKENS	512		/* tokens a block, in traces made here */
#define TRACE_LINE_MAX		(4u << 20)	/* bytes of a line */
#define TRACE_CHAIN_MAX		(1u << 16)	/* hash ids of a request */
#define TRACE_TOKENS_MAX	(1u << 30)	/* input_length, output_length */
#define TRACE_REQUESTS_MAX	(1u << 24)
#define TRACE_IDS_MAX		(1ull << 28)	/* hash ids of all requests */

struct trace_request {
	uint64_t timestamp;	/* ms */
	uint32_t input_length;	/* tokens */
	uint32_t output_length;
	size_t first;		/* of its hash ids in trace.ids */
	uint32_t count;
};

struct trace {
	struct trace_request *requests;
	size_t count;
	size_t requests_room;
	uint64_t *ids;
	size_t id_count;
	size_t ids_room;
	uint32_t longest;	/* most hash ids of a request */
};

/** trace_add() - append a request and its ids; 0 or -ENOMEM */
int trace_add(struct trace *trace, const struct trace_request *request, const uint64_t *ids);

void trace_free(struct trace *trace);

/** trace_read() - read and check a file, "-" is stdin; 0 or an exit status after a message */
int trace_read(const char *path, uint64_t max_requests, struct trace *trace);

/** trace_write() - in the file format; 0 or -errno */
int trace_write(const struct trace *trace, FILE *to);

/** TRACE_HOUR_REQUESTS - requests in an hour of generated chat */
#define TRACE_HOUR_REQUESTS 12031

/** trace_generate() - synthetic chat; pure: the same arguments give the same trace; 0 or -ENOMEM */
int trace_generate(uint64_t requests, uint64_t seed, struct trace *trace);

#endif
